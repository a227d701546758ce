//! Nodes that join anew: what a node had goes only when it comes back without it, and comes back when it does not.
#![cfg(feature = "k8s")]
#![allow(clippy::unwrap_used, reason = "test code")]

mod rebootstrap_support;
mod support;

use rebootstrap_support::{
    KUBERNETES, PKI, backups, belongings, contents, hide_openssl, one_node, rebootstrap, rebootstrap_in_words, serial,
};
use support::{ControlPlane, Terminal, eventually, host_of};

#[test]
fn a_joined_node_comes_back_with_a_new_certificate() {
    need_root!();
    let cluster = one_node();
    let host = cluster.host("node-1");
    let before = serial(host);
    let (code, report) = rebootstrap(&cluster, &["node-1"]);
    assert_eq!(code, 0, "{report}");
    assert_eq!((&report["schema"], &report["version"]), (&"kubemint/rebootstrap".into(), &1.into()), "{report}");
    let node = host_of(&report, "node-1");
    assert_eq!((&node["status"], &node["restored"]), (&"changed".into(), &serde_json::Value::Null), "{report}");
    let files: Vec<&str> = node["set_aside"].as_array().unwrap().iter().filter_map(|name| name.as_str()).collect();
    assert!(files.contains(&"kubelet.kubeconfig") && files.contains(&"kubelet-client-current.pem"), "{report}");
    assert!(!before.is_empty() && serial(host) != before);
    assert!(cluster.is_node_ready("node-1"));
    let request = node["request"].as_str().unwrap();
    let reason = cluster.kubectl(&["get", "csr", request, "-o", "jsonpath={.status.conditions[0].reason}"]).expect(0);
    assert_eq!(reason.stdout, "KubemintApprove");
    assert_eq!(cluster.restarts("node-1", "kubelet"), 1);
    // What it had is kept where only root can look, until it is not the last any more.
    let run = report["run_id"].as_str().unwrap();
    let kept = [
        format!("700 {KUBERNETES}/.kubemint-rebootstrap-{run}.kept"),
        format!("700 {PKI}/.kubemint-rebootstrap-{run}.kept"),
    ];
    assert_eq!(backups(host), kept);
    host.must(&format!("openssl x509 -noout -in {PKI}/.kubemint-rebootstrap-{run}.kept/kubelet-client-2*.pem"));
    cluster.run(&["runs", "list"]).expect(0).says(&["rebootstrap"]);
    cluster.run(&["runs", "show", "last"]).expect(0).says(&["node-1", "1 changed"]);
    cluster.run(&["distribute", "--retry", run]).expect(2).says(&["installed nothing"]);
    let undone = cluster.run(&["rollback", "last", "--yes"]).expect(0);
    assert!(!undone.stdout.contains(run), "a rollback means the run that installed files: {}", undone.stdout);
    cluster.run(&["apply", "--yes"]).expect(0);

    let again = rebootstrap_in_words(&cluster, &["node-1", "--drop-backup"]).expect(0);
    again.says(&["joined anew"]);
    assert_eq!(backups(host), [""; 0]);
    let (_, nothing) = rebootstrap(&cluster, &["node-1", "--restore"]);
    assert_eq!(nothing["summary"]["unchanged"], 1, "{nothing}");
    cluster.env().assert_no_secret(&format!("{report}{nothing}"));
}

#[test]
fn nodes_go_one_after_the_other_and_one_that_has_never_joined_joins() {
    need_root!();
    let cluster = ControlPlane::builder().control_planes(1).nodes(2).unjoined(&["node-2"]).start();
    let waiting = cluster.pending_of("node-2");
    let done = rebootstrap_in_words(&cluster, &["role:node"]).expect(0);
    done.says(&["2 nodes: 2 joined anew"]);
    assert!(cluster.is_node_ready("node-1") && cluster.is_node_ready("node-2"));
    // What had been asked before is not what was approved.
    assert_eq!(cluster.pending_of("node-2"), waiting);
}

#[test]
fn a_kubelet_that_asks_for_nothing_keeps_what_it_had() {
    need_root!();
    let mut cluster = one_node();
    cluster.set_services("kubelet = \"echo not restarted\"\n");
    let host = cluster.host("node-1");
    let before = belongings(host);
    let (code, report) = rebootstrap(&cluster, &["node-1", "--timeout", "3s"]);
    assert_eq!(code, 3, "{report}");
    let node = host_of(&report, "node-1");
    assert_eq!((&node["error"]["code"], &node["restored"]), (&"csr_absent".into(), &"restarted".into()), "{report}");
    assert!(node["error"]["message"].as_str().unwrap().contains("what it had before is back"), "{report}");
    assert_eq!(belongings(host), before);
}

#[test]
fn a_node_whose_request_is_denied_gets_back_what_it_had_and_is_ready_again() {
    need_root!();
    let mut cluster = one_node();
    // Without openssl on the host nothing is approved for three seconds.
    hide_openssl(&mut cluster);
    let host = cluster.host("node-1");
    let before = contents(host);
    let running = cluster.fleet.start(&["rebootstrap", "--yes", "node-1", "-o", "json"]);
    let request = eventually("the request", || cluster.pending_of("node-1").first().cloned());
    cluster.decide(&request, "Denied");
    let ended = running.wait();
    let report: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    let node = host_of(&report, "node-1");
    if node["status"] == "changed" {
        // We were faster than the one who denies: nothing to see here.
        panic!("approved before it was denied: {report}");
    }
    assert_eq!(ended.code, 3, "{report}");
    assert_eq!((&node["error"]["code"], &node["restored"]), (&"csr_denied".into(), &"restarted".into()), "{report}");
    assert_eq!(contents(host), before);
    let heartbeat = |cluster: &ControlPlane| cluster.nodes()[0]["status"]["conditions"][0]["lastHeartbeatTime"].clone();
    let last = heartbeat(&cluster);
    eventually("a heartbeat with the old certificate", || (heartbeat(&cluster) != last).then_some(()));
}

#[test]
fn a_restart_that_fails_or_hangs_is_reported_and_nothing_is_lost() {
    need_root!();
    let mut cluster = one_node();
    cluster.set_services("restart_timeout = \"2s\"\n");
    let host = cluster.host("node-1");
    let before = belongings(host);
    for (word, code, said) in [
        ("fail", "restart_failed", "failed with status 1: Job for kubelet.service failed"),
        ("hang", "restart_timed_out", "took too long"),
    ] {
        cluster.set_systemctl("node-1", "kubelet", Some(word));
        let (exit, report) = rebootstrap(&cluster, &["node-1"]);
        assert_eq!(exit, 3, "{report}");
        let node = host_of(&report, "node-1");
        assert_eq!((&node["error"]["code"], &node["restored"]), (&code.into(), &"not_restarted".into()), "{report}");
        assert!(node["error"]["message"].as_str().unwrap().contains(said), "{report}");
        assert_eq!(belongings(host), before, "{word}");
    }
    cluster.set_systemctl("node-1", "kubelet", None);
    cluster.set_services("");
    rebootstrap_in_words(&cluster, &["node-1"]).expect(0);
}

#[test]
fn nothing_is_touched_where_the_way_back_is_not_open() {
    need_root!();
    let mut cluster = ControlPlane::builder().control_planes(1).nodes(2).start();
    let hashes = |cluster: &ControlPlane| ["node-1", "node-2"].map(|name| belongings(cluster.host(name)));
    let before = hashes(&cluster);
    rebootstrap_in_words(&cluster, &["cp-1"]).expect(2).says(&["cp-1 is no node", "cp-1"]);
    rebootstrap_in_words(&cluster, &["node-7"]).expect(2).says(&["node-7"]);
    rebootstrap_in_words(&cluster, &[]).expect(2);
    rebootstrap_in_words(&cluster, &["node-1", "--kubelet-pki", "var/lib"]).expect(2).says(&["not absolute"]);
    rebootstrap_in_words(&cluster, &["node-1", "--kubelet-kubeconfig", "/etc/../x"])
        .expect(2)
        .says(&["not normalised"]);
    // The second host is not in order: the first is not touched either.
    let bootstrap = "/etc/kubernetes/bootstrap.kubeconfig";
    let stored = cluster.host("node-2").read(bootstrap);
    cluster.host("node-2").write(bootstrap, &stored.replace("token: ", "token: x"));
    let refused = rebootstrap_in_words(&cluster, &["role:node"]).expect(4);
    refused.says(&["node-2: /etc/kubernetes/bootstrap.kubeconfig is not the stored one (differs)", "kubemint apply"]);
    cluster.host("node-2").must(&format!("rm {bootstrap}"));
    rebootstrap_in_words(&cluster, &["role:node"]).expect(4).says(&["is not the stored one (missing)"]);
    cluster.run(&["apply", "--yes"]).expect(0);
    // The apiserver has read another token.csv.
    let csv = cluster.host("cp-1").read("/etc/kubernetes/token.csv");
    let other = "0123456789abcdef0123456789abcdef";
    cluster.host("cp-1").write("/etc/kubernetes/token.csv", &format!("{other}{}", &csv[32..]));
    cluster.host("cp-1").must("systemctl restart kube-apiserver");
    cluster.any_api();
    let refused = rebootstrap_in_words(&cluster, &["role:node"]).expect(4);
    refused.says(&["does not know the stored bootstrap token", "kubemint status"]);
    cluster.run(&["apply", "--yes"]).expect(0);
    cluster.host("cp-1").must("systemctl restart kube-apiserver");
    cluster.any_api();
    cluster.stop_host("node-2");
    rebootstrap_in_words(&cluster, &["role:node"]).expect(4).says(&["refused the connection", "node-2"]);
    cluster.start_host("node-2");
    assert_eq!(cluster.restarts("node-1", "kubelet") + cluster.restarts("node-2", "kubelet"), 0);
    let after = hashes(&cluster);
    assert_eq!(before[0], after[0]);
    assert!(backups(cluster.host("node-2")).is_empty());
}

#[test]
fn an_inventory_without_the_kubelets_command_is_refused() {
    let env = support::TestEnv::with_local_hosts();
    env.run(&["rebootstrap", "node-1"]).expect(2).says(&[
        "services.kubelet is not set",
        "services.kubelet",
        "systemctl restart kubelet",
    ]);
    let (_, document) = env.json(&["rebootstrap", "node-1"]);
    assert_eq!(document["error"]["code"], "no_restart_command");
}

#[test]
fn it_asks_and_begins_nothing_unless_it_is_answered() {
    need_root!();
    let cluster = one_node();
    let before = belongings(cluster.host("node-1"));
    for way in [&["rebootstrap", "node-1"][..], &["rebootstrap", "node-1", "--restore"]] {
        cluster.run(way).expect(2).says(&["there is no terminal to ask on", "confirm it with --yes"]);
    }
    let mut terminal = Terminal::start(cluster.env(), "kubemint rebootstrap node-1");
    terminal.answer("Let 1 node join anew?", "n\r");
    let (code, screen) = terminal.finish();
    assert_eq!(code, 4, "{screen}");
    assert_eq!((belongings(cluster.host("node-1")), cluster.restarts("node-1", "kubelet")), (before, 0));
}

#[test]
fn rights_that_do_not_reach_to_approve_are_seen_before_anything_is_touched() {
    need_root!();
    let cluster = one_node();
    let before = belongings(cluster.host("node-1"));
    let (code, report) = rebootstrap(&cluster, &["node-1", "--admin-group", "onlookers"]);
    assert_eq!((code, &report["error"]["code"]), (4, &"api_forbidden".into()), "{report}");
    assert!(report["error"]["message"].as_str().unwrap().contains("certificatesigningrequests"), "{report}");
    assert_eq!((belongings(cluster.host("node-1")), cluster.restarts("node-1", "kubelet")), (before, 0));
}

#[test]
fn an_interrupt_finishes_the_node_in_hand_and_begins_no_other() {
    need_root!();
    let cluster = ControlPlane::builder().control_planes(1).nodes(2).by_sudo().start();
    let before = serial(cluster.host("node-2"));
    let running = cluster.fleet.start(&["rebootstrap", "--yes", "role:node", "-o", "json"]);
    eventually("the first node to be begun", || (!backups(cluster.host("node-1")).is_empty()).then_some(()));
    running.signal(rustix::process::Signal::INT);
    let ended = running.wait();
    let report: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(ended.code, 130, "{report}");
    assert_eq!(host_of(&report, "node-1")["status"], "changed", "{report}");
    assert_eq!(host_of(&report, "node-2")["status"], "skipped", "{report}");
    assert_eq!(serial(cluster.host("node-2")), before);
}
