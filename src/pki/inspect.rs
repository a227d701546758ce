//! What a certificate says, as one plain value: names, serial, key, dates, digests. Reading checks that the file holds
//! what it claims (certificate blocks of exactly one DER certificate each) and nothing more: whether a certificate is
//! trusted is `chain`'s question, whether it may sign `authority`'s. Every text here is safe to print.

use super::{
    go_x509,
    name::{attribute_values, render_name},
    public_key::KeyKind,
    textual::{self, Block, TextualError},
};
use crate::digest::Digest;
use jiff::Timestamp;
use serde::Serialize;
use x509_parser::{certificate::X509Certificate, extensions::ParsedExtension, prelude::FromDer, time::ASN1Time};

pub(super) const LABEL: &str = "CERTIFICATE";

/// One X.509 certificate. Serialises to its human fields; times are RFC 3339, digests hex.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CertificateInfo {
    /// `O=system:node-proxier, CN=system:kube-proxy`: certificate order, RFC 4514 escapes.
    pub subject: String,
    pub issuer: String,
    /// The last CN of the subject, which is the one Kubernetes takes as the user.
    pub common_name: Option<String>,
    /// Every O of the subject: the Kubernetes groups.
    pub organizations: Vec<String>,
    /// Upper-case hex without separators, as `openssl x509 -serial` prints it.
    pub serial: String,
    /// The key: `ecdsa-p256`, `rsa-2048`; by its number when unknown.
    pub algorithm: String,
    /// First second of validity.
    pub not_before: Timestamp,
    /// Last second of validity; "never" (year 9999) is the latest instant there is.
    pub not_after: Timestamp,
    /// Digest of the DER bytes.
    pub sha256: Digest,
    /// Basic constraints say CA:TRUE.
    pub is_ca: bool,
    /// Extended key usages by their RFC 5280 names, others by number; empty when there is no such extension.
    pub extended_usages: Vec<String>,
    /// Digest of the SubjectPublicKeyInfo: what kubeadm writes as `sha256:…` (discovery-token-ca-cert-hash).
    pub spki_sha256: Digest,
    /// 1 to 3.
    #[serde(skip)]
    pub version: u32,
    /// The subject's DER bytes: names are equal exactly when these are.
    #[serde(skip)]
    pub subject_der: Vec<u8>,
    #[serde(skip)]
    pub issuer_der: Vec<u8>,
    /// Subject key identifier.
    #[serde(skip)]
    pub key_identifier: Option<Vec<u8>>,
    /// Authority key identifier (its keyIdentifier field).
    #[serde(skip)]
    pub authority_key_identifier: Option<Vec<u8>>,
}

impl CertificateInfo {
    /// Whole days until the certificate ends, rounded down: 0 on the last day, negative once it has ended.
    #[must_use]
    pub fn days_left(&self, now: Timestamp) -> i64 {
        (self.not_after.as_second() - now.as_second()).div_euclid(24 * 60 * 60)
    }

    /// Whether a trusted certificate like this one may have signed others: it says so, or is from before version 3, in
    /// which it would have to.
    #[must_use]
    pub const fn may_be_ca(&self) -> bool {
        self.is_ca || self.version < 3
    }

    /// Whether `now` is within the dates, both ends included.
    #[must_use]
    pub fn is_valid_at(&self, now: Timestamp) -> bool {
        (self.not_before.as_second()..=self.not_after.as_second()).contains(&now.as_second())
    }
}

/// A file that holds no readable certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    #[error(transparent)]
    Textual(#[from] TextualError),
    #[error("no certificate; the file holds {}", found.join(", "))]
    NoCertificate { found: Vec<String> },
    #[error("{count} certificates where one is expected")]
    Several { count: usize },
    #[error("{bytes} bytes after the certificate inside its PEM block")]
    TrailingBytes { bytes: usize },
    #[error("the certificate cannot be read: {what}")]
    Malformed { what: &'static str },
}

impl CertificateError {
    /// What may be done about it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Textual(e) => e.hint(),
            Self::NoCertificate { found } if found.iter().any(|label| label.ends_with("PRIVATE KEY")) => {
                Some("this is a private key: are the paths of certificate and key swapped?")
            }
            Self::NoCertificate { found } if found.iter().any(|label| label == "TRUSTED CERTIFICATE") => {
                Some("convert it: openssl x509 -in FILE -out ca.pem")
            }
            Self::NoCertificate { found } if found.iter().any(|label| label.ends_with("header lines")) => Some(
                "remove the lines between BEGIN and the base64 text: neither OpenSSL nor Go reads a certificate with them",
            ),
            Self::NoCertificate { .. } => Some("check that the path names the certificate"),
            Self::Several { .. } => Some("keep the one certificate that belongs to the key"),
            Self::TrailingBytes { .. } | Self::Malformed { .. } => Some("take a fresh copy of the file"),
        }
    }
}

/// The one certificate of a PEM file.
///
/// # Errors
/// [`CertificateError`]; several certificates are an error too.
pub fn parse_certificate(pem: impl AsRef<[u8]>) -> Result<CertificateInfo, CertificateError> {
    describe(&read_x509(&single_der(pem.as_ref())?)?)
}

/// Every certificate of a PEM bundle, in order; at least one.
///
/// # Errors
/// [`CertificateError`] for the first certificate that cannot be read.
pub fn parse_certificates(pem: impl AsRef<[u8]>) -> Result<Vec<CertificateInfo>, CertificateError> {
    all_der(pem.as_ref())?.iter().map(|der| describe(&read_x509(der)?)).collect()
}

/// The certificate that stands for a CA file of one or several: the first, which is the one that signs.
///
/// # Errors
/// As [`parse_certificates`].
pub fn parse_authority(pem: impl AsRef<[u8]>) -> Result<CertificateInfo, CertificateError> {
    let all = all_der(pem.as_ref())?;
    describe(&read_x509(all.first().map_or(&[][..], Vec::as_slice))?)
}

/// As [`parse_certificates`], each with its own PEM block: LF line ends, a newline at the end.
///
/// # Errors
/// As [`parse_certificates`].
pub fn split_certificates(pem: impl AsRef<[u8]>) -> Result<Vec<(String, CertificateInfo)>, CertificateError> {
    let described = |der: &Vec<u8>| Ok((textual::render_block(LABEL, der), describe(&read_x509(der)?)?));
    all_der(pem.as_ref())?.iter().map(described).collect()
}

pub(super) fn single_der(pem: &[u8]) -> Result<Vec<u8>, CertificateError> {
    let mut all = all_der(pem)?;
    match all.len() {
        1 => Ok(all.swap_remove(0)),
        count => Err(CertificateError::Several { count }),
    }
}

/// The DER of every certificate of a PEM bundle, in order; at least one. What is inside is not read.
///
/// # Errors
/// [`CertificateError`] for a file without a certificate block.
pub fn decode_certificates(pem: impl AsRef<[u8]>) -> Result<Vec<Vec<u8>>, CertificateError> {
    all_der(pem.as_ref())
}

pub(super) fn all_der(pem: &[u8]) -> Result<Vec<Vec<u8>>, CertificateError> {
    let (certificates, others): (Vec<Block>, Vec<Block>) =
        textual::parse_blocks(pem)?.into_iter().partition(|block| block.label == LABEL && !block.has_headers);
    if certificates.is_empty() {
        return Err(CertificateError::NoCertificate { found: textual::labels(&others) });
    }
    Ok(certificates.into_iter().map(|block| block.content.to_vec()).collect())
}

pub(super) fn read_x509(der: &[u8]) -> Result<X509Certificate<'_>, CertificateError> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        Ok((rest, _)) => Err(CertificateError::TrailingBytes { bytes: rest.len() }),
        Err(_) => Err(CertificateError::Malformed { what: "not the DER of an X.509 certificate" }),
    }
}

pub(super) fn describe(certificate: &X509Certificate<'_>) -> Result<CertificateInfo, CertificateError> {
    // RFC 5280 section 4.2; Go refuses it too, and the look-ups below would each take another one.
    certificate.extensions_map().map_err(|_| malformed("an extension occurs twice"))?;
    let (subject, issuer) = (certificate.subject(), certificate.issuer());
    let constraints = certificate.basic_constraints().map_err(|_| malformed("basic constraints"))?;
    Ok(CertificateInfo {
        subject: render_name(subject),
        issuer: render_name(issuer),
        common_name: attribute_values(subject.iter_common_name()).pop(),
        organizations: attribute_values(subject.iter_organization()),
        serial: serial(certificate.raw_serial()),
        algorithm: KeyKind::of(certificate.public_key()).to_string(),
        not_before: timestamp(certificate.validity().not_before),
        not_after: timestamp(certificate.validity().not_after),
        sha256: Digest::of(certificate.as_raw()),
        is_ca: match constraints {
            Some(extension) => extension.value.ca,
            // Bytes behind the last field hide the extension from x509-parser, and not from Go.
            None => go_x509::judge(certificate.as_raw()).is_ok_and(|facts| facts.basic_constraints == Some(true)),
        },
        extended_usages: extended_usages(certificate)?,
        spki_sha256: Digest::of(certificate.public_key().raw),
        version: certificate.version().0.saturating_add(1),
        subject_der: subject.as_raw().to_vec(),
        issuer_der: issuer.as_raw().to_vec(),
        key_identifier: find(certificate, |extension| match extension {
            ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
            _ => None,
        }),
        authority_key_identifier: find(certificate, |extension| match extension {
            ParsedExtension::AuthorityKeyIdentifier(id) => id.key_identifier.as_ref().map(|id| id.0.to_vec()),
            _ => None,
        }),
    })
}

fn find<T>(certificate: &X509Certificate<'_>, pick: impl Fn(&ParsedExtension<'_>) -> Option<T>) -> Option<T> {
    certificate.iter_extensions().find_map(|extension| pick(extension.parsed_extension()))
}

fn extended_usages(certificate: &X509Certificate<'_>) -> Result<Vec<String>, CertificateError> {
    let Some(usage) = certificate.extended_key_usage().map_err(|_| malformed("extended key usage"))? else {
        return Ok(Vec::new());
    };
    let usage = usage.value;
    let known = [
        (usage.any, "any"),
        (usage.server_auth, "serverAuth"),
        (usage.client_auth, "clientAuth"),
        (usage.code_signing, "codeSigning"),
        (usage.email_protection, "emailProtection"),
        (usage.time_stamping, "timeStamping"),
        (usage.ocsp_signing, "OCSPSigning"),
    ];
    let named = known.into_iter().filter(|(present, _)| *present).map(|(_, name)| name.to_owned());
    Ok(named.chain(usage.other.iter().map(x509_parser::asn1_rs::Oid::to_id_string)).collect())
}

/// Dates beyond what jiff can hold (GeneralizedTime 99991231235959Z is RFC 5280's "never") become the nearest it can.
fn timestamp(time: ASN1Time) -> Timestamp {
    let seconds = time.timestamp().clamp(Timestamp::MIN.as_second(), Timestamp::MAX.as_second());
    Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX)
}

/// The DER INTEGER's content as OpenSSL's BN_bn2hex writes it.
fn serial(integer: &[u8]) -> String {
    let magnitude: Vec<u8> = integer.iter().copied().skip_while(|byte| *byte == 0).collect();
    match magnitude.as_slice() {
        [] => "00".to_owned(),
        [..] if integer.first().is_some_and(|byte| byte & 0x80 != 0) => format!("-{}", upper_hex(&negated(integer))),
        significant => upper_hex(significant),
    }
}

/// The magnitude of a negative two's-complement number: some old CAs wrote such serials.
fn negated(integer: &[u8]) -> Vec<u8> {
    let mut out: Vec<u8> = integer.iter().map(|byte| !byte).collect();
    for byte in out.iter_mut().rev() {
        let (sum, carry) = byte.overflowing_add(1);
        *byte = sum;
        if !carry {
            break;
        }
    }
    out.into_iter().skip_while(|byte| *byte == 0).collect()
}

fn upper_hex(bytes: &[u8]) -> String {
    crate::digest::hex(bytes).to_ascii_uppercase()
}

fn malformed(what: &'static str) -> CertificateError {
    CertificateError::Malformed { what }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serials_read_as_openssl_prints_them() {
        for (der, printed) in [
            (&[0x00][..], "00"),
            (&[0x01], "01"),
            (&[0x0a, 0xbc], "0ABC"),
            (&[0x00, 0xff], "FF"),
            (&[0xff], "-01"),
            (&[0x80, 0x00], "-8000"),
        ] {
            assert_eq!(serial(der), printed);
        }
    }

    #[test]
    fn a_private_key_in_place_of_a_certificate_is_recognised() {
        let error =
            parse_certificate("-----BEGIN RSA PRIVATE KEY-----\nAQID\n-----END RSA PRIVATE KEY-----\n").unwrap_err();
        assert_eq!(error, CertificateError::NoCertificate { found: vec!["RSA PRIVATE KEY".to_owned()] });
        assert!(error.hint().unwrap().contains("swapped"));
    }
}
