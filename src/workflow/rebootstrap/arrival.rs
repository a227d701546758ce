//! Waiting for a node to come back, and what is known of it before it goes. No two machines' clocks are compared: a request
//! counts when it is younger than every earlier one of the node, by the apiserver's clock, and a heartbeat when it is
//! younger than the last one from before the request was granted, by the kubelet's.
//!
//! Which request is the kubelet's its host can tell: it has the key. What is approved is held against that key in the very
//! version that is decided, so that nothing can be put in its place in between.

use super::{Candidate, LeftRequest, Rebootstrap, Trouble, connect};
use crate::{
    cluster::{self, Cluster, ErrorClass, Node, RequestState, SigningRequest},
    digest::Digest,
    pki,
    remote::kubelet::{AskingKey, probe_asking_key},
    secret::printable,
    workflow::approve::{self, Act, CLIENT_SIGNER, DEFAULT_SINCE, Expectations, Judged, NODE_PREFIX, Outcome, Seen},
};
use jiff::{SignedDuration, Timestamp};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

const PAUSE: Duration = Duration::from_secs(1);
/// For how long a key must be the only one that asks, where the host cannot tell which is its own: a thief's request is not
/// granted before the node's own is there.
const ALONE: Duration = Duration::from_secs(3);
/// The API counts in whole seconds.
const SECOND: SignedDuration = SignedDuration::from_secs(1);

/// A node that is to come back.
pub(super) struct Arrival<'a> {
    run: &'a Rebootstrap<'a>,
    candidate: &'a Candidate<'a>,
    node: &'a str,
    /// From when on a request is a new one.
    since: Timestamp,
    /// The node's last heartbeat before its new certificate.
    heartbeat: Option<Timestamp>,
    cluster: Box<dyn Cluster>,
    /// The key of the kubelet, as its host told last.
    own: Option<Digest>,
    /// The key that asks alone, and since which look.
    alone: Option<(Digest, Instant)>,
    /// What others asked in its name.
    left: BTreeMap<String, LeftRequest>,
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
    /// The kubelet's own request; where its key is not known the new one that was granted, or else the youngest.
    request: Option<SigningRequest>,
    is_granted: bool,
    /// Another key asks for the same name.
    has_rival: bool,
}

/// Whom to grant the node's name.
enum Choice {
    /// Nobody asks.
    Nobody,
    /// It cannot be told yet.
    Later,
    /// Who has this key; `None`: none of those who ask.
    Only(Option<Digest>),
}

impl<'a> Arrival<'a> {
    /// Before anything is done to the node.
    pub fn expect(run: &'a Rebootstrap<'a>, candidate: &'a Candidate<'a>) -> Result<Self, Trouble> {
        let (cluster, node) = (connect(run)?, candidate.host.name.as_str());
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
        let left = BTreeMap::new();
        Ok(Self { run, candidate, node, since, heartbeat, cluster, own: None, alone: None, left })
    }

    /// Approves what the node asks for, and waits until it is ready.
    pub fn wait(&mut self) -> Result<Granted, Trouble> {
        let end = Instant::now() + self.run.patience;
        let mut left: Option<Judged> = None;
        loop {
            let looked = self.look(&mut left);
            let trouble = match looked {
                Ok(glance) => match self.judge(&glance, left.as_ref()) {
                    Ok(granted) => return Ok(granted),
                    Err(trouble) => trouble,
                },
                Err(Trouble::Api(error)) if error.class() == ErrorClass::Passing => {
                    if let Ok(other) = approve::connect_ready(self.run.clusters, self.run.servers) {
                        self.cluster = other;
                    }
                    Trouble::Api(error)
                }
                // The host may be there again in a moment.
                Err(trouble @ Trouble::Host { .. }) => trouble,
                Err(trouble) => return Err(trouble),
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

    /// Requests in its name with another key than its own.
    pub fn into_left(self) -> Vec<LeftRequest> {
        self.left.into_values().collect()
    }

    fn look(&mut self, left: &mut Option<Judged>) -> Result<Glance, Trouble> {
        let mut glance = self.glance().map_err(Trouble::Api)?;
        if glance.is_granted {
            return Ok(glance);
        }
        // Nobody but the kubelet from before can have sent it: the new one has no certificate yet.
        self.heartbeat = glance.heartbeat;
        let (act, allowed) = match self.choose(&glance)? {
            Choice::Nobody => return Ok(glance),
            Choice::Later => (Act::Foresee, None),
            Choice::Only(key) => (Act::Decide, Some(key)),
        };
        if self.own.is_some() {
            glance.request = glance.request.filter(|request| key(request) == self.own);
        }
        let only = BTreeSet::from([self.node.to_owned()]);
        let expectations = Expectations {
            now: self.run.fleet.clock.now(),
            since: self.since,
            rebootstrapped: only.clone(),
            keys: allowed.map(|key| (self.node.to_owned(), key)).into_iter().collect(),
            ..self.run.expectations.clone().only(&only)
        };
        let round = approve::run_round(self.cluster.as_ref(), &expectations, act).map_err(Trouble::Api)?;
        *left = None;
        for judged in round.judged {
            if judged.node.as_deref() != Some(self.node) || judged.created < self.since {
                continue;
            }
            match judged.outcome {
                Outcome::Failed(error) => return Err(Trouble::Api(error)),
                Outcome::Approved => glance.is_granted = true,
                Outcome::Left | Outcome::Denied => {
                    self.keep_left(&judged);
                    // What the kubelet itself is told counts before what others are.
                    if left.is_none() || judged.spki_sha256 == self.own {
                        *left = Some(judged);
                    }
                }
            }
        }
        Ok(glance)
    }

    fn choose(&mut self, glance: &Glance) -> Result<Choice, Trouble> {
        if glance.request.is_none() && !glance.has_rival {
            self.alone = None;
            return Ok(Choice::Nobody);
        }
        let Candidate { host, paths } = self.candidate;
        let told = probe_asking_key(self.run.fleet.remote, host, paths, self.run.fleet.entropy)
            .map_err(|error| Trouble::Host { step: "looking at the key it asks with", error })?;
        let (own, choice) = match told {
            AskingKey::Known(key) => (Some(key), Choice::Only(Some(key))),
            AskingKey::Absent => (None, Choice::Only(None)),
            AskingKey::Unread => match self.alone_since(glance) {
                Some((key, since)) if since.elapsed() >= ALONE => (None, Choice::Only(Some(key))),
                _ => (None, Choice::Later),
            },
        };
        self.own = own;
        Ok(choice)
    }

    /// The key that asks alone. Nothing is decided before one has been the only one that asks for a while.
    fn alone_since(&mut self, glance: &Glance) -> Option<(Digest, Instant)> {
        let asking = glance.request.as_ref().filter(|_| !glance.has_rival).and_then(key);
        let since = match (asking, self.alone) {
            (Some(asking), Some((before, since))) if asking == before => since,
            _ => Instant::now(),
        };
        self.alone = asking.map(|asking| (asking, since));
        self.alone
    }

    /// Of others, where it is known which is its own.
    fn keep_left(&mut self, judged: &Judged) {
        if let Some((approve::Reason::OtherKey, detail)) = judged.reason() {
            let (request, code) = (judged.name.clone(), approve::Reason::OtherKey.code());
            let left = LeftRequest { request: request.clone(), code, detail: detail.to_owned() };
            self.left.insert(request, left);
        }
    }

    fn glance(&self) -> Result<Glance, cluster::Error> {
        let nodes = self.cluster.nodes()?;
        // After the nodes: a heartbeat that is seen while nothing is granted is an old one.
        let requests = self.cluster.signing_requests()?;
        let seen = Seen::in_cluster(&nodes, &requests, self.run.fleet.clock.now());
        let grants = || seen.granted.get(self.node).into_iter().flatten().filter(|grant| grant.created >= self.since);
        let node = find(&nodes, self.node);
        let is_new = |request: &SigningRequest| asks_for(request, self.node) && request.created >= self.since;
        let (mut own, others): (Vec<SigningRequest>, Vec<SigningRequest>) =
            requests.into_iter().filter(is_new).partition(|request| self.own.is_none() || key(request) == self.own);
        own.sort_by_key(|request| (request.state == RequestState::Approved, request.created));
        let request = own.pop();
        let is_rival = |other: &SigningRequest| {
            other.state == RequestState::Pending && request.as_ref().is_none_or(|request| key(request) != key(other))
        };
        let has_rival = own.iter().chain(&others).any(is_rival);
        Ok(Glance {
            heartbeat: node.and_then(|node| node.heartbeat),
            is_ready: node.is_some_and(|node| node.ready),
            request,
            has_rival,
            is_granted: grants().any(|grant| self.own.is_none_or(|own| grant.spki_sha256 == Some(own))),
        })
    }

    /// What is missing yet.
    fn judge(&self, glance: &Glance, left: Option<&Judged>) -> Result<Granted, Trouble> {
        let seconds = self.run.patience.as_secs();
        let Some(request) = &glance.request else {
            return Err(left.map_or(Trouble::NoRequest { seconds }, |left| self.left_alone(&left.name, Some(left))));
        };
        let name = || printable(&request.name);
        match request.state {
            RequestState::Denied => return Err(Trouble::RequestDenied { request: name() }),
            RequestState::Failed => return Err(Trouble::RequestFailed { request: name() }),
            RequestState::Pending if !glance.is_granted => return Err(self.left_alone(&name(), left)),
            RequestState::Pending | RequestState::Approved => {}
        }
        if glance.has_rival && glance.is_granted && self.own.is_none() {
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

    fn left_alone(&self, request: &str, left: Option<&Judged>) -> Trouble {
        let (code, detail) = left
            .and_then(Judged::reason)
            .map_or(("pending", "it was not the only one for 3 s"), |(reason, detail)| (reason.code(), detail));
        Trouble::RequestLeft { request: request.to_owned(), code, detail: detail.to_owned() }
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
