//! Figures as Markdown on standard output; how it goes on standard error. Nothing here fails on a figure.

use super::{
    comparison::Comparison,
    contenders::{BARE, CHANGED, UNCHANGED},
    machine,
    memory::Memory,
    rivals::{ANSIBLE, ASYNCSSH, SSH, SSH_CURVE},
    trips::Alone,
};
use std::io::Write;

/// How many hosts the extrapolation is for.
const FULL: f64 = 10_000.0;

pub fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "bench: {text}");
}

/// A line of the answer.
fn print(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

fn shown(value: Option<f64>, digits: usize) -> String {
    value.map_or("—".to_owned(), |value| format!("{value:.digits$}"))
}

pub fn print_machine(concurrency: usize) {
    print("### Machine\n\n| | |\n|---|---|");
    for (name, value) in machine::describe() {
        print(&format!("| {name} | {value} |"));
    }
    print(&format!("| Hosts worked on at a time | {concurrency} (Ansible: 50 forks) |"));
}

pub fn print_comparison(comparison: &Comparison, title: &str) {
    let hosts = comparison.hosts;
    print(&format!("\n### {title}\n"));
    print("| | rounds | wall, s | x bare login | client CPU, ms a host | server CPU, ms a host |");
    print("|---|---:|---:|---:|---:|---:|");
    for name in &comparison.names {
        let Some(wall) = comparison.wall(name) else {
            let reason = comparison.error(name).unwrap_or("it never ran");
            print(&format!("| {name} | 0 | not available: {reason} | | | |"));
            continue;
        };
        print(&format!(
            "| {name} | {} | {wall:.3} | {} | {} | {} |",
            comparison.rounds(name),
            shown(comparison.ratio(name, BARE), 2),
            shown(comparison.client(name), 2),
            shown(comparison.servers(name), 1),
        ));
    }
    for name in &comparison.names {
        if let (Some(error), Some(_)) = (comparison.error(name), comparison.wall(name)) {
            print(&format!("\n{name} failed in one round and sat out the rest: {error}"));
        }
    }
    let peak = comparison.median(CHANGED, |sample| Some(sample.peak as f64 / 1e6));
    print(&format!("\nPeak memory of kubemint, changed, {hosts} hosts: {} MB.", shown(peak, 1)));
}

/// Behind a line; the program that makes the line takes its share of the processors.
pub fn print_afar(comparison: &Result<Comparison, String>, title: &str) {
    print(&format!("\n### {title}\n"));
    let comparison = match comparison {
        Ok(comparison) => comparison,
        Err(error) => return print(&format!("not available: {error}")),
    };
    print("| | rounds | wall, s |\n|---|---:|---:|");
    for name in &comparison.names {
        let wall = comparison
            .error(name)
            .map_or_else(|| shown(comparison.wall(name), 3), |error| format!("not available: {error}"));
        print(&format!("| {name} | {} | {wall} |", comparison.rounds(name)));
    }
}

pub fn print_alone(alone: &[Alone]) {
    print("\n### One host\n\n| | wall, ms | round trips |\n|---|---:|---:|");
    for one in alone {
        print(&format!(
            "| {} | {} | {} |",
            one.name,
            shown(one.wall.map(|wall| wall * 1000.0), 1),
            shown(one.trips, 1)
        ));
    }
}

pub fn print_memory(memory: &Result<Memory, String>) {
    print("\n### Memory\n");
    match memory {
        Err(error) => print(&format!("not available: {error}")),
        Ok(memory) => print(&format!(
            "{} sessions open at once: {:.1} MB resident; one session: {:.1} MB; so {:.3} MB a session.",
            memory.sessions,
            memory.all / 1e6,
            memory.baseline / 1e6,
            memory.per_session() / 1e6
        )),
    }
}

/// A figure that was aimed for.
struct Aim {
    what: &'static str,
    value: Option<f64>,
    limit: Limit,
    prototype: &'static str,
    digits: usize,
}

#[derive(Clone, Copy)]
enum Limit {
    AtMost(f64),
    AtLeast(f64),
}

/// Aims and figures side by side; met or not, it only says so.
pub fn print_aims(comparison: &Comparison, alone: &[Alone], memory: &Result<Memory, String>) {
    use Limit::{AtLeast, AtMost};
    let alone =
        |name: &str, value: fn(&Alone) -> Option<f64>| alone.iter().find(|one| one.name == name).and_then(value);
    let faster = |rival: &str| comparison.ratio(rival, CHANGED);
    let aim = |what, value, limit, prototype, digits| Aim { what, value, limit, prototype, digits };
    let aims = [
        aim("wall, changed, x bare login", comparison.ratio(CHANGED, BARE), AtMost(1.15), "1.13", 2),
        aim("wall, unchanged, x bare login", comparison.ratio(UNCHANGED, BARE), AtMost(1.08), "1.05-1.15", 2),
        aim("client CPU, ms a host", comparison.client(CHANGED), AtMost(2.2), "2.2", 2),
        aim("memory, MB a session", memory.as_ref().ok().map(|m| m.per_session() / 1e6), AtMost(0.13), "0.12", 3),
        aim("round trips, changed", alone(CHANGED, |one| one.trips), AtMost(11.0), "11.2", 1),
        aim("round trips, unchanged", alone(UNCHANGED, |one| one.trips), AtMost(10.0), "10.0", 1),
        aim("one host, changed, ms", alone(CHANGED, |one| Some(one.wall? * 1000.0)), AtMost(45.0), "30-41", 0),
        aim("x faster than xargs ssh", faster(SSH), AtLeast(5.0), "4.9", 2),
        aim("x faster than xargs ssh, curve25519", faster(SSH_CURVE), AtLeast(1.7), "1.7", 2),
        aim("x faster than asyncssh", faster(ASYNCSSH), AtLeast(1.6), "1.6", 2),
        aim("x faster than Ansible copy", faster(ANSIBLE), AtLeast(40.0), "35-50", 1),
    ];
    print("\n### Aims\n\n| | aim | first prototype | measured | |\n|---|---:|---:|---:|---|");
    for Aim { what, value, limit, prototype, digits } in aims {
        let (limit, met) = match limit {
            AtMost(most) => (format!("<= {most}"), value.map(|value| value <= most)),
            AtLeast(least) => (format!(">= {least}"), value.map(|value| value >= least)),
        };
        let verdict = match met {
            None => "not measured",
            Some(true) => "met",
            Some(false) => "not met",
        };
        print(&format!("| {what} | {limit} | {prototype} | {} | {verdict} |", shown(value, digits)));
    }
}

/// What 10,000 hosts come to: from a run of many logins here, and on paper for hosts that are machines of their own.
pub fn print_extrapolation(many: &Comparison, alone: &[Alone]) {
    let Some(trips) = alone.iter().find(|one| one.name == CHANGED).and_then(|one| one.trips) else { return };
    let (Some(client), Some(servers), Some(wall)) = (many.client(CHANGED), many.servers(CHANGED), many.wall(CHANGED))
    else {
        return;
    };
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as f64;
    let hosts = many.hosts as f64;
    print(&format!(
        "\n### 10,000 hosts\n\n\
         Measured, all on this machine: {hosts} logins in {wall:.1} s, {:.0} a second; ten thousand at that rate take {:.0} s. \
         On paper, where each host is a machine of its own ({trips:.1} round trips, {servers:.0} ms of its processor, \
         {client:.2} ms of the client's):\n",
        hosts / wall,
        wall * FULL / hosts
    ));
    let busy = client * FULL / 1000.0;
    print(&format!("client CPU: {busy:.0} s, so at least {:.0} s on {cores} cores\n", busy / cores));
    print("| round trip | 64 at a time | 256 at a time |\n|---|---:|---:|");
    for distance in [1.0, 20.0, 60.0] {
        let one = (trips * distance + servers + client) / 1000.0;
        let all = |at_a_time: f64| (one * FULL / at_a_time).max(busy / cores);
        print(&format!("| {distance:.0} ms | {:.0} s | {:.0} s |", all(64.0), all(256.0)));
    }
}
