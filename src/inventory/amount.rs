//! A number of hosts, or a share of them: what `batch` and `max_failures` take, in the inventory and on the command line.
//! What it is a share of is only known when a run begins.

use std::{fmt, str::FromStr};

/// `50` or `10%`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amount {
    Hosts(usize),
    /// From 0 to 100.
    Percent(u8),
}

/// More hosts than any run has.
const MOST_HOSTS: usize = 1_000_000;

impl Amount {
    /// That many of `total`, rounded down: half a host more than allowed is one too many.
    #[must_use]
    pub fn of(self, total: usize) -> usize {
        match self {
            Self::Hosts(number) => number,
            Self::Percent(share) => total.saturating_mul(usize::from(share)) / 100,
        }
    }

    /// As [`Amount::of`], but at least 1: what is done in parts must come along.
    #[must_use]
    pub fn at_least_one_of(self, total: usize) -> usize {
        self.of(total).max(1)
    }

    /// Whether it is none, of however many.
    #[must_use]
    pub const fn is_nothing(self) -> bool {
        matches!(self, Self::Hosts(0) | Self::Percent(0))
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hosts(number) => write!(f, "{number}"),
            Self::Percent(share) => write!(f, "{share}%"),
        }
    }
}

/// Why text is no [`Amount`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    #[error("neither a number of hosts nor a percentage")]
    NotANumber,
    #[error("more than 100 percent")]
    MoreThanAll,
    #[error("more than {MOST_HOSTS} hosts")]
    TooMany,
}

impl AmountError {
    /// How it is written.
    #[must_use]
    pub const fn hint(self) -> &'static str {
        "write a number of hosts, such as 50, or a whole percentage, such as \"10%\""
    }
}

impl FromStr for Amount {
    type Err = AmountError;

    fn from_str(text: &str) -> Result<Self, AmountError> {
        let (digits, is_share) = match text.strip_suffix('%') {
            Some(digits) => (digits, true),
            None => (text, false),
        };
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(AmountError::NotANumber);
        }
        match (digits.parse::<usize>(), is_share) {
            (Ok(share @ 0..=100), true) => u8::try_from(share).map(Self::Percent).map_err(|_| AmountError::MoreThanAll),
            (_, true) => Err(AmountError::MoreThanAll),
            (Ok(number), false) if number <= MOST_HOSTS => Ok(Self::Hosts(number)),
            (_, false) => Err(AmountError::TooMany),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_or_a_percentage_is_read() {
        for (text, amount) in [
            ("50", Amount::Hosts(50)),
            ("0", Amount::Hosts(0)),
            ("10%", Amount::Percent(10)),
            ("100%", Amount::Percent(100)),
            ("007", Amount::Hosts(7)),
        ] {
            assert_eq!(text.parse(), Ok(amount), "{text}");
        }
    }

    #[test]
    fn what_is_neither_is_refused() {
        for text in ["", "%", "-1", "+1", "1.5%", "10 %", "ten", "٣", "5%%"] {
            assert_eq!(text.parse::<Amount>(), Err(AmountError::NotANumber), "{text}");
        }
        for text in ["101%", "99999999999999999999%"] {
            assert_eq!(text.parse::<Amount>(), Err(AmountError::MoreThanAll), "{text}");
        }
        for text in ["1000001", "99999999999999999999"] {
            assert_eq!(text.parse::<Amount>(), Err(AmountError::TooMany), "{text}");
        }
    }

    #[test]
    fn a_share_is_rounded_down_and_a_part_has_at_least_one() {
        for (share, total, failures, batch) in
            [(10, 5, 0, 1), (10, 19, 1, 1), (10, 20, 2, 2), (100, 7, 7, 7), (0, 7, 0, 1), (50, 0, 0, 1)]
        {
            let amount = Amount::Percent(share);
            assert_eq!((amount.of(total), amount.at_least_one_of(total)), (failures, batch), "{share}% of {total}");
        }
        assert_eq!(Amount::Hosts(3).of(2), 3);
    }
}
