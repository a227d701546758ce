//! A certificate's public key as Go reads it (crypto/x509/parser.go of Go 1.26: parsePublicKey; crypto/rsa's and
//! crypto/ecdsa's checks of a key that verifies). A kind that Go does not know is read, and verifies nothing. Which kinds
//! kubemint signs with is `fitness`'s question.

use super::der::{BIT_STRING, INTEGER, OID, Reader, SEQUENCE};
use aws_lc_rs::signature as aws;

/// Object identifiers, without tag and length.
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];
const X25519: &[u8] = &[0x2b, 0x65, 0x6e];
const P224: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x21];
const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const P384: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];
const P521: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x23];

/// Go's smallest RSA key since 1.24, in bits.
const SMALLEST_RSA: usize = 1024;

/// Reads a SubjectPublicKeyInfo's content.
///
/// # Errors
/// In words, what Go does not read, or does not verify with.
pub(super) fn check_key(info: &[u8]) -> Result<(), &'static str> {
    let mut info = Reader::new(info);
    let mut algorithm = info.inside(SEQUENCE).ok_or("a malformed public key")?;
    let kind = algorithm.oid().ok_or("a public key of a malformed kind")?;
    let parameters = match algorithm.is_empty() {
        true => None,
        false => Some(algorithm.any().ok_or("a public key with malformed parameters")?),
    };
    if !info.is_next(BIT_STRING) {
        return Err("a malformed public key");
    }
    let (unused, bits) = info.bit_string().ok_or("a malformed public key")?;
    // Go shifts a key whose last byte is not full; no encoder writes one.
    if unused != 0 {
        return Err("a public key that is no whole number of bytes");
    }
    match kind {
        RSA => match parameters {
            Some(null) if null.whole == [0x05, 0x00] => check_rsa(bits),
            _ => Err("an RSA key without NULL parameters"),
        },
        EC => match parameters {
            Some(curve) if curve.tag == OID => check_point(curve.content, bits),
            _ => Err("an elliptic curve that is not named"),
        },
        ED25519 | X25519 if parameters.is_some() => Err("an Ed25519 or X25519 key with parameters"),
        ED25519 | X25519 if bits.len() != 32 => Err("an Ed25519 or X25519 key of the wrong size"),
        _ => Ok(()),
    }
}

fn check_rsa(bits: &[u8]) -> Result<(), &'static str> {
    let mut key = Reader::new(bits).inside(SEQUENCE).ok_or("a malformed RSA key")?;
    if !key.is_next(INTEGER) {
        return Err("a malformed RSA key");
    }
    let modulus = key.integer().ok_or("a malformed RSA modulus")?;
    let exponent = key.int64().ok_or("a malformed RSA exponent")?;
    let is_odd_and_positive = modulus[0] & 0x80 == 0 && modulus.last().is_some_and(|last| last & 1 == 1);
    if !is_odd_and_positive {
        return Err("an RSA modulus that is not odd and positive");
    }
    if exponent <= 1 || exponent & 1 == 0 || exponent > i64::from(i32::MAX) {
        return Err("an RSA exponent that is even or out of range");
    }
    if crate::pki::public_key::bit_length(modulus) < SMALLEST_RSA {
        return Err("an RSA key of less than 1024 bits");
    }
    Ok(())
}

fn check_point(curve: &[u8], point: &[u8]) -> Result<(), &'static str> {
    let algorithm: &'static aws::EcdsaVerificationAlgorithm = match curve {
        P256 => &aws::ECDSA_P256_SHA256_ASN1,
        P384 => &aws::ECDSA_P384_SHA384_ASN1,
        P521 => &aws::ECDSA_P521_SHA512_ASN1,
        // Read by Go, refused by `fitness`.
        P224 => return Ok(()),
        _ => return Err("an elliptic curve that it does not know"),
    };
    if point.first() != Some(&0x04) {
        return Err("a point of an elliptic curve that is not uncompressed");
    }
    match aws::ParsedPublicKey::new(algorithm, point) {
        Ok(_) => Ok(()),
        Err(_) => Err("a point that is not on its elliptic curve"),
    }
}
