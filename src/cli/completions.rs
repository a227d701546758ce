//! `kubemint completions SHELL`.

use super::{
    context::Context,
    failure::{Exit, Failure},
};
use clap_complete::Shell;
use serde::Serialize;

/// Print the completion script of a shell
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kubemint completions bash > /etc/bash_completion.d/kubemint
  kubemint completions zsh > \"${fpath[1]}/_kubemint\"
  kubemint completions fish > ~/.config/fish/completions/kubemint.fish")]
pub(super) struct Args {
    /// Whose completions
    #[arg(value_parser = clap::builder::EnumValueParser::<Shell>::new())]
    shell: Shell,
}

#[derive(Serialize)]
struct Document {
    schema: &'static str,
    version: u32,
    shell: String,
    script: String,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut super::command(), "kubemint", &mut script);
    let (shell, script) = (args.shell.to_string(), String::from_utf8_lossy(&script).into_owned());
    let document = Document { schema: "kubemint/completions", version: 1, shell, script };
    context.output.answer(&document, || document.script.clone())?;
    Ok(Exit::Done)
}
