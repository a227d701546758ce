//! `token_rows_left_out`: apply and distribute hand no node a token that a control-plane host, left out of the command, has
//! not been given. Rows that the command itself would change, and those that an earlier `generate` has changed.

use super::{
    context::Context,
    failure::Failure,
    generate::Prepared,
    hosts,
    retry::Retried,
    runs::{self, RunsArgs},
};
use crate::{
    inventory::{Host, Inventory, Role, TokenForm},
    store::Store,
    workflow::{
        generate::{NODE_TOKENS_ARTIFACT, Step, StepAction, TOKEN_ARTIFACT},
        runs::KeptRun,
        token_reach::{OutOfReach, Reach, find_out_of_reach},
    },
};

const CODE: &str = "token_rows_left_out";

/// A token that no kube-apiserver gets to know is of no use to a node, and one that stays known is of use to others.
pub(super) fn refuse_unknown_rows(
    prepared: &Prepared,
    inventory: &Inventory,
    reached: &[&Host],
) -> Result<(), Failure> {
    let is_new_token = |step: &Step| {
        let is_row = inventory.token_form == TokenForm::Csv;
        step.artifact == TOKEN_ARTIFACT && step.action == StepAction::Created && is_row
    };
    let changed =
        |step: &&Step| step.artifact == NODE_TOKENS_ARTIFACT && step.action != StepAction::Kept || is_new_token(step);
    let Some(step) = prepared.plan.steps.iter().find(changed).filter(|_| prepared.snapshot.state.is_some()) else {
        return Ok(());
    };
    let is_left_out = |host: &&Host| {
        host.roles.contains(Role::ControlPlane) && !reached.iter().any(|reached| reached.name == host.name)
    };
    match inventory.hosts.iter().find(is_left_out) {
        Some(host) => {
            let what = format!("rows of token.csv change ({}), and {} would not get them", step.reason, host.name);
            Err(Failure::refused(CODE, what).hint(
                "choose the control-plane hosts, too: --limit 'role:control-plane,…'; each kube-apiserver reads token.csv at \
                 its next start",
            ))
        }
        None => Ok(()),
    }
}

/// The same of rows that an earlier `generate` has made.
pub(super) fn refuse_early_tokens(
    prepared: &Prepared,
    context: &Context,
    inventory: &Inventory,
    reach: Reach,
    (runs, retried): (&RunsArgs, Option<&Retried>),
) -> Result<(), Failure> {
    let Some(state) = &prepared.snapshot.state else { return Ok(()) };
    let lists = lists(runs, context, &prepared.store, retried.map(Retried::run));
    let Some(OutOfReach { nodes, control_plane }) = find_out_of_reach(inventory, state, reach, lists) else {
        return Ok(());
    };
    let (get, lack) = (hosts::listed(&nodes), hosts::listed(&control_plane));
    let (has, missing) = (if nodes.len() == 1 { "has" } else { "have" }, control_plane.join(","));
    let what = format!(
        "{get} {has} a row in token.csv that was made after the first generation, and no run is recorded that installed it \
         on {get}, nor the rows on {lack}"
    );
    Err(Failure::refused(CODE, what).hint(format!(
        "run `kubemint distribute --limit '{missing}'` first, or choose the control-plane hosts, too: --limit \
         'role:control-plane,…'; each kube-apiserver reads token.csv at its next start"
    )))
}

/// The runs of --runs-dir and of the credential directory, and the run that is retried where it is of neither.
fn lists(
    args: &RunsArgs,
    context: &Context,
    store: &Store,
    retried: Option<&KeptRun>,
) -> Vec<Box<dyn Iterator<Item = KeptRun>>> {
    let directories = runs::directories(args, context, store);
    let ids: Vec<_> = directories.iter().flat_map(|runs| runs.list().unwrap_or_default()).collect();
    let is_listed = |run: &KeptRun| ids.iter().any(|id| Some(id.as_str()) == run.id.as_deref());
    let alone = retried.filter(|run| !is_listed(run)).cloned();
    let mut lists: Vec<Box<dyn Iterator<Item = KeptRun>>> = Vec::new();
    for runs in directories {
        lists.push(Box::new(runs::newest_first(runs)));
    }
    lists.extend(alone.map(|run| Box::new(std::iter::once(run)) as Box<dyn Iterator<Item = KeptRun>>));
    lists
}
