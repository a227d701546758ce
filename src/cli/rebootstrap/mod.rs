//! `kubemint rebootstrap`: nodes that are to join anew, one after the other. What is said at the end is in [`answer`].

mod answer;

use super::{
    args::parse_duration,
    cluster::{Access, ClusterArgs},
    context::{Context, HOSTS},
    distribute::{close_run, confirm_or_refuse},
    failure::{Exit, Failure},
    hosts::{SerialHostArgs, counted},
    limits::LimitArgs,
    progress::Progress,
};
use crate::{
    bundle::{self, Bundle, CredentialSet, FileKind},
    inventory::{Host, Inventory, Role},
    remote::{
        HostRemote,
        installer::ForeignPolicy,
        kubelet::{Backup, KubeletPaths, USUAL_PKI},
    },
    store::{RunId, Snapshot, Store},
    workflow::{
        approve::{self, Expectations},
        rebootstrap::{self, Candidate, Clearance, Obstacle, Rebootstrap, Rebootstrapped, Restoring, preflight},
        stored::read_stored_set,
    },
};
use jiff::SignedDuration;

/// Let nodes join the cluster anew, with the bootstrap token
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Let nodes join the cluster anew, with the bootstrap token.\n\n\
        A kubelet that has a certificate ignores bootstrap.kubeconfig. So its kubelet.kubeconfig and its client certificates \
        and keys (kubelet-client-* in its pki directory) are set aside on the host, the kubelet is restarted with \
        services.kubelet, what it asks is judged as by `approve` and approved, and the node must report Ready with its new \
        certificate. If it does not within --timeout, it gets back what it had, byte for byte, and its kubelet is restarted \
        with that. Pods go on meanwhile.\n\n\
        A request is approved only with the key that the kubelet has on its host (read there by openssl; only a digest of its \
        public half leaves it); one with another key is listed and left. It asks before it begins: without a terminal it \
        needs --yes.\n\n\
        Refused, before anything is touched: services.kubelet is not set, or there is nobody to ask (2); a host cannot be \
        reached or does not hold the stored bootstrap.kubeconfig, an apiserver does not know its token, or our rights do not \
        suffice to approve (4).\n\n\
        What is set aside lies beside where it was, in .kubemint-rebootstrap-RUN (0700); once the node is ready it is kept as \
        .kubemint-rebootstrap-RUN.kept, in place of the one before, or removed with --drop-backup. What the kubelet had got \
        when that was put back, a new key perhaps, lies in .kubemint-rebootstrap-RUN.replaced until a run succeeds. Where a \
        run was killed, the next one of that host first puts back what it finds, or keeps it aside where the kubelet has its \
        new certificate and the node is ready, and then begins anew; with --restore that first part is all it does.",
    after_help = "\
Examples:
  kubemint rebootstrap node042
  kubemint rebootstrap 'node0[01-20]' --yes --max-failures 0 --drop-backup
  kubemint rebootstrap label:rack=a --concurrency 4 --timeout 5m --kubeconfig admin.kubeconfig
  kubemint rebootstrap node042 --restore --yes   put back what a killed run had set aside, and no more"
)]
pub(super) struct Args {
    /// Nodes: names, globs, label:K=V or @FILE
    #[arg(value_name = "HOST", required = true)]
    named: Vec<String>,
    /// How long a node may take from the restart until it is ready [default: services.restart_timeout, 2m]
    #[arg(long, value_name = "SPAN", value_parser = parse_duration)]
    timeout: Option<SignedDuration>,
    /// The kubelet's --kubeconfig on the hosts [default: kubelet.kubeconfig in the host's directory]
    #[arg(long, value_name = "PATH")]
    kubelet_kubeconfig: Option<String>,
    /// The kubelet's --cert-dir on the hosts
    #[arg(long, value_name = "DIR", default_value = USUAL_PKI)]
    kubelet_pki: String,
    /// Remove what was set aside once the node is ready
    #[arg(long)]
    drop_backup: bool,
    /// Only put back what a killed run had set aside, and restart the kubelet with it, unless the node is ready without
    /// it; works where no apiserver answers, too
    #[arg(long, conflicts_with_all = ["timeout", "drop_backup"])]
    restore: bool,
    #[command(flatten)]
    hosts: SerialHostArgs,
    #[command(flatten)]
    limits: LimitArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Exit, Failure> {
    let inventory = context.inventory()?;
    let Some(restart) = inventory.services.kubelet.as_deref() else {
        return Err(Failure::bad_input(
            "no_restart_command",
            "services.kubelet is not set: nothing says how a kubelet is restarted",
        )
        .hint("add to the inventory: [services] kubelet = \"systemctl restart kubelet\""));
    };
    let hosts = named_nodes(args, context, &inventory)?;
    let candidates = candidates(args, &hosts)?;
    let store = context.store(&inventory);
    let prepared = Prepared::read(&inventory, &store)?;
    confirm(args, context, &hosts, restart)?;
    let remote = context.remote_with(&inventory, args.hosts.passwords(), &hosts)?;
    let work = Work { args, context, inventory: &inventory, remote: &remote, store: &store, restart };
    let done = if args.restore { work.restore(&candidates, &prepared)? } else { work.rejoin(&candidates, &prepared)? };
    let Some(Rebootstrapped { distribution, nodes }) = done else {
        return Ok(context.signals.exit().unwrap_or(Exit::Unexpected));
    };
    let (report, exit) = close_run(context, distribution);
    let way = if args.restore { answer::Way::Back } else { answer::Way::Anew };
    let document = answer::document(&report, &nodes);
    context.output.answer(&document, || answer::text(context.output, way, &report, &nodes))?;
    Ok(exit)
}

/// The stored credentials.
struct Prepared {
    snapshot: Snapshot,
    set: CredentialSet,
    generation: u64,
}

impl Prepared {
    fn read(inventory: &Inventory, store: &Store) -> Result<Self, Failure> {
        let snapshot = store.load()?;
        let Some(generation) = snapshot.state.as_ref().map(|state| state.generation) else {
            return Err(Failure::nothing_generated(store.dir()));
        };
        let set = read_stored_set(inventory, &snapshot).map_err(|error| {
            Failure::refused("not_current", error.to_string())
                .hint("`kubemint apply` makes and installs what is missing")
        })?;
        Ok(Self { snapshot, set, generation })
    }
}

/// What both ways need.
struct Work<'w> {
    args: &'w Args,
    context: &'w Context<'w>,
    inventory: &'w Inventory,
    remote: &'w HostRemote,
    store: &'w Store,
    restart: &'w str,
}

impl Work<'_> {
    /// `None`: interrupted before anything was begun.
    fn rejoin(&self, candidates: &[Candidate], prepared: &Prepared) -> Result<Option<Rebootstrapped>, Failure> {
        let Self { args, context, inventory, remote, store, restart } = *self;
        let Access { clusters, note } = args.cluster.connect(context, inventory, &prepared.snapshot)?;
        context.output.note(&format!("asking the apiservers {note}"));
        let _held = store.lock()?;
        let servers = approve::servers(inventory);
        let hosts: Vec<&Host> = candidates.iter().map(|candidate| candidate.host).collect();
        let bundles = bootstrap_files(&hosts, &prepared.set)?;
        let limits = args.limits.limits(inventory);
        let progress = Progress::new(context.output, hosts.len());
        let many = context.fleet(remote, inventory.concurrency, ForeignPolicy::Replace, limits);
        let looked = preflight(&many, (clusters.as_ref(), &servers), &bundles, &prepared.set, &progress);
        progress.finish();
        let Clearance { requesters, unasked } = match looked {
            Ok(clearance) => clearance,
            Err(Obstacle::Interrupted) => return Ok(None),
            Err(obstacle) => {
                return Err(Failure::refused(obstacle.code(), obstacle.to_string()).hint(obstacle.hint()));
            }
        };
        unasked.iter().for_each(|error| context.output.warn(&format!("not asked: {error}")));
        let patience = args.timeout.map_or(inventory.services.restart_timeout, SignedDuration::unsigned_abs);
        let run = Rebootstrap {
            fleet: &context.fleet(remote, args.hosts.concurrency(), ForeignPolicy::Replace, limits),
            clusters: clusters.as_ref(),
            servers: &servers,
            expectations: &Expectations::of_inventory(inventory, requesters, context.now()),
            restart,
            restart_limit: inventory.services.restart_timeout,
            patience,
            backup: if args.drop_backup { Backup::Drop } else { Backup::Keep },
        };
        let journal = store.start_run(RunId::new(context.now(), &context.entropy)?)?;
        let progress = Progress::new(context.output, hosts.len());
        let done = rebootstrap::run_rebootstrap(&run, candidates, prepared.generation, &journal, &progress)?;
        progress.finish();
        Ok(Some(done))
    }

    fn restore(&self, candidates: &[Candidate], prepared: &Prepared) -> Result<Option<Rebootstrapped>, Failure> {
        let Self { args, context, inventory, remote, store, restart } = *self;
        // It must be possible with nothing but the hosts.
        let access = match args.cluster.connect(context, inventory, &prepared.snapshot) {
            Err(failure) if args.cluster.is_named() => return Err(failure),
            other => other.map_err(|failure| failure.message),
        };
        let _held = store.lock()?;
        let limits = args.limits.limits(inventory);
        let servers = approve::servers(inventory);
        let run = Restoring {
            fleet: &context.fleet(remote, args.hosts.concurrency(), ForeignPolicy::Replace, limits),
            clusters: access.as_ref().map(|access| access.clusters.as_ref()).map_err(Clone::clone),
            servers: &servers,
            restart,
            restart_limit: inventory.services.restart_timeout,
        };
        let journal = store.start_run(RunId::new(context.now(), &context.entropy)?)?;
        let progress = Progress::new(context.output, candidates.len());
        let done = rebootstrap::run_restore(&run, candidates, prepared.generation, &journal, &progress)?;
        progress.finish();
        Ok(Some(done))
    }
}

fn named_nodes<'h>(args: &Args, context: &Context, inventory: &'h Inventory) -> Result<Vec<&'h Host>, Failure> {
    let named = context.select(inventory, &args.named, HOSTS)?;
    let is_named = |host: &&Host| named.iter().any(|named| named.name == host.name);
    let chosen: Vec<&Host> = context.hosts(inventory)?.into_iter().filter(is_named).collect();
    if let Some(host) = chosen.iter().find(|host| !host.roles.contains(Role::Node)) {
        return Err(Failure::bad_input("not_a_node", format!("{} is no node: it runs no kubelet of ours", host.name))
            .hint("name hosts with the role `node`"));
    }
    if chosen.is_empty() {
        return Err(Failure::bad_input(
            "no_hosts",
            "none of these hosts is among those that --limit and --shard leave",
        ));
    }
    Ok(chosen)
}

fn candidates<'h>(args: &Args, hosts: &[&'h Host]) -> Result<Vec<Candidate<'h>>, Failure> {
    let of_host = |host: &&'h Host| {
        let usual = || format!("{}/kubelet.kubeconfig", host.directory.trim_end_matches('/'));
        let kubeconfig = args.kubelet_kubeconfig.clone().unwrap_or_else(usual);
        let paths = KubeletPaths { kubeconfig, pki: args.kubelet_pki.clone() };
        paths.check().map_err(|error| Failure::bad_input(error.code(), error.to_string()).hint(error.hint()))?;
        Ok(Candidate { host, paths })
    };
    hosts.iter().map(of_host).collect()
}

/// Of each host the one file that lets it join.
fn bootstrap_files<'h>(hosts: &[&'h Host], set: &CredentialSet) -> Result<Vec<Bundle<'h>>, Failure> {
    let mut bundles = bundle::build_bundles(hosts, set)?;
    for bundle in &mut bundles {
        bundle.files.retain(|file| file.kind == FileKind::BootstrapKubeconfig);
    }
    Ok(bundles)
}

fn confirm(args: &Args, context: &Context, hosts: &[&Host], restart: &str) -> Result<(), Failure> {
    let count = counted(hosts.len(), "node");
    let question = if args.restore {
        context.output.note(&format!(
            "to put back what a killed run had set aside, unless the node is ready without it; then `{restart}`"
        ));
        format!("Restore the kubelet's credentials on {count}?")
    } else {
        context.output.note(&format!(
            "to set aside the kubelet's own credentials, run `{restart}`, approve what the kubelet asks and wait until the \
             node is ready, {} at a time; where it does not come it gets back what it had",
            counted(args.hosts.concurrency(), "node")
        ));
        format!("Let {count} join anew?")
    };
    confirm_or_refuse(context, &question)
}
