//! Small hosts: dropbear in front of nothing but busybox.
#![allow(clippy::unwrap_used, reason = "test code")]

mod support;

use kubemint::{
    inventory::Privilege,
    remote::{
        Password,
        installer::{Action, FileState},
    },
    secret::Secret,
};
use std::path::Path;
use support::{Client, TestHost, busyboxes, content, files::bundle, public_of};

/// Where the host's only programs are.
const APPLETS: &str = "/mnt/busybox";

const RIGHT: &str = "Vq7-right-horse-Xw2";

/// A host whose server is dropbear and whose programs, from the login on, are busybox's.
fn small_host(client: &Client, busybox: &Path) -> TestHost {
    let host = TestHost::builder("small").dropbear().start();
    host.set_password("root", RIGHT);
    let busybox = host.bring(busybox);
    host.must(&format!(
        "mkdir {APPLETS} && cp {busybox} {APPLETS}/busybox && {APPLETS}/busybox --install -s {APPLETS}"
    ));
    // dropbear gives a PATH of its own; with these bound over them, nothing else is in it.
    host.must(&format!(
        "mount --bind {APPLETS} /usr/local/sbin && mount --bind {APPLETS} /usr/local/bin && \
         sed -i 's|^\\(root:.*\\):[^:]*$|\\1:{APPLETS}/sh|' /etc/passwd && echo {APPLETS}/sh >>/etc/shells && \
         mount --bind {APPLETS} /usr/sbin && mount --bind {APPLETS} /usr/bin"
    ));
    client.trust(&host.known_hosts_lines());
    host
}

#[test]
fn a_host_with_dropbear_and_busybox_is_installed_read_and_left_alone() {
    need_root!();
    let keys = [&["-t", "ed25519", "-N", ""][..], &["-t", "rsa", "-b", "2048", "-N", ""]];
    // Each kind of key and each busybox, in as few hosts.
    for (options, busybox) in keys.into_iter().zip(busyboxes().iter().cycle()) {
        let mut client = Client::new();
        let host = small_host(&client, busybox);
        client.identity_files = vec![client.make_key("key", options)];
        host.authorize(&public_of(&client.identity_files[0]));
        let files = bundle();
        let first = client.install(&host, &files).unwrap_or_else(|e| panic!("{e}\n{}", host.log()));
        assert!(first.files.iter().all(|file| file.action == Action::Created), "{first:?}");
        for file in &files {
            assert_eq!(host.read(&file.path), content(file));
            assert_eq!(host.attributes(&file.path), (0o600, 0, 0));
        }
        let second = client.install(&host, &files).unwrap();
        assert!(second.files.iter().all(|file| file.action == Action::Unchanged), "{second:?}");
        let view = client.probe(&host, &files).unwrap();
        assert!(view.files.iter().all(|file| file.state == FileState::Matches), "{view:?}");
        assert!(host.log().contains("Pubkey auth succeeded"), "{}", host.log());
    }
}

#[test]
fn dropbear_takes_a_password_once() {
    need_root!();
    let wrong = "Vq7-wrong-horse-Xw2";
    let mut client = Client::new();
    let host = small_host(&client, &busyboxes()[0]);
    client.password = Some(Password::new(Secret::from(wrong)));
    let error = client.install(&host, &bundle()).unwrap_err();
    assert_eq!(error.code(), "auth_failed", "{error}");
    assert!(error.to_string().contains("the password (refused)"), "{error}");
    assert_eq!(host.log().matches("Bad password attempt").count(), 1, "{}", host.log());
    client.password = Some(Password::new(Secret::from(RIGHT)));
    client.install(&host, &bundle()).unwrap_or_else(|e| panic!("{e}\n{}", host.log()));
}

#[test]
fn sudo_that_is_missing_there_is_said_so() {
    need_root!();
    for busybox in busyboxes() {
        let mut client = Client::new();
        let host = small_host(&client, busybox);
        host.authorize(&public_of(&client.identity_files[0]));
        client.privilege = Privilege::Sudo;
        for password in [None, Some(Password::new(Secret::from("whatever")))] {
            client.sudo_password = password;
            let error = client.install(&host, &bundle()).unwrap_err();
            assert_eq!(error.code(), "become_failed", "{error}");
            assert!(error.to_string().contains("sudo: not found"), "{error}");
        }
    }
}
