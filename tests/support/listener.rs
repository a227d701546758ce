//! Something on a port that is no SSH server.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

/// What the listener does with a connection.
#[derive(Clone, Copy)]
pub enum Manner {
    /// Answers as a web server does, and hangs up.
    Http,
    /// Says nothing and stays.
    Silent,
    /// Hangs up at once.
    HangUp,
    /// Greets as an SSH server does, and says no more.
    GreetsOnly,
    /// Lines before its greeting, without end.
    FloodOfLines,
    /// One line without end.
    FloodOfOneLine,
    /// Greets, then sends SSH_MSG_IGNORE (RFC 4253, 11.2) without end.
    GreetsAndFloods,
}

/// Listens until the test process ends.
pub struct Listener {
    pub port: u16,
    connections: Arc<AtomicUsize>,
}

impl Listener {
    pub fn start(manner: Manner) -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        thread::spawn(move || {
            for stream in socket.incoming() {
                count.fetch_add(1, Ordering::SeqCst);
                thread::spawn(move || serve(stream.unwrap(), manner));
            }
        });
        Self { port, connections }
    }

    /// How many connections there have been.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

fn serve(mut stream: TcpStream, manner: Manner) {
    let mut buffer = [0; 1024];
    match manner {
        Manner::Http => {
            let _ = stream.read(&mut buffer);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
        }
        Manner::HangUp => {}
        Manner::Silent => while stream.read(&mut buffer).is_ok_and(|n| n > 0) {},
        Manner::GreetsOnly => {
            let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.9\r\n");
            while stream.read(&mut buffer).is_ok_and(|n| n > 0) {}
        }
        Manner::FloodOfLines => flood(&mut stream, &b"x\r\n".repeat(20_000)),
        Manner::FloodOfOneLine => flood(&mut stream, &[b'x'; 60_000]),
        Manner::GreetsAndFloods => {
            let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.9\r\n");
            flood(&mut stream, &ignore_packet().repeat(60));
        }
    }
}

fn flood(stream: &mut TcpStream, bytes: &[u8]) {
    while stream.write_all(bytes).is_ok() {}
}

/// In clear, as before the key exchange (RFC 4253, 6).
fn ignore_packet() -> Vec<u8> {
    let (data, padding) = (1000_u32, 6_u8);
    let mut packet = (1 + 1 + 4 + data + u32::from(padding)).to_be_bytes().to_vec();
    packet.extend([padding, 2]);
    packet.extend(data.to_be_bytes());
    packet.resize(packet.len() + data as usize + usize::from(padding), b'y');
    assert_eq!(packet.len() % 8, 0);
    packet
}
