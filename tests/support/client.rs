//! The side that logs in: keys, agent and known_hosts of one person.

use super::{TestHost, eventually, host_value, require};
use kubemint::{
    bundle::HostFile,
    entropy::OsEntropy,
    inventory::{Connection, Host, JumpHost, Privilege, SshSettings, SshTarget},
    remote::{
        Deadlines, Error, Password,
        installer::{ForeignPolicy, HostOutcome, HostView, install_host, probe_host},
        ssh::{SshConfig, SshRemote},
    },
};
use std::{
    fs::{self, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
};

/// Somebody with a key, who trusts the hosts they were introduced to.
pub struct Client {
    dir: tempfile::TempDir,
    pub identity_files: Vec<PathBuf>,
    pub known_hosts: PathBuf,
    pub agent: Option<Agent>,
    pub deadlines: Deadlines,
    pub privilege: Privilege,
    pub password: Option<Password>,
    pub sudo_password: Option<Password>,
}

impl Client {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut client = Self {
            known_hosts: dir.path().join("known_hosts"),
            dir,
            identity_files: Vec::new(),
            agent: None,
            deadlines: Deadlines::default(),
            privilege: Privilege::AsLoggedIn,
            password: None,
            sudo_password: None,
        };
        client.identity_files = vec![client.make_key("id_ed25519", &["-t", "ed25519", "-N", ""])];
        client
    }

    /// A new key file; `options` as ssh-keygen takes them.
    pub fn make_key(&self, name: &str, options: &[&str]) -> PathBuf {
        let path = self.dir.path().join(name);
        let made = Command::new(require("ssh-keygen")).args(["-q", "-f"]).arg(&path).args(options).output().unwrap();
        assert!(made.status.success(), "{made:?}");
        path
    }

    /// Starts an agent that holds these keys.
    pub fn start_agent(&mut self, keys: &[&Path]) {
        let agent = Agent::start(&self.dir.path().join("agent"));
        for key in keys {
            agent.add(key);
        }
        self.agent = Some(agent);
    }

    /// Each learns the other's key.
    pub fn meet(&self, host: &TestHost) {
        self.trust(&host.known_hosts_lines());
        if let Some(key) = self.identity_files.first() {
            host.authorize(&public_of(key));
        }
    }

    /// Adds to known_hosts.
    pub fn trust(&self, lines: &str) {
        let mut file = OpenOptions::new().append(true).create(true).open(&self.known_hosts).unwrap();
        file.write_all(lines.as_bytes()).unwrap();
    }

    /// The host as this client's inventory has it.
    pub fn host(&self, host: &TestHost) -> Host {
        self.host_at(host.name(), host.address(), host.port(), host.user())
    }

    pub fn host_at(&self, name: &str, address: &str, port: u16, user: &str) -> Host {
        let settings = SshSettings {
            user: user.into(),
            identity_files: self.identity_files.clone(),
            known_hosts: vec![self.known_hosts.clone()],
            jump: Vec::new(),
            jump_user: user.into(),
            left_to_config: None,
        };
        let target = SshTarget { address: address.into(), port, settings: Arc::new(settings) };
        host_value(name, Connection::Ssh(target), self.privilege)
    }

    /// The same host, reached through these, the nearest first.
    pub fn behind(&self, mut host: Host, jumps: &[&TestHost]) -> Host {
        let Connection::Ssh(target) = &mut host.connection else { unreachable!() };
        let jump = |jump: &&TestHost| JumpHost {
            user: Some(jump.user().to_owned()),
            address: jump.address().to_owned(),
            port: Some(jump.port()),
        };
        Arc::make_mut(&mut target.settings).jump = jumps.iter().map(jump).collect();
        host
    }

    pub fn remote(&self) -> SshRemote {
        SshRemote::new(SshConfig {
            home: Some(self.dir.path().to_owned()),
            agent_socket: self.agent.as_ref().map(|agent| agent.socket.clone()),
            ssh_program: None,
            deadlines: self.deadlines,
            password: self.password.clone(),
            sudo_password: self.sudo_password.clone(),
        })
    }

    pub fn install(&self, host: &TestHost, files: &[HostFile]) -> Result<HostOutcome, Error> {
        install_host(&self.remote(), &self.host(host), files, ForeignPolicy::Refuse, &OsEntropy)
    }

    pub fn probe(&self, host: &TestHost, files: &[HostFile]) -> Result<HostView, Error> {
        probe_host(&self.remote(), &self.host(host), files, ForeignPolicy::Refuse, &OsEntropy)
    }
}

/// The public half of a key file.
pub fn public_of(key: &Path) -> String {
    fs::read_to_string(format!("{}.pub", key.display())).unwrap()
}

/// A real ssh-agent.
pub struct Agent {
    pub socket: PathBuf,
    child: Child,
}

impl Agent {
    fn start(socket: &Path) -> Self {
        let child =
            Command::new(require("ssh-agent")).arg("-D").arg("-a").arg(socket).stdout(Stdio::null()).spawn().unwrap();
        eventually("ssh-agent to listen", || socket.exists().then_some(()));
        Self { socket: socket.to_owned(), child }
    }

    fn add(&self, key: &Path) {
        let mut command = Command::new(require("ssh-add"));
        let added =
            command.arg("-q").arg(key).env("SSH_AUTH_SOCK", &self.socket).stdin(Stdio::null()).output().unwrap();
        assert!(added.status.success(), "{added:?}");
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
