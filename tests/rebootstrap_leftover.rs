//! What a run left undone on a node: what it had goes back, unless the node is ready without it; and nothing that it has got
//! since is lost.
#![cfg(feature = "k8s")]
#![allow(clippy::unwrap_used, reason = "test code")]

mod rebootstrap_support;
mod support;

use rebootstrap_support::{
    CURRENT, KUBERNETES, PKI, arm, backups, belongings, contents, one_node, rebootstrap, rebootstrap_in_words, said,
    serial, serial_of,
};
use support::{ControlPlane, eventually, host_of};

/// Kills kubemint when the node's credentials are set aside and its kubelet is not restarted yet.
fn killed_midway(cluster: &mut ControlPlane) -> String {
    cluster.set_services("kubelet = \"sleep 600\"\n");
    let running = cluster.fleet.start(&["rebootstrap", "--yes", "node-1"]);
    eventually("its credentials to be set aside", || {
        let found = backups(cluster.host("node-1"));
        (found.len() == 2 && found.iter().all(|line| !line.ends_with(".part"))).then_some(())
    });
    drop(running);
    let host = cluster.host("node-1");
    assert!(!host.exists("/etc/kubernetes/kubelet.kubeconfig"));
    host.must(&format!("! ls {PKI}/kubelet-client-*"));
    host.must("for pid in $(cat /proc/[0-9]*/stat | sed -n 's/^\\([0-9]*\\) (sleep).*/\\1/p'); do kill \"$pid\"; done");
    cluster.set_services("");
    backups(cluster.host("node-1"))[0].rsplit_once("rebootstrap-").unwrap().1.to_owned()
}

#[test]
fn what_a_killed_run_had_set_aside_is_put_back_by_the_next() {
    need_root!();
    let mut cluster = one_node();
    let before = belongings(cluster.host("node-1"));
    let run = killed_midway(&mut cluster);
    let (code, report) = rebootstrap(&cluster, &["node-1", "--restore"]);
    assert_eq!(code, 0, "{report}");
    let node = host_of(&report, "node-1");
    assert_eq!(
        (&node["found_unfinished"][0], &node["restored"]),
        (&run.as_str().into(), &"restarted".into()),
        "{report}"
    );
    assert_eq!(belongings(cluster.host("node-1")), before);

    let run = killed_midway(&mut cluster);
    let (code, report) = rebootstrap(&cluster, &["node-1"]);
    assert_eq!(code, 0, "{report}");
    let node = host_of(&report, "node-1");
    assert_eq!(node["found_unfinished"][0], run.as_str(), "{report}");
    // What the killed run had set aside was put back, and set aside anew: nothing of it is lost.
    let files: Vec<&str> = node["set_aside"].as_array().unwrap().iter().filter_map(|name| name.as_str()).collect();
    assert!(files.contains(&"kubelet.kubeconfig") && files.contains(&"kubelet-client-current.pem"), "{report}");
    assert!(cluster.is_node_ready("node-1"));
    assert!(backups(cluster.host("node-1")).iter().all(|line| line.ends_with(".kept")));
}

/// The node is ready with a new certificate, and what it had before is still set aside; gives the run, and both serials.
fn ready_and_not_settled(cluster: &mut ControlPlane) -> (String, String, String) {
    let before = serial(cluster.host("node-1"));
    arm(cluster, &format!("chmod 777 {PKI}"));
    let (code, report) = rebootstrap(cluster, &["node-1"]);
    assert_eq!(code, 3, "{report}");
    let (node, run) = (host_of(&report, "node-1"), report["run_id"].as_str().unwrap());
    let error = &node["error"];
    assert_eq!((&error["code"], &node["restored"]), (&"parent_unsafe".into(), &serde_json::Value::Null), "{report}");
    let told = format!("{}{}", error["message"], error["hint"]);
    assert!(told.contains("it is ready again with a new certificate") && told.contains("--restore"), "{report}");
    assert_eq!((&node["untouched"], &node["backup_kept"]), (&false.into(), &false.into()), "{report}");
    cluster.set_services("");
    let host = cluster.host("node-1");
    host.must(&format!("chmod 755 {PKI}"));
    let now = serial(host);
    assert_ne!(now, before);
    let left = [KUBERNETES, PKI].map(|dir| format!("700 {dir}/.kubemint-rebootstrap-{run}"));
    assert_eq!(backups(host), left);
    (run.to_owned(), before, now)
}

#[test]
fn a_node_that_is_ready_keeps_its_new_certificate_though_the_run_did_not_come_to_its_end() {
    need_root!();
    let mut cluster = one_node();
    let (run, _, now) = ready_and_not_settled(&mut cluster);
    let (host, restarts) = (cluster.host("node-1"), cluster.restarts("node-1", "kubelet"));
    let (code, report) = rebootstrap(&cluster, &["node-1", "--restore"]);
    assert_eq!(code, 0, "{report}");
    let node = host_of(&report, "node-1");
    assert_eq!((&node["status"], &node["found_settled"]), (&"changed".into(), &true.into()), "{report}");
    assert_eq!((&node["found_unfinished"][0], &node["restored"]), (&run.as_str().into(), &serde_json::Value::Null));
    assert_eq!((serial(host), cluster.restarts("node-1", "kubelet")), (now, restarts));
    let kept = [KUBERNETES, PKI].map(|dir| format!("700 {dir}/.kubemint-rebootstrap-{run}.kept"));
    assert_eq!(backups(host), kept);
    rebootstrap_in_words(&cluster, &["node-1", "--restore"]).expect(0).says(&["nothing to restore"]);
}

#[test]
fn the_next_run_does_not_put_an_old_certificate_over_a_new_one_that_works() {
    need_root!();
    let mut cluster = one_node();
    let (run, old, new) = ready_and_not_settled(&mut cluster);
    let done = rebootstrap_in_words(&cluster, &["node-1"]).expect(0);
    done.says(&["joined anew", "ready with a new certificate since"]);
    let host = cluster.host("node-1");
    let third = serial(host);
    assert!(third != old && third != new);
    // What is kept is what it had last.
    let kept = said(host, &format!("echo {PKI}/.kubemint-rebootstrap-*.kept/kubelet-client-2*.pem"));
    assert!(!kept.contains(&run) && serial_of(host, kept.trim()) == new, "{kept}");
}

#[test]
fn a_run_that_is_killed_after_the_kubelet_has_its_certificate_is_settled_by_the_next() {
    need_root!();
    let cluster = one_node();
    let old = serial(cluster.host("node-1"));
    let running = cluster.fleet.start(&["rebootstrap", "--yes", "node-1"]);
    eventually("the new certificate", || {
        let host = cluster.host("node-1");
        let is_aside = backups(host).len() == 2;
        (is_aside && host.run(&format!("test -e {CURRENT}")).status.success()).then_some(())
    });
    drop(running);
    let host = cluster.host("node-1");
    assert!(backups(host).iter().all(|line| !line.ends_with(".kept")), "it was killed too late to be seen");
    let heartbeat = |cluster: &ControlPlane| cluster.nodes()[0]["status"]["conditions"][0]["lastHeartbeatTime"].clone();
    let last = heartbeat(&cluster);
    eventually("a heartbeat with the new certificate", || (heartbeat(&cluster) != last).then_some(()));
    let new = serial(host);
    let (code, report) = rebootstrap(&cluster, &["node-1", "--restore"]);
    assert_eq!((code, &host_of(&report, "node-1")["found_settled"]), (0, &true.into()), "{report}");
    assert!(new != old && serial(host) == new);
}

#[test]
fn with_no_apiserver_to_ask_what_was_set_aside_can_still_be_put_back() {
    need_root!();
    let mut cluster = one_node();
    let (run, old, new) = ready_and_not_settled(&mut cluster);
    cluster.host("cp-1").must("systemctl stop kube-apiserver");
    let (code, report) = rebootstrap(&cluster, &["node-1", "--restore"]);
    assert_eq!(code, 0, "{report}");
    let node = host_of(&report, "node-1");
    assert_eq!((&node["restored"], &node["found_settled"]), (&"restarted".into(), &false.into()), "{report}");
    assert!(node["not_checked"].as_str().unwrap().contains("cannot be reached"), "{report}");
    let host = cluster.host("node-1");
    assert_eq!(serial(host), old);
    // What had come since is not lost, and only root can read it.
    let replaced = format!("{PKI}/.kubemint-rebootstrap-{run}.replaced");
    assert!(backups(host).contains(&format!("700 {replaced}")));
    let pem = said(host, &format!("echo {replaced}/kubelet-client-2*.pem")).trim().to_owned();
    assert_eq!(serial_of(host, &pem), new);
    let of =
        |what: &str| said(host, &format!("openssl {what} -in {pem} | openssl pkey -pubin -outform DER | sha256sum"));
    assert_eq!(of("x509 -noout -pubkey"), of("pkey -pubout"), "the key is there with it");
    assert!(host.exists(&format!("{KUBERNETES}/.kubemint-rebootstrap-{run}.replaced/kubelet.kubeconfig")));
    cluster.host("cp-1").must("systemctl start kube-apiserver");
    cluster.any_api();
    rebootstrap_in_words(&cluster, &["node-1", "--drop-backup"]).expect(0);
    assert_eq!(backups(host), [""; 0], "a run that succeeds ends what was replaced, too");
}

#[test]
fn a_restore_says_in_words_what_it_could_not_ask_and_takes_no_kubeconfig_that_does_not_work() {
    need_root!();
    let mut cluster = one_node();
    let (run, old, _) = ready_and_not_settled(&mut cluster);
    rebootstrap_in_words(&cluster, &["node-1", "--restore", "--kubeconfig", "nowhere"]).expect(2).says(&["nowhere"]);
    // No rights of our own any more.
    cluster.env().remove("state/ca-key.pem");
    let done = rebootstrap_in_words(&cluster, &["node-1", "--restore"]).expect(0);
    done.says(&["1 restored", "could not be asked", &format!(".kubemint-rebootstrap-{run}.replaced")]);
    assert_eq!(serial(cluster.host("node-1")), old);
}

#[test]
fn a_backup_that_is_not_whole_is_put_back_for_what_is_in_place_may_be_the_rest_of_it() {
    need_root!();
    let mut cluster = one_node();
    let (run, old, _) = ready_and_not_settled(&mut cluster);
    let host = cluster.host("node-1");
    host.must(&format!("mv {PKI}/.kubemint-rebootstrap-{run} {PKI}/.kubemint-rebootstrap-{run}.part"));
    let (code, report) = rebootstrap(&cluster, &["node-1", "--restore"]);
    let node = host_of(&report, "node-1");
    assert_eq!((code, &node["found_settled"], &node["restored"]), (0, &false.into(), &"restarted".into()), "{report}");
    assert_eq!(serial(host), old);
}

#[test]
fn what_is_not_known_to_work_gives_way_to_what_was_set_aside() {
    need_root!();
    let mut cluster = one_node();
    let (_, old, new) = ready_and_not_settled(&mut cluster);
    let host = cluster.host("node-1");
    host.must("touch /run/stand-in/kubelet.unready");
    eventually("the node not to be ready", || (!cluster.is_node_ready("node-1")).then_some(()));
    let (code, report) = rebootstrap(&cluster, &["node-1", "--restore"]);
    let node = host_of(&report, "node-1");
    assert_eq!((code, &node["restored"], &node["not_checked"]), (0, &"restarted".into(), &serde_json::Value::Null));
    assert_eq!(serial(host), old);
    assert_ne!(old, new);
}

#[test]
fn a_node_that_does_not_get_ready_gets_back_what_it_had_and_its_new_key_is_kept() {
    need_root!();
    let cluster = one_node();
    let host = cluster.host("node-1");
    let (before, old) = (contents(host), serial(host));
    host.must("touch /run/stand-in/kubelet.unready");
    let (code, report) = rebootstrap(&cluster, &["node-1", "--timeout", "5s"]);
    let node = host_of(&report, "node-1");
    assert_eq!((code, &node["error"]["code"]), (3, &"node_not_ready".into()), "{report}");
    assert_eq!(node["restored"], "restarted", "{report}");
    assert_eq!(contents(host), before);
    let replaced = said(host, &format!("echo {PKI}/.kubemint-rebootstrap-*.replaced/kubelet-client-2*.pem"));
    assert_ne!(serial_of(host, replaced.trim()), old);
    said(host, &format!("openssl pkey -noout -in {}", replaced.trim()));
}
