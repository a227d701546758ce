//! token.csv in each stage, out of the one file that has both tokens: so every set that hosts may hold can be made again
//! byte for byte, whichever of them was written last. A token that the cluster keeps in a Secret has a row there too, with
//! the user and groups that kube-apiserver gives its holders; it is never a row of token.csv.

use super::{Carrier, Record, Tokens, Which};
use crate::token::{BootstrapToken, Row, TokenFile};

impl Record {
    /// token.csv as it is in this stage; `both` has the rows of all users and both tokens.
    ///
    /// `None` where `both` lacks one of them, and where there is no token.csv.
    #[must_use]
    pub fn token_file(&self, both: &TokenFile) -> Option<TokenFile> {
        let (old, new) = (self.token(both, Which::Old)?, self.token(both, Which::New)?);
        let rows = match self.carrier() {
            Carrier::TokenFile => both.clone(),
            Carrier::Migration => both.without_token(&new),
            Carrier::Secrets => return None,
        };
        Some(match self.tokens() {
            Tokens::Both => rows,
            Tokens::Only(Which::Old) => rows.without_token(&new),
            Tokens::Only(Which::New) => rows.without_token(&old),
        })
    }

    /// The row of one of the two tokens.
    #[must_use]
    pub fn row<'a>(&self, both: &'a TokenFile, which: Which) -> Option<&'a Row> {
        let wanted = self.fingerprint(which);
        both.rows().iter().find(|row| row.fingerprint() == wanted)
    }

    /// One of the two tokens.
    #[must_use]
    pub fn token(&self, both: &TokenFile, which: Which) -> Option<BootstrapToken> {
        BootstrapToken::from_secret(self.row(both, which)?.token.clone()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        rotation::{Mode, SecretPair, Stage},
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
    fn without_one_of_the_tokens_there_is_no_file() {
        let (record, both) = rotation();
        let new = record.token(&both, Which::New).unwrap();
        assert!(record.token_file(&both.without_token(&new)).is_none());
    }
}
