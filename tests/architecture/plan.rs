//! The plan of the house as tables. docs/architecture.md draws it, docs/decisions.md says why.

/// The floors from the ground up. An import may go to a lower floor; between rooms of one floor only where
/// [`DOMAIN_DOORS`] has a door.
pub const FLOORS: [(&str, &[&str]); 5] = [
    ("ground", &["clock", "digest", "entropy", "inherited", "secret", "template", "foreign", "json"]),
    ("domain", &["pki", "inventory", "token", "kubeconfig", "bundle", "rotation"]),
    ("adapters", &["store", "remote", "cluster"]),
    ("use cases", &["workflow", "share"]),
    ("edge", &["cli"]),
];

/// An allowed import inside the domain or the ground: from, to, and the only names that may be taken (all, where none is named).
/// Each goes to an earlier room of its floor's list above, so there is no way round in a circle.
pub const DOMAIN_DOORS: &[(&str, &str, &[&str])] = &[
    // On the ground: what is unprintable or secret is said once, and used where foreign text and JSON are made.
    ("foreign", "secret", &["ExposeSecret", "Secret", "is_unprintable", "printable", "scrub"]),
    ("foreign", "digest", &["Digest"]),
    ("json", "secret", &["is_unprintable"]),
    ("inventory", "pki", &["Algorithm", "UnknownAlgorithm"]),
    ("token", "inventory", &[]),
    ("kubeconfig", "pki", &[]),
    ("kubeconfig", "token", &[]),
    ("bundle", "pki", &[]),
    ("bundle", "inventory", &[]),
    ("bundle", "token", &[]),
    ("bundle", "kubeconfig", &[]),
    ("rotation", "token", &[]),
    ("rotation", "bundle", &[]),
];

/// Imports that would go down and are refused all the same: from, to, reason.
pub const WALLED_UP: &[(&str, &str, &str)] = &[
    ("share", "remote", "the share page never reaches a host"),
    ("pki", "clock", "the domain is told the time"),
    ("inventory", "clock", "the domain is told the time"),
    ("token", "clock", "the domain is told the time"),
    ("kubeconfig", "clock", "the domain is told the time"),
    ("bundle", "clock", "the domain is told the time"),
    ("rotation", "clock", "the domain is told the time"),
];

/// The binary sees the edge only.
pub const MAIN_MAY_SEE: &[&str] = &["cli"];

/// The files that may write to standard output or standard error.
pub const PRINTERS: &[&str] = &["src/cli/output.rs", "src/cli/progress.rs"];
pub const PRINTING_MACROS: &[&str] = &["print", "println", "eprint", "eprintln", "dbg"];

/// Where `expose_secret` may stand: what writes a secret into its file or sends it to a host.
pub const EMITTERS: &[&str] = &[
    "src/secret.rs",
    // What finds secrets in foreign text.
    "src/foreign/",
    "src/token/",
    "src/kubeconfig/",
    "src/pki/",
    "src/bundle/",
    "src/store/",
    "src/remote/",
    // What sends a token or a key to kube-apiserver, after its certificate was verified.
    "src/cluster/connection.rs",
    "src/cluster/objects.rs",
    // The printer: an answer that was asked for by name may be a secret (a bootstrap-token Secret's manifest).
    "src/cli/output.rs",
];

/// Path prefixes no domain module names. `std::net` is for its address types only.
pub const IMPURE_PATHS: &[&str] = &[
    "std::fs",
    "std::process",
    "std::env",
    "std::thread",
    "std::os",
    "std::time::SystemTime",
    "std::time::Instant",
    "std::net::TcpStream",
    "std::net::TcpListener",
    "std::net::UdpSocket",
    "std::net::ToSocketAddrs",
    "crossbeam_channel",
    "fs4",
    "indicatif",
    "kube",
    "rand",
    "reqwest",
    "rustix",
    "signal_hook",
    "ssh2",
    "tempfile",
    "tokio",
];
/// Calls that ask for the time without being told, as the last two parts of a path.
pub const CLOCK_CALLS: &[&str] = &[
    "Instant::now",
    "OffsetDateTime::now_local",
    "OffsetDateTime::now_utc",
    "SystemTime::now",
    "Timestamp::now",
    "UtcDateTime::now",
    "Zoned::now",
];
/// Methods of `std::path::Path` that look at the disk.
pub const DISK_METHODS: &[&str] = &[
    "exists",
    "try_exists",
    "is_file",
    "is_dir",
    "is_symlink",
    "canonicalize",
    "read_dir",
    "read_link",
    "symlink_metadata",
];

pub const LONGEST_FILE: usize = 400;
pub const LONGEST_MAIN: usize = 39;
/// Lines of the `//!` header, at most.
pub const LONGEST_HEADER: usize = 12;
pub const DISHONEST_NAMES: &[&str] =
    &["util", "utils", "common", "helper", "helpers", "manager", "managers", "misc", "shared"];

/// The floor a top-level module is on, 0 for the ground.
pub fn floor_of(module: &str) -> Option<usize> {
    FLOORS.iter().position(|(_, rooms)| rooms.contains(&module))
}
