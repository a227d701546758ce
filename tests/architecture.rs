//! Holds the house to its plan: imports go down the five floors only, one printer, no I/O in the domain, secrets exposed
//! only where they are written out, small files with honest names.
//!
//! `plan` is the plan as tables, `source` turns a file into tokens and paths, `rules` judges one file at a time, and
//! `samples` shows for every rule a file that breaks it and an innocent twin that does not. To allow something new, change
//! `plan` and say why in docs/decisions.md.

#[path = "architecture/plan.rs"]
mod plan;
#[path = "architecture/rules.rs"]
mod rules;
#[path = "architecture/samples.rs"]
mod samples;
#[path = "architecture/source.rs"]
mod source;

use rules::{Finding, Rule};
use source::SourceFile;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Every Rust file below src/, test files too.
fn read_sources() -> Vec<SourceFile> {
    fn collect(dir: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).expect("src is readable") {
            let path = entry.expect("src is readable").path();
            if path.is_dir() {
                collect(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = Vec::new();
    collect(&root.join("src"), &mut paths);
    paths.sort();
    assert!(paths.len() > 5, "only {} files found below src", paths.len());
    let relative = |path: &Path| path.strip_prefix(root).expect("below the root").to_string_lossy().into_owned();
    paths.iter().map(|path| SourceFile::parse(&relative(path), &fs::read_to_string(path).expect("is text"))).collect()
}

fn assert_kept(rule: Rule) {
    let broken: Vec<Finding> = read_sources().iter().flat_map(rule).collect();
    let report: Vec<String> = broken.iter().map(ToString::to_string).collect();
    assert!(broken.is_empty(), "{} finding(s):\n{}", report.len(), report.join("\n"));
}

#[test]
fn imports_go_down_only() {
    assert_kept(rules::imports_go_down);
}

#[test]
fn the_map_lists_every_module_in_floor_order() {
    assert_kept(rules::map_is_in_floor_order);
    let sources = read_sources();
    let map = sources.iter().find(|source| source.path == "src/lib.rs").expect("src/lib.rs");
    let listed = rules::listed_modules(map);
    for source in &sources {
        if let Some(top) = source.module.first() {
            assert!(listed.contains(top), "{}: src/lib.rs does not list `{top}`", source.path);
        }
    }
}

#[test]
fn only_the_output_module_prints() {
    assert_kept(rules::nothing_prints);
}

#[test]
fn the_domain_does_no_io_and_knows_no_clock() {
    assert_kept(rules::domain_is_pure);
}

#[test]
fn secrets_are_exposed_by_emitters_only() {
    assert_kept(rules::secrets_stay_wrapped);
}

#[test]
fn files_are_small_and_say_what_they_are_for() {
    assert_kept(rules::files_are_small);
    assert_kept(rules::files_open_with_their_purpose);
}

#[test]
fn modules_have_honest_names() {
    assert_kept(rules::names_are_honest);
}
