//! Checks of the local credential set, without network: each a named value with its cure.

use super::generate::{is_per_node, nodes};
use crate::{
    clock::day,
    inventory::Inventory,
    kubeconfig::{self, Kubeconfig},
    pki::{self, CertificateInfo},
    rotation::Carrier,
    secret::{Secret, scrub},
    store::{ExtraFile, Snapshot, StoredFile},
    token::{self, SecretTerms, Severity, TokenFile},
};
use jiff::Timestamp;
use serde::Serialize;
use std::{collections::HashSet, path::PathBuf};

/// One thing that must hold.
pub struct Check {
    pub name: &'static str,
    pub hint: &'static str,
    run: fn(&LocalSet) -> Result<String, String>,
}

/// What the checks look at.
pub struct LocalSet<'a> {
    pub inventory: &'a Inventory,
    pub snapshot: &'a Snapshot,
    /// Paths that let others in, with their modes.
    pub wide_modes: Vec<(PathBuf, u32)>,
    pub now: Timestamp,
}

/// How one check came out.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    pub check: &'static str,
    pub ok: bool,
    pub detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<&'static str>,
}

const REGENERATE: &str = "run `kubemint generate`: it makes again what is missing or differs, and keeps the rest";
const ROTATE: &str = "run `kubemint rotate token`: it puts a new one in its place, on the nodes and in the cluster";
const TOKEN_ROW: &str = "token row";
const RESTORE: &str = "restore the credential directory from a backup";

/// Every check, in the order they are run and shown.
pub const CHECKS: [Check; 12] = [
    Check { name: "files present", hint: REGENERATE, run: files_present },
    Check { name: "file modes", hint: "chmod -R go= on the credential directory", run: file_modes },
    Check { name: "CA certificate", hint: RESTORE, run: ca_certificate },
    Check { name: "CA key", hint: RESTORE, run: ca_key },
    Check { name: "token.csv", hint: "see `kubemint token lint`", run: token_csv },
    Check { name: TOKEN_ROW, hint: REGENERATE, run: token_row },
    Check { name: "kube-proxy certificate", hint: REGENERATE, run: client_certificate },
    Check { name: "kube-proxy key", hint: REGENERATE, run: client_key },
    Check { name: "node certificates", hint: REGENERATE, run: node_certificates },
    Check { name: "node tokens", hint: REGENERATE, run: node_tokens },
    Check { name: "bootstrap.kubeconfig", hint: REGENERATE, run: bootstrap_kubeconfig },
    Check { name: "kube-proxy.kubeconfig", hint: REGENERATE, run: kube_proxy_kubeconfig },
];

/// Runs every check.
#[must_use]
pub fn run_checks(set: &LocalSet) -> Vec<Finding> {
    let one = |check: &Check| match (check.run)(set) {
        Ok(detail) => Finding { check: check.name, ok: true, detail, hint: None },
        Err(detail) => {
            let hint = if set.has_expired_token() && check.name == TOKEN_ROW { ROTATE } else { check.hint };
            Finding { check: check.name, ok: false, detail, hint: Some(hint) }
        }
    };
    CHECKS.iter().map(one).collect()
}

type Outcome = Result<String, String>;

impl LocalSet<'_> {
    fn content(&self, file: StoredFile) -> Result<&Secret, String> {
        self.snapshot.content(file).ok_or_else(|| format!("{file} is missing"))
    }

    fn pem(&self, file: StoredFile) -> Result<&str, String> {
        self.snapshot.certificate(file).ok_or_else(|| format!("{file} is missing"))
    }

    /// Of a CA bundle the first, which signs.
    fn certificate(&self, file: StoredFile) -> Result<CertificateInfo, String> {
        pki::parse_authority(self.pem(file)?).map_err(|e| format!("{file}: {e}"))
    }

    /// The Secret of our token, where token.csv has no part in it.
    fn secret(&self) -> Option<&SecretTerms> {
        let state = self.snapshot.state.as_ref()?;
        if state.wants(StoredFile::TokenCsv) { None } else { state.token.as_ref()?.secret.as_ref() }
    }

    fn has_expired_token(&self) -> bool {
        self.secret().is_some_and(|terms| terms.expiration <= self.now)
    }

    /// When the certificate that nodes share has to hold: where every node has its own, nobody gets it, and it may have ended.
    fn shared_now(&self, info: &CertificateInfo) -> Timestamp {
        if is_per_node(self.inventory, self.snapshot.state.as_ref()) { self.now.min(info.not_after) } else { self.now }
    }

    fn kubeconfig(&self, file: StoredFile) -> Result<Kubeconfig, String> {
        Kubeconfig::from_secret(self.content(file)?).map_err(|e| format!("{file}: {e}"))
    }

    fn rows(&self) -> Result<TokenFile, String> {
        TokenFile::from_secret(self.content(StoredFile::TokenCsv)?).map_err(|e| format!("token.csv: {e}"))
    }
}

fn files_present(set: &LocalSet) -> Outcome {
    let state = set.snapshot.state.as_ref();
    let belongs = |file: &StoredFile| state.map_or(!file.is_passing(), |state| state.wants(*file));
    let external = matches!(set.inventory.ca, crate::inventory::CaSource::External { .. });
    let wanted = StoredFile::ALL.into_iter().filter(|file| belongs(file) && !(external && *file == StoredFile::CaKey));
    let missing: Vec<_> = wanted.filter(|f| set.snapshot.content(*f).is_none()).map(StoredFile::path).collect();
    match missing.as_slice() {
        [] if set.snapshot.interrupted => Err("an earlier run was stopped while it was writing".into()),
        [] => Ok("all there, as state.json recorded them".into()),
        some => Err(format!("missing: {}", some.join(", "))),
    }
}

fn file_modes(set: &LocalSet) -> Outcome {
    match set.wide_modes.first() {
        None => Ok("directories 0700, files 0600".into()),
        Some((path, mode)) => {
            Err(format!("{} has mode {mode:04o} ({} such paths)", path.display(), set.wide_modes.len()))
        }
    }
}

fn ca_certificate(set: &LocalSet) -> Outcome {
    let info = set.certificate(StoredFile::CaCertificate)?;
    if !info.may_be_ca() {
        return Err(format!("{} is not a CA", info.subject));
    }
    dates(&info, set.now)
}

fn ca_key(set: &LocalSet) -> Outcome {
    if matches!(set.inventory.ca, crate::inventory::CaSource::External { .. }) {
        return Ok("kept elsewhere (external CA)".into());
    }
    belongs(set, StoredFile::CaCertificate, StoredFile::CaKey)
}

fn token_csv(set: &LocalSet) -> Outcome {
    if let Some(terms) = set.secret() {
        return Ok(format!("none: the cluster keeps the token in Secret bootstrap-token-{}", terms.id));
    }
    let findings = token::lint_secret(set.content(StoredFile::TokenCsv)?);
    let matters = |finding: &&token::Finding| finding.severity != Severity::Advice && !finding.is_about_policy();
    match findings.iter().find(matters) {
        None => Ok(format!("{} row(s), as kube-apiserver reads it", set.rows()?.rows().len())),
        Some(finding) => Err(format!("line {}: {}", finding.line, finding.message)),
    }
}

fn token_row(set: &LocalSet) -> Outcome {
    if let Some(terms) = set.secret() {
        let end = terms.expiration.strftime("%Y-%m-%d %H:%M:%S UTC");
        return if terms.expiration <= set.now {
            Err(format!("no row: a Secret that expired {end}"))
        } else {
            Ok(format!("no row: a Secret that expires {end}"))
        };
    }
    let rotation = set.snapshot.state.as_ref().and_then(|state| state.rotation.as_ref());
    if rotation.is_some_and(|record| record.carrier() == Carrier::Migration) {
        return Ok("it gives way to a Secret: a migration is under way".to_owned());
    }
    let wanted = &set.inventory.token;
    let file = set.rows()?;
    let row = file.rows().iter().find(|row| row.user == wanted.user);
    let row = row.ok_or_else(|| format!("token.csv has no row for user {}", wanted.user))?;
    if row.uid != wanted.uid || row.groups != wanted.groups {
        return Err("uid or groups differ from the inventory".into());
    }
    Ok(format!("user {}, fingerprint {}", row.user, row.fingerprint()))
}

fn client_certificate(set: &LocalSet) -> Outcome {
    let file = StoredFile::KubeProxyCertificate;
    let info = set.certificate(file)?;
    let now = set.shared_now(&info);
    pki::verify_chain(set.pem(file)?, set.pem(StoredFile::CaCertificate)?, now).map_err(|e| e.to_string())?;
    if info.common_name.as_deref() != Some(pki::KUBE_PROXY.common_name) {
        return Err(format!("its CN is {}", info.common_name.unwrap_or_default()));
    }
    let algorithm = set.inventory.kube_proxy.algorithm;
    if info.algorithm != algorithm.name() {
        return Err(format!("its algorithm is {}, not the inventory's {algorithm}", info.algorithm));
    }
    if info.organizations != [set.inventory.kube_proxy.organization.clone()] {
        return Err(format!("its organization is {:?}, not the inventory's", info.organizations));
    }
    dates(&info, now)
}

fn client_key(set: &LocalSet) -> Outcome {
    belongs(set, StoredFile::KubeProxyCertificate, StoredFile::KubeProxyKey)
}

fn node_certificates(set: &LocalSet) -> Outcome {
    if !is_per_node(set.inventory, set.snapshot.state.as_ref()) {
        return Ok("all nodes share one".into());
    }
    let ca = set.pem(StoredFile::CaCertificate)?;
    let (mut count, mut serials) = (0, HashSet::new());
    for node in nodes(set.inventory) {
        let missing = || format!("{node} has none");
        let certificate = set.snapshot.node_certificate(node).ok_or_else(missing)?;
        let key = set.snapshot.extra(&ExtraFile::NodeKey(node.to_owned())).ok_or_else(missing)?;
        let organization = &set.inventory.kube_proxy.organization;
        let checked = pki::check_signed(certificate, key, ca, &pki::KUBE_PROXY, organization, set.now);
        let info = checked.map_err(|e| format!("{node}: {e}"))?;
        if !serials.insert(info.serial) {
            return Err(format!("{node}: its serial number is another node's too"));
        }
        count += 1;
    }
    Ok(format!("{count} nodes, each with its own"))
}

fn node_tokens(set: &LocalSet) -> Outcome {
    let record = set.snapshot.state.as_ref().and_then(|state| state.token.as_ref());
    let Some(record) = record.filter(|record| !record.nodes.is_empty()) else {
        return Ok("all nodes share one".into());
    };
    let file = set.rows()?;
    let rows = file.by_fingerprint();
    for (node, holder) in record.node_holders() {
        let own = record.nodes.get(node).and_then(|own| rows.get(&own.fingerprint));
        let row = own.ok_or_else(|| format!("{node}: its token is not in token.csv"))?;
        if row.holder() != holder {
            return Err(format!(
                "{node}: its token is user {}'s in token.csv, not {}'s",
                scrub(&row.user),
                holder.user
            ));
        }
    }
    match nodes(set.inventory).find(|node| !record.nodes.contains_key(*node)) {
        Some(node) if set.inventory.token_per_node => Err(format!("{node} has none")),
        _ => Ok(format!("{} nodes, each with its own", record.nodes.len())),
    }
}

fn bootstrap_kubeconfig(set: &LocalSet) -> Outcome {
    let config = points_right(set, StoredFile::BootstrapKubeconfig, set.now)?;
    let embedded = config.token_of_current_user().ok_or("it holds no token")?;
    let record = set.snapshot.state.as_ref().and_then(|state| state.token.as_ref());
    if let Some(record) = record.filter(|record| record.secret.is_some()) {
        return if embedded.fingerprint() == record.fingerprint {
            Ok(format!("token {} is the one of the Secret", record.fingerprint))
        } else {
            Err(format!("its token {} is not the recorded one, {}", embedded.fingerprint(), record.fingerprint))
        };
    }
    let user = &set.inventory.token.user;
    let file = set.rows()?;
    let row = file.rows().iter().find(|row| row.fingerprint() == embedded.fingerprint());
    match row {
        Some(row) if &row.user == user => Ok(format!("token {} is the one in token.csv", embedded.fingerprint())),
        Some(row) => Err(format!("its token is user {}'s in token.csv, not {user}'s", row.user)),
        None => Err(format!("its token {} is not in token.csv", embedded.fingerprint())),
    }
}

fn kube_proxy_kubeconfig(set: &LocalSet) -> Outcome {
    let shared = set.certificate(StoredFile::KubeProxyCertificate)?;
    let config = points_right(set, StoredFile::KubeProxyKubeconfig, set.shared_now(&shared))?;
    let (certificate, key) = config.client_pair_of_current_user().ok_or("it embeds no certificate and key")?;
    if certificate != set.pem(StoredFile::KubeProxyCertificate)? {
        return Err("its certificate is not certs/kube-proxy.pem".into());
    }
    pki::key_matches(&certificate, &key).map_err(|e| e.to_string())?;
    Ok("certificate and key are those in certs/".into())
}

/// Server, CA and names of one kubeconfig.
fn points_right(set: &LocalSet, file: StoredFile, now: Timestamp) -> Result<Kubeconfig, String> {
    let config = set.kubeconfig(file)?;
    if let Some(problem) = kubeconfig::inspect_kubeconfig(&config, now).problems.first() {
        return Err(format!("{}: {}", problem.subject, problem.message));
    }
    let server = set.inventory.cluster.server.as_str();
    match config.current_server() {
        Some(found) if found == server => {}
        found => return Err(format!("it points to {}, not {server}", found.unwrap_or("nowhere"))),
    }
    if config.ca_of_current_cluster().as_deref() != Some(set.pem(StoredFile::CaCertificate)?) {
        return Err("its CA is not ca.pem".into());
    }
    Ok(config)
}

fn belongs(set: &LocalSet, certificate: StoredFile, key: StoredFile) -> Outcome {
    pki::key_matches(set.pem(certificate)?, set.content(key)?).map_err(|e| format!("{key}: {e}"))?;
    Ok(format!("belongs to {certificate}"))
}

fn dates(info: &CertificateInfo, now: Timestamp) -> Outcome {
    if now < info.not_before {
        return Err(format!("not valid before {}", day(info.not_before)));
    }
    if now > info.not_after {
        return Err(format!("expired on {}", day(info.not_after)));
    }
    Ok(format!("{}, {}, {} days left", info.subject, info.algorithm, info.days_left(now)))
}
