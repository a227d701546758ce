//! No node is handed a token that a control-plane host, left out of the command, has not been given; and nobody is held up
//! who has his token, or whose control plane has the rows.
#![allow(clippy::unwrap_used, reason = "test code")]

mod support;

use std::process::Command;
use support::{LOCAL_HOSTS, Running, TestEnv, eventually, require};

const CODE: &str = "token_rows_left_out";
const HEAD: &str = "state_dir = \"state\"\n[cluster]\nserver = \"https://10.0.0.1:6443\"\n";

fn hosts(names: &str, roles: &str) -> String {
    format!("[[hosts]]\nname = \"{names}\"\nconnection = \"local\"\nroot = \"hosts/{names}\"\nroles = [{roles}]\n")
}

fn inventory(planes: u32, nodes: u32, token: &str) -> String {
    let planes = if planes == 0 { String::new() } else { hosts(&format!("cp-[1-{planes}]"), "\"control-plane\"") };
    format!("{HEAD}[token]\n{token}\n{planes}{}", hosts(&format!("node-[1-{nodes}]"), "\"node\""))
}

const PER_NODE: &str = "per_node = true";

/// Applied with two nodes; a third has its row since, which nobody was given.
fn grown(planes: u32) -> TestEnv {
    let env = TestEnv::with_inventory(&inventory(planes, 2, PER_NODE));
    env.ok(&["apply", "--yes"]);
    env.write("inventory.toml", inventory(planes, 3, PER_NODE));
    env.ok(&["generate"]);
    env
}

fn refused(env: &TestEnv, arguments: &[&str], named: &[&str]) {
    let before = env.tree_hash("hosts");
    let (code, document) = env.json(arguments);
    let error = &document["error"];
    assert_eq!((code, error["code"].as_str()), (4, Some(CODE)), "{arguments:?} {document:#}");
    let told = format!("{} {}", error["message"], error["hint"]);
    for name in named {
        assert!(told.contains(name), "{name} in {told}");
    }
    assert!(told.contains("--limit"), "{told}");
    assert_eq!(env.tree_hash("hosts"), before, "{arguments:?}");
    if env.path("state/token.csv").exists() {
        env.assert_no_secret(&document.to_string());
    }
}

fn holds(env: &TestEnv, node: &str) -> bool {
    env.path(format!("hosts/{node}/etc/kubernetes/bootstrap.kubeconfig")).exists()
}

#[test]
fn a_new_nodes_token_waits_for_every_control_plane_host() {
    let env = grown(2);
    for command in [
        &["distribute", "--limit", "node-3"][..],
        &["apply", "--yes", "--limit", "node-3"],
        &["distribute", "--limit", "role:node"],
    ] {
        refused(&env, command, &["node-3", "cp-1", "cp-2"]);
    }
    refused(&env, &["distribute", "--limit", "cp-1,node-3"], &["node-3", "--limit 'cp-2'"]);
    // Nobody else is held up, and the hint leads on.
    env.ok(&["distribute", "--limit", "node-1"]);
    env.ok(&["distribute", "--limit", "cp-1,cp-2"]);
    for _ in 0..2 {
        env.ok(&["distribute", "--limit", "node-3"]);
    }
    assert!(holds(&env, "node-3"));
    env.ok(&["status", "--exit-code"]);
}

#[test]
fn one_run_over_all_of_them_needs_nothing_before() {
    for command in [&["distribute"][..], &["apply", "--yes"], &["distribute", "--limit", "node-3,role:control-plane"]] {
        let env = grown(2);
        env.ok(command);
        assert!(holds(&env, "node-3"));
    }
}

#[test]
fn a_control_plane_host_that_failed_has_not_been_given_the_rows() {
    let env = grown(2);
    // A directory where the file goes.
    env.remove("hosts/cp-2/etc/kubernetes/token.csv");
    std::fs::create_dir(env.path("hosts/cp-2/etc/kubernetes/token.csv")).unwrap();
    env.run(&["distribute", "--limit", "role:control-plane"]).expect(3);
    refused(&env, &["distribute", "--limit", "node-3"], &["node-3", "--limit 'cp-2'"]);
    std::fs::remove_dir(env.path("hosts/cp-2/etc/kubernetes/token.csv")).unwrap();
    env.ok(&["distribute", "--retry", "last"]);
    env.ok(&["distribute", "--limit", "node-3"]);
}

#[test]
fn rows_that_were_rolled_back_are_not_there() {
    let env = grown(1);
    env.ok(&["distribute", "--limit", "cp-1"]);
    env.ok(&["--yes", "rollback", "last"]);
    refused(&env, &["distribute", "--limit", "node-3"], &["node-3", "cp-1"]);
    env.ok(&["distribute", "--limit", "cp-1"]);
    env.ok(&["distribute", "--limit", "node-3"]);
}

#[test]
fn a_node_that_has_its_token_is_not_held_up_by_rows_of_others() {
    let env = grown(1);
    env.ok(&["distribute"]);
    // A fourth comes, the second goes: token.csv changes, and the third's token does not.
    env.write("inventory.toml", inventory(1, 4, PER_NODE));
    env.ok(&["generate"]);
    env.ok(&["distribute", "--limit", "node-3"]);
    refused(&env, &["distribute", "--limit", "node-3,node-4"], &["node-4"]);
    env.write("inventory.toml", inventory(1, 1, PER_NODE));
    env.ok(&["generate"]);
    env.ok(&["distribute", "--limit", "node-1"]);
}

#[test]
fn what_other_directories_of_runs_and_the_run_that_is_retried_record_counts() {
    let env = grown(1);
    env.ok(&["distribute", "--limit", "cp-1", "--runs-dir", "elsewhere"]);
    refused(&env, &["distribute", "--limit", "node-3"], &["cp-1"]);
    env.ok(&["distribute", "--limit", "node-3", "--runs-dir", "elsewhere"]);

    let env = grown(1);
    env.write("hosts/node-3", "no directory");
    let (code, report) = env.json(&["distribute", "--runs-dir", "elsewhere"]);
    assert_eq!((code, &report["summary"]["failed"]), (3, &1.into()), "{report:#}");
    env.write("report.json", report.to_string());
    env.remove("hosts/node-3");
    env.ok(&["distribute", "--retry", "report.json"]);
    assert!(holds(&env, "node-3"));
}

#[test]
fn before_a_cluster_is_first_started_hosts_may_be_installed_in_any_order() {
    for token in ["per_node = false", PER_NODE] {
        for command in [&["generate"][..], &["apply", "--yes", "--limit", "node-2"]] {
            let env = TestEnv::with_inventory(&inventory(2, 2, token));
            env.ok(command);
            env.ok(&["distribute", "--limit", "node-1"]);
            env.ok(&["distribute", "--limit", "role:control-plane"]);
        }
    }
}

#[test]
fn with_no_control_plane_host_or_no_rows_nothing_is_refused() {
    let env = grown(0);
    env.ok(&["distribute", "--limit", "node-3"]);
    for token in ["per_node = false", "form = \"secret\""] {
        let env = TestEnv::with_inventory(&inventory(1, 2, token));
        env.ok(&["apply", "--yes"]);
        env.write("inventory.toml", inventory(1, 3, token));
        env.ok(&["generate"]);
        env.ok(&["distribute", "--limit", "node-3"]);
        env.ok(&["apply", "--yes", "--limit", "node-3"]);
    }
    let env = TestEnv::with_inventory(LOCAL_HOSTS);
    env.ok(&["generate"]);
    env.ok(&["distribute", "--limit", "node-1"]);
}

#[test]
fn a_shared_token_that_was_made_in_place_of_a_lost_one_waits_too() {
    for command in ["generate", "apply"] {
        let env = TestEnv::with_inventory(&inventory(1, 2, "per_node = false"));
        env.ok(&["apply", "--yes"]);
        env.remove("state/token.csv");
        env.remove("state/kubeconfigs/bootstrap.kubeconfig");
        if command == "generate" {
            env.ok(&["generate"]);
            refused(&env, &["distribute", "--limit", "node-1"], &["node-1", "cp-1"]);
        }
        refused(&env, &["apply", "--yes", "--limit", "node-1"], &["cp-1"]);
        env.ok(&["apply", "--yes", "--limit", "node-1,cp-1"]);
        env.ok(&["distribute", "--limit", "node-2"]);
    }
}

#[test]
fn of_shards_the_control_plane_may_be_in_another() {
    for directory in [&["--runs-dir", "shards"][..], &[]] {
        let env = grown(1);
        let shard = |part| [&["distribute", "--shard", part][..], directory].concat();
        // The last part has the new node, and not the control plane.
        for part in ["4/4", "3/4", "2/4", "1/4"] {
            env.ok(&shard(part));
        }
        assert!(holds(&env, "node-3"));
        env.ok(&["status", "--exit-code"]);
    }
    let env = grown(1);
    // What --limit leaves out no shard reaches.
    let nodes = ["distribute", "--limit", "role:node", "--shard", "3/3", "--runs-dir", "shards"];
    refused(&env, &nodes, &["node-3", "cp-1"]);
    env.ok(&["distribute", "--limit", "role:control-plane", "--runs-dir", "shards"]);
    env.ok(&nodes);
    // Of a retry no shard reaches who was done.
    let env = grown(1);
    env.write("hosts/node-3", "no directory");
    env.write("hosts/node-2/etc/kubernetes/bootstrap.kubeconfig", "other");
    env.run(&["distribute"]).expect(3);
    env.remove("hosts/node-3");
    env.ok(&["distribute", "--retry", "last", "--shard", "1/1"]);
    assert!(holds(&env, "node-3"));
}

#[test]
fn runs_of_different_directories_are_in_no_order() {
    // What the credential directory's own newest run says is not hidden by an older one of another directory.
    let env = grown(1);
    env.write("inventory.toml", inventory(1, 2, PER_NODE));
    env.ok(&["generate"]);
    env.ok(&["distribute", "--runs-dir", "old"]);
    env.write("inventory.toml", inventory(1, 3, PER_NODE));
    env.ok(&["generate"]);
    env.ok(&["distribute", "--limit", "cp-1"]);
    env.ok(&["distribute", "--limit", "node-3", "--runs-dir", "old"]);

    // Nor is what was rolled back since there because an older run is retried.
    let env = grown(1);
    env.write("hosts/node-3", "no directory");
    let (code, first) = env.json(&["distribute"]);
    assert_eq!(code, 3, "{first:#}");
    env.remove("hosts/node-3");
    env.ok(&["--yes", "rollback", first["run_id"].as_str().unwrap()]);
    env.write("report.json", first.to_string());
    for retried in [first["run_id"].as_str().unwrap(), "report.json"] {
        refused(&env, &["distribute", "--retry", retried], &["node-3", "cp-1"]);
    }
}

#[test]
fn where_the_records_are_gone_the_message_says_so() {
    let env = grown(1);
    env.ok(&["distribute"]);
    for command in [&["distribute", "--limit", "node-3"][..], &["apply", "--yes", "--limit", "node-3"]] {
        env.ok(command);
    }
    std::fs::rename(env.path("state/runs"), env.path("moved")).unwrap();
    let what = "no run is recorded that installed it on node-3, nor the rows on cp-1";
    refused(&env, &["distribute", "--limit", "node-3"], &[what]);
    refused(&env, &["distribute", "--limit", "node-3", "--runs-dir", "fresh"], &[what]);
    // The hint leads on.
    env.ok(&["distribute", "--limit", "cp-1"]);
    env.ok(&["distribute", "--limit", "node-3"]);
}

#[test]
fn tokens_that_are_made_while_apply_asks_are_judged_too() {
    let env = grown(1);
    env.ok(&["distribute"]);
    let before = env.tree_hash("hosts");
    assert!(Command::new(require("mkfifo")).arg(env.path("pipe")).status().unwrap().success());
    let pipe = std::fs::File::options().read(true).write(true).open(env.path("pipe")).unwrap();
    let mut shell = Command::new(require("sh"));
    let script = format!("exec {} \"$@\" 9<pipe", env!("CARGO_BIN_EXE_kubemint"));
    shell.args(["-c", &script, "kubemint"]);
    let running = Running::start_command(&env, shell, &["apply", "--yes", "--limit", "node-3", "--password-fd", "9"]);
    // It waits for the password: all that comes before the lock is judged.
    let of_process = format!("/proc/{}", running.pid());
    eventually("the password to be read", || {
        // A call of read(2), on the pipe.
        let call = std::fs::read_to_string(format!("{of_process}/syscall")).ok()?;
        let fd = call.strip_prefix("0 0x")?.split(' ').next().and_then(|fd| u32::from_str_radix(fd, 16).ok())?;
        let file = std::fs::read_link(format!("{of_process}/fd/{fd}")).ok()?;
        (file == env.path("pipe").canonicalize().ok()?).then_some(())
    });
    for nodes in [2, 3] {
        env.write("inventory.toml", inventory(1, nodes, PER_NODE));
        env.ok(&["generate"]);
    }
    std::io::Write::write_all(&mut &pipe, b"password\n").unwrap();
    drop(pipe);
    running.wait().expect(4).says(&["no run is recorded that installed it on node-3"]);
    assert_eq!(env.tree_hash("hosts"), before);
}
