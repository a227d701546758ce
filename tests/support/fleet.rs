//! Several real sshd hosts, an inventory of them, and kubemint in a sealed world beside them.

use super::{Builder, Client, Ran, Relay, Relays, Running, TestEnv, TestHost, is_isolated};
use kubemint::digest::Digest;
use std::{collections::BTreeMap, fmt::Write};

const FILES: [(&str, &str, &str); 3] = [
    ("bootstrap.kubeconfig", "kubeconfigs/bootstrap.kubeconfig", "node"),
    ("kube-proxy.kubeconfig", "kubeconfigs/kube-proxy.kubeconfig", "node"),
    ("token.csv", "token.csv", "control-plane"),
];

/// A host to be, and what the inventory says of it.
pub struct Member {
    builder: Builder,
    roles: &'static [&'static str],
    sudo: bool,
}

impl Member {
    /// A node.
    pub fn new(builder: Builder) -> Self {
        Self { builder, roles: &["node"], sudo: false }
    }

    pub fn roles(mut self, roles: &'static [&'static str]) -> Self {
        self.roles = roles;
        self
    }

    /// Logs in as an ordinary user who may become root. Root only.
    pub fn by_sudo(self) -> Self {
        self.by_sudo_with("ops ALL=(ALL) NOPASSWD: ALL")
    }

    /// Logs in as ops, with this line in sudoers. Root only.
    pub fn by_sudo_with(mut self, sudoers: &'static str) -> Self {
        self.builder = self.builder.user("ops", Some(sudoers));
        self.sudo = true;
        self
    }
}

/// What a directory of a host holds: mode, user and group, and content, by name.
pub type Holding = BTreeMap<String, ((u32, u32, u32), String)>;

/// Hosts that know the client, in a world whose inventory names them all.
pub struct Fleet {
    pub env: TestEnv,
    pub client: Client,
    pub hosts: Vec<TestHost>,
    roles: Vec<&'static [&'static str]>,
    sudo: Vec<bool>,
    relays: Vec<Option<Relay>>,
    /// Addresses and ports the inventory has instead of the hosts' own.
    moved: Vec<Option<(String, u16)>>,
    /// More lines in each host's table.
    own_lines: Vec<String>,
    /// More of the inventory's tables, as TOML.
    settings: String,
}

/// What the inventory says unless a test asks for something else.
const SERVER: &str = "https://172.20.0.113:6443";

impl Fleet {
    /// Nodes named node-01 and so on, with nothing special about them.
    pub fn of_nodes(count: usize) -> Self {
        Self::new((1..=count).map(|n| Member::new(TestHost::builder(&format!("node-{n:02}")))).collect())
    }

    pub fn new(members: Vec<Member>) -> Self {
        let (mut roles, mut sudo, mut builders) = (Vec::new(), Vec::new(), Vec::new());
        for member in members {
            roles.push(member.roles);
            sudo.push(member.sudo);
            builders.push(member.builder);
        }
        let client = Client::new();
        let hosts = start_all(builders);
        hosts.iter().for_each(|host| client.meet(host));
        let relays = hosts.iter().map(|_| None).collect();
        let moved = hosts.iter().map(|_| None).collect();
        let own_lines = vec![String::new(); hosts.len()];
        let settings = String::new();
        let fleet = Self { env: TestEnv::new(), client, hosts, roles, sudo, relays, moved, own_lines, settings };
        fleet.write_inventory();
        fleet
    }

    /// Puts a relay in front of one host.
    pub fn relay(&mut self, index: usize, relays: &Relays) -> &Relay {
        let host = &self.hosts[index];
        let relay = relays.add(host.address(), host.port());
        let lines: String =
            host.public_keys().iter().map(|key| format!("[127.0.0.1]:{} {key}\n", relay.port)).collect();
        self.client.trust(&lines);
        self.relays[index] = Some(relay);
        self.write_inventory();
        self.line(index)
    }

    pub fn relay_all(&mut self, relays: &Relays) {
        for index in 0..self.hosts.len() {
            self.relay(index, relays);
        }
    }

    /// The relay in front of a host.
    pub fn line(&self, index: usize) -> &Relay {
        self.relays[index].as_ref().expect("a relay")
    }

    /// Gives a host another address and port in the inventory, or its own again.
    pub fn move_to(&mut self, index: usize, place: Option<(&str, u16)>) {
        self.moved[index] = place.map(|(address, port)| (address.to_owned(), port));
        self.write_inventory();
    }

    /// More tables for the inventory, instead of those set before; `[cluster] server` stays as it is unless it is told.
    pub fn set_settings(&mut self, toml: &str) {
        self.settings = toml.to_owned();
        self.write_inventory();
    }

    /// More lines in one host's table of the inventory, instead of those set before.
    pub fn set_host_lines(&mut self, index: usize, toml: &str) {
        self.own_lines[index] = toml.to_owned();
        self.write_inventory();
    }

    fn write_inventory(&self) {
        let key = self.client.identity_files[0].display();
        let cluster = if self.settings.contains("[cluster]") { String::new() } else { cluster_table(SERVER) };
        let mut text = format!(
            "state_dir = \"state\"\n{cluster}{}[ssh]\nidentity_files = [\"{key}\"]\nknown_hosts = [\"{}\"]\n",
            self.settings,
            self.client.known_hosts.display()
        );
        for (index, host) in self.hosts.iter().enumerate() {
            let (address, port) = match (&self.moved[index], &self.relays[index]) {
                (Some((address, port)), _) => (address.as_str(), *port),
                (None, Some(relay)) => ("127.0.0.1", relay.port),
                (None, None) => (host.address(), host.port()),
            };
            write!(
                text,
                "[[hosts]]\nname = \"{}\"\naddress = \"{address}\"\nport = {port}\nuser = \"{}\"\nroles = {:?}\n\
                 directory = \"{}\"\nbecome = \"{}\"\n{}",
                host.name(),
                host.user(),
                self.roles[index],
                host.directory(),
                if self.sudo[index] { "sudo" } else { "none" },
                self.own_lines[index],
            )
            .unwrap();
        }
        self.env.write("inventory.toml", text);
    }

    pub fn run(&self, arguments: &[&str]) -> Ran {
        self.env.run(arguments)
    }

    /// With `-o json`; gives the exit code and the one document.
    pub fn json(&self, arguments: &[&str]) -> (i32, serde_json::Value) {
        self.env.json(arguments)
    }

    pub fn start(&self, arguments: &[&str]) -> Running {
        Running::start(&self.env, arguments)
    }

    /// Path of a file in a host's directory, as the host sees it.
    pub fn file(&self, index: usize, name: &str) -> String {
        format!("{}/{name}", self.hosts[index].directory())
    }

    /// Everything in the host's directory; its absence is a value too.
    pub fn tree_hash(&self, index: usize) -> Digest {
        let host = &self.hosts[index];
        if host.exists(&host.directory()) { host.tree_hash(&host.directory()) } else { Digest::of("absent") }
    }

    pub fn tree_hashes(&self) -> Vec<Digest> {
        (0..self.hosts.len()).map(|index| self.tree_hash(index)).collect()
    }

    /// Names in the host's directory, sorted.
    pub fn names(&self, index: usize) -> Vec<String> {
        let dir = self.hosts[index].path(&self.hosts[index].directory());
        let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Every entry of the host's directory, by name: kind, mode, owner, content. No times.
    pub fn holding(&self, index: usize) -> Holding {
        let host = &self.hosts[index];
        let entry = |name: String| {
            let path = self.file(index, &name);
            let kind = host.path(&path).symlink_metadata().unwrap().file_type();
            let content = if kind.is_file() { host.read(&path) } else { format!("{kind:?}") };
            (name, (host.attributes(&path), content))
        };
        self.names(index).into_iter().map(entry).collect()
    }

    /// The host holds what its roles ask for: content as in the state directory, 0600, the owner's; and nothing else.
    #[track_caller]
    pub fn assert_complete(&self, index: usize) {
        self.assert_complete_beside(index, &[]);
    }

    /// The same, where other names stand there too.
    #[track_caller]
    pub fn assert_complete_beside(&self, index: usize, others: &[&str]) {
        let host = &self.hosts[index];
        let owner = rustix::process::geteuid().as_raw();
        let group = if is_isolated() { 0 } else { rustix::process::getegid().as_raw() };
        let mut wanted: Vec<String> = others.iter().map(ToString::to_string).collect();
        for (name, stored, role) in FILES.into_iter().filter(|(_, _, role)| self.roles[index].contains(role)) {
            let path = self.file(index, name);
            assert!(host.exists(&path), "{}: no {name} for a {role}", host.name());
            assert!(host.read(&path) == self.env.read(format!("state/{stored}")), "{}: {name} differs", host.name());
            assert_eq!(host.attributes(&path), (0o600, owner, group), "{}: {name}", host.name());
            wanted.push(name.to_owned());
        }
        wanted.sort();
        assert_eq!(self.names(index), wanted, "{}", host.name());
    }
}

pub fn cluster_table(server: &str) -> String {
    format!("[cluster]\nserver = \"{server}\"\n")
}

/// A few at a time: most of a start is waiting for other programs.
fn start_all(builders: Vec<Builder>) -> Vec<TestHost> {
    let mut hosts = Vec::with_capacity(builders.len());
    let mut builders = builders.into_iter().peekable();
    while builders.peek().is_some() {
        let some: Vec<Builder> = builders.by_ref().take(8).collect();
        std::thread::scope(|scope| {
            let starting: Vec<_> = some.into_iter().map(|builder| scope.spawn(|| builder.start())).collect();
            hosts.extend(starting.into_iter().map(|host| host.join().unwrap()));
        });
    }
    hosts
}

/// The hosts of a report with that status, in its order.
pub fn hosts_that_are<'a>(report: &'a serde_json::Value, status: &str) -> Vec<&'a str> {
    let hosts = report["hosts"].as_array().unwrap().iter();
    hosts.filter(|host| host["status"] == status).map(|host| host["name"].as_str().unwrap()).collect()
}

/// One host of a report.
pub fn host_of<'a>(report: &'a serde_json::Value, name: &str) -> &'a serde_json::Value {
    let hosts = report["hosts"].as_array().unwrap();
    hosts.iter().find(|host| host["name"] == name).unwrap_or_else(|| panic!("{name} is not in the report"))
}
