//! Approving until every expected node has come: one look every two seconds, at whichever apiserver is ready. What was
//! done in an earlier look stays in the account; what was only left is told as it stands in the last.

use super::{Act, Expectations, Judged, Outcome, Requester, Round, UnreadGrant, run_round};
use crate::{
    clock::Clock,
    cluster::{self, Cluster, Clusters, ErrorClass},
    inventory::{Inventory, Role, ServerUrl},
    workflow::Interrupt,
};
use std::{
    collections::{BTreeSet, HashSet},
    time::{Duration, Instant},
};

/// Between two looks.
const PAUSE: Duration = Duration::from_secs(2);
const LOOK_FOR_INTERRUPT: Duration = Duration::from_millis(50);

/// Where to ask: `cluster.server`, then every control-plane host's own address. What one apiserver knows they all do, so
/// any of them will serve here.
#[must_use]
pub fn servers(inventory: &Inventory) -> Vec<ServerUrl> {
    let planes = inventory.hosts.iter().filter(|host| host.roles.contains(Role::ControlPlane));
    let mut servers = vec![inventory.cluster.server.clone()];
    for host in planes {
        if !servers.contains(&host.apiserver) {
            servers.push(host.apiserver.clone());
        }
    }
    servers
}

/// The first that is ready.
///
/// # Errors
/// What became of the first one, where none is.
pub fn connect_ready(clusters: &dyn Clusters, servers: &[ServerUrl]) -> Result<Box<dyn Cluster>, cluster::Error> {
    let mut first = None;
    for server in servers {
        let ready = clusters.at(server).and_then(|cluster| cluster.readyz().map(|()| cluster));
        match ready {
            Ok(cluster) => return Ok(cluster),
            Err(error) => first = first.or(Some(error)),
        }
    }
    Err(first.unwrap_or_else(|| cluster::Error::Access { reason: "the inventory names no apiserver".to_owned() }))
}

/// Those of the bootstrap-token Secrets `ids` that the cluster has, as who may ask; and those it has not.
///
/// # Errors
/// [`cluster::Error`] where they cannot be listed.
pub fn find_secrets(
    cluster: &dyn Cluster,
    ids: &BTreeSet<String>,
) -> Result<(Vec<Requester>, Vec<String>), cluster::Error> {
    if ids.is_empty() {
        return Ok((Vec::new(), Vec::new()));
    }
    let secrets = cluster.bootstrap_secrets()?;
    let of = |id: &String| secrets.iter().find(|secret| secret.id == *id);
    let found = ids.iter().filter_map(of).map(Requester::of_secret).collect();
    Ok((found, ids.iter().filter(|id| of(id).is_none()).cloned().collect()))
}

/// How to wait.
pub struct Watch<'a> {
    pub clusters: &'a dyn Clusters,
    pub servers: &'a [ServerUrl],
    pub clock: &'a dyn Clock,
    pub interrupt: &'a Interrupt,
    /// In all.
    pub limit: Duration,
}

/// What came of it.
#[derive(Debug)]
pub struct Watched {
    pub judged: Vec<Judged>,
    /// Nodes that have not come.
    pub missing: Vec<String>,
    /// As in the last look.
    pub unread: Vec<UnreadGrant>,
    /// Why the last look failed, where it did.
    pub error: Option<cluster::Error>,
}

impl Watch<'_> {
    /// Looks and approves until no node is missing, the time is over, or somebody interrupts. `tell` hears of every look.
    ///
    /// # Errors
    /// [`cluster::Error`] of the first look, where it would not pass by itself: nothing was changed then.
    pub fn run(
        &self,
        mut cluster: Box<dyn Cluster>,
        expectations: &Expectations,
        mut tell: impl FnMut(&Round),
    ) -> Result<Watched, cluster::Error> {
        let end = Instant::now() + self.limit;
        let mut has_looked = false;
        let missing = expectations.selected().map(str::to_owned).collect();
        let mut watched = Watched { judged: Vec::new(), missing, unread: Vec::new(), error: None };
        loop {
            let expectations = Expectations { now: self.clock.now(), ..expectations.clone() };
            let looked = run_round(cluster.as_ref(), &expectations, Act::Decide);
            match looked {
                Ok(round) => {
                    has_looked = true;
                    tell(&round);
                    watched.add(round);
                }
                Err(error) if error.class() == ErrorClass::Passing => watched.error = Some(error),
                Err(error) if !has_looked => return Err(error),
                Err(error) => return Ok(Watched { error: Some(error), ..watched }),
            }
            if watched.is_over() || !self.pause(end) {
                return Ok(watched);
            }
            if watched.error.is_some()
                && let Ok(other) = connect_ready(self.clusters, self.servers)
            {
                cluster = other;
            }
        }
    }

    /// Whether there is time for another look.
    fn pause(&self, end: Instant) -> bool {
        let next = Instant::now() + PAUSE;
        while Instant::now() < next.min(end) && !self.interrupt.is_requested() {
            std::thread::sleep(LOOK_FOR_INTERRUPT.min(next.min(end).saturating_duration_since(Instant::now())));
        }
        next <= end && !self.interrupt.is_requested()
    }
}

fn identity(entry: &Judged) -> (&str, &str) {
    (&entry.name, &entry.uid)
}

impl Watched {
    fn add(&mut self, round: Round) {
        let fresh: HashSet<(&str, &str)> = round.judged.iter().map(identity).collect();
        let is_done = |entry: &Judged| matches!(entry.outcome, Outcome::Approved | Outcome::Denied);
        self.judged.retain(|entry| is_done(entry) && !fresh.contains(&identity(entry)));
        self.judged.extend(round.judged);
        self.missing = round.missing;
        self.unread = round.unread;
        self.error = None;
    }

    /// Whether another look could change nothing: all are there, or the apiserver refuses what we decide.
    fn is_over(&self) -> bool {
        let refuses = |entry: &Judged| match &entry.outcome {
            Outcome::Failed(error) => error.class() != ErrorClass::Passing,
            _ => false,
        };
        self.error.is_none() && (self.missing.is_empty() || self.judged.iter().any(refuses))
    }
}
