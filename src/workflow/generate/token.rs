//! The bootstrap token and token.csv: a token is made once and kept; its row follows the inventory; rows of other users
//! stay as they are. A token that the cluster keeps in a Secret has no row: it is in bootstrap.kubeconfig alone.

use super::{Desk, Error, StepAction, Stored, node_tokens, nodes::nodes};
use crate::{
    digest::Fingerprint,
    entropy::Entropy,
    inventory::{Inventory, TokenForm, TokenSettings},
    kubeconfig::Kubeconfig,
    rotation::{Carrier, NodeToken, Record, Which},
    secret::{Secret, scrub},
    store::{RowRecord, Snapshot, State, StoredFile, TokenRecord},
    token::{BootstrapToken, BootstrapTokenSecret, ManifestError, Row, TokenFile, node_holder},
    workflow::stored::Tokens,
};
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, HashSet};

pub const ARTIFACT: &str = "token";

/// The token as it is to be.
pub(super) struct Settled {
    pub token: BootstrapToken,
    /// Of nodes that have their own.
    pub node_tokens: BTreeMap<String, BootstrapToken>,
    pub token_csv: Option<Secret>,
    /// As bootstrap.kubeconfig names it.
    pub user: String,
    pub record: TokenRecord,
}

pub(super) fn settle(desk: &mut Desk) -> Result<Settled, Error> {
    let state = desk.snapshot.state.as_ref();
    if let Some((rotation, record)) = state.and_then(|state| Some((state.rotation.clone()?, state.token.clone()?))) {
        return keep(desk, &rotation, &record);
    }
    let wanted = desk.inventory.token_form;
    match state.and_then(State::token_form) {
        Some(stored) if stored != wanted => Err(Error::TokenForm { stored, wanted }),
        _ if wanted == TokenForm::Secret => settle_secret(desk),
        _ => settle_row(desk),
    }
}

fn settle_secret(desk: &mut Desk) -> Result<Settled, Error> {
    let user = desk.inventory.token.user.clone();
    let previous = desk.snapshot.state.as_ref().and_then(|state| state.token.clone());
    if let Some((record, token)) = previous.clone().and_then(|record| {
        let token = recover(desk.snapshot, Some(&record))?;
        Some((record, token))
    }) {
        let ends = record.secret.as_ref().map(|terms| terms.expiration);
        let ends = ends.map_or_else(String::new, |end| {
            let tense = if end <= desk.now { "expired" } else { "expires" };
            format!("; {tense} {}", end.strftime("%Y-%m-%d %H:%M:%S UTC"))
        });
        desk.note(ARTIFACT, StepAction::Kept, format!("fingerprint {}{ends}", record.fingerprint));
        return Ok(Settled { token, node_tokens: BTreeMap::new(), token_csv: None, user, record });
    }
    let secret = mint_secret(desk.inventory, desk.now, desk.entropy)?;
    let (token, TokenSettings { user: holder, uid, groups }) = (secret.token(), secret.holder());
    let fingerprint = token.fingerprint();
    let lost = previous.map(|old| format!("; token {}, which hosts may hold, is lost", old.fingerprint));
    let ends = secret.expiration().strftime("%Y-%m-%d %H:%M:%S UTC");
    let reason = format!("fingerprint {fingerprint}, expires {ends}{}", lost.unwrap_or_default());
    desk.note(ARTIFACT, StepAction::Created, reason);
    let (created, secret, other_rows) = (desk.now, Some(secret.terms()), Vec::new());
    let (nodes, distrusted) = (BTreeMap::new(), BTreeMap::new());
    let record = TokenRecord { fingerprint, user: holder, uid, groups, created, secret, other_rows, nodes, distrusted };
    Ok(Settled { token, node_tokens: BTreeMap::new(), token_csv: None, user, record })
}

/// As in [`State::token_generations`], with the tokens that `next` has and `before` had not. A rotation brings its own to the
/// control plane before any node gets them.
pub(super) fn generations(before: Option<&State>, next: &TokenRecord) -> BTreeMap<String, u64> {
    let Some((state, token)) = before.and_then(|state| Some((state, state.token.as_ref()?))) else {
        return BTreeMap::new();
    };
    let mut known = state.token_generations.clone();
    known.retain(|node, _| node.is_empty() || next.nodes.contains_key(node));
    if state.rotation.is_none() {
        let is_new = |(node, own): &(&String, &NodeToken)| {
            token.nodes.get(*node).is_none_or(|earlier| earlier.fingerprint != own.fingerprint)
        };
        let of_nodes = next.nodes.iter().filter(is_new).map(|(node, _)| node.clone());
        let shared = (token.fingerprint != next.fingerprint).then(String::new);
        known.extend(of_nodes.chain(shared).map(|key| (key, state.generation + 1)));
    }
    known
}

/// A token for a Secret, as the inventory asks for it.
pub(in crate::workflow) fn mint_secret(
    inventory: &Inventory,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Result<BootstrapTokenSecret, ManifestError> {
    let ttl = SignedDuration::try_from(inventory.token_ttl).unwrap_or(SignedDuration::MAX);
    BootstrapTokenSecret::generate(entropy, now, ttl, &inventory.token.groups)
}

fn settle_row(desk: &mut Desk) -> Result<Settled, Error> {
    let wanted = desk.inventory.token.clone();
    let file = stored_rows(desk)?;
    let previous = desk.snapshot.state.as_ref().and_then(|state| state.token.clone());
    refuse_lost_rows(desk.snapshot)?;
    let (token, origin) = match find(&file, previous.as_ref(), &wanted) {
        Some(row) => (BootstrapToken::from_secret(row.token.clone())?, Origin::Stored),
        None => match recover(desk.snapshot, previous.as_ref()) {
            Some(token) => (token, Origin::Recovered),
            None => (BootstrapToken::generate(desk.entropy)?, Origin::Minted),
        },
    };
    let fingerprint = token.fingerprint();
    let file = rewrite(&file, previous.as_ref(), &token, &wanted)?;
    let node_tokens::Settled { file, tokens: node_tokens, records: nodes } =
        node_tokens::settle(desk, &file, previous.as_ref())?;
    let (text, other_rows) = (file.render(), other_rows(&file, &wanted, &nodes));
    let stored = desk.put(StoredFile::TokenCsv, &text);
    let (action, reason) = match (origin, stored) {
        (Origin::Minted, _) => (StepAction::Created, minted(fingerprint, previous.as_ref())),
        (Origin::Recovered, _) => {
            (StepAction::Rebuilt, format!("token.csv was missing; token {fingerprint} is in bootstrap.kubeconfig"))
        }
        (Origin::Stored, Stored::Same) => (StepAction::Kept, format!("fingerprint {fingerprint}")),
        (Origin::Stored, Stored::Differs) => {
            let is_same = previous.as_ref().is_some_and(|old| old.fingerprint == fingerprint && old.holder() == wanted);
            let why = if is_same { "rows of nodes changed" } else { "user, uid or groups changed" };
            (StepAction::Rebuilt, format!("{why}; token {fingerprint} is kept"))
        }
    };
    // Before the step of the nodes' own.
    let of_nodes = desk.steps.pop_if(|step| step.artifact == node_tokens::ARTIFACT);
    desk.note(ARTIFACT, action, reason);
    desk.steps.extend(of_nodes);
    let (created, distrusted) = match previous {
        Some(record) if record.fingerprint == fingerprint => (record.created, record.distrusted),
        Some(record) => (desk.now, record.distrusted),
        None => (desk.now, BTreeMap::new()),
    };
    let TokenSettings { user, uid, groups } = wanted;
    let name = user.clone();
    let record = TokenRecord { fingerprint, user, uid, groups, created, secret: None, other_rows, nodes, distrusted };
    Ok(Settled { token, node_tokens, token_csv: Some(text), user: name, record })
}

/// While a rotation is under way token.csv and the token are what its stage says, and nothing the inventory asks for.
fn keep(desk: &mut Desk, rotation: &Record, record: &TokenRecord) -> Result<Settled, Error> {
    let TokenSettings { user, uid, groups } = &desk.inventory.token;
    let is_as_before = match rotation.carrier() {
        Carrier::TokenFile => {
            desk.inventory.token_form == TokenForm::Csv
                && (user, uid, groups) == (&record.user, &record.uid, &record.groups)
        }
        Carrier::Secrets | Carrier::Migration => desk.inventory.token_form == TokenForm::Secret,
    };
    if !is_as_before {
        return Err(Error::RotationUnderWay);
    }
    let lost = || Error::RotationTokensLost;
    let both = desk.snapshot.content(StoredFile::RotationTokens).ok_or_else(lost)?;
    let both = TokenFile::from_secret(both)
        .map_err(|source| Error::TokenFile { path: StoredFile::RotationTokens.path().into(), source })?;
    let record = stage_record(record, rotation, &both).ok_or_else(lost)?;
    refuse_nodes_without(desk.inventory, &record, rotation)?;
    let Tokens { shared: token, nodes: node_tokens } = Tokens::of(&record, &both).ok_or_else(lost)?;
    let user = kubeconfig_user(desk.inventory, rotation, &record, &both).ok_or_else(lost)?;
    let token_csv = match rotation.carrier() {
        Carrier::Secrets => None,
        Carrier::TokenFile | Carrier::Migration => Some(rotation.token_file(&both).ok_or_else(lost)?.render()),
    };
    let fingerprint = token.fingerprint();
    let action = match token_csv.as_ref().map(|text| desk.put(StoredFile::TokenCsv, text)) {
        None | Some(Stored::Same) => StepAction::Kept,
        Some(Stored::Differs) => StepAction::Rebuilt,
    };
    desk.note(ARTIFACT, action, format!("fingerprint {fingerprint}; a rotation is under way"));
    Ok(Settled { token, node_tokens, token_csv, user, record })
}

/// One that came to the inventory meanwhile would get the token that others share.
fn refuse_nodes_without(inventory: &Inventory, record: &TokenRecord, rotation: &Record) -> Result<(), Error> {
    if rotation.carrier() != Carrier::TokenFile || record.nodes.is_empty() && rotation.nodes.is_empty() {
        return Ok(());
    }
    let is_known = |node: &str| record.nodes.contains_key(node) || rotation.nodes.contains_key(node);
    match nodes(inventory).find(|node| !is_known(node)) {
        Some(node) => Err(Error::NodeWithoutToken { node: node.to_owned() }),
        None => Ok(()),
    }
}

/// The record of the token as it is in a rotation's stage. `None` where `both` lacks a row.
pub(in crate::workflow) fn stage_record(
    stored: &TokenRecord,
    rotation: &Record,
    both: &TokenFile,
) -> Option<TokenRecord> {
    let which = rotation.carried();
    let mut own = TokenRecord { nodes: rotation.node_tokens(&stored.nodes, which), ..stored.clone() };
    if rotation.is_of_some_nodes() {
        return Some(own);
    }
    own.fingerprint = rotation.fingerprint(which);
    own.created = match which {
        Which::Old => rotation.old_created,
        Which::New => rotation.began,
    };
    if rotation.secrets.is_some() {
        let holder = rotation.row(both, which)?.holder();
        TokenSettings { user: own.user, uid: own.uid, groups: own.groups } = holder;
        own.secret = rotation.secret_of(which).cloned();
    }
    Some(own)
}

/// Under which name bootstrap.kubeconfig holds the token of a rotation's stage: that of its row, or the inventory's where
/// it has none, since the user of a Secret changes with each token.
pub(in crate::workflow) fn kubeconfig_user(
    inventory: &Inventory,
    rotation: &Record,
    record: &TokenRecord,
    both: &TokenFile,
) -> Option<String> {
    if rotation.is_of_some_nodes() {
        return Some(record.user.clone());
    }
    let which: Which = rotation.carried();
    match rotation.secret_of(which) {
        Some(_) => Some(inventory.token.user.clone()),
        None => rotation.row(both, which).map(|row| row.user.clone()),
    }
}

/// Our own row can be made again; the tokens of other users nobody here knows.
fn refuse_lost_rows(snapshot: &Snapshot) -> Result<(), Error> {
    let Some(record) = snapshot.state.as_ref().and_then(|state| state.token.as_ref()) else { return Ok(()) };
    if snapshot.content(StoredFile::TokenCsv).is_some() || record.other_rows.is_empty() && record.nodes.is_empty() {
        return Ok(());
    }
    let mut users: Vec<String> = record.other_rows.iter().map(|row| scrub(&row.user)).collect();
    if !record.nodes.is_empty() {
        users.push(format!("{} nodes", record.nodes.len()));
    }
    users.sort();
    users.dedup();
    Err(Error::OtherRowsLost { users })
}

/// What state.json keeps of the rows that are not ours.
pub(in crate::workflow) fn other_rows(
    file: &TokenFile,
    own: &TokenSettings,
    nodes: &BTreeMap<String, NodeToken>,
) -> Vec<RowRecord> {
    let of_nodes: HashSet<(String, String)> =
        nodes.keys().map(|node| node_holder(own, node)).map(|holder| (holder.user, holder.uid)).collect();
    let is_ours = |row: &RowRecord| {
        (&row.user, &row.uid) == (&own.user, &own.uid) || of_nodes.contains(&(row.user.clone(), row.uid.clone()))
    };
    file.rows().iter().map(record_of).filter(|row| !is_ours(row)).collect()
}

fn minted(fingerprint: Fingerprint, previous: Option<&TokenRecord>) -> String {
    let lost = previous.map(|old| format!("; token {}, which hosts may hold, is lost", old.fingerprint));
    format!("128 bits, fingerprint {fingerprint}{}", lost.unwrap_or_default())
}

enum Origin {
    Stored,
    Recovered,
    Minted,
}

fn stored_rows(desk: &Desk) -> Result<TokenFile, Error> {
    let Some(text) = desk.snapshot.content(StoredFile::TokenCsv) else { return Ok(TokenFile::default()) };
    TokenFile::from_secret(text).map_err(|source| Error::TokenFile { path: StoredFile::TokenCsv.path().into(), source })
}

/// Our row: the one whose token was recorded, else the one of the wanted user.
fn find<'a>(file: &'a TokenFile, previous: Option<&TokenRecord>, wanted: &'a TokenSettings) -> Option<&'a Row> {
    let recorded = |row: &&Row| previous.is_some_and(|record| row.fingerprint() == record.fingerprint);
    let rows = file.rows();
    rows.iter().find(recorded).or_else(|| file.rows_of(&wanted.user, &wanted.uid).next())
}

/// The file with our row as wanted; where user or uid changed, the row under the old ones goes.
fn rewrite(
    file: &TokenFile,
    previous: Option<&TokenRecord>,
    token: &BootstrapToken,
    wanted: &TokenSettings,
) -> Result<TokenFile, Error> {
    let mut file = file.clone();
    if let Some(old) = previous.filter(|old| (&old.user, &old.uid) != (&wanted.user, &wanted.uid)) {
        let old = TokenSettings { user: old.user.clone(), uid: old.uid.clone(), groups: Vec::new() };
        file = file.with_rows(&[], &old)?.0;
    }
    Ok(file.with_row(token, wanted)?.0)
}

pub(in crate::workflow) fn record_of(row: &Row) -> RowRecord {
    RowRecord { user: row.user.clone(), uid: row.uid.clone(), fingerprint: row.fingerprint() }
}

/// The recorded token out of bootstrap.kubeconfig: a lost token.csv is no reason for a new token.
#[must_use]
pub fn recover(snapshot: &Snapshot, previous: Option<&TokenRecord>) -> Option<BootstrapToken> {
    let text = snapshot.content(StoredFile::BootstrapKubeconfig)?;
    let kubeconfig = Kubeconfig::from_secret(text).ok()?;
    let token = kubeconfig.token_of_current_user()?;
    (token.fingerprint() == previous?.fingerprint).then_some(token)
}
