//! Requests for a certificate (PKCS #10, RFC 2986), for a CA whose key is elsewhere: a key of our own, and a request that
//! asks for what [`super::issue_client`] would have made. What comes back is judged by `signed`.

use super::{
    Algorithm, CertificateSpec, ClientSettings, KeyError, NameLength,
    issue::{extended, key_usages, subject},
    key::PrivateKey,
    textual::render_block,
};
use crate::{digest::Digest, secret::Secret};
use rcgen::{CertificateParams, PublicKeyData};

const LABEL: &str = "CERTIFICATE REQUEST";

/// A request that could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutgoingError {
    #[error("the key of {name} cannot be used: {source}")]
    Key { name: &'static str, source: KeyError },
    #[error("the key of {name} is {kind}, the inventory asks for {asked}")]
    OtherAlgorithm { name: &'static str, kind: String, asked: Algorithm },
    #[error(transparent)]
    Name(#[from] NameLength),
    #[error("the request for {name} could not be made: {source}")]
    Making { name: &'static str, source: rcgen::Error },
}

impl OutgoingError {
    /// What may be done about it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Key { source, .. } => source.hint(),
            Self::OtherAlgorithm { .. } => Some("have a new key made with --new-key"),
            Self::Name(_) => Some("choose a name of 1 to 64 characters"),
            Self::Making { .. } => None,
        }
    }
}

/// A new private key: PKCS#8, one PEM block.
///
/// # Errors
/// [`OutgoingError::Making`].
pub fn generate_key(spec: &CertificateSpec, algorithm: Algorithm) -> Result<Secret, OutgoingError> {
    let key = PrivateKey::generate(algorithm);
    key.map(PrivateKey::into_pem).map_err(|source| OutgoingError::Making { name: spec.name, source })
}

/// The request for a client certificate of `key`, signed by it: one PEM block. Subject, key usage and extended key usage
/// are those of a certificate issued here; how long it is to hold is for its CA to say.
///
/// # Errors
/// [`OutgoingError`].
pub fn render_request(
    spec: &CertificateSpec,
    settings: &ClientSettings,
    key: &Secret,
) -> Result<String, OutgoingError> {
    let name = spec.name;
    let key = PrivateKey::parse(key).map_err(|source| OutgoingError::Key { name, source })?;
    if key.kind().to_string() != settings.algorithm.name() {
        return Err(OutgoingError::OtherAlgorithm { name, kind: key.kind().to_string(), asked: settings.algorithm });
    }
    let mut params = CertificateParams::default();
    params.distinguished_name = subject(spec, settings)?;
    params.key_usages = key_usages(settings.algorithm);
    params.extended_key_usages = spec.usages.iter().map(|usage| extended(*usage)).collect();
    let request = params.serialize_request(key.pair()).map_err(|source| OutgoingError::Making { name, source })?;
    Ok(render_block(LABEL, request.der()))
}

/// The digest of a private key's public half (SubjectPublicKeyInfo), as certificates have it.
///
/// # Errors
/// [`KeyError`].
pub fn public_key_digest(key: &Secret) -> Result<Digest, KeyError> {
    Ok(Digest::of(PrivateKey::parse(key)?.pair().subject_public_key_info()))
}
