//! What is wrong with an inventory is said with line, column and cure, all of it at once.

#![allow(clippy::unwrap_used, reason = "clippy.toml allows it in test functions only, not in what they call")]

use kubemint::inventory::{Diagnostics, EXAMPLE, Location, parse_inventory};
use proptest::prelude::*;

/// Line 1 to 3; what is tested begins on line 4.
const GOOD: &str = "[cluster]\nserver = \"https://172.20.0.113:6443\"\n\n";
const HOST: &str = "[[hosts]]\nname = \"a\"\n";

fn location() -> Location {
    Location { path: "inventory.toml".into(), folder: "/srv/infra".into(), home: Some("/home/ops".into()) }
}

fn mistakes(text: &str) -> Diagnostics {
    match parse_inventory(text, &location()) {
        Ok(_) => panic!("no mistake found in\n{text}"),
        Err(found) => found,
    }
}

/// That `text` has exactly one mistake, there, with these words in message and hint.
fn assert_one(text: &str, (line, column): (usize, usize), words: &[&str]) {
    let found = mistakes(text);
    assert_eq!(found.count(), 1, "{text}\n{found}");
    let only = found.iter().next().unwrap();
    assert_eq!((only.line, only.column), (line, column), "{text}\n{found}");
    for word in words {
        assert!(found.to_string().contains(word), "{word:?} is not in\n{found}");
    }
    assert!(!found.to_string().contains(char::is_control), "{found:?}");
}

/// A block after the good cluster, and a good host where the block has none.
#[rustfmt::skip]
const BLOCKS: &[(&str, (usize, usize), &[&str])] = &[
    // keys
    ("[[hosts]]\nname = \"a\"\nadress = \"x\"", (6, 1), &["unknown key \"adress\" in [[hosts]]", "did you mean \"address\"?"]),
    ("[shh]\nuser = \"x\"", (4, 2), &["unknown key \"shh\" at the top of the file", "did you mean \"ssh\"?"]),
    ("[certificates.kube-prox]", (4, 15), &["unknown key \"kube-prox\" in [certificates]", "kube-proxy"]),
    ("[ssh]\nstate_dir = \"x\"", (5, 1), &["unknown key \"state_dir\" in [ssh]", "at the top of the file"]),
    ("[ssh]\nserver = \"x\"", (5, 1), &["it belongs in [cluster] or [[hosts]]"]),
    ("[token]\ncolour = 1", (5, 1), &["unknown key \"colour\"", "known here: user, uid, groups"]),
    ("[token]\nuser = \"a\"\nuser = \"b\"", (6, 1), &["duplicate key"]),
    ("[token]\n[token]", (5, 2), &["duplicate key"]),
    // not TOML
    ("[token]\nuser = \"a", (5, 10), &["not TOML"]),
    ("[token]\nuser = a", (5, 8), &["not TOML", "in double quotes"]),
    ("[[hosts]]\nname = node-1", (5, 8), &["not TOML", "in double quotes"]),
    ("[[hosts]]\nname = \"a\"\nroles = [node]", (6, 10), &["not TOML", "in double quotes"]),
    ("[token]\nuser = \"a\0b\"", (5, 10), &["not TOML"]),
    ("# a\0b", (4, 4), &["not TOML"]),
    // kinds and texts
    ("[token]\nuid = 10001", (5, 7), &["uid must be a string, not a number", "uid = \"10001\""]),
    ("[token]\ngroups = \"a\"", (5, 10), &["groups must be a list of strings", "such as: groups = ["]),
    ("[token]\ngroups = [\"a\", 1]", (5, 16), &["groups must list strings, not a number"]),
    ("[token]\nuser = \"\"", (5, 8), &["user must not be empty"]),
    ("[token]\nuser = \" a\"", (5, 8), &["must not begin or end with a space"]),
    ("[token]\nuser = \"a\\u0000b\"", (5, 8), &["must not hold a control character"]),
    ("[services]\nkubelet = \"a\\nb\"", (5, 11), &["kubelet must not hold a line break"]),
    ("[services]\nkubelet = \"\"\"\nrm -rf\n\"\"\"", (5, 11), &["kubelet must not hold a line break"]),
    ("[distribute]\ninstall_ca = \"yes\"", (5, 14), &["install_ca must be true or false, not a string"]),
    ("ssh = 1", (4, 1), &["unknown key \"ssh\" in [cluster]"]),
    // values of the whole
    ("[token]\ngroups = [\"system:masters\"]", (5, 11), &["cluster admin", "system:bootstrappers"]),
    ("[token]\ngroups = [\"a\", \"system:nodes\"]", (5, 16), &["\"system:nodes\" is one of Kubernetes' own", "system:bootstrappers"]),
    ("[token]\ngroups = [\"system:bootstrappersx\"]", (5, 11), &["Kubernetes' own"]),
    ("[token]\ngroups = [\"system:authenticated\"]", (5, 11), &["Kubernetes' own"]),
    ("[token]\nuser = \"system:kube-controller-manager\"", (5, 8), &["Kubernetes' own", "write \"kubelet-bootstrap\""]),
    ("[token]\nuser = \"system:node:a\"", (5, 8), &["Kubernetes' own"]),
    ("[certificates.kube-proxy]\norganization = \"system:nodes\"", (5, 16), &["Kubernetes' own", "system:node-proxier"]),
    ("[certificates.kube-proxy]\norganization = \"system:kube-controller-manager\"", (5, 16), &["Kubernetes' own"]),
    ("[token]\ngroups = [\"a\", \"b,c\"]", (5, 16), &["\"b,c\" holds a comma"]),
    ("[token]\ngroups = [\"a\", \"a\"]", (5, 16), &["listed twice"]),
    ("[certificates.kube-proxy]\norganization = \"system:masters\"", (5, 16), &["cluster admin"]),
    ("[certificates.kube-proxy]\nalgorithm = \"ecdsa-p265\"", (5, 13), &["unknown algorithm; known are ecdsa-p256", "did you mean \"ecdsa-p256\"?"]),
    ("[certificates.kube-proxy]\nvalidity = \"1 year\"", (5, 12), &["months and years", "\"365d\""]),
    ("[certificates.kube-proxy]\nvalidity = \"365\"", (5, 12), &["not a span of time", "\"365d\""]),
    ("[certificates.kube-proxy]\nvalidity = \"5m\"", (5, 12), &["shorter than 10 minutes"]),
    ("[ca]\nkey = \"k.pem\"", (5, 7), &["without its cert", "add cert"]),
    ("[ca]\ncert = \"c.pem\"\nvalidity = \"1d\"", (6, 12), &["validity is for a new CA", "remove validity"]),
    ("[ca]\ncert = \"~bob/c.pem\"", (5, 8), &["~name", "in full"]),
    ("[ca]\ncert = \"${PKI}/c.pem\"", (5, 8), &["variables are not expanded"]),
    ("[distribute]\nconcurrency = 0", (5, 15), &["from 1 to 1024"]),
    ("[distribute]\nconcurrency = 99999999999999999999", (5, 15), &["from 1 to 1024"]),
    ("[distribute]\ndirectory = \"etc\"", (5, 13), &["not absolute"]),
    ("[distribute]\ndirectory = \"/etc/../x\"", (5, 13), &["\"..\"", "in full"]),
    ("[distribute]\ndirectory = \"/etc/a b\"", (5, 13), &["' ' is not allowed"]),
    ("[ssh]\nport = 0", (5, 8), &["port must be from 1 to 65535"]),
    ("[ssh]\nport = 65536", (5, 8), &["port must be from 1 to 65535"]),
    ("[ssh]\nuser = \"-l\"", (5, 8), &["not a user name"]),
    ("[ssh]\nknown_hosts = []", (5, 15), &["no host key could be verified", "~/.ssh/known_hosts"]),
    ("[ssh]\nidentity_files = [\"a\", \"~b\"]", (5, 24), &["bad path \"~b\" in identity_files"]),
    ("[ssh]\njump = \"a,b\"", (5, 8), &["bad jump host \"a,b\"", "[\"first\", \"second\"]"]),
    ("[ssh]\njump = [\"a\", \"-oProxyCommand=x\"]", (5, 14), &["would read as an option"]),
    ("[ssh]\nbecome = \"sudp\"", (5, 10), &["\"none\" or \"sudo\"", "did you mean \"sudo\"?"]),
    // hosts
    ("[[hosts]]\naddress = \"10.0.0.1\"", (4, 1), &["no name", "add name"]),
    ("[[hosts]]\nname = \"Node\"", (5, 8), &["capital letters", "lower case"]),
    ("[[hosts]]\nname = \"node_1\"", (5, 8), &["'_' is not allowed"]),
    ("[[hosts]]\nname = \"$(x)\"", (5, 8), &["'$' is not allowed"]),
    ("[[hosts]]\nname = \"-oProxyCommand=x\"", (5, 8), &["bad host name"]),
    ("[[hosts]]\nname = \"a\\nb\"", (5, 8), &["line break"]),
    ("[[hosts]]\nname = \"a\"\naddress = \"-oProxyCommand=x\"", (6, 11), &["would read as an option"]),
    ("[[hosts]]\nname = \"a\"\naddress = \"$(x)\"", (6, 11), &["'$' is not allowed in a host name"]),
    ("[[hosts]]\nname = \"a\"\naddress = \"b c\"", (6, 11), &["' ' is not allowed"]),
    ("[[hosts]]\nname = \"a\"\naddress = \"root@b\"", (6, 11), &["names a user", "set user"]),
    ("[[hosts]]\nname = \"a\"\naddress = \"b:22\"", (6, 11), &["holds a port", "set port"]),
    ("[[hosts]]\nname = \"a\"\naddress = \"fe80::1%eth0\"", (6, 11), &["zones"]),
    ("[[hosts]]\nname = \"a\"\naddress = \"[fd00::1]\"", (6, 11), &["without brackets"]),
    ("[[hosts]]\nname = \"a\"\naddress = \"10.0.0.256\"", (6, 11), &["not an IPv4 address"]),
    ("[[hosts]]\nname = \"1\"", (5, 8), &["cannot serve as address", "set address"]),
    ("[[hosts]]\nname = \"a\"\nport = \"22\"", (6, 8), &["port must be a whole number", "port = 22"]),
    ("[[hosts]]\nname = \"a\"\nroles = []", (6, 9), &["roles is empty", "[\"node\"]"]),
    ("[[hosts]]\nname = \"a\"\nroles = [\"nodes\"]", (6, 10), &["unknown role \"nodes\"", "did you mean \"node\"?"]),
    ("[[hosts]]\nname = \"a\"\nlabels = { rack = 1 }", (6, 19), &["\"rack\" must be a string"]),
    ("[[hosts]]\nname = \"a\"\nlabels = { \"a b\" = \"c\" }", (6, 12), &["bad label name"]),
    ("[[hosts]]\nname = \"a\"\nlabels = { a = \"b/c\" }", (6, 16), &["bad label value"]),
    ("[[hosts]]\nname = \"a\"\nconnection = \"locale\"", (6, 14), &["\"ssh\" or \"local\"", "did you mean \"local\"?"]),
    ("[[hosts]]\nname = \"a\"\nroot = \"demo\"", (6, 8), &["root is for local hosts", "connection = \"local\""]),
    ("[[hosts]]\nname = \"a\"\nconnection = \"local\"\naddress = \"b\"", (7, 11), &["address is for hosts reached over ssh"]),
    ("[[hosts]]\nname = \"a\"\nconnection = \"local\"\njump = \"b\"", (7, 8), &["jump is for hosts reached over ssh"]),
    ("[[hosts]]\nname = \"a\"\nconnection = \"local\"\nroot = \"../x\"", (7, 8), &["\"..\""]),
    ("[[hosts]]\nname = \"a\"\nserver = \"http://b:8080\"", (6, 10), &["https://"]),
    ("[[hosts]]\nname = \"a\"\nserver = \"https://u:p@b\"", (6, 10), &["names a user or a password"]),
    ("[[hosts]]\nname = \"a\"\napiserver = \"https://b:6443\"", (6, 13), &["for control-plane hosts"]),
    ("[[hosts]]\nname = \"a\"\nconnection = 1\nroot = \"demo\"", (6, 14), &["connection must be a string"]),
    ("[[hosts]]\nname = \"a\"\nroles = [\"mastr\"]\napiserver = \"https://a\"", (6, 10), &["did you mean \"master\"?"]),
    // ranges
    ("[[hosts]]\nname = \"n[1-1000000]\"", (5, 8), &["1000000 hosts, more than 100000"]),
    ("[[hosts]]\nname = \"n[0-999999999999999999][0-999999999999999999]\"", (5, 8), &["countless hosts"]),
    ("[[hosts]]\nname = \"n[9-1]\"", (5, 8), &["runs backwards"]),
    ("[[hosts]]\nname = \"n[001-10]\"", (5, 8), &["padded differently"]),
    ("[[hosts]]\nname = \"n[a-f]\"", (5, 8), &["decimal numbers"]),
    ("[[hosts]]\nname = \"n[1-2\"", (5, 8), &["pair up"]),
    ("[[hosts]]\nname = \"n[1-3]\"\naddress = \"10.0.0.[1-4]\"", (6, 11), &["address stands for 4 hosts, name for 3 hosts", "same length"]),
    ("[[hosts]]\nname = \"n[1-3]\"\naddress = \"10.0.0.1\"", (6, 11), &["address stands for 1 host, name for 3 hosts"]),
    ("[[hosts]]\nname = \"n[1-3]\"\naddress = \"10.0.0.[0-999999999999]\"", (6, 11), &["stands for 1000000000000 hosts"]),
    ("[[hosts]]\nname = \"n[1-3]\"\naddress = \"10.0.0.[254-256]\"", (6, 11), &["\"10.0.0.256\""]),
    ("[[hosts]]\nname = \"n[1-3]\"\naddress = \"10.0.0.[001-003]\"", (6, 11), &["leading zeros", "[1-100]"]),
    ("[[hosts]]\nname = \"n[1-2]\"\nconnection = \"local\"\nroot = \"demo/[1-3]\"", (7, 8), &["root stands for 3 hosts"]),
    // the same host twice
    ("[[hosts]]\nname = \"a\"\n[[hosts]]\nname = \"a\"\naddress = \"b\"", (7, 8), &["\"a\" is used twice", "line 5"]),
    ("[[hosts]]\nname = \"a[1-9]\"\n[[hosts]]\nname = \"a[5-7]\"", (7, 8), &["\"a5\" is used twice", "line 5"]),
    ("[[hosts]]\nname = \"a\"\naddress = \"FD00:0::1\"\n[[hosts]]\nname = \"b\"\naddress = \"fd00::1\"", (8, 8), &["\"a\" and \"b\" are the same place", "fd00::1 port 22"]),
    ("[[hosts]]\nname = \"a\"\naddress = \"X.example\"\n[[hosts]]\nname = \"x.example\"", (8, 8), &["\"a\" and \"x.example\" are the same place"]),
    ("[[hosts]]\nname = \"a[1-3]\"\nconnection = \"local\"", (5, 8), &["\"a1\" and \"a2\" are the same place", "own root"]),
    ("[[hosts]]\nname = \"a\"\nconnection = \"local\"\nroot = \"/x\"\n[[hosts]]\nname = \"b\"\nconnection = \"local\"\ndirectory = \"/x/etc/kubernetes\"", (9, 8), &["/x/etc/kubernetes on this machine"]),
];

#[test]
fn every_mistake_is_named_with_its_place_and_cure() {
    assert!(BLOCKS.len() >= 40);
    for (block, place, words) in BLOCKS {
        let host = if block.contains("[[hosts]]") { "" } else { HOST };
        assert_one(&format!("{GOOD}{block}\n{host}"), *place, words);
    }
}

#[test]
fn what_must_be_there_is_asked_for() {
    assert_one(HOST, (1, 1), &["server is missing", "below [cluster]"]);
    assert_one(&format!("\n[cluster]\n{HOST}"), (2, 1), &["server is missing"]);
    assert_one(GOOD, (1, 1), &["no hosts", "add [[hosts]]"]);
    assert_one(&format!("hosts = []\n{GOOD}"), (1, 9), &["no hosts"]);
    assert_one(&format!("hosts = [1]\n{GOOD}"), (1, 10), &["hosts must be a list of tables, not a number"]);
    assert_one(&format!("ssh = 1\n{GOOD}{HOST}"), (1, 7), &["ssh must be a table", "write [ssh]"]);
    assert_one(&format!("hosts = \"a\"\n{GOOD}"), (1, 9), &["begin each with [[hosts]]"]);
    assert_eq!(mistakes("").count(), 2);
}

#[test]
fn the_clusters_server_is_judged_like_the_hosts() {
    let text = |server: &str| format!("[cluster]\nserver = \"{server}\"\n{HOST}");
    for (server, word) in [
        ("172.20.0.113:6443", "must begin with https://"),
        ("https://172.20.0.113:65536", "from 1 to 65535"),
        ("https://a/?x", "query"),
        ("https://a/#x", "fragment"),
        ("https://fd00::1:6443", "[fd00::1]"),
        ("https://[fe80::1%25eth0]:6443", "zones"),
        ("https://${MASTER}:6443", "'{' is not allowed"),
    ] {
        assert_one(&text(server), (2, 10), &[word]);
    }
}

#[test]
fn all_mistakes_of_a_file_come_at_once_in_its_order() {
    let text = "[cluster]\nsrver = \"https://a\"\nserver = \"http://a\"\n[ssh]\nport = 0\n[[hosts]]\nname = \"A\"\nport = 70000\nroles = [\"nod\"]\n[[hosts]]\nname = \"b\"\n[[hosts]]\nname = \"b\"\n";
    let found = mistakes(text).to_string();
    let places: Vec<_> = found.lines().map(|line| line.split(": ").next().unwrap()).collect();
    let wanted = ["2:1", "3:10", "5:8", "7:8", "8:8", "9:10", "13:8"].map(|place| format!("inventory.toml:{place}"));
    assert_eq!(places, wanted, "{found}");
    assert_eq!(
        found.lines().next(),
        Some("inventory.toml:2:1: unknown key \"srver\" in [cluster]; did you mean \"server\"?")
    );
}

#[test]
fn a_mistake_in_every_host_of_a_range_is_said_once() {
    assert_one(&format!("{GOOD}[[hosts]]\nname = \"N[1-50000]\"\n"), (5, 8), &["\"N1\""]);
}

#[test]
fn a_text_that_is_too_large_is_refused_unread() {
    assert_one(&"#".repeat((16 << 20) + 1), (1, 1), &["larger than 16 MiB"]);
}

#[test]
fn pasted_secrets_are_not_repeated() {
    let key = "MC4CAQAwBQYDK2VwBCIEIPq1q0FZ9cVdpcYcZkWJ0sDkGZQ0wJ6jzv6o5cTnVZpQ";
    let text = format!("{GOOD}[ssh]\njump = \"{key}/{key}\"\nuser = \"{key}:\"\n\"{key}\" = 1\n{HOST}");
    let found = mistakes(&text);
    assert_eq!(found.count(), 3, "{found}");
    assert!(!found.to_string().contains(&key[..12]), "{found}");
}

#[test]
fn deep_nesting_and_many_mistakes_do_no_harm() {
    assert!(mistakes(&format!("a = {}", "[".repeat(100_000))).count() >= 1);
    let unknown: String = (0..20_000).map(|i| format!("key{i} = 1\n")).collect();
    assert!(mistakes(&unknown).count() > 20_000);
}

/// The example with its samples made live (those of a CA that exists left out) and without its prose.
/// The last excludes `per_node` of `[token]`.
const LEFT_OUT: [&str; 4] = ["# ", "#cert", "#key", "#token_csv_on_nodes"];

fn live_example() -> String {
    let lines = EXAMPLE.lines().filter(|line| !LEFT_OUT.iter().any(|start| line.starts_with(start)));
    lines.map(|line| format!("{}\n", line.trim_start_matches('#'))).collect()
}

#[test]
fn the_live_example_is_sound_before_it_is_damaged() {
    parse_inventory(&live_example(), &location()).unwrap_or_else(|e| panic!("{e}"));
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in "\\PC*") {
        let _ = parse_inventory(&text, &location());
    }

    #[test]
    fn no_text_within_quotes_makes_the_parser_panic(value in "[\\[\\]0-9a-f:.,/@%~$é -]{0,30}", key in 0..9_usize) {
        let line = match key {
            0 => format!("[ssh]\njump = '{value}'"),
            1 => format!("[ca]\nvalidity = '{value}'"),
            2 => format!("[distribute]\ndirectory = '{value}'"),
            3 => format!("[[hosts]]\nname = '{value}'"),
            4 => format!("[[hosts]]\nname = 'a'\naddress = '{value}'"),
            5 => format!("[[hosts]]\nname = 'a[1-3]'\naddress = '{value}'"),
            6 => format!("[[hosts]]\nname = 'a'\nconnection = 'local'\nroot = '{value}'"),
            7 => format!("[[hosts]]\nname = 'a'\nserver = '{value}'"),
            _ => format!("[[hosts]]\nname = 'a'\nroles = ['master']\napiserver = 'https://{value}'"),
        };
        let _ = parse_inventory(&format!("{GOOD}{line}\n"), &location());
    }

    #[test]
    fn a_damaged_example_is_read_or_refused_with_places_inside_it(
        cuts in prop::collection::vec((any::<prop::sample::Index>(), 0..4_usize, "[a-z0-9\\[\\]:/.,@$ -]{0,3}|\\PC|[=\"\\n#]"), 1..4)
    ) {
        let mut text: Vec<char> = live_example().chars().collect();
        for (at, length, with) in cuts {
            let at = at.index(text.len());
            let end = (at + length).min(text.len());
            text.splice(at..end, with.chars());
        }
        let text: String = text.into_iter().collect();
        if let Err(found) = parse_inventory(&text, &location()) {
            prop_assert!(found.count() > 0);
            let lines = text.split('\n').count();
            prop_assert!(found.iter().all(|d| (1..=lines).contains(&d.line) && d.column >= 1), "{}", found);
        }
    }
}
