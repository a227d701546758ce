//! Which token takes which one's place while a rotation is under way, on each host.

use crate::{
    bundle::FileKind,
    digest::Fingerprint,
    rotation::{Direction, Record, Which},
};
use std::collections::HashMap;

/// Two bootstrap tokens, one of which takes the other's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exchange {
    pub old: Fingerprint,
    pub new: Fingerprint,
}

/// Those of a rotation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchanges {
    /// The one that the rotation is known by.
    first: Exchange,
    /// Whether it is of the token that nodes share.
    is_shared: bool,
    /// Of the nodes that have their own, before or after.
    nodes: HashMap<String, Exchange>,
}

impl Exchanges {
    #[must_use]
    pub fn of(record: &Record) -> Self {
        let (from, to) = match record.direction {
            Direction::Forward => (Which::Old, Which::New),
            Direction::Back => (Which::New, Which::Old),
        };
        let first = Exchange { old: record.fingerprint(from), new: record.fingerprint(to) };
        let nodes = record.nodes.iter().map(|(node, pair)| {
            // Where it has none of its own it has the shared one.
            let old = pair.of(from).map_or(first.old, |own| own.fingerprint);
            (node.clone(), Exchange { old, new: pair.of(to).map_or(first.new, |own| own.fingerprint) })
        });
        Self { first, is_shared: !record.is_of_some_nodes(), nodes: nodes.collect() }
    }

    /// `None`: nothing changes in this file there.
    pub(super) fn of_file(&self, kind: FileKind, host: &str) -> Option<Exchange> {
        match (kind, self.nodes.get(host)) {
            (FileKind::BootstrapKubeconfig, Some(own)) => Some(*own),
            (FileKind::BootstrapKubeconfig, None) => Some(self.first).filter(|_| self.is_shared),
            _ => Some(self.first),
        }
    }
}
