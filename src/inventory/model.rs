//! What an inventory says, once it is known to be valid: plain values, every default and override already applied.
//! An [`Inventory`] exists only when valid, so nothing downstream checks again. This module knows no TOML.

use super::{address::JumpHost, amount::Amount};
use crate::pki::Algorithm;
use std::{collections::BTreeMap, fmt, path::PathBuf, sync::Arc, time::Duration};

/// One inventory: the cluster, what to mint for it, and the hosts that get it.
#[derive(Debug, Clone)]
pub struct Inventory {
    /// The file it was read from, as given.
    pub path: PathBuf,
    /// The credential directory, resolved against the inventory's own folder.
    pub state_dir: PathBuf,
    pub cluster: Cluster,
    pub ca: CaSource,
    pub token: TokenSettings,
    pub token_form: TokenForm,
    /// How long the token of a Secret lives.
    pub token_ttl: Duration,
    /// Every node has a token of its own.
    pub token_per_node: bool,
    pub kube_proxy: CertificateSettings,
    /// How many hosts are worked on at a time, at least 1.
    pub concurrency: usize,
    pub deadlines: Deadlines,
    pub limits: Limits,
    pub services: Services,
    /// In the order of the file, ranges expanded; names are unique.
    pub hosts: Vec<Host>,
}

/// The cluster as kubeconfigs name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// Name of the cluster entry in every kubeconfig; the handbook's is `kubernetes`.
    pub name: String,
    /// Where kubeconfigs point to unless a host overrides it.
    pub server: ServerUrl,
}

/// An apiserver URL: `https://HOST[:PORT][/PREFIX]`, kept as written but for a trailing slash.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServerUrl(Arc<str>);

impl ServerUrl {
    /// For the validating parser (`inventory::address`) and tests only.
    #[doc(hidden)]
    #[must_use]
    pub fn new_unchecked(url: &str) -> Self {
        Self(Arc::from(url))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

/// Where the cluster CA comes from. Paths are resolved against the inventory's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CaSource {
    /// kubemint makes one: self-signed, path length 0.
    New { algorithm: Algorithm, validity: Duration, common_name: String },
    /// An existing CA, certificate and key.
    Imported { cert: PathBuf, key: PathBuf },
    /// Only the certificate is at hand; somebody else signs.
    External { cert: PathBuf },
}

/// The bootstrap token's row in token.csv, but for the secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenSettings {
    pub user: String,
    pub uid: String,
    pub groups: Vec<String>,
}

/// What a bootstrap token is to kube-apiserver.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TokenForm {
    /// A row of token.csv (`--token-auth-file`).
    #[default]
    Csv,
    /// A Secret in kube-system (`--enable-bootstrap-token-auth`).
    Secret,
}

impl TokenForm {
    pub(super) const ALL: [Self; 2] = [Self::Csv, Self::Secret];

    /// As the inventory writes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Secret => "secret",
        }
    }
}

/// What to ask of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateSettings {
    pub algorithm: Algorithm,
    pub validity: Duration,
    pub organization: String,
    /// A key and a certificate of its own for every node.
    pub per_node: Option<bool>,
}

/// The command that restarts each service on a host, where the inventory names one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Services {
    pub kube_apiserver: Option<String>,
    pub kubelet: Option<String>,
    pub kube_proxy: Option<String>,
    /// Which kubelets a rotation restarts.
    pub kubelet_restart: KubeletRestart,
    /// How long a restart may take until the service answers, at least a second.
    pub restart_timeout: Duration,
}

impl Default for Services {
    fn default() -> Self {
        Self {
            kube_apiserver: None,
            kubelet: None,
            kube_proxy: None,
            kubelet_restart: KubeletRestart::default(),
            restart_timeout: Duration::from_secs(120),
        }
    }
}

/// Which kubelets are restarted when their bootstrap.kubeconfig has changed. One that has joined ignores that file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum KubeletRestart {
    /// Those whose node is not there, or not ready.
    #[default]
    Unjoined,
    Always,
    Never,
}

impl KubeletRestart {
    pub(super) const ALL: [Self; 3] = [Self::Unjoined, Self::Always, Self::Never];

    /// As the inventory writes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unjoined => "unjoined",
            Self::Always => "always",
            Self::Never => "never",
        }
    }
}

/// How long each step with a host may take, and how often a host is tried again that was not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// Name lookup and TCP connect, over all of a host's addresses together.
    pub connect: Duration,
    /// SSH greeting and key exchange.
    pub handshake: Duration,
    /// From the TCP connection to the end of the login.
    pub login: Duration,
    /// Silence from the host, at any later moment.
    pub idle: Duration,
    /// Everything together, retries included.
    pub host: Duration,
    /// Attempts after the first.
    pub retries: u32,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            handshake: Duration::from_secs(10),
            login: Duration::from_secs(30),
            idle: Duration::from_secs(30),
            host: Duration::from_secs(120),
            retries: 3,
        }
    }
}

/// In which order a run goes over its hosts, and when it stops.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    pub sequence: Sequence,
    /// How many hosts are begun before all of them have to be done; `None`: all.
    pub batch: Option<Amount>,
    /// When more hosts than this have failed, no other is begun; `None`: all are.
    pub max_failures: Option<Amount>,
}

/// Which hosts of a run come first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Sequence {
    /// Nodes begin when every control-plane host is done.
    #[default]
    ControlPlaneFirst,
    /// Control-plane hosts begin when every host that is only a node is done.
    NodesFirst,
    /// One after the other as the inventory lists them.
    AsListed,
}

impl Sequence {
    pub(super) const ALL: [Self; 3] = [Self::ControlPlaneFirst, Self::NodesFirst, Self::AsListed];

    /// As the inventory writes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ControlPlaneFirst => "control-plane-first",
            Self::NodesFirst => "nodes-first",
            Self::AsListed => "as-listed",
        }
    }
}

/// One host, with defaults and its own overrides merged.
#[derive(Debug, Clone)]
pub struct Host {
    pub name: HostName,
    pub connection: Connection,
    pub privilege: Privilege,
    pub roles: Roles,
    pub labels: BTreeMap<String, String>,
    /// What this host's kubeconfigs point to.
    pub server: ServerUrl,
    /// A control-plane host's own API address.
    pub apiserver: ServerUrl,
    /// Absolute, normalised directory on the host (below `root` for a local host), without a trailing slash.
    pub directory: String,
    /// Also install ca.pem, to `directory`/ssl/ca.pem.
    pub install_ca: bool,
    /// token.csv too on a host that is only a node.
    pub token_csv_on_nodes: bool,
}

/// A host's name: an RFC 1123 DNS subdomain, as Kubernetes asks of node names.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostName(Arc<str>);

impl HostName {
    /// For the validating parser (`inventory::address`) and tests only.
    #[doc(hidden)]
    #[must_use]
    pub fn new_unchecked(name: &str) -> Self {
        Self(Arc::from(name))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

/// How a host is reached.
#[derive(Debug, Clone)]
pub enum Connection {
    Ssh(SshTarget),
    /// This machine; everything is installed below `root` (absolute).
    Local {
        root: PathBuf,
    },
}

/// Where and as whom to log in. Settings shared by many hosts are shared in memory too.
#[derive(Debug, Clone)]
pub struct SshTarget {
    /// IPv4, IPv6 (no brackets) or a DNS name; never begins with `-`, holds no shell characters.
    pub address: String,
    pub port: u16,
    pub settings: Arc<SshSettings>,
}

/// SSH settings after merging `[ssh]` and the host's own. Paths have `~` expanded and are absolute.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SshSettings {
    pub user: String,
    /// Tried in this order, before the agent. Empty: the usual ~/.ssh/id_ed25519, id_ecdsa, id_rsa that exist.
    pub identity_files: Vec<PathBuf>,
    pub known_hosts: Vec<PathBuf>,
    /// Jump hosts, nearest first.
    pub jump: Vec<JumpHost>,
    /// As whom to log in to a jump host that names no user: the user of `[ssh]`, whatever a host's own is.
    pub jump_user: String,
    /// With `use_config`: what of this the inventory does not say. `None`: everything is settled.
    pub left_to_config: Option<LeftToConfig>,
}

impl SshSettings {
    /// Whether there may be jump hosts on the way: of the inventory, or of ~/.ssh/config.
    #[must_use]
    pub fn has_jump(&self) -> bool {
        !self.jump.is_empty() || self.left_to_config.is_some_and(|left| left.jump)
    }
}

/// Which settings ~/.ssh/config may decide, because the inventory sets them neither for the host nor in `[ssh]`. Of the
/// address it may decide where the host has none of its own, and its name stands in for it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct LeftToConfig {
    pub user: bool,
    pub port: bool,
    pub identity_files: bool,
    pub known_hosts: bool,
    pub jump: bool,
    pub jump_user: bool,
}

/// How root is reached after login.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Privilege {
    /// The login user does the work.
    AsLoggedIn,
    /// `sudo -n`.
    Sudo,
}

/// One role of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    ControlPlane,
    Node,
}

impl Role {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ControlPlane => "control-plane",
            Self::Node => "node",
        }
    }
}

/// The roles of one host, at least one; a host may have both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Roles {
    control_plane: bool,
    node: bool,
}

impl Roles {
    /// Only a node: what a host is when the inventory names no role.
    pub const NODE: Self = Self { control_plane: false, node: true };

    /// `None` for an empty list.
    #[must_use]
    pub fn new(roles: &[Role]) -> Option<Self> {
        let roles = Self { control_plane: roles.contains(&Role::ControlPlane), node: roles.contains(&Role::Node) };
        (roles.control_plane || roles.node).then_some(roles)
    }

    #[must_use]
    pub fn contains(self, role: Role) -> bool {
        match role {
            Role::ControlPlane => self.control_plane,
            Role::Node => self.node,
        }
    }

    /// The roles, control plane first.
    pub fn iter(self) -> impl Iterator<Item = Role> {
        [Role::ControlPlane, Role::Node].into_iter().filter(move |role| self.contains(*role))
    }
}
