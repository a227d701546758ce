//! What is known of a host on which something failed: it is as it was, or nobody can say.
//!
//! It follows from how far the work got, never from the kind of error: before the script is sent nothing can have been changed;
//! after that only the script's own last word tells. A reply that does not come, or comes without that word, tells nothing.

use super::Error;
use std::{cell::Cell, fmt, ops::Deref, rc::Rc};

/// What a failed piece of work has left on a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Every byte, mode and kept version is as before.
    Untouched,
    /// Something was changed, or may have been.
    Unknown,
}

/// Why a host was not worked on to the end, and what is known of it then.
#[derive(Debug)]
pub struct Failure {
    pub error: Error,
    pub effect: Effect,
}

impl Failure {
    /// Of work that changed nothing yet.
    pub(in crate::remote) fn untouched(error: Error) -> Self {
        Self { error, effect: Effect::Untouched }
    }

    #[must_use]
    pub fn is_untouched(&self) -> bool {
        self.effect == Effect::Untouched
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error.source()
    }
}

impl Deref for Failure {
    type Target = Error;

    fn deref(&self) -> &Error {
        &self.error
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        failure.error
    }
}

/// Whether a script has left for its host. Clones tell the same.
#[derive(Debug, Clone, Default)]
pub struct Sent(Rc<Cell<bool>>);

impl Sent {
    /// Before the first byte goes out.
    pub(in crate::remote) fn set(&self) {
        self.0.set(true);
    }

    /// What an error on the way means for the host.
    #[must_use]
    pub fn effect(&self) -> Effect {
        if self.0.get() { Effect::Unknown } else { Effect::Untouched }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_sent_changed_nothing_and_what_was_may_have() {
        let sent = Sent::default();
        let seen_elsewhere = sent.clone();
        assert_eq!(sent.effect(), Effect::Untouched);
        seen_elsewhere.set();
        assert_eq!(sent.effect(), Effect::Unknown);
    }
}
