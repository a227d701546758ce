//! Admin rights that kubemint issues itself where the CA's key is at hand: a client certificate of minutes, in memory
//! only, never written and never sent but in TLS to an apiserver. A run that takes longer gets another one.

use crate::{
    clock::Clock,
    cluster::{self, AdminCredential, AdminSource, ClientPair},
    entropy::Entropy,
    pki::{Algorithm, Authority, CertificateSpec, ClientSettings, IssueError, Issued, Usage, issue_client},
};
use jiff::Timestamp;
use std::time::Duration;

/// The user in the apiserver's audit log.
pub const USER: &str = "kubemint";
/// The group whose rights are beyond RBAC (kubernetes `pkg/apis/rbac`, `system:masters`).
pub const DEFAULT_GROUP: &str = "system:masters";
/// From now; it begins five minutes earlier, for clocks that are behind.
pub const VALIDITY: Duration = Duration::from_secs(15 * 60);

/// Not in the catalog: it is in no file.
const SPEC: CertificateSpec = CertificateSpec {
    name: "kubemint's own access",
    purpose: "kubemint itself asks the apiserver with it",
    common_name: USER,
    usages: &[Usage::ClientAuth],
    certificate_file: "",
    key_file: "",
    embedded_in: &[],
};

/// Issues the certificates.
pub struct OwnCertificates {
    pub authority: Authority,
    /// The certificate's O.
    pub group: String,
    pub clock: Box<dyn Clock>,
    pub entropy: Box<dyn Entropy>,
}

impl OwnCertificates {
    /// # Errors
    /// [`IssueError`]: the CA has no key here or has expired, or the group's name is too long.
    pub fn issue(&self, now: Timestamp) -> Result<Issued, IssueError> {
        let settings =
            ClientSettings { algorithm: Algorithm::EcdsaP256, validity: VALIDITY, organization: self.group.clone() };
        issue_client(&self.authority, &SPEC, &settings, now, &*self.entropy)
    }
}

impl AdminSource for OwnCertificates {
    fn credential(&self, now: Timestamp) -> Result<AdminCredential, cluster::Error> {
        let issued = self.issue(now).map_err(|e| cluster::Error::Access { reason: e.to_string() })?;
        Ok(AdminCredential {
            expires: Some(issued.info.not_after),
            certificate: Some(ClientPair { chain: issued.certificate_pem, key: issued.key_pem }),
            token: None,
        })
    }
}
