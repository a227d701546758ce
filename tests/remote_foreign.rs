//! Hosts that hold another cluster's credentials: they are told apart from stale ones of ours, and not replaced unasked.
#![allow(clippy::unwrap_used, reason = "test code")]

mod support;

use base64::{Engine, prelude::BASE64_STANDARD};
use kubemint::{
    digest::Digest,
    entropy::OsEntropy,
    remote::installer::{Action, Facts, FileState, ForeignPolicy, Found, install_host, probe_host},
};
use std::fs;
use support::{
    LocalTree, Recorder,
    files::{BOOTSTRAP, CA, TOKENS},
    host_file, shells, tree_hash,
};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

fn authority(name: &str) -> String {
    rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap().cert.pem()
}

fn kubeconfig(ca: &str, token: &str) -> String {
    let ca = BASE64_STANDARD.encode(ca);
    format!(
        "apiVersion: v1\nkind: Config\nclusters:\n- name: k\n  cluster:\n    certificate-authority-data: {ca}\n    server: \
         https://10.0.0.1:6443\nusers:\n- name: u\n  user:\n    token: {token}\n"
    )
}

fn rows(token: &str, more: &str) -> String {
    format!("{token},kubelet-bootstrap,10001,\"system:kubelet-bootstrap\"\n{more}")
}

/// What stands there is refused with this code and left; and replaced when asked for. Gives the refusal's words.
fn refused(path: &str, ours: &str, theirs: &str, code: &str) -> String {
    let mut said = String::new();
    for shell in shells() {
        let (remote, tree) = (LocalTree::remote_with(shell), LocalTree::new());
        let files = [host_file(path, ours)];
        install_host(&remote, &tree.host(), &files, ForeignPolicy::Refuse, &OsEntropy).unwrap();
        fs::write(tree.path(path), theirs).unwrap();
        let before = tree_hash(tree.root());
        let error = install_host(&remote, &tree.host(), &files, ForeignPolicy::Refuse, &OsEntropy).unwrap_err();
        assert_eq!(error.code(), code, "{shell:?} {theirs}");
        assert!(error.hint().contains("--replace-foreign"), "{}", error.hint());
        said = error.to_string();
        let view = probe_host(&remote, &tree.host(), &files, ForeignPolicy::Refuse, &OsEntropy).unwrap();
        assert!(matches!(&view.files[0].state, FileState::Blocked(e) if e.code() == code), "{view:?}");
        assert_eq!(tree_hash(tree.root()), before);
        let view = probe_host(&remote, &tree.host(), &files, ForeignPolicy::Replace, &OsEntropy).unwrap();
        assert_eq!(view.files[0].state, FileState::Differs);
        install_host(&remote, &tree.host(), &files, ForeignPolicy::Replace, &OsEntropy).unwrap();
        assert_eq!(tree.text(path), ours);
    }
    said
}

/// What stands there is replaced without being asked.
fn replaced(path: &str, ours: &str, theirs: &str) {
    for shell in shells() {
        let (remote, tree) = (LocalTree::remote_with(shell), LocalTree::new());
        let files = [host_file(path, ours)];
        install_host(&remote, &tree.host(), &files, ForeignPolicy::Refuse, &OsEntropy).unwrap();
        fs::write(tree.path(path), theirs).unwrap();
        let outcome = install_host(&remote, &tree.host(), &files, ForeignPolicy::Refuse, &OsEntropy).unwrap();
        assert_eq!(outcome.files[0].action, Action::Updated, "{shell:?} {theirs}");
    }
}

fn facts(path: &str, ours: &str, theirs: &str) -> (Facts, String) {
    let tree = LocalTree::new();
    let files = [host_file(path, ours)];
    install_host(&LocalTree::remote(), &tree.host(), &files, ForeignPolicy::Refuse, &OsEntropy).unwrap();
    fs::write(tree.path(path), theirs).unwrap();
    let recorder = Recorder::new(LocalTree::remote());
    let mut view = probe_host(&recorder, &tree.host(), &files, ForeignPolicy::Refuse, &OsEntropy).unwrap();
    let Found::Regular(regular) = view.files.remove(0).found else { panic!("no file") };
    (regular.facts, recorder.received())
}

#[test]
fn a_kubeconfig_of_another_authority_is_refused_and_names_its_pin() {
    let (own, other) = (authority("own"), authority("other"));
    let (ours, theirs) = (kubeconfig(&own, TOKEN), kubeconfig(&other, "x"));
    let said = refused(BOOTSTRAP, &ours, &theirs, "other_authority");
    let pin = kubemint::pki::parse_certificate(&other).unwrap().spki_sha256.to_string();
    assert!(said.contains(&pin[..16]), "{said}");
    let data = BASE64_STANDARD.encode(&other);
    for form in [
        format!("{{\"clusters\":[{{\"cluster\":{{\"certificate-authority-data\":\"{data}\"}}}}]}}"),
        format!("clusters: [{{cluster: {{certificate-authority-data: '{data}'}}}}]"),
        format!("    certificate-authority-data: |\n      {data}\n"),
        format!("    certificate-authority-data:\r\n      {data}\r\n"),
        // The second of two clusters.
        format!("{ours}---\n- cluster:\n    certificate-authority-data: {data}"),
    ] {
        refused(BOOTSTRAP, &ours, &form, "other_authority");
    }
}

#[test]
fn a_stale_kubeconfig_of_ours_or_what_is_none_is_replaced() {
    let own = authority("own");
    let ours = kubeconfig(&own, TOKEN);
    let (data, other) = (BASE64_STANDARD.encode(&own), BASE64_STANDARD.encode(authority("other")));
    for theirs in [
        kubeconfig(&own, "an old one"),
        ours.replace('\n', "\r\n"),
        format!("certificate-authority-data: \"{data}\"\n"),
        format!("certificate-authority-data: |\n  {data}\n"),
        format!("certificate-authority-data: >-\n  {}\n  {}\n", &data[..76], &data[76..]),
        format!("# certificate-authority-data: {other}\n"),
        "certificate-authority-data: \"\"\nserver: https://x\n".into(),
        "certificate-authority-data: null\n".into(),
        "certificate-authority: /etc/ca.pem\n".into(),
        "garbage".into(),
        String::new(),
    ] {
        replaced(BOOTSTRAP, &ours, &theirs);
    }
}

#[test]
fn another_ca_certificate_is_refused_and_another_spelling_of_ours_is_not() {
    let (own, other) = (authority("own"), authority("other"));
    let said = refused(CA, &own, &other, "other_authority");
    assert!(said.contains(&kubemint::pki::parse_certificate(&other).unwrap().spki_sha256.to_string()[..16]), "{said}");
    refused(CA, &own, &format!("{own}{other}"), "other_authority");
    for theirs in [format!("# our CA\n{own}"), own.replace('\n', "\r\n"), "garbage".into(), String::new()] {
        replaced(CA, &own, &theirs);
    }
}

#[test]
fn token_rows_of_users_that_ours_does_not_have_are_refused() {
    let ours = rows(TOKEN, "t2,\"admin, the first\",1\nt3,\"say \"\"hi\"\"\",2\n");
    for more in ["t4,kubelet,3\n", "\"t4\",\"admin\",3", "t\"\"4,admin the first,3\n", "\"t\n4\",admin,3\n"] {
        let said = refused(TOKENS, &ours, &rows("old", more), "foreign_token_rows");
        assert!(said.contains("row"), "{said}");
    }
    let huge = rows("old", &"x".repeat(1 << 24));
    refused(TOKENS, &ours, &huge, "foreign_token_rows");
    for theirs in [
        rows("old", ""),
        rows("old", "\"t2\",\"admin, the first\",1\r\n\"t,\"\"3\",\"say \"\"hi\"\"\",2"),
        "garbage\n".into(),
        String::new(),
    ] {
        replaced(TOKENS, &ours, &theirs);
    }
}

#[test]
fn one_foreign_file_keeps_the_others_from_being_written() {
    let (own, other) = (authority("own"), authority("other"));
    let tree = LocalTree::new();
    tree.make_dir("/etc/kubernetes/ssl", 0o700);
    fs::write(tree.path(CA), &other).unwrap();
    let before = tree_hash(tree.root());
    let files = [host_file(BOOTSTRAP, &kubeconfig(&own, TOKEN)), host_file(CA, &own)];
    let error =
        install_host(&LocalTree::remote(), &tree.host(), &files, ForeignPolicy::Refuse, &OsEntropy).unwrap_err();
    assert_eq!(error.code(), "other_authority");
    assert_eq!(tree_hash(tree.root()), before);
}

#[test]
fn a_probe_tells_the_authority_and_no_password_of_an_address() {
    let (own, other) = (authority("own"), authority("other"));
    let ours = kubeconfig(&own, TOKEN);
    let (found, _) = facts(BOOTSTRAP, &ours, &kubeconfig(&other, "x"));
    assert_eq!(found.certificate_authority, Some(BASE64_STANDARD.encode(&other)));
    for (server, shown) in [
        ("https://user:canary@10.0.0.1:6443", "https://[redacted]@10.0.0.1:6443"),
        ("https://10.0.0.1/?token=canary", "https://[redacted]"),
        ("https://u:can?ary@host#canary", "https://[redacted]"),
        ("u:canary@host", "[redacted]"),
    ] {
        let theirs = ours.replace("https://10.0.0.1:6443", server);
        let (found, received) = facts(BOOTSTRAP, &ours, &theirs);
        assert!(found.server.as_ref().is_some_and(|s| s.starts_with(shown)), "{found:?}");
        assert!(!received.contains("canary") && !received.contains("can?ary"), "{received}");
    }
}

#[test]
fn a_probe_names_users_of_ours_only() {
    let theirs = "kubelet-bootstrap,c4narytoken,1\n\"tok,en\",\"kubelet-bootstrap\",1\nt,admin,2\n";
    let (found, received) = facts(TOKENS, &rows(TOKEN, ""), theirs);
    let print = |text: &str| Digest::of(text).fingerprint();
    let shown: Vec<_> = found.token_rows.iter().map(|r| (r.token.unwrap(), r.user.to_string())).collect();
    assert_eq!(
        shown,
        [
            (print("kubelet-bootstrap"), format!("another user {}", print("c4narytoken"))),
            (print("tok,en"), "kubelet-bootstrap".to_owned()),
            (print("t"), format!("another user {}", print("admin"))),
        ]
    );
    assert!(!received.contains("c4nary") && !received.contains("admin"), "{received}");
}
