//! The one password of a run, and the bound on how often it may be wrong: a mistyped one must not lock an account that
//! a thousand hosts share.
//!
//! Until some host has taken it, at most [`MOST_REFUSALS`] hosts are asked in all, however many are worked on at a time;
//! the others wait for what those say. Counted for each user. Never tried twice on one host.

use crate::secret::{ExposeSecret, Secret};
use std::{
    collections::HashMap,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// This many refusals without a success, and the password is tried nowhere else.
pub const MOST_REFUSALS: usize = 3;

/// What came of the password of this run on one host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PasswordFate {
    /// There is none.
    NotGiven,
    Refused,
    /// Other hosts refused it: not tried, or the account would be locked in the end.
    Withheld,
    /// The host takes no passwords.
    NotTaken,
    /// The host asks for something else.
    OtherQuestion,
}

impl PasswordFate {
    /// `of` is whose password sudo asks for, where that is somebody else.
    pub(super) fn in_sudo_s_words(self, of: Option<&str>) -> String {
        let whose = of.map(|name| format!("; it asks for the password of {name}")).unwrap_or_default();
        match self {
            Self::Withheld => format!("the password is not tried: {MOST_REFUSALS} other hosts did not take it"),
            _ => format!("the password is refused{whose}"),
        }
    }

    pub(super) fn sudo_hint(user: &str, of: Option<&str>) -> String {
        match of {
            Some(name) => format!("give the password of {name}, or take rootpw, targetpw or runaspw out of sudoers"),
            None => format!("give the password with which `sudo -v` works for {user} on the host"),
        }
    }

    pub(super) fn login_hint(self, user: &str) -> String {
        match self {
            Self::NotGiven | Self::NotTaken => format!(
                "check that one of these public keys is in ~{user}/.ssh/authorized_keys on the host, and that the \
                 account is neither locked nor expired; `ssh -v` shows the same login"
            ),
            Self::Refused => format!(
                "check the password of {user}, that the account is neither locked nor expired, and for root that sshd \
                 has PermitRootLogin yes"
            ),
            Self::Withheld => format!(
                "{MOST_REFUSALS} hosts refused the password and none took it: it is tried nowhere else, lest the \
                 account of {user} be locked; check it with one host, --limit HOST"
            ),
            Self::OtherQuestion => {
                "the host wants more than a password, such as a one-time code: give kubemint a key for it".into()
            }
        }
    }
}

/// A password for all hosts. Clones share what is known of it.
#[derive(Debug, Clone)]
pub struct Password {
    secret: Secret,
    accounts: Arc<Accounts>,
}

#[derive(Debug, Default)]
struct Accounts {
    by_user: Mutex<HashMap<String, Account>>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Account {
    is_right: bool,
    refusals: usize,
    /// Being tried at this moment.
    open: usize,
}

/// The right to try the password on one host. Dropped without a verdict, it counts as not tried.
pub(super) struct Attempt<'p> {
    password: &'p Password,
    user: String,
}

/// Why it may not be tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Denied {
    /// [`MOST_REFUSALS`] hosts have refused it.
    Withheld,
    /// Those that try it have not come to an end in time.
    Undecided,
}

impl Password {
    #[must_use]
    pub fn new(secret: Secret) -> Self {
        Self { secret, accounts: Arc::default() }
    }

    /// Whether an answer is none.
    #[must_use]
    pub fn is_empty(answer: &Secret) -> bool {
        answer.expose_secret().is_empty()
    }

    pub(super) fn secret(&self) -> &Secret {
        &self.secret
    }

    /// Waits, at most `limit`, until it is known whether one more host may be asked for `user`.
    pub(super) fn attempt(&self, user: &str, limit: Duration) -> Result<Attempt<'_>, Denied> {
        let end = Instant::now() + limit;
        let mut accounts = self.lock();
        loop {
            let account = accounts.entry(user.to_owned()).or_default();
            if account.is_right || account.refusals + account.open < MOST_REFUSALS {
                account.open += 1;
                return Ok(Attempt { password: self, user: user.to_owned() });
            }
            if account.refusals >= MOST_REFUSALS {
                return Err(Denied::Withheld);
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Denied::Undecided);
            }
            let wait = self.accounts.changed.wait_timeout(accounts, left);
            accounts = wait.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Account>> {
        self.accounts.by_user.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Attempt<'_> {
    pub fn secret(&self) -> &Secret {
        &self.password.secret
    }

    pub fn accepted(self) {
        self.password.lock().entry(self.user.clone()).or_default().is_right = true;
    }

    pub fn refused(self) {
        self.password.lock().entry(self.user.clone()).or_default().refusals += 1;
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if let Some(account) = self.password.lock().get_mut(&self.user) {
            account.open -= 1;
        }
        self.password.accounts.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        thread,
    };

    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn a_wrong_password_is_tried_three_times_however_many_hosts_there_are() {
        let (password, tried) = (Password::new(Secret::from("wrong")), AtomicUsize::new(0));
        let withheld = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..64 {
                scope.spawn(|| match password.attempt("ops", LONG) {
                    Ok(attempt) => {
                        tried.fetch_add(1, Ordering::SeqCst);
                        attempt.refused();
                    }
                    Err(denied) => {
                        assert_eq!(denied, Denied::Withheld);
                        withheld.fetch_add(1, Ordering::SeqCst);
                    }
                });
            }
        });
        assert_eq!((tried.into_inner(), withheld.into_inner()), (MOST_REFUSALS, 61));
        // Another user's account is another matter.
        assert!(password.attempt("root", LONG).is_ok());
    }

    #[test]
    fn one_success_lets_every_host_be_asked() {
        let password = Password::new(Secret::from("right"));
        password.attempt("ops", LONG).unwrap_or_else(|_| panic!("free")).accepted();
        let attempts: Vec<_> = (0..10).map(|_| password.attempt("ops", LONG)).collect();
        for attempt in attempts {
            attempt.unwrap_or_else(|_| panic!("free")).refused();
        }
        assert!(password.attempt("ops", LONG).is_ok());
    }

    #[test]
    fn an_attempt_without_a_verdict_makes_room_for_another() {
        let password = Password::new(Secret::from("x"));
        let mut open: Vec<_> = (0..MOST_REFUSALS).map(|_| password.attempt("ops", LONG)).collect();
        let denied = password.attempt("ops", Duration::from_millis(20)).err();
        assert_eq!(denied, Some(Denied::Undecided));
        drop(open.pop());
        assert!(password.attempt("ops", LONG).is_ok());
    }
}
