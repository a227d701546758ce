//! Asking an apiserver whom it knows: readiness says nothing of tokens, so each is shown to it.

use super::stop::Ailment;
use crate::{
    cluster::{self, Cluster, Credential},
    inventory::TokenSettings,
    rotation::{Record, Tokens, Which},
    secret::printable,
    store::{Snapshot, StoredFile},
    token::{BootstrapToken, TokenFile},
};
use jiff::Timestamp;

/// The two tokens of a rotation, and whose they are. A token that the cluster keeps in a Secret ends by itself.
pub(super) struct TokenPair {
    pub old: BootstrapToken,
    pub new: BootstrapToken,
    old_holder: TokenSettings,
    new_holder: TokenSettings,
    old_life: Life,
    new_life: Life,
}

/// Whether an apiserver that should know a token may not know it all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Certain,
    /// It ends by itself.
    Limited,
}

impl TokenPair {
    pub fn read(snapshot: &Snapshot, record: &Record, now: Timestamp) -> Option<Self> {
        let both = TokenFile::from_secret(snapshot.content(StoredFile::RotationTokens)?).ok()?;
        // An old Secret may have expired before the rotation, or at any time during it.
        let old_life = if record.secret_of(Which::Old).is_some() { Life::Limited } else { Life::Certain };
        let is_over = record.secret_of(Which::New).is_some_and(|terms| terms.expiration <= now);
        Some(Self {
            old: record.token(&both, Which::Old)?,
            new: record.token(&both, Which::New)?,
            old_holder: record.row(&both, Which::Old)?.holder(),
            new_holder: record.row(&both, Which::New)?.holder(),
            old_life,
            new_life: if is_over { Life::Limited } else { Life::Certain },
        })
    }

    /// Whom apiservers take the holders of a token for.
    pub const fn holder(&self, which: Which) -> &TokenSettings {
        match which {
            Which::Old => &self.old_holder,
            Which::New => &self.new_holder,
        }
    }

    /// Everybody who may hold one of the two.
    pub fn holders(&self) -> Vec<TokenSettings> {
        let [old, new] = [&self.old_holder, &self.new_holder];
        if old == new { vec![old.clone()] } else { vec![old.clone(), new.clone()] }
    }

    const fn life(&self, which: Which) -> Life {
        match which {
            Which::Old => self.old_life,
            Which::New => self.new_life,
        }
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
                (Some(user), true) if user == self.holder(which).user => {}
                (Some(user), true) => return Err(Ailment::Somebody { token: named, user: printable(&user) }),
                (None, false) => {}
                (Some(_), false) => return Err(Ailment::StillKnown(named)),
                (None, true) if self.life(which) == Life::Limited => {}
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
