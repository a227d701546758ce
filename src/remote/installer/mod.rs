//! Looks at a host's files and installs them: one script on the host's `sh`, one framed reply.
//!
//! Every target is checked before any is written: if one is refused, the host is left as it was. A probe changes nothing
//! and carries no secret, only paths, digests, our CA and the names of our users. How a host is reached is [`Remote`]'s affair.

mod errno;
pub mod examine;
mod fact;
mod failure;
mod foreign;
pub mod in_use;
mod last_word;
mod machine;
mod mode;
mod outcome;
mod reply;
mod restore;
mod script;

pub(super) use fact::repeats_secret;
pub(super) use failure::{ended_early, failed_step, garbled, no_reply};
pub use foreign::ForeignPolicy;
pub use machine::{MachineId, Roster, Written};
pub use outcome::{Action, Facts, FileOutcome, FileState, FileView, Found, HostOutcome, HostView, Regular, TokenRow};
pub use restore::{KeptFile, RestoredFile, RestoredHost, Undo, restore_host};
pub(super) use script::{local_root, quote_sh, split_path, without_remarks};

use super::{Error, Failure, Input, Peer, Remote, Sent, heard::hear};
use crate::{
    bundle::HostFile,
    digest::hex,
    entropy::{Entropy, random_bytes},
    inventory::Host,
};
use last_word::effect_of;
use machine::Told;
use std::cell::RefCell;

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
    let host_key = RefCell::default();
    let reply = remote.run_script(host, &|peer| {
        host_key.replace(peer.host_key.clone());
        Ok(script::render_probe(&layout, &nonce))
    });
    let told = Told::by(&hear(reply, &nonce, (remote, host), files)?, &nonce);
    let view = reply::parse_view(&told.reply, &nonce, host, &layout)?;
    Ok(HostView { host_key: host_key.into_inner(), machine: told.machine, ..view })
}

/// Makes `host` hold `files`: content, owner and mode. What is right already is not touched.
///
/// # Errors
/// [`Error`]; a refused target changes nothing, and after a failed write the old file is intact. What is known of the host
/// then: see [`install_once`].
pub fn install_host(
    remote: &dyn Remote,
    host: &Host,
    files: &[HostFile],
    policy: ForeignPolicy,
    entropy: &dyn Entropy,
) -> Result<HostOutcome, Error> {
    install_once(remote, host, files, policy, entropy, &|_| Ok(Vec::new())).map_err(Error::from)
}

/// As [`install_host`], but a machine that shows the machine-id of one that `roster` gives is only looked at.
///
/// # Errors
/// [`Failure`], of what [`install_host`] fails with, and [`Error::SameMachine`] when it lacks something, and what `roster` fails with: nothing was changed then.
pub fn install_once(
    remote: &dyn Remote,
    host: &Host,
    files: &[HostFile],
    policy: ForeignPolicy,
    entropy: &dyn Entropy,
    roster: &Roster<'_>,
) -> Result<HostOutcome, Failure> {
    let nonce = draw_nonce(entropy).map_err(Failure::untouched)?;
    let layout = script::Layout::new(host, files, policy).map_err(Failure::untouched)?;
    let (written, sent) = (RefCell::new(Vec::new()), Sent::default());
    let script = |peer: &Peer| {
        written.replace(roster(peer)?);
        Ok(Input { sent: sent.clone(), ..script::render_install(&layout, &nonce, &written.borrow()) })
    };
    let reply = remote.run_script(host, &script);
    let effect = reply.as_ref().map_or_else(|_| sent.effect(), |reply| effect_of(reply, &nonce, host));
    let outcome = hear(reply, &nonce, (remote, host), files).and_then(|heard| {
        let told = Told::by(&heard, &nonce);
        let twin = told.twin_of(&written.borrow())?;
        let outcome = reply::parse_outcome(&told.reply, &nonce, host, &layout)?;
        Ok(HostOutcome { machine: told.machine, twin, ..outcome })
    });
    outcome.map_err(|error| Failure { error, effect })
}

/// Marks our lines in the reply, and makes temporary names unguessable.
pub(super) fn draw_nonce(entropy: &dyn Entropy) -> Result<String, Error> {
    Ok(hex(&random_bytes::<16>(entropy)?))
}
