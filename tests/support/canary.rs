//! Known secret values, and a nose for them: plain, hex, base64 in every alignment, and any fragment of 24 characters.

use base64::{Engine, engine::general_purpose::STANDARD as BASE64, engine::general_purpose::URL_SAFE as BASE64_URL};
use std::collections::HashMap;

/// The shortest piece of a secret that counts as one.
const FRAGMENT: usize = 24;

/// Secrets, by name.
#[derive(Default)]
pub struct Canaries {
    fragments: HashMap<[u8; FRAGMENT], String>,
    /// Whole forms that are shorter than a fragment.
    short: Vec<(Vec<u8>, String)>,
}

impl Canaries {
    /// A secret text or byte string.
    pub fn add(&mut self, name: &str, secret: &[u8]) {
        assert!(secret.len() >= 16, "{name} is too short to be told from chance");
        let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
        self.add_form(name, secret);
        self.add_form(name, hex.as_bytes());
        self.add_form(name, hex.to_uppercase().as_bytes());
        for offset in 0..3 {
            // Only characters that hold nothing but bits of the secret.
            let padded = [&[0; 2][..offset], secret].concat();
            let pure = (offset * 8).div_ceil(6)..padded.len() * 8 / 6;
            self.add_form(name, &BASE64.encode(&padded).as_bytes()[pure.clone()]);
            self.add_form(name, &BASE64_URL.encode(&padded).as_bytes()[pure]);
        }
    }

    /// A private key in a PEM file; `find` points at the secret bytes in what the file encodes. What else is in there
    /// (headers, algorithm, the public key) is no secret.
    pub fn add_pem_key(&mut self, name: &str, pem: &str, find: impl Fn(&[u8]) -> usize) {
        let mut at = 0;
        let mut places = Vec::new();
        for line in pem.split_inclusive('\n') {
            if !line.starts_with("-----") {
                places.extend((0..line.trim_end().len()).map(|n| at + n));
            }
            at += line.len();
        }
        let body: String = places.iter().map(|place| pem.as_bytes()[*place] as char).collect();
        let bytes = BASE64.decode(&body).unwrap();
        let start = find(&bytes);
        self.add(name, &bytes[start..start + 32]);
        let (first, end) = ((start * 8).div_ceil(6), (start + 32) * 8 / 6);
        self.add(name, &body.as_bytes()[first..end]);
        self.add(name, &pem.as_bytes()[places[first]..places[end]]);
    }

    /// An EC P-256 or Ed25519 key in PKCS#8: the first OCTET STRING of 32 bytes (RFC 5915, RFC 8410).
    pub fn add_pkcs8_key(&mut self, name: &str, pem: &str) {
        self.add_pem_key(name, pem, |der| der.windows(2).position(|pair| pair == [4, 32]).expect("a private key") + 2);
    }

    /// An Ed25519 key of ssh-keygen: the seed stands just before the last copy of the public key (PROTOCOL.key).
    pub fn add_openssh_key(&mut self, name: &str, pem: &str) {
        self.add_pem_key(name, pem, |bytes| {
            let marker = b"ssh-ed25519\0\0\0\x20";
            let at = bytes.windows(marker.len()).position(|part| part == marker).expect("a public key") + marker.len();
            let public = &bytes[at..at + 32];
            bytes.windows(32).rposition(|part| part == public).unwrap() - 32
        });
    }

    fn add_form(&mut self, name: &str, form: &[u8]) {
        if form.len() < FRAGMENT {
            self.short.push((form.to_owned(), name.to_owned()));
        }
        for fragment in form.windows(FRAGMENT) {
            self.fragments.insert(fragment.try_into().unwrap(), name.to_owned());
        }
    }

    /// The name of a secret of which something stands in `haystack`.
    pub fn find(&self, haystack: &[u8]) -> Option<&str> {
        let fragment = haystack.windows(FRAGMENT).find_map(|part| self.fragments.get(part));
        let short = || self.short.iter().find(|(form, _)| haystack.windows(form.len()).any(|part| part == form));
        fragment.or_else(|| short().map(|(_, name)| name)).map(String::as_str)
    }

    /// Fails, without repeating the secret, when `haystack` holds something of one.
    #[track_caller]
    pub fn assert_absent(&self, place: &str, haystack: impl AsRef<[u8]>) {
        if let Some(name) = self.find(haystack.as_ref()) {
            panic!("{place} holds something of: {name}");
        }
    }
}
