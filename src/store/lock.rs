//! Who works in the credential directory: an advisory lock (flock) on the file `lock`. One writer, whose pid the file
//! holds, or any number of readers that must not see it change. The kernel drops a lock with its process, however that
//! dies: there are no stale locks to clear.

use super::{Error, trust};
use std::{
    fs::{self, TryLockError},
    io::{self, Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::Path,
};

pub(super) const FILE_NAME: &str = "lock";

/// Proof that nobody else writes here; released when dropped.
#[derive(Debug)]
pub struct Lock {
    /// `None`: nobody could lock here either.
    file: Option<fs::File>,
    holds: Hold,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hold {
    Alone,
    WithOthers,
}

impl Drop for Lock {
    /// A pid left behind could be read as the next holder's before that one has written its own.
    fn drop(&mut self) {
        if let (Hold::Alone, Some(file)) = (self.holds, &self.file) {
            let _ = file.set_len(0);
        }
    }
}

impl Lock {
    pub(super) fn acquire(dir: &Path) -> Result<Self, Error> {
        let path = dir.join(FILE_NAME);
        let fail = |e| Error::io("lock", &path, e);
        let mut how = fs::OpenOptions::new();
        how.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = trust::open_file(&path, &mut how)?;
        judge(file.try_lock(), &mut file, dir)?;
        file.set_len(0).map_err(fail)?;
        writeln!(file, "{}", std::process::id()).map_err(fail)?;
        Ok(Self { file: Some(file), holds: Hold::Alone })
    }

    /// For one who only reads: others may read at the same time. Works on a read-only file system. A directory that
    /// nobody locked yet and where no lock can be made has no writer either.
    pub(super) fn share(dir: &Path) -> Result<Self, Error> {
        let path = dir.join(FILE_NAME);
        let opened = trust::open_file(&path, fs::OpenOptions::new().read(true)).or_else(|error| match &error {
            Error::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                let mut how = fs::OpenOptions::new();
                how.read(true).write(true).create(true).truncate(false).mode(0o600);
                trust::open_file(&path, &mut how)
            }
            _ => Err(error),
        });
        let mut file = match opened {
            Err(Error::Io { source, .. }) if is_closed_to_writers(&source) && !path.exists() => {
                return Ok(Self { file: None, holds: Hold::WithOthers });
            }
            other => other?,
        };
        judge(file.try_lock_shared(), &mut file, dir)?;
        Ok(Self { file: Some(file), holds: Hold::WithOthers })
    }

    /// Whether some process is writing now.
    pub(super) fn is_held(dir: &Path) -> bool {
        let Ok(file) = trust::open_file(&dir.join(FILE_NAME), fs::OpenOptions::new().read(true)) else { return false };
        matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
    }
}

fn is_closed_to_writers(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied)
}

/// Who was refused is told who holds the lock: a writer says so in the file, of readers the kernel knows.
fn judge(locked: Result<(), TryLockError>, file: &mut fs::File, dir: &Path) -> Result<(), Error> {
    match locked {
        Ok(()) => Ok(()),
        Err(TryLockError::Error(e)) => Err(Error::io("lock", &dir.join(FILE_NAME), e)),
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let _ = file.read_to_string(&mut holder);
            let holder = match holder.trim() {
                "" => known_holders(file),
                pid => pid.to_owned(),
            };
            Err(Error::Locked { path: dir.to_owned(), holder })
        }
    }
}

/// The pids that hold a lock on the file: Linux tells, of this PID namespace, in /proc/locks (proc(5)).
fn known_holders(file: &fs::File) -> String {
    let unknown = || "unknown".to_owned();
    let (Ok(meta), Ok(table)) = (file.metadata(), fs::read_to_string("/proc/locks")) else { return unknown() };
    let inode = format!(":{}", meta.ino());
    let mut pids: Vec<&str> = Vec::new();
    for line in table.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        if let [_, "FLOCK", _, _, pid, place, ..] = words.as_slice()
            && place.ends_with(&inode)
            && !pids.contains(pid)
        {
            pids.push(pid);
        }
    }
    if pids.is_empty() { unknown() } else { pids.join(", ") }
}
