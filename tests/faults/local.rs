//! What is wrong with this machine's own state: no host is touched, nothing is thrown away, and no CA is made anew.

use crate::need_root;
use crate::support::{CREDENTIALS, FAULTY, HEALTHY, Ran, Running, Trial, require};
use serde_json::Value;
use std::{fs, process::Command};

/// A run that refuses: exit 4, this code and a hint; no host saw so much as a connection, and no file of the state changed.
#[track_caller]
fn assert_refused(trial: &Trial, code: &str, run: impl FnOnce(&Trial) -> Ran) {
    let connections =
        |trial: &Trial| [HEALTHY, FAULTY].map(|n| trial.fleet.hosts[n].log().matches("Connection from").count());
    let before = (connections(trial), trial.fleet.tree_hashes(), state_files(trial));
    let ran = run(trial);
    assert_eq!(ran.code, 4, "{ran:?}");
    let document: Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|e| panic!("{e}: {ran:?}"));
    assert_eq!(document["error"]["code"], code, "{document:#}");
    assert!(document["error"]["hint"].as_str().unwrap().len() > 10, "{document:#}");
    assert!(before == (connections(trial), trial.fleet.tree_hashes(), state_files(trial)), "something was changed");
}

fn state_files(trial: &Trial) -> Vec<Option<Vec<u8>>> {
    let names = CREDENTIALS.into_iter().chain(["state.json"]);
    names.map(|name| fs::read(trial.fleet.env.path("state").join(name)).ok()).collect()
}

fn apply(trial: &Trial) -> Ran {
    trial.fleet.run(&["apply", "-o", "json"])
}

#[test]
fn state_disk_full() {
    need_root!();
    let trial = Trial::new();
    assert_refused(&trial, "state_io", |trial| {
        let mut command = Command::new(require("unshare"));
        let script = "cp -a state copy && mount -t tmpfs -o size=1m,mode=0700 none state && cp -a copy/. state && \
                      { dd if=/dev/zero of=state/ballast bs=4096 2>/dev/null || :; } && exec \"$0\" \"$@\"";
        command.args(["-m", "sh", "-c", script, env!("CARGO_BIN_EXE_kubemint")]);
        let ran = Running::start_command(&trial.fleet.env, command, &["apply", "-o", "json"]).wait();
        assert!(ran.stdout.contains("free space"), "{ran:?}");
        ran
    });
    trial.assert_succeeds();
}

#[test]
fn damaged_state() {
    let trial = Trial::new();
    for name in ["state.json", "ca-key.pem", "token.csv"] {
        let path = trial.fleet.env.path("state").join(name);
        let good = fs::read(&path).unwrap();
        let mut bad = good.clone();
        bad[good.len() / 2] ^= 1;
        for damage in [&bad[..], &good[..good.len() / 2], &[]] {
            fs::write(&path, damage).unwrap();
            assert_refused(&trial, "state_damaged", apply);
        }
        fs::write(&path, &good).unwrap();
    }
    // Gone altogether is no fresh start either.
    for (name, code) in [("state.json", "state_damaged"), ("ca-key.pem", "state_unusable")] {
        let path = trial.fleet.env.path("state").join(name);
        let good = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        assert_refused(&trial, code, apply);
        fs::write(&path, &good).unwrap();
    }
    trial.assert_succeeds();
}

#[test]
fn state_of_a_newer_version() {
    let trial = Trial::new();
    let good = trial.fleet.env.read("state/state.json");
    trial.fleet.env.write("state/state.json", good.replacen("\"version\": 1", "\"version\": 2", 1));
    assert_refused(&trial, "state_newer", apply);
    trial.fleet.env.write("state/state.json", good);
    trial.assert_succeeds();
}

#[test]
fn an_older_generation_restored() {
    let trial = Trial::new();
    let old = state_files(&trial);
    trial.assert_succeeds();
    let new = state_files(&trial);
    let put = |trial: &Trial, files: &[Option<Vec<u8>>]| {
        for (name, content) in CREDENTIALS.into_iter().chain(["state.json"]).zip(files) {
            fs::write(trial.fleet.env.path("state").join(name), content.as_ref().unwrap()).unwrap();
        }
    };
    put(&trial, &old);
    assert_refused(&trial, "state_older", apply);
    put(&trial, &new);
    trial.fleet.run(&["status", "--exit-code"]).expect(0);
}
