//! What may never be printed, and the one way to make foreign text safe to print.
//!
//! Tokens and private keys live in [`Secret`] from the moment they exist. `expose` is grep-able and stands only in
//! emitters (token.csv, kubeconfig, store) and in `remote/`. Nothing here knows what a token or a key looks like.

pub use secrecy::{ExposeSecret, SecretString as Secret};

/// A run of this many base64 or hex characters in foreign text is taken for a secret. A bootstrap token has 32, a PEM
/// line 64.
const SUSPECT_RUN: usize = 32;
/// The most of a foreign message that is repeated to the user, in characters.
const LONGEST_QUOTE: usize = 300;

/// Makes text that came from another machine or program safe to show: control characters become spaces, long base64 or
/// hex runs become `[redacted]`, and at most 300 characters are kept.
#[must_use]
pub fn scrub(foreign: &str) -> String {
    let mut out = String::new();
    let mut run = String::new();
    for c in foreign.trim().chars().chain(std::iter::once(' ')) {
        if c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=') {
            run.push(c);
            continue;
        }
        out.push_str(if is_suspect(&run) { "[redacted]" } else { &run });
        run.clear();
        out.push(if c.is_control() { ' ' } else { c });
    }
    let words = out.split_whitespace().collect::<Vec<_>>().join(" ");
    match words.char_indices().nth(LONGEST_QUOTE) {
        Some((cut, _)) => format!("{}…", &words[..cut]),
        None => words,
    }
}

/// Base64 and hex look alike but for `/`, which is also what paths are made of: with a slash, only a mixture of cases
/// and digits counts.
fn is_suspect(run: &str) -> bool {
    let mixed = [char::is_uppercase, char::is_lowercase, char::is_numeric].iter().all(|kind| run.contains(*kind));
    run.len() >= SUSPECT_RUN && (mixed || run.split('/').any(|part| part.len() >= SUSPECT_RUN))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_in_a_remote_message_is_redacted() {
        let said = scrub("sh: 1: 0123456789abcdef0123456789abcdef: not found\n");
        assert_eq!(said, "sh: 1: [redacted]: not found");
    }

    #[test]
    fn terminal_escapes_and_newlines_do_not_survive() {
        assert_eq!(scrub("a\x1b[31mred\r\nb\0c"), "a [31mred b c");
    }

    #[test]
    fn a_long_message_is_cut() {
        let said = scrub(&"word ".repeat(200));
        assert!(said.chars().count() <= 301 && said.ends_with('…'));
    }

    #[test]
    fn a_base64_line_is_redacted_whole_even_with_slashes() {
        let line = "LS0tLS1CRUdJTiBD/RVJUSUZJQ0FURS0/tLS0tCk1JSUN5";
        assert_eq!(scrub(&format!("bad: '{line}'")), "bad: '[redacted]'");
    }

    #[test]
    fn paths_stay_readable() {
        for path in ["/etc/kubernetes/bootstrap.kubeconfig: denied", "/usr/local/share/kubernetes/certificates/x"] {
            assert_eq!(scrub(path), path);
        }
    }

    #[test]
    fn a_secret_has_no_debug_output() {
        let shown = format!("{:?}", Secret::from("canary"));
        assert!(!shown.contains("canary"), "{shown}");
    }
}
