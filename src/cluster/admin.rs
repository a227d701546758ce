//! Admin rights as a port: what to authenticate with, and until when. Whoever makes the clusters brings the source; the
//! adapter asks it again shortly before the credential ends, so that a run of hours may use one of minutes.
//!
//! Nothing here knows where a credential comes from, nor writes one anywhere.

use super::Error;
use crate::secret::Secret;
use jiff::{SignedDuration, Timestamp};

/// With less than this left a credential is asked for anew.
const RENEWED_BEFORE: SignedDuration = SignedDuration::from_mins(3);

/// A client certificate with its key, both PEM.
#[derive(Debug, Clone)]
pub struct ClientPair {
    pub chain: String,
    pub key: Secret,
}

/// What admin calls are made with: a certificate, a bearer token, or as kubectl does both.
#[derive(Debug, Clone, Default)]
pub struct AdminCredential {
    pub certificate: Option<ClientPair>,
    pub token: Option<Secret>,
    /// When it must not be used any more; `None`: not known, never asked for again.
    pub expires: Option<Timestamp>,
}

/// Where admin rights come from.
pub trait AdminSource: Send + Sync {
    /// A credential that holds at `now`.
    ///
    /// # Errors
    /// [`Error::Access`].
    fn credential(&self, now: Timestamp) -> Result<AdminCredential, Error>;
}

/// A credential that stays as it is.
impl AdminSource for AdminCredential {
    fn credential(&self, _: Timestamp) -> Result<AdminCredential, Error> {
        Ok(self.clone())
    }
}

impl AdminCredential {
    /// Whether it is to be used at `now`, or asked for anew.
    pub(super) fn serves(&self, now: Timestamp) -> bool {
        self.expires.is_none_or(|expires| expires.duration_since(now) >= RENEWED_BEFORE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_is_renewed_three_minutes_before_its_end() {
        let now: Timestamp = "2026-03-01T10:00:00Z".parse().unwrap();
        let ending = |seconds| {
            let expires = Some(now + SignedDuration::from_secs(seconds));
            AdminCredential { expires, ..AdminCredential::default() }.serves(now)
        };
        assert_eq!([ending(15 * 60), ending(180), ending(179), ending(-1)], [true, true, false, false]);
        assert!(AdminCredential::default().serves(now));
    }
}
