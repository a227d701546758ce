//! User certificates against real sshd and ssh-agent.
#![allow(clippy::unwrap_used, reason = "test code")]

mod support;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};
use support::{Client, TestHost, files::bundle, public_of, require};

/// A host that lets in whom the CA has certified for its user, and the CA's key.
fn certified_host(client: &Client, more: &[&str]) -> (TestHost, PathBuf) {
    let ca = client.make_key("user-ca", &["-t", "ed25519", "-N", ""]);
    let trusts = format!("TrustedUserCAKeys {}.pub", ca.display());
    let builder = TestHost::builder("certified").sshd_option(&trusts);
    // The host has a /tmp of its own.
    let host = more.iter().fold(builder, |builder, line| builder.sshd_option(line)).start();
    host.write(&format!("{}.pub", ca.display()), &public_of(&ca));
    client.trust(&host.known_hosts_lines());
    (host, ca)
}

fn certify(ca: &Path, key: &Path, options: &[&str]) -> PathBuf {
    let mut command = Command::new(require("ssh-keygen"));
    let made = command.args(["-q", "-I", "tester", "-s"]).arg(ca).args(options).arg(format!("{}.pub", key.display()));
    assert!(made.output().unwrap().status.success());
    PathBuf::from(format!("{}-cert.pub", key.display()))
}

#[test]
fn a_certificate_beside_the_key_lets_us_in_for_every_kind_of_key() {
    for options in [
        &["-t", "ed25519", "-N", ""][..],
        &["-t", "ecdsa", "-b", "256", "-N", ""],
        &["-t", "ecdsa", "-b", "521", "-N", ""],
        &["-t", "rsa", "-b", "2048", "-N", ""],
        &["-t", "rsa", "-b", "2048", "-m", "PKCS8", "-N", ""],
    ] {
        let mut client = Client::new();
        let (host, ca) = certified_host(&client, &[]);
        let key = client.make_key("certified", options);
        certify(&ca, &key, &["-n", host.user()]);
        client.identity_files = vec![key];
        let path = format!("{}/x", host.directory());
        let files = [support::host_file(&path, "x")];
        client.install(&host, &files).unwrap_or_else(|e| panic!("{options:?} {e}\n{}", host.log()));
        assert!(host.log().contains("-CERT"), "{}", host.log());
        assert!(!host.log().contains("Failed publickey"), "the certificate goes first: {}", host.log());
    }
}

#[test]
fn a_certificate_that_does_not_count_is_refused_with_its_terms_and_the_plain_key_is_still_tried() {
    for (options, terms) in [
        (&["-n", "somebody-else"][..], "certificate for somebody-else, valid without end"),
        (&["-n", "@USER@", "-V", "20200101000000Z:20200102000000Z"], "until 2020-01-02T00:00:00Z"),
        (&["-n", "@USER@", "-V", "20900101000000Z:20910102000000Z"], "valid from 2090-01-01T00:00:00Z"),
    ] {
        let client = Client::new();
        let (host, ca) = certified_host(&client, &[]);
        let options: Vec<_> = options.iter().map(|word| if *word == "@USER@" { host.user() } else { *word }).collect();
        certify(&ca, &client.identity_files[0], &options);
        let error = client.install(&host, &bundle()).unwrap_err();
        assert_eq!(error.code(), "auth_failed");
        let text = error.to_string();
        assert!(text.contains(terms) && text.contains("id_ed25519-cert.pub"), "{text}");
        assert!(text.contains("id_ed25519 (refused)"), "{text}");
        host.authorize(&public_of(&client.identity_files[0]));
        let path = format!("{}/x", host.directory());
        client.install(&host, &[support::host_file(&path, "x")]).unwrap();
    }
}

#[test]
fn a_certificate_in_the_agent_lets_us_in_before_its_plain_key() {
    for kind in ["ed25519", "ecdsa"] {
        let mut client = Client::new();
        let (host, ca) = certified_host(&client, &["MaxAuthTries 1"]);
        let key = client.make_key("certified", &["-t", kind, "-N", ""]);
        certify(&ca, &key, &["-n", host.user()]);
        let other = client.make_key("other", &["-t", "ed25519", "-N", ""]);
        client.start_agent(&[&other, &key]);
        // Of an identity file that names the key alone, the agent's certificate is taken, and first.
        client.identity_files = vec![key.with_extension("pub")];
        fs::remove_file(&key).unwrap();
        let path = format!("{}/x", host.directory());
        let files = [support::host_file(&path, "x")];
        client.install(&host, &files).unwrap_or_else(|e| panic!("{kind} {e}\n{}", host.log()));
        assert!(host.log().contains("-CERT"), "{}", host.log());
    }
}

#[test]
fn an_rsa_certificate_in_the_agent_is_named_and_not_offered() {
    let mut client = Client::new();
    let (host, ca) = certified_host(&client, &[]);
    let key = client.make_key("certified", &["-t", "rsa", "-b", "2048", "-N", ""]);
    certify(&ca, &key, &["-n", host.user()]);
    client.start_agent(&[&key]);
    client.identity_files.clear();
    let error = client.install(&host, &bundle()).unwrap_err();
    assert!(error.to_string().contains("libssh2 cannot use RSA certificates of an agent"), "{error}");
    assert!(!host.log().contains("Accepted certificate"), "{}", host.log());
}

#[test]
fn a_file_that_is_no_certificate_is_passed_over() {
    let client = Client::new();
    let host = TestHost::new("plain");
    client.meet(&host);
    let beside = format!("{}-cert.pub", client.identity_files[0].display());
    let path = format!("{}/x", host.directory());
    for text in ["", "no certificate", "ssh-ed25519-cert-v01@openssh.com AAAA", &"x".repeat(100_000)] {
        fs::write(&beside, text).unwrap();
        client.install(&host, &[support::host_file(&path, "x")]).unwrap();
    }
}
