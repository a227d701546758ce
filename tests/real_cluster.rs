//! kubemint against a real kube-apiserver, etcd, kube-controller-manager and kubelet, where KUBEBUILDER_ASSETS names a folder
//! with them. kubectl and openssl judge.
//!
//! A kubelet here has no container runtime: it asks for its certificate, writes its kubeconfig, and ends. Nodes that have to
//! stay Ready during a rotation are stand-ins; all else is real.
#![cfg(feature = "k8s")]
#![allow(clippy::unwrap_used)]

mod support;

use std::process::Command;
use support::{Api, ControlPlane, eventually, real_binaries, require};

const KUBECONFIG: [&str; 2] = ["--kubeconfig", "admin.kubeconfig"];

/// Starts a node's kubelet, lets kubemint approve what it asks for, and gives its certificate with its key.
fn bootstrap(cluster: &ControlPlane, node: &str) -> String {
    cluster.host(node).must("systemctl start kubelet");
    let log = || cluster.service_log(node, "kubelet");
    eventually(&format!("the request of {node}"), || {
        let has_ended = cluster.host(node).exists("/run/stand-in/kubelet.exit");
        assert!(!has_ended, "{}", log());
        cluster.pending_of(node).pop()
    });
    let ran = cluster.run(&[&["approve", "--yes"], &KUBECONFIG[..]].concat()).expect(0);
    assert!(ran.stdout.contains(node), "{}", ran.stdout);
    eventually(&format!("the kubeconfig of {node}"), || {
        cluster.host(node).exists("/etc/kubernetes/kubelet.kubeconfig").then_some(())
    });
    cluster.kubelet_certificate(node)
}

/// What openssl says of a certificate below the world's folder.
fn told(cluster: &ControlPlane, file: &str) -> String {
    let script = format!(
        "openssl verify -CAfile state/ca.pem -purpose sslclient {file}
         openssl x509 -in {file} -noout -subject -issuer -nameopt oneline -ext extendedKeyUsage"
    );
    require("openssl");
    let output = Command::new("sh").args(["-ec", &script]).current_dir(cluster.env().dir()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Whom the apiserver takes the bearer of a certificate for.
fn whoami(cluster: &ControlPlane, pem: &str) -> (u16, String) {
    Api::new(&cluster.address("cp-1"), &cluster.env().read("state/ca.pem"), Some(pem)).whoami(None).unwrap()
}

#[test]
fn real_kubelets_join_before_and_after_a_rotation() {
    let Some(folder) = real_binaries() else { return };
    let cluster = ControlPlane::builder()
        .nodes(2)
        .idle(&["node-1", "node-2"])
        .services("kubelet_restart = \"never\"\n")
        .real(folder)
        .real_kubelets()
        .start();
    let old = cluster.token_on("node-1");
    let first = bootstrap(&cluster, "node-1");
    cluster.env().write("node-1.pem", &first);
    let text = told(&cluster, "node-1.pem");
    for words in
        ["node-1.pem: OK", "subject=O = system:nodes, CN = system:node:node-1", "TLS Web Client Authentication"]
    {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert_eq!(whoami(&cluster, &first), (201, "system:node:node-1".to_owned()));

    cluster.run(&[&["rotate", "token", "--yes"], &KUBECONFIG[..]].concat()).expect(0);
    let new = cluster.token_on("node-2");
    assert_ne!(old, new);
    assert_eq!((cluster.status_of_token("cp-1", &new), cluster.status_of_token("cp-1", &old)), (201, 401));
    // The certificate of the first holds as before; the second comes with the new token.
    assert_eq!(whoami(&cluster, &first).0, 201);
    let second = bootstrap(&cluster, "node-2");
    assert_eq!(whoami(&cluster, &second), (201, "system:node:node-2".to_owned()));
}

#[test]
fn kube_proxy_is_itself_and_may_list_services() {
    let Some(folder) = real_binaries() else { return };
    let cluster = ControlPlane::builder().nodes(1).idle(&["node-1"]).real(folder).start();
    let file = "kube-proxy.kubeconfig";
    cluster.env().write(file, cluster.host("node-1").read(&format!("/etc/kubernetes/{file}")));
    let who = cluster.kubectl_as(file, &["auth", "whoami", "-o", "jsonpath={.status.userInfo.username}"]).expect(0);
    assert_eq!(who.stdout, "system:kube-proxy");
    cluster.kubectl_as(file, &["auth", "can-i", "list", "services", "-A"]).expect(0).says(&["yes"]);
    cluster.kubectl_as(file, &["get", "services", "-A"]).expect(0).says(&["kubernetes"]);
    cluster.kubectl_as(file, &["auth", "can-i", "list", "secrets", "-A"]).expect(1).says(&["no"]);
}

#[test]
fn three_real_apiservers_are_rotated_and_nobody_is_refused() {
    let Some(folder) = real_binaries() else { return };
    let cluster = ControlPlane::builder().control_planes(3).nodes(3).real(folder).start();
    let old = cluster.token_on("node-1");
    let prober = cluster.probe();
    let ran = cluster.run(&[&["rotate", "token", "--yes"], &KUBECONFIG[..]].concat());
    let report = prober.stop();
    ran.expect(0);
    assert!(report.refusals.is_empty() && report.accepted.iter().all(|n| *n > 0), "{report:?}");
    let new = cluster.token_on("node-1");
    for host in cluster.control_planes() {
        assert_eq!((cluster.status_of_token(host, &new), cluster.status_of_token(host, &old)), (201, 401), "{host}");
        assert!(cluster.downtimes(host).iter().all(|downtime| downtime.to.is_some()), "{host}");
    }
    assert_eq!(cluster.overlapping_downtimes(), []);
}
