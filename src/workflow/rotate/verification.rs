//! Before a token is retired: every node holds the file that it should, every apiserver knows the token in it.

use super::{bench::Course, nodes, secrets::stop_of, stop::Stop};
use crate::{
    bundle::FileKind,
    inventory::{Host, KubeletRestart},
    remote::{
        self,
        installer::{self, FileState},
    },
    workflow::{
        fanout::{self, Progress},
        report::ErrorReport,
    },
};

pub(super) fn verify(course: &mut Course) -> Result<(), Stop> {
    look_at_nodes(course)?;
    look_at_apiservers(course)?;
    look_at_kubelets(course)
}

fn look_at_nodes(course: &mut Course) -> Result<(), Stop> {
    let bench = course.bench;
    let fleet = bench.fleet;
    let is_done = |host: &&Host| !course.pending.contains_key(host.name.as_str());
    let hosts: Vec<&Host> = course.nodes().into_iter().filter(is_done).collect();
    let bundles = course.bundles(&hosts, FileKind::BootstrapKubeconfig)?;
    let probe = |bundle: &crate::bundle::Bundle| match installer::probe_host(
        fleet.remote,
        bundle.host,
        &bundle.files,
        fleet.foreign,
        fleet.entropy,
    ) {
        Err(error) => Some(ErrorReport::of_host(&error)),
        Ok(view) if view.files.iter().all(|file| file.state == FileState::Matches) => None,
        Ok(_) => Some(ErrorReport {
            code: "not_switched",
            message: "it does not hold the bootstrap.kubeconfig that was installed there".into(),
            hint: "somebody else writes there: find out who, then `kubemint rotate token --resume`".into(),
        }),
    };
    let lost = || Some(ErrorReport::of_host(&remote::Error::Bug));
    let guarded = |bundle: &crate::bundle::Bundle| fanout::guarded(|| probe(bundle), lost);
    let found = fanout::run_on_each(&bundles, fleet.concurrency, fleet.interrupt, guarded, |progress| {
        if let Progress::Interrupted(in_flight) = progress {
            bench.observer.interrupted(*in_flight);
        }
    });
    for (bundle, fault) in bundles.iter().zip(found) {
        match fault {
            Some(None) => {}
            Some(Some(fault)) => course.hold(bundle.host.name.as_str(), fault),
            None => return Err(Stop::interrupted()),
        }
    }
    Ok(())
}

fn look_at_apiservers(course: &Course) -> Result<(), Stop> {
    let tokens = course.tokens()?;
    let (carrier, new) = (course.record.carrier(), course.record.new);
    for host in course.bench.control_plane() {
        let cluster = course.bench.cluster(host)?;
        tokens
            .check(cluster.as_ref(), course.record.tokens())
            .map_err(|ailment| stop_of(carrier, new, &ailment).at(host))?;
    }
    Ok(())
}

/// A kubelet that had joined, was restarted here and did not come back.
fn look_at_kubelets(course: &mut Course) -> Result<(), Stop> {
    if course.bench.inventory.services.kubelet_restart != KubeletRestart::Always {
        return Ok(());
    }
    let readiness = nodes::readiness(course)?;
    let away: Vec<String> =
        course.record.restarted.iter().filter(|name| readiness.get(*name) == Some(&false)).cloned().collect();
    for name in away {
        let why = ErrorReport {
            code: "node_not_ready",
            message: "its kubelet was restarted, and the node is not ready".into(),
            hint: "look at the kubelet's log on that host; `kubemint rebootstrap` makes it join anew".into(),
        };
        course.hold(&name, why);
    }
    Ok(())
}
