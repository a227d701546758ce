//! What an open session costs kubemint in memory: every host's shell is held at its start (sshd runs ~/.ssh/rc before any
//! command), so that all sessions are open at once; then the resident size is read. The same with one host is the baseline.

use super::{contenders::Kubemint, report::say, testbed::Testbed};
use std::{
    fs,
    process::{Child, Stdio},
    thread,
    time::{Duration, Instant},
};

const HOLD: &str = ": >/tmp/held; while [ -e /tmp/hold ]; do sleep 0.1; done\n";

/// Resident sizes, bytes.
pub struct Memory {
    pub sessions: usize,
    /// With one session open.
    pub baseline: f64,
    /// With all of them open.
    pub all: f64,
}

impl Memory {
    pub fn per_session(&self) -> f64 {
        (self.all - self.baseline) / (self.sessions as f64 - 1.0)
    }
}

/// Host 1 alone, then all hosts at once.
pub fn measure_memory(bed: &Testbed, kubemint: &Kubemint) -> Result<Memory, String> {
    let sessions = bed.hosts.len();
    if sessions < 2 {
        return Err("it takes two hosts".into());
    }
    say(&format!("memory of {sessions} open sessions"));
    let held = Held { bed };
    let baseline = held.resident(kubemint, 1)?;
    let all = held.resident(kubemint, sessions)?;
    Ok(Memory { sessions, baseline, all })
}

/// Lets the hosts go when it ends.
struct Held<'a> {
    bed: &'a Testbed,
}

impl Held<'_> {
    /// kubemint's resident size while the first `count` hosts are held.
    fn resident(&self, kubemint: &Kubemint, count: usize) -> Result<f64, String> {
        for n in 1..=count {
            for (file, text) in [("root/.ssh/rc", HOLD), ("tmp/hold", "")] {
                fs::write(self.bed.host_path(n, file), text).map_err(|e| e.to_string())?;
            }
        }
        let limit = if count == 1 { self.bed.hosts[0].name.clone() } else { "*".to_owned() };
        let concurrency = count.min(1024).to_string();
        let mut command = kubemint.command(&["apply", "--yes", "--limit", &limit, "--concurrency", &concurrency]);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let child = child.as_mut().map_err(|e| e.to_string())?;
        let resident = self.wait_for_all(child, count.min(1024)).and_then(|()| resident_size(child.id()));
        self.release();
        let status = child.wait().map_err(|e| e.to_string())?;
        match status.success() {
            true => resident,
            false => Err(format!("kubemint ended with {status} while its hosts were held")),
        }
    }

    fn wait_for_all(&self, child: &mut Child, count: usize) -> Result<(), String> {
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            let held = (1..=self.bed.hosts.len()).filter(|n| self.bed.host_path(*n, "tmp/held").exists()).count();
            if held >= count {
                // What was sent meanwhile is under way.
                thread::sleep(Duration::from_millis(500));
                return Ok(());
            }
            if Instant::now() > end || child.try_wait().map_err(|e| e.to_string())?.is_some() {
                return Err(format!("only {held} of {count} hosts are held"));
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn release(&self) {
        for n in 1..=self.bed.hosts.len() {
            for file in ["root/.ssh/rc", "tmp/hold", "tmp/held"] {
                let _ = fs::remove_file(self.bed.host_path(n, file));
            }
        }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.release();
    }
}

fn resident_size(pid: u32) -> Result<f64, String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).map_err(|e| e.to_string())?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    let kilobytes: f64 = line.trim().trim_end_matches(" kB").parse().map_err(|_| format!("VmHWM:{line}"))?;
    Ok(kilobytes * 1024.0)
}
