//! What the rotation's tests ask of a cluster: which tokens work where, what the hosts hold, how a rotation ended.
#![allow(dead_code, reason = "each test crate uses its own part")]

use crate::support::{ControlPlane, Ran, TestEnv};
use serde_json::Value;
use std::process::Command;

/// A cluster whose restarts are given up soon.
pub fn cluster(control_planes: usize, nodes: usize) -> ControlPlane {
    ControlPlane::builder().control_planes(control_planes).nodes(nodes).services(SOON).start()
}

pub const SOON: &str = "restart_timeout = \"6s\"\n";

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
