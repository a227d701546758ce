//! Commands of the inventory on hosts: how they end, what they say, and that their time limit holds on the host too.
#![allow(clippy::unwrap_used, reason = "test code")]

mod support;

use kubemint::{
    entropy::OsEntropy,
    inventory::Privilege,
    remote::{
        Deadlines, Error, LocalRemote, Password, RetryClass,
        service::{CommandEnd, CommandOutcome, run_command},
    },
    secret::Secret,
};
use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    thread,
    time::{Duration, Instant},
};
use support::{Client, LocalTree, TestHost, eventually, login_shells, require, shells};

const MINUTE: Duration = Duration::from_secs(60);

fn ran(client: &Client, host: &TestHost, command: &str, seconds: u64) -> Result<CommandOutcome, Error> {
    run_command(&client.remote(), &client.host(host), command, Duration::from_secs(seconds), &OsEntropy)
}

fn met(host: TestHost) -> (TestHost, Client) {
    let client = Client::new();
    client.meet(&host);
    (host, client)
}

fn here(remote: &LocalRemote, command: &str, seconds: u64) -> CommandOutcome {
    let tree = LocalTree::new();
    run_command(remote, &tree.host(), command, Duration::from_secs(seconds), &OsEntropy).unwrap()
}

/// Whether any process of this machine has `word` among its arguments.
fn runs(word: &str) -> bool {
    let lines = fs::read_dir("/proc").unwrap().filter_map(|e| fs::read(e.ok()?.path().join("cmdline")).ok());
    lines.into_iter().any(|line| line.split(|byte| *byte == 0).any(|argument| argument == word.as_bytes()))
}

/// A number of seconds that no other sleep on this machine has.
fn idle_seconds(digit: u32) -> String {
    format!("{digit}{:07}", std::process::id())
}

#[test]
fn output_and_exit_codes_come_back() {
    let (host, client) = met(TestHost::new("node-1"));
    for (command, end, said) in [
        ("echo out; echo err >&2", CommandEnd::Done, "out\nerr"),
        ("true", CommandEnd::Done, ""),
        ("printf 'no newline'; exit 3", CommandEnd::Failed(3), "no newline"),
        ("/nonexistent/systemctl restart kubelet", CommandEnd::Failed(127), "not found"),
        ("echo \"it's $((1+1)) \\\\ `echo x`\"", CommandEnd::Done, "it's 2 \\ x"),
        ("if then", CommandEnd::Failed(2), "yntax error"),
        ("cat; read -r line || echo nothing to read", CommandEnd::Done, "nothing to read"),
        ("cd /; pwd; echo \"$PATH\" | grep -c /usr/sbin", CommandEnd::Done, "/\n1"),
        ("kill -9 $$", CommandEnd::Killed("KILL".into()), ""),
        ("kill -TERM $$", CommandEnd::Killed("TERM".into()), ""),
    ] {
        let outcome = ran(&client, &host, command, 60).unwrap_or_else(|e| panic!("{command}: {e}"));
        assert_eq!(outcome.end, end, "{command}: {outcome:?}");
        assert!(outcome.said.contains(said) && said.is_empty() <= (outcome.said.len() < 20), "{command}: {outcome:?}");
        assert!(outcome.took < MINUTE, "{outcome:?}");
    }
    assert_eq!(host.log().matches("Connection from").count(), 10, "one login each");
}

#[test]
fn every_shell_says_the_same() {
    for shell in shells() {
        let remote = LocalTree::remote_with(shell);
        let outcome = here(&remote, "echo a; exit 4", 60);
        assert_eq!((outcome.end, outcome.said.as_str()), (CommandEnd::Failed(4), "a"), "{shell:?}");
        assert_eq!(here(&remote, "if then", 60).end, CommandEnd::Failed(2), "{shell:?}");
        assert_eq!(here(&remote, "echo \"$# $0\"", 60).said, "0 sh", "{shell:?}");
        assert!(here(&remote, "kill -9 $$", 60).end == CommandEnd::Killed("KILL".into()), "{shell:?}");
        let outcome = here(&remote, "trap '' TERM; echo stubborn; while :; do sleep 1; done", 1);
        assert_eq!((outcome.end, outcome.said.lines().next()), (CommandEnd::TimedOut, Some("stubborn")), "{shell:?}");
    }
}

/// Ways to start a daemon, of which this is the file that shows its signals.
const SHOW: &str = "grep -hE 'SigIgn|SigBlk' /proc/self/status";
const WAYS: [&str; 6] = [
    "/bin/SHOW",
    "exec /bin/SHOW",
    "true; /bin/SHOW",
    "(/bin/SHOW)",
    "if true; then /bin/SHOW; fi",
    "true && exec dash -c \"/bin/SHOW; true\"",
];

/// The signals in these lines of /proc/PID/status, but for 32 and 33: glibc keeps them to itself, and lets what posix_spawn
/// starts ignore them.
fn signals(lines: &str) -> Vec<u64> {
    let mask = |line: &str| u64::from_str_radix(line.split_whitespace().last().unwrap(), 16).unwrap() & !(3 << 31);
    lines.lines().map(mask).collect()
}

/// A host whose `sh` is this shell. It begins with these signals ignored, and gets our script with these words replaced.
fn altered(shell: &[&str], dir: &Path, ignored: &str, edits: &[(&str, &str)]) -> LocalRemote {
    let program = dir.join("shell");
    let edits: String = edits.iter().map(|(from, to)| format!(" -e 's|{from}|{to}|'")).collect();
    let sh = dir.join("sh");
    let _ = fs::remove_file(&sh);
    symlink(require(shell[0]), &sh).unwrap();
    let trap = if ignored.is_empty() { String::new() } else { format!("trap '' {ignored}\n") };
    let text = format!("#!/bin/dash\n{trap}sed -e ''{edits} | PATH={}:$PATH sh \"$@\"\n", dir.display());
    fs::write(&program, text).unwrap();
    fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    LocalTree::remote().with_shell(&[program.to_str().unwrap()])
}

#[test]
fn a_daemon_inherits_no_ignored_signal_from_any_shell() {
    // What the one who runs the tests ignores, such as HUP under nohup, is no shell's doing.
    let given =
        std::process::Command::new(require("grep")).args(["-hE", "SigIgn|SigBlk", "/proc/self/status"]).output();
    let given = signals(&String::from_utf8(given.unwrap().stdout).unwrap());
    let dir = tempfile::tempdir().unwrap();
    let no_env = ("/usr/bin/env --default-signal", "/usr/bin/no-such-env --default-signal");
    let no_setsid = ("command -v setsid", "command -v no-such-setsid");
    let gnu_env = std::process::Command::new("/usr/bin/env").args(["--default-signal", "true"]).output();
    let has_gnu_env = gnu_env.is_ok_and(|output| output.status.success());
    for shell in shells() {
        for way in WAYS.map(|way| way.replace("SHOW", SHOW)) {
            let found = |remote: &LocalRemote| signals(&here(remote, &way, 60).said);
            let wanted = if has_gnu_env { vec![0, 0] } else { given.clone() };
            assert_eq!(found(&LocalTree::remote_with(shell)), wanted, "{shell:?} {way}");
            for edits in [&[no_env][..], &[no_env, no_setsid]] {
                assert_eq!(found(&altered(shell, dir.path(), "", edits)), given, "{shell:?} {edits:?} {way}");
            }
            if has_gnu_env {
                let deaf = altered(shell, dir.path(), "HUP INT QUIT TERM PIPE XFSZ USR1", &[]);
                assert_eq!(found(&deaf), [0, 0], "{shell:?} {way}");
            }
        }
    }
}

#[test]
fn a_command_that_hangs_is_ended_in_time_with_all_it_started() {
    for shell in shells() {
        let sleep = idle_seconds(1);
        let started = Instant::now();
        let outcome = here(&LocalTree::remote_with(shell), &format!("sleep {sleep} & sleep {sleep}"), 1);
        assert_eq!(outcome.end, CommandEnd::TimedOut, "{shell:?} {outcome:?}");
        assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
        eventually("the sleepers to be gone", || (!runs(&sleep)).then_some(()));
    }
    let (host, client) = met(TestHost::new("node-1"));
    // Children that heed no TERM are killed, also where the command itself goes.
    let sleep = idle_seconds(2);
    let outcome = ran(&client, &host, &format!("(trap '' TERM; sleep {sleep}) & echo begun; wait"), 1).unwrap();
    assert_eq!((outcome.end, outcome.said.lines().next()), (CommandEnd::TimedOut, Some("begun")));
    eventually("the sleeper to be gone", || (!runs(&sleep)).then_some(()));
}

#[test]
fn a_host_without_setsid_ends_a_hanging_command_too() {
    let dir = tempfile::tempdir().unwrap();
    for program in ["dd", "tail", "tr", "sleep", "sh", "env"] {
        symlink(require(program), dir.path().join(program)).unwrap();
    }
    let sleep = idle_seconds(3);
    for shell in shells() {
        // PATH is what a host's may be, but for what the script adds: those are left out by their names.
        let program = dir.path().join("shell");
        let _ = fs::remove_file(&program);
        let words = [&[&*require(shell[0]).display().to_string()], &shell[1..]].concat().join(" ");
        let text = format!("#!/bin/sh\nsed 's|command -v setsid|command -v no-such-setsid|' | {words} \"$@\"\n");
        fs::write(&program, text).unwrap();
        fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
        let remote = LocalTree::remote().with_shell(&[program.to_str().unwrap()]);
        assert_eq!(here(&remote, "echo a; exit 4", 60).end, CommandEnd::Failed(4), "{shell:?}");
        assert_eq!(here(&remote, &format!("exec sleep {sleep}"), 1).end, CommandEnd::TimedOut, "{shell:?}");
        eventually("the sleeper to be gone", || (!runs(&sleep)).then_some(()));
    }
}

#[test]
fn a_daemon_that_keeps_the_output_open_is_not_waited_for_and_lives_on() {
    let sleep = idle_seconds(4);
    for shell in shells() {
        let started = Instant::now();
        let outcome = here(&LocalTree::remote_with(shell), &format!("sleep {sleep} & echo started $!"), 30);
        assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
        assert_eq!(outcome.end, CommandEnd::Done, "{outcome:?}");
        let pid: i32 = outcome.said.strip_prefix("started ").unwrap().parse().unwrap();
        assert!(runs(&sleep), "{shell:?}: the daemon is gone");
        rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), rustix::process::Signal::KILL)
            .unwrap();
        eventually("the daemon to be gone", || (!runs(&sleep)).then_some(()));
    }
}

#[test]
fn of_much_output_the_end_is_kept() {
    let (host, client) = met(TestHost::new("node-1"));
    let outcome =
        ran(&client, &host, "yes 'words of a noisy service' | head -c 10000000; echo; echo the end", 60).unwrap();
    assert_eq!(outcome.end, CommandEnd::Done);
    assert!(outcome.said.ends_with("\nthe end") && outcome.said.len() <= 2048, "{outcome:?}");
    assert!(outcome.said.lines().rev().skip(2).all(|line| "words of a noisy service".ends_with(line)), "{outcome:?}");
    // Without an end, and with bytes that no text has.
    let outcome = ran(&client, &host, "cat /dev/zero", 1).unwrap();
    assert!(outcome.end == CommandEnd::TimedOut && outcome.said.len() < 20, "{outcome:?}");
    let outcome = ran(&client, &host, "head -c 5000 /dev/urandom; printf '\\n\\033[31m\\377red\\n'", 60).unwrap();
    assert!(outcome.said.lines().last().unwrap().ends_with("red"), "{outcome:?}");
    assert!(!outcome.said.chars().any(|c| c.is_control() && c != '\n'), "{outcome:?}");
}

#[test]
fn a_command_may_be_silent_for_longer_than_a_host_and_take_longer() {
    let (host, mut client) = met(TestHost::new("node-1"));
    client.deadlines = Deadlines { idle: Duration::from_secs(2), host: Duration::from_secs(3), ..Deadlines::default() };
    let outcome = ran(&client, &host, "sleep 7; echo done", 30).unwrap();
    assert_eq!((&outcome.end, outcome.said.as_str()), (&CommandEnd::Done, "done"));
    assert!(outcome.took >= Duration::from_secs(7), "{outcome:?}");
    let tree = LocalTree::new();
    let local = LocalRemote::new(client.deadlines);
    let outcome = run_command(&local, &tree.host(), "sleep 7", Duration::from_secs(30), &OsEntropy).unwrap();
    assert_eq!(outcome.end, CommandEnd::Done);
}

#[test]
fn sudo_and_odd_login_shells_run_it_as_root() {
    need_root!();
    let host = TestHost::builder("sudo").user("kmtest", Some("kmtest ALL=(ALL) ALL")).start();
    host.simplify_pam();
    host.set_password("kmtest", "Vq7-right-horse-Xw2");
    let mut client = Client::new();
    client.privilege = Privilege::Sudo;
    client.sudo_password = Some(Password::new(Secret::from("Vq7-right-horse-Xw2")));
    client.meet(&host);
    for shell in ["/bin/bash", "/bin/dash", "/bin/rbash", "/usr/bin/fish", "/bin/csh"] {
        host.must(&format!("sed -i 's|^\\(kmtest:.*\\):[^:]*$|\\1:{shell}|' /etc/passwd"));
        let outcome = ran(&client, &host, "id -u; echo \"it's '$HOME'\"; exit 5", 60).unwrap();
        assert_eq!(outcome.end, CommandEnd::Failed(5), "{shell}");
        assert!(outcome.said.starts_with("0\nit's '/"), "{shell} {outcome:?}");
    }
    let outcome = ran(&client, &host, "echo the password is Vq7-right-horse-Xw2", 60).unwrap();
    assert!(outcome.end.is_done() && !outcome.said.contains("horse"), "{outcome:?}");
    client.sudo_password = None;
    let error = ran(&client, &host, "touch /mnt/ran", 60).unwrap_err();
    assert_eq!(error.code(), "become_failed");
    assert!(!host.exists("/mnt/ran"), "{error}");
}

#[test]
fn fish_csh_banners_and_noise_do_no_harm() {
    need_root!();
    for shell in login_shells() {
        let host = TestHost::builder("odd").login_shell(shell).banner("authorised only\n").bashrc("echo noise").start();
        let (host, client) = met(host);
        let outcome = ran(&client, &host, "echo one 'two  three'", 60).unwrap();
        assert_eq!((outcome.end, outcome.said.as_str()), (CommandEnd::Done, "one two three"), "{shell}");
    }
    let (host, client) = met(TestHost::builder("shut").login_shell("/usr/sbin/nologin").start());
    let error = ran(&client, &host, "true", 60).unwrap_err();
    assert_eq!(error.code(), "shell_unusable", "{error}");
}

#[test]
fn secrets_in_the_output_are_not_shown() {
    let (host, client) = met(TestHost::new("node-1"));
    let token = "0123456789abcdef0123456789abcdef";
    let key = "MHcCAQEEIJ8d2Vb1vJq0Qh5kz6b2w1yqA7X9c4m3n8p0r5t6u7v8oAoGCCqGSM49";
    let outcome =
        ran(&client, &host, &format!("echo token={token} is bad; echo {key}; printf '%02050d' 0; echo {token}"), 60);
    let said = outcome.unwrap().said;
    assert!(!said.contains(&token[..20]) && !said.contains(&key[..20]), "{said}");
}

#[test]
fn a_lost_connection_leaves_the_command_running_and_its_outcome_open() {
    let (host, client) = met(TestHost::new("node-1"));
    let mark = format!("{}/mark", host.directory());
    host.write(&mark, "");
    let command = format!("echo begun >{mark}; sleep 4; echo out; echo err >&2; echo went on >{mark}");
    let said = thread::scope(|scope| {
        let waits = scope.spawn(|| ran(&client, &host, &command, 60));
        eventually("the command to begin", || (host.read(&mark) == "begun\n").then_some(()));
        for pid in host.session_pids() {
            support::kill(pid);
        }
        waits.join().unwrap()
    });
    let error = said.unwrap_err();
    assert_eq!(error.code(), "command_outcome_unknown", "{error}");
    assert_eq!(error.retry_class(), RetryClass::Unavailable);
    assert!(error.hint().contains("goes on"), "{error}");
    eventually("the command to go on", || (host.read(&mark) == "went on\n").then_some(()));
}

#[test]
fn the_limit_holds_on_a_host_that_has_lost_us() {
    let (host, client) = met(TestHost::new("node-1"));
    let sleep = idle_seconds(5);
    let said = thread::scope(|scope| {
        let waits = scope.spawn(|| ran(&client, &host, &format!("sleep {sleep}"), 3));
        eventually("the command to begin", || runs(&sleep).then_some(()));
        for pid in host.session_pids() {
            support::kill(pid);
        }
        waits.join().unwrap()
    });
    assert_eq!(said.unwrap_err().code(), "command_outcome_unknown");
    eventually("the command to be ended", || (!runs(&sleep)).then_some(()));
}

#[test]
fn what_never_reached_the_host_is_no_unknown_outcome() {
    let (mut host, client) = met(TestHost::new("node-1"));
    let known = ran(&client, &host, "true", 60).unwrap();
    assert!(known.end.is_done());
    host.stop();
    let error = ran(&client, &host, "true", 60).unwrap_err();
    assert_eq!(error.code(), "connect_refused", "{error}");
    let error = ran(&client, &host, "a\0b", 60).unwrap_err();
    assert_eq!(error.code(), "path_unusable");
}
