//! What on a host runs out, or lags behind: certificates near their end, services that run since before their file
//! changed, tokens of another generation. Worked out of what a probe told; nothing is asked here, nothing changed.

mod certificates;
mod exchange;
mod services;
mod tokens;

pub use certificates::{CertificateKind, CertificateState, HostCertificate};
pub use exchange::{Exchange, Exchanges};
pub use services::{HostService, ServiceState, service_state};
pub use tokens::{Generation, TokenFileState};

use super::survey::FileSurvey;
use crate::{
    bundle::{Bundle, FileKind, HostFile},
    digest::{Digest, Fingerprint},
    remote::installer::{Facts, FileState, FileView, Found, HostView, in_use::Service},
};
use certificates::Embedded;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

/// By what hosts are judged.
#[derive(Debug, Clone, Copy)]
pub struct Outlook<'a> {
    /// What ends within this time is due.
    pub within: SignedDuration,
    pub now: Timestamp,
    /// Of a rotation under way.
    pub exchanges: Option<&'a Exchanges>,
}

/// What runs out or lags behind on one host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Upkeep {
    pub certificates: Vec<HostCertificate>,
    pub services: Vec<HostService>,
    /// One for each file that holds a token.
    pub tokens: Vec<TokenFileState>,
}

impl Upkeep {
    /// Whether something is to be done, apart from files that differ.
    #[must_use]
    pub fn is_due(&self) -> bool {
        self.certificates.iter().any(|certificate| certificate.due) || self.services.iter().any(|service| service.due)
    }

    /// Whether all tokens are those in use now; `None` where there are none, or nobody could tell.
    #[must_use]
    pub fn has_current_tokens(&self) -> Option<bool> {
        let told = |file: &TokenFileState| file.generation != Generation::Unknown;
        let is_current = |file: &TokenFileState| matches!(file.generation, Generation::Current | Generation::Both);
        (!self.tokens.is_empty() && self.tokens.iter().all(told)).then(|| self.tokens.iter().all(is_current))
    }
}

/// Judges hosts, remembering what the files of ours embed: thousands of hosts share a few.
pub(super) struct Judge<'a> {
    outlook: Outlook<'a>,
    current: Fingerprint,
    embedded: Mutex<HashMap<Digest, Arc<Embedded>>>,
}

impl<'a> Judge<'a> {
    /// `current`: the token that hosts should have, unless it is being exchanged.
    pub(super) fn new(outlook: Outlook<'a>, current: Fingerprint) -> Self {
        Self { outlook, current, embedded: Mutex::default() }
    }

    /// `surveyed` are the files of `bundle`, in its order.
    pub(super) fn judge(&self, bundle: &Bundle<'_>, view: &HostView, surveyed: &[FileSurvey]) -> Option<Upkeep> {
        let in_use = view.in_use.as_ref()?;
        let seen: Vec<Seen> = bundle
            .files
            .iter()
            .zip(&view.files)
            .zip(surveyed)
            .map(|((file, view), survey)| Seen { file, view, survey })
            .collect();
        let mut certificates = self.embedded_certificates(&seen);
        let kubelet = in_use.kubelet.as_ref().map(|found| HostCertificate::of_kubelet(found, self.outlook));
        let has_joined = kubelet.as_ref().map_or(Joined::Unknown, |kubelet| kubelet.joined(self.outlook.now));
        certificates.extend(kubelet);
        let services = in_use.services.iter().filter_map(|found| {
            let joined = if found.service == Service::Kubelet { has_joined } else { Joined::No };
            Some(HostService::of(found, &seen.get(found.file)?.survey.path, joined))
        });
        let host = bundle.host.name.as_str();
        let exchange = |kind| self.outlook.exchanges.and_then(|all| all.of_file(kind, host));
        let tokens = seen.iter().filter_map(|file| tokens::state_of(file, self.current, exchange(file.file.kind)));
        Some(Upkeep { certificates, services: services.collect(), tokens: tokens.collect() })
    }

    /// The CA that ends first of those the host's kubeconfigs trust, and kube-proxy's own certificate.
    fn embedded_certificates(&self, seen: &[Seen<'_>]) -> Vec<HostCertificate> {
        let (mut ca, mut own) = (None::<HostCertificate>, None);
        let kinds = [FileKind::BootstrapKubeconfig, FileKind::KubeProxyKubeconfig];
        for file in seen.iter().filter(|file| kinds.contains(&file.file.kind)) {
            let Some(embedded) = self.embedded(file) else { continue };
            let path = &file.survey.path;
            if let Some(info) = &embedded.ca
                && ca.as_ref().and_then(|ca| ca.not_after).is_none_or(|end| info.not_after < end)
            {
                ca = Some(HostCertificate::read(CertificateKind::Ca, path, info, self.outlook));
            }
            if let Some(info) = &embedded.client {
                own = Some(HostCertificate::read(CertificateKind::KubeProxy, path, info, self.outlook));
            }
        }
        ca.into_iter().chain(own).collect()
    }

    /// What a kubeconfig on the host embeds; `None` where it could not be read there.
    fn embedded(&self, seen: &Seen<'_>) -> Option<Arc<Embedded>> {
        if !seen.is_ours() {
            return seen.facts().map(|facts| Arc::new(Embedded::of_facts(facts)));
        }
        let known = || self.embedded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(embedded) = known().get(&seen.file.sha256) {
            return Some(Arc::clone(embedded));
        }
        let embedded = Arc::new(Embedded::of_kubeconfig(&seen.file.content));
        known().insert(seen.file.sha256, Arc::clone(&embedded));
        Some(embedded)
    }
}

/// Whether a kubelet has a certificate of its own, and so no use for the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Joined {
    Yes,
    No,
    Unknown,
}

/// A file as it should be and as it was found.
struct Seen<'a> {
    file: &'a HostFile,
    view: &'a FileView,
    survey: &'a FileSurvey,
}

impl<'a> Seen<'a> {
    /// Whether the host holds our content.
    fn is_ours(&self) -> bool {
        matches!(self.view.state, FileState::Matches | FileState::WrongAttributes)
            || self.view.sha256() == Some(self.file.sha256)
    }

    /// What the host told of other content; `None` where it could not read it.
    fn facts(&self) -> Option<&'a Facts> {
        match &self.view.found {
            Found::Regular(regular) => regular.sha256.map(|_| &regular.facts),
            _ => None,
        }
    }
}
