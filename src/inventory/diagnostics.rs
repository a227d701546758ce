//! The mistakes of one inventory file, all of them at once, each with its place and a way to mend it.
//!
//! [`Mistakes`] collects while the file is read; [`Diagnostics`] is what the caller gets: never empty, in the order of
//! the file. Text taken from the file is scrubbed before it is repeated. Nothing here knows what an inventory means.

use crate::secret::scrub;
use std::{cell::OnceCell, fmt, path::Path, sync::Arc};

/// More mistakes than this in one file are counted, not kept.
const MOST_KEPT: usize = 1000;
/// The most of a value that a message repeats, in characters.
const LONGEST_QUOTE: usize = 72;
/// Longer words are compared with nothing: the cost grows with the product of both lengths.
const LONGEST_WORD: usize = 253;

/// One mistake: `FILE:LINE:COLUMN: MESSAGE; HINT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// The inventory's path, as given.
    pub file: Arc<Path>,
    /// Counted from 1.
    pub line: usize,
    /// Counted from 1, in characters.
    pub column: usize,
    pub message: String,
    /// How to mend it.
    pub hint: Option<String>,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file.display(), self.line, self.column, self.message)?;
        self.hint.iter().try_for_each(|hint| write!(f, "; {hint}"))
    }
}

/// Every mistake of one file, in the order of the file; at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostics {
    kept: Vec<Diagnostic>,
    omitted: usize,
}

impl Diagnostics {
    /// The mistakes, at most 1000 of them.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.kept.iter()
    }

    /// How many mistakes there are, those beyond the first 1000 too.
    #[must_use]
    pub fn count(&self) -> usize {
        self.kept.len() + self.omitted
    }
}

impl<'a> IntoIterator for &'a Diagnostics {
    type Item = &'a Diagnostic;
    type IntoIter = std::slice::Iter<'a, Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, diagnostic) in self.kept.iter().enumerate() {
            write!(f, "{}{diagnostic}", if i == 0 { "" } else { "\n" })?;
        }
        if self.omitted > 0 {
            write!(f, "\n… and {} more", self.omitted)?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}

/// What is wrong and how to mend it, before its place is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mistake {
    pub message: String,
    pub hint: Option<String>,
}

impl Mistake {
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None }
    }

    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    pub fn maybe_hint(self, hint: Option<impl Into<String>>) -> Self {
        Self { hint: hint.map(Into::into), ..self }
    }
}

/// Collects the mistakes of one text. Places are byte offsets into it.
pub(super) struct Mistakes<'t> {
    file: Arc<Path>,
    text: &'t str,
    /// Where each line begins; found only when a mistake needs it.
    lines: OnceCell<Vec<usize>>,
    kept: Vec<(usize, Mistake)>,
    omitted: usize,
}

impl<'t> Mistakes<'t> {
    pub fn new(file: &Path, text: &'t str) -> Self {
        Self { file: Arc::from(file), text, lines: OnceCell::new(), kept: Vec::new(), omitted: 0 }
    }

    pub fn report(&mut self, at: usize, mistake: Mistake) {
        self.report_with(at, || mistake);
    }

    /// For a mistake that takes work to describe: only one that is kept is described.
    pub fn report_with(&mut self, at: usize, describe: impl FnOnce() -> Mistake) {
        if self.kept.len() < MOST_KEPT {
            self.kept.push((at, describe()));
        } else {
            self.omitted += 1;
        }
    }

    /// The value, or `None` and a mistake at `at`.
    pub fn keep<T>(&mut self, at: usize, result: Result<T, Mistake>) -> Option<T> {
        result.map_err(|mistake| self.report(at, mistake)).ok()
    }

    /// The line of a byte offset, counted from 1.
    pub fn line(&self, at: usize) -> usize {
        self.lines().partition_point(|start| *start <= at)
    }

    /// `value` when nothing was reported.
    pub fn finish<T>(self, value: T) -> Result<T, Diagnostics> {
        if self.kept.is_empty() { Ok(value) } else { Err(self.into_diagnostics()) }
    }

    /// Everything reported so far and this.
    pub fn fail(mut self, at: usize, mistake: Mistake) -> Diagnostics {
        self.report(at, mistake);
        self.into_diagnostics()
    }

    fn into_diagnostics(mut self) -> Diagnostics {
        let mut kept = std::mem::take(&mut self.kept);
        kept.sort_by_key(|(at, _)| *at);
        let kept = kept.into_iter().map(|(at, mistake)| self.locate(at, mistake)).collect();
        Diagnostics { kept, omitted: self.omitted }
    }

    fn locate(&self, at: usize, mistake: Mistake) -> Diagnostic {
        let line = self.line(at);
        let start = self.lines().get(line - 1).copied().unwrap_or_default();
        let before = self.text.get(start..at.min(self.text.len())).unwrap_or_default();
        let column = before.chars().filter(|c| *c != '\u{feff}').count() + 1;
        let Mistake { message, hint } = mistake;
        Diagnostic { file: Arc::clone(&self.file), line, column, message, hint }
    }

    fn lines(&self) -> &[usize] {
        self.lines.get_or_init(|| {
            std::iter::once(0).chain(self.text.match_indices('\n').map(|(newline, _)| newline + 1)).collect()
        })
    }
}

/// Text from the file, safe and short enough to be repeated in a message.
pub(super) fn shown(text: &str) -> String {
    let mut safe = scrub(text);
    if let Some((cut, _)) = safe.char_indices().nth(LONGEST_QUOTE) {
        safe.truncate(cut);
        safe.push('…');
    }
    safe
}

/// As [`shown`], in double quotes.
pub(super) fn quoted(text: &str) -> String {
    format!("\"{}\"", shown(text))
}

/// Of `known`, the word that `word` is most likely a slip of the pen for.
pub(super) fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    if word.len() > LONGEST_WORD {
        return None;
    }
    let plain = |text: &str| text.to_ascii_lowercase().replace(['-', '_'], "");
    let word = plain(word);
    let most = (word.chars().count() / 3).max(1);
    known
        .into_iter()
        .filter(|candidate| candidate.len().abs_diff(word.len()) <= most + 3)
        .map(|candidate| (strsim::damerau_levenshtein(&word, &plain(candidate)), candidate))
        .filter(|(distance, _)| *distance <= most)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// `did you mean "…"?`, where a known word is near enough.
pub(super) fn did_you_mean<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<String> {
    nearest(word, known).map(|near| format!("did you mean \"{near}\"?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_come_in_the_order_of_the_file_with_line_and_column() {
        let text = "a = 1\né = x\n";
        let mut mistakes = Mistakes::new(Path::new("i.toml"), text);
        mistakes.report(text.find('x').unwrap(), Mistake::new("second").hint("mend it"));
        mistakes.report(0, Mistake::new("first"));
        let found = mistakes.finish(()).unwrap_err();
        assert_eq!(found.to_string(), "i.toml:1:1: first\ni.toml:2:5: second; mend it");
    }

    #[test]
    fn a_place_past_the_end_is_still_a_place() {
        for text in ["", "\n", "é"] {
            let mut mistakes = Mistakes::new(Path::new("i"), text);
            mistakes.report(99, Mistake::new("x"));
            assert_eq!(mistakes.finish(()).unwrap_err().count(), 1);
        }
    }

    #[test]
    fn thousands_of_mistakes_are_counted_but_not_kept() {
        let mut mistakes = Mistakes::new(Path::new("i"), "");
        (0..5000).for_each(|_| mistakes.report(0, Mistake::new("x")));
        let found = mistakes.finish(()).unwrap_err();
        assert_eq!((found.count(), found.iter().len()), (5000, MOST_KEPT));
        assert!(found.to_string().ends_with("\n… and 4000 more"));
    }

    #[test]
    fn a_slip_of_the_pen_finds_its_word() {
        let keys = ["address", "known_hosts", "port", "user"];
        assert_eq!(nearest("adress", keys), Some("address"));
        assert_eq!(nearest("Known-Hosts", keys), Some("known_hosts"));
        assert_eq!(nearest("prot", keys), Some("port"));
        assert_eq!(nearest("colour", keys), None);
        assert_eq!(nearest(&"a".repeat(1 << 20), keys), None);
    }

    #[test]
    fn what_is_quoted_is_short_and_has_no_escapes() {
        assert_eq!(quoted("a\x1b[31m\nb"), "\"a [31m b\"");
        assert!(quoted(&"long ".repeat(100)).chars().count() < 80);
    }
}
