//! The host keys of many hosts, asked for without a login, each held against known_hosts.

use crate::{
    inventory::Host,
    remote::ssh::{Extent, KeyState, ScannedKey, SshRemote},
    workflow::{
        Interrupt,
        fanout::{self, Progress},
        report::ErrorReport,
    },
};

/// What one host showed.
#[derive(Debug, Clone)]
pub struct HostKeys {
    /// In the inventory.
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
pub trait ScanObserver {
    fn host_scanned(&self, name: &str, keys: &HostKeys);
}

/// Asks every host behind SSH; the result is in the order given, without local hosts. Hosts not begun because of an
/// interrupt are left out.
pub fn scan_hosts(
    ssh: &SshRemote,
    hosts: &[&Host],
    extent: Extent,
    concurrency: usize,
    interrupt: &Interrupt,
    observer: &dyn ScanObserver,
) -> Vec<HostKeys> {
    let ask = |host: &&Host| {
        let scan = ssh.scan_host_keys(host, extent)?;
        let error = scan.error.map(|error| ErrorReport::of_host(&error));
        Some(HostKeys { name: host.name.as_str().to_owned(), address: scan.name, keys: scan.keys, error })
    };
    let results = fanout::run_on_each(hosts, concurrency, interrupt, ask, |progress| {
        if let Progress::Done(_, Some(keys)) = progress {
            observer.host_scanned(&keys.name, keys);
        }
    });
    results.into_iter().flatten().flatten().collect()
}
