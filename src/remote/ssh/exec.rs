//! One command over one channel: input in full, end of file, everything that comes back, how it ended.

use super::connect::Link;
use crate::{
    remote::{Error, Exit, LARGEST_REPLY, Reply},
    secret::{ExposeSecret, Secret, scrub},
};
use ssh2::{Channel, ExtendedData};
use std::io::{self, Read, Write};

const STARTING: &str = "while the shell was started";
const RUNNING: &str = "while the script ran";
/// libssh2 sends at most this much in one packet.
const CHUNK: usize = 32 * 1024;

/// Runs `command` with `input` on its standard input.
///
/// # Errors
/// [`Error::ShellUnusable`] when the server starts no command, [`Error::ConnectionLost`], [`Error::TimedOut`].
pub(super) fn run(link: &mut Link, command: &str, input: &Secret) -> Result<Reply, Error> {
    let refused = |error: &ssh2::Error| match link.failed(STARTING, error) {
        Error::ConnectionLost { reason, .. } if !link.is_gone(error) => {
            Error::ShellUnusable { exit: "no command was started".to_owned(), said: reason }
        }
        other => other,
    };
    link.allow(STARTING)?;
    let mut channel = link.open_channel().map_err(|e| refused(&e))?;
    let started = start(&mut channel, command).map_err(|e| refused(&e));
    if started.is_ok() {
        tracing::debug!("{}: started `{command}`", link.endpoint);
    }
    let result = started.and_then(|()| converse(link, &mut channel, input.expose_secret().as_bytes()));
    match result {
        Ok(_) => drop(link.session.disconnect(None, "done", None)),
        // Freeing the channel would wait for a peer that hangs.
        Err(_) => link.hang_up(),
    }
    result
}

fn start(channel: &mut Channel, command: &str) -> Result<(), ssh2::Error> {
    // Both streams share one window: a stream that nobody reads would stall the other.
    channel.handle_extended_data(ExtendedData::Merge)?;
    channel.exec(command)
}

fn converse(link: &Link, channel: &mut Channel, input: &[u8]) -> Result<Reply, Error> {
    send(link, channel, input)?;
    tracing::debug!("{}: {} bytes sent", link.endpoint, input.len());
    let output = receive(link, channel)?;
    tracing::debug!("{}: {} bytes received", link.endpoint, output.len());
    link.allow(RUNNING)?;
    channel.wait_close().map_err(|e| link.failed(RUNNING, &e))?;
    let signal = channel.exit_signal().map_err(|e| link.failed(RUNNING, &e))?.exit_signal;
    // A killed command reports status 0.
    let exit = match signal {
        Some(signal) => Exit::Signal(signal),
        None => Exit::Status(channel.exit_status().map_err(|e| link.failed(RUNNING, &e))?),
    };
    tracing::debug!("{}: ended with {}", link.endpoint, scrub(&format!("{exit:?}")));
    Ok(Reply { output, exit, attempts: 1 })
}

fn send(link: &Link, channel: &mut Channel, input: &[u8]) -> Result<(), Error> {
    for chunk in input.chunks(CHUNK) {
        link.allow(RUNNING)?;
        match channel.write_all(chunk) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::TimedOut || link.is_over() => return Err(link.timed_out(RUNNING)),
            // A command that ends without reading (nologin) closes the channel: what it said explains more.
            Err(_) => return Ok(()),
        }
    }
    link.allow(RUNNING)?;
    match channel.send_eof() {
        Err(e) if link.is_gone(&e) => Err(link.failed(RUNNING, &e)),
        _ => Ok(()),
    }
}

fn receive(link: &Link, channel: &mut Channel) -> Result<Vec<u8>, Error> {
    let mut output = Vec::new();
    let mut buffer = vec![0; CHUNK];
    loop {
        link.allow(RUNNING)?;
        match channel.read(&mut buffer) {
            Ok(0) => return Ok(output),
            Ok(n) => output.extend_from_slice(&buffer[..n]),
            Err(e) if e.kind() == io::ErrorKind::TimedOut || link.is_over() => return Err(link.timed_out(RUNNING)),
            Err(e) => return Err(Error::ConnectionLost { during: RUNNING, reason: e.to_string() }),
        }
        if output.len() > LARGEST_REPLY {
            return Err(Error::ProtocolGarbled { reason: "it is too long".into(), said: String::new() });
        }
    }
}
