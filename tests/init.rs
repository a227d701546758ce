//! `kubemint init` on the real binary.

#![allow(clippy::unwrap_used, reason = "clippy.toml allows it in test functions only, not in what they call")]

mod support;

use support::TestEnv;

#[test]
fn what_init_writes_works_as_it_stands() {
    let env = TestEnv::new();
    let ran = env.ok(&["init"]);
    assert_eq!(ran.stdout.lines().count(), 1);
    assert!(ran.stdout.contains("inventory.toml") && ran.stdout.contains("kubemint -i inventory.toml plan"));
    assert_eq!(env.read("inventory.toml"), kubemint::inventory::EXAMPLE);
    assert_eq!(env.mode("inventory.toml"), 0o644);
    env.ok(&["plan"]).says(&["3 hosts: 3 to change"]);
    env.ok(&["apply"]);
    env.ok(&["status", "--exit-code"]);
}

#[test]
fn it_never_overwrites() {
    let env = TestEnv::with_inventory("mine");
    let before = env.tree_hash("");
    for _ in 0..2 {
        let (code, document) = env.json(&["init"]);
        assert_eq!((code, &document["error"]["code"]), (2, &"file_exists".into()));
    }
    std::os::unix::fs::symlink("nowhere", env.path("dangling")).unwrap();
    env.run(&["init", "dangling"]).expect(2).says(&["exists already"]);
    assert!(!env.path("nowhere").exists());
    env.remove("dangling");
    env.write("inventory.toml", "mine");
    assert_ne!(env.tree_hash(""), before);
    assert_eq!(env.read("inventory.toml"), "mine");
}

#[test]
fn it_writes_where_it_is_told_and_makes_the_folder() {
    let env = TestEnv::new();
    let (code, document) = env.json(&["init", "clusters/berlin.toml"]);
    assert_eq!((code, &document["schema"], &document["version"]), (0, &"kubemint/init".into(), &1.into()));
    assert_eq!(document["path"], "clusters/berlin.toml");
    env.ok(&["init", "-i", "other.toml"]);
    env.ok(&["-i", "other.toml", "plan"]);
    assert_eq!(env.files("clusters").len(), 1);
    env.run(&["init", "other.toml/x.toml"]).expect(2).says(&["other.toml"]);
}
