//! SHA-256 as a value: what a file's content is compared by, and the short fingerprint secrets are named by.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// A SHA-256 digest; written as 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest([u8; 32]);

/// Text that is not 64 hex digits.
#[derive(Debug, thiserror::Error)]
#[error("not a SHA-256 digest (64 hex digits)")]
pub struct ParseError;

impl Digest {
    /// The digest of `data`.
    #[must_use]
    pub fn of(data: impl AsRef<[u8]>) -> Self {
        let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, data.as_ref());
        let mut bytes = [0; 32];
        bytes.copy_from_slice(hash.as_ref());
        Self(bytes)
    }

    /// The first 8 hex digits: how a secret is named in plans, logs and state.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        let mut first = [0; 4];
        first.copy_from_slice(&self.0[..4]);
        Fingerprint(first)
    }

    /// The 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let mut bytes = [0; 32];
        parse_hex(text, &mut bytes)?;
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for Digest {
    type Error = ParseError;

    fn try_from(text: String) -> Result<Self, ParseError> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

/// The first 8 hex digits of a SHA-256: enough to tell two tokens apart, useless for guessing one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Fingerprint([u8; 4]);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl TryFrom<String> for Fingerprint {
    type Error = ParseError;

    fn try_from(text: String) -> Result<Self, ParseError> {
        let mut bytes = [0; 4];
        parse_hex(&text, &mut bytes)?;
        Ok(Self(bytes))
    }
}

impl From<Fingerprint> for String {
    fn from(fingerprint: Fingerprint) -> Self {
        fingerprint.to_string()
    }
}

/// `bytes` as lower-case hex digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

fn parse_hex(text: &str, into: &mut [u8]) -> Result<(), ParseError> {
    if text.len() != into.len() * 2 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(ParseError);
    }
    for (byte, pair) in into.iter_mut().zip(text.as_bytes().chunks(2)) {
        let pair = std::str::from_utf8(pair).map_err(|_| ParseError)?;
        *byte = u8::from_str_radix(pair, 16).map_err(|_| ParseError)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FIPS 180-2, appendix B.1.
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn the_published_vector_holds() {
        assert_eq!(Digest::of("abc").to_string(), ABC);
        assert_eq!(Digest::of("abc").fingerprint().to_string(), "ba7816bf");
    }

    #[test]
    fn text_and_value_are_the_same_thing() {
        assert_eq!(ABC.parse::<Digest>().unwrap(), Digest::of("abc"));
        let json = serde_json::to_string(&Digest::of("abc")).unwrap();
        assert_eq!(serde_json::from_str::<Digest>(&json).unwrap(), Digest::of("abc"));
    }

    #[test]
    fn anything_but_64_hex_digits_is_refused() {
        for bad in ["", "ab", &ABC[1..], &format!("{ABC}0"), &format!("+{}", &ABC[1..]), &ABC.replace('b', "é")] {
            assert!(bad.parse::<Digest>().is_err(), "{bad}");
        }
    }
}
