//! The use cases, each readable as its own summary. They know ports and adapters, never a terminal.

#[cfg(feature = "k8s")]
pub mod admin_certificate;
#[cfg(feature = "k8s")]
pub mod approve;
mod breaker;
pub mod combine;
pub mod distribute;
pub mod doctor;
mod fanout;
pub mod generate;
mod journal;
mod kept_run;
pub mod merge;
mod order;
pub mod report;
pub mod restarts;
pub mod rollback;
#[cfg(feature = "k8s")]
pub mod rotate;
pub mod runs;
pub mod skew;
pub mod stored;
pub mod survey;
mod twins;
pub mod verify;
mod waves;

pub use fanout::{Interrupt, InterruptObserver};
