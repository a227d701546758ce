//! What is wrong with a token.csv: everything that keeps kube-apiserver from starting, everything it would read
//! differently from what a person sees, and advice. All findings of a file at once, in line order.
//!
//! Findings name tokens by fingerprint and repeat no value of the file: in a damaged row any column may hold the token.
//! The rules are those of `tokenfile.go` and Go's `encoding/csv`.

mod columns;
mod rows;
mod text;

use super::record::{CsvError, CsvFault, Records};
use crate::secret::{ExposeSecret, Secret};
use serde::Serialize;

/// How bad a finding is; the worst one decides the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Harmless to the apiserver.
    Advice,
    /// The apiserver starts, but the file does something else than it seems to say, or something unsafe.
    Misleading,
    /// The apiserver does not start.
    Fatal,
}

/// One thing wrong with the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// From 1; where a record spans lines, its first.
    pub line: usize,
    /// In bytes, from 1, where there is an exact place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<usize>,
    pub severity: Severity,
    /// Stable name for scripts.
    pub code: &'static str,
    pub message: String,
    pub hint: String,
}

impl Finding {
    /// Whether it is about what a row is given (a weak token, the admin group), not about what kube-apiserver makes of
    /// its text: a row of somebody else's is then as its owner wants it.
    #[must_use]
    pub fn is_about_policy(&self) -> bool {
        matches!(self.code, "weak-token" | "system-masters" | "user-with-two-uids")
    }

    fn new(line: usize, severity: Severity, code: &'static str, message: impl Into<String>, hint: &str) -> Self {
        Self { line, column: None, severity, code, message: message.into(), hint: hint.to_owned() }
    }

    fn at_column(mut self, column: usize) -> Self {
        self.column = Some(column);
        self
    }
}

/// As [`lint_token_file`], of text that is kept as a secret.
#[must_use]
pub fn lint_secret(text: &Secret) -> Vec<Finding> {
    lint_token_file(text.expose_secret().as_bytes())
}

/// All findings, in line order. After a faulty line the rest is read on, although the apiserver would not.
#[must_use]
pub fn lint_token_file(text: &[u8]) -> Vec<Finding> {
    let mut findings = text::lint_bytes(text);
    let readable = String::from_utf8_lossy(text);
    let mut seen = rows::Seen::default();
    for record in Records::new(&readable) {
        match record {
            Err(error) => findings.push(quoting(&error)),
            Ok(record) if record.fields.len() < 3 => findings.push(columns::too_few(&record)),
            Ok(record) => {
                findings.extend(columns::lint_columns(&record));
                findings.extend(rows::lint_values(&record));
                findings.extend(seen.lint_against_others(&record));
            }
        }
    }
    if findings.iter().all(|finding| finding.severity != Severity::Fatal) && seen.usable_rows() == 0 {
        findings.push(Finding::new(
            1,
            Severity::Misleading,
            "no-token",
            "no row holds a token: kube-apiserver starts, and every bootstrap request is refused",
            "make the file with `kubemint generate`",
        ));
    }
    findings.sort_by_key(|finding| (finding.line, finding.column));
    findings
}

fn quoting(error: &CsvError) -> Finding {
    let code = match error.what {
        CsvFault::BareQuote => "bare-quote",
        CsvFault::BrokenQuote => "broken-quote",
        CsvFault::TooFewColumns { .. } => "too-few-columns",
        CsvFault::NotUtf8 => "not-utf8",
    };
    let message = format!("{}{}: kube-apiserver does not start", error.what, error.record());
    Finding::new(error.line, Severity::Fatal, code, message, error.hint()).at_column(error.column)
}
