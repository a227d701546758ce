//! Reading files that others wrote: bounded, and treated as secret until known otherwise.

use super::{Error, Unfit};
use crate::{inherited::Descriptor, secret::Secret};
use rustix::fs::{Mode, OFlags};
use std::{
    fs::{self, File},
    io::{self, Read},
    path::Path,
};
use zeroize::Zeroizing;

/// Reads a UTF-8 text file of at most `cap` bytes that may hold a secret.
///
/// # Errors
/// As [`read_bytes`]; not UTF-8 is [`Error::Unfit`] too.
pub fn read_capped(path: &Path, cap: u64) -> Result<Secret, Error> {
    read_text(path, cap).map(Secret::from)
}

/// Reads a UTF-8 text file of at most `cap` bytes.
///
/// # Errors
/// As [`read_capped`].
pub fn read_text(path: &Path, cap: u64) -> Result<String, Error> {
    let mut bytes = read_bytes(path, cap)?;
    String::from_utf8(std::mem::take(&mut *bytes)).map_err(|e| {
        let offset = e.utf8_error().valid_up_to();
        drop(Zeroizing::new(e.into_bytes()));
        unfit(path, Unfit::NotUtf8 { offset })
    })
}

/// Reads a file of at most `cap` bytes. A descriptor that the caller opened, such as /dev/stdin or /proc/self/fd/3, may be
/// of any kind; it is read once, and every later call for it returns the same.
///
/// # Errors
/// [`Error::Io`]; [`Error::Unfit`]: not a regular file, or larger than `cap`.
pub fn read_bytes(path: &Path, cap: u64) -> Result<Zeroizing<Vec<u8>>, Error> {
    if let Some(descriptor) = Descriptor::of_path(path) {
        return read_descriptor(descriptor, path, cap);
    }
    let fail = |e| Error::io("read", path, e);
    let check = |meta: &fs::Metadata| match meta.is_file() {
        true => Ok(()),
        false => Err(unfit(path, if meta.is_dir() { Unfit::Directory } else { Unfit::Special })),
    };
    // Before it is opened, because opening may already do something to a device; after, because it may be another now.
    check(&fs::metadata(path).map_err(fail)?)?;
    // Opening a FIFO would wait for a writer.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty()).map_err(|e| fail(e.into()))?);
    check(&file.metadata().map_err(fail)?)?;
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(cap + 1).read_to_end(&mut bytes).map_err(fail)?;
    if bytes.len() as u64 > cap { Err(too_large(path, cap)) } else { Ok(bytes) }
}

const BAD_DESCRIPTOR: i32 = rustix::io::Errno::BADF.raw_os_error();

/// Reads a descriptor of at most `cap` bytes to its end, once; `name` is what errors call it.
///
/// # Errors
/// [`Error::Io`]; [`Error::NotOpen`]; [`Error::Unfit`]: larger than `cap`.
pub fn read_descriptor(descriptor: Descriptor, name: &Path, cap: u64) -> Result<Zeroizing<Vec<u8>>, Error> {
    let number = descriptor.number();
    match descriptor.read_once(cap) {
        Ok(content) => Ok(Zeroizing::clone(&content)),
        Err(e) if e.kind() == io::ErrorKind::FileTooLarge => Err(too_large(name, cap)),
        // As /dev/fd has it, and as dup(2).
        Err(e) if e.kind() == io::ErrorKind::NotFound || e.raw_os_error() == Some(BAD_DESCRIPTOR) => {
            Err(Error::NotOpen { path: name.to_owned(), number })
        }
        Err(e) => Err(Error::io("read", name, e)),
    }
}

fn too_large(path: &Path, cap: u64) -> Error {
    unfit(path, Unfit::TooLarge { mebibytes: cap >> 20 })
}

fn unfit(path: &Path, fault: Unfit) -> Error {
    Error::Unfit { path: path.to_owned(), fault }
}
