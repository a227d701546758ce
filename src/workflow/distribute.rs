//! Installing the credential set on hosts: many at a time, each in one login, none stopped by another's failure.

use super::{
    Interrupt, fanout,
    fanout::Progress,
    report::{ErrorReport, FileReport, HostReport, HostStatus, RunReport, Summary},
    skew,
};
use crate::{
    bundle::Bundle,
    clock::Clock,
    entropy::Entropy,
    remote::{self, Remote, installer},
    store::{self, Journal},
};
use jiff::Timestamp;
use serde::Serialize;
use std::time::{Duration, Instant};

/// The adapters and limits of a run over hosts.
pub struct Fleet<'a> {
    pub remote: &'a dyn Remote,
    pub entropy: &'a dyn Entropy,
    pub clock: &'a dyn Clock,
    pub concurrency: usize,
    /// What to do about another cluster's credentials on a host.
    pub foreign: installer::ForeignPolicy,
    pub interrupt: &'a Interrupt,
}

/// Who is told how a run comes along. Called on one thread.
pub trait Observer {
    fn host_started(&self, name: &str);
    fn host_finished(&self, report: &HostReport);
}

/// What a run installs, for its journal and report.
#[derive(Debug, Clone, Copy)]
pub struct Order {
    pub command: &'static str,
    pub generation: u64,
}

/// A line of journal.jsonl.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
enum Entry<'a> {
    Started { at: Timestamp, command: &'static str, generation: u64, hosts: Vec<&'a str> },
    Host { at: Timestamp, host: &'a HostReport },
    Finished { at: Timestamp, summary: Summary },
}

/// A run's report, and whether it could be kept.
#[derive(Debug)]
pub struct Distribution {
    pub report: RunReport,
    /// Why journal or report are incomplete: hosts had been changed already when that showed.
    pub unrecorded: Option<store::Error>,
}

/// Installs every bundle on its host; journals each host as it ends; returns and stores the report.
///
/// # Errors
/// [`store::Error`] when the journal cannot be begun: no host is touched then. A failed host is not an error: see the
/// report.
pub fn run_distribution(
    fleet: &Fleet,
    bundles: &[Bundle],
    order: Order,
    journal: &Journal,
    observer: &dyn Observer,
) -> Result<Distribution, store::Error> {
    let started = fleet.clock.now();
    let names = bundles.iter().map(|bundle| bundle.host.name.as_str()).collect();
    let Order { command, generation } = order;
    journal.record(&Entry::Started { at: started, command, generation, hosts: names })?;
    let mut journaled = Ok(());
    let results = fanout::run_on_each(
        bundles,
        fleet.concurrency,
        fleet.interrupt,
        |bundle| install(fleet, bundle),
        |progress| match progress {
            Progress::Started(index) => observer.host_started(bundles[*index].host.name.as_str()),
            Progress::Done(_, report) => {
                observer.host_finished(report);
                if journaled.is_ok() {
                    journaled = journal.record(&Entry::Host { at: fleet.clock.now(), host: report });
                }
            }
        },
    );
    let hosts: Vec<HostReport> =
        results.into_iter().zip(bundles).map(|(result, bundle)| result.unwrap_or_else(|| not_begun(bundle))).collect();
    let (finished, summary) = (fleet.clock.now(), Summary::of(&hosts));
    let report = RunReport {
        schema: RunReport::SCHEMA,
        version: RunReport::VERSION,
        run_id: journal.id().as_str().to_owned(),
        command,
        started,
        finished,
        generation,
        hosts,
        summary,
    };
    let recorded = journaled
        .and_then(|()| journal.record(&Entry::Finished { at: finished, summary }))
        .and_then(|()| journal.write_report(&report));
    Ok(Distribution { report, unrecorded: recorded.err() })
}

fn install(fleet: &Fleet, bundle: &Bundle) -> HostReport {
    let (began, before) = (Instant::now(), fleet.clock.now());
    let result = installer::install_host(fleet.remote, bundle.host, &bundle.files, fleet.foreign, fleet.entropy);
    let took = began.elapsed();
    match result {
        Ok(outcome) => {
            let skew = outcome.clock.map(|clock| skew::skew_seconds(clock, (before, fleet.clock.now())));
            let clock_skew_seconds = skew.filter(|skew| skew::is_notable(*skew));
            HostReport { clock_skew_seconds, ..installed(bundle, &outcome, took) }
        }
        Err(error) => failed(bundle, &error, took),
    }
}

fn installed(bundle: &Bundle, outcome: &installer::HostOutcome, took: Duration) -> HostReport {
    let files: Vec<FileReport> = bundle
        .files
        .iter()
        .zip(&outcome.files)
        .map(|(file, done)| FileReport {
            path: file.shown_path(bundle.host),
            kind: file.kind,
            action: done.action,
            sha256: done.sha256,
        })
        .collect();
    let changed = outcome.files.iter().any(|file| file.action != installer::Action::Unchanged);
    let status = if changed { HostStatus::Changed } else { HostStatus::Unchanged };
    host_report(bundle, status, files, None, took)
}

fn failed(bundle: &Bundle, error: &remote::Error, took: Duration) -> HostReport {
    tracing::info!(host = bundle.host.name.as_str(), code = error.code(), "{error}");
    host_report(bundle, HostStatus::Failed, Vec::new(), Some(ErrorReport::of_host(bundle.host, error)), took)
}

fn not_begun(bundle: &Bundle) -> HostReport {
    let error = ErrorReport {
        code: "interrupted",
        message: "the run was interrupted before this host was begun".into(),
        hint: "run the same command again".into(),
    };
    host_report(bundle, HostStatus::Skipped, Vec::new(), Some(error), Duration::ZERO)
}

fn host_report(
    bundle: &Bundle,
    status: HostStatus,
    files: Vec<FileReport>,
    error: Option<ErrorReport>,
    took: Duration,
) -> HostReport {
    HostReport {
        name: bundle.host.name.as_str().to_owned(),
        status,
        files,
        error,
        clock_skew_seconds: None,
        duration_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
    }
}
