//! `kubemint token …`: the bootstrap token and its file.

mod lint;
mod manifest;
mod merge;
#[cfg(feature = "k8s")]
mod migrate;
#[cfg(feature = "k8s")]
mod revoke;
mod show;

use super::{
    context::Context,
    failure::{Exit, Failure},
};

/// Show, check, merge, bind, migrate and revoke bootstrap tokens
#[derive(Debug, clap::Args)]
#[command(
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "\
Examples:
  kubemint token show
  kubemint token lint /etc/kubernetes/token.csv
  kubemint token manifest | kubectl apply -f -"
)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Show(show::Args),
    Lint(lint::Args),
    Merge(merge::Args),
    Manifest(manifest::Args),
    #[cfg(feature = "k8s")]
    Migrate(migrate::Args),
    #[cfg(feature = "k8s")]
    Revoke(revoke::Args),
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Exit, Failure> {
    match &args.command {
        Command::Show(args) => show::run(args, context),
        Command::Lint(args) => lint::run(args, context),
        Command::Merge(args) => merge::run(args, context),
        Command::Manifest(args) => manifest::run(args, context),
        #[cfg(feature = "k8s")]
        Command::Migrate(args) => migrate::run(args, context),
        #[cfg(feature = "k8s")]
        Command::Revoke(args) => revoke::run(args, context),
    }
}
