//! `kubemint doctor`: the preflight, on every host and on this machine; and with `--scan-host-keys` their keys.

mod host_keys;

use super::{
    context::Context,
    failure::{Exit, Failure},
    hosts::{self, InstallArgs, LONGEST_TABLE, counted},
    output::{Output, Tone},
    progress::Progress,
};
use crate::{
    bundle::{self, CredentialSet},
    inventory::{Host, Inventory, Limits},
    remote::installer::ForeignPolicy,
    store::{self, Snapshot, Store},
    workflow::{
        doctor::{
            self, Credentials, Finding, HOST_CHECKS, HostHealth, MACHINE_CHECKS, Machine, Preflight, Status,
            SteeringFiles,
        },
        generate::{self, Step},
        stored::read_stored_set,
    },
};
use serde::Serialize;
use std::collections::BTreeMap;

/// Check every host, and this machine, before anything is installed
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Check every host, and this machine, before anything is installed.\n\n\
        Each host is one login, and nothing is changed there: connection, host key, login, root, tools, directories and \
        targets as the installer judges them, credentials of other clusters, file system, space, clock, systemd units, \
        and whether it reaches the apiserver. Works before anything was generated. Exits with 6 when something would \
        fail; warnings are 0.",
    after_help = "\
Examples:
  kubemint doctor
  kubemint doctor --skip apiserver                  before there is an apiserver
  kubemint doctor -o json | jq '.hosts[] | select(.status == \"fail\").name'
  kubemint doctor --scan-host-keys --limit node042  the host's keys, for a person to compare"
)]
pub(super) struct Args {
    #[command(flatten)]
    install: InstallArgs,
    /// Leave out checks, by name: apiserver, units, …
    #[arg(long, value_name = "CHECK[,…]", value_delimiter = ',', conflicts_with = "scan_host_keys")]
    skip: Vec<String>,
    /// Print the hosts' keys as lines for known_hosts, for a person to compare; nothing is written
    #[arg(long)]
    scan_host_keys: bool,
    /// With --scan-host-keys: ask for every key a host has, at up to three connections each
    #[arg(long, requires = "scan_host_keys")]
    all_types: bool,
}

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    version: u32,
    /// Nothing would fail.
    ok: bool,
    /// This machine's checks.
    machine: &'a [Finding],
    hosts: &'a [HostHealth],
    summary: Summary,
}

#[derive(Debug, Serialize)]
struct Summary {
    hosts: usize,
    ok: usize,
    warn: usize,
    fail: usize,
    skipped: usize,
}

/// At the hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    Taken,
    Refused,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Exit, Failure> {
    refuse_unknown_checks(&args.skip)?;
    if !args.scan_host_keys {
        context.steering.note_only();
    }
    let inventory = context.inventory()?;
    let hosts = context.hosts(&inventory)?;
    if args.scan_host_keys {
        return host_keys::run(args, context, &inventory, &hosts);
    }
    context.judge_templates()?;
    let local = Local::look(context, &inventory);
    let remote = context.remote(&inventory, &args.install.hosts, &hosts)?;
    let concurrency = args.install.hosts.concurrency(&inventory);
    let exposed = context.steering.found();
    let worst = if context.steering.is_refusing() { Status::Fail } else { Status::Warn };
    let machine = doctor::examine_machine(
        &Machine {
            inventory: &inventory,
            hosts: &hosts,
            store: &local.store,
            snapshot: &local.snapshot,
            steps: &local.steps,
            ssh: remote.ssh(),
            now: context.now(),
            concurrency,
            descriptors: Context::descriptors(),
            steering: SteeringFiles { exposed: &exposed, worst },
        },
        &args.skip,
    );
    let set = local.set(&inventory);
    // The author of such an inventory would be shown our keys and passwords: no host is reached, as in every other command.
    let look = if exposed.is_empty() || worst < Status::Fail { Look::Taken } else { Look::Refused };
    let hosts = if look == Look::Taken { hosts } else { Vec::new() };
    let health = examine_hosts(args, context, &inventory, &hosts, set.as_ref(), (&remote, concurrency))?;
    let count = |status| health.iter().filter(|host| host.status == status).count();
    let summary = Summary {
        hosts: health.len(),
        ok: count(Status::Ok),
        warn: count(Status::Warn),
        fail: count(Status::Fail),
        skipped: count(Status::Skipped),
    };
    let ok = summary.fail == 0 && doctor::worst(&machine) < Status::Fail;
    let document = Document { schema: "kubemint/doctor", version: 1, ok, machine: &machine, hosts: &health, summary };
    context.output.answer(&document, || text(context.output, &document, look))?;
    Ok(match context.signals.exit() {
        Some(interrupted) => interrupted,
        None if ok => Exit::Done,
        None => Exit::Drift,
    })
}

fn refuse_unknown_checks(names: &[String]) -> Result<(), Failure> {
    let known: Vec<&str> =
        HOST_CHECKS.iter().map(|check| check.name).chain(MACHINE_CHECKS.iter().map(|check| check.name)).collect();
    match names.iter().find(|name| !known.contains(&name.as_str())) {
        None => Ok(()),
        Some(name) => Err(Failure::bad_input("unknown_check", format!("--skip: there is no check {name:?}"))
            .hint(format!("the checks are {}", known.join(", ")))),
    }
}

/// The credential directory as it is; that it cannot be read is a finding, no failure.
struct Local {
    store: Store,
    snapshot: Result<Snapshot, store::Error>,
    steps: Option<Result<Vec<Step>, generate::Error>>,
}

impl Local {
    fn look(context: &Context, inventory: &Inventory) -> Self {
        let store = context.store(inventory);
        let snapshot = store.load();
        let steps = snapshot.as_ref().ok().map(|snapshot| {
            let given = generate::read_given_authority(inventory, context.now())?;
            if snapshot.state.is_none() {
                given.check_dates(inventory, context.now())?;
                return Ok(Vec::new());
            }
            let plan = generate::plan_generation(inventory, given, snapshot, context.now(), &context.entropy)?;
            Ok(plan.steps)
        });
        Self { store, snapshot, steps }
    }

    fn set(&self, inventory: &Inventory) -> Option<CredentialSet> {
        let snapshot = self.snapshot.as_ref().ok().filter(|snapshot| snapshot.state.is_some())?;
        read_stored_set(inventory, snapshot).ok()
    }
}

fn examine_hosts(
    args: &Args,
    context: &Context,
    inventory: &Inventory,
    hosts: &[&Host],
    set: Option<&CredentialSet>,
    (remote, concurrency): (&crate::remote::HostRemote, usize),
) -> Result<Vec<HostHealth>, Failure> {
    let (bundles, credentials, foreign) = match set {
        Some(set) => (bundle::build_bundles(hosts, set)?, Credentials::Stored, args.install.foreign()),
        // With nothing of ours to compare with, nothing is another cluster's.
        None => (bundle::build_outlines(hosts, inventory.token_form), Credentials::NotMade, ForeignPolicy::Replace),
    };
    let preflight = Preflight {
        ssh: remote.ssh(),
        bundles: &bundles,
        credentials,
        ca_pem: set.map(|set| set.ca_pem.as_str()),
        services: &inventory.services,
        left_out: &args.skip,
    };
    let progress = Progress::new(context.output, hosts.len());
    let fleet = context.fleet(remote, concurrency, foreign, Limits::default());
    let health = doctor::examine_hosts(&fleet, &preflight, &progress);
    progress.finish();
    Ok(health)
}

/// What needs attention; with -v everything. Hosts in order have a line each while there are few.
fn text(output: &Output, document: &Document, look: Look) -> String {
    let all = output.is_verbose();
    let few = document.hosts.len() <= LONGEST_TABLE;
    let matters = |finding: &&Finding| all || finding.status >= Status::Warn;
    let mut rows: Vec<[String; 4]> = Vec::new();
    let mut add = |name: &str, status: Status, checks: &[Finding], calm: bool| {
        let mut name = name.to_owned();
        for finding in checks.iter().filter(matters) {
            let word = output.paint(tone(finding.status), finding.status.name());
            rows.push([std::mem::take(&mut name), word, finding.check.to_owned(), finding.detail.clone()]);
        }
        if !name.is_empty() && calm {
            rows.push([name, output.paint(tone(status), status.name()), String::new(), remark(status, checks)]);
        }
    };
    add("(this machine)", doctor::worst(document.machine), document.machine, true);
    for host in document.hosts {
        add(&host.name, host.status, &host.checks, few || !host.begun);
    }
    let mut text = Output::table(["HOST", "", "CHECK", "DETAIL"], rows);
    text += &hints(document);
    let s = &document.summary;
    let skipped = if s.skipped > 0 { format!(", {} not begun", s.skipped) } else { String::new() };
    let machine = match doctor::worst(document.machine) {
        Status::Fail => "; this machine fails",
        Status::Warn => "; this machine with warnings",
        Status::Ok | Status::Skipped => "",
    };
    if look == Look::Refused {
        text += "\nhosts were not looked at (untrusted_file): others may change what says where they are\n";
        return text;
    }
    text += &format!(
        "\n{}: {} ok, {} with warnings, {} would fail{skipped}{machine}\n",
        counted(s.hosts, "host"),
        s.ok,
        s.warn,
        s.fail
    );
    text
}

fn remark(status: Status, checks: &[Finding]) -> String {
    let skipped = checks.iter().filter(|finding| finding.status == Status::Skipped).count();
    match (status, skipped) {
        (Status::Skipped, _) => checks.first().map(|finding| finding.detail.clone()).unwrap_or_default(),
        (_, 0) => counted(checks.len(), "check"),
        (_, skipped) => format!("{}, {skipped} skipped (-v says why)", counted(checks.len() - skipped, "check")),
    }
}

/// Each cure once, with whom it is for.
fn hints(document: &Document) -> String {
    let mut cures: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    let of_machine = document.machine.iter().map(|finding| ("(this machine)", finding));
    let of_hosts =
        document.hosts.iter().flat_map(|host| host.checks.iter().map(|finding| (host.name.as_str(), finding)));
    for (name, finding) in of_machine.chain(of_hosts) {
        if let Some(hint) = &finding.hint {
            cures.entry((finding.check, hint)).or_default().push(name);
        }
    }
    let line = |((check, hint), names): ((&str, &str), Vec<&str>)| {
        format!("\n{check}, {}:\n  hint: {hint}\n", hosts::listed(&names))
    };
    cures.into_iter().map(line).collect()
}

const fn tone(status: Status) -> Tone {
    match status {
        Status::Ok => Tone::Good,
        Status::Warn => Tone::Changed,
        Status::Fail => Tone::Bad,
        Status::Skipped => Tone::Faint,
    }
}
