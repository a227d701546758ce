//! The API of a cluster, as far as kubemint needs it: one value per apiserver address, never a load balancer's, so that
//! what is asked of one control-plane host is answered by that host.
//!
//! [`Cluster`] is the port, blocking outside; `KubeCluster` speaks to a real apiserver through the kube crate.

mod admin;
mod answer;
mod call;
mod connection;
mod error;
mod kube_client;
mod objects;
mod retry;
mod review;
mod transport;

pub use admin::{AdminCredential, AdminSource, ClientPair};
pub use error::{Error, ErrorClass};
pub use kube_client::{Deadlines, KubeCluster, KubeClusters, Setup};
pub use objects::parse_signing_requests;

use crate::{inventory::ServerUrl, secret::Secret, token::BootstrapTokenSecret};
use jiff::Timestamp;

/// Makes a [`Cluster`] for an address.
pub trait Clusters: Send + Sync {
    /// # Errors
    /// [`Error`] when our own access cannot be used; nothing is asked of the apiserver yet.
    fn at(&self, server: &ServerUrl) -> Result<Box<dyn Cluster>, Error>;
}

/// One apiserver. Every call has a deadline of its own, and answers that may pass (429, 500, a reset) are asked for again
/// within it.
pub trait Cluster: Send + Sync {
    fn server(&self) -> &ServerUrl;

    /// Whether it is ready to serve: `/readyz`.
    ///
    /// # Errors
    /// [`Error::NotReady`] with the checks that fail; the errors of the way there. Asked once, never again by itself.
    fn readyz(&self) -> Result<(), Error>;

    /// Whom it takes the bearer of `credential` for: SelfSubjectReview (authentication.k8s.io/v1).
    ///
    /// # Errors
    /// [`Error::Unauthorized`] where it does not know the credential.
    fn whoami(&self, credential: Credential<'_>) -> Result<Identity, Error>;

    /// All CertificateSigningRequests (certificates.k8s.io/v1), with our admin rights.
    ///
    /// # Errors
    /// [`Error`].
    fn signing_requests(&self) -> Result<Vec<SigningRequest>, Error>;

    /// Approves or denies one that is as it was when it was listed.
    ///
    /// # Errors
    /// [`Error::Conflict`] where it has changed since; [`Error::NotFound`] where it is gone.
    fn decide(&self, request: &SigningRequest, decision: &Decision) -> Result<(), Error>;

    /// All nodes.
    ///
    /// # Errors
    /// [`Error`].
    fn nodes(&self) -> Result<Vec<Node>, Error>;

    /// The bootstrap-token Secrets in kube-system, without their secret part.
    ///
    /// # Errors
    /// [`Error`].
    fn bootstrap_secrets(&self) -> Result<Vec<BootstrapSecret>, Error>;

    /// # Errors
    /// [`Error::Conflict`] where there is one with this id already.
    fn create_bootstrap_secret(&self, secret: &BootstrapTokenSecret) -> Result<(), Error>;

    /// `false`: there was none.
    ///
    /// # Errors
    /// [`Error`].
    fn delete_bootstrap_secret(&self, id: &str) -> Result<bool, Error>;

    /// Whether our admin rights reach that far: SelfSubjectAccessReview (authorization.k8s.io/v1).
    ///
    /// # Errors
    /// [`Error`].
    fn may(&self, action: &Action) -> Result<bool, Error>;
}

/// As whom to ask.
#[derive(Debug, Clone, Copy)]
pub enum Credential<'a> {
    /// With the rights that this value was made with.
    Admin,
    Token(&'a Secret),
    /// A client certificate with its key, both PEM.
    Certificate {
        chain: &'a str,
        key: &'a Secret,
    },
}

/// Whom an apiserver takes somebody for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub username: String,
    pub uid: String,
    pub groups: Vec<String>,
}

/// A CertificateSigningRequest. All of it but the times is foreign text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningRequest {
    pub name: String,
    pub uid: String,
    pub resource_version: String,
    pub created: Timestamp,
    pub signer: String,
    /// Who asks, as the apiserver authenticated it.
    pub username: String,
    pub groups: Vec<String>,
    pub usages: Vec<String>,
    /// PKCS #10, PEM.
    pub request: Vec<u8>,
    /// How long it is to hold, in seconds.
    pub expiration_seconds: Option<i32>,
    pub state: RequestState,
    /// The certificate that was issued, PEM; empty until then.
    pub certificate: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestState {
    Pending,
    Approved,
    Denied,
    Failed,
}

/// What to do about a request, and why: the reason stands in its conditions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    Approve { message: String },
    Deny { message: String },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    pub name: String,
    pub created: Timestamp,
    /// Condition `Ready`.
    pub ready: bool,
    /// When that condition was last reported.
    pub heartbeat: Option<Timestamp>,
}

/// A bootstrap-token Secret without its secret part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootstrapSecret {
    pub id: String,
    pub expiration: Option<Timestamp>,
    pub authenticates: bool,
    pub groups: Vec<String>,
}

/// One thing that RBAC may allow; an empty group is the core one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Action {
    pub verb: &'static str,
    pub group: &'static str,
    pub resource: &'static str,
    pub subresource: &'static str,
    pub name: &'static str,
}
