//! runs/<run-id>/: one directory per run that touched hosts, with the journal as it happened and the report at its end.
//! A journal line is written before the step it announces is believed done by anyone; it holds no secret.

use super::{Error, atomic, trust};
use crate::entropy::{self, Entropy, random_bytes};
use jiff::Timestamp;
use serde::Serialize;
use std::{
    fs, io,
    io::{Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

pub(super) const DIRECTORY: &str = "runs";
const JOURNAL: &str = "journal.jsonl";
const REPORT: &str = "report.json";

/// A run's name: UTC start time and six random hex digits; sorts by time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RunId(String);

impl RunId {
    /// # Errors
    /// As [`Entropy::fill`].
    pub fn new(now: Timestamp, source: &dyn Entropy) -> Result<Self, entropy::Error> {
        let tail = crate::digest::hex(&random_bytes::<3>(source)?);
        Ok(Self(format!("{}-{tail}", now.strftime("%Y%m%dT%H%M%SZ"))))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The journal of a run under way. Lines may come from several threads.
#[derive(Debug)]
pub struct Journal {
    id: RunId,
    dir: PathBuf,
    file: Mutex<fs::File>,
}

impl Journal {
    pub(super) fn create(id: RunId, dir: &Path) -> Result<Self, Error> {
        let path = dir.join(JOURNAL);
        let file = fs::OpenOptions::new()
            .create_new(true)
            .append(true)
            .mode(0o600)
            .open(&path)
            .map_err(|e| Error::io("write", &path, e))?;
        Ok(Self { id, dir: dir.to_owned(), file: Mutex::new(file) })
    }

    /// Takes the run back, for one that came to nothing before its first line.
    pub fn discard(self) {
        // What cannot be removed stays as an empty journal, of which nobody concludes anything.
        let _ = fs::remove_file(self.dir.join(JOURNAL));
        let _ = fs::remove_dir(&self.dir);
    }

    #[must_use]
    pub fn id(&self) -> &RunId {
        &self.id
    }

    /// Appends one line and syncs it.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn record<T: Serialize>(&self, entry: &T) -> Result<(), Error> {
        let path = self.dir.join(JOURNAL);
        let fail = |e| Error::io("write", &path, e);
        let mut line = serde_json::to_string(entry).map_err(|e| fail(io::Error::from(e)))?;
        line.push('\n');
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(line.as_bytes()).map_err(fail)?;
        file.sync_data().map_err(fail)
    }

    /// Writes the run's report beside its journal.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write_report<T: Serialize>(&self, report: &T) -> Result<(), Error> {
        let path = self.dir.join(REPORT);
        let json = serde_json::to_string_pretty(report).map_err(|e| Error::io("write", &path, io::Error::from(e)))?;
        atomic::write_file(&path, json.as_bytes())
    }
}

/// A run that left a readable journal.
pub(super) struct RecordedRun {
    pub(super) name: String,
    pub(super) generation: u64,
}

/// The generation stands in the first line of a journal, before the hosts, of which there may be thousands.
const HEAD_LENGTH: u64 = 256;

/// The run that worked with the newest generation. All are looked at: names sort by a clock that may have been wrong.
/// A journal that a kill cut short says nothing, and nothing is concluded from it.
pub(super) fn newest_recorded(store: &Path) -> Result<Option<RecordedRun>, Error> {
    let recorded = directories(store)?.into_iter().filter_map(|run| {
        let mut head = Vec::new();
        let journal = trust::open_file(&run.join(JOURNAL), fs::OpenOptions::new().read(true)).ok()?;
        journal.take(HEAD_LENGTH).read_to_end(&mut head).ok()?;
        let name = run.file_name()?.to_string_lossy().into_owned();
        Some(RecordedRun { name, generation: generation_of(&String::from_utf8_lossy(&head))? })
    });
    Ok(recorded.max_by_key(|run| run.generation))
}

/// What stands before it is our own: event, time and command.
fn generation_of(head: &str) -> Option<u64> {
    let (_, rest) = head.lines().next()?.split_once("\"generation\":")?;
    let (number, _) = rest.split_once([',', '}'])?;
    number.trim().parse().ok()
}

/// The entries of runs/.
pub(super) fn directories(store: &Path) -> Result<Vec<PathBuf>, Error> {
    let dir = store.join(DIRECTORY);
    let fail = |e| Error::io("list", &dir, e);
    match fs::read_dir(&dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        entries => entries.map_err(fail)?.map(|entry| entry.map(|entry| entry.path()).map_err(fail)).collect(),
    }
}

/// A state older than what a recorded run worked with was restored from a backup.
pub(super) fn refuse_older_generation(store: &Path, generation: u64) -> Result<(), Error> {
    match newest_recorded(store)? {
        Some(run) if run.generation > generation => Err(Error::OlderGeneration {
            path: store.to_owned(),
            found: generation,
            recorded: run.generation,
            run: run.name,
        }),
        _ => Ok(()),
    }
}
