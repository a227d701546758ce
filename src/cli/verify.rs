//! `kubemint verify`: the local credential set checked without network.

use super::{
    context::Context,
    failure::{Exit, Failure},
    output::{Output, Tone},
};
use crate::workflow::verify::{self, Finding, LocalSet};
use serde::Serialize;

/// Check the local credential set, without network
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Check the local credential set, without network: files parse, the token in the kubeconfig is the one \
        in token.csv, chains, keys, names and dates. Exits with 6 when something is wrong.",
    after_help = "\
Examples:
  kubemint verify
  kubemint verify -o json | jq '.checks[] | select(.ok | not)'"
)]
pub(super) struct Args {}

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    version: u32,
    ok: bool,
    checks: &'a [Finding],
}

pub(super) fn run(_: &Args, context: &Context) -> Result<Exit, Failure> {
    let inventory = context.inventory()?;
    let store = context.store(&inventory);
    let snapshot = store.load()?;
    if snapshot.state.is_none() && !snapshot.interrupted {
        return Err(Failure::nothing_generated(store.dir()));
    }
    let wide_modes = if store.dir().exists() { store.wide_modes()? } else { Vec::new() };
    let set = LocalSet { inventory: &inventory, snapshot: &snapshot, wide_modes, now: context.now() };
    let checks = verify::run_checks(&set);
    let ok = checks.iter().all(|check| check.ok);
    let document = Document { schema: "kubemint/verify", version: 1, ok, checks: &checks };
    context.output.answer(&document, || text(context.output, &document))?;
    Ok(if ok { Exit::Done } else { Exit::Drift })
}

fn text(output: &Output, document: &Document) -> String {
    let mut text = Output::table(
        ["CHECK", "", "DETAIL"],
        document.checks.iter().map(|finding| {
            let verdict = if finding.ok { output.paint(Tone::Good, "ok") } else { output.paint(Tone::Bad, "wrong") };
            [finding.check.to_owned(), verdict, finding.detail.clone()]
        }),
    );
    for finding in document.checks {
        if let Some(hint) = finding.hint {
            text += &format!("hint ({}): {hint}\n", finding.check);
        }
    }
    text
}
