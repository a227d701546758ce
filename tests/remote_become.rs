//! sudo with a password, on hosts behind SSH and on this machine: whatever sudo asks, the password never becomes a
//! command and the script never a password.
#![allow(clippy::unwrap_used, reason = "test code")]

mod support;

use kubemint::{
    entropy::OsEntropy,
    inventory::Privilege,
    remote::{
        Deadlines, Password, RetryClass,
        installer::{Action, ForeignPolicy, install_host},
    },
    secret::Secret,
};
use std::time::Duration;
use support::{Client, LocalTree, TestHost, files::bundle};

const RIGHT: &str = "Vq7-right-horse-Xw2";
const WRONG: &str = "Vq7-wrong-horse-Xw2";
const ASKS: &str = "kmtest ALL=(ALL) ALL";

fn sudo_host(sudoers: &'static str, password: &str) -> (TestHost, Client) {
    let host = TestHost::builder("sudo").user("kmtest", Some(sudoers)).start();
    host.simplify_pam();
    host.set_password("kmtest", RIGHT);
    host.set_password("root", "the-password-of-root");
    let mut client = Client::new();
    client.privilege = Privilege::Sudo;
    client.sudo_password = Some(Password::new(Secret::from(password)));
    client.meet(&host);
    (host, client)
}

/// sudo's own record of what it was given.
fn with_log(host: &TestHost) {
    host.write("/etc/sudoers.d/log", "");
    host.must("sed -i '1i Defaults logfile=/mnt/sudo.log, !syslog' /etc/sudoers");
}

#[test]
fn sudo_that_asks_gets_the_password_and_installs_under_every_login_shell() {
    need_root!();
    let (host, client) = sudo_host(ASKS, RIGHT);
    for shell in ["/bin/bash", "/bin/dash", "/bin/rbash", "/usr/bin/fish", "/bin/csh"] {
        host.must(&format!(
            "sed -i 's|^\\(kmtest:.*\\):[^:]*$|\\1:{shell}|' /etc/passwd; rm -rf /run/sudo /etc/kubernetes"
        ));
        host.must("mkdir -m 755 /etc/kubernetes");
        let outcome = client.install(&host, &bundle()).unwrap_or_else(|e| panic!("{shell}: {e}"));
        assert!(outcome.files.iter().all(|file| file.action == Action::Created), "{shell} {outcome:?}");
        assert!(bundle().iter().all(|file| host.attributes(&file.path) == (0o600, 0, 0)), "{shell}");
    }
    let log = host.log();
    assert_eq!(log.matches("Connection from").count(), 5, "one login each: {log}");
}

#[test]
fn a_sudo_that_does_not_ask_never_sees_the_password() {
    need_root!();
    let (host, client) = sudo_host("kmtest ALL=(ALL) NOPASSWD: ALL", RIGHT);
    // Whatever root's shell reads is kept.
    host.write("/mnt/bin/sh", "#!/bin/sh\n[ \"$1\" = -s ] || exec /bin/sh \"$@\"\ntee -a /mnt/read | /bin/sh -s\n");
    host.must("chmod 755 /mnt/bin/sh && sed -i 's|secure_path=|&/mnt/bin:|' /etc/sudoers");
    client.install(&host, &bundle()).unwrap();
    let read = host.read("/mnt/read");
    assert!(read.contains("km_") && !read.contains(RIGHT), "{read}");
}

#[test]
fn a_wrong_password_costs_one_attempt_and_the_script_stays_here() {
    need_root!();
    let (host, client) = sudo_host(ASKS, WRONG);
    with_log(&host);
    let before = host.tree_hash("/etc/kubernetes");
    let error = client.install(&host, &bundle()).unwrap_err();
    assert_eq!((error.code(), error.retry_class()), ("become_failed", RetryClass::Refused), "{error}");
    assert!(error.to_string().contains("the password is refused"), "{error}");
    assert!(error.hint().contains("sudo -v"), "{}", error.hint());
    let log = host.read("/mnt/sudo.log");
    assert!(log.contains("1 incorrect password attempt"), "{log}");
    assert_eq!(host.tree_hash("/etc/kubernetes"), before);
    // One try only, by the sudoers' own limit.
    let (host, client) = sudo_host("Defaults passwd_tries=1\nkmtest ALL=(ALL) ALL", WRONG);
    let error = client.install(&host, &bundle()).unwrap_err();
    assert_eq!(error.code(), "become_failed", "{error}");
    assert!(error.to_string().contains("incorrect password"), "{error}");
}

#[test]
fn whose_password_sudo_wants_is_said() {
    need_root!();
    for rule in ["Defaults rootpw\nkmtest ALL=(ALL) ALL", "Defaults targetpw\nkmtest ALL=(ALL) ALL"] {
        let (host, mut client) = sudo_host(rule, RIGHT);
        let error = client.install(&host, &bundle()).unwrap_err();
        assert!(error.to_string().contains("it asks for the password of root"), "{error}");
        assert!(error.hint().contains("targetpw"), "{}", error.hint());
        client.sudo_password = Some(Password::new(Secret::from("the-password-of-root")));
        client.install(&host, &bundle()).unwrap();
    }
}

#[test]
fn a_sudo_that_gives_nothing_is_reported_in_its_own_words() {
    need_root!();
    for (sudoers, said) in [
        ("Defaults requiretty\nkmtest ALL=(ALL) ALL", "tty"),
        ("root ALL=(ALL) ALL", "not in the sudoers"),
        ("kmtest ALL=(ALL) /bin/true", "not allowed"),
    ] {
        let (host, client) = sudo_host(sudoers, RIGHT);
        let error = client.install(&host, &bundle()).unwrap_err();
        assert_eq!(error.code(), "become_failed", "{error}");
        assert!(error.to_string().contains(said) && !error.to_string().contains(RIGHT), "{error}");
    }
    let (host, client) = sudo_host(ASKS, RIGHT);
    host.must("mkdir /home/kmtest/bin && ln -s /bin/sh /home/kmtest/bin/sh");
    host.write("/home/kmtest/.bashrc", "PATH=/home/kmtest/bin\n");
    assert_eq!(client.install(&host, &bundle()).unwrap_err().code(), "become_failed");
    host.must("sed -i 's|^\\(kmtest:.*\\):[^:]*$|\\1:/usr/sbin/nologin|' /etc/passwd");
    assert_eq!(client.install(&host, &bundle()).unwrap_err().code(), "shell_unusable");
}

#[test]
fn a_sudo_that_asks_something_else_is_left_with_its_question() {
    need_root!();
    let (host, mut client) = sudo_host(ASKS, RIGHT);
    client.deadlines = Deadlines { idle: Duration::from_secs(2), ..Deadlines::default() };
    host.replace_program("sudo", "#!/bin/sh\nprintf 'Verification code: '\nread code\necho \"$code\"\n");
    let error = client.install(&host, &bundle()).unwrap_err();
    assert_eq!(error.code(), "become_failed", "{error}");
    assert!(error.to_string().contains("Verification code:"), "{error}");
}

#[test]
fn a_host_that_repeats_the_password_is_not_quoted() {
    need_root!();
    let (host, client) = sudo_host(ASKS, RIGHT);
    for repeats in [
        "printf %s \"$3\"; read line; echo \"sudo: $line is no good\" >&2; exit 1",
        "printf %s \"$3\"; read line; echo \"$line\" | fold -w 9; exit 1",
        "printf %s \"$3\"; read line; echo \"${7%;*}\" | sh; echo \"$line\"; cat >/dev/null; exit 1",
        "printf %s \"$3\"; read line; printf '%s%s' \"$line\" \"$3\"; cat >/dev/null; exit 1",
    ] {
        host.replace_program("sudo", &format!("#!/bin/sh\n{repeats}\n"));
        let error = client.install(&host, &bundle()).unwrap_err();
        for piece in [&RIGHT[..9], &RIGHT[9..18]] {
            assert!(!format!("{error} {error:?}").contains(piece), "{repeats}: {error}");
        }
        host.restore_program("sudo");
    }
}

#[test]
fn a_host_on_this_machine_is_written_by_a_sudo_that_asks() {
    need_root!();
    support::require("sudo");
    let tree = LocalTree::new();
    let mut host = tree.host();
    host.privilege = Privilege::Sudo;
    let dir = tempfile::tempdir().unwrap();
    let sudo = |script: &str| {
        // In front of the real one: the tests run as root, whom sudo never asks.
        let path = dir.path().join("sudo");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        path.display().to_string()
    };
    let asks = "prompt=$3; shift 4\nfor try in 1 2 3; do\nprintf %s \"$prompt\" >&2\nread -r line || exit 1\n\
                [ \"$line\" != right ] || exec \"$@\"\necho 'Sorry, try again.' >&2\ndone\nexit 1";
    let remote = |program: &str, password: &str| {
        LocalTree::remote().with_sudo(program).with_sudo_password(Some(Password::new(Secret::from(password))))
    };
    let asking = sudo(asks);
    let install = |remote: &kubemint::remote::LocalRemote| {
        install_host(remote, &host, &bundle(), ForeignPolicy::Refuse, &OsEntropy)
    };
    let error = install(&remote(&asking, "wrong")).unwrap_err();
    assert_eq!(error.code(), "become_failed");
    assert!(error.to_string().contains("the password is refused"), "{error}");
    assert_eq!(install(&remote(&asking, "right")).unwrap().files.len(), 4);
    // The real one, which asks root nothing.
    assert_eq!(install(&remote("sudo", "whatever-it-is")).unwrap().files.len(), 4);
    let missing = install(&remote("/nonexistent/sudo", "right")).unwrap_err();
    assert_eq!(missing.code(), "local_shell_failed", "{missing}");
}
