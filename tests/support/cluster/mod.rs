//! A cluster to rotate: real sshd hosts with stand-ins for kube-apiserver, kubelet, kube-proxy and systemctl on them, and
//! credentials that kubemint made and applied.
//!
//! `ControlPlane::builder().control_planes(3).nodes(6).start()` gives hosts cp-1… and node-1…, each control-plane host with
//! an apiserver at its own address, a balancer before them (`cluster.server`), nodes that have joined, and an admin's
//! admin.kubeconfig. Needs root (`need_root!`). Everything ends with the value. What a stand-in was asked for and does not
//! know fails the test at the end, unless [`ControlPlane::forgive_unknown`] was called. With KUBEMINT_TEST_REAL=1 and
//! KUBEBUILDER_ASSETS the apiservers are real ones, in every test that does not ask for stand-ins.

mod apiserver;
mod builder;
mod contents;
mod real;

pub use apiserver::{Downtime, Fault, overlaps};
pub use builder::Builder;
pub use real::{are_apiservers_real, real_binaries};

use super::{Fleet, Ran, TestEnv, TestHost, balancer::Balancer, eventually};
use std::{
    fmt::Write,
    fs,
    path::PathBuf,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

const PORT: u16 = 6443;

/// A running cluster.
pub struct ControlPlane {
    // First, so that they end first.
    watch: Option<real::Watch>,
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
        Builder::default().control_planes(1)
    }

    /// Whether the apiservers are real ones: they have no faults to set, and no access log.
    pub fn is_real(&self) -> bool {
        self.watch.is_some()
    }

    /// Where kubemint runs: inventory.toml, state/, admin.kubeconfig, admin.pem.
    pub fn env(&self) -> &TestEnv {
        &self.fleet.env
    }

    /// Runs kubemint.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        self.fleet.run(arguments)
    }

    /// Runs kubemint where real apiservers are restarted, which takes them a while on a busy machine.
    pub fn run_patiently(&self, arguments: &[&str]) -> Ran {
        let mut command = self.env().kubemint();
        Ran::from(command.timeout(Duration::from_secs(280)).args(arguments).output().expect("it runs"))
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

    /// Other tables of the inventory, and lines of its `[services]`, instead of those set before.
    pub fn set_tables(&mut self, tables: &str, services: &str) {
        tables.clone_into(&mut self.settings);
        self.set_services(services);
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
        if index >= self.control_planes.len() || !self.is_serving(name) {
            return;
        }
        if self.is_real() {
            eventually("its end to be seen", || (!self.is_serving(name)).then_some(()));
        } else {
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

    fn shared_file(&self, folder: &str, host: &str, kind: &str) -> PathBuf {
        self.shared.path().join(folder).join(format!("{host}.{kind}"))
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
