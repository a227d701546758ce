//! A host's public key as a value: its type, and the fingerprint a person compares. Knows no files and no connection.

use crate::digest::Digest;
use base64::{Engine, engine::general_purpose::STANDARD};

/// A key as it travels in the SSH protocol (RFC 4253, 6.6): its type is the first string in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostKey(pub(super) Vec<u8>);

impl HostKey {
    /// `None` when the bytes hold no key type.
    #[must_use]
    pub fn new(blob: &[u8]) -> Option<Self> {
        let key = Self(blob.to_vec());
        (!key.type_bytes()?.is_empty()).then_some(key)
    }

    fn type_bytes(&self) -> Option<&[u8]> {
        let (length, rest) = self.0.split_first_chunk::<4>()?;
        rest.get(..u32::from_be_bytes(*length) as usize)
    }

    /// Such as `ssh-ed25519`; what is not printable is replaced.
    #[must_use]
    pub fn key_type(&self) -> String {
        let raw = self.type_bytes().unwrap_or_default();
        raw.iter().take(64).map(|&b| if b.is_ascii_graphic() { char::from(b) } else { '?' }).collect()
    }

    /// As in known_hosts and .pub files, after the type.
    #[must_use]
    pub fn base64(&self) -> String {
        STANDARD.encode(&self.0)
    }

    /// `SHA256:…`, as ssh-keygen -l prints it.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let digest = Digest::of(&self.0);
        let text = STANDARD.encode(digest.as_bytes());
        format!("SHA256:{}", text.trim_end_matches('='))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_truncated_key_is_no_key() {
        for blob in [&[][..], &[0, 0, 0], &[0, 0, 0, 9, 1], &[0, 0, 0, 0], &[255; 8]] {
            assert!(HostKey::new(blob).is_none(), "{blob:?}");
        }
    }
}
