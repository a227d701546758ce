//! Finds known secrets in foreign text by value: whole, as a piece of [`PIECE`] characters, in other cases, with anything
//! between the characters that is no letter or digit. [`crate::secret::scrub`] knows secrets by their looks only. Holds
//! hashes, no copy of a secret. What a hit means is the caller's to say.

use crate::{
    digest::Digest,
    secret::{ExposeSecret, Secret},
};
use std::{
    collections::HashSet,
    hash::{BuildHasher, RandomState},
};
use zeroize::Zeroizing;

/// This many characters of a secret in a row are taken for the secret; a shorter one counts as a whole.
pub const PIECE: usize = 8;
/// What is shorter stands in any text, and protects nothing.
pub const SHORTEST: usize = 4;

/// Secrets that a text is held against.
pub struct Pieces {
    hasher: RandomState,
    hashes: HashSet<u64>,
    lengths: Vec<usize>,
    /// What a token is called in plans and reports, which is no secret.
    fingerprints: HashSet<String>,
}

impl Pieces {
    /// Of `secrets`; the end of a line behind one is none of it.
    pub fn of(secrets: impl IntoIterator<Item = Secret>) -> Self {
        let mut pieces = Self {
            hasher: RandomState::new(),
            hashes: HashSet::new(),
            lengths: vec![PIECE],
            fingerprints: HashSet::new(),
        };
        secrets.into_iter().for_each(|secret| pieces.take(&secret));
        pieces
    }

    fn take(&mut self, secret: &Secret) {
        let secret = secret.expose_secret().trim_end_matches('\n');
        self.fingerprints.insert(Digest::of(secret).fingerprint().to_string());
        let folded = Zeroizing::new(secret.to_ascii_lowercase().into_bytes());
        let compact = Zeroizing::new(compacted(&folded));
        let length = folded.len().min(PIECE);
        if length < SHORTEST {
            return;
        }
        if !self.lengths.contains(&length) {
            self.lengths.push(length);
        }
        let hasher = &self.hasher;
        let windows = folded.windows(length).chain(compact.windows(PIECE));
        self.hashes.extend(windows.map(|piece| hasher.hash_one(piece)));
    }

    /// Whether any of the secrets, or a piece of one, stands in `text`.
    #[must_use]
    pub fn stand_in(&self, text: &[u8]) -> bool {
        let folded = text.to_ascii_lowercase();
        self.lengths.iter().any(|length| folded.windows(*length).any(|piece| self.are_hit_by(piece)))
            || compacted(&folded).windows(PIECE).any(|piece| self.are_hit_by(piece))
    }

    /// Whether a word repeats a secret: a piece of full length, or the whole of a short one where it is no number.
    #[must_use]
    pub fn stand_in_word(&self, word: &str) -> bool {
        let folded = word.to_ascii_lowercase();
        let is_number = folded.bytes().all(|byte| byte.is_ascii_hexdigit());
        let mut lengths = self.lengths.iter().filter(|length| **length == PIECE || !is_number);
        lengths.any(|length| folded.as_bytes().windows(*length).any(|piece| self.are_hit_by(piece)))
    }

    /// Which of `parts`, read as one text without what is no letter or digit, have a share in a piece of a secret.
    #[must_use]
    pub fn hit(&self, parts: &[&str]) -> Vec<bool> {
        let mut hit = vec![false; parts.len()];
        let (mut text, mut owners) = (Vec::new(), Vec::new());
        for (n, part) in parts.iter().enumerate() {
            text.extend(compacted(part.to_ascii_lowercase().as_bytes()));
            owners.resize(text.len(), n);
        }
        for (at, piece) in text.windows(PIECE).enumerate() {
            if self.are_hit_by(piece) {
                owners[at..at + PIECE].iter().for_each(|owner| hit[*owner] = true);
            }
        }
        hit
    }

    /// Whether `word` is the fingerprint of one of the secrets.
    #[must_use]
    pub fn is_fingerprint(&self, word: &str) -> bool {
        self.fingerprints.contains(word)
    }

    fn are_hit_by(&self, piece: &[u8]) -> bool {
        self.hashes.contains(&self.hasher.hash_one(piece))
    }
}

fn compacted(text: &[u8]) -> Vec<u8> {
    text.iter().copied().filter(u8::is_ascii_alphanumeric).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "89abcdef01234567fedcba9876543210";

    fn pieces() -> Pieces {
        Pieces::of([Secret::from(TOKEN), Secret::from("pass!\n"), Secret::from("abc")])
    }

    #[test]
    fn a_piece_is_found_in_whatever_way_it_is_cut_and_less_is_not() {
        for text in [TOKEN, "x89abcdefx", "89ABCDEF", "8.9.a.b.c.d.e.f", "89ab-cdef", "89\u{200b}abcd\0ef", "a pass! b"]
        {
            assert!(pieces().stand_in(text.as_bytes()), "{text}");
        }
        for text in ["", "89abcde", "89abcdexf", "pass", "abc", "98badcfe"] {
            assert!(!pieces().stand_in(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn all_parts_that_share_in_a_piece_are_named() {
        assert_eq!(pieces().hit(&["the", "89ab", "-", "cdef", "end"]), [false, true, false, true, false]);
        assert_eq!(pieces().hit(&["89abcd", "xx", "ef01"]), [false; 3]);
    }

    #[test]
    fn a_number_is_no_short_secret_and_a_fingerprint_no_secret() {
        let pieces = Pieces::of([Secret::from("1000"), Secret::from("s3cr3t")]);
        assert!(!pieces.stand_in_word("1000") && pieces.stand_in_word("xs3cr3t"));
        assert!(pieces.is_fingerprint(&Digest::of("1000").fingerprint().to_string()));
    }
}
