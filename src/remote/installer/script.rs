//! Renders what goes to a host's `sh`: templates/install.sh and the calls that carry the data, as one brace group, so
//! that a transfer which breaks off executes nothing. The only place that quotes words for a shell.

use super::{
    foreign::{ForeignPolicy, Own},
    machine::{self, Written},
};
use crate::{
    bundle::{FileKind, HostFile, Validity},
    inventory::{Connection, Host},
    remote::{
        Error, Input,
        preamble::{Surroundings, opening},
    },
    secret::{ExposeSecret, Secret},
};
use std::{fmt::Write, sync::LazyLock};

/// templates/install.sh without what only people read: no line of it begins within quotes but one that holds the closing
/// quote alone.
const INSTALL: &str = include_str!("../../../templates/install.sh");

/// The front of every script: a brace, which the last line of the script closes, and our functions.
static OPENING: LazyLock<String> = LazyLock::new(|| opening(Surroundings::Cleared, INSTALL));

pub(in crate::remote) fn without_remarks(script: &str) -> String {
    let lines = script.lines().map(|line| line.trim_start_matches(' '));
    lines.filter(|line| !line.is_empty() && !line.starts_with('#')).fold(String::new(), |text, line| text + line + "\n")
}

/// The files of one host, grouped by directory.
pub(super) struct Layout<'a> {
    pub files: &'a [HostFile],
    pub policy: ForeignPolicy,
    /// Without a trailing slash; empty for `/`.
    pub root: String,
    pub directories: Vec<Directory<'a>>,
    /// When all certificates of the files hold; `None` where there are none.
    pub validity: Option<Validity>,
}

/// One directory and the files in it.
pub(super) struct Directory<'a> {
    /// Below root, without a leading slash.
    pub path: &'a str,
    /// Index in the bundle, name.
    pub files: Vec<(usize, &'a str)>,
}

impl<'a> Layout<'a> {
    /// # Errors
    /// [`Error::PathUnusable`] for a path or root that could not be quoted safely or read back unambiguously.
    pub fn new(host: &Host, files: &'a [HostFile], policy: ForeignPolicy) -> Result<Self, Error> {
        let mut directories: Vec<Directory<'a>> = Vec::new();
        for (index, file) in files.iter().enumerate() {
            let (path, name) = split_path(&file.path)?;
            match directories.iter_mut().find(|d| d.path == path) {
                Some(directory) => directory.files.push((index, name)),
                None => directories.push(Directory { path, files: vec![(index, name)] }),
            }
        }
        let validity = files.iter().filter_map(|file| file.validity).reduce(Validity::overlap);
        Ok(Self { files, policy, root: local_root(host)?, directories, validity })
    }

    /// Where the directory with this index is on the host, root included.
    pub fn directory_path(&self, index: usize) -> Option<String> {
        self.directories.get(index).map(|d| format!("{}/{}", self.root, d.path))
    }

    /// Where the file with this index is on the host, root included.
    pub fn file_path(&self, index: usize) -> Option<String> {
        self.files.get(index).map(|f| format!("{}{}", self.root, f.path))
    }
}

pub(in crate::remote) fn local_root(host: &Host) -> Result<String, Error> {
    let Connection::Local { root } = &host.connection else { return Ok(String::new()) };
    let unusable = |reason| Error::PathUnusable { path: root.display().to_string(), reason };
    let text = root.to_str().ok_or_else(|| unusable("it is not UTF-8"))?;
    if !text.starts_with('/') {
        return Err(unusable("it is not absolute"));
    }
    if text.chars().any(char::is_control) {
        return Err(unusable("it holds a control character"));
    }
    Ok(text.trim_end_matches('/').to_owned())
}

/// `/etc/kubernetes/token.csv` -> (`etc/kubernetes`, `token.csv`).
pub(in crate::remote) fn split_path(path: &str) -> Result<(&str, &str), Error> {
    let unusable = |reason| Error::PathUnusable { path: path.to_owned(), reason };
    let below = path.strip_prefix('/').ok_or_else(|| unusable("it is not absolute"))?;
    if !below.chars().all(|c| c.is_ascii_alphanumeric() || "._/+@-".contains(c)) {
        return Err(unusable("it holds a character that is not allowed"));
    }
    if below.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(unusable("it is not normalised"));
    }
    Ok(below.rsplit_once('/').unwrap_or(("", below)))
}

/// `text` as one word of a POSIX shell.
pub(in crate::remote) fn quote_sh(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// The script that only looks.
pub(super) fn render_probe(layout: &Layout<'_>, nonce: &str) -> Input {
    let mut calls = machine::render_call(&[]) + "km_say clock \"$(date +%s)\"\n";
    push_looks(&mut calls, layout, "probe");
    wrap(layout, nonce, "", &calls)
}

/// The script that looks, and installs when nothing stands in the way, unless the machine passes for one of `written`. It
/// holds every file's content.
pub(super) fn render_install(layout: &Layout<'_>, nonce: &str, written: &[Written]) -> Input {
    // Room for all of it: a buffer that grew would leave copies of secrets behind.
    let contents: usize = layout.files.iter().map(|f| f.content.expose_secret().len()).sum();
    let machine = machine::render_call(written);
    let mut calls = String::with_capacity(contents * 2 + machine.len() + 4096 + layout.files.len() * 1024);
    calls.push_str(&machine);
    push_looks(&mut calls, layout, "look");
    calls.push_str("km_go_unless_refused\nkm_quit_unless_due\n");
    if !written.is_empty() {
        calls.push_str("km_quit_if_twin\n");
    }
    if let Some(validity) = layout.validity {
        let _ = write!(calls, "km_check_clock {} {}", validity.not_before.as_second(), validity.not_after.as_second());
        push_call(&mut calls, "", (0..layout.files.len()).map(|index| index.to_string()));
    }
    let sizes = layout.files.iter().map(|file| file.content.expose_secret().len());
    push_call(&mut calls, "km_check_limit", sizes.enumerate().map(|(index, size)| format!("{index} {size}")));
    for (d, directory) in layout.directories.iter().enumerate() {
        push_enter(&mut calls, "km_open", d, directory, layout);
        push_call(&mut calls, "km_create", directory.files.iter().map(|(i, _)| i.to_string()));
        for (i, _) in &directory.files {
            let content = &layout.files[*i].content;
            let _ = write!(calls, "km_stage {i} ");
            push_quoted(&mut calls, content.expose_secret());
            calls.push('\n');
        }
        let digests = directory.files.iter().map(|(i, _)| format!("{i} {}", layout.files[*i].sha256));
        push_call(&mut calls, "km_flush", digests);
    }
    calls.push_str("km_hold\n");
    for (step, then) in [("km_keep", None), ("km_swap", Some("km_settle"))] {
        for (d, directory) in layout.directories.iter().enumerate() {
            push_enter(&mut calls, "km_return", d, directory, layout);
            for (i, name) in &directory.files {
                let _ = writeln!(calls, "{step} {i} {}", quote_sh(name));
            }
            if let Some(then) = then {
                push_call(&mut calls, then, directory.files.iter().map(|(i, name)| format!("{i} {}", quote_sh(name))));
            }
        }
    }
    calls.push_str("km_heed\n");
    let script = wrap(layout, nonce, "", &calls);
    drop(Secret::from(calls));
    script
}

/// Everything between braces: our functions, `more` of them, and the calls.
pub(super) fn wrap(layout: &Layout<'_>, nonce: &str, more: &'static str, calls: &str) -> Input {
    let own = Own::of(layout.files);
    let own = [("our_ca", &own.authority), ("our_pem", &own.pem), ("our_users", &own.users), ("our_below", &own.below)];
    // No larger than needed: all of it is wiped in the end, and memory counts by the session.
    let names: usize = own.iter().map(|(_, value)| value.len()).sum();
    let mut script = String::with_capacity(names + calls.len() + 1024);
    let _ = writeln!(script, "km_nonce={nonce}\nkm_policy={}", layout.policy.word());
    for (name, value) in own {
        let _ = writeln!(script, "km_{name}={}", quote_sh(value));
    }
    let _ = writeln!(script, "km_begin {}", layout.files.len());
    script.push_str(calls);
    script.push_str("km_quit\n}\n");
    Input::new([&OPENING, more], Secret::from(script))
}

fn push_looks(calls: &mut String, layout: &Layout<'_>, mode: &str) {
    for d in 0..layout.directories.len() {
        push_look(calls, layout, d, mode);
    }
}

/// The call that judges one directory and looks at its files.
pub(super) fn push_look(calls: &mut String, layout: &Layout<'_>, d: usize, mode: &str) {
    let directory = &layout.directories[d];
    let _ = write!(calls, "km_look {mode} {d} {} {}", quote_sh(&layout.root), quote_sh(directory.path));
    for (i, name) in &directory.files {
        let file = &layout.files[*i];
        let kind = match file.kind {
            FileKind::BootstrapKubeconfig | FileKind::KubeProxyKubeconfig => "kubeconfig",
            FileKind::TokenCsv => "tokens",
            FileKind::CaCertificate => "ca",
        };
        let _ = write!(calls, " {i} {} {} {kind}", quote_sh(name), file.sha256);
    }
    calls.push('\n');
}

pub(super) fn push_enter(calls: &mut String, function: &str, d: usize, directory: &Directory<'_>, layout: &Layout<'_>) {
    let _ = writeln!(calls, "{function} {d} {} {}", quote_sh(&layout.root), quote_sh(directory.path));
}

pub(super) fn push_call(calls: &mut String, function: &str, words: impl Iterator<Item = String>) {
    calls.push_str(function);
    for word in words {
        calls.push(' ');
        calls.push_str(&word);
    }
    calls.push('\n');
}

/// As [`quote_sh`], without a copy in between.
fn push_quoted(calls: &mut String, text: &str) {
    calls.push('\'');
    for (n, part) in text.split('\'').enumerate() {
        if n > 0 {
            calls.push_str(r"'\''");
        }
        calls.push_str(part);
    }
    calls.push('\'');
}

/// Functions that are sent are those of their template, and a script to every shell.
#[cfg(test)]
pub(super) fn assert_is_script(functions: &str, source: &str) {
    let words = |text: &str| -> Vec<String> {
        let lines = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
        lines.flat_map(str::split_whitespace).map(str::to_owned).collect()
    };
    assert_eq!(words(functions), words(source));
    assert!(!source.contains("<<"), "a here-document keeps its blanks");
    for shell in [&["dash"][..], &["bash", "--posix"], &["busybox", "sh"]] {
        let mut command = std::process::Command::new(shell[0]);
        let said = command.args(&shell[1..]).args(["-n", "-c", functions]).output().unwrap();
        assert!(said.status.success() && said.stderr.is_empty(), "{shell:?} {said:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quoted_word_comes_out_of_a_shell_as_it_went_in() {
        for text in ["", "plain", "a b", "it's", "'", "$(x) `y` \\ \"q\" !z", "a\nb", "naïve ☃", "''''"] {
            let mut pushed = String::new();
            push_quoted(&mut pushed, text);
            assert_eq!(pushed, quote_sh(text));
            let script = format!("printf %s {pushed}");
            let said = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
            assert_eq!(String::from_utf8(said.stdout).unwrap(), text);
        }
    }

    #[test]
    fn what_only_people_read_is_not_sent_and_the_rest_is_as_it_was() {
        let functions = without_remarks(INSTALL);
        assert!(OPENING.lines().all(|line| !line.starts_with([' ', '#']) && !line.is_empty()));
        assert!(functions.contains("km_newline='\n'\n"), "a quoted newline");
        assert_is_script(&functions, INSTALL);
        let odd = INSTALL.lines().filter(|line| !line.trim_start().starts_with('#'));
        let odd: Vec<_> = odd.filter(|line| line.replace("\\\"", "").matches('"').count() % 2 == 1).collect();
        assert!(odd.is_empty(), "{odd:?}");
    }

    #[test]
    fn a_path_is_split_or_refused() {
        assert_eq!(split_path("/etc/kubernetes/token.csv").unwrap(), ("etc/kubernetes", "token.csv"));
        assert_eq!(split_path("/x").unwrap(), ("", "x"));
        for bad in ["", "/", "x", "/etc/", "/etc//x", "/etc/../x", "/./x", "/a b", "/a'b", "/a\nb", "/$(x)", "/ü"] {
            assert!(matches!(split_path(bad), Err(Error::PathUnusable { .. })), "{bad:?}");
        }
    }
}
