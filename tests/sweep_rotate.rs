//! kubemint dies in a rotation, at one system call after the other, between the stages and inside them: `--resume` always
//! ends in the same final state, the token that was being introduced known everywhere and the one before refused.
//!
//! An undisturbed rotation under strace says which calls there are: what commits a stage, what is journaled, what goes to a
//! control-plane host. KUBEMINT_SWEEP_ALL=1 meets each of them; otherwise an even choice of them.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "test code")]

mod rotation_support;
mod support;

use rotation_support::{assert_all, cluster, soon, stored_tokens};
use std::{
    fs,
    os::unix::process::ExitStatusExt,
    process::{Command, ExitStatus},
};
use support::{ControlPlane, eventually, require};

/// How many calls of a kind are met, unless all are.
const CHOSEN: usize = 10;

fn rotate_under_strace(cluster: &ControlPlane, flags: &[&str], options: &[&str]) -> ExitStatus {
    under_strace(cluster, &[&["rotate", "token"], flags].concat(), options)
}

fn under_strace(cluster: &ControlPlane, command: &[&str], options: &[&str]) -> ExitStatus {
    let mut strace = Command::new(require("strace"));
    // The first thread only: it commits, journals and works on the control-plane hosts.
    strace.args(["-qq"]).args(options).arg(env!("CARGO_BIN_EXE_kubemint")).args(command);
    strace.args(["--yes", "-q"]).env_clear().env("HOME", cluster.env().path("home")).current_dir(cluster.env().dir());
    strace.env("PATH", std::env::var_os("PATH").unwrap());
    let output = strace.output().unwrap();
    if output.status.code().is_some_and(|code| code != 0) {
        println!("{output:?}");
    }
    output.status
}

/// How often an undisturbed rotation does one of these calls, each by its own name.
fn counts(cluster: &ControlPlane, calls: &[&str], command: &[&str]) -> Vec<usize> {
    let log = cluster.env().path("trace");
    // Those with a question mark not every machine has.
    let filter = format!("trace={}", calls.iter().map(|call| format!("?{call}")).collect::<Vec<_>>().join(","));
    assert!(under_strace(cluster, command, &["-o", log.to_str().unwrap(), "-e", &filter]).success());
    let text = fs::read_to_string(&log).unwrap();
    let named = |call: &&str| text.lines().filter(|line| line.starts_with(&format!("{call}("))).count();
    calls.iter().map(named).collect()
}

fn chosen(count: usize) -> Vec<usize> {
    if std::env::var_os("KUBEMINT_SWEEP_ALL").is_some() || count <= CHOSEN {
        return (1..=count).collect();
    }
    // The first and the last are among them.
    (0..CHOSEN).map(|n| 1 + n * (count - 1) / (CHOSEN - 1)).collect()
}

/// What is under way, and its new token.
fn under_way(cluster: &ControlPlane) -> Option<String> {
    let state: serde_json::Value = serde_json::from_str(&cluster.env().read("state/state.json")).unwrap();
    // A commit that was cut off may not have got as far as the record.
    let record = state.get("rotation")?;
    // One that ends takes its tokens away before its record.
    let rows = fs::read_to_string(cluster.env().path("state/rotation.csv")).ok()?;
    let token = |row: &str| row.split(',').next().unwrap().to_owned();
    let is_new = |token: &String| record["new"] == kubemint::digest::Digest::of(token).fingerprint().to_string();
    rows.lines().map(token).find(is_new)
}

/// One token on all sides, and no other.
fn assert_final(cluster: &ControlPlane, token: &str, other: Option<&str>, step: &str) {
    assert_eq!(stored_tokens(cluster.env()), [token], "{step}");
    assert_all(cluster, token, 201);
    if let Some(other) = other {
        assert_all(cluster, other, 401);
    }
    for node in cluster.nodes_by_name() {
        assert_eq!(cluster.token_on(node), token, "{step}: {node}");
    }
    assert!(!cluster.env().path("state/rotation.csv").exists(), "{step}");
    let verified = cluster.run(&["verify"]);
    assert_eq!(verified.code, 0, "{step}: {verified:?}");
}

fn sweep(calls: &[&str], flags: &[&str]) {
    let cluster = cluster(2, 1);
    let counts = counts(&cluster, calls, &[&["rotate", "token"], flags].concat());
    let mut killed_under_way = 0;
    for (call, count) in calls.iter().zip(counts) {
        for when in chosen(count) {
            let step = format!("{call} {when} of {count}");
            let old = cluster.token_on("node-1");
            let inject = format!("inject={call}:signal=SIGKILL:when={when}");
            let trace = format!("trace={call}");
            let status = rotate_under_strace(&cluster, flags, &["-o", "/dev/null", "-e", &trace, "-e", &inject]);
            if status.success() {
                continue;
            }
            assert_eq!(status.signal(), Some(9), "{step}: {status:?}");
            let new = under_way(&cluster);
            let ran = cluster.run(&["rotate", "token", "--resume", "-o", "json"]);
            match new {
                Some(new) => {
                    killed_under_way += 1;
                    assert_eq!(ran.code, 0, "{step}: {ran:?}");
                    assert_final(&cluster, &new, Some(&old), &step);
                }
                // Before it had begun, or after it was over: either all of it, or nothing.
                None => {
                    if ran.code == 4 {
                        cluster.run(&["generate"]).expect(0);
                    } else {
                        assert_eq!(ran.code, 0, "{step}: {ran:?}");
                    }
                    let now = stored_tokens(cluster.env()).remove(0);
                    assert_final(&cluster, &now, (now != old).then_some(old.as_str()), &step);
                }
            }
        }
    }
    println!("{calls:?}: killed {killed_under_way} times under way");
    assert!(killed_under_way >= 4, "{killed_under_way}");
    assert!(cluster.overlapping_downtimes().is_empty(), "{:?}", cluster.overlapping_downtimes());
}

#[test]
fn killed_while_it_commits_a_stage() {
    need_root!();
    sweep(&["rename", "renameat", "renameat2", "unlink", "unlinkat"], &[]);
}

#[test]
fn killed_while_it_journals() {
    need_root!();
    sweep(&["fdatasync"], &[]);
}

#[test]
fn killed_while_it_works_on_a_control_plane_host() {
    need_root!();
    sweep(&["connect", "sendto"], &[]);
}

#[test]
fn killed_while_it_revokes() {
    need_root!();
    sweep(&["rename", "renameat", "renameat2"], &["--revoke-now"]);
}

/// The own token of one node: under way is what its record names, whatever the others have.
#[test]
fn killed_while_it_revokes_the_token_of_one_node() {
    need_root!();
    let builder = ControlPlane::builder().nodes(2).settings("[token]\nper_node = true\n");
    let cluster = builder.services(&soon()).start();
    let other = cluster.token_on("node-2");
    let revoke = ["token", "revoke", "node-1"];
    let calls = ["rename", "renameat", "renameat2"];
    let counts = counts(&cluster, &calls, &revoke);
    // A machine has one of them.
    let (call, count) = calls.into_iter().zip(counts).max_by_key(|(_, count)| *count).unwrap();
    let mut killed_under_way = 0;
    for when in chosen(count) {
        let step = format!("{call} {when} of {count}");
        let old = cluster.token_on("node-1");
        let inject = format!("inject={call}:signal=SIGKILL:when={when}");
        let status =
            under_strace(&cluster, &revoke, &["-o", "/dev/null", "-e", &format!("trace={call}"), "-e", &inject]);
        if status.success() {
            continue;
        }
        assert_eq!(status.signal(), Some(9), "{step}: {status:?}");
        let begun = under_way(&cluster).is_some();
        killed_under_way += usize::from(begun);
        let ran = cluster.run(&["rotate", "token", "--resume", "-o", "json"]);
        if ran.code == 4 && !begun {
            cluster.run(&["generate"]).expect(0);
        } else {
            assert_eq!(ran.code, 0, "{step}: {ran:?}");
        }
        let new = cluster.token_on("node-1");
        assert!(!begun || new != old, "{step}");
        assert_all(&cluster, &new, 201);
        if new != old {
            assert_all(&cluster, &old, 401);
        }
        assert_eq!(cluster.token_on("node-2"), other, "{step}");
        assert_all(&cluster, &other, 201);
        assert!(!cluster.env().path("state/rotation.csv").exists(), "{step}");
        cluster.run(&["verify"]).expect(0);
        cluster.run(&["status", "--exit-code"]).expect(0);
    }
    assert!(killed_under_way >= 2, "{killed_under_way}");
}

/// The first thread waits meanwhile: so this one is met by what it does on the hosts.
#[test]
fn killed_between_two_nodes() {
    need_root!();
    let services = soon() + "kubelet_restart = \"always\"\n";
    let cluster = ControlPlane::builder().control_planes(1).nodes(3).services(&services).start();
    let old = cluster.token_on("node-1");
    for victim in ["node-1", "node-2", "node-3"] {
        let before = cluster.token_on(victim);
        let restarts: Vec<usize> =
            cluster.nodes_by_name().iter().map(|node| cluster.restarts(node, "kubelet")).collect();
        let mut command = Command::new(env!("CARGO_BIN_EXE_kubemint"));
        command
            .args(["rotate", "token", "--yes", "-q", "--concurrency", "1"])
            .current_dir(cluster.env().dir())
            .env_clear();
        command.env("HOME", cluster.env().path("home")).env("PATH", std::env::var_os("PATH").unwrap());
        let mut child = command.stdout(std::process::Stdio::null()).spawn().unwrap();
        eventually("the node to have the new token", || (cluster.token_on(victim) != before).then_some(()));
        child.kill().unwrap();
        child.wait().unwrap();
        let new = under_way(&cluster).expect("it is under way");
        let ran = cluster.run(&["rotate", "token", "--resume", "-o", "json"]);
        assert_eq!(ran.code, 0, "{victim}: {ran:?}");
        assert_final(&cluster, &new, Some(&before), victim);
        // No kubelet is forgotten, whenever the kill came.
        for (node, before) in cluster.nodes_by_name().iter().zip(restarts) {
            assert!(cluster.restarts(node, "kubelet") > before, "{victim}: {node}");
        }
    }
    assert_all(&cluster, &old, 401);
}
