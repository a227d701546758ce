//! Hosts that do not let us in, and hosts that are slow to.

use crate::need_root;
use crate::support::{FAULTY, HEALTHY, Trial, eventually, host_of, public_of, require};
use serde_json::Value;
use std::{net::TcpStream, path::PathBuf};

#[test]
fn auth_refused() {
    let trial = Trial::new();
    trial.host().forget_authorized_keys();
    let before = trial.host().log().matches("Connection from").count();
    let error = trial.assert_fault("auth_failed");
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("id_ed25519 (refused)"), "{message}");
    assert!(error["hint"].as_str().unwrap().contains("authorized_keys"), "{error:#}");
    assert_eq!(trial.host().log().matches("Connection from").count() - before, 1, "a refused login is not repeated");
    let public = public_of(&trial.fleet.client.identity_files[0]);
    trial.host().authorize(&public);
    trial.assert_mended();
}

#[test]
fn expired_password_with_pam() {
    need_root!();
    // Debian's own service asks for more than an account check; the host has what this needs.
    let trial = Trial::of(|builder| builder.sshd_option("UsePAM yes"));
    trial.host().write("/etc/pam.d/sshd", "auth required pam_deny.so\naccount required pam_unix.so\nsession required pam_permit.so\npassword required pam_unix.so\n");
    trial.host().must("chage -d 0 root");
    let error = trial.assert_fault("password_expired");
    assert!(error["message"].as_str().unwrap().to_lowercase().contains("password"), "{error:#}");
    assert!(error["hint"].as_str().unwrap().contains("passwd root"), "{error:#}");
    trial.host().must("chage -d 20000 root");
    trial.assert_mended();
}

#[test]
fn expired_account_with_pam() {
    need_root!();
    let trial = Trial::of(|builder| builder.sshd_option("UsePAM yes"));
    trial.host().write("/etc/pam.d/sshd", "auth required pam_deny.so\naccount required pam_unix.so\nsession required pam_permit.so\npassword required pam_unix.so\n");
    trial.host().must("chage -E 1 root");
    let error = trial.assert_fault("auth_failed");
    assert!(error["hint"].as_str().unwrap().contains("expired"), "{error:#}");
    trial.host().must("chage -E -1 root");
    trial.assert_mended();
}

#[test]
fn too_many_agent_keys() {
    let mut trial = Trial::of(|builder| builder.sshd_option("MaxAuthTries 2"));
    let keys: Vec<PathBuf> =
        (0..4).map(|n| trial.fleet.client.make_key(&format!("agent{n}"), &["-t", "ed25519", "-N", ""])).collect();
    trial.fleet.client.start_agent(&keys.iter().map(PathBuf::as_path).collect::<Vec<_>>());
    let socket = trial.fleet.client.agent.as_ref().unwrap().socket.clone();
    let apply = || {
        let ran =
            trial.fleet.env.kubemint().args(["apply", "-o", "json"]).env("SSH_AUTH_SOCK", &socket).output().unwrap();
        (ran.status.code(), serde_json::from_slice::<Value>(&ran.stdout).unwrap())
    };
    // The configured key comes first: the server never counts to two.
    let (exit, report) = apply();
    assert_eq!((exit, &host_of(&report, "faulty")["status"]), (Some(0), &"changed".into()), "{report:#}");
    [HEALTHY, FAULTY].into_iter().for_each(|index| trial.assert_new(index));
}

fn sudo_fault(break_it: &str, mend_it: &str, said: &str) {
    let trial = Trial::by_sudo();
    trial.host().must(break_it);
    let error = trial.assert_fault("become_failed");
    assert!(error["message"].as_str().unwrap().contains(said), "{error:#}");
    assert!(error["hint"].as_str().unwrap().contains("sudo"), "{error:#}");
    trial.host().must(mend_it);
    trial.assert_mended();
}

const KEEP: &str = "cp -a /etc/sudoers /mnt/sudoers && ";
const RESTORE: &str = "cp -a /mnt/sudoers /etc/sudoers";

#[test]
fn sudo_needs_a_password() {
    need_root!();
    sudo_fault(&format!("{KEEP} sed -i s/NOPASSWD:// /etc/sudoers"), RESTORE, "password");
}

#[test]
fn sudo_is_missing() {
    need_root!();
    let sudo = require("sudo").canonicalize().unwrap();
    let hide = format!("touch /mnt/nothing && chmod 644 /mnt/nothing && mount --bind /mnt/nothing {}", sudo.display());
    sudo_fault(&hide, &format!("umount {}", sudo.display()), "sudo");
}

#[test]
fn sudo_is_denied() {
    need_root!();
    sudo_fault(&format!("{KEEP} sed -i 's/^ops .*/root ALL=(ALL) ALL/' /etc/sudoers"), RESTORE, "password");
}

#[test]
fn sudo_wants_a_tty() {
    need_root!();
    sudo_fault(&format!("{KEEP} echo 'Defaults requiretty' >>/etc/sudoers"), RESTORE, "tty");
}

#[test]
fn max_sessions_1() {
    let trial = Trial::of(|builder| builder.sshd_option("MaxSessions 1"));
    trial.assert_succeeds();
}

#[test]
fn max_startups_drops() {
    let trial = Trial::of(|builder| builder.sshd_option("MaxStartups 1:100:1"));
    let waiting = TcpStream::connect((trial.host().address(), trial.host().port())).unwrap();
    let seen = trial.host().log().matches("Connection from").count();
    eventually("the waiting connection to be seen", || {
        // Two of them are from the runs that brought the first credentials.
        (trial.host().log().matches("Connection from").count() >= seen.max(2)).then_some(())
    });
    let running = trial.fleet.start(&["apply", "-o", "json"]);
    eventually("a dropped connection", || trial.host().log().contains("drop connection").then_some(()));
    drop(waiting);
    let report: Value = serde_json::from_str(&running.wait().expect(0).stdout).unwrap();
    assert_eq!(host_of(&report, "faulty")["status"], "changed", "{report:#}");
    trial.assert_new(FAULTY);
    trial.fleet.run(&["status", "--exit-code"]).expect(0);
}
