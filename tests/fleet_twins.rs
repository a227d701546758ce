//! One machine under two names of the inventory, and two machines with one host key.
#![allow(clippy::unwrap_used, reason = "test code")]

mod support;

use serde_json::Value;
use std::fmt::Write;
use support::{Fleet, Relays, TestHost, host_of, hosts_that_are};

const ID: &str = "0123456789abcdef0123456789abcdef";
const OTHER_ID: &str = "fedcba9876543210fedcba9876543210";

/// One machine, node-01, and another name for it, by way of a relay.
fn machine_with_alias(name: &str, role: &str) -> (Fleet, Relays) {
    let (fleet, relays) = (Fleet::of_nodes(1), Relays::new());
    set_machine_id(&fleet.hosts[0], ID);
    add_alias(&fleet, &relays, name, role);
    (fleet, relays)
}

fn add_alias(fleet: &Fleet, relays: &Relays, name: &str, role: &str) {
    let host = &fleet.hosts[0];
    let port = relays.add(host.address(), host.port()).port;
    let mut inventory = fleet.env.read("inventory.toml");
    writeln!(
        inventory,
        "[[hosts]]\nname = \"{name}\"\naddress = \"127.0.0.1\"\nport = {port}\nuser = \"{}\"\nroles = [\"{role}\"]\n\
         directory = \"{}\"",
        host.user(),
        host.directory()
    )
    .unwrap();
    fleet.env.write("inventory.toml", inventory);
    fleet.client.trust(&format!("[127.0.0.1]:{port} {}\n", host.public_keys()[0]));
}

fn set_machine_id(host: &TestHost, id: &str) {
    host.must(&format!("rm -f /etc/machine-id && echo {id} >/etc/machine-id"));
}

/// Nobody is shown a machine-id.
fn assert_untold(fleet: &Fleet, report: &Value) {
    let run = format!("state/runs/{}", report["run_id"].as_str().unwrap());
    let kept = ["journal.jsonl", "report.json"].map(|name| fleet.env.read(format!("{run}/{name}"))).concat();
    let ran = fleet.run(&["distribute", "-vv"]);
    assert!(![kept, ran.stdout, ran.stderr, report.to_string()].concat().contains(ID));
}

#[test]
fn a_machine_that_is_to_hold_the_same_under_both_names_is_written_once() {
    need_root!();
    let (fleet, relays) = machine_with_alias("alias", "node");
    add_alias(&fleet, &relays, "nickname", "node");
    let (code, report) = fleet.json(&["apply"]);
    assert_eq!(code, 0, "{report:#}");
    let (changed, unchanged) = (hosts_that_are(&report, "changed"), hosts_that_are(&report, "unchanged"));
    assert_eq!((changed.len(), unchanged.len()), (1, 2), "{report:#}");
    for name in unchanged {
        let twin = &host_of(&report, name)["twin"];
        assert_eq!(*twin, serde_json::json!({"kind": "same_machine", "host": changed[0]}), "{report:#}");
        assert_eq!(host_of(&report, name)["files"].as_array().unwrap().len(), 2);
    }
    assert!(host_of(&report, changed[0])["twin"].is_null());
    fleet.assert_complete(0);
    assert_untold(&fleet, &report);
    let ran = fleet.run(&["apply"]).expect(0);
    assert!(ran.stderr.contains("are one machine, by host key and machine-id"), "{}", ran.stderr);
}

#[test]
fn a_machine_that_is_to_hold_other_files_under_its_second_name_is_refused_under_that() {
    need_root!();
    let (fleet, _relays) = machine_with_alias("boss", "control-plane");
    let (code, report) = fleet.json(&["apply"]);
    assert_eq!(code, 3, "{report:#}");
    assert_eq!(
        (hosts_that_are(&report, "changed"), hosts_that_are(&report, "failed")),
        (vec!["boss"], vec!["node-01"])
    );
    let node = host_of(&report, "node-01");
    assert_eq!((&node["error"]["code"], &node["twin"]["host"]), (&"same_machine".into(), &"boss".into()));

    // Alone it would be taken for a machine of its own, and overwrite what the other name asks for.
    let logins = fleet.hosts[0].log().matches("Starting session").count();
    let ran = fleet.run(&["distribute", "--retry", "last"]).expect(0);
    ran.says(&["not retried: node-01", "same_machine", "nothing else is left"]);
    assert_eq!(fleet.hosts[0].log().matches("Starting session").count(), logins);
    assert!(node["error"]["message"].as_str().unwrap().contains("machine-id of boss"), "{node:#}");
    assert_eq!(fleet.names(0), ["token.csv"], "nothing was written under the second name");
    assert_untold(&fleet, &report);
    // Chosen alone, either name is as good as any.
    let (code, report) = fleet.json(&["apply", "--limit", "node-01"]);
    assert_eq!((code, hosts_that_are(&report, "changed")), (0, vec!["node-01"]), "{report:#}");
}

#[test]
fn machines_made_from_one_image_are_all_written_and_their_host_key_is_warned_of() {
    need_root!();
    let mut fleet = Fleet::of_nodes(3);
    for index in [1, 2] {
        let (first, rest) = fleet.hosts.split_at_mut(index);
        rest[0].clone_host_key(&first[0]);
        fleet.client.trust(&rest[0].known_hosts_lines());
    }
    for (host, id) in fleet.hosts.iter().zip([ID, OTHER_ID, "00000000000000000000000000000001"]) {
        set_machine_id(host, id);
    }
    let ran = fleet.run(&["apply"]).expect(0);
    assert!(ran.stdout.contains("3 changed"), "{}", ran.stdout);
    assert!(ran.stderr.contains("show the same host key"), "{}", ran.stderr);
    assert!(!ran.stderr.contains("are one machine"), "{}", ran.stderr);
    (0..3).for_each(|index| fleet.assert_complete(index));

    for command in ["status", "plan"] {
        let (code, document) = fleet.json(&[command]);
        assert_eq!(code, 0);
        let twin = |name| host_of(&document, name)["twin"].clone();
        let wanted = serde_json::json!({"kind": "same_host_key", "host": "node-01"});
        assert_eq!((twin("node-02"), twin("node-03")), (wanted.clone(), wanted), "{command}: {document:#}");
        assert!(twin("node-01").is_null());
        assert!(fleet.run(&[command]).stderr.contains("node-02, node-03 and node-01 show the same host key"));
    }
}

#[test]
fn a_clone_with_the_machine_id_of_the_first_is_not_taken_for_it() {
    need_root!();
    let mut fleet = Fleet::of_nodes(2);
    let (first, rest) = fleet.hosts.split_at_mut(1);
    rest[0].clone_host_key(&first[0]);
    fleet.client.trust(&rest[0].known_hosts_lines());
    fleet.hosts.iter().for_each(|host| set_machine_id(host, ID));
    let (code, report) = fleet.json(&["apply"]);
    assert_eq!(code, 3, "{report:#}");
    let (done, failed) = (hosts_that_are(&report, "changed"), hosts_that_are(&report, "failed"));
    assert_eq!((done.len(), failed.len()), (1, 1), "{report:#}");
    let clone = host_of(&report, failed[0]);
    assert_eq!((&clone["error"]["code"], &clone["twin"]["host"]), (&"same_machine".into(), &done[0].into()));
    let told = clone["error"].to_string();
    assert!(["listed twice", "clone", "ssh-keygen -A"].iter().all(|word| told.contains(word)), "{told}");
    let index = usize::from(failed[0] == "node-02");
    assert_eq!(fleet.names(index), [""; 0], "nothing was written on what may be a clone");
    fleet.assert_complete(1 - index);

    set_machine_id(&fleet.hosts[1], OTHER_ID);
    let (code, report) = fleet.json(&["apply"]);
    assert_eq!((code, hosts_that_are(&report, "changed")), (0, vec![failed[0]]), "{report:#}");
    (0..2).for_each(|index| fleet.assert_complete(index));

    // What holds all it should has nothing to lose, and is warned of.
    set_machine_id(&fleet.hosts[1], ID);
    let (code, report) = fleet.json(&["apply"]);
    assert_eq!((code, hosts_that_are(&report, "unchanged").len()), (0, 2), "{report:#}");
}

#[test]
fn a_host_that_waits_for_a_hung_one_with_its_key_says_whom_to_look_at() {
    need_root!();
    let mut fleet = Fleet::of_nodes(2);
    let (first, rest) = fleet.hosts.split_at_mut(1);
    rest[0].clone_host_key(&first[0]);
    fleet.client.trust(&rest[0].known_hosts_lines());
    fleet.hosts.iter().for_each(|host| host.replace_program("sync", "#!/bin/sh\nexec sleep 30\n"));
    fleet.set_settings("[distribute]\nhost_timeout = \"4s\"\n");
    let (code, report) = fleet.json(&["apply"]);
    assert_eq!(code, 3, "{report:#}");
    let with = |code: &str| {
        let mut hosts = report["hosts"].as_array().unwrap().iter();
        hosts.find(|host| host["error"]["code"] == code).unwrap_or_else(|| panic!("no {code}: {report:#}"))
    };
    let (hung, waiting) = (with("timed_out"), with("waited_for_twin"));
    let name = hung["name"].as_str().unwrap();
    assert_eq!(waiting["twin"], serde_json::json!({"kind": "same_host_key", "host": name}));
    assert!(waiting["error"]["hint"].as_str().unwrap().starts_with(&format!("look at {name}")), "{waiting:#}");
}

#[test]
fn a_machine_without_an_id_cannot_be_told_from_its_clone_and_is_written_under_both_names() {
    need_root!();
    let (fleet, _relays) = machine_with_alias("boss", "control-plane");
    for text in ["", "uninitialized"] {
        set_machine_id(&fleet.hosts[0], text);
        let (code, report) = fleet.json(&["apply"]);
        assert_eq!(code, 0, "{report:#}");
        assert_eq!(host_of(&report, "node-01")["twin"]["kind"], "same_host_key");
    }
    fleet.hosts[0].must("rm /etc/machine-id");
    let (code, report) = fleet.json(&["apply"]);
    assert_eq!((code, hosts_that_are(&report, "unchanged").len()), (0, 2), "{report:#}");
    assert_eq!(fleet.names(0), ["bootstrap.kubeconfig", "kube-proxy.kubeconfig", "token.csv"]);
}

#[test]
fn plan_and_status_name_a_machine_that_is_listed_twice() {
    need_root!();
    let (fleet, _relays) = machine_with_alias("boss", "control-plane");
    fleet.run(&["generate"]).expect(0);
    for command in ["plan", "status"] {
        let ran = fleet.run(&[command, "-vv"]);
        assert!(ran.stderr.contains("boss and node-01 are one machine"), "{}", ran.stderr);
        assert!(!(ran.stdout + &ran.stderr).contains(ID));
        let (_, document) = fleet.json(&[command]);
        assert_eq!(host_of(&document, "boss")["twin"]["kind"], "same_machine", "{document:#}");
    }
}

#[test]
fn doctor_foretells_what_an_install_says_of_twins() {
    need_root!();
    let twin_check = |fleet: &Fleet, host: &str| {
        let (code, document) = fleet.json(&["doctor", "--skip", "apiserver"]);
        let checks = host_of(&document, host)["checks"].as_array().unwrap();
        let check = checks.iter().find(|check| check["check"] == "twin").unwrap();
        assert_eq!(check["status"] == "fail", host_of(&document, host)["status"] == "fail", "{document:#}");
        assert!(!document.to_string().contains(ID));
        (code, check["status"].as_str().unwrap().to_owned(), check["code"].clone())
    };
    let (fleet, _relays) = machine_with_alias("boss", "control-plane");
    fleet.run(&["generate"]).expect(0);
    assert_eq!(twin_check(&fleet, "boss"), (6, "fail".into(), "same_machine".into()), "other files");
    assert_eq!(twin_check(&fleet, "node-01").1, "ok", "the first of them is as good as any");
    set_machine_id(&fleet.hosts[0], "");
    assert_eq!(twin_check(&fleet, "boss"), (0, "warn".into(), Value::Null), "the same host key");

    let (fleet, _relays) = machine_with_alias("alias", "node");
    assert_eq!(twin_check(&fleet, "alias"), (0, "warn".into(), Value::Null), "the same files");
}

#[test]
fn a_second_name_takes_over_where_the_first_failed() {
    need_root!();
    let (fleet, _relays) = machine_with_alias("boss", "control-plane");
    let token = fleet.file(0, "token.csv");
    fleet.hosts[0].must(&format!("mkdir {token}"));
    let (code, report) = fleet.json(&["apply"]);
    assert_eq!((code, hosts_that_are(&report, "changed")), (3, vec!["node-01"]), "{report:#}");
    assert_eq!(host_of(&report, "boss")["error"]["code"], "target_is_directory");
}
