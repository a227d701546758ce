//! Names that Kubernetes keeps for itself: whoever bears one has rights no binding shows, or rights of another component.
//!
//! Everything that begins with `system:` is reserved (reference/access-authn-authz/rbac, "Referring to subjects"). What
//! bootstrapping needs of it is listed here; the rest is refused.

const RESERVED: &str = "system:";
/// The handbook's group, and the one of bootstrap tokens.
const BOOTSTRAP_GROUPS: [&str; 2] = ["system:kubelet-bootstrap", "system:bootstrappers"];
const BOOTSTRAP_SUBGROUPS: &str = "system:bootstrappers:";
/// The group of the role that kube-proxy needs.
const NODE_PROXIER: &str = "system:node-proxier";

/// Whether the user of a static token must not have this name: all of Kubernetes' own users hold rights.
#[must_use]
pub fn is_reserved_user(user: &str) -> bool {
    user.starts_with(RESERVED)
}

/// Whether a token for bootstrapping must not be in this group.
#[must_use]
pub fn is_reserved_group(group: &str) -> bool {
    group.starts_with(RESERVED) && !BOOTSTRAP_GROUPS.contains(&group) && !group.starts_with(BOOTSTRAP_SUBGROUPS)
}

/// Whether kube-proxy's certificate must not name this organization, which is a group to kube-apiserver.
pub(super) fn is_reserved_organization(organization: &str) -> bool {
    organization.starts_with(RESERVED) && organization != NODE_PROXIER
}

/// Whether kube-apiserver gives this group to the holders of a bootstrap-token Secret: `BootstrapGroupPattern` of
/// `staging/src/k8s.io/cluster-bootstrap/token/api/types.go`, or the group that all of them are in anyway.
#[must_use]
pub fn is_bootstrap_group(group: &str) -> bool {
    let Some(rest) = group.strip_prefix(BOOTSTRAP_SUBGROUPS) else {
        return group == BOOTSTRAP_GROUPS[1];
    };
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    (1..=256).contains(&rest.len())
        && rest.bytes().all(|b| allowed(b) || matches!(b, b':' | b'-'))
        && rest.bytes().last().is_some_and(allowed)
}
