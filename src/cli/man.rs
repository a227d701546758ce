//! `kubemint man DIR`: a man page for every command.

use super::{
    context::Context,
    failure::{Exit, Failure},
};
use crate::{secret::printable, store::Existing};
use clap_mangen::Man;
use serde::Serialize;
use std::{fs, io, path::PathBuf};

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
    let unwritable = |e: io::Error| {
        Failure::bad_input("file_unwritable", format!("cannot write man pages to {}: {e}", args.dir.display()))
            .hint("name a directory you may write to")
    };
    let mut command = super::command().disable_help_subcommand(true);
    command.build();
    let mut pages = Vec::new();
    render_pages(command, &mut pages).map_err(unwritable)?;
    let dir = context.path(&args.dir);
    fs::create_dir_all(&dir).map_err(unwritable)?;
    for (name, text) in &pages {
        let file = context.output_file(&args.dir.join(name), Existing::Replaced)?;
        context.write_output(&file, text)?;
    }
    let directory = args.dir.display().to_string();
    let document = Document { schema: "kubemint/man", version: 1, directory, pages: pages.len() };
    context.output.answer(&document, || format!("{} pages in {}\n", document.pages, printable(&document.directory)))?;
    Ok(Exit::Done)
}

/// The page of a command after those of its subcommands, each with its file's name. The grammar is two levels deep.
fn render_pages(command: clap::Command, pages: &mut Vec<(String, String)>) -> io::Result<()> {
    for subcommand in command.get_subcommands().filter(|subcommand| !subcommand.is_hide_set()).cloned() {
        render_pages(subcommand, pages)?;
    }
    let (mut text, page) = (Vec::new(), Man::new(command));
    page.render(&mut text)?;
    pages.push((page.get_filename(), String::from_utf8_lossy(&text).into_owned()));
    Ok(())
}
