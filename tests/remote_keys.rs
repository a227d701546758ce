//! Encrypted private keys: opened once, before any host is reached, and then used like any other.
#![allow(clippy::unwrap_used, reason = "test code")]

mod support;

use kubemint::{
    entropy::OsEntropy,
    remote::{
        UnlockError,
        installer::{ForeignPolicy, install_host},
        ssh::LockedKeys,
    },
    secret::Secret,
};
use support::{Client, TestHost, host_file, public_of};

const PASSPHRASE: &str = "Vq7-pass-phrase-Xw2";

#[test]
fn an_encrypted_key_is_opened_once_and_logs_in_everywhere() {
    for options in [
        &["-t", "ed25519"][..],
        &["-t", "ed25519", "-Z", "aes256-gcm@openssh.com"],
        &["-t", "ed25519", "-Z", "chacha20-poly1305@openssh.com"],
        &["-t", "ecdsa", "-b", "384"],
        &["-t", "rsa", "-b", "2048"],
        &["-t", "rsa", "-b", "2048", "-m", "PKCS8"],
        &["-t", "ecdsa", "-m", "PKCS8"],
    ] {
        let mut client = Client::new();
        let key = client.make_key("locked", &[options, &["-N", PASSPHRASE]].concat());
        client.identity_files = vec![key.clone()];
        let hosts = [TestHost::new("one"), TestHost::new("two")];
        hosts.iter().for_each(|host| client.meet(host));
        let remote = client.remote();
        let values: Vec<_> = hosts.iter().map(|host| client.host(host)).collect();
        assert_eq!(remote.locked_keys(&values, LockedKeys::Needed), std::slice::from_ref(&key));
        let wrong = remote.unlock(&key, &Secret::from("another")).unwrap_err();
        assert_eq!(wrong, UnlockError::WrongPassphrase { path: key.clone() });
        remote.unlock(&key, &Secret::from(PASSPHRASE)).unwrap();
        assert!(remote.locked_keys(&values, LockedKeys::All).is_empty());
        // Not read again: the file may go.
        std::fs::remove_file(&key).unwrap();
        for (host, value) in hosts.iter().zip(&values) {
            let files = [host_file(&format!("{}/x", host.directory()), "x")];
            let result = install_host(&remote, value, &files, ForeignPolicy::Refuse, &OsEntropy);
            result.unwrap_or_else(|e| panic!("{options:?}: {e}\n{}", host.log()));
        }
    }
}

#[test]
fn a_key_that_the_agent_holds_is_asked_for_by_nobody() {
    for format in ["RFC4716", "PKCS8"] {
        let mut client = Client::new();
        let key = client.make_key("locked", &["-t", "ecdsa", "-m", format, "-N", ""]);
        client.start_agent(&[&key]);
        let lock = std::process::Command::new(support::require("ssh-keygen"))
            .args(["-q", "-p", "-m", format, "-P", "", "-N", PASSPHRASE, "-f"])
            .arg(&key)
            .output();
        assert!(lock.unwrap().status.success());
        client.identity_files = vec![key.clone()];
        let host = TestHost::new("x");
        host.authorize(&public_of(&key));
        client.trust(&host.known_hosts_lines());
        assert!(client.remote().locked_keys([&client.host(&host)], LockedKeys::Needed).is_empty(), "{format}");
        client.install(&host, &[host_file(&format!("{}/x", host.directory()), "x")]).unwrap();
        client.agent = None;
        assert_eq!(client.remote().locked_keys([&client.host(&host)], LockedKeys::Needed), [key]);
        let error = client.install(&host, &support::files::bundle()).unwrap_err();
        assert_eq!(error.code(), "key_encrypted");
        assert!(error.hint().contains("--key-passphrase-file"), "{}", error.hint());
    }
}

#[test]
fn the_usual_keys_are_asked_for_only_where_nothing_else_logs_in() {
    let mut client = Client::new();
    let home = client.known_hosts.parent().unwrap().join(".ssh");
    std::fs::create_dir(&home).unwrap();
    let locked = client.make_key(".ssh/id_ed25519", &["-t", "ed25519", "-N", PASSPHRASE]);
    client.identity_files.clear();
    let host = TestHost::new("x");
    let value = client.host(&host);
    let asked = |client: &Client, which| client.remote().locked_keys([&value], which);
    assert_eq!(asked(&client, LockedKeys::Needed), std::slice::from_ref(&locked));
    client.password = Some(kubemint::remote::Password::new(Secret::from("x")));
    assert!(asked(&client, LockedKeys::Needed).is_empty());
    client.password = None;
    client.make_key(".ssh/id_rsa", &["-t", "rsa", "-b", "2048", "-N", ""]);
    assert!(asked(&client, LockedKeys::Needed).is_empty());
    assert_eq!(asked(&client, LockedKeys::All), [locked]);
}

#[test]
fn the_old_pem_encryption_is_refused_with_the_way_out() {
    let client = Client::new();
    let key = client.make_key("old", &["-t", "rsa", "-b", "2048", "-m", "PEM", "-N", PASSPHRASE]);
    let error = client.remote().unlock(&key, &Secret::from(PASSPHRASE)).unwrap_err();
    assert_eq!(error.code(), "key_unsupported");
    // The hint works.
    assert!(error.hint().contains(&format!("ssh-keygen -p -f {}", key.display())), "{}", error.hint());
    let rewrite = std::process::Command::new(support::require("ssh-keygen"))
        .args(["-q", "-p", "-P", PASSPHRASE, "-N", PASSPHRASE, "-f"])
        .arg(&key)
        .output();
    assert!(rewrite.unwrap().status.success());
    client.remote().unlock(&key, &Secret::from(PASSPHRASE)).unwrap();
}
