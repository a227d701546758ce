//! The floor: the same library, key exchange and order of work as kubemint, and nothing on top. Connects, agrees on keys,
//! logs in with a key, opens one channel, runs `true`, reads to the end, closes; so many hosts at a time. A program of its
//! own (this one called with `login`), so that its processor time is counted as that of the others is.

use libssh2_sys::LIBSSH2_ERROR_EAGAIN;
use rustix::event::{PollFd, PollFlags, poll};
use ssh2::{Channel, ErrorCode, MethodType, Session};
use std::{
    fs,
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

/// As in src/remote/ssh/connect.rs.
const KEY_EXCHANGES: &str = "curve25519-sha256,curve25519-sha256@libssh.org,ecdh-sha2-nistp256,ecdh-sha2-nistp384,\
                             ecdh-sha2-nistp521,diffie-hellman-group14-sha256,diffie-hellman-group16-sha512,\
                             diffie-hellman-group18-sha512,diffie-hellman-group-exchange-sha256";
const HOST_KEYS: &str =
    "ssh-ed25519,ecdsa-sha2-nistp256,ecdsa-sha2-nistp384,ecdsa-sha2-nistp521,rsa-sha2-512,rsa-sha2-256";
const STACK_BYTES: usize = 512 * 1024;

/// `login KEY ADDRESSES CONCURRENCY`: a private key, a file with an address a line, a number.
pub fn main(arguments: &[String]) -> Result<(), String> {
    let [key, addresses, concurrency] = arguments else { return Err("usage: login KEY ADDRESSES CONCURRENCY".into()) };
    let key = fs::read_to_string(key).map_err(|e| e.to_string())?;
    let addresses = fs::read_to_string(addresses).map_err(|e| e.to_string())?;
    let addresses: Vec<&str> = addresses.lines().collect();
    let concurrency: usize = concurrency.parse().map_err(|_| "no number")?;
    let (next, failed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let worker = || {
        while let Some(address) = addresses.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(error) = log_in(address, &key) {
                failed.fetch_add(1, Ordering::Relaxed);
                let _ = writeln!(std::io::stderr(), "{address}: {error}");
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..concurrency.min(addresses.len()) {
            let spawned = thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, worker);
            spawned.map_err(|e| e.to_string())?;
        }
        Ok::<(), String>(())
    })?;
    match failed.into_inner() {
        0 => Ok(()),
        n => Err(format!("{n} logins failed")),
    }
}

fn log_in(address: &str, key: &str) -> Result<(), Box<dyn std::error::Error>> {
    let stream = Arc::new(TcpStream::connect((address, 22))?);
    stream.set_nodelay(true)?;
    let mut session = Session::new()?;
    session.method_pref(MethodType::Kex, KEY_EXCHANGES)?;
    session.method_pref(MethodType::HostKey, HOST_KEYS)?;
    session.set_tcp_stream(Arc::clone(&stream));
    session.set_timeout(60_000);
    session.handshake()?;
    session.userauth_pubkey_memory("root", None, key, None)?;
    let mut channel = open_channel(&session, &stream)?;
    channel.exec("true")?;
    channel.send_eof()?;
    channel.read_to_end(&mut Vec::new())?;
    channel.wait_close()?;
    if channel.exit_status()? != 0 {
        return Err("true failed".into());
    }
    // A session that is freed on a live socket talks to its peer.
    session.disconnect(None, "done", None)?;
    stream.shutdown(Shutdown::Both)?;
    Ok(())
}

/// As `open_channel` in src/remote/ssh/connect.rs: sshd answers only when its own first message is acknowledged.
fn open_channel(session: &Session, stream: &TcpStream) -> Result<Channel, Box<dyn std::error::Error>> {
    session.set_blocking(false);
    let channel = loop {
        match session.channel_session() {
            Err(e) if e.code() == ErrorCode::Session(LIBSSH2_ERROR_EAGAIN) => {
                rustix::net::sockopt::set_tcp_quickack(stream, true)?;
                poll(&mut [PollFd::new(stream, PollFlags::IN)], None)?;
            }
            other => break other?,
        }
    };
    session.set_blocking(true);
    Ok(channel)
}
