//! Restarts that earlier runs made due and told nobody of: the answer of a host was lost, or kubemint was killed. They are
//! still due in the next run, whatever that run itself changes, until the service was restarted by a run or is seen to have
//! read its file.
//!
//! Worked out of the records of runs, newest first. A run of `apply` or `distribute` notes what was owed when it started, so
//! that the search ends there.

use super::{
    distribute::Fleet,
    journal::Line,
    kept_run::{KeptHost, KeptRun, RunState},
    reissue,
    report::{HostReport, HostStatus, SeenService},
    restarts::{READERS, Reader, has_new_content},
    runs::parse_record,
    upkeep::service_state,
};
use crate::{
    bundle::Bundle,
    inventory::{Inventory, Role},
    remote::installer::in_use::probe_host_in_use,
    store::{self, RunId, Runs},
};
use serde::de::IgnoredAny;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// Hosts by the service that is to be restarted there.
pub(super) type ByService = BTreeMap<String, BTreeSet<String>>;

/// What earlier runs owe.
#[derive(Debug, Default)]
pub struct Debts {
    /// Of the inventory.
    hosts: ByService,
    /// Includes hosts that are not in the inventory at present: they may come back.
    all: ByService,
    /// A run that may owe more is still under way, or cannot be read: this is not for later runs to rely on.
    is_provisional: bool,
}

impl Debts {
    /// Whether the service is to be restarted on the host for an earlier run.
    #[must_use]
    pub fn has(&self, service: &str, host: &str) -> bool {
        self.hosts.get(service).is_some_and(|hosts| hosts.contains(host))
    }

    /// For the first line of a run's journal.
    pub(super) fn to_note(&self) -> Option<&ByService> {
        (!self.is_provisional).then_some(&self.all)
    }
}

/// What the runs before `own`, or all of them, owe to the hosts of the inventory.
///
/// # Errors
/// As [`Runs::list`]. A record that cannot be read is for `runs show` to tell of.
pub fn find_debts(runs: &Runs, own: Option<&RunId>, inventory: &Inventory) -> Result<Debts, store::Error> {
    let mut ledger = Ledger::default();
    for id in runs.list()?.iter().rev().filter(|id| Some(*id) != own) {
        if runs.number(id).is_none() && runs.last_line(id).is_some_and(|line| ends_well(&line)) {
            continue;
        }
        let read = runs.read(id).and_then(|record| parse_record(id.as_str(), &runs.path(id), &record));
        match read {
            Ok(run) if ledger.enter(&run) == Search::Over => break,
            Ok(_) => {}
            Err(_) => ledger.is_provisional = true,
        }
    }
    let Ledger { owed: mut all, is_provisional, .. } = ledger;
    let roles: HashMap<&str, _> = inventory.hosts.iter().map(|host| (host.name.as_str(), &host.roles)).collect();
    for reader in &READERS {
        if let Some(hosts) = all.get_mut(reader.service) {
            hosts.retain(|name| roles.get(name.as_str()).is_none_or(|roles| roles.contains(reader.role)));
        }
    }
    let mut hosts = all.clone();
    for of_service in hosts.values_mut() {
        of_service.retain(|name| roles.contains_key(name.as_str()));
    }
    for map in [&mut all, &mut hosts] {
        map.retain(|_, hosts| !hosts.is_empty());
    }
    Ok(Debts { hosts, all, is_provisional })
}

/// Whether it is the last line of a run that ended without a host of which nobody knows the outcome.
fn ends_well(line: &str) -> bool {
    matches!(serde_json::from_str::<Line<IgnoredAny>>(line), Ok(Line::Finished { summary: Some(counts), .. }) if counts.failed == 0)
}

/// Whether earlier runs can tell more.
#[derive(Debug, PartialEq, Eq)]
enum Search {
    GoesOn,
    Over,
}

/// What is known so far; runs are entered newest first.
#[derive(Debug, Default)]
struct Ledger {
    owed: ByService,
    /// Service and host of which a later run tells.
    decided: HashSet<(String, String)>,
    is_provisional: bool,
}

impl Ledger {
    fn enter(&mut self, run: &KeptRun) -> Search {
        self.is_provisional |= run.state == RunState::Running;
        for reader in READERS.iter().filter(|reader| is_concerned(run, reader)) {
            for host in &run.hosts {
                match effect(run, host, reader) {
                    Effect::None => {}
                    Effect::Settles => drop(self.decide(reader.service, &host.name)),
                    Effect::Owes => self.owe(reader.service, &host.name),
                }
            }
        }
        let Some(noted) = &run.owed else { return Search::GoesOn };
        for (service, hosts) in noted {
            hosts.iter().for_each(|host| self.owe(service, host));
        }
        Search::Over
    }

    /// Whether no later run had decided it.
    fn decide(&mut self, service: &str, host: &str) -> bool {
        self.decided.insert((service.to_owned(), host.to_owned()))
    }

    fn owe(&mut self, service: &str, host: &str) {
        if self.decide(service, host) {
            self.owed.entry(service.to_owned()).or_default().insert(host.to_owned());
        }
    }
}

/// Whether the run may have installed what the service reads.
fn is_concerned(run: &KeptRun, reader: &Reader) -> bool {
    match run.command.as_deref() {
        _ if run.is_rebootstrap() => false,
        _ if run.is_rotation() => reader.role == Role::ControlPlane,
        Some(reissue::COMMAND) => reader.role == Role::Node,
        _ => true,
    }
}

/// What a host's end in a run means for a service there.
#[derive(Debug, PartialEq, Eq)]
enum Effect {
    None,
    Settles,
    Owes,
}

fn effect(run: &KeptRun, host: &KeptHost, reader: &Reader) -> Effect {
    // It was asked for, or told of, by a run that came to its end, where there is nobody to look.
    let is_told = run.state == RunState::Finished;
    let is_settled = |seen: &SeenService| {
        seen.service == reader.service && (seen.has_read_its_file() || is_told && seen.cannot_be_seen())
    };
    if host.seen_services().iter().any(is_settled) || host.was_restarted(reader.service) {
        return Effect::Settles;
    }
    let holds = |path: &str| path.ends_with(&format!("/{}", reader.file.relative_path()));
    let has_new = host.files.iter().any(|file| holds(&file.path) && is_new(&file.action));
    let is_open = run.state == RunState::Running && host.status == HostStatus::InFlight;
    match host.is_outcome_unknown() && !is_open || !is_told && run.state != RunState::Running && has_new {
        true => Effect::Owes,
        false => Effect::None,
    }
}

fn is_new(action: &str) -> bool {
    use crate::remote::installer::Action;
    [Action::Created, Action::Updated, Action::Restored].iter().any(|new| new.name() == action)
}

/// Looks whether the services that are owed a restart have read their files since, on a host that this run left as it was.
/// What cannot be seen stays due.
pub(super) fn look_at_services(fleet: &Fleet, bundle: &Bundle, debts: &Debts, report: HostReport) -> HostReport {
    let name = report.name.as_str();
    let is_open = |reader: &&Reader| {
        debts.has(reader.service, name)
            && !report.files.iter().any(|file| file.kind == reader.file && has_new_content(file.action))
    };
    let open: Vec<&Reader> = READERS.iter().filter(is_open).collect();
    if open.is_empty() || !matches!(report.status, HostStatus::Changed | HostStatus::Unchanged) {
        return report;
    }
    let probed = probe_host_in_use(fleet.remote, bundle.host, &bundle.files, fleet.foreign, fleet.entropy);
    let found = match probed {
        Ok(view) => view.in_use.unwrap_or_default().services,
        Err(error) => {
            tracing::info!(host = name, code = error.code(), "cannot see whether a restart is still due: {error}");
            return report;
        }
    };
    let see = |reader: &&Reader| {
        let state = found.iter().find(|found| found.service.name() == reader.service).map(service_state);
        SeenService::new(reader.service, state)
    };
    HostReport { services: open.iter().map(see).collect(), ..report }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::RunRecord;
    use serde_json::{Value, json};
    use std::path::Path;

    /// A run of `command` that ended, or not, with these lines of hosts.
    fn run(command: &str, finished: bool, owed: Option<Value>, hosts: &[Value]) -> KeptRun {
        let at = "2026-11-22T08:00:00Z";
        let names: Vec<&Value> = hosts.iter().map(|host| &host["name"]).collect();
        let mut first = json!({"event": "started", "at": at, "command": command, "generation": 3, "hosts": names});
        if let Some(owed) = owed {
            first["owed"] = owed;
        }
        let mut lines = vec![first];
        for host in hosts {
            lines.push(match host["status"] == "in_flight" {
                true => json!({"event": "begun", "at": at, "host": host["name"]}),
                false => json!({"event": "host", "at": at, "host": host}),
            });
        }
        if finished {
            lines.push(json!({"event": "finished", "at": at, "summary": {"failed": 0}}));
        }
        let journal = lines.iter().map(ToString::to_string).collect();
        parse_record("id", Path::new("/"), &RunRecord { journal, report: None, is_under_way: false }).unwrap()
    }

    fn host(status: &str, more: &Value) -> Value {
        let mut host = json!({"name": "a", "status": status, "files": [], "duration_ms": 1});
        host.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        host
    }

    /// The services that are owed to host a.
    fn owed(newest_first: &[KeptRun]) -> Vec<String> {
        let mut ledger = Ledger::default();
        for run in newest_first {
            if ledger.enter(run) == Search::Over {
                break;
            }
        }
        ledger.owed.into_iter().filter(|(_, hosts)| hosts.contains("a")).map(|(service, _)| service).collect()
    }

    fn lost() -> KeptRun {
        run("apply", true, None, &[host("failed", &json!({}))])
    }

    fn seen(state: &str) -> Value {
        json!({"services": [{"service": "kube-proxy", "state": state}]})
    }

    const BOTH: [&str; 2] = ["kube-apiserver", "kube-proxy"];

    #[test]
    fn who_may_owe_a_restart() {
        let file = json!({"files": [{"path": "/etc/kubernetes/kube-proxy.kubeconfig", "action": "updated"}]});
        for (run, expected) in [
            (lost(), &BOTH[..]),
            (run("apply", true, None, &[host("failed", &json!({"untouched": true}))]), &[]),
            (run("distribute", false, None, &[host("in_flight", &json!({}))]), &BOTH),
            (run("rollback", true, None, &[host("failed", &json!({}))]), &BOTH),
            (run("reissue", true, None, &[host("failed", &json!({}))]), &BOTH[1..]),
            (run("rotate token", true, None, &[host("failed", &json!({}))]), &BOTH[..1]),
            (run("rebootstrap", true, None, &[host("failed", &json!({}))]), &[]),
            // Told at the end of the run, or to nobody.
            (run("apply", true, None, &[host("changed", &file)]), &[]),
            (run("apply", false, None, &[host("changed", &file)]), &BOTH[1..]),
        ] {
            assert_eq!(owed(&[run]), expected);
        }
    }

    #[test]
    fn a_debt_lasts_until_a_later_run_saw_or_did_the_restart() {
        let later = |more: &Value| run("apply", true, None, &[host("unchanged", more)]);
        let restarted = json!({"restart": {"service": "kube-proxy", "outcome": "done", "duration_ms": 1}});
        for (more, expected) in [
            (json!({}), &BOTH[..]),
            (seen("stale"), &BOTH),
            (seen("unknown"), &BOTH),
            (seen("current"), &BOTH[..1]),
            (seen("not_running"), &BOTH),
            (seen("unasked"), &BOTH[..1]),
            (restarted, &BOTH[..1]),
        ] {
            assert_eq!(owed(&[later(&more), lost()]), expected, "{more}");
            // In the other order the later loss is a new debt.
            assert_eq!(owed(&[lost(), later(&more)]), BOTH);
        }
        let killed = run("apply", false, None, &[host("unchanged", &seen("unasked"))]);
        assert_eq!(owed(&[killed, lost()]), BOTH, "nobody was told");
    }

    #[test]
    fn what_a_run_noted_at_its_start_ends_the_search() {
        let noted = |owed: Value, more: &Value| run("apply", true, Some(owed), &[host("unchanged", more)]);
        let proxy = json!({"kube-proxy": ["a", "b"]});
        assert_eq!(owed(&[noted(json!({}), &json!({})), lost()]), [""; 0]);
        assert_eq!(owed(&[noted(proxy.clone(), &json!({})), lost()]), ["kube-proxy"]);
        assert_eq!(owed(&[noted(proxy, &seen("current")), lost()]), [""; 0]);
    }

    #[test]
    fn a_last_line_tells_of_a_good_end() {
        let line =
            |failed| format!(r#"{{"event":"finished","at":"2026-11-22T08:00:00Z","summary":{{"failed":{failed}}}}}"#);
        assert!(ends_well(&line(0)) && !ends_well(&line(1)));
        assert!(!ends_well(r#"{"event":"begun","at":"2026-11-22T08:00:00Z","host":"a"}"#));
    }
}
