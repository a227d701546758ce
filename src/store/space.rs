//! How much room there is where the credential directory is, or will be.

use super::{Error, Store};
use std::{io, path::Path};

/// What may still be written there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    pub bytes: u64,
    /// `None` where the file system does not count them.
    pub inodes: Option<u64>,
}

impl Store {
    /// Of the directory, or of the nearest one above it while it is not there.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn free_space(&self) -> Result<Space, Error> {
        let here = self.dir().ancestors().find(|dir| dir.is_dir()).unwrap_or(Path::new("/"));
        let found = rustix::fs::statvfs(here).map_err(|e| Error::io("look at", here, io::Error::from(e)))?;
        let inodes = Some(found.f_favail).filter(|_| found.f_files > 0);
        Ok(Space { bytes: found.f_bavail.saturating_mul(found.f_frsize), inodes })
    }
}
