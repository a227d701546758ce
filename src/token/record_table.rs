//! The CSV reader against Go's own: each row is what `encoding/csv` of Go 1.19 (`FieldsPerRecord = -1`) made of the
//! text: the records before the first error, and that error's line, column and kind.

use super::record::{CsvError, CsvFault, Records};

const BARE: CsvFault = CsvFault::BareQuote;
const BROKEN: CsvFault = CsvFault::BrokenQuote;

type Fault = Option<(usize, usize, CsvFault)>;
type Expected = (&'static str, &'static [&'static [&'static str]], Fault);

#[rustfmt::skip]
const GO_SAYS: &[Expected] = &[
    ("a,b,c\n", &[&["a", "b", "c"]], None),
    ("a,b,c", &[&["a", "b", "c"]], None),
    ("a,b,c\r\n", &[&["a", "b", "c"]], None),
    ("a,b,c\r", &[&["a", "b", "c"]], None),
    ("\na,b,c\n\n\r\nd,e,f\n", &[&["a", "b", "c"], &["d", "e", "f"]], None),
    ("\u{feff}a,b,c\n", &[&["\u{feff}a", "b", "c"]], None),
    ("  \n", &[&["  "]], None),
    ("a,\"b,c\"\n", &[&["a", "b,c"]], None),
    ("a,\"b\"\"c\",d\n", &[&["a", "b\"c", "d"]], None),
    ("a,b\"c,d\n", &[], Some((1, 4, BARE))),
    ("x,y,z\na,\"b\"c,d\n", &[&["x", "y", "z"]], Some((2, 5, BROKEN))),
    ("a,\"b", &[], Some((1, 5, BROKEN))),
    ("a,\"b\n", &[], Some((1, 6, BROKEN))),
    ("a,\"b\nc", &[], Some((2, 2, BROKEN))),
    ("a,\"b\nc\nd\n", &[], Some((3, 3, BROKEN))),
    ("a, \"b\",c\n", &[], Some((1, 4, BARE))),
    ("a,\"b\" ,c\n", &[], Some((1, 5, BROKEN))),
    ("a,\"b\r\nc\",d\r\n", &[&["a", "b\nc", "d"]], None),
    ("a,\"b\rc\",d\n", &[&["a", "b\rc", "d"]], None),
    ("a\rb,c,d\n", &[&["a\rb", "c", "d"]], None),
    ("a,b,c\rd,e,f", &[&["a", "b", "c\rd", "e", "f"]], None),
    ("#t,u,1\n", &[&["#t", "u", "1"]], None),
    (",u,1\n", &[&["", "u", "1"]], None),
    ("a,b,\n", &[&["a", "b", ""]], None),
    ("a,,\n", &[&["a", "", ""]], None),
    (",\n", &[&["", ""]], None),
    (",", &[&["", ""]], None),
    ("\"\"\n", &[&[""]], None),
    ("\"\"", &[&[""]], None),
    ("\"", &[], Some((1, 2, BROKEN))),
    ("\"\n", &[], Some((1, 3, BROKEN))),
    ("\"\n\n", &[], Some((2, 2, BROKEN))),
    ("\r", &[], None),
    ("\r\r\n", &[&["\r"]], None),
    ("a\0b,c,d\n", &[&["a\0b", "c", "d"]], None),
    ("ä,ö\"ü,d\n", &[], Some((1, 6, BARE))),
    ("ä,\"ö\"ü,d\n", &[], Some((1, 7, BROKEN))),
    ("a,\"b\",\"\n", &[], Some((1, 9, BROKEN))),
    ("a,\"b\"\r\n", &[&["a", "b"]], None),
    ("a,\"b\"\r", &[&["a", "b"]], None),
    ("a,\"\"\"\n", &[], Some((1, 7, BROKEN))),
    ("a,\"\"\"\"\n", &[&["a", "\""]], None),
    ("a,\"b\nc\"d\n", &[], Some((2, 2, BROKEN))),
    ("'a,b',c\n", &[&["'a", "b'", "c"]], None),
    ("t,u,1,\"g1, g2\"\n", &[&["t", "u", "1", "g1, g2"]], None),
    ("t,u,1,g1,g2\n", &[&["t", "u", "1", "g1", "g2"]], None),
    ("a,\"b\r", &[], Some((1, 5, BROKEN))),
    ("a,\"b\r\n", &[], Some((1, 6, BROKEN))),
    ("\"a\nb\"\n\nc\"\n", &[&["a\nb"]], Some((4, 2, BARE))),
    ("a,\"\n\n\nb\"x", &[], Some((4, 2, BROKEN))),
    ("a,\"b\n\r", &[], Some((1, 6, BROKEN))),
    ("a,\"b\n\rc\"", &[&["a", "b\n\rc"]], None),
];

fn read(text: &str) -> (Vec<Vec<String>>, Fault) {
    let mut records = Vec::new();
    for record in Records::new(text) {
        match record {
            Ok(record) => records.push(record.fields),
            Err(CsvError { line, column, what, .. }) => return (records, Some((line, column, what))),
        }
    }
    (records, None)
}

#[test]
fn every_text_reads_as_in_go() {
    for (text, records, error) in GO_SAYS {
        let (found, fault) = read(text);
        assert_eq!(found, *records, "{text:?}");
        assert_eq!(fault, *error, "{text:?}");
    }
}

#[test]
fn after_a_faulty_line_the_next_one_is_read() {
    let read: Vec<_> =
        Records::new("a,b\"c\nd,e,f\ng,\"h\"i\nj\n").map(|record| record.ok().map(|r| r.fields)).collect();
    assert_eq!(read, [None, Some(vec!["d".into(), "e".into(), "f".into()]), None, Some(vec!["j".into()])]);
}

#[test]
fn the_raw_texts_together_are_the_file_without_its_blank_lines() {
    let text = "a,\"b\r\nc\",d\r\n\n\r\ne,f,g\nh,i,j";
    let raw: String = Records::new(text).filter_map(Result::ok).map(|record| record.raw).collect();
    assert_eq!(raw, "a,\"b\r\nc\",d\r\ne,f,g\nh,i,j");
}
