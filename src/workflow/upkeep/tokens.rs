//! Which token a host's files hold, by fingerprint.

use super::{Exchange, Seen};
use crate::{bundle::FileKind, digest::Fingerprint, workflow::survey::State};
use serde::Serialize;

/// Whose time a token is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Generation {
    /// The one to have: in a rotation the new one.
    Current,
    /// The one that a rotation under way takes out of use.
    Old,
    /// token.csv accepts both of these.
    Both,
    /// Another.
    Other,
    /// No file, or no token in it.
    Absent,
    /// It could not be read.
    Unknown,
}

/// A file and the generation of the token it holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TokenFileState {
    pub path: String,
    pub generation: Generation,
}

/// `None` for a file that holds no token.
pub(super) fn state_of(seen: &Seen<'_>, current: Fingerprint, exchange: Option<Exchange>) -> Option<TokenFileState> {
    let is_list = match seen.file.kind {
        FileKind::BootstrapKubeconfig => false,
        FileKind::TokenCsv => true,
        FileKind::KubeProxyKubeconfig | FileKind::CaCertificate => return None,
    };
    let held: Option<Vec<Fingerprint>> = match (seen.is_ours(), seen.facts()) {
        (true, _) if is_list => Some(seen.survey.wanted.rows.iter().filter_map(|row| row.token).collect()),
        (true, _) => Some(seen.survey.wanted.token.into_iter().collect()),
        (false, Some(facts)) if is_list => Some(facts.token_rows.iter().filter_map(|row| row.token).collect()),
        (false, Some(facts)) => Some(facts.token.into_iter().collect()),
        (false, None) => None,
    };
    let current = match exchange {
        Some(exchange) => exchange.new,
        // A node may have a token of its own.
        None => seen.survey.wanted.token.unwrap_or(current),
    };
    let generation = match held {
        None if seen.survey.state == State::Missing => Generation::Absent,
        None => Generation::Unknown,
        Some(held) => generation_of(&held, current, exchange.map(|exchange| exchange.old)),
    };
    Some(TokenFileState { path: seen.survey.path.clone(), generation })
}

fn generation_of(held: &[Fingerprint], current: Fingerprint, retiring: Option<Fingerprint>) -> Generation {
    let has = |token: Option<Fingerprint>| token.is_some_and(|token| held.contains(&token));
    match (has(Some(current)), has(retiring)) {
        (true, true) => Generation::Both,
        (true, false) => Generation::Current,
        (false, true) => Generation::Old,
        (false, false) if held.is_empty() => Generation::Absent,
        (false, false) => Generation::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;

    #[test]
    fn a_file_is_of_the_generation_of_what_it_holds() {
        let [new, old, other] = ["new", "old", "other"].map(|token| Digest::of(token).fingerprint());
        for (held, retiring, expected) in [
            (vec![new], None, Generation::Current),
            (vec![other, new], Some(old), Generation::Current),
            (vec![old, other, new], Some(old), Generation::Both),
            (vec![old, other], Some(old), Generation::Old),
            (vec![old], None, Generation::Other),
            (vec![other], Some(old), Generation::Other),
            (vec![], Some(old), Generation::Absent),
        ] {
            assert_eq!(generation_of(&held, new, retiring), expected, "{held:?} {retiring:?}");
        }
    }
}
