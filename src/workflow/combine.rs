//! Joining the reports of shards into one. It is about cover: hosts that stand in two reports, or in none, are what a
//! sharded run must not have, and reports of different generations are not of one run.

use super::{
    report::{RunReport, Summary},
    runs::{KeptHost, KeptRun, KeptStep},
};
use jiff::Timestamp;
use serde::Serialize;
use std::{
    collections::{HashMap, HashSet},
    mem,
    path::PathBuf,
};

/// A report, and what its reader called it.
#[derive(Debug)]
pub struct NamedReport {
    pub name: String,
    /// The directory of runs that it was read from; `None`: a report that may be from anywhere.
    pub directory: Option<PathBuf>,
    pub run: KeptRun,
}

/// What becomes of a host that stands in two reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doubles {
    /// Shards share no host: it is a mistake.
    Refused,
    /// A part was run more than once: what the last of the runs says holds.
    LatestHolds,
}

/// Several reports as one `kubemint/run` document.
#[derive(Debug, Serialize)]
pub struct CombinedRun {
    pub schema: &'static str,
    pub version: u32,
    /// No run of its own.
    pub run_id: Option<String>,
    /// The runs whose reports these are.
    pub runs: Vec<String>,
    pub command: Option<String>,
    /// Of the first that started, and of the last that finished.
    pub started: Option<Timestamp>,
    pub finished: Option<Timestamp>,
    pub generation: Option<u64>,
    pub hosts: Vec<KeptHost>,
    pub summary: Summary,
    /// Hosts of the inventory that stand in no report; `None`: no inventory was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing: Option<Vec<String>>,
    /// What the runs left for a person to do.
    pub next_steps: Vec<KeptStep>,
}

/// Why reports do not belong together.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    #[error("{first} is of generation {}, {second} of generation {}", .generations.0, .generations.1)]
    Generations { first: String, second: String, generations: (u64, u64) },
    #[error("{first} is of `{}`, {second} of `{}`", .commands.0, .commands.1)]
    Commands { first: String, second: String, commands: (String, String) },
    #[error("{host} stands in {first} and in {second}{}", more(*.others))]
    Twice { host: String, first: String, second: String, others: usize },
}

fn more(others: usize) -> String {
    match others {
        0 => String::new(),
        1 => ", and 1 more host in two reports".to_owned(),
        _ => format!(", and {others} more hosts in two reports"),
    }
}

impl Error {
    /// What may be done about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Generations { .. } => "merge the reports of shards that installed the same generation",
            Self::Commands { .. } => "merge the reports of the same command",
            Self::Twice { .. } => {
                "shards of one inventory and one N share no host: leave out the report that is not of this run, or let the \
                 later one hold with --latest"
            }
        }
    }
}

/// Joins `reports`; hosts in the order of `inventory` where there is one, which then also tells who is missing.
///
/// # Errors
/// [`Error`].
pub fn combine_reports(
    mut reports: Vec<NamedReport>,
    inventory: Option<&[&str]>,
    doubles: Doubles,
) -> Result<CombinedRun, Error> {
    let generation = agreed(
        &reports,
        |run| run.generation,
        |first, second, generations| Error::Generations { first, second, generations },
    )?;
    let command = agreed(
        &reports,
        |run| run.command.clone(),
        |first, second, commands| Error::Commands { first, second, commands },
    )?;
    match doubles {
        Doubles::Refused => refuse_doubles(&reports)?,
        Doubles::LatestHolds => keep_latest(&mut reports),
    }
    let started = reports.iter().filter_map(|report| report.run.started).min();
    let finished = reports.iter().filter_map(|report| report.run.finished).max();
    let runs = reports.iter().filter_map(|report| report.run.id.clone()).collect();
    let mut next_steps = join_steps(&mut reports);
    let mut hosts: Vec<KeptHost> = reports.into_iter().flat_map(|report| report.run.hosts).collect();
    let missing = inventory.map(|names| {
        let rank: HashMap<&str, usize> = names.iter().enumerate().map(|(n, name)| (*name, n)).collect();
        hosts.sort_by_key(|host| rank.get(host.name.as_str()).copied().unwrap_or(usize::MAX));
        let found: HashSet<&str> = hosts.iter().map(|host| host.name.as_str()).collect();
        names.iter().filter(|name| !found.contains(**name)).map(ToString::to_string).collect()
    });
    let rank: HashMap<&str, usize> = hosts.iter().enumerate().map(|(n, host)| (host.name.as_str(), n)).collect();
    let in_order = |names: &mut Vec<String>| {
        names.sort_by_key(|name| rank.get(name.as_str()).copied().unwrap_or(usize::MAX));
        names.dedup();
    };
    for step in &mut next_steps {
        in_order(&mut step.hosts);
        in_order(&mut step.earlier);
    }
    let summary = Summary::count(hosts.iter().map(|host| host.status));
    Ok(CombinedRun {
        schema: RunReport::SCHEMA,
        version: RunReport::VERSION,
        run_id: None,
        runs,
        command,
        started,
        finished,
        generation,
        hosts,
        summary,
        missing,
        next_steps,
    })
}

/// Each step once, with the hosts of all reports. It stays due though a later run found the host as it should be.
fn join_steps(reports: &mut [NamedReport]) -> Vec<KeptStep> {
    let mut joined: Vec<KeptStep> = Vec::new();
    for step in reports.iter_mut().flat_map(|report| report.run.next_steps.drain(..)) {
        let is_same = |other: &&mut KeptStep| {
            (&other.service, &other.reason, &other.command) == (&step.service, &step.reason, &step.command)
        };
        match joined.iter_mut().find(is_same) {
            Some(same) => {
                same.hosts.extend(step.hosts);
                same.earlier.extend(step.earlier);
            }
            None => joined.push(step),
        }
    }
    joined
}

/// The value that all reports which have one have in common.
fn agreed<T: PartialEq>(
    reports: &[NamedReport],
    of: impl Fn(&KeptRun) -> Option<T>,
    differ: impl Fn(String, String, (T, T)) -> Error,
) -> Result<Option<T>, Error> {
    let mut first: Option<(&str, T)> = None;
    for report in reports {
        let Some(value) = of(&report.run) else { continue };
        match first.take() {
            None => first = Some((&report.name, value)),
            Some((name, known)) if known != value => {
                return Err(differ(name.to_owned(), report.name.clone(), (known, value)));
            }
            known => first = known,
        }
    }
    Ok(first.map(|(_, value)| value))
}

/// Leaves each host in the report of the last run.
fn keep_latest(reports: &mut Vec<NamedReport>) {
    *reports = in_order(mem::take(reports));
    let mut seen: HashSet<String> = HashSet::new();
    for report in reports.iter_mut().rev() {
        report.run.hosts.retain(|host| seen.insert(host.name.clone()));
    }
}

/// Whether it is known, by more than a clock, that `a` was before `b`. Numbers count within one directory, where runs of
/// earlier versions have none; a retry is later than what it retried.
fn is_before(a: &NamedReport, b: &NamedReport) -> bool {
    let retries = |later: &KeptRun, earlier: &KeptRun| later.of.is_some() && later.of == earlier.id;
    match (retries(&b.run, &a.run), retries(&a.run, &b.run)) {
        (false, false) => a.directory.is_some() && a.directory == b.directory && a.run.number < b.run.number,
        (is_retried, _) => is_retried,
    }
}

/// From the first run to the last; clocks decide where nothing else does.
fn in_order(mut left: Vec<NamedReport>) -> Vec<NamedReport> {
    left.sort_by_key(|NamedReport { run, .. }| (run.started, run.finished, run.number, run.id.clone()));
    let before = |later: &NamedReport| left.iter().filter(|earlier| is_before(earlier, later)).count();
    let mut open: Vec<usize> = left.iter().map(before).collect();
    let mut ordered: Vec<NamedReport> = Vec::with_capacity(left.len());
    while !left.is_empty() {
        // Where each waits for another, as only edited reports do, the clock decides.
        let next = open.iter().position(|count| *count == 0).unwrap_or_default();
        open.remove(next);
        let report = left.remove(next);
        for (count, later) in open.iter_mut().zip(&left) {
            *count -= usize::from(is_before(&report, later));
        }
        ordered.push(report);
    }
    ordered
}

fn refuse_doubles(reports: &[NamedReport]) -> Result<(), Error> {
    let mut seen: HashMap<&str, &str> = HashMap::new();
    let mut doubles: Vec<(&str, &str, &str)> = Vec::new();
    for (report, host) in reports.iter().flat_map(|report| report.run.hosts.iter().map(move |host| (report, host))) {
        if let Some(first) = seen.insert(&host.name, &report.name) {
            doubles.push((&host.name, first, &report.name));
        }
    }
    match doubles.first() {
        None => Ok(()),
        Some((host, first, second)) => Err(Error::Twice {
            host: (*host).to_owned(),
            first: (*first).to_owned(),
            second: (*second).to_owned(),
            others: doubles.len() - 1,
        }),
    }
}
