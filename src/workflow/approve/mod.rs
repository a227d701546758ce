//! Approves what nodes ask for, and only what the inventory expects: a token lets its holder ask for any node's name, so
//! every part of a request is held against the inventory, and what does not fit is left with its reason. A decision is
//! taken on exactly the version that was judged.

mod expectations;
mod holders;
mod judge;
mod rights;
mod verdict;
mod watch;

pub use expectations::{
    DEFAULT_SINCE, Expectations, ExpectedNode, Grant, Hostile, Requester, Scope, Seen, Selection, Serving,
};
pub use holders::{revoked_users, shared_holders, token_holders};
pub use judge::judge;
pub use rights::{TO_APPROVE, find_lacking};
pub use verdict::{Judged, Outcome, Purpose, Reason, Verdict};
pub use watch::{Watch, Watched, connect_ready, find_secrets, servers};

use crate::{
    cluster::{self, Cluster, Decision, RequestState, SigningRequest},
    digest::Digest,
};
use std::collections::{BTreeMap, BTreeSet};

/// Signs kubelets' client certificates.
pub const CLIENT_SIGNER: &str = "kubernetes.io/kube-apiserver-client-kubelet";
/// Signs the certificates of kubelets' HTTPS ports.
pub const SERVING_SIGNER: &str = "kubernetes.io/kubelet-serving";
/// The O of every kubelet's client certificate.
pub const NODES_GROUP: &str = "system:nodes";
/// What a node's user name begins with.
pub const NODE_PREFIX: &str = "system:node:";

/// Whether verdicts are carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    Decide,
    /// Only say what would be.
    Foresee,
}

/// One look at the cluster's requests.
#[derive(Debug)]
pub struct Round {
    /// Every request that was pending, by time.
    pub judged: Vec<Judged>,
    /// Of the selected nodes those that have not joined.
    pub missing: Vec<String>,
}

/// Judges every pending request and approves what is expected; denies what is hostile where the expectations say so.
///
/// # Errors
/// [`cluster::Error`] where requests or nodes cannot be listed. A decision that fails is the outcome of its request, and
/// ends the round's decisions.
pub fn approve_expected(cluster: &dyn Cluster, expectations: &Expectations) -> Result<Vec<Judged>, cluster::Error> {
    run_round(cluster, expectations, Act::Decide).map(|round| round.judged)
}

/// As [`approve_expected`], with who is still missing.
///
/// # Errors
/// As [`approve_expected`].
pub fn run_round(cluster: &dyn Cluster, expectations: &Expectations, act: Act) -> Result<Round, cluster::Error> {
    let (expectations, mut judged, mut requests) = look(cluster, expectations)?;
    let mut obstacle: Option<cluster::Error> = None;
    for entry in judged.iter_mut().filter(|_| act == Act::Decide) {
        let Some(request) = requests.remove(&entry.uid) else { continue };
        let Some(decision) = decision(&entry.verdict, expectations.hostile) else { continue };
        if let Some(error) = &obstacle {
            entry.outcome = Outcome::Failed(error.clone());
            continue;
        }
        decide(cluster, &expectations, &request, &decision, entry);
        if let Outcome::Failed(error) = &entry.outcome {
            obstacle = Some(error.clone());
        }
    }
    let missing = expectations.selected().filter(|name| !expectations.has_joined(name)).map(str::to_owned).collect();
    Ok(Round { judged, missing })
}

type Look = (Expectations, Vec<Judged>, BTreeMap<String, SigningRequest>);

fn look(cluster: &dyn Cluster, expectations: &Expectations) -> Result<Look, cluster::Error> {
    // Nodes after requests: one that joins in between is seen as joined, and its requests are left.
    let requests = cluster.signing_requests()?;
    let nodes = cluster.nodes()?;
    let seen = Seen::in_cluster(&nodes, &requests, expectations.now);
    let expectations = Expectations { seen, ..expectations.clone() };
    let judged = judge_all(&requests, &expectations);
    Ok((expectations, judged, requests.into_iter().map(|request| (request.uid.clone(), request)).collect()))
}

/// The verdicts on all pending requests, by time. Two keys that ask for one node's first certificate are both left: which
/// of them is the node's cannot be told from here.
#[must_use]
pub fn judge_all(requests: &[SigningRequest], expectations: &Expectations) -> Vec<Judged> {
    let pending = requests.iter().filter(|request| request.state == RequestState::Pending);
    let mut judged: Vec<Judged> = pending.map(|request| record(request, expectations)).collect();
    judged.sort_by(|a, b| (a.created, &a.name).cmp(&(b.created, &b.name)));
    let mut keys: BTreeMap<String, BTreeSet<Digest>> = BTreeMap::new();
    let is_join =
        |entry: &Judged| entry.purpose == Some(Purpose::Join) && matches!(entry.verdict, Verdict::Approve { .. });
    for entry in judged.iter().filter(|entry| is_join(entry)) {
        if let (Some(node), Some(key)) = (&entry.node, entry.spki_sha256) {
            keys.entry(node.clone()).or_default().insert(key);
        }
    }
    for entry in judged.iter_mut().filter(|entry| is_join(entry)) {
        let Some(node) = &entry.node else { continue };
        let several = keys.get(node).map_or(0, BTreeSet::len);
        if several > 1 {
            let own = entry.spki_sha256.map(|key| key.to_string()).unwrap_or_default();
            let detail = format!("{several} different keys ask for {node}'s name; the SHA-256 of this one is {own}");
            entry.verdict = Verdict::Leave { reason: Reason::Ambiguous, detail };
        }
    }
    judged
}

fn record(request: &SigningRequest, expectations: &Expectations) -> Judged {
    let assessment = judge::assess(request, expectations);
    Judged {
        name: verdict::shown(&request.name),
        uid: request.uid.clone(),
        node: assessment.node,
        purpose: assessment.purpose,
        requester: verdict::shown(&request.username),
        created: request.created,
        spki_sha256: assessment.spki_sha256,
        verdict: assessment.verdict,
        outcome: Outcome::Left,
    }
}

fn decision(verdict: &Verdict, hostile: Hostile) -> Option<Decision> {
    match (verdict, hostile) {
        (Verdict::Approve { why }, _) => Some(Decision::Approve { message: format!("kubemint: {why}") }),
        (Verdict::Deny { reason, .. }, Hostile::Deny) => {
            Some(Decision::Deny { message: format!("kubemint: {}", reason.code()) })
        }
        (Verdict::Deny { .. } | Verdict::Leave { .. }, _) => None,
    }
}

/// Carries a decision out; a request that has changed since is judged anew, once.
fn decide(
    cluster: &dyn Cluster,
    expectations: &Expectations,
    request: &SigningRequest,
    first: &Decision,
    entry: &mut Judged,
) {
    let mut error = match cluster.decide(request, first) {
        Ok(()) => return entry.outcome = done(first),
        Err(error) => error,
    };
    if let cluster::Error::Conflict { .. } = error {
        error = match decide_anew(cluster, expectations, entry) {
            Ok(()) => return,
            Err(error) => error,
        };
    }
    let (reason, detail) = match error {
        cluster::Error::Conflict { .. } => (Reason::Changed, "it keeps changing"),
        cluster::Error::NotFound { .. } => (Reason::Gone, "it is gone"),
        error => return entry.outcome = Outcome::Failed(error),
    };
    entry.verdict = Verdict::Leave { reason, detail: detail.to_owned() };
}

fn decide_anew(cluster: &dyn Cluster, expectations: &Expectations, entry: &mut Judged) -> Result<(), cluster::Error> {
    let (expectations, judged, mut requests) = look(cluster, expectations)?;
    let again = requests.remove(&entry.uid).zip(judged.into_iter().find(|other| other.uid == entry.uid));
    let Some((request, fresh)) = again else {
        let detail = "it was decided by somebody else, or is gone".to_owned();
        entry.verdict = Verdict::Leave { reason: Reason::AlreadyDecided, detail };
        return Ok(());
    };
    *entry = fresh;
    if let Some(decision) = decision(&entry.verdict, expectations.hostile) {
        cluster.decide(&request, &decision)?;
        entry.outcome = done(&decision);
    }
    Ok(())
}

const fn done(decision: &Decision) -> Outcome {
    match decision {
        Decision::Approve { .. } => Outcome::Approved,
        Decision::Deny { .. } => Outcome::Denied,
    }
}
