//! Which signing requests are approved: the ones that kubelets of the inventory make, and none of a set of hostile ones
//! beside them. The requests are openssl's.
#![cfg(feature = "k8s")]
#![allow(clippy::unwrap_used)]

mod pki_support;
mod signing_requests;

use kubemint::{
    cluster::{BootstrapSecret, Error, RequestState, SigningRequest},
    digest::Digest,
    workflow::approve::{
        Expectations, Hostile, Judged, Outcome, Reason, Requester, Scope, Serving, Verdict, approve_expected, judge,
    },
};
use proptest::prelude::*;
use signing_requests::*;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, OnceLock},
};

fn forge() -> &'static Forge {
    static FORGE: OnceLock<Forge> = OnceLock::new();
    FORGE.get_or_init(Forge::new)
}

/// Serving certificates are wanted, node-2 has joined.
fn world() -> (Expectations, Vec<kubemint::cluster::Node>) {
    (Expectations { serving: Serving::Approve, ..expectations() }, vec![node("node-2")])
}

fn reason(judged: &Judged) -> &'static str {
    judged.reason().map_or("none", |(reason, _)| reason.code())
}

fn words(list: &[&str]) -> Vec<String> {
    list.iter().map(ToString::to_string).collect()
}

/// What is good, each with what it is.
fn good() -> Vec<(&'static str, SigningRequest)> {
    let f = forge();
    let names = |text: &str| f.request("p256", &subject("node-2"), Some(text));
    vec![
        ("a kubelet's first", join(f.of_node("node-1"))),
        ("with an RSA key", {
            let usages = words(&["key encipherment", "digital signature", "client auth"]);
            SigningRequest { usages, ..join(f.request("rsa", &subject("node-3"), None)) }
        }),
        ("a renewal", renewal(f.of_node("node-2"), "node-2")),
        ("serving, by name", serving(names("subjectAltName=DNS:node-2"), "node-2")),
        ("serving, by name and address", serving(names("subjectAltName=DNS:node-2,IP:10.0.1.2"), "node-2")),
        ("serving, by an address that is a name", {
            let san = "subjectAltName=DNS:node-4,DNS:four.example.net";
            serving(f.request("rsa", &subject("node-4"), Some(san)), "node-4")
        }),
    ]
}

/// What is not, with its reason and whether it shows bad intent.
fn hostile() -> Vec<(&'static str, SigningRequest, Reason, bool)> {
    use Reason::*;
    let f = forge();
    let asks = |subject: &str| join(f.request("p256", subject, None));
    let extended = |text: &str| f.request("p256", &subject("node-1"), Some(text));
    let serving_with = |text: &str| serving(f.request("p256", &subject("node-2"), Some(text)), "node-2");
    let plain = || join(f.of_node("node-1"));
    let good = f.of_node("node-1");
    let twice = format!("{good}{good}");
    // The last base64 character before the padding and the END line belongs to the signature.
    let broken = flip_signature(&good);
    vec![
        ("another node's name", renewal(f.of_node("node-1"), "node-2"), WrongRequester, true),
        ("a joined node's name", join(f.of_node("node-2")), AlreadyJoined, false),
        ("a name outside the inventory", join(f.of_node("node-9")), NotInInventory, true),
        ("a control-plane host's name", join(f.of_node("cp-1")), NotInInventory, true),
        ("system:masters as O", asks("/O=system:masters/CN=system:node:node-1"), WrongGroup, true),
        (
            "system:masters as a second O",
            asks("/O=system:nodes/O=system:masters/CN=system:node:node-1"),
            WrongGroup,
            true,
        ),
        (
            "system:masters in the same RDN",
            asks("/O=system:nodes+O=system:masters/CN=system:node:node-1"),
            WrongGroup,
            true,
        ),
        ("no O", asks("/CN=system:node:node-1"), WrongGroup, true),
        ("the right O twice", asks("/O=system:nodes/O=system:nodes/CN=system:node:node-1"), WrongGroup, true),
        ("an O with a blank behind it", asks("/O=system:nodes /CN=system:node:node-1"), WrongGroup, true),
        ("an O in upper case", asks("/O=System:Nodes/CN=system:node:node-1"), WrongGroup, true),
        ("an OU", asks("/O=system:nodes/OU=x/CN=system:node:node-1"), WrongSubject, true),
        (
            "an e-mail address in the subject",
            asks("/O=system:nodes/CN=system:node:node-1/emailAddress=a@b"),
            WrongSubject,
            true,
        ),
        ("the prefix alone", asks("/O=system:nodes/CN=system:node:"), WrongSubject, true),
        ("another CN", asks("/O=system:nodes/CN=system:kube-scheduler"), WrongSubject, true),
        ("no CN", asks("/O=system:nodes"), WrongSubject, true),
        ("two CNs", asks("/O=system:nodes/CN=system:node:node-1/CN=system:node:node-3"), WrongSubject, true),
        ("two equal CNs", asks("/O=system:nodes/CN=system:node:node-1/CN=system:node:node-1"), WrongSubject, true),
        ("an admin before the node", asks("/O=system:nodes/CN=admin/CN=system:node:node-1"), WrongSubject, true),
        ("a name in upper case", asks("/O=system:nodes/CN=system:node:NODE-1"), WrongSubject, true),
        ("a trailing blank", asks("/O=system:nodes/CN=system:node:node-1 "), WrongSubject, true),
        ("a leading blank", asks("/O=system:nodes/CN= system:node:node-1"), WrongSubject, true),
        ("a trailing newline", asks("/O=system:nodes/CN=system:node:node-1\n"), WrongSubject, true),
        ("a trailing dot", asks("/O=system:nodes/CN=system:node:node-1."), NotInInventory, true),
        ("a look-alike letter", asks("/O=system:nodes/CN=system:node:nоde-1"), WrongSubject, true),
        ("a trailing NUL", join(patched(&good, b"node-1", b"node-\0")), BadSignature, true),
        ("a trailing NUL, signed", join(with_nul()), WrongSubject, true),
        ("the prefix of a name", asks("/O=system:nodes/CN=system:node:node-"), NotInInventory, true),
        ("an extra DNS name", join(extended("subjectAltName=DNS:node-1")), ExtraSan, true),
        ("an extra address", join(extended("subjectAltName=IP:10.0.1.1")), ExtraSan, true),
        ("an extra URI", join(extended("subjectAltName=URI:spiffe://x/y")), ExtraSan, true),
        ("an extra e-mail address", join(extended("subjectAltName=email:a@b")), ExtraSan, true),
        ("an other name", join(extended("subjectAltName=otherName:1.2.3.4;UTF8:x")), ExtraSan, true),
        ("a CA", join(extended("basicConstraints=critical,CA:TRUE")), ExtraExtension, true),
        ("an unknown extension", join(extended("1.2.3.4=DER:0500")), ExtraExtension, true),
        (
            "another signer",
            SigningRequest { signer: "kubernetes.io/kube-apiserver-client".into(), ..plain() },
            WrongSigner,
            true,
        ),
        (
            "the legacy signer",
            SigningRequest { signer: "kubernetes.io/legacy-unknown".into(), ..plain() },
            WrongSigner,
            true,
        ),
        ("a stranger", SigningRequest { username: "mallory".into(), ..plain() }, WrongRequester, true),
        (
            "our user in other groups",
            SigningRequest { groups: words(&["system:masters"]), ..plain() },
            WrongRequester,
            true,
        ),
        (
            "our user in one group more",
            {
                let groups = words(&["system:kubelet-bootstrap", "system:authenticated", "system:masters"]);
                SigningRequest { groups, ..plain() }
            },
            WrongRequester,
            true,
        ),
        (
            "a bootstrap token that is not ours",
            {
                let groups = words(&["system:bootstrappers", "system:authenticated"]);
                SigningRequest { username: "system:bootstrap:abcdef".into(), groups, ..plain() }
            },
            WrongRequester,
            true,
        ),
        (
            "somebody called like a node",
            {
                let groups = words(&["system:authenticated"]);
                SigningRequest { groups, ..renewal(f.of_node("node-2"), "node-2") }
            },
            WrongRequester,
            true,
        ),
        (
            "a node in one group more",
            {
                let groups = words(&["system:nodes", "system:masters"]);
                SigningRequest { groups, ..renewal(f.of_node("node-2"), "node-2") }
            },
            WrongRequester,
            true,
        ),
        (
            "key encipherment with EC",
            { SigningRequest { usages: words(&["digital signature", "key encipherment", "client auth"]), ..plain() } },
            WrongUsages,
            true,
        ),
        (
            "server auth as well",
            { SigningRequest { usages: words(&["digital signature", "client auth", "server auth"]), ..plain() } },
            WrongUsages,
            true,
        ),
        (
            "server auth instead",
            SigningRequest { usages: words(&["digital signature", "server auth"]), ..plain() },
            WrongUsages,
            true,
        ),
        (
            "cert sign",
            SigningRequest { usages: words(&["digital signature", "client auth", "cert sign"]), ..plain() },
            WrongUsages,
            true,
        ),
        ("too few usages", SigningRequest { usages: words(&["client auth"]), ..plain() }, WrongUsages, true),
        (
            "a usage twice",
            { SigningRequest { usages: words(&["digital signature", "client auth", "client auth"]), ..plain() } },
            WrongUsages,
            true,
        ),
        ("no usages", SigningRequest { usages: vec![], ..plain() }, WrongUsages, true),
        ("ten years", SigningRequest { expiration_seconds: Some(315_360_000), ..plain() }, LongLived, true),
        ("RSA of 16,384 bits", join(HUGE_RSA), WeakKey, true),
        ("RSA of 1,024 bits", join(f.request("weak", &subject("node-1"), None)), WeakKey, true),
        ("a broken signature", join(broken), BadSignature, true),
        ("two blocks", join(twice), BadRequest, true),
        ("text around the block", join(format!("hello\n{good}")), BadRequest, true),
        ("trailing bytes", join(with_trailing_bytes(&good)), BadRequest, true),
        ("another label", join(good.replace("CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST")), BadRequest, true),
        ("a certificate", join(forge().0.read("ca.pem")), BadRequest, true),
        ("nothing", join(""), BadRequest, true),
        ("a megabyte", join(vec![b'A'; 1 << 20]), BadRequest, true),
        ("before --since", SigningRequest { created: ago(61), ..plain() }, TooOld, false),
        ("in the future", SigningRequest { created: ago(-6), ..plain() }, InTheFuture, false),
        ("serving for another node", serving_with("subjectAltName=DNS:node-1"), ExtraSan, true),
        ("serving for another address", serving_with("subjectAltName=DNS:node-2,IP:10.0.1.1"), ExtraSan, true),
        (
            "serving for the apiserver",
            serving_with("subjectAltName=DNS:node-2,DNS:kubernetes.default.svc"),
            ExtraSan,
            true,
        ),
        ("serving for a wildcard", serving_with("subjectAltName=DNS:*"), ExtraSan, true),
        ("serving for a mapped address", serving_with("subjectAltName=DNS:node-2,IP:::ffff:10.0.1.2"), ExtraSan, true),
        ("serving for nobody", serving(f.of_node("node-2"), "node-2"), ExtraSan, true),
        ("serving with a URI", serving_with("subjectAltName=DNS:node-2,URI:https://x"), ExtraSan, true),
        (
            "serving, asked for with the token",
            {
                let ours = serving(f.request("p256", &subject("node-1"), Some("subjectAltName=DNS:node-1")), "node-1");
                SigningRequest { username: plain().username, groups: plain().groups, ..ours }
            },
            WrongRequester,
            true,
        ),
        (
            "serving, asked for by another node",
            { serving(f.request("p256", &subject("node-1"), Some("subjectAltName=DNS:node-1")), "node-2") },
            WrongRequester,
            true,
        ),
        (
            "serving with client auth",
            {
                let usages = words(&["digital signature", "server auth", "client auth"]);
                SigningRequest { usages, ..serving_with("subjectAltName=DNS:node-2") }
            },
            WrongUsages,
            true,
        ),
    ]
}

/// The PEM with `from` replaced in its DER.
fn patched(pem: &str, from: &[u8], to: &[u8]) -> String {
    let mut der = pki_support::der(pem);
    let at = der.windows(from.len()).position(|window| window == from).unwrap();
    der[at..at + to.len()].copy_from_slice(to);
    rendered(der)
}

fn flip_signature(pem: &str) -> String {
    let mut der = pki_support::der(pem);
    *der.last_mut().unwrap() ^= 1;
    rendered(der)
}

fn with_trailing_bytes(pem: &str) -> String {
    let mut der = pki_support::der(pem);
    der.extend([0, 0]);
    rendered(der)
}

fn rendered(der: Vec<u8>) -> String {
    let lf = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    pem::encode_config(&pem::Pem::new("CERTIFICATE REQUEST", der), lf)
}

/// openssl's command line ends at a NUL.
fn with_nul() -> String {
    named("system:node:node-1\0", "system:nodes")
}

fn named(common_name: &str, organization: &str) -> String {
    static KEY: OnceLock<rcgen::KeyPair> = OnceLock::new();
    let key = KEY.get_or_init(|| rcgen::KeyPair::generate().unwrap());
    let mut parameters = rcgen::CertificateParams::default();
    parameters.distinguished_name = rcgen::DistinguishedName::new();
    parameters.distinguished_name.push(rcgen::DnType::OrganizationName, organization);
    parameters.distinguished_name.push(rcgen::DnType::CommonName, common_name);
    parameters.serialize_request(key).unwrap().pem().unwrap().replace("\r\n", "\n")
}

#[test]
fn of_hostile_requests_beside_good_ones_exactly_the_good_ones_are_approved() {
    let (expectations, nodes) = world();
    let (good, hostile) = (good(), hostile());
    let all = good.iter().map(|(_, request)| request).chain(hostile.iter().map(|(_, request, ..)| request));
    let cluster = MemoryCluster::new(nodes, all.cloned().collect());
    let judged = approve_expected(&cluster, &expectations).unwrap();
    let of = |n: usize| judged.iter().find(|entry| entry.uid == format!("uid-{n}")).unwrap();

    for (n, (what, _)) in good.iter().enumerate() {
        assert!(matches!(of(n).outcome, Outcome::Approved), "{what}: {:?}", of(n));
        assert_eq!(cluster.state(n), RequestState::Approved, "{what}");
    }
    for (n, (what, _, wanted, is_hostile)) in hostile.iter().enumerate() {
        let entry = of(good.len() + n);
        assert_eq!(reason(entry), wanted.code(), "{what}: {entry:?}");
        assert_eq!(matches!(entry.verdict, Verdict::Deny { .. }), *is_hostile, "{what}: {entry:?}");
        assert_eq!(cluster.state(good.len() + n), RequestState::Pending, "{what}");
        let (_, detail) = entry.reason().unwrap();
        assert!(!detail.chars().any(kubemint::secret::is_unprintable), "{what}: {detail:?}");
    }
}

#[test]
fn with_deny_the_hostile_ones_are_denied_and_the_doubtful_ones_are_not() {
    let (expectations, nodes) = world();
    let hostile = hostile();
    let cluster = MemoryCluster::new(nodes, hostile.iter().map(|(_, request, ..)| request.clone()).collect());
    approve_expected(&cluster, &Expectations { hostile: Hostile::Deny, ..expectations }).unwrap();
    for (n, (what, .., is_hostile)) in hostile.iter().enumerate() {
        let wanted = if *is_hostile { RequestState::Denied } else { RequestState::Pending };
        assert_eq!(cluster.state(n), wanted, "{what}");
    }
}

#[test]
fn other_peoples_requests_are_not_denied() {
    let f = forge();
    let stranger = |request: SigningRequest| SigningRequest { username: "jane".to_owned(), ..request };
    let person = stranger(join(f.request("p256", "/O=developers/CN=jane", None)));
    let cluster = MemoryCluster::new(
        vec![],
        vec![
            SigningRequest { signer: "kubernetes.io/kube-apiserver-client".into(), ..person.clone() },
            SigningRequest {
                signer: "example.net/mesh".into(),
                request: b"not even a request".into(),
                ..person.clone()
            },
            person,
            // A node that some other inventory knows.
            stranger(join(f.of_node("elsewhere-1"))),
            renewal(f.of_node("elsewhere-1"), "elsewhere-1"),
            SigningRequest { signer: "example.net/mesh".into(), ..renewal(f.of_node("node-1"), "node-1") },
        ],
    );
    let judged = approve_expected(&cluster, &Expectations { hostile: Hostile::Deny, ..expectations() }).unwrap();
    let reasons: Vec<_> = judged.iter().map(reason).collect();
    assert_eq!(
        reasons,
        ["wrong_signer", "wrong_signer", "wrong_subject", "not_in_inventory", "not_in_inventory", "wrong_signer"]
    );
    assert!(judged.iter().all(|entry| matches!(entry.outcome, Outcome::Left)), "{judged:?}");
    assert!((0..6).all(|n| cluster.state(n) == RequestState::Pending));
}

#[test]
fn two_keys_that_ask_for_one_node_are_both_left() {
    let f = forge();
    let other = f.request("other", &subject("node-1"), None);
    let cluster = MemoryCluster::new(
        vec![],
        vec![join(f.of_node("node-1")), join(other), join(f.of_node("node-3")), join(f.of_node("node-3"))],
    );
    let judged = approve_expected(&cluster, &Expectations { hostile: Hostile::Deny, ..expectations() }).unwrap();
    let reasons: Vec<_> = judged.iter().map(reason).collect();
    assert_eq!(reasons, ["ambiguous", "ambiguous", "none", "none"]);
    assert_eq!([0, 1].map(|n| cluster.state(n)), [RequestState::Pending; 2]);
    assert_eq!([2, 3].map(|n| cluster.state(n)), [RequestState::Approved; 2]);
}

#[test]
fn a_key_that_comes_after_another_was_granted_is_left_even_before_the_node_registers() {
    let f = forge();
    let first = SigningRequest { state: RequestState::Approved, created: ago(5), ..join(f.of_node("node-1")) };
    let other = f.request("other", &subject("node-1"), None);
    let late = |pem: String| MemoryCluster::new(vec![], vec![first.clone(), join(pem)]);

    let judged = approve_expected(&late(other.clone()), &expectations()).unwrap();
    assert_eq!(reason(&judged[0]), "already_joined", "{judged:?}");
    // The same key: the kubelet started again before it had its certificate.
    let judged = approve_expected(&late(f.of_node("node-1")), &expectations()).unwrap();
    assert_eq!(reason(&judged[0]), "none", "{judged:?}");

    let come_back =
        |since| Expectations { rebootstrapped: BTreeSet::from(["node-1".to_owned()]), since, ..expectations() };
    let judged = approve_expected(&late(other.clone()), &come_back(ago(60))).unwrap();
    assert_eq!(reason(&judged[0]), "already_joined", "one key for each return: {judged:?}");
    let judged = approve_expected(&late(other), &come_back(ago(2))).unwrap();
    assert_eq!(reason(&judged[0]), "none", "{judged:?}");
}

#[test]
fn a_joined_node_may_come_back_where_that_is_expected() {
    let request = join(forge().of_node("node-2"));
    let nodes = || vec![node("node-2")];
    let expected = Expectations { rebootstrapped: BTreeSet::from(["node-2".to_owned()]), ..expectations() };
    let cluster = MemoryCluster::new(nodes(), vec![request.clone()]);
    approve_expected(&cluster, &expected).unwrap();
    assert_eq!(cluster.state(0), RequestState::Approved);
    // Another one's return opens nothing.
    let expected = Expectations { rebootstrapped: BTreeSet::from(["node-1".to_owned()]), ..expectations() };
    let cluster = MemoryCluster::new(nodes(), vec![request]);
    approve_expected(&cluster, &expected).unwrap();
    assert_eq!(cluster.state(0), RequestState::Pending);
}

/// The key that a request is signed with.
fn key_of(pem: &str) -> Digest {
    kubemint::pki::parse_request(pem).unwrap().spki_sha256
}

#[test]
fn where_a_nodes_key_is_known_no_other_will_do() {
    let f = forge();
    let (own, other) = (f.of_node("node-1"), f.request("other", &subject("node-1"), None));
    let with = |key| Expectations { keys: BTreeMap::from([("node-1".to_owned(), key)]), ..expectations() };
    let cluster = MemoryCluster::new(vec![], vec![join(other.clone()), join(own.clone()), join(f.of_node("node-3"))]);
    let judged = approve_expected(&cluster, &with(Some(key_of(&own)))).unwrap();
    assert_eq!(judged.iter().map(reason).collect::<Vec<_>>(), ["other_key", "none", "none"]);
    assert!(matches!(judged[0].verdict, Verdict::Leave { .. }), "{judged:?}");
    let (_, detail) = judged[0].reason().unwrap();
    assert!([&own, &other].iter().all(|pem| detail.contains(&key_of(pem).to_string())), "{detail}");
    assert_eq!(
        [0, 1, 2].map(|n| cluster.state(n)),
        [RequestState::Pending, RequestState::Approved, RequestState::Approved]
    );
    // A node that asks with none is not granted what others ask in its name.
    let cluster = MemoryCluster::new(vec![], vec![join(own)]);
    let judged = approve_expected(&cluster, &with(None)).unwrap();
    assert_eq!((reason(&judged[0]), cluster.state(0)), ("other_key", RequestState::Pending));
}

#[test]
fn a_request_that_is_put_in_the_place_of_the_one_judged_is_not_approved() {
    let own = forge().of_node("node-1");
    let expected = Expectations { keys: BTreeMap::from([("node-1".to_owned(), Some(key_of(&own)))]), ..expectations() };
    let swap = |request: &mut SigningRequest| {
        request.request = forge().request("other", &subject("node-1"), None).into_bytes();
    };
    let cluster = MemoryCluster::new(vec![], vec![join(own)]);
    let cluster = MemoryCluster { meddling: Mutex::new(1), meddler: swap, ..cluster };
    let judged = approve_expected(&cluster, &expected).unwrap();
    assert_eq!((reason(&judged[0]), cluster.state(0)), ("other_key", RequestState::Pending));
}

#[test]
fn serving_certificates_and_nodes_left_out_wait_until_they_are_asked_for() {
    let f = forge();
    let pem = f.request("p256", &subject("node-2"), Some("subjectAltName=DNS:node-2"));
    assert_eq!(code(&judge(&serving(pem, "node-2"), &expectations())), "serving_not_asked");
    let only = expectations().only(&BTreeSet::from(["node-1".to_owned()]));
    assert_eq!(code(&judge(&join(f.of_node("node-3")), &only)), "not_selected");
    assert_eq!(code(&judge(&join(f.of_node("node-1")), &only)), "none");
}

fn code(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Approve { .. } => "none",
        Verdict::Leave { reason, .. } | Verdict::Deny { reason, .. } => reason.code(),
    }
}

#[test]
fn a_token_of_one_node_asks_for_that_node_only() {
    let mut expected = expectations();
    expected.requesters[0].scope = Scope::Only(BTreeSet::from(["node-1".to_owned()]));
    assert_eq!(code(&judge(&join(forge().of_node("node-1")), &expected)), "none");
    assert_eq!(code(&judge(&join(forge().of_node("node-3")), &expected)), "wrong_requester");
}

#[test]
fn the_holder_of_our_bootstrap_secret_may_ask() {
    let secret = BootstrapSecret {
        id: "abcdef".to_owned(),
        expiration: None,
        authenticates: true,
        groups: words(&["system:bootstrappers:ours"]),
    };
    let expected = Expectations { requesters: vec![Requester::of_secret(&secret)], ..expectations() };
    let with = |groups: &[&str]| SigningRequest {
        username: "system:bootstrap:abcdef".to_owned(),
        groups: words(groups),
        ..join(forge().of_node("node-1"))
    };
    let own = ["system:bootstrappers", "system:bootstrappers:ours", "system:authenticated"];
    assert_eq!(code(&judge(&with(&own), &expected)), "none");
    assert_eq!(code(&judge(&with(&own[..1]), &expected)), "wrong_requester");
    assert_eq!(code(&judge(&join(forge().of_node("node-1")), &expected)), "wrong_requester");
}

#[test]
fn what_changed_since_it_was_judged_is_judged_anew_once() {
    let requests = || vec![join(forge().of_node("node-1"))];
    // Touched only: approved on the second try.
    let cluster = MemoryCluster { meddling: 1.into(), ..MemoryCluster::new(vec![], requests()) };
    let judged = approve_expected(&cluster, &expectations()).unwrap();
    assert!(matches!(judged[0].outcome, Outcome::Approved), "{judged:?}");
    assert_eq!(cluster.state(0), RequestState::Approved);
    // Made into something else: judged as what it is now.
    let turn = |request: &mut SigningRequest| request.usages.push("server auth".to_owned());
    let cluster = MemoryCluster { meddling: 1.into(), meddler: turn, ..MemoryCluster::new(vec![], requests()) };
    let judged = approve_expected(&cluster, &expectations()).unwrap();
    assert_eq!((reason(&judged[0]), cluster.state(0)), ("wrong_usages", RequestState::Pending));
    // Decided by somebody else.
    let decide = |request: &mut SigningRequest| request.state = RequestState::Denied;
    let cluster = MemoryCluster { meddling: 1.into(), meddler: decide, ..MemoryCluster::new(vec![], requests()) };
    let judged = approve_expected(&cluster, &expectations()).unwrap();
    assert_eq!(reason(&judged[0]), "already_decided");
    // Touched again and again: left.
    let cluster = MemoryCluster { meddling: 9.into(), ..MemoryCluster::new(vec![], requests()) };
    let judged = approve_expected(&cluster, &expectations()).unwrap();
    assert_eq!((reason(&judged[0]), cluster.state(0)), ("changed", RequestState::Pending));
    assert_eq!(*cluster.tried.lock().unwrap(), 2);
}

#[test]
fn an_apiserver_that_takes_no_decision_is_not_asked_for_the_next() {
    let requests = vec![join(forge().of_node("node-1")), join(forge().of_node("node-3"))];
    let mut cluster = MemoryCluster::new(vec![], requests);
    cluster.refusal =
        Some(Error::Forbidden { server: "https://10.0.0.1:6443".parse().unwrap(), reason: "no".to_owned() });
    let judged = approve_expected(&cluster, &expectations()).unwrap();
    assert!(judged.iter().all(|entry| matches!(entry.outcome, Outcome::Failed(_))), "{judged:?}");
    assert_eq!(*cluster.tried.lock().unwrap(), 1);
}

/// Names near those of the inventory, and anything else.
fn names() -> impl Strategy<Value = String> {
    let near = prop_oneof![Just("node-1"), Just("node-3"), Just("cp-1"), Just("four.example.net"), Just("")];
    let affix = prop_oneof![3 => Just(String::new()), 2 => ".{0,3}", 1 => "[ \\n\\t.,/=]{1,2}"];
    let prefix = prop_oneof![
        4 => Just("system:node:".to_owned()),
        1 => Just(String::new()),
        1 => Just("System:Node:".to_owned()),
        1 => ".{0,12}"
    ];
    (prefix, affix.clone(), near, affix).prop_map(|(prefix, before, name, after)| prefix + &before + name + &after)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn nothing_but_an_exact_node_name_of_the_inventory_is_ever_approved(
        cn in names(),
        organization in prop_oneof![6 => Just("system:nodes".to_owned()), 1 => ".{1,8}"],
        user in prop_oneof![4 => Just("kubelet-bootstrap".to_owned()), 1 => names(), 1 => ".{0,8}"],
        usages in prop_oneof![4 => Just(words(&["digital signature", "client auth"])),
                              1 => proptest::collection::vec("[a-z ]{0,20}", 0..4)],
    ) {
        let request = SigningRequest { username: user.clone(), usages: usages.clone(), ..join(named(&cn, &organization)) };
        let is_expected = ["node-1", "node-2", "node-3", "node-4"].iter().any(|name| cn == format!("system:node:{name}"))
            && organization == "system:nodes"
            && user == "kubelet-bootstrap"
            && usages == words(&["digital signature", "client auth"]);
        let verdict = judge(&request, &expectations());
        prop_assert_eq!(matches!(verdict, Verdict::Approve { .. }), is_expected, "{:?} {:?}", cn, verdict);
    }
}
