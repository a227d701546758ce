//! Apiserver URLs: `https://HOST[:PORT][/PREFIX]` and nothing else.
//!
//! kubectl, the kubelet and this program must read the same host out of the same text, so only what every URL parser
//! reads alike is accepted. No connection is made here.

use super::{
    address::{AddressError, parse_authority},
    model::ServerUrl,
};
use std::str::FromStr;

/// Why text is no apiserver URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServerUrlError {
    #[error("it must begin with https://")]
    NotHttps,
    #[error("{0:?} is not allowed in it")]
    Character(char),
    #[error("it names a user or a password")]
    User,
    #[error("it holds a query (?…)")]
    Query,
    #[error("it holds a fragment (#…)")]
    Fragment,
    #[error("{0}")]
    Host(#[source] AddressError),
    #[error("its path is not plain")]
    Path,
    #[error("{0}")]
    Url(#[source] url::ParseError),
}

impl ServerUrlError {
    /// How to mend it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Host(AddressError::Empty) => Some("write https://HOST:PORT"),
            Self::Host(AddressError::NoBrackets) => Some("write https://[fd00::1]:6443"),
            Self::Host(error) => error.hint(),
            Self::Path => Some("write it without //, . and .. parts"),
            Self::NotHttps | Self::User | Self::Query | Self::Fragment => Some("write https://HOST:PORT"),
            Self::Character(_) | Self::Url(_) => None,
        }
    }
}

impl FromStr for ServerUrl {
    type Err = ServerUrlError;

    fn from_str(text: &str) -> Result<Self, ServerUrlError> {
        let rest = text.strip_prefix("https://").ok_or(ServerUrlError::NotHttps)?;
        if let Some(c) = text.chars().find(|c| !c.is_ascii_graphic() || r#"\"<>{}|^`"#.contains(*c)) {
            return Err(ServerUrlError::Character(c));
        }
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        for (mark, within, error) in [
            ('@', authority, ServerUrlError::User),
            ('#', rest, ServerUrlError::Fragment),
            ('?', rest, ServerUrlError::Query),
        ] {
            if within.contains(mark) {
                return Err(error);
            }
        }
        parse_authority(authority).map_err(ServerUrlError::Host)?;
        let trimmed = text.trim_end_matches('/');
        let url = url::Url::parse(trimmed).map_err(ServerUrlError::Url)?;
        let path = &trimmed["https://".len() + authority.len()..];
        if url.path().trim_end_matches('/') != path || path.contains("//") {
            return Err(ServerUrlError::Path);
        }
        Ok(Self::new_unchecked(trimmed))
    }
}

impl ServerUrl {
    /// The port the URL leads to; 443 where it names none.
    #[must_use]
    pub fn port(&self) -> u16 {
        let authority = self.as_str().trim_start_matches("https://").split('/').next().unwrap_or_default();
        parse_authority(authority).ok().and_then(|(_, port)| port).unwrap_or(443)
    }

    /// The address it leads to: a name, an IPv4 or an IPv6 address without brackets.
    #[must_use]
    pub fn host(&self) -> String {
        let authority = self.as_str().trim_start_matches("https://").split('/').next().unwrap_or_default();
        parse_authority(authority).map(|(host, _)| host).unwrap_or_default()
    }

    /// The URL of the apiserver at an address ([`super::parse_address`]) and a port.
    pub(super) fn at(address: &str, port: u16) -> Self {
        match address.contains(':') {
            true => Self::new_unchecked(&format!("https://[{address}]:{port}")),
            false => Self::new_unchecked(&format!("https://{address}:{port}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<ServerUrl, ServerUrlError> {
        text.parse()
    }

    #[test]
    fn a_url_is_kept_as_written_but_for_a_trailing_slash() {
        for (text, kept, port) in [
            ("https://172.20.0.113:6443", "https://172.20.0.113:6443", 6443),
            ("https://172.20.0.113:6443/", "https://172.20.0.113:6443", 6443),
            ("https://api.example.net", "https://api.example.net", 443),
            ("https://API.example.net:443//", "https://API.example.net:443", 443),
            ("https://[fd00::1]:6443", "https://[fd00::1]:6443", 6443),
            ("https://[fd00::1]", "https://[fd00::1]", 443),
            ("https://rancher/k8s/clusters/c-1/", "https://rancher/k8s/clusters/c-1", 443),
        ] {
            let url = parse(text).unwrap();
            assert_eq!((url.as_str(), url.port()), (kept, port));
            assert!(kept.to_lowercase().contains(&url.host()) && !url.host().contains('['), "{}", url.host());
            assert_eq!(parse(kept), Ok(url));
        }
    }

    #[test]
    fn what_two_parsers_could_read_differently_is_refused() {
        use ServerUrlError::*;
        for (text, error) in [
            ("http://10.0.0.1:8080", NotHttps),
            ("10.0.0.1:6443", NotHttps),
            ("HTTPS://10.0.0.1", NotHttps),
            ("https:/10.0.0.1", NotHttps),
            ("https://", Host(AddressError::Empty)),
            ("https:///path", Host(AddressError::Empty)),
            ("https://:6443", Host(AddressError::Empty)),
            ("https://user:pw@10.0.0.1", User),
            ("https://10.0.0.1?x=1", Query),
            ("https://10.0.0.1/a?x@y", Query),
            ("https://10.0.0.1#a", Fragment),
            ("https://10.0.0.1:0", Host(AddressError::BadPort)),
            ("https://10.0.0.1:65536", Host(AddressError::BadPort)),
            ("https://10.0.0.1:", Host(AddressError::BadPort)),
            ("https://fd00::1:6443", Host(AddressError::NoBrackets)),
            ("https://[fe80::1%25eth0]:6443", Host(AddressError::Zone)),
            ("https://[fd00::g]", Host(AddressError::Ipv6)),
            ("https://0x7f.1:6443", Host(AddressError::Ipv4)),
            ("https://10.1:6443", Host(AddressError::Ipv4)),
            ("https://%31.0.0.1", Host(AddressError::Character('%'))),
            ("https://-a.example", Host(AddressError::Option)),
            ("https://api server:6443", Character(' ')),
            ("https://api\\@evil", Character('\\')),
            ("https://a/\n", Character('\n')),
            ("https://münchen.example", Character('ü')),
            ("https://${HOST}:6443", Character('{')),
            ("https://a/b/../c", Path),
            ("https://a/./b", Path),
            ("https://a/b//c", Path),
        ] {
            assert_eq!(parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn an_address_becomes_a_url() {
        assert_eq!(ServerUrl::at("fd00::1", 6443).as_str(), "https://[fd00::1]:6443");
        assert_eq!(ServerUrl::at("10.0.0.1", 443).as_str(), "https://10.0.0.1:443");
    }
}
