//! What is tried again, how often, and what never is.
#![allow(clippy::unwrap_used, reason = "test code")]

mod support;

use kubemint::{
    entropy::OsEntropy,
    inventory::Host,
    remote::{
        Deadlines, Error, RetryClass,
        installer::{ForeignPolicy, HostOutcome, install_host},
    },
};
use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};
use support::{Client, Listener, Manner, TestHost, files::bundle};

/// SSH_MSG_NEWKEYS (RFC 4253, 7.3): what follows it is encrypted.
const NEW_KEYS: u8 = 21;

/// When a line breaks.
#[derive(Clone, Copy)]
enum Break {
    /// By a reset, as soon as it is there.
    AtOnce,
    /// When the client begins to log in.
    AtTheLogin,
    /// When this much of what the client sends after the key exchange has passed.
    After(usize),
}

/// A line to a host that breaks so many times, and then holds.
struct Line {
    port: u16,
    connections: Arc<AtomicUsize>,
}

impl Line {
    fn to(host: &TestHost, times: usize, breaks: Break) -> Self {
        let target: SocketAddr = format!("{}:{}", host.address(), host.port()).parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let line = Self { port: listener.local_addr().unwrap().port(), connections: Arc::default() };
        let connections = Arc::clone(&line.connections);
        thread::spawn(move || {
            for client in listener.incoming() {
                let client = client.unwrap();
                let breaks = (connections.fetch_add(1, Ordering::SeqCst) < times).then_some(breaks);
                thread::spawn(move || pass_on(&client, target, breaks));
            }
        });
        line
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

fn pass_on(client: &TcpStream, target: SocketAddr, breaks: Option<Break>) {
    if let Some(Break::AtOnce) = breaks {
        // Closing sends a reset.
        return rustix::net::sockopt::set_socket_linger(client, Some(Duration::ZERO)).unwrap();
    }
    let server = TcpStream::connect(target).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| std::io::copy(&mut &server, &mut &*client));
        let (mut sent, mut buffer) = (Vec::new(), [0; 8192]);
        while let Ok(n @ 1..) = (&*client).read(&mut buffer) {
            sent.extend_from_slice(&buffer[..n]);
            let is_over = match breaks {
                Some(Break::AtTheLogin) => encrypted(&sent) > 0,
                Some(Break::After(bytes)) => encrypted(&sent) > bytes,
                _ => false,
            };
            if is_over || (&server).write_all(&buffer[..n]).is_err() {
                break;
            }
        }
        let _ = (client.shutdown(Shutdown::Both), server.shutdown(Shutdown::Both));
    });
}

/// How many bytes follow the client's SSH_MSG_NEWKEYS.
fn encrypted(sent: &[u8]) -> usize {
    let Some(greeting) = sent.iter().position(|byte| *byte == b'\n') else { return 0 };
    let mut rest = &sent[greeting + 1..];
    while rest.len() > 5 {
        let length = 4 + u32::from_be_bytes(rest[..4].try_into().unwrap()) as usize;
        if rest.len() < length {
            return 0;
        }
        if rest[5] == NEW_KEYS {
            return rest.len() - length;
        }
        rest = &rest[length..];
    }
    0
}

struct Scene {
    host: TestHost,
    client: Client,
}

impl Scene {
    fn new() -> Self {
        let (host, client) = (TestHost::new("flaky"), Client::new());
        client.meet(&host);
        Self { host, client }
    }

    fn install_over(&self, line: &Line) -> Result<HostOutcome, Error> {
        self.client.trust(&format!("[127.0.0.1]:{} {}\n", line.port, self.host.public_keys()[0]));
        install(&self.client, &self.client.host_at("flaky", "127.0.0.1", line.port, self.host.user()))
    }
}

fn install(client: &Client, host: &Host) -> Result<HostOutcome, Error> {
    let dir = host.directory.clone();
    let mut files = bundle();
    files.iter_mut().for_each(|file| file.path = file.path.replace("/etc/kubernetes", &dir));
    install_host(&client.remote(), host, &files, ForeignPolicy::Refuse, &OsEntropy)
}

#[test]
fn a_line_that_breaks_before_or_at_the_login_is_tried_again() {
    need_root!();
    let scene = Scene::new();
    for breaks in [Break::AtOnce, Break::AtTheLogin] {
        let line = Line::to(&scene.host, 2, breaks);
        let outcome = scene.install_over(&line).unwrap();
        assert_eq!((outcome.attempts, line.connections()), (3, 3));
    }
    assert_eq!(scene.install_over(&Line::to(&scene.host, 0, Break::AtOnce)).unwrap().attempts, 1);
}

#[test]
fn as_often_as_was_asked_for_and_the_report_says_how_often() {
    need_root!();
    for (retries, breaks) in [(0, Break::AtOnce), (1, Break::AtTheLogin), (4, Break::AtOnce)] {
        let mut scene = Scene::new();
        scene.client.deadlines = Deadlines { retries, ..Deadlines::default() };
        let line = Line::to(&scene.host, 100, breaks);
        let error = scene.install_over(&line).unwrap_err();
        let attempts = retries + 1;
        assert_eq!((error.attempts(), line.connections()), (attempts, attempts as usize), "{error}");
        assert_eq!(error.to_string().ends_with(&format!("(tried {attempts} times)")), attempts > 1, "{error}");
    }
}

#[test]
fn a_line_that_breaks_once_the_script_is_under_way_is_the_hosts_result() {
    need_root!();
    let scene = Scene::new();
    let line = Line::to(&scene.host, 1, Break::After(6000));
    let error = scene.install_over(&line).unwrap_err();
    assert_eq!((error.code(), error.attempts(), line.connections()), ("connection_lost", 1, 1), "{error}");
    assert_eq!(error.retry_class(), RetryClass::Unavailable);
}

#[test]
fn a_refused_login_and_another_host_key_are_never_tried_again() {
    need_root!();
    let mut scene = Scene::new();
    let line = Line::to(&scene.host, 0, Break::AtOnce);
    scene.host.forget_authorized_keys();
    let error = scene.install_over(&line).unwrap_err();
    assert_eq!((error.code(), error.attempts(), line.connections()), ("auth_failed", 1, 1), "{error}");
    scene.host.replace_host_key();
    let known = std::fs::read_to_string(&scene.client.known_hosts).unwrap();
    let old = known.lines().last().unwrap().to_owned() + "\n";
    let line = Line::to(&scene.host, 0, Break::AtOnce);
    scene.client.trust(&old.replace(old.split(' ').next().unwrap(), &format!("[127.0.0.1]:{}", line.port)));
    let target = scene.client.host_at("flaky", "127.0.0.1", line.port, scene.host.user());
    let error = install(&scene.client, &target).unwrap_err();
    assert_eq!((error.code(), error.attempts(), line.connections()), ("host_key_changed", 1, 1), "{error}");
}

#[test]
fn a_host_that_refuses_is_tried_again_for_two_seconds_at_most() {
    let (mut host, mut client) = (TestHost::new("down"), Client::new());
    client.meet(&host);
    host.stop();
    let error = client.install(&host, &bundle()).unwrap_err();
    assert_eq!((error.code(), error.attempts()), ("connect_refused", 4), "{error}");
    assert!(error.to_string().ends_with("refused the connection (tried 4 times)"), "{error}");
    client.deadlines.retries = 10;
    let started = Instant::now();
    let error = client.install(&host, &bundle()).unwrap_err();
    assert!((4..11).contains(&error.attempts()), "{error}");
    // Ten pauses that double would be a hundred seconds.
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
}

#[test]
fn the_hosts_own_time_bounds_its_retries() {
    let (busy, mut client) = (Listener::start(Manner::HangUp), Client::new());
    client.deadlines = Deadlines { host: Duration::from_secs(1), retries: 10, ..Deadlines::default() };
    let error = install(&client, &client.host_at("busy", "127.0.0.1", busy.port, "root")).unwrap_err();
    assert_eq!(error.code(), "handshake_failed", "{error}");
    assert_eq!(error.attempts() as usize, busy.connections());
    assert!(error.attempts() <= 4, "{error}");
}

#[test]
fn a_host_that_comes_up_meanwhile_is_written() {
    need_root!();
    let mut scene = Scene::new();
    scene.client.deadlines = Deadlines { retries: 10, ..Deadlines::default() };
    // It listens, and drops every connection: one that waits fills it.
    let host = TestHost::builder("busy").sshd_option("MaxStartups 1:100:1").start();
    scene.client.meet(&host);
    let waiting = TcpStream::connect((host.address(), host.port())).unwrap();
    support::eventually("the waiting connection to be seen", || host.log().contains("Connection from").then_some(()));
    let outcome = thread::scope(|scope| {
        let install = scope.spawn(|| scene.client.install(&host, &bundle()));
        support::eventually("two drops", || (host.log().matches("drop connection").count() > 1).then_some(()));
        drop(waiting);
        install.join().unwrap()
    });
    assert!(outcome.unwrap().attempts > 2);
}
