//! What can be wrong with the credential directory. Every kind means: refused, nothing changed.

use super::Distrust;
use std::{io, path::Path, path::PathBuf};

/// Why a file is not taken as input, though it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    #[error("it is a directory")]
    Directory,
    #[error("it is not a regular file")]
    Special,
    #[error("larger than {mebibytes} MiB")]
    TooLarge { mebibytes: u64 },
    #[error("not UTF-8 text (byte {offset})")]
    NotUtf8 { offset: usize },
}

/// Why the credential directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{} is in use by another kubemint, pid {holder}", path.display())]
    Locked { path: PathBuf, holder: String },
    #[error("{} is damaged: {what}", path.display())]
    Damaged { path: PathBuf, what: String },
    #[error("{} was written by a newer kubemint (state version {found}; this one knows {known})", path.display())]
    NewerVersion { path: PathBuf, found: u64, known: u64 },
    #[error(
        "{} is older than its runs: generation {found}, but run {run} worked with generation {recorded}", path.display()
    )]
    OlderGeneration { path: PathBuf, found: u64, recorded: u64, run: String },
    #[error("{} {why}", path.display())]
    Untrusted { path: PathBuf, why: Distrust },
    #[error("there is no run {wanted:?} in {}", path.display())]
    NoSuchRun { path: PathBuf, wanted: String },
    #[error("more than one run begins with {wanted:?}: {}", found.join(", "))]
    AmbiguousRun { wanted: String, found: Vec<String> },
    #[error("{} cannot be read as the record of a run: {what}", path.display())]
    RunDamaged { path: PathBuf, what: String },
    #[error("{} is a symbolic link that another user could have made", path.display())]
    ForeignLink { path: PathBuf },
    #[error("{} exists already", path.display())]
    Exists { path: PathBuf },
    #[error("cannot read {}: {fault}", path.display())]
    Unfit { path: PathBuf, fault: Unfit },
    #[error("cannot read {}: file descriptor {number} is not open", path.display())]
    NotOpen { path: PathBuf, number: u32 },
    #[error("cannot {action} {}: {source}", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
}

const FREE_SPACE: &str = "free space on that file system";

impl Error {
    pub(super) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { action, path: path.to_owned(), source }
    }

    /// What the operator can do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Locked { .. } => "wait until it ends; `ps -p PID` shows what it is".into(),
            Self::Damaged { .. } => {
                "restore the whole directory from a backup; kubemint neither guesses nor makes a CA anew".into()
            }
            Self::NewerVersion { .. } => "use the kubemint that wrote it, or a newer one".into(),
            Self::OlderGeneration { .. } => {
                "an old copy was restored: hosts may hold newer credentials; restore the newest copy".into()
            }
            Self::Untrusted { why, .. } => why.hint().into(),
            Self::NoSuchRun { .. } => "`kubemint runs list` names them".into(),
            Self::AmbiguousRun { .. } => "write more of its name".into(),
            Self::RunDamaged { .. } => {
                "the other runs and the credentials are not concerned; `kubemint status` shows what hosts hold".into()
            }
            Self::ForeignLink { .. } => "name the file that it leads to, or one in a directory of your own".into(),
            Self::Exists { .. } => "choose another name, or move the file away first".into(),
            Self::Unfit { fault: Unfit::NotUtf8 { .. }, .. } => "save the file as UTF-8".into(),
            Self::NotOpen { number, .. } => {
                format!(
                    "open it for kubemint, as in `kubemint … {number}<FILE`, or pass the file on standard input: `- <FILE`"
                )
            }
            Self::Unfit { .. } => "check that the path names the file you mean".into(),
            Self::Io { source, .. } => match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    format!("{FREE_SPACE}; no host was changed")
                }
                io::ErrorKind::PermissionDenied => "check owner and mode of the path".into(),
                io::ErrorKind::ReadOnlyFilesystem => "choose a writable --state-dir".into(),
                io::ErrorKind::NotFound => "check the path".into(),
                io::ErrorKind::FileTooLarge => "raise the file-size limit (`ulimit -f`)".into(),
                _ => "see the system's message above".into(),
            },
        }
    }
    /// The same, in the middle of a run: hosts may have been changed.
    #[must_use]
    pub fn hint_midway(&self) -> String {
        match self {
            Self::Io { source, .. } => match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => FREE_SPACE.into(),
                io::ErrorKind::ReadOnlyFilesystem => "find out why that file system is read-only now".into(),
                _ => self.hint(),
            },
            _ => self.hint(),
        }
    }
}
