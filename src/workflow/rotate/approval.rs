//! What nodes ask for while their bootstrap.kubeconfig is new: approved as the inventory expects, for as long as nodes that
//! were restarted have not joined. Nothing here holds a rotation up: a request that is left is told, and `approve` is there.

use super::{bench::Course, nodes, report::Approved, stop::Stop};
use crate::{
    cluster::Cluster,
    rotation::{Mode, Record},
    workflow::approve::{Act, Expectations, Outcome, Round, run_round, shared_holders, token_holders},
};
use jiff::{SignedDuration, Timestamp};
use std::{
    collections::{BTreeMap, BTreeSet},
    thread,
    time::{Duration, Instant},
};

const BETWEEN_ROUNDS: Duration = Duration::from_secs(1);

pub(super) fn approve(course: &mut Course) -> Result<(), Stop> {
    let until = Instant::now() + course.bench.inventory.services.restart_timeout;
    let mut told: BTreeMap<String, String> = BTreeMap::new();
    loop {
        let waiting = match look(course, &mut told) {
            Ok(waiting) => waiting,
            Err(what) => {
                course.remarks.push(format!("requests of nodes could not be looked at: {what}"));
                break;
            }
        };
        if waiting.is_empty() || Instant::now() >= until {
            for name in waiting {
                course.remarks.push(format!("{name} was restarted and has not joined: `kubemint approve {name}`"));
            }
            break;
        }
        course.stop_if_interrupted()?;
        thread::sleep(BETWEEN_ROUNDS);
    }
    course.remarks.extend(told.into_values());
    course.stop_if_interrupted()
}

/// Notes which requests were made before a leaked token was refused everywhere: they are left to a person.
pub(super) fn draw_line(course: &mut Course) {
    if course.record.mode != Mode::RevokeNow || course.record.distrusted_until.is_some() {
        return;
    }
    let drawn = on_any(course, |cluster| cluster.signing_requests()).and_then(|requests| {
        let last = requests.iter().map(|request| request.created).max().unwrap_or(Timestamp::UNIX_EPOCH);
        let record = Record { distrusted_until: Some(last), ..course.record.clone() };
        course.commit(record).map_err(|stop| stop.why.message)
    });
    if let Err(what) = drawn {
        course.remarks.push(format!("requests of nodes could not be looked at, and none is approved: {what}"));
    }
}

/// One round; gives the nodes that were restarted and have not joined.
fn look(course: &mut Course, told: &mut BTreeMap<String, String>) -> Result<BTreeSet<String>, String> {
    let tokens = course.tokens().map_err(|stop| stop.why.message)?;
    // A Secret's user has its token's id in its name: nodes may still ask as the old one.
    let (inventory, state) = (course.bench.inventory, course.snapshot.state.as_ref());
    let mut requesters = token_holders(inventory, state);
    requesters.extend(shared_holders(inventory, state, tokens.holders()));
    let mut expectations = Expectations::of_inventory(inventory, requesters, course.bench.fleet.clock.now());
    if course.record.is_of_some_nodes() {
        expectations = expectations.only(&course.record.nodes.keys().cloned().collect());
    }
    if course.record.mode == Mode::RevokeNow {
        let Some(line) = course.record.distrusted_until else { return Ok(BTreeSet::new()) };
        // Times are whole seconds there.
        expectations.since = expectations.since.max(line.saturating_add(SignedDuration::from_secs(1)).unwrap_or(line));
    }
    let Round { judged, .. } = on_any(course, |cluster| run_round(cluster, &expectations, Act::Decide))?;
    told.clear();
    for entry in judged {
        match (&entry.outcome, &entry.node) {
            (Outcome::Approved, Some(node)) => {
                course.bench.observer.step(node, &format!("request {} approved", entry.name));
                course.approved.push(Approved { node: node.clone(), request: entry.name });
            }
            (Outcome::Failed(error), _) => {
                told.insert(entry.name.clone(), format!("request {} could not be decided: {error}", entry.name));
            }
            _ => {
                if let Some((reason, detail)) = entry.reason() {
                    let what = format!("request {} is left: {} ({detail})", entry.name, reason.code());
                    told.insert(entry.name.clone(), what);
                }
            }
        }
    }
    let readiness = nodes::readiness(course).map_err(|stop| stop.why.message)?;
    let is_away = |name: &&String| readiness.get(*name) != Some(&true);
    Ok(course.record.restarted.iter().filter(is_away).cloned().collect())
}

/// By the first apiserver that answers.
fn on_any<T>(course: &Course, ask: impl Fn(&dyn Cluster) -> Result<T, crate::cluster::Error>) -> Result<T, String> {
    let mut last = "there is no control-plane host".to_owned();
    for host in course.bench.control_plane() {
        let cluster = course.bench.cluster(host).map_err(|stop| stop.why.message)?;
        match ask(cluster.as_ref()) {
            Ok(answer) => return Ok(answer),
            Err(error) => last = error.to_string(),
        }
    }
    Err(last)
}
