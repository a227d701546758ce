//! How a [`ControlPlane`] comes to be: hosts, stand-ins, units, credentials, and nodes that join.

use super::super::{Fleet, Member, TestHost, balancer::Balancer, eventually, require};
use super::{ControlPlane, PORT, real};
use base64::{Engine, prelude::BASE64_STANDARD};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::AtomicBool,
};

/// The system's own: hosts do not see what is below this machine's /root and /home.
const PYTHON: &str = "/usr/bin/python3";
const STAND_INS: [(&str, &str); 8] = [
    ("apiserver.py", include_str!("../../stand_ins/apiserver.py")),
    ("api_auth.py", include_str!("../../stand_ins/api_auth.py")),
    ("api_protobuf.py", include_str!("../../stand_ins/api_protobuf.py")),
    ("api_resources.py", include_str!("../../stand_ins/api_resources.py")),
    ("api_signer.py", include_str!("../../stand_ins/api_signer.py")),
    ("api_store.py", include_str!("../../stand_ins/api_store.py")),
    ("kubelet.py", include_str!("../../stand_ins/kubelet.py")),
    ("kube_proxy.py", include_str!("../../stand_ins/kube_proxy.py")),
];
const SYSTEMCTL: &str = include_str!("../../stand_ins/systemctl");

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
    /// The folder of the real binaries.
    real: Option<PathBuf>,
    has_real_kubelets: bool,
    never_real: bool,
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

    /// Real apiservers, etcd and controllers from that folder: see [`super::real_binaries`].
    pub fn real(mut self, folder: PathBuf) -> Self {
        self.real = Some(folder);
        self
    }

    /// The stand-in apiservers even where real ones are asked for: the test sets faults, or looks at their own logs.
    pub fn stand_ins(mut self) -> Self {
        self.never_real = true;
        self
    }

    /// Real kubelets too. Without a container runtime none of their nodes gets Ready: name them all idle or unjoined.
    pub fn real_kubelets(mut self) -> Self {
        self.has_real_kubelets = true;
        self
    }

    pub fn start(mut self) -> ControlPlane {
        if real::are_apiservers_real() && !self.never_real && self.real.is_none() {
            self.real = real::real_binaries();
        }
        assert!(Path::new(PYTHON).exists(), "{PYTHON} is missing: apt-get install python3");
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
            watch: None,
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
        if let Some(folder) = &self.real {
            real::share_binaries(folder, &cluster.shared.path().join("bin"));
        }
        cluster.each_host(|host| {
            let script = format!("set -- '{}'\n{MACHINE}", cluster.shared.path().display());
            host.must(&script);
            cluster.write_units(host, &self);
        });
        cluster.fleet.run(&["apply"]).expect(0);
        cluster.write_credentials();
        cluster.each_host(ControlPlane::boot);
        if self.real.is_some() {
            cluster.watch = Some(real::Watch::start(&cluster));
        }
        cluster.wait_ready();
        if self.real.is_some() {
            cluster.bind_bootstrappers();
        }
        let joining: Vec<&str> = cluster.nodes.iter().map(String::as_str).collect();
        let is_out = |name: &str| self.unjoined.iter().chain(&self.idle).any(|out| out == name);
        cluster.join(&joining.into_iter().filter(|name| !is_out(name)).collect::<Vec<_>>());
        for name in &self.unjoined {
            eventually(&format!("the request of {name}"), || cluster.pending_of(name).first().cloned());
        }
        cluster
    }
}

impl ControlPlane {
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
        let python = format!("{PYTHON} -E");
        let name = host.name();
        let unit = |service: &str, command: &str, rest: &str| {
            let text = format!("[Unit]\nDescription={service}\n[Service]\nExecStart={command}\n{rest}");
            host.write(&format!("/etc/systemd/system/{service}.service"), &text);
        };
        const ENABLED: &str = "[Install]\nWantedBy=multi-user.target\n";
        if self.control_planes.iter().any(|cp| cp == name) {
            let pki = format!("{shared}/pki");
            let has_file = !self.settings.contains("form = \"secret\"");
            if options.real.is_some() {
                let token_file = if has_file { "--token-auth-file=/etc/kubernetes/token.csv" } else { "" };
                let (shared, etcd) = (self.shared.path(), self.fleet.hosts[0].address());
                unit("kube-apiserver", &real::apiserver_command(shared, host.address(), etcd, token_file), ENABLED);
                if host.address() == etcd {
                    unit("etcd", &real::etcd_command(shared, etcd), ENABLED);
                    let again = format!("Restart=always\n{ENABLED}");
                    unit("kube-controller-manager", &real::controllers_command(shared), &again);
                }
                return;
            }
            let token_file = if has_file { "--token-file /etc/kubernetes/token.csv" } else { "" };
            let command = format!(
                "{python} {shared}/bin/apiserver.py --name {name} --address {}:{PORT} --shared {shared} --cert \
                 {pki}/server.pem --key {pki}/server-key.pem --client-ca {pki}/ca.pem --ca-key {pki}/ca-key.pem \
                 {token_file}",
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
        // A real one that has its certificate ends for want of a container runtime: once is enough.
        let (command, again) = if options.has_real_kubelets {
            host.write("/etc/kubernetes-kubelet.yaml", real::KUBELET_CONFIG);
            (real::kubelet_command(self.shared.path(), name), "")
        } else {
            (command, "Restart=always\n")
        };
        let is_idle = options.idle.iter().any(|idle| idle == name);
        unit("kubelet", &command, &format!("{again}{}", if is_idle { "" } else { ENABLED }));
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

    fn write_admin_kubeconfig(&self, pki: &Path) {
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
        fs::write(pki.join("admin.kubeconfig"), &text).unwrap();
        self.env().write("admin.kubeconfig", text);
        self.env().set_mode("admin.kubeconfig", 0o600);
    }

    /// What the handbook's clusterrolebinding does, for the groups that the stand-in knows too.
    fn bind_bootstrappers(&self) {
        let who = ["--user=kubelet-bootstrap", "--group=system:kubelet-bootstrap", "--group=system:bootstrappers"];
        let fixed = ["create", "clusterrolebinding", "kubelet-bootstrap", "--clusterrole=system:node-bootstrapper"];
        self.kubectl(&[&fixed[..], &who].concat()).expect(0);
    }

    /// Starts what starts with the host.
    pub(super) fn boot(host: &TestHost) {
        host.must(
            "cd /run/stand-in && rm -f ./*.pid ./*.supervisor ./*.stopping ./*.exit
             cd /etc/systemd/system
             for unit in etcd kube-apiserver kube-controller-manager kubelet kube-proxy; do
                 grep -qs ^WantedBy= $unit.service && systemctl start $unit || :
             done",
        );
    }
}
