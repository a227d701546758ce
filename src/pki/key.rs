//! Private keys: made, read from the forms people have (PKCS#8 RFC 5958, PKCS#1 RFC 8017, SEC1 RFC 5915), written as
//! one PEM block. A key's text is only ever a [`Secret`]; buffers that held key bytes are wiped. What cannot be used is
//! refused by name: encrypted, several, too small, a foreign curve or kind. No error repeats anything of the file.

use super::{
    Algorithm, CertificateError,
    inspect::{all_der, read_x509},
    public_key::{KeyKind, bit_length},
    textual::{self, Block, TextualError},
};
use crate::secret::{ExposeSecret, Secret};
use rcgen::{KeyPair, PublicKeyData, RsaKeySize};
use x509_parser::{
    asn1_rs::{Any, FromDer, Tag},
    x509::{AlgorithmIdentifier, SubjectPublicKeyInfo},
};
use zeroize::Zeroizing;

/// The smallest RSA key accepted, in bits (NIST SP 800-57).
pub(super) const SMALLEST_RSA: usize = 2048;
/// The largest aws-lc signs with.
pub(super) const LARGEST_RSA: usize = 8192;

/// A private key that can sign.
pub(super) struct PrivateKey {
    pair: Zeroizing<KeyPair>,
    pem: Secret,
}

/// A private key file that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    #[error(transparent)]
    Textual(#[from] TextualError),
    #[error("no private key; the file holds {}", found.join(", "))]
    NoKey { found: Vec<String> },
    #[error("{count} private keys in one file")]
    Several { count: usize },
    #[error("the private key is encrypted")]
    Encrypted,
    #[error("{bytes} bytes after the private key inside its PEM block")]
    TrailingBytes { bytes: usize },
    #[error("the private key's type {kind} is not supported")]
    UnsupportedType { kind: String },
    #[error("the private key's elliptic curve ({curve}) is not supported")]
    UnsupportedCurve { curve: String },
    #[error("the RSA private key has {bits} bits; at least {SMALLEST_RSA} are needed")]
    RsaTooSmall { bits: usize },
    #[error("the RSA private key has {bits} bits; at most {LARGEST_RSA} are supported")]
    RsaTooLarge { bits: usize },
    #[error("the private key is damaged")]
    Damaged,
}

impl KeyError {
    /// What may be done about it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Textual(e) => e.hint(),
            Self::NoKey { found } if found.iter().any(|label| label == "CERTIFICATE") => {
                Some("this is a certificate: are the paths of certificate and key swapped?")
            }
            Self::NoKey { .. } => Some("check that the path names the private key"),
            Self::Several { .. } => Some("keep only the key that belongs to the certificate"),
            Self::Encrypted => Some("decrypt it: openssl pkey -in FILE -out ca-key.pem (and chmod 600 ca-key.pem)"),
            Self::UnsupportedType { .. } | Self::UnsupportedCurve { .. } => {
                Some("use RSA, ECDSA on P-256, P-384 or P-521, or Ed25519")
            }
            Self::RsaTooSmall { .. } | Self::RsaTooLarge { .. } => Some("make a CA with another key"),
            Self::TrailingBytes { .. } | Self::Damaged => Some("take a fresh copy of the file"),
        }
    }
}

/// A certificate and a private key that do not belong together, or cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MatchError {
    #[error("the certificate: {0}")]
    Certificate(CertificateError),
    #[error(transparent)]
    Key(KeyError),
    #[error("the private key ({key}) does not belong to the certificate ({certificate})")]
    Differ { certificate: String, key: String },
}

impl MatchError {
    /// What may be done about it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Certificate(e) => e.hint(),
            Self::Key(e) => e.hint(),
            Self::Differ { .. } => Some("take certificate and key that were made together, or reissue both"),
        }
    }
}

/// The text of a key file as a [`Secret`]. Bytes around the PEM block that are not UTF-8 are replaced; the PEM block
/// itself never has such.
///
/// # Errors
/// [`KeyError::Textual`] for what can be no PEM file: too large, empty, DER.
pub fn decode_key_file(bytes: Vec<u8>) -> Result<Secret, KeyError> {
    let bytes = Zeroizing::new(bytes);
    textual::parse_blocks(&bytes)?;
    Ok(Secret::from(String::from_utf8_lossy(&bytes).into_owned()))
}

/// Checks that a private key belongs to a certificate, of several to the first: same algorithm, same public key.
///
/// # Errors
/// [`MatchError`].
pub fn key_matches(certificate_pem: impl AsRef<[u8]>, key_pem: &Secret) -> Result<(), MatchError> {
    let all = all_der(certificate_pem.as_ref()).map_err(MatchError::Certificate)?;
    let der = all.first().map_or(&[][..], Vec::as_slice);
    let certificate = read_x509(der).map_err(MatchError::Certificate)?;
    let key = PrivateKey::parse(key_pem).map_err(MatchError::Key)?;
    if key.belongs_to(certificate.public_key()) {
        return Ok(());
    }
    Err(MatchError::Differ {
        certificate: KeyKind::of(certificate.public_key()).to_string(),
        key: key.kind().to_string(),
    })
}

impl PrivateKey {
    /// A new key, as PKCS#8.
    pub(super) fn generate(algorithm: Algorithm) -> Result<Self, rcgen::Error> {
        let rsa = |size| KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, size);
        let pair = match algorithm {
            Algorithm::EcdsaP256 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256),
            Algorithm::EcdsaP384 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384),
            Algorithm::Ed25519 => generate_ed25519(),
            Algorithm::Rsa2048 => rsa(RsaKeySize::_2048),
            Algorithm::Rsa3072 => rsa(RsaKeySize::_3072),
            Algorithm::Rsa4096 => rsa(RsaKeySize::_4096),
        }?;
        let pem = Secret::from(textual::render_block("PRIVATE KEY", pair.serialized_der()));
        Ok(Self { pair: Zeroizing::new(pair), pem })
    }

    /// The one private key of a PEM file. Its encoding is kept, everything around it (text, EC PARAMETERS,
    /// certificates) is dropped.
    pub(super) fn parse(pem: &Secret) -> Result<Self, KeyError> {
        let block = single_block(pem)?;
        let shape = Shape::of(&block)?;
        shape.kind.check()?;
        let pair = KeyPair::try_from(block.content.as_slice()).map_err(|_| KeyError::Damaged)?;
        let pem = Secret::from(textual::render_block(shape.label, &block.content));
        Ok(Self { pair: Zeroizing::new(pair), pem })
    }

    pub(super) fn pair(&self) -> &KeyPair {
        &self.pair
    }

    pub(super) fn pem(&self) -> &Secret {
        &self.pem
    }

    pub(super) fn into_pem(self) -> Secret {
        self.pem
    }

    /// Whether this is the private half of `public`.
    pub(super) fn belongs_to(&self, public: &SubjectPublicKeyInfo<'_>) -> bool {
        self.kind() == KeyKind::of(public) && self.pair.public_key_raw() == public.subject_public_key.data.as_ref()
    }

    pub(super) fn kind(&self) -> KeyKind {
        let spki = self.pair.subject_public_key_info();
        SubjectPublicKeyInfo::from_der(&spki)
            .map_or_else(|_| KeyKind::Other(String::new()), |(_, spki)| KeyKind::of(&spki))
    }
}

impl KeyKind {
    /// Refuses what cannot sign here, or is too weak to.
    fn check(&self) -> Result<(), KeyError> {
        match self {
            Self::Rsa(bits) if *bits < SMALLEST_RSA => Err(KeyError::RsaTooSmall { bits: *bits }),
            Self::Rsa(bits) if *bits > LARGEST_RSA => Err(KeyError::RsaTooLarge { bits: *bits }),
            Self::OtherCurve(curve) => Err(KeyError::UnsupportedCurve { curve: curve.clone() }),
            Self::Other(kind) => Err(KeyError::UnsupportedType { kind: kind.clone() }),
            Self::Rsa(_) | Self::EcdsaP256 | Self::EcdsaP384 | Self::EcdsaP521 | Self::Ed25519 => Ok(()),
        }
    }
}

/// As PKCS#8 version 1: OpenSSL 3.0 cannot read the version 2 that rcgen writes.
fn generate_ed25519() -> Result<KeyPair, rcgen::Error> {
    let key = aws_lc_rs::signature::Ed25519KeyPair::generate().map_err(|_| rcgen::Error::RingUnspecified)?;
    let der = key.to_pkcs8v1().map_err(|_| rcgen::Error::RingUnspecified)?;
    KeyPair::try_from(der.as_ref())
}

fn single_block(pem: &Secret) -> Result<Block, KeyError> {
    let (mut keys, others): (Vec<Block>, Vec<Block>) = textual::parse_blocks(pem.expose_secret().as_bytes())?
        .into_iter()
        .partition(|block| block.label.ends_with("PRIVATE KEY"));
    match keys.len() {
        0 => Err(KeyError::NoKey { found: textual::labels(&others) }),
        1 => Ok(keys.swap_remove(0)),
        count => Err(KeyError::Several { count }),
    }
}

/// How a key is encoded, judged by its content, and what it is.
struct Shape {
    label: &'static str,
    kind: KeyKind,
}

impl Shape {
    fn of(block: &Block) -> Result<Self, KeyError> {
        if block.encrypted || block.label == "ENCRYPTED PRIVATE KEY" {
            return Err(KeyError::Encrypted);
        }
        if !["PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY"].contains(&block.label.as_str()) {
            let kind = crate::secret::scrub(block.label.trim_end_matches("PRIVATE KEY"));
            return Err(KeyError::UnsupportedType { kind });
        }
        let (rest, outer) = Any::from_der(&block.content).map_err(|_| KeyError::Damaged)?;
        if !rest.is_empty() {
            return Err(KeyError::TrailingBytes { bytes: rest.len() });
        }
        Self::of_fields(outer.data).ok_or(KeyError::Damaged)
    }

    /// All three forms begin with a version number; the field after it tells them apart.
    fn of_fields(fields: &[u8]) -> Option<Self> {
        let (fields, _version) = Any::from_der(fields).ok()?;
        let (rest, second) = Any::from_der(fields).ok()?;
        match second.tag() {
            Tag::Sequence => Self::pkcs8(fields),
            Tag::Integer => Some(Self { label: "RSA PRIVATE KEY", kind: KeyKind::Rsa(bit_length(second.data)) }),
            Tag::OctetString => Self::sec1(rest),
            _ => None,
        }
    }

    fn pkcs8(fields: &[u8]) -> Option<Self> {
        let (rest, algorithm) = AlgorithmIdentifier::from_der(fields).ok()?;
        let kind = match KeyKind::of_algorithm(&algorithm.algorithm, algorithm.parameters.as_ref()) {
            KeyKind::Rsa(_) => {
                let (_, inner) = Any::from_der(rest).ok()?;
                let (_, pkcs1) = Any::from_der(inner.data).ok()?;
                Self::of_fields(pkcs1.data)?.kind
            }
            kind => kind,
        };
        Some(Self { label: "PRIVATE KEY", kind })
    }

    fn sec1(after_key: &[u8]) -> Option<Self> {
        let (_, parameters) = Any::from_der(after_key).ok()?;
        let (_, curve) = Any::from_der(parameters.data).ok()?;
        let kind = curve.as_oid().map_or_else(
            |_| KeyKind::OtherCurve("with explicit parameters".to_owned()),
            |curve| KeyKind::of_curve(&curve),
        );
        Some(Self { label: "EC PRIVATE KEY", kind })
    }
}
