//! What can go wrong with one host, as values: each has a stable code for scripts, a hint for people, and says what may
//! be done about it. Loops match variants, never text. No value here holds a secret, and whatever a host said is a
//! [`ForeignText`]; error_words.rs lists those.

use super::{
    exhausted::Resource,
    file_error::FileError,
    key_evidence::{KnownEntry, OfferedKey, known_types},
    password::PasswordFate,
};
use crate::{bundle::Validity, foreign::ForeignText};
use jiff::Timestamp;
use std::{path::PathBuf, sync::Arc};

/// What may be done about an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryClass {
    /// Nothing was begun on the host, and the cause may pass by itself: tried again within the run.
    Retryable,
    /// The host was not there, or was lost: not tried again, but another run may succeed.
    Unavailable,
    /// An identity was refused, ours or the host's: never retried, a person must look.
    Refused,
    /// Something on the host must be mended first.
    HostFault,
    /// Something on this machine must be mended first.
    Misconfigured,
}

/// Why a host could not be read or written. One per host.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    #[error("cannot resolve {address}: {reason}")]
    DnsFailed { address: String, reason: ForeignText },
    #[error("cannot resolve {address} for the moment: {reason}")]
    DnsBusy { address: String, reason: ForeignText },
    #[error("{endpoint} refused the connection")]
    ConnectRefused { endpoint: String },
    #[error("no answer from {endpoint} within {seconds} s")]
    ConnectTimeout { endpoint: String, seconds: u64 },
    #[error("cannot reach {endpoint}: {reason}")]
    Unreachable { endpoint: String, reason: ForeignText },
    #[error("no SSH connection with {endpoint}: {reason}")]
    HandshakeFailed { endpoint: String, reason: ForeignText },
    #[error("the host key of {} is not known: it offers {offered}{}", .offered.host, known_types(.known))]
    HostKeyUnknown { offered: Box<OfferedKey>, known: Vec<KnownEntry> },
    #[error(
        "THE HOST KEY OF {} HAS CHANGED: it offers {offered}, but {known} has another key; somebody may be \
         impersonating the host",
        .offered.host
    )]
    HostKeyChanged { offered: Box<OfferedKey>, known: KnownEntry },
    #[error("the host key of {} is revoked: {offered} is marked @revoked at {known}", .offered.host)]
    HostKeyRevoked { offered: Box<OfferedKey>, known: KnownEntry },
    #[error(
        "only the @cert-authority line at {known} matches {}, and host certificates are not supported; it offers \
         {offered}",
        .offered.host
    )]
    HostCaUnsupported { offered: Box<OfferedKey>, known: KnownEntry },
    #[error("cannot read known_hosts file {}: {reason}", .path.display())]
    KnownHostsUnreadable { path: PathBuf, reason: ForeignText },
    #[error("{endpoint} does not let {user} in; tried: {tried}")]
    AuthFailed { endpoint: String, user: String, tried: ForeignText, password: PasswordFate },
    #[error("the password of {user} has expired, and the host wants a new one first")]
    PasswordExpired { user: String },
    #[error("cannot use key file {}: {reason}", .path.display())]
    KeyUnreadable { path: PathBuf, reason: ForeignText },
    #[error("key file {} is ignored: other users may use it (mode {mode:04o})", .path.display())]
    KeyOpenToOthers { path: PathBuf, mode: u32 },
    #[error("key file {} is encrypted, and the agent does not hold it", .path.display())]
    KeyEncrypted { path: PathBuf },
    /// The jump host could not be logged in to, or was lost and could not again: for the rest of the run.
    #[error("the jump host {jump} cannot be used: {cause}")]
    JumpFailed { jump: String, cause: Arc<Error> },
    #[error("the jump host {jump} does not forward to {endpoint}")]
    ForwardingRefused { jump: String, endpoint: String },
    /// SSH has one answer for a refused connection, no route, and a name that is not known there.
    #[error("the jump host {jump} cannot connect to {endpoint}: {reason}")]
    UnreachableFromJump { jump: String, endpoint: String, reason: ForeignText },
    #[error("the settings of ssh for {host} cannot be read: {reason}")]
    SshConfigFailed { host: String, reason: ForeignText },
    #[error("~/.ssh/config has a ProxyCommand for {host}, which is not supported: {command}")]
    ProxyCommandUnsupported { host: String, command: ForeignText },
    #[error("sudo does not give {user} a root shell: {said}")]
    BecomeFailed { user: String, said: ForeignText },
    #[error("sudo does not give {user} a root shell: {}", .fate.in_sudo_s_words(.of.as_deref()))]
    BecomePassword {
        user: String,
        fate: PasswordFate,
        /// Whose password sudo asks for, where that is somebody else.
        of: Option<ForeignText>,
    },
    #[error("the login shell runs no commands ({exit}): {said}")]
    ShellUnusable { exit: String, said: ForeignText },
    #[error("the connection broke {during}: {reason}")]
    ConnectionLost { during: &'static str, reason: ForeignText },
    #[error("timed out {during}: {reason}")]
    TimedOut { during: &'static str, reason: ForeignText },
    #[error("the reply is not whole ({reason}): {said}")]
    ProtocolGarbled { reason: &'static str, said: ForeignText },
    /// The script ended where the host had no more processes, memory or open files.
    #[error("the host has no processes, memory or open files left: {said}")]
    HostExhausted { said: ForeignText },
    /// The way to the host was lost, or its reply is not whole, after a command was sent that is not ended by that.
    #[error("whether the command ran, and how it ended, is not known: {cause}")]
    CommandOutcomeUnknown { cause: Box<Error> },
    #[error("no shell could be started on this machine: {reason}")]
    LocalShell { reason: ForeignText },
    #[error("this machine has {resource} {during}: {reason}")]
    Exhausted { resource: Resource, during: &'static str, reason: ForeignText },
    /// A panic of ours, caught: the other hosts go on.
    #[error("kubemint has a bug, which struck while it worked on this host; what was done there is not known")]
    Bug,
    #[error("no random bytes: {0}")]
    Entropy(#[from] crate::entropy::Error),
    #[error("{path:?} cannot be installed: {reason}")]
    PathUnusable { path: String, reason: &'static str },
    #[error("the host has no usable {tool}")]
    ToolMissing { tool: ForeignText },
    #[error(
        "the host's clock says {clock}, but the certificates to be installed hold from {} to {}",
        .validity.not_before, .validity.not_after
    )]
    ClockOutsideValidity { clock: Timestamp, validity: Validity },
    #[error(
        "it shows the host key and the machine-id of {name}, but lacks files that it should hold: it is that machine, listed \
         twice, or a clone; nothing was written under this name"
    )]
    SameMachine { name: String },
    #[error("waited {seconds} s in vain for {name}, which shows the same host key, to be done: nothing was begun here")]
    WaitedForTwin { name: String, seconds: u64 },
    #[error("{}", joined(.0))]
    Files(Vec<FileError>),
    /// What the last of several attempts came to; never nested.
    #[error("{last} (tried {attempts} times)")]
    Retried { attempts: u32, last: Box<Error> },
}

fn joined(errors: &[FileError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

impl Error {
    /// The error itself, however often the host was tried.
    #[must_use]
    pub fn cause(&self) -> &Self {
        if let Self::Retried { last, .. } = self { last } else { self }
    }

    /// How many connections were tried, from 1.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        if let Self::Retried { attempts, .. } = self { *attempts } else { 1 }
    }

    /// The stable name scripts rely on.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Retried { last, .. } => last.code(),
            Self::DnsFailed { .. } | Self::DnsBusy { .. } => "dns_failed",
            Self::ConnectRefused { .. } => "connect_refused",
            Self::ConnectTimeout { .. } => "connect_timeout",
            Self::Unreachable { .. } => "unreachable",
            Self::HandshakeFailed { .. } => "handshake_failed",
            Self::HostKeyUnknown { .. } => "host_key_unknown",
            Self::HostKeyChanged { .. } => "host_key_changed",
            Self::HostKeyRevoked { .. } => "host_key_revoked",
            Self::HostCaUnsupported { .. } => "host_ca_unsupported",
            Self::KnownHostsUnreadable { .. } => "known_hosts_unreadable",
            Self::AuthFailed { .. } => "auth_failed",
            Self::KeyUnreadable { .. } => "key_unreadable",
            Self::KeyOpenToOthers { .. } => "key_open_to_others",
            Self::KeyEncrypted { .. } => "key_encrypted",
            Self::JumpFailed { .. } => "jump_failed",
            Self::ForwardingRefused { .. } => "forwarding_refused",
            Self::UnreachableFromJump { .. } => "unreachable_from_jump",
            Self::SshConfigFailed { .. } => "ssh_config_failed",
            Self::ProxyCommandUnsupported { .. } => "proxy_command_unsupported",
            Self::PasswordExpired { .. } => "password_expired",
            Self::BecomeFailed { .. } | Self::BecomePassword { .. } => "become_failed",
            Self::ShellUnusable { .. } => "shell_unusable",
            Self::ConnectionLost { .. } => "connection_lost",
            Self::TimedOut { .. } => "timed_out",
            Self::ProtocolGarbled { .. } => "protocol_garbled",
            Self::HostExhausted { .. } => "host_resources",
            Self::CommandOutcomeUnknown { .. } => "command_outcome_unknown",
            Self::LocalShell { .. } => "local_shell_failed",
            Self::Exhausted { resource, .. } => resource.code(),
            Self::Bug => "unexpected",
            Self::Entropy(_) => "entropy_failed",
            Self::PathUnusable { .. } => "path_unusable",
            Self::ToolMissing { .. } => "tool_missing",
            Self::ClockOutsideValidity { .. } => "clock_outside_validity",
            Self::SameMachine { .. } => "same_machine",
            Self::WaitedForTwin { .. } => "waited_for_twin",
            Self::Files(files) => files.first().map_or("write_failed", FileError::code),
        }
    }

    /// Whether the host refused the password of this run: its fault, or that of whoever typed it.
    #[must_use]
    pub fn is_password_refused(&self) -> bool {
        matches!(
            self.cause(),
            Self::AuthFailed { password: PasswordFate::Refused, .. }
                | Self::BecomePassword { fate: PasswordFate::Refused, .. }
        )
    }

    /// What may be done about it.
    #[must_use]
    pub fn retry_class(&self) -> RetryClass {
        match self {
            Self::Retried { last, .. } => last.retry_class(),
            // One that several hosts have refused: mistyped here.
            Self::AuthFailed { password: PasswordFate::Withheld, .. }
            | Self::BecomePassword { fate: PasswordFate::Withheld, .. } => RetryClass::Misconfigured,
            Self::DnsBusy { .. }
            | Self::ConnectRefused { .. }
            | Self::UnreachableFromJump { .. }
            // Other hosts give back what they hold.
            | Self::Exhausted { .. } => RetryClass::Retryable,
            Self::DnsFailed { .. }
            | Self::ConnectTimeout { .. }
            | Self::Unreachable { .. }
            | Self::HandshakeFailed { .. }
            | Self::ConnectionLost { .. }
            | Self::TimedOut { .. }
            | Self::CommandOutcomeUnknown { .. }
            | Self::WaitedForTwin { .. } => RetryClass::Unavailable,
            Self::HostKeyUnknown { .. }
            | Self::HostKeyChanged { .. }
            | Self::HostKeyRevoked { .. }
            | Self::HostCaUnsupported { .. }
            | Self::AuthFailed { .. }
            | Self::PasswordExpired { .. }
            | Self::BecomePassword { .. } => RetryClass::Refused,
            // What may be retried about a jump host has been, once for all the hosts behind it.
            Self::JumpFailed { cause, .. } => match cause.retry_class() {
                RetryClass::Retryable => RetryClass::Unavailable,
                class => class,
            },
            Self::BecomeFailed { .. }
            | Self::ForwardingRefused { .. }
            | Self::ShellUnusable { .. }
            | Self::ProtocolGarbled { .. }
            | Self::HostExhausted { .. }
            | Self::ToolMissing { .. }
            | Self::ClockOutsideValidity { .. }
            | Self::Bug
            | Self::Files(_) => RetryClass::HostFault,
            Self::KnownHostsUnreadable { .. }
            | Self::KeyUnreadable { .. }
            | Self::KeyOpenToOthers { .. }
            | Self::KeyEncrypted { .. }
            | Self::SshConfigFailed { .. }
            | Self::ProxyCommandUnsupported { .. }
            | Self::LocalShell { .. }
            | Self::Entropy(_)
            | Self::SameMachine { .. }
            | Self::PathUnusable { .. } => RetryClass::Misconfigured,
        }
    }

    /// What a person can do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Retried { last, .. } => last.hint(),
            Self::DnsFailed { .. } | Self::DnsBusy { .. } => {
                "check the host's address in the inventory and this machine's DNS".into()
            }
            Self::ConnectRefused { .. } => {
                "check that sshd runs there and that the port in the inventory is right".into()
            }
            Self::ConnectTimeout { .. } => "check that the host is up and that no firewall drops the connection".into(),
            Self::Unreachable { .. } => "check the network and the route to the host, then run again".into(),
            Self::HandshakeFailed { .. } => "check that the port is an SSH server's, and its log on the host; if it says \
                \"Not allowed at this time\", failed logins from this address are penalised there (PerSourcePenalties): \
                fix the login, wait until the penalty ends, then run again"
                .into(),
            Self::HostKeyUnknown { offered, .. } => format!(
                "on the host's own console run `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` (or the file of \
                 the key type shown) and compare; if it is the same, add the line `{} ` + that .pub file's \
                 content to known_hosts",
                offered.host
            ),
            Self::HostKeyChanged { known, .. } => format!(
                "nothing was sent to it; find out why the key changed (was the host reinstalled?), compare with \
                 `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` on the host's own console, and only then \
                 replace the line at {known}"
            ),
            Self::HostKeyRevoked { .. } => {
                "nothing was sent to it; the host needs a new host key (`ssh-keygen -A` after removing the old one)"
                    .into()
            }
            Self::HostCaUnsupported { offered, .. } => format!(
                "add the host's own public key to known_hosts as `{} TYPE KEY`, once its fingerprint {} has been \
                 compared on the host's console with `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub`",
                offered.host, offered.fingerprint
            ),
            Self::KnownHostsUnreadable { .. } => "make the file readable, or name another in [ssh] known_hosts".into(),
            Self::AuthFailed { user, password, .. } => password.login_hint(user),
            Self::PasswordExpired { user } => format!(
                "log in to the host as {user} by hand, which asks for a new password, or set one there as root with \
                 `passwd {user}`; then run again"
            ),
            Self::KeyUnreadable { .. } => "check [ssh] identity_files: an OpenSSH or PEM private key is wanted".into(),
            Self::KeyOpenToOthers { path, .. } => {
                format!("run `chmod 600 {}`, and make a new key if others may have read this one", path.display())
            }
            Self::KeyEncrypted { path } => {
                format!(
                    "load it into an agent, `ssh-add {}`, or give its passphrase: --ask-key-passphrase, \
                     --key-passphrase-file FILE or --key-passphrase-fd N",
                    path.display()
                )
            }
            Self::JumpFailed { jump, cause } => match cause.cause() {
                Self::AuthFailed { .. } => {
                    format!("{}; a jump host needs a key: {jump} is never given the password of the hosts", cause.hint())
                }
                _ => cause.hint(),
            },
            Self::ForwardingRefused { jump, .. } => {
                format!("{jump} needs AllowTcpForwarding yes (or local) for this user, and no PermitOpen without the host")
            }
            Self::UnreachableFromJump { jump, .. } => format!(
                "on {jump}, check that the host's address is right as seen from there, and that sshd runs on the host \
                 and on that port"
            ),
            Self::SshConfigFailed { host, .. } => format!(
                "`ssh -G {host}` shows what ssh makes of ~/.ssh/config; use_config = false leaves it aside"
            ),
            Self::ProxyCommandUnsupported { .. } => {
                "write ProxyJump in its place, or jump in the inventory; jump = [] says that the host is reached directly"
                    .into()
            }
            Self::BecomeFailed { user, .. } => format!(
                "`sudo -n true` must work for {user} on the host: sudo installed, `{user} ALL=(ALL) NOPASSWD: ALL` \
                 in sudoers, no requiretty; or give the password sudo asks for with --ask-become-pass, \
                 --become-password-file FILE or --become-password-fd N"
            ),
            Self::BecomePassword { user, of, .. } => PasswordFate::sudo_hint(user, of.as_deref()),
            Self::ShellUnusable { .. } => {
                "the user needs a login shell that runs commands (not nologin, no ForceCommand) and, with PAM, a password \
                 that has not expired"
                    .into()
            }
            Self::ConnectionLost { .. } => "run again: what is done stays done, and leftovers are swept".into(),
            Self::TimedOut { .. } => "look at the host's load and disks, then run again".into(),
            Self::ProtocolGarbled { .. } => "log in by hand and run `sh -s </dev/null`: it should print nothing".into(),
            Self::HostExhausted { .. } => super::file_error::HOST_RESOURCES_HINT.into(),
            Self::CommandOutcomeUnknown { .. } => {
                "the command goes on without us, as long as it may take: look at the service on the host, then run again"
                    .into()
            }
            Self::LocalShell { .. } => "an `sh` must be in /bin or /usr/bin".into(),
            Self::Exhausted { resource, .. } => resource.hint().into(),
            Self::Bug => "please report it; `kubemint status` shows what the host holds".into(),
            Self::Entropy(_) => "this machine's random source must work before anything is installed".into(),
            Self::PathUnusable { .. } => {
                "paths below root may hold letters, digits and . _ - + @ only; root may hold no control characters"
                    .into()
            }
            Self::ClockOutsideValidity { .. } => {
                "nothing was changed; set the host's clock (look with `timedatectl`; chrony or systemd-timesyncd keep it \
                 right), and check this machine's too, then run again"
                    .into()
            }
            Self::ToolMissing { tool } => format!("install {tool} on the host (coreutils or busybox)"),
            Self::SameMachine { .. } => {
                "if it is one machine, list it once, with all of its roles, or mend the address of one; if one is a clone, \
                 it needs a machine-id of its own (remove /etc/machine-id, `systemd-machine-id-setup`) and host keys of \
                 its own (`ssh-keygen -A` after removing the old ones)"
                    .into()
            }
            Self::WaitedForTwin { name, .. } => format!(
                "look at {name}, not at this host, then run again; hosts that show one host key go one after another: \
                 give each its own (`ssh-keygen -A` after removing the old ones)"
            ),
            Self::Files(files) => files.first().map(FileError::hint).unwrap_or_default(),
        }
    }
}
