//! User certificates (OpenSSH, PROTOCOL.certkeys) as the file beside a key or an agent holds them: what is offered in
//! the key's place, and what they say of themselves, for the message when a host refuses one. Judged by hosts alone.

use super::keys::take_string;
use crate::secret::scrub;
use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

/// How a certificate's type is its key's type and more.
const SUFFIX: &str = "-cert-v01@openssh.com";
/// Types of keys, and how many fields a public key of them has.
const KEYS: [(&str, usize); 7] = [
    ("ssh-ed25519", 1),
    ("ssh-rsa", 2),
    ("ecdsa-sha2-nistp256", 2),
    ("ecdsa-sha2-nistp384", 2),
    ("ecdsa-sha2-nistp521", 2),
    ("sk-ssh-ed25519", 2),
    ("sk-ecdsa-sha2-nistp256", 3),
];
/// The largest end there is, which stands for none.
const NO_END: u64 = u64::MAX;

/// One certificate file.
#[derive(Debug)]
pub(super) struct Certificate {
    pub path: PathBuf,
    /// `TYPE BASE64`, as libssh2 takes a public key.
    pub line: String,
    /// As it travels.
    pub blob: Vec<u8>,
    /// What it was issued for, to be shown.
    pub terms: String,
}

/// What we read of one.
struct Fields<'a> {
    /// The plain public key, as it travels.
    key: Vec<u8>,
    principals: Vec<&'a [u8]>,
    after: u64,
    before: u64,
}

impl Certificate {
    /// Where the certificate of an identity file is: `KEY-cert.pub`.
    pub fn path_of(key: &Path) -> PathBuf {
        let key = if key.extension().is_some_and(|e| e == "pub") { key.with_extension("") } else { key.to_owned() };
        let mut path = OsString::from(key);
        path.push("-cert.pub");
        PathBuf::from(path)
    }

    /// `None` for what is no certificate.
    pub fn parse(path: &Path, text: &str) -> Option<Self> {
        let mut words = text.split_ascii_whitespace();
        let (kind, encoded) = (words.next()?, words.next()?);
        let blob = STANDARD.decode(encoded).ok()?;
        let terms = parse_blob(&blob)?.terms();
        Some(Self { path: path.to_owned(), line: format!("{kind} {encoded}"), blob, terms })
    }
}

impl Fields<'_> {
    fn terms(&self) -> String {
        let names: Vec<_> = self.principals.iter().map(|name| scrub(&String::from_utf8_lossy(name))).collect();
        let whom = if names.is_empty() { "nobody in particular".to_owned() } else { names.join(", ") };
        let time = |seconds| i64::try_from(seconds).ok().and_then(|s| Timestamp::from_second(s).ok());
        let from = time(self.after).filter(|_| self.after > 0).map(|start| format!("from {start} "));
        let until = match self.before {
            NO_END => "without end".to_owned(),
            end => time(end).map_or("without end".to_owned(), |end| format!("until {end}")),
        };
        format!("certificate for {whom}, valid {}{until}", from.unwrap_or_default())
    }
}

fn parse_blob(blob: &[u8]) -> Option<Fields<'_>> {
    let mut rest = blob;
    let kind = std::str::from_utf8(take_string(&mut rest)?).ok()?.strip_suffix(SUFFIX)?;
    let (_, count) = KEYS.iter().find(|(name, _)| *name == kind)?;
    let _nonce = take_string(&mut rest)?;
    let start = rest;
    for _ in 0..*count {
        take_string(&mut rest)?;
    }
    let public = &start[..start.len() - rest.len()];
    let plain = if kind.starts_with("sk-") { format!("{kind}@openssh.com") } else { kind.to_owned() };
    let mut key = u32::try_from(plain.len()).ok()?.to_be_bytes().to_vec();
    key.extend(plain.as_bytes());
    key.extend(public);
    // Serial number and kind of certificate.
    let (_, mut rest) = rest.split_first_chunk::<12>()?;
    let _id = take_string(&mut rest)?;
    let mut list = take_string(&mut rest)?;
    let mut principals = Vec::new();
    while !list.is_empty() {
        principals.push(take_string(&mut list)?);
    }
    let (after, rest) = rest.split_first_chunk()?;
    let (before, _) = rest.split_first_chunk()?;
    Some(Fields { key, principals, after: u64::from_be_bytes(*after), before: u64::from_be_bytes(*before) })
}

/// The plain public key in a certificate, both as they travel; `None` where `blob` is a plain key.
pub(super) fn certified_key(blob: &[u8]) -> Option<Vec<u8>> {
    parse_blob(blob).map(|fields| fields.key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_certificate_of_ssh_keygen_tells_its_terms_and_its_key() {
        let dir = tempfile::tempdir().unwrap();
        let run = |words: &[&str]| {
            let ran = Command::new("ssh-keygen").args(words).current_dir(dir.path()).output().unwrap();
            assert!(ran.status.success(), "{ran:?}");
        };
        run(&["-q", "-t", "ed25519", "-N", "", "-f", "ca"]);
        for kind in ["ed25519", "ecdsa", "rsa"] {
            run(&["-q", "-t", kind, "-N", "", "-f", kind]);
            let public = format!("{kind}.pub");
            run(&["-q", "-s", "ca", "-I", "me", "-n", "root,ops", "-V", "20200101Z:20210101Z", &public]);
            let path = Certificate::path_of(&dir.path().join(kind));
            let certificate = Certificate::parse(&path, &std::fs::read_to_string(&path).unwrap()).unwrap();
            assert_eq!(
                certificate.terms,
                "certificate for root, ops, valid from 2020-01-01T00:00:00Z until 2021-01-01T00:00:00Z"
            );
            let plain = std::fs::read_to_string(dir.path().join(&public)).unwrap();
            let plain = STANDARD.decode(plain.split(' ').nth(1).unwrap()).unwrap();
            assert_eq!(certified_key(&certificate.blob), Some(plain.clone()));
            assert_eq!(certified_key(&plain), None);
        }
        run(&["-q", "-s", "ca", "-I", "me", "ed25519.pub"]);
        let path = dir.path().join("ed25519-cert.pub");
        let certificate = Certificate::parse(&path, &std::fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!(certificate.terms, "certificate for nobody in particular, valid without end");
        for cut in 0..certificate.blob.len() {
            let _ = certified_key(&certificate.blob[..cut]);
        }
        assert!(Certificate::parse(&path, "ssh-ed25519 AAAA").is_none());
    }
}
