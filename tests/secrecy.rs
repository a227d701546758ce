//! No secret leaves the files that are made to hold it: not by output, journal or report, not by a wider mode, not by a
//! command line or an environment, on either side, whatever the hosts do with what they are sent.
#![allow(clippy::unwrap_used)]

mod support;

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
};
use support::{Canaries, ExecTrace, Fleet, Member, Running, Sampler, TestHost, eventually, require};

const BOTH: &[&str] = &["control-plane", "node"];
/// Rows of other users: no hex and no base64, and one that has to be quoted.
const MONITORING: &str = "mon-7Hq2-Zk9w-Lx4v-Pb8s-Td3f-Yc6m";
const DASHBOARD: &str = "Kd93-Wm27,Xr58-Hv64-Qs19-Bn30-Gt85";
/// Where the credential directory keeps secrets.
const VAULT: [&str; 5] = [
    "token.csv",
    "ca-key.pem",
    "certs/kube-proxy-key.pem",
    "kubeconfigs/bootstrap.kubeconfig",
    "kubeconfigs/kube-proxy.kubeconfig",
];

/// Generates, takes over the foreign rows, and learns every secret there is.
fn prepare(fleet: &Fleet) -> Canaries {
    let generated = fleet.run(&["generate", "-vv"]).expect(0);
    fleet.env.write("foreign.csv", format!("{MONITORING},monitoring,2001\n\"{DASHBOARD}\",dashboard,2002\n"));
    let merged = fleet.run(&["token", "merge", "foreign.csv", "-vv"]).expect(0);
    let mut canaries = Canaries::default();
    let token = fleet.env.read("state/token.csv");
    let token = token.lines().find(|row| row.contains("kubelet-bootstrap")).unwrap().split(',').next().unwrap();
    canaries.add("the bootstrap token", token.as_bytes());
    let bytes: Vec<u8> = (0..32).step_by(2).map(|n| u8::from_str_radix(&token[n..n + 2], 16).unwrap()).collect();
    canaries.add("the bootstrap token's bytes", &bytes);
    canaries.add("the token of monitoring", MONITORING.as_bytes());
    canaries.add("the token of dashboard", DASHBOARD.as_bytes());
    canaries.add_pkcs8_key("the CA key", &fleet.env.read("state/ca-key.pem"));
    canaries.add_pkcs8_key("the kube-proxy key", &fleet.env.read("state/certs/kube-proxy-key.pem"));
    canaries.add_openssh_key("the SSH key", &fs::read_to_string(&fleet.client.identity_files[0]).unwrap());
    // The nose works: it finds each secret where it belongs, in whatever form it stands there.
    for file in VAULT {
        assert!(canaries.find(fleet.env.read(format!("state/{file}")).as_bytes()).is_some(), "{file}");
    }
    assert!(canaries.find(&fs::read(&fleet.client.identity_files[0]).unwrap()).is_some());
    for ran in [generated, merged] {
        canaries.assert_absent("what the first run said", ran.stdout + &ran.stderr);
    }
    for file in ["ca.pem", "certs/kube-proxy.pem", "state.json"] {
        canaries.assert_absent(file, fleet.env.read(format!("state/{file}")));
    }
    canaries
}

/// All files below a directory.
fn files_below(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

/// Runs everything in text and JSON, and looks into what it said. Gives all of it, for the test to check that it ran.
fn assert_silent(fleet: &Fleet, canaries: &Canaries, commands: &[&[&str]]) -> String {
    let mut said = String::new();
    for command in commands {
        for format in ["text", "json"] {
            let ran = fleet.run(&[command, &["-vv", "-o", format][..]].concat());
            for (stream, text) in [("standard output", &ran.stdout), ("standard error", &ran.stderr)] {
                canaries.assert_absent(&format!("{stream} of {command:?} ({format})"), text);
                said.push_str(text);
            }
        }
    }
    let secret: Vec<PathBuf> = VAULT.iter().map(|file| fleet.env.path("state").join(file)).collect();
    for path in files_below(&fleet.env.path("state")).iter().filter(|path| !secret.contains(path)) {
        canaries.assert_absent(&path.display().to_string(), fs::read(path).unwrap());
    }
    said
}

/// What a host may do with the script instead of running it, or while it runs it. All as sshd_config(5) ForceCommand.
const TALKATIVE: [(&str, &str, &str); 12] = [
    ("echo", "cat", "shell_unusable"),
    ("complaint", "cat >&2; exit 3", "shell_unusable"),
    ("end", "tail -n 60 >&2", "shell_unusable"),
    ("rows", "grep -e kubelet-bootstrap -e monitoring -e dashboard >&2", "shell_unusable"),
    ("row", "grep -o mon-7Hq2-Zk9w-Lx4v-Pb8s-Td3f.* >&2", "shell_unusable"),
    ("key", "grep client-key-data", "shell_unusable"),
    ("pieces", "grep -e client-key-data -e token: | fold -w 26", "shell_unusable"),
    ("base64", "grep -e kubelet-bootstrap -e token: | base64 -w 0", "shell_unusable"),
    ("hex", "grep -e kubelet-bootstrap -e token: | od -An -v -tx1 | tr -d ' \\n'", "shell_unusable"),
    ("verbose", "sh -vs", ""),
    // A program that fails and repeats what it was given.
    ("mv", "sed '/^command export -n /a mv() { cat \"$2\" >&2; return 1; }' | sh -s", "write_failed"),
    // A disk that writes something else.
    (
        "sync",
        "sed '/^command export -n /a sync() { cat \"$@\" >&2; for f; do echo >>\"$f\"; done; }' | sh -s",
        "digest_mismatch",
    ),
];

#[test]
fn hosts_that_repeat_what_they_are_sent_are_not_quoted() {
    let members = TALKATIVE.iter().map(|(name, command, _)| {
        // Nothing but token.csv on some: the last line is then a row of another user.
        let roles = if *name == "mv" || *name == "sync" { &["control-plane"] } else { BOTH };
        Member::new(TestHost::builder(name).sshd_option(&format!("ForceCommand {command}"))).roles(roles)
    });
    let fleet = Fleet::new(members.collect());
    let canaries = prepare(&fleet);
    let said = assert_silent(&fleet, &canaries, &[&["plan"], &["apply"], &["distribute"], &["status"]]);
    assert!(said.contains("digest_mismatch"), "{said}");
    let (code, report) = fleet.json(&["apply"]);
    assert_eq!(code, 3, "{report:#}");
    for (name, _, code) in TALKATIVE.iter().filter(|(_, _, code)| !code.is_empty()) {
        assert_eq!(support::host_of(&report, name)["error"]["code"], *code, "{report:#}");
    }
}

#[test]
fn every_command_keeps_secrets_to_itself() {
    let fleet = Fleet::new(vec![
        Member::new(TestHost::builder("host-1")).roles(BOTH),
        Member::new(TestHost::builder("host-2")),
    ]);
    let canaries = prepare(&fleet);
    // What another tool left on a host: our token under another name, foreign rows, a kubeconfig with passwords.
    let stray = format!(
        "apiVersion: v1\nkind: Config\nclusters:\n- name: c\n  cluster:\n    server: https://admin:{MONITORING}@10.0.0.1:6443\n    \
         proxy-url: http://proxy:{MONITORING}@10.0.0.2:3128\nusers:\n- name: u\n  user:\n    token: {MONITORING}\n    \
         password: {MONITORING}\n    username: u\n    auth-provider:\n      name: oidc\n      config:\n        \
         id-token: {MONITORING}\n- name: e\n  user:\n    exec:\n      apiVersion: client.authentication.k8s.io/v1\n      \
         command: x\n      args: [--secret={MONITORING}]\n      env:\n      - name: SECRET\n        value: {MONITORING}\n\
         contexts:\n- name: d\n  context:\n    cluster: c\n    user: u\ncurrent-context: d\n"
    );
    fleet.env.write("stray.kubeconfig", &stray);
    let rows = format!("\"{DASHBOARD}\",dashboard,1\n{MONITORING},monitoring,2\n{MONITORING}\n \"{DASHBOARD}\",x,y\n");
    fleet.env.write("stray.csv", &rows);
    for (name, text) in [("bootstrap.kubeconfig", &stray), ("kube-proxy.kubeconfig", &stray), ("token.csv", &rows)] {
        fleet.hosts[0].write(&fleet.file(0, name), text);
    }
    let damaged = fs::read_to_string(&fleet.client.identity_files[0]).unwrap();
    fleet.env.write("damaged_key", &damaged[..damaged.len() * 2 / 3]);
    let inventory = fleet.env.read("inventory.toml");
    let key = fleet.client.identity_files[0].display().to_string();
    for (name, from, to) in [
        ("damaged.toml", key.clone(), fleet.env.path("damaged_key").display().to_string()),
        ("swapped.toml", fleet.client.known_hosts.display().to_string(), key.clone()),
        (
            "ca.toml",
            "[ssh]".into(),
            "[ca]\ncert = \"state/ca-key.pem\"\nkey = \"state/certs/kube-proxy-key.pem\"\n[ssh]".into(),
        ),
        (
            "misfit.toml",
            "[ssh]".into(),
            "[ca]\ncert = \"state/ca.pem\"\nkey = \"state/certs/kube-proxy-key.pem\"\n[ssh]".into(),
        ),
    ] {
        fleet.env.write(name, inventory.replace(&from, &to));
    }
    let said = assert_silent(
        &fleet,
        &canaries,
        &[
            &["plan"],
            &["status", "--exit-code"],
            &["-i", "damaged.toml", "apply"],
            &["-i", "swapped.toml", "apply"],
            &["-i", "ca.toml", "--state-dir", "other", "apply"],
            &["-i", "misfit.toml", "--state-dir", "other", "apply"],
            &["apply"],
            &["generate"],
            &["distribute"],
            &["verify"],
            &["status"],
            &["token", "show"],
            &["token", "lint", "state/token.csv"],
            &["token", "lint", "stray.csv"],
            &["token", "lint", "state/ca-key.pem"],
            &["token", "merge", "foreign.csv"],
            &["token", "merge", "stray.csv"],
            &["token", "merge", "state/certs/kube-proxy-key.pem"],
            &["token", "manifest"],
            &["cert", "list", "--check", "4000d"],
            &["kubeconfig", "inspect", "state/kubeconfigs/bootstrap.kubeconfig"],
            &["kubeconfig", "inspect", "state/kubeconfigs/kube-proxy.kubeconfig"],
            &["kubeconfig", "inspect", "stray.kubeconfig"],
            &["kubeconfig", "inspect", "state/token.csv"],
            &["kubeconfig", "inspect", "state/ca-key.pem"],
            // The wrong file in the wrong place.
            &["-i", "state/token.csv", "plan"],
            &["-i", "state/ca-key.pem", "plan"],
            &["-i", "state/kubeconfigs/bootstrap.kubeconfig", "plan"],
            &["-i", &key, "plan"],
            &["--limit", "@state/token.csv", "plan"],
            &["--limit", "@state/ca-key.pem", "plan"],
        ],
    );
    for proof in [
        "https://[redacted]@10.0.0.1:6443",
        "host_key_unknown",
        "key_unreadable",
        "has tokens of users",
        "system:kube-proxy",
    ] {
        assert!(said.contains(proof), "{proof}: {said}");
    }
    // What is asked for by name is given: the nose works on output too.
    assert!(canaries.find(fleet.run(&["token", "show", "--reveal"]).expect(0).stdout.as_bytes()).is_some());
    // A damaged state says so without repeating it.
    let token = fleet.env.read("state/token.csv");
    fleet.env.write("state/state.json", &token);
    fleet.env.write("state/kubeconfigs/bootstrap.kubeconfig", &token);
    assert_silent_output(&fleet, &canaries, &["verify"]);
    assert_silent_output(&fleet, &canaries, &["apply"]);
}

fn assert_silent_output(fleet: &Fleet, canaries: &Canaries, command: &[&str]) {
    let ran = fleet.run(&[command, &["-vv"][..]].concat());
    assert_ne!(ran.code, 0, "{ran:?}");
    canaries.assert_absent(&format!("{command:?}"), ran.stdout + &ran.stderr);
}

#[test]
fn no_command_line_and_no_environment_holds_a_secret_on_either_side() {
    need_root!();
    let fleet = Fleet::new(vec![
        Member::new(TestHost::builder("host-1")).roles(BOTH),
        Member::new(TestHost::builder("host-2").login_shell("fish")).by_sudo().roles(BOTH),
    ]);
    let canaries = prepare(&fleet);
    let traces: Vec<ExecTrace> = fleet
        .hosts
        .iter()
        .map(|host| ExecTrace::attach(host.listener_pid(), &fleet.env.path(format!("{}.trace", host.name()))))
        .collect();
    let sampler = Sampler::start();
    let mut fleet = fleet;
    let client = |number: usize, arguments: &[&str]| {
        let log = fleet.env.path(format!("client-{number}.trace"));
        let mut strace = Command::new(require("strace"));
        strace.args(ExecTrace::options(&log)).arg(env!("CARGO_BIN_EXE_kubemint"));
        Running::start_command(&fleet.env, strace, arguments).wait().expect(0);
        fs::read_to_string(log).unwrap()
    };
    let mut logs = vec![client(0, &["apply"])];
    // Every way through the installer: replaced, repaired, left alone; and both kinds of reading.
    for index in 0..2 {
        let token = fleet.file(index, "token.csv");
        fleet.hosts[index].write(&token, &format!("{MONITORING},kubelet-bootstrap,10001\n"));
        fleet.hosts[index].must(&format!("chmod 644 '{}'", fleet.file(index, "bootstrap.kubeconfig")));
    }
    let commands: [&[&str]; 6] = [&["plan", "-vv"], &["status"], &["apply"], &["apply"], &["generate"], &["verify"]];
    logs.extend(commands.iter().enumerate().map(|(n, command)| client(n + 1, command)));
    let sampled = sampler.finish();
    fleet.hosts.iter_mut().for_each(TestHost::stop);
    let hosts: Vec<String> = traces.into_iter().map(ExecTrace::finish).collect();

    for log in &logs {
        assert!(log.contains("/kubemint\", [\""), "{log}");
    }
    for log in &hosts {
        // Everything the installer calls was seen, from the login on.
        for program in ["sshd", "sha256sum", "sync", "ls", "mv", "chmod", "ln"] {
            assert!(log.contains(&format!("/{program}\"")), "{program}: {log}");
        }
    }
    assert!(hosts[1].contains("sudo"), "{}", hosts[1]);
    for log in logs.iter().chain(&hosts) {
        canaries.assert_absent("a program that was started", log);
    }
    for sample in &sampled {
        canaries.assert_absent("a command line or an environment", sample);
    }
    let saw = |text: &str| sampled.iter().any(|sample| sample.windows(text.len()).any(|part| part == text.as_bytes()));
    assert!(saw("/kubemint\0apply"), "the sampler did not see our side");
    assert!(saw("sh\0-s\0") && saw("SSH_CONNECTION="), "the sampler did not see the hosts' side");
}

#[test]
fn the_witnesses_see_a_secret_where_there_is_one() {
    let mut canaries = Canaries::default();
    let secret = "0b1c2d3e4f5061728394a5b6c7d8e9fa";
    canaries.add("the secret", secret.as_bytes());
    canaries.assert_absent("other text", "0b1c2d3e4f50617283 94a5b6c7d8e9fa and 0b1c2d3e4f506172839");
    let base64 = |text: &str| {
        let mut command = Command::new("base64");
        let mut child = command.arg("-w0").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), text.as_bytes()).unwrap();
        String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
    };
    for text in [secret.to_owned(), format!("x{secret}y"), format!("xx{secret}"), format!("token: {secret}\n")] {
        let hex: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
        for form in [text.clone(), base64(&text), hex.to_uppercase(), hex] {
            assert!(canaries.find(form.as_bytes()).is_some(), "{form}");
        }
    }
    // As an argument, in the environment, and of a process that is gone at once.
    for (argument, variable) in [(secret, ""), ("", secret)] {
        let sampler = Sampler::start();
        let mut child = Command::new("sh")
            .args(["-c", "read x", argument])
            .env("X", variable)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        eventually("the process to be there", || {
            let line = fs::read(format!("/proc/{}/cmdline", child.id())).unwrap();
            line.starts_with(b"sh\0").then_some(())
        });
        let sampled = sampler.finish();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(sampled.iter().any(|sample| canaries.find(sample).is_some()), "{argument}{variable}");
        let log = tempfile::NamedTempFile::new().unwrap();
        let mut strace = Command::new(require("strace"));
        strace.args(ExecTrace::options(log.path())).args(["true", argument]).env("X", variable);
        assert!(strace.status().unwrap().success());
        assert!(canaries.find(&fs::read(log.path()).unwrap()).is_some(), "{argument}{variable}");
    }
}

/// What stood in a directory while something was going on: each name with the widest mode it ever had.
fn watch(dirs: &[PathBuf], over: &AtomicBool, seen: impl Fn(&Path)) -> BTreeMap<PathBuf, u32> {
    let mut modes = BTreeMap::new();
    while !over.load(Ordering::Relaxed) {
        for path in dirs.iter().filter_map(|dir| fs::read_dir(dir).ok()).flatten().flatten().map(|entry| entry.path()) {
            let Ok(metadata) = path.symlink_metadata() else { continue };
            *modes.entry(path.clone()).or_default() |= metadata.permissions().mode() & 0o7777;
            seen(&path);
        }
    }
    modes
}

#[test]
fn no_file_is_ever_wider_than_0600_even_under_a_umask_that_allows_all() {
    need_root!();
    let builder = TestHost::builder("host-1").login_shell("bash").bashrc("umask 000\n");
    let mut fleet = Fleet::new(vec![Member::new(builder).roles(BOTH)]);
    let host = &fleet.hosts[0];
    // The host waits until it has been looked at: when new files have just been made, and when they have been written.
    let wait = "while [ ! -e /mnt/looked-at ]; do sleep 0.01; done; rm -f /mnt/looked-at";
    host.replace_program("ls", &format!("#!/bin/sh\ncase $* in *.tmp*) {wait} ;; esac\nexec @REAL@ \"$@\"\n"));
    host.replace_program("sync", &format!("#!/bin/sh\n{wait}\nexec @REAL@ \"$@\"\n"));
    let looked_at = host.path("/mnt/looked-at");
    let state = fleet.env.path("state");
    let dirs = [host.path("/etc/kubernetes"), state.clone(), state.join("certs"), state.join("kubeconfigs")];
    let run = |arguments: &[&str]| {
        let mut shell = Command::new("sh");
        shell.args(["-c", "umask 000; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_kubemint")]);
        Running::start_command(&fleet.env, shell, arguments).wait().expect(0)
    };
    let over = AtomicBool::new(false);
    let mut modes = BTreeMap::new();
    std::thread::scope(|scope| {
        let watching = scope.spawn(|| {
            watch(&dirs, &over, |path| {
                if path.starts_with(&dirs[0]) {
                    fs::write(&looked_at, "").unwrap();
                }
            })
        });
        run(&["apply"]);
        host.write("/etc/kubernetes/token.csv", "x,kubelet-bootstrap,z\n");
        host.must("chmod 600 /etc/kubernetes/token.csv");
        run(&["apply"]);
        over.store(true, Ordering::Relaxed);
        modes = watching.join().unwrap();
    });
    let names: Vec<String> = modes.keys().map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect();
    let temporary = names.iter().filter(|name| name.starts_with(".kubemint-") && name.ends_with(".tmp")).count();
    assert!(temporary >= 4, "three new files and a replaced one were watched on their way: {names:?}");
    assert!(names.iter().any(|name| name == ".token.csv.kubemint-previous"), "{names:?}");
    for (path, mode) in &modes {
        let allowed = if path.starts_with(&state) && path.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode & !allowed, 0, "{}: {mode:o}", path.display());
    }
    for path in files_below(&state) {
        assert_eq!(fleet.env.mode(&path), 0o600, "{}", path.display());
        assert_eq!(fleet.env.mode(path.parent().unwrap()), 0o700, "{}", path.display());
    }
    fleet.assert_complete_beside(0, &[".token.csv.kubemint-previous"]);
    fleet.hosts[0].stop();
}
