//! The files beside the fixed ones: a pair for each node, where nodes have keys of their own, and keys whose certificate
//! somebody else still has to sign. How many there are says state.json.
//!
//! They are held to the rules of the others: whole or absent, 0600, of the digest that was recorded, and none that
//! state.json does not know.

use super::Error;
use std::{collections::BTreeSet, fmt, fs, io, path::Path};

pub(super) const NODES: &str = "certs/nodes";
const KEY: &str = "kube-proxy-key.pem";
const CERTIFICATE: &str = "kube-proxy.pem";
const PENDING_KEY: &str = "kube-proxy-key.pending.pem";

/// A file there may be any number of. Nodes are named as in the inventory.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ExtraFile {
    /// The key of a request whose certificate is not there yet.
    PendingKey,
    NodeKey(String),
    NodeCertificate(String),
    NodePendingKey(String),
}

impl ExtraFile {
    /// Path below the credential directory.
    #[must_use]
    pub fn path(&self) -> String {
        match self {
            Self::PendingKey => format!("certs/{PENDING_KEY}"),
            Self::NodeKey(node) => format!("{NODES}/{node}/{KEY}"),
            Self::NodeCertificate(node) => format!("{NODES}/{node}/{CERTIFICATE}"),
            Self::NodePendingKey(node) => format!("{NODES}/{node}/{PENDING_KEY}"),
        }
    }

    /// The key for which the certificate of `node`, or the one that nodes share, is still to be signed.
    #[must_use]
    pub fn pending_key(node: Option<&str>) -> Self {
        node.map_or(Self::PendingKey, |node| Self::NodePendingKey(node.to_owned()))
    }

    /// The node whose file it is; `None` for the one that nodes share.
    #[must_use]
    pub fn node(&self) -> Option<&str> {
        match self {
            Self::PendingKey => None,
            Self::NodeKey(node) | Self::NodeCertificate(node) | Self::NodePendingKey(node) => Some(node),
        }
    }

    /// `None`: the path is of no such file. A name that leads elsewhere is none.
    pub(super) fn parse(path: &str) -> Option<Self> {
        if path == Self::PendingKey.path() {
            return Some(Self::PendingKey);
        }
        let (node, name) = path.strip_prefix(NODES)?.strip_prefix('/')?.split_once('/')?;
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
        let is_name = !node.is_empty() && !node.starts_with('.') && node.chars().all(plain);
        let node = Some(node).filter(|_| is_name)?.to_owned();
        match name {
            KEY => Some(Self::NodeKey(node)),
            CERTIFICATE => Some(Self::NodeCertificate(node)),
            PENDING_KEY => Some(Self::NodePendingKey(node)),
            _ => None,
        }
    }
}

impl fmt::Display for ExtraFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.path())
    }
}

/// The directories of the nodes, with the one they lie in first; none where there are no such files.
pub(super) fn directories(dir: &Path) -> Result<Vec<std::path::PathBuf>, Error> {
    let top = dir.join(NODES);
    let entries = match fs::read_dir(&top) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(|e| Error::io("list", &top, e))?,
    };
    let mut found = vec![top.clone()];
    for entry in entries {
        found.push(entry.map_err(|e| Error::io("list", &top, e))?.path());
    }
    Ok(found)
}

/// Every such file that is there, whoever put it there.
pub(super) fn present(dir: &Path) -> Result<BTreeSet<ExtraFile>, Error> {
    let mut found = BTreeSet::new();
    if dir.join(ExtraFile::PendingKey.path()).symlink_metadata().is_ok() {
        found.insert(ExtraFile::PendingKey);
    }
    for node in directories(dir)?.iter().skip(1) {
        let entries = match fs::read_dir(node) {
            // A plain file, or gone by now: nothing of ours is in it.
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => continue,
            other => other.map_err(|e| Error::io("list", node, e))?,
        };
        for entry in entries {
            let entry = entry.map_err(|e| Error::io("list", node, e))?.path();
            let relative = entry.strip_prefix(dir).ok().and_then(Path::to_str);
            found.extend(relative.and_then(ExtraFile::parse));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_and_its_file_are_one() {
        let node = || "node-1.example".to_owned();
        for file in [
            ExtraFile::PendingKey,
            ExtraFile::NodeKey(node()),
            ExtraFile::NodeCertificate(node()),
            ExtraFile::NodePendingKey(node()),
        ] {
            assert_eq!(ExtraFile::parse(&file.path()), Some(file));
        }
    }

    #[test]
    fn a_path_that_leads_elsewhere_is_no_file_of_ours() {
        for path in [
            "certs/nodes/../kube-proxy.pem",
            "certs/nodes/.hidden/kube-proxy.pem",
            "certs/nodes//kube-proxy.pem",
            "certs/nodes/a/b/kube-proxy.pem",
            "certs/nodes/a/ca-key.pem",
            "certs/nodes/A/kube-proxy.pem",
            "/certs/nodes/a/kube-proxy.pem",
            "certs/kube-proxy.pem",
        ] {
            assert_eq!(ExtraFile::parse(path), None, "{path}");
        }
    }
}
