//! Go's crypto/x509, in kubectl, is the judge of what is read here: several hundred CAs and client certificates that no
//! library would write, and PEM files as people have them. KUBECTL or PATH says which kubectl.
#![allow(clippy::unwrap_used)]

mod pki_support;

use jiff::Timestamp;
use kubemint::{
    entropy::OsEntropy,
    pki::{self, Algorithm, Authority, ImportError, SignedError},
    secret::Secret,
};
use pki_support::{
    Workshop,
    cas::{self, Case},
    der::{Certificate, KEY_USAGE, Key, extension, name, oid, seq, tlv, version},
    kubectl::{Served, Verdict, judge},
    settings,
};
use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

/// What `work` makes of each, in order; kubectl waits for the network now and then, so several go at once.
fn for_each<T: Sync, R: Send>(all: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let (next, results) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::SeqCst);
                    let Some(one) = all.get(at) else { return };
                    let result = work(one);
                    results.lock().unwrap().push((at, result));
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap();
    results.sort_by_key(|(at, _)| *at);
    results.into_iter().map(|(_, result)| result).collect()
}

fn ours(case: &Case) -> Result<Authority, ImportError> {
    let key = Secret::from(case.key.pem());
    let authority = Authority::import(case.ca.pem(&case.key), &key, Timestamp::now())?;
    authority.check_server("127.0.0.1")?;
    Ok(authority)
}

#[test]
fn our_verdict_on_every_ca_is_kubectls() {
    let (cases, server) = (cas::all(), Key::p256());
    let verdicts =
        for_each(&cases, |case| judge(case.ca.pem(&case.key).as_bytes(), &Served::under(&case.ca, &case.key, &server)));
    let (mut disagreements, mut taken, mut refused, mut own) = (Vec::new(), 0, 0, 0);
    for (case, verdict) in cases.iter().zip(&verdicts) {
        let name = &case.name;
        let external = Authority::from_certificate(case.ca.pem(&case.key), Timestamp::now())
            .and_then(|authority| authority.check_server("127.0.0.1"));
        let ours = ours(case);
        assert_eq!(external.is_ok(), ours.is_ok(), "{name}: without its key it is judged otherwise");
        match (ours, verdict) {
            (Err(_), Verdict::Verified) if case.is_own_limit => own += 1,
            (Ok(authority), Verdict::Verified) => {
                // What it signs is verified before it leaves.
                let asked = settings(Algorithm::EcdsaP256);
                let issued = pki::issue_client(&authority, &pki::KUBE_PROXY, &asked, Timestamp::now(), &OsEntropy);
                issued.unwrap_or_else(|e| panic!("{name}: {e}"));
                taken += 1;
            }
            (Err(error), Verdict::Refused(_)) => {
                assert!(error.hint().is_some() && !error.to_string().contains('\n'), "{name}: {error}");
                refused += 1;
            }
            (Ok(_), Verdict::Refused(said)) => disagreements.push(format!("{name}: taken, and kubectl says {said}")),
            (Err(said), Verdict::Verified) => {
                disagreements.push(format!("{name}: kubectl verifies, and we say {said}"));
            }
        }
    }
    println!("{} CAs: both take {taken}, both refuse {refused}, limits of our own {own}", cases.len());
    assert!(disagreements.is_empty(), "{} disagreements\n{}", disagreements.len(), disagreements.join("\n"));
    assert!(taken >= 60 && refused >= 60, "the set is lopsided: {taken} taken, {refused} refused");
}

#[test]
fn what_is_refused_names_the_reason_in_words() {
    let key = Key::p256();
    let ca = || Certificate::ca(&key, "kubernetes");
    let named = |tag, text: &[u8]| {
        let name = name(&[("2.5.4.3", tag, text)]);
        Certificate { issuer: name.clone(), subject: name, ..ca() }
    };
    let constraints =
        |base: &[u8]| ca().with(extension("2.5.29.30", Some(0xff), &seq(&[&tlv(0xa0, &[&seq(&[base])])])));
    for (certificate, says) in [
        (
            ca().with(extension("2.5.29.18", Some(0xff), &[0x30, 0])),
            "critical extension issuerAltName (2.5.29.18), which Go's crypto/x509 does not handle",
        ),
        (ca().with(extension("1.2.3.4", Some(0xff), &[5, 0])), "critical extension 1.2.3.4,"),
        (
            ca().with(extension("2.5.29.14", Some(0xff), &[4, 1, 1])),
            "subjectKeyIdentifier (2.5.29.14) is marked critical",
        ),
        (
            constraints(&tlv(0xa4, &[&[0x30, 0]])),
            "name constraints of a kind that Go's crypto/x509 does not handle (directoryName)",
        ),
        (Certificate { serial: vec![0x80, 1], ..ca() }, "a negative serial number"),
        (Certificate { serial: vec![0, 1], ..ca() }, "a serial number that is not in its shortest form"),
        (named(0x13, b"my_ca"), "the character `_` in a PrintableString"),
        (named(0x1c, b"\0\0\0c"), "a UniversalString, a string type that it does not read"),
        (ca().with(extension("2.5.29.31", None, &[5, 0])), "malformed CRL distribution points"),
    ] {
        let error = Authority::import(certificate.pem(&key), &Secret::from(key.pem()), Timestamp::now()).unwrap_err();
        let text = error.to_string();
        assert!(text.contains(says), "{text}");
        assert!(text.ends_with("no kube-apiserver or kubectl accepts a certificate under this CA"), "{text}");
    }
}

/// A name, and the change that makes a certificate so.
type Oddity = (&'static str, fn(Certificate) -> Certificate);

/// What is odd about a certificate that somebody else signed.
fn oddities() -> Vec<Oddity> {
    let mut all: Vec<Oddity> = vec![
        ("nothing", |leaf| leaf),
        ("critical issuerAltName", |leaf| leaf.with(extension("2.5.29.18", Some(0xff), &[0x30, 0]))),
        ("issuerAltName", |leaf| leaf.with(extension("2.5.29.18", None, &[0x30, 0]))),
        ("critical private number", |leaf| leaf.with(extension("1.3.6.1.4.1.99999.1", Some(0xff), &[5, 0]))),
        ("critical SKI", |leaf| leaf.with(extension("2.5.29.14", Some(0xff), &[4, 1, 1]))),
        ("critical AIA", |leaf| leaf.with(extension("1.3.6.1.5.5.7.1.1", Some(0xff), &[0x30, 0]))),
        ("malformed SKI", |leaf| leaf.with(extension("2.5.29.14", None, &[5, 0]))),
        ("malformed CRL", |leaf| leaf.with(extension("2.5.29.31", None, &[5, 0]))),
        ("malformed policies", |leaf| leaf.with(extension("2.5.29.32", None, &[5, 0]))),
        ("malformed AIA", |leaf| leaf.with(extension("1.3.6.1.5.5.7.1.1", None, &[5, 0]))),
        ("critical policies", |leaf| leaf.with(extension("2.5.29.32", Some(0xff), &seq(&[&seq(&[&oid("1.2.3")])])))),
        ("a policy demanded", |leaf| leaf.with(extension("2.5.29.36", Some(0xff), &seq(&[&[0x80, 1, 0]])))),
        ("a policy demanded and given", |leaf| {
            let leaf = leaf.with(extension("2.5.29.36", Some(0xff), &seq(&[&[0x80, 1, 0]])));
            leaf.with(extension("2.5.29.32", None, &seq(&[&seq(&[&oid("1.2.3")])])))
        }),
        ("critical inhibitAnyPolicy", |leaf| leaf.with(extension("2.5.29.54", Some(0xff), &[2, 1, 0]))),
        ("a wide number", |leaf| leaf.with(extension("2.25.329800735698586629295641978511506172918", None, &[5, 0]))),
        ("an extension twice", |leaf| {
            leaf.with(extension("1.2.3", None, &[5, 0])).with(extension("1.2.3", None, &[5, 0]))
        }),
        ("a mark of 01", |leaf| leaf.with(extension("1.2.3", Some(1), &[5, 0]))),
        ("malformed key usage", |leaf| leaf.without(KEY_USAGE).with(extension(KEY_USAGE, None, &[5, 0]))),
    ];
    all.extend([
        ("negative serial", (|leaf| Certificate { serial: vec![0x81], ..leaf }) as fn(Certificate) -> Certificate),
        ("padded serial", |leaf| Certificate { serial: vec![0, 1], ..leaf }),
        ("version 4", |leaf| Certificate { version: version(3), ..leaf }),
        ("bytes behind the signature", |leaf| Certificate { after_signature: vec![5, 0], ..leaf }),
        ("algorithms that differ", |leaf| Certificate { outer_algorithm: seq(&[&oid("1.2.3")]), ..leaf }),
    ]);
    all
}

#[test]
fn our_verdict_on_a_certificate_that_somebody_signed_is_kubectls() {
    let (ca_key, key) = (Key::p256(), Key::p256());
    let ca = Certificate::ca(&ca_key, "elsewhere");
    let (ca_pem, key_pem) = (ca.pem(&ca_key), Secret::from(key.pem()));
    let oddities = oddities();
    let verdicts = for_each(&oddities, |(_, change)| {
        let certificate = change(Certificate::server(&ca, &ca_key, &key)).der(&ca_key);
        judge(ca_pem.as_bytes(), &Served { certificate, pkcs8: key.pkcs8().to_vec() })
    });
    let mut refused = 0;
    for ((what, change), verdict) in oddities.iter().zip(verdicts) {
        let leaf = change(Certificate::kube_proxy(&ca, &ca_key, &key)).pem(&ca_key);
        let ours =
            pki::check_signed(&leaf, &key_pem, &ca_pem, &pki::KUBE_PROXY, "system:node-proxier", Timestamp::now());
        assert_eq!(ours.is_ok(), verdict == Verdict::Verified, "{what}: we say {ours:?}, kubectl {verdict:?}");
        if let Err(error) = ours {
            assert!(error.hint().is_some(), "{what}");
            refused += usize::from(matches!(error, SignedError::Go(_)));
        }
    }
    assert!(refused >= 10, "only {refused} for what Go does not read");
}

#[test]
fn a_pem_block_counts_where_openssl_and_go_count_it() {
    let shop = Workshop::new();
    let (key, server, other) = (Key::p256(), Key::p256(), Key::p256());
    let ca = Certificate::ca(&key, "kubernetes");
    let (pem, old) = (ca.pem(&key), Certificate::ca(&other, "old").pem(&other));
    let indented = |text: &str, with: &str| text.lines().map(|line| format!("{with}{line}\n")).collect::<String>();
    let body = pem.lines().nth(1).unwrap();
    let files: Vec<(&str, Vec<u8>)> = vec![
        ("plain", pem.clone().into()),
        ("CRLF", pem.replace('\n', "\r\n").into()),
        ("no newline at the end", pem.trim_end().into()),
        ("blanks behind every line", pem.replace('\n', " \t\n").into()),
        ("bag attributes", format!("Bag Attributes\n    friendlyName: ca\n    localKeyID: 01 02\n{pem}").into()),
        ("Latin-1 in front", [b"friendlyName: f\xfcr k8s\n", pem.as_bytes()].concat()),
        ("Latin-1 behind", [pem.as_bytes(), b"f\xfcr k8s\n"].concat()),
        ("a remark that mentions BEGIN", format!("# below -----BEGIN CERTIFICATE----- is ours\n{pem}").into()),
        ("a remark that mentions END", format!("# until -----END CERTIFICATE-----\n{pem}").into()),
        ("a BEGIN line that goes on", format!("-----BEGIN CERTIFICATE----- of ours\n{pem}").into()),
        ("an old one commented out", (indented(&old, "# ") + &pem).into()),
        ("an old one indented", (indented(&old, "  ") + &pem).into()),
        ("quoted in a mail", (indented(&old, "> ") + &pem).into()),
        ("a lone END line", format!("-----END CERTIFICATE-----\n{pem}").into()),
        ("text of openssl", format!("Certificate:\n    Data:\n        Version: 3 (0x2)\n{pem}").into()),
        ("long lines", pem.replace(&format!("{body}\n"), body).into()),
        ("indented", indented(&pem, "    ").into()),
        ("commented out", indented(&pem, "#").into()),
        ("BEGIN in the middle of a line", format!("ca: {pem}").into()),
        ("END in the middle of a line", pem.replace("\n-----END", "-----END").into()),
        ("four dashes", pem.replace("CERTIFICATE-----", "CERTIFICATE----").into()),
        ("another END", pem.replace("END CERTIFICATE", "END X509 CERTIFICATE").into()),
        ("no END", pem.split("-----END").next().unwrap().into()),
        ("header lines", pem.replacen("-----\n", "-----\nSubject: ca\n\n", 1).into()),
        ("a character that is none of base64", pem.replacen(body, &format!("{}*", &body[1..]), 1).into()),
        ("another label", pem.replace("CERTIFICATE", "PKCS7").into()),
        ("nothing", Vec::new()),
    ];
    let verdicts = for_each(&files, |(_, file)| judge(file, &Served::under(&ca, &key, &server)) == Verdict::Verified);
    let (mut both_take, mut both_refuse) = (0, 0);
    for ((what, file), go) in files.iter().zip(verdicts) {
        shop.write("file.pem", file);
        let openssl =
            shop.try_openssl("x509 -in file.pem -noout -subject").is_ok_and(|said| said.contains("kubernetes"));
        let ours = Authority::import(file, &Secret::from(key.pem()), Timestamp::now());
        match (openssl, go) {
            (true, true) => {
                assert_eq!(ours.unwrap_or_else(|e| panic!("{what}: {e}")).certificate_pem(), pem, "{what}");
                both_take += 1;
            }
            (false, false) => {
                let error = ours.err().unwrap_or_else(|| panic!("{what}: taken"));
                assert!(error.hint().is_some(), "{what}: {error}");
                both_refuse += 1;
            }
            // Go skips a block that it cannot read and looks further; openssl takes only the first.
            (openssl, go) => println!("{what}: openssl {openssl}, Go {go}, ours {:?}", ours.map(|_| ())),
        }
    }
    println!("{} files: both take {both_take}, both refuse {both_refuse}", files.len());
    assert!(both_take >= 12 && both_refuse >= 8);
}
