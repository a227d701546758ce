//! Which rights the flags lead to, and what is said where they lead to none. Certificates are real ones that
//! `generate` made; no apiserver is asked.

use super::*;
use crate::cli::{args::Cli, output::Output};
use base64::{Engine, prelude::BASE64_STANDARD};
use clap::Parser;
use std::{ffi::OsString, fs};

const INVENTORY: &str = "
[cluster]
server = \"https://10.0.0.1:6443\"
[[hosts]]
name = \"node1\"
connection = \"local\"
roles = [\"node\"]
root = \"r\"
";

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// A folder with an inventory and what `generate` makes of it.
struct World(tempfile::TempDir);

impl World {
    fn new(inventory: &str) -> Self {
        let world = Self(tempfile::tempdir().unwrap());
        world.write("inventory.toml", inventory);
        world
    }

    fn generated() -> Self {
        let world = Self::new(INVENTORY);
        let words = ["kubemint", "-q", "-i", &world.path("inventory.toml"), "-o", "json", "generate"];
        assert_eq!(format!("{:?}", crate::cli::run(words.map(OsString::from))), "ExitCode(unix_exit_status(0))");
        world
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.0.path().join(name), text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.0.path().join(name)).unwrap()
    }

    /// A kubeconfig with these fields of its one cluster and one user.
    fn kubeconfig(&self, cluster: &str, user: &str) -> String {
        let text = format!(
            "{{apiVersion: v1, kind: Config, current-context: c, contexts: [{{name: c, context: {{cluster: k, user: u}}}}], \
             clusters: [{{name: k, cluster: {{server: 'https://10.0.0.1:6443', {cluster}}}}}], users: [{{name: u, user: \
             {{{user}}}}}]}}"
        );
        self.write("admin.conf", &text);
        self.path("admin.conf")
    }

    fn connect(&self, flags: &[&str]) -> Result<Access, Failure> {
        let words = ["kubemint", "-q", "-i", &self.path("inventory.toml"), "status"];
        let cli = Cli::parse_from(words);
        let output = Output::new(&cli.global);
        let context = Context::new(cli.global, &output)?;
        let inventory = context.inventory()?;
        let snapshot = context.store(&inventory).load()?;
        let flags = Flags::parse_from(["x"].iter().chain(flags));
        // Not the one of whoever runs the tests.
        flags.cluster.connect_with(&context, &inventory, &snapshot, None)
    }

    fn note(&self, flags: &[&str]) -> String {
        self.connect(flags).map_err(|failure| failure.message).unwrap().note
    }

    fn refusal(&self, flags: &[&str]) -> Failure {
        let failure = self.connect(flags).err().unwrap();
        assert_eq!((failure.exit.number(), failure.hint.is_some()), (2, true), "{failure:?}");
        assert!(!format!("{failure:?}").contains("canary"), "{failure:?}");
        failure
    }
}

#[test]
fn without_a_kubeconfig_the_ca_key_is_enough() {
    let world = World::generated();
    let group = "with a certificate of our own, CN=kubemint O=system:masters, valid 15 minutes, kept in memory";
    assert_eq!(world.note(&[]), group);
    assert!(world.note(&["--admin-group", "kubeadm:cluster-admins"]).contains(" O=kubeadm:cluster-admins,"));
    let before = fs::read_dir(world.0.path().join("kubemint-state/certs")).unwrap().count();
    let access = world.connect(&[]).unwrap();
    access.clusters.at(&"https://10.0.0.1:6443".parse().unwrap()).unwrap();
    assert_eq!(fs::read_dir(world.0.path().join("kubemint-state/certs")).unwrap().count(), before, "it is in no file");
    assert_eq!(world.refusal(&["--admin-group", &"g".repeat(65)]).code, "api_access");
    assert!(world.refusal(&["--context", "c"]).message.contains("--context"));
}

#[test]
fn without_rights_nothing_is_begun() {
    assert!(World::new(INVENTORY).refusal(&[]).message.contains("nothing is generated yet"));
    let world = World::generated();
    let external = format!("{INVENTORY}[ca]\ncert = \"kubemint-state/ca.pem\"\n");
    world.write("inventory.toml", &external);
    let output = Output::before_flags(crate::cli::args::Format::Text);
    let cli = Cli::parse_from(["kubemint", "-i", &world.path("inventory.toml"), "status"]);
    let context = Context::new(cli.global, &output).unwrap();
    let inventory = context.inventory().unwrap();
    let failure = no_rights(&inventory, None);
    assert!(failure.message.contains("the CA's key is elsewhere"), "{failure:?}");
    assert_eq!((failure.code, failure.exit.number()), ("api_access", 2));
}

#[test]
fn a_kubeconfig_says_who_one_is() {
    let world = World::generated();
    let state = |name: &str| world.read(&format!("kubemint-state/{name}"));
    let data = |name: &str| BASE64_STANDARD.encode(state(name));
    let pair = format!(
        "client-certificate-data: {}, client-key-data: {}",
        data("certs/kube-proxy.pem"),
        data("certs/kube-proxy-key.pem")
    );
    let file = world.kubeconfig("", &pair);
    let note = world.note(&["--kubeconfig", &file]);
    assert_eq!(note, format!("as O=system:node-proxier, CN=system:kube-proxy, from {file}"));
    // Paths are relative to the kubeconfig.
    let paths =
        "client-certificate: kubemint-state/certs/kube-proxy.pem, client-key: kubemint-state/certs/kube-proxy-key.pem";
    let file = world.kubeconfig("certificate-authority: kubemint-state/ca.pem", paths);
    assert!(world.note(&["--kubeconfig", &file, "--context", "c"]).contains("CN=system:kube-proxy"));
    world.write("token", "canary-token\n");
    let file = world.kubeconfig("", "tokenFile: token");
    assert_eq!(world.note(&["--kubeconfig", &file]), format!("as the holder of a bearer token, from {file}"));
}

#[test]
fn a_kubeconfig_that_leads_nowhere_is_refused_with_its_name() {
    let world = World::generated();
    for (cluster, user, says) in [
        ("", "exec: {command: kubelogin}", "kubelogin"),
        ("", "tokenFile: no-such-file", "no-such-file"),
        ("", "client-certificate: gone.pem, client-key: gone-key.pem", "gone.pem"),
        ("certificate-authority: gone-ca.pem", "token: canary", "gone-ca.pem"),
        ("certificate-authority-data: Y2FuYXJ5", "token: canary", "is no certificate"),
    ] {
        let file = world.kubeconfig(cluster, user);
        let failure = world.refusal(&["--kubeconfig", &file]);
        assert!(failure.message.contains(says), "{failure:?}");
    }
    let file = world.kubeconfig("", "token: canary");
    assert!(world.refusal(&["--kubeconfig", &file, "--context", "other"]).message.contains("\"other\""));
    assert!(world.refusal(&["--kubeconfig", &world.path("none.conf")]).message.contains("none.conf"));
    world.write("bad.conf", "canary: [");
    world.refusal(&["--kubeconfig", &world.path("bad.conf")]);
    // Without a CA anywhere nothing could be verified.
    let bare = World::new(INVENTORY);
    let file = bare.kubeconfig("insecure-skip-tls-verify: true", "token: canary");
    assert!(bare.refusal(&["--kubeconfig", &file]).message.contains("certificate-authority"));
}

#[test]
fn the_name_in_the_certificate_is_that_of_the_kubeconfigs_own_server() {
    let world = World::generated();
    let file = world.kubeconfig("tls-server-name: kubernetes", "token: canary");
    let config = Kubeconfig::from_secret(&world.read("admin.conf").into()).unwrap();
    let source = FromKubeconfig { access: config.access(None).unwrap(), folder: PathBuf::from(&file) };
    let (server, name) = source.server_name().unwrap();
    assert_eq!((server.as_str(), name.as_str()), ("https://10.0.0.1:6443", "kubernetes"));
}

#[test]
fn a_token_file_is_read_again_and_a_token_is_not() {
    let world = World::generated();
    world.write("token", "canary-token\n");
    world.kubeconfig("", "tokenFile: token");
    let config = Kubeconfig::from_secret(&world.read("admin.conf").into()).unwrap();
    let folder = world.0.path().to_owned();
    let source = FromKubeconfig { access: config.access(None).unwrap(), folder };
    let now = Timestamp::now();
    assert_eq!(source.credential(now).unwrap().expires, Some(now + TOKEN_FILE_SERVES));
    fs::remove_file(world.0.path().join("token")).unwrap();
    assert!(matches!(source.credential(now), Err(cluster::Error::Access { .. })));
}
