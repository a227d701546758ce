//! The one thread that holds a jump host's session: it opens channels for those who ask, moves bytes between them and the
//! pairs of sockets that the hosts' own sessions run over, and sleeps in poll(2) in between. Nothing here blocks: a host
//! that hangs keeps its own bytes waiting and nobody else's.

use super::{
    Opening,
    opening::{Answer, Openings},
    pipe::{PIECE, Pipe},
};
use crate::{
    remote::{Deadlines, ssh::connect::Link},
    secret::scrub,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use ssh2::{BlockDirections, Session};
use std::{
    fmt, io,
    io::{Read, Write},
    os::{fd::OwnedFd, unix::net::UnixStream},
    sync::{
        Arc, Weak,
        mpsc::{Receiver, Sender, TryRecvError, channel, sync_channel},
    },
    time::{Duration, Instant},
};

/// How a socket says that the peer has closed, without anybody reading from it.
#[cfg(target_os = "linux")]
const CLOSED: PollFlags = PollFlags::RDHUP;
#[cfg(not(target_os = "linux"))]
const CLOSED: PollFlags = PollFlags::HUP;

/// What others hold of a pump. When it is dropped, the pump ends after its last connection.
pub(super) struct PumpHandle {
    requests: Sender<Opening>,
    wake: UnixStream,
    alive: Weak<()>,
}

impl fmt::Debug for PumpHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PumpHandle").field("has_ended", &self.has_ended()).finish_non_exhaustive()
    }
}

impl PumpHandle {
    /// Asks for a connection to a host; where the pump has ended, no answer comes and the receiver is disconnected.
    pub fn open(&self, address: &str, port: u16, limit: Duration, end: Instant) -> Receiver<Answer> {
        let (answer, receiver) = sync_channel(1);
        if self.requests.send(Opening::new(address, port, limit, end, answer)).is_ok() {
            // A full pipe wakes it as well.
            let _ = (&self.wake).write(&[0]);
        }
        receiver
    }

    pub fn has_ended(&self) -> bool {
        self.alive.strong_count() == 0
    }
}

/// The fields drop in this order: libssh2 knows the socket by its number only.
pub(super) struct Pump {
    /// First, so that whoever finds the requests refused finds the pump ended.
    _alive: Arc<()>,
    pipes: Vec<Pipe>,
    openings: Openings,
    requests: Receiver<Opening>,
    session: Session,
    socket: OwnedFd,
    wake: UnixStream,
    is_wanted: bool,
    /// When the jump host last said anything, or had nothing to say.
    heard: Instant,
    /// When it was first asked for a sign of life since.
    asked: Option<Instant>,
    /// How long it may be silent while somebody waits.
    patience: Duration,
    buffer: Vec<u8>,
}

impl Drop for Pump {
    fn drop(&mut self) {
        // What is freed after this cannot wait for the jump host.
        let _ = rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Both);
    }
}

/// What poll(2) found.
struct Ready {
    is_readable: bool,
    has_room: bool,
}

impl Pump {
    /// Takes over a session that is logged in.
    ///
    /// # Errors
    /// What the system has run out of.
    pub fn start(link: Link, deadlines: Deadlines) -> Result<(Self, PumpHandle), String> {
        let (session, line) = link.into_parts().ok_or("the connection was cut")?;
        session.set_blocking(false);
        let third = u32::try_from(deadlines.idle.as_secs() / 3).unwrap_or(u32::MAX);
        session.set_keepalive(true, third.max(1));
        let (requests, receiver) = channel();
        let (wake, waker) = UnixStream::pair().map_err(|e| e.to_string())?;
        for end in [&wake, &waker] {
            end.set_nonblocking(true).map_err(|e| e.to_string())?;
        }
        let alive = Arc::new(());
        let handle = PumpHandle { requests, wake: waker, alive: Arc::downgrade(&alive) };
        let pump = Self {
            _alive: alive,
            pipes: Vec::new(),
            openings: Openings::new().map_err(|e| e.to_string())?,
            requests: receiver,
            session,
            socket: line.into(),
            wake,
            is_wanted: true,
            heard: Instant::now(),
            asked: None,
            patience: deadlines.idle,
            buffer: vec![0; 2 * PIECE],
        };
        Ok((pump, handle))
    }

    /// Serves until nobody needs it any more.
    ///
    /// # Errors
    /// Why the jump host is lost.
    pub fn run(&mut self) -> Result<(), String> {
        loop {
            let ready = self.wait().map_err(|e| e.to_string())?;
            self.take_requests();
            if self.is_idle() && !self.is_wanted {
                let _ = self.session.disconnect(None, "done", None);
                return Ok(());
            }
            self.listen_for_life(&ready)?;
            self.advance(ready.is_readable).map_err(|e| scrub(e.message()))?;
        }
    }

    fn is_idle(&self) -> bool {
        self.pipes.is_empty() && self.openings.is_empty()
    }

    fn take_requests(&mut self) {
        while let Ok(1..) = self.wake.read(&mut [0; 64]) {}
        loop {
            match self.requests.try_recv() {
                Ok(opening) => {
                    if self.is_idle() {
                        (self.heard, self.asked) = (Instant::now(), None);
                    }
                    self.openings.push(opening);
                }
                Err(TryRecvError::Empty) => return,
                Err(TryRecvError::Disconnected) => {
                    self.is_wanted = false;
                    return;
                }
            }
        }
    }

    /// Tells a jump host that is gone from hosts that are silent: it answers keepalives in their place.
    fn listen_for_life(&mut self, ready: &Ready) -> Result<(), String> {
        if ready.is_readable || self.is_idle() {
            (self.heard, self.asked) = (Instant::now(), None);
            return Ok(());
        }
        // Its silence counts from when it was asked: on a busy machine we may come late to that ourselves.
        if self.heard.elapsed() >= self.breath()
            && self.asked.get_or_insert_with(Instant::now).elapsed() >= self.patience.saturating_sub(self.breath())
            && self.heard.elapsed() >= self.patience
        {
            return Err(format!("nothing heard for {} s", self.patience.as_secs()));
        }
        if ready.has_room {
            self.session.keepalive_send().map_err(|e| scrub(e.message()))?;
        }
        Ok(())
    }

    fn advance(&mut self, is_readable: bool) -> Result<(), ssh2::Error> {
        let mut drain = is_readable;
        loop {
            let mut moved = false;
            // What opens a channel reads no further than it has to.
            drain |= !self.openings.is_empty();
            while let Some((channel, local)) = self.openings.advance(&self.session, &mut self.socket)? {
                self.pipes.push(Pipe::new(channel, local));
                moved = true;
            }
            for pipe in &mut self.pipes {
                moved |= pipe.advance(&self.session, &mut self.buffer, &mut drain)?;
            }
            self.pipes.retain(|pipe| !pipe.is_closed());
            if !moved {
                return Ok(());
            }
        }
    }

    /// Sleeps until something can be done.
    fn wait(&mut self) -> io::Result<Ready> {
        let wants_input = !self.openings.is_empty() || self.pipes.iter().any(Pipe::wants_input);
        let is_blocked = matches!(self.session.block_directions(), BlockDirections::Outbound | BlockDirections::Both);
        let mut of_socket = CLOSED;
        of_socket.set(PollFlags::IN, wants_input);
        of_socket.set(PollFlags::OUT, is_blocked || self.pipes.iter().any(Pipe::wants_room));
        let local: Vec<(usize, PollFlags)> =
            self.pipes.iter().enumerate().filter_map(|(n, pipe)| Some((n, pipe.interest()?))).collect();
        let mut files = Vec::with_capacity(local.len() + 2);
        files.push(PollFd::new(&self.socket, of_socket));
        files.push(PollFd::new(&self.wake, if self.is_wanted { PollFlags::IN } else { PollFlags::empty() }));
        files.extend(local.iter().map(|(n, interest)| PollFd::new(self.pipes[*n].local(), *interest)));
        let time = self.sleep().and_then(|time| Timespec::try_from(time).ok());
        match poll(&mut files, time.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
        let found: Vec<PollFlags> = files.iter().map(PollFd::revents).collect();
        drop(files);
        for ((n, _), ready) in local.iter().zip(&found[2..]) {
            self.pipes[*n].wake(*ready);
        }
        let is_closed = found[0].intersects(CLOSED | PollFlags::HUP | PollFlags::ERR);
        if is_closed && !wants_input {
            return Err(io::Error::other("it closed the connection"));
        }
        let is_readable = is_closed || found[0].contains(PollFlags::IN);
        Ok(Ready { is_readable, has_room: !is_blocked })
    }

    /// How long it is left in peace before it is asked; libssh2 counts this in whole seconds.
    fn breath(&self) -> Duration {
        (self.patience / 3).max(Duration::from_secs(1))
    }

    fn sleep(&self) -> Option<Duration> {
        if self.is_idle() {
            return None;
        }
        let breath = Instant::now() + self.breath();
        let next = self.openings.next_deadline().map_or(breath, |deadline| deadline.min(breath));
        // A little late rather than a little early, many times.
        Some(next.saturating_duration_since(Instant::now()) + Duration::from_millis(1))
    }
}
