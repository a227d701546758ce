//! The way to a host: connection, host key, login, root, and the programs an install needs there.

use super::{Subject, check::Verdict};
use crate::{
    inventory::{Connection, Privilege},
    remote::{Error, RetryClass},
};

pub(super) const CONNECTION: &str = "connection";
pub(super) const HOST_KEY: &str = "host-key";
pub(super) const LOGIN: &str = "login";
pub(super) const BECOME: &str = "become";
pub(super) const TOOLS: &str = "tools";

/// The check that an error is the failure of.
pub(super) fn stage(error: &Error) -> &'static str {
    match error.cause() {
        Error::HostKeyUnknown { .. }
        | Error::HostKeyChanged { .. }
        | Error::HostKeyRevoked { .. }
        | Error::HostCaUnsupported { .. }
        | Error::KnownHostsUnreadable { .. } => HOST_KEY,
        Error::BecomeFailed { .. } => BECOME,
        other => match other.retry_class() {
            // Also a line that broke later on: how far it held is not known.
            RetryClass::Retryable | RetryClass::Unavailable => CONNECTION,
            RetryClass::Refused | RetryClass::Misconfigured => LOGIN,
            RetryClass::HostFault => TOOLS,
        },
    }
}

pub(super) fn connection(subject: &Subject) -> Verdict {
    match &subject.host.connection {
        Connection::Local { .. } => Verdict::ok("this machine"),
        Connection::Ssh(target) => {
            let took = subject.asked.1.duration_since(subject.asked.0).as_millis();
            Verdict::ok(format!("{} port {}, examined in {took} ms", target.address, target.port))
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
    match &subject.host.connection {
        Connection::Local { .. } => Verdict::skipped("this machine"),
        Connection::Ssh(target) => Verdict::ok(format!("as {}", target.settings.user)),
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
        missing => Verdict::fail(format!("missing: {}", missing.join(", "))).code("tool_missing"),
    }
}
