//! `kubemint cert import FILE…`: what a CA elsewhere signed for our requests.

use super::{
    super::{
        context::Context,
        failure::{Exit, Failure},
        output::Output,
    },
    external_ca,
};
use crate::{
    clock::day,
    inventory::Inventory,
    pki::{self, CertificateInfo},
    store::{Changes, Snapshot, State, StoredFile},
    workflow::external::{self, Given, Taken},
};
use serde::Serialize;
use std::path::PathBuf;

/// Take over certificates that a CA elsewhere signed
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Take over certificates that a CA elsewhere signed.\n\n\
        Each must belong to a key of the credential directory, hold under the CA of the inventory today, be for client \
        authentication and nothing else, and have exactly the subject that was asked for. All are taken or none: whatever is \
        wrong is told for all files at once. A file may hold the CA's certificate too; any other is refused.\n\n\
        `apply` then installs the first ones; later ones `reissue kube-proxy --imported` shows to the apiservers and brings \
        to the nodes in batches, each kube-proxy restarted. The CA's key is needed nowhere.",
    after_help = "\
Examples:
  kubemint cert import kube-proxy.pem
  kubemint cert import signed/*.pem"
)]
pub(super) struct Args {
    /// PEM files of certificates
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

#[derive(Serialize)]
struct Document {
    schema: &'static str,
    version: u32,
    generation: u64,
    changed: bool,
    certificates: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    name: &'static str,
    node: Option<String>,
    file: String,
    /// `imported`, or `unchanged`: it is in use already.
    action: &'static str,
    #[serde(flatten)]
    info: CertificateInfo,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Exit, Failure> {
    let inventory = context.inventory()?;
    let ca = external_ca(context, &inventory)?;
    let read = |path: &PathBuf| {
        let text = context.read_one_of_many(path).map(|mut text| std::mem::take(&mut *text));
        Given { path: path.clone(), text }
    };
    let given: Vec<Given> = args.files.iter().map(read).collect();
    let store = context.store(&inventory);
    // Before the lock: what is refused touches nothing.
    plan(context, &inventory, &store.load()?, &ca, &given)?;
    let held = store.lock()?;
    let snapshot = store.load()?;
    let (taken, changes, next) = plan(context, &inventory, &snapshot, &ca, &given)?;
    let is_changed = !changes.is_empty() || snapshot.interrupted;
    let state = match is_changed {
        true => store.commit_changes(&held, &snapshot, &changes, next, &context.clock)?,
        false => next,
    };
    let certificates: Vec<Row> = taken.into_iter().map(row).collect();
    let generation = state.generation;
    let changed = certificates.iter().any(|row| row.action == IMPORTED);
    let document = Document { schema: "kubemint/certificate-import", version: 1, generation, changed, certificates };
    let then = match snapshot.content(StoredFile::KubeProxyKubeconfig) {
        None => "`kubemint apply` embeds them and installs them on the hosts",
        Some(_) => "`kubemint reissue kube-proxy --imported` brings them to the nodes and restarts kube-proxy there",
    };
    context.output.answer(&document, || text(&document, then))?;
    Ok(Exit::Done)
}

fn plan(
    context: &Context,
    inventory: &Inventory,
    snapshot: &Snapshot,
    ca: &str,
    given: &[Given],
) -> Result<(Vec<Taken>, Changes, State), Failure> {
    Ok(external::plan_import(inventory, snapshot, ca, given, context.now())?)
}

const IMPORTED: &str = "imported";

fn row(taken: Taken) -> Row {
    let Taken { path, node, info, is_known } = taken;
    let action = if is_known { "unchanged" } else { IMPORTED };
    Row { name: pki::KUBE_PROXY.name, node, file: path.display().to_string(), action, info }
}

fn text(document: &Document, then: &str) -> String {
    let rows = document.certificates.iter().map(|row| {
        let node = row.node.clone().unwrap_or_else(|| "all nodes".to_owned());
        [row.file.clone(), node, row.action.to_owned(), row.info.serial.clone(), day(row.info.not_after)]
    });
    let end = match document.changed {
        true => format!("\n{then}\n"),
        false => "\nall of them are in use already\n".to_owned(),
    };
    Output::table(["FILE", "FOR", "ACTION", "SERIAL", "VALID UNTIL"], rows) + &end
}
