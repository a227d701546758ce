//! `[[hosts]]`: each block is one host or a range of them, merged with the defaults.
//!
//! A block with a mistake is reported and adds no hosts; the others are read on. Counts are checked before anything is
//! expanded. Work is linear in the number of hosts.

use super::{
    Location,
    access::{InstallKeys, SettingsPool, SshKeys},
    address::parse_address,
    block::{Way, read_labels, read_roles, read_way},
    diagnostics::{Mistake, Mistakes, quoted},
    model::{Connection, Host, HostName, Privilege, Role, Roles, ServerUrl, SshSettings, SshTarget},
    paths::resolve_root,
    range::Template,
    reader::{Found, Reader},
    settings::{parse_server, server_url},
};
use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

/// More hosts than this in one inventory are a slip in a range.
pub(super) const MOST_HOSTS: u64 = 100_000;

/// A host and where its block's name stands.
pub(super) struct PlacedHost {
    pub host: Host,
    pub at: usize,
}

pub(super) fn read_hosts(
    top: &Reader<'_>,
    server: &ServerUrl,
    location: &Location,
    mistakes: &mut Mistakes<'_>,
) -> Vec<PlacedHost> {
    let ssh = SshKeys::read(&top.table("ssh"), location, mistakes);
    let mut reader = HostReader {
        location,
        server,
        api_port: server.port(),
        install: InstallKeys::read(&top.table("distribute"), mistakes),
        port: ssh.port.unwrap_or(22),
        privilege: ssh.privilege.unwrap_or(Privilege::AsLoggedIn),
        pool: SettingsPool::new(ssh, location),
        hosts: Vec::new(),
        full: false,
    };
    if top.place("hosts").is_none() || top.empty_list("hosts").is_some() {
        let hint = "add [[hosts]] with a name; `connection = \"local\"` for this machine";
        mistakes.report(top.place("hosts").unwrap_or(0), Mistake::new("the inventory names no hosts").hint(hint));
    }
    for block in top.tables("hosts") {
        reader.read_block(&block, mistakes);
    }
    reader.hosts
}

struct HostReader<'l> {
    location: &'l Location,
    server: &'l ServerUrl,
    /// The port of `server`.
    api_port: u16,
    install: InstallKeys,
    port: u16,
    privilege: Privilege,
    pool: SettingsPool<'l>,
    hosts: Vec<PlacedHost>,
    /// There were too many hosts, and that has been said.
    full: bool,
}

/// A block's values that all its hosts have in common.
struct Common {
    way: Way,
    ssh: SshKeys,
    settings: Option<Arc<SshSettings>>,
    install: InstallKeys,
    roles: Roles,
    labels: BTreeMap<String, String>,
    server: ServerUrl,
}

/// A block's values of which each host has its own; all of the same length.
struct Own {
    names: Vec<HostName>,
    addresses: Vec<String>,
    roots: Vec<PathBuf>,
    apiservers: Option<Vec<ServerUrl>>,
}

impl HostReader<'_> {
    fn read_block(&mut self, block: &Reader<'_>, mistakes: &mut Mistakes<'_>) {
        let common = self.read_common(block, mistakes);
        let Some(name) = block.text("name") else {
            if block.place("name").is_none() {
                mistakes.report(block.at, Mistake::new("this host has no name").hint("add name = \"…\""));
            }
            return;
        };
        if let Some(own) = self.read_own(block, name, common.way, mistakes) {
            self.hosts.reserve(own.names.len());
            self.add_hosts(name.at, &common, own);
        }
    }

    fn read_common(&mut self, block: &Reader<'_>, mistakes: &mut Mistakes<'_>) -> Common {
        let way = read_way(block, mistakes);
        let ssh = SshKeys::read(block, self.location, mistakes);
        let settings = (way == Way::Ssh).then(|| self.pool.settings(&ssh, block.at, mistakes));
        let roles = read_roles(block, mistakes);
        if let Some(at) = block.place("apiserver").filter(|_| !roles.contains(Role::ControlPlane)) {
            let mistake = Mistake::new("apiserver is for control-plane hosts");
            mistakes.report(
                at,
                mistake.hint("add the role \"control-plane\", or use server for what the host's kubeconfigs point to"),
            );
        }
        let server = block.text("server").and_then(|url| parse_server("server", url, mistakes));
        Common {
            way,
            ssh,
            settings,
            install: InstallKeys::read(block, mistakes),
            roles,
            labels: read_labels(block, mistakes),
            server: server.unwrap_or_else(|| self.server.clone()),
        }
    }

    /// `None` when something was reported.
    fn read_own(
        &mut self,
        block: &Reader<'_>,
        name: Found<&str>,
        way: Way,
        mistakes: &mut Mistakes<'_>,
    ) -> Option<Own> {
        let names = mistakes.keep(name.at, template("name", name.value));
        let mut whole = true;
        let mut others = Vec::new();
        for key in ["address", "root", "apiserver"] {
            let Some(text) = block.text(key) else {
                whole &= block.place(key).is_none();
                continue;
            };
            let kept = mistakes.keep(text.at, template(key, text.value));
            whole &= kept.is_some();
            others.extend(kept.map(|template| (key, text.at, template)));
        }
        let names = names?;
        let mut room = self.has_room(names.count(), name.at, mistakes);
        for (key, at, other) in others.iter().filter(|(_, _, other)| other.count() != names.count()) {
            let message = format!("{key} stands for {}, name for {}", hosts(other.count()), hosts(names.count()));
            mistakes.report(*at, Mistake::new(message).hint("give the ranges the same length"));
            room = false;
        }
        if !room || !whole {
            return None;
        }
        let find = |wanted| others.iter().find(|(key, ..)| *key == wanted).map(|(_, at, template)| (*at, template));
        let location = self.location;
        let apiservers =
            find("apiserver").map(|(at, all)| expand(at, all, |url| server_url("apiserver", url), mistakes));
        let roots = find("root").map(|(at, all)| expand(at, all, |root| parse_root(root, location), mistakes));
        let names_list = expand(name.at, &names, parse_name, mistakes);
        let addresses = match (way, find("address")) {
            (Way::Local, _) => Some(Vec::new()),
            (Way::Ssh, Some((at, all))) => expand(at, all, parse_host_address, mistakes),
            // A bad name is said once, not again as an address.
            (Way::Ssh, None) if names_list.is_some() => expand(name.at, &names, address_from_name, mistakes),
            (Way::Ssh, None) => None,
        };
        Some(Own {
            names: names_list?,
            addresses: addresses?,
            roots: roots.unwrap_or_else(|| Some(Vec::new()))?,
            apiservers: apiservers.map_or(Some(None), |list| list.map(Some))?,
        })
    }

    fn has_room(&mut self, more: u64, at: usize, mistakes: &mut Mistakes<'_>) -> bool {
        let room = MOST_HOSTS.saturating_sub(self.hosts.len() as u64);
        if more > room && !std::mem::replace(&mut self.full, true) {
            let message = match more > MOST_HOSTS {
                true => format!("this range stands for {}, more than {MOST_HOSTS}", hosts(more)),
                false => format!("the inventory has more than {MOST_HOSTS} hosts"),
            };
            mistakes.report(at, Mistake::new(message).hint("split it into several inventories"));
        }
        more <= room
    }

    fn add_hosts(&mut self, at: usize, common: &Common, own: Own) {
        let (mut addresses, mut roots) = (own.addresses.into_iter(), own.roots.into_iter());
        let mut apiservers = own.apiservers.map(Vec::into_iter);
        for name in own.names {
            let connection = match (common.settings.as_ref(), addresses.next()) {
                (Some(settings), Some(address)) => {
                    let port = common.ssh.port.unwrap_or(self.port);
                    Connection::Ssh(SshTarget { address, port, settings: Arc::clone(settings) })
                }
                _ => Connection::Local { root: roots.next().unwrap_or_else(|| PathBuf::from("/")) },
            };
            let apiserver = match apiservers.as_mut().and_then(Iterator::next) {
                Some(set) => set,
                None if common.roles.contains(Role::ControlPlane) => self.own_apiserver(&connection),
                None => common.server.clone(),
            };
            let host = self.build_host(name, connection, common, apiserver);
            self.hosts.push(PlacedHost { host, at });
        }
    }

    fn own_apiserver(&self, connection: &Connection) -> ServerUrl {
        match connection {
            Connection::Ssh(target) => ServerUrl::at(&target.address, self.api_port),
            Connection::Local { .. } => ServerUrl::at("127.0.0.1", self.api_port),
        }
    }

    fn build_host(&self, name: HostName, connection: Connection, common: &Common, apiserver: ServerUrl) -> Host {
        let install = &common.install;
        let directory = install.directory.as_ref().or(self.install.directory.as_ref());
        let flag = |own: Option<bool>, default: Option<bool>| own.or(default).unwrap_or(false);
        // [ssh] become says how root is reached after a login; on this machine only the host's own key counts.
        let privilege = match common.way {
            Way::Ssh => self.privilege,
            Way::Local => Privilege::AsLoggedIn,
        };
        Host {
            name,
            connection,
            privilege: common.ssh.privilege.unwrap_or(privilege),
            roles: common.roles,
            labels: common.labels.clone(),
            server: common.server.clone(),
            apiserver,
            directory: directory.map_or("/etc/kubernetes", String::as_str).to_owned(),
            install_ca: flag(install.install_ca, self.install.install_ca),
            token_csv_on_nodes: flag(install.token_csv_on_nodes, self.install.token_csv_on_nodes),
        }
    }
}

fn hosts(count: u64) -> String {
    match count {
        1 => "1 host".to_owned(),
        u64::MAX => "countless hosts".to_owned(),
        _ => format!("{count} hosts"),
    }
}

fn template<'t>(key: &str, text: &'t str) -> Result<Template<'t>, Mistake> {
    Template::parse(text).map_err(|e| Mistake::new(format!("bad {key} {}: {e}", quoted(text))).hint(e.hint()))
}

/// The template's values parsed; at the first bad one a mistake and `None`.
fn expand<T>(
    at: usize,
    template: &Template<'_>,
    parse: impl Fn(&str) -> Result<T, Mistake>,
    mistakes: &mut Mistakes<'_>,
) -> Option<Vec<T>> {
    let mut text = String::new();
    let values = (0..template.count()).map(|i| {
        template.write(i, &mut text);
        parse(&text)
    });
    let values = values.collect();
    mistakes.keep(at, values)
}

fn parse_name(text: &str) -> Result<HostName, Mistake> {
    text.parse().map_err(|e: super::NameError| {
        Mistake::new(format!("bad host name {}: {e}", quoted(text))).maybe_hint(e.hint())
    })
}

fn parse_host_address(text: &str) -> Result<String, Mistake> {
    parse_address(text).map_err(|e| Mistake::new(format!("bad address {}: {e}", quoted(text))).maybe_hint(e.hint()))
}

fn address_from_name(text: &str) -> Result<String, Mistake> {
    parse_address(text).map_err(|e| {
        Mistake::new(format!("the name {} cannot serve as address: {e}", quoted(text))).hint("set address")
    })
}

fn parse_root(text: &str, location: &Location) -> Result<PathBuf, Mistake> {
    resolve_root(text, location).map_err(|e| Mistake::new(format!("bad root {}: {e}", quoted(text))).hint(e.hint()))
}
