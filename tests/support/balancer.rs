//! What stands before the apiservers of a cluster: each connection goes to the next one that takes it.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

/// Ended, for new connections, when dropped.
pub struct Balancer {
    pub port: u16,
    over: Arc<AtomicBool>,
}

impl Balancer {
    /// `backends` are HOST:PORT.
    pub fn start(backends: Vec<String>) -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let over = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&over);
        let (backends, turn) = (Arc::new(backends), Arc::new(AtomicUsize::new(0)));
        thread::spawn(move || {
            for client in socket.incoming() {
                if is_over.load(Ordering::SeqCst) {
                    return;
                }
                let (Ok(client), backends, turn) = (client, Arc::clone(&backends), Arc::clone(&turn)) else { continue };
                thread::spawn(move || {
                    let first = turn.fetch_add(1, Ordering::SeqCst);
                    let nth = |n| &backends[(first + n) % backends.len()];
                    let server = (0..backends.len()).find_map(|n| TcpStream::connect(nth(n)).ok());
                    if let Some(server) = server {
                        join(&client, &server);
                    }
                });
            }
        });
        Self { port, over }
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

/// Until either side is at its end.
fn join(client: &TcpStream, server: &TcpStream) {
    thread::scope(|scope| {
        scope.spawn(|| pass(client, server));
        pass(server, client);
    });
}

fn pass(mut from: &TcpStream, mut to: &TcpStream) {
    let mut buffer = [0; 16384];
    while let Ok(n) = from.read(&mut buffer) {
        if n == 0 || to.write_all(&buffer[..n]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
