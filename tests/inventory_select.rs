//! `--limit`: which hosts a list of patterns stands for, and what is refused.

#![allow(clippy::unwrap_used, reason = "clippy.toml allows it in test functions only, not in what they call")]

use kubemint::inventory::{
    Host, Location, Pattern, PatternError, SelectError, parse_inventory, parse_pattern_file, parse_patterns,
    resolve_files, select_hosts,
};
use std::path::Path;

const INVENTORY: &str = r#"
[cluster]
server = "https://172.20.0.113:6443"
[[hosts]]
name = "cp-[1-2]"
roles = ["control-plane"]
labels = { rack = "a" }
[[hosts]]
name = "cp-3"
roles = ["control-plane", "node"]
labels = { rack = "b" }
[[hosts]]
name = "node-[001-012]"
labels = { rack = "b", "example.net/size" = "" }
"#;

fn hosts() -> Vec<Host> {
    let location = Location { path: "i.toml".into(), folder: "/".into(), home: Some("/home/x".into()) };
    parse_inventory(INVENTORY, &location).unwrap().hosts
}

fn select(limit: &str) -> Result<String, SelectError> {
    let hosts = hosts();
    let chosen = select_hosts(&hosts, &parse_patterns(limit).unwrap())?;
    Ok(chosen.iter().map(|host| host.name.as_str()).collect::<Vec<_>>().join(" "))
}

#[test]
fn patterns_add_up_in_the_inventorys_order() {
    for (limit, chosen) in [
        ("node-002,cp-1", "cp-1 node-002"),
        ("cp-*", "cp-1 cp-2 cp-3"),
        ("cp-?,cp-1", "cp-1 cp-2 cp-3"),
        ("node-[001-003]", "node-001 node-002 node-003"),
        ("node-[001,011-012],cp-2", "cp-2 node-001 node-011 node-012"),
        ("*-01?", "node-010 node-011 node-012"),
        ("role:control-plane", "cp-1 cp-2 cp-3"),
        ("role:master,!role:node", "cp-1 cp-2"),
        ("label:rack=a", "cp-1 cp-2"),
        ("label:rack=b,!node-*", "cp-3"),
        ("!label:example.net/size=,!cp-2", "cp-1 cp-3"),
        ("!cp-3,cp-*", "cp-1 cp-2"),
        (" cp-1 , cp-2 ", "cp-1 cp-2"),
    ] {
        assert_eq!(select(limit).as_deref(), Ok(chosen), "{limit}");
    }
}

#[test]
fn no_patterns_and_only_exclusions_start_from_all_hosts() {
    let hosts = hosts();
    assert_eq!(select_hosts(&hosts, &[]).unwrap().len(), 15);
    assert_eq!(select_hosts(&hosts, &parse_patterns("!node-001").unwrap()).unwrap().len(), 14);
}

#[test]
fn a_pattern_that_matches_nothing_is_an_error_with_the_nearest_host() {
    let error = select("cp-1,nod-001").unwrap_err();
    assert_eq!(error.to_string(), "no host matches \"nod-001\"");
    assert_eq!(error.hint().as_deref(), Some("did you mean \"node-001\"?"));
    for limit in ["node-[013-020]", "node-1", "x*", "label:rack=c", "label:zone=a", "!node-013", "node-*,!zebra"] {
        assert!(matches!(select(limit), Err(SelectError::NoMatch { .. })), "{limit}");
    }
}

#[test]
fn a_selection_that_leaves_nothing_is_an_error() {
    assert_eq!(select("cp-1,!cp-*"), Err(SelectError::Nothing));
    assert_eq!(select("!*"), Err(SelectError::Nothing));
    assert_eq!(select("@f"), Err(SelectError::UnreadFile("f".into())));
}

#[test]
fn bad_patterns_are_refused_with_a_cure() {
    for (limit, message, hint) in [
        ("", "an empty pattern", "write a host"),
        ("cp-1,,cp-2", "an empty pattern", "write a host"),
        ("cp-1,", "an empty pattern", ""),
        ("!", "an empty pattern", ""),
        ("@", "an empty pattern", ""),
        ("!!cp-1", "\"!\" twice", ""),
        ("role:nodes", "unknown role", "did you mean \"node\"?"),
        ("rol:node", "only role: and label:", "did you mean \"role\"?"),
        ("label:rack", "label:KEY=VALUE", ""),
        ("label:=a", "label:KEY=VALUE", ""),
        ("node-[3-1]", "runs backwards", "smaller number first"),
        ("node-[1", "do not pair up", ""),
    ] {
        let error = parse_patterns(limit).unwrap_err();
        assert!(error.to_string().contains(message), "{limit}: {error}");
        assert!(error.hint().unwrap_or_default().contains(hint), "{limit}: {:?}", error.hint());
    }
}

#[test]
fn a_file_of_patterns_is_read_line_by_line() {
    let text = "\u{feff}# failed on Monday\r\ncp-1\r\n\r\n  node-00?  # and these\r\n!node-003,!node-[004,005]";
    let patterns = parse_pattern_file(text).unwrap();
    let shown: Vec<_> = patterns.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["cp-1", "node-00?", "!node-003", "!node-[004,005]"]);
    let error = parse_pattern_file("cp-1\nrole:x\n").unwrap_err();
    assert!(error.to_string().starts_with("line 2: bad pattern"), "{error}");
}

#[test]
fn an_empty_file_never_comes_to_mean_all_hosts() {
    for text in ["", "\n\n", "# nothing\n"] {
        assert_eq!(parse_pattern_file(text), Err(PatternError::EmptyFile));
    }
}

#[test]
fn files_are_put_in_their_place_and_cannot_nest() {
    let read = |path: &Path| match path.to_str() {
        Some("some") => Ok::<_, PatternError>("cp-1\ncp-2".to_owned()),
        Some("nested") => Ok("@some".to_owned()),
        _ => Ok("!cp-1".to_owned()),
    };
    let resolve = |limit: &str| resolve_files(parse_patterns(limit).unwrap(), read);
    let shown = |patterns: Vec<Pattern>| patterns.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    assert_eq!(resolve("node-001,@some,!cp-3").map(shown), Ok("node-001,cp-1,cp-2,!cp-3".into()));
    assert_eq!(resolve("!@some").map(shown), Ok("!cp-1,!cp-2".into()));
    assert_eq!(resolve("@excludes").map(shown), Ok("!cp-1".into()));
    let refused = |limit: &str| resolve(limit).map(shown).unwrap_err();
    let nested = refused("@nested");
    assert!(matches!(&nested, PatternError::OfFile { error, .. } if matches!(**error, PatternError::NestedFile(_))));
    assert_eq!(nested.to_string(), "nested: a file of patterns cannot name another (@some)");
    let twice = refused("!@excludes");
    assert!(matches!(&twice, PatternError::OfFile { error, .. } if matches!(**error, PatternError::TwiceNot(_))));
}

#[test]
fn a_range_selects_just_the_hosts_the_same_range_made() {
    let location = Location { path: "i.toml".into(), folder: "/".into(), home: Some("/home/x".into()) };
    let ranges = ["n[1-12]", "n[01-12]", "n[001-012]", "n[1,01,001]x", "n[1-3][08-11]"];
    let parse = |names: &[&str]| {
        let blocks: String = names.iter().map(|name| format!("[[hosts]]\nname = \"{name}\"\n")).collect();
        parse_inventory(&format!("[cluster]\nserver = \"https://a\"\n{blocks}"), &location).unwrap().hosts
    };
    let made = |range: &str| parse(&[range]).iter().map(|host| host.name.to_string()).collect::<Vec<_>>();
    let others = parse(&["m[1-12]", "n[13-99]", "n[013-099]", "n[0001-0012]", "nx", "n1y", "n1xx"]);
    for range in ranges {
        let hosts: Vec<_> = parse(&[range]).into_iter().chain(others.iter().cloned()).collect();
        let chosen = select_hosts(&hosts, &parse_patterns(range).unwrap()).unwrap();
        assert_eq!(chosen.iter().map(|host| host.name.to_string()).collect::<Vec<_>>(), made(range));
    }
}
