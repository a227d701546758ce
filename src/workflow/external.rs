//! A CA whose key is elsewhere: requests out, signed certificates in.
//!
//! A key waits in the directory, beside the pair that is in use, until its certificate comes; the two change places with
//! the old pair in one commit. A certificate is taken only for a key that is here, and all of an import or nothing.

use super::generate::{is_per_node, record, settings};
use crate::{
    inventory::Inventory,
    pki::{self, CertificateInfo, ClientSettings},
    secret::{Secret, printable},
    store::{self, CaRecord, Changes, ExtraFile, Snapshot, State, StoredFile},
};
use jiff::Timestamp;
use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

/// Why requests cannot be made or certificates not be taken.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Request(#[from] pki::OutgoingError),
    #[error("the inventory names another CA than the one in use ({})", stored.subject)]
    OtherCa { stored: Box<CaRecord> },
    /// One line each: the file, and what is wrong with it.
    #[error("{}", lines(.0))]
    Refused(Vec<Mistake>),
}

/// A file that is not taken.
#[derive(Debug)]
pub struct Mistake {
    pub path: PathBuf,
    pub what: String,
    pub hint: Option<&'static str>,
}

fn lines(mistakes: &[Mistake]) -> String {
    let file = |mistake: &Mistake| printable(&mistake.path.display().to_string());
    let line = |mistake: &Mistake| format!("{}: {}", file(mistake), mistake.what);
    mistakes.iter().map(line).collect::<Vec<_>>().join("\n")
}

impl Error {
    /// What the operator can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Request(error) => error.hint().map(str::to_owned),
            Self::OtherCa { .. } => Some("set [ca] back, or use another state_dir".to_owned()),
            Self::Refused(mistakes) => {
                let hint = mistakes.iter().find_map(|mistake| mistake.hint).unwrap_or("check the files");
                Some(format!("{hint}; nothing of this import was taken"))
            }
        }
    }
}

/// Whether a key that waits already is used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waiting {
    Kept,
    Replaced,
}

/// A request for the certificate of a node, or of the one that nodes share.
#[derive(Debug)]
pub struct Request {
    pub node: Option<String>,
    /// PKCS #10, PEM.
    pub pem: String,
    pub subject: String,
    pub has_new_key: bool,
}

/// Makes what keys are missing, and a request for each.
///
/// # Errors
/// [`Error::Request`].
pub fn plan_requests(
    inventory: &Inventory,
    snapshot: &Snapshot,
    nodes: &[Option<&str>],
    waiting: Waiting,
) -> Result<(Vec<Request>, Changes), Error> {
    let spec = &pki::KUBE_PROXY;
    let settings: ClientSettings = settings(&inventory.kube_proxy);
    let (mut requests, mut changes) = (Vec::with_capacity(nodes.len()), Changes::default());
    for node in nodes {
        let file = ExtraFile::pending_key(*node);
        let kept = snapshot.extra(&file).filter(|_| waiting == Waiting::Kept);
        let key = match kept {
            Some(key) => key.clone(),
            None => pki::generate_key(spec, settings.algorithm)?,
        };
        let pem = pki::render_request(spec, &settings, &key)?;
        let subject = format!("O={}, CN={}", settings.organization, spec.common_name);
        let has_new_key = kept.is_none();
        if has_new_key {
            changes.extra.push((file, key));
        }
        requests.push(Request { node: node.map(str::to_owned), pem, subject, has_new_key });
    }
    Ok((requests, changes))
}

/// A file of certificates, as it was given.
#[derive(Debug)]
pub struct Given {
    pub path: PathBuf,
    /// One that cannot be read is a mistake among the others.
    pub text: Result<Vec<u8>, store::Error>,
}

/// A certificate that is taken.
#[derive(Debug)]
pub struct Taken {
    pub path: PathBuf,
    pub node: Option<String>,
    pub info: CertificateInfo,
    /// It is in use already.
    pub is_known: bool,
}

/// Holds every certificate against its key, the CA and what was asked for.
///
/// # Errors
/// [`Error::Refused`] with everything that is wrong; [`Error::OtherCa`].
pub fn plan_import(
    inventory: &Inventory,
    snapshot: &Snapshot,
    ca: &str,
    given: &[Given],
    now: Timestamp,
) -> Result<(Vec<Taken>, Changes, State), Error> {
    let trusted = pki::parse_certificates(ca).unwrap_or_default();
    let mut next = snapshot.state.clone().unwrap_or_default();
    if let Some(stored) = next.ca.clone().filter(|stored| trusted.first().is_some_and(|ca| ca.sha256 != stored.sha256))
    {
        return Err(Error::OtherCa { stored: Box::new(stored) });
    }
    let keys = Keys::of(snapshot);
    let (mut taken, mut changes, mut mistakes) = (Vec::new(), Changes::default(), Vec::new());
    let mut seen: HashMap<Option<String>, PathBuf> = HashMap::new();
    for Given { path, text } in given {
        let mut refuse = |what: String, hint| mistakes.push(Mistake { path: path.clone(), what, hint });
        let text = match text {
            Ok(text) => text,
            Err(error) => {
                refuse(why_unread(error), None);
                continue;
            }
        };
        let certificates = match pki::split_certificates(text) {
            Ok(certificates) => certificates,
            Err(error) => {
                refuse(error.to_string(), error.hint());
                continue;
            }
        };
        // Whoever signs often sends the CA along.
        let leaves: Vec<_> =
            certificates.into_iter().filter(|(_, info)| trusted.iter().all(|ca| ca.sha256 != info.sha256)).collect();
        if leaves.is_empty() {
            refuse("it holds the CA alone".to_owned(), Some("give the certificate that was signed for the request"));
        }
        for (pem, info) in leaves {
            let Some(owner) = keys.owner(&info) else {
                let what = format!("no key here belongs to the certificate `{}`, serial {}", info.subject, info.serial);
                refuse(what, Some("import what was signed for the request that `kubemint cert csr` wrote last"));
                continue;
            };
            if let Some(other) = seen.insert(owner.node.clone(), path.clone()) {
                refuse(
                    format!("it is for the same node as {}", other.display()),
                    Some("give one certificate for each"),
                );
                continue;
            }
            let organization = &inventory.kube_proxy.organization;
            match pki::check_signed(&pem, owner.key, ca, &pki::KUBE_PROXY, organization, now) {
                Err(error) => refuse(error.to_string(), error.hint()),
                Ok(info) => taken.push(take(snapshot, owner, path, &pem, info, &mut changes, &mut next)),
            }
        }
    }
    if !mistakes.is_empty() {
        return Err(Error::Refused(mistakes));
    }
    let has_own = taken.iter().any(|one| one.node.is_some());
    next.per_node = inventory.kube_proxy.per_node.unwrap_or(has_own || is_per_node(inventory, snapshot.state.as_ref()));
    Ok((taken, changes, next))
}

/// Without the path, which is said already.
fn why_unread(error: &store::Error) -> String {
    match error {
        store::Error::Io { source, .. } => format!("it cannot be read: {source}"),
        store::Error::Unfit { fault, .. } => format!("it cannot be read: {fault}"),
        other => other.to_string(),
    }
}

/// A key, and whose it is.
struct Owner<'a> {
    node: Option<String>,
    key: &'a Secret,
    waits: bool,
}

/// Every key here, by the digest of its public half.
struct Keys<'a>(HashMap<crate::digest::Digest, Owner<'a>>);

impl<'a> Keys<'a> {
    /// A key that cannot be read is nobody's.
    fn of(snapshot: &'a Snapshot) -> Self {
        let mut keys = HashMap::new();
        let mut add = |node: Option<&str>, key: &'a Secret, waits| {
            if let Ok(digest) = pki::public_key_digest(key) {
                keys.insert(digest, Owner { node: node.map(str::to_owned), key, waits });
            }
        };
        if let Some(key) = snapshot.content(StoredFile::KubeProxyKey) {
            add(None, key, false);
        }
        for file in snapshot.extra_files() {
            let waits = match file {
                ExtraFile::NodeCertificate(_) => continue,
                ExtraFile::NodeKey(_) => false,
                ExtraFile::PendingKey | ExtraFile::NodePendingKey(_) => true,
            };
            if let Some(key) = snapshot.extra(file) {
                add(file.node(), key, waits);
            }
        }
        Self(keys)
    }

    fn owner(&self, certificate: &CertificateInfo) -> Option<&Owner<'a>> {
        self.0.get(&certificate.spki_sha256)
    }
}

fn take(
    snapshot: &Snapshot,
    owner: &Owner,
    path: &Path,
    pem: &str,
    info: CertificateInfo,
    changes: &mut Changes,
    next: &mut State,
) -> Taken {
    let node = owner.node.as_deref();
    let stored = match node {
        None => snapshot.certificate(StoredFile::KubeProxyCertificate),
        Some(node) => snapshot.node_certificate(node),
    };
    let before = stored.and_then(|pem| pki::parse_certificate(pem).ok());
    let is_known = before.as_ref().is_some_and(|before| before.sha256 == info.sha256);
    if !is_known {
        if let Some(before) = &before {
            next.replaced.insert(node.unwrap_or_default().to_owned(), record(before));
        }
        if node.is_none() {
            next.kube_proxy = Some(record(&info));
        }
        put(node, owner, pem, changes);
    }
    if owner.waits {
        changes.removed_extra.push(ExtraFile::pending_key(node));
    }
    Taken { path: path.to_owned(), node: owner.node.clone(), info, is_known }
}

/// The key first: a run that dies in between leaves the waiting one, and the same import again does the rest.
fn put(node: Option<&str>, owner: &Owner, pem: &str, changes: &mut Changes) {
    let (key, certificate) = (owner.key.clone(), Secret::from(pem));
    match node {
        None => {
            changes.files.extend([(StoredFile::KubeProxyKey, key), (StoredFile::KubeProxyCertificate, certificate)]);
        }
        Some(node) => {
            let node = node.to_owned();
            changes.extra.push((ExtraFile::NodeKey(node.clone()), key));
            changes.extra.push((ExtraFile::NodeCertificate(node), certificate));
        }
    }
}
