//! Hosts that show each other's host key, found when all were examined: by the install's own rule, one machine under two
//! names fails where it would be written twice, and is warned of where the second time would find nothing to do.

use super::{
    HostHealth,
    check::{Check, Status, Verdict, worst},
};
use crate::{
    bundle::{Bundle, HostFile},
    digest::Digest,
    remote::{
        Error,
        installer::{FileState, examine::Examination},
    },
    workflow::{
        report::TwinKind,
        twins::{Identity, find_twins},
    },
};

pub(super) const NAME: &str = "twin";
pub(super) const HINT: &str = "give each machine host keys of its own (`ssh-keygen -A` after removing the old ones)";

/// What a host showed of itself.
pub(super) struct Shown {
    identity: Identity,
    /// Nothing would be done there.
    is_complete: bool,
    /// What it holds at each place.
    held: Vec<(String, Option<Digest>)>,
}

impl Shown {
    pub fn by(examination: Examination) -> Self {
        let files = examination.view.map(|view| view.files).unwrap_or_default();
        Self {
            identity: Identity::new(examination.host_key, examination.machine),
            is_complete: !files.is_empty() && files.iter().all(|file| file.state == FileState::Matches),
            held: files.iter().map(|file| (file.path.clone(), file.sha256())).collect(),
        }
    }
}

/// Says in the findings of each host whose twin it is, if it is one.
pub(super) fn compare(bundles: &[Bundle], results: &mut [Option<(HostHealth, Option<Shown>)>]) {
    let shown = |result: &Option<(HostHealth, Option<Shown>)>| Some(result.as_ref()?.1.as_ref()?.identity.clone());
    let identities: Vec<Option<Identity>> = results.iter().map(shown).collect();
    for (index, twin) in find_twins(bundles, &identities).into_iter().enumerate() {
        let Some(twin) = twin else { continue };
        let other = bundles.iter().position(|bundle| bundle.host.name.as_str() == twin.host);
        let verdict = match twin.kind {
            TwinKind::SameHostKey => Verdict::warn(format!("it shows the host key of {}", twin.host)),
            TwinKind::SameMachine if other.is_some_and(|other| is_due_twice(bundles, results, index, other)) => {
                let error = Error::SameMachine { name: twin.host };
                Verdict::fail(error.to_string()).code(error.code()).hint(error.hint())
            }
            TwinKind::SameMachine => {
                let hint = Error::SameMachine { name: String::new() }.hint();
                Verdict::warn(format!("it shows the host key and the machine-id of {}", twin.host)).hint(hint)
            }
        };
        if let Some(Some((health, _))) = results.get_mut(index) {
            let finding = health.checks.iter_mut().find(|finding| finding.check == NAME);
            if let Some(finding) = finding.filter(|finding| finding.status == Status::Ok) {
                *finding = Check { name: NAME, hint: HINT, run: () }.finding(verdict);
            }
            health.status = worst(&health.checks);
        }
    }
}

/// Whether an install of both would find something due on the second: they are to hold different files, or hold different
/// ones now, and so are two machines.
fn is_due_twice(bundles: &[Bundle], results: &[Option<(HostHealth, Option<Shown>)>], one: usize, other: usize) -> bool {
    let shown = |index: usize| results.get(index)?.as_ref()?.1.as_ref();
    let (Some(first), Some(second)) = (shown(one), shown(other)) else { return false };
    let wanted = |index: usize| {
        let file = |file: &HostFile| (file.path.clone(), file.sha256);
        bundles.get(index).map(|bundle| bundle.files.iter().map(file).collect::<Vec<_>>())
    };
    !first.is_complete && (wanted(one) != wanted(other) || first.held != second.held)
}
