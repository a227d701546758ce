//! Where something fails, what is said of the host is true: one that is called untouched is as it was, every byte, mode, inode
//! and kept version; and of one that is as it was that is said wherever the script could tell. A file that is old has the
//! kept version it had, one that is new has the old one beside it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "test code")]

mod support;

use kubemint::{
    bundle::HostFile,
    entropy::OsEntropy,
    remote::{
        Effect, Failure, LocalRemote,
        installer::{FileState, ForeignPolicy, HostOutcome, KeptFile, Undo, install_once, probe_host, restore_host},
    },
};
use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command};
use support::{
    LocalTree, content,
    files::{BOOTSTRAP, CA, TOKENS},
    host_file, require,
};

const SHELLS: [&[&str]; 4] = [&["dash"], &["bash", "--posix"], &["bash"], &["busybox", "sh"]];
/// The programs by which an install changes something or finds out what is there.
const PROGRAMS: [&str; 9] = ["mv", "ln", "rm", "sync", "chmod", "mkdir", "cat", "ls", "sha256sum"];

/// Everything below `dir` but times: path, kind, mode, owner, inode, target, content. Of directories no inode.
fn snapshot(dir: &Path) -> String {
    let list = "find . -type d -printf '%p %y %m %U:%G\\n' -o -printf '%p %y %m %U:%G %i %l\\n' | LC_ALL=C sort; \
                find . -type f -exec sha256sum {} + | LC_ALL=C sort -k 2";
    let listing = Command::new("sh").args(["-c", list]).current_dir(dir).output().unwrap();
    assert!(listing.status.success(), "{listing:?}");
    String::from_utf8(listing.stdout).unwrap()
}

fn install(remote: &LocalRemote, tree: &LocalTree, files: &[HostFile]) -> Result<HostOutcome, Failure> {
    install_once(remote, &tree.host(), files, ForeignPolicy::Replace, &OsEntropy, &|_| Ok(Vec::new()))
}

fn generation(n: u8) -> Vec<HostFile> {
    vec![
        host_file(BOOTSTRAP, &format!("bootstrap {n}\n")),
        host_file(TOKENS, "t,u,1\n"),
        host_file(CA, &format!("ca {n}\n")),
    ]
}

fn kept(path: &str) -> String {
    let (dir, name) = path.rsplit_once('/').unwrap();
    format!("{dir}/.{name}.kubemint-previous")
}

/// What stands on a host before the run that fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    Empty,
    /// Two generations: one in use, one kept.
    Twice,
    /// The same, with modes to be repaired.
    Loose,
}

impl Start {
    /// The same once more, without the work.
    fn copy(of: &LocalTree) -> LocalTree {
        let tree = LocalTree::new();
        let copied = Command::new("cp").arg("-a").arg(of.root().join(".")).arg(tree.root()).status().unwrap();
        assert!(copied.success());
        tree
    }

    fn make(self) -> LocalTree {
        let tree = LocalTree::new();
        if self != Self::Empty {
            (1..=2).for_each(|n| drop(install(&LocalTree::remote(), &tree, &generation(n)).unwrap()));
        }
        if self == Self::Loose {
            fs::set_permissions(tree.path(BOOTSTRAP), fs::Permissions::from_mode(0o644)).unwrap();
            fs::set_permissions(tree.path(TOKENS), fs::Permissions::from_mode(0o640)).unwrap();
        }
        tree
    }
}

/// How a program fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    /// It does nothing.
    AtOnce,
    /// It does its work, and fails: as when it is killed right after it.
    WhenDone,
    /// The script is killed, and the program does nothing.
    WithTheShell,
}

/// `shell` on a host on which the `nth` call of `program` fails.
fn failing(dir: &Path, shell: &[&str], program: &str, nth: u32, how: How) -> LocalRemote {
    let (fake, count, real) = (dir.join(program), dir.join("count"), require(program));
    fs::write(&count, "0").unwrap();
    let (real, count) = (real.display(), count.display());
    let failure = match how {
        How::AtOnce => format!("echo '{program}: Input/output error' >&2; exit 1"),
        How::WhenDone => format!("{real} \"$@\"; exit 1"),
        How::WithTheShell => "kill -9 $PPID; exit 1".to_owned(),
    };
    let script = format!(
        "#!/bin/sh\nread -r n <'{count}'\necho $((n + 1)) >'{count}'\n[ $((n + 1)) = {nth} ] || exec {real} \"$@\"\n{failure}\n"
    );
    fs::write(&fake, script).unwrap();
    fs::set_permissions(&fake, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("PATH={}:/usr/sbin:/usr/bin:/sbin:/bin", dir.display());
    LocalTree::remote_with(&[&["env", &path], shell].concat())
}

/// Was it called so often?
fn was_met(dir: &Path, nth: u32) -> bool {
    fs::read_to_string(dir.join("count")).unwrap().trim().parse::<u32>().unwrap() >= nth
}

fn assert_claim(effect: Effect, before: &str, after: &str, how: How, id: &str) {
    if effect == Effect::Untouched {
        assert_eq!(before, after, "{id}: it is said to be untouched");
    } else if how == How::AtOnce {
        assert_ne!(before, after, "{id}: nothing was changed, and that could be told");
    }
}

/// Whether a file has the kept version that it should: of an old file the one it had, of a new file the old one.
fn assert_kept(tree: &LocalTree, how: How, id: &str) {
    for (n, path) in [(0, BOOTSTRAP), (2, CA)] {
        let [first, second, third] = [1, 2, 3].map(|g| content(&generation(g)[n]).to_owned());
        let (now, kept) = (tree.text(path), tree.text(&kept(path)));
        let is_right = if now == third { kept == second } else { now == second && kept == first };
        // Between the two renames a kill leaves both names on the old one, which is lost nowhere.
        let is_between = how == How::WithTheShell && now == second && kept == second;
        assert!(is_right || is_between, "{id}: {path} holds {now:?}, and kept is {kept:?}");
    }
}

fn temporary(tree: &LocalTree) -> Vec<String> {
    snapshot(tree.root()).lines().filter(|line| line.contains(".tmp ")).map(str::to_owned).collect()
}

/// One failure, met or not; whether it was met.
fn meet(shell: &[&str], (start, made): (Start, &LocalTree), program: &str, nth: u32, how: How) -> bool {
    let id = format!("{shell:?} {start:?}: call {nth} of {program} fails {how:?}");
    let (tree, dir) = (Start::copy(made), tempfile::tempdir().unwrap());
    let before = snapshot(tree.root());
    let remote = failing(dir.path(), shell, program, nth, how);
    let result = install(&remote, &tree, &generation(3));
    if !was_met(dir.path(), nth) {
        result.unwrap();
        return false;
    }
    let after = snapshot(tree.root());
    if let Err(failure) = &result {
        assert_claim(failure.effect, &before, &after, how, &id);
        assert_eq!(how == How::WithTheShell, failure.code() == "connection_lost", "{id}: {failure}");
    }
    if how != How::WithTheShell {
        assert_eq!(temporary(&tree), [""; 0], "{id}");
    }
    if start != Start::Empty {
        assert_kept(&tree, how, &id);
    }
    install(&LocalTree::remote(), &tree, &generation(3)).unwrap();
    for file in generation(3) {
        assert_eq!((tree.text(&file.path).as_str(), tree.mode(&file.path)), (content(&file), 0o600), "{id}");
    }
    if start != Start::Empty {
        assert_kept(&tree, How::AtOnce, &id);
    }
    assert_eq!(temporary(&tree), [""; 0], "{id}");
    true
}

/// The ways a program fails that make a difference: what only reads is not killed, and not thought to have failed.
fn ways_of(program: &str) -> &'static [How] {
    match program {
        "mv" | "ln" | "rm" => &[How::AtOnce, How::WhenDone, How::WithTheShell],
        "sync" => &[How::AtOnce, How::WithTheShell],
        _ => &[How::AtOnce],
    }
}

fn meet_all(shell: &[&str], start: Start, programs: &[&str], least: usize) {
    let (made, mut met) = (start.make(), 0);
    for program in programs {
        for how in ways_of(program) {
            met += (1..).take_while(|nth| meet(shell, (start, &made), program, *nth, *how)).count();
        }
    }
    assert!(met >= least, "{met} failures");
}

#[test]
fn whatever_fails_of_an_update_the_host_is_what_is_said_of_it() {
    meet_all(SHELLS[0], Start::Twice, &PROGRAMS, 25);
}

#[test]
fn whatever_fails_of_a_first_install_the_host_is_what_is_said_of_it() {
    meet_all(SHELLS[0], Start::Empty, &PROGRAMS, 25);
}

#[test]
fn whatever_fails_where_modes_are_loose_the_host_is_what_is_said_of_it() {
    meet_all(SHELLS[0], Start::Loose, &PROGRAMS, 25);
}

#[test]
fn whatever_fails_under_bash_the_host_is_what_is_said_of_it() {
    meet_all(SHELLS[1], Start::Loose, &["mv", "ln", "cat"], 15);
}

#[test]
fn whatever_fails_under_busybox_the_host_is_what_is_said_of_it() {
    meet_all(SHELLS[3], Start::Loose, &["mv", "ln", "cat"], 15);
}

#[test]
fn whatever_fails_of_a_rollback_no_version_is_lost_and_the_host_is_what_is_said_of_it() {
    let files = || {
        let of = |file: HostFile| KeptFile { kind: file.kind, path: file.path, undo: Undo::ExchangeAny };
        generation(2).into_iter().map(of).collect::<Vec<_>>()
    };
    for (shell, start) in [(SHELLS[0], Start::Twice), (SHELLS[3], Start::Loose)] {
        let made = start.make();
        for program in ["mv", "ln", "sync", "cat"] {
            for &how in ways_of(program) {
                for nth in 1.. {
                    let id = format!("{shell:?} {start:?}: call {nth} of {program} fails {how:?}");
                    let (tree, dir) = (Start::copy(&made), tempfile::tempdir().unwrap());
                    let before = snapshot(tree.root());
                    let remote = failing(dir.path(), shell, program, nth, how);
                    let result = restore_host(&remote, &tree.host(), &files(), &OsEntropy);
                    if !was_met(dir.path(), nth) {
                        result.unwrap();
                        break;
                    }
                    let after = snapshot(tree.root());
                    if let Err(failure) = &result {
                        assert_claim(failure.effect, &before, &after, how, &id);
                    }
                    for n in [0, 2] {
                        let [first, second] = [1, 2].map(|g| content(&generation(g)[n]).to_owned());
                        let path = &generation(2)[n].path;
                        let held = [tree.text(path), tree.text(&kept(path))];
                        let is_whole =
                            held == [first.clone(), second.clone()] || held == [second.clone(), first.clone()];
                        // In between both names are on the one that was put back, and the next run keeps the other.
                        let is_between = how == How::WithTheShell && held == [first.clone(), first.clone()];
                        assert!(is_whole || is_between, "{id}: {path} {held:?}");
                        if is_between && start == Start::Twice {
                            // Any run that has something to do there.
                            install(&LocalTree::remote(), &tree, &[host_file(path, &first)]).unwrap();
                            assert_eq!([tree.text(path), tree.text(&kept(path))], [first, second], "{id}");
                        }
                    }
                }
            }
        }
    }
}

/// `shell`, started with this limit for files, in its own units.
fn limited(shell: &[&str], limit: &str) -> LocalRemote {
    let line = format!("ulimit -f {limit}; exec {} \"$@\"", shell.join(" "));
    LocalTree::remote_with(&["dash", "-c", &line, "limited"])
}

#[test]
fn a_file_size_limit_that_is_too_small_is_named_before_anything_is_changed() {
    for shell in SHELLS {
        for start in [Start::Empty, Start::Loose] {
            let tree = start.make();
            let mut files = generation(3);
            files[2] = host_file(CA, &"line of sixteen\n".repeat(250));
            let before = snapshot(tree.root());
            // dash counts in 512 bytes: 1,536 are too few for 4,000, and 4,096 are enough.
            let failure = install(&limited(shell, "3"), &tree, &files).unwrap_err();
            assert_eq!((failure.code(), failure.effect), ("file_size_limit", Effect::Untouched), "{shell:?} {failure}");
            assert!(
                failure.to_string().contains("ca.pem") && failure.to_string().contains(" bytes at most"),
                "{failure}"
            );
            assert!(failure.hint().contains("ulimit -f"), "{}", failure.hint());
            assert_eq!(snapshot(tree.root()), before, "{shell:?} {start:?}");
            install(&limited(shell, "8"), &tree, &files).unwrap();
            // What needs no writing is not judged.
            install(&limited(shell, "0"), &tree, &files).unwrap();
        }
    }
}

#[test]
fn a_kept_name_that_is_taken_is_found_before_the_first_directory_is_touched() {
    for shell in SHELLS {
        for obstacle in ["directory", "link to a directory"] {
            let tree = Start::Twice.make();
            let name = tree.path(&kept(CA));
            fs::remove_file(&name).unwrap();
            match obstacle {
                "directory" => fs::create_dir(&name).unwrap(),
                _ => std::os::unix::fs::symlink("/tmp", &name).unwrap(),
            }
            fs::set_permissions(tree.path(BOOTSTRAP), fs::Permissions::from_mode(0o644)).unwrap();
            let before = snapshot(tree.root());
            let failure = install(&LocalTree::remote_with(shell), &tree, &generation(3)).unwrap_err();
            assert_eq!((failure.code(), failure.effect), ("previous_unusable", Effect::Untouched), "{failure}");
            let policy = ForeignPolicy::Replace;
            let remote = LocalTree::remote_with(shell);
            let view = probe_host(&remote, &tree.host(), &generation(3), policy, &OsEntropy).unwrap();
            let is_told = |state: &FileState| matches!(state, FileState::Blocked(e) if e.code() == "previous_unusable");
            assert!(is_told(&view.files[2].state) && !is_told(&view.files[0].state), "{shell:?} {obstacle}: {view:?}");
            assert_eq!(snapshot(tree.root()), before, "{shell:?} {obstacle}");
            // Where the file is not replaced its kept name does not matter.
            let files = [generation(3).remove(0), generation(2).remove(2)];
            install(&LocalTree::remote_with(shell), &tree, &files).unwrap();
        }
    }
}
