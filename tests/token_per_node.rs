//! Nodes with bootstrap tokens of their own: a row for each, one that leaked is revoked alone, and a rotation brings a
//! cluster there and back without locking a node out.
#![allow(clippy::unwrap_used, reason = "test code")]

mod rotation_support;
mod support;

use rotation_support::{assert_all, assert_no_token, cluster, codes, restarts, rotate, soon, tree_hashes};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use support::{ControlPlane, LOCAL_HOSTS, TestEnv, eventually};

const PER_NODE: &str = "[token]\nper_node = true\n";
const SIGNER: &str = "kubernetes.io/kube-apiserver-client-kubelet";

fn world(more: &str) -> TestEnv {
    TestEnv::with_inventory(&format!("{LOCAL_HOSTS}{more}"))
}

fn applied() -> TestEnv {
    let env = world(PER_NODE);
    env.ok(&["apply", "--yes"]);
    env
}

/// The stored token.csv: tokens by user.
fn rows(env: &TestEnv) -> BTreeMap<String, String> {
    let text = env.read("state/token.csv");
    let row = |line: &str| {
        let fields: Vec<&str> = line.split(',').collect();
        (fields[1].to_owned(), fields[0].to_owned())
    };
    text.lines().map(row).collect()
}

fn on_host(env: &TestEnv, host: &str) -> String {
    env.read(format!("hosts/{host}/etc/kubernetes/bootstrap.kubeconfig"))
}

#[test]
fn each_node_holds_its_own_token_and_no_other() {
    let env = applied();
    let rows = rows(&env);
    let users: Vec<&str> = rows.keys().map(String::as_str).collect();
    let of = |node: &str| format!("kubelet-bootstrap:{node}");
    assert_eq!(users, ["kubelet-bootstrap", &of("cp-1"), &of("node-1"), &of("node-2")]);
    assert_eq!(rows.values().collect::<BTreeSet<_>>().len(), 4);
    for line in env.read("state/token.csv").lines() {
        assert!(line.ends_with(",\"system:kubelet-bootstrap\""), "{line}");
    }
    assert!(env.read("state/token.csv").contains(",kubelet-bootstrap:node-1,10001:node-1,"));
    for node in ["cp-1", "node-1", "node-2"] {
        let held = on_host(&env, node);
        for (user, token) in &rows {
            assert_eq!(held.contains(token), *user == of(node), "{node}, {user}");
        }
    }
    assert_eq!(env.read("hosts/cp-1/etc/kubernetes/token.csv"), env.read("state/token.csv"));
    env.ok(&["verify"]).says(&["3 nodes, each with its own"]);
    env.ok(&["status", "--exit-code"]);
    env.ok(&["plan"]).says(&["0 to change"]);
    assert_eq!(env.json(&["generate"]).1["changed"], false);
    let (_, shown) = env.json(&["token", "show"]);
    assert_eq!((shown["nodes"].as_object().unwrap().len(), &shown["other_rows"]), (3, &0.into()), "{shown:#}");
    env.ok(&["token", "lint", "state/token.csv"]);
}

#[test]
fn nodes_come_and_go_and_the_tokens_of_the_others_stay() {
    let env = applied();
    let before = rows(&env);
    let fewer = format!("{LOCAL_HOSTS}{PER_NODE}").replace("node-[1-2]", "node-[1,3]");
    env.write("inventory.toml", &fewer);
    let (_, plan) = env.json(&["plan"]);
    assert!(plan["steps"].to_string().contains("1 of 3 made; 1 row dropped"), "{plan:#}");
    // What is not made yet has no name yet.
    let planned = plan["hosts"].as_array().unwrap().iter().find(|host| host["name"] == "node-3").unwrap();
    assert!(!planned.to_string().contains("\"token\":\""), "{planned:#}");
    // The row of the node that left is ours: nobody has to allow that it goes.
    env.ok(&["apply", "--yes"]);
    let after = rows(&env);
    assert!(!after.contains_key("kubelet-bootstrap:node-2") && after.contains_key("kubelet-bootstrap:node-3"));
    for user in ["kubelet-bootstrap", "kubelet-bootstrap:cp-1", "kubelet-bootstrap:node-1"] {
        assert_eq!(after[user], before[user], "{user}");
    }
    env.ok(&["verify"]);
    // Another user: the tokens stay, the old rows go.
    env.write("inventory.toml", format!("{fewer}user = \"joiner\"\n"));
    env.ok(&["apply", "--yes", "--replace-foreign"]);
    let renamed = rows(&env);
    assert_eq!(renamed.keys().collect::<Vec<_>>(), ["joiner", "joiner:cp-1", "joiner:node-1", "joiner:node-3"]);
    assert_eq!(renamed["joiner:node-1"], before["kubelet-bootstrap:node-1"]);
    // A token that no kube-apiserver would get to know is not handed out, nor one taken back nowhere.
    env.write("inventory.toml", format!("{}user = \"joiner\"\n", fewer.replace("[1,3]", "[1-4]")));
    let before = env.tree_hash("");
    let (code, refused) = env.json(&["apply", "--yes", "--limit", "node-4"]);
    assert_eq!((code, &refused["error"]["code"]), (4, &"token_rows_left_out".into()), "{refused:#}");
    assert_eq!(env.tree_hash(""), before);
    env.ok(&["apply", "--yes", "--limit", "node-4,role:control-plane"]);
    assert!(on_host(&env, "node-4").contains(&rows(&env)["joiner:node-4"]));
}

#[test]
fn only_a_rotation_leads_to_tokens_of_nodes_own_or_back() {
    for (before, after) in [("false", "true"), ("true", "false")] {
        let env = world(&format!("[token]\nper_node = {before}\n"));
        env.ok(&["apply", "--yes"]);
        env.write("inventory.toml", format!("{LOCAL_HOSTS}[token]\nper_node = {after}\n"));
        let hash = env.tree_hash("");
        for command in [&["generate"][..], &["apply", "--yes"], &["plan"], &["distribute"]] {
            let (code, refused) = env.json(command);
            assert_eq!((code, &refused["error"]["code"]), (4, &"state_unusable".into()), "{command:?} {refused:#}");
            assert!(refused["error"]["hint"].as_str().unwrap().contains("kubemint rotate token"), "{refused:#}");
        }
        assert_eq!(env.tree_hash(""), hash);
    }
}

#[test]
fn ten_thousand_nodes_fit() {
    let nodes = |last: u32| {
        format!(
            "[[hosts]]\nname = \"cp-1\"\nconnection = \"local\"\nroot = \"hosts/cp-1\"\nroles = [\"control-plane\"]\n\
             [[hosts]]\nname = \"node-[00001-{last:05}]\"\nconnection = \"local\"\nroot = \"hosts/node-[00001-{last:05}]\"\n"
        )
    };
    let top = "state_dir = \"state\"\n[cluster]\nserver = \"https://10.0.0.1:6443\"\n";
    let inventory = |last| format!("{top}{PER_NODE}{}", nodes(last));
    let env = TestEnv::with_inventory(&inventory(10_000));
    env.ok(&["apply", "--yes", "--limit", "cp-1"]);
    let before = env.read("hosts/cp-1/etc/kubernetes/token.csv");
    assert!(before.len() > 1 << 20 && before.lines().count() == 10_001);
    // Its rows are known for ours also where there are so many, and some of them go.
    env.write("inventory.toml", inventory(9_999));
    env.ok(&["apply", "--yes", "--limit", "cp-1"]);
    assert_eq!(env.read("hosts/cp-1/etc/kubernetes/token.csv").lines().count(), 10_000);
    env.ok(&["status", "--exit-code", "--limit", "cp-1"]);
}

#[test]
fn rows_of_somebody_else_are_as_safe_as_ever() {
    let env = applied();
    for row in ["0123456789abcdef,monitor,7\n", "0123456789abcdef,kubelet-bootstrap:A B,7\n"] {
        let ours = env.read("state/token.csv");
        env.write("hosts/cp-1/etc/kubernetes/token.csv", format!("{ours}{row}"));
        let ran = env.run(&["apply", "--yes"]).expect(3);
        assert!(ran.stdout.contains("1 row") && !ran.stdout.contains("A B"), "{row}: {}", ran.stdout);
    }
    // Where nodes share one token, a row that is called like a node's is anybody's.
    let env = world("");
    env.ok(&["apply", "--yes"]);
    let ours = env.read("state/token.csv");
    env.write("hosts/cp-1/etc/kubernetes/token.csv", format!("{ours}0123456789abcdef,kubelet-bootstrap:rack7,777\n"));
    env.run(&["apply", "--yes"]).expect(3).says(&["1 row"]);
}

#[test]
fn a_lost_token_csv_is_not_made_again_with_other_tokens() {
    let env = applied();
    let before = env.read("state/token.csv");
    std::fs::remove_file(env.path("state/token.csv")).unwrap();
    env.run(&["generate"]).expect(4).says(&["3 nodes", "token merge"]);
    env.write("copy.csv", env.read("hosts/cp-1/etc/kubernetes/token.csv"));
    env.ok(&["token", "merge", "copy.csv"]);
    let rows_of = |text: &str| text.lines().map(str::to_owned).collect::<BTreeSet<_>>();
    assert_eq!(rows_of(&env.read("state/token.csv")), rows_of(&before));
    assert_eq!(env.json(&["generate"]).1["changed"], false);
    // An older copy takes nothing back.
    env.write("old.csv", before.lines().map(|line| format!("0ld{line}\n")).collect::<String>());
    env.ok(&["token", "merge", "old.csv"]);
    assert_eq!(rows_of(&env.read("state/token.csv")), rows_of(&before));
    // Nor where ours is lost: what it has for a node may be revoked.
    let shared = before.lines().next().unwrap();
    let stale = format!("{shared}\ndeadbeef,kubelet-bootstrap:node-1,10001:node-1,\"system:kubelet-bootstrap\"\n");
    std::fs::remove_file(env.path("state/token.csv")).unwrap();
    env.write("stale.csv", stale);
    env.ok(&["token", "merge", "stale.csv"]);
    env.run(&["verify"]).expect(6).says(&["cp-1: its token is not in token.csv"]);
    env.ok(&["apply", "--yes"]).says(&["3 of 3 made"]);
    assert!(!env.read("state/token.csv").contains("deadbeef") && !on_host(&env, "node-1").contains("deadbeef"));
    env.ok(&["verify"]);
}

#[test]
fn an_inventory_that_would_undo_it_is_refused() {
    for (more, says) in [
        ("[token]\nper_node = true\nform = \"secret\"\n", "rows of token.csv"),
        ("[token]\nper_node = true\ngroups = []\n", "need a group"),
        ("[token]\nper_node = true\n[distribute]\ntoken_csv_on_nodes = true\n", "every node's token"),
        ("[token]\nper_node = \"yes\"\n", "per_node"),
    ] {
        let ran = world(more).run(&["generate"]).expect(2);
        assert!(ran.stderr.contains(says), "{more}: {}", ran.stderr);
    }
}

fn per_node_cluster(control_planes: usize, nodes: usize) -> ControlPlane {
    ControlPlane::builder().control_planes(control_planes).nodes(nodes).settings(PER_NODE).services(&soon()).start()
}

#[track_caller]
fn revoke(cluster: &ControlPlane, arguments: &[&str], code: i32) -> Value {
    let ran = cluster.run(&[&["token", "revoke", "--yes", "-o", "json"], arguments].concat());
    assert_eq!(ran.code, code, "{arguments:?}\n{}\n{}", ran.stdout, ran.stderr);
    assert_no_token(cluster.env(), &ran);
    serde_json::from_str(&ran.stdout).unwrap_or_else(|e| panic!("{e}\n{}", ran.stdout))
}

fn tokens(cluster: &ControlPlane) -> Vec<String> {
    cluster.nodes_by_name().iter().map(|node| cluster.token_on(node)).collect()
}

/// Every node has a token of its own, that works; nothing is under way.
#[track_caller]
fn assert_own(cluster: &ControlPlane) {
    let all = tokens(cluster);
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
    for token in &all {
        assert_all(cluster, token, 201);
    }
    assert_settled(cluster);
}

#[track_caller]
fn assert_settled(cluster: &ControlPlane) {
    assert!(!cluster.env().path("state/rotation.csv").exists());
    cluster.run(&["verify"]).expect(0);
    let (_, status) = cluster.env().json(&["status"]);
    assert_eq!(status["summary"]["ok"], status["summary"]["hosts"], "{status:#}");
    assert_eq!(cluster.env().json(&["generate"]).1["changed"], false);
    assert!(cluster.overlapping_downtimes().is_empty());
}

#[test]
fn one_leaked_token_is_revoked_alone() {
    need_root!();
    let cluster = per_node_cluster(2, 3);
    let (before, started) = (tokens(&cluster), restarts(&cluster));
    let kept = |cluster: &ControlPlane| ["node-1", "node-3"].map(|node| rotation_support::tree_hash(cluster, node));
    let others = kept(&cluster);
    let document = revoke(&cluster, &["node-2"], 0);
    assert_eq!((&document["state"], &document["mode"]), (&"done".into(), &"revoke-now".into()), "{document:#}");
    let worked_on: Vec<_> = document["nodes"].as_array().unwrap().iter().map(|node| &node["name"]).collect();
    assert_eq!(worked_on, ["node-2"]);
    let after = tokens(&cluster);
    assert_eq!((&after[0], &after[2]), (&before[0], &before[2]));
    assert_ne!(after[1], before[1]);
    assert_all(&cluster, &before[1], 401);
    assert_own(&cluster);
    assert_eq!(kept(&cluster), others);
    assert_eq!(restarts(&cluster), started.iter().map(|count| count + 1).collect::<Vec<_>>());
    // What was replaced there is not put back.
    cluster.run(&["rollback", "--host", "node-2", "--yes"]).expect(3).says(&["may hold a token that is retired"]);
    // Several at once, and names that are none.
    let document = revoke(&cluster, &["node-[1,3]"], 0);
    assert_eq!(document["nodes"].as_array().unwrap().len(), 2, "{document:#}");
    for old in [&before[0], &before[2]] {
        assert_all(&cluster, old, 401);
    }
    assert_own(&cluster);
    assert_eq!(revoke(&cluster, &["node-9"], 2)["error"]["code"], "hosts_invalid");
    assert_eq!(revoke(&cluster, &["cp-1"], 2)["error"]["code"], "not_a_node");
    let ran = cluster.run(&["token", "revoke", "node-1"]).expect(2);
    assert!(ran.stderr.contains("to revoke: the own bootstrap token of node-1 ("), "{}", ran.stderr);
}

#[test]
fn a_revocation_waits_for_its_own_nodes_only() {
    need_root!();
    let mut cluster = per_node_cluster(1, 3);
    let before = tokens(&cluster);
    cluster.stop_host("node-2");
    cluster.stop_host("node-3");
    let document = revoke(&cluster, &["node-2"], 5);
    assert_eq!(codes(&document), [("node-2".to_owned(), "connect_refused".to_owned())], "{document:#}");
    assert_all(&cluster, &before[1], 401);
    for refused in [&["token", "revoke", "node-1"][..], &["rotate", "token", "--revoke-now"], &["rotate", "token"]] {
        let ran = cluster.run(&[refused, &["--yes", "-o", "json"]].concat()).expect(4);
        assert!(ran.stdout.contains("rotation_under_way") && ran.stdout.contains("--resume"), "{}", ran.stdout);
    }
    assert_eq!(rotate(&cluster, &["--abort"], 4)["error"]["code"], "too_late_to_abort");
    cluster.start_host("node-2");
    rotate(&cluster, &["--resume"], 0);
    assert_all(&cluster, &before[2], 201);
    cluster.start_host("node-3");
    assert_own(&cluster);
}

#[test]
fn what_was_asked_with_a_revoked_token_is_left_also_when_all_is_over() {
    need_root!();
    let builder = ControlPlane::builder().nodes(2).idle(&["node-2"]).settings(PER_NODE);
    let cluster = builder.services(&format!("{}kubelet_restart = \"never\"\n", soon())).start();
    let old = cluster.token_on("node-2");
    let pem = rotation_support::request(&cluster, "node-2");
    assert_eq!(cluster.post_csr(&old, "evil", SIGNER, &["digital signature", "client auth"], &pem).0, 201);
    revoke(&cluster, &["node-2"], 0);
    assert_all(&cluster, &old, 401);
    let (_, document) = cluster.env().json(&["approve"]);
    let request = &document["requests"][0];
    assert_eq!((&request["name"], &request["code"]), (&"evil".into(), &"too_old".into()), "{document:#}");
    assert!(request["detail"].as_str().unwrap().contains("was revoked"), "{document:#}");
    // What the node asks for with its new token is its own.
    let pem = rotation_support::request(&cluster, "node-2");
    cluster.decide("evil", "Denied");
    assert_eq!(
        cluster.post_csr(&cluster.token_on("node-2"), "own", SIGNER, &["digital signature", "client auth"], &pem).0,
        201
    );
    let (_, document) = cluster.env().json(&["approve"]);
    assert_eq!(document["summary"]["approved"], 1, "{document:#}");
}

#[test]
fn a_node_that_comes_meanwhile_holds_up_nothing() {
    need_root!();
    let mut cluster = per_node_cluster(1, 3);
    cluster.stop_host("node-3");
    let inventory = cluster.env().read("inventory.toml");
    let (others, third) = inventory.rsplit_once("[[hosts]]").unwrap();
    assert!(third.contains("node-3"));
    cluster.env().write("inventory.toml", others);
    cluster.run(&["apply", "--yes"]).expect(0);
    cluster.host("cp-1").must("systemctl restart kube-apiserver");
    eventually("the apiserver to be back", || {
        matches!(cluster.api("cp-1").call("GET", "/readyz", None, None), Ok((200, _))).then_some(())
    });
    rotate(&cluster, &["--grace", "1h"], 5);
    cluster.env().write("inventory.toml", &inventory);
    let refused = cluster.run(&["apply", "--yes"]).expect(4);
    assert!(refused.stderr.contains("--resume"), "{}", refused.stderr);
    let document = rotate(&cluster, &["--retire-anyway"], 0);
    assert!(document["remarks"].to_string().contains("node-3 came to the inventory meanwhile"), "{document:#}");
    cluster.start_host("node-3");
    cluster.run(&["apply", "--yes"]).expect(0).says(&["1 of 3 made"]);
}

#[test]
fn all_nodes_tokens_are_rotated_and_given_back() {
    need_root!();
    let mut cluster = per_node_cluster(2, 2);
    let before = tokens(&cluster);
    let hashes = tree_hashes(&cluster);
    cluster.stop_host("node-2");
    rotate(&cluster, &[], 5);
    let half = cluster.token_on("node-1");
    assert_ne!(half, before[0]);
    for token in before.iter().chain([&half]) {
        assert_all(&cluster, token, 201);
    }
    cluster.start_host("node-2");
    rotate(&cluster, &["--abort"], 0);
    assert_eq!(tree_hashes(&cluster), hashes);
    assert_all(&cluster, &half, 401);
    assert_own(&cluster);
    let prober = cluster.probe();
    rotate(&cluster, &[], 0);
    let report = prober.stop();
    assert!(report.refusals.is_empty(), "{report:?}");
    for token in &before {
        assert_all(&cluster, token, 401);
    }
    assert_own(&cluster);
}

#[test]
fn a_rotation_brings_a_cluster_to_tokens_of_its_nodes_own_and_back() {
    need_root!();
    let mut cluster = cluster(2, 2);
    let shared = cluster.token_on("node-1");
    assert_eq!(revoke(&cluster, &["node-1"], 4)["error"]["code"], "no_own_token");
    cluster.set_tables(PER_NODE, &soon());
    let hashes = tree_hashes(&cluster);
    let prober = cluster.probe();
    rotate(&cluster, &["--grace", "1h"], 5);
    rotate(&cluster, &["--abort"], 0);
    assert_eq!(tree_hashes(&cluster), hashes);
    rotate(&cluster, &[], 0);
    assert_all(&cluster, &shared, 401);
    assert_own(&cluster);
    let own = tokens(&cluster);
    cluster.set_tables("[token]\nper_node = false\n", &soon());
    rotate(&cluster, &[], 0);
    let report = prober.stop();
    assert!(report.refusals.is_empty(), "{report:?}");
    assert_settled(&cluster);
    for token in &own {
        assert_all(&cluster, token, 401);
    }
    let now = tokens(&cluster);
    assert_eq!(now[0], now[1]);
    assert_all(&cluster, &now[0], 201);
}

#[test]
fn a_node_joins_anew_with_its_own_token() {
    need_root!();
    let cluster = per_node_cluster(1, 2);
    let before = cluster.kubelet_certificate("node-1");
    let ran = cluster.run(&["rebootstrap", "node-1", "--yes", "-o", "json"]).expect(0);
    assert_no_token(cluster.env(), &ran);
    assert_ne!(cluster.kubelet_certificate("node-1"), before);
    let requests = cluster.csrs();
    let by = |user: &str| requests.iter().filter(|csr| csr["spec"]["username"] == user).count();
    // The rig's first certificates were asked for so, too.
    assert_eq!((by("kubelet-bootstrap:node-1"), by("kubelet-bootstrap:node-2"), by("kubelet-bootstrap")), (2, 1, 0));
}

#[test]
fn a_nodes_token_gets_no_other_node_approved() {
    need_root!();
    let names = ["node-1", "node-2"];
    let builder = ControlPlane::builder().nodes(2).idle(&names).settings(PER_NODE).services(&soon());
    let cluster = builder.start();
    let shared = rows(cluster.env())["kubelet-bootstrap"].clone();
    let post = |token: &str, name: &str, node: &str| {
        let pem = rotation_support::request(&cluster, node);
        assert_eq!(cluster.post_csr(token, name, SIGNER, &["digital signature", "client auth"], &pem).0, 201, "{name}");
    };
    post(&cluster.token_on("node-1"), "for-another", "node-2");
    post(&shared, "by-nobody", "node-2");
    post(&cluster.token_on("node-1"), "own", "node-1");
    let (_, document) = cluster.env().json(&["approve"]);
    let found: BTreeMap<&str, &str> = document["requests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|request| (request["name"].as_str().unwrap(), request["code"].as_str().unwrap_or("approved")))
        .collect();
    let expected = [("by-nobody", "wrong_requester"), ("for-another", "wrong_requester"), ("own", "approved")];
    assert_eq!(found, BTreeMap::from(expected), "{document:#}");
}
