//! `kubemint token merge`: take over the rows of a token.csv that was there before.

use super::super::{
    context::Context,
    failure::{Exit, Failure},
    output::Output,
};
use crate::{
    secret::printable,
    store::Snapshot,
    workflow::merge::{self, MergedRow, RowOrigin, plan_merge},
};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Keep the rows of other users from a token.csv that existed before
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Keep the rows of other users from a token.csv that existed before.\n\n\
        The file's rows go into the stored token.csv as they are, in their order; our own user keeps our token. The next \
        `apply` installs the result. The file itself is not changed.",
    after_help = "\
Examples:
  kubemint token merge /etc/kubernetes/token.csv
  ssh cp1 cat /etc/kubernetes/token.csv | kubemint token merge -"
)]
pub(super) struct Args {
    /// The existing token.csv; - for standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    version: u32,
    changed: bool,
    rows: &'a [MergedRow],
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Exit, Failure> {
    let inventory = context.inventory()?;
    let existing = context.read_input(&args.file)?;
    let store = context.store(&inventory);
    let plan = |snapshot: &Snapshot| {
        plan_merge(&inventory, snapshot, &existing).map_err(|error| match error {
            merge::Error::NothingGenerated => Failure::nothing_generated(store.dir()),
            lost @ merge::Error::OwnTokenLost => Failure::refused("token_lost", lost.to_string()).hint(lost.hint()),
            none @ merge::Error::NoTokenFile => Failure::refused("token_form", none.to_string()).hint(none.hint()),
            busy @ merge::Error::RotationUnderWay => {
                Failure::refused("rotation_under_way", busy.to_string()).hint(busy.hint())
            }
            about_the_file => not_mergeable(&about_the_file, &args.file),
        })
    };
    // Without the lock first: neither a mistake nor a merge with nothing to do touches anything.
    let mut merge = plan(&store.load()?)?;
    let changed = !merge.is_current();
    let rows = merge.rows.clone();
    for warning in &merge.warnings {
        let file = printable(&args.file.display().to_string());
        context.output.warn(&format!("{file}:{}: {}", warning.line, warning.message));
    }
    if changed {
        let held = store.lock()?;
        let snapshot = store.load()?;
        merge = plan(&snapshot)?;
        merge.commit(&store, &held, &snapshot, &context.clock)?;
    }
    let document = Document { schema: "kubemint/token-merge", version: 1, changed, rows: &rows };
    context.output.answer(&document, || {
        let table = Output::table(
            ["USER", "TOKEN", ""],
            rows.iter().map(|row| [row.user.clone(), row.token.to_string(), row.origin.name().to_owned()]),
        );
        let end = if changed { "token.csv is merged; install it with `kubemint apply`" } else { "nothing to merge" };
        let dropped = if rows.iter().any(|row| row.origin == RowOrigin::Dropped) {
            "a dropped token will be refused: kubelets that still use it must get the new bootstrap.kubeconfig\n"
        } else {
            ""
        };
        format!("{table}{dropped}{end}\n")
    })?;
    Ok(Exit::Done)
}

fn not_mergeable(error: &merge::Error, file: &Path) -> Failure {
    let failure = |message: String| Failure::bad_input("token_file_invalid", message).hint(error.hint());
    match error {
        merge::Error::Unreadable(csv) => {
            let began =
                if csv.start == csv.line { String::new() } else { format!(" (the row begins on line {})", csv.start) };
            let message = format!("kube-apiserver would not start on it: {}{began}", csv.what);
            failure(message).at(file, csv.line, Some(csv.column))
        }
        merge::Error::Misleading { line, message, .. } => failure(message.clone()).at(file, *line, None),
        merge::Error::Swapped { line } => {
            failure("the token is the name of our own user".to_owned()).at(file, *line, None)
        }
        merge::Error::NothingGenerated
        | merge::Error::OwnTokenLost
        | merge::Error::RotationUnderWay
        | merge::Error::NoTokenFile
        | merge::Error::Token(_) => failure(error.to_string()).in_file(file),
    }
}
