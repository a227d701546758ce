//! `kubemint runs merge REPORT…`: the reports of shards as one.

use super::{read_path, show};
use crate::{
    cli::{
        context::Context,
        failure::{Exit, Failure},
        hosts::{self, counted},
        output::Output,
    },
    workflow::combine::{self, CombinedRun, Doubles, NamedReport},
};
use std::path::{Path, PathBuf};

/// Join the reports of shards into one
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Join the reports of shards into one.\n\n\
        Refused are reports of different generations or commands, and, without --latest, a host that stands in two of \
        them. Where the \
        inventory is there, it is said which of its hosts (that --limit leaves) stand in none. Exits with 3 when a host \
        is not done (`distribute --retry` takes a merged report too), and with 6 when --complete is given and a host is missing.",
    after_help = "\
Examples:
  kubemint runs merge shard-1.json shard-2.json
  kubemint runs merge --complete shard-1.json shard-2.json -o json > merged.json
  kubemint runs merge --latest --complete shards/*"
)]
pub(super) struct Args {
    /// Reports, as printed with -o json or kept, or the directories of runs
    #[arg(value_name = "REPORT", required = true)]
    reports: Vec<PathBuf>,
    /// Demand that every host of the inventory that --limit leaves stands in a report
    #[arg(long)]
    complete: bool,
    /// Where a host stands in several reports, take what the last run says: a retry, or a higher number in the same directory of runs; else the later one
    #[arg(long)]
    latest: bool,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Exit, Failure> {
    let mut reports = Vec::new();
    for path in &args.reports {
        let run = read_path(context, path)?;
        let directory = directory_of(&context.path(path), run.id.as_deref());
        reports.push(NamedReport { name: path.display().to_string(), directory, run });
    }
    // Without an inventory there is nobody to miss.
    let has_inventory = args.complete || context.path(&context.global.inventory).exists();
    let inventory = if has_inventory { Some(context.inventory()?) } else { None };
    let names = match &inventory {
        Some(inventory) => Some(context.hosts(inventory)?.iter().map(|host| host.name.as_str()).collect::<Vec<_>>()),
        None => None,
    };
    let doubles = if args.latest { Doubles::LatestHolds } else { Doubles::Refused };
    let merged = combine::combine_reports(reports, names.as_deref(), doubles)?;
    context.output.answer(&merged, || text(context.output, args, &merged))?;
    let s = &merged.summary;
    let is_missing = merged.missing.as_ref().is_some_and(|missing| !missing.is_empty());
    Ok(match s.failed + s.skipped + s.in_flight {
        0 if args.complete && is_missing => Exit::Drift,
        0 => Exit::Done,
        _ => Exit::HostsFailed,
    })
}

/// Of a run's own directory, or of the report in it: the one that it lies in.
fn directory_of(path: &Path, id: Option<&str>) -> Option<PathBuf> {
    let whole = path.canonicalize().ok()?;
    let run = if whole.is_dir() { whole.as_path() } else { whole.parent()? };
    let is_run = run.file_name().and_then(|name| name.to_str()) == id;
    run.parent().filter(|_| is_run && id.is_some()).map(Path::to_owned)
}

fn text(output: &Output, args: &Args, merged: &CombinedRun) -> String {
    let mut text = show::hosts_text(output, &merged.hosts);
    let generation = merged.generation.map(|generation| format!(", generation {generation}")).unwrap_or_default();
    let reports = counted(args.reports.len(), "report");
    text += &format!("{reports}{generation}: {}\n", show::counts(&merged.summary));
    let missing: Vec<&str> = merged.missing.iter().flatten().map(String::as_str).collect();
    if !missing.is_empty() {
        text += &format!("missing: {} of the inventory: {}\n", counted(missing.len(), "host"), hosts::listed(&missing));
    }
    text + &show::steps_text(&merged.next_steps)
}
