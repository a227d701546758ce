//! DER as Go's certificate parser reads it (golang.org/x/crypto/cryptobyte/asn1.go, vendored in Go 1.26): lengths in
//! their shortest form, one-byte tags, minimal integers, booleans of 00 or FF. Bytes in, elements out; a reader never
//! panics and never reads past its end. What an element means is not known here.

pub(super) const BOOLEAN: u8 = 0x01;
pub(super) const INTEGER: u8 = 0x02;
pub(super) const BIT_STRING: u8 = 0x03;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const OID: u8 = 0x06;
pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const SET: u8 = 0x31;

/// The tag `[number]`, primitive.
pub(super) const fn context(number: u8) -> u8 {
    0x80 | number
}

/// The tag `[number]`, constructed.
pub(super) const fn constructed(number: u8) -> u8 {
    0xa0 | number
}

/// The part of an encoding that has not been read yet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a>(&'a [u8]);

/// One element: its tag, its content, and all of its bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Element<'a> {
    pub tag: u8,
    pub content: &'a [u8],
    pub whole: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the next element has this tag.
    pub(super) fn is_next(&self, tag: u8) -> bool {
        self.0.first() == Some(&tag)
    }

    /// The next element of any kind.
    pub(super) fn any(&mut self) -> Option<Element<'a>> {
        let (&tag, &first) = (self.0.first()?, self.0.get(1)?);
        if tag & 0x1f == 0x1f {
            return None;
        }
        let (header, length) = match first {
            0..0x80 => (2, usize::from(first)),
            _ => {
                let count = usize::from(first & 0x7f);
                let bytes = self.0.get(2..2 + count).filter(|_| (1..=4).contains(&count))?;
                let length = bytes.iter().fold(0usize, |length, byte| length << 8 | usize::from(*byte));
                // The shortest form there is: X.690 section 10.1.
                if length < 0x80 || bytes[0] == 0 {
                    return None;
                }
                (2 + count, length)
            }
        };
        let whole = self.0.get(..header.checked_add(length)?)?;
        self.0 = &self.0[whole.len()..];
        Some(Element { tag, content: &whole[header..], whole })
    }

    /// The content of the next element, which must have this tag.
    pub(super) fn content(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.any().filter(|element| element.tag == tag).map(|element| element.content)
    }

    /// A reader of what the next element, which must have this tag, holds.
    pub(super) fn inside(&mut self, tag: u8) -> Option<Self> {
        self.content(tag).map(Self::new)
    }

    /// As [`Self::inside`]; `Some(None)` where the next element has another tag.
    pub(super) fn optional(&mut self, tag: u8) -> Option<Option<Self>> {
        if self.is_next(tag) { self.inside(tag).map(Some) } else { Some(None) }
    }

    pub(super) fn boolean(&mut self) -> Option<bool> {
        match self.content(BOOLEAN)? {
            [0x00] => Some(false),
            [0xff] => Some(true),
            _ => None,
        }
    }

    /// The content of an integer in its shortest form, sign bit first.
    pub(super) fn integer(&mut self) -> Option<&'a [u8]> {
        self.integer_tagged(INTEGER)
    }

    pub(super) fn integer_tagged(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.content(tag).filter(|content| is_minimal(content))
    }

    /// An integer that fits into 64 bits.
    pub(super) fn int64(&mut self) -> Option<i64> {
        self.int64_tagged(INTEGER)
    }

    pub(super) fn int64_tagged(&mut self, tag: u8) -> Option<i64> {
        let content = self.integer_tagged(tag).filter(|content| content.len() <= 8)?;
        let sign = if content[0] & 0x80 == 0 { 0 } else { -1 };
        Some(content.iter().fold(sign, |value, byte| value << 8 | i64::from(*byte)))
    }

    /// Content of an object identifier: arcs in the fewest bytes, each below 2^31.
    pub(super) fn oid(&mut self) -> Option<&'a [u8]> {
        let content = self.content(OID).filter(|content| !content.is_empty())?;
        let mut arcs = content.split_inclusive(|byte| byte & 0x80 == 0);
        arcs.all(|arc| is_whole_arc(arc) && arc.len() <= 5 && (arc.len() < 5 || arc[0] & 0x7f < 0x08))
            .then_some(content)
    }

    /// Content of an object identifier with arcs of any size.
    pub(super) fn any_oid(&mut self) -> Option<&'a [u8]> {
        let content = self.content(OID).filter(|content| !content.is_empty())?;
        content.split_inclusive(|byte| byte & 0x80 == 0).all(is_whole_arc).then_some(content)
    }

    /// A bit string: how many bits its last byte leaves unused, and its bytes.
    pub(super) fn bit_string(&mut self) -> Option<(u8, &'a [u8])> {
        let (&unused, bytes) = self.content(BIT_STRING)?.split_first()?;
        let clear = match bytes.last() {
            Some(last) => unused <= 7 && last & ((1 << unused) - 1) == 0,
            None => unused == 0,
        };
        clear.then_some((unused, bytes))
    }
}

/// Neither padded with zeros nor, below zero, with ones.
fn is_minimal(integer: &[u8]) -> bool {
    match integer {
        [] => false,
        [first, second, ..] => !matches!((first, second & 0x80), (0x00, 0x00) | (0xff, 0x80)),
        _ => true,
    }
}

fn is_whole_arc(arc: &[u8]) -> bool {
    arc[0] != 0x80 && arc.last().is_some_and(|last| last & 0x80 == 0)
}

/// An object identifier's content in dotted numbers; hex where an arc is too large to count with.
pub(super) fn dotted(oid: &[u8]) -> String {
    let mut arcs = Vec::new();
    for arc in oid.split_inclusive(|byte| byte & 0x80 == 0) {
        if arc.len() > 9 {
            return format!("#{}", crate::digest::hex(oid));
        }
        arcs.push(arc.iter().fold(0u64, |value, byte| value << 7 | u64::from(byte & 0x7f)));
    }
    let Some((&first, rest)) = arcs.split_first() else { return String::new() };
    let root = (first / 40).min(2);
    let mut text = format!("{root}.{}", first - root * 40);
    rest.iter().for_each(|arc| text.push_str(&format!(".{arc}")));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn any(bytes: &[u8]) -> Option<&[u8]> {
        Reader::new(bytes).any().map(|element| element.content)
    }

    #[test]
    fn only_the_shortest_length_counts() {
        assert_eq!(any(&[4, 1, 9]), Some(&[9][..]));
        for bad in [&[][..], &[4], &[4, 2, 9], &[4, 0x80, 0, 0], &[4, 0x81, 1, 9], &[4, 0x82, 0, 0x80], &[0x1f, 1, 9]] {
            assert_eq!(any(bad), None, "{bad:02x?}");
        }
        let long = [&[4, 0x81, 0x80][..], &[7; 0x80]].concat();
        assert_eq!(any(&long).map(<[u8]>::len), Some(0x80));
        assert_eq!(any(&[4, 0x85, 0, 0, 0, 0, 1, 9]), None);
    }

    #[test]
    fn integers_are_minimal_and_signed() {
        let int = |content: &[u8]| Reader::new(&[&[2, content.len() as u8], content].concat()).int64();
        assert_eq!(
            [&[0][..], &[0x7f], &[0x80], &[0, 0x80], &[0xff, 0x7f]].map(int),
            [Some(0), Some(127), Some(-128), Some(128), Some(-129)]
        );
        assert_eq!([&[][..], &[0, 1], &[0xff, 0x80], &[1; 9]].map(int), [None; 4]);
    }

    #[test]
    fn arcs_are_whole_minimal_and_below_two_to_the_31() {
        let oid = |content: &[u8]| Reader::new(&[&[6, content.len() as u8], content].concat()).oid().is_some();
        assert!(oid(&[0x55, 0x1d, 0x0f]) && oid(&[0x2a, 0x87, 0xff, 0xff, 0xff, 0x7f]));
        for bad in [
            &[][..],
            &[0x55, 0x80, 1],
            &[0x55, 0x81],
            &[0x69, 0x88, 0x80, 0x80, 0x80, 0],
            &[0x69, 0x81, 0x80, 0x80, 0x80, 0x80, 0],
        ] {
            assert!(!oid(bad), "{bad:02x?}");
        }
        assert_eq!(dotted(&[0x55, 0x1d, 0x12]), "2.5.29.18");
        assert_eq!(dotted(&[0x60, 0x86, 0x48, 0x01, 0x86, 0xf8, 0x42, 0x01, 0x01]), "2.16.840.1.113730.1.1");
    }
}
