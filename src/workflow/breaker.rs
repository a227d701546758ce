//! When a run begins no more hosts: too many have failed, every host so far failed for a mistake of this machine, or its
//! journal cannot be written. Those in flight are finished in any case.

use super::{Interrupt, fanout::Brake, report::ErrorReport};
use crate::{
    remote::{self, RetryClass},
    store,
};
use std::sync::{Mutex, OnceLock, PoisonError};

/// When this many hosts have failed for a mistake of this machine and none has got further, none will.
const HOSTS_TO_BLAME_OURSELVES: usize = 10;

/// Counts how hosts end, and stops the run where it should. Shared by the threads that work on hosts, so that a host is
/// counted before the next is begun.
pub(super) struct Breaker<'a> {
    interrupt: &'a Interrupt,
    /// More failures than this are too many.
    allowed: Option<usize>,
    /// This many hosts must have failed before it is our fault.
    enough: usize,
    counts: Mutex<Counts>,
    stop: OnceLock<Stop>,
}

#[derive(Default)]
struct Counts {
    done: usize,
    failed: usize,
    misconfigured: usize,
    /// Ours as well, once the password is withheld from the others.
    passwords_refused: usize,
}

/// Why no more hosts are begun.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Stop {
    TooManyFailures { allowed: usize },
    OwnMistake { hosts: usize, code: &'static str },
    Unrecorded { error: String, hint: String },
}

impl<'a> Breaker<'a> {
    /// `batch`: how many hosts are begun before any has to be done.
    pub fn new(interrupt: &'a Interrupt, allowed: Option<usize>, batch: usize) -> Self {
        Self {
            interrupt,
            allowed,
            enough: batch.clamp(1, HOSTS_TO_BLAME_OURSELVES),
            counts: Mutex::default(),
            stop: OnceLock::new(),
        }
    }

    /// A host has what it should.
    pub fn count_done(&self) {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).done += 1;
    }

    pub fn count_failed(&self, error: &remote::Error) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.failed += 1;
        if error.retry_class() == RetryClass::Misconfigured {
            counts.misconfigured += 1;
        } else if error.is_password_refused() {
            counts.passwords_refused += 1;
        }
        let all_ours = counts.misconfigured > 0
            && counts.misconfigured + counts.passwords_refused == counts.failed
            && counts.done == 0;
        if let Some(allowed) = self.allowed.filter(|allowed| counts.failed > *allowed) {
            let _ = self.stop.set(Stop::TooManyFailures { allowed });
        } else if all_ours && counts.failed >= self.enough {
            let _ = self.stop.set(Stop::OwnMistake { hosts: counts.failed, code: error.code() });
        }
    }

    /// A host that counted as done has failed after all: its files are right, its service does not come back.
    pub fn count_undone(&self) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.failed += 1;
        if let Some(allowed) = self.allowed.filter(|allowed| counts.failed > *allowed) {
            let _ = self.stop.set(Stop::TooManyFailures { allowed });
        }
    }

    /// What is done cannot be recorded.
    pub fn stop_unrecorded(&self, error: &store::Error) {
        let _ = self.stop.set(Stop::Unrecorded { error: error.to_string(), hint: error.hint_midway() });
    }

    /// What is to be said of a host that was not begun.
    pub fn reason(&self) -> ErrorReport {
        match self.stop.get() {
            Some(stop) => ErrorReport { code: "not_started", message: stop.message(), hint: stop.hint() },
            None => ErrorReport {
                code: "interrupted",
                message: "the run was interrupted before this host was begun".into(),
                hint: "run the same command again".into(),
            },
        }
    }
}

impl Brake for Breaker<'_> {
    fn is_on(&self) -> bool {
        self.stop.get().is_some() || self.interrupt.is_on()
    }

    fn is_interrupted(&self) -> bool {
        self.interrupt.is_interrupted()
    }
}

impl Stop {
    fn message(&self) -> String {
        let why = match self {
            Self::TooManyFailures { allowed: 0 } => "a host had failed, and none may".to_owned(),
            Self::TooManyFailures { allowed: 1 } => "more than 1 host had failed".to_owned(),
            Self::TooManyFailures { allowed } => format!("more than {allowed} hosts had failed"),
            Self::OwnMistake { hosts: 1, code } => {
                format!("the first host failed for a mistake of this machine ({code})")
            }
            Self::OwnMistake { hosts, code } => {
                format!("the first {hosts} hosts failed for a mistake of this machine ({code})")
            }
            Self::Unrecorded { error, .. } => format!("its journal is incomplete: {error}"),
        };
        format!("not started: {why}")
    }

    fn hint(&self) -> String {
        match self {
            Self::TooManyFailures { .. } => {
                "fix the hosts that failed, then run the same command again; --max-failures allows more".into()
            }
            Self::OwnMistake { .. } => "fix it, then run the same command again".into(),
            Self::Unrecorded { hint, .. } => format!("{hint}, then run the same command again"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::PasswordFate;
    use std::sync::atomic::Ordering;

    fn refused() -> remote::Error {
        remote::Error::ConnectRefused { endpoint: "x:22".into() }
    }

    fn ours() -> remote::Error {
        remote::Error::KeyEncrypted { path: "x".into() }
    }

    #[test]
    fn more_failures_than_allowed_stop_the_run() {
        let interrupt = Interrupt::default();
        let breaker = Breaker::new(&interrupt, Some(2), 100);
        for _ in 0..2 {
            breaker.count_failed(&refused());
            breaker.count_done();
            assert!(!breaker.is_on());
        }
        breaker.count_failed(&refused());
        assert!(breaker.is_on());
        assert_eq!(breaker.reason().message, "not started: more than 2 hosts had failed");
        assert_eq!(breaker.reason().code, "not_started");
        let none = Breaker::new(&interrupt, Some(0), 100);
        none.count_failed(&refused());
        assert!(none.is_on() && none.reason().message.contains("none may"));
        let any = Breaker::new(&interrupt, None, 100);
        (0..1000).for_each(|_| any.count_failed(&refused()));
        assert!(!any.is_on());
    }

    #[test]
    fn only_a_mistake_of_this_machine_at_every_host_so_far_stops_the_run() {
        let interrupt = Interrupt::default();
        let all = Breaker::new(&interrupt, None, 500);
        (0..9).for_each(|_| all.count_failed(&ours()));
        assert!(!all.is_on());
        all.count_failed(&ours());
        assert!(all.is_on());
        assert!(all.reason().message.ends_with("10 hosts failed for a mistake of this machine (key_encrypted)"));
        let first = Breaker::new(&interrupt, None, 3);
        (0..3).for_each(|_| first.count_failed(&ours()));
        assert!(first.is_on(), "the first batch is over");
        for other in [Breaker::count_done, |breaker: &Breaker| breaker.count_failed(&refused())] {
            let some = Breaker::new(&interrupt, None, 500);
            other(&some);
            (0..50).for_each(|_| some.count_failed(&ours()));
            assert!(!some.is_on());
        }
    }

    #[test]
    fn a_password_that_is_withheld_after_refusals_stops_the_run() {
        let interrupt = Interrupt::default();
        let fails = |breaker: &Breaker, fate| {
            breaker.count_failed(&remote::Error::BecomePassword { user: "ops".into(), fate, of: None });
        };
        let typed_wrong = Breaker::new(&interrupt, None, 500);
        (0..3).for_each(|_| fails(&typed_wrong, PasswordFate::Refused));
        (0..6).for_each(|_| fails(&typed_wrong, PasswordFate::Withheld));
        assert!(!typed_wrong.is_on());
        fails(&typed_wrong, PasswordFate::Withheld);
        assert!(typed_wrong.is_on() && typed_wrong.reason().code == "not_started");
        // Refusals alone may be the hosts' own matter.
        let refused = Breaker::new(&interrupt, None, 500);
        (0..50).for_each(|_| fails(&refused, PasswordFate::Refused));
        assert!(!refused.is_on());
    }

    #[test]
    fn a_journal_that_cannot_be_written_stops_the_run() {
        let interrupt = Interrupt::default();
        let breaker = Breaker::new(&interrupt, None, 100);
        let source = std::io::ErrorKind::StorageFull.into();
        breaker.stop_unrecorded(&store::Error::Io { action: "write", path: "j".into(), source });
        assert!(breaker.is_on() && !breaker.is_interrupted());
        let ErrorReport { code, message, hint } = breaker.reason();
        assert_eq!(code, "not_started");
        assert!(message.contains("cannot write j") && hint.contains("free space"), "{message} {hint}");
        assert!(!hint.contains("no host was changed"), "{hint}");
    }

    #[test]
    fn an_interrupt_is_told_apart_unless_the_run_had_stopped_before() {
        let interrupt = Interrupt::default();
        let (running, stopped) = (Breaker::new(&interrupt, None, 9), Breaker::new(&interrupt, Some(0), 9));
        stopped.count_failed(&refused());
        interrupt.0.store(true, Ordering::Relaxed);
        assert!(running.is_on() && stopped.is_on());
        assert_eq!((running.reason().code, stopped.reason().code), ("interrupted", "not_started"));
    }
}
