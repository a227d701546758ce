//! Looks at a host's files and installs them: one script on the host's `sh`, one framed reply.
//!
//! Every target is checked before any is written: if one is refused, the host is left as it was. A probe changes nothing
//! and carries no secret, only paths, digests, our CA and the names of our users. How a host is reached is [`Remote`]'s affair.

mod failure;
mod foreign;
mod outcome;
mod reply;
mod restore;
mod script;
mod withhold;

pub use foreign::ForeignPolicy;
pub use outcome::{Action, Facts, FileOutcome, FileState, FileView, Found, HostOutcome, HostView, Regular, TokenRow};
pub use restore::{KeptFile, RestoredFile, RestoredHost, Undo, restore_host};

use super::{Error, Remote};
use crate::{
    bundle::HostFile,
    digest::hex,
    entropy::{Entropy, random_bytes},
    inventory::Host,
};
use withhold::withhold_secrets;

/// Reads what `host` holds at the places of `files`, without changing anything.
///
/// # Errors
/// [`Error`] when the host could not be reached or looked at. What stands in the way of a single file is in its
/// [`FileView::state`].
pub fn probe_host(
    remote: &dyn Remote,
    host: &Host,
    files: &[HostFile],
    policy: ForeignPolicy,
    entropy: &dyn Entropy,
) -> Result<HostView, Error> {
    let nonce = draw_nonce(entropy)?;
    let layout = script::Layout::new(host, files, policy)?;
    let reply = remote.run_script(host, &|_| Ok(script::render_probe(&layout, &nonce)))?;
    reply::parse_view(&withhold_secrets(reply, &nonce, files), &nonce, host, &layout)
}

/// Makes `host` hold `files`: content, owner and mode. What is right already is not touched.
///
/// # Errors
/// [`Error`]; with [`Error::Files`] for a refused target nothing was changed, for a failed write the old file is intact.
pub fn install_host(
    remote: &dyn Remote,
    host: &Host,
    files: &[HostFile],
    policy: ForeignPolicy,
    entropy: &dyn Entropy,
) -> Result<HostOutcome, Error> {
    let nonce = draw_nonce(entropy)?;
    let layout = script::Layout::new(host, files, policy)?;
    let reply = remote.run_script(host, &|_| Ok(script::render_install(&layout, &nonce)))?;
    reply::parse_outcome(&withhold_secrets(reply, &nonce, files), &nonce, host, &layout)
}

/// Marks our lines in the reply, and makes temporary names unguessable.
fn draw_nonce(entropy: &dyn Entropy) -> Result<String, Error> {
    Ok(hex(&random_bytes::<16>(entropy)?))
}
