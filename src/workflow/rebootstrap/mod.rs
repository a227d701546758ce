//! A node that is to join anew: its kubelet's credentials are set aside, the kubelet is restarted and asks for new ones with
//! the bootstrap token, what it asks is judged and approved, and the node must come back. Where it does not, it gets back
//! what it had.
//!
//! Nothing is touched before it is known that the way back into the cluster is open: see [`preflight`]. What an earlier run
//! had set aside on a host and was not done with comes first: see [`leftover`].

mod arrival;
mod leftover;
mod obstacle;
mod preflight;
mod trouble;

pub use leftover::Restoring;
pub use obstacle::Obstacle;
pub use preflight::{Candidate, Clearance, preflight};
pub use trouble::Trouble;

use super::{
    approve::{self, Expectations},
    breaker::Breaker,
    distribute::{self, Distribution, Fleet, Observer, Order},
    journal::Entry,
    report::{ErrorReport, HostReport, HostStatus},
};
use crate::{
    cluster::Clusters,
    foreign::ForeignText,
    inventory::ServerUrl,
    pki,
    remote::{
        self,
        kubelet::{self, Backup},
        service::run_command,
    },
    store::{self, Journal},
};
use arrival::Arrival;
use serde::Serialize;
use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// What a run knows and may do.
pub struct Rebootstrap<'a> {
    pub fleet: &'a Fleet<'a>,
    pub clusters: &'a dyn Clusters,
    /// Where to ask: the first that is ready.
    pub servers: &'a [ServerUrl],
    /// Who may ask for what; from when on is found out for each node.
    pub expectations: &'a Expectations,
    /// What restarts a kubelet.
    pub restart: &'a str,
    /// How long that may take.
    pub restart_limit: Duration,
    /// How long a node may take from then on.
    pub patience: Duration,
    pub backup: Backup,
}

/// What became of a node, beside what a [`HostReport`] has.
#[derive(Debug, Clone, Default, Serialize)]
pub struct NodeReport {
    /// Earlier runs whose backup was found: it was put back first, unless it was [settled](Self::found_settled).
    pub found_unfinished: Vec<String>,
    /// That backup was kept aside: the kubelet had its new certificate and the node was ready with it.
    pub found_settled: bool,
    /// Why the cluster could not be asked before a backup was put back over a new certificate.
    pub not_checked: Option<String>,
    /// What was set aside, by name.
    pub set_aside: Vec<ForeignText>,
    /// The signing request that was granted.
    pub request: Option<String>,
    /// Requests in the node's name with another key than its kubelet's.
    pub left: Vec<LeftRequest>,
    /// `None`: nothing was to be put back.
    pub restored: Option<Restored>,
    /// Whether what was set aside is still on the host.
    pub backup_kept: bool,
    /// Whether anything was sent there that changes something.
    #[serde(skip)]
    begun: bool,
}

/// A signing request of somebody else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LeftRequest {
    /// Its name, safe to show.
    pub request: String,
    /// Why, as `approve` says it.
    pub code: &'static str,
    pub detail: String,
}

/// What came of putting back what a node had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Restored {
    /// And its kubelet was restarted with it.
    Restarted,
    /// But its kubelet could not be restarted.
    NotRestarted,
    /// It could not be put back: the next run does.
    Failed,
}

/// What a run came to.
#[derive(Debug)]
pub struct Rebootstrapped {
    pub distribution: Distribution,
    /// By host.
    pub nodes: HashMap<String, NodeReport>,
}

/// Name of the command, in journals and reports.
pub const COMMAND: &str = "rebootstrap";

/// Lets every candidate join anew; journals and reports as a run of its own.
///
/// # Errors
/// As [`distribute::run_distribution`].
pub fn run_rebootstrap(
    run: &Rebootstrap,
    candidates: &[Candidate],
    generation: u64,
    journal: &Journal,
    observer: &dyn Observer,
) -> Result<Rebootstrapped, store::Error> {
    let order = Order { command: COMMAND, generation, of: None, duty: None };
    let nodes = Mutex::new(HashMap::new());
    let work = |index: usize, breaker: &Breaker| {
        let began = Instant::now();
        let visit = Visit { run, candidate: &candidates[index], journal };
        let mut node = NodeReport::default();
        let done = visit.rejoin(&mut node);
        match &done {
            Ok(()) => breaker.count_done(),
            Err(Trouble::Host { error, .. } | Trouble::Ready { error, .. }) => breaker.count_failed(error),
            Err(_) => breaker.count_undone(),
        }
        let report = visit.report(&node, done, began.elapsed());
        nodes.lock().unwrap_or_else(PoisonError::into_inner).insert(report.name.clone(), node);
        report
    };
    let distribution = distribute::run_on_hosts(run.fleet, candidates, order, journal, observer, work)?;
    Ok(Rebootstrapped { distribution, nodes: nodes.into_inner().unwrap_or_else(PoisonError::into_inner) })
}

/// Puts back on every candidate what earlier runs were not done with, and restarts its kubelet where there was something.
///
/// # Errors
/// As [`distribute::run_distribution`].
pub fn run_restore(
    run: &Restoring,
    candidates: &[Candidate],
    generation: u64,
    journal: &Journal,
    observer: &dyn Observer,
) -> Result<Rebootstrapped, store::Error> {
    let order = Order { command: COMMAND, generation, of: None, duty: None };
    let nodes = Mutex::new(HashMap::new());
    let work = |index: usize, breaker: &Breaker| {
        let (began, candidate) = (Instant::now(), &candidates[index]);
        let mut node = NodeReport::default();
        let done = run.put_back(candidate, &mut node);
        match &done {
            Ok(_) => breaker.count_done(),
            Err(Trouble::Host { error, .. }) => breaker.count_failed(error),
            Err(_) => breaker.count_undone(),
        }
        let status = if matches!(done, Ok(true)) { HostStatus::Changed } else { HostStatus::Unchanged };
        let report = host_report(candidate, status, done.map(drop), &node, began.elapsed());
        nodes.lock().unwrap_or_else(PoisonError::into_inner).insert(report.name.clone(), node);
        report
    };
    let distribution = distribute::run_on_hosts(run.fleet, candidates, order, journal, observer, work)?;
    Ok(Rebootstrapped { distribution, nodes: nodes.into_inner().unwrap_or_else(PoisonError::into_inner) })
}

fn restart(fleet: &Fleet, candidate: &Candidate, command: &str, limit: Duration) -> Result<(), Trouble> {
    let outcome = run_command(fleet.remote, candidate.host, command, limit, fleet.entropy)
        .map_err(|error| Trouble::Host { step: "restarting its kubelet", error })?;
    match outcome.complaint() {
        None => Ok(()),
        Some(complaint) => Err(Trouble::Restart { command: command.to_owned(), complaint }),
    }
}

/// The work on one host.
struct Visit<'v> {
    run: &'v Rebootstrap<'v>,
    candidate: &'v Candidate<'v>,
    journal: &'v Journal,
}

impl Visit<'_> {
    fn rejoin(&self, node: &mut NodeReport) -> Result<(), Trouble> {
        self.end_what_was_left(node)?;
        let arrival = match Arrival::expect(self.run, self.candidate) {
            Err(trouble) if !node.found_unfinished.is_empty() && !node.found_settled => {
                node.restored = Some(self.restart_restored());
                return Err(trouble);
            }
            other => other?,
        };
        let joined = self.join_anew(node, arrival);
        // A node that is ready keeps its new certificate: the old one may have expired.
        if joined.as_ref().is_err_and(|trouble| !matches!(trouble, Trouble::Ready { .. })) {
            node.restored = Some(self.restore());
        }
        joined
    }

    /// What a killed run had set aside is what this node is known by, unless it has come back without it.
    fn end_what_was_left(&self, node: &mut NodeReport) -> Result<(), Trouble> {
        let Rebootstrap { fleet, clusters, servers, .. } = *self.run;
        let candidate = self.candidate;
        let runs = leftover::find_unfinished(fleet, candidate)?;
        if runs.is_empty() {
            return Ok(());
        }
        let is_ready = || leftover::is_ready(clusters, servers, candidate.host.name.as_str()).map_err(Trouble::Api);
        if leftover::has_newer(fleet, candidate, &runs)? && is_ready()? {
            node.begun = true;
            self.note("settle-earlier");
            leftover::settle(fleet, candidate, &runs)?;
            node.found_settled = true;
        } else {
            node.begun = true;
            self.note("put-back-earlier");
            leftover::return_all(fleet, candidate)?;
        }
        node.found_unfinished = runs;
        Ok(())
    }

    fn join_anew(&self, node: &mut NodeReport, mut arrival: Arrival) -> Result<(), Trouble> {
        let Rebootstrap { fleet, backup, .. } = *self.run;
        let Fleet { remote, entropy, .. } = *fleet;
        let (host, paths, id) = (self.candidate.host, &self.candidate.paths, self.journal.id().as_str());
        let at = |step| move |error| Trouble::Host { step, error };
        let ready = |step| move |error| Trouble::Ready { step, run: id.to_owned(), error };
        node.begun = true;
        self.note("set-aside");
        let set_aside = kubelet::set_aside(remote, host, paths, id, entropy);
        node.set_aside = set_aside.map_err(at("setting its credentials aside"))?.files;
        self.note("restart");
        restart(fleet, self.candidate, self.run.restart, self.run.restart_limit)?;
        self.note("wait");
        let arrived = arrival.wait();
        node.left = arrival.into_left();
        let granted = arrived?;
        self.note("compare");
        let found = kubelet::read_certificate(remote, host, paths, entropy)
            .map_err(ready("its certificate could not be compared"))?;
        let digest = |pem: &str| Some(pki::parse_certificates(pem).ok()?.first()?.sha256);
        let is_its_own = found.as_deref().and_then(digest).is_some_and(|own| digest(&granted.certificate) == Some(own));
        if !is_its_own {
            return Err(Trouble::OtherCertificate { request: granted.request, pki: paths.pki.clone() });
        }
        node.request = Some(granted.request);
        self.note("settle");
        let settled = kubelet::settle_backup(remote, host, paths, (id, backup), entropy);
        settled.map_err(ready("its backup could not be ended"))?;
        node.backup_kept = backup == Backup::Keep;
        Ok(())
    }

    /// Gives the host back what it had. It is tried whatever went wrong: what was not set aside is not touched by it.
    fn restore(&self) -> Restored {
        let Fleet { remote, entropy, .. } = *self.run.fleet;
        self.note("put-back");
        let put_back = kubelet::put_back(remote, self.candidate.host, &self.candidate.paths, entropy);
        if let Err(error) = put_back {
            tracing::warn!(host = self.candidate.host.name.as_str(), "cannot put back what was set aside: {error}");
            return Restored::Failed;
        }
        self.restart_restored()
    }

    fn restart_restored(&self) -> Restored {
        self.note("restart-after");
        match restart(self.run.fleet, self.candidate, self.run.restart, self.run.restart_limit) {
            Ok(()) => Restored::Restarted,
            Err(error) => {
                tracing::warn!(host = self.candidate.host.name.as_str(), "{error}");
                Restored::NotRestarted
            }
        }
    }

    /// Before each step. What cannot be noted is found on the host all the same.
    fn note(&self, step: &'static str) {
        let (at, host) = (self.run.fleet.clock.now(), self.candidate.host.name.as_str());
        let _ = self.journal.note(&Entry::Step { at, host, step });
    }

    fn report(&self, node: &NodeReport, done: Result<(), Trouble>, took: Duration) -> HostReport {
        host_report(self.candidate, HostStatus::Changed, done, node, took)
    }
}

fn host_report(
    candidate: &Candidate,
    status: HostStatus,
    done: Result<(), Trouble>,
    node: &NodeReport,
    took: Duration,
) -> HostReport {
    let Err(trouble) = done else {
        return distribute::host_report(candidate.host, status, Vec::new(), None, 1, took);
    };
    let (what, hint) = match node.restored {
        None => ("", None),
        Some(Restored::Restarted) => ("; what it had before is back, and its kubelet was restarted with it", None),
        Some(Restored::NotRestarted) => {
            ("; what it had before is back, but its kubelet could not be restarted", Some("restart it by hand; "))
        }
        Some(Restored::Failed) => (
            "; what it had before could not be put back",
            Some("as soon as the host can be reached, `kubemint rebootstrap HOST --restore` puts it back; "),
        ),
    };
    let error = ErrorReport {
        code: trouble.code(),
        message: format!("{trouble}{what}"),
        hint: format!("{}{}", hint.unwrap_or_default(), trouble.hint()),
    };
    let untouched = !node.begun;
    let report = distribute::host_report(candidate.host, HostStatus::Failed, Vec::new(), Some(error), 1, took);
    HostReport { untouched, ..report }
}

/// An apiserver that is ready.
fn connect(run: &Rebootstrap) -> Result<Box<dyn crate::cluster::Cluster>, Trouble> {
    approve::connect_ready(run.clusters, run.servers).map_err(Trouble::Api)
}

/// As an error of a host: for who has only that.
impl From<remote::Error> for Trouble {
    fn from(error: remote::Error) -> Self {
        Self::Host { step: "working on it", error }
    }
}
