//! Reading certificates, with openssl as the judge of what they say; and chains, right and wrong.

#![allow(clippy::unwrap_used)]

mod pki_support;

use jiff::{SignedDuration, Timestamp};
use kubemint::pki::{
    self, Algorithm, Authority, CertificateError, ChainError, parse_certificate, parse_certificates, verify_chain,
};
use pki_support::*;
use proptest::prelude::*;

#[test]
fn what_a_certificate_says_is_what_openssl_prints() {
    let shop = Workshop::new();
    for pair in [cfssl_like(&shop), sec1(&shop), shop.ca_with(ED25519, "/O=a/O=b/CN=c", "ca", "-set_serial 0x0a1b")] {
        shop.write("ca.pem", &pair.certificate);
        let info = parse_certificate(&pair.certificate).unwrap();
        let field = |option: &str| {
            let printed = shop.openssl(&format!("x509 -in ca.pem -noout {option}"));
            printed.trim().split_once('=').unwrap().1.trim().to_owned()
        };
        assert_eq!(info.serial, field("-serial"));
        assert_eq!(info.subject, field("-subject -nameopt oneline,-space_eq,-esc_msb,utf8"));
        assert_eq!(info.issuer, field("-issuer -nameopt oneline,-space_eq,-esc_msb,utf8"));
        assert_eq!(info.sha256.to_string().to_uppercase(), field("-fingerprint -sha256").replace(':', ""));
        assert_eq!(info.not_before.strftime("%F %TZ").to_string(), field("-startdate -dateopt iso_8601"));
        assert_eq!(info.not_after.strftime("%F %TZ").to_string(), field("-enddate -dateopt iso_8601"));
        assert!(info.is_ca);
        // The pin, by kubeadm's documented recipe.
        shop.write("pub.pem", shop.openssl("x509 -in ca.pem -noout -pubkey"));
        shop.openssl("pkey -pubin -in pub.pem -outform DER -out pub.der");
        let pin = shop.openssl("dgst -sha256 -hex pub.der");
        assert!(pin.trim().ends_with(&info.spki_sha256.to_string()), "{pin}");
    }
}

#[test]
fn names_reach_kubernetes_as_user_and_groups() {
    let shop = Workshop::new();
    let pair = shop.ca_with(P256, "/O=one/CN=first/O=two/CN=last", "ca", "");
    let info = parse_certificate(&pair.certificate).unwrap();
    assert_eq!(info.organizations, ["one", "two"]);
    // Go keeps the last CN (crypto/x509/pkix, FillFromRDNSequence).
    assert_eq!(info.common_name.as_deref(), Some("last"));
    assert_eq!(info.subject, "O=one, CN=first, O=two, CN=last");
    let info = parse_certificate(shop.self_sign("/O=nobody", "ca", "").certificate).unwrap();
    assert_eq!(info.common_name, None);
}

#[test]
fn a_hostile_name_cannot_reach_the_terminal() {
    let shop = Workshop::new();
    let pair = shop.ca_with(P256, "/CN=\u{1b}[31mred\u{7}\u{9b}\u{202e}/O=a\u{a0}b,c", "ca", "-utf8");
    let info = parse_certificate(&pair.certificate).unwrap();
    assert_eq!(info.subject, r"CN=\1B[31mred\07\C2\9B\E2\80\AE, O=a b\,c");
    let json = serde_json::to_string(&info).unwrap();
    let printed = format!("{info:?}{json}{:?}", info.common_name);
    assert!(!printed.chars().any(|c| c.is_control() || c == '\u{202e}'), "{printed}");
}

#[test]
fn an_endless_name_is_cut() {
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, "ß".repeat(100_000));
    let certificate = params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap();
    let subject = parse_certificate(certificate.pem()).unwrap().subject;
    assert_eq!(subject.chars().count(), 513);
    assert!(subject.ends_with("ß…"), "{subject}");
}

#[test]
fn json_has_the_human_fields_only() {
    let (_, info) = chain();
    let json: serde_json::Value = serde_json::to_value(&info).unwrap();
    let keys: Vec<_> = json.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(
        keys,
        [
            "algorithm",
            "common_name",
            "extended_usages",
            "is_ca",
            "issuer",
            "not_after",
            "not_before",
            "organizations",
            "serial",
            "sha256",
            "spki_sha256",
            "subject"
        ]
    );
    assert_eq!(json["subject"], "O=system:node-proxier, CN=system:kube-proxy");
    assert_eq!(json["not_after"], info.not_after.to_string());
}

#[test]
fn days_left_are_whole_days_rounded_down() {
    let (_, info) = chain();
    let left = |offset: SignedDuration| info.days_left(info.not_after + offset);
    assert_eq!(left(SignedDuration::from_hours(-48)), 2);
    assert_eq!(left(SignedDuration::from_hours(-47)), 1);
    assert_eq!(left(SignedDuration::from_secs(-1)), 0);
    assert_eq!(left(SignedDuration::ZERO), 0);
    assert_eq!(left(SignedDuration::from_secs(1)), -1);
    assert!(info.is_valid_at(info.not_after) && info.is_valid_at(info.not_before));
    assert!(!info.is_valid_at(info.not_after + SignedDuration::from_secs(1)));
    assert!(!info.is_valid_at(info.not_before - SignedDuration::from_secs(1)));
}

#[test]
fn a_bundle_is_read_whole() {
    let (a, b) = (new_authority(Algorithm::EcdsaP256), new_authority(Algorithm::Ed25519));
    let bundle = format!("# old\n{}# new\n{}", a.certificate_pem(), b.certificate_pem());
    let all = parse_certificates(&bundle).unwrap();
    assert_eq!(all, [a.certificate().clone(), b.certificate().clone()]);
    assert_eq!(parse_certificate(&bundle).unwrap_err(), CertificateError::Several { count: 2 });
    let damaged = bundle.replace("# new\n-----BEGIN CERTIFICATE-----\nM", "-----BEGIN CERTIFICATE-----\nN");
    assert!(parse_certificates(damaged).is_err());
}

/// A CA and what a certificate under it says.
fn chain() -> (Authority, pki::CertificateInfo) {
    let authority = new_authority(Algorithm::EcdsaP256);
    let info = issue(&authority, Algorithm::EcdsaP256).info;
    (authority, info)
}

#[test]
fn chains_hold_for_every_algorithm_of_the_ca() {
    for algorithm in Algorithm::ALL.into_iter().filter(|a| *a != Algorithm::Rsa4096) {
        let authority = new_authority(algorithm);
        let issued = issue(&authority, Algorithm::EcdsaP256);
        verify_chain(&issued.certificate_pem, authority.certificate_pem(), Timestamp::now()).unwrap();
    }
}

#[test]
fn chains_hold_for_every_hash_openssl_signs_with() {
    let shop = Workshop::new();
    for key in [RSA, P256, P384, P521] {
        for hash in ["-sha256", "-sha384", "-sha512"] {
            let ca = shop.ca_with(key, "/CN=ca", "ca", "");
            shop.openssl("req -new -config openssl.cnf -key ca-key.pem -subj /CN=leaf -out leaf.csr");
            shop.openssl(&format!(
                "x509 -req -in leaf.csr -CA ca.pem -CAkey ca-key.pem -extfile openssl.cnf -extensions leaf {hash} -out leaf.pem"
            ));
            let verdict = verify_chain(shop.read("leaf.pem"), &ca.certificate, Timestamp::now());
            assert_eq!(verdict, Ok(()), "{key} {hash}");
            // The last byte of the signature.
            let mut bytes = der(&shop.read("leaf.pem"));
            *bytes.last_mut().unwrap() ^= 1;
            let broken = pem::encode(&pem::Pem::new("CERTIFICATE", bytes));
            let verdict = verify_chain(broken, &ca.certificate, Timestamp::now());
            assert!(matches!(verdict, Err(ChainError::BadSignature { .. })), "{key} {hash}: {verdict:?}");
        }
    }
}

#[test]
fn every_broken_chain_has_its_own_reason() {
    let now = Timestamp::now();
    let ca = new_authority(Algorithm::EcdsaP256);
    let leaf = issue(&ca, Algorithm::EcdsaP256);
    let verdict = |leaf: &str, ca: &str, now| verify_chain(leaf, ca, now).unwrap_err();
    let shift = |hours| now + SignedDuration::from_hours(hours);

    let same_name = new_authority(Algorithm::EcdsaP256);
    let error = verdict(&leaf.certificate_pem, same_name.certificate_pem(), now);
    assert!(matches!(error, ChainError::OtherKey { .. }), "{error:?}");
    let other_name = Workshop::new().ca_with(P256, "/CN=other", "ca", "");
    let error = verdict(&leaf.certificate_pem, &other_name.certificate, now);
    assert!(matches!(error, ChainError::OtherIssuer { .. }), "{error:?}");
    assert!(matches!(
        verdict(&leaf.certificate_pem, ca.certificate_pem(), shift(366 * 24)),
        ChainError::Expired { .. }
    ));
    assert!(matches!(verdict(&leaf.certificate_pem, ca.certificate_pem(), shift(-1)), ChainError::NotYetValid { .. }));
    assert!(matches!(verdict("", ca.certificate_pem(), now), ChainError::Certificate(_)));
    assert!(matches!(verdict(&leaf.certificate_pem, "", now), ChainError::Authority(_)));

    let shop = Workshop::new();
    let root = shop.ca_with(P256, "/CN=root", "leaf", "");
    assert!(matches!(verdict(&root.certificate, &root.certificate, now), ChainError::NotCa { .. }));
}

#[test]
fn a_forged_signature_is_found() {
    // Same name and same key identifier, another key: only the signature tells them apart.
    let shop = Workshop::new();
    let real = shop.ca_with(P256, "/CN=odd", "odd_ski", "");
    let forged = shop.ca_with(P256, "/CN=odd", "odd_ski", "");
    let leaf = issue(&forged.import().unwrap(), Algorithm::EcdsaP256);
    verify_chain(&leaf.certificate_pem, &forged.certificate, Timestamp::now()).unwrap();
    let error = verify_chain(&leaf.certificate_pem, &real.certificate, Timestamp::now()).unwrap_err();
    assert!(matches!(error, ChainError::BadSignature { .. }), "{error:?}");
}

#[test]
fn an_old_signature_algorithm_is_named_not_trusted() {
    let shop = Workshop::new();
    let md5 = shop.ca_with(RSA, "/CN=old", "ca", "-md5");
    let error = verify_chain(&md5.certificate, &md5.certificate, Timestamp::now()).unwrap_err();
    assert!(matches!(error, ChainError::UnsupportedSignature { .. }), "{error:?}");
}

/// Everything that reads foreign bytes, at once. It may refuse; it may not panic.
fn feed(certificate: &[u8], key: &[u8]) {
    let now = Timestamp::UNIX_EPOCH;
    let _ = parse_certificates(certificate).map(|all| all.iter().map(|info| info.days_left(now)).collect::<Vec<_>>());
    let _ = verify_chain(certificate, certificate, now);
    let _ = Authority::from_certificate(certificate, Timestamp::now());
    if let Ok(key) = pki::decode_key_file(key.to_vec()) {
        let _ = pki::key_matches(certificate, &key);
        let _ = Authority::import(certificate, &key, Timestamp::now());
    }
}

/// `der` with some bytes replaced, inserted or cut, as a PEM block.
fn mutated(label: &str, der: &[u8], edits: &[(prop::sample::Index, u8, u8)]) -> String {
    let mut bytes = der.to_vec();
    for (at, kind, value) in edits {
        if bytes.is_empty() {
            break;
        }
        let at = at.index(bytes.len());
        match kind % 3 {
            0 => bytes[at] = *value,
            1 => bytes.insert(at, *value),
            _ => drop(bytes.remove(at)),
        }
    }
    pem::encode(&pem::Pem::new(label, bytes))
}

fn edits() -> impl Strategy<Value = Vec<(prop::sample::Index, u8, u8)>> {
    prop::collection::vec(any::<(prop::sample::Index, u8, u8)>(), 1..6)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        feed(&bytes, &bytes);
        let block = |label: &str| pem::encode(&pem::Pem::new(label, bytes.clone()));
        for label in ["PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY"] {
            feed(block("CERTIFICATE").as_bytes(), block(label).as_bytes());
        }
    }

    #[test]
    fn arbitrary_pem_like_text_never_panics(text in r"(-{4,6}(BEGIN|END) (X|CERTIFICATE|PRIVATE KEY)?-{4,6}|[A-Za-z0-9+/=]{1,9}|:|\r?\n| ){0,30}") {
        feed(text.as_bytes(), text.as_bytes());
    }
}

#[test]
fn mutated_certificates_and_keys_never_panic_and_never_pass_for_the_original() {
    let shop = Workshop::new();
    let pairs = [cfssl_like(&shop), sec1(&shop), shop.ca_with(ED25519, "/O=a/CN=b", "cfssl", "")];
    for pair in pairs {
        let (ca, key_block) = (der(&pair.certificate), pem::parse_many(&pair.key).unwrap().pop().unwrap());
        let leaf = der(&issue(&pair.import().unwrap(), Algorithm::EcdsaP256).certificate_pem);
        let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
            cases: 1000,
            failure_persistence: None,
            ..ProptestConfig::default()
        });
        runner
            .run(&(edits(), edits()), |(for_certificate, for_key)| {
                let certificate = mutated("CERTIFICATE", &ca, &for_certificate);
                let key = mutated(key_block.tag(), key_block.contents(), &for_key);
                feed(certificate.as_bytes(), key.as_bytes());
                feed(pair.certificate.as_bytes(), key.as_bytes());
                let changed = mutated("CERTIFICATE", &leaf, &for_certificate);
                if der(&changed) != leaf {
                    prop_assert!(verify_chain(&changed, &pair.certificate, Timestamp::now()).is_err());
                }
                Ok(())
            })
            .unwrap();
    }
}
