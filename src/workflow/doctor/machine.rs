//! This machine, once per run: the credential directory and what lies in it, what logins need, and limits.

use super::check::{Check, Finding, Status, Verdict};
use crate::{
    clock::day,
    inventory::{Connection, Host, Inventory},
    remote::ssh::{Material, MaterialState, SshRemote},
    store::{self, Exposed, Snapshot, Space, Store},
    workflow::{
        generate::{self, Step, StepAction},
        verify::{self, LocalSet},
    },
};
use jiff::Timestamp;
use std::path::{Path, PathBuf};

/// Worked out once per run.
pub type MachineCheck = Check<fn(&Machine<'_>) -> Verdict>;

/// What the checks of this machine look at.
pub struct Machine<'a> {
    pub inventory: &'a Inventory,
    pub hosts: &'a [&'a Host],
    pub store: &'a Store,
    pub snapshot: &'a Result<Snapshot, store::Error>,
    /// What `generate` would do; `None` while the snapshot cannot be had.
    pub steps: &'a Option<Result<Vec<Step>, generate::Error>>,
    pub ssh: &'a SshRemote,
    pub now: Timestamp,
    pub concurrency: usize,
    /// How many files this process may have open; `None`: no limit.
    pub descriptors: Option<u64>,
    pub steering: SteeringFiles<'a>,
}

/// Files that decide where kubemint goes and what it runs, as far as others may write to them.
#[derive(Clone, Copy)]
pub struct SteeringFiles<'a> {
    pub exposed: &'a [Exposed],
    /// As which status such a file counts.
    pub worst: Status,
}

/// Every check of this machine, in the order they are run and shown.
pub const MACHINE_CHECKS: [MachineCheck; 8] = [
    Check { name: "inventory", hint: "", run: inventory },
    Check { name: "local-files", hint: "", run: local_files },
    Check { name: "state-directory", hint: "", run: state_directory },
    Check { name: "state-space", hint: "free space or inodes there, or choose another --state-dir", run: state_space },
    Check { name: "stored-credentials", hint: "`kubemint verify` tells all of it", run: stored_credentials },
    Check { name: "keys", hint: "check [ssh] identity_files, or start an agent (`ssh-add`)", run: keys },
    Check {
        name: "known-hosts",
        hint: "`kubemint doctor --scan-host-keys` prints the hosts' keys, to be compared before they go into the file",
        run: known_hosts,
    },
    Check { name: "descriptors", hint: "raise it (`ulimit -n`), or lower --concurrency", run: descriptors },
];

/// Runs every check but those left out by name.
#[must_use]
pub fn examine_machine(machine: &Machine, left_out: &[String]) -> Vec<Finding> {
    let run = |check: &MachineCheck| match left_out.iter().any(|name| name == check.name) {
        true => check.finding(Verdict::skipped("left out by --skip")),
        false => check.finding((check.run)(machine)),
    };
    MACHINE_CHECKS.iter().map(run).collect()
}

/// A run's files, and the credentials whole twice: staged and renamed.
const SPACE_NEEDED: u64 = 1 << 20;
const SPACE_WANTED: u64 = 32 << 20;
const INODES_NEEDED: u64 = 32;
/// Files and sockets beside those of the sessions.
const DESCRIPTORS_BESIDE: u64 = 32;
/// Of one session: its socket, and what a local shell takes.
const DESCRIPTORS_EACH: u64 = 2;
const SOON_DAYS: i64 = 30;

fn inventory(machine: &Machine) -> Verdict {
    let (chosen, all) = (machine.hosts.len(), machine.inventory.hosts.len());
    Verdict::ok(format!("{} is valid, {chosen} of {all} hosts chosen", machine.inventory.path.display()))
}

fn local_files(machine: &Machine) -> Verdict {
    let SteeringFiles { exposed, worst } = machine.steering;
    let Some(first) = exposed.first() else {
        return Verdict::ok("no other user may write to the inventory, known_hosts or templates");
    };
    let more = match exposed.len() - 1 {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    let verdict = match worst {
        Status::Fail => Verdict::fail(format!("{first}{more}")),
        _ => Verdict::warn(format!("{first}{more}")),
    };
    verdict.code("untrusted_file").hint(first.hint())
}

fn state_directory(machine: &Machine) -> Verdict {
    let dir = machine.store.dir().display();
    let snapshot = match machine.snapshot {
        Ok(snapshot) => snapshot,
        Err(error) => return Verdict::fail(error.to_string()).hint(error.hint()),
    };
    if snapshot.state.is_none() && !snapshot.interrupted {
        return Verdict::skipped(format!("nothing was generated in {dir} yet"));
    }
    if machine.store.is_in_use() {
        return Verdict::warn(format!("another kubemint is writing in {dir}")).hint("wait until it ends");
    }
    if snapshot.interrupted {
        return Verdict::warn("an earlier run was stopped while it was writing")
            .hint("`kubemint generate` completes it");
    }
    match machine.store.wide_modes() {
        Err(error) => Verdict::fail(error.to_string()).hint(error.hint()),
        Ok(wide) => match wide.first() {
            None => Verdict::ok(format!("{dir} is whole, and closed to others")),
            Some((path, mode)) => {
                Verdict::warn(format!("{} has mode {mode:04o}", path.display())).hint(format!("chmod -R go= {dir}"))
            }
        },
    }
}

fn state_space(machine: &Machine) -> Verdict {
    match machine.store.free_space() {
        Err(error) => Verdict::fail(error.to_string()).hint(error.hint()),
        Ok(Space { bytes, inodes }) => {
            let told = inodes.map_or_else(String::new, |inodes| format!(", {inodes} inodes"));
            let told = format!("{} MiB free{told}", bytes >> 20);
            if bytes < SPACE_NEEDED || inodes.is_some_and(|inodes| inodes < INODES_NEEDED) {
                Verdict::fail(told)
            } else if bytes < SPACE_WANTED {
                Verdict::warn(told)
            } else {
                Verdict::ok(told)
            }
        }
    }
}

fn stored_credentials(machine: &Machine) -> Verdict {
    let Ok(snapshot) = machine.snapshot else { return Verdict::skipped("the credential directory cannot be read") };
    if let Some(Err(error)) = machine.steps {
        return Verdict::fail(error.to_string()).hint(error.hint());
    }
    let Some(state) = &snapshot.state else { return Verdict::skipped("nothing was generated yet") };
    let (inventory, now) = (machine.inventory, machine.now);
    let findings = verify::run_checks(&LocalSet { inventory, snapshot, wide_modes: Vec::new(), now });
    let due: Vec<String> = match machine.steps {
        Some(Ok(steps)) => steps.iter().filter(|step| step.action != StepAction::Kept).map(in_words).collect(),
        _ => Vec::new(),
    };
    if !due.is_empty() {
        return Verdict::warn(format!("the inventory asks for something else: {}", due.join(", ")))
            .hint("`kubemint apply` makes it, or `kubemint generate`");
    }
    if let Some(wrong) = findings.iter().find(|finding| !finding.ok) {
        return Verdict::fail(format!("{}: {}", wrong.check, wrong.detail)).hint(wrong.hint.unwrap_or_default());
    }
    let ends = [state.ca.as_ref().map(|ca| ca.not_after), state.kube_proxy.as_ref().map(|record| record.not_after)];
    match ends.into_iter().flatten().min() {
        Some(end) if days_until(end, now) < SOON_DAYS => {
            Verdict::warn(format!("generation {} ends on {}", state.generation, day(end)))
        }
        end => Verdict::ok(format!(
            "generation {}, valid until {}",
            state.generation,
            end.map_or_else(|| "?".to_owned(), day)
        )),
    }
}

fn in_words(step: &Step) -> String {
    format!("{} {} ({})", step.action.imperative(), step.artifact, step.reason)
}

fn days_until(end: Timestamp, now: Timestamp) -> i64 {
    (end.as_second() - now.as_second()).div_euclid(24 * 60 * 60)
}

impl Machine<'_> {
    /// Of every distinct setting among the hosts; `None` where no host is behind SSH.
    fn material(&self) -> Option<Vec<Material>> {
        let mut seen = Vec::new();
        let mut found: Vec<Material> = Vec::new();
        for host in self.hosts {
            if let Connection::Ssh(target) = &host.connection
                && !seen.contains(&&target.settings)
            {
                seen.push(&target.settings);
                found.push(self.ssh.look_at_material(host, target));
            }
        }
        (!found.is_empty()).then_some(found)
    }
}

type Files = Vec<(PathBuf, MaterialState)>;

fn distinct(material: &[Material], of: fn(&Material) -> &Files) -> Files {
    let mut all: Files = material.iter().flat_map(|material| of(material).iter().cloned()).collect();
    all.sort();
    all.dedup();
    all
}

fn listed(files: &[(PathBuf, MaterialState)]) -> String {
    files.iter().map(|(path, _)| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

fn unusable(files: &Files) -> Option<String> {
    files.iter().find_map(|(path, state)| match state {
        MaterialState::Unusable(reason) => Some(format!("{}: {reason}", path.display())),
        _ => None,
    })
}

fn open_to_others(files: &Files) -> Option<(&Path, u32)> {
    files.iter().find_map(|(path, state)| match state {
        MaterialState::OpenToOthers { mode } => Some((path.as_path(), *mode)),
        _ => None,
    })
}

fn missing(files: &Files) -> Option<&Path> {
    files.iter().find(|(_, state)| *state == MaterialState::Missing).map(|(path, _)| path.as_path())
}

fn keys(machine: &Machine) -> Verdict {
    let Some(material) = machine.material() else { return Verdict::skipped("no host is behind SSH") };
    let files = distinct(&material, |material| &material.keys);
    let agent = material.iter().find_map(|material| material.agent.as_ref());
    let usable: Vec<_> = files.iter().filter(|(_, state)| *state == MaterialState::Usable).cloned().collect();
    if let Some((path, mode)) = open_to_others(&files) {
        let what = format!("{} is ignored: other users may use it (mode {mode:04o})", path.display());
        let verdict = if usable.is_empty() && agent.is_none() { Verdict::fail(what) } else { Verdict::warn(what) };
        let hint = format!("run `chmod 600 {}`, and make a new key if others may have read this one", path.display());
        return verdict.code("key_open_to_others").hint(hint);
    }
    let absent = missing(&files).map(|path| format!("{} is not there", path.display()));
    if let Some(what) = unusable(&files).or(absent) {
        // Another key, or the agent, may do.
        let verdict = if usable.is_empty() && agent.is_none() { Verdict::fail(what) } else { Verdict::warn(what) };
        return verdict.code("key_unreadable");
    }
    match (usable.as_slice(), agent) {
        ([], None) if files.is_empty() => Verdict::warn("no key file was found, and no agent runs"),
        ([], None) => Verdict::warn(format!("{} needs an agent, and none runs", listed(&files))).code("key_encrypted"),
        ([], Some(agent)) => Verdict::ok(format!("the agent at {}", agent.display())),
        (usable, _) => Verdict::ok(listed(usable)),
    }
}

fn known_hosts(machine: &Machine) -> Verdict {
    let Some(material) = machine.material() else { return Verdict::skipped("no host is behind SSH") };
    let files = distinct(&material, |material| &material.known_hosts);
    if let Some(what) = unusable(&files) {
        return Verdict::fail(what).code("known_hosts_unreadable");
    }
    // ssh looks in several places of which most do not exist: one file is enough.
    let is_missing = |(_, state): &&(PathBuf, MaterialState)| *state == MaterialState::Missing;
    let without: Vec<&Material> =
        material.iter().filter(|material| material.known_hosts.iter().all(|file| is_missing(&file))).collect();
    let found: Vec<_> = files.iter().filter(|file| !is_missing(file)).cloned().collect();
    let Some(first) = without.first() else { return Verdict::ok(listed(&found)) };
    let what = match first.known_hosts.as_slice() {
        [] => "no known_hosts file is named: no host key is known".to_owned(),
        [_] => format!("{} is not there: no host key is known", listed(&first.known_hosts)),
        several => format!("none of {} is there: no host key is known", listed(several)),
    };
    match without.len() == material.len() {
        true => Verdict::fail(what).code("host_key_unknown"),
        // For some of the hosts.
        false => Verdict::warn(what),
    }
}

fn descriptors(machine: &Machine) -> Verdict {
    let at_a_time = machine.concurrency.min(machine.hosts.len()) as u64;
    let wanted = at_a_time * DESCRIPTORS_EACH + DESCRIPTORS_BESIDE;
    match machine.descriptors {
        Some(limit) if limit < wanted => {
            Verdict::fail(format!("at most {limit} open files; {at_a_time} hosts at a time take some {wanted}"))
        }
        Some(limit) => Verdict::ok(format!("{limit} for {at_a_time} hosts at a time")),
        None => Verdict::ok("unlimited"),
    }
}
