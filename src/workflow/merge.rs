//! Taking over a token.csv that was there before: its users keep their rows, ours keeps our token.

use super::generate::{other_rows, record_of, recover};
use crate::{
    clock::Clock,
    digest::Fingerprint,
    inventory::{Inventory, TokenSettings},
    secret::{Secret, scrub},
    store::{self, Lock, RowRecord, Snapshot, State, Store, StoredFile, TokenRecord},
    token::{self, BootstrapToken, CsvError, Finding, Severity, TokenError, TokenFile},
};
use serde::Serialize;
use std::collections::HashSet;

/// Why a file cannot be merged. Nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("kube-apiserver would not start on it: {0}")]
    Unreadable(#[from] CsvError),
    #[error("line {line}: {message}")]
    Misleading { line: usize, message: String, hint: String },
    #[error("line {line}: the token is the name of our own user")]
    Swapped { line: usize },
    #[error("there is no token yet to merge with")]
    NothingGenerated,
    #[error("a rotation of the token is under way")]
    RotationUnderWay,
    #[error("there is no token.csv: the cluster keeps the token in a Secret")]
    NoTokenFile,
    #[error("our own token is lost: neither token.csv nor bootstrap.kubeconfig nor this file has it")]
    OwnTokenLost,
    #[error(transparent)]
    Token(#[from] TokenError),
}

impl Error {
    /// What the operator can do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Unreadable(error) => error.hint().to_owned(),
            Self::Misleading { hint, .. } => hint.clone(),
            Self::Swapped { .. } => "token and user seem to have changed places: a row is token,user,uid".into(),
            Self::NothingGenerated => "run `kubemint generate` first".into(),
            Self::RotationUnderWay => {
                "finish it first: `kubemint rotate token --resume`, or --abort to go back to the old token".into()
            }
            Self::NoTokenFile => {
                "rows of other users stay in token.csv on the hosts, which kubemint does not touch".into()
            }
            Self::OwnTokenLost => "restore the state directory from a backup".into(),
            Self::Token(error) => error.hint().unwrap_or_default().to_owned(),
        }
    }
}

/// Where a row of the result comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RowOrigin {
    /// Our own row.
    Ours,
    /// It was in the stored file already.
    Kept,
    /// It came from the merged file.
    Taken,
    /// It was in one of the two files and is not in the result: its user has other rows there.
    Dropped,
}

impl RowOrigin {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Kept => "kept",
            Self::Taken => "taken over",
            Self::Dropped => "dropped",
        }
    }
}

/// A row of the result, or one that was dropped, by fingerprint.
#[derive(Debug, Clone, Serialize)]
pub struct MergedRow {
    /// Safe to show, as is the uid: in a file of somebody else's anything may stand there.
    pub user: String,
    pub uid: String,
    pub token: Fingerprint,
    pub origin: RowOrigin,
}

/// A merged token.csv, not yet written.
#[derive(Debug)]
pub struct Merge {
    pub rows: Vec<MergedRow>,
    /// What is unwise about rows that are taken over as they are. Lines are those of the merged file.
    pub warnings: Vec<Finding>,
    change: Option<Secret>,
    next: State,
}

impl Merge {
    /// Whether the stored file has all of it already.
    #[must_use]
    pub fn is_current(&self) -> bool {
        self.change.is_none()
    }

    /// Writes the result.
    ///
    /// # Errors
    /// As [`Store::commit`].
    pub fn commit(
        self,
        store: &Store,
        held: &Lock,
        snapshot: &Snapshot,
        clock: &dyn Clock,
    ) -> Result<(), store::Error> {
        let Some(text) = self.change else { return Ok(()) };
        store.commit(held, snapshot, &[(StoredFile::TokenCsv, text)], self.next, clock).map(|_| ())
    }
}

/// Merges the rows of `existing` into the stored token.csv. Where that is missing, into our own row, made again: so the
/// copy of a host brings back the rows that were lost with it.
///
/// # Errors
/// [`Error`]; a file that would mislead the apiserver is not taken over either.
pub fn plan_merge(inventory: &Inventory, snapshot: &Snapshot, existing: &Secret) -> Result<Merge, Error> {
    let mut next = snapshot.state.clone().ok_or(Error::NothingGenerated)?;
    if next.rotation.is_some() {
        return Err(Error::RotationUnderWay);
    }
    if !next.wants(StoredFile::TokenCsv) {
        return Err(Error::NoTokenFile);
    }
    let own = next.token.as_mut().ok_or(Error::NothingGenerated)?;
    let (existing, warnings) = refuse_misleading(existing)?;
    if let Some(row) = existing.rows().iter().find(|row| row.token_is(&inventory.token.user)) {
        return Err(Error::Swapped { line: row.line });
    }
    let before = match snapshot.content(StoredFile::TokenCsv) {
        Some(stored) => TokenFile::from_secret(stored)?,
        None => TokenFile::default(),
    };
    let ours = own_token(snapshot, own, [&before, &existing]).ok_or(Error::OwnTokenLost)?;
    let (after, _) = token::merge(&before, &existing).with_row(&ours, &inventory.token)?;
    // What a copy has of nodes may be older.
    let holders: Vec<TokenSettings> = own.node_holders().map(|(_, holder)| holder).collect();
    let after = after.with_row_each(&node_rows(own, &before, &existing))?.without_others(&holders, &own_tokens(own));
    let text = after.render();
    refuse_misleading(&text)?;
    let mut known = own.other_rows.clone();
    known.extend(records(&before));
    let rows = merged_rows(&records(&after), &known, &records(&existing), &own_tokens(own));
    own.other_rows = other_rows(&after, &inventory.token, &own.nodes);
    let change = (!snapshot.holds(StoredFile::TokenCsv, &text)).then_some(text);
    Ok(Merge { rows, warnings, change, next })
}

/// The recorded token: in a row of one of these files, or in bootstrap.kubeconfig.
fn own_token(snapshot: &Snapshot, own: &TokenRecord, files: [&TokenFile; 2]) -> Option<BootstrapToken> {
    let mut rows = files.into_iter().flat_map(TokenFile::rows);
    let row = rows.find(|row| row.fingerprint() == own.fingerprint);
    let token = row.and_then(|row| BootstrapToken::from_secret(row.token.clone()).ok());
    token.or_else(|| recover(snapshot, Some(own)))
}

fn own_tokens(own: &TokenRecord) -> HashSet<Fingerprint> {
    own.nodes.values().map(|node| node.fingerprint).chain([own.fingerprint]).collect()
}

/// The rows of nodes that have tokens of their own. One whose token is in neither file has none until the next is made.
fn node_rows(own: &TokenRecord, before: &TokenFile, existing: &TokenFile) -> Vec<(BootstrapToken, TokenSettings)> {
    let (before, existing) = (before.by_fingerprint(), existing.by_fingerprint());
    let row = |(node, holder)| {
        let fingerprint = &own.nodes.get(node)?.fingerprint;
        let row = before.get(fingerprint).or_else(|| existing.get(fingerprint))?;
        Some((BootstrapToken::from_secret(row.token.clone()).ok()?, holder))
    };
    own.node_holders().filter_map(row).collect()
}

fn records(file: &TokenFile) -> Vec<RowRecord> {
    file.rows().iter().map(record_of).collect()
}

/// The result's rows, then those that did not get into it.
fn merged_rows(
    after: &[RowRecord],
    known: &[RowRecord],
    given: &[RowRecord],
    own: &HashSet<Fingerprint>,
) -> Vec<MergedRow> {
    let show = |row: &RowRecord, origin| MergedRow {
        user: scrub(&row.user),
        uid: scrub(&row.uid),
        token: row.fingerprint,
        origin,
    };
    let known_tokens: HashSet<Fingerprint> = known.iter().map(|row| row.fingerprint).collect();
    let knew = |row: &RowRecord| known_tokens.contains(&row.fingerprint);
    let origin = |row: &RowRecord| match row.fingerprint {
        found if own.contains(&found) => RowOrigin::Ours,
        _ if knew(row) => RowOrigin::Kept,
        _ => RowOrigin::Taken,
    };
    let mut rows: Vec<MergedRow> = after.iter().map(|row| show(row, origin(row))).collect();
    let mut told: HashSet<&RowRecord> = after.iter().collect();
    let gone = known.iter().chain(given).filter(|row| told.insert(row));
    rows.extend(gone.map(|row| show(row, RowOrigin::Dropped)));
    rows
}

fn refuse_misleading(text: &Secret) -> Result<(TokenFile, Vec<Finding>), Error> {
    let file = TokenFile::from_secret(text)?;
    let findings = token::lint_secret(text).into_iter().filter(|finding| finding.severity == Severity::Misleading);
    let (warnings, misleading): (Vec<_>, Vec<_>) = findings.partition(Finding::is_about_policy);
    match misleading.into_iter().next() {
        None => Ok((file, warnings)),
        Some(finding) => Err(Error::Misleading { line: finding.line, message: finding.message, hint: finding.hint }),
    }
}
