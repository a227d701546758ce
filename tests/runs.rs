//! `kubemint runs`: what is known of earlier runs, also of one that was killed; and the reports of shards as one.
#![allow(clippy::unwrap_used)]

mod support;

use serde_json::{Value, json};
use std::fs;
use support::{Fleet, Relays, TestEnv, eventually, host_of, hosts_that_are, kill};

fn ids(env: &TestEnv) -> Vec<String> {
    let (code, list) = env.json(&["runs", "list"]);
    assert_eq!((code, &list["schema"]), (0, &"kubemint/runs".into()));
    list["runs"].as_array().unwrap().iter().map(|run| run["run_id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn runs_are_listed_in_the_order_they_began_and_shown_by_any_name() {
    let env = TestEnv::with_local_hosts();
    env.ok(&["runs", "list"]).says(&["no run is recorded"]);
    env.run(&["runs", "show", "last"]).expect(2).says(&["there is no run"]);
    let mut begun = Vec::new();
    for command in ["apply", "distribute", "apply", "distribute"] {
        begun.push(env.json(&[command]).1["run_id"].as_str().unwrap().to_owned());
    }
    assert_eq!(ids(&env), begun, "several may begin in one second");
    for name in ["last", &begun[3], &begun[3][..21]] {
        let (code, run) = env.json(&["runs", "show", name]);
        assert_eq!((code, &run["run_id"]), (0, &begun[3].as_str().into()));
        assert_eq!((&run["schema"], &run["state"]), (&"kubemint/run".into(), &"finished".into()));
        assert_eq!(run["summary"], json!({"hosts": 3, "changed": 0, "unchanged": 3, "failed": 0, "skipped": 0}));
        let kept: Value = serde_json::from_str(&env.read(format!("state/runs/{}/report.json", begun[3]))).unwrap();
        assert_eq!(run["hosts"], kept["hosts"]);
    }
    env.ok(&["runs", "show", &begun[0]]).says(&["cp-1    changed  3 created", "apply, generation 1, finished"]);
    let report = format!("state/runs/{}/report.json", begun[0]);
    for path in [&report[..], report.trim_end_matches("/report.json")] {
        let (code, run) = env.json(&["runs", "show", path]);
        assert_eq!((code, &run["run_id"], &run["state"]), (0, &begun[0].as_str().into(), &"finished".into()));
    }
    for flags in [["--limit", "cp-1"], ["--shard", "1/2"], ["--shard-count", "2"]] {
        for command in [&["runs", "list"][..], &["runs", "show", "last"]] {
            env.run(&[command, &flags].concat()).expect(2).says(&[flags[0], "shows runs whole"]);
        }
    }
    env.run(&["runs", "show", "2"]).expect(2).says(&["more than one run", &begun[0]]);
    env.run(&["runs", "show", "nosuch"]).expect(2).says(&["there is no run"]);
    env.ok(&["runs", "list"]).says(&["RUN", "STATE", "3 hosts: 3 changed"]);
}

#[test]
fn a_damaged_record_is_named_and_hides_no_other() {
    let env = TestEnv::with_local_hosts();
    env.ok(&["apply"]);
    env.ok(&["distribute"]);
    let runs = ids(&env);
    let journal = format!("state/runs/{}/journal.jsonl", runs[0]);
    let whole = env.read(&journal);
    let mut lines: Vec<&str> = whole.lines().collect();
    lines[2] = "{\"event\":\"host\",";
    env.write(&journal, lines.join("\n") + "\n");
    let (code, list) = env.json(&["runs", "list"]);
    let states: Vec<_> = list["runs"].as_array().unwrap().iter().map(|run| run["state"].as_str().unwrap()).collect();
    assert_eq!((code, states), (0, vec!["damaged", "finished"]));
    let (code, error) = env.json(&["runs", "show", &runs[0]]);
    assert_eq!((code, &error["error"]["code"]), (4, &"run_damaged".into()));
    let message = error["error"]["message"].as_str().unwrap();
    assert!(message.contains(&journal) && message.contains("line 3"), "{message}");

    // A last line that was cut short is what a kill leaves.
    let cut = whole.trim_end().len() - 5;
    env.write(&journal, &whole[..cut]);
    env.remove(format!("state/runs/{}/report.json", runs[0]));
    let (code, run) = env.json(&["runs", "show", &runs[0]]);
    assert_eq!((code, &run["state"], &run["summary"]["changed"]), (0, &"interrupted".into(), &3.into()), "{run:#}");
    // Not even its first line is whole: nothing is known, and nothing was begun.
    env.write(&journal, &whole[..100]);
    let (code, run) = env.json(&["runs", "show", &runs[0]]);
    assert_eq!((code, &run["state"], &run["command"]), (0, &"interrupted".into(), &Value::Null), "{run:#}");
    env.ok(&["distribute", "--retry", &runs[0]]).says(&["nothing to retry"]);

    env.set_mode(format!("state/runs/{}", runs[0]), 0o777);
    env.run(&["runs", "show", &runs[0]]).expect(4).says(&["can be written by others"]);
}

#[test]
fn of_a_killed_run_hosts_done_in_flight_and_never_begun_are_told_apart_and_retried() {
    let (mut fleet, relays) = (Fleet::of_nodes(5), Relays::new());
    fleet.run(&["generate"]).expect(0);
    fleet.relay(1, &relays);
    relays.close_gate();
    let running = fleet.start(&["distribute", "--concurrency", "1"]);
    eventually("the second host to be in flight", || (relays.connections() == 1).then_some(()));
    let (code, run) = fleet.json(&["runs", "show", "last"]);
    assert_eq!((code, &run["state"]), (0, &"running".into()), "{run:#}");
    assert_eq!(host_of(&run, "node-02")["status"], "in_flight");
    let (code, refused) = fleet.json(&["distribute", "--retry", "last"]);
    assert_eq!((code, &refused["error"]["code"]), (4, &"run_under_way".into()), "{refused:#}");

    kill(running.pid());
    running.wait();
    let (code, run) = fleet.json(&["runs", "show", "last"]);
    assert_eq!((code, &run["state"]), (0, &"interrupted".into()), "{run:#}");
    assert_eq!(hosts_that_are(&run, "changed"), ["node-01"]);
    assert_eq!(hosts_that_are(&run, "in_flight"), ["node-02"]);
    assert_eq!(hosts_that_are(&run, "skipped"), ["node-03", "node-04", "node-05"]);
    assert_eq!(
        run["summary"],
        json!({"hosts": 5, "changed": 1, "unchanged": 0, "failed": 0, "skipped": 3, "in_flight": 1})
    );
    fleet.run(&["runs", "list"]).expect(0).says(&["interrupted", "1 in flight"]);
    let text = fleet.run(&["runs", "show", "last"]).expect(0);
    text.says(&["node-02  in flight  in_flight", "node-03  skipped    interrupted", "--retry"]);

    // What it did can be put back; what it did not end is left alone, which is no success.
    let killed = run["run_id"].as_str().unwrap();
    relays.open_gate();
    let (code, report) = fleet.json(&["rollback", killed]);
    assert_eq!((code, hosts_that_are(&report, "changed")), (3, vec!["node-01"]), "{report:#}");
    assert_eq!(hosts_that_are(&report, "failed"), ["node-02"]);
    let error = &host_of(&report, "node-02")["error"];
    assert_eq!(error["code"], "unknown_outcome");
    assert!(error["hint"].as_str().unwrap().contains("rollback --host node-02"), "{error}");
    assert_eq!((&report["unknown"], fleet.names(0).len()), (&json!(["node-02"]), 0));
    let (code, report) = fleet.json(&["distribute", "--retry", killed]);
    assert_eq!((code, &report["of"]), (0, &killed.into()));
    assert_eq!(hosts_that_are(&report, "changed"), ["node-02", "node-03", "node-04", "node-05"]);
}

/// A report of one node, by hand.
fn report(generation: u64, name: &str, status: &str) -> String {
    let error = json!({"code": "of_a_later_version", "message": "m", "hint": "h"});
    json!({
        "schema": "kubemint/run", "version": 1, "run_id": format!("run-of-{name}"), "command": "distribute",
        "started": "2026-11-22T08:06:32.1Z", "finished": "2026-11-22T08:06:33Z", "generation": generation,
        "hosts": [{ "name": name, "status": status, "files": [], "duration_ms": 1, "attempts": 3,
                    "error": if status == "failed" { error } else { Value::Null } }],
        "summary": {}, "steps": [], "next_steps": [],
    })
    .to_string()
}

#[test]
fn reports_are_merged_and_what_does_not_fit_together_is_refused() {
    let env = TestEnv::with_local_hosts();
    env.write("1.json", report(2, "node-2", "changed"));
    env.write("2.json", report(2, "cp-1", "unchanged"));
    env.write("3.json", report(2, "node-1", "failed"));
    env.write("empty.json", json!({"schema": "kubemint/run", "version": 1, "run_id": null, "hosts": []}).to_string());
    let (code, merged) = env.json(&["runs", "merge", "1.json", "2.json", "empty.json"]);
    assert_eq!((code, &merged["schema"]), (0, &"kubemint/run".into()), "{merged:#}");
    assert_eq!((&merged["missing"], &merged["generation"]), (&json!(["node-1"]), &2.into()));
    let names: Vec<_> = merged["hosts"].as_array().unwrap().iter().map(|host| host["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["cp-1", "node-2"], "in the inventory's order");
    assert_eq!(merged["hosts"][0]["attempts"], 3, "what is not known here is passed on");
    env.run(&["runs", "merge", "--complete", "1.json", "2.json"]).expect(6).says(&["missing: 1 host", "node-1"]);
    env.ok(&["runs", "merge", "--complete", "1.json", "2.json", "--limit", "!node-1"]);
    let ran = env.run(&["runs", "merge", "--complete", "1.json", "2.json", "3.json"]).expect(3);
    ran.says(&["node-1: of_a_later_version", "3 hosts: 1 changed, 1 unchanged, 1 failed"]);
    // A merged report is one too.
    let merged = env.run(&["runs", "merge", "1.json", "2.json", "-o", "json"]).expect(0).stdout;
    env.write("merged.json", merged);
    let (code, all) = env.json(&["runs", "merge", "merged.json", "3.json"]);
    assert_eq!((code, all["summary"]["hosts"].as_u64()), (3, Some(3)));

    env.write("again.json", report(2, "cp-1", "changed"));
    env.write("newer.json", report(3, "x", "changed"));
    env.write("torn.json", &report(2, "x", "changed")[..60]);
    env.write("other.json", json!({"schema": "kubemint/status", "version": 1, "hosts": []}).to_string());
    let refused = env.run(&["distribute", "--limit", "nosuch", "-o", "json"]).expect(2).stdout;
    env.write("error.json", refused);
    env.write("later.json", json!({"schema": "kubemint/run", "version": 2, "nodes": []}).to_string());
    for (files, code, words) in [
        (
            ["1.json", "error.json"],
            "report_unreadable",
            ["error.json", "it is an error report: limit_invalid, --limit: "],
        ),
        (["1.json", "later.json"], "report_unreadable", ["later.json", "a newer kubemint"]),
        (["1.json", "newer.json"], "reports_differ", ["newer.json", "generation 3"]),
        (["2.json", "again.json"], "host_twice", ["2.json", "again.json"]),
        (["1.json", "1.json"], "host_twice", ["node-2", "1.json"]),
        (["1.json", "torn.json"], "report_unreadable", ["torn.json", "cannot be read"]),
        (["1.json", "other.json"], "report_unreadable", ["other.json", "schema"]),
        (["1.json", "missing.json"], "file_unreadable", ["missing.json", "cannot read"]),
    ] {
        let (exit, error) = env.json(&["runs", "merge", files[0], files[1]]);
        assert_eq!((exit, &error["error"]["code"]), (2, &code.into()), "{files:?}: {error:#}");
        let message = error["error"]["message"].as_str().unwrap();
        assert!(words.iter().all(|word| message.contains(word)), "{message}");
    }
    // Without an inventory nobody is missed.
    env.remove("inventory.toml");
    let (code, merged) = env.json(&["runs", "merge", "1.json"]);
    assert_eq!((code, merged.get("missing")), (0, None), "{merged:#}");
}

#[test]
fn nothing_in_a_report_steers_the_terminal() {
    let env = TestEnv::with_local_hosts();
    env.ok(&["apply"]);
    let evil = "\u{1b}]0;x\u{7}\u{9b}2J\u{202e}";
    let text = json!({
        "schema": "kubemint/run", "version": 1, "run_id": format!("r{evil}"), "command": format!("apply{evil}"),
        "of": format!("o{evil}"), "generation": 1,
        "hosts": [
            { "name": format!("cp-1{evil}"), "status": "failed", "files": [],
              "error": {"code": format!("c{evil}"), "message": format!("m{evil}"), "hint": format!("h{evil}")} },
            { "name": "node-1", "status": "changed", "twin": {"host": evil},
              "files": [{"path": format!("/p{evil}"), "action": format!("a{evil}"), "sha256": null}] },
        ],
    })
    .to_string();
    env.write("evil.json", &text);
    let run = "state/runs/20991122T080632Z-267c33";
    env.ok(&["distribute"]);
    fs::rename(env.path(format!("state/runs/{}", ids(&env)[1])), env.path(run)).unwrap();
    env.write(format!("{run}/report.json"), &text);
    let directory = format!("./{run}");
    for command in [
        &["runs", "merge", "evil.json"][..],
        &["runs", "merge", &directory],
        &["runs", "show", "20991122T080632Z-267c33"],
        &["runs", "list"],
        &["distribute", "--retry", "evil.json"],
        &["rollback", "evil.json"],
        &["runs", "merge", "evil.json", "-o", "json"],
    ] {
        let ran = env.run(command);
        for c in ['\u{1b}', '\u{7}', '\u{9b}', '\u{202e}'] {
            assert!(!ran.stdout.contains(c) && !ran.stderr.contains(c), "{command:?}: {}{}", ran.stdout, ran.stderr);
        }
    }
}
