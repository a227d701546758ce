//! Whether a service has read its file since that last changed: the start of its process against the dates of the file.
//! Where that cannot be told for certain, it is said to be unknown: a restart too many is cheap, an old certificate that
//! passes for the new one is not.

use super::Joined;
use crate::remote::installer::in_use::{FileAge, Moment, Place, Process, Service, ServiceUse};
use jiff::Timestamp;
use serde::{Serialize, Serializer};

/// How a service stands to its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ServiceState {
    /// It was started after the file last changed.
    Current,
    /// It runs since before: it still uses what the file held then.
    Stale,
    /// A kubelet that runs since before, and has a certificate of its own: it needs the token no more.
    Joined,
    NotRunning,
    Unknown,
}

impl ServiceState {
    /// As in documents.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Stale => "stale",
            Self::Joined => "joined",
            Self::NotRunning => "not_running",
            Self::Unknown => "unknown",
        }
    }
}

/// How a service that reads its file whatever else it has stands to that file.
#[must_use]
pub fn service_state(found: &ServiceUse) -> ServiceState {
    HostService::of(found, "", Joined::No).state
}

/// A service on a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HostService {
    #[serde(serialize_with = "name")]
    pub service: Service,
    /// What it reads at its start.
    pub path: String,
    pub state: ServiceState,
    /// Why the state is unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// By the host's clock, as far as known. Of several processes the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_changed: Option<Timestamp>,
    /// It should be restarted.
    pub due: bool,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn name<S: Serializer>(service: &Service, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(service.name())
}

/// A process against its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    After,
    Before,
    Untold,
}

const HIDDEN: &str = "the login user does not see the processes of others";
const NO_DATES: &str = "the file's dates could not be read";
const FOREIGN_FILE: &str = "it runs in a container that has another file there";
const CLOSE: &str = "it was started too close to the change to tell, or the file was moved or its mode changed since";
const SEVERAL: &str = "several processes have its name, some older than the file and some not";
const JOINED_UNKNOWN: &str = "it runs since before, and whether it has a certificate of its own could not be read";

impl HostService {
    pub(super) fn of(found: &ServiceUse, path: &str, joined: Joined) -> Self {
        let processes = found.processes.as_deref().map(candidates);
        let (state, reason) = match (&processes, found.age) {
            (None, _) => (ServiceState::Unknown, Some(HIDDEN)),
            (Some(processes), _) if processes.is_empty() => (ServiceState::NotRunning, None),
            (Some(_), None) => (ServiceState::Unknown, Some(NO_DATES)),
            (Some(processes), Some(age)) => state_of(processes, age, joined),
        };
        let starts = processes.iter().flatten().filter_map(|process| process.started?.timestamp());
        Self {
            service: found.service,
            path: path.to_owned(),
            state,
            reason,
            started: starts.min(),
            file_changed: found.age.and_then(|age| content_changed(age).timestamp()),
            due: state == ServiceState::Stale,
        }
    }
}

/// Those that may be the service: of the host itself where it has any, else of containers; without their own children,
/// which have their parent's name until they run another program.
fn candidates(processes: &[Process]) -> Vec<&Process> {
    let alive: Vec<_> = processes.iter().filter(|process| !process.is_dead).collect();
    let is_child = |process: &Process| alive.iter().any(|other| other.pid == process.parent);
    let first: Vec<_> = alive.iter().copied().filter(|process| !is_child(process)).collect();
    let of_host: Vec<_> = first.iter().copied().filter(|process| process.place == Place::Here).collect();
    if of_host.is_empty() { first } else { of_host }
}

fn state_of(processes: &[&Process], age: FileAge, joined: Joined) -> (ServiceState, Option<&'static str>) {
    if processes.iter().any(|process| process.place == Place::Untold) {
        return (ServiceState::Unknown, Some(HIDDEN));
    }
    if processes.iter().any(|process| process.place == Place::Other) {
        return (ServiceState::Unknown, Some(FOREIGN_FILE));
    }
    let orders: Vec<Order> = processes.iter().map(|process| order(process.started, age)).collect();
    let all = |order| orders.iter().all(|of| *of == order);
    match () {
        () if all(Order::After) => (ServiceState::Current, None),
        () if all(Order::Before) => match joined {
            Joined::Yes => (ServiceState::Joined, None),
            Joined::No => (ServiceState::Stale, None),
            Joined::Unknown => (ServiceState::Unknown, Some(JOINED_UNKNOWN)),
        },
        () if orders.contains(&Order::Untold) => (ServiceState::Unknown, Some(CLOSE)),
        () => (ServiceState::Unknown, Some(SEVERAL)),
    }
}

/// The file had its content at the latest when anything about it last changed, and, where nobody set its date, not before
/// that date.
fn order(started: Option<Moment>, age: FileAge) -> Order {
    match started {
        Some(started) if started.is_not_before(age.changed) => Order::After,
        Some(started) if started.is_before(age.modified) && !age.changed.is_before(age.modified) => Order::Before,
        _ => Order::Untold,
    }
}

fn content_changed(age: FileAge) -> Moment {
    if age.changed.is_before(age.modified) { age.changed } else { age.modified }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGE: FileAge = FileAge { modified: Moment::exactly(100), changed: Moment::exactly(100) };

    fn process(pid: u32, parent: u32, started: i64, place: Place) -> Process {
        Process { pid, parent, is_dead: false, started: Some(Moment::exactly(started)), place }
    }

    fn state(processes: &[Process], age: Option<FileAge>, joined: Joined) -> ServiceState {
        let found = ServiceUse { service: Service::Kubelet, file: 0, age, processes: Some(processes.to_vec()) };
        let judged = HostService::of(&found, "/f", joined);
        assert_eq!(judged.reason.is_some(), judged.state == ServiceState::Unknown, "{judged:?}");
        assert_eq!(judged.due, judged.state == ServiceState::Stale);
        judged.state
    }

    #[test]
    fn a_process_is_held_against_both_dates_of_its_file() {
        let here = |started| [process(7, 1, started, Place::Here)];
        let rolled_back = FileAge { modified: Moment::exactly(50), changed: Moment::exactly(100) };
        let dated_ahead = FileAge { modified: Moment::exactly(900), changed: Moment::exactly(100) };
        for (started, age, expected) in [
            (100, AGE, ServiceState::Current),
            (99, AGE, ServiceState::Stale),
            (40, rolled_back, ServiceState::Stale),
            (60, rolled_back, ServiceState::Unknown),
            (100, rolled_back, ServiceState::Current),
            (60, dated_ahead, ServiceState::Unknown),
            (100, dated_ahead, ServiceState::Current),
        ] {
            assert_eq!(state(&here(started), Some(age), Joined::No), expected, "{started} {age:?}");
        }
        assert_eq!(state(&here(99), None, Joined::No), ServiceState::Unknown);
        let untold = Process { started: None, ..here(99)[0] };
        assert_eq!(state(&[untold], Some(AGE), Joined::No), ServiceState::Unknown);
    }

    #[test]
    fn a_kubelet_with_a_certificate_of_its_own_needs_no_restart() {
        let old = [process(7, 1, 10, Place::Here)];
        assert_eq!(state(&old, Some(AGE), Joined::Yes), ServiceState::Joined);
        assert_eq!(state(&old, Some(AGE), Joined::Unknown), ServiceState::Unknown);
        assert_eq!(state(&[process(7, 1, 100, Place::Here)], Some(AGE), Joined::Unknown), ServiceState::Current);
    }

    #[test]
    fn of_several_processes_the_hosts_own_count_and_must_agree() {
        use Place::{Here, Other, Shares, Untold};
        let dead = Process { is_dead: true, ..process(9, 1, 200, Here) };
        let of = |processes: &[Process]| state(processes, Some(AGE), Joined::No);
        for (processes, expected) in [
            (vec![], ServiceState::NotRunning),
            (vec![dead], ServiceState::NotRunning),
            (vec![process(7, 1, 10, Here), dead], ServiceState::Stale),
            // Its own child, about to run another program.
            (vec![process(7, 1, 10, Here), process(8, 7, 200, Here)], ServiceState::Stale),
            (vec![process(7, 1, 10, Here), process(8, 1, 200, Here)], ServiceState::Unknown),
            (vec![process(7, 1, 10, Here), process(8, 1, 20, Here)], ServiceState::Stale),
            (vec![process(7, 1, 10, Here), process(8, 1, 200, Shares)], ServiceState::Stale),
            (vec![process(8, 1, 200, Shares)], ServiceState::Current),
            (vec![process(8, 1, 10, Shares)], ServiceState::Stale),
            (vec![process(8, 1, 10, Other)], ServiceState::Unknown),
            (vec![process(8, 1, 10, Shares), process(9, 1, 10, Other)], ServiceState::Unknown),
            (vec![process(8, 1, 10, Untold)], ServiceState::Unknown),
            (vec![process(8, 1, 10, Untold), process(9, 1, 200, Here)], ServiceState::Current),
        ] {
            assert_eq!(of(&processes), expected, "{processes:?}");
        }
        let blind = ServiceUse { service: Service::KubeProxy, file: 0, age: Some(AGE), processes: None };
        assert_eq!(HostService::of(&blind, "/f", Joined::No).reason, Some(HIDDEN));
    }
}
