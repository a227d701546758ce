//! The certificates that hosts hold, for `cert list --hosts`: each host is read once, and nothing changed there. What is
//! due there is judged as `status` judges it.

use super::super::{
    context::Context,
    failure::Failure,
    hosts::{self, HostArgs, LONGEST_TABLE, counted},
    output::{Output, Tone},
    progress::Progress,
};
use crate::{
    bundle,
    clock::day,
    inventory::{Inventory, Limits},
    remote::installer::ForeignPolicy,
    store::Snapshot,
    workflow::{
        report::ErrorReport,
        stored::read_stored_set,
        survey::{self, HostSurvey, Scope, Unmade},
        upkeep::{CertificateKind, CertificateState, HostCertificate, Outlook},
    },
};
use jiff::SignedDuration;
use serde::Serialize;

/// A host, and its certificates: the CA that its kubeconfigs trust, kube-proxy's, the kubelet's own.
#[derive(Serialize)]
pub(super) struct HostRow {
    pub(super) name: String,
    pub(super) error: Option<ErrorReport>,
    certificates: Vec<HostCertificate>,
}

impl HostRow {
    pub(super) fn is_due(&self) -> bool {
        self.certificates.iter().any(|found| found.due)
    }

    pub(super) fn has_due(&self, kind: CertificateKind) -> bool {
        self.certificates.iter().any(|found| found.due && found.certificate == kind)
    }
}

/// Reads the hosts that --limit leaves.
pub(super) fn survey(
    args: &HostArgs,
    context: &Context,
    inventory: &Inventory,
    snapshot: &Snapshot,
    within: SignedDuration,
) -> Result<Vec<HostRow>, Failure> {
    let hosts = context.hosts(inventory)?;
    let set = read_stored_set(inventory, snapshot).map_err(|error| {
        Failure::refused("not_current", error.to_string()).hint("run `kubemint generate`, which makes it again")
    })?;
    let bundles = bundle::build_bundles(&hosts, &set)?;
    let remote = context.remote(inventory, args, &hosts)?;
    let progress = Progress::new(context.output, hosts.len());
    let fleet = context.fleet(&remote, args.concurrency(inventory), ForeignPolicy::Refuse, Limits::default());
    // Tokens are not looked at: whether two are being exchanged does not matter.
    let scope = Scope::Upkeep(Outlook { within, now: context.now(), exchanges: None });
    let surveys = survey::survey_hosts(&fleet, &bundles, &set, Unmade::default(), scope, &progress);
    progress.finish();
    Ok(surveys.into_iter().map(row).collect())
}

fn row(host: HostSurvey) -> HostRow {
    let certificates = host.upkeep.map(|upkeep| upkeep.certificates).unwrap_or_default();
    HostRow { name: host.name, error: host.error, certificates }
}

/// What a row that is due ends with, also where there are no colours.
pub(super) fn mark(output: &Output, due: bool) -> String {
    if due { output.paint(Tone::Bad, "  DUE") } else { String::new() }
}

/// `state` says in words what a certificate that is due is.
pub(super) fn text(output: &Output, rows: &[HostRow], state: &str) -> String {
    let all = rows.len() <= LONGEST_TABLE;
    let shown = rows.iter().filter(|row| all || row.is_due()).flat_map(|row| {
        let there = row.certificates.iter().filter(|found| found.state != CertificateState::Absent);
        there.map(|found| {
            let tone = if found.due { Tone::Bad } else { Tone::Good };
            let left = found.days_left.map(|days| output.paint(tone, &format!("{days} days left")));
            [
                row.name.clone(),
                found.certificate.name().to_owned(),
                found.path.clone(),
                found.serial.clone().unwrap_or_default(),
                found.not_after.map(day).unwrap_or_default(),
                left.unwrap_or_else(|| "could not be read".to_owned()) + &mark(output, found.due),
            ]
        })
    });
    let shown: Vec<_> = shown.collect();
    let mut text = String::new();
    if !shown.is_empty() {
        text += &format!("\n{}", Output::table(["HOST", "CERTIFICATE", "FILE", "SERIAL", "VALID UNTIL", ""], shown));
    }
    text += &hosts::failures(rows.iter().filter_map(|row| Some((row.name.as_str(), row.error.as_ref()?))));
    let due = rows.iter().filter(|row| row.is_due()).count();
    text + &format!("{}: a certificate {state} on {due}\n", counted(rows.len(), "host"))
}
