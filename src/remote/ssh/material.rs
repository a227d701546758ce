//! What a login needs of this machine's disk: looked at before the first connection, and told without any content.

use super::{
    SshRemote,
    destination::{Destination, plan_route},
    keys::KeyContent,
};
use crate::inventory::{Connection, Host, SshSettings, SshTarget};
use std::{collections::BTreeSet, path::PathBuf, sync::Arc};

/// What stands at the place of a file that SSH needs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum MaterialState {
    Usable,
    /// A private key nobody has given the passphrase of, or a public key: an agent may hold it.
    NeedsAgent,
    Missing,
    /// A private key of this mode that other users may read or write: ignored.
    OpenToOthers {
        mode: u32,
    },
    Unusable(String),
}

/// The files one host's login reads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Material {
    pub keys: Vec<(PathBuf, MaterialState)>,
    pub known_hosts: Vec<(PathBuf, MaterialState)>,
    pub agent: Option<PathBuf>,
}

/// Where and as whom a host is logged in to, with what ~/.ssh/config says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    pub address: String,
    pub port: u16,
    pub user: String,
}

impl SshRemote {
    /// `None` for a host that is not behind SSH, or whose settings cannot be had.
    #[must_use]
    pub fn account(&self, host: &Host) -> Option<Account> {
        let Connection::Ssh(target) = &host.connection else { return None };
        let Destination { address, port, user, .. } =
            plan_route(host.name.as_str(), target, &self.user_config).ok()?.target;
        Some(Account { address, port, user })
    }

    /// The known_hosts files that logins to `hosts` would read, there or not, each once. Where ~/.ssh/config decides them it
    /// is asked for every host: it may name others for each.
    #[must_use]
    pub fn known_hosts_files<'h>(&self, hosts: impl IntoIterator<Item = &'h Host>) -> BTreeSet<PathBuf> {
        let mut seen: Vec<&Arc<SshSettings>> = Vec::new();
        let mut files = BTreeSet::new();
        for host in hosts {
            let Connection::Ssh(target) = &host.connection else { continue };
            if !target.settings.left_to_config.is_some_and(|left| left.known_hosts) {
                if !seen.iter().any(|seen| Arc::ptr_eq(seen, &target.settings)) {
                    seen.push(&target.settings);
                    files.extend(target.settings.known_hosts.iter().cloned());
                }
                continue;
            }
            match plan_route(host.name.as_str(), target, &self.user_config) {
                Ok(route) => {
                    let stops = route.hops.into_iter().map(|hop| hop.destination).chain([route.target]);
                    files.extend(stops.flat_map(|stop| stop.known_hosts));
                }
                // Whoever logs in is told.
                Err(_) => files.extend(target.settings.known_hosts.iter().cloned()),
            }
        }
        files
    }

    /// Reads the files; asks neither agent nor host.
    #[must_use]
    pub fn look_at_material(&self, host: &Host, target: &SshTarget) -> Material {
        let (keys, known_hosts) = match plan_route(host.name.as_str(), target, &self.user_config) {
            Ok(route) => (route.target.identity_files, route.target.known_hosts),
            // Whoever logs in is told.
            Err(_) => (target.settings.identity_files.clone(), target.settings.known_hosts.clone()),
        };
        let keys = self.access.files().keys(&self.access.identity_files(&keys));
        let keys = keys.iter().map(|key| {
            let state = match &key.content {
                KeyContent::Private(_) => MaterialState::Usable,
                KeyContent::OpenToOthers { mode } => MaterialState::OpenToOthers { mode: *mode },
                KeyContent::Unreadable(_) if !key.path.exists() => MaterialState::Missing,
                KeyContent::Unreadable(reason) | KeyContent::Exhausted(_, reason) => {
                    MaterialState::Unusable(reason.clone())
                }
                KeyContent::Encrypted(_) | KeyContent::PublicOnly => MaterialState::NeedsAgent,
            };
            (key.path.clone(), state)
        });
        let known_hosts = known_hosts.iter().map(|path| {
            let state = match self.access.files().known_hosts(std::slice::from_ref(path)) {
                Err(error) => MaterialState::Unusable(error.to_string()),
                Ok(_) if !path.exists() => MaterialState::Missing,
                Ok(_) => MaterialState::Usable,
            };
            (path.clone(), state)
        });
        Material {
            keys: keys.collect(),
            known_hosts: known_hosts.collect(),
            agent: self.access.config().agent_socket.clone().filter(|socket| socket.exists()),
        }
    }
}
