//! kube-proxy's new credentials onto nodes: each host's file, then its kube-proxy restarted, batch by batch within the
//! limits of a run. What makes them is [`super::generate::plan_renewal`].
//!
//! A host whose restart fails is a failed host, and counts for the limits: the next batch is not begun on a kube-proxy
//! that does not come back. A host on which an earlier run did not come to its end is restarted though its file is right:
//! nobody knows whether its kube-proxy has read it.

use super::{
    breaker::Breaker,
    distribute::{self, Distribution, Fleet, Observer, Order},
    report::{ErrorReport, HostReport, HostStatus, RestartReport},
    runs::KeptRun,
    twins::Twins,
};
use crate::{
    bundle::{Bundle, FileKind},
    inventory::Host,
    remote::{
        installer::Action,
        service::{self, CommandEnd, Complaint},
    },
    store::{self, Journal},
};
use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

/// The command of a run, in its journal and report.
pub const COMMAND: &str = "reissue";

const SERVICE: &str = "kube-proxy";

/// How kube-proxy is restarted after its file has changed.
#[derive(Debug, Clone, Copy)]
pub struct Restarts<'a> {
    /// `None`: it is not, and due.
    pub command: Option<&'a str>,
    pub limit: Duration,
    /// Hosts where it is due whether or not the file changes.
    pub owed: &'a HashSet<String>,
}

/// The bundles with kube-proxy's file alone; hosts that have none are left out.
#[must_use]
pub fn only_kube_proxy(bundles: Vec<Bundle<'_>>) -> Vec<Bundle<'_>> {
    let narrowed = bundles.into_iter().map(|mut bundle| {
        bundle.files.retain(|file| file.kind == FileKind::KubeProxyKubeconfig);
        bundle
    });
    narrowed.filter(|bundle| !bundle.files.is_empty()).collect()
}

/// What earlier runs left to be done.
#[derive(Debug, Default)]
pub struct Rest {
    /// The last reissue, where it did not come to its end.
    pub run: Option<KeptRun>,
    /// A run after it was killed before it had named its hosts: what it stored may be on none of them.
    pub may_be_everywhere: bool,
}

impl Rest {
    /// The hosts that the last reissue left undone.
    #[must_use]
    pub fn hosts(&self) -> HashSet<String> {
        self.run.iter().flat_map(KeptRun::undone).map(str::to_owned).collect()
    }
}

/// Looks at runs until it meets a reissue; `runs` begins with the newest.
#[must_use]
pub fn find_rest(runs: impl Iterator<Item = KeptRun>) -> Rest {
    let mut may_be_everywhere = false;
    for run in runs {
        match run.command.as_deref() {
            Some(COMMAND) => {
                return Rest { run: Some(run).filter(|run| run.undone().next().is_some()), may_be_everywhere };
            }
            Some(_) => {}
            None => may_be_everywhere = true,
        }
    }
    Rest { run: None, may_be_everywhere }
}

/// Installs and restarts on every host.
///
/// # Errors
/// As [`distribute::run_distribution`].
pub fn run_reissue(
    fleet: &Fleet,
    bundles: &[Bundle],
    restarts: Restarts,
    order: Order,
    journal: &Journal,
    observer: &dyn Observer,
) -> Result<Distribution, store::Error> {
    let twins = Twins::new(bundles);
    distribute::run_on_hosts(fleet, bundles, order, journal, observer, |index, breaker| {
        let bundle = &bundles[index];
        let report = distribute::install(fleet, bundle, &twins.visit(index), breaker);
        match restarts.command.filter(|_| is_due(&report, restarts.owed)) {
            Some(command) => restart(fleet, bundle.host, command, restarts.limit, report, breaker),
            None => report,
        }
    })
}

fn is_due(report: &HostReport, owed: &HashSet<String>) -> bool {
    let is_new = |action| matches!(action, Action::Created | Action::Updated);
    let is_changed = report.files.iter().any(|file| is_new(file.action));
    matches!(report.status, HostStatus::Changed | HostStatus::Unchanged) && (is_changed || owed.contains(&report.name))
}

fn restart(
    fleet: &Fleet,
    host: &Host,
    command: &str,
    limit: Duration,
    report: HostReport,
    breaker: &Breaker,
) -> HostReport {
    let began = Instant::now();
    let ended = service::run_command(fleet.remote, host, command, limit, fleet.entropy);
    let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let took = milliseconds(began.elapsed());
    let done = |outcome| Some(RestartReport { service: SERVICE, outcome, duration_ms: took });
    let duration_ms = report.duration_ms.saturating_add(took);
    let outcome = match ended {
        Ok(outcome) => outcome,
        Err(error) => {
            breaker.count_failed(&error);
            let told = ErrorReport::of_host(&error);
            let hint = format!("its kube-proxy.kubeconfig is new, its kube-proxy not restarted; {}", told.hint);
            let error = Some(ErrorReport { hint, ..told });
            return HostReport { status: HostStatus::Failed, error, restart: done("unknown"), duration_ms, ..report };
        }
    };
    let Some(Complaint { code, how }) = outcome.complaint() else {
        return HostReport { restart: done("done"), duration_ms, ..report };
    };
    let word = if outcome.end == CommandEnd::TimedOut { "timed_out" } else { "failed" };
    breaker.count_undone();
    let error = ErrorReport {
        code,
        message: format!("the restart of {SERVICE} {how}"),
        hint: format!(
            "its kube-proxy.kubeconfig is new; look at {SERVICE} there, then `kubemint reissue kube-proxy --retry last`; \
             `kubemint rollback --host {}` puts the earlier file back",
            host.name.as_str()
        ),
    };
    HostReport { status: HostStatus::Failed, error: Some(error), restart: done(word), duration_ms, ..report }
}
