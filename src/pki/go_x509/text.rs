//! Text, names and times of a certificate as Go reads them (crypto/x509/parser.go of Go 1.26: parseName,
//! parseASN1String, readASN1Time). A name is refused where one attribute of it is. What a name stands for is not known
//! here.

use super::der::{Reader, SEQUENCE, SET};

const UTF8: u8 = 0x0c;
const NUMERIC: u8 = 0x12;
const PRINTABLE: u8 = 0x13;
const T61: u8 = 0x14;
const IA5: u8 = 0x16;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const BMP: u8 = 0x1e;

/// Other types that text comes in, by the names of X.680.
const OTHER_TYPES: [(u8, &str); 5] = [
    (0x19, "a GraphicString"),
    (0x1a, "a VisibleString"),
    (0x1b, "a GeneralString"),
    (0x1c, "a UniversalString"),
    (0x15, "a VideotexString"),
];

/// Reads a name whole.
///
/// # Errors
/// In words, what Go does not read.
pub(super) fn check_name(name: &[u8]) -> Result<(), String> {
    let malformed = || "is not a sequence of attributes".to_owned();
    let mut rdns = Reader::new(name).inside(SEQUENCE).ok_or_else(malformed)?;
    while !rdns.is_empty() {
        let mut set = rdns.inside(SET).ok_or_else(malformed)?;
        while !set.is_empty() {
            let mut attribute = set.inside(SEQUENCE).ok_or_else(malformed)?;
            attribute.oid().ok_or_else(|| "has an attribute without a valid type".to_owned())?;
            let value = attribute.any().ok_or_else(|| "has an attribute without a value".to_owned())?;
            check_text(value.tag, value.content).map_err(|fault| format!("holds {fault}"))?;
        }
    }
    Ok(())
}

fn check_text(tag: u8, text: &[u8]) -> Result<(), String> {
    match tag {
        T61 => Ok(()),
        UTF8 => std::str::from_utf8(text).map(|_| ()).map_err(|_| "a UTF8String that is not valid UTF-8".to_owned()),
        PRINTABLE => match text.iter().find(|byte| !is_printable(**byte)) {
            None => Ok(()),
            Some(byte) => Err(format!("the character {} in a PrintableString", shown(*byte))),
        },
        IA5 if text.is_ascii() => Ok(()),
        IA5 => Err("a character beyond ASCII in an IA5String".to_owned()),
        NUMERIC => match text.iter().find(|byte| !matches!(byte, b'0'..=b'9' | b' ')) {
            None => Ok(()),
            Some(byte) => Err(format!("the character {} in a NumericString", shown(*byte))),
        },
        BMP if is_basic_plane(text) => Ok(()),
        BMP => Err("a BMPString that is not UCS-2".to_owned()),
        _ => Err(match OTHER_TYPES.iter().find(|(known, _)| *known == tag) {
            Some((_, name)) => format!("{name}, a string type that it does not read"),
            None => format!("a value of type {tag:#04x}, which is no string type that it reads"),
        }),
    }
}

/// The set of X.680, with `*` and `&`, which Go lets pass.
const fn is_printable(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'\''..=b')' | b'+'..=b'/' | b' ' | b':' | b'=' | b'?' | b'*' | b'&')
}

fn shown(byte: u8) -> String {
    if byte.is_ascii_graphic() { format!("`{}`", char::from(byte)) } else { format!("{byte:#04x}") }
}

/// UCS-2 without surrogates and permanent noncharacters; a terminating zero may follow.
fn is_basic_plane(text: &[u8]) -> bool {
    let text = text.strip_suffix(&[0, 0]).unwrap_or(text);
    let is_character = |unit: u16| !matches!(unit, 0xd800..=0xdfff | 0xfdd0..=0xfdef | 0xfffe | 0xffff);
    text.len().is_multiple_of(2)
        && text.chunks_exact(2).all(|pair| is_character(u16::from_be_bytes([pair[0], pair[1]])))
}

/// Reads one time of a validity.
///
/// # Errors
/// In words, what Go does not read.
pub(super) fn check_time(reader: &mut Reader<'_>) -> Result<(), &'static str> {
    let element = reader.any().ok_or("is missing")?;
    match element.tag {
        UTC_TIME if [12, 10].into_iter().any(|digits| is_time(element.content, 2, digits)) => Ok(()),
        UTC_TIME => Err("is a malformed UTCTime"),
        GENERALIZED_TIME if is_time(element.content, 4, 14) => Ok(()),
        GENERALIZED_TIME => Err("is a malformed GeneralizedTime"),
        _ => Err("is neither a UTCTime nor a GeneralizedTime"),
    }
}

/// A calendar date and time of `digits` digits, the first `year` of them the year, and a zone: `Z` or an offset that is
/// not zero.
fn is_time(text: &[u8], year: usize, digits: usize) -> bool {
    let Some((date, zone)) = text.split_at_checked(digits) else { return false };
    if !date.iter().all(u8::is_ascii_digit) {
        return false;
    }
    let number = |bytes: &[u8]| bytes.iter().fold(0u16, |number, byte| number * 10 + u16::from(byte - b'0'));
    let (year, rest) = date.split_at(year);
    let year = match (number(year), year.len()) {
        (short @ 69.., 2) => 1900 + short,
        (short, 2) => 2000 + short,
        (long, _) => long,
    };
    let fields: Vec<u16> = rest.chunks(2).map(number).collect();
    let (month, day) = (fields[0], fields[1]);
    let days = match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return false,
    };
    let in_day = fields[2] < 24 && fields[3..].iter().all(|field| *field < 60);
    (1..=days).contains(&day) && in_day && is_zone(zone)
}

fn is_zone(zone: &[u8]) -> bool {
    match zone {
        [b'Z'] => true,
        [b'+' | b'-', offset @ ..] if offset.len() == 4 && offset.iter().all(u8::is_ascii_digit) => {
            offset != b"0000" && &offset[..2] <= b"24".as_slice() && &offset[2..] < b"60".as_slice()
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_read_by_their_type() {
        for (tag, text) in [
            (PRINTABLE, &b"Az09 '()+,-./:=?*&"[..]),
            (UTF8, "Zo\u{eb}".as_bytes()),
            (T61, b"Zo\xeb"),
            (IA5, b"a@b"),
            (NUMERIC, b"01 2"),
            (BMP, b"\0Z\0\xeb\0\0"),
            (BMP, b""),
        ] {
            assert_eq!(check_text(tag, text), Ok(()), "{tag} {text:?}");
        }
        for (tag, text) in [
            (PRINTABLE, &b"a_b"[..]),
            (PRINTABLE, b"a@b"),
            (UTF8, b"\xff"),
            (IA5, b"\xeb"),
            (NUMERIC, b"a"),
            (BMP, b"\0Z\0"),
            (BMP, b"\xd8\0\xdc\0"),
            (BMP, b"\xff\xfe"),
            (0x1a, b"a"),
            (0x1c, b"\0\0\0a"),
            (0x02, b"\x01"),
        ] {
            assert!(check_text(tag, text).is_err(), "{tag} {text:?}");
        }
    }

    #[test]
    fn times_are_dates_of_the_calendar_with_a_zone() {
        for good in ["260228000000Z", "2602280000Z", "240229235959Z", "260228000000+0130", "260228000000-0130"] {
            assert!([12, 10].into_iter().any(|digits| is_time(good.as_bytes(), 2, digits)), "{good}");
        }
        for bad in [
            "260229000000Z",
            "261301000000Z",
            "260100000000Z",
            "260101240000Z",
            "260101000060Z",
            "260101000000",
            "260101000000+0000",
            "26010100000aZ",
        ] {
            assert!(![12, 10].into_iter().any(|digits| is_time(bad.as_bytes(), 2, digits)), "{bad}");
        }
        assert!(is_time(b"20300101000000Z", 4, 14) && !is_time(b"20300101000000.5Z", 4, 14));
        assert!(!is_time(b"203001010000Z", 4, 14));
    }
}
