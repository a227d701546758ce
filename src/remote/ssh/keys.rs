//! What is read from this machine's disk for SSH: private keys, their certificates and known_hosts, each file once per
//! run. An encrypted key stays locked until somebody gives its passphrase: see [`FileCache::unlock`].

use super::{
    certificate::Certificate,
    key_decryption::{UnlockError, unlock},
    known_hosts::KnownHosts,
    own_file::read_regular,
};
use crate::{
    foreign::ForeignText,
    remote::{Error, Resource},
    secret::{ExposeSecret, Secret},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use std::{
    collections::HashMap,
    ffi::OsString,
    io,
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
    /// A private key of ours that other users may read or write: never used itself, as ssh does it (authfile.c,
    /// `sshkey_perm_ok`), but the agent may hold it.
    OpenToOthers {
        mode: u32,
    },
    Unreadable(String),
    /// It could not be opened for want of this, which may pass: not kept.
    Exhausted(Resource, String),
}

impl std::fmt::Debug for KeyContent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Private(_) => "Private",
            Self::Encrypted(_) => "Encrypted",
            Self::PublicOnly => "PublicOnly",
            Self::OpenToOthers { .. } => "OpenToOthers",
            Self::Unreadable(_) => "Unreadable",
            Self::Exhausted(..) => "Exhausted",
        })
    }
}

/// Files already read, or being read: hosts that want the same file wait for one reader, those that want another do not.
#[derive(Debug, Default)]
pub(super) struct FileCache {
    keys: OncePerPath<Arc<KeyFile>>,
    certificates: OncePerPath<Option<Arc<Certificate>>>,
    known_hosts: OncePerPath<Result<Arc<KnownHosts>, Unread>>,
}

/// Why a known_hosts file could not be read; `resource`: for want of this, which may pass.
#[derive(Debug, Clone)]
struct Unread {
    resource: Option<Resource>,
    reason: String,
}

const DURING: &str = "to read keys and known_hosts with";

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

    /// Reads it again the next time.
    fn forget(&self, path: &Path) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(path);
    }

    fn replace(&self, path: &Path, value: T) {
        let mut cells = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        cells.insert(path.to_owned(), Arc::new(OnceLock::from(value)));
    }
}

impl FileCache {
    /// The keys at `paths`, in that order.
    pub fn keys(&self, paths: &[PathBuf]) -> Vec<Arc<KeyFile>> {
        let read = |path: &PathBuf| {
            let key = self.keys.value(path, |path| Arc::new(read_key(path)));
            if let KeyContent::Exhausted(..) = key.content {
                self.keys.forget(path);
            }
            key
        };
        paths.iter().map(read).collect()
    }

    /// The same for a login.
    ///
    /// # Errors
    /// [`Error::Exhausted`].
    pub fn keys_to_offer(&self, paths: &[PathBuf]) -> Result<Vec<Arc<KeyFile>>, Error> {
        let keys = self.keys(paths);
        let exhausted = keys.iter().find_map(|key| match &key.content {
            KeyContent::Exhausted(resource, reason) => {
                Some(Error::Exhausted { resource: *resource, during: DURING, reason: ForeignText::message(reason) })
            }
            _ => None,
        });
        exhausted.map_or(Ok(keys), Err)
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
    /// [`Error::KnownHostsUnreadable`], [`Error::Exhausted`].
    pub fn known_hosts(&self, paths: &[PathBuf]) -> Result<Vec<Arc<KnownHosts>>, Error> {
        let unreadable = |path: &PathBuf, Unread { resource, reason }| {
            let reason = ForeignText::message(&reason);
            match resource {
                Some(resource) => {
                    self.known_hosts.forget(path);
                    Error::Exhausted { resource, during: DURING, reason }
                }
                None => Error::KnownHostsUnreadable { path: path.clone(), reason },
            }
        };
        let read = |path: &PathBuf| self.known_hosts.value(path, read_known_hosts).map_err(|e| unreadable(path, e));
        paths.iter().map(read).collect()
    }
}

fn read_known_hosts(path: &Path) -> Result<Arc<KnownHosts>, Unread> {
    match read_regular(path, LARGEST_KNOWN_HOSTS) {
        Ok((bytes, _)) => Ok(Arc::new(KnownHosts::parse(path, &String::from_utf8_lossy(&bytes)))),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Arc::default()),
        Err(e) => Err(Unread { resource: Resource::of(&e), reason: e.to_string() }),
    }
}

fn read_key(path: &Path) -> KeyFile {
    let (content, public, open_mode) = match read_regular(path, LARGEST_KEY) {
        Ok((bytes, open_mode)) => {
            let (content, public) = parse_key_bytes(bytes);
            (content, public, open_mode)
        }
        Err(e) => {
            let unreadable = || KeyContent::Unreadable(e.to_string());
            (Resource::of(&e).map_or_else(unreadable, |of| KeyContent::Exhausted(of, e.to_string())), None, None)
        }
    };
    let is_private = matches!(content, KeyContent::Encrypted(_) | KeyContent::Private(_));
    let public = if is_private { public.or_else(|| read_public_beside(path)) } else { public };
    let content = match open_mode {
        Some(mode) if is_private => {
            let name = path.display();
            tracing::warn!("key file {name} is ignored: other users may use it (mode {mode:04o}): `chmod 600 {name}`");
            KeyContent::OpenToOthers { mode }
        }
        _ => content,
    };
    KeyFile { path: path.to_owned(), content, public, certificate: read_certificate(path) }
}

fn read_text(path: &Path) -> Option<String> {
    String::from_utf8(read_regular(path, LARGEST_KEY).ok()?.0.to_vec()).ok()
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

fn parse_key_bytes(mut bytes: Zeroizing<Vec<u8>>) -> (KeyContent, Option<Vec<u8>>) {
    match String::from_utf8(std::mem::take(&mut *bytes)) {
        Ok(text) => parse_key(Secret::from(text)),
        Err(e) => {
            drop(Zeroizing::new(e.into_bytes()));
            (KeyContent::Unreadable("it is not text".to_owned()), None)
        }
    }
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
