//! `kubemint token …` on the real binary.

#![allow(clippy::unwrap_used, reason = "clippy.toml allows it in test functions only, not in what they call")]

mod support;

use serde::Deserialize;
use serde_json::Value;
use support::{LOCAL_HOSTS, TestEnv};

const GOOD: &str = "9b41f7d03c5e28a6d1f0947c3be85a62,kubelet-bootstrap,10001,\"system:kubelet-bootstrap\"\n";

fn generated() -> TestEnv {
    let env = TestEnv::with_local_hosts();
    env.ok(&["generate"]);
    env
}

fn yaml(text: &str) -> Vec<Value> {
    let documents = serde_yaml::Deserializer::from_str(text).map(|document| Value::deserialize(document).unwrap());
    documents.filter(|document| !document.is_null()).collect()
}

#[test]
fn show_names_the_token_by_fingerprint_and_reveals_it_only_when_asked() {
    let env = generated();
    let token = env.read("state/token.csv")[..32].to_owned();
    let shown = env.ok(&["token", "show", "-vv"]);
    env.assert_no_secret(&(shown.stdout.clone() + &shown.stderr));
    shown.says(&["kubelet-bootstrap", "10001", "system:kubelet-bootstrap", "created"]);
    let (_, document) = env.json(&["token", "show"]);
    assert_eq!((&document["schema"], &document["version"]), (&"kubemint/token".into(), &1.into()));
    assert_eq!(document["fingerprint"], kubemint::digest::Digest::of(&token).to_string()[..8]);
    assert_eq!((&document["user"], &document["uid"]), (&"kubelet-bootstrap".into(), &"10001".into()));
    assert_eq!((&document["other_rows"], document.get("token")), (&0.into(), None));
    let (_, revealed) = env.json(&["token", "show", "--reveal"]);
    assert_eq!(revealed["token"], token.as_str());
    env.ok(&["token", "show", "--reveal"]).says(&[&token]);
    // With --state-dir no inventory is needed.
    env.remove("inventory.toml");
    env.ok(&["token", "show", "--state-dir", "state"]);
    env.run(&["token", "show"]).expect(2).says(&["inventory.toml"]);
}

#[test]
fn show_before_generate_and_without_token_csv_is_refused_with_the_way_out() {
    let env = TestEnv::with_local_hosts();
    env.run(&["token", "show"]).expect(4).says(&["there are no credentials", "kubemint generate"]);
    env.ok(&["generate"]);
    env.remove("state/token.csv");
    env.run(&["token", "show"]).expect(4).says(&["token.csv is missing", "`kubemint generate` makes it again"]);
}

#[test]
fn lint_tells_right_misleading_and_fatal_apart() {
    let env = TestEnv::new();
    for (text, code, severity) in [
        (GOOD, 0, None),
        ("9b41f7d03c5e28a6d1f0947c3be85a62,u,1,g1,g2\n", 6, Some("misleading")),
        ("${BOOTSTRAP_TOKEN},kubelet-bootstrap,10001\n", 6, Some("misleading")),
        (",kubelet-bootstrap,10001\n", 6, Some("misleading")),
        ("9b41f7d03c5e28a6d1f0947c3be85a62,u\n", 2, Some("fatal")),
    ] {
        env.write("t.csv", text);
        let (exit, document) = env.json(&["token", "lint", "t.csv"]);
        assert_eq!((exit, &document["schema"]), (code, &"kubemint/token-lint".into()), "{text}");
        assert_eq!(document["findings"].get(0).map(|finding| &finding["severity"]), severity.map(Value::from).as_ref());
        let piped = env.run_with_input(&["token", "lint", "-"], text).expect(code);
        assert_eq!(piped.stdout, env.run(&["token", "lint", "t.csv"]).stdout.replace("t.csv", "-"));
    }
    let env = generated();
    env.ok(&["token", "lint", "state/token.csv"]).says(&["nothing to find fault with"]);
}

/// Rows as people have them: quoted where nothing asks for it, a weak token, the admin group, a CRLF, no last newline.
const OLD: &str = "\"4f0c21d7a95be836c0d7f1128e64b39a\",alice,1,\"dev,ops\"\n\
    s3cr3t,bob,2\r\n\
    d09e5f81b27c43a6900c8e5d16f7ab34,\"root \"\"admin\"\"\",3,\"system:masters\"";

#[test]
fn merge_keeps_foreign_rows_byte_for_byte_and_our_token() {
    let env = generated();
    let ours = env.read("state/token.csv");
    let own_row_of_before = "7c1be90d53f2468aa3e05d9f18b6c472,kubelet-bootstrap,10001,\"old\"\n";
    env.write("old.csv", format!("{own_row_of_before}{}", OLD.replace("\"root \"\"admin\"\"\"", "root")));
    let before = env.read("old.csv");
    let (code, document) = env.json(&["token", "merge", "old.csv"]);
    assert_eq!((code, &document["changed"]), (0, &true.into()), "{document}");
    let merged = env.read("state/token.csv");
    for row in OLD.replace("\"root \"\"admin\"\"\"", "root").split_inclusive('\n') {
        assert!(merged.contains(row), "{row:?} is not in {merged:?}");
    }
    assert!(merged.contains(&ours) && !merged.contains(own_row_of_before.trim()), "{merged}");
    assert_eq!(merged.lines().count(), 4);
    assert!(merged.ends_with('\n'));
    let origin = |user: &str| {
        let rows = document["rows"].as_array().unwrap();
        rows.iter().find(|row| row["user"] == user).unwrap()["origin"].clone()
    };
    assert_eq!((origin("alice"), origin("kubelet-bootstrap")), ("taken".into(), "ours".into()));
    assert_eq!(env.read("old.csv"), before, "the file itself is not changed");
    env.ok(&["verify"]);
    env.ok(&["apply"]);
    assert_eq!(env.read("hosts/cp-1/etc/kubernetes/token.csv"), merged);
    // Later generations keep the rows; our row follows the inventory.
    env.write("inventory.toml", format!("{LOCAL_HOSTS}[token]\nuid = \"77\"\n"));
    env.ok(&["generate"]);
    let later = env.read("state/token.csv");
    assert_eq!(later, merged.replacen(&ours, "", 1) + &ours.replace("10001", "77"));
    assert_eq!(env.json(&["token", "show"]).1["other_rows"], 3);
}

#[test]
fn merge_warns_of_unwise_rows_and_repeats_no_token() {
    let env = generated();
    env.write("old.csv", OLD.replace("\"root \"\"admin\"\"\"", "root"));
    let ran = env.ok(&["token", "merge", "old.csv"]);
    assert!(ran.stderr.contains("warning: old.csv:2: token ") && ran.stderr.contains("bits"), "{}", ran.stderr);
    assert!(ran.stderr.contains("warning: old.csv:3: group system:masters"), "{}", ran.stderr);
    let said = ran.stdout + &ran.stderr;
    for token in ["4f0c21d7a95be836c0d7f1128e64b39a", "s3cr3t", "d09e5f81b27c43a6900c8e5d16f7ab34"] {
        assert!(!said.contains(token), "{said}");
    }
}

#[test]
fn merging_again_writes_nothing() {
    let env = generated();
    env.write("old.csv", OLD.replace("\"root \"\"admin\"\"\"", "root"));
    env.ok(&["token", "merge", "old.csv"]);
    let before = env.tree_hash("");
    env.ok(&["token", "merge", "old.csv"]).says(&["nothing to merge"]);
    env.run_with_input(&["token", "merge", "-"], env.read("old.csv")).expect(0).says(&["nothing to merge"]);
    assert_eq!(env.tree_hash(""), before);
}

#[test]
fn a_lost_token_csv_with_rows_of_others_is_brought_back_by_a_hosts_copy_only() {
    let env = generated();
    assert!(!env.read("state/state.json").contains("other_rows"), "what older versions wrote stays valid");
    env.write("old.csv", OLD.replace("\"root \"\"admin\"\"\"", "root"));
    env.ok(&["token", "merge", "old.csv"]);
    env.ok(&["apply"]);
    let merged = env.read("state/token.csv");
    env.remove("state/token.csv");
    let before = env.tree_hash("");
    for command in ["generate", "apply", "plan", "distribute"] {
        let ran = env.run(&[command]).expect(4);
        ran.says(&["token.csv is missing, and with it the rows of alice, bob, root", "token merge FILE", "a backup"]);
    }
    assert_eq!(env.tree_hash(""), before);
    // A copy that lacks a row: it says which one is gone.
    let copy = env.read("hosts/cp-1/etc/kubernetes/token.csv");
    assert_eq!(copy, merged);
    let without_bob: String = copy.split_inclusive('\n').filter(|row| !row.contains("bob")).collect();
    env.write("copy.csv", without_bob);
    let (code, document) = env.json(&["token", "merge", "copy.csv"]);
    let origins = |document: &Value| {
        let rows = document["rows"].as_array().unwrap();
        let pairs = rows.iter().map(|row| (row["user"].as_str().unwrap(), row["origin"].as_str().unwrap()));
        pairs.map(|(user, origin)| format!("{user} {origin}")).collect::<Vec<_>>()
    };
    assert_eq!(code, 0, "{document}");
    assert_eq!(origins(&document), ["kubelet-bootstrap ours", "alice kept", "root kept", "bob dropped"]);
    env.write("copy.csv", &copy);
    let (_, document) = env.json(&["token", "merge", "copy.csv"]);
    assert_eq!(origins(&document), ["kubelet-bootstrap ours", "alice kept", "root kept", "bob taken"]);
    let rows = |text: &str| text.lines().map(str::to_owned).collect::<std::collections::BTreeSet<_>>();
    assert_eq!(rows(&env.read("state/token.csv")), rows(&merged));
    env.ok(&["generate"]).says(&["nothing to do"]);
    env.ok(&["verify"]);
}

#[test]
fn our_own_token_comes_back_from_the_hosts_copy_too_and_is_never_made_anew_by_merge() {
    let env = generated();
    env.write("old.csv", "4f0c21d7a95be836c0d7f1128e64b39a,alice,1\n");
    env.ok(&["token", "merge", "old.csv"]);
    let merged = env.read("state/token.csv");
    env.remove("state/token.csv");
    env.remove("state/kubeconfigs/bootstrap.kubeconfig");
    env.run(&["token", "merge", "old.csv"]).expect(4).says(&["our own token is lost", "from a backup"]);
    env.write("copy.csv", &merged);
    env.ok(&["token", "merge", "copy.csv"]);
    assert_eq!(env.read("state/token.csv"), merged);
    env.ok(&["generate"]);
    env.ok(&["verify"]);
}

#[test]
fn merge_names_the_rows_it_drops() {
    let env = generated();
    let old = "7c1be90d53f2468aa3e05d9f18b6c472";
    env.write("old.csv", format!("{old},kubelet-bootstrap,10001,\"old\"\n"));
    let (_, document) = env.json(&["token", "merge", "old.csv"]);
    let rows = document["rows"].as_array().unwrap();
    assert_eq!((&rows[0]["origin"], &rows[1]["origin"]), (&"ours".into(), &"dropped".into()), "{document}");
    let fingerprint = &kubemint::digest::Digest::of(old).to_string()[..8];
    assert_eq!((&rows[1]["user"], &rows[1]["token"]), (&"kubelet-bootstrap".into(), &fingerprint.into()));
    let ran = env.ok(&["token", "merge", "old.csv"]);
    ran.says(&["dropped", fingerprint, "must get the new bootstrap.kubeconfig", "nothing to merge"]);
    // Also a row of somebody else's whose token the file replaces.
    env.write("one.csv", "4f0c21d7a95be836c0d7f1128e64b39a,alice,1\n");
    env.write("two.csv", "d09e5f81b27c43a6900c8e5d16f7ab34,alice,1\n");
    env.ok(&["token", "merge", "one.csv"]);
    let (_, document) = env.json(&["token", "merge", "two.csv"]);
    let origins: Vec<_> = document["rows"].as_array().unwrap().iter().map(|row| row["origin"].clone()).collect();
    assert_eq!(origins, ["ours", "taken", "dropped"], "{document}");
}

#[test]
fn merge_takes_no_row_whose_columns_are_swapped_and_repeats_none_of_it() {
    let env = generated();
    let hex = "4f0c21d7a95be836c0d7f1128e64b39a";
    let before = env.tree_hash("state");
    for (row, secret) in [
        (format!("kubelet-bootstrap,{hex},10001"), hex),
        (format!("somebody,{hex},10001"), hex),
        (format!("kubelet-bootstrap,10001,{hex}"), hex),
        ("somebody,k3jx9a.v1c7q0zt5w8mhy2e,1".to_owned(), "v1c7q0zt5w8mhy2e"),
        ("somebody,Zm9vYmFyYmF6cXV4Y29yZ2U=,1".to_owned(), "Zm9vYmFyYmF6cXV4Y29yZ2U="),
    ] {
        env.write("old.csv", format!("{row}\n"));
        for arguments in [&["token", "merge", "old.csv"][..], &["token", "merge", "old.csv", "-o", "json"]] {
            let ran = env.run(arguments).expect(2).says(&["old.csv:1: ", "changed places", "token,user,uid"]);
            assert!(!(ran.stdout + &ran.stderr).contains(secret), "{row}");
        }
    }
    env.write("inventory.toml", format!("{LOCAL_HOSTS}[token]\nuser = \"boot\"\n"));
    env.write("old.csv", "boot,1,10001\n");
    env.run(&["token", "merge", "old.csv"]).expect(2).says(&["old.csv:1: the token is the name of our own user"]);
    assert_eq!(env.tree_hash("state"), before);
}

#[test]
fn merge_shows_foreign_names_safely() {
    let env = generated();
    // With a colon it is a name to lint.
    let odd = "team:9b41f7d03c5e28a6d1f0947c3be85a62";
    env.write("old.csv", format!("4f0c21d7a95be836c0d7f1128e64b39a,{odd},1\n"));
    let ran = env.ok(&["token", "merge", "old.csv"]);
    assert!(!ran.stdout.contains(odd) && ran.stdout.contains("[redacted]"), "{}", ran.stdout);
    assert!(env.read("state/token.csv").contains(odd));
}

#[test]
fn merge_before_generate_is_refused() {
    let env = TestEnv::with_local_hosts();
    env.write("old.csv", GOOD);
    let before = env.tree_hash("");
    env.run(&["token", "merge", "old.csv"]).expect(4).says(&["there are no credentials", "kubemint generate"]);
    assert_eq!(env.tree_hash(""), before);
}

#[test]
fn manifest_binds_the_tokens_user_and_groups() {
    let env = TestEnv::with_inventory(&format!("{LOCAL_HOSTS}[token]\nuser = \"yes\"\ngroups = [\"0123\", \"b\"]\n"));
    let text = env.ok(&["token", "manifest"]).stdout;
    let documents = yaml(&text);
    let role = |i: usize| documents[i]["roleRef"]["name"].as_str().unwrap().to_owned();
    let approver = "system:certificates.k8s.io:certificatesigningrequests:";
    assert_eq!(role(0), "system:node-bootstrapper");
    assert_eq!((role(1), role(2)), (format!("{approver}nodeclient"), format!("{approver}selfnodeclient")));
    let names: Vec<_> = documents[0]["subjects"].as_array().unwrap().iter().map(|s| s["name"].clone()).collect();
    assert_eq!(names, ["yes", "0123", "b"], "names stay text");
    let (_, list) = env.json(&["token", "manifest"]);
    assert_eq!((&list["schema"], &list["version"]), (&"kubemint/manifest".into(), &1.into()));
    assert_eq!((&list["apiVersion"], &list["kind"]), (&"v1".into(), &"List".into()));
    assert_eq!(list["items"].as_array().unwrap(), &documents);
    assert!(!env.path("state").exists(), "it needs no credentials");
}

#[test]
fn manifest_with_a_bootstrap_secret_needs_no_inventory_and_honours_ttl_and_groups() {
    let env = TestEnv::new();
    let group = "system:bootstrappers:berlin";
    for (arguments, hours) in [(&[][..], 24), (&["--ttl", "90m"], 1), (&["--ttl", "2d", "--group", group], 48)] {
        let line = [&["token", "manifest", "--bootstrap-secret"], arguments].concat();
        let documents = yaml(&env.ok(&line).stdout);
        let data = &documents[0]["stringData"];
        assert_eq!(documents[0]["type"], "bootstrap.kubernetes.io/token");
        assert_eq!(documents[0]["metadata"]["namespace"], "kube-system");
        let id = data["token-id"].as_str().unwrap();
        assert_eq!(documents[0]["metadata"]["name"], format!("bootstrap-token-{id}"));
        assert_eq!((id.len(), data["token-secret"].as_str().unwrap().len()), (6, 16));
        let end: jiff::Timestamp = data["expiration"].as_str().unwrap().parse().unwrap();
        let left = end.duration_since(jiff::Timestamp::now()).as_mins();
        let asked = if hours == 1 { 90 } else { hours * 60 };
        assert!((asked - 2..=asked).contains(&left), "{left} minutes");
        if arguments.contains(&group) {
            assert_eq!(data["auth-extra-groups"], group);
            assert!(documents[1]["subjects"].to_string().contains(group), "{}", documents[1]);
        }
    }
    let first = env.ok(&["token", "manifest", "--bootstrap-secret"]).stdout;
    assert_ne!(first, env.ok(&["token", "manifest", "--bootstrap-secret"]).stdout, "every one is new");
    let (_, list) = env.json(&["token", "manifest", "--bootstrap-secret"]);
    assert_eq!(list["items"][0]["kind"], "Secret");
}

#[test]
fn templates_of_ones_own_replace_the_built_in_ones_one_by_one() {
    let env = TestEnv::with_local_hosts();
    env.write("t/rbac.yaml", "kind: Mine\nwho: {{ bootstrappers[0].name }}\n");
    let text = env.ok(&["token", "manifest", "--templates", "t"]).stdout;
    assert_eq!(yaml(&text), [serde_json::json!({ "kind": "Mine", "who": "kubelet-bootstrap" })]);
    let text = env.ok(&["token", "manifest", "--templates", "t", "--bootstrap-secret"]).stdout;
    env.write("t/rbac.yaml", "kind: Mine\nwho: {{ user }}\n");
    env.run(&["token", "manifest", "--templates", "t"]).expect(2).says(&["template rbac.yaml:2: undefined value"]);
    assert_eq!(yaml(&text)[0]["type"], "bootstrap.kubernetes.io/token", "the other one is the built-in");
}
