//! `kubemint reissue kube-proxy`: new certificates while the old ones still hold, onto the nodes, batch by batch.
//!
//! The order is what makes it safe: all is made in memory, shown to the apiservers, stored, and only then installed; each
//! host's kube-proxy is restarted right after its file changed. A run that dies anywhere leaves pairs that work, and
//! `--if-expiring` goes on where the last one stopped.

mod plan;
mod probe;

use super::{
    args::parse_duration,
    context::Context,
    distribute::{asks, close_run, closing_text, declined},
    failure::{Exit, Failure},
    generate::{is_external, remedy},
    hosts::{InstallArgs, counted},
    limits::LimitArgs,
    output::Output,
    progress::Progress,
    retry::answer_not_begun,
};
use crate::{
    bundle,
    inventory::{Host, Inventory},
    store::RunId,
    workflow::{
        distribute::Order,
        generate::{Step, StepAction},
        reissue::{self, Restarts},
        report::RunReport,
        restarts::Duty,
    },
};
use jiff::SignedDuration;
use plan::{Planned, Work};
use serde::Serialize;

/// Make certificates anew before they end, and bring them to the hosts
#[derive(Debug, clap::Args)]
#[command(
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "\
Examples:
  kubemint reissue kube-proxy
  kubemint reissue kube-proxy --if-expiring 30d --yes"
)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    KubeProxy(KubeProxyArgs),
}

/// New kube-proxy certificates, with new keys, onto the nodes
#[derive(Debug, clap::Args)]
#[command(
    long_about = "New kube-proxy certificates, with new keys, onto the nodes.\n\n\
        The new certificate is shown to every control-plane host's apiserver first (system:kube-proxy must be its name \
        there), then stored; then the nodes get their kube-proxy.kubeconfig, in batches, and services.kube-proxy is run on \
        each whose file changed. The earlier certificate holds until it ends, so nothing stands still meanwhile; \
        `rollback last` puts it back.\n\n\
        With certificates.kube-proxy.per_node, or --per-node, each node has a key and a certificate of its own. Hosts where \
        something failed: exit 3, and --retry last does them.\n\n\
        Where the CA's key is elsewhere nothing can be made here: --imported brings what `cert import` took to the nodes, in \
        the same way; nodes that have it already are left alone.",
    after_help = "\
Examples:
  kubemint reissue kube-proxy --batch 10% --max-failures 0
  kubemint reissue kube-proxy --if-expiring 30d --yes    from a timer: does nothing until something is due
  kubemint reissue kube-proxy --per-node --limit 'node-1*'
  kubemint reissue kube-proxy --retry last
  kubemint reissue kube-proxy --imported --batch 10%     after `cert csr`, a CA elsewhere, `cert import`"
)]
pub(super) struct KubeProxyArgs {
    /// Only certificates that end within this time; with none, go on where the last reissue stopped, or do nothing
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    if_expiring: Option<SignedDuration>,
    /// Make new keys too (the default)
    #[arg(long, conflicts_with = "keep_key")]
    new_key: bool,
    /// Certify the keys there are once more
    #[arg(long)]
    keep_key: bool,
    /// A key of its own for every node, from now on, where the inventory does not say
    #[arg(long)]
    per_node: bool,
    /// Make nothing: only the hosts that RUN, an earlier reissue, did not bring to an end
    #[arg(long, value_name = "RUN", conflicts_with_all = ["if_expiring", "new_key", "keep_key", "per_node"])]
    retry: Option<String>,
    /// Make nothing: bring the certificates that `cert import` took, of a CA whose key is elsewhere
    #[arg(long, conflicts_with_all = ["if_expiring", "new_key", "keep_key", "per_node", "retry"])]
    imported: bool,
    #[command(flatten)]
    probe: probe::Args,
    #[command(flatten)]
    install: InstallArgs,
    #[command(flatten)]
    limits: LimitArgs,
}

/// The report, with what only the command line adds.
#[derive(Serialize)]
struct Document<'a> {
    #[serde(flatten)]
    report: &'a RunReport,
    #[serde(flatten)]
    more: More<'a>,
}

#[derive(Serialize)]
struct More<'a> {
    steps: &'a [Step],
    identity: &'a probe::Answers,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Exit, Failure> {
    match &args.command {
        Command::KubeProxy(args) => run_kube_proxy(args, context),
    }
}

fn run_kube_proxy(args: &KubeProxyArgs, context: &Context) -> Result<Exit, Failure> {
    let inventory = context.inventory()?;
    let planned = Planned::new(args, context, &inventory)?;
    if planned.hosts.is_empty() && (planned.plan.is_current() || planned.work != Work::Renewal) {
        return nothing_to_do(context, &inventory, &planned);
    }
    confirm(context, &planned)?;
    let remote = context.remote(&inventory, &args.install.hosts, &planned.hosts)?;
    let ask = |planned: &Planned| args.probe.ask(context, &inventory, planned);
    // Before the lock: what is refused touches nothing.
    let answers = ask(&planned)?;
    let held = planned.store.lock()?;
    let (planned, answers) = match planned.is_current()? {
        true => (planned, answers),
        false => {
            let planned = Planned::new(args, context, &inventory)?;
            let answers = ask(&planned)?;
            (planned, answers)
        }
    };
    let journal = planned.store.start_run(RunId::new(context.now(), &context.entropy)?)?;
    let Planned { store, snapshot, plan, work, hosts, owed, of } = planned;
    let (steps, changes_form) = (plan.steps.clone(), plan.changes_form());
    let (set, state) = match plan.commit(&store, &held, &snapshot, &context.clock) {
        Ok(committed) => committed,
        Err(error) => {
            journal.discard();
            return Err(error.into());
        }
    };
    for step in steps.iter().filter(|step| step.action != StepAction::Kept) {
        context.output.note(&format!("{}: {} ({})", step.artifact, step.action.name(), step.reason));
    }
    let bundles = reissue::only_kube_proxy(bundle::build_bundles(&hosts, &set)?);
    let progress = Progress::new(context.output, bundles.len());
    let (concurrency, limits) = (args.install.hosts.concurrency(&inventory), args.limits.limits(&inventory));
    let fleet = context.fleet(&remote, concurrency, args.install.foreign(), limits);
    let command = inventory.services.kube_proxy.as_deref();
    let restarts = Restarts { command, limit: inventory.services.restart_timeout, owed: &owed };
    // Where it restarts kube-proxy itself, nothing is left to do.
    let duty = command.is_none().then_some(Duty { inventory: &inventory, debts: None });
    let order = Order { command: reissue::COMMAND, generation: state.generation, of: of.as_deref(), duty };
    let done = reissue::run_reissue(&fleet, &bundles, restarts, order, &journal, &progress)?;
    progress.finish();
    let (report, exit) = close_run(context, done);
    let more = More { steps: &steps, identity: &answers };
    let document = Document { report: &report, more };
    context.output.answer(&document, || {
        let again = format!("`kubemint reissue kube-proxy --retry {}`", report.run_id);
        text(context.output, &report, &again, &answers)
    })?;
    if changes_form || is_of_all(&steps, work) {
        say_left_out(context, &inventory, &hosts);
    }
    Ok(exit)
}

fn confirm(context: &Context, planned: &Planned) -> Result<(), Failure> {
    if !asks(context) {
        return Ok(());
    }
    for step in planned.plan.steps.iter().filter(|step| step.action != StepAction::Kept) {
        context.output.note(&format!("to {}: {} ({})", step.action.imperative(), step.artifact, step.reason));
    }
    let hosts = counted(planned.hosts.len(), "host");
    if context.output.ask(&format!("Install on {hosts}, and restart kube-proxy there?"))? {
        return Ok(());
    }
    Err(declined())
}

fn nothing_to_do(context: &Context, inventory: &Inventory, planned: &Planned) -> Result<Exit, Failure> {
    if let Some(step) = planned.plan.steps.iter().find(|step| step.action != StepAction::Kept) {
        let Step { artifact, reason, .. } = step;
        context.output.warn(&format!("{artifact} is not current ({reason}): {}", remedy(step, inventory)));
    }
    let generation = planned.snapshot.state.as_ref().map_or(0, |state| state.generation);
    let order = Order { command: reissue::COMMAND, generation, of: planned.of.as_deref(), duty: None };
    let kept: Vec<Step> = planned.plan.steps.iter().filter(|step| step.action == StepAction::Kept).cloned().collect();
    let more = More { steps: &kept, identity: &probe::Answers::default() };
    answer_not_begun(context, order, more, || match &planned.work {
        Work::Renewal | Work::Imported => "nothing to do: none of the hosts chosen is a node\n".to_owned(),
        Work::Rest => {
            "nothing to retry: that run brought all of its hosts to an end, or none of them is chosen\n".to_owned()
        }
        Work::NothingDue => {
            let kept = kept.iter().filter(|step| plan::is_ours(step.artifact));
            let kept: Vec<String> = kept.map(|step| format!("{}: {}", step.artifact, step.reason)).collect();
            format!("nothing is due ({})\n", kept.join("; "))
        }
    })
}

fn text(output: &Output, report: &RunReport, again: &str, answers: &probe::Answers) -> String {
    let restarted = report.hosts.iter().filter(|host| host.restart.as_ref().is_some_and(|one| one.outcome == "done"));
    let restarted = match restarted.count() {
        0 => String::new(),
        count => format!("kube-proxy restarted on {}\n", counted(count, "host")),
    };
    closing_text(output, report, again) + &restarted + &answers.text()
}

/// Whether all nodes share what is new.
fn is_of_all(steps: &[Step], work: Work) -> bool {
    let shared_is_new = steps.iter().any(|step| step.artifact == plan::SHARED && step.action != StepAction::Kept);
    let is_shared = !steps.iter().any(|step| step.artifact == plan::OF_NODES);
    is_shared && (shared_is_new || work == Work::Imported)
}

/// With --limit the others hold the earlier certificate where all share one, or did until now.
fn say_left_out(context: &Context, inventory: &Inventory, hosts: &[&Host]) {
    let left = plan::nodes(&inventory.hosts.iter().collect::<Vec<_>>()).len().saturating_sub(hosts.len());
    if left > 0 {
        let nodes = counted(left, "other node");
        let next = match is_external(inventory) {
            true => "`kubemint reissue kube-proxy --imported` brings the new one",
            // Without --imported a reissue makes another one, and --retry is for the nodes of that run.
            false => "`kubemint distribute` brings the new one, where kube-proxy has to be restarted then",
        };
        context.output.note(&format!("{nodes}: the earlier certificate, which holds until it ends; {next}"));
    }
}
