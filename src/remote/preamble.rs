//! The front of every script that a host runs: the login's environment cleared, and a limit of the host's own for the time
//! it may take. Holds for every shell and every way to a host; knows nothing of what a script does.
//!
//! A deadline of ours cuts the connection, which ends nothing on the host: the script ends itself ([`templates/guard.sh`]).
//! What is sent in front of the brace group is no secret and does nothing but set the shell's options and one variable.

use super::installer::without_remarks;
use std::time::Duration;

const ENVIRONMENT: &str = include_str!("../../templates/environment.sh");
const VARIABLES: &str = include_str!("../../templates/variables.sh");
const GUARD: &str = include_str!("../../templates/guard.sh");

/// Later than our own deadline, so that it is ours that is reported.
const GRACE: Duration = Duration::from_secs(1);

/// Whose environment a script works in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Surroundings {
    /// Ours: every variable that steers a shell or a program is cleared, and the time limit holds.
    Cleared,
    /// The login's, which what the script calls is to have; only functions and options of the shell are cleared. It limits
    /// its own time.
    OfTheLogin,
}

/// An opening brace, the front, and the functions of `script` without what only people read.
pub(super) fn opening(surroundings: Surroundings, script: &str) -> String {
    let front: &[&str] = match surroundings {
        Surroundings::Cleared => &[ENVIRONMENT, VARIABLES, GUARD],
        Surroundings::OfTheLogin => &[ENVIRONMENT],
    };
    let parts = front.iter().copied().chain([script]).map(without_remarks);
    std::iter::once("{\n".to_owned()).chain(parts).collect()
}

/// What is sent in front of the opening: a script that is read by `sh -v` is not repeated, and `left`, what there is of our
/// own deadline, becomes the script's.
pub(super) fn lead(left: Duration) -> String {
    let limit = left.saturating_add(GRACE);
    let seconds = limit.as_secs() + u64::from(limit.subsec_nanos() > 0);
    format!("set +xv\nkm_limit={seconds}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    const SHELLS: [&[&str]; 3] = [&["dash"], &["bash", "--posix"], &["busybox", "sh"]];

    #[test]
    fn the_limit_is_whole_seconds_and_later_than_our_own() {
        for (left, seconds) in [(0, 1), (1, 2), (999, 2), (1000, 2), (1001, 3), (30_000, 31)] {
            assert_eq!(lead(Duration::from_millis(left)), format!("set +xv\nkm_limit={seconds}\n"), "{left} ms");
        }
    }

    #[test]
    fn the_front_is_a_script_to_every_shell_and_says_nothing() {
        for surroundings in [Surroundings::Cleared, Surroundings::OfTheLogin] {
            let script = opening(surroundings, "# a remark\nprintf ' ends'\n}\n");
            for shell in SHELLS {
                let said = Command::new(shell[0]).args(&shell[1..]).args(["-c", &script]).output().unwrap();
                assert!(said.status.success() && said.stderr.is_empty(), "{shell:?} {said:?}");
                assert_eq!(String::from_utf8_lossy(&said.stdout), " ends", "{shell:?}");
            }
        }
    }

    /// Every word in command position of every script is freed of functions: taken from the scripts, not from a list.
    #[test]
    fn no_word_that_a_script_calls_can_be_a_function_of_the_login() {
        let freed: Vec<&str> = {
            let (_, list) = ENVIRONMENT.split_once("unset -f ").unwrap();
            let (list, _) = list.split_once("\n#").unwrap();
            list.split_whitespace().filter(|word| *word != "\\").collect()
        };
        const SPECIAL: [&str; 33] = [
            "break", "continue", "eval", "exec", "exit", "return", "set", "shift", "trap", "unset", ":", ".", "if",
            "then", "else", "elif", "fi", "do", "done", "case", "esac", "while", "for", "in", "{", "}", "!", "until",
            "times", "readonly", "function", "select", "time",
        ];
        let (mut called, mut missing) = (0, std::collections::BTreeSet::new());
        for text in [
            ENVIRONMENT,
            VARIABLES,
            GUARD,
            include_str!("../../templates/install.sh"),
            include_str!("../../templates/restore.sh"),
            include_str!("../../templates/doctor.sh"),
            include_str!("../../templates/status.sh"),
            include_str!("../../templates/kubelet.sh"),
            include_str!("../../templates/service.sh"),
        ] {
            for line in text.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
                for part in line.split(&['|', '&', ';', '('][..]).flat_map(|part| part.split("! ")) {
                    let mut words = part.split_whitespace().skip_while(|word| {
                        matches!(*word, "if" | "then" | "else" | "elif" | "do" | "while" | "{" | "!")
                            || word.contains('=')
                    });
                    let Some(word) = words.next() else { continue };
                    let is_name = word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
                    let is_command = !word.starts_with("km_") && !SPECIAL.contains(&word);
                    let exists = is_name && is_command && is_known_command(word);
                    called += usize::from(exists);
                    if exists && !freed.contains(&word) {
                        missing.insert(word);
                    }
                }
            }
        }
        assert!(missing.is_empty(), "{missing:?}");
        assert!(called > 100, "{called} calls were seen");
    }

    /// A builtin of bash, or a program of this machine.
    fn is_known_command(word: &str) -> bool {
        let said = Command::new("bash").args(["-c", "type -t -- \"$1\"", "bash", word]).output().unwrap();
        matches!(String::from_utf8_lossy(&said.stdout).trim(), "builtin" | "file")
    }
}
