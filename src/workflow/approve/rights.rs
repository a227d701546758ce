//! What our own rights in the cluster must reach to, so that what kubelets ask can be approved.

use super::CLIENT_SIGNER;
use crate::cluster::{self, Action, Cluster};

const CERTIFICATES: &str = "certificates.k8s.io";
const LIST: Action =
    Action { verb: "list", group: CERTIFICATES, resource: "certificatesigningrequests", subresource: "", name: "" };

/// To approve first certificates and renewals, and to see who has joined.
pub const TO_APPROVE: [Action; 4] = [
    LIST,
    Action { verb: "update", subresource: "approval", ..LIST },
    Action { verb: "approve", resource: "signers", name: CLIENT_SIGNER, ..LIST },
    Action { group: "", resource: "nodes", ..LIST },
];

/// Those of `needed` that we may not do, in words: `update certificatesigningrequests/approval`.
///
/// # Errors
/// [`cluster::Error`].
pub fn find_lacking<'a>(
    cluster: &dyn Cluster,
    needed: impl IntoIterator<Item = &'a Action>,
) -> Result<Vec<String>, cluster::Error> {
    let mut lacking = Vec::new();
    for action in needed {
        if !cluster.may(action)? {
            let below = if action.subresource.is_empty() { "" } else { "/" };
            lacking.push(format!("{} {}{below}{}", action.verb, action.resource, action.subresource));
        }
    }
    Ok(lacking)
}
