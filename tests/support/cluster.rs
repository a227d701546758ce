//! A cluster to rotate: real sshd hosts with stand-ins for kube-apiserver, kubelet, kube-proxy and systemctl on them, and
//! credentials that kubemint made and applied.
//!
//! `ControlPlane::builder().control_planes(3).nodes(6).start()` gives hosts cp-1… and node-1…, each control-plane host with
//! an apiserver at its own address, a balancer before them (`cluster.server`), nodes that have joined, and an admin's
//! admin.kubeconfig. Needs root (`need_root!`). Everything ends with the value. What a stand-in was asked for and does not
//! know fails the test at the end, unless [`ControlPlane::forgive_unknown`] was called.

use super::{
    Api, Fleet, Member, ProbeReport, Prober, Ran, TestEnv, TestHost, balancer::Balancer, eventually, prober, require,
};
use serde_json::{Value, json};
use std::{
    fmt::Write,
    fs,
    path::PathBuf,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

const PORT: u16 = 6443;
const CSRS: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
const STAND_INS: [(&str, &str); 7] = [
    ("apiserver.py", include_str!("../stand_ins/apiserver.py")),
    ("api_auth.py", include_str!("../stand_ins/api_auth.py")),
    ("api_resources.py", include_str!("../stand_ins/api_resources.py")),
    ("api_signer.py", include_str!("../stand_ins/api_signer.py")),
    ("api_store.py", include_str!("../stand_ins/api_store.py")),
    ("kubelet.py", include_str!("../stand_ins/kubelet.py")),
    ("kube_proxy.py", include_str!("../stand_ins/kube_proxy.py")),
];
const SYSTEMCTL: &str = include_str!("../stand_ins/systemctl");

/// The host gets its own /proc, so that process numbers mean there what they say, and its own /usr/bin and /var/lib.
const MACHINE: &str = "set -e
mount -t proc proc /proc
for dir in usr/bin var/lib; do
    mkdir -p /mnt/own/$dir/upper /mnt/own/$dir/work
    mount -t overlay overlay -o lowerdir=/$dir,upperdir=/mnt/own/$dir/upper,workdir=/mnt/own/$dir/work /$dir
done
rm -f /usr/bin/systemctl
cp \"$1/bin/systemctl\" /usr/bin/systemctl
mkdir -p /run/stand-in
";

/// What goes wrong with an apiserver.
#[derive(Debug, Clone, Copy)]
pub enum Fault {
    /// /readyz says 500; everything else works.
    NotReady,
    /// /readyz says ok; everything else says 500.
    Failing,
    /// So many requests are answered with 429 (Retry-After: 1).
    Busy(u32),
    /// Each answer takes so much longer.
    Slow(Duration),
    /// No request is answered.
    Hang,
    /// Ends at once, at its next start.
    RefusesToStart,
    /// Knows the token file it read before, from its next start on until it is mended and started again.
    KeepsOldTokens,
    /// Is not ready for so long after its next start.
    StartsSlowly(Duration),
}

impl Fault {
    fn control(self) -> Value {
        match self {
            Self::NotReady => json!({"not_ready": true}),
            Self::Failing => json!({"failing": true}),
            Self::Busy(count) => json!({"busy": {"id": rand::random::<u32>().to_string(), "count": count}}),
            Self::Slow(time) => json!({"slow": time.as_secs_f64()}),
            Self::Hang => json!({"hang": true}),
            Self::RefusesToStart => json!({"refuse": true}),
            Self::KeepsOldTokens => json!({"old_tokens": true}),
            Self::StartsSlowly(time) => json!({"slow_start": time.as_secs_f64()}),
        }
    }

    fn is_of_the_start(self) -> bool {
        matches!(self, Self::RefusesToStart | Self::KeepsOldTokens | Self::StartsSlowly(_))
    }
}

/// When an apiserver was not ready, in ms since 1970; without an end: still is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Downtime {
    pub host: String,
    pub from: u64,
    pub to: Option<u64>,
}

/// A cluster to be.
#[derive(Default)]
pub struct Builder {
    control_planes: usize,
    nodes: usize,
    unjoined: Vec<String>,
    idle: Vec<String>,
    services: String,
    settings: String,
    has_kube_proxies: bool,
    by_sudo: bool,
}

impl Builder {
    pub fn control_planes(mut self, count: usize) -> Self {
        self.control_planes = count;
        self
    }

    pub fn nodes(mut self, count: usize) -> Self {
        self.nodes = count;
        self
    }

    /// These nodes' kubelets run and wait: their requests are pending.
    pub fn unjoined(mut self, names: &[&str]) -> Self {
        self.unjoined = names.iter().map(ToString::to_string).collect();
        self
    }

    /// These nodes' kubelets are not started, not even with the host.
    pub fn idle(mut self, names: &[&str]) -> Self {
        self.idle = names.iter().map(ToString::to_string).collect();
        self
    }

    /// kube-proxy runs on the nodes, and writes who it is: [`ControlPlane::kube_proxy_identity`].
    pub fn kube_proxies(mut self) -> Self {
        self.has_kube_proxies = true;
        self
    }

    /// More lines of the inventory's `[services]`, beside the three commands.
    pub fn services(mut self, lines: &str) -> Self {
        self.services = lines.to_owned();
        self
    }

    /// More tables of the inventory, such as `[token]`; not `[cluster]`, `[ssh]` or `[services]`.
    pub fn settings(mut self, toml: &str) -> Self {
        self.settings = toml.to_owned();
        self
    }

    /// All hosts are logged in to as an ordinary user who may become root.
    pub fn by_sudo(mut self) -> Self {
        self.by_sudo = true;
        self
    }

    pub fn start(self) -> ControlPlane {
        let name_all = |prefix: &str, count| (1..=count).map(|n| format!("{prefix}-{n}")).collect::<Vec<_>>();
        let (control_planes, nodes) = (name_all("cp", self.control_planes), name_all("node", self.nodes));
        let member = |name: &String, roles| {
            let member = Member::new(TestHost::builder(name)).roles(roles);
            if self.by_sudo { member.by_sudo() } else { member }
        };
        let members = control_planes.iter().map(|name| member(name, &["control-plane"] as &[_]));
        let members: Vec<_> = members.chain(nodes.iter().map(|name| member(name, &["node"]))).collect();
        let fleet = Fleet::new(members);
        let addresses = fleet.hosts[..self.control_planes].iter().map(|host| format!("{}:{PORT}", host.address()));
        // Hosts have their own /tmp, and share /var/tmp.
        let shared = tempfile::Builder::new().prefix("kubemint-cluster-").tempdir_in("/var/tmp").unwrap();
        let mut cluster = ControlPlane {
            balancer: Balancer::start(addresses.collect()),
            fleet,
            shared,
            control_planes,
            nodes,
            settings: self.settings.clone(),
            forgiving: AtomicBool::new(false),
        };
        cluster.set_services(&self.services);
        for index in 0..self.control_planes {
            let line = format!("apiserver = \"https://{}\"\n", cluster.address_of(index));
            cluster.fleet.set_host_lines(index, &line);
        }
        cluster.write_stand_ins();
        cluster.each_host(|host| {
            let script = format!("set -- '{}'\n{MACHINE}", cluster.shared.path().display());
            host.must(&script);
            cluster.write_units(host, &self);
        });
        cluster.fleet.run(&["apply"]).expect(0);
        cluster.write_credentials();
        cluster.each_host(ControlPlane::boot);
        cluster.wait_ready();
        let joining: Vec<&str> = cluster.nodes.iter().map(String::as_str).collect();
        let is_out = |name: &str| self.unjoined.iter().chain(&self.idle).any(|out| out == name);
        cluster.join(&joining.into_iter().filter(|name| !is_out(name)).collect::<Vec<_>>());
        for name in &self.unjoined {
            eventually(&format!("the request of {name}"), || cluster.pending_of(name).first().cloned());
        }
        cluster
    }
}

/// A running cluster.
pub struct ControlPlane {
    // First: it holds no connection open when the servers go.
    balancer: Balancer,
    pub fleet: Fleet,
    shared: tempfile::TempDir,
    control_planes: Vec<String>,
    nodes: Vec<String>,
    settings: String,
    forgiving: AtomicBool,
}

impl ControlPlane {
    /// One control-plane host and no node, unless told.
    pub fn builder() -> Builder {
        Builder { control_planes: 1, ..Builder::default() }
    }

    /// Where kubemint runs: inventory.toml, state/, admin.kubeconfig, admin.pem.
    pub fn env(&self) -> &TestEnv {
        &self.fleet.env
    }

    /// Runs kubemint.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        self.fleet.run(arguments)
    }

    /// kubectl with the admin's kubeconfig.
    pub fn kubectl(&self, arguments: &[&str]) -> Ran {
        self.kubectl_as("admin.kubeconfig", arguments)
    }

    /// kubectl with a kubeconfig of the environment.
    pub fn kubectl_as(&self, kubeconfig: &str, arguments: &[&str]) -> Ran {
        let program = std::env::var_os("KUBECTL").map_or_else(|| PathBuf::from("kubectl"), PathBuf::from);
        let mut command = Command::new(program);
        command.current_dir(self.env().dir()).env_clear().env("HOME", self.env().path("home"));
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).arg("--kubeconfig").arg(kubeconfig);
        Ran::from(command.args(arguments).output().expect("kubectl"))
    }

    /// The commands in `[services]` with these lines beside them, instead of those set before.
    pub fn set_services(&mut self, lines: &str) {
        let mut text = format!("[cluster]\nserver = \"https://127.0.0.1:{}\"\n[services]\n", self.balancer.port);
        for service in ["kube-apiserver", "kubelet", "kube-proxy"] {
            if !lines.contains(&format!("{service} =")) {
                writeln!(text, "{service} = \"systemctl restart {service}\"").unwrap();
            }
        }
        self.fleet.set_settings(&format!("{text}{lines}{}", self.settings));
    }

    // --- hosts ---

    pub fn control_planes(&self) -> &[String] {
        &self.control_planes
    }

    pub fn nodes_by_name(&self) -> &[String] {
        &self.nodes
    }

    pub fn index(&self, name: &str) -> usize {
        self.fleet.hosts.iter().position(|host| host.name() == name).unwrap_or_else(|| panic!("no host {name}"))
    }

    pub fn host(&self, name: &str) -> &TestHost {
        &self.fleet.hosts[self.index(name)]
    }

    /// The host goes down: sshd and everything that runs there.
    pub fn stop_host(&mut self, name: &str) {
        let index = self.index(name);
        self.fleet.hosts[index].stop();
        if self.control_planes.iter().any(|cp| cp == name) && self.is_serving(name) {
            let path = self.shared_file("log", name, "life");
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
            fs::write(&path, fs::read_to_string(&path).unwrap_or_default() + &format!("{now} stopping\n")).unwrap();
        }
    }

    /// It comes up again, with what starts with it; returns when an apiserver of it is ready, unless it has a fault.
    pub fn start_host(&mut self, name: &str) {
        let index = self.index(name);
        self.fleet.hosts[index].start();
        Self::boot(&self.fleet.hosts[index]);
        if index < self.control_planes.len() && !self.shared_file("control", name, "json").exists() {
            self.wait_serving(name);
        }
    }

    /// A word that makes systemctl misbehave for one service of a host: "fail" or "hang"; `None`: it behaves again.
    pub fn set_systemctl(&self, host: &str, service: &str, word: Option<&str>) {
        let path = format!("/run/stand-in/{service}.control");
        match word {
            Some(word) => self.host(host).write(&path, word),
            None => drop(fs::remove_file(self.host(host).path(&path))),
        }
    }

    /// What systemctl was asked for on a host, a line `SECONDS EXIT ARGUMENTS` per call that ended.
    pub fn systemctl_log(&self, host: &str) -> String {
        fs::read_to_string(self.host(host).path("/run/stand-in/systemctl.log")).unwrap_or_default()
    }

    /// How many times it was told to restart that service.
    pub fn restarts(&self, host: &str, service: &str) -> usize {
        let wanted = format!(" 0 restart {service}");
        self.systemctl_log(host).lines().filter(|line| line.ends_with(&wanted)).count()
    }

    /// What a service of a host has printed.
    pub fn service_log(&self, host: &str, service: &str) -> String {
        fs::read_to_string(self.host(host).path(&format!("/run/stand-in/{service}.log"))).unwrap_or_default()
    }

    // --- apiservers ---

    /// HOST:PORT of a control-plane host's apiserver.
    pub fn address(&self, host: &str) -> String {
        self.address_of(self.index(host))
    }

    fn address_of(&self, index: usize) -> String {
        format!("{}:{PORT}", self.fleet.hosts[index].address())
    }

    /// That apiserver, with the rights of an admin.
    pub fn api(&self, host: &str) -> Api {
        Api::new(&self.address(host), &self.env().read("state/ca.pem"), Some(&self.env().read("admin.pem")))
    }

    /// The first apiserver that answers, with the rights of an admin.
    pub fn any_api(&self) -> Api {
        eventually("an apiserver that answers", || {
            let mut apis = self.control_planes.iter().map(|host| self.api(host));
            apis.find_map(|mut api| matches!(api.call("GET", "/readyz", None, None), Ok((200, _))).then_some(api))
        })
    }

    /// That apiserver, without any rights but those of the tokens that go with the calls.
    pub fn plain_api(&self, host: &str) -> Api {
        Api::new(&self.address(host), &self.env().read("state/ca.pem"), None)
    }

    /// What `token` is answered with at that apiserver: 201 where it is known, 401 where it is not.
    pub fn status_of_token(&self, host: &str, token: &str) -> u16 {
        self.plain_api(host).whoami(Some(token)).unwrap_or_else(|e| panic!("{host}: {e}")).0
    }

    /// Instead of the faults set before.
    pub fn set_fault(&self, host: &str, fault: Fault) {
        let control = fault.control();
        self.write_control(host, &if fault.is_of_the_start() { json!({"at_start": control}) } else { control });
    }

    /// As [`ControlPlane::set_fault`], but only from the next start of that apiserver on.
    pub fn set_fault_after_start(&self, host: &str, fault: Fault) {
        self.write_control(host, &json!({"at_start": fault.control()}));
    }

    /// Takes the faults away. What was read at the start stays until the next one.
    pub fn mend(&self, host: &str) {
        let _ = fs::remove_file(self.shared_file("control", host, "json"));
    }

    fn write_control(&self, host: &str, control: &Value) {
        let path = self.shared_file("control", host, "json");
        let draft = path.with_extension("draft");
        fs::write(&draft, control.to_string()).unwrap();
        fs::rename(draft, path).unwrap();
    }

    /// Every request that an apiserver has answered: ms, method, path, user, status.
    pub fn access_log(&self, host: &str) -> Vec<Value> {
        let text = fs::read_to_string(self.shared_file("log", host, "access")).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Times an apiserver was not ready after it had been, in order.
    pub fn downtimes(&self, host: &str) -> Vec<Downtime> {
        let mut found: Vec<Downtime> = Vec::new();
        for (ms, word) in self.life(host) {
            match word.as_str() {
                "stopping" => found.push(Downtime { host: host.to_owned(), from: ms, to: None }),
                "ready" => {
                    if let Some(last) = found.last_mut() {
                        last.to.get_or_insert(ms);
                    }
                }
                _ => {}
            }
        }
        found
    }

    /// Two downtimes of different apiservers that overlap.
    pub fn overlapping_downtimes(&self) -> Vec<(Downtime, Downtime)> {
        let all: Vec<Downtime> = self.control_planes.iter().flat_map(|host| self.downtimes(host)).collect();
        overlaps(&all)
    }

    fn life(&self, host: &str) -> Vec<(u64, String)> {
        let text = fs::read_to_string(self.shared_file("log", host, "life")).unwrap_or_default();
        let parse = |line: &str| line.split_once(' ').map(|(ms, word)| (ms.parse().unwrap(), word.to_owned()));
        text.lines().filter_map(parse).collect()
    }

    fn is_serving(&self, host: &str) -> bool {
        self.life(host).last().is_some_and(|(_, word)| word == "ready")
    }

    fn wait_serving(&self, host: &str) {
        eventually(&format!("the apiserver of {host}: {}", self.service_log(host, "kube-apiserver")), || {
            self.is_serving(host).then_some(())
        });
    }

    fn wait_ready(&self) {
        self.control_planes.iter().for_each(|host| self.wait_serving(host));
    }

    /// Requests that a stand-in did not know are no failure of this test.
    pub fn forgive_unknown(&self) {
        self.forgiving.store(true, Ordering::SeqCst);
    }

    /// What the stand-in apiservers were asked for and do not know.
    pub fn unknown_requests(&self) -> Vec<String> {
        let read = |host: &String| fs::read_to_string(self.shared_file("log", host, "unknown")).unwrap_or_default();
        self.control_planes.iter().flat_map(|host| read(host).lines().map(str::to_owned).collect::<Vec<_>>()).collect()
    }

    // --- what the cluster holds ---

    fn list(&self, path: &str) -> Vec<Value> {
        let (status, body) = self.any_api().call("GET", path, None, None).unwrap();
        assert_eq!(status, 200, "{body}");
        body["items"].as_array().unwrap().clone()
    }

    /// All CertificateSigningRequests, as the API has them.
    pub fn csrs(&self) -> Vec<Value> {
        self.list(CSRS)
    }

    pub fn nodes(&self) -> Vec<Value> {
        self.list("/api/v1/nodes")
    }

    pub fn is_node_ready(&self, name: &str) -> bool {
        self.nodes().iter().any(|node| node["metadata"]["name"] == name && is_ready(node))
    }

    /// Requests that are not decided: name, and subject as openssl prints it.
    pub fn pending(&self) -> Vec<(String, String)> {
        let is_pending = |csr: &&Value| csr["status"]["conditions"].as_array().is_none_or(Vec::is_empty);
        let named = |csr: &Value| (csr["metadata"]["name"].as_str().unwrap().to_owned(), subject_of(csr));
        self.csrs().iter().filter(is_pending).map(named).collect()
    }

    /// Names of the requests for that node that are not decided.
    pub fn pending_of(&self, node: &str) -> Vec<String> {
        let is_its = |subject: &str| subject.ends_with(&format!("CN = system:node:{node}"));
        self.pending().into_iter().filter(|(_, subject)| is_its(subject)).map(|(name, _)| name).collect()
    }

    /// Approves or denies a request by name, as an admin would.
    pub fn decide(&self, name: &str, kind: &str) {
        let mut api = self.any_api();
        let (_, mut csr) = api.call("GET", &format!("{CSRS}/{name}"), None, None).unwrap();
        let condition = json!({"type": kind, "status": "True", "reason": "Rig", "message": "by the rig"});
        csr["status"]["conditions"] = json!([condition]);
        let (status, body) = api.call("PUT", &format!("{CSRS}/{name}/approval"), None, Some(&csr)).unwrap();
        assert_eq!(status, 200, "{body}");
    }

    /// Approves whatever these nodes ask for until all of them are Ready.
    pub fn join(&self, nodes: &[&str]) {
        eventually(&format!("{nodes:?} to join"), || {
            let all = self.nodes();
            let is_in = |name: &str| all.iter().any(|node| node["metadata"]["name"] == name && is_ready(node));
            let missing: Vec<&&str> = nodes.iter().filter(|name| !is_in(name)).collect();
            if missing.is_empty() {
                return Some(());
            }
            for (csr, subject) in self.pending() {
                if missing.iter().any(|name| subject.ends_with(&format!("CN = system:node:{name}"))) {
                    self.decide(&csr, "Approved");
                }
            }
            std::thread::park_timeout(Duration::from_millis(100));
            None
        });
    }

    /// Changes a stored object behind the API's back; `kind` is certificatesigningrequests, nodes or secrets.
    pub fn edit_stored(&self, kind: &str, name: &str, change: impl FnOnce(&mut Value)) {
        let path = self.shared.path().join("store").join(kind).join(name);
        let mut value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        change(&mut value);
        fs::write(path, value.to_string()).unwrap();
    }

    /// Posts a request; gives status and answer. `pem` is PKCS #10.
    pub fn post_csr(&self, token: &str, name: &str, signer: &str, usages: &[&str], pem: &[u8]) -> (u16, Value) {
        use base64::{Engine, prelude::BASE64_STANDARD};
        let body = json!({
            "kind": "CertificateSigningRequest", "apiVersion": "certificates.k8s.io/v1", "metadata": {"name": name},
            "spec": {"request": BASE64_STANDARD.encode(pem), "signerName": signer, "usages": usages},
        });
        self.plain_api(&self.control_planes[0]).call("POST", CSRS, Some(token), Some(&body)).unwrap()
    }

    // --- tokens ---

    /// The token in the host's bootstrap.kubeconfig.
    pub fn token_on(&self, node: &str) -> String {
        let path = self.host(node).path("/etc/kubernetes/bootstrap.kubeconfig");
        prober::token_in(&path).unwrap_or_else(|| panic!("{node} has no token"))
    }

    /// Starts to authenticate with every node's current token, 20 times a second, at each apiserver.
    pub fn probe(&self) -> Prober {
        let file = |node: &String| (node.clone(), self.host(node).path("/etc/kubernetes/bootstrap.kubeconfig"));
        let holders: Vec<_> = self.nodes.iter().map(file).collect();
        Prober::start(self.control_planes.iter().map(|host| self.plain_api(host)).collect(), &holders)
    }

    /// Whom the apiserver took a node's kube-proxy for when it last asked: username, groups, serial, ms.
    pub fn kube_proxy_identity(&self, node: &str) -> Option<Value> {
        let text = fs::read_to_string(self.host(node).path("/run/kube-proxy.identity")).ok()?;
        serde_json::from_str(&text).ok()
    }

    // --- how it comes to be ---

    fn shared_file(&self, folder: &str, host: &str, kind: &str) -> PathBuf {
        self.shared.path().join(folder).join(format!("{host}.{kind}"))
    }

    fn each_host(&self, act: impl Fn(&TestHost) + Sync) {
        std::thread::scope(|scope| {
            let started: Vec<_> = self.fleet.hosts.iter().map(|host| scope.spawn(|| act(host))).collect();
            started.into_iter().for_each(|thread| thread.join().unwrap());
        });
    }

    fn write_stand_ins(&self) {
        for folder in ["bin", "pki", "control", "log", "store"] {
            fs::create_dir(self.shared.path().join(folder)).unwrap();
        }
        let bin = self.shared.path().join("bin");
        STAND_INS.iter().for_each(|(name, text)| fs::write(bin.join(name), text).unwrap());
        fs::write(bin.join("systemctl"), SYSTEMCTL).unwrap();
        let made = Command::new("chmod").arg("755").arg(self.shared.path()).arg(bin.join("systemctl")).status();
        assert!(made.unwrap().success());
    }

    fn write_units(&self, host: &TestHost, options: &Builder) {
        let shared = self.shared.path().display();
        let python = "/usr/bin/python3 -E";
        let name = host.name();
        let unit = |service: &str, command: &str, rest: &str| {
            let text = format!("[Unit]\nDescription={service}\n[Service]\nExecStart={command}\n{rest}");
            host.write(&format!("/etc/systemd/system/{service}.service"), &text);
        };
        const ENABLED: &str = "[Install]\nWantedBy=multi-user.target\n";
        if self.control_planes.iter().any(|cp| cp == name) {
            let pki = format!("{shared}/pki");
            let command = format!(
                "{python} {shared}/bin/apiserver.py --name {name} --address {}:{PORT} --shared {shared} --cert \
                 {pki}/server.pem --key {pki}/server-key.pem --client-ca {pki}/ca.pem --ca-key {pki}/ca-key.pem \
                 --token-file /etc/kubernetes/token.csv",
                host.address()
            );
            unit("kube-apiserver", &command, ENABLED);
            return;
        }
        let command = format!(
            "{python} {shared}/bin/kubelet.py --node {name} --bootstrap-kubeconfig \
             /etc/kubernetes/bootstrap.kubeconfig --kubeconfig /etc/kubernetes/kubelet.kubeconfig --cert-dir \
             /var/lib/kubelet/pki"
        );
        let is_idle = options.idle.iter().any(|idle| idle == name);
        unit("kubelet", &command, &format!("Restart=always\n{}", if is_idle { "" } else { ENABLED }));
        let command = format!(
            "{python} {shared}/bin/kube_proxy.py --kubeconfig /etc/kubernetes/kube-proxy.kubeconfig --identity \
             /run/kube-proxy.identity"
        );
        unit(
            "kube-proxy",
            &command,
            &format!("Restart=always\n{}", if options.has_kube_proxies { ENABLED } else { "" }),
        );
    }

    /// The apiservers' certificate and an admin's, from the CA that kubemint made, by openssl.
    fn write_credentials(&self) {
        let (env, pki) = (self.env(), self.shared.path().join("pki"));
        for name in ["ca.pem", "ca-key.pem"] {
            fs::copy(env.path("state").join(name), pki.join(name)).unwrap();
        }
        let addresses =
            self.fleet.hosts[..self.control_planes.len()].iter().map(|host| format!("IP:{}", host.address()));
        let names: Vec<String> = addresses.chain(["IP:127.0.0.1".into(), "DNS:kubernetes".into()]).collect();
        let issue = |name: &str, subject: &str, extensions: &str| {
            let script = format!(
                "openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout {name}-key.pem -subj {subject} \
                 -out {name}.csr && openssl x509 -req -in {name}.csr -CA ca.pem -CAkey ca-key.pem -days 2 -extfile \
                 {name}.ext -out {name}.pem"
            );
            fs::write(pki.join(format!("{name}.ext")), extensions).unwrap();
            let mut command = Command::new("sh");
            let made = command.args(["-ec", &script]).current_dir(&pki).output().unwrap();
            assert!(made.status.success(), "{made:?}");
            fs::read_to_string(pki.join(format!("{name}.pem"))).unwrap()
                + &fs::read_to_string(pki.join(format!("{name}-key.pem"))).unwrap()
        };
        require("openssl");
        issue(
            "server",
            "/CN=kube-apiserver",
            &format!(
                "subjectAltName = {}\nextendedKeyUsage = serverAuth\nbasicConstraints = critical, CA:FALSE\n",
                names.join(",")
            ),
        );
        let client = "extendedKeyUsage = clientAuth\nbasicConstraints = critical, CA:FALSE\n";
        let admin = issue("admin", "/O=system:masters/CN=kubernetes-admin", client);
        env.write("admin.pem", &admin);
        self.write_admin_kubeconfig(&pki);
    }

    fn write_admin_kubeconfig(&self, pki: &std::path::Path) {
        use base64::{Engine, prelude::BASE64_STANDARD};
        let data = |name: &str| BASE64_STANDARD.encode(fs::read(pki.join(name)).unwrap());
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: admin\nclusters:\n- name: kubernetes\n  cluster:\n    \
             server: https://127.0.0.1:{}\n    certificate-authority-data: {}\ncontexts:\n- name: admin\n  context:\n    \
             cluster: kubernetes\n    user: kubernetes-admin\nusers:\n- name: kubernetes-admin\n  user:\n    \
             client-certificate-data: {}\n    client-key-data: {}\n",
            self.balancer.port,
            data("ca.pem"),
            data("admin.pem"),
            data("admin-key.pem")
        );
        self.env().write("admin.kubeconfig", text);
        self.env().set_mode("admin.kubeconfig", 0o600);
    }

    /// Starts what starts with the host.
    fn boot(host: &TestHost) {
        host.must(
            "cd /run/stand-in && rm -f ./*.pid ./*.supervisor ./*.stopping ./*.exit
             cd /etc/systemd/system
             for unit in kube-apiserver kubelet kube-proxy; do
                 grep -qs ^WantedBy= $unit.service && systemctl start $unit || :
             done",
        );
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        let unknown = self.unknown_requests();
        if !std::thread::panicking() && !self.forgiving.load(Ordering::SeqCst) {
            assert!(unknown.is_empty(), "the stand-in apiserver does not know {unknown:#?}");
        }
    }
}

/// Pairs of different hosts' downtimes that overlap.
pub fn overlaps(all: &[Downtime]) -> Vec<(Downtime, Downtime)> {
    let end = |downtime: &Downtime| downtime.to.unwrap_or(u64::MAX);
    let mut found = Vec::new();
    for (n, one) in all.iter().enumerate() {
        let others = all[n + 1..].iter().filter(|other| other.host != one.host);
        found.extend(
            others.filter(|other| one.from < end(other) && other.from < end(one)).map(|o| (one.clone(), o.clone())),
        );
    }
    found
}

fn is_ready(node: &Value) -> bool {
    let conditions = node["status"]["conditions"].as_array();
    conditions.is_some_and(|all| all.iter().any(|c| c["type"] == "Ready" && c["status"] == "True"))
}

/// The subject that a request asks for, as openssl prints it.
fn subject_of(csr: &Value) -> String {
    use base64::{Engine, prelude::BASE64_STANDARD};
    use std::{io::Write as _, process::Stdio};
    let pem = BASE64_STANDARD.decode(csr["spec"]["request"].as_str().unwrap()).unwrap();
    let mut command = Command::new(require("openssl"));
    command
        .args(["req", "-noout", "-subject", "-nameopt", "oneline,utf8"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut openssl = command.spawn().unwrap();
    openssl.stdin.take().unwrap().write_all(&pem).unwrap();
    String::from_utf8(openssl.wait_with_output().unwrap().stdout).unwrap().trim().to_owned()
}
