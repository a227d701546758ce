//! Writing a file whole or not at all: temp file 0600 in the same directory, sync, rename, sync the directory.
//!
//! A crash may lose the new file or leave a temp file behind (swept when the lock is next taken); it never leaves a
//! truncated one under the real name.

use super::Error;
use std::{
    collections::BTreeSet,
    fs, io,
    io::Write,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

const PREFIX: &str = ".kubemint-";
const SUFFIX: &str = ".tmp";

/// The content of a file, synced under another name beside it; gone when dropped.
pub(super) struct StagedFile {
    path: PathBuf,
    /// Closed: of 10,000 nodes there are twice as many at a time.
    temp: tempfile::TempPath,
}

impl StagedFile {
    pub(super) fn write(path: &Path, content: &[u8]) -> Result<Self, Error> {
        Ok(Self { path: path.to_owned(), temp: write_temp(path, content)?.into_temp_path() })
    }

    /// Puts it in its place, of mode 0600.
    pub(super) fn persist(self) -> Result<(), Error> {
        sync_dir(&self.place()?)
    }

    /// The same for many: each directory is synced once, after the last of them.
    pub(super) fn persist_all(staged: Vec<Self>) -> Result<(), Error> {
        let placed = staged.into_iter().map(Self::place).collect::<Result<BTreeSet<_>, _>>()?;
        // And the one they lie in, which may be new as well.
        let above: BTreeSet<&Path> = placed.iter().filter_map(|dir| dir.parent()).collect();
        placed.iter().map(PathBuf::as_path).chain(above).try_for_each(sync_dir)
    }

    fn place(self) -> Result<PathBuf, Error> {
        let Self { path, temp } = self;
        temp.persist(&path).map_err(|e| Error::io("write", &path, e.error))?;
        Ok(folder_of(&path).to_owned())
    }
}

/// Replaces `path` by a file of mode 0600 that holds `content`.
pub(super) fn write_file(path: &Path, content: &[u8]) -> Result<(), Error> {
    StagedFile::write(path, content)?.persist()
}

/// Writes `content` to a new file of the given mode; never replaces one.
///
/// # Errors
/// [`Error::Exists`]; [`Error::Io`].
pub(super) fn write_new_file(path: &Path, content: &[u8], mode: u32) -> Result<(), Error> {
    // Looked at first, so that a refusal leaves no trace; persist_noclobber decides.
    if path.symlink_metadata().is_ok() {
        return Err(Error::Exists { path: path.to_owned() });
    }
    let temp = write_temp(path, content)?;
    temp.as_file()
        .set_permissions(fs::Permissions::from_mode(mode))
        .map_err(|e| Error::io("set the mode of", path, e))?;
    temp.persist_noclobber(path).map_err(|e| match e.error.kind() {
        io::ErrorKind::AlreadyExists => Error::Exists { path: path.to_owned() },
        _ => Error::io("write", path, e.error),
    })?;
    sync_dir(folder_of(path))
}

/// Replaces `path` by a file of mode 0644: for what is no secret and others are to read. Never seen in part.
///
/// # Errors
/// [`Error::Io`]; the file is as it was then.
pub(super) fn replace_public_file(path: &Path, content: &[u8]) -> Result<(), Error> {
    let temp = write_temp(path, content)?;
    let opened = temp.as_file().set_permissions(fs::Permissions::from_mode(0o644));
    opened.map_err(|e| Error::io("set the mode of", path, e))?;
    temp.persist(path).map_err(|e| Error::io("write", path, e.error))?;
    sync_dir(folder_of(path))
}

/// Whether a file could be put at `path`: tried beside it, and taken away again.
///
/// # Errors
/// [`Error::Io`] with what stands in the way.
pub(super) fn check_writable(path: &Path) -> Result<(), Error> {
    if path.is_dir() {
        return Err(Error::io("write", path, io::ErrorKind::IsADirectory.into()));
    }
    write_temp(path, b"").map(drop)
}

fn write_temp(path: &Path, content: &[u8]) -> Result<tempfile::NamedTempFile, Error> {
    let fail = |e| Error::io("write", path, e);
    // tempfile creates with O_EXCL and mode 0600.
    let mut temp = tempfile::Builder::new().prefix(PREFIX).suffix(SUFFIX).tempfile_in(folder_of(path)).map_err(fail)?;
    temp.write_all(content).map_err(fail)?;
    temp.as_file().sync_all().map_err(fail)?;
    Ok(temp)
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Removes temp files of runs that were killed. Only for the holder of the lock.
pub(super) fn sweep_leftovers(dir: &Path) -> Result<(), Error> {
    let entries = match fs::read_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(|e| Error::io("list", dir, e))?,
    };
    for entry in entries {
        let entry = entry.map_err(|e| Error::io("list", dir, e))?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(PREFIX) && name.ends_with(SUFFIX) {
            fs::remove_file(entry.path()).map_err(|e| Error::io("remove", &entry.path(), e))?;
        }
    }
    Ok(())
}

fn sync_dir(dir: &Path) -> Result<(), Error> {
    fs::File::open(dir).and_then(|d| d.sync_all()).map_err(|e| Error::io("sync", dir, e))
}
