//! The judge of signing requests: pure, one request and the expectations in, a verdict out. The order of the questions is
//! from what a request is to when it came, so that a hostile one is never called merely old. Sources: Kubernetes
//! `pkg/apis/certificates/helpers.go` (what kubelets ask) and its certificates reference page (what signers grant). The
//! built-in approver looks at the CN's prefix only; here the whole name must be one of the inventory.

use super::{
    CLIENT_SIGNER, NODE_PREFIX, NODES_GROUP, SERVING_SIGNER,
    expectations::{Askers, Expectations, ExpectedNode, Grant, Requester, Selection, Serving, is_exactly},
    verdict::{Purpose, Reason, Verdict, listed, shown},
};
use crate::{
    clock::to_the_second,
    cluster::{RequestState, SigningRequest},
    digest::Digest,
    pki::{self, RequestError, RequestInfo},
};
use jiff::SignedDuration;
use std::collections::BTreeSet;

/// kube-controller-manager's default `--cluster-signing-duration`: a kubelet asks for no time at all.
const LONGEST: i32 = 365 * 24 * 60 * 60;
/// What clocks may differ by.
const SKEW: SignedDuration = SignedDuration::from_mins(5);

/// What to do about `request`, seen alone.
#[must_use]
pub fn judge(request: &SigningRequest, expectations: &Expectations) -> Verdict {
    assess(request, expectations, &Askers::of(expectations)).verdict
}

/// A verdict with what was learnt on the way.
pub(super) struct Assessment {
    pub(super) node: Option<String>,
    pub(super) purpose: Option<Purpose>,
    pub(super) spki_sha256: Option<Digest>,
    pub(super) verdict: Verdict,
}

/// Why not, in words.
type Objection = (Reason, String);

/// `askers` are those of the expectations.
pub(super) fn assess(request: &SigningRequest, expectations: &Expectations, askers: &Askers<'_>) -> Assessment {
    let asker = Asker::of(request, expectations, askers);
    let mut case = Case { request, expectations, asker, node: None, key: None };
    let verdict = match case.objection() {
        Err(objection) => case.weigh(objection),
        Ok(purpose) => case.approval(purpose),
    };
    Assessment { node: case.node.clone(), purpose: case.purpose(), spki_sha256: case.key, verdict }
}

/// Whom the apiserver took the asker for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asker<'a> {
    /// The holder of a token of ours.
    Token(&'a Requester),
    /// A node of the inventory, by its certificate.
    Node(&'a str),
    Stranger,
}

impl<'a> Asker<'a> {
    fn of(request: &'a SigningRequest, expectations: &Expectations, askers: &Askers<'a>) -> Self {
        if let Some(requester) = askers.find(request) {
            return Self::Token(requester);
        }
        let name = request.username.strip_prefix(NODE_PREFIX).filter(|name| expectations.nodes.contains_key(*name));
        match name {
            Some(name) if is_exactly(&request.groups, [NODES_GROUP].into_iter()) => Self::Node(name),
            _ => Self::Stranger,
        }
    }
}

/// One request under judgement.
struct Case<'a> {
    request: &'a SigningRequest,
    expectations: &'a Expectations,
    asker: Asker<'a>,
    node: Option<String>,
    key: Option<Digest>,
}

impl Case<'_> {
    fn objection(&mut self) -> Result<Purpose, Objection> {
        let request = self.request;
        if request.state != RequestState::Pending {
            return Err((Reason::AlreadyDecided, "it is decided already".to_owned()));
        }
        let is_serving = match request.signer.as_str() {
            CLIENT_SIGNER => false,
            SERVING_SIGNER => true,
            other => return Err((Reason::WrongSigner, format!("kubelets do not ask the signer {}", shown(other)))),
        };
        let info = pki::parse_request(&request.request).map_err(|error| unreadable(&error))?;
        self.key = Some(info.spki_sha256);
        let name = node_name(&info)?;
        let expected = self.expectations.nodes.get(name);
        let Some(expected) = expected else {
            let detail = format!("{} is no node of the inventory", shown(name));
            return Err((Reason::NotInInventory, detail));
        };
        self.node = Some(name.to_owned());
        if info.organizations != [NODES_GROUP] {
            let found = listed(info.organizations.iter().map(String::as_str));
            let detail = format!("its O is [{found}], not {NODES_GROUP} alone");
            return Err((Reason::WrongGroup, detail));
        }
        self.check_requester(name, is_serving)?;
        check_names(&info, is_serving.then_some(expected))?;
        check_usages(&request.usages, &info, is_serving)?;
        if let Some(seconds) = request.expiration_seconds.filter(|seconds| *seconds > LONGEST) {
            return Err((Reason::LongLived, format!("it asks for {} days", seconds / (24 * 60 * 60))));
        }
        let purpose = match self.asker {
            _ if is_serving => Purpose::Serving,
            Asker::Token(_) => Purpose::Join,
            Asker::Node(_) | Asker::Stranger => Purpose::Renewal,
        };
        self.check_wanted(name, expected, purpose)?;
        if purpose == Purpose::Join {
            self.check_key(name, info.spki_sha256)?;
            self.check_not_joined(name, info.spki_sha256)?;
        }
        Ok(purpose)
    }

    fn check_requester(&self, name: &str, is_serving: bool) -> Result<(), Objection> {
        let request = self.request;
        let may = match self.asker {
            Asker::Token(requester) => !is_serving && requester.may_ask_for(name),
            Asker::Node(own) => own == name,
            Asker::Stranger => false,
        };
        if may {
            return Ok(());
        }
        let groups: BTreeSet<&str> = request.groups.iter().map(String::as_str).collect();
        let asker = format!("{} (in {})", shown(&request.username), listed(groups));
        Err((Reason::WrongRequester, format!("{asker} may not ask for {name}")))
    }

    fn check_wanted(&self, name: &str, expected: &ExpectedNode, purpose: Purpose) -> Result<(), Objection> {
        let (created, now) = (self.request.created, self.expectations.now);
        if expected.selection == Selection::LeftOut {
            return Err((Reason::NotSelected, format!("{name} is not among the hosts asked about")));
        }
        if purpose == Purpose::Serving && self.expectations.serving == Serving::Leave {
            return Err((Reason::ServingNotAsked, "a serving certificate, and --serving is not given".to_owned()));
        }
        if created < self.expectations.since {
            return Err((Reason::TooOld, format!("it was made at {}, before --since", to_the_second(created))));
        }
        if let Asker::Token(requester) = self.asker
            && purpose == Purpose::Join
            && created < requester.since
        {
            let what = if requester.since == jiff::Timestamp::MAX { "is being" } else { "was" };
            let why = format!(
                "it was made at {}, before the token of {} {what} revoked",
                to_the_second(created),
                requester.username
            );
            return Err((Reason::TooOld, why));
        }
        if created.duration_since(now) > SKEW {
            return Err((
                Reason::InTheFuture,
                format!("it was made at {}, by the cluster's clock", to_the_second(created)),
            ));
        }
        Ok(())
    }

    /// Where the node's host was asked for its key, nobody else's will do.
    fn check_key(&self, name: &str, key: Digest) -> Result<(), Objection> {
        let detail = match self.expectations.keys.get(name) {
            None => return Ok(()),
            Some(Some(own)) if *own == key => return Ok(()),
            Some(Some(own)) => {
                format!("its key is not that of {name}'s kubelet: their SHA-256 are {key} and {own}")
            }
            Some(None) => format!("{name}'s kubelet has no key to ask with; the SHA-256 of this one is {key}"),
        };
        Err((Reason::OtherKey, detail))
    }

    /// A token holder may pose as any node, so a name that is taken stays with whom it was given to. A node that is to come
    /// back gets one key: the first that is granted from `since` on.
    fn check_not_joined(&self, name: &str, key: Digest) -> Result<(), Objection> {
        let (seen, since) = (&self.expectations.seen, self.expectations.since);
        let comes_back = self.expectations.rebootstrapped.contains(name);
        if seen.nodes.contains(name) && !comes_back {
            return Err((Reason::AlreadyJoined, format!("{name} has joined already")));
        }
        let of_other = |grant: &&Grant| grant.spki_sha256 != Some(key);
        let mut granted = seen.granted.get(name).into_iter().flatten().filter(of_other);
        if let Some(grant) = granted.find(|grant| !comes_back || grant.created >= since) {
            let when = to_the_second(grant.created);
            let detail = format!("another key was granted {name}'s name, asked for at {when}");
            return Err((Reason::AlreadyJoined, detail));
        }
        // The one that is to come back had a certificate, and may have renewed it until it was stopped.
        let mut renewed = seen.renewed.get(name).into_iter().flatten().filter(of_other);
        match renewed.find(|_| !comes_back) {
            None => Ok(()),
            Some(grant) => {
                let when = to_the_second(grant.created);
                let detail = format!("{name} has a certificate, which it renewed with another key at {when}");
                Err((Reason::AlreadyJoined, detail))
            }
        }
    }

    /// Whether the objection shows bad intent. Requests that neither come from our nodes and tokens nor name a node of ours
    /// are other people's business.
    fn weigh(&self, (reason, detail): Objection) -> Verdict {
        use Reason::{
            AlreadyDecided, AlreadyJoined, Ambiguous, BadRequest, BadSignature, Changed, ExtraExtension, ExtraSan,
            Garbled, Gone, InTheFuture, LongLived, NotInInventory, NotSelected, OtherKey, ServingNotAsked, TooOld,
            WeakKey, WrongGroup, WrongRequester, WrongSigner, WrongSubject, WrongUsages,
        };
        let is_hostile = match reason {
            // Whoever installs a machine anew looks like this too.
            AlreadyJoined | Ambiguous | OtherKey => false,
            TooOld | InTheFuture | NotSelected | ServingNotAsked | AlreadyDecided | Changed | Gone | Garbled => false,
            // A node's agents may ask other signers with its certificate; nobody but kubelets holds the token.
            WrongSigner => matches!(self.asker, Asker::Token(_)),
            BadRequest | BadSignature | WeakKey | WrongSubject | NotInInventory => self.asker != Asker::Stranger,
            WrongGroup | WrongRequester | ExtraSan | ExtraExtension | WrongUsages | LongLived => true,
        };
        if is_hostile { Verdict::Deny { reason, detail } } else { Verdict::Leave { reason, detail } }
    }

    fn approval(&self, purpose: Purpose) -> Verdict {
        let name = self.node.as_deref().unwrap_or_default();
        Verdict::Approve {
            why: match purpose {
                Purpose::Join => format!("{name} asks for its first certificate with our token"),
                Purpose::Renewal => format!("{name} renews its certificate"),
                Purpose::Serving => format!("{name} asks for a serving certificate for its own names"),
            },
        }
    }

    fn purpose(&self) -> Option<Purpose> {
        match (self.request.signer.as_str(), self.asker) {
            (SERVING_SIGNER, _) => Some(Purpose::Serving),
            (CLIENT_SIGNER, Asker::Token(_)) => Some(Purpose::Join),
            (CLIENT_SIGNER, Asker::Node(_)) => Some(Purpose::Renewal),
            _ => None,
        }
    }
}

fn unreadable(error: &RequestError) -> Objection {
    let reason = match error {
        RequestError::BadSignature => Reason::BadSignature,
        RequestError::UnfitKey { .. } | RequestError::UnsupportedSignature { .. } => Reason::WeakKey,
        RequestError::SubjectAttribute { .. } => Reason::WrongSubject,
        RequestError::AlternativeName { .. } => Reason::ExtraSan,
        RequestError::Attribute { .. } => Reason::ExtraExtension,
        _ => Reason::BadRequest,
    };
    (reason, shown(&error.to_string()))
}

/// The name that the one CN gives, in the form that node names have.
fn node_name(info: &RequestInfo) -> Result<&str, Objection> {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.');
    let name = match info.common_names.as_slice() {
        [only] => only.strip_prefix(NODE_PREFIX).filter(|name| !name.is_empty() && name.bytes().all(allowed)),
        _ => None,
    };
    name.ok_or_else(|| {
        let found = listed(info.common_names.iter().map(String::as_str));
        (Reason::WrongSubject, format!("its CN is [{found}], not one {NODE_PREFIX}NAME"))
    })
}

/// `serving`: the node, where the certificate is for its HTTPS port.
fn check_names(info: &RequestInfo, serving: Option<&ExpectedNode>) -> Result<(), Objection> {
    if !info.other_extensions.is_empty() {
        let found = listed(info.other_extensions.iter().map(String::as_str));
        let detail = format!("it asks for the extensions {found}");
        return Err((Reason::ExtraExtension, detail));
    }
    let names = &info.alternative_names;
    let dns = names.dns.iter().filter(|name| !serving.is_some_and(|node| node.names.contains(*name)));
    let addresses = names.addresses.iter().filter(|ip| !serving.is_some_and(|node| node.addresses.contains(*ip)));
    let addresses: Vec<String> = addresses.map(ToString::to_string).collect();
    let texts = dns.chain(&names.uris).chain(&names.emails).chain(&addresses);
    let extra: Vec<&str> = texts.map(String::as_str).collect();
    if !extra.is_empty() {
        return Err((Reason::ExtraSan, format!("it asks for the alternative names {}", listed(extra))));
    }
    if serving.is_some() && names.is_empty() {
        return Err((Reason::ExtraSan, "a serving certificate needs a name of the node".to_owned()));
    }
    Ok(())
}

/// Exactly what kubelets ask; RSA keys may encipher as well.
fn check_usages(usages: &[String], info: &RequestInfo, is_serving: bool) -> Result<(), Objection> {
    let purpose = if is_serving { "server auth" } else { "client auth" };
    let found: BTreeSet<&str> = usages.iter().map(String::as_str).collect();
    let plain = BTreeSet::from(["digital signature", purpose]);
    let enciphering = BTreeSet::from(["digital signature", "key encipherment", purpose]);
    let fits = found == plain || info.is_rsa && found == enciphering;
    if fits && found.len() == usages.len() {
        return Ok(());
    }
    let asked = listed(usages.iter().map(String::as_str));
    let key = if info.is_rsa { "" } else { " without key encipherment" };
    let detail = format!("its usages are [{asked}]; a kubelet asks for digital signature and {purpose}{key}");
    Err((Reason::WrongUsages, detail))
}
