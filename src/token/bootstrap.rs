//! The bootstrap token itself: a bearer token kubelets present when they ask for their first certificate.
//!
//! A token kubemint makes has 128 random bits; one read from elsewhere is taken as kube-apiserver takes it, whatever it
//! looks like, as long as it is not empty. Its text leaves only through [`BootstrapToken::secret`].

use crate::{
    digest::{Digest, Fingerprint},
    entropy::{self, Entropy},
    secret::{ExposeSecret, Secret},
};
use std::{collections::HashSet, fmt, str::FromStr};

/// What makes a token, or its row in token.csv, impossible.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    #[error(transparent)]
    Entropy(#[from] entropy::Error),
    #[error("the token is empty")]
    Empty,
    /// token.csv separates groups by commas and has no way to escape one.
    #[error("group {group:?} holds a comma, which token.csv cannot express")]
    CommaInGroup { group: String },
    /// Only `uid`, `user`, `group` or `token`, never the value.
    #[error("the {field} holds a carriage return, which kube-apiserver does not read back from token.csv")]
    CarriageReturn { field: &'static str },
}

impl TokenError {
    /// What the user may do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Entropy(_) => None,
            Self::Empty => Some("kube-apiserver skips a row without a token; make one with `kubemint generate`"),
            Self::CommaInGroup { .. } => Some("list the groups one by one, without commas in their names"),
            Self::CarriageReturn { .. } => Some("remove the control characters"),
        }
    }
}

/// A bearer token for TLS bootstrapping. Never empty; no Display, and Debug shows the fingerprint only.
#[derive(Clone)]
pub struct BootstrapToken(Secret);

impl BootstrapToken {
    /// A new token: 128 bits from `entropy` as 32 lower-case hex digits, the strength the Kubernetes documentation asks
    /// for ("at least 128 bits of entropy", reference/access-authn-authz/kubelet-tls-bootstrapping).
    ///
    /// # Errors
    /// [`TokenError::Entropy`] when the source fails.
    pub fn generate(entropy: &dyn Entropy) -> Result<Self, TokenError> {
        let bytes = zeroize::Zeroizing::new(entropy::random_bytes::<16>(entropy)?);
        Ok(Self(crate::digest::hex(&*bytes).into()))
    }

    /// A new token whose fingerprint none of `taken` has, and is put there: rows of token.csv are told apart by it.
    ///
    /// # Errors
    /// As [`Self::generate`].
    pub fn generate_unlike(entropy: &dyn Entropy, taken: &mut HashSet<Fingerprint>) -> Result<Self, TokenError> {
        loop {
            let token = Self::generate(entropy)?;
            if taken.insert(token.fingerprint()) {
                return Ok(token);
            }
        }
    }

    /// Takes over a token read from token.csv or a kubeconfig.
    ///
    /// # Errors
    /// [`TokenError::Empty`]: kube-apiserver skips such a row.
    pub fn from_secret(secret: Secret) -> Result<Self, TokenError> {
        if secret.expose_secret().is_empty() { Err(TokenError::Empty) } else { Ok(Self(secret)) }
    }

    pub(super) fn of_parts(id: &str, secret: &Secret) -> Self {
        Self(format!("{id}.{}", secret.expose_secret()).into())
    }

    /// The text, for emitters.
    #[must_use]
    pub fn secret(&self) -> &Secret {
        &self.0
    }

    /// The text itself, for a person who asked for it by name.
    #[must_use]
    pub fn reveal(&self) -> String {
        self.0.expose_secret().to_owned()
    }

    /// How the token is named in plans, logs and state.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        fingerprint(&self.0)
    }
}

impl FromStr for BootstrapToken {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        Self::from_secret(text.into())
    }
}

impl PartialEq for BootstrapToken {
    fn eq(&self, other: &Self) -> bool {
        same(&self.0, &other.0)
    }
}

impl Eq for BootstrapToken {}

impl fmt::Debug for BootstrapToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BootstrapToken({})", self.fingerprint())
    }
}

pub(super) fn fingerprint(secret: &Secret) -> Fingerprint {
    Digest::of(secret.expose_secret()).fingerprint()
}

/// Compares digests, so that the time taken says nothing about the text.
pub(super) fn same(one: &Secret, other: &Secret) -> bool {
    Digest::of(one.expose_secret()) == Digest::of(other.expose_secret())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::{OsEntropy, SeededEntropy};

    #[test]
    fn a_new_token_is_32_lower_case_hex_digits() {
        let token = BootstrapToken::generate(&OsEntropy).unwrap();
        let text = token.secret().expose_secret();
        assert_eq!(text.len(), 32);
        assert!(text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)), "{text}");
    }

    #[test]
    fn two_tokens_differ_and_a_seed_repeats() {
        let seeded = |seed| BootstrapToken::generate(&SeededEntropy::new(seed)).unwrap();
        assert_eq!(seeded(7), seeded(7));
        assert_ne!(seeded(7), seeded(8));
    }

    #[test]
    fn debug_names_the_fingerprint_and_not_the_token() {
        let token: BootstrapToken = "canary-canary".parse().unwrap();
        let shown = format!("{token:?}");
        assert!(!shown.contains("canary") && shown.contains(&token.fingerprint().to_string()), "{shown}");
    }

    #[test]
    fn the_fingerprint_is_of_the_token_text() {
        assert_eq!("abc".parse::<BootstrapToken>().unwrap().fingerprint().to_string(), "ba7816bf");
    }

    #[test]
    fn only_the_empty_token_is_refused() {
        assert!(matches!("".parse::<BootstrapToken>(), Err(TokenError::Empty)));
        for odd in [" ", "x", "${BOOTSTRAP_TOKEN}", "a,\"b\"\n", "ü"] {
            assert!(odd.parse::<BootstrapToken>().is_ok(), "{odd:?}");
        }
    }
}
