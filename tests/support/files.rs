//! A bundle as a host gets it. Content is made up: no test here needs real credentials.

use kubemint::{
    bundle::{FileKind, HostFile},
    digest::Digest,
    secret::{ExposeSecret, Secret},
};
use std::sync::Arc;

pub const BOOTSTRAP: &str = "/etc/kubernetes/bootstrap.kubeconfig";
pub const KUBE_PROXY: &str = "/etc/kubernetes/kube-proxy.kubeconfig";
pub const TOKENS: &str = "/etc/kubernetes/token.csv";
pub const CA: &str = "/etc/kubernetes/ssl/ca.pem";

/// All four files, in two directories.
pub fn bundle() -> Vec<HostFile> {
    vec![
        host_file(BOOTSTRAP, "bootstrap: it's\n  \"quoted\" \\ $(x) `y` é\n"),
        host_file(KUBE_PROXY, &"kube-proxy line of ordinary length\n".repeat(200)),
        host_file(TOKENS, "0123456789abcdef0123456789abcdef,kubelet-bootstrap,10001,\"system:kubelet-bootstrap\"\n"),
        host_file(CA, "-----BEGIN CERTIFICATE-----\nno newline at the end"),
    ]
}

pub fn host_file(path: &str, content: &str) -> HostFile {
    let kind = match path.rsplit('/').next() {
        Some("bootstrap.kubeconfig") => FileKind::BootstrapKubeconfig,
        Some("kube-proxy.kubeconfig") => FileKind::KubeProxyKubeconfig,
        Some("token.csv") => FileKind::TokenCsv,
        _ => FileKind::CaCertificate,
    };
    let sha256 = Digest::of(content);
    HostFile {
        kind,
        path: path.into(),
        content: Arc::new(Secret::from(content)),
        sha256,
        validity: None,
        own_users_below: None,
    }
}

pub fn content(file: &HostFile) -> &str {
    file.content.expose_secret()
}
