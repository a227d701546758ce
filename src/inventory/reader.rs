//! Walks a parsed TOML document by the schema: first one pass that reports every unknown key and every value of the
//! wrong kind, then typed access for those who give the values their meaning.
//!
//! What [`Reader`] hands out is of the right kind; what the check refused is simply absent, so nothing is reported
//! twice. It knows no key by name.

use super::diagnostics::{Mistake, Mistakes, did_you_mean, quoted};
use super::schema::{Key, Kind, Section, TOP};
use toml::{
    Spanned,
    de::{DeInteger, DeTable, DeValue},
};

/// A value and the byte offset where it stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found<T> {
    pub value: T,
    pub at: usize,
}

/// One table of the document, or an absent one.
#[derive(Clone, Copy)]
pub(super) struct Reader<'d> {
    section: &'static Section,
    table: Option<&'d DeTable<'d>>,
    /// Where the table's heading stands.
    pub at: usize,
}

impl<'d> Reader<'d> {
    /// Checks the whole document against the schema.
    pub fn open(document: &'d DeTable<'d>, mistakes: &mut Mistakes<'_>) -> Self {
        check_table(document, &TOP, mistakes);
        Self { section: &TOP, table: Some(document), at: 0 }
    }

    /// Where the key's value stands, of whatever kind it is.
    pub fn place(&self, key: &str) -> Option<usize> {
        self.value(key).map(|value| value.span().start)
    }

    /// Where the key's value stands, when it is a list without items.
    pub fn empty_list(&self, key: &str) -> Option<usize> {
        let value = self.value(key)?;
        let items = value.get_ref().as_array()?;
        items.is_empty().then_some(value.span().start)
    }

    pub fn text(&self, key: &str) -> Option<Found<&'d str>> {
        text(self.value(key)?)
    }

    /// The strings of a list; one string counts as a list of one where the schema allows it.
    pub fn texts(&self, key: &str) -> Option<Found<Vec<Found<&'d str>>>> {
        let value = self.value(key)?;
        let list = match value.get_ref() {
            DeValue::Array(items) => items.iter().filter_map(text).collect(),
            _ => vec![text(value)?],
        };
        Some(Found { value: list, at: value.span().start })
    }

    /// A whole number; one too large for `i64` comes as the nearest that is not.
    pub fn integer(&self, key: &str) -> Option<Found<i64>> {
        let value = self.value(key)?;
        let DeValue::Integer(digits) = value.get_ref() else { return None };
        Some(Found { value: integer(digits), at: value.span().start })
    }

    pub fn flag(&self, key: &str) -> Option<bool> {
        self.value(key)?.get_ref().as_bool()
    }

    /// The pairs of a free table, by name.
    pub fn pairs(&self, key: &str) -> Vec<(Found<&'d str>, Found<&'d str>)> {
        let table = self.value(key).and_then(|value| value.get_ref().as_table());
        let pairs = table.into_iter().flat_map(DeTable::iter);
        pairs
            .filter_map(|(name, value)| {
                let name = Found { value: name.get_ref().as_ref(), at: name.span().start };
                let text = value.get_ref().as_str()?;
                Some((name, Found { value: text, at: value.span().start }))
            })
            .collect()
    }

    /// The table under `key`; an absent one reads as empty.
    pub fn table(&self, key: &str) -> Self {
        let section = match self.kind(key) {
            Some(Kind::Table(section)) => section,
            _ => self.section,
        };
        let value = self.value(key);
        let table = value.and_then(|value| value.get_ref().as_table());
        Self { section, table, at: value.map_or(0, |value| value.span().start) }
    }

    /// Whether there is something under `key` that is no table, which the check has reported.
    pub fn refused_table(&self, key: &str) -> bool {
        self.value(key).is_some_and(|value| !value.get_ref().is_table())
    }

    /// The tables of a `[[key]]` list.
    pub fn tables(&self, key: &str) -> Vec<Self> {
        let Some(Kind::Tables(section)) = self.kind(key) else { return Vec::new() };
        let items = self.value(key).and_then(|value| value.get_ref().as_array());
        let tables = items.into_iter().flat_map(|items| items.iter());
        tables
            .filter_map(|item| Some(Self { section, table: Some(item.get_ref().as_table()?), at: item.span().start }))
            .collect()
    }

    fn kind(&self, key: &str) -> Option<Kind> {
        self.section.key(key).map(|key| key.kind)
    }

    fn value(&self, key: &str) -> Option<&'d Spanned<DeValue<'d>>> {
        debug_assert!(self.section.key(key).is_some(), "{key} is not in the schema of {}", self.section.heading);
        self.table?.get(key)
    }
}

/// Whether a value without quotes begins at a byte offset where the text ceased to be TOML.
pub(super) fn is_bare_text(text: &str, at: usize) -> bool {
    let before = text.get(..at).unwrap_or_default().rsplit('\n').next().unwrap_or_default();
    let begins = text.get(at..).is_some_and(|rest| rest.starts_with(|c: char| c.is_alphanumeric() || c == '$'));
    begins && before.contains('=') && before.trim_end().ends_with(['=', '[', ','])
}

fn text<'d>(value: &'d Spanned<DeValue<'d>>) -> Option<Found<&'d str>> {
    let text = value.get_ref().as_str()?;
    text_fault(text).is_none().then_some(Found { value: text, at: value.span().start })
}

fn integer(digits: &DeInteger<'_>) -> i64 {
    let nearest = if digits.as_str().starts_with('-') { i64::MIN } else { i64::MAX };
    i64::from_str_radix(digits.as_str(), digits.radix()).unwrap_or(nearest)
}

/// What no text of an inventory may be, wherever it stands.
fn text_fault(text: &str) -> Option<&'static str> {
    if text.is_empty() {
        Some("must not be empty")
    } else if text.contains(['\n', '\r']) {
        Some("must not hold a line break")
    } else if text.contains(char::is_control) {
        Some("must not hold a control character")
    } else if text.trim() != text {
        Some("must not begin or end with a space")
    } else {
        None
    }
}

fn check_table(table: &DeTable<'_>, section: &'static Section, mistakes: &mut Mistakes<'_>) {
    for (name, value) in table {
        match section.key(name.get_ref()) {
            Some(key) => check_value(key, value, mistakes),
            None => mistakes.report_with(name.span().start, || unknown_key(name.get_ref(), section)),
        }
    }
}

fn unknown_key(name: &str, section: &'static Section) -> Mistake {
    let place = match section.heading {
        "" => "at the top of the file".to_owned(),
        heading => format!("in {heading}"),
    };
    let elsewhere: Vec<_> = TOP.all().iter().filter(|other| other.key(name).is_some()).map(|s| s.heading).collect();
    let hint = if elsewhere.iter().any(|heading| !heading.is_empty()) {
        Some(format!("it belongs in {}", elsewhere.join(" or ")))
    } else if !elsewhere.is_empty() {
        Some("it belongs at the top of the file, above the first [table]".to_owned())
    } else {
        did_you_mean(name, section.keys.iter().map(|key| key.name))
    };
    let known = || format!("known here: {}", section.keys.iter().map(|key| key.name).collect::<Vec<_>>().join(", "));
    Mistake::new(format!("unknown key {} {place}", quoted(name))).hint(hint.unwrap_or_else(known))
}

fn check_value(key: &Key, value: &Spanned<DeValue<'_>>, mistakes: &mut Mistakes<'_>) {
    let at = value.span().start;
    match (key.kind, value.get_ref()) {
        (Kind::Text | Kind::TextOrTexts | Kind::IntegerOrText, DeValue::String(text)) => {
            check_text(key, text, at, mistakes);
        }
        (Kind::Texts | Kind::TextOrTexts, DeValue::Array(items)) => {
            for item in items {
                match item.get_ref() {
                    DeValue::String(text) => check_text(key, text, item.span().start, mistakes),
                    other => {
                        let message = format!("{} must list strings, not {}", key.name, kind_of(other));
                        mistakes.report(item.span().start, Mistake::new(message).hint(sample(key)));
                    }
                }
            }
        }
        (Kind::Integer | Kind::IntegerOrText, DeValue::Integer(_)) | (Kind::Flag, DeValue::Boolean(_)) => {}
        (Kind::Map, DeValue::Table(table)) => check_map(key, table, mistakes),
        (Kind::Table(section), DeValue::Table(table)) => check_table(table, section, mistakes),
        (Kind::Tables(section), DeValue::Array(items)) => check_tables(key, section, items.iter(), mistakes),
        (_, other) => mistakes.report(at, wrong_kind(key, other)),
    }
}

fn check_tables<'v, 'd: 'v>(
    key: &Key,
    section: &'static Section,
    items: impl Iterator<Item = &'v Spanned<DeValue<'d>>>,
    mistakes: &mut Mistakes<'_>,
) {
    for item in items {
        match item.get_ref() {
            DeValue::Table(table) => check_table(table, section, mistakes),
            other => mistakes.report(item.span().start, wrong_kind(key, other)),
        }
    }
}

fn check_map(key: &Key, table: &DeTable<'_>, mistakes: &mut Mistakes<'_>) {
    for (name, value) in table {
        if !value.get_ref().is_str() {
            let message =
                format!("{}: {} must be a string, not {}", key.name, quoted(name.get_ref()), kind_of(value.get_ref()));
            mistakes.report(value.span().start, Mistake::new(message).hint(sample(key)));
        }
    }
}

fn check_text(key: &Key, text: &str, at: usize, mistakes: &mut Mistakes<'_>) {
    if let Some(fault) = text_fault(text) {
        mistakes.report(at, Mistake::new(format!("{} {fault}", key.name)).hint(sample(key)));
    }
}

fn wrong_kind(key: &Key, found: &DeValue<'_>) -> Mistake {
    let (asked, hint) = match key.kind {
        Kind::Text => ("a string", sample(key)),
        Kind::Texts => ("a list of strings", sample(key)),
        Kind::TextOrTexts => ("a string or a list of strings", sample(key)),
        Kind::Integer => ("a whole number", sample(key)),
        Kind::IntegerOrText => ("a whole number or a string", sample(key)),
        Kind::Flag => ("true or false", sample(key)),
        Kind::Map => ("a table of strings", sample(key)),
        Kind::Table(section) => ("a table", format!("write {} on a line of its own", section.heading)),
        Kind::Tables(section) => {
            ("a list of tables", format!("begin each with {} on a line of its own", section.heading))
        }
    };
    Mistake::new(format!("{} must be {asked}, not {}", key.name, kind_of(found))).hint(hint)
}

fn sample(key: &Key) -> String {
    format!("such as: {} = {}", key.name, key.sample)
}

fn kind_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
