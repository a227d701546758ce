//! Files outside the credential directory that a user names for output, such as `--prometheus FILE`.
//!
//! A regular file is written whole or not at all. A device, a FIFO or an open descriptor is written to as it is, and never
//! replaced; a symbolic link is followed, unless another user could have made it; a directory or socket is refused. What
//! goes to standard output or standard error is left to the printer.

use super::{Error, TrustedUsers, atomic};
use crate::inherited::{Descriptor, wait_as_usual};
use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
};
use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::FileTypeExt,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

/// As the kernel: more links in a row are a circle.
const MOST_LINKS: usize = 40;
/// How long a FIFO's reader is waited for, since `reader FIFO & kubemint …` starts both at once.
const PATIENCE: Duration = Duration::from_secs(10);
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

/// What is done where a regular file is already there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    Replaced,
    Refused,
}

/// Where output goes that the printer writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    Output,
    Errors,
}

/// A place for output, looked at before anything is done.
#[derive(Debug)]
pub struct OutputFile {
    named: PathBuf,
    place: Place,
    existing: Existing,
}

#[derive(Debug, PartialEq, Eq)]
enum Place {
    Stream(Stream),
    Descriptor(Descriptor),
    /// A device or FIFO.
    Special,
    /// A regular file, there or not, with links followed.
    Regular(PathBuf),
}

impl OutputFile {
    /// Looks at what is at an absolute `path`; nothing is changed.
    ///
    /// # Errors
    /// [`Error::Io`]: it is a directory or socket, or could not be written beside; [`Error::ForeignLink`];
    /// [`Error::Exists`] where an existing file is to be refused.
    pub fn look_at(path: &Path, existing: Existing, users: &TrustedUsers) -> Result<Self, Error> {
        let place = match Descriptor::of_path(path) {
            Some(Descriptor::STDOUT) => Place::Stream(Stream::Output),
            Some(Descriptor::STDERR) => Place::Stream(Stream::Errors),
            Some(other) => Place::Descriptor(other),
            None => look_at_name(path, existing, users)?,
        };
        let this = Self { named: path.to_owned(), place, existing };
        if let Place::Regular(target) = &this.place {
            atomic::check_writable(target)?;
        }
        Ok(this)
    }

    /// Standard output, as `-` names it.
    #[must_use]
    pub fn standard_output() -> Self {
        Self { named: PathBuf::from("-"), place: Place::Stream(Stream::Output), existing: Existing::Replaced }
    }

    /// The stream that the printer is to write to, in place of [`Self::write`].
    #[must_use]
    pub fn stream(&self) -> Option<Stream> {
        match self.place {
            Place::Stream(stream) => Some(stream),
            Place::Descriptor(_) | Place::Special | Place::Regular(_) => None,
        }
    }

    /// Writes all of `content`; a regular file becomes one of mode 0644.
    ///
    /// # Errors
    /// [`Error::Io`]: a regular file is as it was then; a FIFO has no reader, or lost it; a stream is not written here.
    /// [`Error::Exists`] where an existing file is to be refused.
    pub fn write(&self, content: &[u8]) -> Result<(), Error> {
        let fail = |e: io::Error| Error::io("write", &self.named, e);
        match &self.place {
            Place::Stream(_) => Err(fail(io::ErrorKind::Unsupported.into())),
            Place::Descriptor(descriptor) => {
                descriptor.open_to_write().and_then(|mut file| file.write_all(content)).map_err(fail)
            }
            Place::Special => open_special(&self.named).and_then(|mut file| file.write_all(content)).map_err(fail),
            Place::Regular(target) => match self.existing {
                Existing::Replaced => atomic::replace_public_file(target, content),
                Existing::Refused => atomic::write_new_file(target, content, 0o644),
            },
        }
    }
}

fn look_at_name(path: &Path, existing: Existing, users: &TrustedUsers) -> Result<Place, Error> {
    let is_link = |path: &Path| path.symlink_metadata().is_ok_and(|meta| meta.file_type().is_symlink());
    let mut target = path.to_owned();
    for _ in 0..MOST_LINKS {
        if !is_link(&target) {
            return look_at_target(path, target, existing);
        }
        // Followed, a link that somebody else put into /tmp would let them choose the file.
        if users.may_be_foreign_link(&target) {
            return Err(Error::ForeignLink { path: target });
        }
        let next = fs::read_link(&target).map_err(|e| Error::io("follow", &target, e))?;
        target = target.parent().unwrap_or(Path::new("/")).join(next);
    }
    Err(Error::io("follow", path, Errno::LOOP.into()))
}

fn look_at_target(path: &Path, target: PathBuf, existing: Existing) -> Result<Place, Error> {
    let kind = match fs::symlink_metadata(&target) {
        Err(e) if e.kind() == io::ErrorKind::NotFound && target == path => return Ok(Place::Regular(target)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => None,
        other => Some(other.map_err(|e| Error::io("write", path, e))?.file_type()),
    };
    match kind {
        Some(kind) if kind.is_char_device() || kind.is_block_device() || kind.is_fifo() => Ok(Place::Special),
        Some(kind) if kind.is_dir() => Err(Error::io("write", path, io::ErrorKind::IsADirectory.into())),
        Some(kind) if kind.is_socket() => {
            Err(Error::io("write", path, io::Error::new(io::ErrorKind::Unsupported, "it is a socket")))
        }
        // A link is something that exists, whatever it leads to.
        _ if existing == Existing::Refused => Err(Error::Exists { path: path.to_owned() }),
        _ => Ok(Place::Regular(target)),
    }
}

/// Opened for writing and nothing else: neither made, nor emptied, nor replaced.
fn open_special(path: &Path) -> io::Result<File> {
    let flags = OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
    let end = Instant::now() + PATIENCE;
    let file = loop {
        match rustix::fs::open(path, flags, Mode::empty()) {
            Err(Errno::NXIO) if Instant::now() < end => thread::sleep(BETWEEN_LOOKS),
            Err(Errno::NXIO) => {
                let reason = format!("nothing has read from it for {} s", PATIENCE.as_secs());
                return Err(io::Error::new(io::ErrorKind::TimedOut, reason));
            }
            other => break File::from(other?),
        }
    };
    if file.metadata()?.is_file() {
        return Err(io::Error::other("it became a regular file"));
    }
    wait_as_usual(&file)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        io::Read,
        os::unix::{fs::symlink, net::UnixListener},
    };

    fn look_at(path: &Path, existing: Existing) -> Result<OutputFile, Error> {
        OutputFile::look_at(path, existing, &TrustedUsers::of_process(None))
    }

    fn world() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().canonicalize().unwrap();
        (dir, path)
    }

    fn mkfifo(path: &Path) {
        rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, Mode::from(0o600), 0).unwrap();
    }

    #[test]
    fn links_are_followed_to_a_file_that_is_there_or_not() {
        let (_dir, top) = world();
        fs::create_dir(top.join("to")).unwrap();
        symlink("to/file", top.join("link")).unwrap();
        symlink("link", top.join("second")).unwrap();
        for content in ["first", "second"] {
            look_at(&top.join("second"), Existing::Replaced).unwrap().write(content.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(top.join("to/file")).unwrap(), content);
            assert_eq!(fs::read_link(top.join("second")).unwrap(), Path::new("link"));
        }
        for existing in ["link", "second", "to/file"] {
            let refused = look_at(&top.join(existing), Existing::Refused);
            assert!(matches!(refused, Err(Error::Exists { .. })), "{existing}: {refused:?}");
        }
    }

    #[test]
    fn a_link_in_a_directory_of_everybody_is_refused() {
        let (_dir, top) = world();
        fs::write(top.join("file"), "old").unwrap();
        let open = top.join("open");
        fs::create_dir(&open).unwrap();
        symlink("../file", open.join("link")).unwrap();
        fs::set_permissions(&open, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
        let refused = look_at(&open.join("link"), Existing::Replaced).unwrap_err();
        assert!(matches!(refused, Error::ForeignLink { .. }), "{refused}");
        assert_eq!(fs::read_to_string(top.join("file")).unwrap(), "old");
    }

    #[test]
    fn directories_and_sockets_are_refused() {
        let (_dir, top) = world();
        let _socket = UnixListener::bind(top.join("socket")).unwrap();
        symlink("socket", top.join("link")).unwrap();
        symlink(".", top.join("here")).unwrap();
        symlink("round", top.join("round")).unwrap();
        for name in ["", "socket", "link", "here", "round", "none/file"] {
            let refused = look_at(&top.join(name), Existing::Replaced);
            assert!(matches!(refused, Err(Error::Io { .. })), "{name}: {refused:?}");
        }
    }

    #[test]
    fn a_fifo_gets_the_content_and_stays_one() {
        let (_dir, top) = world();
        let fifo = top.join("fifo");
        mkfifo(&fifo);
        symlink("fifo", top.join("link")).unwrap();
        for name in ["fifo", "link"] {
            let reader = thread::spawn({
                let fifo = fifo.clone();
                move || fs::read_to_string(fifo).unwrap()
            });
            look_at(&top.join(name), Existing::Refused).unwrap().write(b"content").unwrap();
            assert_eq!(reader.join().unwrap(), "content");
            assert!(fs::symlink_metadata(&fifo).unwrap().file_type().is_fifo());
        }
    }

    #[test]
    fn a_fifo_whose_reader_left_is_an_error() {
        let (_dir, top) = world();
        let fifo = top.join("fifo");
        mkfifo(&fifo);
        let output = look_at(&fifo, Existing::Replaced).unwrap();
        let reader = thread::spawn(move || fs::File::open(fifo).unwrap().read(&mut [0]).unwrap());
        let error = output.write(&vec![b'x'; 4 << 20]).unwrap_err();
        assert!(matches!(&error, Error::Io { source, .. } if source.kind() == io::ErrorKind::BrokenPipe), "{error}");
        assert_eq!(reader.join().unwrap(), 1);
    }

    #[test]
    fn the_null_device_takes_everything_and_streams_are_left_to_the_printer() {
        look_at(Path::new("/dev/null"), Existing::Refused).unwrap().write(b"x").unwrap();
        assert!(fs::symlink_metadata("/dev/null").unwrap().file_type().is_char_device());
        let stream = |path: &str| look_at(Path::new(path), Existing::Replaced).unwrap().stream();
        assert_eq!(stream("/dev/stdout"), Some(Stream::Output));
        assert_eq!(stream("/proc/self/fd/2"), Some(Stream::Errors));
        assert_eq!(OutputFile::standard_output().stream(), Some(Stream::Output));
    }
}
