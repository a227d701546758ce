//! The login with the password of this run: as a password, or as the answer to the one question of a server that asks
//! with keyboard-interactive (RFC 4256). Any other question, such as for a new password or a one-time code, ends the
//! login unanswered. The server's methods are asked for only after a refusal, to tell a wrong password from none taken.

use super::{
    auth::{Answer, DURING, Login},
    connect::{Failure, Link, session_code},
};
use crate::{
    foreign::Pieces,
    remote::{
        Error, Password, PasswordFate,
        password::{Attempt, Denied, MOST_REFUSALS},
    },
    secret::{ExposeSecret, Secret, scrub},
};
use libssh2_sys as raw;
use ssh2::{KeyboardInteractivePrompt, Prompt};

const NAME: &str = "the password";

impl Login<'_> {
    /// Tries the password, once; `true` when it let us in.
    pub fn offer_password(&mut self, password: &Password) -> Result<bool, Failure> {
        let limit = self.link.allow(DURING)?;
        let attempt = match password.attempt(self.user, limit) {
            Ok(attempt) => attempt,
            Err(Denied::Undecided) => {
                let reason = "other hosts have not said whether the password is right".into();
                return Err(Failure::Final(Error::TimedOut { during: DURING, reason }));
            }
            Err(Denied::Withheld) => {
                tracing::debug!("{}: the password is not tried", self.link.endpoint);
                self.tried.push(format!("{NAME} (not tried: {MOST_REFUSALS} other hosts refused it)"));
                self.fate = PasswordFate::Withheld;
                return Ok(false);
            }
        };
        self.fate = PasswordFate::Refused;
        self.link.allow(DURING)?;
        let result = self.link.session.userauth_password(self.user, attempt.secret().expose_secret());
        match &result {
            Ok(()) => {
                attempt.accepted();
                return self.take_answer(NAME, result);
            }
            Err(error) if session_code(error) == Some(raw::LIBSSH2_ERROR_PASSWORD_EXPIRED) => {
                attempt.accepted();
                return Err(Failure::Final(self.expired()));
            }
            Err(_) => {}
        }
        match self.judge(result) {
            // It hung up, and in answer to the password; or said nothing at all, which is no verdict.
            Err(failure) => {
                if is_verdict(&failure) {
                    attempt.refused();
                }
                return Err(self.in_answer(failure));
            }
            Ok(Answer::Unusable(reason)) => {
                self.tried.push(format!("{NAME} (not usable: {reason})"));
                return Ok(false);
            }
            Ok(_) => {}
        }
        self.link.allow(DURING)?;
        let methods = match self.link.session.auth_methods(self.user).map(str::to_owned) {
            Ok(methods) => methods,
            Err(error) => match self.link.failed(DURING, &error) {
                silence @ Error::TimedOut { .. } => return Err(Failure::Final(silence)),
                // A server that hangs up now has had enough.
                _ => String::new(),
            },
        };
        let has = |method: &str| methods.split(',').any(|name| name == method);
        let shown = known_methods(&methods);
        tracing::debug!("{}: offers {shown}", self.link.endpoint);
        if methods.is_empty() || has("password") {
            self.refuse(attempt);
            return Ok(false);
        }
        if has("keyboard-interactive") {
            return self.answer_questions(attempt);
        }
        self.fate = PasswordFate::NotTaken;
        self.tried.push(format!("{NAME} (the host takes {shown} only)"));
        Ok(false)
    }

    fn refuse(&mut self, attempt: Attempt<'_>) {
        attempt.refused();
        tracing::debug!("{}: {} is refused with the password", self.link.endpoint, self.user);
        self.tried.push(format!("{NAME} (refused)"));
    }

    /// A server that hangs up in answer to a password refuses it; it is not tried again.
    fn in_answer(&mut self, failure: Failure) -> Failure {
        match failure {
            Failure::DroppedBeforeLogin(_) => {
                self.tried.push(format!("{NAME} (refused)"));
                self.ended()
            }
            last @ Failure::Final(_) => last,
        }
    }

    fn answer_questions(&mut self, attempt: Attempt<'_>) -> Result<bool, Failure> {
        self.link.allow(DURING)?;
        let mut answers = Answers { link: self.link, password: attempt.secret().clone(), given: false, other: None };
        let result = self.link.session.userauth_keyboard_interactive(self.user, &mut answers);
        let Answers { given, other, .. } = answers;
        match other {
            Some(Question::NewPassword) => {
                attempt.accepted();
                return Err(Failure::Final(self.expired()));
            }
            Some(Question::Again) => {
                self.refuse(attempt);
                return Ok(false);
            }
            Some(Question::Other(text)) => {
                drop(attempt);
                self.fate = PasswordFate::OtherQuestion;
                self.tried.push(format!("keyboard-interactive (it asks for \"{text}\")"));
                return Ok(false);
            }
            None => {}
        }
        if result.is_ok() {
            attempt.accepted();
            return self.take_answer("the password (keyboard-interactive)", result);
        }
        match self.judge(result) {
            Err(failure) if given => {
                if is_verdict(&failure) {
                    attempt.refused();
                }
                Err(self.in_answer(failure))
            }
            Err(failure) => Err(failure),
            Ok(_) if given => {
                self.refuse(attempt);
                Ok(false)
            }
            Ok(_) => {
                self.fate = PasswordFate::NotTaken;
                self.tried.push("keyboard-interactive (it asks nothing)".to_owned());
                Ok(false)
            }
        }
    }

    fn expired(&self) -> Error {
        Error::PasswordExpired { user: self.user.to_owned() }
    }
}

/// Whether the server has said anything to the password.
fn is_verdict(failure: &Failure) -> bool {
    !matches!(failure, Failure::Final(Error::TimedOut { .. }))
}

/// Answers one question for a password, and hangs up at any other: libssh2 would send an empty answer.
struct Answers<'a> {
    link: &'a Link,
    password: Secret,
    given: bool,
    other: Option<Question>,
}

enum Question {
    NewPassword,
    /// For the password, once more.
    Again,
    /// The host's words, safe to show.
    Other(String),
}

impl KeyboardInteractivePrompt for Answers<'_> {
    fn prompt<'p>(&mut self, _: &str, instructions: &str, prompts: &[Prompt<'p>]) -> Vec<String> {
        let question = match prompts {
            [] => return Vec::new(),
            [one] if !one.echo && asks_for_password(&one.text) => match self.given {
                false => {
                    self.given = true;
                    return vec![self.password.expose_secret().to_owned()];
                }
                true => Question::Again,
            },
            [first, ..] if asks_for_change(instructions) || asks_for_change(&first.text) => Question::NewPassword,
            [first, ..] => Question::Other(quoted(&first.text, &self.password)),
        };
        self.other = Some(question);
        self.link.hang_up();
        Vec::new()
    }
}

/// The words of PAM's modules; sshd speaks English whatever the host's language.
fn asks_for_password(prompt: &str) -> bool {
    let prompt = prompt.to_ascii_lowercase();
    let others = ["new", "current", "old", "retype", "again", "time", "otp", "oath", "token", "code"];
    prompt.contains("password") && !prompt.split(|c: char| !c.is_ascii_alphanumeric()).any(|w| others.contains(&w))
}

fn asks_for_change(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    ["new password", "current password", "(current)", "expired", "change your password"]
        .iter()
        .any(|w| text.contains(w))
}

/// A host that has the password could repeat it.
fn quoted(prompt: &str, password: &Secret) -> String {
    let pieces = || Pieces::of([password.clone()]);
    let repeats = prompt.contains(password.expose_secret()) || pieces().stand_in(prompt.as_bytes());
    if repeats { "…".to_owned() } else { scrub(prompt) }
}

/// Names of login methods (IANA, "SSH Protocol Parameters"): in a log nobody redacts what else a host may say.
fn known_methods(methods: &str) -> String {
    const KNOWN: [&str; 7] =
        ["publickey", "password", "keyboard-interactive", "hostbased", "gssapi-with-mic", "gssapi-keyex", "none"];
    let shown = methods.split(',').map(|name| if KNOWN.contains(&name) { name } else { "another method" });
    shown.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_question_for_the_password_is_answered() {
        for prompt in ["Password: ", "(root@node-1) Password: ", "Password for ops@gold-1:", "LDAP Password:"] {
            assert!(asks_for_password(prompt), "{prompt}");
        }
        for prompt in [
            "New password: ",
            "Current password: ",
            "(current) UNIX password: ",
            "Retype new password: ",
            "Verification code: ",
            "One-time password (OATH) for `ops': ",
            "Passcode or option (1-3): ",
            "Enter PASSCODE:",
            "",
        ] {
            assert!(!asks_for_password(prompt), "{prompt}");
        }
        assert!(asks_for_change("You are required to change your password immediately (administrator enforced)."));
        assert!(asks_for_change("New password: ") && !asks_for_change("Verification code: "));
    }

    #[test]
    fn a_prompt_that_repeats_the_password_is_not_quoted() {
        assert_eq!(quoted("is it s3cret-word?", &Secret::from("s3cret-word")), "…");
        assert_eq!(quoted("Code:\u{7}", &Secret::from("s3cret-word")), "Code:");
    }
}
