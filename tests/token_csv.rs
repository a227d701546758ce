//! token.csv: what kube-apiserver would read is what we read, other users' rows survive, and no more than our own row
//! changes. (How records are read is judged against Go in src/token/record_table.rs.)

#![allow(clippy::unwrap_used)] // Outside #[test] functions, too: a test helper may fail its test.

use kubemint::{
    entropy::SeededEntropy,
    inventory::TokenSettings,
    secret::ExposeSecret,
    token::{BootstrapToken, CsvFault, MergeChange, TokenError, TokenFile, merge, parse_token_file},
};
use proptest::prelude::*;

fn settings(groups: &[&str]) -> TokenSettings {
    TokenSettings {
        user: "kubelet-bootstrap".into(),
        uid: "10001".into(),
        groups: groups.iter().map(ToString::to_string).collect(),
    }
}

fn handbook() -> TokenSettings {
    settings(&["system:kubelet-bootstrap"])
}

fn parse(text: &str) -> TokenFile {
    parse_token_file(text.as_bytes()).unwrap()
}

fn token(text: &str) -> BootstrapToken {
    text.parse().unwrap()
}

fn text(file: &TokenFile) -> String {
    file.render().expose_secret().to_owned()
}

#[test]
fn a_new_file_is_the_handbooks_line() {
    let token = BootstrapToken::generate(&SeededEntropy::new(1)).unwrap();
    let (file, change) = TokenFile::default().with_row(&token, &handbook()).unwrap();
    let expected = format!("{},kubelet-bootstrap,10001,\"system:kubelet-bootstrap\"\n", token.secret().expose_secret());
    assert_eq!(text(&file), expected);
    assert_eq!(change, MergeChange::Added);
}

#[test]
fn several_groups_share_one_pair_of_quotes_and_no_group_means_no_column() {
    let with = |groups: &[&str]| text(&TokenFile::default().with_row(&token("t"), &settings(groups)).unwrap().0);
    assert_eq!(with(&["a", "b:c"]), "t,kubelet-bootstrap,10001,\"a,b:c\"\n");
    assert_eq!(with(&[]), "t,kubelet-bootstrap,10001\n");
}

#[test]
fn rows_of_others_are_kept_byte_for_byte_and_in_order() {
    let before = "a,\"x\",\"1\",g\r\nold,kubelet-bootstrap,10001,\"system:kubelet-bootstrap\"\nb , y,2,g1,g2";
    let (file, change) = parse(before).with_row(&token("new"), &handbook()).unwrap();
    assert_eq!(
        text(&file),
        "a,\"x\",\"1\",g\r\nnew,kubelet-bootstrap,10001,\"system:kubelet-bootstrap\"\nb , y,2,g1,g2\n"
    );
    assert_eq!(change, MergeChange::Replaced(vec![token("old").fingerprint()]));
}

#[test]
fn a_row_without_a_final_newline_is_not_glued_to_ours() {
    let (file, _) = parse("a,x,1").with_row(&token("new"), &handbook()).unwrap();
    assert_eq!(text(&file), "a,x,1\nnew,kubelet-bootstrap,10001,\"system:kubelet-bootstrap\"\n");
}

#[test]
fn the_same_row_again_changes_nothing_however_it_is_written() {
    let written = "\"t\",kubelet-bootstrap,10001,system:kubelet-bootstrap\n";
    let (file, change) = parse(written).with_row(&token("t"), &handbook()).unwrap();
    assert_eq!((text(&file).as_str(), change), (written, MergeChange::Unchanged));
}

#[test]
fn other_groups_are_a_change_although_the_token_is_the_same() {
    let (file, change) =
        parse("t,kubelet-bootstrap,10001,g1,g2\n").with_row(&token("t"), &settings(&["g1", "g2"])).unwrap();
    assert_eq!(text(&file), "t,kubelet-bootstrap,10001,\"g1,g2\"\n");
    assert_eq!(change, MergeChange::Replaced(vec![token("t").fingerprint()]));
}

#[test]
fn every_row_of_the_user_is_replaced_and_another_uid_is_another_user() {
    let before = "1,kubelet-bootstrap,10001,g\n2,kubelet-bootstrap,7,g\n3,kubelet-bootstrap,10001,g\n,kubelet-bootstrap,10001,g\n";
    let (file, change) = parse(before).with_row(&token("new"), &settings(&["g"])).unwrap();
    assert_eq!(text(&file), "new,kubelet-bootstrap,10001,\"g\"\n2,kubelet-bootstrap,7,g\n");
    assert!(matches!(change, MergeChange::Replaced(old) if old.len() == 3));
}

#[test]
fn old_and_new_token_stand_side_by_side_during_a_rotation() {
    let (both, _) = parse("x,other,1\n").with_rows(&[&token("old"), &token("new")], &settings(&["g"])).unwrap();
    assert_eq!(text(&both), "x,other,1\nold,kubelet-bootstrap,10001,\"g\"\nnew,kubelet-bootstrap,10001,\"g\"\n");
    let (same, change) = both.with_rows(&[&token("old"), &token("new")], &settings(&["g"])).unwrap();
    assert_eq!((text(&same), change), (text(&both), MergeChange::Unchanged));
    let (retired, _) = both.with_row(&token("new"), &settings(&["g"])).unwrap();
    assert_eq!(text(&retired), "x,other,1\nnew,kubelet-bootstrap,10001,\"g\"\n");
}

#[test]
fn merging_keeps_what_only_the_base_knows_and_takes_the_rest_from_the_other() {
    let base = parse("1,a,1\n2,b,2\n3,c,3\n");
    let other = parse("9,b,2,\"g\"\n3,d,4\n8,e,5\n7,e,5\n");
    assert_eq!(text(&merge(&base, &other)), "1,a,1\n9,b,2,\"g\"\n3,d,4\n8,e,5\n7,e,5\n");
    assert_eq!(text(&merge(&base, &TokenFile::default())), text(&base));
    assert_eq!(text(&merge(&TokenFile::default(), &base)), text(&base));
    assert_eq!(text(&merge(&base, &base)), text(&base));
}

#[test]
fn what_the_apiserver_refuses_is_refused_with_its_place() {
    for (bad, line, column, what) in [
        ("a,b,c\nd,e\n", 2, 1, CsvFault::TooFewColumns { found: 2 }),
        ("# tokens\n", 1, 1, CsvFault::TooFewColumns { found: 1 }),
        ("a,b,c\n \n", 2, 1, CsvFault::TooFewColumns { found: 1 }),
        ("a,b,1, \"g\"\n", 1, 8, CsvFault::BareQuote),
        ("a,b,1,\"g\n", 1, 10, CsvFault::BrokenQuote),
    ] {
        let error = parse_token_file(bad.as_bytes()).unwrap_err();
        assert_eq!((error.line, error.column, error.what), (line, column, what), "{bad:?}");
    }
    let error = parse_token_file(b"a,b,c\na,b,1,\"g\n\nx,y,z\n").unwrap_err();
    assert_eq!(error.to_string(), "line 4, column 7 (record on line 2): extraneous or missing \" in quoted field");
    let error = parse_token_file(b"a,b,1\nc\xff,d,2\n").unwrap_err();
    assert_eq!((error.line, error.column, error.what), (2, 2, CsvFault::NotUtf8));
}

#[test]
fn odd_rows_are_read_as_the_apiserver_reads_them() {
    let file = parse("\u{feff}t,u,1,\"g1, g2\"\n#t,u,1,\n,u,1,g1,g2\n");
    let rows: Vec<_> = file.rows().iter().map(|r| (r.token.expose_secret(), r.groups.join("|"), r.line)).collect();
    assert_eq!(rows, [("\u{feff}t", "g1| g2".into(), 1), ("#t", String::new(), 2), ("", "g1".into(), 3)]);
    assert_eq!(file.rows()[1].groups, [""], "an empty fourth column is one group with an empty name");
}

#[test]
fn what_token_csv_cannot_express_is_refused() {
    let row = |token: &str, settings: &TokenSettings| TokenFile::default().with_row(&token.parse().unwrap(), settings);
    assert!(matches!(row("t", &settings(&["a,b"])), Err(TokenError::CommaInGroup { group }) if group == "a,b"));
    assert!(matches!(row("canary\r\n", &handbook()), Err(TokenError::CarriageReturn { field: "token" })));
}

#[test]
fn nothing_shows_a_token() {
    let file = parse("canary-1,u,1\n");
    let error = parse_token_file(b"canary-2,u\n").unwrap_err();
    let carriage_return = file.with_row(&token("canary-3\r"), &handbook()).unwrap_err();
    let shown = format!("{file:?} {error:?} {error} {} {carriage_return:?} {carriage_return}", error.hint());
    assert!(!shown.contains("canary"), "{shown}");
}

proptest! {
    #[test]
    fn any_row_we_write_is_read_back(
        secret in "[^\r]{1,40}", user in "[^\r]{0,10}", uid in "[^\r]{0,5}",
        groups in prop::collection::vec("[^\r,]{1,8}", 0..4), before in "([a-z]{1,5},[a-z]{1,3},[0-9]{1,3}(\r?\n)){0,4}",
    ) {
        let settings = TokenSettings { user, uid, groups };
        let (file, _) = parse(&before).with_row(&token(&secret), &settings).unwrap();
        let again = parse(&text(&file));
        let ours = again.rows_of(&settings.user, &settings.uid).last().unwrap();
        prop_assert_eq!(ours.token.expose_secret(), &secret);
        prop_assert_eq!(&ours.groups, &settings.groups);
        let others: String = before.split_inclusive('\n').collect();
        prop_assert!(text(&again).starts_with(&others) || parse(&before).rows_of(&settings.user, &settings.uid).count() > 0);
    }

    #[test]
    fn a_file_without_blank_lines_is_rendered_as_it_was(rows in prop::collection::vec("[a-z]{0,3},(\"x\"\"y\"|u),1(,\"a,\nb\")?(\r?\n)", 0..6)) {
        let whole = rows.concat();
        prop_assert_eq!(text(&parse(&whole)), whole);
    }
}
