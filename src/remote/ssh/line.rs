//! What an SSH session runs over: a TCP connection, or one end of a pair whose other end a jump host's pump serves. To
//! libssh2 both are a socket.

use rustix::net::{RecvFlags, Shutdown, recv, shutdown};
use std::{
    io,
    net::TcpStream,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
        unix::net::UnixStream,
    },
};

/// More than any receive buffer holds.
const MOST_DRAINED: usize = 64 << 20;

/// A connected stream socket.
#[derive(Debug)]
pub(super) struct Line(OwnedFd);

impl From<TcpStream> for Line {
    fn from(stream: TcpStream) -> Self {
        Self(stream.into())
    }
}

impl From<UnixStream> for Line {
    fn from(stream: UnixStream) -> Self {
        Self(stream.into())
    }
}

impl From<Line> for OwnedFd {
    fn from(line: Line) -> Self {
        line.0
    }
}

impl AsFd for Line {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Line {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl Line {
    /// Closes both ways.
    pub fn hang_up(&self) {
        let _ = shutdown(&self.0, Shutdown::Both);
    }

    /// Closes both ways, and takes away what has already come: libssh2 reads a greeting byte by byte, and would go on
    /// for seconds.
    pub fn cut(&self) {
        self.hang_up();
        let mut buffer = vec![0; 64 << 10];
        let mut drained = 0;
        while let Ok(n @ 1..) = rustix::io::read(&self.0, &mut buffer[..]) {
            drained += n;
            if drained > MOST_DRAINED {
                break;
            }
        }
    }

    /// Whether the peer has closed: `None` where nothing has come yet. The socket must be non-blocking.
    pub fn is_closed(&self) -> Option<bool> {
        match recv(&self.0, &mut [0][..], RecvFlags::PEEK).map_err(io::Error::from) {
            Ok((_, n)) => Some(n == 0),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => None,
            Err(_) => Some(true),
        }
    }
}
