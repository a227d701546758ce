//! One connection through a jump host: bytes from a pair of sockets into a channel and back. Nothing is read that cannot be
//! passed on: what is kept here is at most one piece each way, and the windows of both sides do the rest.

use super::super::connect::session_code;
use libssh2_sys as raw;
use rustix::event::PollFlags;
use ssh2::{Channel, Session};
use std::{
    io::{self, Read, Write},
    net::Shutdown,
    os::unix::net::UnixStream,
};

/// How much is passed on at a time; libssh2 sends at most 32,700 bytes in one packet.
pub(super) const PIECE: usize = 16 << 10;

/// Bytes under way, held while the other side has no room.
#[derive(Default)]
struct Piece {
    bytes: Vec<u8>,
    passed: usize,
}

impl Piece {
    fn rest(&self) -> &[u8] {
        &self.bytes[self.passed..]
    }

    fn is_empty(&self) -> bool {
        self.passed == self.bytes.len()
    }

    fn pass(&mut self, count: usize) {
        self.passed += count;
        if self.is_empty() {
            // No buffer stays behind: there may be hundreds of us, mostly waiting.
            *self = Self::default();
        }
    }
}

pub(super) struct Pipe {
    channel: Channel,
    local: UnixStream,
    /// libssh2 wants to see the same bytes at the same place again after it could not send them.
    outward: Piece,
    inward: Piece,
    local_is_readable: bool,
    /// The peer of `local` has closed. What it said before may still be there, but there is nothing to wait for.
    has_left: bool,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Flowing,
    /// Our own side has closed; what it said is passed on first.
    LocalEnded,
    /// The channel is being closed: both ends of the pair are shut.
    Closing,
    Closed,
}

impl Pipe {
    pub fn new(channel: Channel, local: UnixStream) -> Self {
        let (outward, inward) = (Piece::default(), Piece::default());
        Self { channel, local, outward, inward, local_is_readable: true, has_left: false, state: State::Flowing }
    }

    pub fn local(&self) -> &UnixStream {
        &self.local
    }

    /// What to wait for on [`Pipe::local`], if for anything.
    pub fn interest(&self) -> Option<PollFlags> {
        let mut interest = PollFlags::empty();
        interest.set(PollFlags::IN, self.outward.is_empty());
        interest.set(PollFlags::OUT, !self.inward.is_empty());
        (self.state == State::Flowing && !self.has_left).then_some(interest)
    }

    /// What the wait came to.
    pub fn wake(&mut self, ready: PollFlags) {
        self.has_left = ready.intersects(PollFlags::HUP | PollFlags::ERR);
        self.local_is_readable = self.has_left || ready.contains(PollFlags::IN);
    }

    /// Whether anything the jump host may send would be taken.
    pub fn wants_input(&self) -> bool {
        self.inward.is_empty() || !self.outward.is_empty() || self.state == State::Closing
    }

    /// Whether something waits for room on the jump host's line, and not for room in the channel.
    pub fn wants_room(&self) -> bool {
        !self.outward.is_empty() && self.channel.write_window().remaining > 0
    }

    pub fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// Moves what can be moved, and says whether anything was. `drain`: the session's socket may hold something that
    /// nobody has read yet; whoever does so sets it back.
    ///
    /// # Errors
    /// When the session is lost.
    pub fn advance(&mut self, session: &Session, buffer: &mut [u8], drain: &mut bool) -> Result<bool, ssh2::Error> {
        let mut moved = false;
        if matches!(self.state, State::Flowing | State::LocalEnded) {
            moved |= self.advance_outward(session)?;
        }
        if self.state == State::Flowing {
            moved |= self.advance_inward(session, buffer, drain)?;
        }
        if self.state == State::Closing && self.has_closed()? {
            self.state = State::Closed;
            // It reads no further than it has to.
            *drain = true;
            moved = true;
        }
        Ok(moved)
    }

    fn has_closed(&mut self) -> Result<bool, ssh2::Error> {
        // A packet that is half sent must go out, or nothing else ever will.
        if self.wants_room()
            && matches!(self.channel.write(self.outward.rest()), Err(e) if e.kind() == io::ErrorKind::WouldBlock)
        {
            return Ok(false);
        }
        self.outward = Piece::default();
        match self.channel.close() {
            Err(e) if session_code(&e) == Some(raw::LIBSSH2_ERROR_EAGAIN) => Ok(false),
            Err(e) if is_of_session(&e) => Err(e),
            _ => Ok(true),
        }
    }

    fn advance_outward(&mut self, session: &Session) -> Result<bool, ssh2::Error> {
        let mut moved = false;
        loop {
            if self.outward.is_empty() && !self.read_local() {
                break;
            }
            moved = true;
            match self.channel.write(self.outward.rest()) {
                Ok(count @ 1..) => self.outward.pass(count),
                Ok(0) => break,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => match last_error(session) {
                    e if is_of_session(&e) => return Err(e),
                    _ => {
                        self.close();
                        break;
                    }
                },
            }
        }
        // Of one that has left, only what the host takes at once is passed on.
        let is_stuck = || self.has_left && !self.outward.is_empty() && self.channel.write_window().remaining == 0;
        if is_stuck() || (self.state == State::LocalEnded && self.outward.is_empty()) {
            self.close();
            moved = true;
        }
        Ok(moved)
    }

    /// Whether there is something to pass on.
    fn read_local(&mut self) -> bool {
        if self.state != State::Flowing || !self.local_is_readable {
            return false;
        }
        let mut bytes = vec![0; PIECE];
        match self.local.read(&mut bytes) {
            Ok(count @ 1..) => {
                bytes.truncate(count);
                self.local_is_readable = self.has_left || count == PIECE;
                self.outward = Piece { bytes, passed: 0 };
                true
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                self.local_is_readable = false;
                false
            }
            _ => {
                self.state = State::LocalEnded;
                false
            }
        }
    }

    fn advance_inward(&mut self, session: &Session, buffer: &mut [u8], drain: &mut bool) -> Result<bool, ssh2::Error> {
        let mut moved = false;
        loop {
            if !self.inward.is_empty() {
                match self.local.write(self.inward.rest()) {
                    Ok(count) => {
                        self.inward.pass(count);
                        moved = true;
                    }
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(moved),
                    Err(_) => {
                        self.close();
                        return Ok(true);
                    }
                }
                continue;
            }
            if self.channel.eof() {
                self.close();
                return Ok(true);
            }
            if self.channel.read_window().available == 0 && !*drain {
                return Ok(moved);
            }
            *drain = false;
            match self.channel.read(buffer) {
                Ok(0) => {}
                Ok(count) => self.inward = Piece { bytes: buffer[..count].to_vec(), passed: 0 },
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    // Something may have come for others.
                    return Ok(moved);
                }
                Err(_) => return Err(last_error(session)),
            }
        }
    }

    fn close(&mut self) {
        let _ = self.local.shutdown(Shutdown::Both);
        self.inward = Piece::default();
        self.state = State::Closing;
    }
}

fn last_error(session: &Session) -> ssh2::Error {
    ssh2::Error::last_session_error(session)
        .unwrap_or_else(|| ssh2::Error::from_errno(ssh2::ErrorCode::Session(raw::LIBSSH2_ERROR_SOCKET_DISCONNECT)))
}

/// Whether an error is the whole session's, and not one channel's.
fn is_of_session(error: &ssh2::Error) -> bool {
    let of_channel = [
        raw::LIBSSH2_ERROR_CHANNEL_CLOSED,
        raw::LIBSSH2_ERROR_CHANNEL_EOF_SENT,
        raw::LIBSSH2_ERROR_CHANNEL_FAILURE,
        raw::LIBSSH2_ERROR_CHANNEL_UNKNOWN,
    ];
    session_code(error).is_none_or(|code| !of_channel.contains(&code))
}
