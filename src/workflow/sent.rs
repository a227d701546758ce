//! Which files a host may have been sent, in this run or an earlier one, so that what it says can be held against their
//! secrets where no file is sent: a restart, a kubelet's files, a rollback. Read from the credential directory when it is
//! asked for the first time, and again when a run has written there since.

use super::stored::read_stored_set;
use crate::{
    bundle::{FileKind, HostFile, build_bundles, target_path},
    digest::Digest,
    foreign::Pieces,
    inventory::{Host, Inventory, Role},
    remote::pieces_of,
    store::{Snapshot, Stamp, Store, StoredFile},
    token::{Row, TokenFile, node_holder},
};
use std::sync::{Arc, Mutex, PoisonError};

/// What hosts may have been sent, out of one credential directory.
pub struct SentFiles {
    store: Store,
    inventory: Inventory,
    read: Mutex<Option<(Stamp, Arc<Snapshot>)>>,
    all: Mutex<Option<(Arc<Snapshot>, Arc<Pieces>)>>,
}

impl SentFiles {
    #[must_use]
    pub fn new(store: Store, inventory: Inventory) -> Self {
        Self { store, inventory, read: Mutex::default(), all: Mutex::default() }
    }

    /// The files of `host` as they are now, and every token that it may hold of a rotation under way. Empty where nothing can
    /// be read: then nothing was sent by this directory, or what was is known to the caller.
    #[must_use]
    pub fn to(&self, host: &Host) -> Vec<HostFile> {
        let Some(snapshot) = self.snapshot() else { return Vec::new() };
        let mut files = self.made_for(&[host], &snapshot);
        files.extend(stored_tokens(&snapshot).map(|tokens| as_file(&self.of_host(&tokens, &snapshot, host), host)));
        files
    }

    /// What all hosts together may have been sent: every token, and the keys that hosts share.
    #[must_use]
    pub fn secrets_of_all(&self) -> Option<Arc<Pieces>> {
        let snapshot = self.snapshot()?;
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        match &*all {
            Some((of, pieces)) if Arc::ptr_eq(of, &snapshot) => Some(Arc::clone(pieces)),
            _ => {
                // What is a host's own in its files is a row of the token file too.
                let hosts = &self.inventory.hosts;
                let with = |role| hosts.iter().find(|host| host.roles.contains(role));
                let some: Vec<&Host> = [Role::Node, Role::ControlPlane].into_iter().filter_map(with).collect();
                let mut files = self.made_for(&some, &snapshot);
                let any = hosts.first().into_iter();
                files.extend(any.flat_map(|host| stored_tokens(&snapshot).map(|tokens| as_file(&tokens, host))));
                Some(Arc::clone(&all.insert((snapshot, Arc::new(pieces_of(&files)))).1))
            }
        }
    }

    /// The files of `hosts` as they are now.
    fn made_for(&self, hosts: &[&Host], snapshot: &Snapshot) -> Vec<HostFile> {
        let set = read_stored_set(&self.inventory, snapshot).ok();
        let bundles = set.and_then(|set| build_bundles(hosts, &set).ok());
        bundles.into_iter().flatten().flat_map(|bundle| bundle.files).collect()
    }

    fn snapshot(&self) -> Option<Arc<Snapshot>> {
        let stamp = self.store.stamp()?;
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        match &*read {
            Some((of, snapshot)) if *of == stamp => Some(Arc::clone(snapshot)),
            // Where it cannot be read for the moment, the one before knows most of it.
            before => match self.store.load() {
                Ok(snapshot) => Some(Arc::clone(&read.insert((stamp, Arc::new(snapshot))).1)),
                Err(_) => before.as_ref().map(|(_, snapshot)| Arc::clone(snapshot)),
            },
        }
    }

    /// Control-plane hosts hold all rows, a node those of the shared user and its own: of ten thousand rows, two or three.
    fn of_host(&self, tokens: &TokenFile, snapshot: &Snapshot, host: &Host) -> TokenFile {
        let record = snapshot.state.as_ref().and_then(|state| state.token.as_ref());
        let (Some(record), false) = (record, host.roles.contains(Role::ControlPlane) || host.token_csv_on_nodes) else {
            return tokens.clone();
        };
        let shared = record.holder();
        let own = node_holder(&shared, host.name.as_str());
        let others = tokens.rows().iter().map(Row::holder);
        let others: Vec<_> = others.filter(|of| of.user != shared.user && of.user != own.user).collect();
        tokens.without_holders(&others)
    }
}

/// Of now and of a rotation under way.
fn stored_tokens(snapshot: &Snapshot) -> impl Iterator<Item = TokenFile> {
    let stored = [StoredFile::TokenCsv, StoredFile::RotationTokens];
    stored.into_iter().filter_map(|file| TokenFile::from_secret(snapshot.content(file)?).ok())
}

fn as_file(tokens: &TokenFile, host: &Host) -> HostFile {
    let content = Arc::new(tokens.render());
    let (kind, path) = (FileKind::TokenCsv, target_path(host, FileKind::TokenCsv));
    HostFile { kind, path, content, sha256: Digest::of(""), validity: None, own_users_below: None }
}
