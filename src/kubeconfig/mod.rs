//! kubeconfig files: a typed model that keeps unknown fields, builders, an emitter that agrees with kubectl, and an
//! inspector that never shows a secret.
//!
//! Shapes are those of client-go `tools/clientcmd/api/v1/types.go`. kubectl reads YAML 1.1, so every string it could
//! take for something else is quoted. Nothing here reads a disk: paths in a kubeconfig are only named.

mod access;
mod build;
mod certificate;
mod current;
mod decode;
mod emit;
mod fields;
mod inspect;
mod inspection;
mod model;
mod tree;

pub use access::{Access, AccessError, Material};
pub use build::{build_bootstrap, build_client_certificate, build_token};
pub use certificate::CertificateFacts;
pub use decode::{MAX_SIZE, ParseError, parse_kubeconfig};
pub use emit::{EmitError, render_kubeconfig};
pub use inspect::inspect_kubeconfig;
pub use inspection::{ClusterFacts, ContextFacts, Inspection, Problem, UserFacts, UserKind};
pub use model::{AuthProvider, Cluster, Context, EnvVar, Exec, Kubeconfig, Named, Unknown, User};
