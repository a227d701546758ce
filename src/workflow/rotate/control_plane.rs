//! token.csv to the control-plane hosts, one after the other: install, restart, ready again, and each token known or
//! refused as the stage wants it, before the next host is touched. While one of the others is not ready none is restarted.

use super::{
    bench::Course,
    stop::{Ailment, Stop},
    tokens::TokenPair,
};
use crate::{
    bundle::{Bundle, FileKind, HostFile},
    cluster::Cluster,
    inventory::{Host, HostName},
    remote::{
        self, Effect,
        installer::{self, Action, FileState, ForeignPolicy, in_use::Service},
        service,
    },
    rotation::{Carrier, Mode},
    workflow::{
        distribute,
        report::{HostReport, HostStatus, SeenService},
        upkeep::ServiceState,
    },
};
use std::{
    thread,
    time::{Duration, Instant},
};

/// How long another apiserver may take to answer before it counts as down.
const PATIENCE_WITH_OTHERS: Duration = Duration::from_secs(10);
/// Between two questions to an apiserver that is not there yet.
const BETWEEN_QUESTIONS: Duration = Duration::from_millis(250);
/// What an apiserver has at least once its restart command has ended.
const AT_LEAST: Duration = Duration::from_secs(5);

pub(super) fn bring(course: &mut Course) -> Result<(), Stop> {
    let bench = course.bench;
    let mut hosts = bench.control_plane();
    let tokens = course.tokens()?;
    // One that is down comes first: to restart it can take no other one away.
    let mut is_down = Vec::new();
    for host in &hosts {
        is_down.push((host.name.clone(), bench.cluster(host)?.readyz().is_err()));
    }
    let down: Vec<HostName> = is_down.into_iter().filter(|(_, down)| *down).map(|(name, _)| name).collect();
    // A leaked token is dropped first where that can be done: one that was down before is not down because of us.
    let revokes = course.record.mode == Mode::RevokeNow;
    hosts.sort_by_key(|host| down.contains(&host.name) == revokes);
    for bundle in course.bundles(&hosts, FileKind::TokenCsv)? {
        course.stop_if_interrupted()?;
        bench.begin(bundle.host)?;
        let began = Instant::now();
        let (report, stop) = match bring_one(course, &bundle, &tokens, if revokes { &down } else { &[] }) {
            Ok(report) => (report, None),
            Err(failed) => (failed.0, Some(failed.1)),
        };
        let took = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let report = HostReport { duration_ms: took, ..report };
        let journaled = bench.end(&report);
        course.control_plane.retain(|other| other.name != report.name);
        let is_untouched = report.untouched;
        course.control_plane.push(report);
        match stop {
            None => {}
            // A leaked token is dropped where that can be done; this host is as it was, or was down before.
            Some(stop) if revokes && (is_untouched || down.contains(&bundle.host.name)) => {
                course.held_up.get_or_insert(stop);
            }
            Some(stop) => return Err(stop),
        }
        // After what stands in the way on the host: that tells more.
        journaled?;
    }
    Ok(())
}

type Failed = Box<(HostReport, Stop)>;

fn bring_one(
    course: &Course,
    bundle: &Bundle,
    tokens: &TokenPair,
    given_up: &[HostName],
) -> Result<HostReport, Failed> {
    let (bench, host) = (course.bench, bundle.host);
    let fleet = bench.fleet;
    let say = |what: &str| bench.observer.step(host.name.as_str(), what);
    let plain = |status| distribute::host_report(host, status, Vec::new(), None, 1, Duration::ZERO);
    let fail = |report: HostReport, stop: Stop| {
        let error = Some(stop.why.clone());
        Box::new((HostReport { status: HostStatus::Failed, error, ..report }, stop.at(host)))
    };
    let of_remote = |error: &remote::Error, effect: Effect| {
        let untouched = effect == Effect::Untouched;
        fail(HostReport { untouched, ..plain(HostStatus::Failed) }, Stop::of_remote(error))
    };
    let cluster = bench.cluster(host).map_err(|stop| fail(plain(HostStatus::Failed), stop))?;
    let wanted = course.record.tokens();
    // Without our row the file on the host looks like somebody else's; whether it is shows below.
    let is_migration = course.record.carrier() == Carrier::Migration;
    let looked_at = if is_migration { ForeignPolicy::Replace } else { fleet.foreign };
    // A probe changes nothing, however it ends.
    let view = installer::probe_host(fleet.remote, host, &bundle.files, looked_at, fleet.entropy)
        .map_err(|e| of_remote(&e, Effect::Untouched))?;
    let is_right = view.files.iter().all(|file| file.state == FileState::Matches);
    if is_right && tokens.check(cluster.as_ref(), wanted).is_ok() {
        say("has it already");
        return Ok(HostReport { services: up_to_date(), ..plain(HostStatus::Unchanged) });
    }
    let foreign = if is_right { Ok(looked_at) } else { policy(course, bundle) };
    let foreign = foreign.map_err(|stop| fail(plain(HostStatus::Failed), stop))?;
    others_are_ready(course, host, given_up).map_err(|stop| fail(plain(HostStatus::Failed), stop))?;
    let alone = |_: &remote::Peer| Ok(Vec::new());
    let outcome = installer::install_once(fleet.remote, host, &bundle.files, foreign, fleet.entropy, &alone)
        .map_err(|failure| of_remote(&failure, failure.effect))?;
    let report = distribute::installed(bundle, &outcome, Duration::ZERO);
    let has_new_content = |action| matches!(action, Action::Created | Action::Updated);
    if outcome.files.iter().any(|file| has_new_content(file.action)) {
        say("token.csv installed");
    } else if tokens.check(cluster.as_ref(), wanted).is_ok() {
        return Ok(report);
    }
    let until = Instant::now() + bench.inventory.services.restart_timeout;
    let restart = restart(course, host).map_err(|stop| fail(report.clone(), stop))?;
    say("kube-apiserver restarted");
    match wait_until_well(cluster.as_ref(), tokens, course, until.max(Instant::now() + AT_LEAST)) {
        Ok(()) => {
            say("ready, tokens as they should be");
            Ok(HostReport { status: HostStatus::Changed, services: up_to_date(), ..report })
        }
        Err(ailment) => Err(fail(report, ailment.stop(restart.as_deref()))),
    }
}

/// The apiserver was asked for the tokens of its file: no earlier run owes it a restart.
fn up_to_date() -> Vec<SeenService> {
    vec![SeenService::new(Service::KubeApiserver.name(), Some(ServiceState::Current))]
}

/// A file that loses our row and keeps the others has no row of ours any more: it is put in the place of the very file
/// that it came from, and of no other.
fn policy(course: &Course, bundle: &Bundle) -> Result<ForeignPolicy, Stop> {
    let (fleet, host) = (course.bench.fleet, bundle.host);
    if course.record.carrier() != Carrier::Migration {
        return Ok(fleet.foreign);
    }
    let before = course.token_file_before()?;
    let files = bundle.files.iter().filter(|file| file.kind == FileKind::TokenCsv);
    let files: Vec<HostFile> = files.map(|file| file.holding(before.clone())).collect();
    let view = installer::probe_host(fleet.remote, host, &files, ForeignPolicy::Replace, fleet.entropy)
        .map_err(|e| Stop::of_remote(&e))?;
    if view.files.iter().all(|file| matches!(file.state, FileState::Matches | FileState::WrongAttributes)) {
        return Ok(ForeignPolicy::Replace);
    }
    let hint = "somebody else writes there: put the earlier file back (`kubemint token show` names our token), then \
                `kubemint rotate token --resume`";
    Err(Stop::new("token_file_differs", "token.csv is not what it was when the migration began", hint))
}

/// Gives how it ended, where it may have come to something all the same: what counts is the apiserver itself.
fn restart(course: &Course, host: &Host) -> Result<Option<String>, Stop> {
    let (bench, services) = (course.bench, &course.bench.inventory.services);
    let Some(command) = &services.kube_apiserver else {
        return Err(Stop::new("no_restart_command", "services.kube-apiserver is not set", "set it in the inventory"));
    };
    let (remote, entropy) = (bench.fleet.remote, bench.fleet.entropy);
    match service::run_command(remote, host, command, services.restart_timeout, entropy) {
        Ok(outcome) => Ok(outcome.complaint().map(|complaint| format!("the restart command {}", complaint.how))),
        Err(error @ remote::Error::CommandOutcomeUnknown { .. }) => Ok(Some(error.to_string())),
        Err(error) => Err(Stop::of_remote(&error)),
    }
}

fn wait_until_well(cluster: &dyn Cluster, tokens: &TokenPair, course: &Course, until: Instant) -> Result<(), Ailment> {
    loop {
        match tokens.check(cluster, course.record.tokens()) {
            Err(ailment) if Instant::now() >= until => return Err(ailment),
            Err(_) => thread::sleep(BETWEEN_QUESTIONS),
            Ok(()) => return Ok(()),
        }
    }
}

/// Never two down because of us.
fn others_are_ready(course: &Course, host: &Host, given_up: &[HostName]) -> Result<(), Stop> {
    let until = Instant::now() + PATIENCE_WITH_OTHERS;
    for other in course
        .bench
        .control_plane()
        .into_iter()
        .filter(|other| other.name != host.name && !given_up.contains(&other.name))
    {
        let cluster = course.bench.cluster(other)?;
        while let Err(error) = cluster.readyz() {
            if Instant::now() >= until {
                let what = format!("{} is not touched while {} is not ready: {error}", host.name, other.name);
                let hint = "fix kube-apiserver there, then `kubemint rotate token --resume`";
                return Err(Stop::new("other_apiserver_not_ready", what, hint));
            }
            thread::sleep(BETWEEN_QUESTIONS);
        }
    }
    Ok(())
}
