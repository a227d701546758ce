//! How asking an apiserver can fail: stable codes and hints, as for hosts, and which failures may pass by themselves.

use crate::{
    foreign::{Pieces, SHORTEST},
    inventory::ServerUrl,
};

#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    #[error("{server} cannot be reached: {reason}")]
    Unreachable { server: ServerUrl, reason: String },
    #[error("{server} gave no answer within {seconds} s")]
    TimedOut { server: ServerUrl, seconds: u64 },
    /// TLS: its certificate is not from the CA we know, or not for this address.
    #[error("{server} shows a certificate that cannot be trusted: {reason}")]
    Untrusted { server: ServerUrl, reason: String },
    #[error("{server} is not ready: {}", failing.join(", "))]
    NotReady { server: ServerUrl, failing: Vec<String> },
    #[error("{server} does not know the credential (401)")]
    Unauthorized { server: ServerUrl },
    #[error("{server} does not allow it (403): {reason}")]
    Forbidden { server: ServerUrl, reason: String },
    #[error("{server} has no {what} (404)")]
    NotFound { server: ServerUrl, what: String },
    #[error("{server}: {what} has changed in the meantime (409)")]
    Conflict { server: ServerUrl, what: String },
    #[error("{server} is overloaded (429)")]
    Busy { server: ServerUrl },
    #[error("{server} failed ({status}): {reason}")]
    Api { server: ServerUrl, status: u16, reason: String },
    #[error("{server} gave an answer that cannot be read: {reason}")]
    Garbled { server: ServerUrl, reason: String },
    /// Of this machine: a kubeconfig or a certificate that cannot be used.
    #[error("our own access to the cluster cannot be used: {reason}")]
    Access { reason: String },
}

/// What to do about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorClass {
    /// It may pass: ask again.
    Passing,
    /// The apiserver said no.
    Refused,
    /// What was set up is wrong, here or there.
    Misconfigured,
}

impl Error {
    /// The same without words of the server that repeat one of `secrets`.
    pub(super) fn hiding(mut self, secrets: &dyn Fn() -> Pieces) -> Self {
        let hide = |said: &mut String| {
            if said.len() >= SHORTEST && secrets().stand_in(said.as_bytes()) {
                "[not shown: it repeats a credential]".clone_into(said);
            }
        };
        match &mut self {
            Self::Unreachable { reason, .. }
            | Self::Untrusted { reason, .. }
            | Self::Forbidden { reason, .. }
            | Self::Api { reason, .. }
            | Self::Garbled { reason, .. } => hide(reason),
            Self::NotReady { failing, .. } => failing.iter_mut().for_each(hide),
            // Words of ours.
            Self::TimedOut { .. }
            | Self::Unauthorized { .. }
            | Self::NotFound { .. }
            | Self::Conflict { .. }
            | Self::Busy { .. }
            | Self::Access { .. } => {}
        }
        self
    }

    /// Stable name of the kind, for scripts.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "api_unreachable",
            Self::TimedOut { .. } => "api_timeout",
            Self::Untrusted { .. } => "api_untrusted",
            Self::NotReady { .. } => "api_not_ready",
            Self::Unauthorized { .. } => "api_unauthorized",
            Self::Forbidden { .. } => "api_forbidden",
            Self::NotFound { .. } => "api_not_found",
            Self::Conflict { .. } => "api_conflict",
            Self::Busy { .. } => "api_busy",
            Self::Api { .. } => "api_failed",
            Self::Garbled { .. } => "api_garbled",
            Self::Access { .. } => "api_access",
        }
    }

    #[must_use]
    pub const fn class(&self) -> ErrorClass {
        match self {
            Self::Unreachable { .. } | Self::TimedOut { .. } | Self::NotReady { .. } | Self::Busy { .. } => {
                ErrorClass::Passing
            }
            // 5xx; what else there is has a kind of its own.
            Self::Api { status, .. } if *status >= 500 => ErrorClass::Passing,
            Self::Unauthorized { .. } | Self::Forbidden { .. } | Self::NotFound { .. } | Self::Conflict { .. } => {
                ErrorClass::Refused
            }
            Self::Api { .. } | Self::Untrusted { .. } | Self::Garbled { .. } | Self::Access { .. } => {
                ErrorClass::Misconfigured
            }
        }
    }

    /// What the operator can do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Unreachable { .. } | Self::TimedOut { .. } => {
                "check that kube-apiserver runs there and that this machine may reach it; a control-plane host's own \
                 address is its `apiserver` in the inventory"
            }
            Self::Untrusted { .. } => {
                "kube-apiserver's certificate must come from the cluster's CA and name the address in the inventory's \
                 `apiserver`"
            }
            Self::NotReady { .. } | Self::Busy { .. } | Self::Api { .. } => {
                "look at kube-apiserver's log on that host, and try again"
            }
            Self::Unauthorized { .. } => "the token or certificate has expired, was revoked, or is of another cluster",
            Self::Forbidden { .. } => "name an admin's kubeconfig with --kubeconfig",
            Self::NotFound { .. } | Self::Conflict { .. } => "run the command again",
            Self::Garbled { .. } => "check that the address is a kube-apiserver's",
            Self::Access { .. } => "name an admin's kubeconfig with --kubeconfig, or keep the CA's key at hand",
        }
        .to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    #[test]
    fn no_error_repeats_what_the_server_was_sent() {
        const TOKEN: &str = "89abcdef01234567fedcba9876543210";
        let server = || "https://10.0.0.1:6443".parse::<ServerUrl>().unwrap();
        let secrets = || Pieces::of([Secret::from(TOKEN)]);
        for said in [TOKEN, "no 89abcdef-01234567", "89.ab.CD.ef", "fedcba98 is unknown"] {
            let reason = || said.to_owned();
            for error in [
                Error::Unreachable { server: server(), reason: reason() },
                Error::Untrusted { server: server(), reason: reason() },
                Error::Forbidden { server: server(), reason: reason() },
                Error::Api { server: server(), status: 500, reason: reason() },
                Error::Garbled { server: server(), reason: reason() },
                Error::NotReady { server: server(), failing: vec!["etcd".into(), reason()] },
            ] {
                let text = error.hiding(&secrets).to_string();
                assert!(text.contains("[not shown: it repeats a credential]") && !text.contains(said), "{text}");
            }
        }
        let plain = Error::Forbidden { server: server(), reason: "cannot list 89abcde".into() };
        assert!(plain.hiding(&secrets).to_string().ends_with("cannot list 89abcde"));
    }
}
