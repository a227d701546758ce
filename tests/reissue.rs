//! `kubemint reissue kube-proxy` on hosts that are directories of this machine; their kube-proxy is a command that notes
//! when it is restarted, and which file it found then.

#![allow(clippy::unwrap_used, reason = "clippy.toml allows it in test functions only, not in what they call")]

mod support;

use serde_json::Value;
use support::{
    LOCAL_HOSTS, TestEnv, host_of, hosts_that_are,
    openssl::{assert_pair, field},
};

const CERTIFICATE: &str = "state/certs/kube-proxy.pem";
const KEY: &str = "state/certs/kube-proxy-key.pem";

/// The restart command of local hosts is run in no directory of theirs: one log for all.
fn services(env: &TestEnv) -> String {
    format!("[services]\nkube-proxy = \"echo restarted >> {}\"\n", env.path("restarts").display())
}

fn applied(more: &str) -> TestEnv {
    let env = TestEnv::new();
    env.write("inventory.toml", format!("{LOCAL_HOSTS}{more}{}", services(&env)));
    env.ok(&["apply", "--yes"]);
    env
}

fn restarts(env: &TestEnv) -> usize {
    let log = env.path("restarts");
    if log.exists() { std::fs::read_to_string(log).unwrap().lines().count() } else { 0 }
}

fn state(env: &TestEnv) -> Value {
    serde_json::from_str(&env.read("state/state.json")).unwrap()
}

fn on_host(env: &TestEnv, host: &str) -> String {
    env.read(format!("hosts/{host}/etc/kubernetes/kube-proxy.kubeconfig"))
}

#[test]
fn a_new_certificate_with_a_new_key_reaches_every_node_and_restarts_it() {
    let env = applied("");
    let old = (env.read(CERTIFICATE), env.read(KEY), field(&env, CERTIFICATE, "-serial"));
    let bootstrap = env.stamp("hosts/node-1/etc/kubernetes/bootstrap.kubeconfig");
    let (code, report) = env.json(&["reissue", "kube-proxy"]);
    assert_eq!((code, &report["command"], &report["generation"]), (0, &"reissue".into(), &2.into()), "{report}");
    assert_eq!(hosts_that_are(&report, "changed"), ["cp-1", "node-1", "node-2"]);
    for host in report["hosts"].as_array().unwrap() {
        assert_eq!((host["files"].as_array().unwrap().len(), &host["restart"]["outcome"]), (1, &"done".into()));
    }
    assert_eq!((restarts(&env), &report["next_steps"]), (3, &Value::Array(Vec::new())));
    assert!(env.read(CERTIFICATE) != old.0 && env.read(KEY) != old.1);
    assert_pair(&env, CERTIFICATE, KEY, "state/ca.pem");
    for host in ["cp-1", "node-1", "node-2"] {
        assert_eq!(on_host(&env, host), env.read("state/kubeconfigs/kube-proxy.kubeconfig"));
    }
    assert_eq!(env.stamp("hosts/node-1/etc/kubernetes/bootstrap.kubeconfig"), bootstrap, "only its own file");
    let replaced = format!("serial={}", state(&env)["replaced"][""]["serial"].as_str().unwrap());
    assert_eq!(replaced.replace("=0", "="), old.2.replace("=0", "="));
    // No apiserver answers here, and that is said.
    assert_eq!(report["identity"]["servers"][0]["verdict"], "unasked", "{report}");
    env.ok(&["status", "--exit-code"]);
    env.ok(&["verify"]);
}

#[test]
fn with_nothing_due_nothing_is_touched() {
    let env = applied("");
    let before = env.tree_hash("");
    let (code, report) = env.json(&["reissue", "kube-proxy", "--if-expiring", "30d"]);
    assert_eq!((code, &report["run_id"], report["hosts"].as_array().unwrap().len()), (0, &Value::Null, 0), "{report}");
    env.ok(&["reissue", "kube-proxy", "--if-expiring", "30d"]).says(&["nothing is due", "valid until"]);
    assert_eq!((env.tree_hash(""), restarts(&env)), (before, 0));
}

#[test]
fn what_ends_soon_is_made_anew() {
    let env = applied("[certificates.kube-proxy]\nvalidity = \"20d\"\n");
    let old = field(&env, CERTIFICATE, "-serial");
    env.ok(&["reissue", "kube-proxy", "--if-expiring", "19d"]).says(&["nothing is due"]);
    assert_eq!((field(&env, CERTIFICATE, "-serial"), restarts(&env)), (old.clone(), 0));
    env.ok(&["reissue", "kube-proxy", "--if-expiring", "30d"]).says(&["3 changed", "restarted on 3 hosts"]);
    assert_ne!(field(&env, CERTIFICATE, "-serial"), old);
}

#[test]
fn a_certificate_that_ends_with_its_ca_is_left_and_the_ca_named() {
    let env = applied("[certificates.kube-proxy]\nvalidity = \"365d\"\n[ca]\nvalidity = \"20d\"\n");
    let before = env.tree_hash("");
    env.ok(&["reissue", "kube-proxy", "--if-expiring", "30d"]).says(&["nothing is due", "the CA itself ends on"]);
    assert_eq!(env.tree_hash(""), before);
}

#[test]
fn a_kept_key_is_certified_once_more() {
    let env = applied("");
    let (key, serial) = (env.read(KEY), field(&env, CERTIFICATE, "-serial"));
    env.ok(&["reissue", "kube-proxy", "--keep-key"]).says(&["3 changed"]);
    assert_eq!(env.read(KEY), key);
    assert_ne!(field(&env, CERTIFICATE, "-serial"), serial);
    assert_pair(&env, CERTIFICATE, KEY, "state/ca.pem");
    let with_other_keys = env
        .read("inventory.toml")
        .replace("[services]", "[certificates.kube-proxy]\nalgorithm = \"ecdsa-p384\"\n[services]");
    env.write("inventory.toml", with_other_keys);
    env.run(&["reissue", "kube-proxy", "--keep-key"]).expect(2).says(&["ecdsa-p256", "ecdsa-p384"]);
    env.run(&["reissue", "kube-proxy", "--keep-key", "--new-key"]).expect(2);
    env.ok(&["reissue", "kube-proxy"]);
}

#[test]
fn a_restart_that_fails_fails_its_host_and_a_retry_does_it() {
    let env = applied("");
    let working = env.read("inventory.toml");
    let failing = "[services]\nkube-proxy = \"echo no such unit >&2; exit 5\"\n";
    env.write("inventory.toml", working.split("[services]").next().unwrap().to_owned() + failing);
    let (code, report) = env.json(&["reissue", "kube-proxy"]);
    assert_eq!((code, hosts_that_are(&report, "failed").len()), (3, 3), "{report}");
    let host = host_of(&report, "node-1");
    assert_eq!((&host["error"]["code"], &host["restart"]["outcome"]), (&"restart_failed".into(), &"failed".into()));
    let message = host["error"]["message"].as_str().unwrap();
    for words in ["(`echo no such unit >&2; exit 5`)", "status 5: no such unit"] {
        assert!(message.contains(words), "{message}");
    }
    let serial = field(&env, CERTIFICATE, "-serial");
    // The files are right, but nobody knows that kube-proxy has read them: it is restarted all the same.
    env.write("inventory.toml", &working);
    let (code, report) = env.json(&["reissue", "kube-proxy", "--retry", "last"]);
    assert_eq!((code, restarts(&env), hosts_that_are(&report, "unchanged").len()), (0, 3, 3), "{report}");
    assert_eq!(field(&env, CERTIFICATE, "-serial"), serial, "a retry makes nothing");
    env.ok(&["reissue", "kube-proxy", "--retry", "last"]).says(&["nothing to retry"]);
    assert_eq!(restarts(&env), 3);
}

#[test]
fn a_timer_goes_on_where_the_last_run_stopped() {
    let env = applied("");
    let working = env.read("inventory.toml");
    env.write(
        "inventory.toml",
        working.replace("[[hosts]]", "[distribute]\nmax_failures = 0\nconcurrency = 1\n[[hosts]]").replacen(
            "[distribute]\nmax_failures = 0\nconcurrency = 1\n[[hosts]]\nname = \"node",
            "[[hosts]]\nname = \"node",
            1,
        ),
    );
    // The second host's directory cannot be used: the third is not begun.
    std::fs::rename(env.path("hosts/node-1/etc"), env.path("away")).unwrap();
    std::fs::write(env.path("hosts/node-1/etc"), "in the way").unwrap();
    let (code, report) = env.json(&["reissue", "kube-proxy"]);
    assert_eq!((code, restarts(&env)), (3, 1), "{report}");
    assert_eq!(
        (hosts_that_are(&report, "failed"), hosts_that_are(&report, "skipped")),
        (vec!["node-1"], vec!["node-2"])
    );
    std::fs::remove_file(env.path("hosts/node-1/etc")).unwrap();
    std::fs::rename(env.path("away"), env.path("hosts/node-1/etc")).unwrap();
    let serial = field(&env, CERTIFICATE, "-serial");
    let (code, again) = env.json(&["reissue", "kube-proxy", "--if-expiring", "30d"]);
    assert_eq!((code, &again["of"], restarts(&env)), (0, &report["run_id"], 3), "{again}");
    assert_eq!(hosts_that_are(&again, "changed"), ["node-1", "node-2"]);
    assert_eq!(field(&env, CERTIFICATE, "-serial"), serial);
    env.ok(&["reissue", "kube-proxy", "--if-expiring", "30d"]).says(&["nothing is due"]);
    env.ok(&["status", "--exit-code"]);
}

#[test]
fn a_restart_stays_owed_after_a_later_run_of_other_hosts() {
    let env = applied("");
    let working = env.read("inventory.toml");
    let failing = "[services]\nkube-proxy = \"exit 5\"\n";
    env.write("inventory.toml", working.split("[services]").next().unwrap().to_owned() + failing);
    let (code, first) = env.json(&["reissue", "kube-proxy"]);
    assert_eq!((code, hosts_that_are(&first, "failed").len()), (3, 3), "{first}");
    env.write("inventory.toml", &working);
    let timer = ["reissue", "kube-proxy", "--if-expiring", "30d"];
    // With a limit only one of the three is made up for; the files of the others are right, their kube-proxy is not.
    let (code, one) = env.json(&[&timer[..], &["--limit", "node-1"]].concat());
    assert_eq!((code, &one["of"], hosts_that_are(&one, "unchanged")), (0, &first["run_id"], vec!["node-1"]), "{one}");
    assert_eq!(restarts(&env), 1);
    let (code, rest) = env.json(&timer);
    assert_eq!((code, &rest["of"], restarts(&env)), (0, &first["run_id"], 3), "{rest}");
    assert_eq!(hosts_that_are(&rest, "unchanged"), ["cp-1", "node-2"]);
    let (code, nothing) = env.json(&timer);
    assert_eq!((code, &nothing["of"], &nothing["run_id"], restarts(&env)), (0, &Value::Null, &Value::Null, 3));
}

#[test]
fn a_rollback_puts_the_earlier_certificate_back() {
    let env = applied("");
    let old = on_host(&env, "node-1");
    env.ok(&["reissue", "kube-proxy"]);
    assert_ne!(on_host(&env, "node-1"), old);
    env.ok(&["rollback", "last"]).says(&["3 changed"]);
    for host in ["cp-1", "node-1", "node-2"] {
        assert_eq!(on_host(&env, host), old, "{host}");
    }
}

#[test]
fn without_a_command_the_restart_is_due_and_said() {
    let env = TestEnv::with_local_hosts();
    env.ok(&["apply", "--yes"]);
    let (code, report) = env.json(&["reissue", "kube-proxy", "--no-probe"]);
    assert_eq!((code, &report["next_steps"][0]["service"]), (0, &"kube-proxy".into()));
    assert_eq!(report["next_steps"][0]["hosts"], serde_json::json!(["cp-1", "node-1", "node-2"]));
    assert_eq!(report["identity"]["not_probed"], "--no-probe");
}

#[test]
fn with_a_limit_the_others_keep_the_earlier_certificate_and_that_is_said() {
    let env = applied("");
    let old = on_host(&env, "node-2");
    let ran = env.ok(&["reissue", "kube-proxy", "--limit", "node-1"]);
    assert!(ran.stderr.contains("2 other nodes"), "{}", ran.stderr);
    assert_eq!((restarts(&env), on_host(&env, "node-2") == old, on_host(&env, "node-1") == old), (1, true, false));
    env.ok(&["distribute"]);
    assert_eq!(on_host(&env, "node-2"), on_host(&env, "node-1"));
}

#[test]
fn what_cannot_be_done_changes_nothing() {
    let env = TestEnv::with_local_hosts();
    env.run(&["reissue", "kube-proxy"]).expect(4).says(&["there are no credentials"]);
    assert!(!env.path("state").exists());
    let env = applied("");
    let before = env.tree_hash("");
    env.run(&["reissue", "kube-proxy", "--probe"]).expect(4).says(&["cannot be shown to every apiserver"]);
    env.run(&["reissue", "kube-proxy", "--retry", "last"]).expect(2).says(&["is no reissue"]);
    env.run(&["reissue", "kube-proxy", "--shard", "1/2"]).expect(2).says(&["--shard"]);
    env.run(&["reissue", "kube-proxy", "--if-expiring", "soon"]).expect(2);
    env.run(&["reissue", "kube-proxy", "--if-expiring", "30d", "--retry", "last"]).expect(2);
    assert_eq!(env.tree_hash(""), before);
    // What is for apply is not done by the way.
    let text = env.read("inventory.toml").replace("172.20.0.113", "172.20.0.114");
    env.write("inventory.toml", text);
    let before = env.tree_hash("");
    env.run(&["reissue", "kube-proxy"]).expect(4).says(&["kubemint apply", "bootstrap.kubeconfig"]);
    assert_eq!(env.tree_hash(""), before);
    assert_eq!(restarts(&env), 0);
}

#[test]
fn no_key_is_said() {
    let env = applied("");
    for arguments in
        [&["reissue", "kube-proxy", "-vv"][..], &["reissue", "kube-proxy", "--per-node", "-vv", "-o", "json"]]
    {
        let ran = env.ok(arguments);
        env.assert_no_secret(&ran.stdout);
        env.assert_no_secret(&ran.stderr);
        let own: Vec<String> = env
            .files("state/certs")
            .iter()
            .map(|file| env.read(format!("state/certs/{}", file.display())))
            .filter(|text| text.contains("PRIVATE KEY"))
            .collect();
        for key in own {
            let line = key.lines().nth(1).unwrap().to_owned();
            assert!(!ran.stdout.contains(&line) && !ran.stderr.contains(&line));
            for file in env.files("state/runs") {
                assert!(!env.read(format!("state/runs/{}", file.display())).contains(&line));
            }
            assert!(!env.read("state/state.json").contains(&line));
        }
    }
}
