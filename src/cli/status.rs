//! `kubemint status`: every host read back and held against what it should hold.

use super::{
    context::Context,
    failure::{Exit, Failure},
    generate::Prepared,
    hosts::{self, HostArgs, LONGEST_TABLE, counted},
    output::{Output, Tone},
    plan,
    progress::Progress,
};
use crate::{
    bundle,
    inventory::Limits,
    remote::installer::ForeignPolicy,
    workflow::{
        generate::{Step, StepAction},
        skew,
        stored::read_stored_set,
        survey::{self, FileSurvey, HostSurvey, State, Unmade, Verdict},
    },
};
use serde::Serialize;

/// Read every host back and compare content, owner and mode
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kubemint status
  kubemint status --exit-code -q || echo 'drift (6) or hosts that could not be read (3)'
  kubemint status -o json | jq '.hosts[] | select(.status != \"ok\").name'")]
pub(super) struct Args {
    /// Exit with 6 when a host does not hold what it should
    #[arg(long)]
    exit_code: bool,
    #[command(flatten)]
    hosts: HostArgs,
}

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    version: u32,
    /// Of the stored credentials that the hosts are held against.
    generation: u64,
    /// What the inventory asks for beyond them: `apply` would make it.
    pending: Vec<Step>,
    hosts: Vec<Row<'a>>,
    summary: Summary,
}

#[derive(Serialize)]
struct Row<'a> {
    status: &'static str,
    #[serde(flatten)]
    survey: &'a HostSurvey,
}

#[derive(Debug, Default, Serialize)]
struct Summary {
    hosts: usize,
    ok: usize,
    drift: usize,
    failed: usize,
    skipped: usize,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Exit, Failure> {
    let inventory = context.inventory()?;
    let hosts = context.hosts(&inventory)?;
    let Prepared { store, snapshot, plan } = Prepared::new(context, &inventory)?;
    let Some(state) = &snapshot.state else {
        return Err(Failure::nothing_generated(store.dir()));
    };
    let set = read_stored_set(&inventory, &snapshot).map_err(|error| {
        Failure::refused("not_current", error.to_string()).hint("run `kubemint generate`, which makes it again")
    })?;
    let bundles = bundle::build_bundles(&hosts, &set)?;
    let remote = context.remote(&inventory, &args.hosts, &hosts)?;
    let progress = Progress::new(context.output, hosts.len());
    let fleet = context.fleet(&remote, args.hosts.concurrency(&inventory), ForeignPolicy::Refuse, Limits::default());
    let surveys = survey::survey_hosts(&fleet, &bundles, &set, Unmade::default(), &progress);
    progress.finish();
    let twins = hosts::twin_warnings(surveys.iter().map(|survey| (survey.name.as_str(), &survey.twin)));
    twins.iter().for_each(|warning| context.output.warn(warning));
    let count = |verdicts: &[Verdict]| surveys.iter().filter(|survey| verdicts.contains(&survey.verdict())).count();
    let summary = Summary {
        hosts: surveys.len(),
        ok: count(&[Verdict::InOrder]),
        drift: count(&[Verdict::Drift, Verdict::Blocked]),
        failed: count(&[Verdict::Failed]),
        skipped: count(&[Verdict::Skipped]),
    };
    let document = Document {
        schema: "kubemint/status",
        version: 1,
        generation: state.generation,
        pending: plan.steps.into_iter().filter(|step| step.action != StepAction::Kept).collect(),
        hosts: surveys.iter().map(|survey| Row { status: word(survey.verdict()), survey }).collect(),
        summary,
    };
    context.output.answer(&document, || text(context.output, &document))?;
    Ok(match context.signals.exit() {
        Some(interrupted) => interrupted,
        None if document.summary.failed > 0 => Exit::HostsFailed,
        None if args.exit_code && document.summary.drift > 0 => Exit::Drift,
        None => Exit::Done,
    })
}

const fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::InOrder => "ok",
        Verdict::Drift | Verdict::Blocked => "drift",
        Verdict::Failed => "failed",
        Verdict::Skipped => "skipped",
    }
}

fn text(output: &Output, document: &Document) -> String {
    let all = document.hosts.len() <= LONGEST_TABLE;
    let shown = document.hosts.iter().filter(|row| all || row.survey.verdict() != Verdict::InOrder);
    let rows: Vec<_> = shown.flat_map(|row| host_rows(output, row)).collect();
    let mut text = if rows.is_empty() { String::new() } else { Output::table(["HOST", "STATUS", ""], rows) };
    let failed = document.hosts.iter().filter(|row| row.survey.verdict() == Verdict::Failed);
    text += &hosts::failures(failed.filter_map(|row| Some((row.survey.name.as_str(), row.survey.error.as_ref()?))));
    let s = &document.summary;
    let skipped = if s.skipped > 0 { format!(", {} not begun", s.skipped) } else { String::new() };
    text += &format!(
        "{}{}: {} ok, {} drift, {} could not be read{skipped} (generation {})\n",
        if text.is_empty() { "" } else { "\n" },
        counted(s.hosts, "host"),
        s.ok,
        s.drift,
        s.failed,
        document.generation
    );
    for step in &document.pending {
        text += &format!(
            "pending: the inventory asks to {} {} ({}); `kubemint apply` does it\n",
            step.action.imperative(),
            step.artifact,
            step.reason
        );
    }
    text
}

/// The host, and below it a line for each file that is not as it should be.
fn host_rows(output: &Output, row: &Row) -> Vec<[String; 3]> {
    let tone = match row.survey.verdict() {
        Verdict::InOrder => Tone::Good,
        Verdict::Drift | Verdict::Blocked => Tone::Changed,
        Verdict::Failed => Tone::Bad,
        Verdict::Skipped => Tone::Faint,
    };
    let first = [row.survey.name.clone(), output.paint(tone, row.status), remark(row.survey)];
    let files = row.survey.files.iter().filter(|file| file.state != State::Same);
    std::iter::once(first).chain(files.map(|file| [String::new(), String::new(), file_remark(file)])).collect()
}

fn remark(survey: &HostSurvey) -> String {
    if let Some(error) = &survey.error {
        return error.code.to_owned();
    }
    let right = survey.files.iter().filter(|file| file.state == State::Same).count();
    let files = format!("{right} of {} files as they should be", survey.files.len());
    match survey.clock_skew_seconds {
        Some(skew) if skew::is_notable(skew) => format!("{files}; its clock is {skew:+} s off"),
        _ => files,
    }
}

fn file_remark(file: &FileSurvey) -> String {
    let mut words = format!("{}: {}", file.path, file.state.condition());
    match (&file.refusal, &file.found, &file.attributes) {
        (Some(refusal), _, _) => words += &format!(" ({})", refusal.message),
        (None, Some(found), _) => {
            // Found first, wanted second, as in a plan.
            for (what, old, new) in plan::differences(found, &file.wanted) {
                words += &format!(" [{what} {old}, should be {new}]");
            }
        }
        (None, None, Some(attributes)) => words += &format!(" ({attributes}, should be 0600, owner as required)"),
        (None, None, None) => {}
    }
    words
}
