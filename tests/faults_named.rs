//! docs/faults.md names a test for every row, each test it names exists, and no fault's test goes unnamed.
#![allow(clippy::unwrap_used, reason = "test code")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// A link of the document: the function's name, and the file it should be in.
type Named = (String, PathBuf);

/// Files of which every test is a row.
const ROWS_ONLY: [&str; 6] = ["host", "local", "login", "reach", "shell", "transfer"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The links of the last column of every row, and the rows that have none.
fn read_rows(text: &str) -> (Vec<Named>, Vec<String>) {
    let (mut named, mut bare) = (Vec::new(), Vec::new());
    let is_row = |line: &&str| line.starts_with("| ") && !line.starts_with("| What goes wrong |");
    for line in text.lines().filter(is_row) {
        let last = line.trim_end_matches(" |").rsplit("| ").next().unwrap();
        let link =
            last.strip_prefix('[').and_then(|link| link.strip_suffix(')')).and_then(|link| link.split_once("](../"));
        match link {
            Some((function, path)) => named.push((function.to_owned(), PathBuf::from(path))),
            None => bare.push(line.to_owned()),
        }
    }
    (named, bare)
}

/// The test functions of a file.
fn tests_of(text: &str) -> BTreeSet<String> {
    let after = text.split("#[test]\n").skip(1);
    after.filter_map(|rest| Some(rest.trim_start().strip_prefix("fn ")?.split_once('(')?.0.to_owned())).collect()
}

fn document() -> String {
    fs::read_to_string(root().join("docs/faults.md")).unwrap()
}

#[test]
fn every_row_names_a_test_that_exists() {
    let (named, bare) = read_rows(&document());
    assert_eq!(bare, [""; 0], "rows without a test");
    assert!(named.len() > 50, "{} rows", named.len());
    let missing: Vec<_> = named
        .iter()
        .filter(|(function, path)| {
            !fs::read_to_string(root().join(path)).is_ok_and(|text| tests_of(&text).contains(function))
        })
        .collect();
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn every_test_of_a_fault_is_a_row() {
    let (named, _) = read_rows(&document());
    for file in ROWS_ONLY {
        let path = PathBuf::from(format!("tests/faults/{file}.rs"));
        let tests = tests_of(&fs::read_to_string(root().join(&path)).unwrap());
        let rows = named.iter().filter(|(_, of)| *of == path).map(|(function, _)| function.clone()).collect();
        assert_eq!(tests, rows, "{file}");
    }
}

#[test]
fn a_row_without_a_link_and_a_test_that_is_none_are_seen() {
    let text = "| What goes wrong | Code | Test |\n|---|---|---|\n| x | `c` | [f](../tests/a.rs) |\n| y | `d` | f |\n";
    let (named, bare) = read_rows(text);
    assert_eq!(named, [("f".to_owned(), PathBuf::from("tests/a.rs"))]);
    assert_eq!(bare, ["| y | `d` | f |"]);
    assert_eq!(tests_of("#[test]\nfn one() {}\nfn two() {}\n").into_iter().collect::<Vec<_>>(), ["one"]);
}
