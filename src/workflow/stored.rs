//! The credential set as it lies in the store: what hosts should hold today, whatever the inventory asks for tomorrow.

use super::generate::nodes;
use crate::{
    bundle::{ClientPair, CredentialSet},
    inventory::Inventory,
    secret::Secret,
    store::{ExtraFile, Snapshot, StoredFile},
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
    let token = match &token_csv {
        _ if is_secret => recover(snapshot, record),
        Some(text) => own_token(snapshot, text),
        None => None,
    };
    let token = token.ok_or(Incomplete(source))?;
    // The user of a Secret changes with each token; its name in the kubeconfig does not.
    let token_user = record.filter(|_| !is_secret).map(|record| record.user.clone());
    let certificate_pem = certificate(StoredFile::KubeProxyCertificate)?;
    let key_pem = content(StoredFile::KubeProxyKey)?;
    let node_clients = match snapshot.state.as_ref().is_some_and(|state| state.per_node) {
        true => node_clients(inventory, snapshot),
        false => BTreeMap::new(),
    };
    Ok(CredentialSet {
        cluster_name: inventory.cluster.name.clone(),
        ca_pem: certificate(StoredFile::CaCertificate)?,
        token_user: token_user.unwrap_or_else(|| inventory.token.user.clone()),
        token,
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

fn own_token(snapshot: &Snapshot, token_csv: &Secret) -> Option<BootstrapToken> {
    let fingerprint = snapshot.state.as_ref()?.token.as_ref()?.fingerprint;
    let file = TokenFile::from_secret(token_csv).ok()?;
    let row = file.rows().iter().find(|row| row.fingerprint() == fingerprint)?;
    BootstrapToken::from_secret(row.token.clone()).ok()
}
