//! One kube-proxy client certificate, the shared one or a node's own: kept while it is what the inventory asks for, the CA
//! still vouches for it, and nobody asks for a new one.

use super::{Desk, Error, KeyChoice, StepAction};
use crate::{
    bundle::ClientPair,
    inventory::CertificateSettings,
    pki::{self, Authority, CertificateInfo, Lifetime},
    secret::Secret,
    store::{CertificateRecord, ExtraFile, StoredFile},
};
use jiff::SignedDuration;

const ARTIFACT: &str = pki::KUBE_PROXY.name;

/// What became of one certificate.
pub(super) struct Settled {
    pub(super) pair: ClientPair,
    pub(super) info: CertificateInfo,
    /// `None`: it is kept.
    pub(super) made: Option<Made>,
}

/// Why a certificate was made, and what it replaces.
pub(super) struct Made {
    pub(super) why: String,
    pub(super) lifetime: Lifetime,
    pub(super) replaced: Option<CertificateRecord>,
}

/// The shared one.
pub(super) fn settle(desk: &mut Desk, authority: &Authority) -> Result<(ClientPair, CertificateRecord), Error> {
    if let Some(error) = desk.out_of_date.take() {
        return settle_as_stored(desk, error);
    }
    let Settled { pair, info, made } = settle_pair(desk, authority, None)?;
    let record = record(&info);
    let Some(Made { why, lifetime, replaced }) = made else {
        desk.note(ARTIFACT, StepAction::Kept, format!("valid until {}", day(&info)));
        return Ok((pair, record));
    };
    let action = match desk.snapshot.content(StoredFile::KubeProxyCertificate) {
        None => StepAction::Created,
        Some(_) => StepAction::Rebuilt,
    };
    desk.put(StoredFile::KubeProxyKey, &pair.key_pem);
    desk.put(StoredFile::KubeProxyCertificate, &Secret::from(pair.certificate_pem.as_str()));
    desk.replaced.extend(replaced.map(|old| (String::new(), old)));
    let end = match lifetime {
        Lifetime::AsAsked => String::new(),
        Lifetime::ClampedToCa => ", as long as its CA".to_owned(),
    };
    let algorithm = desk.inventory.kube_proxy.algorithm;
    desk.note(ARTIFACT, action, format!("{why}; {algorithm}, valid until {}{end}", day(&info)));
    Ok((pair, record))
}

/// Where nothing can be issued: what there is, for better or worse.
fn settle_as_stored(desk: &mut Desk, error: Error) -> Result<(ClientPair, CertificateRecord), Error> {
    let Ok((pair, info)) = stored(desk, None) else { return Err(error) };
    let ends = if info.not_after <= desk.now { "expired on" } else { "valid until" };
    desk.note(ARTIFACT, StepAction::Kept, format!("{ends} {}; its CA is out of date", day(&info)));
    desk.out_of_date = Some(error);
    Ok((pair, record(&info)))
}

/// Decides on one certificate and makes it where it has to be; changes nothing on the desk, so that many can be settled
/// at a time.
pub(super) fn settle_pair(desk: &Desk, authority: &Authority, node: Option<&str>) -> Result<Settled, Error> {
    let wanted = &desk.inventory.kube_proxy;
    let (why, old) = match stored(desk, node) {
        Err(absence) => (absence.to_owned(), None),
        Ok((pair, info)) => match reason_to_reissue(&pair, &info, wanted, authority, desk, node) {
            None => return Ok(Settled { pair, info, made: None }),
            Some(reason) => (reason, Some((pair, info))),
        },
    };
    if authority.key_pem().is_none() {
        let what = node.map_or_else(|| ARTIFACT.to_owned(), |node| format!("{ARTIFACT} of {node}"));
        return Err(Error::Unsigned { what, why });
    }
    let settings = settings(wanted);
    let kept = old.as_ref().filter(|_| desk.renewal.is_some_and(|renewal| renewal.key == KeyChoice::Kept));
    let issued = match kept {
        Some((pair, _)) => {
            let key = &pair.key_pem;
            pki::issue_client_again(authority, &pki::KUBE_PROXY, &settings, key, desk.now, desk.entropy)
        }
        None => pki::issue_client(authority, &pki::KUBE_PROXY, &settings, desk.now, desk.entropy),
    }?;
    let made = Made { why, lifetime: issued.lifetime, replaced: old.map(|(_, info)| record(&info)) };
    let pair = ClientPair { certificate_pem: issued.certificate_pem, key_pem: issued.key_pem };
    Ok(Settled { pair, info: issued.info, made: Some(made) })
}

/// What the inventory asks of the certificate.
pub(in crate::workflow) fn settings(wanted: &CertificateSettings) -> pki::ClientSettings {
    let organization = wanted.organization.clone();
    pki::ClientSettings { algorithm: wanted.algorithm, validity: wanted.validity, organization }
}

/// The stored certificate with its key, or what is missing of it.
pub(super) fn stored(desk: &Desk, node: Option<&str>) -> Result<(ClientPair, CertificateInfo), &'static str> {
    let snapshot = desk.snapshot;
    let (certificate, key) = match node {
        None => (snapshot.certificate(StoredFile::KubeProxyCertificate), snapshot.content(StoredFile::KubeProxyKey)),
        Some(node) => (snapshot.node_certificate(node), snapshot.extra(&ExtraFile::NodeKey(node.to_owned()))),
    };
    let (certificate_pem, key_pem) = match (certificate, key) {
        (None, None) => return Err("there was none"),
        (Some(_), None) => return Err("its key was missing"),
        (None, Some(_)) => return Err("its certificate was missing"),
        (Some(certificate), Some(key)) => (certificate.to_owned(), key.clone()),
    };
    let info = pki::parse_certificate(&certificate_pem).map_err(|_| "it could not be read")?;
    Ok((ClientPair { certificate_pem, key_pem }, info))
}

fn reason_to_reissue(
    pair: &ClientPair,
    info: &CertificateInfo,
    wanted: &CertificateSettings,
    authority: &Authority,
    desk: &Desk,
    node: Option<&str>,
) -> Option<String> {
    let is_ours = authority.key_pem().is_some();
    // No host gets it: nobody elsewhere is asked to sign it anew.
    if node.is_none() && desk.per_node && !is_ours {
        return None;
    }
    if info.not_after <= desk.now {
        return Some(format!("it expired on {}", day(info)));
    }
    if let Some(reason) = desk.renewal.and_then(|renewal| renewal.reason(info, node, authority, desk.now)) {
        return Some(reason);
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
    // Who signs elsewhere decides there how long it holds.
    if is_ours && lifetime.as_secs() != asked.as_secs() && !clamped {
        return Some("the inventory asks for another validity".to_owned());
    }
    if let Err(error) = pki::key_matches(&pair.certificate_pem, &pair.key_pem) {
        return Some(format!("it is of no use without its key ({error})"));
    }
    // Another CA of the bundle will go one day; who signs elsewhere may use any of them.
    let ca = if is_ours { authority.certificate_pem().to_owned() } else { authority.bundle_pem() };
    pki::verify_chain(&pair.certificate_pem, ca, desk.now).err().map(|e| format!("the CA does not vouch for it ({e})"))
}

pub(in crate::workflow) fn record(info: &CertificateInfo) -> CertificateRecord {
    CertificateRecord { serial: info.serial.clone(), sha256: info.sha256, not_after: info.not_after }
}

fn day(info: &CertificateInfo) -> String {
    info.not_after.strftime("%Y-%m-%d").to_string()
}
