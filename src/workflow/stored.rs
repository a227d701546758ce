//! The credential set as it lies in the store: what hosts should hold today, whatever the inventory asks for tomorrow.

use crate::{
    bundle::CredentialSet,
    inventory::Inventory,
    secret::Secret,
    store::{Snapshot, StoredFile},
    token::{BootstrapToken, TokenFile},
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
    let token_csv = content(StoredFile::TokenCsv)?;
    let token = own_token(snapshot, &token_csv).ok_or(Incomplete(StoredFile::TokenCsv))?;
    let token_user = snapshot.state.as_ref().and_then(|state| state.token.as_ref()).map(|record| record.user.clone());
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
