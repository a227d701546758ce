//! The host keys of many hosts and of the jump hosts before them, asked for without a login there, each held against
//! known_hosts.

use crate::{
    inventory::Host,
    remote::{
        self, HostRemote,
        ssh::{Extent, HostScan, JumpWay, KeyState, ScannedKey, SshRemote},
    },
    workflow::{
        Interrupt, InterruptObserver,
        fanout::{self, Progress},
        report::ErrorReport,
    },
};

/// What one host showed.
#[derive(Debug, Clone)]
pub struct HostKeys {
    /// In the inventory; of a jump host, as it is written there.
    pub name: String,
    /// In known_hosts: `name` or `[name]:port`.
    pub address: String,
    pub keys: Vec<ScannedKey>,
    /// Why not all of them are here.
    pub error: Option<ErrorReport>,
}

impl HostKeys {
    /// Whether it shows a key that known_hosts contradicts.
    #[must_use]
    pub fn is_contradicted(&self) -> bool {
        self.keys.iter().any(|key| matches!(key.state, KeyState::Differs(_) | KeyState::Revoked(_)))
    }
}

/// Told how it comes along. Called on one thread.
pub trait ScanObserver: InterruptObserver {
    fn host_scanned(&self, name: &str, keys: &HostKeys);
}

/// What is asked: jump hosts, then the hosts behind SSH.
pub struct Scan<'a> {
    jumps: Vec<JumpWay>,
    hosts: &'a [&'a Host],
    concurrency: usize,
}

impl<'a> Scan<'a> {
    /// Finds the jump hosts before `hosts`, each once; those before others come first.
    #[must_use]
    pub fn of(ssh: &SshRemote, hosts: &'a [&'a Host], concurrency: usize, interrupt: &Interrupt) -> Self {
        let found = fanout::run_on_each(hosts, concurrency, interrupt, |host| ssh.jump_ways(host), |_| {});
        let mut jumps: Vec<JumpWay> = Vec::new();
        for way in found.into_iter().flatten().flatten() {
            if !jumps.iter().any(|seen| seen.is_same(&way)) {
                jumps.push(way);
            }
        }
        Self { jumps, hosts, concurrency }
    }

    /// How many are asked.
    #[must_use]
    pub fn count(&self) -> usize {
        self.jumps.len() + self.hosts.len()
    }

    /// Asks them; the result is in that order, without local hosts. Those not begun because of an interrupt are left out.
    pub fn run(
        &self,
        remote: &HostRemote,
        extent: Extent,
        interrupt: &Interrupt,
        observer: &dyn ScanObserver,
    ) -> Vec<HostKeys> {
        let keys = |name: &str, scan: HostScan| {
            let error = scan.error.map(|error| ErrorReport::of_host(&error));
            HostKeys { name: name.to_owned(), address: scan.name, keys: scan.keys, error }
        };
        let observe = |progress: &Progress<Option<HostKeys>>| match progress {
            Progress::Started(_) | Progress::Done(_, None) => {}
            Progress::Done(_, Some(keys)) => observer.host_scanned(&keys.name, keys),
            Progress::Interrupted(in_flight) => observer.interrupted(*in_flight),
        };
        let lost = |name: &str| {
            let error = Some(ErrorReport::of_host(&remote::Error::Bug));
            Some(HostKeys { name: name.to_owned(), address: name.to_owned(), keys: Vec::new(), error })
        };
        let ask_jump = |way: &JumpWay| {
            fanout::guarded(|| Some(keys(&way.name, remote.scan_jump_host(way, extent))), || lost(&way.name))
        };
        let ask = |host: &&Host| {
            let name = host.name.as_str();
            fanout::guarded(|| Some(keys(name, remote.scan_host_keys(host, extent)?)), || lost(name))
        };
        let mut found = fanout::run_on_each(&self.jumps, self.concurrency, interrupt, ask_jump, observe);
        found.extend(fanout::run_on_each(self.hosts, self.concurrency, interrupt, ask, observe));
        found.into_iter().flatten().flatten().collect()
    }
}
