//! The cluster CA: made here, imported with its key, or known by its certificate only (somebody else signs).
//! An [`Authority`] exists only when its certificate is fit to sign client certificates that Kubernetes accepts, and when
//! its key, if there is one, belongs to it; only [`Authority::read`] passes over its dates, which [`issue`](super::issue_client)
//! looks at again. Everything an importer may get wrong has its
//! own [`ImportError`]. Which files these are is not known here.

use super::{
    Algorithm, CertificateInfo, ImportError,
    fields::{BACKDATE, Name, NameLength, serial_number, x509_time},
    fitness::{check_dates, check_fitness, rfc5280_identifier},
    inspect::{LABEL, describe, read_x509, single_der},
    key::PrivateKey,
    textual::render_block,
};
use crate::{
    entropy::{self, Entropy},
    secret::Secret,
};
use jiff::Timestamp;
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyUsagePurpose};
use std::{fmt, time::Duration};

/// A CA certificate and, unless the CA is external, its key.
pub struct Authority {
    pem: String,
    der: Vec<u8>,
    info: CertificateInfo,
    key_identifier: Vec<u8>,
    key: Option<PrivateKey>,
}

/// What to ask of a new CA.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAuthority {
    /// 1 to 64 characters.
    pub common_name: String,
    pub algorithm: Algorithm,
    /// Counted from now.
    pub validity: Duration,
}

/// A CA that cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthorityError {
    #[error(transparent)]
    Name(#[from] NameLength),
    #[error("a CA cannot be valid for {} days: the calendar ends with the year 9999", days(validity))]
    TooLong { validity: Duration },
    #[error("a CA's validity is at least one second")]
    TooShort,
    #[error(transparent)]
    Entropy(#[from] entropy::Error),
    #[error("the CA could not be signed: {0}")]
    Signing(#[from] rcgen::Error),
    #[error("the new CA does not hold up: {0}")]
    Unfit(Box<ImportError>),
}

impl AuthorityError {
    /// What may be done about it.
    #[must_use]
    pub const fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Name(_) => Some("choose a name of 1 to 64 characters"),
            Self::TooLong { .. } => Some("ask for a shorter validity"),
            Self::TooShort => Some("ask for a longer validity"),
            Self::Entropy(_) | Self::Signing(_) | Self::Unfit(_) => None,
        }
    }
}

impl Authority {
    /// Makes a CA: new key, self-signed, path length 0, valid from five minutes ago.
    ///
    /// # Errors
    /// [`AuthorityError`]; nothing is kept then.
    pub fn issue_self_signed(
        new: &NewAuthority,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<Self, AuthorityError> {
        if new.validity < Duration::from_secs(1) {
            return Err(AuthorityError::TooShort);
        }
        let too_long = || AuthorityError::TooLong { validity: new.validity };
        let not_after = now.checked_add(new.validity).map_err(|_| too_long())?;

        let mut params = CertificateParams::default();
        params.distinguished_name = Name::new().common_name(&new.common_name)?.into();
        params.not_before = x509_time(now.saturating_sub(BACKDATE).unwrap_or(now));
        params.not_after = x509_time(not_after);
        params.serial_number = Some(serial_number(entropy)?);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];

        let key = PrivateKey::generate(new.algorithm)?;
        let certificate = params.self_signed(key.pair())?;
        let made = Self::examine(certificate.der().to_vec(), Some(key)).and_then(|made| made.in_date(now));
        made.map_err(|e| AuthorityError::Unfit(Box::new(e)))
    }

    /// Takes over an existing CA. The certificate file holds one certificate, the key file one unencrypted key (PKCS#8,
    /// PKCS#1 or SEC1); text around the PEM blocks does not matter, and each file may hold blocks of the other kind.
    ///
    /// # Errors
    /// [`ImportError`].
    pub fn import(certificate: impl AsRef<[u8]>, key: &Secret, now: Timestamp) -> Result<Self, ImportError> {
        Self::read(certificate, Some(key))?.in_date(now)
    }

    /// A CA whose key is elsewhere: it can be installed and verified against, but cannot sign.
    ///
    /// # Errors
    /// [`ImportError`].
    pub fn from_certificate(certificate: impl AsRef<[u8]>, now: Timestamp) -> Result<Self, ImportError> {
        Self::read(certificate, None)?.in_date(now)
    }

    /// As [`Self::import`], or without a key as [`Self::from_certificate`], whatever its dates say.
    ///
    /// # Errors
    /// [`ImportError`], but none about dates.
    pub fn read(certificate: impl AsRef<[u8]>, key: Option<&Secret>) -> Result<Self, ImportError> {
        let der = single_der(certificate.as_ref())?;
        Self::examine(der, key.map(PrivateKey::parse).transpose()?)
    }

    /// # Errors
    /// [`ImportError::Expired`], [`ImportError::NotYetValid`].
    pub fn check_dates(&self, now: Timestamp) -> Result<(), ImportError> {
        check_dates(&self.info, now)
    }

    /// Exactly one PEM block, LF line ends, a newline at the end.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.pem
    }

    /// Exactly one PEM block in the key's own encoding (PKCS#8 for a new CA); `None` for an external CA.
    #[must_use]
    pub fn key_pem(&self) -> Option<&Secret> {
        self.key.as_ref().map(PrivateKey::pem)
    }

    #[must_use]
    pub fn certificate(&self) -> &CertificateInfo {
        &self.info
    }

    pub(super) fn der(&self) -> &[u8] {
        &self.der
    }

    pub(super) fn key(&self) -> Option<&PrivateKey> {
        self.key.as_ref()
    }

    /// What certificates signed by this CA carry as their authority key identifier.
    pub(super) fn key_identifier(&self) -> &[u8] {
        &self.key_identifier
    }

    fn in_date(self, now: Timestamp) -> Result<Self, ImportError> {
        self.check_dates(now).map(|()| self)
    }

    fn examine(der: Vec<u8>, key: Option<PrivateKey>) -> Result<Self, ImportError> {
        let certificate = read_x509(&der)?;
        let info = describe(&certificate)?;
        check_fitness(&certificate, &info, key.as_ref())?;
        let key_identifier = info.key_identifier.clone().unwrap_or_else(|| rfc5280_identifier(&certificate));
        Ok(Self { pem: render_block(LABEL, &der), der, info, key_identifier, key })
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority")
            .field("subject", &self.info.subject)
            .field("sha256", &self.info.sha256)
            .field("has_key", &self.key.is_some())
            .finish()
    }
}

fn days(validity: &Duration) -> u64 {
    validity.as_secs() / (24 * 60 * 60)
}
