//! What must hold before a rotation begins: nothing is changed here, and every fault is said at once.

use super::{exchange, token_files::check_hosts, tokens::whoami};
use crate::{
    bundle::CredentialSet,
    cluster::{self, Action, Clusters},
    inventory::{Host, Inventory, KubeletRestart, Role, TokenForm},
    rotation::{Carrier, Mode, Record, SecretPair},
    secret::Secret,
    store::{Snapshot, StoredFile, TokenRecord},
    token::{BootstrapToken, BootstrapTokenSecret, Row, TokenFile},
    workflow::{
        approve::{TO_APPROVE, find_lacking},
        distribute::Fleet,
        generate::mint_secret,
        stored::read_stored_set,
    },
};
use jiff::SignedDuration;

/// A rotation that may begin.
pub struct Plan {
    pub record: Record,
    /// Both tokens, each in a row; where there is a token.csv, its other rows, too.
    pub(super) both: Secret,
    pub(super) remarks: Vec<String>,
}

/// Why none may. Nothing was changed.
#[derive(Debug)]
pub struct Refusal {
    pub code: &'static str,
    /// One fault a line.
    pub message: String,
    pub hint: String,
    /// The inventory is to blame, not what was found.
    pub is_bad_input: bool,
}

impl Refusal {
    pub(super) fn found(code: &'static str, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: hint.into(), is_bad_input: false }
    }

    fn input(code: &'static str, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { is_bad_input: true, ..Self::found(code, message, hint) }
    }
}

/// How a rotation is to begin.
#[derive(Debug, Clone, Copy)]
pub struct Beginning<'a> {
    /// The run that begins it.
    pub id: &'a str,
    pub carrier: Carrier,
    pub mode: Mode,
    pub grace: Option<SignedDuration>,
    pub scope: Scope<'a>,
}

/// Whose tokens change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope<'a> {
    /// All that kubemint knows.
    All,
    /// The own ones of these nodes; never empty.
    Nodes(&'a [String]),
}

/// Whether the inventory says enough to rotate tokens that are carried so.
///
/// # Errors
/// [`Refusal`], of bad input.
pub fn check_inventory(inventory: &Inventory, carrier: Carrier) -> Result<(), Refusal> {
    let services = &inventory.services;
    if carrier == Carrier::Migration && inventory.token_form != TokenForm::Secret {
        let what = format!("token.form is {:?}", inventory.token_form.name());
        let hint = "write form = \"secret\" below [token]: that is where a migration goes";
        return Err(Refusal::input("token_form", what, hint));
    }
    if carrier != Carrier::Secrets && services.kube_apiserver.is_none() {
        let hint = "kube-apiserver reads token.csv only at its start: write, below [services], kube-apiserver = \
                    \"systemctl restart kube-apiserver\"";
        return Err(Refusal::input("no_restart_command", "services.kube-apiserver is not set", hint));
    }
    if services.kubelet_restart == KubeletRestart::Always && services.kubelet.is_none() {
        let hint = "write, below [services], kubelet = \"systemctl restart kubelet\"";
        let what = "services.kubelet_restart is \"always\", and services.kubelet is not set";
        return Err(Refusal::input("no_restart_command", what, hint));
    }
    if !inventory.hosts.iter().any(|host| host.roles.contains(Role::ControlPlane)) {
        let hint = "list the hosts that run kube-apiserver with roles = [\"control-plane\"]";
        return Err(Refusal::input("no_control_plane", "the inventory has no control-plane host", hint));
    }
    refuse_shared_apiserver(inventory)
}

/// Behind one address there may be any apiserver: what one of them answers would count for all.
fn refuse_shared_apiserver(inventory: &Inventory) -> Result<(), Refusal> {
    let mut seen: Vec<((String, u16), &Host)> = Vec::new();
    for host in control_plane(inventory) {
        let Ok(url) = url::Url::parse(host.apiserver.as_str()) else { continue };
        let place =
            (url.host_str().unwrap_or_default().to_lowercase(), url.port_or_known_default().unwrap_or_default());
        if let Some((_, other)) = seen.iter().find(|(known, _)| *known == place) {
            let what = format!("{} and {} have the same apiserver, {}", other.name, host.name, host.apiserver);
            let hint =
                "give each control-plane host the address of its own kube-apiserver: apiserver = \"https://HOST:6443\"";
            return Err(Refusal::input("apiserver_shared", what, hint));
        }
        seen.push((place, host));
    }
    Ok(())
}

/// Looks at every control-plane host, and mints the new token. `inventory` is as the stored set is: for a migration, of
/// the form that is left; `wanted` is the one that the new token follows.
///
/// # Errors
/// [`Refusal`]: a host or an apiserver is not as it must be.
pub fn plan_rotation(
    fleet: &Fleet,
    clusters: &dyn Clusters,
    (inventory, wanted): (&Inventory, &Inventory),
    snapshot: &Snapshot,
    beginning: Beginning<'_>,
) -> Result<Plan, Refusal> {
    let Beginning { id, carrier, mode, grace, scope } = beginning;
    if snapshot.state.as_ref().is_some_and(|state| state.rotation.is_some()) {
        let hint = "`kubemint rotate token --resume` goes on with it";
        return Err(Refusal::found("rotation_under_way", "a rotation is under way", hint));
    }
    let damaged = |what: String| Refusal::found("not_current", what, "run `kubemint generate`, which makes it again");
    let set = read_stored_set(inventory, snapshot).map_err(|e| damaged(e.to_string()))?;
    let own = snapshot.state.as_ref().and_then(|state| state.token.clone());
    let own = own.ok_or_else(|| damaged("there is no record of the token".into()))?;
    let rows = match carrier {
        Carrier::TokenFile | Carrier::Migration => stored_rows(snapshot, &set).map_err(|fault| match fault {
            RowFault::Missing(what) => damaged(what),
            RowFault::Shared => {
                let hint = "give each user a token of its own: `kubemint token lint` names the rows";
                Refusal::found("token_shared", "another row of token.csv has our token too", hint)
            }
        })?,
        Carrier::Secrets => TokenFile::default(),
    };
    let mut remarks = Vec::new();
    if carrier != Carrier::Secrets {
        remarks.extend(check_hosts(fleet, inventory, &set, mode)?);
    }
    let old = exchange::leaving(&set, &own, scope)?;
    remarks.extend(check_apiservers(clusters, inventory, (&old.token, &old.holder.user), &own, mode)?);
    check_rights(clusters, inventory, carrier)?;
    let failed = |e: crate::token::TokenError| Refusal::found("token", e.to_string(), e.hint().unwrap_or_default());
    let now = fleet.clock.now();
    let mut taken = rows.rows().iter().map(Row::fingerprint).collect();
    let (new, holder, terms) = match carrier {
        Carrier::TokenFile => {
            let holder = if scope == Scope::All { wanted.token.clone() } else { old.holder.clone() };
            (BootstrapToken::generate_unlike(fleet.entropy, &mut taken).map_err(failed)?, holder, None)
        }
        Carrier::Secrets | Carrier::Migration => {
            let secret = mint(fleet, clusters, wanted, grace)?;
            (secret.token(), secret.holder(), Some(secret.terms()))
        }
    };
    let rows = match carrier {
        Carrier::TokenFile | Carrier::Migration => rows,
        Carrier::Secrets => rows.with_rows_at_end(&[(set.token.clone(), own.holder())]).map_err(failed)?,
    };
    let fingerprint = new.fingerprint();
    let mut added = vec![(new, holder)];
    let nodes = exchange::plan_nodes((inventory, wanted), &own, scope, fingerprint, now, |holder| {
        let token = BootstrapToken::generate_unlike(fleet.entropy, &mut taken)?;
        added.push((token.clone(), holder));
        Ok(token.fingerprint())
    });
    let nodes = nodes.map_err(failed)?;
    let both = rows.with_rows_at_end(&added).map_err(failed)?.render();
    let record = Record::begin(id, (old.fingerprint, old.created), fingerprint, now);
    let record = Record { of: old.node, nodes, ..record };
    let record = Record { secrets: terms.map(|new| SecretPair { old: own.secret.clone(), new }), ..record };
    let record = match mode {
        Mode::Overlap => Record { grace, ..record },
        Mode::RevokeNow => record.revoked(),
    };
    Ok(Plan { record, both, remarks })
}

enum RowFault {
    Missing(String),
    /// Another row has our token, too.
    Shared,
}

fn stored_rows(snapshot: &Snapshot, set: &CredentialSet) -> Result<TokenFile, RowFault> {
    let missing = || RowFault::Missing("token.csv is missing".into());
    let text = snapshot.content(StoredFile::TokenCsv).ok_or_else(missing)?;
    let file = TokenFile::from_secret(text).map_err(|e| RowFault::Missing(format!("token.csv: {e}")))?;
    let count = file.rows().len() - file.without_tokens(std::slice::from_ref(&set.token)).rows().len();
    if count > 1 { Err(RowFault::Shared) } else { Ok(file) }
}

/// A token whose id no Secret has yet.
fn mint(
    fleet: &Fleet,
    clusters: &dyn Clusters,
    wanted: &Inventory,
    grace: Option<SignedDuration>,
) -> Result<BootstrapTokenSecret, Refusal> {
    let ttl = SignedDuration::try_from(wanted.token_ttl).unwrap_or(SignedDuration::MAX);
    if grace.is_some_and(|grace| grace >= ttl) {
        let what = format!("both tokens are to stay for longer than the new one lives ({ttl:#})");
        return Err(Refusal::input("grace_too_long", what, "give a shorter --grace, or a longer token.ttl"));
    }
    let host = control_plane(wanted).next();
    let taken = match host {
        Some(host) => {
            let cluster = clusters.at(&host.apiserver).map_err(|e| of_cluster(&e))?;
            cluster.bootstrap_secrets().map_err(|e| of_cluster(&e))?
        }
        None => Vec::new(),
    };
    loop {
        let secret = mint_secret(wanted, fleet.clock.now(), fleet.entropy)
            .map_err(|e| Refusal::found("token", e.to_string(), e.hint().unwrap_or_default()))?;
        if taken.iter().all(|other| other.id != secret.id()) {
            return Ok(secret);
        }
    }
}

pub(super) fn control_plane(inventory: &Inventory) -> impl Iterator<Item = &Host> {
    inventory.hosts.iter().filter(|host| host.roles.contains(Role::ControlPlane))
}

/// All are ready, and know the token that goes.
fn check_apiservers(
    clusters: &dyn Clusters,
    inventory: &Inventory,
    (old, holder): (&BootstrapToken, &str),
    own: &TokenRecord,
    mode: Mode,
) -> Result<Vec<String>, Refusal> {
    let (mut away, mut strange, mut hint) = (Vec::new(), Vec::new(), String::new());
    let mut remarks = Vec::new();
    for host in control_plane(inventory) {
        let cluster = clusters.at(&host.apiserver).map_err(|e| of_cluster(&e))?;
        if let Err(error) = cluster.readyz() {
            away.push(format!("{}: {error}", host.name));
            hint = error.hint();
            continue;
        }
        match whoami(cluster.as_ref(), old) {
            Ok(Some(found)) if found == holder => {}
            Ok(None) if own.secret.is_some() => remarks.push(format!(
                "{}: token {} is not known any more: its Secret has expired or is gone",
                host.name,
                old.fingerprint()
            )),
            // One that does not know a leaked token need not be told to forget it.
            _ if mode == Mode::RevokeNow => {}
            Ok(Some(_)) => strange.push(format!("{}: it takes our token for another user's", host.name)),
            Ok(None) => strange.push(format!("{}: it refuses our token {} (401)", host.name, old.fingerprint())),
            Err(ailment) => {
                let why = ailment.stop(None).why;
                away.push(format!("{}: {}", host.name, why.message));
                hint = why.hint;
            }
        }
    }
    // A leaked token is dropped where that can be done; one that is down comes last, and the rotation waits for it.
    if mode == Mode::RevokeNow && away.len() < control_plane(inventory).count() {
        remarks.append(&mut away);
    }
    if !away.is_empty() {
        return Err(Refusal::found("apiserver_not_ready", faults("not every kube-apiserver is ready", &away), hint));
    }
    if strange.is_empty() {
        return Ok(remarks);
    }
    let hint = "restart kube-apiserver there: it reads token.csv only at its start; check its --token-auth-file";
    Err(Refusal::found("token_unknown", faults("not every kube-apiserver knows the token in use", &strange), hint))
}

/// What Secrets ask for besides, in kube-system.
const SECRET_ACTIONS: [Action; 3] = [
    Action { verb: "list", group: "", resource: "secrets", subresource: "", name: "" },
    Action { verb: "create", group: "", resource: "secrets", subresource: "", name: "" },
    Action { verb: "delete", group: "", resource: "secrets", subresource: "", name: "" },
];

fn check_rights(clusters: &dyn Clusters, inventory: &Inventory, carrier: Carrier) -> Result<(), Refusal> {
    // One that is down may be let be: the others know as much.
    let mut cluster = None;
    for host in control_plane(inventory) {
        let asked = clusters.at(&host.apiserver).map_err(|e| of_cluster(&e))?;
        let answers = asked.readyz().is_ok();
        cluster = Some(asked);
        if answers {
            break;
        }
    }
    let Some(cluster) = cluster else { return Ok(()) };
    let secrets: &[Action] = if carrier == Carrier::TokenFile { &[] } else { &SECRET_ACTIONS };
    let lacking = find_lacking(cluster.as_ref(), TO_APPROVE.iter().chain(secrets)).map_err(|e| of_cluster(&e))?;
    if lacking.is_empty() {
        return Ok(());
    }
    let hint = "name an admin's kubeconfig with --kubeconfig";
    Err(Refusal::found("api_forbidden", faults("our rights in the cluster do not reach", &lacking), hint))
}

fn of_cluster(error: &cluster::Error) -> Refusal {
    Refusal::found(error.code(), error.to_string(), error.hint())
}

pub(super) fn faults(heading: &str, each: &[String]) -> String {
    each.iter().fold(format!("{heading}:"), |text, line| text + "\n  " + line)
}
