//! `kubemint distribute --retry`: only what an earlier run did not bring to an end.
#![allow(clippy::unwrap_used)]

mod support;

use serde_json::json;
use support::{Fleet, TestEnv, hosts_that_are};

fn logins(fleet: &Fleet) -> Vec<usize> {
    fleet.hosts.iter().map(|host| host.log().matches("Starting session").count()).collect()
}

fn runs(env: &TestEnv) -> usize {
    env.json(&["runs", "list"]).1["runs"].as_array().unwrap().len()
}

#[test]
fn a_retry_touches_exactly_the_hosts_that_failed() {
    let mut fleet = Fleet::of_nodes(8);
    for index in [2, 5, 6] {
        fleet.hosts[index].stop();
    }
    let (code, first) = fleet.json(&["apply"]);
    assert_eq!((code, hosts_that_are(&first, "failed").len()), (3, 3), "{first:#}");
    fleet.hosts[2].start();
    fleet.hosts[5].start();
    let before = logins(&fleet);

    // --limit holds too.
    let (code, report) = fleet.json(&["distribute", "--retry", "last", "--limit", "!node-06"]);
    assert_eq!((code, hosts_that_are(&report, "changed")), (3, vec!["node-03"]), "{report:#}");
    assert_eq!((hosts_that_are(&report, "failed"), &report["of"]), (vec!["node-07"], &first["run_id"]));
    fleet.hosts[6].start();
    let run = first["run_id"].as_str().unwrap();
    let (code, report) = fleet.json(&["distribute", "--retry", run]);
    assert_eq!((code, hosts_that_are(&report, "changed")), (0, vec!["node-06", "node-07"]), "{report:#}");
    assert_eq!(hosts_that_are(&report, "unchanged"), ["node-03"], "it was done since");
    let after: Vec<_> = logins(&fleet).iter().zip(before).map(|(after, before)| after - before).collect();
    assert_eq!(after, [0, 0, 2, 0, 0, 1, 1, 0]);
    (0..8).for_each(|index| fleet.assert_complete(index));

    // Nothing is left of the last run, which is said and begins no run.
    let count = runs(&fleet.env);
    fleet.run(&["distribute", "--retry", "last"]).expect(0).says(&["nothing to retry", "3 hosts"]);
    let (code, document) = fleet.json(&["distribute", "--retry", "last"]);
    assert_eq!((code, &document["schema"], &document["run_id"]), (0, &"kubemint/run".into(), &json!(null)));
    assert_eq!((document["summary"]["hosts"].as_u64(), runs(&fleet.env)), (Some(0), count));
}

#[test]
fn names_that_are_gone_and_a_newer_generation_are_said() {
    let mut fleet = Fleet::of_nodes(3);
    fleet.hosts[0].stop();
    fleet.hosts[2].stop();
    fleet.run(&["apply"]).expect(3);
    fleet.hosts[0].start();
    let text = fleet.env.read("inventory.toml").replace("172.20.0.113", "172.20.0.114");
    fleet.env.write("inventory.toml", text.replace("name = \"node-03\"", "name = \"other-03\""));
    fleet.run(&["distribute", "--retry", "last"]).expect(4).says(&["not what the inventory asks for"]);
    fleet.run(&["generate"]).expect(0);
    let ran = fleet.run(&["distribute", "--retry", "last"]).expect(0);
    ran.says(&["node-03 is not in the inventory any more", "installed generation 1", "generation 2", "1 changed"]);
    assert!(fleet.hosts[0].read(&fleet.file(0, "bootstrap.kubeconfig")).contains(".114"));
    assert!(fleet.hosts[1].read(&fleet.file(1, "bootstrap.kubeconfig")).contains(".113"), "it was done then");

    fleet.run(&["distribute", "--retry", "nosuch"]).expect(2).says(&["there is no run"]);
    fleet.run(&["apply", "--retry", "last"]).expect(2);
}
