//! `kubemint cert csr`: keys of our own, and requests for a CA whose key is elsewhere.

use super::{
    super::{
        context::Context,
        failure::{Exit, Failure},
        hosts::counted,
        output::Output,
    },
    external_ca,
};
use crate::{
    inherited::Descriptor,
    inventory::{Inventory, Role},
    pki,
    store::{Changes, Existing, OutputFile, Snapshot},
    workflow::{
        external::{self, Request, Waiting},
        generate,
    },
};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Write requests for certificates that a CA elsewhere signs
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Write requests for certificates that a CA elsewhere signs.\n\n\
        Makes a key for each (0600, in the credential directory, where it waits beside the pair that is in use) and writes a \
        request for it, which is no secret. A key that waits already is used again, so that what was signed for it still \
        fits; --new-key makes another. `cert import` takes what comes back.\n\n\
        With certificates.kube-proxy.per_node, or --per-node, also one for every node (or those of --limit).",
    after_help = "\
Examples:
  kubemint cert csr
  kubemint cert csr --out requests --per-node
  openssl req -in requests/kube-proxy.csr -noout -verify -subject"
)]
pub(super) struct Args {
    /// Where the requests go: kube-proxy.csr, and kube-proxy.NODE.csr of nodes; - prints them
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
    /// For every node too, though the inventory does not say that they have their own
    #[arg(long)]
    per_node: bool,
    /// Make new keys, also where one waits for its certificate already
    #[arg(long)]
    new_key: bool,
}

#[derive(Serialize)]
struct Document {
    schema: &'static str,
    version: u32,
    state_dir: String,
    requests: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    name: &'static str,
    node: Option<String>,
    file: String,
    subject: String,
    /// `made`, or `kept`: it waited already.
    key: &'static str,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Exit, Failure> {
    let inventory = context.inventory()?;
    external_ca(context, &inventory)?;
    if args.per_node && inventory.kube_proxy.per_node == Some(false) {
        return Err(Failure::bad_input(
            "per_node_conflict",
            "certificates.kube-proxy.per_node is false in the inventory",
        )
        .hint("set it to true, or leave --per-node out"));
    }
    let store = context.store(&inventory);
    // Before the lock: what cannot be asked for, or written, touches nothing.
    let (planned, _) = plan(args, context, &inventory, &store.load()?)?;
    let out = Destination::of(args, context)?;
    planned.iter().try_for_each(|request| out.file(args, context, request).map(drop))?;
    let held = store.lock()?;
    let snapshot = store.load()?;
    let (requests, changes) = plan(args, context, &inventory, &snapshot)?;
    // The keys first: a request without its key would be signed in vain.
    if !changes.is_empty() {
        let next = snapshot.state.clone().unwrap_or_default();
        store.commit_changes(&held, &snapshot, &changes, next, &context.clock)?;
    }
    let mut rows = Vec::new();
    for request in requests {
        let file = out.file(args, context, &request)?;
        context.write_output(&file, &request.pem)?;
        rows.push(row(args, request));
    }
    if matches!(out, Destination::StandardOutput) {
        return Ok(Exit::Done);
    }
    let state_dir = store.dir().display().to_string();
    let document = Document { schema: "kubemint/requests", version: 1, state_dir, requests: rows };
    context.output.answer(&document, || text(&document))?;
    Ok(Exit::Done)
}

fn plan(
    args: &Args,
    context: &Context,
    inventory: &Inventory,
    snapshot: &Snapshot,
) -> Result<(Vec<Request>, Changes), Failure> {
    let is_limited = !context.global.limit.is_empty();
    let mut nodes: Vec<Option<&str>> = Vec::new();
    if args.per_node || generate::is_per_node(inventory, snapshot.state.as_ref()) {
        let hosts = context.hosts(inventory)?;
        nodes.extend(hosts.iter().filter(|host| host.roles.contains(Role::Node)).map(|host| Some(host.name.as_str())));
    }
    if !is_limited || nodes.is_empty() {
        nodes.insert(0, None);
    }
    let waiting = if args.new_key { Waiting::Replaced } else { Waiting::Kept };
    Ok(external::plan_requests(inventory, snapshot, &nodes, waiting)?)
}

/// Where requests go.
enum Destination {
    Directory,
    /// All of them, one after the other.
    StandardOutput,
}

impl Destination {
    fn of(args: &Args, context: &Context) -> Result<Self, Failure> {
        let out = context.path(&args.out);
        if args.out == Path::new("-") || Descriptor::of_path(&out) == Some(Descriptor::STDOUT) {
            return Ok(Self::StandardOutput);
        }
        if !out.is_dir() {
            std::fs::create_dir_all(&out).map_err(|e| {
                Failure::bad_input("file_unwritable", format!("cannot make {}: {e}", args.out.display()))
                    .hint("check --out")
            })?;
        }
        Ok(Self::Directory)
    }

    fn file(&self, args: &Args, context: &Context, request: &Request) -> Result<OutputFile, Failure> {
        match self {
            Self::Directory => context.output_file(&args.out.join(file_name(request)), Existing::Replaced),
            Self::StandardOutput => context.output_file(Path::new("-"), Existing::Replaced),
        }
    }
}

fn file_name(request: &Request) -> String {
    let spec = pki::KUBE_PROXY.name;
    request.node.as_ref().map_or_else(|| format!("{spec}.csr"), |node| format!("{spec}.{node}.csr"))
}

fn row(args: &Args, request: Request) -> Row {
    let file = args.out.join(file_name(&request)).display().to_string();
    let key = if request.has_new_key { "made" } else { "kept" };
    Row { name: pki::KUBE_PROXY.name, node: request.node, file, subject: request.subject, key }
}

fn text(document: &Document) -> String {
    let rows = document.requests.iter().map(|row| {
        let node = row.node.clone().unwrap_or_else(|| "all nodes".to_owned());
        [row.file.clone(), node, row.key.to_owned(), row.subject.clone()]
    });
    let count = counted(document.requests.len(), "request");
    let end = format!("\n{count}; once they are signed: kubemint cert import FILE…\n");
    Output::table(["REQUEST", "FOR", "KEY", "SUBJECT"], rows) + &end
}
