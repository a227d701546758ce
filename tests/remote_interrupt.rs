//! Signals and failures in the middle of an install: what was begun is finished, and nothing needed to go back is lost.
#![allow(clippy::unwrap_used, reason = "test code")]

mod support;

use kubemint::{
    entropy::OsEntropy,
    remote::{
        Deadlines, LocalRemote,
        installer::{Action, ForeignPolicy, install_host},
    },
};
use std::{fs, os::unix::fs::MetadataExt, time::Duration};
use support::{
    LocalTree, content, eventually,
    files::{BOOTSTRAP, KUBE_PROXY, TOKENS, bundle},
    host_file, shells, with_program,
};

const PREVIOUS: &str = "/etc/kubernetes/.bootstrap.kubeconfig.kubemint-previous";

#[test]
fn a_shell_of_this_machine_is_in_a_process_group_of_its_own() {
    let (tree, dir) = (LocalTree::new(), tempfile::tempdir().unwrap());
    let groups = dir.path().join("groups");
    // Fields 1 and 5 of stat: the shell's own number and that of its group.
    let note = format!("cut -d' ' -f1,5 /proc/$PPID/stat >'{}'; exec /bin/ls \"$@\"", groups.display());
    let remote = with_program(&["dash"], dir.path(), "ls", &note);
    install_host(&remote, &tree.host(), &bundle(), ForeignPolicy::Refuse, &OsEntropy).unwrap();
    let text = fs::read_to_string(groups).unwrap();
    let (own, group) = text.trim().split_once(' ').unwrap();
    assert_eq!(own, group, "the shell leads its group, and so nobody else is in it");
}

#[test]
fn at_the_deadline_the_shell_goes_with_everything_it_called() {
    let dir = tempfile::tempdir().unwrap();
    let number = dir.path().join("number");
    let script = format!("sleep 600 & echo $! >'{}'; wait", number.display());
    let short = Deadlines { idle: Duration::from_millis(500), ..Deadlines::default() };
    let remote = LocalRemote::new(short).with_shell(&["sh", "-c", &script, "hang"]);
    install_host(&remote, &LocalTree::new().host(), &bundle(), ForeignPolicy::Refuse, &OsEntropy).unwrap_err();
    let pid: i32 = fs::read_to_string(number).unwrap().trim().parse().unwrap();
    let state = || fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    eventually("the sleeper to be gone", || {
        let stat = state();
        (stat.is_empty() || stat.contains(") Z ")).then_some(())
    });
}

#[test]
fn no_signal_stops_an_install_between_the_first_rename_and_the_last() {
    for shell in shells() {
        for signal in ["HUP", "INT", "TERM"] {
            let (tree, dir) = (LocalTree::new(), tempfile::tempdir().unwrap());
            install_host(&LocalTree::remote_with(shell), &tree.host(), &bundle(), ForeignPolicy::Refuse, &OsEntropy)
                .unwrap();
            // To the shell, and to the program itself.
            let remote =
                with_program(shell, dir.path(), "mv", &format!("kill -{signal} $PPID $$\nexec /bin/mv \"$@\""));
            let files = [host_file(BOOTSTRAP, "new"), host_file(KUBE_PROXY, "new, too")];
            let outcome = install_host(&remote, &tree.host(), &files, ForeignPolicy::Refuse, &OsEntropy);
            assert!(outcome.is_ok_and(|o| o.files.iter().all(|f| f.action == Action::Updated)), "{shell:?} {signal}");
            assert_eq!((tree.text(BOOTSTRAP).as_str(), tree.text(KUBE_PROXY).as_str()), ("new", "new, too"));
        }
    }
}

#[test]
fn a_failed_rename_leaves_the_old_version_and_the_next_run_keeps_it_as_the_previous_one() {
    for shell in shells() {
        let (tree, dir) = (LocalTree::new(), tempfile::tempdir().unwrap());
        let good = LocalTree::remote_with(shell);
        install_host(&good, &tree.host(), &bundle(), ForeignPolicy::Refuse, &OsEntropy).unwrap();
        let bad = with_program(shell, dir.path(), "mv", "echo 'mv: Input/output error' >&2; exit 1");
        let files = [host_file(BOOTSTRAP, "second")];
        assert_eq!(
            install_host(&bad, &tree.host(), &files, ForeignPolicy::Refuse, &OsEntropy).unwrap_err().code(),
            "write_failed"
        );
        assert_eq!(tree.text(BOOTSTRAP), content(&bundle()[0]));
        assert!(tree.names().iter().all(|name| !name.contains("tmp")), "{:?}", tree.names());
        install_host(&good, &tree.host(), &files, ForeignPolicy::Refuse, &OsEntropy).unwrap();
        assert_eq!((tree.text(BOOTSTRAP).as_str(), tree.text(PREVIOUS).as_str()), ("second", content(&bundle()[0])));
        assert_eq!(tree.path(BOOTSTRAP).metadata().unwrap().nlink(), 1);
    }
}

#[test]
fn what_a_killed_run_left_is_swept_even_where_nothing_else_is_to_do() {
    let tree = LocalTree::new();
    let dir = tempfile::tempdir().unwrap();
    install_host(&LocalTree::remote(), &tree.host(), &bundle(), ForeignPolicy::Refuse, &OsEntropy).unwrap();
    let killed = with_program(&["dash"], dir.path(), "mv", "kill -9 $PPID");
    let files = [host_file(TOKENS, "new,kubelet-bootstrap,1\n")];
    install_host(&killed, &tree.host(), &files, ForeignPolicy::Refuse, &OsEntropy).unwrap_err();
    assert!(tree.names().iter().any(|name| name.ends_with(".tmp")), "{:?}", tree.names());
    install_host(&LocalTree::remote(), &tree.host(), &bundle(), ForeignPolicy::Refuse, &OsEntropy).unwrap();
    assert!(tree.names().iter().all(|name| !name.contains("tmp")), "{:?}", tree.names());
}
