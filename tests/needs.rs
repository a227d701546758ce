//! `.ci/needs.sh` in a made-up machine: its own PATH, package manager, users and system folder. Nothing is installed.
#![cfg(unix)]
#![allow(clippy::unwrap_used)]

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::{Command, Output},
};
use tempfile::TempDir;

const REAL: &[&str] =
    &["cat", "chmod", "cp", "dirname", "env", "grep", "ln", "mkdir", "mktemp", "mv", "rm", "sed", "sh", "tee", "true"];
/// What `build` and `test` look for beside cc, pkg-config and sshd.
const PRESENT: &[&str] = &[
    "cargo",
    "ssh-keygen",
    "openssl",
    "unshare",
    "strace",
    "bash",
    "busybox",
    "fish",
    "csh",
    "dropbear",
    "chpasswd",
    "setfacl",
    "chattr",
    "script",
    "nft",
    "curl",
    "wget",
    "cc",
    "pkg-config",
    "sshd",
];
/// What `bench` looks for beside those.
const PRESENT_FOR_BENCH: &[&str] = &["scp", "nsenter", "ip", "xargs", "python3"];
/// A python3 whose pip fetches everything but Ansible.
const PIP: &str = r#"
[ "$3" = --version ] && exit 0
while [ $# -gt 1 ]; do [ "$1" = --target ] && folder=$2; shift; done
mkdir -p "$folder"
case $1 in ansible*) exit 1 ;; esac"#;
/// Writes down how it was called and what the service switch says, and makes what the packages bring.
const APT_GET: &str = r#"
answer=none
[ -x "$MACHINE/usr/sbin/policy-rc.d" ] && { "$MACHINE/usr/sbin/policy-rc.d" ssh start; answer=$?; }
echo "apt-get $* (services: $answer)" >>"$MACHINE/log"
case $1 in update) exit 0 ;; esac
for package in "$@"; do
    case $package in gcc) made=cc ;; openssh-server) made=sshd ;; pkg-config) made=pkg-config ;; *) continue ;; esac
    printf '#!/bin/sh\nexit 0\n' >"$MACHINE/bin/$made" && chmod 755 "$MACHINE/bin/$made"
done"#;

/// An apt-get that knows one mirror, and downloads busybox-static from the machine's suites and openssh-server from backports.
const MIRROR: &str = r#"
echo "apt-get $*" >>"$MACHINE/log"
for word in "$@"; do
    case $word in
    indextargets) echo http://mirror.test/debian/ && exit 0 ;;
    Dir::Etc::sourcelist=*) sources=${word#*=} ;;
    download) downloads=yes ;;
    esac
    package=$word
done
[ "${downloads:-no}" = yes ] || exit 0
case $package in
busybox-static) ;;
openssh-server/bookworm-backports) grep -q "^deb http://mirror.test/debian/ bookworm-backports main$" "$sources" || exit 100 ;;
*) exit 100 ;;
esac
echo "$package" >package.deb"#;
/// Unpacks one file.
const DPKG_DEB: &str = r#"mkdir -p "$3/bin" && cp "$2" "$3/bin/from""#;

/// A machine that has everything, made poorer by the test.
struct Machine {
    dir: TempDir,
}

impl Machine {
    fn new() -> Self {
        let machine = Self { dir: TempDir::new().unwrap() };
        fs::create_dir_all(machine.path("bin")).unwrap();
        fs::create_dir_all(machine.path("usr/sbin")).unwrap();
        for name in REAL {
            let found = std::env::split_paths(&std::env::var_os("PATH").unwrap())
                .map(|dir| dir.join(name))
                .find(|path| path.is_file());
            symlink(found.unwrap_or_else(|| panic!("{name} is in PATH")), machine.path("bin").join(name)).unwrap();
        }
        for name in PRESENT {
            machine.program(name, "exit 0");
        }
        fs::create_dir_all(machine.path("usr/bin")).unwrap();
        machine.script("usr/bin/python3", "exit 0");
        machine.program("apt-get", APT_GET);
        machine.program("kubectl", "echo 'Client Version: v1.37.1'");
        machine.program("sudo", r#"[ "$1" = -n ] && shift; exec "$@""#);
        machine.user(0);
        machine
    }

    fn path(&self, inner: &str) -> PathBuf {
        self.dir.path().join(inner)
    }

    fn script(&self, inner: &str, body: &str) {
        fs::write(self.path(inner), format!("#!/bin/sh\n{body}\n")).unwrap();
        fs::set_permissions(self.path(inner), fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn program(&self, name: &str, body: &str) {
        self.script(&format!("bin/{name}"), body);
    }

    fn user(&self, id: u32) {
        self.program("id", &format!("echo {id}"));
    }

    fn without(self, names: &[&str]) -> Self {
        for name in names {
            fs::remove_file(self.path("bin").join(name)).unwrap();
        }
        self
    }

    fn needs(&self, groups: &[&str]) -> Output {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join(".ci/needs.sh");
        let mut command = Command::new("/bin/sh");
        command.arg(script).args(groups).env_clear().env("PATH", self.path("bin")).env("MACHINE", self.dir.path());
        command.env("KUBEMINT_NEEDS_ROOT", self.dir.path()).env("CARGO_TARGET_DIR", self.path("target"));
        command.env("TMPDIR", self.dir.path()).output().unwrap()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }
}

fn complaint(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_machine_that_has_everything_is_left_alone() {
    let machine = Machine::new();
    let output = machine.needs(&["build", "test"]);
    assert!(output.status.success(), "{}", complaint(&output));
    assert_eq!(machine.log(), "");
}

#[test]
fn root_gets_the_missing_packages_in_one_go() {
    for uid in [0, 1000] {
        let machine = Machine::new().without(&["cc", "pkg-config"]);
        machine.user(uid);
        let output = machine.needs(&["build"]);
        assert!(output.status.success(), "{}", complaint(&output));
        let log = machine.log();
        assert!(log.contains("gcc libc6-dev pkg-config libssl-dev (services: none)"), "{log}");
        assert_eq!(log.matches(" install ").count(), 1, "{log}");
    }
}

#[test]
fn who_may_not_install_is_told_the_names() {
    let machine = Machine::new().without(&["cc", "sshd"]);
    machine.user(1000);
    machine.program("sudo", "exit 1");
    let output = machine.needs(&["build", "test"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(complaint(&output).contains("apt-get install gcc libc6-dev openssh-server)"), "{}", complaint(&output));
    assert_eq!(machine.log(), "");
}

#[test]
fn an_ssh_server_is_installed_and_not_started() {
    let machine = Machine::new().without(&["sshd"]);
    let output = machine.needs(&["test"]);
    assert!(output.status.success(), "{}", complaint(&output));
    assert!(machine.log().contains("openssh-server (services: 101)"), "{}", machine.log());
    assert!(!machine.path("usr/sbin/policy-rc.d").exists(), "the switch is taken away again");
}

#[test]
fn the_service_switch_is_taken_away_when_the_install_fails() {
    let machine = Machine::new().without(&["sshd"]);
    machine.program("apt-get", r#"[ "$1" = update ] || { echo "no such package"; exit 100; }"#);
    let output = machine.needs(&["test"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(complaint(&output).contains("no such package"), "{}", complaint(&output));
    assert!(!machine.path("usr/sbin/policy-rc.d").exists());
}

#[test]
fn a_service_switch_of_the_machines_own_is_kept_and_obeyed() {
    for (answer, installs) in [(101, true), (0, false)] {
        let machine = Machine::new().without(&["sshd"]);
        machine.script("usr/sbin/policy-rc.d", &format!("exit {answer}"));
        let output = machine.needs(&["test"]);
        assert_eq!(output.status.success(), installs, "{}", complaint(&output));
        assert!(machine.path("usr/sbin/policy-rc.d").exists());
        assert_eq!(machine.log().contains("openssh-server"), installs, "{}", machine.log());
    }
}

#[test]
fn a_dispatcher_is_not_taken_for_kubectl() {
    let machine = Machine::new();
    let found = machine.needs(&["kubectl"]);
    assert_eq!(String::from_utf8_lossy(&found.stdout).trim(), machine.path("bin/kubectl").to_string_lossy());
    machine.program("kubectl", "echo 'Client Version: v1.32.4-dispatcher'");
    let refused = machine.needs(&["kubectl"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(refused.stdout.is_empty());
}

#[test]
fn a_rival_that_cannot_be_fetched_stops_no_bench() {
    let machine = Machine::new();
    for name in PRESENT_FOR_BENCH {
        machine.program(name, "exit 0");
    }
    machine.program("python3", PIP);
    let output = machine.needs(&["build", "bench"]);
    assert!(output.status.success(), "{}", complaint(&output));
    assert!(complaint(&output).contains("no ansible-core=="), "{}", complaint(&output));
    let fetched: Vec<_> = fs::read_dir(machine.path("target/tools")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(matches!(&fetched[..], [one] if one.to_string_lossy().starts_with("asyncssh-")), "{fetched:?}");
    assert_eq!(machine.log(), "", "no package was missing");
}

#[test]
fn the_bench_asks_for_the_packages_of_its_testbed() {
    let machine = Machine::new();
    machine.program("python3", PIP);
    machine.user(1000);
    machine.program("sudo", "exit 1");
    let output = machine.needs(&["bench"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(complaint(&output).contains("openssh-client util-linux iproute2 findutils"), "{}", complaint(&output));
}

/// Debian 12 with a busybox that looks for programs in PATH, and an OpenSSH of one program.
fn bookworm() -> Machine {
    let machine = Machine::new();
    fs::create_dir_all(machine.path("etc")).unwrap();
    fs::write(machine.path("etc/os-release"), "NAME=\"Debian GNU/Linux\"\nVERSION_CODENAME=bookworm\n").unwrap();
    machine.program("busybox", "exit 127");
    machine.program("apt-get", MIRROR);
    machine.program("dpkg-deb", DPKG_DEB);
    machine
}

#[test]
fn what_the_tests_want_beside_the_system_s_own_is_unpacked_once_and_not_installed() {
    for uid in [0, 1000] {
        let machine = bookworm();
        machine.user(uid);
        let output = machine.needs(&["test"]);
        assert!(output.status.success(), "{}", complaint(&output));
        let from = |name: &str| fs::read_to_string(machine.path("target/tools").join(name).join("bin/from")).unwrap();
        assert_eq!(from("busybox-static"), "busybox-static\n");
        assert_eq!(from("openssh-server"), "openssh-server/bookworm-backports\n");
        let log = machine.log();
        assert!(!log.contains(" install "), "{log}");
        assert!(machine.needs(&["test"]).status.success());
        assert_eq!(machine.log(), log, "nothing is fetched twice");
    }
}

#[test]
fn the_build_of_busybox_that_the_machine_lacks_is_the_one_that_is_asked_for() {
    let machine = bookworm();
    machine.program("busybox", "exit 0");
    machine.program("apt-get", &MIRROR.replace("busybox-static)", "busybox)"));
    fs::create_dir_all(machine.path("usr/lib/openssh")).unwrap();
    machine.script("usr/lib/openssh/sshd-session", "exit 0");
    let output = machine.needs(&["test"]);
    assert!(output.status.success(), "{}", complaint(&output));
    assert!(machine.path("target/tools/busybox/bin/from").is_file(), "{}", complaint(&output));
    assert!(!machine.path("target/tools/openssh-server").exists(), "its own has penalties");
}

#[test]
fn a_package_that_cannot_be_had_is_named_and_stops_no_test() {
    let machine = bookworm();
    machine.program("apt-get", r#"case " $* " in *" download "* | *" indextargets "*) exit 100 ;; esac"#);
    let output = machine.needs(&["test"]);
    assert!(output.status.success(), "{}", complaint(&output));
    for words in ["no busybox-static to be had", "no OpenSSH with PerSourcePenalties to be had"] {
        assert!(complaint(&output).contains(words), "{}", complaint(&output));
    }
    let left: Vec<_> = fs::read_dir(machine.path("target/tools")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| name == "apt"), "{left:?}");
}
