//! Who is measured: each is a name and one way to do a run over all hosts.

use super::{
    measure::{Said, Sample, measure},
    testbed::{Testbed, path},
};
use std::{
    cell::Cell,
    fmt::Write,
    fs,
    path::{Path, PathBuf},
    process::Command,
    rc::Rc,
};

pub struct Contender<'a> {
    pub name: &'static str,
    /// Slow ones take part in a few rounds only.
    pub most_rounds: usize,
    run: Box<dyn Fn() -> Result<Sample, String> + 'a>,
}

impl<'a> Contender<'a> {
    pub fn new(name: &'static str, run: impl Fn() -> Result<Sample, String> + 'a) -> Self {
        Self { name, most_rounds: usize::MAX, run: Box::new(run) }
    }

    pub fn at_most(self, rounds: usize) -> Self {
        Self { most_rounds: rounds, ..self }
    }

    pub fn run(&self) -> Result<Sample, String> {
        (self.run)()
    }
}

/// The bare login with the same library.
pub const BARE: &str = "bare login (floor)";
pub const CHANGED: &str = "kubemint apply, changed";
pub const UNCHANGED: &str = "kubemint apply, unchanged";

/// kubemint in a folder of its own, over the hosts of a testbed.
pub struct Kubemint {
    bed: Rc<Testbed>,
    dir: PathBuf,
    program: PathBuf,
    /// Which of the two inventories was applied last: they differ in the API server's port, so that each makes other
    /// kubeconfigs.
    generation: Cell<u8>,
}

impl Kubemint {
    pub fn new(bed: &Rc<Testbed>, dir: &Path, concurrency: usize) -> Result<Self, String> {
        let dir = dir.join("kubemint");
        fs::create_dir_all(dir.join("home")).map_err(|e| e.to_string())?;
        for generation in 0..2 {
            let mut text = format!(
                "state_dir = \"state\"\n[cluster]\nserver = \"https://172.20.0.113:{}\"\n[ssh]\n\
                 identity_files = [\"{}\"]\nknown_hosts = [\"{}\"]\n[distribute]\nconcurrency = {concurrency}\n",
                6443 + generation,
                bed.key.display(),
                bed.known_hosts.display(),
            );
            for host in &bed.hosts {
                let _ = write!(text, "[[hosts]]\nname = \"{}\"\naddress = \"{}\"\n", host.name, host.address);
            }
            fs::write(dir.join(format!("inventory-{generation}.toml")), text).map_err(|e| e.to_string())?;
        }
        Ok(Self { bed: Rc::clone(bed), dir, program: program(), generation: Cell::new(0) })
    }

    /// The command line, with the inventory that was applied last.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        let inventory = format!("inventory-{}.toml", self.generation.get());
        command.args(["-q", "-o", "json", "-i", &inventory]).args(arguments);
        command.current_dir(&self.dir).env_clear().env("HOME", self.dir.join("home")).env("PATH", path());
        command
    }

    /// Brings all hosts to one state, whatever they have.
    pub fn apply_everywhere(&self) -> Result<(), String> {
        measure(&self.bed, &mut self.command(&["apply", "--yes"])).map(|_| ())
    }

    /// Every host gets other content than it has.
    pub fn apply_changed(&self, arguments: &[&str]) -> Result<Sample, String> {
        self.generation.set(1 - self.generation.get());
        self.apply("changed", arguments)
    }

    pub fn apply_unchanged(&self, arguments: &[&str]) -> Result<Sample, String> {
        self.apply("unchanged", arguments)
    }

    fn apply(&self, wanted: &str, arguments: &[&str]) -> Result<Sample, String> {
        let (sample, said) = measure(&self.bed, &mut self.command(&[&["apply", "--yes"], arguments].concat()))?;
        check(&said, wanted).map(|()| sample)
    }

    /// Where the credentials to be installed are.
    pub fn kubeconfigs(&self) -> PathBuf {
        self.dir.join("state/kubeconfigs")
    }
}

/// The binary that Cargo built for this bench, or the one in `KUBEMINT_BIN`.
pub fn program() -> PathBuf {
    std::env::var_os("KUBEMINT_BIN").map_or_else(|| env!("CARGO_BIN_EXE_kubemint").into(), PathBuf::from)
}

/// Every host must have come out as it should: a run that did something else is not a measurement.
fn check(said: &Said, wanted: &str) -> Result<(), String> {
    let report: serde_json::Value = serde_json::from_str(&said.stdout).map_err(|e| format!("{e}: {}", said.stderr))?;
    let summary = &report["summary"];
    match summary["hosts"].as_u64() == summary[wanted].as_u64() {
        true => Ok(()),
        false => Err(format!("not all hosts are {wanted}: {summary}")),
    }
}

/// kubemint with new content for every host, with none, and the floor.
pub fn ours<'a>(bed: &'a Testbed, kubemint: &'a Kubemint, dir: &Path, concurrency: usize) -> Vec<Contender<'a>> {
    let addresses = dir.join("addresses");
    vec![
        Contender::new(BARE, move || bare(bed, &addresses, concurrency)),
        Contender::new(CHANGED, || kubemint.apply_changed(&[])),
        Contender::new(UNCHANGED, || kubemint.apply_unchanged(&[])),
    ]
}

/// Logs in to every address of a file.
pub fn bare(bed: &Testbed, addresses: &Path, concurrency: usize) -> Result<Sample, String> {
    let mut command = Command::new(std::env::current_exe().map_err(|e| e.to_string())?);
    command.arg("login").arg(&bed.key).arg(addresses).arg(concurrency.to_string());
    measure(bed, &mut command).map(|(sample, _)| sample)
}
