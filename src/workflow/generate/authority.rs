//! The cluster CA: made once, imported once, never replaced.

use super::{Aim, CaPlace, Desk, Error, StepAction, Stored};
use crate::{
    clock::day,
    inventory::{CaSource, Inventory},
    pki::{self, Authority, CertificateInfo, Culprit, ImportError, NewAuthority},
    secret::Secret,
    store::{self, CaOrigin, CaRecord, StoredFile},
};
use jiff::Timestamp;
use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

const ARTIFACT: &str = "ca";
/// Larger than any CA bundle in use.
const LARGEST_PEM: u64 = 1024 * 1024;

/// The CA an inventory names, read and found fit but for its dates; `None` where kubemint makes one.
#[derive(Debug)]
pub struct GivenAuthority(Option<(Authority, CaOrigin)>);

impl GivenAuthority {
    /// Every certificate that is trusted, the CA's own first; `None` where kubemint makes its CA itself.
    #[must_use]
    pub fn bundle_pem(&self) -> Option<String> {
        self.0.as_ref().map(|(authority, _)| authority.bundle_pem())
    }

    /// That a new credential directory may begin with it.
    ///
    /// # Errors
    /// [`Error::CaInput`].
    pub fn check_dates(&self, inventory: &Inventory, now: Timestamp) -> Result<(), Error> {
        let checked = self.0.as_ref().map_or(Ok(()), |(authority, _)| authority.check_dates(now));
        checked.map_err(|source| Error::CaInput { path: certificate_path(inventory), source })
    }
}

/// Reads and checks the CA that the inventory names, all but its dates. Touches nothing: mistakes in the input show before the
/// store is opened.
///
/// # Errors
/// [`Error::CaUnreadable`], [`Error::CaInput`].
pub fn read_given_authority(inventory: &Inventory, now: Timestamp) -> Result<GivenAuthority, Error> {
    let read = |path: &Path| store::read_bytes(path, LARGEST_PEM).map_err(Error::CaUnreadable);
    let given = match &inventory.ca {
        CaSource::New { .. } => None,
        CaSource::Imported { cert, key } => {
            if let Some(mode) = store::mode_open_to_others(key).map_err(Error::CaUnreadable)? {
                let path = key.display();
                tracing::warn!("the CA's key {path} is open to others (mode {mode:04o}): `chmod go= {path}`");
            }
            let key_pem = pki::decode_key_file(std::mem::take(&mut *read(key)?))
                .map_err(|source| Error::CaInput { path: key.clone(), source: source.into() })?;
            let authority = Authority::read(&*read(cert)?, Some(&key_pem), now)
                .map_err(|source| Error::CaInput { path: blame(&source, cert, key).to_owned(), source })?;
            Some((authority, CaOrigin::Imported))
        }
        CaSource::External { cert } => {
            let authority = Authority::read(&*read(cert)?, None, now)
                .map_err(|source| Error::CaInput { path: cert.clone(), source })?;
            Some((authority, CaOrigin::External))
        }
    };
    if let Some((authority, _)) = &given {
        check_servers(inventory, authority)?;
        for (extension, version) in authority.handled_since() {
            let subject = &authority.certificate().subject;
            tracing::warn!(
                "the CA `{subject}` has the critical extension {extension}: only {version} and later accept certificates under it"
            );
        }
    }
    Ok(GivenAuthority(given))
}

/// Every server that a kubeconfig will name: Go refuses one that the CA may not sign for.
fn check_servers(inventory: &Inventory, authority: &Authority) -> Result<(), Error> {
    let (CaSource::Imported { cert, .. } | CaSource::External { cert }) = &inventory.ca else { return Ok(()) };
    let servers = std::iter::once(&inventory.cluster.server).chain(inventory.hosts.iter().map(|host| &host.server));
    let mut checked = HashSet::new();
    for server in servers.filter(|server| checked.insert(server.as_str())) {
        authority.check_server(&server.host()).map_err(|source| Error::CaInput { path: cert.clone(), source })?;
    }
    Ok(())
}

pub(super) fn settle(desk: &mut Desk, given: GivenAuthority) -> Result<(Authority, CaRecord), Error> {
    let (authority, origin) = match (given.0, &desk.inventory.ca) {
        (Some((authority, origin)), _) => (taken_over(desk, authority)?, origin),
        (None, CaSource::New { algorithm, validity, common_name }) => {
            let wanted = NewAuthority { common_name: common_name.clone(), algorithm: *algorithm, validity: *validity };
            (made(desk, &wanted)?, CaOrigin::Generated)
        }
        (None, CaSource::Imported { cert, .. } | CaSource::External { cert }) => {
            return Err(Error::CaKeyAbsent { path: cert.clone() });
        }
    };
    look_at_dates(desk, &authority)?;
    let info = authority.certificate();
    // Keeping a CA keeps how it once came here, whatever the inventory says today.
    let origin = match desk.snapshot.state.as_ref().and_then(|state| state.ca.as_ref()) {
        Some(record) if record.sha256 == info.sha256 => record.origin,
        _ => origin,
    };
    let record = CaRecord { origin, subject: info.subject.clone(), sha256: info.sha256, not_after: info.not_after };
    Ok((authority, record))
}

/// An out-of-date CA ends the planning of what is to be made; where it is only to be shown, the desk knows of it.
fn look_at_dates(desk: &mut Desk, authority: &Authority) -> Result<(), Error> {
    let Err(source) = authority.check_dates(desk.now) else { return Ok(()) };
    let in_use = desk.snapshot.state.as_ref().and_then(|state| state.ca.as_ref());
    let path = certificate_path(desk.inventory);
    let error = match &desk.inventory.ca {
        CaSource::New { .. } => {
            let path = StoredFile::CaCertificate.path().into();
            Error::CaOutOfDate { path, source, place: CaPlace::Store }
        }
        _ if in_use.is_some_and(|record| record.sha256 == authority.certificate().sha256) => {
            Error::CaOutOfDate { path, source, place: CaPlace::Inventory }
        }
        _ => Error::CaInput { path, source },
    };
    match (&error, desk.aim) {
        (Error::CaOutOfDate { .. }, Aim::Show) => {
            desk.out_of_date = Some(error);
            Ok(())
        }
        _ => Err(error),
    }
}

/// Of the CA that the inventory names.
fn certificate_path(inventory: &Inventory) -> PathBuf {
    match &inventory.ca {
        CaSource::Imported { cert, .. } | CaSource::External { cert } => cert.clone(),
        CaSource::New { .. } => PathBuf::new(),
    }
}

fn made(desk: &mut Desk, wanted: &NewAuthority) -> Result<Authority, Error> {
    if let Some(authority) = stored(desk)? {
        let asked = wanted.algorithm.name();
        let info = authority.certificate();
        let reason = if info.algorithm == asked {
            validity(info, desk.now)
        } else {
            format!("the inventory now asks for {asked}, but a CA is never replaced by itself")
        };
        desk.note(ARTIFACT, StepAction::Kept, reason);
        return Ok(authority);
    }
    let authority = Authority::issue_self_signed(wanted, desk.now, desk.entropy)?;
    put(desk, &authority);
    let until = authority.certificate().not_after.strftime("%Y-%m-%d");
    desk.note(ARTIFACT, StepAction::Created, format!("{}, valid until {until}", wanted.algorithm));
    Ok(authority)
}

fn taken_over(desk: &mut Desk, given: Authority) -> Result<Authority, Error> {
    same_as_stored(desk, &given)?;
    let (action, reason) = match put(desk, &given) {
        Stored::Same => (StepAction::Kept, "the inventory's own"),
        Stored::Differs => (StepAction::Created, "taken over from the inventory's files"),
    };
    let mut note = format!("{reason}, {}", validity(given.certificate(), desk.now));
    if given.superseded() > 0 {
        note.push_str(&format!(", the latest of {} with its key", given.superseded() + 1));
    }
    if given.certificates() > 1 {
        note.push_str(&format!("; {} certificates are trusted", given.certificates()));
    }
    desk.note(ARTIFACT, action, note);
    Ok(given)
}

/// `valid until 2036-11-25`, or why it is not.
fn validity(info: &CertificateInfo, now: Timestamp) -> String {
    if info.is_valid_at(now) {
        return format!("valid until {}", day(info.not_after));
    }
    match now < info.not_before {
        true => format!("not valid before {}", day(info.not_before)),
        false => format!("expired on {}", day(info.not_after)),
    }
}

/// The CA that is in the store; `None` where there has never been one.
fn stored(desk: &Desk) -> Result<Option<Authority>, Error> {
    let snapshot = desk.snapshot;
    let missing = |file: StoredFile| Error::CaMissing { path: file.path().into() };
    let (cert, key) = match (snapshot.certificate(StoredFile::CaCertificate), snapshot.content(StoredFile::CaKey)) {
        (Some(cert), Some(key)) => (cert, key),
        // The certificate is written last: without it no run ever finished making a CA.
        (None, _) if !snapshot.was_committed(StoredFile::CaCertificate) => return Ok(None),
        (None, _) => return Err(missing(StoredFile::CaCertificate)),
        (Some(_), None) => return Err(missing(StoredFile::CaKey)),
    };
    Authority::read(cert, Some(key), desk.now)
        .map(Some)
        .map_err(|source| Error::CaStored { path: StoredFile::CaCertificate.path().into(), source })
}

fn same_as_stored(desk: &Desk, wanted: &Authority) -> Result<(), Error> {
    let Some(record) = desk.snapshot.state.as_ref().and_then(|state| state.ca.as_ref()) else { return Ok(()) };
    let info = wanted.certificate();
    // A renewed certificate of the same name and key is the same CA: what the old one vouches for holds under the new.
    let stored = desk.snapshot.certificate(StoredFile::CaCertificate).and_then(|pem| pki::parse_authority(pem).ok());
    let is_renewed = stored.is_some_and(|stored| {
        stored.sha256 == record.sha256
            && (stored.spki_sha256, &stored.subject_der) == (info.spki_sha256, &info.subject_der)
    });
    if record.sha256 == info.sha256 || is_renewed {
        return Ok(());
    }
    let named = |subject: &str, digest: &crate::digest::Digest| format!("{subject}, sha256 {}", digest.fingerprint());
    Err(Error::CaDiffers { wanted: named(&info.subject, &info.sha256), stored: named(&record.subject, &record.sha256) })
}

fn put(desk: &mut Desk, authority: &Authority) -> Stored {
    let key = authority.key_pem().map_or(Stored::Same, |key| desk.put(StoredFile::CaKey, key));
    let cert = desk.put(StoredFile::CaCertificate, &Secret::from(authority.bundle_pem()));
    if key == Stored::Differs { key } else { cert }
}

/// The file an import error is about.
fn blame<'a>(error: &ImportError, cert: &'a Path, key: &'a Path) -> &'a Path {
    match error.culprit() {
        Culprit::Key | Culprit::Pair => key,
        Culprit::Certificate => cert,
    }
}
