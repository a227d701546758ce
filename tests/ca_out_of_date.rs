//! A CA in use that has expired, or is not valid yet: what only looks works and tells, what would issue refuses with one
//! message and the way out, and nothing is changed by either.
#![allow(clippy::unwrap_used, reason = "test code")]

mod support;

use kubemint::{
    clock::FixedClock,
    entropy::OsEntropy,
    inventory::{Inventory, Location, parse_inventory},
    pki::{self, Algorithm, Authority, ClientSettings, NewAuthority},
    secret::ExposeSecret,
    store::Store,
    workflow::generate::{plan_generation, read_given_authority},
};
use serde_json::Value;
use std::time::Duration;
use support::{LOCAL_HOSTS, TestEnv};

const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// When the credentials were made, each of a year, and how that is told today.
const TIMES: [(&str, &str, &str, &str); 2] = [
    ("2020-01-01T00:00:00Z", "ca_expired", "expired at 2020-12-31", "another `state_dir`"),
    ("2090-01-01T00:00:00Z", "ca_not_yet_valid", "is not valid before 2089-12-31", "check this machine's clock"),
];

/// Where the CA comes from.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Source {
    Made,
    Imported,
    External,
}

impl Source {
    const ALL: [Self; 3] = [Self::Made, Self::Imported, Self::External];

    fn table(self) -> &'static str {
        match self {
            Self::Made => "[ca]\nvalidity = \"365d\"\n",
            Self::Imported => "[ca]\ncert = \"given.pem\"\nkey = \"given-key.pem\"\n",
            Self::External => "[ca]\ncert = \"given.pem\"\n",
        }
    }
}

fn inventory(env: &TestEnv) -> Inventory {
    let location = Location { path: "inventory.toml".into(), folder: env.dir().to_owned(), home: None };
    parse_inventory(&env.read("inventory.toml"), &location).unwrap()
}

/// A credential directory as kubemint made it at that time.
fn world(source: Source, made: &str, more: &str) -> TestEnv {
    let now: jiff::Timestamp = made.parse().unwrap();
    let new = NewAuthority { common_name: "given".into(), algorithm: Algorithm::EcdsaP256, validity: YEAR };
    let given = Authority::issue_self_signed(&new, now, &OsEntropy).unwrap();
    let env = TestEnv::with_inventory(&format!("{LOCAL_HOSTS}{}{more}", source.table()));
    env.write("given.pem", given.certificate_pem());
    env.write("given-key.pem", given.key_pem().unwrap().expose_secret());
    env.set_mode("given-key.pem", 0o600);
    if source == Source::External {
        // Made while the key was at hand.
        env.write("inventory.toml", format!("{LOCAL_HOSTS}{}{more}", Source::Imported.table()));
    }
    let (inventory, store) = (inventory(&env), Store::at(&env.path("state")));
    let held = store.lock().unwrap();
    let snapshot = store.load().unwrap();
    let authority = read_given_authority(&inventory, now).unwrap();
    let plan = plan_generation(&inventory, authority, &snapshot, now, &OsEntropy).unwrap();
    plan.commit(&store, &held, &snapshot, &FixedClock(now)).unwrap();
    drop(held);
    env.write("inventory.toml", format!("{LOCAL_HOSTS}{}{more}", source.table()));
    env
}

fn problem(document: &Value) -> (&str, &str, &str) {
    let said = |key: &str| document["ca_problem"][key].as_str().unwrap_or_else(|| panic!("{document:#}"));
    (said("code"), said("message"), said("hint"))
}

#[test]
fn what_only_looks_works_and_tells() {
    for source in Source::ALL {
        for (made, code, message, way_out) in TIMES {
            let env = world(source, made, "");
            let before = env.tree_hash("state");
            for file in ["bootstrap.kubeconfig", "kube-proxy.kubeconfig"] {
                let path = format!("hosts/node-1/etc/kubernetes/{file}");
                env.write(&path, env.read(format!("state/kubeconfigs/{file}")));
                env.set_mode(&path, 0o600);
            }
            for command in ["status", "plan"] {
                let (exit, document) = env.json(&[command]);
                assert_eq!(exit, 0, "{source:?} {command} {document:#}");
                let (told, said, hint) = problem(&document);
                assert_eq!(told, code, "{source:?} {command}");
                assert!(said.contains(message) && hint.contains(way_out), "{source:?} {command}: {said} / {hint}");
                let states: Vec<&str> = document["hosts"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|host| {
                        let files = host["files"].as_array().unwrap();
                        files
                            .iter()
                            .find(|file| file["state"] != "same")
                            .map_or("same", |file| file["state"].as_str().unwrap())
                    })
                    .collect();
                assert_eq!(states, ["missing", "same", "missing"], "{source:?} {command} {document:#}");
                let ran = env.run(&[command]).expect(0);
                assert!(ran.stderr.contains(message) && ran.stderr.contains(way_out), "{ran:?}");
            }
            let (exit, steps) = env.json(&["plan"]);
            assert_eq!(exit, 0);
            let actions: Vec<&Value> = steps["steps"].as_array().unwrap().iter().map(|step| &step["action"]).collect();
            assert!(actions.iter().all(|action| **action == "kept"), "{steps:#}");
            for command in
                [&["cert", "list"][..], &["token", "show"], &["token", "lint", "state/token.csv"], &["runs", "list"]]
            {
                env.ok(command);
            }
            let (exit, checks) = env.json(&["verify"]);
            assert_eq!((exit, &checks["ok"]), (6, &Value::Bool(false)), "{checks:#}");
            let (exit, health) = env.json(&["doctor"]);
            assert!(health["schema"] == "kubemint/doctor" && health.to_string().contains(message), "{exit} {health:#}");
            assert_eq!(env.tree_hash("state"), before);
        }
    }
}

#[test]
fn what_would_issue_refuses_with_one_message_and_changes_nothing() {
    for source in Source::ALL {
        for (made, _, message, way_out) in TIMES {
            let env = world(source, made, "");
            let before = env.tree_hash("");
            let refusal = if source == Source::Made { (4, "state_unusable") } else { (2, "ca_invalid") };
            let commands: [&[&str]; 4] = [
                &["generate"],
                &["apply", "--yes"],
                &["distribute"],
                &["reissue", "kube-proxy", "--if-expiring", "30d"],
            ];
            for command in commands {
                let (exit, refused) = env.json(command);
                let error = &refused["error"];
                assert_eq!((exit, error["code"].as_str().unwrap()), refusal, "{source:?} {command:?} {refused:#}");
                let (said, hint) = (error["message"].as_str().unwrap(), error["hint"].as_str().unwrap());
                assert!(said.contains(message) && hint.contains(way_out), "{source:?} {command:?}: {said} / {hint}");
                // What the hint names must work, and it must not ask for what is refused.
                for word in ["renew", "let kubemint make one", "never replaces"] {
                    assert!(!hint.contains(word), "{hint}");
                }
            }
            assert_eq!(env.tree_hash(""), before, "{source:?}");
        }
    }
}

#[test]
fn the_way_out_of_an_expired_ca_leads_out() {
    let env = world(Source::Made, TIMES[0].0, "");
    env.run(&["apply", "--yes"]).expect(4);
    let text = env.read("inventory.toml").replace("state_dir = \"state\"", "state_dir = \"anew\"");
    assert!(text.contains("anew"));
    env.write("inventory.toml", text);
    env.ok(&["apply", "--yes", "--replace-foreign"]);
    env.ok(&["status", "--exit-code"]);
    env.ok(&["verify"]);
}

#[test]
fn a_ca_that_was_out_of_date_before_anything_was_made_is_refused_by_everything() {
    for (made, _, message, _) in TIMES {
        let env = world(Source::Imported, made, "");
        std::fs::remove_dir_all(env.path("state")).unwrap();
        for command in [&["plan"][..], &["status"], &["generate"], &["apply", "--yes"]] {
            let (exit, refused) = env.json(command);
            assert_eq!((exit, &refused["error"]["code"]), (2, &"ca_invalid".into()), "{command:?} {refused:#}");
            assert!(refused["error"]["message"].as_str().unwrap().contains(message), "{refused:#}");
        }
        assert!(!env.path("state").exists());
    }
}

#[test]
fn with_keys_of_nodes_own_what_there_is_is_shown_also_of_a_node_that_has_none() {
    let env = world(Source::Made, TIMES[0].0, "[certificates.kube-proxy]\nper_node = true\n");
    let text = env.read("inventory.toml").replace("node-[1-2]", "node-[1-3]");
    env.write("inventory.toml", text);
    for command in ["status", "plan"] {
        let (exit, document) = env.json(&[command]);
        assert_eq!((exit, document["hosts"].as_array().unwrap().len()), (0, 4), "{document:#}");
        assert_eq!(problem(&document).0, "ca_expired");
    }
    env.ok(&["plan"]).says(&["3 of 4 nodes have one; their CA is out of date"]);
}

/// The premise of the tests: a certificate of that CA has ended with it.
#[test]
fn nothing_is_issued_past_the_end_of_a_ca() {
    let made: jiff::Timestamp = TIMES[0].0.parse().unwrap();
    let new = NewAuthority { common_name: "x".into(), algorithm: Algorithm::EcdsaP256, validity: YEAR };
    let authority = Authority::issue_self_signed(&new, made, &OsEntropy).unwrap();
    let settings = ClientSettings { algorithm: Algorithm::EcdsaP256, validity: 9 * YEAR, organization: "o".into() };
    let now = jiff::Timestamp::now();
    assert!(pki::issue_client(&authority, &pki::KUBE_PROXY, &settings, now, &OsEntropy).is_err());
    assert!(Authority::import(authority.certificate_pem(), authority.key_pem().unwrap(), now).is_err());
    assert!(Authority::read(authority.certificate_pem(), authority.key_pem(), now).is_ok());
}
