//! Why a rotation stands still: at which host, and what to do about it.

use crate::{cluster, digest::Fingerprint, inventory::Host, remote, store, workflow::report::ErrorReport};

const RESUME: &str = "then `kubemint rotate token --resume`";

/// What ended a run over the stages before their end.
#[derive(Debug)]
pub(super) struct Stop {
    /// The control-plane host in hand.
    pub host: Option<String>,
    pub why: ErrorReport,
}

impl Stop {
    pub fn new(code: &'static str, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { host: None, why: ErrorReport { code, message: message.into(), hint: hint.into() } }
    }

    pub fn at(self, host: &Host) -> Self {
        Self { host: Some(host.name.as_str().to_owned()), ..self }
    }

    pub fn of_remote(error: &remote::Error) -> Self {
        let why = ErrorReport::of_host(error);
        Self { host: None, why: ErrorReport { hint: format!("{}; {RESUME}", why.hint), ..why } }
    }

    pub fn of_cluster(error: &cluster::Error) -> Self {
        Self::new(error.code(), error.to_string(), format!("{}; {RESUME}", error.hint()))
    }

    pub fn of_store(error: &store::Error) -> Self {
        Self::new("state_io", error.to_string(), format!("{}; {RESUME}", error.hint_midway()))
    }

    pub fn interrupted() -> Self {
        Self::new("interrupted", "interrupted", "`kubemint rotate token --resume` goes on, --abort goes back")
    }
}

/// What is the matter with an apiserver.
#[derive(Debug, Clone)]
pub(super) enum Ailment {
    /// It does not answer, or is not ready.
    Away(cluster::Error),
    /// It is ready and refuses a token that it should know.
    Unknown(Fingerprint),
    /// It is ready and still knows a token that it should not.
    StillKnown(Fingerprint),
    /// It takes the bearer of our token for somebody else.
    Somebody { token: Fingerprint, user: String },
}

impl Ailment {
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Away(_) => "apiserver_not_back",
            Self::Unknown(_) | Self::StillKnown(_) | Self::Somebody { .. } => "apiserver_old_tokens",
        }
    }

    fn message(&self) -> String {
        match self {
            Self::Away(error) => format!("kube-apiserver does not come back: {error}"),
            Self::Unknown(token) => format!("kube-apiserver is ready, but does not know token {token} (401)"),
            Self::StillKnown(token) => format!("kube-apiserver is ready, but still accepts token {token}"),
            Self::Somebody { token, user } => {
                format!("kube-apiserver takes the bearer of token {token} for {user:?}, another user")
            }
        }
    }

    fn hint(&self) -> String {
        let look = match self {
            Self::Away(_) => "look at kube-apiserver's log on that host and fix it",
            Self::Unknown(_) | Self::StillKnown(_) => {
                "check that services.kube-apiserver really restarts it, and that its --token-auth-file is the token.csv \
                 that kubemint installs"
            }
            Self::Somebody { .. } => "another authenticator or another row knows that token: `kubemint token lint`",
        };
        format!("{look}; {RESUME}")
    }

    /// `restart` is how its restart ended, where that was not well.
    pub fn stop(&self, restart: Option<&str>) -> Stop {
        let restart = restart.map(|how| format!(" ({how})")).unwrap_or_default();
        Stop::new(self.code(), format!("{}{restart}", self.message()), self.hint())
    }
}
