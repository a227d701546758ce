//! kubemint dies at every system call of an apply that matters, one at a time: the state loads, a committed CA is never
//! made again, each file of each host is the old or the new one byte for byte, and one further run converges.
//!
//! An undisturbed run under strace says which calls there are: what it does to its credential directory, and what it sends
//! to hosts. Then each is met on its own with SIGKILL.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "test code")]

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::process::ExitStatusExt,
    process::{Command, ExitStatus},
};
use support::{Fleet, Holding, Member, TestHost, cluster_table, eventually, require};

/// What changes the credential directory, or goes to a host. Those with a question mark not every machine has.
const CALLS: &str = "?open,openat,write,fsync,fdatasync,ftruncate,flock,?rename,renameat,renameat2,?link,linkat,?mkdir,\
                     mkdirat,?unlink,unlinkat,?rmdir,?chmod,fchmod,fchmodat,sendto";
const ROLES: [&[&str]; 2] = [&["control-plane"], &["node"]];
const CA: [&str; 2] = ["ca.pem", "ca-key.pem"];

/// Two hosts and a credential directory, and how they were before the apply that is swept.
struct World {
    fleet: Fleet,
    old: Vec<Holding>,
}

/// The n-th call of this name in one thread.
type Point = (String, usize);

impl World {
    /// `begin` does what comes before; the inventory then asks for `settings`.
    fn new(begin: impl Fn(&mut Fleet), settings: &str) -> Self {
        let member = |(n, roles)| Member::new(TestHost::builder(&format!("host-{n}"))).roles(roles);
        let mut fleet = Fleet::new(ROLES.into_iter().enumerate().map(member).collect());
        begin(&mut fleet);
        fleet.set_settings(settings);
        for host in &fleet.hosts {
            host.must("cp -a /etc/kubernetes /mnt/old");
        }
        // Absent is what it is before a first run.
        let _ = fs::rename(fleet.env.path("state"), fleet.env.path("old-state"));
        let old = (0..ROLES.len()).map(|index| fleet.holding(index)).collect();
        Self { fleet, old }
    }

    fn reset(&self) {
        let (state, old) = (self.fleet.env.path("state"), self.fleet.env.path("old-state"));
        let _ = fs::remove_dir_all(&state);
        if old.exists() {
            assert!(Command::new("cp").arg("-a").args([&old, &state]).status().unwrap().success());
        }
        for host in &self.fleet.hosts {
            host.must("rm -rf /etc/kubernetes && cp -a /mnt/old /etc/kubernetes");
        }
    }

    fn apply_under_strace(&self, options: &[&str]) -> ExitStatus {
        let mut strace = Command::new(require("strace"));
        strace.args(["-f", "-qq"]).args(options).arg(env!("CARGO_BIN_EXE_kubemint"));
        strace.args(["apply", "-q", "-o", "json"]).env_clear().env("HOME", self.fleet.env.path("home"));
        strace.env("PATH", std::env::var_os("PATH").unwrap()).current_dir(self.fleet.env.dir());
        strace.output().unwrap().status
    }

    /// What an undisturbed run calls, in each thread.
    fn points(&self) -> BTreeSet<Point> {
        self.reset();
        let log = self.fleet.env.path("trace");
        let status =
            self.apply_under_strace(&["-s", "0", "-o", log.to_str().unwrap(), "-e", &format!("trace={CALLS}")]);
        assert!(status.success());
        let (mut points, mut counts) = (BTreeSet::new(), BTreeMap::<(String, String), usize>::new());
        for line in fs::read_to_string(&log).unwrap().lines() {
            let Some((thread, rest)) = line.split_once(' ') else { continue };
            let Some((call, arguments)) = rest.trim_start().split_once('(') else { continue };
            let count = counts.entry((thread.to_owned(), call.to_owned())).or_default();
            *count += 1;
            let only_reads =
                call.starts_with("open") && !["O_WRONLY", "O_RDWR", "O_CREAT"].iter().any(|f| arguments.contains(f));
            // What the kernel declined has changed nothing, such as making a directory that is there.
            if !only_reads && !arguments.contains(" = -1 E") {
                points.insert((call.to_owned(), *count));
            }
        }
        points
    }

    fn ca(&self) -> Option<[String; 2]> {
        let path = |name: &str| format!("state/{name}");
        CA.iter()
            .all(|name| self.fleet.env.path(path(name)).exists())
            .then(|| CA.map(|name| self.fleet.env.read(path(name))))
    }

    /// Whether a run was killed there. If it was, everything is looked at, and one more run converges.
    fn is_killed_at(&self, (call, when): &Point) -> bool {
        self.reset();
        let inject = format!("inject={call}:signal=SIGKILL:when={when}");
        let status = self.apply_under_strace(&["-o", "/dev/null", "-e", &format!("trace={call}"), "-e", &inject]);
        if status.success() {
            return false;
        }
        let step = format!("{call} {when}");
        assert_eq!(status.signal(), Some(9), "{step}: {status:?}");
        // What a host has begun it finishes, as after any lost connection.
        for host in &self.fleet.hosts {
            eventually("the hosts to come to rest", || host.session_pids().is_empty().then_some(()));
        }
        let ca = self.ca();
        let found: Vec<Holding> = (0..ROLES.len()).map(|index| self.fleet.holding(index)).collect();
        let ran = self.fleet.run(&["apply"]);
        assert_eq!(ran.code, 0, "{step}: {ran:?}");
        if let Some(ca) = ca {
            assert!(self.ca() == Some(ca), "{step}: the CA was made anew");
        }
        let verified = self.fleet.run(&["verify"]);
        assert_eq!(verified.code, 0, "{step}: {verified:?}");
        let left = self.fleet.env.files("state").into_iter().find(|file| file.extension() == Some("tmp".as_ref()));
        assert!(left.is_none(), "{step}: {left:?}");
        for (index, found) in found.iter().enumerate() {
            self.assert_old_or_new(index, found, &step);
            let previous: Vec<String> =
                self.old[index].keys().map(|name| format!(".{name}.kubemint-previous")).collect();
            self.fleet.assert_complete_beside(index, &previous.iter().map(String::as_str).collect::<Vec<_>>());
        }
        true
    }

    /// Of what was found after the kill, each file is the old one or the one that is there now.
    fn assert_old_or_new(&self, index: usize, found: &Holding, step: &str) {
        let now = self.fleet.holding(index);
        for (name, entry) in found {
            assert_eq!(entry.0, (0o600, 0, 0), "{step}: {name}");
            let known = [self.old[index].get(name), now.get(name)].contains(&Some(entry));
            assert!(known || name.ends_with(".tmp"), "{step}: {name} is neither the old nor the new one");
        }
        assert!(self.old[index].keys().all(|name| found.contains_key(name)), "{step}: a file is gone");
    }

    fn sweep(&self, least: &[(&str, usize)]) {
        let points = self.points();
        let killed: Vec<&Point> = points.iter().filter(|point| self.is_killed_at(point)).collect();
        let count = |call: &str| killed.iter().filter(|(name, _)| name.starts_with(call)).count();
        let counts: BTreeMap<&str, usize> = points.iter().map(|(call, _)| (call.as_str(), count(call))).collect();
        println!("killed at {} of {} points: {counts:?}", killed.len(), points.len());
        for (call, least) in least {
            assert!(count(call) >= *least, "{call}: {counts:?}");
        }
        // What threads share among themselves may come out otherwise; what the directory sees may not.
        let missed =
            points.iter().filter(|point| !killed.contains(point) && !["sendto", "write"].contains(&point.0.as_str()));
        let missed: Vec<_> = missed.collect();
        assert!(missed.is_empty(), "{missed:?}");
    }
}

#[test]
fn killed_at_every_call_of_a_first_apply() {
    need_root!();
    let world = World::new(|_| {}, "");
    world.sweep(&[
        ("rename", 9),
        ("fsync", 18),
        ("openat", 10),
        ("mkdir", 3),
        ("write", 10),
        ("flock", 1),
        ("sendto", 6),
    ]);
}

#[test]
fn killed_at_every_call_of_an_apply_that_renews() {
    need_root!();
    let first = |fleet: &mut Fleet| drop(fleet.run(&["apply"]).expect(0));
    let wishes = cluster_table("https://172.20.0.114:6443")
        + "[certificates.kube-proxy]\norganization = \"x\"\n[token]\nuid = \"7\"\n";
    let world = World::new(first, &wishes);
    world.sweep(&[
        ("rename", 7),
        ("fsync", 14),
        ("openat", 8),
        ("mkdir", 1),
        ("write", 8),
        ("flock", 1),
        ("sendto", 6),
    ]);
}
