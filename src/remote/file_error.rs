//! What is wrong with one file of a host, as a value: a stable code for scripts, words and a cure for people.

use crate::foreign::ForeignText;
use std::fmt;

/// What is wrong with one file or the directory it belongs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileFault {
    TargetIsSymlink,
    TargetIsDirectory,
    TargetIsSpecial,
    ParentUnsafe,
    ParentNotDirectory,
    ReadOnlyFilesystem,
    DiskFull,
    PermissionDenied,
    Immutable,
    WriteFailed,
    DigestMismatch,
    AttributesNotSet,
    /// It is of a cluster with another CA.
    OtherAuthority,
    /// It has rows of users that ours has not.
    ForeignRows,
    /// It is not what the run to be put back has left there.
    ChangedSince,
    /// The version it had before the run is not kept there.
    NothingToRestore,
    /// What stands where its kept version should be is no regular file.
    PreviousUnusable,
    /// It is newer than its kept version where another file of the host is older than its own, or the other way round.
    MixedVersions,
    /// The inventory does not put it on the host.
    NotATarget,
    /// It is larger than anything of ours, and a copy of it would be needed.
    TooLarge,
    /// Another file system is mounted on it, or on what should replace it.
    TargetIsMountPoint,
    /// A program of the host holds it in a way that does not let it be replaced.
    TargetBusy,
    /// A rename or link would lead to another file system, or to another quota project.
    CrossDevice,
    /// The host limits the size of the files that the login may write (RLIMIT_FSIZE).
    FileSizeLimit,
    /// The host lets the shell start no programs.
    ExecForbidden,
    /// The host has no more processes, memory or open files for the login.
    HostResources,
    /// The network file system has lost the file or its server.
    StaleHandle,
}

/// One file that could not be installed or looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileError {
    /// Where the file, or the directory at fault, is on the host: a local host's root included.
    pub path: String,
    pub fault: FileFault,
    /// What the host said; may be empty.
    pub detail: ForeignText,
}

/// Where a host has no more to give, whatever was to be done.
pub(super) const HOST_RESOURCES_HINT: &str = "look at the host's load, memory (`free`) and limits (`ulimit -u`, `ulimit -n`, \
    `ulimit -v` of the login, TasksMax= of its slice, fs.file-max), then run again";

impl std::error::Error for FileError {}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.fault {
            FileFault::TargetIsSymlink => "is a symbolic link",
            FileFault::TargetIsDirectory => "is a directory",
            FileFault::TargetIsSpecial => "is a device, socket or pipe",
            FileFault::ParentUnsafe => "lies in a directory that others may change",
            FileFault::ParentNotDirectory => "lies below something that is not a directory",
            FileFault::ReadOnlyFilesystem => "lies on a read-only file system",
            FileFault::DiskFull => "cannot be written: the disk is full",
            FileFault::PermissionDenied => "cannot be written: permission denied",
            FileFault::Immutable => "cannot be replaced: operation not permitted",
            FileFault::WriteFailed => "cannot be written",
            FileFault::DigestMismatch => "reads back with other content than was written",
            FileFault::AttributesNotSet => "does not keep the owner and mode it was given",
            FileFault::OtherAuthority => "trusts another CA",
            FileFault::ForeignRows => "has tokens of users that ours does not have",
            FileFault::ChangedSince => "is not what that run left there",
            FileFault::NothingToRestore => "has no kept version to put back",
            FileFault::PreviousUnusable => "has something else than a file where its kept version should be",
            FileFault::MixedVersions => "was exchanged with its kept version apart from the host's other files",
            FileFault::NotATarget => "is not a file that the inventory puts there",
            FileFault::TooLarge => "is too large to be copied",
            FileFault::TargetIsMountPoint => "is a mount point and cannot be replaced",
            FileFault::TargetBusy => "cannot be replaced: it is in use",
            FileFault::CrossDevice => "cannot be renamed or linked: it is on another file system",
            FileFault::FileSizeLimit => "cannot be written: it exceeds the login's file size limit",
            FileFault::ExecForbidden => "cannot be worked on: the shell may not start programs",
            FileFault::HostResources => "cannot be worked on: the host is out of processes, memory or open files",
            FileFault::StaleHandle => "cannot be worked on: its network file system has a stale handle",
        };
        write!(f, "{} {what}", self.path)?;
        if self.detail.is_empty() { Ok(()) } else { write!(f, " ({})", self.detail) }
    }
}

impl FileError {
    /// The stable name scripts rely on.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self.fault {
            FileFault::TargetIsSymlink => "target_is_symlink",
            FileFault::TargetIsDirectory => "target_is_directory",
            FileFault::TargetIsSpecial => "target_is_special",
            FileFault::ParentUnsafe => "parent_unsafe",
            FileFault::ParentNotDirectory => "parent_not_directory",
            FileFault::ReadOnlyFilesystem => "read_only_filesystem",
            FileFault::DiskFull => "disk_full",
            FileFault::PermissionDenied => "permission_denied",
            FileFault::Immutable => "immutable",
            FileFault::WriteFailed => "write_failed",
            FileFault::DigestMismatch => "digest_mismatch",
            FileFault::AttributesNotSet => "attributes_not_set",
            FileFault::OtherAuthority => "other_authority",
            FileFault::ForeignRows => "foreign_token_rows",
            FileFault::ChangedSince => "changed_since",
            FileFault::NothingToRestore => "nothing_to_restore",
            FileFault::PreviousUnusable => "previous_unusable",
            FileFault::MixedVersions => "mixed_versions",
            FileFault::NotATarget => "not_a_target",
            FileFault::TooLarge => "target_too_large",
            FileFault::TargetIsMountPoint => "target_is_mount_point",
            FileFault::TargetBusy => "target_busy",
            FileFault::CrossDevice => "cross_device",
            FileFault::FileSizeLimit => "file_size_limit",
            FileFault::ExecForbidden => "exec_forbidden",
            FileFault::HostResources => "host_resources",
            FileFault::StaleHandle => "stale_file_handle",
        }
    }

    /// What a person can do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        let path = &self.path;
        match self.fault {
            FileFault::TargetIsSymlink | FileFault::TargetIsDirectory | FileFault::TargetIsSpecial => {
                format!("look at it with `ls -ld {path}`; move it away if it should not be there, then run again")
            }
            FileFault::ParentUnsafe => {
                "each directory above the file must belong to root and be writable by root alone: look with \
                 `namei -l`, mend with chown and chmod; for a host on this machine run kubemint as the directory's \
                 owner and not as root, or set its root to a folder below one that root owns"
                    .into()
            }
            FileFault::ParentNotDirectory => format!("look with `namei -l {path}`"),
            FileFault::ReadOnlyFilesystem => "remount it read-write, or set [distribute] directory elsewhere".into(),
            FileFault::DiskFull => {
                "free space or inodes there (`df`, `df -i`), then run again".into()
            }
            FileFault::PermissionDenied => "log in as root, or set become = \"sudo\"".into(),
            FileFault::Immutable => {
                format!(
                    "look with `lsattr {path}`; `chattr -i` undoes the usual cause; a security module may be another"
                )
            }
            FileFault::AttributesNotSet => {
                format!(
                    "look with `ls -ln {path}` and `findmnt -T {path}`: some file systems keep neither owner nor mode"
                )
            }
            FileFault::OtherAuthority => {
                "the host may be another cluster's, or the credential directory the wrong one or lost; \
                 --replace-foreign overwrites it deliberately"
                    .into()
            }
            FileFault::ForeignRows => format!(
                "copy {path} here and take its rows over with `kubemint token merge FILE`; --replace-foreign \
                 overwrites it deliberately"
            ),
            FileFault::ChangedSince => {
                "nothing on that host was changed; `kubemint status` shows what it holds; put a later run back first, or \
                 name the host with --host to exchange its files whatever they hold"
                    .into()
            }
            FileFault::NothingToRestore => {
                "one version back is kept, no more; `kubemint apply` installs what the credential directory holds".into()
            }
            FileFault::PreviousUnusable => {
                format!("look at the names beside {path} with `ls -la`; move away what should not be there")
            }
            FileFault::MixedVersions => {
                "nothing on that host was changed: to exchange all would mix generations; `kubemint rollback RUN` with the \
                 run that installed them compares them one by one and goes on where it stopped; `kubemint apply` installs \
                 them anew"
                    .into()
            }
            FileFault::NotATarget => {
                "the host's directory or roles in the inventory are not what they were in that run".into()
            }
            FileFault::TooLarge => {
                format!("look at it with `ls -l {path}`; remove it, or move it out of the directory, then run again")
            }
            FileFault::TargetIsMountPoint => {
                format!(
                    "look with `findmnt {path}`; unmount it (`umount {path}`), or mount the directory above it instead of the \
                     file, then run again"
                )
            }
            FileFault::TargetBusy => format!("look for what uses it with `fuser -v {path}`, then run again"),
            FileFault::CrossDevice => {
                format!(
                    "look with `findmnt {path}`: unmount a file that is mounted by itself (`umount {path}`); project quotas \
                     (`lsattr -p {path}`) keep files of one directory apart, too: move the file away, then run again"
                )
            }
            FileFault::FileSizeLimit => "raise the limit for the login on the host: `ulimit -f` in its shell's startup \
                                         files, fsize in /etc/security/limits.conf, or LimitFSIZE= of the sshd unit"
                .into(),
            FileFault::ExecForbidden => "check sudo's NOEXEC tag and `Defaults noexec` for the login (`sudo -l`), and \
                                         allow it with EXEC; other causes are a noexec mount and a security module"
                .into(),
            FileFault::HostResources => HOST_RESOURCES_HINT.into(),
            FileFault::StaleHandle => {
                format!("look with `findmnt -T {path}`; remount the network file system, then run again")
            }
            FileFault::WriteFailed | FileFault::DigestMismatch => {
                "look at the host's disk and its kernel log, then run again".into()
            }
        }
    }
}
