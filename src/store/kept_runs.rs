//! The runs that were recorded in a directory: the credential directory's runs/, or one of the operator's own where the
//! credential directory is only read. Names, texts, and whether a run still writes; what the texts say is not known here.
//!
//! The same trust as for credentials: a directory or file of another user, or that others may write, is refused.

use super::{Error, Journal, RunId, journal, runs, trust};
use std::{
    fs::{self, TryLockError},
    io::{ErrorKind, Read, Seek, SeekFrom},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

/// More than the journal of 100,000 hosts.
const LARGEST_RECORD: u64 = 512 << 20;
/// More than the line has that ends a run.
const LONGEST_LAST: u64 = 512;
/// A number is drawn in milliseconds, a thousand shards at once on a slow disk in seconds.
const LONGEST_TURN: Duration = Duration::from_secs(10);
const BETWEEN_LOOKS: Duration = Duration::from_millis(10);

/// A directory of runs; it need not exist yet.
#[derive(Debug, Clone)]
pub struct Runs {
    dir: PathBuf,
}

/// What a run left.
#[derive(Debug)]
pub struct RunRecord {
    /// The lines of its journal that are whole. A last one that is not is left out: the run died, or is writing it now. So
    /// is what a write left that failed.
    pub journal: Vec<String>,
    pub report: Option<String>,
    /// Its process lives and holds the journal.
    pub is_under_way: bool,
}

impl Runs {
    #[must_use]
    pub fn at(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where a run's journal and report are.
    #[must_use]
    pub fn path(&self, id: &RunId) -> PathBuf {
        self.dir.join(id.as_str())
    }

    /// Opens the journal of a new run, in a directory of its own (0700).
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Untrusted`].
    pub fn start(&self, id: RunId) -> Result<Journal, Error> {
        let make = |dir: &Path| fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
        make(&self.dir).map_err(|e| Error::io("make", &self.dir, e))?;
        trust::believe_directory(&self.dir)?;
        // One after the other draws its number. Where a directory cannot be locked, two may draw the same at once.
        let turn = fs::File::open(&self.dir).map_err(|e| Error::io("open", &self.dir, e))?;
        wait_for_turn(&turn);
        let number = runs::next_number(&self.dir)?;
        let dir = self.path(&id);
        make(&dir).map_err(|e| Error::io("make", &dir, e))?;
        Journal::create(id, number, &dir).inspect_err(|_| journal::discard(&dir))
    }

    /// Every run, in the order of their numbers. Those of versions that gave none come first, by what their clocks said.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Untrusted`].
    pub fn list(&self) -> Result<Vec<RunId>, Error> {
        trust::believe_directory(&self.dir)?;
        let runs = runs::entries(&self.dir)?.into_iter().filter(|path| path.join(runs::JOURNAL).is_file());
        let mut runs: Vec<_> = runs
            .filter_map(|path| {
                let id = RunId::of_directory(path.file_name()?.to_str()?);
                // The time orders shards that drew the same number at once.
                Some((runs::number(&path), runs::started(&path), id))
            })
            .collect();
        runs.sort();
        Ok(runs.into_iter().map(|(.., id)| id).collect())
    }

    /// The run's place in the order; `None`: an earlier version made it.
    #[must_use]
    pub fn number(&self, id: &RunId) -> Option<u64> {
        runs::number(&self.path(id))
    }

    /// The last line of the run's journal, if it is whole and not a long one.
    #[must_use]
    pub fn last_line(&self, id: &RunId) -> Option<String> {
        let path = self.path(id).join(runs::JOURNAL);
        let mut file = trust::open_file(&path, fs::OpenOptions::new().read(true)).ok()?;
        let length = file.metadata().ok()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(LONGEST_LAST))).ok()?;
        let mut end = Vec::new();
        file.take(LONGEST_LAST).read_to_end(&mut end).ok()?;
        let text = String::from_utf8_lossy(&end);
        let (_, line) = text.strip_suffix('\n')?.rsplit_once('\n')?;
        Some(line.to_owned())
    }

    /// The run that `wanted` names: its id, the beginning of it that no other has, or `last`.
    ///
    /// # Errors
    /// [`Error::NoSuchRun`], [`Error::AmbiguousRun`]; as [`Runs::list`].
    pub fn find(&self, wanted: &str) -> Result<RunId, Error> {
        let ids = self.list()?;
        let none = || Error::NoSuchRun { path: self.dir.clone(), wanted: wanted.to_owned() };
        if wanted == "last" {
            return ids.into_iter().next_back().ok_or_else(none);
        }
        if wanted.is_empty() {
            return Err(none());
        }
        let mut fitting: Vec<RunId> = ids.into_iter().filter(|id| id.as_str().starts_with(wanted)).collect();
        if let Some(exact) = fitting.iter().position(|id| id.as_str() == wanted) {
            return Ok(fitting.swap_remove(exact));
        }
        match fitting.len() {
            0 => Err(none()),
            1 => Ok(fitting.remove(0)),
            _ => Err(Error::AmbiguousRun {
                wanted: wanted.to_owned(),
                found: fitting.iter().map(|id| id.as_str().to_owned()).collect(),
            }),
        }
    }

    /// What the run left so far.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Untrusted`], [`Error::RunDamaged`] for what is no text.
    pub fn read(&self, id: &RunId) -> Result<RunRecord, Error> {
        read_record(&self.path(id))
    }
}

/// Who holds the directory for longer does not draw a number: somebody locked it for a purpose of his own.
fn wait_for_turn(directory: &fs::File) {
    let deadline = Instant::now() + LONGEST_TURN;
    while matches!(directory.try_lock(), Err(TryLockError::WouldBlock)) && Instant::now() < deadline {
        thread::sleep(BETWEEN_LOOKS);
    }
}

/// As [`Runs::read`], of a run's own directory.
///
/// # Errors
/// As [`Runs::read`].
pub fn read_record(dir: &Path) -> Result<RunRecord, Error> {
    trust::believe_directory(dir)?;
    let path = dir.join(runs::JOURNAL);
    let mut file = trust::open_file(&path, fs::OpenOptions::new().read(true))?;
    // Before the text is read: a run that ends in between has written all of it.
    let is_under_way = matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock));
    let journal = whole_lines(&read_bytes(&mut file, &path)?, &path)?;
    let path = dir.join(runs::REPORT);
    let report = match trust::open_file(&path, fs::OpenOptions::new().read(true)) {
        Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => None,
        opened => Some(read_text(&mut opened?, &path)?),
    };
    Ok(RunRecord { journal, report, is_under_way })
}

/// The lines of a journal that ended and are not void. What a failed write left of a line may end within a character.
fn whole_lines(journal: &[u8], path: &Path) -> Result<Vec<String>, Error> {
    let whole = journal.iter().rposition(|byte| *byte == b'\n').map_or(&[][..], |end| &journal[..end]);
    let cancelled = journal::CANCELLED.to_string().into_bytes();
    let lines = whole.split(|byte| *byte == b'\n').enumerate();
    lines
        .filter(|(_, line)| !line.is_empty() && !line.ends_with(&cancelled))
        .map(|(number, line)| {
            let what = |e| format!("line {}: {e}", number + 1);
            String::from_utf8(line.to_vec())
                .map_err(|e| Error::RunDamaged { path: path.to_owned(), what: what(e.utf8_error()) })
        })
        .collect()
}

fn read_text(file: &mut fs::File, path: &Path) -> Result<String, Error> {
    String::from_utf8(read_bytes(file, path)?)
        .map_err(|e| Error::RunDamaged { path: path.to_owned(), what: format!("{}", e.utf8_error()) })
}

fn read_bytes(file: &mut fs::File, path: &Path) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    file.take(LARGEST_RECORD).read_to_end(&mut bytes).map_err(|e| Error::io("read", path, e))?;
    Ok(bytes)
}
