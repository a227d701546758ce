//! When certificates hold, as a span: what several of them need together is where their spans overlap.

use crate::pki;
use jiff::Timestamp;

/// From the first to the last second; both count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    pub not_before: Timestamp,
    pub not_after: Timestamp,
}

impl Validity {
    /// Of a certificate, or of the first of a CA bundle; `None` where the text is none.
    #[must_use]
    pub fn of_pem(pem: &str) -> Option<Self> {
        let info = pki::parse_authority(pem).ok()?;
        Some(Self { not_before: info.not_before, not_after: info.not_after })
    }

    /// When both hold. Where that is never, it ends before it begins.
    #[must_use]
    pub fn overlap(self, other: Self) -> Self {
        Self { not_before: self.not_before.max(other.not_before), not_after: self.not_after.min(other.not_after) }
    }

    #[must_use]
    pub fn contains(self, moment: Timestamp) -> bool {
        (self.not_before.as_second()..=self.not_after.as_second()).contains(&moment.as_second())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_certificates_hold_together_only_where_both_do() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let span = |from, to| Validity { not_before: at(from), not_after: at(to) };
        let both = span(10, 30).overlap(span(20, 40));
        assert_eq!(both, span(20, 30));
        assert_eq!([19, 20, 30, 31].map(|second| both.contains(at(second))), [false, true, true, false]);
        assert!(!span(0, 1).overlap(span(5, 6)).contains(at(3)));
    }
}
