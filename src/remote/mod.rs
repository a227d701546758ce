//! Hosts as places where a shell script can be run, and the installer that puts files there.
//!
//! [`Remote`] is the port: one connection, one login, one command, standard input and output. [`installer`] speaks its
//! protocol over it, the same for SSH and local hosts. Secrets travel on standard input only, never in a command line.

mod dispatch;
mod error;
mod error_words;
mod exhausted;
mod file_error;
mod frame;
mod heard;
pub mod installer;
mod key_evidence;
pub mod kubelet;
pub mod local;
mod password;
mod preamble;
mod redact;
pub mod service;
mod signal;
pub mod ssh;
mod sudo;
mod untouched;

pub use dispatch::HostRemote;
pub use error::{Error, RetryClass};
pub use exhausted::Resource;
pub use file_error::{FileError, FileFault};
pub use key_evidence::{KnownEntry, OfferedKey};
pub use local::LocalRemote;
pub use password::{Password, PasswordFate};
pub use redact::pieces_of;
pub use signal::Signal;
pub use ssh::{SshConfig, SshRemote, UnlockError};
pub use untouched::{Effect, Failure, Sent};

pub use crate::inventory::Deadlines;

use crate::{
    bundle::HostFile,
    foreign::Pieces,
    inventory::{Host, Privilege},
    secret::{ExposeSecret, Secret},
};
use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

/// Runs the fixed shell command on a host.
pub trait Remote: Send + Sync {
    /// Opens one connection to `host`, runs `sh` (through sudo where the host asks for it), feeds what `script` gives to
    /// its standard input, and returns everything it wrote.
    ///
    /// # Errors
    /// [`Error`] when no command could be run or the reply did not arrive whole; what `script` fails with. A script that
    /// ran and failed is not an error here: see [`Reply::exit`].
    fn run_script(&self, host: &Host, script: &Script<'_>) -> Result<Reply, Error>;

    /// The same for a script that takes up to `time` by itself, and says something every five seconds: the host's whole
    /// time is so much longer, and its silence is borne for [`LONG_SILENCE`] at least.
    ///
    /// # Errors
    /// As [`Remote::run_script`].
    fn run_long_script(&self, host: &Host, script: &Script<'_>, time: Duration) -> Result<Reply, Error> {
        let _ = time;
        self.run_script(host, script)
    }

    /// The files that `host` may have been sent before, in this run or another: it may repeat their secrets at any time.
    /// Called only when something it said must be judged.
    fn sent_to(&self, host: &Host) -> Vec<HostFile> {
        let _ = host;
        Vec::new()
    }

    /// The secrets of all hosts of this run, which a jump host may repeat: it may be one of them, by whatever address. As
    /// [`Remote::sent_to`].
    fn secrets_of_all(&self) -> Option<Arc<Pieces>> {
        None
    }
}

/// How long a script that says something every five seconds may be silent.
const LONG_SILENCE: Duration = Duration::from_secs(20);

/// The deadlines of a script that takes up to `time` by itself.
fn lengthened(deadlines: Deadlines, time: Duration) -> Deadlines {
    Deadlines { idle: deadlines.idle.max(LONG_SILENCE), host: deadlines.host.saturating_add(time), ..deadlines }
}

/// Makes the standard input of a host's shell. Called at most once for a host, after the login, when it is known who
/// answers.
pub type Script<'a> = dyn Fn(&Peer) -> Result<Input, Error> + 'a;

/// What a host's shell reads: first what many hosts are sent and is no secret, then what is this host's.
#[derive(Debug)]
pub struct Input {
    pub common: [&'static str; 2],
    pub rest: Secret,
    /// Set by whoever sends it.
    pub sent: Sent,
}

impl Input {
    /// With nobody to hear whether it was sent.
    #[must_use]
    pub fn new(common: [&'static str; 2], rest: Secret) -> Self {
        Self { common, rest, sent: Sent::default() }
    }

    /// In the order in which they are sent.
    pub fn parts(&self) -> impl Iterator<Item = &str> {
        let parts = self.common.into_iter().chain([self.rest.expose_secret()]);
        parts.filter(|part| !part.is_empty())
    }
}

/// Who answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// The fingerprint of the host key, `SHA256:…`; `None` for this machine.
    pub host_key: Option<String>,
    /// Until when the host may take, whatever is done there.
    pub end: Instant,
}

/// What a script wrote and how it ended: bytes of which nothing is safe to show. Parsers read what `heard` makes of it.
#[derive(Debug)]
pub struct Reply {
    /// Standard output and standard error, in the order they came.
    pub output: Vec<u8>,
    pub exit: Exit,
    /// What the host was given beside the script: it must not be quoted with them.
    pub passwords: Vec<Secret>,
    /// How many connections it took, from 1.
    pub attempts: u32,
}

impl Reply {
    /// Of one connection, to a host that was given nothing beside the script.
    #[must_use]
    pub fn new(output: Vec<u8>, exit: Exit) -> Self {
        Self { output, exit, attempts: 1, passwords: Vec::new() }
    }
}

/// How a remote command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exit {
    Status(i32),
    Signal(Signal),
}

/// As in "the shell ended: exit status 1".
impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "exit status {status}"),
            Self::Signal(signal) => write!(f, "killed by {signal}"),
        }
    }
}

/// More output than this from one host, in bytes, is no reply to our script: four files and 50 rows make some 20 kB.
const LARGEST_REPLY: usize = 1 << 20;

/// The word the login shell prints before it calls sudo: with it in the reply, what failed is sudo, not the shell.
const SHELL_WORKS: &str = "kubemint-shell-works";

/// The one command kubemint gives to a login shell. It must mean the same to dash, bash, rbash, busybox, fish and csh:
/// no quotes, no paths, no variables. `exec` is forbidden in rbash. With a password for sudo see [`sudo::command_line`].
fn command_line(privilege: Privilege) -> String {
    match privilege {
        Privilege::AsLoggedIn => "sh -s".to_owned(),
        Privilege::Sudo => format!("echo {SHELL_WORKS}; sudo -n -- sh -s"),
    }
}
