//! Packet filter rules for one test host's own address, in a table of the test's own that goes with the value.

use super::require;
use std::{
    io::Write,
    process::{Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

/// Rules in force.
pub struct Firewall {
    table: String,
}

impl Firewall {
    /// Applies `verdict` (nft's words) to whatever goes to this address and port; `None` where the kernel has no nftables.
    pub fn start(address: &str, port: u16, verdict: &str) -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let table = format!("kubemint_test_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        if !nft("list tables") {
            return None;
        }
        let chain = "type filter hook input priority 0;";
        let rule = format!("ip daddr {address} tcp dport {port} {verdict};");
        assert!(nft(&format!("table ip {table} {{ chain input {{ {chain} {rule} }}; }}")), "{verdict}");
        Some(Self { table })
    }
}

impl Drop for Firewall {
    fn drop(&mut self) {
        nft(&format!("delete table ip {}", self.table));
    }
}

fn nft(rules: &str) -> bool {
    let mut nft = Command::new(require("nft")).args(["-f", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    nft.stdin.take().unwrap().write_all(rules.as_bytes()).unwrap();
    nft.wait().unwrap().success()
}
