//! Whom the credential directory is believed: a file planted, or a name bent elsewhere, by another user is refused.
//!
//! Trusted is what belongs to the caller or to root, is itself and not a link, and cannot be written by others. Inside
//! such a directory nobody else can swap a file between a look and its use. A mode that only lets others read is no
//! reason to refuse: it is reported, and narrowed under the lock.

use super::{Error, StoredFile, extra, lock, runs, state};
use std::{
    fmt, fs, io,
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// Why a path is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Distrust {
    ForeignOwner { uid: u32 },
    Symlink,
    HardLinked { names: u64 },
    Writable { mode: u32 },
    NotRegular,
}

impl fmt::Display for Distrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ForeignOwner { uid } => write!(f, "belongs to another user (uid {uid})"),
            Self::Symlink => f.write_str("is a symbolic link"),
            Self::HardLinked { names } => write!(f, "has {names} names (hard links): another one may lie elsewhere"),
            Self::Writable { mode } => write!(f, "can be written by others (mode {mode:04o})"),
            Self::NotRegular => f.write_str("is not a regular file"),
        }
    }
}

impl Distrust {
    pub(super) fn hint(self) -> &'static str {
        match self {
            Self::ForeignOwner { .. } => "run kubemint as that user, or choose another --state-dir",
            Self::Symlink => {
                "put the file or directory itself there; to move all of it, name its real place as state_dir"
            }
            Self::HardLinked { .. } => "find out who linked it (`find / -samefile FILE`), then replace it by a copy",
            Self::Writable { .. } => {
                "others may have put something there: compare it with a backup, then `chmod -R go=` the state directory"
            }
            Self::NotRegular => "find out who put it there, and remove it",
        }
    }
}

/// Looks at the directory and all that is read from it. Gives the paths that others may read; what is not there is fine.
pub(super) fn survey(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut readable = Vec::new();
    // Without its trailing slash, which would follow a link.
    let dir = dir.components().collect::<PathBuf>();
    let Some(meta) = look_at(&dir)? else { return Ok(readable) };
    believe_owner(&dir, &meta)?;
    if is_writable(&meta) && !is_empty(&dir)? {
        return Err(distrusted(&dir, Distrust::Writable { mode: mode_of(&meta) }));
    }
    note_readable(&mut readable, &dir, &meta);
    for sub in StoredFile::subdirectories().into_iter().chain([runs::DIRECTORY]) {
        believe_dir(&dir.join(sub), &mut readable)?;
    }
    for run in runs::directories(&dir)? {
        believe_dir(&run, &mut readable)?;
    }
    for node in extra::directories(&dir)? {
        believe_dir(&node, &mut readable)?;
    }
    let fixed = StoredFile::ALL.map(StoredFile::path).into_iter().chain([state::FILE_NAME, lock::FILE_NAME]);
    let extra = extra::present(&dir)?;
    for file in fixed.map(str::to_owned).chain(extra.iter().map(extra::ExtraFile::path)) {
        let path = dir.join(file);
        let Some(meta) = look_at(&path)? else { continue };
        believe_owner(&path, &meta)?;
        believe_writers(&path, &meta)?;
        if meta.is_file() {
            believe_names(&path, &meta)?;
        }
        note_readable(&mut readable, &path, &meta);
    }
    Ok(readable)
}

/// A directory of runs, by the same rules; what is not there is fine.
pub(super) fn believe_directory(dir: &Path) -> Result<(), Error> {
    believe_dir(&dir.components().collect::<PathBuf>(), &mut Vec::new())
}

/// The mode of a file anywhere, if others may read it or write to it.
///
/// # Errors
/// [`Error::Io`].
pub fn mode_open_to_others(path: &Path) -> Result<Option<u32>, Error> {
    let meta = fs::metadata(path).map_err(|e| Error::io("look at", path, e))?;
    Ok(Some(mode_of(&meta)).filter(|mode| mode & 0o077 != 0))
}

/// Opens a file of the directory, following no link: a regular one with one name, of a trusted owner.
pub(super) fn open_file(path: &Path, how: &mut fs::OpenOptions) -> Result<fs::File, Error> {
    // Without NONBLOCK, opening a FIFO waits for its other end.
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let opened = how.custom_flags(flags.bits().cast_signed()).open(path);
    let file = match opened {
        Err(e) if e.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
            return Err(distrusted(path, Distrust::Symlink));
        }
        other => other.map_err(|e| Error::io("open", path, e))?,
    };
    let meta = file.metadata().map_err(|e| Error::io("look at", path, e))?;
    believe_owner(path, &meta)?;
    if !meta.is_file() {
        return Err(distrusted(path, Distrust::NotRegular));
    }
    believe_names(path, &meta)?;
    Ok(file)
}

fn look_at(path: &Path) -> Result<Option<fs::Metadata>, Error> {
    match fs::symlink_metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some).map_err(|e| Error::io("look at", path, e)),
    }
}

fn believe_dir(path: &Path, readable: &mut Vec<PathBuf>) -> Result<(), Error> {
    let Some(meta) = look_at(path)? else { return Ok(()) };
    believe_owner(path, &meta)?;
    believe_writers(path, &meta)?;
    note_readable(readable, path, &meta);
    Ok(())
}

fn believe_owner(path: &Path, meta: &fs::Metadata) -> Result<(), Error> {
    if meta.file_type().is_symlink() {
        return Err(distrusted(path, Distrust::Symlink));
    }
    if meta.uid() != 0 && meta.uid() != rustix::process::geteuid().as_raw() {
        return Err(distrusted(path, Distrust::ForeignOwner { uid: meta.uid() }));
    }
    Ok(())
}

fn believe_writers(path: &Path, meta: &fs::Metadata) -> Result<(), Error> {
    match is_writable(meta) {
        true => Err(distrusted(path, Distrust::Writable { mode: mode_of(meta) })),
        false => Ok(()),
    }
}

fn believe_names(path: &Path, meta: &fs::Metadata) -> Result<(), Error> {
    // None: it was replaced since it was opened, which only we and root can do here.
    match meta.nlink() {
        0 | 1 => Ok(()),
        names => Err(distrusted(path, Distrust::HardLinked { names })),
    }
}

fn note_readable(readable: &mut Vec<PathBuf>, path: &Path, meta: &fs::Metadata) {
    if mode_of(meta) & 0o077 != 0 {
        readable.push(path.to_owned());
    }
}

fn is_empty(dir: &Path) -> Result<bool, Error> {
    match fs::read_dir(dir) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(e) => Err(Error::io("list", dir, e)),
    }
}

fn is_writable(meta: &fs::Metadata) -> bool {
    meta.permissions().mode() & 0o022 != 0
}

fn mode_of(meta: &fs::Metadata) -> u32 {
    meta.permissions().mode() & 0o777
}

fn distrusted(path: &Path, why: Distrust) -> Error {
    Error::Untrusted { path: path.to_owned(), why }
}
