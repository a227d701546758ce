//! `kubemint rotate token` against real SSH hosts with an apiserver, kubelets and a service manager that behave as the real
//! ones: nobody is locked out, no two apiservers are down at a time, and in the end one token works and the other does not.
#![allow(clippy::unwrap_used, reason = "test code")]

mod support;

use serde_json::Value;
use support::ControlPlane;

fn token_of(cluster: &ControlPlane) -> String {
    cluster.token_on("node-1")
}

#[test]
fn three_and_six_are_rotated_and_nobody_notices() {
    need_root!();
    let cluster = ControlPlane::builder().control_planes(3).nodes(6).start();
    let old = token_of(&cluster);
    let prober = cluster.probe();
    let ran = cluster.run(&["rotate", "token", "--yes", "-o", "json"]);
    let report = prober.stop();
    eprintln!("{}\n{}", ran.stdout, ran.stderr);
    eprintln!("{report:?}");
    let ran = ran.expect(0);
    let document: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(document["state"], "done");
    let new = token_of(&cluster);
    assert_ne!(old, new);
    for host in cluster.control_planes() {
        assert_eq!((cluster.status_of_token(host, &new), cluster.status_of_token(host, &old)), (201, 401), "{host}");
    }
    assert!(cluster.overlapping_downtimes().is_empty());
}
