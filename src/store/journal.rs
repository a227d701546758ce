//! The journal of a run under way: runs/<run-id>/journal.jsonl, locked while its run lives, and the report beside it.
//!
//! A line is there whole or not at all. Before a host is begun, room on the disk is reserved for the line that ends it: on
//! a disk that fills up, the run stops at a host that it did not touch. What a line says is not known here.

use super::{Error, RunId, atomic, runs};
use crate::json;
use rustix::{
    fs::{FallocateFlags, fallocate},
    io::Errno,
    process::{Resource, getrlimit},
};
use serde::Serialize;
use signal_hook::{consts::SIGXFSZ, flag};
use std::{
    fs, io,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::{Duration, Instant},
};

/// The journal of a run under way, locked while it is: who finds it unlocked and unfinished knows that the run died.
/// Lines may come from several threads.
#[derive(Debug)]
pub struct Journal {
    id: RunId,
    number: u64,
    dir: PathBuf,
    /// Opened for appending.
    file: fs::File,
    tail: Mutex<Tail>,
    /// When its lines were last known to be on the disk.
    synced: Mutex<Instant>,
}

/// The end of the file.
#[derive(Debug, Default)]
struct Tail {
    /// Where the next line begins.
    end: u64,
    /// Up to here the disk has room for it.
    reserved: u64,
    /// Hosts begun and not ended.
    open: u64,
    torn: Torn,
}

/// Whether a line that failed left something behind that could not be removed.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Torn {
    #[default]
    No,
    Yes,
}

const BETWEEN_SYNCS: Duration = Duration::from_secs(1);
/// The line that ends a host, with its files or its error, is shorter; several lines share what they leave.
const LONGEST_LINE: u64 = 4096;

/// Ends what is left of a line that failed: JSON has no such character. Readers pass over a line that ends with it.
pub(super) const CANCELLED: char = '\u{18}';

impl Journal {
    pub(super) fn create(id: RunId, number: u64, dir: &Path) -> Result<Self, Error> {
        outlive_file_size_limit();
        let path = dir.join(runs::JOURNAL);
        // First: a run that has a journal has a number.
        write_number(&dir.join(runs::NUMBER), number)?;
        let opened = fs::OpenOptions::new().create_new(true).append(true).mode(0o600).open(&path);
        let file = opened.map_err(|e| Error::io("write", &path, e))?;
        file.lock().map_err(|e| Error::io("lock", &path, e))?;
        let (tail, synced) = (Mutex::default(), Mutex::new(Instant::now()));
        Ok(Self { id, number, dir: dir.to_owned(), file, tail, synced })
    }

    /// Takes the run back, for one that came to nothing before its first host.
    pub fn discard(&self) {
        discard(&self.dir);
    }

    #[must_use]
    pub fn id(&self) -> &RunId {
        &self.id
    }

    /// The run's place in the order of the runs of its directory.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Appends the line that begins a host, and makes sure that there is room for the one that ends it.
    ///
    /// # Errors
    /// [`Error::Io`]: then the host must not be begun.
    pub fn begin<T: Serialize>(&self, entry: &T) -> Result<(), Error> {
        let line = self.render(entry)?;
        let mut tail = self.tail();
        let of_open = (tail.open + 1).saturating_mul(LONGEST_LINE);
        self.reserve(&mut tail, of_open.saturating_add(line.len() as u64)).map_err(|e| self.failed(e))?;
        self.append(&mut tail, &line)?;
        tail.open += 1;
        Ok(())
    }

    /// Appends the line that ends a host, and syncs it with those before it, but once a second at most: a disk takes
    /// longer for it than a host for its login. A line that a power failure loses makes a host one of those that are
    /// looked at again.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn end<T: Serialize>(&self, entry: &T) -> Result<(), Error> {
        let line = self.render(entry)?;
        let mut tail = self.tail();
        tail.open = tail.open.saturating_sub(1);
        self.append(&mut tail, &line)?;
        drop(tail);
        // Who syncs already does it for the others.
        let Ok(mut synced) = self.synced.try_lock() else { return Ok(()) };
        if synced.elapsed() >= BETWEEN_SYNCS {
            self.sync()?;
            *synced = Instant::now();
        }
        Ok(())
    }

    /// Appends one line and syncs it.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn record<T: Serialize>(&self, entry: &T) -> Result<(), Error> {
        self.note(entry)?;
        self.sync()
    }

    /// Appends one line without waiting for the disk: it outlives this process, but perhaps not this machine.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn note<T: Serialize>(&self, entry: &T) -> Result<(), Error> {
        let line = self.render(entry)?;
        self.append(&mut self.tail(), &line)
    }

    /// Waits until every line is on the disk.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn sync(&self) -> Result<(), Error> {
        self.file.sync_data().map_err(|e| self.failed(e))
    }

    /// Writes the run's report beside its journal.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write_report<T: Serialize>(&self, report: &T) -> Result<(), Error> {
        self.release();
        let path = self.dir.join(runs::REPORT);
        let json = json::to_string_pretty(report).map_err(|e| Error::io("write", &path, io::Error::from(e)))?;
        atomic::write_file(&path, json.as_bytes())
    }

    fn tail(&self) -> MutexGuard<'_, Tail> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self, error: io::Error) -> Error {
        Error::io("write", &self.dir.join(runs::JOURNAL), error)
    }

    fn render<T: Serialize>(&self, entry: &T) -> Result<String, Error> {
        let mut line = json::to_string(entry).map_err(|e| self.failed(e.into()))?;
        line.push('\n');
        Ok(line)
    }

    /// Blocks of the disk behind the end of the file, which stays as long as it is. A file system that cannot do so is
    /// written to all the same.
    fn reserve(&self, tail: &mut Tail, length: u64) -> io::Result<()> {
        let until = tail.end.saturating_add(length);
        // A reservation behind the end of a file is not held to it; a line is.
        if getrlimit(Resource::Fsize).current.is_some_and(|most| until > most) {
            return Err(Errno::FBIG.into());
        }
        while tail.reserved < until {
            match fallocate(&self.file, FallocateFlags::KEEP_SIZE, tail.end, length) {
                Ok(()) => tail.reserved = until,
                Err(Errno::INTR) => {}
                Err(e @ (Errno::NOSPC | Errno::DQUOT | Errno::FBIG | Errno::IO | Errno::ROFS)) => return Err(e.into()),
                Err(_) => tail.reserved = u64::MAX,
            }
        }
        Ok(())
    }

    /// The line whole, or nothing of it; where that cannot be had, what is there of it is marked as void.
    fn append(&self, tail: &mut Tail, line: &str) -> Result<(), Error> {
        let line = match tail.torn {
            Torn::No => line.to_owned(),
            Torn::Yes => format!("{CANCELLED}\n{line}"),
        };
        let Err(error) = (&self.file).write_all(line.as_bytes()) else {
            tail.end = tail.end.saturating_add(line.len() as u64);
            tail.torn = Torn::No;
            return Ok(());
        };
        if self.file.set_len(tail.end).is_err() {
            let length = self.file.metadata().map_or(u64::MAX, |meta| meta.len());
            if length != tail.end {
                tail.torn = Torn::Yes;
            }
            tail.end = if length == u64::MAX { tail.end } else { length };
        }
        // To cut a file off frees what lies behind its end, too.
        tail.reserved = if tail.reserved == u64::MAX { u64::MAX } else { 0 };
        Err(self.failed(error))
    }

    /// Gives the disk back what no line has used.
    fn release(&self) {
        let mut tail = self.tail();
        if tail.reserved > tail.end && tail.reserved != u64::MAX {
            let _ = self.file.set_len(tail.end);
            tail.reserved = 0;
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.release();
    }
}

/// Removes what was made of a run. What cannot be removed stays as an empty journal, of which nobody concludes anything.
pub(super) fn discard(dir: &Path) {
    for name in [runs::JOURNAL, runs::NUMBER] {
        let _ = fs::remove_file(dir.join(name));
    }
    let _ = fs::remove_dir(dir);
}

fn write_number(path: &Path, number: u64) -> Result<(), Error> {
    let fail = |e| Error::io("write", path, e);
    let mut file = fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(path).map_err(fail)?;
    file.write_all(format!("{number}\n").as_bytes()).map_err(fail)
}

/// A write beyond `ulimit -f` ends the process by SIGXFSZ, unless it is handled: then it is an error like any other. What
/// this process starts has the default again.
fn outlive_file_size_limit() {
    static HANDLED: OnceLock<()> = OnceLock::new();
    HANDLED.get_or_init(|| {
        // Where it is refused, the limit ends the process as before.
        let _ = flag::register(SIGXFSZ, Arc::default());
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Runs, read_record};

    #[derive(Serialize)]
    struct Line<'a> {
        text: &'a str,
    }

    fn journal(dir: &Path) -> Journal {
        Runs::at(&dir.join("runs")).start(RunId::of_directory("run")).unwrap()
    }

    #[test]
    fn what_cannot_be_removed_of_a_line_is_void_and_the_next_one_stands_alone() {
        let folder = tempfile::tempdir().unwrap();
        let journal = journal(folder.path());
        journal.note(&Line { text: "first" }).unwrap();
        // As a write leaves it that fails half way, on a file that cannot be cut off.
        (&journal.file).write_all(b"{\"text\":\"ha").unwrap();
        journal.tail().torn = Torn::Yes;
        journal.note(&Line { text: "last" }).unwrap();
        journal.note(&Line { text: "very last" }).unwrap();
        let record = read_record(&folder.path().join("runs/run")).unwrap();
        assert_eq!(record.journal, ["{\"text\":\"first\"}", "{\"text\":\"last\"}", "{\"text\":\"very last\"}"]);
    }

    #[test]
    fn room_is_reserved_for_every_host_that_is_begun_and_given_back() {
        use std::os::unix::fs::MetadataExt;
        let folder = tempfile::tempdir().unwrap();
        let journal = journal(folder.path());
        let blocks = || fs::metadata(folder.path().join("runs/run/journal.jsonl")).unwrap();
        (0..4).for_each(|_| journal.begin(&Line { text: "host" }).unwrap());
        let meta = blocks();
        assert_eq!(meta.len(), 4 * 16);
        if journal.tail().reserved != u64::MAX {
            assert!(meta.blocks() * 512 >= 4 * LONGEST_LINE, "{} blocks", meta.blocks());
        }
        (0..4).for_each(|_| journal.end(&Line { text: "host" }).unwrap());
        assert_eq!(journal.tail().open, 0);
        drop(journal);
        assert!(blocks().blocks() * 512 <= LONGEST_LINE, "{} blocks", blocks().blocks());
    }
}
