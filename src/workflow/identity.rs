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
        let ask = |host: &Host| probe_host(clusters, host, certificate, key);
        let asked: Vec<_> = control_plane
            .iter()
            .map(|host| (host, thread::Builder::new().spawn_scoped(scope, move || ask(host))))
            .collect();
        let joined = asked.into_iter().map(|(host, one)| match one {
            Ok(one) => one.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            // There are no more threads: one after the other.
            Err(_) => ask(host),
        });
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cluster::{Action, BootstrapSecret, Cluster, Decision, Identity, Node, SigningRequest},
        inventory::{Location, ServerUrl, parse_inventory},
        token::BootstrapTokenSecret,
    };

    /// An apiserver for each address, by what its host's part says.
    struct Fake;

    struct FakeServer(ServerUrl);

    impl Clusters for Fake {
        fn at(&self, server: &ServerUrl) -> Result<Box<dyn Cluster>, Error> {
            Ok(Box::new(FakeServer(server.clone())))
        }
    }

    impl Cluster for FakeServer {
        fn server(&self) -> &ServerUrl {
            &self.0
        }
        fn whoami(&self, credential: Credential<'_>) -> Result<Identity, Error> {
            assert!(matches!(credential, Credential::Certificate { chain: "chain", .. }));
            let server = self.0.clone();
            let as_user = |name: &str| Ok(Identity { username: name.into(), uid: String::new(), groups: Vec::new() });
            match server.as_str() {
                "https://knows:6443" => as_user("system:kube-proxy"),
                "https://other:6443" => as_user("somebody\u{1b}[31m"),
                "https://unknown:6443" => Err(Error::Unauthorized { server }),
                _ => Err(Error::Unreachable { server, reason: "no route".into() }),
            }
        }
        fn readyz(&self) -> Result<(), Error> {
            unreachable!()
        }
        fn signing_requests(&self) -> Result<Vec<SigningRequest>, Error> {
            unreachable!()
        }
        fn decide(&self, _: &SigningRequest, _: &Decision) -> Result<(), Error> {
            unreachable!()
        }
        fn nodes(&self) -> Result<Vec<Node>, Error> {
            unreachable!()
        }
        fn bootstrap_secrets(&self) -> Result<Vec<BootstrapSecret>, Error> {
            unreachable!()
        }
        fn create_bootstrap_secret(&self, _: &BootstrapTokenSecret) -> Result<(), Error> {
            unreachable!()
        }
        fn delete_bootstrap_secret(&self, _: &str) -> Result<bool, Error> {
            unreachable!()
        }
        fn may(&self, _: &Action) -> Result<bool, Error> {
            unreachable!()
        }
    }

    #[test]
    fn only_who_is_kube_proxy_there_is_known() {
        let mut text = String::from("[cluster]\nserver = \"https://lb:6443\"\n");
        for name in ["knows", "other", "unknown", "away"] {
            text += &format!("[[hosts]]\nname = \"{name}\"\nroles = [\"control-plane\"]\n");
        }
        text += "[[hosts]]\nname = \"node\"\n";
        let location = Location { path: "i.toml".into(), folder: "/".into(), home: Some("/root".into()) };
        let inventory = parse_inventory(&text, &location).unwrap();
        let probes = probe_identity(&Fake, &inventory.hosts, "chain", &Secret::from("key"));
        let told: Vec<_> = probes.iter().map(|probe| (probe.host.as_str(), probe.verdict, probe.code)).collect();
        assert_eq!(
            told,
            [
                ("knows", Verdict::Known, None),
                ("other", Verdict::Refused, None),
                ("unknown", Verdict::Refused, Some("api_unauthorized")),
                ("away", Verdict::Unasked, Some("api_unreachable")),
            ]
        );
        assert!(!probes[1].detail.contains('\u{1b}'), "{}", probes[1].detail);
    }
}
