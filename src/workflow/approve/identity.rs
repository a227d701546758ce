//! What tells requests apart: name and uid, each the request's own, and the version that was judged. A decision names all
//! three, so one that has not all of them, or shares one, is never decided: the decision could reach another. What a request
//! asks for is not known here.

use crate::cluster::SigningRequest;
use std::collections::HashMap;

/// How many requests of one answer have a name, and a uid.
pub(super) struct Identities<'r> {
    names: HashMap<&'r str, usize>,
    uids: HashMap<&'r str, usize>,
}

impl<'r> Identities<'r> {
    /// Of all requests, decided or not.
    pub(super) fn of(requests: &'r [SigningRequest]) -> Self {
        let (mut names, mut uids) = (HashMap::new(), HashMap::new());
        for request in requests {
            *names.entry(request.name.as_str()).or_default() += 1;
            *uids.entry(request.uid.as_str()).or_default() += 1;
        }
        Self { names, uids }
    }

    /// Why the request, one of these, cannot be told from others.
    pub(super) fn objection(&self, request: &SigningRequest) -> Option<String> {
        let shared = |counts: &HashMap<&str, usize>, text: &str| counts.get(text).copied().filter(|count| *count > 1);
        for (what, text) in
            [("name", &request.name), ("uid", &request.uid), ("resourceVersion", &request.resource_version)]
        {
            if text.is_empty() {
                return Some(format!("the apiserver's answer gives it no {what}"));
            }
        }
        if let Some(count) = shared(&self.uids, &request.uid) {
            return Some(format!("the apiserver's answer has {count} requests with its uid"));
        }
        shared(&self.names, &request.name)
            .map(|count| format!("the apiserver's answer has {count} requests with its name"))
    }
}
