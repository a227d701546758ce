//! A kubelet's own credentials on a host: kubelet.kubeconfig and the client certificates and keys in its pki directory.
//! They are set aside by renames, so that it asks for new ones at its next start, and put back byte for byte where that came
//! to nothing. No key leaves its host, and nothing restarts the kubelet: see [`super::service`].
//!
//! What is set aside lies beside where it was, in a directory of mode 0700 with the run's id in its name. As long as a run
//! is not done with it, [`put_back`] puts it back, whenever it is called and whatever was killed meanwhile.

mod reply;

use super::{
    Error, Input, Remote,
    heard::hear,
    installer::{draw_nonce, local_root, quote_sh, split_path},
    preamble::{Surroundings, opening},
};
use crate::{digest::Digest, entropy::Entropy, foreign::ForeignText, inventory::Host, secret::Secret};
use std::sync::LazyLock;

/// Where a kubelet keeps what it was issued, unless told otherwise (kubelet's --cert-dir).
pub const USUAL_PKI: &str = "/var/lib/kubelet/pki";

static OPENING: LazyLock<String> =
    LazyLock::new(|| opening(Surroundings::Cleared, include_str!("../../../templates/kubelet.sh")));

/// Where a kubelet's credentials are, on its host: absolute and normalised; below `root` for a local host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KubeletPaths {
    /// Its --kubeconfig.
    pub kubeconfig: String,
    /// Its --cert-dir.
    pub pki: String,
}

/// What a host has of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KubeletFiles {
    /// Names; without directories.
    pub files: Vec<ForeignText>,
    /// Runs that set files aside and were not done with them.
    pub unfinished: Vec<String>,
    /// Runs whose backup was kept.
    pub kept: Vec<String>,
    /// Lines of the certificate, where it was asked for.
    certificate: Vec<String>,
    asking: Option<AskingKey>,
}

/// The key that a kubelet asks for its first certificate with (kubelet-client.key.tmp), as far as its host can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AskingKey {
    /// The SHA-256 of its SubjectPublicKeyInfo, DER.
    Known(Digest),
    /// There is none: the kubelet does not ask.
    Absent,
    /// The host has no openssl, or it cannot read the key.
    Unread,
}

/// What becomes of a backup that is not needed any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backup {
    /// It stays in place of the one before.
    Keep,
    Drop,
}

impl KubeletFiles {
    fn certificate(&self) -> Option<String> {
        (!self.certificate.is_empty()).then(|| self.certificate.join("\n") + "\n")
    }
}

impl KubeletPaths {
    /// # Errors
    /// [`Error::PathUnusable`].
    pub fn check(&self) -> Result<(), Error> {
        split_path(&self.kubeconfig)?;
        split_path(&self.pki).map(drop)
    }

    /// The words DIRECTORY NAME PKI-DIRECTORY of a call.
    fn words(&self, host: &Host) -> Result<[String; 3], Error> {
        let (root, (dir, name)) = (local_root(host)?, split_path(&self.kubeconfig)?);
        split_path(&self.pki)?;
        Ok([format!("{root}/{dir}"), name.to_owned(), format!("{root}{}", self.pki)].map(|word| quote_sh(&word)))
    }
}

/// Reads which of them are there, and which backups.
///
/// # Errors
/// [`Error`].
pub fn probe_kubelet(
    remote: &dyn Remote,
    host: &Host,
    paths: &KubeletPaths,
    entropy: &dyn Entropy,
) -> Result<KubeletFiles, Error> {
    call(remote, host, entropy, &format!("km_look {}", paths.words(host)?.join(" ")))
}

/// Moves them into the backup of the run with this id. Says what was moved.
///
/// # Errors
/// [`Error`]; [`put_back`] is due then.
pub fn set_aside(
    remote: &dyn Remote,
    host: &Host,
    paths: &KubeletPaths,
    run: &str,
    entropy: &dyn Entropy,
) -> Result<KubeletFiles, Error> {
    call(remote, host, entropy, &format!("km_aside {} {}", quote_sh(run), paths.words(host)?.join(" ")))
}

/// Puts every backup back that a run was not done with; what has come since moves into RUN.replaced beside it. Says what came back.
///
/// # Errors
/// [`Error`]; it can be called again.
pub fn put_back(
    remote: &dyn Remote,
    host: &Host,
    paths: &KubeletPaths,
    entropy: &dyn Entropy,
) -> Result<KubeletFiles, Error> {
    call(remote, host, entropy, &format!("km_back {}", paths.words(host)?.join(" ")))
}

/// The first certificate of kubelet-client-current.pem, PEM; `None` where there is none. Its key stays where it is.
///
/// # Errors
/// [`Error`].
pub fn read_certificate(
    remote: &dyn Remote,
    host: &Host,
    paths: &KubeletPaths,
    entropy: &dyn Entropy,
) -> Result<Option<String>, Error> {
    let [_, _, pki] = paths.words(host)?;
    Ok(call(remote, host, entropy, &format!("km_current {pki}"))?.certificate())
}

/// The same where it is newer than what a run has set aside and was not done with; `None` where it is not, or none is there.
///
/// # Errors
/// [`Error`].
pub fn read_newer_certificate(
    remote: &dyn Remote,
    host: &Host,
    paths: &KubeletPaths,
    entropy: &dyn Entropy,
) -> Result<Option<String>, Error> {
    let [_, _, pki] = paths.words(host)?;
    Ok(call(remote, host, entropy, &format!("km_newer {pki}"))?.certificate())
}

/// With which key the kubelet asks for a certificate: a digest of the public half, which the host works out by itself.
///
/// # Errors
/// [`Error`].
pub fn probe_asking_key(
    remote: &dyn Remote,
    host: &Host,
    paths: &KubeletPaths,
    entropy: &dyn Entropy,
) -> Result<AskingKey, Error> {
    let [_, _, pki] = paths.words(host)?;
    let told = call(remote, host, entropy, &format!("km_asking {pki}"))?;
    Ok(told.asking.unwrap_or(AskingKey::Unread))
}

/// The run with this id is done with its backup.
///
/// # Errors
/// [`Error`]; [`put_back`] may still find it then.
pub fn settle_backup(
    remote: &dyn Remote,
    host: &Host,
    paths: &KubeletPaths,
    (run, backup): (&str, Backup),
    entropy: &dyn Entropy,
) -> Result<(), Error> {
    let [dir, _, pki] = paths.words(host)?;
    let how = if backup == Backup::Keep { "keep" } else { "drop" };
    call(remote, host, entropy, &format!("km_settle {how} {} {dir} {pki}", quote_sh(run))).map(drop)
}

fn call(remote: &dyn Remote, host: &Host, entropy: &dyn Entropy, call: &str) -> Result<KubeletFiles, Error> {
    let nonce = draw_nonce(entropy)?;
    let reply = remote.run_script(host, &|_| {
        let rest = format!("km_nonce={nonce}\nkm_say begin\n{call}\nkm_quit\n}}\n");
        Ok(Input::new([&OPENING, ""], Secret::from(rest)))
    });
    reply::parse(&hear(reply, &nonce, (remote, host), &[])?, &nonce, host)
}
