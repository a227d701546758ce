//! What this machine, or the limits of this process, can run out of in the middle of a run: an error of the host that
//! needed it, found before anything was begun there. Other hosts go on, and give back what they hold when they end.

use super::Error;
use crate::foreign::ForeignText;
use rustix::io::Errno;
use std::{fmt, io};

/// Something that there is no more of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    OpenFiles,
    /// Processes and threads, which count as one.
    Processes,
    Memory,
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OpenFiles => "too many open files",
            Self::Processes => "no more processes or threads",
            Self::Memory => "no more memory",
        })
    }
}

impl Resource {
    /// What the system's error says that there is no more of.
    #[must_use]
    pub fn of(error: &io::Error) -> Option<Self> {
        match Errno::from_io_error(error)? {
            Errno::MFILE | Errno::NFILE => Some(Self::OpenFiles),
            Errno::AGAIN => Some(Self::Processes),
            Errno::NOMEM => Some(Self::Memory),
            _ => None,
        }
    }

    /// The stable name scripts rely on.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::OpenFiles => "too_many_open_files",
            Self::Processes => "too_many_processes",
            Self::Memory => "out_of_memory",
        }
    }

    /// What a person can do about it.
    #[must_use]
    pub const fn hint(self) -> &'static str {
        match self {
            Self::OpenFiles => "raise the limit of open files on this machine (`ulimit -n`), or lower --concurrency",
            Self::Processes => {
                "raise the limit of processes on this machine (`ulimit -u`, or pids.max of the container), or lower \
                 --concurrency"
            }
            Self::Memory => "give this machine, or the container, more memory, or lower --concurrency",
        }
    }
}

impl Error {
    /// The error of a host for which something could not be started or opened here; `None` where that has another cause.
    pub(super) fn exhausted(error: &io::Error, during: &'static str) -> Option<Self> {
        Resource::of(error).map(|resource| Self::Exhausted {
            resource,
            during,
            reason: ForeignText::message(&error.to_string()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_resource_has_its_own_code_and_hint() {
        for (errno, code, word) in [
            (Errno::MFILE, "too_many_open_files", "ulimit -n"),
            (Errno::NFILE, "too_many_open_files", "ulimit -n"),
            (Errno::AGAIN, "too_many_processes", "ulimit -u"),
            (Errno::NOMEM, "out_of_memory", "memory"),
        ] {
            let error = Error::exhausted(&errno.into(), "while it was tested").unwrap();
            assert_eq!(error.code(), code);
            assert!(error.hint().contains(word) && error.hint().contains("--concurrency"), "{}", error.hint());
        }
        assert!(Error::exhausted(&Errno::NOENT.into(), "while it was tested").is_none());
    }
}
