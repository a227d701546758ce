//! From an inventory to a credential set: authority, token, kube-proxy certificate, kubeconfigs, in that order.
//!
//! Planning mints in memory and compares with what is stored; committing writes it. What is there and still what the
//! inventory asks for is kept, byte for byte. A CA is never replaced by itself.

mod authority;
mod client;
mod error;
mod kubeconfigs;
mod token;

pub use authority::{GivenAuthority, read_given_authority};
pub use error::{Error, ErrorKind};
pub use token::recover;
pub(super) use token::{kubeconfig_user, mint_secret, other_rows, record_of};

use crate::{
    bundle::CredentialSet,
    clock::Clock,
    entropy::Entropy,
    inventory::Inventory,
    secret::Secret,
    store::{self, Lock, Snapshot, State, Store, StoredFile},
};
use jiff::Timestamp;
use serde::Serialize;

/// What was decided for one part of the credential set, and why.
#[derive(Debug, Clone, Serialize)]
pub struct Step {
    pub artifact: &'static str,
    pub action: StepAction,
    pub reason: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StepAction {
    Kept,
    Created,
    Rebuilt,
}

impl StepAction {
    /// What would be done: for plans and questions.
    #[must_use]
    pub const fn imperative(self) -> &'static str {
        match self {
            Self::Kept => "keep",
            Self::Created => "create",
            Self::Rebuilt => "rebuild",
        }
    }

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Created => "created",
            Self::Rebuilt => "rebuilt",
        }
    }
}

/// A credential set, and how it differs from the stored one.
#[derive(Debug)]
pub struct Generation {
    pub set: CredentialSet,
    pub steps: Vec<Step>,
    changes: Vec<(StoredFile, Secret)>,
    next: State,
}

impl Generation {
    /// Whether committing would write nothing.
    #[must_use]
    pub fn is_current(&self) -> bool {
        self.changes.is_empty()
    }

    /// Writes what changed; with nothing changed, nothing at all.
    ///
    /// # Errors
    /// As [`Store::commit`].
    pub fn commit(
        self,
        store: &Store,
        held: &Lock,
        snapshot: &Snapshot,
        clock: &dyn Clock,
    ) -> Result<(CredentialSet, State), store::Error> {
        if self.is_current() && !snapshot.interrupted {
            return Ok((self.set, self.next));
        }
        // What a rotation left that was killed before it had begun.
        let has_leftover = self.next.rotation.is_none() && snapshot.content(StoredFile::RotationTokens).is_some();
        let removed: &[StoredFile] = if has_leftover { &[StoredFile::RotationTokens] } else { &[] };
        let state = store.commit_without(held, snapshot, &self.changes, removed, self.next, clock)?;
        Ok((self.set, state))
    }
}

/// What planning draws on.
pub(super) struct Desk<'a> {
    inventory: &'a Inventory,
    snapshot: &'a Snapshot,
    now: Timestamp,
    entropy: &'a dyn Entropy,
    steps: Vec<Step>,
    changes: Vec<(StoredFile, Secret)>,
}

impl Desk<'_> {
    fn note(&mut self, artifact: &'static str, action: StepAction, reason: impl Into<String>) {
        self.steps.push(Step { artifact, action, reason: reason.into() });
    }

    /// Stores `content` unless the same is stored already; says whether it differs.
    fn put(&mut self, file: StoredFile, content: &Secret) -> Stored {
        if self.snapshot.holds(file, content) {
            return Stored::Same;
        }
        self.changes.push((file, content.clone()));
        Stored::Differs
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stored {
    Same,
    Differs,
}

/// Decides what the credential set should be and mints in memory what is missing or differs.
///
/// # Errors
/// [`Error`]: the CA cannot be used, the stored set is inconsistent, or minting failed. Nothing is written either way.
pub fn plan_generation(
    inventory: &Inventory,
    given: GivenAuthority,
    snapshot: &Snapshot,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Result<Generation, Error> {
    let mut desk = Desk { inventory, snapshot, now, entropy, steps: Vec::new(), changes: Vec::new() };
    let (authority, ca_record) = authority::settle(&mut desk, given)?;
    let token::Settled { token, token_csv, user, record } = token::settle(&mut desk)?;
    let (client, client_record) = client::settle(&mut desk, &authority)?;
    let set = CredentialSet {
        cluster_name: inventory.cluster.name.clone(),
        ca_pem: authority.certificate_pem().to_owned(),
        token_user: user,
        token,
        token_csv,
        client_certificate_pem: client.certificate_pem,
        client_key_pem: client.key_pem,
    };
    kubeconfigs::settle(&mut desk, &set)?;
    let previous = snapshot.state.clone().unwrap_or_default();
    let next = State { ca: Some(ca_record), token: Some(record), kube_proxy: Some(client_record), ..previous };
    Ok(Generation { set, steps: desk.steps, changes: desk.changes, next })
}
