//! `kubemint cert list`: the certificates of the credential directory, those its kubeconfigs embed, and with --hosts those
//! that hosts hold.

use super::{
    super::{
        args::parse_duration,
        context::Context,
        failure::{Exit, Failure},
        hosts::HostArgs,
        output::{Output, Tone},
    },
    remote::{self, HostRow},
};
use crate::{
    clock::day,
    kubeconfig::Kubeconfig,
    pki::{self, CertificateInfo},
    store::{ExtraFile, Snapshot, StoredFile},
};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

/// Subject, issuer, serial, algorithm, dates, days left and where each certificate is embedded
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kubemint cert list
  kubemint cert list --check --within 30d      6 when a certificate ends within 30 days
  kubemint cert list --check --hosts           those in the hosts' files too
  kubemint cert list -o json | jq '.certificates[].days_left'")]
pub(super) struct Args {
    /// Exit with 6 when a certificate ends within this time [default: 30d]
    #[arg(long, value_name = "DURATION", num_args = 0..=1, default_missing_value = "30d", value_parser = parse_duration)]
    check: Option<SignedDuration>,
    /// The time for --check
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, requires = "check")]
    within: Option<SignedDuration>,
    /// Those on the hosts too: each is read, in one login
    #[arg(long)]
    hosts: bool,
    #[command(flatten)]
    access: HostArgs,
}

impl Args {
    /// What ends within this time is due.
    fn limit(&self) -> SignedDuration {
        self.within.or(self.check).unwrap_or(SignedDuration::ZERO)
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
    embedded_in: &'static [&'static str],
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
    let store = if args.hosts { context.store(&context.inventory()?) } else { context.store_alone()? };
    let snapshot = store.load()?;
    if snapshot.state.is_none() {
        return Err(Failure::nothing_generated(store.dir()));
    }
    let now = context.now();
    let (ca, leaf) = (&pki::CLUSTER_CA, &pki::KUBE_PROXY);
    let mut certificates = Vec::new();
    let mut add = |name, node: Option<&str>, file: String, embedded_in, pem: Option<&str>| -> Result<(), Failure> {
        // A file that is not there is what `verify` speaks of.
        let Some(pem) = pem else { return Ok(()) };
        let info = pki::parse_certificate(pem).map_err(|e| Failure::from(e).in_file(file.as_ref()))?;
        let due = info.not_after.duration_since(now) <= args.limit();
        let (node, days_left) = (node.map(str::to_owned), info.days_left(now));
        certificates.push(Row { name, node, file, info, days_left, embedded_in, due });
        Ok(())
    };
    let pem = snapshot.certificate(StoredFile::CaCertificate);
    add(ca.name, None, ca.certificate_file.to_owned(), ca.embedded_in, pem)?;
    let pem = snapshot.certificate(StoredFile::KubeProxyCertificate);
    add(leaf.name, None, leaf.certificate_file.to_owned(), leaf.embedded_in, pem)?;
    for node in snapshot.certified_nodes() {
        let file = ExtraFile::NodeCertificate(node.to_owned()).path();
        add(leaf.name, Some(node), file, &[], snapshot.node_certificate(node))?;
    }
    let embedded = embedded(&snapshot, args.limit(), now);
    let hosts = match args.hosts {
        true => Some(remote::survey(&args.access, context, &snapshot, args.limit())?),
        false => None,
    };
    let is_due = certificates.iter().any(|row| row.due)
        || embedded.iter().any(|row| row.due)
        || hosts.iter().flatten().any(HostRow::is_due);
    let has_failed = hosts.iter().flatten().any(|host| host.error.is_some());
    let document = Document { schema: "kubemint/certificates", version: 1, certificates, embedded, hosts };
    context.output.answer(&document, || text(context.output, &document, args.check.is_some()))?;
    Ok(match context.signals.exit() {
        Some(interrupted) => interrupted,
        None if has_failed => Exit::HostsFailed,
        None if is_due && args.check.is_some() => Exit::Drift,
        None => Exit::Done,
    })
}

/// What the stored kubeconfigs embed: usually the files beside them, but not after a run that was killed, or when one of
/// them was put back from a backup.
fn embedded(snapshot: &Snapshot, limit: SignedDuration, now: Timestamp) -> Vec<Embedded> {
    let mut found = Vec::new();
    for file in [StoredFile::BootstrapKubeconfig, StoredFile::KubeProxyKubeconfig] {
        let Some(config) = snapshot.content(file).and_then(|text| Kubeconfig::from_secret(text).ok()) else { continue };
        let client = config.client_pair_of_current_user().map(|(certificate, _)| certificate);
        for (name, pem) in [(pki::CLUSTER_CA.name, config.ca_of_current_cluster()), (pki::KUBE_PROXY.name, client)] {
            let Some(info) = pem.and_then(|pem| pki::parse_certificates(pem).ok()?.into_iter().next()) else {
                continue;
            };
            let due = info.not_after.duration_since(now) <= limit;
            let (serial, not_after, days_left) = (info.serial.clone(), info.not_after, info.days_left(now));
            found.push(Embedded { name, file: file.path(), serial, not_after, days_left, due });
        }
    }
    found
}

fn text(output: &Output, document: &Document, checking: bool) -> String {
    let mut text = String::new();
    for row in &document.certificates {
        let tone = if row.due { Tone::Bad } else { Tone::Good };
        let left = output.paint(tone, &format!("{} days left", row.days_left));
        let of = row.node.as_ref().map(|node| format!(" of {node}")).unwrap_or_default();
        text +=
            &format!("{}{of}{}\n", row.name, if row.due { output.paint(Tone::Bad, "  DUE") } else { String::new() });
        text += &Output::columns([
            ["  subject".to_owned(), row.info.subject.clone()],
            ["  issuer".to_owned(), row.info.issuer.clone()],
            ["  serial".to_owned(), row.info.serial.clone()],
            ["  algorithm".to_owned(), row.info.algorithm.clone()],
            ["  valid".to_owned(), format!("{} to {}, {left}", day(row.info.not_before), day(row.info.not_after))],
            ["  file".to_owned(), row.file.clone()],
            ["  embedded in".to_owned(), row.embedded_in.join(", ")],
        ]);
    }
    let is_stored = |row: &Embedded| document.certificates.iter().any(|stored| stored.info.serial == row.serial);
    for row in document.embedded.iter().filter(|row| !is_stored(row)) {
        let due = if row.due { output.paint(Tone::Bad, "  DUE") } else { String::new() };
        text += &format!(
            "{} embeds another {}: serial {}, {} days left{due}\n",
            row.file, row.name, row.serial, row.days_left
        );
    }
    text += &document.hosts.as_ref().map(|hosts| remote::text(output, hosts)).unwrap_or_default();
    if checking {
        let due = document.certificates.iter().filter(|row| row.due).count();
        text += &format!("{due} of {} due\n", document.certificates.len());
        if document.certificates.iter().any(|row| row.due && row.name != pki::CLUSTER_CA.name) {
            text += "`kubemint reissue kube-proxy --if-expiring 30d` makes new ones and brings them to the hosts\n";
        }
    }
    text
}
