//! Why a credential set cannot be had, and what kind of refusal that is.

use crate::{bundle, entropy, inventory::TokenForm, kubeconfig, pki, store, token};
use std::path::PathBuf;

/// Why a credential set cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot use the CA of the inventory ({}): {source}", path.display())]
    CaInput { path: PathBuf, source: pki::ImportError },
    #[error("cannot read the CA of the inventory: {0}")]
    CaUnreadable(#[source] store::Error),
    #[error("the stored CA cannot be used ({}): {source}", path.display())]
    CaStored { path: PathBuf, source: pki::ImportError },
    /// Nothing can be issued from it now; what was issued is still there to be looked at.
    #[error("cannot issue from the CA in use ({}): {source}", path.display())]
    CaOutOfDate { path: PathBuf, source: pki::ImportError, place: CaPlace },
    #[error("{} is missing, though this directory has had a CA", path.display())]
    CaMissing { path: PathBuf },
    #[error("the inventory names another CA ({wanted}) than the one in use ({stored})")]
    CaDiffers { wanted: String, stored: String },
    #[error("only the CA's certificate is at hand ({}): kubemint cannot sign without its key", path.display())]
    CaKeyAbsent { path: PathBuf },
    /// Somebody else has to sign it.
    #[error("{what} cannot be signed here, the CA's key is elsewhere ({why})")]
    Unsigned { what: String, why: String },
    #[error("{} cannot be used: {source}", path.display())]
    TokenFile { path: PathBuf, source: token::CsvError },
    /// Their users, each once.
    #[error("token.csv is missing, and with it the rows of {}", users.join(", "))]
    OtherRowsLost { users: Vec<String> },
    /// In a rotation none is made beside those that it is about.
    #[error("a rotation of the token is under way, and {node}, which is to have a token of its own, has none")]
    NodeWithoutToken { node: String },
    #[error("a rotation of the token is under way, and [token] of the inventory has changed")]
    RotationUnderWay,
    /// The directory has the one, the inventory asks for the other.
    #[error("the token is {}, and the inventory asks for form = {:?}", in_words(*stored), wanted.name())]
    TokenForm { stored: TokenForm, wanted: TokenForm },
    #[error("nodes {}, and the inventory asks for per_node = {per_node}", if *per_node { "share one token" } else { "have tokens of their own" })]
    TokenScope { per_node: bool },
    #[error(transparent)]
    Manifest(#[from] token::ManifestError),
    #[error("a rotation of the token is under way, and rotation.csv, which holds its tokens, is missing or incomplete")]
    RotationTokensLost,
    #[error("the CA cannot be made: {0}")]
    Authority(#[from] pki::AuthorityError),
    #[error("the certificate cannot be issued: {0}")]
    Issue(#[from] pki::IssueError),
    #[error("the token cannot be used: {0}")]
    Token(#[from] token::TokenError),
    #[error(transparent)]
    Bundle(#[from] bundle::Error),
    #[error(transparent)]
    Kubeconfig(#[from] kubeconfig::EmitError),
    #[error(transparent)]
    Entropy(#[from] entropy::Error),
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// Which file of a CA an error is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CaPlace {
    /// One that the inventory names.
    Inventory,
    /// The credential directory's own.
    Store,
}

const fn in_words(form: TokenForm) -> &'static str {
    match form {
        TokenForm::Csv => "a row of token.csv",
        TokenForm::Secret => "kept by the cluster in a Secret",
    }
}

/// Whether the operator's input or the stored state stands in the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    BadInput,
    Refused,
    Unexpected,
}

impl Error {
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::CaInput { .. }
            | Self::CaOutOfDate { place: CaPlace::Inventory, .. }
            | Self::CaUnreadable(_)
            | Self::CaKeyAbsent { .. }
            | Self::Authority(_)
            | Self::Issue(_)
            | Self::Manifest(_)
            | Self::Token(_) => ErrorKind::BadInput,
            Self::CaStored { .. }
            | Self::CaOutOfDate { place: CaPlace::Store, .. }
            | Self::CaMissing { .. }
            | Self::CaDiffers { .. }
            | Self::Unsigned { .. }
            | Self::TokenFile { .. }
            | Self::OtherRowsLost { .. }
            | Self::RotationUnderWay
            | Self::NodeWithoutToken { .. }
            | Self::TokenForm { .. }
            | Self::TokenScope { .. }
            | Self::RotationTokensLost
            | Self::Store(_) => ErrorKind::Refused,
            Self::Bundle(_) | Self::Kubeconfig(_) | Self::Entropy(_) => ErrorKind::Unexpected,
        }
    }

    /// Stable name of how a CA in use is out of date.
    #[must_use]
    pub const fn out_of_date_code(&self) -> Option<&'static str> {
        match self {
            Self::CaOutOfDate { source: pki::ImportError::NotYetValid { .. }, .. } => Some("ca_not_yet_valid"),
            Self::CaOutOfDate { .. } => Some("ca_expired"),
            _ => None,
        }
    }

    /// What the operator can do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::CaInput { source, .. } => source.hint().unwrap_or("check the file").into(),
            Self::CaUnreadable(source) | Self::Store(source) => source.hint(),
            Self::CaStored { source, .. } => {
                let cure = source.hint().unwrap_or("restore the file from a backup");
                format!("{cure}; kubemint never replaces a stored CA by itself")
            }
            Self::CaOutOfDate { source: pki::ImportError::NotYetValid { .. }, .. } => {
                "check this machine's clock; `kubemint status`, `plan`, `verify` and `cert list` show what is in use".into()
            }
            Self::CaOutOfDate { .. } => {
                "set another `state_dir` (and [ca], if it names a CA) in the inventory, so that a new CA is used, and install \
                 it on every host: `kubemint apply --replace-foreign`; give it to kube-apiserver and \
                 kube-controller-manager, too. `kubemint status`, `plan`, `verify` and `cert list` show what is in use"
                    .into()
            }
            Self::CaMissing { .. } => {
                "restore it from a backup: every node trusts this CA, so kubemint never makes another by itself".into()
            }
            Self::CaDiffers { .. } => {
                "replacing a CA locks out every node that trusts the old one: set [ca] back, or use another state_dir"
                    .into()
            }
            Self::CaKeyAbsent { .. } => {
                "`kubemint cert csr` writes requests to be signed where the CA's key is, `kubemint cert import` takes what \
                 comes back, `kubemint reissue kube-proxy --imported` brings it to the hosts; or set ca.key beside ca.cert \
                 in the inventory"
                    .into()
            }
            Self::Unsigned { .. } => {
                "`kubemint cert csr` writes requests to be signed where the CA's key is, `kubemint cert import` takes what \
                 comes back; or set ca.key beside ca.cert in the inventory"
                    .into()
            }
            Self::TokenFile { .. } => {
                "`kubemint token lint` shows every line that is wrong; restore the file from a backup".into()
            }
            Self::OtherRowsLost { .. } => {
                "restore token.csv from a backup, or take over the copy of a control-plane host: \
                 `kubemint token merge FILE`"
                    .into()
            }
            Self::TokenScope { .. } => {
                "`kubemint rotate token` brings every node there, so that none is locked out; or set token.per_node back".into()
            }
            Self::NodeWithoutToken { .. } => {
                "finish the rotation first, which leaves that node out: `kubemint rotate token --resume` or --abort"
                    .into()
            }
            Self::RotationUnderWay => {
                "set [token] back, and finish the rotation first: `kubemint rotate token --resume` or --abort".into()
            }
            Self::TokenForm { wanted: TokenForm::Secret, .. } => {
                "`kubemint token migrate` goes from token.csv to a Secret without locking a node out".into()
            }
            Self::TokenForm { wanted: TokenForm::Csv, .. } => {
                "set form = \"secret\" again: there is no way back to token.csv but another state_dir".into()
            }
            Self::Manifest(error) => error.hint().unwrap_or("check [token] in the inventory").into(),
            Self::RotationTokensLost => "restore the whole directory from a backup".into(),
            Self::Authority(_) => "check [ca] in the inventory".into(),
            Self::Issue(error) => error.hint().unwrap_or("check [certificates.kube-proxy] in the inventory").into(),
            Self::Token(error) => error.hint().unwrap_or("check [token] in the inventory").into(),
            Self::Bundle(_) | Self::Kubeconfig(_) | Self::Entropy(_) => {
                "this should not happen: please report it with the output of -vv".into()
            }
        }
    }
}
