//! Real sshd hosts as they are found in the wild: shells, noise, limits, and lines that break.
#![allow(clippy::unwrap_used, reason = "test code")]

mod support;

use kubemint::{
    entropy::OsEntropy,
    remote::{
        Deadlines, Error, RetryClass,
        installer::{Action, FileState, ForeignPolicy, install_host},
    },
};
use std::{
    net::TcpStream,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};
use support::{
    Client, Listener, Manner, TestHost, content, eventually,
    files::{BOOTSTRAP, bundle},
    host_file, kill, login_shells,
};

fn pair(name: &str) -> (TestHost, Client) {
    met(TestHost::new(name))
}

fn met(host: TestHost) -> (TestHost, Client) {
    let client = Client::new();
    client.meet(&host);
    (host, client)
}

fn assert_installs(host: TestHost) {
    let (host, client) = met(host);
    let outcome = client.install(&host, &bundle()).unwrap_or_else(|e| panic!("{}: {e}", host.name()));
    assert!(outcome.files.iter().all(|f| f.action == Action::Created), "{outcome:?}");
    assert!(bundle().iter().all(|f| host.read(&f.path) == content(f)));
}

#[test]
fn an_install_over_ssh_is_one_connection_and_one_session_and_idempotent() {
    need_root!();
    let (host, client) = pair("node-1");
    let files = bundle();
    let first = client.install(&host, &files).unwrap();
    assert!(first.files.iter().all(|f| f.action == Action::Created), "{first:?}");
    for file in &files {
        assert_eq!(host.read(&file.path), content(file));
        assert_eq!(host.attributes(&file.path), (0o600, 0, 0));
    }
    let log = host.log();
    assert_eq!(log.matches("Connection from").count(), 1, "{log}");
    assert_eq!(log.matches("Starting session").count(), 1, "{log}");
    let before = host.tree_hash("/etc/kubernetes");
    let second = client.install(&host, &files).unwrap();
    assert!(second.files.iter().all(|f| f.action == Action::Unchanged), "{second:?}");
    let view = client.probe(&host, &files).unwrap();
    assert!(view.files.iter().all(|f| f.state == FileState::Matches), "{view:?}");
    assert_eq!(host.tree_hash("/etc/kubernetes"), before);
}

#[test]
fn hosts_do_not_share_their_files() {
    need_root!();
    let ((one, client), two) = (pair("node-1"), TestHost::new("node-2"));
    client.install(&one, &bundle()).unwrap();
    assert!(one.exists(BOOTSTRAP) && !two.exists(BOOTSTRAP));
}

#[test]
fn without_root_files_go_below_the_user_s_own_directory() {
    let (host, client) = pair("node-1");
    let path = format!("{}/bootstrap.kubeconfig", host.directory());
    let outcome = client.install(&host, &[host_file(&path, "content")]).unwrap();
    assert_eq!(outcome.files[0].action, Action::Created);
    assert_eq!(host.read(&path), "content");
}

#[test]
fn any_login_shell_that_runs_commands_will_do() {
    need_root!();
    for shell in login_shells().into_iter().chain(["rbash"]) {
        assert_installs(TestHost::builder(&format!("{shell}-host")).login_shell(shell).start());
    }
}

#[test]
fn banner_and_shell_noise_do_no_harm() {
    need_root!();
    let noise = "echo motd line; printf 'no newline'; printf 'warning' >&2; printf '\\377\\000\\033[31m'";
    assert_installs(TestHost::builder("noisy").banner("AUTHORIZED USE ONLY\nbegin end fail\n").bashrc(noise).start());
}

#[test]
fn much_on_standard_error_does_not_stall_the_reply_and_too_much_is_given_up() {
    need_root!();
    assert_installs(TestHost::builder("loud").bashrc("head -c 900000 /dev/zero | tr '\\0' x >&2").start());
    let (host, client) = met(TestHost::builder("louder").bashrc("head -c 3900000 /dev/zero | tr '\\0' x >&2").start());
    assert_eq!(client.install(&host, &bundle()).unwrap_err().code(), "protocol_garbled");
    assert!(!host.exists(BOOTSTRAP));
}

#[test]
fn a_host_without_sftp_and_with_one_session_will_do() {
    need_root!();
    assert_installs(TestHost::builder("one").sshd_option("MaxSessions 1").start());
}

#[test]
fn a_login_shell_that_runs_nothing_is_named_with_what_it_says() {
    need_root!();
    let (host, client) = met(TestHost::builder("nologin").login_shell("/usr/sbin/nologin").start());
    let error = client.install(&host, &bundle()).unwrap_err();
    assert_eq!(error.code(), "shell_unusable");
    assert!(error.to_string().contains("account is currently not available"), "{error}");
    assert!(error.hint().contains("login shell"), "{}", error.hint());

    let (host, client) = met(TestHost::builder("sftp").sshd_option("ForceCommand internal-sftp").start());
    assert_eq!(client.install(&host, &bundle()).unwrap_err().code(), "shell_unusable");
    let (host, client) = met(TestHost::builder("none").sshd_option("MaxSessions 0").start());
    assert_eq!(client.install(&host, &bundle()).unwrap_err().code(), "shell_unusable");
    assert!(!host.exists(BOOTSTRAP));
}

#[test]
fn a_host_that_repeats_its_input_is_not_quoted() {
    need_root!();
    let token = "abcdef.0123456789abcdef";
    let rows = format!("{token},legacy,7\n0123456789abcdef0123456789abcdef,kubelet-bootstrap,1,\"g\"\n");
    let files = [host_file(support::files::TOKENS, &rows)];
    for command in ["tail -n 10", "cat", "tail -c 300", "head -c 900000", "sh -v", "grep legacy", "tr a-z A-Z"] {
        let (host, client) = met(TestHost::builder("echo").sshd_option(&format!("ForceCommand {command}")).start());
        let said = match client.install(&host, &files) {
            Ok(_) => continue,
            Err(error) => format!("{error} {error:?}"),
        };
        for piece in ["abcdef.0", "ABCDEF.0", "0123456789", "9abcdef", "km_", "KM_"] {
            assert!(!said.contains(piece), "{command}: {said}");
        }
    }
}

#[test]
fn a_busy_server_is_tried_again() {
    need_root!();
    let (host, client) = met(TestHost::builder("busy").sshd_option("MaxStartups 1:100:1").start());
    let waiting = TcpStream::connect((host.address(), host.port())).unwrap();
    eventually("the waiting connection to be seen", || host.log().contains("Connection from").then_some(()));
    let client = Arc::new(client);
    let (worker, target) = (Arc::clone(&client), client.host(&host));
    let install =
        thread::spawn(move || install_host(&worker.remote(), &target, &bundle(), ForeignPolicy::Refuse, &OsEntropy));
    eventually("a dropped connection", || host.log().contains("drop connection").then_some(()));
    drop(waiting);
    assert_eq!(install.join().unwrap().unwrap().files.len(), 4);
}

#[test]
fn a_server_that_stays_busy_is_given_up() {
    let (busy, client) = (Listener::start(Manner::HangUp), Client::new());
    let host = client.host_at("busy", "127.0.0.1", busy.port, "root");
    let error = install_host(&client.remote(), &host, &bundle(), ForeignPolicy::Refuse, &OsEntropy).unwrap_err();
    assert_eq!((error.code(), busy.connections()), ("handshake_failed", 4));
}

#[test]
fn what_is_no_ssh_server_is_told_apart_and_tried_once() {
    let mut client = Client::new();
    client.deadlines.handshake = Duration::from_millis(500);
    for (manner, said) in [
        (Manner::Http, "no SSH server: it says"),
        (Manner::Silent, "no SSH greeting"),
        (Manner::GreetsOnly, "key exchange is not done"),
    ] {
        let listener = Listener::start(manner);
        let host = client.host_at("x", "127.0.0.1", listener.port, "root");
        let error = install_host(&client.remote(), &host, &bundle(), ForeignPolicy::Refuse, &OsEntropy).unwrap_err();
        assert_eq!(error.code(), "handshake_failed");
        assert!(error.to_string().contains(said), "{error}");
        assert_eq!(listener.connections(), 1);
    }
}

#[test]
fn a_host_that_is_down_or_has_no_name_fails_with_its_own_code() {
    let (mut host, client) = pair("down");
    host.stop();
    let error = client.install(&host, &bundle()).unwrap_err();
    assert_eq!((error.code(), error.retry_class()), ("connect_refused", RetryClass::Retryable));
    let nameless = client.host_at("x", "no-such-host.invalid", 22, "root");
    let error = install_host(&client.remote(), &nameless, &bundle(), ForeignPolicy::Refuse, &OsEntropy).unwrap_err();
    assert_eq!(error.code(), "dns_failed");
}

#[test]
fn an_address_that_swallows_packets_times_out() {
    // A full backlog: the kernel drops every further SYN.
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    rustix::net::listen(&socket, 0).unwrap();
    let address = socket.local_addr().unwrap();
    let mut held = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
        held.push(stream);
    }
    let mut client = Client::new();
    client.deadlines.connect = Duration::from_millis(400);
    let host = client.host_at("x", "127.0.0.1", address.port(), "root");
    let error = install_host(&client.remote(), &host, &bundle(), ForeignPolicy::Refuse, &OsEntropy).unwrap_err();
    assert_eq!(error.code(), "connect_timeout", "{error}");
}

/// A host with its files installed, and `sync` that never returns: the script hangs between writing and renaming.
fn hanging() -> (TestHost, Client) {
    let (host, client) = pair("hangs");
    client.install(&host, &bundle()).unwrap();
    host.replace_program("sync", "#!/bin/sh\necho hangs >/tmp/hangs; exec sleep 600\n");
    (host, client)
}

fn changed_bundle() -> Vec<kubemint::bundle::HostFile> {
    let mut files = bundle();
    files[0] = host_file(BOOTSTRAP, "changed");
    files
}

#[test]
fn a_host_that_hangs_is_left_at_the_idle_deadline_with_its_old_file() {
    need_root!();
    let (host, mut client) = hanging();
    client.deadlines = Deadlines { idle: Duration::from_secs(1), ..Deadlines::default() };
    let started = Instant::now();
    let error = client.install(&host, &changed_bundle()).unwrap_err();
    assert_eq!((error.code(), error.retry_class()), ("timed_out", RetryClass::Unavailable));
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    assert_eq!(host.read(BOOTSTRAP), content(&bundle()[0]));
}

#[test]
fn the_whole_host_deadline_holds_against_a_host_that_keeps_talking() {
    need_root!();
    let (host, mut client) = met(TestHost::builder("talks").bashrc("while :; do echo x; sleep 0.1; done").start());
    client.deadlines = Deadlines { host: Duration::from_secs(2), ..Deadlines::default() };
    let error = client.install(&host, &bundle()).unwrap_err();
    assert_eq!(error.code(), "timed_out");
    assert!(error.to_string().contains("not done after 2 s"), "{error}");
}

#[test]
fn a_connection_killed_mid_transfer_leaves_the_old_file_and_the_next_run_converges() {
    need_root!();
    let (host, client) = hanging();
    let client = Arc::new(client);
    let (worker, target) = (Arc::clone(&client), client.host(&host));
    let install = thread::spawn(move || {
        install_host(&worker.remote(), &target, &changed_bundle(), ForeignPolicy::Refuse, &OsEntropy)
    });
    eventually("the script to hang", || host.exists("/tmp/hangs").then_some(()));
    host.session_pids().into_iter().for_each(kill);
    let error = install.join().unwrap().unwrap_err();
    assert_eq!(error.code(), "connection_lost", "{error}");
    assert_eq!(host.read(BOOTSTRAP), content(&bundle()[0]));
    host.restore_program("sync");
    let outcome = client.install(&host, &changed_bundle()).unwrap();
    assert_eq!(outcome.files[0].action, Action::Updated);
    assert_eq!(host.read(BOOTSTRAP), "changed");
    host.must("! ls -A /etc/kubernetes | grep tmp");
}

#[test]
fn a_shell_killed_between_writing_and_renaming_leaves_the_old_file_and_a_leftover_that_is_swept() {
    need_root!();
    let (host, client) = pair("killed");
    client.install(&host, &bundle()).unwrap();
    host.replace_program("mv", "#!/bin/sh\nkill -9 $PPID\n");
    let error = client.install(&host, &changed_bundle()).unwrap_err();
    assert_eq!(error.code(), "connection_lost");
    assert!(error.to_string().contains("killed by signal KILL"), "{error}");
    assert_eq!(host.read(BOOTSTRAP), content(&bundle()[0]));
    host.must("ls -A /etc/kubernetes | grep -q 'kubemint-.*tmp'");
    host.restore_program("mv");
    client.install(&host, &changed_bundle()).unwrap();
    assert_eq!(host.read(BOOTSTRAP), "changed");
    assert_eq!(host.read("/etc/kubernetes/.bootstrap.kubeconfig.kubemint-previous"), content(&bundle()[0]));
    host.must("! ls -A /etc/kubernetes | grep tmp");
}

#[test]
fn a_failed_rename_leaves_the_old_file_and_no_temporary_one() {
    need_root!();
    let (host, client) = pair("mv");
    client.install(&host, &bundle()).unwrap();
    host.replace_program("mv", "#!/bin/sh\necho \"mv: cannot move: Input/output error\" >&2; exit 1\n");
    let error = client.install(&host, &changed_bundle()).unwrap_err();
    assert!(matches!(&error, Error::Files(files) if files[0].path == BOOTSTRAP), "{error:?}");
    assert!(error.to_string().contains("Input/output error"), "{error}");
    assert_eq!(host.read(BOOTSTRAP), content(&bundle()[0]));
    host.must("! ls -A /etc/kubernetes | grep tmp");
}

#[test]
fn many_hosts_at_once_all_succeed() {
    need_root!();
    let client = Client::new();
    let hosts: Vec<_> = (0..20).map(|n| TestHost::new(&format!("node-{n}"))).collect();
    hosts.iter().for_each(|host| client.meet(host));
    let remote = client.remote();
    thread::scope(|scope| {
        for host in &hosts {
            let (remote, value) = (&remote, client.host(host));
            scope.spawn(move || install_host(remote, &value, &bundle(), ForeignPolicy::Refuse, &OsEntropy).unwrap());
        }
    });
    for host in &hosts {
        assert!(bundle().iter().all(|f| host.read(&f.path) == content(f)));
    }
}

#[test]
fn two_installs_on_one_host_at_once_never_damage_a_file() {
    need_root!();
    let (host, client) = pair("contended");
    let (remote, value) = (client.remote(), client.host(&host));
    thread::scope(|scope| {
        for n in 0..8 {
            let (remote, value) = (&remote, &value);
            let files = if n % 2 == 0 { bundle() } else { changed_bundle() };
            // One may sweep the other's temporary files, and that one then fails: it says so.
            scope.spawn(move || install_host(remote, value, &files, ForeignPolicy::Refuse, &OsEntropy).map(|_| ()));
        }
    });
    let now = host.read(BOOTSTRAP);
    assert!(now == "changed" || now == content(&bundle()[0]), "{now}");
    assert!(client.install(&host, &bundle()).is_ok());
    host.must("! ls -A /etc/kubernetes | grep tmp");
}
