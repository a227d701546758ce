//! The real thing in place of the stand-ins: kube-apiserver, etcd and kube-controller-manager, and kubelet where asked, from
//! the folder that KUBEBUILDER_ASSETS names.
//!
//! etcd and the controllers run on the first control-plane host. A kubelet gets no container runtime: it bootstraps, and
//! ends when it has its certificate. The life of the real apiservers is watched from outside, fifty times a second.

use super::{
    super::{is_isolated, left_out, skipped},
    ControlPlane, PORT,
};
use std::{
    env, fs,
    io::Write,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

const BINARIES: [&str; 4] = ["etcd", "kube-apiserver", "kube-controller-manager", "kubelet"];

/// The folder with the binaries. Where none is named a test leaves, and says so; it never fails for that.
pub fn real_binaries() -> Option<PathBuf> {
    let Some(folder) = env::var_os("KUBEBUILDER_ASSETS").map(PathBuf::from) else {
        left_out("KUBEBUILDER_ASSETS is not set");
        return None;
    };
    if !is_isolated() {
        skipped("needs root, and to be let mount");
        return None;
    }
    let missing: Vec<_> = BINARIES.iter().filter(|name| !folder.join(name).is_file()).collect();
    assert!(missing.is_empty(), "KUBEBUILDER_ASSETS={}: no {missing:?} in it", folder.display());
    Some(folder)
}

/// Whether the tests that can were asked to run against real apiservers.
pub fn are_apiservers_real() -> bool {
    env::var_os("KUBEMINT_TEST_REAL").is_some_and(|value| value == "1") && env::var_os("KUBEBUILDER_ASSETS").is_some()
}

/// Puts the binaries where hosts see them.
pub(super) fn share_binaries(folder: &Path, bin: &Path) {
    for name in BINARIES {
        let (from, to) = (folder.join(name).canonicalize().unwrap(), bin.join(name));
        fs::hard_link(&from, &to).or_else(|_| fs::copy(&from, &to).map(|_| ())).unwrap();
    }
}

/// The command of the real apiserver on a host.
pub(super) fn apiserver_command(shared: &Path, address: &str, etcd: &str, token_file: &str) -> String {
    let (shared, pki) = (shared.display(), shared.join("pki"));
    let pki = pki.display();
    format!(
        "{shared}/bin/kube-apiserver --etcd-servers=http://{etcd}:2379 --bind-address={address} --secure-port={PORT} \
         --advertise-address={address} --endpoint-reconciler-type=none --service-cluster-ip-range=10.0.0.0/24 \
         --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction --enable-bootstrap-token-auth \
         {token_file} --client-ca-file={pki}/ca.pem --tls-cert-file={pki}/server.pem \
         --tls-private-key-file={pki}/server-key.pem --service-account-issuer=https://kubernetes \
         --service-account-key-file={pki}/server.pem --service-account-signing-key-file={pki}/server-key.pem \
         --cert-dir=/run/kube-apiserver --shutdown-delay-duration=0s"
    )
}

pub(super) fn etcd_command(shared: &Path, address: &str) -> String {
    let url = |port| format!("http://{address}:{port}");
    format!(
        "{}/bin/etcd -data-dir /var/lib/etcd -unsafe-no-fsync -listen-client-urls {} -advertise-client-urls {} \
         -listen-peer-urls {}",
        shared.display(),
        url(2379),
        url(2379),
        url(2380)
    )
}

pub(super) fn controllers_command(shared: &Path) -> String {
    let (shared, pki) = (shared.display(), shared.join("pki"));
    let pki = pki.display();
    format!(
        "{shared}/bin/kube-controller-manager --kubeconfig={pki}/admin.kubeconfig --leader-elect=false --secure-port=0 \
         --controllers=csrsigning,csrapproving,csrcleaner,node-lifecycle-controller,tokencleaner \
         --node-monitor-grace-period=8s --node-monitor-period=1s \
         --cluster-signing-cert-file={pki}/ca.pem --cluster-signing-key-file={pki}/ca-key.pem"
    )
}

/// Its configuration is written to /etc/kubernetes-kubelet.yaml, out of kubemint's directory.
pub(super) fn kubelet_command(shared: &Path, node: &str) -> String {
    format!(
        "{}/bin/kubelet --bootstrap-kubeconfig=/etc/kubernetes/bootstrap.kubeconfig \
         --kubeconfig=/etc/kubernetes/kubelet.kubeconfig --cert-dir=/var/lib/kubelet/pki --hostname-override={node} \
         --config=/etc/kubernetes-kubelet.yaml",
        shared.display()
    )
}

pub(super) const KUBELET_CONFIG: &str = "apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
containerRuntimeEndpoint: unix:///run/no-runtime.sock
failSwapOn: false
failCgroupV1: false
healthzPort: 0
authorization:
  mode: AlwaysAllow
";

/// Writes an apiserver's life from what can be seen of it.
pub(super) struct Watch {
    over: Arc<AtomicBool>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Watch {
    pub(super) fn start(cluster: &ControlPlane) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let watch = |host: &String| {
            let (mut api, over) = (cluster.plain_api(host), Arc::clone(&over));
            let path = cluster.shared_file("log", host, "life");
            thread::spawn(move || {
                let mut was_ready = false;
                while !over.load(Ordering::SeqCst) {
                    let is_ready = matches!(api.call("GET", "/readyz", None, None), Ok((200, _)));
                    if is_ready != was_ready {
                        let ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
                        let mut file = fs::OpenOptions::new().append(true).create(true).open(&path).unwrap();
                        writeln!(file, "{ms} {}", if is_ready { "ready" } else { "stopping" }).unwrap();
                        was_ready = is_ready;
                    }
                    thread::park_timeout(Duration::from_millis(20));
                }
            })
        };
        Self { threads: cluster.control_planes.iter().map(watch).collect(), over }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        self.threads.drain(..).for_each(|thread| thread.join().unwrap());
    }
}
