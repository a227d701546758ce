//! The grammar of the command line. Each command's own arguments stand in its own file; here are the global flags and
//! the list of commands. Nothing here reads a file or the environment but through clap.

#[cfg(feature = "k8s")]
use super::{approve, rebootstrap, rotate};
use super::{
    cert, completions, distribute, doctor, generate, init, kubeconfig, man, plan, reissue, rollback, runs,
    shard::ShardWish, status, token, verify,
};
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use jiff::{SignedDuration, Span, SpanRelativeTo};
use std::{borrow::Cow, ffi::OsString, path::PathBuf};

const EXAMPLES: &str = "\
Examples:
  kubemint init                                  write a commented inventory.toml
  kubemint apply                                 make all credentials and install them on every host
  kubemint plan --limit 'node0*,!node03'         what would change there, without changing it
  kubemint status --exit-code                    6 when a host does not hold what it should

Exit codes:
  0 done   1 unexpected   2 bad input or usage, nothing changed   3 some hosts failed, the others are done
  4 refused, nothing changed   5 a rotation is paused: resume it   6 drift found or something due   129/130/143 interrupted";

/// Mints Kubernetes node credentials and puts them where they belong.
///
/// From one inventory: a bootstrap token with token.csv, the kube-proxy certificate, bootstrap.kubeconfig and
/// kube-proxy.kubeconfig, installed on every host over SSH.
#[derive(Debug, Parser)]
#[command(name = "kubemint", version, after_help = EXAMPLES, after_long_help = EXAMPLES, max_term_width = 110)]
#[command(arg_required_else_help = true, subcommand_required = true)]
pub(super) struct Cli {
    #[command(flatten)]
    pub(super) global: Global,
    #[command(subcommand)]
    pub(super) command: Command,
}

/// Flags every command takes.
#[derive(Debug, Clone, Args)]
pub(super) struct Global {
    /// The inventory
    #[arg(
        short,
        long,
        global = true,
        value_name = "FILE",
        env = "KUBEMINT_INVENTORY",
        default_value = "inventory.toml"
    )]
    pub(super) inventory: PathBuf,
    /// The credential directory, instead of the inventory's `state_dir`
    #[arg(long, global = true, value_name = "DIR")]
    pub(super) state_dir: Option<PathBuf>,
    /// Form of the answer on standard output
    #[arg(short, long, global = true, value_name = "FORMAT", default_value = "text")]
    pub(super) output: Format,
    /// Only these hosts: a name, a glob, role:NAME, label:K=V or @FILE; `!` in front excludes
    #[arg(long, global = true, value_name = "PATTERN[,…]", allow_hyphen_values = true)]
    pub(super) limit: Vec<String>,
    /// Only one part of the hosts that --limit leaves: I of N, from 1; `auto` asks Slurm
    #[arg(long, global = true, value_name = "I/N")]
    pub(super) shard: Option<ShardWish>,
    /// One of N parts: which one is in JOB_COMPLETION_INDEX (Kubernetes) or SLURM_ARRAY_TASK_ID (Slurm)
    #[arg(long, global = true, value_name = "N")]
    pub(super) shard_count: Option<usize>,
    /// Answer every question with yes
    #[arg(long, global = true)]
    pub(super) yes: bool,
    /// Say more on standard error (-vv: still more; never a secret)
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(super) verbose: u8,
    /// Say nothing on standard error but errors and warnings
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(super) quiet: bool,
    /// Colours; auto: on a terminal, unless NO_COLOR is set or TERM is dumb; CLICOLOR_FORCE=1 asks for them anywhere
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub(super) color: ColorChoice,
    /// Look here for templates before the built-in ones
    #[arg(long, global = true, value_name = "DIR", hide_short_help = true)]
    pub(super) templates: Option<PathBuf>,
    /// Use an inventory, known_hosts or template although another user owns it or may write to it
    #[arg(long, global = true, hide_short_help = true)]
    pub(super) trust_inventory: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    Text,
    /// One JSON document
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ColorChoice {
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    Init(init::Args),
    Generate(generate::Args),
    Plan(plan::Args),
    Apply(distribute::Args),
    #[command(long_about = distribute::DISTRIBUTE_ABOUT, after_help = distribute::DISTRIBUTE_EXAMPLES)]
    /// Install the generated credentials on the hosts
    Distribute(distribute::DistributeArgs),
    #[cfg(feature = "k8s")]
    Rebootstrap(rebootstrap::Args),
    Reissue(reissue::Args),
    Rollback(rollback::Args),
    #[cfg(feature = "k8s")]
    Rotate(rotate::Args),
    Runs(runs::Args),
    Status(status::Args),
    Verify(verify::Args),
    Doctor(doctor::Args),
    #[cfg(feature = "k8s")]
    Approve(approve::Args),
    Token(token::Args),
    Cert(cert::Args),
    Kubeconfig(kubeconfig::Args),
    Completions(completions::Args),
    Man(man::Args),
}

/// The form of the answer to a command line that cannot be parsed: whoever wrote `-o json` in it reads JSON.
pub(super) fn asks_for_json(arguments: &[OsString]) -> Format {
    let words: Vec<_> = arguments.iter().map(|word| word.to_string_lossy()).collect();
    let joined = |word: &str| matches!(word, "-ojson" | "-o=json" | "--output=json");
    let apart = |pair: &[Cow<str>]| matches!(&*pair[0], "-o" | "--output") && pair[1] == "json";
    if words.iter().any(|word| joined(word)) || words.windows(2).any(apart) { Format::Json } else { Format::Text }
}

/// What ends within this time is due, where nothing else is said.
pub(super) const DEFAULT_WITHIN: &str = "30d";

/// A duration such as `30d` or `12h`; a day has 24 hours.
pub(super) fn parse_duration(text: &str) -> Result<SignedDuration, String> {
    let span: Span = text.parse().map_err(|_| "not a duration such as 30d or 12h".to_owned())?;
    let duration = span
        .to_duration(SpanRelativeTo::days_are_24_hours())
        .map_err(|_| "months and years have no fixed length: use days (30d), hours or minutes".to_owned())?;
    if duration.is_positive() {
        Ok(duration)
    } else {
        Err("it must be more than nothing, such as 24h or 30d".to_owned())
    }
}

/// A duration as flags take it: in the largest unit that it is whole in.
pub(super) fn in_flags(time: SignedDuration) -> String {
    let units = [(86_400, 'd'), (3_600, 'h'), (60, 'm')];
    let seconds = time.as_secs();
    let fits = units.into_iter().find(|(length, _)| seconds % length == 0);
    let (length, unit) = fits.unwrap_or((1, 's'));
    format!("{}{unit}", seconds / length)
}
