//! Reading a file of this machine that a login needs: bounded, without waiting for anybody, and with what its mode lets
//! others do. Knows nothing of keys or known_hosts.

use crate::inherited::Descriptor;
use rustix::fs::{Mode, OFlags};
use std::{
    fs::{self, File, Metadata},
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::Path,
};
use zeroize::Zeroizing;

/// Reads a file that others may have put in the way: a FIFO or a device could keep us waiting, or never end. A descriptor
/// that the caller opened may be of any kind. Also gives the mode of a file of ours that is open to other users.
pub(super) fn read_regular(path: &Path, largest: u64) -> io::Result<(Zeroizing<Vec<u8>>, Option<u32>)> {
    let too_large = || io::Error::other(format!("it is larger than {} MiB", largest >> 20));
    if let Some(descriptor) = Descriptor::of_path(path) {
        return match descriptor.read_once(largest) {
            Ok(content) => Ok((Zeroizing::clone(&content), None)),
            Err(e) if e.kind() == io::ErrorKind::FileTooLarge => Err(too_large()),
            Err(e) => Err(e),
        };
    }
    let check = |meta: &Metadata| match meta.len() {
        _ if meta.is_dir() => Err(io::Error::from(io::ErrorKind::IsADirectory)),
        _ if !meta.is_file() => Err(io::Error::other("it is not a regular file")),
        length if length > largest => Err(too_large()),
        length => Ok(length),
    };
    // Before it is opened, because opening may already do something to a device; after, because it may be another now.
    check(&fs::metadata(path)?)?;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    let meta = file.metadata()?;
    let length = check(&meta)?;
    let is_ours = meta.uid() == rustix::process::getuid().as_raw();
    let open_mode = Some(meta.mode() & 0o7777).filter(|mode| is_ours && mode & 0o077 != 0);
    // Room for all at once: growing would leave copies of a key behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(length).unwrap_or(0) + 1));
    file.take(largest + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > largest { Err(too_large()) } else { Ok((bytes, open_mode)) }
}
