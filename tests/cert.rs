//! `kubemint cert …` on the real binary.

#![allow(clippy::unwrap_used, reason = "clippy.toml allows it in test functions only, not in what they call")]

mod support;

use serde_json::Value;
use std::process::Command;
use support::{
    LOCAL_HOSTS, TestEnv, host_of,
    openssl::{KUBELET, join},
    require,
};

fn generated(more: &str) -> TestEnv {
    let env = TestEnv::with_inventory(&format!("{LOCAL_HOSTS}{more}"));
    env.ok(&["generate"]);
    env
}

fn openssl(env: &TestEnv, file: &str, option: &str) -> String {
    let mut command = Command::new(require("openssl"));
    command.args(["x509", "-noout", "-in"]).arg(env.path("state").join(file)).arg(option);
    let said = String::from_utf8(command.output().unwrap().stdout).unwrap();
    said.trim().split_once('=').unwrap().1.to_owned()
}

#[test]
fn list_says_what_openssl_says() {
    let env = generated("");
    let (code, document) = env.json(&["cert", "list"]);
    assert_eq!((code, &document["schema"], &document["version"]), (0, &"kubemint/certificates".into(), &1.into()));
    let rows = document["certificates"].as_array().unwrap();
    assert_eq!(rows.iter().map(|row| row["name"].as_str().unwrap()).collect::<Vec<_>>(), ["ca", "kube-proxy"]);
    for row in rows {
        let file = row["file"].as_str().unwrap();
        assert_eq!(
            row["serial"].as_str().unwrap().trim_start_matches('0'),
            openssl(&env, file, "-serial").trim_start_matches('0')
        );
        let end = openssl(&env, file, "-enddate");
        let end = jiff::fmt::strtime::parse("%b %e %H:%M:%S %Y GMT", &end).unwrap().to_datetime().unwrap();
        assert_eq!(row["not_after"], end.to_zoned(jiff::tz::TimeZone::UTC).unwrap().timestamp().to_string());
        assert_eq!((&row["algorithm"], &row["due"]), (&"ecdsa-p256".into(), &false.into()));
        for key in ["subject", "issuer", "not_before"] {
            assert!(row[key].is_string(), "{key}: {row}");
        }
    }
    // Whole days: a second after it was issued, a year is 364 of them.
    let days = |row: &Value| row["days_left"].as_i64().unwrap();
    assert!([3649, 3650].contains(&days(&rows[0])) && [364, 365].contains(&days(&rows[1])), "{document}");
    assert_eq!(rows[1]["issuer"], rows[0]["subject"]);
    assert_eq!(rows[1]["embedded_in"], serde_json::json!(["kubeconfigs/kube-proxy.kubeconfig"]));
    for file in rows[0]["embedded_in"].as_array().unwrap() {
        assert!(env.path("state").join(file.as_str().unwrap()).exists());
    }
    let text = env.ok(&["cert", "list"]).stdout;
    for row in rows {
        assert!(text.contains(row["serial"].as_str().unwrap()), "{text}");
    }
    assert!(text.contains("365 days left") || text.contains("364 days left"), "{text}");
}

#[test]
fn check_exits_6_only_when_something_is_due() {
    let env = generated("[certificates.kube-proxy]\nvalidity = \"20d\"\n");
    env.ok(&["cert", "list"]);
    env.ok(&["cert", "list", "--check", "19d"]).says(&["0 of 2 due"]);
    env.run(&["cert", "list", "--check", "30d"]).expect(6).says(&["1 of 2 due"]);
    env.run(&["cert", "list", "--check", "481h"]).expect(6);
    let (code, document) = env.json(&["cert", "list", "--check", "4000d"]);
    let due: Vec<_> = document["certificates"].as_array().unwrap().iter().map(|row| &row["due"]).collect();
    assert_eq!((code, due.as_slice()), (6, &[&Value::Bool(true), &Value::Bool(true)][..]));
}

#[test]
fn list_changes_nothing_and_needs_credentials() {
    let env = TestEnv::with_local_hosts();
    env.run(&["cert", "list", "--check", "30d"]).expect(4).says(&["there are no credentials"]);
    assert!(!env.path("state").exists());
    env.ok(&["generate"]);
    let before = env.tree_hash("");
    env.ok(&["cert", "list"]);
    env.ok(&["cert", "list", "--state-dir", "state", "-i", "nowhere.toml"]);
    assert_eq!(env.tree_hash(""), before);
}

#[test]
fn check_has_a_time_of_its_own_and_another_when_asked() {
    let env = generated("[certificates.kube-proxy]\nvalidity = \"29d\"\n");
    env.run(&["cert", "list", "--check"]).expect(6).says(&["1 of 2 due", "reissue kube-proxy"]);
    env.ok(&["cert", "list", "--check", "--within", "28d"]);
    env.run(&["cert", "list", "--check", "--within", "29d"]).expect(6);
    env.run(&["cert", "list", "--within", "29d"]).expect(2);
    // Two times cannot both hold.
    for (check, within) in [("5d", "400d"), ("400d", "5d")] {
        let ran = env.run(&["cert", "list", "--check", check, "--within", within]).expect(2);
        ran.says(&["--check and --within both name a time"]);
    }
    // What is proposed would do it.
    env.run(&["cert", "list", "--check", "700h"]).expect(6).says(&["--if-expiring 700h"]);
    let within = ["cert", "list", "--check", "--within", "60d"];
    env.run(&within).expect(6).says(&["`kubemint reissue kube-proxy --if-expiring 60d`"]);
}

fn of_kind<'a>(host: &'a Value, kind: &str) -> &'a Value {
    let found = host["certificates"].as_array().unwrap();
    found.iter().find(|found| found["certificate"] == kind).unwrap_or_else(|| panic!("no {kind} in {host:#}"))
}

/// The certificates of a host; a day may end between two commands.
fn without_days(host: &Value) -> Vec<Value> {
    let mut found = host["certificates"].as_array().unwrap().clone();
    found.iter_mut().for_each(|one| drop(one.as_object_mut().unwrap().remove("days_left")));
    found
}

#[test]
fn on_hosts_the_ca_and_the_kubelets_own_certificate_fall_due_as_in_status() {
    let env = TestEnv::with_inventory(&format!("{LOCAL_HOSTS}[ca]\nvalidity = \"500d\"\n"));
    env.ok(&["apply", "--yes"]);
    join(&env, "node-1", "365");
    let check = |within: &str| {
        let (code, listed) = env.json(&["cert", "list", "--check", within, "--hosts"]);
        let (_, status) = env.json(&["status", "--within", within]);
        for host in ["cp-1", "node-1", "node-2"] {
            assert_eq!(without_days(host_of(&listed, host)), without_days(host_of(&status, host)), "{within}");
        }
        let due = |kind: &str| of_kind(host_of(&listed, "node-1"), kind)["due"].as_bool().unwrap();
        (code, due("ca"), due("kube-proxy"), due("kubelet-client"))
    };
    assert_eq!(check("30d"), (0, false, false, false));
    // A kubelet has time until a tenth of its certificate's life is left.
    assert_eq!(check("400d"), (6, false, true, false));
    assert_eq!(check("600d"), (6, true, true, false));
    join(&env, "node-1", "0");
    assert_eq!(check("30d"), (6, false, false, true));
    let ran = env.run(&["cert", "list", "--check", "--hosts"]).expect(6);
    let ran = ran.says(&["0 of 2 due", "kubelet-client", "due on 1", "kubemint approve", "kubemint rebootstrap HOST"]);
    assert!(!ran.stdout.contains("kubemint reissue") && !ran.stdout.contains("kubemint apply"), "{}", ran.stdout);
    env.write(format!("hosts/node-1/{KUBELET}"), "nothing of the kind");
    env.ok(&["cert", "list", "--check", "--hosts"]).says(&["could not be read"]);
}

#[test]
fn what_kubeconfigs_and_hosts_hold_is_listed_too() {
    let short = "[certificates.kube-proxy]\nvalidity = \"20d\"\n";
    let env = TestEnv::with_inventory(&format!("{LOCAL_HOSTS}{short}"));
    env.ok(&["apply", "--yes"]);
    // The stored ones are new, those on the hosts are not yet.
    env.write("inventory.toml", LOCAL_HOSTS);
    env.ok(&["generate"]);
    let (code, document) = env.json(&["cert", "list", "--check"]);
    assert_eq!((code, document.get("hosts")), (0, None), "{document}");
    let embedded: Vec<_> = document["embedded"].as_array().unwrap().iter().map(|row| &row["name"]).collect();
    assert_eq!(embedded, ["ca", "ca", "kube-proxy"]);
    assert_eq!(document["embedded"][2]["serial"], document["certificates"][1]["serial"]);
    let before = env.tree_hash("");
    let (code, document) = env.json(&["cert", "list", "--check", "--hosts"]);
    assert_eq!(code, 6, "{document}");
    for host in document["hosts"].as_array().unwrap() {
        let held = of_kind(host, "kube-proxy");
        assert_eq!((&held["due"], held["days_left"].as_i64().unwrap() < 21), (&true.into(), true), "{host}");
        assert_ne!(held["serial"], document["certificates"][1]["serial"]);
    }
    let ran = env.run(&["cert", "list", "--check", "--hosts"]).expect(6);
    ran.says(&["3 hosts: a certificate is due on 3", "days left  DUE", "`kubemint apply` brings the stored ones"]);
    // Without --check what has ended is shown, not what will soon.
    let ran = env.ok(&["cert", "list", "--hosts"]).says(&["3 hosts: a certificate has ended on 0"]);
    assert!(!ran.stdout.contains("due") && !ran.stdout.contains("DUE"), "{}", ran.stdout);
    assert_eq!(env.tree_hash(""), before);
    env.ok(&["distribute"]);
    env.ok(&["cert", "list", "--check", "--hosts"]).says(&["due on 0"]);
    std::fs::remove_dir_all(env.path("hosts/node-1/etc")).unwrap();
    std::fs::write(env.path("hosts/node-1/etc"), "in the way").unwrap();
    let (_, document) = env.json(&["cert", "list", "--check", "--hosts", "--limit", "node-2"]);
    assert_eq!(document["hosts"].as_array().unwrap().len(), 1);
}
