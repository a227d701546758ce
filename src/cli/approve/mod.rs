//! `kubemint approve`: signing requests of the inventory's nodes approved, everything else left with its reason.

mod answer;

use super::{
    args::parse_duration,
    cluster::{Access, ClusterArgs},
    context::{Context, NODES},
    failure::{Exit, Failure},
};
use crate::{
    cluster::Cluster,
    inventory::{Inventory, Role},
    workflow::approve::{self, Act, Expectations, Hostile, Outcome, Requester, Round, Serving, Watch, Watched},
};
use answer::Document;
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeSet;

/// How long `--watch` waits in all unless told otherwise.
const DEFAULT_TIMEOUT: &str = "10m";

/// Approve the signing requests that the inventory expects, and no others
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Approve the signing requests that the inventory expects, and no others.\n\n\
        Whoever holds a bootstrap token may ask for any node's name. Approved is only what a kubelet of the inventory asks: \
        its own name and O=system:nodes, no alternative names, exactly the usages of a kubelet, a sound key, asked for with \
        our token by a node that has not joined, or by the node itself; not older than --since. Where two keys ask for one \
        node, neither is approved. All else is listed with its reason and left.",
    after_help = "\
Examples:
  kubemint approve --dry-run                     what would be approved, and why the rest would not
  kubemint approve 'node0[01-20]' --watch        until these have joined, 10 minutes at most
  kubemint approve --serving --since 24h --kubeconfig admin.kubeconfig
  kubemint approve -o json | jq '.requests[] | select(.outcome == \"left\") | [.node, .code]'"
)]
pub(super) struct Args {
    /// Only these nodes: names, globs, label:K=V or @FILE
    #[arg(value_name = "NODE")]
    nodes: Vec<String>,
    /// How old a request may be
    #[arg(long, value_name = "SPAN", value_parser = parse_duration, default_value = "1h")]
    since: SignedDuration,
    /// Deny what no honest kubelet of the inventory would ask
    #[arg(long)]
    deny: bool,
    /// Look again every 2 seconds until all of the nodes have joined
    #[arg(long)]
    watch: bool,
    /// How long --watch waits in all
    #[arg(long, value_name = "SPAN", value_parser = parse_duration, default_value = DEFAULT_TIMEOUT, requires = "watch")]
    timeout: SignedDuration,
    /// Approve serving certificates too, where they name nothing but the node and its addresses in the inventory
    #[arg(long)]
    serving: bool,
    /// These may come back though they have joined before, since they were installed anew: one new key each
    #[arg(long, value_name = "NODE[,…]")]
    rebootstrapped: Vec<String>,
    /// A bootstrap-token Secret of ours, by its id: its holders may ask for nodes as well
    #[arg(long, value_name = "ID", value_parser = parse_token_id)]
    token_id: Vec<String>,
    /// Only say what would be done
    #[arg(long, conflicts_with = "watch")]
    dry_run: bool,
    #[command(flatten)]
    cluster: ClusterArgs,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Exit, Failure> {
    let inventory = context.inventory()?;
    let expectations = expectations(args, context, &inventory)?;
    let snapshot = context.store(&inventory).load()?;
    let Access { clusters, note } = args.cluster.connect(context, &inventory, &snapshot)?;
    let servers = approve::servers(&inventory);
    let cluster = approve::connect_ready(clusters.as_ref(), &servers)?;
    let server = cluster.server().clone();
    context.output.note(&format!("asking {server} {note}"));
    let mut requesters = approve::token_holders(&inventory, snapshot.state.as_ref());
    requesters.extend(secret_holders(args, cluster.as_ref())?);
    let expectations = Expectations { requesters, ..expectations };
    let watched = if args.watch {
        context.signals.listen();
        let watch = Watch {
            clusters: clusters.as_ref(),
            servers: &servers,
            clock: &context.clock,
            interrupt: &context.signals.interrupt,
            limit: args.timeout.unsigned_abs(),
        };
        watch.run(cluster, &expectations, |round| tell(context, round))?
    } else {
        let act = if args.dry_run { Act::Foresee } else { Act::Decide };
        let Round { judged, missing, unread } = approve::run_round(cluster.as_ref(), &expectations, act)?;
        Watched { judged, missing, unread, error: None }
    };
    let document = Document::of(args, server.as_str(), &watched);
    context.output.answer(&document, || answer::text(context.output, args, &watched, &document))?;
    Ok(match context.signals.exit() {
        Some(interrupted) => interrupted,
        None if document.summary.failed > 0 => Exit::HostsFailed,
        None if watched.error.is_some() || args.watch && !watched.missing.is_empty() => Exit::HostsFailed,
        None => Exit::Done,
    })
}

/// Everything but who may ask: that needs the cluster.
fn expectations(args: &Args, context: &Context, inventory: &Inventory) -> Result<Expectations, Failure> {
    let hosts = context.hosts(inventory)?;
    let named = names(context, inventory, &args.nodes)?;
    let chosen = hosts.iter().filter(|host| host.roles.contains(Role::Node));
    let chosen = chosen.map(|host| host.name.as_str()).filter(|name| named.is_empty() || named.contains(*name));
    let chosen: BTreeSet<String> = chosen.map(str::to_owned).collect();
    if chosen.is_empty() && !hosts.is_empty() {
        return Err(Failure::bad_input("no_nodes", "none of these hosts is a node")
            .hint("nodes have the role `node` in the inventory"));
    }
    let now = context.now();
    let since = now.checked_sub(args.since).unwrap_or(Timestamp::MIN);
    Ok(Expectations {
        serving: if args.serving { Serving::Approve } else { Serving::Leave },
        hostile: if args.deny { Hostile::Deny } else { Hostile::Leave },
        since,
        rebootstrapped: names(context, inventory, &args.rebootstrapped)?,
        ..Expectations::of_inventory(inventory, Vec::new(), now).only(&chosen)
    })
}

/// Names of the hosts that some patterns name; none for none.
fn names(context: &Context, inventory: &Inventory, texts: &[String]) -> Result<BTreeSet<String>, Failure> {
    if texts.is_empty() {
        return Ok(BTreeSet::new());
    }
    let hosts = context.select(inventory, texts, NODES)?;
    Ok(hosts.into_iter().map(|host| host.name.as_str().to_owned()).collect())
}

fn parse_token_id(text: &str) -> Result<String, String> {
    let fits = text.len() == 6 && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    if fits { Ok(text.to_owned()) } else { Err("an id is the six characters before a token's dot".to_owned()) }
}

/// The holders of the Secrets that are ours.
fn secret_holders(args: &Args, cluster: &dyn Cluster) -> Result<Vec<Requester>, Failure> {
    let ids = args.token_id.iter().cloned().collect();
    let (holders, absent) = approve::find_secrets(cluster, &ids)?;
    if !absent.is_empty() {
        let message = format!("the cluster has no Secret bootstrap-token-{} in kube-system", absent.join(", "));
        return Err(Failure::bad_input("token_unknown", message)
            .hint("`kubectl -n kube-system get secrets` lists them; an expired one is removed by itself"));
    }
    Ok(holders)
}

/// While it waits: what was decided, as it is decided.
fn tell(context: &Context, round: &Round) {
    for entry in &round.judged {
        let word = match &entry.outcome {
            Outcome::Approved => "approved",
            Outcome::Denied => "denied",
            Outcome::Left | Outcome::Failed(_) => continue,
        };
        let node = entry.node.as_deref().unwrap_or("-");
        context.output.note(&format!("{word} {} of {node}", entry.name));
    }
}
