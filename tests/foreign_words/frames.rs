//! Every frame that our scripts can say, read out of the scripts themselves: a new one is tried without a word here, unless
//! its words need an example that [`example`] does not know yet.

use std::{fs, path::Path};

/// A line that a script says behind its nonce.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The template's name without `.sh`.
    pub script: String,
    pub words: Vec<Word>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word {
    Literal(String),
    /// As the shell has it.
    Value(String),
}

impl Frame {
    /// The words that honest hosts say in this frame: once with each example of its last variable.
    pub fn forms(&self) -> Vec<Vec<String>> {
        let verb = self.verb();
        let mut forms = vec![String::new()];
        for word in &self.words {
            let said: Vec<&str> = match word {
                Word::Literal(text) => vec![text],
                Word::Value(shell) => examples(&self.script, &verb, shell).to_vec(),
            };
            let longer = |form: &String| said.iter().map(|word| format!("{form} {word}")).collect::<Vec<_>>();
            forms = forms.iter().flat_map(longer).collect();
        }
        forms.iter().map(|form| form.split_whitespace().map(str::to_owned).collect()).collect()
    }

    /// Its first word; of doctor's and status's answers the second.
    pub fn verb(&self) -> String {
        let literal = |word: &Word| match word {
            Word::Literal(text) => text.clone(),
            Word::Value(shell) => panic!("{}.sh: {shell} is no verb", self.script),
        };
        match literal(&self.words[0]).as_str() {
            "x" => literal(&self.words[1]),
            verb => verb.to_owned(),
        }
    }
}

/// Verbs that a function is told by its callers.
const TOLD: [(&str, &str, &[&str]); 2] =
    [("doctor", "$km_value", &["blocks", "inodes"]), ("kubelet", "$1", &["kubeconfig", "client"])];

/// All frames of all templates.
pub fn all() -> Vec<Frame> {
    let templates = Path::new(env!("CARGO_MANIFEST_DIR")).join("templates");
    let mut scripts: Vec<_> = fs::read_dir(templates).unwrap().map(|entry| entry.unwrap().path()).collect();
    scripts.retain(|path| path.extension().is_some_and(|kind| kind == "sh"));
    scripts.sort();
    let mut frames = Vec::new();
    for path in scripts {
        let script = path.file_stem().unwrap().to_str().unwrap();
        for line in fs::read_to_string(&path).unwrap().lines() {
            let line = line.trim();
            if !line.starts_with('#') && !line.contains("()") {
                frames.extend(frames_in(script, line));
            }
        }
    }
    frames.dedup();
    frames
}

fn frames_in(script: &str, line: &str) -> Vec<Frame> {
    let mut found: Vec<Vec<Word>> = Vec::new();
    // In kubelet.sh km_tell is another function, which says its own lines.
    let says =
        [("km_say ", None), ("km_tell ", Some("x"))].into_iter().filter(|(_, x)| script != "kubelet" || x.is_none());
    for (call, front) in says {
        if let Some((_, rest)) = line.split_once(call) {
            let front = front.map(|word| Word::Literal(word.to_owned()));
            found.push(front.into_iter().chain(shell_words(rest)).collect());
        }
    }
    if let Some(format) = line.split_once("printf '").and_then(|(_, rest)| rest.split_once("' \"$km_nonce\"")) {
        for line in format.0.split("\\n").filter_map(|line| line.strip_prefix("%s ")) {
            let word = |word: &str| match word {
                "%s" => Word::Value("%s".to_owned()),
                literal => Word::Literal(literal.to_owned()),
            };
            found.push(line.split(' ').map(word).collect());
        }
    }
    found
        .into_iter()
        .flat_map(|words| told(script, words))
        .map(|words| Frame { script: script.to_owned(), words })
        .collect()
}

/// One frame for each verb that stands for the first word, where that is a variable.
fn told(script: &str, words: Vec<Word>) -> Vec<Vec<Word>> {
    let verb = usize::from(words[0] == Word::Literal("x".to_owned()));
    let Word::Value(shell) = &words[verb] else { return vec![words] };
    let verbs = TOLD.iter().find(|(of, variable, _)| (*of, *variable) == (script, shell));
    let (_, _, verbs) = verbs.unwrap_or_else(|| panic!("{script}.sh says {words:?}: name its verbs in TOLD"));
    let with = |name: &&str| {
        let mut words = words.clone();
        words[verb] = Word::Literal((*name).to_owned());
        words
    };
    verbs.iter().map(with).collect()
}

/// The words of a simple command, up to its end.
fn shell_words(rest: &str) -> Vec<Word> {
    let (mut words, mut word, mut quoted, mut is_value) = (Vec::new(), String::new(), false, false);
    let mut depth = 0;
    for c in rest.chars().chain([' ']) {
        match c {
            '"' => quoted = !quoted,
            '{' => {
                depth += 1;
                word.push(c);
            }
            '}' if depth > 0 => {
                depth -= 1;
                word.push(c);
            }
            ' ' if !quoted && depth == 0 => {
                let ended = std::mem::take(&mut word);
                match ended.as_str() {
                    "" => {}
                    "||" | "&&" | ";;" | "|" | "}" => break,
                    _ if is_value => words.push(Word::Value(ended)),
                    _ => words.push(Word::Literal(ended)),
                }
                is_value = false;
            }
            ';' | ')' if !quoted && depth == 0 => {
                if !word.is_empty() {
                    words.push(if is_value {
                        Word::Value(std::mem::take(&mut word))
                    } else {
                        Word::Literal(std::mem::take(&mut word))
                    });
                }
                break;
            }
            c => {
                is_value |= c == '$';
                word.push(c);
            }
        }
    }
    words
}

/// Words that an honest host could say in place of a variable.
fn examples(script: &str, verb: &str, shell: &str) -> &'static [&'static str] {
    const DIGEST: &str = "1234512345123451234512345123451234512345123451234512345123451234";
    match (script, verb, shell) {
        ("install" | "restore", "end", _) => &["untouched", "changed"],
        ("install", "dir", _) => &["0 unsafe /etc is open", "0 not-directory /etc/x"],
        ("install", "fact", "$@") => {
            &["0 server https://10.9.8.7:6443", "0 token 12345123", "0 certificate MIIB", "0 authority MIIB"]
        }
        ("install", "fact", "$km_sum") => &["12345123"],
        ("install", "fact", "$km_known") => &["is kubelet-bootstrap", "other 12345123"],
        ("install", "fail" | "faildir", "$2") => &["write"],
        ("install", "found", "$km_type") => &["symlink", "directory", "special"],
        ("install", "found", "$km_state") => &["update", "same", "repair", "foreign"],
        ("install", "found", "$km_perms") => &["-rw-------"],
        ("install", "done", "$km_state") => &["create", "update"],
        ("install", "other", "$km_other") => &["rows 1", "authority MIIB"],
        ("install", "missing", _) | ("service", "missing", _) => &["sha256sum"],
        ("install", "machine", _) => &["12345123451234512345123451234512"],
        ("install" | "restore", _, "$km_sum" | "$km_now") if verb != "clock" => &[DIGEST],
        (_, "clock", _) => &["1764278000"],
        ("restore", "kept", "$@") => &["0 changed", "0 absent"],
        ("doctor", "tools", _) => &["sha256sum", "sha256sum dd"],
        ("doctor", "at", "$km_value") => &["here", "missing"],
        ("doctor", "mount", "${km_line%% *}") => &["rw,noatime", "ro"],
        ("doctor", "api", "$km_value") => &["open", "refused"],
        ("doctor", "api", _) => &["curl"],
        ("doctor", "unit", _) => &["loaded"],
        ("doctor" | "status", _, "$km_at" | "$PWD" | "$2") => &["/etc/kubernetes"],
        ("doctor", "fixed" | "unkept", "$km_name" | "${km_line##* }") => &["./token.csv"],
        ("status", "age", _) => &["/etc/kubernetes/token.csv 1.5 1.5"],
        ("status", "process", "$km_place") => &["here"],
        ("status", "kubelet", _) => &["TUlJQg=="],
        ("kubelet", "fail", _) => &["move /x", "unsafe /x"],
        ("kubelet", "pem", _) => &["MIIB"],
        ("kubelet", "asking", _) => &[DIGEST, "none"],
        ("kubelet", ..) => &["./name"],
        _ => &["0"],
    }
}
