//! The installer against real shells on this machine: every shell, every state of a target, every refusal.
#![allow(clippy::unwrap_used, reason = "test code")]

mod support;

use kubemint::{
    entropy::OsEntropy,
    inventory::Privilege,
    remote::{
        Deadlines, Error, FileFault,
        installer::{Action, FileState, ForeignPolicy, Found, install_host, probe_host},
        local::LocalRemote,
    },
};
use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::Path,
    process::Command,
};
use support::{
    LocalTree, busyboxes,
    files::{BOOTSTRAP, CA, TOKENS, bundle},
    host_file, shells, tree_hash,
};

/// Under each shell the script must run under.
fn each_shell(check: impl Fn(&LocalRemote)) {
    for shell in shells() {
        check(&LocalTree::remote_with(shell));
    }
}

#[test]
fn a_first_install_creates_private_files_and_a_second_touches_nothing() {
    each_shell(|remote| {
        let tree = LocalTree::new();
        let files = bundle();
        let first = install_host(remote, &tree.host(), &files, ForeignPolicy::Refuse, &OsEntropy).unwrap();
        assert!(first.files.iter().all(|f| f.action == Action::Created), "{first:?}");
        for (file, outcome) in files.iter().zip(&first.files) {
            assert_eq!((&outcome.path, outcome.sha256), (&file.path, file.sha256));
            assert_eq!(tree.text(&file.path), support::content(file));
            assert_eq!(tree.mode(&file.path), 0o600);
        }
        assert_eq!(tree.mode("/etc/kubernetes"), 0o700);
        assert_eq!(tree.mode("/etc/kubernetes/ssl"), 0o700);
        let stamp = |path: &str| tree.path(path).metadata().map(|m| (m.ino(), m.mtime_nsec(), m.ctime_nsec())).unwrap();
        let before: Vec<_> = files.iter().map(|f| stamp(&f.path)).collect();
        let second = install_host(remote, &tree.host(), &files, ForeignPolicy::Refuse, &OsEntropy).unwrap();
        assert!(second.files.iter().all(|f| f.action == Action::Unchanged), "{second:?}");
        assert!(second.files.iter().zip(&files).all(|(o, f)| o.sha256 == f.sha256));
        assert_eq!(before, files.iter().map(|f| stamp(&f.path)).collect::<Vec<_>>());
        assert_eq!(tree.names(), ["bootstrap.kubeconfig", "kube-proxy.kubeconfig", "ssl", "token.csv"]);
    });
}

#[test]
fn a_changed_file_is_replaced_and_its_old_version_kept_beside_it() {
    each_shell(|remote| {
        let tree = LocalTree::new();
        install_host(remote, &tree.host(), &bundle(), ForeignPolicy::Refuse, &OsEntropy).unwrap();
        let old = fs::read(tree.path(BOOTSTRAP)).unwrap();
        let mut files = bundle();
        files[0] = host_file(BOOTSTRAP, "new content, it's 'quoted' $HOME `id` \\n\n");
        let outcome = install_host(remote, &tree.host(), &files, ForeignPolicy::Refuse, &OsEntropy).unwrap();
        let actions: Vec<_> = outcome.files.iter().map(|f| f.action).collect();
        assert_eq!(actions, [Action::Updated, Action::Unchanged, Action::Unchanged, Action::Unchanged]);
        assert_eq!(tree.text(BOOTSTRAP), support::content(&files[0]));
        let previous = "/etc/kubernetes/.bootstrap.kubeconfig.kubemint-previous";
        assert_eq!(fs::read(tree.path(previous)).unwrap(), old);
        assert_eq!(tree.mode(previous), 0o600);
        // One generation only.
        files[0] = host_file(BOOTSTRAP, "newer");
        install_host(remote, &tree.host(), &files, ForeignPolicy::Refuse, &OsEntropy).unwrap();
        assert!(tree.text(previous).starts_with("new content"));
    });
}

#[test]
fn a_probe_tells_every_state_and_changes_nothing() {
    each_shell(|remote| {
        let tree = LocalTree::new();
        let files = bundle();
        let empty = probe_host(remote, &tree.host(), &files, ForeignPolicy::Refuse, &OsEntropy).unwrap();
        assert!(empty.files.iter().all(|f| f.state == FileState::Missing && f.found == Found::Absent));
        assert!(!tree.path("/etc").exists());
        let skew = empty.clock.unwrap().as_second() - jiff::Timestamp::now().as_second();
        assert!(skew.abs() < 60, "{skew}");

        install_host(remote, &tree.host(), &files, ForeignPolicy::Refuse, &OsEntropy).unwrap();
        fs::write(tree.path(BOOTSTRAP), "other").unwrap();
        fs::set_permissions(tree.path(TOKENS), fs::Permissions::from_mode(0o644)).unwrap();
        fs::remove_file(tree.path(CA)).unwrap();
        symlink("/etc/passwd", tree.path(CA)).unwrap();
        let before = tree_hash(tree.root());
        let view = probe_host(remote, &tree.host(), &files, ForeignPolicy::Refuse, &OsEntropy).unwrap();
        assert_eq!(view.files[0].state, FileState::Differs);
        assert_eq!(view.files[1].state, FileState::Matches);
        assert_eq!(view.files[2].state, FileState::WrongAttributes);
        let FileState::Blocked(error) = &view.files[3].state else { panic!("{view:?}") };
        assert_eq!(error.code(), "target_is_symlink");
        assert_eq!(view.files[3].found, Found::Symlink);
        let Found::Regular(regular) = &view.files[2].found else { panic!("{view:?}") };
        assert_eq!((regular.mode, regular.uid, regular.acl), (0o644, rustix::process::getuid().as_raw(), false));
        assert_eq!(tree_hash(tree.root()), before);
    });
}

#[test]
fn a_probe_reads_public_facts_and_never_a_token() {
    let token = "0123456789abcdef0123456789abcdef";
    each_shell(|remote| {
        let tree = LocalTree::new();
        let files = bundle();
        install_host(remote, &tree.host(), &files, ForeignPolicy::Refuse, &OsEntropy).unwrap();
        let kubeconfig = format!(
            "apiVersion: v1\nclusters:\n- cluster:\n    server: https://10.0.0.1:6443\n  name: k\nusers:\n- name: u\n  \
             user:\n    client-certificate-data: LS0tLS1CRUdJTg==\n    token: \"{token}\"\n"
        );
        fs::write(tree.path(BOOTSTRAP), kubeconfig).unwrap();
        fs::write(tree.path(TOKENS), format!("{token},kubelet-bootstrap,10001,\"g\"\n\"{token}\",\"other\",2"))
            .unwrap();
        let recorded = support::Recorder::new(remote);
        let view = probe_host(&recorded, &tree.host(), &files, ForeignPolicy::Refuse, &OsEntropy).unwrap();
        let fingerprint = kubemint::digest::Digest::of(token).fingerprint();
        let Found::Regular(regular) = &view.files[0].found else { panic!("{view:?}") };
        assert_eq!(regular.facts.server.as_deref(), Some("https://10.0.0.1:6443"));
        assert_eq!(regular.facts.client_certificate.as_deref(), Some("LS0tLS1CRUdJTg=="));
        assert_eq!(regular.facts.token, Some(fingerprint));
        let Found::Regular(regular) = &view.files[2].found else { panic!("{view:?}") };
        let rows: Vec<_> = regular.facts.token_rows.iter().map(|r| (r.token.unwrap(), &*r.user)).collect();
        assert_eq!(rows, [(fingerprint, "kubelet-bootstrap"), (fingerprint, "another user d9298a10")]);
        // Neither way: our secrets do not go out, the host's do not come back.
        assert!(!recorded.sent().contains(&support::content(&files[0])[..20]));
        assert!(!recorded.received().contains(token));
    });
}

#[test]
fn one_refused_target_leaves_the_whole_host_untouched() {
    type Obstacle = fn(&Path);
    let obstacles: [(&str, Obstacle); 4] = [
        ("target_is_symlink", |p| symlink("/nowhere", p).unwrap()),
        ("target_is_symlink", |p| symlink("/etc/passwd", p).unwrap()),
        ("target_is_directory", |p| fs::create_dir(p).unwrap()),
        ("target_is_special", |p| assert!(Command::new("mkfifo").arg(p).status().unwrap().success())),
    ];
    each_shell(|remote| {
        for (code, obstruct) in obstacles {
            let tree = LocalTree::new();
            install_host(remote, &tree.host(), &bundle()[..1], ForeignPolicy::Refuse, &OsEntropy).unwrap();
            obstruct(&tree.path(TOKENS));
            let before = tree_hash(tree.root());
            let mut files = bundle();
            files[0] = host_file(BOOTSTRAP, "changed");
            let error = install_host(remote, &tree.host(), &files, ForeignPolicy::Refuse, &OsEntropy).unwrap_err();
            assert_eq!(error.code(), code);
            assert!(error.to_string().contains(TOKENS), "{error}");
            assert_eq!(tree_hash(tree.root()), before);
        }
    });
}

#[test]
fn wrong_mode_is_repaired_in_place_unless_others_could_write() {
    each_shell(|remote| {
        let tree = LocalTree::new();
        install_host(remote, &tree.host(), &bundle(), ForeignPolicy::Refuse, &OsEntropy).unwrap();
        for mode in [0o644, 0o666, 0o400, 0o4600, 0o640] {
            fs::set_permissions(tree.path(TOKENS), fs::Permissions::from_mode(mode)).unwrap();
            let inode = tree.path(TOKENS).metadata().unwrap().ino();
            let outcome = install_host(remote, &tree.host(), &bundle(), ForeignPolicy::Refuse, &OsEntropy).unwrap();
            let actions: Vec<_> = outcome.files.iter().map(|f| f.action).collect();
            assert_eq!(
                actions,
                [Action::Unchanged, Action::Unchanged, Action::Repaired, Action::Unchanged],
                "{mode:o}"
            );
            let is_same_file = tree.path(TOKENS).metadata().unwrap().ino() == inode;
            assert_eq!((tree.mode(TOKENS), is_same_file), (0o600, mode != 0o666), "{mode:o}");
        }
    });
}

#[test]
fn a_loose_old_version_is_made_private_before_it_is_kept() {
    each_shell(|remote| {
        let tree = LocalTree::new();
        install_host(remote, &tree.host(), &bundle(), ForeignPolicy::Refuse, &OsEntropy).unwrap();
        fs::set_permissions(tree.path(BOOTSTRAP), fs::Permissions::from_mode(0o644)).unwrap();
        let files = [host_file(BOOTSTRAP, "changed")];
        install_host(remote, &tree.host(), &files, ForeignPolicy::Refuse, &OsEntropy).unwrap();
        assert_eq!(tree.mode("/etc/kubernetes/.bootstrap.kubeconfig.kubemint-previous"), 0o600);
    });
}

#[test]
fn a_directory_that_others_may_write_is_refused() {
    each_shell(|remote| {
        for mode in [0o777, 0o1777, 0o757] {
            let tree = LocalTree::new();
            tree.make_dir("/etc/kubernetes", mode);
            let error = install_host(remote, &tree.host(), &bundle(), ForeignPolicy::Refuse, &OsEntropy).unwrap_err();
            assert_eq!(error.code(), "parent_unsafe", "{mode:o}");
            assert!(fs::read_dir(tree.path("/etc/kubernetes")).unwrap().next().is_none());
            let view = probe_host(remote, &tree.host(), &bundle(), ForeignPolicy::Refuse, &OsEntropy).unwrap();
            assert!(
                view.files[..3]
                    .iter()
                    .all(|f| matches!(&f.state, FileState::Blocked(e) if e.fault == FileFault::ParentUnsafe))
            );
        }
        // Higher up, the sticky bit protects what is there.
        for (mode, good) in [(0o1777, true), (0o777, false), (0o755, true)] {
            let tree = LocalTree::new();
            tree.make_dir("/etc/kubernetes", 0o700);
            tree.make_dir("/etc", mode);
            let result = install_host(remote, &tree.host(), &bundle()[..1], ForeignPolicy::Refuse, &OsEntropy);
            assert_eq!(result.is_ok(), good, "{mode:o} {result:?}");
        }
    });
}

#[test]
fn a_parent_that_is_no_directory_is_refused() {
    each_shell(|remote| {
        let tree = LocalTree::new();
        fs::create_dir(tree.path("/etc")).unwrap();
        fs::write(tree.path("/etc/kubernetes"), "file").unwrap();
        let error = install_host(remote, &tree.host(), &bundle(), ForeignPolicy::Refuse, &OsEntropy).unwrap_err();
        assert_eq!(error.code(), "parent_not_directory", "{error}");
    });
}

#[test]
fn a_symbolic_link_to_a_safe_directory_is_followed_and_the_real_place_judged() {
    each_shell(|remote| {
        let tree = LocalTree::new();
        tree.make_dir("/data/k8s", 0o700);
        tree.make_dir("/etc", 0o755);
        symlink(tree.path("/data/k8s"), tree.path("/etc/kubernetes")).unwrap();
        install_host(remote, &tree.host(), &bundle(), ForeignPolicy::Refuse, &OsEntropy).unwrap();
        assert!(tree.path("/data/k8s/token.csv").exists());
        tree.make_dir("/data", 0o777);
        let error = install_host(remote, &tree.host(), &bundle(), ForeignPolicy::Refuse, &OsEntropy).unwrap_err();
        assert_eq!(error.code(), "parent_unsafe");
        assert!(error.to_string().contains("/data"), "{error}");
    });
}

#[test]
fn leftovers_of_a_killed_run_are_swept() {
    each_shell(|remote| {
        let tree = LocalTree::new();
        install_host(remote, &tree.host(), &bundle(), ForeignPolicy::Refuse, &OsEntropy).unwrap();
        fs::write(tree.path("/etc/kubernetes/.kubemint-0123-0.tmp"), "secret").unwrap();
        install_host(remote, &tree.host(), &bundle(), ForeignPolicy::Refuse, &OsEntropy).unwrap();
        assert_eq!(tree.names(), ["bootstrap.kubeconfig", "kube-proxy.kubeconfig", "ssl", "token.csv"]);
    });
}

#[test]
fn a_truncated_transfer_executes_nothing() {
    let tree = LocalTree::new();
    let recorder = support::Recorder::new(LocalTree::remote());
    install_host(&recorder, &tree.host(), &bundle(), ForeignPolicy::Refuse, &OsEntropy).unwrap();
    let script = recorder.sent();
    for shell in shells() {
        for cut in [script.len() - 3, script.len() - 20, script.len() / 2, script.len() - 1000, 4000] {
            let fresh = LocalTree::new();
            let text = script.replace(tree.root().to_str().unwrap(), fresh.root().to_str().unwrap());
            let output = support::feed(shell, &text[..cut]);
            assert_eq!(fs::read_dir(fresh.root()).unwrap().count(), 0, "{shell:?} {cut}");
            assert!(!output.contains(" begin"), "{output}");
        }
    }
}

#[test]
fn a_root_with_blanks_and_quotes_is_a_directory_like_any_other() {
    each_shell(|remote| {
        let tree = LocalTree::named("it's a \"root\" $HOME *");
        let outcome = install_host(remote, &tree.host(), &bundle(), ForeignPolicy::Refuse, &OsEntropy).unwrap();
        assert!(outcome.files.iter().all(|f| f.action == Action::Created));
        assert!(tree.path(TOKENS).exists());
        tree.make_dir("/etc", 0o777);
        assert_eq!(
            install_host(remote, &tree.host(), &bundle(), ForeignPolicy::Refuse, &OsEntropy).unwrap_err().code(),
            "parent_unsafe"
        );
    });
}

#[test]
fn a_root_that_is_missing_is_made_private() {
    let tree = LocalTree::named("demo/node-1");
    fs::remove_dir_all(tree.root().parent().unwrap()).unwrap();
    let view = probe_host(&LocalTree::remote(), &tree.host(), &bundle(), ForeignPolicy::Refuse, &OsEntropy).unwrap();
    assert!(view.files.iter().all(|f| f.state == FileState::Missing));
    install_host(&LocalTree::remote(), &tree.host(), &bundle(), ForeignPolicy::Refuse, &OsEntropy).unwrap();
    assert_eq!(tree.mode("/"), 0o700);
    assert_eq!(tree.text(TOKENS), support::content(&bundle()[2]));
}

#[test]
fn the_caller_s_umask_and_environment_change_nothing() {
    let tree = LocalTree::new();
    let remote =
        LocalTree::remote_with(&["env", "POSIXLY_CORRECT=1", "LS_BLOCK_SIZE=1", "IFS=x", "CDPATH=/", "sh", "-u"]);
    install_host(&remote, &tree.host(), &bundle(), ForeignPolicy::Refuse, &OsEntropy).unwrap();
    assert_eq!(tree.mode(TOKENS), 0o600);
}

#[test]
fn busybox_alone_is_enough_of_a_userland() {
    for busybox in busyboxes() {
        let applets = tempfile::tempdir().unwrap();
        for tool in ["sh", "ls", "id", "mv", "ln", "rm", "mkdir", "chmod", "chown", "sync", "sha256sum", "date", "dd"] {
            symlink(busybox, applets.path().join(tool)).unwrap();
        }
        let path = format!("PATH={}", applets.path().display());
        let remote = LocalTree::remote_with(&["env", &path, busybox.to_str().unwrap(), "sh"]);
        let tree = LocalTree::new();
        install_host(&remote, &tree.host(), &bundle(), ForeignPolicy::Refuse, &OsEntropy).unwrap();
        fs::set_permissions(tree.path(CA), fs::Permissions::from_mode(0o644)).unwrap();
        let mut files = bundle();
        files[0] = host_file(BOOTSTRAP, "new");
        let outcome = install_host(&remote, &tree.host(), &files, ForeignPolicy::Refuse, &OsEntropy).unwrap();
        let actions: Vec<_> = outcome.files.iter().map(|f| f.action).collect();
        assert_eq!(actions, [Action::Updated, Action::Unchanged, Action::Unchanged, Action::Repaired], "{busybox:?}");
        assert_eq!(tree.text(BOOTSTRAP), "new");
    }
}

#[test]
fn sudo_on_this_machine_is_told_apart_from_the_shell() {
    support::require("sudo");
    let tree = LocalTree::new();
    let mut host = tree.host();
    host.privilege = Privilege::Sudo;
    let result = install_host(&LocalTree::remote(), &host, &bundle(), ForeignPolicy::Refuse, &OsEntropy);
    if rustix::process::geteuid().is_root() {
        assert_eq!(result.unwrap().files.len(), 4);
    }
    let silent = LocalTree::remote_with(&["false"]);
    assert_eq!(
        install_host(&silent, &host, &bundle(), ForeignPolicy::Refuse, &OsEntropy).unwrap_err().code(),
        "become_failed"
    );
}

#[test]
fn paths_that_cannot_be_quoted_safely_are_refused_before_anything_runs() {
    let tree = LocalTree::new();
    for path in ["etc/x", "/etc/../x", "/etc/a b", "/etc/$(id)", "/etc/x\n", "/"] {
        let error = install_host(
            &LocalTree::remote(),
            &tree.host(),
            &[host_file(path, "x")],
            ForeignPolicy::Refuse,
            &OsEntropy,
        )
        .unwrap_err();
        assert_eq!(error.code(), "path_unusable", "{path:?}");
    }
    let newline = LocalTree::named("a\nb");
    let error =
        install_host(&LocalTree::remote(), &newline.host(), &bundle(), ForeignPolicy::Refuse, &OsEntropy).unwrap_err();
    assert_eq!(error.code(), "path_unusable");
}

#[test]
fn a_shell_that_runs_nothing_is_reported_with_what_it_said() {
    let tree = LocalTree::new();
    let nologin = LocalTree::remote_with(&["sh", "-c", "echo This account is not available.; exit 1", "nologin"]);
    let error = install_host(&nologin, &tree.host(), &bundle(), ForeignPolicy::Refuse, &OsEntropy).unwrap_err();
    assert_eq!(error.code(), "shell_unusable");
    assert!(error.to_string().contains("account is not available"), "{error}");
}

#[test]
fn a_shell_that_hangs_is_left_at_the_deadline() {
    let short = Deadlines { idle: std::time::Duration::from_millis(300), ..Deadlines::default() };
    let remote = LocalRemote::new(short).with_shell(&["sh", "-c", "exec sleep 600", "hang"]);
    let started = std::time::Instant::now();
    let error =
        install_host(&remote, &LocalTree::new().host(), &bundle(), ForeignPolicy::Refuse, &OsEntropy).unwrap_err();
    assert!(matches!(error, Error::TimedOut { .. }), "{error}");
    assert!(started.elapsed().as_secs() < 10);
}

#[test]
fn noise_before_and_on_our_lines_does_no_harm() {
    let noise = "printf 'motd without newline'; echo; printf '\\377\\376\\000 binary '; printf 'begin end fail 0 x\\n' >&2; exec";
    let tree = LocalTree::new();
    let script = format!("{noise} sh \"$@\"");
    let remote = LocalTree::remote_with(&["sh", "-c", &script, "noisy"]);
    let outcome = install_host(&remote, &tree.host(), &bundle(), ForeignPolicy::Refuse, &OsEntropy).unwrap();
    assert_eq!(outcome.files.len(), 4);
}
