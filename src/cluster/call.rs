//! One call of the API as a value, and how one attempt at it ends. Foreign names become path segments only through
//! [`Call::of_object`]; nothing here reaches the network.

use super::{
    Error,
    retry::{Prospect, Repeat},
};
use crate::secret::Secret;
use http::Method;
use std::time::Duration;
use zeroize::Zeroizing;

/// The most of an answer that is about one thing, in bytes.
const ONE_OBJECT: usize = 1 << 20;
/// The most of one page of a list: 500 nodes that each list 50 images are about 10 MiB.
const ONE_PAGE: usize = 64 << 20;

pub(super) struct Call {
    pub(super) method: Method,
    /// With its query, below the server's own path.
    pub(super) path: String,
    pub(super) body: Option<Zeroizing<String>>,
    /// What in the body must not be repeated.
    pub(super) secret: Option<Secret>,
    /// The longest answer that is read, in bytes.
    pub(super) cap: usize,
    pub(super) repeat: Repeat,
    /// What it is about, for messages: safe to print.
    pub(super) what: String,
}

/// A failed attempt.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) error: Error,
    pub(super) prospect: Prospect,
    /// What the server asked for.
    pub(super) retry_after: Option<Duration>,
}

impl Attempt {
    pub(super) const fn last(error: Error) -> Self {
        Self { error, prospect: Prospect::Final, retry_after: None }
    }

    pub(super) const fn unclear(error: Error) -> Self {
        Self { error, prospect: Prospect::Unclear, retry_after: None }
    }
}

impl Call {
    pub(super) fn get(path: &str, what: &str) -> Self {
        Self {
            method: Method::GET,
            path: path.to_owned(),
            body: None,
            secret: None,
            cap: ONE_OBJECT,
            repeat: Repeat::Always,
            what: what.to_owned(),
        }
    }

    /// One page of a list; `after` is where the page before it ended.
    pub(super) fn list(path: &str, filter: Option<(&str, &str)>, after: Option<&str>, what: &str) -> Self {
        let mut path = format!("{path}?limit=500");
        for (name, value) in filter.into_iter().chain(after.map(|after| ("continue", after))) {
            path += &format!("&{name}={}", encode(value));
        }
        Self { cap: ONE_PAGE, ..Self::get(&path, what) }
    }

    pub(super) fn post(path: &str, body: Zeroizing<String>, repeat: Repeat, what: &str) -> Self {
        Self { method: Method::POST, body: Some(body), repeat, ..Self::get(path, what) }
    }

    /// A call about the object `name` below `collection`; `None` for a name that is no path segment.
    pub(super) fn of_object(method: Method, collection: &str, name: &str, what: String) -> Option<Self> {
        // What an apiserver refuses as a name, too (apimachinery `IsValidPathSegmentName`).
        if matches!(name, "" | "." | "..") || name.contains(['/', '%']) {
            return None;
        }
        Some(Self { method, what, ..Self::get(&format!("{collection}/{}", encode(name)), "") })
    }
}

/// RFC 3986: all but the unreserved characters as `%XX`.
fn encode(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut out, byte| {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => out += &format!("%{byte:02X}"),
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(name: &str) -> Option<String> {
        Call::of_object(Method::PUT, "/c", name, String::new()).map(|call| call.path)
    }

    #[test]
    fn a_foreign_name_stays_one_segment() {
        assert_eq!(path("node-csr-a_B.c~1").as_deref(), Some("/c/node-csr-a_B.c~1"));
        assert_eq!(path("a:b c?d#e\r\nX: y\u{e9}").as_deref(), Some("/c/a%3Ab%20c%3Fd%23e%0D%0AX%3A%20y%C3%A9"));
        for refused in ["", ".", "..", "a/b", "../secrets", "%2e%2e", "a%2fb"] {
            assert_eq!(path(refused), None, "{refused}");
        }
    }

    #[test]
    fn a_page_begins_where_the_last_one_ended() {
        let call = Call::list("/l", Some(("fieldSelector", "type=a/b")), Some("x=&y"), "");
        assert_eq!(call.path, "/l?limit=500&fieldSelector=type%3Da%2Fb&continue=x%3D%26y");
    }
}
