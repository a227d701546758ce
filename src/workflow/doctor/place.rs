//! Where the files would go: the installer's own judgement of directories and targets, and room for them.

use super::{Credentials, Subject, check::Verdict};
use crate::{
    bundle::HostFile,
    foreign::ForeignText,
    remote::{
        Error, FileError, FileFault,
        installer::{
            FileState,
            examine::{Ground, GroundState},
        },
    },
    workflow::report::ErrorReport,
};
use std::collections::BTreeMap;

/// What a file takes on most file systems, at least.
const BLOCK: u64 = 4096;
/// Of a file that is not made yet; a kubeconfig with an RSA-4096 certificate has less.
const USUAL_SIZE: u64 = 16 * 1024;

/// Every file an install would refuse, of these kinds, each once.
fn refusals<'a>(subject: &Subject<'a>, of: fn(FileFault) -> bool) -> Vec<&'a FileError> {
    let mut found: Vec<&FileError> = Vec::new();
    for file in subject.examination.view.iter().flat_map(|view| &view.files) {
        if let FileState::Blocked(error) = &file.state
            && of(error.fault)
            && !found.contains(&error)
        {
            found.push(error);
        }
    }
    found
}

fn refused(refusals: &[&FileError]) -> Option<Verdict> {
    let reports: Vec<_> = refusals.iter().map(|error| ErrorReport::of_file(error)).collect();
    let first = reports.first()?;
    let all: Vec<&str> = reports.iter().map(|report| report.message.as_str()).collect();
    Some(Verdict::fail(all.join("; ")).code(first.code).hint(first.hint.clone()))
}

const fn is_of_directory(fault: FileFault) -> bool {
    !is_of_target(fault) && !is_of_content(fault)
}

const fn is_of_target(fault: FileFault) -> bool {
    matches!(
        fault,
        FileFault::TargetIsSymlink
            | FileFault::TargetIsDirectory
            | FileFault::TargetIsSpecial
            | FileFault::TargetIsMountPoint
            | FileFault::PreviousUnusable
            | FileFault::PermissionDenied
    )
}

const fn is_of_content(fault: FileFault) -> bool {
    matches!(fault, FileFault::OtherAuthority | FileFault::ForeignRows)
}

/// A name of a ground, `.` for itself, that cannot be replaced.
fn immutable(ground: &Ground, name: &str) -> Verdict {
    let path = if name == "." { ground.at.to_string() } else { format!("{}/{name}", ground.directory) };
    let error = FileError { path, fault: FileFault::Immutable, detail: "immutable or append-only".into() };
    Verdict::fail(error.to_string()).code(error.code()).hint(error.hint())
}

/// A name of a ground whose version could not be kept.
fn unkept(ground: &Ground, name: &str) -> Verdict {
    let path = format!("{}/{name}", ground.directory);
    let error = FileError { path, fault: FileFault::PreviousUnusable, detail: ForeignText::default() };
    Verdict::fail(error.to_string()).code(error.code()).hint(error.hint())
}

pub(super) fn directory(subject: &Subject) -> Verdict {
    if let Err(Error::Files(files)) = &subject.examination.view
        && let Some(verdict) = refused(&files.iter().collect::<Vec<_>>())
    {
        return verdict;
    }
    if let Some(verdict) = refused(&refusals(subject, is_of_directory)) {
        return verdict;
    }
    let grounds = &subject.examination.grounds;
    if let Some(ground) = grounds.iter().find(|ground| ground.fixed.iter().any(|name| name == ".")) {
        return immutable(ground, ".");
    }
    if let Some(ground) = grounds.iter().find(|ground| ground.closed && !ground.read_only) {
        let error = FileError {
            path: ground.at.to_string(),
            fault: FileFault::PermissionDenied,
            detail: ForeignText::name(format!("uid {}", subject.examination.uid)),
        };
        return Verdict::fail(error.to_string()).code(error.code()).hint(error.hint());
    }
    let told = grounds.iter().map(|ground| match ground.state {
        GroundState::Missing => format!("{} would be made, below {}", ground.directory, ground.at),
        GroundState::Here | GroundState::Unknown => format!("{} is safe", ground.directory),
    });
    match told.collect::<Vec<_>>() {
        none if none.is_empty() => Verdict::skipped("this host gets no file"),
        told => Verdict::ok(told.join("; ")),
    }
}

pub(super) fn targets(subject: &Subject) -> Verdict {
    if let Some(verdict) = refused(&refusals(subject, is_of_target)) {
        return verdict;
    }
    for ground in &subject.examination.grounds {
        if let Some(name) = ground.fixed.iter().find(|name| *name != ".") {
            return immutable(ground, name);
        }
        if let Some(name) = ground.unkept.first() {
            return unkept(ground, name);
        }
    }
    match &subject.examination.view {
        Err(_) => Verdict::skipped("the directory could not be looked at"),
        Ok(_) if !refusals(subject, is_of_directory).is_empty() => Verdict::skipped("the directory is refused"),
        Ok(view) => {
            let missing = view.files.iter().filter(|file| file.state == FileState::Missing).count();
            Verdict::ok(format!("{} plain, {missing} not there yet", view.files.len() - missing))
        }
    }
}

pub(super) fn credentials(subject: &Subject) -> Verdict {
    if subject.credentials == Credentials::NotMade {
        return Verdict::skipped("nothing was generated yet to compare with");
    }
    if let Some(verdict) = refused(&refusals(subject, is_of_content)) {
        return verdict;
    }
    match &subject.examination.view {
        Err(_) => Verdict::skipped("the directory could not be looked at"),
        Ok(_) if !refusals(subject, is_of_directory).is_empty() => Verdict::skipped("the directory is refused"),
        Ok(_) => Verdict::ok("none of another cluster"),
    }
}

pub(super) fn file_system(subject: &Subject) -> Verdict {
    let grounds = &subject.examination.grounds;
    if let Some(ground) = grounds.iter().find(|ground| ground.read_only) {
        let point = ground.mount_point.as_deref().unwrap_or(&ground.at);
        let detail = format!("{} is on a file system mounted read-only at {point}", ground.directory);
        return Verdict::fail(detail).code("read_only_filesystem");
    }
    let mut points: Vec<&str> = grounds.iter().filter_map(|ground| ground.mount_point.as_deref()).collect();
    points.dedup();
    match points.as_slice() {
        [] => Verdict::skipped("the host has no /proc/mounts that names it"),
        points => Verdict::ok(format!("mounted read-write at {}", points.join(", "))),
    }
}

/// What an install needs on one file system.
#[derive(Default)]
struct Need {
    /// Of what would be written now.
    bytes: u64,
    inodes: u64,
    /// Of every file and its kept previous version.
    later: u64,
    free_bytes: Option<u64>,
    free_inodes: Option<u64>,
}

fn needs<'a>(subject: &Subject<'a>) -> BTreeMap<&'a str, Need> {
    let mut needs: BTreeMap<&str, Need> = BTreeMap::new();
    let states = subject.examination.view.as_ref().ok().map(|view| &view.files);
    for ground in subject.examination.grounds.iter().filter(|ground| !ground.at.is_empty()) {
        let need = needs.entry(ground.mount_point.as_deref().unwrap_or(&ground.at)).or_default();
        (need.free_bytes, need.free_inodes) = (ground.free_bytes, ground.free_inodes);
        if ground.state == GroundState::Missing {
            need.bytes += BLOCK;
            need.inodes += 1;
        }
        for index in &ground.files {
            let size = match subject.credentials {
                Credentials::Stored => subject.files.get(*index).map_or(0, HostFile::size),
                Credentials::NotMade => USUAL_SIZE,
            };
            let room = size.div_ceil(BLOCK) * BLOCK;
            let state = states.and_then(|files| files.get(*index)).map(|file| &file.state);
            if !matches!(state, Some(FileState::Matches | FileState::WrongAttributes)) {
                need.bytes += room;
                need.inodes += 1;
            }
            need.later += room * 2;
        }
    }
    needs
}

pub(super) fn space(subject: &Subject) -> Verdict {
    let needs = needs(subject);
    let (mut told, mut tight) = (Vec::new(), None);
    for (place, need) in &needs {
        if let Some(free) = need.free_bytes {
            if free < need.bytes {
                let detail = format!("{} free at {place}, {} needed", kibibytes(free), kibibytes(need.bytes));
                return Verdict::fail(detail).code("disk_full");
            }
            if free < need.later {
                tight =
                    Some(format!("{} free at {place}: two versions take {}", kibibytes(free), kibibytes(need.later)));
            }
            told.push(format!("{} free at {place}", kibibytes(free)));
        }
        if let Some(free) = need.free_inodes {
            if free < need.inodes {
                return Verdict::fail(format!("{free} inodes free at {place}, {} needed", need.inodes))
                    .code("disk_full");
            }
            told.push(format!("{free} inodes"));
        }
    }
    match (tight, told.is_empty()) {
        (Some(tight), _) => Verdict::warn(tight),
        (None, true) => Verdict::skipped("the host's df tells nothing of it"),
        (None, false) => Verdict::ok(told.join(", ")),
    }
}

fn kibibytes(bytes: u64) -> String {
    match bytes {
        0..0x10_0000 => format!("{} KiB", bytes / 1024),
        0x10_0000..0x4000_0000 => format!("{} MiB", bytes >> 20),
        _ => format!("{} GiB", bytes >> 30),
    }
}

pub(super) fn leftovers(subject: &Subject) -> Verdict {
    match subject.examination.grounds.iter().map(|ground| ground.leftovers).sum::<u64>() {
        0 => Verdict::ok("none"),
        number => Verdict::warn(format!("{number} temporary file(s) of a run that was killed")),
    }
}
