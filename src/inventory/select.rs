//! Picks hosts: `--limit PATTERN[,…]`, by name, glob, role, label or a file of patterns; `!` takes away.
//!
//! A pattern that matches nothing is an error, never silence: a slip must not act on the wrong hosts. The result keeps
//! the inventory's order. Files are named, not read, here.

use super::{
    diagnostics::{did_you_mean, nearest, quoted, shown},
    glob::Glob,
    model::{Host, Role},
    names::UnknownRole,
    range::RangeError,
};
use std::{
    collections::HashMap,
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

/// One element of `--limit`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pattern {
    /// The host of exactly this name.
    Name(String),
    /// Hosts whose whole name fits.
    Glob(Glob),
    /// `role:NAME`
    Role(Role),
    /// `label:KEY=VALUE`
    Label { key: String, value: String },
    /// `@FILE`: the patterns in a file; see [`resolve_files`].
    File(PathBuf),
    /// `!PATTERN`: without these. Never holds another `Not`.
    Not(Box<Self>),
}

/// Why text is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    #[error("an empty pattern")]
    Empty,
    #[error("bad pattern {}: {error}", quoted(.pattern))]
    Range { pattern: String, error: RangeError },
    #[error("bad pattern {}: unknown role", quoted(.pattern))]
    Role { pattern: String, error: UnknownRole },
    #[error("bad pattern {}: a label is written label:KEY=VALUE", quoted(.0))]
    Label(String),
    #[error("bad pattern {}: only role: and label: may stand before a colon", quoted(.0))]
    Kind(String),
    #[error("bad pattern {}: \"!\" twice", quoted(.0))]
    TwiceNot(String),
    #[error("a file of patterns cannot name another (@{})", shown(&.0.display().to_string()))]
    NestedFile(PathBuf),
    #[error("the file holds no pattern")]
    EmptyFile,
    #[error("line {line}: {error}")]
    InFile { line: usize, error: Box<Self> },
    /// `place` is `FILE:LINE`, or `FILE`.
    #[error("{place}: {error}")]
    OfFile { place: String, error: Box<Self> },
}

impl PatternError {
    /// How to mend it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Range { error, .. } => Some(error.hint().to_owned()),
            Self::Role { error, .. } => Some(error.hint.clone()),
            Self::Kind(pattern) => did_you_mean(pattern.split(':').next().unwrap_or_default(), ["role", "label"]),
            Self::EmptyFile => Some("write one pattern a line, or leave --limit out for all hosts".to_owned()),
            Self::InFile { error, .. } | Self::OfFile { error, .. } => error.hint(),
            Self::Empty => Some("write a host, a glob, role:NAME, label:KEY=VALUE or @FILE".to_owned()),
            Self::Label(_) | Self::TwiceNot(_) | Self::NestedFile(_) => None,
        }
    }
}

impl PatternError {
    fn of_file(self, path: &Path) -> Self {
        match self {
            Self::InFile { line, error } => Self::OfFile { place: format!("{}:{line}", path.display()), error },
            other => Self::OfFile { place: path.display().to_string(), error: Box::new(other) },
        }
    }
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let text = text.trim();
        let Some(rest) = text.strip_prefix('!') else { return Self::parse_plain(text) };
        // Refused here and not by recursion: a pattern of many "!" would take a stack frame for each.
        if rest.trim_start().starts_with('!') {
            return Err(PatternError::TwiceNot(text.to_owned()));
        }
        Self::parse_plain(rest.trim_start()).map(|pattern| Self::Not(Box::new(pattern)))
    }
}

impl Pattern {
    /// A pattern without `!` in front.
    fn parse_plain(text: &str) -> Result<Self, PatternError> {
        let own = || text.to_owned();
        if let Some(file) = text.strip_prefix('@') {
            return if file.is_empty() { Err(PatternError::Empty) } else { Ok(Self::File(file.into())) };
        } else if let Some(role) = text.strip_prefix("role:") {
            return role.parse().map(Self::Role).map_err(|error| PatternError::Role { pattern: own(), error });
        } else if let Some(label) = text.strip_prefix("label:") {
            let (key, value) = label.split_once('=').ok_or_else(|| PatternError::Label(own()))?;
            return match key {
                "" => Err(PatternError::Label(own())),
                _ => Ok(Self::Label { key: key.to_owned(), value: value.to_owned() }),
            };
        }
        match text {
            "" => Err(PatternError::Empty),
            _ if text.contains(':') => Err(PatternError::Kind(own())),
            _ if text.contains(['*', '?', '[', ']']) => {
                Glob::parse(text).map(Self::Glob).map_err(|error| PatternError::Range { pattern: own(), error })
            }
            _ => Ok(Self::Name(own())),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Glob(glob) => f.write_str(glob.as_str()),
            Self::Role(role) => write!(f, "role:{}", role.name()),
            Self::Label { key, value } => write!(f, "label:{key}={value}"),
            Self::File(path) => write!(f, "@{}", path.display()),
            Self::Not(pattern) => write!(f, "!{pattern}"),
        }
    }
}

/// Splits `PATTERN[,…]`; commas within brackets belong to the pattern.
///
/// # Errors
/// [`PatternError`] of the first bad pattern.
pub fn parse_patterns(text: &str) -> Result<Vec<Pattern>, PatternError> {
    let mut depth = 0_i32;
    let split = text.split(|c| {
        depth += i32::from(c == '[') - i32::from(c == ']');
        c == ',' && depth <= 0
    });
    split.map(str::parse).collect()
}

/// The patterns of a file: one or more a line, empty lines and what follows `#` left out.
///
/// # Errors
/// [`PatternError::InFile`] with the line, [`PatternError::EmptyFile`]: an empty file must not come to mean all hosts.
pub fn parse_pattern_file(text: &str) -> Result<Vec<Pattern>, PatternError> {
    let mut patterns = Vec::new();
    for (i, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if !line.is_empty() {
            let in_file = |error| PatternError::InFile { line: i + 1, error: Box::new(error) };
            patterns.extend(parse_patterns(line).map_err(in_file)?);
        }
    }
    if patterns.is_empty() { Err(PatternError::EmptyFile) } else { Ok(patterns) }
}

/// Puts the patterns of each `@FILE` in its place; `read` gives a file's text. `!@FILE` takes away what the file names.
///
/// # Errors
/// What `read` returns; [`PatternError`] for what a file holds, also for an `@FILE` in it, or for `!` in a `!@FILE`.
pub fn resolve_files<E: From<PatternError>>(
    patterns: Vec<Pattern>,
    mut read: impl FnMut(&Path) -> Result<String, E>,
) -> Result<Vec<Pattern>, E> {
    let mut resolved = Vec::with_capacity(patterns.len());
    for pattern in patterns {
        let (path, negated) = match &pattern {
            Pattern::File(path) => (path, false),
            Pattern::Not(inner) => match &**inner {
                Pattern::File(path) => (path, true),
                _ => {
                    resolved.push(pattern);
                    continue;
                }
            },
            _ => {
                resolved.push(pattern);
                continue;
            }
        };
        let refuse = |error: PatternError| error.of_file(path);
        for inner in parse_pattern_file(&read(path)?).map_err(refuse)? {
            resolved.push(match (inner, negated) {
                (Pattern::File(nested), _) => return Err(refuse(PatternError::NestedFile(nested)).into()),
                (inner @ Pattern::Not(_), true) => {
                    return Err(refuse(PatternError::TwiceNot(format!("!{inner}"))).into());
                }
                (inner, true) => Pattern::Not(Box::new(inner)),
                (inner, false) => inner,
            });
        }
    }
    Ok(resolved)
}

/// Why a selection gives no hosts to work on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectError {
    #[error("no host matches {}", quoted(.pattern))]
    NoMatch { pattern: String, nearest: Option<String> },
    #[error("the patterns leave no host")]
    Nothing,
    #[error("the file @{} has not been read", shown(&.0.display().to_string()))]
    UnreadFile(PathBuf),
}

impl SelectError {
    /// How to mend it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoMatch { nearest: Some(name), .. } => Some(format!("did you mean \"{name}\"?")),
            Self::NoMatch { pattern, .. } if pattern.contains('=') && !pattern.starts_with("label:") => {
                Some("a label is written label:KEY=VALUE".to_owned())
            }
            Self::NoMatch { .. } => Some(
                "a pattern is a host's name, a glob such as node-*, role:NAME, label:KEY=VALUE or @FILE".to_owned(),
            ),
            Self::Nothing => Some("the patterns with \"!\" take away all that the others name".to_owned()),
            Self::UnreadFile(_) => None,
        }
    }
}

/// The hosts that some pattern names and no `!` pattern takes away, in the inventory's order. Without patterns, or with
/// only `!` patterns, the choice starts from all hosts.
///
/// # Errors
/// [`SelectError`] when a pattern matches nothing, when no host is left, or for an `@FILE` that was not resolved.
pub fn select_hosts<'a>(hosts: &'a [Host], patterns: &[Pattern]) -> Result<Vec<&'a Host>, SelectError> {
    let index: HashMap<&str, usize> = hosts.iter().enumerate().map(|(i, host)| (host.name.as_str(), i)).collect();
    let only_exclusions = patterns.iter().all(|pattern| matches!(pattern, Pattern::Not(_)));
    let mut chosen = vec![only_exclusions; hosts.len()];
    let mut excluded = vec![false; hosts.len()];
    for pattern in patterns {
        let (inner, marks) = match pattern {
            Pattern::Not(inner) => (&**inner, &mut excluded),
            other => (other, &mut chosen),
        };
        if !mark(inner, hosts, &index, marks)? {
            let near = |name: &str| nearest(name, hosts.iter().map(|host| host.name.as_str())).map(str::to_owned);
            let nearest = if let Pattern::Name(name) = inner { near(name) } else { None };
            return Err(SelectError::NoMatch { pattern: inner.to_string(), nearest });
        }
    }
    let kept = hosts.iter().zip(chosen.iter().zip(&excluded));
    let selected: Vec<_> =
        kept.filter(|(_, (chosen, excluded))| **chosen && !**excluded).map(|(host, _)| host).collect();
    if selected.is_empty() { Err(SelectError::Nothing) } else { Ok(selected) }
}

/// Marks what the pattern names; whether that is anything.
fn mark(
    pattern: &Pattern,
    hosts: &[Host],
    index: &HashMap<&str, usize>,
    marks: &mut [bool],
) -> Result<bool, SelectError> {
    if let Pattern::Name(name) = pattern {
        let found = index.get(name.as_str());
        found.iter().for_each(|i| marks[**i] = true);
        return Ok(found.is_some());
    }
    let mut any = false;
    for (host, mark) in hosts.iter().zip(marks) {
        let fits = match pattern {
            Pattern::Glob(glob) => glob.matches(host.name.as_str()),
            Pattern::Role(role) => host.roles.contains(*role),
            Pattern::Label { key, value } => host.labels.get(key) == Some(value),
            Pattern::File(path) => return Err(SelectError::UnreadFile(path.clone())),
            Pattern::Name(_) | Pattern::Not(_) => false,
        };
        *mark |= fits;
        any |= fits;
    }
    Ok(any)
}
