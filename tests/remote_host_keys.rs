//! Host keys against real sshd: whatever is not known is refused before we prove who we are.
#![allow(clippy::unwrap_used, reason = "test code")]

mod support;

use kubemint::{
    inventory::Connection,
    remote::{Error, RetryClass},
};
use std::{fs, process::Command, sync::Arc};
use support::{Client, TestHost, files::bundle, require};

/// The host saw a connection, but neither a login nor a session, and holds nothing.
fn assert_untouched(host: &TestHost) {
    let log = host.log();
    assert!(log.contains("Connection from"), "{log}");
    for word in ["Accepted", "Starting session", "userauth", "Postponed", "Failed publickey", "authenticating user"] {
        assert!(!log.contains(word), "{word}: {log}");
    }
    assert!(!host.exists(&format!("{}/bootstrap.kubeconfig", host.directory())));
}

fn refused(client: &Client, host: &TestHost, code: &str) -> Error {
    host.authorize(&support::public_of(&client.identity_files[0]));
    let error = client.install(host, &bundle()).unwrap_err();
    assert_eq!(error.code(), code, "{error}");
    assert_eq!(error.retry_class(), RetryClass::Refused);
    assert!(!error.hint().to_lowercase().contains("accept"), "{}", error.hint());
    assert_untouched(host);
    error
}

fn fingerprint(public_key: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("key.pub");
    fs::write(&file, public_key).unwrap();
    let output = Command::new(require("ssh-keygen")).arg("-lf").arg(&file).output().unwrap();
    String::from_utf8(output.stdout).unwrap().split(' ').nth(1).unwrap().to_owned()
}

#[test]
fn an_unknown_key_is_refused_with_its_fingerprint_and_how_to_check_it() {
    let (host, client) = (TestHost::new("unknown"), Client::new());
    let error = refused(&client, &host, "host_key_unknown");
    let text = error.to_string();
    assert!(text.contains(&fingerprint(&host.public_keys()[0])) && text.contains("ssh-ed25519"), "{text}");
    assert!(error.hint().contains("ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub"), "{}", error.hint());
}

#[test]
fn a_changed_key_is_refused_loudly_and_the_line_is_named() {
    let (mut host, client) = (TestHost::new("changed"), Client::new());
    client.trust("# first line\n");
    client.trust(&host.known_hosts_lines());
    host.replace_host_key();
    let error = refused(&client, &host, "host_key_changed");
    let text = error.to_string();
    assert!(text.contains("HAS CHANGED") && text.contains(&format!("{}:2", client.known_hosts.display())), "{text}");
    assert!(text.contains(&fingerprint(&host.public_keys()[0])), "{text}");
}

#[test]
fn a_revoked_key_is_refused_although_it_is_also_known() {
    let (host, client) = (TestHost::new("revoked"), Client::new());
    client.trust(&host.known_hosts_lines());
    client.trust(&format!("@revoked * {}\n", host.public_keys()[0]));
    let error = refused(&client, &host, "host_key_revoked");
    assert!(error.to_string().contains(":2"), "{error}");
}

#[test]
fn a_certificate_authority_alone_is_refused_clearly() {
    let (host, client) = (TestHost::new("ca"), Client::new());
    client.trust(&format!("@cert-authority * {}\n", host.public_keys()[0]));
    let error = refused(&client, &host, "host_ca_unsupported");
    assert!(error.to_string().contains("@cert-authority"), "{error}");
}

#[test]
fn a_host_with_several_keys_is_asked_for_the_one_that_is_known() {
    for known in ["ssh-rsa", "ecdsa-sha2-nistp256", "ssh-ed25519"] {
        let host = TestHost::builder("several").host_keys(&["ed25519", "ecdsa", "rsa"]).start();
        let client = Client::new();
        let lines = host.known_hosts_lines();
        client.trust(lines.lines().find(|line| line.contains(known)).unwrap());
        host.authorize(&support::public_of(&client.identity_files[0]));
        let path = format!("{}/x", host.directory());
        client.install(&host, &[support::host_file(&path, "x")]).unwrap_or_else(|e| panic!("{known}: {e}"));
    }
}

#[test]
fn a_key_of_another_type_than_the_known_one_is_unknown_and_the_known_type_is_named() {
    let host = TestHost::builder("typed").host_keys(&["ed25519"]).start();
    let other = TestHost::builder("other").host_keys(&["ecdsa"]).start();
    let client = Client::new();
    client.trust(&format!("[{}]:{} {}\n", host.address(), host.port(), other.public_keys()[0]));
    let error = refused(&client, &host, "host_key_unknown");
    assert!(error.to_string().contains("known is ecdsa-sha2-nistp256 at"), "{error}");
}

#[test]
fn hashed_names_and_a_second_file_are_read() {
    let (host, mut client) = (TestHost::new("hashed"), Client::new());
    client.trust(&host.known_hosts_lines());
    let hashed = Command::new(require("ssh-keygen")).arg("-H").arg("-f").arg(&client.known_hosts).output().unwrap();
    assert!(hashed.status.success());
    assert!(!fs::read_to_string(&client.known_hosts).unwrap().contains(host.address()));
    host.authorize(&support::public_of(&client.identity_files[0]));
    let second = std::mem::replace(&mut client.known_hosts, "/nonexistent/known_hosts".into());
    let mut value = client.host(&host);
    let Connection::Ssh(target) = &mut value.connection else { unreachable!() };
    Arc::make_mut(&mut target.settings).known_hosts.push(second);
    let files = [support::host_file(&format!("{}/x", host.directory()), "x")];
    kubemint::remote::installer::install_host(
        &client.remote(),
        &value,
        &files,
        kubemint::remote::installer::ForeignPolicy::Refuse,
        &kubemint::entropy::OsEntropy,
    )
    .unwrap();
}

#[test]
fn an_unreadable_known_hosts_file_is_an_error_and_not_an_empty_one() {
    let (host, mut client) = (TestHost::new("x"), Client::new());
    client.known_hosts = "/".into();
    let error = client.install(&host, &bundle()).unwrap_err();
    assert_eq!((error.code(), error.retry_class()), ("known_hosts_unreadable", RetryClass::Misconfigured));
}
