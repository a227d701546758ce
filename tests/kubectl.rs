//! The real kubectl as judge of what the binary writes: the handbook's eight commands on the same CA, token and key give
//! the same files. KUBECTL or PATH says which kubectl.
#![allow(clippy::unwrap_used)]

mod support;

use kubemint::{
    bundle::{CredentialSet, FileKind},
    inventory::ServerUrl,
    secret::{ExposeSecret, Secret},
};
use serde_json::{Value, json};
use std::{path::PathBuf, process::Command};
use support::TestEnv;

const SERVER: &str = "https://172.20.0.113:6443";

/// A world with one inventory, its credentials generated.
fn generated(cluster: &str, token_user: &str) -> TestEnv {
    let env = TestEnv::with_inventory(&format!(
        "state_dir = \"state\"\n[cluster]\nname = \"{cluster}\"\nserver = \"{SERVER}\"\n[token]\nuser = \"{token_user}\"\n\
         [[hosts]]\nname = \"node-1\"\nconnection = \"local\"\nroot = \"node-1\"\n"
    ));
    env.run(&["generate"]).expect(0);
    env
}

fn kubectl(env: &TestEnv, arguments: &[&str]) -> String {
    let program = std::env::var_os("KUBECTL").map_or_else(|| PathBuf::from("kubectl"), PathBuf::from);
    let mut command = Command::new(program);
    command.args(arguments).current_dir(env.dir()).env_clear().env("HOME", env.path("home"));
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e} (is it installed?)"));
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// What kubectl makes of a file.
fn view(env: &TestEnv, file: &str) -> Value {
    serde_json::from_str(&kubectl(env, &["--kubeconfig", file, "config", "view", "--raw", "-o", "json"])).unwrap()
}

fn handbook(env: &TestEnv, file: &str, cluster: &str, user: &str, credentials: &[&str]) {
    let config = |arguments: &[&str]| {
        kubectl(env, &[&["config"], arguments, &["--kubeconfig", file]].concat());
    };
    let server = format!("--server={SERVER}");
    config(&["set-cluster", cluster, "--certificate-authority=state/ca.pem", "--embed-certs=true", &server]);
    config(&[&["set-credentials", user], credentials].concat());
    config(&["set-context", "default", &format!("--cluster={cluster}"), &format!("--user={user}")]);
    config(&["use-context", "default"]);
}

/// The token that stands in token.csv.
fn token(env: &TestEnv) -> String {
    env.read("state/token.csv").split(',').next().unwrap().to_owned()
}

/// Our file against the one that the handbook's commands have written; gives what kubectl makes of both.
fn assert_same(env: &TestEnv, ours: &str, theirs: &str) -> Value {
    let shown = view(env, ours);
    assert_eq!(shown, view(env, theirs));
    // kubectl before 1.37 writes this line, later ones do not; we do not.
    assert_eq!(env.read(ours), env.read(theirs).replacen("preferences: {}\n", "", 1));
    shown
}

#[test]
fn generated_kubeconfigs_are_what_the_handbooks_commands_write() {
    let env = generated("kubernetes", "kubelet-bootstrap");
    handbook(&env, "bootstrap", "kubernetes", "kubelet-bootstrap", &[&format!("--token={}", token(&env))]);
    let pair = [
        "--client-certificate=state/certs/kube-proxy.pem",
        "--client-key=state/certs/kube-proxy-key.pem",
        "--embed-certs=true",
    ];
    handbook(&env, "kube-proxy", "kubernetes", "kube-proxy", &pair);
    assert_same(&env, "state/kubeconfigs/kube-proxy.kubeconfig", "kube-proxy");
    let shown = assert_same(&env, "state/kubeconfigs/bootstrap.kubeconfig", "bootstrap");
    assert_eq!(shown["current-context"], "default");
    assert_eq!(shown["contexts"][0]["context"], json!({"cluster": "kubernetes", "user": "kubelet-bootstrap"}));
    assert_eq!(shown["users"], json!([{"name": "kubelet-bootstrap", "user": {"token": token(&env)}}]));
    assert_eq!(shown["clusters"][0]["cluster"]["server"], SERVER);
    env.run(&["apply"]).expect(0);
    for name in ["bootstrap", "kube-proxy"] {
        let installed = env.read(format!("node-1/etc/kubernetes/{name}.kubeconfig"));
        assert_eq!(installed, env.read(format!("state/kubeconfigs/{name}.kubeconfig")));
    }
}

#[test]
fn names_that_yaml_takes_for_something_else_survive_kubectl() {
    for name in ["yes", "1e5", "0123", "null"] {
        let env = generated(name, name);
        handbook(&env, "theirs", name, name, &[&format!("--token={}", token(&env))]);
        let shown = assert_same(&env, "state/kubeconfigs/bootstrap.kubeconfig", "theirs");
        assert_eq!([&shown["users"][0]["name"], &shown["clusters"][0]["name"]], [name; 2]);
        assert_eq!(shown["contexts"][0]["context"], json!({"cluster": name, "user": name}));
        env.run(&["verify"]).expect(0);
        assert_eq!(env.json(&["generate"]).1["changed"], false, "{name}: read back as it was written");
    }
}

/// Tokens a person chose, or 32 hex digits that happen to be a number.
#[test]
fn tokens_that_yaml_takes_for_something_else_survive_kubectl_and_the_way_back() {
    let env = generated("kubernetes", "kubelet-bootstrap");
    handbook(&env, "theirs", "kubernetes", "kubelet-bootstrap", &["--token=x"]);
    // The last two are what 128 random bits may look like.
    let tokens = ["1e5", "0123", "yes", "12345678901234567890123456789012", "1234567890123456789012345678901e"];
    for token in tokens {
        let set = CredentialSet {
            cluster_name: "kubernetes".into(),
            ca_pem: env.read("state/ca.pem"),
            token_user: "kubelet-bootstrap".into(),
            token: token.parse().unwrap(),
            node_tokens: std::collections::BTreeMap::new(),
            has_node_rows: false,
            token_csv: Some(Secret::from(format!("{token},kubelet-bootstrap,10001\n"))),
            client_certificate_pem: env.read("state/certs/kube-proxy.pem"),
            client_key_pem: Secret::from(env.read("state/certs/kube-proxy-key.pem")),
            node_clients: std::collections::BTreeMap::new(),
        };
        let text = set.render(FileKind::BootstrapKubeconfig, &ServerUrl::new_unchecked(SERVER)).unwrap();
        env.write("ours", text.expose_secret());
        assert_eq!(view(&env, "ours")["users"][0]["user"], json!({ "token": token }));
        let flag = format!("--token={token}");
        kubectl(&env, &["config", "set-credentials", "kubelet-bootstrap", &flag, "--kubeconfig", "theirs"]);
        assert_eq!(text.expose_secret(), env.read("theirs").replacen("preferences: {}\n", "", 1));
        // And the binary reads what kubectl wrote: the fingerprint is the token's.
        let (_, inspected) = env.json(&["kubeconfig", "inspect", "theirs"]);
        let fingerprint = kubemint::digest::Digest::of(token).fingerprint().to_string();
        assert_eq!(inspected["users"][0]["token_fingerprint"], fingerprint.as_str(), "{inspected:#}");
    }
}
