//! A run over hosts within its limits: wave after wave, each many hosts at a time, and none is begun once the breaker has
//! stopped the run. What is done to a host is not known here.

use super::{
    breaker::Breaker,
    distribute::Fleet,
    fanout::{self, Brake, Progress},
    order::plan_waves,
    report::ErrorReport,
};
use crate::inventory::Host;

/// What is observed; a host is begun by its index.
pub(super) enum Event<'a, T> {
    Started(usize),
    Done(&'a T),
    /// With so many in flight.
    Interrupted(usize),
}

/// Does `work` on every host, by its index, in the order and within the limits of `fleet`; `work` tells the breaker how it
/// went, and gives `None` for a host that it did not begin since it stopped the run. Returns the results in the order of `hosts`, with the reason for a host that was not begun.
pub(super) fn run_in_waves<T: Send>(
    fleet: &Fleet,
    hosts: &[&Host],
    work: impl Fn(usize, &Breaker) -> Option<T> + Sync,
    mut observe: impl FnMut(Event<T>),
) -> Vec<Result<T, ErrorReport>> {
    let waves = plan_waves(hosts, &fleet.limits);
    let allowed = fleet.limits.max_failures.map(|amount| amount.of(hosts.len()));
    let batch = fleet.limits.batch.map_or(hosts.len(), |batch| batch.at_least_one_of(hosts.len()));
    let breaker = Breaker::new(fleet.interrupt, allowed, batch);
    let mut results: Vec<Option<T>> = hosts.iter().map(|_| None).collect();
    for members in &waves {
        let done = fanout::run_on_each(
            members,
            fleet.concurrency,
            &breaker,
            |index| work(*index, &breaker),
            |progress| match progress {
                Progress::Started(at) => observe(Event::Started(members[*at])),
                Progress::Done(_, Some(result)) => observe(Event::Done(result)),
                Progress::Done(_, None) => {}
                Progress::Interrupted(in_flight) => observe(Event::Interrupted(*in_flight)),
            },
        );
        for (index, result) in members.iter().zip(done) {
            results[*index] = result.flatten();
        }
        if breaker.is_on() {
            break;
        }
    }
    results.into_iter().map(|result| result.ok_or_else(|| breaker.reason())).collect()
}
