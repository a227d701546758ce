//! The inventory: TOML in, validated values out.
//!
//! [`parse_inventory`] is the only way to an [`Inventory`]; it reads no file and no environment, and reports every
//! mistake of a file at once. `schema` lists the keys, `reader` walks the document by it, `settings`, `pace`, `access`
//! and `hosts` give the values their meaning, `select` picks hosts for `--limit`.

mod access;
mod address;
mod amount;
mod block;
mod choice;
mod diagnostics;
mod glob;
mod hosts;
mod identity;
mod model;
mod names;
mod pace;
mod paths;
mod range;
mod reader;
mod schema;
mod select;
mod server;
mod settings;
mod shard;
mod unique;

pub use address::{AddressError, JumpHost, parse_address};
pub use amount::{Amount, AmountError};
pub use diagnostics::{Diagnostic, Diagnostics};
pub use glob::Glob;
pub use identity::{is_bootstrap_group, is_reserved_group, is_reserved_user};
pub use model::*;
pub use names::{NameError, UnknownRole};
pub use range::RangeError;
pub use select::{Pattern, PatternError, SelectError, parse_pattern_file, parse_patterns, resolve_files, select_hosts};
pub use server::ServerUrlError;
pub use shard::{Shard, ShardError};

use diagnostics::{Mistake, Mistakes};
use std::path::PathBuf;
use toml::de::DeTable;

/// A commented inventory with every key there is; it works as it stands, on this machine.
pub const EXAMPLE: &str = include_str!("../../inventory.example.toml");

/// Larger texts (16 MiB) are no inventories.
const LARGEST_TEXT: usize = 16 << 20;

/// Where an inventory stands and whose it is: what relative paths and `~` mean in it.
#[derive(Debug, Clone)]
pub struct Location {
    /// The file as the user named it, for messages.
    pub path: PathBuf,
    /// The file's folder, absolute.
    pub folder: PathBuf,
    /// What `~` stands for; without it a path with `~` is an error.
    pub home: Option<PathBuf>,
}

/// Reads an inventory.
///
/// # Errors
/// [`Diagnostics`] with all mistakes of the text; of a text that is not TOML, the first.
pub fn parse_inventory(text: &str, location: &Location) -> Result<Inventory, Diagnostics> {
    let mut mistakes = Mistakes::new(&location.path, text);
    if text.len() > LARGEST_TEXT {
        let message = format!("the file is larger than {} MiB", LARGEST_TEXT >> 20);
        return Err(mistakes.fail(0, Mistake::new(message).hint("write hosts as ranges: name = \"node[001-100]\"")));
    }
    match DeTable::parse(text) {
        Ok(document) => {
            let inventory = read_inventory(document.get_ref(), location, &mut mistakes);
            mistakes.finish(inventory)
        }
        Err(error) => {
            let at = error.span().map_or(0, |span| span.start);
            let mistake = Mistake::new(format!("not TOML: {}", diagnostics::shown(error.message())));
            let bare = reader::is_bare_text(text, at).then_some("put text in double quotes");
            Err(mistakes.fail(at, mistake.maybe_hint(bare)))
        }
    }
}

fn read_inventory(document: &DeTable<'_>, location: &Location, mistakes: &mut Mistakes<'_>) -> Inventory {
    let top = reader::Reader::open(document, mistakes);
    let cluster = settings::read_cluster(&top, mistakes);
    let token_form = settings::read_token_form(&top, mistakes);
    let hosts = hosts::read_hosts(&top, &cluster.server, location, mistakes);
    unique::check_unique(&hosts, mistakes);
    Inventory {
        path: location.path.clone(),
        state_dir: settings::read_state_dir(&top, location, mistakes),
        cluster,
        ca: settings::read_ca(&top, location, mistakes),
        token_per_node: settings::read_token_per_node(
            &top,
            token_form,
            hosts.iter().map(|placed| &placed.host),
            mistakes,
        ),
        token: settings::read_token(&top, token_form, mistakes),
        token_form,
        token_ttl: settings::read_token_ttl(&top, mistakes),
        kube_proxy: settings::read_kube_proxy(&top, mistakes),
        concurrency: pace::read_concurrency(&top, mistakes),
        deadlines: pace::read_deadlines(&top, mistakes),
        limits: pace::read_limits(&top, mistakes),
        services: settings::read_services(&top, mistakes),
        hosts: hosts.into_iter().map(|placed| placed.host).collect(),
    }
}
