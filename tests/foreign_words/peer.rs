//! A host that says what it is told to, in process: no shell, no network.

use kubemint::{
    bundle::HostFile,
    foreign::Pieces,
    inventory::Host,
    remote::{Error, Exit, Peer, Remote, Reply, Script},
    secret::{ExposeSecret, Secret},
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

/// Stands for the nonce.
pub const MARK: &str = "@@NONCE@@";

/// What one host does when a script is sent to it.
pub enum Saying {
    Reply {
        bytes: Vec<u8>,
        exit: Exit,
    },
    /// The way to it breaks, with these words.
    Fails(fn(&str) -> Error, String),
}

/// Answers of hosts, by name.
#[derive(Default)]
pub struct Hostile {
    pub sayings: Mutex<HashMap<String, Saying>>,
    pub password: String,
    /// What every host was sent before.
    pub sent: Vec<HostFile>,
    /// The secrets of all hosts.
    pub all: Option<Arc<Pieces>>,
}

impl Remote for Hostile {
    fn run_script(&self, host: &Host, script: &Script<'_>) -> Result<Reply, Error> {
        let end = Instant::now() + Duration::from_secs(60);
        let input = script(&Peer { host_key: Some(format!("SHA256:{}", host.name)), end })?;
        let text = input.rest.expose_secret();
        let nonce = text.split_once("km_nonce=").and_then(|(_, rest)| rest.get(..32)).expect("a nonce");
        match self.sayings.lock().unwrap().get(host.name.as_str()).expect("something to say") {
            Saying::Fails(error, words) => Err(error(words)),
            Saying::Reply { bytes, exit } => {
                let (mut output, mut rest) = (Vec::new(), bytes.as_slice());
                while let Some(at) = rest.windows(MARK.len()).position(|part| part == MARK.as_bytes()) {
                    output.extend_from_slice(&rest[..at]);
                    output.extend_from_slice(nonce.as_bytes());
                    rest = &rest[at + MARK.len()..];
                }
                output.extend_from_slice(rest);
                let passwords = vec![Secret::from(self.password.as_str())];
                Ok(Reply { passwords, ..Reply::new(output, exit.clone()) })
            }
        }
    }

    fn sent_to(&self, _: &Host) -> Vec<HostFile> {
        self.sent.clone()
    }

    fn secrets_of_all(&self) -> Option<Arc<Pieces>> {
        self.all.clone()
    }
}
