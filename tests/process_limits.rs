//! The process itself: what it does where threads, processes or open files run out, that it leaves no core, and that no
//! input takes its stack. Each is an error that names what there is too little of, never a bug and never the end of the
//! other hosts.
#![allow(clippy::unwrap_used, reason = "test code")]

mod support;

use rustix::process::Signal;
use serde_json::Value;
use std::{
    collections::BTreeSet,
    fs,
    process::{Command, Stdio},
};
use support::{Listener, Manner, Ran, Running, TestEnv, eventually, require};

/// Local hosts below `h`.
fn local_hosts(count: usize) -> String {
    format!(
        "state_dir = \"state\"\n[cluster]\nserver = \"https://172.20.0.113:6443\"\n[distribute]\nconcurrency = 64\n\
         [[hosts]]\nname = \"n[1-{count}]\"\nconnection = \"local\"\nroot = \"h/n[1-{count}]\"\n"
    )
}

fn codes(document: &Value) -> BTreeSet<&str> {
    let hosts = document["hosts"].as_array().unwrap().iter();
    hosts.filter_map(|host| host["error"]["code"].as_str()).collect()
}

/// With a limit of a shell's `ulimit`, as the user `uid` where one is given.
fn limited(env: &TestEnv, limit: &str, uid: Option<u32>, arguments: &[&str]) -> Ran {
    let script = format!("ulimit {limit}; exec \"$@\"");
    let mut command = Command::new(require("bash"));
    command.args(["-c", &script, "bash"]).current_dir(env.dir()).env("HOME", env.path("home")).stdin(Stdio::null());
    if let Some(uid) = uid {
        let (user, group) = (format!("--reuid={uid}"), format!("--regid={uid}"));
        command.args(["setpriv", &user, &group, "--clear-groups", "--"]);
    }
    let binary = if uid.is_some() { env.path("kubemint") } else { env!("CARGO_BIN_EXE_kubemint").into() };
    Ran::from(command.arg(binary).args(arguments).output().unwrap())
}

#[track_caller]
fn assert_no_bug(ran: &Ran) {
    assert!(!ran.stderr.contains("has a bug") && [0, 3, 4].contains(&ran.code), "{ran:?}");
}

#[test]
fn without_more_threads_or_processes_hosts_fail_and_the_run_goes_on() {
    need_root!();
    let env = TestEnv::with_inventory(&local_hosts(40));
    fs::copy(env!("CARGO_BIN_EXE_kubemint"), env.path("kubemint")).unwrap();
    // A user of this test alone: the limit counts all processes of one.
    let uid = 60_000 + std::process::id() % 5000;
    for path in [env.dir().to_owned(), env.path("home"), env.path("inventory.toml")] {
        std::os::unix::fs::chown(path, Some(uid), Some(uid)).unwrap();
    }
    env.set_mode(".", 0o755);
    env.set_mode("kubemint", 0o755);
    let mut found = BTreeSet::new();
    for most in [2, 4, 8, 16, 32, 64, 128] {
        let ran = limited(&env, &format!("-u {most}"), Some(uid), &["apply", "--yes", "-q", "-o", "json"]);
        assert_no_bug(&ran);
        let document: Value = serde_json::from_str(&ran.stdout).unwrap();
        found.extend(codes(&document).iter().map(|code| (*code).to_owned()));
        for host in
            document["hosts"].as_array().unwrap().iter().filter(|host| host["error"]["code"] == "too_many_processes")
        {
            assert!(host["error"]["hint"].as_str().unwrap().contains("ulimit -u"), "{host:#}");
            assert_eq!(host["untouched"], true);
        }
    }
    assert!(found.contains("too_many_processes"), "{found:?}");
    limited(&env, "-u 2000", Some(uid), &["apply", "--yes", "-q"]).expect(0);
}

#[test]
fn without_more_open_files_the_hint_is_about_open_files() {
    let env = TestEnv::with_inventory(&local_hosts(60));
    env.ok(&["generate", "-q"]);
    let mut found = BTreeSet::new();
    for most in [16, 20, 24, 32, 48] {
        let ran = limited(&env, &format!("-n {most}"), None, &["distribute", "--yes", "-q", "-o", "json"]);
        assert_no_bug(&ran);
        let document: Value = serde_json::from_str(&ran.stdout).unwrap();
        for host in document["hosts"].as_array().into_iter().flatten().filter(|host| host["error"]["code"].is_string())
        {
            let error = &host["error"];
            let [message, hint] = ["message", "hint"].map(|key| error[key].as_str().unwrap());
            assert!(!message.contains("open files") || hint.contains("ulimit -n"), "{error:#}");
            found.insert(error["code"].as_str().unwrap().to_owned());
        }
    }
    assert!(found.contains("too_many_open_files"), "{found:?}");
    env.ok(&["distribute", "--yes", "-q"]);
}

/// The servers accept and say nothing, so that each connection is held until its deadline.
#[test]
fn hosts_behind_ssh_are_told_the_same() {
    let server = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    let port = server.local_addr().unwrap().port();
    let env = TestEnv::with_inventory(&format!(
        "state_dir = \"state\"\n[cluster]\nserver = \"https://172.20.0.113:6443\"\n[ssh]\nknown_hosts = [\"known\"]\n\
         identity_files = [\"key\"]\n[distribute]\nlogin_timeout = \"6s\"\n[[hosts]]\nname = \"n[1-40]\"\n\
         address = \"127.0.0.[1-40]\"\nport = {port}\n"
    ));
    env.ok(&["generate", "-q"]);
    let ran = limited(&env, "-n 24", None, &["distribute", "--yes", "-q", "-o", "json"]);
    assert_no_bug(&ran);
    let document: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(codes(&document), BTreeSet::from(["handshake_failed", "too_many_open_files"]), "{document:#}");
    let hosts = document["hosts"].as_array().unwrap().iter();
    for host in hosts.filter(|host| host["error"]["code"] == "too_many_open_files") {
        assert!(host["error"]["hint"].as_str().unwrap().contains("ulimit -n"), "{host:#}");
        assert_eq!(host["untouched"], true);
    }
}

#[test]
fn a_process_that_dies_leaves_no_core() {
    let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    let env = TestEnv::with_local_hosts();
    env.ok(&["apply", "--yes"]);
    let silent = Listener::start(Manner::Silent);
    let rest = format!("[[hosts]]\nname = \"silent\"\naddress = \"127.0.0.1\"\nport = {}\n", silent.port);
    env.write("inventory.toml", env.read("inventory.toml") + &rest);
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "ulimit -c unlimited && exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_kubemint")]);
    let running = Running::start_command(&env, command, &["status"]);
    let pid = running.pid();
    let limits = eventually("it to be kubemint", || {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
        let read = running.stderr().contains("cp-1: read");
        (name.trim() == "kubemint" && read).then(|| fs::read_to_string(format!("/proc/{pid}/limits")).unwrap())
    });
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    // The soft limit alone: a service that is restarted from here may want cores.
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "unlimited"], "{core}");
    running.signal_and_leave(Signal::ABORT);
    assert_eq!(running.wait().code, -1);
    if !pattern.starts_with(['|', '/']) {
        let cores = fs::read_dir(env.dir())
            .unwrap()
            .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with("core"));
        assert_eq!(cores.count(), 0);
    }
}

#[test]
fn the_process_is_not_dumpable() {
    need_root!();
    let env = TestEnv::with_local_hosts();
    fs::copy(env!("CARGO_BIN_EXE_kubemint"), env.path("kubemint")).unwrap();
    env.set_mode("kubemint", 0o755);
    env.set_mode(".", 0o755);
    let mut command = Command::new(require("setpriv"));
    command.args(["--reuid=65432", "--regid=65432", "--clear-groups", "--"]).arg(env.path("kubemint"));
    // Waits for its standard input.
    let mut child = command.args(["token", "lint", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let owner = || {
        use std::os::unix::fs::MetadataExt;
        let of = |name: &str| format!("/proc/{}/{name}", child.id());
        let is_it = fs::read_to_string(of("comm")).is_ok_and(|name| name.trim() == "kubemint");
        let waits = fs::read_to_string(of("wchan")).is_ok() && is_it;
        // The kernel gives the files of a process that may not be dumped to root (proc(5)).
        (waits && fs::metadata(of("environ")).unwrap().uid() == 0).then_some(())
    };
    eventually("its files to be root's", owner);
    drop(child.stdin.take());
    child.wait().unwrap();
}

/// A file of each kind that is nested far deeper than any stack, and what reads it.
#[test]
fn nothing_that_is_read_recurses_as_deep_as_its_input_says() {
    const DEEP: usize = 60_000;
    let env = TestEnv::with_local_hosts();
    env.ok(&["apply", "--yes", "-q"]);
    let nested = |open: &str, close: &str| open.repeat(DEEP) + &close.repeat(DEEP);
    for text in ["!", "! ", "[", "!@", "@", "!role:", "a,!", "(", "?", "[!"].map(|unit| unit.repeat(DEEP) + "cp-1") {
        env.write("patterns", &text);
        let ran = env.run(&["plan", "-q", "--limit", "@patterns"]);
        assert_eq!(ran.code, 2, "{}…: {}", &text[..9], ran.stderr);
        assert!(ran.stderr.len() < 2000, "{}", ran.stderr.len());
    }
    for text in [
        format!("a = {}", nested("[", "]")),
        format!("a = {}1{}", "{a=".repeat(DEEP), "}".repeat(DEEP)),
        format!("a{} = 1", ".a".repeat(DEEP)),
        format!("[{}a]", "a.".repeat(DEEP)),
        format!("[[{}a]]", "a.".repeat(DEEP)),
    ] {
        env.write("deep.toml", &text);
        env.run(&["-i", "deep.toml", "plan", "-q"]).expect(2);
    }
    for text in [
        nested("[", "]"),
        nested("{a: ", "}"),
        "- ".repeat(DEEP),
        "? ".repeat(DEEP),
        "!a ".repeat(DEEP),
        "[".repeat(DEEP),
    ] {
        env.write("deep.yaml", &text);
        env.run(&["kubeconfig", "inspect", "deep.yaml"]).expect(2);
    }
    for text in [nested("[", "]"), format!("{}1{}", "{\"a\":".repeat(DEEP), "}".repeat(DEEP)), "[".repeat(DEEP)] {
        env.write("deep.json", &text);
        env.run(&["runs", "show", "./deep.json"]).expect(2);
        env.write("hosts.json", format!("{{\"schema\":\"kubemint/run\",\"version\":1,\"hosts\":{text}}}"));
        env.run(&["runs", "merge", "./hosts.json"]).expect(2);
    }
    // Indefinite lengths: each level is two bytes.
    for byte in [0x30_u8, 0x31, 0xa0, 0x24] {
        env.write("deep.pem", pem::encode(&pem::Pem::new("CERTIFICATE", [byte, 0x80].repeat(DEEP))));
        let rest = env.read("inventory.toml");
        let rest = rest.split_once("state_dir = \"state\"\n").unwrap().1;
        env.write("ca.toml", format!("state_dir = \"other\"\n[ca]\ncert = \"deep.pem\"\n{rest}"));
        env.run(&["-i", "ca.toml", "generate", "-q"]).expect(2);
        env.run(&["-i", "ca.toml", "cert", "import", "deep.pem"]).expect(2);
    }
}

#[test]
fn no_template_takes_the_stack() {
    const DEEP: usize = 60_000;
    let env = TestEnv::with_local_hosts();
    let manifest = |template: &str| {
        env.write("templates/rbac.yaml", template);
        env.run(&["token", "manifest", "--templates", "templates"])
    };
    for (open, close) in [
        ("not ", ""),
        ("-", ""),
        ("(", ")"),
        ("[", "]"),
        ("1 + ", ""),
        ("1 ** ", ""),
        ("1 and ", ""),
        ("1 if 1 else ", ""),
        ("{'a':", "}"),
    ] {
        let ran = manifest(&format!("{{{{ {}1{} }}}}", open.repeat(DEEP), close.repeat(DEEP)));
        assert_eq!(ran.code, 2, "{open}: {}", ran.stderr);
        // As much as the bounds let through.
        let most = 490 / (open.len() + close.len());
        let ran = manifest(&format!("{{{{ {}1{} }}}}", open.repeat(most), close.repeat(most)));
        assert_eq!(ran.code, 2, "{open} {most}: {}", ran.stderr);
    }
    for chain in ["|abs", ".a", "()", "[0]", "~1", " is defined"] {
        assert_eq!(manifest(&format!("{{{{ 1{} }}}}", chain.repeat(DEEP))).code, 2, "{chain}");
        manifest(&format!("{{{{ 1{} }}}}", chain.repeat(490 / chain.len())));
    }
    for (tag, count, code) in [("{% elif 1 %}", DEEP, 2), ("{% elif 1 %}", 490, 0), ("{% else %}{% if 1 %}", DEEP, 2)] {
        let ran = manifest(&format!("{{% if 1 %}}a: 1{}{{% endif %}}", tag.repeat(count)));
        assert_eq!(ran.code, code, "{tag} {count}: {}", ran.stderr);
    }
}
