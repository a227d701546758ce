//! The bench itself: what is measured, in which order.

mod comparison;
mod contenders;
mod delay;
mod ending;
mod login;
mod machine;
mod measure;
mod memory;
mod report;
mod rivals;
mod testbed;
mod trips;

use comparison::Comparison;
use contenders::{Contender, Kubemint};
use delay::Delay;
use report::say;
use rivals::Rivals;
use std::{
    fs,
    path::{Path, PathBuf},
    rc::Rc,
};
use testbed::Testbed;

/// What was asked for, by environment variables.
struct Settings {
    hosts: usize,
    rounds: usize,
    concurrency: usize,
    /// Hosts of the large run.
    many: usize,
    scope: Scope,
}

#[derive(PartialEq)]
enum Scope {
    /// kubemint and the bare login alone.
    Quick,
    Everything,
}

/// Of one host alone, at each distance.
const REPETITIONS: usize = 7;
const FEW_ROUNDS: usize = 3;
/// Round-trip time to a far data centre, ms.
const AFAR: u32 = 20;

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
        let scope = match std::env::var("FLEET_BENCH").unwrap_or_default().as_str() {
            "" => Scope::Everything,
            "quick" => Scope::Quick,
            other => return Err(format!("FLEET_BENCH: \"{other}\" is not \"quick\"")),
        };
        Ok(Self {
            hosts: number("N", 100)?,
            rounds: number("ROUNDS", 5)?,
            concurrency: number("CONCURRENCY", 64)?,
            many: number("MANY", 1000)?,
            scope,
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
        return Err("this makes its hosts of network, mount and PID namespaces, which takes root".into());
    }
    let dir = tempfile::Builder::new().prefix("kubemint-bench-").tempdir().map_err(|e| e.to_string())?;
    ending::note(|present| present.dir = Some(dir.path().to_owned()));
    ending::on_signals().map_err(|e| e.to_string())?;
    report::print_machine(settings.concurrency);
    match settings.scope {
        Scope::Quick => {
            let field = Field::new(settings.hosts, &settings, &dir.path().join("quick"))?;
            report::print_comparison(&field.ours(settings.rounds), &title(settings.hosts));
            Ok(())
        }
        Scope::Everything => measure_everything(&settings, dir.path()),
    }
}

fn measure_everything(settings: &Settings, dir: &Path) -> Result<(), String> {
    let field = Field::new(settings.hosts, settings, &dir.join("field"))?;
    let comparison = with_rivals(&field, settings)?;
    report::print_comparison(&comparison, &title(settings.hosts));
    let alone = trips::measure_alone(&field.bed, &field.kubemint, &field.dir, REPETITIONS)?;
    report::print_alone(&alone);
    let (line, afar) = (format!("{}, {AFAR} ms away", title(settings.hosts)), measure_afar(&field));
    report::print_afar(&afar, &line);
    let memory = memory::measure_memory(&field.bed, &field.kubemint);
    report::print_memory(&memory);
    report::print_aims(&comparison, &alone, &memory);
    drop(field);
    let many = Field::new(settings.many, settings, &dir.join("many"))?.ours(FEW_ROUNDS);
    report::print_comparison(&many, &title(settings.many));
    report::print_extrapolation(&many, &alone);
    Ok(())
}

fn with_rivals(field: &Field, settings: &Settings) -> Result<Comparison, String> {
    let rivals = Rivals::new(&field.bed, &field.kubemint, &field.dir, settings.concurrency)?;
    let contenders: Vec<_> = field.contenders().into_iter().chain(rivals.contenders()).collect();
    Ok(Comparison::run(settings.hosts, &contenders, settings.rounds))
}

/// The whole field behind a line.
fn measure_afar(field: &Field) -> Result<Comparison, String> {
    let hosts = field.bed.hosts.len();
    let at_once = hosts.min(1024).to_string();
    let (every, arguments) = (field.dir.join("addresses"), ["--concurrency", &at_once]);
    let some = field.concurrency;
    let contenders = [
        Contender::new("bare login", || contenders::bare(&field.bed, &every, some)),
        Contender::new("bare login, all hosts at once", || contenders::bare(&field.bed, &every, hosts)),
        Contender::new(contenders::CHANGED, || field.kubemint.apply_changed(&[])),
        Contender::new("kubemint apply, changed, all hosts at once", || field.kubemint.apply_changed(&arguments)),
        Contender::new(contenders::UNCHANGED, || field.kubemint.apply_unchanged(&[])),
        Contender::new("kubemint apply, unchanged, all hosts at once", || field.kubemint.apply_unchanged(&arguments)),
    ];
    field.kubemint.apply_everywhere()?;
    let mut line = Delay::start(&field.bed)?;
    line.set(AFAR)?;
    Ok(Comparison::run(hosts, &contenders, FEW_ROUNDS))
}

fn title(hosts: usize) -> String {
    format!("{hosts} hosts")
}

/// Hosts, and kubemint with an inventory of them.
struct Field {
    bed: Rc<Testbed>,
    kubemint: Kubemint,
    dir: PathBuf,
    concurrency: usize,
}

impl Field {
    fn new(hosts: usize, settings: &Settings, dir: &Path) -> Result<Self, String> {
        say(&format!("starting {hosts} hosts"));
        fs::create_dir(dir).map_err(|e| e.to_string())?;
        let bed = Rc::new(Testbed::new(hosts, dir)?);
        let addresses: String = bed.hosts.iter().map(|host| format!("{}\n", host.address)).collect();
        fs::write(dir.join("addresses"), addresses).map_err(|e| e.to_string())?;
        let kubemint = Kubemint::new(&bed, dir, settings.concurrency)?;
        // Makes the credentials, and warms the hosts up.
        kubemint.apply_everywhere()?;
        Ok(Self { bed, kubemint, dir: dir.to_owned(), concurrency: settings.concurrency })
    }

    fn contenders(&self) -> Vec<Contender<'_>> {
        contenders::ours(&self.bed, &self.kubemint, &self.dir, self.concurrency)
    }

    fn ours(&self, rounds: usize) -> Comparison {
        Comparison::run(self.bed.hosts.len(), &self.contenders(), rounds)
    }
}
