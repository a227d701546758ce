//! state.json: what the last run left in the directory, and, while a run is writing, what it is about to leave.
//!
//! It holds digests, dates and fingerprints, never a secret. A checksum over the document makes a flipped byte show.

use super::{Error, StoredFile};
use crate::{
    digest::{Digest, Fingerprint},
    inventory::{TokenForm, TokenSettings},
    json,
    rotation::{self, NodeToken},
    secret::{ExposeSecret, Secret},
    token::{SecretTerms, node_holder},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, path::Path};

pub(super) const FILE_NAME: &str = "state.json";
const SCHEMA: &str = "kubemint/state";
const VERSION: u64 = 1;

/// What the directory holds after one run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Counts the runs that changed something; 0 means never.
    pub generation: u64,
    pub updated: Option<Timestamp>,
    /// SHA-256 per path below the directory.
    pub files: BTreeMap<String, Digest>,
    pub ca: Option<CaRecord>,
    pub token: Option<TokenRecord>,
    pub kube_proxy: Option<CertificateRecord>,
    /// Nodes have kube-proxy keys of their own. Holds where the inventory says nothing of it.
    // Left out where it is not so, as with every key that was added later: older checksums stay what they were.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub per_node: bool,
    /// The certificates that the present ones replaced: by node, or under "" for the one that nodes share. They hold
    /// until they end, since an apiserver knows no revocation.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub replaced: BTreeMap<String, CertificateRecord>,
    /// A rotation under way.
    // Left out where there is none: the checksum of a document without it stays what it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<rotation::Record>,
    /// In which generation a token was made that came after the first: by node, or under "" for the one that nodes share.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub token_generations: BTreeMap<String, u64>,
    /// When the last rotation reached its end: the token that hosts keep in their earlier files is retired since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotated: Option<Timestamp>,
}

impl State {
    /// What its token is to kube-apiserver; while one form gives way to the other, the one it had.
    #[must_use]
    pub fn token_form(&self) -> Option<TokenForm> {
        let token = self.token.as_ref()?;
        let is_migration =
            self.rotation.as_ref().is_some_and(|record| record.carrier() == rotation::Carrier::Migration);
        let is_secret = token.secret.is_some() && !is_migration;
        Some(if is_secret { TokenForm::Secret } else { TokenForm::Csv })
    }

    /// Whether `file` belongs to a whole set.
    #[must_use]
    pub fn wants(&self, file: StoredFile) -> bool {
        !file.is_passing() && (file != StoredFile::TokenCsv || self.token_form() != Some(TokenForm::Secret))
    }
}

/// How the CA came here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CaOrigin {
    Generated,
    Imported,
    External,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaRecord {
    pub origin: CaOrigin,
    pub subject: String,
    /// Of the certificate's DER.
    pub sha256: Digest,
    pub not_after: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRecord {
    pub fingerprint: Fingerprint,
    pub user: String,
    pub uid: String,
    pub groups: Vec<String>,
    pub created: Timestamp,
    /// The Secret that the cluster keeps it in; `None`: it is a row of token.csv.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretTerms>,
    /// The rows of token.csv that are not ours: should the file be lost, they are missed.
    // Left out where empty: the checksum of a document without it stays what it was.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub other_rows: Vec<RowRecord>,
    /// The tokens of nodes that have their own, by node; empty where all share this one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub nodes: BTreeMap<String, NodeToken>,
    /// Users whose token was revoked: what they asked for until then may be of whoever had it. By the apiserver's clock; kept
    /// for as long as it keeps what nobody decided (24 hours, pkg/controller/certificates/cleaner).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub distrusted: BTreeMap<String, Timestamp>,
}

impl TokenRecord {
    /// Whom kube-apiserver takes its holders for.
    #[must_use]
    pub fn holder(&self) -> TokenSettings {
        TokenSettings { user: self.user.clone(), uid: self.uid.clone(), groups: self.groups.clone() }
    }

    /// The users of nodes that have tokens of their own.
    pub fn node_holders(&self) -> impl Iterator<Item = (&str, TokenSettings)> {
        let shared = self.holder();
        self.nodes.keys().map(move |node| (node.as_str(), node_holder(&shared, node)))
    }
}

/// A row of token.csv, by fingerprint.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RowRecord {
    pub user: String,
    pub uid: String,
    pub fingerprint: Fingerprint,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateRecord {
    pub serial: String,
    /// Of the certificate's DER.
    pub sha256: Digest,
    pub not_after: Timestamp,
}

/// state.json as a whole.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Document {
    schema: String,
    version: u64,
    #[serde(flatten)]
    pub(super) current: State,
    /// Present from a run's first write to its last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) next: Option<State>,
    checksum: Digest,
}

/// The digests a file may have.
pub(super) struct Expected {
    pub(super) current: Option<Digest>,
    pub(super) next: Option<Digest>,
}

impl Document {
    /// Of a file, by its path below the directory.
    pub(super) fn expected(&self, path: &str) -> Expected {
        let of = |state: &State| state.files.get(path).copied();
        Expected { current: of(&self.current), next: self.next.as_ref().and_then(of) }
    }

    /// Every path that is recorded, some of them twice.
    pub(super) fn paths(&self) -> impl Iterator<Item = &str> {
        let states = std::iter::once(&self.current).chain(&self.next);
        states.flat_map(|state| state.files.keys().map(String::as_str))
    }
}

/// What is wrong with the text, before its path is known.
pub(super) enum Fault {
    Damaged(String),
    Newer(u64),
}

impl Fault {
    pub(super) fn at(self, path: &Path) -> Error {
        match self {
            Self::Damaged(what) => Error::Damaged { path: path.to_owned(), what },
            Self::Newer(found) => Error::NewerVersion { path: path.to_owned(), found, known: VERSION },
        }
    }
}

pub(super) fn parse_document(text: &Secret) -> Result<Document, Fault> {
    let damaged = |e: serde_json::Error| Fault::Damaged(format!("not readable as state: {e}"));
    // Schema and version first: a newer document may have another shape altogether.
    #[derive(Deserialize)]
    struct Head {
        schema: String,
        version: u64,
    }
    let head: Head = serde_json::from_str(text.expose_secret()).map_err(damaged)?;
    if head.schema != SCHEMA {
        return Err(Fault::Damaged(format!("its schema is not {SCHEMA}")));
    }
    if head.version > VERSION {
        return Err(Fault::Newer(head.version));
    }
    let document: Document = serde_json::from_str(text.expose_secret()).map_err(damaged)?;
    if document.checksum != checksum(&document.current, document.next.as_ref()) {
        return Err(Fault::Damaged("its checksum does not match its content".into()));
    }
    Ok(document)
}

pub(super) fn render_document(current: &State, next: Option<&State>) -> String {
    let document = Document {
        schema: SCHEMA.into(),
        version: VERSION,
        current: current.clone(),
        next: next.cloned(),
        checksum: checksum(current, next),
    };
    let mut text = render(&document, json::to_string_pretty);
    text.push('\n');
    text
}

fn checksum(current: &State, next: Option<&State>) -> Digest {
    // Of the text that every version of kubemint has made of it.
    Digest::of(render(&(SCHEMA, VERSION, current, next), serde_json::to_string))
}

/// Serialising plain maps, strings and numbers cannot fail.
fn render<T: Serialize>(value: &T, write: fn(&T) -> serde_json::Result<String>) -> String {
    write(value).unwrap_or_default()
}
