//! runs/<run-id>/: one directory per run that touched hosts, with its number, the journal as it happened and the report at
//! its end. A journal line is written before the step it announces is believed done by anyone; it holds no secret.
//!
//! The numbers order the runs of a directory, whatever clocks said. Runs of versions that gave none are the earliest.

use super::{Error, trust};
use crate::entropy::{self, Entropy, random_bytes};
use jiff::{SignedDuration, Timestamp};
use std::{
    fs, io,
    io::Read,
    path::{Path, PathBuf},
};

pub(super) const DIRECTORY: &str = "runs";
pub(super) const JOURNAL: &str = "journal.jsonl";
pub(super) const REPORT: &str = "report.json";
pub(super) const NUMBER: &str = "number";

/// A run's name: UTC start time and six random hex digits. The order of runs is not that of their names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RunId(String);

impl RunId {
    /// # Errors
    /// As [`Entropy::fill`].
    pub fn new(now: Timestamp, source: &dyn Entropy) -> Result<Self, entropy::Error> {
        let tail = crate::digest::hex(&random_bytes::<3>(source)?);
        Ok(Self(format!("{}-{tail}", now.strftime("%Y%m%dT%H%M%SZ"))))
    }

    /// Of a run that is there.
    pub(super) fn of_directory(name: &str) -> Self {
        Self(name.to_owned())
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

const NAMED_BEFORE_MADE: SignedDuration = SignedDuration::from_mins(1);

/// A run that left a readable journal.
pub(super) struct RecordedRun {
    pub(super) name: String,
    pub(super) generation: u64,
}

/// Number and generation stand in the first line of a journal, before the hosts, of which there may be thousands.
const HEAD_LENGTH: u64 = 256;

/// The run that worked with the newest generation. All are looked at: names sort by a clock that may have been wrong.
/// A journal that a kill cut short says nothing, and nothing is concluded from it.
pub(super) fn newest_recorded(store: &Path) -> Result<Option<RecordedRun>, Error> {
    let recorded = directories(store)?.into_iter().filter_map(|run| {
        let name = run.file_name()?.to_string_lossy().into_owned();
        Some(RecordedRun { name, generation: generation_of(&head(&run)?)? })
    });
    Ok(recorded.max_by_key(|run| run.generation))
}

/// The beginning of a run's journal.
fn head(run: &Path) -> Option<String> {
    let mut head = Vec::new();
    let journal = trust::open_file(&run.join(JOURNAL), fs::OpenOptions::new().read(true)).ok()?;
    journal.take(HEAD_LENGTH).read_to_end(&mut head).ok()?;
    Some(String::from_utf8_lossy(&head).into_owned())
}

/// When a run started: finer than its name tells.
pub(super) fn started(run: &Path) -> Option<Timestamp> {
    let of_journal = head(run).and_then(|head| {
        let (_, rest) = head.lines().next()?.split_once("\"at\":\"")?;
        rest.split_once('"')?.0.parse().ok()
    });
    let of_name = || {
        let (seconds, _) = run.file_name()?.to_str()?.split_once('-')?;
        let time = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", seconds).ok()?;
        jiff::tz::Offset::UTC.to_timestamp(time).ok()
    };
    of_journal.or_else(|| of_name().map(|named| named.max(journal_made(run, named).unwrap_or(named))))
}

/// A journal without its first line was last written to when it was made, right after its run was named; a copy's date tells
/// nothing.
fn journal_made(run: &Path, named: Timestamp) -> Option<Timestamp> {
    let modified = fs::metadata(run.join(JOURNAL)).ok()?.modified().ok()?;
    Timestamp::try_from(modified).ok().filter(|made| made.duration_since(named) < NAMED_BEFORE_MADE)
}

fn generation_of(head: &str) -> Option<u64> {
    number_in(head, "\"generation\":")
}

/// What stands before it is our own: event, time and command.
fn number_in(head: &str, key: &str) -> Option<u64> {
    let (_, rest) = head.lines().next()?.split_once(key)?;
    let (number, _) = rest.split_once([',', '}'])?;
    number.trim().parse().ok()
}

/// The place of a run in the order of its directory; `None`: an earlier version made it.
pub(super) fn number(run: &Path) -> Option<u64> {
    let mut text = String::new();
    let of_file = trust::open_file(&run.join(NUMBER), fs::OpenOptions::new().read(true))
        .ok()
        .and_then(|file| file.take(HEAD_LENGTH).read_to_string(&mut text).ok())
        .and_then(|_| text.trim().parse().ok());
    // A copy may have come without it.
    of_file.or_else(|| number_in(&head(run)?, "\"number\":"))
}

/// The number of the next run of a directory.
pub(super) fn next_number(dir: &Path) -> Result<u64, Error> {
    let numbers = entries(dir)?.into_iter().filter_map(|run| number(&run));
    Ok(numbers.max().unwrap_or(0).saturating_add(1))
}

/// The entries of runs/.
pub(super) fn directories(store: &Path) -> Result<Vec<PathBuf>, Error> {
    entries(&store.join(DIRECTORY))
}

/// The entries of a directory that need not be there.
pub(super) fn entries(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let fail = |e| Error::io("list", dir, e);
    match fs::read_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        entries => entries.map_err(fail)?.map(|entry| entry.map(|entry| entry.path()).map_err(fail)).collect(),
    }
}

/// The directories of runs that ended before they wrote their report.
pub(super) fn unreported(store: &Path) -> Result<Vec<PathBuf>, Error> {
    let is_own = |run: &PathBuf| fs::symlink_metadata(run).is_ok_and(|meta| meta.is_dir());
    Ok(directories(store)?.into_iter().filter(|run| is_own(run) && !run.join(REPORT).exists()).collect())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Runs;
    use std::{os::unix::fs::DirBuilderExt, time::SystemTime};

    #[test]
    fn a_run_that_died_at_once_is_as_old_as_its_journal() {
        let folder = tempfile::tempdir().unwrap();
        let runs = folder.path().join("runs");
        let make = |id: &str, line: &str| {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(runs.join(id)).unwrap();
            fs::write(runs.join(id).join(JOURNAL), line).unwrap();
        };
        make("20261122T080005Z-bbbbbb", "{\"event\":\"started\",\"at\":\"2026-11-22T08:00:05.3Z\"}\n");
        make("20261122T080005Z-aaaaaa", "");
        let dated = |at: &str| {
            let at: SystemTime = at.parse::<Timestamp>().unwrap().into();
            let file =
                fs::File::options().append(true).open(runs.join("20261122T080005Z-aaaaaa").join(JOURNAL)).unwrap();
            file.set_modified(at).unwrap();
            let ids = Runs::at(&runs).list().unwrap();
            ids.last().unwrap().as_str().to_owned()
        };
        assert_eq!(dated("2026-11-22T08:00:05.9Z"), "20261122T080005Z-aaaaaa");
        assert_eq!(dated("2026-11-22T08:00:05.1Z"), "20261122T080005Z-bbbbbb");
        // As a copy from a backup has it.
        assert_eq!(dated("2026-12-01T08:00:00Z"), "20261122T080005Z-bbbbbb");
    }
}
