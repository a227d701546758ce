//! What the integration tests share: hosts to install on, and witnesses of what was sent.
//!
//! [`LocalTree`] is a directory of this machine as a `connection = "local"` host. [`TestHost`] is a real sshd: where the
//! tests run as root, in its own mount, UTS and PID namespace with its own /etc, /root and /tmp, so that it behaves like a
//! machine of its own; elsewhere a plain sshd of the current user. [`Listener`] is something on a port that is no SSH.
//! Programs that a test needs are asked for with [`require`], which names the Debian package. What a machine cannot give is
//! skipped, and said; with KUBEMINT_TEST_REQUIRE_ROOT=1 it fails (see [`skipped`]).
#![allow(dead_code, unused_imports, reason = "each test crate uses its own part")]

mod api;
mod balancer;
mod canary;
mod client;
mod cluster;
mod env;
mod fault;
pub mod files;
mod firewall;
mod fleet;
mod listener;
mod local_tree;
pub mod openssl;
mod prober;
mod recorder;
mod relay;
mod running;
mod sampler;
mod shells;
pub mod swarm;
mod terminal;
mod test_host;
mod world;

pub use api::Api;
pub use canary::Canaries;
pub use client::{Agent, Client, public_of};
pub use cluster::{
    Builder as ClusterBuilder, ControlPlane, Downtime, Fault, are_apiservers_real, overlaps, real_binaries,
};
pub use env::{CREDENTIALS, LOCAL_HOSTS, Ran, TestEnv};
pub use fault::{FAULTY, HEALTHY, Trial};
pub use files::{content, host_file};
pub use firewall::Firewall;
pub use fleet::{Fleet, Holding, Member, cluster_table, host_of, hosts_that_are};
pub use listener::{Listener, Manner};
pub use local_tree::{LocalTree, feed, host_value, tree_hash};
pub use prober::{Asked, ProbeReport, Prober, Refusal};
pub use recorder::Recorder;
pub use relay::{Relay, Relays};
pub use running::Running;
pub use sampler::{ExecTrace, Sampler};
pub use shells::{
    PenalisingSshd, Shell, busyboxes, login_shells, penalising_sshd, runs_own_applets, shells, unpacked, with_program,
};
pub use terminal::Terminal;
pub use test_host::{Builder, TestHost};
pub use world::{is_isolated, kill};

/// The Debian package of every program the tests call.
const PACKAGES: [(&str, &str); 24] = [
    ("dash", "dash"),
    ("bash", "bash"),
    ("busybox", "busybox"),
    ("fish", "fish"),
    ("csh", "csh"),
    ("sshd", "openssh-server"),
    ("ssh-keygen", "openssh-client"),
    ("ssh-agent", "openssh-client"),
    ("ssh-add", "openssh-client"),
    ("sudo", "sudo"),
    ("unshare", "util-linux"),
    ("nsenter", "util-linux"),
    ("strace", "strace"),
    ("setfacl", "acl"),
    ("chattr", "e2fsprogs"),
    ("script", "bsdutils"),
    ("nft", "nftables"),
    ("setsid", "util-linux"),
    ("chpasswd", "passwd"),
    ("dropbear", "dropbear-bin"),
    ("curl", "curl"),
    ("wget", "wget"),
    ("python3", "python3"),
    ("openssl", "openssl"),
];

/// The full path of `program`; a test that cannot find it fails and says what to install.
pub fn require(program: &str) -> std::path::PathBuf {
    let package = PACKAGES.iter().find(|(name, _)| *name == program).map_or(program, |(_, package)| package);
    find(program).unwrap_or_else(|| panic!("{program} is missing: apt-get install {package}"))
}

fn find(program: &str) -> Option<std::path::PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/local/sbin:/usr/sbin:/sbin";
    path.split(':').map(|dir| std::path::Path::new(dir).join(program)).find(|full| full.is_file())
}

/// What a test says before it leaves for want of something that this machine cannot give. Where nothing may be left out,
/// it fails instead.
#[track_caller]
pub fn skipped(why: &str) {
    let is_strict = std::env::var_os("KUBEMINT_TEST_REQUIRE_ROOT").is_some_and(|value| value == "1");
    assert!(!is_strict, "{why}; KUBEMINT_TEST_REQUIRE_ROOT=0 lets such tests be skipped");
    left_out(why);
}

/// The same for want of what no machine has by itself: it never fails.
#[allow(clippy::print_stdout, reason = "where a test says something")]
pub fn left_out(why: &str) {
    println!("skipped: {why}");
}

/// How long something may take on a busy machine: a real apiserver takes 5 to 20 seconds to be ready, a stand-in none.
pub fn patience() -> std::time::Duration {
    std::time::Duration::from_secs(if are_apiservers_real() { 120 } else { 20 })
}

/// What the tests make for their hosts has the usual modes, whatever the umask of the one who runs them.
fn set_usual_umask() {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
}

/// Waits for `check` to give something; fails when [`patience`] ends.
pub fn eventually<T>(what: &str, check: impl FnMut() -> Option<T>) -> T {
    within(patience(), what, check)
}

/// The same with another limit.
pub fn within<T>(limit: std::time::Duration, what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    let end = std::time::Instant::now() + limit;
    while std::time::Instant::now() < end {
        if let Some(value) = check() {
            return value;
        }
        std::thread::park_timeout(std::time::Duration::from_millis(5));
    }
    panic!("waited in vain for {what}");
}

/// Leaves the test, loudly, where it needs hosts that are machines of their own.
#[macro_export]
macro_rules! need_root {
    () => {
        if !$crate::support::is_isolated() {
            $crate::support::skipped("needs root, and to be let mount");
            return;
        }
    };
}
