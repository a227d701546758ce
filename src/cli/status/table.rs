//! What `status` found, as a table for people: a line for each host, and below it what is to be done there.

use super::{Document, Row};
use crate::{
    cli::{
        distribute::next_step,
        generate::remedy,
        hosts::{self, LONGEST_TABLE, counted},
        output::{Output, Tone},
        plan,
    },
    clock::day,
    inventory::Inventory,
    remote::installer::in_use::Service,
    workflow::{
        skew,
        survey::{FileSurvey, HostSurvey, State, Verdict},
        upkeep::{
            CertificateKind, CertificateState, Generation, HostCertificate, HostService, ServiceState, TokenFileState,
            Upkeep,
        },
    },
};
use jiff::Timestamp;
use std::collections::BTreeMap;

pub(super) fn render(output: &Output, document: &Document, inventory: &Inventory) -> String {
    let all = document.hosts.len() <= LONGEST_TABLE;
    let shown = document.hosts.iter().filter(|row| all || row.survey.verdict() != Verdict::InOrder);
    let rows: Vec<_> = shown.flat_map(|row| host_rows(output, row)).collect();
    let mut text = if rows.is_empty() { String::new() } else { Output::table(["HOST", "STATUS", ""], rows) };
    if !all {
        text += &due_by_kind(document);
    }
    let failed = document.hosts.iter().filter(|row| row.survey.verdict() == Verdict::Failed);
    text += &hosts::failures(failed.filter_map(|row| Some((row.survey.name.as_str(), row.survey.error.as_ref()?))));
    let s = &document.summary;
    let skipped = if s.skipped > 0 { format!(", {} not begun", s.skipped) } else { String::new() };
    let due = if document.due > 0 { format!(", {} with something due", document.due) } else { String::new() };
    text += &format!(
        "{}{}: {} ok, {} drift, {} could not be read{skipped}{due} (generation {})\n",
        if text.is_empty() { "" } else { "\n" },
        counted(s.hosts, "host"),
        s.ok,
        s.drift,
        s.failed,
        document.generation
    );
    for step in &document.pending {
        text += &format!(
            "pending: {} {} ({}); {}\n",
            step.action.imperative(),
            step.artifact,
            step.reason,
            remedy(step, inventory)
        );
    }
    text.extend(document.next_steps.iter().map(next_step));
    text
}

/// Of many hosts the kinds of what is due, and who they are: all of them have the same CA.
fn due_by_kind(document: &Document) -> String {
    let mut kinds: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for row in &document.hosts {
        if let Some(upkeep) = &row.survey.upkeep {
            let certificates = upkeep.certificates.iter().filter(|found| found.due);
            let services = upkeep.services.iter().filter(|found| found.due);
            let ends = certificates.map(|found| format!("{} ends soon, or has ended", whose(found.certificate)));
            let lags = services.map(|found| format!("{} {}", found.service.name(), predicate(found.service)));
            for kind in ends.chain(lags) {
                kinds.entry(kind).or_default().push(&row.survey.name);
            }
        }
    }
    let lines = kinds.into_iter().map(|(kind, names)| format!("{kind}: {}\n", hosts::listed(&names)));
    lines.collect()
}

fn is_due(row: &Row) -> bool {
    row.survey.upkeep.as_ref().is_some_and(Upkeep::is_due)
}

/// The host, and below it a line for each file that is not as it should be and for each thing that is due.
fn host_rows(output: &Output, row: &Row) -> Vec<[String; 3]> {
    let tone = match row.survey.verdict() {
        Verdict::InOrder if is_due(row) => Tone::Changed,
        Verdict::InOrder => Tone::Good,
        Verdict::Drift | Verdict::Blocked => Tone::Changed,
        Verdict::Failed => Tone::Bad,
        Verdict::Skipped => Tone::Faint,
    };
    let first = [row.survey.name.clone(), output.paint(tone, row.status), remark(row.survey)];
    let files = row.survey.files.iter().filter(|file| file.state != State::Same);
    let below = files.map(file_remark).chain(row.survey.upkeep.iter().flat_map(|found| remarks(output, found)));
    std::iter::once(first).chain(below.map(|remark| [String::new(), String::new(), remark])).collect()
}

/// What is due; with -v, what could not be told too.
fn remarks(output: &Output, upkeep: &Upkeep) -> Vec<String> {
    let tokens = upkeep.tokens.iter().filter_map(token_remark);
    let certificates = upkeep.certificates.iter().filter(|certificate| certificate.due).map(ending);
    let services = upkeep.services.iter().filter(|service| service.due).map(lag);
    let mut remarks: Vec<String> = tokens.chain(certificates).chain(services).collect();
    if output.is_verbose() {
        let unread = upkeep.certificates.iter().filter(|found| found.state == CertificateState::Unknown);
        remarks.extend(unread.map(|found| format!("{}: its certificate could not be read", found.path)));
        let untold = upkeep.services.iter().filter_map(|found| Some((found.service.name(), found.reason?)));
        remarks.extend(untold.map(|(name, reason)| format!("{name}: unknown whether it has read its file: {reason}")));
        let idle = upkeep.services.iter().filter(|found| found.state == ServiceState::NotRunning);
        remarks.extend(idle.map(|found| format!("{} does not run", found.service.name())));
    }
    remarks
}

fn token_remark(file: &TokenFileState) -> Option<String> {
    match file.generation {
        Generation::Old => Some(format!("{}: has the token that is on its way out", file.path)),
        Generation::Both => Some(format!("{}: accepts the token that is on its way out, too", file.path)),
        Generation::Current | Generation::Other | Generation::Absent | Generation::Unknown => None,
    }
}

fn ending(found: &HostCertificate) -> String {
    let (whose, date) = (whose(found.certificate), found.not_after.map(day).unwrap_or_default());
    match found.days_left {
        Some(..0) => format!("{whose} ended on {date}"),
        Some(left) => format!("{whose} ends in {} ({date})", counted(usize::try_from(left).unwrap_or_default(), "day")),
        None => format!("{whose} is due"),
    }
}

const fn whose(certificate: CertificateKind) -> &'static str {
    match certificate {
        CertificateKind::Ca => "the CA",
        CertificateKind::KubeProxy => "kube-proxy's certificate",
        CertificateKind::KubeletClient => "the kubelet's own certificate",
    }
}

fn lag(found: &HostService) -> String {
    let at = |time: Option<Timestamp>| time.map_or_else(|| "?".to_owned(), |time| time.to_string());
    format!(
        "{} {}: it runs since {}, and its file changed at {}",
        found.service.name(),
        predicate(found.service),
        at(found.started),
        at(found.file_changed)
    )
}

const fn predicate(service: Service) -> &'static str {
    match service {
        Service::KubeApiserver => "still accepts the old tokens",
        Service::Kubelet => "still uses the old token",
        Service::KubeProxy => "still uses the old certificate",
    }
}

fn remark(survey: &HostSurvey) -> String {
    if let Some(error) = &survey.error {
        return error.code.to_owned();
    }
    let right = survey.files.iter().filter(|file| file.state == State::Same).count();
    let files = format!("{right} of {} files as they should be", survey.files.len());
    match survey.clock_skew_seconds {
        Some(skew) if skew::is_notable(skew) => format!("{files}; its clock is {skew:+} s off"),
        _ => files,
    }
}

fn file_remark(file: &FileSurvey) -> String {
    let mut words = format!("{}: {}", file.path, file.state.condition());
    match (&file.refusal, &file.found, &file.attributes) {
        (Some(refusal), _, _) => words += &format!(" ({})", refusal.message),
        (None, Some(found), _) => {
            // Found first, wanted second, as in a plan.
            for (what, old, new) in plan::differences(found, &file.wanted) {
                words += &format!(" [{what} {old}, should be {new}]");
            }
        }
        (None, None, Some(attributes)) => words += &format!(" ({attributes}, should be 0600, owner as required)"),
        (None, None, None) => {}
    }
    words
}
