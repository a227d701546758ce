//! SIGINT, SIGTERM and SIGHUP while hosts are worked on: the first signal asks to start no more hosts, a second SIGINT or
//! SIGTERM ends the process at once. Everywhere else they do what they always do: a question or a read of standard input
//! ends at the first one, after the terminal has been put right.
//!
//! A second SIGHUP does not end the process: one terminal that closes sends it from the kernel, from the shell, and to the
//! group. A SIGHUP that is ignored from the start, as by nohup(1), stays ignored.

use super::failure::Exit;
use crate::workflow::Interrupt;
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM},
    flag,
    iterator::{Handle, Signals as Arrivals},
    low_level::emulate_default_handler,
};
use std::{
    fs, io,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
};

/// What ends a process that does not listen.
const DEADLY: [i32; 4] = [SIGINT, SIGTERM, SIGHUP, SIGQUIT];
/// What asks a run to end, and whether a second one ends it at once.
const REQUESTS: [(i32, Second); 3] = [(SIGINT, Second::Ends), (SIGTERM, Second::Ends), (SIGHUP, Second::IsTheSame)];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Second {
    Ends,
    IsTheSame,
}

/// The signals of this process.
#[derive(Debug, Clone, Default)]
pub(super) struct Signals {
    pub(super) interrupt: Interrupt,
    /// Number of the signal that came, 0 for none.
    received: Arc<AtomicUsize>,
    defaults: Arc<Defaults>,
    is_listening: Arc<OnceLock<()>>,
}

/// A signal that was once taken over never gets its default back: from then on we do what it would.
#[derive(Debug, Default)]
struct Defaults {
    /// For each of [`DEADLY`]: whether it does what it always does.
    applies: [Arc<AtomicBool>; 4],
    registered: OnceLock<()>,
}

/// While this is held, a deadly signal puts something right before it ends the process.
pub(super) struct RestoreFirst {
    defaults: Arc<Defaults>,
    arrivals: Handle,
    waiter: Option<JoinHandle<()>>,
}

impl Drop for RestoreFirst {
    fn drop(&mut self) {
        self.arrivals.close();
        let _ = self.waiter.take().map(JoinHandle::join);
        self.defaults.set(true);
    }
}

impl Defaults {
    fn set(&self, applies: bool) {
        self.applies.iter().for_each(|flag| flag.store(applies, Ordering::SeqCst));
    }
}

impl Signals {
    /// Starts listening. A system that refuses to let us keeps its default: the signal ends the process.
    pub(super) fn listen(&self) {
        // Twice over, the first signal would find its own flag set.
        if self.is_listening.set(()).is_err() {
            return;
        }
        for (signal, second) in REQUESTS.into_iter().filter(|(signal, _)| *signal != SIGHUP || !ignores_hangup()) {
            let number = DEADLY.iter().position(|deadly| *deadly == signal);
            number.into_iter().for_each(|n| self.defaults.applies[n].store(false, Ordering::SeqCst));
            // The order matters: the second signal finds the flag set and ends the process.
            if second == Second::Ends {
                let _ = flag::register_conditional_shutdown(signal, 128 + signal, self.interrupt.0.clone());
            }
            let _ = flag::register_usize(signal, self.received.clone(), usize::try_from(signal).unwrap_or(0));
            let _ = flag::register(signal, self.interrupt.0.clone());
        }
    }

    /// Until the returned value is dropped, a deadly signal runs `restore` first.
    pub(super) fn restore_first(&self, restore: impl FnOnce() + Send + 'static) -> io::Result<RestoreFirst> {
        let listened = || DEADLY.into_iter().enumerate().filter(|(_, signal)| *signal != SIGHUP || !ignores_hangup());
        let mut arrivals = Arrivals::new(listened().map(|(_, signal)| signal))?;
        self.defaults.set(false);
        if self.defaults.registered.set(()).is_ok() {
            for (n, signal) in listened() {
                flag::register_conditional_default(signal, Arc::clone(&self.defaults.applies[n]))?;
            }
        }
        let handle = arrivals.handle();
        let waiter = thread::Builder::new().name("signals".into()).spawn(move || {
            if let Some(signal) = arrivals.forever().next() {
                restore();
                let _ = emulate_default_handler(signal);
            }
        })?;
        Ok(RestoreFirst { defaults: Arc::clone(&self.defaults), arrivals: handle, waiter: Some(waiter) })
    }

    /// The exit code of an interrupted run, if it was interrupted.
    pub(super) fn exit(&self) -> Option<Exit> {
        match u8::try_from(self.received.load(Ordering::Relaxed)) {
            Ok(0) | Err(_) => None,
            Ok(signal) => Some(Exit::Interrupted(signal)),
        }
    }
}

/// Whether SIGHUP was ignored when this was first asked, before it was listened to.
fn ignores_hangup() -> bool {
    static IGNORED: OnceLock<bool> = OnceLock::new();
    *IGNORED.get_or_init(|| {
        let status = fs::read_to_string("/proc/self/status").ok();
        // Where it cannot be known it is taken for ignored, and so left alone: the signal does then what it did before.
        status.as_deref().and_then(ignored_signals).is_none_or(|mask| mask >> (SIGHUP - 1) & 1 == 1)
    })
}

/// The mask of ignored signals in /proc/PID/status (proc(5), `SigIgn`).
fn ignored_signals(status: &str) -> Option<u64> {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"))?;
    u64::from_str_radix(mask.trim(), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mask_of_ignored_signals_is_read() {
        assert_eq!(ignored_signals("Name:\tx\nSigBlk:\t0\nSigIgn:\t0000000000001001\nSigCgt:\t0\n"), Some(0x1001));
        assert_eq!(ignored_signals("SigIgn:\tx\n"), None);
        assert_eq!(ignored_signals(""), None);
    }
}
