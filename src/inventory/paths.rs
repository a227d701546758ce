//! Paths of an inventory: those on this machine (relative to the inventory's folder, `~` for home) and the directory on
//! a host. Only their spelling is judged; no disk is read.

use super::Location;
use std::path::{Component, Path, PathBuf};

/// Why text is no usable path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    #[error("the home directory is not known")]
    NoHome,
    #[error("another user's home (~name) is not looked up")]
    OtherHome,
    #[error("variables are not expanded")]
    Variable,
    #[error("it holds \"..\"")]
    Parent,
    #[error("it is not absolute")]
    Relative,
    #[error("it is the root directory itself")]
    Root,
    #[error("{0:?} is not allowed in it")]
    Character(char),
    #[error("the folder it is relative to has a name that is not plain text")]
    Folder,
}

impl PathError {
    /// How to mend it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NoHome | Self::OtherHome | Self::Variable | Self::Parent => "write the path in full",
            Self::Relative | Self::Root => "write a directory such as \"/etc/kubernetes\"",
            Self::Character(_) => "letters, digits and . _ - + @ / are allowed",
            Self::Folder => "write a path that begins with /",
        }
    }
}

/// A path on this machine, absolute.
pub(super) fn resolve_path(text: &str, location: &Location) -> Result<PathBuf, PathError> {
    if text.contains('$') {
        return Err(PathError::Variable);
    }
    let path = match text.strip_prefix('~') {
        None => location.folder.join(text),
        Some("") => location.home.clone().ok_or(PathError::NoHome)?,
        Some(rest) if rest.starts_with('/') => {
            location.home.as_ref().ok_or(PathError::NoHome)?.join(rest.trim_start_matches('/'))
        }
        Some(_) => return Err(PathError::OtherHome),
    };
    // Drops `.` and doubled slashes.
    Ok(path.components().collect())
}

/// The directory that stands for `/` on a local host: absolute, plain text, without `..`.
pub(super) fn resolve_root(text: &str, location: &Location) -> Result<PathBuf, PathError> {
    let root = resolve_path(text, location)?;
    if Path::new(text).components().any(|part| part == Component::ParentDir) {
        return Err(PathError::Parent);
    }
    match root.to_str() {
        Some(plain) if !plain.contains(char::is_control) => Ok(root),
        _ => Err(PathError::Folder),
    }
}

/// A directory on a host: absolute, normalised, without a trailing slash.
pub(super) fn parse_directory(text: &str) -> Result<String, PathError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '+' | '@' | '/');
    if !text.starts_with('/') {
        return Err(PathError::Relative);
    } else if let Some(c) = text.chars().find(|c| !allowed(*c)) {
        return Err(PathError::Character(c));
    }
    let parts: Vec<_> = text.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    if parts.contains(&"..") {
        return Err(PathError::Parent);
    }
    if parts.is_empty() { Err(PathError::Root) } else { Ok(format!("/{}", parts.join("/"))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn location(home: Option<&str>) -> Location {
        Location { path: "i.toml".into(), folder: "/srv".into(), home: home.map(PathBuf::from) }
    }

    #[test]
    fn relative_paths_start_at_the_inventorys_folder_and_tilde_at_home() {
        let here = location(Some("/home/ops"));
        for (text, path) in [
            ("a/./b//c", "/srv/a/b/c"),
            ("../ca.pem", "/srv/../ca.pem"),
            ("/etc/x", "/etc/x"),
            ("~", "/home/ops"),
            ("~/.ssh/id", "/home/ops/.ssh/id"),
            ("~//etc", "/home/ops/etc"),
            ("a~", "/srv/a~"),
        ] {
            assert_eq!(resolve_path(text, &here), Ok(PathBuf::from(path)));
        }
    }

    #[test]
    fn what_would_need_a_shell_is_refused() {
        assert_eq!(resolve_path("~/x", &location(None)), Err(PathError::NoHome));
        assert_eq!(resolve_path("~ops/x", &location(None)), Err(PathError::OtherHome));
        assert_eq!(resolve_path("${HOME}/x", &location(None)), Err(PathError::Variable));
    }

    #[test]
    fn a_root_never_climbs_out_and_is_plain_text() {
        assert_eq!(resolve_root("demo/../x", &location(None)), Err(PathError::Parent));
        assert_eq!(resolve_root("demo/./x", &location(None)), Ok("/srv/demo/x".into()));
        let odd = Location { folder: "/s\nrv".into(), ..location(None) };
        assert_eq!(resolve_root("demo", &odd), Err(PathError::Folder));
    }

    #[test]
    fn a_directory_is_absolute_and_normalised() {
        for text in ["/etc/kubernetes", "/etc/kubernetes/", "//etc/./kubernetes//"] {
            assert_eq!(parse_directory(text).as_deref(), Ok("/etc/kubernetes"));
        }
        for (text, error) in [
            ("etc", PathError::Relative),
            ("~/x", PathError::Relative),
            ("/", PathError::Root),
            ("/./", PathError::Root),
            ("/etc/../x", PathError::Parent),
            ("/etc/ku be", PathError::Character(' ')),
            ("/etc/$(x)", PathError::Character('$')),
            ("/etc/'", PathError::Character('\'')),
            ("/etc/é", PathError::Character('é')),
        ] {
            assert_eq!(parse_directory(text), Err(error));
        }
    }
}
