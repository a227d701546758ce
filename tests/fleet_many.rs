//! A hundred real sshd hosts, sixty-four at a time.
#![allow(clippy::unwrap_used)]

mod support;

use support::{Fleet, hosts_that_are};

#[test]
fn a_hundred_hosts_are_all_changed_and_then_all_unchanged() {
    let fleet = Fleet::of_nodes(100);
    let (code, report) = fleet.json(&["apply", "--concurrency", "64"]);
    assert_eq!((code, hosts_that_are(&report, "changed").len()), (0, 100), "{report:#}");
    let installed = fleet.tree_hashes();
    (0..100).for_each(|index| fleet.assert_complete(index));
    let (code, report) = fleet.json(&["apply", "--concurrency", "64"]);
    assert_eq!((code, hosts_that_are(&report, "unchanged").len()), (0, 100), "{report:#}");
    assert_eq!(fleet.tree_hashes(), installed);
    for host in &fleet.hosts {
        assert_eq!(host.log().matches("Connection from").count(), 2, "{}", host.name());
    }
}
