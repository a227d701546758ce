//! Certificates byte by byte: any field may be what no library would write. The rest is a CA that every reader takes.
#![allow(dead_code, clippy::unwrap_used)]

use aws_lc_rs::{
    rand::SystemRandom,
    rsa::KeySize,
    signature::{self as aws, KeyPair},
};

pub const SEQUENCE: u8 = 0x30;
pub const SET: u8 = 0x31;
pub const UTF8: u8 = 0x0c;
pub const PRINTABLE: u8 = 0x13;
pub const UTC: u8 = 0x17;
pub const GENERALIZED: u8 = 0x18;

/// An element with its content in parts.
pub fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let mut out = vec![tag];
    match content.len() {
        short @ 0..0x80 => out.push(short as u8),
        short @ 0x80..0x100 => out.extend([0x81, short as u8]),
        long => out.extend([0x82, (long >> 8) as u8, long as u8]),
    }
    out.extend(content);
    out
}

pub fn seq(parts: &[&[u8]]) -> Vec<u8> {
    tlv(SEQUENCE, parts)
}

/// An object identifier from dotted numbers.
pub fn oid(dotted: &str) -> Vec<u8> {
    let arcs: Vec<u128> = dotted.split('.').map(|arc| arc.parse().unwrap()).collect();
    let mut content = Vec::new();
    for arc in std::iter::once(arcs[0] * 40 + arcs[1]).chain(arcs[2..].iter().copied()) {
        let mut bytes = vec![(arc & 0x7f) as u8];
        let mut rest = arc >> 7;
        while rest > 0 {
            bytes.push((rest & 0x7f) as u8 | 0x80);
            rest >>= 7;
        }
        content.extend(bytes.iter().rev());
    }
    tlv(6, &[&content])
}

/// A name of one attribute per RDN.
pub fn name(attributes: &[(&str, u8, &[u8])]) -> Vec<u8> {
    let rdn = |(kind, tag, text): &(&str, u8, &[u8])| tlv(SET, &[&seq(&[&oid(kind), &tlv(*tag, &[text])])]);
    seq(&[&attributes.iter().map(rdn).collect::<Vec<_>>().concat()])
}

/// `critical` is the content of the BOOLEAN, if there is to be one.
pub fn extension(number: &str, critical: Option<u8>, value: &[u8]) -> Vec<u8> {
    let mark = critical.map(|byte| tlv(1, &[&[byte]])).unwrap_or_default();
    seq(&[&oid(number), &mark, &tlv(4, &[value])])
}

pub const BASIC_CONSTRAINTS: &str = "2.5.29.19";
pub const KEY_USAGE: &str = "2.5.29.15";

/// A key that signs, of one of the kinds that CAs have.
pub enum Key {
    Ec(aws::EcdsaKeyPair, &'static str, &'static str, Vec<u8>),
    Ed25519(aws::Ed25519KeyPair, Vec<u8>),
    Rsa(Box<aws::RsaKeyPair>, Vec<u8>),
}

impl Key {
    pub fn p256() -> Self {
        Self::ec(&aws::ECDSA_P256_SHA256_ASN1_SIGNING, "1.2.840.10045.3.1.7", "1.2.840.10045.4.3.2")
    }

    pub fn p384() -> Self {
        Self::ec(&aws::ECDSA_P384_SHA384_ASN1_SIGNING, "1.3.132.0.34", "1.2.840.10045.4.3.3")
    }

    pub fn p521() -> Self {
        Self::ec(&aws::ECDSA_P521_SHA512_ASN1_SIGNING, "1.3.132.0.35", "1.2.840.10045.4.3.4")
    }

    fn ec(algorithm: &'static aws::EcdsaSigningAlgorithm, curve: &'static str, signature: &'static str) -> Self {
        let pkcs8 = aws::EcdsaKeyPair::generate_pkcs8(algorithm, &SystemRandom::new()).unwrap();
        let pair = aws::EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref()).unwrap();
        Self::Ec(pair, curve, signature, pkcs8.as_ref().to_vec())
    }

    pub fn ed25519() -> Self {
        let pair = aws::Ed25519KeyPair::generate().unwrap();
        let pkcs8 = pair.to_pkcs8v1().unwrap().as_ref().to_vec();
        Self::Ed25519(pair, pkcs8)
    }

    pub fn rsa() -> Self {
        use aws_lc_rs::encoding::AsDer;
        let pair = aws::RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let pkcs8: aws_lc_rs::encoding::Pkcs8V1Der<'_> = pair.as_der().unwrap();
        let pkcs8 = pkcs8.as_ref().to_vec();
        Self::Rsa(Box::new(pair), pkcs8)
    }

    pub fn pkcs8(&self) -> &[u8] {
        match self {
            Self::Ec(_, _, _, pkcs8) | Self::Ed25519(_, pkcs8) | Self::Rsa(_, pkcs8) => pkcs8,
        }
    }

    pub fn pem(&self) -> String {
        pem::encode_config(&pem::Pem::new("PRIVATE KEY", self.pkcs8()), lf())
    }

    /// The public key's bits.
    pub fn public(&self) -> &[u8] {
        match self {
            Self::Ec(pair, ..) => pair.public_key().as_ref(),
            Self::Ed25519(pair, _) => pair.public_key().as_ref(),
            Self::Rsa(pair, _) => pair.public_key().as_ref(),
        }
    }

    /// SubjectPublicKeyInfo.
    pub fn spki(&self) -> Vec<u8> {
        let algorithm = match self {
            Self::Ec(_, curve, ..) => seq(&[&oid("1.2.840.10045.2.1"), &oid(curve)]),
            Self::Ed25519(..) => seq(&[&oid("1.3.101.112")]),
            Self::Rsa(..) => seq(&[&oid("1.2.840.113549.1.1.1"), &[5, 0]]),
        };
        seq(&[&algorithm, &tlv(3, &[&[0], self.public()])])
    }

    pub fn signature_algorithm(&self) -> Vec<u8> {
        match self {
            Self::Ec(_, _, signature, _) => seq(&[&oid(signature)]),
            Self::Ed25519(..) => seq(&[&oid("1.3.101.112")]),
            Self::Rsa(..) => seq(&[&oid("1.2.840.113549.1.1.11"), &[5, 0]]),
        }
    }

    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Ec(pair, ..) => pair.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec(),
            Self::Ed25519(pair, _) => pair.sign(message).as_ref().to_vec(),
            Self::Rsa(pair, _) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&aws::RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature).unwrap();
                signature
            }
        }
    }
}

/// Every field of a certificate, encoded.
#[derive(Clone)]
pub struct Certificate {
    /// The whole `[0]` field; empty for version 1.
    pub version: Vec<u8>,
    /// Content of the INTEGER.
    pub serial: Vec<u8>,
    pub inner_algorithm: Vec<u8>,
    pub outer_algorithm: Vec<u8>,
    pub issuer: Vec<u8>,
    pub validity: Vec<u8>,
    pub subject: Vec<u8>,
    pub spki: Vec<u8>,
    /// What stands between key and extensions.
    pub unique: Vec<u8>,
    /// `None` for no such field.
    pub extensions: Option<Vec<Vec<u8>>>,
    pub after_extensions: Vec<u8>,
    pub after_signature: Vec<u8>,
    pub after_certificate: Vec<u8>,
    /// Instead of the first content byte of the signature's BIT STRING.
    pub unused_bits: u8,
}

pub fn version(number: u8) -> Vec<u8> {
    tlv(0xa0, &[&tlv(2, &[&[number]])])
}

pub fn times(not_before: (u8, &[u8]), not_after: (u8, &[u8])) -> Vec<u8> {
    seq(&[&tlv(not_before.0, &[not_before.1]), &tlv(not_after.0, &[not_after.1])])
}

impl Certificate {
    /// A CA of version 3 that signs itself.
    pub fn ca(key: &Key, common_name: &str) -> Self {
        let subject = name(&[("2.5.4.10", UTF8, b"k8s"), ("2.5.4.3", UTF8, common_name.as_bytes())]);
        Self {
            version: version(2),
            serial: vec![0x11, 0x22, 0x33],
            inner_algorithm: key.signature_algorithm(),
            outer_algorithm: key.signature_algorithm(),
            issuer: subject.clone(),
            validity: times((UTC, b"200101000000Z"), (UTC, b"450101000000Z")),
            subject,
            spki: key.spki(),
            unique: Vec::new(),
            extensions: Some(vec![
                extension(BASIC_CONSTRAINTS, Some(0xff), &[0x30, 3, 1, 1, 0xff]),
                extension(KEY_USAGE, Some(0xff), &[3, 2, 1, 6]),
            ]),
            after_extensions: Vec::new(),
            after_signature: Vec::new(),
            after_certificate: Vec::new(),
            unused_bits: 0,
        }
    }

    /// A server at 127.0.0.1 under the CA with that subject and key.
    pub fn server(ca: &Self, ca_key: &Key, key: &Key) -> Self {
        Self {
            inner_algorithm: ca_key.signature_algorithm(),
            outer_algorithm: ca_key.signature_algorithm(),
            issuer: ca.subject.clone(),
            extensions: Some(vec![
                extension("2.5.29.17", None, &seq(&[&tlv(0x87, &[&[127, 0, 0, 1]])])),
                extension("2.5.29.37", None, &seq(&[&oid("1.3.6.1.5.5.7.3.1")])),
            ]),
            ..Self::ca(key, "server")
        }
    }

    /// A client certificate as kube-proxy's request asks for it.
    pub fn kube_proxy(ca: &Self, ca_key: &Key, key: &Key) -> Self {
        Self {
            subject: name(&[("2.5.4.10", UTF8, b"system:node-proxier"), ("2.5.4.3", UTF8, b"system:kube-proxy")]),
            extensions: Some(vec![
                extension(KEY_USAGE, Some(0xff), &[3, 2, 7, 0x80]),
                extension("2.5.29.37", None, &seq(&[&oid("1.3.6.1.5.5.7.3.2")])),
            ]),
            ..Self::server(ca, ca_key, key)
        }
    }

    /// One more extension.
    pub fn with(mut self, extension: Vec<u8>) -> Self {
        self.extensions.get_or_insert_default().push(extension);
        self
    }

    /// Another value of an extension that is there.
    pub fn with_other(mut self, number: &str, critical: Option<u8>, value: &[u8]) -> Self {
        let old = oid(number);
        let extensions = self.extensions.as_mut().unwrap();
        extensions.retain(|extension| !extension.windows(old.len()).any(|window| window == old));
        extensions.push(extension(number, critical, value));
        self
    }

    pub fn without(mut self, number: &str) -> Self {
        let old = oid(number);
        self.extensions.as_mut().unwrap().retain(|extension| !extension.windows(old.len()).any(|window| window == old));
        self
    }

    pub fn der(&self, signer: &Key) -> Vec<u8> {
        let extensions = self.extensions.as_ref().map(|all| tlv(0xa3, &[&seq(&[&all.concat()])])).unwrap_or_default();
        let to_be_signed = seq(&[
            &self.version,
            &tlv(2, &[&self.serial]),
            &self.inner_algorithm,
            &self.issuer,
            &self.validity,
            &self.subject,
            &self.spki,
            &self.unique,
            &extensions,
            &self.after_extensions,
        ]);
        let signature = tlv(3, &[&[self.unused_bits], &signer.sign(&to_be_signed)]);
        [
            seq(&[&to_be_signed, &self.outer_algorithm, &signature, &self.after_signature]),
            self.after_certificate.clone(),
        ]
        .concat()
    }

    pub fn pem(&self, signer: &Key) -> String {
        pem::encode_config(&pem::Pem::new("CERTIFICATE", self.der(signer)), lf())
    }
}

fn lf() -> pem::EncodeConfig {
    pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF)
}
