//! For every rule: files that break it, and innocent twins that do not. A rule that cannot fail guards nothing.

use crate::rules::{self, Rule};
use crate::source::SourceFile;

struct Sample {
    rule: Rule,
    path: &'static str,
    text: &'static str,
    /// Part of the finding; `None` for an innocent twin that must pass.
    finds: Option<&'static str>,
}

const fn breaks(rule: Rule, path: &'static str, text: &'static str, finds: &'static str) -> Sample {
    Sample { rule, path, text, finds: Some(finds) }
}

const fn keeps(rule: Rule, path: &'static str, text: &'static str) -> Sample {
    Sample { rule, path, text, finds: None }
}

const SAMPLES: &[Sample] = &[
    // Upward, in every spelling of an import.
    breaks(rules::imports_go_down, "src/digest.rs", "use crate::token::Token;", "looks up to token"),
    breaks(
        rules::imports_go_down,
        "src/pki/issue.rs",
        "use crate::{\n    secret::Secret,\n    store::Store,\n};",
        ":3: pki",
    ),
    breaks(rules::imports_go_down, "src/token/mod.rs", "fn f() { crate::cli::output::show() }", "looks up to cli"),
    breaks(rules::imports_go_down, "src/pki/mod.rs", "use super::store::Store;", "looks up to store"),
    breaks(
        rules::imports_go_down,
        "src/pki/issue.rs",
        "mod deep { use super::super::super::remote; }",
        "looks up to remote",
    ),
    breaks(
        rules::imports_go_down,
        "src/store/mod.rs",
        "pub use crate::workflow::generate as g;",
        "looks up to workflow",
    ),
    breaks(
        rules::imports_go_down,
        "src/store/mod.rs",
        "macro_rules! m { () => { $crate::workflow::run() } }",
        "looks up",
    ),
    breaks(
        rules::imports_go_down,
        "src/token/mod.rs",
        "#[cfg(test)] mod tests { use crate::store::Store; }",
        "looks up to store",
    ),
    breaks(rules::imports_go_down, "src/token/mod.rs", "use crate::*;", "the crate's root"),
    breaks(rules::imports_go_down, "src/token/mod.rs", "use crate::{self as root};", "the crate's root"),
    breaks(rules::imports_go_down, "src/token/mod.rs", "use crate::Secret;", "on no floor"),
    breaks(rules::imports_go_down, "src/error.rs", "use crate::secret::Secret;", "`error` is on no floor"),
    // Sideways.
    breaks(rules::imports_go_down, "src/store/mod.rs", "use crate::remote::Remote;", "sideways"),
    breaks(rules::imports_go_down, "src/cluster/mod.rs", "use crate::store::Store;", "sideways"),
    breaks(rules::imports_go_down, "src/share/page.rs", "use crate::workflow::status;", "sideways"),
    breaks(rules::imports_go_down, "src/digest.rs", "use crate::secret::Secret;", "sideways"),
    breaks(rules::imports_go_down, "src/pki/issue.rs", "use crate::inventory::Host;", "sideways"),
    breaks(rules::imports_go_down, "src/inventory/mod.rs", "use crate::pki::issue_leaf;", "only Algorithm"),
    // Down, and still no.
    breaks(rules::imports_go_down, "src/share/page.rs", "use crate::remote::ssh;", "must not see remote"),
    breaks(rules::imports_go_down, "src/token/mod.rs", "use crate::clock::Clock;", "told the time"),
    breaks(rules::imports_go_down, "src/main.rs", "fn main() { kubemint::store::open() }", "the binary sees"),
    keeps(rules::imports_go_down, "src/main.rs", "use kubemint::cli; fn main() {}"),
    keeps(
        rules::imports_go_down,
        "src/workflow/apply.rs",
        "use crate::{store::Store, remote::Remote, token, clock::Clock};",
    ),
    keeps(
        rules::imports_go_down,
        "src/bundle/mod.rs",
        "use crate::{inventory::Host, kubeconfig::Kubeconfig, digest::Digest};",
    ),
    keeps(rules::imports_go_down, "src/inventory/model.rs", "use crate::pki::Algorithm; use crate::inventory::host;"),
    keeps(
        rules::imports_go_down,
        "src/pki/issue.rs",
        "use super::catalog; // use crate::cli;\nconst S: &str = \"crate::cli::x\";",
    ),
    keeps(rules::imports_go_down, "src/pki/mod.rs", "pub(crate) fn f() {}\n#[cfg(test)] mod tests { use super::*; }"),
    // The map.
    breaks(rules::map_is_in_floor_order, "src/lib.rs", "pub mod store; pub mod pki;", "`pki` is listed after"),
    breaks(rules::map_is_in_floor_order, "src/lib.rs", "pub mod config;", "`config` is on no floor"),
    keeps(
        rules::map_is_in_floor_order,
        "src/lib.rs",
        "pub mod secret; pub mod clock; pub mod token; pub mod pki; pub mod cli;",
    ),
    // Printing.
    breaks(rules::nothing_prints, "src/token/mod.rs", "fn f() { println!(\"x\") }", "`println` prints"),
    breaks(rules::nothing_prints, "src/cli/apply.rs", "fn f() { std::eprint!(\"x\") }", "`eprint` prints"),
    breaks(
        rules::nothing_prints,
        "src/cli/apply.rs",
        "use std::io::{self, Write}; fn f() { io::stdout().flush() }",
        "`stdout`",
    ),
    breaks(
        rules::nothing_prints,
        "src/cli/apply.rs",
        "use std::io::stderr; fn f() { stderr().write(b\"x\") }",
        "`stderr`",
    ),
    breaks(rules::nothing_prints, "src/cli/apply.rs", "fn f() { init(std::io::stderr) }", "`stderr`"),
    breaks(rules::nothing_prints, "src/workflow/apply.rs", "use indicatif::ProgressBar;", "`indicatif`"),
    keeps(rules::nothing_prints, "src/cli/output.rs", "fn f() { println!(\"x\") }"),
    keeps(
        rules::nothing_prints,
        "src/remote/local.rs",
        "fn f() { child.stdout.take(); command.stderr(Stdio::piped()); }",
    ),
    keeps(
        rules::nothing_prints,
        "src/token/mod.rs",
        "/// `println!(x)`\nfn f() { let print = \"println!\"; write!(out, \"x\") }",
    ),
    keeps(rules::nothing_prints, "src/token/mod.rs", "#[cfg(test)] mod tests { fn f() { println!(\"x\") } }"),
    // The pure domain.
    breaks(rules::domain_is_pure, "src/pki/import.rs", "use std::{fmt, fs};", "`std::fs` reaches outside"),
    breaks(rules::domain_is_pure, "src/pki/import.rs", "fn f() { ::std::fs::read(p) }", "`std::fs::read`"),
    breaks(rules::domain_is_pure, "src/token/mod.rs", "fn f() { std::env::var(\"HOME\") }", "reaches outside"),
    breaks(rules::domain_is_pure, "src/inventory/range.rs", "use std::net::{IpAddr, ToSocketAddrs};", "ToSocketAddrs"),
    breaks(rules::domain_is_pure, "src/token/mod.rs", "fn f() { jiff::Timestamp::now() }", "asks for the time"),
    breaks(
        rules::domain_is_pure,
        "src/token/mod.rs",
        "use jiff::Timestamp; fn f() { Timestamp::now() }",
        "asks for the time",
    ),
    breaks(rules::domain_is_pure, "src/pki/issue.rs", "use std::time::{Duration, SystemTime};", "SystemTime"),
    breaks(rules::domain_is_pure, "src/token/mod.rs", "use rand::random;", "`rand::random`"),
    breaks(rules::domain_is_pure, "src/inventory/mod.rs", "fn f(p: &Path) { p.exists() }", "looks at the disk"),
    keeps(rules::domain_is_pure, "src/inventory/mod.rs", "use std::{net::IpAddr, time::Duration, path::PathBuf};"),
    keeps(rules::domain_is_pure, "src/store/atomic.rs", "use std::fs; fn f() { jiff::Timestamp::now() }"),
    keeps(rules::domain_is_pure, "src/pki/mod.rs", "#[cfg(test)] mod tests { use std::fs; }"),
    // Secrets.
    breaks(rules::secrets_stay_wrapped, "src/cli/token.rs", "fn f() { token.expose_secret() }", "exposed"),
    breaks(
        rules::secrets_stay_wrapped,
        "src/inventory/mod.rs",
        "use crate::secret::{ExposeSecret, Secret};",
        "exposed",
    ),
    keeps(rules::secrets_stay_wrapped, "src/token/csv.rs", "fn f() { token.expose_secret() }"),
    // Names and purpose.
    breaks(rules::names_are_honest, "src/cli/utils.rs", "", "`utils` says nothing"),
    breaks(rules::names_are_honest, "src/store/manager/mod.rs", "", "`manager` says nothing"),
    breaks(rules::names_are_honest, "src/store/mod.rs", "mod helpers { }", "`helpers` says nothing"),
    keeps(rules::names_are_honest, "src/store/atomic.rs", "mod lock;"),
    breaks(rules::files_open_with_their_purpose, "src/token/csv.rs", "use std::fmt;", "no `//!` header"),
    keeps(rules::files_open_with_their_purpose, "src/token/csv.rs", "//! What it is for.\nuse std::fmt;"),
];

#[test]
fn each_rule_finds_what_breaks_it_and_passes_its_innocent_twin() {
    for sample in SAMPLES {
        let found = (sample.rule)(&SourceFile::parse(sample.path, sample.text));
        let report: Vec<String> = found.iter().map(ToString::to_string).collect();
        let (path, text) = (sample.path, sample.text);
        match sample.finds {
            Some(part) => {
                assert!(report.join("\n").contains(part), "{path}: {text}\nshould find {part:?}, found {report:?}");
            }
            None => assert!(report.is_empty(), "{path}: {text}\nshould pass, found {report:?}"),
        }
    }
}

#[test]
fn long_files_are_found() {
    let lines = |count| "//! x\n".repeat(count);
    for (path, length, expected) in
        [("src/a.rs", 400, 0), ("src/a.rs", 401, 1), ("src/main.rs", 39, 0), ("src/main.rs", 40, 1)]
    {
        assert_eq!(rules::files_are_small(&SourceFile::parse(path, &lines(length))).len(), expected, "{path} {length}");
    }
    assert_eq!(rules::files_open_with_their_purpose(&SourceFile::parse("src/a.rs", &lines(13))).len(), 1);
}

#[test]
fn the_doors_inside_a_floor_lead_only_one_way() {
    let [(_, ground), (_, domain), ..] = crate::plan::FLOORS;
    let place = |room: &str| {
        let rooms = ground.iter().chain(domain);
        rooms.into_iter().position(|known| *known == room).unwrap_or_else(|| panic!("{room} is on no floor with doors"))
    };
    for (from, to, _) in crate::plan::DOMAIN_DOORS {
        assert!(place(to) < place(from), "{from} -> {to} could close a circle");
    }
}
