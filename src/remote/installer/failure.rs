//! What a host's words mean when the script failed or never ran. The only place that looks at foreign text for a cause.

use super::errno::{fault_in, is_exec_refusal};
use crate::{
    foreign::ForeignText,
    inventory::{Connection, Host, Privilege},
    remote::{
        Error, Exit, FileError, FileFault, SHELL_WORKS,
        heard::{self, Heard},
    },
};

/// What sshd says in place of running a command when the account needs a new password first (session.c, auth-shadow.c)
/// and what PAM adds.
const EXPIRED_WORDS: [&str; 3] = [
    "Password change required but no TTY available",
    "Your password has expired",
    "You are required to change your password immediately",
];

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
    // Whose word it is shows in our scripts: no other is repeated.
    let step = if heard::is_ours(step) { format!("step {step}") } else { "an unknown step".to_owned() };
    let said = ForeignText::message(said);
    let detail = ForeignText::name(if said.is_empty() { step } else { format!("{step}: {said}") });
    FileError { path, fault, detail }
}

/// A script that ended before its last word: for want of what a shell needs to go on, or of itself.
pub(in crate::remote) fn ended_early(reply: &Heard<'_>, nonce: &str) -> Error {
    exhausted(&reply.text).unwrap_or_else(|| garbled("it ends too early", reply, nonce))
}

fn exhausted(text: &str) -> Option<Error> {
    let (line, fault) = fault_in(text)?;
    (fault == FileFault::HostResources).then(|| Error::HostExhausted { said: ForeignText::message(line) })
}

/// No line of ours came back: the shell or sudo never ran the script.
pub(in crate::remote) fn no_reply(text: &str, exit: &Exit, host: &Host) -> Error {
    if let Some(error) = exhausted(text) {
        return error;
    }
    let before_sudo = text.split_once(SHELL_WORKS).map_or(text, |(before, _)| before);
    if matches!(host.connection, Connection::Ssh(_)) && EXPIRED_WORDS.iter().any(|words| before_sudo.contains(words)) {
        return Error::PasswordExpired { user: login_user(host) };
    }
    let quoted = |said: &str| match said.trim() {
        "" => "it said nothing".into(),
        said => ForeignText::message(said),
    };
    // Only a remote login shell stands between us and sudo.
    let said_by_sudo = match (host.privilege, &host.connection) {
        (Privilege::AsLoggedIn, _) => None,
        (Privilege::Sudo, Connection::Local { .. }) => Some(text),
        (Privilege::Sudo, Connection::Ssh(_)) => text.split_once(SHELL_WORKS).map(|(_, said)| said),
    };
    match said_by_sudo {
        Some(said) => Error::BecomeFailed { user: login_user(host), said: quoted(said) },
        None => Error::ShellUnusable { exit: exit.to_string(), said: quoted(text) },
    }
}

fn login_user(host: &Host) -> String {
    match &host.connection {
        Connection::Ssh(target) => target.settings.user.clone(),
        Connection::Local { .. } => "the user".to_owned(),
    }
}

/// A reply we cannot make sense of, with the last thing that was said.
pub(in crate::remote) fn garbled(reason: &'static str, reply: &Heard<'_>, nonce: &str) -> Error {
    let said = reply.text.lines().rev().find(|line| !line.contains(nonce));
    Error::ProtocolGarbled { reason, said: said.map(ForeignText::message).unwrap_or_default() }
}
