//! `kubemint apply` and `kubemint distribute`: credentials onto hosts. They differ in what they do when the stored set
//! is not what the inventory asks for: apply makes it so, distribute refuses.

use super::{
    context::Context,
    failure::{Exit, Failure},
    generate::{Generated, Locked, Prepared},
    hosts::{self, InstallArgs, LONGEST_TABLE, counted},
    limits::LimitArgs,
    output::{Output, Tone},
    progress::Progress,
    retry::{self, Retried},
    runs::RunsArgs,
    token_reach::{refuse_early_tokens, refuse_unknown_rows},
};
use crate::{
    bundle,
    inventory::{Host, Inventory},
    remote::{HostRemote, installer::Action},
    store::Journal,
    workflow::{
        debts::{Debts, find_debts},
        distribute::{self, Distribution, Order},
        generate::{Step, StepAction},
        report::{HostReport, HostStatus, RunReport},
        restarts::{DueRestart, Duty},
        token_reach::Reach,
    },
};
use serde::Serialize;
use std::io::IsTerminal;

pub(super) const DISTRIBUTE_ABOUT: &str = "Install the generated credentials on the hosts.\n\n\
    Refuses (exit 4) when the stored credentials are not what the inventory asks for: `apply` makes them so first; and to \
    hand a node a new token before every control-plane host has its row of token.csv. \
    Each host is one connection, one login, one command; what is equal there is not touched; one host's failure stops \
    no other, unless --max-failures says so. The control plane comes before the nodes (distribute.order).\n\n\
    With --retry only the hosts that an earlier run did not bring to an end: failed, not begun, or in flight when it was \
    killed. With --runs-dir the credential directory is only read, and may be read-only: journal and report go to DIR, \
    and several such runs, each with its own --shard, work at once.";

pub(super) const DISTRIBUTE_EXAMPLES: &str = "\
Examples:
  kubemint distribute --limit role:node
  kubemint distribute --batch 10% --max-failures 2%
  kubemint distribute --limit @failed-hosts.txt -o json > report.json
  kubemint distribute --retry last
  kubemint distribute --shard 1/4 --runs-dir runs-of-shards -o json > shard-1.json";

/// Generate what is missing, then install on the hosts
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Generate what is missing, then install on the hosts: `generate` and `distribute` in one.\n\n\
        On a terminal it asks before it touches hosts, unless --yes is given; without a terminal it never asks.",
    after_help = "\
Examples:
  kubemint apply --yes                     everything, on every host
  kubemint apply --limit node042           one host
  kubemint apply --ask-pass --ask-become-pass  hosts that want passwords for the login and for sudo
  kubemint apply --batch 50 --max-failures 0  fifty at a time; after the first failure, no other
  kubemint apply -o json | jq .summary     counts: hosts, changed, unchanged, failed, skipped"
)]
pub(super) struct Args {
    #[command(flatten)]
    install: InstallArgs,
    #[command(flatten)]
    limits: LimitArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct DistributeArgs {
    #[command(flatten)]
    install: Args,
    /// Only the hosts that RUN did not bring to an end: an id or its beginning, `last`, or the path of a report
    #[arg(long, value_name = "RUN")]
    retry: Option<String>,
    #[command(flatten)]
    runs: RunsArgs,
}

/// The report, with what only the command line adds.
#[derive(Serialize)]
struct Document<'a> {
    #[serde(flatten)]
    report: &'a RunReport,
    steps: &'a [Step],
}

pub(super) fn run_apply(args: &Args, context: &Context) -> Result<Exit, Failure> {
    let inventory = context.inventory()?;
    let (hosts, of_all_shards) = context.hosts_and_all_shards(&inventory)?;
    let prepared = Prepared::new(context, &inventory)?;
    let refuse_tokens = |prepared: &Prepared| {
        let reach = Reach { chosen: &hosts, of_all_shards: &of_all_shards };
        refuse_unknown_rows(prepared, &inventory, &hosts)?;
        refuse_early_tokens(prepared, context, &inventory, reach, (&RunsArgs::default(), None))
    };
    refuse_tokens(&prepared)?;
    confirm(context, &hosts, &prepared.plan.steps)?;
    let remote = context.remote(&inventory, &args.install.hosts, &hosts)?;
    let locked = prepared.lock(context, &inventory)?;
    // Another command may have made tokens since.
    refuse_tokens(&locked.prepared)?;
    let run = begin_run("apply", context, &inventory, locked, &RunsArgs::default(), None)?;
    for step in run.generated.steps.iter().filter(|step| step.action != StepAction::Kept) {
        context.output.note(&format!("{}: {} ({})", step.artifact, step.action.name(), step.reason));
    }
    install(&run, &remote, args, context, &inventory, &hosts)
}

pub(super) fn run_distribute(args: &DistributeArgs, context: &Context) -> Result<Exit, Failure> {
    let inventory = context.inventory()?;
    let (chosen, of_all_shards) = context.hosts_and_all_shards(&inventory)?;
    let prepared = Prepared::new(context, &inventory)?;
    args.runs.refuse_state(context, &prepared.store)?;
    refuse_outdated(&prepared)?;
    let generation = prepared.snapshot.state.as_ref().map_or(0, |state| state.generation);
    let retried = match &args.retry {
        Some(wanted) => Some(Retried::read(context, &prepared.store, wanted, &args.runs)?),
        None => None,
    };
    let hosts = match &retried {
        Some(retried) => retried.hosts(context, &inventory, chosen, generation),
        None => chosen,
    };
    if hosts.is_empty() {
        return retry::nothing_to_do(context, generation, retried.as_ref());
    }
    let of_all_shards = match &retried {
        Some(retried) => retried.undone_of(of_all_shards),
        None => of_all_shards,
    };
    let reach = Reach { chosen: &hosts, of_all_shards: &of_all_shards };
    refuse_early_tokens(&prepared, context, &inventory, reach, (&args.runs, retried.as_ref()))?;
    confirm(context, &hosts, &[])?;
    let remote = context.remote(&inventory, &args.install.install.hosts, &hosts)?;
    let locked = match args.runs.given() {
        Some(_) => prepared.share(context, &inventory)?,
        None => prepared.lock(context, &inventory)?,
    };
    refuse_outdated(&locked.prepared)?;
    refuse_early_tokens(&locked.prepared, context, &inventory, reach, (&args.runs, retried.as_ref()))?;
    let run = begin_run("distribute", context, &inventory, locked, &args.runs, retried.and_then(Retried::id))?;
    install(&run, &remote, &args.install, context, &inventory, &hosts)
}

/// A run over hosts that has begun: what it installs, and where it is recorded.
struct Run {
    command: &'static str,
    of: Option<String>,
    generated: Generated,
    journal: Journal,
    debts: Debts,
}

/// Commits with the run's journal already open: if it cannot be kept, nothing is made either.
fn begin_run(
    command: &'static str,
    context: &Context,
    inventory: &Inventory,
    locked: Locked,
    runs: &RunsArgs,
    of: Option<String>,
) -> Result<Run, Failure> {
    let store = &locked.prepared.store;
    let debts_of = |journal: &Journal| find_debts(&runs.runs(context, store), Some(journal.id()), inventory);
    let journal = runs.start(context, store)?;
    let begun = debts_of(&journal).map_err(Failure::from).and_then(|debts| Ok((debts, locked.commit(context)?)));
    match begun {
        Ok((debts, generated)) => Ok(Run { command, of, generated, journal, debts }),
        Err(failure) => {
            journal.discard();
            Err(failure)
        }
    }
}

/// Distribute makes nothing: what it would install must be there, whole, and what the inventory asks for.
fn refuse_outdated(prepared: &Prepared) -> Result<(), Failure> {
    let Prepared { store, snapshot, plan } = prepared;
    let what = match plan.steps.iter().find(|step| step.action != StepAction::Kept) {
        _ if snapshot.interrupted => "an earlier run was stopped while it was writing the credentials".to_owned(),
        _ if snapshot.state.is_none() => return Err(Failure::nothing_generated(store.dir())),
        Some(step) => {
            format!("the credentials are not what the inventory asks for ({}: {})", step.artifact, step.reason)
        }
        None => return Ok(()),
    };
    Err(Failure::refused("not_current", what).hint("run `kubemint generate`, or `kubemint apply`, which does both"))
}

/// Whether there is somebody to ask, who did not answer beforehand.
pub(super) fn asks(context: &Context) -> bool {
    !context.global.yes && context.output.is_interactive() && std::io::stdin().is_terminal()
}

pub(super) fn declined() -> Failure {
    Failure::refused("declined", "not confirmed").hint("--yes answers the question beforehand")
}

/// Asks, unless --yes has answered beforehand: what goes on in the cluster is not begun because nobody was there to ask.
#[cfg(feature = "k8s")]
pub(super) fn confirm_or_refuse(context: &Context, question: &str) -> Result<(), Failure> {
    if context.global.yes {
        return Ok(());
    }
    if !asks(context) {
        return Err(Failure::bad_input("not_confirmed", "there is no terminal to ask on").hint("confirm it with --yes"));
    }
    if context.output.ask(question)? { Ok(()) } else { Err(declined()) }
}

/// Shows what would be made and asks, if there is somebody to ask.
fn confirm(context: &Context, hosts: &[&Host], steps: &[Step]) -> Result<(), Failure> {
    if !asks(context) || hosts.is_empty() {
        return Ok(());
    }
    for step in steps.iter().filter(|step| step.action != StepAction::Kept) {
        let new_ca = if step.artifact == "ca" { "a NEW " } else { "" };
        context.output.note(&format!("to {}: {new_ca}{} ({})", step.action.imperative(), step.artifact, step.reason));
    }
    if context.output.ask(&format!("Install credentials on {}?", counted(hosts.len(), "host")))? {
        return Ok(());
    }
    Err(declined())
}

fn install(
    run: &Run,
    remote: &HostRemote,
    args: &Args,
    context: &Context,
    inventory: &Inventory,
    hosts: &[&Host],
) -> Result<Exit, Failure> {
    let Run { command, of, generated, journal, debts } = run;
    let bundles = bundle::build_bundles(hosts, &generated.set)?;
    let progress = Progress::new(context.output, hosts.len());
    let duty = Some(Duty { inventory, debts: Some(debts) });
    let order = Order { command, generation: generated.state.generation, of: of.as_deref(), duty };
    let (concurrency, limits) = (args.install.hosts.concurrency(inventory), args.limits.limits(inventory));
    let fleet = context.fleet(remote, concurrency, args.install.foreign(), limits);
    let done = distribute::run_distribution(&fleet, &bundles, order, journal, &progress)?;
    progress.finish();
    let (report, exit) = close_run(context, done);
    warn_of_clocks(context.output, &report);
    // What failed for it says so itself.
    let done = report.hosts.iter().filter(|host| host.status != HostStatus::Failed);
    let twins = hosts::twin_warnings(done.map(|host| (host.name.as_str(), &host.twin)));
    twins.iter().for_each(|warning| context.output.warn(warning));
    let document = Document { report: &report, steps: &generated.steps };
    context.output.answer(&document, || closing_text(context.output, &report, "the same command"))?;
    Ok(exit)
}

/// The report of a run, how the process ends for it, and a warning if it could not be kept.
pub(super) fn close_run(context: &Context, done: Distribution) -> (RunReport, Exit) {
    let Distribution { report, unrecorded } = done;
    if let Some(what) = &unrecorded {
        let hint = what.hint(&report.run_id);
        context.output.warn(&format!("the record of this run is incomplete: {what}; {hint}"));
    }
    let exit = match exit_of(context, &report) {
        Exit::Done if unrecorded.is_some() && report.summary.skipped > 0 => Exit::HostsFailed,
        Exit::Done if unrecorded.is_some() => Exit::Unexpected,
        exit => exit,
    };
    (report, exit)
}

/// The certificates hold there today, and will seem to begin late or end early.
fn warn_of_clocks(output: &Output, report: &RunReport) {
    let off = report.hosts.iter().filter_map(|host| Some((host.name.as_str(), host.clock_skew_seconds?)));
    let off: Vec<(&str, i64)> = off.collect();
    let Some((_, skew)) = off.first() else { return };
    let names: Vec<&str> = off.iter().map(|(name, _)| *name).collect();
    output.warn(&format!("{}: the clock is {skew:+} s off; `kubemint doctor` tells more", hosts::listed(&names)));
}

fn exit_of(context: &Context, report: &RunReport) -> Exit {
    if let Some(interrupted) = context.signals.exit() {
        return interrupted;
    }
    let no_name_resolves = |host: &HostReport| host.error.as_ref().is_some_and(|error| error.code == "dns_failed");
    match report.summary.failed {
        0 => Exit::Done,
        _ if report.hosts.iter().filter(|host| host.status != HostStatus::Skipped).all(no_name_resolves) => {
            Exit::Refused
        }
        _ => Exit::HostsFailed,
    }
}

/// `again` is the command that goes on where this one left off.
pub(super) fn closing_text(output: &Output, report: &RunReport, again: &str) -> String {
    let all = report.hosts.len() <= LONGEST_TABLE;
    let rows: Vec<_> = report
        .hosts
        .iter()
        .filter(|host| all || (host.status != HostStatus::Unchanged && !is_held_back(host)))
        .map(|host| row(output, host))
        .collect();
    let mut text = String::new();
    if !rows.is_empty() {
        text += &Output::table(["HOST", "STATUS", "FILES", "TIME"], rows);
    }
    text += &hosts::failures(report.hosts.iter().filter_map(|host| {
        let error = host.error.as_ref()?;
        is_told(host.status, error.code).then_some((host.name.as_str(), error))
    }));
    let s = &report.summary;
    text += &format!(
        "{}{}: {} changed, {} unchanged, {} failed, {} skipped (run {})\n",
        if text.is_empty() { "" } else { "\n" },
        counted(s.hosts, "host"),
        s.changed,
        s.unchanged,
        s.failed,
        s.skipped,
        report.run_id
    );
    if s.failed + s.skipped > 0 {
        text += &format!("{again} again touches only what is still missing\n");
    }
    text.extend(report.next_steps.iter().map(next_step));
    text
}

/// As it stands at the end of a run.
pub(super) fn next_step(due: &DueRestart) -> String {
    next_line(due.reason, due.command.as_deref(), &due.hosts, &due.earlier)
}

/// A restart that is due, in a line.
pub(super) fn next_line(reason: &str, command: Option<&str>, hosts: &[String], earlier: &[String]) -> String {
    let listed = |names: &[String]| hosts::listed(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let how = command.map(|command| format!(" ({command})")).unwrap_or_default();
    let since = match earlier {
        [] => String::new(),
        all if all.len() == hosts.len() => ", due since an earlier run".to_owned(),
        some => format!("; due since an earlier run on {}", listed(some)),
    };
    format!("next: {reason}: restart it{how} on {}{since}\n", listed(hosts))
}

/// The code of a host that the run did not begin because it had stopped.
const HELD_BACK: &str = "not_started";

/// Whether the reason is told, beside the table: it failed, or was held back.
pub(super) fn is_told(status: HostStatus, code: &str) -> bool {
    status == HostStatus::Failed || code == HELD_BACK
}

/// Not begun, and not because somebody interrupted the run.
fn is_held_back(host: &HostReport) -> bool {
    host.error.as_ref().is_some_and(|error| error.code == HELD_BACK)
}

fn row(output: &Output, host: &HostReport) -> [String; 4] {
    let time = format!("{:.1} s", std::time::Duration::from_millis(host.duration_ms).as_secs_f64());
    [host.name.clone(), output.paint(tone(host.status), host.status.name()), files_cell(host), time]
}

fn files_cell(host: &HostReport) -> String {
    if let Some(error) = &host.error {
        return error.code.to_owned();
    }
    let count = |action: Action| host.files.iter().filter(|file| file.action == action).count();
    use Action::{Created, Removed, Repaired, Restored, Unchanged, Updated};
    [Created, Updated, Repaired, Restored, Removed, Unchanged]
        .into_iter()
        .filter(|action| count(*action) > 0)
        .map(|action| format!("{} {}", count(action), action.name()))
        .collect::<Vec<_>>()
        .join(", ")
}

pub(super) const fn tone(status: HostStatus) -> Tone {
    match status {
        HostStatus::Changed | HostStatus::InFlight => Tone::Changed,
        HostStatus::Unchanged => Tone::Good,
        HostStatus::Failed => Tone::Bad,
        HostStatus::Skipped => Tone::Faint,
    }
}
