//! The shells that a host may have, and programs of packages that were unpacked beside those of this machine.
//!
//! Debian has two builds of busybox: that of `busybox` looks for programs in PATH, that of `busybox-static` (Ubuntu's own)
//! runs its applets first. The machine has one of them; `.ci/needs.sh` unpacks the other below target/tools.
//! [`with_program`] puts a test's own program before what either would run.

use super::{LocalTree, find, left_out, require};
use kubemint::remote::LocalRemote;
use std::{
    env, fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    sync::LazyLock,
};

/// A program and its arguments, to which `-s` or `-c` is added.
pub type Shell = &'static [&'static str];

/// dash, bash and each build of busybox there is.
pub fn shells() -> &'static [Shell] {
    static SHELLS: LazyLock<Vec<Shell>> = LazyLock::new(|| {
        let mut shells: Vec<Shell> = vec![&["dash"], &["bash", "--posix"]];
        for path in busyboxes() {
            let path: &'static str = Box::leak(path.to_str().unwrap().to_owned().into_boxed_str());
            shells.push(Box::leak(Box::new([path, "sh"])));
        }
        shells
    });
    &SHELLS
}

/// What may be a user's login shell: what the tests install, and what else this machine has.
pub fn login_shells() -> Vec<&'static str> {
    let others = ["zsh", "tcsh", "ksh", "mksh"].into_iter().filter(|name| find(name).is_some());
    ["bash", "dash", "fish", "csh"].into_iter().chain(others).collect()
}

/// The machine's busybox, and the other build.
pub fn busyboxes() -> &'static [PathBuf] {
    static FOUND: LazyLock<Vec<PathBuf>> = LazyLock::new(|| {
        let system = require("busybox");
        let other = if runs_own_applets(&[system.to_str().unwrap(), "sh"]) { "busybox" } else { "busybox-static" };
        let unpacked = unpacked(other).map(|root| root.join("bin/busybox"));
        std::iter::once(system).chain(unpacked).collect()
    });
    &FOUND
}

/// Whether this shell finds its own applets before any program in PATH.
pub fn runs_own_applets(shell: &[&str]) -> bool {
    let mut command = Command::new(shell[0]);
    command.args(&shell[1..]).args(["-c", "ls /"]).env("PATH", "/nonexistent");
    command.output().is_ok_and(|output| output.status.success())
}

/// This machine as `shell` sees it, with a program of this name and text, kept in `dir`, found before any other.
pub fn with_program(shell: &[&str], dir: &Path, name: &str, text: &str) -> LocalRemote {
    let write = |name: &str, text: &str| {
        let path = dir.join(name);
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let fake = write(name, text);
    if runs_own_applets(shell) {
        // A function comes before the applets; it is made after the line that ends the clearing of the login's own.
        let feed = format!("sed '/^command export -n /a {name}() {{ {fake} \"$@\"; }}' | {} \"$@\"", shell.join(" "));
        return LocalTree::remote().with_shell(&[&write("shell", &feed)]);
    }
    let path = format!("PATH={}:/usr/sbin:/usr/bin:/sbin:/bin", dir.display());
    LocalTree::remote_with(&[&["env", &path], shell].concat())
}

/// sshd with PerSourcePenalties, and the programs that it calls: the machine's own or unpacked.
#[derive(Clone)]
pub struct PenalisingSshd {
    pub sshd: PathBuf,
    pub session: PathBuf,
    pub auth: Option<PathBuf>,
}

pub fn penalising_sshd() -> Option<PenalisingSshd> {
    let own = require("sshd");
    let found = |sshd: PathBuf, dirs: &[PathBuf]| {
        let program = |name| dirs.iter().map(|dir| dir.join(name)).find(|path| path.is_file());
        Some(PenalisingSshd { sshd, session: program("sshd-session")?, auth: program("sshd-auth") })
    };
    found(own, &["/usr/lib/openssh", "/usr/libexec", "/usr/libexec/openssh"].map(PathBuf::from)).or_else(|| {
        let root = unpacked("openssh-server")?;
        found(root.join("usr/sbin/sshd"), &[root.join("usr/lib/openssh")])
    })
}

/// The root of a Debian package that `.ci/needs.sh` has unpacked. Without it a test leaves that part out, and says so; with
/// KUBEMINT_TEST_REQUIRE_PACKAGES=1 it fails.
pub fn unpacked(package: &str) -> Option<PathBuf> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| top.join("target"), |target| top.join(target));
    let root = target.join("tools").join(package);
    if root.is_dir() {
        return Some(root);
    }
    let why = format!("{package} is not unpacked in {}: run `.ci/needs.sh test`", root.display());
    let is_strict = env::var_os("KUBEMINT_TEST_REQUIRE_PACKAGES").is_some_and(|value| value == "1");
    assert!(!is_strict, "{why}");
    left_out(&why);
    None
}
