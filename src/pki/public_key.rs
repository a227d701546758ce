//! Which kind of public key a certificate or a private key holds, by the numbers in its AlgorithmIdentifier
//! (RFC 3279, RFC 5480, RFC 8410). Names what it cannot use, so that a refusal can say what was found.

use std::fmt;
use x509_parser::{
    asn1_rs::{Any, Oid, Tag, oid},
    public_key::PublicKey,
    x509::SubjectPublicKeyInfo,
};

const RSA: Oid<'static> = oid!(1.2.840.113549.1.1.1);
const EC: Oid<'static> = oid!(1.2.840.10045.2.1);
const ED25519: Oid<'static> = oid!(1.3.101.112);
const P256: Oid<'static> = oid!(1.2.840.10045.3.1.7);
const P384: Oid<'static> = oid!(1.3.132.0.34);
const P521: Oid<'static> = oid!(1.3.132.0.35);

/// Kinds known only to be refused by name.
const FOREIGN: &[(Oid<'static>, &str)] = &[
    (oid!(1.2.840.10040.4.1), "DSA"),
    (oid!(1.2.840.113549.1.1.10), "RSASSA-PSS"),
    (oid!(1.2.840.113549.1.3.1), "Diffie-Hellman"),
    (oid!(1.3.101.110), "X25519"),
    (oid!(1.3.101.111), "X448"),
    (oid!(1.3.101.113), "Ed448"),
    (oid!(2.16.840.1.101.3.4.3.17), "ML-DSA-44"),
    (oid!(2.16.840.1.101.3.4.3.18), "ML-DSA-65"),
    (oid!(2.16.840.1.101.3.4.3.19), "ML-DSA-87"),
];
const FOREIGN_CURVES: &[(Oid<'static>, &str)] = &[
    (oid!(1.3.132.0.10), "secp256k1"),
    (oid!(1.3.132.0.33), "P-224"),
    (oid!(1.2.840.10045.3.1.1), "P-192"),
    (oid!(1.3.36.3.3.2.8.1.1.7), "brainpoolP256r1"),
    (oid!(1.3.36.3.3.2.8.1.1.11), "brainpoolP384r1"),
    (oid!(1.2.156.10197.1.301), "SM2"),
];

/// A public key's algorithm and size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum KeyKind {
    EcdsaP256,
    EcdsaP384,
    EcdsaP521,
    Ed25519,
    /// The modulus in bits.
    Rsa(usize),
    /// An elliptic curve that Kubernetes (Go) does not know, by name or number.
    OtherCurve(String),
    Other(String),
}

impl KeyKind {
    pub(super) fn of(spki: &SubjectPublicKeyInfo<'_>) -> Self {
        let kind = Self::of_algorithm(&spki.algorithm.algorithm, spki.algorithm.parameters.as_ref());
        match (kind, spki.parsed()) {
            (Self::Rsa(_), Ok(PublicKey::RSA(key))) => Self::Rsa(bit_length(key.modulus)),
            // Legal (RFC 5480), but Go cannot read it.
            (kind, Ok(PublicKey::EC(point))) if matches!(point.data(), [2 | 3, ..]) => {
                Self::OtherCurve(format!("{kind} with a compressed point"))
            }
            (kind, _) => kind,
        }
    }

    /// The kind an AlgorithmIdentifier names; an RSA key's size is not in there and stays 0.
    pub(super) fn of_algorithm(algorithm: &Oid<'_>, parameters: Option<&Any<'_>>) -> Self {
        if *algorithm == RSA {
            Self::Rsa(0)
        } else if *algorithm == ED25519 {
            Self::Ed25519
        } else if *algorithm == EC {
            // `as_oid` takes the content of whatever it is given.
            parameters
                .filter(|p| p.tag() == Tag::Oid)
                .and_then(|p| p.as_oid().ok())
                .map_or_else(|| Self::OtherCurve("with explicit parameters".to_owned()), |curve| Self::of_curve(&curve))
        } else {
            Self::Other(name_of(FOREIGN, algorithm))
        }
    }

    pub(super) fn of_curve(curve: &Oid<'_>) -> Self {
        [(P256, Self::EcdsaP256), (P384, Self::EcdsaP384), (P521, Self::EcdsaP521)]
            .into_iter()
            .find_map(|(oid, kind)| (oid == *curve).then_some(kind))
            .unwrap_or_else(|| Self::OtherCurve(name_of(FOREIGN_CURVES, curve)))
    }
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EcdsaP256 => f.write_str("ecdsa-p256"),
            Self::EcdsaP384 => f.write_str("ecdsa-p384"),
            Self::EcdsaP521 => f.write_str("ecdsa-p521"),
            Self::Ed25519 => f.write_str("ed25519"),
            Self::Rsa(bits) => write!(f, "rsa-{bits}"),
            Self::OtherCurve(name) => write!(f, "ec {name}"),
            Self::Other(name) => f.write_str(name),
        }
    }
}

/// Significant bits of a big-endian unsigned integer.
pub(super) fn bit_length(integer: &[u8]) -> usize {
    let significant = integer.iter().position(|byte| *byte != 0).map_or(&[][..], |start| &integer[start..]);
    significant.first().map_or(0, |first| significant.len() * 8 - first.leading_zeros() as usize)
}

fn name_of(known: &[(Oid<'static>, &str)], oid: &Oid<'_>) -> String {
    known.iter().find(|(known, _)| known == oid).map_or_else(|| oid.to_id_string(), |(_, name)| (*name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_of_a_modulus_is_counted_without_its_leading_zeros() {
        assert_eq!(bit_length(&[]), 0);
        assert_eq!(bit_length(&[0, 0]), 0);
        assert_eq!(bit_length(&[0, 0x80, 0]), 16);
        assert_eq!(bit_length(&[0x01, 0xff]), 9);
    }

    #[test]
    fn an_unknown_number_is_shown_as_it_is() {
        assert_eq!(KeyKind::of_algorithm(&oid!(1.2.3), None), KeyKind::Other("1.2.3".to_owned()));
        assert_eq!(KeyKind::of_curve(&oid!(1.3.132.0.10)).to_string(), "ec secp256k1");
    }
}
