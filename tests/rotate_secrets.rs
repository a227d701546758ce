//! `kubemint rotate token` where the cluster keeps the token in a Secret: the same stages, no restart; kubectl says what
//! Secrets there are, and every apiserver which tokens it knows.
#![allow(clippy::unwrap_used, reason = "test code")]

mod rotation_support;
mod support;

use base64::{Engine, prelude::BASE64_STANDARD};
use rotation_support::{
    assert_all, assert_secret_rotated, codes, restarts, rotate, secret_cluster, secret_cluster_with_faults, secrets,
    tree_hashes,
};
use serde_json::Value;
use support::{Fault, Running, eventually};

#[test]
fn a_secret_takes_the_place_of_another_and_nothing_is_restarted() {
    need_root!();
    let cluster = secret_cluster(3, 2);
    assert!(!cluster.host("cp-1").path("/etc/kubernetes/token.csv").exists());
    let (old, before) = (cluster.token_on("node-1"), restarts(&cluster));
    assert_all(&cluster, &old, 201);
    let document = rotate(&cluster, &[], 0);
    assert_eq!((&document["state"], &document["carrier"]), (&"done".into(), &"secrets".into()), "{document:#}");
    let new = assert_secret_rotated(&cluster, &old);
    assert_eq!(restarts(&cluster), before);
    // Their kubelets asked as the new token's user.
    assert!(cluster.is_node_ready("node-1") && cluster.is_node_ready("node-2"), "{document:#}");
    let (id, part) = new.split_once('.').unwrap();
    let name = format!("bootstrap-token-{id}");
    let ran = cluster.kubectl(&["-n", "kube-system", "get", "secret", &name, "-o", "json"]).expect(0);
    let secret: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(secret["type"], "bootstrap.kubernetes.io/token");
    let value = |key: &str| {
        let text = secret["data"][key].as_str().unwrap_or_else(|| panic!("{key}"));
        String::from_utf8(BASE64_STANDARD.decode(text).unwrap()).unwrap()
    };
    assert_eq!((value("token-id"), value("token-secret")), (id.to_owned(), part.to_owned()));
    assert_eq!(value("usage-bootstrap-authentication"), "true");
    let (_, shown) = cluster.env().json(&["token", "show"]);
    assert_eq!(shown["secret"]["expiration"], value("expiration"));
    let (_, status) = cluster.env().json(&["status"]);
    assert_eq!(status["summary"]["ok"], status["summary"]["hosts"], "{status:#}");
    cluster.run(&["apply", "--yes"]).expect(0);
    assert_eq!(cluster.token_on("node-1"), new);
}

#[test]
fn a_secret_that_may_not_be_made_pauses_and_an_abort_leaves_all_as_it_was() {
    need_root!();
    let cluster = secret_cluster_with_faults(2, 1);
    let (old, secrets_before) = (cluster.token_on("node-1"), secrets(&cluster));
    let tree = tree_hashes(&cluster);
    for host in cluster.control_planes() {
        cluster.set_fault(host, Fault::SecretsDenied);
    }
    let document = rotate(&cluster, &[], 5);
    assert_eq!((&document["stage"], &document["reason"]["code"]), (&"accept".into(), &"api_forbidden".into()));
    assert_eq!(secrets(&cluster), secrets_before);
    assert_all(&cluster, &old, 201);
    // To delete is denied, too.
    rotate(&cluster, &["--abort"], 5);
    cluster.control_planes().iter().for_each(|host| cluster.mend(host));
    assert_eq!(rotate(&cluster, &["--resume"], 0)["state"], "aborted");
    assert_eq!((secrets(&cluster), tree_hashes(&cluster)), (secrets_before, tree));
    assert_all(&cluster, &old, 201);
    cluster.run(&["verify"]).expect(0);
    rotate(&cluster, &[], 0);
    assert_secret_rotated(&cluster, &old);
}

#[test]
fn an_abort_after_the_switch_gives_the_nodes_the_old_token_and_deletes_the_new_secret() {
    need_root!();
    let cluster = secret_cluster(1, 1);
    let (old, secrets_before) = (cluster.token_on("node-1"), secrets(&cluster));
    let tree = tree_hashes(&cluster);
    let document = rotate(&cluster, &["--grace", "2h"], 5);
    assert_eq!(document["reason"]["code"], "grace", "{document:#}");
    let new = cluster.token_on("node-1");
    assert_eq!(secrets(&cluster).len(), 2);
    assert_all(&cluster, &new, 201);
    assert_all(&cluster, &old, 201);
    assert_eq!(rotate(&cluster, &["--abort"], 0)["state"], "aborted");
    assert_eq!((secrets(&cluster), tree_hashes(&cluster)), (secrets_before, tree));
    assert_all(&cluster, &new, 401);
    assert_all(&cluster, &old, 201);
    let (_, shown) = cluster.env().json(&["token", "show"]);
    assert_eq!(shown["secret"]["id"], old.split('.').next().unwrap());
}

#[test]
fn an_apiserver_that_is_busy_or_fails_for_a_while_ends_no_rotation() {
    need_root!();
    let cluster = secret_cluster_with_faults(2, 1);
    let old = cluster.token_on("node-1");
    rotate(&cluster, &["--grace", "1h"], 5);
    // Where it makes or deletes a Secret it asks again.
    cluster.set_fault("cp-1", Fault::Busy(3));
    cluster.set_fault("cp-2", Fault::Failing);
    let document = rotate(&cluster, &["--retire-anyway"], 5);
    assert_eq!(codes(&document)[0].0, "cp-2", "{document:#}");
    cluster.mend("cp-2");
    rotate(&cluster, &["--retire-anyway"], 0);
    assert_secret_rotated(&cluster, &old);
}

#[test]
fn a_secret_that_is_gone_or_leaked_is_replaced_all_the_same() {
    need_root!();
    let cluster = secret_cluster(2, 1);
    let old = cluster.token_on("node-1");
    let name = secrets(&cluster).remove(0);
    cluster.kubectl(&["-n", "kube-system", "delete", "secret", &name]).expect(0);
    let document = rotate(&cluster, &[], 0);
    assert!(document["remarks"].to_string().contains("has expired or is gone"), "{document:#}");
    let second = assert_secret_rotated(&cluster, &old);
    let document = rotate(&cluster, &["--revoke-now"], 0);
    assert_eq!(document["mode"], "revoke-now");
    assert_secret_rotated(&cluster, &second);
}

#[test]
fn killed_at_any_moment_it_is_resumed_to_the_same_end() {
    need_root!();
    let cluster = secret_cluster(1, 1);
    for said in ["the cluster is asked", "accept:", "created", "switch:", "approve:", "verify:", "retire:", "deleted"] {
        let old = cluster.token_on("node-1");
        let mut running = Running::start(cluster.env(), &["rotate", "token", "--yes"]);
        eventually(said, || (running.has_ended() || running.stderr().contains(said)).then_some(()));
        drop(running);
        let (_, shown) = cluster.env().json(&["token", "show"]);
        match shown.get("rotation") {
            Some(_) => drop(rotate(&cluster, &["--resume"], 0)),
            None if cluster.token_on("node-1") == old => drop(rotate(&cluster, &[], 0)),
            None => {}
        }
        assert_secret_rotated(&cluster, &old);
    }
}

#[test]
fn a_grace_longer_than_the_token_lives_is_refused() {
    need_root!();
    let cluster = secret_cluster(1, 1);
    let before = secrets(&cluster);
    assert_eq!(rotate(&cluster, &["--grace", "24h"], 2)["error"]["code"], "grace_too_long");
    assert_eq!(secrets(&cluster), before);
    let created = cluster.kubectl(&["create", "--validate=false", "-f", "secret.yaml"]);
    assert_ne!(created.code, 0, "it is there: {created:?}");
}
