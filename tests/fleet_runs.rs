//! How a run over sshd hosts is bounded, interrupted, and kept apart from another run.
#![allow(clippy::unwrap_used)]

mod support;

use rustix::process::Signal;
use serde_json::Value;
use support::{Fleet, Member, Relays, Running, TestHost, eventually, host_of, hosts_that_are};

/// Nodes whose connections all go through the relays.
fn relayed(count: usize) -> (Fleet, Relays) {
    let (mut fleet, relays) = (Fleet::of_nodes(count), Relays::new());
    fleet.relay_all(&relays);
    (fleet, relays)
}

/// The lines of the newest run's journal, as far as they are written.
fn journal(fleet: &Fleet) -> Vec<Value> {
    let Ok(runs) = std::fs::read_dir(fleet.env.path("state/runs")) else { return Vec::new() };
    let Some(newest) = runs.map(|run| run.unwrap().path()).max() else { return Vec::new() };
    let text = std::fs::read_to_string(newest.join("journal.jsonl")).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

fn journaled_hosts(fleet: &Fleet) -> Vec<String> {
    let lines = journal(fleet);
    let hosts = lines.iter().filter(|line| line["event"] == "host");
    let mut names: Vec<String> = hosts.map(|line| line["host"]["name"].as_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

/// Starts an apply of two hosts at a time, and returns when both wait for their hosts.
fn apply_held(fleet: &Fleet, relays: &Relays) -> Running {
    relays.close_gate();
    let before = relays.connections();
    let running = fleet.start(&["apply", "-o", "json", "--concurrency", "2"]);
    eventually("two connections", || (relays.connections() - before == 2).then_some(()));
    running
}

#[test]
fn concurrency_bounds_the_connections_and_every_host_is_one_connection() {
    let (fleet, relays) = relayed(10);
    let (code, report) = fleet.json(&["apply", "--concurrency", "3"]);
    assert_eq!((code, hosts_that_are(&report, "changed").len()), (0, 10), "{report:#}");
    assert_eq!((relays.connections(), relays.most_at_once()), (10, 3));
    let (code, _) = fleet.json(&["status", "--concurrency", "2"]);
    assert_eq!((code, relays.connections()), (0, 20));
    for host in &fleet.hosts {
        let log = host.log();
        assert_eq!(["Connection from", "Starting session"].map(|what| log.matches(what).count()), [2, 2], "{log}");
    }
}

#[test]
fn a_host_that_hangs_after_the_login_does_not_hold_up_the_others() {
    let mut members: Vec<Member> = (1..=5).map(|n| Member::new(TestHost::builder(&format!("node-{n}")))).collect();
    // The session's sshd is stopped as soon as it has started the command.
    members[2] = Member::new(TestHost::builder("node-3").sshd_option("ForceCommand kill -STOP $PPID; exec cat"));
    let fleet = Fleet::new(members);
    let mut running = fleet.start(&["apply", "-o", "json", "--concurrency", "2"]);
    let others = ["node-1", "node-2", "node-4", "node-5"];
    eventually("the other hosts to be done", || (journaled_hosts(&fleet) == others).then_some(()));
    assert!(fleet.hosts[2].log().contains("Starting session"), "{}", fleet.hosts[2].log());
    assert!(!running.has_ended());
    for index in [0, 1, 3, 4] {
        fleet.assert_complete(index);
    }
    assert_eq!(fleet.names(2), [""; 0]);

    // Nobody has to wait for it: the second signal ends the run at once.
    running.signal(Signal::INT);
    assert!(!running.has_ended(), "a host is still in flight");
    running.signal(Signal::INT);
    let ran = running.wait().expect(130);
    assert_eq!(ran.stdout, "");
}

#[test]
fn sigint_and_sigterm_finish_what_is_in_flight_and_begin_no_other() {
    let (fleet, relays) = relayed(6);
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let begun = relays.connections();
        let running = apply_held(&fleet, &relays);
        running.signal(signal);
        let words = "interrupted: finishing 2 hosts in flight; once more stops at once";
        eventually("it to say what it does now", || running.stderr().contains(words).then_some(()));
        relays.open_gate();
        let ran = running.wait().expect(code);
        assert_eq!(ran.stderr.matches("once more").count(), 1, "{}", ran.stderr);
        assert_eq!(relays.connections() - begun, 2, "no host was begun after the signal");
        let report: Value = serde_json::from_str(&ran.stdout).unwrap();
        let done = if code == 130 { "changed" } else { "unchanged" };
        assert_eq!(hosts_that_are(&report, done), ["node-01", "node-02"], "{report:#}");
        assert_eq!(hosts_that_are(&report, "skipped"), ["node-03", "node-04", "node-05", "node-06"]);
        assert_eq!(report["summary"]["skipped"], 4);
        assert_eq!(host_of(&report, "node-03")["error"]["code"], "interrupted");
        let kept = fleet.env.read(format!("state/runs/{}/report.json", report["run_id"].as_str().unwrap()));
        assert_eq!(serde_json::from_str::<Value>(&kept).unwrap()["hosts"], report["hosts"]);
        assert_eq!(journal(&fleet).last().unwrap()["event"], "finished");
        (0..2).for_each(|index| fleet.assert_complete(index));
        (2..6).for_each(|index| assert_eq!(fleet.names(index), [""; 0]));
    }
    let (code, report) = fleet.json(&["apply"]);
    assert_eq!((code, hosts_that_are(&report, "changed").len()), (0, 4), "{report:#}");
}

/// An apply of two hosts at a time, of which SIGHUP has the disposition that `option` of env(1) gives it.
fn apply_held_with_hangup(fleet: &Fleet, relays: &Relays, option: &str) -> Running {
    relays.close_gate();
    let before = relays.connections();
    let mut env = std::process::Command::new("env");
    env.args([option, "--", env!("CARGO_BIN_EXE_kubemint")]);
    let running = Running::start_command(&fleet.env, env, &["apply", "-o", "json", "--concurrency", "2"]);
    eventually("two connections", || (relays.connections() - before == 2).then_some(()));
    running
}

#[test]
fn a_terminal_that_closes_ends_a_run_as_sigterm_does_however_often_it_says_so() {
    let (fleet, relays) = relayed(4);
    let running = apply_held_with_hangup(&fleet, &relays, "--default-signal=HUP");
    running.signal(Signal::HUP);
    eventually("it to say what it does now", || running.stderr().contains("interrupted: finishing 2").then_some(()));
    // The kernel says it, the shell says it, and the kernel once more to the group.
    running.signal(Signal::HUP);
    running.signal(Signal::HUP);
    relays.open_gate();
    let ran = running.wait().expect(129);
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(hosts_that_are(&report, "changed"), ["node-01", "node-02"], "{report:#}");
    assert_eq!(hosts_that_are(&report, "skipped"), ["node-03", "node-04"]);
    assert_eq!(journal(&fleet).last().unwrap()["event"], "finished");
    (0..2).for_each(|index| fleet.assert_complete(index));
    (2..4).for_each(|index| assert_eq!(fleet.names(index), [""; 0]));
    // And a signal after it ends it at once.
    let running = apply_held_with_hangup(&fleet, &relays, "--default-signal=HUP");
    running.signal(Signal::HUP);
    eventually("it to say what it does now", || running.stderr().contains("interrupted").then_some(()));
    running.signal(Signal::TERM);
    running.wait().expect(143);
}

#[test]
fn under_nohup_a_run_goes_on() {
    let (fleet, relays) = relayed(3);
    let running = apply_held_with_hangup(&fleet, &relays, "--ignore-signal=HUP");
    running.signal(Signal::HUP);
    relays.open_gate();
    let ran = running.wait().expect(0);
    assert!(!ran.stderr.contains("interrupted"), "{}", ran.stderr);
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(hosts_that_are(&report, "changed").len(), 3, "{report:#}");
}

#[test]
fn a_second_signal_stops_at_once_and_the_next_run_converges() {
    let (fleet, relays) = relayed(4);
    let running = apply_held(&fleet, &relays);
    running.signal(Signal::TERM);
    running.signal(Signal::INT);
    // The gate is still closed: nothing was waited for.
    let ran = running.wait().expect(130);
    assert_eq!(ran.stdout, "");
    assert_eq!(journaled_hosts(&fleet), [""; 0]);
    let ca = fleet.env.read("state/ca.pem");
    relays.open_gate();
    let (code, report) = fleet.json(&["apply"]);
    assert_eq!((code, hosts_that_are(&report, "changed").len()), (0, 4), "{report:#}");
    assert_eq!(fleet.env.read("state/ca.pem"), ca);
    (0..4).for_each(|index| fleet.assert_complete(index));
}

#[test]
fn two_runs_at_once_the_second_names_the_holders_pid() {
    let (fleet, relays) = relayed(3);
    let mut running = apply_held(&fleet, &relays);
    let state = fleet.env.tree_hash("state");
    let pid = running.pid().to_string();
    for command in ["apply", "distribute"] {
        let (code, report) = fleet.json(&[command]);
        assert_eq!((code, &report["error"]["code"]), (4, &"state_locked".into()), "{report:#}");
        let message = report["error"]["message"].as_str().unwrap();
        assert!(message.split(|c: char| !c.is_ascii_digit()).any(|word| word == pid), "{pid}: {message}");
    }
    assert!(!running.has_ended());
    assert_eq!(fleet.env.tree_hash("state"), state);
    assert_eq!(relays.connections(), 2, "the refused run reached no host");
    relays.open_gate();
    let report: Value = serde_json::from_str(&running.wait().expect(0).stdout).unwrap();
    assert_eq!(hosts_that_are(&report, "changed").len(), 3);
    fleet.run(&["apply"]).expect(0);
}
