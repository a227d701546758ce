//! One run of one program: how long it took, what it and its children used of the processors, what the servers used.

use super::testbed::Testbed;
use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};
use wait4::Wait4;

/// What one run cost.
#[derive(Clone, Copy)]
pub struct Sample {
    pub wall: Duration,
    /// User and system time of the process tree (wait4).
    pub client: Duration,
    /// Of all servers together; `None` where no control group can be made.
    pub servers: Option<Duration>,
    /// The largest resident size of one process of the tree, bytes.
    pub peak: u64,
}

/// What a program said.
pub struct Said {
    pub stdout: String,
    pub stderr: String,
}

/// Runs it to its end.
///
/// # Errors
/// That it could not be started, or failed: with the end of what it said.
pub fn measure(bed: &Testbed, command: &mut Command) -> Result<(Sample, Said), String> {
    bed.settle();
    let scratch = || tempfile::tempfile().map_err(|e| e.to_string());
    let (stdout, stderr) = (scratch()?, scratch()?);
    let copy = |file: &std::fs::File| file.try_clone().map(Stdio::from).map_err(|e| e.to_string());
    command.stdin(Stdio::null()).stdout(copy(&stdout)?).stderr(copy(&stderr)?);
    let before = bed.server_cpu();
    let began = Instant::now();
    let mut child = command.spawn().map_err(|e| format!("{}: {e}", command.get_program().display()))?;
    let used = child.wait4();
    let wall = began.elapsed();
    let used = used.map_err(|e| e.to_string())?;
    bed.settle();
    let servers = bed.server_cpu().zip(before).map(|(after, before)| after - before);
    let said = Said { stdout: whole(stdout)?, stderr: whole(stderr)? };
    if !used.status.success() {
        let all = format!("{}{}", said.stdout, said.stderr);
        let end: Vec<&str> = all.lines().rev().take(5).collect();
        let end: Vec<&str> = end.into_iter().rev().collect();
        return Err(format!("{} ended with {}: {}", command.get_program().display(), used.status, end.join(" / ")));
    }
    let client = used.rusage.utime + used.rusage.stime;
    Ok((Sample { wall, client, servers, peak: used.rusage.maxrss }, said))
}

fn whole(mut file: std::fs::File) -> Result<String, String> {
    use std::io::{Read, Seek};
    let mut text = Vec::new();
    file.rewind().and_then(|()| file.read_to_end(&mut text)).map_err(|e| e.to_string())?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// The middle one; of an even number, the mean of the middle two.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        n if n % 2 == 1 => Some(sorted[middle]),
        _ => Some(f64::midpoint(sorted[middle - 1], sorted[middle])),
    }
}
