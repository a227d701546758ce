//! Which files a host must hold: path, owner, mode, digest, content. Pure: it reads no disk and asks no host.

use crate::{digest::Digest, secret::Secret};
use std::sync::Arc;

/// What a file on a host is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FileKind {
    BootstrapKubeconfig,
    KubeProxyKubeconfig,
    TokenCsv,
    CaCertificate,
}

/// One file as a host must hold it: owned by root (by the caller, where the caller is not root), mode 0600.
#[derive(Debug, Clone)]
pub struct HostFile {
    pub kind: FileKind,
    /// Absolute path on the host; below `root` for a local host.
    pub path: String,
    /// Text without NUL bytes.
    pub content: Arc<Secret>,
    pub sha256: Digest,
}
