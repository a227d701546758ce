//! `kubemint token manifest`: what the cluster needs to let the token's holders bootstrap.

use super::super::{
    context::Context,
    failure::{Exit, Failure},
    output::Output,
};
use crate::{
    inventory::{Inventory, TokenForm},
    secret::Secret,
    token::{
        BOOTSTRAP_SECRET_TEMPLATE, BootstrapTokenSecret, RBAC_TEMPLATE, RbacSubjects, join_manifests, list_of_manifest,
        render_bootstrap_secret, render_rbac,
    },
    workflow::generate::recover,
};
use jiff::SignedDuration;
use serde::Serialize;

/// Print the RBAC bindings for the token, or the modern bootstrap-token Secret
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Print the RBAC bindings kubelets need to bootstrap with the token: node-bootstrapper, and automatic \
        approval of first certificates and of renewals.\n\n\
        With --bootstrap-secret, print a bootstrap-token Secret with its bindings instead: a new token that the cluster \
        keeps itself and deletes when it expires. That output holds a secret. With token.form = \"secret\" in the inventory \
        it is the Secret of the stored token. With -o json: one List, which kubectl \
        applies as well.",
    after_help = "\
Examples:
  kubemint token manifest | kubectl apply -f -
  kubemint token manifest --bootstrap-secret --ttl 2h | kubectl apply -f -
  kubemint token manifest --templates ./my-templates"
)]
pub(super) struct Args {
    /// A new bootstrap-token Secret instead of bindings for token.csv
    #[arg(long)]
    bootstrap_secret: bool,
    /// Only the bindings: with token.form = "secret" the Secret of the stored token stands before them
    #[arg(long, conflicts_with = "bootstrap_secret")]
    rbac_only: bool,
    /// How long the Secret's token works
    #[arg(long, value_name = "DURATION", default_value = "24h", requires = "bootstrap_secret", value_parser = super::super::args::parse_duration)]
    ttl: SignedDuration,
    /// A group for the Secret's token, system:bootstrappers:NAME (may be repeated)
    #[arg(long = "group", value_name = "GROUP", requires = "bootstrap_secret")]
    groups: Vec<String>,
}

/// A List with two fields more, which kubectl passes over.
#[derive(Serialize)]
struct Document {
    schema: &'static str,
    version: u32,
    #[serde(flatten)]
    list: serde_json::Value,
}

/// The stored token, as its Secret is to be.
fn stored_secret(context: &Context, inventory: &Inventory) -> Result<BootstrapTokenSecret, Failure> {
    let store = context.store(inventory);
    let snapshot = store.load()?;
    let Some(record) = snapshot.state.as_ref().and_then(|state| state.token.as_ref()) else {
        return Err(Failure::nothing_generated(store.dir()));
    };
    let Some(terms) = &record.secret else {
        return Err(Failure::refused("token_form", "the stored token is a row of token.csv")
            .hint("`kubemint token migrate` goes to a Secret; its group's bindings alone: --rbac-only"));
    };
    if terms.expiration <= context.now() {
        let end = terms.expiration.strftime("%Y-%m-%d %H:%M:%S UTC");
        return Err(Failure::refused(
            "token_expired",
            format!("the stored token {} expired {end}", record.fingerprint),
        )
        .hint("`kubemint rotate token` puts a new one in its place, on the nodes and in the cluster"));
    }
    let secret = recover(&snapshot, Some(record))
        .and_then(|token| BootstrapTokenSecret::of_token(&token, terms.expiration, &record.groups));
    secret.ok_or_else(|| {
        Failure::refused("token_missing", "bootstrap.kubeconfig, which holds the token, is missing or another")
            .hint("restore the credential directory from a backup; `kubemint generate` makes a new token")
    })
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Exit, Failure> {
    let rbac_template = context.template("rbac.yaml")?;
    let rbac_template = rbac_template.as_deref().unwrap_or(RBAC_TEMPLATE);
    let manifest = if args.bootstrap_secret {
        let template = context.template("bootstrap-token-secret.yaml")?;
        let template = template.as_deref().unwrap_or(BOOTSTRAP_SECRET_TEMPLATE);
        let secret = BootstrapTokenSecret::generate(&context.entropy, context.now(), args.ttl, &args.groups)?;
        let rbac = render_rbac(rbac_template, &RbacSubjects::for_bootstrap_secret(&secret))?;
        let secret = render_bootstrap_secret(template, &secret)?;
        join_manifests(&[secret, rbac.into()])
    } else {
        let inventory = context.inventory()?;
        match inventory.token_form {
            TokenForm::Csv => {
                Secret::from(render_rbac(rbac_template, &RbacSubjects::for_static_token(&inventory.token)?)?)
            }
            TokenForm::Secret if args.rbac_only => {
                let subjects = RbacSubjects::for_bootstrap_groups(&inventory.token.groups);
                Secret::from(render_rbac(rbac_template, &subjects)?)
            }
            TokenForm::Secret => {
                let secret = stored_secret(context, &inventory)?;
                let rbac = render_rbac(rbac_template, &RbacSubjects::for_bootstrap_secret(&secret))?;
                let template = context.template("bootstrap-token-secret.yaml")?;
                let template = template.as_deref().unwrap_or(BOOTSTRAP_SECRET_TEMPLATE);
                join_manifests(&[render_bootstrap_secret(template, &secret)?, rbac.into()])
            }
        }
    };
    if context.output.is_json() {
        let document = Document { schema: "kubemint/manifest", version: 1, list: list_of_manifest(&manifest)? };
        context.output.answer(&document, String::new)?;
    } else {
        Output::answer_secret(&manifest)?;
    }
    Ok(Exit::Done)
}
