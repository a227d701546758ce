//! Hosts that are not there, or are not who they should be.

use crate::need_root;
use crate::support::{FAULTY, Firewall, HEALTHY, Listener, Manner, Relays, Trial};
use rustix::net::listen;
use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    time::Duration,
};

const LOOPBACK: &str = "127.0.0.1";

/// A port whose SYNs the kernel drops: its backlog is full.
struct BlackHole {
    port: u16,
    _held: (TcpListener, Vec<TcpStream>),
}

impl BlackHole {
    fn start() -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        listen(&socket, 0).unwrap();
        let address: SocketAddr = socket.local_addr().unwrap();
        let mut held = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
            held.push(stream);
        }
        Self { port: address.port(), _held: (socket, held) }
    }
}

#[test]
fn host_down_or_black_holed_syn() {
    let mut trial = Trial::new();
    trial.set_settings("[distribute]\nconnect_timeout = \"1s\"\n");
    let hole = BlackHole::start();
    trial.fleet.move_to(FAULTY, Some((LOOPBACK, hole.port)));
    let error = trial.assert_fault("connect_timeout");
    assert!(error["hint"].as_str().unwrap().contains("firewall"), "{error:#}");
    trial.fleet.move_to(FAULTY, None);
    trial.assert_mended();
}

#[test]
fn dns_fails() {
    let mut trial = Trial::new();
    trial.fleet.move_to(FAULTY, Some(("no-such-host.invalid", 22)));
    let error = trial.assert_fault("dns_failed");
    assert!(error["message"].as_str().unwrap().contains("no-such-host.invalid"), "{error:#}");
    trial.fleet.move_to(FAULTY, None);
    trial.assert_mended();
}

#[test]
fn dns_fails_for_every_host() {
    let mut trial = Trial::new();
    let before = trial.fleet.tree_hashes();
    trial.fleet.move_to(HEALTHY, Some(("no-such-host.invalid", 22)));
    trial.fleet.move_to(FAULTY, Some(("another-one.invalid", 22)));
    let (exit, report) = trial.fleet.json(&["apply"]);
    assert_eq!(exit, 4, "{report:#}");
    for host in report["hosts"].as_array().unwrap() {
        assert_eq!(host["error"]["code"], "dns_failed", "{report:#}");
    }
    assert_eq!(trial.fleet.tree_hashes(), before);
    for index in [HEALTHY, FAULTY] {
        trial.fleet.move_to(index, None);
    }
    trial.assert_succeeds();
}

#[test]
fn connection_refused() {
    let mut trial = Trial::new();
    trial.host_mut().stop();
    let error = trial.assert_fault("connect_refused");
    assert!(error["hint"].as_str().unwrap().contains("sshd"), "{error:#}");
    trial.host_mut().start();
    trial.assert_mended();
}

#[test]
fn unreachable_rejected() {
    need_root!();
    let trial = Trial::new();
    let (address, port) = (trial.host().address(), trial.host().port());
    let Some(wall) = Firewall::start(address, port, "reject with icmp host-unreachable") else {
        crate::support::skipped("this kernel has no nftables");
        return;
    };
    let error = trial.assert_fault("unreachable");
    assert!(error["hint"].as_str().unwrap().contains("route"), "{error:#}");
    drop(wall);
    trial.assert_mended();
}

fn not_ssh_on_the_port(manner: Manner, said: &str) {
    let mut trial = Trial::new();
    trial.set_settings("[distribute]\nlogin_timeout = \"2s\"\n");
    let listener = Listener::start(manner);
    trial.fleet.move_to(FAULTY, Some((LOOPBACK, listener.port)));
    let error = trial.assert_fault("handshake_failed");
    assert!(error["message"].as_str().unwrap().contains(said), "{error:#}");
    assert!(error["hint"].as_str().unwrap().contains("SSH server"), "{error:#}");
    assert_eq!(listener.connections(), 1, "it is tried once");
    trial.fleet.move_to(FAULTY, None);
    trial.assert_mended();
}

#[test]
fn not_ssh_on_the_port_http() {
    not_ssh_on_the_port(Manner::Http, "no SSH server: it says");
}

#[test]
fn not_ssh_on_the_port_silent() {
    not_ssh_on_the_port(Manner::Silent, "no SSH greeting");
}

/// Puts these lines in place of all that known_hosts says of one host.
fn rewrite_known_hosts(trial: &Trial, keys: &[String], lines: &str) {
    let path = &trial.fleet.client.known_hosts;
    let known = fs::read_to_string(path).unwrap();
    let others: String =
        known.lines().filter(|line| !keys.iter().any(|key| line.contains(key))).map(with_end).collect();
    fs::write(path, others + lines).unwrap();
}

fn with_end(line: &str) -> String {
    format!("{line}\n")
}

/// With a witness in front of the faulty host, and that host's keys.
fn behind_a_relay() -> (Trial, Vec<String>) {
    let mut trial = Trial::new();
    trial.fleet.relay(FAULTY, &Relays::new());
    let keys = trial.host().public_keys();
    (trial, keys)
}

fn relay_line(trial: &Trial, key: &str) -> String {
    format!("[{LOOPBACK}]:{} {key}\n", trial.fleet.line(FAULTY).port)
}

#[test]
fn unknown_host_key() {
    let (trial, keys) = behind_a_relay();
    rewrite_known_hosts(&trial, &keys, "");
    let message = assert_key_refused(&trial, "host_key_unknown");
    assert!(message.contains("SHA256:"), "{message}");
    rewrite_known_hosts(&trial, &keys, &relay_line(&trial, &keys[0]));
    trial.assert_mended();
}

#[test]
fn changed_host_key_is_loud_and_never_suggests_accepting() {
    let (mut trial, old_keys) = behind_a_relay();
    trial.host_mut().replace_host_key();
    let message = assert_key_refused(&trial, "host_key_changed");
    assert!(message.contains("HAS CHANGED") && message.contains("known_hosts:"), "{message}");
    let text = trial.fleet.run(&["apply"]).expect(3);
    assert!((text.stdout + &text.stderr).contains("HAS CHANGED"));
    let keys = trial.host().public_keys();
    rewrite_known_hosts(&trial, &old_keys, &relay_line(&trial, &keys[0]));
    trial.assert_mended();
}

#[test]
fn revoked_host_key() {
    let (trial, keys) = behind_a_relay();
    let known = fs::read_to_string(&trial.fleet.client.known_hosts).unwrap();
    trial.fleet.client.trust(&format!("@revoked * {}\n", keys[0]));
    let message = assert_key_refused(&trial, "host_key_revoked");
    assert!(message.contains("@revoked"), "{message}");
    fs::write(&trial.fleet.client.known_hosts, known).unwrap();
    trial.assert_mended();
}

/// The host saw a connection, but no attempt to log in, nor one byte that could be of a credential, and is tried once.
#[track_caller]
fn assert_key_refused(trial: &Trial, code: &str) -> String {
    let logged = trial.host().log().len();
    let known = fs::read_to_string(&trial.fleet.client.known_hosts).unwrap();
    let error = trial.assert_fault(code);
    assert_eq!(known, fs::read_to_string(&trial.fleet.client.known_hosts).unwrap(), "known_hosts is never written");
    let (line, smallest) = (trial.fleet.line(FAULTY), trial.fleet.env.read("state/token.csv").len());
    assert_eq!(line.connections(), 1);
    assert!(line.last_encrypted() < smallest, "{} bytes after the key exchange", line.last_encrypted());
    let log = trial.host().log()[logged..].to_owned();
    assert!(log.contains("Connection from"), "{log}");
    for trace in ["userauth-request", "Accepted", "Failed", "Starting session"] {
        assert!(!log.contains(trace), "{trace}: {log}");
    }
    let hint = error["hint"].as_str().unwrap().to_lowercase();
    for word in ["accept", "stricthostkeychecking", "-o ", "ssh-keygen -r"] {
        assert!(!hint.contains(word), "{word}: {hint}");
    }
    error["message"].as_str().unwrap().to_owned()
}
