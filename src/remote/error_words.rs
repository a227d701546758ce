//! Which parts of an error are foreign words, so that they can be redacted by whoever knows what they must not repeat. No
//! wildcard here: a new error has to say which of its parts a host has a say in.

use super::Error;
use crate::foreign::ForeignText;
use std::sync::Arc;

impl Error {
    /// Calls `change` with every part of it that a host has a say in.
    pub(super) fn for_each_foreign(&mut self, change: &mut dyn FnMut(&mut ForeignText)) {
        match self {
            Self::Retried { last, .. } => last.for_each_foreign(change),
            Self::CommandOutcomeUnknown { cause } => cause.for_each_foreign(change),
            Self::DnsFailed { reason, .. }
            | Self::DnsBusy { reason, .. }
            | Self::Unreachable { reason, .. }
            | Self::HandshakeFailed { reason, .. }
            | Self::KnownHostsUnreadable { reason, .. }
            | Self::KeyUnreadable { reason, .. }
            | Self::UnreachableFromJump { reason, .. }
            | Self::SshConfigFailed { reason, .. }
            | Self::ConnectionLost { reason, .. }
            | Self::TimedOut { reason, .. }
            | Self::Exhausted { reason, .. }
            | Self::LocalShell { reason } => change(reason),
            Self::ProtocolGarbled { said, .. }
            | Self::BecomeFailed { said, .. }
            | Self::ShellUnusable { said, .. }
            | Self::HostExhausted { said } => {
                change(said);
            }
            Self::AuthFailed { tried, .. } => change(tried),
            Self::ProxyCommandUnsupported { command, .. } => change(command),
            Self::ToolMissing { tool } => change(tool),
            Self::BecomePassword { of, .. } => of.iter_mut().for_each(change),
            Self::HostKeyUnknown { offered, .. }
            | Self::HostKeyChanged { offered, .. }
            | Self::HostKeyRevoked { offered, .. }
            | Self::HostCaUnsupported { offered, .. } => change(&mut offered.key_type),
            Self::Files(files) => files.iter_mut().for_each(|file| change(&mut file.detail)),
            // Shared by all the hosts behind it, each of which changes its own.
            Self::JumpFailed { cause, .. } => Arc::make_mut(cause).for_each_foreign(change),
            Self::ConnectRefused { .. }
            | Self::ConnectTimeout { .. }
            | Self::PasswordExpired { .. }
            | Self::KeyEncrypted { .. }
            | Self::KeyOpenToOthers { .. }
            | Self::Bug
            | Self::ForwardingRefused { .. }
            | Self::Entropy(_)
            | Self::PathUnusable { .. }
            | Self::ClockOutsideValidity { .. }
            | Self::SameMachine { .. }
            | Self::WaitedForTwin { .. } => {}
        }
    }
}
