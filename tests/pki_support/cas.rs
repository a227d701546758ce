//! CAs of every kind that Go's crypto/x509 might take or refuse: each extension critical and not, well-formed, malformed
//! and with bytes behind it; each string type with text that fits and text that does not; serial numbers, versions,
//! times, keys, and what stands where nothing belongs.
#![allow(dead_code, clippy::unwrap_used)]

use super::der::*;

/// A CA under judgement.
pub struct Case {
    pub name: String,
    pub ca: Certificate,
    pub key: Key,
    /// kubemint refuses it for a reason of its own, whatever Go says.
    pub is_own_limit: bool,
}

struct Cases {
    all: Vec<Case>,
}

impl Cases {
    fn add(&mut self, name: impl Into<String>, change: impl FnOnce(Certificate) -> Certificate) {
        self.add_with(name, Key::p256(), change);
    }

    fn add_with(&mut self, name: impl Into<String>, key: Key, change: impl FnOnce(Certificate) -> Certificate) {
        let ca = change(Certificate::ca(&key, "kubernetes"));
        self.all.push(Case { name: name.into(), ca, key, is_own_limit: false });
    }

    fn add_own_limit(&mut self, name: &str, change: impl FnOnce(Certificate) -> Certificate) {
        self.add(name, change);
        self.all.last_mut().unwrap().is_own_limit = true;
    }
}

/// Extensions that Go knows, with a value it reads.
fn well_formed() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let dns = |name: &[u8]| tlv(0x82, &[name]);
    let policy = seq(&[&oid("1.2.3.4")]);
    vec![
        ("subjectKeyIdentifier", "2.5.29.14", tlv(4, &[&[1, 2, 3, 4]])),
        ("keyUsage", KEY_USAGE, vec![3, 2, 2, 0x04]),
        ("subjectAltName", "2.5.29.17", seq(&[&dns(b"ca.example.org")])),
        ("basicConstraints", BASIC_CONSTRAINTS, vec![0x30, 6, 1, 1, 0xff, 2, 1, 0]),
        ("nameConstraints", "2.5.29.30", seq(&[&tlv(0xa0, &[&seq(&[&dns(b"example.org")])])])),
        (
            "cRLDistributionPoints",
            "2.5.29.31",
            seq(&[&seq(&[&tlv(0xa0, &[&tlv(0xa0, &[&tlv(0x86, &[b"http://a/b.crl"])])])])]),
        ),
        ("certificatePolicies", "2.5.29.32", seq(&[&policy])),
        ("policyMappings", "2.5.29.33", seq(&[&seq(&[&oid("1.2.3.4"), &oid("1.2.3.5")])])),
        ("authorityKeyIdentifier", "2.5.29.35", seq(&[&tlv(0x80, &[&[9, 9, 9]])])),
        ("policyConstraints", "2.5.29.36", seq(&[&[0x80, 1, 0], &[0x81, 1, 0]])),
        ("extKeyUsage", "2.5.29.37", seq(&[&oid("1.3.6.1.5.5.7.3.1"), &oid("1.3.6.1.5.5.7.3.2")])),
        ("inhibitAnyPolicy", "2.5.29.54", vec![2, 1, 0]),
        (
            "authorityInfoAccess",
            "1.3.6.1.5.5.7.1.1",
            seq(&[&seq(&[&oid("1.3.6.1.5.5.7.48.1"), &tlv(0x86, &[b"http://a/"])])]),
        ),
    ]
}

/// `::ffff:10.0.0.0/104`.
const MAPPED_NETWORK: [u8; 32] = {
    let mut bytes = [0; 32];
    (bytes[10], bytes[11], bytes[12]) = (0xff, 0xff, 10);
    let mut at = 16;
    while at < 29 {
        bytes[at] = 0xff;
        at += 1;
    }
    bytes
};

/// Extensions that Go does not know.
const UNKNOWN: [(&str, &str); 12] = [
    ("issuerAltName", "2.5.29.18"),
    ("privateKeyUsagePeriod", "2.5.29.16"),
    ("subjectDirectoryAttributes", "2.5.29.9"),
    ("freshestCRL", "2.5.29.46"),
    ("subjectInfoAccess", "1.3.6.1.5.5.7.1.11"),
    ("qcStatements", "1.3.6.1.5.5.7.1.3"),
    ("TLS feature", "1.3.6.1.5.5.7.1.24"),
    ("OCSP no check", "1.3.6.1.5.5.7.48.1.5"),
    ("Netscape certificate type", "2.16.840.1.113730.1.1"),
    ("Microsoft CA version", "1.3.6.1.4.1.311.21.1"),
    ("a private number", "1.3.6.1.4.1.99999.1"),
    ("a number as wide as a UUID", "2.25.329800735698586629295641978511506172918"),
];

fn extensions(cases: &mut Cases) {
    let set = |ca: Certificate, number: &str, critical, value: &[u8]| match number {
        KEY_USAGE | BASIC_CONSTRAINTS => ca.with_other(number, critical, value),
        _ => ca.with(extension(number, critical, value)),
    };
    for (name, number, value) in well_formed() {
        for (critical, mark) in [(None, "plain"), (Some(0xff), "critical")] {
            cases.add(format!("{name}, {mark}"), |ca| set(ca, number, critical, &value));
        }
        cases.add(format!("{name}, NULL"), |ca| set(ca, number, None, &[5, 0]));
        cases
            .add(format!("{name}, bytes behind it"), |ca| set(ca, number, None, &[value.as_slice(), &[5, 0]].concat()));
        cases.add(format!("{name}, cut off"), |ca| set(ca, number, None, &value[..value.len() - 1]));
        cases.add(format!("{name}, an empty value"), |ca| set(ca, number, None, &[]));
        cases.add(format!("{name}, an empty sequence"), |ca| set(ca, number, None, &[0x30, 0]));
    }
    for (name, number) in UNKNOWN {
        cases.add(format!("{name}, plain"), |ca| ca.with(extension(number, None, &[5, 0])));
        cases.add(format!("{name}, critical"), |ca| ca.with(extension(number, Some(0xff), &[5, 0])));
    }
    for (number, value) in [("2.5.29.14", &[4, 1, 1][..]), ("1.2.3.4", &[5, 0])] {
        for (critical, mark) in [(Some(0), "FALSE"), (Some(1), "01")] {
            cases.add(format!("{number} with a critical mark of {mark}"), |ca| {
                ca.with(extension(number, critical, value))
            });
        }
        cases.add(format!("{number} twice"), |ca| {
            ca.with(extension(number, None, value)).with(extension(number, None, value))
        });
    }
    cases.add("a number with a padded arc", |ca| ca.with(seq(&[&tlv(6, &[&[0x2a, 0x80, 0x03]]), &tlv(4, &[&[5, 0]])])));
    cases.add("an extension with bytes behind its value", |ca| {
        ca.with(seq(&[&oid("1.2.3.4"), &tlv(4, &[&[5, 0]]), &[5, 0]]))
    });
    cases.add("an extension without a value", |ca| ca.with(seq(&[&oid("1.2.3.4")])));
}

/// Values of single extensions that Go looks into.
fn values(cases: &mut Cases) {
    let constrained = |kind: u8, base: &[u8]| seq(&[&tlv(kind, &[&seq(&[base])])]);
    let bases: &[(&str, u8, &[u8])] = &[
        ("DNS", 0x82, b"example.org"),
        ("DNS with a dot in front", 0x82, b".example.org"),
        ("DNS, empty", 0x82, b""),
        ("DNS with a dot behind", 0x82, b"example.org."),
        ("DNS with a blank", 0x82, b"exa mple.org"),
        ("DNS beyond ASCII", 0x82, b"ex\xe4mple"),
        ("DNS with an empty label", 0x82, b"a..b"),
        ("a mailbox", 0x81, b"a@example.org"),
        ("a host of mail", 0x81, b"example.org"),
        ("a malformed mailbox", 0x81, b"@example.org"),
        ("a malformed host of mail", 0x81, b"a b"),
        ("a URI's host", 0x86, b"example.org"),
        ("a URI that is an address", 0x86, b"10.0.0.1"),
        ("a URI with an empty label", 0x86, b"a..b"),
        ("the server's network", 0x87, &[127, 0, 0, 0, 255, 0, 0, 0]),
        ("another network", 0x87, &[10, 0, 0, 0, 255, 0, 0, 0]),
        ("every network", 0x87, &[0; 8]),
        ("a network of IPv6", 0x87, &[0; 32]),
        ("a mask with a gap", 0x87, &[10, 0, 0, 0, 255, 0, 255, 0]),
        ("a network of IPv4 as IPv6", 0x87, &MAPPED_NETWORK),
        ("a network of four bytes", 0x87, &[10, 0, 0, 0]),
        ("directoryName", 0xa4, &[0x30, 0]),
        ("otherName", 0xa0, &[6, 1, 0x2a, 0xa0, 3, 0x0c, 1, 0x61]),
        ("registeredID", 0x88, &[0x2a, 3, 4]),
        ("x400Address", 0xa3, &[]),
        ("ediPartyName", 0xa5, &[]),
    ];
    for (name, tag, base) in bases {
        for (critical, mark, kind, side) in
            [(None, "plain", 0xa0, "permitted"), (Some(0xff), "critical", 0xa1, "excluded")]
        {
            cases.add(format!("nameConstraints, {mark}, {side}: {name}"), |ca| {
                ca.with(extension("2.5.29.30", critical, &constrained(kind, &tlv(*tag, &[base]))))
            });
        }
    }
    for (name, value) in [
        ("permitted is empty", seq(&[&[0xa0, 0]])),
        ("a subtree without a base", seq(&[&tlv(0xa0, &[&[0x30, 0]])])),
        (
            "the two in the wrong order",
            seq(&[&constrained(0xa1, &tlv(0x82, &[b"b"]))[2..], &constrained(0xa0, &tlv(0x82, &[b"a"]))[2..]]),
        ),
        ("a minimum", seq(&[&tlv(0xa0, &[&seq(&[&tlv(0x82, &[b"a"]), &[0x80, 1, 0]])])])),
    ] {
        cases.add(format!("nameConstraints: {name}"), |ca| ca.with(extension("2.5.29.30", None, &value)));
    }
    let mapped = [&[0; 10][..], &[0xff, 0xff, 10, 0, 0, 1]].concat();
    let names: &[(&str, u8, &[u8])] = &[
        ("DNS beyond ASCII", 0x82, b"ex\xe4mple"),
        ("DNS with a blank", 0x82, b"a b"),
        ("a mailbox", 0x81, b"a@b"),
        ("a mailbox beyond ASCII", 0x81, b"\xe4@b"),
        ("a URI", 0x86, b"spiffe://cluster/ca"),
        ("an opaque URI", 0x86, b"urn:uuid:1"),
        ("a URI without a scheme", 0x86, b"://x"),
        ("a URI with a bad escape", 0x86, b"http://h/%zz"),
        ("a URI with an empty label", 0x86, b"http://a..b/"),
        ("a URI with a blank in its host", 0x86, b"http://a b/"),
        ("a URI with a bad port", 0x86, b"http://a:b/"),
        ("a URI with an address of IPv6", 0x86, b"https://[::1]:6443/"),
        ("a URI with an open bracket", 0x86, b"https://[::1/"),
        ("an address", 0x87, &[10, 0, 0, 1]),
        ("an address of five bytes", 0x87, &[10, 0, 0, 1, 0]),
        ("an address of IPv4 as IPv6", 0x87, &mapped),
        ("directoryName", 0xa4, &[0x30, 0]),
        ("otherName", 0xa0, &[6, 1, 0x2a, 0xa0, 3, 0x0c, 1, 0x61]),
        ("registeredID", 0x88, &[0x2a, 3, 4]),
    ];
    for (name, tag, text) in names {
        let value = seq(&[&tlv(*tag, &[text])]);
        cases.add(format!("subjectAltName: {name}"), |ca| ca.with(extension("2.5.29.17", None, &value)));
        if *tag > 0x87 {
            cases.add(format!("subjectAltName, critical: {name}"), |ca| {
                ca.with(extension("2.5.29.17", Some(0xff), &value))
            });
        }
    }
    for (name, value) in [
        ("CA:FALSE", &[0x30, 3, 1, 1, 0][..]),
        ("no cA field", &[0x30, 0]),
        ("cA 01", &[0x30, 3, 1, 1, 1]),
        ("a path length of -1", &[0x30, 6, 1, 1, 0xff, 2, 1, 0xff]),
        ("a padded path length", &[0x30, 7, 1, 1, 0xff, 2, 2, 0, 1]),
        ("a path length beyond 64 bits", &[0x30, 14, 1, 1, 0xff, 2, 9, 1, 0, 0, 0, 0, 0, 0, 0, 0]),
        ("a path length of 2^63", &[0x30, 14, 1, 1, 0xff, 2, 9, 0, 0x80, 0, 0, 0, 0, 0, 0, 0]),
        ("a third field", &[0x30, 9, 1, 1, 0xff, 2, 1, 0, 2, 1, 0]),
    ] {
        cases.add(format!("basicConstraints: {name}"), |ca| ca.with_other(BASIC_CONSTRAINTS, Some(0xff), value));
    }
    for (name, value) in [
        ("no bit", &[3, 1, 0][..]),
        ("cRLSign alone", &[3, 2, 1, 2]),
        ("unused bits that are set", &[3, 2, 3, 7]),
        ("eight unused bits", &[3, 2, 8, 0]),
        ("only bits that nobody knows", &[3, 3, 0, 0, 0x7f]),
    ] {
        cases.add(format!("keyUsage: {name}"), |ca| ca.with_other(KEY_USAGE, Some(0xff), value));
    }
    cases.add("no key usage", |ca| ca.without(KEY_USAGE));
    cases.add("no basic constraints", |ca| ca.without(BASIC_CONSTRAINTS));
    for (name, usages) in [
        ("clientAuth", vec!["1.3.6.1.5.5.7.3.2"]),
        ("any", vec!["2.5.29.37.0"]),
        ("codeSigning", vec!["1.3.6.1.5.5.7.3.3"]),
        ("a private one beside both", vec!["1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2", "1.3.6.1.4.1.99999.1"]),
        ("one too wide beside both", vec!["1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2", UNKNOWN[11].1]),
    ] {
        let value = seq(&[&usages.iter().map(|usage| oid(usage)).collect::<Vec<_>>().concat()]);
        cases.add(format!("extKeyUsage: {name}"), |ca| ca.with(extension("2.5.29.37", None, &value)));
    }
    cases.add_own_limit("extKeyUsage: serverAuth, under which no client can be signed", |ca| {
        ca.with(extension("2.5.29.37", None, &seq(&[&oid("1.3.6.1.5.5.7.3.1")])))
    });
    for (name, policies) in [("one policy twice", ["1.2.3", "1.2.3"]), ("a wide policy", ["1.2.3", UNKNOWN[11].1])] {
        let value = seq(&policies.map(|policy| seq(&[&oid(policy)])).iter().map(Vec::as_slice).collect::<Vec<_>>());
        cases.add(format!("certificatePolicies: {name}"), |ca| ca.with(extension("2.5.29.32", Some(0xff), &value)));
    }
}

fn names(cases: &mut Cases) {
    let texts: &[(&str, u8, &[u8])] = &[
        ("UTF8String", UTF8, "Zo\u{eb} \u{1f600}".as_bytes()),
        ("UTF8String that is none", UTF8, b"Zo\xeb"),
        ("UTF8String with a surrogate", UTF8, b"\xed\xa0\x80"),
        ("PrintableString", PRINTABLE, b"Kubernetes CA '()+,-./:=?"),
        ("PrintableString, empty", PRINTABLE, b""),
        ("PrintableString with *", PRINTABLE, b"*.a"),
        ("PrintableString with &", PRINTABLE, b"a&b"),
        ("PrintableString with _", PRINTABLE, b"my_ca"),
        ("PrintableString with @", PRINTABLE, b"a@b"),
        ("PrintableString beyond ASCII", PRINTABLE, b"Zo\xeb"),
        ("PrintableString with NUL", PRINTABLE, b"a\0"),
        ("T61String", 0x14, b"Zo\xeb"),
        ("IA5String", 0x16, b"a@b_c"),
        ("IA5String beyond ASCII", 0x16, b"Zo\xeb"),
        ("NumericString", 0x12, b"12 34"),
        ("NumericString with a letter", 0x12, b"12a"),
        ("BMPString", 0x1e, b"\0Z\0o\0\xeb"),
        ("BMPString of odd length", 0x1e, b"\0Z\0"),
        ("BMPString with an end", 0x1e, b"\0Z\0\0"),
        ("BMPString with a surrogate", 0x1e, b"\xd8\x3d\xde\0"),
        ("BMPString with a noncharacter", 0x1e, b"\xff\xff"),
        ("VisibleString", 0x1a, b"ca"),
        ("GeneralString", 0x1b, b"ca"),
        ("UniversalString", 0x1c, b"\0\0\0c"),
        ("GraphicString", 0x19, b"ca"),
        ("an integer", 0x02, b"\x01"),
        ("an octet string", 0x04, b"ca"),
        ("NULL", 0x05, b""),
    ];
    for (at, (name_of, tag, text)) in texts.iter().enumerate() {
        let named = name(&[("2.5.4.10", UTF8, b"k8s"), ("2.5.4.3", *tag, text)]);
        cases.add(format!("subject: {name_of}"), |ca| Certificate {
            issuer: named.clone(),
            subject: named.clone(),
            ..ca
        });
        if at % 4 == 0 {
            cases.add(format!("issuer: {name_of}"), |ca| Certificate { issuer: named.clone(), ..ca });
        }
    }
    let shapes = [
        ("empty", seq(&[])),
        ("an attribute without a value", seq(&[&tlv(SET, &[&seq(&[&oid("2.5.4.3")])])])),
        (
            "an attribute with bytes behind it",
            seq(&[&tlv(SET, &[&seq(&[&oid("2.5.4.3"), &tlv(UTF8, &[b"ca"]), &[5, 0]])])]),
        ),
        ("a sequence in place of a set", seq(&[&seq(&[&seq(&[&oid("2.5.4.3"), &tlv(UTF8, &[b"ca"])])])])),
        ("a wide attribute type", name(&[(UNKNOWN[11].1, UTF8, b"ca")])),
        (
            "two attributes in one RDN",
            seq(&[&tlv(
                SET,
                &[&seq(&[&oid("2.5.4.3"), &tlv(UTF8, &[b"a"])]), &seq(&[&oid("2.5.4.11"), &tlv(UTF8, &[b"b"])])],
            )]),
        ),
        (
            "empty texts",
            name(&[("2.5.4.6", PRINTABLE, b""), ("2.5.4.8", PRINTABLE, b""), ("2.5.4.3", PRINTABLE, b"ca")]),
        ),
    ];
    cases.add_own_limit("subject: an empty RDN, which x509-parser does not read", |ca| {
        let shape = seq(&[&tlv(SET, &[])]);
        Certificate { issuer: shape.clone(), subject: shape, ..ca }
    });
    for (name, shape) in shapes {
        cases.add(format!("subject: {name}"), |ca| Certificate { issuer: shape.clone(), subject: shape.clone(), ..ca });
    }
}

fn numbers_and_times(cases: &mut Cases) {
    for (name, serial) in [
        ("zero", vec![0]),
        ("small", vec![1]),
        ("high bit with its zero", vec![0, 0x80]),
        ("negative", vec![0x80, 1]),
        ("minus one", vec![0xff]),
        ("padded", vec![0, 1]),
        ("padded below zero", vec![0xff, 0x80]),
        ("empty", vec![]),
        ("20 octets", vec![0x11; 20]),
        ("21 octets", vec![0x11; 21]),
        ("200 octets", vec![0x11; 200]),
    ] {
        cases.add(format!("serial: {name}"), |ca| Certificate { serial, ..ca });
    }
    for (name, version) in [
        ("1, unsaid, with extensions", Vec::new()),
        ("1, said", version(0)),
        ("2", version(1)),
        ("4", version(3)),
        ("0", version(0xff)),
        ("of two bytes", tlv(0xa0, &[&tlv(2, &[&[0, 2]])])),
        ("with bytes behind it", tlv(0xa0, &[&tlv(2, &[&[2]]), &[5, 0]])),
    ] {
        cases.add(format!("version {name}"), |ca| Certificate { version: version.clone(), ..ca });
        if version.len() < 6 {
            cases.add(format!("version {name}, no extensions"), |ca| Certificate { version, extensions: None, ..ca });
        }
    }
    cases.add("version 3, no extensions", |ca| Certificate { extensions: None, ..ca });
    cases.add("version 3, an empty list of extensions", |ca| Certificate { extensions: Some(Vec::new()), ..ca });
    let from: &[(&str, u8, &[u8])] = &[
        ("GeneralizedTime before 2050", GENERALIZED, b"20200101000000Z"),
        ("UTCTime without seconds", UTC, b"2001010000Z"),
        ("UTCTime with an offset", UTC, b"200101000000+0100"),
        ("UTCTime with an offset of zero", UTC, b"200101000000+0000"),
        ("UTCTime without a zone", UTC, b"200101000000"),
        ("UTCTime of 30 February", UTC, b"200230000000Z"),
        ("UTCTime of 1950", UTC, b"500101000000Z"),
        ("UTCTime with 60 seconds", UTC, b"200101000060Z"),
        ("GeneralizedTime with a fraction", GENERALIZED, b"20200101000000.5Z"),
        ("GeneralizedTime without seconds", GENERALIZED, b"202001010000Z"),
        ("GeneralizedTime of the year 0", GENERALIZED, b"00000101000000Z"),
        ("a time of another type", UTF8, b"200101000000Z"),
        ("a time with a letter", UTC, b"20010100000xZ"),
        ("a lower-case zone", UTC, b"200101000000z"),
    ];
    for (name, tag, text) in from {
        cases.add(format!("notBefore: {name}"), |ca| Certificate {
            validity: times((*tag, text), (UTC, b"450101000000Z")),
            ..ca
        });
    }
    cases.add_own_limit("notBefore: GeneralizedTime with an offset, which x509-parser does not read", |ca| {
        Certificate { validity: times((GENERALIZED, b"20200101000000+0130"), (UTC, b"450101000000Z")), ..ca }
    });
    cases.add("notAfter: the year 9999", |ca| Certificate {
        validity: times((UTC, b"200101000000Z"), (GENERALIZED, b"99991231235959Z")),
        ..ca
    });
    cases.add("notAfter: past", |ca| Certificate {
        validity: times((UTC, b"200101000000Z"), (UTC, b"210101000000Z")),
        ..ca
    });
    cases.add("notBefore: to come", |ca| Certificate {
        validity: times((UTC, b"440101000000Z"), (UTC, b"450101000000Z")),
        ..ca
    });
    cases.add("validity with a third time", |ca| {
        let times = [tlv(UTC, &[b"200101000000Z"]), tlv(UTC, &[b"450101000000Z"]), tlv(UTC, &[b"450101000000Z"])];
        Certificate { validity: seq(&[&times.concat()]), ..ca }
    });
}

fn keys_and_outline(cases: &mut Cases) {
    for (name, key) in
        [("P-384", Key::p384()), ("P-521", Key::p521()), ("Ed25519", Key::ed25519()), ("RSA", Key::rsa())]
    {
        cases.add_with(format!("key: {name}"), key, |ca| ca);
    }
    let public = |key: &Key, algorithm: &[u8], bits: &[u8]| {
        let _ = key;
        seq(&[algorithm, &tlv(3, &[&[0], bits])])
    };
    let rsa = Key::rsa();
    let spki = public(&rsa, &seq(&[&oid("1.2.840.113549.1.1.1")]), rsa.public());
    cases.add_with("key: RSA without NULL", rsa, |ca| Certificate { spki, ..ca });
    let ed = Key::ed25519();
    let spki = public(&ed, &seq(&[&oid("1.3.101.112"), &[5, 0]]), ed.public());
    cases.add_with("key: Ed25519 with NULL", ed, |ca| Certificate { spki, ..ca });
    let ec = Key::p256();
    let mut off = ec.public().to_vec();
    *off.last_mut().unwrap() ^= 1;
    let spki = public(&ec, &seq(&[&oid("1.2.840.10045.2.1"), &oid("1.2.840.10045.3.1.7")]), &off);
    cases.add_with("key: a point off the curve", ec, |ca| Certificate { spki, ..ca });
    let ec = Key::p256();
    let spki = public(&ec, &seq(&[&oid("1.2.840.10045.2.1"), &oid("1.3.132.0.10")]), ec.public());
    cases.add_with("key: secp256k1", ec, |ca| Certificate { spki, ..ca });
    let ec = Key::p256();
    let spki =
        seq(&[&seq(&[&oid("1.2.840.10045.2.1"), &oid("1.2.840.10045.3.1.7")]), &tlv(3, &[&[0], ec.public()]), &[5, 0]]);
    cases.add_with("key with bytes behind it", ec, |ca| Certificate { spki, ..ca });

    cases.add("outer signature algorithm differs", |ca| Certificate {
        outer_algorithm: Key::p384().signature_algorithm(),
        ..ca
    });
    cases.add("outer signature algorithm with NULL", |ca| Certificate {
        outer_algorithm: seq(&[&oid("1.2.840.10045.4.3.2"), &[5, 0]]),
        ..ca
    });
    cases.add("both signature algorithms with NULL", |ca| {
        let with_null = seq(&[&oid("1.2.840.10045.4.3.2"), &[5, 0]]);
        Certificate { inner_algorithm: with_null.clone(), outer_algorithm: with_null, ..ca }
    });
    cases.add("unique identifiers", |ca| Certificate {
        unique: [tlv(0x81, &[&[0, 1]]), tlv(0x82, &[&[0, 2]])].concat(),
        ..ca
    });
    cases.add("a constructed unique identifier", |ca| Certificate { unique: tlv(0xa1, &[&[3, 2, 0, 1]]), ..ca });
    cases.add_own_limit("bytes behind the extensions, which x509-parser does not read", |ca| Certificate {
        after_extensions: vec![5, 0],
        ..ca
    });
    cases.add("bytes behind the signature", |ca| Certificate { after_signature: vec![5, 0], ..ca });
    cases.add("bytes behind the certificate", |ca| Certificate { after_certificate: vec![5, 0], ..ca });
}

/// Every case, each with a key of its own.
pub fn all() -> Vec<Case> {
    let mut cases = Cases { all: Vec::new() };
    cases.add("nothing unusual", |ca| ca);
    extensions(&mut cases);
    values(&mut cases);
    names(&mut cases);
    numbers_and_times(&mut cases);
    keys_and_outline(&mut cases);
    cases.all
}
