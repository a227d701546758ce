//! How hosts are reached and what they hold, as far as it has a default: `[ssh]` and `[distribute]`, each of whose keys
//! a host may set itself. One reading of these keys serves both places.
//!
//! Hosts with equal SSH settings share them in memory.

use super::{
    Location,
    address::{JumpHost, parse_user},
    diagnostics::{Mistake, Mistakes, did_you_mean, quoted},
    model::{LeftToConfig, Privilege, SshSettings},
    paths::{PathError, parse_directory, resolve_path},
    reader::{Found, Reader},
};
use std::{collections::HashMap, path::PathBuf, sync::Arc};

const DEFAULT_KNOWN_HOSTS: &str = "~/.ssh/known_hosts";

/// The keys `[ssh]` and `[[hosts]]` have in common, where they are set.
#[derive(Debug, Clone, Default)]
pub(super) struct SshKeys {
    user: Option<String>,
    pub port: Option<u16>,
    identity_files: Option<Vec<PathBuf>>,
    known_hosts: Option<Vec<PathBuf>>,
    jump: Option<Vec<JumpHost>>,
    use_config: Option<bool>,
    pub privilege: Option<Privilege>,
}

/// The keys of a host that make no sense without SSH.
pub(super) const SSH_ONLY: [&str; 7] =
    ["address", "user", "port", "identity_files", "known_hosts", "jump", "use_config"];

impl SshKeys {
    pub fn read(table: &Reader<'_>, location: &Location, mistakes: &mut Mistakes<'_>) -> Self {
        let user = table.text("user").and_then(|text| {
            let user = parse_user(text.value)
                .map_err(|e| Mistake::new(format!("bad user {}: {e}", quoted(text.value))).maybe_hint(e.hint()));
            mistakes.keep(text.at, user.map(str::to_owned))
        });
        let port = table.integer("port").and_then(|number| {
            let port = u16::try_from(number.value).ok().filter(|port| *port != 0);
            let message = || Mistake::new("port must be from 1 to 65535").hint("SSH's is 22");
            mistakes.keep(number.at, port.ok_or_else(message))
        });
        let known_hosts = read_paths(table, "known_hosts", location, mistakes);
        if let Some(at) = table.empty_list("known_hosts") {
            let mistake = Mistake::new("known_hosts is empty: no host key could be verified");
            mistakes.report(
                at,
                mistake.hint(format!("write known_hosts = [\"{DEFAULT_KNOWN_HOSTS}\"] or remove the line")),
            );
        }
        Self {
            user,
            port,
            identity_files: read_paths(table, "identity_files", location, mistakes),
            known_hosts,
            jump: read_jump(table, mistakes),
            use_config: table.flag("use_config"),
            privilege: read_privilege(table, mistakes),
        }
    }

    fn changes_settings(&self) -> bool {
        let lists = [self.identity_files.is_some(), self.known_hosts.is_some(), self.jump.is_some()];
        // That the port is set, and not left to ~/.ssh/config, is a setting too.
        self.user.is_some() || self.port.is_some() || self.use_config.is_some() || lists.contains(&true)
    }
}

fn read_paths(table: &Reader<'_>, key: &str, location: &Location, mistakes: &mut Mistakes<'_>) -> Option<Vec<PathBuf>> {
    let list = table.texts(key)?;
    let mut paths = Vec::with_capacity(list.value.len());
    for text in list.value {
        let path = resolve_path(text.value, location).map_err(|e| path_mistake(key, text, &e));
        paths.extend(mistakes.keep(text.at, path));
    }
    Some(paths)
}

fn path_mistake(key: &str, text: Found<&str>, error: &PathError) -> Mistake {
    Mistake::new(format!("bad path {} in {key}: {error}", quoted(text.value))).hint(error.hint())
}

fn read_jump(table: &Reader<'_>, mistakes: &mut Mistakes<'_>) -> Option<Vec<JumpHost>> {
    let list = table.texts("jump")?;
    let mut hosts = Vec::with_capacity(list.value.len());
    for text in list.value {
        let host = text.value.parse::<JumpHost>().map_err(|e| {
            let hint = match text.value.contains(',') {
                true => "write jump = [\"first\", \"second\"]",
                false => "write [user@]host[:port], an IPv6 address in brackets",
            };
            Mistake::new(format!("bad jump host {}: {e}", quoted(text.value))).hint(hint)
        });
        hosts.extend(mistakes.keep(text.at, host));
    }
    Some(hosts)
}

fn read_privilege(table: &Reader<'_>, mistakes: &mut Mistakes<'_>) -> Option<Privilege> {
    let text = table.text("become")?;
    let privilege = match text.value {
        "none" => Ok(Privilege::AsLoggedIn),
        "sudo" => Ok(Privilege::Sudo),
        other => {
            let hint = did_you_mean(other, ["none", "sudo"]);
            Err(Mistake::new(format!("become must be \"none\" or \"sudo\", not {}", quoted(other))).maybe_hint(hint))
        }
    };
    mistakes.keep(text.at, privilege)
}

/// The keys `[distribute]` and `[[hosts]]` have in common, where they are set.
#[derive(Debug, Clone, Default)]
pub(super) struct InstallKeys {
    pub directory: Option<String>,
    pub install_ca: Option<bool>,
    pub token_csv_on_nodes: Option<bool>,
}

impl InstallKeys {
    pub fn read(table: &Reader<'_>, mistakes: &mut Mistakes<'_>) -> Self {
        let directory = table.text("directory").and_then(|text| {
            let directory = parse_directory(text.value)
                .map_err(|e| Mistake::new(format!("bad directory {}: {e}", quoted(text.value))).hint(e.hint()));
            mistakes.keep(text.at, directory)
        });
        Self { directory, install_ca: table.flag("install_ca"), token_csv_on_nodes: table.flag("token_csv_on_nodes") }
    }
}

/// Hands out SSH settings, equal ones as one value.
pub(super) struct SettingsPool<'l> {
    location: &'l Location,
    defaults: SshKeys,
    plain: Option<Arc<SshSettings>>,
    seen: HashMap<SshSettings, Arc<SshSettings>>,
    home_reported: bool,
}

impl<'l> SettingsPool<'l> {
    pub fn new(defaults: SshKeys, location: &'l Location) -> Self {
        Self { location, defaults, plain: None, seen: HashMap::new(), home_reported: false }
    }

    /// The settings of a host at `at` that sets these keys itself.
    pub fn settings(&mut self, keys: &SshKeys, at: usize, mistakes: &mut Mistakes<'_>) -> Arc<SshSettings> {
        if let Some(plain) = self.plain.as_ref().filter(|_| !keys.changes_settings()) {
            return Arc::clone(plain);
        }
        let settings = self.merge(keys, at, mistakes);
        let shared = self.seen.entry(settings).or_insert_with_key(|settings| Arc::new(settings.clone()));
        if !keys.changes_settings() {
            self.plain = Some(Arc::clone(shared));
        }
        Arc::clone(shared)
    }

    fn merge(&mut self, keys: &SshKeys, at: usize, mistakes: &mut Mistakes<'_>) -> SshSettings {
        let defaults = self.defaults.clone();
        let root = || "root".to_owned();
        let user = keys.user.clone().or_else(|| defaults.user.clone());
        let identity_files = keys.identity_files.clone().or(defaults.identity_files);
        let known_hosts = keys.known_hosts.clone().or(defaults.known_hosts);
        let jump = keys.jump.clone().or(defaults.jump);
        let uses_config = keys.use_config.or(defaults.use_config).unwrap_or(false);
        let left_to_config = uses_config.then(|| LeftToConfig {
            user: user.is_none(),
            port: keys.port.or(defaults.port).is_none(),
            identity_files: identity_files.is_none(),
            known_hosts: known_hosts.is_none(),
            jump: jump.is_none(),
            jump_user: defaults.user.is_none(),
        });
        let known_hosts = match (known_hosts, &left_to_config) {
            (Some(files), _) => files,
            (None, Some(_)) => Vec::new(),
            (None, None) => self.usual_known_hosts(at, mistakes),
        };
        SshSettings {
            user: user.unwrap_or_else(root),
            identity_files: identity_files.unwrap_or_default(),
            known_hosts,
            jump: jump.unwrap_or_default(),
            jump_user: defaults.user.unwrap_or_else(root),
            left_to_config,
        }
    }

    fn usual_known_hosts(&mut self, at: usize, mistakes: &mut Mistakes<'_>) -> Vec<PathBuf> {
        match resolve_path(DEFAULT_KNOWN_HOSTS, self.location) {
            Ok(path) => vec![path],
            Err(error) => {
                if !std::mem::replace(&mut self.home_reported, true) {
                    let message = format!("{DEFAULT_KNOWN_HOSTS} cannot be found: {error}");
                    mistakes.report(at, Mistake::new(message).hint("set known_hosts in [ssh]"));
                }
                Vec::new()
            }
        }
    }
}
