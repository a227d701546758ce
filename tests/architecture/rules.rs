//! The rules, each a function from one file to what is wrong with it. A finding names place, fault and cure.

use crate::plan;
use crate::source::{PathUse, SourceFile, Token};
use std::fmt;

pub type Rule = fn(&SourceFile) -> Vec<Finding>;

#[derive(Debug)]
pub struct Finding {
    pub place: String,
    pub fault: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.fault)
    }
}

fn finding(source: &SourceFile, line: usize, fault: String) -> Finding {
    Finding { place: format!("{}:{line}", source.path), fault }
}

// --- floors ---

pub fn imports_go_down(source: &SourceFile) -> Vec<Finding> {
    let judge = |path: &PathUse| Some(finding(source, path.line, edge_fault(source, path)?));
    source.crate_paths().iter().filter_map(judge).collect()
}

fn edge_fault(source: &SourceFile, path: &PathUse) -> Option<String> {
    let to = path.parts.first().map_or("self", String::as_str);
    if matches!(to, "*" | "self") {
        return Some("imports the crate's root: name the module".to_owned());
    }
    let Some(from) = source.module.first() else {
        let main_is_nosy = source.path == "src/main.rs" && !plan::MAIN_MAY_SEE.contains(&to);
        return main_is_nosy.then(|| format!("the binary sees `{to}`: let src/cli do it"));
    };
    if from == to {
        return None;
    }
    let Some(to_floor) = plan::floor_of(to) else {
        return Some(format!(
            "`{to}` is on no floor: name its module, or give it a floor in tests/architecture/plan.rs"
        ));
    };
    let Some(from_floor) = plan::floor_of(from) else {
        return Some(format!("`{from}` is on no floor: give it one in tests/architecture/plan.rs"));
    };
    let (from_name, to_name) = (plan::FLOORS[from_floor].0, plan::FLOORS[to_floor].0);
    if to_floor > from_floor {
        return Some(format!("{from} ({from_name}) looks up to {to} ({to_name}): pass the value in, or move it down"));
    }
    if let Some((.., why)) = plan::WALLED_UP.iter().find(|(a, b, _)| a == from && *b == to) {
        return Some(format!("{from} must not see {to}: {why}"));
    }
    if to_floor < from_floor {
        return None;
    }
    match plan::DOMAIN_DOORS.iter().find(|(a, b, _)| a == from && *b == to) {
        None => Some(format!("{from} looks sideways to {to} (both {from_name}): let the floor above join them")),
        Some((.., names))
            if names.is_empty() || path.parts.get(1).is_some_and(|name| names.contains(&name.as_str())) =>
        {
            None
        }
        Some((.., names)) => {
            Some(format!("{from} takes `{}`; from {to} it may take only {}", path.text(), names.join(", ")))
        }
    }
}

/// The modules lib.rs declares, in its order.
pub fn listed_modules(map: &SourceFile) -> Vec<String> {
    let shipped: Vec<&Token> = map.tokens.iter().filter(|token| !token.test_only && token.depth == 0).collect();
    shipped
        .windows(3)
        .filter(|three| three[0].text == "mod" && three[2].text == ";")
        .map(|three| three[1].text.clone())
        .collect()
}

pub fn map_is_in_floor_order(source: &SourceFile) -> Vec<Finding> {
    if source.path != "src/lib.rs" {
        return Vec::new();
    }
    let mut highest = 0;
    let mut found = Vec::new();
    for module in listed_modules(source) {
        match plan::floor_of(&module) {
            None => found.push(finding(source, 1, format!("`{module}` is on no floor of the plan"))),
            Some(floor) if floor < highest => {
                let name = plan::FLOORS[floor].0;
                found.push(finding(source, 1, format!("`{module}` is listed after a higher floor: move it to {name}")));
            }
            Some(floor) => highest = floor,
        }
    }
    found
}

// --- what a module may do ---

pub fn nothing_prints(source: &SourceFile) -> Vec<Finding> {
    if plan::PRINTERS.contains(&source.path.as_str()) {
        return Vec::new();
    }
    let mut found = Vec::new();
    for (at, token) in source.tokens.iter().enumerate().filter(|(_, token)| !token.test_only) {
        let text = |at: usize| source.tokens.get(at).map_or("", |token| token.text.as_str());
        let before = at.checked_sub(1).map_or("", text);
        let prints = match token.text.as_str() {
            name if plan::PRINTING_MACROS.contains(&name) => text(at + 1) == "!",
            // Not `child.stdout` and not `command.stderr(…)`.
            "stdout" | "stderr" => before != "." && (before == ":" || text(at + 1) == "("),
            "indicatif" => true,
            _ => false,
        };
        if prints {
            found.push(finding(
                source,
                token.line,
                format!("`{}` prints: return a value and let src/cli/output.rs", token.text),
            ));
        }
    }
    found
}

pub fn domain_is_pure(source: &SourceFile) -> Vec<Finding> {
    let in_domain = source.module.first().and_then(|top| plan::floor_of(top)) == Some(1);
    if !in_domain {
        return Vec::new();
    }
    let mut found = Vec::new();
    for path in source.paths().iter().filter(|path| !path.test_only) {
        let text = path.text();
        let ends = |call: &&str| text == **call || text.ends_with(&format!("::{call}"));
        if let Some(call) = plan::CLOCK_CALLS.iter().find(|call| ends(call)) {
            found.push(finding(source, path.line, format!("`{call}` asks for the time: take a jiff::Timestamp")));
        } else if plan::IMPURE_PATHS.iter().any(|impure| text == *impure || text.starts_with(&format!("{impure}::"))) {
            found.push(finding(source, path.line, format!("`{text}` reaches outside: let store, remote or cli do it")));
        }
    }
    for three in source.tokens.windows(3).filter(|three| !three[1].test_only) {
        let name = three[1].text.as_str();
        if three[0].text == "." && three[2].text == "(" && plan::DISK_METHODS.contains(&name) {
            found.push(finding(source, three[1].line, format!("`.{name}()` looks at the disk: let store do it")));
        }
    }
    found
}

pub fn secrets_stay_wrapped(source: &SourceFile) -> Vec<Finding> {
    let path = source.path.as_str();
    if plan::EMITTERS.iter().any(|emitter| path == *emitter || emitter.ends_with('/') && path.starts_with(emitter)) {
        return Vec::new();
    }
    let exposes = |token: &&Token| !token.test_only && matches!(token.text.as_str(), "expose_secret" | "ExposeSecret");
    let report = |token: &Token| finding(source, token.line, "a secret is exposed outside the emitters".to_owned());
    source.tokens.iter().filter(exposes).map(report).collect()
}

// --- size and names ---

pub fn files_are_small(source: &SourceFile) -> Vec<Finding> {
    let (most, cure) = match source.path.as_str() {
        "src/main.rs" => (plan::LONGEST_MAIN, "move it into src/cli"),
        _ => (plan::LONGEST_FILE, "split it by its nouns, one file each"),
    };
    let length = source.lines.len();
    if length <= most {
        return Vec::new();
    }
    vec![finding(source, length, format!("{length} lines, at most {most}: {cure}"))]
}

pub fn files_open_with_their_purpose(source: &SourceFile) -> Vec<Finding> {
    let header = source.lines.iter().take_while(|line| line.starts_with("//!")).count();
    match header {
        _ if source.path == "src/main.rs" => Vec::new(),
        0 => vec![finding(source, 1, "no `//!` header: say what it is for and what always holds".to_owned())],
        long if long > plan::LONGEST_HEADER => {
            vec![finding(source, 1, format!("a header of {long} lines: move the rest to docs/"))]
        }
        _ => Vec::new(),
    }
}

pub fn names_are_honest(source: &SourceFile) -> Vec<Finding> {
    let inline =
        source.tokens.windows(2).filter(|two| two[0].text == "mod").map(|two| (two[1].text.clone(), two[1].line));
    let own = source.module.iter().map(|part| (part.clone(), 1));
    let bad = own.chain(inline).filter(|(name, _)| plan::DISHONEST_NAMES.contains(&name.as_str()));
    bad.map(|(name, line)| finding(source, line, format!("`{name}` says nothing: name the thing it holds"))).collect()
}
