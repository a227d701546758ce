//! Whom the apiservers take a new certificate for, asked before anything is changed: one that they refuse is rolled out
//! nowhere. Each control-plane host is asked at its own address, all at a time.

use crate::{
    cluster::{Clusters, Credential, Error},
    inventory::{Host, Role},
    pki::KUBE_PROXY,
    secret::{Secret, printable},
};
use serde::Serialize;
use std::thread;

/// What one apiserver said.
#[derive(Debug, Clone, Serialize)]
pub struct Probe {
    /// The control-plane host.
    pub host: String,
    pub server: String,
    pub verdict: Verdict,
    /// Whom it takes the bearer for, or why it was not learnt.
    pub detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<&'static str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It is system:kube-proxy there.
    Known,
    /// It is nobody there, or somebody else.
    Refused,
    /// It gave no answer.
    Unasked,
}

/// Asks the apiserver of every control-plane host among `hosts`.
#[must_use]
pub fn probe_identity(clusters: &dyn Clusters, hosts: &[Host], certificate: &str, key: &Secret) -> Vec<Probe> {
    let control_plane: Vec<&Host> = hosts.iter().filter(|host| host.roles.contains(Role::ControlPlane)).collect();
    thread::scope(|scope| {
        let asked: Vec<_> = control_plane
            .iter()
            .map(|host| scope.spawn(move || probe_host(clusters, host, certificate, key)))
            .collect();
        let joined = asked.into_iter().map(|one| one.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        joined.collect()
    })
}

fn probe_host(clusters: &dyn Clusters, host: &Host, certificate: &str, key: &Secret) -> Probe {
    let credential = Credential::Certificate { chain: certificate, key };
    let said = clusters.at(&host.apiserver).and_then(|cluster| cluster.whoami(credential));
    let (verdict, detail, code) = match said {
        Ok(identity) if identity.username == KUBE_PROXY.common_name => (Verdict::Known, identity.username, None),
        Ok(identity) => (Verdict::Refused, format!("it is taken for {}", printable(&identity.username)), None),
        Err(error) => {
            let verdict = match error {
                Error::Unauthorized { .. } => Verdict::Refused,
                _ => Verdict::Unasked,
            };
            (verdict, error.to_string(), Some(error.code()))
        }
    };
    let (host, server) = (host.name.as_str().to_owned(), host.apiserver.as_str().to_owned());
    Probe { host, server, verdict, detail, code }
}
