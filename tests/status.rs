//! `kubemint status` on the real binary: every host read back, nothing changed.

#![allow(clippy::unwrap_used, reason = "clippy.toml allows it in test functions only, not in what they call")]

mod support;

use std::{fs, os::unix::fs::symlink};
use support::{LOCAL_HOSTS, TestEnv};

const TARGET: &str = "hosts/node-1/etc/kubernetes/bootstrap.kubeconfig";

fn applied() -> TestEnv {
    let env = TestEnv::with_local_hosts();
    env.ok(&["apply"]);
    env
}

#[test]
fn before_generate_there_is_nothing_to_compare_with() {
    let env = TestEnv::with_local_hosts();
    let before = env.tree_hash("");
    env.run(&["status", "--exit-code"]).expect(4).says(&["there are no credentials", "kubemint generate"]);
    assert_eq!(env.tree_hash(""), before);
}

#[test]
fn hosts_in_order_are_0_with_and_without_exit_code() {
    let env = applied();
    let before = env.tree_hash("");
    env.ok(&["status"]).says(&["node-2  ok      2 of 2 files", "3 ok, 0 drift"]);
    let (code, document) = env.json(&["status", "--exit-code"]);
    assert_eq!((code, &document["schema"], &document["version"]), (0, &"kubemint/status".into(), &1.into()));
    assert_eq!(document["summary"], serde_json::json!({ "hosts": 3, "ok": 3, "drift": 0, "failed": 0, "skipped": 0 }));
    assert_eq!(document["hosts"][0]["files"][0]["state"], "same");
    assert!(document["hosts"][0]["clock_skew_seconds"].as_i64().unwrap().abs() < 60, "{document}");
    assert_eq!(env.tree_hash(""), before);
}

#[test]
fn each_kind_of_drift_is_named_and_is_6_when_asked_for() {
    type Spoil = fn(&TestEnv);
    let kinds: [(&str, &str, Spoil); 6] = [
        ("differs", "differs", |env| env.write(TARGET, "x")),
        ("differs", "differs", |env| env.write(TARGET, env.read(TARGET) + "\n")),
        ("attributes", "owner or mode (0644 ", |env| env.set_mode(TARGET, 0o644)),
        ("missing", "missing", |env| env.remove(TARGET)),
        ("missing", "missing", |env| fs::remove_dir_all(env.path("hosts/node-1")).unwrap()),
        ("refused", "is a symbolic link", |env| {
            env.remove(TARGET);
            symlink("elsewhere", env.path(TARGET)).unwrap();
        }),
    ];
    for (state, words, spoil) in kinds {
        let env = applied();
        spoil(&env);
        let before = env.tree_hash("");
        let ran = env.run(&["status", "--exit-code"]).expect(6).says(&["node-1  drift", words, "2 ok, 1 drift"]);
        // The root of a local host stands in a path once.
        assert!(!ran.stdout.contains("node-1/tmp/"), "{}", ran.stdout);
        let (code, document) = env.json(&["status"]);
        assert_eq!((code, &document["hosts"][1]["files"][0]["state"]), (0, &state.into()), "{document:#}");
        assert_eq!(document["hosts"][1]["status"], "drift");
        assert_eq!(env.tree_hash(""), before, "{state}");
        env.ok(&["status", "--exit-code", "--limit", "!node-1"]);
    }
}

#[test]
fn a_credential_of_the_last_generation_is_drift_with_what_differs() {
    let env = applied();
    env.write("inventory.toml", LOCAL_HOSTS.replace("172.20.0.113", "172.20.0.114"));
    env.ok(&["generate"]);
    let ran = env.run(&["status", "--exit-code"]).expect(6);
    ran.says(&["[server https://172.20.0.113:6443, should be https://172.20.0.114:6443]", "(generation 2)"]);
    env.ok(&["apply"]);
    env.ok(&["status", "--exit-code"]);
}

#[test]
fn what_apply_would_make_anew_is_noted() {
    let env = applied();
    env.write("inventory.toml", LOCAL_HOSTS.replace("172.20.0.113", "172.20.0.114"));
    let ran = env.run(&["status", "--exit-code"]).expect(6);
    ran.says(&["pending: rebuild bootstrap.kubeconfig", "kubemint apply"]);
    let (_, document) = env.json(&["status"]);
    let pending: Vec<_> = document["pending"].as_array().unwrap().iter().map(|step| &step["artifact"]).collect();
    assert_eq!(pending, ["bootstrap.kubeconfig", "kube-proxy.kubeconfig"]);
}

#[test]
fn what_only_a_writer_can_be_asked_for_is_no_flag_of_status() {
    let env = applied();
    env.run(&["status", "--replace-foreign"]).expect(2).says(&["--replace-foreign"]);
    env.ok(&["plan", "--replace-foreign"]);
}
