//! Why no node is touched: what stands in its way back into the cluster. Stable codes, words and cures.

use crate::{cluster, inventory::ServerUrl, workflow::report::ErrorReport};

#[derive(Debug, thiserror::Error)]
pub enum Obstacle {
    #[error("{server} does not know the stored bootstrap token (401)")]
    TokenUnknown { server: ServerUrl },
    #[error("{server} takes the stored bootstrap token for {found}, not for {wanted}")]
    TokenOfOther { server: ServerUrl, found: String, wanted: String },
    #[error("our rights do not suffice to approve signing requests of kubelets; not allowed: {what}")]
    NoRights { what: String },
    #[error("{0}")]
    Api(cluster::Error),
    #[error("{host}: {path} is not the stored one ({state})")]
    NotCurrent { host: String, path: String, state: &'static str },
    #[error("{host}: {} ({})", .error.message, .error.code)]
    Host { host: String, error: ErrorReport },
    #[error("interrupted before all hosts were looked at")]
    Interrupted,
}

impl Obstacle {
    /// The stable name scripts rely on.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::TokenUnknown { .. } => "token_unknown",
            Self::TokenOfOther { .. } => "token_of_other",
            Self::NoRights { .. } => "api_forbidden",
            Self::Api(error) => error.code(),
            Self::NotCurrent { .. } => "bootstrap_not_current",
            Self::Host { error, .. } => error.code,
            Self::Interrupted => "interrupted",
        }
    }

    /// What a person can do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Api(error) => return error.hint(),
            Self::Host { error, .. } => return error.hint.clone(),
            Self::TokenUnknown { .. } => {
                "`kubemint status` shows whether token.csv there is the stored one; kube-apiserver reads it only at its start"
            }
            Self::TokenOfOther { .. } => "another row of token.csv there has the same token: `kubemint token lint` it",
            Self::NoRights { .. } => {
                "name an admin's kubeconfig with --kubeconfig, or bind the ClusterRole \
                 system:certificates.k8s.io:kube-apiserver-client-kubelet-approver to the user and let it list nodes"
            }
            Self::NotCurrent { .. } => "`kubemint apply` installs it",
            Self::Interrupted => "run the same command again",
        }
        .to_owned()
    }
}
