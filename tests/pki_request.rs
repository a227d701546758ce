//! Certification requests as openssl makes them, and as somebody makes them who counts on two readers seeing different
//! things: what our reader does not know to its last byte, it refuses.
#![allow(clippy::unwrap_used)]

mod pki_support;

use kubemint::pki::{LARGEST_REQUEST, RequestError, RequestInfo, parse_request};
use pki_support::{ED25519, P256, P384, P521, RSA, Workshop, der};

const NODE: &str = "/O=system:nodes/CN=system:node:node-1";

fn make(shop: &Workshop, key: &str, subject: &str, more: &str) -> String {
    shop.openssl(&format!("genpkey {key} -out key.pem"));
    shop.openssl(&format!("req -new -config openssl.cnf -key key.pem -subj {subject} {more}"))
}

fn parsed(key: &str, more: &str) -> Result<RequestInfo, RequestError> {
    parse_request(make(&Workshop::new(), key, NODE, more))
}

fn render(der: &[u8]) -> String {
    let lf = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    pem::encode_config(&pem::Pem::new("CERTIFICATE REQUEST", der), lf)
}

#[test]
fn every_key_that_kubernetes_can_use_is_read() {
    for (key, name) in
        [(P256, "ecdsa-p256"), (P384, "ecdsa-p384"), (P521, "ecdsa-p521"), (ED25519, "ed25519"), (RSA, "rsa-2048")]
    {
        let info = parsed(key, "").unwrap();
        assert_eq!((info.key.as_str(), info.is_rsa), (name, key == RSA));
        assert_eq!(info.common_names, ["system:node:node-1"]);
        assert_eq!(info.organizations, ["system:nodes"]);
        assert_eq!(info.subject, "O=system:nodes, CN=system:node:node-1");
        assert!(info.alternative_names.is_empty() && info.other_extensions.is_empty());
    }
}

#[test]
fn other_keys_and_signatures_are_refused_by_name() {
    let named = |key: &str, more: &str| parsed(key, more).unwrap_err();
    for (key, shown) in [
        ("-algorithm RSA -pkeyopt rsa_keygen_bits:1024", "rsa-1024"),
        ("-algorithm RSA -pkeyopt rsa_keygen_bits:2047", "rsa-2047"),
        ("-algorithm EC -pkeyopt ec_paramgen_curve:secp256k1", "ec secp256k1"),
        ("-algorithm EC -pkeyopt ec_paramgen_curve:P-224", "ec P-224"),
        (
            "-algorithm EC -pkeyopt ec_paramgen_curve:P-256 -pkeyopt ec_param_enc:explicit",
            "ec with explicit parameters",
        ),
        ("-algorithm ED448", "Ed448"),
    ] {
        assert_eq!(named(key, ""), RequestError::UnfitKey { key: shown.to_owned() });
    }
    for more in ["-sha1", "-sha224"] {
        for key in [RSA, P256] {
            let error = named(key, more);
            assert!(matches!(error, RequestError::UnsupportedSignature { .. }), "{key} {more}: {error:?}");
        }
    }
    for more in ["-sha384", "-sha512"] {
        assert!(parsed(RSA, more).is_ok() && parsed(P256, more).is_ok() && parsed(P521, more).is_ok(), "{more}");
    }
}

#[test]
fn names_of_every_kind_are_told_apart() {
    let san = "DNS:a,DNS:b.c,IP:10.0.0.1,IP:fd00::1,IP:::ffff:10.0.0.1,URI:https://x/y,email:a@b";
    let names = parsed(P256, &format!("-addext subjectAltName={san}")).unwrap().alternative_names;
    assert_eq!(names.dns, ["a", "b.c"]);
    assert_eq!(
        names.addresses,
        ["10.0.0.1", "fd00::1", "::ffff:10.0.0.1"].map(|ip| ip.parse::<std::net::IpAddr>().unwrap())
    );
    assert_eq!((names.uris, names.emails), (vec!["https://x/y".to_owned()], vec!["a@b".to_owned()]));
    for other in ["otherName:1.2.3;UTF8:x", "RID:1.2.3"] {
        let error = parsed(P256, &format!("-addext subjectAltName={other}")).unwrap_err();
        assert!(matches!(error, RequestError::AlternativeName { .. }), "{other}: {error:?}");
    }
}

#[test]
fn other_extensions_are_named() {
    let info = parsed(P256, "-addext keyUsage=keyCertSign -addext 1.2.3.4=DER:0500").unwrap();
    assert_eq!(info.other_extensions, ["2.5.29.15", "1.2.3.4"]);
    // No name at all is not the same as no extension.
    let empty = parsed(P256, "-addext 2.5.29.17=DER:3000");
    assert!(empty.as_ref().map_or(true, |info| info.other_extensions == ["2.5.29.17"]), "{empty:?}");
    let twice = parsed(P256, "-addext 2.5.29.17=DER:3003820161 -addext subjectAltName=DNS:b");
    assert!(twice.is_err(), "{twice:?}");
    for broken in ["DER:30038201610500", "DER:3004820261", "DER:300387010a", "DER:0500"] {
        let found = parsed(P256, &format!("-addext 2.5.29.17={broken}"));
        let is_told = found.as_ref().is_ok_and(|info| info.other_extensions == ["2.5.29.17"]) || found.is_err();
        assert!(is_told, "{broken}: {found:?}");
    }
}

#[test]
fn subjects_hold_cn_and_o_in_plain_strings_only() {
    let shop = Workshop::new();
    let error = |subject: &str, more: &str| parse_request(make(&shop, P256, subject, more)).unwrap_err();
    for (subject, number) in
        [("/O=a/OU=b/CN=c", "2.5.4.11"), ("/C=DE/CN=c", "2.5.4.6"), ("/CN=c/serialNumber=1", "2.5.4.5")]
    {
        assert_eq!(error(subject, ""), RequestError::SubjectAttribute { attribute: number.to_owned() });
    }
    shop.write("bmp.cnf", "[req]\ndistinguished_name = dn\nstring_mask = MASK:0x800\n[dn]\n");
    shop.openssl(&format!("genpkey {P256} -out key.pem"));
    let bmp = shop.openssl(&format!("req -new -config bmp.cnf -key key.pem -subj {NODE}"));
    assert!(der(&bmp).windows(4).any(|window| window == b"\0s\0y"), "not a BMPString");
    assert!(matches!(parse_request(bmp), Err(RequestError::Malformed { .. })));
    let both = parse_request(make(&shop, P256, "/O=a+O=b/CN=c/CN=d", "-multivalue-rdn")).unwrap();
    assert_eq!((both.organizations, both.common_names), (vec!["a".into(), "b".into()], vec!["c".into(), "d".into()]));
}

#[test]
fn attributes_but_the_extension_request_are_refused() {
    let shop = Workshop::new();
    shop.write("attributes.cnf", "[req]\ndistinguished_name = dn\nattributes = more\nprompt = no\n[dn]\nO = system:nodes\nCN = system:node:node-1\n[more]\nchallengePassword = 1234\n");
    shop.openssl(&format!("genpkey {P256} -out key.pem"));
    let asked =
        |more: &str| parse_request(shop.openssl(&format!("req -new -config attributes.cnf -key key.pem {more}")));
    let error = RequestError::Attribute { attribute: "1.2.840.113549.1.9.7".to_owned() };
    assert_eq!(asked(""), Err(error));
    assert!(matches!(asked("-addext subjectAltName=DNS:a"), Err(RequestError::Malformed { .. })));
}

#[test]
fn the_text_is_one_plain_block_and_nothing_else() {
    let good = make(&Workshop::new(), P256, NODE, "");
    for fine in [good.clone(), good.replace('\n', "\r\n"), format!("\n{good}\n")] {
        parse_request(fine).unwrap();
    }
    let second_line = good.find('\n').unwrap() + 1;
    let with = |at: usize, text: &str| format!("{}{text}{}", &good[..at], &good[at..]);
    for (bad, what) in [
        (format!("{good}{good}"), "twice"),
        (format!("hello\n{good}"), "text before"),
        (format!("{good}hello"), "text after"),
        (with(second_line, "Proc-Type: 4,ENCRYPTED\n\n"), "a header"),
        (good.replace("CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"), "another label"),
        (good.replace("CERTIFICATE REQUEST", "CERTIFICATE"), "a certificate's label"),
        (good.replace("-----END", "----END"), "no end"),
        // Go skips what it cannot decode and takes the second.
        (
            format!("-----BEGIN CERTIFICATE REQUEST-----\n!\n-----END CERTIFICATE REQUEST-----\n{good}"),
            "a broken block before",
        ),
        (format!("{good}{}", "\n".repeat(LARGEST_REQUEST)), "too large"),
        (String::new(), "nothing"),
    ] {
        assert!(parse_request(&bad).is_err(), "{what}");
    }
    assert!(parse_request(der(&good)).is_err(), "DER");
}

/// The request with `extra` put at the end of the structure that `path` leads to (child numbers), lengths mended.
fn grown(der: &[u8], path: &[usize], extra: &[u8]) -> Vec<u8> {
    let (tag, content) = (der[0], content(der));
    let inner = match path {
        [] => [content, extra].concat(),
        [child, rest @ ..] => {
            let mut parts: Vec<Vec<u8>> = children(content).into_iter().map(<[u8]>::to_vec).collect();
            parts[*child] = grown(&parts[*child], rest, extra);
            parts.concat()
        }
    };
    let length = u16::try_from(inner.len()).unwrap().to_be_bytes();
    match inner.len() {
        0..=127 => [&[tag, length[1]], &inner[..]].concat(),
        128..=255 => [&[tag, 0x81, length[1]], &inner[..]].concat(),
        _ => [&[tag, 0x82, length[0], length[1]], &inner[..]].concat(),
    }
}

fn header(der: &[u8]) -> (usize, usize) {
    match der[1] {
        0x81 => (3, der[2].into()),
        0x82 => (4, usize::from(der[2]) << 8 | usize::from(der[3])),
        short => (2, short.into()),
    }
}

fn content(der: &[u8]) -> &[u8] {
    let (start, length) = header(der);
    &der[start..start + length]
}

fn children(mut content: &[u8]) -> Vec<&[u8]> {
    let mut found = Vec::new();
    while !content.is_empty() {
        let (start, length) = header(content);
        found.push(&content[..start + length]);
        content = &content[start + length..];
    }
    found
}

#[test]
fn bytes_that_one_reader_would_pass_over_are_seen() {
    let good = make(&Workshop::new(), P256, NODE, "-addext subjectAltName=DNS:a");
    let der = der(&good);
    assert_eq!(grown(&der, &[], &[]), der);
    parse_request(render(&der)).unwrap();
    let null = [5, 0];
    for path in [
        &[][..],
        &[0],
        // The subject, the first of its RDNs, the attribute in that.
        &[0, 1],
        &[0, 1, 0],
        &[0, 1, 0, 0],
        // The attributes, the one attribute, its SET, the list of extensions in that, the one extension.
        &[0, 3],
        &[0, 3, 0],
        &[0, 3, 0, 1],
        &[0, 3, 0, 1, 0],
        &[0, 3, 0, 1, 0, 0],
    ] {
        // Not the signature: what is laid out wrongly is seen before that.
        let found = parse_request(render(&grown(&der, path, &null)));
        assert!(matches!(found, Err(RequestError::Malformed { .. })), "{path:?}: {found:?}");
    }
    let after = [&der[..], &null].concat();
    assert_eq!(parse_request(render(&after)), Err(RequestError::TrailingBytes { bytes: 2 }));
}

#[test]
fn a_request_that_its_key_did_not_sign_is_refused() {
    let shop = Workshop::new();
    for key in [P256, P384, P521, ED25519, RSA] {
        let good = make(&shop, key, NODE, "");
        let mut bytes = der(&good);
        let at = bytes.windows(6).position(|window| window == b"node-1").unwrap() + 5;
        bytes[at] = b'2';
        assert_eq!(parse_request(render(&bytes)), Err(RequestError::BadSignature), "{key}");
    }
}
