//! What must go wrong gracefully: each row of docs/faults.md on real SSH servers, through the real binary, beside a healthy
//! host that must not notice. What holds in every case is in `support::Trial`: one stable code and a hint, exit 3, the old
//! files byte for byte, nothing left over, and a second run that touches only what was mended.
#![allow(clippy::unwrap_used, reason = "test code")]

mod support;

#[path = "faults/host.rs"]
mod host;
#[path = "faults/local.rs"]
mod local;
#[path = "faults/login.rs"]
mod login;
#[path = "faults/penalties.rs"]
mod penalties;
#[path = "faults/reach.rs"]
mod reach;
#[path = "faults/shell.rs"]
mod shell;
#[path = "faults/transfer.rs"]
mod transfer;
