//! This machine as a host: the same script, given to `sh` on its standard input. Its environment holds PATH only, so
//! that nothing of the caller's session changes what it does.

use super::{
    Deadlines, Effect, Error, Exit, Input, LARGEST_REPLY, Password, Peer, Remote, Reply, Script,
    Signal as RemoteSignal, lengthened, preamble,
    sudo::{Dialogue, Step},
};
use crate::{
    foreign::ForeignText,
    inventory::{Host, Privilege},
    secret::{ExposeSecret, Secret},
};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid};
use std::{
    borrow::Cow,
    io::{self, Read, Write, pipe},
    os::unix::process::{CommandExt, ExitStatusExt},
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel, sync_channel},
    thread,
    time::{Duration, Instant},
};

/// Enough for the threads that read and write, which hold a buffer.
const STACK_BYTES: usize = 128 * 1024;
/// Longer than a script that is over its limit takes to end (templates/guard.sh).
const GRACE: Duration = Duration::from_secs(12);
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

/// Runs scripts on this machine.
#[derive(Debug, Clone)]
pub struct LocalRemote {
    deadlines: Deadlines,
    shell: Vec<String>,
    sudo: String,
    sudo_password: Option<Password>,
}

impl LocalRemote {
    #[must_use]
    pub fn new(deadlines: Deadlines) -> Self {
        Self { deadlines, shell: vec!["sh".to_owned()], sudo: "sudo".to_owned(), sudo_password: None }
    }

    /// Another program than `sh`, with its arguments: it gets `-s` and the script on its standard input.
    #[must_use]
    pub fn with_shell(self, shell: &[&str]) -> Self {
        Self { shell: shell.iter().map(|&word| word.to_owned()).collect(), ..self }
    }

    /// Another program than `sudo`.
    #[must_use]
    pub fn with_sudo(self, program: &str) -> Self {
        Self { sudo: program.to_owned(), ..self }
    }

    /// For a sudo that asks.
    #[must_use]
    pub fn with_sudo_password(self, password: Option<Password>) -> Self {
        Self { sudo_password: password, ..self }
    }

    fn dialogue(&self, host: &Host) -> Result<Option<Dialogue<'_>>, Error> {
        let password = self.sudo_password.as_ref().filter(|_| host.privilege == Privilege::Sudo);
        // sudo asks for the password of the one who calls it.
        password.map(|password| Dialogue::new(password, "the user", self.deadlines.idle)).transpose()
    }

    /// The program and its arguments.
    fn words(&self, host: &Host, sudo: Option<&Dialogue<'_>>) -> Vec<Cow<'_, str>> {
        let shell = || self.shell.iter().map(|word| Cow::from(word.as_str())).chain(["-s".into()]);
        match (sudo, host.privilege) {
            (Some(sudo), _) => sudo.words_for(&self.sudo, &self.shell),
            (None, Privilege::AsLoggedIn) => shell().collect(),
            (None, Privilege::Sudo) => {
                [self.sudo.as_str(), "-n", "--"].map(Cow::from).into_iter().chain(shell()).collect()
            }
        }
    }

    fn spawn(words: &[Cow<'_, str>], output: io::PipeWriter) -> io::Result<Child> {
        let (program, arguments) = words.split_first().ok_or(io::ErrorKind::NotFound)?;
        let errors = output.try_clone()?;
        Command::new(&**program)
            .args(arguments.iter().map(|word| &**word))
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
    fn run_long_script(&self, host: &Host, script: &Script<'_>, time: Duration) -> Result<Reply, Error> {
        Self { deadlines: lengthened(self.deadlines, time), ..self.clone() }.run_script(host, script)
    }

    fn run_script(&self, host: &Host, script: &Script<'_>) -> Result<Reply, Error> {
        let failed = |e: io::Error| {
            let exhausted = Error::exhausted(&e, "to start a shell with");
            exhausted.unwrap_or_else(|| Error::LocalShell { reason: ForeignText::message(&e.to_string()) })
        };
        let end = Instant::now() + self.deadlines.host;
        let input = script(&Peer { host_key: None, end })?;
        let sudo = self.dialogue(host)?;
        let (mut reader, writer) = pipe().map_err(failed)?;
        // Threads of their own: after a deadline nobody waits for a root process that we may not kill. And before the
        // process: where there are no more threads, nothing was begun.
        let stdin = Writer::start().map_err(failed)?;
        let (send, chunks) = sync_channel(16);
        spawn_thread("local-reader", move || {
            let mut buffer = [0; 16 * 1024];
            while let Ok(n @ 1..) = reader.read(&mut buffer) {
                if send.send(buffer[..n].to_vec()).is_err() {
                    break;
                }
            }
        })
        .map_err(failed)?;
        let mut child = Self::spawn(&self.words(host, sudo.as_ref()), writer).map_err(failed)?;
        let stdin = child.stdin.take().map(|input| stdin.write_to(input));
        match self.converse(stdin, &chunks, end, sudo, &input) {
            Ok((output, passwords)) => {
                Ok(Reply { output, exit: exit_of(child.wait().map_err(failed)?), attempts: 1, passwords })
            }
            Err(error) => {
                end_group(child, input.sent.effect());
                Err(error)
            }
        }
    }
}

/// A thread that writes to a process that is still to be started.
struct Writer {
    input: Sender<ChildStdin>,
    texts: Sender<Secret>,
}

impl Writer {
    fn start() -> io::Result<Self> {
        let (input, coming) = channel::<ChildStdin>();
        let (texts, receive) = channel::<Secret>();
        spawn_thread("local-writer", move || {
            if let Ok(mut stdin) = coming.recv() {
                let _ = receive.iter().try_for_each(|text| stdin.write_all(text.expose_secret().as_bytes()));
            }
        })?;
        Ok(Self { input, texts })
    }

    /// What is sent to the result is written there; the input ends when it is dropped.
    fn write_to(self, stdin: ChildStdin) -> Sender<Secret> {
        let _ = self.input.send(stdin);
        self.texts
    }
}

/// An error where there are no more threads, which `thread::spawn` would panic for.
fn spawn_thread(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name(name.to_owned()).stack_size(STACK_BYTES).spawn(work).map(drop)
}

impl LocalRemote {
    fn converse(
        &self,
        stdin: Option<Sender<Secret>>,
        chunks: &Receiver<Vec<u8>>,
        end: Instant,
        sudo: Option<Dialogue<'_>>,
        input: &Input,
    ) -> Result<(Vec<u8>, Vec<Secret>), Error> {
        let say = |text: Secret| drop(stdin.as_ref().map(|stdin| stdin.send(text)));
        let (mut output, mut passwords) = (Vec::new(), Vec::new());
        if let Some(mut sudo) = sudo {
            loop {
                let chunk = self.next_chunk(chunks, end).map_err(|silence| sudo.silence(silence))?;
                match chunk.map(|chunk| sudo.take(&chunk)) {
                    Some(Step::Wait) => {}
                    Some(Step::Answer(line)) => {
                        passwords.push(line.clone());
                        say(line);
                    }
                    Some(Step::Stop(error)) => {
                        // To its end, so that sudo has no third question.
                        drop(stdin);
                        while let Ok(Some(_)) = self.next_chunk(chunks, end) {}
                        return Err(error);
                    }
                    // Or sudo has ended: what was said explains it.
                    Some(Step::Go) | None => break,
                }
            }
            output = sudo.into_said();
        }
        input.sent.set();
        let left = end.saturating_duration_since(Instant::now()).min(self.deadlines.idle);
        say(Secret::from(preamble::lead(left)));
        input.parts().for_each(|part| say(Secret::from(part)));
        drop(stdin);
        while let Some(chunk) = self.next_chunk(chunks, end)? {
            output.extend(chunk);
            if output.len() > LARGEST_REPLY {
                return Err(Error::ProtocolGarbled { reason: "it is too long", said: ForeignText::default() });
            }
        }
        Ok((output, passwords))
    }

    /// `None` at the end.
    fn next_chunk(&self, chunks: &Receiver<Vec<u8>>, end: Instant) -> Result<Option<Vec<u8>>, Error> {
        let left = end.saturating_duration_since(Instant::now());
        match chunks.recv_timeout(left.min(self.deadlines.idle)) {
            Ok(chunk) => Ok(Some(chunk)),
            Err(RecvTimeoutError::Disconnected) => Ok(None),
            Err(RecvTimeoutError::Timeout) => Err(timed_out(left, self.deadlines)),
        }
    }
}

/// Ends a shell that nobody waits for any more, and what it called. One that has the script is asked first: between two
/// renames it goes on, up to its own time limit.
fn end_group(mut child: Child, effect: Effect) {
    let leader = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let Some(leader) = leader else { return };
    let has_script = effect == Effect::Unknown;
    // A shell with root's rights answers to root alone: it is left to its own limit.
    let _ = if has_script { kill_process(leader, Signal::TERM) } else { kill_process_group(leader, Signal::KILL) };
    // Without a thread it is left to the system, once this process ends.
    let _ = spawn_thread("local-reaper", move || {
        let end = Instant::now() + GRACE;
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        while has_script && Instant::now() < end && matches!(waitid(WaitId::Pid(leader), options), Ok(None)) {
            thread::sleep(BETWEEN_LOOKS);
        }
        // The leader is not reaped yet, so that the number is still its group's.
        let _ = kill_process_group(leader, Signal::KILL);
        let _ = child.wait();
    });
}

fn timed_out(left: Duration, deadlines: Deadlines) -> Error {
    let reason = if left < deadlines.idle {
        format!("not done after {} s", deadlines.host.as_secs())
    } else {
        format!("nothing heard for {} s", deadlines.idle.as_secs())
    };
    Error::TimedOut { during: "while the script ran", reason: ForeignText::name(reason) }
}

fn exit_of(status: ExitStatus) -> Exit {
    match (status.code(), status.signal()) {
        (Some(code), _) => Exit::Status(code),
        (None, signal) => Exit::Signal(signal.map_or(RemoteSignal::Unknown, RemoteSignal::numbered)),
    }
}
