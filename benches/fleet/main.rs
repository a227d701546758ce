//! What a distribution costs: kubemint over N real sshd hosts on this machine, beside a bare login with the same library
//! and beside the tools people use today. See docs/performance.md. Needs Linux and root.
//!
//! N, ROUNDS and CONCURRENCY are taken from the environment; FLEET_BENCH=quick measures kubemint and the bare login alone;
//! KUBEMINT_BIN names another build of kubemint to measure.
#![allow(clippy::cast_precision_loss)]

#[cfg(target_os = "linux")]
mod linux;

use std::{io::Write, process::ExitCode};

#[cfg(target_os = "linux")]
fn run() -> Result<(), String> {
    linux::main()
}

#[cfg(not(target_os = "linux"))]
fn run() -> Result<(), String> {
    Err("the fleet bench needs Linux: it makes its hosts of namespaces".into())
}

fn main() -> ExitCode {
    // `cargo test --benches` and `cargo nextest` only ask whether it runs.
    if std::env::args().any(|argument| argument == "--test" || argument == "--list") {
        return ExitCode::SUCCESS;
    }
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "bench: {error}");
            ExitCode::FAILURE
        }
    }
}
