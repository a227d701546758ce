//! The apiservers of a [`ControlPlane`]: who asks them, what goes wrong with them, and when they were down.

use super::super::{Api, eventually, patience};
use super::{ControlPlane, PORT};
use serde_json::{Value, json};
use std::{
    fs,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

/// What goes wrong with an apiserver.
#[derive(Debug, Clone, Copy)]
pub enum Fault {
    /// /readyz says 500; everything else works.
    NotReady,
    /// /readyz says ok; everything else says 500.
    Failing,
    /// So many requests are answered with 429 (Retry-After: 1).
    Busy(u32),
    /// Each answer takes so much longer.
    Slow(Duration),
    /// No request is answered.
    Hang,
    /// Ends at once, at its next start.
    RefusesToStart,
    /// Knows the token file it read before, from its next start on until it is mended and started again.
    KeepsOldTokens,
    /// Knows no bootstrap-token Secrets: started without --enable-bootstrap-token-auth.
    NoBootstrapTokens,
    /// Secrets may not be made nor deleted (403).
    SecretsDenied,
    /// Is not ready for so long after its next start.
    StartsSlowly(Duration),
}

impl Fault {
    fn control(self) -> Value {
        match self {
            Self::NotReady => json!({"not_ready": true}),
            Self::Failing => json!({"failing": true}),
            Self::Busy(count) => json!({"busy": {"id": rand::random::<u32>().to_string(), "count": count}}),
            Self::Slow(time) => json!({"slow": time.as_secs_f64()}),
            Self::Hang => json!({"hang": true}),
            Self::RefusesToStart => json!({"refuse": true}),
            Self::KeepsOldTokens => json!({"old_tokens": true}),
            Self::NoBootstrapTokens => json!({"no_bootstrap_tokens": true}),
            Self::SecretsDenied => json!({"secrets_denied": true}),
            Self::StartsSlowly(time) => json!({"slow_start": time.as_secs_f64()}),
        }
    }

    fn is_of_the_start(self) -> bool {
        matches!(self, Self::RefusesToStart | Self::KeepsOldTokens | Self::StartsSlowly(_))
    }
}
/// When an apiserver was not ready, in ms since 1970; without an end: still is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Downtime {
    pub host: String,
    pub from: u64,
    pub to: Option<u64>,
}
impl ControlPlane {
    /// HOST:PORT of a control-plane host's apiserver.
    pub fn address(&self, host: &str) -> String {
        self.address_of(self.index(host))
    }

    pub(super) fn address_of(&self, index: usize) -> String {
        format!("{}:{PORT}", self.fleet.hosts[index].address())
    }

    /// That apiserver, with the rights of an admin.
    pub fn api(&self, host: &str) -> Api {
        Api::new(&self.address(host), &self.env().read("state/ca.pem"), Some(&self.env().read("admin.pem")))
    }

    /// The first apiserver that answers, with the rights of an admin.
    pub fn any_api(&self) -> Api {
        eventually("an apiserver that answers", || {
            let mut apis = self.control_planes.iter().map(|host| self.api(host));
            apis.find_map(|mut api| matches!(api.call("GET", "/readyz", None, None), Ok((200, _))).then_some(api))
        })
    }

    /// That apiserver, without any rights but those of the tokens that go with the calls.
    pub fn plain_api(&self, host: &str) -> Api {
        Api::new(&self.address(host), &self.env().read("state/ca.pem"), None)
    }

    /// What `token` is answered with at that apiserver: 201 where it is known, 401 where it is not.
    pub fn status_of_token(&self, host: &str, token: &str) -> u16 {
        self.plain_api(host).whoami(Some(token)).unwrap_or_else(|e| panic!("{host}: {e}")).0
    }

    /// Instead of the faults set before.
    pub fn set_fault(&self, host: &str, fault: Fault) {
        let control = fault.control();
        self.write_control(host, &if fault.is_of_the_start() { json!({"at_start": control}) } else { control });
    }

    /// As [`ControlPlane::set_fault`], but only from the next start of that apiserver on.
    pub fn set_fault_after_start(&self, host: &str, fault: Fault) {
        self.write_control(host, &json!({"at_start": fault.control()}));
    }

    /// Takes the faults away. What was read at the start stays until the next one.
    pub fn mend(&self, host: &str) {
        let _ = fs::remove_file(self.shared_file("control", host, "json"));
    }

    fn write_control(&self, host: &str, control: &Value) {
        assert!(!self.is_real(), "faults are the stand-in's");
        let path = self.shared_file("control", host, "json");
        let draft = path.with_extension("draft");
        fs::write(&draft, control.to_string()).unwrap();
        fs::rename(draft, path).unwrap();
    }

    /// Every request that an apiserver has answered: ms, method, path, user, status.
    pub fn access_log(&self, host: &str) -> Vec<Value> {
        let text = fs::read_to_string(self.shared_file("log", host, "access")).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Times an apiserver was not ready after it had been, in order.
    pub fn downtimes(&self, host: &str) -> Vec<Downtime> {
        let mut found: Vec<Downtime> = Vec::new();
        for (ms, word) in self.life(host) {
            match word.as_str() {
                // One that stops before it was ready again has been down all the time.
                "stopping" if found.last().is_some_and(|last| last.to.is_none()) => {}
                "stopping" => found.push(Downtime { host: host.to_owned(), from: ms, to: None }),
                "ready" => {
                    if let Some(last) = found.last_mut() {
                        last.to.get_or_insert(ms);
                    }
                }
                _ => {}
            }
        }
        found
    }

    /// Two downtimes of different apiservers that overlap.
    pub fn overlapping_downtimes(&self) -> Vec<(Downtime, Downtime)> {
        let all: Vec<Downtime> = self.control_planes.iter().flat_map(|host| self.downtimes(host)).collect();
        overlaps(&all)
    }

    fn life(&self, host: &str) -> Vec<(u64, String)> {
        let text = fs::read_to_string(self.shared_file("log", host, "life")).unwrap_or_default();
        let parse = |line: &str| line.split_once(' ').map(|(ms, word)| (ms.parse().unwrap(), word.to_owned()));
        text.lines().filter_map(parse).collect()
    }

    pub(super) fn is_serving(&self, host: &str) -> bool {
        self.life(host).last().is_some_and(|(_, word)| word == "ready")
    }

    pub(super) fn wait_serving(&self, host: &str) {
        let end = Instant::now() + patience();
        while !self.is_serving(host) {
            let log = || self.service_log(host, "kube-apiserver");
            let has_failed = self.host(host).exists("/run/stand-in/kube-apiserver.exit");
            assert!(Instant::now() < end && !has_failed, "the apiserver of {host} does not get ready: {}", log());
            std::thread::park_timeout(Duration::from_millis(10));
        }
    }

    pub(super) fn wait_ready(&self) {
        self.control_planes.iter().for_each(|host| self.wait_serving(host));
    }

    /// Requests that a stand-in did not know are no failure of this test.
    pub fn forgive_unknown(&self) {
        self.forgiving.store(true, Ordering::SeqCst);
    }

    /// What the stand-in apiservers were asked for and do not know.
    pub fn unknown_requests(&self) -> Vec<String> {
        let read = |host: &String| fs::read_to_string(self.shared_file("log", host, "unknown")).unwrap_or_default();
        self.control_planes.iter().flat_map(|host| read(host).lines().map(str::to_owned).collect::<Vec<_>>()).collect()
    }
}

/// Pairs of different hosts' downtimes that overlap.
pub fn overlaps(all: &[Downtime]) -> Vec<(Downtime, Downtime)> {
    let end = |downtime: &Downtime| downtime.to.unwrap_or(u64::MAX);
    let mut found = Vec::new();
    for (n, one) in all.iter().enumerate() {
        let others = all[n + 1..].iter().filter(|other| other.host != one.host);
        found.extend(
            others.filter(|other| one.from < end(other) && other.from < end(one)).map(|o| (one.clone(), o.clone())),
        );
    }
    found
}
