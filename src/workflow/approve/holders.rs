//! Who holds our bootstrap tokens, and for which nodes each may ask: a token that nodes share for all of them, a node's own
//! for that node alone.

use super::{Requester, Scope};
use crate::{
    inventory::{Inventory, Role, TokenForm, TokenSettings},
    rotation::{Record, Which},
    store::State,
    token::{BootstrapTokenSecret, SecretTerms, node_holder},
};
use std::collections::BTreeSet;

/// Of token.csv as the inventory names them, and of either form as they were when the tokens were made.
#[must_use]
pub fn token_holders(inventory: &Inventory, state: Option<&State>) -> Vec<Requester> {
    let stored = state.and_then(|state| state.token.as_ref()).map(crate::store::TokenRecord::holder);
    // Holders of a Secret are known by its id alone, which the record has.
    let ours = Some(inventory.token.clone()).filter(|_| inventory.token_form == TokenForm::Csv);
    let mut shared: Vec<TokenSettings> = ours.into_iter().collect();
    shared.extend(stored.filter(|stored| shared.first() != Some(stored)));
    for terms in state.and_then(|state| state.rotation.as_ref()).into_iter().flat_map(secrets_of) {
        let holder = BootstrapTokenSecret::holder_of(&terms.id, &inventory.token.groups);
        if shared.iter().all(|known| known.user != holder.user) {
            shared.push(holder);
        }
    }
    let of_nodes = of_nodes(&shared, &nodes_with_own(state));
    shared_holders(inventory, state, &shared).into_iter().chain(of_nodes).collect()
}

/// Holders of a token that nodes share; none where every node has had one of its own for long enough.
#[must_use]
pub fn shared_holders(inventory: &Inventory, state: Option<&State>, holders: &[TokenSettings]) -> Vec<Requester> {
    let Some(scope) = shared_scope(inventory, state) else { return Vec::new() };
    holders.iter().map(|holder| Requester { scope: scope.clone(), ..Requester::of_settings(holder) }).collect()
}

/// Of a rotation: nodes may ask with either.
fn secrets_of(record: &Record) -> impl Iterator<Item = &SecretTerms> {
    [Which::Old, Which::New].into_iter().filter_map(|which| record.secret_of(which))
}

fn of_nodes(shared: &[TokenSettings], nodes: &BTreeSet<&str>) -> Vec<Requester> {
    let own = |holder, node: &&str| Requester {
        scope: Scope::Only(BTreeSet::from([(*node).to_owned()])),
        ..Requester::of_settings(&node_holder(holder, node))
    };
    shared.iter().flat_map(|holder| nodes.iter().map(move |node| own(holder, node))).collect()
}

/// The nodes that hold a token of their own, or may: in a rotation, before it or after it.
fn nodes_with_own(state: Option<&State>) -> BTreeSet<&str> {
    let own = state.and_then(|state| state.token.as_ref()).into_iter().flat_map(|token| token.nodes.keys());
    let changing = state.and_then(|state| state.rotation.as_ref()).into_iter().flat_map(|record| record.nodes.keys());
    own.chain(changing).map(String::as_str).collect()
}

/// `None`: no node has the shared token.
fn shared_scope(inventory: &Inventory, state: Option<&State>) -> Option<Scope> {
    let own = nodes_with_own(state);
    if own.is_empty() {
        return Some(Scope::AllNodes);
    }
    let all = inventory.hosts.iter().filter(|host| host.roles.contains(Role::Node)).map(|host| host.name.as_str());
    let mut shares: BTreeSet<String> = all.filter(|node| !own.contains(node)).map(str::to_owned).collect();
    let pairs = state.and_then(|state| state.rotation.as_ref()).into_iter().flat_map(|record| &record.nodes);
    let halves = pairs.filter(|(_, pair)| pair.old.is_none() || pair.new.is_none());
    shares.extend(halves.map(|(node, _)| node.clone()));
    if shares.is_empty() { None } else { Some(Scope::Only(shares)) }
}
