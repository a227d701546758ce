//! `kubemint verify` on the real binary: every check can fail, alone, and says how to mend it.
//!
//! Files are replaced through the store itself, so that state.json vouches for what is wrong: a file that merely
//! changed is damage (exit 4) before any check runs.

#![allow(clippy::unwrap_used, reason = "clippy.toml allows it in test functions only, not in what they call")]

mod support;

use kubemint::{
    clock::SystemClock,
    inventory::{Location, parse_inventory},
    pki::CATALOG,
    secret::Secret,
    store::{Store, StoredFile},
    workflow::verify::{CHECKS, LocalSet, run_checks},
};
use serde_json::Value;
use support::{LOCAL_HOSTS, TestEnv};

fn generated() -> TestEnv {
    let env = TestEnv::with_local_hosts();
    env.ok(&["generate"]);
    env
}

fn replace(env: &TestEnv, file: StoredFile, content: &str) {
    let store = Store::at(&env.path("state"));
    let lock = store.lock().unwrap();
    let snapshot = store.load().unwrap();
    let state = snapshot.state.clone().unwrap();
    store.commit(&lock, &snapshot, &[(file, Secret::from(content))], state, &SystemClock).unwrap();
}

/// The checks that fail, with what they say.
fn failing(env: &TestEnv) -> Vec<(String, String)> {
    let before = env.tree_hash("");
    let (code, document) = env.json(&["verify"]);
    assert_eq!((&document["schema"], &document["version"]), (&"kubemint/verify".into(), &1.into()));
    assert_eq!(document["checks"].as_array().unwrap().len(), CHECKS.len());
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let checks = document["checks"].as_array().unwrap().iter().filter(|check| check["ok"] == false);
    let failing: Vec<_> = checks.map(|check| (text(&check["check"]), text(&check["detail"]))).collect();
    assert_eq!((code, document["ok"] == true), if failing.is_empty() { (0, true) } else { (6, false) }, "{document}");
    let said = env.run(&["verify"]).expect(code);
    for (check, detail) in &failing {
        assert!(said.stdout.contains(detail.as_str()) && said.stdout.contains(&format!("hint ({check}): ")));
    }
    if env.path("state/token.csv").exists() {
        env.assert_no_secret(&(said.stdout + &document.to_string()));
    }
    assert_eq!(env.tree_hash(""), before);
    failing
}

#[test]
fn a_fresh_set_passes_every_check() {
    let env = generated();
    assert_eq!(failing(&env), []);
    env.ok(&["apply"]);
    assert_eq!(failing(&env), []);
}

#[test]
fn every_check_that_looks_at_a_file_can_fail_alone() {
    let other = generated();
    let foreign = |file: StoredFile| other.read(format!("state/{file}"));
    let broken = |file: StoredFile, content: &dyn Fn(&str) -> String| {
        let env = generated();
        replace(&env, file, &content(&env.read(format!("state/{file}"))));
        failing(&env)
    };
    let token_of_other = foreign(StoredFile::TokenCsv)[..32].to_owned();
    type Case<'a> = (StoredFile, &'a dyn Fn(&str) -> String, &'a [(&'a str, &'a str)]);
    let cases: [Case; 9] = [
        (StoredFile::CaKey, &|_| foreign(StoredFile::CaKey), &[("CA key", "does not belong")]),
        (
            StoredFile::CaCertificate,
            &|_| foreign(StoredFile::KubeProxyCertificate),
            &[
                ("CA certificate", "is not a CA"),
                ("CA key", "does not belong"),
                ("kube-proxy certificate", ""),
                ("bootstrap.kubeconfig", "its CA is not ca.pem"),
                ("kube-proxy.kubeconfig", "its CA is not ca.pem"),
            ],
        ),
        (
            StoredFile::TokenCsv,
            &|text| text.replace('\n', ",\n"),
            &[("token.csv", "line 1: only column 4 holds groups")],
        ),
        (StoredFile::TokenCsv, &|text| text.replace("10001", "7"), &[("token row", "uid or groups differ")]),
        (
            StoredFile::KubeProxyKey,
            &|_| foreign(StoredFile::KubeProxyKey),
            &[("kube-proxy key", "certs/kube-proxy-key.pem: ")],
        ),
        (
            StoredFile::KubeProxyCertificate,
            &|_| foreign(StoredFile::KubeProxyCertificate),
            &[
                ("kube-proxy certificate", ""),
                ("kube-proxy key", "does not belong"),
                ("kube-proxy.kubeconfig", "its certificate is not certs/kube-proxy.pem"),
            ],
        ),
        (
            StoredFile::BootstrapKubeconfig,
            &|text| {
                let at = text.find("token: ").unwrap() + "token: ".len();
                let at = at + usize::from(&text[at..=at] == "\"");
                format!("{}{token_of_other}{}", &text[..at], &text[at + 32..])
            },
            &[("bootstrap.kubeconfig", "is not in token.csv")],
        ),
        (
            StoredFile::BootstrapKubeconfig,
            &|text| text.replace("current-context: default", "current-context: other"),
            &[("bootstrap.kubeconfig", "")],
        ),
        (
            StoredFile::KubeProxyKubeconfig,
            &|text| text.replace("172.20.0.113", "172.20.0.114"),
            &[("kube-proxy.kubeconfig", "it points to https://172.20.0.114:6443, not https://172.20.0.113:6443")],
        ),
    ];
    for (file, change, expected) in cases {
        let found = broken(file, change);
        let names: Vec<_> = found.iter().map(|(check, _)| check.as_str()).collect();
        assert_eq!(names, expected.iter().map(|(check, _)| *check).collect::<Vec<_>>(), "{file}: {found:?}");
        for ((_, detail), (_, words)) in found.iter().zip(expected) {
            assert!(detail.contains(words), "{file}: {detail:?} instead of {words:?}");
        }
    }
}

#[test]
fn what_the_inventory_now_asks_for_differently_is_found() {
    let table = |line: &str| format!("{LOCAL_HOSTS}{line}\n");
    for (text, checks) in [
        (LOCAL_HOSTS.replace("172.20.0.113", "172.20.0.114"), &["bootstrap.kubeconfig", "kube-proxy.kubeconfig"][..]),
        (table("[token]\ngroups = [\"a\"]"), &["token row"]),
        (table("[certificates.kube-proxy]\norganization = \"x\""), &["kube-proxy certificate"]),
    ] {
        let env = generated();
        env.write("inventory.toml", text);
        assert_eq!(failing(&env).iter().map(|(check, _)| check.as_str()).collect::<Vec<_>>(), checks);
        env.ok(&["generate"]);
        assert_eq!(failing(&env), []);
    }
}

#[test]
fn time_alone_makes_the_certificates_fail() {
    let env = generated();
    let location = Location { path: "inventory.toml".into(), folder: env.dir().to_owned(), home: None };
    let inventory = parse_inventory(LOCAL_HOSTS, &location).unwrap();
    let snapshot = Store::at(&env.path("state")).load().unwrap();
    let at = |days: i64| {
        let now = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24 * days);
        let set = LocalSet { inventory: &inventory, snapshot: &snapshot, wide_modes: Vec::new(), now };
        let findings = run_checks(&set).into_iter().filter(|finding| !finding.ok);
        findings.map(|finding| finding.check).collect::<Vec<_>>()
    };
    assert_eq!(at(0), [""; 0]);
    let leaf = at(366);
    assert!(leaf.contains(&"kube-proxy certificate") && !leaf.contains(&"CA certificate"), "{leaf:?}");
    assert!(at(3651).contains(&"CA certificate"));
    assert!(at(-1).contains(&"CA certificate"));
    assert_eq!(CATALOG.len(), 1, "a new certificate needs a check of its own");
}

#[test]
fn the_pair_that_no_node_gets_may_have_ended() {
    let env = TestEnv::with_inventory(&format!("{LOCAL_HOSTS}[certificates.kube-proxy]\nvalidity = \"20d\"\n"));
    env.ok(&["generate"]);
    let text = format!("{LOCAL_HOSTS}[certificates.kube-proxy]\nper_node = true\n");
    let failing_at = |text: &str, days: i64| {
        let location = Location { path: "inventory.toml".into(), folder: env.dir().to_owned(), home: None };
        let inventory = parse_inventory(text, &location).unwrap();
        let snapshot = Store::at(&env.path("state")).load().unwrap();
        let now = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24 * days);
        let set = LocalSet { inventory: &inventory, snapshot: &snapshot, wide_modes: Vec::new(), now };
        let findings = run_checks(&set).into_iter().filter(|finding| !finding.ok);
        findings.map(|finding| finding.check).collect::<Vec<_>>()
    };
    assert_eq!(failing_at(LOCAL_HOSTS, 21), ["kube-proxy certificate", "kube-proxy.kubeconfig"]);
    env.write("inventory.toml", &text);
    env.ok(&["generate"]);
    assert_eq!(failing_at(&text, 21), [""; 0]);
    assert_eq!(failing_at(&text, 366), ["node certificates"]);
}

#[test]
fn without_a_state_directory_it_says_what_is_missing_and_makes_none() {
    let env = TestEnv::with_local_hosts();
    env.run(&["verify"]).expect(4).says(&["there are no credentials in", "kubemint generate"]);
    assert!(!env.path("state").exists());
}

#[test]
fn foreign_rows_that_are_merely_unwise_are_no_fault_of_the_set() {
    let env = generated();
    env.write("old.csv", "adminadminadminadmin,admin,1,\"system:masters\"\n");
    env.ok(&["token", "merge", "old.csv"]);
    assert_eq!(failing(&env), []);
}
