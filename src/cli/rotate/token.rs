//! `kubemint rotate token`: begin, resume, abort, or revoke at once; the plan, the question, and the end in words.

use super::progress::Steps;
use crate::{
    cli::{
        cluster::ClusterArgs,
        context::Context,
        distribute::{asks, declined},
        failure::{Exit, Failure},
        generate::Prepared,
        hosts::{HostArgs, Told, counted, told_failures},
        limits::LimitArgs,
    },
    inventory::{Host, Inventory, Role},
    remote::installer::ForeignPolicy,
    rotation::{Direction, Mode, Record},
    store::{Lock, RunId, Snapshot, Store},
    workflow::{
        generate::StepAction,
        rotate::{self, Begun, Bench, Gate, Refusal, RotationReport, State},
    },
};
use jiff::SignedDuration;

/// Rotate the bootstrap token, so that no node is ever locked out
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Rotate the bootstrap token, so that no node is ever locked out.\n\n\
        accept: token.csv with the old and the new token, control-plane hosts one by one: install, restart by \
        services.kube-apiserver, ready again at that host's own address, the new token known there. switch: \
        bootstrap.kubeconfig to the nodes. approve: what nodes ask for. verify: every node and every apiserver. retire: \
        token.csv without the old token, one by one again, until it is refused (401) everywhere.\n\n\
        Where something stands in the way it pauses (exit 5) with both tokens valid: --resume goes on when that is mended, \
        --abort goes back, as long as no host has lost the old token.",
    after_help = "\
Examples:
  kubemint rotate token                    show the plan, ask, rotate
  kubemint rotate token --yes --grace 24h  leave both tokens for a day; --resume retires the old one
  kubemint rotate token --resume           go on after a pause, a kill or a grace
  kubemint rotate token --revoke-now       the old token has leaked"
)]
pub(super) struct Args {
    /// Go on with the rotation under way, or with its way back
    #[arg(long, group = "how")]
    resume: bool,
    /// Go back to the old token; possible until the old one is being retired
    #[arg(long, group = "how")]
    abort: bool,
    /// Go on, and retire the old token though nodes are pending or the grace is not over
    #[arg(long, group = "how")]
    retire_anyway: bool,
    /// The old token has leaked: drop it first, then give the nodes the new one
    #[arg(long, group = "how")]
    revoke_now: bool,
    /// Leave both tokens valid for so long, such as 24h, before a later --resume retires the old one
    #[arg(long, value_name = "SPAN", value_parser = crate::cli::args::parse_duration, conflicts_with = "how")]
    grace: Option<SignedDuration>,
    #[command(flatten)]
    hosts: HostArgs,
    #[command(flatten)]
    limits: LimitArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// What is to be done.
enum Task {
    Begin(Mode),
    /// The record to go on with: as it is, or turned.
    Continue(Record),
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Exit, Failure> {
    refuse_choice(context)?;
    let inventory = context.inventory()?;
    rotate::check_inventory(&inventory)?;
    let store = context.store(&inventory);
    let before = store.load()?;
    let task = choose(args, &before, &store)?;
    let access = args.cluster.connect(context, &inventory, &before)?;
    if let Task::Begin(mode) = &task {
        confirm(args, context, &inventory, &before, *mode)?;
    } else if args.revoke_now {
        confirm(args, context, &inventory, &before, Mode::RevokeNow)?;
    }
    let hosts: Vec<&Host> = inventory.hosts.iter().collect();
    let remote = context.remote(&inventory, &args.hosts, &hosts)?;
    context.output.note(&format!("the cluster is asked {}", access.note));
    let held = store.lock()?;
    let snapshot = consistent(context, &inventory, &store, &held)?;
    // Another run may have come in between.
    let task = match task {
        Task::Begin(mode) => choose(args, &snapshot, &store).map(|_| Task::Begin(mode))?,
        Task::Continue(_) => choose(args, &snapshot, &store)?,
    };
    let fleet = context.fleet(
        &remote,
        args.hosts.concurrency(&inventory),
        ForeignPolicy::Refuse,
        args.limits.limits(&inventory),
    );
    let id = RunId::new(context.now(), &context.entropy)?;
    let plan = match &task {
        Task::Begin(mode) => Some(rotate::plan_rotation(
            &fleet,
            access.clusters.as_ref(),
            &inventory,
            &snapshot,
            (id.as_str(), *mode, args.grace),
        )?),
        Task::Continue(_) => None,
    };
    if let Some(exit) = context.signals.exit() {
        return Ok(exit);
    }
    let journal = store.start_run(id)?;
    let steps = Steps::new(context.output);
    let bench = Bench {
        inventory: &inventory,
        store: &store,
        held: &held,
        fleet: &fleet,
        clusters: access.clusters.as_ref(),
        journal: &journal,
        observer: &steps,
        gate: if args.retire_anyway { Gate::Overridden } else { Gate::Heeded },
    };
    let begun = match (task, plan) {
        (_, Some(plan)) => rotate::begin_rotation(&bench, plan, &snapshot),
        (Task::Continue(record), _) => rotate::turn_rotation(&bench, snapshot, record),
        (Task::Begin(_), None) => return Err(none_under_way()),
    };
    let begun: Begun = match begun {
        Ok(begun) => begun,
        Err(error) => {
            journal.discard();
            return Err(error.into());
        }
    };
    let report = rotate::run_rotation(&bench, begun);
    close(context, &report)
}

/// All hosts of the inventory share one token.
fn refuse_choice(context: &Context) -> Result<(), Failure> {
    let global = &context.global;
    if global.limit.is_empty() && global.shard.is_none() && global.shard_count.is_none() {
        return Ok(());
    }
    Err(Failure::bad_input("usage", "`rotate token` takes no --limit and no --shard: all hosts share one token")
        .hint("--batch and --max-failures bound how it goes over the nodes"))
}

fn choose(args: &Args, snapshot: &Snapshot, store: &Store) -> Result<Task, Failure> {
    let Some(state) = &snapshot.state else { return Err(Failure::nothing_generated(store.dir())) };
    let Some(record) = &state.rotation else {
        return match (args.resume || args.abort || args.retire_anyway, args.revoke_now) {
            (true, _) => Err(none_under_way()),
            (false, true) => Ok(Task::Begin(Mode::RevokeNow)),
            (false, false) => Ok(Task::Begin(Mode::Overlap)),
        };
    };
    if args.abort {
        let refused = |e: crate::rotation::AbortError| {
            Failure::refused("too_late_to_abort", format!("the rotation cannot be aborted: {e}"))
                .hint("`kubemint rotate token --resume` brings it to its end")
        };
        return record.aborted().map(Task::Continue).map_err(refused);
    }
    if args.revoke_now {
        return Ok(Task::Continue(record.revoked()));
    }
    if args.resume || args.retire_anyway {
        return Ok(Task::Continue(record.clone()));
    }
    let what = format!("a rotation is under way since {} (stage {})", record.began, record.stage.name());
    Err(Failure::refused("rotation_under_way", what).hint(
        "`kubemint rotate token --resume` goes on with it, `kubemint rotate token --abort` goes back to the old token",
    ))
}

fn none_under_way() -> Failure {
    Failure::refused("no_rotation", "no rotation is under way").hint("`kubemint rotate token` begins one")
}

/// The stored set under the lock, as the inventory asks for it; what a killed run left half-written is put right.
fn consistent(context: &Context, inventory: &Inventory, store: &Store, held: &Lock) -> Result<Snapshot, Failure> {
    let Prepared { snapshot, plan, .. } = Prepared::unannounced(context, inventory)?;
    if snapshot.interrupted {
        plan.commit(store, held, &snapshot, &context.clock)?;
        return Ok(store.load()?);
    }
    match plan.steps.iter().find(|step| step.action != StepAction::Kept) {
        None => Ok(snapshot),
        Some(step) => {
            let what =
                format!("the credentials are not what the inventory asks for ({}: {})", step.artifact, step.reason);
            Err(Failure::refused("not_current", what)
                .hint("run `kubemint apply`, which makes and installs them, first"))
        }
    }
}

/// Says what will be done, and asks.
fn confirm(
    args: &Args,
    context: &Context,
    inventory: &Inventory,
    snapshot: &Snapshot,
    mode: Mode,
) -> Result<(), Failure> {
    let of = |role| inventory.hosts.iter().filter(|host| host.roles.contains(role)).count();
    let (masters, nodes) = (counted(of(Role::ControlPlane), "control-plane host"), counted(of(Role::Node), "node"));
    let old = snapshot.state.as_ref().and_then(|state| state.token.as_ref()).map(|token| token.fingerprint.to_string());
    let say = |line: &str| context.output.note(line);
    say(&format!("to rotate: bootstrap token {} of user {}", old.unwrap_or_default(), inventory.token.user));
    let accept = "  accept   token.csv with both tokens, kube-apiserver restarted and the new token probed";
    let retire = "token.csv with the new token only, kube-apiserver restarted and the old token refused";
    match mode {
        Mode::Overlap => {
            say(&format!("{accept}: {masters}, one by one"));
            say(&format!("  switch   bootstrap.kubeconfig with the new token: {nodes}"));
            say("  approve  what nodes ask for");
            say("  verify   every node, every apiserver");
            if let Some(grace) = args.grace {
                say(&format!("  grace    both tokens for {grace:#}"));
            }
            say(&format!("  retire   {retire}: {masters}, one by one"));
        }
        Mode::RevokeNow => {
            say(&format!("  retire   {retire}: {masters}, one by one; until then nodes cannot join"));
            say(&format!("  switch   bootstrap.kubeconfig with the new token: {nodes}"));
            say("  approve  what nodes ask for");
            say("  verify   every node, every apiserver");
        }
    }
    if context.global.yes {
        return Ok(());
    }
    if !asks(context) {
        return Err(Failure::bad_input("not_confirmed", "there is no terminal to ask on").hint("confirm it with --yes"));
    }
    let question = match mode {
        Mode::Overlap => "Rotate the bootstrap token?",
        Mode::RevokeNow => "Revoke the bootstrap token now?",
    };
    if context.output.ask(question)? { Ok(()) } else { Err(declined()) }
}

fn close(context: &Context, report: &RotationReport) -> Result<Exit, Failure> {
    if let Some(what) = &report.unrecorded {
        context.output.warn(&format!("the record of this run is incomplete: {what}"));
    }
    report.remarks.iter().for_each(|remark| context.output.warn(remark));
    context.output.answer(report, || text(report))?;
    Ok(match (report.state, context.signals.exit()) {
        (State::Paused, Some(interrupted)) => interrupted,
        (State::Paused, None) => Exit::Paused,
        (State::Done | State::Aborted, _) if report.pending.is_empty() => Exit::Done,
        (State::Done | State::Aborted, _) => Exit::HostsFailed,
    })
}

fn text(report: &RotationReport) -> String {
    let mut text = told_failures(report.pending.iter().map(|host| {
        let error = &host.error;
        (host.name.as_str(), Told { code: error.code, message: &error.message, hint: &error.hint })
    }));
    if !text.is_empty() {
        text.push('\n');
    }
    text += &match report.state {
        State::Done => {
            format!("rotated: token {} works on every control-plane host, {} is refused\n", report.new, report.old)
        }
        State::Aborted => format!("aborted: token {} is in use as before, {} is refused\n", report.old, report.new),
        State::Paused => paused(report),
    };
    for step in &report.next_steps {
        text += &format!("next: {step}\n");
    }
    text
}

fn paused(report: &RotationReport) -> String {
    let back = if report.direction == Direction::Back.name() { " on the way back" } else { "" };
    let mut text = format!("paused in stage {}{back} (rotation {})", report.stage, report.rotation_id);
    if let Some(reason) = &report.reason {
        text += &format!(": {}\n  {}\n  hint: {}\n", reason.code, reason.message, reason.hint);
    } else {
        text.push('\n');
    }
    text
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let Refusal { code, message, hint, is_bad_input } = refusal;
        let failure = if is_bad_input { Self::bad_input(code, message) } else { Self::refused(code, message) };
        failure.hint(hint)
    }
}
