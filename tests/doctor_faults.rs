//! What `kubemint doctor` finds, one fault at a time, on real sshd hosts; and that an install refuses what it should.
#![allow(clippy::unwrap_used, reason = "test code")]

mod support;

use serde_json::Value;
use std::process::Command;
use support::{Fleet, LOCAL_HOSTS, Member, TestEnv, TestHost, eventually, host_of, hosts_that_are};

const DOCTOR: [&str; 3] = ["doctor", "--skip", "apiserver"];

#[track_caller]
fn check<'a>(document: &'a Value, host: &str, name: &str) -> &'a Value {
    let checks = host_of(document, host)["checks"].as_array().unwrap();
    checks.iter().find(|check| check["check"] == name).unwrap_or_else(|| panic!("no check {name}"))
}

#[track_caller]
fn machine<'a>(document: &'a Value, name: &str) -> &'a Value {
    let checks = document["machine"].as_array().unwrap();
    checks.iter().find(|check| check["check"] == name).unwrap_or_else(|| panic!("no check {name}"))
}

/// The names of a host's checks that fail.
fn failing<'a>(document: &'a Value, host: &str) -> Vec<&'a str> {
    let checks = host_of(document, host)["checks"].as_array().unwrap().iter();
    checks.filter(|check| check["status"] == "fail").map(|check| check["check"].as_str().unwrap()).collect()
}

/// One fault on one host, put there with a shell, and taken away; doctor names it under `name` with `code`.
struct Fault {
    make: &'static str,
    mend: &'static str,
    name: &'static str,
    code: &'static str,
}

const FAULTS: [Fault; 11] = [
    Fault {
        make: "cd /etc/kubernetes && echo old >bootstrap.kubeconfig && mkdir .bootstrap.kubeconfig.kubemint-previous",
        mend: "cd /etc/kubernetes && rm bootstrap.kubeconfig && rmdir .bootstrap.kubeconfig.kubemint-previous",
        name: "targets",
        code: "previous_unusable",
    },
    Fault {
        make: "cd /etc/kubernetes && echo old >bootstrap.kubeconfig && cp bootstrap.kubeconfig /mnt/b && mount --bind /mnt/b bootstrap.kubeconfig",
        mend: "cd /etc/kubernetes && umount bootstrap.kubeconfig && rm bootstrap.kubeconfig",
        name: "targets",
        code: "target_is_mount_point",
    },
    Fault {
        make: "ln -s elsewhere /etc/kubernetes/bootstrap.kubeconfig",
        mend: "rm /etc/kubernetes/bootstrap.kubeconfig",
        name: "targets",
        code: "target_is_symlink",
    },
    Fault {
        make: "mkdir /etc/kubernetes/bootstrap.kubeconfig",
        mend: "rmdir /etc/kubernetes/bootstrap.kubeconfig",
        name: "targets",
        code: "target_is_directory",
    },
    Fault {
        make: "mkfifo /etc/kubernetes/bootstrap.kubeconfig",
        mend: "rm /etc/kubernetes/bootstrap.kubeconfig",
        name: "targets",
        code: "target_is_special",
    },
    Fault {
        make: "chmod 777 /etc/kubernetes",
        mend: "chmod 755 /etc/kubernetes",
        name: "directory",
        code: "parent_unsafe",
    },
    Fault {
        make: "chown 1234 /etc/kubernetes",
        mend: "chown 0 /etc/kubernetes",
        name: "directory",
        code: "parent_unsafe",
    },
    Fault {
        make: "mv /etc/kubernetes /etc/k && touch /etc/kubernetes",
        mend: "rm /etc/kubernetes && mv /etc/k /etc/kubernetes",
        name: "directory",
        code: "parent_not_directory",
    },
    Fault {
        make: "mount --bind /etc/kubernetes /etc/kubernetes && mount -o remount,ro,bind /etc/kubernetes",
        mend: "umount /etc/kubernetes",
        name: "file-system",
        code: "read_only_filesystem",
    },
    Fault {
        make: "mount -t tmpfs -o size=4k,mode=755 tmpfs /etc/kubernetes",
        mend: "umount /etc/kubernetes",
        name: "space",
        code: "disk_full",
    },
    Fault {
        make: "mount -t tmpfs -o nr_inodes=2,mode=755 tmpfs /etc/kubernetes",
        mend: "umount /etc/kubernetes",
        name: "space",
        code: "disk_full",
    },
];

#[test]
fn each_fault_of_a_host_is_the_one_check_that_fails_and_an_install_agrees() {
    need_root!();
    let fleet = Fleet::of_nodes(1);
    fleet.env.ok(&["generate"]);
    let host = &fleet.hosts[0];
    for fault in &FAULTS {
        host.must(fault.make);
        let before = host.run("find /etc/kubernetes -printf '%p %i %m %T@ ' 2>&1").stdout;
        let (code, document) = fleet.json(&DOCTOR);
        assert_eq!((code, &document["ok"]), (6, &false.into()), "{}", fault.make);
        assert_eq!(failing(&document, "node-01"), [fault.name], "{}: {document:#}", fault.make);
        let found = check(&document, "node-01", fault.name);
        assert_eq!(found["code"], fault.code, "{}: {found:#}", fault.make);
        assert!(found["hint"].as_str().is_some_and(|hint| !hint.is_empty()), "{found:#}");
        assert_eq!(host.run("find /etc/kubernetes -printf '%p %i %m %T@ ' 2>&1").stdout, before, "{}", fault.make);
        let (code, report) = fleet.json(&["distribute"]);
        assert_eq!((code, &report["hosts"][0]["error"]["code"]), (3, &fault.code.into()), "{}", fault.make);
        host.must(fault.mend);
        assert_eq!(fleet.json(&DOCTOR).0, 0, "after {}", fault.mend);
    }
    fleet.env.ok(&["distribute"]);
}

#[test]
fn what_is_immutable_is_seen_before_an_install_meets_it() {
    need_root!();
    support::require("chattr");
    let fleet = Fleet::of_nodes(1);
    fleet.env.ok(&["apply"]);
    let host = &fleet.hosts[0];
    host.must("mount -t tmpfs tmpfs /srv && cp -a /etc/kubernetes/. /srv && chmod 755 /srv && mount --bind /srv /etc/kubernetes");
    if !host.run("chattr +i /etc/kubernetes/bootstrap.kubeconfig").status.success() {
        support::skipped("this file system knows no immutable files");
        return;
    }
    let (code, document) = fleet.json(&DOCTOR);
    assert_eq!((code, failing(&document, "node-01")), (6, vec!["targets"]), "{document:#}");
    assert_eq!(check(&document, "node-01", "targets")["code"], "immutable");
    host.must("chattr -i /etc/kubernetes/bootstrap.kubeconfig && chattr +a /etc/kubernetes");
    let (code, document) = fleet.json(&DOCTOR);
    assert_eq!((code, failing(&document, "node-01")), (6, vec!["directory"]), "{document:#}");
    assert_eq!(check(&document, "node-01", "directory")["code"], "immutable");
    let kept = "/etc/kubernetes/.bootstrap.kubeconfig.kubemint-previous";
    host.must(&format!("chattr -a /etc/kubernetes && touch {kept} && chattr +i {kept}"));
    let (code, document) = fleet.json(&DOCTOR);
    assert_eq!((code, failing(&document, "node-01")), (6, vec!["targets"]), "{document:#}");
    assert!(check(&document, "node-01", "targets")["detail"].as_str().unwrap().contains(kept), "{document:#}");
    host.must(&format!("chattr -i {kept}"));
    assert_eq!(fleet.json(&DOCTOR).0, 0);
}

#[test]
fn a_host_that_cannot_be_logged_in_to_fails_one_check_and_the_rest_is_skipped() {
    let mut fleet = Fleet::of_nodes(5);
    fleet.hosts[0].stop();
    fleet.hosts[1].replace_host_key();
    fleet.hosts[2].forget_authorized_keys();
    let known = std::fs::read_to_string(&fleet.client.known_hosts).unwrap();
    let address = fleet.hosts[3].address().to_owned();
    let kept: String = known.lines().filter(|line| !line.contains(&address)).map(|line| format!("{line}\n")).collect();
    std::fs::write(&fleet.client.known_hosts, kept).unwrap();
    let (code, document) = fleet.json(&DOCTOR);
    assert_eq!(code, 6);
    for (host, name, error) in [
        ("node-01", "connection", "connect_refused"),
        ("node-02", "host-key", "host_key_changed"),
        ("node-03", "login", "auth_failed"),
        ("node-04", "host-key", "host_key_unknown"),
    ] {
        assert_eq!(failing(&document, host), [name], "{host}");
        assert_eq!(check(&document, host, name)["code"], error, "{host}");
        let checks = host_of(&document, host)["checks"].as_array().unwrap();
        let after = checks.iter().skip_while(|check| check["check"] != name).skip(1);
        assert!(after.clone().count() > 8 && after.clone().all(|check| check["status"] == "skipped"), "{host}");
        let before = checks.iter().take_while(|check| check["check"] != name);
        assert!(before.clone().all(|check| check["status"] == "ok"), "{host}");
    }
    assert_eq!(hosts_that_are(&document, "ok"), ["node-05"]);
    let ran = fleet.run(&DOCTOR).expect(6);
    ran.says(&["node-02", "HAS CHANGED", "5 hosts: 1 ok, 0 with warnings, 4 would fail"]);
}

#[test]
fn sudo_that_is_denied_fails_become_and_nothing_before_it() {
    need_root!();
    let fleet = Fleet::new(vec![
        Member::new(TestHost::builder("good-1")).by_sudo(),
        Member::new(TestHost::builder("bad-1")).by_sudo(),
    ]);
    fleet.hosts[1].must("echo >/etc/sudoers");
    let (code, document) = fleet.json(&DOCTOR);
    assert_eq!(code, 6);
    assert_eq!(check(&document, "good-1", "become")["detail"], "root, by sudo");
    assert_eq!(failing(&document, "bad-1"), ["become"]);
    assert_eq!(check(&document, "bad-1", "become")["code"], "become_failed");
}

#[test]
fn a_login_that_is_not_root_is_a_warning_or_a_closed_directory() {
    need_root!();
    let fleet = Fleet::new(vec![Member::new(TestHost::builder("user-1").user("ops", None))]);
    let (code, document) = fleet.json(&DOCTOR);
    assert_eq!(code, 6);
    assert_eq!(check(&document, "user-1", "become")["status"], "warn");
    assert_eq!(check(&document, "user-1", "directory")["code"], "permission_denied", "{document:#}");
    // Not even to be entered: what was asked before that is told all the same.
    fleet.hosts[0].must("chmod 700 /etc/kubernetes");
    let (_, document) = fleet.json(&DOCTOR);
    assert_eq!(failing(&document, "user-1"), ["directory"], "{document:#}");
    assert_eq!(check(&document, "user-1", "targets")["status"], "skipped");
    assert_eq!(check(&document, "user-1", "clock")["status"], "ok");
}

#[test]
fn a_tool_that_is_not_there_is_named() {
    need_root!();
    let fleet = Fleet::of_nodes(1);
    let host = &fleet.hosts[0];
    let mv = support::require("mv").canonicalize().unwrap();
    host.must(&format!("mkdir /mnt/dir && mount --bind /dev/null {}", mv.display()));
    let (code, document) = fleet.json(&DOCTOR);
    assert_eq!((code, failing(&document, "node-01")), (6, vec!["tools"]), "{document:#}");
    assert_eq!(check(&document, "node-01", "tools")["detail"], "missing: mv");
}

#[test]
fn another_clusters_credentials_would_be_refused_and_replace_foreign_says_otherwise() {
    let fleet = Fleet::new(vec![Member::new(TestHost::builder("cp-1")).roles(&["control-plane", "node"])]);
    fleet.env.ok(&["apply"]);
    let rows = fleet.hosts[0].read(&fleet.file(0, "token.csv"));
    fleet.hosts[0].write(&fleet.file(0, "token.csv"), &format!("{rows}t4,stranger,7\n"));
    let (code, document) = fleet.json(&DOCTOR);
    assert_eq!((code, failing(&document, "cp-1")), (6, vec!["credentials"]), "{document:#}");
    assert_eq!(check(&document, "cp-1", "credentials")["code"], "foreign_token_rows");
    assert_eq!(fleet.json(&[&DOCTOR[..], &["--replace-foreign"]].concat()).0, 0);
    // Another credential directory, as when ours was lost.
    let text = fleet.env.read("inventory.toml").replace("\"state\"", "\"other\"");
    fleet.env.write("inventory.toml", text);
    fleet.env.ok(&["generate"]);
    let (_, document) = fleet.json(&DOCTOR);
    assert_eq!(check(&document, "cp-1", "credentials")["code"], "other_authority");
}

#[test]
fn leftovers_of_a_killed_run_are_a_warning_and_stay() {
    let fleet = Fleet::of_nodes(1);
    fleet.env.ok(&["apply"]);
    fleet.hosts[0].write(&fleet.file(0, ".kubemint-0123-0.tmp"), "");
    let (code, document) = fleet.json(&DOCTOR);
    assert_eq!((code, &document["summary"]["warn"]), (0, &1.into()));
    assert_eq!(check(&document, "node-01", "leftovers")["status"], "warn");
    assert!(fleet.hosts[0].exists(&fleet.file(0, ".kubemint-0123-0.tmp")));
}

/// A `date` on the host that is off by so many seconds.
fn set_clock(host: &TestHost, offset: i64) {
    host.replace_program(
        "date",
        &format!("#!/bin/sh\n[ \"$*\" = +%s ] || exec @REAL@ \"$@\"\necho $(($(@REAL@ +%s) + {offset}))\n"),
    );
}

#[test]
fn a_clock_that_is_off_is_a_warning_and_outside_the_certificates_dates_a_failure() {
    need_root!();
    const HOUR: i64 = 3600;
    let fleet = Fleet::of_nodes(4);
    fleet.env.ok(&["generate"]);
    set_clock(&fleet.hosts[1], 250);
    // Certificates are backdated by five minutes: an hour ahead is still within, an hour behind is not.
    set_clock(&fleet.hosts[2], HOUR);
    set_clock(&fleet.hosts[3], -HOUR);
    let (code, document) = fleet.json(&DOCTOR);
    assert_eq!(code, 6);
    let status = |host| check(&document, host, "clock")["status"].as_str().unwrap();
    assert_eq!(["node-01", "node-02", "node-03", "node-04"].map(status), ["ok", "ok", "warn", "fail"]);
    assert_eq!(check(&document, "node-04", "clock")["code"], "clock_outside_validity");
    let late = fleet.tree_hash(3);
    let (code, report) = fleet.json(&["distribute"]);
    assert_eq!(code, 3, "{report:#}");
    assert_eq!(hosts_that_are(&report, "changed"), ["node-01", "node-02", "node-03"]);
    let refused = &host_of(&report, "node-04")["error"];
    assert_eq!(refused["code"], "clock_outside_validity", "{refused:#}");
    assert!(refused["hint"].as_str().unwrap().contains("nothing was changed"));
    assert_eq!(fleet.tree_hash(3), late, "nothing was changed there");
    let skew = host_of(&report, "node-03")["clock_skew_seconds"].as_i64().unwrap();
    assert!((HOUR - 60..=HOUR).contains(&skew), "{skew}");
    assert!(host_of(&report, "node-01").get("clock_skew_seconds").is_none());
    fleet.hosts[3].restore_program("date");
    fleet.env.ok(&["distribute"]);
    fleet.assert_complete(3);
}

#[test]
fn a_clock_past_the_end_of_the_certificate_is_refused_and_the_old_file_stays() {
    need_root!();
    let fleet = Fleet::of_nodes(1);
    fleet.env.ok(&["apply"]);
    let before = fleet.tree_hash(0);
    set_clock(&fleet.hosts[0], 366 * 24 * 3600);
    // Nothing to write: the clock is not even asked.
    fleet.env.ok(&["distribute"]);
    let text = fleet.env.read("inventory.toml").replace("172.20.0.113", "172.20.0.114");
    fleet.env.write("inventory.toml", text);
    let ran = fleet.run(&["apply"]).expect(3);
    ran.says(&["clock_outside_validity", "the host's clock says"]);
    assert_eq!(fleet.tree_hash(0), before);
}

#[test]
fn a_warning_about_a_clock_is_said_once_for_all_hosts_of_a_run() {
    need_root!();
    let fleet = Fleet::of_nodes(2);
    fleet.hosts.iter().for_each(|host| set_clock(host, 7200));
    let ran = fleet.run(&["apply", "-q"]).expect(0);
    assert_eq!(ran.stderr.matches("warning").count(), 1, "{}", ran.stderr);
    ran.says(&["node-01, node-02: the clock is +7", "s off"]);
}

#[test]
fn an_interrupt_begins_no_more_hosts_and_is_130() {
    need_root!();
    let fleet = Fleet::of_nodes(3);
    // The first host hangs in its examination until it is let go.
    fleet.hosts[0].replace_program(
        "df",
        "#!/bin/sh\ntouch /tmp/asked\nwhile [ ! -e /tmp/go ]; do sleep 0.05; done\nexec @REAL@ \"$@\"\n",
    );
    let running = fleet.start(&["doctor", "--skip", "apiserver", "--concurrency", "1", "-o", "json"]);
    eventually("the examination to begin", || fleet.hosts[0].exists("/tmp/asked").then_some(()));
    running.signal(rustix::process::Signal::INT);
    fleet.hosts[0].write("/tmp/go", "");
    let ran = running.wait();
    assert_eq!(ran.code, 130, "{}", ran.stderr);
    let document: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(hosts_that_are(&document, "ok"), ["node-01"], "{document:#}");
    assert_eq!(hosts_that_are(&document, "skipped"), ["node-02", "node-03"]);
}

#[test]
fn the_credential_directory_is_judged_and_hosts_are_examined_all_the_same() {
    let env = TestEnv::with_inventory(LOCAL_HOSTS);
    env.ok(&["generate"]);
    let (code, document) = env.json(&DOCTOR);
    assert_eq!((code, &machine(&document, "state-directory")["status"]), (0, &"ok".into()), "{document:#}");
    env.set_mode("state", 0o755);
    let (code, document) = env.json(&DOCTOR);
    assert_eq!((code, &machine(&document, "state-directory")["status"]), (0, &"warn".into()));
    env.set_mode("state", 0o700);
    env.write("inventory.toml", LOCAL_HOSTS.replace("172.20.0.113", "172.20.0.114"));
    let (code, document) = env.json(&DOCTOR);
    let stored = machine(&document, "stored-credentials");
    assert!(
        code == 0 && stored["status"] == "warn" && stored["detail"].as_str().unwrap().contains("rebuild"),
        "{stored:#}"
    );
    env.write("inventory.toml", LOCAL_HOSTS);
    env.write("state/token.csv", "flipped");
    let (code, document) = env.json(&DOCTOR);
    assert_eq!((code, &machine(&document, "state-directory")["status"]), (6, &"fail".into()));
    assert_eq!(document["summary"]["ok"], 3, "the hosts were examined: {document:#}");
    assert_eq!(check(&document, "cp-1", "credentials")["status"], "skipped");
}

#[test]
fn an_imported_ca_that_cannot_be_used_is_a_finding() {
    let ca = "[ca]\ncert = \"ca.pem\"\nkey = \"ca-key.pem\"\n[[hosts]]";
    let env = TestEnv::with_inventory(&LOCAL_HOSTS.replacen("[[hosts]]", ca, 1));
    let (code, document) = env.json(&DOCTOR);
    assert_eq!((code, &machine(&document, "stored-credentials")["status"]), (6, &"fail".into()), "{document:#}");
    assert_eq!(document["summary"]["ok"], 3);
}

#[test]
fn what_logins_need_of_this_machine_is_looked_at() {
    let fleet = Fleet::of_nodes(1);
    let (_, document) = fleet.json(&DOCTOR);
    assert_eq!([machine(&document, "keys"), machine(&document, "known-hosts")].map(|c| &c["status"]), ["ok", "ok"]);
    std::fs::remove_file(&fleet.client.known_hosts).unwrap();
    std::fs::remove_file(&fleet.client.identity_files[0]).unwrap();
    let (code, document) = fleet.json(&DOCTOR);
    assert_eq!(code, 6);
    assert_eq!(machine(&document, "keys")["code"], "key_unreadable", "{document:#}");
    assert_eq!(machine(&document, "known-hosts")["status"], "fail");
    assert!(machine(&document, "known-hosts")["hint"].as_str().unwrap().contains("--scan-host-keys"));
}

#[test]
fn too_few_descriptors_for_the_concurrency_are_a_failure() {
    let env = TestEnv::with_inventory(&LOCAL_HOSTS.replace("[1-2]", "[001-099]"));
    let binary = env.kubemint().get_program().to_owned();
    let limited = |number: u32| {
        let script = format!(
            "ulimit -n {number}; exec \"$0\" doctor --skip apiserver --concurrency 90 --limit node-001 -o json"
        );
        let output = Command::new("sh").args(["-c", &script]).arg(&binary).current_dir(env.dir()).output().unwrap();
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    assert_eq!(machine(&limited(1024), "descriptors")["status"], "ok");
    assert_eq!(machine(&limited(30), "descriptors")["status"], "fail");
}

#[test]
fn a_full_state_directory_is_seen_beforehand() {
    need_root!();
    let host = TestHost::new("control");
    host.must("mkdir /mnt/full && mount -t tmpfs -o size=64k tmpfs /mnt/full");
    let env = TestEnv::with_inventory(LOCAL_HOSTS);
    let full = host.path("/mnt/full");
    let (code, document) = env.json(&[&DOCTOR[..], &["--state-dir", full.to_str().unwrap()]].concat());
    assert_eq!((code, &machine(&document, "state-space")["status"]), (6, &"fail".into()), "{document:#}");
}
