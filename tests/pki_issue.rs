//! Certificates that kubemint issues, judged by openssl and rustls-webpki: every algorithm under every kind of CA.

#![allow(clippy::unwrap_used)]

mod pki_support;

use jiff::{SignedDuration, Timestamp};
use kubemint::{
    entropy::{OsEntropy, SeededEntropy},
    pki::{self, Algorithm, Authority, IssueError, Lifetime, NewAuthority},
    secret::{ExposeSecret, Secret},
};
use pki_support::*;
use std::collections::HashSet;
use x509_parser::prelude::{FromDer, X509Certificate};

/// What must be true of every kube-proxy certificate, whoever signed it.
fn assert_sound(shop: &Workshop, authority: &Authority, algorithm: Algorithm) {
    let issued = issue(authority, algorithm);
    assert_openssl_accepts(shop, authority, &issued);
    assert_well_formed(shop, authority, &issued, algorithm);
    assert_webpki_accepts(authority, &issued);
}

fn assert_well_formed(shop: &Workshop, authority: &Authority, issued: &pki::Issued, algorithm: Algorithm) {
    let (leaf_der, ca_der) = (der(&issued.certificate_pem), der(authority.certificate_pem()));
    let (_, leaf) = X509Certificate::from_der(&leaf_der).unwrap();
    let (_, ca) = X509Certificate::from_der(&ca_der).unwrap();
    assert_eq!(leaf.issuer().as_raw(), ca.subject().as_raw(), "issuer and CA subject differ");
    assert_eq!(issued.info.authority_key_identifier, authority.certificate().key_identifier.clone());
    assert_eq!(issued.info.algorithm, algorithm.name());
    assert_eq!(issued.info.subject, "O=system:node-proxier, CN=system:kube-proxy");
    assert_eq!(issued.info.extended_usages, ["clientAuth"]);
    assert_eq!(issued.lifetime, Lifetime::AsAsked);

    let text = shop.openssl("x509 -in leaf.pem -noout -text");
    let usage = if algorithm.is_rsa() { "Digital Signature, Key Encipherment" } else { "Digital Signature" };
    for expected in [
        format!("X509v3 Key Usage: critical\n                {usage}\n"),
        "X509v3 Extended Key Usage: \n                TLS Web Client Authentication\n".to_owned(),
        "X509v3 Basic Constraints: critical\n                CA:FALSE\n".to_owned(),
        "X509v3 Subject Key Identifier".to_owned(),
        "X509v3 Authority Key Identifier".to_owned(),
        "Version: 3 (0x2)".to_owned(),
    ] {
        assert!(text.contains(&expected), "{expected:?} is missing:\n{text}");
    }
    assert!(!text.contains("Server Authentication") && !text.contains("Subject Alternative Name"), "{text}");
    let printed = shop.openssl("x509 -in leaf.pem -noout -serial");
    assert_eq!(printed.trim(), format!("serial={}", issued.info.serial));
}

fn every_algorithm(authority: &Authority) {
    let shop = Workshop::new();
    for algorithm in Algorithm::ALL {
        assert_sound(&shop, authority, algorithm);
    }
}

#[test]
fn every_algorithm_under_a_new_ca() {
    every_algorithm(&new_authority(Algorithm::EcdsaP256));
}

#[test]
fn every_algorithm_under_a_cfssl_ca_with_a_pkcs1_key() {
    let pair = cfssl_like(&Workshop::new());
    assert!(pair.key.starts_with("-----BEGIN RSA PRIVATE KEY-----"));
    every_algorithm(&pair.import().unwrap());
}

#[test]
fn every_algorithm_under_an_openssl_ca_with_a_pkcs8_key() {
    let pair = Workshop::new().ca_with(RSA, "/O=Example/CN=openssl\u{a0}CA", "ca", "");
    assert!(pair.key.starts_with("-----BEGIN PRIVATE KEY-----"));
    every_algorithm(&pair.import().unwrap());
}

#[test]
fn every_algorithm_under_a_sec1_ec_ca() {
    every_algorithm(&sec1(&Workshop::new()).import().unwrap());
}

#[test]
fn every_algorithm_under_an_ed25519_ca() {
    every_algorithm(&Workshop::new().ca_with(ED25519, "/CN=ed25519", "ca", "").import().unwrap());
}

#[test]
fn every_other_kind_of_ca_key_signs_too() {
    for key in [P256, P384, P521] {
        let shop = Workshop::new();
        assert_sound(&shop, &shop.ca_with(key, "/CN=ca", "ca", "").import().unwrap(), Algorithm::EcdsaP256);
    }
    for algorithm in [Algorithm::EcdsaP384, Algorithm::Ed25519, Algorithm::Rsa2048, Algorithm::Rsa3072] {
        assert_sound(&Workshop::new(), &new_authority(algorithm), Algorithm::EcdsaP256);
    }
}

#[test]
fn an_rsa_ca_signs_with_sha256() {
    let shop = Workshop::new();
    let issued = issue(&cfssl_like(&shop).import().unwrap(), Algorithm::EcdsaP256);
    shop.write("leaf.pem", &issued.certificate_pem);
    assert!(shop.openssl("x509 -in leaf.pem -noout -text").contains("Signature Algorithm: sha256WithRSAEncryption"));
}

#[test]
fn the_issuer_repeats_whatever_the_ca_is_called() {
    let subjects = [
        // Repeated attributes, which rcgen's own model would merge.
        ("/DC=net/DC=example/OU=a/OU=b/CN=one/CN=two", ""),
        ("/CN=multi+O=valued+UID=7/OU=x", "-multivalue-rdn"),
        ("/emailAddress=ca@example.net/serialNumber=42/1.2.3.4.5=odd/CN=k", ""),
        ("/C=DE/O=Bäckerei\u{a0}Müller/CN=根証明書", "-utf8"),
        ("/O=*bad_printable*/CN=@", ""),
    ];
    for mask in ["utf8only", "default", "nombstr", "pkix", "MASK:0x2", "MASK:0x4", "MASK:0x800"] {
        for (subject, more) in subjects {
            let shop = Workshop::new();
            let config = shop.read("openssl.cnf").replace("utf8only", mask);
            shop.write("openssl.cnf", config);
            shop.openssl(&format!("genpkey {P256} -out ca-key.pem"));
            let made = shop.try_openssl(&format!(
                "req -x509 -new -config openssl.cnf -key ca-key.pem -subj {subject} -extensions ca -days 3650 \
                 -out ca.pem {more}"
            ));
            if made.is_err() {
                // Not every string type can hold every subject.
                assert_ne!(mask, "utf8only", "{subject}");
                continue;
            }
            let authority = shop.pair().import().unwrap_or_else(|e| panic!("{mask} {subject}: {e}"));
            assert_sound(&shop, &authority, Algorithm::EcdsaP256);
        }
    }
}

#[test]
fn the_string_types_of_the_test_above_really_occur() {
    let shop = Workshop::new();
    shop.openssl(&format!("genpkey {P256} -out ca-key.pem"));
    for (mask, tag, subject) in [
        ("utf8only", "UTF8STRING", "/CN=Zoë"),
        ("default", "PRINTABLESTRING", "/CN=Zoe"),
        ("default", "T61STRING", "/CN=Zoë"),
        ("default", "BMPSTRING", "/CN=根"),
        ("MASK:0x2", "PRINTABLESTRING", "/CN=Zoe"),
    ] {
        let config = Workshop::new().read("openssl.cnf").replace("utf8only", mask);
        shop.write("openssl.cnf", config);
        let pair = shop.self_sign(subject, "ca", "-utf8");
        assert!(shop.openssl("asn1parse -in ca.pem").contains(tag), "{mask} gives no {tag}");
        assert_sound(&shop, &pair.import().unwrap(), Algorithm::EcdsaP256);
    }
}

#[test]
fn a_key_identifier_of_another_method_is_repeated_exactly() {
    let shop = Workshop::new();
    let authority = shop.ca_with(P256, "/CN=odd", "odd_ski", "").import().unwrap();
    assert_eq!(authority.certificate().key_identifier.as_deref(), Some(&[1, 2, 3, 4, 5][..]));
    assert_sound(&shop, &authority, Algorithm::EcdsaP256);
}

#[test]
fn under_a_ca_without_key_identifier_the_leaf_names_the_one_openssl_would_have_given_it() {
    let shop = Workshop::new();
    let authority = shop.ca_with(P256, "/CN=bare", "no_ski", "").import().unwrap();
    assert_eq!(authority.certificate().key_identifier, None);
    let issued = issue(&authority, Algorithm::EcdsaP256);
    let with = shop.self_sign("/CN=bare", "ca", "").import().unwrap();
    assert_eq!(issued.info.authority_key_identifier, with.certificate().key_identifier);
    // Strict mode is left out here: it faults the CA itself, not what is signed.
    shop.write("judge-ca.pem", authority.certificate_pem());
    shop.write("leaf.pem", &issued.certificate_pem);
    shop.openssl("verify -purpose sslclient -CAfile judge-ca.pem leaf.pem");
    assert_webpki_accepts(&authority, &issued);
}

#[test]
fn a_new_ca_is_what_the_design_says() {
    let shop = Workshop::new();
    for algorithm in [Algorithm::EcdsaP256, Algorithm::Ed25519, Algorithm::Rsa2048] {
        let authority = new_authority(algorithm);
        shop.write("ca.pem", authority.certificate_pem());
        shop.write("key.pem", authority.key_pem().unwrap().expose_secret());
        let text = shop.openssl("x509 -in ca.pem -noout -text");
        for expected in [
            "X509v3 Basic Constraints: critical\n                CA:TRUE, pathlen:0\n",
            "X509v3 Key Usage: critical\n                Certificate Sign, CRL Sign\n",
            "X509v3 Subject Key Identifier",
            "Subject: CN = kubernetes",
            "Issuer: CN = kubernetes",
        ] {
            assert!(text.contains(expected), "{expected:?} is missing:\n{text}");
        }
        assert!(!text.contains("Extended Key Usage"), "{text}");
        shop.openssl("verify -x509_strict -check_ss_sig -CAfile ca.pem ca.pem");
        assert_eq!(shop.openssl("pkey -in key.pem -pubout"), shop.openssl("x509 -in ca.pem -noout -pubkey"));
        assert!(authority.key_pem().unwrap().expose_secret().starts_with("-----BEGIN PRIVATE KEY-----\n"));
        let again =
            Authority::import(authority.certificate_pem(), authority.key_pem().unwrap(), Timestamp::now()).unwrap();
        assert_eq!(again.certificate(), authority.certificate());
        assert_eq!(again.certificate_pem(), authority.certificate_pem());
    }
}

#[test]
fn serial_numbers_are_128_random_bits_and_never_repeat() {
    let authority = new_authority(Algorithm::EcdsaP256);
    let serials: HashSet<String> = (0..200).map(|_| issue(&authority, Algorithm::EcdsaP256).info.serial).collect();
    assert_eq!(serials.len(), 200);
    assert!(serials.iter().all(|serial| serial.len() <= 32));
    assert!(serials.iter().filter(|serial| serial.len() == 32).count() > 190);
    let top_bits = serials.iter().filter(|s| s.len() == 32 && s.as_bytes()[0] >= b'8').count();
    assert!((50..150).contains(&top_bits), "the top bit is not random: {top_bits} of 200");
}

#[test]
fn the_serial_number_comes_from_the_entropy_given() {
    let authority = new_authority(Algorithm::EcdsaP256);
    let draw = |seed| {
        let entropy = SeededEntropy::new(seed);
        let settings = settings(Algorithm::EcdsaP256);
        pki::issue_client(&authority, &pki::KUBE_PROXY, &settings, Timestamp::now(), &entropy).unwrap()
    };
    assert_eq!(draw(1).info.serial, draw(1).info.serial);
    assert_ne!(draw(1).info.serial, draw(2).info.serial);
    assert_ne!(draw(1).key_pem.expose_secret(), draw(1).key_pem.expose_secret(), "the key must not depend on it");
}

#[test]
fn validity_starts_five_minutes_ago_and_lasts_as_asked() {
    let now = Timestamp::now();
    let authority = new_authority(Algorithm::EcdsaP256);
    let issued =
        pki::issue_client(&authority, &pki::KUBE_PROXY, &settings(Algorithm::EcdsaP256), now, &OsEntropy).unwrap();
    assert_eq!(issued.info.not_before.as_second(), now.as_second() - 300);
    assert_eq!(issued.info.not_after.as_second(), now.as_second() + 365 * 86400);
    assert_eq!(issued.info.days_left(now), 365);
    assert_eq!(issued.lifetime, Lifetime::AsAsked);
}

#[test]
fn a_certificate_never_outlives_its_ca() {
    let now = Timestamp::now();
    let new = NewAuthority { common_name: "short".into(), algorithm: Algorithm::EcdsaP256, validity: 30 * DAY };
    let authority = Authority::issue_self_signed(&new, now, &OsEntropy).unwrap();
    let issue = |validity| {
        let settings = pki::ClientSettings { validity, ..settings(Algorithm::EcdsaP256) };
        pki::issue_client(&authority, &pki::KUBE_PROXY, &settings, now, &OsEntropy).unwrap()
    };
    for validity in [31 * DAY, std::time::Duration::MAX] {
        let issued = issue(validity);
        assert_eq!(issued.lifetime, Lifetime::ClampedToCa);
        assert_eq!(issued.info.not_after, authority.certificate().not_after);
    }
    assert_eq!(issue(30 * DAY).lifetime, Lifetime::AsAsked);
    assert_eq!(issue(29 * DAY).lifetime, Lifetime::AsAsked);
}

#[test]
fn a_ca_that_never_expires_is_no_obstacle() {
    let shop = Workshop::new();
    shop.openssl(&format!("genpkey {P256} -out ca-key.pem"));
    shop.openssl("req -new -config openssl.cnf -key ca-key.pem -subj /CN=forever -out ca.csr");
    shop.write("index", "");
    shop.write("serial", "01");
    let config = "[ca]\ndefault_ca=d\n[d]\ndatabase=index\nserial=serial\nnew_certs_dir=.\ndefault_md=sha256\npolicy=p\nx509_extensions=x\n[p]\ncommonName=supplied\n[x]\nbasicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\nsubjectKeyIdentifier=hash\n";
    shop.write("ca.cnf", config);
    shop.openssl("ca -batch -selfsign -config ca.cnf -in ca.csr -keyfile ca-key.pem -notext -startdate 20200101000000Z -enddate 99991231235959Z -out ca.pem");
    let authority = shop.pair().import().unwrap();
    assert_eq!(authority.certificate().not_after, Timestamp::from_second(Timestamp::MAX.as_second()).unwrap());
    assert_sound(&shop, &authority, Algorithm::EcdsaP256);
}

#[test]
fn a_leaf_may_start_before_a_ca_that_is_seconds_old() {
    let shop = Workshop::new();
    let authority = shop.ca_with(P256, "/CN=fresh", "ca", "").import().unwrap();
    let issued = issue(&authority, Algorithm::EcdsaP256);
    assert!(issued.info.not_before < authority.certificate().not_before);
    assert_openssl_accepts(&shop, &authority, &issued);
    assert_webpki_accepts(&authority, &issued);
}

#[test]
fn an_external_or_expired_ca_does_not_sign() {
    let ours = new_authority(Algorithm::EcdsaP256);
    let now = Timestamp::now();
    let issue_at = |authority: &Authority, now| {
        pki::issue_client(authority, &pki::KUBE_PROXY, &settings(Algorithm::EcdsaP256), now, &OsEntropy).unwrap_err()
    };
    let external = Authority::from_certificate(ours.certificate_pem(), now).unwrap();
    assert!(external.key_pem().is_none());
    assert!(matches!(issue_at(&external, now), IssueError::NoKey { .. }));
    let hours = |hours| SignedDuration::from_hours(hours);
    assert!(matches!(issue_at(&ours, now + hours(3650 * 24)), IssueError::CaExpired { .. }));
    assert!(matches!(issue_at(&ours, now - hours(1)), IssueError::CaNotYetValid { .. }));
}

#[test]
fn names_and_validities_x509_has_no_room_for_are_refused() {
    let authority = new_authority(Algorithm::EcdsaP256);
    let refuse = |change: fn(&mut pki::ClientSettings)| {
        let mut settings = settings(Algorithm::EcdsaP256);
        change(&mut settings);
        pki::issue_client(&authority, &pki::KUBE_PROXY, &settings, Timestamp::now(), &OsEntropy).unwrap_err()
    };
    assert!(matches!(refuse(|s| s.organization = "o".repeat(65)), IssueError::Name(_)));
    assert!(matches!(refuse(|s| s.validity = std::time::Duration::from_millis(999)), IssueError::TooShort { .. }));

    let refuse = |change: fn(&mut NewAuthority)| {
        let mut new = NewAuthority { common_name: "k".into(), algorithm: Algorithm::EcdsaP256, validity: DAY };
        change(&mut new);
        Authority::issue_self_signed(&new, Timestamp::now(), &OsEntropy).unwrap_err()
    };
    assert!(matches!(refuse(|n| n.common_name.clear()), pki::AuthorityError::Name(_)));
    assert!(matches!(refuse(|n| n.validity = std::time::Duration::ZERO), pki::AuthorityError::TooShort));
    assert!(matches!(refuse(|n| n.validity = 365 * 9000 * DAY), pki::AuthorityError::TooLong { .. }));
}

#[test]
fn secrets_do_not_show_in_debug_output() {
    let authority = new_authority(Algorithm::EcdsaP256);
    let issued = issue(&authority, Algorithm::EcdsaP256);
    let shown = format!("{authority:?} {issued:?}");
    let body = |secret: &Secret| secret.expose_secret().lines().nth(1).unwrap().to_owned();
    for key in [authority.key_pem().unwrap(), &issued.key_pem] {
        assert!(!shown.contains(&body(key)) && !shown.contains("PRIVATE KEY"), "{shown}");
    }
}
