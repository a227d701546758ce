//! The tokens of nodes that have their own: a row of token.csv for every node of the inventory, whichever hosts a command is
//! limited to. A token is made once and kept; a node that leaves the inventory loses its row.

use super::{Desk, Error, StepAction, nodes::nodes};
use crate::{
    digest::Fingerprint,
    inventory::{Inventory, TokenSettings},
    rotation::NodeToken,
    store::TokenRecord,
    token::{BootstrapToken, Row, TokenFile, node_holder},
};
use std::collections::{BTreeMap, HashMap, HashSet};

pub const ARTIFACT: &str = "node-tokens";

/// The rows as they are to be, and whose tokens they are.
pub(super) struct Settled {
    pub file: TokenFile,
    pub tokens: BTreeMap<String, BootstrapToken>,
    pub records: BTreeMap<String, NodeToken>,
}

/// `file` has the shared row already.
pub(super) fn settle(desk: &mut Desk, file: &TokenFile, previous: Option<&TokenRecord>) -> Result<Settled, Error> {
    let wanted = desk.inventory.token.clone();
    let names: Vec<&str> = if desk.inventory.token_per_node { nodes(desk.inventory).collect() } else { Vec::new() };
    refuse_change(desk.inventory, previous)?;
    let none = BTreeMap::new();
    let before = previous.map_or(&none, |record| &record.nodes);
    let mut rows = Vec::with_capacity(names.len());
    let (mut records, mut tokens, mut made) = (BTreeMap::new(), BTreeMap::new(), 0);
    let known = Known::of(file);
    let mut taken: HashSet<Fingerprint> = file.rows().iter().map(Row::fingerprint).collect();
    for name in &names {
        let holder = node_holder(&wanted, name);
        let own = before.get(*name);
        let token = match known.find(own, &holder) {
            Some(row) => BootstrapToken::from_secret(row.token.clone())?,
            None => {
                made += 1;
                BootstrapToken::generate_unlike(desk.entropy, &mut taken)?
            }
        };
        let fingerprint = token.fingerprint();
        let created = own.filter(|own| own.fingerprint == fingerprint).map_or(desk.now, |own| own.created);
        records.insert((*name).to_owned(), NodeToken { fingerprint, created });
        tokens.insert((*name).to_owned(), token.clone());
        rows.push((token, holder));
    }
    let gone = drop_of(before, previous, &rows);
    let left = before.keys().filter(|name| !records.contains_key(*name)).count();
    let file = file.without_holders(&gone).with_row_each(&rows)?;
    note(desk, names.len(), made, left);
    Ok(Settled { file, tokens, records })
}

/// The rows that nodes may have already.
struct Known<'a> {
    by_fingerprint: HashMap<Fingerprint, &'a Row>,
    by_holder: HashMap<(&'a str, &'a str), &'a Row>,
}

impl<'a> Known<'a> {
    fn of(file: &'a TokenFile) -> Self {
        let by_holder = file.rows().iter().rev().map(|row| ((row.user.as_str(), row.uid.as_str()), row)).collect();
        Self { by_fingerprint: file.by_fingerprint(), by_holder }
    }

    /// The recorded token; where none is, what stands in the node's row. Another than the recorded one may be one that was
    /// revoked.
    fn find(&self, own: Option<&NodeToken>, holder: &TokenSettings) -> Option<&'a Row> {
        match own {
            Some(own) => self.by_fingerprint.get(&own.fingerprint).copied(),
            None => self.by_holder.get(&(holder.user.as_str(), holder.uid.as_str())).copied(),
        }
    }
}

/// From the token that all share to tokens of the nodes' own, or back, leads a rotation: nodes would get tokens that no
/// apiserver knows yet, and the one that all had would go on working.
fn refuse_change(inventory: &Inventory, previous: Option<&TokenRecord>) -> Result<(), Error> {
    let Some(previous) = previous else { return Ok(()) };
    let per_node = inventory.token_per_node;
    if per_node == previous.nodes.is_empty() && nodes(inventory).next().is_some() {
        return Err(Error::TokenScope { per_node });
    }
    Ok(())
}

/// The users whose rows go: of nodes that are gone, and of nodes whose user has another name now.
fn drop_of(
    before: &BTreeMap<String, NodeToken>,
    previous: Option<&TokenRecord>,
    rows: &[(BootstrapToken, TokenSettings)],
) -> Vec<TokenSettings> {
    let Some(previous) = previous else { return Vec::new() };
    let kept: HashSet<(&str, &str)> = rows.iter().map(|(_, holder)| (&*holder.user, &*holder.uid)).collect();
    let shared = previous.holder();
    let holders = before.keys().map(|name| node_holder(&shared, name));
    holders.filter(|holder| !kept.contains(&(holder.user.as_str(), holder.uid.as_str()))).collect()
}

fn note(desk: &mut Desk, all: usize, made: usize, left: usize) {
    // The first of all are known when it is first started.
    let is_running = desk.snapshot.state.is_some();
    let known = if is_running { "; kube-apiserver knows them after its next start" } else { "" };
    let dropped = match left {
        0 => String::new(),
        1 => "; 1 row dropped".to_owned(),
        _ => format!("; {left} rows dropped"),
    };
    let (action, reason) = match (all, made, left) {
        (0, _, 0) => return,
        (0, ..) => (StepAction::Rebuilt, format!("no node is left{dropped}")),
        (_, 0, 0) => (StepAction::Kept, format!("{all} nodes")),
        (_, 0, _) => (StepAction::Rebuilt, format!("{all} nodes{dropped}")),
        _ if made == all => (StepAction::Created, format!("{made} of {all} made{dropped}{known}")),
        _ => (StepAction::Rebuilt, format!("{made} of {all} made{dropped}{known}")),
    };
    desk.note(ARTIFACT, action, reason);
}
