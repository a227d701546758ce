//! The two kubeconfigs: built anew each time from their sources, written only where they differ.

use super::{Desk, Error, StepAction, Stored};
use crate::{
    bundle::{CredentialSet, FileKind},
    kubeconfig::Kubeconfig,
    secret::Secret,
    store::StoredFile,
};

pub(super) fn settle(desk: &mut Desk, set: &CredentialSet) -> Result<(), Error> {
    let server = desk.inventory.cluster.server.clone();
    for (kind, file, artifact) in [
        (FileKind::BootstrapKubeconfig, StoredFile::BootstrapKubeconfig, "bootstrap.kubeconfig"),
        (FileKind::KubeProxyKubeconfig, StoredFile::KubeProxyKubeconfig, "kube-proxy.kubeconfig"),
    ] {
        let content = set.render(kind, &server)?;
        let before = desk.snapshot.content(file).map(server_of);
        let changed = desk.put(file, &content);
        let (action, reason) = match (before, changed) {
            (_, Stored::Same) => (StepAction::Kept, format!("server {server}")),
            (None, Stored::Differs) => (StepAction::Created, format!("server {server}")),
            (Some(Some(old)), Stored::Differs) if old != server.as_str() => {
                (StepAction::Rebuilt, format!("server {old} -> {server}"))
            }
            (Some(_), Stored::Differs) => (StepAction::Rebuilt, "what it embeds has changed".to_owned()),
        };
        desk.note(artifact, action, reason);
    }
    Ok(())
}

fn server_of(stored: &Secret) -> Option<String> {
    Kubeconfig::from_secret(stored).ok()?.current_server().map(ToOwned::to_owned)
}
