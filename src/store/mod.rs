//! The credential directory: everything kubemint keeps on the control machine.
//!
//! What always holds: directories are 0700 and files 0600; a file is whole or absent; state.json is written before and
//! after the files it describes, so that a run killed at any moment leaves a directory that loads; one writer at a time.
//! It knows digests, not what a token or a certificate is.

mod atomic;
mod error;
mod file;
mod input;
mod kept_runs;
mod lock;
mod runs;
mod space;
mod state;
mod trust;

pub use atomic::write_new_file;
pub use error::{Error, Unfit};
pub use file::StoredFile;
pub use input::{read_bytes, read_capped, read_stream, read_text};
pub use kept_runs::{RunRecord, Runs, read_record};
pub use lock::Lock;
pub use runs::{Journal, RunId};
pub use space::Space;
pub use state::{CaOrigin, CaRecord, CertificateRecord, RowRecord, State, TokenRecord};
pub use trust::{Distrust, mode_open_to_others};

use atomic::StagedFile;

use crate::{
    clock::Clock,
    digest::Digest,
    secret::{ExposeSecret, Secret},
};
use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// A credential larger than this was not written by kubemint.
const LARGEST_FILE: u64 = 16 * 1024 * 1024;

/// The credential directory at a path; it need not exist yet.
#[derive(Debug, Clone)]
pub struct Store {
    dir: PathBuf,
}

/// One consistent view of the directory.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// `None`: nothing was ever generated here.
    pub state: Option<State>,
    files: BTreeMap<StoredFile, Secret>,
    /// A run was stopped between its first and its last write, or is between them now: the set may be whole, but
    /// nothing vouches for it until the next commit.
    pub interrupted: bool,
}

impl Snapshot {
    /// A file's content, where it is there.
    #[must_use]
    pub fn content(&self, file: StoredFile) -> Option<&Secret> {
        self.files.get(&file)
    }

    /// The text of a certificate, which is no secret; `None` for every other file.
    #[must_use]
    pub fn certificate(&self, file: StoredFile) -> Option<&str> {
        match file {
            StoredFile::CaCertificate | StoredFile::KubeProxyCertificate => {
                self.content(file).map(ExposeSecret::expose_secret)
            }
            _ => None,
        }
    }

    /// Whether `file` is there with exactly this content.
    #[must_use]
    pub fn holds(&self, file: StoredFile, content: &Secret) -> bool {
        self.content(file).is_some_and(|stored| digest_of(stored) == digest_of(content))
    }

    /// Whether nothing was written between the two views.
    #[must_use]
    pub fn is_same_as(&self, other: &Self) -> bool {
        let digests = |view: &Self| view.files.iter().map(|(file, text)| (*file, digest_of(text))).collect::<Vec<_>>();
        self.state == other.state && self.interrupted == other.interrupted && digests(self) == digests(other)
    }

    /// Whether the last finished run left `file` here: then its absence is damage, not a fresh start.
    #[must_use]
    pub fn was_committed(&self, file: StoredFile) -> bool {
        self.state.as_ref().is_some_and(|state| state.files.contains_key(file.path()))
    }
}

impl Store {
    #[must_use]
    pub fn at(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Makes the directory (0700) where it is missing, takes its lock, and removes what a killed run left half-written.
    ///
    /// # Errors
    /// [`Error::Locked`] with the holder's pid; [`Error::Untrusted`]; [`Error::Io`].
    pub fn lock(&self) -> Result<Lock, Error> {
        self.make_dir(&self.dir)?;
        self.close_to_others()?;
        let lock = Lock::acquire(&self.dir)?;
        atomic::sweep_leftovers(&self.dir)?;
        for sub in StoredFile::subdirectories() {
            atomic::sweep_leftovers(&self.dir.join(sub))?;
        }
        for run in runs::unreported(&self.dir)? {
            atomic::sweep_leftovers(&run)?;
        }
        Ok(lock)
    }

    /// Keeps writers away from a directory that is only read, as on a read-only file system; other readers may do the
    /// same. Nothing is written, narrowed or removed.
    ///
    /// # Errors
    /// [`Error::Locked`] with the writer's pid; [`Error::Untrusted`]; [`Error::Io`].
    pub fn share(&self) -> Result<Lock, Error> {
        for path in trust::survey(&self.dir)? {
            tracing::warn!("{} is open to others, and its mode is not ours to narrow here", path.display());
        }
        Lock::share(&self.dir)
    }

    /// Whether the directory is there, ours, all of it closed to others, and nobody is writing: then a run that has
    /// nothing to write need not take the lock.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        let ours = |meta: fs::Metadata| meta.uid() == rustix::process::geteuid().as_raw();
        fs::symlink_metadata(&self.dir).is_ok_and(ours)
            && trust::survey(&self.dir).is_ok_and(|readable| readable.is_empty())
            && !Lock::is_held(&self.dir)
    }

    /// Whether another process is writing.
    #[must_use]
    pub fn is_in_use(&self) -> bool {
        Lock::is_held(&self.dir)
    }

    /// Reads state.json and every file it names, and holds the one against the other. While another process is writing
    /// it waits up to two seconds for a consistent view.
    ///
    /// # Errors
    /// [`Error::Untrusted`], [`Error::Damaged`], [`Error::NewerVersion`], [`Error::OlderGeneration`], [`Error::Io`].
    /// Nothing is changed.
    pub fn load(&self) -> Result<Snapshot, Error> {
        let deadline = Instant::now() + Duration::from_secs(2);
        loop {
            match self.load_once() {
                Err(Error::Damaged { .. }) if Lock::is_held(&self.dir) && Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                other => return other,
            }
        }
    }

    fn load_once(&self) -> Result<Snapshot, Error> {
        trust::survey(&self.dir)?;
        let Some(text) = self.read(state::FILE_NAME)? else {
            let orphan = StoredFile::ALL.into_iter().find(|file| self.dir.join(file.path()).exists());
            let orphan = match orphan {
                Some(file) => Some(file.path().to_owned()),
                None => runs::newest_recorded(&self.dir)?.map(|run| format!("{}/{}", runs::DIRECTORY, run.name)),
            };
            return match orphan {
                Some(orphan) => Err(self.damaged(state::FILE_NAME, format!("missing, though {orphan} is there"))),
                None => Ok(Snapshot::default()),
            };
        };
        let document = state::parse_document(&text).map_err(|e| e.at(&self.dir.join(state::FILE_NAME)))?;
        runs::refuse_older_generation(&self.dir, document.current.generation)?;
        let mut files = BTreeMap::new();
        let mut unfinished = false;
        for file in StoredFile::ALL {
            let expected = document.expected(file);
            let Some(content) = self.read(file.path())? else {
                unfinished |= expected.next.is_some();
                continue;
            };
            let found = Digest::of(content.expose_secret());
            if Some(found) != expected.current && Some(found) != expected.next {
                return Err(self.damaged(
                    file.path(),
                    match (expected.current, expected.next) {
                        (None, None) => "state.json does not know it".to_owned(),
                        _ => "its content is not what state.json recorded".to_owned(),
                    },
                ));
            }
            unfinished |= match (expected.current, expected.next) {
                (_, Some(next)) => next != found,
                // The commit that was interrupted was to remove it.
                (current, None) => document.next.is_some() && current.is_some(),
            };
            files.insert(file, content);
        }
        let interrupted = document.next.is_some();
        let state = match document.next {
            Some(next) if !unfinished => Some(next),
            _ => Some(document.current),
        };
        Ok(Snapshot { state: state.filter(|s| s.generation > 0), files, interrupted })
    }

    /// Makes `changes` and `next` the directory's content. A run that dies on the way leaves old and new files side by
    /// side, each whole, and a state.json that knows both.
    ///
    /// # Errors
    /// [`Error::Io`], with the directory still loadable.
    pub fn commit(
        &self,
        held: &Lock,
        snapshot: &Snapshot,
        changes: &[(StoredFile, Secret)],
        next: State,
        clock: &dyn Clock,
    ) -> Result<State, Error> {
        self.commit_without(held, snapshot, changes, &[], next, clock)
    }

    /// As [`Store::commit`], and takes `removed` away.
    ///
    /// # Errors
    /// As [`Store::commit`].
    pub fn commit_without(
        &self,
        _held: &Lock,
        snapshot: &Snapshot,
        changes: &[(StoredFile, Secret)],
        removed: &[StoredFile],
        mut next: State,
        clock: &dyn Clock,
    ) -> Result<State, Error> {
        let mut current = snapshot.state.clone().unwrap_or_default();
        for (file, content) in &snapshot.files {
            // An interrupted run may have left newer files than the record knows: the record must cover what is there.
            current.files.insert(file.path().to_owned(), digest_of(content));
        }
        next.generation = current.generation + 1;
        next.updated = Some(clock.now());
        next.files.clone_from(&current.files);
        for (file, content) in changes {
            next.files.insert(file.path().to_owned(), digest_of(content));
        }
        for file in removed {
            next.files.remove(file.path());
        }
        // All of it is on the disk under other names before the first of them counts: a full disk changes nothing.
        let mut staged = vec![self.stage_state(&current, Some(&next))?];
        for (file, content) in changes {
            let path = self.dir.join(file.path());
            if let Some(parent) = path.parent() {
                self.make_dir(parent)?;
            }
            staged.push(StagedFile::write(&path, content.expose_secret().as_bytes())?);
        }
        let last = self.stage_state(&next, None)?;
        staged.into_iter().try_for_each(StagedFile::persist)?;
        removed.iter().try_for_each(|file| atomic::remove_file(&self.dir.join(file.path())))?;
        last.persist()?;
        Ok(next)
    }

    /// Opens the journal of a new run. Before the commit, so that a directory that cannot take it changes nothing;
    /// [`Journal::discard`] where the commit fails.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn start_run(&self, id: RunId) -> Result<Journal, Error> {
        self.make_dir(&self.dir)?;
        self.runs().start(id)
    }

    /// The runs recorded here.
    #[must_use]
    pub fn runs(&self) -> Runs {
        Runs::at(&self.dir.join(runs::DIRECTORY))
    }

    /// Files and directories whose mode lets others in, with that mode: empty when all is as it should be.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn wide_modes(&self) -> Result<Vec<(PathBuf, u32)>, Error> {
        let mut wide = Vec::new();
        let mut visit = vec![self.dir.clone()];
        while let Some(path) = visit.pop() {
            let meta = fs::symlink_metadata(&path).map_err(|e| Error::io("look at", &path, e))?;
            let mode = meta.permissions().mode() & 0o777;
            if mode & 0o077 != 0 {
                wide.push((path.clone(), mode));
            }
            if meta.is_dir() {
                let entries = fs::read_dir(&path).map_err(|e| Error::io("list", &path, e))?;
                for entry in entries {
                    visit.push(entry.map_err(|e| Error::io("list", &path, e))?.path());
                }
            }
        }
        wide.sort();
        Ok(wide)
    }

    fn stage_state(&self, current: &State, next: Option<&State>) -> Result<StagedFile, Error> {
        let text = state::render_document(current, next);
        StagedFile::write(&self.dir.join(state::FILE_NAME), text.as_bytes())
    }

    fn read(&self, relative: &str) -> Result<Option<Secret>, Error> {
        let path = self.dir.join(relative);
        match input::read_capped(&path, LARGEST_FILE) {
            Ok(text) => Ok(Some(text)),
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(Error::Unfit { fault, .. }) => Err(self.damaged(relative, fault.to_string())),
            Err(e) => Err(e),
        }
    }

    fn damaged(&self, relative: &str, what: String) -> Error {
        Error::Damaged { path: self.dir.join(relative), what }
    }

    /// Makes the credential directory or one below it, 0700; what lies above it gets the usual mode.
    fn make_dir(&self, dir: &Path) -> Result<(), Error> {
        if let Some(above) = self.dir.parent() {
            fs::create_dir_all(above).map_err(|e| Error::io("make", above, e))?;
        }
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|e| Error::io("make", dir, e))
    }

    /// The directory comes first: once others cannot write to it, what the second survey finds there stays as it is.
    fn close_to_others(&self) -> Result<(), Error> {
        for path in trust::survey(&self.dir)? {
            tracing::warn!("{} was open to others; its mode is narrowed", path.display());
            let mode = if path.is_dir() { 0o700 } else { 0o600 };
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).map_err(|e| Error::io("narrow", &path, e))?;
        }
        trust::survey(&self.dir).map(|_| ())
    }
}

fn digest_of(content: &Secret) -> Digest {
    Digest::of(content.expose_secret())
}
