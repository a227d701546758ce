//! What `rebootstrap` says at its end: the document, and the same in words.

use crate::{
    cli::{
        distribute::{is_told, tone},
        hosts::{self, counted},
        output::Output,
    },
    workflow::{
        approve,
        rebootstrap::{COMMAND, LeftRequest, NodeReport, Restored},
        report::{ErrorReport, HostReport, HostStatus, RunReport, Summary},
    },
};
use jiff::Timestamp;
use serde::Serialize;
use std::{collections::HashMap, time::Duration};

#[derive(Serialize)]
pub(super) struct Document<'a> {
    schema: &'static str,
    version: u32,
    run_id: &'a str,
    started: Timestamp,
    finished: Timestamp,
    generation: u64,
    hosts: Vec<Row<'a>>,
    summary: Summary,
    /// Why journal or report are incomplete.
    #[serde(skip_serializing_if = "Option::is_none")]
    unrecorded: &'a Option<ErrorReport>,
}

#[derive(Serialize)]
struct Row<'a> {
    name: &'a str,
    status: HostStatus,
    #[serde(flatten)]
    node: NodeReport,
    error: &'a Option<ErrorReport>,
    /// Of a failed host: it is known that nothing was changed there.
    untouched: bool,
    duration_ms: u64,
}

/// What was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Anew,
    /// Only what a killed run had set aside.
    Back,
}

pub(super) fn document<'a>(report: &'a RunReport, nodes: &HashMap<String, NodeReport>) -> Document<'a> {
    let row = |host: &'a HostReport| Row {
        name: &host.name,
        status: host.status,
        node: nodes.get(&host.name).cloned().unwrap_or_default(),
        error: &host.error,
        untouched: host.untouched,
        duration_ms: host.duration_ms,
    };
    Document {
        schema: "kubemint/rebootstrap",
        version: 1,
        run_id: &report.run_id,
        started: report.started,
        finished: report.finished,
        generation: report.generation,
        hosts: report.hosts.iter().map(row).collect(),
        summary: report.summary,
        unrecorded: &report.unrecorded,
    }
}

pub(super) fn text(output: &Output, way: Way, report: &RunReport, nodes: &HashMap<String, NodeReport>) -> String {
    let row = |host: &HostReport| {
        let node = nodes.get(&host.name);
        let time = format!("{:.1} s", Duration::from_millis(host.duration_ms).as_secs_f64());
        let what = host.error.as_ref().map_or_else(|| remark(node), |error| error.code.to_owned());
        [host.name.clone(), output.paint(tone(host.status), word(way, host.status, node)), what, time]
    };
    let mut text = Output::table(["NODE", "STATUS", "", "TIME"], report.hosts.iter().map(row));
    text += &hosts::failures(report.hosts.iter().filter_map(|host| {
        let error = host.error.as_ref()?;
        is_told(host.status, error.code).then_some((host.name.as_str(), error))
    }));
    text += &remarks(report, nodes);
    let s = &report.summary;
    text += &format!(
        "\n{}: {} {}, {} failed, {} skipped (run {} of {COMMAND})\n",
        counted(s.hosts, "node"),
        s.changed,
        word(way, HostStatus::Changed, None),
        s.failed,
        s.skipped,
        report.run_id
    );
    if nodes.values().any(|node| node.backup_kept) {
        let dir = format!(".kubemint-rebootstrap-{}.kept", report.run_id);
        text += &format!("what they had is kept there in {dir}, until they join anew once more\n");
    }
    text
}

/// What was found of earlier runs, and what others asked in the nodes' names.
fn remarks(report: &RunReport, nodes: &HashMap<String, NodeReport>) -> String {
    let all = || report.hosts.iter().filter_map(|host| Some((host.name.as_str(), nodes.get(&host.name)?)));
    let mut text = String::new();
    let found = |is_settled: bool| -> Vec<&str> {
        let of = |(_, node): &(_, &NodeReport)| !node.found_unfinished.is_empty() && node.found_settled == is_settled;
        all().filter(of).map(|(name, _)| name).collect()
    };
    for (names, what) in [
        (found(false), "put back first what a killed run had set aside"),
        (found(true), "ready with a new certificate since a run was killed, so what that had set aside is kept aside"),
    ] {
        if !names.is_empty() {
            text += &format!("\n{what}: {}\n", hosts::listed(&names));
        }
    }
    for (name, node) in all() {
        if let Some(why) = &node.not_checked {
            text += &format!(
                "\n{name}: its kubelet had a newer certificate; whether the cluster takes it could not be asked ({why}); what \
                 it had before is back, the newer one is in .kubemint-rebootstrap-{}.replaced there\n",
                node.found_unfinished.join(", ")
            );
        }
        for LeftRequest { request, code, detail } in &node.left {
            text += &format!("\n{name}: the request {request} was left ({code}): {detail}\n");
        }
    }
    if let Some(hint) = approve::Reason::OtherKey.hint().filter(|_| all().any(|(_, node)| !node.left.is_empty())) {
        text += &format!("  hint: {hint}\n");
    }
    text
}

/// `Changed` means something else for each way.
fn word(way: Way, status: HostStatus, node: Option<&NodeReport>) -> &'static str {
    match status {
        HostStatus::Changed if node.is_some_and(|node| way == Way::Back && node.found_settled) => "settled",
        HostStatus::Changed if way == Way::Back => "restored",
        HostStatus::Changed => "joined anew",
        HostStatus::Unchanged if way == Way::Back => "nothing to restore",
        other => other.name(),
    }
}

fn remark(node: Option<&NodeReport>) -> String {
    match node {
        Some(NodeReport { request: Some(request), .. }) => request.clone(),
        Some(NodeReport { restored: Some(Restored::Restarted), .. }) => "kubelet restarted".to_owned(),
        Some(NodeReport { found_settled: true, .. }) => "keeps its new certificate".to_owned(),
        _ => String::new(),
    }
}
