//! After which errors it is known that nothing was changed on the host. Of all others it is not: a connection that was lost
//! may have been lost after the renames. No wildcard here: a new error has to say which it is.

use super::{Error, FileError, FileFault};

impl Error {
    /// Whether the host is as it was before.
    #[must_use]
    pub fn leaves_host_untouched(&self) -> bool {
        match self {
            Self::Retried { last, .. } => last.leaves_host_untouched(),
            Self::Files(files) => files.iter().all(FileError::leaves_host_untouched),
            Self::ConnectionLost { .. }
            | Self::TimedOut { .. }
            | Self::ProtocolGarbled { .. }
            | Self::CommandOutcomeUnknown { .. } => false,
            Self::DnsFailed { .. }
            | Self::DnsBusy { .. }
            | Self::ConnectRefused { .. }
            | Self::ConnectTimeout { .. }
            | Self::Unreachable { .. }
            | Self::HandshakeFailed { .. }
            | Self::HostKeyUnknown { .. }
            | Self::HostKeyChanged { .. }
            | Self::HostKeyRevoked { .. }
            | Self::HostCaUnsupported { .. }
            | Self::KnownHostsUnreadable { .. }
            | Self::AuthFailed { .. }
            | Self::PasswordExpired { .. }
            | Self::KeyUnreadable { .. }
            | Self::KeyEncrypted { .. }
            | Self::JumpFailed { .. }
            | Self::ForwardingRefused { .. }
            | Self::UnreachableFromJump { .. }
            | Self::SshConfigFailed { .. }
            | Self::ProxyCommandUnsupported { .. }
            | Self::BecomeFailed { .. }
            | Self::BecomePassword { .. }
            | Self::ShellUnusable { .. }
            | Self::LocalShell { .. }
            | Self::Entropy(_)
            | Self::PathUnusable { .. }
            | Self::ToolMissing { .. }
            | Self::ClockOutsideValidity { .. }
            | Self::SameMachine { .. }
            | Self::WaitedForTwin { .. } => true,
        }
    }
}

impl FileError {
    /// Whether this was found before anything was changed: a refusal, and not a step that failed.
    #[must_use]
    pub const fn leaves_host_untouched(&self) -> bool {
        match self.fault {
            FileFault::DiskFull
            | FileFault::PermissionDenied
            | FileFault::Immutable
            | FileFault::WriteFailed
            | FileFault::DigestMismatch
            | FileFault::AttributesNotSet => false,
            FileFault::TargetIsSymlink
            | FileFault::TargetIsDirectory
            | FileFault::TargetIsSpecial
            | FileFault::ParentUnsafe
            | FileFault::ParentNotDirectory
            | FileFault::ReadOnlyFilesystem
            | FileFault::OtherAuthority
            | FileFault::ForeignRows
            | FileFault::ChangedSince
            | FileFault::NothingToRestore
            | FileFault::PreviousUnusable
            | FileFault::MixedVersions
            | FileFault::NotATarget => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::foreign::ForeignText;

    fn file(fault: FileFault) -> FileError {
        FileError { path: "/x".into(), fault, detail: ForeignText::default() }
    }

    #[test]
    fn a_step_that_failed_among_refusals_and_a_line_that_broke_leave_it_open() {
        let refused = || file(FileFault::TargetIsSymlink);
        assert!(Error::Files(vec![refused(), file(FileFault::ParentUnsafe)]).leaves_host_untouched());
        assert!(!Error::Files(vec![refused(), file(FileFault::DiskFull)]).leaves_host_untouched());
        let lost = || Error::ConnectionLost { during: "while the script ran", reason: "reset".into() };
        let refusal = Error::ConnectRefused { endpoint: "x:22".into() };
        assert!(!Error::Retried { attempts: 2, last: Box::new(lost()) }.leaves_host_untouched());
        assert!(Error::Retried { attempts: 2, last: Box::new(refusal) }.leaves_host_untouched());
        assert!(!lost().leaves_host_untouched());
    }
}
