//! An earlier run as a value: what it did to which host, and what may follow from that. Read by [`super::runs`]; what other
//! versions of kubemint wrote beside is kept and passed on. Its text may come from anywhere: see [`made_printable`].

use super::{
    debts::ByService,
    report::{HostStatus, SeenService, Summary},
};
use crate::{digest::Digest, secret::printable};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What a rotation of the token is called in its journals.
pub const ROTATION: &str = "rotate token";

/// One run, as far as it is known.
#[derive(Debug, Clone)]
pub struct KeptRun {
    /// `None`: a document of no run, such as one of an empty shard.
    pub id: Option<String>,
    /// Its place in the order of the runs of its directory; `None`: an earlier version made it.
    pub number: Option<u64>,
    pub state: RunState,
    /// `None`: not even the journal's first line is whole. No host was begun then.
    pub command: Option<String>,
    pub generation: Option<u64>,
    pub started: Option<Timestamp>,
    pub finished: Option<Timestamp>,
    /// The earlier run that it retried or put back.
    pub of: Option<String>,
    /// Of a rotation: the stages that were begun, in order.
    pub stages: Vec<String>,
    /// In the order of the run.
    pub hosts: Vec<KeptHost>,
    /// What was left for a person to do; empty where the run did not come to its end.
    pub next_steps: Vec<KeptStep>,
    /// Restarts that runs before it owed, where it looked for them.
    pub(super) owed: Option<ByService>,
}

/// A restart that was due at the end of a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct KeptStep {
    pub service: String,
    pub reason: String,
    #[serde(default)]
    pub command: Option<String>,
    #[serde(default)]
    pub hosts: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub earlier: Vec<String>,
}

/// Whether a run came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RunState {
    Finished,
    Running,
    /// Its process is gone, and it did not say that it was done.
    Interrupted,
}

impl RunState {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::Running => "running",
            Self::Interrupted => "interrupted",
        }
    }
}

/// A host as a run's record has it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct KeptHost {
    pub name: String,
    pub status: HostStatus,
    #[serde(default)]
    pub files: Vec<KeptFile>,
    #[serde(default)]
    pub error: Option<KeptError>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub untouched: bool,
    #[serde(default)]
    pub duration_ms: u64,
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

impl KeptHost {
    /// Whether the host was begun, and may have been changed, and nobody knows.
    #[must_use]
    pub fn is_outcome_unknown(&self) -> bool {
        match self.status {
            HostStatus::InFlight => true,
            HostStatus::Failed => !self.untouched,
            HostStatus::Changed | HostStatus::Unchanged | HostStatus::Skipped => false,
        }
    }

    /// The services that the run looked at there.
    #[must_use]
    pub fn seen_services(&self) -> Vec<SeenService> {
        let told = self.rest.get("services").cloned();
        told.and_then(|told| serde_json::from_value(told).ok()).unwrap_or_default()
    }

    /// Whether the run restarted the service there, and it came back.
    #[must_use]
    pub fn was_restarted(&self, service: &str) -> bool {
        let told = |key| self.rest.get("restart").and_then(|restart| restart.get(key)).and_then(Value::as_str);
        told("service") == Some(service) && told("outcome") == Some("done")
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct KeptFile {
    pub path: String,
    /// As [`crate::remote::installer::Action::name`], or a later version's.
    pub action: String,
    #[serde(default)]
    pub sha256: Option<Digest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaced: Option<Digest>,
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct KeptError {
    pub code: String,
    pub message: String,
    pub hint: String,
}

impl KeptRun {
    #[must_use]
    pub fn summary(&self) -> Summary {
        Summary::count(self.hosts.iter().map(|host| host.status))
    }

    #[must_use]
    pub fn is_rollback(&self) -> bool {
        self.command.as_deref() == Some("rollback")
    }

    /// Whether it let nodes join anew: it has installed no file of ours.
    #[must_use]
    pub fn is_rebootstrap(&self) -> bool {
        self.command.as_deref() == Some("rebootstrap")
    }

    #[must_use]
    pub fn is_rotation(&self) -> bool {
        self.command.as_deref() == Some(ROTATION)
    }

    /// The command that does what this run left undone.
    #[must_use]
    pub fn command_again(&self) -> String {
        match (&self.of, &self.id) {
            (Some(of), _) if self.is_rollback() => format!("kubemint rollback {of}"),
            _ if self.is_rollback() => "kubemint rollback --host NAME".to_owned(),
            _ if self.is_rebootstrap() => "kubemint rebootstrap HOST".to_owned(),
            (_, Some(id)) if self.command.as_deref() == Some("reissue") => {
                format!("kubemint reissue kube-proxy --retry {id}")
            }
            _ if self.is_rotation() => format!("kubemint {ROTATION} --resume"),
            (_, Some(id)) => format!("kubemint distribute --retry {id}"),
            (_, None) => "kubemint distribute --retry REPORT".to_owned(),
        }
    }

    /// Whether `rollback last` may mean it: no rollback itself, and it may have changed a host or still will.
    #[must_use]
    pub fn can_be_undone(&self) -> bool {
        let may_have_changed = |host: &KeptHost| host.status == HostStatus::Changed || host.is_outcome_unknown();
        !self.is_rollback()
            && !self.is_rebootstrap()
            && !self.is_rotation()
            && (self.state == RunState::Running || self.hosts.iter().any(may_have_changed))
    }

    /// The hosts that the run did not bring to an end: failed, skipped, in flight. A second name of a machine that was
    /// done is none: on its own it would be taken for another machine.
    pub fn undone(&self) -> impl Iterator<Item = &str> {
        let open = |host: &&KeptHost| !matches!(host.status, HostStatus::Changed | HostStatus::Unchanged);
        self.hosts.iter().filter(open).filter(|host| !is_twin(host)).map(|host| host.name.as_str())
    }

    /// Second names of machines, refused for it.
    pub fn twins(&self) -> impl Iterator<Item = &str> {
        self.hosts.iter().filter(|host| is_twin(host)).map(|host| host.name.as_str())
    }
}

/// A report comes from wherever, and is shown on terminals: nothing of it may steer one.
pub(super) fn made_printable(run: KeptRun) -> KeptRun {
    let hosts = run.hosts.into_iter().map(|host| KeptHost {
        name: printable(&host.name),
        files: host.files.into_iter().map(printable_file).collect(),
        error: host.error.map(|error| KeptError {
            code: printable(&error.code),
            message: printable(&error.message),
            hint: printable(&error.hint),
        }),
        rest: printable_map(host.rest),
        ..host
    });
    let shown = |text: Option<String>| text.map(|text| printable(&text));
    let stages = run.stages.iter().map(|stage| printable(stage)).collect();
    let next_steps = run.next_steps.into_iter().map(printable_step).collect();
    let (id, command, of) = (shown(run.id), shown(run.command), shown(run.of));
    KeptRun { stages, id, command, of, hosts: hosts.collect(), next_steps, ..run }
}

fn printable_step(step: KeptStep) -> KeptStep {
    let all = |names: Vec<String>| names.iter().map(|name| printable(name)).collect();
    KeptStep {
        service: printable(&step.service),
        reason: printable(&step.reason),
        command: step.command.map(|command| printable(&command)),
        hosts: all(step.hosts),
        earlier: all(step.earlier),
    }
}

fn printable_file(file: KeptFile) -> KeptFile {
    let (path, action) = (printable(&file.path), printable(&file.action));
    KeptFile { path, action, rest: printable_map(file.rest), ..file }
}

fn printable_map(map: Map<String, Value>) -> Map<String, Value> {
    map.into_iter().map(|(key, value)| (printable(&key), printable_value(value))).collect()
}

fn printable_value(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(printable(&text)),
        Value::Array(values) => Value::Array(values.into_iter().map(printable_value).collect()),
        Value::Object(map) => Value::Object(printable_map(map)),
        plain => plain,
    }
}

fn is_twin(host: &KeptHost) -> bool {
    host.error.as_ref().is_some_and(|error| error.code == "same_machine")
}
