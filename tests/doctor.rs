//! `kubemint doctor` on the real binary: real sshd hosts, a real TLS server where an apiserver would be.
#![allow(clippy::unwrap_used, reason = "test code")]

mod support;

use rustix::net::{AddressFamily, SocketType, bind, listen, socket};
use serde_json::Value;
use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    time::Duration,
};
use support::{Fleet, Member, TestEnv, TestHost, eventually, host_of, require, shells};

const SERVICES: &str = "[services]\nkubelet = \"systemctl restart kubelet\"\nkube-proxy = \"systemctl restart kube-proxy\"\n\
                        kube-apiserver = \"systemctl restart kube-apiserver\"\n";

/// One check of one host of a document.
#[track_caller]
fn check<'a>(document: &'a Value, host: &str, name: &str) -> &'a Value {
    named(&host_of(document, host)["checks"], name)
}

#[track_caller]
fn named<'a>(checks: &'a Value, name: &str) -> &'a Value {
    let found = checks.as_array().unwrap().iter().find(|check| check["check"] == name);
    found.unwrap_or_else(|| panic!("no check {name}: {checks:#}"))
}

#[track_caller]
fn assert_check(document: &Value, host: &str, name: &str, status: &str, words: &str) {
    let found = check(document, host, name);
    let told = found["detail"].as_str().unwrap();
    assert!(found["status"] == status && told.contains(words), "{name} should be {status} with {words:?}: {found:#}");
    assert_eq!(found["hint"].is_string(), matches!(status, "warn" | "fail"), "{found:#}");
}

/// Puts a server of the test's own into the inventory, and these lines at its end.
fn point_to(fleet: &Fleet, server: &str, more: &str) {
    let text = fleet.env.read("inventory.toml").replace("https://172.20.0.113:6443", server);
    fleet.env.write("inventory.toml", text.replacen("[ssh]", &format!("{more}[ssh]"), 1));
}

/// A TLS server with a certificate of this CA; ended when dropped.
struct TlsServer {
    child: Child,
    port: u16,
}

impl TlsServer {
    fn start(env: &TestEnv, ca: &str, ca_key: &str, names: &str) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        env.write("tls/ext", format!("subjectAltName={names}\n"));
        let script = format!(
            "openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout tls/key.pem -out tls/csr.pem -subj /CN=api && \
             openssl x509 -req -in tls/csr.pem -CA {ca} -CAkey {ca_key} -set_serial 7 -days 2 -extfile tls/ext -out tls/cert.pem"
        );
        let made = Command::new("sh").args(["-c", &script]).current_dir(env.dir()).output().unwrap();
        assert!(made.status.success(), "{made:?}");
        let child = Command::new(require("openssl"))
            .args(["s_server", "-www", "-cert", "tls/cert.pem", "-key", "tls/key.pem", "-accept"])
            .arg(format!("127.0.0.1:{port}"))
            .current_dir(env.dir())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        eventually("the TLS server to listen", || TcpStream::connect(("127.0.0.1", port)).ok());
        Self { child, port }
    }

    fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }
}

impl Drop for TlsServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn make_foreign_ca(env: &TestEnv) {
    let script = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout other-key.pem -out other.pem \
                  -days 3 -subj /CN=other";
    let made = Command::new("sh").args(["-c", script]).current_dir(env.dir()).output().unwrap();
    assert!(made.status.success(), "{made:?}");
}

#[test]
fn hosts_in_order_pass_before_and_after_generate_and_nothing_changes_there() {
    let fleet = Fleet::new(vec![
        Member::new(TestHost::builder("cp-1")).roles(&["control-plane", "node"]),
        Member::new(TestHost::builder("node-1")),
    ]);
    fleet.hosts.iter().for_each(|host| host.must(&format!("mkdir -p {}", host.directory())));
    let before = fleet.tree_hashes();
    let (code, document) = fleet.json(&["doctor", "--skip", "apiserver"]);
    assert_eq!(code, 0, "{document:#}");
    assert_eq!((&document["schema"], &document["version"]), (&"kubemint/doctor".into(), &1.into()));
    assert_eq!(document["ok"], true);
    assert_check(&document, "cp-1", "credentials", "skipped", "nothing was generated");
    assert_check(&document, "cp-1", "apiserver", "skipped", "--skip");
    assert_eq!(named(&document["machine"], "stored-credentials")["status"], "skipped");
    assert!(!fleet.env.path("state").exists(), "doctor makes nothing here either");
    fleet.env.ok(&["generate"]);
    let state = fleet.env.tree_hash("state");
    let server = TlsServer::start(&fleet.env, "state/ca.pem", "state/ca-key.pem", "IP:127.0.0.1");
    point_to(&fleet, &server.url(), "");
    fleet.env.ok(&["generate"]);
    let state = if state == fleet.env.tree_hash("state") { state } else { fleet.env.tree_hash("state") };
    let (code, document) = fleet.json(&["doctor"]);
    assert_eq!(code, 0, "{document:#}");
    for host in ["cp-1", "node-1"] {
        assert_check(&document, host, "apiserver", "ok", "its certificate is of our CA");
        assert_check(&document, host, "directory", "ok", "is safe");
        assert_check(&document, host, "tools", "ok", "sha256sum");
        assert_check(&document, host, "space", "ok", "free");
        assert_check(&document, host, "clock", "ok", "+0 s");
        assert_check(&document, host, "file-system", "ok", "read-write");
        assert_check(&document, host, "units", "skipped", "[services]");
        // An ordinary user is told whose the files would be.
        let status = if fleet.hosts[0].user() == "root" { "ok" } else { "warn" };
        assert_eq!(host_of(&document, host)["status"], status);
    }
    assert_eq!(fleet.tree_hashes(), before);
    assert_eq!(fleet.env.tree_hash("state"), state);
    let ran = fleet.run(&["doctor"]).expect(0);
    let sum = if fleet.hosts[0].user() == "root" { "2 ok, 0 with warnings" } else { "0 ok, 2 with warnings" };
    ran.says(&["cp-1", "node-1", &format!("2 hosts: {sum}, 0 would fail")]);
    fleet.run(&["doctor", "-v"]).expect(0).says(&["leftovers", "file-system", "descriptors"]);
}

#[test]
fn one_login_each_and_no_secret_in_any_answer() {
    let fleet = Fleet::of_nodes(2);
    fleet.env.ok(&["apply"]);
    let logins = |fleet: &Fleet| -> Vec<usize> {
        fleet.hosts.iter().map(|host| host.log().matches("Accepted publickey").count()).collect()
    };
    let before = logins(&fleet);
    let ran = fleet.run(&["doctor", "-vv", "-o", "json", "--skip", "apiserver"]).expect(0);
    let after = logins(&fleet);
    assert_eq!(after, before.iter().map(|n| n + 1).collect::<Vec<_>>());
    fleet.env.assert_no_secret(&ran.stdout);
    fleet.env.assert_no_secret(&ran.stderr);
}

#[test]
fn local_hosts_are_examined_too_and_limit_holds() {
    let env = TestEnv::with_local_hosts();
    let (code, document) = env.json(&["doctor", "--skip", "apiserver", "--limit", "node-*"]);
    assert_eq!(code, 0, "{document:#}");
    let names: Vec<_> = document["hosts"].as_array().unwrap().iter().map(|host| &host["name"]).collect();
    assert_eq!(names, ["node-1", "node-2"]);
    assert_check(&document, "node-1", "login", "skipped", "this machine");
    assert_check(&document, "node-1", "directory", "ok", "would be made");
    assert_eq!(named(&document["machine"], "known-hosts")["status"], "skipped");
    assert!(!env.path("hosts").exists() && !env.path("state").exists());
}

#[test]
fn every_shell_answers_the_same() {
    need_root!();
    let fleet = Fleet::of_nodes(1);
    let (_, plain) = fleet.json(&["doctor", "--skip", "apiserver"]);
    let details = |document: &Value, name: &str| check(document, "node-01", name)["detail"].clone();
    for shell in shells() {
        let words = [&[&*fleet.hosts[0].bring(&require(shell[0]))], &shell[1..]].concat().join(" ");
        let script = format!("#!{}\nexec {words} \"$@\"\n", require("bash").display());
        fleet.hosts[0].write("/root/bin/sh", &script);
        fleet.hosts[0].must("chmod 755 /root/bin/sh");
        fleet.hosts[0].write("/root/.bashrc", "PATH=/root/bin:$PATH\n");
        let (code, document) = fleet.json(&["doctor", "--skip", "apiserver"]);
        assert_eq!(code, 0, "{shell:?}: {document:#}");
        for name in ["become", "tools", "directory", "targets", "file-system", "leftovers"] {
            assert_eq!(details(&document, name), details(&plain, name), "{shell:?}");
        }
    }
}

#[test]
fn the_apiserver_is_told_apart_by_what_answers_there() {
    let fleet = Fleet::of_nodes(1);
    make_foreign_ca(&fleet.env);
    fleet.env.ok(&["generate"]);
    let own = ("state/ca.pem", "state/ca-key.pem");
    let other = TlsServer::start(&fleet.env, "other.pem", "other-key.pem", "IP:127.0.0.1");
    let misnamed = TlsServer::start(&fleet.env, own.0, own.1, "IP:127.0.0.2,DNS:elsewhere");
    let plain = TcpListener::bind("127.0.0.1:0").unwrap();
    let plain_port = plain.local_addr().unwrap().port();
    std::thread::spawn(move || {
        plain.incoming().for_each(|stream| drop(std::io::Write::write_all(&mut stream.unwrap(), b"hello\n")));
    });
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let hole = BlackHole::new();
    let original = fleet.env.read("inventory.toml");
    for (server, words) in [
        (other.url(), "other CA"),
        (misnamed.url(), "not for that address"),
        (format!("https://127.0.0.1:{plain_port}"), "no TLS"),
        (format!("https://127.0.0.1:{closed}"), "refused"),
        (format!("https://127.0.0.1:{}", hole.port), "timeout"),
        ("https://nowhere.invalid:6443".to_owned(), "name is not resolved"),
    ] {
        fleet.env.write("inventory.toml", original.replace("https://172.20.0.113:6443", &server));
        let (code, document) = fleet.json(&["doctor"]);
        assert_eq!(code, 6, "{document:#}");
        assert_check(&document, "node-01", "apiserver", "fail", words);
        assert_eq!(fleet.json(&["doctor", "--skip", "apiserver"]).0, 0, "{words}");
    }
}

/// A port whose queue is full: a connection is neither made nor refused.
struct BlackHole {
    port: u16,
    _socket: rustix::fd::OwnedFd,
    _waiting: Vec<TcpStream>,
}

impl BlackHole {
    fn new() -> Self {
        let hole = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        bind(&hole, &"127.0.0.1:0".parse::<SocketAddr>().unwrap()).unwrap();
        listen(&hole, 0).unwrap();
        let local = rustix::net::getsockname(&hole).unwrap();
        let address = SocketAddr::try_from(local).unwrap();
        let mut waiting = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(300)) {
            waiting.push(stream);
        }
        Self { port: address.port(), _socket: hole, _waiting: waiting }
    }
}

#[test]
fn any_program_of_the_host_will_do_to_reach_the_apiserver() {
    need_root!();
    ["curl", "wget"].iter().for_each(|program| drop(require(program)));
    let fleet = Fleet::of_nodes(1);
    let host = &fleet.hosts[0];
    fleet.env.ok(&["generate"]);
    let server = TlsServer::start(&fleet.env, "state/ca.pem", "state/ca-key.pem", "IP:127.0.0.1");
    let original = fleet.env.read("inventory.toml");
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    // A PATH with nothing but what is linked there: the installer's tools, and one that can dial.
    let base = "cat chgrp chmod chown date df id ln ls mkdir mv rm sync sha256sum lsattr sh timeout";
    let reach = |dialler: &str, tls: &str| {
        host.must(&format!(
            "rm -rf /opt-bin /mnt/bin; mkdir /mnt/bin; for t in {base} {dialler} {tls}; do p=$(command -v $t) && ln -s $p /mnt/bin/$t; done"
        ));
        // The script puts the usual places behind PATH: they are hidden from this shell.
        host.write(
            "/mnt/bin-sh",
            "#!/bin/dash\nsed 's|/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin|/mnt/bin|' | PATH=/mnt/bin exec /bin/dash -s\n",
        );
        host.must("chmod 755 /mnt/bin-sh && mkdir -p /root/bin && ln -sf /mnt/bin-sh /root/bin/sh");
        host.write("/root/.bashrc", "PATH=/root/bin:$PATH\n");
    };
    for (dialler, tls, words) in [
        ("bash", "openssl", "of our CA"),
        ("curl", "", "of our CA"),
        ("openssl", "", "of our CA"),
        ("python3", "", "certificate not checked"),
        ("wget", "", "certificate not checked"),
    ] {
        reach(dialler, tls);
        fleet.env.write("inventory.toml", original.replace("https://172.20.0.113:6443", &server.url()));
        let (_, document) = fleet.json(&["doctor"]);
        assert_check(&document, "node-01", "apiserver", "ok", words);
        let refused = format!("https://127.0.0.1:{closed}");
        fleet.env.write("inventory.toml", original.replace("https://172.20.0.113:6443", &refused));
        assert_check(&fleet.json(&["doctor"]).1, "node-01", "apiserver", "fail", "refused");
    }
    reach("", "");
    let (_, document) = fleet.json(&["doctor"]);
    assert_check(&document, "node-01", "apiserver", "skipped", "could tell");
}

#[test]
fn units_are_asked_by_role_and_named_when_they_are_not_there() {
    need_root!();
    let fleet = Fleet::new(vec![
        Member::new(TestHost::builder("cp-1")).roles(&["control-plane"]),
        Member::new(TestHost::builder("node-1")),
        Member::new(TestHost::builder("bare-1")),
    ]);
    point_to(&fleet, "https://172.20.0.113:6443", SERVICES);
    let fake = "#!/bin/sh\n\
        [ \"$1 $2 $3\" = 'show -p LoadState' ] || exit 99\n\
        for unit; do :; done\n\
        case $unit in\n\
          kube-proxy) printf 'LoadState=not-found\\nActiveState=inactive\\nUnitFileState=\\n' ;;\n\
          kubelet | kube-apiserver) printf 'LoadState=loaded\\nActiveState=active\\nUnitFileState=enabled\\n' ;;\n\
          *) exit 1 ;;\n\
        esac\n";
    for host in &fleet.hosts[..2] {
        host.must("mkdir -p /run/systemd/system");
    }
    for host in &fleet.hosts {
        // In front of the machine's own, which a container may not have.
        host.write("/root/bin/systemctl", fake);
        host.write("/root/.bashrc", "PATH=/root/bin:$PATH\n");
        host.must("chmod 755 /root/bin/systemctl");
    }
    let (code, document) = fleet.json(&["doctor", "--skip", "apiserver"]);
    assert_eq!(code, 6);
    assert_check(&document, "cp-1", "units", "ok", "kube-apiserver active, enabled");
    assert_check(&document, "node-1", "units", "fail", "kubelet active, enabled; kube-proxy is not-found");
    assert_check(&document, "bare-1", "units", "skipped", "systemd does not run the host");
    let text = fleet.env.read("inventory.toml");
    fleet.env.write("inventory.toml", text.replace("systemctl restart kube", "service restart kube"));
    let (code, document) = fleet.json(&["doctor", "--skip", "apiserver"]);
    assert_eq!(code, 0, "{document:#}");
    assert_check(&document, "node-1", "units", "skipped", "is not `systemctl restart UNIT`");
}

#[test]
fn an_unknown_check_is_bad_usage_and_asks_no_host() {
    let fleet = Fleet::of_nodes(1);
    fleet.run(&["doctor", "--skip", "apiservr"]).expect(2).says(&["apiservr", "the checks are connection"]);
    assert!(!fleet.hosts[0].log().contains("Connection from"));
}

#[test]
fn a_thousand_hosts_are_told_by_those_that_need_attention() {
    let text = support::LOCAL_HOSTS.replace("[1-2]", "[001-120]");
    let env = TestEnv::with_inventory(&text);
    env.write("hosts/node-007/etc/kubernetes/bootstrap.kubeconfig/x", "a directory");
    let ran = env.run(&["doctor", "--skip", "apiserver", "-q"]).expect(6);
    let rows = ran.stdout.lines().filter(|line| line.starts_with("node-")).count();
    assert_eq!(rows, 1, "{}", ran.stdout);
    ran.says(&["node-007        fail  targets", "121 hosts: 120 ok, 0 with warnings, 1 would fail"]);
}
