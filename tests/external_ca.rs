//! A CA whose key is elsewhere: `cert csr` asks, openssl signs, `cert import` takes what is exactly that.

#![allow(clippy::unwrap_used, reason = "clippy.toml allows it in test functions only, not in what they call")]

mod support;

use support::{
    TestEnv,
    openssl::{ElsewhereCa, assert_pair, field, openssl, openssl_ok},
};

const HOSTS: &str = r#"
[[hosts]]
name = "cp-1"
connection = "local"
root = "hosts/cp-1"
roles = ["control-plane", "node"]
[[hosts]]
name = "node-[1-2]"
connection = "local"
root = "hosts/node-[1-2]"
"#;
const PENDING: &str = "state/certs/kube-proxy-key.pending.pem";

fn world(more: &str) -> TestEnv {
    let env = TestEnv::new();
    ElsewhereCa::new(&env, "ca");
    write_inventory(&env, more);
    env
}

fn write_inventory(env: &TestEnv, more: &str) {
    let cluster = "state_dir = \"state\"\n[cluster]\nserver = \"https://172.20.0.113:6443\"\n";
    env.write("inventory.toml", format!("{cluster}[ca]\ncert = \"elsewhere/ca.pem\"\n{more}{HOSTS}"));
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
    env.run(&["reissue", "kube-proxy"]).expect(2).says(&["cert csr"]);
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
    // All that is wrong at once, and nothing of what is right.
    let ran = env.run(&["cert", "import", "good.pem", "server.pem", "other-ca.pem"]).expect(2);
    assert!(ran.stderr.contains("server.pem") && ran.stderr.contains("other-ca.pem"), "{}", ran.stderr);
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
