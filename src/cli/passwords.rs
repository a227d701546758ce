//! The flags by which a password is given, and how each is read: typed at the terminal, from a private file, or from an
//! inherited file descriptor. Never from the command line or the environment, which others on this machine can read.

use super::{
    ask::{Terminal, read_line, to_secret},
    context::Context,
    failure::Failure,
};
use crate::{
    inherited::Descriptor,
    inventory::Host,
    remote::{HostRemote, Password, UnlockError, ssh::LockedKeys},
    secret::Secret,
};
use rustix::fs::{Mode, OFlags};
use std::{
    collections::{BTreeMap, btree_map::Entry},
    fs::File,
    io::{self, IsTerminal},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// How often a passphrase that does not fit is asked for.
const MOST_TRIES: usize = 3;

/// For each flag by itself: a heading of the whole would go on over the flags of whoever flattens it.
const HEADING: &str = "Passwords";

#[derive(Debug, clap::Args)]
pub(super) struct PasswordArgs {
    /// Ask for the password of the login users, for hosts that no key opens; no jump host is given it
    #[arg(long, help_heading = HEADING, conflicts_with_all = ["password_file", "password_fd"])]
    ask_pass: bool,
    /// Read that password from a file of yours that nobody else can read; - is standard input
    #[arg(long, help_heading = HEADING, value_name = "FILE", conflicts_with = "password_fd", hide_short_help = true)]
    password_file: Option<PathBuf>,
    /// Read it from this file descriptor: `--password-fd 3 3< <(pass ssh)`
    #[arg(long, help_heading = HEADING, value_name = "N", value_parser = parse_descriptor, hide_short_help = true)]
    password_fd: Option<u32>,
    /// Ask for the password that sudo wants; an empty answer is that of the login
    #[arg(long, help_heading = HEADING, conflicts_with_all = ["become_password_file", "become_password_fd"])]
    ask_become_pass: bool,
    /// Read the password for sudo from a file
    #[arg(long, help_heading = HEADING, value_name = "FILE", conflicts_with = "become_password_fd", hide_short_help = true)]
    become_password_file: Option<PathBuf>,
    /// Read the password for sudo from this file descriptor
    #[arg(long, help_heading = HEADING, value_name = "N", value_parser = parse_descriptor, hide_short_help = true)]
    become_password_fd: Option<u32>,
    /// Ask for the passphrase of each encrypted key file, even of those that another key makes up for
    #[arg(long, help_heading = HEADING, conflicts_with_all = ["key_passphrase_file", "key_passphrase_fd"])]
    ask_key_passphrase: bool,
    /// Read the passphrase of the encrypted key files from a file
    #[arg(long, help_heading = HEADING, value_name = "FILE", conflicts_with = "key_passphrase_fd", hide_short_help = true)]
    key_passphrase_file: Option<PathBuf>,
    /// Read the passphrase of the encrypted key files from this file descriptor
    #[arg(long, help_heading = HEADING, value_name = "N", value_parser = parse_descriptor, hide_short_help = true)]
    key_passphrase_fd: Option<u32>,
}

fn parse_descriptor(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(1 | 2) => Err("1 and 2 are standard output and error: pass another, as in `--password-fd 3 3<FILE`".into()),
        Ok(number) => Ok(number),
        Err(_) => Err("not the number of a file descriptor, such as 3".into()),
    }
}

/// Where a password comes from.
enum Source<'a> {
    Terminal,
    File(&'a Path),
    Descriptor(Descriptor),
}

impl<'a> Source<'a> {
    fn of(ask: bool, file: Option<&'a Path>, descriptor: Option<u32>) -> Option<Self> {
        match (file, descriptor) {
            _ if ask => Some(Self::Terminal),
            (_, Some(number)) => Some(Self::Descriptor(Descriptor::new(number))),
            (Some(path), None) => Some(Self::of_path(path)),
            (None, None) => None,
        }
    }

    /// What a shell writes for <(command) is a file descriptor too.
    fn of_path(path: &'a Path) -> Self {
        match Descriptor::of_path(path) {
            Some(descriptor) => Self::Descriptor(descriptor),
            None if path == Path::new("-") => Self::Descriptor(Descriptor::STDIN),
            None => Self::File(path),
        }
    }
}

/// What was given, once for the whole run.
pub(super) struct Passwords {
    pub(super) login: Option<Password>,
    pub(super) sudo: Option<Password>,
    passphrase: Passphrase,
}

enum Passphrase {
    /// Asked for where that is needed and somebody is there to answer.
    IfNeeded,
    Ask,
    Given(Secret),
}

impl PasswordArgs {
    /// Reads and asks for what the flags name, in the order login, sudo, key.
    pub(super) fn read(&self, context: &Context) -> Result<Passwords, Failure> {
        let mut reader = Reader { context, descriptors: BTreeMap::new() };
        let login = Source::of(self.ask_pass, self.password_file.as_deref(), self.password_fd);
        let login = login.map(|source| reader.read(&source, "SSH password: ")).transpose()?.map(Password::new);
        let sudo = Source::of(self.ask_become_pass, self.become_password_file.as_deref(), self.become_password_fd);
        let question = match login {
            Some(_) => "sudo password [that of SSH]: ",
            None => "sudo password: ",
        };
        let sudo = match (sudo, &login) {
            (Some(Source::Terminal), Some(login)) => {
                Some(reader.ask(question)?.map_or_else(|| login.clone(), Password::new))
            }
            (Some(source), _) => Some(Password::new(reader.read(&source, question)?)),
            (None, _) => None,
        };
        let key = Source::of(self.ask_key_passphrase, self.key_passphrase_file.as_deref(), self.key_passphrase_fd);
        let passphrase = match key {
            None => Passphrase::IfNeeded,
            Some(Source::Terminal) => Passphrase::Ask,
            Some(source) => Passphrase::Given(reader.read(&source, "")?),
        };
        Ok(Passwords { login, sudo, passphrase })
    }
}

impl Passwords {
    /// Opens the encrypted keys that `hosts` need, before any of them is reached.
    pub(super) fn unlock(&self, remote: &HostRemote, hosts: &[&Host], context: &Context) -> Result<(), Failure> {
        let which = match self.passphrase {
            Passphrase::IfNeeded if !context.output.is_interactive() => return Ok(()),
            Passphrase::IfNeeded => LockedKeys::Needed,
            Passphrase::Ask | Passphrase::Given(_) => LockedKeys::All,
        };
        let keys = remote.locked_keys(hosts.iter().copied(), which);
        match &self.passphrase {
            Passphrase::Given(passphrase) => unlock_with(passphrase, &keys, remote, context),
            Passphrase::IfNeeded | Passphrase::Ask if keys.is_empty() => Ok(()),
            Passphrase::IfNeeded | Passphrase::Ask => {
                let mut terminal = match (Terminal::open(), which) {
                    (Some(terminal), _) => terminal,
                    (None, LockedKeys::Needed) => return Ok(()),
                    (None, LockedKeys::All) => return Err(no_terminal()),
                };
                keys.iter().try_for_each(|key| unlock_by_asking(&mut terminal, key, remote, context))
            }
        }
    }
}

/// One passphrase for all: it must open one of them at least.
fn unlock_with(passphrase: &Secret, keys: &[PathBuf], remote: &HostRemote, context: &Context) -> Result<(), Failure> {
    let errors: Vec<UnlockError> = keys.iter().filter_map(|key| remote.unlock(key, passphrase).err()).collect();
    if errors.len() < keys.len() {
        for error in &errors {
            context.output.warn(&crate::secret::printable(&format!("{error}; other keys are tried")));
        }
    } else if let Some(error) = errors.into_iter().next() {
        return Err(locked(&error));
    }
    Ok(())
}

/// As ssh does: three tries, and an empty answer leaves the key locked.
fn unlock_by_asking(
    terminal: &mut Terminal,
    key: &Path,
    remote: &HostRemote,
    context: &Context,
) -> Result<(), Failure> {
    let question = format!("passphrase of {}: ", crate::secret::printable(&key.display().to_string()));
    for tries in 1.. {
        let Some(passphrase) = given(terminal.ask_secret(&question, &context.signals)?) else { return Ok(()) };
        match remote.unlock(key, &passphrase) {
            Err(UnlockError::WrongPassphrase { .. }) if tries < MOST_TRIES => {
                context.output.warn("it does not open the key; once more");
            }
            result => return result.map_err(|error| locked(&error)),
        }
    }
    Ok(())
}

fn locked(error: &UnlockError) -> Failure {
    Failure::bad_input(error.code(), error.to_string()).hint(error.hint())
}

fn no_terminal() -> Failure {
    Failure::bad_input("no_terminal", "there is no terminal to ask for a password on")
        .hint("give it in a file or by a file descriptor: --password-file, --password-fd and their likes; see --help")
}

/// `None` for an empty answer.
fn given(answer: Secret) -> Option<Secret> {
    (!Password::is_empty(&answer)).then_some(answer)
}

/// Two flags may name the same descriptor: each takes a line.
struct Reader<'a> {
    context: &'a Context<'a>,
    descriptors: BTreeMap<Descriptor, File>,
}

impl Reader<'_> {
    /// What is empty is no password.
    fn read(&mut self, source: &Source<'_>, question: &str) -> Result<Secret, Failure> {
        let (answer, place) = match source {
            Source::Terminal => (self.ask(question)?, "the answer".to_owned()),
            Source::File(path) => (given(self.read_file(path)?), path.display().to_string()),
            Source::Descriptor(descriptor) => {
                (given(self.read_descriptor(*descriptor)?), format!("file descriptor {}", descriptor.number()))
            }
        };
        answer.ok_or_else(|| {
            Failure::bad_input("password_unusable", format!("{place} holds no password"))
                .hint("the password is its first line")
        })
    }

    fn ask(&self, question: &str) -> Result<Option<Secret>, Failure> {
        let mut terminal = Terminal::open().ok_or_else(no_terminal)?;
        terminal.ask_secret(question, &self.context.signals).map(given)
    }

    fn read_file(&self, path: &Path) -> Result<Secret, Failure> {
        let name = path.display();
        let full = self.context.path(path);
        let unreadable = |e: io::Error| Failure::bad_input("password_unreadable", format!("cannot read {name}: {e}"));
        // Opening a FIFO would wait for a writer.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let mut file = File::from(rustix::fs::open(&full, flags, Mode::empty()).map_err(|e| unreadable(e.into()))?);
        let meta = file.metadata().map_err(unreadable)?;
        let refused = |what: String, hint: String| Failure::bad_input("password_unsafe", what).hint(hint);
        if !meta.is_file() {
            let hint = "name a file, or read another source with --password-fd N and its likes".to_owned();
            return Err(refused(format!("{name} is not a regular file"), hint));
        }
        let caller = rustix::process::geteuid().as_raw();
        if meta.uid() != caller && meta.uid() != 0 {
            let what = format!("{name} belongs to uid {}, and you are uid {caller}", meta.uid());
            return Err(refused(what, format!("a password file must be your own: `chown {caller} {name}`")));
        }
        if meta.mode() & 0o077 != 0 {
            let what = format!("{name} can be read or written by others (mode {:04o})", meta.mode() & 0o7777);
            return Err(refused(
                what,
                format!("`chmod 600 {name}`, and change the password if others may have read it"),
            ));
        }
        let line = read_line(&mut file).map_err(unreadable)?.unwrap_or_default();
        if read_line(&mut file).map_err(unreadable)?.is_some() {
            let hint = "a password file holds the password alone, as one line".to_owned();
            return Err(Failure::bad_input("password_unusable", format!("{name} has more than one line")).hint(hint));
        }
        to_secret(line, &name.to_string())
    }

    fn read_descriptor(&mut self, descriptor: Descriptor) -> Result<Secret, Failure> {
        if descriptor == Descriptor::STDIN {
            self.context.claim_stdin("a flag for passwords")?;
        }
        let number = descriptor.number();
        let place = format!("file descriptor {number}");
        let unreadable = |e: io::Error| {
            Failure::bad_input("password_unreadable", format!("cannot read {place}: {e}"))
                .hint(format!("open it for kubemint, as in `kubemint … {number}<FILE`"))
        };
        let file = match self.descriptors.entry(descriptor) {
            Entry::Occupied(open) => open.into_mut(),
            Entry::Vacant(empty) => empty.insert(descriptor.open_to_read().map_err(unreadable)?),
        };
        if file.is_terminal() {
            let what = format!("{place} is a terminal, which shows what is typed");
            return Err(Failure::bad_input("password_unsafe", what).hint("--ask-pass and its likes ask there"));
        }
        let line = read_line(file).map_err(unreadable)?;
        to_secret(line.unwrap_or_default(), &place)
    }
}
