//! From a line to a finished key exchange, and what is done with the session afterwards. Knows nothing of who we are.

use super::{
    algorithms::{KEY_EXCHANGES, host_key_order},
    greeting::software,
    known_hosts::HostEntries,
    line::Line,
    watchdog::{Watch, Watchdog},
};
use crate::{
    foreign::ForeignText,
    remote::{Deadlines, Error},
    secret::scrub,
};
use libssh2_sys as raw;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use ssh2::{BlockDirections, ErrorCode, MethodType, Session};
use std::{
    io,
    os::fd::{AsRawFd, RawFd},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

const SHAKING_HANDS: &str = "before the login";
/// What OpenSSH says, instead of its greeting, when it drops a connection for its limits (sshd.c).
const BUSY: [&str; 2] = ["Exceeded MaxStartups", "Not allowed at this time"];

/// Why one attempt failed, and whether another may be made at once.
pub(super) enum Failure {
    /// The server hung up before we said who we are.
    DroppedBeforeLogin(Error),
    Final(Error),
}

impl Failure {
    pub fn into_error(self) -> Error {
        match self {
            Self::DroppedBeforeLogin(error) | Self::Final(error) => error,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Final(error)
    }
}

/// A live connection. Fields drop in this order: a session that is freed on a live socket talks to its peer, and would
/// wait for one that hangs.
pub(super) struct Link {
    socket: HangUp,
    pub session: Session,
    /// For messages: `address:port`, and the jump host it is behind.
    pub endpoint: String,
    deadlines: Deadlines,
    /// Of the host's whole time.
    end: Instant,
    /// Of what is under way: the login, or everything.
    until: Instant,
    /// Over the handshake first, then over the login, then over everything: until the session is freed.
    watch: Watch,
    /// Those to come, the next one last.
    later: Vec<Watch>,
}

struct HangUp {
    line: Arc<Line>,
    /// Somebody else has it now.
    is_given_away: bool,
}

impl Drop for HangUp {
    fn drop(&mut self) {
        if !self.is_given_away {
            self.line.hang_up();
        }
    }
}

/// In place of a session's socket, where another owns that.
struct Elsewhere;

impl AsRawFd for Elsewhere {
    fn as_raw_fd(&self) -> RawFd {
        -1
    }
}

impl Link {
    /// Agrees on keys over `line`; the host's key is not yet judged.
    pub fn open(
        line: Line,
        endpoint: String,
        known: &HostEntries,
        deadlines: Deadlines,
        end: Instant,
        watchdog: &Watchdog,
    ) -> Result<Self, Failure> {
        let line = Arc::new(line);
        let session = Session::new().map_err(|e| handshake_error(&endpoint, e.message()))?;
        let name = endpoint.clone();
        let unwatched = |e: io::Error| {
            Error::exhausted(&e, "to watch over the host's time with")
                .unwrap_or_else(|| handshake_error(&name, &format!("nothing can watch over its time: {e}")))
        };
        let now = Instant::now();
        let watch = |until: Instant| watchdog.watch(&line, until.min(end)).map_err(unwatched);
        let (first, later) = (watch(now + deadlines.handshake)?, vec![watch(end)?, watch(now + deadlines.login)?]);
        let mut link = Self {
            socket: HangUp { line: Arc::clone(&line), is_given_away: false },
            session,
            endpoint,
            deadlines,
            end,
            until: end,
            watch: first,
            later,
        };
        link.agree_on_keys(line, known)?;
        link.watch_next();
        link.until = end.min(now + deadlines.login);
        Ok(link)
    }

    /// For what is done after the login.
    pub fn lengthen(&mut self, deadlines: Deadlines) {
        self.deadlines = deadlines;
    }

    /// The login's own time does not count any more.
    pub fn logged_in(&mut self) {
        self.watch_next();
        self.until = self.end;
    }

    fn watch_next(&mut self) {
        if let Some(next) = self.later.pop() {
            self.watch = next;
        }
    }

    fn agree_on_keys(&mut self, line: Arc<Line>, known: &HostEntries) -> Result<(), Failure> {
        let prefer = |session: &Session| {
            session.method_pref(MethodType::Kex, KEY_EXCHANGES)?;
            session.method_pref(MethodType::HostKey, &host_key_order(&known.key_types()))
        };
        prefer(&self.session).map_err(|e| handshake_error(&self.endpoint, e.message()))?;
        self.session.set_tcp_stream(line);
        self.session.set_timeout(milliseconds(self.deadlines.handshake.min(self.time_left())));
        match self.session.handshake() {
            // The line may have been cut at the very end.
            Ok(()) if self.watch.has_bitten() => Err(Failure::Final(self.handshake_timed_out())),
            Ok(()) => {
                self.log_agreement();
                Ok(())
            }
            Err(e) => Err(self.handshake_failure(&e)),
        }
    }

    fn log_agreement(&self) {
        let agreed = |kind| self.session.methods(kind).map(scrub).unwrap_or_default();
        let (exchange, key) = (agreed(MethodType::Kex), agreed(MethodType::HostKey));
        let greeting = self.greeting();
        tracing::debug!("{}: greets with \"{}\"; agreed on {exchange} and {key}", self.endpoint, software(&greeting));
    }

    fn greeting(&self) -> String {
        self.session.banner_bytes().map(|b| scrub(&String::from_utf8_lossy(b))).unwrap_or_default()
    }

    fn handshake_timed_out(&self) -> Error {
        if self.is_over() {
            return self.timed_out(SHAKING_HANDS);
        }
        let seconds = self.deadlines.handshake.as_secs();
        let reason = match self.greeting() {
            ssh if ssh.starts_with("SSH-") => format!("the key exchange is not done after {seconds} s"),
            silence if silence.is_empty() => format!("no SSH greeting within {seconds} s"),
            other => format!("no SSH greeting within {seconds} s; it says \"{other}\""),
        };
        handshake_error(&self.endpoint, &reason)
    }

    fn handshake_failure(&self, error: &ssh2::Error) -> Failure {
        if self.watch.has_bitten() {
            return Failure::Final(self.handshake_timed_out());
        }
        let greeting = self.greeting();
        let speaks_ssh = greeting.starts_with("SSH-");
        let fail = |reason: String| handshake_error(&self.endpoint, &reason);
        match session_code(error) {
            Some(raw::LIBSSH2_ERROR_TIMEOUT) => Failure::Final(self.handshake_timed_out()),
            Some(code) if is_hang_up(code) => {
                let busy = BUSY.iter().any(|words| greeting.starts_with(words));
                if !speaks_ssh && !greeting.is_empty() && !busy {
                    return Failure::Final(fail(format!("it is no SSH server: it says \"{greeting}\"")));
                }
                let said = if busy { format!(": \"{greeting}\"") } else { String::new() };
                Failure::DroppedBeforeLogin(fail(format!("it hung up before the login{said}")))
            }
            _ if !speaks_ssh && !greeting.is_empty() => {
                Failure::Final(fail(format!("it is no SSH server: it says \"{greeting}\"")))
            }
            _ => Failure::Final(fail(format!("{} (greeting \"{greeting}\")", error.message()))),
        }
    }

    /// Of the login's time, or of the host's whole time after it.
    pub fn time_left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    /// Gives the next call to libssh2 as much time as is left for it, and says how much.
    ///
    /// # Errors
    /// [`Error::TimedOut`] when that time is over.
    pub fn allow(&self, during: &'static str) -> Result<Duration, Error> {
        let left = self.time_left();
        if left.is_zero() {
            return Err(self.timed_out(during));
        }
        let time = left.min(self.deadlines.idle);
        self.session.set_timeout(milliseconds(time));
        Ok(time)
    }

    /// Whether `error` says that the peer is gone or silent.
    pub fn is_gone(&self, error: &ssh2::Error) -> bool {
        session_code(error).is_some_and(|code| is_hang_up(code) || code == raw::LIBSSH2_ERROR_TIMEOUT)
    }

    /// Whether the peer has closed the connection, or does so within a moment.
    pub fn peer_is_gone(&self) -> bool {
        for _ in 0..20 {
            // libssh2 has made the socket non-blocking.
            match self.socket.line.is_closed() {
                Some(answer) => return answer,
                None => thread::sleep(Duration::from_millis(10)),
            }
        }
        false
    }

    /// Whether the time is over: every error is then ours, whatever libssh2 makes of the cut line.
    pub fn is_over(&self) -> bool {
        // libssh2 gives up a little early.
        Instant::now() + Duration::from_millis(100) >= self.until
    }

    /// What a libssh2 error after the handshake means.
    pub fn failed(&self, during: &'static str, error: &ssh2::Error) -> Error {
        match session_code(error) {
            Some(raw::LIBSSH2_ERROR_TIMEOUT) => self.timed_out(during),
            _ if self.is_over() => self.timed_out(during),
            _ => Error::ConnectionLost { during, reason: ForeignText::message(error.message()) },
        }
    }

    pub fn timed_out(&self, during: &'static str) -> Error {
        let reason = match self.is_over() {
            true if self.until < self.end => format!("not done after {} s", self.deadlines.login.as_secs()),
            true => format!("not done after {} s", self.deadlines.host.as_secs()),
            false => format!("nothing heard for {} s", self.deadlines.idle.as_secs()),
        };
        Error::TimedOut { during, reason: ForeignText::name(reason) }
    }

    /// Waits until the peer has something for libssh2, or takes something from it. sshd holds its answers back until its own
    /// last message is acknowledged, which the kernel puts off by 40 ms unless told otherwise, again and again.
    ///
    /// # Errors
    /// [`Error::TimedOut`] after too long a silence, or when the host's whole time is over.
    pub fn wait(&self, during: &'static str) -> Result<(), Error> {
        self.wait_for(
            during,
            match self.session.block_directions() {
                BlockDirections::Outbound => PollFlags::OUT,
                BlockDirections::Both => PollFlags::IN | PollFlags::OUT,
                BlockDirections::Inbound | BlockDirections::None => PollFlags::IN,
            },
        )
    }

    /// As [`Link::wait`], for what the caller knows libssh2 to wait for.
    ///
    /// # Errors
    /// As [`Link::wait`].
    pub fn wait_for(&self, during: &'static str, directions: PollFlags) -> Result<(), Error> {
        let time = self.allow(during)?;
        #[cfg(target_os = "linux")]
        let _ = rustix::net::sockopt::set_tcp_quickack(&*self.socket.line, true);
        let mut sockets = [PollFd::new(&*self.socket.line, directions)];
        match poll(&mut sockets, Timespec::try_from(time).ok().as_ref()) {
            Ok(0) => Err(self.timed_out(during)),
            // An interrupted wait is like one that ended early; what is wrong with the socket shows when it is used.
            _ => Ok(()),
        }
    }

    /// Cuts the line: whatever is freed after this cannot wait for the peer.
    pub fn hang_up(&self) {
        self.socket.line.hang_up();
    }

    /// The session and its socket, for somebody who goes on with both alone. The session knows the socket's number only:
    /// it must be freed first. `None` when the time is over and the line being cut.
    pub fn into_parts(self) -> Option<(Session, Line)> {
        let Self { mut socket, mut session, watch, later, .. } = self;
        drop((watch, later));
        session.set_tcp_stream(Elsewhere);
        socket.is_given_away = true;
        let line = Arc::clone(&socket.line);
        drop(socket);
        Some((session, Arc::into_inner(line)?))
    }
}

/// The code of an error of the session (not of SFTP).
pub(super) fn session_code(error: &ssh2::Error) -> Option<i32> {
    match error.code() {
        ErrorCode::Session(code) => Some(code),
        ErrorCode::SFTP(_) => None,
    }
}

/// Whether libssh2 waits for the peer, in non-blocking mode.
pub(super) fn is_pending(error: &ssh2::Error) -> bool {
    session_code(error) == Some(raw::LIBSSH2_ERROR_EAGAIN)
}

/// Whether the peer is gone.
pub(super) fn is_hang_up(code: i32) -> bool {
    matches!(
        code,
        raw::LIBSSH2_ERROR_SOCKET_DISCONNECT
            | raw::LIBSSH2_ERROR_SOCKET_RECV
            | raw::LIBSSH2_ERROR_SOCKET_SEND
            | raw::LIBSSH2_ERROR_BANNER_SEND
    )
}

pub(super) fn handshake_error(endpoint: &str, reason: &str) -> Error {
    Error::HandshakeFailed { endpoint: endpoint.to_owned(), reason: ForeignText::name(reason) }
}

pub(super) fn display_endpoint(address: &str, port: u16) -> String {
    if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") }
}

/// libssh2 takes 0 for "no limit".
fn milliseconds(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_endpoint_is_bracketed() {
        assert_eq!(display_endpoint("fe80::1", 22), "[fe80::1]:22");
        assert_eq!(display_endpoint("host", 2222), "host:2222");
    }
}
