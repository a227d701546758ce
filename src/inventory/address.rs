//! Where hosts are found: IPv4 and IPv6 addresses, DNS names, `[user@]host[:port]` of jump hosts.
//!
//! What passes here is safe as an argument of any program and means one host only. Names are kept in lower case, IPv6
//! in its canonical form (RFC 5952). Nothing is resolved here.

use std::{
    fmt,
    net::{Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

/// Why text is no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    #[error("it is empty")]
    Empty,
    #[error("it begins with \"-\", which programs would read as an option")]
    Option,
    #[error("it names a user")]
    User,
    #[error("it is a URL")]
    Url,
    #[error("it holds a port")]
    Port,
    #[error("it is in brackets")]
    Brackets,
    #[error("an IPv6 address with a port must be in brackets")]
    NoBrackets,
    #[error("IPv6 zones (%…) are not supported")]
    Zone,
    #[error("not an IPv6 address")]
    Ipv6,
    #[error("not an IPv4 address")]
    Ipv4,
    #[error("a part of the IPv4 address has leading zeros")]
    LeadingZero,
    #[error("no host has this address")]
    NoHost,
    #[error("{0:?} is not allowed in a host name")]
    Character(char),
    #[error("it ends with a dot")]
    TrailingDot,
    #[error("a part between dots is empty")]
    EmptyLabel,
    #[error("a part between dots begins or ends with \"-\"")]
    Hyphen,
    #[error("it is longer than DNS allows (63 characters between dots, 253 in all)")]
    TooLong,
    #[error("the port must be a number from 1 to 65535")]
    BadPort,
    #[error("not a user name")]
    BadUser,
}

impl AddressError {
    /// How to mend it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::User => "set user = \"…\" on a line of its own",
            Self::Url => "write only the host's name or address",
            Self::Port => "set port = … on a line of its own",
            Self::Brackets => "write the IPv6 address without brackets",
            Self::NoBrackets => "write [fd00::1]:22",
            Self::Zone => "use an address that is not link-local, or a name from DNS or ~/.ssh/config",
            Self::LeadingZero => "write 10.0.0.1, not 10.0.0.001; for a range, [1-100]",
            Self::TrailingDot => "drop the dot",
            Self::BadUser => "letters, digits and . _ - + @ \\ are allowed, not at the front \"-\"",
            Self::Empty | Self::Option | Self::Character(_) | Self::NoHost => {
                "write an IPv4 or IPv6 address or a DNS name"
            }
            Self::Ipv6 | Self::Ipv4 | Self::EmptyLabel | Self::Hyphen | Self::TooLong | Self::BadPort => return None,
        })
    }
}

/// An IPv4 or IPv6 address (no brackets) or a DNS name, in its canonical form.
///
/// # Errors
/// [`AddressError`] for anything else.
pub fn parse_address(text: &str) -> Result<String, AddressError> {
    if text.is_empty() {
        return Err(AddressError::Empty);
    } else if text.starts_with('-') {
        return Err(AddressError::Option);
    } else if text.contains("://") {
        return Err(AddressError::Url);
    } else if text.contains('@') {
        return Err(AddressError::User);
    } else if text.starts_with('[') {
        return Err(AddressError::Brackets);
    } else if text.contains(':') {
        return parse_ipv6(text);
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if let Some(c) = text.chars().find(|c| !allowed(*c)) {
        return Err(AddressError::Character(c));
    }
    let last = text.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
    let hex = last.strip_prefix("0x").is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
    if hex || (!last.is_empty() && last.bytes().all(|b| b.is_ascii_digit())) {
        return parse_ipv4(text);
    }
    parse_dns(text)
}

fn parse_ipv6(text: &str) -> Result<String, AddressError> {
    if text.contains('%') {
        return Err(AddressError::Zone);
    }
    match text.parse::<Ipv6Addr>() {
        Ok(address) if address.is_unspecified() || address.is_multicast() => Err(AddressError::NoHost),
        Ok(address) => Ok(address.to_string()),
        Err(_) => Err(match text.split_once(':') {
            Some((_, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => AddressError::Port,
            _ => AddressError::Ipv6,
        }),
    }
}

fn parse_ipv4(text: &str) -> Result<String, AddressError> {
    match text.parse::<Ipv4Addr>() {
        Ok(address) if address.is_unspecified() || address.is_multicast() || address.is_broadcast() => {
            Err(AddressError::NoHost)
        }
        Ok(address) => Ok(address.to_string()),
        Err(_) if text.contains(|c: char| !c.is_ascii_digit() && c != '.') => Err(AddressError::Ipv4),
        Err(_) => Err(match text.split('.').any(|part| part.len() > 1 && part.starts_with('0')) {
            true => AddressError::LeadingZero,
            false => AddressError::Ipv4,
        }),
    }
}

fn parse_dns(text: &str) -> Result<String, AddressError> {
    if text.ends_with('.') && text != "." {
        return Err(AddressError::TrailingDot);
    }
    if text.len() > 253 || text.split('.').any(|label| label.len() > 63) {
        return Err(AddressError::TooLong);
    }
    if text.split('.').any(str::is_empty) {
        return Err(AddressError::EmptyLabel);
    }
    if text.split('.').any(|label| label.starts_with('-') || label.ends_with('-')) {
        return Err(AddressError::Hyphen);
    }
    Ok(text.to_ascii_lowercase())
}

/// `host`, `host:port` or `[v6]:port`, host in canonical form without brackets.
pub(super) fn parse_authority(text: &str) -> Result<(String, Option<u16>), AddressError> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']').ok_or(AddressError::Ipv6)?;
            if !host.contains(':') {
                return Err(AddressError::Ipv6);
            }
            let port = rest.strip_prefix(':');
            if port.is_none() && !rest.is_empty() {
                return Err(AddressError::BadPort);
            }
            (parse_ipv6(host).map_err(|e| if e == AddressError::Port { AddressError::Ipv6 } else { e })?, port)
        }
        None if text.matches(':').count() > 1 => return Err(AddressError::NoBrackets),
        None => {
            let (host, port) = text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
            (parse_address(host)?, port)
        }
    };
    Ok((host, port.map(parse_port).transpose()?))
}

fn parse_port(text: &str) -> Result<u16, AddressError> {
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(AddressError::BadPort);
    }
    text.parse().ok().filter(|port| *port != 0).ok_or(AddressError::BadPort)
}

/// A login name fit for ssh.
pub(super) fn parse_user(text: &str) -> Result<&str, AddressError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '+' | '@' | '\\');
    let good = !text.is_empty() && !text.starts_with(['-', '@']) && text.chars().all(allowed);
    if good { Ok(text) } else { Err(AddressError::BadUser) }
}

/// A host to go through: `[user@]host[:port]`, IPv6 in brackets. What is absent comes from the SSH settings.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct JumpHost {
    pub user: Option<String>,
    /// As of [`parse_address`].
    pub address: String,
    pub port: Option<u16>,
}

impl fmt::Display for JumpHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        match (self.address.contains(':'), self.port) {
            (true, Some(port)) => write!(f, "[{}]:{port}", self.address),
            (true, None) => write!(f, "[{}]", self.address),
            (false, Some(port)) => write!(f, "{}:{port}", self.address),
            (false, None) => f.write_str(&self.address),
        }
    }
}

impl FromStr for JumpHost {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if text.starts_with('-') {
            return Err(AddressError::Option);
        }
        let (user, authority) = text.rsplit_once('@').map_or((None, text), |(user, rest)| (Some(user), rest));
        let user = user.map(parse_user).transpose()?.map(str::to_owned);
        let (address, port) = parse_authority(authority)?;
        Ok(Self { user, address, port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_in_their_canonical_form() {
        for (text, canonical) in [
            ("10.0.1.100", "10.0.1.100"),
            ("Node-1.Example.NET", "node-1.example.net"),
            ("FD00:0::1", "fd00::1"),
            ("::1", "::1"),
            ("::ffff:10.0.0.1", "::ffff:10.0.0.1"),
            ("bastion_2", "bastion_2"),
            ("1e5", "1e5"),
            ("0xyz", "0xyz"),
        ] {
            assert_eq!(parse_address(text).as_deref(), Ok(canonical));
        }
    }

    #[test]
    fn what_is_no_address_is_refused_by_kind() {
        use AddressError::*;
        let long = ["a".repeat(64), ["abcdefg"; 32].join(".")];
        for (text, error) in [
            ("", Empty),
            ("-oProxyCommand=x", Option),
            ("root@10.0.0.1", User),
            ("ssh://10.0.0.1", Url),
            ("10.0.0.1:22", Port),
            ("[fd00::1]", Brackets),
            ("fe80::1%eth0", Zone),
            ("fd00:::1", Ipv6),
            ("a:b", Ipv6),
            ("host:", Ipv6),
            ("10.0.0.256", Ipv4),
            ("10.1", Ipv4),
            ("2130706433", Ipv4),
            ("0x7f000001", Ipv4),
            ("10.0.0.001", LeadingZero),
            ("0.0.0.0", NoHost),
            ("255.255.255.255", NoHost),
            ("::", NoHost),
            ("ff02::1", NoHost),
            ("$(x)", Character('$')),
            ("a b", Character(' ')),
            ("a\nb", Character('\n')),
            ("a\0", Character('\0')),
            ("nöde", Character('ö')),
            ("a;b", Character(';')),
            ("a,b", Character(',')),
            ("a/b", Character('/')),
            ("host.", TrailingDot),
            (".", EmptyLabel),
            ("a..b", EmptyLabel),
            ("a.-b", Hyphen),
            ("a-.b", Hyphen),
            (&long[0], TooLong),
            (&long[1], TooLong),
        ] {
            assert_eq!(parse_address(text), Err(error), "{text}");
        }
    }

    #[test]
    fn jump_hosts_have_user_and_port() {
        let jump = |text: &str| text.parse::<JumpHost>();
        let all = JumpHost { user: Some("ops".into()), address: "fd00::1".into(), port: Some(2222) };
        assert_eq!(jump("ops@[fd00::1]:2222"), Ok(all));
        let plain = JumpHost { user: None, address: "bastion".into(), port: None };
        assert_eq!(jump("bastion"), Ok(plain));
        for text in ["bastion", "ops@bastion:2222", "[fd00::1]", "ops@[fd00::1]:2222"] {
            assert_eq!(jump(text).unwrap().to_string(), text);
        }
        for (text, error) in [
            ("-J", AddressError::Option),
            ("ops@", AddressError::Empty),
            ("@bastion", AddressError::BadUser),
            ("-x@bastion", AddressError::Option),
            ("o p@bastion", AddressError::BadUser),
            ("bastion:0", AddressError::BadPort),
            ("bastion:65536", AddressError::BadPort),
            ("bastion:+22", AddressError::BadPort),
            ("bastion:", AddressError::BadPort),
            ("fd00::1:22", AddressError::NoBrackets),
            ("[bastion]:22", AddressError::Ipv6),
            ("[fd00::1]22", AddressError::BadPort),
            ("[fd00::1", AddressError::Ipv6),
            ("[a:1]", AddressError::Ipv6),
            ("a,b", AddressError::Character(',')),
        ] {
            assert_eq!(jump(text), Err(error), "{text}");
        }
    }
}
