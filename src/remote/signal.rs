//! Names of signals, as values. A server says in free text which signal ended a command: only the names of RFC 4254, 6.10,
//! and those that OpenSSH adds are repeated.

use std::fmt;

/// A signal that may have ended a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    Known(&'static str),
    /// The server gave it no name that is known.
    Unknown,
}

/// RFC 4254, 6.10.
const OF_THE_RFC: [&str; 13] =
    ["ABRT", "ALRM", "FPE", "HUP", "ILL", "INT", "KILL", "PIPE", "QUIT", "SEGV", "TERM", "USR1", "USR2"];
/// Those that POSIX and Linux have beside them; on the wire with a suffix, as local names of a vendor (RFC 4251, 6).
const LOCAL: [&str; 14] =
    ["BUS", "CONT", "IO", "POLL", "PROF", "PWR", "STKFLT", "STOP", "SYS", "TRAP", "TSTP", "VTALRM", "XCPU", "XFSZ"];
const SUFFIX: &str = "@openssh.com";
/// By their numbers, from 1: the same on all Linux machines that run Kubernetes (signal(7)).
const BY_NUMBER: [&str; 15] =
    ["HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM"];

impl Signal {
    /// The signal that a server's word stands for.
    #[must_use]
    pub fn named(word: &str) -> Self {
        let plain = || OF_THE_RFC.iter().find(|name| **name == word);
        let local = || LOCAL.iter().find(|name| word == **name || word.strip_suffix(SUFFIX) == Some(**name));
        plain().or_else(local).map_or(Self::Unknown, |name| Self::Known(name))
    }

    /// The signal with this number on Linux.
    #[must_use]
    pub fn numbered(number: i32) -> Self {
        match number {
            24 => Self::Known("XCPU"),
            25 => Self::Known("XFSZ"),
            31 => Self::Known("SYS"),
            other => Self::with_common_number(other).unwrap_or(Self::Unknown),
        }
    }

    /// The same for those that shells report as 128 and the number and that no program gives as a status of its own.
    pub(super) fn with_common_number(number: i32) -> Option<Self> {
        let place = usize::try_from(number).ok()?.checked_sub(1)?;
        BY_NUMBER.get(place).map(|name| Self::Known(name))
    }
}

/// As in "killed by signal TERM".
impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(name) => write!(f, "signal {name}"),
            Self::Unknown => f.write_str("an unknown signal"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_that_is_known_or_not_repeated() {
        for (word, shown) in [
            ("KILL", "signal KILL"),
            ("TERM", "signal TERM"),
            ("XFSZ@openssh.com", "signal XFSZ"),
            ("SYS", "signal SYS"),
            ("KILL@openssh.com", "an unknown signal"),
            ("TERM@example.org", "an unknown signal"),
            ("XFSZ@example.org", "an unknown signal"),
            ("SIGKILL", "an unknown signal"),
            ("kill", "an unknown signal"),
            ("", "an unknown signal"),
            ("KILL\n", "an unknown signal"),
            ("\u{1b}[31mKILL", "an unknown signal"),
            ("0123456789abcdef0123456789abcdef", "an unknown signal"),
        ] {
            assert_eq!(Signal::named(word).to_string(), shown, "{word:?}");
        }
        for name in OF_THE_RFC.iter().chain(&LOCAL) {
            assert_eq!(Signal::named(name), Signal::Known(name));
        }
    }

    #[test]
    fn numbers_are_those_of_linux() {
        for (number, shown) in [(9, "KILL"), (15, "TERM"), (1, "HUP"), (25, "XFSZ")] {
            assert_eq!(Signal::numbered(number), Signal::Known(shown));
        }
        assert!([0, -1, 16, 64, i32::MIN].iter().all(|number| Signal::numbered(*number) == Signal::Unknown));
    }
}
