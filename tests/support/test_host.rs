//! A host that is reached over SSH: a real sshd with its own keys, address and files.

use super::{
    PenalisingSshd, eventually,
    local_tree::tree_hash,
    require,
    world::{World, is_isolated},
};
use kubemint::digest::Digest;
use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::{Child, Command},
    sync::atomic::{AtomicU32, Ordering},
};

/// What is special about a host.
#[derive(Default)]
pub struct Builder {
    name: String,
    options: Vec<String>,
    shell: Option<PathBuf>,
    banner: Option<String>,
    bashrc: String,
    key_types: Vec<&'static str>,
    user: Option<(&'static str, Option<&'static str>)>,
    server: Server,
    sshd: Option<PenalisingSshd>,
}

/// What listens there.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Server {
    #[default]
    OpenSsh,
    Dropbear,
}

impl Builder {
    /// A line of sshd_config; it goes before ours, and sshd takes the first.
    pub fn sshd_option(mut self, line: &str) -> Self {
        self.options.push(line.to_owned());
        self
    }

    /// The login user's shell. Root only.
    pub fn login_shell(mut self, program: &str) -> Self {
        self.shell = Some(if program.contains('/') { program.into() } else { require(program) });
        self
    }

    pub fn banner(mut self, text: &str) -> Self {
        self.banner = Some(text.to_owned());
        self
    }

    /// The login user's .bashrc. Root only.
    pub fn bashrc(mut self, text: &str) -> Self {
        self.bashrc = text.to_owned();
        self
    }

    /// Host key types as ssh-keygen names them; ed25519 alone unless told.
    pub fn host_keys(mut self, types: &[&'static str]) -> Self {
        self.key_types = types.to_vec();
        self
    }

    /// Logs in as an ordinary user of the host instead of root, with this line in sudoers. Root only.
    pub fn user(mut self, name: &'static str, sudoers: Option<&'static str>) -> Self {
        self.user = Some((name, sudoers));
        self
    }

    /// dropbear in place of OpenSSH, whose options then mean nothing. Root only.
    pub fn dropbear(mut self) -> Self {
        self.server = Server::Dropbear;
        self
    }

    /// This sshd in place of the machine's. Root only.
    pub fn sshd(mut self, sshd: &PenalisingSshd) -> Self {
        self.sshd = Some(sshd.clone());
        self
    }

    pub fn start(mut self) -> TestHost {
        let types = if self.key_types.is_empty() { vec!["ed25519"] } else { self.key_types.clone() };
        let mut host = TestHost::prepare(&self);
        if let Some(sshd) = &self.sshd {
            host.program = Some(host.bring(&sshd.sshd));
            self.options.push(format!("SshdSessionPath {}", host.bring(&sshd.session)));
            self.options.extend(sshd.auth.iter().map(|auth| format!("SshdAuthPath {}", host.bring(auth))));
        }
        host.write_config(&self, &types);
        for key_type in &types {
            match self.server {
                Server::OpenSsh => host.make_host_key(key_type),
                Server::Dropbear => host.make_dropbear_key(key_type),
            }
        }
        host.server = self.server;
        host.start();
        host
    }
}

/// One host, with everything a test asks of it. Ended when dropped.
pub struct TestHost {
    name: String,
    address: String,
    port: u16,
    user: String,
    home: String,
    world: World,
    sshd: Option<Child>,
    server: Server,
    /// The sshd that was brought to it.
    program: Option<String>,
}

impl TestHost {
    /// A host with nothing special about it.
    pub fn new(name: &str) -> Self {
        Self::builder(name).start()
    }

    pub fn builder(name: &str) -> Builder {
        Builder { name: name.to_owned(), ..Builder::default() }
    }

    fn prepare(options: &Builder) -> Self {
        let world = World::new(&options.name);
        let (user, home) = match (&options.user, &world) {
            (Some((user, _)), _) => ((*user).to_owned(), format!("/home/{user}")),
            (None, World::Namespace { .. }) => ("root".to_owned(), "/root".to_owned()),
            (None, World::Plain { .. }) => (current_user(), world.ssh_dir()),
        };
        let host = Self {
            name: options.name.clone(),
            address: free_address(),
            port: 2222,
            user,
            home,
            world,
            sshd: None,
            server: Server::OpenSsh,
            program: None,
        };
        host.write(&format!("{}/.ssh/authorized_keys", host.home), "");
        if let Some((user, sudoers)) = options.user {
            assert!(is_isolated(), "only root can make users");
            let made = host.run(&format!(
                "echo '{user}:x:2001:2001::/home/{user}:/bin/bash' >>/etc/passwd && echo '{user}:x:2001:' >>/etc/group && \
                 echo '{user}:*:19000:0:99999:7:::' >>/etc/shadow && chown -R 2001:2001 /home/{user}"
            ));
            assert!(made.status.success(), "{made:?}");
            if let Some(line) = sudoers {
                require("sudo");
                host.write("/etc/sudoers", &format!("Defaults secure_path=/usr/sbin:/usr/bin:/sbin:/bin\n{line}\n"));
                assert!(host.run("chmod 440 /etc/sudoers").status.success());
            }
        }
        if let Some(shell) = &options.shell {
            assert!(is_isolated(), "only root can change shells");
            let sed = format!("sed -i 's|^\\({}:.*\\):[^:]*$|\\1:{}|' /etc/passwd", host.user, shell.display());
            assert!(host.run(&sed).status.success());
        }
        if !options.bashrc.is_empty() {
            host.write(&format!("{}/.bashrc", host.home), &options.bashrc);
        }
        host
    }

    fn write_config(&self, options: &Builder, key_types: &[&str]) {
        let dir = self.world.ssh_dir();
        let mut config = options.options.join("\n");
        if let Some(banner) = &options.banner {
            self.write(&format!("{dir}/banner"), banner);
            config += &format!("\nBanner {dir}/banner");
        }
        for key_type in key_types {
            config += &format!("\nHostKey {dir}/host_{key_type}");
        }
        config += &format!(
            "\nListenAddress {}\nPort {}\nPidFile none\nUsePAM no\nStrictModes no\nUseDNS no\nPrintMotd no\n\
             PermitRootLogin yes\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nLogLevel VERBOSE\n\
             AuthorizedKeysFile {}/.ssh/authorized_keys\n",
            self.address, self.port, self.home
        );
        self.write(&format!("{dir}/sshd_config"), &config);
    }

    fn make_host_key(&self, key_type: &str) {
        let path = self.world.outside(&format!("{}/host_{key_type}", self.world.ssh_dir()));
        let _ = fs::remove_file(&path);
        let made = Command::new(require("ssh-keygen")).args(["-q", "-N", "", "-t", key_type, "-f"]).arg(&path).output();
        assert!(made.as_ref().unwrap().status.success(), "{made:?}");
    }

    fn make_dropbear_key(&self, key_type: &str) {
        let path = format!("{}/host_{key_type}", self.world.ssh_dir());
        self.must(&format!("dropbearkey -t {key_type} -f {path} | grep '^[a-z0-9-]* AAAA' >{path}.pub"));
    }

    fn start_dropbear(&mut self) {
        let dir = self.world.ssh_dir();
        let keys = "for key in host_*.pub; do set -- \"$@\" -r \"$PWD/${key%.pub}\"; done";
        let listen = format!("{}:{}", self.address, self.port);
        let script = format!(
            "cd {dir} && {keys} && exec {} -F -E -P '' -p {listen} \"$@\" 2>>log",
            require("dropbear").display()
        );
        let mut command = self.world.command("/bin/sh");
        command.args(["-c", &script]);
        let mut dropbear = self.world.spawn(command);
        let endpoint = (self.address.clone(), self.port);
        eventually("dropbear to listen", || {
            assert!(dropbear.try_wait().unwrap().is_none(), "dropbear ended: {}", self.log());
            std::net::TcpStream::connect((endpoint.0.as_str(), endpoint.1)).ok()
        });
        self.sshd = Some(dropbear);
    }

    /// Starts the server, and returns when it listens.
    pub fn start(&mut self) {
        if self.server == Server::Dropbear {
            return self.start_dropbear();
        }
        let dir = self.world.ssh_dir();
        let mut command = self.world.command(self.program.as_ref().map_or_else(|| require("sshd"), PathBuf::from));
        command.args(["-D", "-f", &format!("{dir}/sshd_config"), "-E", &format!("{dir}/log")]);
        let ready = |log: &str| log.matches("Server listening on").count();
        let before = ready(&self.log());
        let mut sshd = self.world.spawn(command);
        eventually("sshd to listen", || {
            assert!(sshd.try_wait().unwrap().is_none(), "sshd ended: {}", self.log());
            (ready(&self.log()) > before).then_some(())
        });
        self.sshd = Some(sshd);
    }

    /// Ends sshd and every session of it, as when the host goes down. Its files stay.
    pub fn stop(&mut self) {
        self.world.kill_all(self.sshd.as_mut());
        self.sshd = None;
    }

    /// Sets one more line of sshd_config, before all others, or takes it away, and starts sshd anew.
    pub fn set_option(&mut self, line: Option<&str>) {
        const MARK: &str = "# from here on as it was at first\n";
        self.stop();
        let path = format!("{}/sshd_config", self.world.ssh_dir());
        let config = self.read(&path);
        let first = config.split_once(MARK).map_or(config.as_str(), |(_, first)| first);
        self.write(&path, &format!("{}\n{MARK}{first}", line.unwrap_or_default()));
        self.start();
    }

    /// Gives the host another key of the same type, as when it was reinstalled.
    pub fn replace_host_key(&mut self) {
        self.stop();
        self.make_host_key("ed25519");
        self.start();
    }

    /// Gives the host the key of another, as when both were made from one image.
    pub fn clone_host_key(&mut self, other: &Self) {
        self.stop();
        for name in ["host_ed25519", "host_ed25519.pub"] {
            let of = |host: &Self| host.path(&format!("{}/{name}", host.world.ssh_dir()));
            fs::copy(of(other), of(self)).unwrap();
        }
        self.start();
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn user(&self) -> &str {
        &self.user
    }

    /// The directory kubemint installs to, as the host sees it.
    pub fn directory(&self) -> String {
        match self.world {
            World::Namespace { .. } => "/etc/kubernetes".to_owned(),
            World::Plain { .. } => format!("{}/etc/kubernetes", self.world.ssh_dir()),
        }
    }

    /// Lines for known_hosts: one for each host key.
    pub fn known_hosts_lines(&self) -> String {
        self.public_keys().iter().map(|key| format!("[{}]:{} {key}\n", self.address, self.port)).collect()
    }

    /// `TYPE KEY` of each host key, in the order of their file names.
    pub fn public_keys(&self) -> Vec<String> {
        let dir = fs::read_dir(self.world.outside(&self.world.ssh_dir())).unwrap();
        let mut paths: Vec<_> =
            dir.map(|e| e.unwrap().path()).filter(|p| p.extension().is_some_and(|e| e == "pub")).collect();
        paths.sort();
        let key = |path: &PathBuf| {
            let line = fs::read_to_string(path).unwrap();
            line.split(' ').take(2).collect::<Vec<_>>().join(" ").trim().to_owned()
        };
        paths.iter().map(key).collect()
    }

    /// Lets whoever holds the private half of this public key (a line of a .pub file) log in.
    pub fn authorize(&self, public: &str) {
        let path = format!("{}/.ssh/authorized_keys", self.home);
        self.write(&path, &(self.read(&path) + public.trim() + "\n"));
    }

    pub fn forget_authorized_keys(&self) {
        self.write(&format!("{}/.ssh/authorized_keys", self.home), "");
    }

    /// A `[[hosts]]` block of an inventory.
    pub fn inventory_entry(&self) -> String {
        format!("[[hosts]]\nname = \"{}\"\naddress = \"{}\"\nport = {}\n", self.name, self.address, self.port)
    }

    /// Where the test finds a path of the host.
    pub fn path(&self, path: &str) -> PathBuf {
        self.world.outside(path)
    }

    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_else(|e| panic!("{}: {path}: {e}", self.name))
    }

    pub fn write(&self, path: &str, content: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    pub fn exists(&self, path: &str) -> bool {
        self.path(path).symlink_metadata().is_ok()
    }

    /// Permission bits and owner.
    pub fn attributes(&self, path: &str) -> (u32, u32, u32) {
        let metadata = self.path(path).symlink_metadata().unwrap();
        (metadata.mode() & 0o7777, metadata.uid(), metadata.gid())
    }

    /// One digest over everything below a directory of the host: see [`tree_hash`].
    pub fn tree_hash(&self, dir: &str) -> Digest {
        tree_hash(&self.path(dir))
    }

    /// Runs a shell script on the host, not through SSH.
    pub fn run(&self, script: &str) -> std::process::Output {
        self.world.run(script)
    }

    /// As [`TestHost::run`], and it must succeed.
    pub fn must(&self, script: &str) {
        let output = self.run(script);
        assert!(output.status.success(), "{script}: {output:?}");
    }

    /// Copies a program of this machine to the host, which may not see where it is; returns its path there. Root only.
    pub fn bring(&self, program: &Path) -> String {
        let path = format!("/mnt/brought{}", program.display());
        let outside = self.path(&path);
        fs::create_dir_all(outside.parent().unwrap()).unwrap();
        fs::copy(program, &outside).unwrap_or_else(|e| panic!("{}: {e}", program.display()));
        self.must(&format!("chmod -R go=u-w /mnt/brought && chmod 755 {path}"));
        path
    }

    /// Puts a script of the test's own in place of a program of the host. Root only.
    pub fn replace_program(&self, program: &str, script: &str) {
        assert!(is_isolated(), "only root can replace programs");
        let real = require(program).canonicalize().unwrap();
        let fake = format!("/mnt/fake-{program}");
        self.write(&fake, &script.replace("@REAL@", &format!("/mnt/real-{program}")));
        self.must(&format!(
            "cp {real} /mnt/real-{program} && chmod 755 {fake} && mount --bind {fake} {real}",
            real = real.display()
        ));
    }

    pub fn restore_program(&self, program: &str) {
        self.must(&format!("umount {}", require(program).canonicalize().unwrap().display()));
    }

    /// Gives a user a password. Root only.
    pub fn set_password(&self, user: &str, password: &str) {
        assert!(is_isolated(), "only root can set passwords");
        let chpasswd = require("chpasswd");
        self.must(&format!("echo '{user}:{password}' | {} -c SHA256 -s 1000", chpasswd.display()));
    }

    /// Lets PAM judge by /etc/shadow alone, without the pause after a wrong password.
    pub fn simplify_pam(&self) {
        let rules = "auth required pam_unix.so nodelay\naccount required pam_unix.so\npassword required pam_unix.so\n\
                     session required pam_unix.so\n";
        for service in ["sshd", "sudo"] {
            self.write(&format!("/etc/pam.d/{service}"), rules);
        }
    }

    /// Everything sshd logged since the host was made.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path(&format!("{}/log", self.world.ssh_dir()))).unwrap_or_default()
    }

    /// What every process of the host was called with.
    pub fn command_lines(&self) -> Vec<String> {
        let line = |pid: u32| fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let lines = self.world.processes(self.sshd.as_ref()).into_iter().map(line);
        lines.filter(|line| !line.is_empty()).map(|line| String::from_utf8_lossy(&line).replace('\0', " ")).collect()
    }

    /// The sshd that listens, as this machine numbers it.
    pub fn listener_pid(&self) -> u32 {
        let is_listener = |pid: &u32| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains("[listener]")
        };
        self.world.processes(self.sshd.as_ref()).into_iter().find(is_listener).expect("a running sshd")
    }

    /// The sshd processes that serve a connection, whatever is done over it, as this machine numbers them.
    pub fn connection_pids(&self) -> Vec<u32> {
        let serves = |pid: &u32| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line);
            line.starts_with("sshd: ") && !line.contains("[listener]")
        };
        self.world.processes(self.sshd.as_ref()).into_iter().filter(serves).collect()
    }

    /// The sshd processes that serve a session, as this machine numbers them.
    pub fn session_pids(&self) -> Vec<u32> {
        let is_session = |pid: &u32| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line);
            line.starts_with("sshd") && line.contains('@')
        };
        self.world.processes(self.sshd.as_ref()).into_iter().filter(is_session).collect()
    }
}

impl Drop for TestHost {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A loopback address of its own for each host, so that no other program can take its port.
fn free_address() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    let seed = Digest::of(format!("{} {n} {:?}", std::process::id(), std::time::SystemTime::now()));
    let [a, b, c, ..] = *seed.as_bytes();
    format!("127.{}.{}.{}", a | 1, b, c.clamp(1, 254))
}

fn current_user() -> String {
    let output = Command::new("id").arg("-un").output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
