//! Reading files that others wrote: bounded, and treated as secret until known otherwise.

use super::{Error, Unfit};
use crate::secret::Secret;
use std::{fs, io::Read, path::Path};
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

/// Reads a file of at most `cap` bytes.
///
/// # Errors
/// [`Error::Io`]; [`Error::Unfit`]: not a regular file, or larger than `cap`.
pub fn read_bytes(path: &Path, cap: u64) -> Result<Zeroizing<Vec<u8>>, Error> {
    let fail = |e| Error::io("read", path, e);
    // Looked at before it is opened: opening a FIFO would wait for a writer.
    let meta = fs::metadata(path).map_err(fail)?;
    if !meta.is_file() {
        return Err(unfit(path, if meta.is_dir() { Unfit::Directory } else { Unfit::Special }));
    }
    read_stream(fs::File::open(path).map_err(fail)?, path, cap)
}

/// Reads a stream of at most `cap` bytes to its end; `name` is what errors call it.
///
/// # Errors
/// [`Error::Io`]; [`Error::Unfit`]: larger than `cap`.
pub fn read_stream(stream: impl Read, name: &Path, cap: u64) -> Result<Zeroizing<Vec<u8>>, Error> {
    let mut bytes = Zeroizing::new(Vec::new());
    stream.take(cap + 1).read_to_end(&mut bytes).map_err(|e| Error::io("read", name, e))?;
    if bytes.len() as u64 > cap {
        return Err(unfit(name, Unfit::TooLarge { mebibytes: cap >> 20 }));
    }
    Ok(bytes)
}

fn unfit(path: &Path, fault: Unfit) -> Error {
    Error::Unfit { path: path.to_owned(), fault }
}
