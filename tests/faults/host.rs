//! Disks, directories, owners and clocks of a host that are not as they should be.

use crate::need_root;
use crate::support::{FAULTY, HEALTHY, Trial, host_of, hosts_that_are, require};
use serde_json::Value;

/// Lays a file system of its own over the host's directory, with the same content.
fn over_directory(trial: &Trial, options: &str) {
    trial.host().must(&format!(
        "cp -a /etc/kubernetes /mnt/copy && mount -t tmpfs -o {options},mode=755 tmpfs /etc/kubernetes && \
         cp -a /mnt/copy/. /etc/kubernetes"
    ));
}

fn hint_of(error: &Value) -> &str {
    error["hint"].as_str().unwrap()
}

#[test]
fn read_only_file_system() {
    need_root!();
    let trial = Trial::new();
    trial.host().must("mount --bind /etc/kubernetes /etc/kubernetes && mount -o remount,ro,bind /etc/kubernetes");
    let error = trial.assert_fault("read_only_filesystem");
    assert!(error["message"].as_str().unwrap().contains("/etc/kubernetes/"), "{error:#}");
    trial.host().must("umount /etc/kubernetes");
    trial.assert_mended();
}

#[test]
fn disk_full() {
    need_root!();
    let trial = Trial::new();
    // Room for what is there; sooner or later on the way there is none for the rest.
    over_directory(&trial, "size=1m");
    trial.host().must("dd if=/dev/zero of=/etc/kubernetes/ballast bs=4096 2>/dev/null || :");
    for more_room in [0, 4096, 4096] {
        trial.host().must(&format!("truncate -s -{more_room} /etc/kubernetes/ballast"));
        let error = trial.assert_fault("disk_full");
        assert!(hint_of(&error).contains("df"), "{error:#}");
    }
    trial.host().must("rm /etc/kubernetes/ballast");
    trial.assert_mended();
}

#[test]
fn disk_without_inodes() {
    need_root!();
    let trial = Trial::new();
    over_directory(&trial, "nr_inodes=5");
    trial.host().must("cd /etc/kubernetes && { touch fill 2>/dev/null || :; }");
    trial.assert_fault("disk_full");
    trial.host().must("rm -f /etc/kubernetes/fill && mount -o remount,nr_inodes=100 /etc/kubernetes");
    trial.assert_mended();
}

#[test]
fn target_directory_missing() {
    need_root!();
    let trial = Trial::new();
    trial.host().must("rm -r /etc/kubernetes");
    let (exit, report) = trial.fleet.json(&["apply"]);
    assert_eq!((exit, hosts_that_are(&report, "changed").len()), (0, 2), "{report:#}");
    trial.fleet.assert_complete(FAULTY);
    assert_eq!(trial.host().attributes("/etc/kubernetes"), (0o700, 0, 0));
}

#[test]
fn target_directory_missing_and_not_to_be_made() {
    need_root!();
    let trial = Trial::new();
    trial.host().must("mv /etc/kubernetes /mnt/kubernetes && mount --bind /etc /etc && mount -o remount,ro,bind /etc");
    trial.assert_fault("read_only_filesystem");
    assert!(!trial.host().exists("/etc/kubernetes"));
    trial.host().must("umount /etc && mv /mnt/kubernetes /etc/kubernetes");
    trial.assert_mended();
}

fn target_is(obstacle: &str, code: &str) {
    let trial = Trial::new();
    let dir = trial.host().directory();
    trial.host().must(&format!("cd '{dir}' && mv token.csv .. && {obstacle}"));
    let error = trial.assert_fault(code);
    assert!(error["message"].as_str().unwrap().contains("token.csv"), "{error:#}");
    trial.host().must(&format!("cd '{dir}' && rm -rf token.csv && mv ../token.csv ."));
    trial.assert_mended();
}

#[test]
fn target_is_a_symlink() {
    target_is("ln -s ../token.csv token.csv", "target_is_symlink");
}

#[test]
fn target_is_a_directory() {
    target_is("mkdir token.csv", "target_is_directory");
}

#[test]
fn target_is_a_fifo() {
    target_is("mkfifo token.csv", "target_is_special");
}

fn parent_is(break_it: &str, mend_it: &str, said: &str) {
    let trial = Trial::new();
    trial.host().must(break_it);
    let error = trial.assert_fault("parent_unsafe");
    assert!(error["message"].as_str().unwrap().contains(said), "{error:#}");
    trial.host().must(mend_it);
    trial.assert_mended();
}

#[test]
fn parent_owned_by_another_user() {
    need_root!();
    parent_is("chown 1234 /etc/kubernetes", "chown 0 /etc/kubernetes", "owned by uid 1234");
}

#[test]
fn parent_writable_by_another_user() {
    need_root!();
    parent_is("chmod 777 /etc/kubernetes", "chmod 755 /etc/kubernetes", "writable by all");
}

#[test]
fn immutable_file() {
    need_root!();
    require("chattr");
    let trial = Trial::new();
    over_directory(&trial, "size=1m");
    if !trial.host().run("chattr +i /etc/kubernetes/bootstrap.kubeconfig").status.success() {
        crate::support::skipped("this file system knows no immutable files");
        return;
    }
    let error = trial.assert_fault("immutable");
    assert!(hint_of(&error).contains("chattr"), "{error:#}");
    trial.host().must("chattr -i /etc/kubernetes/bootstrap.kubeconfig");
    trial.assert_mended();
}

#[test]
fn wrong_owner_or_mode_on_the_target() {
    need_root!();
    let trial = Trial::new();
    trial.assert_succeeds();
    let healthy = trial.fleet.tree_hash(HEALTHY);
    trial.host().must("cd /etc/kubernetes && chown 1234:5678 token.csv && chmod 644 bootstrap.kubeconfig");
    let (exit, status) = trial.fleet.json(&["status", "--exit-code"]);
    assert_eq!((exit, hosts_that_are(&status, "drift")), (6, vec!["faulty"]), "{status:#}");
    let (exit, report) = trial.fleet.json(&["apply"]);
    assert_eq!((exit, hosts_that_are(&report, "changed")), (0, vec!["faulty"]), "{report:#}");
    let files = host_of(&report, "faulty")["files"].as_array().unwrap();
    let action =
        |name: &str| &files.iter().find(|file| file["path"].as_str().unwrap().ends_with(name)).unwrap()["action"];
    assert_eq!(action("/bootstrap.kubeconfig"), "repaired");
    assert_eq!(action("/kube-proxy.kubeconfig"), "unchanged");
    assert_eq!(action("/token.csv"), "repaired");
    trial.assert_new(FAULTY);
    assert_eq!(trial.fleet.tree_hash(HEALTHY), healthy);
}

#[test]
fn node_clock_off_by_an_hour() {
    need_root!();
    let trial = Trial::new();
    trial.host().replace_program("date", "#!/bin/sh\necho $(($(@REAL@ +%s) + 3600))\n");
    let (exit, report) = trial.fleet.json(&["apply"]);
    assert_eq!((exit, hosts_that_are(&report, "changed").len()), (0, 2), "{report:#}");
    let warned = host_of(&report, "faulty")["clock_skew_seconds"].as_i64();
    assert!(warned.is_some_and(|skew| (3500..3700).contains(&skew)), "{report:#}");
    assert!(host_of(&report, "healthy")["clock_skew_seconds"].is_null(), "{report:#}");
    trial.assert_new(FAULTY);
    let (_, status) = trial.fleet.json(&["status"]);
    let skew = |name: &str| host_of(&status, name)["clock_skew_seconds"].as_i64().unwrap();
    assert!((3500..3700).contains(&skew("faulty")) && skew("healthy").abs() < 100, "{status:#}");
    let said = trial.fleet.run(&["status"]).expect(0).stdout;
    let warned: Vec<_> = said.lines().filter(|line| line.contains("its clock is +3")).collect();
    assert_eq!(warned.len(), 1, "{said}");
    assert!(warned[0].contains("faulty"), "{said}");
}

#[test]
fn node_clock_outside_the_certificates_validity() {
    need_root!();
    let trial = Trial::new();
    trial.host().replace_program("date", "#!/bin/sh\necho $(($(@REAL@ +%s) + 20 * 365 * 86400))\n");
    let error = trial.assert_fault("clock_outside_validity");
    assert!(error["message"].as_str().unwrap().contains("clock"), "{error:#}");
    trial.host().restore_program("date");
    trial.assert_mended();
}
