//! What the API of a [`ControlPlane`] holds, and what its nodes do: requests, nodes, tokens.

use super::super::{Prober, patience, prober, require, within};
use super::ControlPlane;
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use std::{
    fs,
    io::Write,
    process::{Command, Stdio},
    time::Duration,
};

const CSRS: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests";

impl ControlPlane {
    fn list(&self, path: &str) -> Vec<Value> {
        let (status, body) = self.any_api().call("GET", path, None, None).unwrap();
        assert_eq!(status, 200, "{body}");
        body["items"].as_array().unwrap().clone()
    }

    /// All CertificateSigningRequests, as the API has them.
    pub fn csrs(&self) -> Vec<Value> {
        self.list(CSRS)
    }

    pub fn nodes(&self) -> Vec<Value> {
        self.list("/api/v1/nodes")
    }

    pub fn is_node_ready(&self, name: &str) -> bool {
        self.nodes().iter().any(|node| node["metadata"]["name"] == name && is_ready(node))
    }

    /// Requests that are not decided: name, and subject as openssl prints it.
    pub fn pending(&self) -> Vec<(String, String)> {
        let is_pending = |csr: &&Value| csr["status"]["conditions"].as_array().is_none_or(Vec::is_empty);
        let named = |csr: &Value| (csr["metadata"]["name"].as_str().unwrap().to_owned(), subject_of(csr));
        self.csrs().iter().filter(is_pending).map(named).collect()
    }

    /// Names of the requests for that node that are not decided.
    pub fn pending_of(&self, node: &str) -> Vec<String> {
        let is_its = |subject: &str| subject.ends_with(&format!("CN = system:node:{node}"));
        self.pending().into_iter().filter(|(_, subject)| is_its(subject)).map(|(name, _)| name).collect()
    }

    /// Approves or denies a request by name, as an admin would.
    pub fn decide(&self, name: &str, kind: &str) {
        let mut api = self.any_api();
        let (_, mut csr) = api.call("GET", &format!("{CSRS}/{name}"), None, None).unwrap();
        let condition = json!({"type": kind, "status": "True", "reason": "Rig", "message": "by the rig"});
        csr["status"]["conditions"] = json!([condition]);
        let (status, body) = api.call("PUT", &format!("{CSRS}/{name}/approval"), None, Some(&csr)).unwrap();
        assert_eq!(status, 200, "{body}");
    }

    /// Approves whatever these nodes ask for until all of them are Ready.
    pub fn join(&self, nodes: &[&str]) {
        within(patience().max(Duration::from_secs(60)), &format!("{nodes:?} to join"), || {
            let all = self.nodes();
            let is_in = |name: &str| all.iter().any(|node| node["metadata"]["name"] == name && is_ready(node));
            let missing: Vec<&&str> = nodes.iter().filter(|name| !is_in(name)).collect();
            if missing.is_empty() {
                return Some(());
            }
            for (csr, subject) in self.pending() {
                if missing.iter().any(|name| subject.ends_with(&format!("CN = system:node:{name}"))) {
                    self.decide(&csr, "Approved");
                }
            }
            std::thread::park_timeout(Duration::from_millis(100));
            None
        });
    }

    /// Approved requests are not signed, and silent nodes not marked, while what this gives lives.
    pub fn stop_signing(&self) -> fs::File {
        let file = fs::File::create(self.shared.path().join("store/leader")).unwrap();
        file.lock().unwrap();
        file
    }

    /// Changes a stored object behind the API's back; `kind` is certificatesigningrequests, nodes or secrets.
    pub fn edit_stored(&self, kind: &str, name: &str, change: impl FnOnce(&mut Value)) {
        let path = self.shared.path().join("store").join(kind).join(name);
        let mut value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        change(&mut value);
        fs::write(path, value.to_string()).unwrap();
    }

    /// Posts a request; gives status and answer. `pem` is PKCS #10.
    pub fn post_csr(&self, token: &str, name: &str, signer: &str, usages: &[&str], pem: &[u8]) -> (u16, Value) {
        let body = json!({
            "kind": "CertificateSigningRequest", "apiVersion": "certificates.k8s.io/v1", "metadata": {"name": name},
            "spec": {"request": BASE64_STANDARD.encode(pem), "signerName": signer, "usages": usages},
        });
        self.plain_api(&self.control_planes[0]).call("POST", CSRS, Some(token), Some(&body)).unwrap()
    }

    /// The kubelet's certificate and key on a node, PEM.
    pub fn kubelet_certificate(&self, node: &str) -> String {
        // By a program of the host: the link is absolute.
        let output = self.host(node).run("cat /var/lib/kubelet/pki/kubelet-client-current.pem");
        assert!(output.status.success(), "{node}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The token in the host's bootstrap.kubeconfig.
    pub fn token_on(&self, node: &str) -> String {
        let path = self.host(node).path("/etc/kubernetes/bootstrap.kubeconfig");
        prober::token_in(&path).unwrap_or_else(|| panic!("{node} has no token"))
    }

    /// Starts to authenticate with every node's current token, 20 times a second, at each apiserver.
    pub fn probe(&self) -> Prober {
        let file = |node: &String| (node.clone(), self.host(node).path("/etc/kubernetes/bootstrap.kubeconfig"));
        let holders: Vec<_> = self.nodes.iter().map(file).collect();
        Prober::start(self.control_planes.iter().map(|host| self.plain_api(host)).collect(), &holders)
    }

    /// Whom the apiserver took a node's kube-proxy for when it last asked: username, groups, serial, ms.
    pub fn kube_proxy_identity(&self, node: &str) -> Option<Value> {
        let text = fs::read_to_string(self.host(node).path("/run/kube-proxy.identity")).ok()?;
        serde_json::from_str(&text).ok()
    }
}

fn is_ready(node: &Value) -> bool {
    let conditions = node["status"]["conditions"].as_array();
    conditions.is_some_and(|all| all.iter().any(|c| c["type"] == "Ready" && c["status"] == "True"))
}

/// The subject that a request asks for, as openssl prints it.
fn subject_of(csr: &Value) -> String {
    let pem = BASE64_STANDARD.decode(csr["spec"]["request"].as_str().unwrap()).unwrap();
    let mut command = Command::new(require("openssl"));
    command
        .args(["req", "-noout", "-subject", "-nameopt", "oneline,utf8"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut openssl = command.spawn().unwrap();
    openssl.stdin.take().unwrap().write_all(&pem).unwrap();
    String::from_utf8(openssl.wait_with_output().unwrap().stdout).unwrap().trim().to_owned()
}
