//! N real sshd hosts in one network namespace, this process in another, a veth pair between them. Everything hangs on the
//! standard input of two holders: when this process ends, however it ends, the hosts, their files and the link are gone.

use super::ending;
use rustix::{fs::OFlags, thread::LinkNameSpaceType};
use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::fd::AsFd,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// Where the hosts' sshd are found by programs that were not told a full path.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// One sshd.
pub struct Host {
    pub name: String,
    pub address: String,
    /// `TYPE KEY`
    pub public_key: String,
}

pub struct Testbed {
    pub hosts: Vec<Host>,
    /// The client's login key, with `.pub` beside it.
    pub key: PathBuf,
    pub known_hosts: PathBuf,
    /// Process 1 of the servers, as this machine numbers it.
    pub servers: u32,
    holders: Vec<Child>,
    account: Option<Account>,
}

/// A control group over all servers: what they have used of the processors.
pub struct Account {
    dir: PathBuf,
    version: Version,
}

#[derive(Clone, Copy)]
enum Version {
    /// `cpuacct.usage`, nanoseconds
    One,
    /// `cpu.stat`, microseconds
    Two,
}

impl Testbed {
    /// Makes `count` hosts; from here on the calling thread and what it starts live in the client's network namespace.
    pub fn new(count: usize, dir: &Path) -> Result<Self, String> {
        let key = dir.join("id_ed25519");
        if !key.exists() {
            run(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", "bench", "-f"]).arg(&key))?;
        }
        let mut client = spawn(Command::new("unshare").args([
            "-n",
            "sh",
            "-c",
            "ip link set lo up && echo ready && exec cat >/dev/null",
        ]))?;
        first_line(&mut client)?;
        let mut servers = spawn(
            Command::new("unshare")
                .args(["-n", "-m", "-p", "--fork", "--kill-child=KILL", "sh"])
                .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/fleet/hosts.sh"))
                .arg(count.to_string())
                .arg(key.with_extension("pub")),
        )?;
        let pid = first_line(&mut servers)?;
        let pid: u32 = pid.trim().parse().map_err(|_| format!("hosts.sh answered {pid:?}"))?;
        let account = Account::open(pid);
        ending::note(|present| {
            present.client = ending::namespace_of(client.id());
            // Its end is the end of process 1, and so of all of them.
            present.servers = Some(servers.id());
            present.account = account.as_ref().map(|account| account.dir.clone());
        });
        enter(client.id())?;
        link(pid)?;
        servers.stdin.as_mut().ok_or("no input")?.write_all(b"go\n").map_err(|e| e.to_string())?;
        let mut bed = Self {
            hosts: Vec::new(),
            key,
            known_hosts: dir.join("known_hosts"),
            servers: pid,
            holders: vec![servers, client],
            account,
        };
        for n in 1..=count {
            bed.hosts.push(bed.meet(n)?);
        }
        let lines: String = bed.hosts.iter().map(|host| format!("{} {}\n", host.address, host.public_key)).collect();
        fs::write(&bed.known_hosts, lines).map_err(|e| e.to_string())?;
        Ok(bed)
    }

    /// Where this process finds a file of host `n` (from 1).
    pub fn host_path(&self, n: usize, inner: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root/mnt/host-{n}/{inner}", self.servers))
    }

    /// Waits until host `n` listens.
    fn meet(&self, n: usize) -> Result<Host, String> {
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            let log = fs::read_to_string(self.host_path(n, "log")).unwrap_or_default();
            if log.contains("Server listening on") {
                break;
            }
            if Instant::now() > end {
                return Err(format!("host {n} does not listen: {log}"));
            }
            thread::sleep(Duration::from_millis(5));
        }
        let public = fs::read_to_string(self.host_path(n, "key.pub")).map_err(|e| e.to_string())?;
        let public_key = public.split(' ').take(2).collect::<Vec<_>>().join(" ").trim().to_owned();
        Ok(Host { name: format!("node-{n}"), address: format!("198.18.{}.{}", n / 250, n % 250 + 1), public_key })
    }

    /// What the servers have used of the processors since they were started; `None` where no control group can be made.
    pub fn server_cpu(&self) -> Option<Duration> {
        self.account.as_ref()?.used()
    }

    /// Returns when the servers have come to rest: no session lingers into the next measurement.
    pub fn settle(&self) {
        let end = Instant::now() + Duration::from_secs(5);
        let mut before = self.server_cpu();
        while Instant::now() < end {
            thread::sleep(Duration::from_millis(60));
            let now = self.server_cpu();
            match (before, now) {
                (Some(before), Some(now)) if now - before < Duration::from_millis(1) => return,
                (None, None) => return thread::sleep(Duration::from_millis(300)),
                _ => before = now,
            }
        }
    }
}

impl Drop for Testbed {
    fn drop(&mut self) {
        for holder in &mut self.holders {
            drop(holder.stdin.take());
            let _ = holder.wait();
        }
        ending::note(|present| {
            present.servers = None;
            ending::end_hosts(present);
        });
    }
}

impl Account {
    fn open(pid: u32) -> Option<Self> {
        remove_stale_accounts();
        let name = format!("kubemint-bench-{}", std::process::id());
        [("/sys/fs/cgroup/cpuacct", Version::One), ("/sys/fs/cgroup", Version::Two)].into_iter().find_map(
            |(top, version)| {
                let account = Self { dir: Path::new(top).join(&name), version };
                let made = match version {
                    Version::Two if !Path::new(top).join("cgroup.controllers").exists() => return None,
                    _ => fs::create_dir(&account.dir),
                };
                made.and_then(|()| fs::write(account.dir.join("cgroup.procs"), pid.to_string())).ok()?;
                Some(account)
            },
        )
    }

    fn used(&self) -> Option<Duration> {
        let read = |file| fs::read_to_string(self.dir.join(file)).ok();
        match self.version {
            Version::One => Some(Duration::from_nanos(read("cpuacct.usage")?.trim().parse().ok()?)),
            Version::Two => {
                let stat = read("cpu.stat")?;
                let usage = stat.lines().find_map(|line| line.strip_prefix("usage_usec "))?;
                Some(Duration::from_micros(usage.parse().ok()?))
            }
        }
    }
}

/// What a bench that was killed outright left behind.
fn remove_stale_accounts() {
    for entry in ["/sys/fs/cgroup/cpuacct", "/sys/fs/cgroup"].iter().flat_map(fs::read_dir).flatten().flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|name| name.strip_prefix("kubemint-bench-"));
        if owner.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            let _ = fs::remove_dir(entry.path());
        }
    }
}

/// Moves the calling thread into the network namespace of a process.
fn enter(pid: u32) -> Result<(), String> {
    let path = format!("/proc/{pid}/ns/net");
    let namespace = rustix::fs::open(&path, OFlags::RDONLY | OFlags::CLOEXEC, rustix::fs::Mode::empty());
    namespace
        .and_then(|fd| rustix::thread::move_into_link_name_space(fd.as_fd(), Some(LinkNameSpaceType::Network)))
        .map_err(|e| format!("{path}: {e}"))
}

/// The servers hold all of 198.18.0.0/15, the test range of RFC 2544.
fn link(servers: u32) -> Result<(), String> {
    let there = format!("nsenter -t {servers} -n ip");
    for line in [
        format!("ip link add bench0 type veth peer name bench0 netns {servers}"),
        "ip addr add 192.0.2.1/30 dev bench0".to_owned(),
        "ip link set bench0 up".to_owned(),
        format!("{there} link set lo up"),
        format!("{there} addr add 198.18.0.0/15 dev lo"),
        format!("{there} addr add 192.0.2.2/30 dev bench0"),
        format!("{there} link set bench0 up"),
        "ip route add 198.18.0.0/15 via 192.0.2.2".to_owned(),
    ] {
        run_line(&line)?;
    }
    Ok(())
}

/// Runs a command of plain words.
pub fn run_line(line: &str) -> Result<(), String> {
    let mut words = line.split(' ');
    run(Command::new(words.next().unwrap_or_default()).args(words))
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.env("PATH", path()).stdin(Stdio::null()).output().map_err(|e| format!("{command:?}: {e}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr))),
    }
}

fn spawn(command: &mut Command) -> Result<Child, String> {
    let piped = command.env("PATH", path()).stdin(Stdio::piped()).stdout(Stdio::piped());
    piped.spawn().map_err(|e| format!("{command:?}: {e}"))
}

pub fn path() -> String {
    format!("{}:{PATH}", std::env::var("PATH").unwrap_or_default())
}

fn first_line(child: &mut Child) -> Result<String, String> {
    let mut line = String::new();
    let output = child.stdout.take().ok_or("no output")?;
    BufReader::new(output).read_line(&mut line).map_err(|e| e.to_string())?;
    if line.is_empty() { Err("a namespace could not be made; see above".to_owned()) } else { Ok(line) }
}
