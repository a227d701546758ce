//! What can be wrong with one file on a host, as values: a stable code, what a person reads, and a hint. Decided by the
//! installer script on the host; nothing here looks at a file.

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
}

/// One file that could not be installed or looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileError {
    /// Where the file, or the directory at fault, is on the host: a local host's root included.
    pub path: String,
    pub fault: FileFault,
    /// What the host said, scrubbed; may be empty.
    pub detail: String,
}

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
                "free space or inodes there (`df`, `df -i`), then run again; nothing was changed".into()
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
            FileFault::WriteFailed | FileFault::DigestMismatch => {
                "look at the host's disk and its kernel log, then run again".into()
            }
        }
    }
}
