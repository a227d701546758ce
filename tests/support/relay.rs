//! A line between kubemint and its hosts that counts, records, and can be held: every byte goes through the test.

use std::{
    collections::HashSet,
    fs,
    io::{Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

/// SSH_MSG_NEWKEYS (RFC 4253, 7.3): what follows it is encrypted.
const NEW_KEYS: u8 = 21;
/// In /proc/net/tcp.
const ESTABLISHED: &str = "01";

/// One listener for each host, all with one gate and one count. They listen until the test process ends.
#[derive(Clone)]
pub struct Relays {
    shared: Arc<Shared>,
}

struct Shared {
    is_open: Mutex<bool>,
    opened: Condvar,
    /// Of every connection taken so far: the client's port and ours.
    taken: Mutex<HashSet<(u16, u16)>>,
    connections: AtomicUsize,
    most: AtomicUsize,
}

/// The listener in front of one host.
pub struct Relay {
    pub port: u16,
    target: Arc<Mutex<SocketAddr>>,
    /// Of each connection, in their order: what the client sent.
    sent: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Relays {
    /// With an open gate.
    pub fn new() -> Self {
        let shared = Shared {
            is_open: Mutex::new(true),
            opened: Condvar::new(),
            taken: Mutex::default(),
            connections: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
        };
        Self { shared: Arc::new(shared) }
    }

    pub fn add(&self, address: &str, port: u16) -> Relay {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let relay = Relay {
            port: listener.local_addr().unwrap().port(),
            target: Arc::new(Mutex::new(SocketAddr::new(address.parse().unwrap(), port))),
            sent: Arc::default(),
        };
        let (shared, target, sent) = (Arc::clone(&self.shared), Arc::clone(&relay.target), Arc::clone(&relay.sent));
        thread::spawn(move || {
            for client in listener.incoming() {
                let client = client.unwrap();
                shared.count(&client);
                let (shared, target, sent) = (Arc::clone(&shared), Arc::clone(&target), Arc::clone(&sent));
                thread::spawn(move || {
                    shared.wait_until_open();
                    let target = *target.lock().unwrap();
                    if let Ok(server) = TcpStream::connect(target) {
                        pass_on(&client, &server, &sent);
                    }
                });
            }
        });
        relay
    }

    /// New connections are taken, and wait.
    pub fn close_gate(&self) {
        *self.shared.is_open.lock().unwrap() = false;
    }

    pub fn open_gate(&self) {
        *self.shared.is_open.lock().unwrap() = true;
        self.shared.opened.notify_all();
    }

    /// How many connections there have been.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// The most that were open at the same moment.
    pub fn most_at_once(&self) -> usize {
        self.shared.most.load(Ordering::SeqCst)
    }
}

impl Shared {
    /// What counts as open is the kernel's answer for the client's end, which is closed before the client goes on to its
    /// next host. Only connections taken before the kernel is asked are looked for, or one that ends meanwhile and its
    /// successor would both be seen.
    fn count(&self, client: &TcpStream) {
        let mut taken = self.taken.lock().unwrap();
        taken.insert((client.peer_addr().unwrap().port(), client.local_addr().unwrap().port()));
        let table = fs::read_to_string("/proc/net/tcp").unwrap();
        let port = |field: &str| u16::from_str_radix(field.rsplit_once(':')?.1, 16).ok();
        let is_open = |line: &&str| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let pair = port(fields[1]).zip(port(fields[2]));
            pair.is_some_and(|pair| taken.contains(&pair)) && fields[3] == ESTABLISHED
        };
        self.most.fetch_max(table.lines().filter(is_open).count(), Ordering::SeqCst);
        self.connections.fetch_add(1, Ordering::SeqCst);
    }

    fn wait_until_open(&self) {
        let is_open = self.is_open.lock().unwrap();
        drop(self.opened.wait_while(is_open, |is_open| !*is_open).unwrap());
    }
}

impl Relay {
    /// The bytes the client sent on its last connection.
    pub fn last_sent(&self) -> Vec<u8> {
        self.sent.lock().unwrap().last().cloned().unwrap_or_default()
    }

    pub fn connections(&self) -> usize {
        self.sent.lock().unwrap().len()
    }

    /// How much of that was encrypted; everything before is the key exchange, in clear.
    pub fn last_encrypted(&self) -> usize {
        let sent = self.last_sent();
        let greeting = sent.iter().position(|byte| *byte == b'\n').expect("a greeting") + 1;
        let mut rest = &sent[greeting..];
        loop {
            let length: [u8; 4] = rest[..4].try_into().unwrap();
            let (packet, tail) = rest.split_at(4 + u32::from_be_bytes(length) as usize);
            if packet[5] == NEW_KEYS {
                return tail.len();
            }
            rest = tail;
        }
    }
}

fn pass_on(client: &TcpStream, server: &TcpStream, sent: &Mutex<Vec<Vec<u8>>>) {
    let index = {
        let mut sent = sent.lock().unwrap();
        sent.push(Vec::new());
        sent.len() - 1
    };
    thread::scope(|scope| {
        scope.spawn(|| copy(client, server, |bytes| sent.lock().unwrap()[index].extend_from_slice(bytes)));
        copy(server, client, |_| {});
    });
}

fn copy(mut from: &TcpStream, mut to: &TcpStream, see: impl Fn(&[u8])) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(n) = from.read(&mut buffer) {
        if n == 0 {
            break;
        }
        see(&buffer[..n]);
        if to.write_all(&buffer[..n]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
    let _ = from.shutdown(Shutdown::Read);
}
