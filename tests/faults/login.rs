//! Hosts that do not let us in, and hosts that are slow to.

use crate::need_root;
use crate::support::{FAULTY, Firewall, HEALTHY, Trial, eventually, host_of, public_of, require};
use serde_json::Value;
use std::{net::TcpStream, path::PathBuf, process::Command};

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

/// Whether this sshd punishes addresses by itself.
fn has_penalties() -> bool {
    let said = Command::new(require("sshd")).arg("-V").output().unwrap();
    let text = String::from_utf8_lossy(&said.stderr).into_owned();
    let version = text.split("OpenSSH_").nth(1).and_then(|rest| rest.split(['p', ' ', ',']).next());
    version.and_then(|version| version.parse::<f64>().ok()).is_some_and(|version| version >= 9.8)
}

#[test]
fn server_penalises_failed_logins() {
    need_root!();
    const FAILURES: usize = 2;
    let mut trial = Trial::new();
    let own = has_penalties();
    if own {
        trial.host_mut().set_option(Some("PerSourcePenalties authfail:30s min:5s"));
    }
    trial.host().forget_authorized_keys();
    let failed = |trial: &Trial| trial.host().log().matches("Connection from").count();
    let before = failed(&trial);
    for _ in 0..FAILURES {
        let (_, report) = trial.fleet.json(&["apply", "--limit", "faulty"]);
        let code = host_of(&report, "faulty")["error"]["code"].as_str().unwrap().to_owned();
        assert!(code == "auth_failed" || own && code == "handshake_failed", "{report:#}");
    }
    // One connection and one failure a run: the server has no reason to count faster than we run.
    assert!(own || failed(&trial) - before == FAILURES, "{}", trial.host().log());
    let (address, port) = (trial.host().address(), trial.host().port());
    let wall = if own { None } else { Firewall::start(address, port, "reject with tcp reset") };
    if wall.is_none() && !own {
        crate::support::skipped("this kernel has no nftables, and this sshd no penalties");
        return;
    }
    trial.assert_fault(if own { "handshake_failed" } else { "connect_refused" });
    drop(wall);
    if own {
        trial.host_mut().set_option(None);
    }
    let public = public_of(&trial.fleet.client.identity_files[0]);
    trial.host().authorize(&public);
    trial.assert_mended();
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
