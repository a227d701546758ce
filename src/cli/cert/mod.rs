//! `kubemint cert …`: the certificates of the credential directory, and what a CA elsewhere signs for it.

mod csr;
mod import;
mod list;
mod remote;

use super::{
    context::Context,
    failure::{Exit, Failure},
};
use crate::{
    inventory::{CaSource, Inventory},
    pki,
    workflow::generate,
};

/// List certificates and when they end; have them signed by a CA whose key is elsewhere
#[derive(Debug, clap::Args)]
#[command(
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "\
Examples:
  kubemint cert list
  kubemint cert list --check --within 30d || echo 'something ends within 30 days'
  kubemint cert csr --out requests
  kubemint cert import signed/kube-proxy.pem"
)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    List(list::Args),
    Csr(csr::Args),
    Import(import::Args),
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Exit, Failure> {
    match &args.command {
        Command::List(args) => list::run(args, context),
        Command::Csr(args) => csr::run(args, context),
        Command::Import(args) => import::run(args, context),
    }
}

/// The certificates of the inventory's CA, whose key is elsewhere; its own first.
fn external_ca(context: &Context, inventory: &Inventory) -> Result<String, Failure> {
    let CaSource::External { .. } = &inventory.ca else {
        let what = "the CA's key is at hand: nobody else has to sign".to_owned();
        return Err(Failure::bad_input("ca_key_at_hand", what).hint(
            "`kubemint reissue kube-proxy` makes new certificates; for a CA elsewhere give [ca] cert without key",
        ));
    };
    let given = generate::read_given_authority(inventory, context.now())?;
    given.check_dates(inventory, context.now())?;
    given.bundle_pem().ok_or_else(|| {
        Failure::bad_input("ca_invalid", "the inventory names no CA")
            .hint(format!("set cert under [{}]", pki::CLUSTER_CA.name))
    })
}
