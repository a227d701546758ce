//! Whether the way back into the cluster is open: every host can be reached and holds the stored bootstrap.kubeconfig, every
//! apiserver that answers knows its token, and we may approve what will be asked. Changes nothing.

use super::Obstacle;
use crate::{
    bundle::{Bundle, CredentialSet},
    cluster::{self, Cluster, Clusters, Credential, ErrorClass, Identity},
    inventory::{Host, ServerUrl},
    remote::kubelet::KubeletPaths,
    secret::printable,
    workflow::{
        approve::{Requester, Scope, TO_APPROVE, find_lacking},
        distribute::{Fleet, Target},
        survey::{self, State, SurveyObserver, Unmade},
    },
};

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
    /// Whom the apiservers take the stored token for.
    pub requester: Requester,
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
    let clearance = check_token(clusters, servers, set)?;
    check_hosts(fleet, bundles, set, observer)?;
    Ok(clearance)
}

fn check_token(clusters: &dyn Clusters, servers: &[ServerUrl], set: &CredentialSet) -> Result<Clearance, Obstacle> {
    let (mut found, mut unasked) = (None, Vec::new());
    for server in servers {
        let asked = clusters
            .at(server)
            .and_then(|cluster| Ok((cluster.whoami(Credential::Token(set.token.secret()))?, cluster)));
        match asked {
            Ok((identity, cluster)) => {
                check_user(server, &identity, set)?;
                if found.is_none() {
                    check_rights(cluster.as_ref())?;
                    found = Some(requester(identity));
                }
            }
            Err(cluster::Error::Unauthorized { server }) => return Err(Obstacle::TokenUnknown { server }),
            Err(error) if error.class() == ErrorClass::Passing => unasked.push(error),
            Err(error) => return Err(Obstacle::Api(error)),
        }
    }
    match found {
        Some(requester) => Ok(Clearance { requester, unasked }),
        None => Err(Obstacle::Api(
            unasked
                .into_iter()
                .next()
                .unwrap_or_else(|| cluster::Error::Access { reason: "the inventory names no apiserver".to_owned() }),
        )),
    }
}

fn check_user(server: &ServerUrl, identity: &Identity, set: &CredentialSet) -> Result<(), Obstacle> {
    if identity.username == set.token_user || identity.username.starts_with(BOOTSTRAP_USER) {
        return Ok(());
    }
    let found = printable(&identity.username);
    Err(Obstacle::TokenOfOther { server: server.clone(), found, wanted: set.token_user.clone() })
}

fn requester(identity: Identity) -> Requester {
    let groups = identity.groups.into_iter().filter(|group| group != AUTHENTICATED).collect();
    Requester { username: identity.username, groups, scope: Scope::AllNodes }
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
