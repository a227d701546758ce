//! `kubemint cert list`: the certificates of the credential directory, those its kubeconfigs embed, and with --hosts those
//! that hosts hold.

use super::{
    super::{
        args::{DEFAULT_WITHIN, in_flags, parse_duration},
        context::Context,
        failure::{Exit, Failure},
        generate::is_external,
        hosts::HostArgs,
        output::{Output, Tone},
    },
    remote::{self, HostRow},
};
use crate::{
    clock::day,
    inventory::Inventory,
    kubeconfig::Kubeconfig,
    pki::{self, CertificateInfo},
    store::{ExtraFile, Snapshot, State, StoredFile},
    workflow::{generate::nodes, upkeep::CertificateKind},
};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use std::collections::HashSet;

/// Subject, issuer, serial, algorithm, dates, days left and where each certificate is embedded
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kubemint cert list
  kubemint cert list --check --within 30d      6 when a certificate ends within 30 days
  kubemint cert list --check --hosts           on the hosts too: the CA, kube-proxy's, the kubelets' own
  kubemint cert list -o json | jq '.certificates[].days_left'")]
pub(super) struct Args {
    /// Exit with 6 when a certificate ends within this time [default: 30d]
    #[arg(long, value_name = "DURATION", num_args = 0..=1, value_parser = parse_duration)]
    #[expect(clippy::option_option, reason = "as clap has a flag whose value may be left out")]
    check: Option<Option<SignedDuration>>,
    /// The time for --check that names none
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, requires = "check")]
    within: Option<SignedDuration>,
    /// Those on the hosts too: each is read, in one login
    #[arg(long)]
    hosts: bool,
    #[command(flatten)]
    access: HostArgs,
}

impl Args {
    /// What ends within this time is due; without --check, what has ended.
    fn limit(&self) -> Result<SignedDuration, Failure> {
        match (self.check, self.within) {
            (Some(Some(_)), Some(_)) => {
                let what = "--check and --within both name a time";
                Err(Failure::bad_input("usage", what).hint("`--check 60d` and `--check --within 60d` mean the same"))
            }
            (Some(Some(time)), None) | (Some(None), Some(time)) => Ok(time),
            (Some(None), None) => parse_duration(DEFAULT_WITHIN).map_err(|e| Failure::bad_input("usage", e)),
            (None, _) => Ok(SignedDuration::ZERO),
        }
    }
}

/// What has to be renewed now, if it is in use.
#[derive(Clone, Copy)]
struct Limit {
    now: Timestamp,
    within: SignedDuration,
}

impl Limit {
    fn is_due(self, in_use: bool, info: &CertificateInfo) -> bool {
        in_use && info.not_after.duration_since(self.now) <= self.within
    }
}

#[derive(Serialize)]
struct Document {
    schema: &'static str,
    version: u32,
    certificates: Vec<Row>,
    /// In the stored kubeconfigs.
    embedded: Vec<Embedded>,
    /// With --hosts.
    #[serde(skip_serializing_if = "Option::is_none")]
    hosts: Option<Vec<HostRow>>,
}

#[derive(Serialize)]
struct Row {
    name: &'static str,
    /// Whose own it is; null for one that nodes share.
    node: Option<String>,
    file: String,
    #[serde(flatten)]
    info: CertificateInfo,
    days_left: i64,
    /// Files of the credential directory; a node's own is only in the file on that node.
    embedded_in: &'static [&'static str],
    /// Whether a host is to have it: of the one that nodes share, and nodes' own, the others are kept for later.
    in_use: bool,
    /// Of what is in use.
    due: bool,
}

/// A certificate inside a kubeconfig.
#[derive(Serialize)]
struct Embedded {
    name: &'static str,
    file: &'static str,
    serial: String,
    not_after: Timestamp,
    days_left: i64,
    due: bool,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Exit, Failure> {
    let limit = Limit { now: context.now(), within: args.limit()? };
    // With --state-dir none is needed.
    let inventory = match &context.global.state_dir {
        Some(_) if !args.hosts => None,
        _ => Some(context.inventory()?),
    };
    let store = match &inventory {
        Some(inventory) => context.store(inventory),
        None => context.store_alone()?,
    };
    let snapshot = store.load()?;
    let Some(state) = &snapshot.state else {
        return Err(Failure::nothing_generated(store.dir()));
    };
    let (ca, leaf) = (&pki::CLUSTER_CA, &pki::KUBE_PROXY);
    let mut certificates = Vec::new();
    let mut add = |name, node: Option<&str>, file: String, embedded_in, in_use, pem: Option<&str>| {
        // A file that is not there is what `verify` speaks of.
        let Some(pem) = pem else { return Ok(()) };
        // Of a CA bundle the one that signs.
        let info = pki::parse_authority(pem).map_err(|e| Failure::from(e).in_file(file.as_ref()))?;
        let due = limit.is_due(in_use, &info);
        let (node, days_left) = (node.map(str::to_owned), info.days_left(limit.now));
        certificates.push(Row { name, node, file, info, days_left, embedded_in, in_use, due });
        Ok::<_, Failure>(())
    };
    let pem = snapshot.certificate(StoredFile::CaCertificate);
    add(ca.name, None, ca.certificate_file.to_owned(), ca.embedded_in, true, pem)?;
    let pem = snapshot.certificate(StoredFile::KubeProxyCertificate);
    add(leaf.name, None, leaf.certificate_file.to_owned(), leaf.embedded_in, !state.per_node, pem)?;
    let named: Option<HashSet<&str>> = inventory.as_ref().map(|inventory| nodes(inventory).collect());
    for node in snapshot.certified_nodes() {
        let file = ExtraFile::NodeCertificate(node.to_owned()).path();
        let in_use = state.per_node && named.as_ref().is_none_or(|named| named.contains(node));
        add(leaf.name, Some(node), file, &[], in_use, snapshot.node_certificate(node))?;
    }
    let embedded = embedded(&snapshot, state, limit);
    let hosts = match &inventory {
        Some(inventory) if args.hosts => {
            Some(remote::survey(&args.access, context, inventory, &snapshot, limit.within)?)
        }
        _ => None,
    };
    let is_due = certificates.iter().any(|row| row.due)
        || embedded.iter().any(|row| row.due)
        || hosts.iter().flatten().any(HostRow::is_due);
    let has_failed = hosts.iter().flatten().any(|host| host.error.is_some());
    let document = Document { schema: "kubemint/certificates", version: 1, certificates, embedded, hosts };
    let signer = Signer::of(inventory.as_ref(), &snapshot);
    context.output.answer(&document, || {
        let checked = args.check.map(|_| counts(&document) + &remedies(&document, signer, limit.within));
        let state = if args.check.is_some() { "is due" } else { "has ended" };
        text(context.output, &document, state) + &checked.unwrap_or_default()
    })?;
    Ok(match context.signals.exit() {
        Some(interrupted) => interrupted,
        None if has_failed => Exit::HostsFailed,
        None if is_due && args.check.is_some() => Exit::Drift,
        None => Exit::Done,
    })
}

/// Who can make new certificates.
#[derive(Clone, Copy)]
enum Signer {
    Ourselves,
    Elsewhere,
}

impl Signer {
    fn of(inventory: Option<&Inventory>, snapshot: &Snapshot) -> Self {
        let is_elsewhere = match inventory {
            Some(inventory) => is_external(inventory),
            None => snapshot.content(StoredFile::CaKey).is_none(),
        };
        if is_elsewhere { Self::Elsewhere } else { Self::Ourselves }
    }
}

/// What the stored kubeconfigs embed: usually the files beside them, but not after a run that was killed, or when one of
/// them was put back from a backup.
fn embedded(snapshot: &Snapshot, state: &State, limit: Limit) -> Vec<Embedded> {
    let mut found = Vec::new();
    for file in [StoredFile::BootstrapKubeconfig, StoredFile::KubeProxyKubeconfig] {
        let Some(config) = snapshot.content(file).and_then(|text| Kubeconfig::from_secret(text).ok()) else { continue };
        let client = config.client_pair_of_current_user().map(|(certificate, _)| certificate);
        for (name, pem, in_use) in [
            (pki::CLUSTER_CA.name, config.ca_of_current_cluster(), true),
            (pki::KUBE_PROXY.name, client, !state.per_node),
        ] {
            let Some(info) = pem.and_then(|pem| pki::parse_certificates(pem).ok()?.into_iter().next()) else {
                continue;
            };
            let due = limit.is_due(in_use, &info);
            let (serial, not_after, days_left) = (info.serial.clone(), info.not_after, info.days_left(limit.now));
            found.push(Embedded { name, file: file.path(), serial, not_after, days_left, due });
        }
    }
    found
}

/// `due` says in words what a due certificate of a host is.
fn text(output: &Output, document: &Document, due: &str) -> String {
    let mut text = String::new();
    for row in &document.certificates {
        let tone = if row.due { Tone::Bad } else { Tone::Good };
        let left = output.paint(tone, &format!("{} days left", row.days_left));
        let of = row.node.as_ref().map(|node| format!(" of {node}")).unwrap_or_default();
        text += &format!("{}{of}{}\n", row.name, remote::mark(output, row.due));
        text += &Output::columns([
            ["  subject".to_owned(), row.info.subject.clone()],
            ["  issuer".to_owned(), row.info.issuer.clone()],
            ["  serial".to_owned(), row.info.serial.clone()],
            ["  algorithm".to_owned(), row.info.algorithm.clone()],
            ["  valid".to_owned(), format!("{} to {}, {left}", day(row.info.not_before), day(row.info.not_after))],
            ["  file".to_owned(), row.file.clone()],
            ["  embedded in".to_owned(), place(row)],
        ]);
    }
    let is_stored = |row: &Embedded| document.certificates.iter().any(|stored| stored.info.serial == row.serial);
    for row in document.embedded.iter().filter(|row| !is_stored(row)) {
        let mark = remote::mark(output, row.due);
        text += &format!(
            "{} embeds another {}: serial {}, {} days left{mark}\n",
            row.file, row.name, row.serial, row.days_left
        );
    }
    text + &document.hosts.as_ref().map(|hosts| remote::text(output, hosts, due)).unwrap_or_default()
}

/// Where it is embedded, in words.
fn place(row: &Row) -> String {
    match &row.node {
        Some(node) if row.in_use => format!("kube-proxy.kubeconfig, on {node} only"),
        Some(_) => "nothing: no host gets it".to_owned(),
        None if row.in_use => row.embedded_in.join(", "),
        None => format!("{}, which no host gets: nodes have their own", row.embedded_in.join(", ")),
    }
}

fn counts(document: &Document) -> String {
    let used = document.certificates.iter().filter(|row| row.in_use);
    let due = used.clone().filter(|row| row.due);
    format!("{} of {} due\n", due.count(), used.count())
}

/// What can be done about what is due.
fn remedies(document: &Document, signer: Signer, limit: SignedDuration) -> String {
    let is_ours = |name: &str| name == pki::KUBE_PROXY.name;
    let is_stored_due = document.certificates.iter().any(|row| row.due && is_ours(row.name));
    let on_hosts = |kind| document.hosts.iter().flatten().any(|host| host.has_due(kind));
    let lags = document.embedded.iter().any(|row| row.due && is_ours(row.name)) || on_hosts(CertificateKind::KubeProxy);
    let mut text = match (is_stored_due, lags, signer) {
        (true, _, Signer::Ourselves) => format!(
            "`kubemint reissue kube-proxy --if-expiring {}` makes new ones and brings them to the hosts\n",
            in_flags(limit)
        ),
        (true, _, Signer::Elsewhere) => "`kubemint cert csr` writes requests for new ones; once they are signed, `kubemint \
                                         cert import FILE…` takes them and `kubemint reissue kube-proxy --imported` brings \
                                         them to the hosts\n"
            .to_owned(),
        (false, true, Signer::Ourselves) => {
            "`kubemint apply` brings the stored ones to the hosts, where kube-proxy has to be restarted then\n".to_owned()
        }
        (false, true, Signer::Elsewhere) => {
            "`kubemint reissue kube-proxy --imported` brings the stored ones to the hosts\n".to_owned()
        }
        (false, false, _) => String::new(),
    };
    if on_hosts(CertificateKind::KubeletClient) {
        text += "kubelets renew their own: `kubemint approve` grants what they ask for; where it has ended already, \
                 `kubemint rebootstrap HOST` lets the node join anew\n";
    }
    text
}
