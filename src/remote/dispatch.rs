//! Picks the way to a host by its `connection`.

use super::{Error, Remote, Reply, Script, local::LocalRemote, ssh::SshRemote};
use crate::inventory::{Connection, Host};

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
}

impl Remote for HostRemote {
    fn run_script(&self, host: &Host, script: &Script<'_>) -> Result<Reply, Error> {
        match host.connection {
            Connection::Ssh(_) => self.ssh.run_script(host, script),
            Connection::Local { .. } => self.local.run_script(host, script),
        }
    }
}
