//! bootstrap.kubeconfig to the nodes, in batches and within the limits of any run; kubelets are restarted where the
//! inventory says so. One that has joined ignores that file. A node that fails holds up nothing but the retirement.

use super::{bench::Course, report::NodeStep, stop::Stop};
use crate::{
    bundle::{Bundle, FileKind},
    inventory::{Host, KubeletRestart, Role, Services},
    remote::{
        self,
        service::{self, Complaint},
    },
    rotation::{Carrier, Record},
    workflow::{
        breaker::Breaker,
        distribute::{self, Fleet},
        report::{ErrorReport, HostReport, HostStatus},
        twins::Twins,
    },
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError},
};

/// Readiness of the cluster's nodes, by name.
pub(super) type Readiness = BTreeMap<String, bool>;

pub(super) fn switch(course: &mut Course) -> Result<(), Stop> {
    let bench = course.bench;
    let nodes = course.nodes();
    let readiness = match bench.inventory.services.kubelet_restart {
        KubeletRestart::Unjoined if bench.inventory.services.kubelet.is_some() => readiness(course)?,
        _ => Readiness::new(),
    };
    let due: BTreeSet<&str> =
        nodes.iter().map(|host| host.name.as_str()).filter(|name| is_restart_due(course, &readiness, name)).collect();
    let (fleet, services) = (bench.fleet, &bench.inventory.services);
    let restarted = Mutex::new(BTreeSet::new());
    let (reports, journaled) = work(course, &nodes, |bundle, report, breaker| {
        let name = bundle.host.name.as_str();
        if !due.contains(name) || !matches!(report.status, HostStatus::Changed | HostStatus::Unchanged) {
            return report;
        }
        match restart(fleet, services, bundle.host) {
            Ok(()) => {
                restarted.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned());
                report
            }
            Err(error) => {
                breaker.count_undone();
                HostReport { status: HostStatus::Failed, error: Some(error), ..report }
            }
        }
    })?;
    let restarted = restarted.into_inner().unwrap_or_else(PoisonError::into_inner);
    keep(course, reports, &restarted);
    // What was done is told and stored, whatever became of the journal.
    if !restarted.is_subset(&course.record.restarted) {
        let all = course.record.restarted.union(&restarted).cloned().collect();
        course.commit(Record { restarted: all, ..course.record.clone() })?;
    }
    journaled?;
    course.stop_if_interrupted()
}

/// token.csv once more, without the retired token, for nodes that have a copy of it: nobody reads it there.
pub(super) fn spread_token_file(course: &mut Course) -> Result<(), Stop> {
    if course.record.carrier() == Carrier::Secrets {
        return Ok(());
    }
    let wants = |host: &&Host| host.token_csv_on_nodes && !host.roles.contains(Role::ControlPlane);
    let nodes: Vec<&Host> = course.nodes().into_iter().filter(wants).collect();
    if nodes.is_empty() {
        return Ok(());
    }
    let (reports, journaled) = work(course, &nodes, |_, report, _| report)?;
    for report in &reports {
        if let Some(error) = &report.error {
            course.remarks.push(format!("{}: token.csv is not up to date there: {}", report.name, error.message));
        }
    }
    journaled
}

/// Installs, does what is to be done after that, and journals; also gives what became of the journal.
fn work<'h>(
    course: &Course,
    nodes: &[&'h Host],
    after: impl Fn(&Bundle<'h>, HostReport, &Breaker) -> HostReport + Sync,
) -> Result<(Vec<HostReport>, Result<(), Stop>), Stop> {
    let bench = course.bench;
    let bundles = course.bundles(nodes, FileKind::BootstrapKubeconfig)?;
    let twins = Twins::new(&bundles);
    bench.observer.nodes_begun(nodes.len());
    let (reports, journaled) =
        distribute::work_on_hosts(bench.fleet, &bundles, bench.journal, bench.observer, |index, breaker| {
            let bundle = &bundles[index];
            let report = distribute::install(bench.fleet, bundle, &twins.visit(index), breaker);
            after(bundle, report, breaker)
        });
    bench.observer.nodes_ended();
    Ok((reports, journaled.map_err(|e| Stop::of_store(&e))))
}

fn keep(course: &mut Course, reports: Vec<HostReport>, restarted: &BTreeSet<String>) {
    course.pending.clear();
    course.reports.clear();
    for report in reports {
        let kubelet = restarted.contains(&report.name).then_some("restarted");
        let step = NodeStep { name: report.name.clone(), status: report.status, kubelet, error: report.error.clone() };
        course.nodes.insert(report.name.clone(), step);
        if let Some(error) = &report.error {
            course.hold(&report.name, error.clone());
        }
        course.reports.push(report);
    }
}

fn is_restart_due(course: &Course, readiness: &Readiness, name: &str) -> bool {
    let services = &course.bench.inventory.services;
    if services.kubelet.is_none() || course.record.restarted.contains(name) {
        return false;
    }
    match services.kubelet_restart {
        KubeletRestart::Never => false,
        KubeletRestart::Always => true,
        KubeletRestart::Unjoined => readiness.get(name) != Some(&true),
    }
}

fn restart(fleet: &Fleet, services: &Services, host: &Host) -> Result<(), ErrorReport> {
    let Some(command) = &services.kubelet else { return Ok(()) };
    let hint = "look at the kubelet's log on that host and fix it; then `kubemint rotate token --resume`";
    let failed = |code, message: String| ErrorReport { code, message, hint: hint.to_owned() };
    match service::run_command(fleet.remote, host, command, services.restart_timeout, fleet.entropy) {
        Ok(outcome) => match outcome.complaint() {
            None => Ok(()),
            Some(Complaint { code, how }) => Err(failed(code, format!("the restart of the kubelet {how}"))),
        },
        Err(error @ remote::Error::CommandOutcomeUnknown { .. }) => Err(failed(error.code(), error.to_string())),
        Err(error) => Err(ErrorReport::of_host(&error)),
    }
}

/// Which nodes there are, by the first apiserver that says.
pub(super) fn readiness(course: &Course) -> Result<Readiness, Stop> {
    let mut last = None;
    for host in course.bench.control_plane() {
        match course.bench.cluster(host)?.nodes() {
            Ok(nodes) => return Ok(nodes.into_iter().map(|node| (node.name, node.ready)).collect()),
            Err(error) => last = Some(Stop::of_cluster(&error)),
        }
    }
    let none = || Stop::new("no_control_plane", "there is no control-plane host", "");
    Err(last.unwrap_or_else(none))
}
