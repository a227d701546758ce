//! `kubemint status` on hosts with real processes: who runs since before their file changed, and where nobody can tell.

#![allow(clippy::unwrap_used, reason = "clippy.toml allows it in test functions only, not in what they call")]

mod support;

use serde_json::Value;
use support::{Fleet, Member, TestHost, busyboxes, eventually, host_of, require};

const MASTER: &[&str] = &["control-plane", "node"];

/// The host sees its own processes only, as a machine does, and has a /var/lib of its own.
fn machine(host: &TestHost) {
    host.must("mount -t proc proc /proc && mount -t tmpfs -o mode=755 tmpfs /var/lib");
}

fn one_machine(member: Member) -> Fleet {
    let fleet = Fleet::new(vec![member.roles(MASTER)]);
    machine(&fleet.hosts[0]);
    fleet.env.ok(&["apply"]);
    fleet
}

fn plain() -> Fleet {
    one_machine(Member::new(TestHost::builder("node-01")))
}

/// A process by that name, which started before this returns. `prefix` may put it into namespaces of its own.
fn start_in(host: &TestHost, name: &str, prefix: &str) {
    let sleep = require("sleep");
    let_clocks_tell();
    host.must(&format!("[ -e /run/{name} ] || cp {} /run/{name}", sleep.display()));
    let before = count(host, name);
    host.must(&format!("{prefix} setsid /run/{name} 1000 >/dev/null 2>&1 </dev/null &"));
    eventually("the process", || (count(host, name) > before).then_some(()));
}

/// Starts of processes are known to a few hundredths of a second: what happens closer together is in no order.
fn let_clocks_tell() {
    let began = std::time::Instant::now();
    eventually("the clocks", || (began.elapsed() > std::time::Duration::from_millis(200)).then_some(()));
}

fn start(host: &TestHost, name: &str) {
    start_in(host, name, "");
}

fn count(host: &TestHost, name: &str) -> usize {
    let said = host.run(&format!("grep -lx {name} /proc/[0-9]*/comm 2>/dev/null"));
    String::from_utf8(said.stdout).unwrap().lines().count()
}

fn stop(host: &TestHost, name: &str) {
    host.must(&format!(
        "for d in /proc/[0-9]*; do if grep -qx {name} $d/comm 2>/dev/null; then kill -9 ${{d#/proc/}} || :; fi; done"
    ));
    // Process 1 of the host reaps nobody.
    eventually("its end", || {
        let said = host.run(&format!("grep -l '({name}) [^Z]' /proc/[0-9]*/stat 2>/dev/null"));
        said.stdout.is_empty().then_some(())
    });
}

/// Content as it was, all dates new: as when it was written again.
fn rewrite(host: &TestHost, name: &str) {
    let_clocks_tell();
    host.must(&format!("cd /etc/kubernetes && cp -p {name} .new && touch .new && mv .new {name}"));
}

fn services(document: &Value) -> Vec<(String, String)> {
    let services = host_of(document, "node-01")["services"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    services.map(|service| (text(&service["service"]), text(&service["state"]))).collect()
}

#[track_caller]
fn assert_states(fleet: &Fleet, code: i32, states: [&str; 3]) -> Value {
    let (found, document) = fleet.json(&["status", "--exit-code"]);
    let expected = ["kube-apiserver", "kubelet", "kube-proxy"].iter().zip(states);
    let expected: Vec<_> = expected.map(|(name, state)| ((*name).to_owned(), state.to_owned())).collect();
    assert_eq!(services(&document), expected, "{document:#}");
    assert_eq!(found, code, "{document:#}");
    document
}

#[test]
fn a_service_that_runs_since_before_its_file_changed_is_due_until_it_is_restarted() {
    need_root!();
    let fleet = plain();
    let host = &fleet.hosts[0];
    assert_states(&fleet, 0, ["not_running"; 3]);
    for name in ["kube-apiserver", "kubelet", "kube-proxy"] {
        start(host, name);
    }
    let document = assert_states(&fleet, 0, ["current"; 3]);
    assert_eq!((&document["due"], &document["hosts"][0]["status"]), (&0.into(), &"ok".into()));
    fleet.run(&["status"]).expect(0).says(&["1 ok, 0 drift, 0 could not be read (generation 1)"]);

    // Another server: both kubeconfigs, not token.csv.
    let_clocks_tell();
    fleet.env.write("inventory.toml", fleet.env.read("inventory.toml").replace("172.20.0.113", "172.20.0.114"));
    fleet.env.ok(&["apply"]);
    let document = assert_states(&fleet, 6, ["current", "stale", "stale"]);
    assert_eq!((&document["due"], &document["hosts"][0]["status"]), (&1.into(), &"ok".into()));
    let service = &document["hosts"][0]["services"][2];
    assert!(service["due"].as_bool().unwrap() && service["path"] == "/etc/kubernetes/kube-proxy.kubeconfig");
    let at = |key: &str| service[key].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    assert!(at("started") <= at("file_changed"), "{service}");
    assert!((jiff::Timestamp::now().as_second() - at("started").as_second()).abs() < 120, "{service}");
    let ran = fleet.run(&["status"]).expect(0);
    let ran =
        ran.says(&["kube-proxy still uses the old certificate: it runs since", "kubelet still uses the old token"]);
    ran.says(&["1 ok, 0 drift", "1 with something due"]);

    rewrite(host, "token.csv");
    assert_states(&fleet, 6, ["stale", "stale", "stale"]);
    fleet.run(&["status"]).says(&["kube-apiserver still accepts the old tokens"]);
    for name in ["kube-apiserver", "kubelet", "kube-proxy"] {
        stop(host, name);
        start(host, name);
    }
    assert_states(&fleet, 0, ["current"; 3]);
    assert_eq!(fleet.run(&["plan"]).code, 0);
}

#[test]
fn a_date_that_was_set_or_a_mode_that_was_changed_is_no_proof() {
    need_root!();
    let fleet = plain();
    let host = &fleet.hosts[0];
    start(host, "kube-proxy");
    assert_states(&fleet, 0, ["not_running", "not_running", "current"]);
    // As a rollback does: the content is from before, the name is new.
    host.must("cd /etc/kubernetes && cp -p kube-proxy.kubeconfig x && mv x kube-proxy.kubeconfig");
    let document = assert_states(&fleet, 0, ["not_running", "not_running", "unknown"]);
    assert!(document["hosts"][0]["services"][2]["reason"].as_str().unwrap().contains("moved"), "{document:#}");
    fleet.run(&["status", "-v"]).says(&["kube-proxy: unknown whether it has read its file", "kubelet does not run"]);
    assert!(!fleet.run(&["status"]).stdout.contains("unknown"));
    host.must("touch -d '+1 day' /etc/kubernetes/kube-proxy.kubeconfig");
    assert_states(&fleet, 0, ["not_running", "not_running", "unknown"]);
    stop(host, "kube-proxy");
    start(host, "kube-proxy");
    assert_states(&fleet, 0, ["not_running", "not_running", "current"]);
}

#[test]
fn a_kubelet_that_has_joined_need_not_read_the_token() {
    need_root!();
    let fleet = plain();
    let host = &fleet.hosts[0];
    start(host, "kubelet");
    rewrite(host, "bootstrap.kubeconfig");
    assert_states(&fleet, 6, ["not_running", "stale", "not_running"]);
    let make = |days: &str| {
        host.must(&format!(
            "mkdir -p /var/lib/kubelet/pki && cd /var/lib/kubelet/pki && openssl req -new -newkey ec -pkeyopt \
             ec_paramgen_curve:P-256 -nodes -subj '/O=system:nodes/CN=system:node:node-01' -keyout key -out csr \
             2>/dev/null && openssl x509 -req -in csr -signkey key -days {days} -out cert 2>/dev/null && cat cert key \
             >one.pem && rm cert key csr && ln -sf /var/lib/kubelet/pki/one.pem kubelet-client-current.pem"
        ));
    };
    make("365");
    assert_states(&fleet, 0, ["not_running", "joined", "not_running"]);
    // Ended: it has to ask again.
    make("-1");
    assert_states(&fleet, 6, ["not_running", "stale", "not_running"]);
    fleet.run(&["status"]).says(&["the kubelet's own certificate ended on", "kubelet still uses the old token"]);
    host.write("/var/lib/kubelet/pki/one.pem", "no certificate");
    assert_states(&fleet, 0, ["not_running", "unknown", "not_running"]);
}

#[test]
fn of_several_processes_the_hosts_own_must_agree_and_containers_count_where_they_have_the_file() {
    need_root!();
    let fleet = plain();
    let host = &fleet.hosts[0];
    let container = "unshare -m -p --fork --kill-child=KILL";
    let away = format!("{container} sh -c 'mount -t tmpfs tmpfs /etc/kubernetes && exec \"$@\"' -");
    let other = format!(
        "{container} sh -c 'mount -t tmpfs tmpfs /etc/kubernetes && echo x >/etc/kubernetes/kube-proxy.kubeconfig && exec \"$@\"' -"
    );
    let state = |expected: &str| {
        let (_, document) = fleet.json(&["status"]);
        assert_eq!(services(&document)[2].1, expected, "{document:#}");
        host_of(&document, "node-01")["services"][2]["reason"].as_str().unwrap_or_default().to_owned()
    };
    start_in(host, "kube-proxy", &away);
    state("not_running");
    start_in(host, "kube-proxy", &other);
    assert!(state("unknown").contains("container"));
    stop(host, "kube-proxy");
    start_in(host, "kube-proxy", container);
    state("current");
    rewrite(host, "kube-proxy.kubeconfig");
    state("stale");
    start(host, "kube-proxy");
    state("current");
    rewrite(host, "kube-proxy.kubeconfig");
    start(host, "kube-proxy");
    assert!(state("unknown").contains("several"));
}

#[test]
fn every_shell_and_the_tools_of_busybox_tell_the_same() {
    need_root!();
    let fleet = plain();
    let host = &fleet.hosts[0];
    for name in ["kube-apiserver", "kube-proxy"] {
        start(host, name);
    }
    // Enough for hosts whose clocks are read to the second.
    let later = |path: &str| {
        eventually("two seconds", || {
            let old = host.path(path).metadata().unwrap().modified().unwrap();
            (old.elapsed().unwrap() > std::time::Duration::from_millis(2500)).then_some(())
        });
    };
    later("/etc/kubernetes/kube-proxy.kubeconfig");
    rewrite(host, "kube-proxy.kubeconfig");
    let mut cases =
        ["bash", "dash"].map(|shell| (require(shell).display().to_string(), "/root/bin".to_owned())).to_vec();
    for (n, busybox) in busyboxes().iter().enumerate() {
        let (busybox, applets) = (host.bring(busybox), format!("/root/applets-{n}"));
        host.must(&format!("mkdir -p {applets} && {busybox} --install -s {applets}"));
        cases.extend(["/root/bin".to_owned(), applets].map(|dir| (format!("{busybox} sh"), dir)));
    }
    for (shell, path) in cases {
        let script = format!("#!{}\nexec {shell} \"$@\"\n", require("bash").display());
        host.write("/root/bin/sh", &script);
        host.must("chmod 755 /root/bin/sh");
        host.write("/root/.bashrc", &format!("PATH={path}:$PATH\n"));
        let (_, document) = fleet.json(&["status"]);
        let states = services(&document);
        assert_eq!(states[2].1, "stale", "{shell} {path} {document:#}");
        // To the second is too coarse for a process that was started right after the install.
        assert!(["current", "unknown"].contains(&states[0].1.as_str()), "{shell} {path} {document:#}");
        assert_eq!(states[1].1, "not_running", "{shell} {path}");
    }
    stop(host, "kube-apiserver");
    later("/etc/kubernetes/token.csv");
    start(host, "kube-apiserver");
    let (_, document) = fleet.json(&["status"]);
    assert_eq!(services(&document)[0].1, "current", "busybox: {document:#}");
}

#[test]
fn a_program_that_is_missing_or_lies_makes_it_unknown_and_never_wrong() {
    need_root!();
    let fleet = plain();
    let host = &fleet.hosts[0];
    start(host, "kube-proxy");
    rewrite(host, "kube-proxy.kubeconfig");
    for (program, script, expected) in [
        ("stat", "#!/bin/sh\nexit 127\n", "unknown"),
        ("stat", "#!/bin/sh\necho rubbish\n", "unknown"),
        ("getconf", "#!/bin/sh\nexit 127\n", "stale"),
        // Its own clock an hour ahead, by date: the kernel knows better.
        ("date", "#!/bin/sh\nexec @REAL@ -d '+1 hour' \"$@\"\n", "stale"),
        ("date", "#!/bin/sh\nexit 1\n", "stale"),
        ("grep", "#!/bin/sh\nexit 127\n", "stale"),
    ] {
        // Long enough before, for clocks that tell seconds only.
        eventually("two seconds", || {
            let (_, document) = fleet.json(&["status"]);
            let service = &host_of(&document, "node-01")["services"][2];
            if service["state"] != "stale" {
                return None;
            }
            host.must("touch /etc/kubernetes/kube-proxy.kubeconfig");
            let at = |key: &str| service[key].as_str()?.parse::<jiff::Timestamp>().ok();
            (at("file_changed")?.duration_since(at("started")?).as_secs() > 2).then_some(())
        });
        host.replace_program(program, script);
        let (code, document) = fleet.json(&["status"]);
        host.restore_program(program);
        assert_eq!((code, services(&document)[2].1.as_str()), (0, expected), "{program} {script} {document:#}");
    }
}

#[test]
fn who_may_not_look_says_so() {
    need_root!();
    let fleet = Fleet::new(vec![Member::new(TestHost::builder("node-01").user("ops", None)).roles(MASTER)]);
    let host = &fleet.hosts[0];
    machine(host);
    host.must("chown ops /etc/kubernetes && mkdir -p /var/lib/kubelet/pki && chmod 700 /var/lib/kubelet");
    host.write("/var/lib/kubelet/pki/kubelet-client-current.pem", "secret");
    fleet.env.ok(&["apply"]);
    start(host, "kube-proxy");
    let document = assert_states(&fleet, 0, ["not_running", "not_running", "unknown"]);
    let certificates = document["hosts"][0]["certificates"].as_array().unwrap();
    let kubelet = certificates.iter().find(|found| found["certificate"] == "kubelet-client").unwrap();
    assert_eq!(kubelet["state"], "unknown", "{document:#}");
    fleet.run(&["status", "-v"]).says(&["kubelet-client-current.pem: its certificate could not be read"]);
    host.must("chmod 755 /var/lib/kubelet && rm /var/lib/kubelet/pki/*");
    let (_, document) = fleet.json(&["status"]);
    assert_eq!(document["hosts"][0]["certificates"][2]["state"], "absent", "{document:#}");
    // Where nobody sees the processes of others, to see none means nothing.
    host.must("mount -o remount,hidepid=2 /proc");
    let document = assert_states(&fleet, 0, ["unknown"; 3]);
    assert!(document["hosts"][0]["services"][0]["reason"].as_str().unwrap().contains("others"), "{document:#}");
}

#[test]
fn through_sudo_it_is_as_with_root() {
    need_root!();
    let fleet = one_machine(Member::new(TestHost::builder("node-01")).by_sudo());
    start(&fleet.hosts[0], "kube-proxy");
    assert_states(&fleet, 0, ["not_running", "not_running", "current"]);
    rewrite(&fleet.hosts[0], "kube-proxy.kubeconfig");
    assert_states(&fleet, 6, ["not_running", "not_running", "stale"]);
}
