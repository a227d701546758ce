//! A line with a round-trip time between client and servers, by benches/fleet/delay.py.

use super::testbed::{Testbed, path, run_line};
use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

/// While this lives, everything to and from the servers takes its time.
pub struct Delay {
    program: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Delay {
    pub fn start(bed: &Testbed) -> Result<Self, String> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/fleet/delay.py");
        let mut command = Command::new("python3");
        command.arg(script).arg(bed.servers.to_string()).env("PATH", path());
        let mut program =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(|e| format!("python3: {e}"))?;
        let output = BufReader::new(program.stdout.take().ok_or("no output")?);
        let mut delay = Self { input: program.stdin.take(), program, output };
        delay.await_ok()?;
        Ok(delay)
    }

    /// Sets the added round-trip time.
    pub fn set(&mut self, milliseconds: u32) -> Result<(), String> {
        let input = self.input.as_mut().ok_or("no input")?;
        writeln!(input, "{milliseconds}").map_err(|e| e.to_string())?;
        self.await_ok()
    }

    fn await_ok(&mut self) -> Result<(), String> {
        let mut line = String::new();
        self.output.read_line(&mut line).map_err(|e| e.to_string())?;
        if line == "ok\n" { Ok(()) } else { Err("the delay could not be set up; see above".into()) }
    }
}

impl Drop for Delay {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.program.wait();
        let _ = run_line("ip route replace 198.18.0.0/15 via 192.0.2.2");
    }
}
