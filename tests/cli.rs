//! The command line as a whole: help, completions, man pages, exit codes, `-o json`, colour and quiet.

#![allow(clippy::unwrap_used, reason = "clippy.toml allows it in test functions only, not in what they call")]

mod support;

use std::process::{Command, Stdio};
use support::{TestEnv, require};

/// Every command with its path, `kubemint` itself first.
fn commands() -> Vec<(Vec<String>, clap::Command)> {
    let mut top = kubemint::cli::command();
    top.build();
    let mut found = vec![(Vec::new(), top)];
    let mut next = 0;
    while next < found.len() {
        let (path, command) = found[next].clone();
        let subs = command.get_subcommands().filter(|sub| sub.get_name() != "help");
        found.extend(subs.map(|sub| ([path.as_slice(), &[sub.get_name().to_owned()]].concat(), sub.clone())));
        next += 1;
    }
    found
}

/// The command lines of an `Examples:` section, cut at pipes, redirections, lists and remarks.
fn examples(help: &str) -> Vec<Vec<String>> {
    let lines = help.lines().skip_while(|line| *line != "Examples:").skip(1);
    let lines = lines.take_while(|line| line.starts_with("  ")).map(str::trim);
    let mut found = Vec::new();
    for line in lines {
        let parts = line.split(['|', '&', '>']).map(str::trim).filter(|part| part.starts_with("kubemint "));
        for part in parts {
            // A remark stands after two blanks.
            let part = part.split("  ").next().unwrap();
            found.push(words(part));
        }
    }
    found
}

/// As a shell splits them, with single and double quotes.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
    for c in line.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => quote = Some(c),
            (None, ' ') => words.push(std::mem::take(&mut word)),
            (_, c) => word.push(c),
        }
    }
    assert_eq!(quote, None, "{line}");
    words.push(word);
    words.retain(|word| !word.is_empty());
    words
}

#[test]
fn every_command_has_help_with_examples_that_parse() {
    let env = TestEnv::new();
    let commands = commands();
    assert!(commands.len() >= 19, "{}", commands.len());
    let mut tried = 0;
    for (path, _) in &commands {
        for flag in ["--help", "-h"] {
            let mut line: Vec<&str> = path.iter().map(String::as_str).collect();
            line.push(flag);
            let ran = env.ok(&line);
            assert_eq!(ran.stderr, "", "{line:?}");
            let examples = examples(&ran.stdout);
            assert!((1..=8).contains(&examples.len()), "{line:?} has {} examples\n{}", examples.len(), ran.stdout);
            for example in examples {
                let parsed = kubemint::cli::command().try_get_matches_from(&example);
                assert!(parsed.is_ok(), "{example:?} in {line:?}: {}", parsed.unwrap_err());
                let own = path.iter().all(|word| example.contains(word));
                assert!(own, "{example:?} is no example of {line:?}");
                tried += 1;
            }
            assert!(ran.stdout.lines().all(|line| line.chars().count() <= 120), "{line:?}: lines are too long");
        }
    }
    assert!(tried >= 80, "{tried}");
}

#[test]
fn every_argument_says_what_it_is() {
    for (path, command) in commands() {
        assert!(command.get_about().is_some(), "{path:?} says nothing about itself");
        for argument in command.get_arguments() {
            let helped = argument.get_help().is_some() || argument.get_long_help().is_some();
            assert!(helped, "{path:?}: {} says nothing", argument.get_id());
        }
    }
}

#[test]
fn passwords_have_a_heading_of_their_own_and_nothing_else_stands_there() {
    let mut seen = 0;
    for (path, command) in commands() {
        for argument in command.get_arguments() {
            let is_there = argument.get_help_heading() == Some("Passwords");
            let name = argument.get_id().as_str();
            let is_password = name.contains("pass");
            assert_eq!(is_there, is_password, "{path:?}: {name}");
            seen += usize::from(is_there);
        }
    }
    assert!(seen >= 9, "{seen}");
}

#[test]
fn the_version_is_the_crates() {
    let ran = TestEnv::new().ok(&["--version"]);
    assert_eq!(ran.stdout, format!("kubemint {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn completions_are_scripts_that_their_shells_accept() {
    let env = TestEnv::new();
    for (shell, check) in [
        ("bash", Some(("bash", "-n"))),
        ("fish", Some(("fish", "-n"))),
        ("zsh", Some(("zsh", "-n"))),
        ("powershell", None),
    ] {
        let script = env.ok(&["completions", shell]).stdout;
        for word in ["kubemint", "kubeconfig", "state-dir"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
        let (code, document) = env.json(&["completions", shell]);
        assert_eq!((code, document["script"].as_str().unwrap()), (0, script.as_str()));
        env.write(format!("completions.{shell}"), &script);
        let Some((program, flag)) = check else { continue };
        // zsh is not among what the tests install.
        if program == "zsh" && Command::new("zsh").arg("--version").stdout(Stdio::null()).status().is_err() {
            continue;
        }
        let output =
            Command::new(require(program)).arg(flag).arg(env.path(format!("completions.{shell}"))).output().unwrap();
        assert!(output.status.success(), "{shell}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn bash_completes_commands_and_flags() {
    let env = TestEnv::new();
    env.write("c.bash", env.ok(&["completions", "bash"]).stdout);
    let script = r#"source ./c.bash
        complete_line() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=(); _kubemint kubemint "${@: -1}" "${@: -2:1}"; echo "${COMPREPLY[*]}"; }
        complete_line kubemint ver
        complete_line kubemint token l
        complete_line kubemint status --exit"#;
    let output = Command::new(require("bash")).args(["-c", script]).current_dir(env.dir()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(said, "verify\nlint\n--exit-code\n", "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn man_writes_a_page_for_every_command() {
    let env = TestEnv::new();
    let (code, document) = env.json(&["man", "a/man1"]);
    assert_eq!((code, &document["schema"], &document["version"]), (0, &"kubemint/man".into(), &1.into()));
    let pages: Vec<_> = env.files("a/man1").iter().map(|path| path.display().to_string()).collect();
    for (path, _) in commands() {
        let page = ["kubemint".to_owned()].into_iter().chain(path).collect::<Vec<_>>().join("-") + ".1";
        assert!(pages.contains(&page), "{page} is not in {pages:?}");
        let text = env.read(format!("a/man1/{page}"));
        assert!(text.starts_with(".ie") && text.contains(".SH NAME") && text.contains("Examples:"), "{page}");
    }
    assert_eq!(document["pages"], pages.len());
}

#[test]
fn every_command_answers_with_one_document_whatever_happens() {
    let lines = [
        ("init other.toml", 0),
        ("init", 2),
        ("verify", 4),
        ("status", 4),
        ("distribute", 4),
        ("cert list", 4),
        ("token show", 4),
        ("plan", 0),
        ("generate", 0),
        ("generate", 0),
        ("apply", 0),
        ("distribute", 0),
        ("distribute --retry last", 0),
        ("distribute --shard 2/2", 0),
        ("runs list", 0),
        ("runs show last", 0),
        ("rollback last --limit cp-1", 0),
        ("status", 0),
        ("verify", 0),
        ("token show", 0),
        ("token manifest", 0),
        ("token manifest --bootstrap-secret", 0),
        ("token lint state/token.csv", 0),
        ("token merge state/token.csv", 0),
        ("cert list", 0),
        ("kubeconfig inspect state/kubeconfigs/bootstrap.kubeconfig", 0),
        ("completions bash", 0),
        ("man pages", 0),
        ("plan --limit nosuch", 2),
        ("plan --unknown", 2),
        ("nonsense", 2),
        ("token", 2),
        ("rollback", 2),
        ("runs", 2),
        ("runs show 1999", 2),
        ("runs merge missing.json", 2),
        ("token lint", 2),
        ("kubeconfig inspect missing", 2),
    ];
    let env = TestEnv::with_local_hosts();
    for (line, code) in lines {
        for flags in [&["-o", "json"][..], &["--output=json", "-q", "--color", "always"], &["-ojson", "-vv"]] {
            if line == "init other.toml" && flags[0] != "-o" {
                continue;
            }
            let words: Vec<&str> = line.split(' ').chain(flags.iter().copied()).collect();
            let ran = env.run(&words).expect(code);
            let document: serde_json::Value =
                serde_json::from_str(&ran.stdout).unwrap_or_else(|e| panic!("{words:?}: {e}\n{}", ran.stdout));
            assert!(document["schema"].as_str().unwrap().starts_with("kubemint/"), "{words:?}: {document}");
            assert_eq!(document["version"], 1, "{words:?}");
            if code == 2 || code == 4 {
                assert_eq!(document["schema"], "kubemint/error", "{words:?}");
                assert_eq!(document["exit_code"], code, "{words:?}");
                assert!(document["error"]["hint"].is_string(), "{words:?}: {document}");
                assert!(!ran.stderr.is_empty(), "{words:?}: people are told too");
            }
            assert!(!ran.stdout.contains('\x1b'), "{words:?}: no colour in JSON");
        }
    }
}

#[test]
fn a_bare_kubemint_shows_its_help_and_is_an_error_of_usage() {
    let ran = TestEnv::new().run(&[]).expect(2);
    assert!(ran.stderr.contains("Usage: kubemint") && ran.stderr.contains("Examples:"), "{}", ran.stderr);
}

#[test]
fn colour_is_for_terminals_and_for_those_who_insist() {
    let env = TestEnv::with_local_hosts();
    let coloured = |arguments: &[&str], variable: Option<(&str, &str)>| {
        let mut command = env.kubemint();
        command.args(arguments).envs(variable);
        let output = command.output().unwrap();
        [output.stdout, output.stderr].concat().contains(&0x1b)
    };
    assert!(!coloured(&["plan"], None));
    assert!(coloured(&["plan", "--color", "always"], None));
    assert!(!coloured(&["plan", "--color", "never"], None));
    assert!(coloured(&["status", "--color", "always"], None), "errors too");
    assert!(coloured(&["plan", "--color", "always"], Some(("NO_COLOR", "1"))), "a flag is stronger");
    assert!(coloured(&["plan"], Some(("CLICOLOR_FORCE", "1"))));
    assert!(!coloured(&["plan"], Some(("CLICOLOR_FORCE", "0"))));
    assert!(!coloured(&["plan", "--color", "never"], Some(("CLICOLOR_FORCE", "1"))));
    // On a terminal, NO_COLOR and a dumb terminal turn it off.
    for (variables, expected) in [
        ("A=b", true),
        ("NO_COLOR=", true),
        ("NO_COLOR=1", false),
        ("NO_COLOR=1 CLICOLOR_FORCE=1", false),
        ("TERM=xterm", true),
        ("TERM=", true),
        ("TERM=dumb", false),
        ("TERM=dumb CLICOLOR_FORCE=1", true),
    ] {
        let shown = on_terminal(&env, &format!("{variables} kubemint plan -q"));
        assert_eq!(shown.contains('\x1b'), expected, "{variables}: {shown}");
    }
}

/// What a terminal is sent.
fn on_terminal(env: &TestEnv, line: &str) -> String {
    let line = format!("env {}", line.replace("kubemint", env!("CARGO_BIN_EXE_kubemint")));
    let mut command = Command::new(require("script"));
    command.args(["-qec", &line, "/dev/null"]).current_dir(env.dir()).env_clear().env("SHELL", "/bin/sh");
    command.env("HOME", env.path("home")).env("PATH", "/usr/bin:/bin");
    let output = command.stdin(Stdio::null()).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_dumb_terminal_is_sent_lines_of_text_and_nothing_else() {
    for (term, is_plain) in [("dumb", true), ("xterm", false)] {
        for command in ["apply --yes", "status", "doctor", "apply --bogus", "--help"] {
            let env = TestEnv::with_local_hosts();
            let shown = on_terminal(&env, &format!("TERM={term} kubemint {command}"));
            assert!(!shown.trim().is_empty(), "{command}");
            let control = shown.chars().find(|c| c.is_control() && !"\r\n\t".contains(*c));
            // Lines end with CR LF; a bare CR goes back to redraw.
            let redraws = shown.replace("\r\n", "").contains('\r');
            if is_plain {
                assert!(control.is_none() && !redraws, "{command}: {control:?} in {shown:?}");
            } else if command == "apply --yes" {
                assert!(control.is_some(), "{command}: the counter-check shows nothing: {shown:?}");
            }
        }
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let env = TestEnv::new();
    let line = format!("{} completions bash | head -c 10; echo \"${{PIPESTATUS[0]}}\"", env!("CARGO_BIN_EXE_kubemint"));
    let output = Command::new(require("bash")).args(["-c", &line]).current_dir(env.dir()).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).ends_with("0\n"), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
}

#[test]
fn help_and_usage_errors_look_at_no_file() {
    let env = TestEnv::with_inventory("not TOML at all [");
    let before = env.tree_hash("");
    env.ok(&["apply", "--help"]);
    env.run(&["apply", "--concurrency", "0"]).expect(2);
    assert_eq!(env.tree_hash(""), before);
}
