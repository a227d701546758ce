//! How long one look at 50,000 signing requests takes, and how much memory: parsed page by page from an apiserver's JSON,
//! judged against an inventory of 10,000 nodes that each have a token of their own, and decided.
//!
//! The pages are made first, by another process, so that its memory does not count. The bounds are 10 s and 150 MB; they are
//! printed beside what was measured, and nothing fails for them. KUBEMINT_BENCH_REQUESTS=N sets another number.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use jiff::Timestamp;
use kubemint::{
    cluster::{
        self, Action, BootstrapSecret, Cluster, Credential, Decision, Identity, Node, SigningRequest,
        parse_signing_requests,
    },
    inventory::{Inventory, Location, ServerUrl, parse_inventory},
    token::{BootstrapTokenSecret, node_holder},
    workflow::approve::{Act, Expectations, Outcome, Requester, Scope, run_round},
};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicUsize, Ordering},
    time::Instant,
};

const FULL: usize = 50_000;
/// As many as kubemint asks for at a time.
const PAGE: usize = 500;
const NODES: usize = 10_000;
const SIGNER: &str = "kubernetes.io/kube-apiserver-client-kubelet";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [step, folder, count] = arguments.as_slice()
        && let Ok(count) = count.parse()
    {
        return match step.as_str() {
            "make" => make_pages(Path::new(folder), count),
            _ => measure(Path::new(folder), count),
        };
    }
    // `cargo test --benches` and `cargo nextest` only ask whether it runs.
    let asked = std::env::var("KUBEMINT_BENCH_REQUESTS").ok().and_then(|count| count.parse().ok());
    let count = if arguments.iter().any(|argument| argument == "--test") { PAGE } else { asked.unwrap_or(FULL) };
    let dir = tempfile::tempdir().unwrap();
    for step in ["make", "measure"] {
        let mut own = Command::new(std::env::current_exe().unwrap());
        let status = own.args([step, dir.path().to_str().unwrap(), &count.to_string()]).status().unwrap();
        assert!(status.success(), "{step}");
    }
}

fn page(folder: &Path, number: usize) -> PathBuf {
    folder.join(format!("{number}.json"))
}

/// A fifth each: what a node of the inventory asks with its own token, what was approved and issued, what is too old, what
/// asks for a name outside the inventory, what asks for more than a node.
fn make_pages(folder: &Path, count: usize) {
    use base64::{Engine, prelude::BASE64_STANDARD};
    let key = rcgen::KeyPair::generate().unwrap();
    for number in 0..count.div_ceil(PAGE) {
        let items: Vec<serde_json::Value> = (number * PAGE..count.min((number + 1) * PAGE))
            .map(|n| {
                let (node, kind) = (n / 5 % NODES + 1, n % 5);
                let name = if matches!(kind, 1 | 3) { format!("other-{node}") } else { format!("node-{node}") };
                let mut asked = rcgen::CertificateParams::default();
                asked.distinguished_name = rcgen::DistinguishedName::new();
                asked.distinguished_name.push(rcgen::DnType::OrganizationName, "system:nodes");
                asked.distinguished_name.push(rcgen::DnType::CommonName, format!("system:node:{name}"));
                if kind == 4 {
                    asked.subject_alt_names.push(rcgen::SanType::DnsName("kubernetes".try_into().unwrap()));
                }
                let request = asked.serialize_request(&key).unwrap().pem().unwrap().replace("\r\n", "\n");
                let issued = (kind == 1).then(|| asked.self_signed(&key).unwrap().pem());
                let status = match issued {
                    Some(pem) => serde_json::json!({
                        "conditions": [{"type": "Approved", "status": "True", "reason": "AutoApproved", "message": "m"}],
                        "certificate": BASE64_STANDARD.encode(pem),
                    }),
                    None => serde_json::json!({}),
                };
                let user = format!("kubelet-bootstrap:node-{node}");
                serde_json::json!({
                    "metadata": {
                        "name": format!("node-csr-{n:043}"), "uid": format!("8f0ee65c-0000-4000-8000-{n:012}"),
                        "resourceVersion": n.to_string(), "generateName": "node-csr-",
                        "creationTimestamp": if kind == 2 { "2026-11-22T08:00:00Z" } else { "2026-11-22T11:59:00Z" },
                        "managedFields": [{"manager": "kubelet", "operation": "Update", "apiVersion": "v1",
                            "time": "2026-11-22T11:59:00Z", "fieldsType": "FieldsV1", "fieldsV1": {"f:metadata": {}}}],
                    },
                    "spec": {
                        "request": BASE64_STANDARD.encode(request), "signerName": SIGNER, "username": user,
                        "groups": ["system:kubelet-bootstrap", "system:authenticated"],
                        "usages": ["digital signature", "client auth"],
                    },
                    "status": status,
                })
            })
            .collect();
        let after = if (number + 1) * PAGE < count { "next" } else { "" };
        let list = serde_json::json!({
            "kind": "CertificateSigningRequestList", "apiVersion": "certificates.k8s.io/v1",
            "metadata": {"resourceVersion": "1", "continue": after}, "items": items,
        });
        fs::write(page(folder, number), list.to_string()).unwrap();
    }
}

fn measure(folder: &Path, count: usize) {
    let at_start = peak_megabytes();
    let inventory = inventory();
    let began = Instant::now();
    let requesters = (1..=NODES).map(|node| {
        let node = format!("node-{node}");
        let scope = Scope::Only(BTreeSet::from([node.clone()]));
        Requester { scope, ..Requester::of_settings(&node_holder(&inventory.token, &node)) }
    });
    let now: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
    let expectations = Expectations::of_inventory(&inventory, requesters.collect(), now);
    let pages = Pages { folder: folder.to_owned(), server: inventory.cluster.server.clone(), decided: 0.into() };
    let round = run_round(&pages, &expectations, Act::Decide).unwrap();
    let took = began.elapsed();
    let approved = round.judged.iter().filter(|entry| matches!(entry.outcome, Outcome::Approved)).count();
    assert_eq!((approved, pages.decided.into_inner()), (count / 5, count / 5));
    println!(
        "{count} signing requests, {NODES} nodes with tokens of their own: {approved} approved, {} left",
        round.judged.len() - approved
    );
    println!("  {:.2} s (bound for {FULL}: 10 s)", took.as_secs_f64());
    match (peak_megabytes(), at_start) {
        (Some(peak), Some(start)) => println!("  {peak:.0} MB at the peak, {start:.0} MB of it before (bound: 150 MB)"),
        _ => println!("  no /proc/self/status: memory is not known here"),
    }
}

fn peak_megabytes() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse::<f64>().ok().map(|kilobytes| kilobytes * 1024.0 / 1e6)
}

fn inventory() -> Inventory {
    let text = format!(
        "[cluster]\nserver = \"https://10.0.0.1:6443\"\n[[hosts]]\nname = \"node-[1-{NODES}]\"\nconnection = \"local\"\nroot = \"node-[1-{NODES}]\"\n"
    );
    let location = Location { path: "inventory.toml".into(), folder: "/nowhere".into(), home: None };
    parse_inventory(&text, &location).unwrap()
}

/// An apiserver's answers, from files.
struct Pages {
    folder: PathBuf,
    server: ServerUrl,
    decided: AtomicUsize,
}

impl Cluster for Pages {
    fn server(&self) -> &ServerUrl {
        &self.server
    }

    fn readyz(&self) -> Result<(), cluster::Error> {
        Ok(())
    }

    fn whoami(&self, _: Credential<'_>) -> Result<Identity, cluster::Error> {
        unreachable!("nobody asks")
    }

    fn signing_requests(&self) -> Result<Vec<SigningRequest>, cluster::Error> {
        let mut all = Vec::new();
        for number in 0.. {
            let (mut items, after) = parse_signing_requests(&fs::read(page(&self.folder, number)).unwrap()).unwrap();
            all.append(&mut items);
            if after.is_none() {
                break;
            }
        }
        Ok(all)
    }

    fn decide(&self, _: &SigningRequest, _: &Decision) -> Result<(), cluster::Error> {
        self.decided.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn nodes(&self) -> Result<Vec<Node>, cluster::Error> {
        Ok(Vec::new())
    }

    fn bootstrap_secrets(&self) -> Result<Vec<BootstrapSecret>, cluster::Error> {
        unreachable!("nobody asks")
    }

    fn create_bootstrap_secret(&self, _: &BootstrapTokenSecret) -> Result<(), cluster::Error> {
        unreachable!("nobody asks")
    }

    fn delete_bootstrap_secret(&self, _: &str) -> Result<bool, cluster::Error> {
        unreachable!("nobody asks")
    }

    fn may(&self, _: &Action) -> Result<bool, cluster::Error> {
        unreachable!("nobody asks")
    }
}
