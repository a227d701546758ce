//! What goes wrong during a rotation: it pauses with both tokens valid and no second apiserver touched, says what is the
//! matter, and goes on when that is mended. A test for each row of docs/faults.md on rotation.
#![allow(clippy::unwrap_used, reason = "test code")]

mod rotation_support;
mod support;

use rotation_support::{
    assert_all, assert_rotated, assert_status, cluster, cluster_with_faults, codes, restarts, rotate, stored_tokens,
    tree_hashes,
};
use std::{process::Command, time::Duration};
use support::{ControlPlane, Fault, Running, TestHost, require};

#[test]
fn an_apiserver_that_does_not_come_back_pauses_with_both_tokens_valid() {
    need_root!();
    let cluster = cluster_with_faults(3, 1);
    let (old, before) = (cluster.token_on("node-1"), restarts(&cluster));
    cluster.set_fault_after_start("cp-2", Fault::NotReady);
    let document = rotate(&cluster, &[], 5);
    assert_eq!((&document["state"], &document["stage"]), (&"paused".into(), &"accept".into()), "{document:#}");
    assert_eq!(codes(&document), [("cp-2".to_owned(), "apiserver_not_back".to_owned())]);
    assert_eq!(document["control_plane"][2]["status"], serde_json::Value::Null);
    assert_eq!(restarts(&cluster)[2], before[2], "the third is not touched");
    // The last one has only ever read the old token; the others have both.
    assert_all(&cluster, &old, 201);
    let new = stored_tokens(cluster.env())[1].clone();
    assert_status(&cluster, &new, &[201, 201, 401]);
    assert_eq!(cluster.token_on("node-1"), old);

    // Not mended: it stays so, and nobody else is touched.
    rotate(&cluster, &["--resume"], 5);
    assert_eq!(restarts(&cluster)[2], before[2]);
    cluster.mend("cp-2");
    let document = rotate(&cluster, &["--resume"], 0);
    assert_eq!(document["state"], "done");
    assert_eq!(assert_rotated(&cluster, &old), new);
    assert!(cluster.overlapping_downtimes().is_empty());
}

#[test]
fn an_apiserver_that_is_ready_with_the_old_tokens_pauses() {
    need_root!();
    let cluster = cluster_with_faults(3, 1);
    let (old, before) = (cluster.token_on("node-1"), restarts(&cluster));
    cluster.set_fault_after_start("cp-1", Fault::KeepsOldTokens);
    let document = rotate(&cluster, &[], 5);
    assert_eq!(codes(&document), [("cp-1".to_owned(), "apiserver_old_tokens".to_owned())], "{document:#}");
    assert_eq!(restarts(&cluster)[1..], before[1..]);
    assert_all(&cluster, &old, 201);
    assert_eq!(cluster.token_on("node-1"), old);
    cluster.mend("cp-1");
    rotate(&cluster, &["--resume"], 0);
    assert_rotated(&cluster, &old);
}

#[test]
fn an_apiserver_that_will_not_forget_the_old_token_pauses_the_retirement() {
    need_root!();
    let mut cluster = cluster(2, 1);
    let old = cluster.token_on("node-1");
    // Restarts do nothing from the retirement on.
    rotate(&cluster, &["--grace", "1h"], 5);
    cluster.set_services("kube-apiserver = \"true\"\nrestart_timeout = \"5s\"\n");
    let document = rotate(&cluster, &["--retire-anyway"], 5);
    assert_eq!(codes(&document), [("cp-1".to_owned(), "apiserver_old_tokens".to_owned())], "{document:#}");
    assert_eq!(document["stage"], "retire");
    let new = cluster.token_on("node-1");
    assert_all(&cluster, &new, 201);
    // It is too late to go back: cp-1 may forget it at any time.
    assert_eq!(rotate(&cluster, &["--abort"], 4)["error"]["code"], "too_late_to_abort");
    cluster.set_services("");
    rotate(&cluster, &["--resume"], 0);
    assert_rotated(&cluster, &old);
}

#[test]
fn a_control_plane_host_that_is_down_at_the_start_is_refused() {
    need_root!();
    let mut cluster = cluster(3, 1);
    let (old, before, state) =
        (cluster.token_on("node-1"), tree_hashes(&cluster), cluster.env().read("state/state.json"));
    cluster.stop_host("cp-3");
    let document = rotate(&cluster, &[], 4);
    let error = &document["error"];
    assert_eq!(error["code"], "host_unreachable", "{document:#}");
    assert!(error["message"].as_str().unwrap().contains("cp-3"), "{document:#}");
    cluster.start_host("cp-3");
    assert_eq!((tree_hashes(&cluster), cluster.env().read("state/state.json")), (before, state));
    rotate(&cluster, &[], 0);
    assert_rotated(&cluster, &old);
}

#[test]
fn an_apiserver_that_is_not_ready_at_the_start_is_refused() {
    need_root!();
    let cluster = cluster_with_faults(2, 1);
    let before = tree_hashes(&cluster);
    cluster.set_fault("cp-2", Fault::NotReady);
    let document = rotate(&cluster, &[], 4);
    assert_eq!(document["error"]["code"], "apiserver_not_ready", "{document:#}");
    assert_eq!(tree_hashes(&cluster), before);
}

#[test]
fn a_control_plane_host_that_is_lost_midway_pauses_with_both_tokens_valid() {
    need_root!();
    let cluster = cluster(3, 1);
    let old = cluster.token_on("node-1");
    // The apiserver goes on; what is lost is the way to the host, when the first is through.
    let log = cluster.host("cp-1").path("/etc/kubernetes/token.csv");
    let before = std::fs::read_to_string(&log).unwrap();
    let document = std::thread::scope(|scope| {
        let run = {
            let cluster = &cluster;
            scope.spawn(move || cluster.run(&["rotate", "token", "--yes", "-o", "json"]))
        };
        support::eventually("cp-1 to have both", || (std::fs::read_to_string(&log).unwrap() != before).then_some(()));
        let sshd: &TestHost = cluster.host("cp-3");
        sshd.must("chmod 000 /root/.ssh/authorized_keys; mv /root/.ssh/authorized_keys /root/.ssh/away");
        run.join().unwrap()
    });
    assert_eq!(document.code, 5, "{document:?}");
    let document: serde_json::Value = serde_json::from_str(&document.stdout).unwrap();
    assert_eq!(codes(&document)[0].0, "cp-3", "{document:#}");
    assert_all(&cluster, &old, 201);
    cluster.host("cp-3").must("mv /root/.ssh/away /root/.ssh/authorized_keys; chmod 600 /root/.ssh/authorized_keys");
    rotate(&cluster, &["--resume"], 0);
    assert_rotated(&cluster, &old);
}

#[test]
fn a_pending_node_keeps_the_old_token() {
    need_root!();
    let mut cluster = cluster(2, 3);
    let old = cluster.token_on("node-1");
    cluster.stop_host("node-2");
    let document = rotate(&cluster, &[], 5);
    assert_eq!((&document["stage"], &document["reason"]["code"]), (&"verify".into(), &"nodes_pending".into()));
    assert_eq!(codes(&document).len(), 1, "{document:#}");
    assert_eq!(codes(&document)[0].0, "node-2");
    let new = cluster.token_on("node-1");
    assert_ne!(new, old);
    assert_all(&cluster, &old, 201);
    assert_all(&cluster, &new, 201);
    // Still down: refused again.
    assert_eq!(codes(&rotate(&cluster, &["--resume"], 5))[0].0, "node-2");
    assert_all(&cluster, &old, 201);
    cluster.start_host("node-2");
    assert_eq!(cluster.token_on("node-2"), old);
    let before = restarts(&cluster);
    rotate(&cluster, &["--resume"], 0);
    assert_rotated(&cluster, &old);
    let after = restarts(&cluster);
    assert_eq!(after, before.iter().map(|n| n + 1).collect::<Vec<_>>(), "only the retirement restarts them");
}

#[test]
fn the_old_token_is_retired_anyway_when_that_is_asked_for() {
    need_root!();
    let mut cluster = cluster(2, 2);
    let old = cluster.token_on("node-1");
    cluster.stop_host("node-2");
    rotate(&cluster, &[], 5);
    let document = rotate(&cluster, &["--retire-anyway"], 3);
    assert_eq!((&document["state"], codes(&document)[0].0.as_str()), (&"done".into(), "node-2"), "{document:#}");
    assert_all(&cluster, &old, 401);
    cluster.start_host("node-2");
    cluster.run(&["apply", "--limit", "node-2"]).expect(0);
    assert_rotated(&cluster, &old);
}

#[test]
fn a_kubelet_restart_that_fails_or_hangs_makes_its_node_pending() {
    need_root!();
    let services = "restart_timeout = \"3s\"\nkubelet_restart = \"always\"\n";
    let cluster = ControlPlane::builder().control_planes(1).nodes(3).services(services).start();
    let old = cluster.token_on("node-1");
    cluster.set_systemctl("node-1", "kubelet", Some("fail"));
    cluster.set_systemctl("node-2", "kubelet", Some("hang"));
    let document = rotate(&cluster, &[], 5);
    let ends = [("node-1", "restart_failed"), ("node-2", "restart_timed_out")];
    assert_eq!(codes(&document), ends.map(|(name, code)| (name.to_owned(), code.to_owned())), "{document:#}");
    assert_all(&cluster, &old, 201);
    assert_eq!(cluster.restarts("node-3", "kubelet"), 1);
    cluster.set_systemctl("node-1", "kubelet", None);
    cluster.set_systemctl("node-2", "kubelet", None);
    rotate(&cluster, &["--resume"], 0);
    assert_rotated(&cluster, &old);
    assert_eq!(cluster.restarts("node-3", "kubelet"), 1, "restarted once is enough");
    assert_eq!((cluster.restarts("node-1", "kubelet"), cluster.restarts("node-2", "kubelet")), (1, 1));
}

#[test]
fn an_api_that_is_busy_or_slow_is_waited_for() {
    need_root!();
    let cluster = cluster_with_faults(2, 1);
    let old = cluster.token_on("node-1");
    cluster.set_fault("cp-1", Fault::Slow(Duration::from_millis(300)));
    cluster.set_fault("cp-2", Fault::StartsSlowly(Duration::from_secs(2)));
    rotate(&cluster, &[], 0);
    assert_rotated(&cluster, &old);
    assert!(cluster.overlapping_downtimes().is_empty());
}

#[test]
fn token_files_that_differ_are_refused_and_shown_by_fingerprint() {
    need_root!();
    let cluster = cluster(2, 1);
    let path = cluster.host("cp-2").path("/etc/kubernetes/token.csv");
    let stored = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{stored}0123456789abcdef0123456789abcdef,somebody,77\n")).unwrap();
    let document = rotate(&cluster, &[], 4);
    let (code, message) = (&document["error"]["code"], document["error"]["message"].as_str().unwrap());
    assert_eq!(code, "token_file_differs");
    let foreign = kubemint::digest::Digest::of("0123456789abcdef0123456789abcdef").fingerprint().to_string();
    assert!(message.contains("cp-2: it has kubelet-bootstrap=") && message.contains(&foreign), "{message}");
    assert!(!message.contains("0123456789abcdef0123456789abcdef") && !message.contains("cp-1"), "{message}");
}

#[test]
fn a_journal_that_cannot_be_written_pauses_before_the_next_host() {
    need_root!();
    let cluster = cluster(1, 3);
    let old = cluster.token_on("node-1");
    // The first host that is begun, a node after two others, and the control plane again.
    for (when, stage, flags) in [(1, "accept", &[][..]), (3, "switch", &["--resume"])] {
        let before = (restarts(&cluster), cluster.token_on("node-3"));
        let mut command = Command::new(require("strace"));
        command.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=fallocate"]);
        command.args(["-e", &format!("inject=fallocate:error=ENOSPC:when={when}"), env!("CARGO_BIN_EXE_kubemint")]);
        let rotation = [&["rotate", "token", "--yes", "-o", "json", "--concurrency", "1"], flags].concat();
        let ran = Running::start_command(cluster.env(), command, &rotation).wait().expect(5);
        let document: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_eq!((&document["stage"], &document["reason"]["code"]), (&stage.into(), &"state_io".into()));
        let hint = document["reason"]["hint"].as_str().unwrap();
        assert!(hint.contains("free space") && hint.contains("--resume"), "{document:#}");
        assert!(!ran.stderr.contains("no host was changed") && !ran.stdout.contains("no host was changed"), "{ran:?}");
        if when == 1 {
            assert_eq!((restarts(&cluster), cluster.token_on("node-3")), before);
        } else {
            let step = |n: usize| document["nodes"][n]["status"].clone();
            assert_eq!([step(0), step(1), step(2)], ["changed", "changed", "skipped"], "{document:#}");
            assert_eq!(cluster.token_on("node-3"), old);
        }
        assert_all(&cluster, &old, 201);
    }
    rotate(&cluster, &["--resume"], 0);
    assert_rotated(&cluster, &old);
}
