//! Which key files must be opened with a passphrase before the first login: found out for all hosts beforehand, so that
//! nobody is asked amid a run.

use super::{
    SshRemote,
    access::Place,
    agent::AgentSocket,
    destination::{AgentChoice, plan_route},
    key_decryption::UnlockError,
    keys::{KeyContent, KeyFile},
};
use crate::{
    inventory::{Connection, Host, SshSettings, SshTarget},
    secret::Secret,
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// Which encrypted key files are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockedKeys {
    /// Those an inventory names and the agent does not hold; of the usual ones only where there is nothing else to log
    /// in with.
    Needed,
    All,
}

impl SshRemote {
    /// Encrypted key files that logins to `hosts` would need a passphrase for, each once.
    #[must_use]
    pub fn locked_keys<'h>(&self, hosts: impl IntoIterator<Item = &'h Host>, which: LockedKeys) -> Vec<PathBuf> {
        let mut seen: Vec<&Arc<SshSettings>> = Vec::new();
        let mut locked: Vec<PathBuf> = Vec::new();
        for host in hosts {
            let Connection::Ssh(target) = &host.connection else { continue };
            if seen.iter().any(|seen| Arc::ptr_eq(seen, &target.settings)) {
                continue;
            }
            seen.push(&target.settings);
            for key in self.locked_keys_of(host.name.as_str(), target, which) {
                if !locked.contains(&key) {
                    locked.push(key);
                }
            }
        }
        locked
    }

    /// Of hosts with equal settings, ~/.ssh/config is asked for the first alone: what differs between them is told when
    /// they are logged in to.
    fn locked_keys_of(&self, name: &str, target: &SshTarget, which: LockedKeys) -> Vec<PathBuf> {
        let Ok(route) = plan_route(name, target, &self.user_config) else {
            return self.locked_for(&target.settings.identity_files, &AgentChoice::Usual, Place::Target, which);
        };
        let jumps = route.hops.iter().map(|hop| (&hop.destination, Place::Jump));
        let stops = jumps.chain([(&route.target, Place::Target)]);
        stops.flat_map(|(stop, place)| self.locked_for(&stop.identity_files, &stop.agent, place, which)).collect()
    }

    fn locked_for(&self, named: &[PathBuf], agent: &AgentChoice, place: Place, which: LockedKeys) -> Vec<PathBuf> {
        let agent = self.access.agent(agent);
        let held = || agent.as_deref().map(AgentSocket::held).unwrap_or_default();
        let keys = self.access.files().keys(&self.access.identity_files(named));
        let any_open = || keys.iter().any(|key| matches!(key.content, KeyContent::Private(_)));
        let has_password = place == Place::Target && self.access.config().password.is_some();
        let has_other_ways = || has_password || any_open() || !held().is_empty();
        if which == LockedKeys::Needed && named.is_empty() && has_other_ways() {
            return Vec::new();
        }
        let is_locked = |key: &&Arc<KeyFile>| {
            matches!(key.content, KeyContent::Encrypted(_))
                && !key.public.as_ref().is_some_and(|public| held().contains(public))
        };
        keys.iter().filter(is_locked).map(|key| key.path.clone()).collect()
    }

    /// Opens an encrypted key file for all logins from now on.
    ///
    /// # Errors
    /// [`UnlockError`]; the key stays locked.
    pub fn unlock(&self, key: &Path, passphrase: &Secret) -> Result<(), UnlockError> {
        self.access.files().unlock(key, passphrase)
    }
}
