//! What the replies of the small scripts have in common: a line of ours carries the run's nonce somewhere and what is said
//! after it, and a reply that is not whole means the same whoever asked. The host is not trusted: nothing here may panic.

use super::{
    Error, Exit, Signal,
    heard::Heard,
    installer::{ended_early, no_reply},
};
use crate::{foreign::ForeignText, inventory::Host};

/// One line of a reply.
pub(super) struct Line<'t> {
    /// What else stands in it.
    pub noise: &'t str,
    /// What is ours: its word, and the rest.
    pub frame: Option<(&'t str, &'t str)>,
}

/// The lines of `text`; ours carry `nonce`.
pub(super) fn lines<'t>(text: &'t str, nonce: &str) -> impl Iterator<Item = Line<'t>> {
    let mark = format!("{nonce} ");
    text.lines().map(move |line| match line.split_once(&mark) {
        None => Line { noise: line, frame: None },
        Some((noise, frame)) => {
            let frame = frame.trim_end_matches('\r');
            Line { noise, frame: Some(frame.split_once(' ').unwrap_or((frame, ""))) }
        }
    })
}

/// Whether our script has said that it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Script {
    Unseen,
    Begun,
}

/// A reply without our last word. `during`: what ran, as in "while the script ran".
pub(super) fn cut_short(reply: &Heard<'_>, nonce: &str, host: &Host, script: Script, during: &'static str) -> Error {
    match (&reply.exit, script) {
        // A shell that was killed says nothing of itself, however early.
        (Exit::Signal(signal), _) => Error::ConnectionLost { during, reason: killed(*signal) },
        (Exit::Status(_), Script::Unseen) => no_reply(&reply.text, &reply.exit, host),
        (Exit::Status(_), Script::Begun) => ended_early(reply, nonce),
    }
}

pub(super) fn killed(signal: Signal) -> ForeignText {
    ForeignText::name(format!("the remote shell was killed by {signal}"))
}

#[cfg(test)]
pub(super) mod tests {
    use crate::{
        inventory::{Connection, Host, HostName, Privilege, Role, Roles, ServerUrl},
        remote::{
            Exit,
            heard::{Heard, tests::heard_of},
        },
    };

    pub const NONCE: &str = "0f0f";

    /// Reached without SSH.
    pub fn host() -> Host {
        Host {
            name: HostName::new_unchecked("h"),
            connection: Connection::Local { root: "/".into() },
            privilege: Privilege::AsLoggedIn,
            roles: Roles::new(&[Role::Node]).unwrap(),
            labels: std::collections::BTreeMap::new(),
            server: ServerUrl::new_unchecked("https://h"),
            apiserver: ServerUrl::new_unchecked("https://h"),
            directory: "/etc/kubernetes".into(),
            install_ca: false,
            token_csv_on_nodes: false,
        }
    }

    /// `@` stands for the nonce.
    pub fn reply(text: &str, exit: Exit) -> Heard<'static> {
        heard_of(&text.replace('@', NONCE), exit, NONCE, Vec::new())
    }
}
