//! Runs that share the hosts: every host in exactly one part, with the credential directory read-only, several at once.
#![allow(clippy::unwrap_used)]

mod support;

use serde_json::{Value, json};
use std::{collections::BTreeMap, process::Command};
use support::{Fleet, LOCAL_HOSTS, Ran, Relays, Running, TestEnv, eventually, hosts_that_are, require};

fn with_variables(env: &TestEnv, arguments: &[&str], variables: &[(&str, &str)]) -> Ran {
    Ran::from(env.kubemint().args(arguments).envs(variables.iter().copied()).output().unwrap())
}

/// The names in a report.
fn names(report: &str) -> Vec<String> {
    let report: Value = serde_json::from_str(report).unwrap();
    report["hosts"].as_array().unwrap().iter().map(|host| host["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn parts_together_are_all_hosts_once() {
    let env = TestEnv::with_local_hosts();
    env.ok(&["apply"]);
    let all = names(&env.ok(&["status", "-o", "json"]).stdout);
    for count in 1..=5 {
        let mut found = Vec::new();
        for part in 1..=count {
            let part = format!("{part}/{count}");
            found.extend(names(&env.ok(&["status", "--shard", &part, "-o", "json"]).stdout));
        }
        found.sort();
        assert_eq!(found, all, "{count}");
    }
    let limited = names(&env.ok(&["status", "--limit", "node-*", "--shard", "2/2", "-o", "json"]).stdout);
    assert_eq!(limited, ["node-2"], "what --limit leaves is split");
}

#[test]
fn an_empty_part_is_done_and_says_so() {
    let env = TestEnv::with_local_hosts();
    env.ok(&["generate"]);
    for command in ["distribute", "apply", "plan", "status"] {
        let ran = env.ok(&[command, "--shard", "4/4"]);
        ran.says(&["part 4/4 of 3 hosts is empty"]);
    }
    let (code, document) = env.json(&["distribute", "--shard", "4/4", "--runs-dir", "shards"]);
    assert_eq!((code, &document["hosts"], &document["run_id"]), (0, &json!([]), &Value::Null));
    assert!(!env.path("hosts").exists());
}

#[test]
fn a_part_is_taken_from_the_environment_only_where_it_is_asked_for() {
    let env = TestEnv::with_local_hosts();
    env.ok(&["apply"]);
    let status = |flags: &[&str], variables: &[(&str, &str)]| {
        with_variables(&env, &[&["status", "-o", "json"], flags].concat(), variables)
    };
    let job = [("JOB_COMPLETION_INDEX", "1")];
    let slurm = [
        ("SLURM_ARRAY_TASK_ID", "10"),
        ("SLURM_ARRAY_TASK_COUNT", "3"),
        ("SLURM_ARRAY_TASK_MIN", "10"),
        ("SLURM_ARRAY_TASK_MAX", "12"),
    ];
    assert_eq!(names(&status(&[], &job).expect(0).stdout).len(), 3);
    assert_eq!(names(&status(&[], &slurm).expect(0).stdout).len(), 3);
    assert_eq!(names(&status(&["--shard-count", "3"], &job).expect(0).stdout), ["node-1"]);
    assert_eq!(names(&status(&["--shard", "auto"], &slurm).expect(0).stdout), ["cp-1"]);
    for (flags, variables, words) in [
        (&["--shard", "auto"][..], &job[..], "--shard-count N"),
        (&["--shard-count", "3"], &[], "neither"),
        (&["--shard-count", "4"], &slurm, "has 3 tasks"),
        (&["--shard-count", "0"], &job, "no"),
        (&["--shard", "1/3", "--shard-count", "3"], &job, "both"),
        (&["--shard", "4/3"], &[], "no part 4 of 3"),
        (&["--shard", "0/3"], &[], "no part 0 of 3"),
        (&["--shard", "x"], &[], "1/4"),
    ] {
        let ran = status(flags, variables).expect(2);
        assert!(ran.stdout.contains(words), "{flags:?}: {}", ran.stdout);
    }
}

/// kubemint in a mount namespace of its own, where the state directory is read-only.
fn read_only(env: &TestEnv, arguments: &[&str]) -> Running {
    let script =
        "mount --bind state state && mount -o remount,ro,bind state && ! touch state/x 2>/dev/null && exec \"$@\"";
    let mut command = Command::new(require("unshare"));
    command.args(["-m", "sh", "-c", script, "sh", env!("CARGO_BIN_EXE_kubemint")]);
    Running::start_command(env, command, arguments)
}

#[test]
fn four_parts_at_once_over_a_read_only_state_cover_every_host_once() {
    need_root!();
    let fleet = Fleet::of_nodes(12);
    fleet.run(&["generate"]).expect(0);
    let state = fleet.env.tree_hash("state");
    let started: Vec<Running> = (1..=4)
        .map(|part| {
            let part = format!("{part}/4");
            read_only(&fleet.env, &["distribute", "--shard", &part, "--runs-dir", "shards", "-o", "json"])
        })
        .collect();
    for (part, running) in started.into_iter().enumerate() {
        let ran = running.wait().expect(0);
        assert_eq!(names(&ran.stdout).len(), 3, "{}", ran.stdout);
        fleet.env.write(format!("part-{part}.json"), ran.stdout);
    }
    assert_eq!(fleet.env.tree_hash("state"), state, "nothing was written there");
    for host in &fleet.hosts {
        assert_eq!(host.log().matches("Starting session").count(), 1, "{}: {}", host.name(), host.log());
    }
    (0..12).for_each(|index| fleet.assert_complete(index));

    let printed = ["part-0.json", "part-1.json", "part-2.json", "part-3.json"].map(str::to_owned);
    let kept: Vec<String> = std::fs::read_dir(fleet.env.path("shards"))
        .unwrap()
        .map(|run| format!("shards/{}", run.unwrap().file_name().to_str().unwrap()))
        .collect();
    for reports in [&printed[..], &kept] {
        let words = [&["runs", "merge", "--complete"], &reports.iter().map(String::as_str).collect::<Vec<_>>()[..]];
        let (code, merged) = fleet.json(&words.concat());
        assert_eq!((code, &merged["missing"]), (0, &json!([])), "{merged:#}");
        let mut counts = BTreeMap::new();
        merged["hosts"]
            .as_array()
            .unwrap()
            .iter()
            .for_each(|h| *counts.entry(h["name"].as_str().unwrap()).or_insert(0) += 1);
        assert_eq!((counts.len(), counts.values().max()), (12, Some(&1)));
        assert_eq!(hosts_that_are(&merged, "changed").len(), 12);
    }
    let (_, list) = fleet.json(&["runs", "list", "--runs-dir", "shards"]);
    assert_eq!(list["runs"].as_array().unwrap().len(), 4);
    let (code, report) = fleet.json(&["rollback", "last", "--runs-dir", "shards"]);
    assert_eq!((code, hosts_that_are(&report, "changed").len()), (0, 3), "{report:#}");
}

#[test]
fn of_a_part_that_was_run_again_the_later_run_holds() {
    let env = TestEnv::with_local_hosts();
    env.ok(&["generate"]);
    let distribute = |part: &str| env.run(&["distribute", "--shard", part, "--runs-dir", "shards", "-o", "json"]);
    env.write("hosts/node-1/etc/kubernetes/bootstrap.kubeconfig/in-the-way", "");
    env.write("first.json", distribute("2/2").expect(3).stdout);
    std::fs::remove_dir_all(env.path("hosts/node-1/etc/kubernetes/bootstrap.kubeconfig")).unwrap();
    env.write("other.json", distribute("1/2").expect(0).stdout);
    env.write("again.json", distribute("2/2").expect(0).stdout);
    let reports = ["other.json", "again.json", "first.json"];
    let merge = [&["runs", "merge", "--complete"], &reports[..]].concat();
    let (code, refused) = env.json(&merge);
    assert_eq!((code, &refused["error"]["code"]), (2, &"host_twice".into()), "{refused:#}");
    assert!(refused["error"]["hint"].as_str().unwrap().contains("--latest"), "{refused:#}");
    let (code, merged) = env.json(&[&merge[..], &["--latest"]].concat());
    assert_eq!((code, hosts_that_are(&merged, "changed").len()), (0, 3), "{merged:#}");
    env.write(
        "all.json",
        env.ok(&[&merge[..2], &["--latest", "other.json", "again.json", "-o", "json"]].concat()).stdout,
    );
    let ran = env.run(&["runs", "merge", "all.json", "again.json", "first.json"]).expect(2);
    assert!(ran.stderr.contains("and 1 more host in two reports"), "{}", ran.stderr);
}

#[test]
fn readers_and_a_writer_keep_each_other_out_and_are_named() {
    let (mut fleet, relays) = (Fleet::of_nodes(2), Relays::new());
    fleet.run(&["generate"]).expect(0);
    fleet.relay_all(&relays);
    relays.close_gate();
    let part = |part: &'static str| ["distribute", "--shard", part, "--runs-dir", "shards", "-o", "json"];
    let readers = [fleet.start(&part("1/2")), fleet.start(&part("2/2"))];
    eventually("both parts to be under way", || (relays.connections() == 2).then_some(()));
    for command in ["apply", "distribute", "rollback last"] {
        let words: Vec<&str> = command.split(' ').collect();
        let (code, refused) = fleet.json(&words);
        if command.starts_with("rollback") {
            assert_eq!(code, 2, "no run is recorded in the state directory: {refused:#}");
            continue;
        }
        assert_eq!((code, &refused["error"]["code"]), (4, &"state_locked".into()), "{refused:#}");
        let message = refused["error"]["message"].as_str().unwrap();
        assert!(readers.iter().any(|reader| message.contains(&reader.pid().to_string())), "{message}");
    }
    let (_, list) = fleet.json(&["runs", "list", "--runs-dir", "shards"]);
    assert!(list["runs"].as_array().unwrap().iter().all(|run| run["state"] == "running"), "{list:#}");
    relays.open_gate();
    for reader in readers {
        reader.wait().expect(0);
    }

    relays.close_gate();
    let before = relays.connections();
    let writer = fleet.start(&["apply"]);
    eventually("the writer to be under way", || (relays.connections() > before).then_some(()));
    let (code, refused) = fleet.json(&part("1/2")[..5]);
    assert_eq!((code, &refused["error"]["code"]), (4, &"state_locked".into()), "{refused:#}");
    let message = refused["error"]["message"].as_str().unwrap();
    assert!(message.contains(&writer.pid().to_string()), "{message}");
    relays.open_gate();
    writer.wait().expect(0);
}

#[test]
fn a_state_that_others_may_write_is_not_believed_when_it_is_only_read() {
    let env = TestEnv::with_local_hosts();
    env.ok(&["generate"]);
    let run = ["distribute", "--runs-dir", "shards"];
    env.set_mode("state", 0o750);
    env.ok(&run).says(&["is open to others"]);
    assert_eq!(env.mode("state"), 0o750, "it is not ours to narrow");
    env.set_mode("state", 0o770);
    env.run(&run).expect(4).says(&["can be written by others"]);
    env.set_mode("state", 0o700);
    env.set_mode("shards", 0o777);
    env.run(&run).expect(4).says(&["shards", "can be written by others"]);
    env.write("inventory.toml", LOCAL_HOSTS.replace("172.20.0.113", "172.20.0.114"));
    env.set_mode("shards", 0o700);
    env.run(&run).expect(4).says(&["not what the inventory asks for"]);
}

#[test]
fn the_slurm_script_runs_one_part_per_task() {
    let env = TestEnv::with_local_hosts();
    env.ok(&["generate"]);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/templates/scale/slurm-array.sh");
    let bin = std::path::Path::new(env!("CARGO_BIN_EXE_kubemint")).parent().unwrap().display().to_string();
    for task in ["1", "2", "3", "4"] {
        let mut command = Command::new("sh");
        command.arg(script).current_dir(env.dir()).env_clear().env("HOME", env.path("home"));
        command.env("PATH", format!("{bin}:/usr/bin:/bin")).env("KUBEMINT_INVENTORY", "inventory.toml");
        command.env("KUBEMINT_RUNS", env.path("shared")).env("SLURM_ARRAY_JOB_ID", "77");
        command.env("SLURM_ARRAY_TASK_ID", task).env("SLURM_ARRAY_TASK_COUNT", "4");
        command.env("SLURM_ARRAY_TASK_MIN", "1").env("SLURM_ARRAY_TASK_MAX", "4");
        let ran = Ran::from(command.output().unwrap());
        ran.expect(0);
    }
    let reports: Vec<String> = (1..=4).map(|task| format!("shared/77/part-{task}.json")).collect();
    let words =
        [&["runs", "merge", "--complete"], &reports.iter().map(String::as_str).collect::<Vec<_>>()[..]].concat();
    let (code, merged) = env.json(&words);
    assert_eq!((code, hosts_that_are(&merged, "changed").len()), (0, 3), "{merged:#}");
}

#[test]
fn the_job_manifest_is_an_indexed_job_whose_parts_are_its_completions() {
    let text = include_str!("../templates/scale/kubernetes-job.yaml");
    let job: Value = serde_yaml::from_str(text).unwrap();
    let spec = &job["spec"];
    assert_eq!((&job["kind"], &spec["completionMode"]), (&"Job".into(), &"Indexed".into()));
    let pod = &spec["template"]["spec"];
    assert_eq!((&pod["automountServiceAccountToken"], &pod["restartPolicy"]), (&false.into(), &"Never".into()));
    let container = &pod["containers"][0];
    let args: Vec<&str> = container["args"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
    let count = args.iter().position(|word| *word == "--shard-count").unwrap() + 1;
    assert_eq!(args[count], spec["completions"].to_string());
    let runs = args.iter().position(|word| *word == "--runs-dir").unwrap() + 1;
    assert_eq!((args[runs], &container["env"][0]["name"]), ("/runs/$(JOB_NAME)", &"JOB_NAME".into()));
    let words = std::iter::once("kubemint").chain(args.iter().copied());
    kubemint::cli::command().try_get_matches_from(words).unwrap();
    let security = &container["securityContext"];
    assert_eq!(
        (&security["readOnlyRootFilesystem"], &security["allowPrivilegeEscalation"], &security["capabilities"]["drop"]),
        (&true.into(), &false.into(), &json!(["ALL"]))
    );
    let volume = |name: &str| {
        let volumes = pod["volumes"].as_array().unwrap();
        volumes.iter().find(|volume| volume["name"] == name).unwrap().clone()
    };
    assert_eq!(volume("state")["persistentVolumeClaim"]["readOnly"], true);
    // YAML 1.1 reads 0400 as octal, as Kubernetes does.
    assert!(text.contains("defaultMode: 0400"));
    let mounts = container["volumeMounts"].as_array().unwrap();
    assert!(mounts.iter().all(|mount| mount["name"] == "runs" || mount["readOnly"] == true), "{mounts:#?}");
}
