//! What a run did, as the stable document `kubemint/run` (printed with `-o json`, kept as runs/<id>/report.json).
//! It names paths, digests and error codes; never a secret.

use crate::{
    bundle::{self, FileKind},
    digest::Digest,
    inventory::Host,
    remote::{self, FileError, installer::Action},
};
use jiff::Timestamp;
use serde::{Serialize, Serializer};

/// One run over the hosts.
#[derive(Debug, Clone, Serialize)]
pub struct RunReport {
    pub schema: &'static str,
    pub version: u32,
    pub run_id: String,
    pub command: &'static str,
    pub started: Timestamp,
    pub finished: Timestamp,
    /// Generation of the credentials that were installed.
    pub generation: u64,
    pub hosts: Vec<HostReport>,
    pub summary: Summary,
}

impl RunReport {
    pub const SCHEMA: &'static str = "kubemint/run";
    pub const VERSION: u32 = 1;
}

/// How one host ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum HostStatus {
    Changed,
    Unchanged,
    Failed,
    /// Not begun: the run was interrupted, or stopped before its turn.
    Skipped,
}

impl HostStatus {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Unchanged => "unchanged",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}

#[derive(Debug, Clone, Serialize)]
pub struct HostReport {
    pub name: String,
    pub status: HostStatus,
    pub files: Vec<FileReport>,
    pub error: Option<ErrorReport>,
    /// Connections tried; 0 for a host that was not begun.
    #[serde(default)]
    pub attempts: u32,
    /// Another name of the inventory that may be the same machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub twin: Option<Twin>,
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
    /// As read back from the host.
    pub sha256: Digest,
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
    /// About a host, with paths as its operator would type them.
    #[must_use]
    pub fn of_host(host: &Host, error: &remote::Error) -> Self {
        let shown = match error.cause() {
            remote::Error::Files(files) => {
                Some(remote::Error::Files(files.iter().map(|file| shown_file(host, file)).collect()))
            }
            _ => None,
        };
        let error = shown.as_ref().unwrap_or(error);
        Self { code: error.code(), message: error.to_string(), hint: error.hint() }
    }

    /// About one file of a host.
    #[must_use]
    pub fn of_file(host: &Host, error: &FileError) -> Self {
        let error = shown_file(host, error);
        Self { code: error.code(), message: error.to_string(), hint: error.hint() }
    }
}

fn shown_file(host: &Host, error: &FileError) -> FileError {
    FileError { path: bundle::shown_path(host, &error.path), ..error.clone() }
}

/// Counts over the hosts; they add up to `hosts`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    pub hosts: usize,
    pub changed: usize,
    pub unchanged: usize,
    pub failed: usize,
    pub skipped: usize,
}

impl Summary {
    #[must_use]
    pub fn of(hosts: &[HostReport]) -> Self {
        let count = |status| hosts.iter().filter(|host| host.status == status).count();
        Self {
            hosts: hosts.len(),
            changed: count(HostStatus::Changed),
            unchanged: count(HostStatus::Unchanged),
            failed: count(HostStatus::Failed),
            skipped: count(HostStatus::Skipped),
        }
    }
}
