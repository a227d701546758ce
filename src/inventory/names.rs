//! The names Kubernetes prescribes: hosts (RFC 1123 subdomains), roles, labels.
//!
//! Sources: k8s.io/apimachinery `pkg/util/validation/validation.go` (IsDNS1123Subdomain, IsQualifiedName,
//! IsValidLabelValue). Addresses are another matter and not known here.

use super::{
    diagnostics::did_you_mean,
    model::{HostName, Role},
};
use std::str::FromStr;

/// Why text is no name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("it is empty")]
    Empty,
    #[error("it is longer than {0} characters")]
    TooLong(usize),
    #[error("a part between dots is longer than 63 characters")]
    LongLabel,
    #[error("it holds capital letters")]
    Capitals,
    #[error("{0:?} is not allowed in it")]
    Character(char),
    #[error("it, and each part between dots, must begin and end with a letter or a digit")]
    Edge,
    #[error("it has more than one \"/\"")]
    Slashes,
}

impl NameError {
    /// How to mend it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Capitals => Some("node names are lower case"),
            Self::Character(_) => Some("lower-case letters, digits, \"-\" and \".\" are allowed"),
            _ => None,
        }
    }
}

impl FromStr for HostName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        check_subdomain(text)?;
        Ok(Self::new_unchecked(text))
    }
}

fn check_subdomain(text: &str) -> Result<(), NameError> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
    if text.is_empty() {
        return Err(NameError::Empty);
    } else if let Some(c) = text.chars().find(|c| !allowed(c.to_ascii_lowercase())) {
        return Err(NameError::Character(c));
    } else if text.contains(|c: char| c.is_ascii_uppercase()) {
        return Err(NameError::Capitals);
    } else if text.len() > 253 {
        return Err(NameError::TooLong(253));
    }
    for label in text.split('.') {
        if label.len() > 63 {
            return Err(NameError::LongLabel);
        } else if label.is_empty() || label.starts_with('-') || label.ends_with('-') {
            return Err(NameError::Edge);
        }
    }
    Ok(())
}

/// A label's key: `[PREFIX/]NAME`.
pub(super) fn check_label_key(key: &str) -> Result<(), NameError> {
    let (prefix, name) = key.split_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    prefix.map_or(Ok(()), check_subdomain)?;
    match name {
        "" => Err(NameError::Empty),
        name if name.contains('/') => Err(NameError::Slashes),
        name => check_label_value(name),
    }
}

/// A label's value: empty, or at most 63 letters, digits, `-`, `_`, `.`.
pub(super) fn check_label_value(value: &str) -> Result<(), NameError> {
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if let Some(c) = value.chars().find(|c| !inner(*c)) {
        return Err(NameError::Character(c));
    } else if value.len() > 63 {
        return Err(NameError::TooLong(63));
    } else if value.starts_with(['-', '_', '.']) || value.ends_with(['-', '_', '.']) {
        return Err(NameError::Edge);
    }
    Ok(())
}

/// A word that is no role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown role")]
pub struct UnknownRole {
    /// How to mend it.
    pub hint: String,
}

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        match text {
            "control-plane" | "master" => Ok(Self::ControlPlane),
            "node" => Ok(Self::Node),
            _ => {
                let near = did_you_mean(text, ["control-plane", "master", "node"]);
                Err(UnknownRole { hint: near.unwrap_or_else(|| "the roles are \"control-plane\" and \"node\"".into()) })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_name_is_an_rfc_1123_subdomain() {
        for good in ["a", "1", "node-001", "node-1.rack-2.example.net", &"a".repeat(63)] {
            assert_eq!(good.parse::<HostName>().unwrap().as_str(), good);
        }
        let long = [format!("a.{}", "a".repeat(64)), ["abcdefg"; 32].join(".")];
        for (bad, error) in [
            ("", NameError::Empty),
            ("Node", NameError::Capitals),
            ("node_1", NameError::Character('_')),
            ("node 1", NameError::Character(' ')),
            ("$(x)", NameError::Character('$')),
            ("../x", NameError::Character('/')),
            ("-a", NameError::Edge),
            ("a-", NameError::Edge),
            ("a..b", NameError::Edge),
            (".", NameError::Edge),
            (&long[0], NameError::LongLabel),
            (&long[1], NameError::TooLong(253)),
        ] {
            assert_eq!(bad.parse::<HostName>().unwrap_err(), error, "{bad}");
        }
    }

    #[test]
    fn labels_are_as_kubernetes_wants_them() {
        for good in ["rack", "topology.kubernetes.io/zone", "A_b.c-9"] {
            assert_eq!(check_label_key(good), Ok(()), "{good}");
        }
        for bad in ["", "/a", "a/", "a/b/c", "Up.example/a", "-a", "a b", &"k".repeat(64)] {
            assert!(check_label_key(bad).is_err(), "{bad}");
        }
        for good in ["", "a", "A-1_2.3"] {
            assert_eq!(check_label_value(good), Ok(()), "{good}");
        }
        for bad in ["-a", "a/b", "a b", "é", &"v".repeat(64)] {
            assert!(check_label_value(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn master_is_another_word_for_control_plane() {
        assert_eq!("master".parse(), Ok(Role::ControlPlane));
        assert_eq!("control-plane".parse(), Ok(Role::ControlPlane));
        let hint = "nodes".parse::<Role>().unwrap_err().hint;
        assert_eq!(hint, "did you mean \"node\"?");
    }
}
