//! `kubemint init`: a commented inventory to start from.

use super::{
    context::Context,
    failure::{Exit, Failure},
};
use crate::{
    inventory,
    secret::printable,
    store::{Existing, Stream},
};
use serde::Serialize;
use std::path::PathBuf;

/// Write a commented inventory; an existing file is never overwritten
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kubemint init                       ./inventory.toml (or what -i names)
  kubemint init clusters/berlin.toml  another place; its folder is made too")]
pub(super) struct Args {
    /// Where to write it; - is standard output [default: what -i/--inventory names]
    file: Option<PathBuf>,
}

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    version: u32,
    path: &'a str,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Exit, Failure> {
    let path = args.file.as_ref().unwrap_or(&context.global.inventory);
    let target = context.path(path);
    if let Some(folder) = target.parent().filter(|folder| !folder.exists()) {
        std::fs::create_dir_all(folder).map_err(|e| {
            Failure::bad_input("file_unwritable", format!("cannot make {}: {e}", folder.display()))
                .hint("name a folder you may write to")
        })?;
    }
    let file = context.output_file(path, Existing::Refused)?;
    context.write_output(&file, inventory::EXAMPLE)?;
    if file.stream() == Some(Stream::Output) {
        return Ok(Exit::Done);
    }
    let name = path.display().to_string();
    context.output.answer(&Document { schema: "kubemint/init", version: 1, path: &name }, || {
        let shown = printable(&name);
        format!("wrote {shown}; set cluster.server and [[hosts]] in it, then: kubemint -i {shown} plan\n")
    })?;
    Ok(Exit::Done)
}
