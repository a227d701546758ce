//! What shells, programs and C libraries say when a system call fails, as what is wrong with a file. Foreign text is judged
//! here and nowhere else; it is quoted by who asks. The host runs under LC_ALL=C.

use crate::remote::FileFault;

/// How glibc, musl and the BSDs word the errors we tell apart, and shells that word their own; the host runs under LC_ALL=C.
/// What explains more comes first.
const ERRNO_WORDS: [(&str, FileFault); 35] = [
    ("File too large", FileFault::FileSizeLimit),
    ("File size limit exceeded", FileFault::FileSizeLimit),
    ("ilesize limit exceeded", FileFault::FileSizeLimit),
    ("No space left on device", FileFault::DiskFull),
    ("uota exceeded", FileFault::DiskFull),
    ("Read-only file", FileFault::ReadOnlyFilesystem),
    ("ross-device link", FileFault::CrossDevice),
    ("inter-device move failed", FileFault::CrossDevice),
    ("or resource busy", FileFault::TargetBusy),
    ("Resource busy", FileFault::TargetBusy),
    ("Device busy", FileFault::TargetBusy),
    ("Text file busy", FileFault::TargetBusy),
    ("Stale file handle", FileFault::StaleHandle),
    ("Stale NFS file handle", FileFault::StaleHandle),
    ("Input/output error", FileFault::WriteFailed),
    ("I/O error", FileFault::WriteFailed),
    ("annot fork", FileFault::HostResources),
    ("an't fork", FileFault::HostResources),
    ("fork: ", FileFault::HostResources),
    ("Resource temporarily unavailable", FileFault::HostResources),
    ("Too many processes", FileFault::HostResources),
    ("Too many open files", FileFault::HostResources),
    ("No file descriptors available", FileFault::HostResources),
    ("annot allocate", FileFault::HostResources),
    ("ut of memory", FileFault::HostResources),
    ("emory exhausted", FileFault::HostResources),
    ("Out of space", FileFault::HostResources),
    ("ipe call failed", FileFault::HostResources),
    ("an't create pipe", FileFault::HostResources),
    ("Not enough space", FileFault::HostResources),
    ("Argument list too long", FileFault::HostResources),
    ("Arg list too long", FileFault::HostResources),
    ("Permission denied", FileFault::PermissionDenied),
    ("Operation not permitted", FileFault::Immutable),
    ("Not a directory", FileFault::ParentNotDirectory),
];

/// The programs that a script starts.
const PROGRAMS: [&str; 26] = [
    "cat",
    "chgrp",
    "chmod",
    "chown",
    "date",
    "dd",
    "df",
    "getconf",
    "grep",
    "id",
    "ln",
    "ls",
    "lsattr",
    "mkdir",
    "mv",
    "openssl",
    "rm",
    "rmdir",
    "setfacl",
    "sha256sum",
    "shasum",
    "sleep",
    "stat",
    "sync",
    "systemctl",
    "timeout",
];

/// The line that explains most of what was said, and what it means.
pub(super) fn fault_in(said: &str) -> Option<(&str, FileFault)> {
    let of_words = |words: &str| {
        let is_it = |line: &&str| !line.trim().is_empty() && line.contains(words) && !is_any_write_error(line);
        said.lines().rev().find(is_it)
    };
    let known = ERRNO_WORDS.iter().find_map(|(words, fault)| Some((of_words(words)?, *fault)));
    known.or_else(|| Some((said.lines().rev().find(|line| !line.trim().is_empty())?, FileFault::WriteFailed)))
}

/// dash says this of every error of a write.
fn is_any_write_error(line: &str) -> bool {
    ["printf: I/O error", "echo: I/O error"].iter().any(|words| line.trim_end().ends_with(words))
}

/// A shell's own words for a program that it may not start: `sh: 1: ls: Permission denied`, in bash `main: line 1: /bin/ls: …`.
/// Of a file that it may not open it
/// says `cannot create ./x`, or names a relative path.
pub(super) fn is_exec_refusal(line: &str) -> bool {
    let Some(said) = line.trim_end().strip_suffix(": Permission denied") else { return false };
    let (Some(speaker), Some(word)) = (said.split(": ").next(), said.rsplit(": ").next()) else { return false };
    let program = word.strip_prefix("can't execute ").unwrap_or(word).trim_matches('\'');
    let name = program.rsplit('/').next().unwrap_or(program);
    let is_path = !program.contains('/') || program.starts_with('/');
    !PROGRAMS.contains(&speaker.rsplit('/').next().unwrap_or(speaker)) && is_path && PROGRAMS.contains(&name)
}

#[cfg(test)]
mod tests {
    use crate::remote::{
        Exit,
        frame::tests::{NONCE, host, reply},
        installer::failure::{ended_early, failed_step, no_reply},
    };
    use rustix::io::Errno;

    /// An errno; its words in glibc, which are asked of this machine's, in musl, and in the BSDs; its code at a rename, and
    /// where another step met it.
    const WORDS: [(Errno, &str, &str, &str, &str, &str); 17] = [
        (Errno::FBIG, "File too large", "File too large", "File too large", "file_size_limit", "file_size_limit"),
        (
            Errno::NOSPC,
            "No space left on device",
            "No space left on device",
            "No space left on device",
            "disk_full",
            "disk_full",
        ),
        (Errno::DQUOT, "Disk quota exceeded", "Quota exceeded", "Disc quota exceeded", "disk_full", "disk_full"),
        (
            Errno::ROFS,
            "Read-only file system",
            "Read-only file system",
            "Read-only filesystem",
            "read_only_filesystem",
            "read_only_filesystem",
        ),
        (
            Errno::XDEV,
            "Invalid cross-device link",
            "Cross-device link",
            "Cross-device link",
            "cross_device",
            "cross_device",
        ),
        (
            Errno::BUSY,
            "Device or resource busy",
            "Resource busy",
            "Device busy",
            "target_is_mount_point",
            "target_busy",
        ),
        (Errno::TXTBSY, "Text file busy", "Text file busy", "Text file busy", "target_is_mount_point", "target_busy"),
        (
            Errno::STALE,
            "Stale file handle",
            "Stale file handle",
            "Stale NFS file handle",
            "stale_file_handle",
            "stale_file_handle",
        ),
        (Errno::IO, "Input/output error", "I/O error", "Input/output error", "write_failed", "write_failed"),
        (
            Errno::AGAIN,
            "Resource temporarily unavailable",
            "Resource temporarily unavailable",
            "Resource temporarily unavailable",
            "host_resources",
            "host_resources",
        ),
        (
            Errno::MFILE,
            "Too many open files",
            "No file descriptors available",
            "Too many open files",
            "host_resources",
            "host_resources",
        ),
        (
            Errno::NFILE,
            "Too many open files in system",
            "Too many open files in system",
            "Too many open files in system",
            "host_resources",
            "host_resources",
        ),
        (
            Errno::NOMEM,
            "Cannot allocate memory",
            "Out of memory",
            "Cannot allocate memory",
            "host_resources",
            "host_resources",
        ),
        (
            Errno::TOOBIG,
            "Argument list too long",
            "Argument list too long",
            "Argument list too long",
            "host_resources",
            "host_resources",
        ),
        (
            Errno::ACCESS,
            "Permission denied",
            "Permission denied",
            "Permission denied",
            "permission_denied",
            "permission_denied",
        ),
        (
            Errno::PERM,
            "Operation not permitted",
            "Operation not permitted",
            "Operation not permitted",
            "immutable",
            "immutable",
        ),
        (
            Errno::NOTDIR,
            "Not a directory",
            "Not a directory",
            "Not a directory",
            "parent_not_directory",
            "parent_not_directory",
        ),
    ];
    /// Steps, and what the programs and shells of each kind say around the words.
    const LINES: [(&str, &str); 17] = [
        ("rename", "mv: cannot move './a' to './b': @"),
        ("rename", "mv: can't rename './a': @"),
        ("rename", "mv: rename ./a to ./b: @"),
        ("rename", "/usr/bin/mv: cannot move './a' to './b': @"),
        ("write", "sh: 12: cannot create ./.kubemint-0-1.tmp: @"),
        ("write", "sh: line 12: ./.kubemint-0-1.tmp: @"),
        ("write", "sh: can't create ./.kubemint-0-1.tmp: @"),
        ("write", "sh: line 12: printf: write error: @"),
        ("write", "sh: 1: printf: printf: I/O error\ndd: error writing './.kubemint-0-1.tmp': @\n1+0 records in"),
        ("write", "dd: ./.kubemint-0-1.tmp: @"),
        ("sync", "sync: error syncing './.kubemint-0-1.tmp': @"),
        ("chmod", "chmod: changing permissions of './x': @"),
        ("look", "ls: cannot access './x': @"),
        ("look", "ls: ./x: @"),
        ("copy", "cat: read error: @"),
        ("mkdir", "mkdir: can't create directory './x': @"),
        ("enter", "sh: 4: cd: can't cd to ./x: @"),
    ];

    #[test]
    fn every_errno_has_its_code_in_the_words_of_every_c_library_shell_and_program() {
        let mut told = 0;
        for (errno, glibc, musl, bsd, at_rename, elsewhere) in WORDS {
            let here = std::io::Error::from_raw_os_error(errno.raw_os_error()).to_string();
            assert!(!cfg!(target_env = "gnu") || here.starts_with(&format!("{glibc} (")), "{here}");
            for words in [glibc, musl, bsd] {
                for (step, line) in LINES {
                    let said = format!("some noise\n{}\nand more", line.replace('@', words));
                    let error = failed_step("/r/x".into(), step, &said);
                    let code = if step == "rename" { at_rename } else { elsewhere };
                    assert_eq!(error.code(), code, "{said}");
                    assert!(error.to_string().contains(words) && !error.hint().is_empty(), "{error}");
                    told += 1;
                }
            }
        }
        assert_eq!(told, 17 * 3 * 17);
    }

    #[test]
    fn a_write_of_which_the_shell_alone_speaks_is_no_disk_error() {
        for said in ["sh: 1: printf: printf: I/O error", "sh: 7: echo: echo: I/O error"] {
            assert_eq!(failed_step("/x".into(), "write", said).code(), "write_failed");
        }
    }

    #[test]
    fn a_shell_that_may_start_no_programs_is_told_from_a_file_that_it_may_not_open() {
        for program in ["ls", "/usr/bin/ls", "sha256sum", "/bin/mv"] {
            for line in [
                "sh: 41: @: Permission denied",
                "sh: line 41: @: Permission denied",
                "main: line 322: @: Permission denied",
                "sh: @: Permission denied",
                "/bin/bash: line 1: @: Permission denied",
                "ash: can't execute '@': Permission denied",
            ] {
                let said = line.replace('@', program);
                assert_eq!(failed_step("/x".into(), "enter", &said).code(), "exec_forbidden", "{said}");
            }
        }
        for said in [
            "ls: ./ls: Permission denied",
            "sh: 5: cannot create ./ls: Permission denied",
            "sh: line 5: ./mv: Permission denied",
            "mv: cannot move './a' to './ls': Permission denied",
            "sh: 1: cd: can't cd to /etc/ls: Permission denied",
            "cat: /bin/ls: Permission denied",
        ] {
            assert_eq!(failed_step("/x".into(), "enter", said).code(), "permission_denied", "{said}");
        }
    }

    #[test]
    fn a_shell_that_ends_for_want_of_processes_or_memory_says_so_before_and_after_it_has_begun() {
        for said in [
            "sh: 1: Cannot fork",
            "sh: can't fork: Resource temporarily unavailable",
            "sh: fork: retry: Resource temporarily unavailable",
            "sh: fork: Cannot allocate memory",
            "sh: out of memory",
            "sh: xrealloc: cannot allocate 18446744071562067968 bytes",
            "sh: 0: Out of space",
            "sh: 1: Pipe call failed",
            "sh: can't create pipe: Too many open files",
        ] {
            let early = no_reply(said, &Exit::Status(2), &host());
            let late = ended_early(&reply(&format!("@ begin\n{said}\n"), Exit::Status(2)), NONCE);
            assert_eq!((early.code(), late.code()), ("host_resources", "host_resources"), "{said}");
        }
        assert_eq!(ended_early(&reply("@ begin\nwhatever\n", Exit::Status(2)), NONCE).code(), "protocol_garbled");
        assert_eq!(no_reply("Permission denied", &Exit::Status(1), &host()).code(), "shell_unusable");
    }
}
