//! `kubemint token revoke`: the own token of a node that leaked, and no other.

use super::super::{
    context::{Context, HOSTS},
    failure::{Exit, Failure},
    rotate::token::{Reach, Turn, Wish, run_turn},
};
use crate::inventory::Role;

/// Revoke the own bootstrap tokens of single nodes at once, and give them new ones
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Revoke the own bootstrap tokens of single nodes at once, and give them new ones. The tokens of all other \
        nodes stay as they are. It needs per_node = true below [token]; where all nodes share one token, `kubemint rotate \
        token --revoke-now` revokes that.\n\n\
        retire: token.csv with the new tokens in place of the old ones, control-plane hosts one by one: install, restart by \
        services.kube-apiserver, the old tokens refused (401). switch: bootstrap.kubeconfig to these nodes. approve: what \
        they ask for; what was asked for before the old token was refused is left to a person. verify: these nodes, every \
        apiserver.\n\n\
        Certificates that were signed for a holder of the token stay valid until they end: look at `kubectl get csr`. \
        Where something stands in the way it pauses (exit 5); `kubemint rotate token --resume` goes on.",
    after_help = "\
Examples:
  kubemint token revoke node-7           show the plan, ask, revoke
  kubemint token revoke node-7 'rack3-*' --yes\n\n\
    After a pause or a kill `kubemint rotate token --resume` goes on."
)]
pub(super) struct Args {
    /// The nodes, by name or pattern
    #[arg(value_name = "HOST", required = true)]
    nodes: Vec<String>,
    #[command(flatten)]
    reach: Reach,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Exit, Failure> {
    let inventory = context.inventory()?;
    let picked = context.select(&inventory, &args.nodes, HOSTS)?;
    if let Some(host) = picked.iter().find(|host| !host.roles.contains(Role::Node)) {
        let what = format!("{} is no node: it has no bootstrap.kubeconfig", host.name);
        return Err(Failure::bad_input("not_a_node", what).hint("name hosts with the role `node`"));
    }
    let nodes: Vec<String> = picked.into_iter().map(|host| host.name.as_str().to_owned()).collect();
    run_turn(Wish { turn: Turn::RevokeNodes, grace: None, nodes: &nodes }, &args.reach, context)
}
