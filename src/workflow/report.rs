//! What a run did, as the stable document `kubemint/run` (printed with `-o json`, kept as runs/<id>/report.json).
//! It names paths, digests and error codes; never a secret.

use super::{restarts::DueRestart, upkeep::ServiceState};
use crate::{
    bundle::FileKind,
    digest::Digest,
    remote::{self, FileError, installer::Action},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize, Serializer};

/// One run over the hosts.
#[derive(Debug, Clone, Serialize)]
pub struct RunReport {
    pub schema: &'static str,
    pub version: u32,
    pub run_id: String,
    /// The run's place in the order of the runs of its directory.
    pub number: u64,
    pub command: &'static str,
    /// The earlier run that this one retries or puts back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
    pub started: Timestamp,
    pub finished: Timestamp,
    /// Generation of the credentials that were installed.
    pub generation: u64,
    pub hosts: Vec<HostReport>,
    pub summary: Summary,
    /// Why journal or report are incomplete.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unrecorded: Option<ErrorReport>,
    /// What a person still has to do.
    pub next_steps: Vec<DueRestart>,
}

impl RunReport {
    pub const SCHEMA: &'static str = "kubemint/run";
    pub const VERSION: u32 = 1;
}

/// How one host ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HostStatus {
    Changed,
    Unchanged,
    Failed,
    /// Not begun: the run was interrupted, or stopped before its turn.
    Skipped,
    /// Begun, and not known to have ended: only of a run that was killed, or is under way.
    InFlight,
}

impl HostStatus {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Unchanged => "unchanged",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::InFlight => "in flight",
        }
    }
}

#[derive(Debug, Clone, Serialize)]
pub struct HostReport {
    pub name: String,
    pub status: HostStatus,
    pub files: Vec<FileReport>,
    pub error: Option<ErrorReport>,
    /// Of a failed host: it is known that nothing was changed there.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub untouched: bool,
    /// Connections tried; 0 for a host that was not begun.
    pub attempts: u32,
    /// The host's clock minus ours, where it is further off than certificates bear.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock_skew_seconds: Option<i64>,
    /// Another name of the inventory that may be the same machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub twin: Option<Twin>,
    /// What a service's command came to, where one was run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart: Option<RestartReport>,
    /// The services that earlier runs owe a restart, where this run looked at them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<SeenService>,
    pub duration_ms: u64,
}

/// Whether a service has read its file, as a run saw it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenService {
    pub service: String,
    /// As [`ServiceState`], `unasked`, or a later version's word.
    state: String,
}

impl SeenService {
    const UNASKED: &str = "unasked";

    /// `None`: a directory of this machine has no processes of its own to look at.
    #[must_use]
    pub fn new(service: &str, state: Option<ServiceState>) -> Self {
        Self { service: service.to_owned(), state: state.map_or(Self::UNASKED, ServiceState::name).to_owned() }
    }

    /// It was started after its file last changed. One that does not run has yet to be started.
    #[must_use]
    pub fn has_read_its_file(&self) -> bool {
        self.state == ServiceState::Current.name()
    }

    #[must_use]
    pub fn cannot_be_seen(&self) -> bool {
        self.state == Self::UNASKED
    }
}

/// A service's command that was run on a host.
#[derive(Debug, Clone, Serialize)]
pub struct RestartReport {
    pub service: &'static str,
    /// `done`, `failed`, `timed_out`, `unknown`.
    pub outcome: &'static str,
    pub duration_ms: u64,
}

/// A host that shows the host key of another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Twin {
    pub kind: TwinKind,
    /// The other's name: one that was done before.
    pub host: String,
}

/// What two names of the inventory have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TwinKind {
    /// Host key and machine-id.
    SameMachine,
    /// The host key only: machines made from one image, or of which one has no machine-id.
    SameHostKey,
}

#[derive(Debug, Clone, Serialize)]
pub struct FileReport {
    /// As on the host; with the root in front for a local host.
    pub path: String,
    #[serde(skip)]
    pub kind: FileKind,
    #[serde(serialize_with = "by_name")]
    pub action: Action,
    /// As read back from the host; `None` where no file is now.
    pub sha256: Option<Digest>,
    /// What the file held before, where that was something else and could be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replaced: Option<Digest>,
}

fn by_name<S: Serializer>(action: &Action, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(action.name())
}

/// Why a host failed: a stable code, words for people, and the cure.
#[derive(Debug, Clone, Serialize)]
pub struct ErrorReport {
    pub code: &'static str,
    pub message: String,
    pub hint: String,
}

impl ErrorReport {
    /// About a host. Its paths are as its operator would type them, with a local host's root in front.
    #[must_use]
    pub fn of_host(error: &remote::Error) -> Self {
        Self { code: error.code(), message: error.to_string(), hint: error.hint() }
    }

    /// About one file of a host; the same of its path.
    #[must_use]
    pub fn of_file(error: &FileError) -> Self {
        Self { code: error.code(), message: error.to_string(), hint: error.hint() }
    }
}

/// Counts over the hosts; they add up to `hosts`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    pub hosts: usize,
    pub changed: usize,
    pub unchanged: usize,
    pub failed: usize,
    pub skipped: usize,
    #[serde(skip_serializing_if = "is_zero")]
    pub in_flight: usize,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &usize) -> bool {
    *number == 0
}

impl Summary {
    #[must_use]
    pub fn of(hosts: &[HostReport]) -> Self {
        Self::count(hosts.iter().map(|host| host.status))
    }

    /// The same, of their statuses.
    #[must_use]
    pub fn count(statuses: impl Iterator<Item = HostStatus>) -> Self {
        let mut counts = Self::default();
        for status in statuses {
            counts.hosts += 1;
            *match status {
                HostStatus::Changed => &mut counts.changed,
                HostStatus::Unchanged => &mut counts.unchanged,
                HostStatus::Failed => &mut counts.failed,
                HostStatus::Skipped => &mut counts.skipped,
                HostStatus::InFlight => &mut counts.in_flight,
            } += 1;
        }
        counts
    }
}
