//! `kubemint status`: when certificates on hosts end, which token they hold, and the same for Prometheus.

#![allow(clippy::unwrap_used, reason = "clippy.toml allows it in test functions only, not in what they call")]

mod support;

use serde_json::Value;
use std::{collections::BTreeMap, process::Command};
use support::{
    LOCAL_HOSTS, TestEnv, host_of,
    openssl::{KUBELET, join},
    require,
};

fn applied() -> TestEnv {
    let env = TestEnv::with_local_hosts();
    env.ok(&["apply"]);
    env
}

fn openssl(env: &TestEnv, line: &str) -> String {
    let ran = Command::new(require("openssl")).args(line.split(' ')).current_dir(env.dir()).output().unwrap();
    assert!(ran.status.success(), "{line}: {ran:?}");
    String::from_utf8(ran.stdout).unwrap().trim().to_owned()
}

fn certificate<'a>(document: &'a Value, host: &str, name: &str) -> &'a Value {
    let found = host_of(document, host)["certificates"].as_array().unwrap();
    found.iter().find(|found| found["certificate"] == name).unwrap_or_else(|| panic!("no {name} in {found:#?}"))
}

fn seconds(openssl_date: &str) -> i64 {
    let (_, date) = openssl_date.split_once('=').unwrap();
    let parsed = Command::new("date").args(["-u", "+%s", "-d", date]).output().unwrap();
    String::from_utf8(parsed.stdout).unwrap().trim().parse().unwrap()
}

fn at(value: &Value) -> i64 {
    value.as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_second()
}

#[test]
fn certificates_are_as_openssl_reads_them_and_no_key_is_said() {
    let env = applied();
    join(&env, "node-1", "365");
    let (code, document) = env.json(&["status", "--exit-code"]);
    assert_eq!(code, 0, "{document:#}");
    for (host, name, file) in [
        ("node-1", "ca", "state/ca.pem"),
        ("node-1", "kube-proxy", "state/certs/kube-proxy.pem"),
        ("node-2", "kube-proxy", "state/certs/kube-proxy.pem"),
        ("node-1", "kubelet-client", "c.pem"),
    ] {
        let found = certificate(&document, host, name);
        assert_eq!(found["state"], "read");
        let serial = openssl(&env, &format!("x509 -in {file} -noout -serial"));
        assert_eq!(format!("serial={}", found["serial"].as_str().unwrap()), serial, "{name}");
        for (key, flag) in [("not_before", "-startdate"), ("not_after", "-enddate")] {
            let date = openssl(&env, &format!("x509 -in {file} -noout {flag}"));
            assert_eq!(at(&found[key]), seconds(&date), "{name} {key}");
        }
        assert_eq!(found["due"], false, "{found:#}");
    }
    let kubelet = certificate(&document, "node-1", "kubelet-client");
    assert_eq!(kubelet["common_name"], "system:node:node-1");
    assert!([364, 365].contains(&kubelet["days_left"].as_i64().unwrap()), "{kubelet}");
    assert!(kubelet["path"].as_str().unwrap().ends_with(KUBELET));
    let none = certificate(&document, "node-2", "kubelet-client");
    assert_eq!((&none["state"], none.get("not_after")), (&"absent".into(), None));
    // Directories of this machine run no services.
    assert_eq!(host_of(&document, "node-1")["services"], serde_json::json!([]));
    let said = document.to_string();
    env.assert_no_secret(&said);
    let key = env.read("k.pem");
    assert!(key.lines().filter(|line| !line.starts_with('-')).all(|line| !said.contains(line)));
}

#[test]
fn what_ends_within_the_time_is_due_and_is_6_when_asked_for() {
    let env = applied();
    env.ok(&["status", "--exit-code"]).says(&["3 ok, 0 drift, 0 could not be read (generation 1)"]);
    env.ok(&["status", "--within", "400d"]).says(&["kube-proxy's certificate ends in 36", "with something due"]);
    let ran = env.run(&["status", "--within", "400d", "--exit-code"]).expect(6);
    ran.says(&["node-2  ok", "3 ok, 0 drift"]);
    let ran = env.run(&["status", "--within", "4000d", "--exit-code", "--limit", "node-1"]).expect(6);
    ran.says(&["the CA ends in", "1 with something due"]);
    for bad in ["soon", "0s", "1mo", "-1d"] {
        env.run(&["status", &format!("--within={bad}")]).expect(2).says(&["--within"]);
    }
}

#[test]
fn what_is_due_on_many_hosts_is_told_by_its_kind() {
    let env = TestEnv::with_inventory(&LOCAL_HOSTS.replace("[1-2]", "[1-60]"));
    env.ok(&["apply"]);
    let ran = env.ok(&["status", "--within", "400d"]);
    let lines: Vec<_> = ran.stdout.lines().collect();
    assert_eq!(
        lines,
        [
            "kube-proxy's certificate ends soon, or has ended: cp-1, node-1, node-2 and 58 more",
            "",
            "61 hosts: 61 ok, 0 drift, 0 could not be read, 61 with something due (generation 1)",
        ]
    );
}

#[test]
fn a_kubelet_is_given_its_time_to_renew_by_itself() {
    let env = applied();
    // Ten days of ten left: it renews when one to three are. A fixed month would always call that due.
    join(&env, "node-1", "10");
    env.ok(&["status", "--exit-code"]);
    join(&env, "node-1", "0");
    let ran = env.run(&["status", "--exit-code"]).expect(6);
    ran.says(&["node-1", "the kubelet's own certificate end", "1 with something due"]);
    env.write(format!("hosts/node-1/{KUBELET}"), "nothing of the kind");
    env.ok(&["status", "--exit-code"]);
    env.ok(&["status", "-v"]).says(&["its certificate could not be read"]);
}

#[test]
fn a_certificate_that_drifted_is_read_on_the_host() {
    let env = applied();
    let before = openssl(&env, "x509 -in state/certs/kube-proxy.pem -noout -serial");
    env.remove("state/certs/kube-proxy.pem");
    env.remove("state/certs/kube-proxy-key.pem");
    env.ok(&["generate"]);
    let (code, document) = env.json(&["status", "--exit-code"]);
    assert_eq!((code, &host_of(&document, "node-1")["status"]), (6, &"drift".into()));
    let found = certificate(&document, "node-1", "kube-proxy");
    assert_eq!(format!("serial={}", found["serial"].as_str().unwrap()), before);
}

#[test]
fn the_token_of_each_file_is_told_by_its_generation() {
    let env = applied();
    let generations = || {
        let (_, document) = env.json(&["status"]);
        let hosts = document["hosts"].as_array().unwrap().iter();
        let of = |host: &Value| {
            let files = host["tokens"].as_array().unwrap().iter();
            files.map(|file| file["generation"].as_str().unwrap().to_owned()).collect::<Vec<_>>().join(" ")
        };
        hosts.map(of).collect::<Vec<_>>()
    };
    assert_eq!(generations(), ["current current", "current", "current"]);
    let path = "hosts/node-1/etc/kubernetes/bootstrap.kubeconfig";
    let token = env.read("state/token.csv")[..32].to_owned();
    env.write(path, env.read(path).replace(&token, &"0".repeat(32)));
    env.remove("hosts/node-2/etc/kubernetes/bootstrap.kubeconfig");
    let own = "hosts/cp-1/etc/kubernetes/token.csv";
    env.write(own, format!("{},kubelet-bootstrap,10001\n", "1".repeat(32)));
    assert_eq!(generations(), ["current other", "other", "absent"]);
    // Our own row among more of ours.
    env.write(own, format!("{token},kubelet-bootstrap,10001\n{},kubelet-bootstrap,10001\n", "1".repeat(32)));
    assert_eq!(generations()[0], "current current");
}

/// Labels and value.
type Sample = (BTreeMap<String, String>, f64);

/// A strict reader of the text format: samples by name and labels, each family once, with help and type before it.
fn parse_metrics(text: &str) -> BTreeMap<String, Vec<Sample>> {
    assert!(text.ends_with('\n') && !text.contains('\r'));
    let mut families: BTreeMap<String, Vec<Sample>> = BTreeMap::new();
    let mut current = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            assert!(!help.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{line}");
            assert_eq!(lines.next().unwrap(), format!("# TYPE {name} gauge"));
            assert!(families.insert(name.to_owned(), Vec::new()).is_none(), "{name} twice");
            current = name.to_owned();
            continue;
        }
        let rest = line.strip_prefix(current.as_str()).unwrap_or_else(|| panic!("{line} is not of {current}"));
        let mut labels = BTreeMap::new();
        let mut rest = rest;
        if let Some(mut inner) = rest.strip_prefix('{') {
            loop {
                let (name, value) = inner.split_once("=\"").unwrap();
                let (mut text, mut chars) = (String::new(), value.char_indices());
                let end = loop {
                    match chars.next().unwrap() {
                        (_, '\\') => match chars.next().unwrap().1 {
                            'n' => text.push('\n'),
                            c @ ('\\' | '"') => text.push(c),
                            c => panic!("\\{c} in {line}"),
                        },
                        (at, '"') => break at + 1,
                        (_, c) => text.push(c),
                    }
                };
                assert!(labels.insert(name.to_owned(), text).is_none(), "{line}");
                match value[end..].split_at(1) {
                    (",", more) => inner = more,
                    ("}", more) => {
                        rest = more;
                        break;
                    }
                    _ => panic!("{line}"),
                }
            }
        }
        let value: f64 = rest.strip_prefix(' ').unwrap().parse().unwrap();
        let family = families.get_mut(&current).unwrap();
        assert!(family.iter().all(|(known, _)| *known != labels), "{line} twice");
        family.push((labels, value));
    }
    families
}

fn of<'a>(samples: &'a [Sample], labels: &[(&str, &str)]) -> Option<&'a f64> {
    let has = |known: &BTreeMap<String, String>| labels.iter().all(|(k, v)| known.get(*k).is_some_and(|of| of == v));
    samples.iter().find(|(known, _)| has(known)).map(|(_, value)| value)
}

#[test]
fn prometheus_gets_all_of_it_in_its_own_format() {
    // A root that has to be escaped.
    let odd = "[[hosts]]\nname = \"odd\"\nconnection = \"local\"\nroot = 'ho\"st\\s/odd'\n";
    let env = TestEnv::with_inventory(&format!("{LOCAL_HOSTS}{odd}"));
    env.ok(&["apply"]);
    join(&env, "node-1", "365");
    env.remove("hosts/node-1/etc/kubernetes/kube-proxy.kubeconfig");
    env.write("metrics.prom", "what was there before");
    env.set_mode("metrics.prom", 0o600);
    let ran = env.ok(&["status", "--prometheus", "metrics.prom"]);
    assert!(ran.stdout.contains("1 drift"), "{}", ran.stdout);
    assert_eq!(env.mode("metrics.prom"), 0o644);
    let text = env.read("metrics.prom");
    env.assert_no_secret(&text);
    let metrics = parse_metrics(&text);
    let names: Vec<_> = metrics.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "kubemint_certificate_not_after_seconds",
            "kubemint_file_state",
            "kubemint_host_up",
            "kubemint_service_stale",
            "kubemint_status_timestamp_seconds",
            "kubemint_token_generation_current",
        ]
    );
    assert_eq!(metrics["kubemint_host_up"].len(), 4);
    assert!(metrics["kubemint_host_up"].iter().all(|(_, value)| *value == 1.0));
    let files = &metrics["kubemint_file_state"];
    assert_eq!(of(files, &[("host", "node-1"), ("state", "missing")]), Some(&1.0));
    let (escaped, _) = files.iter().find(|(labels, _)| labels["host"] == "odd").unwrap();
    assert!(escaped["path"].contains(r#"/ho"st\s/odd/etc/"#), "{escaped:?}");
    let end = seconds(&openssl(&env, "x509 -in c.pem -noout -enddate"));
    let ends = &metrics["kubemint_certificate_not_after_seconds"];
    #[allow(clippy::cast_precision_loss)]
    let end = end as f64;
    assert_eq!(of(ends, &[("host", "node-1"), ("certificate", "kubelet-client")]), Some(&end));
    assert_eq!(of(ends, &[("host", "node-2"), ("certificate", "kubelet-client")]), None);
    assert_eq!(of(&metrics["kubemint_token_generation_current"], &[("host", "node-1")]), Some(&1.0));
    assert!(metrics["kubemint_service_stale"].is_empty());
    // The tool of Prometheus itself, where there is one.
    if let Ok(mut promtool) = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
    {
        std::io::Write::write_all(&mut promtool.stdin.take().unwrap(), text.as_bytes()).unwrap();
        let said = promtool.wait_with_output().unwrap();
        assert!(said.status.success(), "{said:?}");
    }
    // Nothing is left beside it.
    let names = env.files("").into_iter().filter(|name| name.to_string_lossy().contains(".kubemint-"));
    assert!(names.count() == 0);
}

#[test]
fn a_host_that_cannot_be_read_is_down_for_prometheus() {
    let unreachable = "[[hosts]]\nname = \"gone\"\naddress = \"127.0.0.1\"\nport = 1\nuser = \"root\"\n";
    let env = TestEnv::with_inventory(&format!("{LOCAL_HOSTS}\n{unreachable}"));
    env.ok(&["generate"]);
    env.write("home/.ssh/known_hosts", "");
    env.run(&["status", "--exit-code", "--prometheus", "m.prom", "--limit", "gone,node-1"]).expect(3);
    let metrics = parse_metrics(&env.read("m.prom"));
    assert_eq!(of(&metrics["kubemint_host_up"], &[("host", "gone")]), Some(&0.0));
    assert_eq!(of(&metrics["kubemint_host_up"], &[("host", "node-1")]), Some(&1.0));
    assert_eq!(metrics["kubemint_host_up"].len(), 2);
    assert_eq!(of(&metrics["kubemint_file_state"], &[("host", "gone")]), None);
    assert_eq!(of(&metrics["kubemint_token_generation_current"], &[("host", "node-1")]), Some(&0.0));
}

#[test]
fn a_file_that_cannot_be_written_is_said_before_any_host_is_asked() {
    let env = applied();
    for file in ["none/m.prom", "state", "inventory.toml/m.prom"] {
        let before = env.tree_hash("");
        let ran = env.run(&["status", "--prometheus", file]).expect(2).says(&[
            "cannot write",
            file,
            "name a file in a directory you may",
        ]);
        assert!(ran.stdout.is_empty(), "{}", ran.stdout);
        let (code, document) = env.json(&["status", "--prometheus", file]);
        assert_eq!((code, &document["error"]["code"]), (2, &"file_unwritable".into()), "{document}");
        assert_eq!(env.tree_hash(""), before);
    }
}
