//! How far a host's clock is off: only what is certain, since the host told its time somewhere between two looks at ours.

use jiff::Timestamp;

/// A clock further off than this makes fresh certificates look not yet valid (they are backdated by 5 minutes).
pub const NOTABLE_SKEW_SECONDS: i64 = 300;

/// The host's clock minus ours, in seconds; `ours` are the looks before and after. 0 for a time in between.
#[must_use]
pub fn skew_seconds(clock: Timestamp, ours: (Timestamp, Timestamp)) -> i64 {
    let (clock, before, after) = (clock.as_second(), ours.0.as_second(), ours.1.as_second());
    if clock < before { clock - before } else { (clock - after).max(0) }
}

#[must_use]
pub const fn is_notable(skew: i64) -> bool {
    skew.abs() > NOTABLE_SKEW_SECONDS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lies_outside_the_two_looks_is_skew() {
        let at = |second| Timestamp::from_second(second).unwrap();
        for (clock, skew) in [(99, -1), (100, 0), (115, 0), (130, 0), (131, 1), (3730, 3600)] {
            assert_eq!(skew_seconds(at(clock), (at(100), at(130))), skew, "{clock}");
        }
        assert!(!is_notable(-300) && is_notable(-301) && is_notable(301));
    }
}
