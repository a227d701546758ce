//! What a reissue makes, and on which hosts it works: decided before anything, even the lock file, is touched.

use super::{
    super::{
        context::Context,
        failure::Failure,
        generate::{EMBEDS_SHARED, is_external, remedy},
        retry::Retried,
        runs::RunsArgs,
    },
    KubeProxyArgs,
};
use crate::{
    clock::day,
    inventory::{Host, Inventory, Role},
    pki,
    store::{Snapshot, Store},
    workflow::{
        generate::{
            self, Due, Form, Generation, KeyChoice, NODES_ARTIFACT, Renewal, Step, StepAction, plan_generation,
            plan_renewal,
        },
        reissue,
        runs::{self, KeptRun},
    },
};
use std::collections::HashSet;

pub(super) const SHARED: &str = pki::KUBE_PROXY.name;
pub(super) const OF_NODES: &str = NODES_ARTIFACT;

/// Whether a reissue may make it; for the rest there is `apply`.
pub(super) fn is_ours(artifact: &str) -> bool {
    [SHARED, OF_NODES].contains(&artifact)
}

/// Those that have a kube-proxy of ours.
pub(super) fn nodes<'h>(hosts: &[&'h Host]) -> Vec<&'h Host> {
    hosts.iter().copied().filter(|host| host.roles.contains(Role::Node)).collect()
}

/// What kind of run it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    /// New certificates.
    Renewal,
    /// What an earlier run left undone.
    Rest,
    /// What `cert import` took.
    Imported,
    NothingDue,
}

pub(super) struct Planned<'h> {
    pub(super) store: Store,
    pub(super) snapshot: Snapshot,
    pub(super) plan: Generation,
    pub(super) work: Work,
    /// Where it is installed.
    pub(super) hosts: Vec<&'h Host>,
    /// Hosts whose kube-proxy may not have read the file it has.
    pub(super) owed: HashSet<String>,
    /// The run that this one goes on with.
    pub(super) of: Option<String>,
}

impl<'h> Planned<'h> {
    pub(super) fn new(args: &KubeProxyArgs, context: &Context, inventory: &'h Inventory) -> Result<Self, Failure> {
        if args.per_node && inventory.kube_proxy.per_node == Some(false) {
            let what = "certificates.kube-proxy.per_node is false in the inventory";
            return Err(Failure::bad_input("per_node_conflict", what).hint("set it to true, or leave --per-node out"));
        }
        let chosen = context.hosts(inventory)?;
        let store = context.store(inventory);
        let snapshot = store.load()?;
        if snapshot.state.is_none() {
            return Err(Failure::nothing_generated(store.dir()));
        }
        if let Some(wanted) = &args.retry {
            return Self::of_rest(context, inventory, store, snapshot, chosen, wanted);
        }
        if args.imported {
            return Self::of_import(context, inventory, store, snapshot, &chosen);
        }
        let global = &context.global;
        if global.shard.is_some() || global.shard_count.is_some() {
            let what = "a reissue takes no --shard: each part would make a certificate of its own";
            return Err(Failure::bad_input("usage", what)
                .hint("run `kubemint reissue kube-proxy --limit NODE`, then `kubemint distribute` in shards"));
        }
        let nodes = nodes(&chosen);
        let given = generate::read_given_authority(inventory)?;
        let is_limited = nodes.len() < self::nodes(&inventory.hosts.iter().collect::<Vec<_>>()).len();
        let mut renewal = Renewal {
            due: args.if_expiring.map_or(Due::Now, Due::Within),
            key: if args.keep_key { KeyChoice::Kept } else { KeyChoice::New },
            nodes: is_limited.then(|| nodes.iter().map(|host| host.name.as_str().to_owned()).collect()),
            form: if args.per_node { Form::PerNode } else { Form::AsIs },
        };
        if nodes.is_empty() && args.if_expiring.is_none() {
            renewal.due = Due::Within(jiff::SignedDuration::MIN);
        }
        // The one that nodes share is everybody's, whichever of them are chosen.
        if !args.per_node && !generate::is_per_node(inventory, snapshot.state.as_ref()) {
            renewal.nodes = None;
        }
        let (now, entropy) = (context.now(), &context.entropy);
        let plan = plan_renewal(inventory, given, &snapshot, now, entropy, &renewal)?;
        refuse_other_work(&plan, inventory)?;
        warn_of_ca(args, context, &snapshot);
        let rest = reissue::find_rest(newest_first(&store), nodes.iter().map(|host| host.name.as_str()));
        let owed = rest.hosts;
        let is_made = plan.steps.iter().any(|step| is_ours(step.artifact) && step.action != StepAction::Kept);
        let (work, hosts, of) = match (is_made || snapshot.interrupted, args.if_expiring) {
            (true, _) => (Work::Renewal, touched(&plan, nodes, &owed), None),
            (false, None) => (Work::Renewal, Vec::new(), None),
            (false, Some(_)) => {
                let is_left = |host: &&Host| [&owed, &rest.unsure].iter().any(|left| left.contains(host.name.as_str()));
                let hosts: Vec<&Host> = nodes.into_iter().filter(is_left).collect();
                let work = if hosts.is_empty() { Work::NothingDue } else { Work::Rest };
                (work, hosts, rest.run)
            }
        };
        Ok(Self { store, snapshot, plan, work, hosts, owed, of })
    }

    fn of_rest(
        context: &Context,
        inventory: &'h Inventory,
        store: Store,
        snapshot: Snapshot,
        chosen: Vec<&'h Host>,
        wanted: &str,
    ) -> Result<Self, Failure> {
        let retried = Retried::read(context, &store, wanted, &RunsArgs::default())?;
        if retried.run().command.as_deref() != Some(reissue::COMMAND) {
            return Err(Failure::bad_input("run_is_no_reissue", "that run is no reissue")
                .hint(format!("`{}` does what it left undone", retried.run().command_again())));
        }
        let given = generate::read_given_authority(inventory)?;
        let plan = plan_generation(inventory, given, &snapshot, context.now(), &context.entropy)?;
        if let Some(step) = plan.steps.iter().find(|step| step.action != StepAction::Kept) {
            return Err(not_current(step, inventory));
        }
        let generation = snapshot.state.as_ref().map_or(0, |state| state.generation);
        let owed = retried.run().undone().map(str::to_owned).collect();
        let hosts = nodes(&retried.hosts(context, inventory, chosen, generation));
        Ok(Self { store, snapshot, plan, work: Work::Rest, hosts, owed, of: retried.id() })
    }

    fn of_import(
        context: &Context,
        inventory: &'h Inventory,
        store: Store,
        snapshot: Snapshot,
        chosen: &[&'h Host],
    ) -> Result<Self, Failure> {
        if !is_external(inventory) {
            return Err(Failure::bad_input("ca_key_at_hand", "the CA's key is at hand: nothing is imported")
                .hint("leave --imported out: `kubemint reissue kube-proxy` makes new certificates"));
        }
        let given = generate::read_given_authority(inventory)?;
        let plan = plan_generation(inventory, given, &snapshot, context.now(), &context.entropy)?;
        refuse_other_work(&plan, inventory)?;
        let hosts = nodes(chosen);
        let owed = reissue::find_rest(newest_first(&store), hosts.iter().map(|host| host.name.as_str())).hosts;
        Ok(Self { store, snapshot, plan, work: Work::Imported, hosts, owed, of: None })
    }

    /// Whether no other run has changed the directory since.
    pub(super) fn is_current(&self) -> Result<bool, Failure> {
        Ok(self.store.load()?.is_same_as(&self.snapshot))
    }

    /// A node whose own certificate stands for those of all: they differ in key and serial number only.
    #[cfg(feature = "k8s")]
    pub(super) fn sample(&self) -> Option<&str> {
        let own = &self.plan.set.node_clients;
        self.hosts.iter().map(|host| host.name.as_str()).find(|name| own.contains_key(*name))
    }
}

/// Where nodes have their own: those whose pair is new, and those that an earlier run owes.
fn touched<'h>(plan: &Generation, nodes: Vec<&'h Host>, owed: &HashSet<String>) -> Vec<&'h Host> {
    if plan.set.node_clients.is_empty() || plan.changes_form() {
        return nodes;
    }
    let renewed = plan.renewed_nodes();
    let is_touched = |host: &&Host| renewed.contains(host.name.as_str()) || owed.contains(host.name.as_str());
    nodes.into_iter().filter(is_touched).collect()
}

/// A record that cannot be read is for `runs show` to tell of.
fn newest_first(store: &Store) -> impl Iterator<Item = KeptRun> {
    let runs = store.runs();
    let ids = runs.list().unwrap_or_default().into_iter().rev();
    ids.filter_map(move |id| {
        let record = runs.read(&id).ok()?;
        runs::parse_record(id.as_str(), &runs.path(&id), &record).ok()
    })
}

/// A reissue makes certificates; whatever else the inventory asks for is for `apply`, which says so.
fn refuse_other_work(plan: &Generation, inventory: &Inventory) -> Result<(), Failure> {
    let follows = |artifact: &str| is_ours(artifact) || artifact == EMBEDS_SHARED;
    match plan.steps.iter().find(|step| step.action != StepAction::Kept && !follows(step.artifact)) {
        Some(step) => Err(not_current(step, inventory)),
        None => Ok(()),
    }
}

fn not_current(step: &Step, inventory: &Inventory) -> Failure {
    let what = format!("the credentials are not what the inventory asks for ({}: {})", step.artifact, step.reason);
    Failure::refused("not_current", what).hint(remedy(step, inventory))
}

/// No certificate outlives its CA: making it anew would not help.
fn warn_of_ca(args: &KubeProxyArgs, context: &Context, snapshot: &Snapshot) {
    let ca = snapshot.state.as_ref().and_then(|state| state.ca.as_ref());
    let (Some(time), Some(ca)) = (args.if_expiring, ca) else { return };
    if ca.not_after.duration_since(context.now()) <= time {
        let end = day(ca.not_after);
        context
            .output
            .warn(&format!("the CA itself ends on {end}, and no certificate outlives it: renew the CA first"));
    }
}
