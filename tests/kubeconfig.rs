//! `kubemint kubeconfig …` on the real binary.

#![allow(clippy::unwrap_used, reason = "clippy.toml allows it in test functions only, not in what they call")]

mod support;

use support::TestEnv;

const CANARY: &str = "9b41f7d03c5e28a6d1f0947c3be85a62";

/// Every place of a user entry where a secret may stand, and references that lead nowhere.
fn crowded() -> String {
    format!(
        "apiVersion: v1
kind: Config
current-context: gone
clusters:
- name: c
  cluster: {{ server: 'https://a:6443', insecure-skip-tls-verify: true }}
contexts:
- name: x
  context: {{ cluster: c, user: nobody }}
users:
- name: static
  user: {{ token: {CANARY} }}
- name: basic
  user: {{ username: admin, password: {CANARY} }}
- name: key
  user: {{ client-certificate-data: '', client-key-data: {CANARY} }}
- name: provider
  user: {{ auth-provider: {{ name: oidc, config: {{ id-token: {CANARY}, refresh-token: {CANARY} }} }} }}
- name: plugin
  user:
    exec: {{ apiVersion: client.authentication.k8s.io/v1, command: login, args: [{CANARY}], env: [{{ name: T, value: {CANARY} }}] }}
- name: extra
  user: {{ as: somebody, as-user-extra: {{ token: [{CANARY}] }} }}
"
    )
}

#[test]
fn inspect_shows_what_matters_of_our_own_files() {
    let env = TestEnv::with_local_hosts();
    env.ok(&["generate"]);
    let fingerprint = env.json(&["token", "show"]).1["fingerprint"].as_str().unwrap().to_owned();
    let ran = env.ok(&["kubeconfig", "inspect", "state/kubeconfigs/bootstrap.kubeconfig"]);
    env.assert_no_secret(&ran.stdout);
    ran.says(&[
        "https://172.20.0.113:6443",
        "CN=kubernetes",
        "sha256:",
        "user kubelet-bootstrap",
        &format!("fingerprint {fingerprint}"),
        "no problems found",
    ]);
    let ran = env.ok(&["kubeconfig", "inspect", "state/kubeconfigs/kube-proxy.kubeconfig"]);
    env.assert_no_secret(&ran.stdout);
    ran.says(&["client-certificate", "CN=system:kube-proxy"]);
    let (_, document) = env.json(&["kubeconfig", "inspect", "state/kubeconfigs/kube-proxy.kubeconfig"]);
    assert_eq!((&document["schema"], &document["version"]), (&"kubemint/kubeconfig".into(), &1.into()));
    assert_eq!(document["problems"], serde_json::json!([]));
    env.assert_no_secret(&document.to_string());
}

#[test]
fn inspect_finds_dangling_references_in_kubectls_words_and_shows_no_secret() {
    let env = TestEnv::new();
    env.write("admin.conf", crowded());
    let before = env.tree_hash("");
    let ran = env.ok(&["kubeconfig", "inspect", "admin.conf", "-vv"]);
    let (code, document) = env.json(&["kubeconfig", "inspect", "admin.conf"]);
    assert_eq!(code, 0);
    for text in [&ran.stdout, &ran.stderr, &document.to_string()] {
        assert!(!text.contains(CANARY), "{text}");
    }
    ran.says(&["problem:", "gone", "Please enter Username", "kubectl says"]);
    assert!(document["problems"].as_array().unwrap().len() >= 2, "{document}");
    assert_eq!(env.tree_hash(""), before);
}

#[test]
fn inspect_reads_standard_input() {
    let env = TestEnv::new();
    env.write("-", "not this file");
    let ran = env.run_with_input(&["kubeconfig", "inspect", "-"], crowded()).expect(0);
    assert!(ran.stdout.contains("cluster c") && !ran.stdout.contains(CANARY), "{}", ran.stdout);
    env.run_with_input(&["kubeconfig", "inspect", "-"], "a: [").expect(2).says(&["-:2:1: ", "mend the YAML"]);
}

#[test]
fn names_with_control_characters_do_not_reach_the_terminal() {
    let env = TestEnv::new();
    let name = "evil\\u001b[2Jname";
    env.write(
        "a.conf",
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: \"{name}\"\nusers: [{{name: \"{name}\", user: {{}}}}]\n"
        ),
    );
    let ran = env.ok(&["kubeconfig", "inspect", "a.conf"]);
    assert!(!ran.stdout.contains('\x1b') && ran.stdout.contains("name"), "{:?}", ran.stdout);
}
