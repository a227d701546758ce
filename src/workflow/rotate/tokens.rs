//! Asking an apiserver whom it knows: readiness says nothing of tokens, so each is shown to it.

use super::stop::Ailment;
use crate::{
    cluster::{self, Cluster, Credential},
    inventory::TokenSettings,
    rotation::{NodePair, Record, Tokens, Which},
    secret::printable,
    store::{Snapshot, StoredFile},
    token::{BootstrapToken, Row, TokenFile},
};
use jiff::Timestamp;

/// The tokens of a rotation that apiservers are asked about, and whose they are. Of nodes' own tokens that is each where
/// they are few or revoked alone, and else the first and the last: token.csv is read whole, or not at all.
pub(super) struct TokenPair {
    pub new: BootstrapToken,
    pub new_holder: TokenSettings,
    probes: Vec<Probe>,
    /// Whom apiservers take the holders of either for, where that is not one node.
    shared: Vec<TokenSettings>,
}

struct Probe {
    which: Which,
    token: BootstrapToken,
    user: String,
    life: Life,
}

/// Whether an apiserver that should know a token may not know it all the same: one that the cluster keeps in a Secret ends
/// by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Certain,
    Limited,
}

/// The most nodes each of whose tokens is asked about.
const FEW: usize = 16;

impl TokenPair {
    pub fn read(snapshot: &Snapshot, record: &Record, now: Timestamp) -> Option<Self> {
        let both = TokenFile::from_secret(snapshot.content(StoredFile::RotationTokens)?).ok()?;
        let rows = both.by_fingerprint();
        let probe = |which, fingerprint| {
            // An old Secret may have expired before the rotation, or at any time during it.
            let life = match (which, record.secret_of(which)) {
                (Which::Old, Some(_)) => Life::Limited,
                (Which::New, Some(terms)) if terms.expiration <= now => Life::Limited,
                _ => Life::Certain,
            };
            let row: &&Row = rows.get(&fingerprint)?;
            let token = BootstrapToken::from_secret(row.token.clone()).ok()?;
            Some(Probe { which, token, user: row.user.clone(), life })
        };
        let both_of = [Which::New, Which::Old];
        let mut probes =
            both_of.map(|which| probe(which, record.fingerprint(which))).into_iter().collect::<Option<Vec<_>>>()?;
        for pair in asked_about(record) {
            for which in both_of {
                let other = pair.of(which).filter(|token| token.fingerprint != record.fingerprint(which));
                if let Some(token) = other {
                    probes.push(probe(which, token.fingerprint)?);
                }
            }
        }
        let mut shared = Vec::new();
        for which in [Which::Old, Which::New].into_iter().filter(|_| !record.is_of_some_nodes()) {
            let holder = record.row(&both, which)?.holder();
            if !shared.contains(&holder) {
                shared.push(holder);
            }
        }
        let new = record.token(&both, Which::New)?;
        let new_holder = record.row(&both, Which::New)?.holder();
        Some(Self { new, new_holder, probes, shared })
    }

    /// Everybody who may hold one of the two that nodes share.
    pub fn holders(&self) -> &[TokenSettings] {
        &self.shared
    }

    /// Whether the apiserver is ready, knows what it should and refuses what it should.
    pub fn check(&self, cluster: &dyn Cluster, wanted: Tokens) -> Result<(), Ailment> {
        cluster.readyz().map_err(Ailment::Away)?;
        for Probe { which, token, user, life } in &self.probes {
            let named = token.fingerprint();
            match (whoami(cluster, token)?, wanted.has(*which)) {
                (Some(found), true) if found == *user => {}
                (Some(found), true) => return Err(Ailment::Somebody { token: named, user: printable(&found) }),
                (None, false) => {}
                (Some(_), false) => return Err(Ailment::StillKnown(named)),
                (None, true) if *life == Life::Limited => {}
                (None, true) => return Err(Ailment::Unknown(named)),
            }
        }
        Ok(())
    }
}

fn asked_about(record: &Record) -> Vec<&NodePair> {
    let pairs = || record.nodes.values();
    if record.is_of_some_nodes() || record.nodes.len() <= FEW {
        pairs().collect()
    } else {
        pairs().take(1).chain(pairs().next_back()).collect()
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
