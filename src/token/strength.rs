//! A guess at how hard a token is to guess, from its text alone: enough to tell a random token from a word, a
//! truncated one or a placeholder. It cannot tell a random token from a published one.

/// The least number of bits a token should have (Kubernetes documentation, kubelet-tls-bootstrapping).
pub(super) const ENOUGH_BITS: u32 = 128;

/// At most this many bits: the length times what the smallest usual alphabet that fits gives per character; capped
/// where few different characters occur, as in `000…`. Separators (`-`, `.`) count for nothing.
pub(super) fn guessed_bits(token: &str) -> u32 {
    let drawn: Vec<char> = token.chars().filter(|c| !matches!(c, '-' | '.' | '_' | ':')).collect();
    let all = |test: fn(&char) -> bool| drawn.iter().all(test);
    let alphabet = if all(char::is_ascii_digit) {
        10
    } else if all(char::is_ascii_hexdigit) {
        16
    } else if all(|c| c.is_ascii_lowercase() || c.is_ascii_digit()) {
        36
    } else {
        64
    };
    let different = drawn.iter().collect::<std::collections::HashSet<_>>().len();
    // 32 random hex digits show 14 different ones on average, and fewer than 8 once in 100,000 tokens.
    let alphabet = if different < 8 { different.max(1) } else { alphabet };
    let length = u32::try_from(drawn.len()).unwrap_or(u32::MAX);
    // Hundredths of a bit, floored: log2 of the alphabet needs no more.
    let centibits = match alphabet {
        64 => 600,
        36 => 516,
        16 => 400,
        10 => 332,
        few => few.ilog2() * 100,
    };
    length.saturating_mul(centibits) / 100
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_generators_make_is_enough() {
        for token in
            ["d3a0a1f15e4a4ed08d2a7f6a1b9c0e57", "Zm9vYmFyYmF6cXV4Y29yZ2U=", "f47ac10b-58cc-4372-a567-0e02b2c3d479"]
        {
            assert!(guessed_bits(token) >= ENOUGH_BITS, "{token}: {}", guessed_bits(token));
        }
    }

    #[test]
    fn short_and_monotonous_tokens_are_not() {
        let truncated = &"d3a0a1f15e4a4ed08d2a7f6a1b9c0e57"[1..];
        for token in ["", "secret", "0123456789", truncated, &"0".repeat(500), "abcdef.0123456789abcdef"] {
            assert!(guessed_bits(token) < ENOUGH_BITS, "{token}: {}", guessed_bits(token));
        }
    }
}
