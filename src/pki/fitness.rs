//! Whether a certificate, and a key beside it, are fit to be a cluster's CA: everything that would let certificates be
//! issued which the apiserver then refuses. rcgen checks none of this. Which files the two came from is not known here:
//! [`ImportError::culprit`] says which of them it is.

use super::{
    CertificateError, CertificateInfo, ChainError, KeyError,
    chain::verify_der,
    key::{LARGEST_RSA, PrivateKey, SMALLEST_RSA},
    public_key::KeyKind,
};
use aws_lc_rs::digest;
use jiff::Timestamp;
use x509_parser::{certificate::X509Certificate, extensions::GeneralName};

/// Which input an [`ImportError`] is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Culprit {
    Certificate,
    Key,
    /// Both are sound, but not together.
    Pair,
}

/// A CA that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("the private key ({key}) does not belong to the CA certificate `{subject}` ({certificate})")]
    KeyMismatch { subject: String, certificate: String, key: String },
    #[error("`{subject}` is not a CA: {reason}")]
    NotCa { subject: String, reason: &'static str },
    #[error("the CA `{subject}` may not sign certificates: its key usage lacks keyCertSign")]
    NoCertSign { subject: String },
    #[error("the CA `{subject}` may not sign client certificates: its extended key usage is {}", usages.join(", "))]
    NoClientAuth { subject: String, usages: Vec<String> },
    #[error("the CA `{subject}` has name constraints on directory names, which Kubernetes cannot check")]
    NameConstraints { subject: String },
    #[error("the CA's subject is empty")]
    EmptySubject,
    #[error("the CA `{subject}` expired at {not_after}")]
    Expired { subject: String, not_after: Timestamp },
    #[error("the CA `{subject}` is not valid before {not_before}")]
    NotYetValid { subject: String, not_before: Timestamp },
    #[error("the CA's RSA key has {bits} bits; at least {SMALLEST_RSA} are needed")]
    RsaTooSmall { bits: usize },
    #[error("the CA's key ({kind}) is not supported")]
    UnsupportedKey { kind: String },
    #[error("the CA certificate `{subject}` is damaged: its own signature does not verify")]
    BadSignature { subject: String },
}

impl ImportError {
    /// Which of the two inputs to name in front of the message.
    #[must_use]
    pub const fn culprit(&self) -> Culprit {
        match self {
            Self::Key(_) => Culprit::Key,
            Self::KeyMismatch { .. } => Culprit::Pair,
            _ => Culprit::Certificate,
        }
    }

    /// What may be done about it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Certificate(e) => e.hint(),
            Self::Key(e) => e.hint(),
            Self::KeyMismatch { .. } => Some("give the certificate and the key that were made together"),
            Self::NotCa { .. } => Some("give the certificate of the CA itself, not one that it signed"),
            Self::NoCertSign { .. } | Self::NoClientAuth { .. } | Self::NameConstraints { .. } | Self::EmptySubject => {
                Some("make a CA without that restriction, or let kubemint make one")
            }
            Self::Expired { .. } => Some("renew the CA, or let kubemint make one"),
            Self::NotYetValid { .. } => Some("check this machine's clock"),
            Self::RsaTooSmall { .. } => Some("make a CA with a larger key, or let kubemint make one"),
            Self::UnsupportedKey { .. } => Some("use RSA, ECDSA on P-256, P-384 or P-521, or Ed25519"),
            Self::BadSignature { .. } => Some("take a fresh copy of the file"),
        }
    }
}

/// Every check but that of the dates, which alone may turn out otherwise at another time; the first that fails. `key` is
/// `None` for an external CA.
pub(super) fn check_fitness(
    certificate: &X509Certificate<'_>,
    info: &CertificateInfo,
    key: Option<&PrivateKey>,
) -> Result<(), ImportError> {
    check_role(certificate, info)?;
    check_restrictions(certificate, info)?;
    check_key(certificate, info, key)?;
    check_own_signature(certificate.as_raw(), info)
}

/// A CA without key usage is one from before RFC 3280 and stays usable.
fn check_role(certificate: &X509Certificate<'_>, info: &CertificateInfo) -> Result<(), ImportError> {
    let subject = || info.subject.clone();
    if certificate.subject().iter().next().is_none() {
        return Err(ImportError::EmptySubject);
    }
    if !info.is_ca {
        let present = certificate.basic_constraints().ok().flatten().is_some();
        let reason = if present { "its basic constraints say CA:FALSE" } else { "it has no basic constraints" };
        return Err(ImportError::NotCa { subject: subject(), reason });
    }
    let usage = certificate.key_usage().map_err(|_| malformed("key usage"))?;
    if usage.is_some_and(|usage| !usage.value.key_cert_sign()) {
        return Err(ImportError::NoCertSign { subject: subject() });
    }
    Ok(())
}

/// Go's verifier, and so the apiserver's, applies extended key usage and name constraints of the CA to the client
/// certificate (crypto/x509/verify.go). Constraints on DNS names and the like do not matter to one without such names.
fn check_restrictions(certificate: &X509Certificate<'_>, info: &CertificateInfo) -> Result<(), ImportError> {
    let subject = || info.subject.clone();
    let usages = &info.extended_usages;
    if !usages.is_empty() && !usages.iter().any(|usage| usage == "clientAuth" || usage == "any") {
        return Err(ImportError::NoClientAuth { subject: subject(), usages: usages.clone() });
    }
    let constraints = certificate.name_constraints().map_err(|_| malformed("name constraints"))?;
    let subtrees = constraints.iter().flat_map(|c| [&c.value.permitted_subtrees, &c.value.excluded_subtrees]);
    if subtrees.flatten().flatten().any(|subtree| matches!(subtree.base, GeneralName::DirectoryName(_))) {
        return Err(ImportError::NameConstraints { subject: subject() });
    }
    Ok(())
}

fn check_key(
    certificate: &X509Certificate<'_>,
    info: &CertificateInfo,
    key: Option<&PrivateKey>,
) -> Result<(), ImportError> {
    match KeyKind::of(certificate.public_key()) {
        KeyKind::Rsa(bits) if bits < SMALLEST_RSA => return Err(ImportError::RsaTooSmall { bits }),
        kind @ (KeyKind::OtherCurve(_) | KeyKind::Other(_)) => {
            return Err(ImportError::UnsupportedKey { kind: kind.to_string() });
        }
        KeyKind::Rsa(bits) if bits > LARGEST_RSA => {
            return Err(ImportError::UnsupportedKey { kind: info.algorithm.clone() });
        }
        _ => {}
    }
    match key {
        Some(key) if !key.belongs_to(certificate.public_key()) => Err(ImportError::KeyMismatch {
            subject: info.subject.clone(),
            certificate: info.algorithm.clone(),
            key: key.kind().to_string(),
        }),
        _ => Ok(()),
    }
}

/// Whether the CA may sign at that moment.
pub(super) fn check_dates(info: &CertificateInfo, now: Timestamp) -> Result<(), ImportError> {
    let subject = info.subject.clone();
    if now.as_second() > info.not_after.as_second() {
        Err(ImportError::Expired { subject, not_after: info.not_after })
    } else if now.as_second() < info.not_before.as_second() {
        Err(ImportError::NotYetValid { subject, not_before: info.not_before })
    } else {
        Ok(())
    }
}

/// A root's own signature proves nothing about trust, but it finds a damaged file. Algorithms too old to be verified
/// here pass: no verifier looks at a trust anchor's signature.
fn check_own_signature(der: &[u8], info: &CertificateInfo) -> Result<(), ImportError> {
    if info.issuer_der != info.subject_der {
        return Ok(());
    }
    match verify_der(der, der, info.not_before) {
        Err(ChainError::BadSignature { subject }) => Err(ImportError::BadSignature { subject }),
        _ => Ok(()),
    }
}

/// RFC 5280 section 4.2.1.2, method 1 (SHA-1 of the public key's bits): what OpenSSL and Go would have written into a
/// CA that carries no identifier.
pub(super) fn rfc5280_identifier(certificate: &X509Certificate<'_>) -> Vec<u8> {
    let bits = &certificate.public_key().subject_public_key.data;
    digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, bits).as_ref().to_vec()
}

fn malformed(what: &'static str) -> ImportError {
    ImportError::Certificate(CertificateError::Malformed { what })
}
