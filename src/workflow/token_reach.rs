//! Whether the control plane has been given the tokens that nodes are about to get: a kubelet with a token that no
//! kube-apiserver can know does not join, and nobody sees why.
//!
//! It is told from what earlier runs recorded, so no host is asked. Only tokens that were made after the first generation
//! count: before a cluster is first started, its hosts may be installed in any order. A node is never held up that a recorded
//! run handed its token; where the records are gone, it is not known to have it. Which hosts a command was limited to is all
//! that is known of it here.

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
use std::collections::{HashMap, HashSet};

/// Tokens that would be handed out too early.
#[derive(Debug, PartialEq, Eq)]
pub struct OutOfReach<'h> {
    pub nodes: Vec<&'h str>,
    /// Control-plane hosts that are not known to have the rows, and would not get them either.
    pub control_plane: Vec<&'h str>,
}

/// The hosts of a command.
#[derive(Debug, Clone, Copy)]
pub struct Reach<'a, 'h> {
    /// Those it installs on.
    pub chosen: &'a [&'h Host],
    /// The same of all shards together.
    pub of_all_shards: &'a [&'h Host],
}

/// Which tokens the chosen hosts would get that the control-plane hosts beside the command lack. Each of `lists` is of one
/// directory, from the newest run to the oldest; there is no order between two of them, so what the newest statement of any
/// says is enough. They are read only as far as is needed.
pub fn find_out_of_reach<'h>(
    inventory: &'h Inventory,
    state: &State,
    Reach { chosen, of_all_shards }: Reach<'_, 'h>,
    lists: impl IntoIterator<Item = impl Iterator<Item = KeptRun>>,
) -> Option<OutOfReach<'h>> {
    let reached: HashSet<&str> = of_all_shards.iter().chain(chosen).map(|host| host.name.as_str()).collect();
    let is_left_out = |host: &&Host| host.roles.contains(Role::ControlPlane) && !reached.contains(host.name.as_str());
    let planes: Vec<&str> = inventory.hosts.iter().filter(is_left_out).map(|host| host.name.as_str()).collect();
    let made = |host: &&'h Host| Some((host.name.as_str(), generation_of_token(state, host)?));
    let nodes: Vec<(&str, u64)> = chosen.iter().filter_map(made).collect();
    let current = *state.files.get(StoredFile::TokenCsv.path())?;
    if planes.is_empty() || nodes.is_empty() {
        return None;
    }
    let needed = nodes.iter().map(|(_, made)| *made).max().unwrap_or_default();
    let (mut given, mut handed) = (Statements::new(), Statements::new());
    let is_enough = |given: &Statements| planes.iter().all(|plane| given.get(plane).is_some_and(|g| *g >= needed));
    for list in lists {
        let (mut given_here, mut handed_here) = (Statements::new(), Statements::new());
        for run in list {
            let of_run: HashMap<&str, &KeptHost> = run.hosts.iter().map(|host| (host.name.as_str(), host)).collect();
            note(&mut given_here, planes.iter().copied(), &of_run, |host| rows_given(&run, host, current));
            let names = nodes.iter().map(|(node, _)| *node);
            note(&mut handed_here, names, &of_run, |host| installed(&run, host, FileKind::BootstrapKubeconfig));
            if is_enough(&given_here) || given_here.len() == planes.len() && handed_here.len() == nodes.len() {
                break;
            }
        }
        join(&mut given, given_here);
        join(&mut handed, handed_here);
        if is_enough(&given) {
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

/// Generations by host.
type Statements<'h> = HashMap<&'h str, u64>;

/// What a run says of hosts of which no later one of its list has told.
fn note<'h>(
    told: &mut Statements<'h>,
    names: impl Iterator<Item = &'h str>,
    of_run: &HashMap<&str, &KeptHost>,
    says: impl Fn(&KeptHost) -> Option<u64>,
) {
    for name in names {
        if !told.contains_key(name)
            && let Some(generation) = of_run.get(name).and_then(|host| says(host))
        {
            told.insert(name, generation);
        }
    }
}

/// The best that any list says.
fn join<'h>(all: &mut Statements<'h>, of_list: Statements<'h>) {
    for (name, generation) in of_list {
        let known = all.entry(name).or_default();
        *known = generation.max(*known);
    }
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
