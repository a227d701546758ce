//! Hosts as places where a shell script can be run, and the installer that puts files there.
//!
//! [`Remote`] is the port: one connection, one login, one command, standard input and output. [`installer`] speaks its
//! protocol over it, the same for SSH and local hosts. Secrets travel on standard input only, never in a command line.

mod dispatch;
mod error;
mod file_error;
pub mod installer;
pub mod local;
pub mod ssh;

pub use dispatch::HostRemote;
pub use error::{Error, KnownEntry, OfferedKey, RetryClass};
pub use file_error::{FileError, FileFault};
pub use local::LocalRemote;
pub use ssh::{SshConfig, SshRemote};

use crate::{
    inventory::{Host, Privilege},
    secret::Secret,
};
use std::time::Duration;

/// Runs the fixed shell command on a host.
pub trait Remote: Send + Sync {
    /// Opens one connection to `host`, runs `sh` (through sudo where the host asks for it), feeds `input` to its
    /// standard input, and returns everything it wrote.
    ///
    /// # Errors
    /// [`Error`] when no command could be run or the reply did not arrive whole. A script that ran and failed is not an
    /// error here: see [`Reply::exit`].
    fn run_script(&self, host: &Host, input: &Secret) -> Result<Reply, Error>;
}

/// What a script wrote and how it ended.
#[derive(Debug)]
pub struct Reply {
    /// Standard output and standard error, in the order they came.
    pub output: Vec<u8>,
    pub exit: Exit,
}

/// How a remote command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exit {
    Status(i32),
    /// The signal's name without `SIG`.
    Signal(String),
}

/// How long each step with a host may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// TCP connect, over all of a host's addresses together.
    pub connect: Duration,
    /// SSH greeting and key exchange.
    pub handshake: Duration,
    /// Silence from the host, at any later moment.
    pub idle: Duration,
    /// Everything together, retries included.
    pub host: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            handshake: Duration::from_secs(10),
            idle: Duration::from_secs(30),
            host: Duration::from_secs(120),
        }
    }
}

/// More output than this from one host, in bytes, is no reply to our script: four files and 50 rows make some 20 kB.
const LARGEST_REPLY: usize = 1 << 20;

/// The word the login shell prints before it calls sudo: with it in the reply, what failed is sudo, not the shell.
const SHELL_WORKS: &str = "kubemint-shell-works";

/// The one command kubemint gives to a login shell. It must mean the same to dash, bash, rbash, busybox, fish and csh:
/// no quotes, no paths, no variables. `exec` is forbidden in rbash.
fn command_line(privilege: Privilege) -> String {
    match privilege {
        Privilege::AsLoggedIn => "sh -s".to_owned(),
        Privilege::Sudo => format!("echo {SHELL_WORKS}; sudo -n -- sh -s"),
    }
}
