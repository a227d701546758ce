//! The few DER moves (X.690) that issuing needs and rcgen cannot make: rcgen rewrites the issuer's name from its own
//! model, which drops repeated attributes, refuses multi-valued ones and alters Latin-1 text. Here a to-be-signed
//! certificate gets the issuer's name byte for byte, and becomes a certificate once it is signed.

use x509_parser::asn1_rs::{Any, Class, FromDer};

const SEQUENCE: u8 = 0x30;
const BIT_STRING: u8 = 0x03;

/// Where the issuer stands in a TBSCertificate: version, serial number, signature algorithm, issuer (RFC 5280
/// section 4.1).
const BEFORE_ISSUER: usize = 3;

/// `certificate` (whole, its signature ignored) taken apart: its to-be-signed part with `issuer` in place of the
/// issuer's name, and its signature algorithm. `None` when it is not the DER of a version 3 certificate.
pub(super) fn replace_issuer(certificate: &[u8], issuer: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let (_, outer) = Any::from_der(certificate).ok()?;
    let (after_tbs, tbs) = Any::from_der(outer.data).ok()?;
    let algorithm = first_element(after_tbs)?;

    let mut rest = tbs.data;
    for _ in 0..BEFORE_ISSUER {
        (rest, _) = Any::from_der(rest).ok()?;
    }
    let before = &tbs.data[..tbs.data.len() - rest.len()];
    let (after, _) = Any::from_der(rest).ok()?;
    Some((element(SEQUENCE, &[before, issuer, after]), algorithm.to_vec()))
}

/// Whether the signature algorithm outside the signed part repeats the one inside, byte for byte, as RFC 5280 section
/// 4.1.1.2 demands: the outer one is not signed, and x509-parser reads it with some leniency.
pub(super) fn repeats_signature_algorithm(certificate: &[u8]) -> bool {
    let agree = || {
        let (_, outer) = Any::from_der(certificate).ok()?;
        let (after_tbs, tbs) = Any::from_der(outer.data).ok()?;
        let (after_first, first) = Any::from_der(tbs.data).ok()?;
        let is_version = first.class() == Class::ContextSpecific;
        let before_algorithm = if is_version { Any::from_der(after_first).ok()?.0 } else { after_first };
        Some(first_element(after_tbs)? == first_element(before_algorithm)?)
    };
    agree().unwrap_or(false)
}

/// What a constructed value holds, each element whole; `None` where it is not DER to its last byte.
pub(super) fn elements(mut content: &[u8]) -> Option<Vec<Any<'_>>> {
    let mut found = Vec::new();
    while !content.is_empty() {
        let (rest, element) = Any::from_der(content).ok()?;
        found.push(element);
        content = rest;
    }
    Some(found)
}

fn first_element(bytes: &[u8]) -> Option<&[u8]> {
    let (rest, _) = Any::from_der(bytes).ok()?;
    Some(&bytes[..bytes.len() - rest.len()])
}

/// The certificate made of its three parts.
pub(super) fn assemble(to_be_signed: &[u8], algorithm: &[u8], signature: &[u8]) -> Vec<u8> {
    let signature = element(BIT_STRING, &[&[0], signature]);
    element(SEQUENCE, &[to_be_signed, algorithm, &signature])
}

fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut out = vec![tag];
    if length < 0x80 {
        out.push(length as u8);
    } else {
        let bytes: Vec<u8> = length.to_be_bytes().into_iter().skip_while(|byte| *byte == 0).collect();
        out.push(0x80 | bytes.len() as u8);
        out.extend(bytes);
    }
    parts.iter().for_each(|part| out.extend_from_slice(part));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_take_the_shortest_form() {
        for (length, head) in
            [(0, &[0x30, 0][..]), (127, &[0x30, 127]), (128, &[0x30, 0x81, 128]), (256, &[0x30, 0x82, 1, 0])]
        {
            let encoded = element(SEQUENCE, &[&vec![7; length]]);
            assert_eq!(&encoded[..head.len()], head);
            assert_eq!(encoded.len(), head.len() + length);
        }
    }

    #[test]
    fn what_is_no_certificate_is_left_alone() {
        for bytes in [&[][..], &[0x30], &[0x30, 0], &[0x30, 2, 0x30, 0], &[0x02, 1, 1]] {
            assert!(replace_issuer(bytes, &[0x30, 0]).is_none());
        }
    }
}
