//! Waiting for a node to come back, and what is known of it before it goes. No two machines' clocks are compared: a request
//! counts when it is younger than every earlier one of the node, by the apiserver's clock, and a heartbeat when it is
//! younger than the last one from before the request was granted, by the kubelet's.

use super::{Rebootstrap, Trouble, connect};
use crate::{
    cluster::{self, Cluster, ErrorClass, Node, RequestState, SigningRequest},
    digest::Digest,
    pki,
    secret::printable,
    workflow::approve::{self, Act, CLIENT_SIGNER, DEFAULT_SINCE, Expectations, Judged, NODE_PREFIX, Outcome, Seen},
};
use jiff::{SignedDuration, Timestamp};
use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

const PAUSE: Duration = Duration::from_secs(1);
/// For how long a key must be the only one that asks: a thief's request is not granted before the node's own is there.
const ALONE: Duration = Duration::from_secs(3);
/// The API counts in whole seconds.
const SECOND: SignedDuration = SignedDuration::from_secs(1);

/// A node that is to come back.
pub(super) struct Arrival {
    node: String,
    /// From when on a request is a new one.
    since: Timestamp,
    /// The node's last heartbeat before its new certificate.
    heartbeat: Option<Timestamp>,
    cluster: Box<dyn Cluster>,
    /// The key that asks alone, and since which look.
    alone: Option<(Digest, Instant)>,
}

/// What a node was given.
pub(super) struct Granted {
    /// The name of its request.
    pub request: String,
    /// PEM.
    pub certificate: String,
}

/// What the cluster shows of the node.
struct Glance {
    heartbeat: Option<Timestamp>,
    is_ready: bool,
    /// The new request that was granted, or else the youngest.
    request: Option<SigningRequest>,
    is_granted: bool,
    /// Another key waits for the name that was granted already.
    has_rival: bool,
}

impl Arrival {
    /// Before anything is done to the node.
    pub fn expect(run: &Rebootstrap, node: &str) -> Result<Self, Trouble> {
        let cluster = connect(run)?;
        let requests = cluster.signing_requests().map_err(Trouble::Api)?;
        let nodes = cluster.nodes().map_err(Trouble::Api)?;
        let now = run.fleet.clock.now();
        let newest = requests.iter().filter(|request| asks_for(request, node)).map(|request| request.created).max();
        let long_ago = now.saturating_sub(DEFAULT_SINCE).unwrap_or(Timestamp::MIN);
        let since = newest.and_then(|newest| newest.checked_add(SECOND).ok()).map_or(long_ago, |at| at.max(long_ago));
        // One that was made this very second could not be told from what comes.
        if let Ok(wait) = Duration::try_from(since.duration_since(now))
            && wait <= Duration::from_secs(2)
        {
            std::thread::sleep(wait);
        }
        let heartbeat = find(&nodes, node).and_then(|node| node.heartbeat);
        Ok(Self { node: node.to_owned(), since, heartbeat, cluster, alone: None })
    }

    /// Approves what the node asks for, and waits until it is ready.
    pub fn wait(mut self, run: &Rebootstrap) -> Result<Granted, Trouble> {
        let end = Instant::now() + run.patience;
        let mut left: Option<Judged> = None;
        loop {
            let looked = self.look(run, &mut left);
            let trouble = match looked {
                Ok(glance) => match self.judge(&glance, left.as_ref(), run.patience.as_secs()) {
                    Ok(granted) => return Ok(granted),
                    Err(trouble) => trouble,
                },
                Err(error) if error.class() == ErrorClass::Passing => {
                    if let Ok(other) = approve::connect_ready(run.clusters, run.servers) {
                        self.cluster = other;
                    }
                    Trouble::Api(error)
                }
                Err(error) => return Err(Trouble::Api(error)),
            };
            let is_final = matches!(
                trouble,
                Trouble::RequestDenied { .. } | Trouble::RequestFailed { .. } | Trouble::Rival { .. }
            );
            if is_final || Instant::now() >= end {
                return Err(trouble);
            }
            std::thread::sleep(PAUSE.min(end.saturating_duration_since(Instant::now())));
        }
    }

    fn look(&mut self, run: &Rebootstrap, left: &mut Option<Judged>) -> Result<Glance, cluster::Error> {
        let mut glance = self.glance(run)?;
        if glance.is_granted {
            return Ok(glance);
        }
        // Nobody but the kubelet from before can have sent it: the new one has no certificate yet.
        self.heartbeat = glance.heartbeat;
        let expectations = Expectations {
            now: run.fleet.clock.now(),
            since: self.since,
            rebootstrapped: BTreeSet::from([self.node.clone()]),
            ..run.expectations.clone().only(&BTreeSet::from([self.node.clone()]))
        };
        let act = self.count_alone(&glance);
        let round = approve::run_round(self.cluster.as_ref(), &expectations, act)?;
        let own = |judged: &Judged| judged.node.as_deref() == Some(&self.node) && judged.created >= self.since;
        for judged in round.judged.into_iter().filter(own) {
            match judged.outcome {
                Outcome::Failed(error) => return Err(error),
                Outcome::Approved => glance.is_granted = true,
                Outcome::Left | Outcome::Denied => *left = Some(judged),
            }
        }
        Ok(glance)
    }

    /// Nothing is decided before one key has been the only one that asks for a while.
    fn count_alone(&mut self, glance: &Glance) -> Act {
        let asking = glance.request.as_ref().filter(|_| !glance.has_rival).and_then(key);
        let since = match (asking, self.alone) {
            (Some(asking), Some((before, since))) if asking == before => since,
            _ => Instant::now(),
        };
        self.alone = asking.map(|asking| (asking, since));
        if self.alone.is_some() && since.elapsed() >= ALONE { Act::Decide } else { Act::Foresee }
    }

    fn glance(&self, run: &Rebootstrap) -> Result<Glance, cluster::Error> {
        let nodes = self.cluster.nodes()?;
        // After the nodes: a heartbeat that is seen while nothing is granted is an old one.
        let requests = self.cluster.signing_requests()?;
        let seen = Seen::in_cluster(&nodes, &requests, run.fleet.clock.now());
        let granted = seen.granted.get(&self.node);
        let node = find(&nodes, &self.node);
        let mut own: Vec<SigningRequest> = requests
            .into_iter()
            .filter(|request| asks_for(request, &self.node) && request.created >= self.since)
            .collect();
        own.sort_by_key(|request| (request.state == RequestState::Approved, request.created));
        let request = own.pop();
        let is_rival = |other: &SigningRequest| {
            other.state == RequestState::Pending && request.as_ref().is_some_and(|request| key(request) != key(other))
        };
        let has_rival = own.iter().any(is_rival);
        Ok(Glance {
            heartbeat: node.and_then(|node| node.heartbeat),
            is_ready: node.is_some_and(|node| node.ready),
            request,
            has_rival,
            is_granted: granted.is_some_and(|all| all.iter().any(|grant| grant.created >= self.since)),
        })
    }

    /// What is missing yet.
    fn judge(&self, glance: &Glance, left: Option<&Judged>, seconds: u64) -> Result<Granted, Trouble> {
        let Some(request) = &glance.request else {
            return Err(Trouble::NoRequest { seconds });
        };
        let name = || printable(&request.name);
        match request.state {
            RequestState::Denied => return Err(Trouble::RequestDenied { request: name() }),
            RequestState::Failed => return Err(Trouble::RequestFailed { request: name() }),
            RequestState::Pending if !glance.is_granted => {
                let (code, detail) = left
                    .and_then(Judged::reason)
                    .map_or(("pending", "it was not the only one for 3 s"), |(reason, detail)| (reason.code(), detail));
                return Err(Trouble::RequestLeft { request: name(), code, detail: detail.to_owned() });
            }
            RequestState::Pending | RequestState::Approved => {}
        }
        if glance.has_rival && glance.is_granted {
            return Err(Trouble::Rival { request: name() });
        }
        if request.certificate.is_empty() {
            return Err(Trouble::NotIssued { request: name(), seconds });
        }
        if !glance.is_ready || glance.heartbeat <= self.heartbeat {
            return Err(Trouble::NotReady { seconds });
        }
        let certificate = String::from_utf8_lossy(&request.certificate).into_owned();
        Ok(Granted { request: name(), certificate })
    }
}

fn key(request: &SigningRequest) -> Option<Digest> {
    pki::parse_request(&request.request).ok().map(|info| info.spki_sha256)
}

fn find<'n>(nodes: &'n [Node], name: &str) -> Option<&'n Node> {
    nodes.iter().find(|node| node.name == name)
}

/// Whether somebody asks for a client certificate of that node with a token. What the node itself asks for is a renewal.
fn asks_for(request: &SigningRequest, node: &str) -> bool {
    let names_it = || {
        let info = pki::parse_request(&request.request).ok();
        let named =
            info.as_ref().and_then(|info| info.common_names.first()).and_then(|cn| cn.strip_prefix(NODE_PREFIX));
        named == Some(node)
    };
    request.signer == CLIENT_SIGNER && !request.username.starts_with(NODE_PREFIX) && names_it()
}
