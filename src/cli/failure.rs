//! Every way a command can fail, in one place: exit code, stable code, message, hint. The library's errors come in by
//! `From`; nothing here looks at an error's text.

use crate::{
    bundle, entropy, inventory, kubeconfig, pki,
    secret::{printable, printable_lines},
    store, token,
    workflow::{combine, external, generate},
};
use serde::Serialize;
use std::{path::Path, process::ExitCode};

/// How the process ends (docs: README, "Exit codes").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exit {
    Done,
    Unexpected,
    /// Bad input or usage, nothing changed.
    BadInput,
    /// Some hosts failed, the others are done.
    HostsFailed,
    /// Refused, nothing changed.
    Refused,
    /// A rotation stands still between two stages: resume it.
    #[cfg_attr(not(feature = "k8s"), expect(dead_code, reason = "only a rotation pauses"))]
    Paused,
    /// Drift found, or something due.
    Drift,
    /// By a signal of this number.
    Interrupted(u8),
}

impl Exit {
    pub(super) const fn number(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Unexpected => 1,
            Self::BadInput => 2,
            Self::HostsFailed => 3,
            Self::Refused => 4,
            Self::Paused => 5,
            Self::Drift => 6,
            Self::Interrupted(signal) => 128 + signal,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.number())
    }
}

/// A command that did not do what it was asked. Names and paths of the command line in it are printable.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) exit: Exit,
    /// Stable name of the kind, for scripts.
    pub(super) code: &'static str,
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

/// A failure as `-o json` shows it.
#[derive(Debug, Serialize)]
pub(super) struct FailureDocument<'a> {
    schema: &'static str,
    version: u32,
    exit_code: u8,
    error: FailureError<'a>,
}

#[derive(Debug, Serialize)]
struct FailureError<'a> {
    code: &'static str,
    message: &'a str,
    hint: Option<&'a str>,
}

impl Failure {
    pub(super) fn new(exit: Exit, code: &'static str, message: impl Into<String>) -> Self {
        Self { exit, code, message: printable(&message.into()), hint: None }
    }

    /// A failure that is told in several lines. The caller makes sure that no name in them holds a line break.
    #[must_use]
    pub(super) fn in_lines(self, message: &str) -> Self {
        Self { message: printable_lines(message), ..self }
    }

    #[must_use]
    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(printable_lines(&hint.into()));
        self
    }

    pub(super) fn bad_input(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Exit::BadInput, code, message)
    }

    pub(super) fn refused(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Exit::Refused, code, message)
    }

    pub(super) fn nothing_generated(dir: &Path) -> Self {
        Self::refused("nothing_generated", format!("there are no credentials in {}", dir.display()))
            .hint("run `kubemint generate` first, or `kubemint apply`, which also installs them")
    }

    /// Puts a place in a file in front of the message, as compilers write it.
    #[must_use]
    pub(super) fn at(mut self, path: &Path, line: usize, column: Option<usize>) -> Self {
        let column = column.map(|column| format!(":{column}")).unwrap_or_default();
        self.message = format!("{}:{line}{column}: {}", printable(&path.display().to_string()), self.message);
        self
    }

    /// Puts the file the failure is about in front of the message.
    #[must_use]
    pub(super) fn in_file(mut self, path: &Path) -> Self {
        self.message = format!("{}: {}", printable(&path.display().to_string()), self.message);
        self
    }

    pub(super) fn unexpected(error: &dyn std::error::Error) -> Self {
        Self::new(Exit::Unexpected, "unexpected", error.to_string())
    }

    pub(super) const fn heading(&self) -> &'static str {
        match self.exit {
            Exit::Refused => "refused, nothing was changed",
            _ => "error",
        }
    }

    pub(super) fn document(&self) -> FailureDocument<'_> {
        FailureDocument {
            schema: "kubemint/error",
            version: 1,
            exit_code: self.exit.number(),
            error: FailureError { code: self.code, message: &self.message, hint: self.hint.as_deref() },
        }
    }
}

impl From<inventory::Diagnostics> for Failure {
    fn from(mistakes: inventory::Diagnostics) -> Self {
        Self::bad_input("inventory_invalid", "").in_lines(&mistakes.to_string())
    }
}

/// Of a file that a pattern names.
impl From<inventory::PatternError> for Failure {
    fn from(error: inventory::PatternError) -> Self {
        Self { hint: error.hint(), ..Self::bad_input("limit_invalid", format!("--limit: {error}")) }
    }
}

impl From<store::Error> for Failure {
    fn from(error: store::Error) -> Self {
        let code = match &error {
            store::Error::Locked { .. } => "state_locked",
            store::Error::Damaged { .. } => "state_damaged",
            store::Error::NewerVersion { .. } => "state_newer",
            store::Error::OlderGeneration { .. } => "state_older",
            store::Error::Untrusted { .. } => "state_untrusted",
            store::Error::NoSuchRun { .. } => {
                return Self::bad_input("run_unknown", error.to_string()).hint(error.hint());
            }
            store::Error::AmbiguousRun { .. } => {
                return Self::bad_input("run_ambiguous", error.to_string()).hint(error.hint());
            }
            store::Error::RunDamaged { .. } => "run_damaged",
            store::Error::Exists { .. } => "file_exists",
            store::Error::ForeignLink { .. } => {
                return Self::bad_input("file_unwritable", error.to_string()).hint(error.hint());
            }
            store::Error::Unfit { .. } | store::Error::NotOpen { .. } | store::Error::Io { .. } => "state_io",
        };
        Self::refused(code, error.to_string()).hint(error.hint())
    }
}

impl From<combine::Error> for Failure {
    fn from(error: combine::Error) -> Self {
        let code = match &error {
            combine::Error::Generations { .. } | combine::Error::Commands { .. } => "reports_differ",
            combine::Error::Twice { .. } => "host_twice",
        };
        Self::bad_input(code, error.to_string()).hint(error.hint())
    }
}

impl From<generate::Error> for Failure {
    fn from(error: generate::Error) -> Self {
        let (exit, code) = match error.kind() {
            _ if matches!(error, generate::Error::Unsigned { .. }) => (Exit::Refused, "certificate_unsigned"),
            _ if matches!(error, generate::Error::CaKeyAbsent { .. }) => (Exit::BadInput, "ca_key_absent"),
            generate::ErrorKind::BadInput => (Exit::BadInput, "ca_invalid"),
            generate::ErrorKind::Refused => (Exit::Refused, "state_unusable"),
            generate::ErrorKind::Unexpected => (Exit::Unexpected, "unexpected"),
        };
        Self::new(exit, code, error.to_string()).hint(error.hint())
    }
}

impl From<external::Error> for Failure {
    fn from(error: external::Error) -> Self {
        let (exit, code) = match &error {
            external::Error::Request(_) => (Exit::BadInput, "request_failed"),
            external::Error::OtherCa { .. } => (Exit::Refused, "state_unusable"),
            external::Error::Refused(_) => (Exit::BadInput, "certificate_refused"),
        };
        Self { hint: error.hint(), ..Self::new(exit, code, "").in_lines(&error.to_string()) }
    }
}

/// Where nothing was begun yet; once a command has changed something it says itself how it ends.
#[cfg(feature = "k8s")]
impl From<crate::cluster::Error> for Failure {
    fn from(error: crate::cluster::Error) -> Self {
        let exit = match &error {
            crate::cluster::Error::Access { .. } => Exit::BadInput,
            _ => Exit::Refused,
        };
        Self::new(exit, error.code(), error.to_string()).hint(error.hint())
    }
}

impl From<kubeconfig::AccessError> for Failure {
    fn from(error: kubeconfig::AccessError) -> Self {
        Self::bad_input("api_access", error.to_string()).hint(error.hint())
    }
}

impl From<token::CsvError> for Failure {
    fn from(error: token::CsvError) -> Self {
        Self::bad_input("token_file_invalid", error.to_string()).hint("`kubemint token lint FILE` explains each line")
    }
}

impl From<kubeconfig::ParseError> for Failure {
    fn from(error: kubeconfig::ParseError) -> Self {
        Self { hint: error.hint().map(Into::into), ..Self::bad_input("kubeconfig_invalid", error.to_string()) }
    }
}

impl From<pki::CertificateError> for Failure {
    fn from(error: pki::CertificateError) -> Self {
        Self { hint: error.hint().map(Into::into), ..Self::bad_input("certificate_invalid", error.to_string()) }
    }
}

impl From<token::ManifestError> for Failure {
    fn from(error: token::ManifestError) -> Self {
        Self { hint: error.hint().map(Into::into), ..Self::bad_input("manifest_invalid", error.to_string()) }
    }
}

macro_rules! unexpected {
    ($($error:ty),*) => {$(
        impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self::unexpected(&error)
            }
        }
    )*};
}

unexpected!(entropy::Error, bundle::Error, kubeconfig::EmitError);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_of_another_user_has_one_code_wherever_it_is_met() {
        let failure = Failure::from(store::Error::ForeignLink { path: "/tmp/link".into() });
        assert_eq!((failure.exit, failure.code), (Exit::BadInput, "file_unwritable"));
    }
}
