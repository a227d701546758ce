//! What the rebootstrap's tests ask of a node: what its kubelet has, what was set aside, who asks in its name.
#![allow(dead_code, reason = "each test crate uses its own part")]

use crate::support::{ControlPlane, Ran, TestHost};
use serde_json::Value;

pub const PKI: &str = "/var/lib/kubelet/pki";
pub const KUBERNETES: &str = "/etc/kubernetes";
pub const CURRENT: &str = "/var/lib/kubelet/pki/kubelet-client-current.pem";
pub const SIGNER: &str = "kubernetes.io/kube-apiserver-client-kubelet";
pub const USAGES: [&str; 2] = ["digital signature", "client auth"];

pub fn one_node() -> ControlPlane {
    ControlPlane::builder().control_planes(1).nodes(1).start()
}

/// With the question answered, `-o json`.
pub fn rebootstrap(cluster: &ControlPlane, arguments: &[&str]) -> (i32, Value) {
    cluster.fleet.json(&[&["rebootstrap", "--yes"], arguments].concat())
}

pub fn rebootstrap_in_words(cluster: &ControlPlane, arguments: &[&str]) -> Ran {
    cluster.run(&[&["rebootstrap", "--yes"], arguments].concat())
}

/// Everything of a kubelet's own: names, kinds, modes, owners, targets, times and content of its files.
pub fn belongings(host: &TestHost) -> String {
    look(host, "%p %y %m %U:%G %T@ %l")
}

/// The same without times: a kubelet that starts in between writes the same kubeconfig again.
pub fn contents(host: &TestHost) -> String {
    look(host, "%p %y %m %U:%G %l")
}

fn look(host: &TestHost, format: &str) -> String {
    let pruned = "find . \\( -name '*.replaced' -o -name '*.kept' \\) -prune -o";
    let script = format!(
        "for dir in {KUBERNETES} {PKI}; do cd $dir; {pruned} \\( -type f -o -type l \\) -printf '{format}\\n' | LC_ALL=C sort; \
         {pruned} -type f -exec sha256sum {{}} + | LC_ALL=C sort -k 2; {pruned} -type d -print | LC_ALL=C sort; done"
    );
    said(host, &script)
}

pub fn said(host: &TestHost, script: &str) -> String {
    let output = host.run(script);
    assert!(output.status.success(), "{script}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The serial of the certificate that the kubelet works with, by openssl.
pub fn serial(host: &TestHost) -> String {
    serial_of(host, CURRENT)
}

pub fn serial_of(host: &TestHost, path: &str) -> String {
    said(host, &format!("openssl x509 -noout -serial -in {path}")).trim().to_owned()
}

/// What is set aside there: mode and path.
pub fn backups(host: &TestHost) -> Vec<String> {
    let found = said(
        host,
        &format!("find {KUBERNETES} {PKI} -name '.kubemint-rebootstrap-*' -printf '%m %p\\n' | LC_ALL=C sort"),
    );
    found.lines().map(str::to_owned).collect()
}

/// A service command that restarts the kubelet and does `script` once, as soon as it has a certificate.
pub fn arm(cluster: &mut ControlPlane, script: &str) {
    cluster.host("node-1").must("touch /run/armed");
    cluster.set_services(&format!(
        "kubelet = '''systemctl restart kubelet; \
         (until [ -e {CURRENT} ]; do sleep 0.01; done; rm /run/armed && {{ {script}; }}) >/dev/null 2>&1 &'''\n"
    ));
}

/// Takes openssl from kubemint, but not from the kubelet.
pub fn hide_openssl(cluster: &mut ControlPlane) {
    cluster.host("node-1").must("mkdir -p /mnt/tools && mv /usr/bin/openssl /mnt/tools/");
    cluster.set_services("kubelet = \"PATH=$PATH:/mnt/tools systemctl restart kubelet\"\n");
}

/// A request for a node's first certificate with a key of somebody else, PKCS #10.
pub fn request_of_a_thief(cluster: &ControlPlane, node: &str) -> Vec<u8> {
    let script = format!(
        "openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout thief-key.pem -subj \
         /O=system:nodes/CN=system:node:{node}"
    );
    let mut command = std::process::Command::new("sh");
    let output = command.args(["-c", &script]).current_dir(cluster.env().dir()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    output.stdout
}

/// Somebody who holds the token asks in the node's name.
pub fn steal(cluster: &ControlPlane, name: &str) {
    let (token, csr) = (cluster.token_on("node-1"), request_of_a_thief(cluster, "node-1"));
    let (status, answer) = cluster.post_csr(&token, name, SIGNER, &USAGES, &csr);
    assert_eq!(status, 201, "{answer}");
}
