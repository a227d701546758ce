//! What a rotation came to, as the stable document `kubemint/rotation`, and as the record of its run. It names hosts,
//! fingerprints and error codes; never a secret.

use super::{bench::Course, stop::Stop};
use crate::{
    digest::Fingerprint,
    inventory::{Host, Role},
    rotation::{Direction, Record},
    store::Journal,
    workflow::{
        journal::Entry,
        kept_run::ROTATION,
        report::{ErrorReport, HostReport, HostStatus, RunReport, Summary},
    },
};
use jiff::Timestamp;
use serde::Serialize;

/// How a rotation stands at the end of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// The new token works and the old one is refused.
    Done,
    /// It can be resumed.
    Paused,
    /// All is as before it.
    Aborted,
}

/// One rotation, as far as it got.
#[derive(Debug, Serialize)]
pub struct RotationReport {
    pub schema: &'static str,
    pub version: u32,
    /// The run that began it.
    pub rotation_id: String,
    /// This run.
    pub run_id: String,
    pub state: State,
    pub mode: &'static str,
    /// `token-file`, `secrets` or `migration`.
    pub carrier: &'static str,
    pub direction: &'static str,
    pub stage: &'static str,
    pub old: Fingerprint,
    pub new: Fingerprint,
    /// The nodes whose own tokens alone change; empty where all do.
    pub own_tokens_of: Vec<String>,
    pub began: Timestamp,
    pub grace_until: Option<Timestamp>,
    /// Why it is paused.
    pub reason: Option<ErrorReport>,
    pub control_plane: Vec<HostStep>,
    pub nodes: Vec<NodeStep>,
    pub approved: Vec<Approved>,
    /// Hosts that hold it up, or were left behind.
    pub pending: Vec<Pending>,
    /// What went wrong and held nothing up.
    pub remarks: Vec<String>,
    pub next_steps: Vec<String>,
    /// Why journal or report are incomplete.
    #[serde(skip)]
    pub unrecorded: Option<String>,
}

/// What this run did on a control-plane host.
#[derive(Debug, Serialize)]
pub struct HostStep {
    pub name: String,
    /// `None`: it was not its turn.
    pub status: Option<HostStatus>,
    pub error: Option<ErrorReport>,
}

/// What this run did on a node.
#[derive(Debug, Clone, Serialize)]
pub struct NodeStep {
    pub name: String,
    pub status: HostStatus,
    /// `restarted`, where it was.
    pub kubelet: Option<&'static str>,
    pub error: Option<ErrorReport>,
}

#[derive(Debug, Clone, Serialize)]
pub struct Approved {
    pub node: String,
    /// The name of the CertificateSigningRequest.
    pub request: String,
}

#[derive(Debug, Clone, Serialize)]
pub struct Pending {
    pub name: String,
    pub role: &'static str,
    #[serde(flatten)]
    pub error: ErrorReport,
}

/// Writes the end of the run's record, and says how it ended.
pub(super) fn close(course: &Course, stop: Option<Stop>) -> RotationReport {
    let unrecorded = record_end(course).err().map(|e| e.to_string());
    let Course { bench, record, .. } = course;
    let state = match (course.is_over, record.direction) {
        (false, _) => State::Paused,
        (true, Direction::Forward) => State::Done,
        (true, Direction::Back) => State::Aborted,
    };
    let mut pending = course.pending_list();
    if let Some(Stop { host: Some(host), why }) = &stop {
        pending.insert(0, Pending { name: host.clone(), role: Role::ControlPlane.name(), error: why.clone() });
    }
    let step = |host: &&Host| {
        let report = course.control_plane.iter().find(|report| report.name == host.name.as_str());
        HostStep {
            name: host.name.as_str().to_owned(),
            status: report.map(|report| report.status),
            error: report.and_then(|report| report.error.clone()),
        }
    };
    RotationReport {
        schema: "kubemint/rotation",
        version: 1,
        rotation_id: record.id.clone(),
        run_id: bench.journal.id().as_str().to_owned(),
        state,
        mode: record.mode.name(),
        carrier: record.carrier().name(),
        direction: record.direction.name(),
        stage: record.stage.name(),
        old: record.old,
        new: record.new,
        own_tokens_of: record.nodes.keys().filter(|_| record.is_of_some_nodes()).cloned().collect(),
        began: record.began,
        grace_until: record.grace_until,
        reason: stop.map(|stop| stop.why),
        control_plane: bench.control_plane().iter().map(step).collect(),
        nodes: course.nodes.values().cloned().collect(),
        approved: course.approved.clone(),
        next_steps: next_steps(record, state, &pending),
        pending,
        remarks: course.remarks.clone(),
        unrecorded,
    }
}

fn next_steps(record: &Record, state: State, pending: &[Pending]) -> Vec<String> {
    let nodes = || pending.iter().map(|host| host.name.as_str()).collect::<Vec<_>>().join(",");
    match state {
        State::Paused => {
            let mut steps = vec!["kubemint rotate token --resume".to_owned()];
            if record.aborted().is_ok() && record.direction == Direction::Forward {
                steps.push("kubemint rotate token --abort".to_owned());
            }
            steps
        }
        State::Done | State::Aborted if !pending.is_empty() => vec![format!("kubemint apply --limit {}", nodes())],
        State::Done | State::Aborted => Vec::new(),
    }
}

fn record_end(course: &Course) -> Result<(), crate::store::Error> {
    let journal: &Journal = course.bench.journal;
    let mut hosts: Vec<HostReport> = course.control_plane.clone();
    for report in &course.reports {
        match hosts.iter_mut().find(|host| host.name == report.name) {
            Some(host) => join(host, report),
            None => hosts.push(report.clone()),
        }
    }
    let (finished, summary) = (course.bench.fleet.clock.now(), Summary::of(&hosts));
    let ended = journal.record(&Entry::Finished { at: finished, summary });
    // It stands for a last line that could not be written.
    let reported = journal.write_report(&RunReport {
        schema: RunReport::SCHEMA,
        version: RunReport::VERSION,
        run_id: journal.id().as_str().to_owned(),
        number: journal.number(),
        command: ROTATION,
        of: (course.record.id != journal.id().as_str()).then(|| course.record.id.clone()),
        started: course.began,
        finished,
        generation: course.snapshot.state.as_ref().map_or(0, |state| state.generation),
        hosts,
        summary,
        unrecorded: None,
        next_steps: Vec::new(),
    });
    ended.and(reported)
}

/// A host that is control plane and node was worked on twice.
fn join(host: &mut HostReport, other: &HostReport) {
    let weight = |status| match status {
        HostStatus::Unchanged => 0,
        HostStatus::Skipped => 1,
        HostStatus::Changed => 2,
        HostStatus::InFlight | HostStatus::Failed => 3,
    };
    if weight(other.status) > weight(host.status) {
        host.status = other.status;
    }
    host.error = host.error.take().or_else(|| other.error.clone());
    host.files.extend(other.files.iter().cloned());
    host.services.extend(other.services.iter().cloned());
    host.duration_ms += other.duration_ms;
}
