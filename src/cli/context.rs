//! What a command works with: the inventory, the store, the adapters. The only place that builds adapters and that looks
//! at the environment and the working directory.

use super::{
    args::Global,
    failure::Failure,
    hosts::{HostArgs, counted},
    output::Output,
    passwords::PasswordArgs,
    shard::chosen_shard,
    signals::Signals,
};
use crate::{
    clock::{Clock, SystemClock},
    entropy::OsEntropy,
    inventory::{self, Host, Inventory, Limits, Location, Pattern},
    remote::{HostRemote, LocalRemote, SshConfig, SshRemote, installer::ForeignPolicy},
    secret::Secret,
    store::{self, Store},
    workflow::{distribute::Fleet, sent::SentFiles},
};
use std::{
    env,
    path::{Path, PathBuf},
};
use zeroize::Zeroizing;

/// An inventory of 100,000 hosts written one by one stays below this.
const LARGEST_INVENTORY: u64 = 16 * 1024 * 1024;
/// More than any token.csv, kubeconfig or template in use.
const LARGEST_INPUT: u64 = 4 * 1024 * 1024;

const LARGEST_REPORT: u64 = 512 << 20;

pub(super) struct Context<'a> {
    pub(super) output: &'a Output,
    pub(super) global: Global,
    pub(super) clock: SystemClock,
    pub(super) entropy: OsEntropy,
    pub(super) signals: Signals,
    folder: PathBuf,
    home: Option<PathBuf>,
}

/// An argument that names hosts, as its errors name it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Argument {
    pub(super) name: &'static str,
    pub(super) code: &'static str,
}

const LIMIT: Argument = Argument { name: "--limit", code: "limit_invalid" };
/// Of commands that take names of nodes.
#[cfg(feature = "k8s")]
pub(super) const NODES: Argument = Argument { name: "NODE", code: "nodes_invalid" };
#[cfg(feature = "k8s")]
pub(super) const HOSTS: Argument = Argument { name: "HOST", code: "hosts_invalid" };

impl<'a> Context<'a> {
    pub(super) fn new(global: Global, output: &'a Output) -> Result<Self, Failure> {
        let folder = env::current_dir().map_err(|e| {
            Failure::bad_input("no_working_directory", format!("the working directory cannot be used: {e}"))
        })?;
        let home = env::home_dir().filter(|home| home.is_absolute());
        Ok(Self { output, global, clock: SystemClock, entropy: OsEntropy, signals: Signals::default(), folder, home })
    }

    pub(super) fn now(&self) -> jiff::Timestamp {
        self.clock.now()
    }

    /// Reads and validates the inventory.
    pub(super) fn inventory(&self) -> Result<Inventory, Failure> {
        let path = &self.global.inventory;
        let text = self.read_text(path, LARGEST_INVENTORY).map_err(|failure| {
            let hint = match self.folder.join(path).exists() {
                true => failure.hint.unwrap_or_default(),
                false => "name the inventory with -i FILE, or write one with `kubemint init`".to_owned(),
            };
            Failure::bad_input("inventory_unreadable", failure.message).hint(hint)
        })?;
        let absolute = self.folder.join(path);
        let location = Location {
            path: path.clone(),
            folder: absolute.parent().unwrap_or(&self.folder).to_owned(),
            home: self.home.clone(),
        };
        Ok(inventory::parse_inventory(&text, &location)?)
    }

    pub(super) fn store(&self, inventory: &Inventory) -> Store {
        Store::at(&match &self.global.state_dir {
            Some(dir) => self.folder.join(dir),
            None => inventory.state_dir.clone(),
        })
    }

    /// The store of commands that need no inventory when `--state-dir` says where it is.
    pub(super) fn store_alone(&self) -> Result<Store, Failure> {
        match &self.global.state_dir {
            Some(dir) => Ok(Store::at(&self.folder.join(dir))),
            None => Ok(self.store(&self.inventory()?)),
        }
    }

    /// The hosts that `--limit` and then `--shard` leave, in the order of the inventory. A part may be empty.
    pub(super) fn hosts<'h>(&self, inventory: &'h Inventory) -> Result<Vec<&'h Host>, Failure> {
        let hosts = self.select(inventory, &self.global.limit, LIMIT)?;
        let variable = |name: &str| env::var(name).ok();
        let Some(shard) = chosen_shard(self.global.shard, self.global.shard_count, &variable)? else {
            return Ok(hosts);
        };
        let all = hosts.len();
        let part = shard.select(hosts);
        if part.is_empty() {
            self.output.note(&format!("part {shard} of {} is empty: there is nothing to do", counted(all, "host")));
        }
        Ok(part)
    }

    /// The hosts that patterns name, in the order of the inventory; all of them where there is no pattern.
    pub(super) fn select<'h>(
        &self,
        inventory: &'h Inventory,
        texts: &[String],
        argument: Argument,
    ) -> Result<Vec<&'h Host>, Failure> {
        let refuse = |message: String, hint| Failure {
            hint,
            ..Failure::bad_input(argument.code, format!("{}: {message}", argument.name))
        };
        let mut patterns = Vec::new();
        for text in texts {
            patterns.extend(inventory::parse_patterns(text).map_err(|e| refuse(e.to_string(), e.hint()))?);
        }
        let patterns = self.resolve(patterns)?;
        inventory::select_hosts(&inventory.hosts, &patterns).map_err(|e| refuse(e.to_string(), e.hint()))
    }

    /// Patterns with those of each `@FILE` in its place.
    fn resolve(&self, patterns: Vec<Pattern>) -> Result<Vec<Pattern>, Failure> {
        inventory::resolve_files(patterns, |path| self.read_text(path, LARGEST_INVENTORY))
    }

    /// Asks for what the flags say, and opens encrypted keys: before anything is begun.
    pub(super) fn remote(
        &self,
        inventory: &Inventory,
        args: &HostArgs,
        hosts: &[&Host],
    ) -> Result<HostRemote, Failure> {
        self.remote_with(inventory, &args.passwords, hosts)
    }

    /// The same.
    pub(super) fn remote_with(
        &self,
        inventory: &Inventory,
        passwords: &PasswordArgs,
        hosts: &[&Host],
    ) -> Result<HostRemote, Failure> {
        let deadlines = inventory.deadlines;
        let passwords = passwords.read(self)?;
        let ssh = SshConfig {
            home: self.home.clone(),
            agent_socket: env::var_os("SSH_AUTH_SOCK").filter(|s| !s.is_empty()).map(PathBuf::from),
            ssh_program: None,
            deadlines,
            password: passwords.login.clone(),
            sudo_password: passwords.sudo.clone(),
        };
        let local = LocalRemote::new(deadlines).with_sudo_password(passwords.sudo.clone());
        let sent = SentFiles::new(self.store(inventory), inventory.clone());
        let remote = HostRemote::new(SshRemote::new(ssh), local).remembering(move |host| sent.to(host));
        passwords.unlock(&remote, hosts, self)?;
        Ok(remote)
    }

    /// How many files this process may have open; `None`: as many as it likes.
    pub(super) fn descriptors() -> Option<u64> {
        rustix::process::getrlimit(rustix::process::Resource::Nofile).current
    }

    /// From here on signals are asked for, not obeyed at once.
    pub(super) fn fleet<'f>(
        &'f self,
        remote: &'f HostRemote,
        concurrency: usize,
        foreign: ForeignPolicy,
        limits: Limits,
    ) -> Fleet<'f> {
        self.signals.listen();
        Fleet {
            remote,
            entropy: &self.entropy,
            clock: &self.clock,
            concurrency,
            interrupt: &self.signals.interrupt,
            foreign,
            limits,
        }
    }

    /// A template of that name out of `--templates DIR`; `None` means the built-in one.
    pub(super) fn template(&self, name: &str) -> Result<Option<String>, Failure> {
        let Some(dir) = &self.global.templates else { return Ok(None) };
        let path = dir.join(name);
        if !self.folder.join(dir).is_dir() {
            let what = format!("{} is not a folder of templates", dir.display());
            return Err(Failure::bad_input("templates_unreadable", what)
                .hint("--templates names a folder with rbac.yaml, bootstrap-token-secret.yaml or both"));
        }
        if !self.folder.join(&path).exists() {
            return Ok(None);
        }
        self.read_text(&path, LARGEST_INPUT).map(Some)
    }

    fn read_text(&self, path: &Path, cap: u64) -> Result<String, Failure> {
        let bytes = std::mem::take(&mut *self.read_up_to(path, cap).map_err(|e| unreadable(&e))?);
        String::from_utf8(bytes).map_err(|e| {
            let at = e.utf8_error().valid_up_to();
            drop(Zeroizing::new(e.into_bytes()));
            Failure::bad_input("file_unreadable", format!("{} is not UTF-8 text (byte {at})", path.display()))
                .hint("save the file as UTF-8")
        })
    }

    /// A run's report, which may be one of 100,000 hosts.
    pub(super) fn read_report(&self, path: &Path) -> Result<String, Failure> {
        self.read_text(path, LARGEST_REPORT)
    }

    /// A file that the user named and that may hold secrets; `-` is standard input.
    pub(super) fn read_input(&self, path: &Path) -> Result<Secret, Failure> {
        self.read_text(path, LARGEST_INPUT).map(Secret::from)
    }

    /// The same, before anything is known of its encoding.
    pub(super) fn read_bytes(&self, path: &Path) -> Result<Zeroizing<Vec<u8>>, Failure> {
        self.read_one_of_many(path).map_err(|e| unreadable(&e))
    }

    /// The same, for who tells of all files at once.
    pub(super) fn read_one_of_many(&self, path: &Path) -> Result<Zeroizing<Vec<u8>>, store::Error> {
        self.read_up_to(path, LARGEST_INPUT)
    }

    fn read_up_to(&self, path: &Path, cap: u64) -> Result<Zeroizing<Vec<u8>>, store::Error> {
        match path.to_str() {
            Some("-") => store::read_stream(std::io::stdin().lock(), path, cap),
            // What a shell writes for <(command): a pipe, but one that somebody writes to.
            Some(pipe) if pipe.starts_with("/dev/fd/") => match std::fs::File::open(pipe) {
                Ok(file) => store::read_stream(file, path, cap),
                Err(source) => Err(store::Error::Io { action: "read", path: path.to_owned(), source }),
            },
            _ => store::read_bytes(&self.folder.join(path), cap),
        }
    }

    /// The first file of KUBECONFIG that is there. (kubectl merges them all.)
    #[cfg(feature = "k8s")]
    pub(super) fn kubeconfig_of_environment(&self) -> Option<PathBuf> {
        let list = env::var_os("KUBECONFIG")?;
        env::split_paths(&list).filter(|path| !path.as_os_str().is_empty()).find(|path| self.path(path).exists())
    }

    pub(super) fn path(&self, path: &Path) -> PathBuf {
        self.folder.join(path)
    }
}

fn unreadable(error: &store::Error) -> Failure {
    Failure::bad_input("file_unreadable", error.to_string()).hint(error.hint())
}
