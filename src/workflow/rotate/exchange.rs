//! Whose tokens a rotation changes: all, or the own ones of some nodes. Each token that goes has one that comes, but where
//! nodes get tokens of their own, or share one again.

use super::preflight::{Refusal, Scope};
use crate::{
    bundle::CredentialSet,
    digest::Fingerprint,
    inventory::{Inventory, TokenSettings},
    rotation::{NodePair, NodeToken},
    store::TokenRecord,
    token::{BootstrapToken, TokenError, node_holder},
    workflow::generate::nodes,
};
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// The token that a rotation is known by, and that goes.
pub(super) struct Leaving {
    pub token: BootstrapToken,
    pub fingerprint: Fingerprint,
    pub created: Timestamp,
    pub holder: TokenSettings,
    /// The node whose own it is.
    pub node: Option<String>,
}

/// The shared token, or that of the first of the nodes.
///
/// # Errors
/// [`Refusal`]: a node has none of its own.
pub(super) fn leaving(set: &CredentialSet, own: &TokenRecord, scope: Scope<'_>) -> Result<Leaving, Refusal> {
    let Scope::Nodes([node, ..]) = scope else {
        let (token, holder) = (set.token.clone(), own.holder());
        return Ok(Leaving { token, fingerprint: own.fingerprint, created: own.created, holder, node: None });
    };
    let found = own.nodes.get(node).zip(set.node_tokens.get(node));
    let (record, token) = found.ok_or_else(|| without_own_token(node))?;
    Ok(Leaving {
        token: token.clone(),
        fingerprint: record.fingerprint,
        created: record.created,
        holder: node_holder(&own.holder(), node),
        node: Some(node.clone()),
    })
}

/// What each node's own token was and will be. `first` is the new one of the first of the nodes that the rotation is
/// about; `mint` makes the others, each for its holder.
///
/// # Errors
/// Those of `mint`.
pub(super) fn plan_nodes(
    (inventory, wanted): (&Inventory, &Inventory),
    own: &TokenRecord,
    scope: Scope<'_>,
    first: Fingerprint,
    now: Timestamp,
    mut mint: impl FnMut(TokenSettings) -> Result<Fingerprint, TokenError>,
) -> Result<BTreeMap<String, NodePair>, TokenError> {
    let (names, gets_own): (BTreeSet<&str>, bool) = match scope {
        Scope::All => (nodes(inventory).chain(own.nodes.keys().map(String::as_str)).collect(), wanted.token_per_node),
        Scope::Nodes(names) => (names.iter().map(String::as_str).collect(), true),
    };
    let head = match scope {
        Scope::All => None,
        Scope::Nodes(names) => names.first().map(String::as_str),
    };
    let mut pairs = BTreeMap::new();
    for name in names {
        let old = own.nodes.get(name).copied();
        let new = match (gets_own, head == Some(name)) {
            (false, _) => None,
            (true, true) => Some(first),
            (true, false) => Some(mint(node_holder(&wanted.token, name))?),
        };
        let new = new.map(|fingerprint| NodeToken { fingerprint, created: now });
        if old.is_some() || new.is_some() {
            pairs.insert(name.to_owned(), NodePair { old, new });
        }
    }
    Ok(pairs)
}

/// Why a node's token cannot be changed alone.
pub fn without_own_token(node: &str) -> Refusal {
    Refusal::found(
        "no_own_token",
        format!("{node} has no token of its own"),
        "write per_node = true below [token], then `kubemint rotate token`: after that one node's token can be revoked \
         alone; until then `kubemint rotate token --revoke-now` revokes the one that all share",
    )
}
