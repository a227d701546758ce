//! Certificates on a host and when they end. Dates and names are public; keys are not looked at.

use super::{Joined, Outlook};
use crate::{
    kubeconfig::Kubeconfig,
    pki::{self, CertificateInfo},
    remote::installer::{
        Facts,
        in_use::{KubeletCertificate, KubeletContent},
    },
    secret::Secret,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use jiff::Timestamp;
use serde::Serialize;

/// Which certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CertificateKind {
    /// The CA that the kubeconfigs trust; of several the one that ends first.
    Ca,
    /// In kube-proxy.kubeconfig.
    KubeProxy,
    /// What the kubelet was signed when it joined, and renews by itself.
    KubeletClient,
}

impl CertificateKind {
    /// As in the document.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ca => "ca",
            Self::KubeProxy => "kube-proxy",
            Self::KubeletClient => "kubelet-client",
        }
    }
}

/// How far it could be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CertificateState {
    Read,
    /// It is not there: a kubelet that has not joined.
    Absent,
    /// There, and the login user may not read it; or what is there holds no certificate.
    Unknown,
}

/// A certificate on a host. Dates and names are absent where it could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HostCertificate {
    pub certificate: CertificateKind,
    /// The file it is in.
    pub path: String,
    pub state: CertificateState,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub common_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Timestamp>,
    /// Rounded down; negative once it has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub days_left: Option<i64>,
    /// It ends within the time that was asked for, and nobody is about to renew it.
    pub due: bool,
}

/// The kubelet renews its certificate when 70 to 90 of 100 parts of its life are over (client-go,
/// util/certificate/certificate_manager.go, nextRotationDeadline): due is what it should have renewed already.
const PARTS_LEFT_TO_KUBELET: i32 = 10;

impl HostCertificate {
    pub(super) fn read(certificate: CertificateKind, path: &str, info: &CertificateInfo, outlook: Outlook<'_>) -> Self {
        let left = info.not_after.duration_since(outlook.now);
        let notice = match certificate {
            CertificateKind::Ca | CertificateKind::KubeProxy => outlook.within,
            CertificateKind::KubeletClient => {
                outlook.within.min(info.not_after.duration_since(info.not_before) / PARTS_LEFT_TO_KUBELET)
            }
        };
        Self {
            certificate,
            path: path.to_owned(),
            state: CertificateState::Read,
            subject: Some(info.subject.clone()),
            common_name: info.common_name.clone(),
            serial: Some(info.serial.clone()),
            not_before: Some(info.not_before),
            not_after: Some(info.not_after),
            days_left: Some(info.days_left(outlook.now)),
            due: left <= notice,
        }
    }

    pub(super) fn of_kubelet(found: &KubeletCertificate, outlook: Outlook<'_>) -> Self {
        let state = match &found.content {
            KubeletContent::Pem(pem) => match pki::parse_certificates(pem).map(|all| all.into_iter().next()) {
                Ok(Some(info)) => return Self::read(CertificateKind::KubeletClient, &found.path, &info, outlook),
                _ => CertificateState::Unknown,
            },
            KubeletContent::Absent => CertificateState::Absent,
            KubeletContent::Unreadable | KubeletContent::Unusable => CertificateState::Unknown,
        };
        Self {
            certificate: CertificateKind::KubeletClient,
            path: found.path.to_string(),
            state,
            subject: None,
            common_name: None,
            serial: None,
            not_before: None,
            not_after: None,
            days_left: None,
            due: false,
        }
    }

    /// Of a kubelet's own.
    pub(super) fn joined(&self, now: Timestamp) -> Joined {
        match (self.state, self.not_after) {
            (CertificateState::Read, Some(end)) if end >= now => Joined::Yes,
            (CertificateState::Unknown, _) => Joined::Unknown,
            _ => Joined::No,
        }
    }
}

/// What one kubeconfig embeds.
#[derive(Debug, Default)]
pub(super) struct Embedded {
    pub ca: Option<CertificateInfo>,
    pub client: Option<CertificateInfo>,
}

impl Embedded {
    /// Of one of ours.
    pub(super) fn of_kubeconfig(content: &Secret) -> Self {
        let Ok(config) = Kubeconfig::from_secret(content) else { return Self::default() };
        Self {
            ca: config.ca_of_current_cluster().and_then(|pem| first(pem.as_bytes())),
            client: config.client_pair_of_current_user().and_then(|(pem, _)| first(pem.as_bytes())),
        }
    }

    /// Of one that a host told about.
    pub(super) fn of_facts(facts: &Facts) -> Self {
        let decoded = |data: &String| first(&BASE64_STANDARD.decode(data).ok()?);
        Self {
            ca: facts.certificate_authority.as_ref().and_then(decoded),
            client: facts.client_certificate.as_ref().and_then(decoded),
        }
    }
}

fn first(pem: &[u8]) -> Option<CertificateInfo> {
    pki::parse_certificates(pem).ok()?.into_iter().next()
}
