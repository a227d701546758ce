//! Issuing a client certificate under the cluster CA: a new key unless one is given, a 128-bit random serial number, valid from
//! five minutes ago and never past the CA's end. The issuer's name is the CA's subject byte for byte and the authority
//! key identifier is the CA's own; every certificate is verified against its CA before it leaves this module.

use super::{
    Algorithm, Authority, CertificateError, CertificateInfo, CertificateSpec, ChainError, KeyError, Usage,
    chain::verify_der,
    der::{assemble, replace_issuer},
    fields::{BACKDATE, Name, NameLength, serial_number, x509_time},
    inspect::{LABEL, describe, read_x509},
    key::PrivateKey,
    textual::render_block,
};
use crate::{
    entropy::{self, Entropy},
    secret::Secret,
};
use jiff::Timestamp;
use rcgen::{
    CertificateParams, DistinguishedName, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    PublicKeyData, SignatureAlgorithm, SigningKey,
};
use std::time::Duration;

/// What the inventory asks of a client certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientSettings {
    pub algorithm: Algorithm,
    /// Counted from now.
    pub validity: Duration,
    /// The Kubernetes group; at most 64 characters, empty for none.
    pub organization: String,
}

/// A certificate fresh from the CA.
#[derive(Debug)]
pub struct Issued {
    /// One PEM block, LF line ends, a newline at the end.
    pub certificate_pem: String,
    /// PKCS#8, one PEM block.
    pub key_pem: Secret,
    pub info: CertificateInfo,
    pub lifetime: Lifetime,
}

/// Whether a certificate lasts as long as was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifetime {
    AsAsked,
    /// The CA ends earlier, and so does the certificate.
    ClampedToCa,
}

/// A certificate that could not be issued.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IssueError {
    #[error("the CA `{subject}` cannot sign here: its private key is elsewhere")]
    NoKey { subject: String },
    #[error("the CA `{subject}` expired at {not_after}")]
    CaExpired { subject: String, not_after: Timestamp },
    #[error("the CA `{subject}` is not valid before {not_before}")]
    CaNotYetValid { subject: String, not_before: Timestamp },
    #[error("the validity of {name} is under one second")]
    TooShort { name: &'static str },
    #[error(transparent)]
    Name(#[from] NameLength),
    #[error(transparent)]
    Entropy(#[from] entropy::Error),
    #[error("the key of {name} cannot be used again: {source}")]
    Key { name: &'static str, source: KeyError },
    #[error("the key of {name} is {kind}, not {asked}")]
    OtherAlgorithm { name: &'static str, kind: String, asked: Algorithm },
    #[error("{name} could not be signed: {source}")]
    Signing { name: &'static str, source: rcgen::Error },
    #[error("the certificate just made for {name} cannot be read back: {source}")]
    Unreadable { name: &'static str, source: CertificateError },
    #[error("the certificate just made for {name} does not hold under its CA: {source}")]
    Unverified { name: &'static str, source: ChainError },
}

impl IssueError {
    /// What may be done about it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoKey { .. } => Some("have it signed where the CA's key is, or give `key` beside `cert` under [ca]"),
            Self::CaExpired { .. } => Some("renew the CA first"),
            Self::CaNotYetValid { .. } => Some("check this machine's clock"),
            Self::TooShort { .. } => Some("ask for a longer validity"),
            Self::Name(_) => Some("choose a name of 1 to 64 characters"),
            Self::Key { .. } | Self::OtherAlgorithm { .. } => Some("have a new key made"),
            Self::Entropy(_) | Self::Signing { .. } | Self::Unreadable { .. } | Self::Unverified { .. } => None,
        }
    }
}

/// Issues a client certificate with a new key.
///
/// # Errors
/// [`IssueError`].
pub fn issue_client(
    authority: &Authority,
    spec: &CertificateSpec,
    settings: &ClientSettings,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Result<Issued, IssueError> {
    let key = PrivateKey::generate(settings.algorithm);
    let key = key.map_err(|source| IssueError::Signing { name: spec.name, source })?;
    issue(authority, spec, settings, key, now, entropy)
}

/// Issues a client certificate for a key that there is already, of the algorithm in `settings`.
///
/// # Errors
/// [`IssueError`].
pub fn issue_client_again(
    authority: &Authority,
    spec: &CertificateSpec,
    settings: &ClientSettings,
    key: &Secret,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Result<Issued, IssueError> {
    let key = PrivateKey::parse(key).map_err(|source| IssueError::Key { name: spec.name, source })?;
    if key.kind().to_string() != settings.algorithm.name() {
        let (kind, asked) = (key.kind().to_string(), settings.algorithm);
        return Err(IssueError::OtherAlgorithm { name: spec.name, kind, asked });
    }
    issue(authority, spec, settings, key, now, entropy)
}

fn issue(
    authority: &Authority,
    spec: &CertificateSpec,
    settings: &ClientSettings,
    key: PrivateKey,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Result<Issued, IssueError> {
    let name = spec.name;
    let signer = signer(authority, now)?;
    let (not_after, lifetime) = end(authority, settings, now, name)?;

    let mut params = CertificateParams::default();
    params.distinguished_name = subject(spec, settings)?;
    params.not_before = x509_time(now.saturating_sub(BACKDATE).unwrap_or(now));
    params.not_after = x509_time(not_after);
    params.serial_number = Some(serial_number(entropy)?);
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = key_usages(settings.algorithm);
    params.extended_key_usages = spec.usages.iter().map(|usage| extended(*usage)).collect();
    params.use_authority_key_identifier_extension = true;

    let signing = |source| IssueError::Signing { name, source };
    let der = sign(&params, &key, authority, signer).map_err(signing)?;
    let info = examine(&der, authority, now, name)?;
    Ok(Issued { certificate_pem: render_block(LABEL, &der), key_pem: key.into_pem(), info, lifetime })
}

fn signer(authority: &Authority, now: Timestamp) -> Result<&KeyPair, IssueError> {
    let ca = authority.certificate();
    let subject = || ca.subject.clone();
    if now.as_second() >= ca.not_after.as_second() {
        return Err(IssueError::CaExpired { subject: subject(), not_after: ca.not_after });
    }
    if now.as_second() < ca.not_before.as_second() {
        return Err(IssueError::CaNotYetValid { subject: subject(), not_before: ca.not_before });
    }
    authority.key().map(PrivateKey::pair).ok_or_else(|| IssueError::NoKey { subject: subject() })
}

fn end(
    authority: &Authority,
    settings: &ClientSettings,
    now: Timestamp,
    name: &'static str,
) -> Result<(Timestamp, Lifetime), IssueError> {
    if settings.validity < Duration::from_secs(1) {
        return Err(IssueError::TooShort { name });
    }
    let ca_end = authority.certificate().not_after;
    Ok(match now.checked_add(settings.validity) {
        Ok(asked) if asked.as_second() <= ca_end.as_second() => (asked, Lifetime::AsAsked),
        _ => (ca_end, Lifetime::ClampedToCa),
    })
}

pub(super) fn subject(spec: &CertificateSpec, settings: &ClientSettings) -> Result<DistinguishedName, NameLength> {
    let name = Name::new();
    let name = if settings.organization.is_empty() { name } else { name.organization(&settings.organization)? };
    Ok(name.common_name(spec.common_name)?.into())
}

/// RFC 8446 needs digitalSignature; RSA key exchange (TLS 1.2) also keyEncipherment.
pub(super) fn key_usages(algorithm: Algorithm) -> Vec<KeyUsagePurpose> {
    let mut usages = vec![KeyUsagePurpose::DigitalSignature];
    if algorithm.is_rsa() {
        usages.push(KeyUsagePurpose::KeyEncipherment);
    }
    usages
}

pub(super) fn extended(usage: Usage) -> ExtendedKeyUsagePurpose {
    match usage {
        Usage::ClientAuth => ExtendedKeyUsagePurpose::ClientAuth,
    }
}

/// rcgen builds everything but the issuer's name and the signature.
fn sign(
    params: &CertificateParams,
    key: &PrivateKey,
    authority: &Authority,
    signer: &KeyPair,
) -> Result<Vec<u8>, rcgen::Error> {
    let mut issuer = CertificateParams::default();
    issuer.key_identifier_method = KeyIdMethod::PreSpecified(authority.key_identifier().to_vec());
    let draft = params.signed_by(key.pair(), &Issuer::from_params(&issuer, Unsigned(signer)))?;
    let (to_be_signed, algorithm) = replace_issuer(draft.der(), &authority.certificate().subject_der)
        .ok_or(rcgen::Error::CouldNotParseCertificate)?;
    let signature = signer.sign(&to_be_signed)?;
    Ok(assemble(&to_be_signed, &algorithm, &signature))
}

/// The CA's key, but it leaves the signature out.
struct Unsigned<'a>(&'a KeyPair);

impl PublicKeyData for Unsigned<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.0.der_bytes()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.0.algorithm()
    }
}

impl SigningKey for Unsigned<'_> {
    fn sign(&self, _: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        Ok(vec![0])
    }
}

fn examine(
    der: &[u8],
    authority: &Authority,
    now: Timestamp,
    name: &'static str,
) -> Result<CertificateInfo, IssueError> {
    verify_der(der, authority.der(), now).map_err(|source| IssueError::Unverified { name, source })?;
    read_x509(der)
        .and_then(|certificate| describe(&certificate))
        .map_err(|source| IssueError::Unreadable { name, source })
}
