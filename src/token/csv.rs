//! token.csv, the file behind kube-apiserver's `--token-auth-file`: rows of `token,user,uid[,"group1,group2"]`.
//!
//! Read as `staging/src/k8s.io/apiserver/pkg/authentication/token/tokenfile/tokenfile.go` reads it. Rows of other users
//! are written back byte for byte in their order (a missing newline after the last one is added, blank lines go); our
//! own row is written in the handbook's form. The text leaves only through [`TokenFile::render`].

use super::{
    bootstrap::{self, BootstrapToken, TokenError},
    record::{CsvError, CsvFault, Records},
};
use crate::{
    digest::{Digest, Fingerprint},
    inventory::TokenSettings,
    secret::{ExposeSecret, Secret},
};
use std::collections::{HashMap, HashSet};

/// A token file: its rows, in order.
#[derive(Debug, Clone, Default)]
pub struct TokenFile {
    rows: Vec<Row>,
}

/// One row. kube-apiserver skips it when `token` is empty.
#[derive(Debug, Clone)]
pub struct Row {
    pub token: Secret,
    pub user: String,
    pub uid: String,
    /// Column 4, split at commas and not trimmed; empty where there is no column 4.
    pub groups: Vec<String>,
    /// Where it starts in the file it was read from, from 1; 0 for a row made here.
    pub line: usize,
    raw: Secret,
}

/// What putting our rows into a file did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MergeChange {
    /// The file held exactly these rows for the user.
    Unchanged,
    /// The user had no row.
    Added,
    /// The user's rows held these tokens, in order.
    Replaced(Vec<Fingerprint>),
}

/// Reads a token file as kube-apiserver does at its start.
///
/// # Errors
/// The first [`CsvError`], where the apiserver would not start (or the file is not UTF-8).
pub fn parse_token_file(text: &[u8]) -> Result<TokenFile, CsvError> {
    let text = std::str::from_utf8(text).map_err(|e| not_utf8(text, e.valid_up_to()))?;
    let mut rows = Vec::new();
    for record in Records::new(text) {
        let record = record?;
        let found = record.fields.len();
        let mut fields = record.fields.into_iter();
        let (Some(token), Some(user), Some(uid)) = (fields.next(), fields.next(), fields.next()) else {
            return Err(CsvError {
                start: record.line,
                line: record.line,
                column: 1,
                what: CsvFault::TooFewColumns { found },
            });
        };
        rows.push(Row {
            token: token.into(),
            user,
            uid,
            groups: fields.next().map(|list| list.split(',').map(str::to_owned).collect()).unwrap_or_default(),
            line: record.line,
            raw: record.raw.into(),
        });
    }
    Ok(TokenFile { rows })
}

pub(super) fn not_utf8(text: &[u8], valid: usize) -> CsvError {
    let before = &text[..valid];
    let start = before.iter().rposition(|b| *b == b'\n').map_or(0, |newline| newline + 1);
    let line = before.iter().filter(|b| **b == b'\n').count() + 1;
    CsvError { start: line, line, column: valid - start + 1, what: CsvFault::NotUtf8 }
}

impl Row {
    fn new(token: &BootstrapToken, settings: &TokenSettings) -> Result<Self, TokenError> {
        let TokenSettings { user, uid, groups } = settings;
        if let Some(group) = groups.iter().find(|group| group.contains(',')) {
            return Err(TokenError::CommaInGroup { group: group.clone() });
        }
        let joined = groups.join(",");
        let token = token.secret().clone();
        for (field, value) in [("token", token.expose_secret()), ("user", user), ("uid", uid), ("group", &joined)] {
            if value.contains('\r') {
                return Err(TokenError::CarriageReturn { field });
            }
        }
        let mut raw = [token.expose_secret(), user, uid].map(quote_if_needed).join(",");
        if !groups.is_empty() {
            raw.push(',');
            raw.push_str(&quote(&joined));
        }
        raw.push('\n');
        Ok(Self { token, user: user.clone(), uid: uid.clone(), groups: groups.clone(), line: 0, raw: raw.into() })
    }

    /// The token's short name.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        bootstrap::fingerprint(&self.token)
    }

    /// Whom apiservers take its token's holders for.
    #[must_use]
    pub fn holder(&self) -> TokenSettings {
        TokenSettings { user: self.user.clone(), uid: self.uid.clone(), groups: self.groups.clone() }
    }

    /// Whether the token is this text.
    #[must_use]
    pub fn token_is(&self, text: &str) -> bool {
        bootstrap::same(&self.token, &text.into())
    }

    fn holder_key(&self) -> (&str, &str) {
        (&self.user, &self.uid)
    }

    fn is_of(&self, user: &str, uid: &str) -> bool {
        self.user == user && self.uid == uid
    }

    fn means_the_same(&self, other: &Self) -> bool {
        self.is_of(&other.user, &other.uid) && self.groups == other.groups && bootstrap::same(&self.token, &other.token)
    }
}

impl TokenFile {
    /// As [`parse_token_file`], of text that is kept as a secret.
    ///
    /// # Errors
    /// As [`parse_token_file`].
    pub fn from_secret(text: &Secret) -> Result<Self, CsvError> {
        parse_token_file(text.expose_secret().as_bytes())
    }

    /// The rows in file order.
    #[must_use]
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The first row with each token.
    #[must_use]
    pub fn by_fingerprint(&self) -> HashMap<Fingerprint, &Row> {
        self.rows.iter().rev().map(|row| (row.fingerprint(), row)).collect()
    }

    /// The rows of one user: same user name and same uid.
    pub fn rows_of<'a>(&'a self, user: &'a str, uid: &'a str) -> impl Iterator<Item = &'a Row> {
        self.rows.iter().filter(move |row| row.is_of(user, uid))
    }

    /// The file with exactly one row for the user of `settings`, where the user's first row was, or at the end.
    ///
    /// # Errors
    /// As [`TokenFile::with_rows`].
    pub fn with_row(
        &self,
        token: &BootstrapToken,
        settings: &TokenSettings,
    ) -> Result<(Self, MergeChange), TokenError> {
        self.with_rows(&[token], settings)
    }

    /// The file with one row per token, in this order, for the user of `settings`: during a rotation the old and the
    /// new token stand side by side. All other rows stay as they are.
    ///
    /// # Errors
    /// [`TokenError`] where token.csv cannot express the row.
    pub fn with_rows(
        &self,
        tokens: &[&BootstrapToken],
        settings: &TokenSettings,
    ) -> Result<(Self, MergeChange), TokenError> {
        let new = tokens.iter().map(|token| Row::new(token, settings)).collect::<Result<Vec<_>, _>>()?;
        let old: Vec<&Row> = self.rows_of(&settings.user, &settings.uid).collect();
        if old.len() == new.len() && old.iter().zip(&new).all(|(old, new)| old.means_the_same(new)) {
            return Ok((self.clone(), MergeChange::Unchanged));
        }
        let change = match old.as_slice() {
            [] => MergeChange::Added,
            old => MergeChange::Replaced(old.iter().map(|row| row.fingerprint()).collect()),
        };
        Ok((self.replace_rows_of(&settings.user, &settings.uid, &new), change))
    }

    /// The file with exactly one row for each of these users, where the user's first row was, or at the end in this order.
    ///
    /// # Errors
    /// As [`TokenFile::with_rows`].
    pub fn with_row_each(&self, wanted: &[(BootstrapToken, TokenSettings)]) -> Result<Self, TokenError> {
        let made = wanted.iter().map(|(token, settings)| Row::new(token, settings)).collect::<Result<Vec<_>, _>>()?;
        let places: HashMap<_, usize> = made.iter().enumerate().map(|(i, row)| (row.holder_key(), i)).collect();
        let mut placed = vec![false; made.len()];
        let mut rows = Vec::with_capacity(self.rows.len() + made.len());
        for row in &self.rows {
            match places.get(&row.holder_key()) {
                None => rows.push(row.clone()),
                Some(i) if !placed[*i] => {
                    placed[*i] = true;
                    rows.push(if row.means_the_same(&made[*i]) { row.clone() } else { made[*i].clone() });
                }
                Some(_) => {}
            }
        }
        rows.extend(made.iter().zip(&placed).filter(|(_, placed)| !**placed).map(|(row, _)| row.clone()));
        Ok(Self { rows })
    }

    /// The file with one more row for each of these at its end, whatever other rows their users have.
    ///
    /// # Errors
    /// As [`TokenFile::with_rows`].
    pub fn with_rows_at_end(&self, added: &[(BootstrapToken, TokenSettings)]) -> Result<Self, TokenError> {
        let mut rows = self.rows.clone();
        for (token, settings) in added {
            rows.push(Row::new(token, settings)?);
        }
        Ok(Self { rows })
    }

    /// The file without the rows that have one of these tokens; the others stay as they are.
    #[must_use]
    pub fn without_tokens(&self, tokens: &[BootstrapToken]) -> Self {
        let gone: HashSet<Digest> = tokens.iter().map(|token| Digest::of(token.secret().expose_secret())).collect();
        let kept = self.rows.iter().filter(|row| !gone.contains(&Digest::of(row.token.expose_secret())));
        Self { rows: kept.cloned().collect() }
    }

    /// The file without rows of these users that have other tokens than these.
    #[must_use]
    pub fn without_others(&self, holders: &[TokenSettings], tokens: &HashSet<Fingerprint>) -> Self {
        let held: HashSet<_> = holders.iter().map(|holder| (holder.user.as_str(), holder.uid.as_str())).collect();
        let stays = |row: &&Row| !held.contains(&row.holder_key()) || tokens.contains(&row.fingerprint());
        Self { rows: self.rows.iter().filter(stays).cloned().collect() }
    }

    /// The file without the rows of these users, by user name and uid.
    #[must_use]
    pub fn without_holders(&self, holders: &[TokenSettings]) -> Self {
        let gone: HashSet<_> = holders.iter().map(|holder| (holder.user.as_str(), holder.uid.as_str())).collect();
        Self { rows: self.rows.iter().filter(|row| !gone.contains(&row.holder_key())).cloned().collect() }
    }

    fn replace_rows_of(&self, user: &str, uid: &str, new: &[Row]) -> Self {
        let at = self.rows.iter().position(|row| row.is_of(user, uid)).unwrap_or(self.rows.len());
        let kept = |row: &&Row| !row.is_of(user, uid);
        let before = self.rows[..at].iter().filter(kept);
        let after = self.rows[at..].iter().filter(kept);
        Self { rows: before.chain(new).chain(after).cloned().collect() }
    }

    /// The file's text.
    #[must_use]
    pub fn render(&self) -> Secret {
        let mut text = String::with_capacity(self.rows.iter().map(|row| row.raw.expose_secret().len() + 1).sum());
        for row in &self.rows {
            let raw = row.raw.expose_secret();
            text.push_str(raw);
            if !raw.ends_with('\n') {
                text.push('\n');
            }
        }
        text.into()
    }
}

/// `base` with the rows of `other`: each user of `other` has the rows `other` gives it, and a token that stands in both
/// belongs to the user `other` names. Users that only `base` knows keep their rows and places; new users follow.
#[must_use]
pub fn merge(base: &TokenFile, other: &TokenFile) -> TokenFile {
    let digest = |row: &Row| Digest::of(row.token.expose_secret());
    let claimed: HashSet<Digest> = other.rows.iter().map(digest).collect();
    let mut groups: HashMap<(&str, &str), Vec<&Row>> = HashMap::new();
    for row in &other.rows {
        groups.entry(row.holder_key()).or_default().push(row);
    }
    let mut done = HashSet::new();
    let mut rows = Vec::with_capacity(base.rows.len() + other.rows.len());
    for row in &base.rows {
        match groups.get(&row.holder_key()) {
            None if claimed.contains(&digest(row)) => {}
            None => rows.push(row.clone()),
            Some(theirs) if done.insert(row.holder_key()) => rows.extend(theirs.iter().copied().cloned()),
            Some(_) => {}
        }
    }
    for row in &other.rows {
        if done.insert(row.holder_key()) {
            rows.extend(groups.get(&row.holder_key()).into_iter().flatten().copied().cloned());
        }
    }
    TokenFile { rows }
}

/// Go's reader keeps everything but a quote, a comma or a line end inside a bare field.
fn quote_if_needed(field: &str) -> String {
    if field.is_empty() || field.contains(['"', ',', '\n']) { quote(field) } else { field.to_owned() }
}

fn quote(field: &str) -> String {
    format!("\"{}\"", field.replace('"', "\"\""))
}
