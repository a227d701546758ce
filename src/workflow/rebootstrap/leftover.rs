//! What an earlier run had set aside on a host and was not done with, since it was killed or lost the host.
//!
//! It goes back, unless the node needs it no more: its kubelet has got a new certificate since, which holds, and the cluster
//! says that the node is Ready. Then the old one, which may have expired, is kept aside as after any run that was done.
//! Where no apiserver can be asked, who only wants it back gets it back, and hears what was not checked.

use super::{Candidate, NodeReport, Restored, Trouble, restart};
use crate::{
    cluster::{self, Clusters},
    inventory::ServerUrl,
    pki,
    remote::kubelet::{self, Backup},
    workflow::{
        approve::{self, NODE_PREFIX, NODES_GROUP},
        distribute::Fleet,
    },
};
use std::time::Duration;

/// What it takes to put back what was set aside.
pub struct Restoring<'a> {
    pub fleet: &'a Fleet<'a>,
    /// Whom to ask how the node is, and where; or why nobody can be asked.
    pub clusters: Result<&'a dyn Clusters, String>,
    pub servers: &'a [ServerUrl],
    pub restart: &'a str,
    pub restart_limit: Duration,
}

impl Restoring<'_> {
    /// Whether there was anything.
    pub(super) fn put_back(&self, candidate: &Candidate, node: &mut NodeReport) -> Result<bool, Trouble> {
        let runs = find_unfinished(self.fleet, candidate)?;
        if runs.is_empty() {
            return Ok(false);
        }
        let mut not_checked = None;
        if has_newer(self.fleet, candidate, &runs)? {
            match self.is_ready(candidate.host.name.as_str()) {
                Ok(true) => {
                    node.begun = true;
                    settle(self.fleet, candidate, &runs)?;
                    (node.found_unfinished, node.found_settled) = (runs, true);
                    return Ok(true);
                }
                Ok(false) => {}
                Err(why) => not_checked = Some(why),
            }
        }
        node.begun = true;
        return_all(self.fleet, candidate)?;
        (node.found_unfinished, node.not_checked) = (runs, not_checked);
        node.restored = Some(Restored::NotRestarted);
        restart(self.fleet, candidate, self.restart, self.restart_limit)?;
        node.restored = Some(Restored::Restarted);
        Ok(true)
    }

    fn is_ready(&self, node: &str) -> Result<bool, String> {
        let clusters = self.clusters.as_ref().map_err(Clone::clone)?;
        is_ready(*clusters, self.servers, node).map_err(|error| error.to_string())
    }
}

/// Runs that were not done with what they had set aside.
pub(super) fn find_unfinished(fleet: &Fleet, candidate: &Candidate) -> Result<Vec<String>, Trouble> {
    let found = kubelet::probe_kubelet(fleet.remote, candidate.host, &candidate.paths, fleet.entropy);
    Ok(found.map_err(at("looking at it"))?.unfinished)
}

/// Whether the kubelet has got a certificate of its node since, which holds now.
pub(super) fn has_newer(fleet: &Fleet, candidate: &Candidate, runs: &[String]) -> Result<bool, Trouble> {
    // Which of several is the older a person must say.
    if runs.len() != 1 {
        return Ok(false);
    }
    let found = kubelet::read_newer_certificate(fleet.remote, candidate.host, &candidate.paths, fleet.entropy);
    let Some(pem) = found.map_err(at("looking at its certificate"))? else { return Ok(false) };
    let Ok(certificate) = pki::parse_certificate(&pem) else { return Ok(false) };
    let name = format!("{NODE_PREFIX}{}", candidate.host.name);
    let is_its_own = certificate.common_name == Some(name) && certificate.organizations == [NODES_GROUP];
    Ok(is_its_own && certificate.is_valid_at(fleet.clock.now()))
}

/// Whether an apiserver says that the node is Ready.
pub(super) fn is_ready(clusters: &dyn Clusters, servers: &[ServerUrl], node: &str) -> Result<bool, cluster::Error> {
    let nodes = approve::connect_ready(clusters, servers)?.nodes()?;
    Ok(nodes.iter().any(|found| found.name == node && found.ready))
}

/// Keeps what these runs had set aside, as if they had come to their end.
pub(super) fn settle(fleet: &Fleet, candidate: &Candidate, runs: &[String]) -> Result<(), Trouble> {
    for run in runs {
        kubelet::settle_backup(fleet.remote, candidate.host, &candidate.paths, (run, Backup::Keep), fleet.entropy)
            .map_err(at("keeping aside what an earlier run set aside"))?;
    }
    Ok(())
}

pub(super) fn return_all(fleet: &Fleet, candidate: &Candidate) -> Result<(), Trouble> {
    let back = kubelet::put_back(fleet.remote, candidate.host, &candidate.paths, fleet.entropy);
    back.map(drop).map_err(at("putting back what an earlier run set aside"))
}

fn at(step: &'static str) -> impl Fn(crate::remote::Error) -> Trouble {
    move |error| Trouble::Host { step, error }
}
