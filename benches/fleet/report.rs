//! Figures as Markdown on standard output; how it goes on standard error.

use super::{
    contenders::{BARE, Contender},
    measure::{Sample, median},
};
use std::io::Write;

pub fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "bench: {text}");
}

/// A line of the answer.
pub fn print(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Medians over the rounds, and medians of the ratios within each round to the bare login.
pub fn print_comparison(hosts: usize, contenders: &[Contender], rounds: &[Vec<Result<Sample, String>>]) {
    let of = |index: usize, value: &dyn Fn(&Sample) -> Option<f64>| {
        let values: Vec<f64> = rounds.iter().filter_map(|row| value(row[index].as_ref().ok()?)).collect();
        median(&values)
    };
    let shown = |value: Option<f64>, digits: usize| value.map_or("—".to_owned(), |value| format!("{value:.digits$}"));
    let floor = contenders.iter().position(|contender| contender.name == BARE).unwrap_or(0);
    print(&format!(
        "| {hosts} hosts, {} rounds | wall, s | x floor | client CPU, ms/host | server CPU, ms/host |",
        rounds.len()
    ));
    print("|---|---:|---:|---:|---:|");
    for (index, contender) in contenders.iter().enumerate() {
        let per_host = 1000.0 / hosts as f64;
        let wall = of(index, &|sample| Some(sample.wall.as_secs_f64()));
        let Some(wall) = wall else {
            let reason = rounds.iter().find_map(|row| row[index].as_ref().err()).map_or("no round", String::as_str);
            print(&format!("| {} | not available: {reason} | | | |", contender.name));
            continue;
        };
        let ratios: Vec<f64> = rounds
            .iter()
            .filter_map(|row| {
                Some(row[index].as_ref().ok()?.wall.as_secs_f64() / row[floor].as_ref().ok()?.wall.as_secs_f64())
            })
            .collect();
        print(&format!(
            "| {} | {wall:.3} | {} | {} | {} |",
            contender.name,
            shown(median(&ratios), 3),
            shown(of(index, &|sample| Some(sample.client.as_secs_f64() * per_host)), 2),
            shown(of(index, &|sample| Some(sample.servers?.as_secs_f64() * per_host)), 1),
        ));
    }
}
