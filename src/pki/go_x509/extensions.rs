//! The extensions of a certificate as Go's crypto/x509 handles them: one table, and how each is read. The source is
//! src/crypto/x509/parser.go of Go 1.26 (processExtensions), with which Kubernetes 1.36 and 1.37 are built; where an
//! earlier version differs the table says since when. An extension that is not in the table, and is critical, makes Go
//! refuse every chain through the certificate. What a certificate is for is not known here.

use super::{
    Facts,
    constraints::Constraints,
    der::{Reader, SEQUENCE, constructed, context},
    names::is_uri,
};
use crate::pki::version::GoVersion;

/// What Go does with an extension that is marked critical.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WhenCritical {
    Handled,
    /// Earlier versions refuse it.
    HandledSince(GoVersion),
    /// Not even read: RFC 5280 forbids the mark.
    Refused,
}

/// An extension that Go interprets.
pub(super) struct Handled {
    /// Content of the object identifier.
    pub(super) oid: &'static [u8],
    pub(super) name: &'static str,
    pub(super) number: &'static str,
    pub(super) when_critical: WhenCritical,
    /// Reads the value; the error says in words what Go does not read.
    pub(super) read: fn(&mut Facts, &[u8]) -> Result<Understood, String>,
}

/// Whether Go makes something of the value it has read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Understood {
    Yes,
    /// Well-formed, but of a kind Go ignores: as good as unknown where it is critical.
    No,
}

use Understood::Yes;
use WhenCritical::{HandledSince, Refused};

const fn handled(
    oid: &'static [u8],
    number: &'static str,
    name: &'static str,
    when_critical: WhenCritical,
    read: fn(&mut Facts, &[u8]) -> Result<Understood, String>,
) -> Handled {
    Handled { oid, name, number, when_critical, read }
}

/// Every extension that Go 1.26 interprets.
#[rustfmt::skip]
pub(super) const HANDLED: &[Handled] = &[
    handled(&[0x55, 0x1d, 14], "2.5.29.14", "subjectKeyIdentifier", Refused, key_identifier),
    handled(&[0x55, 0x1d, 15], "2.5.29.15", "keyUsage", WhenCritical::Handled, key_usage),
    handled(&[0x55, 0x1d, 17], "2.5.29.17", "subjectAltName", WhenCritical::Handled, alternative_names),
    handled(&[0x55, 0x1d, 19], "2.5.29.19", "basicConstraints", WhenCritical::Handled, basic_constraints),
    handled(&[0x55, 0x1d, 30], "2.5.29.30", "nameConstraints", WhenCritical::Handled, name_constraints),
    handled(&[0x55, 0x1d, 31], "2.5.29.31", "cRLDistributionPoints", WhenCritical::Handled, crl_distribution_points),
    handled(&[0x55, 0x1d, 32], "2.5.29.32", "certificatePolicies", WhenCritical::Handled, certificate_policies),
    handled(&[0x55, 0x1d, 33], "2.5.29.33", "policyMappings", HandledSince(GoVersion::POLICIES), policy_mappings),
    handled(&[0x55, 0x1d, 35], "2.5.29.35", "authorityKeyIdentifier", Refused, authority_key_identifier),
    handled(&[0x55, 0x1d, 36], "2.5.29.36", "policyConstraints", HandledSince(GoVersion::POLICIES), policy_constraints),
    handled(&[0x55, 0x1d, 37], "2.5.29.37", "extKeyUsage", WhenCritical::Handled, extended_key_usage),
    handled(&[0x55, 0x1d, 54], "2.5.29.54", "inhibitAnyPolicy", HandledSince(GoVersion::POLICIES), inhibit_any_policy),
    handled(&[0x2b, 6, 1, 5, 5, 7, 1, 1], "1.3.6.1.5.5.7.1.1", "authorityInfoAccess", Refused, authority_info_access),
];

/// Extensions that Go ignores, by the names people know them by.
#[rustfmt::skip]
const UNHANDLED: &[(&str, &str)] = &[
    ("2.5.29.9", "subjectDirectoryAttributes"),
    ("2.5.29.16", "privateKeyUsagePeriod"),
    ("2.5.29.18", "issuerAltName"),
    ("2.5.29.46", "freshestCRL"),
    ("1.3.6.1.5.5.7.1.11", "subjectInfoAccess"),
    ("1.3.6.1.5.5.7.1.24", "TLS feature"),
    ("1.3.6.1.5.5.7.1.3", "qcStatements"),
    ("1.3.6.1.5.5.7.48.1.5", "OCSP no check"),
    ("1.3.6.1.4.1.11129.2.4.3", "certificate transparency poison"),
    ("1.3.6.1.4.1.311.20.2", "Microsoft certificate template"),
    ("1.3.6.1.4.1.311.21.1", "Microsoft CA version"),
    ("1.3.6.1.4.1.311.21.7", "Microsoft certificate template"),
    ("2.16.840.1.113730.1.1", "Netscape certificate type"),
    ("2.16.840.1.113730.1.13", "Netscape comment"),
];

/// `issuerAltName (2.5.29.18)`; the number alone where nobody has named it.
pub(super) fn named(number: &str) -> String {
    let known = UNHANDLED.iter().copied().chain(HANDLED.iter().map(|extension| (extension.number, extension.name)));
    let name = known.into_iter().find(|(known, _)| *known == number);
    name.map_or_else(|| number.to_owned(), |(_, name)| format!("{name} ({number})"))
}

fn key_usage(facts: &mut Facts, value: &[u8]) -> Result<Understood, String> {
    let (_, bytes) = Reader::new(value).bit_string().ok_or("malformed key usage")?;
    let bit = |index: usize| bytes.get(index / 8).is_some_and(|byte| byte >> (7 - index % 8) & 1 == 1);
    facts.key_usage = (0..9).map(|index| u16::from(bit(index)) << index).sum();
    Ok(Yes)
}

fn basic_constraints(facts: &mut Facts, value: &[u8]) -> Result<Understood, String> {
    let malformed = "malformed basic constraints";
    let mut fields = Reader::new(value).inside(SEQUENCE).ok_or(malformed)?;
    let is_ca = if fields.is_next(super::der::BOOLEAN) { fields.boolean().ok_or(malformed)? } else { false };
    if fields.is_next(super::der::INTEGER) {
        fields.int64().filter(|length| *length >= 0).ok_or("basic constraints with a malformed path length")?;
    }
    facts.basic_constraints = Some(is_ca);
    Ok(Yes)
}

fn alternative_names(_: &mut Facts, value: &[u8]) -> Result<Understood, String> {
    let mut names = Reader::new(value).inside(SEQUENCE).ok_or("malformed subject alternative names")?;
    let mut understood = Understood::No;
    while !names.is_empty() {
        let name = names.any().ok_or("malformed subject alternative names")?;
        let fault = match name.tag {
            0x81 | 0x82 if !name.content.is_ascii() => Some("a name that is not ASCII"),
            0x86 if !name.content.is_ascii() || !is_uri(name.content) => Some("a malformed URI"),
            0x87 if !matches!(name.content.len(), 4 | 16) => Some("an IP address of the wrong length"),
            0x81 | 0x82 | 0x86 | 0x87 => None,
            _ => continue,
        };
        if let Some(fault) = fault {
            return Err(format!("subject alternative names with {fault}"));
        }
        understood = Yes;
    }
    Ok(understood)
}

fn name_constraints(facts: &mut Facts, value: &[u8]) -> Result<Understood, String> {
    facts.constraints = Constraints::read(value)?;
    Ok(if facts.constraints.unknown.is_empty() { Yes } else { Understood::No })
}

fn crl_distribution_points(_: &mut Facts, value: &[u8]) -> Result<Understood, String> {
    let read = || -> Option<()> {
        let mut points = Reader::new(value).inside(SEQUENCE)?;
        while !points.is_empty() {
            let Some(mut name) = points.inside(SEQUENCE)?.optional(constructed(0))? else { continue };
            let mut full = name.inside(constructed(0))?;
            while full.is_next(context(6)) {
                full.any()?;
            }
        }
        Some(())
    };
    read().map(|()| Yes).ok_or_else(|| "malformed CRL distribution points".to_owned())
}

fn authority_key_identifier(_: &mut Facts, value: &[u8]) -> Result<Understood, String> {
    let read = || Reader::new(value).inside(SEQUENCE)?.optional(context(0));
    read().map(|_| Yes).ok_or_else(|| "a malformed authority key identifier".to_owned())
}

fn key_identifier(_: &mut Facts, value: &[u8]) -> Result<Understood, String> {
    let read = Reader::new(value).content(super::der::OCTET_STRING);
    read.map(|_| Yes).ok_or_else(|| "a malformed subject key identifier".to_owned())
}

fn extended_key_usage(facts: &mut Facts, value: &[u8]) -> Result<Understood, String> {
    const ANY: &[u8] = &[0x55, 0x1d, 0x25, 0x00];
    const SERVER: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 1];
    let malformed = "malformed extended key usage";
    let mut usages = Reader::new(value).inside(SEQUENCE).ok_or(malformed)?;
    let (mut is_listed, mut allows) = (false, false);
    while !usages.is_empty() {
        let usage = usages.oid().ok_or(malformed)?;
        is_listed = true;
        allows |= usage == ANY || usage == SERVER;
    }
    facts.forbids_servers = is_listed && !allows;
    Ok(Yes)
}

fn certificate_policies(facts: &mut Facts, value: &[u8]) -> Result<Understood, String> {
    let malformed = "malformed certificate policies";
    let mut policies = Reader::new(value).inside(SEQUENCE).ok_or(malformed)?;
    let mut seen = Vec::new();
    while !policies.is_empty() {
        let policy = policies.inside(SEQUENCE).and_then(|mut policy| policy.any_oid()).ok_or(malformed)?;
        if seen.contains(&policy) {
            return Err("certificate policies with one policy twice".to_owned());
        }
        seen.push(policy);
    }
    facts.has_policies = !seen.is_empty();
    Ok(Yes)
}

fn policy_mappings(_: &mut Facts, value: &[u8]) -> Result<Understood, String> {
    let read = || -> Option<()> {
        let mut mappings = Reader::new(value).inside(SEQUENCE)?;
        while !mappings.is_empty() {
            let mut pair = mappings.inside(SEQUENCE)?;
            pair.content(super::der::OID)?;
            pair.content(super::der::OID)?;
        }
        Some(())
    };
    read().map(|()| Yes).ok_or_else(|| "malformed policy mappings".to_owned())
}

fn policy_constraints(facts: &mut Facts, value: &[u8]) -> Result<Understood, String> {
    let mut read = || -> Option<()> {
        let mut fields = Reader::new(value).inside(SEQUENCE)?;
        if fields.is_next(context(0)) {
            facts.requires_policy = fields.int64_tagged(context(0))? == 0;
        }
        if fields.is_next(context(1)) {
            fields.int64_tagged(context(1))?;
        }
        Some(())
    };
    read().map(|()| Yes).ok_or_else(|| "malformed policy constraints".to_owned())
}

fn inhibit_any_policy(_: &mut Facts, value: &[u8]) -> Result<Understood, String> {
    Reader::new(value).int64().map(|_| Yes).ok_or_else(|| "a malformed inhibitAnyPolicy".to_owned())
}

fn authority_info_access(_: &mut Facts, value: &[u8]) -> Result<Understood, String> {
    let read = || -> Option<()> {
        let mut descriptions = Reader::new(value).inside(SEQUENCE)?;
        while !descriptions.is_empty() {
            let mut description = descriptions.inside(SEQUENCE)?;
            description.oid()?;
            if description.is_next(context(6)) {
                description.any()?;
            }
        }
        Some(())
    };
    read().map(|()| Yes).ok_or_else(|| "malformed authority info access".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_of_the_table_is_one_extension_under_its_own_number() {
        for (at, extension) in HANDLED.iter().enumerate() {
            assert_eq!(super::super::der::dotted(extension.oid), extension.number);
            assert!(HANDLED[..at].iter().all(|other| other.oid != extension.oid && other.name != extension.name));
            assert!(UNHANDLED.iter().all(|(number, _)| *number != extension.number), "{}", extension.name);
        }
    }
}
