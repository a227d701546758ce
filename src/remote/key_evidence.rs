//! Host keys as messages show them: what a host offers, and which lines of known_hosts say what is expected.

use crate::foreign::ForeignText;
use std::{fmt, path::PathBuf};

/// An entry of a known_hosts file, for messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownEntry {
    pub file: PathBuf,
    /// From 1.
    pub line: usize,
    pub key_type: String,
}

impl fmt::Display for KnownEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

/// The key a host shows. Displays as `TYPE SHA256:…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfferedKey {
    /// The host as known_hosts names it: `name` or `[name]:port`.
    pub host: String,
    pub key_type: ForeignText,
    pub fingerprint: String,
}

impl fmt::Display for OfferedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.key_type, self.fingerprint)
    }
}

pub(super) fn known_types(known: &[KnownEntry]) -> String {
    let list: Vec<_> = known.iter().map(|k| format!("{} at {k}", k.key_type)).collect();
    if list.is_empty() { String::new() } else { format!("; known is {}", list.join(", ")) }
}
