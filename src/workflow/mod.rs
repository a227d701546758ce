//! The use cases, each readable as its own summary. They know ports and adapters, never a terminal.

pub mod distribute;
pub mod doctor;
mod fanout;
pub mod generate;
pub mod merge;
pub mod report;
pub mod restarts;
pub mod skew;
pub mod stored;
pub mod survey;
pub mod verify;

pub use fanout::Interrupt;
