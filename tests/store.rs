//! The credential directory under attack: killed runs, full disks, two runs at once, damage, old copies. In every case
//! it loads or refuses with exit 4, it is never half-written, and a CA is never made a second time.

#![allow(clippy::unwrap_used, reason = "clippy.toml allows it in test functions only, not in what they call")]

mod support;

use std::{
    fs,
    os::unix::fs::{MetadataExt, chown, symlink},
    path::Path,
    process::Command,
};
use support::{CREDENTIALS, LOCAL_HOSTS, TestEnv, require};

fn generated() -> TestEnv {
    let env = TestEnv::with_local_hosts();
    env.ok(&["generate"]);
    env
}

fn other_server() -> String {
    LOCAL_HOSTS.replace("172.20.0.113", "172.20.0.114")
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|meta| meta.uid() == 0)
}

fn copy_tree(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(status.success());
}

/// What makes a file count; tests/sweep_kubemint.rs meets every other system call. strace counts each on its own, and not
/// every machine has the one with a question mark.
const RENAME: &str = "?rename,renameat,renameat2";

/// Runs `generate` and kills it at the n-th of these system calls, before it is done; whether it was killed.
fn generate_killed_at(env: &TestEnv, calls: &str, call: usize) -> bool {
    let output = Command::new(require("strace"))
        .args(["-f", "-qq", "-o", "/dev/null", "-e"])
        .arg(format!("trace={calls}"))
        .arg("-e")
        .arg(format!("inject={calls}:signal=SIGKILL:when={call}"))
        .arg(env!("CARGO_BIN_EXE_kubemint"))
        .arg("generate")
        .env_clear()
        .env("HOME", env.path("home"))
        .current_dir(env.dir())
        .output()
        .unwrap();
    if output.status.success() {
        return false;
    }
    assert!(output.stdout.is_empty() || output.status.code().is_none(), "{output:?}");
    true
}

/// Kills `generate` at each of these calls in turn, in a copy of `start`, and looks at what each leaves.
fn sweep(start: &TestEnv, calls: &'static str, least: usize, check: impl Fn(&TestEnv, &str)) {
    for call in 1.. {
        let env = TestEnv::new();
        for entry in fs::read_dir(start.dir()).unwrap() {
            let path = entry.unwrap().path();
            if !path.ends_with("home") {
                copy_tree(&path, env.dir());
            }
        }
        if !generate_killed_at(&env, calls, call) {
            assert!(call > least, "{calls}: {call}");
            return;
        }
        let step = format!("{calls} {call}");
        let status = env.run(&["status"]);
        assert!([0, 4].contains(&status.code) && !status.stderr.contains("damaged"), "{step}: {status:?}");
        check(&env, &step);
        env.ok(&["verify"]);
        assert_eq!(env.files("state").iter().filter(|file| file.extension() == Some("tmp".as_ref())).count(), 0);
    }
}

#[test]
fn a_first_run_killed_at_any_rename_leaves_what_the_next_one_completes() {
    let start = TestEnv::with_local_hosts();
    sweep(&start, RENAME, 9, |env, step| {
        let pair = |env: &TestEnv| (env.read("state/ca.pem"), env.read("state/ca-key.pem"));
        let ca = env.path("state/ca.pem").exists().then(|| pair(env));
        env.ok(&["generate"]);
        if let Some(ca) = ca {
            assert_eq!(pair(env), ca, "{step}");
        }
    });
}

#[test]
fn a_later_run_killed_at_any_rename_keeps_ca_and_token() {
    let start = generated();
    let wishes = "[certificates.kube-proxy]\norganization = \"x\"\n[token]\nuid = \"7\"\n";
    start.write("inventory.toml", other_server() + wishes);
    let (ca, key) = (start.read("state/ca.pem"), start.read("state/ca-key.pem"));
    let token = start.read("state/token.csv")[..32].to_owned();
    sweep(&start, RENAME, 7, |env, step| {
        // Distribute must not send out a set that nothing vouches for.
        let sent = env.run(&["distribute"]).expect(4);
        assert!(!env.path("hosts").exists(), "{step}");
        // Before the first rename, nothing but the inventory differs; after it, the set is known to be unfinished.
        if !step.ends_with(" 1") {
            sent.says(&["an earlier run was stopped while it was writing", "kubemint generate"]);
            env.run(&["verify"]).expect(6).says(&["an earlier run was stopped"]);
        }
        env.ok(&["generate"]);
        assert_eq!((env.read("state/ca.pem"), env.read("state/ca-key.pem")), (ca.clone(), key.clone()), "{step}");
        assert_eq!(env.read("state/token.csv")[..32], token, "{step}");
        env.ok(&["generate"]).says(&["nothing to do"]);
    });
}

/// Runs a shell script as root of a mount namespace of its own, with `$KUBEMINT` and a function `small SIZE` that mounts
/// a tmpfs of that size over the folder `state`.
fn in_small_disk(env: &TestEnv, script: &str) -> String {
    let prelude = "set -eu
        small() { mkdir -p state; mount -t tmpfs -o size=\"$1\",mode=0700 none state; }
        code() { status=0; \"$@\" >out 2>&1 || status=$?; echo \"$status\"; }
        credentials() { find state -type f ! -name lock | wc -l; }";
    let output = Command::new(require("unshare"))
        .args(["-m", "sh", "-c", &format!("{prelude}\n{script}")])
        .current_dir(env.dir())
        .env("KUBEMINT", env!("CARGO_BIN_EXE_kubemint"))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}{}", String::from_utf8_lossy(&output.stderr), env.read("out"));
    text
}

#[test]
fn a_full_disk_leaves_nothing_half_written() {
    if !is_root() {
        support::skipped("needs root (mounts a small tmpfs)");
        return;
    }
    let env = TestEnv::with_local_hosts();
    let said = in_small_disk(
        &env,
        r#"for pages in $(seq 1 14); do
            small $((pages * 4))k
            first=$(code "$KUBEMINT" generate); left=$(credentials)
            grep -q 'free space' out && hint=yes || hint=no
            mount -o remount,size=1m state
            second=$(code "$KUBEMINT" generate); verified=$(code "$KUBEMINT" verify)
            echo "$pages $first $left $hint $second $verified"
            umount state
        done"#,
    );
    let mut refused = 0;
    for line in said.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        match fields[1..] {
            ["4", "0", "yes", "0", "0"] => refused += 1,
            ["0", "8", "no", "0", "0"] => {}
            _ => panic!("pages, exit, files left, hint, next exit, verify: {line}\n{said}"),
        }
    }
    assert!((5..14).contains(&refused), "{said}");
}

#[test]
fn a_full_disk_keeps_the_old_set_and_lets_no_host_be_touched() {
    if !is_root() {
        support::skipped("needs root (mounts a small tmpfs)");
        return;
    }
    let env = TestEnv::with_local_hosts();
    env.write("other.toml", other_server());
    let said = in_small_disk(
        &env,
        r#"small 1m
        code "$KUBEMINT" generate
        dd if=/dev/zero of=state/ballast bs=4096 2>/dev/null || true
        before=$(cd state && sha256sum state.json ca.pem token.csv kubeconfigs/* certs/* | sha256sum)
        code "$KUBEMINT" -i other.toml apply; cat out
        code "$KUBEMINT" apply; cat out
        test ! -e hosts && echo untouched
        after=$(cd state && sha256sum state.json ca.pem token.csv kubeconfigs/* certs/* | sha256sum)
        test "$before" = "$after" && echo same
        rm state/ballast
        code "$KUBEMINT" -i other.toml apply"#,
    );
    let exits: Vec<&str> = said.lines().filter(|line| line.len() == 1).collect();
    assert_eq!(exits, ["0", "4", "4", "0"], "{said}");
    assert!(said.contains("untouched\n") && said.contains("same\n"), "{said}");
    assert_eq!(said.matches("free space").count(), 2, "{said}");
}

#[test]
fn a_run_that_cannot_be_journaled_changes_nothing() {
    if !is_root() {
        support::skipped("needs root (mounts a read-only tmpfs)");
        return;
    }
    let env = generated();
    fs::create_dir(env.path("state/runs")).unwrap();
    env.set_mode("state/runs", 0o700);
    env.write("other.toml", other_server());
    let content = || (env.files("state"), CREDENTIALS.map(|file| env.read(format!("state/{file}"))));
    let before = (content(), env.read("state/state.json"));
    // Then the other way round: no run is left of a commit that fails.
    let said = in_small_disk(
        &env,
        r#"mount -t tmpfs -o ro,mode=0700 none state/runs
        code "$KUBEMINT" -i other.toml apply; cat out
        code "$KUBEMINT" distribute; cat out
        umount state/runs; mount -t tmpfs -o ro,mode=0700 none state/certs
        code "$KUBEMINT" -i other.toml apply; cat out"#,
    );
    let exits: Vec<&str> = said.lines().filter(|line| line.len() == 1).collect();
    assert_eq!(exits, ["4", "4", "4"], "{said}");
    assert_eq!(said.matches("cannot make ").count(), 2, "{said}");
    assert!(said.contains("cannot write ") && !env.path("hosts").exists(), "{said}");
    assert_eq!((content(), env.read("state/state.json")), before);
    assert_eq!(fs::read_dir(env.path("state/runs")).unwrap().count(), 0);
}

#[test]
fn a_second_run_is_refused_and_told_who_holds_the_lock() {
    let env = generated();
    let lock = fs::OpenOptions::new().write(true).open(env.path("state/lock")).unwrap();
    lock.lock().unwrap();
    fs::write(env.path("state/lock"), "4711\n").unwrap();
    let before = env.tree_hash("");
    for line in ["generate", "apply", "distribute"] {
        env.run(&[line]).expect(4).says(&["in use by another kubemint, pid 4711", "ps -p"]);
    }
    let (code, document) = env.json(&["apply"]);
    assert_eq!((code, &document["error"]["code"]), (4, &"state_locked".into()));
    for line in ["verify", "plan", "status", "token show", "cert list"] {
        env.ok(&line.split(' ').collect::<Vec<_>>());
    }
    assert_eq!(env.tree_hash(""), before);
    drop(lock);
    env.write("inventory.toml", other_server());
    env.ok(&["generate"]);
    assert_eq!(env.read("state/lock"), "", "no stale pid is left behind");
}

#[test]
fn many_first_runs_at_once_make_one_set() {
    let env = TestEnv::with_local_hosts();
    let run = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kubemint"));
        command.arg("generate").current_dir(env.dir()).env_clear().output().unwrap()
    };
    let outputs: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(run)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let made = outputs.iter().filter(|output| String::from_utf8_lossy(&output.stdout).contains("created")).count();
    assert_eq!(made, 1, "{outputs:?}");
    for output in &outputs {
        assert!(matches!(output.status.code(), Some(0 | 4)), "{output:?}");
    }
    env.ok(&["verify"]);
    assert!(env.read("state/state.json").contains("\"generation\": 1,"));
}

#[test]
fn a_flipped_byte_anywhere_is_damage_and_nothing_is_touched() {
    let env = generated();
    for file in CREDENTIALS.into_iter().chain(["state.json"]) {
        let path = env.path("state").join(file);
        let good = fs::read(&path).unwrap();
        for place in [0, good.len() / 3, good.len() / 2, good.len() - 2] {
            let mut bad = good.clone();
            bad[place] ^= 1;
            fs::write(&path, &bad).unwrap();
            let before = env.tree_hash("");
            let ran = env.run(&["apply"]).expect(4);
            let said = ran.stderr.contains(&format!("{file} is damaged")) && ran.stderr.contains("from a backup");
            assert!(said, "{file}, byte {place}: {}", ran.stderr);
            for secret in String::from_utf8_lossy(&bad).lines().filter(|line| line.len() > 30) {
                assert!(!ran.stderr.contains(secret), "{file}, byte {place}: {}", ran.stderr);
            }
            if place == 0 {
                for command in ["generate", "plan", "status", "verify", "distribute"] {
                    env.run(&[command]).expect(4).says(&[file]);
                }
            }
            assert_eq!(env.tree_hash(""), before, "{file}, byte {place}");
        }
        fs::write(&path, &good).unwrap();
    }
    env.ok(&["verify"]);
}

#[test]
fn every_value_of_the_state_is_under_its_checksum() {
    let env = generated();
    let text = env.read("state/state.json");
    for (old, new) in [
        ("\"generation\": 1", "\"generation\": 2"),
        ("\"origin\": \"generated\"", "\"origin\": \"imported\""),
        ("\"user\": \"kubelet-bootstrap\"", "\"user\": \"somebody\""),
        ("\"uid\": \"10001\"", "\"uid\": \"0\""),
    ] {
        assert!(text.contains(old), "{old}");
        env.write("state/state.json", text.replace(old, new));
        env.run(&["generate"]).expect(4).says(&["checksum", "from a backup"]);
    }
}

#[test]
fn a_file_cut_short_emptied_or_replaced_by_a_folder_is_damage() {
    for file in ["state.json", "token.csv", "ca-key.pem"] {
        let env = generated();
        let path = format!("state/{file}");
        let good = env.read(&path);
        for bad in ["", &good[..good.len() / 2]] {
            env.write(&path, bad);
            env.run(&["generate"]).expect(4).says(&["is damaged"]);
        }
        env.remove(&path);
        fs::create_dir(env.path(&path)).unwrap();
        env.run(&["generate"]).expect(4).says(&["is damaged: it is a directory"]);
    }
}

#[test]
fn a_lost_state_json_is_not_taken_for_a_fresh_start() {
    let env = TestEnv::with_local_hosts();
    env.ok(&["apply"]);
    env.remove("state/state.json");
    env.run(&["apply"]).expect(4).says(&["state.json is damaged: missing, though ca-key.pem is there"]);
    for file in CREDENTIALS {
        env.remove(format!("state/{file}"));
    }
    let before = env.tree_hash("");
    env.run(&["apply"]).expect(4).says(&["state.json is damaged: missing, though runs/", "from a backup"]);
    assert_eq!(env.tree_hash(""), before);
}

#[test]
fn a_state_of_a_newer_version_is_left_alone() {
    let env = generated();
    let newer = env.read("state/state.json").replacen("\"version\": 1", "\"version\": 2", 1);
    env.write("state/state.json", newer);
    let before = env.tree_hash("");
    for command in ["generate", "apply", "verify", "status"] {
        let ran = env.run(&[command]).expect(4);
        ran.says(&["newer kubemint (state version 2; this one knows 1)", "use the kubemint that wrote it"]);
    }
    env.write("state/state.json", "{\"schema\": \"kubemint/state\", \"version\": 9, \"all\": \"else\"}");
    env.run(&["generate"]).expect(4).says(&["state version 9"]);
    env.write("state/state.json", "{\"schema\": \"kubemint/state\", \"version\": 2}");
    assert_ne!(env.tree_hash(""), before);
    env.run(&["token", "show"]).expect(4).says(&["state version 2"]);
}

#[test]
fn an_older_generation_put_back_is_refused() {
    let env = TestEnv::with_local_hosts();
    env.ok(&["apply"]);
    copy_tree(&env.path("state"), &env.path("backup"));
    env.write("inventory.toml", other_server());
    env.ok(&["apply"]);
    let runs = env.path("runs-kept");
    fs::rename(env.path("state/runs"), &runs).unwrap();
    fs::remove_dir_all(env.path("state")).unwrap();
    fs::rename(env.path("backup"), env.path("state")).unwrap();
    fs::remove_dir_all(env.path("state/runs")).unwrap();
    fs::rename(&runs, env.path("state/runs")).unwrap();
    // Neither an older run of a later name (a clock set back, or the same second) nor one that was killed before it
    // wrote a line hides it.
    let older = r#"{"event":"started","at":"2026-01-01T00:00:00Z","command":"apply","generation":1,"hosts":[]}"#;
    env.write("state/runs/99991230T000000Z-ffffff/journal.jsonl", older);
    fs::create_dir(env.path("state/runs/99991231T000000Z-ffffff")).unwrap();
    // Nor do a hundred of them, from before the clock was set right.
    for day in 101..=250 {
        env.write(format!("state/runs/2031{day:04}T000000Z-ffffff/journal.jsonl"), older);
    }
    let before = env.tree_hash("");
    for command in ["generate", "apply", "distribute", "plan"] {
        let ran = env.run(&[command]).expect(4);
        ran.says(&["generation 1, but run ", "worked with generation 2", "restore the newest copy"]);
    }
    assert_eq!(env.tree_hash(""), before);
}

/// Every command that reads the directory.
const READERS: [&str; 9] =
    ["generate", "apply", "distribute", "plan", "status", "verify", "token show", "cert list", "token merge old.csv"];

/// That every command refuses, says why, and leaves the directory as it is.
#[track_caller]
fn refused_by_all(env: &TestEnv, what: &str, says: &[&str]) {
    env.write("old.csv", "9b41f7d03c5e28a6d1f0947c3be85a62,alice,1\n");
    let before = env.tree_hash("");
    for command in READERS {
        let ran = env.run(&command.split(' ').collect::<Vec<_>>());
        assert_eq!(ran.code, 4, "{what}: {command}\n{}{}", ran.stdout, ran.stderr);
        ran.says(says);
    }
    assert_eq!(env.tree_hash(""), before, "{what}");
}

#[test]
fn nothing_of_somebody_else_is_believed() {
    if !is_root() {
        support::skipped("needs root (chown)");
        return;
    }
    let all = ["", "certs", "kubeconfigs", "runs", "lock", "state.json"].into_iter().chain(CREDENTIALS);
    for path in all {
        let env = TestEnv::with_local_hosts();
        env.ok(&["apply"]);
        chown(env.path("state").join(path), Some(12345), None).unwrap();
        refused_by_all(&env, path, &[path, "belongs to another user (uid 12345)", "--state-dir"]);
    }
    let env = TestEnv::with_local_hosts();
    env.ok(&["apply"]);
    chown(fs::read_dir(env.path("state/runs")).unwrap().next().unwrap().unwrap().path(), Some(12345), None).unwrap();
    refused_by_all(&env, "a run", &["belongs to another user (uid 12345)"]);
}

#[test]
fn no_link_is_followed() {
    for path in ["", "certs", "kubeconfigs", "runs", "lock", "state.json", "token.csv", "ca-key.pem"] {
        let env = TestEnv::with_local_hosts();
        env.ok(&["apply"]);
        let named = env.path("state").components().chain(Path::new(path).components()).collect::<std::path::PathBuf>();
        fs::rename(&named, env.path("elsewhere")).unwrap();
        symlink(env.path("elsewhere"), &named).unwrap();
        refused_by_all(&env, path, &[path, "is a symbolic link", "the file or directory itself"]);
    }
    let env = generated();
    fs::rename(env.path("state"), env.path("elsewhere")).unwrap();
    symlink(env.path("elsewhere"), env.path("state")).unwrap();
    for dir in ["state/", "state/."] {
        env.run(&["--state-dir", dir, "verify"]).expect(4).says(&["is a symbolic link"]);
    }
}

#[test]
fn a_lock_that_points_elsewhere_empties_no_file() {
    for make in [symlink::<std::path::PathBuf, std::path::PathBuf>, fs::hard_link] {
        let env = TestEnv::with_local_hosts();
        fs::create_dir(env.path("state")).unwrap();
        env.set_mode("state", 0o700);
        env.write("precious", "mine");
        make(env.path("precious"), env.path("state/lock")).unwrap();
        env.run(&["generate"]).expect(4).says(&["state/lock", "link"]);
        assert_eq!(env.read("precious"), "mine");
        assert_eq!(env.files("state"), [Path::new("lock")]);
    }
    let env = TestEnv::with_local_hosts();
    fs::create_dir(env.path("state")).unwrap();
    assert!(Command::new("mkfifo").arg(env.path("state/lock")).status().unwrap().success());
    env.run(&["generate"]).expect(4).says(&["is not a regular file"]);
}

#[test]
fn sweeping_stays_inside_the_directory() {
    let env = TestEnv::with_local_hosts();
    env.write("elsewhere/.kubemint-abc.tmp", "x");
    fs::create_dir(env.path("state")).unwrap();
    symlink(env.path("elsewhere"), env.path("state/certs")).unwrap();
    env.run(&["generate"]).expect(4).says(&["state/certs is a symbolic link"]);
    assert!(env.path("elsewhere/.kubemint-abc.tmp").exists());
}

#[test]
fn a_credential_with_a_second_name_is_refused() {
    for file in ["token.csv", "ca-key.pem", "state.json", "kubeconfigs/kube-proxy.kubeconfig"] {
        let env = generated();
        fs::hard_link(env.path("state").join(file), env.path("second")).unwrap();
        refused_by_all(&env, file, &[file, "has 2 names (hard links)", "-samefile"]);
    }
}

#[test]
fn what_others_may_write_is_refused_and_not_adopted() {
    for path in ["", "certs", "kubeconfigs", "runs", "lock", "state.json", "token.csv", "ca-key.pem"] {
        for mode in [0o620, 0o602] {
            let env = TestEnv::with_local_hosts();
            env.ok(&["apply"]);
            let whole = env.path("state").join(path);
            let mode = if whole.is_dir() { mode | 0o111 } else { mode };
            env.set_mode(format!("state/{path}"), mode);
            let said = format!("can be written by others (mode {mode:04o})");
            refused_by_all(&env, path, &[path, &said, "chmod -R go="]);
            assert_eq!(env.mode(format!("state/{path}")), mode);
        }
    }
    // Nobody can have put anything into an empty one.
    let env = TestEnv::with_local_hosts();
    fs::create_dir(env.path("state")).unwrap();
    env.set_mode("state", 0o777);
    env.ok(&["generate"]).says(&["open to others"]);
    assert_eq!(env.mode("state"), 0o700);
}

#[test]
fn a_directory_open_to_others_is_found_and_closed() {
    let env = generated();
    env.set_mode("state", 0o755);
    env.run(&["verify"]).expect(6).says(&["has mode 0755"]);
    env.ok(&["generate"]).says(&["open to others"]);
    assert_eq!(env.mode("state"), 0o700);
    env.set_mode("state/token.csv", 0o644);
    env.set_mode("state/certs", 0o750);
    env.run(&["verify"]).expect(6).says(&["has mode 0", "chmod -R go="]);
    env.ok(&["generate"]).says(&["state/token.csv was open to others", "state/certs was open to others"]);
    assert_eq!((env.mode("state/token.csv"), env.mode("state/certs")), (0o600, 0o700));
    env.ok(&["verify"]);
}

#[test]
fn leftovers_of_killed_runs_are_swept_and_nothing_else_is() {
    let env = generated();
    let run = "state/runs/20260101T000000Z-000000/.kubemint-ghi.tmp";
    for name in
        ["state/.kubemint-abc.tmp", "state/certs/.kubemint-def.tmp", run, "state/notes.tmp", "state/.kubemint-notes"]
    {
        env.write(name, "x");
    }
    env.write("inventory.toml", other_server());
    env.ok(&["generate"]);
    assert!(!env.path("state/.kubemint-abc.tmp").exists() && !env.path("state/certs/.kubemint-def.tmp").exists());
    assert!(!env.path(run).exists());
    assert!(env.path("state/notes.tmp").exists() && env.path("state/.kubemint-notes").exists());
}
