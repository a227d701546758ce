//! When something happened on a host, as exactly as it could be told: clocks there tick in nanoseconds, hundredths or
//! whole seconds, and what is compared must not be taken for more exact than it is.

use jiff::Timestamp;

/// An instant that lies between two, both included. Nanoseconds since the epoch, by the host's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    earliest: i64,
    latest: i64,
}

const SECOND: i64 = 1_000_000_000;
/// /proc/uptime has two digits.
const HUNDREDTH: i64 = SECOND / 100;
/// File systems take their dates from a clock that ticks up to a hundred times a second (ktime_get_coarse_real_ts64).
const COARSE: i64 = HUNDREDTH;

impl Moment {
    /// For tests: a moment that is known to the nanosecond.
    #[must_use]
    pub const fn exactly(nanoseconds: i64) -> Self {
        Self { earliest: nanoseconds, latest: nanoseconds }
    }

    /// Certainly not before `other`.
    #[must_use]
    pub const fn is_not_before(self, other: Self) -> bool {
        self.earliest >= other.latest
    }

    /// Certainly before `other`.
    #[must_use]
    pub const fn is_before(self, other: Self) -> bool {
        self.latest < other.earliest
    }

    /// To the second.
    #[must_use]
    pub fn timestamp(self) -> Option<Timestamp> {
        Timestamp::from_second(self.earliest.div_euclid(SECOND)).ok()
    }

    /// `SECONDS` or `SECONDS.FRACTION`, where what stands for a fraction may be a format that was not understood.
    fn parse(text: &str) -> Option<Self> {
        let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
        let earliest = seconds.parse::<i64>().ok()?.checked_mul(SECOND)?;
        let digits = fraction.len();
        if digits == 0 || digits > 9 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
            return Some(Self { earliest, latest: earliest.checked_add(SECOND)? });
        }
        let step = 10_i64.pow(9 - u32::try_from(digits).ok()?);
        let earliest = earliest.checked_add(fraction.parse::<i64>().ok()?.checked_mul(step)?)?;
        Some(Self { earliest, latest: earliest.checked_add(if digits == 9 { 0 } else { step })? })
    }

    /// A file's date.
    pub(super) fn parse_date(text: &str) -> Option<Self> {
        let date = Self::parse(text)?;
        Some(Self { latest: date.latest.checked_add(COARSE)?, ..date })
    }

    fn overlap(self, other: Self) -> Option<Self> {
        let both = Self { earliest: self.earliest.max(other.earliest), latest: self.latest.min(other.latest) };
        (both.earliest <= both.latest).then_some(both)
    }
}

/// When a host was started, from which the starts of its processes are counted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Boot {
    at: Moment,
    ticks_per_second: i64,
}

impl Boot {
    /// From /proc/uptime before and after the time was asked for, that time, `btime` of /proc/stat and CLK_TCK. `-`: not told.
    ///
    /// The kernel's own figure is to the second and right; the one worked out is finer, and counts where it agrees.
    pub(super) fn of(before: &str, now: &str, after: &str, btime: &str, ticks: &str) -> Option<Self> {
        let ticks_per_second = ticks.parse().ok().filter(|ticks| (1..=SECOND).contains(ticks))?;
        let told = Moment::parse(btime);
        let finer = match (Moment::parse(before), Moment::parse(now), Moment::parse(after)) {
            (Some(before), Some(now), Some(after)) => {
                let earliest = now.earliest.checked_sub(after.latest)?;
                Some(Moment { earliest, latest: now.latest.checked_sub(before.earliest)? })
            }
            _ => None,
        };
        let at = match (told, finer) {
            (Some(told), Some(finer)) => told.overlap(finer).unwrap_or(told),
            (told, finer) => told.or(finer)?,
        };
        Some(Self { at, ticks_per_second })
    }

    /// When a process started, by field 22 of /proc/PID/stat.
    pub(super) fn start(self, ticks: &str) -> Option<Moment> {
        let after = i128::from(ticks.parse::<i64>().ok()?) * i128::from(SECOND) / i128::from(self.ticks_per_second);
        let after = i64::try_from(after).ok()?;
        let earliest = self.at.earliest.checked_add(after)?;
        let latest = self.at.latest.checked_add(after)?.checked_add(SECOND / self.ticks_per_second)?;
        Some(Moment { earliest, latest })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(earliest: i64, latest: i64) -> Option<Moment> {
        Some(Moment { earliest, latest })
    }

    #[test]
    fn a_date_is_as_exact_as_it_is_written() {
        assert_eq!(Moment::parse("5.000000007"), moment(5 * SECOND + 7, 5 * SECOND + 7));
        assert_eq!(Moment::parse("5.25"), moment(5 * SECOND + 250_000_000, 5 * SECOND + 260_000_000));
        for whole in ["5", "5.", "5.%N", "5.%9N", "5.0000000001"] {
            assert_eq!(Moment::parse(whole), moment(5 * SECOND, 6 * SECOND), "{whole}");
        }
        for bad in ["", "-", "x.5", "99999999999999999999", "9223372036.9", "1e3"] {
            assert_eq!(Moment::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_start_of_a_process_is_known_to_the_hundredth_where_the_host_can_tell() {
        let fine = Boot::of("100.00", "1100.500000000", "100.02", "1000", "100").unwrap();
        let start = fine.start("5000").unwrap();
        // Booted between 1000.47 and 1000.5, started 50 to 50.01 s later.
        assert_eq!(Some(start), moment(1_050_470_000_000, 1_050_510_000_000));
        let coarse = Boot::of("100.00", "1100.%N", "100.02", "1000", "100").unwrap().start("5000").unwrap();
        assert!(coarse.earliest <= start.earliest && coarse.latest >= start.latest);
        assert!(coarse.latest - coarse.earliest <= SECOND + HUNDREDTH);
    }

    #[test]
    fn the_kernel_is_believed_where_date_tells_something_else() {
        let boot = Boot::of("100.00", "4700.500000000", "100.02", "1000", "100").unwrap();
        assert_eq!(Some(boot.at), moment(1000 * SECOND, 1001 * SECOND));
        let boot = Boot::of("-", "-", "-", "1000", "100").unwrap();
        assert_eq!(boot.at.earliest, 1000 * SECOND);
        assert!(Boot::of("100.00", "4700", "100.02", "-", "100").is_some());
    }

    #[test]
    fn nonsense_gives_nothing_and_never_a_panic() {
        let most = i64::MAX.to_string();
        for (btime, ticks) in [("-", "100"), ("1000", "0"), ("1000", "-1"), ("x", "100"), (&most, "100"), ("1000", "")]
        {
            assert!(Boot::of("-", "-", "-", btime, ticks).is_none(), "{btime} {ticks}");
        }
        assert!(Boot::of("-9223372036", "9223372035", "-9223372036", "-", "100").is_none());
        let boot = Boot::of("-", "-", "-", "1000", "1").unwrap();
        for ticks in ["", "x", "9223372036854775807", "-9223372036854775808"] {
            assert!(boot.start(ticks).is_none(), "{ticks}");
        }
    }

    #[test]
    fn two_moments_that_overlap_are_in_no_order() {
        let (early, late) = (Moment { earliest: 0, latest: 10 }, Moment { earliest: 5, latest: 15 });
        assert!(!early.is_before(late) && !late.is_not_before(early));
        assert!(Moment::exactly(4).is_before(late) && late.is_not_before(Moment::exactly(5)));
    }
}
