//! Settings from ~/.ssh/config, as OpenSSH itself reads it: what the inventory says wins, what it does not say is taken.
#![allow(clippy::unwrap_used, reason = "test code")]

mod support;

use kubemint::{
    entropy::OsEntropy,
    inventory::{Connection, Host, Inventory, LeftToConfig, Location, SshTarget, parse_inventory},
    remote::{
        Deadlines, Error, RetryClass, SshConfig, SshRemote,
        installer::{ForeignPolicy, HostOutcome, install_host},
    },
};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};
use support::{Client, TestEnv, TestHost, content, files::bundle, public_of, require};

const ALL_LEFT: LeftToConfig =
    LeftToConfig { user: true, port: true, identity_files: true, known_hosts: true, jump: true, jump_user: true };

/// An `ssh` that reads a file of the test's own in place of ~/.ssh/config, and notes each call.
struct Configured {
    dir: tempfile::TempDir,
    deadlines: Deadlines,
}

impl Configured {
    fn new(config: &str) -> Self {
        let this = Self { dir: tempfile::tempdir().unwrap(), deadlines: Deadlines::default() };
        fs::write(this.dir.path().join("config"), config).unwrap();
        let ssh = require("ssh").display().to_string();
        let dir = this.dir.path().display().to_string();
        this.write_program(&format!("echo \"$@\" >>{dir}/calls\nexec {ssh} -F {dir}/config \"$@\"\n"));
        this
    }

    fn write_program(&self, script: &str) {
        fs::write(self.program(), format!("#!/bin/sh\n{script}")).unwrap();
        fs::set_permissions(self.program(), fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn program(&self) -> PathBuf {
        self.dir.path().join("ssh")
    }

    fn calls(&self) -> Vec<String> {
        let text = fs::read_to_string(self.dir.path().join("calls")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn remote(&self) -> SshRemote {
        self.remote_with(&self.program())
    }

    fn remote_with(&self, program: &Path) -> SshRemote {
        SshRemote::new(SshConfig {
            home: Some(self.dir.path().to_owned()),
            agent_socket: None,
            ssh_program: Some(program.to_owned()),
            deadlines: self.deadlines,
            ..SshConfig::default()
        })
    }
}

/// A host of which the inventory says nothing but its name.
fn named(name: &str, client: &Client) -> Host {
    let mut host = client.host_at(name, name, 22, "root");
    settle(&mut host, |settings| {
        settings.identity_files.clear();
        settings.known_hosts.clear();
        settings.left_to_config = Some(ALL_LEFT);
    });
    host
}

fn target(host: &mut Host) -> &mut SshTarget {
    let Connection::Ssh(target) = &mut host.connection else { unreachable!() };
    target
}

fn settle(host: &mut Host, change: impl FnOnce(&mut kubemint::inventory::SshSettings)) {
    change(Arc::make_mut(&mut target(host).settings));
}

fn install(remote: &SshRemote, host: &Host) -> Result<HostOutcome, Error> {
    install_host(remote, host, &bundle(), ForeignPolicy::Refuse, &OsEntropy)
}

fn assert_installed(host: &TestHost) {
    assert!(bundle().iter().all(|file| host.read(&file.path) == content(file)), "{}", host.name());
}

/// What ssh needs to know to reach a host, as a block of its configuration.
fn block(alias: &str, host: &TestHost, client: &Client) -> String {
    format!(
        "Host {alias}\n HostName {}\n Port {}\n User {}\n IdentityFile {}\n UserKnownHostsFile {}\n",
        host.address(),
        host.port(),
        host.user(),
        client.identity_files[0].display(),
        client.known_hosts.display()
    )
}

#[test]
fn what_the_inventory_leaves_open_comes_from_the_users_configuration() {
    need_root!();
    let (host, client) = (TestHost::new("node-1"), Client::new());
    client.meet(&host);
    let configured = Configured::new(&block("node-1", &host, &client));
    let remote = configured.remote();
    let way = named("node-1", &client);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| remote_ok(&remote, &way));
        }
    });
    assert_installed(&host);
    assert_eq!(configured.calls(), ["-G -T -- node-1"], "one question for all threads");
}

fn remote_ok(remote: &SshRemote, host: &Host) {
    // Several at once may find the directory locked by another; what counts here is that they come in.
    if let Err(error) = install(remote, host) {
        assert!(!matches!(error.retry_class(), RetryClass::Refused | RetryClass::Misconfigured), "{error}");
    }
}

#[test]
fn what_the_inventory_says_wins() {
    need_root!();
    let (host, client) = (TestHost::new("node-1"), Client::new());
    client.meet(&host);
    let wrong = "Host *\n HostName 192.0.2.1\n Port 1\n User nobody\n IdentityFile /nonexistent\n\
                 UserKnownHostsFile /nonexistent\n ProxyCommand false\n";
    let configured = Configured::new(wrong);
    let mut way = client.host(&host);
    settle(&mut way, |settings| settings.left_to_config = Some(LeftToConfig::default()));
    install(&configured.remote(), &way).unwrap();
    assert_installed(&host);
    let call = format!("-G -T -l root -p {} -o HostName={} -- node-1", host.port(), host.address());
    assert_eq!(configured.calls(), [call]);
}

#[test]
fn a_proxy_jump_and_the_jump_hosts_own_settings_are_honoured() {
    need_root!();
    let [host, inner, outer] = ["node-1", "inner", "outer"].map(TestHost::new);
    let client = Client::new();
    [&host, &inner, &outer].iter().for_each(|host| client.meet(host));
    let config = [
        block("node-1", &host, &client) + " ProxyJump in\n",
        block("in", &inner, &client) + " ProxyJump out\n",
        block("out", &outer, &client),
    ];
    let configured = Configured::new(&config.concat());
    install(&configured.remote(), &named("node-1", &client)).unwrap();
    assert_installed(&host);
    for jump in [&inner, &outer] {
        assert_eq!(jump.log().matches("Accepted publickey").count(), 1, "{}: {}", jump.name(), jump.log());
    }
    // The inventory's own way wins, and its jump hosts are names for ssh too.
    let mut way = named("node-1", &client);
    settle(&mut way, |settings| {
        settings.jump = vec!["out".parse().unwrap()];
        settings.left_to_config = Some(LeftToConfig { jump: false, ..ALL_LEFT });
    });
    install(&configured.remote(), &way).unwrap();
    assert_eq!(inner.log().matches("Accepted publickey").count(), 1);
    assert_eq!(outer.log().matches("Accepted publickey").count(), 2);
}

#[test]
fn a_circle_of_jump_hosts_is_refused() {
    let client = Client::new();
    let circle = "Host node-1 b\n ProxyJump a\nHost a\n ProxyJump b\n";
    for (config, said) in [(circle, "a circle of ProxyJump"), ("Host *\n ProxyJump b\n", "jumphost loop via b")] {
        let error = install(&Configured::new(config).remote(), &named("node-1", &client)).unwrap_err();
        assert_eq!(error.code(), "ssh_config_failed", "{error}");
        assert!(error.to_string().contains(said), "{error}");
    }
}

#[test]
fn a_proxy_command_is_refused_by_name() {
    let client = Client::new();
    let configured = Configured::new("Host node-*\n ProxyCommand nc -X 5 %h %p\n");
    let error = install(&configured.remote(), &named("node-1", &client)).unwrap_err();
    assert_eq!(
        (error.code(), error.retry_class()),
        ("proxy_command_unsupported", RetryClass::Misconfigured),
        "{error}"
    );
    assert!(error.to_string().contains("node-1") && error.to_string().contains("nc -X 5"), "{error}");
    assert!(error.hint().contains("ProxyJump"), "{}", error.hint());
}

#[test]
fn no_setting_of_the_users_loosens_the_host_key_check() {
    need_root!();
    let (host, client) = (TestHost::new("node-1"), Client::new());
    host.authorize(&public_of(&client.identity_files[0]));
    let loose = block("node-1", &host, &client)
        + " StrictHostKeyChecking no\n UpdateHostKeys yes\n NoHostAuthenticationForLocalhost yes\n\
           CheckHostIP no\n VerifyHostKeyDNS yes\n";
    for config in [loose.clone(), loose.replace(&client.known_hosts.display().to_string(), "/dev/null")] {
        let error = install(&Configured::new(&config).remote(), &named("node-1", &client)).unwrap_err();
        assert_eq!(error.code(), "host_key_unknown", "{error}");
    }
    assert!(!host.log().contains("Accepted"));
    assert!(!client.known_hosts.exists(), "nothing is learnt");
    // Under the alias's name it is known, whatever its address and port.
    client.trust(&format!("the-cluster {}\n", host.public_keys()[0]));
    let aliased = loose + " HostKeyAlias the-cluster\n";
    install(&Configured::new(&aliased).remote(), &named("node-1", &client)).unwrap();
}

#[test]
fn revoked_host_keys_of_the_users_are_refused_by_name() {
    let client = Client::new();
    let configured = Configured::new("Host node-*\n RevokedHostKeys /etc/ssh/revoked_keys\n");
    let error = install(&configured.remote(), &named("node-1", &client)).unwrap_err();
    assert_eq!((error.code(), error.retry_class()), ("ssh_config_failed", RetryClass::Misconfigured), "{error}");
    assert!(error.to_string().contains("RevokedHostKeys /etc/ssh/revoked_keys"), "{error}");
}

#[test]
fn a_certificate_file_is_offered_with_the_key_it_certifies() {
    need_root!();
    let client = Client::new();
    let ca = client.make_key("user-ca", &["-t", "ed25519", "-N", ""]);
    let trusts = format!("TrustedUserCAKeys {}.pub", ca.display());
    let host = TestHost::builder("node-1").sshd_option(&trusts).start();
    host.write(&format!("{}.pub", ca.display()), &public_of(&ca));
    client.trust(&host.known_hosts_lines());
    let key = &client.identity_files[0];
    let mut sign = Command::new(require("ssh-keygen"));
    sign.args(["-q", "-I", "tester", "-n", host.user(), "-s"]).arg(&ca).arg(format!("{}.pub", key.display()));
    assert!(sign.output().unwrap().status.success());
    // Elsewhere than beside the key.
    let certificate = key.with_file_name("elsewhere-cert.pub");
    fs::rename(format!("{}-cert.pub", key.display()), &certificate).unwrap();
    let plain = block("node-1", &host, &client);
    let error = install(&Configured::new(&plain).remote(), &named("node-1", &client)).unwrap_err();
    assert_eq!(error.code(), "auth_failed", "{error}");
    let config = format!("{plain} CertificateFile {}\n", certificate.display());
    install(&Configured::new(&config).remote(), &named("node-1", &client)).unwrap();
    assert_installed(&host);
    assert!(host.log().contains("-CERT"), "{}", host.log());
}

#[test]
fn identities_only_keeps_the_agents_other_keys_here() {
    need_root!();
    let (host, mut client) = (TestHost::new("node-1"), Client::new());
    client.trust(&host.known_hosts_lines());
    let other = client.make_key("other", &["-t", "ed25519", "-N", ""]);
    host.authorize(&public_of(&other));
    client.start_agent(&[&other]);
    let socket = client.agent.as_ref().unwrap().socket.display().to_string();
    let config = block("node-1", &host, &client) + &format!(" IdentityAgent {socket}\n");
    install(&Configured::new(&config).remote(), &named("node-1", &client)).unwrap();
    let strict = format!("{config} IdentitiesOnly yes\n");
    let error = install(&Configured::new(&strict).remote(), &named("node-1", &client)).unwrap_err();
    assert_eq!(error.code(), "auth_failed", "{error}");
    assert!(!error.to_string().contains("agent identity"), "{error}");
    // One that a listed file names is offered, though the file holds its public half alone.
    let listed = format!("{strict} IdentityFile {}.pub\n", other.display());
    install(&Configured::new(&listed).remote(), &named("node-1", &client)).unwrap();
}

#[test]
fn a_configuration_that_cannot_be_read_names_the_reason() {
    let client = Client::new();
    let configured = Configured::new("Host node-1\n NoSuchOption yes\n");
    let host = named("node-1", &client);
    let error = install(&configured.remote(), &host).unwrap_err();
    assert_eq!((error.code(), error.retry_class()), ("ssh_config_failed", RetryClass::Misconfigured), "{error}");
    assert!(error.to_string().contains("line 2: Bad configuration option: nosuchoption"), "{error}");
    let error = install(&configured.remote_with(Path::new("/nonexistent/ssh")), &host).unwrap_err();
    assert_eq!(error.code(), "ssh_config_failed", "{error}");
    assert!(error.to_string().contains("there is no program /nonexistent/ssh"), "{error}");
}

#[test]
fn an_ssh_that_hangs_costs_its_deadline_once() {
    let client = Client::new();
    let mut configured = Configured::new("");
    configured.deadlines.connect = Duration::from_secs(1);
    configured.write_program("sleep 600\n");
    let (remote, host, started) = (configured.remote(), named("node-1", &client), Instant::now());
    for _ in 0..10 {
        let error = install(&remote, &host).unwrap_err();
        assert_eq!(error.code(), "ssh_config_failed", "{error}");
        assert!(error.to_string().contains("has not answered after 1 s"), "{error}");
    }
    assert!(started.elapsed() < Duration::from_secs(9), "not once each");
}

#[test]
fn use_config_in_an_inventory_reaches_hosts_by_their_names_alone() {
    need_root!();
    let (host, client) = (TestHost::new("node-1"), Client::new());
    client.meet(&host);
    let configured = Configured::new(&block("node-1", &host, &client));
    let env = TestEnv::with_inventory(
        "state_dir = \"state\"\n[cluster]\nserver = \"https://172.20.0.113:6443\"\n[ssh]\nuse_config = true\n\
         [[hosts]]\nname = \"node-1\"\n[[hosts]]\nname = \"node-2\"\nconnection = \"local\"\nroot = \"n2\"\n",
    );
    let path = format!("{}:{}", configured.dir.path().display(), std::env::var("PATH").unwrap());
    let output = env.kubemint().env("PATH", &path).args(["apply", "--yes"]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(host.exists("/etc/kubernetes/bootstrap.kubeconfig"));
    assert_eq!(configured.calls(), ["-G -T -- node-1"]);
    // doctor shows where it went, and misses no file that ssh would only look for.
    let mut doctor = env.kubemint();
    doctor.env("PATH", path).args(["doctor", "--skip", "apiserver", "-o", "json"]);
    let document: serde_json::Value = serde_json::from_slice(&doctor.output().unwrap().stdout).unwrap();
    let found = |checks: &serde_json::Value, name: &str| {
        checks.as_array().unwrap().iter().find(|check| check["check"] == name).unwrap().clone()
    };
    let way = found(&document["hosts"][0]["checks"], "connection");
    let address = format!("{} port {}, ", host.address(), host.port());
    assert!(way["detail"].as_str().unwrap().starts_with(&address), "{document:#}");
    let known_hosts = found(&document["machine"], "known-hosts");
    assert_eq!(known_hosts["status"], "ok", "{known_hosts:#}");
    assert_eq!(known_hosts["detail"], client.known_hosts.display().to_string());
}

#[test]
fn known_hosts_of_every_host_are_named_though_their_settings_are_shared() {
    let config =
        "Host a\n UserKnownHostsFile /k/a\nHost b\n UserKnownHostsFile /k/b\nHost *\n GlobalKnownHostsFile /k/all\n";
    let configured = Configured::new(config);
    let remote = configured.remote();
    let inventory = |more: &str| {
        let text = format!(
            "[cluster]\nserver = \"https://172.20.0.113:6443\"\n[ssh]\nuse_config = true\n{more}\n[[hosts]]\nname = \"a\"\n\
             [[hosts]]\nname = \"b\"\n[[hosts]]\nname = \"c\"\nknown_hosts = [\"/k/own\"]\n"
        );
        let location = Location { path: "i".into(), folder: "/x".into(), home: Some("/home/x".into()) };
        parse_inventory(&text, &location).unwrap()
    };
    let named = |inventory: &Inventory| -> Vec<String> {
        let files = remote.known_hosts_files(&inventory.hosts);
        files.iter().map(|path| path.display().to_string()).collect()
    };
    assert_eq!(named(&inventory("")), ["/k/a", "/k/all", "/k/b", "/k/own"]);
    let calls = configured.calls().len();
    assert_eq!(named(&inventory("known_hosts = [\"/k/set\"]")), ["/k/own", "/k/set"]);
    assert_eq!(configured.calls().len(), calls, "nothing is asked where the inventory says it");
}
