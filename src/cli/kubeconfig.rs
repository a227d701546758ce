//! `kubemint kubeconfig …`: looking into kubeconfig files.

use super::{
    context::Context,
    failure::{Exit, Failure},
    output::{Output, Tone},
};
use crate::kubeconfig::{
    CertificateFacts, ClusterFacts, Inspection, ParseError, UserFacts, inspect_kubeconfig, parse_kubeconfig,
};
use crate::{clock::day, secret::printable};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Look into kubeconfig files
#[derive(Debug, clap::Args)]
#[command(
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "\
Examples:
  kubemint kubeconfig inspect /etc/kubernetes/bootstrap.kubeconfig"
)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Inspect(InspectArgs),
}

/// Server, CA pin, users, certificates, dates and dangling references; secrets are never shown
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Server, CA pin, users, certificates, dates and what will not work, in kubectl's own words where it has \
        any. Secrets are never shown: a token is a fingerprint. Exits with 0 when the file could be read, with 2 when not; \
        problems are part of the answer.",
    after_help = "\
Examples:
  kubemint kubeconfig inspect kubemint-state/kubeconfigs/bootstrap.kubeconfig
  ssh node1 cat /etc/kubernetes/kube-proxy.kubeconfig | kubemint kubeconfig inspect -
  kubemint kubeconfig inspect admin.conf -o json | jq '.problems'"
)]
struct InspectArgs {
    /// The file; - for standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    version: u32,
    file: String,
    #[serde(flatten)]
    inspection: &'a Inspection,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Exit, Failure> {
    match &args.command {
        Command::Inspect(args) => inspect(args, context),
    }
}

fn inspect(args: &InspectArgs, context: &Context) -> Result<Exit, Failure> {
    let bytes = context.read_bytes(&args.file)?;
    let config = parse_kubeconfig(&bytes).map_err(|error| unreadable(error, &args.file))?;
    let inspection = inspect_kubeconfig(&config, context.now());
    let file = args.file.display().to_string();
    let document = Document { schema: "kubemint/kubeconfig", version: 1, file, inspection: &inspection };
    context.output.answer(&document, || text(context.output, &inspection))?;
    Ok(Exit::Done)
}

fn unreadable(error: ParseError, file: &Path) -> Failure {
    match error {
        ParseError::Yaml { line: Some(line), column, ref reason } => {
            let hint = error.hint().unwrap_or_default();
            Failure::bad_input("kubeconfig_invalid", reason).hint(hint).at(file, line, column)
        }
        other => Failure::from(other).in_file(file),
    }
}

fn text(output: &Output, inspection: &Inspection) -> String {
    let mut rows = Vec::new();
    let current = inspection.current_context.as_deref().unwrap_or("none");
    rows.push(["current context".to_owned(), printable(current)]);
    for context in &inspection.contexts {
        let part = |name: &Option<String>| name.as_deref().map_or_else(|| "none".to_owned(), printable);
        let namespace =
            context.namespace.as_ref().map(|name| format!(", namespace {}", printable(name))).unwrap_or_default();
        let leads = format!("cluster {}, user {}{namespace}", part(&context.cluster), part(&context.user));
        rows.push([format!("context {}", printable(&context.name)), leads]);
    }
    for cluster in &inspection.clusters {
        rows.extend(cluster_rows(cluster));
    }
    for user in &inspection.users {
        rows.extend(user_rows(user));
    }
    let mut text = Output::columns(rows);
    for problem in &inspection.problems {
        let line = format!("{}: {}", printable(&problem.subject), printable(&problem.message));
        text += &format!("{} {line} [{}]\n", output.paint(Tone::Bad, "problem:"), problem.code);
        if let Some(words) = &problem.kubectl_says {
            text += &format!("  kubectl says: {}\n", printable(words));
        }
    }
    if inspection.problems.is_empty() {
        text += "no problems found\n";
    }
    text
}

fn cluster_rows(cluster: &ClusterFacts) -> Vec<[String; 2]> {
    let mut rows = vec![[
        format!("cluster {}", printable(&cluster.name)),
        cluster.server.as_deref().map_or_else(|| "no server".into(), printable),
    ]];
    let mut also = |what: &str, value: String| rows.push([format!("  {what}"), value]);
    for ca in &cluster.certificate_authorities {
        also("CA", format!("{}, {}", certificate(ca), ca.pin));
    }
    if let Some(path) = &cluster.certificate_authority_path {
        also("CA file", printable(path));
    }
    if cluster.insecure_skip_tls_verify {
        also("TLS", "the server's certificate is not verified".into());
    }
    if let Some(name) = &cluster.tls_server_name {
        also("TLS name", printable(name));
    }
    if let Some(url) = &cluster.proxy_url {
        also("proxy", printable(url));
    }
    rows
}

fn user_rows(user: &UserFacts) -> Vec<[String; 2]> {
    let kind = serde_json::to_value(user.kind).ok().and_then(|kind| kind.as_str().map(str::to_owned));
    let mut rows = vec![[format!("user {}", printable(&user.name)), kind.unwrap_or_default()]];
    let mut also = |what: &str, value: Option<String>| rows.extend(value.map(|value| [format!("  {what}"), value]));
    let text = |value: &Option<String>| value.as_deref().map(printable);
    also("token", user.token_fingerprint.map(|fingerprint| format!("fingerprint {fingerprint}")));
    also("token file", text(&user.token_file));
    also("certificate", user.certificate.as_ref().map(certificate));
    also("certificate file", text(&user.certificate_path));
    also("key file", text(&user.key_path));
    also("user name", text(&user.username));
    also("command", text(&user.exec_command));
    also("auth provider", text(&user.auth_provider));
    also("impersonates", text(&user.impersonates));
    also("extra", (!user.impersonation_extra.is_empty()).then(|| printable(&user.impersonation_extra.join(", "))));
    rows
}

fn certificate(facts: &CertificateFacts) -> String {
    format!("{}, valid {} to {}", printable(&facts.subject), day(facts.not_before), day(facts.not_after))
}
