//! What is typed, or stands in files and replies, is shown without anything that a terminal obeys: the real binary, its
//! errors of usage, its JSON, and a real sshd that answers with our own secrets.
#![allow(clippy::unwrap_used, reason = "test code")]

mod support;

use kubemint::secret::is_unprintable;
use std::{fs, io::Write, net::TcpListener, os::unix::fs::PermissionsExt, thread};
use support::{Fleet, Member, Ran, TestEnv, TestHost};

const ODD: &str = "a\x1b[2J\x1b[31m\x07\u{9b}31m\u{85}\u{202e}b\nnode-99  changed";

#[track_caller]
fn assert_printable(ran: &Ran, what: &str) {
    for text in [&ran.stdout, &ran.stderr] {
        let raw = text.chars().find(|c| *c != '\n' && is_unprintable(*c));
        assert!(raw.is_none(), "{what}: {raw:?} in {text:?}");
        assert!(!text.lines().any(|line| line.starts_with("node-99")), "{what}: a forged line in {text}");
    }
}

#[test]
fn what_is_typed_is_shown_printable() {
    let env = TestEnv::with_local_hosts();
    env.ok(&["generate"]);
    let cases: [&[&str]; 22] = [
        &["-i", ODD, "plan"],
        &["--state-dir", ODD, "status"],
        &["--state-dir", ODD, "runs", "list"],
        &["--limit", ODD, "plan"],
        &["--limit", "node-1,a\u{9b}*", "plan"],
        &["--limit", &format!("@{ODD}"), "plan"],
        &[ODD],
        &["plan", ODD],
        &[&format!("--{ODD}"), "plan"],
        &["distribute", "--concurrency", ODD],
        &["distribute", "--retry", ODD],
        &["rollback", ODD],
        &["rollback", "--host", ODD],
        &["runs", "show", ODD],
        &["runs", "merge", ODD],
        &["doctor", "--skip", ODD],
        &["token", "lint", ODD],
        &["token", "merge", ODD],
        &["kubeconfig", "inspect", ODD],
        &["cert", "import", ODD],
        &["status", "--prometheus", &format!("{ODD}/x")],
        &["--templates", ODD, "token", "manifest"],
    ];
    for arguments in cases {
        for json in [&[][..], &["-o", "json"]] {
            for verbose in [&[][..], &["-vv"]] {
                let ran = env.run(&[arguments, json, verbose].concat());
                assert!(ran.code != 1, "{arguments:?} {ran:?}");
                assert_printable(&ran, &format!("{arguments:?}"));
                if !json.is_empty() {
                    serde_json::from_str::<serde_json::Value>(&ran.stdout).unwrap();
                }
            }
        }
    }
}

#[test]
fn what_is_made_under_an_odd_name_is_told_printable() {
    let env = TestEnv::with_local_hosts();
    let pages = format!("{ODD}.pages");
    for arguments in [&["init", ODD][..], &["man", &pages], &["generate", "--state-dir", "state\u{9b}\n"]] {
        let ran = env.run(arguments).expect(0);
        assert_printable(&ran, &format!("{arguments:?}"));
    }
    // The document has the name as it is.
    let (_, document) = env.json(&["generate", "--state-dir", "state\u{9b}\n"]);
    assert!(document["state_dir"].as_str().unwrap().ends_with("state\u{9b}\n"), "{document}");
}

#[test]
fn json_escapes_what_a_terminal_obeys() {
    let env = TestEnv::new();
    let name = "c\u{9b}2J\u{202e}\u{85}\u{7f}\u{feff}";
    let config = serde_json::json!({
        "apiVersion": "v1", "kind": "Config", "current-context": name, "clusters": [], "users": [],
        "contexts": [{ "name": name, "context": { "cluster": name, "user": name, "namespace": name } }]
    });
    env.write("config", kubemint::json::to_string(&config).unwrap());
    let ran = env.run(&["kubeconfig", "inspect", "config", "-o", "json"]);
    assert_printable(&ran, "json");
    let document: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert!(ran.stdout.contains("\\u009b2J\\u202e\\u0085\\u007f\\ufeff"), "{}", ran.stdout);
    assert_eq!(document["current_context"], name);
    assert_printable(&env.run(&["kubeconfig", "inspect", "config"]), "text");
}

/// Answers every script with what stands in `/say`, in which @ is the nonce and % the bootstrap token in pieces of 8.
const PARROT: &str = r#"#!/usr/bin/python3
import re, sys
script = sys.stdin.buffer.read()
nonce = re.search(rb"km_nonce=([0-9a-f]{32})", script).group(1)
token = re.search(rb"token: ([0-9a-f]{32})", script)
try:
    if token: open("/token", "wb").write(token.group(1))
    token = open("/token", "rb").read()
except OSError:
    token = b""
pieces = b"-".join(token[n:n + 8] for n in range(0, len(token), 8))
said = open("/say", "rb").read()
sys.stdout.buffer.write(said.replace(b"@", nonce).replace(b"%", pieces))
"#;

#[test]
fn a_host_that_answers_with_our_token_and_escapes_is_shown_harmless_by_every_command() {
    need_root!();
    support::require("python3");
    let host = TestHost::builder("node-01").sshd_option("ForceCommand /parrot");
    let fleet = Fleet::new(vec![Member::new(host)]);
    let place = |name: &str| fleet.hosts[0].path(name);
    fs::write(place("/parrot"), PARROT).unwrap();
    fs::set_permissions(place("/parrot"), fs::Permissions::from_mode(0o755)).unwrap();
    fleet.run(&["generate"]).expect(0);
    let token = fleet.env.read("state/token.csv")[..32].to_owned();
    fs::write(place("/say"), "@ begin\n").unwrap();
    fleet.run(&["distribute", "--yes"]);
    assert_eq!(fs::read_to_string(place("/token")).unwrap(), token, "the host has been sent it");
    let esc = "\x1b]0;PWNED\x07\u{9b}2J\u{202e}";
    for said in [
        format!("@ begin\n@ fail 0 {esc}%\n"),
        "@ begin\n@ fail 0 %\n".to_owned(),
        format!("@ begin\n@ missing {esc}%\n"),
        "@ begin\n@ dir 0 unsafe % is bad\n@ end\n".to_owned(),
        format!("{esc} %\n"),
        format!("@ begin\n{esc} %: No space left on device\n@ fail 0 write\n"),
        format!("@ begin\n@ x uid 0\n@ x tools %\n@ x at 0 here {esc}%\n@ found 0 absent\n@ found 1 absent\n@ end\n"),
        "@ begin\n@ found 0 regular update -rw------- 0 0 -\n@ fact 0 server https://%\n@ found 1 absent\n@ end\n"
            .into(),
        "kubemint-shell-works\n%\n".to_owned(),
    ] {
        fs::write(place("/say"), &said).unwrap();
        for command in [&["distribute", "--yes"][..], &["plan"], &["status"], &["doctor"], &["cert", "list", "--hosts"]]
        {
            for more in [&["-vv"][..], &["-vv", "-o", "json"]] {
                let ran = fleet.run(&[command, more].concat());
                let what = format!("{said:?} to {command:?}");
                assert_printable(&ran, &what);
                for n in (0..32).step_by(8) {
                    let piece = &token[n..n + 8];
                    assert!(!ran.stdout.contains(piece) && !ran.stderr.contains(piece), "{what}: {ran:?}");
                }
            }
        }
    }
    for file in fleet.env.files("state/runs") {
        let text = fleet.env.read(format!("state/runs/{}", file.display()));
        assert!(!(0..4).any(|n| text.contains(&token[n * 8..n * 8 + 8])), "{}: {text}", file.display());
        assert!(!text.chars().any(|c| c != '\n' && is_unprintable(c)), "{}: {text:?}", file.display());
    }
}

/// The bastion greets with a node's token: as a jump host, as a host itself, and to whoever asks for its keys.
#[test]
fn a_jump_host_that_greets_with_a_token_is_shown_harmless_everywhere() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    let env = TestEnv::with_inventory(&format!(
        "state_dir = \"state\"\n[cluster]\nserver = \"https://172.20.0.113:6443\"\n[distribute]\nretries = 0\n[[hosts]]\n\
         name = \"direct\"\naddress = \"127.0.0.1\"\nport = {port}\n[[hosts]]\nname = \"behind\"\naddress = \"198.51.100.9\"\n\
         jump = \"127.0.0.1:{port}\"\n"
    ));
    env.ok(&["generate"]);
    let token = env.read("state/token.csv")[..32].to_owned();
    let pieces: Vec<&str> = (0..4).map(|n| &token[n * 8..][..8]).collect();
    let greeting = format!("hello {}\r\n", pieces.join("-"));
    thread::spawn(move || {
        socket.incoming().flatten().for_each(|mut stream| drop(stream.write_all(greeting.as_bytes())));
    });
    for command in [&["doctor", "--scan-host-keys"][..], &["doctor"], &["plan"], &["status"], &["distribute", "--yes"]]
    {
        for more in [&["-vv"][..], &["-vv", "-o", "json"]] {
            let ran = env.run(&[command, more].concat());
            let all = format!("{}{}", ran.stdout, ran.stderr);
            assert!(all.contains("it repeats a credential"), "{command:?}: {all}");
            assert!(!pieces.iter().any(|piece| all.contains(piece)), "{command:?}: {all}");
        }
    }
    let mut kept = 0;
    for run in fs::read_dir(env.path("state/runs")).unwrap().flatten().filter(|run| run.path().is_dir()) {
        for file in fs::read_dir(run.path()).unwrap().flatten() {
            let text = fs::read_to_string(file.path()).unwrap();
            assert!(!pieces.iter().any(|piece| text.contains(piece)), "{}", file.path().display());
            kept += 1;
        }
    }
    assert!(kept >= 4, "report and journal of two runs: {kept}");
}
