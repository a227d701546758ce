//! `kubemint token show`: the token by its fingerprint; the secret only when asked for by name.

use super::super::{
    context::Context,
    failure::{Exit, Failure},
    generate::note_rotation,
    output::Output,
};
use crate::{
    digest::Fingerprint,
    inventory::TokenForm,
    rotation::{NodeToken, Record},
    store::{Snapshot, StoredFile, TokenRecord},
    token::{BootstrapToken, Row, SecretTerms, TokenFile, node_user_prefix},
    workflow::generate::recover,
};
use jiff::Timestamp;
use serde::Serialize;
use std::collections::{BTreeMap, HashSet};

/// Show fingerprint, user, uid, groups and age; the secret only with --reveal
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kubemint token show
  kubemint token show --reveal -o json | jq -r .token")]
pub(super) struct Args {
    /// Print the token itself too
    #[arg(long)]
    reveal: bool,
}

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    version: u32,
    fingerprint: Fingerprint,
    user: &'a str,
    uid: &'a str,
    groups: &'a [String],
    created: Timestamp,
    /// `csv` or `secret`.
    form: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<&'a SecretTerms>,
    /// The tokens of nodes that have their own, by node.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    nodes: &'a BTreeMap<String, NodeToken>,
    /// Other rows of token.csv, kept for their users.
    other_rows: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    rotation: Option<RotationPart>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
}

/// A rotation under way.
#[derive(Serialize)]
struct RotationPart {
    stage: &'static str,
    direction: &'static str,
    old: Fingerprint,
    new: Fingerprint,
}

impl RotationPart {
    fn of(record: &Record) -> Self {
        let (stage, direction) = (record.stage.name(), record.direction.name());
        Self { stage, direction, old: record.old, new: record.new }
    }
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Exit, Failure> {
    let store = context.store_alone()?;
    let snapshot = store.load()?;
    let Some(record) = snapshot.state.as_ref().and_then(|state| state.token.as_ref()) else {
        return Err(Failure::nothing_generated(store.dir()));
    };
    let has_file = snapshot.state.as_ref().is_some_and(|state| state.wants(StoredFile::TokenCsv));
    let Some(text) = snapshot.content(StoredFile::TokenCsv).cloned().or_else(|| (!has_file).then(|| "".into())) else {
        return Err(Failure::refused(
            "token_file_missing",
            format!("token.csv is missing in {}", store.dir().display()),
        )
        .hint("`kubemint generate` makes it again from bootstrap.kubeconfig"));
    };
    let file = TokenFile::from_secret(&text)?;
    let row = file.rows().iter().find(|row| row.fingerprint() == record.fingerprint);
    note_rotation(context, &snapshot);
    let rotation = snapshot.state.as_ref().and_then(|state| state.rotation.as_ref());
    let below = node_user_prefix(&record.user);
    let changing = rotation.into_iter().flat_map(|rotation| rotation.nodes.keys());
    let names: HashSet<&str> = record.nodes.keys().chain(changing).map(String::as_str).collect();
    // The other token of a rotation is nobody else's.
    let own = |row: &&Row| {
        let of_rotation = |r: &Record| [r.old, r.new].contains(&row.fingerprint());
        let is_shared = row.fingerprint() == record.fingerprint || rotation.is_some_and(of_rotation);
        is_shared || row.user.strip_prefix(&below).is_some_and(|node| names.contains(node))
    };
    let document = Document {
        schema: "kubemint/token",
        version: 1,
        fingerprint: record.fingerprint,
        user: &record.user,
        uid: &record.uid,
        groups: &record.groups,
        created: record.created,
        nodes: &record.nodes,
        other_rows: file.rows().len() - file.rows().iter().filter(own).count(),
        rotation: rotation.map(RotationPart::of),
        form: if record.secret.is_some() { TokenForm::Secret } else { TokenForm::Csv }.name(),
        secret: record.secret.as_ref(),
        token: if args.reveal { row.and_then(reveal).or_else(|| reveal_secret(&snapshot, record)) } else { None },
    };
    context.output.answer(&document, || text_of(&document))?;
    Ok(Exit::Done)
}

fn reveal(row: &Row) -> Option<String> {
    Some(BootstrapToken::from_secret(row.token.clone()).ok()?.reveal())
}

fn reveal_secret(snapshot: &Snapshot, record: &TokenRecord) -> Option<String> {
    record.secret.as_ref()?;
    Some(recover(snapshot, Some(record))?.reveal())
}

fn text_of(document: &Document) -> String {
    let mut rows = vec![
        ["fingerprint".to_owned(), document.fingerprint.to_string()],
        ["user".to_owned(), document.user.to_owned()],
        ["uid".to_owned(), document.uid.to_owned()],
        ["groups".to_owned(), document.groups.join(", ")],
        ["created".to_owned(), document.created.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()],
        ["other rows".to_owned(), document.other_rows.to_string()],
    ];
    if !document.nodes.is_empty() {
        rows.push(["nodes".to_owned(), format!("{}, each with a token of its own", document.nodes.len())]);
    }
    rows.extend(document.secret.iter().flat_map(|terms| {
        [
            ["Secret".to_owned(), format!("kube-system/bootstrap-token-{}", terms.id)],
            ["expires".to_owned(), terms.expiration.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()],
        ]
    }));
    rows.extend(document.rotation.as_ref().map(|rotation| {
        ["rotation".to_owned(), format!("{} -> {}, stage {}", rotation.old, rotation.new, rotation.stage)]
    }));
    rows.extend(document.token.as_ref().map(|token| ["token".to_owned(), token.clone()]));
    Output::columns(rows)
}
