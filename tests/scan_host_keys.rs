//! `kubemint doctor --scan-host-keys`: what hosts show, held against known_hosts, which is never written.
#![allow(clippy::unwrap_used, reason = "test code")]

mod support;

use serde_json::Value;
use std::{fs, os::unix::fs::PermissionsExt, process::Command};
use support::{Fleet, Member, Ran, TestEnv, TestHost, host_of, public_of, require};

const SCAN: [&str; 2] = ["doctor", "--scan-host-keys"];

fn several(name: &str) -> Member {
    Member::new(TestHost::builder(name).host_keys(&["ed25519", "ecdsa", "rsa"]))
}

fn forget_all(fleet: &Fleet) {
    fs::remove_file(&fleet.client.known_hosts).unwrap();
}

fn connections(fleet: &Fleet, index: usize) -> usize {
    fleet.hosts[index].log().matches("Connection from").count()
}

/// The lines that known_hosts would take.
fn lines(ran: &Ran) -> Vec<&str> {
    ran.stdout.lines().filter(|line| !line.starts_with('#')).collect()
}

fn states(document: &Value, host: &str) -> Vec<(String, String)> {
    let keys = host_of(document, host)["keys"].as_array().unwrap().iter();
    let text = |key: &Value, name: &str| key[name].as_str().unwrap().to_owned();
    keys.map(|key| (text(key, "type"), text(key, "state"))).collect()
}

/// The one line of known_hosts for the key of that type.
fn line_of(host: &TestHost, key_type: &str) -> String {
    host.known_hosts_lines().lines().find(|line| line.contains(key_type)).unwrap().to_owned() + "\n"
}

#[test]
fn what_is_printed_is_known_hosts_to_openssh_and_loudly_unverified() {
    let fleet = Fleet::of_nodes(2);
    forget_all(&fleet);
    let ran = fleet.run(&SCAN).expect(0);
    let wanted: String = fleet.hosts.iter().map(TestHost::known_hosts_lines).collect();
    assert_eq!(lines(&ran).join("\n") + "\n", wanted);
    assert!(
        ran.stderr.contains("UNVERIFIED") && ran.stderr.contains("ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub")
    );
    assert!(fleet.run(&[&SCAN[..], &["-q"]].concat()).stderr.contains("UNVERIFIED"), "said with --quiet too");
    assert!(!fleet.client.known_hosts.exists(), "nothing is written");
    // ssh-keygen reads the same file and works out the same fingerprints.
    fleet.env.write("scanned", &ran.stdout);
    let read = Command::new(require("ssh-keygen")).args(["-lf"]).arg(fleet.env.path("scanned")).output().unwrap();
    assert!(read.status.success(), "{read:?}");
    let read = String::from_utf8(read.stdout).unwrap();
    assert_eq!(read.lines().count(), 2);
    for (line, name) in read.lines().zip(["node-01", "node-02"]) {
        let fingerprint = line.split(' ').nth(1).unwrap();
        let comment = format!("# {name}: ssh-ed25519 {fingerprint} (unknown)");
        assert!(ran.stdout.lines().any(|line| line == comment), "{comment} is not in\n{}", ran.stdout);
    }
    fs::copy(fleet.env.path("scanned"), &fleet.client.known_hosts).unwrap();
    fleet.env.ok(&["apply"]);
}

#[test]
fn nobody_logs_in_and_one_connection_is_made_where_one_is_enough() {
    let fleet = Fleet::new(vec![several("many-1"), Member::new(TestHost::builder("one-1"))]);
    forget_all(&fleet);
    let (code, document) = fleet.json(&SCAN);
    assert_eq!(code, 0, "{document:#}");
    assert_eq!(states(&document, "many-1"), [("ssh-ed25519".to_owned(), "unknown".to_owned())]);
    assert_eq!([connections(&fleet, 0), connections(&fleet, 1)], [1, 1]);
    let (_, document) = fleet.json(&[&SCAN[..], &["--all-types"]].concat());
    let types: Vec<String> = states(&document, "many-1").into_iter().map(|(key_type, _)| key_type).collect();
    assert_eq!(types, ["ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa"]);
    // A host with one key shows it again: it is told once.
    assert_eq!(states(&document, "one-1").len(), 1);
    assert_eq!([connections(&fleet, 0), connections(&fleet, 1)], [4, 4]);
    for host in &fleet.hosts {
        let log = host.log();
        assert!(!log.contains("Accepted") && !log.contains("Failed") && !log.contains("Invalid user"), "{log}");
    }
}

#[test]
fn keys_of_a_known_type_are_asked_for_and_told_known() {
    let fleet = Fleet::new(vec![several("many-1")]);
    fs::write(&fleet.client.known_hosts, line_of(&fleet.hosts[0], "ssh-rsa")).unwrap();
    let (code, document) = fleet.json(&SCAN);
    assert_eq!(code, 0);
    let told = states(&document, "many-1");
    let pair = |key_type: &str, state: &str| (key_type.to_owned(), state.to_owned());
    assert_eq!(told, [pair("ssh-rsa", "known"), pair("ssh-ed25519", "unknown")]);
    let place = host_of(&document, "many-1")["keys"][0]["known_hosts"].as_str().unwrap();
    assert_eq!(place, format!("{}:1", fleet.client.known_hosts.display()));
    assert_eq!(connections(&fleet, 0), 2);
    fs::write(&fleet.client.known_hosts, line_of(&fleet.hosts[0], "ssh-ed25519")).unwrap();
    fleet.run(&SCAN).expect(0).says(&["known already", "1 known already, 0 unknown"]);
    assert_eq!(connections(&fleet, 0), 3);
}

#[test]
fn a_key_that_differs_is_6_and_no_redirection_makes_it_known() {
    let mut fleet = Fleet::of_nodes(2);
    fleet.hosts[0].replace_host_key();
    let before = fs::read_to_string(&fleet.client.known_hosts).unwrap();
    let ran = fleet.run(&SCAN).expect(6);
    assert_eq!(lines(&ran).join("\n") + "\n", fleet.hosts[1].known_hosts_lines(), "{}", ran.stdout);
    let place = format!("{}:1", fleet.client.known_hosts.display());
    let ran = ran.says(&["DIFFERS FROM known_hosts", &place, "somebody may be impersonating the host"]);
    let new = fleet.hosts[0].known_hosts_lines();
    assert!(ran.stdout.contains(&format!("# DIFFERS FROM {place}: {}", new.trim())), "{}", ran.stdout);
    let (code, document) = fleet.json(&SCAN);
    assert_eq!((code, &document["summary"]["differ"]), (6, &1.into()));
    assert_eq!(states(&document, "node-01")[0].1, "differs");
    assert_eq!(fs::read_to_string(&fleet.client.known_hosts).unwrap(), before);
    // What was printed, put behind what is known, lets no more in than before.
    fleet.env.write("both", before + &ran.stdout);
    fs::copy(fleet.env.path("both"), &fleet.client.known_hosts).unwrap();
    let (_, report) = fleet.json(&["apply"]);
    assert_eq!(host_of(&report, "node-01")["error"]["code"], "host_key_changed");
}

#[test]
fn a_revoked_key_is_6_and_a_comment() {
    let fleet = Fleet::of_nodes(1);
    fs::write(&fleet.client.known_hosts, format!("@revoked * {}\n", fleet.hosts[0].public_keys()[0])).unwrap();
    let ran = fleet.run(&SCAN).expect(6);
    assert!(lines(&ran).is_empty(), "{}", ran.stdout);
    ran.says(&["IS REVOKED at"]);
}

#[test]
fn a_host_that_cannot_be_asked_is_3_and_the_others_are_told() {
    let mut fleet = Fleet::of_nodes(3);
    forget_all(&fleet);
    fleet.hosts[1].stop();
    let ran = fleet.run(&SCAN).expect(3);
    assert_eq!(lines(&ran).len(), 2);
    ran.says(&["node-02: connect_refused", "1 could not be asked"]);
    let (code, document) = fleet.json(&SCAN);
    assert_eq!((code, &document["schema"], &document["version"]), (3, &"kubemint/host-keys".into(), &1.into()));
    let error = &host_of(&document, "node-02")["error"];
    assert_eq!(error["code"], "connect_refused");
    let wanted = serde_json::json!({
        "hosts": 3, "keys": 2, "known": 0, "unknown": 2, "differ": 0, "failed": 1, "skipped": 0
    });
    assert_eq!(document["summary"], wanted);
}

#[test]
fn limit_holds_and_local_hosts_have_no_keys() {
    let fleet = Fleet::of_nodes(2);
    let ran = fleet.run(&[&SCAN[..], &["--limit", "node-02"]].concat()).expect(0);
    assert_eq!((lines(&ran).len(), connections(&fleet, 0)), (1, 0));
    let env = TestEnv::with_local_hosts();
    let ran = env.run(&SCAN).expect(0);
    assert!(ran.stdout.is_empty() && !ran.stderr.contains("UNVERIFIED"), "{ran:?}");
}

#[test]
fn flags_of_the_one_are_no_flags_of_the_other() {
    let env = TestEnv::with_local_hosts();
    env.run(&["doctor", "--all-types"]).expect(2).says(&["--scan-host-keys"]);
    env.run(&["doctor", "--scan-host-keys", "--skip", "units"]).expect(2);
}

#[test]
fn a_fleet_behind_an_unknown_jump_host_is_got_to_know_stage_by_stage_with_an_encrypted_key() {
    need_root!();
    let (jump, fleet) = (TestHost::new("bastion"), Fleet::of_nodes(2));
    let key = fleet.client.make_key("locked", &["-t", "ed25519", "-N", "s3cret-words"]);
    jump.authorize(&public_of(&key));
    let written = format!("{}@{}:{}", jump.user(), jump.address(), jump.port());
    let plain = fleet.client.identity_files[0].display().to_string();
    let inventory = fleet.env.read("inventory.toml").replace("[ssh]\n", &format!("[ssh]\njump = \"{written}\"\n"));
    fleet.env.write("inventory.toml", inventory.replace(&plain, &key.display().to_string()));
    fleet.env.write("passphrase", "s3cret-words\n");
    fs::set_permissions(fleet.env.path("passphrase"), fs::Permissions::from_mode(0o600)).unwrap();
    forget_all(&fleet);
    let scan = [&SCAN[..], &["--key-passphrase-file", "passphrase"]].concat();
    let (code, document) = fleet.json(&scan);
    assert_eq!((code, &document["hosts"][0]["name"]), (3, &written.as_str().into()), "{document:#}");
    assert_eq!(states(&document, &written), [("ssh-ed25519".to_owned(), "unknown".to_owned())]);
    assert_eq!(host_of(&document, "node-01")["error"]["code"], "jump_failed");
    assert_eq!((&document["summary"]["hosts"], &document["summary"]["failed"]), (&3.into(), &2.into()));
    let ran = fleet.run(&scan).expect(3);
    assert_eq!(lines(&ran).join("\n") + "\n", jump.known_hosts_lines());
    fs::write(&fleet.client.known_hosts, &ran.stdout).unwrap();
    let ran = fleet.run(&scan).expect(0).says(&["1 known already, 2 unknown"]);
    let wanted: String = [&jump].into_iter().chain(&fleet.hosts).map(TestHost::known_hosts_lines).collect();
    assert_eq!(lines(&ran).join("\n") + "\n", wanted);
    // One login, at the jump host.
    assert_eq!(jump.log().matches("Accepted publickey").count(), 1, "{}", jump.log());
    assert!(fleet.hosts.iter().all(|host| !host.log().contains("Accepted")));
}
