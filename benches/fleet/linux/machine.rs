//! Where and with what it was measured.

use super::{contenders::program, rivals::find_package};
use std::{fs, path::Path, process::Command};

/// One line each: name and value.
pub fn describe() -> Vec<(&'static str, String)> {
    let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let line = processors.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_once(": ")).map_or("unknown", |(_, value)| value).to_owned()
    };
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory =
        memory.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse::<f64>().ok());
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    vec![
        ("Date", said("date", &["-u", "+%Y-%m-%d %H:%M UTC"])),
        ("Processor", format!("{}, {cores} cores, for client and servers together", field("model name"))),
        ("Memory", memory.map_or("unknown".to_owned(), |kilobytes| format!("{:.0} GB", kilobytes / 1024.0 / 1024.0))),
        ("Kernel", said("uname", &["-sr"])),
        ("OpenSSH", said("ssh", &["-V"])),
        ("kubemint", format!("{} ({}); {}", said(&program().to_string_lossy(), &["--version"]), libraries(), build())),
        ("Python", said("python3", &["--version"])),
        ("asyncssh, Ansible", [package("asyncssh"), package("ansible-core")].join(", ")),
    ]
}

/// The first line a program says on either stream.
fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let text = output.map(|output| [output.stdout, output.stderr].concat()).unwrap_or_default();
    String::from_utf8_lossy(&text).lines().next().unwrap_or("unknown").to_owned()
}

fn package(name: &str) -> String {
    let folder = find_package(name).and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()));
    folder.unwrap_or_else(|| format!("no {name}"))
}

/// Which build was measured.
fn build() -> String {
    match std::env::var("KUBEMINT_BIN") {
        Ok(path) => path,
        Err(_) => {
            let commit = said("git", &["-C", env!("CARGO_MANIFEST_DIR"), "describe", "--always", "--dirty"]);
            format!("Cargo's bench profile at {commit}")
        }
    }
}

/// As Cargo.lock has them.
fn libraries() -> String {
    let lock = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.lock")).unwrap_or_default();
    let version = |name: &str| {
        let after = lock.split(&format!("name = \"{name}\"\nversion = \"")).nth(1)?;
        Some(format!("{name} {}", after.split('"').next()?))
    };
    ["ssh2", "libssh2-sys"].into_iter().filter_map(version).collect::<Vec<_>>().join(", ")
}
