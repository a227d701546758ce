//! When a host is tried again. Only what happened before the login counts, and only what may pass by itself: nothing was
//! begun on the host then. A refused login, a host key that is not the known one, and whatever happens once a script runs
//! are the host's result.

use super::connect::Failure;
use crate::{
    entropy::{self, OsEntropy},
    remote::{Deadlines, Error, RetryClass},
};
use std::{
    thread,
    time::{Duration, Instant},
};

/// A server that drops connections for its limits is there: it is given more time.
const PAUSE_WHEN_DROPPED: Duration = Duration::from_millis(300);
const PAUSE_WHEN_ABSENT: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// What a host that refuses may cost a run: a thousand of them are an ordinary morning.
const PATIENCE_WHEN_ABSENT: Duration = Duration::from_secs(2);

/// Makes attempts at the host `name` until one succeeds or none may follow; `end` is when its whole time is over. Also gives
/// how many there were.
///
/// # Errors
/// That of the last attempt.
pub(super) fn with_retries<T>(
    name: &str,
    deadlines: Deadlines,
    end: Instant,
    mut attempt: impl FnMut() -> Result<T, Failure>,
) -> Result<(T, u32), Error> {
    let mut retries = Retries::begin(deadlines, end);
    loop {
        let failure = match attempt() {
            Ok(done) => return Ok((done, retries.attempts)),
            Err(failure) => failure,
        };
        let Some(pause) = retries.pause_after(&failure, Instant::now(), entropy::jitter(&OsEntropy)) else {
            return Err(retries.give_up(failure));
        };
        tracing::debug!("{name}: once more in {} ms: {}", pause.as_millis(), failure.into_error().code());
        thread::sleep(pause);
    }
}

/// The attempts at one host.
struct Retries {
    /// Made so far.
    attempts: u32,
    most: u32,
    began: Instant,
    /// Of the host's whole time.
    end: Instant,
}

impl Retries {
    /// The first attempt begins now.
    fn begin(deadlines: Deadlines, end: Instant) -> Self {
        Self { attempts: 1, most: deadlines.retries.saturating_add(1), began: Instant::now(), end }
    }

    /// How long to wait before the next attempt; `None` when there is to be none. `jitter` is from 0 to 1: hosts behind
    /// one busy server must not all come back at once.
    fn pause_after(&mut self, failure: &Failure, now: Instant, jitter: f64) -> Option<Duration> {
        let (first, last_begin) = match failure {
            Failure::DroppedBeforeLogin(_) => (PAUSE_WHEN_DROPPED, self.end),
            Failure::Final(error) if error.retry_class() == RetryClass::Retryable => {
                (PAUSE_WHEN_ABSENT, self.end.min(self.began + PATIENCE_WHEN_ABSENT))
            }
            Failure::Final(_) => return None,
        };
        let doubled = first.saturating_mul(1 << (self.attempts - 1).min(16)).min(LONGEST_PAUSE);
        let pause = doubled.mul_f64(0.5 + jitter);
        if self.attempts >= self.most || now + pause >= last_begin {
            return None;
        }
        self.attempts += 1;
        Some(pause)
    }

    /// The last failure, and after how many attempts.
    fn give_up(&self, failure: Failure) -> Error {
        match (failure.into_error(), self.attempts) {
            (error, 1) => error,
            (error, attempts) => Error::Retried { attempts, last: Box::new(error) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin(deadlines: Deadlines) -> Retries {
        Retries::begin(deadlines, Instant::now() + deadlines.host)
    }

    fn refused() -> Failure {
        Failure::Final(Error::ConnectRefused { endpoint: "x:22".into() })
    }

    fn dropped() -> Failure {
        Failure::DroppedBeforeLogin(Error::HandshakeFailed { endpoint: "x:22".into(), reason: "busy".into() })
    }

    /// The pauses that follow one another when every attempt fails at once.
    fn pauses(deadlines: Deadlines, failure: impl Fn() -> Failure, jitter: f64) -> Vec<u128> {
        let mut retries = begin(deadlines);
        let mut now = retries.began;
        let mut found = Vec::new();
        while let Some(pause) = retries.pause_after(&failure(), now, jitter) {
            now += pause;
            found.push(pause.as_millis());
        }
        found
    }

    #[test]
    fn pauses_double_with_jitter_around_them() {
        let usual = Deadlines::default();
        assert_eq!(pauses(usual, refused, 0.5), [100, 200, 400]);
        assert_eq!(pauses(usual, dropped, 0.5), [300, 600, 1200]);
        assert_eq!(pauses(usual, refused, 0.0), [50, 100, 200]);
        assert_eq!(pauses(usual, refused, 1.0), [150, 300, 600]);
        assert_eq!(pauses(Deadlines { retries: 0, ..usual }, refused, 0.5), [0; 0]);
    }

    #[test]
    fn a_host_that_refuses_costs_two_seconds_at_most_and_a_busy_one_its_deadline() {
        let many = Deadlines { retries: 10, ..Deadlines::default() };
        for jitter in [0.0, 0.5, 1.0] {
            assert!(pauses(many, refused, jitter).iter().sum::<u128>() < 2000);
        }
        let busy = pauses(many, dropped, 0.5);
        assert_eq!((busy.len(), busy[9]), (10, 5000));
        let short = Deadlines { host: Duration::from_secs(1), ..many };
        assert_eq!(pauses(short, dropped, 0.5), [300, 600]);
    }

    #[test]
    fn what_must_not_be_tried_again_is_not() {
        let endpoint = || "x:22".to_owned();
        for error in [
            Error::AuthFailed {
                endpoint: endpoint(),
                user: "root".into(),
                tried: "x".into(),
                password: crate::remote::PasswordFate::NotGiven,
            },
            Error::HandshakeFailed { endpoint: endpoint(), reason: "it is no SSH server".into() },
            Error::ConnectTimeout { endpoint: endpoint(), seconds: 10 },
            Error::Unreachable { endpoint: endpoint(), reason: "no route".into() },
            Error::ConnectionLost { during: "while the script ran", reason: "reset".into() },
            Error::TimedOut { during: "during the login", reason: "silence".into() },
            Error::DnsFailed { address: "x".into(), reason: "no such name".into() },
            Error::KeyEncrypted { path: "x".into() },
        ] {
            let mut retries = begin(Deadlines::default());
            assert_eq!(retries.pause_after(&Failure::Final(error), Instant::now(), 0.5), None);
        }
    }

    #[test]
    fn the_last_failure_tells_of_the_attempts_and_stays_what_it_is() {
        let mut retries = begin(Deadlines::default());
        assert_eq!(retries.give_up(refused()).to_string(), "x:22 refused the connection");
        retries.pause_after(&refused(), Instant::now(), 0.5);
        let error = retries.give_up(refused());
        assert_eq!(error.to_string(), "x:22 refused the connection (tried 2 times)");
        assert_eq!((error.code(), error.attempts()), ("connect_refused", 2));
        assert_eq!(error.retry_class(), RetryClass::Retryable);
        assert!(matches!(error.cause(), Error::ConnectRefused { .. }));
    }
}
