//! Batches, the number of failures a run bears, and a mistake of this machine that fails every host.
#![allow(clippy::unwrap_used, reason = "test code")]

mod support;

use rustix::process::Signal;
use serde_json::Value;
use support::{Fleet, Relays, TestEnv, eventually, host_of, hosts_that_are};

/// Local nodes node-01 to node-20; those named have a file where their directory should be.
fn twenty(distribute: &str, broken: &[usize]) -> TestEnv {
    let env = TestEnv::with_inventory(&format!(
        "state_dir = \"state\"\n[cluster]\nserver = \"https://172.20.0.113:6443\"\n[distribute]\n{distribute}\n\
         [[hosts]]\nname = \"node-[01-20]\"\nconnection = \"local\"\nroot = \"hosts/node-[01-20]\"\n"
    ));
    broken.iter().for_each(|n| env.write(format!("hosts/node-{n:02}/etc"), "x"));
    env
}

fn counts(report: &Value) -> [u64; 3] {
    ["changed", "failed", "skipped"].map(|key| report["summary"][key].as_u64().unwrap())
}

#[test]
fn a_batch_begins_when_the_one_before_has_ended() {
    let (mut fleet, relays) = (Fleet::of_nodes(6), Relays::new());
    fleet.relay_all(&relays);
    relays.close_gate();
    let running = fleet.start(&["apply", "-o", "json", "--batch", "2"]);
    eventually("the first batch", || (relays.connections() == 2).then_some(()));
    relays.open_gate();
    let ran = running.wait().expect(0);
    assert!(ran.stdout.contains("\"changed\": 6"), "{}", ran.stdout);
    assert_eq!((relays.connections(), relays.most_at_once()), (6, 2));
    // A tenth of six is less than a host: one at a time.
    let alone = Relays::new();
    fleet.relay_all(&alone);
    let (code, report) = fleet.json(&["distribute", "--batch", "10%"]);
    assert_eq!((code, hosts_that_are(&report, "unchanged").len()), (0, 6));
    assert_eq!((alone.connections(), alone.most_at_once()), (6, 1));
}

#[test]
fn a_signal_between_batches_begins_no_other() {
    let (mut fleet, relays) = (Fleet::of_nodes(6), Relays::new());
    fleet.relay_all(&relays);
    relays.close_gate();
    let running = fleet.start(&["apply", "-o", "json", "--batch", "2"]);
    eventually("the first batch", || (relays.connections() == 2).then_some(()));
    running.signal(Signal::INT);
    relays.open_gate();
    let report: Value = serde_json::from_str(&running.wait().expect(130).stdout).unwrap();
    assert_eq!(counts(&report), [2, 0, 4], "{report:#}");
    assert_eq!(host_of(&report, "node-06")["error"]["code"], "interrupted");
    assert_eq!(relays.connections(), 2);
}

#[test]
fn more_failures_than_allowed_stop_the_run_and_who_was_not_begun_is_named() {
    let env = twenty("", &[2, 4, 6]);
    let (code, report) = env.json(&["apply", "--max-failures", "2", "--concurrency", "1"]);
    assert_eq!((code, counts(&report)), (3, [3, 3, 14]), "{report:#}");
    assert_eq!(hosts_that_are(&report, "failed"), ["node-02", "node-04", "node-06"]);
    let waiting = host_of(&report, "node-07");
    assert_eq!((&waiting["status"], &waiting["error"]["code"]), (&"skipped".into(), &"not_started".into()));
    assert_eq!(waiting["error"]["message"], "not started: more than 2 hosts had failed");
    assert!(waiting["error"]["hint"].as_str().unwrap().contains("--max-failures"));
    assert_eq!((&waiting["attempts"], &waiting["files"]), (&0.into(), &serde_json::json!([])));
    assert!(!env.path("hosts/node-07").exists());
    let kept = env.read(format!("state/runs/{}/report.json", report["run_id"].as_str().unwrap()));
    assert_eq!(serde_json::from_str::<Value>(&kept).unwrap()["hosts"], report["hosts"]);

    // As many as allowed do not stop it, and once they are mended the rest is done.
    let (code, report) = env.json(&["apply", "--max-failures", "3", "--concurrency", "1"]);
    assert_eq!((code, counts(&report)), (3, [14, 3, 0]));
    [2, 4, 6].iter().for_each(|n| env.remove(format!("hosts/node-{n:02}/etc")));
    let (code, report) = env.json(&["apply", "--max-failures", "0"]);
    assert_eq!((code, counts(&report)), (0, [3, 0, 0]));
}

#[test]
fn the_inventory_sets_the_limit_and_the_flag_goes_before_it() {
    for (key, flag, wanted) in [
        ("max_failures = 0", None, [1, 1, 18]),
        ("max_failures = \"5%\"", None, [2, 2, 16]),
        ("max_failures = \"4%\"", None, [1, 1, 18]),
        ("max_failures = 0", Some("50%"), [17, 3, 0]),
        ("", None, [17, 3, 0]),
    ] {
        let env = twenty(key, &[2, 4, 6]);
        let mut arguments = vec!["apply", "--concurrency", "1"];
        arguments.extend(flag.iter().flat_map(|value| ["--max-failures", value]));
        let (code, report) = env.json(&arguments);
        assert_eq!((code, counts(&report)), (3, wanted), "{key} {flag:?}");
    }
}

#[test]
fn a_batch_with_failures_ends_the_run_before_the_next() {
    let env = twenty("batch = 4\nmax_failures = 0", &[2, 3]);
    let (code, report) = env.json(&["apply"]);
    let [changed, failed, skipped] = counts(&report);
    assert_eq!((code, changed + failed + skipped), (3, 20), "{report:#}");
    assert!(failed > 0 && skipped >= 16, "{report:#}");
    assert!(!env.path("hosts/node-05").exists());
}

#[test]
fn the_text_says_once_who_was_not_begun() {
    let env = twenty("", &[1]);
    let ran = env.run(&["apply", "--max-failures", "0", "--concurrency", "1"]).expect(3);
    assert!(ran.stdout.contains("node-02, node-03, node-04 and 16 more: not_started\n"), "{}", ran.stdout);
    assert!(ran.stdout.contains("a host had failed, and none may"), "{}", ran.stdout);
    assert!(ran.stdout.contains("20 hosts: 0 changed, 0 unchanged, 1 failed, 19 skipped"), "{}", ran.stdout);
}

/// Hosts that nobody listens for, and known_hosts that cannot be read.
fn unusable_known_hosts(distribute: &str) -> TestEnv {
    TestEnv::with_inventory(&format!(
        "state_dir = \"state\"\n[cluster]\nserver = \"https://172.20.0.113:6443\"\n[ssh]\nknown_hosts = [\"/dev/zero\"]\n\
         [distribute]\n{distribute}\n[[hosts]]\nname = \"node-[001-200]\"\naddress = \"127.99.98.[1-200]\"\nport = 1\n"
    ))
}

#[test]
fn a_mistake_of_this_machine_is_not_repeated_at_every_host() {
    for (distribute, most) in [("concurrency = 4", 14), ("concurrency = 4\nbatch = 3", 3)] {
        let env = unusable_known_hosts(distribute);
        let (code, report) = env.json(&["apply"]);
        let [changed, failed, skipped] = counts(&report);
        assert_eq!((code, changed, failed + skipped), (3, 0, 200), "{}", report["summary"]);
        assert!((3..=most).contains(&failed), "{failed} failed");
        assert_eq!(host_of(&report, "node-001")["error"]["code"], "known_hosts_unreadable");
        let last = host_of(&report, "node-200");
        assert_eq!(last["error"]["code"], "not_started");
        assert!(last["error"]["message"].as_str().unwrap().contains("a mistake of this machine"), "{last:#}");
    }
}

#[test]
fn limits_that_cannot_be_meant_are_refused() {
    for (key, said) in [
        ("batch = 0", "batch must be at least 1"),
        ("batch = \"0%\"", "batch must be at least 1"),
        ("batch = \"ten\"", "bad batch \"ten\""),
        ("batch = -3", "bad batch \"-3\""),
        ("batch = true", "batch must be a whole number or a string"),
        ("max_failures = \"101%\"", "bad max_failures \"101%\": more than 100 percent"),
        ("retries = 11", "retries must be from 0 to 10"),
        ("retries = -1", "retries must be from 0 to 10"),
        ("connect_timeout = \"10\"", "bad connect_timeout \"10\": not a span of time"),
        ("login_timeout = \"0s\"", "bad login_timeout \"0s\": shorter than 1 second"),
        ("idle_timeout = \"2h\"", "bad idle_timeout \"2h\": longer than 1 hour"),
        ("host_timeout = 120", "host_timeout must be a string"),
    ] {
        let ran = twenty(key, &[]).run(&["apply"]).expect(2);
        assert!(ran.stderr.contains("inventory.toml:5:") && ran.stderr.contains(said), "{key}: {}", ran.stderr);
    }
    let env = twenty("", &[]);
    for flags in [["--batch", "0"], ["--batch", "many"], ["--max-failures", "5.5%"]] {
        env.run(&["apply", flags[0], flags[1]]).expect(2);
    }
    assert!(!env.path("state").exists(), "nothing was begun");
}
