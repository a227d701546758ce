//! Logins and sudo against real sshd, ssh-agent and sudo.
#![allow(clippy::unwrap_used, reason = "test code")]

mod support;

use kubemint::{inventory::Privilege, remote::RetryClass};
use std::{
    io::{self, Write},
    path::PathBuf,
    sync::{Arc, Mutex, Once},
};
use support::{Client, TestHost, files::bundle, host_file, public_of};

fn assert_logs_in(client: &Client, host: &TestHost) {
    let path = format!("{}/x", host.directory());
    client.install(host, &[host_file(&path, "x")]).unwrap_or_else(|e| panic!("{e}"));
}

/// Trusts the host, and the host trusts only `key`.
fn meet_with(client: &Client, host: &TestHost, key: &std::path::Path) {
    client.trust(&host.known_hosts_lines());
    host.forget_authorized_keys();
    host.authorize(&public_of(key));
}

fn four_keys(client: &Client) -> Vec<PathBuf> {
    (0..4)
        .map(|n| client.make_key(&format!("agent{n}"), &["-t", "ed25519", "-N", "", "-C", &format!("agent-{n}")]))
        .collect()
}

#[test]
fn every_kind_of_key_file_logs_in() {
    for options in [
        &["-t", "ed25519", "-N", ""][..],
        &["-t", "ecdsa", "-b", "384", "-N", ""],
        &["-t", "rsa", "-b", "2048", "-N", ""],
        &["-t", "rsa", "-b", "2048", "-m", "PEM", "-N", ""],
        &["-t", "ecdsa", "-m", "PKCS8", "-N", ""],
    ] {
        let (host, mut client) = (TestHost::new("keys"), Client::new());
        client.identity_files = vec![client.make_key("key", options)];
        meet_with(&client, &host, &client.identity_files[0]);
        assert_logs_in(&client, &host);
    }
}

#[test]
fn a_refused_key_is_named_and_not_tried_again() {
    let (host, client) = (TestHost::new("refuses"), Client::new());
    client.trust(&host.known_hosts_lines());
    let error = client.install(&host, &bundle()).unwrap_err();
    assert_eq!((error.code(), error.retry_class()), ("auth_failed", RetryClass::Refused));
    let text = error.to_string();
    assert!(text.contains("id_ed25519 (refused)") && text.contains("no agent identities"), "{text}");
    assert_eq!(host.log().matches("Connection from").count(), 1);
    assert!(!host.log().contains("Starting session"));
}

#[test]
fn the_configured_key_comes_before_a_crowded_agent() {
    let host = TestHost::builder("strict").sshd_option("MaxAuthTries 2").start();
    let mut client = Client::new();
    client.meet(&host);
    let keys = four_keys(&client);
    client.start_agent(&keys.iter().map(PathBuf::as_path).collect::<Vec<_>>());
    assert_logs_in(&client, &host);
}

#[test]
fn every_identity_of_the_agent_is_tried_and_not_just_the_first() {
    let (host, mut client) = (TestHost::new("agent"), Client::new());
    let keys = four_keys(&client);
    client.start_agent(&keys.iter().map(PathBuf::as_path).collect::<Vec<_>>());
    client.identity_files.clear();
    meet_with(&client, &host, &keys[3]);
    // The usual key file of the home directory is there too, and refused.
    let home_key = client.known_hosts.with_file_name(".ssh");
    std::fs::create_dir(&home_key).unwrap();
    std::fs::copy(client.known_hosts.with_file_name("id_ed25519"), home_key.join("id_ed25519")).unwrap();
    assert_logs_in(&client, &host);
}

#[test]
fn an_rsa_key_in_the_agent_logs_in() {
    let (host, mut client) = (TestHost::new("agent"), Client::new());
    let key = client.make_key("rsa", &["-t", "rsa", "-b", "2048", "-N", ""]);
    client.start_agent(&[&key]);
    client.identity_files.clear();
    meet_with(&client, &host, &key);
    assert_logs_in(&client, &host);
}

#[test]
fn the_usual_key_files_are_tried_where_none_is_named() {
    let (host, mut client) = (TestHost::new("usual"), Client::new());
    client.meet(&host);
    let home = client.known_hosts.parent().unwrap().to_owned();
    std::fs::create_dir(home.join(".ssh")).unwrap();
    std::fs::rename(home.join("id_ed25519"), home.join(".ssh/id_ed25519")).unwrap();
    client.identity_files.clear();
    assert_logs_in(&client, &host);
}

#[test]
fn a_server_that_ends_the_login_after_too_many_keys_is_reported_with_what_was_tried() {
    let host = TestHost::builder("strict").sshd_option("MaxAuthTries 2").start();
    let mut client = Client::new();
    let keys = four_keys(&client);
    client.start_agent(&keys.iter().map(PathBuf::as_path).collect::<Vec<_>>());
    client.identity_files.clear();
    meet_with(&client, &host, &keys[3]);
    let error = client.install(&host, &bundle()).unwrap_err();
    assert_eq!(error.code(), "auth_failed");
    assert!(error.to_string().contains("agent-0") && error.to_string().contains("MaxAuthTries"), "{error}");
    assert_eq!(host.log().matches("Connection from").count(), 1, "{}", host.log());
}

#[test]
fn an_encrypted_key_needs_the_agent_and_is_then_offered_first() {
    let host = TestHost::builder("strict").sshd_option("MaxAuthTries 1").start();
    let mut client = Client::new();
    let open = client.identity_files[0].clone();
    let locked = client.make_key("locked", &["-t", "ed25519", "-N", ""]);
    let others = four_keys(&client);
    let mut held: Vec<_> = others.iter().map(PathBuf::as_path).collect();
    held.push(&locked);
    client.start_agent(&held);
    let lock = std::process::Command::new("ssh-keygen")
        .args(["-q", "-p", "-P", "", "-N", "secret", "-f"])
        .arg(&locked)
        .output();
    assert!(lock.unwrap().status.success());
    client.identity_files = vec![locked.clone()];
    meet_with(&client, &host, &locked);
    assert_logs_in(&client, &host);
    // The public half alone names an identity too.
    client.identity_files = vec![locked.with_extension("pub")];
    assert_logs_in(&client, &host);

    client.agent = None;
    client.identity_files = vec![locked, open];
    let host = TestHost::new("lenient");
    client.trust(&host.known_hosts_lines());
    let error = client.install(&host, &bundle()).unwrap_err();
    assert_eq!((error.code(), error.retry_class()), ("key_encrypted", RetryClass::Misconfigured));
    assert!(error.hint().contains("ssh-add"), "{}", error.hint());
    // A key that works makes up for one that does not.
    host.authorize(&public_of(&client.identity_files[1]));
    assert_logs_in(&client, &host);
}

#[test]
fn a_key_file_that_cannot_be_read_is_named() {
    let (host, mut client) = (TestHost::new("x"), Client::new());
    client.trust(&host.known_hosts_lines());
    for bad in ["/nonexistent/key", "/etc/hostname", "/"] {
        client.identity_files = vec![bad.into()];
        let error = client.install(&host, &bundle()).unwrap_err();
        assert_eq!(error.code(), "key_unreadable", "{error}");
        assert!(error.to_string().contains(bad), "{error}");
    }
}

#[test]
fn no_key_at_all_is_said_plainly() {
    let (host, mut client) = (TestHost::new("x"), Client::new());
    client.trust(&host.known_hosts_lines());
    client.identity_files.clear();
    let error = client.install(&host, &bundle()).unwrap_err();
    assert_eq!(error.code(), "auth_failed");
    assert!(error.to_string().contains("no key file, no agent identities"), "{error}");
}

fn sudo_host(sudoers: Option<&'static str>) -> (TestHost, Client) {
    let host = TestHost::builder("sudo").user("kmtest", sudoers).start();
    let mut client = Client::new();
    client.privilege = Privilege::Sudo;
    client.meet(&host);
    (host, client)
}

#[test]
fn sudo_installs_as_root() {
    need_root!();
    let (host, client) = sudo_host(Some("kmtest ALL=(ALL) NOPASSWD: ALL"));
    client.install(&host, &bundle()).unwrap();
    for file in bundle() {
        assert_eq!(host.attributes(&file.path), (0o600, 0, 0));
    }
    let (host, client) = sudo_host(Some("kmtest ALL=(ALL) NOPASSWD: ALL"));
    host.must("sed -i 's|^\\(kmtest:.*\\):[^:]*$|\\1:/usr/bin/fish|' /etc/passwd");
    client.install(&host, &bundle()).unwrap();
}

#[test]
fn sudo_that_gives_no_root_shell_is_reported_in_its_own_words() {
    need_root!();
    for (sudoers, said) in [
        (Some("kmtest ALL=(ALL) ALL"), "password"),
        (Some("Defaults requiretty\nkmtest ALL=(ALL) NOPASSWD: ALL"), "tty"),
        (Some("root ALL=(ALL) ALL"), "password"),
    ] {
        let (host, client) = sudo_host(sudoers);
        let error = client.install(&host, &bundle()).unwrap_err();
        assert_eq!((error.code(), error.retry_class()), ("become_failed", RetryClass::HostFault), "{error}");
        assert!(error.to_string().contains(said), "{error}");
        assert!(error.hint().contains("NOPASSWD"), "{}", error.hint());
        assert!(!host.exists("/etc/kubernetes/token.csv"));
    }
}

#[test]
fn missing_sudo_is_told_from_a_missing_shell() {
    need_root!();
    let (host, client) = sudo_host(None);
    host.must("mkdir /home/kmtest/bin && ln -s /bin/sh /home/kmtest/bin/sh");
    host.write("/home/kmtest/.bashrc", "PATH=/home/kmtest/bin\n");
    let error = client.install(&host, &bundle()).unwrap_err();
    assert_eq!(error.code(), "become_failed", "{error}");
    host.must("sed -i 's|^\\(kmtest:.*\\):[^:]*$|\\1:/usr/sbin/nologin|' /etc/passwd");
    assert_eq!(client.install(&host, &bundle()).unwrap_err().code(), "shell_unusable");
}

#[test]
fn an_ordinary_user_without_sudo_is_refused_by_the_directory() {
    need_root!();
    let (host, mut client) = sudo_host(None);
    client.privilege = Privilege::AsLoggedIn;
    let before = host.tree_hash("/etc/kubernetes");
    let error = client.install(&host, &bundle()).unwrap_err();
    assert_eq!(error.code(), "permission_denied", "{error}");
    assert!(error.hint().contains("sudo"), "{}", error.hint());
    assert_eq!(host.tree_hash("/etc/kubernetes"), before);
}

/// What the log says at `level` and above while `work` runs.
fn logged(level: tracing::Level, work: impl FnOnce()) -> String {
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);
    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    // A listener on every thread, so that none of them can decide that nobody listens (tracing remembers that).
    static EVERYWHERE: Once = Once::new();
    EVERYWHERE.call_once(|| {
        let nowhere = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(io::sink);
        tracing::subscriber::set_global_default(nowhere.finish()).unwrap();
    });
    let lines = Lines::default();
    let writer = lines.clone();
    let log = tracing_subscriber::fmt().with_max_level(level).with_ansi(false).with_target(false).without_time();
    tracing::subscriber::with_default(log.with_writer(move || writer.clone()).finish(), work);
    String::from_utf8(lines.0.lock().unwrap().clone()).unwrap()
}

#[test]
fn the_log_tells_each_step_of_a_login_and_no_secret() {
    let (host, mut client) = (TestHost::new("logs"), Client::new());
    client.meet(&host);
    let stranger = client.make_key("stranger", &["-t", "ecdsa", "-N", ""]);
    client.identity_files.insert(0, stranger);
    client.identity_files.insert(0, "/nonexistent/key".into());
    let secret = format!("{:x}", rand::random::<u128>() | 1 << 127);
    let install = || {
        let path = format!("{}/x", host.directory());
        client.install(&host, &[host_file(&path, &secret)]).unwrap();
    };
    let endpoint = format!("{}:{}", host.address(), host.port());
    let key = client.identity_files[2].display().to_string();
    let login = format!("logged in to {endpoint} as {} with {key}", host.user());
    let brief = logged(tracing::Level::INFO, install);
    assert_eq!(brief.lines().map(str::trim).collect::<Vec<_>>(), [format!("INFO {login}")]);
    let full = logged(tracing::Level::DEBUG, install);
    for step in [
        &format!("{endpoint}: connected to {endpoint} after "),
        &format!("{endpoint}: greets with \"SSH-2.0-OpenSSH_"),
        "agreed on curve25519-sha256",
        "the host key ssh-ed25519 SHA256:",
        &format!("is the one at {}:", client.known_hosts.display()),
        "/nonexistent/key is not usable: No such file",
        "stranger",
        &login,
        "started `sh -s`",
        " bytes sent",
        " bytes received",
        "ended with Status(0)",
    ] {
        assert!(full.contains(step), "{step}: {full}");
    }
    assert!(!full.contains(&secret) && !full.contains("PRIVATE"), "{full}");
}

#[test]
fn the_log_names_the_agent_s_keys() {
    let (host, mut client) = (TestHost::new("logs"), Client::new());
    let keys = four_keys(&client);
    client.start_agent(&keys.iter().map(PathBuf::as_path).collect::<Vec<_>>());
    client.identity_files.clear();
    meet_with(&client, &host, &keys[1]);
    let log = logged(tracing::Level::DEBUG, || assert_logs_in(&client, &host));
    for step in ["the agent holds 4 keys", "is refused with agent identity agent-0", "with agent identity agent-1"] {
        assert!(log.contains(step), "{step}: {log}");
    }
}
