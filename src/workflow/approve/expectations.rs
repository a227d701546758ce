//! What the inventory expects of signing requests: which nodes, from whom, since when. Plain values, and what the cluster
//! shows of nodes and certificates beside them, so that the judge need ask nobody.

use super::verdict::shown;
use crate::{
    cluster::{BootstrapSecret, Node, RequestState, SigningRequest},
    digest::Digest,
    inventory::{Connection, Host, Inventory, Role, TokenSettings},
    pki,
};
use jiff::{SignedDuration, Timestamp};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
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
    /// Certificates that were granted to a node's name (the API keeps them an hour), whoever asked for them, but for the
    /// node itself.
    pub granted: BTreeMap<String, Vec<Grant>>,
    /// Certificates that were granted to a node that asked for them itself: somebody holds its name.
    pub renewed: BTreeMap<String, Vec<Grant>>,
    /// Granted to nobody knows whom: no reader finds a name in them. They stand in nobody's way.
    pub unread: Vec<UnreadGrant>,
}

/// A certificate, or the permission for one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// When it was asked for.
    pub created: Timestamp,
    /// `None`: it could not be read, and so may be any key.
    pub spki_sha256: Option<Digest>,
}

/// A request that was approved, or has its certificate, and of which neither can be read. All text is safe to print.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadGrant {
    pub request: String,
    pub requester: String,
    pub created: Timestamp,
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

/// Requesters by user name, so that 10,000 of them are no longer to look through than one.
pub(super) struct Askers<'e>(HashMap<&'e str, Vec<&'e Requester>>);

impl<'e> Askers<'e> {
    pub(super) fn of(expectations: &'e Expectations) -> Self {
        let mut by_user: HashMap<&str, Vec<&Requester>> = HashMap::new();
        for requester in &expectations.requesters {
            by_user.entry(&requester.username).or_default().push(requester);
        }
        Self(by_user)
    }

    /// The first of those whose user and groups the asker has.
    pub(super) fn find(&self, request: &SigningRequest) -> Option<&'e Requester> {
        self.0.get(request.username.as_str())?.iter().copied().find(|requester| requester.is(request))
    }
}

impl Seen {
    /// What `nodes` and all `requests`, decided or not, show at `now`.
    ///
    /// Names are read leniently here ([`pki::read_claims`]): Kubernetes' own approver and signer, and admins, grant requests
    /// that [`super::judge()`] would not.
    #[must_use]
    pub fn in_cluster(nodes: &[Node], requests: &[SigningRequest], now: Timestamp) -> Self {
        let mut seen = Self { nodes: nodes.iter().map(|node| node.name.clone()).collect(), ..Self::default() };
        let is_granted = |request: &&SigningRequest| {
            let has_certificate = request.state == RequestState::Approved || !request.certificate.is_empty();
            has_certificate && super::IDENTITY_SIGNERS.contains(&request.signer.as_str())
        };
        for request in requests.iter().filter(is_granted) {
            // The certificate is what counts, where it can be read as the one thing it should be.
            if !pki::parse_certificate(&request.certificate).is_ok_and(|issued| issued.not_after < now) {
                seen.add_granted(request);
            }
        }
        seen
    }

    fn add_granted(&mut self, request: &SigningRequest) {
        let mut claims = pki::read_claims(&request.request);
        claims.extend(pki::read_claims(&request.certificate));
        if claims.is_empty() {
            self.unread.push(UnreadGrant {
                request: shown(&request.name),
                requester: shown(&request.username),
                created: request.created,
            });
        }
        for claim in claims {
            let grant = Grant { created: request.created, spki_sha256: claim.spki_sha256 };
            for name in claim.common_names {
                let Some(node) = name.strip_prefix(super::NODE_PREFIX) else { continue };
                let is_renewal = name == request.username;
                let kind = if is_renewal { &mut self.renewed } else { &mut self.granted };
                let grants = kind.entry(node.to_owned()).or_default();
                if !grants.contains(&grant) {
                    grants.push(grant.clone());
                }
            }
        }
    }
}
