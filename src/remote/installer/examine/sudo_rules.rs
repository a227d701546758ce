//! Reads what `sudo -l -U USER` lists (sudo(8), sudoers(5)) for one thing: whether sudo records the input of the `sh -s` that
//! kubemint runs through it. Aliases are expanded there, and rules from LDAP and included files are among the rest, in the
//! order in which sudo takes them. Foreign text: nothing here may panic, and nothing of it is repeated.

/// What becomes of what a root shell of ours reads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SudoInput {
    /// No sudo stands between.
    #[default]
    NotAsked,
    /// sudo lists nothing.
    Untold,
    NotRecorded,
    /// By `log_input`, `log_stdin` or the tag `LOG_INPUT`.
    Recorded,
}

/// Where a line of the list belongs.
#[derive(Clone, Copy)]
enum Section {
    Before,
    Defaults,
    Scoped,
    Rules,
}

pub(super) fn judge(lines: &[String]) -> SudoInput {
    let mut section = Section::Before;
    let (mut by_default, mut by_scope, mut by_rule) = (None, None, None);
    for line in lines {
        let text = line.trim();
        section = match text {
            _ if text.starts_with("Matching Defaults entries for ") => Section::Defaults,
            _ if text.starts_with("Runas and Command-specific defaults for ") => Section::Scoped,
            _ if text.starts_with("User ") && text.contains(" may run the following commands") => Section::Rules,
            _ => {
                match section {
                    Section::Before => {}
                    Section::Defaults => by_default = recorded_by(text).or(by_default),
                    Section::Scoped => {
                        let entries = text.split("Defaults").filter(|entry| is_for_us(entry));
                        by_scope = entries.filter_map(recorded_by).last().or(by_scope);
                    }
                    Section::Rules => by_rule = last_rule_of(text).unwrap_or(by_rule),
                }
                continue;
            }
        };
    }
    match (section, by_rule.or(by_scope).or(by_default)) {
        (Section::Before, _) => SudoInput::Untold,
        (_, Some(true)) => SudoInput::Recorded,
        (_, Some(false) | None) => SudoInput::NotRecorded,
    }
}

/// What the settings say last of standard input, which is no terminal's: `log_ttyin` alone does not record it.
fn recorded_by(settings: &str) -> Option<bool> {
    let words = settings.split([',', ' ', '\t']);
    let mut said = words.filter_map(|word| match word {
        "log_input" | "log_stdin" => Some(true),
        "!log_input" | "!log_stdin" => Some(false),
        _ => None,
    });
    said.next_back()
}

/// `>root log_stdin`, `!/bin/sh, /usr/bin/sh !log_input`: whether it is for root, or for our shell.
fn is_for_us(entry: &str) -> bool {
    let of = |names: &str, is_one: fn(&str) -> bool| {
        let mut names = names.split(',').map(str::trim);
        names.any(|name| name.split_once(' ').is_some_and(|(name, _)| is_one(name)) || is_one(name))
    };
    match entry.split_at_checked(1) {
        Some((">", names)) => of(names, is_root),
        Some(("!", names)) => of(names, is_shell),
        _ => false,
    }
}

fn is_root(name: &str) -> bool {
    matches!(name, "root" | "ALL" | "#0")
}

/// Whether a command of sudoers covers `sh`: by its path, a directory's, a pattern or ALL.
fn is_shell(command: &str) -> bool {
    command == "ALL"
        || command == "sh"
        || command.starts_with('/') && (command.ends_with("/sh") || command.ends_with('/'))
        || command.ends_with('*')
}

/// The tag of the last command of a rule that covers our shell; the outer `None`: none of them does. Tags hold for the
/// commands after them, too.
fn last_rule_of(rule: &str) -> Option<Option<bool>> {
    let (runas, commands) = match rule.strip_prefix('(').and_then(|rest| rest.split_once(')')) {
        Some((runas, commands)) => (runas, commands),
        None => ("root", rule),
    };
    let users = runas.split(':').next().unwrap_or_default();
    if !users.split(',').any(|user| is_root(user.trim())) {
        return None;
    }
    let (mut tag, mut last) = (None, None);
    for command in commands.split(", ") {
        let mut words = command.split_whitespace().peekable();
        while let Some(word) = words.next_if(|word| is_tag(word)) {
            match word {
                "LOG_INPUT:" => tag = Some(true),
                "NOLOG_INPUT:" => tag = Some(false),
                _ => {}
            }
        }
        let program = words.next().unwrap_or_default();
        let covers_arguments = matches!(words.next(), None | Some("-s" | "*"));
        if is_shell(program) && covers_arguments {
            last = Some(tag);
        }
    }
    last
}

/// `NOPASSWD:`, and options such as `ROLE=sysadm_r`.
fn is_tag(word: &str) -> bool {
    let name = word.strip_suffix(':').or_else(|| word.split_once('=').map(|(name, _)| name));
    name.is_some_and(|name| !name.is_empty() && name.chars().all(|c| c.is_ascii_uppercase() || c == '_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(text: &str) -> SudoInput {
        judge(&text.lines().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn what_is_recorded_follows_from_defaults_scopes_and_tags_in_the_order_of_sudo() {
        use SudoInput::{NotRecorded, Recorded, Untold};
        let all = "    (ALL) NOPASSWD: ALL";
        for (defaults, scoped, rules, judgement) in [
            ("log_input, iolog_dir=/var/log/sudo-io", "", all, Recorded),
            ("env_reset, log_stdin", "", all, Recorded),
            ("log_input, !log_input", "", all, NotRecorded),
            ("!log_input, log_stdin", "", all, Recorded),
            ("log_input, !log_stdin", "", all, NotRecorded),
            ("log_output, iolog_file=%{seq}, log_ttyin, use_pty", "", all, NotRecorded),
            ("env_reset", "", all, NotRecorded),
            ("", "", all, NotRecorded),
            ("", "", "    (ALL) NOPASSWD: LOG_INPUT: ALL", Recorded),
            ("", "", "    (ALL : ALL) LOG_INPUT: NOPASSWD: ALL", Recorded),
            ("log_input", "", "    (ALL) NOPASSWD: NOLOG_INPUT: ALL", NotRecorded),
            ("log_input", "", "    (ALL) NOLOG_INPUT: /usr/bin/id", Recorded),
            ("", "", "    (ALL) LOG_INPUT: /usr/bin/id, /bin/sh", Recorded),
            ("", "", "    (ALL) LOG_INPUT: /usr/bin/id, NOLOG_INPUT: /usr/bin/sh -s", NotRecorded),
            ("", "", "    (ALL) LOG_INPUT: ALL\n    (root) NOLOG_INPUT: /bin/sh", NotRecorded),
            ("", "", "    (ALL) LOG_INPUT: ALL\n    (root) NOPASSWD: /bin/sh", NotRecorded),
            ("", "", "    (backup) LOG_INPUT: ALL\n    (root) NOPASSWD: ALL", NotRecorded),
            ("", "", "    (root) NOPASSWD: ALL\n    (backup, www) LOG_INPUT: ALL", NotRecorded),
            ("", "", "    (root) LOG_INPUT: ALL, /bin/sh -c date", Recorded),
            ("", "Defaults>root log_stdin    Defaults!/usr/bin/id !log_input", all, Recorded),
            ("", "Defaults>backup log_input", all, NotRecorded),
            ("", "Defaults!/usr/bin/sh log_input", all, Recorded),
            ("log_input", "Defaults!/bin/sh, /usr/bin/sh !log_input", all, NotRecorded),
            ("log_input", "Defaults!/usr/bin/id !log_input", all, Recorded),
            ("", "Defaults!/usr/bin/sh log_input", "    (ALL) NOLOG_INPUT: ALL", NotRecorded),
        ] {
            let mut text = String::new();
            if !defaults.is_empty() {
                text += &format!("Matching Defaults entries for ops on h:\n    {defaults}\n\n");
            }
            if !scoped.is_empty() {
                text += &format!("Runas and Command-specific defaults for ops:\n    {scoped}\n\n");
            }
            text += &format!("User ops may run the following commands on h:\n{rules}\n");
            assert_eq!(judged(&text), judgement, "{text}");
        }
        for text in ["", "sudo: a password is required", "User ops is not allowed to run sudo on h."] {
            assert_eq!(judged(text), Untold, "{text}");
        }
    }

    #[test]
    fn no_list_makes_it_panic() {
        let alphabet = [
            "User x may run the following commands on",
            "Defaults",
            "!",
            ">",
            "(",
            ")",
            ",",
            ", ",
            ":",
            "=",
            " ",
            "\n",
            "LOG_INPUT:",
            "é",
            "\u{202e}",
            "log_input",
            "/sh",
            "Matching Defaults entries for x",
            "",
        ];
        let mut seed = 1u32;
        for _ in 0..20_000 {
            let mut text = String::new();
            for _ in 0..8 {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                text += alphabet[(seed >> 16) as usize % alphabet.len()];
            }
            judged(&text);
        }
    }
}
