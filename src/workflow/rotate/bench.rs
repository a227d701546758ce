//! What a rotation works with, and where it stands: the record, the stored set of its stage, and what was done so far.

use super::{
    Begun,
    report::{Approved, NodeStep, Pending},
    stop::Stop,
    tokens::TokenPair,
};
use crate::{
    bundle::{Bundle, CredentialSet, FileKind, build_bundles},
    cluster::{Cluster, Clusters},
    inventory::{Host, Inventory, Role},
    rotation::{Carrier, Direction, Mode, Record, Stage},
    secret::Secret,
    store::{self, Changes, Journal, Lock, Snapshot, Store, StoredFile},
    token::TokenFile,
    workflow::{
        approve::revoked_users,
        distribute::{self, Fleet},
        generate::{kubeconfig_user, stage_record},
        journal::Entry,
        kept_run::ROTATION,
        report::{ErrorReport, HostReport},
        stored::{Tokens, read_stored_set},
    },
};
use jiff::SignedDuration;
use std::collections::{BTreeMap, BTreeSet};

/// The adapters of a rotation.
pub struct Bench<'a> {
    pub inventory: &'a Inventory,
    pub store: &'a Store,
    pub held: &'a Lock,
    pub fleet: &'a Fleet<'a>,
    pub clusters: &'a dyn Clusters,
    pub journal: &'a Journal,
    pub observer: &'a dyn Observer,
    pub gate: Gate,
}

/// Whether nodes that are not done, or a grace that is not over, hold a rotation up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    Heeded,
    /// `--retire-anyway`.
    Overridden,
}

/// Who is told how a rotation comes along. Called on one thread.
pub trait Observer: distribute::Observer {
    fn stage_begun(&self, stage: Stage, direction: Direction, carrier: Carrier);
    /// A step on a control-plane host.
    fn step(&self, host: &str, what: &str);
    fn nodes_begun(&self, count: usize);
    fn nodes_ended(&self);
}

/// For how long it is known which requests may be of whoever had a revoked token: apiservers keep those that nobody decides
/// for 24 hours (pkg/controller/certificates/cleaner).
const REMEMBERED: SignedDuration = SignedDuration::from_hours(48);

impl Bench<'_> {
    pub(super) fn control_plane(&self) -> Vec<&Host> {
        self.hosts(Role::ControlPlane)
    }

    fn hosts(&self, role: Role) -> Vec<&Host> {
        self.inventory.hosts.iter().filter(|host| host.roles.contains(role)).collect()
    }

    pub(super) fn cluster(&self, host: &Host) -> Result<Box<dyn Cluster>, Stop> {
        self.clusters.at(&host.apiserver).map_err(|e| Stop::of_cluster(&e).at(host))
    }

    pub(super) fn note(&self, entry: &Entry) -> Result<(), Stop> {
        self.journal.record(entry).map_err(|e| Stop::of_store(&e))
    }

    /// Journals that work on a host begins. Where that fails it must not.
    pub(super) fn begin(&self, host: &Host) -> Result<(), Stop> {
        let entry = Entry::Begun { at: self.fleet.clock.now(), host: host.name.as_str() };
        self.journal.begin(&entry).and_then(|()| self.journal.sync()).map_err(|e| Stop::of_store(&e))
    }

    /// Journals how it ended.
    pub(super) fn end(&self, host: &HostReport) -> Result<(), Stop> {
        let entry = Entry::Host { at: self.fleet.clock.now(), host };
        self.journal.end(&entry).and_then(|()| self.journal.sync()).map_err(|e| Stop::of_store(&e))
    }
}

/// A rotation under way in this process.
pub(super) struct Course<'a> {
    pub bench: &'a Bench<'a>,
    pub snapshot: Snapshot,
    pub record: Record,
    pub began: jiff::Timestamp,
    /// Of each control-plane host that was worked on, as such.
    pub control_plane: Vec<HostReport>,
    /// Of each node that was worked on.
    pub reports: Vec<HostReport>,
    pub nodes: BTreeMap<String, NodeStep>,
    /// Nodes that are not done, by name.
    pub pending: BTreeMap<String, ErrorReport>,
    pub approved: Vec<Approved>,
    /// What went wrong and holds nothing up.
    pub remarks: Vec<String>,
    pub is_over: bool,
    /// Of a token that is revoked: a control-plane host that could not be made to forget it, while the others were.
    pub held_up: Option<Stop>,
}

impl<'a> Course<'a> {
    pub fn new(bench: &'a Bench<'a>, Begun { snapshot, record, remarks }: Begun) -> Self {
        let left_behind = |name: &String| {
            let why = ErrorReport {
                code: "left_behind",
                message: "it was not done when the old token was retired all the same".into(),
                hint: format!(
                    "`kubemint status --limit {name}` shows what it holds; `kubemint apply --limit {name}` repairs it"
                ),
            };
            (name.clone(), why)
        };
        Self {
            bench,
            pending: record.left_behind.iter().map(left_behind).collect(),
            snapshot,
            record,
            began: bench.fleet.clock.now(),
            control_plane: Vec::new(),
            reports: Vec::new(),
            nodes: BTreeMap::new(),
            approved: Vec::new(),
            remarks,
            is_over: false,
            held_up: None,
        }
    }

    /// The nodes whose file changes.
    pub fn nodes(&self) -> Vec<&'a Host> {
        // One that came to the inventory meanwhile has no token of its own yet.
        let is_meant =
            |host: &&Host| self.record.nodes.is_empty() || self.record.nodes.contains_key(host.name.as_str());
        self.bench.hosts(Role::Node).into_iter().filter(is_meant).collect()
    }

    /// Says which nodes are none of its business: they get a token of their own when it is over.
    pub fn tell_newcomers(&mut self) {
        let nodes = &self.record.nodes;
        if self.record.is_of_some_nodes() || nodes.is_empty() {
            return;
        }
        let all = self.bench.hosts(Role::Node).into_iter().map(|host| host.name.as_str());
        let new = all.filter(|name| !nodes.contains_key(*name));
        let told =
            new.map(|name| format!("{name} came to the inventory meanwhile: `kubemint apply` when this is over"));
        self.remarks.extend(told);
    }

    /// Journals that a run has begun: the record is stored already, whatever becomes of this line.
    pub fn start(&self) -> Result<(), Stop> {
        let bench = self.bench;
        let mut hosts: Vec<&str> = Vec::new();
        for host in bench.control_plane().into_iter().chain(self.nodes()) {
            if !hosts.contains(&host.name.as_str()) {
                hosts.push(host.name.as_str());
            }
        }
        bench.note(&Entry::Started {
            at: self.began,
            number: bench.journal.number(),
            command: ROTATION,
            generation: self.snapshot.state.as_ref().map_or(0, |state| state.generation),
            pid: std::process::id(),
            of: Some(self.record.id.as_str()).filter(|id| *id != bench.journal.id().as_str()),
            owed: None,
            hosts,
        })
    }

    /// Journals the stage and makes its set the stored one.
    pub fn enter(&mut self, stage: Stage) -> Result<(), Stop> {
        self.stop_if_interrupted()?;
        let (at, direction) = (self.bench.fleet.clock.now(), self.record.direction);
        self.bench.observer.stage_begun(stage, direction, self.record.carrier());
        self.bench.note(&Entry::Stage { at, stage: stage.name(), direction: direction.name() })?;
        if self.record.is_ahead(stage) {
            self.commit(Record { stage, ..self.record.clone() })?;
        }
        Ok(())
    }

    pub fn stop_if_interrupted(&self) -> Result<(), Stop> {
        if self.bench.fleet.interrupt.is_requested() { Err(Stop::interrupted()) } else { Ok(()) }
    }

    pub fn commit(&mut self, record: Record) -> Result<(), Stop> {
        let (snapshot, record) = commit(self.bench, &self.snapshot, record).map_err(|e| Stop::of_store(&e))?;
        (self.snapshot, self.record) = (snapshot, record);
        Ok(())
    }

    pub fn tokens(&self) -> Result<TokenPair, Stop> {
        TokenPair::read(&self.snapshot, &self.record, self.bench.fleet.clock.now()).ok_or_else(|| {
            Stop::new("state_damaged", "rotation.csv lacks a token of the rotation", "restore the whole directory")
        })
    }

    /// token.csv as it was before anything was taken out of it.
    pub fn token_file_before(&self) -> Result<Secret, Stop> {
        let record =
            Record { stage: Stage::Accept, direction: Direction::Forward, mode: Mode::Overlap, ..self.record.clone() };
        let both = self.snapshot.content(StoredFile::RotationTokens).and_then(|text| TokenFile::from_secret(text).ok());
        both.and_then(|both| record.token_file(&both)).map(|file| file.render()).ok_or_else(|| {
            Stop::new("state_damaged", "rotation.csv lacks a token of the rotation", "restore the whole directory")
        })
    }

    /// The stored set's files of one kind for these hosts, and token.csv for nodes that want it.
    pub fn bundles<'h>(&self, hosts: &[&'h Host], kind: FileKind) -> Result<Vec<Bundle<'h>>, Stop> {
        let unexpected = |what: String| Stop::new("unexpected", what, "please report it with the output of -vv");
        let set: CredentialSet = read_stored_set(self.bench.inventory, &self.snapshot)
            .map_err(|e| Stop::new("not_current", e.to_string(), "run `kubemint generate`, which makes it again"))?;
        let mut bundles = build_bundles(hosts, &set).map_err(|e| unexpected(e.to_string()))?;
        for bundle in &mut bundles {
            let is_node_only = !bundle.host.roles.contains(Role::ControlPlane);
            bundle.files.retain(|file| file.kind == kind || is_node_only && file.kind == FileKind::TokenCsv);
        }
        Ok(bundles)
    }

    /// Stops where nodes are not done, or the grace is not over.
    pub fn pass_gate(&mut self) -> Result<(), Stop> {
        self.stop_if_interrupted()?;
        if self.bench.gate == Gate::Overridden {
            let left: BTreeSet<String> = self.pending.keys().chain(&self.record.left_behind).cloned().collect();
            if left != self.record.left_behind {
                self.commit(Record { left_behind: left, ..self.record.clone() })?;
            }
            return Ok(());
        }
        if !self.pending.is_empty() {
            let count = self.pending.len();
            let are = if count == 1 { "1 node is".to_owned() } else { format!("{count} nodes are") };
            let hint = "fix what is pending, then `kubemint rotate token --resume`; --retire-anyway leaves them behind";
            return Err(Stop::new("nodes_pending", format!("{are} pending"), hint));
        }
        if self.record.direction == Direction::Back || self.record.mode == Mode::RevokeNow {
            return Ok(());
        }
        self.wait_out_grace()
    }

    fn wait_out_grace(&mut self) -> Result<(), Stop> {
        let Some(grace) = self.record.grace else { return Ok(()) };
        let now = self.bench.fleet.clock.now();
        let until = match self.record.grace_until {
            Some(until) => until,
            None => {
                let until = now.saturating_add(grace).unwrap_or(jiff::Timestamp::MAX);
                self.commit(Record { grace_until: Some(until), ..self.record.clone() })?;
                until
            }
        };
        if now >= until {
            return Ok(());
        }
        let left = jiff::SignedDuration::from_secs(until.duration_since(now).as_secs());
        let what = format!("both tokens stay until {} ({left:#} left)", until.strftime("%Y-%m-%d %H:%M:%S UTC"));
        Err(Stop::new("grace", what, "`kubemint rotate token --resume` after that; --retire-anyway does not wait"))
    }

    /// The rotation is over: its record and its tokens go.
    pub fn finish(&mut self) -> Result<(), Stop> {
        let snapshot = &self.snapshot;
        let mut next = snapshot.state.clone().unwrap_or_default();
        next.rotation = None;
        let bench = self.bench;
        if let Some(own) = &mut next.token {
            let now = bench.fleet.clock.now();
            own.distrusted.retain(|_, line| now.duration_since(*line) < REMEMBERED);
            if let Some(line) = self.record.distrusted_until {
                let users = revoked_users(&self.record, own);
                own.distrusted.extend(users.into_iter().map(|user| (user, line)));
            }
        }
        if self.record.direction == Direction::Forward {
            next.rotated = Some(bench.fleet.clock.now());
        }
        let is_migrated = (self.record.carrier(), self.record.direction) == (Carrier::Migration, Direction::Forward);
        let removed = if is_migrated {
            if let Some(own) = &mut next.token {
                let left = std::mem::take(&mut own.other_rows).len();
                if left > 0 {
                    let what = format!("{left} rows of other users stay in token.csv on the control-plane hosts");
                    self.remarks.push(format!("{what}: kubemint keeps it no longer"));
                }
            }
            // Where this is cut short the tokens are still there: it can be gone through again.
            vec![StoredFile::TokenCsv, StoredFile::RotationTokens]
        } else {
            vec![StoredFile::RotationTokens]
        };
        let changes = Changes { removed, ..Changes::default() };
        bench
            .store
            .commit_changes(bench.held, snapshot, &changes, next, bench.fleet.clock)
            .map_err(|e| Stop::of_store(&e))?;
        self.snapshot = bench.store.load().map_err(|e| Stop::of_store(&e))?;
        self.is_over = true;
        Ok(())
    }

    /// What `name` is kept back for.
    pub fn hold(&mut self, name: &str, why: ErrorReport) {
        self.pending.entry(name.to_owned()).or_insert(why);
    }

    pub fn pending_list(&self) -> Vec<Pending> {
        let of =
            |(name, why): (&String, &ErrorReport)| Pending { name: name.clone(), role: "node", error: why.clone() };
        self.pending.iter().map(of).collect()
    }
}

/// Stores the record of one that begins, and its tokens. The set comes after that: one commit of both that is cut off could
/// leave files with the new token, and no record that says why.
pub(super) fn commit_record(
    bench: &Bench,
    snapshot: &Snapshot,
    record: Record,
    both: Secret,
) -> Result<(Snapshot, Record), store::Error> {
    let next = store::State { rotation: Some(record.clone()), ..snapshot.state.clone().unwrap_or_default() };
    bench.store.commit(bench.held, snapshot, &[(StoredFile::RotationTokens, both)], next, bench.fleet.clock)?;
    Ok((bench.store.load()?, record))
}

/// Stores the record with token.csv and bootstrap.kubeconfig of its stage.
pub(super) fn commit(bench: &Bench, snapshot: &Snapshot, record: Record) -> Result<(Snapshot, Record), store::Error> {
    let damaged = |what: &str| store::Error::Damaged { path: bench.store.dir().to_owned(), what: what.to_owned() };
    let mut changes: Vec<(StoredFile, Secret)> = Vec::new();
    let both = snapshot.content(StoredFile::RotationTokens).ok_or_else(|| damaged("rotation.csv is missing"))?;
    let both = TokenFile::from_secret(both).map_err(|e| damaged(&format!("rotation.csv: {e}")))?;
    let lacks = || damaged("rotation.csv lacks a token of the rotation");
    let token_csv = match record.carrier() {
        Carrier::Secrets => None,
        Carrier::TokenFile | Carrier::Migration => Some(record.token_file(&both).ok_or_else(lacks)?.render()),
    };
    let mut next = snapshot.state.clone().unwrap_or_default();
    let own = next.token.as_ref().ok_or_else(|| damaged("there is no record of the token"))?;
    let own = stage_record(own, &record, &both).ok_or_else(lacks)?;
    let tokens = Tokens::of(&own, &both).ok_or_else(lacks)?;
    let mut set = read_stored_set(bench.inventory, snapshot).map_err(|e| damaged(&e.to_string()))?;
    (set.token, set.node_tokens) = (tokens.shared, tokens.nodes);
    set.token_user = kubeconfig_user(bench.inventory, &record, &own, &both).ok_or_else(lacks)?;
    next.token = Some(own);
    let kubeconfig = set
        .render(FileKind::BootstrapKubeconfig, &bench.inventory.cluster.server)
        .map_err(|e| damaged(&e.to_string()))?;
    for (file, content) in [(StoredFile::TokenCsv, token_csv), (StoredFile::BootstrapKubeconfig, Some(kubeconfig))] {
        if let Some(content) = content.filter(|content| !snapshot.holds(file, content)) {
            changes.push((file, content));
        }
    }
    next.rotation = Some(record.clone());
    bench.store.commit(bench.held, snapshot, &changes, next, bench.fleet.clock)?;
    Ok((bench.store.load()?, record))
}
