//! Names and keys that some reader may take from a signing request or a certificate, read as leniently as can be: for the
//! question who was granted a name, never for the question whether to grant it ([`super::parse_request`] answers that).
//!
//! What always holds: every name that Go reads (`encoding/pem`, `crypto/x509`), and so kube-apiserver and
//! kube-controller-manager, is among those found here; there may be more. No signature, key type, string type or extension
//! makes a name disappear. The time taken grows with the length of the text alone. Approvals are not known here.

use crate::digest::Digest;
use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use std::iter;

/// Padding and the bits behind the last byte do not matter: Go passes over the bits, other readers over both.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

const INTEGER: u8 = 0x02;
const OBJECT_IDENTIFIER: u8 = 0x06;
const BMP_STRING: u8 = 0x1e;
const UNIVERSAL_STRING: u8 = 0x1c;
const SEQUENCE: u8 = 0x30;
/// `[0]`: the version of a certificate.
const VERSION: u8 = 0xa0;
/// 2.5.4.3, the content of its OBJECT IDENTIFIER.
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];

/// What one request or certificate in a text may stand for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Claim {
    /// Every CN of the subject.
    pub common_names: Vec<String>,
    /// Digest of the SubjectPublicKeyInfo; `None` where it could not be told apart from the rest.
    pub spki_sha256: Option<Digest>,
}

/// Every request and certificate in a PEM text, whatever stands around it and whatever it is called; none where nothing
/// in it can be read.
#[must_use]
pub fn read_claims(text: &[u8]) -> Vec<Claim> {
    bodies(text).iter().filter_map(|der| claim(der)).collect()
}

/// Whatever may be the content of a PEM block: the runs of lines between those that begin or end one, or are headers of
/// one. None of these is base64, so every reader's block is one of the runs.
fn bodies(text: &[u8]) -> Vec<Vec<u8>> {
    let mut found: Vec<Vec<u8>> = Vec::new();
    let mut run: Vec<u8> = Vec::new();
    let separates = |line: &[u8]| line.contains(&b':') || line.starts_with(b"-----");
    let lines = text.split(|byte| *byte == b'\n').map(Some).chain(iter::once(None));
    for line in lines {
        match line {
            Some(line) if !separates(line) => run.extend(line.iter().filter(|byte| !byte.is_ascii_whitespace())),
            _ => {
                found.extend(LENIENT.decode(&run).ok().filter(|der| !der.is_empty()));
                run.clear();
            }
        }
    }
    if text.first() == Some(&SEQUENCE) {
        found.push(text.to_vec());
    }
    found
}

/// `None`: neither a subject nor any CN.
fn claim(der: &[u8]) -> Option<Claim> {
    if let Some((subject, key)) = subject_and_key(der) {
        let common_names =
            elements(subject).flat_map(|set| elements(set.content)).filter_map(|pair| common_name(&pair));
        return Some(Claim { common_names: common_names.collect(), spki_sha256: Some(Digest::of(key)) });
    }
    let common_names: Vec<String> = scan(der).collect();
    (!common_names.is_empty()).then_some(Claim { common_names, spki_sha256: None })
}

/// The content of the subject, and the whole SubjectPublicKeyInfo (RFC 2986 section 4.1, RFC 5280 section 4.1).
fn subject_and_key(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let outer = elements(der).next().filter(|outer| outer.tag == SEQUENCE)?;
    let signed = elements(outer.content).next().filter(|signed| signed.tag == SEQUENCE)?;
    let parts: Vec<Element> = elements(signed.content).take(7).collect();
    let tags: Vec<u8> = parts.iter().map(|part| part.tag).collect();
    let (subject, key) = match tags.as_slice() {
        // Serial number, algorithm, issuer, validity, subject, key; a certificate of version 3 names its version before.
        [VERSION, INTEGER, SEQUENCE, SEQUENCE, SEQUENCE, SEQUENCE, SEQUENCE, ..] => (&parts[5], &parts[6]),
        [INTEGER, SEQUENCE, SEQUENCE, SEQUENCE, SEQUENCE, SEQUENCE, ..] => (&parts[4], &parts[5]),
        // Version, subject, key.
        [INTEGER, SEQUENCE, SEQUENCE, ..] => (&parts[1], &parts[2]),
        _ => return None,
    };
    Some((subject.content, key.whole))
}

/// The value of a pair of type and value whose type is CN.
fn common_name(pair: &Element<'_>) -> Option<String> {
    let mut parts = elements(pair.content);
    parts.next().filter(|kind| kind.tag == OBJECT_IDENTIFIER && kind.content == COMMON_NAME)?;
    parts.next().map(|value| text_of(&value))
}

/// Values that follow the number of CN, wherever that stands: of what is no request and no certificate any more.
fn scan(der: &[u8]) -> impl Iterator<Item = String> + '_ {
    let places = der.windows(COMMON_NAME.len()).enumerate().filter(|(_, window)| *window == COMMON_NAME);
    places.filter_map(|(at, _)| elements(&der[at + COMMON_NAME.len()..]).next().map(|value| text_of(&value)))
}

/// The text of any string type, in its own encoding; bytes that are no UTF-8 are Latin-1, as Go reads a T61String.
fn text_of(value: &Element<'_>) -> String {
    match value.tag {
        BMP_STRING => {
            let units = value.content.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
            char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
        }
        UNIVERSAL_STRING => {
            let scalars =
                value.content.chunks_exact(4).map(|four| u32::from_be_bytes([four[0], four[1], four[2], four[3]]));
            scalars.map(|scalar| char::from_u32(scalar).unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
        }
        _ => std::str::from_utf8(value.content)
            .map_or_else(|_| value.content.iter().copied().map(char::from).collect(), str::to_owned),
    }
}

/// One element of BER with a definite length.
struct Element<'a> {
    /// The identifier octet.
    tag: u8,
    content: &'a [u8],
    /// With tag and length.
    whole: &'a [u8],
}

/// The elements that can be told apart, up to the first that cannot: a length may be longer than it need be, and what
/// follows may be anything. `super::der::elements` is the strict reader.
fn elements(bytes: &[u8]) -> impl Iterator<Item = Element<'_>> {
    let mut rest = bytes;
    iter::from_fn(move || {
        let (element, after) = take_element(rest)?;
        rest = after;
        Some(element)
    })
}

fn take_element(bytes: &[u8]) -> Option<(Element<'_>, &[u8])> {
    let (&tag, after_tag) = bytes.split_first()?;
    let (&first, after_first) = after_tag.split_first()?;
    // Tags of several octets, and lengths that are left open, stand in no name.
    if tag & 0x1f == 0x1f {
        return None;
    }
    let (length, head) = match first {
        0..=0x7f => (usize::from(first), 2),
        0x80 => return None,
        _ => {
            let octets = after_first.get(..usize::from(first & 0x7f))?;
            let length =
                octets.iter().try_fold(0_usize, |sum, byte| Some(sum.checked_mul(256)? + usize::from(*byte)))?;
            (length, 2 + octets.len())
        }
    };
    let whole = bytes.get(..head.checked_add(length)?)?;
    Some((Element { tag, content: &whole[head..], whole }, &bytes[whole.len()..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
        let content = parts.concat();
        let length = u16::try_from(content.len()).unwrap().to_be_bytes();
        [&[tag, 0x82], &length[..], &content].concat()
    }

    fn name(tag: u8, text: &[u8]) -> Vec<u8> {
        let kind = element(OBJECT_IDENTIFIER, &[COMMON_NAME]);
        element(SEQUENCE, &[&element(0x31, &[&element(SEQUENCE, &[&kind, &element(tag, &[text])])])])
    }

    fn request(subject: &[u8], key: &[u8]) -> Vec<u8> {
        element(SEQUENCE, &[&element(SEQUENCE, &[&element(INTEGER, &[&[0]]), subject, key])])
    }

    fn block(der: &[u8]) -> String {
        super::super::textual::render_block("X", der)
    }

    fn names(text: impl AsRef<[u8]>) -> Vec<String> {
        read_claims(text.as_ref()).into_iter().flat_map(|claim| claim.common_names).collect()
    }

    #[test]
    fn every_string_type_gives_its_text() {
        let wide = |text: &str, width: usize| -> Vec<u8> {
            text.bytes().flat_map(|byte| [vec![0; width - 1], vec![byte]].concat()).collect()
        };
        for (tag, text) in [
            (0x0c, b"n-1".to_vec()),
            (0x12, b"n-1".to_vec()),
            (0x13, b"n-1".to_vec()),
            (0x14, b"n-1".to_vec()),
            (0x16, b"n-1".to_vec()),
            (0x1a, b"n-1".to_vec()),
            (0x1b, b"n-1".to_vec()),
            (BMP_STRING, wide("n-1", 2)),
            (UNIVERSAL_STRING, wide("n-1", 4)),
            (0x04, b"n-1".to_vec()),
        ] {
            let key = element(SEQUENCE, &[]);
            let claims = read_claims(block(&request(&name(tag, &text), &key)).as_bytes());
            let wanted = Claim { common_names: vec!["n-1".to_owned()], spki_sha256: Some(Digest::of(&key)) };
            assert_eq!(claims, [wanted], "{tag:#x}");
        }
        assert_eq!(names(block(&request(&name(0x14, b"\xe9"), &element(SEQUENCE, &[])))), ["\u{e9}"]);
    }

    #[test]
    fn what_is_no_request_any_more_gives_the_names_that_stand_in_it() {
        let whole = request(&name(0x0c, b"n-1"), &element(SEQUENCE, &[]));
        let claims = read_claims(block(&whole[..whole.len() - 2]).as_bytes());
        assert_eq!(claims, [Claim { common_names: vec!["n-1".to_owned()], spki_sha256: None }]);
        for nothing in
            ["", "hello", "-----BEGIN X-----\n-----END X-----\n", "-----BEGIN X-----\nAQID\n-----END X-----\n"]
        {
            assert_eq!(read_claims(nothing.as_bytes()), []);
        }
    }

    #[test]
    fn a_block_is_found_whatever_stands_around_it() {
        let (one, two) = (
            request(&name(0x0c, b"n-1"), &element(SEQUENCE, &[])),
            request(&name(0x0c, b"n-2"), &element(SEQUENCE, &[])),
        );
        let (one, two) = (block(&one), block(&two));
        let body = one.lines().filter(|line| !line.starts_with('-')).collect::<String>();
        for text in [
            format!("text: \n-----BEGIN X----\n{one}"),
            one.replace('\n', "\r\n"),
            one.replace("-----BEGIN X-----\n", "-----BEGIN X-----\nA: -----END X-----\nB: b\n\n"),
            one.replace("-----BEGIN X-----\n", "-----BEGIN X-----   \n"),
            format!("-----BEGIN X-----\n{}\n-----END Y-----\n", body.trim_end_matches('=')),
            body.clone(),
        ] {
            assert_eq!(names(&text), ["n-1"], "{text}");
        }
        assert_eq!(names(format!("{one}{two}")), ["n-1", "n-2"]);
        assert_eq!(names(format!("{}{two}", one.replacen('M', "!", 1))), ["n-2"]);
    }

    #[test]
    fn lengths_that_are_not_true_end_the_reading() {
        for bytes in
            [&[][..], &[0x30], &[0x30, 0x80], &[0x30, 5, 0], &[0x1f, 0x81, 1, 0], &[0x30, 0xff, 1], &[0x30, 0x89]]
        {
            assert_eq!(elements(bytes).count(), 0, "{bytes:?}");
        }
        let long = [&[0x30, 0x88][..], &u64::MAX.to_be_bytes()].concat();
        assert_eq!(elements(&long).count(), 0);
        assert_eq!(
            elements(&[0x30, 0x84, 0, 0, 0, 1, 7, 9]).map(|element| element.content.to_vec()).collect::<Vec<_>>(),
            [[7]]
        );
    }
}
