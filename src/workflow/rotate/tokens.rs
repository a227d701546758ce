//! Asking an apiserver whom it knows: readiness says nothing of tokens, so each is shown to it.

use super::stop::Ailment;
use crate::{
    cluster::{self, Cluster, Credential},
    rotation::{Record, Tokens, Which},
    secret::printable,
    store::{Snapshot, StoredFile},
    token::{BootstrapToken, TokenFile},
};

/// The two tokens of a rotation, and whose they are.
pub(super) struct TokenPair {
    pub old: BootstrapToken,
    pub new: BootstrapToken,
    pub user: String,
}

impl TokenPair {
    pub fn read(snapshot: &Snapshot, record: &Record) -> Option<Self> {
        let both = TokenFile::from_secret(snapshot.content(StoredFile::RotationTokens)?).ok()?;
        let user = snapshot.state.as_ref()?.token.as_ref()?.user.clone();
        Some(Self { old: record.token(&both, Which::Old)?, new: record.token(&both, Which::New)?, user })
    }

    const fn of(&self, which: Which) -> &BootstrapToken {
        match which {
            Which::Old => &self.old,
            Which::New => &self.new,
        }
    }

    /// Whether the apiserver is ready, knows what it should and refuses what it should.
    pub fn check(&self, cluster: &dyn Cluster, wanted: Tokens) -> Result<(), Ailment> {
        cluster.readyz().map_err(Ailment::Away)?;
        for which in [Which::New, Which::Old] {
            let token = self.of(which);
            let named = token.fingerprint();
            match (whoami(cluster, token)?, wanted.has(which)) {
                (Some(user), true) if user == self.user => {}
                (Some(user), true) => return Err(Ailment::Somebody { token: named, user: printable(&user) }),
                (None, false) => {}
                (Some(_), false) => return Err(Ailment::StillKnown(named)),
                (None, true) => return Err(Ailment::Unknown(named)),
            }
        }
        Ok(())
    }
}

/// The user of a token; `None` where it is refused.
pub(super) fn whoami(cluster: &dyn Cluster, token: &BootstrapToken) -> Result<Option<String>, Ailment> {
    match cluster.whoami(Credential::Token(token.secret())) {
        Ok(identity) => Ok(Some(identity.username)),
        Err(cluster::Error::Unauthorized { .. }) => Ok(None),
        Err(error) => Err(Ailment::Away(error)),
    }
}
