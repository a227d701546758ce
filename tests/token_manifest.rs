//! The manifests are YAML of the right shape, no value can break out of its place, and kubectl agrees.

#![allow(clippy::unwrap_used)] // Outside #[test] functions, too: a test helper may fail its test.

use jiff::{SignedDuration, Timestamp};
use kubemint::{
    entropy::SeededEntropy,
    inventory::TokenSettings,
    secret::ExposeSecret,
    token::{
        BOOTSTRAP_SECRET_TEMPLATE, BootstrapTokenSecret, DEFAULT_TTL, ManifestError, RBAC_TEMPLATE, RbacSubjects,
        render_bootstrap_secret, render_rbac,
    },
};
use serde_yaml::Value;
use std::{path::PathBuf, process::Command};

const NASTY: &[&str] = &[
    "a\"\nkind: Evil\n---\n",
    "' }}{{ 7*7 }}",
    "{% raw %}",
    "yes",
    "null",
    "0x1F",
    "*a",
    "&a",
    "!!int 1",
    "a: b # c",
    "\\",
    "\\n",
    "\u{85}\u{2028}\u{feff}",
    "日本語 😀",
    "\t",
    "",
    "<b>&amp;",
    "-",
    "%YAML",
    "~",
];

fn settings(user: &str, groups: &[&str]) -> TokenSettings {
    TokenSettings { user: user.into(), uid: "1".into(), groups: groups.iter().map(ToString::to_string).collect() }
}

fn documents(text: &str) -> Vec<Value> {
    serde_yaml::Deserializer::from_str(text)
        .map(|document| serde::Deserialize::deserialize(document).unwrap())
        .collect()
}

fn rbac(settings: &TokenSettings) -> Vec<Value> {
    documents(&render_rbac(RBAC_TEMPLATE, &RbacSubjects::for_static_token(settings).unwrap()).unwrap())
}

fn subjects(binding: &Value) -> Vec<(&str, &str)> {
    let list = binding["subjects"].as_sequence().unwrap();
    list.iter().map(|s| (s["kind"].as_str().unwrap(), s["name"].as_str().unwrap())).collect()
}

fn bootstrap_secret(groups: &[&str]) -> BootstrapTokenSecret {
    let groups: Vec<String> = groups.iter().map(ToString::to_string).collect();
    let now: Timestamp = "2026-03-01T10:00:00Z".parse().unwrap();
    BootstrapTokenSecret::generate(&SeededEntropy::new(3), now, DEFAULT_TTL, &groups).unwrap()
}

#[test]
fn the_three_bindings_are_those_of_the_documentation() {
    let bindings = rbac(&settings("kubelet-bootstrap", &["system:kubelet-bootstrap"]));
    let roles: Vec<_> = bindings
        .iter()
        .map(|b| (b["metadata"]["name"].as_str().unwrap(), b["roleRef"]["name"].as_str().unwrap(), subjects(b)))
        .collect();
    let group = ("Group", "system:kubelet-bootstrap");
    let certificates = "system:certificates.k8s.io:certificatesigningrequests";
    assert_eq!(
        roles,
        [
            ("kubelet-bootstrap", "system:node-bootstrapper", vec![("User", "kubelet-bootstrap"), group]),
            ("auto-approve-csrs-for-group", format!("{certificates}:nodeclient").as_str(), vec![group]),
            (
                "auto-approve-renewals-for-nodes",
                format!("{certificates}:selfnodeclient").as_str(),
                vec![("Group", "system:nodes")]
            ),
        ]
    );
    for binding in &bindings {
        assert_eq!(binding["apiVersion"], "rbac.authorization.k8s.io/v1");
        assert_eq!(binding["kind"], "ClusterRoleBinding");
        assert_eq!(binding["metadata"]["labels"]["app.kubernetes.io/managed-by"], "kubemint");
        assert_eq!(binding["roleRef"]["kind"], "ClusterRole");
    }
}

#[test]
fn the_two_forms_of_token_share_no_binding_that_they_fill_differently() {
    let by_name = |bindings: Vec<Value>| -> std::collections::BTreeMap<String, Value> {
        bindings.into_iter().map(|b| (b["metadata"]["name"].as_str().unwrap().to_owned(), b)).collect()
    };
    let of_static = by_name(rbac(&settings("kubelet-bootstrap", &["system:kubelet-bootstrap"])));
    let made = bootstrap_secret(&[]);
    let of_secret = render_rbac(RBAC_TEMPLATE, &RbacSubjects::for_bootstrap_secret(&made)).unwrap();
    let of_secret = by_name(documents(&of_secret));
    assert_eq!((of_static.len(), of_secret.len()), (3, 3));
    let shared: Vec<_> = of_static.keys().filter(|name| of_secret.contains_key(*name)).collect();
    assert_eq!(shared, ["auto-approve-renewals-for-nodes"]);
    assert_eq!(of_static[shared[0]], of_secret[shared[0]]);
}

#[test]
fn without_a_group_the_user_is_approved_and_without_a_user_the_groups_are_bound() {
    let user_only = rbac(&settings("u", &[]));
    assert_eq!(subjects(&user_only[1]), [("User", "u")]);
    let groups_only = rbac(&settings("", &["a", "b"]));
    assert_eq!(subjects(&groups_only[0]), [("Group", "a"), ("Group", "b")]);
}

#[test]
fn bootstrap_rights_are_not_given_to_everybody_or_nobody() {
    for wide in [
        "system:authenticated",
        "system:masters",
        "system:nodes",
        "system:serviceaccounts:kube-system",
        "system:kube-scheduler",
    ] {
        let error = RbacSubjects::for_static_token(&settings("u", &["fine", wide])).unwrap_err();
        assert!(matches!(&error, ManifestError::TooWide { group } if group == wide), "{wide}");
    }
    for user in ["system:kube-controller-manager", "system:node:a", "system:anonymous"] {
        let error = RbacSubjects::for_static_token(&settings(user, &["fine"])).unwrap_err();
        assert!(matches!(&error, ManifestError::ReservedUser { .. }), "{user}");
    }
    assert!(matches!(RbacSubjects::for_static_token(&settings("", &[])), Err(ManifestError::NoSubject)));
}

#[test]
fn no_name_can_become_syntax() {
    for nasty in NASTY.iter().filter(|nasty| !nasty.is_empty()) {
        let bindings = rbac(&settings(nasty, &[nasty]));
        assert_eq!(bindings.len(), 3, "{nasty:?}");
        assert_eq!(subjects(&bindings[0]), [("User", *nasty), ("Group", *nasty)]);
    }
}

#[test]
fn the_secret_is_the_one_the_apiserver_looks_for() {
    let made = bootstrap_secret(&["system:bootstrappers:worker", "system:bootstrappers:eu"]);
    let text = render_bootstrap_secret(BOOTSTRAP_SECRET_TEMPLATE, &made).unwrap();
    let [secret] = &documents(text.expose_secret())[..] else { panic!("one document") };
    assert_eq!(secret["type"], "bootstrap.kubernetes.io/token");
    assert_eq!(secret["metadata"]["namespace"], "kube-system");
    assert_eq!(secret["metadata"]["name"], format!("bootstrap-token-{}", made.id()).as_str());
    let data = &secret["stringData"];
    let joined = format!("{}.{}", data["token-id"].as_str().unwrap(), data["token-secret"].as_str().unwrap());
    assert_eq!(joined, made.token().secret().expose_secret());
    assert_eq!(data["expiration"], "2026-03-02T10:00:00Z");
    assert_eq!(data["usage-bootstrap-authentication"], "true");
    assert_eq!(data["usage-bootstrap-signing"], "true");
    assert_eq!(data["auth-extra-groups"], "system:bootstrappers:worker,system:bootstrappers:eu");
    let bound = RbacSubjects::for_bootstrap_secret(&made);
    let bindings = documents(&render_rbac(RBAC_TEMPLATE, &bound).unwrap());
    assert_eq!(
        subjects(&bindings[0]),
        [("Group", "system:bootstrappers:worker"), ("Group", "system:bootstrappers:eu")]
    );
}

#[test]
fn without_extra_groups_the_key_is_absent_and_all_bootstrappers_are_bound() {
    let made = bootstrap_secret(&[]);
    let text = render_bootstrap_secret(BOOTSTRAP_SECRET_TEMPLATE, &made).unwrap();
    assert!(documents(text.expose_secret())[0]["stringData"].get("auth-extra-groups").is_none());
    let bindings = documents(&render_rbac(RBAC_TEMPLATE, &RbacSubjects::for_bootstrap_secret(&made)).unwrap());
    assert_eq!(subjects(&bindings[0]), [("Group", "system:bootstrappers")]);
}

#[test]
fn a_faulty_template_is_named_with_its_line_and_shows_no_value() {
    let made = bootstrap_secret(&[]);
    for bad in [
        "a\nb: {{ tokensecret }}\n",
        "a\nb: {{ token_secret\n",
        "a\nb: {{ token_secret + 1 }}\n",
        "\n{{ [token_secret] }}",
    ] {
        let error = render_bootstrap_secret(bad, &made).unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(shown.contains("bootstrap-token-secret.yaml:2: "), "{shown}");
        let token = made.token();
        let secret = token.secret().expose_secret().split_once('.').unwrap().1;
        assert!(!shown.contains(secret), "{shown}");
    }
}

#[test]
fn a_time_to_live_is_kept_to_the_second() {
    let now: Timestamp = "2026-12-31T23:59:59.999Z".parse().unwrap();
    let made = BootstrapTokenSecret::generate(&SeededEntropy::new(1), now, SignedDuration::from_secs(2), &[]).unwrap();
    assert_eq!(made.expiration().to_string(), "2027-01-01T00:00:01Z");
}

#[test]
fn kubectl_reads_the_manifests_as_we_mean_them() {
    let made = bootstrap_secret(&["system:bootstrappers:worker"]);
    let nasty = NASTY.iter().filter(|nasty| !nasty.is_empty()).copied().collect::<Vec<_>>();
    let rbac = render_rbac(RBAC_TEMPLATE, &RbacSubjects::for_static_token(&settings("u", &nasty)).unwrap()).unwrap();
    let secret = render_bootstrap_secret(BOOTSTRAP_SECRET_TEMPLATE, &made).unwrap();
    let directory = tempfile::tempdir().unwrap();
    // `patch --local` reads a file without any server; it takes one document at a time.
    let read = |document: &str| -> serde_json::Value {
        let file = directory.path().join("manifest.yaml");
        std::fs::write(&file, document).unwrap();
        let kubectl = std::env::var_os("KUBECTL").map_or_else(|| PathBuf::from("kubectl"), PathBuf::from);
        let out = Command::new(kubectl)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", directory.path())
            .args(["patch", "--local", "--type=merge", "-p", "{}", "-o", "json", "-f"])
            .arg(&file)
            .output()
            .expect("kubectl: set KUBECTL or install it");
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        serde_json::from_slice(&out.stdout).unwrap()
    };
    let bindings: Vec<_> = rbac.split("\n---\n").skip(1).map(read).collect();
    assert_eq!(bindings.len(), 3);
    let names: Vec<_> =
        bindings[0]["subjects"].as_array().unwrap().iter().map(|s| s["name"].as_str().unwrap().to_owned()).collect();
    assert_eq!(names[1..], nasty);
    let read = read(secret.expose_secret());
    assert_eq!(read["type"], "bootstrap.kubernetes.io/token");
    assert_eq!(read["stringData"]["expiration"], "2026-03-02T10:00:00Z");
}
