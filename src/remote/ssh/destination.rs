//! Where and as whom to log in, with nothing left open: what the inventory says, and where it leaves that to ~/.ssh/config
//! what ssh would do. Opens no connection.

use super::user_config::{HostConfig, Question, UserConfig};
use crate::{
    foreign::ForeignText,
    inventory::{JumpHost, LeftToConfig, SshSettings, SshTarget},
    remote::Error,
};
use std::path::PathBuf;

/// One login. Equal values are the same login.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Destination {
    pub address: String,
    pub port: u16,
    pub user: String,
    /// Empty: the usual ones.
    pub identity_files: Vec<PathBuf>,
    /// Beside those that lie next to their key.
    pub certificate_files: Vec<PathBuf>,
    pub known_hosts: Vec<PathBuf>,
    /// Under which name known_hosts has it, where that is not its address (HostKeyAlias).
    pub key_alias: Option<String>,
    pub agent: AgentChoice,
    pub offered: Offered,
}

/// Which of the agent's keys a host is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(super) enum Offered {
    #[default]
    All,
    /// Those of an identity file (IdentitiesOnly).
    Listed,
}

/// Which agent is asked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) enum AgentChoice {
    /// That of `SSH_AUTH_SOCK`.
    #[default]
    Usual,
    Nobody,
    At(PathBuf),
}

/// A jump host on the way.
#[derive(Debug, Clone)]
pub(super) struct Hop {
    /// As the inventory or the user's configuration writes it, for messages.
    pub name: String,
    pub destination: Destination,
}

/// The way to a host.
#[derive(Debug, Clone)]
pub(super) struct Route {
    /// Nearest first.
    pub hops: Vec<Hop>,
    pub target: Destination,
}

/// More jump hosts in a row than this are a circle in somebody's configuration.
const LONGEST_CHAIN: usize = 8;

/// Finds the way to the host `name`.
///
/// # Errors
/// [`Error::SshConfigFailed`], [`Error::ProxyCommandUnsupported`]; none where all is in the inventory.
pub(super) fn plan_route(name: &str, target: &SshTarget, config: &UserConfig) -> Result<Route, Error> {
    let settings = &*target.settings;
    let Some(left) = settings.left_to_config else {
        let hops = settings.jump.iter().map(|jump| plain_hop(jump, settings)).collect();
        let address = target.address.clone();
        return Ok(Route { hops, target: plain(address, target.port, settings.user.clone(), settings) });
    };
    let found = config.ask(&Question {
        host: name.to_owned(),
        address: (target.address != name).then(|| target.address.clone()),
        user: (!left.user).then(|| settings.user.clone()),
        port: (!left.port).then_some(target.port),
    })?;
    let jump = if left.jump { jumps_of(name, &found)? } else { &settings.jump };
    let hops = Planner { name, settings, left, config }.hops(jump)?;
    Ok(Route { hops, target: from_config(&found, settings, left) })
}

fn plain(address: String, port: u16, user: String, settings: &SshSettings) -> Destination {
    let (identity_files, known_hosts) = (settings.identity_files.clone(), settings.known_hosts.clone());
    Destination { address, port, user, identity_files, known_hosts, ..Destination::default() }
}

fn plain_hop(jump: &JumpHost, settings: &SshSettings) -> Hop {
    let user = jump.user.as_ref().unwrap_or(&settings.jump_user);
    let destination = plain(jump.address.clone(), jump.port.unwrap_or(22), user.clone(), settings);
    Hop { name: jump.to_string(), destination }
}

fn from_config(found: &HostConfig, settings: &SshSettings, left: LeftToConfig) -> Destination {
    // What else the inventory has settled was part of the question, and is in the answer.
    let mut destination = found.destination.clone();
    if !left.identity_files {
        destination.identity_files.clone_from(&settings.identity_files);
    }
    if !left.known_hosts {
        destination.known_hosts.clone_from(&settings.known_hosts);
    }
    destination
}

fn jumps_of<'c>(host: &str, found: &'c HostConfig) -> Result<&'c [JumpHost], Error> {
    match &found.proxy_command {
        Some(command) => {
            Err(Error::ProxyCommandUnsupported { host: host.to_owned(), command: ForeignText::name(command) })
        }
        None => Ok(&found.jump),
    }
}

struct Planner<'a> {
    name: &'a str,
    settings: &'a SshSettings,
    left: LeftToConfig,
    config: &'a UserConfig,
}

impl Planner<'_> {
    /// As `ssh -J` does it: of the jump hosts' own ProxyJump only the nearest one's counts.
    fn hops(&self, jump: &[JumpHost]) -> Result<Vec<Hop>, Error> {
        let mut hops: Vec<Hop> = Vec::new();
        let mut pending = jump.to_vec();
        while !pending.is_empty() {
            if hops.len() + pending.len() > LONGEST_CHAIN {
                let reason =
                    format!("more than {LONGEST_CHAIN} jump hosts in a row; is there a circle of ProxyJump lines?");
                return Err(Error::SshConfigFailed { host: self.name.to_owned(), reason: ForeignText::name(reason) });
            }
            let mut part = Vec::with_capacity(pending.len());
            let mut before = Vec::new();
            for (n, jump) in pending.iter().enumerate() {
                let found = self.ask(jump)?;
                if n == 0 {
                    before = jumps_of(&jump.address, &found)?.to_vec();
                }
                let destination = from_config(&found, self.settings, self.left);
                part.push(Hop { name: jump.to_string(), destination });
            }
            hops.splice(0..0, part);
            pending = before;
        }
        Ok(hops)
    }

    fn ask(&self, jump: &JumpHost) -> Result<std::sync::Arc<HostConfig>, Error> {
        let of_ssh_table = || (!self.left.jump_user).then(|| self.settings.jump_user.clone());
        self.config.ask(&Question {
            host: jump.address.clone(),
            address: None,
            user: jump.user.clone().or_else(of_ssh_table),
            port: jump.port,
        })
    }
}
