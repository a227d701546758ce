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
    secret::printable,
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

/// What earlier runs left to be done on the hosts that were asked about.
#[derive(Debug, Default)]
pub struct Rest {
    /// The newest reissue that left one of `hosts` undone.
    pub run: Option<String>,
    /// The hosts whose newest reissue did not come to its end on them.
    pub hosts: HashSet<String>,
    /// A run since the newest reissue of these was killed before it had named its hosts: what it stored may not be there.
    pub unsure: HashSet<String>,
}

/// Looks at runs until each of `hosts` has been in a reissue, for a later one may have been of some hosts only; `runs`
/// begins with the newest.
#[must_use]
pub fn find_rest<'h>(runs: impl Iterator<Item = KeptRun>, hosts: impl Iterator<Item = &'h str>) -> Rest {
    let mut rest = Rest::default();
    let mut open: HashSet<&str> = hosts.collect();
    for run in runs {
        match run.command.as_deref() {
            Some(COMMAND) => {
                let left: Vec<String> = run.undone().filter(|name| open.contains(name)).map(str::to_owned).collect();
                if !left.is_empty() && rest.run.is_none() {
                    rest.run.clone_from(&run.id);
                }
                rest.hosts.extend(left);
                for host in &run.hosts {
                    open.remove(host.name.as_str());
                }
            }
            Some(_) => {}
            None => rest.unsure.extend(open.iter().map(|&name| name.to_owned())),
        }
        if open.is_empty() {
            break;
        }
    }
    rest
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
        message: format!("the restart of {SERVICE} (`{}`) {how}", printable(command)),
        hint: format!(
            "its kube-proxy.kubeconfig is new; look at {SERVICE} there, then `kubemint reissue kube-proxy --retry last`; \
             `kubemint rollback --host {}` puts the earlier file back",
            host.name.as_str()
        ),
    };
    HostReport { status: HostStatus::Failed, error: Some(error), restart: done(word), duration_ms, ..report }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{store::RunRecord, workflow::runs::parse_record};
    use std::path::Path;

    fn reissue(id: &str, hosts: &[(&str, &str)]) -> KeptRun {
        let names: Vec<&str> = hosts.iter().map(|(name, _)| *name).collect();
        let at = "2026-11-22T08:00:00Z";
        let mut journal = vec![
            serde_json::json!({"event": "started", "at": at, "command": COMMAND, "generation": 3, "hosts": names})
                .to_string(),
        ];
        journal.extend(hosts.iter().map(|(name, status)| {
            let host = serde_json::json!({"name": name, "status": status, "files": [], "duration_ms": 3});
            serde_json::json!({"event": "host", "at": at, "host": host}).to_string()
        }));
        parse_record(id, Path::new("/"), &RunRecord { journal, report: None, is_under_way: false }).unwrap()
    }

    fn rest(newest_first: Vec<KeptRun>) -> (Vec<String>, Vec<String>, Option<String>) {
        let Rest { run, hosts, unsure } = find_rest(newest_first.into_iter(), ["node-1", "node-2"].into_iter());
        let sorted = |names: HashSet<String>| {
            let mut names: Vec<String> = names.into_iter().collect();
            names.sort();
            names
        };
        (sorted(hosts), sorted(unsure), run)
    }

    fn unnamed() -> KeptRun {
        parse_record("0", Path::new("/"), &RunRecord { journal: Vec::new(), report: None, is_under_way: false })
            .unwrap()
    }

    #[test]
    fn what_a_reissue_of_some_hosts_did_not_touch_stays_owed() {
        let both = || reissue("1", &[("node-1", "failed"), ("node-2", "failed")]);
        let one_failed = || reissue("2", &[("node-1", "failed")]);
        let one_done = || reissue("3", &[("node-1", "changed")]);
        assert_eq!(rest(vec![one_done(), one_failed(), both()]), (vec!["node-2".into()], vec![], Some("1".into())));
        assert_eq!(
            rest(vec![one_failed(), both()]),
            (vec!["node-1".into(), "node-2".into()], vec![], Some("2".into()))
        );
        let later = reissue("4", &[("node-1", "unchanged"), ("node-2", "changed")]);
        assert_eq!(rest(vec![later, one_failed(), both()]), (vec![], vec![], None));
    }

    #[test]
    fn who_left_the_inventory_is_owed_nothing() {
        assert_eq!(rest(vec![reissue("1", &[("node-1", "changed"), ("gone", "failed")])]), (vec![], vec![], None));
    }

    #[test]
    fn after_a_run_that_named_no_hosts_only_those_of_a_later_reissue_are_sure() {
        let one = || reissue("1", &[("node-1", "changed")]);
        assert_eq!(rest(vec![one(), unnamed()]), (vec![], vec!["node-2".into()], None));
        assert_eq!(rest(vec![unnamed(), one()]), (vec![], vec!["node-1".into(), "node-2".into()], None));
    }
}
