//! Runs one command of the inventory on a host, such as the restart of a service, and says how it ended.
//!
//! It runs in a session of its own (setsid(1)) with /dev/null for its input: a connection that is lost does not end it, and
//! neither does the end of our script. What ends it is its time limit, which the host itself watches over, with or without
//! us: TERM for the process group, and KILL five seconds later. A host that ends all processes of a session with it
//! (KillUserProcesses= in logind.conf(5)) ends the command too, unless `sudo` or root stands between.
//! A command is run once: nothing is tried again after the login.

mod reply;

use super::{
    Error, Input, Remote,
    heard::hear,
    installer::{draw_nonce, quote_sh},
    preamble::{Surroundings, opening},
};
use crate::{entropy::Entropy, inventory::Host, secret::Secret};
use std::{
    cell::Cell,
    sync::LazyLock,
    time::{Duration, Instant},
};

/// How long the host may take beyond the limit: until KILL has come, and to say so.
const TO_END_IT: Duration = Duration::from_secs(10);

static OPENING: LazyLock<String> =
    LazyLock::new(|| opening(Surroundings::OfTheLogin, include_str!("../../../templates/service.sh")));

/// What became of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandOutcome {
    pub end: CommandEnd,
    /// The end of what it wrote to standard output and standard error, 2 kB at most: printable lines, without what looks
    /// like a secret.
    pub said: String,
    /// From the login to the last word of the host.
    pub took: Duration,
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandEnd {
    /// With status 0.
    Done,
    Failed(i32),
    /// By a signal, its name without `SIG`; by the status that shells give then (128 and the number), which a program may
    /// also give by itself.
    Killed(String),
    /// It took longer than it may, and was ended.
    TimedOut,
}

/// What is the matter with a restart that did not end well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complaint {
    /// Stable name, for scripts: `restart_failed` or `restart_timed_out`.
    pub code: &'static str,
    /// To be read after the name of the command, with what it said: `failed with status 1: no such unit`. Safe to show.
    pub how: String,
}

impl CommandEnd {
    #[must_use]
    pub fn is_done(&self) -> bool {
        *self == Self::Done
    }
}

impl CommandOutcome {
    /// `None` where it ended well.
    #[must_use]
    pub fn complaint(&self) -> Option<Complaint> {
        let (code, how) = match &self.end {
            CommandEnd::Done => return None,
            CommandEnd::Failed(status) => ("restart_failed", format!("failed with status {status}")),
            CommandEnd::Killed(signal) => ("restart_failed", format!("was killed by SIG{signal}")),
            CommandEnd::TimedOut => ("restart_timed_out", "took too long and was ended".to_owned()),
        };
        let said = self.said.lines().collect::<Vec<_>>().join("; ");
        Some(Complaint { code, how: if said.is_empty() { how } else { format!("{how}: {said}") } })
    }
}

/// Runs `command` by `sh -c` on `host`, for `limit` at most: whole seconds, at least one.
///
/// # Errors
/// [`Error::CommandOutcomeUnknown`] when the connection is lost, the time is over or the reply is not whole after the command
/// was sent: it may run still. Any other [`Error`]: it was not run. A command that fails is none: see [`CommandOutcome`].
pub fn run_command(
    remote: &dyn Remote,
    host: &Host,
    command: &str,
    limit: Duration,
    entropy: &dyn Entropy,
) -> Result<CommandOutcome, Error> {
    if command.contains('\0') {
        return Err(Error::PathUnusable { path: command.to_owned(), reason: "a command holds no NUL" });
    }
    let nonce = draw_nonce(entropy)?;
    let sent = Cell::new(None);
    let script = |_: &super::Peer| {
        sent.set(Some(Instant::now()));
        Ok(render(&nonce, command, limit))
    };
    let reply = remote.run_long_script(host, &script, limit.saturating_add(TO_END_IT));
    let told = hear(reply, &nonce, (remote, host), &[]).and_then(|heard| reply::parse(&heard, &nonce, host));
    match told {
        Ok((end, said)) => {
            Ok(CommandOutcome { end, said, took: sent.get().map_or(Duration::ZERO, |since| since.elapsed()) })
        }
        Err(error) if sent.get().is_some() && may_have_run(&error) => {
            Err(Error::CommandOutcomeUnknown { cause: Box::new(error) })
        }
        Err(error) => Err(error),
    }
}

fn may_have_run(error: &Error) -> bool {
    matches!(
        error.cause(),
        Error::ConnectionLost { .. }
            | Error::TimedOut { .. }
            | Error::ProtocolGarbled { .. }
            | Error::HostExhausted { .. }
    )
}

fn render(nonce: &str, command: &str, limit: Duration) -> Input {
    let seconds = limit.as_secs() + u64::from(limit.subsec_nanos() > 0);
    let call = format!("km_nonce={nonce}\nkm_run {} {}\nexit 0\n}}\n", seconds.max(1), quote_sh(command));
    Input::new([&OPENING, ""], Secret::from(call))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_did_not_end_well_is_told_with_what_it_said() {
        let told = |end, said: &str| {
            let outcome = CommandOutcome { end, said: said.to_owned(), took: Duration::ZERO };
            outcome.complaint().map(|complaint| (complaint.code, complaint.how))
        };
        assert_eq!(told(CommandEnd::Done, "warning"), None);
        for (end, said, code, how) in [
            (CommandEnd::Failed(5), "a\nb", "restart_failed", "failed with status 5: a; b"),
            (CommandEnd::Killed("TERM".into()), "", "restart_failed", "was killed by SIGTERM"),
            (CommandEnd::TimedOut, "", "restart_timed_out", "took too long and was ended"),
        ] {
            assert_eq!(told(end, said), Some((code, how.to_owned())));
        }
    }
}
