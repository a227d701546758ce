//! Signing requests as kubelets and others would make them, through the real openssl, and a cluster in memory that keeps
//! them as an apiserver does: every change gives a new resourceVersion, and a decision on an older one is a conflict.
#![allow(dead_code, clippy::unwrap_used)]

use crate::pki_support::{P256, Workshop};
use jiff::{SignedDuration, Timestamp};
use kubemint::{
    cluster::{
        Action, BootstrapSecret, Cluster, Credential, Decision, Error, Identity, Node, RequestState, SigningRequest,
    },
    inventory::{Inventory, Location, ServerUrl, parse_inventory},
    token::BootstrapTokenSecret,
    workflow::approve::{CLIENT_SIGNER, Expectations, Requester, SERVING_SIGNER},
};
use std::{process::Command, sync::Mutex};

/// An RSA key of 16,384 bits takes half a minute to make:
/// `genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:16384 -pkeyopt rsa_keygen_primes:5`, then a request for
/// /O=system:nodes/CN=system:node:node-1.
pub const HUGE_RSA: &str = include_str!("rsa-16384.csr");

const INVENTORY: &str = r#"
[cluster]
server = "https://10.0.0.1:6443"
[[hosts]]
name = "cp-1"
address = "10.0.0.1"
roles = ["control-plane"]
[[hosts]]
name = "node-[1-3]"
address = "10.0.1.[1-3]"
[[hosts]]
name = "node-4"
address = "four.example.net"
"#;

pub fn inventory() -> Inventory {
    let location = Location { path: "inventory.toml".into(), folder: "/nowhere".into(), home: Some("/home".into()) };
    parse_inventory(INVENTORY, &location).unwrap()
}

pub fn now() -> Timestamp {
    "2026-11-22T12:00:00Z".parse().unwrap()
}

pub fn expectations() -> Expectations {
    let inventory = inventory();
    Expectations::of_inventory(&inventory, vec![Requester::of_settings(&inventory.token)], now())
}

pub fn ago(minutes: i64) -> Timestamp {
    now() - SignedDuration::from_mins(minutes)
}

/// Makes requests.
pub struct Forge(pub Workshop);

impl Forge {
    /// With the keys p256.pem, other.pem, rsa.pem and weak.pem, and a certificate, ca.pem.
    pub fn new() -> Self {
        let shop = Workshop::new();
        for (name, key) in [
            ("p256", "-algorithm EC -pkeyopt ec_paramgen_curve:P-256"),
            ("other", "-algorithm EC -pkeyopt ec_paramgen_curve:P-256"),
            ("rsa", "-algorithm RSA -pkeyopt rsa_keygen_bits:2048"),
            ("weak", "-algorithm RSA -pkeyopt rsa_keygen_bits:1024"),
        ] {
            shop.openssl(&format!("genpkey {key} -out {name}.pem"));
        }
        shop.ca_with(P256, "/CN=x", "ca", "");
        Self(shop)
    }

    /// `subject` in openssl's form; `extension` as for `-addext`.
    pub fn request(&self, key: &str, subject: &str, extension: Option<&str>) -> String {
        let mut openssl = Command::new("openssl");
        openssl.args(["req", "-new", "-utf8", "-config", "openssl.cnf", "-key", &format!("{key}.pem")]);
        openssl.args(["-subj", subject]).args(extension.iter().flat_map(|text| ["-addext", text]));
        let made = openssl.current_dir(self.0.path("")).output().unwrap();
        assert!(made.status.success(), "{subject}: {}", String::from_utf8_lossy(&made.stderr));
        String::from_utf8(made.stdout).unwrap()
    }

    pub fn of_node(&self, node: &str) -> String {
        self.request("p256", &subject(node), None)
    }
}

pub fn subject(node: &str) -> String {
    format!("/O=system:nodes/CN=system:node:{node}")
}

/// What a kubelet with our token asks for.
pub fn join(pem: impl Into<Vec<u8>>) -> SigningRequest {
    SigningRequest {
        name: "node-csr-1".to_owned(),
        uid: "uid-1".to_owned(),
        resource_version: "7".to_owned(),
        created: ago(1),
        signer: CLIENT_SIGNER.to_owned(),
        username: "kubelet-bootstrap".to_owned(),
        groups: vec!["system:kubelet-bootstrap".to_owned(), "system:authenticated".to_owned()],
        usages: vec!["digital signature".to_owned(), "client auth".to_owned()],
        request: pem.into(),
        expiration_seconds: None,
        state: RequestState::Pending,
        certificate: Vec::new(),
    }
}

/// What `node` asks for itself.
pub fn renewal(pem: impl Into<Vec<u8>>, node: &str) -> SigningRequest {
    let groups = vec!["system:nodes".to_owned(), "system:authenticated".to_owned()];
    SigningRequest { username: format!("system:node:{node}"), groups, ..join(pem) }
}

pub fn serving(pem: impl Into<Vec<u8>>, node: &str) -> SigningRequest {
    let usages = vec!["digital signature".to_owned(), "server auth".to_owned()];
    SigningRequest { signer: SERVING_SIGNER.to_owned(), usages, ..renewal(pem, node) }
}

pub fn node(name: &str) -> Node {
    Node { name: name.to_owned(), created: ago(600), ready: true, heartbeat: Some(now()) }
}

/// A cluster in memory.
pub struct MemoryCluster {
    pub server: ServerUrl,
    pub nodes: Vec<Node>,
    pub requests: Mutex<Vec<SigningRequest>>,
    /// So many times somebody else touches a request just before it is decided.
    pub meddling: Mutex<u32>,
    /// What the meddler makes of it.
    pub meddler: fn(&mut SigningRequest),
    /// What every decision ends with instead.
    pub refusal: Option<Error>,
    pub tried: Mutex<usize>,
}

impl MemoryCluster {
    pub fn new(nodes: Vec<Node>, requests: Vec<SigningRequest>) -> Self {
        let mut requests = requests;
        for (n, request) in requests.iter_mut().enumerate() {
            request.name = format!("csr-{n}");
            request.uid = format!("uid-{n}");
        }
        Self {
            server: "https://10.0.0.1:6443".parse().unwrap(),
            nodes,
            requests: Mutex::new(requests),
            meddling: Mutex::new(0),
            meddler: |_| (),
            refusal: None,
            tried: Mutex::new(0),
        }
    }

    pub fn state(&self, n: usize) -> RequestState {
        self.requests.lock().unwrap()[n].state
    }
}

impl Cluster for MemoryCluster {
    fn server(&self) -> &ServerUrl {
        &self.server
    }

    fn readyz(&self) -> Result<(), Error> {
        Ok(())
    }

    fn whoami(&self, _: Credential<'_>) -> Result<Identity, Error> {
        panic!("nobody asks")
    }

    fn signing_requests(&self) -> Result<Vec<SigningRequest>, Error> {
        Ok(self.requests.lock().unwrap().clone())
    }

    fn decide(&self, request: &SigningRequest, decision: &Decision) -> Result<(), Error> {
        *self.tried.lock().unwrap() += 1;
        if let Some(refusal) = &self.refusal {
            return Err(refusal.clone());
        }
        let mut requests = self.requests.lock().unwrap();
        let what = request.name.clone();
        let Some(kept) = requests.iter_mut().find(|kept| kept.uid == request.uid) else {
            return Err(Error::NotFound { server: self.server.clone(), what });
        };
        let touch = |kept: &mut SigningRequest| {
            let version: u64 = kept.resource_version.parse().unwrap();
            kept.resource_version = (version + 1).to_string();
        };
        let mut meddling = self.meddling.lock().unwrap();
        if *meddling > 0 {
            *meddling -= 1;
            (self.meddler)(kept);
            touch(kept);
        }
        if kept.resource_version != request.resource_version {
            return Err(Error::Conflict { server: self.server.clone(), what });
        }
        assert_eq!(kept.state, RequestState::Pending, "{what} is decided twice");
        kept.state = match decision {
            Decision::Approve { .. } => RequestState::Approved,
            Decision::Deny { .. } => RequestState::Denied,
        };
        touch(kept);
        Ok(())
    }

    fn nodes(&self) -> Result<Vec<Node>, Error> {
        Ok(self.nodes.clone())
    }

    fn bootstrap_secrets(&self) -> Result<Vec<BootstrapSecret>, Error> {
        panic!("nobody asks")
    }

    fn create_bootstrap_secret(&self, _: &BootstrapTokenSecret) -> Result<(), Error> {
        panic!("nobody asks")
    }

    fn delete_bootstrap_secret(&self, _: &str) -> Result<bool, Error> {
        panic!("nobody asks")
    }

    fn may(&self, _: &Action) -> Result<bool, Error> {
        panic!("nobody asks")
    }
}
