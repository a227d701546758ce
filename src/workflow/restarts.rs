//! Which services have to be restarted after a run: they read their file only at their start, and nothing here restarts
//! them.

use super::report::RunReport;
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
}

/// A file, who reads it, and where.
struct Reader {
    file: FileKind,
    role: Role,
    service: &'static str,
    reason: &'static str,
    command: fn(&Services) -> Option<&String>,
}

const READERS: [Reader; 2] = [
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

/// The restarts that a run made due; `hosts` are the run's, in its order.
#[must_use]
pub fn due_restarts(inventory: &Inventory, hosts: &[&Host], report: &RunReport) -> Vec<DueRestart> {
    let due = READERS.iter().map(|reader| DueRestart {
        service: reader.service,
        reason: reader.reason,
        command: (reader.command)(&inventory.services).cloned(),
        hosts: changed_hosts(reader, hosts, report),
    });
    due.filter(|restart| !restart.hosts.is_empty()).collect()
}

fn changed_hosts(reader: &Reader, hosts: &[&Host], report: &RunReport) -> Vec<String> {
    let has_new_content = |action| matches!(action, Action::Created | Action::Updated | Action::Restored);
    let pairs = report.hosts.iter().zip(hosts).filter(|(_, host)| host.roles.contains(reader.role));
    pairs
        .filter(|(done, _)| done.files.iter().any(|f| f.kind == reader.file && has_new_content(f.action)))
        .map(|(done, _)| done.name.clone())
        .collect()
}
