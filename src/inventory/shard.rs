//! One of N parts of the hosts, for runs that share the work: the n-th host that is left by `--limit` goes to part n
//! modulo N. Every host is in exactly one part, and no part has more than one host more than another.
//!
//! Hosts that are appended to an inventory move no other one. Parts agree only about the same list of hosts.

use std::{fmt, str::FromStr};

/// One part of so many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    /// From 0.
    index: usize,
    count: usize,
}

/// Why text or numbers name no part.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShardError {
    #[error("{0:?} is not I/N, such as 1/4")]
    Form(String),
    #[error("there are no {count} parts to choose from")]
    NoParts { count: usize },
    /// `number` counts from 1.
    #[error("there is no part {number} of {count}")]
    OutOfRange { number: usize, count: usize },
}

impl Shard {
    /// `index` counts from 0.
    ///
    /// # Errors
    /// [`ShardError::NoParts`], [`ShardError::OutOfRange`].
    pub fn new(index: usize, count: usize) -> Result<Self, ShardError> {
        match count {
            0 => Err(ShardError::NoParts { count }),
            _ if index >= count => Err(ShardError::OutOfRange { number: index.saturating_add(1), count }),
            _ => Ok(Self { index, count }),
        }
    }

    /// What of `all` is in this part, in the same order.
    pub fn select<T>(self, all: Vec<T>) -> Vec<T> {
        all.into_iter().skip(self.index).step_by(self.count).collect()
    }
}

/// As in `--shard`: from 1.
impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index + 1, self.count)
    }
}

impl FromStr for Shard {
    type Err = ShardError;

    fn from_str(text: &str) -> Result<Self, ShardError> {
        let form = || ShardError::Form(text.to_owned());
        let number = |digits: &str| match digits.bytes().all(|byte| byte.is_ascii_digit()) {
            true => digits.parse::<usize>().map_err(|_| form()),
            false => Err(form()),
        };
        let (number, count) = text.split_once('/').map(|(i, n)| (number(i), number(n))).ok_or_else(form)?;
        let (number, count) = (number?, count?);
        match number.checked_sub(1) {
            Some(index) => Self::new(index, count),
            None => Err(ShardError::OutOfRange { number, count }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parts(hosts: usize, count: usize) -> Vec<Vec<usize>> {
        (0..count).map(|index| Shard::new(index, count).unwrap().select((0..hosts).collect())).collect()
    }

    proptest! {
        #[test]
        fn every_host_is_in_exactly_one_part_and_the_parts_are_even(hosts in 0_usize..2000, count in 1_usize..300) {
            let parts = parts(hosts, count);
            let mut all: Vec<usize> = parts.concat();
            all.sort_unstable();
            prop_assert_eq!(all, (0..hosts).collect::<Vec<_>>());
            let sizes = parts.iter().map(Vec::len);
            prop_assert!(sizes.clone().max().unwrap() - sizes.min().unwrap() <= 1);
            prop_assert!(parts.iter().all(|part| part.is_sorted()));
        }

        #[test]
        fn a_host_that_is_appended_moves_no_other(hosts in 0_usize..500, more in 0_usize..50, count in 1_usize..40) {
            for (before, after) in parts(hosts, count).iter().zip(parts(hosts + more, count)) {
                prop_assert!(after.starts_with(before));
            }
        }
    }

    #[test]
    fn a_part_is_written_as_it_is_read() {
        for text in ["1/1", "1/4", "4/4", "10000/10000"] {
            assert_eq!(text.parse::<Shard>().unwrap().to_string(), text);
        }
        for bad in [
            "",
            "1",
            "/",
            "1/",
            "/4",
            "0/4",
            "5/4",
            "1/0",
            "0/0",
            "-1/4",
            "+1/4",
            "1/4/4",
            " 1/4",
            "a/b",
            "1/99999999999999999999",
        ] {
            assert!(bad.parse::<Shard>().is_err(), "{bad:?}");
        }
    }
}
