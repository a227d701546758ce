//! Hosts, agents and files that never come to an end: each is left when its time is over.
#![allow(clippy::unwrap_used, reason = "test code")]

mod support;

use kubemint::{
    entropy::OsEntropy,
    inventory::Host,
    remote::{
        Deadlines, Error,
        installer::{ForeignPolicy, install_host},
        ssh::{SshConfig, SshRemote},
    },
};
use std::{
    fs,
    io::{Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};
use support::{Client, Listener, Manner, TestHost, files::bundle, host_file, public_of, require};

const SECOND: Duration = Duration::from_secs(1);
/// Long past every deadline set here, and what a loaded machine may need on top.
const TOO_LONG: Duration = Duration::from_secs(15);

/// Installs in a thread of its own, so that what hangs fails the test instead of hanging it.
fn install_error(remote: &Arc<SshRemote>, host: &Host) -> Error {
    let (send, receive) = mpsc::channel();
    let (remote, host) = (Arc::clone(remote), host.clone());
    thread::spawn(move || {
        send.send(install_host(&*remote, &host, &bundle(), ForeignPolicy::Refuse, &OsEntropy).map(|_| ()))
    });
    receive.recv_timeout(TOO_LONG).expect("the install hangs").unwrap_err()
}

fn flooded(manner: Manner, deadlines: Deadlines) -> (Error, Duration) {
    let mut client = Client::new();
    client.deadlines = deadlines;
    let listener = Listener::start(manner);
    let host = client.host_at("floods", "127.0.0.1", listener.port, "root");
    let started = Instant::now();
    let error = install_error(&Arc::new(client.remote()), &host);
    assert_eq!(listener.connections(), 1, "it is not tried again: {error}");
    (error, started.elapsed())
}

#[test]
fn a_flood_before_the_login_ends_at_the_handshake_deadline() {
    for (manner, said) in [
        (Manner::FloodOfLines, "no SSH greeting within 1 s"),
        (Manner::FloodOfOneLine, "no SSH greeting within 1 s"),
        (Manner::GreetsAndFloods, "the key exchange is not done after 1 s"),
    ] {
        let (error, took) = flooded(manner, Deadlines { handshake: SECOND, ..Deadlines::default() });
        assert_eq!(error.code(), "handshake_failed", "{error}");
        assert!(error.to_string().contains(said), "{error}");
        assert!(took < SECOND * 5, "{took:?}");
    }
}

#[test]
fn a_flood_ends_at_the_host_deadline_where_that_comes_first() {
    for manner in [Manner::FloodOfLines, Manner::GreetsAndFloods] {
        let (error, took) = flooded(manner, Deadlines { host: SECOND, ..Deadlines::default() });
        assert_eq!(error.code(), "timed_out", "{error}");
        assert!(error.to_string().contains("not done after 1 s"), "{error}");
        assert!(took < SECOND * 5, "{took:?}");
    }
}

/// An agent's socket in the test's hands.
struct FakeAgent {
    _dir: tempfile::TempDir,
    socket: PathBuf,
    connections: Arc<AtomicUsize>,
}

impl FakeAgent {
    /// Accepts, and answers nothing.
    fn silent() -> Self {
        let held = Mutex::new(Vec::new());
        Self::start(move |stream| held.lock().unwrap().push(stream))
    }

    /// Lists what the agent at `real` holds, and never signs: as one that waits for a person to say yes.
    fn that_never_signs(real: &Path) -> Self {
        let real = real.to_owned();
        Self::start(move |mut stream| {
            let mut behind = UnixStream::connect(&real).unwrap();
            thread::spawn(move || {
                while let Some(request) = read_message(&mut stream) {
                    // SSH_AGENTC_REQUEST_IDENTITIES (draft-miller-ssh-agent, 5.1).
                    if request.get(4) == Some(&11) {
                        behind.write_all(&request).unwrap();
                        stream.write_all(&read_message(&mut behind).unwrap()).unwrap();
                    }
                }
            });
        })
    }

    fn start(serve: impl Fn(UnixStream) + Send + 'static) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("agent");
        let listener = UnixListener::bind(&socket).unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        thread::spawn(move || {
            for stream in listener.incoming() {
                count.fetch_add(1, Ordering::SeqCst);
                serve(stream.unwrap());
            }
        });
        Self { _dir: dir, socket, connections }
    }
}

fn read_message(stream: &mut UnixStream) -> Option<Vec<u8>> {
    let mut message = vec![0; 4];
    stream.read_exact(&mut message).ok()?;
    let length = u32::from_be_bytes(message[..4].try_into().unwrap()) as usize;
    message.resize(4 + length, 0);
    stream.read_exact(&mut message[4..]).ok()?;
    Some(message)
}

fn remote_with(agent: &FakeAgent, deadlines: Deadlines) -> Arc<SshRemote> {
    Arc::new(SshRemote::new(SshConfig {
        home: None,
        agent_socket: Some(agent.socket.clone()),
        deadlines,
        ..SshConfig::default()
    }))
}

#[test]
fn an_agent_that_never_answers_counts_as_none_and_is_waited_for_once() {
    let (host, client, agent) = (TestHost::new("refuses"), Client::new(), FakeAgent::silent());
    client.trust(&host.known_hosts_lines());
    // The wait for the agent is 5 s, or the handshake deadline where that is shorter.
    let remote = remote_with(&agent, Deadlines { handshake: SECOND * 3, ..Deadlines::default() });
    for _ in 0..2 {
        let error = install_error(&remote, &client.host(&host));
        assert_eq!(error.code(), "auth_failed", "{error}");
        let text = error.to_string();
        assert!(text.contains("id_ed25519 (refused)") && text.contains("agent: no answer within 3 s"), "{text}");
    }
    assert_eq!(agent.connections.load(Ordering::SeqCst), 1);
}

#[test]
fn an_encrypted_key_and_a_silent_agent_are_both_named() {
    let (host, mut client, agent) = (TestHost::new("x"), Client::new(), FakeAgent::silent());
    client.identity_files = vec![client.make_key("locked", &["-t", "ed25519", "-N", "secret"])];
    client.trust(&host.known_hosts_lines());
    let remote = remote_with(&agent, Deadlines { handshake: SECOND * 3, ..Deadlines::default() });
    let text = install_error(&remote, &client.host(&host)).to_string();
    assert!(text.contains("locked (not usable") && text.contains("agent: no answer within 3 s"), "{text}");
}

#[test]
fn an_agent_that_is_not_needed_is_not_asked() {
    let (host, client, agent) = (TestHost::new("x"), Client::new(), FakeAgent::silent());
    client.meet(&host);
    let path = format!("{}/x", host.directory());
    let remote = remote_with(&agent, Deadlines::default());
    install_host(&*remote, &client.host(&host), &[host_file(&path, "x")], ForeignPolicy::Refuse, &OsEntropy).unwrap();
    assert_eq!(agent.connections.load(Ordering::SeqCst), 0);
}

#[test]
fn an_agent_that_never_signs_costs_the_host_and_not_the_run() {
    let (host, mut client) = (TestHost::new("x"), Client::new());
    let key = client.identity_files.remove(0);
    client.start_agent(&[&key]);
    client.trust(&host.known_hosts_lines());
    host.authorize(&public_of(&key));
    let agent = FakeAgent::that_never_signs(&client.agent.as_ref().unwrap().socket);
    for (deadlines, said) in [
        (Deadlines { idle: SECOND * 2, ..Deadlines::default() }, "the agent has not signed after 2 s"),
        (Deadlines { host: SECOND * 2, ..Deadlines::default() }, "not done after 2 s"),
    ] {
        let error = install_error(&remote_with(&agent, deadlines), &client.host(&host));
        assert_eq!(error.code(), "timed_out", "{error}");
        assert!(error.to_string().contains(said), "{error}");
    }
}

fn fifo(client: &Client) -> PathBuf {
    let path = client.known_hosts.with_file_name("fifo");
    assert!(Command::new(require("mkfifo")).arg(&path).status().unwrap().success());
    path
}

/// A file that claims `length` bytes and holds none.
fn sparse(client: &Client, length: u64) -> PathBuf {
    let path = client.known_hosts.with_file_name("huge");
    fs::File::create(&path).unwrap().set_len(length).unwrap();
    path
}

#[test]
fn an_identity_file_is_a_regular_file_of_ordinary_size() {
    let (host, mut client) = (TestHost::new("x"), Client::new());
    client.trust(&host.known_hosts_lines());
    for (path, reason) in [
        (fifo(&client), "it is not a regular file"),
        ("/dev/zero".into(), "it is not a regular file"),
        (sparse(&client, (1 << 20) + 1), "it is larger than 1 MiB"),
    ] {
        client.identity_files = vec![path];
        let error = install_error(&Arc::new(client.remote()), &client.host(&host));
        assert_eq!(error.code(), "key_unreadable", "{error}");
        assert!(error.to_string().contains(reason), "{error}");
    }
}

#[test]
fn a_known_hosts_file_is_a_regular_file_of_ordinary_size() {
    let (silent, mut client) = (Listener::start(Manner::Silent), Client::new());
    for (path, reason) in [
        (fifo(&client), "it is not a regular file"),
        ("/dev/zero".into(), "it is not a regular file"),
        (sparse(&client, (64 << 20) + 1), "it is larger than 64 MiB"),
    ] {
        client.known_hosts = path;
        let host = client.host_at("x", "127.0.0.1", silent.port, "root");
        let error = install_error(&Arc::new(client.remote()), &host);
        assert_eq!(error.code(), "known_hosts_unreadable", "{error}");
        assert!(error.to_string().contains(reason), "{error}");
    }
    assert_eq!(silent.connections(), 0);
}

#[test]
fn the_handshake_deadline_is_called_off_after_the_handshake() {
    need_root!();
    let (host, mut client) = (TestHost::builder("slow").bashrc("sleep 4").start(), Client::new());
    client.meet(&host);
    client.deadlines.handshake = SECOND * 3;
    client.install(&host, &bundle()).unwrap();
}
