//! Installing the credential set on hosts: many at a time, each in one login, none stopped by another's failure.

use super::{
    Interrupt, InterruptObserver,
    breaker::Breaker,
    fanout::guarded,
    journal::Entry,
    report::{ErrorReport, FileReport, HostReport, HostStatus, RunReport, Summary, Twin, TwinKind},
    skew,
    twins::{Twins, Visit},
    waves::{Event, run_in_waves},
};
use crate::{
    bundle::Bundle,
    clock::Clock,
    entropy::Entropy,
    inventory::{Host, Limits},
    remote::{self, Effect, Peer, Remote, installer},
    store::{self, Journal},
};
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
pub trait Observer: InterruptObserver {
    fn host_started(&self, name: &str);
    fn host_finished(&self, report: &HostReport);
}

/// What a run installs, for its journal and report.
#[derive(Debug, Clone, Copy)]
pub struct Order<'a> {
    pub command: &'static str,
    pub generation: u64,
    /// The earlier run that this one retries or puts back.
    pub of: Option<&'a str>,
}

/// What is to be done on one host.
pub trait Target: Sync {
    fn host(&self) -> &Host;
}

impl Target for Bundle<'_> {
    fn host(&self) -> &Host {
        self.host
    }
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
    let twins = Twins::new(bundles);
    let install = |index: usize, breaker: &Breaker| install(fleet, &bundles[index], &twins.visit(index), breaker);
    run_on_hosts(fleet, bundles, order, journal, observer, install)
}

/// Does `work` on every target's host, by its index, journaled and reported; `work` tells the breaker how it went.
pub(super) fn run_on_hosts<T: Target>(
    fleet: &Fleet,
    targets: &[T],
    order: Order,
    journal: &Journal,
    observer: &dyn Observer,
    work: impl Fn(usize, &Breaker) -> HostReport + Sync,
) -> Result<Distribution, store::Error> {
    let started = fleet.clock.now();
    let hosts = targets.iter().map(|target| target.host().name.as_str()).collect();
    let (Order { command, generation, of }, pid) = (order, std::process::id());
    journal.record(&Entry::Started { at: started, command, generation, pid, of, hosts })?;
    let (hosts, journaled) = work_on_hosts(fleet, targets, journal, observer, work);
    let (finished, summary) = (fleet.clock.now(), Summary::of(&hosts));
    let report = RunReport {
        schema: RunReport::SCHEMA,
        version: RunReport::VERSION,
        run_id: journal.id().as_str().to_owned(),
        command,
        of: of.map(str::to_owned),
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

/// A part of a run: `work` on every target's host, journaled. Also gives what became of the journal.
pub(super) fn work_on_hosts<T: Target>(
    fleet: &Fleet,
    targets: &[T],
    journal: &Journal,
    observer: &dyn Observer,
    work: impl Fn(usize, &Breaker) -> HostReport + Sync,
) -> (Vec<HostReport>, Result<(), store::Error>) {
    let mut journaled = Ok(());
    let hosts: Vec<&Host> = targets.iter().map(Target::host).collect();
    let begin = |index: usize, breaker: &Breaker| {
        // A host that is not noted as begun is retried all the same.
        let _ = journal.note(&Entry::Begun { at: fleet.clock.now(), host: targets[index].host().name.as_str() });
        let lost = || {
            breaker.count_failed(&remote::Error::Bug);
            failed(targets[index].host(), &remote::Error::Bug, Effect::Unknown, Duration::ZERO)
        };
        guarded(|| work(index, breaker), lost)
    };
    let results = run_in_waves(fleet, &hosts, begin, |event| match event {
        Event::Interrupted(in_flight) => observer.interrupted(in_flight),
        Event::Started(index) => observer.host_started(targets[index].host().name.as_str()),
        Event::Done(report) => {
            observer.host_finished(report);
            if journaled.is_ok() {
                journaled = journal.record_in_turn(&Entry::Host { at: fleet.clock.now(), host: report });
            }
        }
    });
    let reports = results.into_iter().zip(targets);
    let hosts = reports.map(|(result, target)| result.unwrap_or_else(|why| not_begun(target.host(), why))).collect();
    (hosts, journaled)
}

pub(super) fn install(fleet: &Fleet, bundle: &Bundle, visit: &Visit, breaker: &Breaker) -> HostReport {
    let (began, before) = (Instant::now(), fleet.clock.now());
    let roster = |peer: &Peer| visit.enter(peer);
    let (host, files) = (bundle.host, &bundle.files);
    let result = installer::install_once(fleet.remote, host, files, fleet.foreign, fleet.entropy, &roster);
    let took = began.elapsed();
    match result {
        Ok(outcome) => {
            breaker.count_done();
            let skew = outcome.clock.map(|clock| skew::skew_seconds(clock, (before, fleet.clock.now())));
            let clock_skew_seconds = skew.filter(|skew| skew::is_notable(*skew));
            let installed = installed(bundle, &outcome, took);
            let twin = match &outcome.twin {
                Some(name) => Some(same_machine(name)),
                None => visit.end_well(outcome.machine),
            };
            HostReport { clock_skew_seconds, twin, ..installed }
        }
        Err(error) => {
            breaker.count_failed(&error);
            let twin = match error.cause() {
                remote::Error::SameMachine { name } => Some(same_machine(name)),
                remote::Error::WaitedForTwin { name, .. } => {
                    Some(Twin { kind: TwinKind::SameHostKey, host: name.clone() })
                }
                _ => None,
            };
            HostReport { twin, ..failed(bundle.host, &error, error.effect, took) }
        }
    }
}

fn same_machine(name: &str) -> Twin {
    Twin { kind: TwinKind::SameMachine, host: name.to_owned() }
}

pub(super) fn installed(bundle: &Bundle, outcome: &installer::HostOutcome, took: Duration) -> HostReport {
    let files: Vec<FileReport> = bundle
        .files
        .iter()
        .zip(&outcome.files)
        .map(|(file, done)| FileReport {
            path: file.shown_path(bundle.host),
            kind: file.kind,
            action: done.action,
            sha256: Some(done.sha256),
            replaced: done.replaced,
        })
        .collect();
    let changed = outcome.files.iter().any(|file| file.action != installer::Action::Unchanged);
    let status = if changed { HostStatus::Changed } else { HostStatus::Unchanged };
    host_report(bundle.host, status, files, None, outcome.attempts, took)
}

pub(super) fn failed(host: &Host, error: &remote::Error, effect: Effect, took: Duration) -> HostReport {
    tracing::info!(host = host.name.as_str(), code = error.code(), "{error}");
    let why = Some(ErrorReport::of_host(error));
    let report = host_report(host, HostStatus::Failed, Vec::new(), why, error.attempts(), took);
    HostReport { untouched: effect == Effect::Untouched, ..report }
}

fn not_begun(host: &Host, why: ErrorReport) -> HostReport {
    host_report(host, HostStatus::Skipped, Vec::new(), Some(why), 0, Duration::ZERO)
}

pub(super) fn host_report(
    host: &Host,
    status: HostStatus,
    files: Vec<FileReport>,
    error: Option<ErrorReport>,
    attempts: u32,
    took: Duration,
) -> HostReport {
    HostReport {
        name: host.name.as_str().to_owned(),
        status,
        files,
        error,
        untouched: false,
        attempts,
        clock_skew_seconds: None,
        twin: None,
        restart: None,
        duration_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
    }
}
