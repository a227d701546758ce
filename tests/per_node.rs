//! Nodes with kube-proxy keys of their own: one leaked is one node's.

#![allow(clippy::unwrap_used, reason = "clippy.toml allows it in test functions only, not in what they call")]

mod support;

use std::collections::BTreeSet;
use support::{
    LOCAL_HOSTS, TestEnv, hosts_that_are,
    openssl::{assert_pair, field},
};

const NODES: [&str; 3] = ["cp-1", "node-1", "node-2"];
const PER_NODE: &str = "[certificates.kube-proxy]\nper_node = true\n";

fn world(more: &str) -> TestEnv {
    TestEnv::with_inventory(&format!("{LOCAL_HOSTS}{more}"))
}

fn applied() -> TestEnv {
    let env = world(PER_NODE);
    env.ok(&["apply", "--yes"]);
    env
}

fn certificate(node: &str) -> String {
    format!("state/certs/nodes/{node}/kube-proxy.pem")
}

fn key(node: &str) -> String {
    format!("state/certs/nodes/{node}/kube-proxy-key.pem")
}

fn on_host(env: &TestEnv, host: &str) -> String {
    env.read(format!("hosts/{host}/etc/kubernetes/kube-proxy.kubeconfig"))
}

/// What a kubeconfig embeds, as PEM.
fn embedded(kubeconfig: &str, name: &str) -> String {
    use base64::Engine;
    let line = kubeconfig.lines().find_map(|line| line.trim().strip_prefix(name)).unwrap();
    String::from_utf8(base64::prelude::BASE64_STANDARD.decode(line.trim().trim_matches('"')).unwrap()).unwrap()
}

#[test]
fn each_node_has_its_own_key_and_serial_number_and_the_same_subject() {
    let env = applied();
    let (mut keys, mut serials) = (BTreeSet::new(), BTreeSet::new());
    for node in NODES {
        assert_pair(&env, &certificate(node), &key(node), "state/ca.pem");
        assert_eq!(
            field(&env, &certificate(node), "-subject"),
            "subject=O = system:node-proxier, CN = system:kube-proxy"
        );
        keys.insert(env.read(key(node)));
        serials.insert(field(&env, &certificate(node), "-serial"));
        let held = on_host(&env, node);
        assert_eq!(embedded(&held, "client-certificate-data:"), env.read(certificate(node)), "{node}");
        assert_eq!(embedded(&held, "client-key-data:"), env.read(key(node)), "{node}");
        assert_eq!((env.mode(certificate(node)), env.mode(key(node))), (0o600, 0o600));
        assert_eq!(env.mode(format!("state/certs/nodes/{node}")), 0o700);
    }
    assert_eq!((keys.len(), serials.len()), (3, 3));
    env.ok(&["verify"]).says(&["3 nodes, each with its own"]);
    env.ok(&["status", "--exit-code"]);
    env.ok(&["plan"]).says(&["0 to change"]);
    let (_, list) = env.json(&["cert", "list"]);
    let listed: Vec<_> = list["certificates"].as_array().unwrap().iter().map(|row| row["node"].as_str()).collect();
    assert_eq!(listed, [None, None, Some("cp-1"), Some("node-1"), Some("node-2")]);
    assert_eq!(env.json(&["generate"]).1["changed"], false);
}

#[test]
fn plan_and_status_know_whose_certificate_is_whose() {
    let env = applied();
    // node-1 holds node-2's file.
    let other = on_host(&env, "node-2");
    env.write("hosts/node-1/etc/kubernetes/kube-proxy.kubeconfig", other);
    let (_, status) = env.json(&["status"]);
    let file = status["hosts"][1]["files"].as_array().unwrap().iter().find(|file| file["state"] == "differs").unwrap();
    let serial = |node: &str| field(&env, &certificate(node), "-serial").replace("serial=", "");
    assert_eq!(
        (file["found"]["certificate_serial"].as_str().unwrap(), file["wanted"]["certificate_serial"].as_str().unwrap()),
        (serial("node-2").as_str(), serial("node-1").as_str())
    );
    env.ok(&["apply", "--yes"]).says(&["1 changed, 2 unchanged"]);
    assert_ne!(on_host(&env, "node-1"), on_host(&env, "node-2"));
}

#[test]
fn a_node_that_is_added_gets_one_and_the_others_keep_theirs() {
    let env = applied();
    let kept = NODES.map(|node| env.read(certificate(node)));
    env.write("inventory.toml", env.read("inventory.toml").replace("node-[1-2]", "node-[1-3]"));
    let (_, status) = env.json(&["status"]);
    assert_eq!(status["pending"][0]["artifact"], "kube-proxy-nodes", "{status}");
    env.run(&["distribute"]).expect(4).says(&["kube-proxy-nodes", "node-3: there was none"]);
    let (code, report) = env.json(&["apply", "--yes"]);
    assert_eq!((code, hosts_that_are(&report, "changed")), (0, vec!["node-3"]));
    assert_pair(&env, &certificate("node-3"), &key("node-3"), "state/ca.pem");
    assert_eq!(NODES.map(|node| env.read(certificate(node))), kept);
    // One that leaves keeps its pair, in case it comes back, until the next reissue.
    env.write("inventory.toml", env.read("inventory.toml").replace("node-[1-3]", "node-[1-2]"));
    let third = env.read(certificate("node-3"));
    env.ok(&["apply", "--yes"]).says(&["3 unchanged"]);
    env.ok(&["verify"]);
    assert_eq!(env.read(certificate("node-3")), third);
    let (code, list) = env.json(&["cert", "list", "--check", "400d"]);
    let told = |row: &serde_json::Value| (row["in_use"].as_bool().unwrap(), row["due"].as_bool().unwrap());
    let told: Vec<_> = list["certificates"].as_array().unwrap().iter().map(told).collect();
    // The CA; the one that nobody shares; those of three nodes; the one of the node that left.
    let (idle, due) = ((false, false), (true, true));
    assert_eq!((code, told), (6, vec![(true, false), idle, due, due, due, idle]), "{list}");
    env.ok(&["reissue", "kube-proxy"]).says(&["3 changed"]);
    assert!(!env.path("state/certs/nodes/node-3").exists());
    env.ok(&["verify"]);
    assert!(NODES.iter().zip(kept).all(|(node, old)| env.read(certificate(node)) != old));
}

#[test]
fn switching_back_and_forth_converges() {
    let env = world("");
    env.ok(&["apply", "--yes"]);
    let shared = on_host(&env, "node-1");
    env.write("inventory.toml", format!("{LOCAL_HOSTS}{PER_NODE}"));
    env.run(&["distribute"]).expect(4);
    env.ok(&["apply", "--yes"]).says(&["3 changed"]);
    let own = NODES.map(|node| on_host(&env, node));
    assert_eq!(own.iter().collect::<BTreeSet<_>>().len(), 3);
    env.ok(&["apply", "--yes"]).says(&["3 unchanged"]);
    env.write("inventory.toml", format!("{LOCAL_HOSTS}{}", PER_NODE.replace("true", "false")));
    env.run(&["distribute"]).expect(4).says(&["all nodes share"]);
    env.ok(&["apply", "--yes"]).says(&["3 changed"]);
    assert!(NODES.iter().all(|node| on_host(&env, node) == shared));
    env.ok(&["verify"]).says(&["all nodes share one"]);
    env.ok(&["status", "--exit-code"]);
    env.write("inventory.toml", format!("{LOCAL_HOSTS}{PER_NODE}"));
    env.ok(&["apply", "--yes"]).says(&["3 changed"]);
    assert_eq!(NODES.map(|node| on_host(&env, node)), own, "what is still good is used again");
    env.ok(&["apply", "--yes"]).says(&["3 unchanged"]);
}

#[test]
fn a_reissue_may_introduce_it_where_the_inventory_is_silent() {
    let env = world("");
    env.ok(&["apply", "--yes"]);
    env.ok(&["reissue", "kube-proxy", "--per-node"]).says(&["3 changed"]);
    let own = NODES.map(|node| on_host(&env, node));
    assert_eq!(own.iter().collect::<BTreeSet<_>>().len(), 3);
    env.ok(&["apply", "--yes"]).says(&["3 unchanged"]);
    env.ok(&["distribute"]).says(&["3 unchanged"]);
    env.ok(&["status", "--exit-code"]);
    // One node's alone: that is what they have their own for.
    let (code, report) = env.json(&["reissue", "kube-proxy", "--limit", "node-1"]);
    assert_eq!((code, hosts_that_are(&report, "changed")), (0, vec!["node-1"]));
    assert_ne!(on_host(&env, "node-1"), own[1]);
    assert_eq!((on_host(&env, "cp-1"), on_host(&env, "node-2")), (own[0].clone(), own[2].clone()));
    // What the inventory says goes first.
    env.write("inventory.toml", format!("{LOCAL_HOSTS}{}", PER_NODE.replace("true", "false")));
    env.run(&["reissue", "kube-proxy", "--per-node"]).expect(2).says(&["per_node is false"]);
    env.ok(&["apply", "--yes"]).says(&["3 changed"]);
}

#[test]
fn each_certificate_falls_due_by_itself() {
    let env = world("[certificates.kube-proxy]\nper_node = true\nvalidity = \"20d\"\n");
    env.ok(&["apply", "--yes"]);
    env.write("inventory.toml", format!("{LOCAL_HOSTS}{PER_NODE}"));
    // Two are made to last; the third is what a timer finds.
    env.ok(&["reissue", "kube-proxy", "--if-expiring", "30d"]);
    env.ok(&["reissue", "kube-proxy", "--if-expiring", "30d"]).says(&["nothing is due"]);
    env.remove(certificate("node-2"));
    env.run(&["verify"]).expect(6).says(&["node-2 has none"]);
    let (code, report) = env.json(&["reissue", "kube-proxy", "--if-expiring", "30d"]);
    assert_eq!((code, hosts_that_are(&report, "changed")), (0, vec!["node-2"]), "{report}");
    assert_eq!(report["hosts"].as_array().unwrap().len(), 1, "the others are not even logged in to");
}

#[test]
fn damage_of_one_file_is_refused_like_that_of_any_other() {
    let env = applied();
    let hosts = env.tree_hash("hosts");
    let good = env.read(key("node-1"));
    env.write(key("node-1"), env.read(key("node-2")));
    env.run(&["apply", "--yes"])
        .expect(4)
        .says(&["certs/nodes/node-1/kube-proxy-key.pem", "not what state.json recorded"]);
    env.write(key("node-1"), good);
    env.set_mode(key("node-1"), 0o600);
    env.ok(&["apply", "--yes"]);
    // One that nobody recorded was put there by somebody else.
    env.write("state/certs/nodes/stray/kube-proxy-key.pem", env.read(key("node-2")));
    env.run(&["apply", "--yes"]).expect(4).says(&["stray", "does not know it"]);
    std::fs::remove_dir_all(env.path("state/certs/nodes/stray")).unwrap();
    let elsewhere = env.path("elsewhere");
    std::fs::rename(env.path("state/certs/nodes/node-2"), &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, env.path("state/certs/nodes/node-2")).unwrap();
    env.run(&["apply", "--yes"]).expect(4).says(&["is a symbolic link"]);
    std::fs::remove_file(env.path("state/certs/nodes/node-2")).unwrap();
    std::fs::rename(&elsewhere, env.path("state/certs/nodes/node-2")).unwrap();
    env.set_mode(key("node-2"), 0o644);
    env.ok(&["apply", "--yes"]).says(&["was open to others"]);
    assert_eq!((env.mode(key("node-2")), env.tree_hash("hosts")), (0o600, hosts));
}
