//! Three hundred hosts of which some hang, at every stage, and some refuse: the run ends within its deadlines and names each.
#![allow(clippy::unwrap_used, reason = "test code")]

mod support;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};
use support::{
    hosts_that_are,
    swarm::{Conduct, Swarm},
};

const HOSTS: usize = 300;

/// Every tenth host hangs, every tenth refuses.
fn conduct(index: usize) -> Conduct {
    match index % 30 {
        3 => Conduct::Silent,
        13 => Conduct::GreetsOnly,
        23 => Conduct::HangsAfterLogin,
        7 | 17 | 27 => Conduct::Refuses,
        _ => Conduct::Healthy,
    }
}

#[test]
fn a_tenth_that_hangs_and_a_tenth_that_refuses_cost_the_run_one_deadline() {
    let conducts: Vec<Conduct> = (0..HOSTS).map(conduct).collect();
    let deadlines = "connect_timeout = \"10s\"\nlogin_timeout = \"20s\"\nidle_timeout = \"30s\"\nhost_timeout = \"90s\"\nconcurrency = 32\n";
    let swarm = Swarm::new(&conducts, deadlines);
    let started = Instant::now();
    let (code, report) = swarm.env.json(&["apply"]);
    let took = started.elapsed();
    assert_eq!(code, 3, "{:#}", report["summary"]);
    let summary = serde_json::json!({"hosts": 300, "changed": 240, "unchanged": 0, "failed": 60, "skipped": 0});
    assert_eq!(report["summary"], summary, "{:#}", report["hosts"]);

    let mut codes: BTreeMap<&str, usize> = BTreeMap::new();
    for (host, conduct) in report["hosts"].as_array().unwrap().iter().zip(&conducts) {
        let wanted = match conduct {
            Conduct::Healthy => ("changed", None),
            Conduct::Silent | Conduct::GreetsOnly => ("failed", Some("handshake_failed")),
            Conduct::HangsAfterLogin => ("failed", Some("timed_out")),
            Conduct::Refuses => ("failed", Some("connect_refused")),
        };
        assert_eq!((host["status"].as_str().unwrap(), host["error"]["code"].as_str()), wanted, "{host:#}");
        if let Some(code) = host["error"]["code"].as_str() {
            *codes.entry(code).or_default() += 1;
            assert!(!host["error"]["hint"].as_str().unwrap().is_empty());
        }
        let attempts = if *conduct == Conduct::Refuses { 4 } else { 1 };
        assert_eq!(host["attempts"], attempts, "{host:#}");
    }
    assert_eq!(codes, BTreeMap::from([("connect_refused", 30), ("handshake_failed", 20), ("timed_out", 10)]));
    assert_eq!(swarm.complete(), hosts_that_are(&report, "changed"));
    // One after the other, those that hang alone would take twelve minutes.
    assert!(took < Duration::from_secs(100), "{took:?}");

    // Once mended, those sixty are what a retry touches, and nobody else is so much as logged in to.
    let failed = hosts_that_are(&report, "failed").into_iter().map(str::to_owned).collect::<Vec<_>>();
    swarm.cure();
    let before = swarm.logins();
    let (code, report) = swarm.env.json(&["distribute", "--retry", "last"]);
    let summary = serde_json::json!({"hosts": 60, "changed": 60, "unchanged": 0, "failed": 0, "skipped": 0});
    assert_eq!((code, &report["summary"]), (0, &summary));
    assert_eq!(hosts_that_are(&report, "changed"), failed);
    for ((before, after), conduct) in before.iter().zip(swarm.logins()).zip(&conducts) {
        assert_eq!(after - before, usize::from(*conduct != Conduct::Healthy));
    }
    assert_eq!(swarm.complete().len(), HOSTS);
}
