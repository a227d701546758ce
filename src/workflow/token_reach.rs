//! Whether the control plane has been given the tokens that nodes are about to get: a kubelet with a token that no
//! kube-apiserver can know does not join, and nobody sees why.
//!
//! It is told from what earlier runs recorded, so no host is asked. Only tokens that were made after the first generation
//! count: before a cluster is first started, its hosts may be installed in any order. A node that was handed its token
//! already is never held up. Which hosts a command was limited to is all that is known of it here.

use super::{
    report::HostStatus,
    runs::{KeptFile, KeptHost, KeptRun},
};
use crate::{
    bundle::FileKind,
    digest::Digest,
    inventory::{Host, Inventory, Role},
    store::{State, StoredFile},
};
use std::collections::HashMap;

/// Tokens that would be handed out too early.
#[derive(Debug, PartialEq, Eq)]
pub struct OutOfReach<'h> {
    pub nodes: Vec<&'h str>,
    /// Control-plane hosts that are not known to have the rows, and would not get them either.
    pub control_plane: Vec<&'h str>,
}

/// Which tokens `chosen` would get that the control-plane hosts beside them lack; `runs` from the newest to the oldest. They
/// are read only as far as is needed.
pub fn find_out_of_reach<'h>(
    inventory: &'h Inventory,
    state: &State,
    chosen: &[&'h Host],
    runs: impl Iterator<Item = KeptRun>,
) -> Option<OutOfReach<'h>> {
    let is_chosen = |host: &Host| chosen.iter().any(|chosen| chosen.name == host.name);
    let left_out = inventory.hosts.iter().filter(|host| host.roles.contains(Role::ControlPlane) && !is_chosen(host));
    let planes: Vec<&str> = left_out.map(|host| host.name.as_str()).collect();
    let made = |host: &&'h Host| Some((host.name.as_str(), generation_of_token(state, host)?));
    let nodes: Vec<(&str, u64)> = chosen.iter().filter_map(made).collect();
    let current = *state.files.get(StoredFile::TokenCsv.path())?;
    if planes.is_empty() || nodes.is_empty() {
        return None;
    }
    let mut given: HashMap<&str, u64> = HashMap::new();
    let mut handed: HashMap<&str, u64> = HashMap::new();
    for run in runs {
        let of_run: HashMap<&str, &KeptHost> = run.hosts.iter().map(|host| (host.name.as_str(), host)).collect();
        for plane in &planes {
            if let (None, Some(host)) = (given.get(plane), of_run.get(plane))
                && let Some(generation) = rows_given(&run, host, current)
            {
                given.insert(plane, generation);
            }
        }
        for (node, _) in &nodes {
            if let (None, Some(host)) = (handed.get(node), of_run.get(node))
                && let Some(generation) = installed(&run, host, FileKind::BootstrapKubeconfig)
            {
                handed.insert(node, generation);
            }
        }
        let needed = nodes.iter().map(|(_, made)| *made).max().unwrap_or_default();
        if planes.iter().all(|plane| given.get(plane).is_some_and(|given| *given >= needed)) {
            return None;
        }
    }
    let lack = |plane: &&str, made: u64| given.get(plane).is_none_or(|given| *given < made);
    let mut found = OutOfReach { nodes: Vec::new(), control_plane: Vec::new() };
    for (node, made) in nodes {
        let is_new = handed.get(node).is_none_or(|handed| *handed < made);
        let lacking: Vec<&str> = planes.iter().copied().filter(|plane| is_new && lack(plane, made)).collect();
        if !lacking.is_empty() {
            found.nodes.push(node);
            found.control_plane.extend(lacking);
        }
    }
    found.control_plane.sort_unstable();
    found.control_plane.dedup();
    (!found.nodes.is_empty()).then_some(found)
}

/// In which generation the token of a node was made; `None`: in the first, by a rotation, or it is no node.
fn generation_of_token(state: &State, host: &Host) -> Option<u64> {
    let own = state.token.as_ref()?.nodes.contains_key(host.name.as_str());
    let key = if own { host.name.as_str() } else { "" };
    state.token_generations.get(key).copied().filter(|_| host.roles.contains(Role::Node))
}

/// Of which generation the rows are that a control-plane host holds since `run`; `None`: the run does not tell.
fn rows_given(run: &KeptRun, host: &KeptHost, current: Digest) -> Option<u64> {
    // Even of a host that failed in the end.
    let is_current = |file: &KeptFile| is(file, FileKind::TokenCsv) && file.sha256 == Some(current);
    if host.files.iter().any(is_current) {
        return Some(u64::MAX);
    }
    installed(run, host, FileKind::TokenCsv)
}

/// The generation that `run` installed of the file; what a rollback put back is of no generation.
fn installed(run: &KeptRun, host: &KeptHost, kind: FileKind) -> Option<u64> {
    let is_done = matches!(host.status, HostStatus::Changed | HostStatus::Unchanged);
    let has_file = host.files.iter().any(|file| is(file, kind));
    let generation = if run.is_rollback() { 0 } else { run.generation? };
    (is_done && has_file).then_some(generation)
}

fn is(file: &KeptFile, kind: FileKind) -> bool {
    file.path.rsplit('/').next() == Some(kind.relative_path())
}
