//! Go's judgement of a certificate, without Go: kube-apiserver, kubelet, kube-proxy and kubectl read certificates with
//! Go's crypto/x509, and a certificate that it refuses is none to them, whatever openssl or rustls say. Modelled on
//! src/crypto/x509/parser.go and verify.go of Go 1.26 and measured against kubectl. DER in, facts or a reason out; dates,
//! signatures and what the certificate is wanted for are not known here.

mod constraints;
mod der;
mod extensions;
mod key;
mod names;
mod text;

pub(super) use constraints::Constraints;

use super::version::GoVersion;
use der::{OCTET_STRING, Reader, SEQUENCE, constructed, context};
use extensions::{HANDLED, Understood, WhenCritical};

/// Bits of a key usage as Go counts them.
const CERT_SIGN: u16 = 1 << 5;

/// Why Go refuses a certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GoRefusal {
    #[error("{what}, which Go's crypto/x509 does not read")]
    Unread { what: String },
    #[error("{extension} is marked critical, which Go's crypto/x509 refuses")]
    WronglyCritical { extension: String },
    #[error("critical extension {extension}, which Go's crypto/x509 does not handle")]
    Unhandled { extension: String },
    #[error("critical name constraints of a kind that Go's crypto/x509 does not handle ({})", kinds.join(", "))]
    UnhandledConstraint { kinds: Vec<&'static str> },
    #[error("policy constraints that demand a policy, and no policy")]
    NoPolicy,
}

/// What Go makes of a certificate that it reads.
#[derive(Debug, Clone, Default)]
pub(super) struct Facts {
    /// 1 to 3.
    pub version: u8,
    /// The subject, tag and length included.
    pub subject: Vec<u8>,
    /// CA:TRUE or CA:FALSE; `None` where there are no basic constraints.
    pub basic_constraints: Option<bool>,
    /// Bit 0 is digitalSignature; zero where no usage is stated.
    key_usage: u16,
    /// Extended key usages are listed, and serverAuth is not among them.
    pub forbids_servers: bool,
    pub constraints: Constraints,
    has_policies: bool,
    requires_policy: bool,
    /// Critical extensions that earlier versions refuse, and since when they do not.
    pub handled_since: Vec<(&'static str, GoVersion)>,
}

impl Facts {
    /// Whether the key usage, if one is stated, allows signing certificates.
    pub(super) const fn may_sign(&self) -> bool {
        self.key_usage == 0 || self.key_usage & CERT_SIGN != 0
    }

    /// Whether Go takes it for a CA: a version 1 or 2 certificate that is trusted as a root is one without saying so.
    pub(super) const fn is_ca(&self) -> bool {
        match self.basic_constraints {
            Some(is_ca) => is_ca,
            None => self.version < 3,
        }
    }

    /// Refuses an end certificate that demands a policy and has none; a root's own demands are not looked at.
    pub(super) const fn check_end_certificate(&self) -> Result<(), GoRefusal> {
        if self.requires_policy && !self.has_policies { Err(GoRefusal::NoPolicy) } else { Ok(()) }
    }
}

/// Reads a certificate as Go does, and refuses what makes Go refuse every chain through it.
///
/// # Errors
/// [`GoRefusal`]: the first reason, in Go's order.
pub(super) fn judge(certificate: &[u8]) -> Result<Facts, GoRefusal> {
    let mut facts = Facts::default();
    let unhandled = read(certificate, &mut facts).map_err(|what| match what {
        Fault::Unread(what) => GoRefusal::Unread { what },
        Fault::WronglyCritical(extension) => GoRefusal::WronglyCritical { extension },
    })?;
    match unhandled.into_iter().next() {
        None => Ok(facts),
        Some(number) if number == "2.5.29.30" => {
            Err(GoRefusal::UnhandledConstraint { kinds: facts.constraints.unknown })
        }
        Some(number) => Err(GoRefusal::Unhandled { extension: extensions::named(&number) }),
    }
}

enum Fault {
    Unread(String),
    WronglyCritical(String),
}

impl From<&str> for Fault {
    fn from(what: &str) -> Self {
        Self::Unread(what.to_owned())
    }
}

impl From<String> for Fault {
    fn from(what: String) -> Self {
        Self::Unread(what)
    }
}

/// The fields in their order; returns the numbers of critical extensions that Go does not handle.
fn read(certificate: &[u8], facts: &mut Facts) -> Result<Vec<String>, Fault> {
    let mut input = Reader::new(certificate);
    let mut outer = input.inside(SEQUENCE).ok_or("a malformed certificate")?;
    if !input.is_empty() {
        return Err("bytes after the certificate".into());
    }
    let mut signed = outer.inside(SEQUENCE).ok_or("a malformed certificate")?;
    facts.version = version(&mut signed)?;
    serial_number(&mut signed)?;
    let inner_algorithm = signed.content(SEQUENCE).ok_or("a malformed signature algorithm")?;
    let outer_algorithm = outer.content(SEQUENCE).ok_or("a malformed signature algorithm")?;
    if inner_algorithm != outer_algorithm {
        return Err("two signature algorithms that differ".into());
    }
    algorithm(inner_algorithm)?;
    name(&mut signed, "issuer")?;
    validity(&mut signed)?;
    facts.subject = name(&mut signed, "subject")?.to_vec();
    key::check_key(signed.content(SEQUENCE).ok_or("a malformed public key")?)?;
    let unhandled = if facts.version > 1 { after_key(&mut signed, facts)? } else { Vec::new() };
    outer.bit_string().ok_or("a malformed signature")?;
    Ok(unhandled)
}

fn version(signed: &mut Reader<'_>) -> Result<u8, Fault> {
    let Some(mut field) = signed.optional(constructed(0)).ok_or("a malformed version")? else { return Ok(1) };
    match field.int64() {
        Some(version @ 0..=2) if field.is_empty() => Ok(version as u8 + 1),
        Some(version) if field.is_empty() => Err(format!("version {}", version.saturating_add(1)).into()),
        _ => Err("a malformed version".into()),
    }
}

/// Negative numbers since Go 1.23, which Kubernetes 1.32 is the first to be built with.
fn serial_number(signed: &mut Reader<'_>) -> Result<(), Fault> {
    if !signed.is_next(der::INTEGER) {
        return Err("a malformed serial number".into());
    }
    match signed.integer() {
        Some([first, ..]) if first & 0x80 != 0 => Err("a negative serial number".into()),
        Some(_) => Ok(()),
        None => Err("a serial number that is not in its shortest form (padded)".into()),
    }
}

fn algorithm(content: &[u8]) -> Result<(), Fault> {
    let mut fields = Reader::new(content);
    fields.oid().ok_or("a malformed signature algorithm")?;
    if !fields.is_empty() {
        fields.any().ok_or("a signature algorithm with malformed parameters")?;
    }
    Ok(())
}

/// The whole name.
fn name<'a>(signed: &mut Reader<'a>, role: &str) -> Result<&'a [u8], Fault> {
    let name = signed.any().filter(|name| name.tag == SEQUENCE).ok_or_else(|| format!("a malformed {role}"))?;
    text::check_name(name.whole).map_err(|fault| format!("{} {role} that {fault}", article(role)))?;
    Ok(name.whole)
}

fn article(noun: &str) -> &'static str {
    if noun.starts_with('i') { "an" } else { "a" }
}

fn validity(signed: &mut Reader<'_>) -> Result<(), Fault> {
    let mut times = signed.inside(SEQUENCE).ok_or("a malformed validity")?;
    for field in ["notBefore", "notAfter"] {
        text::check_time(&mut times).map_err(|fault| format!("a validity whose {field} {fault}"))?;
    }
    Ok(())
}

/// Unique identifiers, which version 2 brought, and extensions, which version 3 did.
fn after_key(signed: &mut Reader<'_>, facts: &mut Facts) -> Result<Vec<String>, Fault> {
    for unique in [context(1), context(2)] {
        if signed.is_next(unique) {
            signed.any().ok_or("a malformed unique identifier")?;
        }
    }
    if facts.version < 3 {
        return Ok(Vec::new());
    }
    let malformed = "malformed extensions";
    let Some(mut field) = signed.optional(constructed(3)).ok_or(malformed)? else { return Ok(Vec::new()) };
    let mut list = field.inside(SEQUENCE).ok_or(malformed)?;
    let mut found: Vec<(&[u8], bool, &[u8])> = Vec::new();
    while !list.is_empty() {
        let mut extension = list.inside(SEQUENCE).ok_or(malformed)?;
        let oid = extension.oid().ok_or("an extension with a malformed number")?;
        let is_critical = match extension.is_next(der::BOOLEAN) {
            true => extension.boolean().ok_or("an extension with a malformed critical mark")?,
            false => false,
        };
        let value = extension.content(OCTET_STRING).ok_or("an extension with a malformed value")?;
        if found.iter().any(|(other, ..)| *other == oid) {
            return Err(format!("extension {} twice", extensions::named(&der::dotted(oid))).into());
        }
        found.push((oid, is_critical, value));
    }
    let mut unhandled = Vec::new();
    for (oid, is_critical, value) in found {
        let Some(known) = HANDLED.iter().find(|known| known.oid == oid) else {
            if is_critical {
                unhandled.push(der::dotted(oid));
            }
            continue;
        };
        if is_critical && known.when_critical == WhenCritical::Refused {
            return Err(Fault::WronglyCritical(extensions::named(known.number)));
        }
        let understood = (known.read)(facts, value)?;
        match known.when_critical {
            _ if !is_critical => {}
            _ if understood == Understood::No => unhandled.push(known.number.to_owned()),
            WhenCritical::HandledSince(version) => facts.handled_since.push((known.name, version)),
            WhenCritical::Handled | WhenCritical::Refused => {}
        }
    }
    Ok(unhandled)
}
