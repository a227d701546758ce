//! `kubemint status`: every host read back and held against what it should hold; what ends soon there, and what runs with
//! what a file held before.

mod exposition;
mod table;

use super::{
    args::{DEFAULT_WITHIN, parse_duration},
    context::Context,
    failure::{Exit, Failure},
    generate::Prepared,
    hosts::{self, HostArgs},
    progress::Progress,
};
use crate::{
    bundle,
    inventory::Limits,
    remote::installer::ForeignPolicy,
    store::{Existing, Stream},
    workflow::{
        debts::find_debts,
        generate::{Step, StepAction},
        report::ErrorReport,
        restarts::{DueRestart, owed_restarts},
        stored::read_stored_set,
        survey::{self, HostSurvey, Scope, Unmade, Verdict},
        upkeep::{Exchanges, Outlook, ServiceState, Upkeep},
    },
};
use jiff::SignedDuration;
use serde::Serialize;
use std::path::PathBuf;

/// Read every host back: content, owner and mode, certificates, and services that run since before their file changed
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Read every host back, in one login each: content, owner and mode of what it should hold, when its \
        certificates end (the kubelet's own too), which token it has, and whether kube-apiserver, kubelet and kube-proxy \
        run since before their file changed. Nothing is changed, and no key leaves a host.",
    after_help = "\
Examples:
  kubemint status
  kubemint status --exit-code -q || echo 'drift or something due (6), or hosts that could not be read (3)'
  kubemint status --within 60d --prometheus ./kubemint.prom
  kubemint status -o json | jq '.hosts[] | select(.status != \"ok\").name'"
)]
pub(super) struct Args {
    /// Exit with 6 when a host does not hold what it should, or something is due there
    #[arg(long)]
    exit_code: bool,
    /// A certificate that ends within this time is due
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = DEFAULT_WITHIN)]
    within: SignedDuration,
    /// Write what was found for node_exporter's textfile collector, which reads *.prom; a file is replaced as a whole, a
    /// FIFO or device written to; - is standard output, in place of the table
    #[arg(long, value_name = "FILE")]
    prometheus: Option<PathBuf>,
    #[command(flatten)]
    hosts: HostArgs,
}

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    version: u32,
    /// Of the stored credentials that the hosts are held against.
    generation: u64,
    /// What the inventory asks for beyond them.
    pending: Vec<Step>,
    /// Why nothing more can be issued: the CA in use is out of date.
    #[serde(skip_serializing_if = "Option::is_none")]
    ca_problem: Option<ErrorReport>,
    hosts: Vec<Row<'a>>,
    summary: Summary,
    /// Hosts with something due.
    due: usize,
    /// Restarts that earlier runs owe, and that were not seen to be done.
    next_steps: Vec<DueRestart>,
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
    let prometheus = args.prometheus.as_ref().map(|path| context.output_file(path, Existing::Replaced)).transpose()?;
    let inventory = context.inventory()?;
    let hosts = context.hosts(&inventory)?;
    let (Prepared { store, snapshot, plan }, ca_problem) = Prepared::to_show(context, &inventory)?;
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
    let rotation = snapshot.state.as_ref().and_then(|state| state.rotation.as_ref());
    let exchanges = rotation.map(Exchanges::of);
    let outlook = Outlook { within: args.within, now: context.now(), exchanges: exchanges.as_ref() };
    let surveys = survey::survey_hosts(&fleet, &bundles, &set, Unmade::default(), Scope::Upkeep(outlook), &progress);
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
    let debts = find_debts(&store.runs(), None, &inventory)?;
    let has_read_its_file = |service: &str, host: &str| {
        let seen = surveys.iter().filter(|survey| survey.name == host).filter_map(|survey| survey.upkeep.as_ref());
        let mut services = seen.flat_map(|upkeep| &upkeep.services);
        services.any(|seen| seen.service.name() == service && seen.state == ServiceState::Current)
    };
    let document = Document {
        schema: "kubemint/status",
        version: 1,
        generation: state.generation,
        pending: plan.steps.into_iter().filter(|step| step.action != StepAction::Kept).collect(),
        ca_problem,
        hosts: surveys.iter().map(|survey| Row { status: word(survey.verdict()), survey }).collect(),
        summary,
        due: surveys.iter().filter(|survey| survey.upkeep.as_ref().is_some_and(Upkeep::is_due)).count(),
        next_steps: owed_restarts(&inventory, &debts, &hosts, has_read_its_file),
    };
    let interrupted = context.signals.exit();
    if let (Some(file), None) = (&prometheus, interrupted) {
        context.write_output(file, &exposition::render_metrics(&surveys, outlook.now))?;
    }
    // Metrics on standard output are the answer, and stand there alone.
    if prometheus.and_then(|file| file.stream()) != Some(Stream::Output) {
        context.output.answer(&document, || table::render(context.output, &document, &inventory))?;
    }
    Ok(match interrupted {
        Some(interrupted) => interrupted,
        None if document.summary.failed > 0 => Exit::HostsFailed,
        None if args.exit_code && document.summary.drift + document.due > 0 => Exit::Drift,
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
