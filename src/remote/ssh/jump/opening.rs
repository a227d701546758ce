//! Channels to be: who waits for a connection from the jump host to a host behind it.
//!
//! libssh2 opens one channel at a time, and keeps waiting for the answer (channel.c, `open_state`); sshd answers when its
//! own connect(2) has ended, which for a host that is down takes minutes. So each opening has a turn, and one that is not
//! answered in its turn while others wait is abandoned and tried again later, within its connect deadline.

use super::super::connect::session_code;
use libssh2_sys as raw;
use ssh2::{BlockDirections, Channel, ErrorCode, Session};
use std::{
    fs::File,
    io,
    os::{fd::OwnedFd, unix::net::UnixStream},
    sync::mpsc::SyncSender,
    time::{Duration, Instant},
};

/// How long a first turn is while others wait; each further one is twice as long. A turn is over much sooner for hosts that
/// are up: it takes a connect from the jump host.
const TURN: Duration = Duration::from_millis(500);
/// What libssh2 says of SSH_OPEN_ADMINISTRATIVELY_PROHIBITED: it has one code for every refusal (channel.c).
const PROHIBITED: &str = "administratively prohibited";
/// And of SSH_OPEN_CONNECT_FAILED, whose reason it does not pass on.
const CONNECT_FAILED: &str = "connect failed";

/// Why there is no channel.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The jump host's configuration forbids it.
    Prohibited,
    /// The jump host could not connect.
    NoConnection(String),
    /// Nothing came of it within the connect deadline.
    NoAnswer,
}

pub(super) type Answer = Result<super::Line, Refusal>;

/// Somebody's wish for a connection.
pub(super) struct Opening {
    pub address: String,
    pub port: u16,
    /// Counted from its first turn.
    pub limit: Duration,
    /// When the asker leaves.
    pub end: Instant,
    pub answer: SyncSender<Answer>,
    turns: u32,
    due: Option<Instant>,
}

impl Opening {
    pub fn new(address: &str, port: u16, limit: Duration, end: Instant, answer: SyncSender<Answer>) -> Self {
        Self { address: address.to_owned(), port, limit, end, answer, turns: 0, due: None }
    }
}

/// Those who wait, and whose turn it is.
pub(super) struct Openings {
    waiting: Vec<Opening>,
    current: Option<(Opening, Instant)>,
    /// Not a socket: what libssh2 finds in place of its own while it is made to give up.
    no_socket: OwnedFd,
}

impl Openings {
    pub fn new() -> io::Result<Self> {
        Ok(Self { waiting: Vec::new(), current: None, no_socket: File::open("/dev/null")?.into() })
    }

    pub fn push(&mut self, opening: Opening) {
        self.waiting.push(opening);
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.current.is_none()
    }

    /// When something is to be done though nothing has come.
    pub fn next_deadline(&self) -> Option<Instant> {
        let turn = self.current.as_ref().filter(|_| !self.waiting.is_empty()).map(|(_, turn_ends)| *turn_ends);
        let current = self.current.as_ref().map(|(opening, _)| opening);
        let dues = self.waiting.iter().chain(current).filter_map(|opening| opening.due);
        dues.chain(turn).min()
    }

    /// Goes on with the channel whose turn it is. Returns the ones that are open now, with their end of the pair.
    ///
    /// # Errors
    /// When the session is lost.
    pub fn advance(
        &mut self,
        session: &Session,
        socket: &mut OwnedFd,
    ) -> Result<Option<(Channel, UnixStream)>, ssh2::Error> {
        self.drop_overdue();
        loop {
            let Some((opening, turn_ends)) = self.current.take().or_else(|| self.next_turn()) else { return Ok(None) };
            let result = match session.channel_direct_tcpip(&opening.address, opening.port, None) {
                Err(e) if session_code(&e) == Some(raw::LIBSSH2_ERROR_EAGAIN) => {
                    let now = Instant::now();
                    let is_due = opening.due.is_some_and(|due| now >= due);
                    if !is_due && (now < turn_ends || self.waiting.is_empty()) {
                        self.current = Some((opening, turn_ends));
                        return Ok(None);
                    }
                    give_up(session, socket, &self.no_socket, &opening)
                }
                other => Some(other),
            };
            match result {
                Some(Ok(channel)) => match hand_over(&opening) {
                    Ok(local) => return Ok(Some((channel, local))),
                    Err(e) => drop(opening.answer.send(Err(Refusal::NoConnection(e.to_string())))),
                },
                Some(Err(e)) if session_code(&e) == Some(raw::LIBSSH2_ERROR_CHANNEL_FAILURE) => {
                    let refusal = match e.message().contains(PROHIBITED) {
                        true => Refusal::Prohibited,
                        false if e.message().contains(CONNECT_FAILED) => {
                            Refusal::NoConnection("refused, no route, or a name it does not know".to_owned())
                        }
                        false => Refusal::NoConnection(e.message().to_owned()),
                    };
                    let _ = opening.answer.send(Err(refusal));
                }
                Some(Err(e)) => return Err(e),
                None => {
                    tracing::debug!("no answer yet for {} port {}", opening.address, opening.port);
                    self.waiting.push(opening);
                    self.drop_overdue();
                }
            }
        }
    }

    /// Those that had the fewest turns first.
    fn next_turn(&mut self) -> Option<(Opening, Instant)> {
        let index = (0..self.waiting.len()).min_by_key(|&n| self.waiting[n].turns)?;
        let mut opening = self.waiting.remove(index);
        let now = Instant::now();
        let turn_ends = now + TURN * 2u32.saturating_pow(opening.turns.min(8));
        opening.turns += 1;
        opening.due.get_or_insert((now + opening.limit).min(opening.end));
        Some((opening, turn_ends))
    }

    fn drop_overdue(&mut self) {
        let now = Instant::now();
        self.waiting.retain(|opening| {
            let is_due = opening.due.is_some_and(|due| now >= due);
            if is_due {
                let _ = opening.answer.send(Err(Refusal::NoAnswer));
            }
            !is_due
        });
    }
}

/// Gives the asker its end of a pair.
fn hand_over(opening: &Opening) -> io::Result<UnixStream> {
    let (local, theirs) = UnixStream::pair()?;
    local.set_nonblocking(true)?;
    // Where the asker has left, its end closes, and the channel with it.
    let _ = opening.answer.send(Ok(theirs.into()));
    Ok(local)
}

/// Makes libssh2 forget the channel it waits for. It does so on an error of its socket, which does not end the session
/// (transport.c, `ssh2_transport_read`); its own timeout, a minute, cannot be set through the ssh2 crate. For that one call
/// the socket's number leads to something that is none, so nothing is read or sent. The answer, when it comes, is dropped.
///
/// `None`: forgotten. Otherwise what came instead.
fn give_up(
    session: &Session,
    socket: &mut OwnedFd,
    no_socket: &OwnedFd,
    opening: &Opening,
) -> Option<Result<Channel, ssh2::Error>> {
    // The request has not left us whole: the packet would be torn.
    let is_unsent = || matches!(session.block_directions(), BlockDirections::Outbound | BlockDirections::Both);
    let lost = || Some(Err(ssh2::Error::from_errno(ErrorCode::Session(raw::LIBSSH2_ERROR_BAD_SOCKET))));
    if is_unsent() {
        return lost();
    }
    let Ok(real) = socket.try_clone() else { return lost() };
    if replace(no_socket, socket).is_err() {
        return lost();
    }
    let result = session.channel_direct_tcpip(&opening.address, opening.port, None);
    if replace(&real, socket).is_err() {
        return lost();
    }
    match result {
        Err(e) if session_code(&e) == Some(raw::LIBSSH2_ERROR_SOCKET_RECV) => None,
        // It had come in time after all.
        other => Some(other),
    }
}

/// Puts `file` under the number of `place`.
fn replace(file: &OwnedFd, place: &mut OwnedFd) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    rustix::io::dup3(file, place, rustix::io::DupFlags::CLOEXEC)?;
    #[cfg(not(target_os = "linux"))]
    {
        rustix::io::dup2(file, place)?;
        rustix::io::fcntl_setfd(&*place, rustix::io::FdFlags::CLOEXEC)?;
    }
    Ok(())
}
