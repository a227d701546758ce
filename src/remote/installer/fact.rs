//! What a host tells of a file that differs: public values and fingerprints only, each held to its form.

use super::outcome::{Facts, TokenRow};
use crate::{
    digest::Fingerprint,
    secret::{redact_url, scrub},
};

/// As many rows of a token file as the script tells of.
const MOST_ROWS: usize = 50;

fn base64(value: &str) -> Option<String> {
    value.chars().all(|c| c.is_ascii_alphanumeric() || "+/=".contains(c)).then(|| value.to_owned())
}

pub(super) fn take_fact(facts: &mut Facts, name: &str, value: &str) -> Option<()> {
    match name {
        "server" => facts.server = Some(scrub(&redact_url(value))),
        "certificate" => facts.client_certificate = base64(value),
        "authority" => facts.certificate_authority = base64(value),
        "token" => facts.token = Some(parse_fingerprint(value)?),
        "row" => {
            let (token, user) = value.split_once(' ')?;
            let user = match user.split_once(' ')? {
                ("is", name) => scrub(name),
                ("other", fingerprint) => format!("another user {}", parse_fingerprint(fingerprint)?),
                _ => return None,
            };
            if facts.token_rows.len() < MOST_ROWS {
                facts.token_rows.push(TokenRow { token: parse_fingerprint(token)?, user });
            }
        }
        _ => return None,
    }
    Some(())
}

fn parse_fingerprint(text: &str) -> Option<Fingerprint> {
    Fingerprint::try_from(text.to_owned()).ok()
}
