//! The credential directory: everything kubemint keeps on the control machine.
//!
//! What always holds: directories are 0700 and files 0600; a file is whole or absent; state.json is written before and
//! after the files it describes, so that a run killed at any moment leaves a directory that loads; one writer at a time.
//! It knows digests, not what a token or a certificate is.

mod atomic;
mod error;
mod extra;
mod file;
mod input;
mod journal;
mod kept_runs;
mod lock;
mod output_file;
mod private_groups;
mod runs;
mod snapshot;
mod space;
mod state;
mod steering;
mod trust;

pub use error::{Error, Unfit};
pub use extra::ExtraFile;
pub use file::StoredFile;
pub use input::{read_bytes, read_capped, read_descriptor, read_text};
pub use journal::Journal;
pub use kept_runs::{RunRecord, Runs, read_record};
pub use lock::Lock;
pub use output_file::{Existing, OutputFile, Stream};
pub use runs::RunId;
pub use snapshot::{Snapshot, Stamp};
pub use space::Space;
pub use state::{CaOrigin, CaRecord, CertificateRecord, RowRecord, State, TokenRecord};
pub use steering::{Exposed, TrustedUsers};
pub use trust::{Distrust, mode_open_to_others};

use atomic::StagedFile;
use snapshot::digest_of;
use state::Document;

use crate::{
    clock::Clock,
    secret::{ExposeSecret, Secret},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// A credential larger than this was not written by kubemint.
const LARGEST_FILE: u64 = 16 * 1024 * 1024;
/// With a key for each of 100,000 nodes.
const LARGEST_STATE: u64 = 256 * 1024 * 1024;

/// The credential directory at a path; it need not exist yet.
#[derive(Debug, Clone)]
pub struct Store {
    dir: PathBuf,
}

/// What a commit writes and removes.
#[derive(Debug, Default)]
pub struct Changes {
    pub files: Vec<(StoredFile, Secret)>,
    pub extra: Vec<(ExtraFile, Secret)>,
    /// Files that are not wanted any more; they need not be there.
    pub removed: Vec<StoredFile>,
    pub removed_extra: Vec<ExtraFile>,
}

impl Changes {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.files.is_empty() && self.extra.is_empty() && self.removed.is_empty() && self.removed_extra.is_empty()
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
        for node in extra::directories(&self.dir)? {
            atomic::sweep_leftovers(&node)?;
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

    /// Changes whenever a run writes state.json; `None` while there is none.
    #[must_use]
    pub fn stamp(&self) -> Option<Stamp> {
        let meta = fs::symlink_metadata(self.dir.join(state::FILE_NAME)).ok()?;
        Some(Stamp { inode: meta.ino(), changed: (meta.ctime(), meta.ctime_nsec()) })
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
            let fixed = StoredFile::ALL.into_iter().find(|file| self.dir.join(file.path()).exists());
            let fixed = fixed.map(|file| file.path().to_owned());
            let orphan = match fixed.or(extra::present(&self.dir)?.first().map(ExtraFile::path)) {
                Some(path) => Some(path),
                None => runs::newest_recorded(&self.dir)?.map(|run| format!("{}/{}", runs::DIRECTORY, run.name)),
            };
            return match orphan {
                Some(orphan) => Err(self.damaged(state::FILE_NAME, format!("missing, though {orphan} is there"))),
                None => Ok(Snapshot::default()),
            };
        };
        let document = state::parse_document(&text).map_err(|e| e.at(&self.dir.join(state::FILE_NAME)))?;
        runs::refuse_older_generation(&self.dir, document.current.generation)?;
        let (mut files, mut extra, mut unfinished) = (BTreeMap::new(), BTreeMap::new(), false);
        for file in StoredFile::ALL {
            if let Some(content) = self.load_file(&document, file.path(), &mut unfinished)? {
                files.insert(file, content);
            }
        }
        let recorded = document.paths().filter_map(ExtraFile::parse);
        for file in recorded.chain(extra::present(&self.dir)?).collect::<BTreeSet<_>>() {
            if let Some(content) = self.load_file(&document, &file.path(), &mut unfinished)? {
                extra.insert(file, content);
            }
        }
        let interrupted = document.next.is_some();
        let state = match document.next {
            Some(next) if !unfinished => Some(next),
            _ => Some(document.current),
        };
        Ok(Snapshot { state: state.filter(|s| s.generation > 0), files, extra, interrupted })
    }

    /// A file's content, of one of the digests it may have. What the next state has and the directory has not makes that
    /// state unfinished.
    fn load_file(&self, document: &Document, path: &str, unfinished: &mut bool) -> Result<Option<Secret>, Error> {
        let expected = document.expected(path);
        let Some(content) = self.read(path)? else {
            *unfinished |= expected.next.is_some();
            return Ok(None);
        };
        let found = digest_of(&content);
        if Some(found) != expected.current && Some(found) != expected.next {
            let what = match (expected.current, expected.next) {
                (None, None) => "state.json does not know it",
                _ => "its content is not what state.json recorded",
            };
            return Err(self.damaged(path, what.to_owned()));
        }
        *unfinished |= match expected.next {
            Some(next) => next != found,
            // The commit that was interrupted was to remove it.
            None => document.next.is_some() && expected.current.is_some(),
        };
        Ok(Some(content))
    }

    /// As [`Store::commit_changes`], of fixed files alone.
    ///
    /// # Errors
    /// As there.
    pub fn commit(
        &self,
        held: &Lock,
        snapshot: &Snapshot,
        changes: &[(StoredFile, Secret)],
        next: State,
        clock: &dyn Clock,
    ) -> Result<State, Error> {
        self.commit_changes(held, snapshot, &Changes { files: changes.to_vec(), ..Changes::default() }, next, clock)
    }

    /// Makes `changes` and `next` the directory's content. A run that dies on the way leaves old and new files side by
    /// side, each whole, and a state.json that knows both.
    ///
    /// # Errors
    /// [`Error::Io`], with the directory still loadable.
    pub fn commit_changes(
        &self,
        _held: &Lock,
        snapshot: &Snapshot,
        changes: &Changes,
        mut next: State,
        clock: &dyn Clock,
    ) -> Result<State, Error> {
        let mut current = snapshot.state.clone().unwrap_or_default();
        // An interrupted run may have left newer files than the record knows: the record must cover what is there.
        current.files.extend(snapshot.digests());
        next.generation = current.generation + 1;
        next.updated = Some(clock.now());
        next.files.clone_from(&current.files);
        let extra = changes.removed_extra.iter().map(ExtraFile::path);
        // In the order that was asked for: a caller may go on by what is left.
        let removed: Vec<String> = changes.removed.iter().map(|file| file.path().to_owned()).chain(extra).collect();
        next.files.retain(|path, _| !removed.contains(path));
        let files: Vec<_> = changes.files.iter().map(|(file, content)| (file.path().to_owned(), content)).collect();
        let extra: Vec<_> = changes.extra.iter().map(|(file, content)| (file.path(), content)).collect();
        next.files.extend(files.iter().chain(&extra).map(|(path, content)| (path.clone(), digest_of(content))));
        // All of it is on the disk under other names before the first of them counts: a full disk changes nothing.
        let first = self.stage_state(&current, Some(&next))?;
        let stage = |written: Vec<(String, &Secret)>| -> Result<Vec<StagedFile>, Error> {
            written.into_iter().map(|(path, content)| self.stage(&path, content)).collect()
        };
        let (files, extra) = (stage(files)?, stage(extra)?);
        let last = self.stage_state(&next, None)?;
        first.persist()?;
        files.into_iter().try_for_each(StagedFile::persist)?;
        StagedFile::persist_all(extra)?;
        // Before the last state, which does not know them; the one before knows them, there or not.
        removed.iter().try_for_each(|path| self.remove(path))?;
        last.persist()?;
        Ok(next)
    }

    fn remove(&self, relative: &str) -> Result<(), Error> {
        let path = self.dir.join(relative);
        match fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(Error::io("remove", &path, e)),
            _ => {}
        }
        // A node's directory goes with its last file; one that holds anything stays.
        if let Some(parent) = path.parent().filter(|_| relative.starts_with(extra::NODES)) {
            let _ = fs::remove_dir(parent);
        }
        Ok(())
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

    fn stage(&self, relative: &str, content: &Secret) -> Result<StagedFile, Error> {
        let path = self.dir.join(relative);
        if let Some(parent) = path.parent() {
            self.make_dir(parent)?;
        }
        StagedFile::write(&path, content.expose_secret().as_bytes())
    }

    fn stage_state(&self, current: &State, next: Option<&State>) -> Result<StagedFile, Error> {
        let text = state::render_document(current, next);
        StagedFile::write(&self.dir.join(state::FILE_NAME), text.as_bytes())
    }

    fn read(&self, relative: &str) -> Result<Option<Secret>, Error> {
        let path = self.dir.join(relative);
        let cap = if relative == state::FILE_NAME { LARGEST_STATE } else { LARGEST_FILE };
        match input::read_capped(&path, cap) {
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
