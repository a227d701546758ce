//! Tokens of single nodes: beside the row that nodes share, each node has a row of its own, under a user that names it. So
//! an apiserver tells whose token a request was made with, and one that leaked is dropped without the others.

use crate::inventory::TokenSettings;

/// Between the shared user and a node's name; no user name of Kubernetes' own begins so, unless the shared one does.
const BETWEEN: char = ':';

/// Whom kube-apiserver takes the holder of a node's own token for: user and uid of the shared row with the node's name
/// behind a colon, and the same groups.
#[must_use]
pub fn node_holder(shared: &TokenSettings, node: &str) -> TokenSettings {
    let of_node = |text: &str| format!("{text}{BETWEEN}{node}");
    TokenSettings { user: of_node(&shared.user), uid: of_node(&shared.uid), groups: shared.groups.clone() }
}

/// What users of nodes' own tokens begin with.
#[must_use]
pub fn node_user_prefix(shared_user: &str) -> String {
    format!("{shared_user}{BETWEEN}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nodes_user_is_the_shared_one_and_its_name() {
        let shared = TokenSettings { user: "kubelet-bootstrap".into(), uid: "10001".into(), groups: vec!["g".into()] };
        let own = node_holder(&shared, "node-1.example");
        assert_eq!((own.user.as_str(), own.uid.as_str()), ("kubelet-bootstrap:node-1.example", "10001:node-1.example"));
        assert_eq!(own.groups, shared.groups);
        assert_eq!(own.user.strip_prefix(&node_user_prefix(&shared.user)), Some("node-1.example"));
    }
}
