//! The certificates that hosts hold, for `cert list --hosts`: each host is read once, and nothing changed there.

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
    inventory::Limits,
    remote::installer::ForeignPolicy,
    store::Snapshot,
    workflow::{
        report::ErrorReport,
        stored::read_stored_set,
        survey::{self, Facts, FileSurvey, HostSurvey, State, Unmade},
    },
};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

/// A host, and the client certificates in its files.
#[derive(Serialize)]
pub(super) struct HostRow {
    pub(super) name: String,
    pub(super) error: Option<ErrorReport>,
    certificates: Vec<Found>,
}

#[derive(Serialize)]
struct Found {
    path: String,
    serial: Option<String>,
    not_after: Timestamp,
    days_left: i64,
    due: bool,
}

impl HostRow {
    pub(super) fn is_due(&self) -> bool {
        self.certificates.iter().any(|found| found.due)
    }
}

/// Reads the hosts that --limit leaves.
pub(super) fn survey(
    args: &HostArgs,
    context: &Context,
    snapshot: &Snapshot,
    limit: SignedDuration,
) -> Result<Vec<HostRow>, Failure> {
    let inventory = context.inventory()?;
    let hosts = context.hosts(&inventory)?;
    let set = read_stored_set(&inventory, snapshot).map_err(|error| {
        Failure::refused("not_current", error.to_string()).hint("run `kubemint generate`, which makes it again")
    })?;
    let bundles = bundle::build_bundles(&hosts, &set)?;
    let remote = context.remote(&inventory, args, &hosts)?;
    let progress = Progress::new(context.output, hosts.len());
    let fleet = context.fleet(&remote, args.concurrency(&inventory), ForeignPolicy::Refuse, Limits::default());
    let surveys = survey::survey_hosts(&fleet, &bundles, &set, Unmade::default(), survey::Scope::Files, &progress);
    progress.finish();
    let now = context.now();
    Ok(surveys.into_iter().map(|host| row(host, limit, now)).collect())
}

fn row(host: HostSurvey, limit: SignedDuration, now: Timestamp) -> HostRow {
    let found = |file: &FileSurvey| {
        let Facts { certificate_serial, certificate_not_after, .. } = there(file)?;
        let not_after = (*certificate_not_after)?;
        let left = not_after.duration_since(now);
        let days_left = left.as_hours().div_euclid(24);
        let serial = certificate_serial.clone();
        Some(Found { path: file.path.clone(), serial, not_after, days_left, due: left <= limit })
    };
    let certificates = host.files.iter().filter_map(found).collect();
    HostRow { name: host.name, error: host.error, certificates }
}

/// What is there: what should be, where the content is right.
fn there(file: &FileSurvey) -> Option<&Facts> {
    match file.state {
        State::Same | State::Attributes => Some(&file.wanted),
        State::Differs => file.found.as_ref(),
        State::Missing | State::Refused => None,
    }
}

pub(super) fn text(output: &Output, rows: &[HostRow]) -> String {
    let all = rows.len() <= LONGEST_TABLE;
    let shown = rows.iter().filter(|row| all || row.is_due()).flat_map(|row| {
        row.certificates.iter().map(|found| {
            let tone = if found.due { Tone::Bad } else { Tone::Good };
            let left = output.paint(tone, &format!("{} days left", found.days_left));
            let serial = found.serial.clone().unwrap_or_default();
            [row.name.clone(), found.path.clone(), serial, day(found.not_after), left]
        })
    });
    let shown: Vec<_> = shown.collect();
    let mut text = String::new();
    if !shown.is_empty() {
        text += &format!("\n{}", Output::table(["HOST", "FILE", "SERIAL", "VALID UNTIL", ""], shown));
    }
    text += &hosts::failures(rows.iter().filter_map(|row| Some((row.name.as_str(), row.error.as_ref()?))));
    let due = rows.iter().filter(|row| row.is_due()).count();
    text + &format!("{}: a certificate is due on {due}\n", counted(rows.len(), "host"))
}
