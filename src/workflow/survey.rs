//! Reading hosts back: what each holds beside what it should hold. `plan` and `status` are two views of this.
//! Nothing is changed and no secret travels in either direction: hosts answer with digests, dates and fingerprints.

use super::{
    InterruptObserver,
    distribute::Fleet,
    fanout::{self, Progress},
    report::{ErrorReport, Twin},
    twins::{Identity, find_twins},
    upkeep::{Judge, Outlook, Upkeep},
};
use crate::{
    bundle::{Bundle, CredentialSet, FileKind, HostFile},
    digest::{Digest, Fingerprint},
    pki,
    remote::{
        self,
        installer::{self, FileState, FileView, Found, HostView},
    },
};
use base64::{Engine, prelude::BASE64_STANDARD};
use jiff::Timestamp;
use serde::Serialize;
use std::collections::{HashMap, HashSet};

/// One host as it was found.
#[derive(Debug, Clone, Serialize)]
pub struct HostSurvey {
    pub name: String,
    /// Why nothing could be read, where that is so; `files` is empty then.
    pub error: Option<ErrorReport>,
    /// The host's clock minus ours, in seconds, where the host told.
    pub clock_skew_seconds: Option<i64>,
    pub files: Vec<FileSurvey>,
    /// Another name of the inventory that may be the same machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub twin: Option<Twin>,
    /// What runs out or lags behind, where that was asked for and the host answered.
    #[serde(flatten)]
    pub upkeep: Option<Upkeep>,
}

/// How much is asked of a host.
#[derive(Debug, Clone, Copy)]
pub enum Scope<'a> {
    /// Its files.
    Files,
    /// And what runs out or lags behind there.
    Upkeep(Outlook<'a>),
}

impl HostSurvey {
    /// What is to be said of the host as a whole.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let any = |state| self.files.iter().any(|file| file.state == state);
        match &self.error {
            Some(error) if error.code == INTERRUPTED => Verdict::Skipped,
            Some(_) => Verdict::Failed,
            None if any(State::Refused) => Verdict::Blocked,
            None if self.files.iter().all(|file| file.state == State::Same) => Verdict::InOrder,
            None => Verdict::Drift,
        }
    }
}

const INTERRUPTED: &str = "interrupted";

/// What is to be said of a host as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Everything is as it should be.
    InOrder,
    Drift,
    /// Something differs, and installing would be refused.
    Blocked,
    /// It could not be read.
    Failed,
    /// It was not begun, because of an interrupt.
    Skipped,
}

/// One file of a host: what is there, and what should be.
#[derive(Debug, Clone, Serialize)]
pub struct FileSurvey {
    pub path: String,
    pub state: State,
    /// What is there, where it differs and could be read.
    pub found: Option<Facts>,
    pub wanted: Facts,
    /// Why the installer would refuse this target.
    pub refusal: Option<ErrorReport>,
    /// Owner and mode as found, where they are not as wanted.
    pub attributes: Option<String>,
}

/// How a file compares with what should be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Same,
    Missing,
    /// Other content.
    Differs,
    /// Right content, wrong owner or mode.
    Attributes,
    /// A symlink, a directory, an unsafe parent: the installer would not write there.
    Refused,
}

impl State {
    /// What installing would do.
    #[must_use]
    pub const fn action(self) -> &'static str {
        match self {
            Self::Same => "unchanged",
            Self::Missing => "create",
            Self::Differs => "update",
            Self::Attributes => "repair",
            Self::Refused => "refused",
        }
    }

    /// As in documents.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Missing => "missing",
            Self::Differs => "differs",
            Self::Attributes => "attributes",
            Self::Refused => "refused",
        }
    }

    /// What is the matter with it.
    #[must_use]
    pub const fn condition(self) -> &'static str {
        match self {
            Self::Same => "ok",
            Self::Missing => "missing",
            Self::Differs => "differs",
            Self::Attributes => "owner or mode",
            Self::Refused => "refused",
        }
    }
}

/// What may be said of a credential file in public.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Facts {
    /// `None` where the file cannot be read, or is too large to be.
    pub sha256: Option<Digest>,
    /// Its size, where it is too large to be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<Fingerprint>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate_serial: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate_not_after: Option<Timestamp>,
    /// The trusted CA, by its public key: `sha256:` and 64 hex digits, as kubeadm writes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_pin: Option<String>,
    /// Every row of token.csv.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rows: Vec<RowFact>,
}

/// A row of token.csv, as far as it may be told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RowFact {
    pub user: String,
    /// `None`: the token is not made yet.
    pub token: Option<Fingerprint>,
}

/// Told how a survey comes along. Called on one thread.
pub trait SurveyObserver: InterruptObserver {
    fn host_surveyed(&self, survey: &HostSurvey);
}

/// Reads every host of `bundles`; the result is in the same order. Hosts not begun because of an interrupt say so.
pub fn survey_hosts(
    fleet: &Fleet,
    bundles: &[Bundle],
    set: &CredentialSet,
    unmade: Unmade,
    scope: Scope<'_>,
    observer: &dyn SurveyObserver,
) -> Vec<HostSurvey> {
    let own = OwnFacts::of(set, unmade);
    let judge = match scope {
        Scope::Files => None,
        Scope::Upkeep(outlook) => Some(Judge::new(outlook, set.token.fingerprint())),
    };
    let results = fanout::run_on_each(
        bundles,
        fleet.concurrency,
        fleet.interrupt,
        |bundle| {
            let probe = match &judge {
                None => installer::probe_host,
                Some(_) => installer::in_use::probe_host_in_use,
            };
            let read = || match probe(fleet.remote, bundle.host, &bundle.files, fleet.foreign, fleet.entropy) {
                Ok(view) => {
                    let survey = describe(bundle, &view, &own, fleet.clock.now());
                    let upkeep = judge.as_ref().and_then(|judge| judge.judge(bundle, &view, &survey.files));
                    (HostSurvey { upkeep, ..survey }, Some(Identity::of(&view)))
                }
                Err(error) => (unread(bundle, ErrorReport::of_host(&error)), None),
            };
            fanout::guarded(read, || (unread(bundle, ErrorReport::of_host(&remote::Error::Bug)), None))
        },
        |progress| match progress {
            Progress::Started(_) => {}
            Progress::Done(_, (survey, _)) => observer.host_surveyed(survey),
            Progress::Interrupted(in_flight) => observer.interrupted(*in_flight),
        },
    );
    let interrupted = || ErrorReport {
        code: INTERRUPTED,
        message: "interrupted before this host was read".into(),
        hint: "run the same command again".into(),
    };
    let results: Vec<_> = results.into_iter().zip(bundles).collect();
    let (mut surveys, identities): (Vec<HostSurvey>, Vec<_>) = results
        .into_iter()
        .map(|(result, bundle)| result.unwrap_or_else(|| (unread(bundle, interrupted()), None)))
        .unzip();
    for (survey, twin) in surveys.iter_mut().zip(find_twins(bundles, &identities)) {
        survey.twin = twin;
    }
    surveys
}

fn unread(bundle: &Bundle, error: ErrorReport) -> HostSurvey {
    let name = bundle.host.name.as_str().to_owned();
    HostSurvey { name, error: Some(error), clock_skew_seconds: None, files: Vec::new(), twin: None, upkeep: None }
}

fn describe(bundle: &Bundle, view: &HostView, own: &OwnFacts, now: Timestamp) -> HostSurvey {
    let files = bundle.files.iter().zip(&view.files);
    HostSurvey {
        name: bundle.host.name.as_str().to_owned(),
        error: None,
        clock_skew_seconds: view.clock.map(|clock| clock.duration_since(now).as_secs()),
        files: files.map(|(file, found)| describe_file(bundle, file, found, own)).collect(),
        twin: None,
        upkeep: None,
    }
}

fn describe_file(bundle: &Bundle, file: &HostFile, view: &FileView, own: &OwnFacts) -> FileSurvey {
    let (state, refusal) = match &view.state {
        FileState::Matches => (State::Same, None),
        FileState::Missing => (State::Missing, None),
        FileState::Differs => (State::Differs, None),
        FileState::WrongAttributes => (State::Attributes, None),
        FileState::Blocked(why) => (State::Refused, Some(ErrorReport::of_file(why))),
    };
    let regular = match &view.found {
        Found::Regular(regular) => Some(regular),
        _ => None,
    };
    FileSurvey {
        path: file.shown_path(bundle.host),
        state,
        found: regular.filter(|_| state == State::Differs).map(found_facts),
        wanted: own.facts(file, bundle),
        refusal,
        attributes: regular
            .filter(|_| matches!(state, State::Attributes | State::Differs))
            .map(|r| format!("{:04o} {}:{}", r.mode, r.uid, r.gid)),
    }
}

fn found_facts(regular: &installer::Regular) -> Facts {
    let facts = &regular.facts;
    let certificate = facts.client_certificate.as_deref().and_then(embedded_certificate);
    Facts {
        sha256: regular.sha256,
        bytes: regular.too_large,
        server: facts.server.clone().map(Into::into),
        token: facts.token,
        certificate_serial: certificate.as_ref().map(|info| info.serial.clone()),
        certificate_not_after: certificate.map(|info| info.not_after),
        ca_pin: facts.certificate_authority.as_deref().and_then(embedded_certificate).as_ref().map(pin),
        rows: facts.token_rows.iter().map(|row| RowFact { user: row.user.to_string(), token: row.token }).collect(),
    }
}

/// The certificate in a kubeconfig's `…-data` value.
fn embedded_certificate(data: &str) -> Option<pki::CertificateInfo> {
    pki::parse_certificates(BASE64_STANDARD.decode(data).ok()?).ok()?.into_iter().next()
}

fn pin(info: &pki::CertificateInfo) -> String {
    format!("sha256:{}", info.spki_sha256)
}

/// What of a credential set exists only in memory, and will have another value when it is really made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unmade {
    pub ca: bool,
    pub token: bool,
    pub certificate: bool,
    /// Of nodes that have their own.
    pub node_certificates: bool,
    pub node_tokens: bool,
}

/// What may be said of our own credentials, worked out once per run; nothing is said of what is not made yet.
struct OwnFacts {
    token: Option<Fingerprint>,
    has_node_tokens: bool,
    /// Of the nodes that have their own.
    node_tokens: HashMap<String, Fingerprint>,
    rows: Vec<RowFact>,
    certificate: Option<pki::CertificateInfo>,
    has_node_certificates: bool,
    /// Of the nodes that have their own.
    node_certificates: HashMap<String, pki::CertificateInfo>,
    ca_pin: Option<String>,
}

impl OwnFacts {
    fn of(set: &CredentialSet, unmade: Unmade) -> Self {
        let token = set.token.fingerprint();
        let of_nodes = set.node_tokens.iter().map(|(node, own)| (node.clone(), own.fingerprint()));
        let of_nodes: HashMap<String, Fingerprint> = of_nodes.collect();
        let unsaid: HashSet<Fingerprint> = of_nodes
            .values()
            .filter(|_| unmade.node_tokens)
            .chain(Some(&token).filter(|_| unmade.token))
            .copied()
            .collect();
        let said = |fingerprint: Fingerprint| (!unsaid.contains(&fingerprint)).then_some(fingerprint);
        let own = set.node_clients.iter().filter(|_| !unmade.node_certificates);
        let own =
            own.filter_map(|(name, pair)| Some((name.clone(), pki::parse_certificate(&pair.certificate_pem).ok()?)));
        let rows = set.token_rows().into_iter().map(|(user, token)| RowFact { user, token: said(token) });
        Self {
            token: said(token),
            has_node_tokens: !of_nodes.is_empty(),
            node_tokens: of_nodes.iter().filter_map(|(node, own)| Some((node.clone(), said(*own)?))).collect(),
            rows: rows.collect(),
            certificate: pki::parse_certificate(&set.client_certificate_pem).ok().filter(|_| !unmade.certificate),
            has_node_certificates: !set.node_clients.is_empty(),
            node_certificates: own.collect(),
            ca_pin: pki::parse_authority(&set.ca_pem).ok().filter(|_| !unmade.ca).as_ref().map(pin),
        }
    }

    fn facts(&self, file: &HostFile, bundle: &Bundle) -> Facts {
        let server = || Some(bundle.host.server.as_str().to_owned());
        let plain = Facts { sha256: Some(file.sha256), ..Facts::default() };
        match file.kind {
            FileKind::BootstrapKubeconfig => {
                let token = match self.has_node_tokens {
                    true => self.node_tokens.get(bundle.host.name.as_str()).copied(),
                    false => self.token,
                };
                Facts { server: server(), ca_pin: self.ca_pin.clone(), token, ..plain }
            }
            FileKind::KubeProxyKubeconfig => {
                let certificate = match self.has_node_certificates {
                    true => self.node_certificates.get(bundle.host.name.as_str()),
                    false => self.certificate.as_ref(),
                };
                Facts {
                    server: server(),
                    ca_pin: self.ca_pin.clone(),
                    certificate_serial: certificate.map(|info| info.serial.clone()),
                    certificate_not_after: certificate.map(|info| info.not_after),
                    ..plain
                }
            }
            FileKind::TokenCsv => Facts { rows: self.rows.clone(), ..plain },
            FileKind::CaCertificate => plain,
        }
    }
}
