//! One login, to a host or to a jump host: a line there, the key exchange, the host key judged, and only then who we are.
//! What is read or found out for one login and serves the next is kept here.

use super::{
    SshConfig,
    agent::{self, AgentSocket},
    auth::{self, Means},
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
use crate::{
    foreign::ForeignText,
    remote::{Deadlines, Error, OfferedKey},
};
use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

/// OpenSSH's own defaults, where a host names no key (ssh_config(5), IdentityFile).
const USUAL_KEYS: [&str; 3] = [".ssh/id_ed25519", ".ssh/id_ecdsa", ".ssh/id_rsa"];

/// What is logged in to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Target,
    /// A jump host: with keys alone.
    Jump,
}

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

    pub fn config(&self) -> &SshConfig {
        &self.config
    }

    pub fn files(&self) -> &FileCache {
        &self.files
    }

    pub fn deadlines(&self) -> Deadlines {
        self.config.deadlines
    }

    /// Logs in, through `door` where there is one. Also gives the fingerprint of the host key.
    pub fn log_in(
        self: &Arc<Self>,
        destination: &Destination,
        place: Place,
        door: Option<&Arc<Door>>,
        end: Instant,
    ) -> Result<(Link, String), Failure> {
        let known = self.known_entries(destination)?;
        let mut link = self.open(destination, door, &known, end)?;
        let host_key = check_host_key(destination, &known, &link)?;
        let agent = self.agent(&destination.agent);
        // The password is the hosts'. Whoever runs a jump host would learn it there, and with it every host.
        let password = self.config.password.as_ref().filter(|_| place == Place::Target);
        let means = Means {
            keys: self.files.keys_to_offer(&self.identity_files(&destination.identity_files))?,
            certificates: self.files.certificates(&destination.certificate_files),
            agent: agent.as_deref(),
            offered: destination.offered,
            password,
        };
        auth::log_in(&mut link, &destination.user, &means)?;
        link.logged_in();
        Ok((link, host_key))
    }

    /// A line, and a key exchange over it that prefers the keys of `known`; the host's key is not yet judged.
    pub fn open(
        self: &Arc<Self>,
        destination: &Destination,
        door: Option<&Arc<Door>>,
        known: &HostEntries,
        end: Instant,
    ) -> Result<Link, Failure> {
        let mut endpoint = display_endpoint(&destination.address, destination.port);
        let line: Line = match door {
            None => {
                let limit = self.config.deadlines.connect.min(end.saturating_duration_since(Instant::now()));
                dial::connect(&destination.address, destination.port, limit, &self.resolver)?.into()
            }
            Some(door) => {
                let line = door.line_to(self, &destination.address, destination.port, end)?;
                endpoint = format!("{endpoint} behind {}", door.name());
                line
            }
        };
        Link::open(line, endpoint, known, self.config.deadlines, end, &self.watchdog)
    }

    /// What known_hosts has of a host.
    ///
    /// # Errors
    /// [`Error::KnownHostsUnreadable`].
    pub fn known_entries(&self, destination: &Destination) -> Result<HostEntries, Error> {
        let files = self.files.known_hosts(&destination.known_hosts)?;
        Ok(match &destination.key_alias {
            // An alias stands alone, whatever the port (sshconnect.c, get_hostfile_hostname_ipaddr).
            Some(alias) => HostEntries::find(&files, alias, 22),
            None => HostEntries::find(&files, &destination.address, destination.port),
        })
    }

    /// Those named, or the usual ones that exist.
    pub fn identity_files(&self, named: &[PathBuf]) -> Vec<PathBuf> {
        if !named.is_empty() {
            return named.to_vec();
        }
        let home = self.config.home.iter();
        home.flat_map(|home| USUAL_KEYS.map(|key| home.join(key))).filter(|path| path.exists()).collect()
    }

    pub fn agent(&self, choice: &AgentChoice) -> Option<Arc<AgentSocket>> {
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

/// The fingerprint of the host key.
///
/// # Errors
/// The host-key errors; anything but a known key ends the connection before the login.
fn check_host_key(destination: &Destination, known: &HostEntries, link: &Link) -> Result<String, Error> {
    let offered = link.session.host_key().and_then(|(blob, _)| HostKey::new(blob));
    let Some(offered) = offered else {
        return Err(Error::HandshakeFailed { endpoint: link.endpoint.clone(), reason: "it shows no host key".into() });
    };
    let verdict = known.judge(&offered);
    let offered = Box::new(OfferedKey {
        host: known_name(destination),
        key_type: ForeignText::name(offered.key_type()),
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

/// As known_hosts names it: an alias, `name` or `[name]:port`.
pub(super) fn known_name(destination: &Destination) -> String {
    match &destination.key_alias {
        Some(alias) => alias.clone(),
        None => lookup_name(&destination.address, destination.port),
    }
}
