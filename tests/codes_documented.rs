//! Every code that the program gives up with stands in docs/, and docs/commands.md lists none that it does not have.
#![allow(clippy::unwrap_used, reason = "test code")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// What stands before a code, white space apart.
const BEFORE: [&str; 11] = [
    "Failure::refused(",
    "Failure::bad_input(",
    "Self::refused(",
    "Self::bad_input(",
    "Refusal::found(",
    "Refusal::input(",
    "Stop::new(",
    "(Exit::BadInput,",
    "(Exit::Refused,",
    "(Exit::Unexpected,",
    "code: ",
];

/// What of it says how the program ends.
const EXITS: [(&str, u8); 6] = [
    ("Failure::refused(", 4),
    ("Failure::bad_input(", 2),
    ("Self::refused(", 4),
    ("Self::bad_input(", 2),
    ("Refusal::found(", 4),
    ("Refusal::input(", 2),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files_below(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_below(&path, extension));
        } else if path.extension().is_some_and(|own| own == extension) {
            found.push(path);
        }
    }
    found
}

fn is_code(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

/// The codes of a source file, but for its tests.
fn codes_of(text: &str) -> BTreeSet<String> {
    codes_after(text, &BEFORE)
}

fn codes_after(text: &str, before: &[&str]) -> BTreeSet<String> {
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    let literal = |rest: &str| Some(rest.trim_start().strip_prefix('"')?.split_once('"')?.0.to_owned());
    let of = |before: &&str| text.split(before).skip(1).filter_map(literal).collect::<Vec<_>>();
    before.iter().flat_map(of).filter(|text| is_code(text)).collect()
}

/// What stands in back quotes.
fn quoted(text: &str) -> BTreeSet<&str> {
    text.split('`').skip(1).step_by(2).filter(|text| is_code(text)).collect()
}

#[test]
fn codes_are_found_where_they_are_given() {
    let text = "Failure::bad_input(\n    \"one\", x) Stop::new(\"two\",) Failure::refused(code, \"no\")\n#[cfg(test)]\nmod tests \
                Stop::new(\"three\"";
    assert_eq!(codes_of(text), ["one", "two"].map(str::to_owned).into());
}

#[test]
fn every_code_is_documented() {
    let mut codes: BTreeMap<String, PathBuf> = BTreeMap::new();
    for path in files_below(&root().join("src"), "rs") {
        codes.extend(codes_of(&fs::read_to_string(&path).unwrap()).into_iter().map(|code| (code, path.clone())));
    }
    assert!(codes.len() > 60, "only {} codes found", codes.len());
    let documents: Vec<_> =
        files_below(&root().join("docs"), "md").iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    let known: BTreeSet<&str> = documents.iter().flat_map(|text| quoted(text)).collect();
    codes.retain(|code, _| !known.contains(code.as_str()));
    assert!(codes.is_empty(), "give each a line below \"Codes\" of docs/commands.md: {codes:#?}");
}

/// The codes below "Codes" of docs/commands.md, with their exit codes.
fn listed() -> BTreeSet<(String, u8)> {
    let text = fs::read_to_string(root().join("docs/commands.md")).unwrap();
    let list = text.split_once("\n## Codes\n").unwrap().1.split_once("\n## ").unwrap().0;
    let mut listed = BTreeSet::new();
    for cells in list.lines().filter_map(|line| Some(line.strip_prefix("| ")?.split(" | ").collect::<Vec<_>>())) {
        if let Ok(exit) = cells[0].parse() {
            listed.extend(quoted(cells[1]).into_iter().map(|code| (code.to_owned(), exit)));
        }
    }
    assert!(listed.len() > 60, "{listed:?}");
    listed
}

#[test]
fn codes_are_listed_with_their_exit_codes() {
    let listed = listed();
    let mut wrong = Vec::new();
    for path in files_below(&root().join("src"), "rs") {
        let text = fs::read_to_string(&path).unwrap();
        for (before, exit) in EXITS {
            let codes = codes_after(&text, &[before]);
            wrong.extend(codes.into_iter().map(|code| (code, exit)).filter(|both| !listed.contains(both)));
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn no_code_is_listed_that_nothing_gives() {
    let sources: String =
        files_below(&root().join("src"), "rs").iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    let stale: Vec<_> = listed().into_iter().filter(|(code, _)| !sources.contains(&format!("\"{code}\""))).collect();
    assert!(stale.is_empty(), "{stale:?}");
}
