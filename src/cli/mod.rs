//! The edge: arguments in, answers and exit codes out. The only floor that knows a terminal, the environment and the
//! working directory.

mod args;
mod ask;
mod context;
mod core_dumps;
mod failure;
mod output;
mod passwords;
mod progress;
mod signals;
mod standard_input;
mod steering;

#[cfg(feature = "k8s")]
mod approve;
mod cert;
#[cfg(feature = "k8s")]
mod cluster;
mod completions;
mod distribute;
mod doctor;
mod generate;
mod hosts;
mod init;
mod kubeconfig;
mod limits;
mod man;
mod plan;
#[cfg(feature = "k8s")]
mod rebootstrap;
mod reissue;
mod retry;
mod rollback;
#[cfg(feature = "k8s")]
mod rotate;
mod runs;
mod shard;
mod status;
mod token;
mod token_reach;
mod verify;

use crate::secret::printable;
use args::{Cli, Command};
use clap::{CommandFactory, FromArgMatches};
use context::Context;
use failure::{Exit, Failure};
use output::Output;
use std::{ffi::OsString, panic, process::ExitCode};

/// The whole command-line grammar: for completions, man pages and tests of the documentation.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

/// Runs one command line and says how the process must end.
///
/// A panic is a bug: it is reported by place only, since its message may hold anything, and ends with exit code 1.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    core_dumps::prevent();
    Output::report_panics();
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    panic::catch_unwind(|| run_command(&arguments)).unwrap_or(Exit::Unexpected).into()
}

fn run_command(arguments: &[OsString]) -> Exit {
    let parsed = command().try_get_matches_from(arguments).and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(usage) => {
            let usage = quoting_printable(arguments).unwrap_or(usage);
            return Output::before_flags(args::asks_for_json(arguments)).usage(&usage);
        }
    };
    let output = Output::new(&cli.global);
    output.start_log();
    let result = Context::new(cli.global, &output).and_then(|context| dispatch(&cli.command, &context));
    result.unwrap_or_else(|failure| {
        output.failure(&failure);
        failure.exit
    })
}

/// The same error of usage about the arguments as they can be shown, where some cannot.
fn quoting_printable(arguments: &[OsString]) -> Option<clap::Error> {
    let shown: Vec<_> = arguments.iter().map(|argument| printable(&argument.to_string_lossy())).collect();
    if shown.iter().zip(arguments).all(|(shown, argument)| argument == shown.as_str()) {
        return None;
    }
    command().try_get_matches_from(shown).and_then(|matches| Cli::from_arg_matches(&matches)).err()
}

fn dispatch(command: &Command, context: &Context) -> Result<Exit, Failure> {
    match command {
        Command::Init(args) => init::run(args, context),
        Command::Generate(args) => generate::run(args, context),
        Command::Plan(args) => plan::run(args, context),
        Command::Apply(args) => distribute::run_apply(args, context),
        Command::Distribute(args) => distribute::run_distribute(args, context),
        #[cfg(feature = "k8s")]
        Command::Rebootstrap(args) => rebootstrap::run(args, context),
        Command::Reissue(args) => reissue::run(args, context),
        Command::Rollback(args) => rollback::run(args, context),
        #[cfg(feature = "k8s")]
        Command::Rotate(args) => rotate::run(args, context),
        Command::Runs(args) => runs::run(args, context),
        Command::Status(args) => status::run(args, context),
        Command::Verify(args) => verify::run(args, context),
        Command::Doctor(args) => doctor::run(args, context),
        #[cfg(feature = "k8s")]
        Command::Approve(args) => approve::run(args, context),
        Command::Token(args) => token::run(args, context),
        Command::Cert(args) => cert::run(args, context),
        Command::Kubeconfig(args) => kubeconfig::run(args, context),
        Command::Completions(args) => completions::run(args, context),
        Command::Man(args) => man::run(args, context),
    }
}
