//! Disks, owners and tools of a host that get in the way. Each host is real, in its own mount namespace.
#![allow(clippy::unwrap_used, reason = "test code")]

mod support;

use kubemint::remote::{
    Error,
    installer::{Action, FileState, Found},
};
use support::{
    Client, TestHost, content,
    files::{BOOTSTRAP, CA, KUBE_PROXY, TOKENS, bundle},
    host_file,
};

/// A host that holds the bundle.
fn installed() -> (TestHost, Client) {
    let (host, client) = (TestHost::new("node-1"), Client::new());
    client.meet(&host);
    client.install(&host, &bundle()).unwrap();
    (host, client)
}

fn changed_bundle() -> Vec<kubemint::bundle::HostFile> {
    let mut files = bundle();
    files[0] = host_file(BOOTSTRAP, &"changed\n".repeat(4000));
    files
}

/// The install fails with `code`, names a file, and leaves every file as it was and no temporary one.
fn assert_fails(host: &TestHost, client: &Client, code: &str) -> Error {
    let error = client.install(host, &changed_bundle()).unwrap_err();
    assert_eq!(error.code(), code, "{error}");
    assert!(error.to_string().contains("/etc/kubernetes"), "{error}");
    for file in bundle() {
        assert_eq!(host.read(&file.path), content(&file));
    }
    host.must("! find /etc/kubernetes -name '*.tmp' | grep .");
    error
}

#[test]
fn a_full_disk_leaves_the_old_file_byte_for_byte() {
    need_root!();
    let (host, client) = installed();
    host.must("cp -a /etc/kubernetes /mnt/copy && mount -t tmpfs -o size=24k,mode=755 tmpfs /etc/kubernetes && cp -a /mnt/copy/. /etc/kubernetes");
    let error = assert_fails(&host, &client, "disk_full");
    assert!(error.hint().contains("df"), "{}", error.hint());
    // Not a single inode left: the temporary file cannot even be made.
    host.must(
        "umount /etc/kubernetes && mount -t tmpfs -o nr_inodes=9,mode=755 tmpfs /etc/kubernetes && \
         cp -a /mnt/copy/. /etc/kubernetes && cd /etc/kubernetes && \
         { i=0; while touch fill$i 2>/dev/null; do i=$((i+1)); done; }",
    );
    assert_fails(&host, &client, "disk_full");
}

#[test]
fn a_full_disk_on_a_first_install_leaves_nothing() {
    need_root!();
    let (host, client) = (TestHost::new("node-1"), Client::new());
    client.meet(&host);
    host.must("mount -t tmpfs -o size=8k,mode=755 tmpfs /etc/kubernetes");
    let error = client.install(&host, &changed_bundle()).unwrap_err();
    assert_eq!(error.code(), "disk_full", "{error}");
    host.must("! find /etc/kubernetes -type f | grep .");
}

#[test]
fn a_read_only_file_system_is_named() {
    need_root!();
    let (host, client) = installed();
    host.must("mount --bind /etc/kubernetes /etc/kubernetes && mount -o remount,ro,bind /etc/kubernetes");
    assert_fails(&host, &client, "read_only_filesystem");
    // What is right already needs no writing.
    assert!(client.install(&host, &bundle()).unwrap().files.iter().all(|f| f.action == Action::Unchanged));
}

#[test]
fn an_immutable_file_or_directory_is_named() {
    need_root!();
    let (host, client) = installed();
    host.must("mount -t tmpfs tmpfs /srv && cp -a /etc/kubernetes/. /srv && chmod 755 /srv && mount --bind /srv /etc/kubernetes");
    support::require("chattr");
    if !host.run("chattr +i /etc/kubernetes/bootstrap.kubeconfig").status.success() {
        support::skipped("this file system knows no immutable files");
        return;
    }
    let error = assert_fails(&host, &client, "immutable");
    assert!(error.hint().contains("chattr"), "{}", error.hint());
    host.must("chattr -i /etc/kubernetes/bootstrap.kubeconfig && chattr +i /etc/kubernetes");
    assert_fails(&host, &client, "immutable");
    host.must("chattr -i /etc/kubernetes");
}

#[test]
fn a_wrong_owner_is_repaired_and_reported() {
    need_root!();
    let (host, client) = installed();
    host.must("chown 1234:5678 /etc/kubernetes/token.csv && chmod 644 /etc/kubernetes/token.csv");
    let view = client.probe(&host, &bundle()).unwrap();
    assert_eq!(view.files[2].state, FileState::WrongAttributes);
    let Found::Regular(regular) = &view.files[2].found else { panic!("{view:?}") };
    assert_eq!((regular.mode, regular.uid, regular.gid), (0o644, 1234, 5678));
    let outcome = client.install(&host, &bundle()).unwrap();
    assert_eq!(outcome.files[2].action, Action::Repaired);
    assert_eq!(host.attributes(TOKENS), (0o600, 0, 0));
    assert!(!host.exists("/etc/kubernetes/.token.csv.kubemint-previous"));
}

#[test]
fn owner_and_mode_that_do_not_stay_are_reported() {
    need_root!();
    for forgetful in ["chmod", "chown"] {
        let (host, client) = installed();
        host.must("chgrp 1234 /etc/kubernetes/token.csv && chmod 644 /etc/kubernetes/token.csv");
        host.replace_program(forgetful, "#!/bin/sh\n");
        let error = client.install(&host, &bundle()).unwrap_err();
        assert_eq!(error.code(), "attributes_not_set", "{error}");
        assert!(error.to_string().contains(if forgetful == "chmod" { "-rw-r--r--" } else { ":1234" }), "{error}");
        assert!(error.hint().contains("findmnt"), "{}", error.hint());
    }
    // After a rename as well, where nothing has shown yet that this file system keeps what it is given.
    let (host, client) = (TestHost::new("node-1"), Client::new());
    client.meet(&host);
    host.replace_program("mv", "#!/bin/sh\n@REAL@ \"$@\" && chmod 644 \"$3\"\n");
    let error = client.install(&host, &bundle()).unwrap_err();
    assert_eq!(error.code(), "attributes_not_set", "{error}");
}

#[test]
fn a_file_with_an_acl_is_rewritten_without_it() {
    need_root!();
    support::require("setfacl");
    let (host, client) = installed();
    host.must("setfacl -m u:1234:r /etc/kubernetes/token.csv");
    let view = client.probe(&host, &bundle()).unwrap();
    assert_eq!(view.files[2].state, FileState::Differs);
    assert_eq!(client.install(&host, &bundle()).unwrap().files[2].action, Action::Updated);
    host.must("! getfacl -p /etc/kubernetes/token.csv | grep 1234");
    assert!(client.install(&host, &bundle()).unwrap().files.iter().all(|f| f.action == Action::Unchanged));
}

#[test]
fn a_default_acl_never_opens_a_new_file() {
    need_root!();
    support::require("setfacl");
    let (host, client) = (TestHost::new("node-1"), Client::new());
    client.meet(&host);
    host.must("setfacl -d -m u:1234:rw,m:rw /etc/kubernetes");
    client.install(&host, &bundle()).unwrap();
    host.must("! getfacl -p /etc/kubernetes/token.csv | grep 1234");
    assert!(client.install(&host, &bundle()).unwrap().files.iter().all(|f| f.action == Action::Unchanged));
}

#[test]
fn a_setgid_directory_does_not_give_its_group_to_the_files() {
    need_root!();
    let (host, client) = (TestHost::new("node-1"), Client::new());
    client.meet(&host);
    host.must("chown 0:5678 /etc/kubernetes && chmod 2755 /etc/kubernetes");
    client.install(&host, &bundle()).unwrap();
    assert_eq!(host.attributes(BOOTSTRAP), (0o600, 0, 0));
}

#[test]
fn a_parent_that_is_not_root_s_alone_is_refused() {
    need_root!();
    for (break_it, why) in [
        ("chown 1234 /etc/kubernetes", "owned by uid 1234"),
        ("chmod 775 /etc/kubernetes; chgrp 1234 /etc/kubernetes", "writable by group 1234"),
        ("chmod 775 /etc/kubernetes; chgrp 0 /etc/kubernetes", "writable by group 0"),
        ("chmod 777 /etc/kubernetes", "writable by all"),
        ("chmod 1777 /etc/kubernetes", "writable by all"),
        ("chown 1234 /etc", "/etc is owned by uid 1234"),
        ("chmod 777 /etc", "/etc is writable by all"),
    ] {
        let (host, client) = installed();
        host.must(break_it);
        let error = assert_fails(&host, &client, "parent_unsafe");
        assert!(error.to_string().contains(why), "{why}: {error}");
    }
}

#[test]
fn targets_that_are_no_files_are_refused_and_nothing_else_is_written() {
    need_root!();
    for (obstacle, code) in [
        ("ln -s /etc/passwd token.csv", "target_is_symlink"),
        ("mkdir token.csv", "target_is_directory"),
        ("mkfifo token.csv", "target_is_special"),
        ("mknod token.csv c 1 3", "target_is_special"),
    ] {
        let (host, client) = installed();
        host.must(&format!("cd /etc/kubernetes && rm token.csv && {obstacle}"));
        let before = host.tree_hash("/etc/kubernetes");
        let error = client.install(&host, &changed_bundle()).unwrap_err();
        assert_eq!(error.code(), code);
        assert_eq!(host.tree_hash("/etc/kubernetes"), before);
        host.must("cd /etc/kubernetes && rm -rf token.csv");
        client.install(&host, &bundle()).unwrap();
    }
}

#[test]
fn a_missing_directory_is_made_private() {
    need_root!();
    let (host, client) = (TestHost::new("node-1"), Client::new());
    client.meet(&host);
    host.must("rm -r /etc/kubernetes");
    client.install(&host, &bundle()).unwrap();
    assert_eq!(host.attributes("/etc/kubernetes"), (0o700, 0, 0));
    assert_eq!(host.attributes("/etc/kubernetes/ssl"), (0o700, 0, 0));
}

#[test]
fn a_host_without_sha256sum_uses_what_it_has_or_says_what_is_missing() {
    need_root!();
    let (host, client) = (TestHost::new("node-1"), Client::new());
    client.meet(&host);
    let hide = |program: &str| {
        if host.run(&format!("command -v {program}")).status.success() {
            host.replace_program(program, "");
            host.must(&format!("chmod 644 /mnt/fake-{program}"));
        }
    };
    hide("sha256sum");
    client.install(&host, &bundle()).unwrap();
    hide("shasum");
    assert!(client.install(&host, &bundle()).unwrap().files.iter().all(|f| f.action == Action::Unchanged));
    let before = host.tree_hash("/etc/kubernetes");
    hide("openssl");
    let error = client.install(&host, &changed_bundle()).unwrap_err();
    assert_eq!(error.code(), "tool_missing");
    assert!(error.hint().contains("sha256sum"), "{}", error.hint());
    assert_eq!(host.tree_hash("/etc/kubernetes"), before);
}

#[test]
fn a_temporary_file_that_reads_back_wrong_is_never_renamed() {
    need_root!();
    let (host, client) = installed();
    // A disk that swallows writes: what lies there is not what was written.
    host.replace_program("sync", "#!/bin/sh\nfor f; do case $f in *.tmp) echo damaged >\"$f\" ;; esac; done\n");
    assert_fails(&host, &client, "digest_mismatch");
}

#[test]
fn a_host_s_clock_is_read() {
    need_root!();
    let (host, client) = installed();
    host.replace_program("date", "#!/bin/sh\necho 1000000000\n");
    assert_eq!(client.probe(&host, &bundle()).unwrap().clock.unwrap().as_second(), 1_000_000_000);
}

#[test]
fn no_secret_reaches_a_command_line_or_an_environment_of_the_host() {
    need_root!();
    let (host, client) = (TestHost::new("node-1"), Client::new());
    client.meet(&host);
    // Every program the script calls notes all command lines and environments it can see.
    let spy = "#!/bin/sh\ncat /proc/[0-9]*/cmdline /proc/[0-9]*/environ >>/mnt/seen 2>/dev/null\nexec @REAL@ \"$@\"\n";
    for program in ["ls", "sha256sum", "sync", "mv", "id"] {
        host.replace_program(program, spy);
    }
    let canary = "c4nary5ecretc4nary5ecretc4nary5e";
    let files = [host_file(BOOTSTRAP, canary), host_file(KUBE_PROXY, canary), host_file(CA, canary)];
    client.install(&host, &files).unwrap();
    let seen = std::fs::read(host.path("/mnt/seen")).unwrap();
    let seen = String::from_utf8_lossy(&seen);
    assert!(seen.contains("sh\0-s") && seen.contains("PATH="), "the spy saw nothing");
    assert!(!seen.contains(canary));
    assert_eq!(host.read(BOOTSTRAP), canary);
}
