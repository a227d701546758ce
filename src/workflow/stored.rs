//! The credential set as it lies in the store: what hosts should hold today, whatever the inventory asks for tomorrow.

use super::generate::nodes;
use crate::{
    bundle::{ClientPair, CredentialSet},
    inventory::Inventory,
    store::{ExtraFile, Snapshot, StoredFile, TokenRecord},
    token::{BootstrapToken, TokenFile},
    workflow::generate::recover,
};
use std::collections::BTreeMap;

/// A file of the set is not there, or holds nothing of use.
#[derive(Debug, thiserror::Error)]
#[error("{0} is missing or incomplete")]
pub struct Incomplete(pub StoredFile);

/// Reads the set out of a snapshot.
///
/// # Errors
/// [`Incomplete`], with the file to blame.
pub fn read_stored_set(inventory: &Inventory, snapshot: &Snapshot) -> Result<CredentialSet, Incomplete> {
    let content = |file| snapshot.content(file).cloned().ok_or(Incomplete(file));
    let certificate = |file| snapshot.certificate(file).map(str::to_owned).ok_or(Incomplete(file));
    let record = snapshot.state.as_ref().and_then(|state| state.token.as_ref());
    let is_secret = record.is_some_and(|record| record.secret.is_some());
    let token_csv = snapshot.content(StoredFile::TokenCsv).cloned();
    let source = if is_secret { StoredFile::BootstrapKubeconfig } else { StoredFile::TokenCsv };
    let tokens = match (&token_csv, record) {
        _ if is_secret => recover(snapshot, record).map(|shared| Tokens { shared, nodes: BTreeMap::new() }),
        (Some(text), Some(record)) => TokenFile::from_secret(text).ok().and_then(|file| Tokens::of(record, &file)),
        _ => None,
    };
    let Tokens { shared: token, nodes: node_tokens } = tokens.ok_or(Incomplete(source))?;
    // The user of a Secret changes with each token; its name in the kubeconfig does not.
    let token_user = record.filter(|_| !is_secret).map(|record| record.user.clone());
    let certificate_pem = certificate(StoredFile::KubeProxyCertificate)?;
    let key_pem = content(StoredFile::KubeProxyKey)?;
    let node_clients = match snapshot.state.as_ref().is_some_and(|state| state.per_node) {
        true => node_clients(inventory, snapshot),
        false => BTreeMap::new(),
    };
    let rotated = snapshot.state.as_ref().and_then(|state| state.rotation.as_ref());
    Ok(CredentialSet {
        has_node_rows: !node_tokens.is_empty() || rotated.is_some_and(|rotation| !rotation.nodes.is_empty()),
        cluster_name: inventory.cluster.name.clone(),
        ca_pem: certificate(StoredFile::CaCertificate)?,
        token_user: token_user.unwrap_or_else(|| inventory.token.user.clone()),
        token,
        node_tokens,
        token_csv,
        client_certificate_pem: certificate_pem,
        client_key_pem: key_pem,
        node_clients,
    })
}

/// A node that has none yet is held against the shared pair: it has no such file either way, or one that differs.
fn node_clients(inventory: &Inventory, snapshot: &Snapshot) -> BTreeMap<String, ClientPair> {
    let pair = |node: &str| {
        let certificate_pem = snapshot.node_certificate(node)?.to_owned();
        let key_pem = snapshot.extra(&ExtraFile::NodeKey(node.to_owned()))?.clone();
        Some((node.to_owned(), ClientPair { certificate_pem, key_pem }))
    };
    nodes(inventory).filter_map(pair).collect()
}

/// The tokens that hosts are to have.
pub(in crate::workflow) struct Tokens {
    pub shared: BootstrapToken,
    /// Of the nodes that have their own.
    pub nodes: BTreeMap<String, BootstrapToken>,
}

impl Tokens {
    /// Those of the record, out of a file that has their rows; `None` where one is missing.
    pub fn of(record: &TokenRecord, file: &TokenFile) -> Option<Self> {
        let rows = file.by_fingerprint();
        let token = |fingerprint| BootstrapToken::from_secret(rows.get(&fingerprint)?.token.clone()).ok();
        let nodes = record.nodes.iter().map(|(node, own)| Some((node.clone(), token(own.fingerprint)?)));
        Some(Self { shared: token(record.fingerprint)?, nodes: nodes.collect::<Option<_>>()? })
    }
}
