//! A kubeconfig as typed values. Fields not named here (extensions, preferences, whatever a later client-go adds) are
//! kept in `other` at their level and written back.
//!
//! Field list: client-go `tools/clientcmd/api/v1/types.go`. What may carry a credential is a [`Secret`]; Debug shows
//! names only. An empty string and an absent field are the same thing to kubectl; both are `None` here.

use crate::secret::Secret;
use std::{collections::BTreeMap, fmt};

/// Fields this model does not name, by key, as they were read.
#[derive(Clone, Default, PartialEq)]
pub struct Unknown(pub BTreeMap<String, serde_yaml::Value>);

impl fmt::Debug for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// A whole file. `apiVersion: v1` and `kind: Config` are implied.
#[derive(Debug, Clone, Default)]
pub struct Kubeconfig {
    pub clusters: Vec<Named<Cluster>>,
    pub contexts: Vec<Named<Context>>,
    pub users: Vec<Named<User>>,
    pub current_context: Option<String>,
    /// `preferences` and `extensions` among them.
    pub other: Unknown,
}

/// An entry of one of the three lists.
#[derive(Debug, Clone)]
pub struct Named<T> {
    pub name: String,
    pub entry: T,
    pub other: Unknown,
}

impl<T> Named<T> {
    pub fn new(name: impl Into<String>, entry: T) -> Self {
        Self { name: name.into(), entry, other: Unknown::default() }
    }
}

/// How to reach an apiserver.
#[derive(Clone, Default)]
pub struct Cluster {
    pub server: Option<String>,
    pub tls_server_name: Option<String>,
    pub insecure_skip_tls_verify: bool,
    /// A path.
    pub certificate_authority: Option<String>,
    /// Standard base64 of PEM; overrides the path.
    pub certificate_authority_data: Option<String>,
    /// May carry a password.
    pub proxy_url: Option<String>,
    pub disable_compression: bool,
    pub other: Unknown,
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").finish_non_exhaustive()
    }
}

/// A cluster and a user, by name.
#[derive(Debug, Clone, Default)]
pub struct Context {
    pub cluster: Option<String>,
    pub user: Option<String>,
    pub namespace: Option<String>,
    pub other: Unknown,
}

/// How to authenticate.
#[derive(Debug, Clone, Default)]
pub struct User {
    /// A path.
    pub client_certificate: Option<String>,
    /// Standard base64 of PEM; overrides the path.
    pub client_certificate_data: Option<String>,
    /// A path.
    pub client_key: Option<String>,
    /// Standard base64 of PEM; overrides the path.
    pub client_key_data: Option<Secret>,
    pub token: Option<Secret>,
    /// A path; `token` takes precedence.
    pub token_file: Option<String>,
    /// `as`: whom to impersonate.
    pub impersonate: Option<String>,
    /// `as-uid`.
    pub impersonate_uid: Option<String>,
    /// `as-groups`.
    pub impersonate_groups: Vec<String>,
    /// `as-user-extra`; may carry credentials (Clusternet's does).
    pub impersonate_extra: BTreeMap<String, Vec<Secret>>,
    pub username: Option<String>,
    pub password: Option<Secret>,
    pub auth_provider: Option<AuthProvider>,
    pub exec: Option<Exec>,
    pub other: Unknown,
}

/// The old in-tree plugins (`oidc` is the one that is left). The values may be tokens.
#[derive(Debug, Clone, Default)]
pub struct AuthProvider {
    pub name: String,
    pub config: BTreeMap<String, Secret>,
    pub other: Unknown,
}

/// A credential plugin. Arguments and values of variables may be secrets.
#[derive(Debug, Clone, Default)]
pub struct Exec {
    pub api_version: Option<String>,
    pub command: String,
    pub args: Vec<Secret>,
    pub env: Vec<EnvVar>,
    pub install_hint: Option<String>,
    pub provide_cluster_info: bool,
    /// `Never`, `IfAvailable` or `Always`; mandatory with `client.authentication.k8s.io/v1`.
    pub interactive_mode: Option<String>,
    pub other: Unknown,
}

/// One environment variable of a plugin.
#[derive(Debug, Clone)]
pub struct EnvVar {
    pub name: String,
    pub value: Secret,
    pub other: Unknown,
}
