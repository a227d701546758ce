//! The systemd units in templates/systemd: systemd accepts them, they are hardened, and what they start is a command.

#![allow(clippy::unwrap_used, reason = "clippy.toml allows it in test functions only, not in what they call")]

mod support;

use std::{fs, path::Path, process::Command};
use support::{TestEnv, skipped};

const SERVICE: &str = "kubemint-reissue.service";
const TIMER: &str = "kubemint-reissue.timer";

fn unit(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("templates/systemd").join(name)).unwrap()
}

/// The units as they would be installed, with the program where it is here.
fn installed() -> TestEnv {
    let env = TestEnv::new();
    env.write(SERVICE, unit(SERVICE).replace("/usr/bin/kubemint", env!("CARGO_BIN_EXE_kubemint")));
    env.write(TIMER, unit(TIMER));
    env
}

fn analyze(env: &TestEnv, arguments: &[&str]) -> Option<std::process::Output> {
    match Command::new("systemd-analyze").args(arguments).current_dir(env.dir()).output() {
        Ok(output) => Some(output),
        Err(_) => {
            skipped("systemd-analyze is not here");
            None
        }
    }
}

#[test]
fn systemd_accepts_the_units() {
    let env = installed();
    let Some(output) = analyze(&env, &["verify", "--man=no", "./kubemint-reissue.service", "./kubemint-reissue.timer"])
    else {
        return;
    };
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && !said.contains("kubemint-reissue"), "{said}");
    // It does find mistakes.
    env.write(SERVICE, unit(SERVICE).replace("ProtectSystem", "ProtectNothing"));
    let output = analyze(&env, &["verify", "--man=no", "./kubemint-reissue.service"]).unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("ProtectNothing"));
}

#[test]
fn the_service_is_hardened() {
    let env = installed();
    let options = ["security", "--offline=true", "--threshold=35", "--no-pager", "./kubemint-reissue.service"];
    let Some(output) = analyze(&env, &options) else { return };
    let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    assert!(output.status.success(), "{said}");
}

#[test]
fn what_it_starts_is_a_command_that_asks_nothing() {
    let service = unit(SERVICE);
    let line = service.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
    let words: Vec<&str> = line.split_whitespace().collect();
    kubemint::cli::command().try_get_matches_from(&words).unwrap();
    assert!(words.contains(&"--yes") && words.windows(2).any(|pair| pair == ["--if-expiring", "30d"]), "{line}");
    assert!(!service.contains("PASSWORD") && !service.contains("EnvironmentFile"));
}
