//! No core dumps: they would hold the token and private keys, on a disk that nobody thinks of.
//!
//! Both ways are taken, since each leaves a gap: the limit is not asked for where cores go to a program (core(5)), and the
//! attribute is reset in programs that we start, such as a local host's shell, which has the token in its memory too.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// For this process and, by the soft limit, for what it starts; the hard limit stays, for a service that is restarted on
/// this machine and wants cores. What a system refuses stays as it was.
pub(super) fn prevent() {
    let limit = getrlimit(Resource::Core);
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), ..limit });
    #[cfg(target_os = "linux")]
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
}
