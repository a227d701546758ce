//! Reading kubeconfigs: unknown fields survive, hostile or broken text is refused with its place, and no error repeats
//! a value.

#![allow(clippy::unwrap_used)] // Outside #[test] functions, too: a test helper may fail its test.

use kubemint::{
    kubeconfig::{MAX_SIZE, ParseError, parse_kubeconfig, render_kubeconfig},
    secret::ExposeSecret,
};
use std::{fmt::Write, time::Instant};

fn refuse(text: &str) -> ParseError {
    parse_kubeconfig(text.as_bytes()).map(|_| ()).unwrap_err()
}

#[test]
fn unknown_fields_survive_at_every_level() {
    let text = "\
apiVersion: v1
clusters:
- cluster:
    extensions:
    - extension:
        last-update: yesterday
      name: minikube
    new-cluster-field: 7
    server: https://x
  name: c
  note: kept
contexts:
- context:
    cluster: c
    extensions:
    - extension: {}
      name: e
    user: u
  name: x
current-context: x
extensions:
- extension:
    a: [1, two]
  name: top
kind: Config
preferences:
  colors: true
surprise: 'yes'
users:
- name: u
  user:
    exec:
      apiVersion: client.authentication.k8s.io/v1
      args:
      - get-token
      command: x
      env: null
      interactiveMode: Never
      later: true
      provideClusterInfo: false
";
    let rendered = render_kubeconfig(&parse_kubeconfig(text.as_bytes()).unwrap()).unwrap();
    let values = [text, rendered.expose_secret()].map(|text| serde_yaml::from_str::<serde_yaml::Value>(text).unwrap());
    assert_eq!(values[0], values[1], "{}", rendered.expose_secret());
}

#[test]
fn null_and_empty_mean_absent() {
    let text = "kind: Config\nclusters: null\ncontexts: []\nusers:\n- name: u\n  user:\n    token: \"\"\n    password: ~\n- name: v\n  user: null\n";
    let config = parse_kubeconfig(text.as_bytes()).unwrap();
    assert!(config.clusters.is_empty() && config.contexts.is_empty());
    assert!(config.users.iter().all(|user| user.entry.token.is_none() && user.entry.password.is_none()));
}

#[test]
fn json_is_a_kubeconfig_too() {
    let text =
        r#"{"kind":"Config","apiVersion":"v1","users":[{"name":"u","user":{"token":"t"}}],"current-context":""}"#;
    let config = parse_kubeconfig(text.as_bytes()).unwrap();
    assert_eq!(config.users[0].entry.token.as_ref().unwrap().expose_secret(), "t");
    assert_eq!(config.current_context, None);
}

#[test]
fn anchors_and_merge_keys_are_followed() {
    let text =
        "users:\n- name: a\n  user: &u {token: t, as: x}\n- name: b\n  user: *u\n- name: c\n  user: {<<: *u, as: z}\n";
    let config = parse_kubeconfig(text.as_bytes()).unwrap();
    let shown: Vec<_> = config
        .users
        .iter()
        .map(|u| (u.entry.token.as_ref().unwrap().expose_secret(), u.entry.impersonate.as_deref().unwrap()))
        .collect();
    assert_eq!(shown, [("t", "x"), ("t", "x"), ("t", "z")]);
}

#[test]
fn what_is_no_kubeconfig_is_refused_by_kind() {
    assert!(matches!(refuse(""), ParseError::Empty));
    assert!(matches!(refuse("# nothing\n"), ParseError::Empty));
    assert!(
        matches!(refuse("just text"), ParseError::WrongType { path, expected: "a mapping", found: "text" } if path == ".")
    );
    assert!(matches!(refuse("- a\n"), ParseError::WrongType { found: "a list", .. }));
    assert!(matches!(refuse("kind: Secret\n"), ParseError::WrongKind { field: "kind", .. }));
    assert!(matches!(refuse("apiVersion: v2\n"), ParseError::WrongKind { field: "apiVersion", .. }));
    assert!(matches!(refuse("users:\n- user: {token: t}\n"), ParseError::Missing { path } if path == "users[0].name"));
    assert!(matches!(refuse("kind: Config\n---\nkind: Config\n"), ParseError::Yaml { .. }));
    assert!(matches!(parse_kubeconfig(b"kind: \xff"), Err(ParseError::NotUtf8 { offset: 6 })));
    let error = parse_kubeconfig(&vec![b'a'; MAX_SIZE + 1]).unwrap_err();
    assert!(matches!(error, ParseError::TooLarge { size } if size == MAX_SIZE + 1));
}

#[test]
fn a_wrong_type_is_named_by_its_path() {
    for (text, path) in [
        ("users: {a: b}", "users"),
        ("users:\n- name: u\n  user: {token: 1e5}", "users[0].user.token"),
        ("users:\n- name: u\n  user: {token: [x]}", "users[0].user.token"),
        ("users:\n- name: u\n  user: {exec: {command: x, args: [1]}}", "users[0].user.exec.args[0]"),
        ("users:\n- name: u\n  user: {as-user-extra: {k: v}}", "users[0].user.as-user-extra.k"),
        (
            "users:\n- name: u\n  user: {auth-provider: {name: oidc, config: {id-token: 1}}}",
            "users[0].user.auth-provider.config.id-token",
        ),
        (
            "clusters:\n- name: c\n- name: d\n  cluster: {insecure-skip-tls-verify: maybe}",
            "clusters[1].cluster.insecure-skip-tls-verify",
        ),
        ("contexts:\n- name: 5", "contexts[0].name"),
        ("current-context: true", "current-context"),
    ] {
        let error = refuse(text);
        assert!(matches!(&error, ParseError::WrongType { path: found, .. } if found == path), "{text}: {error}");
    }
    assert!(refuse("current-context: 0x1F").hint().unwrap().contains("quote"));
}

#[test]
fn duplicate_keys_are_refused_at_every_level() {
    for text in [
        "kind: Config\nkind: Config\n",
        "users:\n- name: u\n  user:\n    token: a\n    token: b\n",
        "users:\n- name: u\n  name: v\n",
        "preferences: {a: 1, a: 2}\n",
    ] {
        let error = refuse(text);
        assert!(matches!(&error, ParseError::Yaml { reason, .. } if reason.contains("twice")), "{text}: {error}");
    }
}

#[test]
fn broken_yaml_is_refused_with_its_line() {
    for (text, line) in [
        ("kind: Config\nusers: [\n", 3),
        ("kind: Config\n\tusers: a\n", 2),
        ("a: *nowhere\n", 1),
        ("a: \"x\nb: c\n", 3),
    ] {
        let error = refuse(text);
        assert!(
            matches!(error, ParseError::Yaml { line: Some(found), .. } if found.abs_diff(line) <= 1),
            "{text}: {error:?}"
        );
    }
    assert!(matches!(refuse("a: !secret b\n"), ParseError::Yaml { .. }));
    assert!(matches!(refuse("{[1]: 2}"), ParseError::Yaml { .. }));
    assert!(matches!(refuse("1: 2\n"), ParseError::Yaml { .. }));
}

/// Nine levels of nine aliases each: 9^9 values from half a kilobyte.
fn laughs() -> String {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..9 {
        let aliases = vec![format!("*a{}", level - 1); 9].join(", ");
        writeln!(text, "a{level}: &a{level} [{aliases}]").unwrap();
    }
    text
}

#[test]
fn alias_bombs_are_refused_quickly() {
    let long = "x".repeat(100_000);
    let quadratic = format!("a: &a \"{long}\"\nb: [{}]\n", vec!["*a"; 100_000].join(","));
    let wide = format!("a: &a [{}]\nb: [{}]\n", vec!["x"; 100_000].join(","), vec!["*a"; 100_000].join(","));
    let merged = format!(
        "a: &a {{{}}}\nb: [{}]\n",
        (0..5000).map(|n| format!("k{n}: x")).collect::<Vec<_>>().join(","),
        vec!["{<<: *a}"; 20_000].join(",")
    );
    for (name, bomb) in [("laughs", laughs()), ("quadratic", quadratic), ("wide", wide), ("merged", merged)] {
        let start = Instant::now();
        let error = refuse(&bomb);
        assert!(matches!(error, ParseError::Expands | ParseError::Yaml { .. }), "{name}: {error}");
        assert!(start.elapsed().as_secs() < 5, "{name}: {:?}", start.elapsed());
    }
    assert!(matches!(refuse("a: &a [*a]\n"), ParseError::Yaml { .. } | ParseError::Expands));
}

#[test]
fn deep_nesting_is_refused_quickly() {
    let indented: String = (0..1300).map(|level| format!("{}a:\n", " ".repeat(level))).collect();
    for bomb in ["[", "{", "{a: ", "[\n", "- ", "? ", "-\t", "- ? ", "a: [", "!a ", "&a ", "* ", "'", "\"\n", "|\n"]
        .map(|unit| unit.repeat(MAX_SIZE / unit.len()))
        .into_iter()
        .chain([indented])
    {
        let start = Instant::now();
        let error = parse_kubeconfig(bomb.as_bytes()).map(|_| ()).unwrap_err();
        assert!(start.elapsed().as_secs() < 5, "{:?} {:?} {error}", &bomb[..10], start.elapsed());
    }
}

#[test]
fn a_thousand_clusters_are_no_bomb() {
    let mut text = String::from("kind: Config\nclusters:\n");
    for n in 0..1000 {
        writeln!(text, "- name: c{n}\n  cluster:\n    server: https://h{n}:6443\n    certificate-authority: /ca")
            .unwrap();
    }
    assert_eq!(parse_kubeconfig(text.as_bytes()).unwrap().clusters.len(), 1000);
}

#[test]
fn no_error_repeats_a_value() {
    for text in [
        "kind: canary7\n",
        "users:\n- name: u\n  user: {token: [canary7]}\n",
        "users:\n- name: u\n  user: {token: {canary7: x}}\n",
        "users:\n- name: u\n  user: canary7\n",
        "users: canary7\n",
        "canary7",
        "users:\n- name: u\n  user:\n    token: canary7\n   password: canary7\n",
        "users:\n- name: u\n  user: {password: \"canary7}\n",
        "users:\n- name: u\n  user: {token: canary7, token: canary7}\n",
        "users:\n- name: u\n  user: {token: !canary7 canary7}\n",
        "a: &x canary7\nb: *y\ntoken: [canary7",
    ] {
        let error = refuse(text);
        let shown = format!("{error} {error:?} {:?}", error.hint());
        // What kind a file is of is no secret.
        assert!(text.starts_with("kind") || !shown.contains("canary"), "{text}: {shown}");
    }
}

#[test]
fn debug_shows_no_secret() {
    let text = "clusters:\n- name: c\n  cluster: {server: 'https://u:canary@h', proxy-url: 'http://canary@p', x: canary}\n\
        users:\n- name: u\n  user: {token: canary, password: canary, client-key-data: canary, as: a, as-user-extra: {k: [canary]},\n    \
        auth-provider: {name: oidc, config: {id-token: canary}, z: canary}, later: canary,\n    \
        exec: {command: c, args: [canary], env: [{name: E, value: canary, y: canary}]}}\nextensions: [{name: e, extension: canary}]\n";
    let config = parse_kubeconfig(text.as_bytes()).unwrap();
    let shown = format!("{config:?}");
    assert!(!shown.contains("canary"), "{shown}");
}
