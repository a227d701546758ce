//! `token.form = "secret"` without a cluster: what is made, shown and refused.
#![allow(clippy::unwrap_used, reason = "test code")]

mod support;

use support::TestEnv;

const HEAD: &str = "[cluster]\nserver = \"https://10.0.0.1:6443\"\n[[hosts]]\nname = \"one\"\nroles = [\"control-plane\", \
                    \"node\"]\nconnection = \"local\"\nroot = \"one\"\n[[hosts]]\nname = \"two\"\nroles = \
                    [\"control-plane\"]\nconnection = \"local\"\nroot = \"two\"\n";

fn env(token: &str) -> TestEnv {
    let env = TestEnv::with_inventory(&format!("state_dir = \"state\"\n{token}{HEAD}"));
    for root in ["one", "two"] {
        std::fs::create_dir(env.path(root)).unwrap();
    }
    env
}

fn set(env: &TestEnv, token: &str) {
    env.write("inventory.toml", format!("state_dir = \"state\"\n{token}{HEAD}"));
}

const SECRET: &str = "[token]\nform = \"secret\"\nttl = \"2h\"\n";

#[test]
fn the_token_is_in_bootstrap_kubeconfig_alone_and_its_secret_is_printed() {
    let env = env(SECRET);
    let ran = env.ok(&["apply", "--yes"]);
    assert!(ran.stderr.contains("kubemint token manifest | kubectl apply"), "{}", ran.stderr);
    for none in ["state/token.csv", "one/etc/kubernetes/token.csv", "two/etc/kubernetes/token.csv"] {
        assert!(!env.path(none).exists(), "{none}");
    }
    let (_, shown) = env.json(&["token", "show", "--reveal"]);
    let token = shown["token"].as_str().unwrap();
    let (id, part) = token.split_once('.').unwrap();
    assert!(env.read("one/etc/kubernetes/bootstrap.kubeconfig").contains(token));
    assert_eq!(shown["user"], format!("system:bootstrap:{id}"));
    assert_eq!(shown["groups"], serde_json::json!(["system:bootstrappers"]));
    let manifest = env.ok(&["token", "manifest"]).stdout;
    for text in [id, part, shown["secret"]["expiration"].as_str().unwrap(), "kind: ClusterRoleBinding"] {
        assert!(manifest.contains(text), "{text}");
    }
    let bindings = env.ok(&["token", "manifest", "--rbac-only"]).stdout;
    assert!(!bindings.contains(part) && bindings.contains("system:bootstrappers"), "{bindings}");
    // The stored state names it, and never says it.
    let state = env.read("state/state.json");
    assert!(state.contains(id) && !state.contains(part));
    env.ok(&["verify"]);
    let before = env.tree_hash("state");
    let ran = env.ok(&["generate"]);
    assert!(ran.stdout.contains("nothing to do"), "{}", ran.stdout);
    assert_eq!(env.tree_hash("state"), before);
    let (code, status) = env.json(&["status"]);
    assert_eq!((code, &status["summary"]["ok"]), (0, &2.into()), "{status:#}");
    env.write("more.csv", "aaaabbbbccccdddd,monitor,7\n");
    env.run(&["token", "merge", "more.csv"]).expect(4).says(&["keeps the token in a Secret"]);
}

#[test]
fn one_form_does_not_become_the_other_by_a_key() {
    let env = env("");
    env.ok(&["generate"]);
    let before = env.tree_hash("state");
    set(&env, SECRET);
    for command in ["generate", "apply"] {
        env.run(&[command, "--yes"]).expect(4).says(&["kubemint token migrate"]);
    }
    env.run(&["token", "manifest"]).expect(4).says(&["kubemint token migrate"]);
    assert_eq!(env.tree_hash("state"), before);
    set(&env, "");
    env.ok(&["generate"]);
    let other = self::env(SECRET);
    other.ok(&["generate"]);
    set(&other, "");
    other.run(&["generate"]).expect(4).says(&["no way back"]);
}

#[test]
fn groups_and_spans_that_a_secret_cannot_have_are_refused() {
    for (token, words) in [
        ("groups = [\"system:kubelet-bootstrap\"]\n", "none that a token kept in a Secret may have"),
        ("groups = [\"system:bootstrappers:A\"]\n", "none that a token kept in a Secret may have"),
        ("ttl = \"9m\"\n", "shorter than 10 minutes"),
        ("ttl = \"soon\"\n", "not a span of time"),
    ] {
        let env = env(&format!("[token]\nform = \"secret\"\n{token}"));
        env.run(&["generate"]).expect(2).says(&[words]);
        assert!(!env.path("state").exists());
    }
    let env = env("[token]\nform = \"secret\"\ngroups = [\"system:bootstrappers:worker\"]\n");
    env.ok(&["generate"]);
    assert!(env.ok(&["token", "manifest"]).stdout.contains("system:bootstrappers:worker"));
}
