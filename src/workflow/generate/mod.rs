//! From an inventory to a credential set: authority, token, kube-proxy certificate, kubeconfigs, in that order.
//!
//! Planning mints in memory and compares with what is stored; committing writes it. What is there and still what the
//! inventory asks for is kept, byte for byte. A CA is never replaced by itself.

mod authority;
mod client;
mod error;
mod kubeconfigs;
mod node_tokens;
mod nodes;
mod renewal;
mod token;

pub use authority::{GivenAuthority, read_given_authority};
pub(super) use client::{record, settings};
pub use error::{CaPlace, Error, ErrorKind};
pub use node_tokens::ARTIFACT as NODE_TOKENS_ARTIFACT;
pub use nodes::{ARTIFACT as NODES_ARTIFACT, is_per_node, nodes};
pub use renewal::{Due, Form, KeyChoice, Renewal};
#[cfg(feature = "k8s")]
pub(super) use token::stage_record;
pub use token::{ARTIFACT as TOKEN_ARTIFACT, recover};
#[cfg(feature = "k8s")]
pub(super) use token::{kubeconfig_user, mint_secret};
pub(super) use token::{other_rows, record_of};

use crate::{
    bundle::CredentialSet,
    clock::Clock,
    entropy::Entropy,
    inventory::{CaSource, Inventory},
    secret::Secret,
    store::{self, CertificateRecord, Changes, ExtraFile, Lock, Snapshot, State, Store, StoredFile},
};
use jiff::Timestamp;
use serde::Serialize;
use std::collections::{BTreeMap, HashSet};

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
    changes: Changes,
    next: State,
    /// Something is recorded otherwise, though no file may differ.
    is_reshaped: bool,
    /// So are the nodes' own tokens.
    is_renamed: bool,
    out_of_date: Option<Error>,
}

/// What a plan is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Aim {
    Make,
    /// It is not carried out.
    Show,
}

impl Generation {
    /// Whether committing would write nothing.
    #[must_use]
    pub fn is_current(&self) -> bool {
        self.changes.is_empty() && !self.is_reshaped && !self.is_renamed
    }

    /// Why this plan cannot be carried out: the CA in use is out of date, and nothing can be issued from it. Only where it was
    /// made to be shown; certificates stand in it as they are stored then.
    #[must_use]
    pub const fn out_of_date(&self) -> Option<&Error> {
        self.out_of_date.as_ref()
    }

    /// Whether nodes get keys of their own, or one that all share, and had it otherwise.
    #[must_use]
    pub fn changes_form(&self) -> bool {
        self.is_reshaped
    }

    /// The nodes whose own certificate is made anew.
    #[must_use]
    pub fn renewed_nodes(&self) -> HashSet<&str> {
        let is_certificate = |file: &&ExtraFile| matches!(file, ExtraFile::NodeCertificate(_));
        self.changes.extra.iter().map(|(file, _)| file).filter(is_certificate).filter_map(ExtraFile::node).collect()
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
        let mut changes = self.changes;
        // What a rotation left that was killed before it had begun.
        if self.next.rotation.is_none() && snapshot.content(StoredFile::RotationTokens).is_some() {
            changes.removed.push(StoredFile::RotationTokens);
        }
        let state = store.commit_changes(held, snapshot, &changes, self.next, clock)?;
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
    changes: Changes,
    renewal: Option<&'a Renewal>,
    per_node: bool,
    /// By node, as in [`State::replaced`].
    replaced: BTreeMap<String, CertificateRecord>,
    aim: Aim,
    out_of_date: Option<Error>,
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
        self.changes.files.push((file, content.clone()));
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
    plan(inventory, given, snapshot, now, entropy, (None, Aim::Make))
}

/// As [`plan_generation`], to be shown alone: a CA in use that is out of date is no error, but told
/// ([`Generation::out_of_date`]).
///
/// # Errors
/// As [`plan_generation`].
pub fn plan_to_show(
    inventory: &Inventory,
    given: GivenAuthority,
    snapshot: &Snapshot,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Result<Generation, Error> {
    plan(inventory, given, snapshot, now, entropy, (None, Aim::Show))
}

/// The same, with certificates made anew as `renewal` asks.
///
/// # Errors
/// As [`plan_generation`]; [`Error::CaKeyAbsent`] where all are to be made anew and nothing can be signed here. What falls
/// due there is [`Error::Unsigned`].
pub fn plan_renewal(
    inventory: &Inventory,
    given: GivenAuthority,
    snapshot: &Snapshot,
    now: Timestamp,
    entropy: &dyn Entropy,
    renewal: &Renewal,
) -> Result<Generation, Error> {
    if let (CaSource::External { cert }, Due::Now) = (&inventory.ca, renewal.due) {
        return Err(Error::CaKeyAbsent { path: cert.clone() });
    }
    plan(inventory, given, snapshot, now, entropy, (Some(renewal), Aim::Make))
}

fn plan(
    inventory: &Inventory,
    given: GivenAuthority,
    snapshot: &Snapshot,
    now: Timestamp,
    entropy: &dyn Entropy,
    (renewal, aim): (Option<&Renewal>, Aim),
) -> Result<Generation, Error> {
    let is_asked_for = renewal.is_some_and(|renewal| renewal.form == Form::PerNode);
    let mut desk = Desk {
        inventory,
        snapshot,
        now,
        entropy,
        steps: Vec::new(),
        changes: Changes::default(),
        renewal,
        per_node: is_asked_for || is_per_node(inventory, snapshot.state.as_ref()),
        replaced: BTreeMap::new(),
        aim,
        out_of_date: None,
    };
    let (authority, ca_record) = authority::settle(&mut desk, given)?;
    let token::Settled { token, node_tokens, token_csv, user, record } = token::settle(&mut desk)?;
    let (client, client_record) = client::settle(&mut desk, &authority)?;
    let node_clients = nodes::settle(&mut desk, &authority)?;
    let before = snapshot.state.as_ref();
    let had_node_rows = before.and_then(|state| state.token.as_ref()).is_some_and(|token| !token.nodes.is_empty());
    let exchanges = before.and_then(|state| state.rotation.as_ref()).is_some_and(|record| !record.nodes.is_empty());
    let set = CredentialSet {
        has_node_rows: !node_tokens.is_empty() || had_node_rows || exchanges,
        cluster_name: inventory.cluster.name.clone(),
        ca_pem: authority.bundle_pem(),
        token_user: user,
        token,
        node_tokens,
        token_csv,
        client_certificate_pem: client.certificate_pem,
        client_key_pem: client.key_pem,
        node_clients,
    };
    kubeconfigs::settle(&mut desk, &set)?;
    let previous = snapshot.state.clone().unwrap_or_default();
    let is_reshaped = previous.per_node != desk.per_node;
    let nodes_before = previous.token.as_ref().map(|token| &token.nodes);
    let is_renamed = nodes_before.is_some_and(|nodes| *nodes != record.nodes);
    let mut replaced = previous.replaced.clone();
    replaced.retain(|_, old| old.not_after > now);
    replaced.extend(desk.replaced);
    let token_generations = token::generations(snapshot.state.as_ref(), &record);
    let next = State {
        token_generations,
        ca: Some(ca_record),
        token: Some(record),
        kube_proxy: Some(client_record),
        per_node: desk.per_node,
        replaced,
        ..previous
    };
    Ok(Generation {
        set,
        steps: desk.steps,
        changes: desk.changes,
        next,
        is_reshaped,
        is_renamed,
        out_of_date: desk.out_of_date,
    })
}
