//! The port over the kube crate. [`KubeClusters`] holds what all addresses share: the CA, the admin rights, the deadlines
//! and one small runtime, which is driven by whoever waits in a call; between calls nothing runs. [`KubeCluster`] is one
//! address, always the one it was made for and never the kubeconfig's.

use super::{
    Action, AdminCredential, AdminSource, BootstrapSecret, Cluster, Clusters, Credential, Decision, Error, Identity,
    Node, SigningRequest,
    call::Call,
    connection::{Roots, Route, Whom},
    objects,
    retry::{Repeat, Retries},
    review, transport,
};
use crate::{
    clock::Clock,
    entropy::{self, OsEntropy},
    inventory::ServerUrl,
    token::BootstrapTokenSecret,
};
use http::Method;
use std::{
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};
use tokio::runtime::{Builder, Runtime};
use zeroize::Zeroizing;

/// Longer than any run.
const LIFE_OF_A_PROCESS: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// How long things may take.
#[derive(Debug, Clone, Copy)]
pub struct Deadlines {
    /// TCP and TLS together.
    pub connect: Duration,
    /// One attempt, from the first packet to the last byte of the answer.
    pub call: Duration,
    /// All attempts at one call.
    pub retries: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self { connect: Duration::from_secs(5), call: Duration::from_secs(10), retries: Duration::from_secs(30) }
    }
}

/// What it takes to ask apiservers.
pub struct Setup {
    /// One or more certificates, PEM: what every apiserver's certificate is verified against.
    pub ca_pem: String,
    pub admin: Box<dyn AdminSource>,
    /// The name that one server's certificate carries, where it is not that of its address (a kubeconfig's
    /// `tls-server-name`, which is said of its own server only).
    pub server_name: Option<(ServerUrl, String)>,
    pub deadlines: Deadlines,
    pub clock: Box<dyn Clock>,
}

/// The apiservers of one cluster.
#[derive(Clone)]
pub struct KubeClusters(Arc<Shared>);

/// One apiserver.
pub struct KubeCluster {
    shared: Arc<Shared>,
    server: ServerUrl,
}

struct Shared {
    roots: Roots,
    setup: Setup,
    admin: Mutex<Option<AdminCredential>>,
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
}

impl KubeClusters {
    /// Nothing is asked yet, neither of an apiserver nor of `setup.admin`.
    ///
    /// # Errors
    /// [`Error::Access`]: no CA certificate, or no runtime can be started.
    pub fn new(setup: Setup) -> Result<Self, Error> {
        let roots = Roots::parse(&setup.ca_pem)?;
        let failed = |e: std::io::Error| Error::Access { reason: format!("no runtime can be started: {e}") };
        let builder = &mut Builder::new_current_thread();
        let runtime = builder.enable_io().enable_time().thread_keep_alive(LIFE_OF_A_PROCESS).build().map_err(failed)?;
        // The runtime panics where it has no thread to look up a name with and can start none: it gets one now, when
        // that is an error, and keeps it.
        thread::Builder::new().spawn(|| ()).map(drop).map_err(failed)?;
        drop(runtime.spawn_blocking(|| ()));
        Ok(Self(Arc::new(Shared { roots, setup, admin: Mutex::new(None), runtime: Some(runtime) })))
    }
}

impl Clusters for KubeClusters {
    fn at(&self, server: &ServerUrl) -> Result<Box<dyn Cluster>, Error> {
        self.0.admin()?;
        Ok(Box::new(KubeCluster { shared: Arc::clone(&self.0), server: server.clone() }))
    }
}

impl Shared {
    fn admin(&self) -> Result<AdminCredential, Error> {
        let now = self.setup.clock.now();
        let mut held = self.admin.lock().unwrap_or_else(PoisonError::into_inner);
        match held.as_ref() {
            Some(credential) if credential.serves(now) => Ok(credential.clone()),
            _ => {
                let fresh = self.setup.admin.credential(now)?;
                *held = Some(fresh.clone());
                Ok(fresh)
            }
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // A name that is still being looked up must not keep us.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl KubeCluster {
    /// Makes the call as `whom`, again where that may help, and gives the body of the good answer.
    fn ask(&self, call: &Call, whom: &Whom) -> Result<Zeroizing<Vec<u8>>, Error> {
        let deadlines = self.shared.setup.deadlines;
        let end = Instant::now() + deadlines.retries;
        let mut retries = Retries::until(end, call.repeat);
        let server_name = self.shared.setup.server_name.as_ref();
        let route = Route {
            server: &self.server,
            roots: &self.shared.roots,
            server_name: server_name.filter(|(server, _)| *server == self.server).map(|(_, name)| name.as_str()),
            connect: deadlines.connect,
        };
        let Some(runtime) = self.shared.runtime.as_ref() else {
            return Err(Error::Access { reason: "it is being closed".to_owned() });
        };
        loop {
            let left = end.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            let limit = deadlines.call.min(left);
            let failed = match runtime.block_on(transport::attempt(&route, whom, call, limit)) {
                Ok(body) => return Ok(body),
                Err(failed) => failed,
            };
            let Some(pause) = retries.pause_after(&failed, Instant::now(), entropy::jitter(&OsEntropy)) else {
                return Err(failed.error);
            };
            tracing::debug!("{}: once more in {} ms: {}", self.server, pause.as_millis(), failed.error.code());
            std::thread::sleep(pause);
        }
    }

    fn ask_as_admin(&self, call: &Call) -> Result<Zeroizing<Vec<u8>>, Error> {
        self.ask(call, &Whom::admin(&self.shared.admin()?)?)
    }

    /// All pages of a list; begun anew, once, when the apiserver has forgotten where we were (410).
    fn list<T: objects::Listed>(&self, list: &objects::ListOf) -> Result<Vec<T>, Error> {
        match self.list_once(list) {
            Err(Error::Api { status: 410, .. }) => self.list_once(list),
            other => other,
        }
    }

    fn list_once<T: objects::Listed>(&self, list: &objects::ListOf) -> Result<Vec<T>, Error> {
        let mut items = Vec::new();
        let mut after: Option<String> = None;
        for _ in 0..objects::MOST_PAGES {
            let call = Call::list(list.path, list.filter, after.as_deref(), list.what);
            let page = objects::parse_page(&self.ask_as_admin(&call)?, list).map_err(|e| self.garbled(e))?;
            items.extend(page.items);
            match page.after {
                Some(next) => after = Some(next),
                None => return Ok(items),
            }
        }
        Err(self.garbled(format!("the list of {} has no end", list.what)))
    }

    fn garbled(&self, reason: String) -> Error {
        Error::Garbled { server: self.server.clone(), reason }
    }
}

impl Cluster for KubeCluster {
    fn server(&self) -> &ServerUrl {
        &self.server
    }

    fn readyz(&self) -> Result<(), Error> {
        let call = Call { repeat: Repeat::Never, ..Call::get("/readyz?verbose", "/readyz") };
        self.ask_as_admin(&call).map(drop)
    }

    fn whoami(&self, credential: Credential<'_>) -> Result<Identity, Error> {
        let call = review::who_am_i();
        let body = match Whom::of(credential)? {
            Some(whom) => self.ask(&call, &whom)?,
            None => self.ask_as_admin(&call)?,
        };
        match review::parse_identity(&body) {
            Some(identity) if identity.username == review::ANONYMOUS => {
                Err(Error::Unauthorized { server: self.server.clone() })
            }
            Some(identity) => Ok(identity),
            None => Err(self.garbled("a SelfSubjectReview that names nobody".to_owned())),
        }
    }

    fn signing_requests(&self) -> Result<Vec<SigningRequest>, Error> {
        self.list(&objects::SIGNING_REQUESTS)
    }

    fn decide(&self, request: &SigningRequest, decision: &Decision) -> Result<(), Error> {
        let what = objects::named("CertificateSigningRequest", &request.name);
        let gone = || Error::NotFound { server: self.server.clone(), what: what.clone() };
        let collection = objects::SIGNING_REQUESTS.path;
        let call = Call::of_object(Method::PUT, collection, &request.name, what.clone()).ok_or_else(gone)?;
        let body = objects::render_decision(request, decision, self.shared.setup.clock.now());
        let look = Call::get(&call.path, &what);
        let call = Call { path: format!("{}/approval", call.path), body: Some(body), ..call };
        match self.ask_as_admin(&call) {
            // Perhaps by ourselves: the answer to the first attempt may be lost.
            Err(conflict @ Error::Conflict { .. }) => match self.ask_as_admin(&look) {
                Ok(body) if objects::is_decided_so(&body, request, decision) => Ok(()),
                _ => Err(conflict),
            },
            other => other.map(drop),
        }
    }

    fn nodes(&self) -> Result<Vec<Node>, Error> {
        self.list(&objects::NODES)
    }

    fn bootstrap_secrets(&self) -> Result<Vec<BootstrapSecret>, Error> {
        Ok(self.list::<Option<BootstrapSecret>>(&objects::BOOTSTRAP_SECRETS)?.into_iter().flatten().collect())
    }

    fn create_bootstrap_secret(&self, secret: &BootstrapTokenSecret) -> Result<(), Error> {
        let what = objects::named("Secret", &secret.name());
        let body = objects::render_bootstrap_secret(secret)?;
        let call = Call::post(objects::BOOTSTRAP_SECRETS.path, body, Repeat::Unprocessed, &what);
        let call = Call { secret: Some(secret.token().secret().clone()), ..call };
        self.ask_as_admin(&call).map(drop)
    }

    fn delete_bootstrap_secret(&self, id: &str) -> Result<bool, Error> {
        let name = format!("bootstrap-token-{id}");
        let what = objects::named("Secret", &name);
        let Some(call) = Call::of_object(Method::DELETE, objects::BOOTSTRAP_SECRETS.path, &name, what) else {
            return Ok(false);
        };
        match self.ask_as_admin(&call) {
            Ok(_) => Ok(true),
            Err(Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn may(&self, action: &Action) -> Result<bool, Error> {
        let body = self.ask_as_admin(&review::may_i(action))?;
        review::parse_permission(&body)
            .ok_or_else(|| self.garbled("a SelfSubjectAccessReview without a verdict".to_owned()))
    }
}
