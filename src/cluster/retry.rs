//! When a call is made again: the apiserver said that it is busy (429), failed (5xx), or the connection broke, and the
//! call may be made twice. What it asks for in Retry-After is honoured. Nobody listening and no answer at all are the
//! caller's to judge: it knows whether an apiserver is just being restarted.

use super::call::Attempt;
use std::time::{Duration, Instant};

const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Whether a call may be made a second time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    /// It changes nothing, or the second time changes nothing more.
    Always,
    /// Only where the first was surely not carried out.
    Unprocessed,
    /// The caller asks again by itself.
    Never,
}

/// What an attempt leaves to hope for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Prospect {
    Final,
    /// Turned away before it was looked at.
    Busy,
    /// It may have been carried out, or not.
    Unclear,
}

pub(super) struct Retries {
    repeat: Repeat,
    end: Instant,
    made: u32,
}

impl Retries {
    pub(super) const fn until(end: Instant, repeat: Repeat) -> Self {
        Self { repeat, end, made: 0 }
    }

    /// How long to wait before the call is made once more; `None`: it is not. `jitter` is from 0 to 1.
    pub(super) fn pause_after(&mut self, failed: &Attempt, now: Instant, jitter: f64) -> Option<Duration> {
        match (self.repeat, failed.prospect) {
            (Repeat::Never, _) | (_, Prospect::Final) | (Repeat::Unprocessed, Prospect::Unclear) => return None,
            _ => {}
        }
        let doubled = FIRST_PAUSE.saturating_mul(1 << self.made.min(16)).min(LONGEST_PAUSE);
        self.made += 1;
        let pause = doubled.mul_f64(0.5 + jitter).max(failed.retry_after.unwrap_or_default());
        (now + pause < self.end).then_some(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Error;

    fn failed(prospect: Prospect, retry_after: Option<u64>) -> Attempt {
        let error = Error::Access { reason: String::new() };
        Attempt { error, prospect, retry_after: retry_after.map(Duration::from_secs) }
    }

    fn pause(repeat: Repeat, prospect: Prospect, retry_after: Option<u64>) -> Option<Duration> {
        let now = Instant::now();
        Retries::until(now + Duration::from_secs(30), repeat).pause_after(&failed(prospect, retry_after), now, 0.5)
    }

    #[test]
    fn only_what_may_pass_and_may_be_repeated_is_asked_again() {
        for (repeat, prospect, again) in [
            (Repeat::Always, Prospect::Busy, true),
            (Repeat::Always, Prospect::Unclear, true),
            (Repeat::Always, Prospect::Final, false),
            (Repeat::Unprocessed, Prospect::Busy, true),
            (Repeat::Unprocessed, Prospect::Unclear, false),
            (Repeat::Never, Prospect::Busy, false),
            (Repeat::Never, Prospect::Unclear, false),
        ] {
            assert_eq!(pause(repeat, prospect, None).is_some(), again, "{repeat:?} {prospect:?}");
        }
    }

    #[test]
    fn retry_after_is_honoured_within_the_bound() {
        assert_eq!(pause(Repeat::Always, Prospect::Busy, Some(7)), Some(Duration::from_secs(7)));
        assert_eq!(pause(Repeat::Always, Prospect::Busy, Some(31)), None);
        assert_eq!(pause(Repeat::Always, Prospect::Busy, Some(u64::from(u32::MAX))), None);
        assert_eq!(pause(Repeat::Always, Prospect::Busy, Some(0)), Some(FIRST_PAUSE));
    }

    #[test]
    fn pauses_double_with_jitter_and_end_with_the_bound() {
        let began = Instant::now();
        for jitter in [0.0, 0.5, 1.0] {
            let mut retries = Retries::until(began + Duration::from_secs(30), Repeat::Always);
            let mut now = began;
            let mut last = Duration::ZERO;
            while let Some(pause) = retries.pause_after(&failed(Prospect::Unclear, None), now, jitter) {
                assert!(pause >= last && pause <= LONGEST_PAUSE.mul_f64(1.5), "{pause:?}");
                (now, last) = (now + pause, pause);
            }
            assert!(now < began + Duration::from_secs(30) && retries.made > 5, "{}", retries.made);
        }
    }
}
