//! Distinguished names as people read them: `O=system:node-proxier, CN=system:kube-proxy`, in the certificate's own
//! order (as `openssl x509 -subject` prints it), with RFC 4514 escapes. Whatever a hostile certificate carries, the
//! text holds no control, bidirectional or invisible characters. Names are compared by their DER bytes, never by this.

use std::fmt::Write;
use x509_parser::{
    asn1_rs::{Any, Oid, Tag, oid},
    x509::{AttributeTypeAndValue, X509Name},
};

/// Short names as OpenSSL prints them; any other attribute is shown by its number.
const SHORT_NAMES: &[(Oid<'static>, &str)] = &[
    (oid!(2.5.4.3), "CN"),
    (oid!(2.5.4.4), "SN"),
    (oid!(2.5.4.5), "serialNumber"),
    (oid!(2.5.4.6), "C"),
    (oid!(2.5.4.7), "L"),
    (oid!(2.5.4.8), "ST"),
    (oid!(2.5.4.9), "street"),
    (oid!(2.5.4.10), "O"),
    (oid!(2.5.4.11), "OU"),
    (oid!(2.5.4.12), "title"),
    (oid!(2.5.4.42), "GN"),
    (oid!(2.5.4.97), "organizationIdentifier"),
    (oid!(0.9.2342.19200300.100.1.1), "UID"),
    (oid!(0.9.2342.19200300.100.1.25), "DC"),
    (oid!(1.2.840.113549.1.9.1), "emailAddress"),
];

/// The most of a name that is shown, in characters; a certificate may be a megabyte of name.
const LONGEST: usize = 512;

/// The whole name on one line; empty for an empty name, cut after 512 characters.
pub(super) fn render_name(name: &X509Name<'_>) -> String {
    let rdns = name.iter().map(|rdn| rdn.iter().map(render_attribute).collect::<Vec<_>>().join("+"));
    let mut text = rdns.collect::<Vec<_>>().join(", ");
    if let Some((cut, _)) = text.char_indices().nth(LONGEST) {
        text.truncate(cut);
        text.push('…');
    }
    text
}

/// The values of one attribute, decoded and safe to print.
pub(super) fn attribute_values<'n>(attributes: impl Iterator<Item = &'n AttributeTypeAndValue<'n>>) -> Vec<String> {
    attributes
        .map(|attribute| decode(attribute.attr_value()).map_or_else(|hex| hex, |text| escape(&text, "")))
        .collect()
}

fn render_attribute(attribute: &AttributeTypeAndValue<'_>) -> String {
    let oid = attribute.attr_type();
    let short = SHORT_NAMES.iter().find(|(known, _)| known == oid);
    let label = short.map_or_else(|| oid.to_id_string(), |(_, name)| (*name).to_owned());
    match decode(attribute.attr_value()) {
        Ok(text) => format!("{label}={}", escape_ends(&escape(&text, ",+\"<>;"))),
        Err(hex) => format!("{label}={hex}"),
    }
}

/// The text of a DirectoryString, or RFC 4514's `#hex` where it is none.
fn decode(value: &Any<'_>) -> Result<String, String> {
    let bytes = value.data;
    let wide =
        |width: usize| bytes.chunks(width).map(|unit| unit.iter().fold(0u32, |n, byte| n << 8 | u32::from(*byte)));
    let text = match value.tag() {
        Tag::Utf8String | Tag::PrintableString | Tag::Ia5String | Tag::NumericString | Tag::VisibleString => {
            std::str::from_utf8(bytes).ok().map(str::to_owned)
        }
        // Nobody ever implemented T.61; everybody who writes it means Latin-1.
        Tag::T61String => Some(bytes.iter().copied().map(char::from).collect()),
        Tag::BmpString if bytes.len().is_multiple_of(2) => wide(2).map(char::from_u32).collect(),
        Tag::UniversalString if bytes.len().is_multiple_of(4) => wide(4).map(char::from_u32).collect(),
        _ => None,
    };
    text.ok_or_else(|| format!("#{}", crate::digest::hex(bytes)))
}

/// RFC 4514 section 2.4: a backslash before `specials` and itself, `\XX` per UTF-8 byte of what must not be printed.
fn escape(text: &str, specials: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_unprintable(c) {
            for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                let _ = write!(out, "\\{byte:02X}");
            }
        } else {
            if c == '\\' || specials.contains(c) {
                out.push('\\');
            }
            out.push(c);
        }
    }
    out
}

fn escape_ends(text: &str) -> String {
    let mut out = text.to_owned();
    if out.ends_with(' ') {
        out.insert(out.len() - 1, '\\');
    }
    if out.starts_with([' ', '#']) {
        out.insert(0, '\\');
    }
    out
}

/// Control characters, and the Unicode formats that reorder or hide text on a terminal.
fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use x509_parser::asn1_rs::{Class, Header, Length};

    fn decoded(tag: Tag, data: &[u8]) -> Result<String, String> {
        decode(&Any::new(Header::new(Class::Universal, false, tag, Length::Definite(data.len())), data))
    }

    #[test]
    fn every_string_type_is_decoded() {
        assert_eq!(decoded(Tag::Utf8String, "Zoë".as_bytes()).unwrap(), "Zoë");
        assert_eq!(decoded(Tag::T61String, b"Zo\xeb").unwrap(), "Zoë");
        assert_eq!(decoded(Tag::BmpString, b"\0Z\0o\0\xeb").unwrap(), "Zoë");
        assert_eq!(decoded(Tag::UniversalString, b"\0\0\0Z\0\x01\xf6\0").unwrap(), "Z😀");
    }

    #[test]
    fn what_is_no_text_is_shown_as_hex() {
        assert_eq!(decoded(Tag::Utf8String, b"\xff\xfe").unwrap_err(), "#fffe");
        assert_eq!(decoded(Tag::BmpString, b"\0Z\0").unwrap_err(), "#005a00");
        assert_eq!(decoded(Tag::BmpString, b"\xd8\0").unwrap_err(), "#d800");
        assert_eq!(decoded(Tag::Integer, b"\x01").unwrap_err(), "#01");
    }

    #[test]
    fn terminal_escapes_and_reordering_cannot_be_printed() {
        assert_eq!(escape("a\x1b[31m\n\u{202e}b\u{9b}", ""), r"a\1B[31m\0A\E2\80\AEb\C2\9B");
    }

    #[test]
    fn separators_are_escaped_so_that_names_stay_apart() {
        assert_eq!(escape(r"a, CN=b\+", ",+"), r"a\, CN=b\\\+");
        assert_eq!(escape_ends(" # "), r"\ #\ ");
    }
}
