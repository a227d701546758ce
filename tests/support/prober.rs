//! Somebody who authenticates with each node's current token, all the time, at every apiserver, and counts refusals.

use super::Api;
use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

const PERIOD: Duration = Duration::from_millis(50);

/// A node, and where its bootstrap.kubeconfig can be read.
pub type Holder = (String, PathBuf);

/// Runs until it is asked for its report.
pub struct Prober {
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<ProbeReport>>,
}

/// The current token of a node was answered with 401 or 403.
#[derive(Debug, Clone)]
pub struct Refusal {
    pub ms: u64,
    pub apiserver: String,
    pub node: String,
    pub status: u16,
}

#[derive(Debug, Default)]
pub struct ProbeReport {
    /// Authenticated, for each apiserver in the order of the inventory.
    pub accepted: Vec<usize>,
    pub refusals: Vec<Refusal>,
    /// No answer: the server was down, or went down meanwhile.
    pub unanswered: usize,
    /// Answers that say nothing about the token: 429, 5xx.
    pub others: usize,
}

impl Prober {
    pub fn start(apiservers: Vec<Api>, holders: &[Holder]) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let probe = |api: Api| {
            let (over, holders) = (Arc::clone(&over), holders.to_vec());
            thread::spawn(move || probe_until(&over, api, &holders))
        };
        let threads = apiservers.into_iter().map(probe).collect();
        Self { over, threads }
    }

    pub fn stop(mut self) -> ProbeReport {
        self.over.store(true, Ordering::SeqCst);
        let mut all = ProbeReport::default();
        for one in self.threads.drain(..).map(|thread| thread.join().unwrap()) {
            all.accepted.extend(one.accepted);
            all.refusals.extend(one.refusals);
            all.unanswered += one.unanswered;
            all.others += one.others;
        }
        all
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
    }
}

/// The token that a bootstrap.kubeconfig holds now.
pub fn token_in(file: &Path) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let value = text.lines().find_map(|line| line.trim().strip_prefix("token: "))?;
    Some(value.trim_matches(['"', '\'']).to_owned())
}

fn probe_until(over: &AtomicBool, mut api: Api, holders: &[Holder]) -> ProbeReport {
    let mut report = ProbeReport { accepted: vec![0], ..ProbeReport::default() };
    while !over.load(Ordering::SeqCst) {
        let next = Instant::now() + PERIOD;
        for (node, file) in holders {
            let Some(token) = token_in(file) else { continue };
            match api.whoami(Some(&token)) {
                Ok((200..=299, _)) => report.accepted[0] += 1,
                // Not the node's token any more: nobody was locked out.
                Ok((401 | 403, _)) if token_in(file).as_ref() != Some(&token) => {}
                Ok((status @ (401 | 403), _)) => {
                    let ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
                    report.refusals.push(Refusal { ms, apiserver: api.address.clone(), node: node.clone(), status });
                }
                Ok(_) => report.others += 1,
                Err(_) => {
                    report.unanswered += 1;
                    break;
                }
            }
        }
        thread::park_timeout(next.saturating_duration_since(Instant::now()));
    }
    report
}
