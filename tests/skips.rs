//! A test that cannot run on this machine says so, and fails where nothing may be left out.
#![allow(clippy::unwrap_used, reason = "test code")]

mod support;

use std::{fs, path::Path, process::Command};

#[test]
#[ignore = "run by the test below"]
fn one_that_is_skipped() {
    support::skipped("this machine has no flux");
}

#[test]
fn what_is_skipped_fails_where_that_is_asked_for() {
    for (value, passes) in [("1", false), ("0", true), ("", true)] {
        let mut test = Command::new(std::env::current_exe().unwrap());
        test.args(["--exact", "one_that_is_skipped", "--ignored", "--nocapture"]);
        let ran = test.env("KUBEMINT_TEST_REQUIRE_ROOT", value).output().unwrap();
        let said = String::from_utf8_lossy(&ran.stdout).into_owned() + &String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.success() == passes && said.contains("no flux"), "{value}: {said}");
    }
}

#[test]
#[ignore = "run by the test below"]
fn one_that_is_left_out() {
    support::left_out("no folder is named");
}

#[test]
fn what_no_machine_has_by_itself_never_fails() {
    let mut test = Command::new(std::env::current_exe().unwrap());
    test.args(["--exact", "one_that_is_left_out", "--ignored", "--nocapture"]);
    let ran = test.env("KUBEMINT_TEST_REQUIRE_ROOT", "1").output().unwrap();
    assert!(ran.status.success() && String::from_utf8_lossy(&ran.stdout).contains("skipped: no folder is named"));
}

#[test]
fn no_test_skips_by_itself() {
    fn check(dir: &Path) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                check(&path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                let prints = text.matches(concat!("println!(\"", "skipped")).count();
                let leaves = text.contains(concat!("left_", "out("));
                let may = ["support/mod.rs", "support/shells.rs", "cluster/real.rs", "skips.rs"]
                    .iter()
                    .any(|name| path.ends_with(name));
                assert!(may || !leaves, "{}: skipped() is for this", path.display());
                assert_eq!(prints, usize::from(path.ends_with("support/mod.rs")), "{}", path.display());
            }
        }
    }
    check(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests"));
}
