//! All contenders against each other over the same hosts: each once a round, in an order that rotates, so that whatever
//! else the machine does falls on all of them. Ratios are taken within a round; the figures are medians over the rounds.

use super::{
    contenders::Contender,
    measure::{Sample, median},
    report::say,
};

pub struct Comparison {
    pub hosts: usize,
    pub names: Vec<&'static str>,
    /// One row a round, one cell a contender; `None`: it sat this round out.
    rounds: Vec<Vec<Option<Result<Sample, String>>>>,
}

impl Comparison {
    pub fn run(hosts: usize, contenders: &[Contender], rounds: usize) -> Self {
        let names: Vec<_> = contenders.iter().map(|contender| contender.name).collect();
        let mut comparison = Self { hosts, names, rounds: Vec::new() };
        for round in 0..rounds {
            let mut row: Vec<_> = contenders.iter().map(|_| None).collect();
            for turn in 0..contenders.len() {
                let index = (turn + round) % contenders.len();
                let contender = &contenders[index];
                if round >= contender.most_rounds || comparison.error(contender.name).is_some() {
                    continue;
                }
                let result = contender.run();
                let shown = result.as_ref().map(|sample| format!("{:.3} s", sample.wall.as_secs_f64()));
                let shown = shown.unwrap_or_else(|error| format!("not available: {error}"));
                say(&format!("{hosts} hosts, round {}: {}: {shown}", round + 1, contender.name));
                row[index] = Some(result);
            }
            comparison.rounds.push(row);
        }
        comparison
    }

    fn samples(&self, name: &str) -> impl Iterator<Item = Option<&Sample>> {
        let index = self.names.iter().position(|known| *known == name);
        self.rounds.iter().map(move |row| row[index?].as_ref()?.as_ref().ok())
    }

    /// Why a contender could not take part.
    pub fn error(&self, name: &str) -> Option<&str> {
        let index = self.names.iter().position(|known| *known == name)?;
        self.rounds.iter().find_map(|row| row[index].as_ref()?.as_ref().err()).map(String::as_str)
    }

    pub fn rounds(&self, name: &str) -> usize {
        self.samples(name).flatten().count()
    }

    /// Median of a value.
    pub fn median(&self, name: &str, value: impl Fn(&Sample) -> Option<f64>) -> Option<f64> {
        median(&self.samples(name).flatten().filter_map(value).collect::<Vec<_>>())
    }

    pub fn wall(&self, name: &str) -> Option<f64> {
        self.median(name, |sample| Some(sample.wall.as_secs_f64()))
    }

    /// Milliseconds of client processor per host.
    pub fn client(&self, name: &str) -> Option<f64> {
        self.median(name, |sample| Some(sample.client.as_secs_f64()))
            .map(|seconds| seconds * 1000.0 / self.hosts as f64)
    }

    /// Milliseconds of server processor per host.
    pub fn servers(&self, name: &str) -> Option<f64> {
        self.median(name, |sample| Some(sample.servers?.as_secs_f64()))
            .map(|seconds| seconds * 1000.0 / self.hosts as f64)
    }

    /// How much longer `name` takes than `other`: the median of the ratios within each round.
    pub fn ratio(&self, name: &str, other: &str) -> Option<f64> {
        let pairs = self.samples(name).zip(self.samples(other));
        let ratios = pairs.filter_map(|(a, b)| Some(a?.wall.as_secs_f64() / b?.wall.as_secs_f64()));
        median(&ratios.collect::<Vec<_>>())
    }
}
