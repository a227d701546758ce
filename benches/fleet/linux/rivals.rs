//! What people use today for the same job: two files, 0600, on every host. The shell script writes beside the target and
//! renames; it neither syncs nor compares. Every run brings content the hosts do not have yet.

use super::{
    contenders::{Contender, Kubemint},
    measure::{Sample, measure},
    testbed::{Testbed, path},
};
use std::{
    cell::Cell,
    ffi::OsStr,
    fmt::Write,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

pub const SSH: &str = "xargs ssh sh -s, as installed";
pub const SSH_CURVE: &str = "xargs ssh sh -s, curve25519";
pub const SCP: &str = "xargs scp";
pub const ASYNCSSH: &str = "asyncssh";
pub const ANSIBLE: &str = "Ansible copy";

const FILES: [&str; 2] = ["bootstrap.kubeconfig", "kube-proxy.kubeconfig"];
/// Where the hosts get them.
const TARGET: &str = "/root/rival";
const ANSIBLE_FORKS: usize = 50;
/// A run takes most of a minute.
const ANSIBLE_ROUNDS: usize = 2;

const ANSIBLE_CONFIG: &str = "\
[defaults]
gathering = explicit
interpreter_python = /usr/bin/python3
retry_files_enabled = False
[ssh_connection]
pipelining = True
";
const PLAYBOOK: &str = "\
- hosts: all
  gather_facts: no
  tasks:
    - copy: { src: \"{{ item }}\", dest: \"/root/rival/{{ item }}\", mode: \"0600\" }
      loop: [bootstrap.kubeconfig, kube-proxy.kubeconfig]
";

/// The files to copy, and all that the tools want to know.
pub struct Rivals<'a> {
    bed: &'a Testbed,
    dir: PathBuf,
    concurrency: usize,
    originals: [String; 2],
    edition: Cell<u32>,
}

impl<'a> Rivals<'a> {
    pub fn new(bed: &'a Testbed, kubemint: &Kubemint, dir: &Path, concurrency: usize) -> Result<Self, String> {
        let dir = dir.join("rival");
        fs::create_dir(&dir).map_err(|e| e.to_string())?;
        let read = |name| fs::read_to_string(kubemint.kubeconfigs().join(name)).map_err(|e| e.to_string());
        let originals = [read(FILES[0])?, read(FILES[1])?];
        let rivals = Self { bed, dir, concurrency, originals, edition: Cell::new(0) };
        let mut inventory = String::from("[all]\n");
        for host in &bed.hosts {
            let _ = writeln!(inventory, "{} ansible_host={} ansible_user=root", host.name, host.address);
        }
        rivals.write("hosts.ini", &inventory)?;
        rivals.write("playbook.yml", PLAYBOOK)?;
        let addresses: String = bed.hosts.iter().map(|host| format!("{}\n", host.address)).collect();
        rivals.write("addresses", &addresses)?;
        Ok(rivals)
    }

    pub fn contenders(&'a self) -> Vec<Contender<'a>> {
        vec![
            Contender::new(SSH, || self.ssh("")),
            Contender::new(SSH_CURVE, || self.ssh("-o KexAlgorithms=curve25519-sha256")),
            Contender::new(SCP, || self.scp()),
            Contender::new(ASYNCSSH, || self.asyncssh()),
            Contender::new(ANSIBLE, || self.ansible()).at_most(ANSIBLE_ROUNDS),
        ]
    }

    fn write(&self, name: &str, text: &str) -> Result<(), String> {
        fs::write(self.dir.join(name), text).map_err(|e| format!("{name}: {e}"))
    }

    /// Files that no host has yet, and the script that brings them.
    fn renew(&self) -> Result<(), String> {
        self.edition.set(self.edition.get() + 1);
        let mut script = format!("set -e\numask 077\ncd {TARGET}\n");
        for (name, original) in FILES.iter().zip(&self.originals) {
            let text = format!("{original}# {}\n", self.edition.get());
            self.write(name, &text)?;
            let _ = writeln!(script, "printf %s '{text}' >.{name}.$$\nmv -f .{name}.$$ {name}");
        }
        self.write("install.sh", &script)
    }

    /// Runs one over all hosts; a host that did not get its files makes it void.
    fn run(&self, command: &mut Command) -> Result<Sample, String> {
        self.renew()?;
        command.current_dir(&self.dir).env("PATH", path()).env("LC_ALL", "C.UTF-8");
        let (sample, said) = measure(self.bed, command)?;
        for n in 1..=self.bed.hosts.len() {
            for name in FILES {
                let here = fs::read(self.dir.join(name)).map_err(|e| e.to_string())?;
                if fs::read(self.bed.host_path(n, &format!("root/rival/{name}"))).ok() != Some(here) {
                    return Err(format!("host {n} did not get {name}: {}", said.stderr.lines().last().unwrap_or("")));
                }
            }
        }
        Ok(sample)
    }

    fn ssh_options(&self) -> String {
        format!(
            "-o BatchMode=yes -o ControlMaster=no -o ControlPath=none -o IdentitiesOnly=yes -o IdentityFile={} \
             -o UserKnownHostsFile={} -o GlobalKnownHostsFile=/dev/null -o StrictHostKeyChecking=yes",
            self.bed.key.display(),
            self.bed.known_hosts.display()
        )
    }

    /// `line` is run by a shell for every address, which takes the place of `{}`.
    fn xargs(&self, line: &str) -> Result<Sample, String> {
        let mut command = Command::new("xargs");
        command.args(["-a", "addresses", "-P", &self.concurrency.to_string(), "-I{}", "sh", "-c", line]);
        self.run(&mut command)
    }

    fn ssh(&self, options: &str) -> Result<Sample, String> {
        self.xargs(&format!("exec ssh {} {options} root@{{}} sh -s <install.sh", self.ssh_options()))
    }

    fn scp(&self) -> Result<Sample, String> {
        self.xargs(&format!("exec scp -q {} {} {} root@{{}}:{TARGET}/", self.ssh_options(), FILES[0], FILES[1]))
    }

    fn asyncssh(&self) -> Result<Sample, String> {
        let mut command = python("asyncssh")?;
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/fleet/asyncssh_client.py"));
        command.args([self.bed.key.as_os_str(), self.bed.known_hosts.as_os_str(), OsStr::new("addresses")]);
        command.args(["install.sh", &self.concurrency.to_string()]);
        self.run(&mut command)
    }

    /// Its own reuse of connections within a run is left on, as it comes.
    fn ansible(&self) -> Result<Sample, String> {
        let sockets = self.dir.join(format!("sockets-{}", self.edition.get()));
        let options =
            "-o BatchMode=yes -o IdentitiesOnly=yes -o StrictHostKeyChecking=yes -o GlobalKnownHostsFile=/dev/null";
        let known = self.bed.known_hosts.display();
        self.write(
            "ansible.cfg",
            &format!(
                "{ANSIBLE_CONFIG}control_path_dir = {}\nssh_common_args = {options} -o UserKnownHostsFile={known}\n",
                sockets.display()
            ),
        )?;
        let mut command = python("ansible-core")?;
        command.args([
            "-m",
            "ansible",
            "playbook",
            "-i",
            "hosts.ini",
            "-f",
            &ANSIBLE_FORKS.to_string(),
            "--private-key",
        ]);
        command.arg(&self.bed.key).arg("playbook.yml").env("HOME", &self.dir);
        command.env("ANSIBLE_CONFIG", self.dir.join("ansible.cfg"));
        let result = self.run(&mut command);
        for socket in fs::read_dir(&sockets).into_iter().flatten().flatten() {
            let path = format!("ControlPath={}", socket.path().display());
            let _ = Command::new("ssh").args(["-o", &path, "-O", "exit", "none"]).output();
        }
        result
    }
}

/// Python with a package that .ci/needs.sh has fetched.
fn python(package: &str) -> Result<Command, String> {
    let home = find_package(package).ok_or_else(|| format!("{package} is not installed: run `.ci/needs.sh bench`"))?;
    let mut command = Command::new("python3");
    command.env("PYTHONPATH", home).env("PYTHONDONTWRITEBYTECODE", "1");
    Ok(command)
}

/// The folder of a package below target/tools: NAME-VERSION.
pub fn find_package(name: &str) -> Option<PathBuf> {
    // target/release/deps/fleet-…
    let tools = std::env::current_exe().ok()?.ancestors().nth(3)?.join("tools");
    let prefix = format!("{name}-");
    let mut found: Vec<PathBuf> = fs::read_dir(tools)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.file_name().is_some_and(|file| file.to_string_lossy().starts_with(&prefix)))
        .filter(|path| path.extension().is_none_or(|extension| extension != "part"))
        .collect();
    found.sort();
    found.pop()
}
