//! Who works in the credential directory: an advisory lock (flock) on the file `lock` and on the directory itself. One
//! writer, whose pid the file holds, or any number of readers that must not see it change. The kernel drops a lock with its
//! process, however that dies: there are no stale locks to clear.
//!
//! The file alone could be removed under its holder, and the next one would lock another of that name; versions before this
//! one lock nothing else. Where a directory cannot be locked, as on some network file systems, the file has to do.

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
    /// `None`: it cannot be locked.
    _directory: Option<fs::File>,
    holds: Hold,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hold {
    Alone,
    WithOthers,
}

impl Hold {
    fn take(self, file: &fs::File) -> Result<(), TryLockError> {
        match self {
            Self::Alone => file.try_lock(),
            Self::WithOthers => file.try_lock_shared(),
        }
    }
}

impl Drop for Lock {
    /// A pid left behind could be read as the next holder's before that one has written its own.
    fn drop(&mut self) {
        if let (Hold::Alone, Some(file)) = (self.holds, &self.file) {
            let _ = file.set_len(0);
        }
    }
}

/// How often the file may be replaced between two looks at it.
const MOST_REPLACEMENTS: usize = 100;

impl Lock {
    pub(super) fn acquire(dir: &Path) -> Result<Self, Error> {
        let path = dir.join(FILE_NAME);
        let fail = |e| Error::io("lock", &path, e);
        for _ in 0..MOST_REPLACEMENTS {
            let mut file = trust::open_file(&path, &mut to_make())?;
            judge(Hold::Alone.take(&file), &mut file, dir)?;
            let directory = lock_directory(dir, Hold::Alone, Some(&mut file))?;
            if !is_still_there(&file, &path) {
                continue;
            }
            file.set_len(0).map_err(fail)?;
            writeln!(file, "{}", std::process::id()).map_err(fail)?;
            return Ok(Self { file: Some(file), _directory: directory, holds: Hold::Alone });
        }
        Err(fail(io::Error::other("somebody keeps replacing it")))
    }

    /// For one who only reads: others may read at the same time. Works on a read-only file system. A directory that
    /// nobody locked yet and where no lock can be made has no writer either.
    pub(super) fn share(dir: &Path) -> Result<Self, Error> {
        let path = dir.join(FILE_NAME);
        let opened = trust::open_file(&path, fs::OpenOptions::new().read(true)).or_else(|error| match &error {
            Error::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                trust::open_file(&path, &mut to_make())
            }
            _ => Err(error),
        });
        let mut file = match opened {
            Err(Error::Io { source, .. }) if is_closed_to_writers(&source) && !path.exists() => {
                let directory = lock_directory(dir, Hold::WithOthers, None)?;
                return Ok(Self { file: None, _directory: directory, holds: Hold::WithOthers });
            }
            other => other?,
        };
        judge(Hold::WithOthers.take(&file), &mut file, dir)?;
        let directory = lock_directory(dir, Hold::WithOthers, Some(&mut file))?;
        Ok(Self { file: Some(file), _directory: directory, holds: Hold::WithOthers })
    }

    /// Whether some process is writing now.
    pub(super) fn is_held(dir: &Path) -> bool {
        let is_locked = |file: &fs::File| matches!(Hold::WithOthers.take(file), Err(TryLockError::WouldBlock));
        trust::open_file(&dir.join(FILE_NAME), fs::OpenOptions::new().read(true)).is_ok_and(|file| is_locked(&file))
            || fs::File::open(dir).is_ok_and(|dir| is_locked(&dir))
    }
}

/// For the file, which need not be there.
fn to_make() -> fs::OpenOptions {
    let mut how = fs::OpenOptions::new();
    how.read(true).write(true).create(true).truncate(false).mode(0o600);
    how
}

/// It cannot be removed without what lies in it. `file`: the one that was locked first.
fn lock_directory(dir: &Path, holds: Hold, file: Option<&mut fs::File>) -> Result<Option<fs::File>, Error> {
    let Ok(directory) = fs::File::open(dir) else { return Ok(None) };
    match holds.take(&directory) {
        Ok(()) => Ok(Some(directory)),
        Err(TryLockError::WouldBlock) => {
            let named = file.map(holder_in).filter(|pid| !pid.is_empty());
            let holder = named.unwrap_or_else(|| known_holders(&directory));
            Err(Error::Locked { path: dir.to_owned(), holder })
        }
        // Its file system takes no such lock.
        Err(TryLockError::Error(_)) => Ok(None),
    }
}

/// Whether the name still leads to the file that was locked.
fn is_still_there(file: &fs::File, path: &Path) -> bool {
    let of_name = fs::symlink_metadata(path).map(|meta| (meta.dev(), meta.ino()));
    let of_file = file.metadata().map(|meta| (meta.dev(), meta.ino()));
    matches!((of_name, of_file), (Ok(name), Ok(file)) if name == file)
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
            let holder = Some(holder_in(file)).filter(|pid| !pid.is_empty()).unwrap_or_else(|| known_holders(file));
            Err(Error::Locked { path: dir.to_owned(), holder })
        }
    }
}

/// The pid that a writer wrote.
fn holder_in(file: &mut fs::File) -> String {
    let mut holder = String::new();
    let _ = file.read_to_string(&mut holder);
    holder.trim().to_owned()
}

/// The pids that hold a lock on a file or directory: Linux tells, of this PID namespace, in /proc/locks (proc(5)).
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
