//! The bootstrap token and every form it takes on the control plane: a row of token.csv, RBAC bindings, and the modern
//! bootstrap-token Secret.
//!
//! token.csv is read exactly as kube-apiserver reads it (Go `encoding/csv`, `tokenfile.go`), and rows of other users
//! survive untouched. Tokens are named by fingerprint only. Nothing here reads a disk or knows the time.

mod bootstrap;
mod bootstrap_secret;
mod csv;
mod lint;
mod manifest;
mod node;
mod record;
#[cfg(test)]
mod record_table;
mod strength;
mod template_bounds;

pub use bootstrap::{BootstrapToken, TokenError};
pub use bootstrap_secret::{BootstrapTokenSecret, DEFAULT_TTL, SecretTerms};
pub use csv::{MergeChange, Row, TokenFile, merge, parse_token_file};
pub use lint::{Finding, Severity, lint_secret, lint_token_file};
pub use manifest::{
    BOOTSTRAP_SECRET_TEMPLATE, ManifestError, RBAC_TEMPLATE, RbacSubjects, join_manifests, list_of_manifest,
    render_bootstrap_secret, render_rbac,
};
pub use node::{node_holder, node_user_prefix};
pub use record::{CsvError, CsvFault};
