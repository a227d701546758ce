//! The stand-ins on the hosts, judged from outside: systemctl, kubelet, kube-proxy; and the rig's own arithmetic, which
//! must be able to say no: the prober counts a refusal where there is one, downtimes overlap where they do.
#![allow(clippy::unwrap_used)]

mod support;

use std::{
    process::Output,
    time::{Duration, Instant},
};
use support::{ControlPlane, Downtime, TestHost, eventually, overlaps, patience};

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Exit code and standard output.
fn systemctl(host: &TestHost, arguments: &str) -> (i32, String) {
    let output = host.run(&format!("systemctl {arguments}"));
    (output.status.code().unwrap(), said(&output))
}

fn main_pid(host: &TestHost, unit: &str) -> String {
    systemctl(host, &format!("show --value -p MainPID {unit}")).1
}

#[test]
fn systemctl_runs_one_real_process_for_a_unit() {
    need_root!();
    let cluster = ControlPlane::builder().nodes(1).start();
    let host = cluster.host("node-1");
    let pid = main_pid(host, "kubelet");
    let comm = said(&host.run(&format!("cat /proc/{pid}/comm")));
    assert_eq!((comm.as_str(), systemctl(host, "is-active kubelet")), ("kubelet", (0, "active".into())));
    assert_eq!(systemctl(host, "is-enabled kubelet.service"), (0, "enabled".into()));
    assert_eq!(systemctl(host, "is-enabled kube-proxy"), (1, "disabled".into()));
    assert_eq!(systemctl(host, "show -p ActiveState,SubState kubelet").1, "ActiveState=active\nSubState=running");
    let since = systemctl(host, "show --timestamp=unix --value -p ExecMainStartTimestamp kubelet").1;
    assert_eq!(since.len(), 11, "{since}");
    // Restart: the old process is gone before the new one runs.
    host.must("systemctl restart kubelet");
    let new = main_pid(host, "kubelet");
    assert_ne!(pid, new);
    let alive = |pid: &str| host.run(&format!("kill -0 {pid} && ! grep -q ') Z' /proc/{pid}/stat")).status.success();
    assert!(!alive(&pid) && alive(&new));
    assert_eq!(cluster.restarts("node-1", "kubelet"), 1);
    // Restart=always: what dies comes again.
    host.must(&format!("kill -9 {new}"));
    eventually("another one", || {
        let pid = main_pid(host, "kubelet");
        (pid != "0" && pid != new).then_some(())
    });
    host.must("systemctl stop kubelet");
    assert_eq!((systemctl(host, "is-active kubelet").0, main_pid(host, "kubelet").as_str()), (3, "0"));
    assert_eq!(systemctl(host, "status kubelet").0, 3);
    host.must("systemctl start kubelet && systemctl start kubelet");
    assert_eq!(systemctl(host, "is-active kubelet").0, 0);
}

#[test]
fn systemctl_refuses_what_it_does_not_know() {
    need_root!();
    let cluster = ControlPlane::builder().nodes(1).start();
    let host = cluster.host("node-1");
    let wrong = [
        "reload kubelet",
        "--now restart kubelet",
        "restart --no-block kubelet",
        "show -p Colour kubelet",
        "",
        "restart",
    ];
    for arguments in wrong {
        assert_eq!(systemctl(host, arguments).0, 1, "{arguments}");
    }
    assert_eq!(cluster.systemctl_log("node-1").matches("refused: ").count(), wrong.len());
    assert_eq!((systemctl(host, "restart nothing").0, systemctl(host, "is-active nothing").0), (5, 4));
    let pid = main_pid(host, "kubelet");
    cluster.set_systemctl("node-1", "kubelet", Some("fail"));
    assert_eq!(systemctl(host, "restart kubelet").0, 1);
    assert_eq!(main_pid(host, "kubelet"), pid);
    cluster.set_systemctl("node-1", "kubelet", Some("hang"));
    assert_eq!(host.run("timeout 0.5 systemctl restart kubelet").status.code(), Some(124));
    cluster.set_systemctl("node-1", "kubelet", None);
    assert_eq!(systemctl(host, "restart kubelet").0, 0);
}

#[test]
fn a_daemon_keeps_nothing_of_who_started_it() {
    need_root!();
    let cluster = ControlPlane::builder().nodes(1).start();
    let host = cluster.host("node-1");
    // `output()` would wait for the pipes' other ends; so would a session over SSH.
    let began = Instant::now();
    host.must("exec 3>&1 4>&2; SECRET=x systemctl restart kubelet");
    assert!(began.elapsed() < Duration::from_secs(10));
    let pid = main_pid(host, "kubelet");
    let environment = said(&host.run(&format!("tr '\\0' '\\n' </proc/{pid}/environ")));
    assert!(!environment.contains("SECRET"), "{environment}");
}

#[test]
fn a_kubelet_with_a_valid_kubeconfig_ignores_the_bootstrap_file() {
    need_root!();
    let cluster = ControlPlane::builder().nodes(1).start();
    let (host, before) = (cluster.host("node-1"), cluster.kubelet_certificate("node-1"));
    host.must("echo nonsense >/etc/kubernetes/bootstrap.kubeconfig; systemctl restart kubelet");
    let since = cluster.nodes()[0]["status"]["conditions"][0]["lastHeartbeatTime"].clone();
    eventually("a heartbeat", || {
        (cluster.nodes()[0]["status"]["conditions"][0]["lastHeartbeatTime"] != since).then_some(())
    });
    assert_eq!((cluster.csrs().len(), cluster.kubelet_certificate("node-1")), (1, before));
    assert_eq!(host.attributes("/etc/kubernetes/kubelet.kubeconfig").0, 0o600);
}

#[test]
fn a_kubelet_without_its_kubeconfig_asks_only_when_its_certificate_is_gone_too() {
    need_root!();
    let cluster = ControlPlane::builder().nodes(1).start();
    let (host, before) = (cluster.host("node-1"), cluster.kubelet_certificate("node-1"));
    let kubeconfig = host.read("/etc/kubernetes/kubelet.kubeconfig");
    host.must("rm /etc/kubernetes/kubelet.kubeconfig; systemctl restart kubelet");
    eventually("the kubeconfig", || host.exists("/etc/kubernetes/kubelet.kubeconfig").then_some(()));
    assert_eq!((cluster.csrs().len(), cluster.kubelet_certificate("node-1")), (1, before.clone()));
    assert_eq!(host.read("/etc/kubernetes/kubelet.kubeconfig"), kubeconfig);
    host.must(
        "systemctl stop kubelet
         rm /etc/kubernetes/kubelet.kubeconfig /var/lib/kubelet/pki/kubelet-client-*; systemctl start kubelet",
    );
    let asked = eventually("a request", || cluster.pending_of("node-1").pop());
    // Denied, it asks again, with a new key.
    cluster.decide(&asked, "Denied");
    let again = eventually("another request", || cluster.pending_of("node-1").pop());
    assert_ne!(asked, again);
    cluster.decide(&again, "Approved");
    eventually("the kubeconfig", || host.exists("/etc/kubernetes/kubelet.kubeconfig").then_some(()));
    assert_ne!(cluster.kubelet_certificate("node-1"), before);
}

#[test]
fn a_kubelet_with_a_token_that_nobody_knows_does_not_join() {
    need_root!();
    let cluster = ControlPlane::builder().nodes(1).idle(&["node-1"]).start();
    let host = cluster.host("node-1");
    let good = cluster.token_on("node-1");
    let file = "/etc/kubernetes/bootstrap.kubeconfig";
    host.write(file, &host.read(file).replace(&good, &"0".repeat(32)));
    host.must("systemctl start kubelet");
    eventually("its complaint", || cluster.service_log("node-1", "kubelet").contains("Unauthorized").then_some(()));
    assert_eq!(cluster.csrs().len(), 0);
    host.write(file, &host.read(file).replace(&"0".repeat(32), &good));
    cluster.join(&["node-1"]);
}

#[test]
fn a_node_that_is_silent_is_not_ready() {
    need_root!();
    let mut cluster = ControlPlane::builder().nodes(2).start();
    cluster.stop_host("node-1");
    eventually("node-1 to be missed", || (!cluster.is_node_ready("node-1")).then_some(()));
    assert!(cluster.is_node_ready("node-2"));
    cluster.start_host("node-1");
    eventually("node-1 to be back", || cluster.is_node_ready("node-1").then_some(()));
}

#[test]
fn kube_proxy_is_who_its_file_said_when_it_started() {
    need_root!();
    let cluster = ControlPlane::builder().nodes(1).kube_proxies().start();
    let identity = || cluster.kube_proxy_identity("node-1").filter(|identity| identity["username"].is_string());
    let first = eventually("its identity", identity);
    assert_eq!(first["username"], "system:kube-proxy");
    let host = cluster.host("node-1");
    host.must("cp /etc/kubernetes/bootstrap.kubeconfig /etc/kubernetes/kube-proxy.kubeconfig");
    let later = eventually("a later one", || identity().filter(|now| now["ms"].as_u64() > first["ms"].as_u64()));
    assert_eq!(later["serial"], first["serial"]);
    host.must("systemctl restart kube-proxy");
    eventually("its complaint", || {
        cluster.service_log("node-1", "kube-proxy").contains("invalid configuration").then_some(())
    });
}

#[test]
fn the_prober_counts_refusals_and_nothing_else() {
    need_root!();
    let cluster = ControlPlane::builder().stand_ins().control_planes(2).nodes(2).start();
    let prober = cluster.probe();
    for n in 0..2 {
        cluster.host("cp-1").must("systemctl restart kube-apiserver");
        eventually("it to be back", || cluster.downtimes("cp-1").get(n).and_then(|downtime| downtime.to));
    }
    std::thread::park_timeout(Duration::from_millis(500));
    let quiet = prober.stop();
    assert!(quiet.refusals.is_empty(), "{quiet:?}");
    assert!(quiet.accepted.iter().all(|n| *n > 10) && quiet.unanswered > 0, "{quiet:?}");
    // A token that one apiserver does not know any more.
    cluster.host("cp-2").write("/etc/kubernetes/token.csv", "other,u,1\n");
    let prober = cluster.probe();
    cluster.host("cp-2").must("systemctl restart kube-apiserver");
    eventually("refusals", || cluster.access_log("cp-2").iter().any(|entry| entry["status"] == 401).then_some(()));
    std::thread::park_timeout(Duration::from_millis(300));
    let loud = prober.stop();
    assert!(
        loud.refusals.len() > 2 && loud.refusals.iter().all(|r| r.apiserver == cluster.address("cp-2")),
        "{loud:?}"
    );
    let nodes = |name: &str| loud.refusals.iter().filter(|refusal| refusal.node == name).count();
    assert!(nodes("node-1") > 0 && nodes("node-2") > 0, "{loud:?}");
}

#[test]
fn downtimes_overlap_when_two_are_down() {
    let down = |host: &str, from, to| Downtime { host: host.to_owned(), from, to };
    let cases = [
        (vec![down("a", 10, Some(20)), down("b", 20, Some(30))], 0),
        (vec![down("a", 10, Some(21)), down("b", 20, Some(30))], 1),
        (vec![down("a", 10, None), down("b", 20, Some(30)), down("c", 5, Some(9))], 1),
        (vec![down("a", 10, Some(20)), down("a", 15, Some(30))], 0),
        (vec![down("a", 10, Some(40)), down("b", 15, Some(20)), down("c", 30, None)], 2),
    ];
    for (all, pairs) in cases {
        assert_eq!(overlaps(&all).len(), pairs, "{all:?}");
    }
}

#[test]
fn downtimes_are_seen() {
    need_root!();
    let mut cluster = ControlPlane::builder().control_planes(3).start();
    let restart = |host: &str| cluster.host(host).must("systemctl restart kube-apiserver");
    for host in ["cp-1", "cp-2"] {
        restart(host);
        eventually("it to be back", || cluster.downtimes(host).first().and_then(|downtime| downtime.to));
    }
    assert_eq!((cluster.overlapping_downtimes(), cluster.downtimes("cp-3")), (vec![], vec![]));
    cluster.stop_host("cp-3");
    assert_eq!(cluster.downtimes("cp-3")[0].to, None);
    cluster.host("cp-1").must("systemctl restart kube-apiserver");
    eventually("the overlap", || (cluster.overlapping_downtimes().len() == 1).then_some(()));
    cluster.start_host("cp-3");
    assert!(cluster.downtimes("cp-3")[0].to.is_some());
    // The host was logged in to before, and is again.
    cluster.run(&["distribute"]).expect(0);
}

#[test]
fn hosts_may_be_an_ordinary_users() {
    need_root!();
    let cluster = ControlPlane::builder()
        .nodes(1)
        .by_sudo()
        .settings("[token]\nuid = \"7\"\n")
        .services(&format!("restart_timeout = \"{}s\"\n", patience().as_secs()))
        .start();
    cluster.run(&["distribute"]).expect(0);
    // sudo has a path of its own.
    let as_ops = "setpriv --reuid=2001 --regid=2001 --clear-groups sudo -n systemctl restart kubelet";
    cluster.host("node-1").must(as_ops);
    assert_eq!(cluster.restarts("node-1", "kubelet"), 1);
    assert!(cluster.env().read("state/token.csv").contains(",7,"));
    assert_eq!(cluster.status_of_token("cp-1", &cluster.token_on("node-1")), 201);
}
