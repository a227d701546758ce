//! What the judge may say of a signing request. Every reason has a stable code for scripts; every text here is safe to
//! print, whatever the request holds.

use crate::{digest::Digest, secret::printable};
use jiff::Timestamp;

/// What to do about one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is what the inventory expects.
    Approve { why: String },
    /// Not ours to grant, or not now; it may be honest.
    Leave { reason: Reason, detail: String },
    /// No honest kubelet of the inventory would ask this.
    Deny { reason: Reason, detail: String },
}

/// Why a request is not approved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    AlreadyDecided,
    WrongSigner,
    BadRequest,
    BadSignature,
    WeakKey,
    WrongSubject,
    WrongGroup,
    NotInInventory,
    WrongRequester,
    ExtraSan,
    ExtraExtension,
    WrongUsages,
    LongLived,
    NotSelected,
    ServingNotAsked,
    TooOld,
    InTheFuture,
    AlreadyJoined,
    Ambiguous,
    OtherKey,
    Changed,
    Gone,
    /// Its identity is not its own: the apiserver's answer has another of that name or uid, or it has none.
    Garbled,
}

impl Reason {
    /// Stable name, for scripts.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::AlreadyDecided => "already_decided",
            Self::WrongSigner => "wrong_signer",
            Self::BadRequest => "bad_request",
            Self::BadSignature => "bad_signature",
            Self::WeakKey => "weak_key",
            Self::WrongSubject => "wrong_subject",
            Self::WrongGroup => "wrong_group",
            Self::NotInInventory => "not_in_inventory",
            Self::WrongRequester => "wrong_requester",
            Self::ExtraSan => "extra_san",
            Self::ExtraExtension => "extra_extension",
            Self::WrongUsages => "wrong_usages",
            Self::LongLived => "long_lived",
            Self::NotSelected => "not_selected",
            Self::ServingNotAsked => "serving_not_asked",
            Self::TooOld => "too_old",
            Self::InTheFuture => "in_the_future",
            Self::AlreadyJoined => "already_joined",
            Self::Ambiguous => "ambiguous",
            Self::OtherKey => "other_key",
            Self::Changed => "changed",
            Self::Gone => "gone",
            Self::Garbled => "garbled",
        }
    }

    /// What the operator can do, where that is not plain.
    #[must_use]
    pub const fn hint(self) -> Option<&'static str> {
        Some(match self {
            Self::TooOld => "where it is wanted all the same, reach back further: --since 24h",
            Self::AlreadyJoined => {
                "where the machine was installed anew, say so with --rebootstrapped NODE (and a --since that begins \
                 after what it was granted before); where it was not, somebody else holds the token: rotate it"
            }
            Self::Ambiguous => {
                "find out which key is the node's (there: `openssl pkey -in \
                 /var/lib/kubelet/pki/kubelet-client.key.tmp -pubout -outform DER | sha256sum`), then deny the other with \
                 `kubectl certificate deny NAME`; where nobody installed the machine twice, somebody else holds the token: \
                 rotate it"
            }
            Self::OtherKey => {
                "somebody else asks in the node's name: whoever it is holds the bootstrap token; rotate it, and deny the \
                 request with `kubectl certificate deny NAME`"
            }
            Self::NotInInventory => "where the node is yours, add it to the inventory",
            Self::ServingNotAsked => "--serving approves serving certificates too",
            Self::InTheFuture => "compare this machine's clock with the control plane's",
            Self::Changed => "run the command again",
            Self::Garbled => {
                "no kube-apiserver answers so: check which server answers at that address, and what lies between it and \
                 this machine"
            }
            _ => return None,
        })
    }
}

/// What a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    /// A node's first client certificate, asked for with a token.
    Join,
    /// Its next one, asked for by itself.
    Renewal,
    /// The kubelet's own HTTPS port.
    Serving,
}

impl Purpose {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Join => "join",
            Self::Renewal => "renewal",
            Self::Serving => "serving",
        }
    }
}

/// A request, what was thought of it, and what came of that.
#[derive(Debug, Clone)]
pub struct Judged {
    /// Of the CertificateSigningRequest.
    pub name: String,
    pub uid: String,
    /// The node of the inventory that it names.
    pub node: Option<String>,
    /// As far as it could be told.
    pub purpose: Option<Purpose>,
    pub requester: String,
    pub created: Timestamp,
    /// Digest of the public key, where the request could be read.
    pub spki_sha256: Option<Digest>,
    pub verdict: Verdict,
    pub outcome: Outcome,
}

/// What was done about a request.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// Nothing.
    Left,
    Approved,
    Denied,
    /// It was to be decided, and the apiserver did not take it.
    Failed(crate::cluster::Error),
}

impl Judged {
    /// Why it was not approved, and that in words.
    #[must_use]
    pub fn reason(&self) -> Option<(Reason, &str)> {
        match &self.verdict {
            Verdict::Approve { .. } => None,
            Verdict::Leave { reason, detail } | Verdict::Deny { reason, detail } => Some((*reason, detail)),
        }
    }
}

/// The most of a foreign text that is shown, in characters: a request may be 64 KiB of name.
const LONGEST: usize = 253;

/// Foreign text as it may be shown.
pub(super) fn shown(foreign: &str) -> String {
    let text = printable(foreign);
    match text.char_indices().nth(LONGEST) {
        Some((cut, _)) => format!("{}…", &text[..cut]),
        None => text,
    }
}

/// Some foreign texts, the first few of them.
pub(super) fn listed<'t>(foreign: impl IntoIterator<Item = &'t str>) -> String {
    const MOST: usize = 5;
    let all: Vec<&str> = foreign.into_iter().collect();
    let mut text = all.iter().take(MOST).map(|one| shown(one)).collect::<Vec<_>>().join(", ");
    if all.len() > MOST {
        text += &format!(" and {} more", all.len() - MOST);
    }
    text
}
