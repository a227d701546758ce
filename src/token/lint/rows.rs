//! Findings about the values of a row, and about rows that get in each other's way.

use super::{Finding, Severity};
use crate::{
    digest::{Digest, Fingerprint},
    token::{
        record::Record,
        strength::{ENOUGH_BITS, guessed_bits},
    },
};
use std::collections::HashMap;

/// The sample of the Kubernetes documentation (kubelet-tls-bootstrapping): known to everybody.
const PUBLISHED: &str = "02b50b05283e98dd0fd71db496ef01e8";

/// The user of the documentation, and ours where the inventory says nothing else.
const USUAL_USER: &str = "kubelet-bootstrap";

pub(super) fn lint_values(record: &Record<'_>) -> Vec<Finding> {
    let line = record.line;
    if let Some(finding) = swapped(record) {
        return vec![finding];
    }
    let mut findings: Vec<Finding> = lint_token(line, &record.fields[0]).into_iter().collect();
    for (name, value) in [("user", &record.fields[1]), ("uid", &record.fields[2])] {
        if value.is_empty() {
            let (severity, code) =
                if name == "user" { (Severity::Misleading, "empty-user") } else { (Severity::Advice, "empty-uid") };
            let message = format!("the {name} is empty");
            findings.push(Finding::new(line, severity, code, message, "a row is token,user,uid[,\"group1,group2\"]"));
        } else if value.contains(|c: char| c.is_whitespace() || c.is_control()) {
            let message = format!("the {name} holds white space, which is part of it: no binding will match");
            findings.push(Finding::new(line, Severity::Misleading, "space-in-name", message, "remove the spaces"));
        } else if is_unexpanded(value) {
            let message = format!("the {name} is a shell variable that was never expanded");
            let hint = "use a here-document without quotes around its end mark";
            findings.push(Finding::new(line, Severity::Misleading, "unexpanded-variable", message, hint));
        }
    }
    findings
}

/// The first thing wrong with a token; what follows from it (a placeholder is short, too) is not repeated.
fn lint_token(line: usize, token: &str) -> Option<Finding> {
    let misleading =
        |code, message: String, hint: &str| Some(Finding::new(line, Severity::Misleading, code, message, hint));
    if token.is_empty() {
        let message = "the token is empty: kube-apiserver skips the row with a warning".to_owned();
        return misleading("empty-token", message, "the variable was not set: make the file with `kubemint generate`");
    }
    if is_unexpanded(token) {
        let message = "the token is a shell variable that was never expanded: everybody knows it".to_owned();
        return misleading("unexpanded-variable", message, "make the file with `kubemint generate`");
    }
    if token == PUBLISHED {
        let message = "the token is the sample of the Kubernetes documentation: everybody knows it".to_owned();
        return misleading("published-token", message, "make a new one with `kubemint generate`");
    }
    let name = Digest::of(token).fingerprint();
    if token.contains(char::is_whitespace) {
        let message = format!("token {name} holds white space: a bearer token ends there, so it never matches");
        return misleading("space-in-token", message, "remove it: `od` output needs `tr -d ' \\n'`");
    }
    // The byte order mark has a finding of its own.
    if !token.trim_start_matches('\u{feff}').bytes().all(|b| b.is_ascii_graphic()) {
        let message = format!("token {name} holds a character that is invisible or not ASCII");
        return misleading("odd-token", message, "type or generate the token anew instead of pasting it");
    }
    let bits = guessed_bits(token);
    if bits < ENOUGH_BITS {
        let message = format!("token {name} has at most {bits} bits; {ENOUGH_BITS} are the least");
        return misleading("weak-token", message, "make a new one with `kubemint generate`");
    }
    None
}

/// A token in the column of the user or the uid would be shown wherever users are, and the name would be the token.
fn swapped(record: &Record<'_>) -> Option<Finding> {
    let [token, user, uid] = [0, 1, 2].map(|column| record.fields[column].as_str());
    let weak = guessed_bits(token) < ENOUGH_BITS;
    // Users and uids may be UUIDs, as tokens may: what stands in for the token decides.
    let hidden = |value: &str| weak && is_long_hex(&value.replace('-', ""));
    if !resembles_token(user) && !hidden(user) && !hidden(uid) && token != USUAL_USER {
        return None;
    }
    let message =
        "token and user or uid seem to have changed places: what looks like a token stands where a name belongs";
    let hint = "a row is token,user,uid[,\"group1,group2\"]; if that file was in use, replace the token";
    Some(Finding::new(record.line, Severity::Misleading, "swapped-columns", message, hint))
}

/// A long hex number, the shape of a bootstrap token, or 24 characters or more without a separator, in which letters
/// and digits alternate as in no name.
fn resembles_token(name: &str) -> bool {
    is_long_hex(name) || is_bootstrap_shaped(name) || is_drawn_at_random(name)
}

fn is_drawn_at_random(text: &str) -> bool {
    let kind = |b: u8| match b {
        b'0'..=b'9' => Some('0'),
        b'a'..=b'z' => Some('a'),
        b'A'..=b'Z' | b'+' | b'/' | b'=' => Some('A'),
        _ => None,
    };
    let Some(mut kinds) = text.bytes().map(kind).collect::<Option<Vec<char>>>() else { return false };
    // What is left is one character per run of the same kind.
    kinds.dedup();
    let numbers = kinds.iter().filter(|kind| **kind == '0').count();
    text.len() >= 24 && (numbers >= 3 || (numbers >= 1 && kinds.len() * 2 > text.len()))
}

fn is_long_hex(text: &str) -> bool {
    text.len() >= 32 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// `BootstrapTokenPattern` of k8s.io/cluster-bootstrap.
fn is_bootstrap_shaped(text: &str) -> bool {
    let part =
        |part: &str, length| part.len() == length && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let shaped = text.split_once('.').is_some_and(|(id, secret)| part(id, 6) && part(secret, 16));
    // A first and a last name may have these lengths, too.
    shaped && text.bytes().any(|b| b.is_ascii_digit())
}

/// `$NAME`, `${NAME}`, `$(command)`, a command in backquotes, or a template's `{{ name }}` or `<token>`.
fn is_unexpanded(value: &str) -> bool {
    let variable = |rest: &str| rest.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '{' | '(' | '_'));
    let dollar = value.match_indices('$').any(|(at, _)| variable(&value[at + 1..]));
    dollar || value.contains('`') || value.contains("{{") || (value.starts_with('<') && value.ends_with('>'))
}

/// What the rows read so far hold.
#[derive(Default)]
pub(super) struct Seen {
    tokens: HashMap<Digest, usize>,
    uid_of: HashMap<String, (String, usize)>,
    user_of: HashMap<String, (String, usize)>,
}

impl Seen {
    pub fn usable_rows(&self) -> usize {
        self.tokens.len()
    }

    pub fn lint_against_others(&mut self, record: &Record<'_>) -> Vec<Finding> {
        let [token, user, uid] = [0, 1, 2].map(|column| record.fields[column].as_str());
        let mut findings = Vec::new();
        if !token.is_empty() {
            findings.extend(self.duplicate_token(record.line, token));
        }
        if !user.is_empty() && !uid.is_empty() {
            findings.extend(self.clashing_names(record.line, user, uid));
        }
        findings
    }

    fn duplicate_token(&mut self, line: usize, token: &str) -> Option<Finding> {
        let digest = Digest::of(token);
        let name: Fingerprint = digest.fingerprint();
        let first = self.tokens.insert(digest, line)?;
        let message = format!("token {name} stands on line {first} already: this row wins, that one is ignored");
        Some(Finding::new(line, Severity::Misleading, "duplicate-token", message, "give every row its own token"))
    }

    fn clashing_names(&mut self, line: usize, user: &str, uid: &str) -> Option<Finding> {
        let (known_uid, uid_line) = self.uid_of.entry(user.to_owned()).or_insert_with(|| (uid.to_owned(), line));
        if known_uid != uid {
            let message = format!("the same user has another uid on line {uid_line}");
            let hint = "RBAC knows users by name alone: both rows are the same user; remove the stale one";
            return Some(Finding::new(line, Severity::Misleading, "user-with-two-uids", message, hint));
        }
        let (known_user, user_line) = self.user_of.entry(uid.to_owned()).or_insert_with(|| (user.to_owned(), line));
        if known_user != user {
            let message = format!("the same uid belongs to another user on line {user_line}");
            let hint = "give every user its own uid, so that audit logs tell them apart";
            return Some(Finding::new(line, Severity::Advice, "shared-uid", message, hint));
        }
        None
    }
}
