//! The fields that a CA's certificate and the ones it signs have in common: dates, serial numbers, names within X.509's
//! bounds. What a certificate is for is not known here.

use crate::entropy::{self, Entropy};
use jiff::{SignedDuration, Timestamp};
use rcgen::{DistinguishedName, DnType, SerialNumber};

/// How far a certificate's start lies back, for machines whose clocks are behind.
pub const BACKDATE: SignedDuration = SignedDuration::from_mins(5);
/// The upper bound of CN and O in characters (RFC 5280 appendix A.1, ub-common-name).
pub(super) const AT_MOST: usize = 64;

/// A name X.509 has no room for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the {attribute} has {characters} characters; 1 to {AT_MOST} are allowed")]
pub struct NameLength {
    pub attribute: &'static str,
    pub characters: usize,
}

/// A subject under construction.
pub(super) struct Name(DistinguishedName);

impl Name {
    pub(super) fn new() -> Self {
        Self(DistinguishedName::new())
    }

    pub(super) fn organization(self, value: &str) -> Result<Self, NameLength> {
        self.with(DnType::OrganizationName, "organization", value)
    }

    pub(super) fn common_name(self, value: &str) -> Result<Self, NameLength> {
        self.with(DnType::CommonName, "common name", value)
    }

    fn with(mut self, kind: DnType, attribute: &'static str, value: &str) -> Result<Self, NameLength> {
        let characters = value.chars().count();
        if !(1..=AT_MOST).contains(&characters) {
            return Err(NameLength { attribute, characters });
        }
        self.0.push(kind, value);
        Ok(self)
    }
}

impl From<Name> for DistinguishedName {
    fn from(name: Name) -> Self {
        name.0
    }
}

/// 128 random bits, positive: at most 17 octets (RFC 5280 section 4.1.2.2 allows 20).
pub(super) fn serial_number(entropy: &dyn Entropy) -> Result<SerialNumber, entropy::Error> {
    Ok(SerialNumber::from(entropy::random_bytes::<16>(entropy)?.to_vec()))
}

/// Whole seconds, as X.509 has no others. Both types end with the year 9999, so the fallback is never reached.
pub(super) fn x509_time(at: Timestamp) -> time::OffsetDateTime {
    time::OffsetDateTime::from_unix_timestamp(at.as_second()).unwrap_or(time::OffsetDateTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kept_within_64_characters_not_bytes() {
        assert!(Name::new().common_name(&"ß".repeat(64)).is_ok());
        for bad in ["", &"n".repeat(65)] {
            let error = Name::new().organization(bad).err().unwrap();
            assert_eq!(error, NameLength { attribute: "organization", characters: bad.len() });
        }
    }

    #[test]
    fn times_convert_to_the_second_at_both_ends_of_the_calendar() {
        for at in [Timestamp::MIN, Timestamp::UNIX_EPOCH, Timestamp::MAX] {
            assert_eq!(x509_time(at).unix_timestamp(), at.as_second());
        }
    }
}
