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

/// Whether `c` shows nothing of its own and changes how what stands around it looks: control characters, and those that
/// are invisible, join or turn text (Unicode category Cf, as in CVE-2021-42574).
#[must_use]
pub const fn is_unprintable(c: char) -> bool {
    matches!(c,
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e007f}')
}

/// `text` with every unprintable character escaped as Rust writes it: `\n`, `\u{202e}`. For names that must be seen
/// whole; [`scrub`] is for messages.
#[must_use]
pub fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if is_unprintable(c) {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// As [`printable`] for a text of several lines, each of which is ours: their ends stay.
#[must_use]
pub fn printable_lines(text: &str) -> String {
    text.split('\n').map(printable).collect::<Vec<_>>().join("\n")
}

/// `url` without user, password and query. Text that is no URL loses everything before its last `@`, too.
#[must_use]
pub fn redact_url(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").map_or(("", url), |(scheme, rest)| (scheme, rest));
    let (address, query) = rest.split_once(['?', '#']).map_or((rest, false), |(address, _)| (address, true));
    let host = match rest.rfind('@') {
        Some(at) if at < address.len() => format!("[redacted]@{}", &address[at + 1..]),
        // An `@` behind the question mark: a password with a question mark looks the same.
        Some(_) => "[redacted]".to_owned(),
        None => address.to_owned(),
    };
    let start = if scheme.is_empty() { String::new() } else { format!("{scheme}://") };
    format!("{start}{host}{}", if query { "?[redacted]" } else { "" })
}

/// Makes text that came from another machine or program safe to show: control characters become spaces, other
/// unprintable ones go, long base64 or hex runs become `[redacted]`, and at most 300 characters are kept.
#[must_use]
pub fn scrub(foreign: &str) -> String {
    let mut out = String::new();
    let mut run = String::new();
    for c in foreign.trim().chars().chain(std::iter::once(' ')) {
        if c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=') {
            run.push(c);
            continue;
        }
        if is_unprintable(c) && !c.is_control() {
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

    #[test]
    fn what_turns_or_hides_text_does_not_survive() {
        for c in
            ['\u{200b}', '\u{200f}', '\u{202a}', '\u{202e}', '\u{2060}', '\u{2066}', '\u{2069}', '\u{feff}', '\u{ad}']
        {
            assert_eq!(scrub(&format!("a{c}b")), "ab", "{c:?}");
            assert_eq!(printable(&format!("a{c}b")), format!("a{}b", c.escape_unicode()), "{c:?}");
        }
        assert_eq!(printable("a\x1b[1m\r\n\u{85}é 漢 'q'"), "a\\u{1b}[1m\\r\\n\\u{85}é 漢 'q'");
        assert!(!"aé漢☃ -~".chars().any(is_unprintable));
    }

    #[test]
    fn a_secret_split_by_invisible_characters_is_redacted() {
        let split = "0123456789abcdef\u{200b}0123456789abcdef\u{feff}";
        assert_eq!(scrub(&format!("said {split}!")), "said [redacted]!");
    }

    #[test]
    fn a_url_keeps_its_address_and_loses_its_secrets() {
        for (url, shown) in [
            ("https://10.0.0.1:6443", "https://10.0.0.1:6443"),
            ("https://[::1]:6443/k8s/clusters/c-1/", "https://[::1]:6443/k8s/clusters/c-1/"),
            ("https://user:canary@host/p", "https://[redacted]@host/p"),
            ("http://canary@host:1", "http://[redacted]@host:1"),
            ("https://u:can/ary@host", "https://[redacted]@host"),
            ("https://u:can@ary@host", "https://[redacted]@host"),
            ("https://u:can?ary@host", "https://[redacted]?[redacted]"),
            ("https://host/p?token=canary", "https://host/p?[redacted]"),
            ("https://host/p#canary", "https://host/p?[redacted]"),
            ("u:canary@host", "[redacted]@host"),
            ("", ""),
        ] {
            assert_eq!(redact_url(url), shown, "{url}");
        }
    }
}
