//! What the rotation's tests ask of a cluster: which tokens work where, what the hosts hold, how a rotation ended.
#![allow(dead_code, reason = "each test crate uses its own part")]

use crate::support::{ClusterBuilder, ControlPlane, Ran, TestEnv, are_apiservers_real, patience};
use serde_json::Value;
use std::process::Command;

/// A cluster whose restarts are given up soon.
pub fn cluster(control_planes: usize, nodes: usize) -> ControlPlane {
    ControlPlane::builder().control_planes(control_planes).nodes(nodes).services(&soon()).start()
}

/// The same of stand-ins, whatever the others are: faults are theirs.
pub fn cluster_with_faults(control_planes: usize, nodes: usize) -> ControlPlane {
    ControlPlane::builder().stand_ins().control_planes(control_planes).nodes(nodes).services(SOON).start()
}

const SOON: &str = "restart_timeout = \"6s\"\n";

/// A restart that is given up soon, but not before a real apiserver can be ready.
pub fn soon() -> String {
    if are_apiservers_real() { format!("restart_timeout = \"{}s\"\n", patience().as_secs()) } else { SOON.to_owned() }
}

/// Runs `rotate token` with these flags and holds it to its exit code; gives its document.
#[track_caller]
pub fn rotate(cluster: &ControlPlane, flags: &[&str], code: i32) -> Value {
    let ran = cluster.run(&[&["rotate", "token", "--yes", "-o", "json"], flags].concat());
    assert_eq!(ran.code, code, "{flags:?}\n{}\n{}", ran.stdout, ran.stderr);
    assert_no_token(cluster.env(), &ran);
    serde_json::from_str(&ran.stdout).unwrap_or_else(|e| panic!("{e}\n{}", ran.stdout))
}

/// Nothing that was said holds a token.
#[track_caller]
pub fn assert_no_token(env: &TestEnv, ran: &Ran) {
    for name in ["state/token.csv", "state/rotation.csv"] {
        let text = std::fs::read_to_string(env.path(name)).unwrap_or_default();
        for row in text.lines() {
            let token = row.split(',').next().unwrap();
            assert!(!ran.stdout.contains(token) && !ran.stderr.contains(token), "a token was said: {ran:?}");
        }
    }
}

/// The tokens of our user in the stored token.csv.
pub fn stored_tokens(env: &TestEnv) -> Vec<String> {
    let text = env.read("state/token.csv");
    text.lines().map(|row| row.split(',').next().unwrap().to_owned()).collect()
}

/// What each apiserver answers to a token.
#[track_caller]
pub fn assert_status(cluster: &ControlPlane, token: &str, wanted: &[u16]) {
    let found: Vec<u16> = cluster.control_planes().iter().map(|host| cluster.status_of_token(host, token)).collect();
    assert_eq!(found, wanted);
}

#[track_caller]
pub fn assert_all(cluster: &ControlPlane, token: &str, status: u16) {
    assert_status(cluster, token, &vec![status; cluster.control_planes().len()]);
}

/// One token works everywhere and on every node, the other is refused everywhere.
#[track_caller]
pub fn assert_rotated(cluster: &ControlPlane, old: &str) -> String {
    let tokens = stored_tokens(cluster.env());
    assert_eq!(tokens.len(), 1);
    assert_ne!(tokens[0], old);
    assert_all(cluster, &tokens[0], 201);
    assert_all(cluster, old, 401);
    for node in cluster.nodes_by_name() {
        assert_eq!(cluster.token_on(node), tokens[0], "{node}");
    }
    assert!(!cluster.env().path("state/rotation.csv").exists());
    cluster.run(&["verify"]).expect(0);
    let (_, status) = cluster.env().json(&["status"]);
    assert_eq!(status["summary"]["ok"], status["summary"]["hosts"], "{status:#}");
    tokens[0].clone()
}

/// The files that kubemint keeps on a host, but for kept versions: names, modes, owners and content.
pub fn tree_hash(cluster: &ControlPlane, host: &str) -> String {
    let find = "for f in token.csv bootstrap.kubeconfig kube-proxy.kubeconfig; do [ -e $f ] && stat -c '%n %a %U:%G' $f \
                && sha256sum $f; done; find . -name '*.tmp'";
    let dir = cluster.host(host).path("/etc/kubernetes");
    let ran = Command::new("sh").args(["-c", find]).current_dir(dir).output().unwrap();
    String::from_utf8(ran.stdout).unwrap()
}

pub fn tree_hashes(cluster: &ControlPlane) -> Vec<String> {
    cluster.control_planes().iter().chain(cluster.nodes_by_name()).map(|host| tree_hash(cluster, host)).collect()
}

/// How often each apiserver was restarted.
pub fn restarts(cluster: &ControlPlane) -> Vec<usize> {
    cluster.control_planes().iter().map(|host| cluster.restarts(host, "kube-apiserver")).collect()
}

pub fn codes(document: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    document["pending"].as_array().unwrap().iter().map(|host| (text(&host["name"]), text(&host["code"]))).collect()
}

/// Names of the bootstrap-token Secrets, as kubectl lists them.
pub fn secrets(cluster: &ControlPlane) -> Vec<String> {
    let ran = cluster.kubectl(&["-n", "kube-system", "get", "secrets", "-o", "name"]).expect(0);
    ran.stdout.lines().map(|line| line.trim_start_matches("secret/").to_owned()).collect()
}

/// Makes the Secret of the stored token in the cluster, as kubectl does it.
pub fn create_secret(cluster: &ControlPlane) {
    let manifest = cluster.run(&["token", "manifest"]).expect(0).stdout;
    let secret = manifest.split("---\n").find(|document| document.contains("kind: Secret")).unwrap();
    cluster.env().write("secret.yaml", secret);
    cluster.kubectl(&["create", "--validate=false", "-f", "secret.yaml"]).expect(0);
}

/// A cluster that keeps its tokens in Secrets. Its nodes have not joined: they do when their kubelets are restarted.
pub fn secret_cluster(control_planes: usize, nodes: usize) -> ControlPlane {
    secrets_in(ControlPlane::builder().services(&soon()), control_planes, nodes)
}

/// The same of stand-ins, whatever the others are.
pub fn secret_cluster_with_faults(control_planes: usize, nodes: usize) -> ControlPlane {
    secrets_in(ControlPlane::builder().stand_ins().services(SOON), control_planes, nodes)
}

fn secrets_in(builder: ClusterBuilder, control_planes: usize, nodes: usize) -> ControlPlane {
    let names: Vec<String> = (1..=nodes).map(|n| format!("node-{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let builder = builder.control_planes(control_planes).nodes(nodes).idle(&names);
    let cluster = builder.settings("[token]\nform = \"secret\"\n").start();
    create_secret(&cluster);
    cluster
}

/// One token works everywhere, is in the only Secret and on every node; the other is refused.
#[track_caller]
pub fn assert_secret_rotated(cluster: &ControlPlane, old: &str) -> String {
    let new = cluster.token_on(&cluster.nodes_by_name()[0]);
    assert_ne!(new, old);
    for node in cluster.nodes_by_name() {
        assert_eq!(cluster.token_on(node), new, "{node}");
    }
    assert_all(cluster, &new, 201);
    assert_all(cluster, old, 401);
    let id = new.split('.').next().unwrap();
    assert_eq!(secrets(cluster), [format!("bootstrap-token-{id}")]);
    for name in ["state/rotation.csv", "state/token.csv"] {
        assert!(!cluster.env().path(name).exists(), "{name}");
    }
    cluster.run(&["verify"]).expect(0);
    let (_, shown) = cluster.env().json(&["token", "show"]);
    assert_eq!((&shown["form"], &shown["secret"]["id"]), (&"secret".into(), &id.into()), "{shown:#}");
    assert!(shown.get("rotation").is_none());
    new
}

/// A request for a node's first certificate, as a kubelet makes it.
pub fn request(cluster: &ControlPlane, node: &str) -> Vec<u8> {
    let script = format!(
        "openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout /dev/null \
         -subj /O=system:nodes/CN=system:node:{node} 2>/dev/null"
    );
    let made = Command::new("sh").args(["-c", &script]).current_dir(cluster.env().dir()).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    made.stdout
}
