//! `kubemint runs`: what earlier runs did; and how the other commands name a run and where runs are recorded.

mod list;
mod merge;
mod show;

use super::{
    context::Context,
    failure::{Exit, Failure},
};
use crate::{
    store::{self, Journal, RunId, Runs, Store},
    workflow::runs::{self, KeptRun, RunState},
};
use std::path::{Path, PathBuf};

/// Show what earlier runs did, or join the reports of shards
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kubemint runs list
  kubemint runs show last
  kubemint runs merge shard-1.json shard-2.json")]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    List(list::Args),
    Show(show::Args),
    Merge(merge::Args),
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Exit, Failure> {
    match &args.command {
        Command::List(args) => {
            refuse_choice(context, "runs list")?;
            list::run(args, context)
        }
        Command::Show(args) => {
            refuse_choice(context, "runs show")?;
            show::run(args, context)
        }
        Command::Merge(args) => merge::run(args, context),
    }
}

/// Where runs are recorded.
#[derive(Debug, Default, clap::Args)]
pub(super) struct RunsArgs {
    /// Where runs are recorded, instead of the credential directory, which is then only read
    #[arg(long, value_name = "DIR")]
    runs_dir: Option<PathBuf>,
}

impl RunsArgs {
    /// The operator's own directory of runs.
    pub(super) fn given(&self) -> Option<&Path> {
        self.runs_dir.as_deref()
    }

    /// The credential directory itself is no directory of runs.
    pub(super) fn refuse_state(&self, context: &Context, store: &Store) -> Result<(), Failure> {
        let Some(dir) = &self.runs_dir else { return Ok(()) };
        let whole = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
        if whole(&context.path(dir)) != whole(store.dir()) {
            return Ok(());
        }
        let what = format!("--runs-dir {} is the credential directory", dir.display());
        Err(Failure::bad_input("usage", what)
            .hint("name another directory, or leave --runs-dir out: runs are recorded in its runs/"))
    }

    /// The runs themselves.
    pub(super) fn runs(&self, context: &Context, store: &Store) -> Runs {
        match &self.runs_dir {
            Some(dir) => Runs::at(&context.path(dir)),
            None => store.runs(),
        }
    }

    /// The same, for who needs no other part of the credential directory.
    fn runs_alone(&self, context: &Context) -> Result<Runs, Failure> {
        match &self.runs_dir {
            Some(dir) => Ok(Runs::at(&context.path(dir))),
            None => Ok(context.store_alone()?.runs()),
        }
    }

    /// As [`RunsArgs::read`], for who needs no other part of the credential directory.
    fn read_alone(&self, context: &Context, wanted: &str) -> Result<KeptRun, Failure> {
        match path_in(wanted) {
            Some(path) => read_path(context, path),
            None => read_run(&self.runs_alone(context)?, wanted),
        }
    }

    /// Begins a run there.
    pub(super) fn start(&self, context: &Context, store: &Store) -> Result<Journal, Failure> {
        let id = RunId::new(context.now(), &context.entropy)?;
        match &self.runs_dir {
            Some(_) => Ok(self.runs(context, store).start(id)?),
            None => Ok(store.start_run(id)?),
        }
    }

    /// A run by its id, the beginning of it, or `last`; or a report by its path.
    pub(super) fn read(&self, context: &Context, store: &Store, wanted: &str) -> Result<KeptRun, Failure> {
        match path_in(wanted) {
            Some(path) => read_path(context, path),
            None => read_run(&self.runs(context, store), wanted),
        }
    }

    /// The same, but `last` passes over runs that could not even write their first line: they began no host.
    pub(super) fn read_to_retry(&self, context: &Context, store: &Store, wanted: &str) -> Result<KeptRun, Failure> {
        if wanted != "last" {
            return self.read(context, store, wanted);
        }
        let runs = self.runs(context, store);
        for id in runs.list()?.iter().rev() {
            let run = runs::parse_record(id.as_str(), &runs.path(id), &runs.read(id)?)?;
            if run.command.is_some() || run.state == RunState::Running {
                return Ok(run);
            }
        }
        read_run(&runs, wanted)
    }

    /// As [`RunsArgs::read`], but `last` is the last run that may have changed a host and is no rollback: what a rollback is to undo.
    pub(super) fn read_to_undo(&self, context: &Context, store: &Store, wanted: &str) -> Result<KeptRun, Failure> {
        if wanted != "last" {
            return self.read(context, store, wanted);
        }
        let runs = self.runs(context, store);
        for id in runs.list()?.iter().rev() {
            let run = runs::parse_record(id.as_str(), &runs.path(id), &runs.read(id)?)?;
            if run.can_be_undone() {
                return Ok(run);
            }
        }
        let what = format!("no run that changed a host is recorded in {}", runs.dir().display());
        Err(Failure::bad_input("no_such_run", what)
            .hint("`kubemint runs list` names all; a rollback is undone by its id"))
    }
}

/// The credential directory's runs and those of --runs-dir, which are in no order with one another.
pub(super) fn directories(args: &RunsArgs, context: &Context, store: &Store) -> Vec<Runs> {
    let own = args.given().map(|_| args.runs(context, store));
    own.into_iter().chain([store.runs()]).filter(|runs| runs.dir().is_dir()).collect()
}

/// The runs of a directory that can be read, from the newest to the oldest.
pub(super) fn newest_first(runs: Runs) -> impl Iterator<Item = KeptRun> {
    let ids = runs.list().unwrap_or_default();
    ids.into_iter()
        .rev()
        .filter_map(move |id| runs::parse_record(id.as_str(), &runs.path(&id), &runs.read(&id).ok()?).ok())
}

/// These commands show runs whole.
fn refuse_choice(context: &Context, command: &str) -> Result<(), Failure> {
    let global = &context.global;
    let flag = match () {
        () if !global.limit.is_empty() => "--limit",
        () if global.shard.is_some() => "--shard",
        () if global.shard_count.is_some() => "--shard-count",
        () => return Ok(()),
    };
    Err(Failure::bad_input("usage", format!("`{command}` takes no {flag}: it shows runs whole"))
        .hint(format!("leave {flag} out; jq selects hosts of `-o json`")))
}

fn read_run(runs: &Runs, wanted: &str) -> Result<KeptRun, Failure> {
    let id = runs.find(wanted)?;
    Ok(runs::parse_record(id.as_str(), &runs.path(&id), &runs.read(&id)?)?)
}

/// No run's id has a slash or a full stop in it; `-` is standard input.
pub(super) fn path_in(wanted: &str) -> Option<&Path> {
    (wanted == "-" || wanted.contains('/') || wanted.ends_with(".json")).then(|| Path::new(wanted))
}

/// A report, or a run's directory, wherever it is.
fn read_path(context: &Context, path: &Path) -> Result<KeptRun, Failure> {
    let bad = |error: &store::Error| Failure::bad_input("report_unreadable", error.to_string()).hint(error.hint());
    let full = context.path(path);
    if !full.is_dir() {
        return runs::parse_report(&context.read_report(path)?, path).map_err(|e| bad(&e));
    }
    let name = full.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let record = store::read_record(&full).map_err(|e| bad(&e))?;
    runs::parse_record(&name, path, &record).map_err(|e| bad(&e))
}
