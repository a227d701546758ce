//! The bench itself: what is measured, in which order.

#[path = "contenders.rs"]
mod contenders;
#[path = "ending.rs"]
mod ending;
#[path = "login.rs"]
mod login;
#[path = "measure.rs"]
mod measure;
#[path = "report.rs"]
mod report;
#[path = "testbed.rs"]
mod testbed;

use contenders::{Contender, Kubemint};
use measure::Sample;
use report::say;
use std::{fs, path::Path};
use testbed::Testbed;

/// What was asked for, by environment variables.
struct Settings {
    hosts: usize,
    rounds: usize,
    concurrency: usize,
    quick: bool,
}

impl Settings {
    fn read() -> Result<Self, String> {
        let number = |name: &str, default: usize| match std::env::var(name) {
            Err(_) => Ok(default),
            Ok(text) if text.is_empty() => Ok(default),
            Ok(text) => match text.parse() {
                Ok(n) if n > 0 => Ok(n),
                _ => Err(format!("{name}: \"{text}\" is not a number from 1")),
            },
        };
        Ok(Self {
            hosts: number("N", 100)?,
            rounds: number("ROUNDS", 5)?,
            concurrency: number("CONCURRENCY", 64)?,
            quick: std::env::var("FLEET_BENCH").is_ok_and(|mode| mode == "quick"),
        })
    }
}

pub fn main() -> Result<(), String> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|word| word == "login") {
        return login::main(&arguments[1..]);
    }
    let settings = Settings::read()?;
    if !rustix::process::geteuid().is_root() {
        return Err("the fleet bench makes network, mount and PID namespaces: it needs root".into());
    }
    let dir = tempfile::Builder::new().prefix("kubemint-bench-").tempdir().map_err(|e| e.to_string())?;
    ending::note(|present| present.dir = Some(dir.path().to_owned()));
    ending::on_signals().map_err(|e| e.to_string())?;
    run(&settings, dir.path())
}

fn run(settings: &Settings, dir: &Path) -> Result<(), String> {
    say(&format!("starting {} hosts", settings.hosts));
    let bed = Testbed::new(settings.hosts, dir)?;
    let addresses: String = bed.hosts.iter().map(|host| format!("{}\n", host.address)).collect();
    fs::write(dir.join("addresses"), addresses).map_err(|e| e.to_string())?;
    let kubemint = Kubemint::new(&bed, dir, settings.concurrency)?;
    // The first run makes the credentials, and warms the hosts up.
    kubemint.apply_changed(&[])?;
    let contenders = contenders::ours(&bed, &kubemint, dir, settings.concurrency);
    let rounds = compare(&contenders, settings.rounds);
    report::print_comparison(settings.hosts, &contenders, &rounds);
    if settings.quick {
        return Ok(());
    }
    Ok(())
}

/// Every contender once a round, in an order that rotates.
fn compare(contenders: &[Contender], rounds: usize) -> Vec<Vec<Result<Sample, String>>> {
    let mut results = Vec::new();
    for round in 0..rounds {
        let mut row: Vec<_> = contenders.iter().map(|_| Err("not run".to_owned())).collect();
        for turn in 0..contenders.len() {
            let index = (turn + round) % contenders.len();
            let result = contenders[index].run();
            match &result {
                Ok(sample) => {
                    say(&format!(
                        "round {}: {}: {:.3} s",
                        round + 1,
                        contenders[index].name,
                        sample.wall.as_secs_f64()
                    ));
                }
                Err(error) => say(&format!("round {}: {}: {error}", round + 1, contenders[index].name)),
            }
            row[index] = result;
        }
        results.push(row);
    }
    results
}
