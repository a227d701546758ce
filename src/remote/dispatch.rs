//! Picks the way to a host by its `connection`.

use super::{
    Error, Remote, Reply, Script, UnlockError,
    local::LocalRemote,
    redact::{Redactor, error_of_jump},
    ssh::{Extent, HostScan, JumpWay, LockedKeys, SshRemote},
};
use crate::{
    bundle::HostFile,
    foreign::Pieces,
    inventory::{Connection, Host},
    secret::Secret,
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// SSH hosts over SSH, local ones by this machine's shell.
pub struct HostRemote {
    ssh: SshRemote,
    local: LocalRemote,
    sent: Option<Box<Sent>>,
    all: Option<Box<All>>,
}

/// Gives the files that a host may have been sent.
type Sent = dyn Fn(&Host) -> Vec<HostFile> + Send + Sync;
/// Gives the secrets of all hosts.
type All = dyn Fn() -> Option<Arc<Pieces>> + Send + Sync;

impl HostRemote {
    #[must_use]
    pub fn new(ssh: SshRemote, local: LocalRemote) -> Self {
        Self { ssh, local, sent: None, all: None }
    }

    /// With what [`Remote::sent_to`] is to give.
    #[must_use]
    pub fn remembering(self, sent: impl Fn(&Host) -> Vec<HostFile> + Send + Sync + 'static) -> Self {
        Self { sent: Some(Box::new(sent)), ..self }
    }

    /// With what [`Remote::secrets_of_all`] is to give.
    #[must_use]
    pub fn guarding(self, all: impl Fn() -> Option<Arc<Pieces>> + Send + Sync + 'static) -> Self {
        Self { all: Some(Box::new(all)), ..self }
    }

    /// For what is asked of SSH alone.
    #[must_use]
    pub fn ssh(&self) -> &SshRemote {
        &self.ssh
    }

    /// As [`SshRemote::scan_host_keys`], with nothing in its error that repeats a secret.
    #[must_use]
    pub fn scan_host_keys(&self, host: &Host, extent: Extent) -> Option<HostScan> {
        let mut scan = self.ssh.scan_host_keys(host, extent)?;
        scan.error = scan.error.map(|error| Redactor::new(self, host, &[]).error(error));
        Some(scan)
    }

    /// As [`SshRemote::scan_jump_host`], with nothing in its error that repeats a secret.
    #[must_use]
    pub fn scan_jump_host(&self, way: &JumpWay, extent: Extent) -> HostScan {
        let mut scan = self.ssh.scan_jump_host(way, extent);
        scan.error = scan.error.map(|error| error_of_jump(self, error));
        scan
    }

    /// As [`SshRemote::locked_keys`].
    #[must_use]
    pub fn locked_keys<'h>(&self, hosts: impl IntoIterator<Item = &'h Host>, which: LockedKeys) -> Vec<PathBuf> {
        self.ssh.locked_keys(hosts, which)
    }

    /// As [`SshRemote::unlock`].
    ///
    /// # Errors
    /// [`UnlockError`]; the key stays locked.
    pub fn unlock(&self, key: &Path, passphrase: &Secret) -> Result<(), UnlockError> {
        self.ssh.unlock(key, passphrase)
    }
}

impl Remote for HostRemote {
    fn run_script(&self, host: &Host, script: &Script<'_>) -> Result<Reply, Error> {
        match host.connection {
            Connection::Ssh(_) => self.ssh.run_script(host, script),
            Connection::Local { .. } => self.local.run_script(host, script),
        }
    }

    fn run_long_script(&self, host: &Host, script: &Script<'_>, time: Duration) -> Result<Reply, Error> {
        match host.connection {
            Connection::Ssh(_) => self.ssh.run_long_script(host, script, time),
            Connection::Local { .. } => self.local.run_long_script(host, script, time),
        }
    }

    fn sent_to(&self, host: &Host) -> Vec<HostFile> {
        self.sent.as_ref().map(|sent| sent(host)).unwrap_or_default()
    }

    fn secrets_of_all(&self) -> Option<Arc<Pieces>> {
        self.all.as_ref()?()
    }
}
