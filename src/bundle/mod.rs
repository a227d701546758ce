//! Which files a host must hold: path, owner, mode, digest, content. Pure: it reads no disk and asks no host.
//!
//! Nodes get the two kubeconfigs, control-plane hosts token.csv, a host that is both gets all. Hosts that point to the
//! same server share their content: ten thousand hosts cost one rendering per server, and one per host of what is a
//! node's own.

mod credentials;
mod validity;

pub use credentials::{ClientPair, CredentialSet, Error};
pub use validity::Validity;

use crate::{
    digest::Digest,
    inventory::{Connection, Host, Role, ServerUrl, TokenForm},
    secret::{ExposeSecret, Secret},
    token::node_user_prefix,
};
use std::{collections::HashMap, sync::Arc};

/// What a file on a host is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FileKind {
    BootstrapKubeconfig,
    KubeProxyKubeconfig,
    TokenCsv,
    CaCertificate,
}

impl FileKind {
    /// Every kind, in the order a host's files are listed.
    pub const ALL: [Self; 4] =
        [Self::BootstrapKubeconfig, Self::KubeProxyKubeconfig, Self::TokenCsv, Self::CaCertificate];

    /// Path below the host's directory.
    #[must_use]
    pub const fn relative_path(self) -> &'static str {
        match self {
            Self::BootstrapKubeconfig => "bootstrap.kubeconfig",
            Self::KubeProxyKubeconfig => "kube-proxy.kubeconfig",
            Self::TokenCsv => "token.csv",
            Self::CaCertificate => "ssl/ca.pem",
        }
    }

    /// Whether `host` must hold this file.
    #[must_use]
    pub fn is_wanted_on(self, host: &Host) -> bool {
        match self {
            Self::BootstrapKubeconfig | Self::KubeProxyKubeconfig => host.roles.contains(Role::Node),
            Self::TokenCsv => host.roles.contains(Role::ControlPlane) || host.token_csv_on_nodes,
            Self::CaCertificate => host.install_ca,
        }
    }
}

/// One file as a host must hold it: owned by root (by the caller, where the caller is not root), mode 0600.
#[derive(Debug, Clone)]
pub struct HostFile {
    pub kind: FileKind,
    /// Absolute path on the host; below `root` for a local host.
    pub path: String,
    /// Text without NUL bytes.
    pub content: Arc<Secret>,
    pub sha256: Digest,
    /// When every certificate in it holds; `None` where it has none.
    pub validity: Option<Validity>,
    /// Of token.csv: what the users of our nodes' own rows begin with, also of rows that only the host has any more.
    pub own_users_below: Option<Arc<str>>,
}

impl HostFile {
    /// The same file with another content.
    #[must_use]
    pub fn holding(&self, content: Secret) -> Self {
        let sha256 = Digest::of(content.expose_secret());
        Self { content: Arc::new(content), sha256, ..self.clone() }
    }

    /// Bytes of its content.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.content.expose_secret().len() as u64
    }

    /// The path as an operator of `host` would type it: with the root in front for a local host.
    #[must_use]
    pub fn shown_path(&self, host: &Host) -> String {
        shown_path(host, &self.path)
    }
}

/// What the files of these hosts will be, before there is anything to put into them: no content, no dates. A token that the
/// cluster keeps in a Secret has no token.csv.
#[must_use]
pub fn build_outlines<'a>(hosts: &[&'a Host], form: TokenForm) -> Vec<Bundle<'a>> {
    let (content, sha256) = (Arc::new(Secret::from(String::new())), Digest::of(""));
    let outline = |host: &Host, kind| {
        let (content, path) = (Arc::clone(&content), target_path(host, kind));
        HostFile { kind, path, content, sha256, validity: None, own_users_below: None }
    };
    let files = |host: &Host| {
        let is_made = |kind: &FileKind| *kind != FileKind::TokenCsv || form == TokenForm::Csv;
        let kinds = FileKind::ALL.into_iter().filter(|kind| kind.is_wanted_on(host)).filter(is_made);
        kinds.map(|kind| outline(host, kind)).collect()
    };
    hosts.iter().map(|host| Bundle { host, files: files(host) }).collect()
}

/// A path of a host as its operator would type it: with the root in front for a local host.
#[must_use]
pub fn shown_path(host: &Host, path: &str) -> String {
    match &host.connection {
        Connection::Local { root } => format!("{}{path}", root.display().to_string().trim_end_matches('/')),
        Connection::Ssh(_) => path.to_owned(),
    }
}

/// The files that `host` must hold: what each is, and where.
pub fn targets(host: &Host) -> impl Iterator<Item = (FileKind, String)> {
    let directory = host.directory.trim_end_matches('/');
    let kinds = FileKind::ALL.into_iter().filter(|kind| kind.is_wanted_on(host));
    kinds.map(move |kind| (kind, format!("{directory}/{}", kind.relative_path())))
}

/// Everything one host must hold.
#[derive(Debug, Clone)]
pub struct Bundle<'a> {
    pub host: &'a Host,
    pub files: Vec<HostFile>,
}

type Rendered = (Arc<Secret>, Digest);

/// The bundle of every host, in the order given.
///
/// # Errors
/// [`Error`]: a file could not be rendered, or would hold a NUL byte.
pub fn build_bundles<'a>(hosts: &[&'a Host], set: &CredentialSet) -> Result<Vec<Bundle<'a>>, Error> {
    let mut rendered: HashMap<(FileKind, Option<&ServerUrl>), Rendered> = HashMap::new();
    let validities = FileKind::ALL.map(|kind| (kind, set.validity(kind, None)));
    let below: Arc<str> = node_user_prefix(&set.token_user).into();
    let mut bundles = Vec::with_capacity(hosts.len());
    for &host in hosts {
        let mut files = Vec::new();
        for (kind, path) in targets(host).filter(|(kind, _)| set.has(*kind)) {
            if kind.is_own(host, set) {
                let (content, sha256) = render(set, kind, &host.server, Some(host))?;
                let validity = set.validity(kind, Some(host));
                files.push(HostFile { kind, path, content, sha256, validity, own_users_below: None });
                continue;
            }
            let key = (kind, kind.names_server().then_some(&host.server));
            let (content, sha256) = match rendered.get(&key) {
                Some(known) => known.clone(),
                None => rendered.entry(key).or_insert(render(set, kind, &host.server, None)?).clone(),
            };
            let validity = validities.iter().find(|(of, _)| *of == kind).and_then(|(_, validity)| *validity);
            let is_list = kind == FileKind::TokenCsv && set.has_node_rows;
            let own_users_below = Some(&below).filter(|_| is_list).map(Arc::clone);
            files.push(HostFile { kind, path, content, sha256, validity, own_users_below });
        }
        bundles.push(Bundle { host, files });
    }
    Ok(bundles)
}

fn render(set: &CredentialSet, kind: FileKind, server: &ServerUrl, host: Option<&Host>) -> Result<Rendered, Error> {
    let content = set.render_for(kind, server, host)?;
    let sha256 = Digest::of(content.expose_secret());
    Ok((Arc::new(content), sha256))
}

/// Where `host` must hold a file: absolute, below `root` for a local host.
#[must_use]
pub fn target_path(host: &Host, kind: FileKind) -> String {
    format!("{}/{}", host.directory.trim_end_matches('/'), kind.relative_path())
}

impl FileKind {
    /// Whether the content depends on the server a host points to.
    const fn names_server(self) -> bool {
        matches!(self, Self::BootstrapKubeconfig | Self::KubeProxyKubeconfig)
    }

    /// Whether the content is the host's own, and no other's.
    fn is_own(self, host: &Host, set: &CredentialSet) -> bool {
        match self {
            Self::KubeProxyKubeconfig => set.node_clients.contains_key(host.name.as_str()),
            Self::BootstrapKubeconfig => set.node_tokens.contains_key(host.name.as_str()),
            Self::TokenCsv | Self::CaCertificate => false,
        }
    }
}
