//! token.csv in each stage, out of the one file that has both tokens: so every set that hosts may hold can be made again
//! byte for byte, whichever of them was written last. A token that the cluster keeps in a Secret has a row there too, with
//! the user and groups that kube-apiserver gives its holders; it is never a row of token.csv.

use super::{Carrier, NodeToken, Record, Tokens, Which};
use crate::token::{BootstrapToken, Row, TokenFile};
use std::collections::BTreeMap;

impl Record {
    /// token.csv as it is in this stage; `both` has the rows of all users and both tokens of each pair.
    ///
    /// `None` where `both` lacks one of them, and where there is no token.csv.
    #[must_use]
    pub fn token_file(&self, both: &TokenFile) -> Option<TokenFile> {
        let (old, new) = (self.all_tokens(both, Which::Old)?, self.all_tokens(both, Which::New)?);
        let rows = match self.carrier() {
            Carrier::TokenFile => both.clone(),
            Carrier::Migration => both.without_tokens(&new),
            Carrier::Secrets => return None,
        };
        Some(match self.tokens() {
            Tokens::Both => rows,
            Tokens::Only(Which::Old) => rows.without_tokens(&new),
            Tokens::Only(Which::New) => rows.without_tokens(&old),
        })
    }

    /// The row of one of the two tokens that it is known by.
    #[must_use]
    pub fn row<'a>(&self, both: &'a TokenFile, which: Which) -> Option<&'a Row> {
        let wanted = self.fingerprint(which);
        both.rows().iter().find(|row| row.fingerprint() == wanted)
    }

    /// One of these two tokens.
    #[must_use]
    pub fn token(&self, both: &TokenFile, which: Which) -> Option<BootstrapToken> {
        BootstrapToken::from_secret(self.row(both, which)?.token.clone()).ok()
    }

    /// Every token that it takes out of use, or into it; the one it is known by first.
    #[must_use]
    pub fn all_tokens(&self, both: &TokenFile, which: Which) -> Option<Vec<BootstrapToken>> {
        let rows = both.by_fingerprint();
        let of_nodes = self.nodes.values().filter_map(|pair| pair.of(which)).map(|token| token.fingerprint);
        let mut wanted = vec![self.fingerprint(which)];
        wanted.extend(of_nodes.filter(|own| *own != self.fingerprint(which)));
        let token = |fingerprint| BootstrapToken::from_secret(rows.get(&fingerprint)?.token.clone()).ok();
        wanted.into_iter().map(token).collect()
    }

    /// The nodes' own tokens with those that change as they are to be; `stored` is as they are now.
    #[must_use]
    pub fn node_tokens(&self, stored: &BTreeMap<String, NodeToken>, which: Which) -> BTreeMap<String, NodeToken> {
        let mut nodes = stored.clone();
        for (node, pair) in &self.nodes {
            match pair.of(which) {
                Some(token) => drop(nodes.insert(node.clone(), token)),
                None => drop(nodes.remove(node)),
            }
        }
        nodes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        rotation::{Mode, NodePair, SecretPair, Stage},
        secret::ExposeSecret,
        token::{SecretTerms, parse_token_file},
    };
    use jiff::Timestamp;

    const BEFORE: &str =
        "aaaa,monitor,7\nold-token,kubelet-bootstrap,10001,\"system:kubelet-bootstrap\"\nbbbb,backup,8\n";

    const ROW: &str = "new-token,kubelet-bootstrap,10001,\"system:kubelet-bootstrap\"\n";

    fn rotation() -> (Record, TokenFile) {
        let (old, new): (BootstrapToken, BootstrapToken) = ("old-token".parse().unwrap(), "new-token".parse().unwrap());
        let both = parse_token_file(format!("{BEFORE}{ROW}").as_bytes()).unwrap();
        let now = Timestamp::UNIX_EPOCH;
        (Record::begin("run", (old.fingerprint(), now), new.fingerprint(), now), both)
    }

    fn text(record: &Record, both: &TokenFile) -> String {
        record.token_file(both).unwrap().render().expose_secret().to_owned()
    }

    #[test]
    fn rows_of_others_stay_where_they_are_and_an_abort_gives_back_every_byte() {
        let (record, both) = rotation();
        assert_eq!(text(&record, &both), format!("{BEFORE}{ROW}"));
        assert_eq!(text(&record.aborted().unwrap(), &both), BEFORE);
        let retired = Record { stage: Stage::Retire, ..record.clone() };
        assert_eq!(text(&retired, &both), format!("aaaa,monitor,7\nbbbb,backup,8\n{ROW}"));
        assert_eq!(text(&Record { mode: Mode::RevokeNow, ..record }, &both), text(&retired, &both));
    }

    #[test]
    fn a_migration_takes_only_our_row_out_of_token_csv_and_an_abort_gives_it_back() {
        let (record, both) = rotation();
        let terms = SecretTerms { id: "abcdef".into(), expiration: Timestamp::UNIX_EPOCH };
        let pair = |old| Some(SecretPair { old, new: terms.clone() });
        let record = Record { secrets: pair(None), ..record };
        assert_eq!(record.carrier(), Carrier::Migration);
        assert_eq!(text(&record, &both), BEFORE);
        assert_eq!(text(&record.aborted().unwrap(), &both), BEFORE);
        let retired = Record { stage: Stage::Retire, ..record.clone() };
        assert_eq!(text(&retired, &both), "aaaa,monitor,7\nbbbb,backup,8\n");
        let secrets = Record { secrets: pair(Some(terms.clone())), ..record };
        assert_eq!((secrets.carrier(), secrets.token_file(&both).is_none()), (Carrier::Secrets, true));
        let written = serde_json::to_string(&secrets).unwrap();
        assert_eq!(serde_json::from_str::<Record>(&written).unwrap(), secrets);
    }

    #[test]
    fn tokens_of_nodes_own_come_and_go_with_the_shared_one() {
        let both = "s-old,u,1\na-old,u:a,1:a\nz,z,9\ns-new,u,1\na-new,u:a,1:a\nb-new,u:b,1:b\n";
        let both = parse_token_file(both.as_bytes()).unwrap();
        let now = Timestamp::UNIX_EPOCH;
        let print = |token: &str| token.parse::<BootstrapToken>().unwrap().fingerprint();
        let own = |token: &str| Some(NodeToken { fingerprint: print(token), created: now });
        // One had a token of its own before, the other gets its first.
        let nodes = BTreeMap::from([
            ("a".to_owned(), NodePair { old: own("a-old"), new: own("a-new") }),
            ("b".to_owned(), NodePair { old: None, new: own("b-new") }),
        ]);
        let record = Record { nodes, ..Record::begin("run", (print("s-old"), now), print("s-new"), now) };
        assert_eq!(text(&record, &both), both.render().expose_secret());
        assert_eq!(text(&record.aborted().unwrap(), &both), "s-old,u,1\na-old,u:a,1:a\nz,z,9\n");
        let retired = Record { stage: Stage::Retire, ..record.clone() };
        assert_eq!(text(&retired, &both), "z,z,9\ns-new,u,1\na-new,u:a,1:a\nb-new,u:b,1:b\n");
        // Of a node alone: all other rows stay.
        let nodes = BTreeMap::from([("a".to_owned(), NodePair { old: own("a-old"), new: own("a-new") })]);
        let alone = Record::begin("run", (print("a-old"), now), print("a-new"), now).revoked();
        let alone = Record { of: Some("a".into()), nodes, ..alone };
        assert_eq!(text(&alone, &both), "s-old,u,1\nz,z,9\ns-new,u,1\na-new,u:a,1:a\nb-new,u:b,1:b\n");
        let stored = BTreeMap::from([("a".to_owned(), own("a-old").unwrap()), ("c".to_owned(), own("c").unwrap())]);
        let named = |which| -> Vec<_> { record.node_tokens(&stored, which).into_keys().collect() };
        assert_eq!(
            (named(Which::Old), named(Which::New)),
            (vec!["a".into(), "c".into()], vec!["a".into(), "b".into(), "c".into()])
        );
        let written = serde_json::to_string(&alone).unwrap();
        assert_eq!(serde_json::from_str::<Record>(&written).unwrap(), alone);
        assert!(record.token_file(&parse_token_file(b"s-old,u,1\ns-new,u,1\n").unwrap()).is_none());
    }

    #[test]
    fn without_one_of_the_tokens_there_is_no_file() {
        let (record, both) = rotation();
        let new = record.token(&both, Which::New).unwrap();
        assert!(record.token_file(&both.without_tokens(&[new])).is_none());
    }
}
