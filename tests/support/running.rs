//! The binary while it runs: what the test sends it, and how it ends.

use super::{Ran, TestEnv, eventually, kill};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs::{self, File},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

/// A kubemint that was started and not yet waited for. Ended when dropped.
pub struct Running {
    child: Child,
    out: PathBuf,
    err: PathBuf,
}

impl Running {
    /// Started in `env`'s folder and environment. Its output goes to files: no pipe can fill and stall it.
    pub fn start(env: &TestEnv, arguments: &[&str]) -> Self {
        Self::start_command(env, Command::new(env!("CARGO_BIN_EXE_kubemint")), arguments)
    }

    /// The same by way of another program, such as strace or a shell.
    pub fn start_command(env: &TestEnv, mut command: Command, arguments: &[&str]) -> Self {
        let file = |stream: &str| {
            let unique = rand::random::<u64>();
            env.path(format!("{stream}-{unique:016x}"))
        };
        let (out, err) = (file("out"), file("err"));
        command.args(arguments).current_dir(env.dir()).env_clear().env("HOME", env.path("home"));
        command.env("LC_ALL", "C.UTF-8").env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.stdin(Stdio::null()).stdout(File::create(&out).unwrap()).stderr(File::create(&err).unwrap());
        Self { child: command.spawn().unwrap(), out, err }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has said so far.
    pub fn stderr(&self) -> String {
        fs::read_to_string(&self.err).unwrap()
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Sends a signal, and returns when the process has taken it.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw).unwrap();
        kill_process(pid, signal).unwrap();
        eventually("the signal to be taken", || {
            let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).ok()?;
            let pending = status.lines().filter_map(|line| line.strip_prefix("ShdPnd:")).next()?;
            (pending.trim().trim_start_matches('0').is_empty()).then_some(())
        });
    }

    /// Sends a signal that ends it.
    pub fn signal_and_leave(&self, signal: Signal) {
        kill_process(i32::try_from(self.pid()).ok().and_then(Pid::from_raw).unwrap(), signal).unwrap();
    }

    /// Waits for its end, at most 20 seconds.
    pub fn wait(mut self) -> Ran {
        let status = eventually("kubemint to end", || self.child.try_wait().unwrap());
        let read = |path| String::from_utf8(fs::read(path).unwrap()).unwrap();
        Ran { code: status.code().unwrap_or(-1), stdout: read(&self.out), stderr: read(&self.err) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.has_ended() {
            kill(self.pid());
            let _ = self.child.wait();
        }
    }
}
