//! Versions of Go by what they read, and the Kubernetes releases that are first built with them: the refusals and
//! warnings that depend on a version name both.

use std::fmt;

/// A version of Go whose crypto/x509 differs from the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GoVersion {
    go: &'static str,
    kubernetes: &'static str,
}

impl GoVersion {
    /// Policy constraints, policy mappings and inhibitAnyPolicy are handled since (release notes of Go 1.24).
    pub const POLICIES: Self = Self { go: "1.24", kubernetes: "1.33" };
}

impl fmt::Display for GoVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kubernetes {} (Go {})", self.kubernetes, self.go)
    }
}
