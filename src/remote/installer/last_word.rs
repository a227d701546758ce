//! What the script's last word tells of its host: `end untouched` or `end changed`. Without it nothing is known, but for one
//! case: a sudo that refused has run no script. Looks at frames only, and trusts the host about itself alone.

use super::outcome::Action;
use crate::{
    inventory::{Connection, Host, Privilege},
    remote::{Effect, Exit, Reply, SHELL_WORKS},
};

/// What `reply` tells.
pub(super) fn effect_of(reply: &Reply, nonce: &str, host: &Host) -> Effect {
    let text = String::from_utf8_lossy(&reply.output);
    let mark = format!("{nonce} ");
    let frames: Vec<Vec<&str>> = text
        .lines()
        .filter_map(|line| line.split_once(&mark))
        .map(|(_, frame)| frame.trim_end_matches('\r').split(' ').collect())
        .collect();
    if frames.is_empty() {
        return if has_sudo_refused(&text, &reply.exit, host) { Effect::Untouched } else { Effect::Unknown };
    }
    let is_untouched = frames.last().is_some_and(|last| last.as_slice() == ["end", "untouched"]);
    // A host that says both is not to be believed.
    let was_changed = frames.iter().any(|frame| match frame.as_slice() {
        ["done", _, state, ..] => Action::parse(state) != Some(Action::Unchanged),
        ["end", word] => *word != "untouched",
        _ => false,
    });
    if is_untouched && !was_changed { Effect::Untouched } else { Effect::Unknown }
}

/// What a program writes reaches us there: the word before sudo did, and sudo's own words. So the script would have been
/// heard as well, before it changed anything. A login shell that runs nothing cannot be told from one whose output is lost.
fn has_sudo_refused(text: &str, exit: &Exit, host: &Host) -> bool {
    let said = match (host.privilege, &host.connection) {
        (Privilege::AsLoggedIn, _) => None,
        (Privilege::Sudo, Connection::Local { .. }) => Some(text),
        (Privilege::Sudo, Connection::Ssh(_)) => text.split_once(SHELL_WORKS).map(|(_, said)| said),
    };
    !matches!(exit, Exit::Status(0) | Exit::Signal(_)) && said.is_some_and(|said| !said.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::{
        Signal,
        frame::tests::{NONCE, host},
    };

    fn reply(text: &str, exit: Exit) -> Reply {
        Reply::new(text.replace('@', NONCE).into_bytes(), exit)
    }

    fn effect(text: &str, exit: Exit) -> Effect {
        effect_of(&reply(text, exit), NONCE, &host())
    }

    #[test]
    fn only_the_last_word_of_the_script_tells_that_nothing_was_changed() {
        for text in [
            "@ begin\n@ end untouched\n",
            "motd\n@ begin\nnoise@ fail 0 write\r\n@ end untouched\r\nbye\n",
            "@ begin\n@ found 0 absent\n@ done 0 same -\n@ end untouched\n",
        ] {
            assert_eq!(effect(text, Exit::Status(0)), Effect::Untouched, "{text}");
        }
        for text in [
            "",
            "noise\n",
            "@ begin\n",
            "@ begin\n@ end\n",
            "@ begin\n@ fail 0 write\n",
            "@ begin\n@ fail 0 rename\n@ end changed\n",
            "@ begin\n@ end changed\n@ end untouched\n",
            "@ begin\n@ end untouched\n@ found 0 absent\n",
            "@ begin\n@ done 0 update -\n@ end untouched\n",
            "@ begin\n@ end untouchedly\n",
            "@ begin\n@ end untouched please\n",
            "end untouched\n",
        ] {
            assert_eq!(effect(text, Exit::Status(0)), Effect::Unknown, "{text}");
            assert_eq!(effect(text, Exit::Signal(Signal::named("KILL"))), Effect::Unknown, "{text}");
        }
    }

    #[test]
    fn a_sudo_that_refused_ran_nothing_and_silence_tells_nothing() {
        let by_sudo = Host { privilege: Privilege::Sudo, ..host() };
        let effect = |text: &str, exit: Exit| effect_of(&reply(text, exit), NONCE, &by_sudo);
        assert_eq!(effect("sudo: a password is required\n", Exit::Status(1)), Effect::Untouched);
        for (text, exit) in [
            ("", Exit::Status(1)),
            (" \n", Exit::Status(1)),
            ("session recorded\n", Exit::Status(0)),
            ("sudo: broke off\n", Exit::Signal(Signal::named("HUP"))),
            ("sudo: x\n@ begin\n", Exit::Status(1)),
        ] {
            assert_eq!(effect(text, exit.clone()), Effect::Unknown, "{text:?} {exit:?}");
        }
        assert_eq!(effect_of(&reply("nologin\n", Exit::Status(1)), NONCE, &host()), Effect::Unknown);
    }
}
