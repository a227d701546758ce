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
    standard_input::StandardInput,
    steering::Steering,
};
use crate::{
    clock::{Clock, SystemClock},
    entropy::OsEntropy,
    inherited::Descriptor,
    inventory::{self, CaSource, Host, Inventory, Limits, Location, Pattern},
    remote::{HostRemote, LocalRemote, SshConfig, SshRemote, installer::ForeignPolicy},
    secret::Secret,
    store::{self, Existing, OutputFile, Store},
    workflow::{distribute::Fleet, sent::SentFiles},
};
use std::{
    env,
    path::{Path, PathBuf},
    sync::Arc,
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
    pub(super) steering: Steering,
    stdin: StandardInput,
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
        let steering = Steering::new(env::var("SUDO_UID").ok().as_deref(), global.trust_inventory);
        let (clock, entropy, signals) = (SystemClock, OsEntropy, Signals::default());
        let stdin = StandardInput::default();
        Ok(Self { output, global, clock, entropy, signals, steering, stdin, folder, home })
    }

    pub(super) fn now(&self) -> jiff::Timestamp {
        self.clock.now()
    }

    /// Reads and validates the inventory. It and the CA's files that it names must be closed to other users.
    pub(super) fn inventory(&self) -> Result<Inventory, Failure> {
        let path = &self.global.inventory;
        let text = self.read_steering(path, "-i").map_err(|failure| {
            if failure.code != "file_unreadable" {
                return failure;
            }
            let full = self.folder.join(path);
            let hint = match Descriptor::of_path(&full) {
                Some(descriptor) if !full.exists() => {
                    format!("open it for kubemint, as in `{}<FILE`, or use `-i - <FILE`", descriptor.number())
                }
                _ if full.exists() => failure.hint.unwrap_or_default(),
                _ => "name the inventory with -i FILE, or write one with `kubemint init`".to_owned(),
            };
            Failure::bad_input("inventory_unreadable", failure.message).hint(hint)
        })?;
        let location = Location { path: path.clone(), folder: self.folder_of(path), home: self.home.clone() };
        let inventory = inventory::parse_inventory(&text, &location)?;
        match &inventory.ca {
            CaSource::New { .. } => {}
            CaSource::Imported { cert, key } => [cert, key].into_iter().try_for_each(|path| self.judge(path))?,
            CaSource::External { cert } => self.judge(cert)?,
        }
        Ok(inventory)
    }

    /// Where relative paths in a file begin: beside it, or, where it has no place of its own (a pipe), here.
    pub(super) fn folder_of(&self, path: &Path) -> PathBuf {
        let full = self.folder.join(path);
        match full.parent() {
            Some(folder) if Descriptor::of_path(&full).is_none() => folder.to_owned(),
            _ => self.folder.clone(),
        }
    }

    /// Warns of a file that another user may write to; with root's rights it is refused.
    fn judge(&self, path: &Path) -> Result<(), Failure> {
        match path.to_str() {
            Some("-") => Ok(()),
            _ => self.steering.judge(&self.folder.join(path), self.output),
        }
    }

    /// The text of a file that must be closed to other users. Of one that is not there it is said before all that it is not.
    fn read_steering(&self, path: &Path, flag: &'static str) -> Result<String, Failure> {
        if self.is_stdin(path) {
            self.stdin.claim(flag)?;
        }
        match self.judge(path) {
            Err(refused) if !self.folder.join(path).exists() => {
                self.read_text(path, LARGEST_INVENTORY).and(Err(refused))
            }
            Err(refused) => Err(refused),
            Ok(()) => self.read_text(path, LARGEST_INVENTORY),
        }
    }

    fn is_stdin(&self, path: &Path) -> bool {
        path == Path::new("-") || Descriptor::of_path(&self.folder.join(path)) == Some(Descriptor::STDIN)
    }

    /// Refuses standard input to a second flag: what one flag has read another cannot read.
    pub(super) fn claim_stdin(&self, flag: &'static str) -> Result<(), Failure> {
        self.stdin.claim(flag)
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
        self.hosts_and_all_shards(inventory).map(|(hosts, _)| hosts)
    }

    /// The same, and those of all shards together. Files of `--limit @FILE` are read once: they may be pipes.
    pub(super) fn hosts_and_all_shards<'h>(
        &self,
        inventory: &'h Inventory,
    ) -> Result<(Vec<&'h Host>, Vec<&'h Host>), Failure> {
        let hosts = self.select(inventory, &self.global.limit, LIMIT)?;
        let variable = |name: &str| env::var(name).ok();
        let Some(shard) = chosen_shard(self.global.shard, self.global.shard_count, &variable)? else {
            return Ok((hosts.clone(), hosts));
        };
        let part = shard.select(hosts.clone());
        if part.is_empty() {
            let all = counted(hosts.len(), "host");
            self.output.note(&format!("part {shard} of {all} is empty: there is nothing to do"));
        }
        Ok((part, hosts))
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
        inventory::resolve_files(patterns, |path| self.read_steering(path, "@FILE"))
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
        let sent = Arc::new(SentFiles::new(self.store(inventory), inventory.clone()));
        let all = Arc::clone(&sent);
        let remote = HostRemote::new(SshRemote::new(ssh), local)
            .remembering(move |host| sent.to(host))
            .guarding(move || all.secrets_of_all());
        remote.ssh().known_hosts_files(hosts.iter().copied()).iter().try_for_each(|path| self.judge(path))?;
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
        self.judge(&path)?;
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

    /// Looks at the templates of `--templates DIR` without using them.
    pub(super) fn judge_templates(&self) -> Result<(), Failure> {
        ["rbac.yaml", "bootstrap-token-secret.yaml"].into_iter().try_for_each(|name| self.template(name).map(drop))
    }

    /// A file that an argument names.
    fn read_argument(&self, path: &Path, cap: u64) -> Result<String, Failure> {
        if self.is_stdin(path) {
            self.stdin.claim("FILE")?;
        }
        self.read_text(path, cap)
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
        self.read_argument(path, LARGEST_REPORT)
    }

    /// A file that the user named and that may hold secrets; `-` is standard input.
    pub(super) fn read_input(&self, path: &Path) -> Result<Secret, Failure> {
        self.read_argument(path, LARGEST_INPUT).map(Secret::from)
    }

    /// The same, before anything is known of its encoding.
    pub(super) fn read_bytes(&self, path: &Path) -> Result<Zeroizing<Vec<u8>>, Failure> {
        if self.is_stdin(path) {
            self.stdin.claim("FILE")?;
        }
        self.read_one_of_many(path).map_err(|e| unreadable(&e))
    }

    /// The same, for who tells of all files at once.
    pub(super) fn read_one_of_many(&self, path: &Path) -> Result<Zeroizing<Vec<u8>>, store::Error> {
        self.read_up_to(path, LARGEST_INPUT)
    }

    fn read_up_to(&self, path: &Path, cap: u64) -> Result<Zeroizing<Vec<u8>>, store::Error> {
        match path.to_str() {
            Some("-") => store::read_descriptor(Descriptor::STDIN, path, cap),
            _ => store::read_bytes(&self.folder.join(path), cap),
        }
    }

    /// A file for output that the user named, looked at before anything is done; `-` is standard output.
    pub(super) fn output_file(&self, path: &Path, existing: Existing) -> Result<OutputFile, Failure> {
        let file = match path.to_str() {
            Some("-") => OutputFile::standard_output(),
            _ => OutputFile::look_at(&self.folder.join(path), existing, self.steering.users())
                .map_err(|e| unwritable(&e))?,
        };
        if file.stream() == Some(store::Stream::Output) && self.output.is_json() {
            let what = format!("{} is standard output, which -o json has for its one document", path.display());
            return Err(Failure::bad_input("usage", what).hint("name a file, or leave out `-o json`"));
        }
        Ok(file)
    }

    /// Writes a file for output, through the printer where it is a stream.
    pub(super) fn write_output(&self, file: &OutputFile, content: &str) -> Result<(), Failure> {
        match file.stream() {
            Some(stream) => self.output.stream(stream, content),
            None => file.write(content.as_bytes()).map_err(|e| unwritable(&e)),
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

fn unwritable(error: &store::Error) -> Failure {
    let hint = match error {
        store::Error::Io { .. } => {
            "name a file in a directory you may write to, or a FIFO that something reads from".to_owned()
        }
        other => other.hint(),
    };
    let code = if matches!(error, store::Error::Exists { .. }) { "file_exists" } else { "file_unwritable" };
    Failure::bad_input(code, error.to_string()).hint(hint)
}
