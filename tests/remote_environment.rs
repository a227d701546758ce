//! The environment of a host's login steers nothing: every variable that the scripts clear, every function that they free
//! their words of, options of the shell and variables by our own names are set to odd values, and every command says and does
//! what it does on a clean host. Generated from the scripts' own lists, for each shell that may be `sh`.
#![allow(clippy::unwrap_used, reason = "test code")]

mod support;

use kubemint::{
    entropy::OsEntropy,
    remote::kubelet::{KubeletPaths, probe_kubelet, put_back, set_aside},
};
use serde_json::Value;
use std::{collections::BTreeSet, fmt::Write};
use support::{Fleet, Member, TestHost, require};

const ENVIRONMENT: &str = include_str!("../templates/environment.sh");
const VARIABLES: &str = include_str!("../templates/variables.sh");

/// With it the loader lists libraries in place of running any program, `sh` too.
const NO_PROGRAM_RUNS: &str = "LD_TRACE_LOADED_OBJECTS";
/// What the login shell itself calls before ours is there, and a function of whose name no bash starts as `sh`.
const CALLED_BY_THE_LOGIN: [&str; 3] = ["sh", "sudo", "export"];
/// The scripts that keep something by the number of a file or directory.
const NUMBERING: [&str; 4] = [
    include_str!("../templates/install.sh"),
    include_str!("../templates/restore.sh"),
    include_str!("../templates/doctor.sh"),
    include_str!("../templates/status.sh"),
];
const SENTINEL: &str = "/root/sentinel";

/// Variables of ours that a script reads by a number, or before it sets them.
fn ours() -> Vec<String> {
    let mut stems = BTreeSet::new();
    for script in NUMBERING {
        let names = script.split(|c: char| !(c.is_ascii_lowercase() || c == '_' || c == '$'));
        stems.extend(names.filter_map(|name| name.split_once("_$")).map(|(stem, _)| stem.trim_start_matches('$')));
    }
    stems.retain(|stem| stem.starts_with("km_"));
    for named in ["km_temp", "km_state", "km_kept", "km_how", "km_how_back", "km_size", "km_do", "km_older"] {
        assert!(stems.contains(named), "{named}: {stems:?}");
    }
    let numbered = stems.iter().flat_map(|stem| (0..4).map(move |n| format!("{stem}_{n}")));
    numbered.chain(["km_sums", "km_guard"].map(str::to_owned)).collect()
}

/// The words after each `unset` of a script.
fn cleared(script: &str, unset: &str) -> Vec<String> {
    let joined = script.replace("\\\n", " ");
    let lists = joined.lines().filter_map(|line| line.strip_prefix(unset));
    lists.flat_map(str::split_whitespace).map(str::to_owned).collect()
}

fn variables() -> Vec<String> {
    let all: Vec<String> = cleared(VARIABLES, "unset ").into_iter().filter(|name| name != NO_PROGRAM_RUNS).collect();
    for named in [
        "QUOTING_STYLE",
        "TIME_STYLE",
        "BLOCK_SIZE",
        "LS_BLOCK_SIZE",
        "LS_COLORS",
        "POSIXLY_CORRECT",
        "GREP_OPTIONS",
        "BLOCKSIZE",
        "CDPATH",
        "IFS",
        "LD_PRELOAD",
        "OPENSSL_CONF",
        "LC_TIME",
        "FUNCNEST",
        "GLOBIGNORE",
    ] {
        assert!(all.iter().any(|name| name == named), "{named} is not cleared");
    }
    assert!(all.len() > 150, "{}", all.len());
    all
}

/// A .bashrc that leaves all of it to the shell that runs our script.
fn startup_file(value: &str) -> String {
    let mut text = String::from("umask 000\n");
    // Functions come first: after them, and in POSIX mode, this file itself may call builtins by that word only.
    let functions = cleared(ENVIRONMENT, "unset -f ");
    assert!(functions.len() > 50 && functions.iter().any(|name| name == "ls"), "{functions:?}");
    for name in functions.iter().filter(|name| !CALLED_BY_THE_LOGIN.contains(&name.as_str())) {
        writeln!(text, "function {name} {{ builtin printf 'not {name}\\n'; builtin return 1; }}").unwrap();
        writeln!(text, "builtin export -f {name}").unwrap();
    }
    text += "builtin shopt -s nullglob failglob dotglob nocaseglob nocasematch extglob lastpipe xpg_echo\n";
    text += "builtin set -C -f -o physical -o pipefail\nbuiltin export BASHOPTS SHELLOPTS\n";
    for name in ours() {
        writeln!(text, "builtin export {name}={SENTINEL}").unwrap();
    }
    text += "builtin export PATH=\":.:relative:$PATH:\"\n";
    for name in variables() {
        writeln!(text, "builtin export {name}='{value}'").unwrap();
    }
    text += "builtin export BASH_XTRACEFD=1\n";
    for (name, style) in
        [("QUOTING_STYLE", "c"), ("TIME_STYLE", "+%n%s %n"), ("LS_BLOCK_SIZE", "human-readable"), ("IFS", "/0a")]
    {
        writeln!(text, "builtin export {name}='{style}'").unwrap();
    }
    text
}

/// What of a document does not change from run to run.
fn outline(value: &Value, into: &mut Vec<String>) {
    const TOLD: [&str; 9] =
        ["status", "state", "action", "code", "check", "attributes", "changed", "unchanged", "failed"];
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                match value {
                    // Whatever else runs on this machine.
                    _ if ["services", "in_use", "upkeep", "kubelet"].contains(&key.as_str()) => {}
                    Value::Object(_) | Value::Array(_) => outline(value, into),
                    plain if TOLD.contains(&key.as_str()) => into.push(format!("{key}={plain}")),
                    _ => {}
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| outline(value, into)),
        _ => {}
    }
}

/// Everything that is asked of a host, from nothing to a rollback, and what was said and is there after each.
fn whole_story(fleet: &Fleet) -> Vec<String> {
    let host = &fleet.hosts[0];
    host.must("rm -rf /etc/kubernetes && mkdir -m 755 /etc/kubernetes && rm -rf /var/lib/kubelet/pki");
    let mut told = Vec::new();
    let mut ask = |arguments: &[&str]| {
        let (code, document) = fleet.json(arguments);
        told.push(format!("{arguments:?} -> {code}"));
        outline(&document, &mut told);
        let holding = fleet.holding(0);
        told.extend(holding.iter().map(|(name, (attributes, _))| format!("{name} {attributes:?}")));
        document
    };
    ask(&["plan"]);
    let first = ask(&["apply"]);
    assert!(host.exists("/etc/kubernetes/bootstrap.kubeconfig"), "{first:#}");
    ask(&["apply"]);
    ask(&["status", "--exit-code"]);
    host.must("chmod 644 /etc/kubernetes/bootstrap.kubeconfig && echo other >>/etc/kubernetes/kube-proxy.kubeconfig");
    ask(&["plan"]);
    let run = ask(&["apply"])["run_id"].as_str().unwrap().to_owned();
    ask(&["doctor", "--skip", "apiserver"]);
    let report = fleet.json(&["rollback", &run]);
    told.push(format!("rollback -> {}", report.0));
    outline(&report.1, &mut told);
    told.extend(fleet.names(0));
    told.extend(kubelet_story(fleet));
    told
}

/// The same of the script that moves a kubelet's files.
fn kubelet_story(fleet: &Fleet) -> Vec<String> {
    let host = &fleet.hosts[0];
    host.must(
        "mkdir -p -m 755 /var/lib/kubelet/pki && cd /var/lib/kubelet/pki && echo key >kubelet-client-1.pem && \
         ln -s kubelet-client-1.pem kubelet-client-current.pem && echo config >/etc/kubernetes/kubelet.kubeconfig",
    );
    let paths =
        KubeletPaths { kubeconfig: "/etc/kubernetes/kubelet.kubeconfig".into(), pki: "/var/lib/kubelet/pki".into() };
    let (remote, target) = (fleet.client.remote(), fleet.client.host(host));
    vec![
        format!("{:?}", probe_kubelet(&remote, &target, &paths, &OsEntropy)),
        format!("{:?}", set_aside(&remote, &target, &paths, "run-1", &OsEntropy)),
        format!("{:?}", put_back(&remote, &target, &paths, &OsEntropy)),
    ]
}

fn assert_nothing_steers(shell: &str) {
    require("bash");
    let program = require(shell);
    let fleet = Fleet::new(vec![Member::new(TestHost::builder("node-1")).roles(&["control-plane", "node"])]);
    let host = &fleet.hosts[0];
    host.must("mkdir -p /var/lib/kubelet && mount -t tmpfs tmpfs /var/lib/kubelet");
    host.must(&format!("mount --bind {} \"$(readlink -f /bin/sh)\"", program.canonicalize().unwrap().display()));
    host.write(SENTINEL, "it stays");
    fleet.run(&["generate"]).expect(0);
    let clean = whole_story(&fleet);
    assert!(clean.iter().any(|line| line.contains("Ok(KubeletFiles")), "{clean:#?}");
    for value in ["c", "1", "/nonexistent/%n %s"] {
        host.write("/root/.bashrc", &startup_file(value));
        let steered = whole_story(&fleet);
        let differing: Vec<_> = clean.iter().zip(&steered).filter(|(clean, steered)| clean != steered).collect();
        assert!(clean.len() == steered.len() && differing.is_empty(), "{shell} with {value}: {differing:#?}");
        assert_eq!(host.read(SENTINEL), "it stays", "{shell} with {value}");
    }
}

#[test]
fn the_login_s_environment_steers_nothing_in_dash() {
    need_root!();
    assert_nothing_steers("dash");
}

#[test]
fn the_login_s_environment_steers_nothing_in_bash() {
    need_root!();
    assert_nothing_steers("bash");
}

#[test]
fn the_login_s_environment_steers_nothing_in_busybox() {
    need_root!();
    assert_nothing_steers("busybox");
}
