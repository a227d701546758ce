//! Kubernetes objects as the port shows them, and the bodies that are sent. Read with k8s-openapi's types, which pass
//! over fields they do not know; a bootstrap-token Secret is read without its secret part.

use super::{BootstrapSecret, Decision, Error, Node, RequestState, SigningRequest};
use crate::{
    secret::{ExposeSecret, printable},
    token::{self, BootstrapTokenSecret},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use jiff::Timestamp;
use k8s_openapi::{
    api::{
        certificates::v1::{CertificateSigningRequest, CertificateSigningRequestCondition},
        core::v1 as core,
    },
    apimachinery::pkg::apis::meta::v1::Time,
};
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::json;
use zeroize::Zeroizing;

/// Half a million objects: an apiserver that never comes to an end must not hold us for ever.
pub(super) const MOST_PAGES: usize = 1000;

/// A collection that is listed.
pub(super) struct ListOf {
    pub(super) path: &'static str,
    pub(super) filter: Option<(&'static str, &'static str)>,
    kind: &'static str,
    pub(super) what: &'static str,
}

pub(super) const SIGNING_REQUESTS: ListOf = ListOf {
    path: "/apis/certificates.k8s.io/v1/certificatesigningrequests",
    filter: None,
    kind: "CertificateSigningRequestList",
    what: "certificatesigningrequests",
};
pub(super) const NODES: ListOf = ListOf { path: "/api/v1/nodes", filter: None, kind: "NodeList", what: "nodes" };
const BOOTSTRAP_TYPE: &str = "bootstrap.kubernetes.io/token";
pub(super) const BOOTSTRAP_SECRETS: ListOf = ListOf {
    path: "/api/v1/namespaces/kube-system/secrets",
    filter: Some(("fieldSelector", "type=bootstrap.kubernetes.io/token")),
    kind: "SecretList",
    what: "bootstrap-token secrets",
};

/// What a listed object becomes; at once, so that a page is never held in both forms.
pub(super) trait Listed: Sized {
    type Object: DeserializeOwned;

    fn of(object: Self::Object) -> Self;
}

impl Listed for SigningRequest {
    type Object = CertificateSigningRequest;

    fn of(object: Self::Object) -> Self {
        signing_request(object)
    }
}

impl Listed for Node {
    type Object = core::Node;

    fn of(object: Self::Object) -> Self {
        node(object)
    }
}

/// `None`: what is no bootstrap token.
impl Listed for Option<BootstrapSecret> {
    type Object = PublicSecret;

    fn of(object: Self::Object) -> Self {
        bootstrap_secret(object)
    }
}

struct Item<T>(T);

impl<'de, T: Listed> Deserialize<'de> for Item<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        T::Object::deserialize(from).map(|object| Self(T::of(object)))
    }
}

#[derive(Deserialize)]
#[serde(bound = "T: Listed")]
struct Envelope<T> {
    kind: String,
    #[serde(default)]
    metadata: Continuation,
    /// Go writes an empty list as null, too.
    items: Option<Vec<Item<T>>>,
}

#[derive(Deserialize, Default)]
struct Continuation {
    #[serde(rename = "continue")]
    after: Option<String>,
}

pub(super) struct Page<T> {
    pub(super) items: Vec<T>,
    pub(super) after: Option<String>,
}

/// # Errors
/// Why the body is no page of `list`, without anything of the body.
pub(super) fn parse_page<T: Listed>(body: &[u8], list: &ListOf) -> Result<Page<T>, String> {
    let envelope: Envelope<T> = serde_json::from_slice(body).map_err(|e| {
        let what = if e.is_data() { format!("not a {}", list.kind) } else { "not JSON".to_owned() };
        format!("the list of {} is {what} (line {}, column {})", list.what, e.line(), e.column())
    })?;
    if envelope.kind != list.kind {
        return Err(format!("the list of {} is of another kind", list.what));
    }
    let after = envelope.metadata.after.filter(|after| !after.is_empty());
    let items = envelope.items.unwrap_or_default().into_iter().map(|Item(item)| item).collect();
    Ok(Page { items, after })
}

/// One page of the list of CertificateSigningRequests as an apiserver answers it, and where the next one begins.
///
/// # Errors
/// Why it is none, without anything of it.
pub fn parse_signing_requests(body: &[u8]) -> Result<(Vec<SigningRequest>, Option<String>), String> {
    parse_page(body, &SIGNING_REQUESTS).map(|page| (page.items, page.after))
}

/// `Secret "bootstrap-token-abcdef"`, safe to print.
pub(super) fn named(kind: &str, name: &str) -> String {
    format!("{kind} {:?}", printable(name))
}

/// An object without a creation time counts as made at the beginning of time: never as newer than something.
fn made(time: Option<Time>) -> Timestamp {
    time.map_or(Timestamp::UNIX_EPOCH, |time| time.0)
}

fn signing_request(object: CertificateSigningRequest) -> SigningRequest {
    let CertificateSigningRequest { metadata, spec, status } = object;
    let status = status.unwrap_or_default();
    SigningRequest {
        name: metadata.name.unwrap_or_default(),
        uid: metadata.uid.unwrap_or_default(),
        resource_version: metadata.resource_version.unwrap_or_default(),
        created: made(metadata.creation_timestamp),
        signer: spec.signer_name,
        username: spec.username.unwrap_or_default(),
        groups: spec.groups.unwrap_or_default(),
        usages: spec.usages.unwrap_or_default(),
        request: spec.request.0,
        expiration_seconds: spec.expiration_seconds,
        state: state(&status.conditions.unwrap_or_default()),
        certificate: status.certificate.map(|bytes| bytes.0).unwrap_or_default(),
    }
}

/// The order in which kube-controller-manager looks (`certificate_controller_utils.go`): a denied request is not signed,
/// whatever else it is. What was approved and then failed is failed.
fn state(conditions: &[CertificateSigningRequestCondition]) -> RequestState {
    let has = |name: &str| conditions.iter().any(|condition| condition.type_ == name);
    match () {
        () if has("Denied") => RequestState::Denied,
        () if has("Failed") => RequestState::Failed,
        () if has("Approved") => RequestState::Approved,
        () => RequestState::Pending,
    }
}

/// Type, reason and message of the condition.
fn condition(decision: &Decision) -> (&'static str, &'static str, &str) {
    match decision {
        Decision::Approve { message } => ("Approved", "KubemintApprove", message),
        Decision::Deny { message } => ("Denied", "KubemintDeny", message),
    }
}

/// Whether `body` is that very request with exactly our decision, and none that goes against it.
pub(super) fn is_decided_so(body: &[u8], request: &SigningRequest, decision: &Decision) -> bool {
    let Ok(object) = serde_json::from_slice::<CertificateSigningRequest>(body) else { return false };
    let (kind, reason, message) = condition(decision);
    let conditions = object.status.and_then(|status| status.conditions).unwrap_or_default();
    let ours = conditions.iter().any(|found| {
        found.type_ == kind && found.reason.as_deref() == Some(reason) && found.message.as_deref() == Some(message)
    });
    let denied = conditions.iter().any(|found| found.type_ == "Denied");
    object.metadata.uid.as_deref() == Some(&request.uid) && ours && denied == (kind == "Denied")
}

/// The body for the approval subresource: it takes the conditions alone from it, and refuses it (409) where the object is
/// not of this uid and resourceVersion any more.
pub(super) fn render_decision(request: &SigningRequest, decision: &Decision, now: Timestamp) -> Zeroizing<String> {
    let (kind, reason, message) = condition(decision);
    let now = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let body = json!({
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": {
            "name": request.name,
            "uid": request.uid,
            "resourceVersion": request.resource_version,
        },
        "spec": {
            "signerName": request.signer,
            "request": BASE64_STANDARD.encode(&request.request),
            "usages": request.usages,
            "expirationSeconds": request.expiration_seconds,
        },
        "status": { "conditions": [
            { "type": kind, "status": "True", "reason": reason, "message": message, "lastUpdateTime": now }
        ] },
    });
    Zeroizing::new(body.to_string())
}

fn node(object: core::Node) -> Node {
    let conditions = object.status.and_then(|status| status.conditions).unwrap_or_default();
    let ready = conditions.into_iter().find(|condition| condition.type_ == "Ready");
    Node {
        name: object.metadata.name.unwrap_or_default(),
        created: made(object.metadata.creation_timestamp),
        ready: ready.as_ref().is_some_and(|condition| condition.status == "True"),
        heartbeat: ready.and_then(|condition| condition.last_heartbeat_time).map(|time| time.0),
    }
}

/// A Secret without what must not be read.
#[derive(Deserialize)]
pub(super) struct PublicSecret {
    #[serde(rename = "type")]
    kind: Option<String>,
    data: Option<PublicData>,
}

/// Values are base64. `token-secret` and `description` are left out on purpose.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct PublicData {
    token_id: Option<String>,
    expiration: Option<String>,
    usage_bootstrap_authentication: Option<String>,
    auth_extra_groups: Option<String>,
}

/// `None` for what is no bootstrap token. As kube-apiserver reads it (`plugin/pkg/auth/authenticator/token/bootstrap`):
/// one whose expiration cannot be read authenticates nobody.
fn bootstrap_secret(object: PublicSecret) -> Option<BootstrapSecret> {
    let data = object.data.filter(|_| object.kind.as_deref() == Some(BOOTSTRAP_TYPE))?;
    let text = |value: Option<String>| {
        value.and_then(|value| String::from_utf8(BASE64_STANDARD.decode(value).ok()?).ok()).unwrap_or_default()
    };
    let expiration = text(data.expiration);
    let parsed = expiration.parse().ok();
    Some(BootstrapSecret {
        id: text(data.token_id),
        expiration: parsed,
        authenticates: text(data.usage_bootstrap_authentication) == "true"
            && (expiration.is_empty() || parsed.is_some()),
        groups: text(data.auth_extra_groups).split(',').filter(|group| !group.is_empty()).map(str::to_owned).collect(),
    })
}

/// The Secret that `token manifest` prints, as JSON.
///
/// # Errors
/// [`Error::Access`], when the template compiled in gives no object.
pub(super) fn render_bootstrap_secret(secret: &BootstrapTokenSecret) -> Result<Zeroizing<String>, Error> {
    let unfit = || Error::Access { reason: "the bootstrap-token Secret cannot be written".to_owned() };
    let manifest = token::render_bootstrap_secret(token::BOOTSTRAP_SECRET_TEMPLATE, secret).map_err(|_| unfit())?;
    let object: serde_json::Value = serde_yaml::from_str(manifest.expose_secret()).map_err(|_| unfit())?;
    Ok(Zeroizing::new(object.to_string()))
}
