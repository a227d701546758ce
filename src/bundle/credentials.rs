//! One generation of credentials, from which every host's files are rendered.

use super::{FileKind, Validity};
use crate::{
    digest::Fingerprint,
    inventory::{Host, ServerUrl},
    kubeconfig,
    secret::{ExposeSecret, Secret},
    token::{self, BootstrapToken},
};
use std::collections::BTreeMap;

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

/// A client certificate with its key, both PEM.
#[derive(Debug, Clone)]
pub struct ClientPair {
    pub certificate_pem: String,
    pub key_pem: Secret,
}

/// One generation of credentials.
#[derive(Debug)]
pub struct CredentialSet {
    pub cluster_name: String,
    /// Every CA certificate that is trusted; the first is the CA's own.
    pub ca_pem: String,
    pub token_user: String,
    pub token: BootstrapToken,
    /// The tokens of nodes that have their own, by name; empty where all share one.
    pub node_tokens: BTreeMap<String, BootstrapToken>,
    /// Whether token.csv has, or had until a moment ago, rows of single nodes.
    pub has_node_rows: bool,
    /// token.csv whole, rows of other users included; `None` where the cluster keeps the token in a Secret.
    pub token_csv: Option<Secret>,
    /// kube-proxy's, for every node without one of its own.
    pub client_certificate_pem: String,
    pub client_key_pem: Secret,
    /// The pairs of nodes that have their own, by name; empty where all share one.
    pub node_clients: BTreeMap<String, ClientPair>,
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

    /// The token in bootstrap.kubeconfig on `host`; the shared one where it has none of its own, or for no host in
    /// particular.
    #[must_use]
    pub fn token_of(&self, host: Option<&Host>) -> &BootstrapToken {
        host.and_then(|host| self.node_tokens.get(host.name.as_str())).unwrap_or(&self.token)
    }

    /// kube-proxy's certificate and key on `host`; the shared ones where it has none of its own, or for no host in
    /// particular.
    #[must_use]
    pub fn client_of(&self, host: Option<&Host>) -> (&str, &Secret) {
        let own = host.and_then(|host| self.node_clients.get(host.name.as_str()));
        own.map_or((&self.client_certificate_pem, &self.client_key_pem), |own| (&own.certificate_pem, &own.key_pem))
    }

    /// Whether there is anything to put into such a file.
    #[must_use]
    pub fn has(&self, kind: FileKind) -> bool {
        kind != FileKind::TokenCsv || self.token_csv.is_some()
    }

    /// When every certificate in a file holds; `None` where it has none, or one that cannot be read.
    #[must_use]
    pub fn validity(&self, kind: FileKind, host: Option<&Host>) -> Option<Validity> {
        let ca = || Validity::of_pem(&self.ca_pem);
        match kind {
            FileKind::TokenCsv => None,
            FileKind::BootstrapKubeconfig | FileKind::CaCertificate => ca(),
            FileKind::KubeProxyKubeconfig => Some(ca()?.overlap(Validity::of_pem(self.client_of(host).0)?)),
        }
    }

    /// The content of one file that no host in particular holds, with kubeconfigs that point to `server`.
    ///
    /// # Errors
    /// [`Error`].
    pub fn render(&self, kind: FileKind, server: &ServerUrl) -> Result<Secret, Error> {
        self.render_for(kind, server, None)
    }

    /// The same, as `host` holds it.
    ///
    /// # Errors
    /// [`Error`].
    pub fn render_for(&self, kind: FileKind, server: &ServerUrl, host: Option<&Host>) -> Result<Secret, Error> {
        let (certificate, key) = self.client_of(host);
        let (cluster, server, ca) = (&self.cluster_name, server.as_str(), &self.ca_pem);
        let content = match kind {
            FileKind::BootstrapKubeconfig => kubeconfig::render_kubeconfig(&kubeconfig::build_bootstrap(
                cluster,
                server,
                ca,
                &self.token_user,
                self.token_of(host),
            ))?,
            FileKind::KubeProxyKubeconfig => kubeconfig::render_kubeconfig(&kubeconfig::build_client_certificate(
                cluster,
                server,
                ca,
                KUBE_PROXY_USER,
                certificate,
                key,
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
