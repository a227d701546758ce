//! What the inventory expects of signing requests: which nodes, from whom, since when. Plain values, and what the cluster
//! shows of nodes and certificates beside them, so that the judge need ask nobody.

use crate::{
    cluster::{BootstrapSecret, Node, RequestState, SigningRequest},
    digest::Digest,
    inventory::{Connection, Host, Inventory, Role, TokenSettings},
    pki,
};
use jiff::{SignedDuration, Timestamp};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

/// Every authenticated user is in it, whatever else is said of them.
const AUTHENTICATED: &str = "system:authenticated";
/// Of every bootstrap-token Secret (pkg/apis/… `bootstrapapi.BootstrapDefaultGroup`).
const BOOTSTRAPPERS: &str = "system:bootstrappers";
const BOOTSTRAP_USER: &str = "system:bootstrap:";

/// How far back a request may have been created unless told otherwise.
pub const DEFAULT_SINCE: SignedDuration = SignedDuration::from_hours(1);

/// What may be approved.
#[derive(Debug, Clone)]
pub struct Expectations {
    /// By node name: every node of the inventory, also those that are not to be approved now.
    pub nodes: BTreeMap<String, ExpectedNode>,
    /// Who holds a bootstrap token of ours.
    pub requesters: Vec<Requester>,
    pub serving: Serving,
    pub hostile: Hostile,
    pub now: Timestamp,
    /// Requests from before are left. Compared with the apiserver's clock: leave room for its skew.
    pub since: Timestamp,
    /// Nodes that may come back though they have joined before; one new key each since [`Self::since`].
    pub rebootstrapped: BTreeSet<String>,
    /// Nodes of which it is known with which key they ask for their first certificate; `None`: with none.
    pub keys: BTreeMap<String, Option<Digest>>,
    /// What the cluster shows; [`super::run_round`] fills it in.
    pub seen: Seen,
}

/// One node of the inventory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExpectedNode {
    /// DNS names that a serving certificate may hold: the node's name, and its address where that is a name.
    pub names: BTreeSet<String>,
    /// IP addresses that it may hold.
    pub addresses: BTreeSet<IpAddr>,
    pub selection: Selection,
}

/// Whether a node is among those to be approved now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Selection {
    #[default]
    Selected,
    LeftOut,
}

/// What to do about kubelet-serving requests that are as they should be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Serving {
    #[default]
    Leave,
    Approve,
}

/// What to do about requests that no honest kubelet of the inventory would make.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Hostile {
    #[default]
    Leave,
    Deny,
}

/// Somebody who may ask for a node's first certificate: the user and groups that the apiserver takes a token for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requester {
    pub username: String,
    /// Exactly these, besides `system:authenticated`.
    pub groups: BTreeSet<String>,
    pub scope: Scope,
    /// What was asked for before is left: its token was revoked then, and somebody else had it.
    pub since: Timestamp,
}

/// For which nodes a token may ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    AllNodes,
    /// A token of its own for each node.
    Only(BTreeSet<String>),
}

/// Nodes and certificates that the cluster shows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// Node objects.
    pub nodes: BTreeSet<String>,
    /// First certificates that were granted to a node's name (the API keeps them an hour), whoever it was.
    pub granted: BTreeMap<String, Vec<Grant>>,
}

/// A certificate, or the permission for one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// When it was asked for.
    pub created: Timestamp,
    pub spki_sha256: Digest,
}

impl Expectations {
    /// All nodes of the inventory, of the last hour, first certificates and renewals only.
    #[must_use]
    pub fn of_inventory(inventory: &Inventory, requesters: Vec<Requester>, now: Timestamp) -> Self {
        let nodes = inventory.hosts.iter().filter(|host| host.roles.contains(Role::Node));
        Self {
            nodes: nodes.map(|host| (host.name.as_str().to_owned(), ExpectedNode::of_host(host))).collect(),
            requesters,
            serving: Serving::default(),
            hostile: Hostile::default(),
            now,
            since: now.saturating_sub(DEFAULT_SINCE).unwrap_or(Timestamp::MIN),
            rebootstrapped: BTreeSet::new(),
            keys: BTreeMap::new(),
            seen: Seen::default(),
        }
    }

    /// Leaves out every node that is not in `names`.
    #[must_use]
    pub fn only(mut self, names: &BTreeSet<String>) -> Self {
        for (name, node) in &mut self.nodes {
            if !names.contains(name) {
                node.selection = Selection::LeftOut;
            }
        }
        self
    }

    /// Names of the nodes that are to be approved now.
    pub fn selected(&self) -> impl Iterator<Item = &str> {
        let chosen = self.nodes.iter().filter(|(_, node)| node.selection == Selection::Selected);
        chosen.map(|(name, _)| name.as_str())
    }

    pub(super) fn requester(&self, request: &SigningRequest) -> Option<&Requester> {
        self.requesters.iter().find(|requester| requester.is(request))
    }

    /// Whether the node has come: it is there, and where it was to come back, a key was granted since.
    #[must_use]
    pub fn has_joined(&self, name: &str) -> bool {
        let again = || self.seen.granted.get(name).is_some_and(|all| all.iter().any(|g| g.created >= self.since));
        self.seen.nodes.contains(name) && (!self.rebootstrapped.contains(name) || again())
    }
}

impl ExpectedNode {
    fn of_host(host: &Host) -> Self {
        let mut node = Self { names: BTreeSet::from([host.name.as_str().to_owned()]), ..Self::default() };
        if let Connection::Ssh(target) = &host.connection {
            match target.address.parse() {
                Ok(address) => drop(node.addresses.insert(address)),
                Err(_) => drop(node.names.insert(target.address.clone())),
            }
        }
        node
    }
}

impl Requester {
    /// The holders of the token in token.csv, as the inventory names them.
    #[must_use]
    pub fn of_settings(settings: &TokenSettings) -> Self {
        Self::new(&settings.user, &settings.groups)
    }

    /// The holders of a bootstrap token that the cluster keeps in a Secret.
    #[must_use]
    pub fn of_secret(secret: &BootstrapSecret) -> Self {
        let mut requester = Self::new(&format!("{BOOTSTRAP_USER}{}", secret.id), &secret.groups);
        requester.groups.insert(BOOTSTRAPPERS.to_owned());
        requester
    }

    fn new(username: &str, groups: &[String]) -> Self {
        let groups = groups.iter().filter(|group| *group != AUTHENTICATED).cloned().collect();
        Self { username: username.to_owned(), groups, scope: Scope::AllNodes, since: Timestamp::MIN }
    }

    fn is(&self, request: &SigningRequest) -> bool {
        request.username == self.username && is_exactly(&request.groups, self.groups.iter().map(String::as_str))
    }

    pub(super) fn may_ask_for(&self, node: &str) -> bool {
        match &self.scope {
            Scope::AllNodes => true,
            Scope::Only(names) => names.contains(node),
        }
    }
}

/// Whether somebody is in these groups and no other, but for the one that everybody is in.
pub(super) fn is_exactly<'g>(groups: &[String], wanted: impl Iterator<Item = &'g str>) -> bool {
    let found: BTreeSet<&str> = groups.iter().map(String::as_str).filter(|group| *group != AUTHENTICATED).collect();
    found == wanted.collect()
}

impl Seen {
    /// What `nodes` and all `requests`, decided or not, show at `now`.
    #[must_use]
    pub fn in_cluster(nodes: &[Node], requests: &[SigningRequest], now: Timestamp) -> Self {
        let mut granted: BTreeMap<String, Vec<Grant>> = BTreeMap::new();
        let first = requests.iter().filter(|request| {
            let is_renewal = request.username.starts_with(super::NODE_PREFIX);
            request.state == RequestState::Approved && request.signer == super::CLIENT_SIGNER && !is_renewal
        });
        for request in first {
            let Ok(info) = pki::parse_request(&request.request) else { continue };
            let ended = pki::parse_certificate(&request.certificate).is_ok_and(|issued| issued.not_after < now);
            for name in info.common_names.iter().filter_map(|cn| cn.strip_prefix(super::NODE_PREFIX)) {
                if !ended {
                    let grant = Grant { created: request.created, spki_sha256: info.spki_sha256 };
                    granted.entry(name.to_owned()).or_default().push(grant);
                }
            }
        }
        Self { nodes: nodes.iter().map(|node| node.name.clone()).collect(), granted }
    }
}
