//! The whole binary over twenty real sshd hosts, with what goes wrong in a real fleet.
#![allow(clippy::unwrap_used)]

mod support;

use support::{Fleet, Member, Relays, TestHost, host_of, hosts_that_are, is_isolated};

const DOWN: usize = 6;
const CHANGED: usize = 13;

/// Nodes and control planes; where hosts are machines of their own, some that greet loudly, need sudo, or run fish.
fn mixed_members() -> Vec<Member> {
    let mut members: Vec<Member> = Vec::new();
    for n in 1..=20 {
        let name = format!("host-{n:02}");
        let builder = TestHost::builder(&name);
        members.push(match n {
            1 => Member::new(builder).roles(&["control-plane"]),
            2 => Member::new(builder).roles(&["control-plane", "node"]),
            3 => Member::new(builder.banner("*** authorised use only ***\n")),
            4 if is_isolated() => Member::new(builder.bashrc("echo noise; echo more noise >&2\n").login_shell("bash")),
            5 if is_isolated() => Member::new(builder.login_shell("fish")),
            8 | 9 if is_isolated() => Member::new(builder).by_sudo(),
            14 => Member::new(builder.sshd_option("LogLevel DEBUG2")),
            _ => Member::new(builder),
        });
    }
    members
}

#[test]
fn twenty_hosts_of_which_one_is_down_and_one_has_another_key() {
    let relays = Relays::new();
    let mut fleet = Fleet::new(mixed_members());
    fleet.relay(CHANGED, &relays);
    fleet.hosts[DOWN].stop();
    let honest_key = fleet.hosts[CHANGED].public_keys();
    fleet.hosts[CHANGED].replace_host_key();
    let names: Vec<String> = fleet.hosts.iter().map(|host| host.name().to_owned()).collect();
    let (down, changed) = (names[DOWN].as_str(), names[CHANGED].as_str());
    let untouched = [fleet.tree_hash(DOWN), fleet.tree_hash(CHANGED)];

    let (code, report) = fleet.json(&["apply"]);
    assert_eq!(code, 3, "{report:#}");
    assert_eq!(report["schema"], "kubemint/run");
    let summary = &report["summary"];
    assert_eq!(*summary, serde_json::json!({"hosts": 20, "changed": 18, "unchanged": 0, "failed": 2, "skipped": 0}));
    assert_eq!(hosts_that_are(&report, "failed"), [down, changed]);
    assert_eq!(
        report["hosts"].as_array().unwrap().iter().map(|h| h["name"].as_str().unwrap()).collect::<Vec<_>>(),
        names
    );
    let errors = [&host_of(&report, down)["error"], &host_of(&report, changed)["error"]];
    assert_eq!(errors.map(|error| error["code"].as_str().unwrap()), ["connect_refused", "host_key_changed"]);
    assert!(errors[0]["hint"].as_str().unwrap().contains("sshd"), "{report:#}");
    assert!(errors[1]["hint"].as_str().unwrap().contains("nothing was sent"), "{report:#}");
    assert!(errors[1]["message"].as_str().unwrap().contains("known_hosts"), "{report:#}");
    let stored = fleet.env.read(format!("state/runs/{}/report.json", report["run_id"].as_str().unwrap()));
    let stored: serde_json::Value = serde_json::from_str(&stored).unwrap();
    assert_eq!(stored["hosts"], report["hosts"]);

    // Not a byte of a credential reached the host with another key, and nobody tried to log in there.
    assert_eq!([fleet.tree_hash(DOWN), fleet.tree_hash(CHANGED)], untouched);
    let line = fleet.line(CHANGED);
    let smallest = fleet.env.read("state/token.csv").len();
    assert_eq!(line.connections(), 1);
    assert!(line.last_encrypted() < smallest, "{} bytes after the key exchange", line.last_encrypted());
    let log = fleet.hosts[CHANGED].log();
    assert!(log.contains("Connection from"), "{log}");
    for trace in ["userauth-request", "Accepted", "Failed", "Starting session"] {
        assert!(!log.contains(trace), "{trace}: {log}");
    }
    for index in (0..20).filter(|index| ![DOWN, CHANGED].contains(index)) {
        fleet.assert_complete(index);
    }

    // Both are mended: one comes up again, the other's new key is what its console shows.
    fleet.hosts[DOWN].start();
    let known = fleet.env.read(&fleet.client.known_hosts);
    let new_key = fleet.hosts[CHANGED].public_keys();
    std::fs::write(&fleet.client.known_hosts, known.replace(&honest_key[0], &new_key[0])).unwrap();
    let others: Vec<_> = fleet.tree_hashes();
    let (code, report) = fleet.json(&["apply"]);
    assert_eq!(code, 0, "{report:#}");
    assert_eq!(hosts_that_are(&report, "changed"), [down, changed]);
    assert_eq!(hosts_that_are(&report, "unchanged").len(), 18);
    for index in 0..20 {
        fleet.assert_complete(index);
        assert_eq!(fleet.tree_hash(index) == others[index], ![DOWN, CHANGED].contains(&index), "{}", names[index]);
    }
    // The same measures see what a real install looks like.
    assert!(fleet.line(CHANGED).last_encrypted() > smallest);
    assert!(fleet.hosts[CHANGED].log().contains("userauth-request"));

    let before = fleet.tree_hashes();
    let (code, report) = fleet.json(&["apply"]);
    assert_eq!(code, 0, "{report:#}");
    assert_eq!(hosts_that_are(&report, "unchanged").len(), 20);
    assert_eq!(fleet.tree_hashes(), before);
}

#[test]
fn plan_and_status_see_what_is_on_the_hosts_and_change_nothing() {
    let fleet = Fleet::of_nodes(4);
    let nowhere = fleet.tree_hashes();
    let (code, plan) = fleet.json(&["plan"]);
    assert_eq!((code, &plan["summary"]["changing"]), (0, &4.into()), "{plan:#}");
    let refused = fleet.run(&["status"]).expect(4);
    assert!(refused.stderr.contains("kubemint generate"), "{}", refused.stderr);
    assert_eq!(fleet.tree_hashes(), nowhere);
    assert!(!fleet.env.path("state").exists());

    fleet.run(&["apply"]).expect(0);
    let report = fleet.json(&["status", "--exit-code"]);
    assert_eq!((report.0, &report.1["summary"]["ok"]), (0, &4.into()), "{:#}", report.1);

    // Content, mode and presence drift on three hosts; the fourth is left alone.
    let paths = ["bootstrap.kubeconfig", "kube-proxy.kubeconfig", "bootstrap.kubeconfig"];
    let [content, mode, removed] = [0, 1, 2].map(|index| fleet.file(index, paths[index]));
    fleet.hosts[0].write(&content, &fleet.hosts[0].read(&content).replace("172.20.0.113", "10.9.9.9"));
    fleet.hosts[1].must(&format!("chmod 644 '{mode}'"));
    fleet.hosts[2].must(&format!("rm '{removed}'"));
    let drifted = fleet.tree_hashes();
    let (code, status) = fleet.json(&["status", "--exit-code"]);
    assert_eq!(code, 6, "{status:#}");
    assert_eq!(hosts_that_are(&status, "drift"), ["node-01", "node-02", "node-03"]);
    assert_eq!(hosts_that_are(&status, "ok"), ["node-04"]);
    let (code, plan) = fleet.json(&["plan"]);
    assert_eq!(code, 0, "{plan:#}");
    for (report, names) in [(&status, ["differs", "attributes", "missing"]), (&plan, ["update", "repair", "create"])] {
        for ((index, name), path) in names.into_iter().enumerate().zip([&content, &mode, &removed]) {
            let host = host_of(report, fleet.hosts[index].name());
            let files = host["files"].as_array().unwrap();
            let found: Vec<_> = files.iter().filter(|file| file["path"] == path.as_str()).collect();
            assert_eq!(found.len(), 1, "{host:#}");
            assert!(found[0].to_string().contains(&format!("\"{name}\"")), "{name}: {host:#}");
        }
    }
    let text = fleet.run(&["plan"]).expect(0).stdout;
    assert!(text.contains("https://10.9.9.9:6443 -> https://172.20.0.113:6443"), "{text}");
    assert_eq!(fleet.tree_hashes(), drifted);
    assert_eq!(fleet.run(&["status"]).code, 0, "without --exit-code drift is only told");

    // A host that cannot be read outweighs drift.
    let mut fleet = fleet;
    fleet.hosts[3].stop();
    let (code, status) = fleet.json(&["status", "--exit-code"]);
    assert_eq!((code, &host_of(&status, "node-04")["error"]["code"]), (3, &"connect_refused".into()), "{status:#}");
    fleet.hosts[3].start();

    // --limit mends some and leaves the others as they were.
    let (code, report) = fleet.json(&["apply", "--limit", "node-0[1-2],!node-02"]);
    assert_eq!(code, 0, "{report:#}");
    assert_eq!(report["hosts"].as_array().unwrap().len(), 1);
    assert_eq!(hosts_that_are(&report, "changed"), ["node-01"]);
    assert_eq!(fleet.hosts[0].read(&content), fleet.env.read("state/kubeconfigs/bootstrap.kubeconfig"));
    assert_eq!(fleet.tree_hashes()[1..], drifted[1..]);
    let (code, report) = fleet.json(&["distribute"]);
    assert_eq!((code, hosts_that_are(&report, "changed")), (0, vec!["node-02", "node-03"]), "{report:#}");
    assert_eq!(fleet.run(&["status", "--exit-code"]).code, 0);
    (1..4).for_each(|index| fleet.assert_complete(index));
    assert_eq!(
        fleet.names(0),
        [".bootstrap.kubeconfig.kubemint-previous", "bootstrap.kubeconfig", "kube-proxy.kubeconfig"]
    );
}
