//! What a host holds, and what was done there: plain values for plans, reports and `status`. No secrets: a token is
//! named by its fingerprint.

use super::{in_use::InUse, machine::MachineId};
use crate::{
    digest::{Digest, Fingerprint},
    foreign::ForeignText,
    remote::{Error, FileError},
};
use jiff::Timestamp;

/// What a probe saw.
#[derive(Debug, Default)]
pub struct HostView {
    /// The host's own clock, where it could be read.
    pub clock: Option<Timestamp>,
    /// In the order asked for.
    pub files: Vec<FileView>,
    /// The fingerprint of its host key, `SHA256:…`; `None` for this machine.
    pub host_key: Option<String>,
    pub machine: Option<MachineId>,
    /// Only where that was asked for.
    pub in_use: Option<InUse>,
}

/// One file as a probe saw it.
#[derive(Debug)]
pub struct FileView {
    /// As in the bundle.
    pub path: String,
    pub found: Found,
    pub state: FileState,
}

impl FileView {
    /// Of what was found, where that was a file that could be read.
    #[must_use]
    pub fn sha256(&self) -> Option<Digest> {
        match &self.found {
            Found::Regular(regular) => regular.sha256,
            _ => None,
        }
    }
}

/// # Errors
/// [`Error::Files`] with each reason once, where a file was refused: the host changed nothing then.
pub(super) fn refuse_blocked(views: &[FileView]) -> Result<(), Error> {
    let mut blocked: Vec<FileError> = Vec::new();
    for view in views {
        if let FileState::Blocked(error) = &view.state
            && !blocked.contains(error)
        {
            blocked.push(error.clone());
        }
    }
    if blocked.is_empty() { Ok(()) } else { Err(Error::Files(blocked)) }
}

/// What an install would have to do about a file.
#[derive(Debug, PartialEq, Eq)]
pub enum FileState {
    /// Content, owner and mode are as wanted.
    Matches,
    Missing,
    /// Other content, or an ACL: would be replaced.
    Differs,
    /// Right content; owner or mode would be repaired.
    WrongAttributes,
    /// An install would refuse.
    Blocked(FileError),
}

/// What stands at a path.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing; or not looked at, because its directory is at fault.
    Absent,
    Regular(Regular),
    Symlink,
    Directory,
    Special,
}

/// A regular file on a host.
#[derive(Debug, PartialEq, Eq)]
pub struct Regular {
    /// `None` where the user may not read it, or it is too large to be read.
    pub sha256: Option<Digest>,
    /// Its size in bytes, where it is too large to be read: over 16 MiB.
    pub too_large: Option<u64>,
    /// Permission bits, such as 0o600.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub acl: bool,
    pub facts: Facts,
}

/// What a probe learns of a file that differs: never a secret. Values are foreign text, made safe.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// A kubeconfig's first `server`.
    pub server: Option<ForeignText>,
    /// A kubeconfig's first `client-certificate-data`, base64 as it stands there.
    pub client_certificate: Option<String>,
    /// A kubeconfig's first `certificate-authority-data`, base64 as it stands there.
    pub certificate_authority: Option<String>,
    /// A kubeconfig's first `token`, by fingerprint.
    pub token: Option<Fingerprint>,
    /// The first 50 rows of token.csv.
    pub token_rows: Vec<TokenRow>,
}

/// One row of a token.csv on a host.
#[derive(Debug, PartialEq, Eq)]
pub struct TokenRow {
    /// `None` where what the host said is not shown.
    pub token: Option<Fingerprint>,
    /// The name, where our own file has that user; else `another user` and a fingerprint of what stands there, which in
    /// a damaged row may be a secret.
    pub user: ForeignText,
}

/// What an install did.
#[derive(Debug, Default)]
pub struct HostOutcome {
    /// The host's own clock, where something was written and it could be read.
    pub clock: Option<Timestamp>,
    /// In the order asked for.
    pub files: Vec<FileOutcome>,
    /// How many connections it took, from 1.
    pub attempts: u32,
    /// Where it told.
    pub machine: Option<MachineId>,
    /// The name under which this machine had been written; nothing was left to do under this one.
    pub twin: Option<String>,
}

/// What an install did about one file.
#[derive(Debug)]
pub struct FileOutcome {
    /// As in the bundle.
    pub path: String,
    pub action: Action,
    /// As read back from the host.
    pub sha256: Digest,
    /// What the file held before, where it held something else and could be read.
    pub replaced: Option<Digest>,
}

/// What was done about a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    Created,
    Updated,
    /// Owner or mode only.
    Repaired,
    /// Not touched.
    Unchanged,
    /// The kept version is in its place again.
    Restored,
    /// It is not there any more, as before it was created.
    Removed,
}

impl Action {
    /// The word used in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Updated => "updated",
            Self::Repaired => "repaired",
            Self::Unchanged => "unchanged",
            Self::Restored => "restored",
            Self::Removed => "removed",
        }
    }

    /// From the script's word for it.
    pub(super) fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "create" => Self::Created,
            "update" => Self::Updated,
            "repair" => Self::Repaired,
            "same" => Self::Unchanged,
            "restored" => Self::Restored,
            "removed" => Self::Removed,
            _ => return None,
        })
    }
}
