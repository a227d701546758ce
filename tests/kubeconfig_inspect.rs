//! The inspector: what it shows, what it finds, and that no secret comes out. Certificates are made by openssl.

#![allow(clippy::unwrap_used)] // Outside #[test] functions, too: a test helper may fail its test.

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use jiff::Timestamp;
use kubemint::{
    kubeconfig::{
        Inspection, UserKind, build_bootstrap, build_client_certificate, inspect_kubeconfig, parse_kubeconfig,
    },
    token::BootstrapToken,
};
use std::{fs, path::Path, process::Command};

const SERVER: &str = "https://10.0.0.1:6443";

fn openssl(home: &Path, arguments: &str) -> String {
    let out = Command::new("openssl").args(arguments.split(' ')).current_dir(home).output().expect("openssl");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// ca.pem (ten days) and leaf.pem (five days), with keys.
fn credentials() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    let ec = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    openssl(home.path(), &format!("req -x509 {ec} -keyout ca-key.pem -out ca.pem -subj /O=org/CN=ca -days 10"));
    openssl(home.path(), &format!("req {ec} -keyout key.pem -out leaf.csr -subj /O=k8s/CN=system:kube-proxy"));
    openssl(home.path(), "x509 -req -in leaf.csr -CA ca.pem -CAkey ca-key.pem -CAcreateserial -days 5 -out leaf.pem");
    home
}

fn read(home: &Path, name: &str) -> String {
    fs::read_to_string(home.join(name)).unwrap()
}

fn inspect(text: &str) -> Inspection {
    inspect_kubeconfig(&parse_kubeconfig(text.as_bytes()).unwrap(), Timestamp::now())
}

fn codes(inspection: &Inspection) -> Vec<&'static str> {
    inspection.problems.iter().map(|problem| problem.code).collect()
}

/// A whole file around one user, with nothing else wrong.
fn user(fields: &str) -> Inspection {
    let ca = BASE64.encode(CA.as_bytes());
    inspect(&format!(
        "clusters: [{{name: c, cluster: {{server: '{SERVER}', certificate-authority-data: {ca}}}}}]\n\
         contexts: [{{name: x, context: {{cluster: c, user: u}}}}]\ncurrent-context: x\nusers: [{{name: u, user: {{{fields}}}}}]\n"
    ))
}

fn cluster(fields: &str) -> Inspection {
    inspect(&format!(
        "users: [{{name: u, user: {{token: t}}}}]\ncontexts: [{{name: x, context: {{cluster: c, user: u}}}}]\n\
         current-context: x\nclusters: [{{name: c, cluster: {{{fields}}}}}]\n"
    ))
}

#[test]
fn our_own_kubeconfigs_have_no_problems_and_show_their_certificates() {
    let home = credentials();
    let [ca, leaf, key] = ["ca.pem", "leaf.pem", "key.pem"].map(|name| read(home.path(), name));
    let config = build_client_certificate("kubernetes", SERVER, &ca, "kube-proxy", &leaf, &key.into());
    let inspection = inspect_kubeconfig(&config, Timestamp::now());
    assert_eq!(inspection.problems, []);
    let authority = &inspection.clusters[0].certificate_authorities[0];
    assert_eq!((authority.subject.as_str(), authority.is_ca), ("O=org, CN=ca", true));
    let shown = openssl(home.path(), "x509 -in ca.pem -noout -fingerprint -sha256");
    let fingerprint = shown.trim().split('=').nth(1).unwrap().replace(':', "").to_lowercase();
    assert_eq!(authority.sha256.to_string(), fingerprint);
    openssl(home.path(), "x509 -in ca.pem -noout -pubkey -out pub.pem");
    openssl(home.path(), "pkey -pubin -in pub.pem -outform DER -out pub.der");
    let pin = openssl(home.path(), "dgst -sha256 -r pub.der");
    assert_eq!(authority.pin, format!("sha256:{}", pin.split(' ').next().unwrap()));
    let certificate = inspection.users[0].certificate.as_ref().unwrap();
    assert_eq!(inspection.users[0].kind, UserKind::ClientCertificate);
    assert_eq!((certificate.subject.as_str(), certificate.is_ca), ("O=k8s, CN=system:kube-proxy", false));
    assert_eq!(certificate.issuer, "O=org, CN=ca");
    let serial = openssl(home.path(), "x509 -in leaf.pem -noout -serial");
    assert_eq!(certificate.serial, serial.trim().trim_start_matches("serial="));
    assert!(certificate.not_before <= Timestamp::now() && Timestamp::now() < certificate.not_after);
}

#[test]
fn a_bootstrap_token_is_shown_by_its_fingerprint_only() {
    let home = credentials();
    let token: BootstrapToken = "canary".parse().unwrap();
    let config = build_bootstrap("kubernetes", SERVER, &read(home.path(), "ca.pem"), "kubelet-bootstrap", &token);
    let inspection = inspect_kubeconfig(&config, Timestamp::now());
    assert_eq!(inspection.problems, []);
    assert_eq!(inspection.users[0].kind, UserKind::Token);
    assert_eq!(inspection.users[0].token_fingerprint, Some(token.fingerprint()));
    assert_eq!(inspection.current_context.as_deref(), Some("default"));
    assert!(inspection.contexts[0].current);
    assert!(!serde_json::to_string(&inspection).unwrap().contains("canary"));
}

#[test]
fn certificates_out_of_their_time_are_found() {
    let home = credentials();
    let [ca, leaf, key] = ["ca.pem", "leaf.pem", "key.pem"].map(|name| read(home.path(), name));
    let config = build_client_certificate("c", SERVER, &ca, "u", &leaf, &key.into());
    let at = |days: i64| inspect_kubeconfig(&config, Timestamp::now() + jiff::SignedDuration::from_hours(24 * days));
    assert_eq!(codes(&at(6)), ["certificate-expired"]);
    assert_eq!(codes(&at(11)), ["certificate-expired", "certificate-expired"]);
    assert_eq!(codes(&at(-1)), ["certificate-not-yet-valid", "certificate-not-yet-valid"]);
    let problem = &at(6).problems[0];
    assert_eq!(problem.subject, "user \"u\"");
    assert!(problem.kubectl_says.as_ref().unwrap().starts_with("x509: certificate has expired"));
}

#[test]
fn dangling_references_are_explained_in_kubectls_words() {
    let entries = format!(
        "clusters: [{{name: c, cluster: {{server: '{SERVER}', certificate-authority: /ca}}}}]\nusers: [{{name: u, user: {{token: t}}}}]\n"
    );
    for (rest, code, subject, says) in [
        (
            "contexts: [{name: x, context: {cluster: c, user: u}}]\ncurrent-context: y",
            "dangling-current-context",
            "file",
            "context was not found for specified context: y",
        ),
        (
            "contexts: [{name: x, context: {cluster: c, user: u}}]",
            "no-current-context",
            "file",
            "localhost:8080 was refused",
        ),
        (
            "contexts: [{name: x, context: {cluster: d, user: u}}]\ncurrent-context: x",
            "dangling-cluster",
            "context \"x\"",
            "localhost:8080 was refused",
        ),
        (
            "contexts: [{name: x, context: {cluster: c, user: v}}]\ncurrent-context: x",
            "dangling-user",
            "context \"x\"",
            "Please enter Username:",
        ),
        (
            "contexts: [{name: x, context: {cluster: c}}]\ncurrent-context: x",
            "dangling-user",
            "context \"x\"",
            "Please enter Username:",
        ),
    ] {
        let inspection = inspect(&format!("{entries}{rest}\n"));
        assert_eq!(codes(&inspection), [code], "{rest}");
        assert_eq!(inspection.problems[0].subject, subject);
        assert!(inspection.problems[0].kubectl_says.as_ref().unwrap().contains(says), "{:?}", inspection.problems);
    }
}

#[test]
fn every_fault_of_a_user_is_found() {
    for (fields, expected) in [
        ("token: t", &[][..]),
        ("tokenFile: /t", &[]),
        ("username: u, password: p", &[]),
        ("client-certificate: /c, client-key: /k", &[]),
        ("auth-provider: {name: oidc}", &[]),
        ("exec: {command: x, apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never}", &[]),
        ("exec: {command: x, apiVersion: client.authentication.k8s.io/v1beta1}", &[]),
        ("", &["no-credential"]),
        ("token: t, username: u", &["two-methods"]),
        ("token: t, password: p", &["two-methods"]),
        ("token: \"t\\n\"", &["unusable-token"]),
        ("token: t, as-groups: [g]", &["extra-without-as"]),
        ("token: t, as: a, as-groups: [g]", &[]),
        ("exec: {command: x, apiVersion: client.authentication.k8s.io/v1}", &["exec-without-interactive-mode"]),
        (
            "exec: {command: x, apiVersion: client.authentication.k8s.io/v1, interactiveMode: never}",
            &["exec-interactive-mode"],
        ),
        ("exec: {interactiveMode: Never}", &["exec-without-command", "exec-without-api-version"]),
        ("exec: {command: x, apiVersion: v1, interactiveMode: Never}, auth-provider: {name: oidc}", &["two-methods"]),
        ("tokenFile: t", &["relative-path"]),
        ("client-certificate: c, client-key: ../k", &["relative-path", "relative-path"]),
        ("client-certificate: /c", &["certificate-without-key"]),
        ("token: t, client-key: /k", &["key-without-certificate"]),
        ("client-certificate-data: '%', client-key: /k", &["not-base64"]),
        ("client-certificate-data: AAAA, client-key: /k", &["not-pem"]),
    ] {
        assert_eq!(codes(&user(fields)), expected, "{fields}");
    }
    let empty_block = BASE64.encode("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    assert_eq!(codes(&user(&format!("client-certificate-data: {empty_block}, client-key: /k"))), ["not-x509"]);
}

#[test]
fn every_fault_of_a_cluster_is_found() {
    let home = credentials();
    let leaf = BASE64.encode(read(home.path(), "leaf.pem"));
    let ca = BASE64.encode(format!("some text\n{}{CA}", read(home.path(), "ca.pem")));
    for (fields, expected) in [
        (format!("server: '{SERVER}', certificate-authority: /ca"), &[][..]),
        (format!("server: '{SERVER}', certificate-authority-data: {ca}"), &[]),
        (format!("server: '{SERVER}', certificate-authority: ca"), &["relative-path"]),
        (format!("server: '{SERVER}'"), &["no-certificate-authority"]),
        (format!("server: '{SERVER}', insecure-skip-tls-verify: true"), &["insecure-skip-tls-verify"]),
        ("server: 'http://x', certificate-authority: /ca".into(), &["server-not-https"]),
        ("certificate-authority: /ca".into(), &["no-server"]),
        (format!("server: '{SERVER}', certificate-authority-data: AAAA"), &["not-pem"]),
        (format!("server: '{SERVER}', certificate-authority-data: {leaf}"), &["not-a-ca"]),
        (
            format!("server: '{SERVER}', certificate-authority: /ca, certificate-authority-data: {ca}"),
            &["certificate-authority-twice"],
        ),
    ] {
        assert_eq!(codes(&cluster(&fields)), expected, "{fields}");
    }
    let both = cluster(&format!("server: '{SERVER}', certificate-authority-data: {ca}"));
    assert_eq!(both.clusters[0].certificate_authorities.len(), 2);
}

#[test]
fn names_that_stand_twice_are_found() {
    let inspection = inspect(&format!(
        "users: [{{name: u, user: {{token: a}}}}, {{name: u, user: {{token: b}}}}]\n\
         clusters: [{{name: c, cluster: {{server: '{SERVER}', certificate-authority: /ca}}}}]\n\
         contexts: [{{name: x, context: {{cluster: c, user: u}}}}]\ncurrent-context: x\n"
    ));
    assert_eq!(codes(&inspection), ["duplicate-name"]);
    assert_eq!(inspection.problems[0].subject, "user \"u\"");
}

#[test]
fn no_secret_comes_out() {
    let text = "clusters:\n- name: c\n  cluster: {server: 'https://u:canary@h/p?q=canary', proxy-url: 'http://canary@p', x: canary, certificate-authority-data: canary}\n\
        users:\n- name: u\n  user: {token: \"canary \", password: canary, username: n, client-key-data: canary, client-certificate-data: 'canary!', as-user-extra: {clusternet-token: [canary]},\n    \
        auth-provider: {name: oidc, config: {id-token: canary}, z: canary}, later: canary,\n    \
        exec: {command: c, args: [canary], env: [{name: E, value: canary}], interactiveMode: canary}}\nextensions: [{name: e, extension: canary}]\n";
    let inspection = inspect(text);
    let shown = format!("{inspection:?} {}", serde_json::to_string(&inspection).unwrap());
    assert!(!shown.contains("canary"), "{shown}");
    assert!(shown.contains("clusternet-token") && shown.contains("[redacted]@h/p"));
    let codes = codes(&inspection);
    for code in ["two-methods", "unusable-token", "extra-without-as", "not-base64", "exec-interactive-mode"] {
        assert!(codes.contains(&code), "{code}: {codes:?}");
    }
}

/// A CA valid from 2000 to 2999, so that it is no problem in any test.
const CA: &str = "\
-----BEGIN CERTIFICATE-----
MIIBRjCB7aADAgECAgEBMAoGCCqGSM49BAMCMBIxEDAOBgNVBAMMB3Rlc3QgQ0Ew
IBcNMDAwMTAxMDAwMDAwWhgPMjk5OTEyMzEyMzU5NTlaMBIxEDAOBgNVBAMMB3Rl
c3QgQ0EwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAARVYuz9I8mKGJVbN/VafUgr
84WauE3SZ6JWtyw1M8so1mrk/AGqwtvTic6TMrA7vrbQfMTR6fN8eXQPWAik4gyk
ozIwMDAPBgNVHRMBAf8EBTADAQH/MB0GA1UdDgQWBBR/1eWEg2B6wJeD0ofUQb+2
Q7y6nTAKBggqhkjOPQQDAgNIADBFAiEAk820rf2o37oOsnJgzxiQl/Z4VU9qFHjN
yy1hdgaw8UYCIGykIdMmxQt/fBvS7RnUhuxq1oD8lte27zNYZ6T20IsC
-----END CERTIFICATE-----
";
