//! What the current context leads to: the cluster and the user a client would use.

use super::{Cluster, Kubeconfig, ParseError, User, parse_kubeconfig};
use crate::{
    secret::{ExposeSecret, Secret},
    token::BootstrapToken,
};
use base64::{Engine, prelude::BASE64_STANDARD};

impl Kubeconfig {
    /// As [`parse_kubeconfig`], of text that is kept as a secret.
    ///
    /// # Errors
    /// As [`parse_kubeconfig`].
    pub fn from_secret(text: &Secret) -> Result<Self, ParseError> {
        parse_kubeconfig(text.expose_secret().as_bytes())
    }

    /// The server of the current context's cluster.
    #[must_use]
    pub fn current_server(&self) -> Option<&str> {
        self.current_cluster()?.server.as_deref()
    }

    /// The PEM text embedded as that cluster's CA.
    #[must_use]
    pub fn ca_of_current_cluster(&self) -> Option<String> {
        decode(self.current_cluster()?.certificate_authority_data.as_deref()?)
    }

    /// The token of the current context's user.
    #[must_use]
    pub fn token_of_current_user(&self) -> Option<BootstrapToken> {
        BootstrapToken::from_secret(self.current_user()?.token.clone()?).ok()
    }

    /// Certificate and key embedded for that user, both PEM.
    #[must_use]
    pub fn client_pair_of_current_user(&self) -> Option<(String, Secret)> {
        let user = self.current_user()?;
        let certificate = decode(user.client_certificate_data.as_deref()?)?;
        let key = decode(user.client_key_data.as_ref()?.expose_secret())?;
        Some((certificate, key.into()))
    }

    fn current_cluster(&self) -> Option<&Cluster> {
        let name = self.current_context()?.cluster.as_ref()?;
        self.clusters.iter().find(|cluster| &cluster.name == name).map(|cluster| &cluster.entry)
    }

    fn current_user(&self) -> Option<&User> {
        let name = self.current_context()?.user.as_ref()?;
        self.users.iter().find(|user| &user.name == name).map(|user| &user.entry)
    }

    fn current_context(&self) -> Option<&super::Context> {
        let name = self.current_context.as_ref()?;
        self.contexts.iter().find(|context| &context.name == name).map(|context| &context.entry)
    }
}

fn decode(base64: &str) -> Option<String> {
    String::from_utf8(BASE64_STANDARD.decode(base64).ok()?).ok()
}
