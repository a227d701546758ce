//! What a host tells of a file that differs: public values and fingerprints only, each held to its form. A value that repeats
//! a secret is as if it had not been told.

use super::outcome::{Facts, TokenRow};
use crate::{
    digest::Fingerprint,
    foreign::ForeignText,
    pki,
    remote::heard::{Heard, REDACTED},
    secret::redact_url,
};
use base64::{Engine, prelude::BASE64_STANDARD};

/// As many rows of a token file as the script tells of.
const MOST_ROWS: usize = 50;

/// A certificate, base64 of PEM or DER; its names are shown later.
fn certificate(value: &str, reply: &Heard<'_>) -> Option<String> {
    let is_base64 = value.chars().all(|c| c.is_ascii_alphanumeric() || "+/=".contains(c));
    let decoded = BASE64_STANDARD.decode(value).unwrap_or_default();
    let repeats = match std::str::from_utf8(&decoded) {
        Ok(text) => repeats_secret(reply, text),
        Err(_) => repeats_secret(reply, &format!("-----BEGIN CERTIFICATE-----\n{value}\n-----END CERTIFICATE-----\n")),
    };
    (is_base64 && !repeats).then(|| value.to_owned())
}

/// Whether the certificates in a PEM text, or the text where there are none, repeat a secret in what is shown of them: names,
/// which are text in DER too, serial and pin. Base64 of a certificate does so as a rule: it has the public half of the key.
pub(in crate::remote) fn repeats_secret(reply: &Heard<'_>, text: &str) -> bool {
    let numbers = pki::parse_certificates(text).unwrap_or_default().into_iter();
    let mut numbers = numbers.flat_map(|shown| [shown.spki_sha256.to_string(), shown.serial]);
    numbers.any(|number| reply.repeats_secret(number.as_bytes()))
        || match pem::parse_many(text) {
            Ok(blocks) if !blocks.is_empty() => blocks.iter().any(|block| reply.repeats_secret(block.contents())),
            _ => reply.repeats_secret(text.as_bytes()),
        }
}

pub(super) fn take_fact(facts: &mut Facts, name: &str, value: &str, reply: &Heard<'_>) -> Option<()> {
    match name {
        "server" => facts.server = Some(ForeignText::message(&redact_url(value))),
        "certificate" => facts.client_certificate = certificate(value, reply),
        "authority" => facts.certificate_authority = certificate(value, reply),
        "token" => facts.token = parse_fingerprint(value)?,
        "row" => {
            let (token, user) = value.split_once(' ')?;
            let user = match user.split_once(' ')? {
                ("is", name) => ForeignText::message(name),
                ("other", fingerprint) => match parse_fingerprint(fingerprint)? {
                    Some(fingerprint) => ForeignText::name(format!("another user {fingerprint}")),
                    None => "another user".into(),
                },
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

/// The inner `None`: it repeats a secret.
#[expect(clippy::option_option, reason = "what is no fingerprint is garbled, what is redacted is not")]
fn parse_fingerprint(text: &str) -> Option<Option<Fingerprint>> {
    if text == REDACTED { Some(None) } else { Fingerprint::try_from(text.to_owned()).ok().map(Some) }
}
