//! What a probe can be asked beside the files: since when the services that read them run, when the files last changed,
//! and the certificate the kubelet has obtained for itself. Same login, nothing changed, no secret in either direction.
//! What an answer means is the caller's to say; what a host does not tell is absent.

mod answer;
mod moment;
mod question;

pub use moment::Moment;

use super::{ForeignPolicy, HostView, machine::Told, script::Layout};
use crate::{
    bundle::{FileKind, HostFile},
    entropy::Entropy,
    foreign::ForeignText,
    inventory::{Connection, Host, Role},
    remote::{Error, Remote, heard::hear},
};
use std::cell::RefCell;

/// A program that reads a file of ours at its start, and only then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    KubeApiserver,
    Kubelet,
    KubeProxy,
}

impl Service {
    pub const ALL: [Self; 3] = [Self::KubeApiserver, Self::Kubelet, Self::KubeProxy];

    /// As the kernel names its process (proc(5), `/proc/PID/comm`): under 16 characters.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::KubeApiserver => "kube-apiserver",
            Self::Kubelet => "kubelet",
            Self::KubeProxy => "kube-proxy",
        }
    }

    /// What it reads.
    #[must_use]
    pub const fn file(self) -> FileKind {
        match self {
            Self::KubeApiserver => FileKind::TokenCsv,
            Self::Kubelet => FileKind::BootstrapKubeconfig,
            Self::KubeProxy => FileKind::KubeProxyKubeconfig,
        }
    }

    const fn role(self) -> Role {
        match self {
            Self::KubeApiserver => Role::ControlPlane,
            Self::Kubelet | Self::KubeProxy => Role::Node,
        }
    }

    /// The services that are asked for on `host`, and which of `files` each reads. None where the host is a directory of
    /// this machine: its processes are not that host's.
    pub(super) fn asked_on(host: &Host, files: &[HostFile]) -> Vec<(Self, usize)> {
        if matches!(&host.connection, Connection::Local { root } if root.as_os_str() != "/") {
            return Vec::new();
        }
        let here = Self::ALL.into_iter().filter(|service| host.roles.contains(service.role()));
        here.filter_map(|service| Some((service, files.iter().position(|file| file.kind == service.file())?))).collect()
    }
}

/// What a host told of the use of its files.
#[derive(Debug, Default)]
pub struct InUse {
    /// One for each service that was asked for.
    pub services: Vec<ServiceUse>,
    /// `None`: the host is no node.
    pub kubelet: Option<KubeletCertificate>,
}

/// A service, its file and its processes.
#[derive(Debug)]
pub struct ServiceUse {
    pub service: Service,
    /// Index in the list of files.
    pub file: usize,
    /// `None`: nobody could tell.
    pub age: Option<FileAge>,
    /// `None`: the user does not see everybody's processes.
    pub processes: Option<Vec<Process>>,
}

/// When a file last changed, by the host's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileAge {
    /// Its content, as far as nobody set another date: a rollback brings the old one back.
    pub modified: Moment,
    /// Anything about it, its name included: no change of content is later.
    pub changed: Moment,
}

/// A process by a service's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process {
    pub pid: u32,
    pub parent: u32,
    /// It has ended, and its parent has not asked yet.
    pub is_dead: bool,
    /// By the host's clock; `None` where that cannot be worked out.
    pub started: Option<Moment>,
    pub place: Place,
}

/// Where a process lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In the host's own PID namespace.
    Here,
    /// In a container that has this very file at its path.
    Shares,
    /// In a container that has another file there: one of its own, or ours as it was when the container was started.
    Other,
    /// This user may not look.
    Untold,
}

/// The kubelet's own client certificate.
#[derive(Debug, PartialEq, Eq)]
pub struct KubeletCertificate {
    /// Where it was looked for, on the host, root included.
    pub path: ForeignText,
    pub content: KubeletContent,
}

#[derive(Debug, PartialEq, Eq)]
pub enum KubeletContent {
    /// PEM, the certificate alone.
    Pem(String),
    Absent,
    /// There, and this user may not read it.
    Unreadable,
    /// No certificate is in it.
    Unusable,
}

/// Where the kubelet keeps what it was signed, unless its kubeconfig says otherwise (kubelet `--cert-dir`).
const KUBELET_CERTIFICATE: &str = "/var/lib/kubelet/pki/kubelet-client-current.pem";
/// What the kubelet writes once it has joined, below the host's directory.
const KUBELET_KUBECONFIG: &str = "kubelet.kubeconfig";

/// As [`super::probe_host`], with [`HostView::in_use`].
///
/// # Errors
/// As [`super::probe_host`].
pub fn probe_host_in_use(
    remote: &dyn Remote,
    host: &Host,
    files: &[HostFile],
    policy: ForeignPolicy,
    entropy: &dyn Entropy,
) -> Result<HostView, Error> {
    let nonce = super::draw_nonce(entropy)?;
    let layout = Layout::new(host, files, policy)?;
    let services = Service::asked_on(host, files);
    let host_key = RefCell::default();
    let reply = remote.run_script(host, &|peer| {
        host_key.replace(peer.host_key.clone());
        Ok(question::render_probe_in_use(&layout, host, &services, &nonce))
    });
    let told = Told::by(&hear(reply, &nonce, (remote, host), files)?, &nonce);
    let view = answer::parse_view_in_use(&told.reply, &nonce, host, &layout, &services)?;
    Ok(HostView { host_key: host_key.into_inner(), machine: told.machine, ..view })
}
