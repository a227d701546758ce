//! `kubemint rollback`: what a run replaced is put back, only where it is still there, all of a host or nothing of it.
#![allow(clippy::unwrap_used)]

mod support;

use kubemint::{
    entropy::OsEntropy,
    remote::{
        LocalRemote,
        installer::{Action, ForeignPolicy, KeptFile, Undo, install_host, restore_host},
    },
};
use serde_json::Value;
use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    process::Command,
    time::Duration,
};
use support::{
    Fleet, LOCAL_HOSTS, LocalTree, Member, Ran, TestEnv, TestHost, host_file, host_of, hosts_that_are, is_isolated,
    require, shells,
};

/// What the files of a directory are, but for the kept versions: paths, modes, owners, times of last change, content.
fn held(dir: &Path) -> String {
    let find = "find . -name '.*.kubemint-previous' -prune -o -type f -printf '%p %m %U:%G %T@\n' | LC_ALL=C sort; \
                find . -name '.*.kubemint-previous' -prune -o -type f -exec sha256sum {} + | LC_ALL=C sort -k 2";
    let listing = Command::new("sh").args(["-c", find]).current_dir(dir).output().unwrap();
    assert!(listing.status.success(), "{listing:?}");
    String::from_utf8(listing.stdout).unwrap()
}

/// The same with the kept versions, told by their content alone.
fn held_and_kept(dir: &Path) -> String {
    let find = "find . -type f -name '.*' -exec sha256sum {} + | LC_ALL=C sort -k 2";
    let listing = Command::new("sh").args(["-c", find]).current_dir(dir).output().unwrap();
    held(dir) + &String::from_utf8(listing.stdout).unwrap()
}

/// Changes what kubeconfigs point to.
fn point_elsewhere(env: &TestEnv) {
    let text = env.read("inventory.toml");
    assert!(text.contains("172.20.0.113"));
    env.write("inventory.toml", text.replace("172.20.0.113", "172.20.0.114"));
}

/// Local hosts after two applies with a change in between.
fn applied_twice() -> TestEnv {
    let env = TestEnv::with_local_hosts();
    env.ok(&["apply"]);
    point_elsewhere(&env);
    env.ok(&["apply"]);
    env
}

fn run_ids(env: &TestEnv) -> Vec<String> {
    let (_, list) = env.json(&["runs", "list"]);
    list["runs"].as_array().unwrap().iter().map(|run| run["run_id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_rollback_gives_back_the_earlier_tree_on_every_host_in_one_login_each() {
    let mut members = vec![
        Member::new(TestHost::builder("cp-1")).roles(&["control-plane", "node"]),
        Member::new(TestHost::builder("node-1")),
        Member::new(TestHost::builder("node-2")),
    ];
    if is_isolated() {
        members.push(Member::new(TestHost::builder("node-3")).by_sudo());
    }
    let fleet = Fleet::new(members);
    let dir = |index: usize| fleet.hosts[index].path(&fleet.hosts[index].directory());
    let each = |of: fn(&Path) -> String| (0..fleet.hosts.len()).map(|index| of(&dir(index))).collect::<Vec<_>>();
    fleet.run(&["apply"]).expect(0);
    let first = each(held);
    point_elsewhere(&fleet.env);
    let (_, second_run) = fleet.json(&["apply"]);
    let second = each(held_and_kept);
    assert_ne!(first, each(held));

    let state = fleet.env.read("state/state.json");
    let (code, report) = fleet.json(&["rollback", "last"]);
    assert_eq!((code, hosts_that_are(&report, "changed").len()), (0, fleet.hosts.len()), "{report:#}");
    assert_eq!((&report["command"], &report["of"]), (&"rollback".into(), &second_run["run_id"]));
    assert_eq!(each(held), first);
    for (index, host) in fleet.hosts.iter().enumerate() {
        assert_eq!(host.log().matches("Starting session").count(), 3, "{}", host.name());
        assert!(fleet.names(index).iter().all(|name| !name.ends_with(".tmp")), "{:?}", fleet.names(index));
    }
    let file = &host_of(&report, "node-1")["files"][0];
    let installed = &host_of(&second_run, "node-1")["files"][0];
    assert_eq!((&file["action"], &file["replaced"]), (&"restored".into(), &installed["sha256"]));
    assert_eq!(file["sha256"], installed["replaced"]);
    assert_eq!(fleet.env.read("state/state.json"), state, "the credential directory is not rolled back");

    // `last` is still the run that was put back, of which nothing is left.
    let (code, again) = fleet.json(&["rollback", "last"]);
    assert_eq!((code, &again["of"]), (0, &second_run["run_id"]));
    assert_eq!(hosts_that_are(&again, "unchanged").len(), fleet.hosts.len(), "{again:#}");
    assert_eq!(each(held), first);

    // A rollback is a run, and can be put back: the hosts are then as before it, kept versions included.
    fleet
        .run(&["rollback", report["run_id"].as_str().unwrap()])
        .expect(0)
        .says(&["the credential directory still holds generation 2"]);
    assert_eq!(each(held_and_kept), second);
    let (code, status) = fleet.json(&["status", "--exit-code"]);
    assert_eq!((code, &status["summary"]["ok"]), (0, &fleet.hosts.len().into()));
}

#[test]
fn after_a_first_apply_the_hosts_are_as_empty_as_before() {
    let env = TestEnv::with_local_hosts();
    let (_, first) = env.json(&["apply"]);
    let ran = env.ok(&["rollback", first["run_id"].as_str().unwrap()]);
    ran.says(&["3 removed", "2 removed", "still holds generation 1"]);
    assert!(env.files("hosts").is_empty(), "{:?}", env.files("hosts"));
    let rollback = run_ids(&env).pop().unwrap();
    let (code, again) = env.json(&["rollback", "last"]);
    assert_eq!((code, hosts_that_are(&again, "unchanged").len()), (0, 3), "{again:#}");
    // What was removed cannot be put back from the host; apply installs it.
    let (code, report) = env.json(&["rollback", &rollback]);
    assert_eq!((code, &host_of(&report, "cp-1")["error"]["code"]), (3, &"nothing_to_restore".into()), "{report:#}");
    env.ok(&["apply"]);
    env.ok(&["status", "--exit-code"]);
}

#[test]
fn a_host_that_was_changed_since_is_left_alone_and_the_others_are_put_back() {
    let env = applied_twice();
    let runs = run_ids(&env);
    // The last file of the host: those before it must not have been touched when it is found.
    let edited = "hosts/node-1/etc/kubernetes/kube-proxy.kubeconfig";
    env.write(edited, env.read(edited) + "# edited\n");
    let before = env.tree_hash("hosts/node-1");
    let (code, report) = env.json(&["rollback", &runs[1]]);
    assert_eq!((code, &host_of(&report, "node-1")["error"]["code"]), (3, &"changed_since".into()), "{report:#}");
    let message = host_of(&report, "node-1")["error"]["message"].as_str().unwrap();
    assert!(message.starts_with(&env.path(edited).display().to_string()), "{message}");
    assert_eq!(hosts_that_are(&report, "changed"), ["cp-1", "node-2"]);
    assert_eq!(env.tree_hash("hosts/node-1"), before);
    assert!(env.read("hosts/node-2/etc/kubernetes/kube-proxy.kubeconfig").contains("172.20.0.113"));

    // The same again changes nothing more: what is back is back.
    let hosts = env.tree_hash("hosts");
    let (code, report) = env.json(&["rollback", &runs[1]]);
    assert_eq!((code, hosts_that_are(&report, "unchanged")), (3, vec!["cp-1", "node-2"]), "{report:#}");
    assert_eq!(env.tree_hash("hosts"), hosts);
    let (code, refused) = env.json(&["distribute", "--retry", "last"]);
    assert_eq!((code, &refused["error"]["code"]), (2, &"run_is_rollback".into()), "{refused:#}");
    let hint = refused["error"]["hint"].as_str().unwrap();
    assert!(hint.contains(&format!("`kubemint rollback {}`", runs[1])), "{hint}");
    env.ok(&["runs", "show", "last"]).says(&[&format!("`kubemint rollback {}` does what is left", runs[1])]);
    assert_eq!(env.tree_hash("hosts"), hosts);
    let again = format!("`kubemint rollback {}` again", runs[1]);
    let ran = env.run(&["rollback", "last"]).expect(3).says(&["2 unchanged, 1 failed", &again]);
    assert!(!ran.stdout.contains("the same command again"), "{}", ran.stdout);
    assert_eq!(env.tree_hash("hosts"), hosts, "the run that was put back does not come back");
}

#[test]
fn the_last_run_to_undo_is_one_that_changed_a_host() {
    let env = TestEnv::with_local_hosts();
    env.run(&["rollback", "last"]).expect(2).says(&["no run that changed a host"]);
    let (_, first) = env.json(&["apply"]);
    env.ok(&["distribute"]);
    let (code, report) = env.json(&["rollback", "last"]);
    assert_eq!((code, &report["of"]), (0, &first["run_id"]), "{report:#}");
    assert!(env.files("hosts").is_empty());
}

#[test]
fn a_host_that_was_lost_after_it_was_begun_is_not_done_and_one_that_was_never_reached_is() {
    let cases = [("connection_lost", false, 3, vec!["node-1"]), ("connect_refused", true, 0, vec![])];
    for (code, untouched, exit, failed) in cases {
        let env = applied_twice();
        let run = run_ids(&env).pop().unwrap();
        let path = format!("state/runs/{run}/report.json");
        let mut report: Value = serde_json::from_str(&env.read(&path)).unwrap();
        let hosts = report["hosts"].as_array_mut().unwrap();
        let host = hosts.iter_mut().find(|host| host["name"] == "node-1").unwrap();
        host["status"] = "failed".into();
        host["files"] = serde_json::json!([]);
        host["error"] = serde_json::json!({"code": code, "message": "m", "hint": "h"});
        if untouched {
            host["untouched"] = true.into();
        }
        env.write(&path, report.to_string());
        let before = env.tree_hash("hosts/node-1");
        let (found, report) = env.json(&["rollback", "last"]);
        assert_eq!((found, hosts_that_are(&report, "failed")), (exit, failed), "{code}: {report:#}");
        assert_eq!((&report["of"], &report["unknown"]), (&run.into(), &serde_json::json!(["node-1"])));
        assert_eq!(hosts_that_are(&report, "changed"), ["cp-1", "node-2"]);
        assert_eq!(env.tree_hash("hosts/node-1"), before);
    }
}

#[test]
fn order_batches_and_the_limit_of_failures_hold_for_a_rollback_too() {
    let env = applied_twice();
    let edited = "hosts/node-1/etc/kubernetes/kube-proxy.kubeconfig";
    env.write(edited, env.read(edited) + "# edited\n");
    let limits = "[distribute]\norder = \"nodes-first\"\nbatch = 1\nmax_failures = 0\n";
    let inventory = env.read("inventory.toml");
    assert!(!inventory.contains("[distribute]"));
    env.write("inventory.toml", inventory.replacen("[[hosts]]", &format!("{limits}[[hosts]]"), 1));
    let (code, report) = env.json(&["rollback", "last"]);
    assert_eq!((code, hosts_that_are(&report, "skipped")), (3, vec!["cp-1", "node-2"]), "{report:#}");
    assert_eq!(host_of(&report, "cp-1")["error"]["code"], "not_started");
    env.ok(&["runs", "show", "last"]).says(&["cp-1, node-2: not_started", "a host had failed, and none may"]);
    let (code, report) = env.json(&["rollback", "last", "--max-failures", "1"]);
    assert_eq!((code, hosts_that_are(&report, "changed")), (3, vec!["cp-1", "node-2"]), "{report:#}");
}

#[test]
fn an_earlier_run_is_not_put_back_over_a_later_one() {
    let env = applied_twice();
    let before = env.tree_hash("hosts");
    let (code, report) = env.json(&["rollback", &run_ids(&env)[0]]);
    assert_eq!((code, hosts_that_are(&report, "failed").len()), (3, 3), "{report:#}");
    assert_eq!(host_of(&report, "cp-1")["error"]["code"], "changed_since");
    assert_eq!(env.tree_hash("hosts"), before);
}

#[test]
fn a_kept_version_that_is_not_the_one_replaced_is_not_put_back() {
    let kept = "hosts/node-1/etc/kubernetes/.bootstrap.kubeconfig.kubemint-previous";
    for (make, code) in [
        ("gone", "nothing_to_restore"),
        ("other", "nothing_to_restore"),
        ("symlink", "previous_unusable"),
        ("directory", "previous_unusable"),
        ("parent", "parent_unsafe"),
        ("target", "target_is_symlink"),
    ] {
        let env = applied_twice();
        match make {
            "other" => env.write(kept, "planted"),
            "parent" => env.set_mode("hosts/node-1/etc/kubernetes", 0o777),
            "target" => {
                env.remove("hosts/node-1/etc/kubernetes/kube-proxy.kubeconfig");
                symlink("/etc/hostname", env.path("hosts/node-1/etc/kubernetes/kube-proxy.kubeconfig")).unwrap();
            }
            _ => env.remove(kept),
        }
        match make {
            "symlink" => symlink("/etc/hostname", env.path(kept)).unwrap(),
            "directory" => fs::create_dir(env.path(kept)).unwrap(),
            _ => {}
        }
        let before = env.tree_hash("hosts/node-1");
        let (exit, report) = env.json(&["rollback", "last", "--limit", "node-*"]);
        assert_eq!((exit, &host_of(&report, "node-1")["error"]["code"]), (3, &code.into()), "{make}: {report:#}");
        assert_eq!(env.tree_hash("hosts/node-1"), before, "{make}");
        assert_eq!(hosts_that_are(&report, "changed"), ["node-2"], "{make}");
        assert!(env.read("hosts/cp-1/etc/kubernetes/bootstrap.kubeconfig").contains(".114"), "--limit holds");
    }
}

#[test]
fn what_a_kill_leaves_between_the_renames_is_taken_as_put_back() {
    let env = applied_twice();
    let dir = env.path("hosts/node-1/etc/kubernetes");
    // Both names on the version that was put back, and the other one under its temporary name.
    fs::rename(dir.join("bootstrap.kubeconfig"), dir.join(".kubemint-0f-0-previous.tmp")).unwrap();
    fs::hard_link(dir.join(".bootstrap.kubeconfig.kubemint-previous"), dir.join("bootstrap.kubeconfig")).unwrap();
    let (code, report) = env.json(&["rollback", "last"]);
    let files = &host_of(&report, "node-1")["files"];
    assert_eq!((code, &files[0]["action"], &files[1]["action"]), (0, &"unchanged".into(), &"restored".into()));
    assert!(!dir.join(".kubemint-0f-0-previous.tmp").exists(), "it is swept");
    assert!(env.read("hosts/node-1/etc/kubernetes/bootstrap.kubeconfig").contains(".113"));
}

#[test]
fn what_is_put_back_is_private_and_what_was_repaired_stays_so() {
    let env = applied_twice();
    let path = "hosts/node-1/etc/kubernetes/bootstrap.kubeconfig";
    let kept = "hosts/node-1/etc/kubernetes/.bootstrap.kubeconfig.kubemint-previous";
    env.set_mode(path, 0o640);
    env.set_mode(kept, 0o644);
    env.ok(&["rollback", "last"]);
    assert_eq!((env.mode(path), env.mode(kept)), (0o600, 0o600));
    assert!(env.read(path).contains(".113"));

    env.set_mode("hosts/node-2/etc/kubernetes/bootstrap.kubeconfig", 0o644);
    env.ok(&["apply"]);
    env.set_mode("hosts/node-2/etc/kubernetes/bootstrap.kubeconfig", 0o644);
    let (_, report) = env.json(&["apply"]);
    assert_eq!(host_of(&report, "node-2")["files"][0]["action"], "repaired");
    let runs = run_ids(&env).len();
    let ran = env.ok(&["rollback", "last"]);
    ran.says(&["nothing to put back", "owners and modes that the run repaired stay so on node-2"]);
    let (code, document) = env.json(&["rollback", "last"]);
    assert_eq!((code, &document["run_id"], &document["command"]), (0, &Value::Null, &"rollback".into()));
    assert_eq!(document["repaired"], serde_json::json!(["node-2"]));
    assert_eq!((&document["summary"]["hosts"], run_ids(&env).len()), (&0.into(), runs), "no run is begun");
    assert_eq!(env.mode("hosts/node-2/etc/kubernetes/bootstrap.kubeconfig"), 0o600);
}

#[test]
fn a_named_host_changes_places_with_what_it_keeps_whatever_that_is() {
    let env = applied_twice();
    let path = "hosts/node-1/etc/kubernetes/bootstrap.kubeconfig";
    env.write(path, "edited by hand");
    let (code, report) = env.json(&["rollback", "--host", "node-1"]);
    assert_eq!((code, hosts_that_are(&report, "changed")), (0, vec!["node-1"]), "{report:#}");
    assert!(env.read(path).contains(".113"));
    assert_eq!(env.read("hosts/node-1/etc/kubernetes/.bootstrap.kubeconfig.kubemint-previous"), "edited by hand");

    // Nothing there, and a kept version: it comes back.
    env.remove(path);
    env.ok(&["rollback", "--host", "node-1"]);
    assert_eq!(env.read(path), "edited by hand");

    let fresh = TestEnv::with_local_hosts();
    fresh.ok(&["apply"]);
    let (code, report) = fresh.json(&["rollback", "--host", "node-1,node-2", "--limit", "!node-2"]);
    assert_eq!((code, hosts_that_are(&report, "failed")), (3, vec!["node-1"]), "{report:#}");
    assert_eq!(host_of(&report, "node-1")["error"]["code"], "nothing_to_restore");
    let unknown = fresh.run(&["rollback", "--host", "node-9"]).expect(2);
    unknown.says(&["no host matches", "node-"]);
    fresh.run(&["rollback"]).expect(2);
    fresh.run(&["rollback", "last", "--host", "node-1"]).expect(2);
    fresh.run(&["rollback", "19990101"]).expect(2).says(&["there is no run", "runs list"]);
}

#[test]
fn a_named_host_of_which_some_files_were_exchanged_already_is_not_mixed_further() {
    let env = applied_twice();
    let dir = env.path("hosts/node-1/etc/kubernetes");
    let exchange = |name: &str| {
        let kept = dir.join(format!(".{name}.kubemint-previous"));
        fs::rename(dir.join(name), dir.join("aside")).unwrap();
        fs::rename(&kept, dir.join(name)).unwrap();
        fs::rename(dir.join("aside"), kept).unwrap();
    };
    // What a kill leaves between two files, whichever way they went.
    for first in ["bootstrap.kubeconfig", "kube-proxy.kubeconfig"] {
        exchange(first);
        let before = env.tree_hash("hosts/node-1");
        let (code, report) = env.json(&["rollback", "--host", "node-1"]);
        assert_eq!((code, &host_of(&report, "node-1")["error"]["code"]), (3, &"mixed_versions".into()), "{report:#}");
        assert_eq!(env.tree_hash("hosts/node-1"), before);
        exchange(first);
    }
    exchange("bootstrap.kubeconfig");
    env.ok(&["rollback", "last", "--limit", "node-1"]).says(&["1 restored, 1 unchanged"]);
    for name in ["bootstrap.kubeconfig", "kube-proxy.kubeconfig"] {
        assert!(fs::read_to_string(dir.join(name)).unwrap().contains(".113"), "{name}");
    }
    // All of them go back together, and forth.
    for address in [".114", ".113"] {
        env.ok(&["rollback", "--host", "node-1"]).says(&["2 restored"]);
        assert!(fs::read_to_string(dir.join("kube-proxy.kubeconfig")).unwrap().contains(address));
    }
}

#[test]
fn a_record_that_names_other_paths_reaches_none_of_them() {
    let env = applied_twice();
    let id = &run_ids(&env)[1];
    let report = format!("state/runs/{id}/report.json");
    env.write("hosts/node-1/etc/precious", "mine");
    let text = env.read(&report);
    let here = env.path("hosts/node-1/etc");
    env.write(
        &report,
        text.replace(
            &here.join("kubernetes/bootstrap.kubeconfig").display().to_string(),
            &here.join("precious").display().to_string(),
        ),
    );
    let before = env.tree_hash("hosts/node-1");
    let (code, report) = env.json(&["rollback", id]);
    assert_eq!((code, &host_of(&report, "node-1")["error"]["code"]), (3, &"not_a_target".into()), "{report:#}");
    assert_eq!(env.tree_hash("hosts/node-1"), before);
}

#[test]
fn on_a_terminal_it_asks_first() {
    let env = applied_twice();
    let before = env.tree_hash("hosts");
    let ask = |flags: &str, keys: &str| {
        let line = format!("{} rollback last {flags}", env!("CARGO_BIN_EXE_kubemint"));
        let mut command = assert_cmd::Command::new(require("script"));
        command.args(["-qec", &line, "/dev/null"]).current_dir(env.dir()).env_clear().env("HOME", env.path("home"));
        command.env("TERM", "xterm").env("PATH", "/usr/bin:/bin").env("SHELL", "/bin/sh");
        Ran::from(command.timeout(Duration::from_secs(60)).write_stdin(keys).output().unwrap())
    };
    ask("", "n\n").expect(4).says(&["on 3 hosts?", "not confirmed"]);
    assert_eq!((env.tree_hash("hosts"), run_ids(&env).len()), (before, 2));
    ask("--yes", "").expect(0).says(&["3 changed"]);
}

#[test]
fn every_shell_puts_files_back() {
    let check = |remote: &LocalRemote| {
        let tree = LocalTree::new();
        let paths = ["/etc/kubernetes/bootstrap.kubeconfig", "/etc/kubernetes/ssl/ca.pem", "/etc/kubernetes/token.csv"];
        let version = |text: &str| [host_file(paths[0], text), host_file(paths[1], text)];
        let (old, new) = (version("old\n"), version("new\n"));
        let third = host_file(paths[2], "t,u,1\n");
        let install = |files: &[_]| install_host(remote, &tree.host(), files, ForeignPolicy::Replace, &OsEntropy);
        install(&old).unwrap();
        let outcome = install(&[&new[..], std::slice::from_ref(&third)].concat()).unwrap();
        assert_eq!(outcome.files[0].replaced, Some(old[0].sha256));
        let exchange = |n: usize| Undo::Exchange { installed: new[n].sha256, replaced: Some(old[n].sha256) };
        let remove = Undo::Remove { installed: third.sha256 };
        let kept =
            |file: &kubemint::bundle::HostFile, undo| KeptFile { kind: file.kind, path: file.path.clone(), undo };
        let files = [kept(&new[0], exchange(0)), kept(&new[1], exchange(1)), kept(&third, remove)];
        let done = restore_host(remote, &tree.host(), &files, &OsEntropy).unwrap().files;
        let actions: Vec<Action> = done.iter().map(|file| file.action).collect();
        assert_eq!(actions, [Action::Restored, Action::Restored, Action::Removed]);
        assert_eq!((tree.text(paths[0]), tree.text(paths[1])), ("old\n".into(), "old\n".into()));
        assert_eq!(tree.text("/etc/kubernetes/ssl/.ca.pem.kubemint-previous"), "new\n");
        assert_eq!(tree.names(), [".bootstrap.kubeconfig.kubemint-previous", "bootstrap.kubeconfig", "ssl"]);
        assert_eq!(tree.mode(paths[0]), 0o600);
        let again = restore_host(remote, &tree.host(), &files, &OsEntropy).unwrap().files;
        assert!(again.iter().all(|file| file.action == Action::Unchanged), "{again:?}");
        assert_eq!((again[0].sha256, again[2].sha256), (Some(old[0].sha256), None));
    };
    for shell in shells().iter().copied().chain([&["bash"][..]]) {
        println!("{shell:?}");
        check(&LocalTree::remote_with(shell));
    }
}

#[test]
fn a_run_that_is_rolled_back_needs_no_credential_on_the_way() {
    let env = applied_twice();
    let said = env.ok(&["rollback", "last", "-vv"]);
    env.assert_no_secret(&(said.stdout + &said.stderr));
    for file in env.files("state/runs").iter().map(|file| env.path("state/runs").join(file)) {
        env.assert_no_secret(&fs::read_to_string(&file).unwrap());
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    }
    assert!(LOCAL_HOSTS.contains("172.20.0.113"));
    let report: Value = env.json(&["runs", "show", "last"]).1;
    assert_eq!((&report["command"], &report["state"]), (&"rollback".into(), &"finished".into()));
}
