//! What a login needs of this machine's disk: looked at before the first connection, and told without any content.

use super::{SshRemote, keys::KeyContent};
use crate::inventory::SshTarget;
use std::path::PathBuf;

/// What stands at the place of a file that SSH needs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum MaterialState {
    Usable,
    /// A private key nobody has given the passphrase of, or a public key: an agent may hold it.
    NeedsAgent,
    Missing,
    Unusable(String),
}

/// The files one host's login reads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Material {
    pub keys: Vec<(PathBuf, MaterialState)>,
    pub known_hosts: Vec<(PathBuf, MaterialState)>,
    pub agent: Option<PathBuf>,
}

impl SshRemote {
    /// Reads the files; asks neither agent nor host.
    #[must_use]
    pub fn look_at_material(&self, target: &SshTarget) -> Material {
        let keys = self.files.keys(&self.identity_files(&target.settings));
        let keys = keys.iter().map(|key| {
            let state = match &key.content {
                KeyContent::Private(_) => MaterialState::Usable,
                KeyContent::Unreadable(_) if !key.path.exists() => MaterialState::Missing,
                KeyContent::Unreadable(reason) => MaterialState::Unusable(reason.clone()),
                _ => MaterialState::NeedsAgent,
            };
            (key.path.clone(), state)
        });
        let known_hosts = target.settings.known_hosts.iter().map(|path| {
            let state = match self.files.known_hosts(std::slice::from_ref(path)) {
                Err(error) => MaterialState::Unusable(error.to_string()),
                Ok(_) if !path.exists() => MaterialState::Missing,
                Ok(_) => MaterialState::Usable,
            };
            (path.clone(), state)
        });
        Material {
            keys: keys.collect(),
            known_hosts: known_hosts.collect(),
            agent: self.config.agent_socket.clone().filter(|socket| socket.exists()),
        }
    }
}
