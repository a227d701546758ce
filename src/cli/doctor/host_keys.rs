//! `kubemint doctor --scan-host-keys`: known_hosts lines for a person to compare. Standard output can go into a file; a key
//! that known_hosts contradicts is a comment there, so that no redirection makes it known. Nothing is written.

use super::{Args, Context, Exit, Failure, Host, Inventory, Output, Progress, counted, hosts};
use crate::{
    inventory::Connection,
    remote::{
        KnownEntry,
        ssh::{Extent, KeyState, ScannedKey},
    },
    workflow::{
        doctor::{self, HostKeys},
        report::ErrorReport,
    },
};
use serde::Serialize;
use std::fmt::Write;

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    version: u32,
    hosts: Vec<Row<'a>>,
    summary: Summary,
}

#[derive(Serialize)]
struct Row<'a> {
    name: &'a str,
    /// As known_hosts names it.
    address: &'a str,
    keys: Vec<Key<'a>>,
    error: &'a Option<ErrorReport>,
}

#[derive(Serialize)]
struct Key<'a> {
    r#type: &'a str,
    key: &'a str,
    fingerprint: &'a str,
    state: &'static str,
    /// `FILE:LINE` of the entry that says so.
    known_hosts: Option<String>,
}

#[derive(Debug, Serialize)]
struct Summary {
    hosts: usize,
    keys: usize,
    known: usize,
    unknown: usize,
    differ: usize,
    /// Hosts that could not be asked.
    failed: usize,
    /// Not begun, because of an interrupt.
    skipped: usize,
}

const WARNING: &str = "these keys are UNVERIFIED: whoever answers at an address shows a key. Compare each fingerprint on the \
                       host's own console before it goes into known_hosts:\n  \
                       ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub    (or the file of the key's type)";

pub(super) fn run(args: &Args, context: &Context, inventory: &Inventory, chosen: &[&Host]) -> Result<Exit, Failure> {
    // Nobody logs in to a host; but to a jump host before it, which may take a key that must be opened.
    let behind_jump: Vec<&Host> = chosen.iter().copied().filter(|host| may_be_behind_a_jump(host)).collect();
    let remote = context.remote(inventory, &args.install.hosts, &behind_jump)?;
    let extent = if args.all_types { Extent::AllTypes } else { Extent::Needed };
    let behind_ssh: Vec<&Host> =
        chosen.iter().copied().filter(|host| matches!(host.connection, Connection::Ssh(_))).collect();
    let concurrency = args.install.hosts.concurrency(inventory);
    context.signals.listen();
    let interrupt = &context.signals.interrupt;
    let scan = doctor::Scan::of(remote.ssh(), &behind_ssh, concurrency, interrupt);
    let progress = Progress::new(context.output, scan.count());
    let found = scan.run(&remote, extent, interrupt, &progress);
    progress.finish();
    let document = Document {
        schema: "kubemint/host-keys",
        version: 1,
        hosts: found.iter().map(row).collect(),
        summary: summarize(&found, scan.count()),
    };
    if document.summary.keys > 0 {
        context.output.warn(WARNING);
    }
    for host in found.iter().filter(|host| host.is_contradicted()) {
        contradict(context.output, host);
    }
    context.output.answer(&document, || text(&found))?;
    let failed = found.iter().filter_map(|host| Some((host.name.as_str(), host.error.as_ref()?)));
    for line in hosts::failures(failed).lines() {
        context.output.note(line);
    }
    context.output.note(&counts(&document.summary));
    Ok(match context.signals.exit() {
        Some(interrupted) => interrupted,
        None if document.summary.differ > 0 => Exit::Drift,
        None if document.summary.failed > 0 => Exit::HostsFailed,
        None => Exit::Done,
    })
}

fn may_be_behind_a_jump(host: &Host) -> bool {
    match &host.connection {
        Connection::Ssh(target) => {
            !target.settings.jump.is_empty() || target.settings.left_to_config.is_some_and(|left| left.jump)
        }
        Connection::Local { .. } => false,
    }
}

fn summarize(found: &[HostKeys], asked: usize) -> Summary {
    let count =
        |of: fn(&KeyState) -> bool| found.iter().flat_map(|host| &host.keys).filter(|key| of(&key.state)).count();
    Summary {
        hosts: asked,
        keys: found.iter().map(|host| host.keys.len()).sum(),
        known: count(|state| matches!(state, KeyState::Known(_))),
        unknown: count(|state| *state == KeyState::Unknown),
        differ: count(|state| matches!(state, KeyState::Differs(_) | KeyState::Revoked(_))),
        failed: found.iter().filter(|host| host.error.is_some()).count(),
        skipped: asked - found.len(),
    }
}

fn counts(s: &Summary) -> String {
    let skipped = if s.skipped > 0 { format!(", {} not begun", s.skipped) } else { String::new() };
    format!(
        "{}: {} ({} known already, {} unknown, {} contradicted by known_hosts); {} could not be asked{skipped}",
        counted(s.hosts, "SSH host"),
        counted(s.keys, "key"),
        s.known,
        s.unknown,
        s.differ,
        s.failed
    )
}

fn row(host: &HostKeys) -> Row<'_> {
    let HostKeys { name, address, keys, error } = host;
    Row { name, address, keys: keys.iter().map(key).collect(), error }
}

fn key(key: &ScannedKey) -> Key<'_> {
    let (state, entry) = match &key.state {
        KeyState::Known(entry) => ("known", Some(entry)),
        KeyState::Unknown => ("unknown", None),
        KeyState::Differs(entry) => ("differs", Some(entry)),
        KeyState::Revoked(entry) => ("revoked", Some(entry)),
    };
    let known_hosts = entry.map(KnownEntry::to_string);
    Key { r#type: &key.key_type, key: &key.base64, fingerprint: &key.fingerprint, state, known_hosts }
}

fn contradict(output: &Output, host: &HostKeys) {
    for key in &host.keys {
        let what = match &key.state {
            KeyState::Differs(entry) => format!("DIFFERS FROM known_hosts, {entry}"),
            KeyState::Revoked(entry) => format!("IS REVOKED at {entry}"),
            KeyState::Known(_) | KeyState::Unknown => continue,
        };
        output.warn(&format!(
            "{}: THE {} KEY OF {} {what}: somebody may be impersonating the host; find out why before anything else",
            host.name, key.key_type, host.address
        ));
    }
}

fn text(found: &[HostKeys]) -> String {
    let mut text = String::new();
    for host in found.iter().filter(|host| !host.keys.is_empty()) {
        let _ = writeln!(text, "# {}: {}", host.name, host.keys.iter().map(described).collect::<Vec<_>>().join(", "));
        for key in &host.keys {
            let contradicted = match &key.state {
                KeyState::Differs(entry) => format!("# DIFFERS FROM {entry}: "),
                KeyState::Revoked(entry) => format!("# REVOKED at {entry}: "),
                KeyState::Known(_) | KeyState::Unknown => String::new(),
            };
            let _ = writeln!(text, "{contradicted}{} {} {}", host.address, key.key_type, key.base64);
        }
    }
    text
}

fn described(key: &ScannedKey) -> String {
    let state = match &key.state {
        KeyState::Known(entry) => format!("known already, {entry}"),
        KeyState::Unknown => "unknown".to_owned(),
        KeyState::Differs(_) => "DIFFERS FROM known_hosts".to_owned(),
        KeyState::Revoked(_) => "REVOKED".to_owned(),
    };
    format!("{} {} ({state})", key.key_type, key.fingerprint)
}
