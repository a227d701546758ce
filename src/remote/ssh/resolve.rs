//! From a name to its addresses, within a time. The system's resolver cannot be interrupted, so it gets a thread of its
//! own, which nobody waits for when the time is over.

use crate::{remote::Error, secret::scrub};
use dns_lookup::{AddrInfoHints, LookupErrorKind, SockType, getaddrinfo};
use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::mpsc::sync_channel,
    thread,
    time::Duration,
};

const STACK_BYTES: usize = 256 * 1024;

/// # Errors
/// [`Error::DnsBusy`] when the resolver says that another time may be better, else [`Error::DnsFailed`].
pub(super) fn resolve(name: &str, port: u16, limit: Duration) -> Result<Vec<SocketAddr>, Error> {
    if let Ok(address) = name.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let (send, answer) = sync_channel(1);
    let asked = name.to_owned();
    let asks = thread::Builder::new().name("resolver".into()).stack_size(STACK_BYTES).spawn(move || {
        let _ = send.send(look_up(&asked, port));
    });
    let failed = |reason: String| Error::DnsFailed { address: name.to_owned(), reason };
    asks.map_err(|e| failed(e.to_string()))?;
    answer.recv_timeout(limit).unwrap_or_else(|_| Err(failed(format!("no answer within {} s", limit.as_secs()))))
}

fn look_up(name: &str, port: u16) -> Result<Vec<SocketAddr>, Error> {
    let hints = AddrInfoHints { socktype: SockType::Stream.into(), ..AddrInfoHints::default() };
    let address = name.to_owned();
    let found = getaddrinfo(Some(name), None, Some(hints)).map_err(|e| {
        let kind = e.kind();
        let reason = scrub(&io::Error::from(e).to_string());
        match kind {
            LookupErrorKind::Again => Error::DnsBusy { address: address.clone(), reason },
            _ => Error::DnsFailed { address: address.clone(), reason },
        }
    })?;
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for info in found.flatten() {
        let mut socket = info.sockaddr;
        socket.set_port(port);
        if !addresses.contains(&socket) {
            addresses.push(socket);
        }
    }
    match addresses.is_empty() {
        true => Err(Error::DnsFailed { address, reason: "the name has no address".to_owned() }),
        false => Ok(addresses),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_needs_no_resolver_and_no_time() {
        for (name, shown) in [("10.0.0.1", "10.0.0.1:22"), ("fd00::1", "[fd00::1]:22")] {
            let found = resolve(name, 22, Duration::ZERO).unwrap();
            assert_eq!(found, [shown.parse().unwrap()], "{name}");
        }
    }

    #[test]
    fn a_name_has_its_port_and_no_address_twice() {
        let found = resolve("localhost", 2222, Duration::from_secs(10)).unwrap();
        assert!(found.iter().all(|address| address.port() == 2222 && address.ip().is_loopback()), "{found:?}");
        let mut once = found.clone();
        once.dedup();
        assert!(!found.is_empty() && once == found, "{found:?}");
    }
}
