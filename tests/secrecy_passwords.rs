//! Passwords and passphrases stay between the person, this program and the server or sudo that asks for them: no command
//! line, environment, log, error, journal or report on either side holds one, whatever the hosts do with it.
#![allow(clippy::unwrap_used, reason = "test code")]

mod support;

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};
use support::{Canaries, ExecTrace, Fleet, Member, Sampler, TestHost, require};

/// Each test's own: its preparations stand in command lines, which the other test must not take for a leak.
fn canary(kind: &str) -> String {
    let test = std::thread::current().name().map(str::to_owned);
    format!("Kd.{}", &kubemint::digest::Digest::of(format!("{kind} {}", test.unwrap())).to_string()[..24])
}

fn canaries() -> Canaries {
    let mut canaries = Canaries::default();
    for (name, secret) in [
        ("the login password", &canary("login")),
        ("sudo's password", &canary("sudo")),
        ("the passphrase", &canary("phrase")),
        ("the wrong password", &canary("wrong")),
    ] {
        canaries.add(name, secret.as_bytes());
    }
    canaries
}

/// Two hosts that want the passwords of different people for login and sudo, one that takes the key.
fn fleet(more: Vec<Member>) -> Fleet {
    let asks = "Defaults rootpw\nops ALL=(ALL) ALL";
    let by_password = TestHost::builder("by-password").sshd_option("PasswordAuthentication yes");
    let by_key = TestHost::builder("by-key").login_shell("fish");
    let by_questions =
        TestHost::builder("by-questions").sshd_option("UsePAM yes").sshd_option("KbdInteractiveAuthentication yes");
    let mut members = vec![
        Member::new(by_password).by_sudo_with(asks),
        Member::new(by_questions).by_sudo_with(asks),
        Member::new(by_key).by_sudo_with(asks),
    ];
    members.extend(more);
    let fleet = Fleet::new(members);
    for host in &fleet.hosts {
        host.simplify_pam();
        host.set_password("root", &canary("sudo"));
        if host.name() != "by-key" {
            host.forget_authorized_keys();
            host.set_password("ops", &canary("login"));
        }
    }
    let key = &fleet.client.identity_files[0];
    let lock = Command::new(require("ssh-keygen"))
        .args(["-q", "-p", "-P", "", "-N", &canary("phrase"), "-f"])
        .arg(key)
        .output();
    assert!(lock.unwrap().status.success());
    for (name, secret) in [
        ("login", &canary("login")),
        ("sudo", &canary("sudo")),
        ("phrase", &canary("phrase")),
        ("wrong", &canary("wrong")),
    ] {
        fleet.env.write(name, secret);
        fleet.env.set_mode(name, 0o600);
    }
    fleet
}

const GOOD: &str = "--password-file login --become-password-fd 3 --key-passphrase-file /dev/fd/4 3<sudo 4<phrase";

/// Runs it by a shell that opens the descriptors; gives exit code and everything said.
fn run(fleet: &Fleet, program: &str, line: &str) -> (i32, String) {
    let mut command = Command::new("bash");
    command.args(["-c", &format!("{program} {line}")]).current_dir(fleet.env.dir()).env_clear();
    command.env("HOME", fleet.env.path("home")).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").stdin(Stdio::null());
    let output = command.output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap_or(-1), String::from_utf8(said).unwrap())
}

fn files_below(dir: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

#[test]
fn no_program_on_either_side_is_told_a_password() {
    need_root!();
    let mut fleet = fleet(Vec::new());
    let canaries = canaries();
    let trace =
        |host: &TestHost| ExecTrace::attach(host.listener_pid(), &fleet.env.path(format!("{}.trace", host.name())));
    let traces: Vec<ExecTrace> = fleet.hosts.iter().map(trace).collect();
    let sampler = Sampler::start();
    let log = fleet.env.path("client.trace");
    let strace = format!("{} {}", require("strace").display(), ExecTrace::options(&log).join(" "));
    let binary = env!("CARGO_BIN_EXE_kubemint");
    let (code, said) = run(&fleet, &format!("{strace} {binary}"), &format!("apply -vv {GOOD}"));
    assert_eq!(code, 0, "{said}");
    let (code, again) = run(&fleet, binary, &format!("status -vv -o json {GOOD}"));
    assert_eq!(code, 0, "{again}");
    let sampled = sampler.finish();
    fleet.hosts.iter_mut().for_each(TestHost::stop);
    for proof in ["with the password", "with the password (keyboard-interactive)", "id_ed25519"] {
        assert!(said.contains(&format!("as ops {proof}")) || said.contains(proof), "{proof}: {said}");
    }
    canaries.assert_absent("what was said", said + &again);
    canaries.assert_absent("a program that we started", fs::read(log).unwrap());
    for trace in traces {
        let trace = trace.finish();
        assert!(trace.contains("sudo") && trace.contains("-S"), "{trace}");
        canaries.assert_absent("a program that a host started", trace);
    }
    for sample in &sampled {
        canaries.assert_absent("a command line or an environment", sample);
    }
    for path in files_below(&fleet.env.path("state")) {
        canaries.assert_absent(&path.display().to_string(), fs::read(&path).unwrap());
    }
    for host in &fleet.hosts {
        for path in files_below(&host.path("/etc/kubernetes")) {
            canaries.assert_absent(&path.display().to_string(), fs::read(&path).unwrap());
        }
    }
    // The nose works.
    assert!(canaries.find(&fs::read(fleet.env.path("sudo")).unwrap()).is_some());
}

#[test]
fn hosts_that_repeat_a_password_are_not_quoted() {
    need_root!();
    let talkative = [
        ("sudo-echo", "read l; echo \"sudo: $l: wrong\"; exit 1"),
        ("sudo-base64", "read l; echo \"$l\" | base64; exit 1"),
        ("sudo-hex", "read l; printf %s \"$l\" | od -An -v -tx1 | tr -d ' \\n'; exit 1"),
        ("sudo-pieces", "read l; echo \"$l\" | fold -w 12; exit 1"),
        ("sudo-asks", "read l; printf 'is it %s? ' \"$l\"; sleep 2; exit 1"),
        // Root's shell is there, and fails with the password in its words.
        (
            "sudo-root",
            "read l; eval \"set -- \\\"\\$8\\\"\"; m=${1#echo }; echo \"${m%%;*}\"; cat >/dev/null; echo \"no $l\"; exit 1",
        ),
    ];
    let member = |(name, _): &(&'static str, &str)| {
        let builder = TestHost::builder(name).sshd_option("PasswordAuthentication yes");
        Member::new(builder).by_sudo_with("ops ALL=(ALL) ALL")
    };
    let mut fleet = fleet(talkative.iter().map(member).collect());
    // One that waits for an answer to its own question is waited for in each run.
    fleet.set_settings("[distribute]\nidle_timeout = \"5s\"\n");
    for (name, script) in talkative {
        let host = fleet.hosts.iter().find(|host| host.name() == name).unwrap();
        host.replace_program("sudo", &format!("#!/bin/sh\nprintf %s \"$3\"\n{script}\n"));
    }
    let canaries = canaries();
    let binary = env!("CARGO_BIN_EXE_kubemint");
    for arguments in [
        format!("apply -vv {GOOD}"),
        format!("apply -vv -o json {GOOD}"),
        format!("plan -vv {GOOD}"),
        "apply -vv --password-file wrong --become-password-file wrong --key-passphrase-file phrase".to_owned(),
        "apply -vv -o json --password-file login --become-password-file wrong --key-passphrase-file phrase".to_owned(),
        "apply -vv --key-passphrase-file wrong".to_owned(),
        "apply -vv --password-file login --become-password-file login --key-passphrase-file login".to_owned(),
    ] {
        let (code, said) = run(&fleet, binary, &arguments);
        assert!(code == 3 || code == 2, "{arguments}: {said}");
        canaries.assert_absent(&arguments, &said);
    }
    for path in files_below(&fleet.env.path("state")) {
        canaries.assert_absent(&path.display().to_string(), fs::read(&path).unwrap());
    }
}
