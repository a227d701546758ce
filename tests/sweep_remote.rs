//! The far side dies, or its disk fails, at every system call of an install that changes something, one at a time: each
//! file is the old or the new one, byte for byte and closed to others, and one further run brings what an undisturbed one
//! brings.
//!
//! An undisturbed run under strace says which calls there are. Then each is met on its own: the program that makes it is
//! killed there, and the script that called it with it; or the call fails, and the script has to cope. Several hosts are
//! swept at the same time, each at a point of its own.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "test code")]

mod support;

use std::{collections::BTreeMap, os::unix::fs::MetadataExt};
use support::{Fleet, Holding, Member, TestHost, cluster_table, host_of, require};

const HOSTS: usize = 8;
const DIR: &str = "/etc/kubernetes";
/// What changes a file system, and what the reply is written with. Those with a question mark not every machine has.
const CALLS: &str = "?open,openat,?creat,write,pwrite64,fsync,fdatasync,sync,syncfs,?rename,renameat,renameat2,?link,linkat,\
                     ?unlink,unlinkat,?chmod,fchmod,fchmodat,?chown,fchown,?lchown,fchownat,?mkdir,mkdirat,ftruncate,\
                     truncate,?symlink,symlinkat,copy_file_range,sendfile";
/// Comes before the system's own `sh`: does what /mnt/sweep/point says.
const WRAPPED_SHELL: &str = r#"#!/bin/sh
read -r number call when action </mnt/sweep/point
echo 0 >/mnt/sweep/count
echo $$ >/mnt/sweep/shell
case $number in
none) PATH=/usr/sbin:/usr/bin:/sbin:/bin exec /bin/sh "$@" ;;
trace) PATH=/usr/sbin:/usr/bin:/sbin:/bin exec strace -f -qq -s 0 -o /mnt/sweep/trace -e trace="execve,$call" /bin/sh "$@" ;;
0) exec strace -qq -o /dev/null -e trace="$call" -e inject="$call:$action:when=$when" /bin/sh "$@" ;;
*) exec /bin/sh "$@" ;;
esac
"#;
/// Comes before a program the script calls: is it that one's turn?
const WRAPPED_PROGRAM: &str = r#"#!/bin/sh
read -r count </mnt/sweep/count
count=$((count + 1))
echo "$count" >/mnt/sweep/count
read -r number call when action </mnt/sweep/point
[ "$number" = "$count" ] || exec @REAL@ "$@"
strace -qq -o /dev/null -e trace="$call" -e inject="$call:$action:when=$when" @REAL@ "$@"
status=$?
read -r shell </mnt/sweep/shell
case $action in signal=*) kill -9 "$shell" ;; esac
exit "$status"
"#;

/// Which file stands under which name.
type Inodes = Vec<(String, u64)>;

/// One system call of the install.
#[derive(Debug, Clone)]
struct Point {
    program: String,
    /// 0: the shell; else which of the programs that change something, in their order.
    number: usize,
    call: String,
    /// Which of that program's calls of this name.
    when: usize,
}

/// A fleet whose hosts can be swept, and what each starts from.
struct Sweep {
    fleet: Fleet,
    points: Vec<Point>,
    old: Holding,
    new: Holding,
}

fn tell(host: &TestHost, line: &str) {
    host.write("/mnt/sweep/point", &format!("{line}\n"));
}

impl Sweep {
    /// `begin` makes the hosts what the install shall meet; the inventory then asks for something else.
    fn new(begin: impl Fn(&mut Fleet)) -> Self {
        let option = "SetEnv PATH=/mnt/wrap:/usr/sbin:/usr/bin:/sbin:/bin";
        let member = |n| Member::new(TestHost::builder(&format!("host-{n}")).sshd_option(option));
        let mut fleet = Fleet::new((1..=HOSTS).map(|n| member(n).roles(&["control-plane", "node"])).collect());
        for host in &fleet.hosts {
            host.write("/mnt/wrap/sh", WRAPPED_SHELL);
            host.must("chmod 755 /mnt/wrap/sh");
            tell(host, "none");
        }
        begin(&mut fleet);
        for host in &fleet.hosts {
            host.must(&format!("rm -rf /mnt/old; ! test -d {DIR} || cp -a {DIR} /mnt/old"));
        }
        let old = fleet.holding(0);
        fleet.set_settings(&asks_for(3));
        tell(&fleet.hosts[0], &format!("trace {CALLS}"));
        fleet.run(&["apply"]).expect(0);
        let new = fleet.holding(0);
        (0..HOSTS).for_each(|index| assert!(fleet.holding(index) == new));
        let points = read_points(&fleet.hosts[0].read("/mnt/sweep/trace"));
        let sweep = Self { fleet, points, old, new };
        sweep.wrap_programs();
        sweep
    }

    fn wrap_programs(&self) {
        for host in &self.fleet.hosts {
            for point in self.points.iter().filter(|point| point.number > 0) {
                let wrapper = format!("/mnt/wrap/{}", point.program);
                host.write(&wrapper, &WRAPPED_PROGRAM.replace("@REAL@", require(&point.program).to_str().unwrap()));
                host.must(&format!("chmod 755 {wrapper}"));
            }
        }
    }

    /// Meets each of these points with `action`, a host for each, as many at a time as there are hosts.
    fn run(&self, met: &[(Point, &str)], check: impl Fn(&Self, usize, &Point, &serde_json::Value)) {
        for some in met.chunks(HOSTS) {
            for (host, (point, action)) in self.fleet.hosts.iter().zip(some) {
                host.must(&format!("rm -rf {DIR}; ! test -d /mnt/old || cp -a /mnt/old {DIR}"));
                tell(host, &format!("{} {} {} {action}", point.number, point.call, point.when));
            }
            let before: Vec<Inodes> = (0..some.len()).map(|index| self.inodes(index)).collect();
            let (_, report) = self.fleet.json(&["apply"]);
            for (index, (point, action)) in some.iter().enumerate() {
                self.assert_whole(index, &format!("{point:?} {action}"));
                let host = host_of(&report, self.fleet.hosts[index].name());
                if host["untouched"] == true {
                    assert!(self.fleet.holding(index) == self.old, "{point:?} {action}: {host:#}");
                    assert_eq!(self.inodes(index), before[index], "{point:?} {action}: {host:#}");
                }
                check(self, index, point, host);
                tell(&self.fleet.hosts[index], "none");
            }
            let (exit, report) = self.fleet.json(&["apply"]);
            assert_eq!(exit, 0, "{some:?} {report:#}");
            for (index, (point, action)) in some.iter().enumerate() {
                self.assert_converged(index, point, action);
            }
        }
    }

    fn inodes(&self, index: usize) -> Inodes {
        let inode = |name: String| {
            let path = self.fleet.hosts[index].path(&self.fleet.file(index, &name));
            (name, path.symlink_metadata().unwrap().ino())
        };
        self.fleet.names(index).into_iter().map(inode).collect()
    }

    /// Every file is the old or the new one, and whatever else lies there is closed to others.
    fn assert_whole(&self, index: usize, point: &str) {
        let now = self.fleet.holding(index);
        for (name, entry) in &now {
            assert_eq!(entry.0, (0o600, 0, 0), "{point}: {name}");
            let is_spare_link = name.len() == 8 && name.starts_with("Cu") && self.old.values().any(|old| old == entry);
            if !name.ends_with(".tmp") && !is_spare_link {
                let known = [self.old.get(name), self.new.get(name)].contains(&Some(entry));
                assert!(known, "{point}: {name} is neither the old nor the new one");
            }
        }
        for (name, old) in &self.old {
            let kept = format!(".{name}.kubemint-previous");
            let (Some(now_kept), false) = (now.get(&kept), self.old.get(name) == self.new.get(name)) else { continue };
            let is_kept = if now.get(name) == Some(old) {
                // As it was, or between the two renames of a kill: the old one under both names.
                Some(now_kept) == self.old.get(&kept) || now_kept == old
            } else {
                now_kept == old
            };
            assert!(is_kept, "{point}: {kept} belongs to another version than {name}");
        }
        let lost = self.old.keys().find(|name| !now.contains_key(*name));
        assert!(lost.is_none(), "{point}: {lost:?} is gone");
    }

    /// The host holds what an undisturbed run leaves.
    fn assert_converged(&self, index: usize, point: &Point, action: &str) {
        let now = self.fleet.holding(index);
        let names = |holding: &Holding| holding.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&now), names(&self.new), "{point:?} {action}");
        for (name, entry) in &self.new {
            assert!(now[name] == *entry, "{point:?} {action}: {name} is not what an undisturbed run leaves");
        }
    }
}

fn asks_for(generation: u8) -> String {
    cluster_table(&format!("https://172.20.0.{generation}:6443")) + &format!("[token]\nuid = \"{generation}\"\n")
}

/// The changing calls of a trace, in their order. A child counts from the program it becomes.
fn read_points(trace: &str) -> Vec<Point> {
    let mut programs: BTreeMap<&str, (String, BTreeMap<String, usize>)> = BTreeMap::new();
    let mut points: Vec<(String, String, Point)> = Vec::new();
    let mut order: Vec<String> = Vec::new();
    for line in trace.lines() {
        let Some((pid, rest)) = line.split_once(' ') else { continue };
        let Some((call, arguments)) = rest.trim_start().split_once('(') else { continue };
        if call == "execve" {
            if rest.ends_with("= 0") {
                let program = arguments.split('"').nth(1).unwrap().rsplit('/').next().unwrap().to_owned();
                programs.insert(pid, (program, BTreeMap::new()));
                order.push(pid.to_owned());
            }
            continue;
        }
        let (program, calls) = programs.entry(pid).or_default();
        let when = calls.entry(call.to_owned()).or_default();
        *when += 1;
        let only_reads =
            call.starts_with("open") && !["O_WRONLY", "O_RDWR", "O_CREAT"].iter().any(|f| arguments.contains(f));
        // Such as when the time limit is taken back.
        let changes_nothing = only_reads || arguments.contains("\"/dev/null\"");
        if !changes_nothing && !program.is_empty() {
            let point = Point { program: program.clone(), number: 0, call: call.to_owned(), when: *when };
            points.push((pid.to_owned(), program.clone(), point));
        }
    }
    // The shell is the first; of the others those count whose name changes something somewhere.
    let shell = order.first().cloned().unwrap();
    let changing: Vec<&String> =
        points.iter().filter(|(pid, ..)| *pid != shell).map(|(_, program, _)| program).collect();
    let counted: Vec<&String> =
        order.iter().skip(1).filter(|pid| changing.contains(&&programs[pid.as_str()].0)).collect();
    let number = |pid: &String| counted.iter().position(|other| *other == pid).map_or(0, |n| n + 1);
    points.iter().map(|(pid, _, point)| Point { number: number(pid), ..point.clone() }).collect()
}

/// How a call fails on a disk that is full, or else broken.
fn failure(call: &str) -> &'static str {
    if ["write", "open", "creat", "mkdir", "link"].iter().any(|name| call.starts_with(name)) {
        "error=ENOSPC"
    } else {
        "error=EIO"
    }
}

/// At every point: killed, with everything the host still runs for us.
fn kill_everywhere(sweep: &Sweep) {
    let killed: Vec<_> = sweep.points.iter().map(|point| (point.clone(), "signal=SIGKILL")).collect();
    sweep.run(&killed, |_, _, point, host| {
        assert_eq!(host["error"]["code"], "connection_lost", "{point:?}");
        assert!(host["untouched"].is_null(), "{point:?}: {host:#}");
    });
}

/// At every point: the call fails, and the host tidies up after itself.
fn fail_everywhere(sweep: &Sweep) {
    let failing: Vec<_> = sweep.points.iter().map(|point| (point.clone(), failure(&point.call))).collect();
    sweep.run(&failing, |sweep, index, point, host| {
        for (name, kept) in sweep.old.iter().filter(|(name, _)| name.ends_with(".kubemint-previous")) {
            let file = name.trim_start_matches('.').trim_end_matches(".kubemint-previous");
            let now = sweep.fleet.holding(index);
            let is_old = now.get(file) == sweep.old.get(file);
            assert!(!is_old || now.get(name) == Some(kept), "{point:?}: {name} is not what it was");
        }
        // What the shell itself could not write is no answer.
        let is_told = !["protocol_garbled", "shell_unusable"].iter().any(|code| host["error"]["code"] == **code);
        if is_told && host["status"] == "failed" && sweep.fleet.holding(index) == sweep.old {
            assert_eq!(host["untouched"], true, "{point:?}: {host:#}");
        }
        let left = sweep.fleet.names(index).into_iter().filter(|name| name.ends_with(".tmp")).collect::<Vec<_>>();
        assert_eq!(left, [""; 0], "{point:?}");
    });
}

fn print_points(sweep: &Sweep) {
    let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for point in &sweep.points {
        *counts.entry((&point.program, &point.call)).or_default() += 1;
    }
    println!("{} points: {counts:?}", sweep.points.len());
}

/// The calls without which this would not be the sweep it says it is.
fn assert_covers(sweep: &Sweep, calls: &[(&str, usize)]) {
    for (call, least) in calls {
        let found = sweep.points.iter().filter(|point| point.call.starts_with(call)).count();
        assert!(found >= *least, "{call}: {found} of {least} in {:?}", sweep.points);
    }
}

/// Hosts with two generations: the one in use and the one before.
fn twice_installed(fleet: &mut Fleet) {
    for generation in [1, 2] {
        fleet.set_settings(&asks_for(generation));
        fleet.run(&["apply"]).expect(0);
    }
}

fn never_installed(fleet: &mut Fleet) {
    fleet.hosts.iter().for_each(|host| host.must(&format!("rm -r {DIR}")));
}

#[test]
fn killed_at_every_call_of_an_update() {
    need_root!();
    let sweep = Sweep::new(twice_installed);
    print_points(&sweep);
    kill_everywhere(&sweep);
    assert_covers(&sweep, &[("rename", 6), ("link", 3), ("fsync", 2), ("openat", 6), ("write", 6)]);
}

#[test]
fn killed_at_every_call_of_a_first_install() {
    need_root!();
    let sweep = Sweep::new(never_installed);
    print_points(&sweep);
    kill_everywhere(&sweep);
    assert_covers(&sweep, &[("rename", 3), ("mkdir", 1), ("fsync", 2), ("openat", 6), ("write", 6)]);
}

#[test]
fn a_disk_that_fails_at_every_call_of_an_update() {
    need_root!();
    fail_everywhere(&Sweep::new(twice_installed));
}
