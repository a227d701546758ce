//! Files that the caller hands over open: /dev/stdin, /dev/fd/N and /proc/self/fd/N, which shells also write for
//! `<(command)` and `>(command)`.
//!
//! Such a path names a descriptor of this process, whatever stands behind it. A pipe can be read once only, so what was
//! read is kept for the rest of the process: naming the same descriptor again gives the same bytes. Knows nothing
//! of what the content means.

use rustix::fs::{Mode, OFlags};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read},
    os::fd::AsFd,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};
use zeroize::Zeroizing;

/// As the kernel: more links in a row are a circle.
const MOST_LINKS: usize = 40;

/// A file descriptor that this process was started with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Descriptor(u32);

/// The content of a descriptor; `None`: it was larger than its reader's cap, and is gone.
type Content = Option<Arc<Zeroizing<Vec<u8>>>>;

static CONTENTS: Mutex<BTreeMap<Descriptor, Content>> = Mutex::new(BTreeMap::new());

impl Descriptor {
    pub const STDIN: Self = Self(0);
    pub const STDOUT: Self = Self(1);
    pub const STDERR: Self = Self(2);

    #[must_use]
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    #[must_use]
    pub const fn number(self) -> u32 {
        self.0
    }

    /// The descriptor that a path names, directly or by symbolic links; `None` for every other path.
    #[must_use]
    pub fn of_path(path: &Path) -> Option<Self> {
        let mut path = path.to_owned();
        for _ in 0..MOST_LINKS {
            match path.to_str() {
                // Also where the links of /dev are missing, as in a small container.
                Some("/dev/stdin") => return Some(Self::STDIN),
                Some("/dev/stdout") => return Some(Self::STDOUT),
                Some("/dev/stderr") => return Some(Self::STDERR),
                _ => {}
            }
            let folder = path.parent()?;
            if is_descriptor_folder(folder) {
                let name = path.file_name()?.to_str()?;
                return name.parse().ok().filter(|_| name.bytes().all(|b| b.is_ascii_digit())).map(Self);
            }
            path = folder.join(fs::read_link(&path).ok()?);
        }
        None
    }

    /// Opens it for reading, without waiting for anybody.
    ///
    /// # Errors
    /// Those of open(2); such as that there is no such descriptor.
    pub fn open_to_read(self) -> io::Result<File> {
        match self {
            // Opened again it would be denied where another user made the pipe, as with sudo.
            Self::STDIN => io::stdin().as_fd().try_clone_to_owned().map(File::from),
            _ => self.open_again(OFlags::RDONLY),
        }
    }

    /// Opens it for writing at its end.
    ///
    /// # Errors
    /// As [`Self::open_to_read`].
    pub fn open_to_write(self) -> io::Result<File> {
        self.open_again(OFlags::WRONLY | OFlags::APPEND)
    }

    fn open_again(self, how: OFlags) -> io::Result<File> {
        // A named FIFO that is opened again would wait for its other end.
        let flags = how | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = File::from(rustix::fs::open(format!("/dev/fd/{}", self.0), flags, Mode::empty())?);
        wait_as_usual(&file)?;
        Ok(file)
    }

    /// All of its content, read at the first call.
    ///
    /// # Errors
    /// [`io::ErrorKind::FileTooLarge`]: more than `cap` bytes, now or at the first call; or those of open(2) and read(2).
    pub fn read_once(self, cap: u64) -> io::Result<Arc<Zeroizing<Vec<u8>>>> {
        let too_large = || io::Error::from(io::ErrorKind::FileTooLarge);
        let mut contents = CONTENTS.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(content) = contents.get(&self) {
            let fits = content.as_ref().filter(|content| content.len() as u64 <= cap);
            return fits.cloned().ok_or_else(too_large);
        }
        let mut bytes = Zeroizing::new(Vec::new());
        self.open_to_read()?.take(cap + 1).read_to_end(&mut bytes)?;
        let content = (bytes.len() as u64 <= cap).then(|| Arc::new(bytes));
        contents.insert(self, content.clone());
        content.ok_or_else(too_large)
    }
}

/// From now on reads and writes wait, although the file was opened without waiting.
///
/// # Errors
/// Those of fcntl(2).
pub fn wait_as_usual(file: &File) -> io::Result<()> {
    let flags = rustix::fs::fcntl_getfl(file)?;
    Ok(rustix::fs::fcntl_setfl(file, flags - OFlags::NONBLOCK)?)
}

fn is_descriptor_folder(folder: &Path) -> bool {
    let names = ["/dev/fd", "/proc/self/fd", "/proc/thread-self/fd"];
    let own = || PathBuf::from(format!("/proc/{}/fd", std::process::id()));
    names.iter().any(|name| folder == Path::new(name)) || fs::canonicalize(folder).is_ok_and(|folder| folder == own())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        io::{Write, pipe},
        os::{fd::AsRawFd, unix::fs::symlink},
    };

    #[test]
    fn every_spelling_of_a_descriptor_is_one_and_other_paths_are_none() {
        let dir = tempfile::tempdir().unwrap();
        symlink("/dev/fd/7", dir.path().join("seven")).unwrap();
        symlink("seven", dir.path().join("again")).unwrap();
        symlink("round", dir.path().join("round")).unwrap();
        symlink("/proc/self/fd", dir.path().join("folder")).unwrap();
        fs::write(dir.path().join("3"), "").unwrap();
        let own = format!("/proc/{}/fd/7", std::process::id());
        let linked = ["seven", "again", "folder/7"].map(|name| dir.path().join(name).display().to_string());
        for path in ["/dev/fd/7", "/proc/self/fd/7", "/proc/thread-self/fd/7", &own]
            .into_iter()
            .chain(linked.iter().map(String::as_str))
        {
            assert_eq!(Descriptor::of_path(Path::new(path)), Some(Descriptor(7)), "{path}");
        }
        for (path, number) in [("/dev/stdin", 0), ("/dev/stdout", 1), ("/dev/stderr", 2), ("/proc/self/fd/0", 0)] {
            assert_eq!(Descriptor::of_path(Path::new(path)), Some(Descriptor(number)), "{path}");
        }
        let others = ["3", "round", "none"].map(|name| dir.path().join(name).display().to_string());
        for path in ["/dev/fd/", "/dev/fd/+7", "/dev/fd/7/x", "/dev/null", "/proc/1/fd/7", "-", "/"]
            .into_iter()
            .chain(others.iter().map(String::as_str))
        {
            assert_eq!(Descriptor::of_path(Path::new(path)), None, "{path}");
        }
    }

    #[test]
    fn a_pipe_is_read_once_and_its_content_kept_within_every_cap() {
        let (reader, mut writer) = pipe().unwrap();
        writer.write_all(b"0123456789").unwrap();
        drop(writer);
        let descriptor = Descriptor(u32::try_from(reader.as_raw_fd()).unwrap());
        for _ in 0..2 {
            assert_eq!(**descriptor.read_once(10).unwrap(), b"0123456789");
        }
        assert_eq!(descriptor.read_once(9).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    }

    #[test]
    fn what_was_too_large_stays_so_and_its_rest_is_not_taken_for_the_whole() {
        let (reader, mut writer) = pipe().unwrap();
        writer.write_all(&[b'x'; 100]).unwrap();
        drop(writer);
        let descriptor = Descriptor(u32::try_from(reader.as_raw_fd()).unwrap());
        for cap in [9, 9, 1000] {
            assert_eq!(descriptor.read_once(cap).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        }
    }
}
