//! How a kubeconfig's context gets at its cluster, as far as this program goes along: client certificate, token, or a
//! file that holds one of them. What it does not go along with is refused by name: credential plugins, passwords,
//! proxies, impersonation. `insecure-skip-tls-verify` counts for nothing: the certificate is verified all the same.
//!
//! Files are only named; whoever reads them knows that paths are relative to the kubeconfig's folder.

use super::model::{Cluster, Kubeconfig, User};
use crate::secret::{ExposeSecret, Secret, printable, redact_url};
use base64::{Engine, prelude::BASE64_STANDARD};
use std::path::PathBuf;
use zeroize::Zeroizing;

/// Something that a kubeconfig holds or only names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Material<T> {
    Here(T),
    File(PathBuf),
}

/// A client certificate and its key, each PEM.
pub type Pair = (Material<String>, Material<Secret>);

/// What one context says.
#[derive(Debug, Clone)]
pub struct Access {
    /// As written.
    pub server: Option<String>,
    pub tls_server_name: Option<String>,
    /// PEM.
    pub ca: Option<Material<String>>,
    pub certificate: Option<Pair>,
    /// A bearer token. One that stands in the kubeconfig counts before the file, as the kube crate has it.
    pub token: Option<Material<Secret>>,
}

/// Why a kubeconfig is no access to a cluster. Names in it are safe to print.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AccessError {
    #[error("no current-context")]
    NoContext,
    #[error("there is no {what} {name:?}")]
    Dangling { what: &'static str, name: String },
    #[error("context {context:?} names no {what}")]
    Missing { what: &'static str, context: String },
    #[error("user {user:?} runs a credential plugin ({command:?}), which kubemint does not")]
    Exec { user: String, command: String },
    #[error("user {user:?} has auth-provider {provider:?}, which kubemint does not know")]
    AuthProvider { user: String, provider: String },
    #[error("user {user:?} has a password, which no apiserver since Kubernetes 1.19 takes")]
    Password { user: String },
    #[error("user {user:?} acts as somebody else (as, as-groups), which kubemint does not")]
    Impersonation { user: String },
    #[error("user {user:?} has no credential")]
    NoCredential { user: String },
    #[error("user {user:?} has a client certificate without its key, or a key without its certificate")]
    HalfAPair { user: String },
    #[error("the cluster is behind a proxy ({proxy}), which kubemint does not use")]
    Proxy { proxy: String },
    #[error("{field} is not base64 of text")]
    NotBase64 { field: &'static str },
}

impl AccessError {
    /// What the user may do about it.
    #[must_use]
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::NoContext => "name a context with --context",
            Self::Dangling { .. } | Self::Missing { .. } | Self::NotBase64 { .. } => {
                "`kubemint kubeconfig inspect FILE` shows what is in it"
            }
            Self::Exec { .. } | Self::AuthProvider { .. } | Self::Password { .. } | Self::Impersonation { .. } => {
                "name a kubeconfig with a client certificate or a token of its own; where the CA's key is at hand, run \
                 without --kubeconfig and KUBECONFIG, and kubemint issues itself a certificate"
            }
            Self::NoCredential { .. } | Self::HalfAPair { .. } => "name an admin's kubeconfig",
            Self::Proxy { .. } => "run kubemint where the control-plane hosts can be reached directly",
        }
    }
}

impl Kubeconfig {
    /// What `context`, or the current one, says.
    ///
    /// # Errors
    /// [`AccessError`].
    pub fn access(&self, context: Option<&str>) -> Result<Access, AccessError> {
        let name = context.or(self.current_context.as_deref()).ok_or(AccessError::NoContext)?;
        let context = self.contexts.iter().find(|known| known.name == name);
        let context = &context.ok_or_else(|| dangling("context", name))?.entry;
        let missing = |what| AccessError::Missing { what, context: printable(name) };
        let cluster_name = context.cluster.as_deref().ok_or_else(|| missing("cluster"))?;
        let user_name = context.user.as_deref().ok_or_else(|| missing("user"))?;
        let cluster = self.clusters.iter().find(|known| known.name == cluster_name);
        let user = self.users.iter().find(|known| known.name == user_name);
        let cluster = &cluster.ok_or_else(|| dangling("cluster", cluster_name))?.entry;
        let user = &user.ok_or_else(|| dangling("user", user_name))?.entry;
        refuse_foreign(user, user_name)?;
        if let Some(proxy) = &cluster.proxy_url {
            return Err(AccessError::Proxy { proxy: printable(&redact_url(proxy)) });
        }
        let certificate = certificate(user, user_name)?;
        let token = match (&user.token, &user.token_file) {
            (Some(token), _) => Some(Material::Here(token.clone())),
            (None, file) => file.as_ref().map(|file| Material::File(file.into())),
        };
        if certificate.is_none() && token.is_none() {
            return Err(AccessError::NoCredential { user: printable(user_name) });
        }
        Ok(Access {
            server: cluster.server.clone(),
            tls_server_name: cluster.tls_server_name.clone(),
            ca: authority(cluster)?,
            certificate,
            token,
        })
    }
}

fn dangling(what: &'static str, name: &str) -> AccessError {
    AccessError::Dangling { what, name: printable(name) }
}

fn refuse_foreign(user: &User, name: &str) -> Result<(), AccessError> {
    let name = printable(name);
    if let Some(exec) = &user.exec {
        return Err(AccessError::Exec { user: name, command: printable(&exec.command) });
    }
    if let Some(provider) = &user.auth_provider {
        return Err(AccessError::AuthProvider { user: name, provider: printable(&provider.name) });
    }
    if user.username.is_some() || user.password.is_some() {
        return Err(AccessError::Password { user: name });
    }
    let groups_or_extra = !user.impersonate_groups.is_empty() || !user.impersonate_extra.is_empty();
    if user.impersonate.is_some() || user.impersonate_uid.is_some() || groups_or_extra {
        return Err(AccessError::Impersonation { user: name });
    }
    Ok(())
}

fn authority(cluster: &Cluster) -> Result<Option<Material<String>>, AccessError> {
    match (&cluster.certificate_authority_data, &cluster.certificate_authority) {
        (Some(data), _) => Ok(Some(Material::Here(decode(data, "certificate-authority-data")?))),
        (None, file) => Ok(file.as_ref().map(|file| Material::File(file.into()))),
    }
}

fn certificate(user: &User, name: &str) -> Result<Option<Pair>, AccessError> {
    let chain = match (&user.client_certificate_data, &user.client_certificate) {
        (Some(data), _) => Some(Material::Here(decode(data, "client-certificate-data")?)),
        (None, file) => file.as_ref().map(|file| Material::File(file.into())),
    };
    let key = match (&user.client_key_data, &user.client_key) {
        (Some(data), _) => Some(Material::Here(decode(data.expose_secret(), "client-key-data")?.into())),
        (None, file) => file.as_ref().map(|file| Material::File(file.into())),
    };
    match (chain, key) {
        (Some(chain), Some(key)) => Ok(Some((chain, key))),
        (None, None) => Ok(None),
        _ => Err(AccessError::HalfAPair { user: printable(name) }),
    }
}

fn decode(base64: &str, field: &'static str) -> Result<String, AccessError> {
    let fault = || AccessError::NotBase64 { field };
    let bytes = BASE64_STANDARD.decode(base64).map_err(|_| fault())?;
    String::from_utf8(bytes).map_err(|e| {
        drop(Zeroizing::new(e.into_bytes()));
        fault()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubeconfig::parse_kubeconfig;

    fn access(cluster: &str, user: &str) -> Result<Access, AccessError> {
        let text = format!(
            "{{apiVersion: v1, kind: Config, current-context: c, contexts: [{{name: c, context: {{cluster: k, user: u}}}}, \
             {{name: lost, context: {{cluster: gone, user: u}}}}], clusters: [{{name: k, cluster: {{{cluster}}}}}], users: \
             [{{name: u, user: {{{user}}}}}]}}"
        );
        parse_kubeconfig(text.as_bytes()).unwrap().access(None)
    }

    #[test]
    fn data_counts_before_files_and_files_are_named() {
        let data = "client-certificate-data: YQ==, client-certificate: x, client-key: k.pem";
        let found =
            access("server: 'https://a:6443', certificate-authority: ca.pem, tls-server-name: n", data).unwrap();
        let (chain, key) = found.certificate.unwrap();
        assert_eq!(chain, Material::Here("a".to_owned()));
        assert!(matches!(key, Material::File(path) if path.as_os_str() == "k.pem"));
        assert_eq!(found.ca, Some(Material::File("ca.pem".into())));
        assert_eq!((found.server.as_deref(), found.tls_server_name.as_deref()), (Some("https://a:6443"), Some("n")));
        let found =
            access("certificate-authority: f, certificate-authority-data: Y2E=", "token: t, tokenFile: f").unwrap();
        assert_eq!(found.ca, Some(Material::Here("ca".to_owned())));
        assert!(matches!(found.token, Some(Material::Here(_))));
        assert!(matches!(access("", "tokenFile: /t").unwrap().token, Some(Material::File(_))));
    }

    #[test]
    fn what_is_not_gone_along_with_is_refused_by_name() {
        for (cluster, user, says) in [
            ("", "exec: {command: kubelogin, apiVersion: v1}", "kubelogin"),
            ("", "token: t, exec: {command: kubelogin}", "kubelogin"),
            ("", "auth-provider: {name: oidc}", "oidc"),
            ("", "username: a, password: canary", "password"),
            ("", "token: t, as: admin", "somebody else"),
            ("", "token: t, as-groups: ['system:masters']", "somebody else"),
            ("", "", "no credential"),
            ("", "client-certificate: a", "without its key"),
            ("", "client-key: a", "without its key"),
            ("", "client-certificate-data: '!', client-key: k", "client-certificate-data is not base64"),
            ("certificate-authority-data: '!'", "token: t", "certificate-authority-data is not base64"),
            ("proxy-url: 'http://u:canary@p:3128'", "token: t", "http://[redacted]@p:3128"),
        ] {
            let error = access(cluster, user).unwrap_err();
            let said = error.to_string();
            assert!(said.contains(says) && !said.contains("canary") && !error.hint().is_empty(), "{said}");
        }
    }

    #[test]
    fn a_context_that_leads_nowhere_is_named() {
        let config = parse_kubeconfig(
            b"{apiVersion: v1, kind: Config, contexts: [{name: c, context: {cluster: gone, user: u}}, {name: d, context: {}}]}",
        )
        .unwrap();
        let says = |context| config.access(context).unwrap_err().to_string();
        assert_eq!(says(None), "no current-context");
        assert_eq!(says(Some("x\n")), "there is no context \"x\\\\n\"");
        assert_eq!(says(Some("c")), "there is no cluster \"gone\"");
        assert_eq!(says(Some("d")), "context \"d\" names no cluster");
    }
}
