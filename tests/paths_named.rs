//! Paths that a user names for reading or writing and that are no plain files: descriptors of the caller, as shells write
//! them for `<(command)` and `>(command)`, /dev/stdin, devices, FIFOs, links.
#![allow(clippy::unwrap_used, reason = "test code")]

mod support;

use std::{
    fs,
    io::Read,
    os::unix::fs::{FileTypeExt, PermissionsExt, symlink},
    process::{Command, Stdio},
    thread,
};
use support::{Fleet, Ran, TestEnv, public_of, require};

/// Every way to name a pipe: what stands in the command line, and how a shell ties `$FILE` to it.
const WAYS: [(&str, &str); 5] = [
    ("/dev/stdin", "cat \"$FILE\" | \"$@\""),
    ("/dev/fd/9", "cat \"$FILE\" | { \"$@\" 9<&0 </dev/null; }"),
    ("/proc/self/fd/9", "cat \"$FILE\" | { \"$@\" 9<&0 </dev/null; }"),
    ("/proc/self/fd/0", "\"$@\" <\"$FILE\""),
    ("/dev/fd/9", "\"$@\" 9<\"$FILE\""),
];

fn by_shell(env: &TestEnv, script: &str, file: &str, arguments: &[&str]) -> Ran {
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", script, "sh", env!("CARGO_BIN_EXE_kubemint")])
        .args(arguments)
        .current_dir(env.dir())
        .env_clear();
    command.env("HOME", env.path("home")).env("PATH", std::env::var_os("PATH").unwrap()).env("FILE", env.path(file));
    Ran::from(command.stdin(Stdio::null()).output().unwrap())
}

/// `arguments` with the path in place of `PATH`, each way.
fn each_way(env: &TestEnv, file: &str, arguments: &[&str], check: impl Fn(Ran)) {
    for (path, script) in WAYS {
        let arguments: Vec<String> = arguments.iter().map(|word| word.replace("PATH", path)).collect();
        let ran = by_shell(env, script, file, &arguments.iter().map(String::as_str).collect::<Vec<_>>());
        check(ran);
    }
}

#[test]
fn whatever_is_read_once_may_be_a_descriptor_of_the_caller() {
    let env = TestEnv::with_local_hosts();
    env.ok(&["apply", "--yes"]);
    let (_, report) = env.json(&["apply", "--yes"]);
    env.write("report.json", report.to_string());
    env.write("patterns", "node-1\n");
    env.write("other.csv", "0123456789abcdef0123456789abcdef,other,7,\"g\"\n");
    for (file, arguments, words) in [
        ("inventory.toml", &["-i", "PATH", "plan"][..], "3 hosts: 0 to change"),
        ("patterns", &["plan", "--limit", "@PATH"], "1 host: 0 to change"),
        ("patterns", &["plan", "--limit", "!@PATH"], "2 hosts: 0 to change"),
        ("other.csv", &["token", "lint", "PATH"], ""),
        ("other.csv", &["token", "merge", "PATH"], "other"),
        ("state/kubeconfigs/bootstrap.kubeconfig", &["kubeconfig", "inspect", "PATH"], "kubelet-bootstrap"),
        ("report.json", &["runs", "show", "PATH"], "3 hosts: 3 unchanged"),
        ("report.json", &["runs", "merge", "PATH"], "3 hosts: 3 unchanged"),
    ] {
        each_way(&env, file, arguments, |ran| drop(ran.expect(0).says(&[words])));
    }
}

#[test]
fn an_inventory_without_a_place_of_its_own_is_beside_the_caller() {
    let env = TestEnv::with_local_hosts();
    by_shell(&env, WAYS[1].1, "inventory.toml", &["-i", "/dev/fd/9", "apply", "--yes"]).expect(0);
    assert!(env.path("state/ca.pem").exists() && env.path("hosts/node-2/etc/kubernetes").exists());
}

#[test]
fn the_ca_of_an_inventory_may_come_through_pipes_although_it_is_asked_for_twice() {
    let env = TestEnv::with_local_hosts();
    env.ok(&["generate"]);
    let rest = env.read("inventory.toml");
    let rest = rest.split_once("state_dir = \"state\"\n").unwrap().1;
    let ca = "state_dir = \"other\"\n[ca]\ncert = \"/dev/fd/7\"\nkey = \"/proc/self/fd/8\"\n";
    env.write("inventory.toml", ca.to_owned() + rest);
    let script = "cat state/ca.pem | { cat state/ca-key.pem | \"$@\" 8<&0 7<&6 </dev/null; } 6<&0";
    by_shell(&env, script, "", &["apply", "--yes"]).expect(0);
    assert_eq!(env.read("other/ca.pem"), env.read("state/ca.pem"));
}

#[test]
fn keys_known_hosts_and_passphrases_may_be_descriptors_too() {
    let mut fleet = Fleet::of_nodes(2);
    let locked = fleet.client.make_key("locked", &["-t", "ed25519", "-N", "Vq7-pass-Xw2"]);
    fleet.hosts.iter().for_each(|host| host.authorize(&public_of(&locked)));
    fleet.client.identity_files = vec![locked.clone()];
    fleet.set_settings("");
    let key = fs::read_to_string(&locked).unwrap();
    fleet.env.write("key", &key);
    fleet.env.write("passphrase", "Vq7-pass-Xw2\n");
    let known = fleet.client.known_hosts.display().to_string();
    let inventory =
        fleet.env.read("inventory.toml").replace(&known, "/dev/fd/8").replace(locked.to_str().unwrap(), "/dev/fd/7");
    fleet.env.write("inventory.toml", inventory);
    for name in ["/proc/self/fd/9", "/dev/fd/9"] {
        let script = format!(
            "cat key | {{ cat '{known}' | {{ cat passphrase | \"$@\" 9<&0 8<&6 7<&5 </dev/null; }} 6<&0; }} 5<&0"
        );
        by_shell(&fleet.env, &script, "", &["apply", "--yes", "--key-passphrase-file", name]).expect(0);
    }
    by_shell(
        &fleet.env,
        &format!("cat passphrase | \"$@\" 8<'{known}' 7<key"),
        "",
        &["plan", "--key-passphrase-file", "/dev/stdin"],
    )
    .expect(0);
}

#[test]
fn what_is_too_large_or_not_open_is_said_and_nothing_is_waited_for() {
    let env = TestEnv::with_local_hosts();
    let endless = "\"$@\" 9</dev/zero";
    by_shell(&env, endless, "", &["kubeconfig", "inspect", "/dev/fd/9"]).expect(2).says(&["larger than 4 MiB"]);
    by_shell(&env, endless, "", &["-i", "/proc/self/fd/9", "plan"]).expect(2).says(&["larger than 16 MiB"]);
    for path in ["/dev/fd/9", "/proc/self/fd/9"] {
        by_shell(&env, "\"$@\" 9<&-", "", &["-i", path, "plan"]).expect(2).says(&[
            "cannot read",
            path,
            "file descriptor 9 is not open",
            "-i - <FILE",
        ]);
        let lint = by_shell(&env, "\"$@\" 9<&-", "", &["token", "lint", path]).expect(2);
        lint.says(&["file descriptor 9 is not open", "9<FILE"]);
    }
    by_shell(&env, "\"$@\" 9<.", "", &["-i", "/dev/fd/9", "plan"]).expect(2).says(&["directory"]);
    // A FIFO by its own name is no file of the caller's: nobody may ever write to it.
    rustix::fs::mknodat(
        rustix::fs::CWD,
        env.path("fifo"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from(0o600),
        0,
    )
    .unwrap();
    env.run(&["-i", "fifo", "plan"]).expect(2).says(&["not a regular file"]);
}

fn metrics(text: &str) -> bool {
    text.starts_with("# HELP kubemint_host_up ")
}

#[test]
fn a_device_or_fifo_is_written_to_and_never_replaced() {
    let env = TestEnv::with_local_hosts();
    env.ok(&["apply", "--yes"]);
    let fifo = env.path("fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, rustix::fs::Mode::from(0o600), 0).unwrap();
    symlink("fifo", env.path("link")).unwrap();
    symlink("/dev/null", env.path("null")).unwrap();
    for name in ["fifo", "link"] {
        let reader = thread::spawn({
            let fifo = fifo.clone();
            move || fs::read_to_string(fifo).unwrap()
        });
        env.ok(&["status", "--prometheus", name]).says(&["3 hosts: 3 ok"]);
        assert!(metrics(&reader.join().unwrap()));
        assert!(fs::symlink_metadata(&fifo).unwrap().file_type().is_fifo());
    }
    for name in ["/dev/null", "null"] {
        env.ok(&["status", "--prometheus", name]);
    }
    assert!(fs::symlink_metadata("/dev/null").unwrap().file_type().is_char_device());
    assert!(fs::symlink_metadata(env.path("null")).unwrap().is_symlink());
}

#[test]
fn standard_output_is_the_printers_and_holds_one_thing() {
    let env = TestEnv::with_local_hosts();
    env.ok(&["apply", "--yes"]);
    for name in ["-", "/dev/stdout", "/proc/self/fd/1", "/dev/fd/1"] {
        let ran = env.ok(&["status", "--prometheus", name]);
        assert!(metrics(&ran.stdout) && !ran.stdout.contains("3 ok"), "{name}: {}", ran.stdout);
        let (code, document) = env.json(&["status", "--prometheus", name]);
        assert_eq!((code, &document["error"]["code"]), (2, &"usage".into()), "{document:#}");
    }
    // To a file as well, which is not replaced under the shell that opened it.
    let script = "{ echo before; \"$@\"; echo after; } >\"$FILE\"";
    by_shell(&env, script, "out", &["status", "-q", "--prometheus", "/dev/stdout"]).expect(0);
    let out = env.read("out");
    assert!(out.starts_with("before\n# HELP") && out.ends_with("\nafter\n"), "{out}");
    let script = "{ \"$@\" >/dev/null; } 2>\"$FILE\"; echo after >>\"$FILE\"";
    by_shell(&env, script, "err", &["status", "-q", "--prometheus", "/dev/stderr"]).expect(0);
    assert!(metrics(&env.read("err")) && env.read("err").ends_with("after\n"));
    by_shell(&env, "\"$@\" 9>\"$FILE\"", "nine", &["status", "-q", "--prometheus", "/dev/fd/9"]).expect(0);
    assert!(metrics(&env.read("nine")));
    by_shell(
        &env,
        "\"$@\" 9>&1 >/dev/null | head -n 1 >\"$FILE\"",
        "head",
        &["status", "-q", "--prometheus", "/dev/fd/9"],
    );
    assert!(metrics(&env.read("head")));
    assert!(env.ok(&["init", "-"]).stdout.contains("[[hosts]]"));
    assert!(!env.path("-").exists());
}

#[test]
fn a_reader_that_leaves_is_no_bug() {
    let env = TestEnv::with_local_hosts();
    env.ok(&["apply", "--yes"]);
    for name in ["-", "/dev/stdout", "/dev/fd/9"] {
        let script = "{ \"$@\" 9>&1; echo $? >\"$FILE\"; } | true";
        let ran = by_shell(&env, script, "code", &["status", "--prometheus", name]);
        assert!(!ran.stderr.contains("bug"), "{}", ran.stderr);
        assert!(["0\n", "2\n"].contains(&&*env.read("code")), "{name}: {}", env.read("code"));
    }
}

#[test]
fn links_are_followed_directories_refused_and_files_written_whole() {
    let env = TestEnv::with_local_hosts();
    env.ok(&["apply", "--yes"]);
    env.write("to/file", "old");
    symlink("to/file", env.path("link")).unwrap();
    symlink("to/new", env.path("dangling")).unwrap();
    symlink("to", env.path("folder")).unwrap();
    symlink("round", env.path("round")).unwrap();
    for (link, file) in [("link", "to/file"), ("dangling", "to/new")] {
        env.ok(&["status", "--prometheus", link]);
        assert!(fs::symlink_metadata(env.path(link)).unwrap().is_symlink() && metrics(&env.read(file)));
        assert_eq!(env.mode(file), 0o644);
    }
    for name in ["to", "folder", "round", "none/file", "/dev/fd/77"] {
        let (code, document) = env.json(&["status", "--prometheus", name]);
        assert_eq!((code, &document["error"]["code"]), (2, &"file_unwritable".into()), "{name}: {document:#}");
    }
    // Whoever may make links there could choose the file.
    fs::create_dir(env.path("open")).unwrap();
    symlink("../to/file", env.path("open/link")).unwrap();
    env.set_mode("open", 0o777);
    env.write("to/file", "old");
    env.run(&["status", "--prometheus", "open/link"]).expect(2).says(&["another user could have made"]);
    assert_eq!(env.read("to/file"), "old");
    assert_eq!(fs::read_dir(env.path("to")).unwrap().count(), 2, "nothing temporary is left");
}

#[test]
fn every_other_output_goes_by_the_same_rules() {
    let env = TestEnv::with_local_hosts();
    env.write("to/file", "old");
    symlink("to/file", env.path("link.toml")).unwrap();
    env.run(&["init", "link.toml"]).expect(2).says(&["exists already"]);
    assert_eq!(env.read("to/file"), "old");
    env.ok(&["init", "/dev/null"]);
    // man pages over a link and a FIFO
    fs::create_dir(env.path("man")).unwrap();
    symlink("../to/page", env.path("man/kubemint-init.1")).unwrap();
    let fifo = env.path("man/kubemint-plan.1");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, rustix::fs::Mode::from(0o600), 0).unwrap();
    let reader = thread::spawn(move || {
        let mut text = String::new();
        fs::File::open(fifo).unwrap().read_to_string(&mut text).unwrap();
        text
    });
    env.ok(&["man", "man"]);
    assert!(reader.join().unwrap().contains("kubemint") && env.read("to/page").contains("kubemint"));
    assert!(fs::symlink_metadata(env.path("man/kubemint-init.1")).unwrap().is_symlink());
    // Requests for a CA elsewhere.
    env.ok(&["generate"]);
    let rest = env.read("inventory.toml");
    let rest = rest.split_once("state_dir = \"state\"\n").unwrap().1.to_owned();
    env.write("inventory.toml", format!("state_dir = \"other\"\n[ca]\ncert = \"state/ca.pem\"\n{rest}"));
    fs::create_dir(env.path("requests")).unwrap();
    symlink("../to/request", env.path("requests/kube-proxy.csr")).unwrap();
    env.ok(&["cert", "csr", "--out", "requests"]);
    // Without the signature and the length of the whole, which are others each time.
    let public = |request: &str| request.lines().skip(2).take(3).map(str::to_owned).collect::<Vec<_>>();
    let request = public(&env.read("to/request"));
    for name in ["-", "/dev/stdout"] {
        assert_eq!(public(&env.ok(&["cert", "csr", "--out", name]).stdout), request, "{name}");
        env.run(&["cert", "csr", "--out", name, "-o", "json"]).expect(2);
    }
    // What cannot be written is said before a key is made.
    fs::remove_dir_all(env.path("other")).unwrap();
    fs::create_dir_all(env.path("bad/kube-proxy.csr")).unwrap();
    env.run(&["cert", "csr", "--out", "bad"]).expect(2).says(&["kube-proxy.csr"]);
    assert!(!env.path("other").exists());
    for dir in ["/dev/null", "man/kubemint-plan.1", "/dev/stdout"] {
        env.run(&["distribute", "--state-dir", "state", "--runs-dir", dir]).expect(4);
    }
}

/// What an ordinary user's process may open is not what root's may: the process is not to be dumped, and /proc/self is
/// another's then.
#[test]
fn an_ordinary_user_has_descriptors_too() {
    need_root!();
    let env = TestEnv::with_local_hosts();
    let binary = env.path("kubemint");
    fs::copy(env!("CARGO_BIN_EXE_kubemint"), &binary).unwrap();
    fs::set_permissions(&binary, fs::Permissions::from_mode(0o755)).unwrap();
    for path in [env.dir(), &env.path("home")] {
        std::os::unix::fs::chown(path, Some(65432), Some(65432)).unwrap();
    }
    env.set_mode(".", 0o755);
    for (path, script) in WAYS {
        let mut command = Command::new(require("setpriv"));
        command.args(["--reuid=65432", "--regid=65432", "--clear-groups", "sh", "-c", script, "sh"]).arg(&binary);
        command.args(["-i", path, "generate", "-q"]).current_dir(env.dir()).env("HOME", env.path("home"));
        let output = command.env("FILE", env.path("inventory.toml")).stdin(Stdio::null()).output().unwrap();
        Ran::from(output).expect(0);
    }
}

#[test]
fn two_flags_that_name_one_standard_input_are_refused_before_anything_is_done() {
    let env = TestEnv::with_local_hosts();
    env.write("patterns", "node-1\n");
    let refused = |arguments: &[&str]| {
        let ran = by_shell(&env, "\"$@\" <\"$FILE\"", "inventory.toml", arguments).expect(2);
        ran.says(&["both name standard input"]);
        assert!(!env.path("state").exists(), "{arguments:?}");
        let json = by_shell(&env, "\"$@\" <\"$FILE\"", "inventory.toml", &[arguments, &["-o", "json"]].concat());
        let document: serde_json::Value = serde_json::from_str(&json.expect(2).stdout).unwrap();
        assert_eq!(document["error"]["code"], "usage", "{arguments:?}");
    };
    for one in ["-", "/dev/stdin", "/proc/self/fd/0"] {
        for other in ["@-", "@/dev/stdin", "!@/dev/fd/0"] {
            refused(&["-i", one, "apply", "--yes", "--limit", other]);
        }
        refused(&["-i", one, "apply", "--yes", "--password-file", "-"]);
        refused(&["-i", one, "apply", "--yes", "--become-password-fd", "0"]);
    }
    // One flag may have it, however often it is read.
    let script = "\"$@\" <\"$FILE\"";
    by_shell(&env, script, "inventory.toml", &["-i", "-", "apply", "--yes"]).expect(0);
    by_shell(&env, script, "patterns", &["plan", "--limit", "@-", "--limit", "@/dev/stdin"]).expect(0);
}
