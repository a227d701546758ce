//! token.csv in each stage, out of the one file that has both tokens: so every set that hosts may hold can be made again
//! byte for byte, whichever of them was written last.

use super::{Record, Tokens, Which};
use crate::token::{BootstrapToken, TokenFile};

impl Record {
    /// token.csv as it is in this stage; `both` has the rows of all users and both tokens.
    ///
    /// `None` where `both` lacks one of them.
    #[must_use]
    pub fn token_file(&self, both: &TokenFile) -> Option<TokenFile> {
        let (old, new) = (self.token(both, Which::Old)?, self.token(both, Which::New)?);
        Some(match self.tokens() {
            Tokens::Both => both.clone(),
            Tokens::Only(Which::Old) => both.without_token(&new),
            Tokens::Only(Which::New) => both.without_token(&old),
        })
    }

    /// One of the two tokens.
    #[must_use]
    pub fn token(&self, both: &TokenFile, which: Which) -> Option<BootstrapToken> {
        let wanted = self.fingerprint(which);
        let row = both.rows().iter().find(|row| row.fingerprint() == wanted)?;
        BootstrapToken::from_secret(row.token.clone()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        rotation::{Mode, Stage},
        secret::ExposeSecret,
        token::parse_token_file,
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
    fn without_one_of_the_tokens_there_is_no_file() {
        let (record, both) = rotation();
        let new = record.token(&both, Which::New).unwrap();
        assert!(record.token_file(&both.without_token(&new)).is_none());
    }
}
