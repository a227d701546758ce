//! Installing the credential set on hosts: many at a time, each in one login, none stopped by another's failure.

use super::{
    Interrupt, InterruptObserver,
    breaker::Breaker,
    debts::{Debts, look_at_services},
    fanout::guarded,
    journal::Entry,
    report::{ErrorReport, FileReport, HostReport, HostStatus, RunReport, Summary, Twin, TwinKind},
    restarts::{Duty, due_restarts},
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
use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

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
    /// `None`: it leaves no restart to a person.
    pub duty: Option<Duty<'a>>,
}

impl<'a> Order<'a> {
    fn debts(&self) -> Option<&'a Debts> {
        self.duty.and_then(|duty| duty.debts)
    }
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
    /// What could not be written of its record: hosts may have been changed already when that showed.
    pub unrecorded: Option<Unrecorded>,
}

/// What is missing of the record of a run.
#[derive(Debug, thiserror::Error)]
pub enum Unrecorded {
    /// Lines of its journal; the run stopped there.
    #[error("{0}")]
    Journal(store::Error),
    /// Its report, which says nothing that the journal does not.
    #[error("{0}")]
    Report(store::Error),
}

impl Unrecorded {
    pub const CODE: &str = "state_io";

    /// What the operator can do about it.
    #[must_use]
    pub fn hint(&self, run: &str) -> String {
        match self {
            Self::Journal(error) => format!(
                "{}, then run the same command again; this command's output names every host that was changed, `kubemint runs \
                 show {run}` those that could be recorded",
                error.hint_midway()
            ),
            Self::Report(error) => {
                format!("{}; the journal is complete: `kubemint runs show {run}`", error.hint_midway())
            }
        }
    }

    fn to_report(&self, run: &str) -> ErrorReport {
        ErrorReport { code: Self::CODE, message: self.to_string(), hint: self.hint(run) }
    }
}

/// Installs every bundle on its host; journals each host as it begins and ends; returns and stores the report.
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
    let install = |index: usize, breaker: &Breaker| {
        let report = install(fleet, &bundles[index], &twins.visit(index), breaker);
        match order.debts() {
            Some(debts) => look_at_services(fleet, &bundles[index], debts, report),
            None => report,
        }
    };
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
    let (Order { command, generation, of, duty }, pid) = (order, std::process::id());
    let (number, owed) = (journal.number(), order.debts().and_then(Debts::to_note));
    let first = Entry::Started { at: started, number, command, generation, pid, of, owed, hosts };
    // Without it this is no run, and `last` stays what it was.
    journal.record(&first).inspect_err(|_| journal.discard())?;
    let (hosts, journaled) = work_on_hosts(fleet, targets, journal, observer, work);
    let (finished, summary) = (fleet.clock.now(), Summary::of(&hosts));
    let next_steps = duty.map(|duty| {
        let targets: Vec<&Host> = targets.iter().map(Target::host).collect();
        due_restarts(duty, &targets, &hosts)
    });
    let mut report = RunReport {
        schema: RunReport::SCHEMA,
        version: RunReport::VERSION,
        run_id: journal.id().as_str().to_owned(),
        number,
        command,
        of: of.map(str::to_owned),
        started,
        finished,
        generation,
        hosts,
        summary,
        unrecorded: None,
        next_steps: next_steps.unwrap_or_default(),
    };
    // Whatever could not be written before: there may be room again.
    let ended = journal.record(&Entry::Finished { at: finished, summary });
    let mut unrecorded = journaled.and(ended).err().map(Unrecorded::Journal);
    let told = |unrecorded: &Option<Unrecorded>| unrecorded.as_ref().map(|what| what.to_report(journal.id().as_str()));
    report.unrecorded = told(&unrecorded);
    if let Err(error) = journal.write_report(&report) {
        unrecorded.get_or_insert(Unrecorded::Report(error));
        report.unrecorded = told(&unrecorded);
    }
    Ok(Distribution { report, unrecorded })
}

/// A part of a run: `work` on every target's host, journaled. A line that cannot be written stops it: no host is begun
/// without one. Also gives the first such error.
pub(super) fn work_on_hosts<T: Target>(
    fleet: &Fleet,
    targets: &[T],
    journal: &Journal,
    observer: &dyn Observer,
    work: impl Fn(usize, &Breaker) -> HostReport + Sync,
) -> (Vec<HostReport>, Result<(), store::Error>) {
    let first_error: Mutex<Option<store::Error>> = Mutex::new(None);
    let stop = |error: store::Error, breaker: &Breaker| {
        breaker.stop_unrecorded(&error);
        first_error.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    };
    let hosts: Vec<&Host> = targets.iter().map(Target::host).collect();
    let visit = |index: usize, breaker: &Breaker| {
        let host = targets[index].host().name.as_str();
        if let Err(error) = journal.begin(&Entry::Begun { at: fleet.clock.now(), host }) {
            stop(error, breaker);
            return None;
        }
        let lost = || {
            breaker.count_failed(&remote::Error::Bug);
            failed(targets[index].host(), &remote::Error::Bug, Effect::Unknown, Duration::ZERO)
        };
        let report = guarded(|| work(index, breaker), lost);
        if let Err(error) = journal.end(&Entry::Host { at: fleet.clock.now(), host: &report }) {
            stop(error, breaker);
        }
        Some(report)
    };
    let results = run_in_waves(fleet, &hosts, visit, |event| match event {
        Event::Interrupted(in_flight) => observer.interrupted(in_flight),
        Event::Started(index) => observer.host_started(targets[index].host().name.as_str()),
        Event::Done(report) => observer.host_finished(report),
    });
    let reports = results.into_iter().zip(targets);
    let hosts = reports.map(|(result, target)| result.unwrap_or_else(|why| not_begun(target.host(), why))).collect();
    (hosts, first_error.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err))
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
        services: Vec::new(),
        duration_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
    }
}
