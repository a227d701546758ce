//! One attempt at a call: connect, send, read at most so much, within its deadlines; and what went wrong on the way as an
//! [`Error`], told by the types in the chain of sources and never by their texts.
//!
//! The log names method, address, path, status and time: no headers, no bodies, no query.

use super::{
    Error,
    answer::judge_answer,
    call::{Attempt, Call},
    connection::{Route, Whom, build_client},
};
use crate::{inventory::ServerUrl, secret::scrub};
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Body as _;
use kube::client::Body;
use rustls::{AlertDescription, Error as Tls};
use std::{
    error::Error as StdError,
    io,
    time::{Duration, Instant},
};
use zeroize::Zeroizing;

/// What came back, whatever its status.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Zeroizing<Vec<u8>>,
}

/// Makes the call once; `limit` is for all of it.
pub(super) async fn attempt(
    route: &Route<'_>,
    whom: &Whom,
    call: &Call,
    limit: Duration,
) -> Result<Zeroizing<Vec<u8>>, Attempt> {
    let began = Instant::now();
    let outcome = match tokio::time::timeout(limit, exchange(route, whom, call)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Attempt::last(timed_out(route.server, limit))),
    };
    let path = call.path.split('?').next().unwrap_or_default();
    let (server, took) = (route.server, began.elapsed().as_millis());
    match &outcome {
        Ok(answer) => tracing::debug!("{} {server}{path}: {} in {took} ms", call.method, answer.status.as_u16()),
        Err(failed) => tracing::debug!("{} {server}{path}: {} in {took} ms", call.method, failed.error.code()),
    }
    let judged = outcome.and_then(|answer| judge_answer(answer, call, route.server));
    judged.map_err(|failed| Attempt { error: failed.error.hiding(&|| whom.secrets(call)), ..failed })
}

async fn exchange(route: &Route<'_>, whom: &Whom, call: &Call) -> Result<Answer, Attempt> {
    let server = route.server;
    let client = build_client(route, whom).map_err(Attempt::last)?;
    let sent = client.send(request(whom, call).map_err(Attempt::last)?).await;
    let outcome = match sent {
        Err(error) => Err(failure_of(&error, route)),
        Ok(response) => {
            let (parts, body) = response.into_parts();
            match read_whole(body, call.cap).await {
                Ok(body) => Ok(Answer { status: parts.status, headers: parts.headers, body }),
                Err(error) if error.is::<LengthLimitError>() => {
                    let reason = format!("more than {} bytes about {}", call.cap, call.what);
                    Err(Attempt::last(Error::Garbled { server: server.clone(), reason }))
                }
                Err(error) => Err(failure_of(error.as_ref(), route)),
            }
        }
    };
    drop(client);
    // The connection's task sees that nobody is left, and closes it: nothing drives it between two calls.
    for _ in 0..3 {
        tokio::task::yield_now().await;
    }
    outcome
}

/// Into one buffer, as large as the answer says it is: a page of requests takes megabytes.
async fn read_whole(body: Body, cap: usize) -> Result<Zeroizing<Vec<u8>>, Box<dyn StdError + Send + Sync>> {
    let said = usize::try_from(body.size_hint().lower()).unwrap_or(cap);
    let mut whole = Zeroizing::new(Vec::with_capacity(said.min(cap)));
    let mut body = std::pin::pin!(Limited::new(body, cap));
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            whole.extend_from_slice(&data);
        }
    }
    Ok(whole)
}

fn request(whom: &Whom, call: &Call) -> Result<Request<Body>, Error> {
    let mut request = Request::builder()
        .method(call.method.clone())
        .uri(&call.path)
        .header(header::ACCEPT, "application/json")
        .header(header::CONNECTION, "close")
        .header(header::USER_AGENT, concat!("kubemint/", env!("CARGO_PKG_VERSION")));
    if let Some(bearer) = whom.bearer() {
        request = request.header(header::AUTHORIZATION, bearer);
    }
    if call.body.is_some() {
        request = request.header(header::CONTENT_TYPE, "application/json");
    }
    let body = call.body.as_ref().map_or_else(Body::empty, |text| Body::from(text.as_bytes().to_vec()));
    request.body(body).map_err(|_| Error::Access { reason: format!("no request can be made about {}", call.what) })
}

fn timed_out(server: &ServerUrl, limit: Duration) -> Error {
    let seconds = limit.as_secs() + u64::from(limit.subsec_nanos() > 0);
    Error::TimedOut { server: server.clone(), seconds }
}

/// The innermost thing that is known decides.
fn failure_of(error: &(dyn StdError + 'static), route: &Route<'_>) -> Attempt {
    let server = route.server.clone();
    let mut known = None;
    let mut deepest = error;
    let mut next = Some(error);
    while let Some(error) = next {
        deepest = error;
        if let Some(tls) = error.downcast_ref::<Tls>() {
            return Attempt::last(tls_failure(tls, server));
        }
        known = kind_of(error, route).or(known);
        next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            // `source` would skip the very error that is wrapped.
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    known.unwrap_or_else(|| {
        let reason = scrub(&deepest.to_string());
        Attempt::last(Error::Unreachable { server, reason })
    })
}

fn kind_of(error: &(dyn StdError + 'static), route: &Route<'_>) -> Option<Attempt> {
    let server = route.server.clone();
    if let Some(error) = error.downcast_ref::<hyper::Error>() {
        if error.is_parse() {
            let reason = "what it says is no HTTP".to_owned();
            return Some(Attempt::last(Error::Garbled { server, reason }));
        }
        let broken = error.is_incomplete_message() || error.is_closed() || error.is_canceled();
        let reason = "it closed the connection".to_owned();
        return broken.then(|| Attempt::unclear(Error::Unreachable { server, reason }));
    }
    let kind = error.downcast_ref::<io::Error>()?.kind();
    use io::ErrorKind as Kind;
    match kind {
        Kind::TimedOut => Some(Attempt::last(timed_out(&server, route.connect))),
        Kind::ConnectionReset | Kind::ConnectionAborted | Kind::BrokenPipe | Kind::UnexpectedEof => {
            Some(Attempt::unclear(Error::Unreachable { server, reason: kind.to_string() }))
        }
        Kind::ConnectionRefused | Kind::HostUnreachable | Kind::NetworkUnreachable => {
            Some(Attempt::last(Error::Unreachable { server, reason: kind.to_string() }))
        }
        _ => None,
    }
}

fn tls_failure(error: &Tls, server: ServerUrl) -> Error {
    match error {
        Tls::InvalidCertificate(fault) => Error::Untrusted { server, reason: scrub(&fault.to_string()) },
        Tls::NoCertificatesPresented => Error::Untrusted { server, reason: "it shows none".to_owned() },
        // It does not like ours.
        Tls::AlertReceived(
            AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateRequired
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied,
        ) => Error::Unauthorized { server },
        Tls::InvalidMessage(_) => Error::Garbled { server, reason: "what it says is no TLS".to_owned() },
        other => Error::Garbled { server, reason: format!("TLS: {}", scrub(&other.to_string())) },
    }
}
