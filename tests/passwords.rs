//! How passwords reach the real binary: typed on a terminal, from private files, from file descriptors; and that bad ones
//! are refused before anything is made or any host is reached.
#![allow(clippy::unwrap_used, reason = "test code")]

mod support;

use rustix::process::Signal;
use std::process::Command;
use support::{Fleet, Member, Ran, Terminal, TestEnv, TestHost, eventually, require};

const RIGHT: &str = "Vq7-right-horse-Xw2";
const WRONG: &str = "Vq7-wrong-horse-Xw2";

/// Nodes that let in nobody but with a password, by way of sudo with the same one.
fn password_fleet(count: usize) -> Fleet {
    let member = |n| {
        let builder = TestHost::builder(&format!("node-{n}")).sshd_option("PasswordAuthentication yes");
        Member::new(builder).by_sudo_with("ops ALL=(ALL) ALL")
    };
    let fleet = Fleet::new((1..=count).map(member).collect());
    for host in &fleet.hosts {
        host.forget_authorized_keys();
        host.simplify_pam();
        host.set_password("ops", RIGHT);
    }
    fleet
}

/// By way of a shell, without a terminal, with this on its standard input.
fn by_shell(env: &TestEnv, line: &str, input: &str) -> Ran {
    let mut command = assert_cmd::Command::new(require("setsid"));
    let line = format!("kubemint() {{ '{}' \"$@\"; }}; {line}", env!("CARGO_BIN_EXE_kubemint"));
    command.args(["-w", "bash", "-c", &line]).current_dir(env.dir()).env_clear().env("HOME", env.path("home"));
    command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").timeout(std::time::Duration::from_secs(120));
    Ran::from(command.write_stdin(input).output().unwrap())
}

#[test]
fn passwords_come_from_files_and_descriptors_for_every_command() {
    need_root!();
    let fleet = password_fleet(2);
    fleet.env.write("pw", format!("{RIGHT}\n"));
    fleet.env.set_mode("pw", 0o600);
    let run = |line: &str, input: &str| by_shell(&fleet.env, line, input);
    let both = "--password-file pw --become-password-file pw";
    run(&format!("kubemint apply {both}"), "").expect(0).says(&["2 changed"]);
    fleet.assert_complete(0);
    run("kubemint status --password-fd 3 --become-password-fd 3 3< <(cat pw pw)", "").expect(0).says(&["2 ok"]);
    run("kubemint status --password-file <(cat pw) --become-password-file -", RIGHT).expect(0).says(&["2 ok"]);
    run("kubemint plan --password-fd 0 --become-password-fd 4 4<pw", &format!("{RIGHT}\r\nmore")).expect(0);
    run(&format!("kubemint distribute {both}"), "").expect(0).says(&["2 unchanged"]);
    // Without sudo's, and with a wrong one.
    run("kubemint status --password-file pw", "").expect(3).says(&["become_failed", "--ask-become-pass"]);
    let ran = run("kubemint status --password-file pw --become-password-fd 0", WRONG).expect(3);
    ran.says(&["the password is refused"]);
}

#[test]
fn a_wrong_password_stops_the_run_once_it_is_withheld() {
    need_root!();
    let fleet = password_fleet(6);
    fleet.env.write("wrong", WRONG);
    fleet.env.set_mode("wrong", 0o600);
    let line = "kubemint apply -o json --batch 4 --password-file wrong --become-password-file wrong";
    let ran = by_shell(&fleet.env, line, "").expect(3);
    let report: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((&report["summary"]["failed"], &report["summary"]["skipped"]), (&4.into(), &2.into()), "{report:#}");
    let last = support::host_of(&report, "node-6");
    assert_eq!(last["error"]["code"], "not_started");
    assert!(last["error"]["message"].as_str().unwrap().contains("a mistake of this machine (auth_failed)"), "{last:#}");
    let tried: usize = fleet.hosts.iter().map(|host| host.log().matches("Failed password").count()).sum();
    assert_eq!(tried, 3);
}

#[test]
fn a_bad_source_is_refused_before_anything_is_made() {
    let env = TestEnv::with_local_hosts();
    let modes = [("open", 0o644), ("group", 0o640), ("writable", 0o622), ("good", 0o600), ("read-only", 0o400)];
    for (name, mode) in modes {
        env.write(name, format!("{RIGHT}\n"));
        env.set_mode(name, mode);
    }
    for (name, text) in [
        ("empty", b"".as_slice()),
        ("blank", b"\n"),
        ("two", b"one\ntwo\n"),
        ("nul", b"a\0b"),
        ("latin", b"\xe9t\xe9"),
        ("long", &[b'x'; 5000]),
    ] {
        env.write(name, text);
        env.set_mode(name, 0o600);
    }
    for flag in ["--password", "--become-password", "--key-passphrase"] {
        for (arguments, code, words) in [
            (" open", "password_unsafe", "mode 0644"),
            (" group", "password_unsafe", "chmod 600 group"),
            (" writable", "password_unsafe", "mode 0622"),
            (" .", "password_unsafe", "not a regular file"),
            (" /dev/null", "password_unsafe", "not a regular file"),
            (" none", "password_unreadable", "No such file"),
            (" empty", "password_unusable", "holds no password"),
            (" blank", "password_unusable", "holds no password"),
            (" two", "password_unusable", "more than one line"),
            (" nul", "password_unusable", "NUL"),
            (" latin", "password_unusable", "UTF-8"),
            (" long", "password_unreadable", "longer than"),
            (" -", "password_unusable", "file descriptor 0 holds no password"),
            (" /dev/fd/9", "password_unreadable", "9<FILE"),
        ] {
            let line = format!("kubemint apply -o json {flag}-file{arguments}");
            let ran = by_shell(&env, &line, "").expect(2);
            let document: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
            assert_eq!(document["error"]["code"], code, "{line}: {document}");
            ran.says(&[words]);
        }
        for usage in [
            "-fd 1",
            "-fd 2",
            "-fd x",
            "-fd -1",
            "-file good --password-fd 3 --become-password-fd 3 --key-passphrase-fd 3",
        ] {
            by_shell(&env, &format!("kubemint apply {flag}{usage}"), "").expect(2);
        }
    }
    for flag in ["--ask-pass", "--ask-become-pass"] {
        by_shell(&env, &format!("kubemint apply {flag}"), "")
            .expect(2)
            .says(&["there is no terminal", "--password-file"]);
    }
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(env.path("good"), Some(2001), None).unwrap();
        by_shell(&env, "kubemint apply --password-file good", "").expect(2).says(&["belongs to uid 2001"]);
        std::os::unix::fs::chown(env.path("good"), Some(0), None).unwrap();
    }
    assert!(!env.path("state").exists());
    // A good one that nobody asks for does no harm.
    by_shell(&env, "kubemint apply --password-file good --become-password-file read-only", "").expect(0);
}

#[test]
fn on_a_terminal_both_passwords_are_asked_for_once_and_never_shown() {
    need_root!();
    let fleet = password_fleet(3);
    let mut terminal = Terminal::start(&fleet.env, "kubemint apply --yes -vv --ask-pass --ask-become-pass; stty -a");
    terminal.answer("SSH password: ", &format!("{RIGHT}\n"));
    // The same as for the login.
    terminal.answer("sudo password [that of SSH]: ", "\n");
    let (_, screen) = terminal.finish();
    assert!(screen.contains("3 changed"), "{screen}");
    assert_eq!(screen.matches("password: ").count(), 1, "{screen}");
    assert!(!screen.contains(RIGHT), "{screen}");
    assert!(screen.contains(" echo ") && !screen.contains("-echo "), "{screen}");
    // sudo's own.
    fleet.env.write("pw", RIGHT);
    fleet.env.set_mode("pw", 0o600);
    let mut terminal = Terminal::start(&fleet.env, "kubemint status --ask-become-pass --password-file pw");
    terminal.answer("sudo password [that of SSH]: ", &format!("{RIGHT}\n"));
    let (code, screen) = terminal.finish();
    assert!(code == 0 && screen.contains("3 ok"), "{screen}");
}

#[test]
fn a_question_that_is_broken_off_leaves_the_terminal_as_it_was_and_nothing_made() {
    let env = TestEnv::with_local_hosts();
    // Ctrl-C, end of input.
    for (keys, code) in [("half\u{3}", "130"), ("\u{4}", "2")] {
        let line = "trap : INT; kubemint apply --yes --ask-pass; echo code=$?; stty -a; kubemint --version";
        let mut terminal = Terminal::start(&env, line);
        terminal.answer("SSH password: ", keys);
        let (_, screen) = terminal.finish();
        assert!(screen.contains(&format!("code={code}")), "{screen}");
        assert!(
            screen.contains(" echo ") && !screen.contains("-echo ") && !screen.contains("susp = <undef>"),
            "{screen}"
        );
        assert!(!screen.contains("half"), "{screen}");
    }
    // From outside.
    for (signal, code) in [(Signal::TERM, "143"), (Signal::HUP, "129"), (Signal::QUIT, "131")] {
        let line = "sh -c 'echo pid=$$; exec \"$0\" apply --yes --ask-pass' \"$BIN\"; echo code=$?; stty -a";
        let line = format!("BIN={}; {line}", env!("CARGO_BIN_EXE_kubemint"));
        let mut terminal = Terminal::start(&env, &line);
        terminal.answer("SSH password: ", "half");
        let screen = terminal.screen();
        let pid: i32 = screen.split("pid=").nth(1).unwrap().lines().next().unwrap().trim().parse().unwrap();
        rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), signal).unwrap();
        let (_, screen) = terminal.finish();
        assert!(screen.contains(&format!("code={code}")), "{screen}");
        assert!(screen.contains(" echo ") && !screen.contains("-echo "), "{screen}");
    }
    assert!(!env.path("state").exists());
}

#[test]
fn a_signal_after_a_question_still_asks_the_run_to_end() {
    need_root!();
    let fleet = password_fleet(1);
    let relays = support::Relays::new();
    let mut fleet = fleet;
    fleet.relay_all(&relays);
    relays.close_gate();
    let line = "trap : INT; kubemint apply --yes --ask-pass --ask-become-pass; echo code=$?";
    let mut terminal = Terminal::start(&fleet.env, line);
    terminal.answer("SSH password: ", &format!("{RIGHT}\n"));
    terminal.answer("sudo password [that of SSH]: ", "\n");
    eventually("the host to be begun", || (relays.connections() > 0).then_some(()));
    terminal.answer("SSH password: ", "\u{3}");
    eventually("the signal to be taken", || terminal.screen().contains("^C").then_some(()));
    relays.open_gate();
    let (_, screen) = terminal.finish();
    // What was begun is finished.
    assert!(screen.contains("code=130") && screen.contains("1 changed"), "{screen}");
}

fn locked_fleet() -> Fleet {
    let fleet = Fleet::of_nodes(3);
    let key = fleet.client.identity_files[0].clone();
    let lock = Command::new(require("ssh-keygen")).args(["-q", "-p", "-P", "", "-N", RIGHT, "-f"]).arg(&key).output();
    assert!(lock.unwrap().status.success());
    fleet
}

#[test]
fn an_encrypted_key_is_asked_for_once_before_any_host() {
    let fleet = locked_fleet();
    let mut terminal = Terminal::start(&fleet.env, "kubemint apply --yes");
    let question = "id_ed25519: ";
    terminal.answer(question, "wrong\n");
    terminal.answer_nth(2, question, &format!("{RIGHT}\n"));
    let (code, screen) = terminal.finish();
    assert!(code == 0 && screen.contains("3 changed") && screen.contains("once more"), "{screen}");
    assert_eq!(screen.matches("passphrase of").count(), 2, "{screen}");
    assert!(!screen.contains(RIGHT) && !screen.contains("wrong\r"), "{screen}");
    // Three wrong ones, and one that is empty.
    let logins = || fleet.hosts.iter().map(|host| host.log().matches("Connection from").count()).sum::<usize>();
    let before = logins();
    let mut terminal = Terminal::start(&fleet.env, "kubemint apply --yes");
    (1..=3).for_each(|n| terminal.answer_nth(n, question, "wrong\n"));
    let (code, screen) = terminal.finish();
    assert!(code == 2 && screen.contains("does not open"), "{screen}");
    assert_eq!(logins(), before);
    let mut terminal = Terminal::start(&fleet.env, "kubemint apply --yes");
    terminal.answer(question, "\n");
    let (code, screen) = terminal.finish();
    assert!(code == 3 && screen.contains("key_encrypted"), "{screen}");
}

#[test]
fn a_passphrase_comes_from_a_file_or_a_descriptor_and_a_wrong_one_touches_no_host() {
    let fleet = locked_fleet();
    for (name, text) in [("right", RIGHT), ("wrong", WRONG)] {
        fleet.env.write(name, text);
        fleet.env.set_mode(name, 0o600);
    }
    let run = |line: &str| by_shell(&fleet.env, line, "");
    run("kubemint apply").expect(3).says(&["key_encrypted", "--key-passphrase-file"]);
    let logins = || fleet.hosts.iter().map(|host| host.log().matches("Connection from").count()).sum::<usize>();
    let before = logins();
    run("kubemint apply --key-passphrase-file wrong").expect(2).says(&["does not open", "id_ed25519"]);
    run("kubemint apply --ask-key-passphrase").expect(2).says(&["there is no terminal"]);
    assert_eq!(logins(), before);
    run("kubemint apply --key-passphrase-file right").expect(0).says(&["3 changed"]);
    run("kubemint status --key-passphrase-fd 7 7<right").expect(0).says(&["3 ok"]);
}

#[test]
fn no_flag_takes_a_password_itself() {
    let env = TestEnv::with_local_hosts();
    for command in ["apply", "distribute", "plan", "status"] {
        let help = env.ok(&[command, "--help"]).stdout;
        for flag in ["--ask-pass", "--password-file <FILE>", "--password-fd <N>", "--become-password-fd <N>"] {
            assert!(help.contains(flag), "{command}: {flag}");
        }
        assert!(!help.contains("--password <") && !help.contains("[env: KUBEMINT_PASS"), "{help}");
        let ran = env.run(&[command, "--ask-pass=secret"]);
        assert_eq!(ran.code, 2);
    }
}
