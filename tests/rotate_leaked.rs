//! Rotations when things are at their worst: somebody has the token, an apiserver is down, nodes are left behind, or the
//! inventory names one apiserver for two hosts.
#![allow(clippy::unwrap_used, reason = "test code")]

mod rotation_support;
mod support;

use rotation_support::{assert_rotated, cluster, cluster_with_faults, request, rotate, soon};
use support::{ControlPlane, Fault, TestEnv};

const SIGNER: &str = "kubernetes.io/kube-apiserver-client-kubelet";

#[test]
fn what_was_asked_with_a_leaked_token_is_not_approved_when_it_is_revoked() {
    need_root!();
    let cluster = ControlPlane::builder().nodes(2).idle(&["node-2"]).services(&soon()).start();
    let old = cluster.token_on("node-1");
    let pem = request(&cluster, "node-2");
    assert_eq!(cluster.post_csr(&old, "evil", SIGNER, &["digital signature", "client auth"], &pem).0, 201);
    let document = rotate(&cluster, &["--revoke-now"], 0);
    // The kubelet there was restarted, and asked with the new token.
    let approved = document["approved"].as_array().unwrap();
    assert!(approved.len() == 1 && approved[0]["node"] == "node-2" && approved[0]["request"] != "evil", "{document:#}");
    assert!(document["remarks"].to_string().contains("evil is left: too_old"), "{document:#}");
    assert_eq!(cluster.pending_of("node-2"), ["evil"]);
    assert_rotated(&cluster, &old);
}

#[test]
fn an_apiserver_that_is_down_does_not_keep_a_leaked_token_alive_on_the_others() {
    need_root!();
    let cluster = cluster_with_faults(3, 1);
    let old = cluster.token_on("node-1");
    cluster.set_fault("cp-1", Fault::RefusesToStart);
    cluster.host("cp-1").must("systemctl stop kube-apiserver");
    let document = rotate(&cluster, &["--revoke-now"], 5);
    assert_eq!(
        (&document["stage"], &document["pending"][0]["name"]),
        (&"switch".into(), &"cp-1".into()),
        "{document:#}"
    );
    let status = |host: &str| cluster.status_of_token(host, &old);
    assert_eq!((status("cp-2"), status("cp-3")), (401, 401));
    assert!(cluster.overlapping_downtimes().iter().all(|(one, other)| one.host == "cp-1" || other.host == "cp-1"));
    cluster.mend("cp-1");
    rotate(&cluster, &["--resume"], 0);
    assert_rotated(&cluster, &old);
}

#[test]
fn a_host_that_ssh_does_not_reach_does_not_keep_a_leaked_token_alive_on_the_others() {
    need_root!();
    let mut cluster = cluster(3, 1);
    let old = cluster.token_on("node-1");
    // One is down as a whole; of the first only the login fails.
    cluster.stop_host("cp-3");
    let keys = "/root/.ssh/authorized_keys";
    let authorized = cluster.host("cp-1").read(keys);
    cluster.host("cp-1").forget_authorized_keys();
    let document = rotate(&cluster, &["--revoke-now"], 5);
    assert_eq!(
        (&document["stage"], &document["pending"][0]["name"], &document["pending"][0]["code"]),
        (&"switch".into(), &"cp-1".into(), &"auth_failed".into()),
        "{document:#}"
    );
    // Nodes need not wait for that host.
    assert_ne!(cluster.token_on("node-1"), old);
    assert_eq!(document["approved"], serde_json::json!([]), "{document:#}");
    let status = |host: &str| cluster.status_of_token(host, &old);
    assert_eq!((status("cp-1"), status("cp-2")), (201, 401));
    cluster.host("cp-1").write(keys, &authorized);
    cluster.start_host("cp-3");
    rotate(&cluster, &["--resume"], 0);
    assert_rotated(&cluster, &old);
}

#[test]
fn nodes_that_were_left_behind_are_named_to_the_end() {
    need_root!();
    let mut cluster = cluster_with_faults(2, 2);
    let old = cluster.token_on("node-1");
    cluster.stop_host("node-2");
    rotate(&cluster, &[], 5);
    cluster.set_fault_after_start("cp-2", Fault::NotReady);
    rotate(&cluster, &["--retire-anyway"], 5);
    cluster.mend("cp-2");
    cluster.host("cp-2").must("systemctl restart kube-apiserver");
    let document = rotate(&cluster, &["--resume"], 3);
    assert_eq!(
        (&document["state"], &document["pending"][0]["name"]),
        (&"done".into(), &"node-2".into()),
        "{document:#}"
    );
    assert_eq!(document["pending"][0]["code"], "left_behind");
    assert_eq!(cluster.status_of_token("cp-2", &old), 401);
}

#[test]
fn two_control_plane_hosts_behind_one_address_are_refused() {
    let host = |n: u8| {
        format!(
            "[[hosts]]\nname = \"cp-{n}\"\nconnection = \"local\"\nroot = \"hosts/cp-{n}\"\nroles = [\"control-plane\", \
             \"node\"]\napiserver = \"https://10.0.0.9:6443\"\n"
        )
    };
    let top = "[cluster]\nserver = \"https://10.0.0.9:6443\"\n[services]\nkube-apiserver = \"false\"\n";
    let env = TestEnv::with_inventory(&(top.to_owned() + &host(1) + &host(2)));
    env.ok(&["apply", "--yes"]);
    let before = env.tree_hash("hosts");
    let (code, document) = env.json(&["rotate", "token", "--yes"]);
    assert_eq!((code, &document["error"]["code"]), (2, &"apiserver_shared".into()), "{document:#}");
    assert_eq!(env.tree_hash("hosts"), before);
}
