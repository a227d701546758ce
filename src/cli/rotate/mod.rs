//! `kubemint rotate …`: new credentials in the place of old ones, while everything goes on working.

mod answer;
mod progress;
mod question;
pub(in crate::cli) mod token;

use super::{
    context::Context,
    failure::{Exit, Failure},
};

/// Put new credentials in the place of old ones, without downtime
#[derive(Debug, clap::Args)]
#[command(
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "\
Examples:
  kubemint rotate token
  kubemint rotate token --resume"
)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Token(token::Args),
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Exit, Failure> {
    match &args.command {
        Command::Token(args) => token::run(args, context),
    }
}
