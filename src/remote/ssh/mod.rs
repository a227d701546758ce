//! Hosts over SSH: one connection, one login, one command. The host key is checked before we prove who we are, and no
//! switch skips that. Reads no environment: home, agent socket and deadlines are given at construction.

mod access;
mod agent;
mod algorithms;
mod auth;
mod certificate;
mod connect;
mod destination;
mod dial;
mod exec;
mod greeting;
mod host_key;
mod jump;
mod key_decryption;
mod keys;
mod known_hosts;
mod line;
mod locked_keys;
mod material;
mod own_file;
mod password_login;
mod pattern;
mod resolve;
mod retry;
mod scan;
mod user_config;
mod watchdog;

pub use key_decryption::UnlockError;
pub use locked_keys::LockedKeys;
pub use material::{Account, Material, MaterialState};
pub use scan::{Extent, HostScan, JumpWay, KeyState, ScannedKey};

use super::{Deadlines, Error, Password, Peer, Remote, Reply, Script, lengthened, sudo::Dialogue};
use crate::{
    foreign::ForeignText,
    inventory::{Connection, Host, Privilege},
};
use access::{Access, Place};
use connect::Failure;
use destination::{Route, plan_route};
use jump::{Door, Doors};
use retry::with_retries;
use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};
use user_config::UserConfig;

/// What SSH needs to know of this machine.
#[derive(Debug, Clone, Default)]
pub struct SshConfig {
    /// Where the usual key files are looked for when a host names none.
    pub home: Option<PathBuf>,
    /// `SSH_AUTH_SOCK`; without it no agent is asked.
    pub agent_socket: Option<PathBuf>,
    /// What is asked for ~/.ssh/config, with `-G`; `ssh` unless told.
    pub ssh_program: Option<PathBuf>,
    pub deadlines: Deadlines,
    /// Tried where no key lets us in; never at a jump host.
    pub password: Option<Password>,
    /// For sudo; without it sudo must not ask.
    pub sudo_password: Option<Password>,
}

/// Runs scripts over SSH. Key files, known_hosts and ~/.ssh/config are read once per value, and each jump host is logged in
/// to once.
#[derive(Debug)]
pub struct SshRemote {
    access: Arc<Access>,
    user_config: UserConfig,
    doors: Doors,
}

impl SshRemote {
    #[must_use]
    pub fn new(config: SshConfig) -> Self {
        let user_config =
            UserConfig::new(config.ssh_program.as_deref(), config.home.as_deref(), config.deadlines.connect);
        Self { access: Arc::new(Access::new(config)), user_config, doors: Doors::default() }
    }

    fn attempt(
        &self,
        route: &Route,
        door: Option<&Arc<Door>>,
        host: &Host,
        script: &Script<'_>,
        (deadlines, end): (Deadlines, Instant),
    ) -> Result<Reply, Failure> {
        let config = self.access.config();
        let (mut link, host_key) = self.access.log_in(&route.target, Place::Target, door, end)?;
        link.lengthen(deadlines);
        let input = script(&Peer { host_key: Some(host_key), end })?;
        let mut reply = match (host.privilege, &config.sudo_password) {
            (Privilege::Sudo, Some(password)) => {
                let limit = link.time_left().min(deadlines.idle);
                exec::run_by_sudo(&mut link, Dialogue::new(password, &route.target.user, limit)?, input)?
            }
            _ => exec::run(&mut link, &super::command_line(host.privilege), input)?,
        };
        reply.passwords.extend(config.password.iter().map(|password| password.secret().clone()));
        Ok(reply)
    }
}

impl Remote for SshRemote {
    fn run_script(&self, host: &Host, script: &Script<'_>) -> Result<Reply, Error> {
        self.run(host, script, self.access.deadlines())
    }

    fn run_long_script(&self, host: &Host, script: &Script<'_>, time: Duration) -> Result<Reply, Error> {
        self.run(host, script, lengthened(self.access.deadlines(), time))
    }
}

impl SshRemote {
    fn run(&self, host: &Host, script: &Script<'_>, deadlines: Deadlines) -> Result<Reply, Error> {
        let Connection::Ssh(target) = &host.connection else {
            return Err(Error::LocalShell { reason: ForeignText::name(format!("{} is not an SSH host", host.name)) });
        };
        let end = Instant::now() + deadlines.host;
        let route = plan_route(host.name.as_str(), target, &self.user_config)?;
        let door = self.doors.last_of(&route.hops);
        let (reply, attempts) = with_retries(host.name.as_str(), deadlines, end, || {
            let result = self.attempt(&route, door.as_ref(), host, script, (deadlines, end));
            result.map_err(|failure| blame(failure, door.as_deref()))
        })?;
        Ok(Reply { attempts, ..reply })
    }
}

/// Names the jump host where a connection broke because the way to it did.
fn blame(failure: Failure, door: Option<&Door>) -> Failure {
    let Some((door, why)) = door.and_then(|door| Some((door, door.loss()?))) else { return failure };
    let reason = ForeignText::name(format!("the jump host {} went away ({why})", door.name()));
    match failure {
        Failure::DroppedBeforeLogin(_) => {
            Failure::DroppedBeforeLogin(Error::ConnectionLost { during: "before the login", reason })
        }
        Failure::Final(Error::ConnectionLost { during, .. }) => {
            Failure::Final(Error::ConnectionLost { during, reason })
        }
        Failure::Final(other) => Failure::Final(other),
    }
}
