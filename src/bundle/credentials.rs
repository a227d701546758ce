//! One generation of credentials, from which every host's files are rendered.

use super::{FileKind, Validity};
use crate::{
    digest::Fingerprint,
    inventory::ServerUrl,
    kubeconfig,
    secret::{ExposeSecret, Secret},
    token::{self, BootstrapToken},
};

/// The kubeconfig user of kube-proxy, by the handbook.
const KUBE_PROXY_USER: &str = "kube-proxy";

/// Why a file could not be rendered.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Kubeconfig(#[from] kubeconfig::EmitError),
    #[error("there is no token.csv: the cluster keeps the token in a Secret")]
    NoTokenFile,
    #[error("{} would hold a NUL byte", .0.relative_path())]
    NulByte(FileKind),
}

/// One generation of credentials.
#[derive(Debug)]
pub struct CredentialSet {
    pub cluster_name: String,
    pub ca_pem: String,
    pub token_user: String,
    pub token: BootstrapToken,
    /// token.csv whole, rows of other users included; `None` where the cluster keeps the token in a Secret.
    pub token_csv: Option<Secret>,
    pub client_certificate_pem: String,
    pub client_key_pem: Secret,
}

impl CredentialSet {
    /// User and token fingerprint of every row of token.csv; empty if it cannot be read.
    #[must_use]
    pub fn token_rows(&self) -> Vec<(String, Fingerprint)> {
        let Some(text) = &self.token_csv else { return Vec::new() };
        let rows = token::parse_token_file(text.expose_secret().as_bytes())
            .map(|file| file.rows().iter().map(|row| (row.user.clone(), row.fingerprint())).collect::<Vec<_>>());
        rows.unwrap_or_default()
    }

    /// Whether there is anything to put into such a file.
    #[must_use]
    pub fn has(&self, kind: FileKind) -> bool {
        kind != FileKind::TokenCsv || self.token_csv.is_some()
    }

    /// When every certificate in a file holds; `None` where it has none, or one that cannot be read.
    #[must_use]
    pub fn validity(&self, kind: FileKind) -> Option<Validity> {
        let ca = || Validity::of_pem(&self.ca_pem);
        match kind {
            FileKind::TokenCsv => None,
            FileKind::BootstrapKubeconfig | FileKind::CaCertificate => ca(),
            FileKind::KubeProxyKubeconfig => Some(ca()?.overlap(Validity::of_pem(&self.client_certificate_pem)?)),
        }
    }

    /// The content of one file, for a host whose kubeconfigs point to `server`.
    ///
    /// # Errors
    /// [`Error`].
    pub fn render(&self, kind: FileKind, server: &ServerUrl) -> Result<Secret, Error> {
        let (cluster, server, ca) = (&self.cluster_name, server.as_str(), &self.ca_pem);
        let content = match kind {
            FileKind::BootstrapKubeconfig => kubeconfig::render_kubeconfig(&kubeconfig::build_bootstrap(
                cluster,
                server,
                ca,
                &self.token_user,
                &self.token,
            ))?,
            FileKind::KubeProxyKubeconfig => kubeconfig::render_kubeconfig(&kubeconfig::build_client_certificate(
                cluster,
                server,
                ca,
                KUBE_PROXY_USER,
                &self.client_certificate_pem,
                &self.client_key_pem,
            ))?,
            FileKind::TokenCsv => self.token_csv.clone().ok_or(Error::NoTokenFile)?,
            FileKind::CaCertificate => Secret::from(ca.as_str()),
        };
        if content.expose_secret().contains('\0') {
            return Err(Error::NulByte(kind));
        }
        Ok(content)
    }
}
