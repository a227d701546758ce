//! Name constraints (RFC 5280 section 4.2.1.10) as Go reads and applies them (crypto/x509, Go 1.26: parser.go's
//! parseNameConstraintsExtension, constraints.go). Go knows DNS names, mailboxes, URIs and addresses; a constraint of
//! another kind it cannot apply, which matters where the extension is critical. Which server is meant is not known here.

use super::{
    der::{Reader, SEQUENCE, constructed, context},
    names::{Place, is_address, is_domain, is_mailbox},
};
use std::net::IpAddr;

const EMAIL: u8 = context(1);
const DNS: u8 = context(2);
const URI: u8 = context(6);
const ADDRESS: u8 = context(7);

/// The kinds of name that Go cannot constrain, by their tags.
const OTHER_KINDS: [(u8, &str); 5] = [
    (constructed(0), "otherName"),
    (constructed(3), "x400Address"),
    (constructed(4), "directoryName"),
    (constructed(5), "ediPartyName"),
    (context(8), "registeredID"),
];

/// What a CA's certificate says of the names below it, as far as a server's name or address is concerned.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::pki) struct Constraints {
    permitted: Subtrees,
    excluded: Subtrees,
    /// Kinds that Go cannot apply, each once.
    pub(super) unknown: Vec<&'static str>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Subtrees {
    domains: Vec<String>,
    /// Address and mask, of equal length.
    addresses: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Constraints {
    /// Reads the extension's value.
    ///
    /// # Errors
    /// In words, what Go does not read.
    pub(super) fn read(value: &[u8]) -> Result<Self, String> {
        let malformed = || "malformed name constraints".to_owned();
        let mut outer = Reader::new(value);
        let mut fields = outer.inside(SEQUENCE).filter(|_| outer.is_empty()).ok_or_else(malformed)?;
        let permitted = fields.optional(constructed(0)).ok_or_else(malformed)?;
        let excluded = fields.optional(constructed(1)).ok_or_else(malformed)?;
        if !fields.is_empty() {
            return Err(malformed());
        }
        if permitted.is_none() && excluded.is_none() || [permitted, excluded].iter().flatten().any(Reader::is_empty) {
            return Err("empty name constraints".to_owned());
        }
        let mut read = Self::default();
        read.permitted = Subtrees::read(permitted, &mut read.unknown)?;
        read.excluded = Subtrees::read(excluded, &mut read.unknown)?;
        Ok(read)
    }

    /// Whether a server may have this name or address under the CA.
    pub(in crate::pki) fn permits(&self, host: &str) -> bool {
        match host.parse::<IpAddr>() {
            Ok(address) => {
                let octets = match address.to_canonical() {
                    IpAddr::V4(v4) => v4.octets().to_vec(),
                    IpAddr::V6(v6) => v6.octets().to_vec(),
                };
                let covers = |subtree: &(Vec<u8>, Vec<u8>)| covers_address(subtree, &octets);
                let permitted = &self.permitted.addresses;
                (permitted.is_empty() || permitted.iter().any(covers)) && !self.excluded.addresses.iter().any(covers)
            }
            Err(_) => {
                let covers = |subtree: &String| covers_domain(subtree, host);
                let permitted = &self.permitted.domains;
                (permitted.is_empty() || permitted.iter().any(covers)) && !self.excluded.domains.iter().any(covers)
            }
        }
    }
}

impl Subtrees {
    fn read(subtrees: Option<Reader<'_>>, unknown: &mut Vec<&'static str>) -> Result<Self, String> {
        let mut read = Self::default();
        let Some(mut subtrees) = subtrees else { return Ok(read) };
        while !subtrees.is_empty() {
            let malformed = || "malformed name constraints".to_owned();
            let base = subtrees.inside(SEQUENCE).and_then(|mut subtree| subtree.any()).ok_or_else(malformed)?;
            let text = base.content;
            let fits = match base.tag {
                DNS => text.is_ascii() && is_domain(text, Place::Constraint),
                EMAIL if text.contains(&b'@') => text.is_ascii() && is_mailbox(text),
                EMAIL => text.is_ascii() && is_domain(text, Place::Constraint),
                URI => text.is_ascii() && !is_address(text) && is_domain(text, Place::Constraint),
                ADDRESS => is_network(text),
                other => {
                    let known = OTHER_KINDS.iter().find(|(tag, _)| *tag == other);
                    let kind = known.map_or("an unknown kind", |(_, name)| *name);
                    if !unknown.contains(&kind) {
                        unknown.push(kind);
                    }
                    true
                }
            };
            let kind = match base.tag {
                DNS => "DNS name",
                EMAIL => "mailbox",
                URI => "URI",
                _ => "IP address",
            };
            if !fits {
                return Err(format!("name constraints with a malformed {kind}"));
            }
            match base.tag {
                DNS => read.domains.push(String::from_utf8_lossy(text).into_owned()),
                ADDRESS => {
                    let (address, mask) = text.split_at(text.len() / 2);
                    read.addresses.push((address.to_vec(), mask.to_vec()));
                }
                _ => {}
            }
        }
        Ok(read)
    }
}

/// An address and its mask, of ones and then zeros.
fn is_network(bytes: &[u8]) -> bool {
    let mask = &bytes[bytes.len() / 2..];
    let bits = mask.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1));
    let leading = bits.take_while(|bit| *bit == 1).count();
    let is_mask = leading == mask.iter().map(|byte| byte.count_ones() as usize).sum::<usize>();
    matches!(bytes.len(), 8 | 32) && is_mask
}

fn covers_address((network, mask): &(Vec<u8>, Vec<u8>), address: &[u8]) -> bool {
    network.len() == address.len()
        && network.iter().zip(mask).zip(address).all(|((network, mask), address)| network & mask == address & mask)
}

/// An empty constraint covers everything, one with a leading dot only what is below it.
fn covers_domain(constraint: &str, name: &str) -> bool {
    let (constraint, name) = (constraint.to_ascii_lowercase(), name.to_ascii_lowercase());
    match constraint.strip_prefix('.') {
        _ if constraint.is_empty() => true,
        Some(parent) => name.strip_suffix(parent).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.')),
        None => name.strip_suffix(&constraint).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subtrees(domains: &[&str], addresses: &[([u8; 4], [u8; 4])]) -> Subtrees {
        Subtrees {
            domains: domains.iter().map(|domain| (*domain).to_owned()).collect(),
            addresses: addresses.iter().map(|(address, mask)| (address.to_vec(), mask.to_vec())).collect(),
        }
    }

    #[test]
    fn a_server_is_permitted_by_its_own_kind_of_constraint() {
        let names = Constraints { permitted: subtrees(&["example.org", ".below.net"], &[]), ..Constraints::default() };
        for (host, permitted) in [
            ("example.org", true),
            ("a.EXAMPLE.org", true),
            ("badexample.org", false),
            ("below.net", false),
            ("a.below.net", true),
            ("other", false),
            ("10.0.0.1", true),
            ("::1", true),
        ] {
            assert_eq!(names.permits(host), permitted, "{host}");
        }
        let excluded = subtrees(&["x.org"], &[([10, 1, 0, 0], [255, 255, 0, 0])]);
        let some =
            Constraints { permitted: subtrees(&[], &[([10, 0, 0, 0], [255, 0, 0, 0])]), excluded, unknown: vec![] };
        for (host, permitted) in [
            ("10.2.0.1", true),
            ("10.1.0.1", false),
            ("11.0.0.1", false),
            ("x.org", false),
            ("y.org", true),
            ("::1", false),
        ] {
            assert_eq!(some.permits(host), permitted, "{host}");
        }
    }

    #[test]
    fn masks_are_ones_and_then_zeros() {
        assert!(is_network(&[10, 0, 0, 0, 255, 128, 0, 0]) && is_network(&[0; 8]));
        for bad in [&[10, 0, 0, 0, 255, 0, 255, 0][..], &[10, 0, 0, 0, 0x41, 0, 0, 0], &[10, 0, 0, 0], &[0; 7], &[]] {
            assert!(!is_network(bad), "{bad:?}");
        }
    }
}
