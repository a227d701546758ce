//! `kubemint man DIR`: a man page for every command.

use super::{
    context::Context,
    failure::{Exit, Failure},
};
use crate::secret::printable;
use serde::Serialize;
use std::{fs, path::PathBuf};

/// Write a man page for every command into a directory
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kubemint man ./man && man ./man/kubemint-apply.1
  kubemint man /usr/local/share/man/man1")]
pub(super) struct Args {
    /// Made where it is missing
    dir: PathBuf,
}

#[derive(Serialize)]
struct Document {
    schema: &'static str,
    version: u32,
    directory: String,
    pages: usize,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Exit, Failure> {
    let dir = context.path(&args.dir);
    let unwritable = |e: std::io::Error| {
        Failure::bad_input("file_unwritable", format!("cannot write man pages to {}: {e}", args.dir.display()))
            .hint("name a directory you may write to")
    };
    fs::create_dir_all(&dir).map_err(unwritable)?;
    clap_mangen::generate_to(super::command(), &dir).map_err(unwritable)?;
    let entries = fs::read_dir(&dir).map_err(unwritable)?;
    let is_page = |name: &std::ffi::OsStr| name.to_string_lossy().starts_with("kubemint");
    let pages = entries.filter_map(Result::ok).filter(|entry| is_page(&entry.file_name())).count();
    let directory = args.dir.display().to_string();
    let document = Document { schema: "kubemint/man", version: 1, directory, pages };
    context.output.answer(&document, || format!("{pages} pages in {}\n", printable(&document.directory)))?;
    Ok(Exit::Done)
}
