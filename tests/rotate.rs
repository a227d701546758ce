//! `kubemint rotate token` against real SSH hosts with an apiserver, kubelets and a service manager that behave as the real
//! ones: nobody is locked out, no two apiservers are down at a time, and in the end one token works and the other does not.
#![allow(clippy::unwrap_used, reason = "test code")]

mod rotation_support;
mod support;

use rotation_support::{
    assert_all, assert_no_token, assert_rotated, cluster, cluster_with_faults, codes, restarts, rotate, soon,
    stored_tokens, tree_hashes,
};
use serde_json::Value;
use support::{Asked, ControlPlane, Fault, Running, TestEnv, eventually};

#[test]
fn three_and_six_are_rotated_and_nobody_notices() {
    need_root!();
    let cluster = ControlPlane::builder().control_planes(3).nodes(6).start();
    let old = cluster.token_on("node-1");
    let before = restarts(&cluster);
    let prober = cluster.probe();
    let document = rotate(&cluster, &[], 0);
    let report = prober.stop();
    assert!(report.refusals.is_empty(), "{:?}", report.refusals);
    // Twenty times a second, each node's token at each apiserver that lives.
    assert_eq!(report.asked.len(), 3);
    assert!(report.asked.iter().all(Asked::is_often), "{report:?}");
    assert_eq!((&document["state"], document["schema"].as_str()), (&"done".into(), Some("kubemint/rotation")));
    assert_eq!(document["nodes"].as_array().unwrap().len(), 6);
    let new = assert_rotated(&cluster, &old);
    assert_eq!(document["new"], kubemint::digest::Digest::of(new).fingerprint().to_string());
    assert!(cluster.overlapping_downtimes().is_empty(), "{:?}", cluster.overlapping_downtimes());
    assert_eq!(restarts(&cluster), before.iter().map(|n| n + 2).collect::<Vec<_>>());
    // Kubelets that had joined are left alone.
    assert!(cluster.nodes_by_name().iter().all(|node| cluster.restarts(node, "kubelet") == 0));

    // What is kept of it holds no token.
    for file in cluster.env().files("state/runs") {
        let text = cluster.env().read(cluster.env().path("state/runs").join(&file));
        assert!(!text.contains(&old) && !text.contains(&cluster.token_on("node-1")), "{file:?}");
    }
    let shown = cluster.run(&["runs", "show", "last"]).expect(0);
    shown.says(&["rotate token", "stages: accept, switch, approve, verify, retire", "9 hosts: 9 changed"]);
    // Nothing of it can be put back: the old token is refused.
    cluster.run(&["rollback", document["run_id"].as_str().unwrap(), "--yes"]).expect(4).says(&["rotate once more"]);
    // Nor by a host's name: what hosts keep beside their token files is the old token.
    let rolled = cluster.run(&["rollback", "--host", "node-1", "--yes"]).expect(3);
    rolled.says(&["bootstrap.kubeconfig stays as it is"]);
    assert_rotated(&cluster, &old);
}

#[test]
fn rows_of_others_stay_as_they_are_and_copies_on_nodes_follow() {
    need_root!();
    let cluster = cluster(2, 1);
    let foreign = "ffffffffffffffffffffffffffffffff,monitor,77,\"a,b\"\n";
    let ran = cluster.env().run_with_input(&["token", "merge", "-"], foreign);
    ran.expect(0);
    cluster.run(&["apply"]).expect(0);
    for host in cluster.control_planes() {
        cluster.host(host).must("systemctl restart kube-apiserver");
    }
    eventually("the apiservers", || {
        let ready =
            |host: &String| cluster.plain_api(host).whoami(Some(&"f".repeat(32))).is_ok_and(|(code, _)| code == 201);
        cluster.control_planes().iter().all(ready).then_some(())
    });
    let before = cluster.env().read("state/token.csv");
    rotate(&cluster, &[], 0);
    let after = cluster.env().read("state/token.csv");
    let others =
        |text: &str| text.lines().filter(|row| !row.contains("kubelet-bootstrap")).collect::<Vec<_>>().join("\n");
    assert_eq!(others(&after), others(&before));
    assert!(after.lines().last().unwrap().contains("kubelet-bootstrap"));
    assert_all(&cluster, &"f".repeat(32), 201);
}

#[test]
fn an_abort_gives_back_every_file_from_every_stage() {
    need_root!();
    let mut cluster = cluster_with_faults(2, 2);
    let (old, before, stored) = (cluster.token_on("node-1"), tree_hashes(&cluster), stored_tokens(cluster.env()));
    let files = ["state/token.csv", "state/kubeconfigs/bootstrap.kubeconfig"].map(|name| cluster.env().read(name));
    let assert_as_before = |cluster: &ControlPlane, new: &str, document: &Value| {
        assert_eq!((&document["state"], &document["direction"]), (&"aborted".into(), &"back".into()));
        assert_eq!(tree_hashes(cluster), before);
        assert_eq!(["state/token.csv", "state/kubeconfigs/bootstrap.kubeconfig"].map(|n| cluster.env().read(n)), files);
        assert_eq!(stored_tokens(cluster.env()), stored);
        assert_all(cluster, &old, 201);
        assert_all(cluster, new, 401);
        cluster.run(&["verify"]).expect(0);
        cluster.run(&["distribute"]).expect(0);
    };
    // In accept, with one apiserver that did not come back.
    cluster.set_fault_after_start("cp-2", Fault::NotReady);
    rotate(&cluster, &[], 5);
    let new = stored_tokens(cluster.env())[1].clone();
    cluster.mend("cp-2");
    let document = rotate(&cluster, &["--abort"], 0);
    assert_as_before(&cluster, &new, &document);

    // After verify.
    rotate(&cluster, &["--grace", "1h"], 5);
    let new = cluster.token_on("node-1");
    // On the way back a node is away: the new token stays until it has the old one again.
    cluster.stop_host("node-2");
    let document = rotate(&cluster, &["--abort"], 5);
    assert_eq!((&document["direction"], codes(&document)[0].0.as_str()), (&"back".into(), "node-2"), "{document:#}");
    assert_all(&cluster, &new, 201);
    assert_all(&cluster, &old, 201);
    cluster.start_host("node-2");
    let prober = cluster.probe();
    let document = rotate(&cluster, &["--resume"], 0);
    let report = prober.stop();
    assert!(report.refusals.is_empty(), "{:?}", report.refusals);
    assert_as_before(&cluster, &new, &document);
    assert!(cluster.overlapping_downtimes().is_empty());

    // And nothing is in the way of the next one.
    rotate(&cluster, &[], 0);
    assert_rotated(&cluster, &old);
}

#[test]
fn a_leaked_token_is_dropped_before_the_nodes_get_the_new_one() {
    need_root!();
    let mut cluster = cluster(2, 2);
    let old = cluster.token_on("node-1");
    cluster.stop_host("node-2");
    let document = rotate(&cluster, &["--revoke-now"], 5);
    assert_eq!((&document["mode"], &document["stage"]), (&"revoke-now".into(), &"verify".into()), "{document:#}");
    assert_all(&cluster, &old, 401);
    assert_eq!(rotate(&cluster, &["--abort"], 4)["error"]["code"], "too_late_to_abort");
    cluster.start_host("node-2");
    assert_eq!(rotate(&cluster, &["--resume"], 0)["state"], "done");
    assert_rotated(&cluster, &old);
    assert!(cluster.overlapping_downtimes().is_empty());
}

#[test]
fn a_rotation_under_way_turns_into_a_revocation_also_on_its_way_back() {
    need_root!();
    let cluster = cluster_with_faults(2, 1);
    let old = cluster.token_on("node-1");
    rotate(&cluster, &["--grace", "1h"], 5);
    rotate(&cluster, &["--revoke-now"], 0);
    let second = assert_rotated(&cluster, &old);
    // On the way back, when one apiserver has lost the new token again.
    rotate(&cluster, &["--grace", "1h"], 5);
    let new = cluster.token_on("node-1");
    cluster.set_fault_after_start("cp-2", Fault::NotReady);
    let document = rotate(&cluster, &["--abort"], 5);
    assert_eq!((&document["direction"], &document["stage"]), (&"back".into(), &"accept".into()), "{document:#}");
    cluster.mend("cp-2");
    cluster.host("cp-2").must("systemctl restart kube-apiserver");
    rotate(&cluster, &["--revoke-now"], 0);
    assert_eq!(assert_rotated(&cluster, &second), new);
}

#[test]
fn a_grace_leaves_both_tokens_and_says_how_long() {
    need_root!();
    let cluster = cluster(1, 1);
    let old = cluster.token_on("node-1");
    let document = rotate(&cluster, &["--grace", "24h"], 5);
    let reason = &document["reason"];
    assert_eq!(reason["code"], "grace");
    let message = reason["message"].as_str().unwrap();
    assert!(message.contains("23h 59m") || message.contains("(24h left)"), "{reason}");
    assert!(document["pending"].as_array().unwrap().is_empty());
    let until = document["grace_until"].clone();
    let new = cluster.token_on("node-1");
    for token in [&old, &new] {
        assert_all(&cluster, token, 201);
    }
    let again = rotate(&cluster, &["--resume"], 5);
    assert_eq!((&again["reason"]["code"], &again["grace_until"]), (&"grace".into(), &until));
    assert_all(&cluster, &old, 201);
    rotate(&cluster, &["--retire-anyway"], 0);
    assert_rotated(&cluster, &old);
    // One that is over by then is no obstacle.
    let old = new;
    rotate(&cluster, &["--grace", "1s"], 5);
    eventually("the second to be over", || {
        let ran = cluster.run(&["rotate", "token", "--resume", "-o", "json"]);
        (ran.code == 0).then_some(())
    });
    assert_rotated(&cluster, &old);
}

#[test]
fn a_node_that_waits_to_join_is_restarted_and_approved() {
    need_root!();
    let cluster = ControlPlane::builder().control_planes(1).nodes(3).unjoined(&["node-2"]).idle(&["node-3"]).start();
    let old = cluster.token_on("node-1");
    let document = rotate(&cluster, &[], 0);
    assert_rotated(&cluster, &old);
    for node in ["node-2", "node-3"] {
        assert_eq!(cluster.restarts(node, "kubelet"), 1, "{node}");
        eventually("the node to be ready", || cluster.is_node_ready(node).then_some(()));
    }
    assert_eq!(cluster.restarts("node-1", "kubelet"), 0);
    let approved: Vec<_> = document["approved"].as_array().unwrap().iter().map(|one| one["node"].clone()).collect();
    assert!(approved.contains(&"node-2".into()) && approved.contains(&"node-3".into()), "{document:#}");
}

#[test]
fn while_one_is_under_way_the_other_commands_work_and_say_so() {
    need_root!();
    let cluster = cluster(1, 1);
    let (_, first) = cluster.env().json(&["runs", "list"]);
    let apply = first["runs"][0]["run_id"].as_str().unwrap().to_owned();
    rotate(&cluster, &["--grace", "1h"], 5);
    let document = rotate(&cluster, &[], 4);
    let error = &document["error"];
    assert_eq!(error["code"], "rotation_under_way");
    // Times are told to the second.
    let message = error["message"].as_str().unwrap();
    let since = message.split_once("since ").and_then(|(_, rest)| rest.split_once(' ')).unwrap().0;
    assert_eq!(since.len(), "2026-11-22T08:00:00Z".len(), "{message}");
    let hint = error["hint"].as_str().unwrap();
    assert!(hint.contains("--resume") && hint.contains("--abort"), "{hint}");

    let before = tree_hashes(&cluster);
    for command in [&["plan"][..], &["apply"], &["distribute"], &["status"], &["generate"], &["token", "show"]] {
        let ran = cluster.run(command);
        assert_no_token(cluster.env(), &ran);
        ran.expect(0).says(&["a rotation of the token is under way", "--resume"]);
    }
    cluster.run(&["verify"]).expect(0);
    assert_eq!(tree_hashes(&cluster), before, "what is stored is what hosts may hold");
    cluster.run(&["rollback", &apply, "--yes"]).expect(4).says(&["--resume", "--abort"]);
    cluster.run(&["rollback", "--host", "node-1", "--yes"]).expect(4).says(&["--resume"]);
    let ran = cluster.env().run_with_input(&["token", "merge", "-"], "a,b,c\n");
    ran.expect(4).says(&["--resume"]);
    // [token] of the inventory is not to be changed meanwhile.
    let text = cluster.env().read("inventory.toml");
    cluster.env().write("inventory.toml", format!("{text}[token]\ngroups = [\"system:bootstrappers\"]\n"));
    cluster.run(&["apply"]).expect(4).says(&["[token]"]);
    cluster.run(&["rotate", "token", "--resume"]).expect(4).says(&["[token]"]);
    cluster.env().write("inventory.toml", text);
    rotate(&cluster, &["--retire-anyway"], 0);
}

#[test]
fn a_signal_lets_the_host_in_hand_finish_and_leaves_the_record() {
    need_root!();
    for (signal, code) in [(rustix::process::Signal::INT, 130), (rustix::process::Signal::TERM, 143)] {
        let mut cluster = cluster(3, 1);
        // cp-1's restart waits for us; the others find no marker.
        let waits = "'touch /run/asked; while [ -e /run/hold ]; do sleep 0.1; done; systemctl restart kube-apiserver'";
        cluster.set_services(&format!("kube-apiserver = {waits}\nrestart_timeout = \"60s\"\n"));
        cluster.host("cp-1").must("touch /run/hold");
        let old = cluster.token_on("node-1");
        let running = Running::start(cluster.env(), &["rotate", "token", "--yes"]);
        eventually("cp-1's restart to begin", || cluster.host("cp-1").exists("/run/asked").then_some(()));
        running.signal(signal);
        cluster.host("cp-1").must("rm /run/hold");
        running.wait().expect(code).says(&["--resume", "paused in stage accept"]);
        // cp-1 was brought to its end, cp-2 was not begun.
        let new = stored_tokens(cluster.env())[1].clone();
        rotation_support::assert_status(&cluster, &new, &[201, 401, 401]);
        rotate(&cluster, &["--resume"], 0);
        assert_eq!(assert_rotated(&cluster, &old), new);
    }
}

#[test]
fn what_the_inventory_lacks_is_said_before_anything_is_asked() {
    let local = |services: &str, roles: &str| {
        TestEnv::with_inventory(&format!(
            "state_dir = \"state\"\n[cluster]\nserver = \"https://127.0.0.1:1\"\n{services}\n[[hosts]]\nname = \"a\"\n\
             connection = \"local\"\nroot = \"a\"\nroles = [{roles}]\n"
        ))
    };
    let restart = "[services]\nkube-apiserver = \"true\"\n";
    for (services, roles, words) in [
        ("", "\"control-plane\"", "services.kube-apiserver is not set"),
        (restart, "\"node\"", "no control-plane host"),
        (&format!("{restart}kubelet_restart = \"always\"\n"), "\"control-plane\"", "services.kubelet is not set"),
    ] {
        let env = local(services, roles);
        env.ok(&["apply"]);
        let before = env.tree_hash(".");
        env.run(&["rotate", "token", "--yes"]).expect(2).says(&[words]);
        assert_eq!(env.tree_hash("."), before, "{words}");
    }
    let env = local(restart, "\"control-plane\"");
    env.run(&["rotate", "token", "--yes"]).expect(4).says(&["there are no credentials"]);
    env.ok(&["apply"]);
    let before = env.tree_hash(".");
    env.run(&["rotate", "token"]).expect(2).says(&["--yes", "one by one"]);
    env.run(&["rotate", "token", "--limit", "a", "--yes"]).expect(2).says(&["--limit"]);
    env.run(&["rotate", "token", "--resume", "--abort"]).expect(2);
    env.run(&["rotate", "token", "--grace", "0s"]).expect(2);
    for flag in ["--resume", "--abort", "--retire-anyway"] {
        env.run(&["rotate", "token", flag]).expect(4).says(&["no rotation is under way"]);
    }
    assert_eq!(env.tree_hash("."), before);
    // Nobody answers on port 1: refused, with the host's name.
    env.run(&["rotate", "token", "--yes"]).expect(4).says(&["a: ", "not every kube-apiserver is ready"]);
}

#[test]
fn hosts_that_are_reached_through_sudo_are_rotated_as_any() {
    need_root!();
    let cluster = ControlPlane::builder().control_planes(2).nodes(1).by_sudo().services(&soon()).start();
    let old = cluster.token_on("node-1");
    let document = rotate(&cluster, &[], 0);
    assert_eq!(document["state"], "done", "{document:#}");
    assert_rotated(&cluster, &old);
    for host in cluster.control_planes() {
        assert_eq!(cluster.host(host).attributes("/etc/kubernetes/token.csv"), (0o600, 0, 0), "{host}");
    }
}
