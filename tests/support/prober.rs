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

/// The current token of a node was answered with 401.
#[derive(Debug, Clone)]
pub struct Refusal {
    pub ms: u64,
    pub apiserver: String,
    pub node: String,
}

/// How steadily one apiserver was asked while it answered. A round is a question for each node.
#[derive(Debug, Default)]
pub struct Asked {
    pub rounds: usize,
    /// Rounds that the prober's own schedule had, one every 50 ms.
    pub due: usize,
    /// Those that passed while an answer was waited for: nobody asks faster than he is answered.
    pub late: usize,
}

impl Asked {
    /// Nearly every round that was due was done, and answers did not make them rare.
    pub fn is_often(&self) -> bool {
        self.rounds >= 40 && self.rounds * 4 >= self.due * 3 && self.late <= self.rounds * 3
    }

    fn note(&mut self, spent: Duration, whole: Duration) {
        let ticks = |time: Duration| (time.as_millis() / PERIOD.as_millis()) as usize;
        self.rounds += 1;
        self.due += (ticks(whole) - ticks(spent)).max(1);
        self.late += ticks(spent);
    }
}

#[derive(Debug, Default)]
pub struct ProbeReport {
    /// As `accepted`.
    pub asked: Vec<Asked>,
    /// Authenticated, for each apiserver in the order of the inventory.
    pub accepted: Vec<usize>,
    pub refusals: Vec<Refusal>,
    /// No answer: the server was down, or went down meanwhile.
    pub unanswered: usize,
    /// Answers that say nothing against the token: 429, 5xx, and 403, which a real apiserver answers to everybody whom it
    /// knows until it has read its roles, shortly before it is ready.
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
            all.asked.extend(one.asked);
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
    let mut asked = Asked::default();
    while !over.load(Ordering::SeqCst) {
        let begun = Instant::now();
        let before = report.unanswered;
        for (node, file) in holders {
            let Some(token) = token_in(file) else { continue };
            match api.whoami(Some(&token)) {
                Ok((200..=299, _)) => report.accepted[0] += 1,
                // Not the node's token any more: nobody was locked out.
                Ok((401, _)) if token_in(file).as_ref() != Some(&token) => {}
                Ok((401, _)) => {
                    let ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
                    report.refusals.push(Refusal { ms, apiserver: api.address.clone(), node: node.clone() });
                }
                Ok(_) => report.others += 1,
                // It may be back for the next node: the connection that broke was perhaps the one from before its restart.
                Err(_) => report.unanswered += 1,
            }
        }
        let spent = begun.elapsed();
        thread::park_timeout(PERIOD.saturating_sub(spent));
        if report.unanswered == before {
            asked.note(spent, begun.elapsed());
        }
    }
    report.asked.push(asked);
    report
}
