//! What is done about files that steer kubemint and that another user may write to: a warning, and with root's rights a
//! refusal, since their author would act as root on every host. `--trust-inventory` allows them.

use super::{failure::Failure, output::Output};
use crate::store::{Exposed, TrustedUsers};
use std::{
    cell::{Cell, RefCell},
    path::Path,
};

pub(super) struct Steering {
    users: TrustedUsers,
    policy: Cell<Policy>,
    /// Each once.
    found: RefCell<Vec<Exposed>>,
    is_trusted: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Policy {
    Warn,
    Refuse,
    Allow,
    /// For who tells all that was found at its end.
    Note,
}

impl Steering {
    /// `sudo_caller` is what sudo says of who called it.
    pub(super) fn new(sudo_caller: Option<&str>, is_trusted: bool) -> Self {
        let users = TrustedUsers::of_process(sudo_caller.and_then(|uid| uid.parse().ok()));
        let policy = match is_trusted {
            true => Policy::Allow,
            false if is_root() => Policy::Refuse,
            false => Policy::Warn,
        };
        Self { users, policy: Cell::new(policy), found: RefCell::default(), is_trusted }
    }

    pub(super) fn users(&self) -> &TrustedUsers {
        &self.users
    }

    /// From now on files are looked at, and neither warned of nor refused.
    pub(super) fn note_only(&self) {
        self.policy.set(Policy::Note);
    }

    /// Whether every other command would refuse what is found.
    pub(super) fn is_refusing(&self) -> bool {
        is_root() && !self.is_trusted
    }

    /// What was found since.
    pub(super) fn found(&self) -> Vec<Exposed> {
        self.found.borrow().clone()
    }

    /// Judges the file at an absolute path, once however often it is read.
    pub(super) fn judge(&self, path: &Path, output: &Output) -> Result<(), Failure> {
        let policy = self.policy.get();
        if policy == Policy::Allow || self.found.borrow().iter().any(|found| found.file == path) {
            return Ok(());
        }
        let Some(exposed) = self.users.find_exposure(path) else { return Ok(()) };
        match policy {
            Policy::Refuse => {
                return Err(Failure::refused("untrusted_file", exposed.to_string()).hint(exposed.hint()));
            }
            Policy::Warn => output.warn(&format!("{exposed}; {}", exposed.hint())),
            Policy::Allow | Policy::Note => {}
        }
        self.found.borrow_mut().push(exposed);
        Ok(())
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
