//! What a host may put in place of a word, and what of it must never come out.

use base64::{Engine, prelude::BASE64_STANDARD};
use rcgen::{CertificateParams, DnType, KeyPair, SerialNumber};
use std::collections::HashSet;

/// What is looked for by pieces of this length.
const PIECE: usize = 8;

pub struct Secrets {
    pub token: String,
    /// Lines of the private key.
    pub key: Vec<String>,
    pub password: String,
    pieces: HashSet<Vec<u8>>,
}

impl Secrets {
    pub fn new(token: &str, key_pem: &str, password: &str) -> Self {
        let key: Vec<String> = key_pem.lines().filter(|line| !line.starts_with('-')).map(str::to_owned).collect();
        let all = key.iter().map(String::as_str).chain([token, password]);
        let pieces = all.flat_map(|text| text.as_bytes().windows(PIECE).map(<[u8]>::to_ascii_lowercase)).collect();
        Self { token: token.to_owned(), key, password: password.to_owned(), pieces }
    }

    /// The piece of a secret that stands in `text`, letters and digits read without what is between them.
    pub fn piece_in(&self, text: &str) -> Option<String> {
        let folded = text.to_ascii_lowercase().into_bytes();
        let compact: Vec<u8> = folded.iter().copied().filter(u8::is_ascii_alphanumeric).collect();
        let all = folded.windows(PIECE).chain(compact.windows(PIECE));
        let hit = all.into_iter().find(|piece| self.pieces.contains(*piece))?;
        Some(String::from_utf8_lossy(hit).into_owned())
    }

    /// As [`Self::piece_in`], of the text as it stands alone.
    pub fn piece_in_raw(&self, text: &str) -> Option<String> {
        let folded = text.to_ascii_lowercase().into_bytes();
        let hit = folded.windows(PIECE).find(|piece| self.pieces.contains(*piece))?;
        Some(String::from_utf8_lossy(hit).into_owned())
    }

    /// Every word that is tried.
    pub fn payloads(&self) -> Vec<Vec<u8>> {
        let cut = |text: &str, length: usize, between: &str| {
            let parts: Vec<&str> = (0..text.len() / length).map(|n| &text[n * length..(n + 1) * length]).collect();
            parts.join(between)
        };
        let token = &self.token;
        let mut texts: Vec<String> = [
            "\x1b]0;PWNED\x07",
            "a\x1b[2J\x1b[31mEVIL",
            "\u{9b}31m\u{85}",
            "x\nnode-99  changed  2 created",
            "\r\nnode-99",
            "\0\0",
            "\u{202e}IDIB\u{2066}\u{200b}",
            "\u{2028}\u{feff}\u{e0041}",
            "",
            " ",
            "-1",
            "99999999999999999999",
        ]
        .map(str::to_owned)
        .to_vec();
        texts.extend([token.clone(), token.to_uppercase(), token[..16].to_owned(), token[16..].to_owned()]);
        texts.extend([
            token[5..13].to_owned(),
            format!("{token}{token}"),
            format!("{}{}", &token[..8], "0".repeat(56)),
        ]);
        texts.extend(["-", " ", ".", "\u{200b}", "\0", "\x1b", "\t", "/"].map(|between| cut(token, 8, between)));
        texts.extend(["-", " ", ":", "\u{ad}"].map(|between| cut(token, 4, between)));
        texts.extend(self.key.first().into_iter().flat_map(|line| [line.clone(), cut(line, 16, " ")]));
        texts.push(self.password.clone());
        texts.push(BASE64_STANDARD.encode(token));
        texts.extend([certificate(token, None), certificate("x", Some(token))].map(|pem| BASE64_STANDARD.encode(pem)));
        let body = |pem: &str| pem.lines().filter(|line| !line.starts_with('-')).collect::<String>();
        texts.extend([body(&certificate(token, None)), body(&certificate("x", Some(token)))]);
        let raw = [&b"\x9b31m\xff\xfe"[..], b"\xc2"].map(<[u8]>::to_vec);
        texts.into_iter().map(String::into_bytes).chain(raw).collect()
    }
}

/// A certificate with this common name, and this serial where one is given, in hex.
pub fn certificate(name: &str, serial: Option<&str>) -> String {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    let byte = |n: usize, hex: &str| u8::from_str_radix(&hex[n..n + 2], 16).unwrap();
    params.serial_number =
        serial.map(|hex| SerialNumber::from((0..hex.len()).step_by(2).map(|n| byte(n, hex)).collect::<Vec<_>>()));
    params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem()
}

/// Whether `c` may stand in no text that is shown.
pub fn is_raw(c: char) -> bool {
    c != '\n' && kubemint::secret::is_unprintable(c)
}
