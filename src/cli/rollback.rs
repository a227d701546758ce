//! `kubemint rollback`: what a run replaced on hosts, back in its place.

use super::{
    context::{Argument, Context},
    distribute::{asks, close_run, closing_text, declined},
    failure::{Exit, Failure},
    hosts::{self, HostArgs, counted},
    limits::LimitArgs,
    progress::Progress,
    retry::{NoSteps, Retried, answer_not_begun, warn_of_gone},
    runs::{RunsArgs, path_in},
};
use crate::{
    inventory::{Host, Inventory},
    remote::installer::ForeignPolicy,
    rotation::Record,
    store::Store,
    workflow::{
        distribute::Order,
        report::{HostStatus, RunReport},
        restarts::Duty,
        rollback::{self, Rollback},
        runs::KeptRun,
    },
};
use serde::Serialize;

/// Put back on the hosts what a run replaced there
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Put back on the hosts what a run replaced there.\n\n\
        Every host keeps one earlier version beside each file. It changes places with the one that RUN installed, where \
        that is still there; a file that RUN created is removed; what RUN left as it was, or whose owner or mode it \
        repaired, stays as it is. All files of a host are checked before one is changed. The same rollback can be run \
        again: what is back already stays so.\n\n\
        `last` is the last run that changed a host and is no rollback. A rollback is a run too: to undo it, name its id \
        (a file that it removed cannot come back this way: `apply` installs it).\n\n\
        With --host instead of RUN the named hosts' files change places with what is kept, whatever they hold: all files of \
        a host with an older version, or all with a newer one, else the host is refused.\n\n\
        The credential directory is not rolled back: the next `apply` or `distribute` installs its generation again.",
    after_help = "\
Examples:
  kubemint rollback last
  kubemint rollback last --limit role:node
  kubemint rollback last --batch 10% --max-failures 0
  kubemint rollback --host node042 --yes",
    group = clap::ArgGroup::new("what").required(true)
)]
pub(super) struct Args {
    /// A run's id, the beginning of one, a report's path, or `last`: the last that changed a host and is no rollback
    #[arg(value_name = "RUN|last", group = "what")]
    run: Option<String>,
    /// These hosts, whichever run wrote there last; nothing is compared
    #[arg(long, value_name = "NAME[,…]", group = "what")]
    host: Vec<String>,
    #[command(flatten)]
    hosts: HostArgs,
    #[command(flatten)]
    limits: LimitArgs,
    #[command(flatten)]
    runs: RunsArgs,
}

/// The report, with what only the command line adds.
#[derive(Serialize)]
struct Document<'a> {
    #[serde(flatten)]
    report: &'a RunReport,
    #[serde(flatten)]
    left: LeftAlone<'a>,
}

/// What a rollback leaves as it is.
#[derive(Clone, Copy, Serialize)]
struct LeftAlone<'a> {
    /// Hosts where the run failed or was killed.
    unknown: &'a [String],
    /// Hosts where it repaired owner or mode, which stay repaired.
    repaired: &'a [String],
    /// As of any run; a rollback makes no credentials.
    #[serde(flatten)]
    steps: NoSteps,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Exit, Failure> {
    let inventory = context.inventory()?;
    let store = context.store(&inventory);
    args.runs.refuse_state(context, &store)?;
    let chosen = context.hosts(&inventory)?;
    let state = store.load()?.state;
    let rotation = state.as_ref().and_then(|state| state.rotation.as_ref());
    let (plan, of) = match &args.run {
        Some(wanted) => {
            let retried = Retried::to_undo(context, &store, wanted, &args.runs)?;
            let is_since = rotation.is_some_and(|rotation| is_since(context, &store, rotation, retried.run()));
            refuse_rotation(rotation.filter(|_| !is_since), Some(retried.run()))?;
            warn_of_gone(context, &inventory, retried.run().hosts.iter().map(|host| host.name.as_str()));
            (rollback::plan_rollback(retried.run(), &chosen), retried.id())
        }
        None if rotation.is_some() => return refuse_rotation(rotation, None).map(|()| Exit::Done),
        None => {
            let kept_back = rollback::kept_back(state.as_ref());
            for kind in &kept_back {
                let path = kind.relative_path();
                context
                    .output
                    .note(&format!("{path} stays as it is: its earlier version may hold a token that is retired"));
            }
            (rollback::plan_exchange(&named(args, context, &inventory, &chosen)?, &kept_back), None)
        }
    };
    let left = LeftAlone { unknown: &plan.unknown, repaired: &plan.repaired, steps: NoSteps::NONE };
    if plan.targets.is_empty() {
        let generation = store.load()?.state.map_or(0, |state| state.generation);
        let order = Order { command: "rollback", generation, of: of.as_deref(), duty: None };
        return answer_not_begun(context, order, left, || remarks(&plan, None));
    }
    confirm(context, &plan, of.as_deref())?;
    let targets: Vec<&Host> = plan.targets.iter().filter(|target| target.is_due()).map(|target| target.host).collect();
    let remote = context.remote(&inventory, &args.hosts, &targets)?;
    let _held = if args.runs.given().is_some() { store.share()? } else { store.lock()? };
    let snapshot = store.load()?;
    let Some(state) = &snapshot.state else {
        return Err(Failure::nothing_generated(store.dir()));
    };
    if state.rotation.as_ref() != rotation {
        return refuse_rotation(state.rotation.as_ref(), None).map(|()| Exit::Done);
    }
    let journal = args.runs.start(context, &store)?;
    let progress = Progress::new(context.output, plan.targets.len());
    let duty = Some(Duty { inventory: &inventory, debts: None });
    let order = Order { command: "rollback", generation: state.generation, of: of.as_deref(), duty };
    // Whose files they are was judged when they were installed.
    let (concurrency, limits) = (args.hosts.concurrency(&inventory), args.limits.limits(&inventory));
    let fleet = context.fleet(&remote, concurrency, ForeignPolicy::Replace, limits);
    let done = rollback::run_rollback(&fleet, &plan.targets, order, &journal, &progress)?;
    progress.finish();
    let (report, exit) = close_run(context, done);
    let document = Document { report: &report, left };
    context.output.answer(&document, || {
        let again = again(args, of.as_deref());
        closing_text(context.output, &report, &again) + &remarks(&plan, Some(&report))
    })?;
    Ok(exit)
}

/// Whether the run began after the rotation: it installed what the rotation had stored. No clock is asked.
fn is_since(context: &Context, store: &Store, rotation: &Record, run: &KeptRun) -> bool {
    let beginning = RunsArgs::default().read(context, store, &rotation.id);
    let first = beginning.ok().and_then(|run| run.generation);
    first.zip(run.generation).is_some_and(|(first, generation)| generation >= first)
}

/// What a rotation installs is not to be put back behind its back; nor what it found.
fn refuse_rotation(rotation: Option<&Record>, run: Option<&KeptRun>) -> Result<(), Failure> {
    if let Some(run) = run.filter(|run| run.is_rotation()) {
        let what = format!("run {} is a part of a rotation of the token", run.id.as_deref().unwrap_or("-"));
        return Err(Failure::refused("run_is_rotation", what).hint(
            "under way, `kubemint rotate token --abort` goes back; done, the old token is refused: rotate once more",
        ));
    }
    if rotation.is_none() {
        return Ok(());
    }
    let what = "a rotation of the token is under way: what hosts held before it could lock nodes out";
    Err(Failure::refused("rotation_under_way", what)
        .hint("finish it first: `kubemint rotate token --resume`, or --abort to go back to the old token"))
}

/// What does the rest. `last` would not do: a report's path, and only that, is no id.
fn again(args: &Args, of: Option<&str>) -> String {
    match (&args.run, of) {
        (Some(path), _) if path_in(path).is_some() => format!("`kubemint rollback {path}`"),
        (Some(_), Some(id)) => format!("`kubemint rollback {id}`"),
        _ => "`kubemint rollback --host` with the names of those hosts alone".to_owned(),
    }
}

fn named<'h>(
    args: &Args,
    context: &Context,
    inventory: &'h Inventory,
    chosen: &[&'h Host],
) -> Result<Vec<&'h Host>, Failure> {
    let named = context.select(inventory, &args.host, Argument { name: "--host", code: "limit_invalid" })?;
    Ok(chosen.iter().filter(|host| named.iter().any(|named| named.name == host.name)).copied().collect())
}

fn confirm(context: &Context, plan: &Rollback, of: Option<&str>) -> Result<(), Failure> {
    let due = plan.targets.iter().filter(|target| target.is_due()).count();
    if !asks(context) || due == 0 {
        return Ok(());
    }
    let hosts = counted(due, "host");
    let question = match of {
        Some(run) => format!("Put back what run {run} replaced on {hosts}?"),
        None => format!("Put back the version before on {hosts}?"),
    };
    if context.output.ask(&question)? { Ok(()) } else { Err(declined()) }
}

/// `report`: `None` where no run was begun.
fn remarks(plan: &Rollback, report: Option<&RunReport>) -> String {
    let listed = |names: &[String]| hosts::listed(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let mut text = String::new();
    if plan.targets.is_empty() {
        text += "there is nothing to put back on these hosts\n";
    }
    if !plan.unknown.is_empty() {
        text += &format!(
            "left alone, since that run failed or was killed there: {}; `kubemint status` shows what they hold\n",
            listed(&plan.unknown)
        );
    }
    if !plan.repaired.is_empty() {
        text += &format!("owners and modes that the run repaired stay so on {}\n", listed(&plan.repaired));
    }
    let has_changed = |report: &&RunReport| report.hosts.iter().any(|host| host.status == HostStatus::Changed);
    if let Some(report) = report.filter(has_changed) {
        text += &format!(
            "the credential directory still holds generation {}: the next apply or distribute installs it again\n",
            report.generation
        );
    }
    text
}
