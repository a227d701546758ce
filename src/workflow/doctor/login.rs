//! The way to a host: connection, host key, login, root, and the programs an install needs there.

use super::{Subject, check::Verdict};
use crate::{
    inventory::{Connection, Privilege},
    remote::{Error, RetryClass, installer::examine::SudoInput},
};

pub(super) const CONNECTION: &str = "connection";
pub(super) const HOST_KEY: &str = "host-key";
pub(super) const LOGIN: &str = "login";
pub(super) const BECOME: &str = "become";
pub(super) const TOOLS: &str = "tools";

/// The check that an error is the failure of.
pub(super) fn stage(error: &Error) -> &'static str {
    match error.cause() {
        Error::JumpFailed { cause, .. } => stage(cause),
        Error::HostKeyUnknown { .. }
        | Error::HostKeyChanged { .. }
        | Error::HostKeyRevoked { .. }
        | Error::HostCaUnsupported { .. }
        | Error::KnownHostsUnreadable { .. } => HOST_KEY,
        Error::BecomeFailed { .. } | Error::BecomePassword { .. } => BECOME,
        other => match other.retry_class() {
            // Also a line that broke later on: how far it held is not known.
            RetryClass::Retryable | RetryClass::Unavailable => CONNECTION,
            RetryClass::Refused | RetryClass::Misconfigured => LOGIN,
            RetryClass::HostFault => TOOLS,
        },
    }
}

pub(super) fn connection(subject: &Subject) -> Verdict {
    match &subject.account {
        None => Verdict::ok("this machine"),
        Some(account) => {
            let took = subject.asked.1.duration_since(subject.asked.0).as_millis();
            Verdict::ok(format!("{} port {}, examined in {took} ms", account.address, account.port))
        }
    }
}

pub(super) fn host_key(subject: &Subject) -> Verdict {
    match &subject.host.connection {
        Connection::Local { .. } => Verdict::skipped("this machine"),
        Connection::Ssh(_) => Verdict::ok("the one in known_hosts"),
    }
}

pub(super) fn login(subject: &Subject) -> Verdict {
    match &subject.account {
        None => Verdict::skipped("this machine"),
        Some(account) => Verdict::ok(format!("as {}", account.user)),
    }
}

pub(super) fn become_root(subject: &Subject) -> Verdict {
    let uid = subject.examination.uid;
    match (subject.host.privilege, &subject.host.connection) {
        (Privilege::Sudo, _) if uid != 0 => Verdict::fail(format!("sudo gives uid {uid}, not root")),
        (Privilege::Sudo, _) => Verdict::ok("root, by sudo"),
        (Privilege::AsLoggedIn, Connection::Ssh(_)) if uid != 0 => {
            Verdict::warn(format!("logged in as uid {uid}: the files would be that user's and not root's"))
        }
        (Privilege::AsLoggedIn, _) if uid == 0 => Verdict::ok("root"),
        (Privilege::AsLoggedIn, _) => Verdict::ok(format!("uid {uid}: the files will be that user's")),
    }
}

pub(super) fn tools(subject: &Subject) -> Verdict {
    match subject.examination.missing_tools.as_slice() {
        [] => Verdict::ok(format!("sh with printf, {} and the rest", subject.examination.hasher)),
        missing => {
            let missing: Vec<&str> = missing.iter().map(|tool| &**tool).collect();
            Verdict::fail(format!("missing: {}", missing.join(", "))).code("tool_missing")
        }
    }
}

/// What sudo records lies on the host's disk or a log server: the token, and keys.
pub(super) fn sudo_input(subject: &Subject) -> Verdict {
    match subject.examination.sudo_input {
        SudoInput::NotAsked => Verdict::skipped("no sudo is asked for"),
        SudoInput::Untold => Verdict::skipped("sudo does not list the rules of this login"),
        SudoInput::NotRecorded => Verdict::ok("sudo does not record what it passes on"),
        SudoInput::Recorded => {
            Verdict::fail("sudo records the input of commands (log_input): it would store the token and private keys")
                .code("sudo_input_log")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::{OfferedKey, PasswordFate};
    use std::sync::Arc;

    #[test]
    fn an_error_belongs_to_the_check_that_it_is_the_failure_of() {
        let offered = OfferedKey { host: "bastion".into(), key_type: "x".into(), fingerprint: "y".into() };
        let unknown = Error::HostKeyUnknown { offered: Box::new(offered), known: Vec::new() };
        assert_eq!(stage(&Error::JumpFailed { jump: "bastion".into(), cause: Arc::new(unknown) }), HOST_KEY);
        for fate in [PasswordFate::Refused, PasswordFate::Withheld] {
            assert_eq!(stage(&Error::BecomePassword { user: "ops".into(), fate, of: None }), BECOME);
            let (endpoint, user, tried) = ("x".to_owned(), "ops".to_owned(), "".into());
            assert_eq!(stage(&Error::AuthFailed { endpoint, user, tried, password: fate }), LOGIN);
        }
        assert_eq!(stage(&Error::ConnectRefused { endpoint: "x".into() }), CONNECTION);
    }
}
