//! This machine as a host: the same script, given to `sh` on its standard input. Its environment holds PATH only, so
//! that nothing of the caller's session changes what it does.

use super::{Deadlines, Error, Exit, LARGEST_REPLY, Peer, Remote, Reply, Script};
use crate::{
    inventory::{Host, Privilege},
    secret::ExposeSecret,
};
use rustix::process::{Pid, Signal, kill_process_group};
use std::{
    io::{Read, Write, pipe},
    os::unix::process::{CommandExt, ExitStatusExt},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, sync_channel},
    thread,
    time::{Duration, Instant},
};

/// Runs scripts on this machine.
#[derive(Debug, Clone)]
pub struct LocalRemote {
    deadlines: Deadlines,
    shell: Vec<String>,
}

impl LocalRemote {
    #[must_use]
    pub fn new(deadlines: Deadlines) -> Self {
        Self { deadlines, shell: vec!["sh".to_owned()] }
    }

    /// Another program than `sh`, with its arguments: it gets `-s` and the script on its standard input.
    #[must_use]
    pub fn with_shell(self, shell: &[&str]) -> Self {
        Self { shell: shell.iter().map(|&word| word.to_owned()).collect(), ..self }
    }

    fn spawn(&self, host: &Host, output: std::io::PipeWriter) -> std::io::Result<Child> {
        let sudo: &[&str] = match host.privilege {
            Privilege::AsLoggedIn => &[],
            Privilege::Sudo => &["sudo", "-n", "--"],
        };
        let mut words = sudo.iter().copied().chain(self.shell.iter().map(String::as_str)).chain(["-s"]);
        let errors = output.try_clone()?;
        Command::new(words.next().unwrap_or("sh"))
            .args(words)
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(output)
            .stderr(errors)
            // A Ctrl-C at the terminal is for us alone: what was begun on a host is finished.
            .process_group(0)
            .spawn()
    }
}

impl Remote for LocalRemote {
    fn run_script(&self, host: &Host, script: &Script<'_>) -> Result<Reply, Error> {
        let failed = |e: std::io::Error| Error::LocalShell { reason: e.to_string() };
        let end = Instant::now() + self.deadlines.host;
        let input = script(&Peer { host_key: None })?;
        let (mut reader, writer) = pipe().map_err(failed)?;
        let mut child = self.spawn(host, writer).map_err(failed)?;
        let stdin = child.stdin.take();
        let (send, chunks) = sync_channel(16);
        // Threads of their own: after a deadline nobody waits for a root process that we may not kill.
        thread::spawn(move || stdin.map(|mut stdin| stdin.write_all(input.expose_secret().as_bytes())));
        thread::spawn(move || {
            let mut buffer = [0; 16 * 1024];
            while let Ok(n @ 1..) = reader.read(&mut buffer) {
                if send.send(buffer[..n].to_vec()).is_err() {
                    break;
                }
            }
        });
        match self.collect(&chunks, end) {
            Ok(output) => Ok(Reply { output, exit: exit_of(child.wait().map_err(failed)?), attempts: 1 }),
            Err(error) => {
                kill_group(&child);
                thread::spawn(move || child.wait());
                Err(error)
            }
        }
    }
}

impl LocalRemote {
    fn collect(&self, chunks: &Receiver<Vec<u8>>, end: Instant) -> Result<Vec<u8>, Error> {
        let mut output = Vec::new();
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match chunks.recv_timeout(left.min(self.deadlines.idle)) {
                Ok(chunk) => output.extend(chunk),
                Err(RecvTimeoutError::Disconnected) => return Ok(output),
                Err(RecvTimeoutError::Timeout) => return Err(timed_out(left, self.deadlines)),
            }
            if output.len() > LARGEST_REPLY {
                return Err(Error::ProtocolGarbled { reason: "it is too long".into(), said: String::new() });
            }
        }
    }
}

/// The shell and what it called, in so far as they are ours to kill.
fn kill_group(leader: &Child) {
    if let Some(group) = i32::try_from(leader.id()).ok().and_then(Pid::from_raw) {
        let _ = kill_process_group(group, Signal::KILL);
    }
}

fn timed_out(left: Duration, deadlines: Deadlines) -> Error {
    let reason = if left < deadlines.idle {
        format!("not done after {} s", deadlines.host.as_secs())
    } else {
        format!("nothing heard for {} s", deadlines.idle.as_secs())
    };
    Error::TimedOut { during: "while the script ran", reason }
}

fn exit_of(status: ExitStatus) -> Exit {
    match (status.code(), status.signal()) {
        (Some(code), _) => Exit::Status(code),
        (None, Some(9)) => Exit::Signal("KILL".to_owned()),
        (None, Some(15)) => Exit::Signal("TERM".to_owned()),
        (None, signal) => Exit::Signal(signal.unwrap_or_default().to_string()),
    }
}
