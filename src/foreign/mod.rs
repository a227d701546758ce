//! Text that came from outside: a host, an API server, an agent, a file, the command line. It is made safe to show when it is
//! made, so that a [`ForeignText`] may always be printed: one line, nothing in it that a terminal obeys or that turns,
//! joins or hides text. Where the other side's secrets are known, it is held against their [`Pieces`] as well. Not for
//! text that is acted on.

mod pieces;

pub use pieces::{PIECE, Pieces, SHORTEST};

use crate::secret::{printable, scrub};
use serde::{Serialize, Serializer};
use std::{fmt, ops::Deref};

/// Text from outside that is safe to show.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ForeignText(String);

impl ForeignText {
    /// Something said: what looks like a secret is redacted, and at most 300 characters are kept, as [`scrub`] does.
    #[must_use]
    pub fn message(said: &str) -> Self {
        Self(scrub(said))
    }

    /// A name, path or list that must be seen whole: unprintable characters are escaped, as [`printable`] does.
    #[must_use]
    pub fn name(name: impl AsRef<str>) -> Self {
        Self(printable(name.as_ref()))
    }
}

impl Deref for ForeignText {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ForeignText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for ForeignText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl PartialEq<str> for ForeignText {
    fn eq(&self, other: &str) -> bool {
        self.0 == other
    }
}

impl PartialEq<&str> for ForeignText {
    fn eq(&self, other: &&str) -> bool {
        self.0 == *other
    }
}

impl From<&'static str> for ForeignText {
    fn from(words: &'static str) -> Self {
        Self::name(words)
    }
}

impl From<ForeignText> for String {
    fn from(text: ForeignText) -> Self {
        text.0
    }
}

impl Serialize for ForeignText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::is_unprintable;

    #[test]
    fn no_constructor_lets_an_unprintable_character_in() {
        let all: String = ('\0'..='\u{10ffff}').filter(|c| is_unprintable(*c)).collect();
        for text in [ForeignText::message(&format!("a{all}b")), ForeignText::name(format!("a{all}b"))] {
            assert!(text.starts_with('a') && !text.chars().any(is_unprintable), "{text:?}");
        }
        assert_eq!(ForeignText::name("a\nb"), "a\\nb");
        assert_eq!(ForeignText::message("a\nb"), "a b");
    }

    #[test]
    fn a_message_is_redacted_by_its_looks_and_a_name_is_shown_whole() {
        let digest = "0123456789abcdef".repeat(4);
        assert_eq!(ForeignText::message(&digest), "[redacted]");
        assert_eq!(ForeignText::name(&digest), digest.as_str());
    }
}
