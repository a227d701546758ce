//! What a kubeconfig says, in values that are safe to print: names, addresses, certificates, fingerprints and problems.
//! No field can hold a secret: a token is a fingerprint, a URL has lost its userinfo.

use super::certificate::CertificateFacts;
use crate::digest::Fingerprint;
use serde::Serialize;

/// A whole file, entries in file order.
#[derive(Debug, Clone, Serialize)]
pub struct Inspection {
    pub current_context: Option<String>,
    pub clusters: Vec<ClusterFacts>,
    pub users: Vec<UserFacts>,
    pub contexts: Vec<ContextFacts>,
    pub problems: Vec<Problem>,
}

#[derive(Debug, Clone, Serialize)]
pub struct ClusterFacts {
    pub name: String,
    pub server: Option<String>,
    pub tls_server_name: Option<String>,
    pub proxy_url: Option<String>,
    pub insecure_skip_tls_verify: bool,
    /// Where the CA is a file of its own.
    pub certificate_authority_path: Option<String>,
    /// The embedded CA certificates; empty where they cannot be read (see the problems).
    pub certificate_authorities: Vec<CertificateFacts>,
}

/// How a user authenticates: the first that applies, in the order kubectl prefers them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum UserKind {
    Token,
    TokenFile,
    Basic,
    Exec,
    AuthProvider,
    ClientCertificate,
    None,
}

#[derive(Debug, Clone, Serialize)]
pub struct UserFacts {
    pub name: String,
    pub kind: UserKind,
    pub token_fingerprint: Option<Fingerprint>,
    pub token_file: Option<String>,
    /// The first embedded client certificate.
    pub certificate: Option<CertificateFacts>,
    pub certificate_path: Option<String>,
    pub key_path: Option<String>,
    pub username: Option<String>,
    /// The plugin's command, without arguments and variables.
    pub exec_command: Option<String>,
    pub auth_provider: Option<String>,
    /// Whom requests are made as.
    pub impersonates: Option<String>,
    /// The keys of `as-user-extra`; the values may be credentials.
    pub impersonation_extra: Vec<String>,
}

#[derive(Debug, Clone, Serialize)]
pub struct ContextFacts {
    pub name: String,
    pub cluster: Option<String>,
    pub user: Option<String>,
    pub namespace: Option<String>,
    pub current: bool,
}

/// Something that keeps the file, or an entry of it, from working.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Stable name for scripts.
    pub code: &'static str,
    /// As in `user "admin"`, or `file`.
    pub subject: String,
    pub message: String,
    /// What kubectl prints when it meets this, where that is known and helps to find it again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kubectl_says: Option<String>,
}
