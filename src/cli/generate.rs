//! `kubemint generate`: the credential set on this machine, no host touched.

use super::{
    context::Context,
    failure::{Exit, Failure},
    output::{Output, Tone},
};
use crate::{
    bundle::CredentialSet,
    inventory::{CaSource, Inventory},
    rotation::Direction,
    secret::printable,
    store::{Lock, Snapshot, State, Store},
    workflow::{
        generate::{self, Generation, Step, StepAction},
        report::ErrorReport,
    },
};
use serde::Serialize;

/// Make the credentials that are missing or that the inventory now asks for differently
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Make the credentials that are missing or that the inventory now asks for differently.\n\n\
        What is there and still right is kept byte for byte: a second run changes nothing. A changed server address \
        rebuilds the kubeconfigs and keeps token and keys. A CA is never replaced. No host is touched.",
    after_help = "\
Examples:
  kubemint generate
  kubemint -i prod.toml generate -o json | jq '.steps[] | select(.action != \"kept\")'"
)]
pub(super) struct Args {}

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    version: u32,
    state_dir: String,
    generation: u64,
    changed: bool,
    steps: &'a [Step],
}

/// The credential set after a generation, with the lock that still protects it.
pub(super) struct Generated {
    pub(super) set: CredentialSet,
    pub(super) steps: Vec<Step>,
    pub(super) state: State,
    pub(super) store: Store,
    /// Held until the caller is done with the hosts too.
    pub(super) _held: Lock,
}

pub(super) fn run(_: &Args, context: &Context) -> Result<Exit, Failure> {
    let inventory = context.inventory()?;
    let prepared = Prepared::new(context, &inventory)?;
    if prepared.is_current() && prepared.store.is_idle() {
        let generation = prepared.snapshot.state.as_ref().map_or(0, |state| state.generation);
        return answer(context, &prepared.store, generation, &prepared.plan.steps);
    }
    let done = prepared.lock(context, &inventory)?.commit(context)?;
    answer(context, &done.store, done.state.generation, &done.steps)
}

fn answer(context: &Context, store: &Store, generation: u64, steps: &[Step]) -> Result<Exit, Failure> {
    let changed = steps.iter().any(|step| step.action != StepAction::Kept);
    let state_dir = store.dir().display().to_string();
    let document = Document { schema: "kubemint/generate", version: 1, state_dir, generation, changed, steps };
    context.output.answer(&document, || {
        let end = if changed {
            format!("generation {generation} in {}\n", printable(&document.state_dir))
        } else {
            format!("nothing to do: generation {generation} in {} is current\n", printable(&document.state_dir))
        };
        steps_table(context.output, steps, StepAction::name) + &end
    })?;
    Ok(Exit::Done)
}

/// The stored set is then that of its stage, which hosts may safely hold.
pub(super) fn note_rotation(context: &Context, snapshot: &Snapshot) {
    let Some(rotation) = snapshot.state.as_ref().and_then(|state| state.rotation.as_ref()) else { return };
    let (stage, back) = (rotation.stage.name(), rotation.direction == Direction::Back);
    let way = if back { ", on its way back" } else { "" };
    context.output.note(&format!(
        "a rotation of the token is under way (stage {stage}{way}): `kubemint rotate token --resume` goes on with it"
    ));
}

/// What has to be made, decided before anything, even the lock file, is touched.
pub(super) struct Prepared {
    pub(super) store: Store,
    pub(super) snapshot: Snapshot,
    pub(super) plan: Generation,
}

impl Prepared {
    /// Says so where a rotation is under way.
    pub(super) fn new(context: &Context, inventory: &Inventory) -> Result<Self, Failure> {
        let prepared = Self::unannounced(context, inventory)?;
        note_rotation(context, &prepared.snapshot);
        Ok(prepared)
    }

    /// The same, for the rotation itself.
    pub(super) fn unannounced(context: &Context, inventory: &Inventory) -> Result<Self, Failure> {
        let given = generate::read_given_authority(inventory, context.now())?;
        let store = context.store(inventory);
        let snapshot = store.load()?;
        let plan = generate::plan_generation(inventory, given, &snapshot, context.now(), &context.entropy)?;
        Ok(Self { store, snapshot, plan })
    }

    /// The same, for a command that only shows: a CA that is out of date is told, beside everything else.
    pub(super) fn to_show(context: &Context, inventory: &Inventory) -> Result<(Self, Option<ErrorReport>), Failure> {
        let given = generate::read_given_authority(inventory, context.now())?;
        let store = context.store(inventory);
        let snapshot = store.load()?;
        let plan = generate::plan_to_show(inventory, given, &snapshot, context.now(), &context.entropy)?;
        note_rotation(context, &snapshot);
        let problem = plan.out_of_date().map(|error| {
            let code = error.out_of_date_code().unwrap_or("ca_invalid");
            ErrorReport { code, message: error.to_string(), hint: error.hint() }
        });
        if let Some(ErrorReport { message, hint, .. }) = &problem {
            context.output.warn(&format!("{message}\n  hint: {hint}"));
        }
        Ok((Self { store, snapshot, plan }, problem))
    }

    /// Whether committing would write nothing.
    pub(super) fn is_current(&self) -> bool {
        self.plan.is_current() && !self.snapshot.interrupted
    }

    /// Takes the lock; decides anew if another run changed the directory in between.
    pub(super) fn lock(self, context: &Context, inventory: &Inventory) -> Result<Locked, Failure> {
        let held = self.store.lock()?;
        self.under(held, context, inventory)
    }

    /// The same, for who writes nothing there: others may read at the same time.
    pub(super) fn share(self, context: &Context, inventory: &Inventory) -> Result<Locked, Failure> {
        let held = self.store.share()?;
        self.under(held, context, inventory)
    }

    fn under(self, held: Lock, context: &Context, inventory: &Inventory) -> Result<Locked, Failure> {
        let snapshot = self.store.load()?;
        let prepared = if snapshot.is_same_as(&self.snapshot) { self } else { Self::unannounced(context, inventory)? };
        Ok(Locked { prepared, held })
    }
}

/// What has to be made, and nobody else can change it any more.
pub(super) struct Locked {
    pub(super) prepared: Prepared,
    held: Lock,
}

impl Locked {
    /// Writes what differs; the lock stays with the result.
    pub(super) fn commit(self, context: &Context) -> Result<Generated, Failure> {
        let Self { prepared: Prepared { store, snapshot, plan }, held } = self;
        let steps = plan.steps.clone();
        let (set, state) = plan.commit(&store, &held, &snapshot, &context.clock)?;
        let is_new = steps.iter().any(|step| step.artifact == "token" && step.action == StepAction::Created);
        if is_new && state.token.as_ref().is_some_and(|token| token.secret.is_some()) {
            let next = "`kubemint token manifest | kubectl apply -f -`";
            context.output.note(&format!("next: the cluster is to get the token's Secret: {next}"));
        }
        Ok(Generated { set, steps, state, store, _held: held })
    }
}

/// It embeds the certificate that nodes share.
pub(super) const EMBEDS_SHARED: &str = "kube-proxy.kubeconfig";

/// What does a step that was only planned.
pub(super) fn remedy(step: &Step, inventory: &Inventory) -> &'static str {
    match step.artifact == EMBEDS_SHARED && is_external(inventory) {
        true => "`kubemint reissue kube-proxy --imported` brings what was imported to the hosts",
        false => "run `kubemint apply`",
    }
}

/// Whether the CA's key is elsewhere.
pub(super) const fn is_external(inventory: &Inventory) -> bool {
    matches!(inventory.ca, CaSource::External { .. })
}

/// The steps as a table; `word` says an action as done or as planned.
pub(super) fn steps_table(output: &Output, steps: &[Step], word: fn(StepAction) -> &'static str) -> String {
    Output::table(
        ["CREDENTIAL", "ACTION", "REASON"],
        steps.iter().map(|step| {
            let tone = if step.action == StepAction::Kept { Tone::Faint } else { Tone::Changed };
            [step.artifact.to_owned(), output.paint(tone, word(step.action)), step.reason.clone()]
        }),
    )
}
