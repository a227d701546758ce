//! Ranges in host names and addresses: `node[001-100]`, `10.0.[1-3].[1,5,7-9]`.
//!
//! A [`Template`] is counted before it is written out, so a range of millions costs nothing until somebody asks for its
//! values. With several ranges the last one runs fastest. Numbers are decimal digits, also in an IPv6 address. Brackets
//! that hold a colon are an IPv6 literal and stay as they are. What the values are used for is not known here.

use super::diagnostics::shown;
use std::fmt::Write as _;

/// Why brackets cannot be expanded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    #[error("brackets do not pair up")]
    Unbalanced,
    #[error("the range [{0}] is not made of decimal numbers")]
    NotNumbers(String),
    #[error("the range [{0}] runs backwards")]
    Reversed(String),
    #[error("the ends of the range [{0}] are padded differently")]
    Padding(String),
    #[error("the range [{0}] has numbers of more than 18 digits")]
    TooLong(String),
}

impl RangeError {
    /// How to mend it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Unbalanced => "a range is written as [001-100] or [1,3,5-9]",
            Self::NotNumbers(_) => "write [1-9], [001-100] or [1,3,5-9]",
            Self::Reversed(_) => "put the smaller number first",
            Self::Padding(_) => "write both ends with the same number of digits, as in [001-100]",
            Self::TooLong(_) => "use smaller numbers",
        }
    }
}

/// Text with its ranges taken apart.
#[derive(Debug, Clone)]
pub(super) struct Template<'t> {
    parts: Vec<Part<'t>>,
}

#[derive(Debug, Clone)]
enum Part<'t> {
    Text(&'t str),
    Range(Numbers),
}

/// The numbers of one pair of brackets, in the order written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Numbers(Vec<Run>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    first: u64,
    last: u64,
    /// Fewest digits a number is written with.
    width: usize,
}

impl<'t> Template<'t> {
    pub fn parse(text: &'t str) -> Result<Self, RangeError> {
        let (mut parts, mut from, mut at, mut literal) = (Vec::new(), 0, 0, 0_usize);
        while let Some(found) = text[at..].find(['[', ']']).map(|offset| at + offset) {
            at = found + 1;
            if text[found..].starts_with(']') {
                literal = literal.checked_sub(1).ok_or(RangeError::Unbalanced)?;
                continue;
            }
            let inner = &text[at..];
            let inner = &inner[..inner.find(['[', ']']).unwrap_or(inner.len())];
            if inner.contains(':') {
                literal += 1;
                continue;
            }
            if !text[at + inner.len()..].starts_with(']') {
                return Err(RangeError::Unbalanced);
            }
            parts.push(Part::Text(&text[from..found]));
            parts.push(Part::Range(Numbers::parse(inner)?));
            at += inner.len() + 1;
            from = at;
        }
        parts.push(Part::Text(&text[from..]));
        if literal == 0 { Ok(Self { parts }) } else { Err(RangeError::Unbalanced) }
    }

    /// How many values there are, at least 1; more than `u64` holds counts as `u64::MAX`.
    pub fn count(&self) -> u64 {
        self.parts.iter().fold(1, |product, part| match part {
            Part::Text(_) => product,
            Part::Range(numbers) => product.saturating_mul(numbers.count()),
        })
    }

    /// Writes value `index` (below [`Self::count`]) in place of what `into` held.
    pub fn write(&self, index: u64, into: &mut String) {
        into.clear();
        let mut weight = self.count();
        for part in &self.parts {
            match part {
                Part::Text(text) => into.push_str(text),
                Part::Range(numbers) => {
                    weight = (weight / numbers.count()).max(1);
                    numbers.write(index / weight % numbers.count(), into);
                }
            }
        }
    }
}

impl Numbers {
    /// Parses what stands between the brackets.
    pub fn parse(inner: &str) -> Result<Self, RangeError> {
        inner.split(',').map(|item| Run::parse(item, inner)).collect::<Result<_, _>>().map(Self)
    }

    fn count(&self) -> u64 {
        self.0.iter().fold(0, |sum, run| sum.saturating_add(run.count()))
    }

    fn write(&self, mut index: u64, into: &mut String) {
        for run in &self.0 {
            if index < run.count() {
                // Writing to a String cannot fail.
                let _ = write!(into, "{:0width$}", run.first + index, width = run.width);
                return;
            }
            index -= run.count();
        }
    }

    /// Whether these digits are one of the numbers, written with its padding.
    pub fn contains(&self, digits: &str) -> bool {
        let natural = digits.trim_start_matches('0').len().max(1);
        let value = digits.parse::<u64>();
        value.is_ok_and(|value| {
            self.0.iter().any(|run| (run.first..=run.last).contains(&value) && digits.len() == natural.max(run.width))
        })
    }
}

impl Run {
    fn parse(item: &str, inner: &str) -> Result<Self, RangeError> {
        let (first, last) = item.split_once('-').unwrap_or((item, item));
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if !is_number(first) || !is_number(last) {
            return Err(RangeError::NotNumbers(shown(inner)));
        }
        if first.len().max(last.len()) > 18 {
            return Err(RangeError::TooLong(shown(inner)));
        }
        let padded = |text: &str| text.len() > 1 && text.starts_with('0');
        let number = |text: &str| text.parse::<u64>().map_err(|_| RangeError::NotNumbers(shown(inner)));
        let (from, to) = (number(first)?, number(last)?);
        if to < from {
            return Err(RangeError::Reversed(shown(inner)));
        }
        // [01-100] is plain: at least two digits. [001-10] and [1-010] are not.
        if (padded(first) && last.len() < first.len()) || (padded(last) && last.len() != first.len()) {
            return Err(RangeError::Padding(shown(inner)));
        }
        Ok(Self { first: from, last: to, width: if padded(first) { first.len() } else { 1 } })
    }

    fn count(self) -> u64 {
        self.last - self.first + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(text: &str) -> Vec<String> {
        let template = Template::parse(text).unwrap();
        let mut value = String::new();
        let values = (0..template.count()).map(|i| {
            template.write(i, &mut value);
            value.clone()
        });
        values.collect()
    }

    #[test]
    fn text_without_brackets_is_one_value() {
        assert_eq!(expand("node-1"), ["node-1"]);
        assert_eq!(expand(""), [""]);
    }

    #[test]
    fn zero_padding_is_kept() {
        assert_eq!(expand("n[08-11]x"), ["n08x", "n09x", "n10x", "n11x"]);
        assert_eq!(expand("[01-100]").last().unwrap(), "100");
        assert_eq!(expand("[000-002]"), ["000", "001", "002"]);
        assert_eq!(expand("[0-2]"), ["0", "1", "2"]);
    }

    #[test]
    fn lists_keep_their_order() {
        assert_eq!(expand("n[7,1,3-5]"), ["n7", "n1", "n3", "n4", "n5"]);
    }

    #[test]
    fn the_last_of_several_ranges_runs_fastest() {
        assert_eq!(expand("10.0.[1-2].[8-9]"), ["10.0.1.8", "10.0.1.9", "10.0.2.8", "10.0.2.9"]);
    }

    #[test]
    fn ipv6_brackets_are_not_a_range_and_a_range_within_them_is() {
        assert_eq!(expand("fd00::[1-3]"), ["fd00::1", "fd00::2", "fd00::3"]);
        assert_eq!(expand("https://[fd00::1]:6443"), ["https://[fd00::1]:6443"]);
        assert_eq!(expand("https://[fd00::[1-2]]:6443"), ["https://[fd00::1]:6443", "https://[fd00::2]:6443"]);
    }

    #[test]
    fn a_range_of_any_size_is_counted_without_being_written_out() {
        assert_eq!(Template::parse("n[1-1000000]").unwrap().count(), 1_000_000);
        let huge = "[0-999999999999999999]".repeat(3);
        assert_eq!(Template::parse(&huge).unwrap().count(), u64::MAX);
    }

    #[test]
    fn what_is_no_range_is_refused() {
        use RangeError::*;
        let inner = |text: &str| text.trim_matches(['[', ']']).to_owned();
        for (text, error) in [
            ("n[9-1]", Reversed("9-1".into())),
            ("n[001-10]", Padding("001-10".into())),
            ("n[1-010]", Padding("1-010".into())),
            ("n[0-09]", Padding("0-09".into())),
            ("n[1-2", Unbalanced),
            ("n1-2]", Unbalanced),
            ("n[[1-2]]", Unbalanced),
            ("n[fd00::1", Unbalanced),
            ("[1234567890123456789]", TooLong(inner("[1234567890123456789]"))),
        ] {
            assert_eq!(Template::parse(text).unwrap_err(), error, "{text}");
        }
        for text in ["[]", "[a-f]", "[1-]", "[-1]", "[1,]", "[1 - 2]", "[+1]", "[1-2-3]", "[٣]", "[1..3]"] {
            assert_eq!(Template::parse(text).unwrap_err(), NotNumbers(inner(text)), "{text}");
        }
    }

    #[test]
    fn a_number_belongs_only_with_its_padding() {
        let numbers = Numbers::parse("008-100").unwrap();
        assert!(numbers.contains("008") && numbers.contains("099") && numbers.contains("100"));
        assert!(
            !numbers.contains("8") && !numbers.contains("0008") && !numbers.contains("007") && !numbers.contains("101")
        );
        assert!(Numbers::parse("0-9").unwrap().contains("0"));
    }
}
