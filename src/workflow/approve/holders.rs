//! Who holds our bootstrap tokens, and for which nodes each may ask: a token that nodes share for all of them, a node's own
//! for that node alone.

use super::{Requester, Scope};
use crate::{
    inventory::{Inventory, Role, TokenForm, TokenSettings},
    rotation::{Mode, Record, Which},
    store::{State, TokenRecord},
    token::{BootstrapTokenSecret, SecretTerms, node_holder},
};
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeSet;

/// Of token.csv as the inventory names them, and of either form as they were when the tokens were made.
#[must_use]
pub fn token_holders(inventory: &Inventory, state: Option<&State>) -> Vec<Requester> {
    let stored = state.and_then(|state| state.token.as_ref()).map(TokenRecord::holder);
    // Holders of a Secret are known by its id alone, which the record has.
    let ours = Some(inventory.token.clone()).filter(|_| inventory.token_form == TokenForm::Csv);
    let mut shared: Vec<TokenSettings> = ours.into_iter().collect();
    shared.extend(stored.filter(|stored| shared.first() != Some(stored)));
    for terms in state.and_then(|state| state.rotation.as_ref()).into_iter().flat_map(secrets_of) {
        let holder = BootstrapTokenSecret::holder_of(&terms.id, &inventory.token.groups);
        if shared.iter().all(|known| known.user != holder.user) {
            shared.push(holder);
        }
    }
    let of_nodes = of_nodes(&shared, &nodes_with_own(state));
    let distrust = Distrust::of(state);
    let all = shared_holders(inventory, state, &shared).into_iter().chain(of_nodes);
    all.map(|requester| Requester { since: distrust.until(&requester.username), ..requester }).collect()
}

/// Users whose token was revoked, or is being.
struct Distrust<'s> {
    stored: Option<&'s TokenRecord>,
    /// Under way, and until when that goes; `None`: an apiserver may know the old token still.
    revoked: Option<(BTreeSet<String>, Option<Timestamp>)>,
}

impl<'s> Distrust<'s> {
    fn of(state: Option<&'s State>) -> Self {
        let stored = state.and_then(|state| state.token.as_ref());
        let rotation = state.and_then(|state| state.rotation.as_ref()).filter(|record| record.mode == Mode::RevokeNow);
        let revoked = rotation.zip(stored).map(|(record, own)| (revoked_users(record, own), record.distrusted_until));
        Self { stored, revoked }
    }

    /// The first moment at which a request of this user is its own.
    fn until(&self, user: &str) -> Timestamp {
        // Times are whole seconds there.
        let after = |line: Timestamp| line.saturating_add(SignedDuration::from_secs(1)).unwrap_or(line);
        match &self.revoked {
            Some((users, line)) if users.contains(user) => line.map_or(Timestamp::MAX, after),
            _ => self.stored.and_then(|own| own.distrusted.get(user)).map_or(Timestamp::MIN, |line| after(*line)),
        }
    }
}

/// The users whose tokens a rotation drops.
#[must_use]
pub fn revoked_users(record: &Record, own: &TokenRecord) -> BTreeSet<String> {
    let shared = own.holder();
    let of_nodes = record.nodes.keys().map(|node| node_holder(&shared, node).user);
    of_nodes.chain((!record.is_of_some_nodes()).then(|| shared.user.clone())).collect()
}

/// Holders of a token that nodes share; none where every node has had one of its own for long enough.
#[must_use]
pub fn shared_holders(inventory: &Inventory, state: Option<&State>, holders: &[TokenSettings]) -> Vec<Requester> {
    let Some(scope) = shared_scope(inventory, state) else { return Vec::new() };
    holders.iter().map(|holder| Requester { scope: scope.clone(), ..Requester::of_settings(holder) }).collect()
}

/// Of a rotation: nodes may ask with either.
fn secrets_of(record: &Record) -> impl Iterator<Item = &SecretTerms> {
    [Which::Old, Which::New].into_iter().filter_map(|which| record.secret_of(which))
}

fn of_nodes(shared: &[TokenSettings], nodes: &BTreeSet<&str>) -> Vec<Requester> {
    let own = |holder, node: &&str| Requester {
        scope: Scope::Only(BTreeSet::from([(*node).to_owned()])),
        ..Requester::of_settings(&node_holder(holder, node))
    };
    shared.iter().flat_map(|holder| nodes.iter().map(move |node| own(holder, node))).collect()
}

/// The nodes that hold a token of their own, or may: in a rotation, before it or after it.
fn nodes_with_own(state: Option<&State>) -> BTreeSet<&str> {
    let own = state.and_then(|state| state.token.as_ref()).into_iter().flat_map(|token| token.nodes.keys());
    let changing = state.and_then(|state| state.rotation.as_ref()).into_iter().flat_map(|record| record.nodes.keys());
    own.chain(changing).map(String::as_str).collect()
}

/// `None`: no node has the shared token.
fn shared_scope(inventory: &Inventory, state: Option<&State>) -> Option<Scope> {
    let own = nodes_with_own(state);
    if own.is_empty() {
        return Some(Scope::AllNodes);
    }
    let all = inventory.hosts.iter().filter(|host| host.roles.contains(Role::Node)).map(|host| host.name.as_str());
    let mut shares: BTreeSet<String> = all.filter(|node| !own.contains(node)).map(str::to_owned).collect();
    let pairs = state.and_then(|state| state.rotation.as_ref()).into_iter().flat_map(|record| &record.nodes);
    let halves = pairs.filter(|(_, pair)| pair.old.is_none() || pair.new.is_none());
    shares.extend(halves.map(|(node, _)| node.clone()));
    if shares.is_empty() { None } else { Some(Scope::Only(shares)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        digest::Digest,
        inventory::{Location, parse_inventory},
        rotation::{NodePair, NodeToken, SecretPair},
    };
    use std::collections::BTreeMap;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn inventory(token: &str) -> Inventory {
        let host = |name: &str, roles: &str| {
            format!("[[hosts]]\nname = \"{name}\"\nconnection = \"local\"\nroot = \"{name}\"\nroles = [{roles}]\n")
        };
        let hosts = host("cp", "\"control-plane\"") + &host("a", "\"node\"") + &host("b", "\"node\"");
        let text = format!("[cluster]\nserver = \"https://10.0.0.1:6443\"\n[token]\n{token}\n{hosts}");
        let location = Location { path: "i.toml".into(), folder: "/".into(), home: None };
        parse_inventory(&text, &location).unwrap()
    }

    fn own(token: &str) -> NodeToken {
        NodeToken { fingerprint: Digest::of(token).fingerprint(), created: NOW }
    }

    fn state(nodes: &[&str], rotation: Option<Record>) -> State {
        let nodes = nodes.iter().map(|node| ((*node).to_owned(), own(node))).collect();
        let token = TokenRecord {
            fingerprint: own("shared").fingerprint,
            user: "kubelet-bootstrap".into(),
            uid: "10001".into(),
            groups: vec!["system:kubelet-bootstrap".into()],
            created: NOW,
            secret: None,
            other_rows: Vec::new(),
            nodes,
            distrusted: BTreeMap::new(),
        };
        State { token: Some(token), rotation, ..State::default() }
    }

    fn begun(nodes: BTreeMap<String, NodePair>) -> Record {
        Record { nodes, ..Record::begin("run", (own("old").fingerprint, NOW), own("new").fingerprint, NOW) }
    }

    /// Users, and for whom they may ask: `*` for every node.
    fn found(inventory: &Inventory, state: &State) -> Vec<(String, String)> {
        let scope = |requester: &Requester| match &requester.scope {
            Scope::AllNodes => "*".to_owned(),
            Scope::Only(nodes) => nodes.iter().cloned().collect::<Vec<_>>().join(" "),
        };
        let holders = token_holders(inventory, Some(state));
        holders.iter().map(|requester| (requester.username.clone(), scope(requester))).collect()
    }

    #[track_caller]
    fn assert_found(inventory: &Inventory, state: &State, expected: &[(&str, &str)]) {
        let found = found(inventory, state);
        assert_eq!(found.iter().map(|(user, scope)| (user.as_str(), scope.as_str())).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_shared_token_asks_for_all_and_an_own_one_for_its_node() {
        let shared = inventory("");
        assert_found(&shared, &state(&[], None), &[("kubelet-bootstrap", "*")]);
        let own = inventory("per_node = true");
        let each = [("kubelet-bootstrap:a", "a"), ("kubelet-bootstrap:b", "b")];
        assert_found(&own, &state(&["a", "b"], None), &each);
        // A node without one has nothing but the shared token.
        let expected = [("kubelet-bootstrap", "b"), ("kubelet-bootstrap:a", "a")];
        assert_found(&own, &state(&["a"], None), &expected);
    }

    #[test]
    fn while_nodes_come_to_own_tokens_either_is_taken() {
        let pair = |token: &str| NodePair { old: None, new: Some(own(token)) };
        let record = begun(BTreeMap::from([("a".to_owned(), pair("a")), ("b".to_owned(), pair("b"))]));
        let each = [("kubelet-bootstrap", "a b"), ("kubelet-bootstrap:a", "a"), ("kubelet-bootstrap:b", "b")];
        let inventory = inventory("per_node = true");
        for stored in [&[][..], &["a", "b"]] {
            assert_found(&inventory, &state(stored, Some(record.clone())), &each);
        }
    }

    #[test]
    fn what_was_asked_with_a_revoked_token_is_left_also_when_all_is_over() {
        let inventory = inventory("per_node = true");
        let line = Timestamp::from_second(1_000).unwrap();
        let since = |state: &State| -> Vec<Timestamp> {
            token_holders(&inventory, Some(state)).iter().map(|requester| requester.since).collect()
        };
        let pair = NodePair { old: Some(own("a")), new: Some(own("b")) };
        let record = Record { of: Some("a".into()), ..begun(BTreeMap::from([("a".to_owned(), pair)])).revoked() };
        let mut under_way = state(&["a", "b"], Some(record));
        assert_eq!(since(&under_way), [Timestamp::MAX, Timestamp::MIN]);
        if let Some(record) = &mut under_way.rotation {
            record.distrusted_until = Some(line);
        }
        let after = Timestamp::from_second(1_001).unwrap();
        assert_eq!(since(&under_way), [after, Timestamp::MIN]);
        let mut over = state(&["a", "b"], None);
        if let Some(token) = &mut over.token {
            token.distrusted.insert("kubelet-bootstrap:a".into(), line);
        }
        assert_eq!(since(&over), [after, Timestamp::MIN]);
    }

    #[test]
    fn of_two_secrets_both_holders_may_ask() {
        let terms = |id: &str| SecretTerms { id: id.into(), expiration: NOW };
        let pair = SecretPair { old: Some(terms("aaaaaa")), new: terms("bbbbbb") };
        let record = Record { secrets: Some(pair), ..begun(BTreeMap::new()) };
        let mut state = state(&[], Some(record));
        if let Some(token) = &mut state.token {
            (token.user, token.secret) = ("system:bootstrap:aaaaaa".into(), Some(terms("aaaaaa")));
        }
        let expected = [("system:bootstrap:aaaaaa", "*"), ("system:bootstrap:bbbbbb", "*")];
        assert_found(&inventory("form = \"secret\""), &state, &expected);
    }
}
