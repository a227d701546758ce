//! TCP connections: a name's addresses, one after the other, within one deadline for all of it.

use super::{
    connect::{Failure, display_endpoint, handshake_error},
    resolve::{Resolver, Unresolved},
};
use crate::{foreign::ForeignText, remote::Error};
use std::{
    io,
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

const DURING: &str = "to connect to the host with";

/// Connects to `address`, a name or an IP address.
///
/// # Errors
/// [`Error::DnsFailed`], [`Error::DnsBusy`], [`Error::ConnectRefused`], [`Error::ConnectTimeout`],
/// [`Error::Unreachable`]; or that the peer hung up at once.
pub(super) fn connect(address: &str, port: u16, limit: Duration, resolver: &Resolver) -> Result<TcpStream, Failure> {
    let endpoint = display_endpoint(address, port);
    let started = Instant::now();
    let end = started + limit;
    let addresses = resolver.addresses(address, end).map_err(|e| {
        let (address, too_slow) = (address.to_owned(), format!("no answer within {} s", limit.as_secs()));
        match e {
            Unresolved::Busy(reason) => Error::DnsBusy { address, reason: ForeignText::message(&reason) },
            Unresolved::Failed(reason) => Error::DnsFailed { address, reason: ForeignText::message(&reason) },
            Unresolved::Exhausted(resource) => {
                let reason = ForeignText::name(format!("{address} is still to be resolved"));
                Error::Exhausted { resource, during: DURING, reason }
            }
            Unresolved::TooSlow => Error::DnsFailed { address, reason: ForeignText::name(too_slow) },
        }
    })?;
    let mut worst: Option<io::Error> = None;
    for (n, address) in addresses.iter().enumerate() {
        // A fair share each, so that one black hole does not use up the time of the others.
        let left = end.saturating_duration_since(Instant::now());
        let share = left / u32::try_from(addresses.len() - n).unwrap_or(1);
        let address = SocketAddr::new(*address, port);
        let result = TcpStream::connect_timeout(&address, share.max(Duration::from_millis(1)));
        let took = started.elapsed().as_millis();
        match result {
            Ok(stream) => {
                let _ = stream.set_nodelay(true);
                tracing::debug!("{endpoint}: connected to {address} after {took} ms");
                return Ok(stream);
            }
            Err(e) => {
                tracing::debug!("{endpoint}: no connection to {address} after {took} ms: {e}");
                // A refusal says more than silence: something is there.
                if worst.as_ref().is_none_or(|w| w.kind() != io::ErrorKind::ConnectionRefused) {
                    worst = Some(e);
                }
            }
        }
    }
    if let Some(error) = worst.as_ref().and_then(|e| Error::exhausted(e, DURING)) {
        return Err(Failure::Final(error));
    }
    Err(Failure::Final(match worst {
        Some(e) if e.kind() == io::ErrorKind::ConnectionRefused => Error::ConnectRefused { endpoint },
        // It was there, and hung up before we looked.
        Some(e) if e.kind() == io::ErrorKind::ConnectionReset => {
            let reason = format!("it hung up before the login: {e}");
            return Err(Failure::DroppedBeforeLogin(handshake_error(&endpoint, &reason)));
        }
        Some(e) if e.kind() != io::ErrorKind::TimedOut => {
            Error::Unreachable { endpoint, reason: ForeignText::message(&e.to_string()) }
        }
        _ => Error::ConnectTimeout { endpoint, seconds: limit.as_secs() },
    }))
}
