//! Taking over CAs made by other tools: what is accepted in which form, and every refusal by its own reason.

#![allow(clippy::unwrap_used)]

mod pki_support;

use jiff::{SignedDuration, Timestamp};
use kubemint::{
    pki::{
        self, Algorithm, Authority, CertificateError, Culprit, ImportError, KeyError, MatchError, TextualError,
        decode_key_file, key_matches,
    },
    secret::{ExposeSecret, Secret},
};
use pki_support::*;

fn good() -> (Workshop, Pair) {
    let shop = Workshop::new();
    let pair = shop.ca_with(P256, "/CN=good", "ca", "");
    (shop, pair)
}

/// The import's error; checks on the way that it reads well and tells no secret.
fn refusal(pair: &Pair) -> ImportError {
    let error = pair.import().expect_err("it was accepted");
    assert_reads_well(&error.to_string(), error.hint(), &pair.key);
    error
}

fn assert_reads_well(message: &str, hint: Option<&str>, key: &str) {
    assert!(!message.ends_with('.') && !message.contains('\n') && !message.contains('\x1b'), "{message}");
    assert!(hint.is_some(), "no hint: {message}");
    for line in key.lines().filter(|line| line.len() > 20 && !line.starts_with("--")) {
        assert!(!message.contains(line), "{message}");
    }
}

fn key_error(pair: &Pair) -> KeyError {
    let error = refusal(pair);
    assert_eq!(error.culprit(), Culprit::Key);
    match error {
        ImportError::Key(error) => error,
        other => panic!("{other:?}"),
    }
}

fn certificate_error(pair: &Pair) -> CertificateError {
    let error = refusal(pair);
    assert_eq!(error.culprit(), Culprit::Certificate);
    match error {
        ImportError::Certificate(error) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_form_of_key_is_accepted_and_kept_in_its_form() {
    type Maker = fn(&Workshop) -> Pair;
    let forms: [(Maker, &str, &str); 7] = [
        (cfssl_like, "RSA PRIVATE KEY", "rsa-2048"),
        (sec1, "EC PRIVATE KEY", "ecdsa-p256"),
        (|s| s.ca_with(RSA, "/CN=a", "ca", ""), "PRIVATE KEY", "rsa-2048"),
        (|s| s.ca_with(P256, "/CN=a", "ca", ""), "PRIVATE KEY", "ecdsa-p256"),
        (|s| s.ca_with(P384, "/CN=a", "ca", ""), "PRIVATE KEY", "ecdsa-p384"),
        (|s| s.ca_with(P521, "/CN=a", "ca", ""), "PRIVATE KEY", "ecdsa-p521"),
        (|s| s.ca_with(ED25519, "/CN=a", "ca", ""), "PRIVATE KEY", "ed25519"),
    ];
    for (make, label, algorithm) in forms {
        let shop = Workshop::new();
        let authority = make(&shop).import().unwrap();
        assert_eq!(authority.certificate().algorithm, algorithm);
        let key = authority.key_pem().unwrap().expose_secret();
        assert!(key.starts_with(&format!("-----BEGIN {label}-----\n")), "{label}");
        assert_eq!(key.matches("-----BEGIN").count(), 1);
        shop.write("kept.pem", key);
        assert_eq!(shop.openssl("pkey -in kept.pem -pubout"), shop.openssl("pkey -in ca-key.pem -pubout"));
    }
}

#[test]
fn text_crlf_and_blocks_of_the_other_kind_around_do_not_matter() {
    let (shop, pair) = good();
    let text = shop.openssl("x509 -in ca.pem -text");
    assert!(text.starts_with("Certificate:"));
    let crlf = |text: &str| text.replace('\n', "\r\n");
    for (certificate, key) in [
        (text.clone(), pair.key.clone()),
        (crlf(&pair.certificate), crlf(&pair.key)),
        (format!("\u{feff}# our CA\n{}trailing notes", pair.certificate), format!("Bag Attributes\n{}", pair.key)),
        (pair.certificate.trim_end().to_owned(), pair.key.trim_end().to_owned()),
        (pair.key.clone() + &pair.certificate, pair.certificate.clone() + &pair.key),
    ] {
        let authority = Pair { certificate, key }.import().unwrap();
        assert_eq!(authority.certificate_pem(), pair.certificate);
        assert_eq!(authority.key_pem().unwrap().expose_secret(), pair.key);
    }
}

#[test]
fn a_certificate_alone_is_an_external_ca() {
    let (_, pair) = good();
    let authority = Authority::from_certificate(&pair.certificate, Timestamp::now()).unwrap();
    assert!(authority.key_pem().is_none());
    assert_eq!(authority.certificate_pem(), pair.certificate);
    let later = Timestamp::now() + SignedDuration::from_hours(24 * 3651);
    assert!(matches!(Authority::from_certificate(&pair.certificate, later), Err(ImportError::Expired { .. })));
}

#[test]
fn an_intermediate_ca_is_a_ca() {
    let shop = Workshop::new();
    let root = shop.ca_with(P256, "/CN=root", "ca", "");
    shop.write("root.pem", &root.certificate);
    shop.write("root-key.pem", &root.key);
    shop.openssl(&format!("genpkey {P384} -out ca-key.pem"));
    shop.openssl("req -new -config openssl.cnf -key ca-key.pem -subj /CN=sub -out sub.csr");
    shop.openssl("x509 -req -in sub.csr -CA root.pem -CAkey root-key.pem -extfile openssl.cnf -extensions ca -days 99 -out ca.pem");
    let authority = shop.pair().import().unwrap();
    let issued = issue(&authority, Algorithm::EcdsaP256);
    assert_webpki_accepts(&authority, &issued);
    shop.write("leaf.pem", &issued.certificate_pem);
    shop.openssl("verify -purpose sslclient -partial_chain -CAfile ca.pem leaf.pem");
}

#[test]
fn a_key_of_another_ca_is_refused() {
    let (shop, pair) = good();
    for other in [P256, P384, RSA, ED25519] {
        shop.openssl(&format!("genpkey {other} -out other.pem"));
        let error = refusal(&Pair { certificate: pair.certificate.clone(), key: shop.read("other.pem") });
        assert!(matches!(error, ImportError::KeyMismatch { .. }), "{error:?}");
        assert_eq!(error.culprit(), Culprit::Pair);
    }
}

#[test]
fn what_is_not_a_ca_is_refused_with_the_reason() {
    let role = |section| refusal(&Workshop::new().ca_with(P256, "/CN=x", section, ""));
    let says = |error: &ImportError, part: &str| assert!(error.to_string().contains(part), "{error}");

    let leaf = role("leaf");
    assert!(matches!(leaf, ImportError::NotCa { .. }), "{leaf:?}");
    says(&leaf, "CA:FALSE");
    let bare = role("no_basic_constraints");
    assert!(matches!(bare, ImportError::NotCa { .. }), "{bare:?}");
    says(&bare, "no basic constraints");
    assert!(matches!(role("no_cert_sign"), ImportError::NoCertSign { .. }));
    let server = role("server_only");
    assert!(matches!(server, ImportError::NoClientAuth { .. }), "{server:?}");
    says(&server, "serverAuth");
    assert!(matches!(role("directory_constraints"), ImportError::Go(_)));
}

#[test]
fn a_certificate_that_a_ca_signed_is_refused_as_ca() {
    let authority = new_authority(Algorithm::EcdsaP256);
    let issued = issue(&authority, Algorithm::EcdsaP256);
    let pair = Pair { certificate: issued.certificate_pem, key: issued.key_pem.expose_secret().to_owned() };
    let error = refusal(&pair);
    assert!(matches!(error, ImportError::NotCa { .. }), "{error:?}");
    assert!(error.to_string().contains("CN=system:kube-proxy"), "{error}");
}

#[test]
fn restrictions_that_allow_client_certificates_are_accepted() {
    for section in ["server_and_client", "dns_constraints", "no_key_usage"] {
        let authority = Workshop::new().ca_with(P256, "/CN=x", section, "").import();
        let authority = authority.unwrap_or_else(|e| panic!("{section}: {e}"));
        assert_webpki_accepts(&authority, &issue(&authority, Algorithm::EcdsaP256));
    }
}

#[test]
fn a_version_1_certificate_is_a_ca_as_it_is_to_go() {
    let (shop, pair) = good();
    shop.openssl("req -new -config openssl.cnf -key ca-key.pem -subj /CN=v1 -out v1.csr");
    shop.openssl("x509 -req -in v1.csr -signkey ca-key.pem -days 9 -out v1.pem");
    assert!(shop.openssl("x509 -in v1.pem -noout -text").contains("Version: 1"));
    let authority = Pair { certificate: shop.read("v1.pem"), key: pair.key }.import().unwrap();
    assert_webpki_accepts(&authority, &issue(&authority, Algorithm::EcdsaP256));
}

#[test]
fn a_ca_outside_its_dates_is_refused() {
    let (_, pair) = good();
    let shifted = |hours| pair.import_at(Timestamp::now() + SignedDuration::from_hours(hours)).unwrap_err();
    assert!(matches!(shifted(24 * 3651), ImportError::Expired { .. }));
    assert!(matches!(shifted(-24), ImportError::NotYetValid { .. }));
    assert!(shifted(-24).hint().unwrap().contains("clock"));
}

#[test]
fn weak_and_foreign_keys_are_refused_by_name() {
    let make = |key: &str| Workshop::new().ca_with(key, "/CN=x", "ca", "");
    let rsa = make("-algorithm RSA -pkeyopt rsa_keygen_bits:1024");
    assert_eq!(key_error(&rsa), KeyError::RsaTooSmall { bits: 1024 });
    let external = Authority::from_certificate(&rsa.certificate, Timestamp::now()).unwrap_err();
    assert_eq!(external, ImportError::RsaTooSmall { bits: 1024 });
    let odd = make("-algorithm RSA -pkeyopt rsa_keygen_bits:2047");
    assert_eq!(key_error(&odd), KeyError::RsaTooSmall { bits: 2047 });

    let koblitz = make("-algorithm EC -pkeyopt ec_paramgen_curve:secp256k1");
    assert_eq!(key_error(&koblitz), KeyError::UnsupportedCurve { curve: "secp256k1".to_owned() });
    let external = Authority::from_certificate(&koblitz.certificate, Timestamp::now()).unwrap_err();
    assert_eq!(external, ImportError::UnsupportedKey { kind: "ec secp256k1".to_owned() });
    let explicit = make(&format!("{P256} -pkeyopt ec_param_enc:explicit"));
    assert!(matches!(key_error(&explicit), KeyError::UnsupportedCurve { .. }));

    for (key, name) in
        [("-algorithm ED448", "Ed448"), ("-algorithm RSA-PSS -pkeyopt rsa_keygen_bits:2048", "RSASSA-PSS")]
    {
        assert_eq!(key_error(&make(key)), KeyError::UnsupportedType { kind: name.to_owned() });
    }
}

#[test]
fn a_compressed_point_is_named_as_the_reason() {
    let shop = Workshop::new();
    shop.openssl(&format!("genpkey {P256} -out plain.pem"));
    shop.openssl("ec -in plain.pem -conv_form compressed -out ca-key.pem");
    let error = refusal(&shop.self_sign("/CN=compressed", "ca", ""));
    assert_eq!(error, ImportError::UnsupportedKey { kind: "ec ecdsa-p256 with a compressed point".to_owned() });
}

#[test]
fn an_extension_that_occurs_twice_is_refused() {
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let extension = rcgen::CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
    params.not_after = params.not_before + std::time::Duration::from_secs(60 * 60 * 24 * 365 * 100);
    let key = rcgen::KeyPair::generate().unwrap();
    let pair = |params: &rcgen::CertificateParams| Pair {
        certificate: params.self_signed(&key).unwrap().pem(),
        key: key.serialize_pem(),
    };
    params.custom_extensions.push(extension.clone());
    pair(&params).import().unwrap();
    params.custom_extensions.push(extension);
    assert!(matches!(certificate_error(&pair(&params)), CertificateError::Malformed { .. }));
}

#[test]
fn other_kinds_of_pem_block_are_named() {
    let (shop, pair) = good();
    let trusted = Pair { certificate: shop.openssl("x509 -in ca.pem -trustout"), key: pair.key.clone() };
    let error = certificate_error(&trusted);
    assert_eq!(error, CertificateError::NoCertificate { found: vec!["TRUSTED CERTIFICATE".to_owned()] });
    assert!(error.hint().unwrap().contains("openssl x509"));
    let public = shop.openssl("pkey -in ca-key.pem -pubout");
    let error = key_error(&Pair { certificate: pair.certificate.clone(), key: public.repeat(100) });
    assert_eq!(error, KeyError::NoKey { found: vec!["PUBLIC KEY".to_owned()] });
    let ssh = "-----BEGIN OPENSSH PRIVATE KEY-----\nAQID\n-----END OPENSSH PRIVATE KEY-----\n";
    let error = key_error(&Pair { certificate: pair.certificate, key: ssh.to_owned() });
    assert_eq!(error, KeyError::UnsupportedType { kind: "OPENSSH".to_owned() });
}

#[test]
fn a_dsa_key_is_refused_in_both_its_forms() {
    let (shop, pair) = good();
    shop.openssl("genpkey -genparam -algorithm DSA -pkeyopt dsa_paramgen_bits:1024 -out dsa.param");
    shop.openssl("genpkey -paramfile dsa.param -out dsa.pem");
    shop.openssl("pkey -in dsa.pem -traditional -out dsa-old.pem");
    for file in ["dsa.pem", "dsa-old.pem"] {
        let error = key_error(&Pair { certificate: pair.certificate.clone(), key: shop.read(file) });
        assert_eq!(error, KeyError::UnsupportedType { kind: "DSA".to_owned() });
    }
}

#[test]
fn an_encrypted_key_is_refused_in_both_its_forms() {
    let shop = Workshop::new();
    let certificate = cfssl_like(&shop).certificate;
    shop.openssl("rsa -in ca-key.pem -aes128 -passout pass:secret -traditional -out old.pem");
    shop.openssl("pkcs8 -topk8 -in ca-key.pem -passout pass:secret -out new.pem");
    assert!(shop.read("old.pem").contains("Proc-Type: 4,ENCRYPTED"));
    assert!(shop.read("new.pem").starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----"));
    for file in ["old.pem", "new.pem"] {
        for key in [shop.read(file), shop.read(file).replace('\n', "\r\n")] {
            assert_eq!(key_error(&Pair { certificate: certificate.clone(), key }), KeyError::Encrypted);
        }
    }
}

#[test]
fn several_keys_are_refused_and_so_are_certificates_of_which_none_is_the_keys() {
    let (shop, pair) = good();
    let other = shop.ca_with(P256, "/CN=other", "ca", "");
    let (certificate, key) = (|| pair.certificate.clone(), || pair.key.clone());
    let keys = Pair { certificate: certificate(), key: key() + &other.key };
    assert_eq!(key_error(&keys), KeyError::Several { count: 2 });
    let strangers = Pair {
        certificate: other.certificate.clone() + &shop.ca_with(P256, "/CN=x", "ca", "").certificate,
        key: key(),
    };
    let error = refusal(&strangers);
    assert!(matches!(error, ImportError::KeyMatchesNone { count: 2, .. }), "{error:?}");
    assert_eq!(error.culprit(), Culprit::Pair);
}

#[test]
fn swapped_files_are_recognised() {
    let (_, pair) = good();
    let swapped = Pair { certificate: pair.key.clone(), key: pair.certificate.clone() };
    let error = certificate_error(&swapped);
    assert!(error.hint().unwrap().contains("swapped"), "{error:?}");
    let error = key_error(&Pair { certificate: pair.certificate.clone(), key: pair.certificate });
    assert!(error.hint().unwrap().contains("swapped"), "{error:?}");
}

#[test]
fn bytes_after_the_der_are_refused() {
    let (_, pair) = good();
    let append = |text: &str| {
        let block = pem::parse(text).unwrap();
        let tail = [block.contents(), &[0, 0, 0]].concat();
        pem::encode(&pem::Pem::new(block.tag(), tail))
    };
    let certificate = Pair { certificate: append(&pair.certificate), key: pair.key.clone() };
    assert_eq!(certificate_error(&certificate), CertificateError::TrailingBytes { bytes: 3 });
    let key = Pair { certificate: pair.certificate.clone(), key: append(&pair.key) };
    assert_eq!(key_error(&key), KeyError::TrailingBytes { bytes: 3 });
}

#[test]
fn files_that_are_not_pem_are_refused_by_what_they_are() {
    let (shop, pair) = good();
    shop.openssl("x509 -in ca.pem -outform DER -out ca.der");
    shop.openssl("pkey -in ca-key.pem -outform DER -out key.der");
    let key = Secret::from(pair.key.as_str());
    let import = |certificate: &[u8]| match Authority::import(certificate, &key, Timestamp::now()).unwrap_err() {
        ImportError::Certificate(CertificateError::Textual(error)) => error,
        other => panic!("{other:?}"),
    };
    assert_eq!(import(&std::fs::read(shop.path("ca.der")).unwrap()), TextualError::Der);
    assert_eq!(import(b"\n"), TextualError::Empty);
    assert_eq!(import(b"hello"), TextualError::NoBlock);
    assert_eq!(import(&vec![b'\n'; 10 << 20]), TextualError::TooLarge { bytes: 10 << 20 });
    let long = [pair.certificate.as_bytes(), &vec![b'#'; pki::LARGEST_INPUT]].concat();
    assert!(matches!(import(&long), TextualError::TooLarge { .. }));
    let json = format!("{{\"cert\":{:?}}}", pair.certificate);
    assert_eq!(import(json.as_bytes()), TextualError::Json);
    let cut = &pair.certificate[..pair.certificate.len() - 30];
    assert!(matches!(import(cut.as_bytes()), TextualError::Damaged { .. }));

    let decode = |bytes: Vec<u8>| decode_key_file(bytes).err();
    assert_eq!(decode(std::fs::read(shop.path("key.der")).unwrap()), Some(KeyError::Textual(TextualError::Der)));
    assert!(matches!(decode(vec![b'\n'; 10 << 20]), Some(KeyError::Textual(TextualError::TooLarge { .. }))));
    let latin1 = [b"friendlyName: Zo\xeb\n", pair.key.as_bytes()].concat();
    let decoded = decode_key_file(latin1).unwrap();
    Authority::import(&pair.certificate, &decoded, Timestamp::now()).unwrap();
}

/// Every position where a flipped bit goes unnoticed.
fn unnoticed(block: &str, import: impl Fn(String) -> Result<Authority, ImportError>) -> Vec<usize> {
    let block = pem::parse(block).unwrap();
    let flipped = |position: usize| {
        let mut bytes = block.contents().to_vec();
        bytes[position] ^= 0x01;
        pem::encode(&pem::Pem::new(block.tag(), bytes))
    };
    (0..block.contents().len()).filter(|position| import(flipped(*position)).is_ok()).collect()
}

#[test]
fn a_flipped_bit_in_the_certificate_is_noticed() {
    let (_, pair) = good();
    let certificate = der(&pair.certificate);
    // Except in one of its two names: a CA that names another issuer than itself is an intermediate, and nobody here
    // can check an intermediate's signature.
    let name =
        Authority::from_certificate(&pair.certificate, Timestamp::now()).unwrap().certificate().issuer_der.clone();
    let names: Vec<_> = (0..certificate.len()).filter(|at| certificate[*at..].starts_with(&name)).collect();
    assert_eq!(names.len(), 2);
    let key = pair.key.clone();
    let mut passed = unnoticed(&pair.certificate, |certificate| Pair { certificate, key: key.clone() }.import());
    passed.retain(|at| !names.iter().any(|start| (*start..start + name.len()).contains(at)));
    assert_eq!(passed, [0; 0]);
}

#[test]
fn a_flipped_bit_in_the_key_is_noticed() {
    for key in [P256, ED25519] {
        let pair = Workshop::new().ca_with(key, "/CN=good", "ca", "");
        let certificate = pair.certificate.clone();
        let mut passed = unnoticed(&pair.key, |key| Pair { certificate: certificate.clone(), key }.import());
        // PKCS#8 has the versions 0 and 1, one bit apart, and both are read alike.
        let version = der(&pair.key).windows(3).position(|window| window == [2, 1, 0]).unwrap() + 2;
        passed.retain(|at| *at != version);
        assert_eq!(passed, [0; 0], "{key}");
    }
}

#[test]
fn an_empty_subject_is_a_name_like_another() {
    let shop = Workshop::new();
    let authority = shop.ca_with(P256, "/", "ca", "").import().unwrap();
    let issued = issue(&authority, Algorithm::EcdsaP256);
    shop.write("leaf.pem", &issued.certificate_pem);
    shop.openssl("verify -purpose sslclient -CAfile ca.pem leaf.pem");
    assert_webpki_accepts(&authority, &issued);
}

#[test]
fn a_root_signed_with_sha1_is_still_usable() {
    let shop = Workshop::new();
    let authority = shop.ca_with(RSA, "/CN=old", "ca", "-sha1").import().unwrap();
    assert_webpki_accepts(&authority, &issue(&authority, Algorithm::EcdsaP256));
}

#[test]
fn key_matches_tells_pairs_from_strangers() {
    let (shop, pair) = good();
    let matches = |certificate: &str, key: &str| key_matches(certificate, &Secret::from(key));
    matches(&pair.certificate, &pair.key).unwrap();
    let other = shop.ca_with(P256, "/CN=other", "ca", "");
    assert!(matches!(matches(&pair.certificate, &other.key), Err(MatchError::Differ { .. })));
    assert!(matches!(matches("", &pair.key), Err(MatchError::Certificate(_))));
    assert!(matches!(matches(&pair.certificate, ""), Err(MatchError::Key(_))));
    let issued = issue(&new_authority(Algorithm::EcdsaP256), Algorithm::Rsa2048);
    key_matches(&issued.certificate_pem, &issued.key_pem).unwrap();
}
