//! The credential set as it lies in the store: what hosts should hold today, whatever the inventory asks for tomorrow.

use crate::{
    bundle::CredentialSet,
    inventory::Inventory,
    secret::Secret,
    store::{Snapshot, StoredFile},
    token::{BootstrapToken, TokenFile},
    workflow::generate::recover,
};

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
    Ok(CredentialSet {
        cluster_name: inventory.cluster.name.clone(),
        ca_pem: certificate(StoredFile::CaCertificate)?,
        token_user: token_user.unwrap_or_else(|| inventory.token.user.clone()),
        token,
        token_csv,
        client_certificate_pem: certificate(StoredFile::KubeProxyCertificate)?,
        client_key_pem: content(StoredFile::KubeProxyKey)?,
    })
}

fn own_token(snapshot: &Snapshot, token_csv: &Secret) -> Option<BootstrapToken> {
    let fingerprint = snapshot.state.as_ref()?.token.as_ref()?.fingerprint;
    let file = TokenFile::from_secret(token_csv).ok()?;
    let row = file.rows().iter().find(|row| row.fingerprint() == fingerprint)?;
    BootstrapToken::from_secret(row.token.clone()).ok()
}
