//! The cluster CA: made here, imported with its key, or known by its certificate only (somebody else signs).
//! An [`Authority`] exists only when its certificate is fit to sign client certificates that Kubernetes accepts, and when
//! its key, if there is one, belongs to it; only [`Authority::read`] passes over its dates, which [`issue`](super::issue_client)
//! looks at again. Its file may hold other certificates, such as the CA before it: they are trusted beside it and never sign
//! here. Everything an importer may get wrong has its own [`ImportError`]. Which files these are is not known here.

use super::{
    Algorithm, CertificateError, CertificateInfo, GoRefusal, GoVersion, ImportError,
    fields::{BACKDATE, Name, NameLength, serial_number, x509_time},
    fitness::{check_dates, check_fitness, rfc5280_identifier},
    go_x509::{self, Facts},
    inspect::{LABEL, all_der, describe, read_x509},
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
    facts: Facts,
    companions: Vec<Companion>,
    /// Certificates of its own name and key that end earlier.
    superseded: usize,
}

/// A certificate beside the CA's own in the same file.
struct Companion {
    pem: String,
    /// `None` where Go trusts nothing under it.
    facts: Option<Facts>,
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
        let made = Self::examine(certificate.der(), Some(&key)).and_then(|made| made.in_date(now));
        made.map(|made| Self { key: Some(key), ..made }).map_err(|e| AuthorityError::Unfit(Box::new(e)))
    }

    /// Takes over an existing CA. The certificate file holds the certificate that the key belongs to, and any others that
    /// are to be trusted beside it; of several with that key the one that holds longest signs. The key file holds one
    /// unencrypted key (PKCS#8, PKCS#1 or SEC1). Text around the PEM blocks does not matter, and each file may hold blocks
    /// of the other kind.
    ///
    /// # Errors
    /// [`ImportError`].
    pub fn import(certificates: impl AsRef<[u8]>, key: &Secret, now: Timestamp) -> Result<Self, ImportError> {
        Self::read(certificates, Some(key), now)?.in_date(now)
    }

    /// A CA whose key is elsewhere: it can be installed and verified against, but cannot sign. Of several certificates the
    /// first that is fit stands for the CA, in its latest form; all of them are verified against.
    ///
    /// # Errors
    /// [`ImportError`]; where none is fit, that of the first.
    pub fn from_certificate(certificates: impl AsRef<[u8]>, now: Timestamp) -> Result<Self, ImportError> {
        Self::read(certificates, None, now)?.in_date(now)
    }

    /// As [`Self::import`], or without a key as [`Self::from_certificate`], also where no certificate is in date at `now`.
    ///
    /// # Errors
    /// [`ImportError`], but none about dates.
    pub fn read(certificates: impl AsRef<[u8]>, key: Option<&Secret>, now: Timestamp) -> Result<Self, ImportError> {
        let ders = distinct(all_der(certificates.as_ref())?);
        let Some(key) = key.map(PrivateKey::parse).transpose()? else {
            let all: Vec<usize> = (0..ders.len()).collect();
            return Self::choose(&ders, &all, None, now);
        };
        let candidates: Vec<usize> = match ders.len() {
            1 => vec![0],
            _ => (0..ders.len())
                .filter(|at| read_x509(&ders[*at]).is_ok_and(|c| key.belongs_to(c.public_key())))
                .collect(),
        };
        if candidates.is_empty() {
            return Err(ImportError::KeyMatchesNone { count: ders.len(), key: key.kind().to_string() });
        }
        let authority = Self::choose(&ders, &candidates, Some(&key), now)?;
        Ok(Self { key: Some(key), ..authority })
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

    /// Every certificate that is to be trusted, the CA's own first: what `certificate-authority-data` and ca.pem hold.
    #[must_use]
    pub fn bundle_pem(&self) -> String {
        std::iter::once(self.pem.as_str()).chain(self.companions.iter().map(|other| other.pem.as_str())).collect()
    }

    /// How many certificates that is.
    #[must_use]
    pub const fn certificates(&self) -> usize {
        1 + self.companions.len()
    }

    /// How many certificates of the file have this CA's name and key, and end earlier.
    #[must_use]
    pub const fn superseded(&self) -> usize {
        self.superseded
    }

    /// Critical extensions that only later versions of Go handle, and since when.
    #[must_use]
    pub fn handled_since(&self) -> &[(&'static str, GoVersion)] {
        &self.facts.handled_since
    }

    /// Checks that Go accepts a kube-apiserver at `host`, a name or an address, under this CA or one beside it.
    ///
    /// # Errors
    /// [`ImportError::NoServerAuth`], [`ImportError::ServerNotPermitted`].
    pub fn check_server(&self, host: &str) -> Result<(), ImportError> {
        let all =
            || std::iter::once(&self.facts).chain(self.companions.iter().filter_map(|other| other.facts.as_ref()));
        let may_sign = |facts: &&Facts| !facts.forbids_servers;
        if all().filter(may_sign).any(|facts| facts.constraints.permits(host)) {
            return Ok(());
        }
        let subject = self.info.subject.clone();
        Err(match all().any(|facts| may_sign(&facts)) {
            true => ImportError::ServerNotPermitted { subject, server: host.to_owned() },
            false => ImportError::NoServerAuth { subject, usages: self.info.extended_usages.clone() },
        })
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

    /// The fittest of the candidates, with all the others beside it.
    fn choose(
        ders: &[Vec<u8>],
        candidates: &[usize],
        key: Option<&PrivateKey>,
        now: Timestamp,
    ) -> Result<Self, ImportError> {
        let mut fit: Vec<(usize, Self)> = Vec::new();
        let mut first_fault = None;
        for &at in candidates {
            match Self::examine(&ders[at], key) {
                Ok(authority) => fit.push((at, authority)),
                Err(fault) => first_fault = first_fault.or(Some(fault)),
            }
        }
        // One that is in date counts before others.
        let is_late = |authority: &Self| authority.check_dates(now).is_err();
        let Some((_, first)) = fit.iter().find(|(_, authority)| !is_late(authority)).or(fit.first()) else {
            return Err(
                first_fault.unwrap_or(ImportError::Certificate(CertificateError::NoCertificate { found: Vec::new() }))
            );
        };
        let own = (first.info.subject_der.clone(), first.info.spki_sha256);
        fit.retain(|(_, other)| (&other.info.subject_der, other.info.spki_sha256) == (&own.0, own.1));
        let superseded = fit.len() - 1;
        // Of equals the first in the file.
        fit.sort_by_key(|(at, authority)| (is_late(authority), std::cmp::Reverse(authority.info.not_after), *at));
        let (chosen, authority) = fit.swap_remove(0);
        let others = (0..ders.len()).filter(|at| *at != chosen);
        let companions = others.map(|at| companion(&ders[at], at + 1, ders.len())).collect::<Result<_, _>>()?;
        Ok(Self { companions, superseded, ..authority })
    }

    fn in_date(self, now: Timestamp) -> Result<Self, ImportError> {
        self.check_dates(now).map(|()| self)
    }

    /// Without its key, which is the caller's.
    fn examine(der: &[u8], key: Option<&PrivateKey>) -> Result<Self, ImportError> {
        let certificate = match read_x509(der) {
            Ok(certificate) => certificate,
            // Go's reason says more than ours.
            Err(CertificateError::Malformed { what }) => {
                let ours = ImportError::Certificate(CertificateError::Malformed { what });
                return Err(go_x509::judge(der).err().filter(|_| is_sequence(der)).map_or(ours, ImportError::Go));
            }
            Err(error) => return Err(error.into()),
        };
        let info = describe(&certificate)?;
        let facts = check_fitness(&certificate, &info, key)?;
        let key_identifier = info.key_identifier.clone().unwrap_or_else(|| rfc5280_identifier(&certificate));
        let (pem, der) = (render_block(LABEL, der), der.to_vec());
        Ok(Self { pem, der, info, key_identifier, key: None, facts, companions: Vec::new(), superseded: 0 })
    }
}

/// Every certificate once, in the order they came.
fn distinct(ders: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let mut once: Vec<Vec<u8>> = Vec::with_capacity(ders.len());
    for der in ders {
        if !once.contains(&der) {
            once.push(der);
        }
    }
    once
}

/// A certificate that is trusted beside the CA: kube-apiserver does not start with a file of which Go cannot read one.
fn companion(der: &[u8], position: usize, count: usize) -> Result<Companion, ImportError> {
    let facts = match go_x509::judge(der) {
        Ok(facts) => Some(facts).filter(|facts| facts.is_ca() && facts.may_sign()),
        Err(GoRefusal::Unhandled { .. } | GoRefusal::UnhandledConstraint { .. }) => None,
        Err(source) => return Err(ImportError::Companion { position, count, source }),
    };
    Ok(Companion { pem: render_block(LABEL, der), facts })
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

/// Whether it has at least the outline of a certificate.
fn is_sequence(der: &[u8]) -> bool {
    der.first() == Some(&0x30)
}
