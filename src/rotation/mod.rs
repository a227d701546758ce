//! The rotation of the bootstrap token as data: which stage it is in, what hosts may hold in that stage, what may come
//! next. Pure: it touches no host and knows no secret; a token is named by its fingerprint.
//!
//! What always holds: from one stage to the next either token.csv or bootstrap.kubeconfig changes, never both (but for a
//! token that is revoked at once), so a token that a node may hold is known to every apiserver before the node gets it.

mod course;
mod rows;

pub use course::{AbortError, Tokens};

use crate::digest::Fingerprint;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// A part of a rotation. What is true in it is [`Record::tokens`] and [`Record::carried`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// token.csv, one control-plane host after the other. Forward: the new token is taken up; back: it is taken out.
    Accept,
    /// bootstrap.kubeconfig to the nodes.
    Switch,
    /// What nodes ask for is approved.
    Approve,
    /// Every node and every apiserver is looked at.
    Verify,
    /// token.csv without the old token, one control-plane host after the other.
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
    /// How long both tokens are to stay when everything else is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace: Option<SignedDuration>,
    /// Until when that is, once it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace_until: Option<Timestamp>,
    /// The nodes whose kubelet was restarted since their file changed.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub restarted: BTreeSet<String>,
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
            grace: None,
            grace_until: None,
            restarted: BTreeSet::new(),
        }
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
