//! The record of a run where it cannot be written: no host is begun that it does not name, what was changed is told and can
//! be put back. The order of runs, whatever clocks said; and the lock, whatever becomes of its file.

#![allow(clippy::unwrap_used, reason = "clippy.toml allows it in test functions only, not in what they call")]

mod support;

use serde_json::{Value, json};
use std::{collections::BTreeSet, fs, path::PathBuf, process::Command};
use support::{Fleet, Ran, Relays, Running, TestEnv, eventually, host_of, hosts_that_are, require};

fn run_directories(env: &TestEnv) -> Vec<PathBuf> {
    let entries = fs::read_dir(env.path("state/runs")).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

/// The lines of a journal, each of which must be whole.
fn lines(text: &str) -> Vec<Value> {
    let lines = text.lines().filter(|line| !line.ends_with('\u{18}'));
    lines.map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

fn begun(lines: &[Value]) -> BTreeSet<String> {
    let begun = lines.iter().filter(|line| line["event"] == "begun");
    begun.map(|line| line["host"].as_str().unwrap().to_owned()).collect()
}

fn ended(lines: &[Value]) -> BTreeSet<String> {
    let ended = lines.iter().filter(|line| line["event"] == "host");
    ended.map(|line| line["host"]["name"].as_str().unwrap().to_owned()).collect()
}

/// Six directories of this machine as hosts.
fn six_local_hosts() -> TestEnv {
    let mut inventory = "state_dir = \"state\"\n[cluster]\nserver = \"https://172.20.0.113:6443\"\n".to_owned();
    // Their names are long: a page of the journal is soon full.
    let deep = format!("{0}/{0}/{0}", "x".repeat(200));
    for n in 1..=6 {
        inventory += &format!(
            "[[hosts]]\nname = \"node-{n}\"\nroles = [\"node\"]\nconnection = \"local\"\nroot = \"hosts/node-{n}/{deep}\"\n"
        );
    }
    let env = TestEnv::with_inventory(&inventory);
    env.ok(&["generate"]);
    env
}

#[test]
fn on_a_disk_that_fills_up_the_run_stops_and_all_it_changed_is_put_back() {
    need_root!();
    let env = six_local_hosts();
    // Every page of the disk at which it may be full, in turn: of each, what hosts hold then, and what is left of it after
    // the rollback of that run.
    let script = r#"set -eu
        changed() { find hosts -name bootstrap.kubeconfig 2>/dev/null | cut -d/ -f2 | sort | tr '\n' ' '; }
        cp -a state base
        for pages in $(seq 0 9); do
            mount -t tmpfs -o size=1m,mode=0700 none state
            cp -a base/. state
            dd if=/dev/zero of=state/ballast bs=4096 2>/dev/null || :
            truncate -s "-$((pages * 4096))" state/ballast
            code=0; "$KUBEMINT" distribute --concurrency "$CONCURRENCY" -o json >out-$pages 2>err-$pages || code=$?
            changed >changed-$pages
            cat state/runs/*/journal.jsonl >journal-$pages 2>/dev/null || :
            rm state/ballast
            back=0; "$KUBEMINT" rollback last -o json >back-$pages 2>&1 || back=$?
            echo "$pages $code $back $(changed)"
            umount state; rm -rf hosts
        done"#;
    for concurrency in ["1", "4"] {
        let mut command = Command::new(require("unshare"));
        command.args(["-m", "sh", "-c", script]).current_dir(env.dir());
        command.env("KUBEMINT", env!("CARGO_BIN_EXE_kubemint")).env("CONCURRENCY", concurrency);
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
        let mut stopped_midway = 0;
        for line in said.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [pages, code, back, left @ ..] = &words[..] else { panic!("{line}") };
            assert!(left.is_empty(), "the rollback left something behind: {line}");
            let changed: BTreeSet<String> =
                env.read(format!("changed-{pages}")).split_whitespace().map(str::to_owned).collect();
            let out = env.read(format!("out-{pages}"));
            let report: Value = serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {line}: {out}"));
            if *code == "4" {
                assert_eq!((changed.len(), &report["error"]["code"]), (0, &"state_io".into()), "{report:#}");
                continue;
            }
            let journal = lines(&env.read(format!("journal-{pages}")));
            assert_eq!(
                *back,
                if changed.is_empty() { "2" } else { "0" },
                "{line}: {}",
                env.read(format!("back-{pages}"))
            );
            assert!(changed.is_subset(&ended(&journal)), "{line}: {changed:?} {journal:#?}");
            assert!(begun(&journal) == ended(&journal), "{line}: {journal:#?}");
            let told: BTreeSet<String> = hosts_that_are(&report, "changed").iter().map(ToString::to_string).collect();
            assert_eq!((told, report["hosts"].as_array().unwrap().len()), (changed.clone(), 6), "{report:#}");
            let complains = env.read(format!("err-{pages}")).contains("the record of this run is incomplete");
            assert_eq!(complains, *code != "0", "{line}: {}", env.read(format!("err-{pages}")));
            if *code == "3" {
                assert_full_disk_is_told(&report, &env.read(format!("err-{pages}")));
                stopped_midway += usize::from(!changed.is_empty());
            } else {
                assert_eq!(changed.len(), 6, "{line}");
            }
        }
        assert!(stopped_midway > 0 || concurrency != "1", "{said}");
        assert!(said.lines().last().unwrap().starts_with("9 0 "), "{said}");
        fs::remove_dir_all(env.path("base")).unwrap();
    }
}

/// Some hosts were not begun since the disk was full.
fn assert_full_disk_is_told(report: &Value, stderr: &str) {
    let skipped = hosts_that_are(report, "skipped");
    assert!(!skipped.is_empty(), "{report:#}");
    let error = &host_of(report, skipped[0])["error"];
    assert_eq!((&error["code"], &report["unrecorded"]["code"]), (&"not_started".into(), &"state_io".into()));
    for text in [error["hint"].as_str().unwrap(), report["unrecorded"]["hint"].as_str().unwrap(), stderr] {
        assert!(text.contains("free space") && text.contains("again"), "{text}");
        assert!(!text.contains("no host was changed"), "{text}");
    }
}

/// The answer of a run over hosts of which some may not be recorded, and what must hold of it whatever could not be written.
#[track_caller]
fn assert_named_and_put_back(fleet: &Fleet, point: &str, ran: &Ran) {
    let held: BTreeSet<String> = (0..fleet.hosts.len())
        .filter(|index| !fleet.names(*index).is_empty())
        .map(|index| fleet.hosts[index].name().to_owned())
        .collect();
    let report: Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|e| panic!("{point}: {e}: {ran:?}"));
    assert!(ran.code == 4 || report["hosts"].is_array(), "{point}: {ran:?}");
    if ran.code == 4 {
        assert!(held.is_empty(), "{point}: {report:#}");
        return;
    }
    assert!([0, 1, 3].contains(&ran.code), "{point}: {ran:?}");
    let told: BTreeSet<String> = hosts_that_are(&report, "changed").iter().map(ToString::to_string).collect();
    assert_eq!((told, report["hosts"].as_array().unwrap().len()), (held.clone(), fleet.hosts.len()), "{point}");
    let runs = run_directories(&fleet.env);
    let journal = lines(&fs::read_to_string(runs[0].join("journal.jsonl")).unwrap());
    assert!(held.is_subset(&begun(&journal)), "{point}: {held:?} {journal:#?}");
    if held.is_empty() {
        return;
    }
    // A host whose end could not be recorded is not guessed at: it is named, and `status` is the way on.
    let has_report = runs[0].join("report.json").exists();
    let known: BTreeSet<String> = if has_report { held.clone() } else { ended(&journal) };
    let (code, back) = fleet.json(&["rollback", "last"]);
    let restored: BTreeSet<String> = hosts_that_are(&back, "changed").iter().map(ToString::to_string).collect();
    assert_eq!((code, restored), (if known == held { 0 } else { 3 }, known.clone()), "{point}: {back:#}");
    for host in held.difference(&known) {
        assert_eq!(host_of(&back, host)["error"]["code"], "unknown_outcome", "{point}");
    }
}

fn clear(fleet: &Fleet) {
    for host in &fleet.hosts {
        host.must("rm -rf /etc/kubernetes");
    }
    for run in run_directories(&fleet.env) {
        fs::remove_dir_all(run).unwrap();
    }
}

fn nodes_to_distribute_to(count: usize) -> Fleet {
    let fleet = Fleet::of_nodes(count);
    fleet.env.ok(&["generate"]);
    fs::create_dir(fleet.env.path("state/runs")).unwrap();
    fleet.env.set_mode("state/runs", 0o700);
    fleet
}

const DISTRIBUTE: [&str; 5] = ["distribute", "-o", "json", "--concurrency", "1"];

#[test]
fn a_limit_on_the_size_of_files_is_an_error_like_a_full_disk() {
    need_root!();
    let fleet = nodes_to_distribute_to(4);
    let mut codes = BTreeSet::new();
    // Where room can be reserved, no line is cut short; where it cannot, lines are, anywhere.
    for reserves in [true, false] {
        for limit in (100..=if reserves { 8100 } else { 4200 }).step_by(if reserves { 2000 } else { 585 }) {
            let mut command = Command::new(require(if reserves { "prlimit" } else { "strace" }));
            if !reserves {
                command.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=fallocate"]);
                command.args(["-e", "inject=fallocate:error=EOPNOTSUPP"]).arg(require("prlimit"));
            }
            command.args([&format!("--fsize={limit}"), env!("CARGO_BIN_EXE_kubemint")]).args(DISTRIBUTE);
            command.current_dir(fleet.env.dir()).env_clear().env("HOME", fleet.env.path("home"));
            command.env("PATH", std::env::var_os("PATH").unwrap());
            let output = command.output().unwrap();
            let text = |bytes| String::from_utf8(bytes).unwrap();
            let code = output.status.code().expect("it is not killed by SIGXFSZ");
            let ran = Ran { code, stdout: text(output.stdout), stderr: text(output.stderr) };
            let journals = run_directories(&fleet.env).into_iter().map(|run| run.join("journal.jsonl"));
            let journals: Vec<_> = journals.map(|path| lines(&fs::read_to_string(path).unwrap())).collect();
            if code == 4 {
                assert_eq!(journals.len(), 0, "{journals:#?}");
            }
            // Room for the line that ends a host is looked for before it is begun.
            journals.iter().for_each(|journal| assert_eq!(begun(journal), ended(journal), "limit {limit}"));
            assert_named_and_put_back(&fleet, &format!("limit {limit}, reserves {reserves}"), &ran);
            if code == 3 && reserves {
                assert!(ran.stdout.contains("ulimit -f") && ran.stdout.contains("\"not_started\""), "{ran:?}");
            }
            codes.insert(code);
            clear(&fleet);
        }
    }
    assert!(codes.contains(&3) && codes.contains(&4), "{codes:?}");
}

#[test]
fn whichever_write_fails_each_host_that_was_changed_is_named() {
    need_root!();
    let fleet = nodes_to_distribute_to(5);
    let mut stopped = 0;
    for (calls, whens) in [("write", 1..=12), ("fallocate", 1..=5), ("fdatasync", 1..=2)] {
        for when in whens {
            let error = ["EIO", "ENOSPC", "EROFS", "EDQUOT"][when % 4];
            let mut command = Command::new(require("strace"));
            command.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={calls}")]);
            command.args(["-e", &format!("inject={calls}:error={error}:when={when}"), env!("CARGO_BIN_EXE_kubemint")]);
            let ran = Running::start_command(&fleet.env, command, &[&["-q"], &DISTRIBUTE[..]].concat()).wait();
            // The write of the answer itself may be the one that fails.
            if !ran.stdout.is_empty() && !ran.stdout.contains("\"unexpected\"") {
                assert_named_and_put_back(&fleet, &format!("{calls} {when} {error}"), &ran);
                stopped += usize::from(ran.code == 3);
            }
            clear(&fleet);
        }
    }
    assert!(stopped >= 5, "{stopped}");
}

#[test]
fn a_reissue_and_a_rollback_begin_no_host_without_its_line() {
    let env = TestEnv::with_local_hosts();
    let applied = applied(&env);
    env.write("inventory.toml", env.read("inventory.toml") + "[services]\nkube-proxy = \"true\"\n");
    for command in [&["reissue", "kube-proxy", "--no-probe", "--yes"][..], &["rollback", &applied]] {
        let before = env.tree_hash("hosts/node-2");
        let mut strace = Command::new(require("strace"));
        // The second of the nodes; the control plane comes before them.
        strace.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=fallocate"]);
        strace.args(["-e", "inject=fallocate:error=ENOSPC:when=2", env!("CARGO_BIN_EXE_kubemint")]);
        let arguments = [command, &["-o", "json", "--concurrency", "1"]].concat();
        let ran = Running::start_command(&env, strace, &arguments).wait().expect(3);
        let report: Value = serde_json::from_str(&ran.stdout).unwrap();
        let expected = (vec!["cp-1", "node-1"], vec!["node-2"]);
        assert_eq!((hosts_that_are(&report, "changed"), hosts_that_are(&report, "skipped")), expected, "{report:#}");
        assert_full_disk_is_told(&report, &ran.stderr);
        assert_eq!(env.tree_hash("hosts/node-2"), before);
        let journal = env.read(format!("state/runs/{}/journal.jsonl", report["run_id"].as_str().unwrap()));
        assert_eq!(begun(&lines(&journal)), BTreeSet::from(["cp-1".to_owned(), "node-1".to_owned()]));
        if command[0] == "reissue" {
            let (code, back) = env.json(&["rollback", "last"]);
            assert_eq!((code, hosts_that_are(&back, "changed")), (0, vec!["cp-1", "node-1"]), "{back:#}");
        }
    }
}

/// Gives a run the name and times of a clock that is wrong; its number stays.
fn redate(env: &TestEnv, id: &str, year: &str) -> String {
    let other = format!("{year}0119T031407Z-{}", &id[id.len() - 6..]);
    let (from, to) = (format!("state/runs/{id}"), format!("state/runs/{other}"));
    fs::rename(env.path(from), env.path(&to)).unwrap();
    for file in ["journal.jsonl", "report.json"] {
        let text = env.read(format!("{to}/{file}")).replace(id, &other);
        let text = text.replace("\"at\":\"2", &format!("\"at\":\"{year}-01-19T03:14:07Z\",\"was\":\"2"));
        let text = text.replace("\"started\": \"2", &format!("\"started\": \"{year}-01-19T03:14:07Z\", \"was\": \"2"));
        env.write(format!("{to}/{file}"), text);
    }
    other
}

/// As earlier versions left a run.
fn take_number(env: &TestEnv, id: &str) {
    env.remove(format!("state/runs/{id}/number"));
    for file in ["journal.jsonl", "report.json"] {
        let path = format!("state/runs/{id}/{file}");
        let text = env.read(&path);
        let other = text.replace("\"number\":", "\"other\":").replace("\"number\": ", "\"other\": ");
        assert_ne!(text, other);
        env.write(path, other);
    }
}

fn listed(env: &TestEnv) -> Vec<(String, Option<u64>)> {
    let runs = env.json(&["runs", "list"]).1;
    let row = |run: &Value| (run["run_id"].as_str().unwrap().to_owned(), run["number"].as_u64());
    runs["runs"].as_array().unwrap().iter().map(row).collect()
}

fn applied(env: &TestEnv) -> String {
    env.json(&["apply"]).1["run_id"].as_str().unwrap().to_owned()
}

#[test]
fn a_clock_that_was_wrong_once_does_not_decide_what_last_means() {
    for year in ["1999", "2038"] {
        let env = TestEnv::with_local_hosts();
        let first = redate(&env, &applied(&env), year);
        let server = env.read("inventory.toml").replace("172.20.0.113", "172.20.0.114");
        env.write("inventory.toml", server);
        let second = applied(&env);
        let third = redate(&env, &applied(&env), if year == "1999" { "2038" } else { "1999" });
        assert_eq!(listed(&env), [(first, Some(1)), (second.clone(), Some(2)), (third.clone(), Some(3))]);
        let show = |name: &str| env.json(&["runs", "show", name]).1;
        assert_eq!((&show("last")["run_id"], &show("last")["number"]), (&third.as_str().into(), &3.into()));
        env.ok(&["distribute", "--retry", "last"]).says(&[&format!("nothing to retry: {third}")]);
        // The last run that changed a host.
        let (code, back) = env.json(&["rollback", "last"]);
        assert_eq!((code, &back["of"], &back["number"]), (0, &second.as_str().into(), &4.into()), "{back:#}");
        assert!(env.read("hosts/node-1/etc/kubernetes/bootstrap.kubeconfig").contains("172.20.0.113"));
    }
}

#[test]
fn runs_of_versions_that_gave_no_number_come_first_and_keep_their_own_order() {
    let env = TestEnv::with_local_hosts();
    let old: Vec<String> = (0..2).map(|_| applied(&env)).collect();
    old.iter().for_each(|id| take_number(&env, id));
    let old = [&old[0], &redate(&env, &old[1], "2038")].map(ToString::to_string);
    let new: Vec<String> = (0..2).map(|_| applied(&env)).collect();
    let expected: Vec<_> =
        old.into_iter().map(|id| (id, None)).chain(new.iter().cloned().zip([Some(1), Some(2)])).collect();
    assert_eq!(listed(&env), expected);
    // A copy that came without the file is ordered by its journal.
    env.remove(format!("state/runs/{}/number", new[0]));
    assert_eq!(listed(&env), expected);
    assert_eq!(env.json(&["runs", "show", "last"]).1["run_id"], new[1].as_str());
}

#[test]
fn where_parts_were_run_again_the_numbers_say_which_is_the_later() {
    let env = TestEnv::with_local_hosts();
    let first = redate(&env, &applied(&env), "2038");
    let second = applied(&env);
    for order in [[&first, &second], [&second, &first]] {
        let paths = order.map(|id| format!("state/runs/{id}"));
        let (code, merged) = env.json(&["runs", "merge", "--latest", &paths[0], &paths[1]]);
        assert_eq!((code, hosts_that_are(&merged, "unchanged").len()), (0, 3), "{merged:#}");
    }
}

#[test]
fn a_reissue_that_a_wrong_clock_dated_ahead_does_not_restart_kube_proxy_for_ever() {
    let env = TestEnv::new();
    let services = |command: &str| format!("{}[services]\nkube-proxy = \"{command}\"\n", support::LOCAL_HOSTS);
    let log = env.path("restarts");
    let working = services(&format!("echo restarted >> {}", log.display()));
    env.write("inventory.toml", &working);
    env.ok(&["apply", "--yes"]);
    env.write("inventory.toml", services("exit 5"));
    let (code, failed) = env.json(&["reissue", "kube-proxy"]);
    assert_eq!(code, 3, "{failed:#}");
    redate(&env, failed["run_id"].as_str().unwrap(), "2038");
    env.write("inventory.toml", &working);
    let restarts = || fs::read_to_string(&log).map_or(0, |text| text.lines().count());
    let due = ["reissue", "kube-proxy", "--if-expiring", "1d"];
    env.ok(&due).says(&["restarted on 3 hosts"]);
    assert_eq!(restarts(), 3);
    for _ in 0..2 {
        env.ok(&due).says(&["nothing is due"]);
    }
    assert_eq!(restarts(), 3, "they had been restarted");
}

#[test]
fn shards_at_once_draw_numbers_of_their_own() {
    let env = TestEnv::with_local_hosts();
    env.ok(&["generate"]);
    std::thread::scope(|scope| {
        for n in 1..=3 {
            let env = &env;
            scope.spawn(move || env.ok(&["distribute", "--runs-dir", "shards", "--shard", &format!("{n}/3")]));
        }
    });
    let (_, list) = env.json(&["runs", "list", "--runs-dir", "shards"]);
    let numbers: Vec<u64> =
        list["runs"].as_array().unwrap().iter().map(|run| run["number"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [1, 2, 3]);
    let paths: Vec<String> =
        list["runs"].as_array().unwrap().iter().map(|run| run["run_id"].as_str().unwrap().to_owned()).collect();
    let mut merge = vec!["runs".to_owned(), "merge".to_owned()];
    merge.extend(paths.iter().map(|id| format!("shards/{id}")));
    let arguments: Vec<&str> = merge.iter().map(String::as_str).collect();
    let (code, merged) = env.json(&arguments);
    assert_eq!(code, 0);
    let mut steps: Vec<_> =
        merged["next_steps"].as_array().unwrap().iter().map(|step| (&step["service"], &step["hosts"])).collect();
    // In the order in which the shards began.
    steps.sort_by_key(|(service, _)| service.as_str());
    let (apiserver, proxy) = (json!("kube-apiserver"), json!("kube-proxy"));
    let (masters, all) = (json!(["cp-1"]), json!(["cp-1", "node-1", "node-2"]));
    assert_eq!(steps, [(&apiserver, &masters), (&proxy, &all)], "{merged:#}");
    env.ok(&arguments)
        .says(&["next: kube-proxy reads its kubeconfig only at its start: restart it on cp-1, node-1, node-2"]);
}

#[test]
fn a_rollback_has_steps_and_next_steps_as_any_run_has() {
    let env = TestEnv::with_local_hosts();
    env.ok(&["apply"]);
    env.write("inventory.toml", env.read("inventory.toml").replace("172.20.0.113", "172.20.0.114"));
    let run = applied(&env);
    let (_, back) = env.json(&["rollback", &run]);
    assert_eq!((&back["steps"], &back["next_steps"][0]["service"]), (&json!([]), &"kube-proxy".into()), "{back:#}");
    let (code, none) = env.json(&["rollback", &run, "--limit", "cp-1"]);
    assert_eq!((code, &none["steps"], &none["next_steps"]), (0, &json!([]), &json!([])), "{none:#}");
    // As kept, so that reports can be merged wherever they come from.
    let (_, kept) = env.json(&["runs", "show", back["run_id"].as_str().unwrap()]);
    assert_eq!(kept["next_steps"], back["next_steps"]);
}

#[test]
fn whoever_removes_the_lock_file_lets_no_second_writer_in() {
    let (mut fleet, relays) = (Fleet::of_nodes(1), Relays::new());
    fleet.env.ok(&["generate"]);
    fleet.relay_all(&relays);
    relays.close_gate();
    let running = fleet.start(&["distribute"]);
    eventually("the host to be in flight", || (relays.connections() == 1).then_some(()));
    let pid = running.pid().to_string();
    let others: [&[&str]; 4] = [
        &["apply"],
        &["distribute"],
        &["distribute", "--runs-dir", "elsewhere"],
        &["reissue", "kube-proxy", "--no-probe", "--yes"],
    ];
    // Gone; replaced by somebody's own file; and again after another run has made one.
    for content in [None, Some("4711\n"), None] {
        fs::remove_file(fleet.env.path("state/lock")).unwrap();
        if let Some(content) = content {
            fleet.env.write("state/lock", content);
            fleet.env.set_mode("state/lock", 0o600);
        }
        for arguments in others {
            let (code, refused) = fleet.json(arguments);
            assert_eq!((code, &refused["error"]["code"]), (4, &"state_locked".into()), "{arguments:?} {refused:#}");
            let message = refused["error"]["message"].as_str().unwrap();
            assert!(content.is_some() || message.ends_with(&format!("pid {pid}")), "{pid}: {message}");
        }
        if content.is_none() {
            fleet.env.write("state/lock", "");
            fleet.env.set_mode("state/lock", 0o600);
        }
    }
    relays.open_gate();
    running.wait().expect(0);
    fleet.env.ok(&["apply"]);
}

#[test]
fn a_run_that_could_not_write_its_first_line_is_not_the_last() {
    let env = TestEnv::with_local_hosts();
    env.write("hosts/node-2", "no directory");
    let (code, failed) = env.json(&["apply"]);
    assert_eq!(code, 3, "{failed:#}");
    let id = failed["run_id"].as_str().unwrap();
    env.write("inventory.toml", env.read("inventory.toml") + "[services]\nkube-proxy = \"true\"\n");
    for command in [
        &["distribute", "--retry", "last"][..],
        &["apply", "--yes"],
        &["--yes", "rollback", id],
        &["reissue", "kube-proxy", "--no-probe", "--yes"],
    ] {
        let mut prlimit = Command::new(require("prlimit"));
        prlimit.args(["--fsize=100", env!("CARGO_BIN_EXE_kubemint")]);
        let ran = Running::start_command(&env, prlimit, command).wait();
        assert_eq!((ran.code, listed(&env)), (4, vec![(id.to_owned(), Some(1))]), "{command:?} {ran:?}");
    }
    // As it stays where it cannot be removed.
    fs::create_dir(env.path("state/runs/20380119T031407Z-aaaaaa")).unwrap();
    env.set_mode("state/runs/20380119T031407Z-aaaaaa", 0o700);
    for (file, text) in [("journal.jsonl", ""), ("number", "7\n")] {
        let path = format!("state/runs/20380119T031407Z-aaaaaa/{file}");
        env.write(&path, text);
        env.set_mode(&path, 0o600);
    }
    let (code, again) = env.json(&["distribute", "--retry", "last"]);
    assert_eq!((code, &again["of"], &again["summary"]["failed"]), (3, &id.into(), &1.into()), "{again:#}");
}

#[test]
fn the_credential_directory_is_no_directory_of_runs() {
    let env = TestEnv::with_local_hosts();
    env.ok(&["apply"]);
    std::os::unix::fs::symlink("state", env.path("link")).unwrap();
    for dir in ["state", "state/", "./hosts/../state", "link"] {
        for command in [&["distribute"][..], &["--yes", "rollback", "last"]] {
            let (code, refused) = env.json(&[command, &["--runs-dir", dir]].concat());
            assert_eq!((code, &refused["error"]["code"]), (2, &"usage".into()), "{dir} {refused:#}");
            assert!(refused["error"]["message"].as_str().unwrap().contains("is the credential directory"));
        }
    }
    env.ok(&["distribute", "--runs-dir", "state/runs"]);
    assert_eq!(listed(&env).len(), 2);
}

#[test]
fn a_directory_of_runs_that_somebody_keeps_locked_is_used_all_the_same() {
    let env = TestEnv::with_local_hosts();
    env.ok(&["apply"]);
    env.ok(&["distribute", "--runs-dir", "shards"]);
    let held = fs::File::open(env.path("shards")).unwrap();
    held.lock().unwrap();
    let (code, report) = env.json(&["distribute", "--runs-dir", "shards"]);
    assert_eq!((code, &report["number"]), (0, &2.into()), "{report:#}");
}

#[test]
fn numbers_of_different_directories_say_nothing_of_which_run_is_the_later() {
    let env = TestEnv::with_local_hosts();
    env.ok(&["apply"]);
    (0..2).for_each(|_| drop(env.ok(&["distribute", "--runs-dir", "a"])));
    fs::remove_dir_all(env.path("hosts/node-2")).unwrap();
    env.write("hosts/node-2", "no directory");
    let (code, failed) = env.json(&["distribute", "--runs-dir", "a"]);
    assert_eq!((code, &failed["number"]), (3, &3.into()), "{failed:#}");
    env.remove("hosts/node-2");
    let of = format!("a/{}", failed["run_id"].as_str().unwrap());
    let (_, retried) = env.json(&["distribute", "--retry", &of, "--runs-dir", "b"]);
    assert_eq!((&retried["number"], &retried["of"]), (&1.into(), &failed["run_id"]), "{retried:#}");
    let (_, since) = env.json(&["distribute", "--runs-dir", "c"]);
    let done = |paths: [&str; 2]| {
        for paths in [paths, [paths[1], paths[0]]] {
            let (code, merged) = env.json(&["runs", "merge", "--latest", paths[0], paths[1]]);
            assert_eq!((code, &merged["summary"]["failed"]), (0, &0.into()), "{paths:?} {merged:#}");
        }
    };
    let path = |dir: &str, report: &Value| format!("{dir}/{}", report["run_id"].as_str().unwrap());
    done([&of, &path("b", &retried)]);
    done([&of, &path("c", &since)]);
    for (name, report) in [("failed.json", &failed), ("retried.json", &retried), ("since.json", &since)] {
        env.write(name, report.to_string());
    }
    done(["failed.json", "since.json"]);
    // A retry is later than what it retried, whatever clocks said.
    let mut ahead = failed.clone();
    for key in ["started", "finished"] {
        ahead[key] = "2038-01-19T03:14:07Z".into();
    }
    env.write("failed.json", ahead.to_string());
    done(["failed.json", "retried.json"]);
}
