//! Reads what a host says of a command. The host is not trusted: nothing it says may panic, and what the command wrote is
//! made safe to show.

use super::CommandEnd;
use crate::{
    foreign::ForeignText,
    inventory::Host,
    remote::{
        Error, Signal,
        frame::{self, Line, Script},
        heard::Heard,
        installer::garbled,
    },
    secret::scrub,
};

/// What is kept of a command's output, in bytes.
const KEPT: usize = 2048;

pub(super) fn parse(reply: &Heard<'_>, nonce: &str, host: &Host) -> Result<(CommandEnd, String), Error> {
    let (mut script, mut late, mut ended) = (Script::Unseen, false, None);
    let mut said: Option<String> = None;
    for Line { noise, frame } in frame::lines(&reply.text, nonce) {
        if let (Some(said), None) = (&mut said, ended) {
            said.push_str(noise);
            said.push_str(if frame.is_none() { "\n" } else { "" });
        }
        let Some(frame) = frame else { continue };
        match frame {
            ("missing", tool) => return Err(Error::ToolMissing { tool: ForeignText::message(tool) }),
            ("begin", "") => script = Script::Begun,
            ("alive", "") => {}
            ("late", "") => late = true,
            ("said", "") => said = Some(String::new()),
            ("ended", status) => ended = status.parse::<i32>().ok(),
            _ => return Err(garbled("a line of it makes no sense", reply, nonce)),
        }
    }
    match ended.filter(|_| script == Script::Begun) {
        Some(_) if late => Ok((CommandEnd::TimedOut, shown(&said.unwrap_or_default()))),
        Some(status) => Ok((end_of(status), shown(&said.unwrap_or_default()))),
        None => Err(frame::cut_short(reply, nonce, host, script, "while the command ran")),
    }
}

fn end_of(status: i32) -> CommandEnd {
    match status.checked_sub(128).and_then(Signal::with_common_number) {
        _ if status == 0 => CommandEnd::Done,
        Some(Signal::Known(signal)) => CommandEnd::Killed(signal.to_owned()),
        Some(Signal::Unknown) | None => CommandEnd::Failed(status),
    }
}

/// The end of `said`, in whole words where it was cut: half of a secret does not look like one.
fn shown(said: &str) -> String {
    let cut = said.len().saturating_sub(KEPT);
    let cut = (cut..said.len()).find(|at| said.is_char_boundary(*at)).unwrap_or(said.len());
    let end = if cut == 0 { said } else { said[cut..].split_once(char::is_whitespace).map_or("", |(_, rest)| rest) };
    let lines = end.lines().map(scrub).filter(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::{
        Exit,
        frame::tests::{NONCE, host, reply},
    };

    fn parsed(text: &str, exit: Exit) -> Result<(CommandEnd, String), Error> {
        parse(&reply(text, exit), NONCE, &host())
    }

    #[test]
    fn the_status_says_how_it_ended_and_lateness_overrules_it() {
        for (status, end) in [
            ("0", CommandEnd::Done),
            ("1", CommandEnd::Failed(1)),
            ("127", CommandEnd::Failed(127)),
            ("128", CommandEnd::Failed(128)),
            ("129", CommandEnd::Killed("HUP".into())),
            ("143", CommandEnd::Killed("TERM".into())),
            ("144", CommandEnd::Failed(144)),
            ("255", CommandEnd::Failed(255)),
            ("-1", CommandEnd::Failed(-1)),
        ] {
            let text = |late: &str| format!("motd\n@ begin\n@ alive\n{late}@ said\na\n\nb\n@ ended {status}\nbye\n");
            assert_eq!(parsed(&text(""), Exit::Status(0)).unwrap(), (end, "a\nb".to_owned()));
            assert_eq!(parsed(&text("@ late\n"), Exit::Status(0)).unwrap().0, CommandEnd::TimedOut);
        }
    }

    #[test]
    fn a_reply_that_is_not_whole_or_not_ours_is_an_error_and_never_a_panic() {
        for (text, code) in [
            ("", "shell_unusable"),
            ("begin", "shell_unusable"),
            ("@ begin\n", "protocol_garbled"),
            ("@ begin\n@ said\nx\n", "protocol_garbled"),
            ("@ begin\n@ said\nx\n@ ended\n", "protocol_garbled"),
            ("@ begin\n@ said\nx\n@ ended x\n", "protocol_garbled"),
            ("@ begin\n@ nonsense\n", "protocol_garbled"),
            ("@ missing dd\n", "tool_missing"),
        ] {
            assert_eq!(parsed(text, Exit::Status(0)).unwrap_err().code(), code, "{text}");
        }
        assert_eq!(parsed("@ begin\n", Exit::Signal(Signal::Known("KILL"))).unwrap_err().code(), "connection_lost");
    }

    #[test]
    fn what_is_shown_is_short_printable_and_holds_no_half_of_a_secret() {
        let token = "0123456789abcdef0123456789abcdef";
        assert_eq!(shown(&format!("a \x1b[31m{token}\r\n\n\u{202e}b")), "a [[redacted]\nb");
        for length in KEPT - 40..KEPT + 40 {
            let said = shown(&format!("{token}{}", " é".repeat(length / 3)));
            assert!(!said.contains("abc") && said.len() <= KEPT, "{said}");
        }
        assert_eq!(shown(&"x".repeat(5000)), "");
    }
}
