//! What a kubeconfig's embedded certificates say, as far as the inspector shows it; `pki` reads them.

use crate::{
    digest::Digest,
    pki::{self, CertificateError, CertificateInfo},
};
use jiff::Timestamp;
use serde::Serialize;

/// One certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CertificateFacts {
    /// As in `O=kubemint, CN=ca`, in the certificate's own order.
    pub subject: String,
    pub issuer: String,
    /// Hex digits, as openssl prints them.
    pub serial: String,
    pub not_before: Timestamp,
    pub not_after: Timestamp,
    pub is_ca: bool,
    /// Of the certificate's DER: what `openssl x509 -fingerprint -sha256` shows.
    pub sha256: Digest,
    /// `sha256:` and the digest of the public key's DER, as in `kubeadm join --discovery-token-ca-cert-hash`.
    pub pin: String,
}

/// Why there are no facts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CertificateFault {
    /// No block named CERTIFICATE, or one that is not PEM.
    NotPem,
    /// A block that holds no X.509 certificate.
    NotX509,
}

/// The certificates in `pem`, in order, at least one. Text around the blocks is ignored, as Go ignores it.
pub(super) fn certificate_facts(pem: &[u8]) -> Result<Vec<CertificateFacts>, CertificateFault> {
    match pki::parse_certificates(pem) {
        Ok(certificates) => Ok(certificates.into_iter().map(CertificateFacts::from).collect()),
        Err(CertificateError::Textual(_) | CertificateError::NoCertificate { .. }) => Err(CertificateFault::NotPem),
        Err(_) => Err(CertificateFault::NotX509),
    }
}

impl From<CertificateInfo> for CertificateFacts {
    fn from(info: CertificateInfo) -> Self {
        Self {
            subject: info.subject,
            issuer: info.issuer,
            serial: info.serial,
            not_before: info.not_before,
            not_after: info.not_after,
            is_ca: info.is_ca,
            sha256: info.sha256,
            pin: format!("sha256:{}", info.spki_sha256),
        }
    }
}
