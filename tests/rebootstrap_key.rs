//! Who asks for a node's certificate: the kubelet whose key its host has, and nobody else.
#![cfg(feature = "k8s")]
#![allow(clippy::unwrap_used, reason = "test code")]

mod rebootstrap_support;
mod support;

use rebootstrap_support::{
    CURRENT, PKI, arm, backups, belongings, contents, hide_openssl, one_node, rebootstrap, rebootstrap_in_words, said,
    serial, steal,
};
use support::{ControlPlane, Running, eventually, host_of};

/// The kubelet's restart waits, and somebody with the token asks first.
fn asked_before_the_kubelet(cluster: &mut ControlPlane, restart: &str) -> Running {
    steal(cluster, "early");
    cluster.set_services(&format!(
        "kubelet = '''touch /run/asked; while [ -e /run/asked ]; do sleep 0.1; done; {restart}'''\n"
    ));
    let running = cluster.fleet.start(&["rebootstrap", "--yes", "node-1", "--timeout", "15s", "-o", "json"]);
    eventually("the restart to begin", || cluster.host("node-1").exists("/run/asked").then_some(()));
    steal(cluster, "late");
    cluster.host("node-1").must("rm /run/asked");
    running
}

/// The end of a run that puts back what the node had.
fn put_back(cluster: &ControlPlane, running: Running) -> (i32, serde_json::Value) {
    eventually("the restart with what it had", || cluster.host("node-1").exists("/run/asked").then_some(()));
    cluster.host("node-1").must("rm /run/asked");
    let ended = running.wait();
    (ended.code, serde_json::from_str(&ended.stdout).unwrap())
}

#[test]
fn where_the_host_has_the_key_a_thief_who_asks_first_gets_nothing_and_the_node_joins() {
    need_root!();
    let mut cluster = one_node();
    let before = serial(cluster.host("node-1"));
    let ended = asked_before_the_kubelet(&mut cluster, "systemctl restart kubelet").wait();
    let report: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(ended.code, 0, "{report}");
    let (host, node) = (cluster.host("node-1"), host_of(&report, "node-1"));
    assert_ne!(serial(host), before);
    let left = &node["left"][0];
    assert_eq!((&left["request"], &left["code"]), (&"late".into(), &"other_key".into()), "{report}");
    // The kubelet's own is named beside it, by the digest that openssl gives too.
    let key = "openssl x509 -noout -pubkey | openssl pkey -pubin -outform DER | openssl dgst -sha256 -r | cut -c -64";
    let own = said(host, &format!("<{CURRENT} {key}"));
    assert!(left["detail"].as_str().unwrap().contains(own.trim()), "{report}, {own}");
    let pending = cluster.pending_of("node-1");
    assert!(pending.contains(&"late".to_owned()) && pending.contains(&"early".to_owned()), "{pending:?}");
    cluster.env().assert_no_secret(&format!("{report}{}", ended.stderr));
}

#[test]
fn a_kubelet_that_does_not_ask_leaves_its_name_to_nobody() {
    need_root!();
    let mut cluster = one_node();
    let before = belongings(cluster.host("node-1"));
    let running = asked_before_the_kubelet(&mut cluster, "true");
    let (code, report) = put_back(&cluster, running);
    let error = &host_of(&report, "node-1")["error"];
    assert_eq!((code, &error["code"]), (3, &"csr_left".into()), "{report}");
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("other_key") && message.contains("has no key to ask with"), "{report}");
    assert!(cluster.pending_of("node-1").contains(&"late".to_owned()), "the thief was granted the name: {report}");
    assert_eq!(belongings(cluster.host("node-1")), before);
}

#[test]
fn where_the_host_cannot_tell_its_key_a_thief_who_asks_first_is_found_out_and_the_node_keeps_what_it_had() {
    need_root!();
    let mut cluster = one_node();
    let before = contents(cluster.host("node-1"));
    hide_openssl(&mut cluster);
    let running = asked_before_the_kubelet(&mut cluster, "PATH=$PATH:/mnt/tools systemctl restart kubelet");
    let (code, report) = put_back(&cluster, running);
    let node = host_of(&report, "node-1");
    assert_eq!((code, &node["error"]["code"]), (3, &"csr_left".into()), "{report}");
    assert!(node["error"]["message"].as_str().unwrap().contains("ambiguous"), "{report}");
    assert_eq!((&node["restored"], &node["left"]), (&"restarted".into(), &serde_json::json!([])), "{report}");
    let pending = cluster.pending_of("node-1");
    assert!(pending.contains(&"late".to_owned()) && pending.contains(&"early".to_owned()), "{pending:?}");
    assert_eq!(contents(cluster.host("node-1")), before);
}

#[test]
fn a_certificate_on_the_host_that_is_not_the_one_granted_is_no_success() {
    need_root!();
    let mut cluster = one_node();
    let before = contents(cluster.host("node-1"));
    // What it had before, in the place of what it was given.
    let pem = format!("{PKI}/.kubemint-rebootstrap-*/kubelet-client-2*.pem");
    arm(&mut cluster, &format!("rm {CURRENT}; cp {pem} {CURRENT}"));
    let (code, report) = rebootstrap(&cluster, &["node-1"]);
    let node = host_of(&report, "node-1");
    assert_eq!((code, &node["error"]["code"]), (3, &"other_certificate".into()), "{report}");
    assert_eq!((&node["restored"], &node["request"]), (&"restarted".into(), &serde_json::Value::Null), "{report}");
    assert_eq!(contents(cluster.host("node-1")), before);
}

#[test]
fn a_request_that_nobody_signs_ends_in_what_the_node_had() {
    need_root!();
    let cluster = one_node();
    let before = contents(cluster.host("node-1"));
    let held = cluster.stop_signing();
    let (code, report) = rebootstrap(&cluster, &["node-1", "--timeout", "4s"]);
    let node = host_of(&report, "node-1");
    assert_eq!((code, &node["error"]["code"]), (3, &"certificate_not_issued".into()), "{report}");
    assert!(node["error"]["hint"].as_str().unwrap().contains("kube-controller-manager"), "{report}");
    assert_eq!(node["restored"], "restarted", "{report}");
    assert_eq!(contents(cluster.host("node-1")), before);
    // The key of the request is kept: what is signed later can only be used with it.
    let replaced = backups(cluster.host("node-1")).into_iter().find(|line| line.contains(PKI)).unwrap();
    assert!(replaced.starts_with("700 ") && replaced.ends_with(".replaced"), "{replaced}");
    cluster.host("node-1").must(&format!("test -s {}/kubelet-client.key.tmp", &replaced[4..]));
    drop(held);
    rebootstrap_in_words(&cluster, &["node-1"]).expect(0).says(&["joined anew"]);
}
