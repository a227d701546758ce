//! The flags that bound a run: how many hosts at a time it begins anew, and how many may fail.

use crate::inventory::{Amount, AmountError, Inventory, Limits};

#[derive(Debug, clap::Args)]
pub(super) struct LimitArgs {
    /// Begin the next so many hosts only when those before have ended [default: distribute.batch of the inventory, all]
    #[arg(long, value_name = "N|%", value_parser = parse_batch)]
    batch: Option<Amount>,
    /// Begin no other host when more than so many have failed [default: distribute.max_failures of the inventory, any]
    #[arg(long, value_name = "N|%", value_parser = parse_amount)]
    max_failures: Option<Amount>,
}

impl LimitArgs {
    /// The inventory's limits, where no flag says otherwise.
    pub(super) fn limits(&self, inventory: &Inventory) -> Limits {
        let Limits { sequence, batch, max_failures } = inventory.limits;
        Limits { sequence, batch: self.batch.or(batch), max_failures: self.max_failures.or(max_failures) }
    }
}

fn parse_amount(text: &str) -> Result<Amount, String> {
    text.parse().map_err(|e: AmountError| format!("{e}: {}", e.hint().replace('"', "")))
}

fn parse_batch(text: &str) -> Result<Amount, String> {
    match parse_amount(text)? {
        none if none.is_nothing() => Err("a batch has at least 1 host".to_owned()),
        amount => Ok(amount),
    }
}
