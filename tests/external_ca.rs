//! A CA whose key is elsewhere: `cert csr` asks, openssl signs, `cert import` takes what is exactly that.

#![allow(clippy::unwrap_used, reason = "clippy.toml allows it in test functions only, not in what they call")]

mod support;

use support::{
    LOCAL_HOSTS, TestEnv, hosts_that_are,
    openssl::{ElsewhereCa, assert_pair, field, openssl, openssl_ok},
};

const PENDING: &str = "state/certs/kube-proxy-key.pending.pem";

fn world(more: &str) -> TestEnv {
    let env = TestEnv::new();
    ElsewhereCa::new(&env, "ca");
    write_inventory(&env, more);
    env
}

fn write_inventory(env: &TestEnv, more: &str) {
    env.write("inventory.toml", format!("{LOCAL_HOSTS}[ca]\ncert = \"elsewhere/ca.pem\"\n{more}"));
}

fn ca(env: &TestEnv) -> ElsewhereCa<'_> {
    ElsewhereCa::existing(env, "ca")
}

#[test]
fn what_openssl_signs_is_taken_and_everything_else_works_without_the_ca_key() {
    let env = world("");
    env.run(&["apply", "--yes"]).expect(4).says(&["cert csr", "cert import", "elsewhere"]);
    env.run(&["generate"]).expect(4);
    assert!(!env.path("state").exists() && !env.path("hosts").exists());

    env.ok(&["cert", "csr", "--out", "requests"]).says(&["requests/kube-proxy.csr", "made"]);
    assert_eq!((env.mode(PENDING), env.mode("requests/kube-proxy.csr")), (0o600, 0o644));
    let said = openssl_ok(&env, &["req", "-in", "requests/kube-proxy.csr", "-noout", "-verify", "-subject", "-text"]);
    for word in ["verify OK", "O = system:node-proxier, CN = system:kube-proxy", "TLS Web Client Authentication"] {
        assert!(said.contains(word), "{word} in\n{said}");
    }
    assert!(!env.read("requests/kube-proxy.csr").contains("PRIVATE"));

    ca(&env).sign("requests/kube-proxy.csr", "signed.pem");
    env.ok(&["cert", "import", "signed.pem"]).says(&["imported", "kubemint apply"]);
    assert!(!env.path(PENDING).exists(), "its certificate has come");
    let (certificate, key) = ("state/certs/kube-proxy.pem", "state/certs/kube-proxy-key.pem");
    assert_pair(&env, certificate, key, "elsewhere/ca.pem");
    assert_eq!((env.mode(certificate), env.mode(key)), (0o600, 0o600));
    assert_eq!(env.read(certificate), env.read("signed.pem"));

    env.ok(&["apply", "--yes"]).says(&["3 hosts: 3 changed"]);
    env.ok(&["verify"]).says(&["kept elsewhere"]);
    env.ok(&["status", "--exit-code"]);
    env.ok(&["plan"]).says(&["0 to change"]);
    assert!(!env.path("state/ca-key.pem").exists());
    let (code, again) = env.json(&["cert", "import", "signed.pem"]);
    assert_eq!((code, &again["changed"], &again["certificates"][0]["action"]), (0, &false.into(), &"unchanged".into()));
    env.run(&["reissue", "kube-proxy"]).expect(2).says(&["cert csr", "cert import", "reissue kube-proxy --imported"]);
}

/// As a year later: what was asked for again, signed elsewhere and imported.
fn renew(env: &TestEnv, out: &str) {
    env.ok(&["cert", "csr"]);
    ca(env).sign("kube-proxy.csr", out);
    env.ok(&["cert", "import", out]);
}

/// Applied, with a kube-proxy that notes its restarts.
fn applied() -> TestEnv {
    let env = world("");
    let log = format!("[services]\nkube-proxy = \"echo restarted >> {}\"\n", env.path("restarts").display());
    write_inventory(&env, &log);
    renew(&env, "signed.pem");
    env.ok(&["apply", "--yes"]);
    env
}

fn restarts(env: &TestEnv) -> usize {
    std::fs::read_to_string(env.path("restarts")).map_or(0, |log| log.lines().count())
}

fn on_host(env: &TestEnv, host: &str) -> String {
    env.read(format!("hosts/{host}/etc/kubernetes/kube-proxy.kubeconfig"))
}

#[test]
fn a_timer_finds_nothing_due_and_then_names_what_has_to_be_signed() {
    let env = applied();
    let before = env.tree_hash("");
    env.ok(&["reissue", "kube-proxy", "--if-expiring", "30d", "--yes"]).says(&["nothing is due", "valid until"]);
    assert_eq!((env.tree_hash(""), restarts(&env)), (before, 0));
    let (code, failed) = env.json(&["reissue", "kube-proxy", "--if-expiring", "400d"]);
    assert_eq!((code, &failed["error"]["code"]), (4, &"certificate_unsigned".into()), "{failed}");
    assert!(failed["error"]["message"].as_str().unwrap().contains("ends on"), "{failed}");
    assert_eq!(env.tree_hash(""), before);
}

#[test]
fn what_was_imported_reaches_the_nodes_with_the_care_of_a_reissue() {
    let env = applied();
    let old = on_host(&env, "node-1");
    env.ok(&["cert", "csr"]);
    ca(&env).sign("kube-proxy.csr", "second.pem");
    env.ok(&["cert", "import", "second.pem"]).says(&["reissue kube-proxy --imported"]);
    env.ok(&["status"]).says(&["pending: rebuild kube-proxy.kubeconfig", "reissue kube-proxy --imported"]);
    // A timer neither brings it by the way nor hides it.
    let before = env.tree_hash("");
    let timer = ["reissue", "kube-proxy", "--if-expiring", "30d"];
    env.ok(&timer).says(&["nothing is due", "reissue kube-proxy --imported"]);
    env.run(&["reissue", "kube-proxy", "--imported", "--probe"]).expect(4).says(&["cannot be shown"]);
    assert_eq!((env.tree_hash(""), on_host(&env, "node-1")), (before, old.clone()));
    let ran = env.ok(&["reissue", "kube-proxy", "--imported", "--limit", "node-1"]);
    assert!(ran.stderr.contains("2 other nodes") && ran.stderr.contains("--imported"), "{}", ran.stderr);
    assert_eq!((restarts(&env), on_host(&env, "node-2") == old, on_host(&env, "node-1") == old), (1, true, false));
    let (code, report) = env.json(&["reissue", "kube-proxy", "--imported"]);
    assert_eq!((code, &report["command"], restarts(&env)), (0, &"reissue".into(), 3), "{report}");
    assert_eq!(hosts_that_are(&report, "changed"), ["cp-1", "node-2"]);
    assert_eq!(report["identity"]["servers"][0]["verdict"], "unasked", "{report}");
    for host in ["cp-1", "node-1", "node-2"] {
        assert_eq!(on_host(&env, host), env.read("state/kubeconfigs/kube-proxy.kubeconfig"));
    }
    env.ok(&timer).says(&["nothing is due"]);
    env.ok(&["status", "--exit-code"]);
    let ran = env.run(&["cert", "list", "--check", "400d"]).expect(6);
    let ran = ran.says(&["kubemint cert csr", "kubemint cert import", "kubemint reissue kube-proxy --imported"]);
    assert!(!ran.stdout.contains("--if-expiring"), "{}", ran.stdout);
    env.ok(&["rollback", "last"]).says(&["2 changed"]);
    assert_eq!(on_host(&env, "node-2"), old);
}

#[test]
fn a_node_that_an_import_could_not_reach_is_made_up_for() {
    let env = applied();
    renew(&env, "second.pem");
    std::fs::rename(env.path("hosts/node-1/etc"), env.path("away")).unwrap();
    env.write("hosts/node-1/etc", "in the way");
    let (code, report) = env.json(&["reissue", "kube-proxy", "--imported"]);
    assert_eq!((code, hosts_that_are(&report, "failed"), restarts(&env)), (3, vec!["node-1"], 2), "{report}");
    std::fs::remove_file(env.path("hosts/node-1/etc")).unwrap();
    std::fs::rename(env.path("away"), env.path("hosts/node-1/etc")).unwrap();
    let (code, again) = env.json(&["reissue", "kube-proxy", "--if-expiring", "30d"]);
    assert_eq!((code, &again["of"], hosts_that_are(&again, "changed")), (0, &report["run_id"], vec!["node-1"]));
    assert_eq!(restarts(&env), 3);
    // A restart that failed is owed, though the file is right then.
    let working = env.read("inventory.toml");
    env.write("inventory.toml", working.replace("echo restarted", "exit 5; echo restarted"));
    renew(&env, "other.pem");
    env.run(&["reissue", "kube-proxy", "--imported"]).expect(3).says(&["exit 5; echo", "failed with status 5"]);
    env.write("inventory.toml", working);
    let (code, again) = env.json(&["reissue", "kube-proxy", "--imported"]);
    assert_eq!((code, hosts_that_are(&again, "unchanged").len(), restarts(&env)), (0, 3, 6), "{again}");
    // A new import is not what a retry of the earlier run brings.
    renew(&env, "third.pem");
    env.run(&["reissue", "kube-proxy", "--retry", "last"]).expect(4).says(&["reissue kube-proxy --imported"]);
}

#[test]
fn only_certificates_of_a_ca_elsewhere_are_imported() {
    let env = TestEnv::with_local_hosts();
    env.ok(&["apply", "--yes"]);
    let before = env.tree_hash("");
    env.run(&["reissue", "kube-proxy", "--imported"]).expect(2).says(&["the CA's key is at hand"]);
    for more in [&["--if-expiring", "30d"][..], &["--keep-key"], &["--per-node"], &["--retry", "last"]] {
        env.run(&[&["reissue", "kube-proxy", "--imported"], more].concat()).expect(2);
    }
    assert_eq!(env.tree_hash(""), before);
}

#[test]
fn nodes_with_their_own_do_without_the_one_they_would_share() {
    let env = applied();
    env.ok(&["cert", "csr", "--per-node", "--out", "requests"]);
    let names = ["cp-1", "node-1", "node-2"].map(|node| format!("kube-proxy.{node}"));
    let signed = names.clone().map(|name| format!("{name}.pem"));
    for name in &names {
        ca(&env).sign(&format!("requests/{name}.csr"), &format!("{name}.pem"));
    }
    ca(&env).sign_with("requests/kube-proxy.csr", "short.pem", &["-days", "20"], "extendedKeyUsage=clientAuth\n");
    env.ok(&[&["cert", "import", "short.pem"], &signed.each_ref().map(String::as_str)[..]].concat());
    let (code, report) = env.json(&["reissue", "kube-proxy", "--imported"]);
    assert_eq!((code, hosts_that_are(&report, "changed").len(), restarts(&env)), (0, 3, 3), "{report}");
    // The shared one ends within 30 days, and nobody has it.
    env.ok(&["reissue", "kube-proxy", "--if-expiring", "30d"]).says(&["nothing is due"]);
    env.ok(&["cert", "list", "--check"]).says(&[
        "0 of 4 due",
        "kubeconfigs/kube-proxy.kubeconfig, which no host gets: nodes have their own",
        "kube-proxy.kubeconfig, on node-2 only",
    ]);
    let (code, list) = env.json(&["cert", "list", "--check", "400d"]);
    let told = |row: &serde_json::Value| (row["in_use"].as_bool().unwrap(), row["due"].as_bool().unwrap());
    let told: Vec<_> = list["certificates"].as_array().unwrap().iter().map(told).collect();
    assert_eq!((code, &told[1], &told[2..]), (6, &(false, false), &[(true, true); 3][..]), "{list}");
    // One node's is renewed alone: the others are looked at, and left.
    env.ok(&["cert", "csr", "--limit", "node-1", "--out", "one"]);
    ca(&env).sign("one/kube-proxy.node-1.csr", "one.pem");
    env.ok(&["cert", "import", "one.pem"]);
    let (code, report) = env.json(&["reissue", "kube-proxy", "--imported"]);
    assert_eq!((code, hosts_that_are(&report, "changed"), restarts(&env)), (0, vec!["node-1"], 4), "{report}");
}

#[test]
fn the_pair_in_use_stays_until_the_next_certificate_has_come() {
    let env = world("");
    env.ok(&["cert", "csr"]);
    ca(&env).sign("kube-proxy.csr", "signed.pem");
    env.ok(&["cert", "import", "signed.pem"]);
    env.ok(&["apply", "--yes"]);
    let (hosts, old) = (env.tree_hash("hosts"), env.read("state/certs/kube-proxy-key.pem"));
    env.ok(&["cert", "csr"]);
    env.ok(&["verify"]);
    env.ok(&["apply", "--yes"]).says(&["3 unchanged"]);
    assert_eq!((env.tree_hash("hosts"), env.read("state/certs/kube-proxy-key.pem")), (hosts, old.clone()));
    let first = field(&env, "signed.pem", "-serial");
    ca(&env).sign("kube-proxy.csr", "second.pem");
    env.ok(&["cert", "import", "second.pem"]);
    env.ok(&["apply", "--yes"]).says(&["3 changed"]);
    assert_ne!(env.read("state/certs/kube-proxy-key.pem"), old);
    assert_pair(&env, "state/certs/kube-proxy.pem", "state/certs/kube-proxy-key.pem", "elsewhere/ca.pem");
    let serial = first.trim_start_matches("serial=").trim_start_matches('0');
    let state: serde_json::Value = serde_json::from_str(&env.read("state/state.json")).unwrap();
    assert_eq!(state["replaced"][""]["serial"].as_str().unwrap().trim_start_matches('0'), serial);
}

#[test]
fn a_key_that_waits_is_never_overwritten_by_a_second_request() {
    let env = world("");
    env.ok(&["cert", "csr"]);
    let key = env.read(PENDING);
    env.ok(&["cert", "csr", "--out", "again"]).says(&["kept"]);
    assert_eq!(env.read(PENDING), key);
    ca(&env).sign("kube-proxy.csr", "first.pem");
    env.ok(&["cert", "csr", "--new-key"]).says(&["made"]);
    assert_ne!(env.read(PENDING), key);
    // What was signed for the key that is gone fits nothing.
    env.run(&["cert", "import", "first.pem"]).expect(2).says(&["first.pem", "no key here belongs"]);
    write_inventory(&env, "[certificates.kube-proxy]\nalgorithm = \"ecdsa-p384\"\n");
    env.run(&["cert", "csr"]).expect(2).says(&["ecdsa-p256", "--new-key"]);
    env.ok(&["cert", "csr", "--new-key"]);
}

#[test]
fn whatever_was_not_asked_for_is_refused_by_name_and_changes_nothing() {
    let env = world("");
    env.ok(&["cert", "csr"]);
    let good = ca(&env);
    let other = ElsewhereCa::new(&env, "other");
    let twin = ElsewhereCa::twin(&env, "ca", "forged");
    good.sign("kube-proxy.csr", "good.pem");
    openssl_ok(
        &env,
        &[
            "req",
            "-new",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-keyout",
            "k.pem",
            "-subj",
            "/O=system:node-proxier/CN=system:kube-proxy",
            "-out",
            "foreign.csr",
        ],
    );
    good.sign("foreign.csr", "foreign-key.pem");
    other.sign("kube-proxy.csr", "other-ca.pem");
    twin.sign("kube-proxy.csr", "forged-ca.pem");
    let days = ["-days", "365"];
    let as_subject = |name: &str, subject: &str| {
        openssl_ok(&env, &["req", "-new", "-key", PENDING, "-subj", subject, "-out", "altered.csr"]);
        good.sign("altered.csr", name);
    };
    as_subject("masters.pem", "/O=system:masters/CN=system:kube-proxy");
    as_subject("two-groups.pem", "/O=system:node-proxier/O=system:masters/CN=system:kube-proxy");
    as_subject("other-user.pem", "/O=system:node-proxier/CN=admin");
    as_subject("two-users.pem", "/O=system:node-proxier/CN=system:kube-proxy/CN=admin");
    as_subject("more.pem", "/C=DE/O=system:node-proxier/CN=system:kube-proxy");
    as_subject("no-group.pem", "/CN=system:kube-proxy");
    good.sign_with("kube-proxy.csr", "no-usage.pem", &days, "basicConstraints=CA:FALSE\n");
    good.sign_with("kube-proxy.csr", "server.pem", &days, "extendedKeyUsage=serverAuth\n");
    good.sign_with("kube-proxy.csr", "both.pem", &days, "extendedKeyUsage=clientAuth,serverAuth\n");
    good.sign_with(
        "kube-proxy.csr",
        "a-ca.pem",
        &days,
        "basicConstraints=critical,CA:TRUE\nextendedKeyUsage=clientAuth\n",
    );
    good.sign_dated("kube-proxy.csr", "expired.pem", "20200101000000Z", "20200201000000Z");
    good.sign_dated("kube-proxy.csr", "future.pem", "20400101000000Z", "20410101000000Z");
    env.write("rubbish.pem", "no certificate\n");
    env.write("damaged.pem", env.read("good.pem").replacen('M', "!", 2));
    let state = env.tree_hash("state");
    for (file, says) in [
        ("foreign-key.pem", "no key here belongs"),
        ("other-ca.pem", "issued by"),
        ("forged-ca.pem", "was not made by the CA's key"),
        ("masters.pem", "O=system:masters"),
        ("two-groups.pem", "O=system:masters"),
        ("other-user.pem", "CN=admin"),
        ("two-users.pem", "CN=admin"),
        ("more.pem", "C=DE"),
        ("no-group.pem", "its subject is"),
        ("no-usage.pem", "extended key usage is any"),
        ("server.pem", "serverAuth"),
        ("both.pem", "clientAuth"),
        ("a-ca.pem", "it is a CA"),
        ("expired.pem", "has ended"),
        ("future.pem", "is not valid before"),
        ("kube-proxy.csr", "CERTIFICATE REQUEST"),
        ("elsewhere/ca.pem", "the CA alone"),
        (PENDING, "PRIVATE KEY"),
        ("rubbish.pem", "no PEM block"),
        ("damaged.pem", "damaged PEM"),
        ("absent.pem", "absent.pem"),
    ] {
        env.run(&["cert", "import", file]).expect(2).says(&[file, says]);
        assert_eq!(env.tree_hash("state"), state, "{file}");
    }
    // All that is wrong at once, unreadable files too, and nothing of what is right.
    std::fs::create_dir(env.path("folder.pem")).unwrap();
    let ran =
        env.run(&["cert", "import", "absent.pem", "good.pem", "server.pem", "folder.pem", "other-ca.pem"]).expect(2);
    ran.says(&[
        "absent.pem: it cannot be read: No such file",
        "folder.pem: it cannot be read",
        "server.pem",
        "other-ca.pem",
    ]);
    assert_eq!(env.tree_hash("state"), state);
    env.run(&["cert", "import", "good.pem", "good.pem"]).expect(2).says(&["the same node as"]);
    // The CA's certificate may come along.
    env.write("chain.pem", env.read("good.pem") + &env.read("elsewhere/ca.pem"));
    env.ok(&["cert", "import", "chain.pem"]);
    assert_pair(&env, "state/certs/kube-proxy.pem", "state/certs/kube-proxy-key.pem", "elsewhere/ca.pem");
}

#[test]
fn nodes_have_requests_of_their_own() {
    let env = world("");
    env.ok(&["cert", "csr", "--per-node", "--out", "requests"]).says(&["4 requests"]);
    let names = ["kube-proxy", "kube-proxy.cp-1", "kube-proxy.node-1", "kube-proxy.node-2"];
    for name in names {
        ca(&env).sign(&format!("requests/{name}.csr"), &format!("{name}.pem"));
    }
    // Half of them is not enough to go on, and nothing is lost by it.
    env.ok(&["cert", "import", "kube-proxy.pem", "kube-proxy.node-1.pem"]);
    env.run(&["apply", "--yes"]).expect(4).says(&["kube-proxy of cp-1"]);
    env.ok(&["cert", "import", "kube-proxy.cp-1.pem", "kube-proxy.node-2.pem"]);
    env.ok(&["apply", "--yes"]).says(&["3 changed"]);
    env.ok(&["verify"]).says(&["3 nodes, each with its own"]);
    for node in ["cp-1", "node-1", "node-2"] {
        let (certificate, key) = (
            format!("state/certs/nodes/{node}/kube-proxy.pem"),
            format!("state/certs/nodes/{node}/kube-proxy-key.pem"),
        );
        assert_pair(&env, &certificate, &key, "elsewhere/ca.pem");
        assert_eq!((env.mode(&certificate), env.mode(&key)), (0o600, 0o600));
        assert!(!env.path(format!("state/certs/nodes/{node}/kube-proxy-key.pending.pem")).exists());
    }
    // A node's certificate fits no other node's key.
    env.ok(&["cert", "csr", "--limit", "node-1", "--out", "one"]).says(&["1 request"]);
    assert!(!env.path("one/kube-proxy.csr").exists());
}

#[test]
fn with_the_ca_key_at_hand_nobody_else_is_asked() {
    let env = TestEnv::with_local_hosts();
    env.ok(&["generate"]);
    let state = env.tree_hash("state");
    env.run(&["cert", "csr"]).expect(2).says(&["reissue kube-proxy"]);
    env.run(&["cert", "import", "state/certs/kube-proxy.pem"]).expect(2);
    assert_eq!(env.tree_hash("state"), state);
    assert!(!openssl(&env, &["req", "-in", "kube-proxy.csr", "-noout"]).0);
}

#[test]
fn an_import_that_was_killed_is_done_by_the_same_again() {
    let env = world("");
    env.ok(&["cert", "csr"]);
    ca(&env).sign("kube-proxy.csr", "signed.pem");
    let fresh = env.path("fresh");
    assert!(std::process::Command::new("cp").arg("-a").args([&env.path("state"), &fresh]).status().unwrap().success());
    let strace = support::require("strace");
    let mut killed = 0;
    for when in 1..40 {
        std::fs::remove_dir_all(env.path("state")).unwrap();
        assert!(
            std::process::Command::new("cp").arg("-a").args([&fresh, &env.path("state")]).status().unwrap().success()
        );
        let calls = "rename,renameat,renameat2,unlink,unlinkat";
        let inject = format!("inject=?{}:signal=SIGKILL:when={when}", calls.replace(',', ",?"));
        let mut command = std::process::Command::new(&strace);
        command.args(["-f", "-qq", "-o", "/dev/null", "-e", &inject]).arg(env!("CARGO_BIN_EXE_kubemint"));
        command.args(["cert", "import", "signed.pem"]).current_dir(env.dir());
        let status = command.output().unwrap().status;
        if status.success() {
            break;
        }
        killed += 1;
        env.ok(&["cert", "import", "signed.pem"]);
        assert_pair(&env, "state/certs/kube-proxy.pem", "state/certs/kube-proxy-key.pem", "elsewhere/ca.pem");
        assert!(!env.path(PENDING).exists(), "{when}");
        env.ok(&["generate"]);
        env.ok(&["verify"]);
    }
    assert!(killed >= 4, "{killed}");
}
