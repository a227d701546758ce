//! Picks the way to a host by its `connection`.

use super::{
    Error, Remote, Reply, Script, UnlockError,
    local::LocalRemote,
    ssh::{LockedKeys, SshRemote},
};
use crate::{
    inventory::{Connection, Host},
    secret::Secret,
};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

/// SSH hosts over SSH, local ones by this machine's shell.
pub struct HostRemote {
    ssh: SshRemote,
    local: LocalRemote,
}

impl HostRemote {
    #[must_use]
    pub fn new(ssh: SshRemote, local: LocalRemote) -> Self {
        Self { ssh, local }
    }

    /// For what is asked of SSH alone.
    #[must_use]
    pub fn ssh(&self) -> &SshRemote {
        &self.ssh
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
}
