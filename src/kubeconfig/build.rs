//! New kubeconfigs, as the handbook's `kubectl config set-cluster/set-credentials/set-context/use-context` make them:
//! one cluster, one user, one context named `default`, data embedded.

use super::model::{Cluster, Context, Kubeconfig, Named, Unknown, User};
use crate::{
    secret::{ExposeSecret, Secret},
    token::BootstrapToken,
};
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};

/// The context's name in every kubeconfig kubemint makes.
const CONTEXT: &str = "default";

/// bootstrap.kubeconfig: `user` holds the bootstrap token. `ca_pem` is embedded byte for byte.
#[must_use]
pub fn build_bootstrap(
    cluster_name: &str,
    server: &str,
    ca_pem: &str,
    user: &str,
    token: &BootstrapToken,
) -> Kubeconfig {
    build_token(cluster_name, server, ca_pem, user, token.secret())
}

/// A kubeconfig whose user holds any bearer token.
#[must_use]
pub fn build_token(cluster_name: &str, server: &str, ca_pem: &str, user: &str, token: &Secret) -> Kubeconfig {
    build(cluster_name, server, ca_pem, user, User { token: Some(token.clone()), ..User::default() })
}

/// kube-proxy.kubeconfig and its like: `user` holds a client certificate and its key. PEM is embedded byte for byte.
#[must_use]
pub fn build_client_certificate(
    cluster_name: &str,
    server: &str,
    ca_pem: &str,
    user: &str,
    cert_pem: &str,
    key_pem: &Secret,
) -> Kubeconfig {
    let credentials = User {
        client_certificate_data: Some(BASE64.encode(cert_pem)),
        client_key_data: Some(BASE64.encode(key_pem.expose_secret()).into()),
        ..User::default()
    };
    build(cluster_name, server, ca_pem, user, credentials)
}

fn build(cluster_name: &str, server: &str, ca_pem: &str, user: &str, credentials: User) -> Kubeconfig {
    let cluster = Cluster {
        server: Some(server.to_owned()),
        certificate_authority_data: Some(BASE64.encode(ca_pem)),
        ..Cluster::default()
    };
    let context = Context { cluster: Some(cluster_name.to_owned()), user: Some(user.to_owned()), ..Context::default() };
    Kubeconfig {
        clusters: vec![Named::new(cluster_name, cluster)],
        contexts: vec![Named::new(CONTEXT, context)],
        users: vec![Named::new(user, credentials)],
        current_context: Some(CONTEXT.to_owned()),
        other: Unknown::default(),
    }
}
