//! The cluster adapter against an apiserver with real TLS, token file and store; openssl judges the certificate that
//! kubemint issues itself. What no apiserver should answer is in cluster_faults.rs.
#![cfg(feature = "k8s")]
#![allow(clippy::unwrap_used)]

mod pki_support;
mod support;

use base64::{Engine, prelude::BASE64_STANDARD};
use jiff::{SignedDuration, Timestamp};
use kubemint::{
    clock::SystemClock,
    cluster::{
        Action, AdminCredential, AdminSource, Cluster, Clusters, Credential, Deadlines, Decision, Error, KubeClusters,
        RequestState, Setup,
    },
    entropy::OsEntropy,
    inventory::ServerUrl,
    pki::{Algorithm, Authority},
    secret::{ExposeSecret, Secret},
    token::BootstrapTokenSecret,
    workflow::admin_certificate::{DEFAULT_GROUP, OwnCertificates, VALIDITY},
};
use pki_support::{Workshop, assert_webpki_accepts, new_authority};
use std::time::{Duration, Instant};
use support::{ControlPlane, Fault, eventually};

const KUBELET_SIGNER: &str = "kubernetes.io/kube-apiserver-client-kubelet";

fn own(authority: Authority, group: &str) -> OwnCertificates {
    let (clock, entropy) = (Box::new(SystemClock), Box::new(OsEntropy));
    OwnCertificates { authority, group: group.to_owned(), clock, entropy }
}

fn setup(ca_pem: String, admin: impl AdminSource + 'static) -> Setup {
    let deadlines = Deadlines { retries: Duration::from_secs(8), ..Deadlines::default() };
    Setup { ca_pem, admin: Box::new(admin), server_name: None, deadlines, clock: Box::new(SystemClock) }
}

/// The apiservers of the rig, with a certificate of our own from the CA in its credential directory.
fn clusters(rig: &ControlPlane, group: &str) -> KubeClusters {
    let ca = rig.env().read("state/ca.pem");
    let key = Secret::from(rig.env().read("state/ca-key.pem"));
    let authority = Authority::import(&ca, &key, Timestamp::now()).unwrap();
    KubeClusters::new(setup(ca, own(authority, group))).unwrap()
}

fn url(rig: &ControlPlane, index: usize) -> ServerUrl {
    format!("https://{}", rig.plain_api(&format!("cp-{}", index + 1)).address).parse().unwrap()
}

fn first(rig: &ControlPlane) -> Box<dyn Cluster> {
    clusters(rig, DEFAULT_GROUP).at(&url(rig, 0)).unwrap()
}

fn token(text: &str) -> Secret {
    Secret::from(text)
}

#[test]
fn our_own_certificate_is_for_clients_only_and_lasts_a_quarter_of_an_hour() {
    for algorithm in [Algorithm::EcdsaP256, Algorithm::Rsa2048] {
        let source = own(new_authority(algorithm), "system:masters");
        let began = Timestamp::now();
        let issued = source.issue(began).unwrap();
        let shop = Workshop::new();
        pki_support::assert_openssl_accepts(&shop, &source.authority, &issued);
        assert_webpki_accepts(&source.authority, &issued);
        let said =
            shop.openssl("x509 -in leaf.pem -noout -subject -nameopt RFC2253 -ext extendedKeyUsage,basicConstraints");
        assert!(said.contains("subject=CN=kubemint,O=system:masters\n"), "{said}");
        assert!(said.contains("TLS Web Client Authentication\n") && !said.contains("Server"), "{said}");
        assert!(said.contains("CA:FALSE"), "{said}");
        let refused = shop.try_openssl("verify -purpose sslserver -CAfile judge-ca.pem leaf.pem");
        assert!(refused.is_err(), "no server may use it");
        let (before, after) = (issued.info.not_before, issued.info.not_after);
        assert_eq!(after.as_second() - began.as_second(), VALIDITY.as_secs() as i64);
        assert_eq!(began.as_second() - before.as_second(), 5 * 60);
        let until = |seconds: i64| shop.try_openssl(&format!("x509 -in leaf.pem -noout -checkend {seconds}")).is_ok();
        assert!(until(14 * 60 + 30) && !until(15 * 60 + 1));
        let credential = source.credential(began).unwrap();
        assert_eq!(credential.expires, Some(after));
        let again = source.credential(began).unwrap().certificate.unwrap();
        assert_ne!(again.key.expose_secret(), credential.certificate.unwrap().key.expose_secret());
    }
}

#[test]
fn a_group_that_is_no_name_is_refused_before_anything_is_asked() {
    let source = own(new_authority(Algorithm::EcdsaP256), &"g".repeat(65));
    let ca = source.authority.certificate_pem().to_owned();
    let clusters = KubeClusters::new(setup(ca, source)).unwrap();
    let server = "https://127.0.0.1:1".parse().unwrap();
    assert!(matches!(clusters.at(&server), Err(Error::Access { .. })));
}

#[test]
fn every_way_to_say_who_one_is_is_told_apart() {
    need_root!();
    let rig = ControlPlane::builder().stand_ins().control_planes(2).nodes(1).start();
    let known = rig.token_on("node-1");
    for index in 0..2 {
        let cluster = clusters(&rig, DEFAULT_GROUP).at(&url(&rig, index)).unwrap();
        cluster.readyz().unwrap();
        let me = cluster.whoami(Credential::Admin).unwrap();
        assert_eq!((me.username.as_str(), me.groups.contains(&"system:masters".to_owned())), ("kubemint", true));
        let kubelet = cluster.whoami(Credential::Token(&token(&known))).unwrap();
        assert_eq!(kubelet.username, "kubelet-bootstrap");
        assert!(kubelet.groups.iter().any(|group| group == "system:kubelet-bootstrap"), "{kubelet:?}");
        let unknown = cluster.whoami(Credential::Token(&token("0123456789abcdef0123456789abcdef")));
        assert!(matches!(unknown, Err(Error::Unauthorized { .. })), "{unknown:?}");
        let (chain, key) =
            (rig.env().read("state/certs/kube-proxy.pem"), token(&rig.env().read("state/certs/kube-proxy-key.pem")));
        let proxy = cluster.whoami(Credential::Certificate { chain: &chain, key: &key }).unwrap();
        assert_eq!(proxy.username, "system:kube-proxy");
        let foreign = own(new_authority(Algorithm::EcdsaP256), "system:masters").issue(Timestamp::now()).unwrap();
        let foreign = Credential::Certificate { chain: &foreign.certificate_pem, key: &foreign.key_pem };
        let foreign = cluster.whoami(foreign);
        assert!(matches!(foreign, Err(Error::Unauthorized { .. })), "{foreign:?}");
    }
    eventually("readyz in the log", || {
        let log = rig.access_log("cp-1");
        log.iter().any(|entry| entry["user"] == "kubemint" && entry["path"] == "/readyz?verbose").then_some(())
    });
}

#[test]
fn a_certificate_that_has_expired_is_not_known() {
    need_root!();
    let rig = ControlPlane::builder().start();
    let ca_key = rcgen::KeyPair::from_pem(&rig.env().read("state/ca-key.pem")).unwrap();
    let issuer = rcgen::Issuer::from_ca_cert_pem(&rig.env().read("state/ca.pem"), ca_key).unwrap();
    let answer = |minutes: i64| {
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name.push(rcgen::DnType::CommonName, "kubemint");
        params.not_before = time::OffsetDateTime::now_utc() - time::Duration::minutes(60);
        params.not_after = time::OffsetDateTime::now_utc() + time::Duration::minutes(minutes);
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
        let key = rcgen::KeyPair::generate().unwrap();
        let chain = params.signed_by(&key, &issuer).unwrap().pem();
        first(&rig).whoami(Credential::Certificate { chain: &chain, key: &token(&key.serialize_pem()) })
    };
    assert_eq!(answer(5).unwrap().username, "kubemint");
    assert!(matches!(answer(-5), Err(Error::Unauthorized { .. })));
}

#[test]
fn rights_are_what_the_group_gives() {
    need_root!();
    let rig = ControlPlane::builder().start();
    let approve = Action {
        verb: "update",
        group: "certificates.k8s.io",
        resource: "certificatesigningrequests",
        subresource: "approval",
        name: "",
    };
    assert!(first(&rig).may(&approve).unwrap());
    let limited = clusters(&rig, "system:nobody").at(&url(&rig, 0)).unwrap();
    assert!(!limited.may(&approve).unwrap());
    match limited.nodes() {
        Err(Error::Forbidden { reason, .. }) => assert!(reason.contains("\"kubemint\" cannot list"), "{reason}"),
        other => panic!("{other:?}"),
    }
    assert!(limited.whoami(Credential::Admin).is_ok());
}

#[test]
fn requests_are_listed_whole_and_decided_once() {
    need_root!();
    let rig = ControlPlane::builder().nodes(2).unjoined(&["node-1", "node-2"]).start();
    let cluster = first(&rig);
    let pending = cluster.signing_requests().unwrap();
    assert_eq!(pending.len(), 2);
    for request in &pending {
        assert_eq!((request.signer.as_str(), request.username.as_str()), (KUBELET_SIGNER, "kubelet-bootstrap"));
        assert_eq!(request.state, RequestState::Pending);
        assert!(request.request.starts_with(b"-----BEGIN CERTIFICATE REQUEST-----") && request.certificate.is_empty());
        assert!(Timestamp::now().duration_since(request.created) < SignedDuration::from_mins(5));
        assert!(request.groups.contains(&"system:authenticated".to_owned()) && !request.uid.is_empty());
    }
    let (good, bad) = (&pending[0], &pending[1]);
    cluster.decide(good, &Decision::Approve { message: "as the inventory expects".to_owned() }).unwrap();
    cluster.decide(bad, &Decision::Deny { message: "not asked for".to_owned() }).unwrap();
    let issued = eventually("the certificate", || {
        let now = cluster.signing_requests().unwrap().into_iter().find(|request| request.name == good.name).unwrap();
        (!now.certificate.is_empty()).then_some(now)
    });
    assert_eq!(issued.state, RequestState::Approved);
    let conditions = |name: &str| {
        let all = rig.csrs();
        let object = all.iter().find(|object| object["metadata"]["name"] == name).unwrap();
        object["status"]["conditions"].clone()
    };
    let written = conditions(&good.name);
    assert_eq!(
        (&written[0]["type"], &written[0]["status"], &written[0]["reason"], &written[0]["message"]),
        (&"Approved".into(), &"True".into(), &"KubemintApprove".into(), &"as the inventory expects".into())
    );
    assert!(written[0]["lastUpdateTime"].as_str().unwrap().ends_with('Z'));
    assert_eq!(conditions(&bad.name)[0]["reason"], "KubemintDeny");
    // Once more the same is no change, and as they were listed they are no more.
    cluster.decide(good, &Decision::Approve { message: "as the inventory expects".to_owned() }).unwrap();
    for (request, decision) in
        [(good, Decision::Deny { message: String::new() }), (bad, Decision::Approve { message: String::new() })]
    {
        let again = cluster.decide(request, &decision);
        assert!(matches!(again, Err(Error::Conflict { .. })), "{again:?}");
    }
    assert_eq!(conditions(&bad.name).as_array().unwrap().len(), 1);
}

#[test]
fn a_request_that_is_gone_or_not_a_name_is_not_found() {
    need_root!();
    let rig = ControlPlane::builder().nodes(1).unjoined(&["node-1"]).start();
    let cluster = first(&rig);
    let real = cluster.signing_requests().unwrap().remove(0);
    for name in ["no-such-request", "../../../api/v1/nodes", "a/approval?x=", ".."] {
        let mut request = real.clone();
        request.name = name.to_owned();
        let answer = cluster.decide(&request, &Decision::Approve { message: String::new() });
        assert!(matches!(answer, Err(Error::NotFound { .. })), "{name}: {answer:?}");
    }
    assert_eq!(cluster.signing_requests().unwrap()[0].state, RequestState::Pending);
}

#[test]
fn more_requests_than_fit_a_page_are_all_read() {
    need_root!();
    let rig = ControlPlane::builder().stand_ins().nodes(1).unjoined(&["node-1"]).start();
    let shop = Workshop::new();
    shop.openssl("req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout k.pem -subj /O=system:nodes/CN=system:node:x -out r.pem");
    let bearer = rig.token_on("node-1");
    let request = BASE64_STANDARD.encode(shop.read("r.pem"));
    let mut api = rig.plain_api("cp-1");
    for number in 0..510 {
        let body = serde_json::json!({
            "kind": "CertificateSigningRequest", "apiVersion": "certificates.k8s.io/v1",
            "metadata": {"name": format!("many-{number}")},
            "spec": {"request": request, "signerName": KUBELET_SIGNER, "usages": ["client auth"]},
        });
        let path = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
        let (status, body) = api.call("POST", path, Some(&bearer), Some(&body)).unwrap();
        assert_eq!(status, 201, "{body}");
    }
    assert_eq!(first(&rig).signing_requests().unwrap().len(), 511);
    eventually("two pages in the log", || {
        let log = rig.access_log("cp-1");
        (log.iter().filter(|e| e["user"] == "kubemint" && e["method"] == "GET").count() == 2).then_some(())
    });
}

#[test]
fn nodes_are_ready_when_their_kubelet_says_so() {
    need_root!();
    let rig = ControlPlane::builder().nodes(2).unjoined(&["node-2"]).start();
    let nodes = first(&rig).nodes().unwrap();
    assert_eq!(nodes.len(), 1);
    assert!(nodes[0].name == "node-1" && nodes[0].ready && nodes[0].heartbeat.is_some(), "{nodes:?}");
    rig.host("node-1").must("systemctl stop kubelet");
    for (conditions, heartbeat) in [
        (
            serde_json::json!([{"type": "Ready", "status": "Unknown", "lastHeartbeatTime": "2026-03-01T10:00:00Z"}]),
            true,
        ),
        (serde_json::json!([{"type": "DiskPressure", "status": "True"}]), false),
        (serde_json::json!(null), false),
    ] {
        rig.edit_stored("nodes", "node-1", |node| node["status"]["conditions"] = conditions);
        let nodes = first(&rig).nodes().unwrap();
        assert!(!nodes[0].ready && nodes[0].heartbeat.is_some() == heartbeat, "{nodes:?}");
    }
}

#[test]
fn a_bootstrap_secret_authenticates_until_it_is_deleted() {
    need_root!();
    let rig = ControlPlane::builder().start();
    let cluster = first(&rig);
    let groups = ["system:bootstrappers:worker".to_owned()];
    let hour = SignedDuration::from_hours(1);
    let secret = BootstrapTokenSecret::generate(&OsEntropy, Timestamp::now(), hour, &groups).unwrap();
    cluster.create_bootstrap_secret(&secret).unwrap();
    assert!(matches!(cluster.create_bootstrap_secret(&secret), Err(Error::Conflict { .. })));
    let listed = cluster.bootstrap_secrets().unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!((listed[0].id.as_str(), listed[0].authenticates), (secret.id(), true));
    assert_eq!((listed[0].expiration, listed[0].groups.as_slice()), (Some(secret.expiration()), &groups[..]));
    let bearer = secret.token();
    let user = cluster.whoami(Credential::Token(bearer.secret())).unwrap();
    assert_eq!(user.username, format!("system:bootstrap:{}", secret.id()));
    assert!(user.groups.contains(&groups[0]));
    assert!(cluster.delete_bootstrap_secret(secret.id()).unwrap());
    assert!(!cluster.delete_bootstrap_secret(secret.id()).unwrap());
    assert!(!cluster.delete_bootstrap_secret("../x").unwrap());
    assert!(matches!(cluster.whoami(Credential::Token(bearer.secret())), Err(Error::Unauthorized { .. })));
}

#[test]
fn an_apiserver_in_trouble_is_waited_for_or_named() {
    need_root!();
    let rig = ControlPlane::builder().stand_ins().start();
    let cluster = first(&rig);
    rig.set_fault("cp-1", Fault::Busy(2));
    let began = Instant::now();
    cluster.nodes().unwrap();
    assert!(began.elapsed() >= Duration::from_secs(2), "Retry-After is 1, twice: {:?}", began.elapsed());
    rig.set_fault("cp-1", Fault::NotReady);
    match cluster.readyz() {
        Err(Error::NotReady { failing, .. }) => assert_eq!(failing, ["etcd"]),
        other => panic!("{other:?}"),
    }
    rig.set_fault("cp-1", Fault::Failing);
    assert!(matches!(cluster.nodes(), Err(Error::Api { status: 500, .. })));
    rig.set_fault("cp-1", Fault::Slow(Duration::from_secs(2)));
    cluster.nodes().unwrap();
    rig.mend("cp-1");
    cluster.readyz().unwrap();
}

#[test]
fn a_restarted_apiserver_is_the_one_that_answers() {
    need_root!();
    let rig = ControlPlane::builder().nodes(1).start();
    let cluster = first(&rig);
    let bearer = token(&rig.token_on("node-1"));
    cluster.whoami(Credential::Token(&bearer)).unwrap();
    let host = &rig.fleet.hosts[0];
    host.must("sed -i 's/^[0-9a-f]*/ffffffffffffffffffffffffffffffff/' /etc/kubernetes/token.csv && systemctl restart kube-apiserver");
    eventually("the apiserver to be back", || cluster.readyz().ok());
    assert!(matches!(cluster.whoami(Credential::Token(&bearer)), Err(Error::Unauthorized { .. })));
    host.must("systemctl stop kube-apiserver");
    assert!(matches!(cluster.whoami(Credential::Token(&bearer)), Err(Error::Unreachable { .. })));
}

/// The sockets of this process that are connected to `address`, by proc_net_tcp.txt of the kernel; those of other tests in
/// it go elsewhere, since each rig has an address of its own.
fn own_connections_to(address: std::net::SocketAddrV4) -> usize {
    let links = std::fs::read_dir("/proc/self/fd").unwrap().flatten().filter_map(|fd| fd.path().read_link().ok());
    let own: std::collections::HashSet<String> = links.map(|to| to.to_string_lossy().into_owned()).collect();
    let peer = format!("{:08X}:{:04X}", u32::from_le_bytes(address.ip().octets()), address.port());
    let table = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
    let rows = table.lines().skip(1).map(|row| row.split_whitespace().collect::<Vec<_>>());
    rows.filter(|row| row[2] == peer && own.contains(&format!("socket:[{}]", row[9]))).count()
}

#[test]
fn the_way_to_an_apiserver_leaves_no_connection_behind() {
    need_root!();
    let rig = ControlPlane::builder().start();
    let cluster = first(&rig);
    let address = rig.address("cp-1").parse().unwrap();
    // This process can be seen to have one, so that none means none.
    let held = std::net::TcpStream::connect(address).unwrap();
    assert_eq!(own_connections_to(address), 1);
    drop(held);
    for _ in 0..20 {
        cluster.readyz().unwrap();
    }
    assert_eq!(own_connections_to(address), 0);
}

#[test]
fn a_kubeconfigs_token_is_an_admin_too() {
    need_root!();
    let rig = ControlPlane::builder().nodes(1).start();
    let admin = AdminCredential { token: Some(token(&rig.token_on("node-1"))), ..AdminCredential::default() };
    let clusters = KubeClusters::new(setup(rig.env().read("state/ca.pem"), admin)).unwrap();
    let cluster = clusters.at(&url(&rig, 0)).unwrap();
    assert_eq!(cluster.whoami(Credential::Admin).unwrap().username, "kubelet-bootstrap");
    assert!(cluster.signing_requests().is_ok());
    assert!(matches!(cluster.bootstrap_secrets(), Err(Error::Forbidden { .. })));
}
