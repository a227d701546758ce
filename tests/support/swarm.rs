//! Hundreds of light hosts: behind each address an sshd is started only when somebody connects (`sshd -i`), with a host key
//! and a directory of its own. A host may also be hung or refuse, and be mended later.

use super::{Client, TestEnv, require};
use kubemint::digest::Digest;
use std::{
    fmt::Write as _,
    fs,
    io::{Read, Write as _},
    net::{TcpListener, TcpStream},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    thread,
};

/// How a host answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conduct {
    Healthy,
    /// Takes the connection, and says nothing.
    Silent,
    /// Greets as an SSH server does, and says no more.
    GreetsOnly,
    /// Lets us in, and runs something that never ends.
    HangsAfterLogin,
    /// Nothing listens.
    Refuses,
}

struct Host {
    name: String,
    conduct: Arc<Mutex<Conduct>>,
    dir: PathBuf,
}

/// All hosts listen on one address of their own, each on its port.
pub struct Swarm {
    pub env: TestEnv,
    _client: Client,
    _dir: tempfile::TempDir,
    address: String,
    hosts: Vec<Host>,
}

const PORT: u16 = 3000;

impl Swarm {
    /// Nodes named host-001 and so on.
    pub fn new(conducts: &[Conduct], distribute: &str) -> Self {
        if rustix::process::geteuid().is_root() {
            // As the Debian service does: a root sshd does not start without it.
            fs::create_dir_all("/run/sshd").unwrap();
        }
        let (env, client, dir) = (TestEnv::new(), Client::new(), memory_dir());
        let address = own_address();
        let key = client.identity_files[0].display().to_string();
        let user = String::from_utf8(Command::new("id").arg("-un").output().unwrap().stdout).unwrap();
        let mut inventory = format!(
            "state_dir = \"state\"\n[cluster]\nserver = \"https://172.20.0.113:6443\"\n[ssh]\nuser = \"{}\"\n\
             identity_files = [\"{key}\"]\nknown_hosts = [\"{}\"]\n[distribute]\n{distribute}",
            user.trim(),
            client.known_hosts.display(),
        );
        let mut hosts = Vec::new();
        for (port, conduct) in (PORT..).zip(conducts) {
            let name = format!("host-{:03}", port - PORT + 1);
            let host = Host { dir: dir.path().join(&name), name, conduct: Arc::new(Mutex::new(*conduct)) };
            fs::create_dir(&host.dir).unwrap();
            let public = make_key(&host.dir);
            client.trust(&format!("[{address}]:{port} {public}\n"));
            write_config(&host.dir, &format!("{key}.pub"));
            writeln!(
                inventory,
                "\n[[hosts]]\nname = \"{}\"\naddress = \"{address}\"\nport = {port}\ndirectory = \"{}\"",
                host.name,
                host.dir.join("kubernetes").display()
            )
            .unwrap();
            if *conduct != Conduct::Refuses {
                host.listen(&address, port);
            }
            hosts.push(host);
        }
        env.write("inventory.toml", inventory);
        Self { env, _client: client, _dir: dir, address, hosts }
    }

    /// From now on everybody is healthy.
    pub fn cure(&self) {
        for (port, host) in (PORT..).zip(&self.hosts) {
            let before = std::mem::replace(&mut *host.conduct.lock().unwrap(), Conduct::Healthy);
            if before == Conduct::Refuses {
                host.listen(&self.address, port);
            }
        }
    }

    /// How many logins each host has seen.
    pub fn logins(&self) -> Vec<usize> {
        let log = |host: &Host| fs::read_to_string(host.dir.join("log")).unwrap_or_default();
        self.hosts.iter().map(|host| log(host).matches("Accepted publickey").count()).collect()
    }

    /// Names of the hosts that hold what a node should, as it is in the state directory.
    pub fn complete(&self) -> Vec<&str> {
        let is_complete = |host: &&Host| {
            ["bootstrap.kubeconfig", "kube-proxy.kubeconfig"].iter().all(|name| {
                let held = fs::read_to_string(host.dir.join("kubernetes").join(name));
                held.is_ok_and(|held| held == self.env.read(format!("state/kubeconfigs/{name}")))
            })
        };
        self.hosts.iter().filter(is_complete).map(|host| host.name.as_str()).collect()
    }
}

impl Host {
    /// Listens until the test process ends.
    fn listen(&self, address: &str, port: u16) {
        let listener = TcpListener::bind((address, port)).unwrap();
        let (conduct, dir) = (Arc::clone(&self.conduct), self.dir.clone());
        let serve = move || {
            for stream in listener.incoming() {
                let (conduct, dir) = (*conduct.lock().unwrap(), dir.clone());
                thread::Builder::new()
                    .stack_size(64 << 10)
                    .spawn(move || answer(stream.unwrap(), conduct, &dir))
                    .unwrap();
            }
        };
        thread::Builder::new().stack_size(64 << 10).spawn(serve).unwrap();
    }
}

fn answer(mut stream: TcpStream, conduct: Conduct, dir: &Path) {
    let config = match conduct {
        Conduct::Healthy => "sshd_config",
        Conduct::HangsAfterLogin => "hung_config",
        Conduct::Silent | Conduct::Refuses => return wait_for_end(&mut stream),
        Conduct::GreetsOnly => {
            let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.9\r\n");
            return wait_for_end(&mut stream);
        }
    };
    let output: OwnedFd = stream.try_clone().unwrap().into();
    let input: OwnedFd = stream.into();
    let mut command = Command::new(require("sshd"));
    command.arg("-i").arg("-f").arg(dir.join(config)).arg("-E").arg(dir.join("log"));
    let sshd = command.stdin(Stdio::from(input)).stdout(Stdio::from(output)).stderr(Stdio::null()).spawn();
    // It holds our copies of the connection.
    drop(command);
    let _ = sshd.unwrap().wait();
}

fn wait_for_end(stream: &mut TcpStream) {
    while stream.read(&mut [0; 1024]).is_ok_and(|n| n > 0) {}
}

fn make_key(dir: &Path) -> String {
    let path = dir.join("key");
    let made = Command::new(require("ssh-keygen")).args(["-q", "-N", "", "-t", "ed25519", "-f"]).arg(&path).status();
    assert!(made.unwrap().success());
    let public = fs::read_to_string(dir.join("key.pub")).unwrap();
    public.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

fn write_config(dir: &Path, authorized: &str) {
    let config = format!(
        "HostKey {}\nAuthorizedKeysFile {authorized}\nPidFile none\nUsePAM no\nStrictModes no\nUseDNS no\nPrintMotd no\n\
         PermitRootLogin yes\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nLogLevel VERBOSE\n\
         SetEnv HOME={}\n",
        dir.join("key").display(),
        // Whatever the caller's shell does at its start, and it can be much, is no part of the test.
        dir.display()
    );
    fs::write(dir.join("sshd_config"), &config).unwrap();
    // Ends by itself when the test is long over.
    fs::write(dir.join("hung_config"), config + "ForceCommand exec sleep 60\n").unwrap();
}

/// In memory where there is such a place: hundreds of hosts that sync to one disk wait for it, and real ones do not.
fn memory_dir() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// A loopback address that no other test uses.
fn own_address() -> String {
    let seed = Digest::of(format!("swarm {} {:?}", std::process::id(), std::time::SystemTime::now()));
    let [a, b, c, ..] = *seed.as_bytes();
    format!("127.{}.{}.{}", a | 1, b, c.clamp(1, 254))
}
