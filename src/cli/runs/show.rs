//! `kubemint runs show RUN`: one run, host by host, also one that was killed.

use super::RunsArgs;
use crate::{
    cli::{
        context::Context,
        distribute::{is_told, next_line, tone},
        failure::{Exit, Failure},
        hosts::{self, LONGEST_TABLE, Told, counted},
        output::Output,
    },
    workflow::{
        report::{HostStatus, RunReport, Summary},
        runs::{KeptHost, KeptRun, KeptStep, RunState},
    },
};
use jiff::Timestamp;
use serde::Serialize;
use std::collections::BTreeMap;

/// Show one run, host by host
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Show one run, host by host.\n\n\
        Of a run that was killed it is known which hosts were done or failed, which were in flight (what they hold is not \
        known; `status` reads it), and which were never begun.",
    after_help = "\
Examples:
  kubemint runs show last
  kubemint runs show 20261122T080632Z
  kubemint runs show merged.json
  kubemint runs show last -o json | jq -r '.hosts[] | select(.status == \"failed\").name'"
)]
pub(super) struct Args {
    /// A run's id, the beginning of one, `last`, or the path of a report or of a run's directory
    #[arg(value_name = "RUN|last")]
    run: String,
    #[command(flatten)]
    runs: RunsArgs,
}

/// The report of a run that ended, or what stands for it.
#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    version: u32,
    run_id: &'a Option<String>,
    number: Option<u64>,
    state: RunState,
    command: &'a Option<String>,
    of: &'a Option<String>,
    started: Option<Timestamp>,
    finished: Option<Timestamp>,
    generation: Option<u64>,
    /// Of a rotation.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    stages: &'a [String],
    hosts: &'a [KeptHost],
    summary: Summary,
    next_steps: &'a [KeptStep],
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Exit, Failure> {
    let run = args.runs.read_alone(context, &args.run)?;
    let document = Document {
        schema: RunReport::SCHEMA,
        version: RunReport::VERSION,
        run_id: &run.id,
        number: run.number,
        state: run.state,
        command: &run.command,
        of: &run.of,
        started: run.started,
        finished: run.finished,
        generation: run.generation,
        stages: &run.stages,
        hosts: &run.hosts,
        summary: run.summary(),
        next_steps: &run.next_steps,
    };
    context.output.answer(&document, || text(context.output, &run))?;
    Ok(Exit::Done)
}

fn text(output: &Output, run: &KeptRun) -> String {
    let summary = run.summary();
    let mut text = hosts_text(output, &run.hosts);
    text += &format!(
        "run {}: {}{}, {}{}: {}\n",
        run.id.as_deref().unwrap_or("-"),
        run.command.as_deref().unwrap_or("nothing begun"),
        run.of.as_ref().map(|of| format!(" of {of}")).unwrap_or_default(),
        run.generation.map(|generation| format!("generation {generation}, ")).unwrap_or_default(),
        run.state.name(),
        counts(&summary)
    );
    if !run.stages.is_empty() {
        text += &format!("stages: {}\n", run.stages.join(", "));
    }
    if run.state != RunState::Running && run.undone().next().is_some() {
        text += &format!("`{}` does what is left\n", run.command_again());
    }
    text + &steps_text(&run.next_steps)
}

/// What was left for a person to do.
pub(super) fn steps_text(steps: &[KeptStep]) -> String {
    steps.iter().map(|step| next_line(&step.reason, step.command.as_deref(), &step.hosts, &step.earlier)).collect()
}

/// A table of the hosts that need attention, and why each failed.
pub(super) fn hosts_text(output: &Output, all: &[KeptHost]) -> String {
    let few = all.len() <= LONGEST_TABLE;
    let shown = all.iter().filter(|host| few || host.status != HostStatus::Unchanged);
    let rows: Vec<_> = shown
        .map(|host| [host.name.clone(), output.paint(tone(host.status), host.status.name()), remark(host)])
        .collect();
    let mut text = if rows.is_empty() { String::new() } else { Output::table(["HOST", "STATUS", "FILES"], rows) };
    text += &hosts::told_failures(all.iter().filter_map(|host| {
        let error = host.error.as_ref()?;
        is_told(host.status, &error.code)
            .then_some((host.name.as_str(), Told { code: &error.code, message: &error.message, hint: &error.hint }))
    }));
    text += if text.is_empty() { "" } else { "\n" };
    text
}

fn remark(host: &KeptHost) -> String {
    if let Some(error) = &host.error {
        return error.code.clone();
    }
    let mut actions: BTreeMap<&str, usize> = BTreeMap::new();
    for file in &host.files {
        *actions.entry(file.action.as_str()).or_default() += 1;
    }
    actions.iter().map(|(action, count)| format!("{count} {action}")).collect::<Vec<_>>().join(", ")
}

/// `3 hosts: 2 changed, 1 failed`, without what there is none of.
pub(super) fn counts(summary: &Summary) -> String {
    let kinds = [
        (summary.changed, HostStatus::Changed),
        (summary.unchanged, HostStatus::Unchanged),
        (summary.failed, HostStatus::Failed),
        (summary.skipped, HostStatus::Skipped),
        (summary.in_flight, HostStatus::InFlight),
    ];
    let some = kinds.iter().filter(|(count, _)| *count > 0);
    let words: Vec<_> = some.map(|(count, status)| format!("{count} {}", status.name())).collect();
    let all = counted(summary.hosts, "host");
    if words.is_empty() { all } else { format!("{all}: {}", words.join(", ")) }
}
