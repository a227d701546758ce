//! One consistent view of the credential directory: what state.json says, and every file it names.
//!
//! It was read whole and held against its digests before it exists; nothing here reads the disk.

use super::{ExtraFile, State, StoredFile};
use crate::{
    digest::Digest,
    secret::{ExposeSecret, Secret},
};
use std::collections::BTreeMap;

/// Tells one state of the directory from another without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    pub(super) inode: u64,
    pub(super) changed: (i64, i64),
}

/// One consistent view of the directory.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// `None`: nothing was ever generated here.
    pub state: Option<State>,
    pub(super) files: BTreeMap<StoredFile, Secret>,
    pub(super) extra: BTreeMap<ExtraFile, Secret>,
    /// A run was stopped between its first and its last write, or is between them now: the set may be whole, but
    /// nothing vouches for it until the next commit.
    pub interrupted: bool,
}

impl Snapshot {
    /// A file's content, where it is there.
    #[must_use]
    pub fn content(&self, file: StoredFile) -> Option<&Secret> {
        self.files.get(&file)
    }

    /// The text of a certificate, which is no secret; `None` for every other file.
    #[must_use]
    pub fn certificate(&self, file: StoredFile) -> Option<&str> {
        match file {
            StoredFile::CaCertificate | StoredFile::KubeProxyCertificate => {
                self.content(file).map(ExposeSecret::expose_secret)
            }
            _ => None,
        }
    }

    /// The same of a file beside the fixed ones.
    #[must_use]
    pub fn extra(&self, file: &ExtraFile) -> Option<&Secret> {
        self.extra.get(file)
    }

    /// The text of a node's own certificate.
    #[must_use]
    pub fn node_certificate(&self, node: &str) -> Option<&str> {
        self.extra(&ExtraFile::NodeCertificate(node.to_owned())).map(ExposeSecret::expose_secret)
    }

    /// The nodes that have a certificate of their own here, sorted.
    pub fn certified_nodes(&self) -> impl Iterator<Item = &str> {
        self.extra.keys().filter_map(|file| match file {
            ExtraFile::NodeCertificate(node) => Some(node.as_str()),
            _ => None,
        })
    }

    /// Every file beside the fixed ones.
    pub fn extra_files(&self) -> impl Iterator<Item = &ExtraFile> {
        self.extra.keys()
    }

    /// Whether `file` is there with exactly this content.
    #[must_use]
    pub fn holds(&self, file: StoredFile, content: &Secret) -> bool {
        self.content(file).is_some_and(|stored| digest_of(stored) == digest_of(content))
    }

    /// Whether nothing was written between the two views.
    #[must_use]
    pub fn is_same_as(&self, other: &Self) -> bool {
        let same = |one: &Secret, two: &Secret| digest_of(one) == digest_of(two);
        self.state == other.state
            && self.interrupted == other.interrupted
            && self.files.len() == other.files.len()
            && self.extra.len() == other.extra.len()
            && self.files.iter().zip(&other.files).all(|(a, b)| a.0 == b.0 && same(a.1, b.1))
            && self.extra.iter().zip(&other.extra).all(|(a, b)| a.0 == b.0 && same(a.1, b.1))
    }

    /// Whether the last finished run left `file` here: then its absence is damage, not a fresh start.
    #[must_use]
    pub fn was_committed(&self, file: StoredFile) -> bool {
        self.state.as_ref().is_some_and(|state| state.files.contains_key(file.path()))
    }

    /// Every file by its path, with its digest.
    pub(super) fn digests(&self) -> impl Iterator<Item = (String, Digest)> {
        let files = self.files.iter().map(|(file, content)| (file.path().to_owned(), digest_of(content)));
        files.chain(self.extra.iter().map(|(file, content)| (file.path(), digest_of(content))))
    }
}

pub(super) fn digest_of(content: &Secret) -> Digest {
    Digest::of(content.expose_secret())
}
