//! The two questions about ourselves: SelfSubjectReview (authentication.k8s.io/v1, since Kubernetes 1.28) says whom the
//! apiserver takes us for, SelfSubjectAccessReview (authorization.k8s.io/v1) what we may do. Both are open to everybody
//! who is authenticated (ClusterRole system:basic-user).

use super::{Action, Identity, call::Call, retry::Repeat};
use k8s_openapi::api::authentication::v1::SelfSubjectReviewStatus;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use zeroize::Zeroizing;

/// Whom an apiserver takes those for who show it nothing.
pub(super) const ANONYMOUS: &str = "system:anonymous";

const WHO_AM_I: &str = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
const MAY_I: &str = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";

/// An answer of the right kind: a proxy's page or another API's object must not pass for a verdict.
#[derive(Deserialize)]
struct Review<S> {
    kind: String,
    status: Option<S>,
}

fn parse_review<S: DeserializeOwned>(body: &[u8], kind: &str) -> Option<S> {
    let review: Review<S> = serde_json::from_slice(body).ok()?;
    review.status.filter(|_| review.kind == kind)
}

/// Asked once: the caller polls.
pub(super) fn who_am_i() -> Call {
    let body = r#"{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}"#.to_owned();
    let what = "SelfSubjectReview in authentication.k8s.io/v1, which came with Kubernetes 1.28";
    Call::post(WHO_AM_I, Zeroizing::new(body), Repeat::Never, what)
}

pub(super) fn parse_identity(body: &[u8]) -> Option<Identity> {
    let status: SelfSubjectReviewStatus = parse_review(body, "SelfSubjectReview")?;
    let user = status.user_info?;
    let username = user.username.filter(|name| !name.is_empty())?;
    Some(Identity { username, uid: user.uid.unwrap_or_default(), groups: user.groups.unwrap_or_default() })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Question<'a> {
    api_version: &'static str,
    kind: &'static str,
    spec: Spec<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Spec<'a> {
    resource_attributes: Attributes<'a>,
}

/// An empty name, group or namespace means all names, the core group, all namespaces.
#[derive(Serialize)]
struct Attributes<'a> {
    namespace: &'a str,
    verb: &'a str,
    group: &'a str,
    resource: &'a str,
    subresource: &'a str,
    name: &'a str,
}

pub(super) fn may_i(action: &Action) -> Call {
    let Action { verb, group, resource, subresource, name } = *action;
    // Of what is asked for only Secrets have a namespace, and those of bootstrap tokens are in this one.
    let namespace = if (group, resource) == ("", "secrets") { "kube-system" } else { "" };
    let resource_attributes = Attributes { namespace, verb, group, resource, subresource, name };
    let question = Question {
        api_version: "authorization.k8s.io/v1",
        kind: "SelfSubjectAccessReview",
        spec: Spec { resource_attributes },
    };
    let body = serde_json::to_string(&question).unwrap_or_default();
    Call::post(MAY_I, Zeroizing::new(body), Repeat::Always, "SelfSubjectAccessReview in authorization.k8s.io/v1")
}

#[derive(Deserialize)]
struct Permission {
    allowed: bool,
}

pub(super) fn parse_permission(body: &[u8]) -> Option<bool> {
    parse_review::<Permission>(body, "SelfSubjectAccessReview").map(|status| status.allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_read_and_fields_we_do_not_know_are_passed_over() {
        let body = br#"{"kind":"SelfSubjectReview","later":[1],"status":{"userInfo":{"username":"kubelet-bootstrap",
            "uid":"10001","groups":["a","system:authenticated"],"extra":{"k":["v"]},"new":{}}}}"#;
        let identity = parse_identity(body).unwrap();
        assert_eq!((identity.username.as_str(), identity.uid.as_str()), ("kubelet-bootstrap", "10001"));
        assert_eq!(identity.groups, ["a", "system:authenticated"]);
    }

    #[test]
    fn what_is_no_review_names_nobody() {
        for body in [
            "",
            "{}",
            "[]",
            "<html>",
            r#"{"kind":"SelfSubjectReview"}"#,
            r#"{"kind":"SelfSubjectReview","status":{}}"#,
            r#"{"kind":"SelfSubjectReview","status":{"userInfo":{"username":""}}}"#,
            r#"{"kind":"TokenReview","status":{"userInfo":{"username":"admin"}}}"#,
            r#"{"status":{"userInfo":{"username":"admin"}}}"#,
        ] {
            assert_eq!(parse_identity(body.as_bytes()), None, "{body}");
        }
        assert_eq!(parse_permission(br#"{"kind":"SelfSubjectAccessReview","status":{}}"#), None);
        assert_eq!(parse_permission(br#"{"kind":"SelfSubjectAccessReview","status":{"allowed":true}}"#), Some(true));
    }
}
