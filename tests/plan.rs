//! `kubemint plan` on the real binary: what would change, in words that give nothing away, and nothing changed.

#![allow(clippy::unwrap_used, reason = "clippy.toml allows it in test functions only, not in what they call")]

mod support;

use std::os::unix::fs::symlink;
use support::{LOCAL_HOSTS, TestEnv};

/// Runs plan as text and as JSON, and holds both to changing nothing and saying no secret.
fn plan(env: &TestEnv) -> (String, serde_json::Value) {
    let before = env.tree_hash("");
    let text = env.run(&["plan", "-vv"]);
    let (code, document) = env.json(&["plan"]);
    assert_eq!(code, text.code);
    assert_eq!((&document["schema"], &document["version"]), (&"kubemint/plan".into(), &1.into()));
    assert_eq!(env.tree_hash(""), before, "plan changed something");
    let said = text.stdout + &text.stderr;
    if env.path("state/token.csv").exists() {
        env.assert_no_secret(&said);
        env.assert_no_secret(&document.to_string());
    }
    (said, document)
}

#[test]
fn before_anything_exists_it_shows_what_would_be_made_and_makes_nothing() {
    let env = TestEnv::with_local_hosts();
    let (text, document) = plan(&env);
    assert!(text.contains("ca                     create "), "{text}");
    assert!(!env.path("state").exists() && !env.path("hosts").exists());
    let summary =
        serde_json::json!({ "hosts": 3, "changing": 3, "unchanged": 0, "blocked": 0, "failed": 0, "skipped": 0 });
    assert_eq!(document["summary"], summary);
    let actions: Vec<_> = document["hosts"][0]["files"].as_array().unwrap().iter().map(|f| &f["action"]).collect();
    assert_eq!(actions, ["create", "create", "create"]);
}

#[test]
fn after_apply_there_is_nothing_to_change() {
    let env = TestEnv::with_local_hosts();
    env.ok(&["apply"]);
    let (text, document) = plan(&env);
    assert!(text.contains("3 hosts: 0 to change, 3 unchanged"), "{text}");
    assert_eq!(text.matches("  unchanged ").count(), 7, "{text}");
    assert_eq!(document["summary"]["unchanged"], 3);
}

#[test]
fn another_server_is_shown_old_and_new_on_every_file_it_stands_in() {
    let env = TestEnv::with_local_hosts();
    env.ok(&["apply"]);
    env.write("inventory.toml", LOCAL_HOSTS.replace("172.20.0.113", "172.20.0.114"));
    let (text, document) = plan(&env);
    let change = "            server https://172.20.0.113:6443 -> https://172.20.0.114:6443";
    assert_eq!(text.matches(change).count(), 6, "{text}");
    assert_eq!(document["hosts"][0]["files"][2]["action"], "unchanged", "token.csv holds no server");
    let file = &document["hosts"][1]["files"][0];
    assert_eq!((&file["action"], &file["state"]), (&"update".into(), &"differs".into()));
    assert_eq!(file["found"]["server"], "https://172.20.0.113:6443");
    assert_eq!(file["wanted"]["server"], "https://172.20.0.114:6443");
}

#[test]
fn another_token_is_shown_by_fingerprints() {
    let env = TestEnv::with_local_hosts();
    env.ok(&["apply"]);
    let fingerprint = || env.json(&["token", "show"]).1["fingerprint"].as_str().unwrap().to_owned();
    let old = fingerprint();
    env.remove("state/token.csv");
    env.remove("state/kubeconfigs/bootstrap.kubeconfig");
    env.ok(&["generate"]);
    let new = fingerprint();
    let (text, _) = plan(&env);
    assert_eq!(text.matches(&format!("            token {old} -> {new}")).count(), 3, "{text}");
    let rows = format!("            rows kubelet-bootstrap={old} -> kubelet-bootstrap={new}");
    assert_eq!(text.matches(&rows).count(), 1, "{text}");
}

#[test]
fn another_certificate_is_shown_by_serial_and_date() {
    let env = TestEnv::with_local_hosts();
    env.ok(&["apply"]);
    let certificate = || env.json(&["cert", "list"]).1["certificates"][1].clone();
    let old = certificate();
    env.write("inventory.toml", format!("{LOCAL_HOSTS}[certificates.kube-proxy]\nvalidity = \"30d\"\n"));
    env.ok(&["generate"]);
    let new = certificate();
    let (text, _) = plan(&env);
    let day = |certificate: &serde_json::Value| certificate["not_after"].as_str().unwrap()[..10].to_owned();
    assert_eq!(text.matches(&format!("valid until {} -> {}", day(&old), day(&new))).count(), 3, "{text}");
    let serial = |certificate: &serde_json::Value| certificate["serial"].as_str().unwrap().to_owned();
    assert_eq!(text.matches(&format!("certificate {} -> {}", serial(&old), serial(&new))).count(), 3, "{text}");
}

#[test]
fn a_mode_and_a_foreign_content_are_shown_as_what_they_are() {
    let env = TestEnv::with_local_hosts();
    env.ok(&["apply"]);
    env.set_mode("hosts/node-1/etc/kubernetes/bootstrap.kubeconfig", 0o640);
    env.write("hosts/node-2/etc/kubernetes/kube-proxy.kubeconfig", "somebody else's");
    let (text, document) = plan(&env);
    assert!(text.contains("repair") && text.contains("0640 "), "{text}");
    assert!(!text.contains("somebody else's"), "{text}");
    assert_eq!(document["hosts"][1]["files"][0]["state"], "attributes");
    assert_eq!(document["hosts"][2]["files"][1]["state"], "differs");
    assert_eq!(document["summary"]["changing"], 2);
}

#[test]
fn a_host_that_would_refuse_is_counted_and_ends_in_exit_3() {
    let env = TestEnv::with_local_hosts();
    env.ok(&["apply"]);
    let target = "hosts/node-1/etc/kubernetes/kube-proxy.kubeconfig";
    env.remove(target);
    symlink("/dev/null", env.path(target)).unwrap();
    env.run(&["plan"]).expect(3);
    let (text, document) = plan(&env);
    assert!(text.contains("1 would be refused"), "{text}");
    assert!(text.contains(&format!("{} is a symbolic link", env.path(target).display())), "{text}");
    assert_eq!(document["hosts"][1]["files"][1]["refusal"]["code"], "target_is_symlink");
    assert_eq!((&document["summary"]["blocked"], &document["summary"]["unchanged"]), (&1.into(), &2.into()));
}

#[test]
fn limit_reads_only_what_it_names() {
    let env = TestEnv::with_local_hosts();
    let (_, document) = env.json(&["plan", "--limit", "node-2"]);
    assert_eq!((&document["summary"]["hosts"], &document["hosts"][0]["name"]), (&1.into(), &"node-2".into()));
}
