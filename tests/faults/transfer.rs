//! Connections that break, hang, or lose their other end while credentials are on their way.

use crate::need_root;
use crate::support::{FAULTY, Firewall, Trial, eventually, hosts_that_are, kill};
use serde_json::Value;

/// Reads half of what is sent, says so, and then does this.
fn half_read(then: &str) -> String {
    format!("ForceCommand head -c 20000 >/dev/null; touch /tmp/half-read; {then}")
}

fn wait_until_half_read(trial: &Trial) {
    eventually("half of the transfer", || trial.fleet.hosts[FAULTY].exists("/tmp/half-read").then_some(()));
}

#[test]
fn connection_reset_mid_transfer() {
    need_root!();
    let mut trial = Trial::new();
    trial.host_mut().set_option(Some(&format!("ClientAliveInterval 1\n{}", half_read("exec sleep 600"))));
    let old = trial.fleet.holding(FAULTY);
    let running = trial.fleet.start(&["apply", "-o", "json"]);
    wait_until_half_read(&trial);
    let (address, port) = (trial.host().address(), trial.host().port());
    // The server asks whether we are still there; our answer is met with a reset.
    let Some(wall) = Firewall::start(address, port, "reject with tcp reset") else {
        crate::support::skipped("this kernel has no nftables");
        return;
    };
    let ran = running.wait();
    drop(wall);
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    let error = trial.assert_failed(ran.code, &report, "connection_lost", &old);
    assert!(error["hint"].as_str().unwrap().contains("run again"), "{error:#}");
    trial.host_mut().set_option(None);
    trial.assert_mended();
}

#[test]
fn connection_killed_mid_transfer() {
    need_root!();
    let mut trial = Trial::new();
    trial.host_mut().set_option(Some(&half_read("exec sleep 600")));
    let old = trial.fleet.holding(FAULTY);
    let running = trial.fleet.start(&["apply", "-o", "json"]);
    wait_until_half_read(&trial);
    trial.host().session_pids().into_iter().for_each(kill);
    let ran = running.wait();
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    trial.assert_failed(ran.code, &report, "connection_lost", &old);
    trial.host_mut().set_option(None);
    trial.assert_mended();
}

#[test]
fn killed_before_the_first_rename() {
    need_root!();
    // Everything is written, nothing renamed; the session goes, and the script notices only when it wants to speak.
    let mut trial = Trial::new();
    trial.host().replace_program("sync", "#!/bin/sh\ntouch /tmp/hangs; exec sleep 600\n");
    let old = trial.fleet.holding(FAULTY);
    let running = trial.fleet.start(&["apply", "-o", "json"]);
    eventually("the script to hang", || trial.host().exists("/tmp/hangs").then_some(()));
    trial.host_mut().stop();
    let ran = running.wait();
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((ran.code, hosts_that_are(&report, "failed")), (3, vec!["faulty"]), "{report:#}");
    // The machine went down: what it wrote lies there until the next run.
    let now = trial.fleet.holding(FAULTY);
    assert!(old.iter().all(|(name, entry)| now.get(name) == Some(entry)));
    let left: Vec<_> = now.keys().filter(|name| name.ends_with(".tmp")).collect();
    assert_eq!(left.len(), 3, "{left:?}");
    assert!(left.iter().all(|name| now[*name].0.0 == 0o600));
    trial.host().restore_program("sync");
    trial.host_mut().start();
    trial.assert_mended();
}

fn hang_mid_transfer(settings: &str) {
    need_root!();
    let mut trial = Trial::new();
    trial.set_settings(settings);
    // The session's sshd is stopped (SIGSTOP) half way.
    trial.host_mut().set_option(Some(&half_read("kill -STOP $PPID; exec sleep 600")));
    let error = trial.assert_fault("timed_out");
    assert!(trial.host().exists("/tmp/half-read"));
    assert!(error["message"].as_str().unwrap().contains("while the script ran"), "{error:#}");
    trial.host_mut().set_option(None);
    trial.assert_mended();
}

#[test]
fn hang_mid_transfer_ends_at_the_idle_deadline() {
    hang_mid_transfer("[distribute]\nidle_timeout = \"2s\"\n");
}

#[test]
fn hang_mid_transfer_ends_at_the_whole_host_deadline() {
    hang_mid_transfer("[distribute]\nhost_timeout = \"4s\"\n");
}

#[test]
fn remote_side_killed_between_temp_write_and_rename() {
    need_root!();
    let trial = Trial::new();
    trial.host().replace_program("mv", "#!/bin/sh\nkill -9 $PPID\n");
    let old = trial.fleet.holding(FAULTY);
    let (exit, report) = trial.fleet.json(&["apply"]);
    assert_eq!((exit, hosts_that_are(&report, "failed")), (3, vec!["faulty"]), "{report:#}");
    assert_eq!(report["hosts"][FAULTY]["error"]["code"], "connection_lost", "{report:#}");
    let now = trial.fleet.holding(FAULTY);
    assert!(old.iter().all(|(name, entry)| now.get(name) == Some(entry)));
    assert!(now.keys().any(|name| name.ends_with(".tmp")), "{:?}", now.keys());
    trial.host().restore_program("mv");
    // The next run sweeps the leftover: assert_mended knows no temporary file.
    trial.assert_mended();
}
