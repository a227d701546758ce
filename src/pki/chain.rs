//! Whether one certificate is signed by one CA and both hold at a given time: names (raw DER), key identifiers, dates,
//! CA flag, signature. Of several CAs one is enough. The CA is the trust anchor, as in `--client-ca-file`: its own signature is not asked about, and
//! there are no intermediates. Revocation and host names are not known here.

use super::{
    CertificateError, CertificateInfo,
    der::repeats_signature_algorithm,
    inspect::{all_der, describe, read_x509, single_der},
    public_key::KeyKind,
};
use aws_lc_rs::signature as aws;
use jiff::Timestamp;
use x509_parser::{
    asn1_rs::{Oid, oid},
    certificate::X509Certificate,
    error::X509Error,
};

/// Why a certificate is not good under a CA at a time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    #[error("the certificate: {0}")]
    Certificate(CertificateError),
    #[error("the CA certificate: {0}")]
    Authority(CertificateError),
    #[error("issued by `{issuer}`, not by this CA `{subject}`")]
    OtherIssuer { issuer: String, subject: String },
    #[error("issued by `{issuer}` with the key {wants}, but this CA of the same name has the key {has}")]
    OtherKey { issuer: String, wants: String, has: String },
    #[error("the issuer `{subject}` is not a CA")]
    NotCa { subject: String },
    #[error("`{subject}` has ended at {not_after}")]
    Expired { subject: String, not_after: Timestamp },
    #[error("`{subject}` is not valid before {not_before}")]
    NotYetValid { subject: String, not_before: Timestamp },
    #[error("the signature algorithm {algorithm} is not supported")]
    UnsupportedSignature { algorithm: String },
    #[error("the signature on `{subject}` was not made by the CA's key")]
    BadSignature { subject: String },
}

impl ChainError {
    /// What may be done about it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Certificate(e) | Self::Authority(e) => e.hint(),
            Self::OtherIssuer { .. } | Self::OtherKey { .. } | Self::BadSignature { .. } => {
                Some("certificate and CA are from different sets; reissue the certificate under this CA")
            }
            Self::NotCa { .. } => Some("give the CA's certificate, not one that it signed"),
            Self::Expired { .. } => Some("reissue it"),
            Self::NotYetValid { .. } => Some("check this machine's clock"),
            Self::UnsupportedSignature { .. } => None,
        }
    }
}

/// Checks that `leaf` is signed by `ca`, or by one of the certificates there, and that both are valid at `now`.
///
/// # Errors
/// [`ChainError`]: the first thing that is wrong, files before names before dates before the signature; of several CAs
/// with the one that the leaf names, or else with the first.
pub fn verify_chain(leaf: impl AsRef<[u8]>, ca: impl AsRef<[u8]>, now: Timestamp) -> Result<(), ChainError> {
    let leaf = single_der(leaf.as_ref()).map_err(ChainError::Certificate)?;
    let mut failures = Vec::new();
    for ca in all_der(ca.as_ref()).map_err(ChainError::Authority)? {
        match verify_der(&leaf, &ca, now) {
            Ok(()) => return Ok(()),
            Err(failure) => failures.push(failure),
        }
    }
    let is_of_another = |failure: &ChainError| {
        matches!(failure, ChainError::OtherIssuer { .. } | ChainError::OtherKey { .. } | ChainError::Authority(_))
    };
    let named = failures.iter().position(|failure| !is_of_another(failure)).unwrap_or(0);
    Err(failures.swap_remove(named))
}

pub(super) fn verify_der(leaf: &[u8], ca: &[u8], now: Timestamp) -> Result<(), ChainError> {
    let leaf = read_x509(leaf).map_err(ChainError::Certificate)?;
    let ca = read_x509(ca).map_err(ChainError::Authority)?;
    let leaf_info = describe(&leaf).map_err(ChainError::Certificate)?;
    let ca_info = describe(&ca).map_err(ChainError::Authority)?;
    verify_names(&leaf_info, &ca_info)?;
    if !ca_info.may_be_ca() {
        return Err(ChainError::NotCa { subject: ca_info.subject });
    }
    verify_dates(&ca_info, now)?;
    verify_dates(&leaf_info, now)?;
    verify_signature(&leaf, &ca, &leaf_info.subject)
}

fn verify_names(leaf: &CertificateInfo, ca: &CertificateInfo) -> Result<(), ChainError> {
    if leaf.issuer_der != ca.subject_der {
        return Err(ChainError::OtherIssuer { issuer: leaf.issuer.clone(), subject: ca.subject.clone() });
    }
    match (&leaf.authority_key_identifier, &ca.key_identifier) {
        (Some(wants), Some(has)) if wants != has => Err(ChainError::OtherKey {
            issuer: leaf.issuer.clone(),
            wants: crate::digest::hex(wants),
            has: crate::digest::hex(has),
        }),
        _ => Ok(()),
    }
}

fn verify_dates(certificate: &CertificateInfo, now: Timestamp) -> Result<(), ChainError> {
    let subject = certificate.subject.clone();
    if now.as_second() < certificate.not_before.as_second() {
        Err(ChainError::NotYetValid { subject, not_before: certificate.not_before })
    } else if now.as_second() > certificate.not_after.as_second() {
        Err(ChainError::Expired { subject, not_after: certificate.not_after })
    } else {
        Ok(())
    }
}

fn verify_signature(leaf: &X509Certificate<'_>, ca: &X509Certificate<'_>, subject: &str) -> Result<(), ChainError> {
    let bad = || ChainError::BadSignature { subject: subject.to_owned() };
    let stated = &leaf.signature_algorithm;
    if !repeats_signature_algorithm(leaf.as_raw()) || leaf.signature_value.unused_bits != 0 {
        return Err(bad());
    }
    let verdict = match ecdsa(&KeyKind::of(ca.public_key()), &stated.algorithm) {
        Some(algorithm) => {
            let key = aws::UnparsedPublicKey::new(algorithm, &ca.public_key().subject_public_key.data);
            key.verify(leaf.tbs_certificate.as_ref(), &leaf.signature_value.data)
                .map_err(|_| X509Error::SignatureVerificationError)
        }
        None => leaf.verify_signature(Some(ca.public_key())),
    };
    verdict.map_err(|e| match e {
        X509Error::SignatureUnsupportedAlgorithm => {
            ChainError::UnsupportedSignature { algorithm: stated.algorithm.to_id_string() }
        }
        _ => bad(),
    })
}

/// The combinations that x509-parser's own verifier leaves out: P-521, and SHA-512 with any curve (RFC 5758).
pub(super) fn ecdsa(key: &KeyKind, signature: &Oid<'_>) -> Option<&'static aws::EcdsaVerificationAlgorithm> {
    let hash = [oid!(1.2.840.10045.4.3.2), oid!(1.2.840.10045.4.3.3), oid!(1.2.840.10045.4.3.4)]
        .iter()
        .position(|known| known == signature)?;
    match (key, hash) {
        (KeyKind::EcdsaP256, 2) => Some(&aws::ECDSA_P256_SHA512_ASN1),
        (KeyKind::EcdsaP384, 2) => Some(&aws::ECDSA_P384_SHA512_ASN1),
        (KeyKind::EcdsaP521, 0) => Some(&aws::ECDSA_P521_SHA256_ASN1),
        (KeyKind::EcdsaP521, 1) => Some(&aws::ECDSA_P521_SHA384_ASN1),
        (KeyKind::EcdsaP521, 2) => Some(&aws::ECDSA_P521_SHA512_ASN1),
        _ => None,
    }
}
