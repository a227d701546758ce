//! Host-name patterns: `*`, `?`, `[a-f]`, and the inventory's own ranges `[001-100]`.
//!
//! Brackets that hold only digits, commas and hyphens are a range of numbers as in the inventory; others are a set of
//! characters (`[!…]`: none of them). Matching takes time linear in pattern times name, whatever the pattern.

use super::range::{Numbers, RangeError};

/// A compiled host-name pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob {
    text: String,
    tokens: Vec<Token>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Char(char),
    /// `?`
    Any,
    /// `*`
    Rest,
    Set {
        chars: Vec<(char, char)>,
        negated: bool,
    },
    Numbers(Numbers),
}

impl Glob {
    /// # Errors
    /// [`RangeError`] for brackets that do not pair up, are empty, or hold a bad range.
    pub fn parse(text: &str) -> Result<Self, RangeError> {
        let mut tokens = Vec::new();
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            rest = &rest[c.len_utf8()..];
            tokens.push(match c {
                '*' => Token::Rest,
                '?' => Token::Any,
                ']' => return Err(RangeError::Unbalanced),
                '[' => {
                    let (inner, after) = rest.split_once(']').ok_or(RangeError::Unbalanced)?;
                    rest = after;
                    parse_brackets(inner)?
                }
                other => Token::Char(other),
            });
        }
        Ok(Self { text: text.to_owned(), tokens })
    }

    /// The pattern as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the whole name fits.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        let chars: Vec<char> = name.chars().collect();
        // The positions in the name that the tokens so far can have led to.
        let mut reached = vec![false; chars.len() + 1];
        reached[0] = true;
        for token in &self.tokens {
            let mut next = vec![false; chars.len() + 1];
            for from in (0..=chars.len()).filter(|from| reached[*from]) {
                token.reach(&chars, from, &mut next);
            }
            reached = next;
        }
        reached[chars.len()]
    }
}

impl Token {
    fn reach(&self, chars: &[char], from: usize, next: &mut [bool]) {
        let one = |fits: &dyn Fn(char) -> bool| chars.get(from).is_some_and(|c| fits(*c));
        match self {
            Self::Rest => next[from..].fill(true),
            Self::Any => next_if(one(&|_| true), from, next),
            Self::Char(wanted) => next_if(one(&|c| c == *wanted), from, next),
            Self::Set { chars: set, negated } => {
                let fits = |c| set.iter().any(|(first, last)| (*first..=*last).contains(&c)) != *negated;
                next_if(one(&fits), from, next);
            }
            Self::Numbers(numbers) => {
                let digits: String = chars[from..].iter().take_while(|c| c.is_ascii_digit()).take(18).collect();
                for length in (1..=digits.len()).filter(|length| numbers.contains(&digits[..*length])) {
                    next[from + length] = true;
                }
            }
        }
    }
}

fn next_if(fits: bool, from: usize, next: &mut [bool]) {
    if fits {
        next[from + 1] = true;
    }
}

fn parse_brackets(inner: &str) -> Result<Token, RangeError> {
    if inner.is_empty() || inner.chars().all(|c| c.is_ascii_digit() || matches!(c, ',' | '-')) {
        return Numbers::parse(inner).map(Token::Numbers);
    }
    let (negated, inner) = inner.strip_prefix(['!', '^']).map_or((false, inner), |inner| (true, inner));
    let mut set = Vec::new();
    let mut chars = inner.chars().peekable();
    while let Some(first) = chars.next() {
        let mut ahead = chars.clone();
        let last = match (ahead.next(), ahead.next()) {
            (Some('-'), Some(last)) => {
                chars = ahead;
                last
            }
            _ => first,
        };
        if last < first {
            return Err(RangeError::Reversed(super::diagnostics::shown(inner)));
        }
        set.push((first, last));
    }
    if set.is_empty() { Err(RangeError::Unbalanced) } else { Ok(Token::Set { chars: set, negated }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_names() {
        for (pattern, fits, fails) in [
            ("node-*", "node-1", "a-node-1"),
            ("*-1", "node-1", "node-11"),
            ("*", "x", ""),
            ("n*d*1", "node-0-1", "node-0-2"),
            ("node-?", "node-1", "node-12"),
            ("node[001-100]", "node042", "node42"),
            ("node[1-10]", "node10", "node11"),
            ("node[1,3,5-9]x", "node7x", "node2x"),
            ("[1-12][1-3]", "121", "44"),
            ("rack-[a-c]1", "rack-b1", "rack-d1"),
            ("rack-[abz]", "rack-z", "rack-c"),
            ("rack-[!a-c]", "rack-d", "rack-a"),
        ] {
            let glob = Glob::parse(pattern).unwrap();
            assert!(glob.matches(fits), "{pattern} must match {fits}");
            assert!(fails.is_empty() || !glob.matches(fails), "{pattern} must not match {fails}");
        }
    }

    #[test]
    fn a_spiteful_pattern_is_no_trap() {
        let glob = Glob::parse(&format!("{}b", "*a".repeat(100))).unwrap();
        assert!(!glob.matches(&"a".repeat(253)));
        let glob = Glob::parse(&"[0-999999999]".repeat(100)).unwrap();
        assert!(glob.matches(&"1".repeat(253)) && !glob.matches(&"1".repeat(99)));
    }

    #[test]
    fn broken_brackets_are_refused() {
        for pattern in ["[", "a]", "[]", "[!]", "[9-1]", "[z-a]", "[1", "[[1]]"] {
            assert!(Glob::parse(pattern).is_err(), "{pattern}");
        }
    }
}
