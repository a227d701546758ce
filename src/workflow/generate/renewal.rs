//! What `reissue` asks for beyond `generate`: certificates made anew though they still hold.

use crate::{
    clock::day,
    pki::{Authority, CertificateInfo},
};
use jiff::{SignedDuration, Timestamp};
use std::collections::HashSet;

/// Which certificates are to be made anew, and with which keys.
#[derive(Debug, Clone)]
pub struct Renewal {
    pub due: Due,
    pub key: KeyChoice,
    /// Where nodes have certificates of their own: only those of these nodes. `None`: all, and the shared one.
    pub nodes: Option<HashSet<String>>,
    pub form: Form,
}

/// When a certificate is made anew that is as the inventory asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    Now,
    /// It ends within this time, and a new one would last longer.
    Within(SignedDuration),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyChoice {
    New,
    /// Of a certificate that has none, a new one all the same.
    Kept,
}

/// Whether nodes have keys of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// As the inventory says; where it says nothing, as it was.
    AsIs,
    PerNode,
}

impl Renewal {
    /// Why the certificate of `node`, or the shared one, is to be made anew.
    pub(super) fn reason(
        &self,
        info: &CertificateInfo,
        node: Option<&str>,
        authority: &Authority,
        now: Timestamp,
    ) -> Option<String> {
        let is_meant = match (&self.nodes, node) {
            (None, _) => true,
            (Some(nodes), Some(node)) => nodes.contains(node),
            (Some(_), None) => false,
        };
        let due = match self.due {
            Due::Now => true,
            Due::Within(time) => {
                info.not_after.duration_since(now) <= time && info.not_after < authority.certificate().not_after
            }
        };
        (is_meant && due).then(|| format!("serial {} ends on {}", info.serial, day(info.not_after)))
    }
}
