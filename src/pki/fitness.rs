//! Whether a certificate, and a key beside it, are fit to be a cluster's CA: everything that would let certificates be
//! issued which the apiserver then refuses; what Go's own reader refuses is `go_x509`'s to say. rcgen checks none of
//! this. Which files the two came from is not known here:
//! [`ImportError::culprit`] says which of them it is.

use super::{
    CertificateError, CertificateInfo, ChainError, GoRefusal, KeyError,
    chain::verify_der,
    go_x509::{self, Facts},
    key::{LARGEST_RSA, PrivateKey, SMALLEST_RSA},
    public_key::KeyKind,
};
use aws_lc_rs::digest;
use jiff::Timestamp;
use x509_parser::certificate::X509Certificate;

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
    #[error("the CA `{subject}` may not sign server certificates: its extended key usage is {}; kubectl and kubelet refuse every kube-apiserver under it", usages.join(", "))]
    NoServerAuth { subject: String, usages: Vec<String> },
    #[error(
        "the CA `{subject}` may not sign for {server}: its name constraints do not permit it; kubectl and kubelet refuse that kube-apiserver"
    )]
    ServerNotPermitted { subject: String, server: String },
    #[error("{0}: no kube-apiserver or kubectl accepts a certificate under this CA")]
    Go(GoRefusal),
    /// One of the certificates beside the CA's own, counted from 1.
    #[error("certificate {position} of {count}: {source}: no kube-apiserver starts with this file")]
    Companion { position: usize, count: usize, source: GoRefusal },
    #[error("the private key ({key}) belongs to none of the {count} certificates")]
    KeyMatchesNone { count: usize, key: String },
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
            Self::KeyMismatch { .. } | Self::KeyMatchesNone { .. } => Culprit::Pair,
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
            Self::KeyMatchesNone { .. } => Some("add the certificate that was made for this key to the file"),
            Self::NoCertSign { .. } | Self::NoClientAuth { .. } => {
                Some("make a CA without that restriction, or let kubemint make one")
            }
            Self::NoServerAuth { .. } | Self::ServerNotPermitted { .. } => Some(
                "make a CA without that restriction, or add the CA of the kube-apiserver's certificate to the same file",
            ),
            Self::Go(_) => {
                Some("have the CA certificate issued again without it (the key can stay), or let kubemint make a CA")
            }
            Self::Companion { .. } => Some("remove that certificate from the file, or replace it"),
            Self::Expired { .. } => Some("renew the CA, or let kubemint make one"),
            Self::NotYetValid { .. } => Some("check this machine's clock"),
            Self::RsaTooSmall { .. } => Some("make a CA with a larger key, or let kubemint make one"),
            Self::UnsupportedKey { .. } => Some("use RSA, ECDSA on P-256, P-384 or P-521, or Ed25519"),
            Self::BadSignature { .. } => Some("take a fresh copy of the file"),
        }
    }
}

/// Every check but that of the dates, which alone may turn out otherwise at another time; the first that fails. `key` is
/// `None` for an external CA. Returns what Go makes of it.
pub(super) fn check_fitness(
    certificate: &X509Certificate<'_>,
    info: &CertificateInfo,
    key: Option<&PrivateKey>,
) -> Result<Facts, ImportError> {
    check_kind(certificate, info)?;
    let facts = go_x509::judge(certificate.as_raw()).map_err(ImportError::Go)?;
    // x509-parser stops there, and a certificate with half a name as its issuer is under no CA.
    if facts.subject != info.subject_der {
        return Err(CertificateError::Malformed { what: "its subject has an empty part" }.into());
    }
    check_role(info, &facts)?;
    check_key(certificate, info, key)?;
    check_own_signature(certificate.as_raw(), info)?;
    Ok(facts)
}

/// Go's verifier, and so the apiserver's, applies key usages of the CA to the client certificate (crypto/x509's
/// CheckSignatureFrom and checkChainForKeyUsage). A CA without key usage is one from before RFC 3280 and stays usable, and
/// so does one of version 1.
fn check_role(info: &CertificateInfo, facts: &Facts) -> Result<(), ImportError> {
    let subject = || info.subject.clone();
    if !facts.is_ca() {
        let present = facts.basic_constraints.is_some();
        let reason = if present { "its basic constraints say CA:FALSE" } else { "it has no basic constraints" };
        return Err(ImportError::NotCa { subject: subject(), reason });
    }
    if !facts.may_sign() {
        return Err(ImportError::NoCertSign { subject: subject() });
    }
    let usages = &info.extended_usages;
    if !usages.is_empty() && !usages.iter().any(|usage| usage == "clientAuth" || usage == "any") {
        return Err(ImportError::NoClientAuth { subject: subject(), usages: usages.clone() });
    }
    Ok(())
}

/// Kinds of key that kubemint cannot sign or verify with, by name.
fn check_kind(certificate: &X509Certificate<'_>, info: &CertificateInfo) -> Result<(), ImportError> {
    match KeyKind::of(certificate.public_key()) {
        KeyKind::Rsa(bits) if bits < SMALLEST_RSA => Err(ImportError::RsaTooSmall { bits }),
        kind @ (KeyKind::OtherCurve(_) | KeyKind::Other(_)) => {
            Err(ImportError::UnsupportedKey { kind: kind.to_string() })
        }
        KeyKind::Rsa(bits) if bits > LARGEST_RSA => Err(ImportError::UnsupportedKey { kind: info.algorithm.clone() }),
        _ => Ok(()),
    }
}

fn check_key(
    certificate: &X509Certificate<'_>,
    info: &CertificateInfo,
    key: Option<&PrivateKey>,
) -> Result<(), ImportError> {
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
