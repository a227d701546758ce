//! What must not stay behind, however the bench ends: programs in the client's network namespace (they are all ours), the
//! servers, their control group, the working directory. Called by `drop`, and on Ctrl-C and SIGTERM.

use rustix::process::{Pid, Signal, kill_process};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals,
};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

static PRESENT: Mutex<Present> = Mutex::new(Present { client: None, servers: None, account: None, dir: None });

/// What is there at this moment.
#[derive(Debug, Default)]
pub struct Present {
    /// Name of the client's network namespace.
    pub client: Option<PathBuf>,
    /// The process that everything of the servers ends with.
    pub servers: Option<u32>,
    pub account: Option<PathBuf>,
    pub dir: Option<PathBuf>,
}

/// Changes the record.
pub fn note(change: impl FnOnce(&mut Present)) {
    change(&mut PRESENT.lock().unwrap_or_else(PoisonError::into_inner));
}

/// On a signal everything goes, and the process with it.
pub fn on_signals() -> std::io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            note(|present| {
                end_hosts(present);
                if let Some(dir) = &present.dir {
                    let _ = fs::remove_dir_all(dir);
                }
            });
            std::process::exit(128 + signal);
        }
    });
    Ok(())
}

/// Ends both sides of the testbed and waits for its control group to go.
pub fn end_hosts(present: &mut Present) {
    if let Some(client) = present.client.take() {
        end_all_in(&client);
    }
    if let Some(servers) = present.servers.take() {
        kill(servers);
    }
    if let Some(account) = present.account.take() {
        let end = Instant::now() + Duration::from_secs(10);
        while fs::remove_dir(&account).is_err() && account.exists() && Instant::now() < end {
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Ends every other process in the network namespace.
fn end_all_in(namespace: &Path) {
    let own = std::process::id();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        if pid != own && namespace_of(pid).is_some_and(|its| its == namespace) {
            kill(pid);
        }
    }
}

/// The network namespace of a process, by the name the kernel gives it.
pub fn namespace_of(pid: u32) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/ns/net")).ok()
}

fn kill(pid: u32) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, Signal::KILL);
    }
}
