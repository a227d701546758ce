//! Where the installer writes, and that nobody but root and the caller can lead it elsewhere, before or while it works.
#![allow(clippy::unwrap_used, reason = "test code")]

mod support;

use kubemint::{
    entropy::OsEntropy,
    remote::{
        LocalRemote,
        installer::{FileState, ForeignPolicy, install_host, probe_host},
    },
};
use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown, symlink},
    path::Path,
};
use support::{
    LocalTree,
    files::{BOOTSTRAP, bundle},
    host_file, shells, tree_hash, with_program,
};

const SOMEBODY: u32 = 1234;

fn refuses(remote: &LocalRemote, tree: &LocalTree, why: &str) {
    let before = tree_hash(tree.root().parent().unwrap());
    let error = install_host(remote, &tree.host(), &bundle(), ForeignPolicy::Refuse, &OsEntropy).unwrap_err();
    assert_eq!(error.code(), "parent_unsafe", "{error}");
    assert!(error.to_string().contains(why), "{why}: {error}");
    assert!(error.hint().contains("set its root"), "{}", error.hint());
    let view = probe_host(remote, &tree.host(), &bundle(), ForeignPolicy::Refuse, &OsEntropy).unwrap();
    assert!(view.files.iter().all(|f| matches!(&f.state, FileState::Blocked(e) if e.code() == "parent_unsafe")));
    assert_eq!(tree_hash(tree.root().parent().unwrap()), before);
}

/// `shell`, and a `sync` that does this first: it is called between looking and installing, and again before renaming.
fn with_sync(shell: &[&str], dir: &Path, what: &str) -> LocalRemote {
    with_program(shell, dir, "sync", &format!("{what}\nexec /bin/sync \"$@\""))
}

#[test]
fn root_refuses_a_root_below_a_directory_of_somebody_else() {
    need_root!();
    for shell in shells() {
        let remote = LocalTree::remote_with(shell);
        let tree = LocalTree::named("clone/demo/node-1");
        install_host(&remote, &tree.host(), &bundle(), ForeignPolicy::Refuse, &OsEntropy).unwrap();
        let clone = tree.root().parent().unwrap().parent().unwrap();
        chown(clone, Some(SOMEBODY), None).unwrap();
        refuses(&remote, &tree, "clone is owned by uid 1234");
        chown(clone, Some(0), None).unwrap();
        fs::set_permissions(clone, fs::Permissions::from_mode(0o777)).unwrap();
        refuses(&remote, &tree, "clone is writable by all");
        fs::set_permissions(clone, fs::Permissions::from_mode(0o1777)).unwrap();
        install_host(&remote, &tree.host(), &bundle(), ForeignPolicy::Refuse, &OsEntropy).unwrap();
    }
}

#[test]
fn root_makes_no_root_below_a_directory_of_somebody_else() {
    need_root!();
    for shell in shells() {
        let tree = LocalTree::named("clone/demo/node-1");
        let clone = tree.root().parent().unwrap().parent().unwrap().to_owned();
        fs::remove_dir_all(clone.join("demo")).unwrap();
        chown(&clone, Some(SOMEBODY), None).unwrap();
        let remote = LocalTree::remote_with(shell);
        let error = install_host(&remote, &tree.host(), &bundle(), ForeignPolicy::Refuse, &OsEntropy).unwrap_err();
        assert_eq!(error.code(), "parent_unsafe", "{error}");
        assert_eq!(fs::read_dir(&clone).unwrap().count(), 0);
    }
}

#[test]
fn a_link_is_followed_only_out_of_a_directory_that_others_cannot_change() {
    need_root!();
    for shell in shells() {
        let remote = LocalTree::remote_with(shell);
        let tree = LocalTree::new();
        tree.make_dir("/safe/kubernetes", 0o700);
        tree.make_dir("/etc", 0o755);
        symlink("../safe/kubernetes", tree.path("/etc/kubernetes")).unwrap();
        install_host(&remote, &tree.host(), &bundle()[..1], ForeignPolicy::Refuse, &OsEntropy).unwrap();
        for (mode, owner) in [(0o1777, 0), (0o777, 0), (0o755, SOMEBODY)] {
            tree.make_dir("/etc", mode);
            chown(tree.path("/etc"), Some(owner), None).unwrap();
            refuses(&remote, &tree, "/etc is ");
        }
    }
}

#[test]
fn a_directory_that_was_exchanged_by_now_is_not_written_to() {
    for shell in shells() {
        let (tree, tools) = (LocalTree::new(), tempfile::tempdir().unwrap());
        install_host(&LocalTree::remote_with(shell), &tree.host(), &bundle(), ForeignPolicy::Refuse, &OsEntropy)
            .unwrap();
        let before = tree.text(BOOTSTRAP);
        let directory = tree.path("/etc/kubernetes");
        let exchange = format!("case $1 in *.tmp) mv '{0}' '{0}.old'; mkdir '{0}' ;; esac", directory.display());
        let remote = with_sync(shell, tools.path(), &exchange);
        let files = [host_file(BOOTSTRAP, "changed")];
        let error = install_host(&remote, &tree.host(), &files, ForeignPolicy::Refuse, &OsEntropy).unwrap_err();
        assert_eq!(error.code(), "parent_unsafe", "{error}");
        assert!(error.to_string().contains("was exchanged"), "{error}");
        assert!(tree.names().is_empty(), "{:?}", tree.names());
        fs::remove_dir(&directory).unwrap();
        fs::rename(directory.with_extension("old"), &directory).unwrap();
        assert_eq!(tree.text(BOOTSTRAP), before);
        assert_eq!(tree.names(), ["bootstrap.kubeconfig", "kube-proxy.kubeconfig", "ssl", "token.csv"]);
    }
}

#[test]
fn a_directory_that_is_gone_by_now_is_named() {
    for shell in shells() {
        let (tree, tools) = (LocalTree::new(), tempfile::tempdir().unwrap());
        let directory = tree.path("/etc/kubernetes");
        let gone = format!("case $1 in *.tmp) mv '{0}' '{0}.old' ;; esac", directory.display());
        let remote = with_sync(shell, tools.path(), &gone);
        let error = install_host(&remote, &tree.host(), &bundle()[..1], ForeignPolicy::Refuse, &OsEntropy).unwrap_err();
        assert!(error.to_string().contains("step enter"), "{error}");
        assert!(!directory.exists());
    }
}
