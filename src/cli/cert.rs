//! `kubemint cert …`: the certificates of the credential directory.

use super::{
    args::parse_duration,
    context::Context,
    failure::{Exit, Failure},
    output::{Output, Tone},
};
use crate::{
    clock::day,
    pki::{self, CertificateInfo},
    store::{Snapshot, StoredFile},
};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

/// List certificates and when they end
#[derive(Debug, clap::Args)]
#[command(
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "\
Examples:
  kubemint cert list
  kubemint cert list --check 30d || echo 'something ends within 30 days'"
)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    List(ListArgs),
}

/// Subject, issuer, serial, algorithm, dates, days left and where each certificate is embedded
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kubemint cert list
  kubemint cert list --check 30d               6 when a certificate ends within 30 days
  kubemint cert list -o json | jq '.certificates[].days_left'")]
struct ListArgs {
    /// Exit with 6 when a certificate ends within this time
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    check: Option<SignedDuration>,
}

#[derive(Serialize)]
struct Document {
    schema: &'static str,
    version: u32,
    certificates: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    name: &'static str,
    file: &'static str,
    #[serde(flatten)]
    info: CertificateInfo,
    days_left: i64,
    embedded_in: &'static [&'static str],
    due: bool,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Exit, Failure> {
    match &args.command {
        Command::List(args) => list(args, context),
    }
}

fn list(args: &ListArgs, context: &Context) -> Result<Exit, Failure> {
    let store = context.store_alone()?;
    let snapshot = store.load()?;
    if snapshot.state.is_none() {
        return Err(Failure::nothing_generated(store.dir()));
    }
    let now = context.now();
    let ca = &pki::CLUSTER_CA;
    let ca_row = row(&snapshot, ca.name, ca.certificate_file, ca.embedded_in, args, now)?;
    let leaves = pki::CATALOG
        .iter()
        .map(|spec| row(&snapshot, spec.name, spec.certificate_file, spec.embedded_in, args, now))
        .collect::<Result<Vec<_>, _>>()?;
    let certificates: Vec<Row> = std::iter::once(ca_row).chain(leaves).flatten().collect();
    let due = certificates.iter().any(|row| row.due);
    let document = Document { schema: "kubemint/certificates", version: 1, certificates };
    context.output.answer(&document, || text(context.output, &document, args.check.is_some()))?;
    Ok(if due && args.check.is_some() { Exit::Drift } else { Exit::Done })
}

/// `None`: the file is not there (`verify` speaks of that).
fn row(
    snapshot: &Snapshot,
    name: &'static str,
    file: &'static str,
    embedded_in: &'static [&'static str],
    args: &ListArgs,
    now: Timestamp,
) -> Result<Option<Row>, Failure> {
    let stored = StoredFile::ALL.into_iter().find(|stored| stored.path() == file);
    let Some(pem) = stored.and_then(|stored| snapshot.certificate(stored)) else { return Ok(None) };
    let info = pki::parse_certificate(pem).map_err(|e| Failure::from(e).in_file(file.as_ref()))?;
    let left = info.not_after.duration_since(now);
    let due = left <= args.check.unwrap_or(SignedDuration::ZERO);
    Ok(Some(Row { name, file, days_left: info.days_left(now), info, embedded_in, due }))
}

fn text(output: &Output, document: &Document, checking: bool) -> String {
    let mut text = String::new();
    for row in &document.certificates {
        let tone = if row.due { Tone::Bad } else { Tone::Good };
        let left = output.paint(tone, &format!("{} days left", row.days_left));
        text += &format!("{}{}\n", row.name, if row.due { output.paint(Tone::Bad, "  DUE") } else { String::new() });
        text += &Output::columns([
            ["  subject".to_owned(), row.info.subject.clone()],
            ["  issuer".to_owned(), row.info.issuer.clone()],
            ["  serial".to_owned(), row.info.serial.clone()],
            ["  algorithm".to_owned(), row.info.algorithm.clone()],
            ["  valid".to_owned(), format!("{} to {}, {left}", day(row.info.not_before), day(row.info.not_after))],
            ["  file".to_owned(), row.file.to_owned()],
            ["  embedded in".to_owned(), row.embedded_in.join(", ")],
        ]);
    }
    if checking {
        let due = document.certificates.iter().filter(|row| row.due).count();
        text += &format!("{due} of {} due\n", document.certificates.len());
        if document.certificates.iter().any(|row| row.due && row.name != pki::CLUSTER_CA.name) {
            text += "to renew one now, remove its file from the credential directory and run `kubemint apply`\n";
        }
    }
    text
}
