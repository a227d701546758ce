//! The use cases, each readable as its own summary. They know ports and adapters, never a terminal.

#[cfg(feature = "k8s")]
pub mod admin_certificate;
#[cfg(feature = "k8s")]
pub mod approve;
mod breaker;
pub mod combine;
pub mod debts;
pub mod distribute;
pub mod doctor;
pub mod external;
mod fanout;
pub mod generate;
#[cfg(feature = "k8s")]
pub mod identity;
mod journal;
mod kept_run;
pub mod merge;
mod order;
#[cfg(feature = "k8s")]
pub mod rebootstrap;
pub mod reissue;
pub mod report;
pub mod restarts;
pub mod rollback;
#[cfg(feature = "k8s")]
pub mod rotate;
pub mod runs;
pub mod sent;
pub mod skew;
pub mod stored;
pub mod survey;
pub mod token_reach;
mod twins;
pub mod upkeep;
pub mod verify;
mod waves;

pub use fanout::{Interrupt, InterruptObserver};
