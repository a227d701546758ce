//! The rotation of the bootstrap token as data: which stage it is in, what hosts may hold in that stage, what may come
//! next. Pure: it touches no host and knows no secret; a token is named by its fingerprint.
//!
//! What always holds: from one stage to the next either token.csv or bootstrap.kubeconfig changes, never both (but for a
//! token that is revoked at once), so a token that a node may hold is known to every apiserver before the node gets it.

mod course;
mod rows;

pub use course::{AbortError, Tokens};

use crate::{digest::Fingerprint, token::SecretTerms};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// A part of a rotation. What is true in it is [`Record::tokens`] and [`Record::carried`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Every apiserver gets to know the new token; back: to forget it. token.csv goes to one control-plane host after the
    /// other; a Secret is made or deleted.
    Accept,
    /// bootstrap.kubeconfig to the nodes.
    Switch,
    /// What nodes ask for is approved.
    Approve,
    /// Every node and every apiserver is looked at.
    Verify,
    /// Every apiserver is made to forget the old token.
    Retire,
}

impl Stage {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Switch => "switch",
            Self::Approve => "approve",
            Self::Verify => "verify",
            Self::Retire => "retire",
        }
    }
}

/// Where a rotation is going.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// To the new token.
    Forward,
    /// Back to the old one: it was aborted.
    Back,
}

impl Direction {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Back => "back",
        }
    }
}

/// What comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// The old token is dropped when no node needs it any more.
    Overlap,
    /// The old token has leaked: it is dropped before the nodes have the new one.
    RevokeNow,
}

impl Mode {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Overlap => "overlap",
            Self::RevokeNow => "revoke-now",
        }
    }
}

/// What makes an apiserver know the tokens of a rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Carrier {
    /// Both are rows of token.csv, which kube-apiserver reads at its start.
    TokenFile,
    /// Both are Secrets in the cluster: nothing is restarted.
    Secrets,
    /// The old one is a row of token.csv, the new one a Secret.
    Migration,
}

impl Carrier {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::TokenFile => "token-file",
            Self::Secrets => "secrets",
            Self::Migration => "migration",
        }
    }
}

/// The Secrets of a rotation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretPair {
    /// `None`: the old token is a row of token.csv.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old: Option<SecretTerms>,
    pub new: SecretTerms,
}

/// The token of one node, by fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeToken {
    pub fingerprint: Fingerprint,
    pub created: Timestamp,
}

/// What a node's own token was, and will be; `None` where it has, or will have, the one that nodes share.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodePair {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old: Option<NodeToken>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new: Option<NodeToken>,
}

impl NodePair {
    #[must_use]
    pub const fn of(&self, which: Which) -> Option<NodeToken> {
        match which {
            Which::Old => self.old,
            Which::New => self.new,
        }
    }
}

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Which {
    Old,
    New,
}

/// A rotation under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The run that began it.
    pub id: String,
    pub stage: Stage,
    pub direction: Direction,
    pub mode: Mode,
    pub old: Fingerprint,
    pub new: Fingerprint,
    pub began: Timestamp,
    /// When the old token was made.
    pub old_created: Timestamp,
    /// `None`: both tokens are rows of token.csv.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secrets: Option<SecretPair>,
    /// The node whose own token `old` and `new` are, the first of those in [`Self::nodes`]: the others keep theirs. `None`:
    /// they are the one that nodes share, and all tokens change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
    /// The nodes' own tokens that change, by node.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub nodes: BTreeMap<String, NodePair>,
    /// How long both tokens are to stay when everything else is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace: Option<SignedDuration>,
    /// Until when that is, once it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace_until: Option<Timestamp>,
    /// The nodes whose kubelet was restarted since their file changed.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub restarted: BTreeSet<String>,
    /// The nodes that were not done when the old token was retired all the same.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub left_behind: BTreeSet<String>,
    /// Of a token that was revoked: when the last signing request was made before it was refused everywhere, by the
    /// apiserver's clock. What is older may be of whoever has the token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distrusted_until: Option<Timestamp>,
}

impl Record {
    /// A rotation that begins.
    #[must_use]
    pub fn begin(id: &str, (old, old_created): (Fingerprint, Timestamp), new: Fingerprint, now: Timestamp) -> Self {
        Self {
            id: id.to_owned(),
            stage: Stage::Accept,
            direction: Direction::Forward,
            mode: Mode::Overlap,
            old,
            new,
            began: now,
            old_created,
            secrets: None,
            of: None,
            nodes: BTreeMap::new(),
            grace: None,
            grace_until: None,
            restarted: BTreeSet::new(),
            left_behind: BTreeSet::new(),
            distrusted_until: None,
        }
    }

    #[must_use]
    pub const fn carrier(&self) -> Carrier {
        match &self.secrets {
            None => Carrier::TokenFile,
            Some(SecretPair { old: Some(_), .. }) => Carrier::Secrets,
            Some(SecretPair { old: None, .. }) => Carrier::Migration,
        }
    }

    /// The Secret of one of its tokens, where it has one.
    #[must_use]
    pub const fn secret_of(&self, which: Which) -> Option<&SecretTerms> {
        match (&self.secrets, which) {
            (Some(pair), Which::New) => Some(&pair.new),
            (Some(pair), Which::Old) => pair.old.as_ref(),
            (None, _) => None,
        }
    }

    /// Whether it is about the own tokens of some nodes, and leaves all others as they are.
    #[must_use]
    pub const fn is_of_some_nodes(&self) -> bool {
        self.of.is_some()
    }

    /// The fingerprint of one of its tokens.
    #[must_use]
    pub const fn fingerprint(&self, which: Which) -> Fingerprint {
        match which {
            Which::Old => self.old,
            Which::New => self.new,
        }
    }
}
