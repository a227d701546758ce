//! The kube-proxy client certificate: kept while it is what the inventory asks for and the CA still vouches for it.

use super::{Desk, Error, StepAction};
use crate::{
    inventory::CertificateSettings,
    pki::{self, Authority, CertificateInfo, Lifetime},
    secret::Secret,
    store::{CertificateRecord, StoredFile},
};
use jiff::SignedDuration;

const ARTIFACT: &str = pki::KUBE_PROXY.name;

/// A certificate with its key, both PEM.
pub(super) struct Client {
    pub(super) certificate_pem: String,
    pub(super) key_pem: Secret,
}

pub(super) fn settle(desk: &mut Desk, authority: &Authority) -> Result<(Client, CertificateRecord), Error> {
    let wanted = &desk.inventory.kube_proxy;
    let stale = match stored(desk) {
        Err(absence) => absence.to_owned(),
        Ok((client, info)) => match reason_to_reissue(&client, &info, wanted, authority, desk) {
            None => {
                desk.note(ARTIFACT, StepAction::Kept, format!("valid until {}", day(&info)));
                return Ok((client, record(&info)));
            }
            Some(reason) => reason,
        },
    };
    let action = match desk.snapshot.content(StoredFile::KubeProxyCertificate) {
        None => StepAction::Created,
        Some(_) => StepAction::Rebuilt,
    };
    if authority.key_pem().is_none() {
        return Err(Error::CaKeyAbsent { path: StoredFile::CaCertificate.path().into() });
    }
    let settings = pki::ClientSettings {
        algorithm: wanted.algorithm,
        validity: wanted.validity,
        organization: wanted.organization.clone(),
    };
    let issued = pki::issue_client(authority, &pki::KUBE_PROXY, &settings, desk.now, desk.entropy)?;
    desk.put(StoredFile::KubeProxyKey, &issued.key_pem);
    desk.put(StoredFile::KubeProxyCertificate, &Secret::from(issued.certificate_pem.as_str()));
    let end = match issued.lifetime {
        Lifetime::AsAsked => String::new(),
        Lifetime::ClampedToCa => ", as long as its CA".to_owned(),
    };
    desk.note(ARTIFACT, action, format!("{stale}; {}, valid until {}{end}", wanted.algorithm, day(&issued.info)));
    let record = record(&issued.info);
    Ok((Client { certificate_pem: issued.certificate_pem, key_pem: issued.key_pem }, record))
}

/// The stored certificate with its key, or what is missing of it.
fn stored(desk: &Desk) -> Result<(Client, CertificateInfo), &'static str> {
    let certificate = desk.snapshot.certificate(StoredFile::KubeProxyCertificate);
    let (certificate_pem, key_pem) = match (certificate, desk.snapshot.content(StoredFile::KubeProxyKey)) {
        (None, None) => return Err("there was none"),
        (Some(_), None) => return Err("its key was missing"),
        (None, Some(_)) => return Err("its certificate was missing"),
        (Some(certificate), Some(key)) => (certificate.to_owned(), key.clone()),
    };
    let info = pki::parse_certificate(&certificate_pem).map_err(|_| "it could not be read")?;
    Ok((Client { certificate_pem, key_pem }, info))
}

fn reason_to_reissue(
    client: &Client,
    info: &CertificateInfo,
    wanted: &CertificateSettings,
    authority: &Authority,
    desk: &Desk,
) -> Option<String> {
    if info.not_after <= desk.now {
        return Some(format!("it expired on {}", day(info)));
    }
    if info.algorithm != wanted.algorithm.name() {
        return Some(format!("the inventory asks for {}, it has {}", wanted.algorithm, info.algorithm));
    }
    if info.organizations != [wanted.organization.clone()] {
        return Some(format!(
            "the inventory asks for organization {:?}, it has {:?}",
            wanted.organization,
            info.organizations.join(", ")
        ));
    }
    let lifetime = info.not_after.duration_since(info.not_before) - pki::BACKDATE;
    let asked = SignedDuration::try_from(wanted.validity).unwrap_or(SignedDuration::MAX);
    let clamped = info.not_after == authority.certificate().not_after && lifetime < asked;
    if lifetime.as_secs() != asked.as_secs() && !clamped {
        return Some("the inventory asks for another validity".to_owned());
    }
    if let Err(error) = pki::key_matches(&client.certificate_pem, &client.key_pem) {
        return Some(format!("it is of no use without its key ({error})"));
    }
    pki::verify_chain(&client.certificate_pem, authority.certificate_pem(), desk.now)
        .err()
        .map(|e| format!("the CA does not vouch for it ({e})"))
}

fn record(info: &CertificateInfo) -> CertificateRecord {
    CertificateRecord { serial: info.serial.clone(), sha256: info.sha256, not_after: info.not_after }
}

fn day(info: &CertificateInfo) -> String {
    info.not_after.strftime("%Y-%m-%d").to_string()
}
