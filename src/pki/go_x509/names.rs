//! Host names, mailboxes and URIs in a certificate as Go reads them (Go 1.26: domainNameValid and
//! parseRFC2821Mailbox of crypto/x509, net/url's Parse): laxer than the RFCs in places, and stricter in others. Text in,
//! yes or no out; nothing is looked up.

use std::net::{IpAddr, Ipv6Addr};

/// Where a host name stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Name,
    /// A leading dot means every name below.
    Constraint,
}

/// Labels of printable ASCII, none empty, no dot at the end; an empty name counts.
pub(super) fn is_domain(name: &[u8], place: Place) -> bool {
    let name = match place {
        Place::Constraint if name.len() > 1 => name.strip_prefix(b".").unwrap_or(name),
        _ => name,
    };
    name.is_empty()
        || name.split(|byte| *byte == b'.').all(|label| !label.is_empty() && label.iter().all(u8::is_ascii_graphic))
}

/// Whether the text is `local@domain` (RFC 2821); the local part may be quoted.
pub(super) fn is_mailbox(text: &[u8]) -> bool {
    let (local, rest) = match text {
        [b'"', rest @ ..] => match quoted(rest) {
            Some(rest) => (None, rest),
            None => return false,
        },
        _ => match dotted(text) {
            Some((local, rest)) => (Some(local), rest),
            None => return false,
        },
    };
    let is_local = local.is_none_or(|local| {
        !local.is_empty()
            && !local.starts_with(b".")
            && !local.ends_with(b".")
            && !local.windows(2).any(|pair| pair == b"..")
    });
    is_local && rest.strip_prefix(b"@").is_some_and(|domain| is_domain(domain, Place::Name))
}

/// What follows the closing quote.
fn quoted(mut text: &[u8]) -> Option<&[u8]> {
    loop {
        text = match text {
            [b'"', rest @ ..] => return Some(rest),
            [b'\\', 1..=9 | 11 | 12 | 14..=127, rest @ ..] => rest,
            [1..=8 | 11 | 12 | 14..=33 | 35..=91 | 93..=127, rest @ ..] => rest,
            _ => return None,
        };
    }
}

/// A local part of atoms and dots, with backslashes taken off, and what follows it.
fn dotted(mut text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut local = Vec::new();
    loop {
        match text {
            [b'\\', escaped, rest @ ..] => {
                local.push(*escaped);
                text = rest;
            }
            [b'\\'] => return None,
            [byte, rest @ ..] if byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~.".contains(byte) => {
                local.push(*byte);
                text = rest;
            }
            _ => return Some((local, text)),
        }
    }
}

/// Whether Go's net/url reads the text, and its host is empty or a name.
pub(super) fn is_uri(text: &[u8]) -> bool {
    if text.iter().any(u8::is_ascii_control) {
        return false;
    }
    let (text, fragment) = cut(text, b'#');
    if !is_escaped(fragment.unwrap_or_default()) {
        return false;
    }
    let Some((has_scheme, rest)) = after_scheme(text) else { return false };
    let (rest, _query) = cut(rest, b'?');
    if !rest.starts_with(b"/") {
        // `mailto:somebody` is opaque; without a scheme, the first segment of a path has no colon.
        return has_scheme || !cut(rest, b'/').0.contains(&b':') && is_escaped(rest);
    }
    match rest.strip_prefix(b"//") {
        Some(after) if has_scheme || !rest.starts_with(b"///") => {
            let slash = after.iter().position(|byte| *byte == b'/').unwrap_or(after.len());
            is_authority(&after[..slash]) && is_escaped(&after[slash..])
        }
        _ => is_escaped(rest),
    }
}

fn cut(text: &[u8], at: u8) -> (&[u8], Option<&[u8]>) {
    match text.iter().position(|byte| *byte == at) {
        Some(position) => (&text[..position], Some(&text[position + 1..])),
        None => (text, None),
    }
}

/// Whether there is a scheme, and what follows it; `None` for a colon without one.
fn after_scheme(text: &[u8]) -> Option<(bool, &[u8])> {
    for (position, byte) in text.iter().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' => {}
            b'0'..=b'9' | b'+' | b'-' | b'.' if position > 0 => {}
            b':' if position > 0 => return Some((true, &text[position + 1..])),
            b':' => return None,
            _ => break,
        }
    }
    Some((false, text))
}

fn is_authority(authority: &[u8]) -> bool {
    let (user, host) = match authority.iter().rposition(|byte| *byte == b'@') {
        Some(at) => (&authority[..at], &authority[at + 1..]),
        None => (&[][..], authority),
    };
    let is_user = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._:~!$&'()*+,;=%@".contains(byte);
    user.iter().all(is_user) && is_escaped(user) && is_host(host)
}

fn is_host(host: &[u8]) -> bool {
    if host.starts_with(b"[") {
        let Some(end) = host.iter().rposition(|byte| *byte == b']') else { return false };
        let (literal, port) = (&host[1..end], &host[end + 1..]);
        let (address, zone) = match literal.windows(3).position(|part| part == b"%25") {
            Some(at) => (&literal[..at], Some(&literal[at + 3..])),
            None => (literal, None),
        };
        let is_address = std::str::from_utf8(address).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok());
        // The brackets and what is in them count as part of the name.
        return is_address && zone.is_none_or(|zone| !zone.is_empty() && is_escaped(zone)) && is_port(port);
    }
    if host.contains(&b'[') {
        return false;
    }
    let port = host.iter().rposition(|byte| *byte == b':').map_or(&[][..], |at| &host[at..]);
    let is_plain =
        |byte: &u8| !byte.is_ascii() || byte.is_ascii_alphanumeric() || b"!$&'()*+,;=:[]<>\"-_.~%".contains(byte);
    host.iter().all(is_plain)
        && host_escapes_only_what_it_must(host)
        && is_port(port)
        && (host.is_empty() || is_domain(host, Place::Name))
}

fn is_port(port: &[u8]) -> bool {
    port.is_empty() || port.strip_prefix(b":").is_some_and(|digits| digits.iter().all(u8::is_ascii_digit))
}

/// In a host only bytes beyond ASCII may be escaped.
fn host_escapes_only_what_it_must(host: &[u8]) -> bool {
    let mut parts = host.split(|byte| *byte == b'%');
    parts.next();
    parts.all(|part| matches!(part, [b'8' | b'9' | b'a'..=b'f' | b'A'..=b'F', low, ..] if low.is_ascii_hexdigit()))
}

/// Whether two hex digits follow every percent sign.
fn is_escaped(text: &[u8]) -> bool {
    let mut parts = text.split(|byte| *byte == b'%');
    parts.next();
    parts.all(|part| part.get(..2).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)))
}

/// An IP address in text, without a zone.
pub(super) fn is_address(text: &[u8]) -> bool {
    std::str::from_utf8(text).is_ok_and(|text| text.parse::<IpAddr>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains_have_no_empty_label_and_constraints_may_begin_with_a_dot() {
        for name in ["", "a", "a.b", "_a.b-c", "*.b"] {
            assert!(is_domain(name.as_bytes(), Place::Name) && is_domain(name.as_bytes(), Place::Constraint), "{name}");
        }
        for name in [".", "a.", "a..b", "a b", "a\u{e9}", "..a"] {
            assert!(
                !is_domain(name.as_bytes(), Place::Name) && !is_domain(name.as_bytes(), Place::Constraint),
                "{name}"
            );
        }
        assert!(is_domain(b".a", Place::Constraint) && !is_domain(b".a", Place::Name));
    }

    #[test]
    fn mailboxes_have_a_local_part_and_a_domain() {
        for good in ["a@b", "a.b@c.d", "\"a b\"@c", "a\\@b@c", "a@"] {
            assert!(is_mailbox(good.as_bytes()), "{good}");
        }
        for bad in ["", "@b", "a", "a b@c", ".a@b", "a.@b", "a..b@c", "\"a@b", "a@b.", "a@.b"] {
            assert!(!is_mailbox(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn uris_are_what_net_url_parses() {
        for good in [
            "https://a.b/c?d#e",
            "urn:a:b",
            "spiffe://x/y",
            "a",
            "",
            "//h/p",
            "https://[::1]:8/",
            "https://a:80",
            "https://u:p@h",
            "http://h/%41",
        ] {
            assert!(is_uri(good.as_bytes()), "{good}");
        }
        for bad in [
            ":a",
            "a b:c",
            "http://h:p",
            "http://h/%4",
            "http://a..b/",
            "http://a b/",
            "1:2",
            "http://h./",
            "http://[::1",
            "http://%41/",
            "a\u{7f}",
        ] {
            assert!(!is_uri(bad.as_bytes()), "{bad}");
        }
    }
}
