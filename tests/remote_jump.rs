//! Hosts behind jump hosts: one login on each, whatever is behind it, and whose fault it is when something fails.
#![allow(clippy::unwrap_used, reason = "test code")]

mod support;

use kubemint::{
    entropy::OsEntropy,
    inventory::Host,
    remote::{
        Error, Password, RetryClass, SshRemote,
        installer::{ForeignPolicy, HostOutcome, install_host},
    },
    secret::Secret,
};
use std::{
    net::{TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};
use support::{
    Client, Fleet, Listener, Manner, TestHost, content, eventually, files::bundle, hosts_that_are, kill, require,
};

const SECOND: Duration = Duration::from_secs(1);
/// Long past every deadline set here, and what a loaded machine may need on top.
const TOO_LONG: Duration = Duration::from_secs(60);

fn bastion(name: &str) -> TestHost {
    TestHost::builder(name).sshd_option("LogLevel DEBUG1").start()
}

fn install(remote: &SshRemote, host: &Host) -> Result<HostOutcome, Error> {
    install_host(remote, host, &bundle(), ForeignPolicy::Refuse, &OsEntropy)
}

/// All at once, a thread each; results in the order of `hosts`.
fn install_all(remote: &SshRemote, hosts: &[Host]) -> Vec<Result<HostOutcome, Error>> {
    thread::scope(|scope| {
        let threads: Vec<_> = hosts.iter().map(|host| scope.spawn(|| install(remote, host))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

/// How many connections a host has taken, and how many logins have succeeded on it.
fn logins(host: &TestHost) -> (usize, usize) {
    let log = host.log();
    (log.matches("Connection from").count(), log.matches("Accepted publickey for").count())
}

fn forwards(host: &TestHost) -> usize {
    host.log().matches("server_request_direct_tcpip").count()
}

fn assert_installed(host: &TestHost) {
    assert!(bundle().iter().all(|file| host.read(&file.path) == content(file)), "{}", host.name());
}

/// Takes no connection: the kernel drops every further SYN.
struct BlackHole {
    socket: TcpListener,
    _held: Vec<TcpStream>,
}

impl BlackHole {
    fn new() -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        rustix::net::listen(&socket, 0).unwrap();
        let address = socket.local_addr().unwrap();
        let mut held = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
            held.push(stream);
        }
        Self { socket, _held: held }
    }

    fn port(&self) -> u16 {
        self.socket.local_addr().unwrap().port()
    }
}

#[test]
fn many_hosts_at_once_are_one_login_on_the_jump_host() {
    need_root!();
    let (jump, client) = (bastion("bastion"), Client::new());
    client.meet(&jump);
    let hosts: Vec<TestHost> = (0..12).map(|n| TestHost::new(&format!("node-{n}"))).collect();
    hosts.iter().for_each(|host| client.meet(host));
    let ways: Vec<Host> = hosts.iter().map(|host| client.behind(client.host(host), &[&jump])).collect();
    let remote = client.remote();
    for result in install_all(&remote, &ways) {
        result.unwrap_or_else(|e| panic!("{e}"));
    }
    // And again, with nobody at the door meanwhile.
    install(&remote, &ways[0]).unwrap();
    hosts.iter().for_each(assert_installed);
    assert_eq!(logins(&jump), (1, 1), "{}", jump.log());
    assert_eq!(forwards(&jump), 13);
    for host in &hosts[1..] {
        assert_eq!(logins(host), (1, 1), "{}", host.log());
    }
    drop(remote);
    eventually("the jump host to see us leave", || jump.log().contains("Disconnected from user").then_some(()));
}

#[test]
fn a_hundred_targets_of_apply_are_one_login_on_the_jump_host() {
    need_root!();
    let (jump, fleet) = (bastion("bastion"), Fleet::of_nodes(100));
    fleet.client.meet(&jump);
    let way = format!("[ssh]\njump = \"{}@{}:{}\"\n", jump.user(), jump.address(), jump.port());
    let inventory = fleet.env.read("inventory.toml").replace("[ssh]\n", &way);
    fleet.env.write("inventory.toml", inventory);
    for status in ["changed", "unchanged"] {
        let (code, report) = fleet.json(&["apply", "--concurrency", "64"]);
        assert_eq!((code, hosts_that_are(&report, status).len()), (0, 100), "{report:#}");
    }
    (0..100).for_each(|index| fleet.assert_complete(index));
    // One for each of the two runs.
    assert_eq!((logins(&jump), forwards(&jump)), ((2, 2), 200));
    for host in &fleet.hosts {
        assert_eq!(logins(host), (2, 2), "{}", host.name());
    }
}

#[test]
fn a_chain_of_two_is_one_login_on_each() {
    need_root!();
    let (first, second, client) = (bastion("outer"), bastion("inner"), Client::new());
    let hosts = [TestHost::new("node-1"), TestHost::new("node-2")];
    [&first, &second].into_iter().chain(&hosts).for_each(|host| client.meet(host));
    let ways = hosts.each_ref().map(|host| client.behind(client.host(host), &[&first, &second]));
    // One more behind the first alone shares its login.
    let near = TestHost::new("near");
    client.meet(&near);
    let remote = client.remote();
    for result in install_all(&remote, &ways) {
        result.unwrap_or_else(|e| panic!("{e}"));
    }
    install(&remote, &client.behind(client.host(&near), &[&first])).unwrap();
    hosts.iter().chain([&near]).for_each(assert_installed);
    assert_eq!((logins(&first), logins(&second)), ((1, 1), (1, 1)));
    // The second, and the near one; the others by way of the second.
    assert_eq!((forwards(&first), forwards(&second)), (2, 2));
}

#[test]
fn a_host_key_is_judged_behind_a_jump_host_as_anywhere() {
    need_root!();
    let (jump, client) = (bastion("bastion"), Client::new());
    let mut host = TestHost::new("node-1");
    client.meet(&jump);
    host.authorize(&support::public_of(&client.identity_files[0]));
    let way = client.behind(client.host(&host), &[&jump]);
    let error = install(&client.remote(), &way).unwrap_err();
    assert_eq!(error.code(), "host_key_unknown", "{error}");
    client.trust(&host.known_hosts_lines());
    host.replace_host_key();
    let error = install(&client.remote(), &way).unwrap_err();
    assert_eq!(error.code(), "host_key_changed", "{error}");
    assert!(!host.log().contains("Accepted"), "nobody logged in: {}", host.log());
    assert!(!host.exists("/etc/kubernetes/bootstrap.kubeconfig"));
}

/// Several hosts behind a jump host that does not let us through: the first error, and how often it was tried.
fn refused(jump: &TestHost, client: &Client) -> Error {
    let hosts: Vec<Host> =
        (0..8).map(|n| client.behind(client.host_at(&format!("node-{n}"), "127.0.0.1", 1, "root"), &[jump])).collect();
    let remote = client.remote();
    let mut errors: Vec<Error> = install_all(&remote, &hosts).into_iter().map(Result::unwrap_err).collect();
    errors.push(install(&remote, &hosts[0]).unwrap_err());
    for error in &errors {
        assert_eq!(error.code(), "jump_failed", "{error}");
        assert!(error.to_string().contains(&format!("jump host root@{}", jump.address())), "{error}");
    }
    errors.remove(0)
}

#[test]
fn a_jump_host_with_an_unknown_or_changed_key_is_not_logged_in_to_and_not_tried_again() {
    need_root!();
    let (mut jump, client) = (bastion("bastion"), Client::new());
    jump.authorize(&support::public_of(&client.identity_files[0]));
    let error = refused(&jump, &client);
    assert!(error.to_string().contains("is not known"), "{error}");
    assert!(error.hint().contains("ssh-keygen -lf"), "{}", error.hint());
    assert_eq!(error.retry_class(), RetryClass::Refused);
    assert_eq!(logins(&jump), (1, 0), "{}", jump.log());
    client.trust(&jump.known_hosts_lines());
    jump.replace_host_key();
    let error = refused(&jump, &client);
    assert!(error.to_string().contains("HAS CHANGED"), "{error}");
    assert_eq!(logins(&jump), (2, 0), "{}", jump.log());
}

#[test]
fn a_refused_login_on_the_jump_host_is_tried_once_for_all() {
    need_root!();
    let (jump, client) = (bastion("bastion"), Client::new());
    client.trust(&jump.known_hosts_lines());
    let error = refused(&jump, &client);
    assert!(error.to_string().contains("does not let root in"), "{error}");
    assert_eq!((error.retry_class(), logins(&jump)), (RetryClass::Refused, (1, 0)));
}

#[test]
fn a_jump_host_that_is_down_costs_one_deadline() {
    let mut client = Client::new();
    client.deadlines.connect = SECOND;
    let hole = BlackHole::new();
    let jump = format!("root@127.0.0.1:{}", hole.port());
    let hosts: Vec<Host> = (0..30)
        .map(|n| {
            let mut host = client.host_at(&format!("node-{n}"), "127.0.0.1", 1, "root");
            let kubemint::inventory::Connection::Ssh(target) = &mut host.connection else { unreachable!() };
            std::sync::Arc::make_mut(&mut target.settings).jump = vec![jump.parse().unwrap()];
            host
        })
        .collect();
    let (remote, started) = (client.remote(), Instant::now());
    for host in &hosts {
        let error = install(&remote, host).unwrap_err();
        assert_eq!(error.code(), "jump_failed", "{error}");
        assert!(error.to_string().contains("no answer from 127.0.0.1"), "{error}");
    }
    assert!(started.elapsed() < SECOND * 15, "not a deadline each");
}

#[test]
fn forwarding_that_is_prohibited_is_the_jump_hosts_fault() {
    need_root!();
    let client = Client::new();
    for option in ["AllowTcpForwarding no", "PermitOpen 192.0.2.1:22"] {
        let (jump, host) = (TestHost::builder("bastion").sshd_option(option).start(), TestHost::new("node-1"));
        client.meet(&jump);
        client.meet(&host);
        let error = install(&client.remote(), &client.behind(client.host(&host), &[&jump])).unwrap_err();
        assert_eq!(error.code(), "forwarding_refused", "{option}: {error}");
        assert!(error.to_string().contains(jump.address()) && error.hint().contains("AllowTcpForwarding"), "{error}");
        assert_eq!(logins(&host), (0, 0));
    }
}

#[test]
fn a_host_that_the_jump_host_cannot_reach_is_the_hosts_fault() {
    need_root!();
    let (jump, client) = (bastion("bastion"), Client::new());
    client.meet(&jump);
    let remote = client.remote();
    for (address, port) in [("127.0.0.1", 1), ("kubemint-test.invalid", 22)] {
        let host = client.behind(client.host_at("node-1", address, port, "root"), &[&jump]);
        let error = install(&remote, &host).unwrap_err();
        assert_eq!(error.code(), "unreachable_from_jump", "{error}");
        let said = error.to_string();
        assert!(
            said.contains(&format!("cannot connect to {address}:{port}")) && said.contains(jump.address()),
            "{said}"
        );
        assert_eq!(error.retry_class(), RetryClass::Retryable);
    }
    assert_eq!(logins(&jump), (1, 1));
}

#[test]
fn hosts_that_never_answer_the_jump_host_cost_the_others_nothing() {
    need_root!();
    let (jump, mut client) = (bastion("bastion"), Client::new());
    client.meet(&jump);
    client.deadlines.connect = SECOND * 4;
    let holes: Vec<BlackHole> = (0..6).map(|_| BlackHole::new()).collect();
    let hosts: Vec<TestHost> = (0..6).map(|n| TestHost::new(&format!("node-{n}"))).collect();
    hosts.iter().for_each(|host| client.meet(host));
    let way = |host| client.behind(host, &[&jump]);
    let lost: Vec<Host> =
        holes.iter().map(|hole| way(client.host_at("lost", "127.0.0.1", hole.port(), "root"))).collect();
    let remote = client.remote();
    let started = Instant::now();
    let (done, lost) = thread::scope(|scope| {
        let lost = scope.spawn(|| install_all(&remote, &lost));
        eventually("the first to be asked for", || (forwards(&jump) > 0).then_some(()));
        let ways: Vec<Host> = hosts.iter().map(|host| way(client.host(host))).collect();
        let done: Vec<_> = install_all(&remote, &ways).into_iter().map(|r| r.map(|_| started.elapsed())).collect();
        (done, lost.join().unwrap())
    });
    for result in done {
        result.unwrap_or_else(|e| panic!("{e}"));
    }
    for result in lost {
        let error = result.unwrap_err();
        assert_eq!(error.code(), "connect_timeout", "{error}");
        assert!(error.to_string().contains("behind root@"), "{error}");
    }
    assert!(started.elapsed() < TOO_LONG);
    // The session has survived the giving up.
    install(&remote, &way(client.host(&hosts[0]))).unwrap();
    assert_eq!(logins(&jump), (1, 1), "{}", jump.log());
}

#[test]
fn a_host_that_hangs_behind_a_jump_host_ends_at_its_deadlines() {
    need_root!();
    let (jump, mut client) = (bastion("bastion"), Client::new());
    client.meet(&jump);
    client.deadlines.handshake = SECOND;
    let silent = Listener::start(Manner::GreetsAndFloods);
    let way = client.behind(client.host_at("silent", "127.0.0.1", silent.port, "root"), &[&jump]);
    let error = install(&client.remote(), &way).unwrap_err();
    assert_eq!(error.code(), "handshake_failed", "{error}");
    assert!(error.to_string().contains("the key exchange is not done after 1 s"), "{error}");

    // The jump host has two thirds of it to answer in, on a busy machine too.
    client.deadlines.handshake = SECOND * 10;
    client.deadlines.idle = SECOND * 9;
    let (hanging, host) = (TestHost::new("hangs"), TestHost::new("node-1"));
    [&hanging, &host].iter().for_each(|host| client.meet(host));
    hanging.replace_program("sync", "#!/bin/sh\necho hangs >/tmp/hangs; exec sleep 600\n");
    let remote = client.remote();
    let ways = [&hanging, &host].map(|host| client.behind(client.host(host), &[&jump]));
    let results = install_all(&remote, &ways);
    let error = results[0].as_ref().unwrap_err();
    assert_eq!(error.code(), "timed_out", "{error}");
    assert!(results[1].is_ok(), "{:?}", results[1]);
}

#[test]
fn a_jump_host_killed_midway_names_its_hosts_and_a_rerun_converges() {
    need_root!();
    let (mut jump, client) = (bastion("bastion"), Client::new());
    client.meet(&jump);
    let hosts: Vec<TestHost> = (0..8).map(|n| TestHost::new(&format!("node-{n}"))).collect();
    hosts.iter().for_each(|host| client.meet(host));
    // These are in flight when it happens.
    for host in &hosts[2..5] {
        host.replace_program("sync", "#!/bin/sh\necho hangs >/tmp/hangs; exec sleep 600\n");
    }
    let ways: Vec<Host> = hosts.iter().map(|host| client.behind(client.host(host), &[&jump])).collect();
    let remote = client.remote();
    let mut results: Vec<_> = ways[..2].iter().map(|way| install(&remote, way)).collect();
    let in_flight = thread::scope(|scope| {
        let in_flight = scope.spawn(|| install_all(&remote, &ways[2..5]));
        for host in &hosts[2..5] {
            eventually("a host to hang", || host.exists("/tmp/hangs").then_some(()));
        }
        jump.stop();
        in_flight.join().unwrap()
    });
    results.extend(in_flight);
    let started = Instant::now();
    results.extend(install_all(&remote, &ways[5..]));
    assert!(started.elapsed() < SECOND * 20);
    let codes: Vec<&str> = results.iter().map(|r| r.as_ref().map_or_else(Error::code, |_| "done")).collect();
    let (lost, failed) = ("connection_lost", "jump_failed");
    assert_eq!(codes, ["done", "done", lost, lost, lost, failed, failed, failed], "{results:?}");
    let said = results[2].as_ref().unwrap_err().to_string();
    assert!(said.contains("the jump host root@") && said.contains("went away"), "{said}");
    for host in &hosts[2..] {
        assert!(!host.exists("/etc/kubernetes/bootstrap.kubeconfig"), "{}: old, and here there was none", host.name());
    }
    for host in &hosts[2..5] {
        host.restore_program("sync");
    }
    jump.start();
    // The same run is over for it; the next one is not.
    assert_eq!(install(&remote, &ways[7]).unwrap_err().code(), failed);
    let remote = client.remote();
    for result in install_all(&remote, &ways) {
        result.unwrap_or_else(|e| panic!("{e}"));
    }
    hosts.iter().for_each(assert_installed);
}

#[test]
fn a_jump_session_that_is_cut_is_opened_once_more_for_all() {
    need_root!();
    let (jump, client) = (bastion("bastion"), Client::new());
    client.meet(&jump);
    let hosts: Vec<TestHost> = (0..6).map(|n| TestHost::new(&format!("node-{n}"))).collect();
    hosts.iter().for_each(|host| client.meet(host));
    let ways: Vec<Host> = hosts.iter().map(|host| client.behind(client.host(host), &[&jump])).collect();
    let remote = client.remote();
    install(&remote, &ways[0]).unwrap();
    jump.connection_pids().into_iter().for_each(kill);
    for result in install_all(&remote, &ways[1..]) {
        result.unwrap_or_else(|e| panic!("{e}"));
    }
    assert_eq!(logins(&jump), (2, 2), "{}", jump.log());
}

#[test]
fn a_jump_host_that_falls_silent_is_noticed_once() {
    need_root!();
    let (jump, mut client) = (bastion("bastion"), Client::new());
    client.meet(&jump);
    client.deadlines.idle = SECOND * 3;
    client.deadlines.handshake = SECOND * 2;
    client.deadlines.connect = SECOND * 30;
    let hosts: Vec<TestHost> = (0..3).map(|n| TestHost::new(&format!("node-{n}"))).collect();
    hosts.iter().for_each(|host| client.meet(host));
    let ways: Vec<Host> = hosts.iter().map(|host| client.behind(client.host(host), &[&jump])).collect();
    let remote = client.remote();
    install(&remote, &ways[0]).unwrap();
    // The listener as well: a new connection gets no greeting.
    let stopped: Vec<u32> = jump.connection_pids().into_iter().chain([jump.listener_pid()]).collect();
    let signal = |name| stopped.iter().for_each(|pid| signal_to(*pid, name));
    signal("-STOP");
    let results = install_all(&remote, &ways[1..]);
    signal("-CONT");
    // nsenter stops with the sshd that it waits for.
    signal_to(parent_of(jump.listener_pid()), "-CONT");
    for result in results {
        let error = result.unwrap_err();
        assert_eq!(error.code(), "jump_failed", "{error}");
        assert!(error.to_string().contains("no SSH greeting within 2 s"), "{error}");
    }
}

#[test]
fn a_jump_host_that_refuses_the_key_is_not_given_the_password_of_the_hosts() {
    need_root!();
    let password = "Vq7-fleet-horse-Xw2";
    let jump = TestHost::builder("bastion").sshd_option("PasswordAuthentication yes").start();
    let host = TestHost::builder("node-1").sshd_option("PasswordAuthentication yes").start();
    [&jump, &host].iter().for_each(|host| host.set_password("root", password));
    let mut client = Client::new();
    [&jump, &host].iter().for_each(|host| client.trust(&host.known_hosts_lines()));
    client.password = Some(Password::new(Secret::from(password)));
    let way = client.behind(client.host(&host), &[&jump]);
    let error = install(&client.remote(), &way).unwrap_err();
    assert_eq!(error.code(), "jump_failed", "{error}");
    assert!(error.to_string().contains("id_ed25519 (refused)") && !error.to_string().contains("password"), "{error}");
    assert!(error.hint().contains("never given the password"), "{}", error.hint());
    assert!(!jump.log().contains("password"), "{}", jump.log());
    // Behind it, the host is.
    client.meet(&jump);
    install(&client.remote(), &way).unwrap();
    assert!(host.log().contains("Accepted password"), "{}", host.log());
    assert!(!jump.log().contains("password"), "{}", jump.log());
}

fn parent_of(pid: u32) -> u32 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap().trim().parse().unwrap()
}

fn signal_to(pid: u32, name: &str) {
    let sent = std::process::Command::new(require("kill")).args([name, &pid.to_string()]).status().unwrap();
    assert!(sent.success());
}

#[test]
fn a_jump_host_sees_no_secret() {
    need_root!();
    let (jump, client) = (bastion("bastion"), Client::new());
    let host = TestHost::new("node-1");
    client.meet(&jump);
    client.meet(&host);
    let strace = require("strace");
    let (log, listener) = (tempfile::tempdir().unwrap(), jump.listener_pid().to_string());
    let file = log.path().join("trace");
    let mut tracer = std::process::Command::new(strace)
        .args([
            "-f",
            "-qq",
            "-s",
            "100000",
            "-e",
            "trace=read,write,sendto,recvfrom,writev,readv",
            "-p",
            &listener,
            "-o",
        ])
        .arg(&file)
        .spawn()
        .unwrap();
    eventually("strace to be there", || {
        let status = std::fs::read_to_string(format!("/proc/{listener}/status")).unwrap();
        (!status.contains("TracerPid:\t0\n")).then_some(())
    });
    let done = install(&client.remote(), &client.behind(client.host(&host), &[&jump]));
    let _ = tracer.kill();
    tracer.wait().unwrap();
    done.unwrap();
    let seen = std::fs::read_to_string(&file).unwrap();
    assert!(seen.contains("SSH-2.0-"), "something was seen");
    for file in bundle() {
        let secret = content(&file);
        let piece: String = secret.chars().take(13).collect();
        assert!(!seen.contains(piece.trim()), "{}", file.path);
    }
}
