//! What an HTTP status means (Kubernetes API conventions, "HTTP Status codes"). The reason is the `message` of the
//! `Status` object that came with it: foreign text, scrubbed.

use super::{
    Error,
    call::{Attempt, Call},
    retry::Prospect,
    transport::Answer,
};
use crate::{inventory::ServerUrl, secret::scrub};
use http::header;
use serde::Deserialize;
use std::time::Duration;
use zeroize::Zeroizing;

/// meta/v1 `Status`, as far as it is shown.
#[derive(Deserialize)]
struct Status {
    message: String,
}

/// The body of a good answer.
pub(super) fn judge_answer(answer: Answer, call: &Call, server: &ServerUrl) -> Result<Zeroizing<Vec<u8>>, Attempt> {
    let status = answer.status.as_u16();
    let server = server.clone();
    let what = call.what.clone();
    let error = match status {
        200..=299 => return Ok(answer.body),
        401 => Error::Unauthorized { server },
        403 => Error::Forbidden { server, reason: reason(&answer) },
        404 => Error::NotFound { server, what },
        409 => Error::Conflict { server, what },
        429 => Error::Busy { server },
        500 if !failing_checks(&answer.body).is_empty() => {
            Error::NotReady { server, failing: failing_checks(&answer.body) }
        }
        // Where it points to would be sent our credential.
        300..=399 => Error::Garbled { server, reason: format!("it points elsewhere ({status})") },
        _ => Error::Api { server, status, reason: reason(&answer) },
    };
    let prospect = match status {
        429 => Prospect::Busy,
        500..=599 => Prospect::Unclear,
        _ => Prospect::Final,
    };
    Err(Attempt { error, prospect, retry_after: retry_after(&answer) })
}

fn reason(answer: &Answer) -> String {
    let said = serde_json::from_slice::<Status>(&answer.body).map(|status| scrub(&status.message)).unwrap_or_default();
    match said.is_empty() {
        true => answer.status.canonical_reason().unwrap_or("no reason given").to_owned(),
        false => said,
    }
}

/// RFC 9110 section 10.2.3, in seconds: kube-apiserver sends no dates.
fn retry_after(answer: &Answer) -> Option<Duration> {
    let seconds: u32 = answer.headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds.into()))
}

/// The checks that fail, out of the text of `/readyz?verbose`: lines such as `[-]etcd failed: reason withheld`.
fn failing_checks(body: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(body);
    let failing = text.lines().filter_map(|line| line.strip_prefix("[-]"));
    failing.map(|line| scrub(line.split_whitespace().next().unwrap_or_default())).take(20).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderMap, HeaderValue, StatusCode};

    fn judged(status: u16, body: &str, retry_after: Option<&'static str>) -> Attempt {
        let mut headers = HeaderMap::new();
        if let Some(value) = retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static(value));
        }
        let status = StatusCode::from_u16(status).unwrap();
        let answer = Answer { status, headers, body: Zeroizing::new(body.as_bytes().to_vec()) };
        let server = "https://10.0.0.1:6443".parse().unwrap();
        judge_answer(answer, &Call::get("/x", "the thing"), &server).unwrap_err()
    }

    #[test]
    fn every_status_has_its_kind() {
        for (status, code, prospect) in [
            (301, "api_garbled", Prospect::Final),
            (307, "api_garbled", Prospect::Final),
            (400, "api_failed", Prospect::Final),
            (401, "api_unauthorized", Prospect::Final),
            (403, "api_forbidden", Prospect::Final),
            (404, "api_not_found", Prospect::Final),
            (409, "api_conflict", Prospect::Final),
            (422, "api_failed", Prospect::Final),
            (429, "api_busy", Prospect::Busy),
            (500, "api_failed", Prospect::Unclear),
            (503, "api_failed", Prospect::Unclear),
            (504, "api_failed", Prospect::Unclear),
        ] {
            let failed = judged(status, "{}", None);
            assert_eq!((failed.error.code(), failed.prospect), (code, prospect), "{status}");
        }
    }

    #[test]
    fn the_reason_is_the_servers_own_made_safe() {
        let body = r#"{"kind":"Status","message":"User \"x\u001b[31m\" cannot list 0123456789abcdef0123456789abcdef"}"#;
        assert_eq!(
            judged(403, body, None).error.to_string(),
            "https://10.0.0.1:6443 does not allow it (403): User \"x [31m\" cannot list [redacted]"
        );
        assert!(judged(500, "<html>", None).error.to_string().ends_with("Internal Server Error"));
    }

    #[test]
    fn retry_after_is_read_in_seconds() {
        for (header, seconds) in [("1", Some(1)), (" 20 ", Some(20)), ("-1", None), ("soon", None)] {
            assert_eq!(judged(429, "", Some(header)).retry_after, seconds.map(Duration::from_secs), "{header}");
        }
        assert_eq!(judged(429, "", None).retry_after, None);
    }

    #[test]
    fn the_checks_that_fail_are_named() {
        let body = b"[+]ping ok\n[-]etcd failed: reason withheld\n[-]po\x1b[1mst\n[+]log ok\nreadyz check failed\n";
        assert_eq!(failing_checks(body), ["etcd", "po [1mst"]);
    }
}
