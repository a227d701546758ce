//! `kubemint token lint`: what kube-apiserver would really read.

use super::super::{
    context::Context,
    failure::{Exit, Failure},
    output::{Output, Tone},
};
use crate::{
    secret::printable,
    token::{Finding, Severity, lint_token_file},
};
use serde::Serialize;
use std::path::PathBuf;

/// Check a token.csv against what kube-apiserver really reads
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Check a token.csv against what kube-apiserver really reads.\n\n\
        Exits with 2 when the apiserver would not start on the file, with 6 when it would start but read something else \
        than the file seems to say, with 0 otherwise. Tokens are named by fingerprint.",
    after_help = "\
Examples:
  kubemint token lint /etc/kubernetes/token.csv
  ssh cp1 cat /etc/kubernetes/token.csv | kubemint token lint -"
)]
pub(super) struct Args {
    /// The file; - for standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// A file that is no token.csv at all has a finding in every line.
const MOST_SHOWN: usize = 50;

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    version: u32,
    file: String,
    findings: &'a [Finding],
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Exit, Failure> {
    let bytes = context.read_bytes(&args.file)?;
    let findings = lint_token_file(&bytes);
    let document = Document {
        schema: "kubemint/token-lint",
        version: 1,
        file: args.file.display().to_string(),
        findings: &findings,
    };
    context.output.answer(&document, || text(context.output, &document))?;
    Ok(match findings.iter().map(|finding| finding.severity).max() {
        Some(Severity::Fatal) => Exit::BadInput,
        Some(Severity::Misleading) => Exit::Drift,
        Some(Severity::Advice) | None => Exit::Done,
    })
}

fn text(output: &Output, document: &Document) -> String {
    if document.findings.is_empty() {
        return format!("{}: nothing to find fault with\n", document.file);
    }
    let mut text = String::new();
    for finding in document.findings.iter().take(MOST_SHOWN) {
        let (tone, word) = match finding.severity {
            Severity::Fatal => (Tone::Bad, "fatal"),
            Severity::Misleading => (Tone::Changed, "misleading"),
            Severity::Advice => (Tone::Faint, "advice"),
        };
        let column = finding.column.map(|column| format!(":{column}")).unwrap_or_default();
        text += &format!(
            "{}:{}{column}: {}: {} [{}]\n  {}\n",
            printable(&document.file),
            finding.line,
            output.paint(tone, word),
            finding.message,
            finding.code,
            finding.hint
        );
    }
    if document.findings.len() > MOST_SHOWN {
        text += &format!("… and {} more (-o json has all)\n", document.findings.len() - MOST_SHOWN);
    }
    text
}
