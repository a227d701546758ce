//! What a certification request (PKCS #10, RFC 2986) asks for, as typed facts: names exactly as they stand there, key,
//! alternative names, other extensions by name. Nothing is ignored: what this reader does not know, and what two readers
//! could take for different things, is refused, since the signer reads the request again with other eyes (Go's). The
//! signature proves that the asker holds the key. Whether the request should be granted is not known here.

use super::{
    chain::ecdsa,
    der::elements,
    key::{LARGEST_RSA, SMALLEST_RSA},
    name::render_name,
    public_key::KeyKind,
    textual::{self, TextualError},
};
use crate::{digest::Digest, secret::printable};
use aws_lc_rs::signature::UnparsedPublicKey;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use x509_parser::{
    asn1_rs::{Any, Class, FromDer, Oid, Tag, oid},
    certification_request::X509CertificationRequest,
    extensions::{GeneralName, ParsedExtension},
    x509::{AttributeTypeAndValue, X509Name, X509Version},
};

/// The most bytes a request may have: 64 KiB. A kubelet's has half a kilobyte.
pub const LARGEST_REQUEST: usize = 64 << 10;

/// The only label that kube-apiserver takes.
const LABEL: &str = "CERTIFICATE REQUEST";
const COMMON_NAME: Oid<'static> = oid!(2.5.4.3);
const ORGANIZATION: Oid<'static> = oid!(2.5.4.10);
/// RFC 2985 section 5.4.2.
const EXTENSION_REQUEST: Oid<'static> = oid!(1.2.840.113549.1.9.14);
/// sha1WithRSAEncryption, under both of its numbers; x509-parser would take it.
const SHA1: [Oid<'static>; 2] = [oid!(1.2.840.113549.1.1.5), oid!(1.3.14.3.2.29)];

/// One request whose signature is good. All text is exactly the asker's: show it with [`printable`] only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestInfo {
    /// On one line and safe to print.
    pub subject: String,
    /// Every CN of the subject, in its order.
    pub common_names: Vec<String>,
    /// Every O of the subject.
    pub organizations: Vec<String>,
    pub alternative_names: AlternativeNames,
    /// Other extensions it asks for, by their numbers.
    pub other_extensions: Vec<String>,
    /// `ecdsa-p256`, `rsa-2048`: one that Kubernetes can use and that is strong enough.
    pub key: String,
    /// RSA keys can encipher, others cannot.
    pub is_rsa: bool,
    /// Digest of the SubjectPublicKeyInfo: equal for requests of one key.
    pub spki_sha256: Digest,
}

/// The subject alternative names of a request (RFC 5280 section 4.2.1.6).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AlternativeNames {
    pub dns: Vec<String>,
    pub addresses: Vec<IpAddr>,
    pub uris: Vec<String>,
    pub emails: Vec<String>,
}

impl AlternativeNames {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.dns.is_empty() && self.addresses.is_empty() && self.uris.is_empty() && self.emails.is_empty()
    }
}

/// A request that cannot be judged by its content, or must not be granted whatever that is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    #[error("{bytes} bytes; a request has at most {LARGEST_REQUEST}")]
    TooLarge { bytes: usize },
    #[error(transparent)]
    Textual(#[from] TextualError),
    #[error("not one {LABEL} block; found {}", found.join(", "))]
    Blocks { found: Vec<String> },
    /// Text around the block, headers in it, or base64 that is not laid out as usual.
    #[error("more than one plain PEM block")]
    Adorned,
    #[error("{bytes} bytes after the request inside its PEM block")]
    TrailingBytes { bytes: usize },
    #[error("the request cannot be read: {what}")]
    Malformed { what: &'static str },
    #[error("its subject has the attribute {attribute}; a node's has CN and O only")]
    SubjectAttribute { attribute: String },
    #[error("it has the attribute {attribute}, which is not known")]
    Attribute { attribute: String },
    #[error("an alternative name of the kind {kind}")]
    AlternativeName { kind: String },
    #[error("the key {key} is not strong enough, or Kubernetes cannot use it")]
    UnfitKey { key: String },
    #[error("the signature algorithm {algorithm} is not supported")]
    UnsupportedSignature { algorithm: String },
    #[error("the request is not signed by the key it names")]
    BadSignature,
}

/// Reads the one request of a PEM text and checks its signature.
///
/// # Errors
/// [`RequestError`]: anything that is not known, not exactly one request, or not signed by its own key.
pub fn parse_request(pem: impl AsRef<[u8]>) -> Result<RequestInfo, RequestError> {
    let der = single_der(pem.as_ref())?;
    let request = match X509CertificationRequest::from_der(&der) {
        Ok(([], request)) => request,
        Ok((rest, _)) => return Err(RequestError::TrailingBytes { bytes: rest.len() }),
        Err(_) => return Err(malformed("not the DER of a PKCS #10 request")),
    };
    check_layout(&der)?;
    let info = &request.certification_request_info;
    if info.version != X509Version::V1 {
        return Err(malformed("its version is not 1"));
    }
    let kind = KeyKind::of(&info.subject_pki);
    check_key(&kind)?;
    verify_signature(&request, &kind)?;
    let (alternative_names, other_extensions) = read_extensions(&request)?;
    let (common_names, organizations) = read_subject(&info.subject)?;
    Ok(RequestInfo {
        subject: render_name(&info.subject),
        common_names,
        organizations,
        alternative_names,
        other_extensions,
        key: kind.to_string(),
        is_rsa: matches!(kind, KeyKind::Rsa(_)),
        spki_sha256: Digest::of(info.subject_pki.raw),
    })
}

fn single_der(pem: &[u8]) -> Result<Vec<u8>, RequestError> {
    if pem.len() > LARGEST_REQUEST {
        return Err(RequestError::TooLarge { bytes: pem.len() });
    }
    let blocks = textual::parse_blocks(pem)?;
    let [block] = blocks.as_slice() else { return Err(RequestError::Blocks { found: textual::labels(&blocks) }) };
    if block.label != LABEL {
        return Err(RequestError::Blocks { found: textual::labels(&blocks) });
    }
    // Go decodes the first block that it can read and passes over what it cannot: only where the text is exactly what
    // that block would be written as do both read the same one.
    let written = textual::render_block(LABEL, &block.content);
    if words(pem).ne(words(written.as_bytes())) {
        return Err(RequestError::Adorned);
    }
    Ok(block.content.to_vec())
}

fn words(text: &[u8]) -> impl Iterator<Item = &u8> {
    text.iter().filter(|byte| !byte.is_ascii_whitespace())
}

/// That every level is read to its end, and that there is at most one attribute, with one value: x509-parser passes over
/// what follows.
fn check_layout(der: &[u8]) -> Result<(), RequestError> {
    let parts = |content| elements(content).ok_or_else(|| malformed("bytes that are not DER"));
    let count = |n: usize, found: &[Any<'_>]| {
        if found.len() == n { Ok(()) } else { Err(malformed("more or fewer parts than a request has")) }
    };
    let outer = parts(der)?;
    count(1, &outer)?;
    let signed = parts(outer[0].data)?;
    count(3, &signed)?;
    let info = parts(signed[0].data)?;
    count(4, &info)?;
    for rdn in parts(info[1].data)? {
        let attributes = parts(rdn.data)?;
        if rdn.tag() != Tag::Set || attributes.is_empty() {
            return Err(malformed("its subject"));
        }
        for attribute in attributes {
            count(2, &parts(attribute.data)?)?;
        }
    }
    if info[3].class() != Class::ContextSpecific || info[3].tag() != Tag(0) {
        return Err(malformed("its attributes are not where they belong"));
    }
    let attributes = parts(info[3].data)?;
    if attributes.len() > 1 {
        return Err(malformed("more than one attribute"));
    }
    for attribute in &attributes {
        let fields = parts(attribute.data)?;
        count(2, &fields)?;
        let name = fields[0].clone().oid().map_err(|_| malformed("an attribute without a name"))?;
        if name != EXTENSION_REQUEST {
            return Err(RequestError::Attribute { attribute: name.to_id_string() });
        }
        let values = parts(fields[1].data)?;
        count(1, &values)?;
        for extension in parts(values[0].data)? {
            // Name, whether it is critical, content (RFC 5280 section 4.1).
            let tags: Vec<Tag> = parts(extension.data)?.iter().map(Any::tag).collect();
            if !matches!(tags.as_slice(), [Tag::Oid, Tag::OctetString] | [Tag::Oid, Tag::Boolean, Tag::OctetString]) {
                return Err(malformed("an extension"));
            }
        }
    }
    Ok(())
}

fn check_key(kind: &KeyKind) -> Result<(), RequestError> {
    match kind {
        KeyKind::Rsa(bits) if (SMALLEST_RSA..=LARGEST_RSA).contains(bits) => Ok(()),
        KeyKind::EcdsaP256 | KeyKind::EcdsaP384 | KeyKind::EcdsaP521 | KeyKind::Ed25519 => Ok(()),
        KeyKind::Rsa(_) | KeyKind::OtherCurve(_) | KeyKind::Other(_) => {
            Err(RequestError::UnfitKey { key: kind.to_string() })
        }
    }
}

fn verify_signature(request: &X509CertificationRequest<'_>, kind: &KeyKind) -> Result<(), RequestError> {
    let algorithm = &request.signature_algorithm.algorithm;
    if SHA1.contains(algorithm) {
        return Err(RequestError::UnsupportedSignature { algorithm: "SHA-1 with RSA".to_owned() });
    }
    if request.signature_value.unused_bits != 0 {
        return Err(RequestError::BadSignature);
    }
    let info = &request.certification_request_info;
    let good = match ecdsa(kind, algorithm) {
        Some(ecdsa) => UnparsedPublicKey::new(ecdsa, &info.subject_pki.subject_public_key.data)
            .verify(info.raw, &request.signature_value.data)
            .is_ok(),
        None => match request.verify_signature() {
            Ok(()) => true,
            Err(x509_parser::error::X509Error::SignatureUnsupportedAlgorithm) => {
                return Err(RequestError::UnsupportedSignature { algorithm: algorithm.to_id_string() });
            }
            Err(_) => false,
        },
    };
    if good { Ok(()) } else { Err(RequestError::BadSignature) }
}

/// Every CN and every O.
fn read_subject(subject: &X509Name<'_>) -> Result<(Vec<String>, Vec<String>), RequestError> {
    let (mut common_names, mut organizations) = (Vec::new(), Vec::new());
    for attribute in subject.iter_attributes() {
        let known = attribute.attr_type();
        if *known == COMMON_NAME {
            common_names.push(exact_text(attribute)?);
        } else if *known == ORGANIZATION {
            organizations.push(exact_text(attribute)?);
        } else {
            return Err(RequestError::SubjectAttribute { attribute: known.to_id_string() });
        }
    }
    Ok((common_names, organizations))
}

/// The two string types that everybody writes and reads alike.
fn exact_text(attribute: &AttributeTypeAndValue<'_>) -> Result<String, RequestError> {
    let value = attribute.attr_value();
    let text = match value.tag() {
        Tag::Utf8String | Tag::PrintableString => std::str::from_utf8(value.data).ok(),
        _ => None,
    };
    text.map(str::to_owned).ok_or_else(|| malformed("a name that is neither UTF8String nor PrintableString"))
}

fn read_extensions(request: &X509CertificationRequest<'_>) -> Result<(AlternativeNames, Vec<String>), RequestError> {
    use x509_parser::cri_attributes::ParsedCriAttribute;
    let (mut names, mut named, mut others) = (AlternativeNames::default(), false, Vec::new());
    for attribute in request.certification_request_info.iter_attributes() {
        let ParsedCriAttribute::ExtensionRequest(requested) = attribute.parsed_attribute() else {
            return Err(RequestError::Attribute { attribute: attribute.oid.to_id_string() });
        };
        for extension in &requested.extensions {
            match extension.parsed_extension() {
                ParsedExtension::SubjectAlternativeName(_) if named => {
                    return Err(malformed("alternative names twice"));
                }
                ParsedExtension::SubjectAlternativeName(found) => {
                    named = true;
                    let parts = Any::from_der(extension.value).ok().filter(|(rest, _)| rest.is_empty());
                    if parts.and_then(|(_, all)| elements(all.data).map(|all| all.len()))
                        != Some(found.general_names.len())
                    {
                        return Err(malformed("alternative names"));
                    }
                    found.general_names.iter().try_for_each(|name| sort_in(name, &mut names))?;
                }
                _ => others.push(extension.oid.to_id_string()),
            }
        }
    }
    // The extension without a name in it is not the same as no extension.
    if named && names.is_empty() {
        others.push("2.5.29.17".to_owned());
    }
    Ok((names, others))
}

fn sort_in(name: &GeneralName<'_>, names: &mut AlternativeNames) -> Result<(), RequestError> {
    let foreign = |kind: &str| Err(RequestError::AlternativeName { kind: printable(kind) });
    match name {
        GeneralName::DNSName(text) => names.dns.push((*text).to_owned()),
        GeneralName::URI(text) => names.uris.push((*text).to_owned()),
        GeneralName::RFC822Name(text) => names.emails.push((*text).to_owned()),
        GeneralName::IPAddress(octets) => names.addresses.push(match octets {
            [a, b, c, d] => Ipv4Addr::new(*a, *b, *c, *d).into(),
            octets => match <[u8; 16]>::try_from(*octets) {
                Ok(octets) => Ipv6Addr::from(octets).into(),
                Err(_) => return Err(malformed("an IP address that is neither IPv4 nor IPv6")),
            },
        }),
        GeneralName::OtherName(kind, _) => return foreign(&format!("otherName {}", kind.to_id_string())),
        GeneralName::X400Address(_) => return foreign("x400Address"),
        GeneralName::DirectoryName(_) => return foreign("directoryName"),
        GeneralName::EDIPartyName(_) => return foreign("ediPartyName"),
        GeneralName::RegisteredID(_) => return foreign("registeredID"),
        GeneralName::Invalid(..) => return Err(malformed("an alternative name")),
    }
    Ok(())
}

fn malformed(what: &'static str) -> RequestError {
    RequestError::Malformed { what }
}
