//! `kubemint apply` on the real binary, with hosts that are directories of this machine.

#![allow(clippy::unwrap_used, reason = "clippy.toml allows it in test functions only, not in what they call")]

mod support;

use serde_json::Value;
use std::{
    fs,
    os::unix::fs::{MetadataExt, symlink},
    process::{Command, Stdio},
    time::{Duration, Instant},
};
use support::{LOCAL_HOSTS, Ran, TestEnv, require};

/// What each host of [`LOCAL_HOSTS`] gets, with the file of the state directory that it equals.
const INSTALLED: [(&str, &str); 7] = [
    ("cp-1/etc/kubernetes/bootstrap.kubeconfig", "kubeconfigs/bootstrap.kubeconfig"),
    ("cp-1/etc/kubernetes/kube-proxy.kubeconfig", "kubeconfigs/kube-proxy.kubeconfig"),
    ("cp-1/etc/kubernetes/token.csv", "token.csv"),
    ("node-1/etc/kubernetes/bootstrap.kubeconfig", "kubeconfigs/bootstrap.kubeconfig"),
    ("node-1/etc/kubernetes/kube-proxy.kubeconfig", "kubeconfigs/kube-proxy.kubeconfig"),
    ("node-2/etc/kubernetes/bootstrap.kubeconfig", "kubeconfigs/bootstrap.kubeconfig"),
    ("node-2/etc/kubernetes/kube-proxy.kubeconfig", "kubeconfigs/kube-proxy.kubeconfig"),
];

fn keys(value: &Value) -> Vec<&str> {
    let mut keys: Vec<_> = value.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

fn host<'a>(report: &'a Value, name: &str) -> &'a Value {
    report["hosts"].as_array().unwrap().iter().find(|host| host["name"] == name).unwrap()
}

fn with_hosts(hosts: &str) -> TestEnv {
    let text = "state_dir = \"state\"\n[cluster]\nserver = \"https://172.20.0.113:6443\"\n";
    TestEnv::with_inventory(&format!("{text}{hosts}"))
}

fn run_directory(report: &Value) -> String {
    format!("state/runs/{}", report["run_id"].as_str().unwrap())
}

#[test]
fn every_host_gets_its_files_closed_to_others() {
    let env = TestEnv::with_local_hosts();
    let ran = env.ok(&["apply"]);
    let owner = fs::metadata(env.dir()).unwrap().uid();
    let found: Vec<_> = env.files("hosts").iter().map(|path| path.display().to_string()).collect();
    assert_eq!(found, INSTALLED.map(|(path, _)| path.to_owned()));
    for (path, stored) in INSTALLED {
        assert_eq!(env.read(format!("hosts/{path}")), env.read(format!("state/{stored}")), "{path}");
        let meta = fs::symlink_metadata(env.path("hosts").join(path)).unwrap();
        assert_eq!((meta.mode() & 0o7777, meta.uid()), (0o600, owner), "{path}");
        for dir in env.path("hosts").join(path).ancestors().skip(1).take(3) {
            assert_eq!(fs::metadata(dir).unwrap().mode() & 0o777, 0o700, "{}", dir.display());
        }
    }
    ran.says(&[
        "cp-1    changed  3 created",
        "node-2  changed  2 created",
        "3 hosts: 3 changed, 0 unchanged, 0 failed",
    ]);
}

#[test]
fn a_second_run_touches_no_file_of_any_host() {
    let env = TestEnv::with_local_hosts();
    env.ok(&["apply"]);
    let before = env.tree_hash("hosts");
    let stamps = INSTALLED.map(|(path, _)| env.stamp(format!("hosts/{path}")));
    let (code, report) = env.json(&["apply"]);
    assert_eq!((code, &report["summary"]["unchanged"]), (0, &3.into()));
    assert_eq!(report["next_steps"].as_array().unwrap().len(), 0);
    assert_eq!(INSTALLED.map(|(path, _)| env.stamp(format!("hosts/{path}"))), stamps);
    assert_eq!(env.tree_hash("hosts"), before);
}

#[test]
fn the_report_has_the_promised_shape_and_is_kept() {
    let env = TestEnv::with_local_hosts();
    let (code, mut report) = env.json(&["apply"]);
    assert_eq!(code, 0);
    assert_eq!((&report["schema"], &report["version"]), (&"kubemint/run".into(), &1.into()));
    assert_eq!((&report["command"], &report["generation"]), (&"apply".into(), &1.into()));
    assert_eq!(
        keys(&report),
        "command finished generation hosts next_steps number run_id schema started steps summary version"
            .split(' ')
            .collect::<Vec<_>>()
    );
    assert_eq!(keys(&report["summary"]), ["changed", "failed", "hosts", "skipped", "unchanged"]);
    for host in report["hosts"].as_array().unwrap() {
        assert_eq!(keys(host), ["attempts", "duration_ms", "error", "files", "name", "status"]);
        assert_eq!((&host["status"], &host["error"]), (&"changed".into(), &Value::Null));
        assert!(host["duration_ms"].is_u64());
        for file in host["files"].as_array().unwrap() {
            assert_eq!(keys(file), ["action", "path", "sha256"]);
            assert_eq!(file["action"], "created");
            let content = fs::read(file["path"].as_str().unwrap()).unwrap();
            assert_eq!(file["sha256"], kubemint::digest::Digest::of(content).to_string());
        }
    }
    let directory = run_directory(&report);
    let kept: Value = serde_json::from_str(&env.read(format!("{directory}/report.json"))).unwrap();
    let printed = report.as_object_mut().unwrap();
    printed.remove("steps").unwrap();
    assert_eq!(report, kept);
    assert_eq!(env.mode(&directory), 0o700);
    for file in ["report.json", "journal.jsonl", "number"] {
        assert_eq!(env.mode(format!("{directory}/{file}")), 0o600, "{file}");
    }
}

#[test]
fn the_journal_tells_the_run_line_by_line() {
    let env = TestEnv::with_local_hosts();
    let (_, report) = env.json(&["apply"]);
    let journal = env.read(format!("{}/journal.jsonl", run_directory(&report)));
    let mut lines: Vec<Value> = journal.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let begun = lines.extract_if(.., |line| line["event"] == "begun").map(|line| line["host"].clone());
    let mut begun: Vec<String> = begun.map(|name| name.as_str().unwrap().to_owned()).collect();
    begun.sort();
    assert_eq!(begun, ["cp-1", "node-1", "node-2"]);
    let events: Vec<_> = lines.iter().map(|line| line["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["started", "host", "host", "host", "finished"]);
    assert_eq!(lines[0]["generation"], 1);
    assert_eq!(lines[0]["hosts"], serde_json::json!(["cp-1", "node-1", "node-2"]));
    assert_eq!(lines[4]["summary"], report["summary"]);
    for line in &lines[1..4] {
        assert_eq!(&line["host"], host(&report, line["host"]["name"].as_str().unwrap()));
    }
}

#[test]
fn nothing_that_is_said_or_kept_of_a_run_holds_a_secret() {
    let env = TestEnv::with_local_hosts();
    let said = env.ok(&["apply", "-vv"]);
    env.assert_no_secret(&(said.stdout + &said.stderr));
    env.write("inventory.toml", LOCAL_HOSTS.replace("172.20.0.113", "172.20.0.114"));
    for line in ["plan -vv", "plan -o json", "apply -vv -o json", "status -vv", "verify -vv", "cert list", "token show"]
    {
        let said = env.ok(&line.split(' ').collect::<Vec<_>>());
        env.assert_no_secret(&(said.stdout + &said.stderr));
    }
    for file in env.files("state/runs").iter().map(|file| env.path("state/runs").join(file)) {
        env.assert_no_secret(&fs::read_to_string(file).unwrap());
    }
}

#[test]
fn one_host_that_refuses_stops_no_other() {
    let env = TestEnv::with_local_hosts();
    env.ok(&["apply"]);
    let target = "hosts/node-1/etc/kubernetes/kube-proxy.kubeconfig";
    env.remove(target);
    env.write("precious", "mine");
    symlink(env.path("precious"), env.path(target)).unwrap();
    env.write("inventory.toml", LOCAL_HOSTS.replace("172.20.0.113", "172.20.0.114"));
    let before = env.tree_hash("hosts/node-1");
    let (code, report) = env.json(&["apply"]);
    assert_eq!(code, 3, "{report}");
    assert_eq!(
        report["summary"],
        serde_json::json!({ "hosts": 3, "changed": 2, "unchanged": 0, "failed": 1, "skipped": 0 })
    );
    let error = &host(&report, "node-1")["error"];
    assert_eq!(error["code"], "target_is_symlink");
    let shown = env.path(target).display().to_string();
    assert!(error["message"].as_str().unwrap().contains(&shown), "{error}");
    assert!(error["hint"].as_str().unwrap().contains(&shown), "{error}");
    assert_eq!(env.read("precious"), "mine");
    assert_eq!(env.tree_hash("hosts/node-1"), before, "the refused host is as it was, temp files included");
    env.run(&["apply"]).expect(3).says(&["node-1: target_is_symlink", "the same command again touches only"]);
    env.remove(target);
    let (code, report) = env.json(&["apply"]);
    assert_eq!((code, &report["summary"]["changed"], &report["summary"]["unchanged"]), (0, &1.into(), &2.into()));
    assert_eq!(host(&report, "node-1")["status"], "changed");
}

#[test]
fn what_else_stands_at_a_target_is_refused_with_its_code() {
    for (code, make) in [("target_is_directory", "mkdir"), ("target_is_special", "mkfifo")] {
        let env = TestEnv::with_local_hosts();
        let target = env.path("hosts/cp-1/etc/kubernetes/token.csv");
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        assert!(Command::new(require(make)).arg(&target).status().unwrap().success());
        let (exit, report) = env.json(&["apply"]);
        assert_eq!((exit, &host(&report, "cp-1")["error"]["code"]), (3, &code.into()));
        assert_eq!(report["summary"]["changed"], 2);
    }
}

#[test]
fn a_wide_mode_is_repaired_and_reported() {
    let env = TestEnv::with_local_hosts();
    env.ok(&["apply"]);
    let path = "hosts/node-2/etc/kubernetes/bootstrap.kubeconfig";
    env.set_mode(path, 0o644);
    let content = env.read(path);
    let (code, report) = env.json(&["apply"]);
    let files = &host(&report, "node-2")["files"];
    assert_eq!((code, &files[0]["action"], &files[1]["action"]), (0, &"repaired".into(), &"unchanged".into()));
    assert_eq!((env.mode(path), env.read(path)), (0o600, content));
    assert_eq!(report["next_steps"], serde_json::json!([]), "a mode is no reason for a restart");
}

#[test]
fn a_host_can_differ_in_server_directory_and_files() {
    let env = with_hosts(
        r#"
[distribute]
install_ca = true
[[hosts]]
name = "cp-1"
connection = "local"
root = "hosts/cp-1"
roles = ["control-plane"]
server = "https://[fd00::1]:6443"
[[hosts]]
name = "node-1"
connection = "local"
root = "hosts/node-1"
server = "https://127.0.0.1:8443"
directory = "/opt/kubernetes"
token_csv_on_nodes = true
install_ca = false
"#,
    );
    env.ok(&["apply"]);
    let found: Vec<_> = env.files("hosts").iter().map(|path| path.display().to_string()).collect();
    assert_eq!(
        found,
        [
            "cp-1/etc/kubernetes/ssl/ca.pem",
            "cp-1/etc/kubernetes/token.csv",
            "node-1/opt/kubernetes/bootstrap.kubeconfig",
            "node-1/opt/kubernetes/kube-proxy.kubeconfig",
            "node-1/opt/kubernetes/token.csv",
        ]
    );
    assert_eq!(env.read("hosts/cp-1/etc/kubernetes/ssl/ca.pem"), env.read("state/ca.pem"));
    for file in ["bootstrap", "kube-proxy"] {
        let text = env.read(format!("hosts/node-1/opt/kubernetes/{file}.kubeconfig"));
        assert!(text.contains("server: https://127.0.0.1:8443\n"), "{text}");
    }
    env.ok(&["status", "--exit-code"]);
}

#[test]
fn what_has_to_be_restarted_is_said_with_the_command_for_it() {
    let services = "[services]\nkube-apiserver = \"systemctl restart kube-apiserver\"\n";
    let env = TestEnv::with_inventory(&LOCAL_HOSTS.replace("[cluster]", &format!("{services}[cluster]")));
    let (_, report) = env.json(&["apply"]);
    let reason = |what: &str| format!("{what} only at its start");
    let due = serde_json::json!([
        { "service": "kube-apiserver", "reason": reason("kube-apiserver reads token.csv"),
          "command": "systemctl restart kube-apiserver", "hosts": ["cp-1"] },
        { "service": "kube-proxy", "reason": reason("kube-proxy reads its kubeconfig"),
          "command": null, "hosts": ["cp-1", "node-1", "node-2"] },
    ]);
    assert_eq!(report["next_steps"], due);
    env.write("hosts/cp-1/etc/kubernetes/token.csv", "");
    let ran = env.ok(&["apply"]).says(&[
        "kube-apiserver reads token.csv only at its start: restart it (systemctl restart kube-apiserver) on cp-1",
    ]);
    assert!(!ran.stdout.contains("kube-proxy reads"), "{}", ran.stdout);
}

#[test]
fn limit_picks_hosts_and_the_others_are_not_looked_at() {
    for (limit, hosts) in [
        ("node-*", &["node-1", "node-2"][..]),
        ("role:control-plane", &["cp-1"]),
        ("!node-1", &["cp-1", "node-2"]),
        ("node-[1-2],!node-1", &["node-2"]),
        ("@list", &["cp-1"]),
        ("label:rack=a", &["node-1", "node-2"]),
    ] {
        let text = LOCAL_HOSTS.to_owned() + "labels = { rack = \"a\" }\n";
        let env = TestEnv::with_inventory(&text);
        env.write("list", "# one\ncp-1\n");
        let (code, report) = env.json(&["apply", "--limit", limit]);
        let names: Vec<_> = report["hosts"].as_array().unwrap().iter().map(|host| host["name"].clone()).collect();
        assert_eq!((code, names.as_slice()), (0, hosts.iter().map(|&h| h.into()).collect::<Vec<Value>>().as_slice()));
        let mut made: Vec<_> =
            fs::read_dir(env.path("hosts")).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        made.sort();
        assert_eq!(made, hosts, "{limit}");
    }
}

#[test]
fn without_a_terminal_nothing_is_asked() {
    for stdin in ["null", "closed", "silent"] {
        let env = TestEnv::with_local_hosts();
        let mut command = Command::new("sh");
        let redirect = if stdin == "closed" { "<&-" } else { "" };
        command.args(["-c", &format!("exec \"$0\" apply {redirect}"), env!("CARGO_BIN_EXE_kubemint")]);
        command.current_dir(env.dir()).env_clear().env("HOME", env.path("home")).stdout(Stdio::null());
        command.stdin(if stdin == "silent" { Stdio::piped() } else { Stdio::null() }).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < deadline, "{stdin}: it waits for something");
            std::thread::yield_now();
        };
        assert_eq!(status.code(), Some(0), "{stdin}");
    }
}

/// Runs a command line on a terminal of its own, with these keys typed.
fn on_a_terminal(env: &TestEnv, line: &str, keys: &str) -> Ran {
    let line = format!("{} {line}", env!("CARGO_BIN_EXE_kubemint"));
    let mut command = assert_cmd::Command::new(require("script"));
    command.args(["-qec", &line, "/dev/null"]).current_dir(env.dir()).env_clear().env("HOME", env.path("home"));
    command.env("TERM", "xterm").env("PATH", "/usr/bin:/bin").env("SHELL", "/bin/sh");
    Ran::from(command.timeout(Duration::from_secs(60)).write_stdin(keys).output().unwrap())
}

#[test]
fn on_a_terminal_it_asks_before_anything_is_made() {
    let env = TestEnv::with_local_hosts();
    let before = env.tree_hash("");
    let ran = on_a_terminal(&env, "apply", "n\n").expect(4);
    ran.says(&["Install credentials on 3 hosts?", "not confirmed", "--yes"]);
    assert_eq!(env.tree_hash(""), before);
    on_a_terminal(&env, "apply", "y\n").expect(0).says(&["3 changed"]);
    let ran = on_a_terminal(&env, "apply --yes", "").expect(0);
    assert!(!ran.stdout.contains("Install credentials"), "{}", ran.stdout);
}

#[test]
fn quiet_says_nothing_on_standard_error_and_the_answer_stays() {
    let env = TestEnv::with_local_hosts();
    let ran = env.ok(&["apply", "-q"]);
    assert_eq!(ran.stderr, "");
    assert!(ran.stdout.contains("3 changed"));
    let loud = env.ok(&["apply"]);
    assert_eq!(loud.stderr.matches(": unchanged").count(), 3, "a line per host: {}", loud.stderr);
}

const OTHER: &str = "--state-dir=other";

#[test]
fn another_credential_directory_cannot_take_hosts_over_by_mistake() {
    let env = TestEnv::with_local_hosts();
    env.ok(&["apply"]);
    let before = env.tree_hash("hosts");
    let (code, report) = env.json(&["apply", OTHER]);
    assert_eq!((code, &report["summary"]["failed"]), (3, &3.into()));
    assert_eq!(report["hosts"][1]["error"]["code"], "other_authority");
    assert!(report["hosts"][1]["error"]["hint"].as_str().unwrap().contains("--replace-foreign"), "{report}");
    assert_eq!(env.tree_hash("hosts"), before, "nothing on a refused host changes");
    let (code, plan) = env.json(&["plan", OTHER]);
    assert_eq!((code, &plan["summary"]["blocked"]), (3, &3.into()));
    env.run(&["apply", OTHER, "--replace-foreign"]).expect(0).says(&["3 changed"]);
    env.run(&["status", "--exit-code", OTHER]).expect(0);
    env.run(&["status", "--exit-code"]).expect(6);
}

#[test]
fn rows_of_users_we_do_not_know_are_not_dropped_by_mistake() {
    let env = TestEnv::with_local_hosts();
    env.ok(&["generate"]);
    let theirs = "0123456789abcdef0123456789abcdef,alice,7,\"admins\"\n";
    env.write("hosts/cp-1/etc/kubernetes/token.csv", theirs);
    let (code, report) = env.json(&["apply"]);
    assert_eq!((code, &report["summary"]["failed"], &report["summary"]["changed"]), (3, &1.into(), &2.into()));
    let error = &report["hosts"][0]["error"];
    assert_eq!(error["code"], "foreign_token_rows");
    assert!(error["hint"].as_str().unwrap().contains("token merge"), "{error}");
    assert_eq!(env.read("hosts/cp-1/etc/kubernetes/token.csv"), theirs);
    env.ok(&["token", "merge", "hosts/cp-1/etc/kubernetes/token.csv"]);
    env.ok(&["apply"]);
    assert!(env.read("state/token.csv").contains(theirs));
    assert_eq!(env.read("hosts/cp-1/etc/kubernetes/token.csv"), env.read("state/token.csv"));
}
