//! The binary on a terminal of its own, with somebody who reads and types.

use super::{TestEnv, eventually, require};
use std::{
    io::{Read, Write},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
};

/// A shell line that runs on a pseudo-terminal. Ended when dropped.
pub struct Terminal {
    child: Child,
    keyboard: Option<ChildStdin>,
    screen: Arc<Mutex<String>>,
}

impl Terminal {
    /// `line` is for `sh`, in `env`'s folder and environment; `kubemint` in it is the binary under test.
    pub fn start(env: &TestEnv, line: &str) -> Self {
        let line = format!("kubemint() {{ '{}' \"$@\"; }}; {line}", env!("CARGO_BIN_EXE_kubemint"));
        let mut command = Command::new(require("script"));
        command.args(["-qec", &line, "/dev/null"]).current_dir(env.dir()).env_clear().env("HOME", env.path("home"));
        command.env("TERM", "xterm").env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("SHELL", "/bin/sh");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let (keyboard, mut output) = (child.stdin.take(), child.stdout.take().unwrap());
        let screen: Arc<Mutex<String>> = Arc::default();
        let shared = Arc::clone(&screen);
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(n @ 1..) = output.read(&mut buffer) {
                shared.lock().unwrap().push_str(&String::from_utf8_lossy(&buffer[..n]));
            }
        });
        Self { child, keyboard, screen }
    }

    /// Everything shown so far.
    pub fn screen(&self) -> String {
        self.screen.lock().unwrap().clone()
    }

    /// Waits until `text` has been shown so many times, and types `keys`.
    pub fn answer_nth(&mut self, number: usize, text: &str, keys: &str) {
        eventually(&format!("{text:?}, {number} times"), || {
            let ended = self.child.try_wait().unwrap().is_some();
            let shown = self.screen().matches(text).count() >= number;
            assert!(shown || !ended, "{text:?} was not shown: {}", self.screen());
            shown.then_some(())
        });
        let keyboard = self.keyboard.as_mut().unwrap();
        keyboard.write_all(keys.as_bytes()).unwrap();
        keyboard.flush().unwrap();
    }

    pub fn answer(&mut self, text: &str, keys: &str) {
        self.answer_nth(1, text, keys);
    }

    /// Waits for the end; gives the exit code and what was shown.
    pub fn finish(mut self) -> (i32, String) {
        let status = eventually("the terminal's program to end", || self.child.try_wait().unwrap());
        // What it showed last may still be on its way.
        eventually("the rest of the screen", || (Arc::strong_count(&self.screen) == 1).then_some(()));
        (status.code().unwrap_or(-1), self.screen())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
