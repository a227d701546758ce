//! Login shells that will not do, and noise and restrictions that do no harm.

use crate::need_root;
use crate::support::{TestHost, Trial, require};

fn change_shell(host: &TestHost, shell: &str) {
    host.must(&format!("sed -i 's|^\\(root:.*\\):[^:]*$|\\1:{shell}|' /etc/passwd"));
}

fn shell_named(name: &str) -> String {
    require(name).display().to_string()
}

#[test]
fn banner_motd_and_bashrc_noise() {
    need_root!();
    let noise = "echo motd line; printf 'no newline'; printf 'warning' >&2; printf '\\377\\000\\033[31m'";
    let trial = Trial::of(|builder| {
        builder
            .banner("AUTHORIZED USE ONLY\nbegin end fail\n")
            .bashrc(noise)
            .login_shell("bash")
            .sshd_option("PrintMotd yes")
    });
    trial.host().write("/etc/motd", "welcome\n");
    trial.assert_succeeds();
}

#[test]
fn login_shell_nologin() {
    need_root!();
    let trial = Trial::new();
    change_shell(trial.host(), "/usr/sbin/nologin");
    let error = trial.assert_fault("shell_unusable");
    assert!(error["message"].as_str().unwrap().contains("account is currently not available"), "{error:#}");
    assert!(error["hint"].as_str().unwrap().contains("login shell"), "{error:#}");
    change_shell(trial.host(), "/bin/bash");
    trial.assert_mended();
}

#[test]
fn login_shell_rbash() {
    need_root!();
    // A restricted shell that may not start sh; one that may is no fault.
    let trial = Trial::new();
    change_shell(trial.host(), &shell_named("rbash"));
    trial.host().write("/root/.bashrc", "PATH=/nowhere\n");
    trial.assert_fault("shell_unusable");
    trial.host().write("/root/.bashrc", "");
    trial.assert_mended();
}

#[test]
fn login_shell_fish() {
    need_root!();
    Trial::of(|builder| builder.login_shell("fish")).assert_succeeds();
}

#[test]
fn login_shell_csh() {
    need_root!();
    Trial::of(|builder| builder.login_shell("csh")).assert_succeeds();
}

#[test]
fn sftp_disabled() {
    // No Subsystem line is in any test host's sshd_config; here even a default one would go nowhere.
    let trial = Trial::of(|builder| builder.sshd_option("Subsystem sftp /bin/false"));
    trial.assert_succeeds();
}

#[test]
fn force_command_internal_sftp() {
    let mut trial = Trial::new();
    trial.host_mut().set_option(Some("ForceCommand internal-sftp"));
    let error = trial.assert_fault("shell_unusable");
    assert!(error["hint"].as_str().unwrap().contains("ForceCommand"), "{error:#}");
    trial.host_mut().set_option(None);
    trial.assert_mended();
}
