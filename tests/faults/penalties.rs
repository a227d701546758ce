//! A server that locks out addresses with failed logins, as OpenSSH does since 9.8: the real one, where there is one.

use crate::{
    need_root,
    support::{
        Firewall, Fleet, Member, TestHost, Trial, host_of, hosts_that_are, penalising_sshd, public_of, skipped, within,
    },
};
use std::time::Duration;

const NOT_NOW: &str = "Not allowed at this time";
/// What sshd logs of each connection that it drops.
const DROPPED: &str = "drop connection";

fn connections(host: &TestHost) -> usize {
    host.log().matches("Connection from").count()
}

#[test]
fn server_penalises_failed_logins() {
    need_root!();
    let Some(sshd) = penalising_sshd() else { return };
    // Two failures in a row are enough, or one more on a busy machine: they are counted by the second.
    let penalties = "PerSourcePenalties authfail:12s min:18s max:25s";
    let mut trial = Trial::of(|builder| builder.sshd(&sshd).sshd_option(penalties));
    trial.host().forget_authorized_keys();
    let mut refused = 0;
    while !trial.host().log().contains(DROPPED) {
        let before = connections(trial.host());
        let (exit, report) = trial.fleet.json(&["apply", "--limit", "faulty"]);
        let error = &host_of(&report, "faulty")["error"];
        if error["code"] == "auth_failed" {
            refused += 1;
            // No faster than we run.
            assert_eq!(connections(trial.host()) - before, 1, "one failure a run: {}", trial.host().log());
            assert!(refused < 8, "no penalty came: {}", trial.host().log());
        }
        assert_eq!(exit, 3, "{report:#}");
    }
    assert!(refused >= 2, "{refused}: {}", trial.host().log());
    assert!(trial.host().log().contains("penalty: failed authentication"), "{}", trial.host().log());
    let failures = || trial.host().log().matches("Failed publickey").count();
    let known = failures();
    let error = trial.assert_fault("handshake_failed");
    let (message, hint) = (error["message"].as_str().unwrap(), error["hint"].as_str().unwrap());
    assert!(message.contains(NOT_NOW) && message.contains("tried"), "{error:#}");
    assert!(hint.contains("PerSourcePenalties") && hint.contains("wait"), "{error:#}");
    assert_eq!(failures(), known, "what is dropped fails no login");
    // It lets us in again by itself, also while it is asked.
    trial.host().authorize(&public_of(&trial.fleet.client.identity_files[0]));
    within(Duration::from_secs(90), "the penalty to end", || {
        let (exit, _) = trial.fleet.json(&["status", "--limit", "faulty"]);
        (exit == 0).then_some(())
    });
    trial.assert_mended();
    trial.host_mut().set_option(None);
}

#[test]
fn refused_logins_lock_nobody_out_of_the_hosts_that_work() {
    need_root!();
    let Some(sshd) = penalising_sshd() else { return };
    let host = |name: &str| TestHost::builder(name).sshd(&sshd).sshd_option("PerSourcePenalties yes");
    let jump = host("bastion").start();
    let names = ["good-1", "good-2", "bad-1", "bad-2", "bad-3", "bad-4", "bad-5"];
    let fleet = Fleet::new(names.map(|name| Member::new(host(name))).into());
    fleet.client.meet(&jump);
    let way = format!("[ssh]\njump = \"{}@{}:{}\"\n", jump.user(), jump.address(), jump.port());
    let inventory = fleet.env.read("inventory.toml").replace("[ssh]\n", &way);
    fleet.env.write("inventory.toml", inventory);
    fleet.hosts[2..].iter().for_each(TestHost::forget_authorized_keys);
    for run in 0..4 {
        let (exit, report) = fleet.json(&["apply"]);
        assert_eq!((exit, hosts_that_are(&report, "failed")), (3, names[2..].to_vec()), "{run}: {report:#}");
        let good = if run == 0 { "changed" } else { "unchanged" };
        assert_eq!(hosts_that_are(&report, good), names[..2], "{run}: {report:#}");
    }
    for host in [&jump, &fleet.hosts[0], &fleet.hosts[1]] {
        assert!(!host.log().contains("penalty"), "{}: {}", host.name(), host.log());
    }
    for host in &fleet.hosts[2..] {
        let failed = host.log().matches("Failed publickey").count();
        assert!((1..=4).contains(&failed), "{}: one failure a run at most: {}", host.name(), host.log());
    }
}

#[test]
fn a_lock_out_that_resets_connections_is_told_and_ends() {
    need_root!();
    let trial = Trial::new();
    trial.host().forget_authorized_keys();
    let before = connections(trial.host());
    for _ in 0..2 {
        let (_, report) = trial.fleet.json(&["apply", "--limit", "faulty"]);
        assert_eq!(host_of(&report, "faulty")["error"]["code"], "auth_failed", "{report:#}");
    }
    assert_eq!(connections(trial.host()) - before, 2, "one failure a run: {}", trial.host().log());
    let Some(wall) = Firewall::start(trial.host().address(), trial.host().port(), "reject with tcp reset") else {
        skipped("this kernel has no nftables");
        return;
    };
    trial.assert_fault("connect_refused");
    drop(wall);
    trial.host().authorize(&public_of(&trial.fleet.client.identity_files[0]));
    trial.assert_mended();
}
