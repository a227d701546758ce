//! What `reissue` and `cert csr` make is said nowhere: not by output, journal or report, not in a command line or an
//! environment on either side.
#![allow(clippy::unwrap_used, reason = "test code")]

mod support;

use std::fs;
use support::{Canaries, ExecTrace, Fleet, Sampler, cluster_table};

#[test]
fn no_key_of_a_node_is_in_a_command_line_an_environment_or_a_record() {
    need_root!();
    let mut fleet = Fleet::of_nodes(2);
    let server = cluster_table("https://172.20.0.113:6443");
    fleet.set_settings(&format!("{server}[services]\nkube-proxy = \"cat /etc/kubernetes/kube-proxy.kubeconfig\"\n"));
    fleet.run(&["apply", "--yes"]).expect(0);
    let traces: Vec<ExecTrace> = fleet
        .hosts
        .iter()
        .map(|host| ExecTrace::attach(host.listener_pid(), &fleet.env.path(format!("{}.trace", host.name()))))
        .collect();
    let sampler = Sampler::start();
    // A restart that prints the very file is the worst that a command can do; and one that fails is quoted.
    let said = fleet.run(&["reissue", "kube-proxy", "--per-node", "--no-probe", "-vv", "-o", "json"]).expect(0);
    fleet.set_settings(&format!(
        "{server}[services]\nkube-proxy = \"cat /etc/kubernetes/kube-proxy.kubeconfig; exit 1\"\n"
    ));
    let failed = fleet.run(&["reissue", "kube-proxy", "--keep-key", "--no-probe", "-vv"]).expect(3);
    let sampled = sampler.finish();
    fleet.hosts.iter_mut().for_each(support::TestHost::stop);
    let mut canaries = Canaries::default();
    for node in ["node-01", "node-02"] {
        let key = fleet.env.read(format!("state/certs/nodes/{node}/kube-proxy-key.pem"));
        canaries.add_pkcs8_key(node, &key);
        let config = fleet.env.path("state/kubeconfigs/kube-proxy.kubeconfig");
        assert!(canaries.find(fs::read(config).unwrap().as_slice()).is_none(), "the shared file holds no node's key");
        assert!(canaries.find(key.as_bytes()).is_some(), "the nose works");
    }
    for ran in [said, failed] {
        canaries.assert_absent("standard output", ran.stdout);
        canaries.assert_absent("standard error", ran.stderr);
    }
    for file in fleet.env.files("state/runs") {
        canaries.assert_absent("a record", fs::read(fleet.env.path("state/runs").join(file)).unwrap());
    }
    canaries.assert_absent("state.json", fleet.env.read("state/state.json"));
    for trace in traces {
        let log = trace.finish();
        assert!(log.contains("/cat\""), "the restart was seen: {log}");
        canaries.assert_absent("a program that was started on a host", log);
    }
    for sample in &sampled {
        canaries.assert_absent("a command line or an environment", sample);
    }
}
