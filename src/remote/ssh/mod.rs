//! Hosts over SSH: one TCP connection, one login, one command. The host key is checked before we prove who we are, and
//! no switch skips that. Reads no environment: home, agent socket and deadlines are given at construction.

mod agent;
mod auth;
mod certificate;
mod connect;
mod exec;
mod host_key;
mod keys;
mod known_hosts;
mod locked;
mod material;
mod passwords;
mod pattern;
mod resolve;
mod retry;
mod scan;
mod watchdog;

pub use locked::UnlockError;
pub use material::{Material, MaterialState};
pub use scan::{Extent, HostScan, KeyState, ScannedKey};

use super::{Deadlines, Error, OfferedKey, Password, Peer, Remote, Reply, Script, sudo::Dialogue};
use crate::{
    inventory::{Connection, Host, Privilege, SshSettings, SshTarget},
    secret::Secret,
};
use agent::AgentSocket;
use connect::{Failure, Link};
use host_key::HostKey;
use keys::{FileCache, KeyContent, KeyFile};
use known_hosts::{HostEntries, Verdict, lookup_name};
use retry::Retries;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Instant,
};
use watchdog::Watchdog;

/// What SSH needs to know of this machine.
#[derive(Debug, Clone, Default)]
pub struct SshConfig {
    /// Where the usual key files are looked for when a host names none.
    pub home: Option<PathBuf>,
    /// `SSH_AUTH_SOCK`; without it no agent is asked.
    pub agent_socket: Option<PathBuf>,
    pub deadlines: Deadlines,
    /// Tried where no key lets us in.
    pub password: Option<Password>,
    /// For sudo; without it sudo must not ask.
    pub sudo_password: Option<Password>,
}

/// Runs scripts over SSH. Key files and known_hosts are read once per value.
#[derive(Debug)]
pub struct SshRemote {
    config: SshConfig,
    files: FileCache,
    watchdog: Watchdog,
    agent: Option<AgentSocket>,
}

/// Which encrypted key files are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockedKeys {
    /// Those an inventory names and the agent does not hold; of the usual ones only where there is nothing else to log
    /// in with.
    Needed,
    All,
}

/// OpenSSH's own defaults, where a host names no key (ssh_config(5), IdentityFile).
const USUAL_KEYS: [&str; 3] = [".ssh/id_ed25519", ".ssh/id_ecdsa", ".ssh/id_rsa"];

impl SshRemote {
    #[must_use]
    pub fn new(config: SshConfig) -> Self {
        let patience = agent::PATIENCE.min(config.deadlines.handshake);
        let agent = config.agent_socket.as_deref().map(|path| AgentSocket::new(path, patience));
        Self { config, files: FileCache::default(), watchdog: Watchdog::default(), agent }
    }

    /// Encrypted key files that logins to `hosts` would need a passphrase for, each once.
    #[must_use]
    pub fn locked_keys<'h>(&self, hosts: impl IntoIterator<Item = &'h Host>, which: LockedKeys) -> Vec<PathBuf> {
        let held = || self.agent.as_ref().map(AgentSocket::held).unwrap_or_default();
        let mut settings: Vec<&Arc<SshSettings>> = Vec::new();
        for host in hosts {
            if let Connection::Ssh(target) = &host.connection
                && !settings.iter().any(|seen| Arc::ptr_eq(seen, &target.settings))
            {
                settings.push(&target.settings);
            }
        }
        let mut locked: Vec<PathBuf> = Vec::new();
        for settings in settings {
            let keys = self.files.keys(&self.identity_files(settings));
            let is_usual = settings.identity_files.is_empty();
            let any_open = || keys.iter().any(|key| matches!(key.content, KeyContent::Private(_)));
            if which == LockedKeys::Needed
                && is_usual
                && (self.config.password.is_some() || any_open() || !held().is_empty())
            {
                continue;
            }
            let is_locked = |key: &&Arc<KeyFile>| matches!(key.content, KeyContent::Encrypted(_));
            for key in keys.iter().filter(is_locked) {
                let is_held = key.public.as_ref().is_some_and(|public| held().contains(public));
                if !is_held && !locked.contains(&key.path) {
                    locked.push(key.path.clone());
                }
            }
        }
        locked
    }

    /// Opens an encrypted key file for all logins from now on.
    ///
    /// # Errors
    /// [`UnlockError`]; the key stays locked.
    pub fn unlock(&self, key: &Path, passphrase: &Secret) -> Result<(), UnlockError> {
        self.files.unlock(key, passphrase)
    }

    fn identity_files(&self, settings: &SshSettings) -> Vec<PathBuf> {
        if !settings.identity_files.is_empty() {
            return settings.identity_files.clone();
        }
        let home = self.config.home.iter();
        home.flat_map(|home| USUAL_KEYS.map(|key| home.join(key))).filter(|path| path.exists()).collect()
    }

    fn attempt(&self, target: &SshTarget, host: &Host, script: &Script<'_>, end: Instant) -> Result<Reply, Failure> {
        let files = self.files.known_hosts(&target.settings.known_hosts)?;
        let known = HostEntries::find(&files, &target.address, target.port);
        let mut link = Link::open(target, &known, self.config.deadlines, end, &self.watchdog)?;
        let host_key = check_host_key(target, &known, &link)?;
        auth::log_in(
            &mut link,
            &target.settings.user,
            &self.files.keys(&self.identity_files(&target.settings)),
            self.agent.as_ref(),
            self.config.password.as_ref(),
        )?;
        link.logged_in();
        let input = script(&Peer { host_key: Some(host_key) })?;
        let mut reply = match (host.privilege, &self.config.sudo_password) {
            (Privilege::Sudo, Some(password)) => {
                let limit = link.time_left().min(self.config.deadlines.idle);
                exec::run_by_sudo(&mut link, Dialogue::new(password, &target.settings.user, limit), &input)?
            }
            _ => exec::run(&mut link, &super::command_line(host.privilege), &input)?,
        };
        reply.passwords.extend(self.config.password.iter().map(|password| password.secret().clone()));
        Ok(reply)
    }
}

impl Remote for SshRemote {
    fn run_script(&self, host: &Host, script: &Script<'_>) -> Result<Reply, Error> {
        let Connection::Ssh(target) = &host.connection else {
            return Err(Error::LocalShell { reason: format!("{} is not an SSH host", host.name) });
        };
        if let Some(jump) = target.settings.jump.first() {
            return Err(Error::JumpUnsupported { jump: jump.clone() });
        }
        let mut retries = Retries::begin(self.config.deadlines);
        loop {
            let failure = match self.attempt(target, host, script, retries.end()) {
                Ok(reply) => return Ok(Reply { attempts: retries.attempts(), ..reply }),
                Err(failure) => failure,
            };
            let Some(pause) = retries.pause_after(&failure, Instant::now(), rand::random()) else {
                return Err(retries.give_up(failure));
            };
            tracing::debug!("{}: once more in {} ms: {}", host.name, pause.as_millis(), failure.into_error());
            thread::sleep(pause);
        }
    }
}

/// The fingerprint of the host key.
///
/// # Errors
/// The host-key errors; anything but a known key ends the connection before the login.
fn check_host_key(target: &SshTarget, known: &HostEntries, link: &Link) -> Result<String, Error> {
    let offered = link.session.host_key().and_then(|(blob, _)| HostKey::new(blob));
    let Some(offered) = offered else {
        return Err(Error::HandshakeFailed { endpoint: link.endpoint.clone(), reason: "it shows no host key".into() });
    };
    let verdict = known.judge(&offered);
    let offered = Box::new(OfferedKey {
        host: lookup_name(&target.address, target.port),
        key_type: offered.key_type(),
        fingerprint: offered.fingerprint(),
    });
    match verdict {
        Verdict::Known(known) => {
            tracing::debug!("{}: the host key {offered} is the one at {known}", link.endpoint);
            Ok(offered.fingerprint)
        }
        Verdict::Revoked(known) => Err(Error::HostKeyRevoked { offered, known }),
        Verdict::Changed(known) => Err(Error::HostKeyChanged { offered, known }),
        Verdict::CertAuthority(known) => Err(Error::HostCaUnsupported { offered, known }),
        Verdict::Unknown(known) => Err(Error::HostKeyUnknown { offered, known }),
    }
}
