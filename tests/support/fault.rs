//! One healthy host and one on which something goes wrong, and what must hold then whatever it is.

use super::{Builder, Fleet, Holding, Member, TestHost, cluster_table, fleet::host_of, hosts_that_are};
use serde_json::Value;
use std::os::unix::fs::MetadataExt;

pub const HEALTHY: usize = 0;
pub const FAULTY: usize = 1;

const NAMES: [&str; 2] = ["healthy", "faulty"];
const FILES: [&str; 3] = ["bootstrap.kubeconfig", "kube-proxy.kubeconfig", "token.csv"];
/// Where no last word of the script came, or none was waited for: whether the host was changed cannot be told.
const UNTOLD: [&str; 5] = ["connection_lost", "timed_out", "protocol_garbled", "shell_unusable", "password_expired"];
/// What replacing all of them leaves beside them.
const PREVIOUS: [&str; 3] = [
    ".bootstrap.kubeconfig.kubemint-previous",
    ".kube-proxy.kubeconfig.kubemint-previous",
    ".token.csv.kubemint-previous",
];

/// Two hosts that hold one generation of the credentials, and an inventory that asks for another of every file.
pub struct Trial {
    pub fleet: Fleet,
    settings: String,
}

impl Trial {
    pub fn new() -> Self {
        Self::of(|builder| builder)
    }

    /// The second host is a special one.
    pub fn of(special: impl Fn(Builder) -> Builder) -> Self {
        Self::of_member(Member::new(special(TestHost::builder(NAMES[FAULTY]))))
    }

    /// The second host logs in as an ordinary user and becomes root.
    pub fn by_sudo() -> Self {
        Self::of_member(Member::new(TestHost::builder(NAMES[FAULTY])).by_sudo())
    }

    fn of_member(faulty: Member) -> Self {
        let healthy = Member::new(TestHost::builder(NAMES[HEALTHY]));
        let mut fleet = Fleet::new([healthy, faulty].map(|member| member.roles(&["control-plane", "node"])).into());
        fleet.run(&["apply"]).expect(0);
        let settings = cluster_table("https://172.20.0.114:6443") + "[token]\nuid = \"7\"\n";
        fleet.set_settings(&settings);
        Self { fleet, settings }
    }

    /// More tables for the inventory.
    pub fn set_settings(&mut self, toml: &str) {
        self.fleet.set_settings(&(self.settings.clone() + toml));
    }

    pub fn host(&self) -> &TestHost {
        &self.fleet.hosts[FAULTY]
    }

    pub fn host_mut(&mut self) -> &mut TestHost {
        &mut self.fleet.hosts[FAULTY]
    }

    /// An apply ends with exit 3: the healthy host has everything new; the faulty one has this code, a message and a
    /// hint, every old file byte for byte, and no temporary one. Gives the error.
    #[track_caller]
    pub fn assert_fault(&self, code: &str) -> Value {
        let (old, inodes) = (self.fleet.holding(FAULTY), self.inodes());
        let (exit, report) = self.fleet.json(&["apply"]);
        let error = self.assert_failed(exit, &report, code, &old);
        if host_of(&report, NAMES[FAULTY])["untouched"] == true {
            assert_eq!(self.inodes(), inodes, "what is untouched has the same files, kept versions included");
        }
        error
    }

    /// Which file stands under which name.
    fn inodes(&self) -> Vec<(String, u64)> {
        let inode = |name: String| {
            let path = self.host().path(&self.fleet.file(FAULTY, &name));
            (name, path.symlink_metadata().unwrap().ino())
        };
        self.fleet.names(FAULTY).into_iter().map(inode).collect()
    }

    /// The same of a run that was started before, with what the host held then.
    #[track_caller]
    pub fn assert_failed(&self, exit: i32, report: &Value, code: &str, old: &Holding) -> Value {
        assert_eq!(exit, 3, "{report:#}");
        assert_eq!(hosts_that_are(report, "failed"), [NAMES[FAULTY]], "{report:#}");
        assert_ne!(host_of(report, NAMES[HEALTHY])["status"], "skipped", "{report:#}");
        self.assert_new(HEALTHY);
        let error = &host_of(report, NAMES[FAULTY])["error"];
        assert_eq!(error["code"], code, "{error:#}");
        for words in ["message", "hint"] {
            assert!(error[words].as_str().unwrap().len() > 10, "{words}: {error:#}");
        }
        let kept = self.fleet.env.read(format!("state/runs/{}/report.json", report["run_id"].as_str().unwrap()));
        assert_eq!(serde_json::from_str::<Value>(&kept).unwrap()["hosts"], report["hosts"]);
        self.assert_old(old);
        // It holds what it held: wherever that could be told, it is said.
        let is_untouched = host_of(report, NAMES[FAULTY])["untouched"] == true;
        assert!(is_untouched || UNTOLD.contains(&code), "{report:#}");
        error.clone()
    }

    /// The faulty host holds exactly this.
    #[track_caller]
    pub fn assert_old(&self, old: &Holding) {
        let now = self.fleet.holding(FAULTY);
        assert_eq!(now.keys().collect::<Vec<_>>(), old.keys().collect::<Vec<_>>());
        assert!(now == *old, "a file of the faulty host is not the old one");
    }

    /// What went wrong is mended: the faulty host is known to be behind, and one more apply touches it alone.
    #[track_caller]
    pub fn assert_mended(&self) {
        let (exit, status) = self.fleet.json(&["status", "--exit-code"]);
        assert_eq!((exit, hosts_that_are(&status, "drift")), (6, vec![NAMES[FAULTY]]), "{status:#}");
        let healthy = self.fleet.tree_hash(HEALTHY);
        let (exit, report) = self.fleet.json(&["apply"]);
        assert_eq!((exit, hosts_that_are(&report, "changed")), (0, vec![NAMES[FAULTY]]), "{report:#}");
        assert_eq!(hosts_that_are(&report, "unchanged"), [NAMES[HEALTHY]]);
        assert_eq!(self.fleet.tree_hash(HEALTHY), healthy);
        self.assert_new(FAULTY);
    }

    /// It is no fault at all: one apply brings both hosts everything, the next finds nothing to do.
    #[track_caller]
    pub fn assert_succeeds(&self) {
        let (exit, report) = self.fleet.json(&["apply"]);
        assert_eq!((exit, hosts_that_are(&report, "changed")), (0, NAMES.to_vec()), "{report:#}");
        let (exit, report) = self.fleet.json(&["apply"]);
        assert_eq!((exit, hosts_that_are(&report, "unchanged")), (0, NAMES.to_vec()), "{report:#}");
        [HEALTHY, FAULTY].into_iter().for_each(|index| self.assert_new(index));
    }

    /// The host holds the credentials of today, the ones they replaced beside them, and nothing else.
    #[track_caller]
    pub fn assert_new(&self, index: usize) {
        self.fleet.assert_complete_beside(index, &PREVIOUS);
        assert!(self.fleet.hosts[index].read(&self.fleet.file(index, FILES[0])).contains("172.20.0.114"));
    }
}
