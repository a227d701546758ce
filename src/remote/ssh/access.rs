//! One login, to a host or to a jump host: a line there, the key exchange, the host key judged, and only then who we are.
//! What is read or found out for one login and serves the next is kept here.

use super::{
    SshConfig,
    agent::{self, AgentSocket},
    auth,
    connect::{Failure, Link, display_endpoint},
    destination::{AgentChoice, Destination},
    dial,
    host_key::HostKey,
    jump::Door,
    keys::FileCache,
    known_hosts::{HostEntries, Verdict, lookup_name},
    line::Line,
    resolve::Resolver,
    watchdog::Watchdog,
};
use crate::remote::{Deadlines, Error, OfferedKey};
use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

/// How often a server that hangs up before the login (MaxStartups) is tried again.
const RETRIES: u32 = 3;
const FIRST_PAUSE: Duration = Duration::from_millis(300);
/// OpenSSH's own defaults, where a host names no key (ssh_config(5), IdentityFile).
const USUAL_KEYS: [&str; 3] = [".ssh/id_ed25519", ".ssh/id_ecdsa", ".ssh/id_rsa"];

#[derive(Debug)]
pub(super) struct Access {
    config: SshConfig,
    files: FileCache,
    watchdog: Watchdog,
    resolver: Resolver,
    agents: Mutex<HashMap<PathBuf, Arc<AgentSocket>>>,
}

impl Access {
    pub fn new(config: SshConfig) -> Self {
        Self {
            config,
            files: FileCache::default(),
            watchdog: Watchdog::default(),
            resolver: Resolver::default(),
            agents: Mutex::default(),
        }
    }

    pub fn deadlines(&self) -> Deadlines {
        self.config.deadlines
    }

    /// Logs in, through `door` where there is one.
    pub fn log_in(
        self: &Arc<Self>,
        destination: &Destination,
        door: Option<&Arc<Door>>,
        end: Instant,
    ) -> Result<Link, Failure> {
        let files = self.files.known_hosts(&destination.known_hosts)?;
        let known = known_entries(destination, &files);
        let mut endpoint = display_endpoint(&destination.address, destination.port);
        let line: Line = match door {
            None => {
                let limit = self.config.deadlines.connect;
                dial::connect(&destination.address, destination.port, limit, &self.resolver)?.into()
            }
            Some(door) => {
                let line = door.line_to(self, &destination.address, destination.port, end)?;
                endpoint = format!("{endpoint} behind {}", door.name());
                line
            }
        };
        let mut link = Link::open(line, endpoint, &known, self.config.deadlines, end, &self.watchdog)?;
        check_host_key(destination, &known, &link)?;
        let agent = self.agent(&destination.agent);
        let keys = self.files.keys(&self.identity_files(destination));
        auth::log_in(&mut link, &destination.user, &keys, agent.as_deref())?;
        Ok(link)
    }

    fn identity_files(&self, destination: &Destination) -> Vec<PathBuf> {
        if !destination.identity_files.is_empty() {
            return destination.identity_files.clone();
        }
        let home = self.config.home.iter();
        home.flat_map(|home| USUAL_KEYS.map(|key| home.join(key))).filter(|path| path.exists()).collect()
    }

    fn agent(&self, choice: &AgentChoice) -> Option<Arc<AgentSocket>> {
        let path: &Path = match choice {
            AgentChoice::Usual => self.config.agent_socket.as_deref()?,
            AgentChoice::Nobody => return None,
            AgentChoice::At(path) => path,
        };
        let mut agents = self.agents.lock().unwrap_or_else(PoisonError::into_inner);
        let patience = agent::PATIENCE.min(self.config.deadlines.handshake);
        let agent = agents.entry(path.to_owned()).or_insert_with(|| Arc::new(AgentSocket::new(path, patience)));
        Some(Arc::clone(agent))
    }
}

/// Tries once more, with growing pauses and until `end`, what a busy server cut off before the login.
pub(super) fn with_patience<T>(end: Instant, mut attempt: impl FnMut() -> Result<T, Failure>) -> Result<T, Error> {
    let mut pause = FIRST_PAUSE;
    for _ in 0..RETRIES {
        match attempt() {
            Err(Failure::DroppedBeforeLogin(error)) if Instant::now() + pause * 2 < end => {
                // Jitter: hosts behind one busy server must not all come back at once.
                let wait = pause.mul_f64(0.5 + rand::random::<f64>());
                tracing::debug!("{error}; once more in {} ms", wait.as_millis());
                thread::sleep(wait);
                pause *= 2;
            }
            other => return other.map_err(Failure::into_error),
        }
    }
    attempt().map_err(Failure::into_error)
}

fn known_entries(destination: &Destination, files: &[Arc<super::known_hosts::KnownHosts>]) -> HostEntries {
    match &destination.key_alias {
        // An alias stands alone, whatever the port (sshconnect.c, get_hostfile_hostname_ipaddr).
        Some(alias) => HostEntries::find(files, alias, 22),
        None => HostEntries::find(files, &destination.address, destination.port),
    }
}

/// # Errors
/// The host-key errors; anything but a known key ends the connection before the login.
fn check_host_key(destination: &Destination, known: &HostEntries, link: &Link) -> Result<(), Error> {
    let offered = link.session.host_key().and_then(|(blob, _)| HostKey::new(blob));
    let Some(offered) = offered else {
        return Err(Error::HandshakeFailed { endpoint: link.endpoint.clone(), reason: "it shows no host key".into() });
    };
    let verdict = known.judge(&offered);
    let offered = Box::new(OfferedKey {
        host: match &destination.key_alias {
            Some(alias) => alias.clone(),
            None => lookup_name(&destination.address, destination.port),
        },
        key_type: offered.key_type(),
        fingerprint: offered.fingerprint(),
    });
    match verdict {
        Verdict::Known(known) => {
            tracing::debug!("{}: the host key {offered} is the one at {known}", link.endpoint);
            Ok(())
        }
        Verdict::Revoked(known) => Err(Error::HostKeyRevoked { offered, known }),
        Verdict::Changed(known) => Err(Error::HostKeyChanged { offered, known }),
        Verdict::CertAuthority(known) => Err(Error::HostCaUnsupported { offered, known }),
        Verdict::Unknown(known) => Err(Error::HostKeyUnknown { offered, known }),
    }
}
