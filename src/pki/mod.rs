//! X.509 for node credentials.

mod algorithm;

pub use algorithm::{Algorithm, UnknownAlgorithm};
