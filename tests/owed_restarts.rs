//! Restarts that a run made due and told nobody of, since a host's answer was lost or kubemint was killed: later runs say
//! them until the service is seen to be newer than its file, or was restarted by a run.

#![allow(clippy::unwrap_used, reason = "clippy.toml allows it in test functions only, not in what they call")]

mod support;

use serde_json::{Value, json};
use std::{
    fs,
    time::{Duration, Instant},
};
use support::{Fleet, Member, Relays, TestEnv, TestHost, eventually, host_of, hosts_that_are, kill, require};

/// While /run/lost is there the host does all it is told, and its answer never arrives.
const LOSES_ANSWERS: &str = "ForceCommand if [ -e /run/lost ]; then sh -c \"$SSH_ORIGINAL_COMMAND\" >/dev/null 2>&1; \
                             kill -9 $PPID; else exec sh -c \"$SSH_ORIGINAL_COMMAND\"; fi";

/// Two machines that see their own processes only, and have what they should.
fn two_machines(settings: &str) -> Fleet {
    let roles: [&[&str]; 2] = [&["control-plane", "node"], &["node"]];
    let member = |(n, roles)| {
        Member::new(TestHost::builder(&format!("node-0{}", n + 1)).sshd_option(LOSES_ANSWERS)).roles(roles)
    };
    let mut fleet = Fleet::new(roles.into_iter().enumerate().map(member).collect());
    fleet.set_settings(settings);
    for host in &fleet.hosts {
        host.must("mount -t proc proc /proc && mount -t tmpfs -o mode=755 tmpfs /var/lib");
    }
    fleet.env.ok(&["apply"]);
    fleet
}

/// Starts of processes are known to a few hundredths of a second: what happens closer together is in no order.
fn let_clocks_tell() {
    let began = Instant::now();
    eventually("the clocks", || (began.elapsed() > Duration::from_millis(200)).then_some(()));
}

/// Restarts a service, or starts it: a process by that name.
fn restart(host: &TestHost, name: &str) {
    host.must(&format!(
        "for d in /proc/[0-9]*; do if grep -qx {name} $d/comm 2>/dev/null; then kill -9 ${{d#/proc/}} || :; fi; done"
    ));
    let running = || {
        let said = host.run(&format!("grep -l '({name}) [^Z]' /proc/[0-9]*/stat 2>/dev/null"));
        String::from_utf8(said.stdout).unwrap().lines().count()
    };
    eventually("its end", || (running() == 0).then_some(()));
    let_clocks_tell();
    let sleep = require("sleep");
    host.must(&format!("[ -e /run/{name} ] || cp {} /run/{name}", sleep.display()));
    host.must(&format!("setsid /run/{name} 1000 >/dev/null 2>&1 </dev/null &"));
    eventually("the process", || (running() == 1).then_some(()));
}

fn another_server(fleet: &Fleet) {
    let_clocks_tell();
    let text = fleet.env.read("inventory.toml").replace("172.20.0.113", "172.20.0.114");
    fleet.env.write("inventory.toml", text);
}

fn lose_the_answer_of_the_first(fleet: &Fleet) {
    fleet.hosts[0].must("touch /run/lost");
    let (code, report) = fleet.json(&["apply"]);
    assert_eq!((code, hosts_that_are(&report, "failed")), (3, vec!["node-01"]), "{report:#}");
    assert_eq!(host_of(&report, "node-01")["untouched"], Value::Null);
    fleet.hosts[0].must("rm /run/lost");
}

/// Service, hosts, and those of them where it was due before.
fn steps(report: &Value) -> Vec<(String, Value, Value)> {
    let steps = report["next_steps"].as_array().unwrap().iter();
    steps
        .map(|step| (step["service"].as_str().unwrap().into(), step["hosts"].clone(), step["earlier"].clone()))
        .collect()
}

/// Of a run that changes nothing.
#[track_caller]
fn steps_of(fleet: &Fleet, arguments: &[&str]) -> Vec<(String, Value, Value)> {
    let (code, report) = fleet.json(arguments);
    assert_eq!((code, hosts_that_are(&report, "changed")), (0, Vec::new()), "{report:#}");
    steps(&report)
}

fn on_the_first() -> Vec<(String, Value, Value)> {
    vec![("kube-proxy".to_owned(), json!(["node-01"]), json!(["node-01"]))]
}

fn logins(fleet: &Fleet) -> usize {
    fleet.hosts[0].log().matches("Starting session").count()
}

#[test]
fn a_restart_whose_run_lost_the_answer_is_said_until_the_service_is_newer_than_its_file() {
    need_root!();
    let fleet = two_machines("");
    for service in ["kube-apiserver", "kube-proxy"] {
        restart(&fleet.hosts[0], service);
    }
    another_server(&fleet);
    lose_the_answer_of_the_first(&fleet);
    fleet.assert_complete_beside(
        0,
        &[".bootstrap.kubeconfig.kubemint-previous", ".kube-proxy.kubeconfig.kubemint-previous"],
    );
    let (code, status) = fleet.json(&["status"]);
    assert_eq!((code, steps(&status)), (0, on_the_first()), "{status:#}");
    fleet.run(&["status"]).expect(0).says(&["restart it on node-01, due since an earlier run"]);
    // A run over other hosts forgets nothing.
    assert_eq!(steps_of(&fleet, &["apply", "--limit", "node-02"]), []);
    // token.csv did not change: its reader is seen to be newer.
    assert_eq!(steps_of(&fleet, &["apply"]), on_the_first());
    assert_eq!(steps_of(&fleet, &["distribute"]), on_the_first(), "it was not restarted");
    let said = fleet.run(&["apply"]).expect(0);
    said.says(&[
        "next: kube-proxy reads its kubeconfig only at its start: restart it on node-01, due since an earlier run",
    ]);
    // Where nobody can look it stays due.
    fleet.hosts[0].must("umount /proc && mount -t tmpfs none /proc");
    assert_eq!(steps_of(&fleet, &["apply"]), on_the_first());
    fleet.hosts[0].must("umount /proc && mount -t proc proc /proc");

    restart(&fleet.hosts[0], "kube-proxy");
    assert_eq!(steps(&fleet.json(&["status"]).1), []);
    let before = logins(&fleet);
    let (_, report) = fleet.json(&["apply"]);
    assert_eq!((steps(&report), logins(&fleet) - before), (vec![], 2), "{report:#}");
    let seen = json!([{"service": "kube-proxy", "state": "current"}]);
    assert_eq!(host_of(&report, "node-01")["services"], seen);
    // And from then on nobody has to look any more.
    assert_eq!((steps_of(&fleet, &["apply"]), logins(&fleet) - before), (vec![], 3));
}

#[test]
fn a_reissue_that_restarts_the_service_pays_the_debt() {
    need_root!();
    let fleet = two_machines("[services]\nkube-proxy = \"true\"\n");
    restart(&fleet.hosts[0], "kube-proxy");
    another_server(&fleet);
    lose_the_answer_of_the_first(&fleet);
    let (code, report) = fleet.json(&["reissue", "kube-proxy", "--no-probe"]);
    assert_eq!((code, &host_of(&report, "node-01")["restart"]["outcome"]), (0, &"done".into()), "{report:#}");
    let (code, report) = fleet.json(&["distribute"]);
    // Of kube-apiserver nothing is known but that it has yet to be started.
    let apiserver = vec![("kube-apiserver".to_owned(), json!(["node-01"]), json!(["node-01"]))];
    assert_eq!((code, steps(&report)), (0, apiserver), "{report:#}");
    let seen = json!([{"service": "kube-apiserver", "state": "not_running"}]);
    assert_eq!(host_of(&report, "node-01")["services"], seen);
}

#[test]
fn what_a_killed_run_would_have_said_the_next_one_says() {
    need_root!();
    let mut fleet = two_machines("");
    fleet.hosts.iter().for_each(|host| restart(host, "kube-proxy"));
    another_server(&fleet);
    let relays = Relays::new();
    let moved = fleet.env.read("inventory.toml");
    fleet.relay(1, &relays);
    another_server(&fleet);
    relays.close_gate();
    let running = fleet.start(&["apply", "--concurrency", "1"]);
    eventually("the second host to be in flight", || (relays.connections() == 1).then_some(()));
    kill(running.pid());
    running.wait();
    fleet.env.write("inventory.toml", moved);
    let (code, report) = fleet.json(&["apply"]);
    assert_eq!((code, hosts_that_are(&report, "changed")), (0, vec!["node-02"]), "{report:#}");
    let both = vec![("kube-proxy".to_owned(), json!(["node-01", "node-02"]), json!(["node-01"]))];
    assert_eq!(steps(&report), both, "{report:#}");
}

/// Cuts the newest run's record off as a kill does, after `lines` lines.
fn cut_off(env: &TestEnv, run: &str, lines: usize) {
    let journal = format!("state/runs/{run}/journal.jsonl");
    let text: String = env.read(&journal).split_inclusive('\n').take(lines).collect();
    env.write(journal, text);
    env.remove(format!("state/runs/{run}/report.json"));
}

#[test]
fn where_there_is_no_service_to_look_at_it_is_said_once() {
    let env = TestEnv::with_local_hosts();
    let run = env.json(&["apply"]).1["run_id"].as_str().unwrap().to_owned();
    // Started, begun, ended; and a host that was in flight.
    cut_off(&env, &run, 4);
    let (code, report) = env.json(&["apply"]);
    assert_eq!((code, hosts_that_are(&report, "unchanged").len()), (0, 3), "{report:#}");
    let services: Vec<(String, Value, Value)> = steps(&report);
    assert_eq!(services[0], ("kube-apiserver".to_owned(), json!(["cp-1"]), json!(["cp-1"])), "{report:#}");
    assert_eq!(services[1].0, "kube-proxy");
    assert!(services[1].1.as_array().unwrap().contains(&json!("cp-1")), "{report:#}");
    let (code, report) = env.json(&["apply"]);
    assert_eq!((code, steps(&report)), (0, vec![]), "{report:#}");
}

#[test]
fn of_hundreds_of_runs_the_newest_note_is_enough() {
    let env = TestEnv::with_local_hosts();
    let first = env.json(&["apply"]).1["run_id"].as_str().unwrap().to_owned();
    cut_off(&env, &first, 4);
    env.ok(&["apply"]);
    // What came before a note is not read again: it may be gone, or damaged.
    fs::write(env.path(format!("state/runs/{first}/journal.jsonl")), "{\n{\n").unwrap();
    let (code, report) = env.json(&["apply"]);
    assert_eq!((code, steps(&report)), (0, vec![]), "{report:#}");
    let run = report["run_id"].as_str().unwrap();
    let journal = env.read(format!("state/runs/{run}/journal.jsonl"));
    let started: Value = serde_json::from_str(journal.lines().next().unwrap()).unwrap();
    assert_eq!((&started["number"], &started["owed"]), (&json!(3), &json!({})), "{started:#}");
    // What stands in the note is owed, whatever earlier records say.
    let noted = journal.replacen("\"owed\":{}", "\"owed\":{\"kube-proxy\":[\"node-2\",\"gone\"]}", 1);
    env.write(format!("state/runs/{run}/journal.jsonl"), noted);
    let expected = ("kube-proxy".to_owned(), json!(["node-2"]), json!(["node-2"]));
    assert_eq!(steps(&env.json(&["apply"]).1), [expected]);
}

/// Applied; then a run that was killed, which owes restarts to node-1 among others.
fn owing() -> TestEnv {
    let env = TestEnv::with_local_hosts();
    let run = env.json(&["apply"]).1["run_id"].as_str().unwrap().to_owned();
    cut_off(&env, &run, 3);
    let text = env.read(format!("state/runs/{run}/journal.jsonl"));
    let begun = text.lines().nth(1).unwrap();
    let host = serde_json::from_str::<Value>(begun).unwrap()["host"].as_str().unwrap().to_owned();
    let other = begun.replace(&format!("\"{host}\""), "\"node-1\"");
    env.write(format!("state/runs/{run}/journal.jsonl"), format!("{}\n{other}\n", text.lines().next().unwrap()));
    env
}

fn proxies_owed(report: &Value) -> Vec<String> {
    let steps = steps(report).into_iter().filter(|(service, ..)| service == "kube-proxy");
    steps.flat_map(|(_, _, earlier)| serde_json::from_value::<Vec<String>>(earlier).unwrap()).collect()
}

#[test]
fn a_host_that_is_out_of_the_inventory_for_a_while_is_still_owed_its_restart() {
    let env = owing();
    let inventory = env.read("inventory.toml");
    let without = inventory.replace("node-[1-2]", "node-2");
    let without = if without == inventory { inventory.replace("node-1", "node-9") } else { without };
    assert_ne!(without, inventory);
    env.write("inventory.toml", without);
    for _ in 0..2 {
        let report = env.json(&["apply", "--limit", "cp-1"]).1;
        assert_eq!(proxies_owed(&report), [""; 0], "{report:#}");
    }
    env.write("inventory.toml", inventory);
    let report = env.json(&["apply"]).1;
    assert_eq!(proxies_owed(&report), ["node-1"], "{report:#}");
}

#[test]
fn what_a_record_owes_that_cannot_be_read_now_is_not_noted_as_nothing() {
    let env = owing();
    let run = env.json(&["runs", "show", "last"]).1["run_id"].as_str().unwrap().to_owned();
    let journal = env.path(format!("state/runs/{run}/journal.jsonl"));
    let good = fs::read(&journal).unwrap();
    fs::write(&journal, [&good[..], b"{\n"].concat()).unwrap();
    let report = env.json(&["apply", "--limit", "cp-1"]).1;
    assert_eq!(proxies_owed(&report), [""; 0], "{report:#}");
    // A line that was torn within a character, at the end and within, is no fault.
    for torn in [&b"{\"host\":\"\xc3"[..], b"{\"host\":\"\xc3\x18\n"] {
        fs::write(&journal, [&good[..], torn].concat()).unwrap();
        env.ok(&["runs", "show", &run]);
    }
    let report = env.json(&["apply"]).1;
    assert_eq!(proxies_owed(&report), ["node-1"], "{report:#}");
}
