//! `kubemint distribute` on the real binary: it installs what is there, and refuses to install what is not right.

#![allow(clippy::unwrap_used, reason = "clippy.toml allows it in test functions only, not in what they call")]

mod support;

use support::{LOCAL_HOSTS, TestEnv};

#[test]
fn before_generate_it_refuses_and_makes_nothing() {
    let env = TestEnv::with_local_hosts();
    let before = env.tree_hash("");
    let (code, document) = env.json(&["distribute"]);
    assert_eq!((code, &document["error"]["code"]), (4, &"nothing_generated".into()));
    assert!(document["error"]["hint"].as_str().unwrap().contains("kubemint generate"));
    assert_eq!(env.tree_hash(""), before);
}

#[test]
fn it_installs_what_generate_made() {
    let env = TestEnv::with_local_hosts();
    env.ok(&["generate"]);
    let state = env.tree_hash("state/certs");
    let (code, report) = env.json(&["distribute"]);
    assert_eq!((code, &report["command"], &report["summary"]["changed"]), (0, &"distribute".into(), &3.into()));
    assert_eq!(env.tree_hash("state/certs"), state);
    env.ok(&["status", "--exit-code"]);
    assert_eq!(env.json(&["distribute"]).1["summary"]["unchanged"], 3);
}

#[test]
fn what_the_inventory_asks_for_differently_is_refused_by_name() {
    for (text, words) in [
        (
            LOCAL_HOSTS.replace("172.20.0.113", "172.20.0.114"),
            "bootstrap.kubeconfig: server https://172.20.0.113:6443 -> https://172.20",
        ),
        (format!("{LOCAL_HOSTS}[token]\nuid = \"7\"\n"), "token: user, uid or groups changed"),
        (
            format!("{LOCAL_HOSTS}[certificates.kube-proxy]\nalgorithm = \"ed25519\"\n"),
            "kube-proxy: the inventory asks",
        ),
    ] {
        let env = TestEnv::with_local_hosts();
        env.ok(&["generate"]);
        env.write("inventory.toml", text);
        let before = env.tree_hash("");
        env.run(&["distribute"]).expect(4).says(&[words, "run `kubemint generate`, or `kubemint apply`"]);
        assert_eq!(env.tree_hash(""), before);
        env.ok(&["generate"]);
        env.ok(&["distribute"]);
    }
}

#[test]
fn another_server_for_one_host_needs_no_generate() {
    let env = TestEnv::with_local_hosts();
    env.ok(&["apply"]);
    env.write("inventory.toml", format!("{LOCAL_HOSTS}server = \"https://127.0.0.1:6443\"\n"));
    let (code, report) = env.json(&["distribute"]);
    assert_eq!((code, &report["summary"]["changed"], &report["summary"]["unchanged"]), (0, &2.into(), &1.into()));
    let installed = env.read("hosts/node-2/etc/kubernetes/kube-proxy.kubeconfig");
    assert!(installed.contains("server: https://127.0.0.1:6443\n"));
}

#[test]
fn limit_leaves_the_other_hosts_alone() {
    let env = TestEnv::with_local_hosts();
    env.ok(&["generate"]);
    env.ok(&["distribute", "--limit", "node-2"]);
    assert!(
        env.path("hosts/node-2").exists() && !env.path("hosts/node-1").exists() && !env.path("hosts/cp-1").exists()
    );
}
