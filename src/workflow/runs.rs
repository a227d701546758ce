//! What earlier runs did, read back from their journals and reports: which hosts are done, failed, in flight, never begun.
//!
//! A journal alone tells all of it, so a run that was killed at any moment can be retried or put back. What other versions
//! of kubemint wrote beside is kept and passed on; a torn last line is what a kill leaves, any other fault is damage.

pub use super::kept_run::{KeptError, KeptFile, KeptHost, KeptRun, KeptStep, RunState};

use super::{
    journal::Line,
    kept_run::made_printable,
    report::{HostStatus, RunReport},
};
use crate::{
    secret::printable,
    store::{self, RunRecord},
};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::{
    collections::{HashMap, HashSet},
    path::Path,
};

/// The report as it is kept and printed.
#[derive(Deserialize)]
struct Document {
    schema: String,
    version: u32,
    run_id: Option<String>,
    number: Option<u64>,
    command: Option<String>,
    generation: Option<u64>,
    started: Option<Timestamp>,
    finished: Option<Timestamp>,
    of: Option<String>,
    hosts: Vec<KeptHost>,
    #[serde(default)]
    next_steps: Vec<Value>,
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
        number: None,
        state,
        command: None,
        generation: None,
        started: None,
        finished: None,
        of: None,
        stages: Vec::new(),
        hosts: Vec::new(),
        next_steps: Vec::new(),
        owed: None,
    };
    let names = match lines.next().transpose()? {
        None => return Ok(run),
        Some(Line::Started { at, number, command, generation, of, owed, hosts }) => {
            (run.command, run.generation, run.started, run.of) = (Some(command), Some(generation), Some(at), of);
            (run.number, run.owed) = (number, owed);
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
            Line::Stage { stage, direction } if direction == "back" => run.stages.push(format!("{stage} (back)")),
            Line::Stage { stage, .. } => run.stages.push(stage),
            Line::Finished { at, .. } => run.finished = Some(at),
            Line::Unknown => {}
        }
    }
    // The report is written last and whole: it stands for a last line that could not be written.
    if let Some(text) = &record.report {
        let document = parse_document(text, &dir.join("report.json"))?;
        run.state = RunState::Finished;
        run.finished = run.finished.or(document.finished);
        (run.hosts, run.next_steps) = (document.hosts, document.next_steps);
        return Ok(run);
    }
    if run.finished.is_some() {
        run.state = RunState::Finished;
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
    KeptHost { name, status, files: Vec::new(), error: Some(error), untouched: false, duration_ms: 0, rest: Map::new() }
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
    let Document { run_id: id, number, command, generation, started, finished, of, hosts, next_steps, .. } = document;
    let (state, stages, owed) = (RunState::Finished, Vec::new(), None);
    // What a later version has there is passed over.
    let next_steps = next_steps.into_iter().filter_map(|step| serde_json::from_value(step).ok()).collect();
    Ok(KeptRun { id, number, state, command, generation, started, finished, of, stages, hosts, next_steps, owed })
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
