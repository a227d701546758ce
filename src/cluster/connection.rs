//! A client of the kube crate for one address and one credential. What always holds: the server's certificate is verified
//! against the CA that was given before anything is sent, no proxy and no kubeconfig is taken from the environment, and
//! the kube crate runs no credential plugin, reads no file and retries nothing.
//!
//! A client lives for one call. A connection kept from before kube-apiserver's restart would be answered by the process
//! that is going down, and say nothing about the one that has come up.

use super::{AdminCredential, ClientPair, Credential, Error, call::Call};
use crate::{
    foreign::Pieces,
    inventory::ServerUrl,
    pki,
    secret::{ExposeSecret, Secret},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use http::HeaderValue;
use kube::{Client, Config, client::ClientBuilder, config::AuthInfo};
use std::time::Duration;
use zeroize::Zeroizing;

/// The CA certificates a server's certificate must come from, as DER.
#[derive(Clone)]
pub(super) struct Roots(Vec<Vec<u8>>);

impl Roots {
    /// # Errors
    /// [`Error::Access`] for text without a certificate.
    pub(super) fn parse(pem: &str) -> Result<Self, Error> {
        let unreadable = || Error::Access { reason: "the cluster's CA is no certificate (PEM) of a CA".to_owned() };
        let certificates = pki::decode_certificates(pem).map_err(|_| unreadable())?;
        let mut store = rustls::RootCertStore::empty();
        let fit = certificates.iter().all(|der| store.add(der.as_slice().into()).is_ok());
        if !fit { Err(unreadable()) } else { Ok(Self(certificates)) }
    }
}

/// As whom a call is made: what stands in TLS, and what stands in its header.
#[derive(Clone, Default)]
pub(super) struct Whom {
    certificate: Option<ClientPair>,
    bearer: Option<HeaderValue>,
}

impl Whom {
    pub(super) fn admin(credential: &AdminCredential) -> Result<Self, Error> {
        let bearer = credential.token.as_ref().map(bearer).transpose()?;
        Ok(Self { certificate: credential.certificate.clone(), bearer })
    }

    /// `None` for [`Credential::Admin`], which is not this floor's to know.
    pub(super) fn of(credential: Credential<'_>) -> Result<Option<Self>, Error> {
        match credential {
            Credential::Admin => Ok(None),
            Credential::Token(token) => Ok(Some(Self { certificate: None, bearer: Some(bearer(token)?) })),
            Credential::Certificate { chain, key } => {
                let pair = ClientPair { chain: chain.to_owned(), key: key.clone() };
                Ok(Some(Self { certificate: Some(pair), bearer: None }))
            }
        }
    }

    /// What a server may repeat of it and of the call.
    pub(super) fn secrets(&self, call: &Call) -> Pieces {
        let text = self.bearer.as_ref().and_then(|value| value.to_str().ok());
        let token = text.and_then(|text| text.strip_prefix("Bearer ")).map(Secret::from);
        let key = self.certificate.iter().flat_map(|pair| pair.key.expose_secret().lines());
        let key = key.filter(|line| !line.starts_with("--")).map(Secret::from);
        Pieces::of(key.chain(token).chain(call.secret.clone()))
    }

    pub(super) fn bearer(&self) -> Option<HeaderValue> {
        self.bearer.clone()
    }
}

/// RFC 6750. Marked sensitive: no library shows it.
fn bearer(token: &Secret) -> Result<HeaderValue, Error> {
    let text = Zeroizing::new(format!("Bearer {}", token.expose_secret().trim_end()));
    let mut value = HeaderValue::try_from(text.as_str())
        .map_err(|_| Error::Access { reason: "the bearer token holds characters no header may have".to_owned() })?;
    value.set_sensitive(true);
    Ok(value)
}

/// What else a client is made of.
pub(super) struct Route<'a> {
    pub(super) server: &'a ServerUrl,
    pub(super) roots: &'a Roots,
    /// The name the server's certificate must carry, where it is not that of the address.
    pub(super) server_name: Option<&'a str>,
    /// For TCP and TLS together.
    pub(super) connect: Duration,
}

/// A client; nothing is asked yet. Must be called inside the runtime that will drive it.
///
/// # Errors
/// [`Error::Access`]: certificate and key cannot be used.
pub(super) fn build_client(route: &Route<'_>, whom: &Whom) -> Result<Client, Error> {
    let access = |reason: &str| Error::Access { reason: reason.to_owned() };
    let address = route.server.as_str().parse().map_err(|_| access("the server's address is no URL"))?;
    let mut config = Config::new(address);
    config.root_cert = Some(route.roots.0.clone());
    config.connect_timeout = Some(route.connect);
    config.tls_server_name = route.server_name.map(str::to_owned);
    config.default_retry = false;
    if let Some(ClientPair { chain, key }) = &whom.certificate {
        config.auth_info = AuthInfo {
            client_certificate_data: Some(BASE64_STANDARD.encode(chain)),
            client_key_data: Some(BASE64_STANDARD.encode(key.expose_secret()).into()),
            ..AuthInfo::default()
        };
    }
    // The kube crate's own text may quote the credential.
    let client = ClientBuilder::try_from(config)
        .map_err(|_| access("the client certificate and its key cannot be used together"))?;
    Ok(client.build())
}
