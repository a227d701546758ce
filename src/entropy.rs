//! Randomness as a port: tokens, serial numbers and nonces all draw from here. Private keys do not: the
//! cryptographic library draws those itself.

use rand::{SeedableRng, TryRng, rngs::StdRng, rngs::SysRng};
use std::sync::{Mutex, PoisonError};

/// The operating system refused to give random bytes.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the operating system's random source failed: {0}")]
pub struct Error(String);

/// A source of random bytes fit for secrets.
pub trait Entropy: Send + Sync {
    /// Fills `buffer` whole.
    ///
    /// # Errors
    /// [`Error`] when the source fails; `buffer` must then not be used.
    fn fill(&self, buffer: &mut [u8]) -> Result<(), Error>;
}

/// `N` random bytes.
///
/// # Errors
/// As [`Entropy::fill`].
pub fn random_bytes<const N: usize>(source: &dyn Entropy) -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    source.fill(&mut bytes)?;
    Ok(bytes)
}

/// A number from 0 to 1, to spread what would else happen at once; the middle where the source fails.
pub fn jitter(source: &dyn Entropy) -> f64 {
    random_bytes::<2>(source).map_or(0.5, |bytes| f64::from(u16::from_be_bytes(bytes)) / f64::from(u16::MAX))
}

/// The operating system's random source (getrandom(2) on Linux).
#[derive(Debug, Clone, Copy, Default)]
pub struct OsEntropy;

impl Entropy for OsEntropy {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), Error> {
        SysRng.try_fill_bytes(buffer).map_err(|e| Error(e.to_string()))
    }
}

/// A repeatable sequence: for tests only, never a secret.
#[derive(Debug)]
pub struct SeededEntropy(Mutex<StdRng>);

impl SeededEntropy {
    /// The sequence that belongs to `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(StdRng::seed_from_u64(seed)))
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), Error> {
        let mut rng = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        rng.try_fill_bytes(buffer).map_err(|e| Error(e.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_source_never_repeats_a_value() {
        let seen: std::collections::HashSet<[u8; 16]> = (0..1000).map(|_| random_bytes(&OsEntropy).unwrap()).collect();
        assert_eq!(seen.len(), 1000);
        assert!(!seen.contains(&[0; 16]));
    }

    #[test]
    fn a_seed_gives_its_own_sequence() {
        let draw = |seed| random_bytes::<32>(&SeededEntropy::new(seed)).unwrap();
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }
}
