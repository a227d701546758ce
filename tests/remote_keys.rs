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
use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command};
use support::{Client, Fleet, TestHost, host_file, public_of, require};

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

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// OpenSSH's own judgement.
fn ssh_takes(key: &Path) -> bool {
    let output = Command::new(require("ssh-keygen")).args(["-y", "-P", "", "-f"]).arg(key).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() != said.contains("UNPROTECTED PRIVATE KEY FILE"), "{said}");
    output.status.success()
}

#[test]
fn a_key_that_others_may_use_is_ignored_where_ssh_ignores_it() {
    let client = Client::new();
    let key = client.identity_files[0].clone();
    let host = TestHost::new("x");
    client.meet(&host);
    let files = [host_file(&format!("{}/x", host.directory()), "x")];
    for mode in [0o600, 0o644, 0o400, 0o640, 0o604, 0o610, 0o700, 0o666, 0o601] {
        chmod(&key, mode);
        let result = client.install(&host, &files);
        assert_eq!(result.is_ok(), ssh_takes(&key), "{mode:o}: {result:?}");
        if let Err(error) = result {
            assert_eq!(error.code(), "key_open_to_others");
            assert!(error.to_string().contains(&format!("{mode:04o}")), "{error}");
            assert!(error.hint().contains(&format!("chmod 600 {}", key.display())), "{}", error.hint());
        }
    }
    // Of somebody else's key ssh judges no mode: who may read it is not for us to say.
    if rustix::process::geteuid().is_root() {
        chmod(&key, 0o644);
        std::os::unix::fs::chown(&key, Some(65432), None).unwrap();
        assert!(ssh_takes(&key));
        client.install(&host, &files).unwrap();
    }
}

#[test]
fn beside_an_ignored_key_another_key_and_the_agent_are_used() {
    let mut client = Client::new();
    let open = client.identity_files[0].clone();
    let host = TestHost::new("x");
    client.meet(&host);
    let files = [host_file(&format!("{}/x", host.directory()), "x")];
    let other = client.make_key("other", &["-t", "ed25519", "-N", ""]);
    client.start_agent(&[&open]);
    chmod(&open, 0o644);
    client.install(&host, &files).unwrap();
    client.agent = None;
    client.identity_files.push(other.clone());
    let error = client.install(&host, &files).unwrap_err();
    assert_eq!(error.code(), "auth_failed");
    let ignored = format!("{} (not usable: other users may use it, mode 0644)", open.display());
    assert!(error.to_string().contains(&ignored) && error.to_string().contains("other (refused)"), "{error}");
    host.authorize(&public_of(&other));
    client.install(&host, &files).unwrap();
}

#[test]
fn nobody_is_asked_for_the_passphrase_of_a_key_that_is_ignored() {
    let mut client = Client::new();
    let key = client.make_key("locked", &["-t", "ed25519", "-N", PASSPHRASE]);
    client.identity_files = vec![key.clone()];
    let host = client.host(&TestHost::new("x"));
    assert_eq!(client.remote().locked_keys([&host], LockedKeys::All), std::slice::from_ref(&key));
    chmod(&key, 0o640);
    assert!(client.remote().locked_keys([&host], LockedKeys::All).is_empty());
    // A public key is for everybody.
    chmod(&key.with_extension("pub"), 0o666);
    client.identity_files = vec![key.with_extension("pub")];
    let error = client.install(&TestHost::new("x"), &support::files::bundle()).unwrap_err();
    assert_ne!(error.code(), "key_open_to_others");
}

#[test]
fn a_key_that_others_may_use_is_warned_of_and_found_by_doctor() {
    let fleet = Fleet::of_nodes(1);
    fleet.run(&["generate"]).expect(0);
    let key = &fleet.client.identity_files[0];
    let keys = |document: &serde_json::Value| {
        let checks = document["machine"].as_array().unwrap();
        checks.iter().find(|check| check["check"] == "keys").unwrap().clone()
    };
    let doctor = ["doctor", "--skip", "apiserver"];
    let (code, document) = fleet.json(&doctor);
    assert_eq!((code, &keys(&document)["status"]), (0, &"ok".into()), "{document:#}");
    chmod(key, 0o666);
    let (code, document) = fleet.json(&doctor);
    let found = keys(&document);
    assert_eq!((code, &found["status"], &found["code"]), (6, &"fail".into(), &"key_open_to_others".into()), "{found}");
    assert!(found["hint"].as_str().unwrap().contains(&format!("chmod 600 {}", key.display())), "{found}");
    let ran = fleet.run(&["distribute", "--yes"]);
    let words = ["is ignored: other users may use it (mode 0666)", "key_open_to_others"];
    assert!([3, 4].contains(&ran.code), "{ran:?}");
    ran.says(&words);
    chmod(key, 0o600);
    fleet.run(&["distribute", "--yes"]).expect(0);
}
