//! What a host's words mean when the script failed or never ran. The only place that looks at foreign text for a cause.

use crate::{
    inventory::{Connection, Host, Privilege},
    remote::{Error, Exit, FileError, FileFault, Reply, SHELL_WORKS},
    secret::scrub,
};

/// How glibc, musl and the BSDs word the errors we tell apart, and shells that word their own; the host runs under LC_ALL=C.
/// What explains more comes first.
const ERRNO_WORDS: [(&str, FileFault); 33] = [
    ("File too large", FileFault::FileSizeLimit),
    ("File size limit exceeded", FileFault::FileSizeLimit),
    ("ilesize limit exceeded", FileFault::FileSizeLimit),
    ("No space left on device", FileFault::DiskFull),
    ("uota exceeded", FileFault::DiskFull),
    ("Read-only file", FileFault::ReadOnlyFilesystem),
    ("ross-device link", FileFault::CrossDevice),
    ("inter-device move failed", FileFault::CrossDevice),
    ("evice or resource busy", FileFault::TargetBusy),
    ("Resource busy", FileFault::TargetBusy),
    ("Device busy", FileFault::TargetBusy),
    ("Text file busy", FileFault::TargetBusy),
    ("Stale file handle", FileFault::StaleHandle),
    ("Stale NFS file handle", FileFault::StaleHandle),
    ("Input/output error", FileFault::InputOutput),
    ("I/O error", FileFault::InputOutput),
    ("annot fork", FileFault::HostResources),
    ("an't fork", FileFault::HostResources),
    ("fork: ", FileFault::HostResources),
    ("Resource temporarily unavailable", FileFault::HostResources),
    ("Too many processes", FileFault::HostResources),
    ("Too many open files", FileFault::HostResources),
    ("No file descriptors available", FileFault::HostResources),
    ("annot allocate", FileFault::HostResources),
    ("ut of memory", FileFault::HostResources),
    ("emory exhausted", FileFault::HostResources),
    ("Out of space", FileFault::HostResources),
    ("Not enough space", FileFault::HostResources),
    ("Argument list too long", FileFault::HostResources),
    ("Arg list too long", FileFault::HostResources),
    ("Permission denied", FileFault::PermissionDenied),
    ("Operation not permitted", FileFault::Immutable),
    ("Not a directory", FileFault::ParentNotDirectory),
];

/// The programs that a script starts.
const PROGRAMS: [&str; 26] = [
    "cat",
    "chgrp",
    "chmod",
    "chown",
    "date",
    "dd",
    "df",
    "getconf",
    "grep",
    "id",
    "ln",
    "ls",
    "lsattr",
    "mkdir",
    "mv",
    "openssl",
    "rm",
    "rmdir",
    "setfacl",
    "sha256sum",
    "shasum",
    "sleep",
    "stat",
    "sync",
    "systemctl",
    "timeout",
];

/// What sshd says in place of running a command when the account needs a new password first (session.c, auth-shadow.c)
/// and what PAM adds.
const EXPIRED_WORDS: [&str; 3] = [
    "Password change required but no TTY available",
    "Your password has expired",
    "You are required to change your password immediately",
];

/// The shells that a script may run in, as they name themselves in messages.
const SHELLS: [&str; 6] = ["sh", "ash", "dash", "bash", "-sh", "busybox"];

/// What a failed step means, by what was said since the script began.
pub(in crate::remote) fn failed_step(path: String, step: &str, said: &str) -> FileError {
    let known = said.lines().find(|line| is_exec_refusal(line)).map(|line| (line, FileFault::ExecForbidden));
    let known = known.or_else(|| fault_in(said));
    let (said, fault) = match (step, known) {
        ("attributes", found) => (found.map(|(line, _)| line).unwrap_or_default(), FileFault::AttributesNotSet),
        ("previous", _) => ("", FileFault::PreviousUnusable),
        ("digest", _) => ("", FileFault::DigestMismatch),
        ("acl", Some((line, FileFault::WriteFailed))) => (line, FileFault::ParentUnsafe),
        // rename(2) and unlink(2) say so of a mount point, and of little else.
        ("rename" | "link" | "move" | "remove", Some((line, FileFault::TargetBusy))) => {
            (line, FileFault::TargetIsMountPoint)
        }
        (_, Some((line, fault))) => (line, fault),
        (_, None) => ("", FileFault::WriteFailed),
    };
    let said = scrub(said);
    let detail = if said.is_empty() { format!("step {step}") } else { format!("step {step}: {said}") };
    FileError { path, fault, detail }
}

/// The line that explains most of what was said, and what it means.
fn fault_in(said: &str) -> Option<(&str, FileFault)> {
    let of_words = |words: &str| {
        let is_it = |line: &&str| !line.trim().is_empty() && line.contains(words) && !is_any_write_error(line);
        said.lines().rev().find(is_it)
    };
    let known = ERRNO_WORDS.iter().find_map(|(words, fault)| Some((of_words(words)?, *fault)));
    known.or_else(|| Some((said.lines().rev().find(|line| !line.trim().is_empty())?, FileFault::WriteFailed)))
}

/// dash says this of every error of a write.
fn is_any_write_error(line: &str) -> bool {
    ["printf: I/O error", "echo: I/O error"].iter().any(|words| line.trim_end().ends_with(words))
}

/// A shell's own words for a program that it may not start: `sh: 1: ls: Permission denied`. Of a file that it may not open it
/// says `cannot create ./x`, or names a relative path.
fn is_exec_refusal(line: &str) -> bool {
    let Some(said) = line.trim_end().strip_suffix(": Permission denied") else { return false };
    let (Some(shell), Some(word)) = (said.split(": ").next(), said.rsplit(": ").next()) else { return false };
    let shell = shell.rsplit('/').next().unwrap_or(shell);
    let program = word.strip_prefix("can't execute ").unwrap_or(word).trim_matches('\'');
    let name = program.rsplit('/').next().unwrap_or(program);
    let is_path = !program.contains('/') || program.starts_with('/');
    SHELLS.contains(&shell) && is_path && PROGRAMS.contains(&name)
}

/// A script that ended before its last word: for want of what a shell needs to go on, or of itself.
pub(in crate::remote) fn ended_early(reply: &Reply, nonce: &str) -> Error {
    let text = String::from_utf8_lossy(&reply.output);
    exhausted(&text).unwrap_or_else(|| garbled("it ends too early", reply, nonce))
}

fn exhausted(text: &str) -> Option<Error> {
    let (line, fault) = fault_in(text)?;
    (fault == FileFault::HostResources).then(|| Error::HostExhausted { said: scrub(line) })
}

/// No line of ours came back: the shell or sudo never ran the script.
pub(in crate::remote) fn no_reply(text: &str, exit: &Exit, host: &Host) -> Error {
    let exit = match exit {
        Exit::Status(status) => format!("exit status {status}"),
        Exit::Signal(signal) => format!("killed by signal {signal}"),
    };
    if let Some(error) = exhausted(text) {
        return error;
    }
    let before_sudo = text.split_once(SHELL_WORKS).map_or(text, |(before, _)| before);
    if matches!(host.connection, Connection::Ssh(_)) && EXPIRED_WORDS.iter().any(|words| before_sudo.contains(words)) {
        return Error::PasswordExpired { user: login_user(host) };
    }
    let quoted = |said: &str| if said.trim().is_empty() { "it said nothing".to_owned() } else { scrub(said) };
    // Only a remote login shell stands between us and sudo.
    let said_by_sudo = match (host.privilege, &host.connection) {
        (Privilege::AsLoggedIn, _) => None,
        (Privilege::Sudo, Connection::Local { .. }) => Some(text),
        (Privilege::Sudo, Connection::Ssh(_)) => text.split_once(SHELL_WORKS).map(|(_, said)| said),
    };
    match said_by_sudo {
        Some(said) => Error::BecomeFailed { user: login_user(host), said: quoted(said) },
        None => Error::ShellUnusable { exit, said: quoted(text) },
    }
}

fn login_user(host: &Host) -> String {
    match &host.connection {
        Connection::Ssh(target) => target.settings.user.clone(),
        Connection::Local { .. } => "the user".to_owned(),
    }
}

/// A reply we cannot make sense of, with the last thing that was said.
pub(in crate::remote) fn garbled(reason: &str, reply: &Reply, nonce: &str) -> Error {
    let text = String::from_utf8_lossy(&reply.output);
    let said = text.lines().rev().find(|line| !line.contains(nonce)).map(scrub).unwrap_or_default();
    Error::ProtocolGarbled { reason: reason.to_owned(), said }
}
