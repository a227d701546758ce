//! Parse, run, exit.

use std::process::ExitCode;

fn main() -> ExitCode {
    kubemint::cli::run(std::env::args_os())
}
