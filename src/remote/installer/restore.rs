//! Puts the kept versions of a host's files back: templates/restore.sh, sent after the installer's own functions, which
//! judge directories and targets by the same rules. Nothing secret travels: paths and digests only.
//!
//! What the file holds is compared on the host with what the run to be undone installed, and what is put back with what
//! that run replaced, before anything is changed there.

use super::{
    ForeignPolicy, draw_nonce,
    failure::garbled,
    last_word::effect_of,
    outcome::{Action, refuse_blocked},
    reply,
    script::{self, Layout, quote_sh},
};
use crate::{
    bundle::{FileKind, HostFile},
    digest::Digest,
    entropy::Entropy,
    foreign::ForeignText,
    inventory::Host,
    remote::{
        Error, Failure, FileError, FileFault, Input, Peer, Remote, Sent,
        heard::{Heard, hear_expecting},
    },
    secret::Secret,
};
use std::{fmt::Write, sync::Arc, sync::LazyLock};

static FUNCTIONS: LazyLock<String> =
    LazyLock::new(|| script::without_remarks(include_str!("../../../templates/restore.sh")));

/// A file to be put back.
#[derive(Debug, Clone)]
pub struct KeptFile {
    pub kind: FileKind,
    /// Absolute path on the host; below `root` for a local host.
    pub path: String,
    pub undo: Undo,
}

/// What is to become of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Undo {
    /// It changes places with its kept version, if it holds `installed` and that one `replaced` (`None`: not known).
    Exchange { installed: Digest, replaced: Option<Digest> },
    /// It goes, if it holds `installed`: there was none before.
    Remove { installed: Digest },
    /// It changes places with its kept version, where there is one, whatever either holds; but of all such files of the
    /// host the older version, or of all the newer one.
    ExchangeAny,
}

/// What became of a file.
#[derive(Debug)]
pub struct RestoredFile {
    /// `Restored`, `Removed` or `Unchanged`.
    pub action: Action,
    /// As read back from the host; `None` where no file is now.
    pub sha256: Option<Digest>,
    /// What it held before, where that was something else.
    pub replaced: Option<Digest>,
}

/// What became of a host.
#[derive(Debug)]
pub struct RestoredHost {
    /// In the order asked for.
    pub files: Vec<RestoredFile>,
    /// How many connections it took, from 1.
    pub attempts: u32,
}

/// Puts `files` back, in the order given: all of them, or none.
///
/// # Errors
/// [`Failure`]; a refused file changes nothing.
pub fn restore_host(
    remote: &dyn Remote,
    host: &Host,
    files: &[KeptFile],
    entropy: &dyn Entropy,
) -> Result<RestoredHost, Failure> {
    let nonce = draw_nonce(entropy).map_err(Failure::untouched)?;
    let expected: Vec<HostFile> = files.iter().map(KeptFile::expectation).collect();
    // Whose the file is was judged when it was installed; here it is only compared.
    let layout = Layout::new(host, &expected, ForeignPolicy::Replace).map_err(Failure::untouched)?;
    let sent = Sent::default();
    let script = |_: &Peer| Ok(Input { sent: sent.clone(), ..render(&layout, files, &nonce) });
    let reply = remote.run_script(host, &script);
    let effect = reply.as_ref().map_or_else(|_| sent.effect(), |reply| effect_of(reply, &nonce, host));
    let known = files.iter().filter_map(|file| file.undo.replaced());
    let restored = hear_expecting(reply, &nonce, (remote, host), &expected, known).and_then(|heard| {
        let files = parse(&heard, &nonce, host, &layout, files)?;
        Ok(RestoredHost { files, attempts: heard.attempts })
    });
    restored.map_err(|error| Failure { error, effect })
}

impl KeptFile {
    /// As the installer's look wants it; there is no content to send.
    fn expectation(&self) -> HostFile {
        let sha256 = match self.undo {
            Undo::Exchange { installed, .. } | Undo::Remove { installed } => installed,
            Undo::ExchangeAny => Digest::of(""),
        };
        HostFile {
            kind: self.kind,
            path: self.path.clone(),
            content: Arc::new(Secret::from("")),
            sha256,
            validity: None,
            own_users_below: None,
        }
    }
}

impl Undo {
    /// What its kept version must hold, where that is known.
    const fn replaced(self) -> Option<Digest> {
        match self {
            Self::Exchange { replaced, .. } => replaced,
            Self::Remove { .. } | Self::ExchangeAny => None,
        }
    }

    /// HOW INSTALLED REPLACED, for km_weigh.
    fn words(self) -> String {
        let or_none = |digest: Option<Digest>| digest.map_or_else(|| "-".to_owned(), |digest| digest.to_string());
        match self {
            Self::Exchange { installed, replaced } => format!("swap {installed} {}", or_none(replaced)),
            Self::Remove { installed } => format!("drop {installed} -"),
            Self::ExchangeAny => "any - -".to_owned(),
        }
    }
}

fn render(layout: &Layout<'_>, files: &[KeptFile], nonce: &str) -> Input {
    let mut calls = String::new();
    for (d, directory) in layout.directories.iter().enumerate() {
        script::push_look(&mut calls, layout, d, "look");
        let weighed =
            directory.files.iter().map(|(i, name)| format!("{i} {} {}", quote_sh(name), files[*i].undo.words()));
        script::push_call(&mut calls, "km_weigh", std::iter::once(d.to_string()).chain(weighed));
    }
    calls.push_str("km_go_unless_refused\n");
    for (step, last) in [("km_ready", None), ("km_put", Some("km_finish"))] {
        if last.is_some() {
            calls.push_str("km_hold\n");
        }
        for (d, directory) in layout.directories.iter().enumerate() {
            let _ = writeln!(calls, "if [ -n \"${{km_work_{d}:-}}\" ]; then");
            let enter = if last.is_some() { "km_return" } else { "km_open" };
            script::push_enter(&mut calls, enter, d, directory, layout);
            for (i, name) in &directory.files {
                let _ = writeln!(calls, "{step} {i} {}", quote_sh(name));
            }
            if let Some(last) = last {
                script::push_call(
                    &mut calls,
                    last,
                    directory.files.iter().map(|(i, name)| format!("{i} {}", quote_sh(name))),
                );
            }
            calls.push_str("fi\n");
        }
    }
    script::push_call(&mut calls, "km_report", (0..files.len()).map(|i| i.to_string()));
    calls.push_str("km_heed\n");
    script::wrap(layout, nonce, &FUNCTIONS, &calls)
}

fn parse(
    reply: &Heard<'_>,
    nonce: &str,
    host: &Host,
    layout: &Layout<'_>,
    files: &[KeptFile],
) -> Result<Vec<RestoredFile>, Error> {
    let parsed = reply::parse(reply, nonce, host, layout)?;
    refuse_blocked(&parsed.views)?;
    let mut restored = Vec::new();
    for (((n, file), view), done) in files.iter().enumerate().zip(&parsed.views).zip(parsed.done) {
        let Some((action, sha256)) = done else {
            return Err(garbled("a file is missing from it", reply, nonce));
        };
        let wanted = file.undo.replaced();
        if action == Action::Restored && wanted.is_some() && sha256 != wanted {
            let detail = sha256.map(|digest| ForeignText::name(format!("SHA-256 {digest}"))).unwrap_or_default();
            let path = layout.file_path(n).unwrap_or_default();
            return Err(Error::Files(vec![FileError { path, fault: FileFault::DigestMismatch, detail }]));
        }
        let replaced = if action == Action::Unchanged { None } else { view.sha256() };
        restored.push(RestoredFile { action, sha256, replaced });
    }
    Ok(restored)
}

/// What the script's word for a kept version that cannot be put back means.
pub(super) fn fault_of(why: &str) -> Option<FileFault> {
    Some(match why {
        "absent" => FileFault::NothingToRestore,
        "changed" => FileFault::ChangedSince,
        "unusable" => FileFault::PreviousUnusable,
        "mixed" => FileFault::MixedVersions,
        "huge" => FileFault::TooLarge,
        _ => return None,
    })
}
