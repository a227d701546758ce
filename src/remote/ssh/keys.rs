//! What is read from this machine's disk for SSH: private keys, their certificates and known_hosts, each file once per
//! run. An encrypted key stays locked until somebody gives its passphrase: see [`FileCache::unlock`].

use super::{
    certificate::Certificate,
    key_decryption::{UnlockError, unlock},
    known_hosts::KnownHosts,
};
use crate::{
    foreign::ForeignText,
    remote::Error,
    secret::{ExposeSecret, Secret},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use rustix::fs::{Mode, OFlags};
use std::{
    collections::HashMap,
    ffi::OsString,
    fs::{self, File, Metadata},
    io::{self, Read},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, PoisonError},
};
use zeroize::Zeroizing;

const LARGEST_KEY: u64 = 1 << 20;
const LARGEST_KNOWN_HOSTS: u64 = 64 << 20;

/// An identity file.
#[derive(Debug)]
pub(super) struct KeyFile {
    pub path: PathBuf,
    pub content: KeyContent,
    /// As the agent lists it, where the file tells, or the one beside it.
    pub public: Option<Vec<u8>>,
    /// The user certificate beside it.
    pub certificate: Option<Certificate>,
}

pub(super) enum KeyContent {
    Private(Secret),
    /// The agent may hold it; the text as it stands in the file.
    Encrypted(Secret),
    /// The agent may hold it.
    PublicOnly,
    Unreadable(String),
}

impl std::fmt::Debug for KeyContent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Private(_) => "Private",
            Self::Encrypted(_) => "Encrypted",
            Self::PublicOnly => "PublicOnly",
            Self::Unreadable(_) => "Unreadable",
        })
    }
}

/// Files already read, or being read: hosts that want the same file wait for one reader, those that want another do not.
#[derive(Debug, Default)]
pub(super) struct FileCache {
    keys: OncePerPath<Arc<KeyFile>>,
    certificates: OncePerPath<Option<Arc<Certificate>>>,
    known_hosts: OncePerPath<Result<Arc<KnownHosts>, String>>,
}

#[derive(Debug)]
struct OncePerPath<T>(Mutex<HashMap<PathBuf, Arc<OnceLock<T>>>>);

impl<T> Default for OncePerPath<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Clone> OncePerPath<T> {
    fn value(&self, path: &Path, read: impl FnOnce(&Path) -> T) -> T {
        let mut cells = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let cell = Arc::clone(cells.entry(path.to_owned()).or_default());
        // A file system may hang: not with this lock held.
        drop(cells);
        cell.get_or_init(|| read(path)).clone()
    }

    fn replace(&self, path: &Path, value: T) {
        let mut cells = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        cells.insert(path.to_owned(), Arc::new(OnceLock::from(value)));
    }
}

impl FileCache {
    /// The keys at `paths`, in that order.
    pub fn keys(&self, paths: &[PathBuf]) -> Vec<Arc<KeyFile>> {
        paths.iter().map(|path| self.keys.value(path, |path| Arc::new(read_key(path)))).collect()
    }

    /// The certificates at `paths`; a file that holds none is left out.
    pub fn certificates(&self, paths: &[PathBuf]) -> Vec<Arc<Certificate>> {
        let read = |path: &Path| Some(Arc::new(Certificate::parse(path, &read_text(path)?)?));
        paths.iter().filter_map(|path| self.certificates.value(path, read)).collect()
    }

    /// From now on the encrypted key at `path` is an open one; any other stays as it is.
    ///
    /// # Errors
    /// [`UnlockError`]; the key stays locked.
    pub fn unlock(&self, path: &Path, passphrase: &Secret) -> Result<(), UnlockError> {
        let key = self.keys.value(path, |path| Arc::new(read_key(path)));
        if let KeyContent::Encrypted(text) = &key.content {
            let open = KeyContent::Private(unlock(path, text, passphrase)?);
            let (public, certificate) = (key.public.clone(), read_certificate(path));
            self.keys.replace(path, Arc::new(KeyFile { path: path.to_owned(), content: open, public, certificate }));
        }
        Ok(())
    }

    /// The files at `paths`; one that is not there is empty.
    ///
    /// # Errors
    /// [`Error::KnownHostsUnreadable`].
    pub fn known_hosts(&self, paths: &[PathBuf]) -> Result<Vec<Arc<KnownHosts>>, Error> {
        let unreadable = |path: &PathBuf, reason: &str| Error::KnownHostsUnreadable {
            path: path.clone(),
            reason: ForeignText::message(reason),
        };
        let read = |path: &PathBuf| self.known_hosts.value(path, read_known_hosts).map_err(|e| unreadable(path, &e));
        paths.iter().map(read).collect()
    }
}

fn read_known_hosts(path: &Path) -> Result<Arc<KnownHosts>, String> {
    match read_regular(path, LARGEST_KNOWN_HOSTS) {
        Ok(bytes) => Ok(Arc::new(KnownHosts::parse(path, &String::from_utf8_lossy(&bytes)))),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Arc::default()),
        Err(e) => Err(e.to_string()),
    }
}

fn read_key(path: &Path) -> KeyFile {
    let text = read_regular(path, LARGEST_KEY).map_err(|e| e.to_string()).and_then(|mut bytes| {
        String::from_utf8(std::mem::take(&mut *bytes)).map(Secret::from).map_err(|e| {
            drop(Zeroizing::new(e.into_bytes()));
            "it is not text".to_owned()
        })
    });
    let (content, public) = match text {
        Ok(text) => parse_key(text),
        Err(reason) => (KeyContent::Unreadable(reason), None),
    };
    let public = match content {
        KeyContent::Encrypted(_) | KeyContent::Private(_) => public.or_else(|| read_public_beside(path)),
        _ => public,
    };
    KeyFile { path: path.to_owned(), content, public, certificate: read_certificate(path) }
}

fn read_text(path: &Path) -> Option<String> {
    String::from_utf8(read_regular(path, LARGEST_KEY).ok()?.to_vec()).ok()
}

fn read_certificate(key: &Path) -> Option<Certificate> {
    let path = Certificate::path_of(key);
    Certificate::parse(&path, &read_text(&path)?)
}

/// Of a key whose own file tells nothing in clear: what stands in KEY.pub.
fn read_public_beside(key: &Path) -> Option<Vec<u8>> {
    let mut path = OsString::from(key);
    path.push(".pub");
    match parse_key(Secret::from(read_text(Path::new(&path))?)) {
        (KeyContent::PublicOnly, public) => public,
        _ => None,
    }
}

/// Reads a file that others may have put in the way: a FIFO or a device could keep us waiting, or never end.
fn read_regular(path: &Path, largest: u64) -> io::Result<Zeroizing<Vec<u8>>> {
    let too_large = || io::Error::other(format!("it is larger than {} MiB", largest >> 20));
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
    let length = check(&file.metadata()?)?;
    // Room for all at once: growing would leave copies of a key behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(length).unwrap_or(0) + 1));
    file.take(largest + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > largest { Err(too_large()) } else { Ok(bytes) }
}

fn parse_key(text: Secret) -> (KeyContent, Option<Vec<u8>>) {
    let exposed = text.expose_secret();
    if exposed.contains("-----BEGIN OPENSSH PRIVATE KEY-----") {
        return match parse_openssh(exposed) {
            Some((true, public)) => (KeyContent::Encrypted(text), Some(public)),
            Some((false, public)) => (KeyContent::Private(text), Some(public)),
            None => (KeyContent::Unreadable("damaged OpenSSH key".into()), None),
        };
    }
    if exposed.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----") || exposed.contains("Proc-Type: 4,ENCRYPTED") {
        return (KeyContent::Encrypted(text), None);
    }
    if exposed.contains("PRIVATE KEY-----") {
        return (KeyContent::Private(text), None);
    }
    let mut words = exposed.split_ascii_whitespace();
    if words.next().is_some_and(|word| ["ssh-", "ecdsa-", "sk-"].iter().any(|kind| word.starts_with(kind))) {
        let public = words.next().and_then(|blob| STANDARD.decode(blob).ok());
        return (KeyContent::PublicOnly, public);
    }
    (KeyContent::Unreadable("no private key in it".into()), None)
}

/// Whether the key is encrypted, and its public half, which is in clear either way (OpenSSH, PROTOCOL.key).
fn parse_openssh(text: &str) -> Option<(bool, Vec<u8>)> {
    let body: String = text.lines().map(str::trim).filter(|line| !line.starts_with("-----")).collect();
    let body = Zeroizing::new(body);
    let bytes = Zeroizing::new(STANDARD.decode(body.as_bytes()).ok()?);
    let mut rest = bytes.strip_prefix(b"openssh-key-v1\0")?;
    let cipher = take_string(&mut rest)?;
    let _kdf = take_string(&mut rest)?;
    let _kdf_options = take_string(&mut rest)?;
    let (_count, mut rest) = rest.split_first_chunk::<4>()?;
    let public = take_string(&mut rest)?;
    Some((cipher != b"none", public.to_vec()))
}

/// Cuts a string with its length in front (RFC 4251, 5) off `rest`.
pub(super) fn take_string<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, tail) = rest.split_first_chunk::<4>()?;
    let (string, tail) = tail.split_at_checked(u32::from_be_bytes(*length) as usize)?;
    *rest = tail;
    Some(string)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        process::Command,
        sync::{
            Barrier,
            atomic::{AtomicUsize, Ordering},
            mpsc,
        },
        thread,
    };

    fn generate(options: &[&str]) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let made = Command::new("ssh-keygen").args(["-q", "-f"]).arg(&path).args(options).output().unwrap();
        assert!(made.status.success(), "{made:?}");
        (dir, path)
    }

    fn public_of(path: &Path) -> Vec<u8> {
        let line = std::fs::read_to_string(path.with_extension("pub")).unwrap();
        STANDARD.decode(line.split(' ').nth(1).unwrap()).unwrap()
    }

    #[test]
    fn keys_of_ssh_keygen_are_told_apart() {
        for (options, encrypted) in [
            (&["-t", "ed25519", "-N", ""][..], false),
            (&["-t", "ed25519", "-N", "secret"], true),
            (&["-t", "ecdsa", "-N", ""], false),
            (&["-t", "rsa", "-b", "2048", "-N", "secret"], true),
        ] {
            let (_dir, path) = generate(options);
            let key = read_key(&path);
            assert_eq!(matches!(key.content, KeyContent::Encrypted(_)), encrypted, "{options:?}");
            assert_eq!(matches!(key.content, KeyContent::Private(_)), !encrypted, "{options:?}");
            assert_eq!(key.public, Some(public_of(&path)), "{options:?}");
            let public = read_key(&path.with_extension("pub"));
            assert!(matches!(public.content, KeyContent::PublicOnly));
            assert_eq!(public.public, Some(public_of(&path)));
        }
    }

    #[test]
    fn encrypted_pem_and_pkcs8_are_seen() {
        for format in ["PEM", "PKCS8"] {
            let (_dir, path) = generate(&["-t", "rsa", "-b", "2048", "-m", format, "-N", "secret"]);
            assert!(matches!(read_key(&path).content, KeyContent::Encrypted(_)), "{format}");
            let (_dir, path) = generate(&["-t", "rsa", "-b", "2048", "-m", format, "-N", ""]);
            assert!(matches!(read_key(&path).content, KeyContent::Private(_)), "{format}");
        }
    }

    #[test]
    fn what_is_no_key_says_so() {
        let begin = "-----BEGIN OPENSSH PRIVATE KEY-----\n";
        for text in ["", "hello", begin, &format!("{begin}b3BlbnNzaC1rZXktdjEAAAAABG5vbmU=\n")] {
            assert!(matches!(parse_key(Secret::from(text)).0, KeyContent::Unreadable(_)), "{text:?}");
        }
    }

    #[test]
    fn a_missing_known_hosts_file_is_empty_and_an_unreadable_one_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let cache = FileCache::default();
        assert_eq!(cache.known_hosts(&[dir.path().join("none")]).unwrap().len(), 1);
        let error = cache.known_hosts(&[dir.path().to_owned()]).unwrap_err();
        assert_eq!(error.code(), "known_hosts_unreadable");
    }
    #[test]
    fn sixty_four_racing_hosts_read_a_file_once_and_another_file_is_not_held_up() {
        let (once, reads, begun) = (OncePerPath::default(), AtomicUsize::new(0), Barrier::new(2));
        let (open, gate) = mpsc::channel::<()>();
        let read = |_: &Path| reads.fetch_add(1, Ordering::SeqCst) + 1;
        thread::scope(|scope| {
            let (once, begun) = (&once, &begun);
            let hung = scope.spawn(move || {
                let wait = |_: &Path| {
                    begun.wait();
                    gate.recv().map_or(0, |()| 7)
                };
                once.value(Path::new("hangs"), wait)
            });
            begun.wait();
            let good: Vec<_> = (0..64).map(|_| scope.spawn(|| once.value(Path::new("good"), read))).collect();
            assert!(good.into_iter().all(|thread| thread.join().unwrap() == 1));
            open.send(()).unwrap();
            assert_eq!(hung.join().unwrap(), 7);
        });
        assert_eq!(reads.load(Ordering::SeqCst), 1);
    }
}
