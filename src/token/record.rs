//! CSV records exactly as Go's `encoding/csv` reads them with its defaults and `FieldsPerRecord = -1`, which is how
//! kube-apiserver reads token.csv: strict quotes, CRLF folded to LF, blank lines skipped, no comments, no trimming, a
//! byte order mark kept as part of the first field. (The csv crate accepts bare and unterminated quotes, so it cannot
//! tell what the apiserver would refuse.) This module knows nothing of tokens.

use std::fmt;

/// Why kube-apiserver would not start on a token file, and where. Shows no content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}{}: {what}", self.record())]
pub struct CsvError {
    /// Where the record starts, from 1: an unclosed quote shows only lines later.
    pub start: usize,
    /// From 1.
    pub line: usize,
    /// In bytes, from 1, as Go counts since 1.17.
    pub column: usize,
    pub what: CsvFault,
}

impl CsvError {
    pub(super) fn record(&self) -> String {
        if self.start == self.line { String::new() } else { format!(" (record on line {})", self.start) }
    }

    /// What the user may do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self.what {
            CsvFault::BareQuote => "quote the whole field or nothing: no space before the opening quote",
            CsvFault::BrokenQuote => {
                "close the quote and put nothing between it and the next comma; write \"\" for one"
            }
            CsvFault::TooFewColumns { .. } => "a row is token,user,uid[,\"group1,group2\"]; there are no comment lines",
            CsvFault::NotUtf8 => "save the file as UTF-8",
        }
    }
}

/// The kinds of [`CsvError`]; the first two in Go's own words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CsvFault {
    /// `encoding/csv.ErrBareQuote`.
    BareQuote,
    /// `encoding/csv.ErrQuote`.
    BrokenQuote,
    /// `tokenfile.go`: fewer than token, user and uid.
    TooFewColumns { found: usize },
    /// The apiserver would read it; kubemint does not rewrite what it cannot represent.
    NotUtf8,
}

impl fmt::Display for CsvFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BareQuote => f.write_str("bare \" in non-quoted field"),
            Self::BrokenQuote => f.write_str("extraneous or missing \" in quoted field"),
            Self::TooFewColumns { found } => {
                write!(f, "a row needs at least 3 columns (token, user name, user uid), found {found}")
            }
            Self::NotUtf8 => f.write_str("not valid UTF-8"),
        }
    }
}

/// One record: its fields, and the very text it came from.
pub(super) struct Record<'a> {
    /// The line it starts on, from 1.
    pub line: usize,
    pub fields: Vec<String>,
    /// With the line end, where there is one.
    pub raw: &'a str,
}

/// Reads record after record. After an error the next call goes on with the line after the faulty one.
pub(super) struct Records<'a> {
    text: &'a str,
    offset: usize,
    /// The number of the line read last.
    line: usize,
}

/// A line without its end, and whether a newline ended it.
#[derive(Clone, Copy)]
struct Line<'a> {
    body: &'a str,
    newline: bool,
}

impl<'a> Records<'a> {
    pub fn new(text: &'a str) -> Self {
        Self { text, offset: 0, line: 0 }
    }

    fn next_line(&mut self) -> Option<Line<'a>> {
        let rest = &self.text[self.offset..];
        if rest.is_empty() {
            return None;
        }
        self.line += 1;
        let (body, newline) = match rest.find('\n') {
            Some(end) => (&rest[..end], true),
            None => (rest, false),
        };
        self.offset += body.len() + usize::from(newline);
        // Go drops a carriage return before the newline, and one before the end of the file.
        let body = body.strip_suffix('\r').unwrap_or(body);
        (newline || !body.is_empty()).then_some(Line { body, newline })
    }

    fn fault(&self, line: Line<'_>, rest: &str, what: CsvFault) -> CsvError {
        CsvError { start: self.line, line: self.line, column: line.body.len() - rest.len() + 1, what }
    }

    fn parse_fields(&mut self, mut line: Line<'a>) -> Result<Vec<String>, CsvError> {
        let mut fields = Vec::new();
        let mut rest = line.body;
        loop {
            let Some(quoted) = rest.strip_prefix('"') else {
                let end = rest.find(',').unwrap_or(rest.len());
                if let Some(quote) = rest[..end].find('"') {
                    return Err(self.fault(line, &rest[quote..], CsvFault::BareQuote));
                }
                fields.push(rest[..end].to_owned());
                match rest.get(end + 1..) {
                    Some(next) => rest = next,
                    None => return Ok(fields),
                }
                continue;
            };
            let (field, after) = self.parse_quoted(&mut line, quoted)?;
            fields.push(field);
            match after {
                Some(next) => rest = next,
                None => return Ok(fields),
            }
        }
    }

    /// Reads to the closing quote, over line ends if need be. Returns the field and what follows its comma.
    fn parse_quoted(&mut self, line: &mut Line<'a>, start: &'a str) -> Result<(String, Option<&'a str>), CsvError> {
        let mut field = String::new();
        let mut rest = start;
        loop {
            let Some(quote) = rest.find('"') else {
                field.push_str(rest);
                let end = CsvError {
                    start: self.line,
                    line: self.line,
                    column: line.body.len() + usize::from(line.newline) + 1,
                    what: CsvFault::BrokenQuote,
                };
                if line.newline {
                    field.push('\n');
                }
                *line = self.next_line().ok_or(end)?;
                rest = line.body;
                continue;
            };
            field.push_str(&rest[..quote]);
            let after = &rest[quote + 1..];
            if let Some(next) = after.strip_prefix('"') {
                field.push('"');
                rest = next;
            } else if let Some(next) = after.strip_prefix(',') {
                return Ok((field, Some(next)));
            } else if after.is_empty() {
                return Ok((field, None));
            } else {
                return Err(self.fault(*line, &rest[quote..], CsvFault::BrokenQuote));
            }
        }
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, CsvError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let start = self.offset;
            let line = self.next_line()?;
            if line.body.is_empty() {
                continue;
            }
            let number = self.line;
            return Some(match self.parse_fields(line) {
                Ok(fields) => Ok(Record { line: number, fields, raw: &self.text[start..self.offset] }),
                Err(error) => Err(CsvError { start: number, ..error }),
            });
        }
    }
}
