//! kubemint dies somewhere in a reissue: the state loads, and what a timer runs brings every node's kube-proxy to the
//! certificate that is stored.
#![allow(clippy::unwrap_used, reason = "test code")]

mod support;

use std::{fs, os::unix::process::ExitStatusExt, process::Command};
use support::{Fleet, cluster_table, eventually, require};

/// What a stand-in kube-proxy read at its last start.
const LOADED: &str = "/root/loaded";
const CONFIG: &str = "/etc/kubernetes/kube-proxy.kubeconfig";

fn loaded(fleet: &Fleet, index: usize) -> String {
    fleet.hosts[index].read(LOADED)
}

#[test]
fn a_reissue_that_was_killed_is_brought_to_its_end_by_the_next_one() {
    need_root!();
    let mut fleet = Fleet::of_nodes(3);
    let server = cluster_table("https://172.20.0.113:6443");
    fleet.set_settings(&format!(
        "{server}[services]\nkube-proxy = \"cat {CONFIG} > {LOADED}\"\n[distribute]\nconcurrency = 2\n"
    ));
    fleet.run(&["apply", "--yes"]).expect(0);
    fleet.run(&["reissue", "kube-proxy", "--no-probe"]).expect(0);
    let strace = require("strace");
    let trace = fleet.env.path("trace");
    let arguments = ["reissue", "kube-proxy", "--no-probe", "-q"];
    let start = |options: &[&str]| {
        let mut command = Command::new(&strace);
        command.args(["-f", "-qq"]).args(options).arg(env!("CARGO_BIN_EXE_kubemint")).args(arguments);
        command.env_clear().env("HOME", fleet.env.path("home")).env("PATH", std::env::var_os("PATH").unwrap());
        command.current_dir(fleet.env.dir()).output().unwrap().status
    };
    // strace counts calls by thread; the names are those of every architecture.
    let renames = "?rename,renameat,renameat2";
    let mut points: Vec<(String, usize)> = Vec::new();
    for (calls, every) in [(renames, 1), ("?mkdir,mkdirat", 1), ("fdatasync,fsync", 3), ("sendto", 4), ("write", 40)] {
        let status = start(&["-o", trace.to_str().unwrap(), "-s", "0", "-e", &format!("trace={calls}")]);
        assert!(status.success());
        let text = fs::read_to_string(&trace).unwrap();
        let mut by_thread = std::collections::BTreeMap::<&str, usize>::new();
        for line in text.lines() {
            *by_thread.entry(line.split_whitespace().next().unwrap()).or_default() += 1;
        }
        let most = by_thread.values().copied().max().unwrap_or(0);
        points.extend((1..=most).step_by(every).map(|when| (calls.to_owned(), when)));
    }
    let mut killed = 0;
    for (calls, when) in &points {
        let inject = format!("inject={calls}:signal=SIGKILL:when={when}");
        let status = start(&["-o", "/dev/null", "-e", &format!("trace={calls}"), "-e", &inject]);
        if status.success() {
            continue;
        }
        assert_eq!(status.signal(), Some(9), "{calls} {when}: {status:?}");
        killed += 1;
        for host in &fleet.hosts {
            eventually("the hosts to come to rest", || host.session_pids().is_empty().then_some(()));
        }
        let ran = fleet.run(&["reissue", "kube-proxy", "--if-expiring", "30d", "--no-probe"]);
        assert_eq!(ran.code, 0, "{calls} {when}: {ran:?}");
        for index in 0..3 {
            let held = fleet.hosts[index].read(CONFIG);
            assert!(held == fleet.env.read("state/kubeconfigs/kube-proxy.kubeconfig"), "{calls} {when}: host {index}");
            assert!(loaded(&fleet, index) == held, "{calls} {when}: host {index} runs with another");
        }
        let verified = fleet.run(&["verify"]);
        assert_eq!(verified.code, 0, "{calls} {when}: {verified:?}");
    }
    assert!(killed >= 15, "{killed} of {}", points.len());
}
