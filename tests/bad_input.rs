//! Bad input, one row each: the exit code, a message that names the place and the cure, and nothing changed anywhere:
//! no state directory made, no lock file, no time stamp. Nothing secret of the input is said again.

#![allow(clippy::unwrap_used, reason = "clippy.toml allows it in test functions only, not in what they call")]

mod support;

use kubemint::{
    entropy::OsEntropy,
    pki::{self, Algorithm, Authority, ClientSettings, NewAuthority},
    secret::ExposeSecret,
};
use std::{os::unix::fs::symlink, process::Command, time::Duration};
use support::{LOCAL_HOSTS, TestEnv, require};

/// Stands in every input that may hold a token.
const CANARY: &str = "9b41f7d03c5e28a6d1f0947c3be85a62";
/// Line 1 to 3; what is tested begins on line 4.
const GOOD: &str = "[cluster]\nserver = \"https://172.20.0.113:6443\"\n\n";
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

struct Row {
    what: &'static str,
    files: Vec<(&'static str, Vec<u8>)>,
    line: &'static str,
    code: i32,
    place: &'static str,
    cure: &'static str,
}

type Named = (&'static str, Vec<u8>);

fn row(what: &'static str, files: Vec<Named>, line: &'static str, place: &'static str, cure: &'static str) -> Row {
    Row { what, files, line, code: 2, place, cure }
}

/// `block` after the good cluster, as inventory.toml; `apply --yes` on it.
fn inventory(what: &'static str, block: impl Into<Vec<u8>>, place: &'static str, cure: &'static str) -> Row {
    let text = [GOOD.as_bytes(), &block.into()].concat();
    row(what, vec![("inventory.toml", text)], "apply --yes", place, cure)
}

fn csv(what: &'static str, text: impl Into<Vec<u8>>, place: &'static str, cure: &'static str) -> Row {
    row(what, vec![("token.csv", text.into())], "token lint token.csv", place, cure)
}

fn config(what: &'static str, text: impl Into<Vec<u8>>, place: &'static str, cure: &'static str) -> Row {
    row(what, vec![("admin.conf", text.into())], "kubeconfig inspect admin.conf", place, cure)
}

fn usage(line: &'static str, place: &'static str, cure: &'static str) -> Row {
    row(line, vec![("inventory.toml", LOCAL_HOSTS.into())], line, place, cure)
}

#[rustfmt::skip]
fn inventories() -> Vec<Row> {
    let host = |more: &str| format!("[[hosts]]\nname = \"a\"\n{more}");
    vec![
        inventory("duplicate key", "[token]\nuser = \"a\"\nuser = \"b\"", "inventory.toml:6:1", "duplicate key"),
        inventory("duplicate table", "[token]\n[token]", "inventory.toml:5:2", "duplicate key"),
        inventory("unknown key", host("adress = \"10.0.0.1\""), "inventory.toml:6:1", "did you mean \"address\"?"),
        inventory("unknown table", "[shh]\nuser = \"x\"", "inventory.toml:4:2", "did you mean \"ssh\"?"),
        inventory("NUL", host("# \0"), "inventory.toml:6:3", "not TOML"),
        inventory("not UTF-8", b"[[hosts]]\nname = \"\xff\"".to_vec(), "inventory.toml", "not UTF-8 text (byte 66)"),
        inventory("port 0", host("port = 0"), "inventory.toml:6:8", "from 1 to 65535"),
        inventory("port 65536", host("port = 65536"), "inventory.toml:6:8", "from 1 to 65535"),
        inventory("IPv6 zone", host("address = \"fe80::1%eth0\""), "inventory.toml:6:11", "zones"),
        inventory("a million hosts", "[[hosts]]\nname = \"n[1-1000000]\"", "inventory.toml:5:8", "split it into"),
        inventory("ranges of different length", "[[hosts]]\nname = \"n[1-3]\"\naddress = \"10.0.0.[1-4]\"", "inventory.toml:6:11", "same"),
        inventory("an option as a name", "[[hosts]]\nname = \"-oProxyCommand=x\"", "inventory.toml:5:8", "bad host name"),
        inventory("an option as an address", host("address = \"-oProxyCommand=x\""), "inventory.toml:6:11", "option"),
        inventory("shell syntax as a name", "[[hosts]]\nname = \"$(x)\"", "inventory.toml:5:8", "'$' is not allowed"),
        inventory("shell syntax as an address", host("address = \"`x`\""), "inventory.toml:6:11", "not allowed"),
        inventory("a newline in a name", "[[hosts]]\nname = \"a\\nb\"", "inventory.toml:5:8", "line break"),
        inventory("a newline in an address", host("address = \"a\\nb\""), "inventory.toml:6:11", "line break"),
        inventory("a name twice", "[[hosts]]\nname = \"a\"\n[[hosts]]\nname = \"a\"", "inventory.toml:7:8", "line 5"),
        inventory("no hosts", "", "inventory.toml:", "[[hosts]]"),
        inventory("an unquoted value", "[[hosts]]\nname = node-1", "inventory.toml:5:8", "in double quotes"),
        inventory("a group with a comma", "[token]\ngroups = [\"a,b\"]", "inventory.toml:5:11", "comma"),
        inventory("masters as the token's group", "[token]\ngroups = [\"system:masters\"]", "inventory.toml:5:11", "system:bootstrappers"),
        inventory("an unknown algorithm", "[certificates.kube-proxy]\nalgorithm = \"rsa-1024\"", "inventory.toml:5:13", "known are ecdsa-p256"),
        inventory("a validity of months", "[certificates.kube-proxy]\nvalidity = \"12 months\"", "inventory.toml:5:12", "\"365d\""),
        inventory("a key without its certificate", "[ca]\nkey = \"k.pem\"", "inventory.toml:5:7", "add cert"),
        row("no server", vec![("inventory.toml", "[[hosts]]\nname = \"a\"".into())], "generate", "inventory.toml:", "server = "),
        row("a plain-text server", vec![("inventory.toml", "[cluster]\nserver = \"http://a:8080\"\n[[hosts]]\nname = \"a\"".into())], "plan", "inventory.toml:2:10", "https://"),
        row("an empty inventory", vec![("inventory.toml", Vec::new())], "status", "inventory.toml:1:1", "[cluster]"),
        row("an inventory of 17 MB", vec![("inventory.toml", vec![b'#'; 17 << 20])], "plan", "inventory.toml", "larger than 16 MiB"),
        row("no inventory", Vec::new(), "apply", "inventory.toml", "kubemint init"),
        row("an inventory that is a directory", vec![("conf/x", Vec::new())], "-i conf plan", "conf", "names the file you mean"),
        row("two mistakes are said at once", vec![("inventory.toml", format!("{GOOD}[[hosts]]\nname = \"A\"\nport = 0\n").into())], "verify", "inventory.toml:5:8", "inventory.toml:6:8"),
        Row { code: 2, ..row("init over a file", vec![("inventory.toml", "mine".into())], "init", "inventory.toml", "another name") },
    ]
}

#[rustfmt::skip]
fn token_files() -> Vec<Row> {
    let merge = |what, text: String, place, cure| Row { line: "token merge token.csv", ..csv(what, text, place, cure) };
    let misleading = |row: Row| Row { code: 6, ..row };
    let well = |row: Row| Row { code: 0, ..row };
    let good = LOCAL_HOSTS.as_bytes().to_vec();
    let mut rows = vec![
        misleading(csv("BOM", format!("\u{feff}{CANARY},u,1\n"), "token.csv:1:1", "without a byte order mark")),
        well(csv("CRLF", format!("{CANARY},u,1,\"g\"\r\n"), "token.csv:1", "dos2unix")),
        csv("a bare quote", format!("{CANARY},u\"x,1\n"), "token.csv:1:", "quote the whole field"),
        csv("an open quote", format!("{CANARY},\"u,1\n"), "token.csv:", "close the quote"),
        misleading(csv("unquoted groups", format!("{CANARY},u,1,g1,g2\n"), "token.csv:1", "one pair of double quotes")),
        misleading(csv("a space in the groups", format!("{CANARY},u,1,\"g1, g2\"\n"), "token.csv:1", "space")),
        misleading(csv("an empty token", format!("{CANARY},v,2\n,u,1\n"), "token.csv:2", "skips")),
        misleading(csv("a token twice", format!("{CANARY},u,1\n{CANARY},v,2\n"), "token.csv:2", "give every row its own token")),
        misleading(csv("an unexpanded variable", "${BOOTSTRAP_TOKEN},kubelet-bootstrap,10001,\"system:kubelet-bootstrap\"\n", "token.csv:1", "kubemint generate")),
        csv("two columns", format!("{CANARY},u\n"), "token.csv:1: fatal", "token,user,uid"),
        csv("a comment", format!("# tokens\n{CANARY},u,1\n"), "token.csv:1: fatal", "no comments"),
        misleading(csv("not UTF-8", b"\xff\xfe,u,1\n".to_vec(), "token.csv:1:1", "save the file as UTF-8")),
        row("no token file", Vec::new(), "token lint missing.csv", "missing.csv", "check the path"),
        row("a directory as token file", vec![("d/x", Vec::new())], "token lint d", "d: it is a directory", "check that the path"),
        row("a token file of 5 MB", vec![("token.csv", vec![b'x'; 5 << 20])], "token lint token.csv", "token.csv", "check that the path"),
        merge("merging two columns", format!("{CANARY},u\n"), "token.csv:1:1", "token,user,uid"),
        merge("merging unquoted groups", format!("{CANARY},u,1,g1,g2\n"), "token.csv:1: ", "one pair of double quotes"),
        merge("merging a token twice", format!("{CANARY},u,1\n{CANARY},v,2\n"), "token.csv:2: ", "give every row its own token"),
        merge("merging an unexpanded variable", "${BOOTSTRAP_TOKEN},u,1\n".into(), "token.csv:1: ", "kubemint generate"),
        merge("merging a token of another user that is empty", format!("{CANARY},u,1\n,v,2\n"), "token.csv:2: ", "kubemint generate"),
        merge("merging an open quote", format!("{CANARY},\"u,1\n"), "token.csv:", "close the quote"),
    ];
    for row in rows.iter_mut().filter(|row| row.line.starts_with("token merge")) {
        row.files.push(("inventory.toml", good.clone()));
    }
    rows
}

#[rustfmt::skip]
fn kubeconfigs() -> Vec<Row> {
    let bomb: String = std::iter::once("a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned())
        .chain((1..12).map(|i| format!("a{i}: &a{i} [{}]\n", vec![format!("*a{}", i - 1); 9].join(", "))))
        .collect();
    let user = |more: &str| format!("apiVersion: v1\nkind: Config\nusers:\n- name: u\n  user:\n{more}");
    vec![
        config("an alias bomb", format!("apiVersion: v1\nkind: Config\n{bomb}"), "admin.conf: ", "write the values out"),
        config("duplicate keys", format!("apiVersion: v1\nkind: Config\nkind: Config\nusers: [{{name: u, user: {{token: {CANARY}}}}}]\n"), "admin.conf:1:1: the key \"kind\" stands twice", "mend the YAML"),
        config("a duplicate key that is a value", user(&format!("    token: x\n    {CANARY}: x\n    {CANARY}: y\n")), "a key stands twice in one mapping", "mend the YAML"),
        config("not YAML", user(&format!("    token: \"{CANARY}\n")), "admin.conf:", "mend the YAML"),
        config("a tab", user(&format!("\ttoken: {CANARY}\n")), "admin.conf:6:", "mend the YAML"),
        config("binary", b"\x7fELF\x02\x01\x01\0\xff\xfe".to_vec(), "admin.conf: not UTF-8 text (byte 8)", "UTF-8"),
        config("another kind", "apiVersion: v1\nkind: Secret\n", "kind is \"Secret\"", "kind: Config"),
        config("a number for a token", user("    token: 1e5\n"), "users[0].user.token", "quote the value"),
        config("a list for users' names", "apiVersion: v1\nkind: Config\nusers:\n- name: [a]\n", "users[0].name", "quote the value"),
        config("an empty file", "", "admin.conf: the file is empty", "kubectl config view"),
        config("two megabytes", vec![b' '; 2 << 20], "admin.conf: 2097152 bytes", "right file"),
        row("no kubeconfig", Vec::new(), "kubeconfig inspect admin.conf", "admin.conf", "check the path"),
    ]
}

#[rustfmt::skip]
fn command_lines() -> Vec<Row> {
    let limit = |line, place, cure| usage(line, place, cure);
    vec![
        limit("plan --limit nosuch", "nosuch", "a glob such as"),
        limit("apply --limit node-3", "node-3", "did you mean"),
        limit("plan --limit role:worker", "role:worker", "\"control-plane\" and \"node\""),
        limit("plan --limit label:rack", "label:rack", "label:KEY=VALUE"),
        limit("plan --limit rack=a", "rack=a", "label:KEY=VALUE"),
        limit("plan --limit rol:node", "rol:node", "did you mean \"role\"?"),
        limit("plan --limit @missing.txt", "missing.txt", "check the path"),
        limit("plan --limit ,", "empty pattern", "role:NAME"),
        row("a pattern file with a slip", vec![("inventory.toml", LOCAL_HOSTS.into()), ("hosts.txt", "cp-1\n\nrole:worker\n".into())], "plan --limit @hosts.txt", "hosts.txt:3: bad pattern", "\"control-plane\" and \"node\""),
        row("an empty pattern file", vec![("inventory.toml", LOCAL_HOSTS.into()), ("hosts.txt", "# none\n".into())], "apply --limit @hosts.txt", "hosts.txt: the file holds no pattern", "one pattern a line"),
        limit("apply --limit !*", "leave no host", "take away"),
        limit("plan --limit node-[1-", "node-[1-", "]"),
        usage("apply --concurrency 0", "--concurrency", "1..=1024"),
        usage("apply --concurrency many", "--concurrency", "--help"),
        usage("status -o yaml", "--output", "text, json"),
        usage("plan --color pink", "--color", "auto, always, never"),
        usage("plan -v -q", "--verbose", "cannot be used with"),
        usage("aply", "aply", "'apply'"),
        usage("plan --limits x", "--limits", "--limit"),
        usage("cert list --check 1y", "--check", "30d"),
        usage("cert list --check soon", "--check", "30d"),
        usage("cert list --check 0d", "--check", "30d"),
        usage("token manifest --ttl 2h", "--bootstrap-secret", "Usage:"),
        usage("token manifest --bootstrap-secret --ttl 0h", "--ttl", "24h"),
        usage("token manifest --bootstrap-secret --group admins", "\"admins\"", "system:bootstrappers:NAME"),
        usage("token lint", "<FILE>", "Usage:"),
        usage("completions tcsh", "tcsh", "fish"),
        row("a template of nonsense", vec![("inventory.toml", LOCAL_HOSTS.into()), ("t/rbac.yaml", "{{ colour }}".into())], "token manifest --templates t", "rbac.yaml", "without --templates"),
        row("a folder of templates that is not there", vec![("inventory.toml", LOCAL_HOSTS.into())], "token manifest --templates tt", "tt", "--templates"),
        row("man pages over a file", vec![("m", "mine".into())], "man m", "m:", "a directory you may write to"),
    ]
}

struct Made {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

fn authority(algorithm: Algorithm, now: &str, days: u32) -> (Authority, Made) {
    let new = NewAuthority { common_name: "kubernetes".into(), algorithm, validity: days * DAY };
    let made = Authority::issue_self_signed(&new, now.parse().unwrap(), &OsEntropy).unwrap();
    let key = made.key_pem().unwrap().expose_secret().as_bytes().to_vec();
    let certificate = made.certificate_pem().as_bytes().to_vec();
    (made, Made { certificate, key })
}

fn openssl(line: &str, input: &[u8]) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("in"), input).unwrap();
    let output = Command::new(require("openssl")).args(line.split(' ')).current_dir(dir.path()).output().unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

#[rustfmt::skip]
fn authorities() -> Vec<Row> {
    let now = jiff::Timestamp::now();
    let (good, ours) = authority(Algorithm::EcdsaP256, &now.to_string(), 3650);
    let (_, other) = authority(Algorithm::EcdsaP256, &now.to_string(), 3650);
    let (_, expired) = authority(Algorithm::EcdsaP256, "2020-01-01T00:00:00Z", 1);
    let (_, early) = authority(Algorithm::EcdsaP256, "2090-01-01T00:00:00Z", 1);
    let settings = ClientSettings { algorithm: Algorithm::EcdsaP256, validity: DAY, organization: "o".into() };
    let leaf = pki::issue_client(&good, &pki::KUBE_PROXY, &settings, now, &OsEntropy).unwrap();
    let leaf_key = leaf.key_pem.expose_secret().as_bytes().to_vec();
    let small_key = openssl("genrsa -traditional 1024", b"");
    let small = openssl("req -x509 -new -key in -subj /CN=small -days 3650 -addext keyUsage=critical,keyCertSign", &small_key);
    let encrypted = openssl("pkey -in in -aes256 -passout pass:x", &ours.key);
    let der = openssl("pkey -in in -outform DER", &ours.key);
    let trailing = {
        let mut block = pem::parse(&ours.certificate).unwrap().into_contents();
        block.extend(*b"tail");
        pem::encode(&pem::Pem::new("CERTIFICATE", block)).into_bytes()
    };
    let two = |first: &[u8], second: &[u8]| [first, second].concat();
    let ca = |what, certificate: &[u8], key: &[u8], place, cure| {
        let text = format!("{LOCAL_HOSTS}[ca]\ncert = \"ca.pem\"\nkey = \"ca-key.pem\"\n");
        let files = vec![("inventory.toml", text.into()), ("ca.pem", certificate.to_vec()), ("ca-key.pem", key.to_vec())];
        row(what, files, "apply --yes", place, cure)
    };
    let mut rows = vec![
        ca("two keys", &ours.certificate, &two(&ours.key, &other.key), "ca-key.pem): 2 private keys", "keep only the key"),
        ca("two certificates, none of the key", &two(&other.certificate, &early.certificate), &ours.key, "belongs to none of the 2 certificates", "made for this key"),
        ca("the key of another CA", &ours.certificate, &other.key, "ca-key.pem)", "made together"),
        ca("trailing bytes", &trailing, &ours.key, "ca.pem): 4 bytes after", "fresh copy"),
        ca("an encrypted key", &ours.certificate, &encrypted, "ca-key.pem): the private key is encrypted", "openssl pkey"),
        ca("RSA-1024", &small, &small_key, "ca-key.pem): the RSA private key has 1024 bits", "another key"),
        ca("a leaf", leaf.certificate_pem.as_bytes(), &leaf_key, "ca.pem)", "the CA itself"),
        ca("expired", &expired.certificate, &expired.key, "ca.pem): the CA `CN=kubernetes` expired at 2020-01-02", "renew the CA"),
        ca("not yet valid", &early.certificate, &early.key, "ca.pem): the CA `CN=kubernetes` is not valid before 2089", "clock"),
        ca("swapped", &ours.key, &ours.certificate, "ca.pem): no certificate", "swapped"),
        ca("a key in DER", &ours.certificate, &der, "ca-key.pem): DER, not PEM", "openssl pkey -inform DER"),
        ca("an empty certificate", b"", &ours.key, "ca.pem): the file is empty", "fresh copy"),
        ca("an empty key", &ours.certificate, b"", "ca-key.pem): the file is empty", "fresh copy"),
        ca("a damaged certificate", &ours.certificate[..200], &ours.key, "ca.pem): damaged PEM", "fresh copy"),
        ca("10 MB of certificate", &vec![b'x'; 10 << 20], &ours.key, "ca.pem", "check that the path"),
        ca("10 MB of key", &ours.certificate, &vec![b'x'; 10 << 20], "ca-key.pem", "check that the path"),
    ];
    let mut without_key = ca("no key file", &ours.certificate, b"", "ca-key.pem", "check the path");
    without_key.files.pop();
    let mut directory = ca("a directory as certificate", b"", &ours.key, "ca.pem: it is a directory", "check that the path");
    directory.files[1] = ("ca.pem/x", Vec::new());
    rows.extend([without_key, directory]);
    rows
}

/// Lines that would give a secret away: the canary, and every line of a private key.
fn secrets_of(row: &Row) -> Vec<String> {
    let texts = row.files.iter().map(|(_, content)| String::from_utf8_lossy(content).into_owned());
    let keys = texts.filter(|text| text.contains("PRIVATE KEY") && text.len() < 100_000);
    let lines = keys.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>());
    lines.filter(|line| line.len() > 20 && !line.starts_with('-')).chain([CANARY.to_owned()]).collect()
}

/// What is wrong with how the row came out.
fn faults_of(row: &Row) -> Vec<String> {
    let env = TestEnv::new();
    for (name, content) in &row.files {
        env.write(name, content);
    }
    if row.line.starts_with("token merge") {
        env.ok(&["generate"]);
    }
    let before = env.tree_hash("");
    let words: Vec<&str> = row.line.split(' ').collect();
    let ran = env.run(&words);
    let (code, document) = env.json(&words);
    let said = format!("{}{}", ran.stdout, ran.stderr);
    let both = format!("{said}{document}");
    let is_error = document["schema"] == "kubemint/error";
    let message = document["error"]["message"].as_str().unwrap_or_default();
    let secrets = secrets_of(row);
    let rules = [
        (ran.code == row.code, format!("exit code {} instead of {}", ran.code, row.code)),
        (said.contains(row.place), format!("the place {:?} is not named", row.place)),
        (said.contains(row.cure), format!("the cure {:?} is not named", row.cure)),
        (said.len() < 20_000, format!("{} bytes are too many", said.len())),
        (code == ran.code, format!("with -o json the exit code is {code}")),
        (is_error || document["schema"] == "kubemint/token-lint", "the document is of another kind".into()),
        (document["version"] == 1, "the document has no version".into()),
        (!is_error || document["exit_code"] == row.code, "the document has another exit code".into()),
        (!is_error || message.contains(row.place), "the document does not name the place".into()),
        (!secrets.iter().any(|secret| both.contains(secret)), "a secret was said again".into()),
        (env.tree_hash("") == before, format!("something was changed: {:?}", env.files(""))),
    ];
    let broken = rules.into_iter().filter(|(holds, _)| !holds).map(|(_, rule)| rule);
    broken.map(|rule| format!("{}: {rule}\nkubemint {}\n{said:.1500}\n{document:#.1500}", row.what, row.line)).collect()
}

/// All rows are tried, and all that fail are named.
#[track_caller]
fn check_all(rows: &[Row], at_least: usize) {
    assert!(rows.len() >= at_least, "{} rows", rows.len());
    let faults: Vec<String> = rows.iter().flat_map(faults_of).collect();
    assert!(faults.is_empty(), "{} faults:\n\n{}", faults.len(), faults.join("\n\n"));
}

#[test]
fn bad_inventories_change_nothing_and_name_place_and_cure() {
    check_all(&inventories(), 30);
}

#[test]
fn bad_token_files_change_nothing_and_name_place_and_cure() {
    check_all(&token_files(), 18);
}

#[test]
fn bad_kubeconfigs_change_nothing_and_name_place_and_cure() {
    check_all(&kubeconfigs(), 10);
}

#[test]
fn bad_authorities_change_nothing_and_name_place_and_cure() {
    check_all(&authorities(), 17);
}

#[test]
fn bad_command_lines_change_nothing_and_name_place_and_cure() {
    check_all(&command_lines(), 25);
}

/// The same rows where credentials are there already: neither they nor the hosts change.
#[test]
fn bad_input_leaves_an_existing_set_alone() {
    for (name, content, line) in [
        ("inventory.toml", format!("{LOCAL_HOSTS}port = 0\n"), "apply --yes"),
        ("token.csv", format!("{CANARY},u,1,g1,g2\n"), "token merge token.csv"),
        ("inventory.toml", format!("{LOCAL_HOSTS}[ca]\ncert = \"ca.pem\"\nkey = \"none.pem\"\n"), "apply --yes"),
    ] {
        let env = TestEnv::with_local_hosts();
        env.ok(&["apply"]);
        env.write(name, content);
        let before = env.tree_hash("");
        env.run(&line.split(' ').collect::<Vec<_>>()).expect(2);
        assert_eq!(env.tree_hash(""), before, "{line}");
    }
}

#[test]
fn a_fifo_is_refused_instead_of_waited_for() {
    let env = TestEnv::new();
    assert!(Command::new(require("mkfifo")).arg(env.path("pipe")).status().unwrap().success());
    symlink("pipe", env.path("link")).unwrap();
    for line in ["-i link plan", "token lint pipe", "kubeconfig inspect pipe"] {
        env.run(&line.split(' ').collect::<Vec<_>>()).expect(2).says(&["not a regular file"]);
    }
}
