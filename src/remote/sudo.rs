//! Becoming root through a sudo that asks for a password: what is said until a root shell stands there. Moves no bytes
//! itself: the connection hands in what came and does what [`Step`] says.
//!
//! The password goes out only in answer to our own prompt, so that a sudo which does not ask never hands it to the shell
//! as a command; the script only after the root shell has said its mark, so that a sudo which asks again never takes
//! lines of it for passwords.

use super::{
    Error, LARGEST_REPLY, Password, PasswordFate, SHELL_WORKS,
    password::{Attempt, Denied},
};
use crate::{
    entropy::{OsEntropy, random_bytes},
    foreign::{ForeignText, Pieces},
    secret::{ExposeSecret, Secret},
};
use std::time::Duration;

/// One host's sudo.
pub(super) struct Dialogue<'p> {
    nonce: String,
    user: String,
    password: &'p Password,
    limit: Duration,
    attempt: Option<Attempt<'p>>,
    said: Vec<u8>,
}

/// What is to be done next.
pub(super) enum Step {
    /// Listen on.
    Wait,
    /// Send this line, and listen on.
    Answer(Secret),
    /// Root's shell reads: send the script.
    Go,
    /// End the input, so that sudo does not ask a third time, and give up.
    Stop(Error),
}

impl<'p> Dialogue<'p> {
    /// `limit`: how long to wait for other hosts that try the password first.
    ///
    /// # Errors
    /// [`Error::Entropy`].
    pub fn new(password: &'p Password, user: &str, limit: Duration) -> Result<Self, Error> {
        let nonce = format!("{:032x}", u128::from_be_bytes(random_bytes(&OsEntropy)?));
        Ok(Self { nonce, user: user.to_owned(), password, limit, attempt: None, said: Vec::new() })
    }

    /// For a login shell: in single quotes stands nothing that any of them reads otherwise, and `exec` is for the `sh`
    /// below sudo, which is never restricted.
    pub fn command_line(&self) -> String {
        let [prompt, mark] = self.words();
        format!("echo {SHELL_WORKS}; sudo -S -p '{prompt}' -- sh -c 'echo {mark}; exec sh -s'")
    }

    /// The same for this machine, with `shell` in place of `sh`.
    pub fn words_for<'w>(&self, sudo: &str, shell: &'w [String]) -> Vec<std::borrow::Cow<'w, str>> {
        let [prompt, mark] = self.words();
        let script = format!("echo {mark}; exec \"$0\" \"$@\" -s");
        let own = [sudo.into(), "-S".into(), "-p".into(), prompt, "--".into(), "sh".into(), "-c".into(), script];
        let own = own.into_iter().map(std::borrow::Cow::Owned);
        own.chain(shell.iter().map(|word| word.as_str().into())).collect()
    }

    fn words(&self) -> [String; 2] {
        // sudo puts in whose password it asks for.
        [format!("{}-password-of-%p:", self.nonce), format!("{}-root", self.nonce)]
    }

    /// Takes in what the host said.
    pub fn take(&mut self, output: &[u8]) -> Step {
        self.said.extend_from_slice(output);
        if self.said.len() > LARGEST_REPLY {
            return Step::Stop(Error::ProtocolGarbled { reason: "it is too long", said: ForeignText::default() });
        }
        let text = String::from_utf8_lossy(&self.said);
        if text.contains(&format!("{}-root\n", self.nonce)) || text.contains(&format!("{}-root\r", self.nonce)) {
            self.attempt.take().into_iter().for_each(Attempt::accepted);
            return Step::Go;
        }
        let asked = self.asked(&text);
        match (asked.as_slice(), self.attempt.is_some()) {
            ([], _) | ([_], true) => Step::Wait,
            ([_], false) => match self.password.attempt(&self.user, self.limit) {
                Ok(attempt) => {
                    // Room for all of it: a string that grew would leave a copy behind.
                    let secret = attempt.secret().expose_secret();
                    let mut line = String::with_capacity(secret.len() + 1);
                    line.push_str(secret);
                    line.push('\n');
                    self.attempt = Some(attempt);
                    Step::Answer(Secret::from(line))
                }
                Err(Denied::Withheld) => Step::Stop(self.failed(PasswordFate::Withheld, None)),
                Err(Denied::Undecided) => Step::Stop(Error::TimedOut {
                    during: "while sudo asked for a password",
                    reason: "other hosts have not said whether it is right".into(),
                }),
            },
            ([.., whose], _) => {
                let whose = Some(ForeignText::message(whose)).filter(|name| **name != self.user && *name != "%p");
                self.attempt.take().into_iter().for_each(Attempt::refused);
                Step::Stop(self.failed(PasswordFate::Refused, whose))
            }
        }
    }

    /// Whose password sudo has asked for, each time.
    fn asked(&self, text: &str) -> Vec<String> {
        let start = format!("{}-password-of-", self.nonce);
        let parts = text.split(start.as_str()).skip(1);
        parts.filter_map(|part| Some(part.split_once(':')?.0.to_owned())).collect()
    }

    fn failed(&self, fate: PasswordFate, of: Option<ForeignText>) -> Error {
        Error::BecomePassword { user: self.user.clone(), fate, of }
    }

    /// What was said, without our prompts. Where sudo ended without a root shell, the password counts as refused.
    pub fn into_said(mut self) -> Vec<u8> {
        self.attempt.take().into_iter().for_each(Attempt::refused);
        let text = String::from_utf8_lossy(&self.said).into_owned();
        let mut shown = String::with_capacity(text.len());
        for (n, part) in text.split(&format!("{}-password-of-", self.nonce)).enumerate() {
            shown.push_str(if n == 0 { part } else { part.split_once(':').map_or("", |(_, rest)| rest) });
        }
        shown.replace(&format!("{}-root", self.nonce), "").into_bytes()
    }

    fn repeats_password(&self, words: &str) -> bool {
        let secret = self.password.secret();
        let pieces = || Pieces::of([secret.clone()]);
        words.contains(secret.expose_secret()) || pieces().stand_in(words.as_bytes())
    }

    /// What silence means: sudo waits for the answer to a question that is not ours, or the host hangs.
    pub fn silence(&self, silence: Error) -> Error {
        let text = String::from_utf8_lossy(&self.said);
        let words = text.rsplit('\n').next().unwrap_or_default().trim();
        let is_ours = words.contains(&self.nonce) || words.contains(SHELL_WORKS);
        if words.is_empty() || is_ours || self.repeats_password(words) {
            return silence;
        }
        let said = ForeignText::name(format!("it asks something else: {}", ForeignText::message(words)));
        Error::BecomeFailed { user: self.user.clone(), said }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOBODY_WAITS: Duration = Duration::from_millis(10);

    fn password() -> Password {
        Password::new(Secret::from("s3cret-word"))
    }

    fn dialogue(password: &Password) -> Dialogue<'_> {
        Dialogue { nonce: "N".into(), ..Dialogue::new(password, "ops", NOBODY_WAITS).unwrap() }
    }

    #[test]
    fn the_password_answers_one_prompt_and_nothing_else() {
        let password = password();
        let mut sudo = dialogue(&password);
        assert!(matches!(sudo.take(b"motd\nkubemint-shell-works\nN-password-of-o"), Step::Wait));
        let Step::Answer(line) = sudo.take(b"ps:") else { panic!("no answer") };
        assert_eq!(line.expose_secret(), "s3cret-word\n");
        assert!(matches!(sudo.take(b"noise"), Step::Wait));
        assert!(matches!(sudo.take(b"\nN-root\n"), Step::Go));
        assert_eq!(String::from_utf8(sudo.into_said()).unwrap(), "motd\nkubemint-shell-works\nnoise\n\n");
    }

    #[test]
    fn a_sudo_that_does_not_ask_gets_no_password() {
        let password = password();
        assert!(matches!(dialogue(&password).take(b"kubemint-shell-works\nN-root\n"), Step::Go));
    }

    #[test]
    fn a_second_prompt_is_a_refusal_and_three_hosts_are_enough() {
        let password = password();
        for _ in 0..3 {
            let mut sudo = dialogue(&password);
            assert!(matches!(sudo.take(b"N-password-of-root:"), Step::Answer(_)));
            let Step::Stop(error) = sudo.take(b"Sorry, try again.\nN-password-of-root:") else { panic!("goes on") };
            assert_eq!(error.code(), "become_failed");
            assert!(error.to_string().contains("the password is refused; it asks for the password of root"), "{error}");
        }
        let Step::Stop(error) = dialogue(&password).take(b"N-password-of-ops:") else { panic!("goes on") };
        assert!(error.to_string().contains("not tried"), "{error}");
    }

    #[test]
    fn a_question_that_is_not_ours_is_told_from_silence() {
        let password = password();
        let silence = || Error::ConnectionLost { during: "x", reason: "silent".into() };
        let mut sudo = dialogue(&password);
        sudo.take(b"kubemint-shell-works\n");
        assert_eq!(sudo.silence(silence()).code(), "connection_lost");
        sudo.take(b"Verification code: ");
        assert!(sudo.silence(silence()).to_string().ends_with("it asks something else: Verification code:"));
        sudo.take(b"\ns3cret-word?");
        assert_eq!(sudo.silence(silence()).code(), "connection_lost");
    }

    #[test]
    fn the_command_line_holds_nothing_that_a_shell_reads_otherwise() {
        let line = dialogue(&password()).command_line();
        let quoted: Vec<&str> = line.split('\'').collect();
        assert_eq!(quoted.len(), 5, "{line}");
        for word in [quoted[1], quoted[3]] {
            assert!(!word.contains(['"', '\\', '!', '\n', '$', '`']), "{word}");
        }
    }
}
