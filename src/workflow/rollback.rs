//! Putting back what a run replaced: each host's kept versions change places with what the run installed.
//!
//! Only what the run is known to have changed is touched, and on the host only where it is still there. The credential
//! directory is not: it still holds the newer generation, which the next apply or distribute would install again.

use super::{
    breaker::Breaker,
    distribute::{self, Distribution, Fleet, Observer, Order, Target},
    report::{ErrorReport, FileReport, HostReport, HostStatus},
    runs::{KeptHost, KeptRun},
};
use crate::{
    bundle::{self, FileKind},
    foreign::ForeignText,
    inventory::Host,
    remote::{
        self, Effect, Failure, FileError, FileFault,
        installer::{self, Action, KeptFile, Undo},
    },
    store::{self, Journal, State, StoredFile},
};
use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

/// A host, and what is to be put back there.
#[derive(Debug)]
pub struct Restoration<'a> {
    pub host: &'a Host,
    pub files: Vec<KeptFile>,
    /// Why nothing can be put back there: then it is not even logged in to.
    refusal: Option<Refusal>,
}

#[derive(Debug)]
enum Refusal {
    File(FileError),
    /// The run failed or was killed while at work there.
    UnknownOutcome,
}

impl Restoration<'_> {
    /// Whether the host is logged in to.
    #[must_use]
    pub fn is_due(&self) -> bool {
        self.refusal.is_none()
    }
}

impl Target for Restoration<'_> {
    fn host(&self) -> &Host {
        self.host
    }
}

/// What a rollback does.
#[derive(Debug, Default)]
pub struct Rollback<'a> {
    pub targets: Vec<Restoration<'a>>,
    /// The run failed there or was killed. Those of which nobody knows what it changed are targets too, and fail.
    pub unknown: Vec<String>,
    /// The run repaired owner or mode there; what was repaired stays so.
    pub repaired: Vec<String>,
}

/// The files that no host is given an earlier version of without a run that says which: after a rotation that would be one
/// with a token that was retired.
#[must_use]
pub fn kept_back(state: Option<&State>) -> Vec<FileKind> {
    let mut kinds = Vec::new();
    if state.is_some_and(|state| state.rotated.is_some()) {
        kinds.push(FileKind::BootstrapKubeconfig);
    }
    if state.is_some_and(|state| state.rotated.is_some() || !state.wants(StoredFile::TokenCsv)) {
        kinds.push(FileKind::TokenCsv);
    }
    kinds
}

/// What there is to put back of `run` on `hosts`.
#[must_use]
pub fn plan_rollback<'a>(run: &KeptRun, hosts: &[&'a Host]) -> Rollback<'a> {
    let by_name: HashMap<&str, &Host> = hosts.iter().map(|host| (host.name.as_str(), *host)).collect();
    let mut plan = Rollback::default();
    for (done, host) in run.hosts.iter().filter_map(|done| Some((done, *by_name.get(done.name.as_str())?))) {
        if matches!(done.status, HostStatus::Failed | HostStatus::InFlight) {
            plan.unknown.push(done.name.clone());
            if done.is_outcome_unknown() {
                plan.targets.push(Restoration { host, files: Vec::new(), refusal: Some(Refusal::UnknownOutcome) });
            }
            continue;
        }
        if done.files.iter().any(|file| file.action == Action::Repaired.name()) {
            plan.repaired.push(done.name.clone());
        }
        let (files, refusal) = match undo_of_host(done, host) {
            Ok(files) => (files, None),
            Err(refusal) => (Vec::new(), Some(Refusal::File(refusal))),
        };
        if !files.is_empty() || refusal.is_some() {
            plan.targets.push(Restoration { host, files, refusal });
        }
    }
    plan
}

/// Every file that a host should hold, whatever it and its kept version hold; those of `kept_back` stay.
#[must_use]
pub fn plan_exchange<'a>(hosts: &[&'a Host], kept_back: &[FileKind]) -> Rollback<'a> {
    let of_host = |host: &'a Host| {
        let due = bundle::targets(host).filter(|(kind, _)| !kept_back.contains(kind));
        let files = due.map(|(kind, path)| KeptFile { kind, path, undo: Undo::ExchangeAny });
        Restoration { host, files: files.collect(), refusal: None }
    };
    let targets = hosts.iter().map(|host| of_host(host)).filter(|target| !target.files.is_empty());
    Rollback { targets: targets.collect(), ..Rollback::default() }
}

/// A path that the inventory does not put on the host is not touched, whatever a run's record says.
fn undo_of_host(done: &KeptHost, host: &Host) -> Result<Vec<KeptFile>, FileError> {
    let ours: Vec<(FileKind, String)> = bundle::targets(host).collect();
    let mut files = Vec::new();
    for file in &done.files {
        let refuse = |fault| Err(FileError { path: file.path.clone(), fault, detail: ForeignText::default() });
        let is = |action: Action| file.action == action.name();
        let undo = match (file.sha256, file.replaced) {
            (Some(installed), _) if is(Action::Created) => Undo::Remove { installed },
            (Some(installed), replaced) if is(Action::Updated) || is(Action::Restored) => {
                Undo::Exchange { installed, replaced }
            }
            _ if is(Action::Unchanged) || is(Action::Repaired) => continue,
            _ => return refuse(FileFault::NothingToRestore),
        };
        let Some((kind, path)) = ours.iter().find(|(_, path)| bundle::shown_path(host, path) == file.path) else {
            return refuse(FileFault::NotATarget);
        };
        files.push(KeptFile { kind: *kind, path: path.clone(), undo });
    }
    Ok(files)
}

/// Puts every target back; journals and reports as a run of its own.
///
/// # Errors
/// As [`distribute::run_distribution`].
pub fn run_rollback(
    fleet: &Fleet,
    targets: &[Restoration],
    order: Order,
    journal: &Journal,
    observer: &dyn Observer,
) -> Result<Distribution, store::Error> {
    distribute::run_on_hosts(fleet, targets, order, journal, observer, |index, breaker| {
        restore(fleet, &targets[index], breaker)
    })
}

fn restore(fleet: &Fleet, target: &Restoration, breaker: &Breaker) -> HostReport {
    let began = Instant::now();
    let failed = |failure: &Failure, took: Duration| {
        breaker.count_failed(&failure.error);
        distribute::failed(target.host, &failure.error, failure.effect, took)
    };
    let refused = |error: FileError, took: Duration| {
        failed(&Failure { error: remote::Error::Files(vec![error]), effect: Effect::Untouched }, took)
    };
    match &target.refusal {
        Some(Refusal::File(error)) => return refused(error.clone(), Duration::ZERO),
        Some(Refusal::UnknownOutcome) => return unknown_outcome(target.host),
        None => {}
    }
    let result = installer::restore_host(fleet.remote, target.host, &target.files, fleet.entropy);
    let took = began.elapsed();
    match result {
        Ok(restored) if has_nothing_kept(target, &restored.files) => {
            let path = bundle::shown_path(target.host, &target.host.directory);
            refused(FileError { path, fault: FileFault::NothingToRestore, detail: ForeignText::default() }, took)
        }
        Ok(restored) => {
            breaker.count_done();
            restored_report(target, &restored, took)
        }
        Err(failure) => failed(&failure, took),
    }
}

/// That host failed long before this run, which it neither stops nor counts for.
fn unknown_outcome(host: &Host) -> HostReport {
    let name = &host.name;
    let error = ErrorReport {
        code: "unknown_outcome",
        message: "the run failed or was killed while at work on it: what it changed there is not known".into(),
        hint: format!(
            "`kubemint status --limit {name}` shows what it holds: where all of it is that run's, `kubemint rollback --host \
             {name}` puts it back; else install it anew with `kubemint apply`"
        ),
    };
    let report = distribute::host_report(host, HostStatus::Failed, Vec::new(), Some(error), 0, Duration::ZERO);
    HostReport { untouched: true, ..report }
}

/// Of a host that was named for it, it is an error when it has no kept version at all.
fn has_nothing_kept(target: &Restoration, restored: &[installer::RestoredFile]) -> bool {
    target.files.iter().all(|file| file.undo == Undo::ExchangeAny)
        && restored.iter().all(|file| file.action == Action::Unchanged)
}

fn restored_report(target: &Restoration, restored: &installer::RestoredHost, took: Duration) -> HostReport {
    let files: Vec<FileReport> = target
        .files
        .iter()
        .zip(&restored.files)
        .map(|(file, done)| FileReport {
            path: bundle::shown_path(target.host, &file.path),
            kind: file.kind,
            action: done.action,
            sha256: done.sha256,
            replaced: done.replaced,
        })
        .collect();
    let changed = restored.files.iter().any(|file| file.action != Action::Unchanged);
    let status = if changed { HostStatus::Changed } else { HostStatus::Unchanged };
    distribute::host_report(target.host, status, files, None, restored.attempts, took)
}
