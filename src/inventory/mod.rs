//! The inventory: TOML in, validated values out.

mod model;

pub use model::*;
