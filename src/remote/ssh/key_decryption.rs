//! Encrypted private keys, opened with their passphrase: once per run, since each try costs a tenth of a second and more
//! on purpose. OpenSSH's own format and PKCS#8; the older PEM encryption (`DEK-Info`) is one round of MD5, and refused.
//!
//! What comes out is text that libssh2 reads, in memory that is wiped. Knows no host and asks nobody.

use crate::secret::{ExposeSecret, Secret};
use pkcs8::{EncryptedPrivateKeyInfo, SecretDocument, der::pem::PemLabel};
use ssh_key::{LineEnding, PrivateKey};
use std::path::{Path, PathBuf};

/// Why a key file stays locked.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum UnlockError {
    #[error("the passphrase does not open {}", .path.display())]
    WrongPassphrase { path: PathBuf },
    #[error("{} is encrypted in a way that is not supported: {what}", .path.display())]
    Unsupported { path: PathBuf, what: &'static str },
}

impl UnlockError {
    /// The stable name scripts rely on.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::WrongPassphrase { .. } => "passphrase_wrong",
            Self::Unsupported { .. } => "key_unsupported",
        }
    }

    /// What a person can do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::WrongPassphrase { path } => {
                format!("`ssh-keygen -y -f {}` tells whether a passphrase is right", path.display())
            }
            Self::Unsupported { path, .. } => {
                format!(
                    "`ssh-keygen -p -f {0}` writes it in OpenSSH's format, encrypted anew, and `ssh-keygen -p -m PKCS8 -f \
                     {0}` an ECDSA key in a form that is always read; or load it into an agent",
                    path.display()
                )
            }
        }
    }
}

/// The private key in `text`, the content of the file at `path`, without its encryption.
pub(super) fn unlock(path: &Path, text: &Secret, passphrase: &Secret) -> Result<Secret, UnlockError> {
    let text = text.expose_secret();
    let opened = if text.contains("-----BEGIN OPENSSH PRIVATE KEY-----") {
        unlock_openssh(text, passphrase)
    } else if text.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----") {
        unlock_pkcs8(text, passphrase)
    } else {
        Err(Fault::Unsupported("it is PEM with a DEK-Info header"))
    };
    opened.map_err(|fault| match fault {
        Fault::Wrong => UnlockError::WrongPassphrase { path: path.to_owned() },
        Fault::Unsupported(what) => UnlockError::Unsupported { path: path.to_owned(), what },
    })
}

enum Fault {
    Wrong,
    Unsupported(&'static str),
}

fn unlock_openssh(text: &str, passphrase: &Secret) -> Result<Secret, Fault> {
    let locked = PrivateKey::from_openssh(text).map_err(|_| Fault::Unsupported("its cipher or kind of key"))?;
    let key = locked.decrypt(passphrase.expose_secret()).map_err(|error| match error {
        ssh_key::Error::AlgorithmUnknown | ssh_key::Error::AlgorithmUnsupported { .. } => {
            Fault::Unsupported("its kind of key")
        }
        ssh_key::Error::Crypto => Fault::Wrong,
        // The passphrase is right, and ssh-key 0.6 reads no ECDSA number that begins with a zero byte: one in four of
        // P-521, one in 256 of the others.
        _ => Fault::Unsupported("this ECDSA key in OpenSSH's own form"),
    })?;
    let pem = key.to_openssh(LineEnding::LF).map_err(|_| Fault::Unsupported("its kind of key"))?;
    Ok(Secret::from(pem.as_str()))
}

fn unlock_pkcs8(text: &str, passphrase: &Secret) -> Result<Secret, Fault> {
    let (label, document) =
        SecretDocument::from_pem(text.trim()).map_err(|_| Fault::Unsupported("the PEM text is damaged"))?;
    EncryptedPrivateKeyInfo::validate_pem_label(label).map_err(|_| Fault::Unsupported("the PEM text is damaged"))?;
    let locked = EncryptedPrivateKeyInfo::try_from(document.as_bytes())
        .map_err(|_| Fault::Unsupported("it is not PBES2 with AES"))?;
    if locked.encryption_algorithm.pbes2().is_none() {
        return Err(Fault::Unsupported("it is not PBES2 with AES"));
    }
    let key = locked.decrypt(passphrase.expose_secret()).map_err(|_| Fault::Wrong)?;
    let pem = key.to_pem("PRIVATE KEY", LineEnding::LF).map_err(|_| Fault::Wrong)?;
    Ok(Secret::from(pem.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn generate(options: &[&str]) -> (tempfile::TempDir, PathBuf, Secret) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let mut command = Command::new("ssh-keygen");
        let made = command.args(["-q", "-a", "2", "-N", "a pass phrase", "-f"]).arg(&path).args(options).output();
        assert!(made.as_ref().unwrap().status.success(), "{made:?}");
        let text = std::fs::read_to_string(&path).unwrap();
        (dir, path, Secret::from(text))
    }

    fn public_of(path: &Path) -> String {
        let shown = Command::new("ssh-keygen").args(["-y", "-P", "", "-f"]).arg(path).output().unwrap();
        assert!(shown.status.success(), "{shown:?}");
        String::from_utf8(shown.stdout).unwrap().split(' ').take(2).collect::<Vec<_>>().join(" ").trim().to_owned()
    }

    #[test]
    fn every_cipher_and_kind_of_ssh_keygen_is_opened() {
        use std::os::unix::fs::OpenOptionsExt;
        for options in [
            &["-t", "ed25519"][..],
            &["-t", "ed25519", "-Z", "aes256-gcm@openssh.com"],
            &["-t", "ed25519", "-Z", "chacha20-poly1305@openssh.com"],
            &["-t", "ed25519", "-Z", "aes128-cbc"],
            &["-t", "ecdsa", "-b", "256"],
            &["-t", "ecdsa", "-b", "521"],
            &["-t", "rsa", "-b", "2048"],
            &["-t", "rsa", "-b", "2048", "-m", "PKCS8"],
            &["-t", "ecdsa", "-m", "PKCS8"],
        ] {
            let opened = || {
                let (dir, path, text) = generate(options);
                match unlock(&path, &text, &Secret::from("a pass phrase")) {
                    Ok(key) => Some((dir, path, text, key)),
                    // See unlock_openssh: never taken for a wrong passphrase.
                    Err(UnlockError::Unsupported { what, .. }) if what.contains("this ECDSA key") => None,
                    Err(e) => panic!("{options:?} {e}"),
                }
            };
            let (dir, path, text, key) = (0..20).find_map(|_| opened()).unwrap();
            let open = dir.path().join("open");
            let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&open).unwrap();
            std::io::Write::write_all(&mut file, key.expose_secret().as_bytes()).unwrap();
            let public = std::fs::read_to_string(path.with_extension("pub")).unwrap();
            assert!(public.starts_with(&public_of(&open)), "{options:?}");
            for wrong in ["a pass phras", "", "a pass phrase "] {
                let error = unlock(&path, &text, &Secret::from(wrong)).unwrap_err();
                assert_eq!(error, UnlockError::WrongPassphrase { path: path.clone() }, "{options:?}");
            }
        }
    }

    #[test]
    fn openssl_s_pkcs8_is_opened_and_its_older_kinds_are_refused_with_the_cure() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let openssl = |words: &str| {
            let script = format!("openssl {words} >'{}' && chmod 600 '{0}'", path.display());
            let made = Command::new("sh").args(["-c", &script]).output().unwrap();
            assert!(made.status.success(), "{made:?}");
            Secret::from(std::fs::read_to_string(&path).unwrap())
        };
        let text = openssl("genpkey -algorithm ed25519 -aes-256-cbc -pass pass:abcdef");
        assert!(unlock(&path, &text, &Secret::from("abcdef")).unwrap().expose_secret().contains("BEGIN PRIVATE KEY"));
        let text = openssl("genrsa -traditional -aes128 -passout pass:abcdef 2048");
        let error = unlock(&path, &text, &Secret::from("abcdef")).unwrap_err();
        assert_eq!(error.code(), "key_unsupported", "{error}");
        assert!(error.hint().contains("ssh-keygen -p -f"), "{}", error.hint());
    }
}
