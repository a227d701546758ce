//! Files on a host that others could write to: who has one open must not go on writing to what we vouch for.
#![allow(clippy::unwrap_used, reason = "test code")]

mod support;

use kubemint::{
    entropy::OsEntropy,
    remote::installer::{Action, ForeignPolicy, KeptFile, Undo, install_host, restore_host},
};
use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    os::unix::fs::PermissionsExt,
};
use support::{LocalTree, host_file};

const PATH: &str = "/etc/kubernetes/bootstrap.kubeconfig";
const KEPT: &str = "/etc/kubernetes/.bootstrap.kubeconfig.kubemint-previous";

fn install(tree: &LocalTree, content: &str) -> Action {
    let files = [host_file(PATH, content)];
    let remote = LocalTree::remote();
    install_host(&remote, &tree.host(), &files, ForeignPolicy::Refuse, &OsEntropy).unwrap().files[0].action
}

/// Opens a file of the host to everybody, and holds it open.
fn intrude(tree: &LocalTree, path: &str) -> File {
    fs::set_permissions(tree.path(path), fs::Permissions::from_mode(0o622)).unwrap();
    OpenOptions::new().append(true).open(tree.path(path)).unwrap()
}

fn assert_beyond_reach(tree: &LocalTree, mut intruder: File, held: &[(&str, &str)]) {
    intruder.write_all(b"smuggled").unwrap();
    for (path, content) in held {
        assert_eq!((tree.text(path).as_str(), tree.mode(path)), (*content, 0o600), "{path}");
    }
    let names = tree.names();
    assert!(!names.iter().any(|name| name.ends_with(".tmp")), "{names:?}");
}

#[test]
fn a_file_of_the_right_content_that_others_may_hold_open_is_put_there_anew() {
    let tree = LocalTree::new();
    install(&tree, "wanted");
    let intruder = intrude(&tree, PATH);
    assert_eq!(install(&tree, "wanted"), Action::Repaired);
    assert!(!tree.path(KEPT).exists(), "the one they hold is not kept");
    assert_beyond_reach(&tree, intruder, &[(PATH, "wanted")]);
    assert_eq!(install(&tree, "wanted"), Action::Unchanged);
}

#[test]
fn of_an_old_version_that_others_may_hold_open_a_copy_is_kept() {
    let tree = LocalTree::new();
    install(&tree, "old");
    let intruder = intrude(&tree, PATH);
    assert_eq!(install(&tree, "new"), Action::Updated);
    assert_beyond_reach(&tree, intruder, &[(PATH, "new"), (KEPT, "old")]);
}

#[test]
fn a_kept_version_that_others_may_hold_open_is_copied_before_it_is_put_back() {
    let tree = LocalTree::new();
    install(&tree, "old");
    install(&tree, "new");
    let intruders = [intrude(&tree, PATH), intrude(&tree, KEPT)];
    let file = host_file(PATH, "new");
    let kept = KeptFile { kind: file.kind, path: file.path, undo: Undo::ExchangeAny };
    restore_host(&LocalTree::remote(), &tree.host(), &[kept], &OsEntropy).unwrap();
    for intruder in intruders {
        assert_beyond_reach(&tree, intruder, &[(PATH, "old"), (KEPT, "new")]);
    }
}
