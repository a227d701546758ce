//! A sealed world for the real binary: its own folder, home and environment; nothing of the caller's leaks in.

use base64::{Engine, prelude::BASE64_STANDARD};
use kubemint::digest::Digest;
use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// Where one test runs kubemint. The folder goes when the value does.
pub struct TestEnv {
    dir: tempfile::TempDir,
}

impl TestEnv {
    pub fn new() -> Self {
        super::set_usual_umask();
        let dir = tempfile::Builder::new().prefix("kubemint-test-").tempdir().expect("a temporary folder");
        fs::create_dir(dir.path().join("home")).expect("a home");
        Self { dir }
    }

    /// With this inventory.toml.
    pub fn with_inventory(text: &str) -> Self {
        let env = Self::new();
        env.write("inventory.toml", text);
        env
    }

    /// With three local hosts: one is control plane and node, two are nodes.
    pub fn with_local_hosts() -> Self {
        Self::with_inventory(LOCAL_HOSTS)
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join(relative)
    }

    pub fn write(&self, relative: impl AsRef<Path>, content: impl AsRef<[u8]>) {
        let path = self.path(relative);
        fs::create_dir_all(path.parent().expect("a parent")).expect("the parent");
        fs::write(&path, content).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    }

    pub fn read(&self, relative: impl AsRef<Path>) -> String {
        let path = self.path(relative);
        fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    }

    pub fn mode(&self, relative: impl AsRef<Path>) -> u32 {
        let path = self.path(relative);
        fs::symlink_metadata(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())).permissions().mode() & 0o7777
    }

    /// The binary, in this folder, with an environment of three variables.
    pub fn kubemint(&self) -> assert_cmd::Command {
        let mut command = assert_cmd::Command::cargo_bin("kubemint").expect("the binary");
        command.current_dir(self.dir()).env_clear().env("HOME", self.path("home")).env("LC_ALL", "C.UTF-8");
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.timeout(super::patience().max(std::time::Duration::from_secs(60)) * 2);
        command
    }

    /// Runs it; gives exit code, standard output, standard error.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        Ran::from(self.kubemint().args(arguments).output().expect("it runs"))
    }

    /// Runs it with this on its standard input.
    pub fn run_with_input(&self, arguments: &[&str], input: impl Into<Vec<u8>>) -> Ran {
        Ran::from(self.kubemint().args(arguments).write_stdin(input).output().expect("it runs"))
    }

    /// Runs it and holds it to its exit code.
    #[track_caller]
    pub fn ok(&self, arguments: &[&str]) -> Ran {
        self.run(arguments).expect(0)
    }

    /// Runs it with `-o json` and parses the one document.
    pub fn json(&self, arguments: &[&str]) -> (i32, serde_json::Value) {
        let ran = self.run(&[arguments, &["-o", "json"]].concat());
        let document = serde_json::from_str(&ran.stdout);
        (ran.code, document.unwrap_or_else(|e| panic!("{arguments:?}: {e}\n{}\n{}", ran.stdout, ran.stderr)))
    }

    /// A path's inode and modification time (ns): the same after a run that did not write it.
    pub fn stamp(&self, relative: impl AsRef<Path>) -> (u64, i64, i64) {
        let meta = fs::symlink_metadata(self.path(relative)).expect("it is there");
        (meta.ino(), meta.mtime(), meta.mtime_nsec())
    }

    pub fn set_mode(&self, relative: impl AsRef<Path>, mode: u32) {
        fs::set_permissions(self.path(relative), fs::Permissions::from_mode(mode)).expect("the mode is set");
    }

    pub fn remove(&self, relative: impl AsRef<Path>) {
        let path = self.path(relative);
        fs::remove_file(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    }

    /// Everything in the state directory that must never be said: token and keys, as they are, in hex and in base64.
    pub fn secrets(&self) -> Vec<String> {
        let token = self.read("state/token.csv").lines().last().expect("a row")[..32].to_owned();
        let keys = self.read("state/ca-key.pem") + &self.read("state/certs/kube-proxy-key.pem");
        let mut secrets: Vec<String> = keys.lines().filter(|line| !line.starts_with('-')).map(str::to_owned).collect();
        let config = self.read("state/kubeconfigs/kube-proxy.kubeconfig");
        let data = config.lines().find_map(|line| line.trim().strip_prefix("client-key-data: ")).expect("key data");
        secrets.push(data.trim_matches('"')[60..120].to_owned());
        secrets.push(token.bytes().map(|byte| format!("{byte:02x}")).collect());
        secrets.push(BASE64_STANDARD.encode(&token)[..40].to_owned());
        secrets.push(token);
        secrets
    }

    #[track_caller]
    pub fn assert_no_secret(&self, text: &str) {
        for secret in self.secrets() {
            assert!(!text.contains(&secret), "{secret} was said in\n{text}");
        }
    }

    /// Every regular file below `relative`, sorted, relative to it.
    pub fn files(&self, relative: impl AsRef<Path>) -> Vec<PathBuf> {
        let top = self.path(relative);
        let (mut visit, mut found) = (vec![top.clone()], Vec::new());
        while let Some(dir) = visit.pop() {
            for entry in fs::read_dir(&dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display())) {
                let entry = entry.expect("an entry");
                match entry.file_type().expect("its type") {
                    kind if kind.is_dir() => visit.push(entry.path()),
                    _ => found.push(entry.path().strip_prefix(&top).expect("below the top").to_owned()),
                }
            }
        }
        found.sort();
        found
    }

    /// As [`super::tree_hash`], of everything below `relative`; its absence is a value too.
    pub fn tree_hash(&self, relative: impl AsRef<Path>) -> Digest {
        let path = self.path(relative);
        if path.exists() { super::tree_hash(&path) } else { Digest::of("absent") }
    }
}

/// How a run ended.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl From<std::process::Output> for Ran {
    fn from(output: std::process::Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).expect("UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("UTF-8"),
        }
    }
}

impl Ran {
    /// That all of `words` were said, on either stream.
    #[track_caller]
    pub fn says(self, words: &[&str]) -> Self {
        for word in words {
            let said = self.stdout.contains(word) || self.stderr.contains(word);
            assert!(said, "{word:?} is not in\n{}\n{}", self.stdout, self.stderr);
        }
        self
    }

    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }
}

/// The credential files below the state directory.
pub const CREDENTIALS: [&str; 7] = [
    "ca-key.pem",
    "ca.pem",
    "certs/kube-proxy-key.pem",
    "certs/kube-proxy.pem",
    "kubeconfigs/bootstrap.kubeconfig",
    "kubeconfigs/kube-proxy.kubeconfig",
    "token.csv",
];

pub const LOCAL_HOSTS: &str = r#"
state_dir = "state"
[cluster]
server = "https://172.20.0.113:6443"
[[hosts]]
name = "cp-1"
connection = "local"
root = "hosts/cp-1"
roles = ["control-plane", "node"]
[[hosts]]
name = "node-[1-2]"
connection = "local"
root = "hosts/node-[1-2]"
"#;
