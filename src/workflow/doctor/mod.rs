//! The preflight: every host examined in one login each, and this machine once. Nothing is changed anywhere.
//!
//! What is looked at are named checks ([`HOST_CHECKS`], [`MACHINE_CHECKS`]). A host that cannot be examined gets the one
//! check failed that stopped it; what comes after that is skipped. Before anything was generated, what needs credentials
//! is skipped.

mod check;
mod host_keys;
mod login;
mod machine;
mod place;
mod surroundings;
mod twins;

pub use check::{Check, Finding, Status, Verdict, worst};
pub use host_keys::{HostKeys, Scan, ScanObserver};
pub use machine::{MACHINE_CHECKS, Machine, MachineCheck, SteeringFiles, examine_machine};

use super::{
    InterruptObserver,
    distribute::Fleet,
    fanout::{self, Progress},
};
use crate::{
    bundle::{Bundle, HostFile},
    inventory::{Host, Services},
    remote::{
        self,
        installer::examine::{Examination, Questions, examine_host},
        ssh::{Account, SshRemote},
    },
};
use jiff::Timestamp;
use serde::Serialize;
use surroundings::AskedUnits;
use twins::Shown;

/// Worked out for one host.
pub type HostCheck = Check<fn(&Subject<'_>) -> Verdict>;

/// What the checks of a host look at.
pub struct Subject<'a> {
    pub host: &'a Host,
    /// Where and as whom it was logged in to; `None` for a local host.
    pub account: Option<Account>,
    /// What would be installed: outlines without content while there are no credentials.
    pub files: &'a [HostFile],
    pub credentials: Credentials,
    pub examination: &'a Examination,
    /// Before and after the host told its time.
    pub asked: (Timestamp, Timestamp),
    units: &'a AskedUnits,
}

/// Whether there is anything to install yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credentials {
    Stored,
    NotMade,
}

/// Every check of a host, in the order they are run and shown. The first five are the way to it.
pub const HOST_CHECKS: [HostCheck; 16] = [
    Check { name: login::CONNECTION, hint: "", run: login::connection },
    Check { name: login::HOST_KEY, hint: "", run: login::host_key },
    Check { name: login::LOGIN, hint: "", run: login::login },
    Check { name: login::BECOME, hint: "log in as root, or set become = \"sudo\"", run: login::become_root },
    Check { name: login::TOOLS, hint: "install coreutils or busybox on the host", run: login::tools },
    Check {
        name: "sudo-input-log",
        hint: "let sudo not record what this login sends: `Defaults:USER !log_input, !log_stdin`, or the tag NOLOG_INPUT on its \
               rule; remove what is recorded already (iolog_dir, usually /var/log/sudo-io) and rotate what it holds",
        run: login::sudo_input,
    },
    Check { name: "directory", hint: "", run: place::directory },
    Check { name: "targets", hint: "", run: place::targets },
    Check { name: "credentials", hint: "", run: place::credentials },
    Check {
        name: "file-system",
        hint: "remount it read-write, or set [distribute] directory elsewhere",
        run: place::file_system,
    },
    Check { name: "space", hint: "free space or inodes there (`df`, `df -i`)", run: place::space },
    Check {
        name: "leftovers",
        hint: "unless another run is under way, the next install sweeps them",
        run: place::leftovers,
    },
    Check {
        name: "clock",
        hint: "set the host's clock: look with `timedatectl`; chrony or systemd-timesyncd keep it right",
        run: surroundings::clock,
    },
    Check {
        name: "units",
        hint: "look with `systemctl status UNIT`, or mend the command in [services]",
        run: surroundings::units,
    },
    Check {
        name: "apiserver",
        hint: "check [cluster] server (or the host's own), routes and firewalls; `--skip apiserver` before there is one",
        run: surroundings::apiserver,
    },
    Check { name: twins::NAME, hint: twins::HINT, run: |_| Verdict::ok("no other host shows its key") },
];

/// One host, examined.
#[derive(Debug, Clone, Serialize)]
pub struct HostHealth {
    pub name: String,
    /// The worst of its checks; `skipped`: not begun, because of an interrupt.
    pub status: Status,
    pub checks: Vec<Finding>,
    #[serde(skip)]
    pub begun: bool,
}

/// What the examination is told beside the fleet.
pub struct Preflight<'a> {
    /// What finds out where and as whom a host is logged in to.
    pub ssh: &'a SshRemote,
    pub bundles: &'a [Bundle<'a>],
    pub credentials: Credentials,
    pub ca_pem: Option<&'a str>,
    pub services: &'a Services,
    /// Names of checks that are left out.
    pub left_out: &'a [String],
}

/// Told how it comes along. Called on one thread.
pub trait HealthObserver: InterruptObserver {
    fn host_examined(&self, health: &HostHealth);
}

/// Examines every host; the result is in the order of the bundles.
pub fn examine_hosts(fleet: &Fleet, preflight: &Preflight, observer: &dyn HealthObserver) -> Vec<HostHealth> {
    let mut results = fanout::run_on_each(
        preflight.bundles,
        fleet.concurrency,
        fleet.interrupt,
        |bundle| fanout::guarded(|| examine(fleet, preflight, bundle), || lost(bundle)),
        |progress| match progress {
            Progress::Started(_) => {}
            Progress::Done(_, (health, _)) => observer.host_examined(health),
            Progress::Interrupted(in_flight) => observer.interrupted(*in_flight),
        },
    );
    twins::compare(preflight.bundles, &mut results);
    let pairs = results.into_iter().zip(preflight.bundles);
    pairs.map(|(health, bundle)| health.map_or_else(|| not_begun(bundle.host), |(health, _)| health)).collect()
}

fn examine(fleet: &Fleet, preflight: &Preflight, bundle: &Bundle) -> (HostHealth, Option<Shown>) {
    let is_left_out = |name: &str| preflight.left_out.iter().any(|out| out == name);
    let units = AskedUnits::of(bundle.host, preflight.services);
    let questions = Questions {
        units: if is_left_out("units") { &[] } else { &units.names },
        server: Some(&bundle.host.server).filter(|_| !is_left_out("apiserver")),
        ca_pem: preflight.ca_pem,
    };
    let began = fleet.clock.now();
    let answer = examine_host(fleet.remote, bundle.host, &bundle.files, fleet.foreign, questions, fleet.entropy);
    let asked = (began, fleet.clock.now());
    let checks: Vec<Finding> = match &answer {
        Ok(examination) => {
            let (host, files, credentials) = (bundle.host, &*bundle.files, preflight.credentials);
            let account = preflight.ssh.account(host);
            let subject = Subject { host, account, files, credentials, examination, asked, units: &units };
            let run = |check: &HostCheck| match is_left_out(check.name) {
                true => check.finding(Verdict::skipped("left out by --skip")),
                false => check.finding((check.run)(&subject)),
            };
            HOST_CHECKS.iter().map(run).collect()
        }
        Err(error) => stopped(error),
    };
    let name = bundle.host.name.as_str().to_owned();
    (HostHealth { name, status: worst(&checks), checks, begun: true }, answer.ok().map(Shown::by))
}

/// A host at which we panicked.
fn lost(bundle: &Bundle) -> (HostHealth, Option<Shown>) {
    let checks = stopped(&remote::Error::Bug);
    (HostHealth { name: bundle.host.name.as_str().to_owned(), status: worst(&checks), checks, begun: true }, None)
}

/// The checks of a host that an error kept from being examined.
fn stopped(error: &remote::Error) -> Vec<Finding> {
    let stage = login::stage(error);
    let mut is_past = false;
    let run = |check: &HostCheck| {
        let verdict = if check.name == stage {
            is_past = true;
            Verdict::fail(error.to_string()).code(error.code()).hint(error.hint())
        } else if is_past {
            Verdict::skipped(format!("stopped at: {stage}"))
        } else {
            Verdict::ok("passed")
        };
        check.finding(verdict)
    };
    HOST_CHECKS.iter().map(run).collect()
}

fn not_begun(host: &Host) -> HostHealth {
    let skipped = |check: &HostCheck| check.finding(Verdict::skipped("interrupted before this host was begun"));
    let checks = HOST_CHECKS.iter().map(skipped).collect();
    HostHealth { name: host.name.as_str().to_owned(), status: Status::Skipped, checks, begun: false }
}
