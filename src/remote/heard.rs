//! What a host said, made safe once, where it enters: the only way from a [`Reply`]'s bytes to text that a parser may read.
//! Unprintable characters are gone, and so is whatever repeats a secret, in noise (banners, shells, failing programs) and
//! in the words of our own frames alike: a host may run something else than our script, or run it with `sh -v`. What a
//! word means is the parsers' to say.

use super::{
    Error, Exit, Remote, Reply, SHELL_WORKS,
    redact::{INSTEAD, Redactor},
};
use crate::{
    bundle::HostFile,
    digest::Digest,
    foreign::{PIECE, SHORTEST},
    inventory::Host,
    secret::{is_unprintable, printable},
};
use std::{collections::HashSet, rc::Rc, sync::LazyLock};

/// Stands in place of a frame's word that repeats a secret.
pub(super) const REDACTED: &str = "[redacted]";
const INSTEAD_OF_ALL: &str = "[not shown: it repeats what was sent]";
/// What every name in our script begins with.
const SCRIPT_MARK: &str = "km_";

/// Every script that says something; what goes in front of them (environment.sh, variables.sh, guard.sh) says nothing.
pub(super) const SCRIPTS: [&str; 6] = [
    include_str!("../../templates/install.sh"),
    include_str!("../../templates/restore.sh"),
    include_str!("../../templates/doctor.sh"),
    include_str!("../../templates/status.sh"),
    include_str!("../../templates/service.sh"),
    include_str!("../../templates/kubelet.sh"),
];

/// The words of our scripts: no secrets, whoever repeats them.
static WORDS: LazyLock<HashSet<&str>> = LazyLock::new(|| {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let lines = SCRIPTS.iter().flat_map(|script| script.lines()).filter(|line| !line.trim_start().starts_with('#'));
    lines.flat_map(|line| line.split(|c| !is_part(c))).filter(|word| !word.is_empty()).collect()
});

/// Words of frames that are not judged here, each `_`: they are compared, become an instant, or hold base64 of which only what
/// it decodes to is shown (see [`Heard::repeats_secret`]: a certificate repeats the public half of its key). `x` stands before
/// the answers of doctor and status. A frame that is not listed is judged whole.
const NEVER_SHOWN: [&[&str]; 13] = [
    &["machine", "_"],
    &["twin", "_"],
    &["clock", "_"],
    &["x", "clock", "_"],
    &["x", "times", "_", "_", "_", "_", "_"],
    &["x", "age", "_", "_", "_"],
    &["x", "process", "_", "_", "_", "_", "_", "_"],
    &["fact", "0-9", "certificate", "_"],
    &["fact", "0-9", "authority", "_"],
    &["other", "0-9", "authority", "_"],
    &["pem", "_"],
    &["x", "kubelet", "pem", "_"],
    &["x", "kubelet", "data", "_"],
];

/// The reply to a script.
pub(super) struct Heard<'a> {
    pub text: String,
    pub exit: Exit,
    /// How many connections it took, from 1.
    pub attempts: u32,
    redactor: Rc<Redactor<'a>>,
}

/// Listens to the `reply` of a host that was sent `files`, or is asked for them.
///
/// # Errors
/// That of `reply`, with nothing in it that repeats a secret.
pub(super) fn hear<'a>(
    reply: Result<Reply, Error>,
    nonce: &str,
    (remote, host): (&'a dyn Remote, &'a Host),
    files: &'a [HostFile],
) -> Result<Heard<'a>, Error> {
    hear_expecting(reply, nonce, (remote, host), files, [])
}

/// As [`hear`], with digests of other files that an honest host may say.
///
/// # Errors
/// As [`hear`].
pub(super) fn hear_expecting<'a>(
    reply: Result<Reply, Error>,
    nonce: &str,
    (remote, host): (&'a dyn Remote, &'a Host),
    files: &'a [HostFile],
    digests: impl IntoIterator<Item = Digest>,
) -> Result<Heard<'a>, Error> {
    let redactor = Redactor::new(remote, host, files).expecting(digests);
    match reply {
        Ok(reply) => Ok(Heard::of(reply, nonce, redactor)),
        Err(error) => Err(redactor.error(error)),
    }
}

/// A line: what else stands in it, and from the nonce on what is ours.
type Line<'t> = (&'t str, &'t str);

impl<'a> Heard<'a> {
    fn of(Reply { output, exit, passwords, attempts }: Reply, nonce: &str, redactor: Redactor<'a>) -> Self {
        redactor.know(passwords);
        let text = String::from_utf8_lossy(&output);
        // With a blank after it: the nonce is in temporary names too, and so in error messages.
        let mark = format!("{nonce} ");
        let lines = text.split_inclusive('\n').map(|line| line.split_at(line.find(&mark).unwrap_or(line.len())));
        let lines: Vec<Line<'_>> = lines.collect();
        let noise = Noise::of(&lines, &redactor);
        let mut safe = String::with_capacity(text.len());
        let mut all_withheld = false;
        for (n, (said, frame)) in lines.iter().enumerate() {
            if noise.repeats_script && said.trim() != SHELL_WORKS {
                if !all_withheld {
                    safe.push_str(INSTEAD_OF_ALL);
                    safe.push('\n');
                }
                all_withheld = true;
            } else if noise.hit.get(n).is_some_and(|hit| *hit) {
                safe.push_str(INSTEAD);
                safe.push_str(if said.ends_with('\n') { "\n" } else { "" });
            } else {
                push_noise(&mut safe, said);
            }
            if let Some(frame) = frame.strip_prefix(&mark) {
                safe.push_str(&mark);
                safe.push_str(&safe_frame(frame.trim_end_matches(['\n', '\r']), &redactor));
                safe.push_str(if frame.ends_with('\n') { "\n" } else { "" });
            }
        }
        Self { text: safe, exit, attempts, redactor: Rc::new(redactor) }
    }

    /// The same host's reply with another text, made of this one's.
    pub fn with_text(&self, text: String) -> Self {
        Self { text, exit: self.exit.clone(), attempts: self.attempts, redactor: Rc::clone(&self.redactor) }
    }

    /// Whether what a word of the host decodes to repeats a secret.
    pub fn repeats_secret(&self, decoded: &[u8]) -> bool {
        self.redactor.is_repeated_in(decoded)
    }
}

struct Noise {
    /// Whoever repeats one line of ours repeats others that nothing here would know: pieces cut or changed on the way.
    repeats_script: bool,
    /// Which lines repeat a secret; empty where nothing was said.
    hit: Vec<bool>,
}

impl Noise {
    fn of(lines: &[Line], redactor: &Redactor) -> Self {
        let is_silent = |(said, _): &Line| said.trim().is_empty() || said.trim() == SHELL_WORKS;
        if lines.iter().all(is_silent) {
            return Self { repeats_script: false, hit: Vec::new() };
        }
        let repeats_script = lines.iter().any(|(said, _)| said.to_ascii_lowercase().contains(SCRIPT_MARK));
        let said: Vec<&str> = lines.iter().map(|(said, _)| *said).collect();
        let mut hit = redactor.pieces().hit(&said);
        for (hit, said) in hit.iter_mut().zip(&said) {
            *hit = *hit || redactor.is_repeated_in(said.as_bytes());
        }
        Self { repeats_script, hit }
    }
}

/// Control characters become blanks, as [`crate::secret::scrub`] has it; the ends of lines stay.
fn push_noise(safe: &mut String, said: &str) {
    for c in said.chars() {
        match c {
            '\n' => safe.push('\n'),
            c if c.is_control() => safe.push(' '),
            c if is_unprintable(c) => {}
            c => safe.push(c),
        }
    }
}

/// A frame with every word that has a share in a secret replaced. There are as many words as before.
fn safe_frame(frame: &str, redactor: &Redactor) -> String {
    let frame = printable(frame);
    let words: Vec<&str> = frame.split(' ').collect();
    let is_expected = |n: usize| {
        let word = words[n];
        WORDS.contains(word)
            || is_mode(word)
            || redactor.expects(word)
            || is_number(&words, n)
            || is_never_shown(&words, n)
    };
    let doubtful: Vec<usize> = (0..words.len()).filter(|n| !is_expected(*n)).collect();
    let characters: usize = doubtful.iter().map(|n| words[*n].bytes().filter(u8::is_ascii_alphanumeric).count()).sum();
    if characters < SHORTEST && doubtful.iter().all(|n| words[*n].len() < SHORTEST) {
        return frame;
    }
    let pieces = redactor.pieces();
    let doubtful: Vec<usize> = doubtful.into_iter().filter(|n| !pieces.is_fingerprint(words[*n])).collect();
    let parts: Vec<&str> = doubtful.iter().map(|n| words[*n]).collect();
    let mut safe = words.clone();
    for (n, hit) in doubtful.into_iter().zip(pieces.hit(&parts)) {
        if hit || pieces.stand_in_word(words[n]) {
            safe[n] = REDACTED;
        }
    }
    safe.join(" ")
}

/// The index of a file or directory, and the small numbers of `found` (uid and gid).
fn is_number(words: &[&str], n: usize) -> bool {
    let is_index = n == if words[0] == "x" { 2 } else { 1 } && words[n].len() <= 3;
    let is_typed = words[0] == "found" && words[n].len() < PIECE;
    (is_index || is_typed) && words[n].bytes().all(|byte| byte.is_ascii_digit())
}

fn is_never_shown(words: &[&str], n: usize) -> bool {
    let is_of = |pattern: &[&str]| {
        pattern.len() <= words.len()
            && pattern.iter().zip(words).all(|(part, word)| match *part {
                "_" => true,
                "0-9" => word.bytes().all(|byte| byte.is_ascii_digit()),
                part => part == *word,
            })
    };
    NEVER_SHOWN.iter().any(|pattern| pattern.get(n) == Some(&"_") && is_of(pattern))
}

/// As `ls -l` writes it.
fn is_mode(word: &str) -> bool {
    word.len() >= 10 && word.bytes().all(|byte| b"-rwxsStTdlbcp+.".contains(&byte))
}

/// Whether `word` is one of our scripts' own, as the step of a `fail` frame must be to be repeated.
pub(super) fn is_ours(word: &str) -> bool {
    WORDS.contains(word)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::{
        bundle::FileKind,
        remote::{Script, frame::tests::host, signal::Signal},
        secret::Secret,
    };
    use std::sync::Arc;

    const NONCE: &str = "0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f";
    const TOKENS: &str = "long-winded-pass-phrase,a,1\nshort,b,2\nabc,c,3\n";
    const TOKEN: &str = "89abcdef01234567fedcba9876543210";

    struct Nobody;

    impl Remote for Nobody {
        fn run_script(&self, _: &Host, _: &Script<'_>) -> Result<Reply, Error> {
            Err(Error::ConnectRefused { endpoint: "nobody".into() })
        }
    }

    /// A reply of a host that was sent `files`.
    pub fn heard_of(text: &str, exit: Exit, nonce: &str, files: Vec<HostFile>) -> Heard<'static> {
        let (host, files) = (Box::leak(Box::new(host())), Box::leak(Box::new(files)));
        hear(Ok(Reply::new(text.as_bytes().to_vec(), exit)), nonce, (&Nobody, host), files).unwrap()
    }

    fn file(rows: &str) -> HostFile {
        HostFile {
            kind: FileKind::TokenCsv,
            path: "/t".into(),
            content: Arc::new(Secret::from(rows)),
            sha256: Digest::of(rows),
            validity: None,
            own_users_below: None,
        }
    }

    fn withheld_of(rows: &str, said: &str) -> String {
        let heard = heard_of(&said.replace('@', NONCE), Exit::Status(0), NONCE, vec![file(rows)]);
        heard.text.replace(NONCE, "@").replace(INSTEAD, "#")
    }

    fn withheld(said: &str) -> String {
        withheld_of(TOKENS, said)
    }

    #[test]
    fn a_line_with_a_piece_of_a_secret_goes_and_the_others_stay() {
        for (said, shown) in [
            ("a\nsh: long-winded-pass-phrase: not found\nb\n", "a\n#\nb\n"),
            ("x ded-pass y", "#"),
            ("x DED-Pass y", "#"),
            ("x d.e.d.p.a.s.s.p y", "#"),
            ("x windedpass y", "#"),
            ("a\nwin\nded\n-pass\nb\n", "a\n#\n#\n#\nb\n"),
            ("x ded-pas y", "x ded-pas y"),
            ("too short\n", "#\n"),
            ("abc\n", "abc\n"),
            ("", ""),
        ] {
            assert_eq!(withheld(said), shown, "{said}");
        }
    }

    #[test]
    fn who_repeats_our_script_is_not_quoted() {
        let said = "token abcdef\nkm_stage 2 'abc\n@ begin\nx";
        assert_eq!(withheld(said).replace(INSTEAD_OF_ALL, "##"), "##\n@ begin\n");
    }

    #[test]
    fn a_token_in_the_wrong_column_and_one_in_a_file_that_nobody_can_read_are_known() {
        let rows = "abc,s3cret-in-user,1\n";
        assert_eq!(withheld_of(rows, "x s3cret-in-user\nuser\n"), "#\nuser\n");
        assert_eq!(withheld_of("one-column-only\n", "x column-only\ny\n"), "#\ny\n");
    }

    #[test]
    fn a_word_of_a_frame_that_repeats_a_secret_goes_and_what_we_expect_stays() {
        let rows = format!("{TOKEN},kubelet-bootstrap,1\n");
        let (own, other) = (Digest::of(&rows), Digest::of("other"));
        let fingerprint = Digest::of(TOKEN).fingerprint();
        let twice = format!("{TOKEN}{TOKEN}");
        for (frame, shown) in [
            (format!("found 0 regular same -rw------- 0 0 {own}"), None),
            (format!("found 0 regular update -rw------- 1000 1000 {other}"), None),
            (format!("found 0 regular update -rw------- 0 0 {twice}"), Some("found 0 regular update -rw------- 0 0 #")),
            (format!("done 0 create {own}"), None),
            (format!("done 0 create {twice}"), Some("done 0 create #")),
            (format!("missing {TOKEN}"), Some("missing #")),
            ("missing 89abcdef-01234567".to_owned(), Some("missing #")),
            ("missing 89ab cdef 0123".to_owned(), Some("missing # # #")),
            ("missing 89.ab.CD.ef.01".to_owned(), Some("missing #")),
            ("missing 89abcde-x".to_owned(), None),
            ("dir 0 unsafe /etc/89abcdef is bad".to_owned(), Some("dir 0 unsafe # is bad")),
            (format!("fact 0 row {fingerprint} is kubelet-bootstrap"), None),
            ("fact 0 row 89abcdef other 01234567".to_owned(), Some("fact 0 row # other #")),
            ("fact 0 token 89abcdef".to_owned(), Some("fact 0 token #")),
            (format!("fact x certificate {TOKEN}"), Some("fact x certificate #")),
            (format!("machine {TOKEN}"), None),
            (format!("machine 0 {TOKEN}"), Some("machine 0 #")),
            ("x unit 89abcdef loaded active 01234567".to_owned(), Some("x unit # loaded active #")),
            (format!("{TOKEN} 0"), Some("# 0")),
        ] {
            let said = withheld_of(&rows, &format!("@ {frame}\r\n")).replace(REDACTED, "#");
            assert_eq!(said, format!("@ {}\n", shown.unwrap_or(&frame)), "{frame}");
        }
    }

    #[test]
    fn nothing_unprintable_comes_through_and_a_frame_keeps_its_words() {
        let said = withheld("a\x1b[1m\u{9b}2J\u{202e}b\tc\0\r\n@ missing a\x1b]0;x\x07\u{85}\u{200b}b c\u{2028}\r\n");
        assert_eq!(said, "a [1m 2Jb c  \n@ missing a\\u{1b}]0;x\\u{7}\\u{85}\\u{200b}b c\\u{2028}\n");
    }

    #[test]
    fn an_error_of_the_way_repeats_no_secret() {
        let host = host();
        let files = [file(&format!("{TOKEN},u,1\n"))];
        let error = |reason: &str| Error::ConnectionLost {
            during: "while it ran",
            reason: crate::foreign::ForeignText::message(reason),
        };
        let told = |reason| {
            let heard = hear(Err(error(reason)), NONCE, (&Nobody, &host), &files);
            heard.err().map(|error| error.to_string()).unwrap_or_default()
        };
        assert!(told("bye 89ab cdef 0123").ends_with(INSTEAD));
        assert!(told("bye 89ab").ends_with("bye 89ab"));
    }

    #[test]
    fn nothing_is_hashed_while_all_words_are_ours() {
        let digest = Digest::of(TOKENS);
        let heard = |text: &str| {
            let text = text.replace('@', NONCE);
            heard_of(&text, Exit::Signal(Signal::Known("KILL")), NONCE, vec![file(TOKENS)])
        };
        let all = heard(&format!(
            "kubemint-shell-works\n@ begin\n@ machine {TOKEN}\n@ clock 1764278000\n@ found 0 regular same -rw------- 0 0 \
             {digest}\n@ done 0 same -\n@ found 1 regular repair -rw-r--r-- 1000 1000 {digest}\n@ done 1 create {digest}\n@ end\n"
        ));
        assert!(!all.redactor.has_hashed());
        assert!(heard("@ missing coreutils-of-another\n").redactor.has_hashed());
    }
}
