//! What a host can do to an install by its limits, and how long and how much our script may work there: nothing of ours runs
//! on after our deadline, nothing huge is read, and what a host cannot give is named.
#![allow(clippy::unwrap_used, reason = "test code")]

mod support;

use serde_json::Value;
use std::os::unix::fs::MetadataExt;
use support::{FAULTY, Fleet, Member, TestHost, Trial, host_of, require, within};

/// A program that ignores what it can, and never ends.
const HANGS: &str = "#!@SH@\ntrap '' HUP INT TERM\necho $$ >>/mnt/hung\n/mnt/real-sleep 7531\n";

/// Makes `shell` the host's `sh`.
fn use_shell(host: &TestHost, shell: &str) {
    let program = require(shell).canonicalize().unwrap();
    host.must(&format!("mount --bind {} \"$(readlink -f /bin/sh)\"", program.display()));
}

/// What runs on the host, by its command line, but for sshd.
fn running(host: &TestHost) -> Vec<String> {
    host.command_lines().into_iter().filter(|line| !line.starts_with("sshd")).collect()
}

fn assert_ends_with_us(shell: &str, hanging: &[&str]) {
    for program in hanging {
        let mut trial = Trial::new();
        trial.set_settings("[distribute]\nidle_timeout = \"2s\"\nhost_timeout = \"60s\"\n");
        let host = trial.host();
        use_shell(host, shell);
        host.must(&format!("cp {} /mnt/real-sleep", require("sleep").canonicalize().unwrap().display()));
        let interpreter = require("bash").canonicalize().unwrap();
        host.must(&format!("cp {} /mnt/hanging-shell", interpreter.display()));
        host.replace_program(program, &HANGS.replace("@SH@", "/mnt/hanging-shell"));
        let (exit, report) = trial.fleet.json(&["apply"]);
        let error = &host_of(&report, "faulty")["error"];
        assert_eq!((exit, &error["code"]), (3, &Value::from("timed_out")), "{shell} {program}: {report:#}");
        assert!(host.exists("/mnt/hung"), "{shell}: {program} was not called");
        let end = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while !running(host).is_empty() {
            assert!(std::time::Instant::now() < end, "{shell} {program}: {:?} still runs", running(host));
            std::thread::park_timeout(std::time::Duration::from_millis(50));
        }
        assert!(!trial.fleet.names(FAULTY).iter().any(|name| name.ends_with(".tmp")), "{shell} {program}");
        host.restore_program(program);
        let (exit, report) = trial.fleet.json(&["apply"]);
        assert_eq!(exit, 0, "{shell} {program}: {report:#}");
    }
}

#[test]
fn nothing_of_ours_runs_on_after_our_deadline_under_dash() {
    need_root!();
    // The looks, the flush before the renames, and a rename, which no signal stops.
    assert_ends_with_us("dash", &["ls", "sha256sum", "sync", "mv"]);
}

#[test]
fn nothing_of_ours_runs_on_after_our_deadline_under_bash() {
    need_root!();
    assert_ends_with_us("bash", &["ls", "sync", "mv"]);
}

#[test]
fn nothing_of_ours_runs_on_after_our_deadline_under_busybox() {
    need_root!();
    assert_ends_with_us("busybox", &["sha256sum", "mv"]);
}

#[test]
fn a_run_that_ends_in_time_leaves_no_watcher_behind() {
    need_root!();
    for shell in ["dash", "bash", "busybox"] {
        let fleet = Fleet::of_nodes(1);
        use_shell(&fleet.hosts[0], shell);
        fleet.run(&["apply"]).expect(0);
        fleet.run(&["status"]).expect(0);
        within(std::time::Duration::from_secs(5), "the watcher to end", || {
            running(&fleet.hosts[0]).is_empty().then_some(())
        });
    }
}

const HUGE: &str = "200G";

/// A node that is also a control-plane host, with short deadlines: to hash one of these files takes minutes.
fn impatient() -> Fleet {
    let mut fleet = Fleet::new(vec![Member::new(TestHost::builder("node-1")).roles(&["control-plane", "node"])]);
    fleet.set_settings("[distribute]\nidle_timeout = \"20s\"\nhost_timeout = \"40s\"\n");
    // The file system below may know no file of that size.
    let host = &fleet.hosts[0];
    host.must("mkdir -p /etc/kubernetes && mount -t tmpfs -o size=64m,mode=755 tmpfs /etc/kubernetes");
    host.must("mkdir -p /var/lib/kubelet && mount -t tmpfs -o size=64m,mode=755 tmpfs /var/lib/kubelet");
    fleet
}

#[test]
fn a_huge_target_differs_unread_is_replaced_by_name_and_comes_back_by_rollback() {
    need_root!();
    let fleet = impatient();
    let host = &fleet.hosts[0];
    let path = "/etc/kubernetes/bootstrap.kubeconfig";
    host.must(&format!("truncate -s {HUGE} {path} && chmod 600 {path}"));
    let inode = host.path(path).metadata().unwrap().ino();
    let (code, plan) = fleet.json(&["plan"]);
    let files = host_of(&plan, "node-1")["files"].as_array().unwrap().clone();
    let file = files.iter().find(|file| file["path"].as_str().unwrap().ends_with("bootstrap.kubeconfig")).unwrap();
    assert_eq!((code, &file["state"]), (0, &Value::from("differs")), "{plan:#}");
    assert_eq!(file["found"]["bytes"], 200u64 << 30, "{file:#}");
    assert_eq!(file["found"]["sha256"], Value::Null, "{file:#}");
    let (code, report) = fleet.json(&["apply"]);
    assert_eq!(code, 0, "{report:#}");
    let kept = host.path("/etc/kubernetes/.bootstrap.kubeconfig.kubemint-previous").metadata().unwrap();
    assert_eq!((kept.ino(), kept.len()), (inode, 200 << 30));
    fleet.run(&["status"]).expect(0);
    fleet.run(&["doctor", "--skip", "apiserver"]);
    let (code, rolled) = fleet.json(&["rollback", report["run_id"].as_str().unwrap()]);
    assert_eq!(code, 0, "{rolled:#}");
    assert_eq!(host.path(path).metadata().unwrap().ino(), inode);
}

/// Name, mode and inode of what is there, and content where it is small.
fn small_files(fleet: &Fleet) -> Vec<String> {
    let of = |name: String| {
        let meta = fleet.hosts[0].path(&fleet.file(0, &name)).metadata().unwrap();
        let content = if meta.len() < 1 << 20 { fleet.hosts[0].read(&fleet.file(0, &name)) } else { String::new() };
        format!("{name} {:o} {} {content}", meta.mode(), meta.ino())
    };
    fleet.names(0).into_iter().map(of).collect()
}

#[test]
fn a_huge_kept_version_that_no_run_left_is_not_put_back_and_not_read() {
    need_root!();
    let mut fleet = impatient();
    fleet.run(&["apply"]).expect(0);
    fleet.set_settings("[cluster]\nserver = \"https://172.20.0.114:6443\"\n[distribute]\nidle_timeout = \"20s\"\n");
    let (_, report) = fleet.json(&["apply"]);
    let host = &fleet.hosts[0];
    let kept = "/etc/kubernetes/.bootstrap.kubeconfig.kubemint-previous";
    host.must(&format!("rm {kept} && truncate -s {HUGE} {kept} && chmod 600 {kept}"));
    let before = small_files(&fleet);
    let (code, rolled) = fleet.json(&["rollback", report["run_id"].as_str().unwrap()]);
    assert_eq!(code, 3, "{rolled:#}");
    assert_eq!(host_of(&rolled, "node-1")["error"]["code"], "nothing_to_restore", "{rolled:#}");
    assert_eq!(small_files(&fleet), before);
    // The target: it is not what the run left.
    host.must(&format!("rm {kept} && truncate -s {HUGE} /etc/kubernetes/kube-proxy.kubeconfig"));
    let (code, rolled) = fleet.json(&["rollback", report["run_id"].as_str().unwrap()]);
    assert_eq!(code, 3, "{rolled:#}");
}

#[test]
fn what_is_huge_and_could_be_written_by_others_is_refused_before_anything_is_copied() {
    need_root!();
    let fleet = impatient();
    let host = &fleet.hosts[0];
    host.must(&format!("truncate -s {HUGE} /etc/kubernetes/kube-proxy.kubeconfig && chmod 666 /etc/kubernetes/*"));
    let (code, report) = fleet.json(&["apply"]);
    assert_eq!(code, 3, "{report:#}");
    let error = &host_of(&report, "node-1")["error"];
    assert_eq!(error["code"], "target_too_large", "{error:#}");
    assert_eq!(fleet.names(0), ["kube-proxy.kubeconfig"]);
    assert_eq!(host.attributes("/etc/kubernetes/kube-proxy.kubeconfig").0, 0o666);
}

#[test]
fn a_huge_token_file_is_another_s_in_doubt_and_replaced_when_that_is_asked_for() {
    need_root!();
    let fleet = impatient();
    fleet.hosts[0]
        .must(&format!("truncate -s {HUGE} /etc/kubernetes/token.csv && chmod 600 /etc/kubernetes/token.csv"));
    let (code, report) = fleet.json(&["apply"]);
    assert_eq!(code, 3, "{report:#}");
    assert_eq!(host_of(&report, "node-1")["error"]["code"], "foreign_token_rows", "{report:#}");
    let (code, report) = fleet.json(&["apply", "--replace-foreign"]);
    assert_eq!(code, 0, "{report:#}");
}

#[test]
fn huge_files_of_a_kubelet_are_not_read() {
    need_root!();
    let fleet = impatient();
    fleet.run(&["apply"]).expect(0);
    let host = &fleet.hosts[0];
    host.must(&format!(
        "mkdir /var/lib/kubelet/pki && truncate -s {HUGE} /var/lib/kubelet/pki/kubelet-client-current.pem \
         /var/lib/kubelet/pki/kubelet-client.key.tmp /etc/kubernetes/kubelet.kubeconfig"
    ));
    let (code, status) = fleet.json(&["status"]);
    assert_eq!((code, &host_of(&status, "node-1")["error"]), (0, &Value::Null), "{status:#}");
    let paths = kubemint::remote::kubelet::KubeletPaths {
        kubeconfig: "/etc/kubernetes/kubelet.kubeconfig".into(),
        pki: "/var/lib/kubelet/pki".into(),
    };
    let mut client = support::Client::new();
    client.deadlines.idle = std::time::Duration::from_secs(20);
    client.meet(host);
    let (remote, target) = (client.remote(), client.host(host));
    let entropy = kubemint::entropy::OsEntropy;
    let certificate = kubemint::remote::kubelet::read_certificate(&remote, &target, &paths, &entropy).unwrap();
    assert_eq!(certificate, None);
    let asking = kubemint::remote::kubelet::probe_asking_key(&remote, &target, &paths, &entropy).unwrap();
    assert_eq!(asking, kubemint::remote::kubelet::AskingKey::Unread);
}

#[test]
fn a_file_size_limit_of_the_login_is_named_and_leaves_no_credential_behind() {
    need_root!();
    for shell in ["dash", "bash", "busybox"] {
        let trial = Trial::new();
        use_shell(trial.host(), shell);
        trial.host().write("/root/.bashrc", "ulimit -f 1\n");
        let error = trial.assert_fault("file_size_limit");
        assert!(error["hint"].as_str().unwrap().contains("ulimit -f"), "{error:#}");
        trial.host().write("/root/.bashrc", "");
        trial.assert_mended();
    }
}

#[test]
fn sudo_that_lets_the_shell_start_no_programs_is_named() {
    need_root!();
    let rule = "ops ALL=(ALL) NOPASSWD: NOEXEC: ALL";
    let fleet = Fleet::new(vec![Member::new(TestHost::builder("node-1")).by_sudo_with(rule)]);
    for shell in ["dash", "bash"] {
        use_shell(&fleet.hosts[0], shell);
        let (code, report) = fleet.json(&["apply"]);
        let error = &host_of(&report, "node-1")["error"];
        assert_eq!((code, &error["code"]), (3, &Value::from("exec_forbidden")), "{shell}: {report:#}");
        assert!(error["hint"].as_str().unwrap().contains("NOEXEC"), "{error:#}");
    }
}

#[test]
fn a_host_out_of_processes_is_named() {
    need_root!();
    // bash tries to fork again for half a minute: kubemint gives up before it says so.
    for (shell, limit) in [("dash", "ulimit -u 1"), ("busybox", "ulimit -u 1")] {
        let fleet = Fleet::new(vec![Member::new(TestHost::builder("node-1").user("ops", None))]);
        let host = &fleet.hosts[0];
        use_shell(host, shell);
        host.write("/home/ops/.bashrc", &format!("{limit}\n"));
        let (code, report) = fleet.json(&["apply"]);
        let error = &host_of(&report, "node-1")["error"];
        assert_eq!((code, &error["code"]), (3, &Value::from("host_resources")), "{shell}, {limit}: {report:#}");
        assert!(error["hint"].as_str().unwrap().contains("ulimit -u"), "{error:#}");
    }
}

#[test]
fn sudo_that_records_what_it_reads_is_found_by_doctor() {
    need_root!();
    for (rules, status) in [
        ("Defaults log_input,iolog_dir=/var/log/sudo-io\nops ALL=(ALL) NOPASSWD: ALL", "fail"),
        ("Defaults:ops log_stdin\nops ALL=(ALL) NOPASSWD: ALL", "fail"),
        ("ops ALL=(ALL) NOPASSWD: LOG_INPUT: ALL", "fail"),
        ("Cmnd_Alias SHELLS=/bin/sh,/usr/bin/sh\nDefaults!SHELLS log_input\nops ALL=(ALL) NOPASSWD: ALL", "fail"),
        ("Defaults log_output,iolog_dir=/var/log/sudo-io\nops ALL=(ALL) NOPASSWD: ALL", "ok"),
        ("Defaults log_input\nops ALL=(ALL) NOPASSWD: NOLOG_INPUT: ALL", "ok"),
        ("Defaults log_input\nDefaults:ops !log_input\nops ALL=(ALL) NOPASSWD: ALL", "ok"),
        ("ops ALL=(ALL) NOPASSWD: ALL", "ok"),
    ] {
        let fleet = Fleet::new(vec![Member::new(TestHost::builder("node-1")).by_sudo_with(rules)]);
        fleet.hosts[0].must("mount -t tmpfs tmpfs /var/log");
        fleet.run(&["generate"]).expect(0);
        let (code, document) = fleet.json(&["doctor", "--skip", "apiserver"]);
        let checks = host_of(&document, "node-1")["checks"].as_array().unwrap().clone();
        let check = checks.iter().find(|check| check["check"] == "sudo-input-log").unwrap();
        assert_eq!(
            (&check["status"], code),
            (&Value::from(status), if status == "ok" { 0 } else { 6 }),
            "{rules}: {check:#}"
        );
        if status == "fail" {
            assert_eq!(check["code"], "sudo_input_log");
            assert!(check["hint"].as_str().unwrap().contains("!log_input"), "{check:#}");
        }
    }
}
