//! Whether the way back into the cluster is open: every host can be reached and holds the stored bootstrap.kubeconfig, every
//! apiserver that answers knows its token, and we may approve what will be asked. Changes nothing.

use super::Obstacle;
use crate::{
    bundle::{Bundle, CredentialSet},
    cluster::{self, Cluster, Clusters, Credential, ErrorClass},
    inventory::{Host, ServerUrl},
    remote::kubelet::KubeletPaths,
    secret::printable,
    token::{BootstrapToken, node_user_prefix},
    workflow::{
        approve::{Requester, Scope, TO_APPROVE, find_lacking},
        distribute::{Fleet, Target},
        survey::{self, State, SurveyObserver, Unmade},
    },
};
use jiff::Timestamp;
use std::collections::BTreeSet;

const AUTHENTICATED: &str = "system:authenticated";
const BOOTSTRAP_USER: &str = "system:bootstrap:";

/// A node that is to join anew.
#[derive(Debug)]
pub struct Candidate<'a> {
    pub host: &'a Host,
    pub paths: KubeletPaths,
}

impl Target for Candidate<'_> {
    fn host(&self) -> &Host {
        self.host
    }
}

/// What was found in order.
#[derive(Debug)]
pub struct Clearance {
    /// Whom the apiservers take the stored tokens for, and for which nodes each may ask.
    pub requesters: Vec<Requester>,
    /// Apiservers that gave no answer.
    pub unasked: Vec<cluster::Error>,
}

/// Looks at everything before anything is touched. `bundles`: of the candidates' hosts, bootstrap.kubeconfig alone.
///
/// # Errors
/// The first [`Obstacle`].
pub fn preflight(
    fleet: &Fleet,
    (clusters, servers): (&dyn Clusters, &[ServerUrl]),
    bundles: &[Bundle],
    set: &CredentialSet,
    observer: &dyn SurveyObserver,
) -> Result<Clearance, Obstacle> {
    let clearance = check_token(clusters, servers, (set, bundles))?;
    check_hosts(fleet, bundles, set, observer)?;
    Ok(clearance)
}

/// A token that one of the nodes is to show.
struct Shown<'s> {
    token: &'s BootstrapToken,
    user: String,
    scope: Scope,
}

/// Each token once: the nodes' own ones, and the shared one where a node has none.
fn shown<'s>(bundles: &[Bundle], set: &'s CredentialSet) -> Vec<Shown<'s>> {
    let (mut all, mut shares) = (Vec::new(), false);
    for bundle in bundles {
        let name = bundle.host.name.as_str();
        match set.node_tokens.get(name) {
            Some(token) => {
                let user = node_user_prefix(&set.token_user) + name;
                all.push(Shown { token, user, scope: Scope::Only(BTreeSet::from([name.to_owned()])) });
            }
            None => shares = true,
        }
    }
    if shares {
        all.push(Shown { token: &set.token, user: set.token_user.clone(), scope: Scope::AllNodes });
    }
    all
}

fn check_token(
    clusters: &dyn Clusters,
    servers: &[ServerUrl],
    (set, bundles): (&CredentialSet, &[Bundle]),
) -> Result<Clearance, Obstacle> {
    let shown = shown(bundles, set);
    let (mut found, mut unasked) = (None, Vec::new());
    for server in servers {
        match ask(clusters, server, &shown) {
            Ok((requesters, cluster)) => {
                if found.is_none() {
                    check_rights(cluster.as_ref())?;
                    found = Some(requesters);
                }
            }
            Err(Obstacle::Api(error)) if error.class() == ErrorClass::Passing => unasked.push(error),
            Err(obstacle) => return Err(obstacle),
        }
    }
    match found {
        Some(requesters) => Ok(Clearance { requesters, unasked }),
        None => Err(Obstacle::Api(
            unasked
                .into_iter()
                .next()
                .unwrap_or_else(|| cluster::Error::Access { reason: "the inventory names no apiserver".to_owned() }),
        )),
    }
}

/// Shows each token to one apiserver.
fn ask(
    clusters: &dyn Clusters,
    server: &ServerUrl,
    shown: &[Shown<'_>],
) -> Result<(Vec<Requester>, Box<dyn Cluster>), Obstacle> {
    let cluster = clusters.at(server).map_err(Obstacle::Api)?;
    let mut requesters = Vec::new();
    for Shown { token, user, scope } in shown {
        let identity = cluster.whoami(Credential::Token(token.secret())).map_err(|error| match error {
            cluster::Error::Unauthorized { server } => Obstacle::TokenUnknown { server },
            other => Obstacle::Api(other),
        })?;
        if identity.username != *user && !identity.username.starts_with(BOOTSTRAP_USER) {
            let found = printable(&identity.username);
            return Err(Obstacle::TokenOfOther { server: server.clone(), found, wanted: user.clone() });
        }
        let groups = identity.groups.into_iter().filter(|group| group != AUTHENTICATED).collect();
        requesters.push(Requester { username: identity.username, groups, scope: scope.clone(), since: Timestamp::MIN });
    }
    Ok((requesters, cluster))
}

fn check_rights(cluster: &dyn Cluster) -> Result<(), Obstacle> {
    let lacking = find_lacking(cluster, &TO_APPROVE).map_err(Obstacle::Api)?;
    if lacking.is_empty() { Ok(()) } else { Err(Obstacle::NoRights { what: lacking.join(", ") }) }
}

fn check_hosts(
    fleet: &Fleet,
    bundles: &[Bundle],
    set: &CredentialSet,
    observer: &dyn SurveyObserver,
) -> Result<(), Obstacle> {
    for survey in survey::survey_hosts(fleet, bundles, set, Unmade::default(), survey::Scope::Files, observer) {
        let host = survey.name;
        match survey.error {
            Some(_) if fleet.interrupt.is_requested() => return Err(Obstacle::Interrupted),
            Some(error) => return Err(Obstacle::Host { host, error }),
            None => {}
        }
        let wrong = survey.files.iter().find(|file| !matches!(file.state, State::Same | State::Attributes));
        if let Some(file) = wrong {
            return Err(Obstacle::NotCurrent { host, path: file.path.clone(), state: file.state.condition() });
        }
    }
    Ok(())
}
