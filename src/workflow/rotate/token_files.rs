//! token.csv on the control-plane hosts before a rotation: every host can be worked on, and has the stored one. What differs
//! is told by users and fingerprints.

use super::preflight::{Refusal, control_plane, faults};
use crate::{
    bundle::{self, CredentialSet, FileKind, build_bundles},
    inventory::{Host, Inventory},
    remote::installer::{self, FileState, FileView, ForeignPolicy, Found},
    rotation::Mode,
    workflow::distribute::Fleet,
};
use std::collections::HashSet;

/// All can be reached, and all have the stored token.csv.
///
/// Where a leaked token is dropped, that is done where it can be: gives what is said of the others, for which the rotation
/// then waits.
pub(super) fn check_hosts(
    fleet: &Fleet,
    inventory: &Inventory,
    set: &CredentialSet,
    mode: Mode,
) -> Result<Vec<String>, Refusal> {
    let hosts: Vec<&Host> = control_plane(inventory).collect();
    let unexpected = |e: bundle::Error| Refusal::found("unexpected", e.to_string(), "please report it");
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
    let is_borne = mode == Mode::RevokeNow && away.len() < hosts.len();
    if !away.is_empty() && !is_borne {
        return Err(Refusal::found("host_unreachable", faults("control-plane hosts cannot be worked on", &away), hint));
    }
    if differing.is_empty() {
        return Ok(away);
    }
    let hint = "`kubemint apply --limit role:control-plane` installs the stored one (kube-apiserver reads it at its next \
                start); rows that only a host has are taken over with `kubemint token merge`";
    Err(Refusal::found("token_file_differs", faults("token.csv is not the same everywhere", &differing), hint))
}

fn difference(host: &Host, file: &FileView, set: &CredentialSet) -> Option<String> {
    let what = match &file.state {
        FileState::Matches | FileState::WrongAttributes => return None,
        FileState::Missing => "it is missing".to_owned(),
        FileState::Blocked(error) => error.to_string(),
        FileState::Differs => match &file.found {
            Found::Regular(regular) => {
                let rows = regular.facts.token_rows.iter();
                let there: Vec<_> = rows
                    .map(|row| match row.token {
                        Some(token) => format!("{}={token}", row.user),
                        None => format!("{}=another token", row.user),
                    })
                    .collect();
                let ours: Vec<_> =
                    set.token_rows().into_iter().map(|(user, token)| format!("{user}={token}")).collect();
                format!("it has {}; ours has {}", listed(&there, &ours), listed(&ours, &there))
            }
            _ => "it differs".to_owned(),
        },
    };
    Some(format!("{}: {what}", host.name))
}

/// The rows; of many, a few that the other side has not.
fn listed(rows: &[String], others: &[String]) -> String {
    const MOST: usize = 8;
    if rows.len() <= MOST {
        return rows.join(" ");
    }
    let others: HashSet<&String> = others.iter().collect();
    let own: Vec<&str> = rows.iter().filter(|row| !others.contains(row)).map(String::as_str).take(MOST).collect();
    format!("{} rows, among them {}", rows.len(), own.join(" "))
}
