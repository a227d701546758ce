//! `kubemint plan`: what apply would do, host by host and file by file, without doing it.

use super::{
    context::Context,
    failure::{Exit, Failure},
    generate::{self, Prepared},
    hosts::{self, InstallArgs, LONGEST_TABLE, counted},
    output::{Output, Tone},
    progress::Progress,
};
use crate::{
    bundle,
    clock::day,
    inventory::Limits,
    workflow::{
        generate::{NODE_TOKENS_ARTIFACT, NODES_ARTIFACT, Step, StepAction},
        report::{ErrorReport, Twin},
        survey::{self, Facts, FileSurvey, HostSurvey, RowFact, Scope, State, Unmade, Verdict},
    },
};
use serde::Serialize;

/// Show what apply would change, per host and file, without changing it
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Show what apply would change, per host and file, without changing it.\n\n\
        Reads every host. Old and new are named by token fingerprint, certificate date and server, never by content. \
        Credentials that do not exist yet are made in memory and forgotten. Exits with 3 when a host cannot be read or \
        would refuse a file.",
    after_help = "\
Examples:
  kubemint plan
  kubemint plan --limit role:control-plane
  kubemint plan -o json | jq '.hosts[].files[] | select(.state != \"same\")'"
)]
pub(super) struct Args {
    #[command(flatten)]
    install: InstallArgs,
}

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    version: u32,
    /// What would be made first; nothing of it exists yet.
    steps: &'a [Step],
    /// Why `apply` could not make anything: the CA in use is out of date.
    #[serde(skip_serializing_if = "Option::is_none")]
    ca_problem: Option<ErrorReport>,
    hosts: Vec<PlannedHost<'a>>,
    summary: Summary,
}

#[derive(Serialize)]
struct PlannedHost<'a> {
    name: &'a str,
    error: &'a Option<ErrorReport>,
    files: Vec<PlannedFile<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    twin: Option<&'a Twin>,
}

#[derive(Serialize)]
struct PlannedFile<'a> {
    action: &'static str,
    #[serde(flatten)]
    survey: &'a FileSurvey,
}

#[derive(Debug, Default, Serialize)]
struct Summary {
    hosts: usize,
    changing: usize,
    unchanged: usize,
    /// Installing there would be refused.
    blocked: usize,
    failed: usize,
    skipped: usize,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Exit, Failure> {
    let inventory = context.inventory()?;
    let hosts = context.hosts(&inventory)?;
    let (Prepared { plan, .. }, ca_problem) = Prepared::to_show(context, &inventory)?;
    let bundles = bundle::build_bundles(&hosts, &plan.set)?;
    let remote = context.remote(&inventory, &args.install.hosts, &hosts)?;
    let progress = Progress::new(context.output, hosts.len());
    let fleet =
        context.fleet(&remote, args.install.hosts.concurrency(&inventory), args.install.foreign(), Limits::default());
    let surveys = survey::survey_hosts(&fleet, &bundles, &plan.set, unmade(&plan.steps), Scope::Files, &progress);
    progress.finish();
    let twins = hosts::twin_warnings(surveys.iter().map(|survey| (survey.name.as_str(), &survey.twin)));
    twins.iter().for_each(|warning| context.output.warn(warning));
    let document = Document {
        schema: "kubemint/plan",
        version: 1,
        steps: &plan.steps,
        ca_problem,
        hosts: surveys.iter().map(planned).collect(),
        summary: summarize(&surveys),
    };
    context.output.answer(&document, || text(context.output, &document, &surveys))?;
    Ok(match (context.signals.exit(), document.summary.failed + document.summary.blocked) {
        (Some(interrupted), _) => interrupted,
        (None, 0) => Exit::Done,
        (None, _) => Exit::HostsFailed,
    })
}

/// What of the planned set is made in memory only.
fn unmade(steps: &[Step]) -> Unmade {
    let changes = |artifact| steps.iter().any(|s: &Step| s.artifact == artifact && s.action != StepAction::Kept);
    let created = |artifact| steps.iter().any(|s: &Step| s.artifact == artifact && s.action == StepAction::Created);
    Unmade {
        ca: created("ca"),
        token: created("token"),
        certificate: changes("kube-proxy"),
        node_certificates: changes(NODES_ARTIFACT),
        node_tokens: changes(NODE_TOKENS_ARTIFACT),
    }
}

fn planned(survey: &HostSurvey) -> PlannedHost<'_> {
    let files = survey.files.iter().map(|file| PlannedFile { action: file.state.action(), survey: file });
    PlannedHost { name: &survey.name, error: &survey.error, files: files.collect(), twin: survey.twin.as_ref() }
}

fn summarize(surveys: &[HostSurvey]) -> Summary {
    let count = |verdict| surveys.iter().filter(|survey| survey.verdict() == verdict).count();
    Summary {
        hosts: surveys.len(),
        changing: count(Verdict::Drift),
        unchanged: count(Verdict::InOrder),
        blocked: count(Verdict::Blocked),
        failed: count(Verdict::Failed),
        skipped: count(Verdict::Skipped),
    }
}

fn text(output: &Output, document: &Document, surveys: &[HostSurvey]) -> String {
    let all = surveys.len() <= LONGEST_TABLE;
    let mut text = generate::steps_table(output, document.steps, StepAction::imperative);
    for survey in surveys.iter().filter(|survey| !survey.files.is_empty()) {
        if all || survey.verdict() != Verdict::InOrder {
            text += &format!("\n{}\n", survey.name);
            text.extend(survey.files.iter().map(|file| file_lines(output, file)));
        }
    }
    let failed = surveys.iter().filter(|survey| survey.verdict() == Verdict::Failed);
    text += &hosts::failures(failed.filter_map(|survey| Some((survey.name.as_str(), survey.error.as_ref()?))));
    let s = &document.summary;
    let skipped = if s.skipped > 0 { format!(", {} not begun", s.skipped) } else { String::new() };
    text += &format!(
        "\n{}: {} to change, {} unchanged, {} would be refused, {} could not be read{skipped}\n",
        counted(s.hosts, "host"),
        s.changing,
        s.unchanged,
        s.blocked,
        s.failed
    );
    text
}

fn file_lines(output: &Output, file: &FileSurvey) -> String {
    let tone = match file.state {
        State::Same => Tone::Faint,
        State::Refused => Tone::Bad,
        State::Missing | State::Differs | State::Attributes => Tone::Changed,
    };
    let mut lines = format!("  {} {}\n", output.paint(tone, &format!("{:<9}", file.state.action())), file.path);
    match (&file.refusal, &file.found) {
        (Some(refusal), _) => {
            lines += &format!("            {}\n            hint: {}\n", refusal.message, refusal.hint);
        }
        (None, Some(found)) => {
            for (what, old, new) in differences(found, &file.wanted) {
                lines += &format!("            {what} {old} -> {new}\n");
            }
        }
        (None, None) => {
            if let Some(attributes) = &file.attributes {
                lines += &format!("            {attributes} -> 0600, owner as required\n");
            }
        }
    }
    lines
}

/// What differs between two sets of facts, in words; the CA first, since everything hangs on it. If nothing that may be
/// said differs, the digests do. What is wanted and has no value yet is `new`.
pub(super) fn differences(old: &Facts, new: &Facts) -> Vec<(&'static str, String, String)> {
    let short = |facts: &Facts| facts.sha256.map(|digest| digest.fingerprint().to_string());
    let mut pairs = vec![
        ("CA", old.ca_pin.as_deref().map(short_pin), new.ca_pin.as_deref().map(short_pin)),
        ("server", old.server.clone(), new.server.clone()),
        ("token", old.token.map(|t| t.to_string()), new.token.map(|t| t.to_string())),
        ("certificate", old.certificate_serial.clone(), new.certificate_serial.clone()),
        ("valid until", old.certificate_not_after.map(day), new.certificate_not_after.map(day)),
        ("rows", rows(old), rows(new)),
    ];
    pairs.retain(|(_, old, new)| old != new);
    if pairs.is_empty() {
        pairs.push(("sha256", short(old), short(new)));
    }
    let or = |value: Option<String>, word: &str| value.unwrap_or_else(|| word.to_owned());
    pairs.into_iter().map(|(what, old, new)| (what, or(old, "none"), or(new, "new"))).collect()
}

/// Enough of a pin to tell two CAs apart.
fn short_pin(pin: &str) -> String {
    pin.chars().take("sha256:".len() + 16).collect()
}

fn rows(facts: &Facts) -> Option<String> {
    let token = |row: &RowFact| row.token.map_or_else(|| "new".to_owned(), |token| token.to_string());
    let rows: Vec<_> = facts.rows.iter().map(|row| format!("{}={}", row.user, token(row))).collect();
    (!rows.is_empty()).then(|| rows.join(" "))
}
