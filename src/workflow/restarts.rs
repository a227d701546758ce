//! Which services have to be restarted after a run, for what it changed and for what earlier runs owe: they read their file
//! only at their start, and nothing here restarts them.

use super::{debts::Debts, report::HostReport};
use crate::{
    bundle::FileKind,
    inventory::{Host, Inventory, Role, Services},
    remote::installer::Action,
};
use serde::Serialize;

/// A service that still works with what its file held before.
#[derive(Debug, Clone, Serialize)]
pub struct DueRestart {
    pub service: &'static str,
    pub reason: &'static str,
    /// The inventory's command for it.
    pub command: Option<String>,
    /// In the order of the run.
    pub hosts: Vec<String>,
    /// Those of `hosts` where an earlier run made it due, whose answer was lost or which was killed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub earlier: Vec<String>,
}

/// From what the restarts follow that are due at the end of a run.
#[derive(Debug, Clone, Copy)]
pub struct Duty<'a> {
    pub inventory: &'a Inventory,
    /// What earlier runs owe; `None`: nobody looked.
    pub debts: Option<&'a Debts>,
}

/// A file, who reads it, and where.
pub(super) struct Reader {
    pub file: FileKind,
    pub role: Role,
    pub service: &'static str,
    reason: &'static str,
    command: fn(&Services) -> Option<&String>,
}

pub(super) const READERS: [Reader; 2] = [
    Reader {
        file: FileKind::TokenCsv,
        role: Role::ControlPlane,
        service: "kube-apiserver",
        reason: "kube-apiserver reads token.csv only at its start",
        command: |services| services.kube_apiserver.as_ref(),
    },
    Reader {
        file: FileKind::KubeProxyKubeconfig,
        role: Role::Node,
        service: "kube-proxy",
        reason: "kube-proxy reads its kubeconfig only at its start",
        command: |services| services.kube_proxy.as_ref(),
    },
];

/// The restarts that are due after a run; `hosts` are the run's, in its order.
#[must_use]
pub(super) fn due_restarts(duty: Duty, hosts: &[&Host], reports: &[HostReport]) -> Vec<DueRestart> {
    let due = READERS.iter().map(|reader| {
        let is_read = |(_, host): &(&HostReport, &&Host)| host.roles.contains(reader.role);
        let readers = reports.iter().zip(hosts).filter(is_read).map(|(report, _)| report);
        let (mut hosts, mut earlier) = (Vec::new(), Vec::new());
        for report in readers {
            let is_changed = report.files.iter().any(|f| f.kind == reader.file && has_new_content(f.action));
            if !is_changed && is_owed(duty, reader, report) {
                earlier.push(report.name.clone());
            } else if !is_changed {
                continue;
            }
            hosts.push(report.name.clone());
        }
        reader.due(duty.inventory, hosts, earlier)
    });
    due.filter(|restart| !restart.hosts.is_empty()).collect()
}

/// The restarts that earlier runs owe to `hosts`, but for those of which `is_done` knows, by service and host.
#[must_use]
pub fn owed_restarts(
    inventory: &Inventory,
    debts: &Debts,
    hosts: &[&Host],
    is_done: impl Fn(&str, &str) -> bool,
) -> Vec<DueRestart> {
    let due = READERS.iter().map(|reader| {
        let names = hosts.iter().map(|host| host.name.as_str());
        let owed = names.filter(|name| debts.has(reader.service, name) && !is_done(reader.service, name));
        let owed: Vec<String> = owed.map(str::to_owned).collect();
        reader.due(inventory, owed.clone(), owed)
    });
    due.filter(|restart| !restart.hosts.is_empty()).collect()
}

impl Reader {
    fn due(&self, inventory: &Inventory, hosts: Vec<String>, earlier: Vec<String>) -> DueRestart {
        let command = (self.command)(&inventory.services).cloned();
        DueRestart { service: self.service, reason: self.reason, command, hosts, earlier }
    }
}

/// Whether an earlier run owes it, and this one has not seen that it was done.
fn is_owed(duty: Duty, reader: &Reader, report: &HostReport) -> bool {
    duty.debts.is_some_and(|debts| debts.has(reader.service, &report.name))
        && !report.services.iter().any(|seen| seen.service == reader.service && seen.has_read_its_file())
}

pub(super) const fn has_new_content(action: Action) -> bool {
    matches!(action, Action::Created | Action::Updated | Action::Restored)
}
