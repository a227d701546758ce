//! One host alone: how long a run takes, and how many round trips it makes. The slope of its time over an added delay is
//! the number of round trips, whatever else it does; the fastest of several runs at each distance is taken.

use super::{
    contenders::{BARE, CHANGED, Contender, Kubemint, UNCHANGED, bare},
    delay::Delay,
    measure::median,
    report::say,
    testbed::Testbed,
};
use std::{fs, path::Path};

const DELAYS: [u32; 4] = [0, 20, 40, 60];

/// What one host alone takes.
pub struct Alone {
    pub name: &'static str,
    /// Without any delay, seconds; the median of `repetitions`.
    pub wall: Option<f64>,
    /// Round trips.
    pub trips: Option<f64>,
}

/// Runs each contender on host 1, `repetitions` times without a line between, then at each delay.
pub fn measure_alone(bed: &Testbed, kubemint: &Kubemint, dir: &Path, repetitions: usize) -> Result<Vec<Alone>, String> {
    let address = dir.join("address");
    fs::write(&address, format!("{}\n", bed.hosts[0].address)).map_err(|e| e.to_string())?;
    let limit = ["--limit", bed.hosts[0].name.as_str()];
    let contenders = [
        Contender::new(BARE, || bare(bed, &address, 1)),
        Contender::new(CHANGED, || kubemint.apply_changed(&limit)),
        Contender::new(UNCHANGED, || kubemint.apply_unchanged(&limit)),
    ];
    let mut results: Vec<Alone> =
        contenders.iter().map(|contender| Alone { name: contender.name, wall: None, trips: None }).collect();
    let mut near = vec![Vec::new(); contenders.len()];
    say("one host alone");
    for _ in 0..repetitions {
        run_each(&contenders, &mut near)?;
    }
    for (result, walls) in results.iter_mut().zip(&near) {
        result.wall = median(walls);
    }
    match points(bed, &contenders, repetitions) {
        Err(error) => say(&format!("round trips: not available: {error}")),
        Ok(points) => {
            for (index, result) in results.iter_mut().enumerate() {
                let line: Vec<_> = points.iter().map(|(delay, walls)| (*delay, walls[index])).collect();
                result.trips = slope(&line);
            }
        }
    }
    Ok(results)
}

/// The added round-trip times and the fastest run of each contender at each: whatever disturbs a run makes it longer. The
/// distances take turns, so that a disturbance falls on all of them.
fn points(bed: &Testbed, contenders: &[Contender], repetitions: usize) -> Result<Vec<(f64, Vec<f64>)>, String> {
    let mut line = Delay::start(bed)?;
    let mut walls = vec![vec![Vec::new(); contenders.len()]; DELAYS.len()];
    for repetition in 1..=repetitions {
        say(&format!("one host alone, {DELAYS:?} ms away, {repetition} of {repetitions}"));
        for (delay, walls) in DELAYS.iter().zip(&mut walls) {
            line.set(*delay)?;
            run_each(contenders, walls)?;
        }
    }
    let fastest = |walls: Vec<f64>| walls.into_iter().fold(f64::INFINITY, f64::min);
    let at =
        |(delay, walls): (&u32, Vec<Vec<f64>>)| (f64::from(*delay) / 1000.0, walls.into_iter().map(fastest).collect());
    Ok(DELAYS.iter().zip(walls).map(at).collect())
}

/// Each contender once; adds its seconds to its own list.
fn run_each(contenders: &[Contender], walls: &mut [Vec<f64>]) -> Result<(), String> {
    for (contender, walls) in contenders.iter().zip(walls) {
        walls.push(contender.run()?.wall.as_secs_f64());
    }
    Ok(())
}

/// Of the straight line with the least squares.
fn slope(points: &[(f64, f64)]) -> Option<f64> {
    let n = points.len() as f64;
    let (x, y) = (points.iter().map(|p| p.0).sum::<f64>() / n, points.iter().map(|p| p.1).sum::<f64>() / n);
    let spread: f64 = points.iter().map(|p| (p.0 - x).powi(2)).sum();
    (spread > 0.0).then(|| points.iter().map(|p| (p.0 - x) * (p.1 - y)).sum::<f64>() / spread)
}
