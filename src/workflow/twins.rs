//! One machine under two names of the inventory is written once. Hosts are told apart by their host keys, which costs
//! nothing; only where a second name shows a key that was seen before does it wait for the first, and the host is asked
//! whether it is the same machine. One with the machine-id of the first is only looked at: where anything is due, it may as
//! well be a clone. Nobody is waited for without end. Clones with one key and machine-ids of their own are all written.

use super::report::{Twin, TwinKind};
use crate::{
    bundle::Bundle,
    remote::{
        Error, Peer,
        installer::{HostView, MachineId, Written},
    },
};
use std::{
    cell::OnceCell,
    collections::HashMap,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

/// The machines of a run. Names are indices of its hosts.
pub(super) struct Twins<'a> {
    bundles: &'a [Bundle<'a>],
    doors: Mutex<HashMap<String, Door>>,
    left: Condvar,
}

/// What is known of one host key.
#[derive(Default)]
struct Door {
    /// Who is being worked on.
    holder: Option<usize>,
    /// Those that have what they should.
    done: Vec<(usize, Option<MachineId>)>,
}

/// One host's turn; others with its host key wait until this is dropped.
pub(super) struct Visit<'a> {
    twins: &'a Twins<'a>,
    host: usize,
    host_key: OnceCell<String>,
}

impl<'a> Twins<'a> {
    pub fn new(bundles: &'a [Bundle<'a>]) -> Self {
        Self { bundles, doors: Mutex::default(), left: Condvar::new() }
    }

    pub fn visit(&'a self, host: usize) -> Visit<'a> {
        Visit { twins: self, host, host_key: OnceCell::new() }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Door>> {
        self.doors.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn name(&self, host: usize) -> String {
        self.bundles[host].host.name.as_str().to_owned()
    }
}

impl Visit<'_> {
    /// Waits until nobody else is with a host of that key; gives the machines written behind it.
    ///
    /// # Errors
    /// [`Error::WaitedForTwin`] when that takes most of the time this host has: the rest is for its own work.
    pub fn enter(&self, peer: &Peer) -> Result<Vec<Written>, Error> {
        let Some(key) = &peer.host_key else { return Ok(Vec::new()) };
        let began = Instant::now();
        let patience = peer.end.saturating_duration_since(began) * 3 / 4;
        let is_taken = |doors: &mut HashMap<String, Door>| doors.get(key).is_some_and(|door| door.holder.is_some());
        let waited = self.twins.left.wait_timeout_while(self.twins.lock(), patience, is_taken);
        let (mut doors, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let door = doors.entry(key.clone()).or_default();
        if let Some(holder) = door.holder {
            return Err(Error::WaitedForTwin { name: self.twins.name(holder), seconds: began.elapsed().as_secs() });
        }
        door.holder = Some(self.host);
        let _ = self.host_key.set(key.clone());
        let known = door.done.iter().filter_map(|(host, machine)| Some((*host, (*machine)?)));
        Ok(known.map(|(host, machine)| Written { machine, name: self.twins.name(host) }).collect())
    }

    /// The host has what it should. Gives another one that shows the same key, if there is one.
    pub fn end_well(&self, machine: Option<MachineId>) -> Option<Twin> {
        let key = self.host_key.get()?;
        let mut doors = self.twins.lock();
        let door = doors.entry(key.clone()).or_default();
        let other = door.done.first().map(|(host, _)| *host);
        door.done.push((self.host, machine));
        Some(Twin { kind: TwinKind::SameHostKey, host: self.twins.name(other?) })
    }
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        if let Some(key) = self.host_key.get() {
            if let Some(door) = self.twins.lock().get_mut(key) {
                door.holder = None;
            }
            self.twins.left.notify_all();
        }
    }
}

/// What tells a host that was read from others.
#[derive(Clone)]
pub(super) struct Identity {
    host_key: Option<String>,
    machine: Option<MachineId>,
}

impl Identity {
    pub fn new(host_key: Option<String>, machine: Option<MachineId>) -> Self {
        Self { host_key, machine }
    }

    pub fn of(view: &HostView) -> Self {
        Self::new(view.host_key.clone(), view.machine)
    }
}

/// Of hosts that were read: for each, an earlier one that is the same machine, or shows the same host key.
pub(super) fn find_twins(bundles: &[Bundle], identities: &[Option<Identity>]) -> Vec<Option<Twin>> {
    let mut seen: HashMap<&str, Vec<(&str, Option<MachineId>)>> = HashMap::new();
    let mut twins = Vec::with_capacity(bundles.len());
    for (bundle, identity) in bundles.iter().zip(identities) {
        let shown = identity.as_ref().and_then(|identity| Some((identity.host_key.as_deref()?, identity.machine)));
        twins.push(shown.and_then(|(key, machine)| {
            let earlier = seen.entry(key).or_default();
            let is_same = |(_, other): &&(&str, Option<MachineId>)| machine.is_some() && *other == machine;
            let twin = |kind, (host, _): &(&str, _)| Twin { kind, host: (*host).to_owned() };
            let same = earlier.iter().find(is_same).map(|other| twin(TwinKind::SameMachine, other));
            let found = same.or_else(|| earlier.first().map(|other| twin(TwinKind::SameHostKey, other)));
            earlier.push((bundle.host.name.as_str(), machine));
            found
        }));
    }
    twins
}
