//! What earlier runs did, read back from their journals and reports: which hosts are done, failed, in flight, never begun.
//!
//! A journal alone tells all of it, so a run that was killed at any moment can be retried or put back. What other versions
//! of kubemint wrote beside is kept and passed on; a torn last line is what a kill leaves, any other fault is damage.

use super::{
    journal::Line,
    outcome::is_outcome_unknown,
    report::{HostStatus, RunReport, Summary},
};
use crate::{
    digest::Digest,
    secret::printable,
    store::{self, RunRecord},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::{
    collections::{HashMap, HashSet},
    path::Path,
};

/// One run, as far as it is known.
#[derive(Debug, Clone)]
pub struct KeptRun {
    /// `None`: a document of no run, such as one of an empty shard.
    pub id: Option<String>,
    pub state: RunState,
    /// `None`: not even the journal's first line is whole. No host was begun then.
    pub command: Option<String>,
    pub generation: Option<u64>,
    pub started: Option<Timestamp>,
    pub finished: Option<Timestamp>,
    /// The earlier run that it retried or put back.
    pub of: Option<String>,
    /// In the order of the run.
    pub hosts: Vec<KeptHost>,
}

/// Whether a run came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RunState {
    Finished,
    Running,
    /// Its process is gone, and it did not say that it was done.
    Interrupted,
}

impl RunState {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::Running => "running",
            Self::Interrupted => "interrupted",
        }
    }
}

/// A host as a run's record has it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct KeptHost {
    pub name: String,
    pub status: HostStatus,
    #[serde(default)]
    pub files: Vec<KeptFile>,
    #[serde(default)]
    pub error: Option<KeptError>,
    #[serde(default)]
    pub duration_ms: u64,
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct KeptFile {
    pub path: String,
    /// As [`crate::remote::installer::Action::name`], or a later version's.
    pub action: String,
    #[serde(default)]
    pub sha256: Option<Digest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaced: Option<Digest>,
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct KeptError {
    pub code: String,
    pub message: String,
    pub hint: String,
}

/// The report as it is kept and printed.
#[derive(Deserialize)]
struct Document {
    schema: String,
    version: u32,
    run_id: Option<String>,
    command: Option<String>,
    generation: Option<u64>,
    started: Option<Timestamp>,
    finished: Option<Timestamp>,
    of: Option<String>,
    hosts: Vec<KeptHost>,
}

/// As much as every document of kubemint has.
#[derive(Deserialize)]
struct Heading {
    schema: String,
    version: u32,
    error: Option<OtherError>,
}

/// What a command prints that came to no answer.
#[derive(Deserialize)]
struct OtherError {
    code: String,
    message: String,
}

impl KeptRun {
    #[must_use]
    pub fn summary(&self) -> Summary {
        Summary::count(self.hosts.iter().map(|host| host.status))
    }

    #[must_use]
    pub fn is_rollback(&self) -> bool {
        self.command.as_deref() == Some("rollback")
    }

    /// The command that does what this run left undone.
    #[must_use]
    pub fn command_again(&self) -> String {
        match (&self.of, &self.id) {
            (Some(of), _) if self.is_rollback() => format!("kubemint rollback {of}"),
            _ if self.is_rollback() => "kubemint rollback --host NAME".to_owned(),
            (_, Some(id)) => format!("kubemint distribute --retry {id}"),
            (_, None) => "kubemint distribute --retry REPORT".to_owned(),
        }
    }

    /// Whether `rollback last` may mean it: no rollback itself, and it may have changed a host or still will.
    #[must_use]
    pub fn can_be_undone(&self) -> bool {
        let may_have_changed = |host: &KeptHost| host.status == HostStatus::Changed || is_outcome_unknown(host);
        !self.is_rollback() && (self.state == RunState::Running || self.hosts.iter().any(may_have_changed))
    }

    /// The hosts that the run did not bring to an end: failed, skipped, in flight. A second name of a machine that was
    /// done is none: on its own it would be taken for another machine.
    pub fn undone(&self) -> impl Iterator<Item = &str> {
        let open = |host: &&KeptHost| !matches!(host.status, HostStatus::Changed | HostStatus::Unchanged);
        self.hosts.iter().filter(open).filter(|host| !is_twin(host)).map(|host| host.name.as_str())
    }

    /// Second names of machines, refused for it.
    pub fn twins(&self) -> impl Iterator<Item = &str> {
        self.hosts.iter().filter(|host| is_twin(host)).map(|host| host.name.as_str())
    }
}

/// A report comes from wherever, and is shown on terminals: nothing of it may steer one.
fn made_printable(run: KeptRun) -> KeptRun {
    let hosts = run.hosts.into_iter().map(|host| KeptHost {
        name: printable(&host.name),
        files: host.files.into_iter().map(printable_file).collect(),
        error: host.error.map(|error| KeptError {
            code: printable(&error.code),
            message: printable(&error.message),
            hint: printable(&error.hint),
        }),
        rest: printable_map(host.rest),
        ..host
    });
    let shown = |text: Option<String>| text.map(|text| printable(&text));
    KeptRun { id: shown(run.id), command: shown(run.command), of: shown(run.of), hosts: hosts.collect(), ..run }
}

fn printable_file(file: KeptFile) -> KeptFile {
    let (path, action) = (printable(&file.path), printable(&file.action));
    KeptFile { path, action, rest: printable_map(file.rest), ..file }
}

fn printable_map(map: Map<String, Value>) -> Map<String, Value> {
    map.into_iter().map(|(key, value)| (printable(&key), printable_value(value))).collect()
}

fn printable_value(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(printable(&text)),
        Value::Array(values) => Value::Array(values.into_iter().map(printable_value).collect()),
        Value::Object(map) => Value::Object(printable_map(map)),
        plain => plain,
    }
}

fn is_twin(host: &KeptHost) -> bool {
    host.error.as_ref().is_some_and(|error| error.code == "same_machine")
}

/// Reads what a run left; `id` is its name, `dir` for messages.
///
/// # Errors
/// [`store::Error::RunDamaged`], with the line.
pub fn parse_record(id: &str, dir: &Path, record: &RunRecord) -> Result<KeptRun, store::Error> {
    read_record(id, dir, record).map(made_printable)
}

fn read_record(id: &str, dir: &Path, record: &RunRecord) -> Result<KeptRun, store::Error> {
    let path = dir.join("journal.jsonl");
    let damaged = |what: String| store::Error::RunDamaged { path: path.clone(), what };
    let mut lines = record.journal.iter().enumerate().map(|(number, text)| {
        serde_json::from_str::<Line<KeptHost>>(text)
            .map_err(|e| damaged(format!("line {}: {}", number + 1, printable(&e.to_string()))))
    });
    let state = if record.is_under_way { RunState::Running } else { RunState::Interrupted };
    let mut run = KeptRun {
        id: Some(id.to_owned()),
        state,
        command: None,
        generation: None,
        started: None,
        finished: None,
        of: None,
        hosts: Vec::new(),
    };
    let names = match lines.next().transpose()? {
        None => return Ok(run),
        Some(Line::Started { at, command, generation, of, hosts }) => {
            (run.command, run.generation, run.started, run.of) = (Some(command), Some(generation), Some(at), of);
            hosts
        }
        Some(_) => return Err(damaged("line 1 does not start a run".into())),
    };
    let (mut begun, mut ended) = (HashSet::new(), HashMap::new());
    for line in lines {
        match line? {
            Line::Started { .. } => return Err(damaged("a second run starts in it".into())),
            Line::Begun { host } => drop(begun.insert(host)),
            Line::Host { host } => drop(ended.insert(host.name.clone(), host)),
            Line::Finished { at } => run.finished = Some(at),
            Line::Unknown => {}
        }
    }
    if run.finished.is_some() {
        run.state = RunState::Finished;
        if let Some(text) = &record.report {
            run.hosts = parse_document(text, &dir.join("report.json"))?.hosts;
            return Ok(run);
        }
    }
    let again = run.command_again();
    let of_name = |name: String| match ended.remove(&name) {
        Some(host) => host,
        None if begun.contains(&name) => unended(name, HostStatus::InFlight, run.state, &again),
        None => unended(name, HostStatus::Skipped, run.state, &again),
    };
    run.hosts = names.into_iter().map(of_name).collect();
    Ok(run)
}

fn unended(name: String, status: HostStatus, state: RunState, again: &str) -> KeptHost {
    let (code, message) = match (status, state) {
        (HostStatus::InFlight, RunState::Running) => ("in_flight", "the run is at work on it"),
        (HostStatus::InFlight, _) => {
            ("in_flight", "the run was killed while at work on it: what it holds is not known")
        }
        (_, RunState::Running) => ("not_begun", "the run has not begun it yet"),
        _ => ("interrupted", "the run was interrupted before this host was begun"),
    };
    let hint = match state {
        RunState::Running => "wait until the run ends".to_owned(),
        _ => format!("`{again}` does it; `kubemint status` shows what the host holds"),
    };
    let error = KeptError { code: code.into(), message: message.into(), hint };
    KeptHost { name, status, files: Vec::new(), error: Some(error), duration_ms: 0, rest: Map::new() }
}

/// Reads a `kubemint/run` document, kept or printed; `path` is for messages.
///
/// # Errors
/// [`store::Error::RunDamaged`].
pub fn parse_report(text: &str, path: &Path) -> Result<KeptRun, store::Error> {
    parse_document(text, path).map(made_printable)
}

/// What a document is that has not the form of a run's.
fn not_a_run(text: &str) -> Option<String> {
    let Heading { schema, version, error } = serde_json::from_str(text).ok()?;
    match error {
        Some(OtherError { code, message }) if schema == "kubemint/error" => {
            Some(format!("it is an error report: {code}, {message}"))
        }
        _ if schema != RunReport::SCHEMA => Some(format!("its schema is not {}", RunReport::SCHEMA)),
        _ if version > RunReport::VERSION => Some(newer(version)),
        _ => None,
    }
}

fn newer(version: u32) -> String {
    format!("a newer kubemint wrote it (version {version})")
}

fn parse_document(text: &str, path: &Path) -> Result<KeptRun, store::Error> {
    let damaged = |what: String| store::Error::RunDamaged { path: path.to_owned(), what };
    let document: Document = match serde_json::from_str(text) {
        Ok(document) => document,
        Err(e) => return Err(damaged(printable(&not_a_run(text).unwrap_or_else(|| e.to_string())))),
    };
    if document.schema != RunReport::SCHEMA {
        return Err(damaged(format!("its schema is not {}", RunReport::SCHEMA)));
    }
    if document.version > RunReport::VERSION {
        return Err(damaged(newer(document.version)));
    }
    let Document { run_id: id, command, generation, started, finished, of, hosts, .. } = document;
    Ok(KeptRun { id, state: RunState::Finished, command, generation, started, finished, of, hosts })
}

#[cfg(test)]
mod tests {
    use super::*;

    const STARTED: &str = r#"{"event":"started","at":"2026-11-22T08:00:00Z","command":"apply","generation":3,"pid":7,"hosts":["a","b","c"],"new":1}"#;
    const BEGUN_B: &str = r#"{"event":"begun","at":"2026-11-22T08:00:01Z","host":"b"}"#;
    const A: &str = r#"{"event":"host","at":"2026-11-22T08:00:02Z","host":{"name":"a","status":"failed","files":[],"error":{"code":"of_later","message":"m","hint":"h"},"duration_ms":3,"attempts":2}}"#;

    fn record(lines: &[&str], is_under_way: bool) -> RunRecord {
        let journal = lines.iter().map(|&line| line.to_owned()).collect();
        RunRecord { journal, report: None, is_under_way }
    }

    fn read(lines: &[&str]) -> Result<KeptRun, store::Error> {
        parse_record("id", Path::new("/runs/id"), &record(lines, false))
    }

    #[test]
    fn a_killed_runs_hosts_are_told_apart() {
        let later = r#"{"event":"batch","number":2}"#;
        let run = read(&[STARTED, BEGUN_B, later, A]).unwrap();
        assert_eq!(
            (run.state, run.generation, run.command.as_deref()),
            (RunState::Interrupted, Some(3), Some("apply"))
        );
        let told: Vec<_> = run.hosts.iter().map(|host| (host.name.as_str(), host.status)).collect();
        assert_eq!(told, [("a", HostStatus::Failed), ("b", HostStatus::InFlight), ("c", HostStatus::Skipped)]);
        assert_eq!(run.undone().collect::<Vec<_>>(), ["a", "b", "c"]);
        assert_eq!(run.hosts[0].error.as_ref().unwrap().code, "of_later", "codes of other versions are kept");
        let passed_on = serde_json::to_value(&run.hosts[0]).unwrap();
        assert_eq!(passed_on["attempts"], 2, "and so is what is not known here");
    }

    #[test]
    fn of_a_killed_rollback_the_hint_is_no_retry() {
        let of = STARTED.replace("\"apply\"", "\"rollback\",\"of\":\"run-1\"");
        for (started, command) in
            [(STARTED, "`kubemint distribute --retry id` does it"), (&of, "`kubemint rollback run-1` does it")]
        {
            let run = read(&[started, BEGUN_B]).unwrap();
            assert!(run.hosts[1].error.as_ref().unwrap().hint.starts_with(command), "{run:?}");
        }
    }

    #[test]
    fn a_run_that_still_writes_is_running() {
        let run = parse_record("id", Path::new("/"), &record(&[STARTED, BEGUN_B], true)).unwrap();
        assert_eq!((run.state, run.hosts[1].error.as_ref().unwrap().code.as_str()), (RunState::Running, "in_flight"));
    }

    #[test]
    fn of_an_empty_journal_nothing_is_concluded() {
        let run = read(&[]).unwrap();
        assert_eq!((run.state, run.command, run.hosts.len()), (RunState::Interrupted, None, 0));
    }

    #[test]
    fn damage_is_named_with_its_line() {
        for (lines, words) in [
            (&[STARTED, "{", A][..], "line 2"),
            (&[A], "line 1 does not start"),
            (&[STARTED, STARTED], "second run"),
            (&[r#"{"event":"started"}"#], "line 1"),
        ] {
            let error = read(lines).unwrap_err();
            assert!(error.to_string().contains(words), "{error}");
            assert!(error.to_string().contains("/runs/id/journal.jsonl"), "{error}");
        }
    }
}
