//! Installing the credential set on hosts: many at a time, each in one login, none stopped by another's failure.

use super::{
    Interrupt,
    limits::Breaker,
    report::{ErrorReport, FileReport, HostReport, HostStatus, RunReport, Summary, Twin, TwinKind},
    twins::{Twins, Visit},
    waves::{Event, run_in_waves},
};
use crate::{
    bundle::{Bundle, HostFile},
    clock::Clock,
    entropy::Entropy,
    inventory::{Host, Limits},
    remote::{self, Peer, Remote, installer},
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
    pub limits: Limits,
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
    let hosts: Vec<&Host> = bundles.iter().map(|bundle| bundle.host).collect();
    let twins = Twins::new(bundles);
    let install =
        |index: usize, breaker: &Breaker| install(fleet, &bundles[index], &twins, &twins.visit(index), breaker);
    let results = run_in_waves(fleet, &hosts, install, |index, event| match event {
        Event::Started => observer.host_started(bundles[index].host.name.as_str()),
        Event::Done(report) => {
            observer.host_finished(report);
            if journaled.is_ok() {
                journaled = journal.record(&Entry::Host { at: fleet.clock.now(), host: report });
            }
        }
    });
    let reports = results.into_iter().zip(bundles);
    let hosts: Vec<HostReport> =
        reports.map(|(result, bundle)| result.unwrap_or_else(|why| not_begun(bundle, why))).collect();
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

fn install(fleet: &Fleet, bundle: &Bundle, twins: &Twins, visit: &Visit, breaker: &Breaker) -> HostReport {
    let began = Instant::now();
    let roster = |peer: &Peer| visit.enter(peer);
    let (host, files) = (bundle.host, &bundle.files);
    let result = installer::install_once(fleet.remote, host, files, fleet.foreign, fleet.entropy, &roster);
    let took = began.elapsed();
    match result {
        Ok(outcome) => {
            breaker.count_done();
            HostReport { twin: visit.end_well(outcome.machine), ..installed(bundle, &outcome, took) }
        }
        Err(error) => match error.cause() {
            remote::Error::SameMachine { name } if twins.want_the_same(bundle, name) => {
                breaker.count_done();
                written_as(bundle, name, error.attempts(), took)
            }
            cause => {
                breaker.count_failed(&error);
                let twin = match cause {
                    remote::Error::SameMachine { name } => Some(same_machine(name)),
                    _ => None,
                };
                HostReport { twin, ..failed(bundle, &error, took) }
            }
        },
    }
}

/// The files are there already, under the machine's other name.
fn written_as(bundle: &Bundle, name: &str, attempts: u32, took: Duration) -> HostReport {
    let report = |file: &HostFile| FileReport {
        path: file.shown_path(bundle.host),
        kind: file.kind,
        action: installer::Action::Unchanged,
        sha256: file.sha256,
    };
    let files = bundle.files.iter().map(report).collect();
    HostReport {
        twin: Some(same_machine(name)),
        ..host_report(bundle, HostStatus::Unchanged, files, None, attempts, took)
    }
}

fn same_machine(name: &str) -> Twin {
    Twin { kind: TwinKind::SameMachine, host: name.to_owned() }
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
    host_report(bundle, status, files, None, outcome.attempts, took)
}

fn failed(bundle: &Bundle, error: &remote::Error, took: Duration) -> HostReport {
    tracing::info!(host = bundle.host.name.as_str(), code = error.code(), "{error}");
    let why = ErrorReport::of_host(bundle.host, error);
    host_report(bundle, HostStatus::Failed, Vec::new(), Some(why), error.attempts(), took)
}

fn not_begun(bundle: &Bundle, why: ErrorReport) -> HostReport {
    host_report(bundle, HostStatus::Skipped, Vec::new(), Some(why), 0, Duration::ZERO)
}

fn host_report(
    bundle: &Bundle,
    status: HostStatus,
    files: Vec<FileReport>,
    error: Option<ErrorReport>,
    attempts: u32,
    took: Duration,
) -> HostReport {
    HostReport {
        name: bundle.host.name.as_str().to_owned(),
        status,
        files,
        error,
        attempts,
        twin: None,
        duration_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
    }
}
