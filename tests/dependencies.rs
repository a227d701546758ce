//! Holds the dependency rules over what `cargo metadata` resolves, for every platform and feature: one cryptographic
//! library and no ring, a libssh2 with its fixes, OpenSSL inside libssh2 only, known licences, the registry as the only
//! source. deny.toml says the same to cargo-deny, which not every machine has.

#[path = "dependencies/graph.rs"]
mod graph;
#[path = "dependencies/licence.rs"]
mod licence;

use graph::{Graph, Reach};
use std::{path::Path, process::Command, sync::LazyLock};

const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// The oldest libssh2-sys that bundles a libssh2 without CVE-2026-55200 and its siblings.
const LIBSSH2_SYS_FLOOR: (u64, u64, u64) = (0, 3, 4);

/// Crates that must not be compiled into kubemint or its tests, which are to judge what ships, and why.
const BANNED: &[(&str, &str)] = &[
    ("ring", "aws-lc-rs does all cryptography outside libssh2: ring reads no PKCS#1 CA keys and makes no RSA keys"),
    ("openssl", "OpenSSL stays inside libssh2"),
    ("native-tls", "OpenSSL stays inside libssh2"),
    ("rustls-openssl", "OpenSSL stays inside libssh2"),
    ("aws-lc-fips-sys", "one build of AWS-LC"),
    ("unsafe-libyaml-norway", "YAML is read by yaml_serde"),
    ("serde_yml", "unsound; YAML is read by yaml_serde"),
];

static GRAPH: LazyLock<Graph> = LazyLock::new(|| {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--all-features"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "cargo metadata failed (no network? run `cargo fetch --locked` once):\n{complaint}"
    );
    Graph::from_metadata(&serde_json::from_slice(&output.stdout).expect("metadata is JSON"))
});

#[test]
fn nothing_banned_is_compiled_in() {
    let found: Vec<String> = BANNED
        .iter()
        .flat_map(|(name, why)| {
            GRAPH.reached(Reach::Tests).filter(move |package| package.name == *name).map(move |p| (p, why))
        })
        .map(|(package, why)| {
            format!("{} {} ({why}), wanted by {:?}", package.name, package.version, GRAPH.parents(&package.id))
        })
        .collect();
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn libssh2_has_its_security_fixes_and_is_our_own_build() {
    let found: Vec<_> = GRAPH.reached(Reach::Tests).filter(|package| package.name == "libssh2-sys").collect();
    assert_eq!(found.len(), 1, "one libssh2-sys");
    let version = found[0].version_triple();
    assert!(version >= LIBSSH2_SYS_FLOOR, "libssh2-sys {version:?} is below {LIBSSH2_SYS_FLOOR:?}");
    let direct =
        GRAPH.direct().iter().find(|dependency| dependency.package == "libssh2-sys").expect("a direct dependency");
    assert_eq!(direct.requirement, "^0.3.4", "the floor stands in Cargo.toml");
    assert!(
        option_env!("LIBSSH2_SYS_USE_PKG_CONFIG").is_none(),
        "LIBSSH2_SYS_USE_PKG_CONFIG links the system's libssh2, which lacks the fixes: unset it"
    );
}

#[test]
fn openssl_is_reached_through_libssh2_only() {
    for package in GRAPH.reached(Reach::Tests).filter(|package| package.name == "openssl-sys") {
        assert_eq!(GRAPH.parents(&package.id), ["libssh2-sys"], "who uses {}", package.name);
    }
    let own: Vec<&str> = GRAPH.direct().iter().map(|dependency| dependency.package.as_str()).collect();
    let openssl: Vec<&&str> = own.iter().filter(|name| name.contains("openssl") || **name == "native-tls").collect();
    assert!(openssl.is_empty(), "our own dependencies name {openssl:?}");
}

#[test]
fn there_is_one_of_each_cryptographic_library() {
    for name in ["aws-lc-rs", "aws-lc-sys", "libssh2-sys", "ssh2", "rcgen", "rustls", "rustls-webpki"] {
        let versions: Vec<&str> =
            GRAPH.reached(Reach::Tests).filter(|p| p.name == name).map(|p| p.version.as_str()).collect();
        assert!(versions.len() < 2, "{name} is there {} times: {versions:?}", versions.len());
    }
    assert!(GRAPH.reached(Reach::Program).any(|package| package.name == "aws-lc-rs"), "aws-lc-rs is what we build on");
}

#[test]
fn serde_yaml_is_its_maintained_continuation() {
    let yaml: Vec<_> = GRAPH.direct().iter().filter(|dependency| dependency.used_as == "serde_yaml").collect();
    assert_eq!(yaml.len(), 1, "one dependency is called serde_yaml");
    assert_eq!(yaml[0].package, "yaml_serde");
    let archived: Vec<_> = GRAPH.reached(Reach::Tests).filter(|package| package.name == "serde_yaml").collect();
    assert!(archived.is_empty(), "the archived serde_yaml is back, wanted by {:?}", GRAPH.parents(&archived[0].id));
}

#[test]
fn every_licence_is_known_and_allowed() {
    let mut refused = Vec::new();
    for package in GRAPH.reached(Reach::Program).filter(|package| package.source.is_some()) {
        match package.licence.as_deref().map(licence::is_allowed) {
            Some(Ok(true)) => {}
            Some(Ok(false)) => refused.push(format!("{} {}: {:?}", package.name, package.version, package.licence)),
            Some(Err(error)) => refused.push(format!("{} {}: {error}", package.name, package.version)),
            None => refused.push(format!("{} {} names no licence", package.name, package.version)),
        }
    }
    assert!(refused.is_empty(), "{refused:#?}");
    let own = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("LICENSE")).expect("LICENSE is there");
    assert!(own.contains("Apache License") && own.contains("Version 2.0"), "LICENSE is the Apache-2.0 text");
}

#[test]
fn every_dependency_comes_from_the_registry() {
    let strays: Vec<_> =
        GRAPH.packages().filter(|package| package.source.as_deref().is_some_and(|from| from != REGISTRY)).collect();
    assert!(strays.is_empty(), "not from crates.io: {strays:?}");
    let local: Vec<&str> =
        GRAPH.packages().filter(|package| package.source.is_none()).map(|p| p.name.as_str()).collect();
    assert_eq!(local, ["kubemint"], "no path dependencies");
}

#[test]
fn the_lock_file_is_committed() {
    let root = env!("CARGO_MANIFEST_DIR");
    let ignored = Command::new("git").args(["check-ignore", "-q", "Cargo.lock"]).current_dir(root).status();
    assert!(Path::new(root).join("Cargo.lock").is_file(), "Cargo.lock is there");
    // Exit 1: not ignored. Without git, or outside a clone, the file's presence must do.
    assert!(!ignored.is_ok_and(|status| status.success()), "Cargo.lock is ignored by git");
}

#[test]
fn cargo_deny_is_told_the_same() {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("deny.toml")).expect("deny.toml");
    let deny: toml::Table = text.parse().expect("deny.toml is TOML");
    let allowed: Vec<&str> =
        deny["licenses"]["allow"].as_array().expect("a list").iter().filter_map(toml::Value::as_str).collect();
    assert_eq!(allowed, licence::ALLOWED, "licences");
    let denied = deny["bans"]["deny"].as_array().expect("a list");
    let names: Vec<&str> = denied.iter().filter_map(|ban| ban.get("crate")?.as_str()).collect();
    for (name, _) in BANNED {
        assert!(names.contains(name), "deny.toml does not ban {name}");
    }
}
