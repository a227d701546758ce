//! The kube-proxy certificates of nodes that have their own: one for every node of the inventory, whichever hosts a
//! command is limited to. What hosts that left the inventory had stays until the next reissue, since the same name may
//! come back.

use super::{
    Desk, Due, Error, StepAction,
    client::{Settled, settle_pair, stored},
};
use crate::{
    bundle::ClientPair,
    inventory::{Inventory, Role},
    pki::Authority,
    secret::Secret,
    store::{ExtraFile, State},
};
use std::{collections::BTreeMap, thread};

pub const ARTIFACT: &str = "kube-proxy-nodes";

/// Whether nodes have keys of their own: as the inventory says; where it says nothing, as it was last asked for.
#[must_use]
pub fn is_per_node(inventory: &Inventory, state: Option<&State>) -> bool {
    inventory.kube_proxy.per_node.unwrap_or_else(|| state.is_some_and(|state| state.per_node))
}

/// The nodes of the inventory, in its order.
pub fn nodes(inventory: &Inventory) -> impl Iterator<Item = &str> {
    inventory.hosts.iter().filter(|host| host.roles.contains(Role::Node)).map(|host| host.name.as_str())
}

/// The pairs by node; none where nodes share one.
pub(super) fn settle(desk: &mut Desk, authority: &Authority) -> Result<BTreeMap<String, ClientPair>, Error> {
    let before = desk.snapshot.state.as_ref();
    let was_per_node = before.is_some_and(|state| state.per_node);
    if desk.renewal.is_some_and(|renewal| renewal.due == Due::Now) {
        drop_unwanted(desk);
    }
    if !desk.per_node {
        if was_per_node {
            desk.note(ARTIFACT, StepAction::Rebuilt, "the inventory asks for one that all nodes share");
        }
        return Ok(BTreeMap::new());
    }
    let names: Vec<&str> = nodes(desk.inventory).collect();
    if desk.out_of_date.is_some() {
        return Ok(settle_as_stored(desk, &names));
    }
    let settled = settle_all(desk, authority, &names)?;
    let (mut pairs, mut made, mut first) = (BTreeMap::new(), 0, None);
    let mut last: Option<jiff::Timestamp> = None;
    for (name, Settled { pair, info, made: new }) in names.iter().map(|name| (*name).to_owned()).zip(settled) {
        last = Some(last.map_or(info.not_after, |last| last.min(info.not_after)));
        if let Some(new) = new {
            made += 1;
            first.get_or_insert_with(|| format!("{name}: {}", new.why));
            let certificate = Secret::from(pair.certificate_pem.as_str());
            desk.changes.extra.push((ExtraFile::NodeKey(name.clone()), pair.key_pem.clone()));
            desk.changes.extra.push((ExtraFile::NodeCertificate(name.clone()), certificate));
            desk.replaced.extend(new.replaced.map(|old| (name.clone(), old)));
        }
        pairs.insert(name, pair);
    }
    let until = last.map(|end| format!(", the first to end on {}", crate::clock::day(end))).unwrap_or_default();
    let all = pairs.len();
    let (action, reason) = match first {
        Some(why) if !was_per_node => (StepAction::Created, format!("{made} of {all} made{until} ({why})")),
        Some(why) => (StepAction::Rebuilt, format!("{made} of {all} made{until} ({why})")),
        None if !was_per_node => (StepAction::Rebuilt, format!("nodes have their own again{until}")),
        None => (StepAction::Kept, format!("{all} nodes{until}")),
    };
    desk.note(ARTIFACT, action, reason);
    Ok(pairs)
}

/// Where nothing can be issued: the pairs that there are.
fn settle_as_stored(desk: &mut Desk, names: &[&str]) -> BTreeMap<String, ClientPair> {
    let pair = |name: &&str| Some(((*name).to_owned(), stored(desk, Some(name)).ok()?.0));
    let pairs: BTreeMap<String, ClientPair> = names.iter().filter_map(pair).collect();
    let reason = format!("{} of {} nodes have one; their CA is out of date", pairs.len(), names.len());
    desk.note(ARTIFACT, StepAction::Kept, reason);
    pairs
}

/// On every processor: with RSA keys, 10,000 of them take minutes.
fn settle_all(desk: &Desk, authority: &Authority, names: &[&str]) -> Result<Vec<Settled>, Error> {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let part = names.len().div_ceil(threads).max(1);
    let of_part = |part: &[&str]| part.iter().map(|name| settle_pair(desk, authority, Some(name))).collect();
    let parts: Vec<Result<Vec<Settled>, Error>> = thread::scope(|scope| {
        let spawn = |part| (part, thread::Builder::new().spawn_scoped(scope, move || of_part(part)));
        let parts: Vec<_> = names.chunks(part).map(spawn).collect();
        let joined = parts.into_iter().map(|(part, thread)| match thread {
            Ok(thread) => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            // There are no more threads: one after the other.
            Err(_) => of_part(part),
        });
        joined.collect()
    });
    let mut all = Vec::with_capacity(names.len());
    for part in parts {
        all.extend(part?);
    }
    Ok(all)
}

/// Keys of hosts that are gone, and of all nodes where they share one now.
fn drop_unwanted(desk: &mut Desk) {
    let kept: std::collections::HashSet<&str> = match desk.per_node {
        true => nodes(desk.inventory).collect(),
        false => std::collections::HashSet::new(),
    };
    let is_pending = |file: &ExtraFile| matches!(file, ExtraFile::PendingKey | ExtraFile::NodePendingKey(_));
    let unwanted = |file: &&ExtraFile| !is_pending(file) && !file.node().is_some_and(|node| kept.contains(node));
    let removed: Vec<ExtraFile> = desk.snapshot.extra_files().filter(unwanted).cloned().collect();
    desk.changes.removed_extra.extend(removed);
}
