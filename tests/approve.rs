//! `kubemint approve` against a cluster of stand-ins, with kubectl as the judge of what became of the requests.
#![cfg(feature = "k8s")]
#![allow(clippy::unwrap_used)]

mod pki_support;
mod support;

use pki_support::{P256, Workshop};
use serde_json::{Value, json};
use std::time::Duration;
use support::{Api, ControlPlane, Fault, Ran, Running, eventually};

const CLIENT: &str = "kubernetes.io/kube-apiserver-client-kubelet";
const SERVING: &str = "kubernetes.io/kubelet-serving";
const CSRS: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
const USAGES: [&str; 2] = ["digital signature", "client auth"];
const ADMIN: [&str; 2] = ["--kubeconfig", "admin.kubeconfig"];

fn approve(cluster: &ControlPlane, arguments: &[&str]) -> Ran {
    cluster.run(&[&["approve"], &ADMIN[..], arguments].concat())
}

fn document(ran: &Ran) -> Value {
    serde_json::from_str(&ran.stdout).unwrap_or_else(|e| panic!("{e}: {}\n{}", ran.stdout, ran.stderr))
}

/// What kubectl says of a request: `Pending`, `Approved,Issued`, `Denied`.
fn condition(cluster: &ControlPlane, name: &str) -> String {
    let path = "jsonpath={range .status.conditions[*]}{.type} {end}{.status.certificate}";
    let said = cluster.kubectl(&["get", "csr", name, "-o", path]).expect(0).stdout;
    let words: Vec<&str> = said.split_whitespace().map(|w| if w.len() > 20 { "Issued" } else { w }).collect();
    if words.is_empty() { "Pending".to_owned() } else { words.join(",") }
}

fn row<'d>(document: &'d Value, name: &str) -> &'d Value {
    let rows = document["requests"].as_array().unwrap();
    rows.iter().find(|row| row["name"] == name).unwrap_or_else(|| panic!("no {name} in {document:#}"))
}

/// A request for `subject`, by a key of its own.
fn csr(subject: &str, extension: &str) -> String {
    let shop = Workshop::new();
    shop.openssl(&format!("genpkey {P256} -out key.pem"));
    shop.openssl(&format!("req -new -config openssl.cnf -key key.pem -subj {subject} {extension}"))
}

fn of_node(name: &str) -> String {
    csr(&format!("/O=system:nodes/CN=system:node:{name}"), "")
}

/// Posts a request as whoever holds a node's own certificate.
fn post_as_node(cluster: &ControlPlane, node: &str, name: &str, signer: &str, usages: &[&str], pem: &str) {
    use base64::{Engine, prelude::BASE64_STANDARD};
    let read = cluster.host(node).run("cat /var/lib/kubelet/pki/kubelet-client-current.pem");
    let identity = String::from_utf8(read.stdout).unwrap();
    let body = json!({
        "kind": "CertificateSigningRequest", "apiVersion": "certificates.k8s.io/v1", "metadata": {"name": name},
        "spec": {"request": BASE64_STANDARD.encode(pem), "signerName": signer, "usages": usages},
    });
    let mut api = Api::new(&cluster.address("cp-1"), &cluster.env().read("state/ca.pem"), Some(&identity));
    let (status, answer) = api.call("POST", CSRS, None, Some(&body)).unwrap();
    assert_eq!(status, 201, "{answer}");
}

#[test]
fn kubelets_that_ask_are_approved_and_a_token_thief_is_not() {
    need_root!();
    let cluster = ControlPlane::builder().nodes(4).unjoined(&["node-2", "node-3"]).idle(&["node-4"]).start();
    let token = cluster.token_on("node-2");
    let thefts = [
        ("joined-name", CLIENT, &USAGES[..], of_node("node-1"), "already_joined"),
        ("outside", CLIENT, &USAGES, of_node("node-9"), "not_in_inventory"),
        ("masters", CLIENT, &USAGES, csr("/O=system:masters/CN=system:node:node-4", ""), "wrong_group"),
        (
            "extra-san",
            CLIENT,
            &USAGES,
            csr("/O=system:nodes/CN=system:node:node-4", "-addext subjectAltName=DNS:x"),
            "extra_san",
        ),
        ("signer", "kubernetes.io/kube-apiserver-client", &USAGES, of_node("node-4"), "wrong_signer"),
        ("usages", CLIENT, &["digital signature", "client auth", "server auth"], of_node("node-4"), "wrong_usages"),
        (
            "serving",
            SERVING,
            &["digital signature", "server auth"],
            csr("/O=system:nodes/CN=system:node:node-4", "-addext subjectAltName=DNS:node-4"),
            "wrong_requester",
        ),
    ];
    for (name, signer, usages, pem, _) in &thefts {
        let (status, answer) = cluster.post_csr(&token, name, signer, usages, pem.as_bytes());
        assert_eq!(status, 201, "{name}: {answer}");
    }

    let foreseen = approve(&cluster, &["--dry-run", "-o", "json"]).expect(0);
    let plan = document(&foreseen);
    assert_eq!((&plan["dry_run"], &plan["summary"]["approved"]), (&json!(true), &json!(2)), "{plan:#}");
    assert_eq!(cluster.pending().len(), 2 + thefts.len(), "a dry run decides nothing");

    let ran = approve(&cluster, &["-o", "json"]).expect(0);
    assert!(ran.stderr.contains("O=system:masters, CN=kubernetes-admin, from admin.kubeconfig"), "{}", ran.stderr);
    let said = document(&ran);
    assert_eq!((&said["schema"], &said["version"]), (&json!("kubemint/approve"), &json!(1)));
    assert_eq!(said["missing"], json!(["node-2", "node-3", "node-4"]));
    for row in said["requests"].as_array().unwrap().iter().filter(|row| row["outcome"] == "approved") {
        assert_eq!((&row["purpose"], &row["verdict"], &row["code"]), (&json!("join"), &json!("approve"), &Value::Null));
        let issued = eventually("the certificate", || {
            Some(condition(&cluster, row["name"].as_str().unwrap())).filter(|state| state == "Approved,Issued")
        });
        assert_eq!(issued, "Approved,Issued");
    }
    assert_eq!(said["summary"]["approved"], 2, "{said:#}");
    for (name, _, _, _, code) in &thefts {
        assert_eq!(row(&said, name)["code"], *code);
        assert_eq!(row(&said, name)["outcome"], "left");
        assert_eq!(condition(&cluster, name), "Pending", "{name}");
    }
    eventually("the nodes", || ["node-2", "node-3"].iter().all(|node| cluster.is_node_ready(node)).then_some(()));
    cluster.env().assert_no_secret(&(ran.stdout + &ran.stderr));

    let denied = document(&approve(&cluster, &["--deny", "-o", "json"]).expect(0));
    for (name, .., code) in &thefts {
        let wanted = if *code == "already_joined" { "Pending" } else { "Denied" };
        assert_eq!(condition(&cluster, name), wanted, "{name}: {denied:#}");
    }
    assert_eq!(denied["summary"]["denied"], thefts.len() - 1);
    let text = approve(&cluster, &[]).expect(0).stdout;
    assert!(text.contains("already_joined") && text.contains("not joined yet: node-4"), "{text}");
}

#[test]
fn two_keys_for_one_node_wait_for_a_person() {
    need_root!();
    let cluster = ControlPlane::builder().nodes(2).unjoined(&["node-1"]).idle(&["node-2"]).start();
    let honest = cluster.pending_of("node-1").remove(0);
    let token = cluster.token_on("node-1");
    cluster.post_csr(&token, "thief", CLIENT, &USAGES, of_node("node-1").as_bytes());
    let said = document(&approve(&cluster, &["--deny", "-o", "json"]).expect(0));
    for name in [honest.as_str(), "thief"] {
        assert_eq!(row(&said, name)["code"], "ambiguous", "{said:#}");
        assert_eq!(condition(&cluster, name), "Pending");
    }
    // As the hint says.
    let digest = "openssl pkey -in /var/lib/kubelet/pki/kubelet-client.key.tmp -pubout -outform DER | sha256sum";
    let own = String::from_utf8(cluster.host("node-1").run(digest).stdout).unwrap();
    assert_eq!(own.split(' ').next(), row(&said, &honest)["key_sha256"].as_str());
    assert_ne!(own.split(' ').next(), row(&said, "thief")["key_sha256"].as_str());
    cluster.kubectl(&["certificate", "deny", "thief"]).expect(0);
    approve(&cluster, &[]).expect(0).says(&["node-1", "approved"]);
    eventually("node-1", || cluster.is_node_ready("node-1").then_some(()));
    // Its name is taken now, also where its Node object goes.
    cluster.host("node-1").must("systemctl stop kubelet");
    cluster.kubectl(&["delete", "node", "node-1"]).expect(0);
    cluster.post_csr(&token, "late", CLIENT, &USAGES, of_node("node-1").as_bytes());
    let said = document(&approve(&cluster, &["-o", "json"]).expect(0));
    assert_eq!(row(&said, "late")["code"], "already_joined", "{said:#}");
}

#[test]
fn a_watch_waits_for_nodes_and_says_who_did_not_come() {
    need_root!();
    let cluster = ControlPlane::builder()
        .stand_ins()
        .control_planes(2)
        .nodes(3)
        .unjoined(&["node-1"])
        .idle(&["node-2", "node-3"])
        .start();
    // One apiserver is not ready: the next is asked.
    cluster.set_fault("cp-1", Fault::NotReady);
    let mut arguments = vec!["approve", "node-[1-2]", "--watch", "--timeout", "60s", "-o", "json"];
    arguments.extend(ADMIN);
    let watch = Running::start(cluster.env(), &arguments);
    eventually("node-1", || cluster.is_node_ready("node-1").then_some(()));
    cluster.host("node-2").must("systemctl start kubelet");
    let ran = watch.wait().expect(0);
    let said = document(&ran);
    assert_eq!((&said["missing"], &said["summary"]["approved"]), (&json!([]), &json!(2)), "{said:#}");
    assert!(cluster.is_node_ready("node-2"));

    let began = std::time::Instant::now();
    let ran = approve(&cluster, &["--watch", "--timeout", "3s"]).expect(3).says(&["not joined yet: node-3"]);
    assert!(began.elapsed() < Duration::from_secs(15), "{ran:?}");
    let watch = Running::start(cluster.env(), &["approve", "--kubeconfig", "admin.kubeconfig", "--watch"]);
    eventually("its first look", || watch.stderr().contains("asking https://").then_some(()));
    watch.signal(rustix::process::Signal::INT);
    watch.wait().expect(130).says(&["not joined yet: node-3"]);
    // Where all have come there is nothing to wait for.
    approve(&cluster, &["node-1", "--watch"]).expect(0);
}

#[test]
fn nodes_renew_and_serve_under_their_own_names_only() {
    need_root!();
    let cluster = ControlPlane::builder().nodes(2).start();
    let address = cluster.host("node-1").address().to_string();
    let serve = |names: &str| csr("/O=system:nodes/CN=system:node:node-1", &format!("-addext subjectAltName={names}"));
    let usages = ["digital signature", "server auth"];
    post_as_node(&cluster, "node-1", "renewal", CLIENT, &USAGES, &of_node("node-1"));
    post_as_node(&cluster, "node-1", "posing", CLIENT, &USAGES, &of_node("node-2"));
    post_as_node(&cluster, "node-1", "serving", SERVING, &usages, &serve(&format!("DNS:node-1,IP:{address}")));
    post_as_node(&cluster, "node-1", "serving-more", SERVING, &usages, &serve("DNS:node-1,DNS:kubernetes"));
    let said = document(&approve(&cluster, &["-o", "json"]).expect(0));
    assert_eq!(row(&said, "renewal")["outcome"], "approved", "{said:#}");
    assert_eq!(row(&said, "posing")["code"], "wrong_requester");
    assert_eq!(row(&said, "serving")["code"], "serving_not_asked");
    assert_eq!(condition(&cluster, "serving"), "Pending");
    let said = document(&approve(&cluster, &["--serving", "-o", "json"]).expect(0));
    assert_eq!(
        (&row(&said, "serving")["purpose"], &row(&said, "serving")["outcome"]),
        (&json!("serving"), &json!("approved"))
    );
    assert_eq!(row(&said, "serving-more")["code"], "extra_san");
    assert!(
        condition(&cluster, "renewal").starts_with("Approved")
            && condition(&cluster, "serving").starts_with("Approved")
    );
    assert_eq!([condition(&cluster, "posing"), condition(&cluster, "serving-more")], ["Pending", "Pending"]);
}

#[test]
fn a_machine_that_was_installed_anew_comes_back_where_it_is_said() {
    need_root!();
    let cluster = ControlPlane::builder().nodes(1).start();
    cluster.host("node-1").must(
        "systemctl stop kubelet; rm -rf /var/lib/kubelet/pki /etc/kubernetes/kubelet.kubeconfig; systemctl start kubelet",
    );
    let name = eventually("its request", || cluster.pending_of("node-1").first().cloned());
    let said = document(&approve(&cluster, &["-o", "json"]).expect(0));
    assert_eq!(row(&said, &name)["code"], "already_joined");
    // One key for each return: what it was granted within the hour counts.
    let ran = approve(&cluster, &["--rebootstrapped", "node-1"]).expect(0);
    ran.says(&["already_joined", "another key was granted node-1's name", "--rebootstrapped NODE"]);
    for csr in cluster.csrs() {
        let issued = csr["metadata"]["name"].as_str().unwrap();
        if issued != name {
            let earlier = jiff::Timestamp::now() - jiff::SignedDuration::from_mins(30);
            cluster.edit_stored("certificatesigningrequests", issued, |csr| {
                csr["metadata"]["creationTimestamp"] = json!(earlier.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
            });
        }
    }
    approve(&cluster, &["--rebootstrapped", "node-1", "--since", "10m"]).expect(0).says(&["1 approved"]);
    eventually("its certificate", || Some(condition(&cluster, &name)).filter(|state| state == "Approved,Issued"));
}

#[test]
fn without_rights_or_with_bad_input_nothing_is_changed() {
    need_root!();
    let cluster = ControlPlane::builder().stand_ins().nodes(1).unjoined(&["node-1"]).start();
    let before = cluster.csrs();
    approve(&cluster, &["nod-1"]).expect(2).says(&["no host matches", "node-1"]);
    approve(&cluster, &["cp-1"]).expect(2).says(&["none of these hosts is a node"]);
    approve(&cluster, &["--timeout", "3s"]).expect(2).says(&["--watch"]);
    approve(&cluster, &["--watch", "--dry-run"]).expect(2);
    approve(&cluster, &["--token-id", "abcdef"]).expect(2).says(&["bootstrap-token-abcdef"]);
    approve(&cluster, &["--token-id", "ABC"]).expect(2).says(&["six characters"]);
    // The rights of whoever holds the bootstrap token.
    cluster.env().write("bootstrap.kubeconfig", cluster.env().read("state/kubeconfigs/bootstrap.kubeconfig"));
    cluster.env().set_mode("bootstrap.kubeconfig", 0o600);
    let ran = cluster.run(&["approve", "--kubeconfig", "bootstrap.kubeconfig", "-o", "json"]).expect(4);
    assert_eq!(document(&ran)["error"]["code"], "api_forbidden", "{ran:?}");
    assert_eq!(cluster.csrs(), before);
    cluster.set_fault("cp-1", Fault::NotReady);
    let ran = approve(&cluster, &["-o", "json"]).expect(4);
    assert_eq!(document(&ran)["error"]["code"], "api_not_ready", "{ran:?}");
    cluster.mend("cp-1");
    // The CA's key is at hand: kubemint's own certificate does.
    let ran = cluster.run(&["approve"]).expect(0).says(&["with a certificate of our own", "CN=kubemint"]);
    assert!(ran.stdout.contains("1 approved"), "{ran:?}");
    eventually("node-1", || cluster.is_node_ready("node-1").then_some(()));
}

#[test]
fn a_name_that_an_admin_granted_stays_granted_and_requests_of_one_uid_are_left() {
    need_root!();
    let cluster = ControlPlane::builder().nodes(2).unjoined(&["node-1", "node-2"]).start();
    let _unsigned = cluster.stop_signing();
    let own = |node: &str| eventually("its request", || cluster.pending_of(node).into_iter().next());
    let (own_1, own_2) = (own("node-1"), own("node-2"));
    let token = cluster.token_on("node-1");
    // Nothing that we approve, and a request that Kubernetes' own approver does.
    let thief = csr("/O=system:nodes/OU=x/CN=system:node:node-1", "");
    assert_eq!(cluster.post_csr(&token, "thief", CLIENT, &USAGES, format!("hello\n{thief}").as_bytes()).0, 201);
    assert_eq!(cluster.post_csr(&token, "unread", CLIENT, &USAGES, thief.as_bytes()).0, 201);
    cluster.edit_stored("certificatesigningrequests", "unread", |csr| csr["spec"]["request"] = json!("bm90aGluZw=="));
    cluster.decide("thief", "Approved");
    cluster.decide("unread", "Approved");
    // An apiserver that says one uid twice: what asks for more than a node beside what a node asks.
    let masters = csr("/O=system:masters/CN=admin", "");
    assert_eq!(cluster.post_csr(&token, "double", CLIENT, &USAGES, masters.as_bytes()).0, 201);
    let uid = cluster.csrs().into_iter().find(|csr| csr["metadata"]["name"] == own_2.as_str()).unwrap();
    let uid = uid["metadata"]["uid"].clone();
    cluster.edit_stored("certificatesigningrequests", "double", |csr| csr["metadata"]["uid"] = uid.clone());
    let said = document(&approve(&cluster, &["-o", "json"]).expect(0));
    assert_eq!(row(&said, &own_1)["code"], "already_joined", "{said:#}");
    assert_eq!((&row(&said, &own_2)["code"], &row(&said, "double")["code"]), (&json!("garbled"), &json!("garbled")));
    assert_eq!(said["summary"]["approved"], 0, "{said:#}");
    let unread = said["unread_grants"].as_array().unwrap();
    assert_eq!(
        (unread.len(), &unread[0]["name"], &unread[0]["code"]),
        (1, &json!("unread"), &json!("grant_unreadable"))
    );
    approve(&cluster, &[]).expect(0).says(&["grant_unreadable", "unread", "garbled: no kube-apiserver answers so"]);
    for name in [&own_1, &own_2, "double"] {
        assert_eq!(condition(&cluster, name), "Pending", "{name}");
    }
    // Each by itself again.
    cluster.edit_stored("certificatesigningrequests", "double", |csr| csr["metadata"]["uid"] = json!("its-own"));
    approve(&cluster, &[]).expect(0);
    assert_eq!((condition(&cluster, &own_2), condition(&cluster, "double")), ("Approved".into(), "Pending".into()));
}
