//! `kubemint runs list`: every recorded run in a line.

use super::RunsArgs;
use crate::{
    cli::{
        context::Context,
        failure::{Exit, Failure},
        output::{Output, Tone},
    },
    secret::printable,
    workflow::{
        report::Summary,
        runs::{self, KeptRun, RunState},
    },
};
use jiff::Timestamp;
use serde::Serialize;

/// List the recorded runs, oldest first
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kubemint runs list
  kubemint runs list -o json | jq -r '.runs[] | select(.state == \"interrupted\").run_id'")]
pub(super) struct Args {
    #[command(flatten)]
    runs: RunsArgs,
}

#[derive(Serialize)]
struct Document {
    schema: &'static str,
    version: u32,
    directory: String,
    runs: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    run_id: String,
    /// Its place in the order; null: an earlier version made it.
    number: Option<u64>,
    state: &'static str,
    command: Option<String>,
    of: Option<String>,
    generation: Option<u64>,
    started: Option<Timestamp>,
    finished: Option<Timestamp>,
    summary: Option<Summary>,
    /// Why the run's record cannot be read.
    fault: Option<String>,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Exit, Failure> {
    let runs = args.runs.runs_alone(context)?;
    let mut rows = Vec::new();
    for id in runs.list()? {
        let run = runs.read(&id).and_then(|record| runs::parse_record(id.as_str(), &runs.path(&id), &record));
        rows.push(match run {
            Ok(run) => row(id.as_str(), runs.number(&id), run),
            Err(error) => damaged_row(id.as_str(), runs.number(&id), error.to_string()),
        });
    }
    let directory = runs.dir().display().to_string();
    let document = Document { schema: "kubemint/runs", version: 1, directory, runs: rows };
    context.output.answer(&document, || text(context.output, &document))?;
    Ok(Exit::Done)
}

fn row(id: &str, number: Option<u64>, run: KeptRun) -> Row {
    Row {
        run_id: id.to_owned(),
        number,
        state: run.state.name(),
        summary: Some(run.summary()),
        command: run.command,
        of: run.of,
        generation: run.generation,
        started: run.started,
        finished: run.finished,
        fault: None,
    }
}

fn damaged_row(id: &str, number: Option<u64>, fault: String) -> Row {
    Row {
        run_id: id.to_owned(),
        number,
        state: "damaged",
        command: None,
        of: None,
        generation: None,
        started: None,
        finished: None,
        summary: None,
        fault: Some(fault),
    }
}

fn text(output: &Output, document: &Document) -> String {
    if document.runs.is_empty() {
        return format!("no run is recorded in {}\n", printable(&document.directory));
    }
    let rows = document.runs.iter().map(|run| {
        let tone = match run.state {
            word if word == RunState::Finished.name() => Tone::Good,
            word if word == RunState::Running.name() => Tone::Changed,
            _ => Tone::Bad,
        };
        let generation = run.generation.map(|generation| generation.to_string());
        let hosts = run.summary.as_ref().map(super::show::counts);
        let told = run.fault.clone().or(hosts).unwrap_or_default();
        [
            run.run_id.clone(),
            run.command.clone().unwrap_or_else(|| "-".into()),
            generation.unwrap_or_else(|| "-".into()),
            output.paint(tone, run.state),
            told,
        ]
    });
    Output::table(["RUN", "COMMAND", "GENERATION", "STATE", "HOSTS"], rows)
}
