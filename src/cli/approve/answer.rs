//! What `kubemint approve` answers: every pending request with its verdict and what came of it, and who is missing.

use super::Args;
use crate::{
    cli::{
        hosts::{LONGEST_TABLE, counted, listed},
        output::{Output, Tone},
    },
    workflow::approve::{Judged, Outcome, Purpose, UnreadGrant, Verdict, Watched},
};
use jiff::Timestamp;
use serde::Serialize;
use std::collections::BTreeMap;

#[derive(Serialize)]
pub(super) struct Document<'a> {
    schema: &'static str,
    version: u32,
    /// The apiserver that was asked.
    server: &'a str,
    dry_run: bool,
    requests: Vec<Row<'a>>,
    /// Granted requests in which no name can be read: left out of account.
    unread_grants: Vec<UnreadRow<'a>>,
    /// Nodes that have not joined.
    missing: &'a [String],
    /// Why the last look of `--watch` failed, where it did.
    error: Option<FailedLook>,
    pub(super) summary: Summary,
}

#[derive(Serialize)]
struct Row<'a> {
    name: &'a str,
    node: Option<&'a str>,
    purpose: Option<&'static str>,
    requester: &'a str,
    created: Timestamp,
    /// Digest of the public key (SubjectPublicKeyInfo).
    key_sha256: Option<String>,
    verdict: &'static str,
    /// What was done, or with `--dry-run` would be.
    #[serde(skip)]
    word: &'static str,
    /// What was done; null with `--dry-run`.
    outcome: Option<&'static str>,
    /// Why it was not approved, or could not be.
    code: Option<&'static str>,
    detail: Option<String>,
    hint: Option<String>,
}

#[derive(Serialize)]
struct UnreadRow<'a> {
    name: &'a str,
    requester: &'a str,
    created: Timestamp,
    code: &'static str,
}

#[derive(Serialize)]
struct FailedLook {
    code: &'static str,
    message: String,
    hint: String,
}

#[derive(Debug, Default, Serialize)]
pub(super) struct Summary {
    requests: usize,
    approved: usize,
    denied: usize,
    left: usize,
    pub(super) failed: usize,
    missing: usize,
}

impl<'a> Document<'a> {
    pub(super) fn of(args: &Args, server: &'a str, watched: &'a Watched) -> Self {
        let rows: Vec<Row> = watched.judged.iter().map(|entry| Row::of(entry, args)).collect();
        let count = |word| rows.iter().filter(|row| row.word == word).count();
        let summary = Summary {
            requests: rows.len(),
            approved: count("approved"),
            denied: count("denied"),
            left: count("left"),
            failed: count("failed"),
            missing: watched.missing.len(),
        };
        Self {
            schema: "kubemint/approve",
            version: 1,
            server,
            dry_run: args.dry_run,
            requests: rows,
            unread_grants: watched.unread.iter().map(UnreadRow::of).collect(),
            missing: &watched.missing,
            error: watched.error.as_ref().map(|error| FailedLook {
                code: error.code(),
                message: error.to_string(),
                hint: error.hint(),
            }),
            summary,
        }
    }
}

impl<'a> UnreadRow<'a> {
    fn of(grant: &'a UnreadGrant) -> Self {
        Self { name: &grant.request, requester: &grant.requester, created: grant.created, code: "grant_unreadable" }
    }
}

impl<'a> Row<'a> {
    fn of(entry: &'a Judged, args: &Args) -> Self {
        let (code, detail, hint) = match (&entry.outcome, entry.reason()) {
            (Outcome::Failed(error), _) => (Some(error.code()), Some(error.to_string()), Some(error.hint())),
            (_, Some((reason, detail))) => {
                (Some(reason.code()), Some(detail.to_owned()), reason.hint().map(str::to_owned))
            }
            (_, None) => (None, None, None),
        };
        let word = match (&entry.outcome, &entry.verdict) {
            (Outcome::Approved, _) => "approved",
            (Outcome::Denied, _) => "denied",
            (Outcome::Failed(_), _) => "failed",
            (Outcome::Left, Verdict::Approve { .. }) if args.dry_run => "approved",
            (Outcome::Left, Verdict::Deny { .. }) if args.dry_run && args.deny => "denied",
            (Outcome::Left, _) => "left",
        };
        Self {
            name: &entry.name,
            node: entry.node.as_deref(),
            purpose: entry.purpose.map(Purpose::name),
            requester: &entry.requester,
            created: entry.created,
            key_sha256: entry.spki_sha256.map(|digest| digest.to_string()),
            verdict: match entry.verdict {
                Verdict::Approve { .. } => "approve",
                Verdict::Leave { .. } => "leave",
                Verdict::Deny { .. } => "deny",
            },
            word,
            outcome: (!args.dry_run).then_some(word),
            code,
            detail,
            hint,
        }
    }
}

pub(super) fn text(output: &Output, args: &Args, watched: &Watched, document: &Document) -> String {
    // What was done is shown whole; of what was left, as much as somebody may read.
    let (left, done): (Vec<&Row>, Vec<&Row>) = document.requests.iter().partition(|row| row.word == "left");
    let unseen = left.len().saturating_sub(LONGEST_TABLE);
    let shown = done.into_iter().chain(left.into_iter().take(LONGEST_TABLE));
    let rows: Vec<_> = shown.map(|row| cells(output, row, args.dry_run)).collect();
    let mut text = match rows.is_empty() {
        true => "nobody asks for a certificate\n".to_owned(),
        false => Output::table(["NODE", "REQUEST", "FOR", "RESULT", ""], rows) + "\n",
    };
    if unseen > 0 {
        text += &format!("{unseen} more were left; `-o json` lists them\n");
    }
    text += &hints(document);
    let s = &document.summary;
    let will = if args.dry_run { "would be " } else { "" };
    text += &format!("{}: {} {will}approved, {} left", counted(s.requests, "request"), s.approved, s.left);
    for (number, word) in [(s.denied, "denied"), (s.failed, "failed")] {
        if number > 0 {
            text += &format!(", {number} {word}");
        }
    }
    text += "\n";
    if !document.unread_grants.is_empty() {
        let names: Vec<&str> = document.unread_grants.iter().map(|grant| grant.name).collect();
        text += &format!(
            "warning: granted, and for which node cannot be read (grant_unreadable): {}\n  hint: look at it with \
             `kubectl get csr NAME -o yaml`; a second key for that node's name would not be noticed\n",
            listed(&names)
        );
    }
    if let Some(error) = &document.error {
        text += &format!("the last look failed: {}\n  hint: {}\n", error.message, error.hint);
    }
    if !watched.missing.is_empty() {
        let names: Vec<&str> = watched.missing.iter().map(String::as_str).collect();
        text += &format!("not joined yet: {}\n", listed(&names));
    }
    text
}

fn cells(output: &Output, row: &Row, dry_run: bool) -> [String; 5] {
    let tone = match row.word {
        "approved" => Tone::Good,
        "denied" => Tone::Changed,
        "failed" => Tone::Bad,
        _ => Tone::Faint,
    };
    let done = match (dry_run, row.word) {
        (true, "approved") => "to approve",
        (true, "denied") => "to deny",
        (_, word) => word,
    };
    let said = row.code.map_or_else(|| done.to_owned(), |code| format!("{done}: {code}"));
    let (node, purpose) = (row.node.unwrap_or("-").to_owned(), row.purpose.unwrap_or("-").to_owned());
    [node, row.name.to_owned(), purpose, output.paint(tone, &said), row.detail.clone().unwrap_or_default()]
}

/// One line for each kind of what was left.
fn hints(document: &Document) -> String {
    let kinds: BTreeMap<&str, &str> =
        document.requests.iter().filter_map(|row| Some((row.code?, row.hint.as_deref()?))).collect();
    kinds.iter().map(|(code, hint)| format!("{code}: {hint}\n")).collect()
}
