//! Whom kubemint believes on this machine: files that another user owns or may write to, which say where it goes and what
//! it runs. With root's rights they are refused, otherwise warned of; doctor tells them.
#![allow(clippy::unwrap_used, reason = "test code")]

mod support;

use rustix::process::{getegid, geteuid};
use std::{
    fs,
    os::unix::fs::{chown, symlink},
    path::Path,
    process::Command,
};
use support::{Fleet, LOCAL_HOSTS, Ran, TestEnv, require};

const SOMEBODY: u32 = 65432;

/// What a command says of a file that others may change: with root's rights it does not go on.
#[track_caller]
fn assert_told(ran: Ran, words: &[&str]) {
    let code = if geteuid().is_root() { 4 } else { 0 };
    ran.expect(code).says(words).says(&["--trust-inventory"]);
}

/// Not a word of it.
#[track_caller]
fn assert_silent(ran: Ran) {
    let ran = ran.expect(0);
    assert!(!ran.stderr.contains("--trust-inventory"), "{}", ran.stderr);
}

fn applied() -> TestEnv {
    let env = TestEnv::with_local_hosts();
    env.ok(&["apply", "--yes", "-q"]);
    env
}

#[test]
fn an_inventory_that_others_may_change_is_told_however_they_may() {
    let env = applied();
    assert_silent(env.run(&["plan"]));
    for (path, mode, closed) in
        [("inventory.toml", 0o666, 0o644), ("inventory.toml", 0o646, 0o640), (".", 0o777, 0o700), (".", 0o733, 0o755)]
    {
        env.set_mode(path, mode);
        let fix = if path == "." { "directory of your own" } else { "chmod go-w" };
        assert_told(env.run(&["plan"]), &["can be written by others", &format!("{mode:04o}"), fix]);
        env.set_mode(path, closed);
        assert_silent(env.run(&["plan"]));
    }
    // Nobody can rename what is mine there.
    env.set_mode(".", 0o1777);
    assert_silent(env.run(&["plan"]));
    env.set_mode(".", 0o755);
    fs::create_dir(env.path("open")).unwrap();
    env.set_mode("open", 0o777);
    symlink("../inventory.toml", env.path("open/link.toml")).unwrap();
    assert_told(
        env.run(&["-i", "open/link.toml", "plan", "--state-dir", "state"]),
        &["others may replace", "/open can be"],
    );
}

#[test]
fn nothing_is_changed_by_a_refused_inventory_and_the_flag_allows_it() {
    let env = TestEnv::with_local_hosts();
    env.set_mode("inventory.toml", 0o666);
    if geteuid().is_root() {
        let (code, document) = env.json(&["apply", "--yes"]);
        assert_eq!((code, &document["error"]["code"]), (4, &"untrusted_file".into()), "{document:#}");
        assert!(!env.path("state").exists() && !env.path("hosts").exists());
    }
    assert_silent(env.run(&["apply", "--yes", "--trust-inventory"]));
    assert_silent(env.run(&["plan", "--trust-inventory"]));
}

#[test]
fn a_file_of_another_user_is_refused_unless_they_called_sudo() {
    need_root!();
    let env = applied();
    chown(env.path("inventory.toml"), Some(SOMEBODY), Some(SOMEBODY)).unwrap();
    env.run(&["plan"]).expect(4).says(&["belongs to another user (uid 65432)", "chown 0"]);
    let by_sudo = |uid: &str| Ran::from(env.kubemint().env("SUDO_UID", uid).arg("plan").output().unwrap());
    assert_silent(by_sudo("65432"));
    for uid in ["65433", "", "-1", "x", "0"] {
        by_sudo(uid).expect(4);
    }
    // A directory of theirs, too, and a link of theirs in a directory of everybody.
    chown(env.path("inventory.toml"), Some(0), Some(0)).unwrap();
    chown(env.dir(), Some(SOMEBODY), None).unwrap();
    env.run(&["plan"]).expect(4).says(&["others may replace", "uid 65432"]);
    chown(env.dir(), Some(0), None).unwrap();
    env.set_mode(".", 0o1777);
    symlink("inventory.toml", env.path("theirs.toml")).unwrap();
    std::os::unix::fs::lchown(env.path("theirs.toml"), Some(SOMEBODY), None).unwrap();
    env.run(&["-i", "theirs.toml", "plan"]).expect(4).says(&["theirs.toml belongs to another user"]);
}

#[test]
fn a_group_counts_as_others_unless_it_is_the_users_own() {
    need_root!();
    let env = applied();
    // The user's own group, by this machine's /etc/group: as with umask 002.
    env.set_mode("inventory.toml", 0o664);
    chown(env.path("inventory.toml"), None, Some(getegid().as_raw())).unwrap();
    assert_silent(env.run(&["plan"]));
    chown(env.path("inventory.toml"), None, Some(SOMEBODY)).unwrap();
    env.run(&["plan"]).expect(4).says(&["can be written by others (mode 0664)"]);
    let acl = |entry: &str| {
        let set =
            Command::new(require("setfacl")).args(["-m", entry]).arg(env.path("inventory.toml")).output().unwrap();
        assert!(set.status.success(), "{set:?}");
    };
    chown(env.path("inventory.toml"), None, Some(getegid().as_raw())).unwrap();
    acl("u:65432:rw");
    env.run(&["plan"]).expect(4).says(&["can be written by others"]);
}

#[test]
fn a_read_only_mount_is_closed_to_everybody_as_a_config_map_is() {
    need_root!();
    let env = applied();
    fs::create_dir(env.path("volume")).unwrap();
    fs::copy(env.path("inventory.toml"), env.path("volume/inventory.toml")).unwrap();
    env.set_mode("volume", 0o777);
    let arguments = ["-i", "volume/inventory.toml", "--state-dir", "state", "verify"];
    env.run(&arguments).expect(4).says(&["others may replace"]);
    let script = "mount --bind volume volume && mount -o remount,bind,ro volume volume && exec \"$0\" \"$@\"";
    let mut command = Command::new(require("unshare"));
    command.args(["-m", "sh", "-c", script, env!("CARGO_BIN_EXE_kubemint")]).args(arguments).current_dir(env.dir());
    Ran::from(command.output().unwrap()).expect(0);
}

#[test]
fn everything_that_steers_is_judged_pattern_files_ca_files_and_templates() {
    let env = applied();
    let made = env.read("inventory.toml");
    env.write("patterns", "cp-1\n");
    env.write("templates/rbac.yaml", env!("CARGO_PKG_NAME"));
    for (path, arguments) in [
        ("patterns", &["plan", "--limit", "@patterns"][..]),
        ("patterns", &["plan", "--limit", "!@patterns"]),
        ("templates/rbac.yaml", &["token", "manifest", "--templates", "templates"]),
        ("templates", &["token", "manifest", "--templates", "templates"]),
    ] {
        let mode = env.mode(path);
        assert_silent(env.run(arguments));
        env.set_mode(path, mode | 0o002);
        assert_told(env.run(arguments), &[path, "can be written by others"]);
        env.set_mode(path, mode);
    }
    // A template that is not there could be put there.
    env.remove("templates/rbac.yaml");
    env.set_mode("templates", 0o777);
    assert_told(env.run(&["token", "manifest", "--templates", "templates"]), &["others may replace"]);
    let ca = "state_dir = \"other\"\n[ca]\ncert = \"ca/ca.pem\"\nkey = \"ca/ca-key.pem\"\n";
    env.write("inventory.toml", ca.to_owned() + made.split_once("state_dir = \"state\"\n").unwrap().1);
    for file in ["ca.pem", "ca-key.pem"] {
        env.write(format!("ca/{file}"), env.read(format!("state/{file}")));
    }
    env.set_mode("ca/ca-key.pem", 0o600);
    assert_silent(env.run(&["generate"]));
    env.set_mode("ca", 0o777);
    assert_told(env.run(&["generate"]), &["others may replace", "ca.pem"]);
}

#[test]
fn known_hosts_that_others_may_change_is_told_before_any_host_is_reached() {
    let fleet = Fleet::of_nodes(1);
    fleet.run(&["apply", "--yes"]).expect(0);
    let before = fleet.hosts[0].log();
    fs::set_permissions(&fleet.client.known_hosts, std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
    assert_told(fleet.run(&["plan"]), &["known_hosts can be written by others"]);
    if geteuid().is_root() {
        assert_eq!(fleet.hosts[0].log(), before);
    }
    assert_silent(fleet.run(&["plan", "--trust-inventory"]));
}

#[test]
fn doctor_tells_it_as_a_check_of_its_own_and_reaches_no_host() {
    let env = applied();
    let check = |document: &serde_json::Value| {
        let checks = document["machine"].as_array().unwrap();
        checks.iter().find(|check| check["check"] == "local-files").unwrap().clone()
    };
    let arguments = ["doctor", "--skip", "apiserver"];
    let (code, document) = env.json(&arguments);
    assert_eq!((code, &check(&document)["status"]), (0, &"ok".into()), "{document:#}");
    env.set_mode("inventory.toml", 0o666);
    let (code, document) = env.json(&arguments);
    let found = check(&document);
    assert_eq!(found["code"], "untrusted_file");
    assert!(found["detail"].as_str().unwrap().contains("inventory.toml can be written by others"), "{found}");
    assert!(found["hint"].as_str().unwrap().contains("chmod go-w"), "{found}");
    let hosts = document["hosts"].as_array().unwrap().len();
    let expected = if geteuid().is_root() { (6, "fail", 0) } else { (0, "warn", 3) };
    assert_eq!((code, found["status"].as_str().unwrap(), hosts), expected, "{document:#}");
    let (code, document) = env.json(&[&arguments[..], &["--trust-inventory"]].concat());
    assert_eq!((code, check(&document)["status"].as_str().unwrap()), (0, "warn"), "{document:#}");
    assert_eq!(document["hosts"].as_array().unwrap().len(), 3);
}

#[test]
fn doctor_says_that_no_host_was_looked_at() {
    need_root!();
    let env = applied();
    let arguments = ["doctor", "--skip", "apiserver"];
    let ran = env.run(&arguments).expect(0);
    assert!(ran.stdout.contains("3 hosts: 3 ok"), "{}", ran.stdout);
    env.set_mode("inventory.toml", 0o666);
    let ran = env.run(&arguments).expect(6);
    assert!(ran.stdout.contains("hosts were not looked at (untrusted_file)"), "{}", ran.stdout);
    assert!(!ran.stdout.contains("0 hosts") && !ran.stdout.contains("0 ok"), "{}", ran.stdout);
}

#[test]
fn a_file_that_others_may_make_is_refused_and_one_that_is_not_there_is_said_to_be_missing() {
    need_root!();
    let env = applied();
    fs::create_dir(env.path("shared")).unwrap();
    env.set_mode("shared", 0o1777);
    for arguments in [&["-i", "shared/none.toml", "plan"][..], &["plan", "--limit", "@shared/none"]] {
        let ran = env.run(arguments).expect(2);
        assert!(!ran.stderr.contains("--trust-inventory"), "{}", ran.stderr);
    }
    // A template is used where it is there, and known_hosts are read when a host is reached.
    env.run(&["--templates", "shared", "token", "manifest", "--rbac-only"]).expect(4).says(&["others may make it"]);
    env.set_mode("shared", 0o755);
    assert_silent(env.run(&["--templates", "shared", "token", "manifest", "--rbac-only"]));
}

/// An ordinary user is warned, and goes on.
#[test]
fn an_ordinary_user_is_warned() {
    need_root!();
    let env = TestEnv::with_inventory(LOCAL_HOSTS);
    let binary = env.path("kubemint");
    fs::copy(env!("CARGO_BIN_EXE_kubemint"), &binary).unwrap();
    for path in [env.dir(), &env.path("home"), &env.path("inventory.toml")] {
        chown(path, Some(SOMEBODY), Some(SOMEBODY)).unwrap();
    }
    env.set_mode(".", 0o755);
    env.set_mode("inventory.toml", 0o666);
    let run = |arguments: &[&str]| {
        let mut command = Command::new(require("setpriv"));
        command.args(["--reuid=65432", "--regid=65432", "--clear-groups", "--"]).arg(&binary).args(arguments);
        Ran::from(command.current_dir(env.dir()).env("HOME", env.path("home")).output().unwrap())
    };
    let ran = run(&["apply", "--yes"]).expect(0);
    assert_eq!(ran.stderr.matches("warning: ").count(), 1, "{}", ran.stderr);
    ran.says(&["inventory.toml can be written by others (mode 0666)", "--trust-inventory"]);
    assert!(Path::new(&env.path("hosts/node-1/etc/kubernetes/bootstrap.kubeconfig")).exists());
    assert_silent(run(&["plan", "--trust-inventory"]));
}
