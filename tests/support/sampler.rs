//! Witnesses of what processes are told on their command line and in their environment.
//!
//! [`Sampler`] reads /proc as fast as it can, on this machine and, as root, in every test host; a process may be too quick
//! for it. [`ExecTrace`] is told by the kernel of every program a process and its children start.

use super::{eventually, require};
use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

/// Samples until it is asked for what it saw.
pub struct Sampler {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<HashSet<Vec<u8>>>,
}

impl Sampler {
    pub fn start() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut seen = HashSet::new();
            while !flag.load(Ordering::Relaxed) {
                sample(&mut seen);
            }
            sample(&mut seen);
            seen
        });
        Self { stop, thread }
    }

    /// Every different command line and environment so far.
    pub fn finish(self) -> HashSet<Vec<u8>> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

fn sample(seen: &mut HashSet<Vec<u8>>) {
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        if entry.file_name().to_str().is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_digit())) {
            seen.extend(["cmdline", "environ"].iter().filter_map(|file| fs::read(entry.path().join(file)).ok()));
        }
    }
}

/// strace on a running process and everything it starts from now on. Root only.
pub struct ExecTrace {
    strace: Child,
    log: PathBuf,
}

impl ExecTrace {
    /// What strace needs to write down every program that is started, whole.
    pub fn options(log: &Path) -> Vec<String> {
        let options = ["-f", "-v", "-s", "1000000", "-e", "trace=execve,execveat", "-o", log.to_str().unwrap()];
        options.map(str::to_owned).to_vec()
    }

    pub fn attach(pid: u32, log: &Path) -> Self {
        let mut command = Command::new(require("strace"));
        command.args(Self::options(log)).args(["-p", &pid.to_string()]).stdin(Stdio::null()).stderr(Stdio::null());
        let mut strace = command.spawn().unwrap();
        eventually("strace to attach", || {
            assert!(strace.try_wait().unwrap().is_none(), "strace ended");
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
            status.contains(&format!("TracerPid:\t{}\n", strace.id())).then_some(())
        });
        Self { strace, log: log.to_owned() }
    }

    /// The log, once the process has ended.
    pub fn finish(mut self) -> String {
        eventually("strace to end", || self.strace.try_wait().unwrap());
        fs::read_to_string(&self.log).unwrap()
    }
}

impl Drop for ExecTrace {
    fn drop(&mut self) {
        let _ = self.strace.kill();
        let _ = self.strace.wait();
    }
}
