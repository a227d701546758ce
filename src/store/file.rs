//! The files of the credential directory: names only.

use std::fmt;

/// One credential file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StoredFile {
    CaKey,
    CaCertificate,
    TokenCsv,
    KubeProxyKey,
    KubeProxyCertificate,
    BootstrapKubeconfig,
    KubeProxyKubeconfig,
    /// Both tokens of a rotation, as rows of token.csv: there only while it is under way.
    RotationTokens,
}

impl StoredFile {
    /// Every file, in the order they are written: a key before its certificate, sources before what embeds them.
    pub const ALL: [Self; 8] = [
        Self::CaKey,
        Self::CaCertificate,
        Self::TokenCsv,
        Self::KubeProxyKey,
        Self::KubeProxyCertificate,
        Self::BootstrapKubeconfig,
        Self::KubeProxyKubeconfig,
        Self::RotationTokens,
    ];

    /// Path below the credential directory.
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::CaKey => "ca-key.pem",
            Self::CaCertificate => "ca.pem",
            Self::TokenCsv => "token.csv",
            Self::KubeProxyKey => "certs/kube-proxy-key.pem",
            Self::KubeProxyCertificate => "certs/kube-proxy.pem",
            Self::BootstrapKubeconfig => "kubeconfigs/bootstrap.kubeconfig",
            Self::KubeProxyKubeconfig => "kubeconfigs/kube-proxy.kubeconfig",
            Self::RotationTokens => "rotation.csv",
        }
    }

    /// Whether it may be absent from a whole set.
    #[must_use]
    pub const fn is_passing(self) -> bool {
        matches!(self, Self::RotationTokens)
    }

    pub(super) const fn subdirectories() -> [&'static str; 2] {
        ["certs", "kubeconfigs"]
    }
}

impl fmt::Display for StoredFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.path())
    }
}
