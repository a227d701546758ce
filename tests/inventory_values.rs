//! What a valid inventory comes to: defaults, overrides, ranges, the example.

#![allow(clippy::unwrap_used, reason = "clippy.toml allows it in test functions only, not in what they call")]

use kubemint::inventory::{
    CaSource, Connection, EXAMPLE, Host, Inventory, LeftToConfig, Location, Privilege, Role, SshTarget, parse_inventory,
};
use kubemint::pki::Algorithm;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

const CLUSTER: &str = "[cluster]\nserver = \"https://172.20.0.113:6443\"\n";

fn location() -> Location {
    Location { path: "inventory.toml".into(), folder: "/srv/infra".into(), home: Some("/home/ops".into()) }
}

fn parse(text: &str) -> Inventory {
    parse_inventory(text, &location()).unwrap_or_else(|e| panic!("{e}"))
}

fn with_hosts(hosts: &str) -> Inventory {
    parse(&format!("{CLUSTER}{hosts}"))
}

fn ssh(host: &Host) -> &SshTarget {
    match &host.connection {
        Connection::Ssh(target) => target,
        Connection::Local { .. } => panic!("{} is local", host.name),
    }
}

fn root(host: &Host) -> &Path {
    match &host.connection {
        Connection::Local { root } => root,
        Connection::Ssh(_) => panic!("{} is reached over ssh", host.name),
    }
}

#[test]
fn the_least_inventory_has_the_documented_defaults() {
    let inventory = with_hosts("[[hosts]]\nname = \"node-1\"\n");
    assert_eq!(inventory.path, PathBuf::from("inventory.toml"));
    assert_eq!(inventory.state_dir, PathBuf::from("/srv/infra/kubemint-state"));
    assert_eq!(inventory.cluster.name, "kubernetes");
    let day = Duration::from_secs(86_400);
    let ca = CaSource::New { algorithm: Algorithm::EcdsaP256, validity: day * 3650, common_name: "kubernetes".into() };
    assert_eq!(inventory.ca, ca);
    assert_eq!((inventory.token.user.as_str(), inventory.token.uid.as_str()), ("kubelet-bootstrap", "10001"));
    assert_eq!(inventory.token.groups, ["system:kubelet-bootstrap"]);
    assert_eq!(inventory.kube_proxy.algorithm, Algorithm::EcdsaP256);
    assert_eq!(inventory.kube_proxy.validity, day * 365);
    assert_eq!(inventory.kube_proxy.organization, "system:node-proxier");
    assert_eq!(inventory.concurrency, 64);
    assert_eq!(inventory.services, Default::default());
    let host = &inventory.hosts[0];
    assert_eq!((host.name.as_str(), host.directory.as_str()), ("node-1", "/etc/kubernetes"));
    assert_eq!(host.roles.iter().collect::<Vec<_>>(), [Role::Node]);
    assert_eq!(host.server.as_str(), "https://172.20.0.113:6443");
    assert!(!host.install_ca && !host.token_csv_on_nodes && host.labels.is_empty());
    assert_eq!(host.privilege, Privilege::AsLoggedIn);
    let target = ssh(host);
    assert_eq!((target.address.as_str(), target.port, target.settings.user.as_str()), ("node-1", 22, "root"));
    assert_eq!(target.settings.known_hosts, [PathBuf::from("/home/ops/.ssh/known_hosts")]);
    assert!(target.settings.identity_files.is_empty() && target.settings.jump.is_empty());
}

const EVERYTHING: &str = r#"
state_dir = "~/state"
[cluster]
name = "prod"
server = "https://[fd00::1]:8443/prefix/"
[ca]
algorithm = "rsa-4096"
validity = "100d"
common_name = "prod-ca"
[token]
user = "boot"
uid = "7"
groups = ["a", "b c"]
[certificates.kube-proxy]
algorithm = "ed25519"
validity = "12h"
organization = "k8s"
[ssh]
user = "ops"
port = 2200
identity_files = ["~/.ssh/a", "keys/b"]
known_hosts = ["kh"]
jump = "bastion"
become = "sudo"
[distribute]
directory = "/opt/k8s/"
concurrency = 7
token_csv_on_nodes = true
install_ca = true
[services]
kube-apiserver = "rc-service kube-apiserver restart"
kubelet = "svc kubelet"
kube-proxy = "svc kube-proxy"
[[hosts]]
name = "a"
[[hosts]]
name = "b"
address = "10.0.0.2"
port = 22
user = "root"
roles = ["master", "node"]
labels = { rack = "r1", empty = "" }
connection = "ssh"
server = "https://127.0.0.1:6443"
apiserver = "https://10.0.0.2:7443"
directory = "/etc/b"
install_ca = false
token_csv_on_nodes = false
become = "none"
identity_files = []
known_hosts = ["/etc/ssh/kh"]
jump = []
[[hosts]]
name = "c"
connection = "local"
root = "demo/c"
become = "sudo"
[[hosts]]
name = "d"
roles = ["control-plane"]
address = "FD00:0:0::5"
"#;

#[test]
fn every_key_reaches_its_value() {
    let inventory = parse(EVERYTHING);
    assert_eq!(inventory.state_dir, PathBuf::from("/home/ops/state"));
    assert_eq!(inventory.cluster.name, "prod");
    assert_eq!(inventory.cluster.server.as_str(), "https://[fd00::1]:8443/prefix");
    let hour = Duration::from_secs(3600);
    let ca = CaSource::New { algorithm: Algorithm::Rsa4096, validity: hour * 2400, common_name: "prod-ca".into() };
    assert_eq!(inventory.ca, ca);
    assert_eq!((inventory.token.user.as_str(), inventory.token.uid.as_str()), ("boot", "7"));
    assert_eq!(inventory.token.groups, ["a", "b c"]);
    assert_eq!(inventory.kube_proxy.algorithm, Algorithm::Ed25519);
    assert_eq!(inventory.kube_proxy.validity, hour * 12);
    assert_eq!(inventory.kube_proxy.organization, "k8s");
    assert_eq!(inventory.concurrency, 7);
    let services = inventory.services;
    assert_eq!(services.kube_apiserver.as_deref(), Some("rc-service kube-apiserver restart"));
    assert_eq!(services.kubelet.as_deref(), Some("svc kubelet"));
    assert_eq!(services.kube_proxy.as_deref(), Some("svc kube-proxy"));

    let [a, b, c, d] = &inventory.hosts[..] else { panic!("four hosts") };
    assert_eq!((ssh(a).port, a.privilege, a.directory.as_str()), (2200, Privilege::Sudo, "/opt/k8s"));
    assert!(a.install_ca && a.token_csv_on_nodes);
    assert_eq!(ssh(a).settings.user, "ops");
    assert_eq!(ssh(a).settings.identity_files, [PathBuf::from("/home/ops/.ssh/a"), "/srv/infra/keys/b".into()]);
    assert_eq!(ssh(a).settings.known_hosts, [PathBuf::from("/srv/infra/kh")]);
    assert_eq!(ssh(a).settings.jump, ["bastion".parse().unwrap()]);
    assert_eq!(a.server, inventory.cluster.server);

    assert_eq!((ssh(b).address.as_str(), ssh(b).port, b.privilege), ("10.0.0.2", 22, Privilege::AsLoggedIn));
    assert_eq!(b.roles.iter().collect::<Vec<_>>(), [Role::ControlPlane, Role::Node]);
    assert_eq!(
        b.labels.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect::<Vec<_>>(),
        [("empty", ""), ("rack", "r1")]
    );
    assert_eq!((b.server.as_str(), b.apiserver.as_str()), ("https://127.0.0.1:6443", "https://10.0.0.2:7443"));
    assert_eq!(b.directory, "/etc/b");
    assert!(!b.install_ca && !b.token_csv_on_nodes);
    assert_eq!(ssh(b).settings.user, "root");
    assert_eq!(ssh(b).settings.known_hosts, [PathBuf::from("/etc/ssh/kh")]);
    assert!(ssh(b).settings.identity_files.is_empty() && ssh(b).settings.jump.is_empty());

    assert_eq!((root(c), c.privilege), (Path::new("/srv/infra/demo/c"), Privilege::Sudo));
    assert_eq!(ssh(d).address, "fd00::5");
    assert_eq!(d.apiserver.as_str(), "https://[fd00::5]:8443");
}

#[test]
fn become_of_the_ssh_table_does_not_reach_local_hosts() {
    let inventory = with_hosts("[ssh]\nbecome = \"sudo\"\n[[hosts]]\nname = \"me\"\nconnection = \"local\"\n");
    assert_eq!(inventory.hosts[0].privilege, Privilege::AsLoggedIn);
    assert_eq!(root(&inventory.hosts[0]), Path::new("/"));
}

#[test]
fn the_ca_is_new_imported_or_external() {
    let ca = |table: &str| parse(&format!("{CLUSTER}{table}\n[[hosts]]\nname = \"a\"\n")).ca;
    let (cert, key) = (PathBuf::from("/srv/infra/ca.pem"), PathBuf::from("/etc/ca.key"));
    let both = ca("[ca]\ncert = \"ca.pem\"\nkey = \"/etc/ca.key\"");
    assert_eq!(both, CaSource::Imported { cert: cert.clone(), key });
    assert_eq!(ca("[ca]\ncert = \"ca.pem\""), CaSource::External { cert });
    assert!(matches!(ca("[ca]"), CaSource::New { .. }));
}

#[test]
fn name_address_and_apiserver_count_together() {
    let inventory = with_hosts(
        "[[hosts]]\nname = \"m[08-10]\"\naddress = \"10.0.0.[1-3]\"\nroles = [\"master\"]\napiserver = \"https://[fd00::[1-3]]:6443\"\n",
    );
    let seen: Vec<_> = inventory
        .hosts
        .iter()
        .map(|host| (host.name.as_str(), ssh(host).address.as_str(), host.apiserver.as_str()))
        .collect();
    assert_eq!(
        seen,
        [
            ("m08", "10.0.0.1", "https://[fd00::1]:6443"),
            ("m09", "10.0.0.2", "https://[fd00::2]:6443"),
            ("m10", "10.0.0.3", "https://[fd00::3]:6443"),
        ]
    );
}

#[test]
fn a_range_serves_ipv6_and_two_ranges_count_like_an_odometer() {
    let inventory = with_hosts("[[hosts]]\nname = \"r[1-2]n[1,3]\"\naddress = \"fd00::[1-2]:[5-6]\"\n");
    let seen: Vec<_> = inventory.hosts.iter().map(|host| (host.name.as_str(), ssh(host).address.as_str())).collect();
    assert_eq!(seen, [("r1n1", "fd00::1:5"), ("r1n3", "fd00::1:6"), ("r2n1", "fd00::2:5"), ("r2n3", "fd00::2:6")]);
}

#[test]
fn the_same_address_behind_another_jump_host_port_or_directory_is_another_place() {
    for difference in ["port = 2222", "jump = \"other\"", "directory = \"/opt/k\""] {
        let hosts = format!(
            "[[hosts]]\nname = \"a\"\naddress = \"10.0.0.1\"\n[[hosts]]\nname = \"b\"\naddress = \"10.0.0.1\"\n{difference}\n"
        );
        assert_eq!(with_hosts(&hosts).hosts.len(), 2, "{difference}");
    }
}

#[test]
fn with_use_config_is_known_what_the_inventory_itself_says() {
    let left = |table: &str, host: &str| {
        let text = format!("{CLUSTER}[ssh]\n{table}\n[[hosts]]\nname = \"a\"\n{host}\n");
        let inventory = parse_inventory(&text, &location()).unwrap();
        ssh(&inventory.hosts[0]).settings.left_to_config
    };
    let all =
        LeftToConfig { user: true, port: true, identity_files: true, known_hosts: true, jump: true, jump_user: true };
    assert_eq!((left("", ""), left("use_config = true", "use_config = false")), (None, None));
    for (table, host) in [("use_config = true", ""), ("", "use_config = true")] {
        assert_eq!(left(table, host), Some(all));
    }
    for (line, said) in [
        ("user = \"ops\"", LeftToConfig { user: false, ..all }),
        ("port = 22", LeftToConfig { port: false, ..all }),
        ("identity_files = []", LeftToConfig { identity_files: false, ..all }),
        ("known_hosts = [\"kh\"]", LeftToConfig { known_hosts: false, ..all }),
        ("jump = []", LeftToConfig { jump: false, ..all }),
    ] {
        assert_eq!(left("use_config = true", line), Some(said), "{line}");
        // Jump hosts are logged in to as the user of [ssh], not as the host's own.
        let said = LeftToConfig { jump_user: said.user, ..said };
        assert_eq!(left(&format!("use_config = true\n{line}"), ""), Some(said), "{line}");
    }
}

#[test]
fn a_jump_host_that_names_no_user_gets_the_one_of_the_ssh_table() {
    let text = format!("{CLUSTER}[ssh]\nuser = \"ops\"\njump = \"b\"\n[[hosts]]\nname = \"a\"\nuser = \"root\"\n");
    let inventory = parse_inventory(&text, &location()).unwrap();
    let settings = &ssh(&inventory.hosts[0]).settings;
    assert_eq!((settings.user.as_str(), settings.jump_user.as_str()), ("root", "ops"));
}

#[test]
fn without_a_home_known_hosts_must_be_named_only_where_ssh_is_used() {
    let homeless = Location { home: None, ..location() };
    let local = format!("{CLUSTER}[[hosts]]\nname = \"a\"\nconnection = \"local\"\n");
    assert!(parse_inventory(&local, &homeless).is_ok());
    let named = format!("{CLUSTER}[ssh]\nknown_hosts = [\"kh\"]\n[[hosts]]\nname = \"a\"\n");
    assert!(parse_inventory(&named, &homeless).is_ok());
    let found =
        parse_inventory(&format!("{CLUSTER}[[hosts]]\nname = \"[1-9]a\"\n[[hosts]]\nname = \"b\"\n"), &homeless);
    let found = found.unwrap_err();
    assert_eq!(found.count(), 1, "{found}");
    assert!(found.to_string().ends_with("set known_hosts in [ssh]"), "{found}");
}

#[test]
fn the_example_works_as_it_stands_even_without_a_home() {
    let inventory = parse_inventory(EXAMPLE, &Location { home: None, ..location() }).unwrap();
    let seen: Vec<_> = inventory
        .hosts
        .iter()
        .map(|host| {
            (host.name.as_str(), root(host).to_str().unwrap(), host.roles.iter().map(Role::name).collect::<Vec<_>>())
        })
        .collect();
    assert_eq!(
        seen,
        [
            ("cp-1", "/srv/infra/demo/cp-1", vec!["control-plane", "node"]),
            ("node-1", "/srv/infra/demo/node-1", vec!["node"]),
            ("node-2", "/srv/infra/demo/node-2", vec!["node"]),
        ]
    );
    assert_eq!(inventory.hosts[0].apiserver.as_str(), "https://127.0.0.1:6443");
    assert_eq!(inventory.state_dir, PathBuf::from("/srv/infra/kubemint-state"));
}

#[test]
fn ten_thousand_blocks_share_their_settings() {
    let blocks: String = (0..10_000)
        .map(|i| {
            format!(
                "[[hosts]]\nname = \"node-{i}\"\naddress = \"10.1.{}.{}\"\nuser = \"u{}\"\n",
                i / 250,
                i % 250 + 1,
                i % 2
            )
        })
        .collect();
    let inventory = with_hosts(&blocks);
    assert_eq!(inventory.hosts.len(), 10_000);
    assert!(Arc::ptr_eq(&ssh(&inventory.hosts[0]).settings, &ssh(&inventory.hosts[9_998]).settings));
    assert!(!Arc::ptr_eq(&ssh(&inventory.hosts[0]).settings, &ssh(&inventory.hosts[1]).settings));
}

#[test]
fn a_hundred_thousand_hosts_fit_and_one_more_does_not() {
    let most = "[[hosts]]\nname = \"node-[00001-100000]\"\n";
    let inventory = with_hosts(most);
    assert_eq!(inventory.hosts.len(), 100_000);
    assert_eq!(inventory.hosts[99_999].name.as_str(), "node-100000");
    let found = parse_inventory(&format!("{CLUSTER}{most}[[hosts]]\nname = \"last\"\n"), &location()).unwrap_err();
    assert_eq!(found.count(), 1);
    assert!(found.to_string().contains("more than 100000 hosts"), "{found}");
}

#[test]
fn names_of_ones_own_and_those_that_bootstrapping_needs_are_taken() {
    let tables = "[token]\nuser = \"systemd\"\n\
        groups = [\"system:kubelet-bootstrap\", \"system:bootstrappers\", \"system:bootstrappers:eu\", \"dev\"]\n\
        [certificates.kube-proxy]\norganization = \"system:node-proxier\"\n";
    let inventory = with_hosts(&format!("{tables}[[hosts]]\nname = \"a\"\n"));
    assert_eq!((inventory.token.user.as_str(), inventory.token.groups.len()), ("systemd", 4));
}
