//! Why a node did not join anew: stable codes, words and cures. What hosts and apiservers said is safe to show.

use crate::{
    cluster,
    remote::{self, service::Complaint},
};

#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    #[error("{step}: {error}")]
    Host { step: &'static str, error: remote::Error },
    #[error("it is ready again with a new certificate, but {step}: {error}")]
    Ready { step: &'static str, run: String, error: remote::Error },
    #[error("`{command}` {}", .complaint.how)]
    Restart { command: String, complaint: Complaint },
    #[error("{0}")]
    Api(cluster::Error),
    #[error("its kubelet has not asked for a certificate within {seconds} s")]
    NoRequest { seconds: u64 },
    #[error("its request {request} was not approved ({code}): {detail}")]
    RequestLeft { request: String, code: &'static str, detail: String },
    #[error("its request {request} was denied")]
    RequestDenied { request: String },
    #[error("its request {request} failed: the signer refuses it")]
    RequestFailed { request: String },
    #[error("its request {request} is approved, but no certificate was issued within {seconds} s")]
    NotIssued { request: String, seconds: u64 },
    #[error("its request {request} was granted, but {pki}/kubelet-client-current.pem does not hold that certificate")]
    OtherCertificate { request: String, pki: String },
    #[error("the request {request} was granted in its name, and now another key asks for the same")]
    Rival { request: String },
    #[error("it has a new certificate, but the node was not ready within {seconds} s")]
    NotReady { seconds: u64 },
}

impl Trouble {
    /// The stable name scripts rely on.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Host { error, .. } | Self::Ready { error, .. } => error.code(),
            Self::Restart { complaint, .. } => complaint.code,
            Self::Api(error) => error.code(),
            Self::NoRequest { .. } => "csr_absent",
            Self::RequestLeft { .. } => "csr_left",
            Self::RequestDenied { .. } => "csr_denied",
            Self::RequestFailed { .. } => "csr_failed",
            Self::NotIssued { .. } => "certificate_not_issued",
            Self::OtherCertificate { .. } => "other_certificate",
            Self::Rival { .. } => "csr_rival",
            Self::NotReady { .. } => "node_not_ready",
        }
    }

    /// What a person can do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Host { error, .. } => return error.hint(),
            Self::Ready { run, .. } => {
                return format!(
                    "the node is fine, nothing was put back: what it had before is in .kubemint-rebootstrap-{run} on the host; \
                     `kubemint rebootstrap HOST --restore` sees that the node is ready, and keeps it aside"
                );
            }
            Self::Api(error) => return error.hint(),
            Self::Restart { .. } => {
                "look at the service on the host (`systemctl status kubelet`, `journalctl -u kubelet`); services.kubelet and \
                 services.restart_timeout of the inventory say what is run, and for how long"
            }
            Self::NoRequest { .. } => {
                "look at the kubelet's log on the host: it must be started with --bootstrap-kubeconfig, and its --kubeconfig \
                 and --cert-dir must be where --kubelet-kubeconfig and --kubelet-pki say; its user needs the ClusterRole \
                 system:node-bootstrapper (`kubemint token manifest`)"
            }
            Self::RequestLeft { .. } => "`kubemint approve --dry-run` lists all requests with the reasons",
            Self::RequestDenied { .. } => "somebody denied it: ask who and why before it is tried again",
            Self::NotIssued { .. } => {
                "look at kube-controller-manager: it signs, with --cluster-signing-cert-file and --cluster-signing-key-file; \
                 what it issues yet lives until it expires: if the key is not the node's, rotate the token"
            }
            Self::RequestFailed { .. } => {
                "look at kube-controller-manager: it signs, with --cluster-signing-cert-file and --cluster-signing-key-file"
            }
            Self::Rival { .. } => {
                "one of the two is not this node's kubelet: somebody else has the bootstrap token; \
                 rotate it, and find out who; what was granted lives on until it expires"
            }
            Self::OtherCertificate { .. } => {
                "unless the kubelet's --cert-dir is elsewhere (--kubelet-pki), somebody else has the bootstrap token and asked \
                 in this node's name: rotate the token, and find out who has it; what was granted lives on until it expires"
            }
            Self::NotReady { .. } => "`kubectl describe node` and the kubelet's log on the host say why",
        }
        .to_owned()
    }
}
