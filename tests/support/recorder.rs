//! A witness of what goes to a host and what comes back.

use kubemint::{
    inventory::Host,
    remote::{Error, Peer, Remote, Reply, Script},
};
use std::sync::Mutex;

/// Passes everything on to `R` and keeps a copy.
pub struct Recorder<R> {
    inner: R,
    sent: Mutex<String>,
    received: Mutex<String>,
}

impl<R: std::borrow::Borrow<kubemint::remote::local::LocalRemote> + Send + Sync> Recorder<R> {
    pub fn new(inner: R) -> Self {
        Self { inner, sent: Mutex::default(), received: Mutex::default() }
    }

    pub fn sent(&self) -> String {
        self.sent.lock().unwrap().clone()
    }

    pub fn received(&self) -> String {
        self.received.lock().unwrap().clone()
    }
}

impl<R: std::borrow::Borrow<kubemint::remote::local::LocalRemote> + Send + Sync> Remote for Recorder<R> {
    fn run_script(&self, host: &Host, script: &Script<'_>) -> Result<Reply, Error> {
        let recorded = |peer: &Peer| {
            let input = script(peer)?;
            self.sent.lock().unwrap().extend(input.parts());
            Ok(input)
        };
        let reply = self.inner.borrow().run_script(host, &recorded)?;
        self.received.lock().unwrap().push_str(&String::from_utf8_lossy(&reply.output));
        Ok(reply)
    }
}
