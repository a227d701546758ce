//! One host alone: how long a run takes, and how many round trips it makes. The slope of its time over an added delay is
//! the number of round trips, whatever else it does; the fastest of several runs at each distance is taken.

use super::{
    contenders::{BARE, CHANGED, Contender, Kubemint, UNCHANGED, bare},
    delay::Delay,
    measure::{Sample, median},
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
    say("one host alone");
    for (result, walls) in results.iter_mut().zip(walls(&contenders, repetitions)?) {
        result.wall = median(&walls);
    }
    let mut points = vec![Vec::new(); contenders.len()];
    match Delay::start(bed) {
        Err(error) => say(&format!("round trips: not available: {error}")),
        Ok(mut line) => {
            for delay in DELAYS {
                say(&format!("one host alone, {delay} ms away"));
                line.set(delay)?;
                for (points, walls) in points.iter_mut().zip(walls(&contenders, repetitions)?) {
                    // Whatever disturbs a run makes it longer.
                    points.extend(walls.into_iter().reduce(f64::min).map(|wall| (f64::from(delay) / 1000.0, wall)));
                }
            }
        }
    }
    for (result, points) in results.iter_mut().zip(&points) {
        result.trips = slope(points);
    }
    Ok(results)
}

/// Seconds of each repetition of each contender, who take turns.
fn walls(contenders: &[Contender], repetitions: usize) -> Result<Vec<Vec<f64>>, String> {
    let mut walls = vec![Vec::new(); contenders.len()];
    for _ in 0..repetitions {
        for (walls, contender) in walls.iter_mut().zip(contenders) {
            let Sample { wall, .. } = contender.run()?;
            walls.push(wall.as_secs_f64());
        }
    }
    Ok(walls)
}

/// Of the straight line with the least squares.
fn slope(points: &[(f64, f64)]) -> Option<f64> {
    let n = points.len() as f64;
    let (x, y) = (points.iter().map(|p| p.0).sum::<f64>() / n, points.iter().map(|p| p.1).sum::<f64>() / n);
    let spread: f64 = points.iter().map(|p| (p.0 - x).powi(2)).sum();
    (spread > 0.0).then(|| points.iter().map(|p| (p.0 - x) * (p.1 - y)).sum::<f64>() / spread)
}
