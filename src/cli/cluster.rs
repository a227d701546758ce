//! The flags that say with which rights an apiserver is asked, and how they become an [`Access`]: the kubeconfig that was
//! named, else the first of KUBECONFIG, else a short-lived certificate of our own where the CA's key is in the store.
//! Nothing is asked of an apiserver here.

use super::{context::Context, failure::Failure};
use crate::{
    cluster::{self, AdminCredential, AdminSource, ClientPair, Clusters, Deadlines, KubeClusters, Setup},
    inventory::{CaSource, Inventory, ServerUrl},
    kubeconfig::{self, Kubeconfig, Material},
    pki::{self, Authority},
    secret::{Secret, printable},
    store::{self, Snapshot, StoredFile},
    workflow::admin_certificate::{DEFAULT_GROUP, OwnCertificates, USER, VALIDITY},
};
use jiff::{SignedDuration, Timestamp};
use std::path::{Path, PathBuf};

/// More than any certificate, key or token file in use.
const LARGEST_MATERIAL: u64 = 1 << 20;
/// A token file is read again after this: service-account tokens are replaced in place.
const TOKEN_FILE_SERVES: SignedDuration = SignedDuration::from_mins(4);

#[derive(Debug, Clone, clap::Args)]
pub(super) struct ClusterArgs {
    /// An admin's kubeconfig [default: the first file of KUBECONFIG; else a short-lived certificate of kubemint's own,
    /// where the CA's key is at hand]
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// The context of that kubeconfig, instead of its current one
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// The group (O) of kubemint's own certificate
    #[arg(long, value_name = "NAME", default_value = DEFAULT_GROUP)]
    admin_group: String,
}

/// The way to the apiservers.
pub(super) struct Access {
    pub(super) clusters: Box<dyn Clusters>,
    /// With which rights, in one line.
    pub(super) note: String,
}

impl ClusterArgs {
    /// Whether the command line says with which rights.
    pub(super) fn is_named(&self) -> bool {
        self.kubeconfig.is_some() || self.context.is_some()
    }

    /// # Errors
    /// Exit 2: a kubeconfig that cannot be used, or no kubeconfig and no CA key.
    pub(super) fn connect(
        &self,
        context: &Context,
        inventory: &Inventory,
        snapshot: &Snapshot,
    ) -> Result<Access, Failure> {
        self.connect_with(context, inventory, snapshot, context.kubeconfig_of_environment())
    }

    /// The same, to show an apiserver somebody else's credential: that takes no rights, so none are needed.
    ///
    /// # Errors
    /// Exit 2: a kubeconfig that cannot be used, or nothing to verify an apiserver by.
    pub(super) fn connect_to_show(
        &self,
        context: &Context,
        inventory: &Inventory,
        snapshot: &Snapshot,
    ) -> Result<Access, Failure> {
        let of_environment = context.kubeconfig_of_environment();
        let is_named = self.kubeconfig.is_some() || of_environment.is_some() || self.context.is_some();
        match snapshot.certificate(StoredFile::CaCertificate) {
            Some(ca) if !is_named && snapshot.content(StoredFile::CaKey).is_none() => {
                connect(context, ca.to_owned(), Box::new(AdminCredential::default()), None, "as nobody".to_owned())
            }
            _ => self.connect_with(context, inventory, snapshot, of_environment),
        }
    }

    fn connect_with(
        &self,
        context: &Context,
        inventory: &Inventory,
        snapshot: &Snapshot,
        of_environment: Option<PathBuf>,
    ) -> Result<Access, Failure> {
        let ca = snapshot.certificate(StoredFile::CaCertificate);
        match self.kubeconfig.clone().or(of_environment) {
            Some(file) => self.with_kubeconfig(&file, context, ca),
            None => self.with_own_certificate(context, inventory, snapshot, ca),
        }
    }

    fn with_kubeconfig(&self, file: &Path, context: &Context, stored_ca: Option<&str>) -> Result<Access, Failure> {
        let text = context.read_input(file)?;
        let config = Kubeconfig::from_secret(&text).map_err(|e| Failure::from(e).in_file(file))?;
        let access = config.access(self.context.as_deref()).map_err(|e| Failure::from(e).in_file(file))?;
        let folder = context.folder_of(file);
        let source = FromKubeconfig { access, folder };
        let ca_pem = match (&source.access.ca, stored_ca) {
            (Some(Material::Here(pem)), _) => pem.clone(),
            (Some(Material::File(ca)), _) => store::read_text(&source.folder.join(ca), LARGEST_MATERIAL)
                .map_err(|e| Failure::bad_input("file_unreadable", e.to_string()).hint(e.hint()))?,
            (None, Some(pem)) => pem.to_owned(),
            (None, None) => {
                let message = "it names no certificate-authority, and no CA is in the credential directory";
                return Err(Failure::bad_input("api_access", message)
                    .hint("kubemint verifies every apiserver: add certificate-authority-data to its cluster")
                    .in_file(file));
            }
        };
        // Read now: a file that is missing is said before anything is begun.
        let credential = source.credential(context.now())?;
        let note = format!("as {}, from {}", whom(&credential), printable(&file.display().to_string()));
        let server_name = source.server_name();
        connect(context, ca_pem, Box::new(source), server_name, note)
    }

    fn with_own_certificate(
        &self,
        context: &Context,
        inventory: &Inventory,
        snapshot: &Snapshot,
        ca: Option<&str>,
    ) -> Result<Access, Failure> {
        if self.context.is_some() {
            let message = "--context names a context of a kubeconfig, and there is none";
            return Err(Failure::bad_input("api_access", message).hint("name the kubeconfig with --kubeconfig"));
        }
        let (Some(ca), Some(key)) = (ca, snapshot.content(StoredFile::CaKey)) else {
            return Err(no_rights(inventory, ca));
        };
        let unusable = |what: String| Failure::bad_input("api_access", format!("the CA cannot be used: {what}"));
        let authority = Authority::import(ca, key, context.now()).map_err(|e| unusable(e.to_string()))?;
        let group = self.admin_group.clone();
        let (clock, entropy) = (Box::new(context.clock), Box::new(context.entropy));
        let own = OwnCertificates { authority, group, clock, entropy };
        own.issue(context.now()).map_err(|e| {
            let failure = unusable(e.to_string());
            Failure { hint: e.hint().map(str::to_owned), ..failure }
        })?;
        let note = format!(
            "with a certificate of our own, CN={USER} O={}, valid {} minutes, kept in memory",
            printable(&self.admin_group),
            VALIDITY.as_secs() / 60
        );
        connect(context, ca.to_owned(), Box::new(own), None, note)
    }
}

fn connect(
    context: &Context,
    ca_pem: String,
    admin: Box<dyn AdminSource>,
    server_name: Option<(ServerUrl, String)>,
    note: String,
) -> Result<Access, Failure> {
    let clock = Box::new(context.clock);
    let setup = Setup { ca_pem, admin, server_name, deadlines: Deadlines::default(), clock };
    Ok(Access { clusters: Box::new(KubeClusters::new(setup)?), note })
}

fn no_rights(inventory: &Inventory, ca: Option<&str>) -> Failure {
    let reason = match (&inventory.ca, ca) {
        (CaSource::External { .. }, _) => "the CA's key is elsewhere and no kubeconfig is named",
        (_, None) => "nothing is generated yet and no kubeconfig is named",
        (_, Some(_)) => "the CA's key is not in the credential directory and no kubeconfig is named",
    };
    Failure::from(cluster::Error::Access { reason: reason.to_owned() })
}

/// Whom a credential is of, as far as it says so itself.
fn whom(credential: &AdminCredential) -> String {
    let subject = credential
        .certificate
        .as_ref()
        .and_then(|pair| pki::parse_certificates(pair.chain.as_bytes()).ok()?.into_iter().next())
        .map(|leaf| leaf.subject);
    match (subject, &credential.token) {
        (Some(subject), _) => subject,
        (None, Some(_)) => "the holder of a bearer token".to_owned(),
        (None, None) => "nobody".to_owned(),
    }
}

/// The rights of a kubeconfig's user.
struct FromKubeconfig {
    access: kubeconfig::Access,
    /// What its paths are relative to.
    folder: PathBuf,
}

impl FromKubeconfig {
    /// `tls-server-name` is said of the kubeconfig's own server, and of no other.
    fn server_name(&self) -> Option<(ServerUrl, String)> {
        let server = self.access.server.as_ref()?.parse().ok()?;
        Some((server, self.access.tls_server_name.clone()?))
    }

    fn read_secret(&self, material: &Material<Secret>) -> Result<Secret, cluster::Error> {
        match material {
            Material::Here(secret) => Ok(secret.clone()),
            Material::File(path) => store::read_capped(&self.folder.join(path), LARGEST_MATERIAL).map_err(unreadable),
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn unreadable(error: store::Error) -> cluster::Error {
    cluster::Error::Access { reason: error.to_string() }
}

impl AdminSource for FromKubeconfig {
    fn credential(&self, now: Timestamp) -> Result<AdminCredential, cluster::Error> {
        let certificate = match &self.access.certificate {
            None => None,
            Some((chain, key)) => {
                let chain = match chain {
                    Material::Here(pem) => pem.clone(),
                    Material::File(path) => {
                        store::read_text(&self.folder.join(path), LARGEST_MATERIAL).map_err(unreadable)?
                    }
                };
                Some(ClientPair { chain, key: self.read_secret(key)? })
            }
        };
        let token = self.access.token.as_ref().map(|token| self.read_secret(token)).transpose()?;
        let from_file = matches!(self.access.token, Some(Material::File(_)));
        let expires = if from_file { now.checked_add(TOKEN_FILE_SERVES).ok() } else { None };
        Ok(AdminCredential { certificate, token, expires })
    }
}

#[cfg(test)]
mod tests;
