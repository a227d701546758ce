//! What must not stay behind when the bench is stopped (Ctrl-C, SIGTERM): the program being measured, the servers, their
//! control group, the working directory. An ordinary end goes the ordinary way, through `drop`.

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals,
};
use std::{
    fs,
    path::PathBuf,
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

/// What is there at this moment.
pub static PRESENT: Mutex<Present> = Mutex::new(Present { group: None, servers: None, account: None, dir: None });

pub struct Present {
    /// Process group of the program being measured.
    pub group: Option<u32>,
    /// Process 1 of the servers' namespaces.
    pub servers: Option<u32>,
    pub account: Option<PathBuf>,
    pub dir: Option<PathBuf>,
}

/// Changes the record; works also after a panic elsewhere.
pub fn note(change: impl FnOnce(&mut Present)) {
    change(&mut PRESENT.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
}

pub fn on_signals() -> std::io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            note(|present| clean_up(present));
            std::process::exit(128 + signal);
        }
    });
    Ok(())
}

fn clean_up(present: &Present) {
    let pid = |pid: Option<u32>| pid.and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
    if let Some(group) = pid(present.group) {
        let _ = kill_process_group(group, Signal::KILL);
    }
    if let Some(servers) = pid(present.servers) {
        let _ = kill_process(servers, Signal::KILL);
    }
    let end = Instant::now() + Duration::from_secs(10);
    while present.account.as_ref().is_some_and(|dir| fs::remove_dir(dir).is_err() && dir.exists())
        && Instant::now() < end
    {
        thread::sleep(Duration::from_millis(20));
    }
    if let Some(dir) = &present.dir {
        let _ = fs::remove_dir_all(dir);
    }
}
