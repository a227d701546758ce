//! `kubemint token migrate`: from a row of token.csv to a Secret in the cluster, as a rotation.

use super::super::{
    context::Context,
    failure::{Exit, Failure},
    rotate::token::{Reach, Turn, Wish, run_turn},
};
use jiff::SignedDuration;

/// Go from token.csv to a Secret that the cluster keeps, so that no node is ever locked out
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Go from token.csv to a bootstrap-token Secret, so that no node is ever locked out.\n\n\
        Write form = \"secret\" below [token] first, start every kube-apiserver with --enable-bootstrap-token-auth, and \
        bind the group of the new tokens: `kubemint token manifest --rbac-only | kubectl apply -f -`.\n\n\
        accept: a Secret with a new token, known to every apiserver, nothing restarted. switch, approve, verify: as in \
        `kubemint rotate token`. retire: our row out of token.csv on the control-plane hosts, one by one with restarts; \
        rows of other users stay. `kubemint rotate token --resume` and --abort go on with a migration as with any rotation. \
        There is no way back once it is done.",
    after_help = "\
Examples:
  kubemint token migrate                    show the plan, ask, migrate
  kubemint token migrate --yes --grace 12h  leave both tokens for half a day\n\n\
    After a pause, a kill or a grace `kubemint rotate token --resume` goes on."
)]
pub(super) struct Args {
    /// Leave both tokens valid for so long, such as 12h, before `rotate token --resume` retires the old one
    #[arg(long, value_name = "SPAN", value_parser = super::super::args::parse_duration)]
    grace: Option<SignedDuration>,
    #[command(flatten)]
    reach: Reach,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Exit, Failure> {
    run_turn(Wish { turn: Turn::Migrate, grace: args.grace, nodes: &[] }, &args.reach, context)
}
