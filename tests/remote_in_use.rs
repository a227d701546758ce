//! What `status` asks a host beside its files, at the adapter: the kubelet's own certificate in every form it comes in,
//! under every shell, and nothing of its key in what comes back.
#![allow(clippy::unwrap_used, reason = "test code")]

mod support;

use base64::{Engine, prelude::BASE64_STANDARD};
use kubemint::{
    entropy::OsEntropy,
    pki::parse_certificates,
    remote::installer::{
        ForeignPolicy,
        in_use::{InUse, KubeletContent, Service, probe_host_in_use},
        install_host,
    },
};
use std::{os::unix::fs::symlink, process::Command};
use support::{LocalTree, Recorder, files::bundle, require, shells, tree_hash};

const USUAL: &str = "/var/lib/kubelet/pki/kubelet-client-current.pem";
const KUBECONFIG: &str = "/etc/kubernetes/kubelet.kubeconfig";

/// Certificate and key, as openssl writes them.
fn pair() -> (String, String) {
    let dir = tempfile::tempdir().unwrap();
    let made = Command::new(require("openssl"))
        .args(
            "req -x509 -newkey rsa:2048 -nodes -subj /O=system:nodes/CN=system:node:n -days 9 -keyout k -out c"
                .split(' '),
        )
        .current_dir(dir.path())
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let read = |name| std::fs::read_to_string(dir.path().join(name)).unwrap();
    (read("c"), read("k"))
}

/// Asks under each shell; gives what was told, the same each time, after a look at what came over the wire.
fn told(tree: &LocalTree, key: &str) -> InUse {
    let files = bundle();
    let mut last: Option<InUse> = None;
    for shell in shells() {
        let recorder = Recorder::new(LocalTree::remote_with(shell));
        let before = tree_hash(tree.root());
        let view = probe_host_in_use(&recorder, &tree.host(), &files, ForeignPolicy::Refuse, &OsEntropy).unwrap();
        assert_eq!(tree_hash(tree.root()), before, "{shell:?}");
        for line in key.lines().filter(|line| line.len() > 8 && !line.starts_with('-')) {
            assert!(!recorder.received().contains(line), "{shell:?}: a line of the key came back");
        }
        assert!(!recorder.received().contains("PRIVATE") && !recorder.sent().contains("0123456789abcdef"), "{shell:?}");
        let in_use = view.in_use.unwrap();
        if let Some(last) = &last {
            assert_eq!(in_use.kubelet, last.kubelet, "{shell:?}");
        }
        last = Some(in_use);
    }
    last.unwrap()
}

fn write(tree: &LocalTree, path: &str, content: &str) {
    tree.make_dir(path.rsplit_once('/').unwrap().0, 0o755);
    std::fs::write(tree.path(path), content).unwrap();
}

/// The path, below the root, and the serial number; or why there is none.
fn found(tree: &LocalTree, key: &str) -> (String, Result<String, KubeletContent>) {
    let kubelet = told(tree, key).kubelet.unwrap();
    let path = kubelet.path.strip_prefix(tree.root().to_str().unwrap()).unwrap().to_owned();
    let serial = match kubelet.content {
        KubeletContent::Pem(pem) => Ok(parse_certificates(pem).unwrap().remove(0).serial),
        other => Err(other),
    };
    (path, serial)
}

fn tree() -> LocalTree {
    let tree = LocalTree::new();
    install_host(&LocalTree::remote(), &tree.host(), &bundle(), ForeignPolicy::Refuse, &OsEntropy).unwrap();
    tree
}

fn serial_of(certificate: &str) -> String {
    parse_certificates(certificate).unwrap().remove(0).serial
}

#[test]
fn the_certificate_is_found_where_the_kubelet_keeps_it_and_its_key_stays() {
    let (certificate, key) = pair();
    let serial = serial_of(&certificate);
    let whole = format!("{certificate}{key}");
    for content in [
        whole.clone(),
        format!("{key}{certificate}"),
        format!("some remark\n{}", whole.replace('\n', "\r\n")),
        format!("{certificate}{}{key}", pair().0),
        whole.trim_end().to_owned(),
    ] {
        let tree = tree();
        write(&tree, USUAL, &content);
        assert_eq!(found(&tree, &key), (USUAL.to_owned(), Ok(serial.clone())), "{content}");
    }
    // As the kubelet does it: a link to the one in use.
    let tree = tree();
    write(&tree, "/var/lib/kubelet/pki/kubelet-client-2026-11-22-08-06-32.pem", &whole);
    symlink("kubelet-client-2026-11-22-08-06-32.pem", tree.path(USUAL)).unwrap();
    assert_eq!(found(&tree, &key).1, Ok(serial));
}

#[test]
fn what_is_no_whole_certificate_is_not_sent() {
    let (certificate, key) = pair();
    let body: Vec<&str> = certificate.lines().collect();
    for content in [
        key.clone(),
        String::new(),
        // The end is missing, and the key follows.
        format!("{}\n{key}", body[..body.len() - 1].join("\n")),
        format!("{}\nnot base64 at all!\n-----END CERTIFICATE-----\n{key}", body[..4].join("\n")),
        format!("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n{key}"),
        "x\n".repeat(5000),
    ] {
        let tree = tree();
        write(&tree, USUAL, &content);
        assert_eq!(found(&tree, &key), (USUAL.to_owned(), Err(KubeletContent::Unusable)), "{content}");
    }
    let tree = tree();
    assert_eq!(found(&tree, &key), (USUAL.to_owned(), Err(KubeletContent::Absent)));
    // A FIFO keeps nobody waiting.
    tree.make_dir("/var/lib/kubelet/pki", 0o755);
    let made = Command::new("mkfifo").arg(tree.path(USUAL)).status().unwrap();
    assert!(made.success());
    assert_eq!(found(&tree, &key).1, Err(KubeletContent::Unreadable));
}

#[test]
fn the_kubelets_own_kubeconfig_says_where_else_it_is() {
    let (certificate, key) = pair();
    let serial = serial_of(&certificate);
    let (other, other_key) = pair();
    for (line, path) in [
        ("    client-certificate: /srv/kubelet/current.pem", "/srv/kubelet/current.pem"),
        ("  - client-certificate: \"/srv/kubelet/a b.pem\"\r", "/srv/kubelet/a b.pem"),
        ("    client-certificate: pki/current.pem", "/etc/kubernetes/pki/current.pem"),
    ] {
        let tree = tree();
        write(&tree, path, &format!("{certificate}{key}"));
        write(&tree, USUAL, &format!("{other}{other_key}"));
        write(&tree, KUBECONFIG, &format!("users:\n- name: default-auth\n  user:\n{line}\n    client-key: /x\n"));
        assert_eq!(found(&tree, &key), (path.to_owned(), Ok(serial.clone())), "{line}");
    }
    let tree = tree();
    let data = BASE64_STANDARD.encode(&certificate);
    let private = BASE64_STANDARD.encode(&key);
    write(&tree, KUBECONFIG, &format!("    client-certificate-data: {data}\n    client-key-data: {private}\n"));
    assert_eq!(found(&tree, &private), (KUBECONFIG.to_owned(), Ok(serial)));
    assert!(!private.is_empty());
}

#[test]
fn no_process_of_this_machine_is_taken_for_one_of_a_directory() {
    let tree = tree();
    assert!(told(&tree, "").services.is_empty());
    let names: Vec<_> = Service::ALL.iter().map(|service| service.name()).collect();
    assert_eq!(names, ["kube-apiserver", "kubelet", "kube-proxy"]);
}
