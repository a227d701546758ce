//! What the report says of a host that failed, `untouched` or not, against what is really there: on real servers, through the
//! real binary, with disks that change in the middle, files that are mount points, and answers that are lost.
#![allow(clippy::unwrap_used, clippy::panic, reason = "test code")]

mod support;

use serde_json::Value;
use support::{Fleet, Member, TestHost, cluster_table, host_of};

/// Every name of the host's directories but times, with inode, mode, owner and content.
fn snapshot(host: &TestHost) -> String {
    let said = host.run(
        "cd /etc/kubernetes 2>/dev/null || exit 0; find . -type d -printf '%p %m %U:%G\\n' -o -printf '%p %y %m %U:%G %i\\n' | \
         LC_ALL=C sort; find . -type f -exec sha256sum {} + | LC_ALL=C sort -k 2",
    );
    String::from_utf8(said.stdout).unwrap()
}

/// One host that holds two generations, and an inventory that asks for a third.
fn updated_twice(member: Member) -> Fleet {
    let mut fleet = Fleet::new(vec![member.roles(&["control-plane", "node"])]);
    for generation in 1..=3 {
        fleet.set_settings(&asks_for(generation));
        if generation < 3 {
            fleet.run(&["apply"]).expect(0);
        }
    }
    fleet
}

fn asks_for(generation: u8) -> String {
    cluster_table(&format!("https://172.20.0.{generation}:6443")) + &format!("[token]\nuid = \"{generation}\"\n")
}

/// An apply that fails with this code; whether the host is called untouched, which must be true of it.
#[track_caller]
fn failed_apply(fleet: &Fleet, code: &str) -> (bool, Value) {
    let before = snapshot(&fleet.hosts[0]);
    let (exit, report) = fleet.json(&["apply"]);
    assert_eq!(exit, 3, "{report:#}");
    let host = host_of(&report, fleet.hosts[0].name()).clone();
    assert_eq!(host["error"]["code"], code, "{host:#}");
    let is_untouched = host["untouched"] == true;
    let kept = fleet.env.read(format!("state/runs/{}/report.json", report["run_id"].as_str().unwrap()));
    let kept: Value = serde_json::from_str(&kept).unwrap();
    assert_eq!(kept["hosts"][0]["untouched"] == true, is_untouched);
    if is_untouched {
        assert_eq!(snapshot(&fleet.hosts[0]), before, "{host:#}");
    }
    (is_untouched, host)
}

#[test]
fn a_host_whose_answer_is_lost_is_not_called_untouched() {
    need_root!();
    let member = || Member::new(TestHost::builder("mute"));
    for (member, line, code) in [
        (member(), "/bin/sh -c 'eval \"$SSH_ORIGINAL_COMMAND\" >/dev/null 2>&1'", "shell_unusable"),
        (
            member(),
            "/bin/sh -c 'echo recorded; eval \"$SSH_ORIGINAL_COMMAND\" >/dev/null 2>&1; exit 1'",
            "shell_unusable",
        ),
        (member(), "/bin/sh -c 'eval \"$SSH_ORIGINAL_COMMAND\" 2>&1 | head -n 1'", "protocol_garbled"),
        (member(), "/bin/sh -c 'eval \"$SSH_ORIGINAL_COMMAND\" 2>&1 | grep -v end'", "protocol_garbled"),
        (member(), "/bin/sh -c 'eval \"$SSH_ORIGINAL_COMMAND\" >/dev/null 2>&1; kill -9 $$'", "connection_lost"),
        (member().by_sudo(), "/bin/sh -c 'eval \"$SSH_ORIGINAL_COMMAND\" >/dev/null 2>&1'", "shell_unusable"),
        (member().by_sudo(), "/bin/sh -c 'eval \"$SSH_ORIGINAL_COMMAND\" 2>&1 | head -n 1'", "become_failed"),
    ] {
        let mut fleet = updated_twice(member);
        fleet.hosts[0].set_option(Some(&format!("ForceCommand {line}")));
        let (is_untouched, host) = failed_apply(&fleet, code);
        let file = fleet.hosts[0].read(&fleet.file(0, "bootstrap.kubeconfig"));
        assert!(file.contains("172.20.0.3"), "{line}: the script ran");
        assert!(!is_untouched, "{line}: {host:#}");
        // Nobody knows: a rollback says so, and a retry does the host again.
        fleet.hosts[0].set_option(None);
        let (exit, rolled) = fleet.json(&["rollback", "last"]);
        assert_eq!((exit, &host_of(&rolled, "mute")["error"]["code"]), (3, &"unknown_outcome".into()), "{rolled:#}");
    }
}

#[test]
fn a_host_that_ran_nothing_for_certain_is_called_untouched() {
    need_root!();
    let mut fleet = updated_twice(Member::new(TestHost::builder("shut")).by_sudo());
    fleet.hosts[0].must("sed -i 's/NOPASSWD: //' /etc/sudoers");
    assert!(failed_apply(&fleet, "become_failed").0);
    fleet.hosts[0].forget_authorized_keys();
    assert!(failed_apply(&fleet, "auth_failed").0);
    fleet.hosts[0].replace_host_key();
    assert!(failed_apply(&fleet, "host_key_changed").0);
    fleet.hosts[0].stop();
    assert!(failed_apply(&fleet, "connect_refused").0);
}

#[test]
fn a_disk_that_becomes_read_only_in_the_middle_leaves_what_is_said() {
    need_root!();
    let mut seen = [0, 0];
    for nth in 1..=7 {
        let fleet = updated_twice(Member::new(TestHost::builder("worn")));
        let host = &fleet.hosts[0];
        host.must("mount --bind /etc/kubernetes /etc/kubernetes");
        host.write("/mnt/count", "0");
        let remount = format!(
            "#!/bin/sh\nread -r n </mnt/count\necho $((n + 1)) >/mnt/count\n\
             [ $((n + 1)) != {nth} ] || mount -o remount,ro,bind /etc/kubernetes\nexec @REAL@ \"$@\"\n"
        );
        host.replace_program("mv", &remount);
        if nth == 7 {
            fleet.run(&["apply"]).expect(0);
            continue;
        }
        let before = snapshot(host);
        let (is_untouched, error) = failed_apply(&fleet, "read_only_filesystem");
        // The temporary files cannot be removed any more, so that it is never as it was.
        assert_ne!(before, snapshot(host), "{nth}");
        assert!(!is_untouched, "{nth}: {error:#}");
        seen[usize::from(host.read("/etc/kubernetes/bootstrap.kubeconfig").contains("172.20.0.3"))] += 1;
        host.must("mount -o remount,rw,bind /etc/kubernetes");
        host.restore_program("mv");
        fleet.run(&["apply"]).expect(0);
        fleet.assert_complete_beside(
            0,
            &[
                ".bootstrap.kubeconfig.kubemint-previous",
                ".kube-proxy.kubeconfig.kubemint-previous",
                ".token.csv.kubemint-previous",
            ],
        );
    }
    assert!(seen[0] > 0 && seen[1] > 0, "before the first swap and after it: {seen:?}");
}

#[test]
fn a_target_or_kept_version_that_is_a_mount_point_is_refused_before_anything_is_changed() {
    need_root!();
    for (name, code) in [
        ("kube-proxy.kubeconfig", "target_is_mount_point"),
        (".kube-proxy.kubeconfig.kubemint-previous", "previous_unusable"),
    ] {
        for mode in ["600", "644", "666"] {
            let fleet = updated_twice(Member::new(TestHost::builder("bound")));
            let host = &fleet.hosts[0];
            host.must(&format!(
                "cd /etc/kubernetes && cp -p {name} /mnt/bound && chmod {mode} /mnt/bound && mount --bind /mnt/bound {name}"
            ));
            let before = snapshot(host);
            let (is_untouched, found) = failed_apply(&fleet, code);
            assert!(is_untouched, "{found:#}");
            assert_eq!(snapshot(host), before, "{name} {mode}");
            let words = found["error"].to_string();
            assert!(words.contains("kube-proxy.kubeconfig") && !words.contains("kernel log"), "{words}");
            let (exit, plan) = fleet.json(&["plan"]);
            assert!(exit != 0 && plan.to_string().contains(code), "a plan tells it too: {plan:#}");
            // The next rollback judges it as well.
            let (exit, report) = fleet.json(&["rollback", "--host", "bound"]);
            assert_eq!((exit, &host_of(&report, "bound")["untouched"]), (3, &true.into()), "{report:#}");
            assert_eq!(host_of(&report, "bound")["error"]["code"], "target_is_mount_point");
            assert_eq!(snapshot(host), before, "{name} {mode}");
            host.must(&format!("umount /etc/kubernetes/{name}"));
            fleet.run(&["apply"]).expect(0);
        }
    }
}

#[test]
fn what_is_mounted_above_or_hidden_below_a_mount_is_no_mount_point() {
    need_root!();
    let fleet = updated_twice(Member::new(TestHost::builder("layered")));
    let host = &fleet.hosts[0];
    // mountinfo goes on listing the file's mount, which the directory's own now hides.
    host.must(
        "cd /etc/kubernetes && cp -a . /mnt/copy && cp token.csv /mnt/bound && mount --bind /mnt/bound token.csv && \
         mount -t tmpfs -o mode=755 tmpfs /etc/kubernetes && cp -a /mnt/copy/. /etc/kubernetes && \
         grep -q /etc/kubernetes/token.csv /proc/self/mountinfo",
    );
    fleet.run(&["apply"]).expect(0);
}

#[test]
fn a_full_disk_in_the_second_directory_leaves_the_first_as_it_was() {
    need_root!();
    let mut fleet = updated_twice(Member::new(TestHost::builder("full")));
    fleet.set_settings(&(asks_for(3) + "[distribute]\ninstall_ca = true\n"));
    let host = &fleet.hosts[0];
    host.must("mkdir -p /etc/kubernetes/ssl && mount -t tmpfs -o size=4k,mode=755 tmpfs /etc/kubernetes/ssl && echo x >/etc/kubernetes/ssl/x");
    host.must("chmod 644 /etc/kubernetes/bootstrap.kubeconfig");
    assert!(failed_apply(&fleet, "disk_full").0);
    // The other way round: directories that were made for files that did not come are gone again.
    host.must("umount /etc/kubernetes/ssl && rmdir /etc/kubernetes/ssl && mkdir /mnt/k && mount -t tmpfs -o size=256k,mode=755 tmpfs /mnt/k && \
               cp -a /etc/kubernetes/. /mnt/k && { dd if=/dev/zero of=/mnt/k/fill bs=4096 2>/dev/null || :; } && \
               mount --bind /mnt/k /etc/kubernetes");
    assert!(failed_apply(&fleet, "disk_full").0);
}

#[test]
fn a_file_size_limit_of_the_login_is_named_and_changes_nothing() {
    need_root!();
    let fleet = updated_twice(Member::new(TestHost::builder("limited")));
    let host = &fleet.hosts[0];
    host.write("/root/.bashrc", "ulimit -f 1\n");
    let (is_untouched, found) = failed_apply(&fleet, "file_size_limit");
    assert!(is_untouched && found["error"]["hint"].as_str().unwrap().contains("ulimit -f"), "{found:#}");
    host.write("/root/.bashrc", "ulimit -f 1000\n");
    fleet.run(&["apply"]).expect(0);
}
