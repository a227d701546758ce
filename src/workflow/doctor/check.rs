//! Checks as named values: what is looked at, how it came out, what was measured, and the cure. Any preflight can be made
//! of them.

use serde::Serialize;

/// One thing that must hold. `F` is what works it out, such as `fn(&Subject) -> Verdict`.
pub struct Check<F> {
    /// Stable: scripts and `--skip` rely on it.
    pub name: &'static str,
    /// The cure, where the verdict brings none of its own.
    pub hint: &'static str,
    pub run: F,
}

/// How something stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Skipped,
    Ok,
    Warn,
    Fail,
}

impl Status {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Skipped => "skipped",
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// How a check came out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    pub status: Status,
    /// What was measured, or why it was skipped.
    pub detail: String,
    /// As an install would name it, where it would.
    pub code: Option<&'static str>,
    pub hint: Option<String>,
}

impl Verdict {
    fn new(status: Status, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into(), code: None, hint: None }
    }

    pub fn ok(detail: impl Into<String>) -> Self {
        Self::new(Status::Ok, detail)
    }

    pub fn warn(detail: impl Into<String>) -> Self {
        Self::new(Status::Warn, detail)
    }

    pub fn fail(detail: impl Into<String>) -> Self {
        Self::new(Status::Fail, detail)
    }

    pub fn skipped(reason: impl Into<String>) -> Self {
        Self::new(Status::Skipped, reason)
    }

    #[must_use]
    pub fn code(self, code: &'static str) -> Self {
        Self { code: Some(code), ..self }
    }

    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

/// A check and how it came out, as the documents tell it.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    pub check: &'static str,
    pub status: Status,
    pub detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl<F> Check<F> {
    /// Only what needs attention has a hint.
    #[must_use]
    pub fn finding(&self, verdict: Verdict) -> Finding {
        let Verdict { status, detail, code, hint } = verdict;
        let hint = hint.or_else(|| Some(self.hint.to_owned()).filter(|hint| !hint.is_empty()));
        Finding { check: self.name, status, detail, code, hint: hint.filter(|_| status >= Status::Warn) }
    }
}

/// The worst of them; `Skipped` where there are none.
#[must_use]
pub fn worst(findings: &[Finding]) -> Status {
    findings.iter().map(|finding| finding.status).max().unwrap_or(Status::Skipped)
}
