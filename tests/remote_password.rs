//! Logins with a password against real sshd, with and without PAM.
#![allow(clippy::unwrap_used, reason = "test code")]

mod support;

use kubemint::{
    entropy::OsEntropy,
    remote::{
        Password, RetryClass,
        installer::{ForeignPolicy, install_host},
    },
    secret::Secret,
};
use std::{thread, time::Duration};
use support::{Client, TestHost, files::bundle};

const RIGHT: &str = "Vq7-right-horse-Xw2";
const WRONG: &str = "Vq7-wrong-horse-Xw2";

fn password_host(name: &str, options: &[&str]) -> TestHost {
    let options = ["PasswordAuthentication yes"].iter().chain(options);
    let host = options.fold(TestHost::builder(name), |builder, line| builder.sshd_option(line)).start();
    host.set_password("root", RIGHT);
    host
}

fn pam_host(name: &str, options: &[&str]) -> TestHost {
    let builder = TestHost::builder(name).sshd_option("UsePAM yes");
    let host = options.iter().fold(builder, |builder, line| builder.sshd_option(line)).start();
    host.simplify_pam();
    host.set_password("root", RIGHT);
    host
}

/// Knows the hosts, and has a key that none of them takes.
fn stranger(hosts: &[&TestHost], password: &str) -> Client {
    let mut client = Client::new();
    hosts.iter().for_each(|host| client.trust(&host.known_hosts_lines()));
    client.password = Some(Password::new(Secret::from(password)));
    client
}

#[test]
fn a_password_lets_us_in_where_no_key_does_and_keys_are_tried_first() {
    need_root!();
    let host = password_host("plain", &[]);
    let mut client = stranger(&[&host], RIGHT);
    client.install(&host, &bundle()).unwrap();
    let log = host.log();
    let (key, password) = (log.find("Failed publickey"), log.find("Accepted password"));
    assert!(key.is_some() && key < password, "{log}");
    assert_eq!(log.matches("Connection from").count(), 1, "{log}");
    // With a key that the host takes, the password stays here.
    client.meet(&host);
    client.install(&host, &bundle()).unwrap();
    assert_eq!(host.log().matches("password").count(), 1, "{}", host.log());
    // Without any key.
    client.identity_files.clear();
    client.install(&host, &bundle()).unwrap();
}

#[test]
fn a_server_with_keyboard_interactive_alone_gets_the_password_as_its_one_answer() {
    need_root!();
    let host = pam_host("kbd", &["KbdInteractiveAuthentication yes"]);
    stranger(&[&host], RIGHT).install(&host, &bundle()).unwrap();
    assert!(host.log().contains("Accepted keyboard-interactive/pam"), "{}", host.log());
}

#[test]
fn a_wrong_password_is_tried_once_on_a_host_whatever_it_offers() {
    need_root!();
    for options in [
        &["PasswordAuthentication yes"][..],
        &["KbdInteractiveAuthentication yes"],
        &["PasswordAuthentication yes", "KbdInteractiveAuthentication yes"],
    ] {
        let host = pam_host("refuses", options);
        let error = stranger(&[&host], WRONG).install(&host, &bundle()).unwrap_err();
        assert_eq!((error.code(), error.retry_class()), ("auth_failed", RetryClass::Refused), "{error}");
        let text = error.to_string();
        assert!(text.contains("id_ed25519 (refused)") && text.contains("the password (refused)"), "{text}");
        assert!(error.hint().contains("check the password"), "{}", error.hint());
        let log = host.log();
        let judged = log.matches("authentication failure;").count();
        let failed = log.matches("Failed password").count() + log.matches("Failed keyboard-interactive").count();
        assert!(failed <= 2 && judged <= 1, "{options:?}: {log}");
        assert_eq!(log.matches("Connection from").count(), 1, "{log}");
        assert!(!format!("{error:?}").contains(WRONG));
    }
}

#[test]
fn a_password_that_three_hosts_refuse_is_tried_nowhere_else() {
    need_root!();
    let hosts: Vec<TestHost> = (1..=6).map(|n| password_host(&format!("many-{n}"), &[])).collect();
    let client = stranger(&hosts.iter().collect::<Vec<_>>(), WRONG);
    let remote = client.remote();
    let errors: Vec<_> = thread::scope(|scope| {
        let (remote, client) = (&remote, &client);
        let install =
            |host| move || install_host(remote, &client.host(host), &bundle(), ForeignPolicy::Refuse, &OsEntropy);
        let running: Vec<_> = hosts.iter().map(|host| scope.spawn(install(host))).collect();
        running.into_iter().map(|thread| thread.join().unwrap().unwrap_err()).collect()
    });
    assert!(errors.iter().all(|error| error.code() == "auth_failed"), "{errors:?}");
    let withheld = errors.iter().filter(|error| error.to_string().contains("the password (not tried: 3 other hosts"));
    assert_eq!(withheld.clone().count(), 3, "{errors:?}");
    assert!(withheld.clone().all(|error| error.hint().contains("locked")), "{errors:?}");
    let tried: usize = hosts.iter().map(|host| host.log().matches("Failed password").count()).sum();
    assert_eq!(tried, 3);
    // One that is right is tried everywhere, wherever it fails.
    hosts[0].set_password("root", "another-one-altogether");
    let client = stranger(&hosts.iter().collect::<Vec<_>>(), RIGHT);
    let remote = client.remote();
    let install = |host| install_host(&remote, &client.host(host), &bundle(), ForeignPolicy::Refuse, &OsEntropy);
    let results: Vec<_> = hosts.iter().map(|host| install(host).is_ok()).collect();
    assert_eq!(results, [false, true, true, true, true, true]);
}

#[test]
fn hosts_that_hang_over_the_password_have_not_refused_it() {
    need_root!();
    let hosts: Vec<TestHost> =
        (1..=3).map(|n| pam_host(&format!("hangs-{n}"), &["PasswordAuthentication yes"])).collect();
    for host in &hosts {
        host.write("/etc/pam.d/sshd", "auth required pam_exec.so quiet /bin/sleep 20\naccount required pam_unix.so\n");
    }
    let good = password_host("good", &[]);
    let mut client = stranger(&hosts.iter().chain([&good]).collect::<Vec<_>>(), RIGHT);
    client.deadlines.login = Duration::from_secs(3);
    let remote = client.remote();
    let install = |host| install_host(&remote, &client.host(host), &bundle(), ForeignPolicy::Refuse, &OsEntropy);
    thread::scope(|scope| {
        let running: Vec<_> = hosts.iter().map(|host| scope.spawn(|| install(host).unwrap_err())).collect();
        for error in running.into_iter().map(|thread| thread.join().unwrap()) {
            assert_eq!(error.code(), "timed_out", "{error}");
        }
    });
    install(&good).unwrap();
}

#[test]
fn a_host_that_takes_keys_only_says_so_and_does_not_count_as_a_refusal() {
    need_root!();
    let (closed, open) = (TestHost::new("keys-only"), password_host("open", &[]));
    let client = stranger(&[&closed, &open], RIGHT);
    let remote = client.remote();
    let install = |host| install_host(&remote, &client.host(host), &bundle(), ForeignPolicy::Refuse, &OsEntropy);
    for _ in 0..4 {
        let error = install(&closed).unwrap_err();
        assert_eq!(error.code(), "auth_failed");
        assert!(error.to_string().contains("the password (the host takes publickey only)"), "{error}");
        assert!(error.hint().contains("authorized_keys"), "{}", error.hint());
    }
    install(&open).unwrap();
}

#[test]
fn an_expired_password_has_its_own_error_however_the_login_goes() {
    need_root!();
    for (options, by_key) in [
        (&["PasswordAuthentication yes"][..], false),
        (&["KbdInteractiveAuthentication yes"], false),
        (&["PasswordAuthentication no"], true),
    ] {
        let host = pam_host("expired", options);
        let mut client = stranger(&[&host], RIGHT);
        if by_key {
            client.password = None;
            client.meet(&host);
        }
        host.must("chage -d 0 root");
        let before = host.tree_hash("/etc/kubernetes");
        let error = client.install(&host, &bundle()).unwrap_err();
        let expected = ("password_expired", RetryClass::Refused);
        assert_eq!((error.code(), error.retry_class()), expected, "{options:?} {error}\n{}", host.log());
        assert!(error.hint().contains("passwd root"), "{}", error.hint());
        assert_eq!(host.tree_hash("/etc/kubernetes"), before);
        // It has not been answered: the old password still stands.
        host.must("chage -d 2026-01-01 root");
        client.install(&host, &bundle()).unwrap();
    }
}

#[test]
fn many_keys_do_not_use_up_the_tries_before_the_password() {
    need_root!();
    let host = password_host("strict", &["MaxAuthTries 2"]);
    stranger(&[&host], RIGHT).install(&host, &bundle()).unwrap();
}
