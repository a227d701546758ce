//! The modern bootstrap token: `<id>.<secret>`, kept by the cluster in a Secret that expires by itself.
//!
//! Shape and rules from `staging/src/k8s.io/cluster-bootstrap/token/api/types.go`. The id is public, the secret part has
//! about 82 bits, which is why the token lives for hours and not for ever.

use super::{bootstrap::BootstrapToken, manifest::ManifestError};
use crate::{
    entropy::{self, Entropy},
    inventory::{TokenSettings, is_bootstrap_group},
    secret::{ExposeSecret, Secret},
};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// How long a token lives unless told otherwise: kubeadm's own default.
pub const DEFAULT_TTL: SignedDuration = SignedDuration::from_hours(24);

/// The group every such token is in.
pub(super) const BOOTSTRAPPERS: &str = "system:bootstrappers";
const BOOTSTRAP_USER: &str = "system:bootstrap:";
const ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
const ID_LENGTH: usize = 6;
const SECRET_LENGTH: usize = 16;

/// The public side of a token that the cluster keeps in a Secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretTerms {
    pub id: String,
    /// In whole seconds.
    pub expiration: Timestamp,
}

/// A bootstrap token with what its Secret says about it.
#[derive(Clone)]
pub struct BootstrapTokenSecret {
    id: String,
    secret: Secret,
    expiration: Timestamp,
    groups: Vec<String>,
}

impl BootstrapTokenSecret {
    /// A new token that expires `ttl` after `now` (whole seconds) and is in `groups` besides `system:bootstrappers`.
    ///
    /// # Errors
    /// [`ManifestError`]: a group kube-apiserver would refuse, a time to live that is not positive or too long to
    /// write down, or a failing random source.
    pub fn generate(
        entropy: &dyn Entropy,
        now: Timestamp,
        ttl: SignedDuration,
        groups: &[String],
    ) -> Result<Self, ManifestError> {
        if let Some(group) = groups.iter().find(|group| !is_bootstrap_group(group)) {
            return Err(ManifestError::BootstrapGroup { group: group.clone() });
        }
        if ttl < SignedDuration::from_secs(1) {
            return Err(ManifestError::TimeToLive);
        }
        let end = now.checked_add(ttl).map_err(|_| ManifestError::TimeToLive)?;
        Ok(Self {
            id: random_text(entropy, ID_LENGTH)?,
            secret: random_text(entropy, SECRET_LENGTH)?.into(),
            expiration: Timestamp::from_second(end.as_second()).map_err(|_| ManifestError::TimeToLive)?,
            groups: groups.iter().filter(|group| *group != BOOTSTRAPPERS).cloned().collect(),
        })
    }

    /// The public part, `[a-z0-9]{6}`; the user is `system:bootstrap:<id>`.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The Secret's name in namespace kube-system: `bootstrap-token-<id>`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("bootstrap-token-{}", self.id)
    }

    /// When it ends, in whole seconds.
    #[must_use]
    pub fn expiration(&self) -> Timestamp {
        self.expiration
    }

    /// The groups besides `system:bootstrappers`.
    #[must_use]
    pub fn extra_groups(&self) -> &[String] {
        &self.groups
    }

    /// The bearer token kubelets present: `<id>.<secret>`.
    #[must_use]
    pub fn token(&self) -> BootstrapToken {
        BootstrapToken::of_parts(&self.id, &self.secret)
    }

    /// A token that was made before, with what its Secret says; `None` where it has not the shape of one.
    #[must_use]
    pub fn of_token(token: &BootstrapToken, expiration: Timestamp, groups: &[String]) -> Option<Self> {
        let (id, secret) = token.secret().expose_secret().split_once('.')?;
        let fits = |text: &str, length| text.len() == length && text.bytes().all(|byte| ALPHABET.contains(&byte));
        if !fits(id, ID_LENGTH) || !fits(secret, SECRET_LENGTH) {
            return None;
        }
        let groups = groups.iter().filter(|group| *group != BOOTSTRAPPERS).cloned().collect();
        Some(Self { id: id.to_owned(), secret: secret.into(), expiration, groups })
    }

    /// Whom kube-apiserver takes its holders for; they have no uid.
    #[must_use]
    pub fn holder(&self) -> TokenSettings {
        Self::holder_of(&self.id, &self.groups)
    }

    /// The same of a Secret by its id and its extra groups.
    #[must_use]
    pub fn holder_of(id: &str, extra_groups: &[String]) -> TokenSettings {
        let groups = std::iter::once(BOOTSTRAPPERS.to_owned()).chain(extra_groups.iter().cloned()).collect();
        TokenSettings { user: format!("{BOOTSTRAP_USER}{id}"), uid: String::new(), groups }
    }

    /// What may be known of it.
    #[must_use]
    pub fn terms(&self) -> SecretTerms {
        SecretTerms { id: self.id.clone(), expiration: self.expiration }
    }

    pub(super) fn secret_part(&self) -> &Secret {
        &self.secret
    }
}

/// Characters of [`ALPHABET`], each as likely as the others: bytes past the last whole multiple of 36 are drawn again.
fn random_text(source: &dyn Entropy, length: usize) -> Result<String, entropy::Error> {
    const WHOLE: u8 = (256 / ALPHABET.len() * ALPHABET.len()) as u8;
    let mut text = String::with_capacity(length);
    while text.len() < length {
        let bytes = zeroize::Zeroizing::new(entropy::random_bytes::<32>(source)?);
        let drawn =
            bytes.iter().filter(|byte| **byte < WHOLE).map(|byte| ALPHABET[usize::from(*byte) % ALPHABET.len()]);
        text.extend(drawn.take(length - text.len()).map(char::from));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        entropy::{OsEntropy, SeededEntropy},
        secret::ExposeSecret,
    };

    fn generate(groups: &[&str], ttl: SignedDuration) -> Result<BootstrapTokenSecret, ManifestError> {
        let groups: Vec<String> = groups.iter().map(ToString::to_string).collect();
        let now = "2026-03-01T10:00:00.75Z".parse().unwrap();
        BootstrapTokenSecret::generate(&SeededEntropy::new(1), now, ttl, &groups)
    }

    #[test]
    fn every_character_is_equally_likely() {
        let mut counts = [0_u32; 36];
        let rounds = 36 * 1000;
        for byte in random_text(&OsEntropy, rounds).unwrap().bytes() {
            counts[ALPHABET.iter().position(|known| *known == byte).unwrap()] += 1;
        }
        // Chi-squared with 35 degrees of freedom: above 100 about once in 10^8 runs; `byte % 36` gives about 400.
        let chi: f64 = counts.iter().map(|n| (f64::from(*n) - 1000.0).powi(2) / 1000.0).sum();
        assert!(chi < 100.0, "{chi} {counts:?}");
    }

    #[test]
    fn the_token_has_the_shape_kubeadm_knows() {
        let secret = generate(&[], DEFAULT_TTL).unwrap();
        let token = secret.token();
        let (id, rest) = token.secret().expose_secret().split_once('.').unwrap();
        assert_eq!((id, id.len(), rest.len()), (secret.id(), 6, 16));
        assert!(rest.bytes().all(|b| ALPHABET.contains(&b)));
    }

    #[test]
    fn a_token_is_taken_up_again_with_its_terms_and_no_other_shape_is() {
        let made = generate(&["system:bootstrappers:a"], DEFAULT_TTL).unwrap();
        let holder = made.holder();
        let again = BootstrapTokenSecret::of_token(&made.token(), made.expiration(), &holder.groups).unwrap();
        assert_eq!((again.terms(), again.token(), again.holder()), (made.terms(), made.token(), holder.clone()));
        assert_eq!(holder.user, format!("system:bootstrap:{}", made.id()));
        assert_eq!(holder.groups, ["system:bootstrappers", "system:bootstrappers:a"]);
        for other in
            ["0123456789abcdef0123456789abcdef", "abcdef.0123456789abcde", "ABCDEF.0123456789abcdef", "abcdef."]
        {
            let token = other.parse().unwrap();
            assert!(BootstrapTokenSecret::of_token(&token, made.expiration(), &[]).is_none(), "{other}");
        }
    }

    #[test]
    fn the_expiration_is_in_whole_seconds() {
        let secret = generate(&[], SignedDuration::from_hours(24)).unwrap();
        assert_eq!(secret.expiration().to_string(), "2026-03-02T10:00:00Z");
    }

    #[test]
    fn groups_kube_apiserver_refuses_are_refused() {
        let long = format!("system:bootstrappers:{}", "a".repeat(256));
        for good in ["system:bootstrappers", "system:bootstrappers:a", "system:bootstrappers:worker:eu-1", &long] {
            assert!(generate(&[good], DEFAULT_TTL).is_ok(), "{good}");
        }
        let longer = format!("{long}a");
        for bad in [
            "system:kubelet-bootstrap",
            "system:masters",
            "system:bootstrappers:",
            "system:bootstrappers:a-",
            "system:bootstrappers:A",
            "system:bootstrappers:a,system:masters",
            "system:bootstrappers:a\n",
            " system:bootstrappers:a",
            "",
            &longer,
        ] {
            let error = generate(&[bad], DEFAULT_TTL).err().unwrap();
            assert!(matches!(error, ManifestError::BootstrapGroup { .. }), "{bad}");
        }
    }

    #[test]
    fn a_time_to_live_must_be_positive_and_end_within_the_calendar() {
        for bad in [SignedDuration::ZERO, SignedDuration::from_secs(-1), SignedDuration::MAX] {
            assert!(matches!(generate(&[], bad), Err(ManifestError::TimeToLive)), "{bad:?}");
        }
    }
}
