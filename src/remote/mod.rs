//! Hosts as places where a shell script can be run, and the installer that puts files there.
//!
//! [`Remote`] is the port: one connection, one login, one command, standard input and output. [`installer`] speaks its
//! protocol over it, the same for SSH and local hosts. Secrets travel on standard input only.

pub mod installer;
pub mod local;
pub mod ssh;

use crate::{inventory::Host, secret::Secret};

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
