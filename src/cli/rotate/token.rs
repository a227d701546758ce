//! `kubemint rotate token`: begin, resume, abort, or revoke at once.

use super::{answer, progress::Steps, question::confirm};
use crate::{
    cli::{
        cluster::ClusterArgs,
        context::Context,
        failure::{Exit, Failure},
        generate::Prepared,
        hosts::HostArgs,
        limits::LimitArgs,
    },
    clock::to_the_second,
    inventory::{Host, Inventory, Role, TokenForm, TokenSettings},
    remote::installer::ForeignPolicy,
    rotation::{Carrier, Direction, Mode, Record, Which},
    store::{Lock, RunId, Snapshot, Store},
    workflow::{
        generate::StepAction,
        rotate::{self, Beginning, Begun, Bench, Gate, Refusal, RotationReport, Scope, State},
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
        Where something stands in the way it pauses (exit 5) with both tokens valid: --resume goes on when that is fixed, \
        --abort goes back, as long as no host has lost the old token.\n\n\
        With token.form = \"secret\" the same stages, and no restart: accept makes a Secret with the new token, retire \
        deletes the old one. `kubemint token migrate` goes from token.csv to Secrets.",
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
    reach: Reach,
}

/// How hosts and cluster are worked on.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Reach {
    #[command(flatten)]
    hosts: HostArgs,
    #[command(flatten)]
    limits: LimitArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// What was asked for.
#[derive(Debug, Clone, Copy)]
pub(in crate::cli) struct Wish<'a> {
    pub(in crate::cli) turn: Turn,
    pub(in crate::cli) grace: Option<SignedDuration>,
    /// Whose own tokens alone; empty for all.
    pub(in crate::cli) nodes: &'a [String],
}

/// Which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum Turn {
    Begin,
    /// From token.csv to Secrets.
    Migrate,
    Resume,
    Abort,
    RetireAnyway,
    RevokeNow,
    /// The own tokens of some nodes.
    RevokeNodes,
}

/// What is to be done.
enum Task {
    Begin(Mode),
    /// The record to go on with: as it is, or turned.
    Continue(Box<Record>),
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Exit, Failure> {
    let turn = match args {
        Args { resume: true, .. } => Turn::Resume,
        Args { abort: true, .. } => Turn::Abort,
        Args { retire_anyway: true, .. } => Turn::RetireAnyway,
        Args { revoke_now: true, .. } => Turn::RevokeNow,
        _ => Turn::Begin,
    };
    run_turn(Wish { turn, grace: args.grace, nodes: &[] }, &args.reach, context)
}

pub(in crate::cli) fn run_turn(wish: Wish<'_>, reach: &Reach, context: &Context) -> Result<Exit, Failure> {
    refuse_choice(wish, context)?;
    let inventory = context.inventory()?;
    let store = context.store(&inventory);
    let before = store.load()?;
    let carrier = carrier(wish, &inventory, &before);
    rotate::check_inventory(&inventory, carrier)?;
    let task = choose(wish, &before, &store)?;
    let current = current_inventory(&inventory, &before, &task, carrier);
    refuse_without_own(wish, &before)?;
    let access = reach.cluster.connect(context, &inventory, &before)?;
    if let Task::Begin(mode) = &task {
        confirm(wish, context, (&inventory, carrier), &before, *mode)?;
    } else if wish.turn == Turn::RevokeNow {
        confirm(wish, context, (&inventory, carrier), &before, Mode::RevokeNow)?;
    }
    let hosts: Vec<&Host> = inventory.hosts.iter().collect();
    let remote = context.remote(&inventory, &reach.hosts, &hosts)?;
    context.output.note(&format!("the cluster is asked {}", access.note));
    let held = store.lock()?;
    let snapshot = consistent(context, &current, &store, &held)?;
    // Another run may have come in between.
    let task = match (task, choose(wish, &snapshot, &store)?) {
        (Task::Begin(_), Task::Begin(mode)) => Task::Begin(mode),
        (Task::Continue(_), Task::Continue(record)) => Task::Continue(record),
        (Task::Begin(_), Task::Continue(_)) | (Task::Continue(_), Task::Begin(_)) => {
            let what = "another run has begun or ended a rotation in the meantime";
            return Err(Failure::refused("rotation_changed", what).hint("run the command again: it then says what is"));
        }
    };
    let fleet = context.fleet(
        &remote,
        reach.hosts.concurrency(&inventory),
        ForeignPolicy::Refuse,
        reach.limits.limits(&inventory),
    );
    let id = RunId::new(context.now(), &context.entropy)?;
    let scope = if wish.turn == Turn::RevokeNodes { Scope::Nodes(wish.nodes) } else { Scope::All };
    let plan = match &task {
        Task::Begin(mode) => Some(rotate::plan_rotation(
            &fleet,
            access.clusters.as_ref(),
            (&current, &inventory),
            &snapshot,
            Beginning { id: id.as_str(), carrier, mode: *mode, grace: wish.grace, scope },
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
        gate: if wish.turn == Turn::RetireAnyway { Gate::Overridden } else { Gate::Heeded },
    };
    let begun = match (task, plan) {
        (_, Some(plan)) => rotate::begin_rotation(&bench, plan, &snapshot),
        (Task::Continue(record), _) => rotate::turn_rotation(&bench, snapshot, *record),
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

/// A part of the nodes would hold another token than apiservers know.
fn refuse_choice(wish: Wish<'_>, context: &Context) -> Result<(), Failure> {
    let global = &context.global;
    if global.limit.is_empty() && global.shard.is_none() && global.shard_count.is_none() {
        return Ok(());
    }
    let what = match wish.turn {
        Turn::RevokeNodes => "`token revoke` takes no --limit and no --shard: name the nodes",
        Turn::Migrate => "`token migrate` takes no --limit and no --shard: it is about every node's token",
        _ => "`rotate token` takes no --limit and no --shard: it is about every node's token",
    };
    Err(Failure::bad_input("usage", what).hint("--batch and --max-failures bound how it goes over the nodes"))
}

/// What carries the tokens: of a rotation under way, else of one that would begin.
fn carrier(wish: Wish<'_>, inventory: &Inventory, snapshot: &Snapshot) -> Carrier {
    match snapshot.state.as_ref().and_then(|state| state.rotation.as_ref()) {
        Some(record) => record.carrier(),
        None if wish.turn == Turn::Migrate => Carrier::Migration,
        None => match inventory.token_form {
            TokenForm::Csv => Carrier::TokenFile,
            TokenForm::Secret => Carrier::Secrets,
        },
    }
}

/// The inventory that the stored set follows: one whose migration begins still has its row of token.csv.
fn current_inventory(inventory: &Inventory, snapshot: &Snapshot, task: &Task, carrier: Carrier) -> Inventory {
    let mut current = inventory.clone();
    if let Task::Continue(record) = task {
        // What came to the inventory meanwhile is none of its business.
        let is_other = |host: &Host| {
            host.roles.contains(Role::Node)
                && !record.nodes.is_empty()
                && !record.nodes.contains_key(host.name.as_str())
        };
        if !record.is_of_some_nodes() {
            current.hosts.retain(|host| !is_other(host));
        }
    }
    let is_begun = matches!(task, Task::Begin(_));
    let own_tokens = snapshot.state.as_ref().and_then(|state| state.token.as_ref()).map(|own| !own.nodes.is_empty());
    if let (true, Some(per_node)) = (is_begun, own_tokens) {
        // Nodes come to tokens of their own, or leave them, by the rotation itself.
        current.token_per_node = per_node;
    }
    let own = snapshot.state.as_ref().and_then(|state| state.token.as_ref());
    if let (Task::Begin(_), Carrier::Migration, Some(own)) = (task, carrier, own) {
        current.token_form = TokenForm::Csv;
        current.token = TokenSettings { user: own.user.clone(), uid: own.uid.clone(), groups: own.groups.clone() };
    }
    current
}

fn choose(wish: Wish<'_>, snapshot: &Snapshot, store: &Store) -> Result<Task, Failure> {
    let Some(state) = &snapshot.state else { return Err(Failure::nothing_generated(store.dir())) };
    let Some(record) = &state.rotation else {
        return match wish.turn {
            Turn::Resume | Turn::Abort | Turn::RetireAnyway => Err(none_under_way()),
            Turn::Migrate if state.token_form() == Some(TokenForm::Secret) => Err(migrated()),
            Turn::RevokeNow | Turn::RevokeNodes => Ok(Task::Begin(Mode::RevokeNow)),
            Turn::Begin | Turn::Migrate => Ok(Task::Begin(Mode::Overlap)),
        };
    };
    if wish.turn == Turn::Abort {
        let refused = |e: crate::rotation::AbortError| {
            Failure::refused("too_late_to_abort", format!("the rotation cannot be aborted: {e}"))
                .hint("`kubemint rotate token --resume` brings it to its end")
        };
        return record.aborted().map(Box::new).map(Task::Continue).map_err(refused);
    }
    if wish.turn == Turn::RevokeNow && !record.is_of_some_nodes() {
        return Ok(Task::Continue(Box::new(record.revoked())));
    }
    if wish.turn == Turn::RetireAnyway && record.direction == Direction::Back {
        let what = "the rotation is on its way back: the old token is the one that stays";
        return Err(
            Failure::refused("on_its_way_back", what).hint("`kubemint rotate token --resume` brings it to its end")
        );
    }
    if matches!(wish.turn, Turn::Resume | Turn::RetireAnyway) {
        return Ok(Task::Continue(Box::new(record.clone())));
    }
    let since = to_the_second(record.began);
    let what = format!("a rotation is under way since {since} (stage {})", record.stage.name());
    if matches!(wish.turn, Turn::RevokeNow | Turn::RevokeNodes) {
        let hint = match &record.of {
            Some(_) => {
                "it revokes tokens of single nodes: `kubemint rotate token --resume` brings it to its end, --retire-anyway \
                 without nodes that cannot be reached"
            }
            None if record.carried() == Which::New => {
                "bring it to its end, `kubemint rotate token --resume` (--retire-anyway without nodes that cannot be \
                 reached); where the token that leaked is a new one, revoke it after that"
            }
            None => {
                "`kubemint rotate token --revoke-now` drops all old tokens at once; `kubemint rotate token --resume` \
                 brings it to its end"
            }
        };
        return Err(Failure::refused("rotation_under_way", what).hint(hint));
    }
    Err(Failure::refused("rotation_under_way", what).hint(
        "`kubemint rotate token --resume` goes on with it, `kubemint rotate token --abort` goes back to the old token",
    ))
}

/// Before anything is asked or done.
fn refuse_without_own(wish: Wish<'_>, snapshot: &Snapshot) -> Result<(), Failure> {
    let own = snapshot.state.as_ref().and_then(|state| state.token.as_ref());
    match wish.nodes.iter().find(|node| !own.is_some_and(|own| own.nodes.contains_key(*node))) {
        Some(node) => Err(rotate::without_own_token(node).into()),
        None => Ok(()),
    }
}

fn migrated() -> Failure {
    Failure::refused("already_migrated", "the cluster keeps the token in a Secret already")
        .hint("`kubemint rotate token` puts a new one in its place")
}

fn none_under_way() -> Failure {
    Failure::refused("no_rotation", "no rotation is under way").hint("`kubemint rotate token` begins one")
}

/// The stored set under the lock, as the inventory asks for it; what a killed run left half-written is put right.
fn consistent(context: &Context, inventory: &Inventory, store: &Store, held: &Lock) -> Result<Snapshot, Failure> {
    let Prepared { snapshot, plan, .. } = Prepared::unannounced(context, inventory)?;
    if snapshot.interrupted || !rotate::is_settled(&snapshot) {
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

fn close(context: &Context, report: &RotationReport) -> Result<Exit, Failure> {
    if let Some(what) = &report.unrecorded {
        context.output.warn(&format!("the record of this run is incomplete: {what}"));
    }
    report.remarks.iter().for_each(|remark| context.output.warn(remark));
    context.output.answer(report, || answer::text(report))?;
    Ok(match (report.state, context.signals.exit()) {
        (State::Paused, Some(interrupted)) => interrupted,
        (State::Paused, None) => Exit::Paused,
        (State::Done | State::Aborted, _) if report.pending.is_empty() => Exit::Done,
        (State::Done | State::Aborted, _) => Exit::HostsFailed,
    })
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let Refusal { code, message, hint, is_bad_input } = refusal;
        let failure = if is_bad_input { Self::bad_input(code, "") } else { Self::refused(code, "") };
        failure.in_lines(&message).hint(hint)
    }
}
