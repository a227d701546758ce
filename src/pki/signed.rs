//! A certificate that somebody else signed for a request of ours: taken only when it is what was asked for, letter by
//! letter, and holds under the CA. An apiserver would take others too, and give their bearer other rights.

use super::{
    CertificateError, CertificateInfo, CertificateSpec, ChainError, GoRefusal, MatchError, Usage,
    chain::verify_chain,
    go_x509,
    inspect::{parse_certificate, read_x509, single_der},
    key::key_matches,
    name::attribute_values,
};
use crate::secret::Secret;
use jiff::Timestamp;

/// Why a signed certificate is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignedError {
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    #[error(transparent)]
    Key(MatchError),
    #[error("its subject is `{found}`; asked for was O={organization}, CN={common_name}")]
    Subject { found: String, organization: String, common_name: &'static str },
    #[error("it is a CA")]
    Authority,
    #[error("its extended key usage is {}; asked for was {}", listed(found), wanted.join(", "))]
    Usages { found: Vec<String>, wanted: Vec<&'static str> },
    #[error("{0}: no kube-apiserver accepts it")]
    Go(GoRefusal),
    #[error(transparent)]
    Chain(ChainError),
}

impl SignedError {
    /// What may be done about it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Certificate(e) => e.hint(),
            Self::Key(e) => e.hint(),
            Self::Subject { .. } => Some("have the request signed as it stands, with the subject it names"),
            Self::Authority | Self::Usages { .. } => Some("have it signed as a client certificate, and nothing else"),
            Self::Go(_) => Some("have it signed again without that"),
            Self::Chain(ChainError::Expired { .. } | ChainError::NotYetValid { .. }) => {
                Some("have it signed for today; check this machine's clock")
            }
            Self::Chain(_) => Some("have it signed by the CA of the inventory ([ca] cert)"),
        }
    }
}

/// Holds `certificate` (one PEM block) against what was asked for: the key, the subject, what Go reads, the use,
/// the CA and the dates.
///
/// # Errors
/// [`SignedError`]: the first thing that is wrong, in that order.
pub fn check_signed(
    certificate: &str,
    key: &Secret,
    ca: &str,
    spec: &CertificateSpec,
    organization: &str,
    now: Timestamp,
) -> Result<CertificateInfo, SignedError> {
    let info = parse_certificate(certificate)?;
    key_matches(certificate, key).map_err(SignedError::Key)?;
    if !has_subject(certificate, spec, organization)? {
        let (organization, common_name) = (organization.to_owned(), spec.common_name);
        return Err(SignedError::Subject { found: info.subject, organization, common_name });
    }
    let facts = go_x509::judge(&single_der(certificate.as_bytes())?).map_err(SignedError::Go)?;
    facts.check_end_certificate().map_err(SignedError::Go)?;
    if info.is_ca {
        return Err(SignedError::Authority);
    }
    let wanted: Vec<&str> = spec.usages.iter().copied().map(Usage::name).collect();
    if info.extended_usages != wanted {
        return Err(SignedError::Usages { found: info.extended_usages, wanted });
    }
    verify_chain(certificate, ca, now).map_err(SignedError::Chain)?;
    Ok(info)
}

/// One O, one CN, nothing else; their order and string types are the CA's.
fn has_subject(certificate: &str, spec: &CertificateSpec, organization: &str) -> Result<bool, CertificateError> {
    let der = single_der(certificate.as_bytes())?;
    let certificate = read_x509(&der)?;
    let subject = certificate.subject();
    Ok(subject.iter_attributes().count() == 2
        && attribute_values(subject.iter_common_name()) == [spec.common_name]
        && attribute_values(subject.iter_organization()) == [organization])
}

fn listed(usages: &[String]) -> String {
    if usages.is_empty() { "any".to_owned() } else { usages.join(", ") }
}
