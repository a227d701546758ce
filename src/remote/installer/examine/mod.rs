//! Examines a host before anything is installed there: what an install would judge, and what it would need. One login,
//! nothing changed, no secret sent. What an install refuses is found by the installer's own functions
//! (templates/install.sh); templates/doctor.sh adds the rest. What a finding means is the caller's to say.

mod answer;
mod question;
mod sudo_rules;

pub use sudo_rules::SudoInput;

use super::{ForeignPolicy, HostView, MachineId, machine::Told, script::Layout};
use crate::{
    bundle::HostFile,
    entropy::Entropy,
    foreign::ForeignText,
    inventory::{Host, ServerUrl},
    remote::{Error, Remote, heard::hear},
};
use jiff::Timestamp;
use std::cell::RefCell;

/// What is asked beside the files.
#[derive(Debug, Clone, Copy)]
pub struct Questions<'a> {
    /// Unit names: letters, digits and `@._:-`.
    pub units: &'a [String],
    /// Whether this apiserver answers the host; `None`: not asked.
    pub server: Option<&'a ServerUrl>,
    /// The CA its certificate should be of, PEM; `None`: not checked.
    pub ca_pem: Option<&'a str>,
}

/// What a host answered.
#[derive(Debug)]
pub struct Examination {
    pub uid: u32,
    pub clock: Option<Timestamp>,
    /// The program that makes digests there.
    pub hasher: ForeignText,
    /// Programs an install calls that are not there.
    pub missing_tools: Vec<ForeignText>,
    pub sudo_input: SudoInput,
    /// One per directory.
    pub grounds: Vec<Ground>,
    pub systemd: Systemd,
    pub units: Vec<Unit>,
    pub reach: Option<Reach>,
    /// What the installer would find; [`Error::Files`] where it could not look.
    pub view: Result<HostView, Error>,
    /// As in [`HostView`], also where it could not look.
    pub host_key: Option<String>,
    pub machine: Option<MachineId>,
}

/// The place one directory is on, or, while it is missing, the nearest directory above it.
#[derive(Debug, Default)]
pub struct Ground {
    /// On the host, root included.
    pub directory: String,
    /// Indices in the list of files.
    pub files: Vec<usize>,
    pub state: GroundState,
    /// Where the figures below were taken; empty where the directory could not be entered.
    pub at: ForeignText,
    /// The user may not write there.
    pub closed: bool,
    pub mount_point: Option<ForeignText>,
    pub read_only: bool,
    pub free_bytes: Option<u64>,
    /// `None` too where the file system does not count them.
    pub free_inodes: Option<u64>,
    /// What is immutable or append-only: `.` is the directory, the others are names in it, kept versions too.
    pub fixed: Vec<ForeignText>,
    /// Names of files in it that could not be kept if they were replaced: a directory has the name for that.
    pub unkept: Vec<ForeignText>,
    /// Temporary files of a run that was killed, or is under way.
    pub leftovers: u64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum GroundState {
    #[default]
    Unknown,
    Here,
    Missing,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Systemd {
    #[default]
    NotAsked,
    Absent,
    /// Installed, and not what runs the host.
    Idle,
    Running,
}

/// A unit as systemd tells of it (systemd(1), `LoadState` and others).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    pub name: ForeignText,
    /// `loaded`, `not-found`, `masked`, …
    pub load: ForeignText,
    pub active: ForeignText,
    pub file: ForeignText,
}

/// How an apiserver answers a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    Open(Trust),
    Refused,
    Timeout,
    Unresolved,
    Unreachable,
    /// No program there that could tell.
    Untold,
}

/// Whose certificate it shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    Ours,
    OtherAuthority,
    /// By curl's word, which does not tell the two apart.
    OtherAuthorityOrName,
    /// Not for the address that the URL has.
    OtherName,
    Expired,
    NotYetValid,
    /// Refused for this reason (openssl-verification-options(1)).
    Refused(u32),
    NoTls,
    NotChecked,
}

/// Examines `host`, of which `files` would be installed.
///
/// # Errors
/// [`Error`] when no answer came; what would stop an install alone is in the [`Examination`].
pub fn examine_host(
    remote: &dyn Remote,
    host: &Host,
    files: &[HostFile],
    policy: ForeignPolicy,
    questions: Questions<'_>,
    entropy: &dyn Entropy,
) -> Result<Examination, Error> {
    let nonce = super::draw_nonce(entropy)?;
    let layout = Layout::new(host, files, policy)?;
    let host_key = RefCell::default();
    let reply = remote.run_script(host, &|peer| {
        host_key.replace(peer.host_key.clone());
        Ok(question::render_examination(&layout, &nonce, host.privilege, questions))
    });
    let told = Told::by(&hear(reply, &nonce, (remote, host), files)?, &nonce);
    let examination = answer::parse_examination(&told.reply, &nonce, host, &layout)?;
    Ok(Examination { host_key: host_key.into_inner(), machine: told.machine, ..examination })
}
