//! A directory of this machine as a host.

use kubemint::{
    digest::Digest,
    inventory::{Connection, Host, HostName, Privilege, Role, Roles, ServerUrl},
    remote::{Deadlines, local::LocalRemote},
};
use std::{
    fs,
    io::Write,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// A `connection = "local"` host with its root in a temporary directory.
pub struct LocalTree {
    _dir: tempfile::TempDir,
    root: PathBuf,
}

impl LocalTree {
    pub fn new() -> Self {
        Self::named("root")
    }

    /// With this name, which may be a path, for the root.
    pub fn named(name: &str) -> Self {
        super::set_usual_umask();
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap().join(name);
        fs::create_dir_all(&root).unwrap();
        fs::set_permissions(&root, fs::Permissions::from_mode(0o755)).unwrap();
        Self { _dir: dir, root }
    }

    pub fn remote() -> LocalRemote {
        LocalRemote::new(Deadlines::default())
    }

    /// As if `shell` were this machine's `sh`.
    pub fn remote_with(shell: &[&str]) -> LocalRemote {
        let [program, rest @ ..] = shell else { panic!("no shell") };
        let program = super::require(program);
        let words: Vec<&str> = std::iter::once(program.to_str().unwrap()).chain(rest.iter().copied()).collect();
        Self::remote().with_shell(&words)
    }

    pub fn host(&self) -> Host {
        host_value("local-1", Connection::Local { root: self.root.clone() }, Privilege::AsLoggedIn)
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where a host path is on this machine.
    pub fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    pub fn text(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap()
    }

    pub fn mode(&self, path: &str) -> u32 {
        self.path(path).symlink_metadata().unwrap().permissions().mode() & 0o7777
    }

    /// Makes the directory, if need be, and gives it (not its parents) this mode.
    pub fn make_dir(&self, path: &str, mode: u32) {
        fs::create_dir_all(self.path(path)).unwrap();
        fs::set_permissions(self.path(path), fs::Permissions::from_mode(mode)).unwrap();
    }

    /// What stands in /etc/kubernetes, sorted.
    pub fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path("/etc/kubernetes")).unwrap();
        let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

/// A host as the inventory would give it.
pub fn host_value(name: &str, connection: Connection, privilege: Privilege) -> Host {
    Host {
        name: HostName::new_unchecked(name),
        connection,
        privilege,
        roles: Roles::new(&[Role::ControlPlane, Role::Node]).unwrap(),
        labels: Default::default(),
        server: ServerUrl::new_unchecked("https://127.0.0.1:6443"),
        apiserver: ServerUrl::new_unchecked("https://127.0.0.1:6443"),
        directory: "/etc/kubernetes".into(),
        install_ca: true,
        token_csv_on_nodes: false,
    }
}

/// One digest over names, kinds, modes, owners, modification times and content of everything below `dir`.
pub fn tree_hash(dir: &Path) -> Digest {
    let find = "find . -printf '%p %y %m %U:%G %T@ %l\\n' | LC_ALL=C sort; find . -type f -exec sha256sum {} + | LC_ALL=C sort -k 2";
    let listing = Command::new("sh").args(["-c", find]).current_dir(dir).output().unwrap();
    assert!(listing.status.success(), "{listing:?}");
    Digest::of(listing.stdout)
}

/// What `shell` says to a script on its standard input.
pub fn feed(shell: &[&str], script: &str) -> String {
    let mut child = Command::new(shell[0])
        .args(&shell[1..])
        .arg("-s")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}
