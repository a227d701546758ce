//! Which hosts come first, and that the others wait for them.
#![allow(clippy::unwrap_used, reason = "test code")]

mod support;

use serde_json::Value;
use support::{Fleet, Member, Relays, TestEnv, TestHost, eventually, hosts_that_are};

/// Nodes and control planes by turns, as local hosts.
fn mixed(distribute: &str) -> TestEnv {
    let mut text = format!(
        "state_dir = \"state\"\n[cluster]\nserver = \"https://172.20.0.113:6443\"\n[distribute]\n{distribute}\n"
    );
    for n in 1..=4 {
        for (name, roles) in [("node", "[\"node\"]"), ("cp", "[\"control-plane\"]"), ("both", "[\"master\", \"node\"]")]
        {
            let name = format!("{name}-{n}");
            text += &format!(
                "[[hosts]]\nname = \"{name}\"\nconnection = \"local\"\nroot = \"hosts/{name}\"\nroles = {roles}\n"
            );
        }
    }
    TestEnv::with_inventory(&text)
}

/// The hosts in the order in which they ended.
fn ended(env: &TestEnv, report: &Value) -> Vec<String> {
    let journal = env.read(format!("state/runs/{}/journal.jsonl", report["run_id"].as_str().unwrap()));
    let lines = journal.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let hosts = lines.filter(|line| line["event"] == "host");
    hosts.map(|line| line["host"]["name"].as_str().unwrap().to_owned()).collect()
}

fn is_node(name: &str) -> bool {
    name.starts_with("node")
}

#[test]
fn the_control_plane_ends_before_a_node_begins_unless_asked_otherwise() {
    for (distribute, nodes_last) in
        [("", true), ("order = \"control-plane-first\"", true), ("order = \"nodes-first\"", false)]
    {
        let env = mixed(distribute);
        let (code, report) = env.json(&["apply"]);
        assert_eq!((code, hosts_that_are(&report, "changed").len()), (0, 12), "{report:#}");
        let order = ended(&env, &report);
        assert_eq!(order.len(), 12);
        let nodes = if nodes_last { &order[8..] } else { &order[..4] };
        assert!(nodes.iter().all(|name| is_node(name)), "{distribute}: {order:?}");
        // The report keeps the order of the inventory.
        let names: Vec<_> = report["hosts"].as_array().unwrap().iter().map(|host| host["name"].clone()).collect();
        assert_eq!(names[..4], ["node-1", "cp-1", "both-1", "node-2"]);
    }
}

#[test]
fn as_listed_is_as_listed() {
    let env = mixed("order = \"as-listed\"\nconcurrency = 1");
    let (code, report) = env.json(&["apply"]);
    assert_eq!(code, 0);
    assert_eq!(ended(&env, &report)[..5], ["node-1", "cp-1", "both-1", "node-2", "cp-2"]);
}

#[test]
fn nodes_wait_for_a_slow_control_plane() {
    let member = |name: &str, roles| Member::new(TestHost::builder(name)).roles(roles);
    let mut fleet = Fleet::new(vec![
        member("node-1", &["node"]),
        member("cp-1", &["control-plane"]),
        member("node-2", &["node"]),
        member("cp-2", &["control-plane", "node"]),
    ]);
    let relays = Relays::new();
    fleet.relay_all(&relays);
    relays.close_gate();
    let running = fleet.start(&["apply", "-o", "json"]);
    eventually("the control plane to be connected to", || (relays.connections() == 2).then_some(()));
    assert_eq!([0, 1, 2, 3].map(|index| fleet.line(index).connections()), [0; 4], "they wait at the gate");
    relays.open_gate();
    let ran = running.wait().expect(0);
    assert!(ran.stdout.contains("\"changed\": 4"), "{}", ran.stdout);
    assert_eq!((relays.connections(), relays.most_at_once()), (4, 2));
}

#[test]
fn nodes_go_on_where_the_control_plane_failed() {
    let env = mixed("");
    // Where its directory should be there is a file.
    for n in 1..=4 {
        env.write(format!("hosts/cp-{n}/etc"), "x");
        env.write(format!("hosts/both-{n}/etc"), "x");
    }
    let (code, report) = env.json(&["apply"]);
    assert_eq!(
        (code, hosts_that_are(&report, "changed")),
        (3, vec!["node-1", "node-2", "node-3", "node-4"]),
        "{report:#}"
    );
    let (code, report) = env.json(&["apply", "--max-failures", "0", "--concurrency", "1"]);
    assert_eq!(
        (code, hosts_that_are(&report, "failed"), hosts_that_are(&report, "skipped").len()),
        (3, vec!["cp-1"], 11)
    );
}

#[test]
fn an_order_nobody_knows_is_refused() {
    let ran = mixed("order = \"node-first\"").run(&["apply"]).expect(2);
    assert!(ran.stderr.contains("inventory.toml:5:9: unknown order \"node-first\""), "{}", ran.stderr);
    assert!(ran.stderr.contains("nodes-first"), "{}", ran.stderr);
}
