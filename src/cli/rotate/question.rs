//! The plan of a rotation in words, and the question whether it is to begin.

use super::token::{Turn, Wish};
use crate::{
    cli::{context::Context, distribute::confirm_or_refuse, failure::Failure, hosts::counted},
    inventory::{Inventory, Role},
    rotation::{Carrier, Mode},
    store::Snapshot,
};

/// Says what will be done, and asks.
pub(super) fn confirm(
    wish: Wish<'_>,
    context: &Context,
    (inventory, carrier): (&Inventory, Carrier),
    snapshot: &Snapshot,
    mode: Mode,
) -> Result<(), Failure> {
    let of = |role| inventory.hosts.iter().filter(|host| host.roles.contains(role)).count();
    let masters = counted(of(Role::ControlPlane), "control-plane host");
    let nodes = if wish.nodes.is_empty() { counted(of(Role::Node), "node") } else { wish.nodes.join(", ") };
    let state = snapshot.state.as_ref();
    let under_way = state.and_then(|state| state.rotation.as_ref()).map(|record| record.old);
    let old = under_way.or_else(|| Some(state?.token.as_ref()?.fingerprint)).map(|old| old.to_string());
    let say = |line: &str| context.output.note(line);
    if wish.nodes.is_empty() {
        let own = state.and_then(|state| state.token.as_ref()).is_some_and(|token| !token.nodes.is_empty());
        let more = match (own, inventory.token_per_node) {
            (true, true) => ", and each node's own",
            (false, true) => "; each node gets a token of its own",
            (true, false) => ", and each node's own: all share one after that",
            (false, false) => "",
        };
        say(&format!("to rotate: bootstrap token {} of user {}{more}", old.unwrap_or_default(), inventory.token.user));
    } else {
        let own = state.and_then(|state| state.token.as_ref()).map(|token| &token.nodes);
        let named = |node: &String| match own.and_then(|nodes| nodes.get(node)) {
            Some(token) => format!("{node} ({})", token.fingerprint),
            None => node.clone(),
        };
        let all: Vec<String> = wish.nodes.iter().map(named).collect();
        say(&format!("to revoke: the own bootstrap token of {}", all.join(", ")));
    }
    let until = if wish.nodes.is_empty() { "nodes" } else { "they" };
    let restarted = |what: &str| format!("{what}, one by one");
    let (accept, retire, on) = match carrier {
        Carrier::TokenFile => (
            "token.csv with both tokens, kube-apiserver restarted and the new token probed",
            "token.csv with the new token only, kube-apiserver restarted and the old token refused",
            [restarted(&masters), restarted(&masters)],
        ),
        Carrier::Secrets => (
            "a Secret with the new token in kube-system, the new token probed",
            "the old Secret deleted, the old token refused",
            [masters.clone(), masters.clone()],
        ),
        Carrier::Migration => (
            "a Secret with the new token in kube-system, the new token probed",
            "token.csv without our row, kube-apiserver restarted and the old token refused",
            [masters.clone(), restarted(&masters)],
        ),
    };
    let [on_accept, on_retire] = on;
    match mode {
        Mode::Overlap => {
            say(&format!("  accept   {accept}: {on_accept}"));
            say(&format!("  switch   bootstrap.kubeconfig with the new token: {nodes}"));
            say("  approve  what nodes ask for");
            say("  verify   every node, every apiserver");
            if let Some(grace) = wish.grace {
                say(&format!("  grace    both tokens for {grace:#}"));
            }
            say(&format!("  retire   {retire}: {on_retire}"));
        }
        Mode::RevokeNow => {
            say(&format!("  retire   {retire}: {on_retire}; until then {until} cannot join"));
            say(&format!("  switch   bootstrap.kubeconfig with the new token: {nodes}"));
            say("  approve  what nodes ask for");
            say("  verify   every node, every apiserver");
        }
    }
    let question = match mode {
        Mode::Overlap if carrier == Carrier::Migration => "Migrate the bootstrap token to a Secret?",
        Mode::Overlap => "Rotate the bootstrap token?",
        Mode::RevokeNow if wish.turn == Turn::RevokeNodes => "Revoke their bootstrap tokens now?",
        Mode::RevokeNow => "Revoke the bootstrap token now?",
    };
    confirm_or_refuse(context, question)
}
