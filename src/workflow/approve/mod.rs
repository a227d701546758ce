//! Approves what nodes ask for, and only what the inventory expects: a token lets its holder ask for any node's name, so
//! every part of a request is held against the inventory, and what does not fit is left with its reason. A decision is
//! taken on exactly the version that was judged.

mod expectations;
mod holders;
mod identity;
mod judge;
mod rights;
mod verdict;
mod watch;

pub use expectations::{
    DEFAULT_SINCE, Expectations, ExpectedNode, Grant, Hostile, Requester, Scope, Seen, Selection, Serving, UnreadGrant,
};
pub use holders::{revoked_users, shared_holders, token_holders};
pub use judge::judge;
pub use rights::{TO_APPROVE, find_lacking};
pub use verdict::{Judged, Outcome, Purpose, Reason, Verdict};
pub use watch::{Watch, Watched, connect_ready, find_secrets, servers};

use expectations::Askers;
use identity::Identities;

use crate::{
    cluster::{self, Cluster, Decision, RequestState, SigningRequest},
    digest::Digest,
};
use std::collections::{BTreeMap, BTreeSet};

/// Signs kubelets' client certificates.
pub const CLIENT_SIGNER: &str = "kubernetes.io/kube-apiserver-client-kubelet";
/// Signs the certificates of kubelets' HTTPS ports.
pub const SERVING_SIGNER: &str = "kubernetes.io/kubelet-serving";
/// Whose certificates kube-apiserver may take for a node: these signers issue for clients with the cluster's CA, or may (the
/// last one, which v1 of the API no longer takes, still shows what was asked for before).
pub const IDENTITY_SIGNERS: [&str; 3] =
    [CLIENT_SIGNER, "kubernetes.io/kube-apiserver-client", "kubernetes.io/legacy-unknown"];
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
    /// Granted requests in which nobody finds a name.
    pub unread: Vec<UnreadGrant>,
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
    let Look { expectations, judged } = look(cluster, expectations)?;
    let mut obstacle: Option<cluster::Error> = None;
    let mut entries = Vec::with_capacity(judged.len());
    for (mut entry, request) in judged {
        let decision = decision(&entry.verdict, expectations.hostile).filter(|_| act == Act::Decide);
        if let Some(decision) = decision {
            match &obstacle {
                Some(error) => entry.outcome = Outcome::Failed(error.clone()),
                None => decide(cluster, &expectations, &request, &decision, &mut entry),
            }
            if let (None, Outcome::Failed(error)) = (&obstacle, &entry.outcome) {
                obstacle = Some(error.clone());
            }
        }
        entries.push(entry);
    }
    let missing = expectations.selected().filter(|name| !expectations.has_joined(name)).map(str::to_owned).collect();
    Ok(Round { judged: entries, missing, unread: expectations.seen.unread })
}

/// What one look shows.
struct Look {
    /// With what is seen of nodes and grants.
    expectations: Expectations,
    /// Each verdict with the very object that it is about: it is carried out on no other.
    judged: Vec<(Judged, SigningRequest)>,
}

fn look(cluster: &dyn Cluster, expectations: &Expectations) -> Result<Look, cluster::Error> {
    // Nodes after requests: one that joins in between is seen as joined, and its requests are left.
    let requests = cluster.signing_requests()?;
    let nodes = cluster.nodes()?;
    let seen = Seen::in_cluster(&nodes, &requests, expectations.now);
    let expectations = Expectations { seen, ..expectations.clone() };
    let judged = judge_each(requests, &expectations);
    Ok(Look { expectations, judged })
}

/// The verdicts on all pending requests, by time. Two keys that ask for one node's first certificate are both left: which
/// of them is the node's cannot be told from here. So is what has not its identity alone.
#[must_use]
pub fn judge_all(requests: Vec<SigningRequest>, expectations: &Expectations) -> Vec<Judged> {
    judge_each(requests, expectations).into_iter().map(|(entry, _)| entry).collect()
}

/// Each with the object that was judged.
fn judge_each(requests: Vec<SigningRequest>, expectations: &Expectations) -> Vec<(Judged, SigningRequest)> {
    let askers = Askers::of(expectations);
    let identities = Identities::of(&requests);
    let garbled: Vec<Option<String>> = requests.iter().map(|request| identities.objection(request)).collect();
    drop(identities);
    let pending = requests.into_iter().zip(garbled).filter(|(request, _)| request.state == RequestState::Pending);
    let judge = |(request, garbled): (SigningRequest, Option<String>)| {
        let mut entry = record(&request, judge::assess(&request, expectations, &askers));
        if let Some(detail) = garbled {
            entry.verdict = Verdict::Leave { reason: Reason::Garbled, detail };
        }
        (entry, request)
    };
    let mut judged: Vec<(Judged, SigningRequest)> = pending.map(judge).collect();
    judged.sort_by(|(a, _), (b, _)| (a.created, &a.name).cmp(&(b.created, &b.name)));
    leave_rivals(&mut judged);
    judged
}

/// Two keys for one node are both left.
fn leave_rivals(judged: &mut [(Judged, SigningRequest)]) {
    let mut keys: BTreeMap<String, BTreeSet<Digest>> = BTreeMap::new();
    let is_join =
        |entry: &Judged| entry.purpose == Some(Purpose::Join) && matches!(entry.verdict, Verdict::Approve { .. });
    for (entry, _) in judged.iter().filter(|(entry, _)| is_join(entry)) {
        if let (Some(node), Some(key)) = (&entry.node, entry.spki_sha256) {
            keys.entry(node.clone()).or_default().insert(key);
        }
    }
    for (entry, _) in judged.iter_mut().filter(|(entry, _)| is_join(entry)) {
        let Some(node) = &entry.node else { continue };
        let several = keys.get(node).map_or(0, BTreeSet::len);
        if several > 1 {
            let own = entry.spki_sha256.map(|key| key.to_string()).unwrap_or_default();
            let detail = format!("{several} different keys ask for {node}'s name; the SHA-256 of this one is {own}");
            entry.verdict = Verdict::Leave { reason: Reason::Ambiguous, detail };
        }
    }
}

fn record(request: &SigningRequest, assessment: judge::Assessment) -> Judged {
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
        error = match decide_anew(cluster, expectations, request, entry) {
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

/// `earlier` is the object as it was when it was judged first; one of its name and uid is looked for.
fn decide_anew(
    cluster: &dyn Cluster,
    expectations: &Expectations,
    earlier: &SigningRequest,
    entry: &mut Judged,
) -> Result<(), cluster::Error> {
    let Look { judged, .. } = look(cluster, expectations)?;
    let is_same = |request: &SigningRequest| (&request.name, &request.uid) == (&earlier.name, &earlier.uid);
    let Some((fresh, request)) = judged.into_iter().find(|(_, request)| is_same(request)) else {
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
