//! SIGINT and SIGTERM while hosts are worked on: the first asks to start no more hosts, the second ends the process at
//! once. Everywhere else they do what they always do: a question or a read of standard input ends at the first one.

use super::failure::Exit;
use crate::workflow::Interrupt;
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    flag,
};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// The signals of this process.
#[derive(Debug, Clone, Default)]
pub(super) struct Signals {
    pub(super) interrupt: Interrupt,
    /// Number of the signal that came, 0 for none.
    received: Arc<AtomicUsize>,
}

impl Signals {
    /// Starts listening. A system that refuses to let us keeps its default: the signal ends the process.
    pub(super) fn listen(&self) {
        for signal in [SIGINT, SIGTERM] {
            // The order matters: the second signal finds the flag set and ends the process.
            let _ = flag::register_conditional_shutdown(signal, 128 + signal, self.interrupt.0.clone());
            let _ = flag::register_usize(signal, self.received.clone(), usize::try_from(signal).unwrap_or(0));
            let _ = flag::register(signal, self.interrupt.0.clone());
        }
    }

    /// The exit code of an interrupted run, if it was interrupted.
    pub(super) fn exit(&self) -> Option<Exit> {
        match u8::try_from(self.received.load(Ordering::Relaxed)) {
            Ok(0) | Err(_) => None,
            Ok(signal) => Some(Exit::Interrupted(signal)),
        }
    }
}
