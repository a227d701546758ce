//! One command over one channel: input in full, end of file, everything that comes back, how it ended.
//!
//! Nothing is waited for that need not be: the input goes out as soon as the server gives room for it, be its answer to the
//! command there or not, and output is taken in meanwhile. In non-blocking mode every call to libssh2 may take in what
//! another one waits for: before each wait stands a look at what has come, and nothing after it.

use super::connect::{Link, is_pending};
use crate::{
    foreign::ForeignText,
    remote::{
        Error, Exit, Input, LARGEST_REPLY, Reply, Signal, preamble,
        sudo::{Dialogue, Step},
    },
    secret::{ExposeSecret, Secret},
};
use rustix::event::PollFlags;
use ssh2::{BlockDirections, Channel, ExtendedData};
use std::io::{self, Read, Write};

const STARTING: &str = "while the shell was started";
const RUNNING: &str = "while the script ran";
/// A reply of four files is some 2 kB.
const BUFFER: usize = 4 * 1024;

/// Runs `command` with `input` on its standard input.
///
/// # Errors
/// [`Error::ShellUnusable`] when the server starts no command, [`Error::ConnectionLost`], [`Error::TimedOut`].
pub(super) fn run(link: &mut Link, command: &str, input: Input) -> Result<Reply, Error> {
    run_with(link, command, input, None)
}

/// The same as root, through a sudo that asks for a password: two round trips more.
///
/// # Errors
/// As [`run`]; [`Error::BecomePassword`] and [`Error::BecomeFailed`].
pub(super) fn run_by_sudo(link: &mut Link, sudo: Dialogue<'_>, input: Input) -> Result<Reply, Error> {
    let command = sudo.command_line();
    run_with(link, &command, input, Some(sudo))
}

fn run_with(link: &mut Link, command: &str, input: Input, sudo: Option<Dialogue<'_>>) -> Result<Reply, Error> {
    link.session.set_blocking(false);
    let result = converse(link, command, input, sudo);
    if result.is_ok() {
        let _ = link.session.disconnect(None, "done", None);
    }
    // Freeing the session would wait for a peer that hangs.
    link.hang_up();
    result
}

fn converse(link: &Link, command: &str, input: Input, sudo: Option<Dialogue<'_>>) -> Result<Reply, Error> {
    let mut channel = finish(link, STARTING, || link.session.channel_session())?.map_err(|e| refused(link, &e))?;
    // Both streams share one window: a stream that nobody reads would stall the other.
    channel.handle_extended_data(ExtendedData::Merge).map_err(|e| refused(link, &e))?;
    let mut request = send_request(link, &mut channel, command)?;
    let (mut output, mut passwords) = (Vec::new(), Vec::new());
    if let Some(sudo) = sudo {
        grant(link, &mut channel, command, &mut request)?;
        let root = become_root(link, &mut channel, sudo)?;
        (output, passwords) = (root.said, root.passwords);
    }
    input.sent.set();
    let lead = preamble::lead(link.allow(RUNNING)?);
    for part in std::iter::once(lead.as_str()).chain(input.parts()) {
        write(link, &mut channel, part.as_bytes(), &mut output)?;
    }
    end_input(link, &mut channel)?;
    let sent: usize = input.parts().map(str::len).sum();
    // What follows may take long, and nobody needs it then.
    drop(input);
    grant(link, &mut channel, command, &mut request)?;
    tracing::debug!("{}: started `{command}`; {sent} bytes sent", link.endpoint);
    receive(link, &mut channel, &mut output)?;
    tracing::debug!("{}: {} bytes received", link.endpoint, output.len());
    finish(link, RUNNING, || channel.wait_close())?.map_err(|e| link.failed(RUNNING, &e))?;
    let signal = channel.exit_signal().map_err(|e| link.failed(RUNNING, &e))?.exit_signal;
    // A killed command reports status 0.
    let exit = match signal {
        Some(signal) => Exit::Signal(Signal::named(&signal)),
        None => Exit::Status(channel.exit_status().map_err(|e| link.failed(RUNNING, &e))?),
    };
    tracing::debug!("{}: ended with {exit:?}", link.endpoint);
    Ok(Reply { output, exit, attempts: 1, passwords })
}

/// Waits for the answer to the request, where it has not come.
fn grant(link: &Link, channel: &mut Channel, command: &str, request: &mut Request) -> Result<(), Error> {
    if *request == Request::Unanswered {
        finish(link, STARTING, || channel.exec(command))?.map_err(|e| refused(link, &e))?;
        *request = Request::Granted;
    }
    Ok(())
}

struct Root {
    said: Vec<u8>,
    passwords: Vec<Secret>,
}

/// Until root's shell reads, or sudo has ended: what is sent then goes nowhere, and what was said explains it.
fn become_root(link: &Link, channel: &mut Channel, mut sudo: Dialogue<'_>) -> Result<Root, Error> {
    let mut passwords = Vec::new();
    let mut buffer = [0; BUFFER];
    loop {
        let step = match channel.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => sudo.take(&buffer[..n]),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                link.wait(RUNNING).map_err(|silence| sudo.silence(silence))?;
                Step::Wait
            }
            Err(_) if link.is_over() => return Err(link.timed_out(RUNNING)),
            Err(e) => {
                return Err(Error::ConnectionLost { during: RUNNING, reason: ForeignText::message(&e.to_string()) });
            }
        };
        match step {
            Step::Wait => {}
            Step::Answer(line) => {
                write(link, channel, line.expose_secret().as_bytes(), &mut Vec::new())?;
                passwords.push(line);
            }
            Step::Go => break,
            Step::Stop(error) => {
                // To its end, so that sudo has no third question.
                end_input(link, channel)?;
                let _ = receive(link, channel, &mut Vec::new());
                return Err(error);
            }
        }
    }
    Ok(Root { said: sudo.into_said(), passwords })
}

/// Calls libssh2 until it no longer waits for the peer. The outer error: our time is over.
fn finish<T>(
    link: &Link,
    during: &'static str,
    mut call: impl FnMut() -> Result<T, ssh2::Error>,
) -> Result<Result<T, ssh2::Error>, Error> {
    loop {
        match call() {
            Err(e) if is_pending(&e) => link.wait(during)?,
            other => return Ok(other),
        }
    }
}

fn refused(link: &Link, error: &ssh2::Error) -> Error {
    match link.failed(STARTING, error) {
        Error::ConnectionLost { reason, .. } if !link.is_gone(error) => {
            Error::ShellUnusable { exit: "no command was started".to_owned(), said: reason }
        }
        other => other,
    }
}

#[derive(PartialEq, Eq)]
enum Request {
    Granted,
    /// It is sent; another call of `exec` gets the answer.
    Unanswered,
}

/// Sends the request to run `command`, and does not wait for the answer.
fn send_request(link: &Link, channel: &mut Channel, command: &str) -> Result<Request, Error> {
    loop {
        match channel.exec(command) {
            // All of it is sent: libssh2 waits to hear, not to send.
            Err(e) if is_pending(&e) && link.session.block_directions() == BlockDirections::Inbound => {
                return Ok(Request::Unanswered);
            }
            Err(e) if is_pending(&e) => link.wait(STARTING)?,
            other => return other.map(|()| Request::Granted).map_err(|e| refused(link, &e)),
        }
    }
}

fn end_input(link: &Link, channel: &mut Channel) -> Result<(), Error> {
    match finish(link, RUNNING, || channel.send_eof())? {
        Err(e) if link.is_gone(&e) => Err(link.failed(RUNNING, &e)),
        _ => Ok(()),
    }
}

fn write(link: &Link, channel: &mut Channel, input: &[u8], output: &mut Vec<u8>) -> Result<(), Error> {
    let mut rest = input;
    while !rest.is_empty() {
        match channel.write(rest) {
            Ok(sent) => rest = &rest[sent..],
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                let is_line_full = link.session.block_directions() != BlockDirections::Inbound;
                // Where the command has ended without reading, room for more never comes.
                if let Output::Ended = take_in(link, channel, output)? {
                    return Ok(());
                }
                if is_line_full {
                    link.wait_for(RUNNING, PollFlags::IN | PollFlags::OUT)?;
                } else if channel.write_window().remaining == 0 {
                    // What gives us room may have come just now: only if not is it waited for.
                    link.wait_for(RUNNING, PollFlags::IN)?;
                }
            }
            Err(_) if link.is_over() => return Err(link.timed_out(RUNNING)),
            // A command that ends without reading (nologin) closes the channel: what it said explains more.
            Err(_) => return Ok(()),
        }
    }
    Ok(())
}

fn receive(link: &Link, channel: &mut Channel, output: &mut Vec<u8>) -> Result<(), Error> {
    while let Output::SoFar = take_in(link, channel, output)? {
        link.wait(RUNNING)?;
    }
    Ok(())
}

enum Output {
    SoFar,
    Ended,
}

/// What has come by now.
fn take_in(link: &Link, channel: &mut Channel, output: &mut Vec<u8>) -> Result<Output, Error> {
    let mut buffer = [0; BUFFER];
    loop {
        match channel.read(&mut buffer) {
            Ok(0) => return Ok(Output::Ended),
            Ok(n) => output.extend_from_slice(&buffer[..n]),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(Output::SoFar),
            Err(_) if link.is_over() => return Err(link.timed_out(RUNNING)),
            Err(e) => {
                return Err(Error::ConnectionLost { during: RUNNING, reason: ForeignText::message(&e.to_string()) });
            }
        }
        if output.len() > LARGEST_REPLY {
            return Err(Error::ProtocolGarbled { reason: "it is too long", said: ForeignText::default() });
        }
    }
}
