//! `kubemint generate` on the real binary: what it makes, what it keeps, and what it never does.

#![allow(clippy::unwrap_used, reason = "clippy.toml allows it in test functions only, not in what they call")]

mod support;

use kubemint::{
    entropy::OsEntropy,
    inventory::{Location, parse_inventory},
    pki::{Algorithm, Authority, NewAuthority},
    secret::ExposeSecret,
    store::Store,
    workflow::generate::{StepAction, plan_generation, read_given_authority},
};
use std::{collections::BTreeMap, path::PathBuf, time::Duration};
use support::{CREDENTIALS, LOCAL_HOSTS, TestEnv};

const FILES: [&str; 9] = [
    "ca-key.pem",
    "ca.pem",
    "certs/kube-proxy-key.pem",
    "certs/kube-proxy.pem",
    "kubeconfigs/bootstrap.kubeconfig",
    "kubeconfigs/kube-proxy.kubeconfig",
    "lock",
    "state.json",
    "token.csv",
];

fn contents(env: &TestEnv) -> BTreeMap<&'static str, (String, (u64, i64, i64))> {
    let path = |file: &str| format!("state/{file}");
    CREDENTIALS.into_iter().map(|file| (file, (env.read(path(file)), env.stamp(path(file))))).collect()
}

/// The files that a `generate` wrote, with the inventory changed to `text`.
fn rewritten(env: &TestEnv, text: &str) -> Vec<&'static str> {
    let before = contents(env);
    env.write("inventory.toml", text);
    env.ok(&["generate"]);
    let after = contents(env);
    CREDENTIALS.into_iter().filter(|file| before[file] != after[file]).collect()
}

fn generated() -> TestEnv {
    let env = TestEnv::with_local_hosts();
    env.ok(&["generate"]);
    env
}

fn actions(document: &serde_json::Value) -> BTreeMap<String, String> {
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let steps = document["steps"].as_array().unwrap();
    steps.iter().map(|step| (text(&step["artifact"]), text(&step["action"]))).collect()
}

fn new_ca(env: &TestEnv, name: &str) {
    let validity = Duration::from_secs(3650 * 24 * 3600);
    let new = NewAuthority { common_name: name.into(), algorithm: Algorithm::EcdsaP256, validity };
    let made = Authority::issue_self_signed(&new, jiff::Timestamp::now(), &OsEntropy).unwrap();
    env.write("ca.pem", made.certificate_pem());
    env.write("ca-key.pem", made.key_pem().unwrap().expose_secret());
}

fn warned_of_key(env: &TestEnv, command: &str) -> bool {
    let ran = env.ok(&[command]);
    assert!(!ran.stdout.contains("ca-key.pem"), "{}", ran.stdout);
    ran.stderr.contains("ca-key.pem is open to others")
}

fn importing() -> String {
    format!("{LOCAL_HOSTS}[ca]\ncert = \"ca.pem\"\nkey = \"ca-key.pem\"\n")
}

#[test]
fn the_first_run_makes_the_whole_set_closed_to_others() {
    let env = TestEnv::with_local_hosts();
    let (code, document) = env.json(&["generate"]);
    assert_eq!(code, 0);
    assert_eq!((&document["schema"], &document["version"]), (&"kubemint/generate".into(), &1.into()));
    assert_eq!((&document["changed"], &document["generation"]), (&true.into(), &1.into()));
    assert!(actions(&document).values().all(|action| action == "created"), "{document}");
    assert_eq!(env.files("state"), FILES.map(PathBuf::from));
    for file in FILES {
        assert_eq!(env.mode(format!("state/{file}")), 0o600, "{file}");
    }
    for dir in ["state", "state/certs", "state/kubeconfigs"] {
        assert_eq!(env.mode(dir), 0o700, "{dir}");
    }
    assert!(!env.path("hosts").exists(), "no host is touched");
}

#[test]
fn neither_the_report_nor_the_state_holds_a_secret() {
    let env = TestEnv::with_local_hosts();
    let ran = env.ok(&["generate", "-vv"]);
    let token = env.read("state/token.csv")[..32].to_owned();
    let keys = env.read("state/ca-key.pem") + &env.read("state/certs/kube-proxy-key.pem");
    let secrets: Vec<_> = keys.lines().filter(|line| !line.starts_with('-')).chain([token.as_str()]).collect();
    assert!(secrets.len() >= 5, "{secrets:?}");
    for secret in secrets {
        for text in [&ran.stdout, &ran.stderr, &env.read("state/state.json"), &env.read("state/lock")] {
            assert!(!text.contains(secret), "{text}");
        }
    }
}

#[test]
fn a_second_run_writes_nothing_and_says_so() {
    let env = generated();
    let before = env.tree_hash("");
    env.ok(&["generate"]).says(&["nothing to do: generation 1"]);
    assert_eq!(env.tree_hash(""), before);
    let (code, document) = env.json(&["generate"]);
    assert_eq!((code, &document["changed"]), (0, &false.into()));
    assert!(actions(&document).values().all(|action| action == "kept"), "{document}");
    assert_eq!(env.tree_hash(""), before);
}

#[test]
fn another_server_rebuilds_the_kubeconfigs_and_keeps_token_and_keys() {
    let env = generated();
    env.write("inventory.toml", LOCAL_HOSTS.replace("172.20.0.113", "172.20.0.114"));
    let planned = env.ok(&["plan"]).says(&["server https://172.20.0.113:6443 -> https://172.20.0.114:6443"]);
    assert!(planned.stdout.contains(" rebuild "), "{}", planned.stdout);
    let written = rewritten(&env, &LOCAL_HOSTS.replace("172.20.0.113", "172.20.0.114"));
    assert_eq!(written, ["kubeconfigs/bootstrap.kubeconfig", "kubeconfigs/kube-proxy.kubeconfig"]);
    assert!(env.read("state/kubeconfigs/bootstrap.kubeconfig").contains("server: https://172.20.0.114:6443\n"));
    env.ok(&["verify"]);
}

#[test]
fn other_wishes_for_the_certificate_reissue_it_alone() {
    let table = |line: &str| format!("{LOCAL_HOSTS}[certificates.kube-proxy]\n{line}\n");
    let env = generated();
    for line in ["algorithm = \"ed25519\"", "organization = \"k8s\"", "validity = \"30d\""] {
        let written = rewritten(&env, &table(line));
        let alone = ["certs/kube-proxy-key.pem", "certs/kube-proxy.pem", "kubeconfigs/kube-proxy.kubeconfig"];
        assert_eq!(written, alone, "{line}");
        env.ok(&["verify"]);
        assert_eq!(rewritten(&env, &table(line)), [""; 0], "{line} again");
    }
}

#[test]
fn a_validity_beyond_the_ca_is_cut_and_not_reissued_again_and_again() {
    let env = TestEnv::with_inventory(&format!(
        "{LOCAL_HOSTS}[ca]\nvalidity = \"30d\"\n[certificates.kube-proxy]\nvalidity = \"365d\"\n"
    ));
    env.ok(&["generate"]).says(&["as long as its CA"]);
    env.ok(&["generate"]).says(&["nothing to do"]);
}

#[test]
fn other_names_for_the_tokens_user_keep_the_token() {
    let table = |line: &str| format!("{LOCAL_HOSTS}[token]\n{line}\n");
    let env = generated();
    let token = env.read("state/token.csv")[..32].to_owned();
    for (line, row) in [
        ("uid = \"7\"", "kubelet-bootstrap,7,\"system:kubelet-bootstrap\""),
        ("groups = [\"a\", \"b\"]", "kubelet-bootstrap,10001,\"a,b\""),
        ("user = \"boot\"", "boot,10001,\"system:kubelet-bootstrap\""),
    ] {
        let written = rewritten(&env, &table(line));
        assert!(written.contains(&"token.csv") && !written.contains(&"ca.pem"), "{line}: {written:?}");
        assert!(!written.iter().any(|file| file.starts_with("certs/")), "{line}: {written:?}");
        assert_eq!(env.read("state/token.csv"), format!("{token},{row}\n"));
        env.ok(&["verify"]);
    }
}

#[test]
fn each_missing_file_is_made_again_and_the_rest_is_kept() {
    for (file, same_content, others) in [
        ("token.csv", true, &[][..]),
        ("kubeconfigs/bootstrap.kubeconfig", true, &[]),
        ("kubeconfigs/kube-proxy.kubeconfig", true, &[]),
        ("certs/kube-proxy.pem", false, &["certs/kube-proxy-key.pem", "kubeconfigs/kube-proxy.kubeconfig"]),
        ("certs/kube-proxy-key.pem", false, &["certs/kube-proxy.pem", "kubeconfigs/kube-proxy.kubeconfig"]),
    ] {
        let env = generated();
        let before = contents(&env);
        env.remove(format!("state/{file}"));
        env.run(&["verify"]).expect(6).says(&[&format!("missing: {file}")]);
        env.run(&["distribute"]).expect(4).says(&["not what the inventory asks for", "kubemint generate"]);
        env.ok(&["generate"]);
        let after = contents(&env);
        assert_eq!(before[file].0 == after[file].0, same_content, "{file}");
        for other in CREDENTIALS.iter().filter(|other| **other != file && !others.contains(other)) {
            assert_eq!(before[other], after[other], "{other} when {file} was missing");
        }
        env.ok(&["verify"]);
        env.ok(&["generate"]).says(&["nothing to do"]);
    }
}

#[test]
fn a_lost_token_is_made_anew_only_when_no_file_has_it_and_that_is_said() {
    let env = generated();
    let old = env.json(&["token", "show"]).1["fingerprint"].as_str().unwrap().to_owned();
    env.remove("state/token.csv");
    env.remove("state/kubeconfigs/bootstrap.kubeconfig");
    env.ok(&["generate"]).says(&[&format!("token {old}, which hosts may hold, is lost")]);
    assert_ne!(env.json(&["token", "show"]).1["fingerprint"], old.as_str());
    env.ok(&["verify"]);
}

#[test]
fn a_lost_ca_file_is_never_made_anew() {
    for file in ["ca.pem", "ca-key.pem"] {
        let env = generated();
        env.remove(format!("state/{file}"));
        let before = env.tree_hash("");
        for command in ["generate", "apply", "plan", "distribute"] {
            let ran = env.run(&[command]).expect(4);
            ran.says(&[&format!("{file} is missing"), "restore it from a backup"]);
        }
        assert_eq!(env.tree_hash(""), before, "{file}");
    }
}

#[test]
fn an_imported_ca_signs_and_is_kept() {
    let env = TestEnv::with_inventory(&importing());
    new_ca(&env, "theirs");
    env.ok(&["generate"]).says(&["taken over from the inventory's files"]);
    assert_eq!(env.read("state/ca.pem"), env.read("ca.pem"));
    assert!(env.read("state/state.json").contains("\"origin\": \"imported\""));
    env.ok(&["generate"]).says(&["nothing to do"]);
    env.ok(&["verify"]);
    // Back to an inventory without [ca]: the CA in use is kept, and stays known as imported.
    env.write("inventory.toml", LOCAL_HOSTS);
    env.ok(&["generate"]).says(&["nothing to do"]);
    assert!(env.read("state/state.json").contains("\"origin\": \"imported\""));
}

#[test]
fn a_key_of_the_imported_ca_that_others_may_read_is_warned_of() {
    let env = TestEnv::with_inventory(&importing());
    new_ca(&env, "theirs");
    for (mode, warned) in [(0o644, true), (0o640, true), (0o600, false), (0o400, false)] {
        env.set_mode("ca-key.pem", mode);
        assert_eq!(warned_of_key(&env, "generate"), warned, "{mode:o}");
        assert_eq!(warned_of_key(&env, "plan"), warned, "{mode:o}");
    }
    env.set_mode("ca-key.pem", 0o644);
    env.ok(&["generate"]).says(&["(mode 0644)", "chmod go= "]);
}

#[test]
fn a_certificate_that_lacks_its_key_is_told_from_one_that_never_was() {
    let reissue = |env: &TestEnv| {
        let (_, document) = env.json(&["generate"]);
        let steps = document["steps"].as_array().unwrap().clone();
        steps.iter().find(|step| step["artifact"] == "kube-proxy").unwrap()["reason"].as_str().unwrap().to_owned()
    };
    let env = TestEnv::with_local_hosts();
    assert!(reissue(&env).starts_with("there was none"));
    for (files, reason) in [
        (&["kube-proxy-key.pem"][..], "its key was missing"),
        (&["kube-proxy.pem"], "its certificate was missing"),
        (&["kube-proxy-key.pem", "kube-proxy.pem"], "there was none"),
    ] {
        for file in files {
            env.remove(format!("state/certs/{file}"));
        }
        let said = reissue(&env);
        assert!(said.starts_with(reason), "{files:?}: {said}");
    }
}

#[test]
fn another_ca_than_the_one_in_use_is_refused() {
    let env = generated();
    new_ca(&env, "other");
    env.write("inventory.toml", importing());
    let before = env.tree_hash("");
    for command in ["generate", "apply", "plan", "distribute"] {
        let ran = env.run(&[command]).expect(4);
        ran.says(&["names another CA (CN=other, sha256 ", "CN=kubernetes, sha256 ", "use another state_dir"]);
    }
    assert_eq!(env.tree_hash(""), before);
}

#[test]
fn a_ca_is_kept_when_the_inventory_asks_for_another_algorithm() {
    let env = generated();
    let ca = format!("{LOCAL_HOSTS}[ca]\nalgorithm = \"ed25519\"\nvalidity = \"20d\"\ncommon_name = \"new\"\n");
    assert_eq!(rewritten(&env, &ca), [""; 0]);
    env.ok(&["generate"]).says(&["a CA is never replaced by itself", "nothing to do"]);
}

#[test]
fn an_expired_certificate_is_reissued() {
    let env = generated();
    let text = env.read("inventory.toml");
    let location = Location { path: "inventory.toml".into(), folder: env.dir().to_owned(), home: None };
    let inventory = parse_inventory(&text, &location).unwrap();
    let later = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(366 * 24);
    let snapshot = Store::at(&env.path("state")).load().unwrap();
    let given = read_given_authority(&inventory).unwrap();
    let plan = plan_generation(&inventory, given, &snapshot, later, &OsEntropy).unwrap();
    let changed: Vec<_> = plan.steps.iter().filter(|step| step.action != StepAction::Kept).collect();
    assert_eq!(changed.iter().map(|step| step.artifact).collect::<Vec<_>>(), ["kube-proxy", "kube-proxy.kubeconfig"]);
    assert!(changed[0].reason.contains("it expired on"), "{}", changed[0].reason);
}

#[test]
fn the_state_dir_belongs_to_the_inventorys_folder_and_the_flag_to_ours() {
    let env = TestEnv::new();
    env.write("clusters/a/inventory.toml", LOCAL_HOSTS);
    env.ok(&["-i", "clusters/a/inventory.toml", "generate"]);
    assert!(env.path("clusters/a/state/state.json").exists());
    env.ok(&["-i", "clusters/a/inventory.toml", "--state-dir", "here", "generate"]);
    assert!(env.path("here/state.json").exists());
    assert_ne!(env.read("here/ca.pem"), env.read("clusters/a/state/ca.pem"));
    let ran = env.kubemint().env("KUBEMINT_INVENTORY", "clusters/a/inventory.toml").arg("generate").output().unwrap();
    assert!(String::from_utf8_lossy(&ran.stdout).contains("nothing to do"), "{ran:?}");
}
