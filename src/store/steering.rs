//! Files outside the credential directory that decide where kubemint goes and what it runs: inventory, known_hosts,
//! templates, pattern files, the CA's files. Whoever may write one of them steers this process.
//!
//! A file is closed to others when it, every directory on the way to it, and every link there belong to root, to us, or to
//! who called sudo, and nobody else may write to them. A directory with the sticky bit, such as /tmp, is as good: in it
//! nobody can rename what belongs to others. Descriptors that the caller opened are not judged by path. What is done about
//! a file that is open to others is not known here. Where the file is missing, everybody who may make it counts.

use super::{Distrust, private_groups::private_groups};
use crate::inherited::Descriptor;
use std::{
    collections::{BTreeSet, VecDeque},
    ffi::OsString,
    fmt, fs, io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Component, Path, PathBuf},
};

/// As the kernel: more links in a row are a circle.
const MOST_LINKS: usize = 40;
const STICKY: u32 = 0o1000;
/// Where Linux keeps the access list of a file (acl(5)).
const ACCESS_LIST: &str = "system.posix_acl_access";

/// The users whose files are believed.
#[derive(Debug, Clone)]
pub struct TrustedUsers {
    uids: BTreeSet<u32>,
    /// Trusted users' own groups.
    private_groups: BTreeSet<u32>,
}

/// A file that others may change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exposed {
    /// As the user named it.
    pub file: PathBuf,
    /// The file itself, or what leads to it.
    pub at: PathBuf,
    pub why: Distrust,
    place: Place,
}

/// What it is that others may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// A regular file, named without a link.
    File,
    /// What the path names, otherwise.
    Named,
    /// Something on the way there.
    Way,
    /// The directory in which the file is missing, so that others may make it.
    Missing,
}

impl fmt::Display for Exposed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (file, at, why) = (self.file.display(), self.at.display(), self.why);
        match self.place {
            Place::File | Place::Named => write!(f, "{file} {why}"),
            Place::Way => write!(f, "others may replace {file}: {at} {why}"),
            Place::Missing => write!(f, "there is no {file}, and others may make it: {at} {why}"),
        }
    }
}

impl Exposed {
    /// How to close it to others. What other files or users depend on, a directory or the target of a link, is left as it is.
    #[must_use]
    pub fn hint(&self) -> String {
        let (file, at) = (self.file.display(), quoted(&self.at.to_string_lossy()));
        let fix = match (self.place, self.why) {
            (Place::File, Distrust::Writable { .. }) => format!("run `chmod go-w {at}`"),
            (Place::File, _) => format!("run `chown {} {at}`", rustix::process::geteuid().as_raw()),
            (Place::Named | Place::Way, _) => "copy the file to a directory of your own and name that copy".to_owned(),
            (Place::Missing, _) => {
                return "name a file in a directory of your own, or pass `--trust-inventory`".to_owned();
            }
        };
        format!("check what {file} says, then {fix}, or pass `--trust-inventory`")
    }

    /// Whether there is no such file.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        self.place == Place::Missing
    }
}

/// As one word of a shell.
fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+,:@%".contains(c);
    match text.chars().all(is_plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

impl TrustedUsers {
    /// Root, the user of this process, and who called sudo, if somebody did.
    #[must_use]
    pub fn of_process(sudo_caller: Option<u32>) -> Self {
        let own = rustix::process::geteuid().as_raw();
        let uids: BTreeSet<u32> = [0, own].into_iter().chain(sudo_caller).collect();
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let private_groups = private_groups(&text("/etc/passwd"), &text("/etc/group"), &uids);
        Self { uids, private_groups }
    }

    /// What lets others change `file`, if anything does; where it is not there, what lets others make it.
    /// What cannot be looked at is left to whoever opens the file.
    #[must_use]
    pub fn find_exposure(&self, file: &Path) -> Option<Exposed> {
        if Descriptor::of_path(file).is_some() {
            return None;
        }
        let exposed = |(at, why, place)| Exposed { file: file.to_owned(), at, why, place };
        self.walk(file).unwrap_or_default().map(exposed)
    }

    /// Whether another user could have made the symbolic link at an absolute path.
    pub(super) fn may_be_foreign_link(&self, link: &Path) -> bool {
        let Some(folder) = link.parent() else { return false };
        let is_open = fs::metadata(folder).is_ok_and(|meta| is_open_directory(&meta));
        let is_foreign = || fs::symlink_metadata(link).is_ok_and(|meta| !self.uids.contains(&meta.uid()));
        self.walk(folder).is_ok_and(|exposed| exposed.is_some()) || (is_open && is_foreign())
    }

    /// The first thing on an absolute path that others may change, and what it is.
    fn walk(&self, path: &Path) -> io::Result<Option<(PathBuf, Distrust, Place)>> {
        let mut names: VecDeque<OsString> = names_of(path);
        let mut current = PathBuf::from("/");
        let mut meta = fs::symlink_metadata(&current)?;
        let mut links = 0;
        loop {
            if let Some(why) = self.judge(&current, &meta) {
                let place = match names.is_empty() {
                    true if links == 0 && meta.is_file() => Place::File,
                    true => Place::Named,
                    false => Place::Way,
                };
                return Ok(Some((current, why, place)));
            }
            let Some(name) = names.pop_front() else { return Ok(None) };
            if name == ".." {
                current.pop();
                meta = fs::symlink_metadata(&current)?;
                continue;
            }
            let next = current.join(&name);
            let next_meta = match fs::symlink_metadata(&next) {
                // Here the sticky bit is no help: whoever makes the file owns it.
                Err(e) if e.kind() == io::ErrorKind::NotFound => {
                    let why = self.writable_by_others(&current, &meta);
                    return Ok(why.map(|why| (current, why, Place::Missing)));
                }
                other => other?,
            };
            if !next_meta.file_type().is_symlink() {
                (current, meta) = (next, next_meta);
                continue;
            }
            // Where others may add names, a link may be theirs; elsewhere nobody could have put it there.
            if is_open_directory(&meta) && !self.uids.contains(&next_meta.uid()) {
                return Ok(Some((next, Distrust::ForeignOwner { uid: next_meta.uid() }, Place::Way)));
            }
            links += 1;
            if links > MOST_LINKS {
                return Err(io::ErrorKind::InvalidInput.into());
            }
            let target = fs::read_link(&next)?;
            if target.is_absolute() {
                current = PathBuf::from("/");
                meta = fs::symlink_metadata(&current)?;
            }
            names = names_of(&target).into_iter().chain(names).collect();
        }
    }

    fn judge(&self, path: &Path, meta: &fs::Metadata) -> Option<Distrust> {
        if !self.uids.contains(&meta.uid()) {
            return Some(Distrust::ForeignOwner { uid: meta.uid() });
        }
        let is_sticky = meta.is_dir() && meta.permissions().mode() & STICKY != 0;
        self.writable_by_others(path, meta).filter(|_| !is_sticky)
    }

    fn writable_by_others(&self, path: &Path, meta: &fs::Metadata) -> Option<Distrust> {
        let mode = meta.permissions().mode();
        let is_private = || self.private_groups.contains(&meta.gid()) && !has_access_list(path);
        let is_writable = mode & 0o002 != 0 || (mode & 0o020 != 0 && !is_private());
        // A device or FIFO is written to by design; what it says is as trusted as its owner.
        let counts = meta.is_dir() || meta.is_file();
        let is_open = is_writable && counts && !is_read_only(path);
        is_open.then_some(Distrust::Writable { mode: mode & 0o7777 })
    }
}

fn names_of(path: &Path) -> VecDeque<OsString> {
    let name = |component: Component<'_>| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    };
    path.components().filter_map(name).collect()
}

fn is_open_directory(meta: &fs::Metadata) -> bool {
    meta.permissions().mode() & 0o022 != 0
}

/// Mounted read-only: such as a volume of Kubernetes' ConfigMap, whose directory has mode 0777.
fn is_read_only(path: &Path) -> bool {
    rustix::fs::statvfs(path).is_ok_and(|mount| mount.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY))
}

/// With an access list the group's bits of the mode stand for other users too.
fn has_access_list(path: &Path) -> bool {
    rustix::fs::getxattr_query(path, ACCESS_LIST).is_ok_and(|length| length > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn world() -> (tempfile::TempDir, PathBuf, TrustedUsers) {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap();
        let uids = BTreeSet::from([0, rustix::process::geteuid().as_raw()]);
        (dir, top, TrustedUsers { uids, private_groups: BTreeSet::new() })
    }

    fn chmod(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn modes_of_files_and_of_the_directories_above_are_judged() {
        let (_dir, top, users) = world();
        let (sub, file) = (top.join("a/b"), top.join("a/b/file"));
        fs::create_dir_all(&sub).unwrap();
        fs::write(&file, "").unwrap();
        for (at, mode, is_open) in [
            (&file, 0o644, false),
            (&file, 0o664, true),
            (&file, 0o602, true),
            (&file, 0o600, false),
            (&sub, 0o777, true),
            (&sub, 0o1777, false),
            (&sub, 0o770, true),
            (&sub, 0o755, false),
            (&top.join("a"), 0o733, true),
            (&top.join("a"), 0o755, false),
        ] {
            chmod(at, mode);
            let found = users.find_exposure(&file);
            let expected = is_open.then(|| (at.clone(), Distrust::Writable { mode }));
            assert_eq!(found.map(|found| (found.at, found.why)), expected, "{} {mode:o}", at.display());
        }
    }

    #[test]
    fn a_missing_file_is_open_to_whoever_may_make_it() {
        let (_dir, top, users) = world();
        let (sub, file) = (top.join("sub"), top.join("sub/none/file"));
        fs::create_dir(&sub).unwrap();
        for (mode, is_open) in [(0o755, false), (0o1755, false), (0o777, true), (0o1777, true), (0o1775, true)] {
            chmod(&sub, mode);
            for file in [&file, &sub.join("none")] {
                let found = users.find_exposure(file);
                assert_eq!(found.as_ref().map(|found| &found.at), is_open.then_some(&sub), "{mode:o}");
                // Without the sticky bit the directory is open whatever is in it.
                assert_eq!(found.is_some_and(|found| found.is_missing()), is_open && mode & STICKY != 0, "{mode:o}");
            }
        }
        chmod(&sub, 0o1777);
        fs::write(sub.join("there"), "").unwrap();
        assert_eq!(users.find_exposure(&sub.join("there")), None);
        std::os::unix::fs::symlink("none", sub.join("link")).unwrap();
        assert!(users.find_exposure(&sub.join("link")).is_some_and(|found| found.is_missing()));
    }

    #[test]
    fn a_hint_changes_nothing_but_a_plain_file_and_quotes_its_name() {
        let (_dir, top, users) = world();
        let odd = top.join("it's $(mine)");
        let (own, shared) = (top.join("own"), top.join("shared"));
        for dir in [&own, &shared] {
            fs::create_dir(dir).unwrap();
        }
        for file in [&odd, &own.join("file"), &shared.join("file")] {
            fs::write(file, "").unwrap();
            chmod(file, 0o666);
        }
        std::os::unix::fs::symlink("file", own.join("link")).unwrap();
        let hint = |path: PathBuf| users.find_exposure(&path).unwrap().hint();
        let plain = format!("run `chmod go-w {}`", own.join("file").display());
        assert!(hint(own.join("file")).contains(&plain), "{}", hint(own.join("file")));
        let quoted = format!("run `chmod go-w '{}/it'\\''s $(mine)'`", top.display());
        assert!(hint(odd.clone()).contains(&quoted), "{}", hint(odd));
        chmod(&shared, 0o777);
        for other in [own.join("link"), shared.join("file"), shared.join("none")] {
            let hint = hint(other);
            assert!(
                hint.contains("directory of your own") && !hint.contains("chmod") && !hint.contains("chown"),
                "{hint}"
            );
            assert!(hint.contains("--trust-inventory"), "{hint}");
        }
    }

    #[test]
    fn a_private_group_may_write_unless_an_access_list_widens_it() {
        let (_dir, top, mut users) = world();
        let file = top.join("file");
        fs::write(&file, "").unwrap();
        chmod(&file, 0o664);
        users.private_groups.insert(fs::metadata(&file).unwrap().gid());
        assert_eq!(users.find_exposure(&file), None);
        // version 2; the owner rw-, user 65432 rw-, the group r--, the mask rw-, others r--
        let entry =
            |tag: u16, perm: u16, id: u32| [&tag.to_le_bytes()[..], &perm.to_le_bytes(), &id.to_le_bytes()].concat();
        let none = u32::MAX;
        let list = [entry(1, 6, none), entry(2, 6, 65432), entry(4, 4, none), entry(16, 6, none), entry(32, 4, none)];
        let value = [&2_u32.to_le_bytes()[..], &list.concat()].concat();
        // A file system without access lists has nothing to be widened.
        if rustix::fs::setxattr(&file, ACCESS_LIST, &value, rustix::fs::XattrFlags::empty()).is_ok() {
            assert!(users.find_exposure(&file).is_some());
        }
        chmod(&file, 0o646);
        assert!(users.find_exposure(&file).is_some());
    }

    #[test]
    fn links_are_followed_and_what_they_lead_through_is_judged() {
        let (_dir, top, users) = world();
        for dir in ["open", "closed", "elsewhere"] {
            fs::create_dir(top.join(dir)).unwrap();
        }
        fs::write(top.join("closed/file"), "").unwrap();
        fs::write(top.join("open/file"), "").unwrap();
        chmod(&top.join("open"), 0o777);
        let link = |at: &str, to: &str| std::os::unix::fs::symlink(to, top.join(at)).unwrap();
        link("elsewhere/good", "../closed/file");
        link("elsewhere/absolute", top.join("closed/file").to_str().unwrap());
        link("elsewhere/bad", "../open/file");
        link("elsewhere/dir", "../open");
        link("open/good", "../closed/file");
        link("elsewhere/round", "round");
        let at = |path: &str| users.find_exposure(&top.join(path)).map(|found| found.at);
        for good in ["closed/file", "elsewhere/good", "elsewhere/absolute", "open/../closed/none", "elsewhere/round"] {
            let expected = good.starts_with("open").then(|| top.join("open"));
            assert_eq!(at(good), expected, "{good}");
        }
        for bad in ["open/file", "elsewhere/bad", "elsewhere/dir/file", "open/good", "open/none"] {
            assert_eq!(at(bad), Some(top.join("open")), "{bad}");
        }
    }
}
