//! kubemint mints Kubernetes node credentials and puts them where they belong.
//!
//! The map of the house: five floors, imports go down only (tests/architecture.rs holds them to it).

// 0 ground
pub mod clock;
pub mod digest;
pub mod entropy;
pub mod foreign;
pub mod inherited;
pub mod json;
pub mod secret;
// 1 domain: no I/O, no printing, no clock of its own
pub mod bundle;
pub mod inventory;
pub mod kubeconfig;
pub mod pki;
pub mod rotation;
pub mod token;
// 2 adapters
#[cfg(feature = "k8s")]
pub mod cluster;
pub mod remote;
pub mod store;
// 3 use cases
pub mod workflow;
// 4 edge
pub mod cli;
