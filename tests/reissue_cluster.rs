//! `kubemint reissue kube-proxy` on a cluster: real sshd hosts, apiservers that say whom they see, and a kube-proxy on each
//! node that reads its kubeconfig at its start, as the real one does.

#![allow(clippy::unwrap_used, reason = "clippy.toml allows it in test functions only, not in what they call")]

mod support;

use serde_json::Value;
use support::{
    ControlPlane, Fault, eventually, host_of, hosts_that_are,
    openssl::{ElsewhereCa, field},
};

fn report(cluster: &ControlPlane, arguments: &[&str]) -> (i32, Value) {
    let ran = cluster.run(&[arguments, &["-o", "json"]].concat());
    (ran.code, serde_json::from_str(&ran.stdout).unwrap_or_else(|e| panic!("{e}: {ran:?}")))
}

fn serial(cluster: &ControlPlane) -> String {
    field(cluster.env(), "state/certs/kube-proxy.pem", "-serial").replace("serial=", "").to_lowercase()
}

/// That a node's kube-proxy has come back as itself, with this certificate.
#[track_caller]
fn assert_runs_with(cluster: &ControlPlane, node: &str, serial: &str) {
    let bare = |text: &str| text.to_lowercase().trim_start_matches('0').to_owned();
    eventually("kube-proxy to use its new certificate", || {
        let identity = cluster.kube_proxy_identity(node)?;
        let found = identity["serial"].as_str()?;
        (bare(found) == bare(serial) && identity["username"] == "system:kube-proxy").then_some(())
    });
}

#[test]
fn every_kube_proxy_comes_back_with_the_new_certificate() {
    need_root!();
    let cluster = ControlPlane::builder().control_planes(3).nodes(2).kube_proxies().start();
    let old = serial(&cluster);
    let (code, report) = report(&cluster, &["reissue", "kube-proxy", "--probe", "--batch", "1"]);
    assert_eq!(code, 0, "{report}");
    let verdicts: Vec<_> =
        report["identity"]["servers"].as_array().unwrap().iter().map(|one| &one["verdict"]).collect();
    assert_eq!(verdicts, ["known", "known", "known"]);
    let new = serial(&cluster);
    assert_ne!(new, old);
    for node in ["node-1", "node-2"] {
        assert_runs_with(&cluster, node, &new);
        assert_eq!(cluster.restarts(node, "kube-proxy"), 1, "{}", cluster.systemctl_log(node));
    }
    // Nobody else was restarted, or asked for anything but its name.
    assert!(["cp-1", "cp-2", "cp-3"].iter().all(|host| cluster.restarts(host, "kube-apiserver") == 0));
    cluster.run(&["rollback", "last"]).expect(0);
}

#[test]
fn nodes_with_their_own_keys_are_the_same_user() {
    need_root!();
    let cluster = ControlPlane::builder().control_planes(1).nodes(2).kube_proxies().start();
    let (code, report) = report(&cluster, &["reissue", "kube-proxy", "--per-node", "--probe"]);
    assert_eq!(code, 0, "{report}");
    let of = |node: &str| {
        field(cluster.env(), &format!("state/certs/nodes/{node}/kube-proxy.pem"), "-serial").replace("serial=", "")
    };
    assert_ne!(of("node-1"), of("node-2"));
    for node in ["node-1", "node-2"] {
        assert_runs_with(&cluster, node, &of(node));
    }
}

/// Takes the CA's key away, to where only openssl has it.
fn take_ca_elsewhere(cluster: &ControlPlane) -> ElsewhereCa<'_> {
    let env = cluster.env();
    std::fs::create_dir(env.path("elsewhere")).unwrap();
    std::fs::rename(env.path("state/ca-key.pem"), env.path("elsewhere/ca-key.pem")).unwrap();
    std::fs::copy(env.path("state/ca.pem"), env.path("elsewhere/ca.pem")).unwrap();
    env.write("inventory.toml", env.read("inventory.toml") + "\n[ca]\ncert = \"elsewhere/ca.pem\"\n");
    ElsewhereCa::existing(env, "ca")
}

#[test]
fn what_a_ca_elsewhere_signed_is_shown_to_every_apiserver_and_each_kube_proxy_comes_back_with_it() {
    need_root!();
    let cluster = ControlPlane::builder().stand_ins().control_planes(2).nodes(2).kube_proxies().start();
    let ca = take_ca_elsewhere(&cluster);
    cluster.run(&["cert", "csr"]).expect(0);
    ca.sign("kube-proxy.csr", "signed.pem");
    cluster.run(&["cert", "import", "signed.pem"]).expect(0);
    // Nobody's rights are needed to ask whom an apiserver takes it for.
    let before = cluster.host("node-1").tree_hash("/etc/kubernetes");
    cluster.set_fault("cp-2", Fault::Failing);
    cluster.run(&["reissue", "kube-proxy", "--imported", "--probe"]).expect(4).says(&["cp-2"]);
    assert_eq!(cluster.host("node-1").tree_hash("/etc/kubernetes"), before);
    cluster.mend("cp-2");
    let (code, report) = report(&cluster, &["reissue", "kube-proxy", "--imported", "--probe", "--batch", "1"]);
    assert_eq!(code, 0, "{report}");
    let verdicts: Vec<_> =
        report["identity"]["servers"].as_array().unwrap().iter().map(|one| &one["verdict"]).collect();
    assert_eq!(verdicts, ["known", "known"]);
    for node in ["node-1", "node-2"] {
        assert_runs_with(&cluster, node, &serial(&cluster));
        assert_eq!(cluster.restarts(node, "kube-proxy"), 1, "{}", cluster.systemctl_log(node));
    }
}

#[test]
fn an_apiserver_that_does_not_answer_holds_a_reissue_up_only_where_that_is_asked_for() {
    need_root!();
    let cluster = ControlPlane::builder().stand_ins().control_planes(2).nodes(1).kube_proxies().start();
    cluster.set_fault("cp-2", Fault::Failing);
    let before = (serial(&cluster), cluster.host("node-1").tree_hash("/etc/kubernetes"));
    cluster.run(&["reissue", "kube-proxy", "--probe"]).expect(4).says(&["cp-2"]);
    assert_eq!((serial(&cluster), cluster.host("node-1").tree_hash("/etc/kubernetes")), before);
    let (code, report) = report(&cluster, &["reissue", "kube-proxy"]);
    assert_eq!((code, &report["identity"]["servers"][1]["verdict"]), (0, &"unasked".into()), "{report}");
    // The balancer sends some of what kube-proxy asks there.
    cluster.mend("cp-2");
    assert_runs_with(&cluster, "node-1", &serial(&cluster));
}

#[test]
fn a_kube_proxy_that_does_not_come_back_stops_the_batches_and_a_retry_brings_it_up() {
    need_root!();
    let cluster = ControlPlane::builder().control_planes(1).nodes(3).kube_proxies().start();
    let old = serial(&cluster);
    cluster.set_systemctl("node-2", "kube-proxy", Some("fail"));
    let limits = ["--batch", "1", "--max-failures", "0"];
    let (code, first) = report(&cluster, &[&["reissue", "kube-proxy"], &limits[..]].concat());
    assert_eq!(code, 3, "{first}");
    assert_eq!((hosts_that_are(&first, "failed"), hosts_that_are(&first, "skipped")), (vec!["node-2"], vec!["node-3"]));
    assert_eq!(host_of(&first, "node-2")["error"]["code"], "restart_failed");
    assert_eq!(cluster.kube_proxy_identity("node-3").unwrap()["username"], "system:kube-proxy");
    assert_runs_with(&cluster, "node-3", &old);
    cluster.set_systemctl("node-2", "kube-proxy", None);
    let (code, again) = report(&cluster, &["reissue", "kube-proxy", "--if-expiring", "30d"]);
    assert_eq!((code, &again["of"]), (0, &first["run_id"]), "{again}");
    for node in ["node-1", "node-2", "node-3"] {
        assert_runs_with(&cluster, node, &serial(&cluster));
    }
}
