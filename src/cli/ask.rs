//! Questions whose answer must not be seen: asked on the terminal itself (/dev/tty), whatever standard input and output
//! are. The terminal shows what is typed again however the question ends, by an answer, an error, Ctrl-C or a signal.

use super::{failure::Failure, signals::Signals};
use crate::secret::Secret;
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};
use std::{
    fs::File,
    io::{self, Read, Write},
};
use zeroize::Zeroizing;

/// sudo and sshd take less.
const LONGEST_PASSWORD: usize = 1024;
/// Turns a special character off (POSIX, `_POSIX_VDISABLE`).
const NO_CHARACTER: u8 = if cfg!(target_os = "macos") { 0xff } else { 0 };

/// The terminal of this process.
pub(super) struct Terminal {
    tty: File,
}

impl Terminal {
    /// `None` where there is none.
    pub(super) fn open() -> Option<Self> {
        let tty = File::options().read(true).write(true).open("/dev/tty").ok()?;
        Some(Self { tty })
    }

    /// Asks, and reads a line that is not shown; it may be empty.
    pub(super) fn ask_secret(&mut self, question: &str, signals: &Signals) -> Result<Secret, Failure> {
        self.ask(question, signals).map_err(|e| {
            let hint = "a password can also be given in a file or by a file descriptor: see --help";
            Failure::bad_input("no_answer", format!("no answer to \"{question}\": {e}")).hint(hint)
        })?
    }

    fn ask(&mut self, question: &str, signals: &Signals) -> io::Result<Result<Secret, Failure>> {
        let shown = tcgetattr(&self.tty)?;
        let (tty, before) = (self.tty.try_clone()?, shown.clone());
        // Held until the end: first what a signal does is settled, then the terminal is changed.
        let _guard = signals.restore_first(move || drop(restore(&tty, &before)))?;
        let _shown = Shown { tty: self.tty.try_clone()?, before: shown.clone() };
        let mut hidden = shown;
        hidden.local_modes.remove(LocalModes::ECHO);
        hidden.local_modes.insert(LocalModes::ECHONL | LocalModes::ICANON | LocalModes::ISIG);
        // A stopped process could come back to a terminal that shows what is typed.
        hidden.special_codes[SpecialCodeIndex::VSUSP] = NO_CHARACTER;
        // What was typed before the question is no answer to it.
        tcsetattr(&self.tty, OptionalActions::Flush, &hidden)?;
        self.tty.write_all(question.as_bytes())?;
        let line = read_line(&mut self.tty)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok(to_secret(line, "the answer"))
    }
}

/// Puts the terminal right when dropped.
struct Shown {
    tty: File,
    before: Termios,
}

impl Drop for Shown {
    fn drop(&mut self) {
        let _ = restore(&self.tty, &self.before);
    }
}

fn restore(tty: &File, before: &Termios) -> io::Result<()> {
    Ok(tcsetattr(tty, OptionalActions::Now, before)?)
}

/// One line without its end, byte by byte: what follows belongs to another reader. `None` at the end of the input.
pub(super) fn read_line(input: &mut File) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
    // Room for all of it: growing would leave copies behind.
    let mut line = Zeroizing::new(Vec::with_capacity(LONGEST_PASSWORD + 2));
    let mut byte = Zeroizing::new([0]);
    loop {
        match input.read(&mut *byte) {
            Ok(0) if line.is_empty() => return Ok(None),
            Ok(0) => break,
            Ok(_) if byte[0] == b'\n' => break,
            Ok(_) if line.len() > LONGEST_PASSWORD => {
                return Err(io::Error::other(format!("it is longer than {LONGEST_PASSWORD} bytes")));
            }
            Ok(_) => line.push(byte[0]),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Ok(Some(line))
}

/// `place` is what errors call it.
pub(super) fn to_secret(mut line: Zeroizing<Vec<u8>>, place: &str) -> Result<Secret, Failure> {
    let unusable = |what: &str| Failure::bad_input("password_unusable", format!("{place} {what}"));
    if line.contains(&0) {
        return Err(unusable("holds a NUL byte"));
    }
    String::from_utf8(std::mem::take(&mut *line)).map(Secret::from).map_err(|e| {
        drop(Zeroizing::new(e.into_bytes()));
        unusable("is not UTF-8 text")
    })
}
