//! The values of one `[[hosts]]` block that need neither defaults nor ranges: connection, roles, labels.
//!
//! As in `settings`, a value comes back in any case, a stand-in where something was reported.

use super::{
    access::SSH_ONLY,
    diagnostics::{Mistake, Mistakes, did_you_mean, quoted},
    model::{Role, Roles},
    names::{check_label_key, check_label_value},
    reader::{Found, Reader},
};
use std::collections::BTreeMap;

/// How a host is reached, before it is known where.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Ssh,
    Local,
}

/// The way, and that the block sets no keys of the other way.
pub(super) fn read_way(block: &Reader<'_>, mistakes: &mut Mistakes<'_>) -> Way {
    let way = match block.text("connection") {
        None => block.place("connection").is_none().then_some(Way::Ssh),
        Some(Found { value: "ssh", .. }) => Some(Way::Ssh),
        Some(Found { value: "local", .. }) => Some(Way::Local),
        Some(Found { value, at }) => {
            let message = format!("connection must be \"ssh\" or \"local\", not {}", quoted(value));
            mistakes.report(at, Mistake::new(message).maybe_hint(did_you_mean(value, ["ssh", "local"])));
            None
        }
    };
    let misplaced: &[_] = match way {
        Some(Way::Ssh) => &["root"],
        Some(Way::Local) => &SSH_ONLY,
        None => &[],
    };
    for key in misplaced {
        let Some(at) = block.place(key) else { continue };
        let mistake = match way {
            Some(Way::Local) => Mistake::new(format!("{key} is for hosts reached over ssh, this one is local"))
                .hint(format!("remove {key}, or connection = \"local\"")),
            _ => Mistake::new(format!("{key} is for local hosts")).hint("add connection = \"local\", or set directory"),
        };
        mistakes.report(at, mistake);
    }
    way.unwrap_or(Way::Ssh)
}

pub(super) fn read_roles(block: &Reader<'_>, mistakes: &mut Mistakes<'_>) -> Roles {
    if let Some(at) = block.empty_list("roles") {
        let mistake = Mistake::new("roles is empty: the host would get no files");
        mistakes.report(at, mistake.hint("write roles = [\"node\"]"));
    }
    let mut roles = Vec::new();
    for text in block.texts("roles").map_or_else(Vec::new, |list| list.value) {
        let role = text.value.parse::<Role>();
        let role = role.map_err(|e| Mistake::new(format!("unknown role {}", quoted(text.value))).hint(e.hint));
        roles.extend(mistakes.keep(text.at, role));
    }
    // After a mistake a host counts as everything, so that no other key seems out of place.
    let any = if block.place("roles").is_none() { &[Role::Node][..] } else { &[Role::ControlPlane, Role::Node] };
    Roles::new(if roles.is_empty() { any } else { &roles }).unwrap_or(Roles::NODE)
}

pub(super) fn read_labels(block: &Reader<'_>, mistakes: &mut Mistakes<'_>) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    for (key, value) in block.pairs("labels") {
        if let Err(error) = check_label_key(key.value) {
            mistakes.report(key.at, Mistake::new(format!("bad label name {}: {error}", quoted(key.value))));
        }
        if let Err(error) = check_label_value(value.value) {
            mistakes.report(value.at, Mistake::new(format!("bad label value {}: {error}", quoted(value.value))));
        }
        labels.insert(key.value.to_owned(), value.value.to_owned());
    }
    labels
}
