//! `distribute --retry RUN`: the hosts that an earlier run did not bring to an end, and what is said when there are none.

use super::{
    context::Context,
    failure::{Exit, Failure},
    hosts::{self, counted},
    runs::RunsArgs,
};
use crate::{
    inventory::{Host, Inventory},
    store::Store,
    workflow::{
        distribute::Order,
        report::{RunReport, Summary},
        runs::{KeptRun, RunState},
    },
};
use serde::Serialize;
use std::collections::HashSet;

/// An earlier run, ended one way or another.
pub(super) struct Retried(KeptRun);

impl Retried {
    pub(super) fn read(context: &Context, store: &Store, wanted: &str, runs: &RunsArgs) -> Result<Self, Failure> {
        let run = runs.read_to_retry(context, store, wanted)?;
        if run.is_rollback() {
            let what = format!(
                "run {} is a rollback: a retry would install what it put away",
                run.id.as_deref().unwrap_or(wanted)
            );
            return Err(Failure::bad_input("run_is_rollback", what)
                .hint(format!("`{}` does what it left undone", run.command_again())));
        }
        if run.is_rebootstrap() {
            let what = format!("run {} let nodes join anew: it installed nothing", run.id.as_deref().unwrap_or(wanted));
            return Err(Failure::bad_input("run_is_rebootstrap", what)
                .hint(format!("`{}` does what it left undone", run.command_again())));
        }
        if run.is_rotation() {
            let what = format!("run {} is a part of a rotation", run.id.as_deref().unwrap_or(wanted));
            return Err(Failure::bad_input("run_is_rotation", what)
                .hint(format!("`{}` does what it left undone", run.command_again())));
        }
        Self::ended(run, wanted)
    }

    /// As [`RunsArgs::read_to_undo`].
    pub(super) fn to_undo(context: &Context, store: &Store, wanted: &str, runs: &RunsArgs) -> Result<Self, Failure> {
        Self::ended(runs.read_to_undo(context, store, wanted)?, wanted)
    }

    fn ended(run: KeptRun, wanted: &str) -> Result<Self, Failure> {
        if run.state == RunState::Running {
            let what = format!("run {} is still under way", run.id.as_deref().unwrap_or(wanted));
            return Err(Failure::refused("run_under_way", what).hint("wait until it ends"));
        }
        Ok(Self(run))
    }

    pub(super) fn run(&self) -> &KeptRun {
        &self.0
    }

    pub(super) fn id(self) -> Option<String> {
        self.0.id
    }

    /// What of `chosen` is to be done again. Says which hosts are not in the inventory any more.
    pub(super) fn hosts<'h>(
        &self,
        context: &Context,
        inventory: &Inventory,
        chosen: Vec<&'h Host>,
        generation: u64,
    ) -> Vec<&'h Host> {
        let undone: HashSet<&str> = self.0.undone().collect();
        warn_of_gone(context, inventory, self.0.undone());
        let twins: Vec<&str> = self.0.twins().collect();
        if !twins.is_empty() {
            context.output.warn(&format!(
                "not retried: {}, another name of a machine that was done, which asks for other files (same_machine): list it \
                 once, with all of its roles",
                hosts::listed(&twins)
            ));
        }
        match self.0.generation {
            Some(earlier) if earlier < generation && !undone.is_empty() => context.output.note(&format!(
                "that run installed generation {earlier}; its hosts now get generation {generation}, which the others may \
                 not have"
            )),
            _ => {}
        }
        chosen.into_iter().filter(|host| undone.contains(host.name.as_str())).collect()
    }
}

impl Retried {
    /// As [`Retried::hosts`], of hosts of which nothing is said.
    pub(super) fn undone_of<'h>(&self, chosen: Vec<&'h Host>) -> Vec<&'h Host> {
        let undone: HashSet<&str> = self.0.undone().collect();
        chosen.into_iter().filter(|host| undone.contains(host.name.as_str())).collect()
    }
}

/// Hosts of a run that the inventory does not have any more.
pub(super) fn warn_of_gone<'r>(context: &Context, inventory: &Inventory, of_run: impl Iterator<Item = &'r str>) {
    let known: HashSet<&str> = inventory.hosts.iter().map(|host| host.name.as_str()).collect();
    let gone: Vec<&str> = of_run.filter(|name| !known.contains(name)).collect();
    if !gone.is_empty() {
        let are = if gone.len() == 1 { "is" } else { "are" };
        context.output.warn(&format!("{} {are} not in the inventory any more", hosts::listed(&gone)));
    }
}

/// The document of a run that was not needed; `more` is what only its command adds.
#[derive(Serialize)]
struct Document<T: Serialize> {
    schema: &'static str,
    version: u32,
    run_id: Option<String>,
    command: &'static str,
    of: Option<String>,
    generation: u64,
    hosts: [(); 0],
    summary: Summary,
    #[serde(flatten)]
    more: T,
    next_steps: [(); 0],
}

/// Of a run that makes no credentials.
#[derive(Clone, Copy, Serialize)]
pub(super) struct NoSteps {
    steps: [(); 0],
}

impl NoSteps {
    pub(super) const NONE: Self = Self { steps: [] };
}

/// Answers for a run that was not needed, and so not begun: `last` stays what it was.
pub(super) fn answer_not_begun(
    context: &Context,
    order: Order,
    more: impl Serialize,
    text: impl FnOnce() -> String,
) -> Result<Exit, Failure> {
    let document = Document {
        schema: RunReport::SCHEMA,
        version: RunReport::VERSION,
        run_id: None,
        command: order.command,
        of: order.of.map(str::to_owned),
        generation: order.generation,
        hosts: [],
        summary: Summary::default(),
        more,
        next_steps: [],
    };
    context.output.answer(&document, text)?;
    Ok(Exit::Done)
}

/// There is no host to work on.
pub(super) fn nothing_to_do(context: &Context, generation: u64, retried: Option<&Retried>) -> Result<Exit, Failure> {
    let of = retried.and_then(|retried| retried.0.id.as_deref());
    let order = Order { command: "distribute", generation, of, duty: None };
    answer_not_begun(context, order, NoSteps::NONE, || match retried {
        None => "nothing to do: no host is left\n".to_owned(),
        Some(Retried(run)) => {
            let name = run.id.as_deref().unwrap_or("that report");
            let (all, undone) = (counted(run.hosts.len(), "host"), run.undone().count());
            match undone {
                0 if run.twins().next().is_some() => format!("nothing to retry: of {name} nothing else is left\n"),
                0 => format!("nothing to retry: {name} brought all of its {all} to an end\n"),
                _ => format!("nothing to retry: none of the {undone} open hosts of {name} is among those chosen\n"),
            }
        }
    })
}
