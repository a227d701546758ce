//! Where a test host lives: a namespace of its own (as root), or a directory of this machine.

use super::{eventually, require, set_usual_umask};
use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::OnceLock,
};

/// Gives the host its own /etc (over this machine's), /root, /home, /tmp and /run, says its pid, and stays as process 1 of
/// its PID namespace until the test's end of the pipe closes: even a killed test leaves nothing behind.
const SETUP: &str = r#"
set -e
mount -t tmpfs -o mode=755 tmpfs /mnt
mkdir /mnt/upper /mnt/work /mnt/ssh
mount -t overlay overlay -o lowerdir=/etc,upperdir=/mnt/upper,workdir=/mnt/work /etc
mount -t tmpfs -o mode=700 tmpfs /root
mount -t tmpfs -o mode=755 tmpfs /home
mount -t tmpfs -o mode=1777 tmpfs /tmp
mount -t tmpfs -o mode=755 tmpfs /run
mkdir /run/sshd
hostname "$1"
echo "127.0.0.1 $1" >>/etc/hosts
mkdir -p -m 755 /etc/kubernetes
chmod 755 /etc /etc/kubernetes
read -r pid rest </proc/self/stat
echo "$pid"
exec cat >/dev/null
"#;

pub enum World {
    Namespace { holder: Child, pid: u32 },
    Plain { dir: tempfile::TempDir },
}

/// Whether test hosts are machines of their own here; without root, or in a container that may not mount, they are not.
pub fn is_isolated() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    let may_mount = || {
        let probe = ["-m", "-u", "-p", "--fork", "mount", "-t", "tmpfs", "tmpfs", "/mnt"];
        Command::new(require("unshare")).args(probe).output().is_ok_and(|output| output.status.success())
    };
    *ANSWER.get_or_init(|| {
        let is_root = rustix::process::geteuid().is_root();
        is_root && std::env::var_os("KUBEMINT_TEST_PLAIN_HOSTS").is_none() && may_mount()
    })
}

impl World {
    pub fn new(name: &str) -> Self {
        set_usual_umask();
        if !is_isolated() {
            if rustix::process::geteuid().is_root() {
                // As the Debian service does: a root sshd does not start without it.
                fs::create_dir_all("/run/sshd").unwrap();
            }
            return Self::Plain { dir: tempfile::tempdir().unwrap() };
        }
        let mut holder = Command::new(require("unshare"))
            .args(["-m", "-u", "-p", "--fork", "--kill-child=KILL", "sh", "-c", SETUP, "setup", name])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let pid = line.trim().parse().expect("a namespace with its own mounts could not be made");
        Self::Namespace { holder, pid }
    }

    /// Where the test finds a path of the host. Absolute symbolic links in it would lead back to this machine.
    pub fn outside(&self, path: &str) -> PathBuf {
        match self {
            Self::Namespace { pid, .. } => PathBuf::from(format!("/proc/{pid}/root{path}")),
            Self::Plain { .. } => PathBuf::from(path),
        }
    }

    /// A directory of the host for sshd's own files, as the host sees it.
    pub fn ssh_dir(&self) -> String {
        match self {
            Self::Namespace { .. } => "/mnt/ssh".to_owned(),
            Self::Plain { dir } => dir.path().to_str().unwrap().to_owned(),
        }
    }

    /// A command that runs on the host.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        match self {
            Self::Namespace { pid, .. } => {
                let mut command = Command::new(require("nsenter"));
                command.args(["-t", &pid.to_string(), "-m", "-u", "-p", "--"]).arg(program.as_ref());
                command.current_dir("/");
                command
            }
            Self::Plain { .. } => Command::new(program.as_ref()),
        }
    }

    /// Starts a program that is ended with [`World::kill_all`].
    pub fn spawn(&self, mut command: Command) -> Child {
        command.stdin(Stdio::null()).process_group(0).spawn().unwrap()
    }

    pub fn run(&self, script: &str) -> Output {
        self.command("/bin/sh").args(["-c", script]).stdin(Stdio::null()).output().unwrap()
    }

    /// Every process of the host, as this machine numbers them.
    pub fn processes(&self, started: Option<&Child>) -> Vec<u32> {
        let all = fs::read_dir("/proc").unwrap().filter_map(|e| e.ok()?.file_name().to_str()?.parse::<u32>().ok());
        match self {
            Self::Namespace { pid, .. } => {
                let namespace = |pid: u32| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
                let own = namespace(*pid);
                all.filter(|p| p != pid && own.is_some() && namespace(*p) == own).collect()
            }
            Self::Plain { .. } => {
                let mut family: Vec<u32> = started.map(Child::id).into_iter().collect();
                let parents: Vec<(u32, u32)> = all.filter_map(|p| Some((p, parent_of(p)?))).collect();
                let mut n = 0;
                while n < family.len() {
                    let parent = family[n];
                    family.extend(parents.iter().filter(|(_, p)| *p == parent).map(|(pid, _)| *pid));
                    n += 1;
                }
                family
            }
        }
    }

    /// Ends every process of the host but its first.
    pub fn kill_all(&self, started: Option<&mut Child>) {
        let Some(started) = started else { return };
        let family = self.processes(Some(started));
        family.iter().for_each(|pid| kill(*pid));
        started.wait().unwrap();
        if let Self::Namespace { .. } = self {
            eventually("the host's processes to end", || {
                let left = self.processes(None);
                left.iter().for_each(|pid| kill(*pid));
                left.iter().all(|pid| is_zombie(*pid)).then_some(())
            });
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Self::Namespace { holder, .. } = self {
            drop(holder.stdin.take());
            let _ = holder.wait();
        }
    }
}

pub fn kill(pid: u32) {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw).unwrap();
    let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
}

/// The fields of /proc/PID/stat after the command's name: state, parent, …
fn stat_of(pid: u32) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(stat.rsplit_once(") ")?.1.split(' ').map(str::to_owned).collect())
}

fn parent_of(pid: u32) -> Option<u32> {
    stat_of(pid)?.get(1)?.parse().ok()
}

/// Dead, and waiting for process 1 of the namespace, which reaps nobody.
fn is_zombie(pid: u32) -> bool {
    stat_of(pid).is_none_or(|fields| fields[0] == "Z")
}
