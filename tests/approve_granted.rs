//! A name that was granted to one key is granted to no other, however the request or certificate that got it is written;
//! and what nobody granted, or nobody can read, stands in no node's way. Requests are told apart by name and uid.
#![cfg(feature = "k8s")]
#![allow(clippy::unwrap_used, reason = "test code")]

mod pki_support;
mod signing_requests;

use kubemint::{
    cluster::{RequestState, SigningRequest},
    digest::Digest,
    pki,
    workflow::approve::{Act, Expectations, Judged, Outcome, Round, run_round},
};
use pki_support::der;
use signing_requests::*;
use std::{collections::BTreeSet, sync::OnceLock};

fn forge() -> &'static Forge {
    static FORGE: OnceLock<Forge> = OnceLock::new();
    FORGE.get_or_init(|| {
        let forge = Forge::new();
        for (name, key) in [
            ("p224", "-algorithm EC -pkeyopt ec_paramgen_curve:P-224"),
            ("secp256k1", "-algorithm EC -pkeyopt ec_paramgen_curve:secp256k1"),
            ("ed448", "-algorithm ED448"),
        ] {
            forge.0.openssl(&format!("genpkey {key} -out {name}.pem"));
        }
        forge
    })
}

fn pem_of(label: &str, der: &[u8]) -> String {
    pem::encode_config(&pem::Pem::new(label, der), pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF))
}

/// A request for node-1 with the CN's string type replaced.
fn with_tag(pem: &str, tag: u8) -> String {
    let mut der = der(pem);
    let at = der.windows(12).position(|window| window == b"system:node:").unwrap();
    der[at - 2] = tag;
    pem_of("CERTIFICATE REQUEST", &der)
}

/// A certificate for node-1 that ends at the beginning of that year.
fn certificate(end: i32) -> Vec<u8> {
    let mut parameters = rcgen::CertificateParams::default();
    parameters.distinguished_name = rcgen::DistinguishedName::new();
    parameters.distinguished_name.push(rcgen::DnType::OrganizationName, "system:nodes");
    parameters.distinguished_name.push(rcgen::DnType::CommonName, "system:node:node-1");
    (parameters.not_before, parameters.not_after) = (rcgen::date_time_ymd(2020, 1, 1), rcgen::date_time_ymd(end, 1, 1));
    parameters.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().pem().into()
}

/// What may have got node-1 its name with another key: each a way to write it that some reader of Kubernetes takes.
fn forms() -> Vec<(String, SigningRequest)> {
    let f = forge();
    let plain = || f.request("other", &subject("node-1"), None);
    let made = |key: &str, more: &str| f.request(key, &format!("/O=system:nodes{more}/CN=system:node:node-1"), None);
    let extended = |text: &str| f.request("other", &subject("node-1"), Some(text));
    let unreadable = || b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n".to_vec();
    let of_node_3 = f.request("other", &subject("node-9"), None);
    let (begin, end) = ("-----BEGIN CERTIFICATE REQUEST-----\n", "-----END CERTIFICATE REQUEST-----\n");
    let body: String = plain().lines().filter(|line| !line.starts_with('-')).collect();
    let mut texts = vec![
        ("as a kubelet writes it", plain()),
        ("with an OU", made("other", "/OU=x")),
        ("with a serial number", made("other", "/serialNumber=1")),
        ("with two CNs", made("other", "/CN=x")),
        ("with two CNs, the node's first", f.request("other", "/CN=system:node:node-1/CN=x", None)),
        ("with CN and O in one RDN", f.request("other", "/O=system:nodes+CN=system:node:node-1", None)),
        ("in another group", f.request("other", "/O=x/CN=system:node:node-1", None)),
        ("with a name", extended("subjectAltName=DNS:x")),
        ("with an extension", extended("1.2.3.4=DER:0500")),
        ("as a CA", extended("basicConstraints=CA:TRUE")),
        ("with text before it", format!("hello\n{}", plain())),
        ("with text after it", format!("{}hello", plain())),
        ("with a colon before it", format!("a: b\n{}", plain())),
        ("with headers", plain().replace(begin, &format!("{begin}A: b\nC: -----END X-----\n\n"))),
        ("with CRLF", plain().replace('\n', "\r\n")),
        ("with blanks after BEGIN", plain().replace(begin, "-----BEGIN CERTIFICATE REQUEST-----  \n")),
        ("on one line", format!("{begin}{body}\n{end}")),
        ("indented", plain().replace("\nM", "\n  M")),
        ("with another label", plain().replace("CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST")),
        ("before another", format!("{}{of_node_3}", plain())),
        ("after one that is damaged", format!("{}{}", of_node_3.replacen("\nM", "\n!", 1), plain())),
        ("after one without an end", format!("{begin}{}", plain())),
        ("with bytes after it", {
            let mut der = der(&plain());
            der.extend([0, 0]);
            pem_of("CERTIFICATE REQUEST", &der)
        }),
        ("with a broken signature", {
            let mut der = der(&plain());
            *der.last_mut().unwrap() ^= 1;
            pem_of("CERTIFICATE REQUEST", &der)
        }),
        ("cut off", {
            let der = der(&plain());
            pem_of("CERTIFICATE REQUEST", &der[..der.len() - 3])
        }),
    ];
    for key in ["weak", "p224", "secp256k1", "ed448"] {
        texts.push(("with a key of another kind", made(key, "")));
    }
    for tag in [0x0c, 0x12, 0x13, 0x14, 0x16, 0x1a, 0x1b] {
        texts.push(("with another string type", with_tag(&plain(), tag)));
    }
    let mut all: Vec<(String, SigningRequest)> =
        texts.into_iter().map(|(what, text)| (what.to_owned(), approved(join(text)))).collect();
    let with_certificate = |request: SigningRequest| SigningRequest { certificate: certificate(2099), ..request };
    all.push(("in the certificate alone".into(), with_certificate(approved(join(unreadable())))));
    all.push(("in a certificate of somebody else's request".into(), with_certificate(approved(join(of_node_3)))));
    for state in [RequestState::Failed, RequestState::Denied, RequestState::Pending] {
        all.push((format!("issued, and {state:?}"), SigningRequest { state, ..with_certificate(join(unreadable())) }));
    }
    for signer in ["kubernetes.io/kube-apiserver-client", "kubernetes.io/legacy-unknown"] {
        let request = SigningRequest { signer: signer.into(), usages: vec![], ..approved(join(plain())) };
        all.push((format!("by {signer}"), request));
    }
    for user in ["jane", "system:node:node-2", "system:serviceaccount:kube-system:node-bootstrapper"] {
        let groups = vec!["system:masters".to_owned()];
        let request = SigningRequest { username: user.into(), groups, ..approved(join(plain())) };
        all.push((format!("asked for by {user}"), request));
    }
    all.push(("renewed by the node itself".into(), approved(renewal(plain(), "node-1"))));
    all
}

fn approved(request: SigningRequest) -> SigningRequest {
    SigningRequest { state: RequestState::Approved, ..request }
}

fn node_1() -> SigningRequest {
    join(forge().of_node("node-1"))
}

fn round(expectations: &Expectations, requests: Vec<SigningRequest>) -> (Round, MemoryCluster) {
    let cluster = MemoryCluster::new(vec![], requests);
    (run_round(&cluster, expectations, Act::Decide).unwrap(), cluster)
}

fn code(judged: &[Judged], uid: &str) -> &'static str {
    let entry = judged.iter().find(|entry| entry.uid == uid).unwrap();
    entry.reason().map_or("none", |(reason, _)| reason.code())
}

#[test]
fn a_second_key_for_a_granted_name_is_never_approved_however_the_first_was_written() {
    let forms = forms();
    assert!(forms.len() > 40);
    for (what, granted) in forms {
        let node_3 = join(forge().request("other", &subject("node-3"), None));
        let (round, cluster) = round(&expectations(), vec![granted.clone(), node_1(), node_3]);
        assert_eq!(code(&round.judged, "uid-1"), "already_joined", "{what}: {:#?}", round.judged);
        assert_eq!(cluster.state(1), RequestState::Pending, "{what}");
        // Nobody else is kept waiting for it.
        assert_eq!(cluster.state(2), RequestState::Approved, "{what}: {:#?}", round.judged);
        assert_eq!(round.unread, [], "{what}");
    }
}

#[test]
fn what_nobody_granted_stands_in_no_nodes_way() {
    let plain = || forge().request("other", &subject("node-1"), None);
    let with_ou = || forge().request("other", "/O=system:nodes/OU=x/CN=system:node:node-1", None);
    let expired = SigningRequest { certificate: certificate(2021), ..approved(join(plain())) };
    let of_signer = |signer: &str| SigningRequest { signer: signer.into(), ..approved(join(plain())) };
    let others = [
        ("pending, not ours to approve", join(with_ou())),
        ("pending and unreadable", join("nothing")),
        ("denied", SigningRequest { state: RequestState::Denied, ..join(plain()) }),
        ("failed", SigningRequest { state: RequestState::Failed, ..join(with_ou()) }),
        ("ended", expired),
        ("a serving certificate", of_signer("kubernetes.io/kubelet-serving")),
        ("of a signer whose certificates open nothing", of_signer("example.net/mesh")),
        ("of another node", approved(join(forge().request("other", &subject("node-9"), None)))),
        ("of a name that only begins so", approved(join(forge().request("other", &subject("node-11"), None)))),
        ("of no node", approved(join(forge().request("other", "/O=x/CN=node-1", None)))),
        ("the same key before", approved(join(forge().request("p256", "/OU=x/CN=system:node:node-1", None)))),
    ];
    for (what, other) in others {
        let (round, cluster) = round(&expectations(), vec![other, node_1()]);
        assert_eq!(cluster.state(1), RequestState::Approved, "{what}: {:#?}", round.judged);
        assert_eq!(round.unread, [], "{what}");
    }
}

#[test]
fn a_granted_request_that_nobody_can_read_is_told_and_stands_in_no_nodes_way() {
    let junk = |text: &str| approved(join(text));
    let requests =
        vec![junk(""), junk("\u{1b}[2J"), junk("-----BEGIN X-----\nAQID\n-----END X-----\n"), node_1(), join("")];
    let (round, cluster) = round(&expectations(), requests);
    assert_eq!(cluster.state(3), RequestState::Approved, "{:#?}", round.judged);
    let named: Vec<&str> = round.unread.iter().map(|grant| grant.request.as_str()).collect();
    assert_eq!(named, ["csr-0", "csr-1", "csr-2"]);
}

#[test]
fn a_node_that_is_to_come_back_is_kept_out_by_a_grant_since_then_and_not_by_its_own_renewal() {
    let expected = Expectations { rebootstrapped: BTreeSet::from(["node-1".to_owned()]), ..expectations() };
    let pem = || forge().request("other", "/O=system:nodes/OU=x/CN=system:node:node-1", None);
    for (what, granted, is_approved) in [
        ("granted since", approved(join(pem())), false),
        ("granted before", SigningRequest { created: ago(90), ..approved(join(pem())) }, true),
        ("renewed since", approved(renewal(pem(), "node-1")), true),
    ] {
        let (round, cluster) = round(&expected, vec![granted, node_1()]);
        assert_eq!(cluster.state(1) == RequestState::Approved, is_approved, "{what}: {:#?}", round.judged);
    }
}

/// Nothing that is asked for the first time is taken for granted by what a strict reader sees in it.
#[test]
fn the_lenient_reader_finds_what_the_strict_one_does() {
    for key in ["p256", "rsa", "other"] {
        for subject in ["/O=system:nodes/CN=system:node:node-1", "/CN=a/O=b/CN=c", "/O=x+CN=y", "/O=x"] {
            let pem = forge().request(key, subject, None);
            let strict = pki::parse_request(&pem).unwrap();
            let claims = pki::read_claims(pem.as_bytes());
            assert_eq!(claims.len(), 1, "{key} {subject}");
            assert_eq!(claims[0].common_names, strict.common_names, "{key} {subject}");
            assert_eq!(claims[0].spki_sha256, Some(strict.spki_sha256), "{key} {subject}");
        }
    }
    let issued = certificate(2099);
    let claims = pki::read_claims(&issued);
    let strict = pki::parse_certificate(&issued).unwrap();
    assert_eq!(
        (claims[0].common_names.last(), claims[0].spki_sha256),
        (strict.common_name.as_ref(), Some(strict.spki_sha256))
    );
    assert_ne!(claims[0].spki_sha256, Some(Digest::of("")));
}

/// What is wrong, how it comes about, and which requests are left for it.
type Garbled = (&'static str, fn(&mut Vec<SigningRequest>), &'static [usize]);

/// Edits, names and uids of requests, by number.
fn garbled() -> Vec<Garbled> {
    vec![
        ("one uid twice", |all| all[1].uid = all[0].uid.clone(), &[0, 1]),
        ("one uid twice, the other first", |all| all[0].uid = all[1].uid.clone(), &[0, 1]),
        ("one name twice", |all| all[1].name = all[0].name.clone(), &[0, 1]),
        ("name and uid twice", |all| (all[1].name, all[1].uid) = (all[0].name.clone(), all[0].uid.clone()), &[0, 1]),
        (
            "a uid that one has that was decided",
            |all| {
                all[1].uid = all[0].uid.clone();
                all[1].state = RequestState::Denied;
            },
            &[0],
        ),
        ("no uid", |all| all[0].uid.clear(), &[0]),
        ("no name", |all| all[0].name.clear(), &[0]),
        ("no resourceVersion", |all| all[0].resource_version.clear(), &[0]),
    ]
}

#[test]
fn a_verdict_is_never_carried_out_on_another_request() {
    let masters = || join(forge().request("other", "/O=system:masters/CN=admin", None));
    for (what, garble, left) in garbled() {
        let requests = vec![node_1(), masters(), join(forge().request("other", &subject("node-3"), None))];
        let cluster = MemoryCluster::new(vec![], requests);
        garble(&mut cluster.requests.lock().unwrap());
        let before: Vec<RequestState> = (0..3).map(|n| cluster.state(n)).collect();
        let Round { judged, .. } = run_round(&cluster, &expectations(), Act::Decide).unwrap();
        for n in left {
            assert_eq!(cluster.state(*n), before[*n], "{what}: {judged:#?}");
        }
        let told = judged.iter().filter(|entry| entry.reason().is_some_and(|(reason, _)| reason.code() == "garbled"));
        assert_eq!(told.count(), left.len(), "{what}: {judged:#?}");
        // Those that are told apart are decided.
        assert_eq!(cluster.state(2), RequestState::Approved, "{what}: {judged:#?}");
        let approved = judged.iter().filter(|entry| matches!(entry.outcome, Outcome::Approved)).count();
        assert_eq!(approved, 1, "{what}: {judged:#?}");
    }
}

#[test]
fn one_request_that_is_pending_twice_is_judged_again_by_name_and_uid() {
    // Somebody puts another request of that uid in its place between judgement and decision.
    let rename = |request: &mut SigningRequest| request.name = "another".to_owned();
    let cluster = MemoryCluster::new(vec![], vec![node_1()]);
    let cluster = MemoryCluster { meddling: 1.into(), meddler: rename, ..cluster };
    let Round { judged, .. } = run_round(&cluster, &expectations(), Act::Decide).unwrap();
    assert_eq!((code(&judged, "uid-0"), cluster.state(0)), ("already_decided", RequestState::Pending));
}
