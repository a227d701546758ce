//! What must hold before a rotation begins: nothing is changed here, and every fault is said at once.

use super::tokens::whoami;
use crate::{
    bundle::{FileKind, build_bundles},
    cluster::{self, Action, Clusters},
    inventory::{Host, Inventory, KubeletRestart, Role, TokenForm},
    remote::installer::{self, FileState, FileView, ForeignPolicy, Found},
    rotation::{Mode, Record},
    secret::Secret,
    store::{Snapshot, StoredFile},
    token::{BootstrapToken, TokenFile},
    workflow::{distribute::Fleet, stored::read_stored_set},
};
use jiff::SignedDuration;

/// A rotation that may begin.
pub struct Plan {
    pub record: Record,
    /// token.csv with both tokens.
    pub(super) both: Secret,
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
    fn found(code: &'static str, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: hint.into(), is_bad_input: false }
    }

    fn input(code: &'static str, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { is_bad_input: true, ..Self::found(code, message, hint) }
    }
}

/// Whether the inventory says enough to rotate the token in token.csv.
///
/// # Errors
/// [`Refusal`], of bad input.
pub fn check_inventory(inventory: &Inventory) -> Result<(), Refusal> {
    let services = &inventory.services;
    if inventory.token_form != TokenForm::Csv {
        let what = format!("token.form is {:?}", inventory.token_form.name());
        return Err(Refusal::input("token_form", what, "only tokens in token.csv are rotated this way"));
    }
    if inventory.token_per_node {
        return Err(Refusal::input("token_per_node", "token.per_node is set", "only one token for all is rotated"));
    }
    if services.kube_apiserver.is_none() {
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
    Ok(())
}

/// Looks at every control-plane host, and mints the new token.
///
/// # Errors
/// [`Refusal`]: a host or an apiserver is not as it must be.
pub fn plan_rotation(
    fleet: &Fleet,
    clusters: &dyn Clusters,
    inventory: &Inventory,
    snapshot: &Snapshot,
    (id, mode, grace): (&str, Mode, Option<SignedDuration>),
) -> Result<Plan, Refusal> {
    let damaged = |what: String| Refusal::found("not_current", what, "run `kubemint generate`, which makes it again");
    let set = read_stored_set(inventory, snapshot).map_err(|e| damaged(e.to_string()))?;
    let own = snapshot.state.as_ref().and_then(|state| state.token.clone());
    let own = own.ok_or_else(|| damaged("there is no record of the token".into()))?;
    let text = snapshot.content(StoredFile::TokenCsv).ok_or_else(|| damaged("token.csv is missing".into()))?;
    let file = TokenFile::from_secret(text).map_err(|e| damaged(format!("token.csv: {e}")))?;
    if file.rows().len() - file.without_token(&set.token).rows().len() > 1 {
        let hint = "give each user a token of its own: `kubemint token lint` names the rows";
        return Err(Refusal::found("token_shared", "another row of token.csv has our token too", hint));
    }
    check_hosts(fleet, inventory, &set)?;
    check_apiservers(clusters, inventory, &set.token, &own.user, mode)?;
    check_rights(clusters, inventory)?;
    let failed = |e: crate::token::TokenError| Refusal::found("token", e.to_string(), e.hint().unwrap_or_default());
    let new = BootstrapToken::generate(fleet.entropy).map_err(failed)?;
    let both = file.with_row_at_end(&new, &inventory.token).map_err(failed)?.render();
    let record = Record::begin(id, (own.fingerprint, own.created), new.fingerprint(), fleet.clock.now());
    let record = match mode {
        Mode::Overlap => Record { grace, ..record },
        Mode::RevokeNow => record.revoked(),
    };
    Ok(Plan { record, both })
}

fn control_plane(inventory: &Inventory) -> impl Iterator<Item = &Host> {
    inventory.hosts.iter().filter(|host| host.roles.contains(Role::ControlPlane))
}

/// All can be reached, and all have the stored token.csv.
fn check_hosts(fleet: &Fleet, inventory: &Inventory, set: &crate::bundle::CredentialSet) -> Result<(), Refusal> {
    let hosts: Vec<&Host> = control_plane(inventory).collect();
    let unexpected = |e: crate::bundle::Error| Refusal::found("unexpected", e.to_string(), "please report it");
    let mut bundles = build_bundles(&hosts, set).map_err(unexpected)?;
    let (mut away, mut differing, mut hint) = (Vec::new(), Vec::new(), String::new());
    for bundle in &mut bundles {
        bundle.files.retain(|file| file.kind == FileKind::TokenCsv);
        let (host, files) = (bundle.host, &bundle.files);
        // Only looked at: what rows of others there are is to be said, too.
        match installer::probe_host(fleet.remote, host, files, ForeignPolicy::Replace, fleet.entropy) {
            Err(error) => {
                away.push(format!("{}: {} ({})", host.name, error, error.code()));
                hint = error.hint();
            }
            Ok(view) => differing.extend(view.files.iter().filter_map(|file| difference(host, file, set))),
        }
    }
    if !away.is_empty() {
        return Err(Refusal::found("host_unreachable", faults("control-plane hosts cannot be worked on", &away), hint));
    }
    if differing.is_empty() {
        return Ok(());
    }
    let hint = "`kubemint apply --limit role:control-plane` installs the stored one (kube-apiserver reads it at its next \
                start); rows that only a host has are taken over with `kubemint token merge`";
    Err(Refusal::found("token_file_differs", faults("token.csv is not the same everywhere", &differing), hint))
}

fn difference(host: &Host, file: &FileView, set: &crate::bundle::CredentialSet) -> Option<String> {
    let what = match &file.state {
        FileState::Matches | FileState::WrongAttributes => return None,
        FileState::Missing => "it is missing".to_owned(),
        FileState::Blocked(error) => error.to_string(),
        FileState::Differs => match &file.found {
            Found::Regular(regular) => {
                let there: Vec<_> =
                    regular.facts.token_rows.iter().map(|row| format!("{}={}", row.user, row.token)).collect();
                let ours: Vec<_> =
                    set.token_rows().into_iter().map(|(user, token)| format!("{user}={token}")).collect();
                format!("it has {}; ours has {}", there.join(" "), ours.join(" "))
            }
            _ => "it differs".to_owned(),
        },
    };
    Some(format!("{}: {what}", host.name))
}

/// All are ready, and know the token that goes.
fn check_apiservers(
    clusters: &dyn Clusters,
    inventory: &Inventory,
    old: &BootstrapToken,
    user: &str,
    mode: Mode,
) -> Result<(), Refusal> {
    let (mut away, mut strange, mut hint) = (Vec::new(), Vec::new(), String::new());
    for host in control_plane(inventory) {
        let cluster = clusters.at(&host.apiserver).map_err(|e| of_cluster(&e))?;
        if let Err(error) = cluster.readyz() {
            away.push(format!("{}: {error}", host.name));
            hint = error.hint();
            continue;
        }
        match whoami(cluster.as_ref(), old) {
            Ok(Some(found)) if found == user => {}
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
    if !away.is_empty() {
        return Err(Refusal::found("apiserver_not_ready", faults("not every kube-apiserver is ready", &away), hint));
    }
    if strange.is_empty() {
        return Ok(());
    }
    let hint = "restart kube-apiserver there: it reads token.csv only at its start; check its --token-auth-file";
    Err(Refusal::found("token_unknown", faults("not every kube-apiserver knows the token in use", &strange), hint))
}

/// What the switch and the approval ask for.
const ACTIONS: [Action; 4] = [
    Action { verb: "list", group: "", resource: "nodes", subresource: "", name: "" },
    Action { verb: "list", group: CERTIFICATES, resource: "certificatesigningrequests", subresource: "", name: "" },
    Action {
        verb: "update",
        group: CERTIFICATES,
        resource: "certificatesigningrequests",
        subresource: "approval",
        name: "",
    },
    Action {
        verb: "approve",
        group: CERTIFICATES,
        resource: "signers",
        subresource: "",
        name: "kubernetes.io/kube-apiserver-client-kubelet",
    },
];
const CERTIFICATES: &str = "certificates.k8s.io";

fn check_rights(clusters: &dyn Clusters, inventory: &Inventory) -> Result<(), Refusal> {
    let Some(host) = control_plane(inventory).next() else { return Ok(()) };
    let cluster = clusters.at(&host.apiserver).map_err(|e| of_cluster(&e))?;
    let mut lacking = Vec::new();
    for action in &ACTIONS {
        if !cluster.may(action).map_err(|e| of_cluster(&e))? {
            let below = if action.subresource.is_empty() { "" } else { "/" };
            lacking.push(format!("{} {}{below}{}", action.verb, action.resource, action.subresource));
        }
    }
    if lacking.is_empty() {
        return Ok(());
    }
    let hint = "name an admin's kubeconfig with --kubeconfig";
    Err(Refusal::found("api_forbidden", faults("our rights in the cluster do not reach", &lacking), hint))
}

fn of_cluster(error: &cluster::Error) -> Refusal {
    Refusal::found(error.code(), error.to_string(), error.hint())
}

fn faults(heading: &str, each: &[String]) -> String {
    each.iter().fold(format!("{heading}:"), |text, line| text + "\n  " + line)
}
