//! One writer at a time: an advisory lock (flock) on the file `lock`, which also names its holder.
//! The kernel drops the lock with the process, however it dies: there are no stale locks to clear.

use super::{Error, trust};
use std::{
    fs::{self, TryLockError},
    io::{Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

pub(super) const FILE_NAME: &str = "lock";

/// Proof that this process is the directory's only writer; released when dropped.
#[derive(Debug)]
pub struct Lock {
    file: fs::File,
}

impl Drop for Lock {
    /// A pid left behind could be read as the next holder's before that one has written its own.
    fn drop(&mut self) {
        let _ = self.file.set_len(0);
    }
}

impl Lock {
    pub(super) fn acquire(dir: &Path) -> Result<Self, Error> {
        let path = dir.join(FILE_NAME);
        let fail = |e| Error::io("lock", &path, e);
        let mut how = fs::OpenOptions::new();
        how.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = trust::open_file(&path, &mut how)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::Error(e)) => return Err(fail(e)),
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let _ = file.read_to_string(&mut holder);
                let holder = holder.trim();
                let holder = if holder.is_empty() { "unknown" } else { holder }.to_owned();
                return Err(Error::Locked { path: dir.to_owned(), holder });
            }
        }
        file.set_len(0).map_err(fail)?;
        writeln!(file, "{}", std::process::id()).map_err(fail)?;
        Ok(Self { file })
    }

    /// Whether some process holds the lock now.
    pub(super) fn is_held(dir: &Path) -> bool {
        let Ok(file) = trust::open_file(&dir.join(FILE_NAME), fs::OpenOptions::new().read(true)) else { return false };
        matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
    }
}
