//! How long 1,000 kube-proxy certificates with their kubeconfigs take, per algorithm, beside the same made with the
//! commands people run today: `openssl genpkey`, `req`, `x509`, and four `kubectl config` calls each.
//!
//! Both sides run interleaved on the same machine, so that the ratio holds on a noisy one. Each side is timed on a sample
//! and scaled to 1,000; KUBEMINT_BENCH_SAMPLE=N sets how many the commands make (default 10), and kubemint makes up to
//! 1,000 within the time the commands took.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use kubemint::{
    bundle::{CredentialSet, FileKind},
    clock::{Clock, SystemClock},
    entropy::OsEntropy,
    inventory::{self, Location},
    pki::{self, Algorithm, Authority, ClientSettings, NewAuthority},
    secret::{ExposeSecret, Secret},
    token::BootstrapToken,
};
use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

const DAY: Duration = Duration::from_secs(86_400);
const SERVER: &str = "https://172.20.0.113:6443";
const FULL: u32 = 1000;

fn main() {
    // `cargo test --benches` and `cargo nextest` only ask whether it runs.
    let sample = if std::env::args().any(|arg| arg == "--test") { 1 } else { sample_size() };
    let kubectl = std::env::var("KUBECTL").unwrap_or_else(|_| "kubectl".into());
    let dir = tempfile::tempdir().unwrap();
    let ca = Authority::issue_self_signed(
        &NewAuthority { common_name: "kubernetes".into(), algorithm: Algorithm::EcdsaP256, validity: 3650 * DAY },
        SystemClock.now(),
        &OsEntropy,
    )
    .unwrap();
    fs::write(dir.path().join("ca.pem"), ca.certificate_pem()).unwrap();
    fs::write(dir.path().join("ca-key.pem"), ca.key_pem().unwrap().expose_secret()).unwrap();
    fs::write(dir.path().join("leaf.ext"), "extendedKeyUsage=clientAuth\nkeyUsage=critical,digitalSignature\n")
        .unwrap();

    println!("1,000 kube-proxy certificates + kubeconfigs, seconds (scaled from a sample; the CA is ECDSA P-256)");
    println!("{:<12} {:>10} {:>18} {:>8}", "algorithm", "kubemint", "openssl + kubectl", "ratio");
    for algorithm in Algorithm::ALL {
        let (mut ours, mut made) = (Duration::ZERO, 0);
        let mut theirs = Duration::ZERO;
        for _ in 0..sample {
            let round = time(|| by_hand(dir.path(), &kubectl, algorithm));
            theirs += round;
            // As long as the commands took, but never more than our share of the 1,000.
            let began = Instant::now();
            for _ in 0..FULL.div_ceil(sample) {
                ours += time(|| in_process(&ca, algorithm));
                made += 1;
                if began.elapsed() > round {
                    break;
                }
            }
        }
        let per_thousand = |total: Duration, count: u32| total.as_secs_f64() / f64::from(count) * f64::from(FULL);
        let (ours, theirs) = (per_thousand(ours, made), per_thousand(theirs, sample));
        println!("{:<12} {ours:>10.3} {theirs:>18.1} {:>7.0}x", algorithm.name(), theirs / ours);
    }
}

fn sample_size() -> u32 {
    std::env::var("KUBEMINT_BENCH_SAMPLE").ok().and_then(|n| n.parse().ok()).filter(|n| *n > 0).unwrap_or(10)
}

fn time(work: impl FnOnce()) -> Duration {
    let began = Instant::now();
    work();
    began.elapsed()
}

fn in_process(ca: &Authority, algorithm: Algorithm) {
    let settings = ClientSettings { algorithm, validity: 365 * DAY, organization: "system:node-proxier".into() };
    let issued = pki::issue_client(ca, &pki::KUBE_PROXY, &settings, SystemClock.now(), &OsEntropy).unwrap();
    let set = CredentialSet {
        cluster_name: "kubernetes".into(),
        ca_pem: ca.certificate_pem().into(),
        token_user: "kubelet-bootstrap".into(),
        token: BootstrapToken::generate(&OsEntropy).unwrap(),
        node_tokens: std::collections::BTreeMap::new(),
        has_node_rows: false,
        token_csv: Some(Secret::from("")),
        client_certificate_pem: issued.certificate_pem,
        client_key_pem: issued.key_pem,
        node_clients: std::collections::BTreeMap::new(),
    };
    let rendered = set.render(FileKind::KubeProxyKubeconfig, &server()).unwrap();
    assert!(rendered.expose_secret().len() > 1000);
}

fn server() -> inventory::ServerUrl {
    let text = format!("[cluster]\nserver = \"{SERVER}\"\n[[hosts]]\nname = \"a\"\nconnection = \"local\"\n");
    let location = Location { path: "bench.toml".into(), folder: "/".into(), home: Some("/".into()) };
    inventory::parse_inventory(&text, &location).unwrap().cluster.server
}

/// What the handbook's reader types for one kube-proxy.
fn by_hand(dir: &Path, kubectl: &str, algorithm: Algorithm) {
    let key_kind: &[&str] = match algorithm {
        Algorithm::EcdsaP256 => &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
        Algorithm::EcdsaP384 => &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"],
        Algorithm::Ed25519 => &["-algorithm", "ED25519"],
        Algorithm::Rsa2048 => &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
        Algorithm::Rsa3072 => &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:3072"],
        Algorithm::Rsa4096 => &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:4096"],
    };
    run(dir, "openssl", &[&["genpkey"], key_kind, &["-out", "leaf-key.pem"]].concat());
    let subject = "/O=system:node-proxier/CN=system:kube-proxy";
    run(dir, "openssl", &["req", "-new", "-key", "leaf-key.pem", "-subj", subject, "-out", "leaf.csr"]);
    let sign =
        "x509 -req -in leaf.csr -CA ca.pem -CAkey ca-key.pem -CAcreateserial -days 365 -extfile leaf.ext -out leaf.pem";
    run(dir, "openssl", &sign.split(' ').collect::<Vec<_>>());
    let server = format!("--server={SERVER}");
    for config in [
        &["set-cluster", "kubernetes", "--certificate-authority=ca.pem", "--embed-certs=true", &server][..],
        &[
            "set-credentials",
            "kube-proxy",
            "--client-certificate=leaf.pem",
            "--client-key=leaf-key.pem",
            "--embed-certs=true",
        ],
        &["set-context", "default", "--cluster=kubernetes", "--user=kube-proxy"],
        &["use-context", "default"],
    ] {
        run(dir, kubectl, &[&["config"], config, &["--kubeconfig=kube-proxy.kubeconfig"]].concat());
    }
}

fn run(dir: &Path, program: &str, arguments: &[&str]) {
    let status = Command::new(program)
        .args(arguments)
        .current_dir(dir)
        .env("HOME", dir)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap_or_else(|e| panic!("cannot run {program}: {e}"));
    assert!(status.success(), "{program} {arguments:?} failed");
}
