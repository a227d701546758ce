//! `kubemint token migrate`: from token.csv to a Secret. Rows of others stay, nobody is locked out, and where an apiserver
//! takes no such tokens all goes back to what it was.
#![allow(clippy::unwrap_used, reason = "test code")]

mod rotation_support;
mod support;

use rotation_support::{
    assert_all, assert_secret_rotated, cluster, cluster_with_faults, restarts, rotate, secrets, soon, tree_hashes,
};
use serde_json::Value;
use support::{ControlPlane, Fault, eventually};

const SECRET: &str = "[token]\nform = \"secret\"\n";

#[track_caller]
fn migrate(cluster: &ControlPlane, flags: &[&str], code: i32) -> Value {
    let ran = cluster.run(&[&["token", "migrate", "--yes", "-o", "json"], flags].concat());
    assert_eq!(ran.code, code, "{flags:?}\n{}\n{}", ran.stdout, ran.stderr);
    serde_json::from_str(&ran.stdout).unwrap_or_else(|e| panic!("{e}\n{}", ran.stdout))
}

fn token_csv(cluster: &ControlPlane, host: &str) -> String {
    std::fs::read_to_string(cluster.host(host).path("/etc/kubernetes/token.csv")).unwrap()
}

#[test]
fn our_row_gives_way_to_a_secret_and_the_rows_of_others_stay() {
    need_root!();
    let mut cluster = cluster(2, 2);
    cluster.env().write("others.csv", "0123456789abcdef-other,monitor,7\n");
    cluster.run(&["token", "merge", "others.csv"]).expect(0);
    cluster.run(&["apply", "--yes"]).expect(0);
    for host in ["cp-1", "cp-2"] {
        cluster.host(host).must("systemctl restart kube-apiserver");
        eventually("the apiserver to be back", || {
            matches!(cluster.api(host).call("GET", "/readyz", None, None), Ok((200, _))).then_some(())
        });
    }
    let (old, before) = (cluster.token_on("node-1"), restarts(&cluster));
    cluster.set_tables(SECRET, &soon());
    // The form in the inventory alone changes nothing.
    let refused = cluster.run(&["apply", "--yes"]).expect(4);
    assert!(refused.stderr.contains("kubemint token migrate"), "{}", refused.stderr);
    let prober = cluster.probe();
    let document = migrate(&cluster, &[], 0);
    let report = prober.stop();
    assert_eq!((&document["state"], &document["carrier"]), (&"done".into(), &"migration".into()), "{document:#}");
    assert!(report.refusals.is_empty(), "{report:?}");
    let new = assert_secret_rotated(&cluster, &old);
    for host in ["cp-1", "cp-2"] {
        assert_eq!(token_csv(&cluster, host), "0123456789abcdef-other,monitor,7\n");
    }
    assert_all(&cluster, "0123456789abcdef-other", 201);
    let after: Vec<usize> = before.iter().map(|count| count + 1).collect();
    assert_eq!(restarts(&cluster), after);
    assert!(cluster.overlapping_downtimes().is_empty());
    cluster.run(&["apply", "--yes"]).expect(0);
    assert_eq!(token_csv(&cluster, "cp-1"), "0123456789abcdef-other,monitor,7\n");
    assert_eq!(migrate(&cluster, &[], 4)["error"]["code"], "already_migrated");
    rotate(&cluster, &[], 0);
    assert_secret_rotated(&cluster, &new);
    // There is no way back.
    cluster.set_tables("", &soon());
    let refused = cluster.run(&["generate"]).expect(4);
    assert!(refused.stderr.contains("no way back"), "{}", refused.stderr);
}

#[test]
fn an_apiserver_that_takes_no_such_tokens_pauses_it_and_an_abort_leaves_all_as_it_was() {
    need_root!();
    let mut cluster = cluster_with_faults(2, 1);
    let (old, before, tree) = (cluster.token_on("node-1"), restarts(&cluster), tree_hashes(&cluster));
    let state = cluster.env().read("state/token.csv");
    assert_eq!(migrate(&cluster, &[], 2)["error"]["code"], "token_form");
    cluster.set_tables(SECRET, &soon());
    cluster.set_fault("cp-2", Fault::NoBootstrapTokens);
    let document = migrate(&cluster, &[], 5);
    assert_eq!((&document["stage"], &document["reason"]["code"]), (&"accept".into(), &"bootstrap_tokens_off".into()));
    assert_eq!(document["pending"][0]["name"], "cp-2");
    assert!(document["reason"]["hint"].as_str().unwrap().contains("--enable-bootstrap-token-auth"));
    assert_eq!((secrets(&cluster).len(), cluster.token_on("node-1")), (1, old.clone()));
    assert_eq!(rotate(&cluster, &["--abort"], 0)["state"], "aborted");
    assert!(secrets(&cluster).is_empty());
    assert_eq!((restarts(&cluster), tree_hashes(&cluster)), (before, tree));
    assert_eq!(cluster.env().read("state/token.csv"), state);
    assert_all(&cluster, &old, 201);
    // Mended, it goes through; without rows of others the file that is left is empty.
    cluster.mend("cp-2");
    let document = migrate(&cluster, &["--grace", "1h"], 5);
    assert_eq!(document["reason"]["code"], "grace");
    assert_all(&cluster, &cluster.token_on("node-1"), 201);
    assert_all(&cluster, &old, 201);
    rotate(&cluster, &["--retire-anyway"], 0);
    assert_secret_rotated(&cluster, &old);
    assert_eq!(token_csv(&cluster, "cp-1"), "");
}
